"""The study of predominant instruments from audio to page: what is published, two trials, their report, and kills."""

import dataclasses
import io
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from browser import open_browser
from irmas_trees import PARTS, add_mixture, make_irmas_tree
from PIL import Image
from rich.console import Console
from trials import reprise

from harness import corpora, features
from harness.corpora import irmas
from harness.errors import RepriseError
from harness.report import build, publish, visualise
from harness.studies import executor, networks, records, study
from harness.studies.context import Context
from harness.studies.runner import run_trials
from harness.studies.trial import Trial
from harness.training.losses import masked_bce, normalised_cross_entropy
from replications.irmas_activations.filter_activations import LAYERS, NAME
from replications.irmas_activations.study import LOSSES
from replications.irmas_activations.study import build as build_network
from replications.irmas_activations.windows import aggregate, window_outputs

STUDY = study.load("irmas-activations")
PAPER = STUDY.resolve("paper", "paper")
POCKET = "pocket-irmas-67"  # the smallest with two flutes and two clarinets to compare
#: What makes a trial a matter of seconds: few clips, coarse pictures, two epochs.
CHEAP = {"corpus": POCKET, "epochs": 2, "mixtures": 12, "front_end": {"n_mels": 16, "time_pool": 3}}


def cheap_trials(runs: Path, *conditions: str, changes: dict | None = None, seeds: int = 1) -> list[Trial]:
    return executor.plan(
        STUDY, runs=runs, profile="pocket", conditions=conditions, seeds=seeds, changes={**CHEAP, **(changes or {})}
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Cache folder for the whole module, and one thread, with which results repeat."""
    folder, threads = tmp_path_factory.mktemp("irmas-home"), torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REPRISE_HOME", str(folder))
        patch.delenv("REPRISE_DATA", raising=False)
        torch.set_num_threads(1)
        yield folder
        torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def _at_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPRISE_HOME", str(home))


@pytest.fixture(scope="module")
def played(home: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Trial]:
    """A trial of each loss, finished: by label."""
    planned = cheap_trials(tmp_path_factory.mktemp("runs"))
    executor.execute(planned, jobs=1, console=Console(file=io.StringIO()))
    return {t.label: t for t in planned}


def reported(trials: Path, out: Path) -> Path:
    """What a run writes of its trials when they are finished."""
    build.explain(STUDY, records.find_records(trials), trials / "explained")
    return publish.report(STUDY, trials, out=out).folder


@pytest.fixture(scope="module")
def results(played: dict[str, Trial], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of both trials."""
    return reported(played["han"].folder.parents[1], tmp_path_factory.mktemp("results") / "report")


# What is published.


def test_the_protocol_is_the_published_one():
    stated = {
        "corpus": "irmas", "split": "official", "segments": 3, "batch_size": 128, "epochs": 50, "patience": 3,
        "learning_rate": 1e-3, "hop": 0.5, "threshold": 0.5, "loss": "cross_entropy",
    }  # fmt: skip
    assert {key: PAPER[key] for key in stated} == stated
    assert features.front_end(**PAPER["front_end"]) == features.front_end("han_segments")
    assert STUDY.resolve("paper", "bce") == {**PAPER, "loss": "binary_cross_entropy"}
    printed = {(row["table"], row["metric"]): row["value"] for row in STUDY.published}
    assert printed == {("fig1", "f1_micro_unmasked"): 0.602, ("fig1", "f1_macro_unmasked"): 0.503}


def test_what_runs_by_default(tmp_path):
    planned = executor.plan(STUDY, profile="paper", runs=tmp_path, seeds=2)
    assert sorted(t.label for t in planned) == ["han", "han", "han@bce", "han@bce"]


def test_the_network_is_built_as_stated():
    corpus = SimpleNamespace(classes=irmas.CLASSES)
    made = build_network(STUDY.arm("han"), corpus, PAPER)
    assert sum(p.numel() for p in made.network.parameters()) == 1_446_123
    assert made.loss is normalised_cross_entropy
    other = build_network(STUDY.arm("han"), corpus, STUDY.resolve("paper", "bce"))
    assert (other.loss.func, other.loss.keywords) == (masked_bce, {"missing": "negative"})
    assert set(LOSSES) == {"cross_entropy", "binary_cross_entropy"}
    group = made.optimizer(made.network).param_groups[0]
    assert (group["lr"], made.keep, made.scheduler) == (1e-3, "best", None)
    assert set(LAYERS) <= {name for name, _ in made.network.named_children()}


@pytest.mark.parametrize(
    ("changes", "arm", "message"),
    [
        ({"segments": 2}, {}, "cuts 3 segments and the protocol counts 2"),
        ({"loss": "hinge"}, {}, "no loss 'hinge'; choose cross_entropy or binary_cross_entropy"),
        ({}, {"parameters": 1_400_000}, "han has 1,446,123 parameters, not 1,400,000; correct"),
    ],
)
def test_what_does_not_fit_is_refused(changes, arm, message):
    with pytest.raises(RepriseError, match=message):
        build_network(
            dataclasses.replace(STUDY.arm("han"), **arm),
            SimpleNamespace(classes=irmas.CLASSES),
            {**PAPER, **changes},
        )


def test_the_page_names_files_that_are_there():
    text = (STUDY.folder / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\]\((\w+\.(?:py|toml))\)", text)) <= {p.name for p in STUDY.folder.iterdir()}
    for condition in STUDY.conditions:
        assert f"{condition.name}`" in text


# Trials.


def test_songs_are_on_one_side_and_segments_of_training_clips_alone(played):
    context = Context(played["han"])
    corpus, split = context.corpus, context.split
    of = {part: set(corpus.clips["group"].iloc[rows]) for part, rows in split.rows.items()}
    assert not of["train"] & of["valid"]
    assert set(corpus.clips["partition"].iloc[np.concatenate([split.rows["train"], split.rows["valid"]])]) == {"train"}
    assert set(corpus.clips["partition"].iloc[split.rows["test"]]) == {"test"}


def test_predictions_are_of_mixtures_and_of_whole_excerpts(played):
    record = records.verify(played["han"].folder)
    corpus = corpora.load(POCKET)
    excerpts = corpus.clips[corpus.clips["partition"] == "test"]
    for part, keys in (("test", excerpts["key"]), ("valid", [f"mixture-{i:04d}" for i in range(12)])):
        mean, by_largest = record.predictions(f"{part}_s1"), record.predictions(part)
        assert mean.keys.tolist() == by_largest.keys.tolist() == list(keys)
        assert record.data["split"]["sizes"][part] == len(keys)  # not the segments, on which nothing was scored
        np.testing.assert_array_equal(mean.labels, by_largest.labels)
        s1 = mean.probabilities
        np.testing.assert_allclose(by_largest.probabilities, s1 / s1.max(axis=1, keepdims=True), rtol=1e-5)
    assert set(record.predictions("valid").labels.sum(axis=1)) <= {1, 2, 3}
    np.testing.assert_array_equal(record.predictions("test").labels, corpus.labels[excerpts.index])
    # Once more from the weights, by hand.
    context = networks.restored(record, STUDY)
    spec, t = context.spec, context.trial
    row = excerpts.iloc[3]
    picture = spec.front_end.log_mel(features.decode(row["path"], 22_050))
    outputs, counts = window_outputs(spec.network, [picture], t.protocol["hop"], frames=spec.front_end.frames)
    np.testing.assert_allclose(
        aggregate(outputs, counts, "s1")[0], record.predictions("test_s1").probabilities[3], rtol=1e-4
    )


def test_a_trial_comes_out_the_same_to_the_last_bit_killed_or_not(played, tmp_path):
    class Killed(Exception):  # noqa: N818
        pass

    def kill(t, entry):
        raise Killed

    (killed,) = cheap_trials(tmp_path, "paper")
    with pytest.raises(Killed):
        run_trials([Context(killed)], on_epoch=kill)
    assert not (killed.folder / "record.json").exists()
    run_trials([Context(killed)], on_epoch=lambda t, entry: None)
    learnt = [(t.folder / "best.safetensors").read_bytes() for t in (killed, played["han"])]
    assert learnt[0] == learnt[1]
    for part in ("valid", "test", "test_s1"):
        one, other = (records.read_record(t.folder).predictions(part) for t in (killed, played["han"]))
        np.testing.assert_array_equal(one.probabilities, other.probabilities)


def test_filters_are_measured_under_the_first_condition_on_flutes_and_clarinets(played):
    record = records.verify(played["han"].folder)
    assert f"{NAME}.npz" in record.data["files"]
    assert records.read_record(played["han@bce"].folder).measured(NAME) is None
    found, p = record.measured(NAME), record.predictions("test")
    flute, clarinet = irmas.CLASSES.index("flu"), irmas.CLASSES.index("cla")
    assert found["keys"].tolist() == p.keys[p.labels[:, flute] != p.labels[:, clarinet]].tolist()
    assert {found[stage].dtype for stage in LAYERS} == {np.dtype(np.float32)}
    spec = networks.restored(record, STUDY).spec
    waveform = features.decode(corpora.load(POCKET).clips.set_index("key").loc[found["keys"][0], "path"], 22_050)
    maps = STUDY.code.pieces(spec.front_end, waveform).inputs
    with torch.no_grad():
        for name, stage in spec.network.named_children():
            maps = stage(maps)
            if name in LAYERS:
                mean = maps.flatten(2).mean(dim=2) if maps.ndim == 4 else maps
                np.testing.assert_allclose(found[name][0], mean.mean(dim=0), rtol=1e-3, atol=1e-5)


def test_clips_are_drawn_by_song(played):
    clips = pd.read_csv(played["han"].folder.parents[1] / "clips.csv").set_index("key")["group"]
    corpus = corpora.load(POCKET).clips.set_index("key")
    test = records.read_record(played["han"].folder).predictions("test").keys
    assert clips.loc[test].tolist() == corpus["group"].loc[test].tolist()
    assert clips["mixture-0003"] == "mixture-0003"


# The report.


def test_the_results_are_whole(results):
    page = (results / "README.md").read_text(encoding="utf-8")
    for name in ("fig1", "instruments", "flute_clarinet", "flute_clarinet_counts", "layers", "filters"):
        for suffix in ("csv", "md", "tex"):
            assert (results / f"{name}.{suffix}").exists()
        assert (results / f"{name}.md").read_text(encoding="utf-8").splitlines()[0] in page
    pictures = set(re.findall(r"!\[.*\]\(([\w./]+)\)", page))
    assert pictures >= {f"{name}.png" for name in ("fig1_instruments", "thresholds", "training_curves")}
    assert pictures >= {"explained/animation.webp", "flute_clarinet.png", "false_alarms.png"}
    assert all((results / name).exists() for name in pictures)
    assert "(explained/player/index.html)" in page
    assert "nan" not in page
    frame = pd.read_csv(results / "fig1.csv")
    assert set(frame["corpus"]) == {POCKET}
    assert set(frame["clips"]) == {18}


def test_the_film_is_small_and_moves(results):
    path = results / "explained" / "animation.webp"
    assert path.stat().st_size < 500_000
    with Image.open(path) as film:
        assert film.size == (856, 450)
        assert film.info["loop"] == 0
        seconds, pictures = 0.0, []
        for number in range(film.n_frames):
            film.seek(number)
            pictures.append(np.asarray(film.convert("L"), float))
            seconds += film.info["duration"] / 1000
    assert 3 <= seconds <= 5
    assert all(np.abs(a - b).max() > 50 for a, b in pairwise(pictures))


def test_the_player_opens_in_a_browser(results, tmp_path):
    page = results / "explained" / "player" / "index.html"
    assert page.stat().st_size < 4e6
    with open_browser(tmp_path) as browser:
        browser.open(page, width=1100, height=900)
        assert browser.evaluate("document.querySelectorAll('canvas').length") > 10
        assert browser.complaints() == []
        assert all(url.startswith(("file:", "data:", "about:", "blob:")) for url in browser.requests())


def test_any_test_excerpt_can_be_animated_in_the_windows_it_was_tested_on(played):
    record = records.read_record(played["han@bce"].folder)
    p = record.predictions("test_s1")
    heard = visualise.listen(record.folder, str(p.keys[0]), filters=2)
    assert heard.clip.part == "test"
    shown = [layer.name for layer in heard.response.layers]
    assert shown == ["act1", "act2", "pool1", "act3", "act4", "pool2", "act5", "act6", "pool3", "act7", "act8"]
    assert heard.response.answers > 5
    means = heard.response.probabilities.mean(axis=0)
    np.testing.assert_allclose(means, p.probabilities[0], atol=0.1)  # of columns, not of windows


def test_a_file_is_heard_as_the_clip_that_it_is_however_little_is_shown(played, tmp_path):
    run = played["han@bce"].folder
    clips = corpora.load(records.read_record(run).data["corpus"]).clips.set_index("key")
    sound, rate = soundfile.read(clips.loc[clips["partition"] == "test", "path"].iloc[0])
    sound[3 * rate :] *= 4 * np.abs(sound[: 3 * rate]).max() / np.abs(sound[3 * rate :]).max()
    path = tmp_path / "crescendo.wav"  # the front end divides by the largest sample, which comes late
    soundfile.write(path, 0.9 * sound / np.abs(sound).max(), rate)
    whole, part = (visualise.listen(run, str(path), layers=["act1"], seconds=s).response for s in (None, 1.5))
    assert part.end == 1.5
    np.testing.assert_allclose(part.probabilities[:12], whole.probabilities[:12], atol=1e-6)  # of the first window
    soundfile.write(path, 0.9 * sound[: int(1.2 * rate)], rate)
    assert visualise.listen(run, str(path), layers=["act1"], seconds=0.5).response.end == 0.5
    soundfile.write(path, 0.9 * sound[: rate // 2], rate)
    with pytest.raises(RepriseError, match=r"crescendo.wav lasts 0.50 s, which is less than the network of han takes"):
        visualise.listen(run, str(path))


# Part of IRMAS, and what is wrong with it.


def test_part_of_irmas_is_enough(tmp_path, monkeypatch, capsys):
    """Noise in the published layout, without ground truth; some of it is faulty and is left out by name."""
    data = tmp_path / "data"
    source = make_irmas_tree(data / "irmas")
    for number, codes in enumerate((["flu"], ["cla"], ["flu", "pia"], ["cla", "voi"])):
        for take in range(2):
            add_mixture(data / "irmas", f"{PARTS[0]}/1{number} - Some Song-{take}", *codes, source=source)
    add_mixture(data / "irmas", f"{PARTS[0]}/20 - Odd-1", "xyl", source=source)
    monkeypatch.setenv("REPRISE_DATA", str(data))
    monkeypatch.setenv("REPRISE_HOME", str(tmp_path / "own-home"))
    planned = cheap_trials(tmp_path / "runs", "bce", changes={"corpus": "irmas", "epochs": 1})
    executor.execute(planned, jobs=1, console=Console(file=io.StringIO()))
    assert "xyl" in capsys.readouterr().err
    out = reported(planned[0].folder.parents[1], tmp_path / "out")
    assert not (out / "explained" / "player").exists()  # its sound is not ours to pass on
    assert (out / "explained" / "animation.webp").exists()
    assert not [path for path in out.rglob("*") if path.suffix in (".wav", ".mp3", ".html")]
    counts = pd.read_csv(out / "flute_clarinet_counts.csv")
    assert counts["counted"].tolist() == ["IRMAS as published", "irmas, as it is here"]
    text = (out / "README.md").read_text(encoding="utf-8")
    assert "corpus irmas" in text.lower()


def test_no_validation_clips_to_mix_is_a_users_mistake(tmp_path):
    result = reprise("run", "irmas-activations", "--corpus", "pocket-irmas-7", "--runs", tmp_path)
    assert result.exit_code == 1
    assert "Traceback" not in result.output
    assert "66" in result.stderr
