"""Studies as data: what the paper states is read from study.toml, and a broken file is said in one sentence."""

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

import replications
from harness.errors import RepriseError
from harness.studies import study as studies

#: The paper's Tables I to IV: macro F1, micro F1 and Jaccard on the validation (I, II) and the test part (III, IV).
PUBLISHED = {
    "resnet_fc": ("I", 0.2861, 0.2840, 0.1773, "III", 0.2891, 0.2913, 0.1843),
    "resnet_fc_layer4": ("I", 0.4360, 0.4437, 0.3420, "III", 0.4804, 0.4242, 0.2973),
    "resnet_full": ("I", 0.5469, 0.5526, 0.4477, "III", 0.5433, 0.5461, 0.4379),
    "vggish_fc": ("II", 0.5539, 0.5504, 0.4215, "IV", 0.5665, 0.5673, 0.4372),
    "vggish_fc_2emb": ("II", 0.6091, 0.6060, 0.4891, "IV", 0.6104, 0.6118, 0.4978),
    "vggish_fc_3emb": ("II", 0.6424, 0.6394, 0.5395, "IV", 0.6382, 0.6384, 0.5381),
    "vggish_full": ("II", 0.6465, 0.6423, 0.5473, "IV", 0.6405, 0.6407, 0.5443),
}


@pytest.fixture
def study() -> studies.Study:
    return studies.load("openmic_transfer")


@pytest.fixture
def mutable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Copy of the study's file that a test may break."""
    folder = tmp_path / "replications" / "openmic_transfer"
    folder.mkdir(parents=True)
    shutil.copy(Path(replications.__path__[0]) / "openmic_transfer" / "study.toml", folder)
    monkeypatch.setattr(replications, "__path__", [str(folder.parent)])
    return folder / "study.toml"


def test_studies_are_found_by_their_folder(mutable):
    assert studies.names() == ["openmic_transfer"]
    (mutable.parent.parent / "empty_folder").mkdir()
    other = mutable.parent.parent / "another"
    shutil.copytree(mutable.parent, other)
    assert studies.names() == ["another", "openmic_transfer"]
    assert studies.load("another").folder == other


def test_hyphens_and_underscores_are_the_same(study):
    assert studies.load("openmic-transfer") == study
    assert study.name == "openmic_transfer"


@pytest.mark.parametrize("arm", PUBLISHED)
def test_every_published_number_is_the_papers(study, arm):
    metrics = ("f1_macro_unmasked", "f1_micro_unmasked", "jaccard_samples_unmasked")
    row = PUBLISHED[arm]
    expected = [
        {"table": row[start], "arm": arm, "split": part, "metric": metric, "value": value}
        for start, part in ((0, "valid"), (4, "test"))
        for metric, value in zip(metrics, row[start + 1 : start + 4], strict=True)
    ]
    of_arm = [entry for entry in study.published if entry["arm"] == arm]
    assert [{name: entry[name] for name in expected[0]} for entry in of_arm] == expected


def test_nothing_else_is_claimed_to_be_published(study):
    assert len(study.published) == 7 * 2 * 3
    assert [arm.name for arm in study.arms] == list(PUBLISHED)


def test_the_protocol_is_the_papers(study):
    protocol = study.resolve("paper", "paper")
    assert protocol == {
        "corpus": "openmic-2018",
        "split": "random-80-15-5",
        "weights": "published",
        "missing": "negative",
        "batch_norm": "fixed",
        "batch_size": 16,
        "epochs": 30,
        "patience": 10,
        "learning_rate_classifier": 1e-2,
        "learning_rate_body": 1e-5,
        "learning_rate_step": 10,
        "learning_rate_gamma": 0.1,
        "weight_decay": 1e-4,
        "threshold": 0.5,
        "front_ends": {"resnet50": {"name": "mel"}, "vggish": {"name": "vggish"}},
    }


def test_resolving_lays_profile_changes_and_condition_over_the_protocol(mutable):
    mutable.write_text(
        mutable.read_text() + "[condition.late]\ntitle = ''\nnote = ''\nepochs = 5\nfront_ends.vggish.time_pool = 7\n"
    )
    study = studies.load("openmic-transfer")
    changes = {"epochs": 3, "batch_size": 4, "front_ends": {"resnet50": {"time_pool": 2}}}
    protocol = study.resolve("paper", "late", changes)
    assert protocol["epochs"] == 5  # the condition's word is the last
    assert protocol["batch_size"] == 4
    assert protocol["front_ends"] == {
        "resnet50": {"name": "mel", "time_pool": 2},
        "vggish": {"name": "vggish", "time_pool": 7},
    }
    assert protocol["patience"] == 10
    assert study.resolve("paper", "paper")["front_ends"]["resnet50"] == {"name": "mel"}  # nothing was changed in place


def test_a_profile_may_say_something_else_for_each_network(mutable):
    mutable.write_text(mutable.read_text() + "[profile.own]\nepochs = 4\n[profile.own.network.vggish]\nepochs = 6\n")
    study = studies.load("openmic-transfer")
    assert study.resolve("own", "paper", network="resnet50")["epochs"] == 4
    assert study.resolve("own", "paper", network="vggish")["epochs"] == 6
    assert study.resolve("own", "paper", {"epochs": 9}, network="vggish")["epochs"] == 9
    assert "network" not in study.resolve("own", "paper", network="vggish")


def test_one_value_may_take_the_place_of_a_table_and_the_reverse(study):
    files = {"resnet50": "a.pth", "vggish": "b.pth"}
    assert study.resolve("paper", "paper", {"weights": files})["weights"] == files
    assert study.resolve("paper", "random-weights", {"weights": files})["weights"] == "random"


def test_the_pocket_profile_needs_no_download(study):
    protocol = study.resolve("pocket", "paper")
    assert protocol["weights"] == "random"
    assert protocol["corpus"].startswith("pocket-")
    # What is compared stays the paper's.
    for setting in ("split", "missing", "batch_norm", "threshold"):
        assert protocol[setting] == study.protocol[setting]


def test_conditions_say_what_they_change(study):
    assert study.conditions[0].name == "paper"
    assert not study.conditions[0].changes
    assert study.condition("masked").changes == {"missing": "masked"}
    assert study.condition("moving-statistics").changes == {"batch_norm": "moving"}
    assert all(condition.title and condition.note for condition in study.conditions)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda s: studies.load("opnmic"), r"there is no study 'opnmic'; there are openmic_transfer \(see `reprise"),
        (lambda s: s.arm("resnet_f"), "no arm of openmic_transfer named 'resnet_f'; there are resnet_fc, resnet_fc_la"),
        (lambda s: s.condition("maskd"), "no condition of openmic_transfer named 'maskd'; there are paper, masked,"),
        (lambda s: s.resolve("poket", "paper"), "no profile 'poket'; choose one of paper, pocket"),
        (lambda s: s.resolve("paper", "maskd"), "no condition of openmic_transfer named 'maskd'"),
    ],
)
def test_unknown_names_are_said_with_those_there_are(mutable, ask, message):
    with pytest.raises(RepriseError, match=message):
        ask(studies.load("openmic_transfer"))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[paper]", "[paper", "TOMLDecodeError"),
        ("parameters = 40_980\n", "parameters = 40_980\nlayers = 1\n", "'layers'"),
        ("[0.2861, 0.2840, 0.1773]", "[0.2861, 0.2840]", "ValueError"),
        ('table = "I", arm = "resnet_fc"', 'table = "V", arm = "resnet_fc"', "KeyError 'V'"),
    ],
)
def test_a_broken_file_is_said_in_one_sentence(mutable, old, new, message):
    text = mutable.read_text()
    assert old in text
    mutable.write_text(text.replace(old, new, 1))
    with pytest.raises(RepriseError, match=message) as raised:
        studies.load("openmic_transfer")
    assert str(raised.value).startswith(f"{mutable} cannot be understood: ")
    assert str(raised.value).endswith("; mend it there")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("old", "new", "missing"),
    [
        ("[paper]", "[papers]", r"\[paper\]"),
        ("summary = ", "abstract = ", r"summary in \[paper\]"),
        ("year = ", "date = ", r"year in \[paper\]"),
        ('main = "f1', 'score = "f1', r"main in \[scores\]"),
        ("[[arm]]", "[[arms]]", r"an \[\[arm\]\]"),
        ('network = "resnet50"\n', "", r"network in the \[\[arm\]\] resnet_fc"),
        ("parameters = 40_980\n", "", r"parameters in the \[\[arm\]\] resnet_fc"),
        ("note = ", "says = ", r"note in \[condition\.paper\]"),
        ('split = "random', 'parts = "random', r"split in \[protocol\] or \[profile\.paper\]"),
        ("batch_size = 16 ", "size = 16 ", r"batch_size in \[protocol\] or \[profile\.paper\]"),
        ('split = "valid"\n', "", r"split in \[table\.I\]"),
    ],
)
def test_what_a_file_lacks_is_said_before_anything_runs(mutable, old, new, missing):
    text = mutable.read_text()
    assert old in text
    count = -1 if old == "[[arm]]" else 1
    mutable.write_text(text.replace(old, new, count))
    with pytest.raises(RepriseError, match=rf"^{mutable} lacks {missing}; add it there$"):
        studies.load("openmic_transfer")


def test_a_setting_may_stand_in_the_profiles_or_be_a_networks_own(mutable):
    text = mutable.read_text().replace("epochs = 30 ", "network.resnet50.epochs = 30\nnetwork.vggish.epochs = 9 ", 1)
    mutable.write_text(text)
    assert studies.load("openmic_transfer").resolve("paper", "paper", network="vggish")["epochs"] == 9


def test_a_paper_may_print_no_numbers(mutable):
    head, _, _ = mutable.read_text().partition("[table.I]")
    mutable.write_text(head)
    study = studies.load("openmic_transfer")
    assert (study.published, study.tables, study.claims) == ((), {}, ())


def test_the_corpora_it_is_for(study):
    assert all(map(study.fits, ("openmic-2018", "pocket-openmic", "pocket-openmic-100")))
    assert not any(
        map(study.fits, ("gtzan", "pocket-gtzan", "pocket-gtzan-100", "openmic-2018-100", "pocket-openmic-x"))
    )
    assert replace(study, corpora=()).fits("gtzan")


def test_code_that_a_run_comes_to_in_the_end_is_asked_for_at_once(study, mutable, monkeypatch):
    folder = mutable.parent
    with pytest.raises(RepriseError, match=r"study\.py is not there; write it with the functions expected, prepare"):
        replace(study, folder=folder).code  # noqa: B018
    (folder / "study.py").touch()
    monkeypatch.setattr(studies.importlib, "import_module", lambda name: SimpleNamespace(expected=1, train=1, tables=1))
    with pytest.raises(RepriseError, match=r"study\.py lacks prepare, figures, explain; CONTRIBUTING\.md says"):
        replace(study, folder=folder).code  # noqa: B018


def test_a_published_number_of_an_unknown_arm_is_refused(mutable):
    mutable.write_text(mutable.read_text().replace('arm = "vggish_full", scores', 'arm = "vggish_ful", scores', 1))
    with pytest.raises(RepriseError, match="no arm of openmic_transfer named 'vggish_ful'"):
        studies.load("openmic_transfer")
