"""Seeds side by side: they learn, keep their best, stay what they are alone, and go on after a kill."""

import json
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from harness.errors import RepriseError
from harness.metrics import multilabel
from harness.parallel import worker_context
from harness.training.loop import read_learned
from replications.attention_embeddings import batched as layers
from replications.attention_embeddings import side_by_side
from replications.attention_embeddings.attention import attention

CLIPS, FRAMES, SIZE, CLASSES = 150, 4, 16, 3
ROWS = {"train": np.arange(0, 100), "valid": np.arange(100, 150)}


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch):
    """Weights are the same to the last bit on one thread alone, as trials run; every epoch leaves a checkpoint."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setattr(side_by_side, "CHECKPOINT_SECONDS", 0.0)
    yield
    torch.set_num_threads(threads)


def data() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    inputs = generator.uniform(0, 0.6, size=(CLIPS, FRAMES, SIZE)).astype(np.float32)
    labels = generator.integers(0, 2, (CLIPS, CLASSES)).astype(np.uint8)
    inputs[:, :, :CLASSES] += 0.4 * labels[:, None]
    mask = generator.random((CLIPS, CLASSES)) < 0.6
    mask[:, 0] |= ~mask.any(axis=1)
    return inputs, labels, mask


def train(folder: Path, seeds=(1,), *, epochs=6, examples=None, rows=ROWS, on_epoch=lambda index, entry: None):
    network = attention(seeds, frame_size=SIZE, hidden=SIZE, classes=CLASSES)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2, weight_decay=1e-5, fused=True)
    fits = side_by_side.fit(
        network,
        *(examples or data()),
        rows,
        seeds=seeds,
        optimizer=optimizer,
        epochs=epochs,
        batch_size=32,
        folders=[folder / str(seed) for seed in seeds],
        names=[f"arm seed {seed}" for seed in seeds],
        on_epoch=on_epoch,
    )
    return network, fits


def same(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    return all(torch.equal(value, b.state_dict()[name]) for name, value in a.state_dict().items())


class StopError(Exception):
    """Breaks a run off."""


def stop_after(epoch: int, index: int = 0):
    def on_epoch(which, entry):
        if (entry["epoch"], which) == (epoch, index):
            raise StopError

    return on_epoch


def test_it_learns_and_keeps_the_first_epoch_of_the_best_score(tmp_path):
    inputs, labels, mask = data()
    network, (fit,) = train(tmp_path, epochs=30)
    scores = [entry["f1_macro2_masked"] for entry in fit.history]
    assert fit.best_epoch == 1 + int(np.argmax(scores))
    assert max(scores) > 0.75
    probabilities = side_by_side.predict(network, inputs, ROWS["valid"])
    assert probabilities.shape == (1, 50, CLASSES)
    assert probabilities.dtype == np.float32
    expected = multilabel.evaluate(labels[ROWS["valid"]], probabilities[0], mask[ROWS["valid"]])["f1_macro2_masked"]
    assert max(scores) == pytest.approx(expected, abs=1e-12)
    best = read_learned(tmp_path / "1" / "best.safetensors")
    assert all(torch.equal(value, best[name]) for name, value in layers.state_of(network, 0).items())


def test_history_has_a_line_per_epoch(tmp_path):
    seen = []
    _, fits = train(tmp_path, (1, 2), epochs=3, on_epoch=lambda index, entry: seen.append((index, entry["epoch"])))
    assert seen == [(0, 1), (1, 1), (0, 2), (1, 2), (0, 3), (1, 3)]
    for seed, fit in zip((1, 2), fits, strict=True):
        lines = [json.loads(line) for line in (tmp_path / str(seed) / "history.jsonl").read_text().splitlines()]
        assert lines == fit.history
        assert [line["epoch"] for line in lines] == [1, 2, 3]
        assert list(lines[0]) == [
            "epoch", "train_loss", "valid_loss", "f1_macro2_masked", "learning_rate", "seconds",
        ]  # fmt: skip
        assert lines[0]["learning_rate"] == [1e-2]


def test_losses_are_means_over_what_was_observed(tmp_path):
    inputs, labels, mask = data()
    losses = {}
    network, (fit,) = train(tmp_path, epochs=1)
    for part in ("train", "valid"):
        rows = ROWS[part]
        seen = mask[rows]
        p = torch.from_numpy(side_by_side.predict(network, inputs, rows)[0])
        losses[part] = F.binary_cross_entropy(p[seen], torch.from_numpy(labels[rows].astype(np.float32))[seen]).item()
    assert fit.history[0]["valid_loss"] == pytest.approx(losses["valid"], abs=1e-6)
    assert fit.history[0]["train_loss"] == pytest.approx(
        losses["train"], rel=0.6
    )  # of weights on the move, and dropout


@pytest.mark.parametrize("seeds", [1, 3])
def test_masked_bce_as_pytorch_has_it_and_no_gradient_where_nothing_was_observed(seeds):
    generator = torch.Generator().manual_seed(0)
    p = torch.rand(seeds, 8, 5, generator=generator)
    p[:, 0], p[:, 1] = 0.0, 1.0
    labels = (torch.rand(seeds, 8, 5, generator=generator) < 0.5).float()
    mask = (torch.rand(seeds, 8, 5, generator=generator) < 0.5).float()
    ours, theirs = p.clone().requires_grad_(), p.clone().requires_grad_()
    total, count = side_by_side.masked_bce(ours, labels, mask)
    expected = torch.stack(
        [F.binary_cross_entropy(theirs[s], labels[s], weight=mask[s], reduction="sum") for s in range(seeds)]
    )
    torch.testing.assert_close(total, expected)
    assert torch.equal(count, mask.sum((1, 2)))
    (total / count).sum().backward()
    (expected / count).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad)
    assert not ours.grad[mask == 0].any()
    assert ours.grad[mask == 1].any()


def test_an_unobserved_label_changes_nothing(tmp_path):
    """Whatever stands in its place, the weights are the same to the last bit."""
    inputs, labels, mask = data()
    whole, _ = train(tmp_path / "a", epochs=2)
    other, _ = train(tmp_path / "b", epochs=2, examples=(inputs, np.where(mask, labels, 1 - labels), mask))
    assert same(whole, other)


def test_clips_without_an_observed_label_teach_nothing(tmp_path):
    inputs, labels, mask = data()
    mask[:40] = False
    whole, _ = train(tmp_path / "a", epochs=2, examples=(inputs, labels, mask))
    without, _ = train(
        tmp_path / "b", epochs=2, examples=(inputs, labels, mask), rows={**ROWS, "train": np.arange(40, 100)}
    )
    assert same(whole, without)


@pytest.mark.parametrize("part", ["train", "valid"])
def test_a_part_without_any_observed_label_is_refused(tmp_path, part):
    inputs, labels, mask = data()
    mask[ROWS[part]] = False
    with pytest.raises(RepriseError, match=f"arm seed 1: no label was observed in the {part}"):
        train(tmp_path, examples=(inputs, labels, mask))


def test_every_clip_is_seen_once_per_epoch_the_last_batch_too(tmp_path):
    inputs, labels, mask = data()
    inputs[:, 0, 0] = np.arange(CLIPS) / CLIPS
    seen = []
    network = attention([1], frame_size=SIZE, hidden=SIZE, classes=CLASSES)

    def look(module, arguments):
        if module.training:
            seen.extend(torch.round(arguments[0][0, :, 0, 0] * CLIPS).int().tolist())

    network.register_forward_pre_hook(look)
    side_by_side.fit(
        network,
        inputs,
        labels,
        mask,
        ROWS,
        seeds=[1],
        optimizer=torch.optim.Adam(network.parameters()),
        epochs=1,
        batch_size=32,
        folders=[tmp_path],
        names=["arm"],
    )
    assert sorted(seen) == list(range(100))
    assert seen != sorted(seen)


def test_the_same_seed_gives_the_same_bits_and_another_does_not(tmp_path):
    first, _ = train(tmp_path / "a")
    assert same(first, train(tmp_path / "b")[0])
    assert not same(first, train(tmp_path / "c", (2,))[0])


def test_a_seed_among_others_does_as_alone(tmp_path):
    together, fits = train(tmp_path / "together", (1, 2, 3), epochs=4)
    inputs = data()[0]
    probabilities = side_by_side.predict(together, inputs, np.arange(CLIPS))
    for index, seed in enumerate((1, 2, 3)):
        alone, (fit,) = train(tmp_path / "alone", (seed,), epochs=4)
        np.testing.assert_allclose(
            side_by_side.predict(alone, inputs, np.arange(CLIPS))[0], probabilities[index], atol=1e-5
        )
        for ours, theirs in zip(fits[index].history, fit.history, strict=True):
            for key in ("train_loss", "valid_loss", "f1_macro2_masked"):
                assert ours[key] == pytest.approx(theirs[key], abs=1e-5)


def test_seeds_batched_as_on_a_gpu_do_as_alone(tmp_path, monkeypatch):
    """The matrix products that a GPU runs, on the CPU."""
    alone, _ = train(tmp_path / "alone", (2,), epochs=4)

    def product(inputs, weight, bias=None):
        products = inputs.flatten(1, -2) @ weight.transpose(1, 2)
        return (products if bias is None else products + bias.unsqueeze(1)).unflatten(1, inputs.shape[1:-1])

    monkeypatch.setattr(layers, "product", product)
    monkeypatch.setattr("replications.attention_embeddings.attention.product", product)
    together, _ = train(tmp_path / "together", (1, 2), epochs=4)
    inputs = data()[0]
    ours, theirs = (side_by_side.predict(network, inputs, ROWS["valid"]) for network in (together, alone))
    np.testing.assert_allclose(ours[1], theirs[0], atol=1e-5)


@pytest.mark.parametrize("seeds", [(1,), (1, 2)])
@pytest.mark.parametrize("epoch", [1, 4, 6])
def test_a_run_broken_off_and_started_again_ends_bit_identical(tmp_path, seeds, epoch):
    whole, fits = train(tmp_path / "whole", seeds)
    with pytest.raises(StopError):
        train(tmp_path / "broken", seeds, on_epoch=stop_after(epoch))
    seen = []
    again, fits_again = train(tmp_path / "broken", seeds, on_epoch=lambda i, entry: seen.append(entry["epoch"]))
    assert sorted(set(seen)) == list(range(epoch + 1, 7))
    assert same(whole, again)
    for a, b in zip(fits, fits_again, strict=True):
        assert a.best_epoch == b.best_epoch
        assert [{**e, "seconds": 0} for e in a.history] == [{**e, "seconds": 0} for e in b.history]


def test_what_came_after_the_last_checkpoint_is_done_again(tmp_path, monkeypatch):
    whole, _ = train(tmp_path / "whole")

    def slow_down(index, entry):
        monkeypatch.setattr(side_by_side, "CHECKPOINT_SECONDS", 1e9)
        stop_after(4)(index, entry)

    with pytest.raises(StopError):
        train(tmp_path / "broken", on_epoch=slow_down)
    seen = []
    again, _ = train(tmp_path / "broken", on_epoch=lambda index, entry: seen.append(entry["epoch"]))
    assert seen == [2, 3, 4, 5, 6]
    assert same(whole, again)


@pytest.mark.parametrize("moment", ["one folder ahead", "one folder between", "no epoch in common"])
def test_seeds_killed_while_writing_go_on_together(tmp_path, moment):
    """The first seed's checkpoint was written and the second's not: both go on from the older one."""
    whole, _ = train(tmp_path / "whole", (1, 2))
    broken = tmp_path / "broken"
    with pytest.raises(StopError):
        train(broken, (1, 2), on_epoch=stop_after(3))
    if moment == "no epoch in common":
        shutil.rmtree(broken / "2")
        with pytest.raises(StopError):
            train(broken, (2,), on_epoch=stop_after(1))
    else:
        (broken / "2" / side_by_side.PREVIOUS).replace(broken / "2" / side_by_side.CHECKPOINT)
        if moment == "one folder between":  # renamed, and the new one not yet written
            (broken / "2" / side_by_side.CHECKPOINT).replace(broken / "2" / side_by_side.PREVIOUS)
    seen = []
    again, _ = train(broken, (1, 2), on_epoch=lambda index, entry: seen.append(entry["epoch"]))
    assert min(seen) == (1 if moment == "no epoch in common" else 3)
    assert same(whole, again)


def train_in_a_process(folder: Path) -> None:
    """Forty epochs with a checkpoint after each; the end is left in a file."""
    torch.set_num_threads(1)
    side_by_side.CHECKPOINT_SECONDS = 0.0
    network, _ = train(folder, (1, 2), epochs=40)
    torch.save(network.state_dict(), folder / "end.pt")


def test_a_run_killed_at_any_moment_ends_bit_identical(tmp_path):
    """A real process, shot while it runs; twice, then left alone."""
    folder, context = tmp_path / "killed", worker_context()
    history = folder / "1" / "history.jsonl"
    for epoch in (3, 15, 40):
        process = context.Process(target=train_in_a_process, args=(folder,))
        process.start()
        if epoch < 40:
            while process.is_alive() and (not history.exists() or len(history.read_text().splitlines()) < epoch):
                time.sleep(0.001)
            process.kill()
            process.join()
            assert epoch <= len(history.read_text().splitlines()) < 40
        process.join()
    whole, _ = train(tmp_path / "whole", (1, 2), epochs=40)
    killed = torch.load(folder / "end.pt", weights_only=True)
    assert all(torch.equal(value, killed[name]) for name, value in whole.state_dict().items())


def test_a_finished_run_is_only_read(tmp_path):
    whole, (fit,) = train(tmp_path)
    again, (fit_again,) = train(tmp_path, on_epoch=stop_after(1))
    assert same(whole, again)
    assert fit == fit_again


@pytest.mark.parametrize("row", [5, 120])
def test_nan_in_the_inputs_stops_with_trial_and_epoch(tmp_path, row):
    inputs, labels, mask = data()
    inputs[row] = np.nan
    kind = "loss" if row < 100 else "validation loss"
    with pytest.raises(RepriseError, match=f"arm seed 1: the {kind} is nan in epoch 1; "):
        train(tmp_path, examples=(inputs, labels, mask))
    assert not (tmp_path / "1" / "checkpoint.pt").exists()


def test_the_seed_whose_loss_is_not_finite_is_named(tmp_path):
    network = attention([1, 2], frame_size=SIZE, hidden=SIZE, classes=CLASSES)
    with torch.no_grad():
        network.heads.bias[1] = float("nan")
    with pytest.raises(RepriseError, match="arm seed 2: the loss is nan in epoch 1"):
        side_by_side.fit(
            network,
            *data(),
            ROWS,
            seeds=[1, 2],
            optimizer=torch.optim.Adam(network.parameters()),
            epochs=1,
            batch_size=32,
            folders=[tmp_path / "1", tmp_path / "2"],
            names=["arm seed 1", "arm seed 2"],
        )


def test_a_damaged_checkpoint_is_named(tmp_path):
    train(tmp_path, epochs=1)
    path = tmp_path / "1" / "checkpoint.pt"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(RepriseError, match=r"checkpoint\.pt is damaged; remove the trial's folder"):
        train(tmp_path)


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    train(tmp_path, epochs=1)
    path = tmp_path / "1" / "checkpoint.pt"
    state = torch.load(path, weights_only=True)
    state["network"].pop("heads.bias")
    torch.save(state, path)
    with pytest.raises(RepriseError, match="another network"):
        train(tmp_path)


def test_inputs_may_be_mapped_from_a_file_or_lie_in_a_tensor(tmp_path):
    inputs, labels, mask = data()
    np.save(tmp_path / "inputs.npy", inputs)
    mapped = np.load(tmp_path / "inputs.npy", mmap_mode="r")
    first, _ = train(tmp_path / "a", epochs=1)
    for name, array in (("b", mapped), ("c", torch.from_numpy(inputs)), ("d", inputs.astype(np.float64))):
        network, _ = train(tmp_path / name, epochs=1, examples=(array, labels, mask))
        assert same(first, network)
        np.testing.assert_array_equal(
            side_by_side.predict(network, array, ROWS["valid"]), side_by_side.predict(first, inputs, ROWS["valid"])
        )


def test_predictions_keep_the_order_of_the_rows():
    network, inputs = attention([1, 2], frame_size=SIZE, hidden=SIZE, classes=CLASSES), data()[0]
    rows = np.array([7, 3, 120, 3])
    probabilities = side_by_side.predict(network, inputs, rows, batch_size=3)
    assert probabilities.shape == (2, 4, CLASSES)
    np.testing.assert_allclose(
        probabilities, side_by_side.predict(network, inputs, np.arange(CLIPS))[:, rows], atol=1e-6
    )
    assert not network.training
    assert side_by_side.predict(network, inputs, rows[:0]).shape == (2, 0, CLASSES)
