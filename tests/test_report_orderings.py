"""Orderings: planted records whose answer is known, and claims that cannot be judged."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers import CLASSES, assert_readable, draw, write_trials
from matplotlib.figure import Figure

from harness.errors import RepriseError
from harness.report import estimates, orderings, tables
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
        folder, studies.load("attention_embeddings"), arms=list(SKILLS), conditions=["paper"], skills=SKILLS, seeds=2
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
    assert orderings.tally(found) == "4 hold, 3 reversed, 1 undecided"


def test_over_all_classes_it_is_the_paired_difference(records: list[Record]) -> None:
    (found,) = judge(records, claim("vggish_norm", "textual"))
    sides = (estimates.select(records, name, "paper") for name in ("vggish_norm", "textual"))
    expected = estimates.difference(*sides, "test", [METRIC], replicates=200)[0][METRIC]
    ours = found.difference
    assert (ours.value, ours.low, ours.high) == pytest.approx((expected.value, expected.low, expected.high), abs=1e-12)
    assert found.above - found.below == pytest.approx(ours.value)


def test_scores_of_classes_and_of_several_arms_are_means(records: list[Record]) -> None:
    classes = ["organ", "voice"]
    (found,) = judge(records, claim("textual", ["den_add", "den_mul"], classes=classes))

    def mean(*arms: str) -> float:
        scores = [
            r.data["metrics"]["test"]["per_class"][name][METRIC] for r in records if r.arm in arms for name in classes
        ]
        return float(np.mean(scores))

    assert found.above == pytest.approx(mean("textual"))
    assert found.below == pytest.approx(mean("den_add", "den_mul"))
    assert found.difference.low <= found.difference.value <= found.difference.high


def test_sides_on_different_clips_are_resampled_each_for_itself(tmp_path: Path, records: list[Record]) -> None:
    study = study_with(claim("vggish_pp", "log_mel"))
    others = write_trials(
        tmp_path, study, arms=["log_mel"], conditions=["paper"], skills=SKILLS, seeds=2, sizes=(45, 80)
    )
    mixed = [r for r in records if r.arm == "vggish_pp"] + others
    (found,) = orderings.judge(study, mixed, replicates=200)
    sides = (estimates.select(mixed, name, "paper") for name in ("vggish_pp", "log_mel"))
    expected, paired = estimates.difference(*sides, "test", [METRIC], replicates=200)
    assert not paired
    assert (found.difference.low, found.difference.high) == pytest.approx((expected[METRIC].low, expected[METRIC].high))


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
    assert all(j.above is j.below is j.difference.value is None for j in found)
    assert orderings.tally(found) == "0 hold, 0 reversed, 0 undecided, 3 not judged"
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
    assert judge([*records, *changed], claim("vggish_pp", "log_mel")) == judge(records, claim("vggish_pp", "log_mel"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"above": "vggish"}, "no arm of attention_embeddings named 'vggish'"),
        ({"below": ["log_mel", "wavelets"]}, "no arm of attention_embeddings named 'wavelets'"),
        ({"relation": "below"}, "has the relation 'below'; write 'above' or 'at least' in"),
        ({"metric": "accuracy"}, "needs a multilabel metric, not 'accuracy': choose one of f1_macro2_masked, "),
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
    sides = [estimates.select(records, name, "paper") for name in ("vggish_pp", "log_mel")]
    expected = estimates.difference(*sides, "test", ["f1_micro_unmasked"], replicates=200)[0]["f1_micro_unmasked"]
    ours = found.difference
    assert (ours.value, ours.low, ours.high) == pytest.approx((expected.value, expected.low, expected.high), abs=1e-12)


def test_accuracy_and_loss_of_clips_of_one_class(tmp_path: Path) -> None:
    """Each seed has its own test part; of a loss the arm that is above has more of it."""
    notes = studies.load("single_notes")
    claims = (
        claim("setup_4", "setup_2") | {"metric": "accuracy"},
        claim("setup_2", "setup_4") | {"metric": "log_loss"},
        claim("setup_4", "setup_2", classes=["c"]) | {"metric": "f1_macro"},
    )
    notes = replace(notes, claims=claims)
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
    sides = [estimates.select(found, name, "paper") for name in ("setup_2", "setup_4")]
    gains, _ = estimates.difference(*sides, "test", ["log_loss"], replicates=200)
    ours, expected = judged[1].difference, gains["log_loss"]
    assert (ours.value, ours.low, ours.high) == pytest.approx((expected.value, expected.low, expected.high), abs=1e-12)
    assert "Accuracy and Log loss" in orderings.table(notes, found, replicates=20).caption


def test_other_kinds_of_claims_are_left_alone(records: list[Record]) -> None:
    assert judge(records, {"kind": "value", "arm": "vggish_pp"}) == []


CLAIMS = (
    claim("vggish_pp", "log_mel"),
    claim("log_mel", "vggish_pp", "at least", margin=0.02),
    claim("align", "log_mel"),
    claim("textual", ["den_add", "den_mul"], classes=["organ"], reading="good is above the others", text="Den ⊙ ≥ 0"),
)


def test_the_table_says_it_all(records: list[Record], tmp_path: Path) -> None:
    made = orderings.table(study_with(*CLAIMS), records, replicates=50)
    assert (
        made.title
        == "Orderings the paper claims, judged on pocket-openmic: 1 hold, 2 reversed, 0 undecided, 1 not judged"
    )
    for part in ("Corpus pocket-openmic", "2 seeds", "50 replicates", "above minus 0.02", "Not a replication"):
        assert part in made.caption
    assert made.notes == "Our readings: good is above the others."
    tables.write(made, tmp_path)
    frame = pd.read_csv(tmp_path / "orderings_test.csv")
    assert list(frame["verdict"]) == ["holds", "reversed", "not judged: no record of align", "reversed"]
    assert list(frame["below"]) == ["log_mel", "vggish_pp", "log_mel", "den_add den_mul"]
    assert (frame["corpus"] == "pocket-openmic").all()
    np.testing.assert_allclose(frame["ours_above"] - frame["ours_below"], frame["difference"], atol=2e-6)
    assert frame.loc[2, ["ours_above", "difference_low"]].isna().all()
    assert r"Den $\odot$ $\geq$ 0" in (tmp_path / "orderings_test.tex").read_text()
    assert "nan" not in (tmp_path / "orderings_test.md").read_text()


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
    assert legend == ["holds (1)", "undecided (0)", "reversed (2)", "margin of “at least”"]
    assert [t.get_text() for t in axes.texts] == ["not judged"]


def test_the_legend_lies_beside_the_panel(forest: Figure) -> None:
    draw(forest)
    assert not forest.legends[0].get_window_extent().overlaps(forest.axes[0].get_window_extent())
