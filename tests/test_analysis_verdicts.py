"""Verdicts: every gate with a planted fault, values with a planted truth, orders that never contradict letters."""

import copy
import dataclasses

import numpy as np
import pytest
from helpers import write_trials

from harness.analysis import study as documented
from harness.analysis.study import Analysis
from harness.analysis.verdicts import departures, findings, replication, tally, verdicts
from harness.studies import study as studies
from harness.studies.claims import Claim

ARMS = ("resnet_fc", "resnet_full", "vggish_fc", "vggish_full")
SKILLS = dict(zip(ARMS, (0.05, 0.2, 0.05, 0.35), strict=True))
METRIC = "f1_macro_unmasked"


@pytest.fixture(scope="module")
def study():
    return studies.load("openmic-transfer")


@pytest.fixture(scope="module")
def written(study, tmp_path_factory):
    """Trials of four arms, three seeds each."""
    folder = tmp_path_factory.mktemp("trials")
    skills = {arm.name: SKILLS.get(arm.name, 0.0) for arm in study.arms}
    return write_trials(folder, study, arms=ARMS, conditions=["paper"], seeds=3, skills=skills)


def as_published(study, records, **changes):
    """The same trials, as if they had been made as the paper's were; `changes` plant a departure in all of them."""
    found = []
    for record in records:
        data = copy.deepcopy(dict(record.data))
        network = study.arm(data["arm"]).network
        data |= {
            "corpus": study.protocol["corpus"],
            "profile": "paper",
            "protocol": study.resolve("paper", study.conditions[0].name, network=network),
            "weights": {"kind": "published"},
        }
        data["split"]["name"] = study.protocol["split"]
        data["inputs"] = {"corpus": {"clips": 20_000, "complete": True}, "left_out": {}}
        for path, value in changes.items():
            *tables, last = path.split("__")
            place = data
            for name in tables:
                place = place[name]
            place[last] = value
        found.append(dataclasses.replace(record, data=data))
    return found


def judged(study, records, *claims, **settings):
    """Verdicts of some claims alone."""
    analysis = Analysis(study, records, replicates=200, **settings)
    analysis.__dict__["claims"] = list(claims)
    return analysis, verdicts(analysis)


def order(above, below, relation="above", **more):
    return Claim("order", f"{above} {relation} {below}", "", (above,), (below,), METRIC, relation=relation, **more)


def value(arm, number, margin=0.05, **more):
    return Claim("value", arm, "", (arm,), metric=METRIC, value=number, margin=margin, margin_why="planted", **more)


def ours(study, records, arm):
    analysis = Analysis(study, records, replicates=100)
    frame = analysis.estimates
    rows = frame[
        (frame["arm"] == arm) & (frame["part"] == "test") & (frame["metric"] == METRIC) & (frame["class"] == "")
    ]
    return float(rows["mean"].iloc[0])


def test_made_as_published_there_is_no_departure(study, written):
    analysis = Analysis(study, as_published(study, written), replicates=100)
    assert departures(analysis, analysis.records) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"corpus": "pocket-openmic"}, "corpus pocket-openmic"),
        ({"inputs__corpus": {"clips": 968, "complete": False}}, "968 clips"),
        ({"inputs__corpus": {"clips": 968}}, "not here whole"),
        ({"inputs__left_out": {"a": "unreadable"}}, "1 clips left out"),
        ({"profile": "pocket"}, "profile pocket"),
        ({"split__name": "official"}, "split official"),
        ({"bf16": True}, "bfloat16"),
        ({"protocol__epochs": 2}, "epochs 2"),
        ({"protocol__batch_size": 7}, "batch_size 7"),
        ({"protocol__patience": 99}, "patience 99"),
        ({"weights": {"kind": "random"}, "protocol__weights": "random"}, "weights"),
    ],
)
def test_a_value_is_not_applicable_with_any_departure(study, written, change, words):
    records = as_published(study, written, **change)
    analysis, frame = judged(study, records, value("resnet_full", 0.5))
    assert frame["verdict"][0] == "not applicable"
    assert words in frame["why"][0]
    assert words in "; ".join(departures(analysis, analysis.records))
    # What ours is, is told all the same.
    assert np.isfinite(frame["ours"][0])


def test_a_segment_count_is_a_setting_like_any_other():
    gtzan = studies.load("gtzan-cam")
    stated = gtzan.resolve("paper", gtzan.conditions[0].name)
    assert {"segments", "epochs", "batch_size"} <= stated.keys()


def test_a_perfect_replication_is_not_called_a_failure(study, written):
    records = as_published(study, written)
    truth = ours(study, records, "vggish_full")
    _, frame = judged(
        study, records, value("vggish_full", truth, margin=0.3), value("vggish_full", truth, margin=0.001)
    )
    assert frame["verdict"].tolist() == ["replicated", "inconclusive"]
    assert frame["detectable"].notna().all()


def test_a_value_far_off_is_not_replicated(study, written):
    records = as_published(study, written)
    truth = ours(study, records, "vggish_full")
    _, frame = judged(study, records, value("vggish_full", truth + 0.4, margin=0.02))
    assert frame["verdict"][0] == "not replicated"


def test_one_seed_settles_no_value(study, written):
    records = [r for r in as_published(study, written) if r.seed == 0]
    _, frame = judged(study, records, value("vggish_full", 0.9, margin=0.01))
    assert frame["verdict"][0] == "inconclusive"
    assert "one seed" in frame["why"][0]


def test_a_one_sided_value_is_tested_one_sidedly(study, written):
    records = as_published(study, written)
    truth = ours(study, records, "vggish_full")
    claims = [
        Claim("value", "over", "", ("vggish_full",), metric=METRIC, value=truth + shift, relation="above")
        for shift in (-0.2, 0.0, 0.2)
    ]
    _, frame = judged(study, records, *claims)
    assert frame["verdict"].tolist() == ["holds", "undecided", "does not hold"]


@pytest.mark.parametrize(("spread", "margin"), [(0.01, 0.03), (0.04, 0.03), (0.04, 0.01)])
def test_a_perfect_replication_is_hardly_ever_called_a_failure_whatever_runs_vary_by(spread, margin):
    generator, words = np.random.default_rng(0), []
    for _ in range(2000):
        theirs, mine = generator.normal(0, spread), generator.normal(0, spread, 5)
        run = mine.var(ddof=1)
        words.append(replication(mine.mean() - theirs, np.sqrt(run + run / 5), 4, margin)[0])
    assert words.count("not replicated") / 2000 < 0.05 + 0.015
    if spread < margin / 2:
        assert words.count("replicated") / 2000 > 0.5


@pytest.mark.parametrize("apart", [0.03, 0.2])
def test_what_lies_apart_by_the_margin_or_more_is_hardly_ever_called_replicated(apart):
    generator, words = np.random.default_rng(1), []
    for _ in range(2000):
        theirs, mine = generator.normal(apart, 0.01), generator.normal(0, 0.01, 5)
        run = mine.var(ddof=1)
        words.append(replication(mine.mean() - theirs, np.sqrt(run + run / 5), 4, 0.03)[0])
    assert words.count("replicated") / 2000 < 0.05 + 0.015
    if apart > 0.1:
        assert words.count("not replicated") / 2000 > 0.9


def test_orders_agree_with_letters_and_their_converse(study, written):
    claims = [order(a, b) for a in ARMS for b in ARMS if a != b]
    analysis, frame = judged(study, written, *claims)
    shown = analysis.letters(METRIC)
    rows = frame.set_index(["above", "below"])
    for a in ARMS:
        for b in ARMS:
            if a == b:
                continue
            row, turned = rows.loc[(a, b)], rows.loc[(b, a)]
            if row["verdict"] in ("holds", "reversed"):
                assert set(shown[a]).isdisjoint(shown[b])
                assert {row["verdict"], turned["verdict"]} == {"holds", "reversed"}
                assert row["p"] <= 0.05
            if row["verdict"] == "undecided":
                assert not set(shown[a]).isdisjoint(shown[b])
            assert row["p"] == turned["p"] or (np.isnan(row["p"]) and np.isnan(turned["p"]))
    assert (frame["verdict"] == "holds").any()
    # A claim and its converse are one finding.
    assert len(findings(frame)) == len(claims) // 2


def test_three_scores_of_one_order_are_one_finding(study, written):
    metrics = ("f1_macro_unmasked", "f1_micro_unmasked", "jaccard_samples_unmasked")
    claims = [dataclasses.replace(order("vggish_full", "vggish_fc"), metric=m, spelt=True) for m in metrics]
    _, frame = judged(study, written, *claims)
    assert len(frame) == 3
    assert findings(frame).tolist() == ["holds"]
    assert tally(findings(frame)) == "1 hold"


def test_an_order_of_arms_at_chance_is_no_order(study, tmp_path):
    skills = {arm.name: 0.0 for arm in study.arms}
    records = write_trials(tmp_path, study, arms=ARMS[:2], conditions=["paper"], seeds=3, skills=skills)
    _, frame = judged(
        study, records, order("resnet_full", "resnet_fc"), order("resnet_full", "resnet_fc", "equal", margin=0.9)
    )
    assert (frame["verdict"] == "not applicable").all()
    assert frame["why"].str.contains("chance").all()


def test_a_claim_about_pretraining_needs_networks_that_had_it(study, written):
    claim = order("vggish_full", "vggish_fc", about_pretraining=True)
    _, frame = judged(study, written, claim)
    assert frame["verdict"][0] == "not applicable"
    assert "pre-training" in frame["why"][0]
    _, frame = judged(study, as_published(study, written), claim)
    assert frame["verdict"][0] == "holds"


def test_one_pretraining_per_objective_is_told(study, written):
    pretraining = {"representation": {"pretraining": {"objective": "aed", "corpus": "pocket-audioset"}}}
    records = [dataclasses.replace(r, data={**r.data, "inputs": pretraining}) for r in written]
    _, frame = judged(study, records, order("vggish_full", "vggish_fc", about_pretraining=True))
    assert frame["verdict"][0] == "holds"
    assert "one pre-training" in frame["why"][0]


def test_one_seed_decides_no_order(study, written):
    records = [r for r in written if r.seed == 0]
    analysis, frame = judged(study, records, order("vggish_full", "vggish_fc"))
    assert frame["verdict"][0] == "undecided"
    assert frame["why"][0] == "one seed"
    assert analysis.letters(METRIC) == {}


@pytest.mark.parametrize(
    ("relation", "margin", "above", "below", "expected"),
    [
        ("at least", 0.02, "vggish_full", "vggish_fc", "holds"),
        ("at least", 0.02, "vggish_fc", "vggish_full", "reversed"),
        ("equal", 0.9, "vggish_full", "vggish_fc", "holds"),
        ("equal", 0.01, "vggish_full", "vggish_fc", "does not hold"),
    ],
)
def test_margins(study, written, relation, margin, above, below, expected):
    _, frame = judged(study, written, order(above, below, relation, margin=margin))
    assert frame["verdict"][0] == expected
    # The p is that of the claim's own hypothesis.
    assert frame["p"][0] <= 0.05


def test_undecided_orders_say_what_could_be_seen_and_how_many_seeds_would_settle_it(study, written):
    _, frame = judged(study, written, order("resnet_fc", "vggish_fc"))
    if frame["verdict"][0] == "undecided":
        assert frame["detectable"][0] > abs(frame["ours"][0])
        assert frame["why"][0]


def test_missing_arms_and_classes_are_told(study, written):
    claims = [order("vggish_fc_2emb", "vggish_fc"), order("vggish_full", "vggish_fc", classes=("theremin",))]
    _, frame = judged(study, written, *claims)
    assert frame["verdict"].tolist() == ["not judged"] * 2
    assert "vggish_fc_2emb" in frame["why"][0]
    assert "theremin" in frame["why"][1]


def test_a_seed_that_learnt_nothing_is_told(study, tmp_path):
    skills = {arm.name: 0.3 for arm in study.arms}
    records = write_trials(tmp_path / "a", study, arms=["resnet_full"], conditions=["paper"], seeds=2, skills=skills)
    failed = write_trials(
        tmp_path / "b", study, arms=["resnet_full"], conditions=["paper"], seeds=3, skills=dict.fromkeys(skills, 0.0)
    )
    analysis = Analysis(study, [*records, failed[2]], replicates=100)
    assert analysis.estimates["seeds"].unique().tolist() == [3]
    assert analysis.estimates["seeds_trained"].unique().tolist() == [2]


def test_frames_have_their_documented_columns_and_every_file_is_read_once(study, written, monkeypatch):
    opened = []
    load = np.load
    monkeypatch.setattr(np, "load", lambda path, *a, **k: (opened.append(str(path)), load(path, *a, **k))[1])
    analysis = Analysis(study, written, replicates=100)
    estimates, contrasts, found = analysis.estimates, analysis.contrasts, verdicts(analysis)
    assert sorted(opened) == sorted(str(r.folder / "predictions.npz") for r in written)
    for name in (*estimates.columns, *contrasts.columns):
        assert name in documented.__doc__
    assert min(len(estimates), len(contrasts), len(found)) > 0
    again = Analysis(study, list(reversed(written)), replicates=100)
    assert again.estimates.equals(estimates)
    assert again.contrasts.equals(contrasts)
