import numpy as np
import pytest

from harness.corpora.pocket import plan
from harness.corpora.pocket.instruments import CLASSES


@pytest.fixture(scope="module", params=[0, 1])
def clips(request):
    return plan.draw_clips(600, request.param)


def test_classes_are_balanced_and_ensembles_small(clips):
    labels = plan.labels_of(clips)
    assert labels.shape == (600, 20)
    assert set(labels.sum(axis=1)) == {1, 2, 3}
    assert labels.sum(axis=1).mean() == pytest.approx(1.7, abs=0.1)
    prevalence = labels.mean(axis=0)
    assert prevalence.min() > 0.07
    assert prevalence.max() < 0.11


def test_keys_ascend_and_are_written_as_published(clips):
    keys = [clip.key for clip in clips]
    assert keys == sorted(set(keys))
    assert len({key[:6] for key in keys}) == len(keys)
    assert all(len(track) == 6 and int(start) % 960 == 0 for track, start in (key.split("_") for key in keys))


def test_artists_have_five_to_eight_clips_of_a_line_up(clips):
    by_artist = {}
    for clip in clips:
        by_artist.setdefault(clip.artist, []).append(clip)
    assert all(5 <= len(group) <= 8 for group in list(by_artist.values())[:-1])
    assert all(len({name for clip in group for name in clip.instruments}) <= 6 for group in by_artist.values())


def test_the_test_part_is_whole_artists_and_a_quarter_of_every_class(clips):
    test = plan.draw_test(clips, 0)
    artists = np.array([clip.artist for clip in clips])
    assert not set(artists[test]) & set(artists[~test])
    assert test.mean() == pytest.approx(0.25, abs=0.02)
    labels = plan.labels_of(clips)
    shares = labels[test].sum(axis=0) / labels.sum(axis=0)
    assert shares.min() > 0.15
    assert shares.max() < 0.36


def test_paper_scale_fits_the_keys():
    clips = plan.draw_clips(20_000, 0)
    assert len(clips) == 20_000
    assert all(len(clip.key.split("_")[0]) == 6 for clip in clips[-3:])
    assert set(clips[0].instruments) <= set(CLASSES)


def test_names_are_different():
    names = plan.draw_names(6000, 0)
    assert len(set(names)) == 6000
    assert not any(name[-1].isdigit() for name in names[:2000])


def test_metadata_has_the_published_columns(published_data):
    path = published_data / "openmic-2018" / "sample" / "openmic-2018-metadata.csv"
    header = path.read_text(encoding="utf-8").splitlines()[0].split(",")
    assert list(plan.draw_metadata(plan.draw_clips(20, 0), 0).columns) == header
