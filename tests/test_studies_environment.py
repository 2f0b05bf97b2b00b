"""What a record says of packages, code and machine."""

import json
import platform
import subprocess
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch

import harness
from harness.parallel import workers
from harness.studies import environment

CPU = torch.device("cpu")


def test_it_says_what_a_number_depends_on():
    described = environment.describe(CPU)
    assert described["reprise"] == harness.__version__
    assert described["packages"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert described["packages"]["numpy"] == np.__version__
    assert described["python"] == platform.python_version()
    assert described["threads"] == torch.get_num_threads()
    assert (described["device"], described["gpu"]) == ("cpu", None)
    assert described["cpu"].endswith("cores")
    assert json.loads(json.dumps(described)) == described


def test_every_package_it_names_is_a_dependency():
    root = Path(harness.__file__).parents[1]
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    required = {line.split(">")[0].split("=")[0].strip() for line in project["dependencies"]}
    assert set(environment.PACKAGES) <= required


def git(folder: Path, *command: str) -> str:
    identity = ["-c", "user.name=A", "-c", "user.email=a@b.c"]
    return subprocess.run(
        ["git", "-C", folder, *identity, *command], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_the_commit_and_whether_the_tree_was_clean(tmp_path, monkeypatch):
    package = tmp_path / "harness"
    package.mkdir()
    (package / "__init__.py").write_text("")
    monkeypatch.setattr(harness, "__file__", str(package / "__init__.py"))
    assert environment.describe(CPU)["git"] is None
    try:
        git(tmp_path, "init", "--quiet")
    except FileNotFoundError:
        pytest.skip("there is no git here")
    assert environment.describe(CPU)["git"] is None  # no commit yet
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "first")
    assert environment.describe(CPU)["git"] == {"commit": git(tmp_path, "rev-parse", "HEAD"), "clean": True}
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "table.csv").write_text("of an earlier run")
    assert environment.describe(CPU)["git"]["clean"] is True
    (package / "__init__.py").write_text("# changed\n")
    assert environment.describe(CPU)["git"]["clean"] is False


def test_without_git_there_is_no_commit(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert environment.describe(CPU)["git"] is None


def peaks(values: int) -> tuple[int, int]:
    """Peak memory before and after an array of that many values was made and let go."""
    before = environment.peak_memory(CPU)["host"]
    array = np.ones(values)
    del array
    return before, environment.peak_memory(CPU)["host"]


def test_peak_memory_is_the_workers_own_in_bytes():
    with workers(1, fresh=True) as pool:
        before, after = pool.submit(peaks, 50_000_000).result()
        assert after - before == pytest.approx(400e6, rel=0.2)
        assert pool.submit(peaks, 0).result()[1] < before + 100e6  # the next task does not inherit it
    assert environment.peak_memory(CPU)["device"] is None
