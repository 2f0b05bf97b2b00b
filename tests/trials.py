"""Trials small enough for a test: real audio, real networks, coarse pictures and two epochs."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from harness.cli import app
from harness.studies import executor, study
from harness.studies.trial import Trial

#: The smallest corpus with a handful of clips in every part of a 80/15/5 split.
CLIPS = 60
POCKET = f"pocket-openmic-{CLIPS}"
#: What makes a trial a matter of seconds, whatever the study's own pocket profile says.
CHEAP = {
    "corpus": POCKET,
    "epochs": 2,
    "front_ends": {"resnet50": {"time_pool": 12}, "vggish": {"time_pool": 10}},
}


#: Arms whose first layers are frozen.
WITH_PREFIX = ("resnet_fc", "vggish_fc", "vggish_fc_2emb")


def cheap_trials(runs: Path, *arms: str, changes: Mapping[str, Any] | None = None, **settings: Any) -> list[Trial]:
    """Plan the arms under the paper's condition, or others, with `CHEAP` settings and `changes` to them."""
    settings = {"profile": "pocket", "conditions": ["paper"], **settings}
    return executor.plan(
        study.load("openmic-transfer"), runs=runs, arms=arms, changes={**CHEAP, **(changes or {})}, **settings
    )


def reprise(*arguments: str | Path) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})


@dataclass(frozen=True)
class Played:
    """Folders of a run through the command line, and what it printed."""

    runs: Path
    out: Path
    output: str


def play(folder: Path) -> Played:
    """Run the cheapest arm of each network with a report."""
    runs, out = folder / "runs", folder / "results"
    arguments = ["--arm", "resnet_fc", "--arm", "vggish_fc", "--condition", "paper", "--runs", runs, "--out", out]
    result = reprise("run", "openmic-transfer", "--corpus", POCKET, *arguments)
    assert result.exit_code == 0, result.output
    return Played(runs, out, result.output)
