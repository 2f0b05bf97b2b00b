"""Features of one ten-second clip on one thread: ours beside librosa, torchvggish and bare decoding.

``pytest benchmarks/bench_features.py --benchmark-only`` prints the times, and after them the ratios of the best ones;
``--benchmark-timer=time.process_time`` counts processor time, for a machine that has other things to do. The clip is
made here: chords over noise, stereo, 44.1 kHz, Ogg Vorbis as in OpenMIC-2018.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile as sf
import soxr
from threadpoolctl import threadpool_limits
from torchvggish import vggish_input

from harness.features import decode, front_end

SECONDS = 10.0
MEL, VGGISH = front_end("mel"), front_end("vggish")


def mel_by_librosa(waveform: np.ndarray) -> np.ndarray:
    return librosa.power_to_db(librosa.feature.melspectrogram(y=waveform, sr=22050))


def vggish_by_torchvggish(waveform: np.ndarray, sample_rate: int) -> np.ndarray:
    return vggish_input.waveform_to_examples(waveform, sample_rate, return_tensor=False)


def read(path: Path) -> np.ndarray:
    return sf.read(path, dtype="float32")[0]


def mel_of_file(path: Path) -> np.ndarray:
    return MEL.compute(decode(path, 22050, seconds=SECONDS))


def vggish_of_file(path: Path) -> np.ndarray:
    return VGGISH.compute(decode(path, 16000, seconds=SECONDS))


def librosa_of_file(path: Path) -> np.ndarray:
    return mel_by_librosa(librosa.load(path, sr=22050)[0])


def torchvggish_of_file(path: Path) -> np.ndarray:
    return vggish_by_torchvggish(*sf.read(path))


#: Group, who, function, and which of the clip's forms it takes.
CASES = [
    ("mel, from the waveform", "Reprise", MEL.compute, "at_22050"),
    ("mel, from the waveform", "librosa", mel_by_librosa, "at_22050"),
    ("vggish, from the waveform", "Reprise", VGGISH.compute, "at_16000"),
    ("vggish, from the waveform", "torchvggish", lambda waveform: vggish_by_torchvggish(waveform, 16000), "at_16000"),
    ("from the file", "decoding alone", read, "path"),
    ("from the file", "Reprise mel", mel_of_file, "path"),
    ("from the file", "librosa mel", librosa_of_file, "path"),
    ("from the file", "Reprise vggish", vggish_of_file, "path"),
    ("from the file", "torchvggish (resampy)", torchvggish_of_file, "path"),
]

#: What is compared in the end: slower, faster.
RATIOS = [
    (("mel, from the waveform", "librosa"), ("mel, from the waveform", "Reprise")),
    (("vggish, from the waveform", "torchvggish"), ("vggish, from the waveform", "Reprise")),
    (("from the file", "librosa mel"), ("from the file", "Reprise mel")),
    (("from the file", "torchvggish (resampy)"), ("from the file", "Reprise vggish")),
    (("from the file", "Reprise mel"), ("from the file", "decoding alone")),
    (("from the file", "Reprise vggish"), ("from the file", "decoding alone")),
]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> dict:
    rng = np.random.default_rng(0)
    rate = 44100
    time = np.arange(round(SECONDS * rate)) / rate
    samples = rng.normal(0, 0.02, (len(time), 2))
    for start in np.arange(0, SECONDS, 0.5):
        envelope = np.where(time >= start, np.exp(-3 * np.maximum(0, time - start)), 0)
        for hz in rng.uniform(80, 2000, 4):
            samples += 0.03 * (envelope * np.sin(2 * np.pi * hz * time))[:, None] * rng.uniform(0.5, 1, 2)
    path = tmp_path_factory.mktemp("clip") / "clip.ogg"
    with sf.SoundFile(path, "w", rate, 2) as file:
        for start in range(0, len(samples), rate):  # libsndfile overflows its stack on one long Vorbis write
            file.write(samples[start : start + rate])
    mono = samples.mean(axis=1).astype(np.float32)
    return {"path": path, **{f"at_{to}": soxr.resample(mono, rate, to) for to in (22050, 16000)}}


@pytest.fixture(scope="module")
def best(request: pytest.FixtureRequest) -> Iterator[dict[tuple[str, str], float]]:
    collected: dict[tuple[str, str], float] = {}
    yield collected
    lines = [
        f"{slow[1]} / {fast[1]}, {fast[0]}: {collected[slow] * 1e3:.2f} ms / {collected[fast] * 1e3:.2f} ms "
        f"= {collected[slow] / collected[fast]:.1f}"
        for slow, fast in RATIOS
        if slow in collected and fast in collected
    ]
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print("\n\nTime per 10-s clip, one thread, best of all rounds:\n  " + "\n  ".join(lines))


@pytest.mark.parametrize(("group", "who", "function", "form"), CASES, ids=[f"{case[0]}: {case[1]}" for case in CASES])
def test_features_of_a_clip(
    group: str, who: str, function: Callable, form: str, clip: dict, best: dict, benchmark: Callable
) -> None:
    benchmark.group = group
    with threadpool_limits(1):
        result = benchmark.pedantic(function, args=(clip[form],), rounds=50, warmup_rounds=3)
    assert np.isfinite(result).all()
    if benchmark.stats:
        best[group, who] = benchmark.stats.stats.min
