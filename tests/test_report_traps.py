"""Silent choices of protocol: every switch against another way to compute it, and planted cases it must tell apart."""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers import assert_readable, write_trials
from scipy import stats
from sklearn.metrics import accuracy_score, f1_score
from trials import reprise

from harness.analysis.study import Analysis
from harness.errors import RepriseError
from harness.report import switches, traps, writers
from harness.report.replay import Switch, Trials
from harness.studies import study as studies
from harness.studies.records import Predictions, Record, by_clip, find_records, write_predictions, write_record
from harness.studies.study import Study

UNFREEZING, ATTENTION = studies.load("openmic_transfer"), studies.load("attention_embeddings")
NOTES, GENRES = studies.load("single_notes"), studies.load("gtzan_cam")
ARM = "vggish_full"
#: Arms of the unfreezing study, and how well they know their classes.
SKILLS = {"resnet_fc": 0.2, "resnet_full": 0.35, ARM: 0.45}


def played(folder: Path, study: Study, skills: Mapping[str, float], **others) -> list[Record]:
    return write_trials(folder, study, arms=list(skills), skills=skills, **others)


def again(record: Record, change: Callable[[Predictions], Predictions], **data) -> Record:
    """Write a trial anew with other predictions, or other entries of its record."""
    write_predictions(record.folder, {part: change(record.predictions(part)) for part in ("valid", "test")})
    kept = {k: v for k, v in record.data.items() if k not in ("metrics", "files", "checksum")}
    return write_record(record.folder, {**kept, **data}, ("history.jsonl", "best.safetensors"))


@pytest.fixture(scope="module")
def unfreezing(tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    return played(tmp_path_factory.mktemp("unfreezing"), UNFREEZING, SKILLS, seeds=3)


@pytest.fixture(scope="module")
def attention(tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    skills = {"vggish_pp": 0.4, "log_mel": 0.2}
    return played(tmp_path_factory.mktemp("attention"), ATTENTION, skills, seeds=3, conditions=["paper"])


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    skills = {"setup_1": 0.2, "setup_2": 0.3}
    names = ["paper", "by-pitch", "folds", "dropout"]
    options = {"seeds": 3, "conditions": names, "classes": ("violin", "flute", "tuba"), "corpus": "pocket-notes"}
    return played(tmp_path_factory.mktemp("notes"), NOTES, skills, **options)


@pytest.fixture(scope="module")
def genres(tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    keys = [f"blues.{i // 5:05d}#{i % 5}" for i in range(400)]
    labels = np.eye(4, dtype=np.uint8)[np.arange(400) // 5 % 4]
    options = {"seeds": 2, "conditions": ["paper"], "classes": ("a", "b", "c", "d"), "clips": (keys, labels)}
    return played(tmp_path_factory.mktemp("genres"), GENRES, {"base": 0.15}, sizes=(40, 90), **options)


def analysed(study: Study, records: Sequence[Record], clips: pd.DataFrame | None = None) -> Analysis:
    return Analysis(study, records, clips)


def trials(study: Study, records: Sequence[Record], arm: str, clips: pd.DataFrame | None = None) -> Trials:
    return Trials(analysed(study, records, clips), arm)


def select(records: Sequence[Record], arm: str, condition: str) -> list[Record]:
    return [r for r in records if (r.arm, r.condition) == (arm, condition)]


def named(found: list[Switch] | str, other: str) -> Switch:
    assert not isinstance(found, str), found
    return next(s for s in found if s.other == other)


def mean_over_seeds(of: Trials, score: Callable[[Predictions], float]) -> float:
    return float(np.mean([score(r.predictions("test")) for r in of.records]))


def test_which_f1_is_what_scikit_learn_has_by_that_name(unfreezing: list[Record]) -> None:
    of = trials(UNFREEZING, unfreezing, ARM)
    found = switches.which_average(of)
    expected = {
        "micro, missing = absent": "micro",
        "classes by frequency": "weighted",
        "mean over clips": "samples",
    }
    for other, average in expected.items():

        def score(p: Predictions, average: str = average) -> float:
            return f1_score(p.labels * p.mask, p.probabilities >= 0.5, average=average, zero_division=0)

        s = named(found, other)
        assert s.after == pytest.approx(mean_over_seeds(of, score))
        assert s.before == pytest.approx(
            mean_over_seeds(of, lambda p: f1_score(p.labels * p.mask, p.probabilities >= 0.5, average="macro"))
        )
        assert s.effect.value == pytest.approx(s.after - s.before)
    assert {s.other for s in found} == {*expected, "2-class, observed"}  # the other reading is a choice of its own


def test_of_masked_scores_averages_are_of_observed_labels_alone(attention: list[Record]) -> None:
    of = trials(ATTENTION, attention, "vggish_pp")
    found = switches.which_average(of)
    assert {s.usual for s in found} == {"2-class, observed"}
    observed = mean_over_seeds(
        of,
        lambda p: f1_score(p.labels * p.mask, (p.probabilities >= 0.5) & p.mask, average="weighted", zero_division=0),
    )
    assert named(found, "classes by frequency").after == pytest.approx(observed)
    for name in ("f1_macro_pos_masked", "f1_macro_unmasked", "f1_micro_unmasked"):
        expected = np.mean([r.data["metrics"]["test"][name] for r in of.records])
        assert any(s.after == pytest.approx(expected) for s in found)


def test_without_missing_labels_no_score_goes_by_two_names(tmp_path: Path) -> None:
    study = dataclasses.replace(UNFREEZING, metric="f1_micro_unmasked")
    records = played(tmp_path, study, {ARM: 0.4}, conditions=["paper"])
    whole = [again(r, lambda p: dataclasses.replace(p, mask=np.ones_like(p.mask))) for r in records]
    of = trials(study, whole, ARM)
    assert {s.other for s in switches.which_average(of)} == {
        "macro", "2-class", "classes by frequency", "mean over clips",
    }  # fmt: skip
    assert switches.missing_labels(of) == "every label was observed"


def test_which_average_of_one_class(notes: list[Record]) -> None:
    of = trials(NOTES, notes, "setup_1")
    found = switches.which_average(of)
    for other, average in (("macro F1", "macro"), ("F1, classes by frequency", "weighted")):

        def score(p: Predictions, average: str = average) -> float:
            return f1_score(p.labels.argmax(1), p.probabilities.argmax(1), average=average)

        assert named(found, other).after == pytest.approx(mean_over_seeds(of, score))
    assert named(found, "macro F1").usual == "accuracy"


def test_missing_labels_switch_between_the_two_readings(unfreezing: list[Record], attention: list[Record]) -> None:
    of = trials(UNFREEZING, unfreezing, ARM)
    (s,) = switches.missing_labels(of)
    assert (s.usual, s.other) == ("missing = absent", "observed alone")
    assert s.after == pytest.approx(np.mean([r.data["metrics"]["test"]["f1_macro_pos_masked"] for r in of.records]))
    of = trials(ATTENTION, attention, "vggish_pp")
    (s,) = switches.missing_labels(of)

    def score(p: Predictions) -> float:
        labels, predicted = p.labels * p.mask, p.probabilities >= 0.5
        sides = [f1_score(labels == side, predicted == side, average="macro", zero_division=0) for side in (0, 1)]
        return float(np.mean(sides))

    assert (s.usual, s.other) == ("observed alone", "missing = absent")
    assert s.after == pytest.approx(mean_over_seeds(of, score))


def test_classes_that_cannot_be_scored_count_as_0_or_not_at_all(tmp_path: Path) -> None:
    def plant(p: Predictions) -> Predictions:
        """Class 0 is never observed; class 1 is neither present nor predicted."""
        mask, labels, probabilities = p.mask.copy(), p.labels.copy(), p.probabilities.copy()
        mask[:, 0], labels[:, :2], probabilities[:, 1] = False, 0, 0.1
        return Predictions(p.keys, labels, mask, probabilities)

    skills, options = {"vggish_pp": 0.5}, {"conditions": ["paper"], "sizes": (45, 300)}
    records = [again(r, plant) for r in played(tmp_path / "2-class", ATTENTION, skills, **options)]
    of = trials(ATTENTION, records, "vggish_pp")
    as_zero, left_out = switches.undefined_classes(of)
    classes = [c["f1_macro2_masked"] for c in records[0].data["metrics"]["test"]["per_class"].values()]
    assert classes[0] is None
    assert classes[1] == 0.5
    assert as_zero.after == pytest.approx(np.sum(classes[1:]) / 20)
    # What is left out of class 1 is the half that was 0 / 0; the other half is 1.
    assert left_out.after == pytest.approx((1 + np.sum(classes[2:])) / 19)
    assert (as_zero.usual, left_out.usual) == ("left out", "0 / 0 counts as 0")

    records = [again(r, plant) for r in played(tmp_path / "macro", UNFREEZING, {ARM: 0.5}, **options)]
    of = trials(UNFREEZING, records, ARM)
    (s,) = switches.undefined_classes(of)
    p = records[0].predictions("test")
    scored = [i for i in range(20) if (p.labels[:, i] * p.mask[:, i]).any() or (p.probabilities[:, i] >= 0.5).any()]
    assert 1 not in scored
    predicted = p.probabilities[:, scored] >= 0.5
    assert s.after == pytest.approx(f1_score((p.labels * p.mask)[:, scored], predicted, average="macro"))


def test_every_class_is_defined_or_the_score_is_no_mean(unfreezing: list[Record], notes: list[Record]) -> None:
    assert switches.undefined_classes(trials(UNFREEZING, unfreezing, ARM)) == "every class is defined"
    assert switches.undefined_classes(trials(NOTES, notes, "setup_1")) == "accuracy is no mean over classes"


def test_the_last_batch_is_the_end_by_key(unfreezing: list[Record], notes: list[Record]) -> None:
    of = trials(UNFREEZING, unfreezing, ARM)  # 120 clips are 7 batches of 16 and 8
    (s,) = switches.last_batch(of)
    assert "last 8 by key" in s.other

    def score(p: Predictions) -> float:
        rows = np.argsort(p.keys)[:112]
        return f1_score((p.labels * p.mask)[rows], p.probabilities[rows] >= 0.5, average="macro", zero_division=0)

    assert s.after == pytest.approx(mean_over_seeds(of, score))
    assert switches.last_batch(trials(NOTES, notes, "setup_1")) == "the 120 of the test part make whole batches of 20"
    own = [dataclasses.replace(r, data={**r.data, "options": {"batch_size": 50}}) for r in notes]
    (s,) = switches.last_batch(trials(NOTES, own, "setup_1"))
    assert "last 20 by key" in s.other  # an arm's own batches


def test_a_part_smaller_than_a_batch_is_not_dropped_whole(tmp_path: Path) -> None:
    records = played(tmp_path, UNFREEZING, {ARM: 0.4}, conditions=["paper"], sizes=(20, 12))
    why = switches.last_batch(trials(UNFREEZING, records, ARM))
    assert why == "the 12 of the test part do not fill one batch of 16"


def test_segments_vote_for_their_clip(genres: list[Record], notes: list[Record]) -> None:
    of = trials(GENRES, genres, "base")
    (s,) = switches.scored_unit(of)

    def score(p: Predictions) -> float:
        whole = by_clip(p)
        return accuracy_score(whole.labels.argmax(1), whole.probabilities.argmax(1))

    assert s.after == pytest.approx(mean_over_seeds(of, score))
    assert s.after > s.before
    assert switches.scored_unit(trials(NOTES, notes, "setup_1")) == "whole clips are scored"


def macro_f1(labels: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Of each class, by hand."""
    hits = (labels & predicted).sum(axis=0)
    return 2 * hits / np.maximum(labels.sum(axis=0) + predicted.sum(axis=0), 1)


def test_thresholds_are_chosen_on_the_part_they_say(unfreezing: list[Record]) -> None:
    of = trials(UNFREEZING, unfreezing, ARM)
    found = switches.threshold(of)
    grid = sorted({*switches.GRID, 0.5}, key=lambda t: abs(t - 0.5))
    expected: dict[str, list[float]] = {s.other: [] for s in found}
    for record in of.records:
        curves = {}
        for part in ("valid", "test"):
            p = record.predictions(part)
            curves[part] = np.array([macro_f1((p.labels * p.mask).astype(bool), p.probabilities >= t) for t in grid])
        test = curves["test"]
        expected["chosen on validation"].append(test[curves["valid"].mean(axis=1).argmax()].mean())
        expected["best on test"].append(test.mean(axis=1).max())
        expected["per class, on validation"].append(test[curves["valid"].argmax(axis=0), np.arange(20)].mean())
        expected["per class, best on test"].append(test.max(axis=0).mean())
    for s in found:
        assert s.after == pytest.approx(np.mean(expected[s.other])), s.other
        assert s.usual == "0.5"
    assert named(found, "best on test").effect.low >= 0


def test_no_threshold_where_none_is_needed(notes: list[Record], unfreezing: list[Record]) -> None:
    assert switches.threshold(trials(NOTES, notes, "setup_1")) == "the most probable class is predicted"
    ranking = dataclasses.replace(UNFREEZING, metric="map_masked")
    of = trials(ranking, unfreezing, ARM)
    assert switches.threshold(of) == "mAP needs no decisions"
    assert switches.which_average(of) == "the main score is no F1 but mAP"
    assert switches.missing_labels(of) == "mAP has one reading here"


def write_history(record: Record, scores: Sequence[float], losses: Sequence[float]) -> None:
    lines = [
        {"epoch": i, "valid_loss": loss, "f1_macro_unmasked": score}
        for i, (score, loss) in enumerate(zip(scores, losses, strict=True), 1)
    ]
    (record.folder / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_the_epoch_kept_is_switched_from_what_the_study_keeps(tmp_path: Path) -> None:
    records = played(tmp_path, UNFREEZING, {ARM: 0.4}, conditions=["paper"], seeds=3)
    histories = ([0.1, 0.3, 0.2], [0.2, 0.1, 0.4, 0.3], [0.3, 0.2, 0.1])
    losses = ([3, 1, 2], [1, 2, 3, 4], [2, 1, 3])
    for record, scores, loss in zip(records, histories, losses, strict=True):
        write_history(record, scores, loss)
    records = [again(r, lambda p: p, best_epoch=e) for r, e in zip(records, (2, 1, 2), strict=True)]
    last, best = switches.kept_epoch(trials(UNFREEZING, records, ARM))
    assert {last.usual, best.usual} == {"lowest loss"}
    assert (last.other, best.other) == ("last", "best score")
    assert last.before == pytest.approx((0.3 + 0.2 + 0.2) / 3)
    gains = np.array([-0.1, 0.1, -0.1])
    assert last.effect.value == pytest.approx(gains.mean())
    expected = stats.t.interval(0.95, 2, gains.mean(), stats.sem(gains))
    assert (last.effect.low, last.effect.high) == pytest.approx(expected)
    assert last.over == "seeds"
    assert best.effect.value == pytest.approx((0 + 0.2 + 0.1) / 3)
    assert best.effect.low == 0  # the best cannot be worse

    one = switches.kept_epoch(trials(UNFREEZING, records[:1], ARM))
    assert [s.other for s in one] == ["last"]  # of the first seed the two others keep the same epoch
    assert np.isnan([one[0].effect.low, one[0].effect.high]).all()


def test_no_epochs_to_choose_from(attention: list[Record], tmp_path: Path) -> None:
    records = played(tmp_path, UNFREEZING, {ARM: 0.4}, conditions=["paper"])
    write_history(records[0], [0.1, 0.2], [2, 1])
    record = again(records[0], lambda p: p, best_epoch=2)
    assert switches.kept_epoch(trials(UNFREEZING, [record], ARM)) == "all rules keep the same epochs"
    micro = dataclasses.replace(UNFREEZING, metric="jaccard_macro_unmasked")
    assert switches.kept_epoch(trials(micro, [record], ARM)) == "histories do not have macro Jaccard"
    (record.folder / "history.jsonl").write_text("")
    assert switches.kept_epoch(trials(UNFREEZING, [record], ARM)) == "there are no epochs"


def test_the_best_seed_on_test_and_on_validation(unfreezing: list[Record]) -> None:
    of = trials(UNFREEZING, unfreezing, ARM)
    on_test, on_valid = switches.best_seed(of)
    scores = {part: [r.data["metrics"][part][UNFREEZING.metric] for r in of.records] for part in ("valid", "test")}
    assert on_test.before == pytest.approx(np.mean(scores["test"]))
    assert on_test.after == pytest.approx(max(scores["test"]))
    assert on_valid.after == pytest.approx(scores["test"][int(np.argmax(scores["valid"]))])
    assert on_test.effect.low >= 0
    assert on_test.over == on_valid.over == "artists"  # which seed is the best is no effect that each seed has
    alone = trials(UNFREEZING, [r for r in unfreezing if r.seed == 0], ARM)
    assert switches.best_seed(alone) == "there is one seed"


def test_conditions_that_differ_in_one_thing_are_compared_as_ever(
    notes: list[Record], unfreezing: list[Record]
) -> None:
    found = switches.other_training(trials(NOTES, notes, "setup_1"))
    assert [(s.choice, s.usual, s.other) for s in found] == [
        ("Split", "random split", "split by pitch"),
        ("Split", "random split", "published folds"),
    ]
    means = [
        np.mean([r.data["metrics"]["test"]["accuracy"] for r in select(notes, "setup_1", name)])
        for name in ("by-pitch", "paper")
    ]
    assert found[0].effect.value == pytest.approx(means[0] - means[1])
    (s,) = switches.other_training(trials(UNFREEZING, unfreezing, ARM))
    assert (s.choice, s.other) == ("Missing labels in training", "masked")
    alone = [r for r in notes if r.condition in ("paper", "dropout")]
    why = switches.other_training(trials(NOTES, alone, "setup_1"))
    assert why == "this arm was run under no condition that differs in the split or in missing labels alone"


def test_how_a_split_is_drawn_is_part_of_it(tmp_path: Path) -> None:
    options = {"conditions": ["paper", "track", "filtered", "released"], "classes": ("a", "b", "c", "d"), "seeds": 2}
    records = played(tmp_path, GENRES, {"base": 0.2, "released_base": 0.2}, **options)
    found = switches.other_training(trials(GENRES, records, "base"))
    assert [s.other for s in found] == ["by track", "fault-filtered"]


def test_a_label_threshold_reads_what_is_said_of_the_clips(tmp_path: Path, notes: list[Record]) -> None:
    (record,) = played(tmp_path, UNFREEZING, {ARM: 0.4}, conditions=["paper"])
    p = record.predictions("test")
    generator = np.random.default_rng(0)
    sure, unsure = (generator.uniform(*ends, p.labels.shape) for ends in ((0.5, 1), (0, 0.49)))
    relevance = np.where(p.labels, sure, unsure)
    names = [f"relevance_{name}" for name in record.data["classes"]]
    clips = pd.DataFrame(relevance, columns=names).assign(key=p.keys, group=p.keys)
    (s,) = switches.label_threshold(trials(UNFREEZING, [record], ARM, clips))
    stricter = (relevance >= 0.75) & p.mask
    assert s.after == pytest.approx(f1_score(stricter, p.probabilities >= 0.5, average="macro", zero_division=0))
    assert s.after != s.before
    certain = clips.assign(**{name: np.where(clips[name] >= 0.5, 0.9, 0.1) for name in names})
    why = switches.label_threshold(trials(UNFREEZING, [record], ARM, certain))
    assert why == "no label would change up to a threshold of 0.75"
    turned = clips.assign(**{name: 1 - clips[name] for name in names})
    assert "not of those" in switches.label_threshold(trials(UNFREEZING, [record], ARM, turned))
    assert "nothing here says" in switches.label_threshold(trials(UNFREEZING, [record], ARM))
    assert switches.label_threshold(trials(NOTES, notes, "setup_1")) == "every clip has one class"


@pytest.fixture(scope="module")
def found(unfreezing: list[Record]) -> traps.Traps:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REPRISE_HOME", str(unfreezing[0].folder))
        return traps.survey(analysed(UNFREEZING, unfreezing))


def test_the_survey_shows_the_best_trained_arm_by_size(found: traps.Traps, unfreezing: list[Record]) -> None:
    assert found.arm == ARM
    sizes = [abs(s.effect.value) for s in found.switches]
    assert sizes == sorted(sizes, reverse=True)
    assert set(found.silent) == {"undefined classes", "what is scored", "label threshold"}
    assert {s.choice for s in found.switches} == {
        "Which F1", "Missing labels in scoring", "Last batch, if smaller", "Threshold",
        "Epoch kept (validation part)", "Seeds", "Missing labels in training",
    }  # fmt: skip
    scores = sorted(
        np.mean([r.data["metrics"]["test"][UNFREEZING.metric] for r in select(unfreezing, arm, "paper")])
        for arm in SKILLS
    )
    assert found.gap == pytest.approx(scores[-1] - scores[-2])


def test_of_all_arms_the_range_and_the_pairs_that_change_places(found: traps.Traps, unfreezing: list[Record]) -> None:
    frame = traps.table(found).frame
    number = next(i for i, s in enumerate(found.switches) if s.other == "micro, missing = absent")
    names = ("f1_macro_unmasked", "f1_micro_unmasked")
    scores = {
        arm: [np.mean([r.data["metrics"]["test"][n] for r in select(unfreezing, arm, "paper")]) for n in names]
        for arm in SKILLS
    }
    gains = [micro - macro for macro, micro in scores.values()]
    row = frame.iloc[number]
    assert (row["least_of_arms"], row["greatest_of_arms"]) == pytest.approx((min(gains), max(gains)))
    assert row["pairs"] == 3
    others = ({"a": (0.1, 0.5), "b": (0.2, 0.4), "c": (0.3, 0.6)},)
    planted = dataclasses.replace(found, others=others)
    assert planted.swapped(0) == (1, 3)  # a and b alone


def test_another_arm_can_be_shown(unfreezing: list[Record], notes: list[Record]) -> None:
    assert traps.survey(analysed(UNFREEZING, unfreezing), arm="resnet_fc").arm == "resnet_fc"
    with pytest.raises(RepriseError, match="no trial under 'paper'; run it first"):
        traps.survey(analysed(UNFREEZING, unfreezing), arm="vggish_fc")
    with pytest.raises(RepriseError, match="no arm of openmic_transfer has a trial"):
        traps.survey(analysed(UNFREEZING, [r for r in unfreezing if r.condition == "masked"]))
    with pytest.raises(RepriseError, match="is a loss"):
        traps.survey(analysed(dataclasses.replace(NOTES, metric="log_loss"), notes))


def test_a_reference_without_training_is_shown_where_nothing_else_is(tmp_path: Path) -> None:
    skills = {"rf": 0.5, "vggish_pp": 0.2}
    records = played(tmp_path, ATTENTION, skills, conditions=["paper"])
    assert traps.survey(analysed(ATTENTION, records)).arm == "vggish_pp"
    alone = traps.survey(analysed(ATTENTION, [r for r in records if r.arm == "rf"]))
    assert alone.arm == "rf"
    assert alone.silent["epoch kept"] == "there are no epochs"
    assert alone.gap is None
    table = traps.table(alone)
    assert "Swapped" not in writers.to_markdown(table)
    assert_readable(traps.forest(alone))


def test_table_and_plot_say_what_they_stand_on(found: traps.Traps) -> None:
    table = traps.table(found)
    text = writers.to_markdown(table)
    assert "pocket-openmic, profile pocket" in text
    assert "Does not arise here: undefined classes: every class is defined" in text
    assert "Student's t over seeds" in text
    first = found.switches[0]
    ends = f"\\[{writers.in_points(first.effect.low)}" if "\\[" in text else f"[{writers.in_points(first.effect.low)}"
    assert f"{writers.in_points(first.effect.value)} {ends}" in text
    assert writers.to_latex(table).count(r"\\") >= len(found.switches)
    figure = traps.forest(found)
    assert_readable(figure)
    labels = [t.get_text().replace("\n", " ") for t in figure.axes[0].get_yticklabels()]
    assert labels[0] == f"{first.choice}: {first.usual} → {first.other}"


@pytest.mark.parametrize(
    ("difference", "text"), [(0.0123, "+1.2"), (-0.0001, "+0.0"), (-0.25, "\u221225.0"), (0.0, "+0.0")]
)
def test_points_have_one_decimal_and_no_negative_zero(difference: float, text: str) -> None:
    assert writers.in_points(difference) == text


def test_the_command_writes_the_same_files_each_time(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "openmic_transfer" / "pocket-openmic-pocket"
    played(folder, UNFREEZING, {"resnet_fc": 0.2, ARM: 0.4}, seeds=2)
    written = []
    for out in ("one", "two"):
        result = reprise("traps", "openmic-transfer", "--runs", tmp_path / "runs", "--out", tmp_path / out)
        assert result.exit_code == 0, result.output
        assert "What silent choices of protocol are worth" in result.output
        place = tmp_path / out / "openmic_transfer" / "pocket-openmic-pocket" / "traps"
        written.append({path.name: path.read_bytes() for path in sorted(place.rglob("traps.*"))})
    assert list(written[0]) == ["traps.csv", "traps.md", "traps.pdf", "traps.png", "traps.tex"]
    assert written[0] == written[1]
    frame = pd.read_csv(next((tmp_path / "one").rglob("traps.csv")))
    assert (frame["switched"] - frame["score"]).to_numpy() == pytest.approx(frame["effect"].to_numpy(), abs=2e-6)
    assert set(frame["arm"]) == {ARM}


def test_the_commands_mistakes_end_in_one_sentence(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    result = reprise("traps", "gtzan-cam", "--runs", runs, "--out", tmp_path)
    assert result.exit_code == 1
    assert "no finished trial under" in result.output
    folder = runs / "openmic_transfer" / "pocket-openmic-pocket"
    played(folder, UNFREEZING, {ARM: 0.4})
    result = reprise("traps", "openmic-transfer", "--arm", "nobody", "--runs", runs, "--out", tmp_path)
    assert result.exit_code == 1
    assert "there is no arm" in result.output
    (find_records(folder)[0].folder / "history.jsonl").write_text("")
    result = reprise("traps", "openmic-transfer", "--runs", runs, "--out", tmp_path)
    assert result.exit_code == 1
    assert "was changed after the record was written" in result.output
