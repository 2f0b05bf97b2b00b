import pytest
from corpora_trees import make_tree

from harness import corpora
from harness.corpora import archives, registry
from harness.errors import RepriseError


def test_names():
    assert {"openmic-2018", "pocket-openmic", "nsynth", "pocket-nsynth"} <= set(corpora.names())
    assert list(corpora.names()) == sorted(corpora.names())


@pytest.mark.parametrize(
    "name", ["openmic", "openmic-2018-200", "pocket-openmic-0", "pocket-openmic-x", "pocket-gone-9"]
)
def test_unknown_name(name):
    with pytest.raises(RepriseError, match=f"no corpus '{name}': choose .*openmic-2018, .*pocket-openmic, ") as caught:
        corpora.load(name)
    assert str(caught.value).count("-N") == 1
    assert "\n" not in str(caught.value)


def test_a_pocket_name_may_carry_a_size():
    assert registry.find("pocket-openmic")[1] is None
    entry, size = registry.find("pocket-openmic-2000")
    assert (entry.name, size) == ("pocket-openmic", 2000)


def test_a_corpus_is_added_by_one_module(tmp_path, monkeypatch):
    (tmp_path / "harmonium.py").write_text(
        "from harness.corpora.registry import Entry\n"
        "from harness.corpora.openmic import read\n"
        "CORPORA = (Entry('harmonium', lambda name, root, size, jobs: read(root, name), None, (), None),)\n"
    )
    monkeypatch.setattr(corpora, "__path__", [*corpora.__path__, str(tmp_path)])
    assert "harmonium" in corpora.names()
    assert corpora.load("harmonium", make_tree(tmp_path / "tree").root).name == "harmonium"


def test_audio_files_are_found_by_the_entrys_patterns(tmp_path):
    for name in ("nsynth-train/audio/a.wav", "nsynth-test/audio/b.wav", "nsynth-train/audio/c.txt", "audio/000/d.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = {
        name: {path.name for path in registry.find(name)[0].audio_files(tmp_path)}
        for name in ("nsynth", "openmic-2018")
    }
    assert found == {"nsynth": {"a.wav", "b.wav"}, "openmic-2018": {"d.wav"}}


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://zenodo.org/record/1432913/files/openmic-2018-v1.0.0.tgz?download=1", "openmic-2018-v1.0.0.tgz"),
        ("http://127.0.0.1:80/a/b.z01", "b.z01"),
    ],
)
def test_an_archive_has_the_name_at_the_end_of_its_address(url, name):
    assert archives.Archive(url).name == name


def test_every_entry_is_complete():
    for name, entry in registry.entries().items():
        assert entry.name == name
        assert entry.contents
        assert entry.audio
        if entry.source is not None:
            assert not entry.obtain
            assert entry.source.download_bytes >= sum(archive.bytes or 0 for archive in entry.source.archives)
            assert entry.source.unpacked_bytes > 0
            archives = [archive.name for archive in entry.source.archives]
            assert len(set(archives)) == len(archives) > 0
            for archive in entry.source.archives:
                assert archive.url.startswith("https://")
                assert archive.md5 is None or len(archive.md5) == 32
        else:
            assert name.startswith("pocket-") != bool(entry.obtain)


def test_what_must_be_rendered_is_a_pocket_corpus_that_is_not_here(tmp_path, monkeypatch):
    monkeypatch.setenv("REPRISE_HOME", str(tmp_path))
    assert registry.to_render("openmic-2018") == 0
    assert registry.to_render("pocket-openmic-60") == 60
    root = registry.find("pocket-openmic-60")[0].folder(None, 60)
    make_tree(root)
    assert registry.to_render("pocket-openmic-60") == 0


def test_only_a_published_corpus_can_be_absent(tmp_path, monkeypatch):
    monkeypatch.setenv("REPRISE_DATA", str(tmp_path))
    assert registry.absent("pocket-openmic-60") == ""
    assert registry.absent("openmic-2018") == f"openmic-2018 is not in {tmp_path / 'openmic-2018'}"
    make_tree(tmp_path / "openmic-2018")
    assert registry.absent("openmic-2018") == ""
