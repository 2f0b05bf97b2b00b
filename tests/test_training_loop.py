"""The fit loop: learns, stops, keeps the best, and goes on after a kill as if nothing had happened."""

import json
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from harness.errors import RepriseError
from harness.training import Fit, fit, loop, masked_bce, predict
from harness.training.losses import cross_entropy

UNOBSERVED_IS_ABSENT = partial(masked_bce, missing="negative")
ROWS = {"train": np.arange(0, 70), "valid": np.arange(70, 100)}


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 3))


def examples(nan_at: int | None = None) -> loop.Examples:
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(100, 8)).astype(np.float32)
    labels = (inputs[:, :3] + 0.3 * generator.normal(size=(100, 3)) > 0).astype(np.uint8)
    if nan_at is not None:
        inputs[nan_at] = np.nan
    return loop.Examples(inputs, labels, np.ones_like(labels, bool))


def train(
    folder,
    *,
    epochs=12,
    patience=10,
    rate=1e-2,
    data=None,
    loss=UNOBSERVED_IS_ABSENT,
    on_epoch=lambda entry: None,
    **settings,
) -> tuple[nn.Module, Fit]:
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    folder.mkdir(exist_ok=True)
    result = fit(
        model,
        model,
        data or examples(),
        ROWS,
        loss=loss,
        scores=lambda labels, probabilities, mask: {"accuracy": float(((probabilities >= 0.5) == labels).mean())},
        optimizer=optimizer,
        scheduler=torch.optim.lr_scheduler.StepLR(optimizer, 5, 0.1),
        epochs=epochs,
        patience=patience,
        batch_size=16,
        seed=4,
        folder=folder,
        name="an_arm",
        on_epoch=on_epoch,
        **settings,
    )
    return model, result


def test_it_learns_and_writes_a_line_per_epoch(tmp_path):
    _, result = train(tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert lines == result.history
    assert [line["epoch"] for line in lines] == list(range(1, 13))
    assert lines[-1]["accuracy"] > 0.7
    assert lines[0]["learning_rate"] == [1e-2]
    assert lines[5]["learning_rate"] == [pytest.approx(1e-3)]


def test_the_weights_kept_are_those_of_the_lowest_validation_loss(tmp_path):
    model, result = train(tmp_path, epochs=40, rate=5e-2)
    losses = [entry["valid_loss"] for entry in result.history]
    assert result.best_epoch == 1 + int(np.argmin(losses))
    valid_loss, _ = predict(model, model, examples(), ROWS["valid"], loss=partial(masked_bce, missing="negative"))
    assert valid_loss == pytest.approx(min(losses), abs=1e-7)


def test_the_last_epoch_is_kept_where_that_is_asked_for(tmp_path):
    model, result = train(tmp_path / "last", epochs=5, rate=0.3, patience=None, keep="last")
    losses = [entry["valid_loss"] for entry in result.history]
    assert result.best_epoch == len(losses) == 5
    assert min(losses) < losses[-1]  # or this test could not tell the two apart
    valid_loss, _ = predict(model, model, examples(), ROWS["valid"], loss=partial(masked_bce, missing="negative"))
    assert valid_loss == pytest.approx(losses[-1], abs=1e-7)


def test_the_training_part_is_scored_while_it_is_learnt(tmp_path):
    _, plain = train(tmp_path / "plain")
    _, scored = train(tmp_path / "scored", score_training=True)
    assert scored.history[-1]["train_accuracy"] > scored.history[0]["train_accuracy"]
    for one, two in zip(plain.history, scored.history, strict=True):  # looking on changes nothing
        assert two["valid_loss"] == one["valid_loss"]
        assert 0 <= two["train_accuracy"] <= 1


def test_probabilities_are_made_by_the_activation_asked_for():
    model = network().eval()
    softmax = partial(torch.softmax, dim=-1)
    _, probabilities = predict(model, model, examples(), ROWS["valid"], activation=softmax)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)


def test_a_last_small_batch_is_left_out_on_request(tmp_path):
    seen = []

    def loss(logits, labels, mask):
        seen.append(len(logits))
        return masked_bce(logits, labels, mask, missing="negative")

    model = network()
    (tmp_path / "fit").mkdir()
    fit(
        model, model, examples(), ROWS, loss=loss, scores=None, optimizer=torch.optim.Adam(model.parameters()),
        scheduler=None, epochs=1, patience=None, batch_size=16, seed=0, folder=tmp_path / "fit", name="an_arm",
        drop_last=True,
    )  # fmt: skip
    assert seen == [16, 16, 16, 16, 16, 14]  # 70 clips to train on, then 30 to validate on


def test_it_stops_when_patience_runs_out(tmp_path):
    _, result = train(tmp_path, epochs=200, patience=3, rate=5e-2)
    assert len(result.history) == result.best_epoch + 3


@pytest.mark.parametrize("stop_after", [1, 4, 11])
def test_a_run_broken_off_and_started_again_ends_bit_identical(tmp_path, stop_after):
    class StopError(Exception):
        pass

    def stop(entry):
        if entry["epoch"] == stop_after:
            raise StopError

    whole, _ = train(tmp_path / "whole")
    with pytest.raises(StopError):
        train(tmp_path / "broken", on_epoch=stop)
    seen = []
    again, result = train(tmp_path / "broken", on_epoch=lambda entry: seen.append(entry["epoch"]))
    assert seen == list(range(stop_after + 1, 13))
    assert len(result.history) == 12
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


def test_every_clip_is_seen_once_per_epoch_the_last_batch_too(tmp_path):
    seen = []

    class Spy(loop.Examples):
        def batch(self, rows, device):
            seen.extend(rows.tolist())
            return super().batch(rows, device)

    data = examples()
    train(tmp_path, epochs=1, data=Spy(data.inputs, data.labels, data.mask))
    assert sorted(seen) == list(range(100))


def test_a_nan_loss_stops_with_arm_epoch_and_batch(tmp_path):
    with pytest.raises(RepriseError, match=r"an_arm: the loss is nan in epoch 1, batch [1-5];"):
        train(tmp_path, data=examples(nan_at=5))


def test_labels_of_which_none_counts_stop_it(tmp_path):
    data = examples()
    data.mask[:, 0] = False  # of every clip one label is unobserved, so that this loss leaves out every clip
    with pytest.raises(RepriseError, match=r"^an_arm: no label of the training part counted in epoch 1: .*; use a "):
        train(tmp_path, data=data, loss=cross_entropy)
    assert not (tmp_path / "history.jsonl").exists()


def test_a_nan_in_validation_stops_too(tmp_path):
    with pytest.raises(RepriseError, match=r"an_arm: the validation loss is nan after epoch 1"):
        train(tmp_path, data=examples(nan_at=80))


def test_frozen_statistics_stand_still(tmp_path):
    model = network()
    before = model[1].running_mean.clone()
    for parameter in model[1].parameters():
        parameter.requires_grad_(False)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    settings = {
        "loss": partial(masked_bce, missing="negative"),
        "scores": lambda *_: {},
        "optimizer": optimizer,
        "scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 5),
        "epochs": 1,
        "patience": 1,
        "batch_size": 16,
        "seed": 0,
        "name": "arm",
    }
    fit(model, model, examples(), ROWS, **settings, folder=tmp_path / "a", frozen_statistics=[model[1]])
    assert torch.equal(model[1].running_mean, before)
    fit(model, model, examples(), ROWS, **settings, folder=tmp_path / "b")
    assert not torch.equal(model[1].running_mean, before)


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    train(tmp_path, epochs=1)
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    state["network"].pop("0.weight")
    torch.save(state, tmp_path / "checkpoint.pt")
    with pytest.raises(RepriseError, match="another network"):
        train(tmp_path)


def test_bfloat16_learns_nearly_the_same(tmp_path):
    losses = {}
    for bf16 in (False, True):
        model = network()
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        result = fit(
            model,
            model,
            examples(),
            ROWS,
            loss=partial(masked_bce, missing="negative"),
            scores=lambda *_: {},
            optimizer=optimizer,
            scheduler=torch.optim.lr_scheduler.StepLR(optimizer, 5),
            epochs=4,
            patience=4,
            batch_size=16,
            seed=0,
            folder=tmp_path / str(bf16),
            name="arm",
            bf16=bf16,
        )
        losses[bf16] = [entry["valid_loss"] for entry in result.history]
        assert all(p.dtype == torch.float32 for p in model.parameters())
    assert losses[True] != losses[False]  # autocast was really on
    assert losses[True] == pytest.approx(losses[False], rel=0.05)
