"""What the masks let through, and what the first layer's filters look like: pictures that the run draws."""

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.features import FrontEnd
from harness.models.masking import templates
from harness.report.style import SMALL, new_figure, style, write_foot
from replications.gtzan_cam.networks import FILTERS, pooled_size
from replications.gtzan_cam.trials import SHOWN_FILTERS

#: Of a segment's frequency axis, in Hz.
TICKS = (250, 1000, 4000)
#: Where the drawn templates have their peaks, as shares of the maps' height and width.
PEAKS = ((0.0, 0.0), (0.25, 0.5), (0.5, 0.5), (0.75, 0.2), (1.0, 1.0))


def mask_templates(front_end: FrontEnd, steepness: float) -> Figure:
    """Templates of the upper mask layer for some positions of a filter's peak.

    Parameters
    ----------
    front_end
        ``mel_segments``.
    steepness
        Of the templates.

    Returns
    -------
    matplotlib.figure.Figure
        Of a map that is positive everywhere what is orange is kept, in part, and what is purple is cut.
    """
    _, bands, frames = front_end.shape(None)
    size = pooled_size((bands, frames), len(FILTERS) - 1)
    places = [tuple(round(share * (length - 1)) for share, length in zip(peak, size, strict=True)) for peak in PEAKS]
    maps = torch.zeros(len(places), 1, *size)
    for number, place in enumerate(places):
        maps[number, 0, *place] = 1
    drawn = templates(maps, steepness)[:, 0].numpy()
    with mpl.rc_context(style()):
        figure = new_figure(2.2)
        panels = figure.subplots(1, len(places), sharey=True)
        for axes, template, (row, column) in zip(panels, drawn, places, strict=True):
            image = show_segment(axes, template, front_end, cmap="PuOr_r", vmin=-1, vmax=1)
            _, width, low, high = image.get_extent()
            axes.plot(
                (column + 0.5) / size[1] * width, low + (row + 0.5) / size[0] * (high - low), marker="+", color="black"
            )
            axes.set_xlabel("seconds")
        panels[0].set_ylabel("kHz (mel scale)")
        bar = figure.colorbar(image, ax=panels, fraction=0.02, pad=0.01, label="template")
        bar.outline.set_visible(False)
        write_foot(
            figure,
            f"Templates max(1 - {steepness:g} (|dy| + |dx|), -1) of maps of {size[0]} x {size[1]} cells, behind the "
            "third convolution; both axes from -1 to 1. +: the map's peak. A map is multiplied by its template, and "
            "what comes out negative is cut.",
        )
    return figure


def first_layer(kernels: np.ndarray, foot: str) -> Figure:
    """Kernels of a net's first layer.

    Parameters
    ----------
    kernels : ndarray (filters, bands, frames)
        Weights.
    foot
        Whose they are, in sentences.

    Returns
    -------
    matplotlib.figure.Figure
        A panel for each filter, numbered from 1; those of the write-up's pictures are framed.
    """
    most, columns = float(np.abs(kernels).max()), 16
    rows = -(-len(kernels) // columns)
    with mpl.rc_context(style()):
        figure = new_figure(0.95 + 0.55 * rows)
        grid = figure.subplots(rows, columns, squeeze=False)
        for number, axes in enumerate(grid.ravel()):
            axes.set(xticks=[], yticks=[])
            for spine in axes.spines.values():
                spine.set(visible=number + 1 in SHOWN_FILTERS, linewidth=1.6)
            if number < len(kernels):
                image = axes.imshow(kernels[number], origin="lower", cmap="PuOr_r", vmin=-most, vmax=most)
                axes.set_title(number + 1, pad=2, size=SMALL)
        bar = figure.colorbar(image, ax=grid, fraction=0.015, pad=0.01, label="weight")
        bar.outline.set_visible(False)
        height, width = kernels.shape[1:]
        size = f"Bands upwards ({height}), frames to the right ({width})."
        write_foot(figure, f"{size} Framed: the filters that the write-up shows. {foot}")
    return figure


def show_segment(axes: Axes, picture: np.ndarray, front_end: FrontEnd, **look: object) -> mpl.image.AxesImage:
    """Draw a picture of a segment, lowest band first, at any resolution; its extent is in seconds and in bands."""
    bands = len(front_end.band_hz)
    image = axes.imshow(
        picture,
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        extent=(0, front_end.seconds, -0.5, bands - 0.5),
        **look,
    )
    axes.set_yticks(np.interp(TICKS, front_end.band_hz, np.arange(bands)), [f"{tick / 1000:g}" for tick in TICKS])
    axes.set_xticks(range(int(front_end.seconds) + 1))
    return image
