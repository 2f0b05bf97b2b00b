"""What every test module shares."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def published_data() -> Path:
    """Folder of published recordings to test on; tests that need it skip where it is absent."""
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("REPRISE_TEST_DATA", default))
    if not folder.is_dir():
        pytest.skip("no published recordings here: set REPRISE_TEST_DATA to a folder that holds them")
    return folder


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep every test away from the user's caches and data."""
    monkeypatch.setenv("REPRISE_HOME", str(tmp_path / "reprise-home"))
    monkeypatch.delenv("REPRISE_DATA", raising=False)
