"""The tables of the study of predominant instruments: Fig. 1 in numbers, and flute against clarinet."""

import io
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics as sk
from irmas_trials import CLARINET, EXCERPTS, FLUTE, SONGS, STUDY, analysed, made_up_corpus, made_up_trials
from rich.console import Console

from harness.analysis.study import Analysis
from harness.corpora import Corpus, irmas
from harness.metrics import METRICS
from harness.report import writers
from harness.report.writers import Table
from replications.irmas_activations import comparison, filter_activations, layer_tables
from replications.irmas_activations import tables as making
from replications.irmas_activations.thresholds import threshold
from replications.irmas_activations.windows import GRIDS

NAMES = ["fig1", "instruments", "flute_clarinet", "flute_clarinet_counts", "layers", "filters"]
ALIKE = made_up_corpus(clarinets=4)


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return made_up_corpus()


@pytest.fixture(scope="module")
def analysis(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Analysis:
    folder = tmp_path_factory.mktemp("runs")
    made = made_up_trials(folder, corpus, skill={"flu": 0.2, "cla": 0.1}, answers=lambda labels, right: {})
    return analysed(made, corpus, 100)


def printed(table: Table) -> str:
    """In every form but CSV."""
    console = Console(file=io.StringIO(), width=100)
    console.print(writers.to_terminal(table))
    return console.file.getvalue() + writers.to_markdown(table) + writers.to_latex(table)


@pytest.mark.parametrize("conditions", [["paper"], ["bce"], ["paper", "bce"]])
def test_every_table_can_be_made_of_any_conditions_and_seeds(analysis, corpus, conditions):
    some = [r for r in analysis.records if r.condition in conditions]
    for chosen in (some, [r for r in some if r.seed == 1]):
        shown = making.tables(analysed(chosen, corpus, 20))
        assert [table.name for table in shown] == (NAMES if "paper" in conditions else NAMES[:4])
        for table in shown:
            assert "nan" not in printed(table)
            assert set(pd.read_csv(io.StringIO(writers.to_csv(table)))["corpus"]) == {corpus.name}


def test_trials_without_measurements_have_the_other_tables(corpus, tmp_path):
    records = made_up_trials(tmp_path, corpus, conditions=("paper",), seeds=1)
    assert [table.name for table in making.tables(analysed(records, corpus, 20))] == NAMES[:4]


def test_fig_1_is_what_scikit_learn_gives_at_each_threshold(analysis):
    frame = making.fig1_table(analysis).frame.set_index(["aggregation", "choice", "metric"])
    of_paper = analysis.select("han")
    for how in ("s1", "s2"):
        for choice in ("fixed", "chosen", "oracle") if how == "s2" else ("chosen", "oracle"):
            for metric, average in (("f1_micro_unmasked", "micro"), ("f1_macro_unmasked", "macro")):
                expected = []
                for record in of_paper:
                    p = record.predictions("test" if how == "s2" else "test_s1")
                    valid = record.predictions("valid" if how == "s2" else "valid_s1")
                    looked_at = {"chosen": valid, "oracle": p}.get(choice)
                    best = 0.5
                    if looked_at is not None:
                        best = max(
                            GRIDS[how],
                            key=lambda t, q=looked_at, by=average if choice == "oracle" else "micro": sk.f1_score(
                                q.labels, q.probabilities >= t, average=by, zero_division=0
                            ),
                        )
                    expected.append(sk.f1_score(p.labels, p.probabilities >= best, average=average, zero_division=0))
                assert frame.loc[(how.upper(), choice, metric), "ours_paper"].value == pytest.approx(np.mean(expected))
    # No threshold is better on the test excerpts than the one that was chosen there, by either score.
    for name in ("ours_paper", "ours_bce"):
        values = frame[name].map(lambda number: number.value).unstack("choice").drop("either")
        assert (values["oracle"] >= values["chosen"]).all()
    ranked = [
        sk.label_ranking_average_precision_score(r.predictions("test").labels, r.predictions("test").probabilities)
        for r in of_paper
    ]
    assert frame.loc[("either", "none", "lrap_unmasked"), "ours_paper"].value == pytest.approx(np.mean(ranked))


def test_published_scores_stand_beside_the_published_threshold_alone(analysis):
    table = making.fig1_table(analysis)
    known = table.frame[table.frame["published"].notna()]
    assert known[["aggregation", "choice"]].drop_duplicates().values.tolist() == [["S2", "fixed"]]
    assert known["published"].tolist() == [0.602, 0.503]
    assert "Not a replication of the published values" in table.caption
    edge = [threshold(analysis, r, "s2", "chosen") in (0.25, 0.6) for r in analysis.select("han")]
    assert (f"{sum(edge)} of 2 at the edge" in table.caption) or not any(edge)


def test_the_row_as_published_is_that_of_the_analysis(analysis):
    row = making.fig1_table(analysis).frame.iloc[0]
    of = analysis.estimates
    of = of[(of["part"] == "test") & (of["class"] == "") & (of["metric"] == row["metric"])]
    for name, number in (("paper", row["ours_paper"]), ("bce", row["ours_bce"])):
        expected = of[of["condition"] == name][["mean", "low", "high"]].to_numpy()[0]
        np.testing.assert_allclose(number[:3], expected)


def test_intervals_draw_whole_songs(analysis):
    """Excerpts of a song share their labels, and are worth less than as many of other songs."""
    apart = Analysis(STUDY, analysis.records, replicates=100)
    widths = []
    for of in (analysis, apart):
        number = making.fig1_table(of).frame["ours_paper"].iloc[1]
        widths.append(number.high - number.low)
    assert widths[0] > 1.15 * widths[1]


def test_instruments_have_precision_recall_and_f1(analysis):
    table = making.class_table(analysis)
    expected = []
    for record in analysis.select("han", "bce"):
        p = record.predictions("test")
        predicted = p.probabilities >= threshold(analysis, record, "s2", "chosen")
        expected.append(sk.precision_recall_fscore_support(p.labels, predicted, zero_division=0)[:3])
    precision, recall, f1 = np.mean(expected, axis=0)
    np.testing.assert_allclose(table.frame["precision_bce"], precision)
    np.testing.assert_allclose(table.frame["recall_bce"], recall)
    np.testing.assert_allclose([number.value for number in table.frame["ours_bce"]], f1)
    labels = analysis.records[0].predictions("test").labels.astype(int)
    assert table.frame["excerpts"].tolist() == [str(n) for n in labels.sum(axis=0)]
    always = sk.f1_score(labels, np.ones((EXCERPTS * SONGS, 11)), average=None)
    np.testing.assert_allclose(table.frame["chance"], always)
    assert "| clarinet (cla) | 12 |" in writers.to_markdown(table)


def test_planted_deafness_to_the_clarinet_is_found(corpus, tmp_path):
    analysis = analysed(made_up_trials(tmp_path, corpus, skill={"flu": 0.5, "cla": 0.1}, seeds=4), corpus)
    frame = comparison.comparison_table(analysis).frame
    f1 = [r.data["metrics"]["test"]["per_class"]["flu"]["f1_unmasked"] for r in analysis.select("han")]
    assert frame["flute"][0] == pytest.approx(np.mean(f1))  # at the threshold that verdicts are given at
    assert all(number.low > 0 and not number.doubtful for number in frame["difference"])
    np.testing.assert_allclose([n.value for n in frame["difference"]], frame["flute"] - frame["clarinet"])
    plain, equal = frame[frame["case"] == "as they are"], frame[frame["case"] != "as they are"]
    # With more of them a clarinet that is called is more often one; flutes stay as they are.
    assert (equal["clarinet"].to_numpy() > plain["clarinet"].to_numpy()).all()
    np.testing.assert_allclose(equal["flute"], plain["flute"])
    judged = analysis.contrasts[analysis.contrasts["kind"] == "claim"].iloc[0]
    assert frame["difference"][0][:3] == pytest.approx(judged[["difference", "low_adjusted", "high_adjusted"]].tolist())
    assert judged["decided"] == "above"


def test_a_difference_of_frequency_alone_goes_when_frequencies_are_made_equal(corpus, tmp_path):
    records = made_up_trials(tmp_path, corpus, skill=0.12, conditions=("paper",), seeds=6)
    plain, equal = comparison.comparison_table(analysed(records, corpus)).frame["difference"]
    assert plain.value > 0.08
    assert abs(equal.value) < plain.value / 2
    assert equal.doubtful


def test_f1_at_another_frequency_by_hand():
    labels = np.array([1, 1, 0, 0, 0, 0, 0, 0])
    predicted = np.array([1, 0, 1, 0, 0, 0, 0, 0])
    ones = np.ones((1, 8))
    assert comparison.f1_at(labels, predicted, ones) == pytest.approx(0.5)
    assert comparison.f1_at(labels, predicted, ones, np.array([0.25])) == pytest.approx(0.5)
    # Half of 4 found, a sixth of the 4 others called: 2 right of 2 + 2 / 3 called.
    precision, recall = 2 / (2 + 4 / 6), 0.5
    expected = 2 * precision * recall / (precision + recall)
    assert comparison.f1_at(labels, predicted, ones, np.array([0.5])) == pytest.approx(expected)
    nobody = comparison.f1_at(np.zeros(8), predicted, ones, np.array([0.5]))
    assert np.isnan(nobody).all()


def test_counts_of_the_published_corpus_and_of_the_one_at_hand(analysis):
    published, ours = comparison.counts_table(analysis).frame.itertuples()
    assert (published.train, published.test) == ("451 : 505", "163 : 62")
    assert published.ratio.value == pytest.approx(163 * 505 / (62 * 451))
    assert published.ratio.low > 2
    assert (ours.train, ours.test) == ("4 : 4", "33 : 12")
    # Woolf by hand: logarithm of 33 / 12, plus and minus 1.96 standard errors.
    error = np.sqrt(1 / 33 + 1 / 12 + 1 / 4 + 1 / 4)
    assert ours.ratio.low == pytest.approx(np.exp(np.log(33 / 12) - 1.959964 * error), rel=1e-5)
    assert ours.ratio.doubtful
    assert comparison.odds_ratio(3, 0, 1, 1) is None


def test_all_of_irmas_is_counted_once_and_a_record_without_counts_not_at_all(analysis, corpus):
    record = analysis.records[0]
    for facts in ({"training": irmas.TRAINING, "test": irmas.TEST}, {}):
        one = replace(record, data={**record.data, "inputs": {"corpus": facts}})
        assert comparison.counts_table(analysed([one], corpus)).frame["counted"].tolist() == ["IRMAS as published"]


def test_chance_on_all_of_irmas():
    """All present has macro F1 0.250; naming the best number of the most frequent classes has micro F1 0.440."""
    counts = np.array(list(irmas.TEST.values()))
    labels = (np.arange(irmas.MIXTURES)[:, None] < counts).astype(int)
    assert METRICS["f1_micro_unmasked"].chance(labels) == pytest.approx(0.440, abs=5e-4)
    assert METRICS["f1_macro_unmasked"].chance(labels) == pytest.approx(0.250, abs=5e-4)


def test_no_clarinet_at_all(corpus, tmp_path):
    """Of a part of IRMAS the test excerpts may lack an instrument."""
    labels = corpus.labels.copy()
    labels[(corpus.clips["partition"] == "test").to_numpy(), CLARINET] = 0
    part = replace(corpus, labels=labels)
    records = made_up_trials(tmp_path, part, conditions=("paper",), seeds=1, answers=lambda labels, right: {})
    shown = {table.name: table for table in making.tables(analysed(records, part, 20))}
    assert list(shown) == NAMES[:4]
    assert np.isnan(shown["flute_clarinet"].frame["difference"][1].value)
    assert not any("nan" in printed(table) for table in shown.values())


# Layers and filters.


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Analysis:
    """Flutes have more of act5, and recognised flutes of act6."""
    records = made_up_trials(
        tmp_path_factory.mktemp("planted"), ALIKE, seeds=2, skill={"flu": 0.12, "cla": 0.12},
        answers=lambda labels, right: {
            "act5": 5.0 * labels[:, [FLUTE]], "act6": 5.0 * right[:, None] * labels[:, [FLUTE]]
        },
    )  # fmt: skip
    return analysed(records, ALIKE)


def test_the_table_of_layers_tells_what_the_tests_find(planted):
    several = filter_activations.read(planted)
    table = layer_tables.layer_table(planted, several)
    frame = table.frame.set_index("layer")
    assert list(frame.index) == [*(f"conv{i}" for i in range(1, 9)), "fc1"]
    assert not frame.loc["conv5", "class"].doubtful
    assert not frame.loc["conv6", "flute"].doubtful
    assert frame.loc["conv5", "class_networks"] == "2 of 2"
    assert all(number.doubtful for number in frame.drop(["conv5", "conv6"])["class"])
    assert frame.loc["conv5", "beyond"] == 5
    for name in ("class", "flute", "clarinet"):
        rows = [filter_activations.layers_of(found, name, level=planted.check_level) for found in several]
        found = np.mean([of["difference"] for of in rows if of is not None], axis=0)
        np.testing.assert_allclose([number.value for number in frame[name]], found)
    counts = [found.groups()["flute, missed"].sum() for found in several]
    assert f"flute, missed {np.mean(counts):.3g}" in table.caption


def test_the_best_filters_come_first(planted):
    (first, *_) = filter_activations.read(planted)
    frame = layer_tables.filter_table(planted, first).frame
    assert len(frame) == filter_activations.SHOWN
    assert frame["stage"][:5].tolist() == ["act5"] * 5
    assert (frame["beyond_chance"][:5] == "yes").all()
    assert (frame["beyond"] == (frame["area"] > frame["bar"])).all()
    assert frame["name"][0] == f"conv5, {frame['filter'][0]}"
    assert frame["answers_more_to"][0] == "flutes"
    assert frame["difference"][0].low > 0
