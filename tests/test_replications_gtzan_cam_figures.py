"""The genre study's figures: what they show and how they print."""

import numpy as np
import pytest
from helpers import assert_readable, write_trials
from matplotlib.figure import Figure

from harness import features
from harness.report import estimates
from harness.studies import study as studies
from harness.studies.records import Record
from harness.studies.study import Study
from replications.gtzan_cam import figures as drawing
from replications.gtzan_cam.filter_figures import mask_templates, show_segment

GENRES = ("blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock")
SKILLS = {"base": 0.3, "masked": 0.33, "cam": 0.27, "masked_loss": 0.3, "base_5x5": 0.3, "base_3x9": 0.5, "base_9x3": 0}
SEGMENTS = [f"{genre}.{track:05d}#{number}" for genre in GENRES for track in range(12) for number in range(10)]
LABELS = np.eye(10, dtype=np.uint8)[np.repeat(np.arange(10), 120)]
NAMES = ["scores", "leak", "learning_curves", "confusion", "kernels", "orderings", "mask_templates"]


@pytest.fixture(scope="module")
def study() -> Study:
    return studies.load("gtzan_cam")


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory, study: Study) -> list[Record]:
    return write_trials(
        tmp_path_factory.mktemp("runs"), study, conditions=["paper", "track", "filtered"], seeds=2, sizes=(100, 150),
        classes=GENRES, skills=SKILLS, corpus="pocket-gtzan", clips=(SEGMENTS, LABELS),
    )  # fmt: skip


@pytest.fixture(scope="module")
def figures(study: Study, records: list[Record]) -> dict[str, Figure]:
    return {name: figure for name, (figure, _) in drawing.figures(study, records).items()}


def test_every_figure_is_there(figures: dict[str, Figure]) -> None:
    assert list(figures) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_figures_are_readable(figures: dict[str, Figure], name: str) -> None:
    figure = figures[name]
    assert_readable(figure)
    for legend in figure.legends:
        assert not any(legend.get_window_extent().overlaps(axes.get_window_extent()) for axes in figure.axes)
    for axes in figure.axes:
        for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
            boxes = [t.get_window_extent() for t in labels if t.get_text() and t.get_visible()]
            for i, a in enumerate(boxes):
                assert not any(a.shrunk(0.98, 0.98).overlaps(b.shrunk(0.98, 0.98)) for b in boxes[i + 1 :])
    if name != "mask_templates":
        foot = " ".join(figure.get_supxlabel().split())
        assert "Corpus pocket-gtzan, profile pocket, weights random" in foot
        assert "Not a replication" in foot


def test_the_write_ups_values_are_marked(figures: dict[str, Figure]) -> None:
    expected = {0: [0.7738, 0.8301, 0.5155], 1: [0.6708, 0.6844, 0.6823], 2: [0.6823, 0.6990, 0.6812]}
    for number, axes in enumerate(figures["scores"].axes):
        found = [line.get_xdata()[0] for line in axes.get_lines() if line.get_marker() == "|"]
        assert found == expected[number]


def test_the_leak_shows_every_protocol(figures: dict[str, Figure], records: list[Record]) -> None:
    segments, tracks = figures["leak"].axes
    assert (segments.get_title(), tracks.get_title()) == ("segments", "tracks")
    shown = {round(float(line.get_xdata()[0]), 9) for line in segments.get_lines() if line.get_marker() in "osD"}
    for condition in ("paper", "track", "filtered"):
        of_arm = estimates.select(records, "masked", condition)
        assert round(np.mean([r.data["metrics"]["test"]["accuracy"] for r in of_arm]), 9) in shown


def test_curves_are_means_over_the_seeds(figures: dict[str, Figure], records: list[Record]) -> None:
    for axes, score in zip(figures["learning_curves"].axes, ("train_accuracy", "accuracy"), strict=True):
        assert len(axes.get_lines()) == 4
        of_arm = [r.history()[score] for r in estimates.select(records, "base", "paper")]
        shortest = min(map(len, of_arm))
        expected = np.mean([values[:shortest] for values in of_arm], axis=0)
        np.testing.assert_allclose(axes.get_lines()[0].get_ydata()[:shortest], expected)


def test_confusions_are_those_of_the_three_nets_on_whole_tracks(study: Study, records: list[Record]) -> None:
    figure = drawing.confusions(study, records, "track")
    assert [axes.get_title() for axes in figure.axes] == ["baseCNN", "maskedCNN", "CAMCNN"]
    assert "for segments of this genre" in " ".join(figure.get_supxlabel().split())
    assert "Condition: by track" in " ".join(figure.get_supxlabel().split())
    assert figure.axes[0].get_ylabel() == "labelled"
    for axes, arm in zip(figure.axes, ("base", "masked", "cam"), strict=True):
        parts = [r.predictions("test") for r in estimates.select(records, arm, "track")]
        labelled, named = (np.concatenate([p_.argmax(axis=1) for p_ in some]) for some in (
            [p.labels for p in parts], [p.probabilities for p in parts]
        ))  # fmt: skip
        wanted = {
            (i, j): f"{100 * np.mean(named[labelled == i] == j):.0f}"
            for i in range(10)
            for j in range(10)
            if ((labelled == i) & (named == j)).any()
        }
        shown = {(int(t.get_position()[1]), int(t.get_position()[0])): t.get_text() for t in axes.texts}
        assert shown == wanted


def test_templates_are_one_at_their_peaks() -> None:
    figure = mask_templates(features.front_end("mel_segments", n_mels=64, time_pool=2), 2.0)
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
    axes = drawing.new_figure(2).subplots()
    picture = front_end.compute(tone)[4]
    show_segment(axes, picture, front_end)
    place = dict(zip([t.get_text() for t in axes.get_yticklabels()], axes.get_yticks(), strict=True))["1"]
    assert picture.mean(axis=1).argmax() == pytest.approx(place, abs=1)


def test_what_has_no_record_has_no_figure(study: Study, records: list[Record]) -> None:
    some = [r for r in records if r.condition == "track" and r.arm == "cam"]
    assert list(drawing.figures(study, some)) == ["confusion", "mask_templates"]
    alone = drawing.figures(study, [r for r in records if r.condition == "paper" and r.arm == "base_5x5"])
    assert list(alone) == ["scores", "orderings", "mask_templates"]
    assert_readable(alone["scores"][0])
