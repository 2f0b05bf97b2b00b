import pytest
from corpora_trees import make_tree

from harness import corpora
from harness.corpora import registry
from harness.errors import RepriseError


def test_names():
    assert {"openmic-2018", "pocket-openmic"} <= set(corpora.names())
    assert list(corpora.names()) == sorted(corpora.names())


@pytest.mark.parametrize(
    "name", ["openmic", "openmic-2018-200", "pocket-openmic-0", "pocket-openmic-x", "pocket-gone-9"]
)
def test_unknown_name(name):
    with pytest.raises(RepriseError, match=f"no corpus '{name}': choose .*openmic-2018, .*pocket-openmic-N") as caught:
        corpora.load(name)
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


def test_every_entry_is_complete():
    for name, entry in registry.entries().items():
        assert entry.name == name
        assert entry.contents
        if entry.source is not None:
            assert len(entry.source.md5) == 32
            assert entry.source.download_bytes > 0
            assert entry.source.url.startswith("https://")
        else:
            assert name.startswith("pocket-")
