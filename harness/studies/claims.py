"""What a paper claims of its arms, as data.

Every cell of a printed table is a claim: it is in ``study.toml`` once, under ``[published]``, with a margin, for all
of them, for a table, or for a row, which says how far off a score may be that still replicates it::

    [table.2]
    margin = { accuracy = 0.05, log_loss = 0.1 }   # or one number for all metrics
    margin_why = "half of a 95 % interval at 260 notes"
    history = "train_accuracy"                     # optional: no prediction is scored, but this column of the history
    epochs = "mean"                                # of it: "mean" over the epochs, or the "last"

What stands in a sentence is a ``[[claim]]`` with ``where`` it stands, ``text``, in our words, and, if need be, a
``reading``, what we take it to mean. There are four kinds::

    kind = "value"                   # a number outside tables, of one arm or a difference
    arm = "setup_4"                  # or above and below, as in an order
    metric = "accuracy"
    part = "valid"                   # default: "test"
    value = 0.86
    margin = 0.05
    margin_why = "..."

    kind = "order"
    above = "textual"                # an arm, or several whose mean counts; it has the higher number, of a loss too
    below = ["den_add", "den_mul"]
    metric = "f1_macro2_masked"      # of several each is a claim
    classes = ["organ"]              # optional: the mean over these alone, of a metric that is a mean over classes
    below_classes = ["piano"]        # optional: where the two sides are of different classes
    relation = "above"               # or "at least": not lower by more than the margin; or "equal": within it
    margin = 0.02

    kind = "text"                    # something else, which a function in the study's checks.py decides
    check = "sensitive_to_filter_size"

    kind = "not judged"
    why = "..."

Any of them may say ``about_pretraining = true``: networks that were not pre-trained then say nothing of it; or list the
arms that must have been, where another has none by design. A value may say ``relation = "above"`` ("over 80 %").

A check is called with the study's `harness.analysis.study.Analysis` and a ``level``; it gives a `Finding`.
"""

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

from harness.errors import RepriseError
from harness.metrics import metrics_of
from harness.studies.records import PARTS
from harness.studies.study import Study

VALUE, ORDER, TEXT, NOT_JUDGED = KINDS = ("value", "order", "text", "not judged")
RELATIONS = ("above", "at least", "equal")
EPOCHS = ("mean", "last")
#: What a check may say, beside "not judged: " or "not applicable: " and why.
HOLDS, FAILS, UNDECIDED = "holds", "does not hold", "undecided"
#: What is said where one seed alone speaks: what other seeds would have given is not known.
ONE_SEED = f"{UNDECIDED}: one seed"


@dataclass(frozen=True)
class Claim:
    """Something that a paper says of its arms.

    Parameters
    ----------
    kind
        One of `KINDS`.
    text
        What it says, in our words; of a cell the title of its arm.
    where
        In the paper.
    above, below
        Arms on either side; of a value that is no difference there is nothing below.
    metric
        Of both.
    part
        ``"test"`` or ``"valid"``; of a column of the history as the table has it.
    classes, below_classes
        The classes that count on either side; all if empty.
    relation
        Of an order: one of `RELATIONS`.
    value
        Of a value: as printed.
    margin
        How far off ours may be; None where the claim needs none.
    margin_why
        Why that margin.
    history, epochs
        The column of the history that is taken in place of a score of predictions, and one of `EPOCHS`.
    table
        Of a cell: its table.
    check
        Of a text: name of the function that decides.
    why
        Why nobody judges it.
    reading
        What we take it to mean.
    about_pretraining
        Whether it is about what pre-training does, so that trials without say nothing of it; or, where some arms have
        none by design, which arms it asks for.
    spelt
        Whether to name the metric beside the text, because other claims differ from it in that alone.
    """

    kind: str
    text: str
    where: str
    above: tuple[str, ...] = ()
    below: tuple[str, ...] = ()
    metric: str = ""
    part: str = "test"
    classes: tuple[str, ...] = ()
    below_classes: tuple[str, ...] = ()
    relation: str = ""
    value: float | None = None
    margin: float | None = None
    margin_why: str = ""
    history: str = ""
    epochs: str = "mean"
    table: str = ""
    check: str = ""
    why: str = ""
    reading: str = ""
    about_pretraining: bool | Sequence[str] = False
    spelt: bool = False


@dataclass(frozen=True)
class Finding:
    """What a check finds.

    Parameters
    ----------
    verdict
        `HOLDS`, `FAILS`, `UNDECIDED`, or ``"not judged: "`` or ``"not applicable: "`` and why.
    evidence
        What it rests on, in a sentence.
    value, low, high
        A number that decides, with its interval, where there is one.
    rests_on
        Files or folders that it was found in, relative to the results.
    """

    verdict: str
    evidence: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    rests_on: tuple[str, ...] = ()


def decide(
    evidence: str, value: float, low: float, high: float, *, bound: float = 0.0, rests_on: tuple[str, ...] = ()
) -> Finding:
    """Decide whether a number exceeds a bound.

    Parameters
    ----------
    evidence
        What was found; the number with its interval is added to it.
    value, low, high
        The number.
    bound
        To be exceeded.
    rests_on
        As in the finding.

    Returns
    -------
    Finding
        Holds if the whole interval lies above the bound, does not hold if all of it lies below, else undecided.
    """
    verdict = HOLDS if low > bound else FAILS if high < bound else UNDECIDED
    numbers = f"{value:+.3f} [{low:+.3f}, {high:+.3f}]".replace("-", "\u2212")
    return Finding(verdict, f"{evidence}: {numbers}", value, low, high, rests_on)


def of_seeds(finding: Finding, seeds: int) -> Finding:
    """What a finding is worth that rests on so many seeds: of one, nothing is decided.

    Parameters
    ----------
    finding
        As if other seeds did not matter.
    seeds
        How many there are.

    Returns
    -------
    Finding
        With the verdict `ONE_SEED` if there is one.
    """
    return replace(finding, verdict=ONE_SEED) if seeds == 1 else finding


def claims(study: Study) -> list[Claim]:
    """Everything that a paper claims: the cells of its tables, then its sentences.

    Parameters
    ----------
    study
        Gives both.

    Returns
    -------
    list of Claim
        In the order of ``study.toml``.

    Raises
    ------
    RepriseError
        A claim names an unknown arm, metric, relation, part or check, or lacks what its kind needs.
    """
    return [*cells(study), *(claim for entry in study.claims for claim in _sentences(study, entry))]


def cells(study: Study) -> list[Claim]:
    """The cells of a paper's tables.

    Parameters
    ----------
    study
        Gives the printed values.

    Returns
    -------
    list of Claim
        In their order.

    Raises
    ------
    RepriseError
        A value has no margin.
    """
    found = []
    for row in study.published:
        table = study.tables[row["table"]]
        claim = Claim(
            kind=VALUE,
            text=study.arm(row["arm"]).title,
            where=table["where"],
            above=(row["arm"],),
            metric=row["metric"],
            part=row["split"],
            value=row["value"],
            margin=row.get("margin"),
            margin_why=row.get("margin_why", ""),
            history=table.get("history", ""),
            epochs=table.get("epochs", "mean"),
            table=row["table"],
            spelt=True,
        )
        found.append(_checked(study, claim, f"the value of {row['arm']} in table {row['table']}"))
    return found


def orders(study: Study) -> list[Claim]:
    """The claims of a study that are orderings.

    Parameters
    ----------
    study
        Gives the claims.

    Returns
    -------
    list of Claim
        In their order; of several metrics each is one.

    Raises
    ------
    RepriseError
        As `claims`.
    """
    return [claim for entry in study.claims if entry.get("kind") == ORDER for claim in _sentences(study, entry)]


def check_of(study: Study, name: str) -> Callable[..., Finding]:
    """The function that decides a claim.

    Parameters
    ----------
    study
        In whose ``checks.py`` it is.
    name
        Of the function.

    Returns
    -------
    callable
        Of the study, its trials and the folder of their results.

    Raises
    ------
    RepriseError
        There is none of that name.
    """
    function = getattr(checks(study), name, None)
    if not callable(function):
        raise RepriseError(
            f"{study.name} has no check {name!r}; write it in {study.folder / 'checks.py'} "
            f"or correct the claim in {study.folder / 'study.toml'}"
        )
    return function


def checks(study: Study) -> ModuleType | None:
    """A study's ``checks.py``; None where it has none."""
    if not (study.folder / "checks.py").exists():
        return None
    return importlib.import_module(f"replications.{study.name}.checks")


def _sentences(study: Study, entry: Mapping[str, Any]) -> list[Claim]:
    """The claims of one ``[[claim]]``: one for each of its metrics."""
    entry = dict(entry)
    said = f"the claim “{entry.get('text', '')}”"
    if "arm" in entry:
        entry["above"] = entry.pop("arm")
    metrics = _names(entry.pop("metric", ""))
    entry |= {key: _names(entry[key]) for key in ("above", "below", "classes", "below_classes") if key in entry}
    try:
        found = [Claim(metric=metric, spelt=len(metrics) > 1, **entry) for metric in metrics]
    except TypeError as error:
        raise _wrong(study, said, f"cannot be understood ({error})") from error
    return [_checked(study, claim, said) for claim in found]


def _checked(study: Study, claim: Claim, said: str) -> Claim:
    """The claim, if it makes sense."""
    if claim.kind not in KINDS:
        raise _wrong(study, said, f"has the kind {claim.kind!r}; choose one of {', '.join(KINDS)}")
    if claim.kind == TEXT:
        check_of(study, claim.check)
    if claim.kind == NOT_JUDGED and not claim.why:
        raise _wrong(study, said, "does not say why it is not judged; add why")
    if claim.kind not in (VALUE, ORDER):
        return claim
    for name in (*claim.above, *claim.below):
        study.arm(name)
    if not claim.above or (claim.kind == ORDER and not claim.below):
        raise _wrong(study, said, "names no arm above, or none below; add them")
    of_classes = bool(claim.classes or claim.below_classes)
    choices = [name for name, metric in metrics_of(study.task).items() if metric.per_class or not of_classes]
    if claim.metric not in choices:
        kind = "metric that is a mean over classes" if of_classes else f"{study.task} metric"
        raise _wrong(study, said, f"needs a {kind}, not {claim.metric!r}; choose one of {', '.join(choices)}")
    if claim.part not in PARTS and not claim.history:
        raise _wrong(study, said, f"is of the part {claim.part!r}; choose {' or '.join(PARTS)}, or name a history")
    if claim.epochs not in EPOCHS:
        raise _wrong(study, said, f"takes the epochs {claim.epochs!r}; choose {' or '.join(EPOCHS)}")
    if claim.kind == ORDER and claim.relation not in RELATIONS:
        raise _wrong(study, said, f"has the relation {claim.relation!r}; choose one of {', '.join(RELATIONS)}")
    if claim.kind == VALUE and claim.relation not in ("", "above"):
        raise _wrong(study, said, f"has the relation {claim.relation!r}; a value takes 'above' or none")
    needs_margin = claim.relation != "above"
    if needs_margin and (claim.margin is None or not claim.margin > 0):
        raise _wrong(study, said, "needs a margin above 0; add it")
    if claim.kind == VALUE and (claim.value is None or (needs_margin and not claim.margin_why)):
        raise _wrong(study, said, "needs a value, and margin_why; add them")
    return claim


def _wrong(study: Study, said: str, what: str) -> RepriseError:
    return RepriseError(f"{said} {what} in {study.folder / 'study.toml'}")


def _names(given: str | Sequence[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)
