"""Films from frames: MP4 with the sound in it where ffmpeg is there, animated images by Pillow where it is not."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image, features

from harness.errors import RepriseError
from harness.storage import atomic_path

#: Animated images that Pillow writes, by suffix; none of them has sound.
IMAGES = {"webp": "WEBP", "png": "PNG", "gif": "GIF"}
FORMATS = ("mp4", *IMAGES)
NO_FFMPEG = "an MP4 needs the program ffmpeg, which is not on PATH; install it, or choose webp, png or gif"


def ffmpeg() -> str | None:
    """Where the program ffmpeg is.

    Returns
    -------
    str or None
        Its path, or None where PATH has none.
    """
    return shutil.which("ffmpeg")


def write(
    frames: Iterable[np.ndarray], path: Path, *, fps: float, waveform: np.ndarray | None = None, sample_rate: int = 0
) -> None:
    """Write a film; the file's suffix says which kind.

    Parameters
    ----------
    frames
        Pictures (height, width, 3) in uint8, all of one size; for an MP4 both sides are even numbers.
    path
        One of `FORMATS` by its suffix.
    fps
        Frames per second. Animated images keep time in milliseconds, a GIF in hundredths of a second.
    waveform : np.ndarray [shape=(samples,)], optional
        Sound of an MP4, mono; cut to the length of the frames. Animated images are silent.
    sample_rate
        Of the sound, in Hz.

    Raises
    ------
    RepriseError
        There is no ffmpeg for an MP4, ffmpeg or Pillow cannot write the format, or there are no frames.
    """
    kind = path.suffix.lstrip(".").lower()
    if kind not in FORMATS:
        raise RepriseError(f"a film cannot be written as {path.name}; choose {', '.join(FORMATS)}")
    iterator = iter(frames)
    first = next(iterator, None)
    if first is None:
        raise RepriseError(f"there are no frames for {path.name}; show more of the clip")
    with atomic_path(path) as temporary:
        if kind == "mp4":
            _write_mp4(first, chain([first], iterator), temporary, fps, waveform, sample_rate)
        else:
            _write_image(chain([first], iterator), temporary, IMAGES[kind], fps)


def _write_mp4(
    first: np.ndarray,
    frames: Iterator[np.ndarray],
    path: Path,
    fps: float,
    waveform: np.ndarray | None,
    sample_rate: int,
) -> None:
    program = ffmpeg()
    if program is None:
        raise RepriseError(NO_FFMPEG)
    height, width = first.shape[:2]
    with tempfile.TemporaryDirectory() as folder:
        sound = Path(folder) / "sound.wav"
        command = [program, "-nostdin", "-loglevel", "error", "-y"]
        command += ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", f"{fps:g}", "-i", "pipe:0"]
        if waveform is not None:
            soundfile.write(sound, np.clip(waveform, -1, 1), sample_rate, format="WAV", subtype="PCM_16")
            command += ["-i", str(sound), "-c:a", "aac", "-b:a", "128k", "-shortest"]
        # No codec is named: every ffmpeg has one for MP4, and not every one has the same. The quality is for those
        # that take a scale of 1 to 31; libx264 has a good default. Without the rest the bytes would change by version
        # and date.
        command += ["-pix_fmt", "yuv420p", "-q:v", "4", "-movflags", "+faststart", "-map_metadata", "-1"]
        command += ["-fflags", "+bitexact", "-flags:v", "+bitexact", "-flags:a", "+bitexact", "-f", "mp4", str(path)]
        # What it complains of goes to a file: a full pipe would stop it.
        with open(Path(folder) / "said", "w+b") as said:
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=said, stderr=said)
            try:
                for frame in frames:
                    process.stdin.write(np.ascontiguousarray(frame).tobytes())
                process.stdin.close()
            except BrokenPipeError:  # it has given up, and says why
                pass
            except BaseException:
                process.kill()
                raise
            finally:
                process.wait()
            said.seek(0)
            lines = said.read().decode(errors="replace").strip().splitlines()
    if process.returncode:
        reason = lines[-1] if lines else f"it ended with {process.returncode}"
        raise RepriseError(f"ffmpeg could not write the film ({reason}); choose webp or gif instead")


def _write_image(frames: Iterator[np.ndarray], path: Path, form: str, fps: float) -> None:
    if form == "WEBP" and not features.check("webp"):
        raise RepriseError("this Pillow cannot write WebP; choose gif or png")
    images = [Image.fromarray(np.ascontiguousarray(frame)) for frame in frames]
    options: dict = {"duration": 1000 / fps, "loop": 0}
    if form == "GIF":
        # One palette for all frames, or colours would flicker.
        palette = images[len(images) // 2].quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        images = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
        options |= {"optimize": False}
    elif form == "WEBP":
        options |= {"quality": 70, "method": 2, "minimize_size": False}
    else:
        options |= {"disposal": 0, "blend": 0}
    if form != "GIF":
        options["duration"] = round(options["duration"])
    images[0].save(path, form, save_all=True, append_images=images[1:], **options)
