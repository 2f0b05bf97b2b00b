"""The command ``reprise visualise``: a finished trial hears a clip, and a page and films come out."""

import dataclasses
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image
from trials import reprise

from harness import corpora
from harness.errors import RepriseError
from harness.explain import animation
from harness.features.audio import decode
from harness.report import video, visualise
from harness.studies import records


@pytest.fixture(autouse=True)
def _one_thread():
    """With more threads the last bits differ."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def key(pocket) -> str:
    """A clip of the corpus."""
    return corpora.load(pocket).clips["key"].iloc[5]


def fails(*arguments: str | Path) -> str:
    """Run a command that is a user's mistake; the one sentence it ends with."""
    result = reprise("visualise", *arguments)
    assert result.exit_code == 1, result.output
    assert "Traceback" not in result.output
    return result.stderr.strip().rpartition("reprise: ")[2]


def data_of(page: Path) -> dict:
    return json.loads(
        re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text("utf-8"), re.DOTALL)[1]
    )


@pytest.mark.parametrize(
    ("label", "first", "count"), [("resnet_fc", "relu", 18), ("vggish_fc", "features.1", 10)], ids=["resnet", "vggish"]
)
def test_a_clip_becomes_a_page(finished, key, tmp_path, label, first, count):
    run = finished[label].folder
    result = reprise("visualise", run, key, "--out", tmp_path, "--format", "html")
    assert result.exit_code == 0, result.output
    (folder,) = tmp_path.iterdir()
    page = folder / f"{key}-{label}.html".lower()
    assert result.stdout == f"{page} ({page.stat().st_size / 1e6:.1f} MB)\n"
    assert page.stat().st_size < 4e6
    data = data_of(page)
    assert (data["layers"][0]["name"], len(data["layers"])) == (first, count)
    text = page.read_text("utf-8")
    assert re.search(rf"<dd>{key} \((train|valid|test) part\)</dd>", text)
    assert "keep it to yourself" not in text  # rendered by us
    again = tmp_path / "again"
    reprise("visualise", run, key, "--out", again, "--format", "html")
    assert (again / folder.name / page.name).read_bytes() == page.read_bytes()


@pytest.mark.parametrize("label", ["resnet_fc", "vggish_fc"])
def test_the_probabilities_shown_are_those_of_the_record(finished, pocket, label):
    record = records.read_record(finished[label].folder)
    stored = record.predictions("test")
    heard = visualise.listen(record.folder, str(stored.keys[0]), layers=None, filters=2)
    np.testing.assert_allclose(heard.response.probabilities[7], stored.probabilities[0], atol=1e-4)
    assert heard.clip.part == "test"
    row = stored.labels[0].astype(bool) & stored.mask[0]
    assert set(heard.clip.labelled) == set(np.array(record.data["classes"])[row])


def test_a_film_of_each_layer_that_is_named(finished, key, tmp_path):
    arguments = ["--layers", "conv1,layer4.2", "--filters", "4", "--seconds", "1.5", "--fps", "4", "--out", tmp_path]
    result = reprise("visualise", finished["resnet_fc"].folder, key, *arguments, "--format", "gif", "--format", "webp")
    assert result.exit_code == 0, result.output
    names = [f"{key}-resnet_fc-{layer}.{kind}".lower() for kind in ("gif", "webp") for layer in ("conv1", "layer4.2")]
    (folder,) = tmp_path.iterdir()
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)
    for name in names:
        with Image.open(folder / name) as film:
            assert film.n_frames == 6


def test_nothing_else_is_ever_replaced(finished, pocket, key, tmp_path):
    out, runs = tmp_path / "out", []
    for seed in (0, 1):  # the second as another training
        runs.append(Path(shutil.copytree(finished["vggish_fc"].folder, tmp_path / "runs" / f"seed-{seed}")))
    data = {**records.read_record(runs[1]).data, "seed": 1}
    del data["checksum"]
    records.write_record(runs[1], data)
    clips, second = corpora.load(pocket).clips.set_index("key"), corpora.load(pocket).clips["key"].iloc[6]
    files = []
    for number, one in enumerate((key, second)):  # of one name
        files.append(tmp_path / str(number) / "song.wav")
        files[-1].parent.mkdir()
        soundfile.write(files[-1], decode(clips.loc[one, "path"], 44100), 44100)
    calls = [(run, clip) for run in runs for clip in (key, *files)]
    written = {}
    for run, clip in calls:
        result = reprise("visualise", run, clip, "--out", out, "--format", "html", "--filters", "1")
        assert result.exit_code == 0, result.output
        (path,) = set(out.rglob("*.html")) - written.keys()
        assert all(p.read_bytes() == content for p, content in written.items())
        written[path] = path.read_bytes()
    assert {p.parent.parent for p in written} == {out}
    assert len({p.parent for p in written}) == len(calls)
    reprise("visualise", *calls[0], "--out", out, "--format", "html", "--filters", "1")
    assert {p: p.read_bytes() for p in out.rglob("*.html")} == written


def test_the_first_layer_is_filmed_if_none_is_named(finished, key, tmp_path, monkeypatch):
    monkeypatch.setattr(video, "ffmpeg", lambda: None)
    arguments = ["--seconds", "0.5", "--fps", "4", "--filters", "2", "--out", tmp_path]
    result = reprise("visualise", finished["vggish_fc"].folder, key, *arguments)
    assert result.exit_code == 0, result.output
    names = [path.name for path in sorted(tmp_path.glob("*/*"))]
    assert names == [f"{key}-vggish_fc-features.1.webp".lower(), f"{key}-vggish_fc.html".lower()]


def test_an_audio_file_of_any_length_is_heard(finished, pocket, key, tmp_path):
    clips = corpora.load(pocket).clips.set_index("key")
    sound = decode(clips.loc[key, "path"], 44100)
    path = tmp_path / "My Song.wav"
    soundfile.write(path, np.tile(sound, 2)[: 14 * 44100], 44100)
    heard = visualise.listen(finished["vggish_fc"].folder, str(path), filters=2)
    assert heard.response.end == 14.0
    assert heard.response.answers == 2
    assert heard.clip.labelled == ()
    assert heard.stem == "my-song-vggish_fc"
    short = visualise.listen(finished["vggish_fc"].folder, str(path), filters=2, seconds=3.0)
    assert (short.response.end, len(short.waveform)) == (3.0, 3 * 44100)
    assert short.response.answers == 1
    # The network hears its whole span, however little of it is shown.
    np.testing.assert_allclose(short.response.probabilities[0], heard.response.probabilities[0], atol=1e-5)


def test_a_study_may_cut_in_its_own_way(finished, pocket, monkeypatch):
    record = records.read_record(finished["resnet_fc"].folder)
    study = finished["resnet_fc"].study
    blueprint, _ = visualise.open_network(record, study)
    waveform = np.random.default_rng(0).uniform(-1, 1, 220500).astype(np.float32)

    def halves(front_end, waveform) -> animation.Pieces:
        """A study's own cut."""
        pictures = np.stack([front_end.compute(half) for half in np.split(waveform, 2)])
        return animation.Pieces(torch.from_numpy(pictures), pictures, np.array([0.0, 5.0]), 5.0)

    assert len(visualise.pieces(study, blueprint, waveform, 10.0).starts) == 1
    monkeypatch.setattr(study.code, "pieces", halves, raising=False)
    assert len(visualise.pieces(study, blueprint, waveform, 10.0).starts) == 2


def test_mistakes_end_in_one_sentence(finished, key, tmp_path, monkeypatch):
    run = finished["resnet_fc"].folder
    assert re.search(r"holds no finished trial", fails(tmp_path, key))
    said = fails(run, key[:-1])
    assert said.startswith(
        f"{key[:-1]} is neither a clip of pocket-openmic-60 nor an audio file; give a file, or a key"
    )
    assert key in said
    assert "no maps at 'conv9'; choose among rgb, conv1, bn1, relu" in fails(run, key, "--layers", "conv9")
    assert "there is no format 'avi'; choose html, mp4, webp, png, gif" in fails(run, key, "--format", "avi")
    text = tmp_path / "notes.wav"
    text.write_text("not sound")
    assert "is not audio" in fails(run, str(text))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "an MP4 needs the program ffmpeg" in fails(run, key, "--format", "mp4")
    silent = tmp_path / "late.wav"
    soundfile.write(silent, np.concatenate([np.zeros(44100), np.ones(44100) * 0.3]), 44100)
    assert "first 0.5 s of late are silent; show more with --seconds" in fails(run, str(silent), "--seconds", "0.5")


def test_an_arm_that_is_no_network_is_refused(finished, pocket):
    record = records.read_record(finished["resnet_fc"].folder)
    data = {name: value for name, value in record.data.items() if name != "frozen_prefix"}
    with pytest.raises(RepriseError, match="resnet_fc of openmic_transfer learns from vectors that were computed"):
        visualise.open_network(dataclasses.replace(record, data=data), finished["resnet_fc"].study)


def test_published_recordings_come_with_a_warning(finished, pocket, key):
    corpus = dataclasses.replace(corpora.load(pocket), pocket=False, name="openmic-2018")
    clip = visualise.find_clip(corpus, finished["resnet_fc"], key)
    assert clip.warning == (
        "This holds a recording of openmic-2018, which is not ours to pass on: keep it to yourself."
    )
