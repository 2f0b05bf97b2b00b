"""A report is made from records, clips and explanations alone, and shows what the study's own code offers."""

import os
import socket
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import safetensors.torch
import torch
from helpers import write_trials

import harness
import replications
from harness import corpora, features
from harness.analysis.study import Analysis
from harness.corpora import registry
from harness.errors import RepriseError
from harness.report import build, style
from harness.report.tables import arm_table
from harness.storage import write_text
from harness.studies import kept, records
from harness.studies import study as studies
from harness.studies.clips import read_clips
from harness.studies.study import Study

RESULTS = Path(__file__).parents[1] / "results"


def explain(study: Study, found: list, folder: Path, *, jobs: int | None = None) -> dict:
    """A study's explanations: a page and a picture."""
    write_text(folder / "gallery" / "index.html", "")
    write_text(folder / "film.webp", "")
    link = {"path": "gallery/index.html", "title": "Gallery", "text": "clips to see"}
    return {"figures": {"film.webp": "A film"}, "links": [link]}


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> Study:
    """A study whose code draws one empty figure, named by its metric."""
    code = SimpleNamespace(
        tables=lambda analysis: [arm_table(analysis)],
        figures=lambda analysis: {f"curve_{analysis.study.metric}": (style.new_figure(1), "A curve")},
        explain=explain,
    )
    monkeypatch.setattr(Study, "code", property(lambda self: code))
    return studies.load("attention_embeddings")


def test_the_page_shows_what_the_studys_code_offers(study: Study, tmp_path: Path) -> None:
    found = write_trials(tmp_path / "place", study, arms=["vggish_pp", "rf"], conditions=["paper"], sizes=(20, 20))
    assert build.explain(study, found, tmp_path / "place" / "explained")
    made = build.build(study, found, None, tmp_path / "place" / "explained", tmp_path / "place" / "report")
    text = (made.folder / "README.md").read_text(encoding="utf-8")
    for shown in (
        "### F1 (2-class)",
        "![A curve](curve_f1_macro2_masked.png)",
        "**[Gallery](../explained/gallery/index.html)**: clips to see.",
        "![A film](../explained/film.webp)",
        "[rf@paper](../rf@paper)",
        "**[Traps](traps/traps.md)**",
    ):
        assert shown in text
    assert made.verdicts is made.tables[-1]
    assert {p.name for p in made.folder.iterdir() if p.is_file()} == {
        "README.md", "estimates.csv", "contrasts.csv", "arms_test.csv", "arms_test.md", "arms_test.tex",
        "curve_f1_macro2_masked.png", "curve_f1_macro2_masked.pdf", "verdicts.csv", "verdicts.md", "verdicts.tex",
    }  # fmt: skip
    assert {p.suffix for p in (made.folder / "traps").iterdir()} == {".csv", ".md", ".tex", ".png", ".pdf"}


def test_the_networks_are_asked_once_for_the_same_trials(study: Study, tmp_path: Path) -> None:
    found = write_trials(tmp_path, study, arms=["rf"], conditions=["paper"], seeds=2, sizes=(20, 20))
    folder = tmp_path / "explained"
    assert build.explain(study, found[:1], folder)
    (folder / "mine.txt").touch()
    assert not build.explain(study, found[:1], folder)
    assert build.explain(study, found, folder)  # of another seed, too
    assert sorted(p.name for p in folder.iterdir()) == ["film.webp", "gallery", "index.json"]
    assert sorted(build.index_of(folder)["files"]) == ["film.webp", "gallery/index.html"]
    (folder / "index.json").write_text("{")
    with pytest.raises(RepriseError, match=r"index\.json is damaged or not there"):
        build.build(study, found, None, folder, tmp_path / "report")
    assert build.explain(study, found, folder)


def test_explanations_that_fail_leave_the_earlier_ones(study: Study, tmp_path: Path, monkeypatch) -> None:
    found = write_trials(tmp_path, study, arms=["rf"], conditions=["paper"], seeds=2, sizes=(20, 20))
    build.explain(study, found[:1], tmp_path / "explained")

    def fail(study: Study, found: list, folder: Path, *, jobs: int | None = None) -> dict:
        explain(study, found, folder)
        raise RepriseError("no such clip")

    monkeypatch.setattr(study.code, "explain", fail)
    with pytest.raises(RepriseError, match="no such clip"):
        build.explain(study, found, tmp_path / "explained")
    assert (tmp_path / "explained" / "index.json").exists()
    assert not list(tmp_path.glob(".*"))


def test_groups_that_nobody_knows_are_not_named_so(tmp_path: Path) -> None:
    genres = studies.load("gtzan_cam")
    (record,) = write_trials(
        tmp_path, genres, arms=["base"], conditions=["track"], sizes=(20, 20), classes="abcdefghij",
        corpus="pocket-gtzan",
    )  # fmt: skip
    for known, said in ((12, "Artists on both sides"), (0, "Tracks on both sides")):
        record.data["inputs"]["corpus"] = {"artists": known}
        page = "\n".join(build._head(Analysis(genres, [record])))
        assert f"{said} of the split" in page
        assert ("the corpus does not know the artists." in page) == (not known)


class Opened:
    """The files that are opened for reading while it is on; an audit hook cannot be taken away again."""

    def __init__(self) -> None:
        self.on, self.paths = False, set()
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple) -> None:
        if self.on and event == "open" and isinstance(arguments[0], str) and "r" in (arguments[1] or "r"):
            self.paths.add(os.path.realpath(arguments[0]))


OPENED = Opened()


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Opened]:
    """Corpora, feature stores, weights, networks, rendering and other machines are out of reach."""

    def refused(what: str):
        def refuse(*arguments: object, **options: object) -> None:
            pytest.fail(f"a report asked for {what}")

        return refuse

    for where, name in (
        (corpora, "load"), (registry, "load"), (features, "open_store"), (torch, "load"), (safetensors.torch, "load"),
        (safetensors.torch, "load_file"), (safetensors, "safe_open"), (torch.nn.Module, "__call__"),
        (socket, "socket"),
    ):  # fmt: skip
        if hasattr(where, name):
            monkeypatch.setattr(where, name, refused(f"{where.__name__}.{name}"))
    OPENED.paths.clear()
    OPENED.on = True
    yield OPENED
    OPENED.on = False


@pytest.mark.parametrize("name", studies.names())
def test_a_report_opens_neither_corpus_nor_network_nor_an_earlier_report(name, tmp_path, alone, monkeypatch) -> None:
    monkeypatch.setattr(build, "Analysis", partial(Analysis, replicates=20))  # which is faster
    study = studies.load(name)
    folder = kept.folders(name, RESULTS)[-1]
    some = [r for r in records.find_records(folder / "records") if r.seed == 0]
    explained = folder / "explained" if (folder / "explained").exists() else None
    alone.paths.clear()
    build.build(study, some, read_clips(folder / "records"), explained, tmp_path / "report")
    code = [str(Path(module.__path__[0]).resolve()) for module in (harness, replications)]
    ours = [folder / "records", folder / "explained", tmp_path / "report"]
    allowed = (*map(str, ours), *code, sys.prefix, sys.base_prefix, "/usr", "/etc", "/proc", "/sys", "/dev")
    assert [path for path in alone.paths if not path.startswith(allowed)] == []


def test_what_a_report_must_not_do_is_heard(alone: Opened, tmp_path: Path) -> None:
    for ask in (lambda: corpora.load("pocket-openmic"), lambda: torch.load("x"), socket.socket):
        with pytest.raises(pytest.fail.Exception, match="a report asked for"):
            ask()
    (tmp_path / "README.md").write_text("earlier")
    (tmp_path / "README.md").read_text()
    assert str(tmp_path / "README.md") in alone.paths
