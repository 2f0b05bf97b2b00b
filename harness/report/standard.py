"""What a report shows of a study unless that chooses otherwise: the paper's tables, every arm, and the usual plots."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from harness import corpora
from harness.report import estimates, orderings, plots
from harness.report.tables import condition_table, masked_table, score_table
from harness.report.writers import Table
from harness.studies import claims
from harness.studies.records import Record
from harness.studies.study import Study


def tables(study: Study, records: Sequence[Record]) -> list[Table]:
    """Ours beside each of the paper's tables, the scores on observed labels, and what the conditions are worth.

    Parameters
    ----------
    study, records
        The study, and its trials on one corpus under one profile.

    Returns
    -------
    list of Table
        Of the paper's tables only those with a network that was trained, or of all networks.
    """
    networks = {study.arm(r.arm).network for r in records}
    shown = [
        score_table(study, records, key)
        for key, about in study.tables.items()
        if about.get("network") in (None, *networks)
    ]
    shown.append(masked_table(study, records))
    if len({r.condition for r in records}) > 1:
        shown.append(condition_table(study, records))
    return shown


def figures(study: Study, records: Sequence[Record]) -> dict[str, tuple[Figure, str]]:
    """Labels, scores, orderings judged, training curves, and the best arm of each network by instrument.

    Parameters
    ----------
    study, records
        The study, and its trials on one corpus under one profile.

    Returns
    -------
    dict
        By the stem of its files each figure with a line on what it shows.
    """
    base = study.conditions[0].name
    corpus = corpora.load(records[0].data["corpus"])
    found = {
        "label_counts": (
            plots.label_counts(corpus),
            "Labels: present, absent, and never asked about",
        ),
        "scores": (plots.scores(study, records), "Every arm with its interval, chance, and the paper's values"),
    }
    if claims.orders(study) and any(r.condition == base for r in records):
        found["orderings"] = (orderings.forest(study, records), "What the paper says of its arms, judged")
    for condition in estimates.conditions(study, records):
        suffix = "" if condition == base else f"_{condition}"
        title = study.condition(condition).title
        if any(len(r.history()) for r in records if r.condition == condition):
            found[f"training_curves{suffix}"] = (
                plots.training_curves(study, records, condition=condition),
                f"Losses and validation {estimates.in_words(study.metric)} by epoch ({title})",
            )
        best = list(estimates.best_arms(study, records, condition).values())
        found[f"per_class_f1{suffix}"] = (
            plots.per_class_f1(study, records, arms=best, condition=condition),
            f"F1 of each instrument, the best arm of each network ({title})",
        )
        for arm in best:
            found[f"confusion_{arm}{suffix}"] = (
                plots.confusion(study, records, arm, condition=condition),
                f"What {arm} hears when an instrument plays ({title})",
            )
    return found
