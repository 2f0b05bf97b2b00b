"""Verdicts: planted claims whose answer is known, on trials made as published and on others."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers import write_trials

from harness.metrics.seeds import joint
from harness.report import contrasts, tables, verdicts
from harness.report.contrasts import Scores, Side
from harness.studies import claims
from harness.studies import study as studies
from harness.studies.claims import Finding
from harness.studies.records import Record
from harness.studies.study import Study

ARMS = ("resnet_full", "vggish_full")
METRIC = "f1_macro_unmasked"
SKILLS = {"resnet_full": 0.2, "vggish_full": 0.5}


def planted(tmp_path: Path, *, seeds: int = 5, skills: Mapping[str, float] = SKILLS, **how: Any) -> list[Record]:
    """Trials as the published ones were, unless something else is said."""
    as_published = {"corpus": "openmic-2018", "profile": "paper", "weights": "published"}
    return write_trials(
        tmp_path,
        studies.load("openmic_transfer"),
        arms=ARMS,
        conditions=["paper"],
        skills=skills,
        seeds=seeds,
        sizes=(60, 400),
        **{**as_published, **how},
    )


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    return planted(tmp_path_factory.mktemp("runs"))


def study_with(*entries: Mapping[str, Any]) -> Study:
    return replace(studies.load("openmic_transfer"), claims=entries, published=())


def value(stated: float, margin: float, **others: Any) -> dict[str, Any]:
    return {
        "kind": "value", "arm": "vggish_full", "metric": METRIC, "value": stated, "margin": margin,
        "margin_why": "planted", "where": "7", "text": f"It has {stated}", **others,
    }  # fmt: skip


def judge(records: list[Record], *entries: Mapping[str, Any]) -> list[verdicts.Verdict]:
    return verdicts.judge(study_with(*entries), records, Path("nowhere"), replicates=300)


def score_of(records: list[Record], arm: str = "vggish_full", part: str = "test") -> float:
    return float(np.mean([r.data["metrics"][part][METRIC] for r in records if r.arm == arm]))


def test_a_value_is_judged_by_its_margin(records: list[Record]) -> None:
    ours = score_of(records)
    same, far, narrow = judge(records, value(ours, 0.08), value(ours - 0.3, 0.05), value(ours, 0.003))
    assert [v.verdict for v in (same, far, narrow)] == ["replicated", "not replicated", "inconclusive"]
    assert same.value == pytest.approx(ours)
    assert same.low < ours < same.high
    assert narrow.more_seeds is None  # 400 clips cannot tell 0.003 apart
    assert same.more_seeds is None


def test_more_seeds_are_asked_for_where_they_help(tmp_path: Path) -> None:
    """A spread between the seeds that is wide beside that of the clips."""
    few = []
    for seed, skill in enumerate((0.3, 0.5, 0.35)):
        (tmp_path / str(seed)).mkdir()
        some = planted(tmp_path / str(seed), seeds=1, skills={"resnet_full": 0.2, "vggish_full": skill})
        few += [replace(r, data={**r.data, "seed": seed}) for r in some]
    ours = score_of(few)
    (found,) = judge(few, value(ours, 0.08))
    assert found.verdict == "inconclusive"
    assert 1 <= found.more_seeds < 100
    row = verdicts.table(study_with(value(ours, 0.08)), few, tmp_path, replicates=300).frame.iloc[0]
    assert f"about {found.more_seeds} more seeds would settle it" in row["verdict_title"]


def test_more_seeds_are_asked_for_a_difference_below_zero(tmp_path: Path) -> None:
    """Only within the bounds of a difference does its interval reach below 0, so that it is not settled."""
    few = []
    for seed, skill in enumerate((0.1, 0.35, 0.15)):
        (tmp_path / str(seed)).mkdir()
        some = planted(tmp_path / str(seed), seeds=1, skills={"resnet_full": 0.3, "vggish_full": skill})
        few += [replace(r, data={**r.data, "seed": seed}) for r in some]
    ours = score_of(few) - score_of(few, "resnet_full")
    assert ours < 0
    entry = {key: v for key, v in value(ours, 0.1).items() if key != "arm"}
    (found,) = judge(few, {**entry, "above": "vggish_full", "below": "resnet_full"})
    assert found.verdict == "inconclusive"
    assert found.more_seeds is None or found.more_seeds >= 1


def test_one_seed_settles_no_value(records: list[Record]) -> None:
    one = [r for r in records if r.seed == 0]
    (found,) = judge(one, value(score_of(one), 0.2))
    assert (found.verdict, found.more_seeds) == ("inconclusive", 1)
    table = verdicts.table(study_with(value(score_of(one), 0.2)), one, Path("nowhere"), replicates=50)
    assert "one seed, so at least 1 more" in table.frame["verdict_title"].iloc[0]


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"corpus": "pocket-openmic", "profile": "pocket", "weights": "random"}, "pocket corpus"),
        ({"profile": "pocket"}, "not profile paper"),
        ({"weights": "random"}, "not published weights"),
    ],
)
def test_values_are_judged_only_by_trials_made_as_published(tmp_path: Path, how: dict[str, str], why: str) -> None:
    others = planted(tmp_path, seeds=2, **how)
    entry = value(score_of(others), 0.2)
    (found,) = judge(others, entry)
    assert found.verdict == f"not applicable: {why}"
    assert found.value == pytest.approx(score_of(others))  # it is shown still
    order = {
        "kind": "order", "above": "vggish_full", "below": "resnet_full", "metric": METRIC, "relation": "above",
        "where": "7", "text": "Wins",
    }  # fmt: skip
    assert judge(others, order)[0].verdict in ("holds", "undecided")


def test_a_corpus_that_nobody_can_get_judges_no_value(records: list[Record]) -> None:
    study = study_with(value(0.5, 0.1))
    hidden = replace(study, paper={**study.paper, "unpublished": "their notes"})
    (found,) = verdicts.judge(hidden, records, Path("nowhere"), replicates=50)
    assert found.verdict == "not applicable: their notes are not public"


def test_a_difference_can_be_a_value(records: list[Record]) -> None:
    gap = score_of(records) - score_of(records, "resnet_full")
    entry = {k: v for k, v in value(gap, 0.1).items() if k != "arm"} | {"above": "vggish_full", "below": "resnet_full"}
    (found,) = judge(records, entry)
    assert found.verdict == "replicated"
    assert found.value == pytest.approx(gap)


def test_a_value_of_the_validation_part_and_of_the_history(records: list[Record]) -> None:
    entries = (
        value(score_of(records, part="valid"), 0.3, part="valid"),
        value(0.5, 0.05, history=METRIC, part="train"),
        value(0.5, 0.05, history=METRIC, epochs="last", part="train"),
        value(0.5, 0.05, history="train_accuracy", part="train"),
    )
    valid, mean, last, none = judge(records, *entries)
    assert valid.value == pytest.approx(score_of(records, part="valid"))
    histories = [r.history()[METRIC] for r in records if r.arm == "vggish_full"]
    assert mean.value == pytest.approx(np.mean([h.mean() for h in histories]))
    assert last.value == pytest.approx(np.mean([h.iloc[-1] for h in histories]))
    assert mean.low < mean.value < mean.high
    assert none.verdict == "not judged: no history of train_accuracy"


def test_a_check_decides_what_is_said_in_words(records: list[Record], monkeypatch: pytest.MonkeyPatch) -> None:
    def odd(study: Study, found: list[Record], results: Path) -> Finding:
        return Finding("does not hold", f"{len(found)} records in {results.name}", rests_on=("layers.csv",))

    monkeypatch.setattr(claims, "check_of", lambda study, name: {"odd": odd}[name])
    study = study_with({"kind": "text", "check": "odd", "where": "7", "text": "It is odd"})
    table = verdicts.table(study, records, Path("results/nowhere"), replicates=50)
    row = table.frame.iloc[0]
    assert (row["verdict"], row["evidence"]) == ("does not hold", "10 records in nowhere")
    assert "[layers.csv](layers.csv)" in tables.to_markdown(table)


ENTRIES = (
    value(0.5, 0.05),
    {
        "kind": "order", "above": "vggish_full", "below": "resnet_full", "metric": [METRIC, "map_masked"],
        "relation": "above", "where": "7", "text": "Wins", "reading": "winning is more",
    },
    {"kind": "not judged", "where": "8", "text": "It is pretty", "why": "taste"},
)  # fmt: skip


def test_the_table_says_it_all(records: list[Record], tmp_path: Path) -> None:
    made = verdicts.table(study_with(*ENTRIES), records, tmp_path, replicates=300)
    assert made.title.startswith("What replicated: the paper's claims, judged on openmic-2018: ")
    for part in ("two one-sided tests at 95%", "the 90% interval over seeds and clips together (300", "5 seeds"):
        assert part in made.caption
    assert made.notes == "Margins: 0.05, planted. Our readings: “Wins”: winning is more."
    tables.write(made, tmp_path)
    frame = pd.read_csv(tmp_path / "verdicts.csv")
    assert list(frame["kind"]) == ["values", "orders", "orders", "not judged"]
    assert list(frame["claim"])[1:3] == ["Wins (macro F1)", "Wins (mAP)"]
    assert list(frame["verdict"])[1:] == ["holds", "holds", "not judged: taste"]
    assert frame["probability"].notna().tolist() == [False, True, True, False]
    assert (frame["seeds_of_claim"].dropna() == 5).all()
    assert frame["records"].iloc[1] == "records/vggish_full@paper records/resnet_full@paper"
    text = (tmp_path / "verdicts.md").read_text()
    assert r"[vggish\_full@paper](records/vggish_full@paper)" in text
    assert "nan" not in text.lower()
    latex = (tmp_path / "verdicts.tex").read_text()
    assert "records/" not in latex
    assert r"\begin{table*}" in latex


def test_a_long_table_is_several_in_latex(records: list[Record], tmp_path: Path) -> None:
    many = [{"kind": "not judged", "where": "8", "text": f"Claim {n}", "why": "taste"} for n in range(90)]
    latex = tables.to_latex(verdicts.table(study_with(*many), records, tmp_path, replicates=20))
    assert latex.count(r"\begin{table*}") == latex.count(r"\end{table*}") > 1
    assert latex.count("Corpus openmic-2018") == 1
    assert sum(latex.count(f"Claim {n} &") for n in range(90)) == 90


def test_the_tally_counts_in_a_settled_order() -> None:
    found = ["holds", "replicated", "not judged: taste", "holds", "not applicable: pocket corpus"]
    assert verdicts.tally(found) == "1 replicated, 2 hold, 1 not applicable, 1 not judged"
    assert verdicts.tally([]) == "no claim"


def test_conditions_can_be_set_against_each_other(tmp_path: Path) -> None:
    study = studies.load("openmic_transfer")
    found = write_trials(
        tmp_path, study, arms=["vggish_full"], conditions=["paper", "masked"], skills=SKILLS, seeds=2, sizes=(30, 60)
    )
    scores = Scores(study, found, replicates=50)
    c = scores.contrast(Side(("vggish_full",), condition="masked"), Side(("vggish_full",)), METRIC)
    by = {key: [r for r in found if r.condition == key] for key in ("paper", "masked")}
    assert c.replicates.score == pytest.approx(score_of(by["masked"]) - score_of(by["paper"]))
    assert len(joint(c.replicates)) == 50
    assert contrasts.rests_on(c.records) == ("records/vggish_full@masked", "records/vggish_full@paper")
    lacking = scores.contrast(Side(("vggish_full",), condition="random-weights"), None, METRIC)
    assert lacking.missing == "no record of vggish_full@random-weights"
    apart = [replace(r, data={**r.data, "seed": r.seed + 2 * (r.condition == "masked")}) for r in found]
    none = Scores(study, apart, replicates=50).contrast(
        Side(("vggish_full",), condition="masked"), Side(("vggish_full",)), METRIC
    )
    assert none.missing == "no seed that vggish_full, vggish_full share"
