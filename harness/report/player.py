"""A page that plays a clip and shows, in time with it, what every filter of a network answers.

The page is a single file that opens from disk: sound and maps are inside it, nothing is fetched. Maps are pictures of
8 bits a cell, all filters of a layer in one PNG; colours are put on by the page. How large it gets is bounded by what
a `harness.explain.animation.Response` may hold: at most 64 filters of 64 rows and 25 columns a second for each layer,
which for ten seconds of the largest network here, ResNet-50 with 18 layers, is below 4 MB.
"""

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import jinja2
import numpy as np
from PIL import Image

from harness.explain.animation import Layer, Response
from harness.report.frame import WINDOW, colour_table, ranked_classes
from harness.storage import write_text


def data_uri(kind: str, content: bytes) -> str:
    """Put a file into an address.

    Parameters
    ----------
    kind
        Such as ``"image/png"``.
    content
        The file.

    Returns
    -------
    str
        A ``data:`` address.
    """
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def sprite(maps: np.ndarray) -> bytes:
    """All maps of a layer in one picture, one below the other, each with its highest band at the top.

    Parameters
    ----------
    maps : np.ndarray [shape=(k, rows, columns), dtype=uint8]
        Row 0 the lowest band.

    Returns
    -------
    bytes
        A grey PNG of ``columns`` by ``k * rows``; the same maps give the same bytes.
    """
    file = io.BytesIO()
    # The highest level takes five times as long and saves less than a hundredth.
    Image.fromarray(np.ascontiguousarray(maps[:, ::-1].reshape(-1, maps.shape[2]))).save(file, "PNG", compress_level=6)
    return file.getvalue()


def _layer(layer: Layer) -> dict:
    return {
        "name": layer.name,
        "shape": list(layer.shape),
        "rows": layer.maps.shape[1],
        "numbers": layer.numbers.tolist(),
        "lows": [float(f"{value:.4g}") for value in layer.lows],
        "highs": [float(f"{value:.4g}") for value in layer.highs],
        "strengths": [float(f"{value:.4g}") for value in layer.strengths],
        "image": data_uri("image/png", sprite(layer.maps)),
    }


def write_player(
    response: Response,
    path: Path,
    *,
    title: str,
    caption: Mapping[str, str],
    sound: bytes,
    labelled: Sequence[str] = (),
    warning: str = "",
) -> None:
    """Write the page.

    Parameters
    ----------
    response
        Of a network to a clip.
    path
        The page.
    title
        Its title.
    caption
        What was run on what, by name.
    sound
        The clip from its start, an MP3, as `harness.report.gallery.sound` makes it.
    labelled
        Classes that the clip is known to have.
    warning
        A sentence that stands above all, such as that the sound may not be passed on.

    Raises
    ------
    RepriseError
        The file cannot be written.
    """
    order = ranked_classes(response, labelled)
    data = {
        "start": response.start,
        "end": response.end,
        "window": WINDOW,
        "colours": colour_table()[:255].tobytes().hex(),
        "spectrogram": {
            "rows": len(response.spectrogram),
            "image": data_uri("image/png", sprite(response.spectrogram[None])),
        },
        # Whole per mille keep the page small; a bar is not read closer than that.
        "probabilities": np.rint(response.probabilities[:, order] * 1000).astype(int).T.tolist(),
        "layers": [_layer(layer) for layer in response.layers],
    }
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("harness.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("player.html.j2").render(
        title=title,
        caption=caption,
        warning=warning,
        data=data,
        layers=response.layers,
        classes=[(response.classes[number], response.classes[number] in labelled) for number in order],
        answers=response.answers,
        audio=data_uri("audio/mpeg", sound),
        end=response.end,
    )
    write_text(path, page)
