"""The unfreezing study: its arms are the paper's to the last parameter, and its pictures show what they say."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from trials import POCKET, Played

from harness import explain
from harness.corpora.pocket import openmic as pocket_openmic
from harness.errors import RepriseError
from harness.models import chain, count_parameters, trainable_parameters
from harness.studies import networks, records, study
from harness.studies.context import Context, Opened
from harness.studies.networks import ModelSpec
from harness.studies.records import Predictions
from replications.openmic_transfer import explanations, maps
from replications.openmic_transfer.study import build

#: Under the paper's front ends: learning parameters of the arms, and all of each network.
PARAMETERS = {
    "resnet_fc": 40_980,
    "resnet_fc_layer4": 15_005_716,
    "resnet_full": 23_549_012,
    "vggish_fc": 25_620,
    "vggish_fc_2emb": 17_331_348,
    "vggish_fc_3emb": 67_667_092,
    "vggish_full": 72_166_804,
}
STUDY = study.load("openmic-transfer")
PAPER = STUDY.resolve("paper", "paper")


def corpus(classes: int = 20, seconds: float = 10.0) -> SimpleNamespace:
    """All that building an arm asks of a corpus."""
    return SimpleNamespace(classes=tuple(f"class {i}" for i in range(classes)), seconds=seconds)


def spec(arm: str, profile: str = "paper", condition: str = "paper") -> ModelSpec:
    return build(STUDY.arm(arm), corpus(), STUDY.resolve(profile, condition, network=STUDY.arm(arm).network))


@pytest.mark.parametrize("arm", PARAMETERS)
def test_an_arm_has_the_papers_number_of_learning_parameters(arm):
    network = spec(arm).network
    assert trainable_parameters(network) == PARAMETERS[arm] == STUDY.arm(arm).parameters
    assert count_parameters(network) == PARAMETERS["resnet_full" if arm.startswith("resnet") else "vggish_full"]
    thousands, millions = PARAMETERS[arm] / 1e3, PARAMETERS[arm] / 1e6
    printed = STUDY.arm(arm).published_parameters
    # The paper rounds to two digits, some up and some down.
    assert abs(float(printed[1:-1]) - (thousands if printed.endswith("k") else millions)) < 1


def test_a_wrong_number_in_the_studys_file_is_refused():
    arm = dataclasses.replace(STUDY.arm("resnet_fc_layer4"), parameters=4_503_572)  # of only the last bottleneck
    with pytest.raises(RepriseError, match=r"resnet_fc_layer4 has 15,005,716 learning parameters, not 4,503,572; corr"):
        build(arm, corpus(), PAPER)


def test_another_number_of_classes_or_patches_is_no_fault():
    network = build(STUDY.arm("vggish_fc"), corpus(classes=4), PAPER).network
    assert trainable_parameters(network) == 4 * 1281
    network = build(STUDY.arm("vggish_fc"), corpus(seconds=5.0), PAPER).network
    assert trainable_parameters(network) == 20 * (5 * 128 + 1)


@pytest.mark.parametrize(
    ("arm", "shape"), [("resnet_fc", (128, 431)), ("vggish_fc", (10, 96, 64))]
)  # fmt: skip
def test_the_front_ends_are_the_papers(arm, shape):
    assert spec(arm).front_end.shape(10.0) == shape


@pytest.mark.parametrize("arm", PARAMETERS)
def test_the_optimiser_is_the_papers(arm):
    made = spec(arm)
    optimizer = made.optimizer(made.network)
    assert type(optimizer) is torch.optim.Adam
    names = {id(parameter): name for name, parameter in made.network.named_parameters()}
    classifier, *body = optimizer.param_groups
    last = chain(made.network)[-1][0]
    assert [names[id(p)] for p in classifier["params"]] == [f"{last}.weight", f"{last}.bias"]
    assert classifier["lr"] == 1e-2
    assert len(body) == (0 if arm in ("resnet_fc", "vggish_fc") else 1)
    for group in body:
        assert group["lr"] == 1e-5
        assert not any(names[id(p)].startswith(f"{last}.") for p in group["params"])
    for group in optimizer.param_groups:
        assert group["weight_decay"] == 1e-4
        assert group["betas"] == (0.9, 0.999)
    assert sum(p.numel() for group in optimizer.param_groups for p in group["params"]) == PARAMETERS[arm]


def test_the_learning_rates_fall_to_a_tenth_every_ten_epochs():
    made = spec("resnet_fc_layer4")
    optimizer = made.optimizer(made.network)
    scheduler = made.scheduler(optimizer)
    assert type(scheduler) is torch.optim.lr_scheduler.StepLR
    seen = []
    for _ in range(30):
        seen.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    for epoch, rates in enumerate(seen):
        assert rates == pytest.approx([1e-2 * 0.1 ** (epoch // 10), 1e-5 * 0.1 ** (epoch // 10)])


def test_the_loss_is_the_conditions():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 20, generator=generator)
    mask = (torch.rand(5, 20, generator=generator) < 0.4).float()
    labels = mask * (torch.rand(5, 20, generator=generator) < 0.5)
    total, count = spec("resnet_fc").loss(logits, labels, mask)
    torch.testing.assert_close(total / count, torch.nn.BCEWithLogitsLoss()(logits, labels))
    total, count = spec("resnet_fc", condition="masked").loss(logits, labels, mask)
    seen = mask.bool()
    torch.testing.assert_close(total / count, torch.nn.BCEWithLogitsLoss()(logits[seen], labels[seen]))


def test_what_is_shown_after_an_epoch_is_what_the_paper_shows():
    assert set(STUDY.history) == {entry["metric"] for entry in STUDY.published}


@pytest.mark.parametrize("arm", PARAMETERS)
def test_every_arm_learns_only_what_it_should_under_the_pocket_profile_too(arm):
    network = spec(arm, "pocket").network
    learning = {name for name, p in network.named_parameters() if p.requires_grad}
    roots = STUDY.arm(arm).trainable
    assert learning == {
        name for name, _ in network.named_parameters() if any(not r or name.startswith(f"{r}.") for r in roots)
    }


def hand_made(rows: list[tuple[str, str]], classes: str = "abcd") -> Predictions:
    """Per clip the classes that are there and those predicted; an upper-case letter is a class nobody asked about."""
    labels = np.array([[name in there for name in classes] for there, _ in rows], np.uint8)
    predicted = np.array([[name in said.lower() for name in classes] for _, said in rows])
    asked = np.array([[name.upper() not in said for name in classes] for _, said in rows])
    keys = np.array([f"clip-{i}" for i in range(len(rows))])
    return Predictions(keys, labels, asked, np.where(predicted, 0.9, 0.1).astype(np.float32))


def test_clips_are_chosen_right_wrong_and_with_several_instruments_in_turn():
    predictions = hand_made(
        [
            ("", ""),  # 0: nothing there, nothing said: shows nothing
            ("a", "a"),  # 1: right
            ("a", "b"),  # 2: wrong
            ("ab", "a"),  # 3: several
            ("b", "b"),  # 4: right
            ("a", "ac"),  # 5: wrong
            ("cd", "cd"),  # 6: right, and several
            ("a", "aB"),  # 7: right: nobody was asked about b
        ]
    )
    chosen = explanations.choose_clips([predictions], 0.5, 6)
    assert len(set(chosen)) == 6
    assert 0 not in chosen
    right, wrong, several = {1, 4, 6, 7}, {2, 5}, {3, 6}
    for place, kind in enumerate((right, wrong, several)):
        assert chosen[place] in kind
        assert chosen[place + 3] in kind or not kind - set(chosen[: place + 3])
    assert explanations.choose_clips([predictions], 0.5, 6) == chosen


def test_a_clip_counts_as_right_only_where_every_network_is():
    one = hand_made([("a", "a"), ("b", "b")])
    other = hand_made([("a", "c"), ("b", "b")])
    assert explanations.choose_clips([one, other], 0.5, 2) == [1, 0]
    assert explanations.choose_clips([one, one], 0.5, 2) == [0, 1]


def test_classes_not_yet_shown_come_first():
    predictions = hand_made([("a", "a"), ("a", "a"), ("b", "b"), ("a", "a"), ("c", "c")])
    chosen = explanations.choose_clips([predictions], 0.5, 3)
    shown = {tuple(predictions.labels[row]) for row in chosen}
    assert len(shown) == 3


def test_there_are_no_more_clips_to_choose_than_there_are():
    predictions = hand_made([("a", "a"), ("b", "")])
    assert sorted(explanations.choose_clips([predictions], 0.5, 8)) == [0, 1]


def test_a_spectrogram_is_frequency_by_time():
    picture = np.arange(12, dtype=np.float32).reshape(3, 4)
    np.testing.assert_array_equal(maps.as_picture(picture), picture)
    patches = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)  # patches, time, frequency
    laid_out = maps.as_picture(patches)
    assert laid_out.shape == (4, 6)
    np.testing.assert_array_equal(laid_out[:, 0], patches[0, 0])
    np.testing.assert_array_equal(laid_out[:, 5], patches[1, 2])


@pytest.fixture
def asked(pocket, played: Played) -> list[Context]:
    """The trials of `played`, with their trained networks."""
    opened = Opened()
    return [networks.restored(record, STUDY, opened) for record in records.find_records(played.runs)]


@pytest.fixture
def explained(asked: list[Context]) -> list[maps.Explained]:
    return [maps.explained(context, context.spec.network) for context in asked]


def test_maps_lie_on_the_spectrogram_and_differ_by_class(explained):
    assert [e.title for e in explained] == [
        "ResNet-50 (Fully connected (FC) only)",
        "VGGish (Fully connected (FC) only)",
    ]
    for e in explained:
        found = e.maps([3, 7], [range(20), []])
        assert found[0].shape == (20, *e.picture(3).shape)
        assert found[1].shape == (0, *e.picture(7).shape)
        assert found[0].min() >= 0
        # The trained classifier may speak against every class, and such maps are empty; a random one does not.
        untrained = dataclasses.replace(e, network=explain.randomised(e.network, 0, np.array(e.inputs[:16])))
        (several,) = untrained.maps([3], [range(20)])
        assert len({heat.tobytes() for heat in several}) > 1
        assert len(e.front_end.band_hz) == e.picture(3).shape[0]
        assert len(e.train) == 48


def test_truth_is_where_the_stem_is(explained, asked):
    corpus, rows = asked[0].corpus, asked[0].rows["test"][:4]
    truths = maps.find_truths([e.front_end for e in explained], corpus, rows, jobs=1)
    labels = pocket_openmic.full_labels(corpus.root)
    expected = {(row, corpus.classes[c]) for row in rows for c in np.flatnonzero(labels[row])}
    for e, truth in zip(explained, truths, strict=True):
        assert set(truth) == expected
        for known in truth.values():
            assert known.mask.shape == e.picture(0).shape
            assert known.sounding.shape == known.mask.shape[1:]
            assert 0 < known.mask.mean() < 1
            # Bins that an instrument fills lie in the frames in which it sounds.
            assert known.mask[:, known.sounding].mean() >= known.mask.mean()


def measuring(context: Context, arms: list[str], clips: int = 3) -> Context:
    """The same trial where ``[measured]`` names these arms."""
    changed = dataclasses.replace(STUDY, measured={"maps": arms, "clips": clips})
    return Context(dataclasses.replace(context.trial, study=changed), context.opened)


def test_every_map_of_a_sounding_instrument_is_scored(asked):
    context = measuring(asked[0], ["resnet_fc"])
    network = asked[0].spec.network
    with torch.no_grad():
        network.fc.weight.abs_()  # so that no map is zero everywhere, which may be with so little training
    found = maps.measure(context, network)
    assert list(found) == ["maps"]
    scores = found["maps"]
    shares = ["where_and_when", "when", "area", "time", "untrained_where_and_when", "untrained_when"]
    assert set(scores) == {"key", "instrument", *shares}
    corpus, test = context.corpus, context.rows["test"]
    labels = pocket_openmic.full_labels(corpus.root)
    first, middle, last = test[0], test[len(test) // 2], test[-1]
    expected = [
        (corpus.clips["key"][row], corpus.classes[c])
        for row in (first, middle, last)
        for c in np.flatnonzero(labels[row])
    ]
    assert list(zip(scores["key"], scores["instrument"], strict=True)) == expected
    assert scores[["where_and_when", "when"]].notna().all(axis=None)
    assert scores[shares].fillna(0).stack().between(0, 1).all()
    assert (scores["where_and_when"] <= scores["when"]).all()
    assert (scores["area"] <= scores["time"]).all()
    # The same again, and another untrained network with another seed.
    pd.testing.assert_frame_equal(maps.measure(context, network)["maps"], scores)
    other = Context(dataclasses.replace(context.trial, seed=1), context.opened)
    again = maps.measure(other, network)["maps"]
    assert again["where_and_when"].equals(scores["where_and_when"])
    assert not again["untrained_where_and_when"].equals(scores["untrained_where_and_when"])


def test_only_what_is_named_is_measured_and_only_where_the_truth_is_known(asked):
    network = asked[0].spec.network
    assert maps.measure(measuring(asked[0], ["vggish_fc"]), network) == {}
    masked = dataclasses.replace(asked[0].trial, condition=STUDY.condition("masked"))
    assert maps.measure(measuring(Context(masked, asked[0].opened), ["resnet_fc"]), network) == {}
    published = measuring(asked[0], ["resnet_fc"])
    published.__dict__["corpus"] = dataclasses.replace(asked[0].corpus, pocket=False, ground_truth=None)
    assert maps.measure(published, network) == {}
    assert maps.find_truths([published.front_end], published.corpus, [0]) == [{}]
    assert set(STUDY.measured["maps"]) <= set(PARAMETERS)


def test_the_gallery_shows_the_best_arm_of_each_network(pocket, played, tmp_path, monkeypatch):
    monkeypatch.setattr(explanations, "GALLERY_CLIPS", 2)
    shown = explanations.explain_best(STUDY, records.find_records(played.runs), tmp_path, jobs=1)
    (link,) = shown["links"]
    page = (tmp_path / link["path"]).read_text()
    for told in ("ResNet-50 (Fully connected (FC) only)", "VGGish (Fully connected (FC) only)", POCKET, "random"):
        assert told in page
    assert shown["figures"] == {}


def test_the_best_arm_is_that_of_the_validation_part():
    def trial(arm, seed, score):
        data = {"arm": arm, "seed": seed, "metrics": {"valid": {STUDY.metric: score}}}
        return records.Record(None, data)

    found = [trial("resnet_fc", 0, 0.5), trial("resnet_full", 1, 0.7), trial("resnet_full", 0, 0.5)]
    assert explanations.best_records(STUDY, found) == [found[2]]  # the first seed of the better one
    assert explanations.best_records(STUDY, []) == []
