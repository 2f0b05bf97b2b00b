"""Orderings: planted records whose answer is known, over seeds and clips, and claims that cannot be judged."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import CLASSES, assert_readable, draw, write_trials
from matplotlib.figure import Figure

from harness.errors import RepriseError
from harness.metrics import comparison, seeds, uncertainty
from harness.report import estimates, orderings
from harness.report.resampling import Draws, distribution
from harness.studies import claims
from harness.studies import study as studies
from harness.studies.records import Record
from harness.studies.study import Study

METRIC = "f1_macro2_masked"
#: Textual knows the organ only by chance, the violin well; the other two the other way round.
TEXTUAL = np.where(np.array(CLASSES) == "organ", 0.0, 0.3)
OTHERS = np.where(np.array(CLASSES) == "organ", 0.5, 0.1)
SKILLS = {
    "vggish_pp": 0.5,
    "vggish_norm": 0.48,
    "log_mel": 0.05,
    "textual": TEXTUAL,
    "den_add": OTHERS,
    "den_mul": OTHERS,
}


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    folder = tmp_path_factory.mktemp("runs")
    return write_trials(
        folder, studies.load("attention_embeddings"), arms=list(SKILLS), conditions=["paper"], skills=SKILLS, seeds=5
    )


def claim(above: Any, below: Any, relation: str = "above", **others: Any) -> dict[str, Any]:
    return {
        "kind": "order",
        "above": above,
        "below": below,
        "metric": METRIC,
        "relation": relation,
        "where": "6.2, Fig. 3",
        "text": f"{above} {relation} {below}",
        **others,
    }


def study_with(*claims: Mapping[str, Any]) -> Study:
    return replace(studies.load("attention_embeddings"), claims=claims)


def judge(records: list[Record], *claims: Mapping[str, Any]) -> list[orderings.Judged]:
    return orderings.judge(study_with(*claims), records, replicates=200)


def test_planted_orderings_are_found(records: list[Record]) -> None:
    found = judge(
        records,
        claim("vggish_pp", "log_mel"),
        claim("log_mel", "vggish_pp"),
        claim("textual", ["den_add", "den_mul"], classes=["violin"]),
        claim("textual", ["den_add", "den_mul"], classes=["organ"]),
        claim(["den_add", "den_mul"], ["den_mul", "den_add"]),
        claim(["den_add", "den_mul"], ["den_mul", "den_add"], "at least", margin=0.02),
        claim("log_mel", "vggish_pp", "at least", margin=0.02),
        claim("log_mel", "vggish_pp", "at least", margin=0.9),
    )
    assert [j.verdict for j in found] == [
        "holds", "reversed", "holds", "reversed", "undecided", "holds", "reversed", "holds",
    ]  # fmt: skip
    assert found[4].difference.value == found[4].difference.low == found[4].difference.high == 0


def by_hand(records: list[Record], above: str, below: str, metric: str) -> tuple[float, float, float]:
    """Difference with its interval, put together of the parts it is made of."""
    sides = [estimates.select(records, name, "paper") for name in (above, below)]
    draws = Draws([[r.predictions("test").keys for r in side] for side in sides], 200)
    first, second = (
        seeds.Replicates(
            np.array([r.data["metrics"]["test"][metric] for r in side]),
            np.stack([distribution(r, r.predictions("test"), [metric], draws)[metric] for r in side]),
        )
        for side in sides
    )
    gain, most = first - second, uncertainty.bounds(metric)[1]
    return gain.score, *uncertainty.interval(gain.score, seeds.joint(gain), bounds=(-most, most))


def test_the_interval_is_over_seeds_and_clips(records: list[Record]) -> None:
    (found,) = judge(records, claim("vggish_norm", "textual"))
    expected = by_hand(records, "vggish_norm", "textual", METRIC)
    ours = found.difference
    assert (ours.value, ours.low, ours.high) == pytest.approx(expected, abs=1e-12)
    assert found.contrast.above - found.contrast.below == pytest.approx(ours.value)
    of_clips = estimates.difference(
        *(estimates.select(records, name, "paper") for name in ("vggish_norm", "textual")),
        "test",
        [METRIC],
        replicates=200,
    )[0][METRIC]
    assert ours.value == pytest.approx(of_clips.value)
    one = [r for r in records if r.seed == 0]  # of one seed nothing is known but what the clips do
    (alone,) = judge(one, claim("vggish_norm", "textual"))
    of_clips = estimates.difference(
        *(estimates.select(one, name, "paper") for name in ("vggish_norm", "textual")), "test", [METRIC], replicates=200
    )[0][METRIC]
    assert (alone.difference.low, alone.difference.high) == pytest.approx((of_clips.low, of_clips.high), abs=1e-12)


def test_seeds_that_disagree_leave_it_undecided(tmp_path: Path) -> None:
    """The same predictions twice, but that in one seed the arms change places: clips alone would decide."""
    study = study_with(claim("vggish_pp", "log_mel"))
    skills = {"vggish_pp": 0.5, "log_mel": 0.2}
    found = write_trials(tmp_path, study, arms=list(skills), conditions=["paper"], skills=skills, seeds=2)
    first, second = ({r.arm: r for r in found if r.seed == seed} for seed in (0, 1))
    swapped = [
        *first.values(),
        replace(second["log_mel"], data={**second["log_mel"].data, "arm": "vggish_pp"}),
        replace(second["vggish_pp"], data={**second["vggish_pp"].data, "arm": "log_mel"}),
    ]
    (alone,) = judge(list(first.values()), claim("vggish_pp", "log_mel"))
    assert (alone.verdict, alone.probability) == ("undecided: one seed", pytest.approx(1, abs=0.01))
    (torn,) = judge(swapped, claim("vggish_pp", "log_mel"))
    assert torn.verdict == "undecided"
    assert 0.2 < torn.probability < 0.8


def test_probability_is_that_of_the_order_as_claimed(records: list[Record]) -> None:
    up, down, level, apart = judge(
        records,
        claim("vggish_pp", "log_mel"),
        claim("log_mel", "vggish_pp"),
        claim("den_add", "den_mul", "equal", margin=0.3),
        claim("vggish_pp", "log_mel", "equal", margin=0.02),
    )
    assert up.probability > 0.99
    assert up.probability + down.probability == pytest.approx(1)
    assert (level.verdict, apart.verdict) == ("holds", "does not hold")
    assert level.probability > 0.99
    assert apart.probability < 0.01
    (narrow,) = judge(records, claim("den_add", "den_mul", "equal", margin=0.001))
    assert narrow.verdict == "undecided"


def test_swapped_predictions_tell_arms_apart(records: list[Record]) -> None:
    better, same, several, classes = judge(
        records,
        claim("vggish_pp", "log_mel"),
        claim("vggish_pp", "vggish_pp"),
        claim("textual", ["den_add", "den_mul"]),
        claim("textual", "den_add", classes=["violin"]),
    )
    assert better.p_value < 0.01
    assert same.p_value == 1
    assert several.p_value is None
    sides = []
    for arm in ("textual", "den_add"):
        found = [(r, r.predictions("test")) for r in estimates.select(records, arm, "paper")]
        place = found[0][0].data["classes"].index("violin")
        sides.append(
            [
                seeds.Trial(p.labels[:, [place]], p.probabilities[:, [place]], p.mask[:, [place]], p.keys)
                for _, p in found
            ]
        )
    assert classes.p_value == comparison.permutation_test(*sides, METRIC)[0]


def test_equal_is_judged_as_values_are(records: list[Record]) -> None:
    """By two one-sided tests at 95 %: the interval that decides has 90 %."""
    equal, above = judge(records, claim("den_add", "den_mul", "equal", margin=0.3), claim("den_add", "den_mul"))
    assert (equal.difference.low, equal.difference.high) == pytest.approx(above.contrast.interval(0.9))
    assert (above.difference.low, above.difference.high) == pytest.approx(above.contrast.interval(0.95))


def test_the_two_sides_may_be_of_different_classes(records: list[Record]) -> None:
    same, other = judge(
        records,
        claim("textual", "textual", classes=["violin"]),
        claim("textual", "textual", classes=["violin"], below_classes=["organ"]),
    )
    assert same.difference.value == 0
    assert other.verdict == "holds"  # it knows the organ by chance only


def test_scores_of_classes_and_of_several_arms_are_means(records: list[Record]) -> None:
    classes = ["organ", "voice"]
    (found,) = judge(records, claim("textual", ["den_add", "den_mul"], classes=classes))

    def mean(*arms: str) -> float:
        scores = [
            r.data["metrics"]["test"]["per_class"][name][METRIC] for r in records if r.arm in arms for name in classes
        ]
        return float(np.mean(scores))

    assert found.contrast.above == pytest.approx(mean("textual"))
    assert found.contrast.below == pytest.approx(mean("den_add", "den_mul"))
    assert found.difference.low <= found.difference.value <= found.difference.high


def test_sides_on_different_clips_are_resampled_each_for_itself(tmp_path: Path, records: list[Record]) -> None:
    study = study_with(claim("vggish_pp", "log_mel"))
    others = write_trials(
        tmp_path, study, arms=["log_mel"], conditions=["paper"], skills=SKILLS, seeds=5, sizes=(45, 80)
    )
    mixed = [r for r in records if r.arm == "vggish_pp"] + others
    (found,) = orderings.judge(study, mixed, replicates=200)
    expected = by_hand(mixed, "vggish_pp", "log_mel", METRIC)
    assert (found.difference.value, found.difference.low, found.difference.high) == pytest.approx(expected)


def test_what_is_missing_is_named(records: list[Record], monkeypatch: pytest.MonkeyPatch) -> None:
    found = judge(
        records,
        claim("align", "log_mel"),
        claim("vggish_pp", ["align", "rf", "den_add"]),
        claim("vggish_pp", "log_mel", classes=["kazoo"]),
    )
    assert [j.verdict for j in found] == [
        "not judged: no record of align",
        "not judged: no record of align, rf",
        "not judged: the corpus has no class kazoo",
    ]
    assert all(j.contrast.replicates is j.difference.value is j.probability is None for j in found)
    predictions = Record.predictions

    def unasked(record: Record, part: str) -> Any:
        p = predictions(record, part)
        return replace(p, mask=p.mask & (np.array(CLASSES) != "banjo"))

    monkeypatch.setattr(Record, "predictions", unasked)
    banjo, every = judge(records, claim("vggish_pp", "log_mel", classes=["banjo"]), claim("vggish_pp", "log_mel"))
    assert banjo.verdict == "not judged: nobody was asked about banjo"
    assert every.verdict == "holds"  # by the other classes


def test_without_any_record_nothing_is_judged() -> None:
    (found,) = judge([], claim("vggish_pp", "log_mel"))
    assert found.verdict == "not judged: no record of vggish_pp, log_mel"


def test_only_the_papers_condition_counts(records: list[Record]) -> None:
    changed = [replace(r, data={**r.data, "condition": "group-norm"}) for r in records]
    assert judge(changed, claim("vggish_pp", "log_mel"))[0].verdict.startswith("not judged")
    (both,), (alone,) = (judge(some, claim("vggish_pp", "log_mel")) for some in ([*records, *changed], records))
    assert both.difference == alone.difference
    assert [r.folder for r in both.contrast.records] == [r.folder for r in alone.contrast.records]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"above": "vggish"}, "no arm of attention_embeddings named 'vggish'"),
        ({"below": ["log_mel", "wavelets"]}, "no arm of attention_embeddings named 'wavelets'"),
        ({"relation": "below"}, "has the relation 'below'; choose one of above, at least, equal in"),
        ({"metric": "accuracy"}, "needs a multilabel metric, not 'accuracy'; choose one of f1_macro2_masked, "),
        (
            {"metric": "f1_micro_unmasked", "classes": ["organ"]},
            "needs a metric that is a mean over classes, not 'f1_micro_unmasked'",
        ),
    ],
)
def test_a_claim_that_makes_no_sense_is_refused(records: list[Record], change: dict[str, Any], said: str) -> None:
    with pytest.raises(RepriseError, match=said):
        judge(records, {**claim("vggish_pp", "log_mel"), **change})


def test_a_metric_that_is_no_mean_over_classes_is_judged_whole(records: list[Record]) -> None:
    (found,) = judge(records, {**claim("vggish_pp", "log_mel"), "metric": "f1_micro_unmasked"})
    expected = by_hand(records, "vggish_pp", "log_mel", "f1_micro_unmasked")
    ours = found.difference
    assert (ours.value, ours.low, ours.high) == pytest.approx(expected, abs=1e-12)


def test_accuracy_and_loss_of_clips_of_one_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each seed has its own test part; of a loss the arm that is above has more of it."""
    monkeypatch.setattr(claims, "checks", lambda study: None)  # invented notes have no pitches
    notes = studies.load("single_notes")
    stated = (
        claim("setup_4", "setup_2") | {"metric": "accuracy"},
        claim("setup_2", "setup_4") | {"metric": "log_loss"},
        claim("setup_4", "setup_2", classes=["c"]) | {"metric": "f1_macro"},
    )
    notes = replace(notes, claims=stated)
    skills = {"setup_4": 0.5, "setup_2": 0.2}
    found = write_trials(
        tmp_path,
        notes,
        arms=list(skills),
        conditions=["paper"],
        seeds=3,
        sizes=(20, 70),
        classes="abcdefg",
        skills=skills,
    )
    judged = orderings.judge(notes, found, replicates=200)
    assert [j.verdict for j in judged] == ["holds"] * 3
    ours = judged[1].difference
    expected = by_hand(found, "setup_2", "setup_4", "log_loss")
    assert (ours.value, ours.low, ours.high) == pytest.approx(expected, abs=1e-12)


def test_other_kinds_of_claims_are_left_alone(records: list[Record]) -> None:
    assert judge(records, {"kind": "not judged", "text": "It is pretty", "where": "7", "why": "taste"}) == []


CLAIMS = (
    claim("vggish_pp", "log_mel"),
    claim("log_mel", "vggish_pp", "at least", margin=0.02),
    claim("align", "log_mel"),
    claim("textual", ["den_add", "den_mul"], classes=["organ"], reading="good is above the others", text="Den ⊙ ≥ 0"),
)


@pytest.fixture(scope="module")
def forest(records: list[Record]) -> Figure:
    return orderings.forest(study_with(*CLAIMS), records, replicates=50)


def test_the_figure_shows_every_claim(forest: Figure, records: list[Record]) -> None:
    assert_readable(forest)
    axes = forest.axes[0]
    assert [t.get_text() for t in axes.get_yticklabels()] == [c["text"] for c in CLAIMS]
    judged = orderings.judge(study_with(*CLAIMS), records, replicates=50)
    values = {line.get_ydata()[0]: line.get_xdata()[0] for line in axes.lines if line.get_marker() in "osd"}
    assert values == {i: j.difference.value for i, j in enumerate(judged) if j.difference.value is not None}
    legend = [t.get_text() for t in forest.legends[0].get_texts()]
    assert legend == ["holds (1)", "undecided (0)", "reversed (2)", "margin"]
    assert [t.get_text() for t in axes.texts] == ["not judged"]


def test_the_legend_lies_beside_the_panel(forest: Figure) -> None:
    draw(forest)
    assert not forest.legends[0].get_window_extent().overlaps(forest.axes[0].get_window_extent())
