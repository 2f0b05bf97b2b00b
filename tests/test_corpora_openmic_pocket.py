from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from harness import corpora
from harness.corpora import download, openmic, openmic_pocket
from harness.corpora.pocket import openmic as renderer
from harness.errors import RepriseError
from harness.storage import cache_home


def test_a_pocket_corpus_is_rendered_once_and_read_like_any_other(capsys):
    with ThreadPoolExecutor(2) as pool:
        corpus, same = pool.map(lambda name: corpora.load(name, jobs=1), ["pocket-openmic-20"] * 2)
    assert capsys.readouterr().err.count("rendering 20 clips") == 1
    assert corpus.checksum == same.checksum
    assert corpus.name == "pocket-openmic-20"
    assert corpus.root.name == "pocket-openmic-20-density-0.5-seed-0-v1"
    assert corpus.root.parent == cache_home() / "corpora"
    assert corpus.pocket
    assert corpus.ground_truth.is_dir()
    assert len(corpus.clips) == 20
    assert len(corpus.classes) == 20
    assert all(Path(path).is_file() for path in corpus.clips["path"])
    assert corpus.clips["group"].notna().all()
    assert corpus.facts["density"] == pytest.approx(0.5, abs=0.01)
    assert corpus.facts["parameters"] == {"size": 20, "density": 0.5, "seed": 0}
    assert corpus.split("official").leakage["shared_groups"]["train-test"] == 0
    assert openmic.embeddings(corpus).shape == (20, 10, 128)
    truth = renderer.full_labels(corpus.root)
    np.testing.assert_array_equal(corpus.labels[corpus.mask], truth[corpus.mask])
    found = download.verify("pocket-openmic-20", jobs=1)
    assert found == {"checked": 20, "by_form": 0, "missing": [], "changed": [], "unlisted": []}
    assert download.status("pocket-openmic-20")["here"]
    before = (corpus.root / "class-map.json").stat().st_mtime_ns
    assert corpora.load("pocket-openmic-20").checksum == corpus.checksum
    assert (corpus.root / "class-map.json").stat().st_mtime_ns == before
    with pytest.raises(RepriseError, match=r"holds 20 clips and not the 30 of pocket-openmic-30: name another folder"):
        corpora.load("pocket-openmic-30", corpus.root)


def test_a_pocket_corpus_of_other_parameters_has_another_folder(tmp_path):
    folders = {
        openmic_pocket.folder(),
        openmic_pocket.folder(size=700),
        openmic_pocket.folder(density=0.2),
        openmic_pocket.folder(seed=1),
    }
    assert len(folders) == 4
    assert openmic_pocket.folder(tmp_path, 700) == tmp_path


def test_no_pocket_corpus_is_rendered_over_something_else(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RepriseError, match="is not empty"):
        corpora.load("pocket-openmic-20", tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"
