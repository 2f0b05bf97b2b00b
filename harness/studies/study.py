"""A study: one paper's protocol, arms, conditions and published numbers, read from its ``study.toml``."""

import importlib
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import replications
from harness.errors import RepriseError

#: What the tables of a ``study.toml`` must hold for a run to come to its end, by table. Settings of the protocol may
#: stand in the profiles, or be one network's own.
NEEDED = {
    "paper": ("title", "year", "summary"),
    "scores": ("main", "history"),
    "protocol": ("corpus", "split", "weights", "epochs", "batch_size"),
    "table": ("title", "split", "where"),
    "condition": ("title", "note"),
    "arm": ("name", "title", "network", "parameters"),
}
#: What a ``study.py`` must offer, see `Study.code`.
FUNCTIONS = ("expected", "prepare", "train", "tables", "figures", "explain")


@dataclass(frozen=True)
class Arm:
    """One row of a paper's table.

    Parameters
    ----------
    name
        As in the names of folders.
    title
        As in the paper's table.
    network
        Name of the network it trains.
    parameters
        How many parameters learn under the paper's front end; 0 for what has none.
    trainable
        Dotted names of the modules that learn; ``""`` is the whole network.
    published_parameters
        What the paper prints for them.
    default
        Whether it runs unless others are asked for.
    options
        What only the study's own code reads, as ``options.NAME`` in ``study.toml``.
    """

    name: str
    title: str
    network: str
    parameters: int
    trainable: tuple[str, ...] = ("",)
    published_parameters: str = ""
    default: bool = True
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Condition:
    """A named change of the protocol under which arms are trained again.

    Parameters
    ----------
    name
        As in the names of folders. The study's first condition is the paper's own.
    title
        Two or three words for a table's head.
    note
        One sentence on what changes.
    changes
        The protocol's entries that differ.
    arms
        Arms it makes sense for; empty for all.
    corpora
        Corpora it makes sense for, pocket corpora without their size; empty for all.
    default
        Whether it runs unless others are asked for.
    """

    name: str
    title: str
    note: str
    changes: Mapping[str, Any]
    arms: tuple[str, ...] = ()
    corpora: tuple[str, ...] = ()
    default: bool = True

    def fits(self, corpus: str) -> bool:
        """Whether it makes sense for a corpus of that name."""
        return _among(self.corpora, corpus)


@dataclass(frozen=True)
class Study:
    """One paper to play again.

    Parameters
    ----------
    name
        Its folder's name.
    folder
        Where it lives.
    paper
        Title, authors, year and the like.
    protocol
        Every setting as published.
    profiles
        What differs from the protocol, by profile.
    conditions
        The paper's own first.
    arms
        In the order of the tables.
    tables
        By the paper's number: title, network, split and where it stands.
    published
        One dict per printed value: table, arm, split, metric, value, and where it is stated the margin within which a
        score of ours replicates it, and why that one.
    task
        ``"multilabel"`` or ``"multiclass"``: which metrics score it.
    metric
        Name of the main score: the one by which arms are ranked.
    history
        Names of the scores that are taken of the validation part after every epoch.
    groups
        What its corpora group clips by, for people: what a split should not cut through.
    units
        What is resampled whole, in the plural: clips, or what several of belong together, such as songs.
    same_clips
        Whether the printed values were scored on the very test clips that ours are.
    arm_title, class_title
        Head of the column of arms in tables, and what figures call a class.
    claims
        What the paper says of its arms in words, one dict per claim.
    seeds
        How many seeds a run takes unless told otherwise, by profile; one where nothing is said.
    corpora
        Those it can be played on, pocket corpora without their size; empty for all.
    measured
        What the study's own ``measure`` reads: which networks are asked, for instance.
    """

    name: str
    folder: Path
    paper: Mapping[str, Any]
    protocol: Mapping[str, Any]
    profiles: Mapping[str, Mapping[str, Any]]
    conditions: tuple[Condition, ...]
    arms: tuple[Arm, ...]
    tables: Mapping[str, Mapping[str, str]]
    published: tuple[Mapping[str, Any], ...]
    task: str
    metric: str
    history: tuple[str, ...]
    groups: str = "groups"
    units: str = "clips"
    same_clips: bool = False
    arm_title: str = "Arm"
    class_title: str = "class"
    claims: tuple[Mapping[str, Any], ...] = ()
    seeds: Mapping[str, int] = field(default_factory=dict)
    corpora: tuple[str, ...] = ()
    measured: Mapping[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The paper's title."""
        return self.paper["title"]

    @property
    def code(self) -> ModuleType:
        """The study's ``study.py``: what must be code.

        It gives ``expected(contexts)``, ``prepare(contexts, jobs=)`` and ``train(contexts, on_epoch)`` for running, see
        `harness.studies.networks`, and ``tables``, ``figures`` and ``explain`` for its report, see
        `harness.report.build`.

        Raises
        ------
        RepriseError
            The file is not there, or lacks one of these functions.
        """
        path = self.folder / "study.py"
        if not path.exists():
            raise RepriseError(f"{path} is not there; write it with the functions {', '.join(FUNCTIONS)}")
        module = importlib.import_module(f"replications.{self.name}.study")
        if missing := [name for name in FUNCTIONS if not hasattr(module, name)]:
            raise RepriseError(f"{path} lacks {', '.join(missing)}; CONTRIBUTING.md says what a study.py offers")
        return module

    def fits(self, corpus: str) -> bool:
        """Whether it can be played on a corpus of that name."""
        return _among(self.corpora, corpus)

    def arm(self, name: str) -> Arm:
        """The arm of that name.

        Raises
        ------
        RepriseError
            The study has none of that name.
        """
        return _named(self.arms, name, f"arm of {self.name}")

    def condition(self, name: str) -> Condition:
        """The condition of that name.

        Raises
        ------
        RepriseError
            The study has none of that name.
        """
        return _named(self.conditions, name, f"condition of {self.name}")

    def resolve(
        self, profile: str, condition: str, changes: Mapping[str, Any] | None = None, *, network: str | None = None
    ) -> dict[str, Any]:
        """The protocol as it will be followed.

        Parameters
        ----------
        profile
            ``"paper"`` or ``"pocket"``.
        condition
            Name of a condition.
        changes
            The user's own changes; they come after the profile's and before the condition's.
        network
            Name of the network it will be followed for: the protocol's and a profile's table ``network`` may hold
            entries for each, which come after those for all.

        Returns
        -------
        dict
            Every setting.

        Raises
        ------
        RepriseError
            No such profile or condition.
        """
        if profile not in self.profiles:
            raise RepriseError(f"{self.name} has no profile {profile!r}; choose one of {', '.join(self.profiles)}")
        layers = (self.protocol, self.profiles[profile])
        settings: dict[str, Any] = {}
        for layer in layers:
            settings = _merge(settings, {key: value for key, value in layer.items() if key != "network"})
        for layer in layers:
            settings = _merge(settings, layer.get("network", {}).get(network, {}))
        return _merge(_merge(settings, changes or {}), self.condition(condition).changes)


def names() -> list[str]:
    """Names of the studies here: the folders of ``replications`` that hold a ``study.toml``.

    Returns
    -------
    list of str
        Sorted.
    """
    return sorted(path.parent.name for root in replications.__path__ for path in Path(root).glob("*/study.toml"))


def load(name: str) -> Study:
    """Read a study.

    Parameters
    ----------
    name
        Its folder's name; hyphens and underscores mean the same.

    Returns
    -------
    Study
        What its ``study.toml`` says.

    Raises
    ------
    RepriseError
        There is no such study, its file cannot be understood, or lacks what the harness needs. What it claims is
        looked at by `harness.studies.claims`.
    """
    name = name.replace("-", "_")
    if name not in names():
        raise RepriseError(f"there is no study {name!r}; there are {', '.join(names())} (see `reprise list`)")
    path = next(p for root in replications.__path__ if (p := Path(root) / name / "study.toml").exists())
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
        if missing := _lacking(data):
            raise RepriseError(f"{path} lacks {missing}; add it there")
        tables, published = data.get("table", {}), data.get("published", {"values": ()})
        study = Study(
            name=name,
            folder=path.parent,
            paper=data["paper"],
            protocol=data["protocol"],
            profiles=data["profile"],
            conditions=tuple(_condition(key, value) for key, value in data["condition"].items()),
            arms=tuple(Arm(**{**arm, "trainable": tuple(arm.get("trainable", ("",)))}) for arm in data["arm"]),
            tables=tables,
            published=tuple(
                {
                    "table": entry["table"],
                    "arm": entry["arm"],
                    "split": tables[entry["table"]]["split"],
                    "metric": metric,
                    "value": value,
                    **_margin((entry, tables[entry["table"]], published), metric),
                }
                for entry in published["values"]
                for metric, value in zip(published["metrics"], entry["scores"], strict=True)
            ),
            task=data["scores"].get("task", "multilabel"),
            metric=data["scores"]["main"],
            history=tuple(data["scores"]["history"]),
            groups=data["scores"].get("groups", "groups"),
            units=data["scores"].get("units", "clips"),
            same_clips=published.get("same_clips", False),
            arm_title=data["scores"].get("arms", "Arm"),
            class_title=data["scores"].get("classes", "class"),
            claims=tuple(data.get("claim", ())),
            seeds=data.get("seeds", {}),
            corpora=tuple(data.get("corpora", ())),
            measured=data.get("measured", {}),
        )
    except (tomllib.TOMLDecodeError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise RepriseError(f"{path} cannot be understood: {type(error).__name__} {error}; mend it there") from error
    for row in study.published:
        study.arm(row["arm"])
    for profile in study.profiles:
        for arm in study.arms:
            settings = study.resolve(profile, study.conditions[0].name, network=arm.network)
            if missing := [key for key in NEEDED["protocol"] if key not in settings]:
                raise RepriseError(f"{path} lacks {missing[0]} in [protocol] or [profile.{profile}]; add it there")
    return study


def _lacking(data: Mapping[str, Any]) -> str:
    """The first table or key that a file lacks; empty if it lacks none."""
    heads = {"profile": "[profile.NAME]", "condition": "[condition.NAME]", "arm": "an [[arm]]"}
    for name in ("paper", "protocol", "scores", *heads):
        if name not in data or (name in heads and not data[name]):
            return heads.get(name, f"[{name}]")
    tables = [(name, f"[{name}]", data[name]) for name in ("paper", "scores")]
    for kind in ("table", "condition"):
        tables += [(kind, f"[{kind}.{name}]", table) for name, table in data.get(kind, {}).items()]
    tables += [("arm", f"the [[arm]] {arm.get('name', number)}", arm) for number, arm in enumerate(data["arm"], 1)]
    return next((f"{key} in {place}" for kind, place, table in tables for key in NEEDED[kind] if key not in table), "")


def _margin(layers: Sequence[Mapping[str, Any]], metric: str) -> dict[str, Any]:
    """The margin of a printed value: the first of these that states one does so for all metrics, or for each."""
    for layer in layers:
        if "margin" in layer:
            stated = layer["margin"]
            return {
                "margin": stated[metric] if isinstance(stated, Mapping) else stated,
                "margin_why": layer["margin_why"],
            }
    return {}


def _among(corpora: Sequence[str], name: str) -> bool:
    """Whether a corpus, of any size, is among those named; whether or not, if none is named."""
    return not corpora or re.sub(r"^(pocket-.+)-[0-9]+$", r"\1", name) in corpora


def _condition(name: str, data: Mapping[str, Any]) -> Condition:
    own = {"title", "note", "arms", "corpora", "default"}
    changes = {key: value for key, value in data.items() if key not in own}
    arms, only = tuple(data.get("arms", ())), tuple(data.get("corpora", ()))
    return Condition(name, data["title"], data["note"], changes, arms, only, data.get("default", True))


def _named(items: Sequence[Any], name: str, what: str) -> Any:
    for item in items:
        if item.name == name:
            return item
    raise RepriseError(f"there is no {what} named {name!r}; there are {', '.join(item.name for item in items)}")


def _merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `changes` laid over it, table by table."""
    merged = dict(base)
    for key, value in changes.items():
        both = isinstance(base.get(key), Mapping) and isinstance(value, Mapping)
        merged[key] = _merge(base[key], value) if both else value
    return merged
