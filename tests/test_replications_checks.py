"""What papers say in words: each check on planted trials and tables that it must accept, and refuse."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers import CLASSES, write_trials

from harness import corpora
from harness.corpora import irmas
from harness.report import resampling
from harness.storage import write_text
from harness.studies import study as studies
from harness.studies.records import Record
from replications.attention_embeddings import checks as attention
from replications.gtzan_cam import checks as genres
from replications.irmas_activations import checks as predominant
from replications.openmic_transfer import checks as transfer
from replications.single_notes import checks as notes

OPENMIC, GTZAN = studies.load("openmic_transfer"), studies.load("gtzan_cam")
IRMAS, NOTES, ATTENTION = (studies.load(n) for n in ("irmas_activations", "single_notes", "attention_embeddings"))
SETUPS = ("setup_1", "setup_2", "setup_3", "setup_4")
AS_PUBLISHED = {"corpus": "openmic-2018", "profile": "paper", "weights": "published"}


def write_rows(folder: Path, name: str, rows: list[dict[str, Any]]) -> None:
    write_text(folder / f"{name}.csv", pd.DataFrame(rows).to_csv(index=False))


# ResNet-50 and VGGish


def test_printed_counts_are_those_of_the_arms(tmp_path: Path) -> None:
    assert transfer.parameter_counts(OPENMIC, [], tmp_path).verdict == "holds"
    wrong = [replace(a, parameters=2_580) if a.name == "vggish_fc" else a for a in OPENMIC.arms]
    found = transfer.parameter_counts(replace(OPENMIC, arms=tuple(wrong)), [], tmp_path)
    assert (found.verdict, "2,580 for ~25k" in found.evidence) == ("does not hold", True)


@pytest.mark.parametrize(("skill", "verdict"), [(0.1, "holds"), (1.0, "does not hold")])
def test_the_state_of_the_art_is_another_score(tmp_path: Path, skill: float, verdict: str) -> None:
    found = write_trials(
        tmp_path, OPENMIC, arms=["vggish_full"], conditions=["paper"], skills={"vggish_full": skill}, seeds=3,
        sizes=(60, 300), **AS_PUBLISHED,
    )  # fmt: skip
    judged = transfer.below_state_of_the_art(OPENMIC, found, tmp_path)
    ours = np.mean([r.data["metrics"]["test"]["f1_macro2_masked"] for r in found])
    assert (judged.verdict, judged.value) == (verdict, pytest.approx(0.8 - ours))
    pocket = [replace(r, data={**r.data, "corpus": "pocket-openmic"}) for r in found]
    assert transfer.below_state_of_the_art(OPENMIC, pocket, tmp_path).verdict == "not applicable: pocket corpus"


@pytest.mark.parametrize(("untrained", "verdict"), [(0.05, "holds"), (0.9, "does not hold")])
def test_pre_training_explains_a_gap_that_goes_without_it(tmp_path: Path, untrained: float, verdict: str) -> None:
    arms, found = ["resnet_full", "vggish_full"], []
    for condition, skill in (("paper", 0.3), ("random-weights", untrained)):
        found += write_trials(
            tmp_path / condition, OPENMIC, arms=arms, conditions=[condition],
            skills={"resnet_full": 0.1, "vggish_full": skill}, seeds=4, sizes=(20, 200), **AS_PUBLISHED,
        )  # fmt: skip
    assert transfer.pretraining_explains(OPENMIC, found, tmp_path).verdict == verdict
    without = transfer.pretraining_explains(OPENMIC, [r for r in found if r.condition == "paper"], tmp_path)
    assert without.verdict.startswith("not judged: no record of vggish_full@random-weights")
    pocket = [replace(r, data={**r.data, "weights": {"kind": "random"}}) for r in found]
    assert transfer.pretraining_explains(OPENMIC, pocket, tmp_path).verdict.startswith("not judged: no trial here")


@pytest.mark.parametrize(("sign", "verdict"), [(1, "holds"), (-1, "does not hold")])
def test_size_explains_where_the_larger_scores_higher(tmp_path: Path, sign: int, verdict: str) -> None:
    order = sorted(OPENMIC.arms, key=lambda arm: sign * arm.parameters)
    skills = {arm.name: 0.1 + 0.12 * n for n, arm in enumerate(order)}
    found = write_trials(tmp_path, OPENMIC, conditions=["paper"], skills=skills, seeds=3, sizes=(20, 200))
    judged = transfer.size_explains(OPENMIC, found, tmp_path)
    assert (judged.verdict, judged.value) == (verdict, float(sign > 0))
    assert judged.evidence.endswith("by the paper's own scores in 8 of 12")


@pytest.mark.parametrize(
    ("resnet", "vggish", "verdicts"),
    [
        ((0.10, 0.06, 0.14), (0.01, -0.02, 0.04), ("holds", "holds")),
        ((-0.10, -0.14, -0.06), (0.01, -0.02, 0.04), ("does not hold", "does not hold")),
        ((0.02, -0.02, 0.06), (0.01, -0.02, 0.04), ("undecided", "undecided")),
    ],
)
def test_maps_are_judged_where_stems_are_known(
    tmp_path: Path, resnet: tuple[float, ...], vggish: tuple[float, ...], verdicts: tuple[str, str]
) -> None:
    assert transfer.cams_point(OPENMIC, [], tmp_path).verdict.startswith("not judged")
    rows = [
        {
            "network": f"{name} (Full network)",
            "measure": measure,
            "against": against,
            **dict(zip(("difference", "difference_low", "difference_high"), numbers, strict=True)),
        }
        for name, numbers in (("ResNet-50", resnet), ("VGGish", vggish))
        for measure, against in (("when", "a uniform map"), ("where_and_when", "a uniform map"))
    ]
    write_rows(tmp_path, "explanations_test", rows)
    found = (transfer.cams_point(OPENMIC, [], tmp_path), transfer.resnet_maps_better(OPENMIC, [], tmp_path))
    assert tuple(f.verdict for f in found) == verdicts
    assert found[0].rests_on == ("explanations_test.csv",)


# Genres


@pytest.mark.parametrize(("skill", "verdict"), [(0.1, "holds"), (0.5, "does not hold")])
def test_filter_size_matters_beyond_the_bound(tmp_path: Path, skill: float, verdict: str) -> None:
    skills = {arm.name: 0.5 for arm in GTZAN.arms} | {"base_9x3": skill}
    keys = [f"jazz.{n:05d}#{s}" for n in range(200) for s in range(5)]
    labels = np.eye(10, dtype=np.uint8)[np.arange(1000) // 5 % 10]
    found = write_trials(
        tmp_path, GTZAN, arms=["base", "base_5x5", "base_9x3"], conditions=["paper"], seeds=4, sizes=(300, 600),
        classes="abcdefghij", skills=skills, corpus="pocket-gtzan", clips=(keys, labels),
    )  # fmt: skip
    judged = genres.sensitive_to_filter_size(GTZAN, found, tmp_path)
    assert judged.verdict == verdict
    one = genres.sensitive_to_filter_size(GTZAN, [r for r in found if r.arm == "base"], tmp_path)
    assert one.verdict.startswith("not judged: fewer than two shapes")


def interpretability(folder: Path, **differences: tuple[float, float, float]) -> None:
    against = {"steadiness": "baseCNN", "share": "an even map"}
    rows = []
    for name, numbers in differences.items():
        measure, _, arm = name.rpartition("__")
        ends = dict(zip(("difference", "difference_low", "difference_high"), numbers, strict=True))
        rows.append({"measure": measure, "arm": arm, "against": against[measure.partition("_")[0]], **ends})
    write_rows(folder, "interpretability", rows)


LESS, MORE, NONE = (-0.1, -0.2, -0.05), (0.1, 0.05, 0.2), (0.0, -0.1, 0.1)


@pytest.mark.parametrize(
    ("frequency", "time", "verdict"),
    [(LESS, LESS, "holds"), (LESS, MORE, "does not hold"), (LESS, NONE, "undecided"), (MORE, MORE, "does not hold")],
)
def test_masks_are_steady_if_their_peaks_move_less(
    tmp_path: Path, frequency: tuple[float, ...], time: tuple[float, ...], verdict: str
) -> None:
    assert genres.masks_steady(GTZAN, [], tmp_path).verdict.startswith("not judged")
    interpretability(tmp_path, steadiness_frequency__masked=frequency, steadiness_time__masked=time)
    assert genres.masks_steady(GTZAN, [], tmp_path).verdict == verdict
    assert genres.cam_points(GTZAN, [], tmp_path).verdict.startswith("not judged")


@pytest.mark.parametrize(("share", "verdict"), [(MORE, "holds"), (LESS, "does not hold"), (NONE, "undecided")])
def test_maps_of_genres_point_at_their_parts(tmp_path: Path, share: tuple[float, ...], verdict: str) -> None:
    interpretability(
        tmp_path, share_cam__cam=share, share_deconvolved__base=share, share_deconvolved__masked=share
    )  # fmt: skip
    assert genres.cam_points(GTZAN, [], tmp_path).verdict == verdict
    assert genres.country_drums(GTZAN, [], tmp_path).verdict == verdict


# Flutes and clarinets


def test_the_distributions_are_those_of_the_published_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = predominant.similar_distributions(IRMAS, [], tmp_path)
    assert found.verdict == "does not hold"
    assert found.value == pytest.approx((163 / 62) / (451 / 505))
    monkeypatch.setattr(irmas, "TEST", {**irmas.TEST, "flu": 163, "cla": 180})
    assert predominant.similar_distributions(IRMAS, [], tmp_path).verdict == "undecided"


@pytest.mark.parametrize(
    ("flute", "clarinet", "verdict"), [(0.5, 0.0, "holds"), (0.3, 0.3, "undecided"), (0.0, 0.5, "does not hold")]
)
def test_frequency_is_taken_out_of_the_comparison(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flute: float, clarinet: float, verdict: str
) -> None:
    classes = tuple(irmas.TRAINING)
    skills = np.array([{"flu": flute, "cla": clarinet}.get(name, 0.3) for name in classes])
    found = write_trials(
        tmp_path, IRMAS, conditions=["paper"], seeds=3, sizes=(20, 300), classes=classes, skills={"han": skills},
        corpus="pocket-irmas",
    )  # fmt: skip
    keys = found[0].predictions("test").keys
    clips = pd.DataFrame({"key": keys, "group": [f"song-{n // 2}" for n in range(len(keys))]})
    monkeypatch.setattr(corpora, "load", lambda name: SimpleNamespace(clips=clips))
    judged = predominant.beyond_frequency(IRMAS, found, tmp_path, replicates=200)
    assert judged.verdict == verdict
    assert len(set(predominant.units(found).values())) == 150


@pytest.mark.parametrize(("beyond", "verdict"), [(9, "holds"), (3, "holds"), (1, "undecided")])
def test_more_layers_than_chance_allows(tmp_path: Path, beyond: int, verdict: str) -> None:
    assert predominant.activation_bias_class(IRMAS, [], tmp_path).verdict.startswith("not judged")
    layers = range(9)
    rows = [
        {"best": 0.9, "bar": 0.8 if n < beyond else 0.95, "flute_low": 0.1 if n < beyond else -1, "flute_high": 0.5}
        for n in layers
    ]
    write_rows(tmp_path, "layers", rows)
    for check in (predominant.activation_bias_class, predominant.activation_bias_correct):
        found = check(IRMAS, [], tmp_path)
        assert (found.verdict, found.value) == (verdict, beyond)
    write_rows(tmp_path, "layers", [{**row, "flute_low": None} for row in rows])
    assert predominant.activation_bias_correct(IRMAS, [], tmp_path).verdict.startswith("not judged: too few")


# Single notes


@pytest.fixture
def set_ups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Record]]:
    monkeypatch.setattr(corpora, "load", lambda name: SimpleNamespace(clips=pd.DataFrame({"key": [], "group": []})))

    def write(skills: dict[str, float], **how: Any) -> list[Record]:
        folder = tmp_path / f"runs-{len(list(tmp_path.iterdir()))}"
        how = {"corpus": "pocket-notes", "conditions": ["paper"], **how}
        return write_trials(
            folder, NOTES, arms=list(skills), seeds=3, sizes=(20, 150), classes="abcdefg", skills=skills, **how
        )

    return write


def test_every_set_up_must_be_above_chance(set_ups: Callable[..., list[Record]], tmp_path: Path) -> None:
    able = dict.fromkeys(SETUPS, 0.3)
    assert notes.adaptable(NOTES, set_ups(able), tmp_path).verdict == "holds"
    one_guesses = notes.adaptable(NOTES, set_ups(able | {"setup_3": 0.0}), tmp_path)
    assert one_guesses.verdict == "does not hold"
    assert "setup_3" in one_guesses.evidence
    fewer = notes.adaptable(NOTES, set_ups({"setup_1": 0.3}), tmp_path)
    assert fewer.verdict == "not judged: no record of setup_2"


@pytest.mark.parametrize(("untrained", "verdict"), [(0.1, "holds"), (0.5, "does not hold")])
def test_transfer_is_judged_against_a_base_without_it(
    set_ups: Callable[..., list[Record]], tmp_path: Path, untrained: float, verdict: str
) -> None:
    here = set_ups({"setup_4": 0.3}, weights="published")
    assert notes.transfer_helps(NOTES, here, tmp_path).verdict.startswith("not judged: no record")
    both = [*here, *set_ups({"setup_4": untrained}, conditions=["random-weights"])]
    assert notes.transfer_helps(NOTES, both, tmp_path).verdict == verdict
    assert notes.transfer_helps(NOTES, set_ups({"setup_4": 0.3}), tmp_path).verdict.startswith("not judged: no trial")


@pytest.mark.parametrize(
    ("high", "low", "verdict"),
    [(0.05, 0.3, "holds"), (0.3, 0.3, "does not hold"), (None, 0.3, "not judged: no record")],
)
def test_a_rate_matters_if_either_does(
    set_ups: Callable[..., list[Record]], tmp_path: Path, high: float | None, low: float, verdict: str
) -> None:
    found = set_ups({"setup_4": 0.3})
    for condition, skill in (("high-rate", high), ("low-rate", low)):
        if skill == 0.3:  # the very same predictions
            found += [replace(r, data={**r.data, "condition": condition}) for r in found if r.condition == "paper"]
        elif skill is not None:
            found += set_ups({"setup_4": skill}, conditions=[condition])
    assert notes.rate_matters(NOTES, found, tmp_path).verdict.startswith(verdict)


@pytest.mark.parametrize(("late", "verdict"), [(0.1, "holds"), (-0.1, "does not hold"), (0.0, "undecided")])
def test_who_stagnates_gains_less_in_the_end(
    set_ups: Callable[..., list[Record]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, late: float, verdict: str
) -> None:
    def history(record: Record) -> pd.DataFrame:
        epochs = np.arange(1, 51)
        gain = late * (epochs > 40) if record.arm == "setup_4" else 0.0
        return pd.DataFrame({"epoch": epochs, "accuracy": 0.5 + gain + 0.001 * record.seed * (epochs == 50)})

    found = set_ups({"setup_1": 0.3, "setup_4": 0.3})
    short = notes.stagnates(NOTES, found, tmp_path)
    assert short.verdict.startswith("not judged: fewer than two seeds were trained beyond epoch 30")
    monkeypatch.setattr(Record, "history", history)
    assert notes.stagnates(NOTES, found, tmp_path).verdict == verdict


# Objectives


@pytest.mark.parametrize(("uneven", "verdict"), [(True, "holds"), (False, "undecided")])
def test_objectives_that_differ_by_instrument_are_told(tmp_path: Path, uneven: bool, verdict: str) -> None:
    half = np.arange(len(CLASSES)) % 2 == 0
    skills = {
        "textual": np.where(half, 0.5, 0.05) if uneven else np.full(len(CLASSES), 0.3),
        "den_add": np.where(half, 0.05, 0.5) if uneven else np.full(len(CLASSES), 0.3),
        "den_mul": np.full(len(CLASSES), 0.3),
    }
    found = write_trials(
        tmp_path, ATTENTION, arms=list(skills), conditions=["paper"], skills=skills, seeds=3, sizes=(20, 200)
    )
    judged = attention.objectives_differ_by_class(ATTENTION, found, tmp_path, replicates=200)
    assert judged.verdict == verdict
    lacking = [r for r in found if r.arm != "den_mul"]
    judged = attention.objectives_differ_by_class(ATTENTION, lacking, tmp_path, replicates=20)
    assert judged.verdict.startswith("not judged")


def test_a_part_of_a_song_is_drawn_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """What checks say of units is what replicates draw by."""
    clips = pd.DataFrame({"key": ["a", "b", "c"], "group": ["song", "song", None]})
    monkeypatch.setattr(corpora, "load", lambda name: SimpleNamespace(clips=clips))
    title, units = resampling.units_of(IRMAS, [SimpleNamespace(data={"corpus": "pocket-irmas"})])
    assert (title, units(np.array(["c", "a", "b", "new"])).tolist()) == ("songs", ["c", "song", "song", "new"])
