"""The genre study's gallery and what it measures, on nets trained for an epoch on rendered tracks."""

import base64
import io
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from helpers import assert_readable
from rich.console import Console

from harness import corpora, features
from harness.analysis.study import Analysis
from harness.corpora.segments import clips_of
from harness.errors import RepriseError
from harness.explain import activations
from harness.explain.stability import find_peaks
from harness.report.writers import to_markdown
from harness.studies import executor
from harness.studies import study as studies
from harness.studies.context import Context, Opened
from harness.studies.networks import restored
from harness.studies.records import Predictions, Record, find_records, write_measured
from harness.studies.study import Study
from replications.gtzan_cam import class_stems, explanations, interpretability
from replications.gtzan_cam.filter_pictures import mask_templates, show_segment

CORPUS = "pocket-gtzan-30"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def study() -> Study:
    return studies.load("gtzan_cam")


@pytest.fixture(scope="module")
def trained(home: Path, study: Study) -> list[Record]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REPRISE_HOME", str(home))
        patch.delenv("REPRISE_DATA", raising=False)
        changes = {"corpus": CORPUS, "epochs": 1, "front_end": {"n_mels": 32, "time_pool": 4}}
        arms = ("base", "masked", "masked_loss", "cam")
        trials = executor.plan(
            study, runs=home / "runs", arms=arms, profile="pocket", conditions=["track"], changes=changes
        )
        executor.execute(trials, jobs=1, console=Console(file=io.StringIO()))
    return find_records(home / "runs")


@pytest.fixture
def records(home: Path, trained: list[Record], monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Record]]:
    monkeypatch.setenv("REPRISE_HOME", str(home))
    return trained


@pytest.fixture(scope="module")
def contexts(home: Path, study: Study, trained: list[Record]) -> dict[str, Context]:
    """The trials by arm, with the trained nets."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REPRISE_HOME", str(home))
        opened = Opened()
        found = {r.arm: restored(r, study, opened) for r in trained}
        for context in found.values():
            assert context.store.ok.all()
    return found


def sounds_of(text: str) -> dict[str, tuple[np.ndarray, float]]:
    """Decoded sounds of a page by the names of their buttons, and by how many dB each is said to be quieter."""
    found = re.findall(
        r'data:audio/mpeg;base64,([^"]+)"></audio>\s*<button type="button" aria-label="Play ([^"]+)">[^<]*</button>'
        r'(?:\s*<span class="none">(\d+) dB quieter</span>)?',
        text,
    )
    return {name: (soundfile.read(io.BytesIO(base64.b64decode(code)))[0], float(db or 0)) for code, name, db in found}


def assert_levels(text: str, nets: int) -> None:
    """Every sound of a piece is as loud as its original, or says by how much it is not, and none is clipped."""
    sounds = sounds_of(text)
    originals = {name.partition(",")[0]: sound for name, (sound, _) in sounds.items() if name.endswith("the original")}
    assert len(sounds) > len(originals) * (1 + 2 * nets)
    for name, (sound, short) in sounds.items():
        original = originals[name.partition(",")[0]]
        assert len(sound) == len(original)
        assert np.abs(sound).max() < 1, name
        level, wanted = (20 * np.log10(np.sqrt(np.mean(s**2))) for s in (sound, original))
        assert level > -60, name  # not silent
        assert level + short == pytest.approx(wanted, abs=1.0), name


def test_rendered_pieces_are_seen_and_heard(study: Study, records: list[Record], tmp_path: Path) -> None:
    index = explanations.explain(study, records, tmp_path, jobs=1)
    assert [link["path"] for link in index["links"]] == ["gallery/index.html"]
    for name in index["figures"]:
        assert {(tmp_path / f"{name}{suffix}").exists() for suffix in (".png", ".pdf")} == {True}
    assert list(index["figures"]) == ["mask_templates", "first_layer"]
    page = tmp_path / "gallery" / "index.html"
    text = page.read_text("utf-8")
    assert page.stat().st_size < 6_000_000
    assert text.count("<section") == 10 == len(list((tmp_path / "gallery").glob("*.png")))
    for part in (
        "layer 1, filter 1<",
        "filter 32",
        "deconvolved",
        "mask of filter",
        "CAM of",
        CORPUS,
        "tracks-70-15-15",
    ):
        assert part in text
    assert text.count('the original">') == 10
    assert_levels(text, nets=4)
    assert not (records[0].folder.parents[1] / "listening").exists()  # all of it may be passed on
    files = sorted((tmp_path / "gallery" / "sounds").iterdir())
    assert [path.suffix for path in files] == [".flac"] * 5
    assert all(path.name.startswith("country-") for path in files)


def test_published_recordings_are_not_passed_on(
    study: Study, records: list[Record], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = corpora.load
    monkeypatch.setattr(
        corpora, "load", lambda name, **how: replace(load(name, **how), pocket=False, ground_truth=None)
    )
    records = [r for r in records if r.arm in ("base", "cam")]
    explanations.explain(study, records, tmp_path, jobs=1)
    text = (tmp_path / "gallery" / "index.html").read_text("utf-8")
    assert "not ours to pass on" in text
    assert "data:audio" not in text
    assert {path.suffix for path in tmp_path.rglob("*") if path.is_file()} == {".html", ".png", ".pdf"}
    # They are heard on another page, beside the trials; the one that may be passed on names it from the folder of runs.
    beside = records[0].folder.parents[1] / "listening" / "index.html"
    assert beside.relative_to(records[0].folder.parents[4]).as_posix() in text
    assert str(tmp_path) not in text
    try:
        assert_levels(beside.read_text("utf-8"), nets=2)
    finally:
        shutil.rmtree(beside.parent)
    for record in records:  # stems are not known of them
        context = restored(record, study)
        assert (
            set(interpretability.measure(context, context.spec.network))
            == {"base": {"peaks"}, "cam": set()}[record.arm]
        )


def test_parts_of_a_run_are_enough(study: Study, records: list[Record], tmp_path: Path) -> None:
    (only,) = [r for r in records if r.arm == "cam"]
    index = explanations.explain(study, [only], tmp_path, jobs=1)
    assert list(index["figures"]) == ["mask_templates"]
    assert "deconvolved" not in (tmp_path / "gallery" / "index.html").read_text("utf-8")
    assert explanations.explain(study, [], tmp_path / "none") == {"figures": {}, "links": []}
    kernels = [Record(only.folder, {**only.data, "arm": "base_3x9", "condition": "paper"})]
    assert explanations.explain(study, kernels, tmp_path / "none") == {"figures": {}, "links": []}


def test_a_net_that_is_not_the_recorded_one_is_refused(
    study: Study, records: list[Record], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    restore = explanations.restored

    def other(record: Record, study: Study, opened: Opened) -> Context:
        context = restore(record, study, opened)
        with torch.no_grad():
            context.spec.network.fc.bias[0] += 3
        return context

    monkeypatch.setattr(explanations, "restored", other)
    with pytest.raises(RepriseError, match=r"off what its record holds: .* run the trial again"):
        explanations.explain(study, records, tmp_path)


def test_pieces_are_the_medians_of_what_all_were_tested_on() -> None:
    labels = np.eye(2, dtype=np.uint8)[[0, 0, 0, 0, 1]]
    keys = np.array(["a#0", "a#1", "b#0", "b#1", "c#0"])
    clear = np.array([0.9, 0.2, 0.5, 0.7, 0.4])
    first = Predictions(keys, labels, labels == labels, np.stack([clear, 1 - clear], axis=1))
    rows = [1, 2, 3]
    second = Predictions(keys[rows], labels[rows], labels[rows] >= 0, first.probabilities[rows])
    assert explanations.choose_pieces([first]) == ["b#1", "c#0"]  # of 0.2, 0.5, 0.7, 0.9 the upper middle one
    assert explanations.choose_pieces([first, second]) == ["b#0"]  # of 0.2, 0.5, 0.7; nothing of the second genre


# What the nets are asked.


def test_every_net_is_asked_what_it_can_answer(trained: list[Record]) -> None:
    of_filters, of_masks = {"peaks", "shares"}, {"peaks", "information", "shares"}
    wanted = {"base": of_filters, "masked": of_masks, "masked_loss": of_masks, "cam": {"shares"}}
    assert {r.arm: set(r.data["measured"]) for r in trained} == wanted
    for record in trained:
        files = [path for name in record.data["measured"] for path in record.folder.glob(f"{name}.*")]
        assert sum(path.stat().st_size for path in files) < 200_000
        assert {path.name for path in files} <= set(record.data["files"])


def test_the_same_net_answers_the_same(contexts: dict[str, Context], trained: list[Record], tmp_path: Path) -> None:
    for record in trained:
        context = contexts[record.arm]
        network, state = context.spec.network, torch.random.get_rng_state()
        network.to(memory_format=torch.channels_last)  # as it was trained: the other layout rounds otherwise
        again, _ = write_measured(tmp_path, interpretability.measure(context, network))
        assert torch.equal(torch.random.get_rng_state(), state)
        assert "shares.csv" in again
        for name in again:
            assert (tmp_path / name).read_bytes() == (record.folder / name).read_bytes(), (record.arm, name)


def test_other_arms_and_conditions_are_not_asked(study: Study, trained: list[Record]) -> None:
    (record,) = [r for r in trained if r.arm == "base"]
    for asked in ({"arms": ["cam"], "conditions": ["track"]}, {"arms": ["base"], "conditions": ["paper"]}):
        context = restored(record, replace(study, measured=asked))
        assert interpretability.measure(context, context.spec.network) == {}


def test_peaks_are_those_of_the_maps(contexts: dict[str, Context], trained: list[Record]) -> None:
    context, (record,) = contexts["masked"], [r for r in trained if r.arm == "masked"]
    found = record.measured("peaks")
    row_of = {key: row for row, key in enumerate(context.corpus.clips["key"])}
    assert set(found["keys"]) <= set(record.predictions("test").keys)
    pictures = np.array(context.store.array[[row_of[key] for key in found["keys"]]])
    for name, network in (("trained", context.spec.network), ("untrained", interpretability.untrained(context))):
        whole = find_peaks(activations(network, pictures, ["relu3"])["relu3"])
        height, width = found["shape"]
        assert ((found[name] >= 0) == whole.active).all()
        rows, columns = np.divmod(found[name], width)
        np.testing.assert_allclose((rows / height)[whole.active], whole.frequency[whole.active])
        np.testing.assert_allclose((columns / width)[whole.active], whole.time[whole.active])


def test_a_map_on_the_stem_has_all_of_its_energy_there(
    contexts: dict[str, Context], trained: list[Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    context = contexts["cam"]
    network = context.spec.network
    corpus, tracks = context.corpus, class_stems.choose_tracks(context, contexts["cam"].corpus.classes)
    disco = next(track for track in tracks if track.startswith("disco"))
    path = corpus.clips["path"].iloc[tracks[disco][0]]
    masks = class_stems.stem_masks(context.whole.root, disco, path, "drums", context.front_end)
    assert len(masks) == 10
    assert masks[0].shape == (32, 32)
    assert 0.02 < np.mean(masks) < 0.98
    (record,) = [r for r in trained if r.arm == "cam"]
    shares = record.measured("shares").set_index("key")
    for row in tracks[disco]:
        key = corpus.clips["key"].iloc[row]
        if shares.loc[key, "part"] == "drums":
            assert shares.loc[key, "even"] == pytest.approx(masks[int(key[-1])].mean(), abs=1e-6)
    monkeypatch.setattr(class_stems, "stem_masks", lambda *_: 10 * [np.ones((32, 32), bool)])
    everywhere = class_stems.measure_shares(context, network, network)
    assert (everywhere["even"] == 1).all()
    assert everywhere["share"].dropna().eq(1).all()


def test_what_the_net_has_not_learnt_is_asked_of_the_validation_part_too(
    trained: list[Record], contexts: dict[str, Context]
) -> None:
    for record in trained:
        shares = record.measured("shares")
        tracks = {part: set(clips_of(record.predictions(part).keys)) for part in ("valid", "test")}
        asked = set(clips_of(shares["key"].to_numpy(dtype=str)))
        assert asked <= tracks["valid"] | tracks["test"]
        cams = record.arm == "cam"
        assert bool(asked & tracks["valid"]) or not cams
        assert set(shares["class"]) <= (set(contexts["cam"].corpus.classes) if cams else {"country"})
        assert cams or set(shares["part"]) == {"drums"}


def test_an_untrained_net_is_the_studys_before_training(contexts: dict[str, Context]) -> None:
    context = contexts["base"]
    first, again = interpretability.untrained(context), interpretability.untrained(context)
    for name, weights in first.state_dict().items():
        assert torch.equal(weights, again.state_dict()[name])
        assert not torch.equal(weights, context.spec.network.state_dict()[name])
        if name.endswith("bias"):
            assert not weights.any()  # as the study starts them, and torch does not


def test_what_was_measured_is_shown(study: Study, trained: list[Record]) -> None:
    table = interpretability.interpretability_table(Analysis(study, trained, replicates=100))
    frame = table.frame
    assert list(dict.fromkeys(frame["measure"])) == [
        "peak_frequency", "peak_time", "information", "share_deconvolved", "share_cam"
    ]  # fmt: skip
    of_peaks = frame[frame["measure"] == "peak_time"]
    assert list(zip(of_peaks["arm"], of_peaks["held_against"], strict=True)) == [
        ("base", "random weights"), ("masked", "baseCNN"), ("masked_loss", "baseCNN"), ("masked_loss", "maskedCNN")
    ]  # fmt: skip
    assert frame["difference"].map(lambda number: number.doubtful).all()  # of one seed
    few = frame[frame["measure"] == "share_deconvolved"].iloc[0]
    assert "tracks are too few" in few["difference"].note
    assert "nan" not in to_markdown(table)


# Pictures that the run draws.


def test_templates_are_one_at_their_peaks() -> None:
    figure = mask_templates(features.front_end("mel_segments", n_mels=64, time_pool=2), 2.0)
    assert_readable(figure)
    panels = [axes for axes in figure.axes if axes.get_lines()]
    assert len(panels) == 5
    for axes in panels:
        template = axes.get_images()[0].get_array()
        assert template.shape == (16, 16)
        assert template.max() == 1
        assert template.min() == -1
        (x,), (y,) = axes.get_lines()[0].get_data()
        row, column = np.unravel_index(template.argmax(), template.shape)
        assert int(x / 3 * 16) == column
        assert int((y + 0.5) / 64 * 16) == row


def test_a_tone_lies_where_the_axis_says() -> None:
    front_end = features.front_end("mel_segments")
    tone = np.sin(2 * np.pi * 1000 * np.arange(30 * 22_050) / 22_050).astype(np.float32)
    axes = explanations.style.new_figure(2).subplots()
    picture = front_end.compute(tone)[4]
    show_segment(axes, picture, front_end)
    place = dict(zip([t.get_text() for t in axes.get_yticklabels()], axes.get_yticks(), strict=True))["1"]
    assert picture.mean(axis=1).argmax() == pytest.approx(place, abs=1)
