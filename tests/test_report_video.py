"""Films: the frames and the sound that went in come out again."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence

from harness.errors import RepriseError
from harness.report import video

FPS = 10
SOUND = np.sin(2 * np.pi * 440 * np.arange(44100 * 3) / 44100).astype(np.float32) * 0.5


def frames(count: int = 20) -> list[np.ndarray]:
    """A white bar that goes from left to right on black."""
    pictures = np.zeros((count, 48, 64, 3), np.uint8)
    for i in range(count):
        pictures[i, :, i * 3 : i * 3 + 4] = 255
    return list(pictures)


@pytest.mark.parametrize("kind", list(video.IMAGES))
def test_an_animated_image_holds_every_frame_in_time(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"film.{kind}"
    video.write(iter(frames()), path, fps=FPS, waveform=SOUND, sample_rate=44100)
    with Image.open(path) as film:
        assert film.n_frames == 20
        assert film.size == (64, 48)
        shown = [np.asarray(frame.convert("L"), int) for frame in ImageSequence.Iterator(film)]
        film.seek(5)
        film.load()
        assert film.info["duration"] == pytest.approx(100, abs=1) or kind == "webp"
    for i, picture in enumerate(shown):
        assert picture.mean(axis=0).argmax() in range(i * 3, i * 3 + 4)
    again = tmp_path / f"again.{kind}"
    video.write(frames(), again, fps=FPS)
    assert again.read_bytes() == path.read_bytes()


def test_an_mp4_has_the_frames_and_the_sound(tmp_path: Path) -> None:
    if not video.ffmpeg():
        pytest.skip("no ffmpeg on PATH to make a film with: install it")
    path = tmp_path / "film.mp4"
    video.write(frames(), path, fps=FPS, waveform=SOUND, sample_rate=44100)
    said = subprocess.run([video.ffmpeg(), "-i", path], capture_output=True, text=True).stderr
    hours, minutes, seconds = re.search(r"Duration: (\d+):(\d+):([\d.]+)", said).groups()
    assert (hours, minutes) == ("00", "00")
    assert float(seconds) == pytest.approx(2.0, abs=0.15)  # as long as the frames, though the sound goes on
    assert re.search(r"Video: .*64x48.* 10 fps", said)
    assert re.search(r"Audio: aac.* 44100 Hz", said)
    command = [video.ffmpeg(), "-v", "error", "-i", path, "-f", "rawvideo", "-pix_fmt", "gray", "-"]
    pictures = np.frombuffer(subprocess.run(command, capture_output=True).stdout, np.uint8).reshape(-1, 48, 64)
    assert len(pictures) == 20
    for i, picture in enumerate(pictures):
        assert picture.mean(axis=0).argmax() in range(i * 3 - 1, i * 3 + 5)
    command = [video.ffmpeg(), "-v", "error", "-i", path, "-f", "f32le", "-ac", "1", "-"]
    heard = np.frombuffer(subprocess.run(command, capture_output=True).stdout, np.float32)
    spectrum = np.abs(np.fft.rfft(heard[:44100]))
    assert spectrum.argmax() == pytest.approx(440, abs=2)
    again = tmp_path / "again.mp4"
    video.write(frames(), again, fps=FPS, waveform=SOUND, sample_rate=44100)
    assert again.read_bytes() == path.read_bytes()


def test_without_ffmpeg_there_is_no_mp4(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RepriseError, match="an MP4 needs the program ffmpeg, which is not on PATH; install it"):
        video.write(frames(), tmp_path / "film.mp4", fps=FPS)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name != "posix" or not shutil.which("sh"), reason="a program of three lines needs a shell")
@pytest.mark.parametrize("reads", [True, False])
def test_what_ffmpeg_complains_of_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reads: bool) -> None:
    program = tmp_path / "bin" / "ffmpeg"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{'cat > /dev/null' if reads else 'exec 0<&-'}\necho Unknown encoder >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(RepriseError, match=r"ffmpeg could not write the film \(Unknown encoder\); choose webp or gif"):
        video.write([np.zeros((480, 640, 3), np.uint8)] * 20, tmp_path / "film.mp4", fps=FPS)
    assert [path.name for path in tmp_path.iterdir()] == ["bin"]


def test_other_suffixes_and_no_frames_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RepriseError, match=r"cannot be written as film\.avi; choose mp4, webp, png, gif"):
        video.write(frames(), tmp_path / "film.avi", fps=FPS)
    with pytest.raises(RepriseError, match=r"no frames for film\.gif"):
        video.write([], tmp_path / "film.gif", fps=FPS)
    assert list(tmp_path.iterdir()) == []
