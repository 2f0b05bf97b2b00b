"""What every test module shares."""

import io
import os
import sys
from pathlib import Path

import pytest

# What simulations and tests draw from alike.
sys.path.append(str(Path(__file__).parents[1] / "benchmarks" / "simulations"))


@pytest.fixture(scope="session")
def published_data() -> Path:
    """Folder of published recordings to test on; tests that need it skip where it is absent."""
    folder = os.environ.get("REPRISE_TEST_DATA")
    if not folder:
        pytest.skip("no published recordings here: set REPRISE_TEST_DATA to a folder that holds them")
    return Path(folder)


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep every test away from the user's caches and data."""
    monkeypatch.setenv("REPRISE_HOME", str(tmp_path / "reprise-home"))
    monkeypatch.delenv("REPRISE_DATA", raising=False)
    monkeypatch.setattr("harness.terminal._told", set())


@pytest.fixture(scope="session")
def pocket_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cache folder in which a pocket corpus of `trials.CLIPS` clips is rendered, once for all tests."""
    from trials import POCKET

    from harness import corpora

    home = tmp_path_factory.mktemp("pocket-home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REPRISE_HOME", str(home))
        patch.delenv("REPRISE_DATA", raising=False)
        corpora.load(POCKET)
    return home


@pytest.fixture
def pocket(pocket_home: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Name of a pocket corpus that is there already; features and activations of it are shared between tests."""
    from trials import POCKET

    monkeypatch.setenv("REPRISE_HOME", str(pocket_home))
    return POCKET


@pytest.fixture(scope="session")
def played(pocket_home: Path, tmp_path_factory: pytest.TempPathFactory):
    """Two arms played through the command line, with their report; see `trials.play`."""
    from trials import play

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REPRISE_HOME", str(pocket_home))
        patch.delenv("REPRISE_DATA", raising=False)
        return play(tmp_path_factory.mktemp("played"))


@pytest.fixture(scope="session")
def finished(pocket_home, tmp_path_factory) -> dict:
    """One trial of the unfreezing study of each kind, finished: by label."""
    from rich.console import Console
    from trials import WITH_PREFIX, cheap_trials

    from harness.studies import executor

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REPRISE_HOME", str(pocket_home))
        runs = tmp_path_factory.mktemp("runs")
        planned = cheap_trials(runs, *WITH_PREFIX)
        planned += cheap_trials(runs, "resnet_fc", conditions=["moving-statistics"])
        executor.execute(planned, jobs=2, console=Console(file=io.StringIO()))
    return {t.label: t for t in planned}
