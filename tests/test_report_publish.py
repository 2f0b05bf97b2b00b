"""Reports beside trials and among the results: what is lost is told first, and a kill or a full disk loses nothing."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from helpers import write_trials

from harness.analysis.study import Analysis
from harness.errors import RepriseError
from harness.report import build, publish, style, summary
from harness.report.writers import Column, Table
from harness.storage import write_text
from harness.studies import kept, records
from harness.studies import study as studies
from harness.studies.study import Study

ARMS = ("rf", "fc", "log_mel", "vggish_norm", "vggish_pp")


class Unasked(Analysis):
    """An analysis that computes nothing, as these tests are about files."""

    claims = ()
    estimates = contrasts = pd.DataFrame({"score": [0.5]})


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> Study:
    """A study that shows one table and claims nothing."""

    def explain(study: Study, found: list, folder: Path, *, jobs: int | None = None) -> dict:
        write_text(folder / "page.html", f"{len(found)} trials")
        return {"links": [{"path": "page.html", "title": "Page", "text": "to look at"}]}

    def table(found: list) -> Table:
        scores = [float(r.predictions("test").probabilities.mean()) for r in found]
        frame = pd.DataFrame({"arm": [r.arm for r in found], "score": scores})
        columns = (Column("arm", "Arm", "text"), Column("score", "Score", "score"))
        return Table("arms", "Arms", frame, columns, group=("arm",), caption="A caption.")

    code = SimpleNamespace(
        tables=lambda analysis: [table(analysis.records)],
        figures=lambda analysis: {"curve": (style.new_figure(1), f"A curve of {len(analysis.records)}")},
        explain=explain,
    )
    monkeypatch.setattr(Study, "code", property(lambda self: code))
    monkeypatch.setattr(build, "Analysis", Unasked)
    monkeypatch.setattr(build, "survey", lambda analysis: None)
    monkeypatch.setattr(build.tables, "origin", lambda analysis: f"{len(analysis.records)} trials.")
    return studies.load("attention_embeddings")


@pytest.fixture
def runs(study: Study, tmp_path: Path) -> Path:
    """Five arms with three seeds, explained, and their clips."""
    folder = tmp_path / "runs" / study.name / "pocket-openmic-pocket"
    found = write_trials(folder, study, arms=ARMS, conditions=["paper"], seeds=3, sizes=(8, 10))
    write_text(folder / "clips.csv", "key,group\na,1\n")
    build.explain(study, found, folder / "explained")
    return folder


@pytest.fixture
def results(runs: Path, study: Study, tmp_path: Path) -> Path:
    """What was kept of them."""
    folder = tmp_path / "results" / study.name / runs.name
    publish.keep(study, runs, folder, say=lambda line: None)
    summary.write(tmp_path / "results")
    return folder


def content(folder: Path) -> dict[str, bytes]:
    """All that lies below a folder, hidden or not."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def small_run(study: Study, folder: Path) -> Path:
    """One seed of one arm, which predicts otherwise."""
    write_trials(folder, study, arms=["fc"], conditions=["paper"], sizes=(8, 10), skills={"fc": 0.9})
    return folder


def test_all_is_kept_and_shown(results: Path, runs: Path) -> None:
    assert {p.name for p in results.iterdir()} == {
        "README.md", "arms.csv", "arms.md", "arms.tex", "contrasts.csv", "curve.pdf", "curve.png", "estimates.csv",
        "explained", "records",
    }  # fmt: skip
    assert not list(results.rglob("*.safetensors"))
    assert content(results / "explained") == content(runs / "explained")
    page = (results / "README.md").read_text(encoding="utf-8")
    assert "(explained/page.html)" in page
    assert page.startswith("# Deep Learning-Based")
    assert not list(results.parent.glob(".*"))


def test_a_run_of_one_trial_loses_none_of_fifteen(results: Path, study: Study, tmp_path: Path) -> None:
    before, said = content(results), []
    publish.keep(study, small_run(study, tmp_path / "small" / results.name), results, reason="x", say=said.append)
    after = content(results)
    assert before.keys() == after.keys()
    changed = {name for name in before if before[name] != after[name]}
    trial = {f"records/fc@paper/seed-0/{name}" for name in ("record.json", "predictions.npz", "history.jsonl")}
    assert trial <= changed <= trial | {
        "README.md", "records/REASONS.md", "arms.csv", "arms.md", "arms.tex"
    }  # fmt: skip
    assert said[:3] == [
        f"{study.name}/{results.name}: 15 trials",
        "  changed: fc@paper/seed-0",
        "  kept, not run again: " + ", ".join(
            [f"fc@paper/seed-{n}" for n in (1, 2)]
            + [f"{arm}@paper/seed-{n}" for arm in ("log_mel", "rf") for n in (0, 1, 2)]
            + [f"vggish_norm@paper/seed-{n}" for n in (0, 1)]
        ) + " and 4 more",
    ]  # fmt: skip
    assert said[3].startswith("  files replaced: README.md, arms.csv")


def test_the_same_again_changes_nothing_and_says_so(results: Path, runs: Path, study: Study) -> None:
    before, said = {p: p.stat().st_ino for p in results.rglob("*")}, []
    publish.keep(study, runs, results, say=said.append)
    assert said[-1] == "  nothing changes"
    publish.keep(study, None, results, say=said.append)
    assert said[-1] == "  nothing changes"
    assert {p: p.stat().st_ino for p in results.rglob("*")} == before


def test_what_would_change_can_be_told_alone(results: Path, study: Study, tmp_path: Path) -> None:
    before, said = content(tmp_path / "results"), []
    small = small_run(study, tmp_path / "small" / results.name)
    publish.keep(study, small, results, dry_run=True, say=said.append)
    assert content(tmp_path / "results") == before
    assert any(line.startswith("  files replaced: ") for line in said)


def test_files_that_nothing_gives_any_more_are_named_before_they_go(results: Path, study: Study) -> None:
    (results / "earlier.csv").touch()
    said = []
    publish.keep(study, None, results, say=lambda line: said.append((line, (results / "earlier.csv").exists())))
    assert said[-1] == ("  files gone: earlier.csv", True)
    assert not (results / "earlier.csv").exists()


def interrupted_at(number: int, *, for_ever: bool) -> Callable[..., None]:
    """A rename that is killed at the n-th call; and all that come after, if the machine is gone."""
    replace, calls = os.replace, iter(range(1, 10**6))

    def killed(*paths: object, **options: object) -> None:
        call = next(calls)
        if call == number or (for_ever and call > number):
            raise KeyboardInterrupt
        replace(*paths, **options)

    return killed


@pytest.mark.parametrize("for_ever", [False, True], ids=["interrupted", "power cut"])
def test_a_kill_at_any_rename_leaves_the_old_or_the_new(results, study, tmp_path, monkeypatch, for_ever) -> None:
    small, root = small_run(study, tmp_path / "small" / results.name), tmp_path / "results"
    publish.keep(
        study,
        None,
        results,
        drop=[kept.name_of(r) for r in records.find_records(results) if r.arm != "fc"],
        say=lambda line: None,
    )  # fewer, which is faster
    sound = Path(shutil.copytree(root, tmp_path / "sound"))
    old = content(results)
    publish.keep(study, small, results, say=lambda line: None)
    new = content(results)
    assert old != new
    outcomes = []
    for number in range(1, 100):
        shutil.rmtree(root)
        shutil.copytree(sound, root)
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", interrupted_at(number, for_ever=for_ever))
            try:
                publish.keep(study, small, results, say=lambda line: None)
            except KeyboardInterrupt:
                pass
            else:
                break
        assert kept.folders(study.name, root) == [results]  # as any command that reads results asks first
        assert content(results) in (old, new)
        outcomes.append(content(results) == new)
        publish.keep(study, small, results, say=lambda line: None)
        assert content(root / study.name) == {f"{results.name}/{name}": text for name, text in new.items()}
    assert len(outcomes) > 5
    assert not any(outcomes)


@pytest.mark.parametrize("name", ["predictions.npz", "record.json", "page.html"])
def test_a_full_disk_leaves_the_results_as_they_were(results, study, runs, tmp_path, monkeypatch, name) -> None:
    before, copy = content(tmp_path / "results"), shutil.copyfile
    (runs / "clips.csv").write_text("key,group\na,2\n")

    def full(source: Path, target: Path) -> None:
        if Path(source).name == name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        copy(source, target)

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(RepriseError, match=rf"cannot write {results}: No space left on device; free some space"):
        publish.keep(study, runs, results, say=lambda line: None)
    assert content(tmp_path / "results") == before


def test_results_that_cannot_be_written_are_said(study: Study, runs: Path, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "results").touch()
    results = tmp_path / "results" / study.name / runs.name
    with pytest.raises(RepriseError, match=rf"cannot write {results}: Not a directory"):
        publish.keep(study, runs, results, say=lambda line: None)

    def refuse(*arguments: object, **options: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(RepriseError, match=r"cannot write .*: Permission denied; .* choose another folder"):
        publish.keep(study, runs, tmp_path / "elsewhere", say=lambda line: None)


def test_a_report_lies_with_its_trials(runs: Path, study: Study) -> None:
    before, said = content(runs), []
    made = publish.report(study, runs, say=said.append)
    assert made.folder == runs / "report"
    assert {name: text for name, text in content(runs).items() if not name.startswith("report/")} == before
    assert "(../explained/page.html)" in (made.folder / "README.md").read_text(encoding="utf-8")
    first = content(made.folder)
    (made.folder / "earlier.csv").touch()
    publish.report(study, runs, say=said.append)
    assert said == [f"Not made any more, removed from {runs / 'report'}: earlier.csv."]
    assert content(made.folder) == first


def test_a_report_elsewhere_is_whole(runs: Path, study: Study, tmp_path: Path) -> None:
    made = publish.report(study, runs, out=tmp_path / "out" / "place")
    assert "(explained/page.html)" in (made.folder / "README.md").read_text(encoding="utf-8")
    assert content(made.folder / "explained") == content(runs / "explained")
    assert not (runs / "report").exists()


def test_a_report_never_takes_the_place_of_anything_else(runs: Path, results: Path, study: Study, tmp_path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").touch()
    for out, why in ((runs, "trials"), (results, "trials"), (tmp_path / "notes", "something else than a report")):
        before = content(out)
        with pytest.raises(RepriseError, match=rf"^{out} holds {why}.*; choose another folder with --out$"):
            publish.report(study, runs, out=out)
        assert content(out) == before


def test_damaged_trials_are_not_reported(runs: Path, study: Study, tmp_path: Path) -> None:
    record = records.find_records(runs)[0]
    (record.folder / "predictions.npz").write_bytes(b"")
    for make in (
        lambda: publish.report(study, runs),
        lambda: publish.keep(study, runs, tmp_path / "results", say=lambda line: None),
    ):
        with pytest.raises(RepriseError, match=r"predictions\.npz was changed after"):
            make()
    assert not (tmp_path / "results").exists()
