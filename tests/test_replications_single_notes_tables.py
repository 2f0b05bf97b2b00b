"""The single-notes study's tables: the thesis beside ours, what a split leaks, and where notes are missed."""

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers import write_trials
from orchestra_trees import make_philharmonia_tree, make_tinysol_tree, tinysol_rows
from rich.console import Console

from harness.analysis.study import Analysis
from harness.corpora import Corpus, philharmonia, tinysol
from harness.report import writers
from harness.studies import study as studies
from harness.studies.clips import read_clips, write_clips
from harness.studies.records import Record, find_records
from harness.studies.study import Study
from replications.single_notes import clips as telling
from replications.single_notes import tables as making

ARMS = {"setup_1": 0.2, "setup_2": 0.25, "setup_3": 0.3, "setup_4": 0.35, "svm_mfcc": 0.5, "logreg_logmel": 0.0}


@pytest.fixture(scope="module")
def study() -> Study:
    return studies.load("single_notes")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small trees of two corpora, where `REPRISE_DATA` expects them."""
    root = tmp_path_factory.mktemp("data")
    make_tinysol_tree(root / "tinysol", tinysol_rows(18))
    make_philharmonia_tree(root / "philharmonia")
    return root


@pytest.fixture(scope="module")
def corpus(data: Path) -> Corpus:
    return tinysol.read(data / "tinysol", "tinysol")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, study: Study, corpus: Corpus) -> Callable[..., list[Record]]:
    """Trials of the corpus, four seeds each, under some conditions."""

    def write(*conditions: str, arms: dict[str, float] = ARMS, of: Corpus = corpus) -> list[Record]:
        return write_trials(
            tmp_path_factory.mktemp("runs"), study, arms=list(arms), conditions=conditions, seeds=4, sizes=(20, 26),
            classes=of.classes, skills=arms, corpus="tinysol", clips=(of.clips["key"].tolist(), of.labels),
        )  # fmt: skip

    return write


@pytest.fixture(scope="module")
def records(written: Callable[..., list[Record]]) -> list[Record]:
    return written("paper", "by-pitch", "folds", "longer")


@pytest.fixture(scope="module")
def clips(corpus: Corpus) -> pd.DataFrame:
    return corpus.clips.assign(register=telling.registers(corpus))[["key", "group", "pitch", "register", "dynamic"]]


@pytest.fixture(scope="module")
def analysis(study: Study, records: list[Record], clips: pd.DataFrame) -> Analysis:
    return Analysis(study, records, clips, replicates=100)


@pytest.fixture(scope="module")
def tables(analysis: Analysis) -> dict[str, writers.Table]:
    return {table.name: table for table in making.tables(analysis)}


def test_what_is_there_is_shown(
    study: Study, records: list[Record], clips: pd.DataFrame, tables: dict[str, writers.Table]
) -> None:
    def names(some: list[Record], clips: pd.DataFrame | None = clips) -> list[str]:
        return [table.name for table in making.tables(Analysis(study, some, clips, replicates=20))]

    everything = ["table_2", "splits_test", "arms_test", "notes_test", "conditions_test"]
    assert list(tables) == everything
    thesis = [r for r in records if r.condition == "paper"]
    assert names(thesis) == ["table_2", "arms_test", "notes_test"]
    assert names(thesis, None) == ["table_2", "arms_test"]
    assert names([r for r in records if r.condition != "longer"]) == everything[:-1]
    assert names([r for r in thesis if r.arm == "svm_mfcc"]) == ["arms_test", "notes_test"]
    assert names([r for r in records if r.condition == "by-pitch"]) == []


def test_table_2_is_the_thesis_beside_ours(tables: dict[str, writers.Table], analysis: Analysis) -> None:
    table = tables["table_2"]
    frame = table.frame.set_index(["arm", "metric"])
    assert list(frame.index.get_level_values("arm").unique()) == ["setup_1", "setup_2", "setup_3", "setup_4"]
    assert frame.loc[("setup_2", "log_loss"), "published"] == 0.89
    assert frame.loc[("setup_4", "accuracy"), "published"] == 0.80
    right = [
        np.mean(p.probabilities.argmax(1) == p.labels.argmax(1))
        for p in (r.predictions("test") for r in analysis.select("setup_3"))
    ]
    assert frame.loc[("setup_3", "accuracy"), "ours_paper"].value == pytest.approx(np.mean(right))
    text = writers.to_markdown(table)
    best_loss = min(cell.value for cell in frame.xs("log_loss", level="metric")["ours_paper"])
    assert f"**{best_loss:.3f}" in text  # of losses the lowest is the best
    assert "**0.69**" in text  # as is the thesis' own
    assert "| Nesterov, batch 30 | 14,685,191 |" in text


def test_that_260_notes_are_too_few_is_computed(tables: dict[str, writers.Table]) -> None:
    caption = tables["table_2"].caption
    assert "260 test notes cannot tell 0.74 from 0.80: the two are 0.06 apart, with a 95% interval" in caption
    assert "from \u22120.01 to +0.13 (Newcombe)" in caption
    assert "260 test notes can tell 0.50 from 0.80" in making.too_few_notes([0.5, 0.8, 0.6])
    assert "2600 test notes can tell 0.74 from 0.80" in making.too_few_notes([0.74, 0.80], 2600)


def test_newcombe_is_newcombes_own_example() -> None:
    """Newcombe (1998), table II: 56 of 70 against 48 of 80 is 0.2 [0.0524, 0.3339]; here both are of 70."""
    low, high = making.newcombe(56 / 70, 42 / 70, 70)
    # By hand: Wilson's intervals of 56 of 70 and of 42 of 70, z = 1.959964.
    z = 1.9599639845400545
    ends = []
    for p in (0.8, 0.6):
        middle, reach = p + z**2 / 140, z * np.sqrt(p * (1 - p) / 70 + z**2 / (4 * 70**2))
        ends.append(((middle - reach) / (1 + z**2 / 70), (middle + reach) / (1 + z**2 / 70)))
    (l1, u1), (l2, u2) = ends
    assert low == pytest.approx(0.2 - np.sqrt((0.8 - l1) ** 2 + (u2 - 0.6) ** 2))
    assert high == pytest.approx(0.2 + np.sqrt((u1 - 0.8) ** 2 + (0.6 - l2) ** 2))
    assert making.newcombe(0.5, 0.5, 260)[0] == pytest.approx(-making.newcombe(0.5, 0.5, 260)[1])


def test_a_planted_leak_is_found(study: Study, tmp_path: Path) -> None:
    """It has the sign of the random split's gain, and is decided by the contrasts alone."""
    keys, labels = [f"note-{n}" for n in range(700)], np.eye(7, dtype=np.uint8)[np.arange(700) % 7]
    found = []
    for condition, skill in (("paper", 0.35), ("by-pitch", 0.05)):
        found += write_trials(
            tmp_path / condition, study, arms=["setup_4", "svm_mfcc"], conditions=[condition], seeds=4,
            sizes=(40, 200), classes="abcdefg", skills={"setup_4": skill, "svm_mfcc": 0.35}, clips=(keys, labels),
        )  # fmt: skip
    shared = [100 if r.condition == "paper" else 0 for r in found]
    found = [
        replace(r, data=r.data | {"split": r.data["split"] | {"leakage": {
            "shared_groups": {}, "clips_in_shared_groups": {"train-test": count},
        }}})
        for r, count in zip(found, shared, strict=True)
    ]  # fmt: skip
    analysis = Analysis(study, found, replicates=200)
    table = making.split_table(analysis)
    frame = table.frame.set_index("arm")
    leak, none = frame.loc["setup_4", "leak_by-pitch"], frame.loc["svm_mfcc", "leak_by-pitch"]
    assert (leak.low > 0.1, leak.doubtful) == (True, False)
    assert leak.value == pytest.approx(frame.loc["setup_4", "score_paper"] - frame.loc["setup_4", "score_by-pitch"])
    assert (none.low < 0 < none.high, none.doubtful) == (True, True)
    rows = analysis.contrasts.set_index(["kind", "above", "metric"])
    row = rows.loc[("conditions", "setup_4@by-pitch", "accuracy")]
    assert (leak.low, leak.high) == (-row["high_adjusted"], -row["low_adjusted"])
    assert "random split 50%; split by pitch 0%" in table.caption
    assert [c.name for c in table.columns] == ["title", "score_paper", "score_by-pitch", "leak_by-pitch"]


def test_registers_are_thirds_of_each_instruments_pitches(corpus: Corpus) -> None:
    found = pd.DataFrame(
        {"of": telling.registers(corpus), "pitch": corpus.clips["pitch"], "class": corpus.labels.argmax(axis=1)}
    )
    for _, of_class in found.groupby("class"):
        assert of_class.groupby("of")["pitch"].unique().map(list).to_dict() == {
            "low": [60],
            "middle": [70],
            "high": [78],
        }


def test_clips_are_told_of_both_corpora(
    study: Study, written: Callable[..., list[Record]], corpus: Corpus, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Takes of one pitch of an instrument are one group; a trial tested on another corpus has its notes, too."""
    monkeypatch.setenv("REPRISE_DATA", str(data))
    other = philharmonia.read(data / "philharmonia", "philharmonia")
    found = written("paper", arms={"svm_mfcc": 0.3}) + written("on-philharmonia", arms={"svm_mfcc": 0.3}, of=other)
    folder = found[0].folder.parents[1]
    (found[-1].folder.parent).rename(folder / found[-1].folder.parent.name)
    for r in find_records(folder):  # as a runner leaves it
        data_of = r.data | {"inputs": {"left_out": {}}}
        (r.folder / "record.json").write_text(pd.io.json.ujson_dumps(data_of))
    write_clips(study, folder)
    table = read_clips(folder).set_index("key")
    keys = np.unique(np.concatenate([p.keys for r in find_records(folder) for p in r.parts().values()]))
    assert list(table.index) == keys.tolist()
    both = pd.concat([corpus.clips, other.clips]).set_index("key").loc[keys]
    assert table["group"].tolist() == both["group"].tolist()
    assert table["dynamic"].tolist() == both["dynamic"].tolist()
    assert table["pitch"].tolist() == both["pitch"].tolist()
    assert set(table["register"]) == {"low", "middle", "high"}
    before = (folder / "clips.csv").read_bytes()
    write_clips(study, folder)
    assert (folder / "clips.csv").read_bytes() == before


def test_accuracy_of_registers_and_dynamics(
    tables: dict[str, writers.Table], analysis: Analysis, corpus: Corpus
) -> None:
    table = tables["notes_test"]
    frame = table.frame.set_index(["kind", "value"])
    assert list(frame.index) == [
        ("register", "low"), ("register", "middle"), ("register", "high"),
        ("dynamic", "pp"), ("dynamic", "mf"), ("dynamic", "ff"),
    ]  # fmt: skip
    loud = set(corpus.clips["key"][corpus.clips["dynamic"] == "ff"])
    hits, keys = [], set()
    for r in analysis.select("setup_4"):
        p = r.predictions("test")
        chosen = np.array([key in loud for key in p.keys])
        if chosen.any():
            hits.append((p.probabilities.argmax(1) == p.labels.argmax(1))[chosen].mean())
        keys |= set(p.keys[chosen])
    row = frame.loc[("dynamic", "ff")]
    assert row["ours_setup_4"].value == pytest.approx(np.mean(hits))
    assert row["notes"] == len(keys)


def test_notes_of_unknown_kind_are_left_out_and_odd_dynamics_come_last(
    study: Study, records: list[Record], clips: pd.DataFrame
) -> None:
    thesis = [r for r in records if (r.arm, r.condition) == ("svm_mfcc", "paper")]
    dynamic = clips["dynamic"].replace({"pp": "cresc", "mf": np.nan})
    frame = making.note_table(Analysis(study, thesis, clips.assign(dynamic=dynamic), replicates=20)).frame
    assert frame.loc[frame["kind"] == "dynamic", "value"].tolist() == ["ff", "cresc"]


def test_the_terminal_is_wide_enough(tables: dict[str, writers.Table]) -> None:
    for table in tables.values():
        console = Console(width=100, file=io.StringIO())
        console.print(writers.to_terminal(table))
        text = console.file.getvalue()
        assert max(map(len, text.splitlines())) <= 100
        assert "…" not in text
        assert "nan" not in writers.to_markdown(table)


def test_tables_are_the_same_again(
    study: Study, records: list[Record], clips: pd.DataFrame, tables: dict[str, writers.Table]
) -> None:
    again = making.tables(Analysis(study, records[::-1], clips.sample(frac=1, random_state=0), replicates=100))
    assert [writers.to_csv(table) for table in again] == [writers.to_csv(table) for table in tables.values()]
