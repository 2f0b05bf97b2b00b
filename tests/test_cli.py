"""The command, as a user types it: what it says, what it writes, and how it ends."""

import csv
import io
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from corpora_trees import make_tree
from gtzan_trees import write_track
from trials import CLIPS, POCKET, Played, reprise

import replications
from harness import cli, corpora
from harness.studies import executor, networks, records

#: Fewest arguments of a run that trains one arm.
ONE_ARM = ("--arm", "resnet_fc", "--condition", "paper")


def fails(*arguments: str | Path) -> str:
    """Run a command that is a user's mistake; the one sentence it ends with."""
    result = reprise(*arguments)
    assert result.exit_code == 1, result.output
    assert "Traceback" not in result.output
    _, prefix, said = f"\n{result.stderr}".partition("\nreprise: ")
    assert prefix
    return said.strip()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--help"], ["list", "data", "run", "report", "keep", "verify", "played again"]),
        (["data", "--help"], ["status", "fetch", "make", "verify", "audit"]),
        (
            ["run", "--help"],
            [
                *("--corpus", "--size", "--profile", "--arm", "--condition", "--seeds", "--device", "--bf16"),
                *("--jobs", "--weights", "--skip-bad", "--runs", "--out", "--no-report"),
                *("vggish=pretrained", "words=seeded"),
            ],
        ),
        (["report", "--help"], ["--runs", "--out", "--check", "--results", "never trains", "keep --again"]),
        (
            ["keep", "--help"],
            [
                *("--from", "--results", "--reason", "--drop", "--place", "--again", "--dry-run"),
                "the one command that changes results",
            ],
        ),
        (["visualise", "--help"], ["--layers", "--filters", "--seconds", "--fps", "--format", "--out"]),
        (["traps", "--help"], ["--arm", "--runs", "--kept", "--results", "--out"]),
        (["figures", "--help"], ["--results", "--out"]),
        (["regression", "--help"], ["--seeds", "--runs", "--results", "--jobs", "clip by clip"]),
        (["verify", "--help"], ["metrics again from the predictions"]),
    ],
)
def test_help_names_every_option(arguments, words):
    result = reprise(*arguments)
    assert result.exit_code == 0
    text = " ".join(re.sub(r"\x1b\[[0-9;]*m|[│╭╮╰╯─]", "", result.output).split())
    for word in words:
        assert word in text


def test_nothing_typed_shows_the_help():
    assert "Usage" in reprise().output


def test_the_version():
    assert re.fullmatch(r"reprise \d+\.\d+\.\d+\S*\n", reprise("--version").output)


def test_the_list_has_studies_corpora_and_weights(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    result = reprise("list")
    assert result.exit_code == 0
    text = result.output
    for words in (
        "openmic_transfer: Explainable CNN and Spectrogram Comparison",
        "resnet_fc_layer4",
        "15,005,716",
        "condition masked: The loss counts only labels",
        "condition official-split (only on request: --condition)",
        "corpus openmic-2018: not here",
        "`reprise data fetch openmic-2018`",
        "corpus pocket-openmic: not here",
        "weights resnet50: ResNet-50 trained on ImageNet (torchvision, IMAGENET1K_V1), not here: "
        "`reprise data fetch resnet50` (98 MB, BSD-3-Clause)",
        "weights vggish: ",
    ):
        assert words in text


def test_data_status_of_what_is_not_here_says_how_to_get_it(tmp_path):
    text = reprise("data", "status", "openmic-2018").output
    folder = tmp_path / "reprise-home" / "data" / "openmic-2018"
    assert text.startswith(f"not here ({folder}): `reprise data fetch openmic-2018`; ")
    for words in ("about 2.6 GB to download", "CC BY 4.0", "MD5 e4ccf187e2bb5ab2e115416e8aafe7f4", "zenodo.org"):
        assert words in text


def test_data_status_make_and_verify_of_what_is_here(pocket, pocket_home):
    folder = corpora.load(POCKET).root
    assert reprise("data", "status", POCKET).output == f"here ({folder}, {CLIPS} audio files)\n"
    assert reprise("data", "make", POCKET).output == f"{POCKET}: {CLIPS} clips in {folder}\n"
    result = reprise("data", "verify", POCKET)
    assert (result.exit_code, result.stdout) == (0, f"{POCKET}: all {CLIPS} audio files are as published\n")


def test_data_verify_names_every_file_that_is_not_as_published(pocket_home, tmp_path, monkeypatch):
    root = tmp_path / "data" / "openmic-2018"
    make_tree(root)
    monkeypatch.setenv("REPRISE_DATA", str(root.parent))
    missing, changed = sorted(root.glob("audio/*/*.ogg"))[:2]
    missing.unlink()
    changed.write_bytes(changed.read_bytes()[:-1])
    result = reprise("data", "verify", "openmic-2018")
    assert result.exit_code == 1
    assert f"missing: {missing.relative_to(root)}" in result.stdout
    assert f"changed: {changed.relative_to(root)}" in result.stdout
    assert "2 audio files of openmic-2018 are not as published; get sound copies" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["data", "status", "openmic"],
            r"there is no corpus 'openmic': choose .*openmic-2018, .*pocket-openmic, .*or any pocket name with -N",
        ),
        (
            ["data", "status", "nope"],
            r"there is no corpus 'nope': choose .*any pocket name with -N for a corpus of N clips; networks with "
            r"published weights are resnet50, vggish, inception_resnet_v2$",
        ),
        (["data", "fetch", "resnet"], r"there is no corpus 'resnet': choose .*networks with published weights are res"),
        (["data", "make", "nope"], r"there is no corpus 'nope': choose .*any pocket name with -N"),
        (["data", "make", "resnet50"], r"resnet50 is not rendered but fetched: `reprise data fetch resnet50`"),
        (["data", "fetch", "pocket-openmic"], r"pocket-openmic is not downloaded but rendered: run `reprise data make"),
        (
            ["data", "make", "openmic-2018"],
            r"openmic-2018 is not rendered but fetched: `reprise data fetch openmic-2018`",
        ),
        (["run", "opnmic"], r"there is no study 'opnmic'; there are .*openmic_transfer.*\(see `reprise list`\)"),
        (["report", "opnmic"], r"there is no study 'opnmic'"),
        (["traps", "opnmic"], r"there is no study 'opnmic'"),
        (
            ["run", "openmic-transfer", "--arm", "resnet"],
            r"there is no arm of openmic_transfer named 'resnet'; there are",
        ),
        (
            ["run", "openmic-transfer", "--condition", "x"],
            r"there is no condition of openmic_transfer named 'x'; there",
        ),
        (
            ["run", "openmic-transfer", "--profile", "x"],
            r"openmic_transfer has no profile 'x'; choose one of paper, po",
        ),
        (["run", "openmic-transfer", "--corpus", "x"], r"there is no corpus 'x': choose .*openmic-2018"),
        (["run", "openmic-transfer", "--device", "tpu"], r"there is no device 'tpu'; choose auto, cpu or cuda"),
        (
            ["run", "openmic-transfer", "--corpus", "openmic-2018", "--size", "100"],
            r"--size belongs to pocket corpora; openmic-2018 has the size it was published with",
        ),
        (
            ["run", "openmic-transfer", "--arm", "vggish_fc", "--condition", "moving-statistics"],
            r"nothing to run: the conditions chosen do not apply to the arms chosen; see `reprise list`",
        ),
        (
            ["run", "openmic-transfer", "--weights", "file.pth"],
            r"--weights file\.pth: say for which network, as in --weights resnet50=FILE \(this study has resnet50, vg",
        ),
        (
            ["run", "openmic-transfer", "--weights", "resnet=file.pth"],
            r"--weights resnet=file.pth: say for which network",
        ),
        (["run", "openmic-transfer", "--weights", "vggish"], r"--weights vggish: say for which network"),
        (
            ["run", "openmic-transfer", "--weights", "resnet50=/nowhere/w.pt"],
            r"there is no weights file /nowhere/w\.pt; check the path given with --weights",
        ),
        (
            ["run", "irmas-activations", "--corpus", "pocket-openmic"],
            r"irmas_activations cannot be played on pocket-openmic: choose --corpus irmas or pocket-irmas, ",
        ),
        (["run", "single-notes", "--corpus", "pocket-gtzan"], r"single_notes cannot be played on .* tinysol or phil"),
        (["run", "openmic-transfer", "--corpus", "pocket-gtzan", "--size", "60"], r"openmic_transfer cannot be played"),
        (
            ["run", "irmas-activations", "--weights", "published"],
            r"nobody has published weights for han \(only for resnet50, vggish, inception_resnet_v2\); write weights",
        ),
    ],
)
def test_a_users_mistake_ends_in_one_sentence(arguments, message, tmp_path):
    if arguments[0] != "data":
        arguments = [*arguments, "--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "out")]
    said = fails(*arguments)
    assert re.match(message, said), said
    assert "\n" not in said
    assert not (tmp_path / "runs").exists()
    assert not (tmp_path / "reprise-home" / "corpora").exists()  # nothing was rendered before it was said


@pytest.mark.parametrize("arguments", [["run"], ["run", "openmic-transfer", "--seeds", "0"], ["play"], ["run", "--x"]])
def test_a_command_typed_wrong_shows_how_it_goes(arguments):
    result = reprise(*arguments)
    assert result.exit_code == 2
    assert "Usage" in result.output
    assert "Traceback" not in result.output


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_said():
    said = fails("run", "openmic-transfer", "--device", "cuda")
    assert said == "PyTorch finds no CUDA device here; run on the CPU with --device cpu"


def test_the_paper_profile_without_the_data_names_the_command_and_the_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("REPRISE_DATA", str(tmp_path / "data"))
    said = fails("run", "openmic-transfer", "--corpus", "openmic-2018", "--profile", "paper", "--runs", tmp_path / "r")
    assert said == (
        f"openmic-2018 is not in {tmp_path / 'data' / 'openmic-2018'}: run `reprise data fetch openmic-2018`, "
        "or set REPRISE_DATA to the folder that holds it"
    )


@pytest.fixture
def published_tree(tmp_path, monkeypatch) -> Path:
    """A tiny corpus in the published layout where the published one is looked for, and no weights."""
    make_tree(tmp_path / "data" / "openmic-2018", clips=48)
    monkeypatch.setenv("REPRISE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "data" / "openmic-2018"


@pytest.mark.parametrize(("arm", "network"), [("resnet_fc", "resnet50"), ("vggish_fc", "vggish")])
def test_the_paper_profile_without_weights_names_the_ways_to_get_them(published_tree, tmp_path, arm, network):
    said = fails("run", "openmic-transfer", "--profile", "paper", "--arm", arm, "--runs", tmp_path / "runs")
    assert said.startswith(f"the published weights of {network} are not here ({tmp_path / 'torch'}")
    assert said.endswith(
        f"run `reprise data fetch {network}`, name a file with --weights {network}=FILE, "
        "or train from random ones with --weights random"
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"there is no weights file .*given\.pth; check the path given with --weights"),
        (b"not weights", r".*given\.pth cannot be read as weights; give a state dict as \.pth or \.safetensors"),
        ({"fc.weight": torch.zeros(20, 2048)}, r".*given\.pth holds the weights of another network \("),
    ],
)
def test_weights_files_that_cannot_be_used_are_said(published_tree, tmp_path, content, message):
    path = tmp_path / "given.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    said = fails("run", "openmic-transfer", "--profile", "paper", *ONE_ARM, "--weights", f"resnet50={path}")
    assert re.match(message, said), said


def test_weights_of_one_network_leave_the_other_as_the_profile_says(pocket, tmp_path, monkeypatch):
    said = fails("run", "openmic-transfer", "--corpus", POCKET, "--arm", "resnet_fc", "--weights", "resnet50=no=file",
                 "--runs", tmp_path)  # fmt: skip
    assert re.match(r"there is no weights file \S+/no=file; ", said)
    given = cli._weights(["vggish=published"], {"resnet50": "random", "vggish": "random"})
    assert given == {"resnet50": "random", "vggish": "published"}
    monkeypatch.chdir(tmp_path)
    Path("a=b.pth").touch()
    assert cli._weights(["a=b.pth"], {"only": "published"}) == {"only": str(tmp_path / "a=b.pth")}


def test_a_home_that_cannot_be_written_is_said(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("REPRISE_HOME", str(tmp_path / "file" / "home"))
    said = fails("data", "make", "pocket-openmic")
    assert re.search(r"cannot write .*/file/home/.*: .*choose another folder", said), said


def test_verify_of_a_folder_without_trials(tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere"):
        assert fails("verify", folder) == f"{folder} holds no finished trial (no record.json); run it to its end first"


def test_reports_and_results_without_records(tmp_path):
    runs, results = tmp_path / "runs", tmp_path / "results"
    nothing = f"there is no finished trial under {runs}; make some with `reprise run STUDY`"
    of_study = (
        f"there is no finished trial under {runs}/openmic_transfer; make some with `reprise run openmic_transfer`"
    )
    not_kept = f"nothing is kept under {results}; `reprise keep STUDY` does it"
    for arguments, message in (
        (("report", "--runs", runs), nothing),
        (("report", "openmic-transfer", "--runs", runs), of_study),
        (("traps", "openmic-transfer", "--runs", runs), of_study),
        (("traps", "openmic-transfer", "--kept", "--results", results), not_kept.replace(";", " of openmic_transfer;")),
        (("keep", "openmic-transfer", "--from", runs, "--results", results), of_study),
        (("keep", "opnmic", "--from", runs), "there is no study 'opnmic'; there are "),
        (("keep", "--from", runs, "--results", results), "say which study to keep, as in `reprise keep STUDY`; "),
        (("keep", "--again", "--results", results), not_kept),
        (("report", "--check", "--results", results), not_kept),
        (("report", "openmic-transfer", "--check"), "--check is of all results at once; leave the studies out"),
    ):
        assert fails(*arguments).startswith(message)
    assert not results.exists()


def test_a_kept_record_that_is_damaged_is_said_with_its_way_out(tmp_path):
    path = tmp_path / "openmic_transfer" / "pocket-openmic-pocket" / "records" / "resnet_fc" / "seed-0" / "record.json"
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    said = f"{path} is damaged (it lacks format); restore it from git, or from where you have the results from"
    assert fails("figures", "openmic-transfer", "--results", tmp_path, "--out", tmp_path / "figures") == said
    assert fails("regression", "openmic-transfer", "--results", tmp_path) == said
    assert fails("report", "--check", "--results", tmp_path) == said


#: As CONTRIBUTING.md says: what a study of one arm needs, and nothing else.
NEW_STUDY = {
    "__init__.py": "",
    "README.md": "# One arm",
    "study.toml": """
[paper]
title = "One arm"
year = 2024
summary = "Does it hear anything?"
[protocol]
corpus = "openmic-2018"
split = "random-80-15-5"
weights = "random"
batch_size = 16
epochs = 1
[scores]
main = "map_masked"
history = ["map_masked"]
[profile.pocket]
corpus = "pocket-openmic"
[condition.paper]
title = "as published"
note = "As in the paper."
[[arm]]
name = "linear"
title = "Linear layer"
network = "vggish"
trainable = ["head"]
parameters = 2_580
""",
    "study.py": """
from functools import partial

import torch

from harness import features
from harness.models import vggish
from harness.report.standard import figures, tables
from harness.studies.networks import ModelSpec, expected, prepare, train
from harness.training import masked_bce


def build(arm, corpus, protocol):
    front_end = features.front_end("vggish", time_pool=10)
    return ModelSpec(
        network=vggish(len(corpus.classes), patches=front_end.shape(corpus.seconds)[0]),
        front_end=front_end,
        optimizer=lambda network: torch.optim.Adam([p for p in network.parameters() if p.requires_grad]),
        scheduler=None,
        loss=partial(masked_bce, missing="masked"),
    )


def explain(study, records, folder, *, jobs=None):
    return {}
""",
}


def test_a_study_is_one_folder(pocket, tmp_path, monkeypatch):
    folder = tmp_path / "replications" / "one_arm"
    folder.mkdir(parents=True)
    for name, text in NEW_STUDY.items():
        (folder / name).write_text(text)
    monkeypatch.setattr(replications, "__path__", [*replications.__path__, str(folder.parent)])
    for module in (executor, networks):  # other processes do not look for studies here
        monkeypatch.setattr(module, "in_workers", lambda task, items, jobs, show: [task(i, show) for i in items])
    runs, results = tmp_path / "runs", tmp_path / "results"
    try:
        for arguments in (
            ("run", "one-arm", "--corpus", pocket, "--runs", runs),
            ("traps", "one-arm", "--runs", runs),
            ("report", "one-arm", "--runs", runs),
            ("keep", "one-arm", "--from", runs, "--results", results),
            ("figures", "one-arm", "--results", results, "--out", tmp_path / "figures"),
        ):
            result = reprise(*arguments)
            assert result.exit_code == 0, result.output
    finally:
        for name in [n for n in sys.modules if n.startswith("replications.one_arm")]:
            del sys.modules[name]
    place = Path("one_arm") / f"{pocket}-pocket"
    (record,) = records.find_records(runs)
    assert record.history()["map_masked"].dtype == float
    assert (runs / place / "traps" / "linear" / "traps.csv").exists()
    for folder in (runs / place / "report", results / place):
        assert (folder / "training_curves.png").exists()
        assert (folder / "traps" / "traps.csv").exists()
    assert f"[one\\_arm/{pocket}-pocket]({place}/README.md)" in (results / "README.md").read_text(encoding="utf-8")
    assert list((tmp_path / "figures" / place).rglob("*.pdf"))


def test_a_run_leaves_tables_figures_a_gallery_and_a_page(played: Played):
    out = played.out / "openmic_transfer" / f"{POCKET}-pocket"
    for table in ("table_I", "table_II", "table_III", "table_IV", "usual_test"):
        for suffix in (".csv", ".md", ".tex"):
            assert (out / f"{table}{suffix}").stat().st_size > 100
    for figure in ("label_counts", "scores", "training_curves", "per_class_f1", "confusion_resnet_fc",
                   "confusion_vggish_fc"):  # fmt: skip
        assert (out / f"{figure}.png").read_bytes().startswith(b"\x89PNG")
        assert (out / f"{figure}.pdf").read_bytes().startswith(b"%PDF")
    page = (out / "README.md").read_text(encoding="utf-8")
    assert "Not a replication of the published values" in page
    for linked in re.findall(r"\]\(([^)]+)\)", page):
        assert (out / linked).exists(), linked
    gallery = (out / "explained" / "gallery" / "index.html").read_text(encoding="utf-8")
    assert gallery.count("<audio") >= 8
    assert len(list((out / "explained" / "gallery").glob("*.png"))) == 16  # eight clips, two networks
    assert "Table III: ResNet-50 on the test part, ours beside the paper's" in played.output


def test_the_numbers_of_the_tables_are_those_of_the_records(played: Played):
    out = played.out / "openmic_transfer" / f"{POCKET}-pocket"
    found = {r.arm: r for r in records.find_records(played.runs)}
    assert set(found) == {"resnet_fc", "vggish_fc"}
    for table, part in (("I", "valid"), ("II", "valid"), ("III", "test"), ("IV", "test")):
        rows = pd.read_csv(out / f"table_{table}.csv")
        assert set(rows["corpus"]) == {POCKET}
        assert set(rows["part"]) == {part}
        ours = rows.dropna(subset="ours_paper")
        assert len(ours) == 3
        for row in ours.itertuples():
            assert row.ours_paper == pytest.approx(found[row.arm].data["metrics"][part][row.metric], abs=1e-6)
            assert row.parameters.startswith(f"{found[row.arm].data['parameters']['trainable']:,}")
    with open(out / "table_III.csv", encoding="utf-8", newline="") as file:
        published = {(row["arm"], row["metric"]): row["published"] for row in csv.DictReader(file)}
    assert published["resnet_full", "f1_macro_unmasked"] == "0.5433"


@pytest.fixture(scope="module")
def kept_results(played: Played, pocket_home, tmp_path_factory) -> Path:
    """Results that the run was kept in."""
    results = tmp_path_factory.mktemp("kept") / "results"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REPRISE_HOME", str(pocket_home))
        result = reprise("keep", "openmic-transfer", "--from", played.runs, "--results", results)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(
        f"openmic_transfer/{POCKET}-pocket: 2 trials\n  new: resnet_fc/seed-0, vggish_fc/seed-0\n  files new: README.md"
    )
    return results


def test_what_is_kept_gives_the_same_numbers(kept_results, played: Played, pocket):
    out, results = (folder / "openmic_transfer" / f"{POCKET}-pocket" for folder in (played.out, kept_results))
    for name in ("table_I.csv", "table_IV.md", "traps/traps.csv", "scores.png", "explained/gallery/index.html"):
        assert (results / name).read_bytes() == (out / name).read_bytes()
    assert reprise("verify", results).output.count("sound without its weights: ") == 2


def test_pages_are_made_again_from_what_is_kept(kept_results, pocket, tmp_path):
    results = Path(shutil.copytree(kept_results, tmp_path / "results"))
    (table,) = results.rglob("table_III.csv")
    table.write_text("stale")
    (page,) = results.glob("README.md")
    page.unlink()
    result = reprise("keep", "--again", "--results", results)
    assert result.exit_code == 0, result.output
    assert "  files replaced: table_III.csv\n" in result.output
    for path in (p for p in kept_results.rglob("*") if p.is_file()):
        assert (results / path.relative_to(kept_results)).read_bytes() == path.read_bytes(), path


def test_a_stale_number_is_named(kept_results, pocket, tmp_path):
    results = Path(shutil.copytree(kept_results, tmp_path / "results"))
    check = ("report", "--check", "--results", results)
    result = reprise(*check)
    assert result.exit_code == 0, result.output
    assert f"{results}: every table and page is what the kept records give" in result.output
    (table,) = results.rglob("table_III.csv")
    lines = table.read_text().splitlines()
    column = lines[0].split(",").index("ours_paper")
    cells = lines[1].split(",")
    cells[column] = "0.987654"
    table.write_text("\n".join([lines[0], ",".join(cells), *lines[2:]]) + "\n")
    result = reprise(*check)
    assert "1 places in" in result.stderr
    assert "table_III.csv" in result.stdout
    assert "0.987654" in table.read_text()  # nothing was written


def test_no_other_command_changes_results(kept_results, played: Played, pocket, tmp_path, monkeypatch):
    runs = Path(shutil.copytree(played.runs, tmp_path / "runs"))
    shutil.copytree(kept_results, tmp_path / "results")
    monkeypatch.chdir(tmp_path)  # where all defaults lead

    def content(folder: str) -> dict[Path, bytes]:
        return {p: p.read_bytes() for p in sorted(Path(folder).rglob("*")) if p.is_file()}

    before = content("results")
    shutil.rmtree(runs / "openmic_transfer" / f"{POCKET}-pocket" / "vggish_fc")
    for arguments in (
        ("run", "openmic-transfer", "--corpus", POCKET, *ONE_ARM),
        ("report",),
        ("traps", "openmic-transfer"),
        ("traps", "openmic-transfer", "--kept"),
        ("regression", "openmic-transfer", "--runs", "runs"),
        ("figures",),
        ("keep", "openmic-transfer", "--dry-run"),
    ):
        reprise(*arguments)
        assert content("results") == before, arguments
    place = Path("runs") / "openmic_transfer" / f"{POCKET}-pocket"
    assert {p.name for p in place.iterdir()} >= {"explained", "report", "resnet_fc", "traps"}
    said = reprise("keep", "openmic-transfer").stdout
    assert "  unchanged: resnet_fc/seed-0\n  kept, not run again: vggish_fc/seed-0\n" in said
    assert len(records.find_records(Path("results"))) == 2


def test_verify_finds_every_trial_sound_until_a_byte_changes(played: Played, tmp_path):
    result = reprise("verify", played.runs)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert len(lines) == 2
    assert all(re.fullmatch(r"sound: \S+/seed-0  \(test f1_macro_unmasked 0\.\d{4}\)", line) for line in lines)
    copy = shutil.copytree(played.runs, tmp_path / "runs")
    path = next(copy.rglob("predictions.npz"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert (
        fails("verify", copy)
        == f"{path} was changed after the record was written; remove the trial's folder and run it again"
    )


def test_a_run_with_another_protocol_in_the_same_folder_is_refused(played: Played, pocket):
    said = fails("run", "openmic-transfer", "--corpus", POCKET, *ONE_ARM, "--runs", played.runs, "--bf16")
    assert re.search(r"resnet_fc/seed-0 holds a trial with another protocol \(bf16: False, now True\); choose ", said)


def test_bad_audio_stops_the_run_with_a_list_unless_it_is_to_be_left_out(pocket_home, tmp_path, monkeypatch):
    root = tmp_path / "data" / "openmic-2018"
    with monkeypatch.context() as patch:
        patch.setenv("REPRISE_HOME", str(pocket_home))
        whole = corpora.load(POCKET)
    shutil.copytree(whole.root, root, ignore=shutil.ignore_patterns("ground_truth", "vggish"))
    monkeypatch.setenv("REPRISE_DATA", str(root.parent))
    split = whole.split("random-80-15-5").rows
    bad = {part: whole.clips["key"].iloc[rows[0]] for part, rows in split.items()}
    paths = {part: root / "audio" / key[:3] / f"{key}.ogg" for part, key in bad.items()}
    paths["train"].write_bytes(paths["train"].read_bytes()[:20_000])
    paths["valid"].unlink()
    paths["test"].write_text("not audio")
    folders = ("--runs", tmp_path / "runs", "--out", tmp_path / "out")
    run = ("run", "openmic-transfer", "--corpus", "openmic-2018", *ONE_ARM, *folders)

    said = fails(*run)
    assert said.startswith(f"3 of {CLIPS} audio files of openmic-2018 cannot be used; put sound copies in their place,")
    assert "or use --skip-bad" in said
    for key in bad.values():
        assert f"\n  {key} " in said
    assert not (tmp_path / "runs").exists()

    result = reprise(*run, "--skip-bad")
    assert result.exit_code == 0, result.output
    (record,) = records.find_records(tmp_path / "runs")
    records.verify(record.folder)
    left_out = record.data["inputs"]["left_out"]
    assert set(left_out) == set(bad.values())
    assert "missing" in left_out[bad["valid"]] or "no such file" in left_out[bad["valid"]]
    assert record.data["split"]["sizes"] == {part: len(rows) - 1 for part, rows in split.items()}
    for part in records.PARTS:
        assert bad[part] not in record.predictions(part).keys
    out = tmp_path / "out" / "openmic_transfer" / "openmic-2018-pocket"
    assert (out / "explained" / "gallery" / "index.html").is_file()
    assert not (out / "explained" / "explanations_test.csv").exists()  # where the instruments sound is not known
    page = (out / "README.md").read_text(encoding="utf-8")
    (said,) = set(re.findall(r"Not a replication of the published values: (.*?)\.", page))
    assert {"3 clips left out", "profile pocket", "other weights than published"} <= set(said.split("; "))


@pytest.fixture
def faulty_gtzan(tmp_path, monkeypatch) -> Path:
    """Folder of the genres of a partial GTZAN: two tracks, each a second time under another genre, and a text."""
    folder = tmp_path / "data" / "gtzan" / "genres"
    monkeypatch.setenv("REPRISE_DATA", str(tmp_path / "data"))
    for number in (0, 1):
        noise = np.random.default_rng(number).normal(0, 2000, 661_794).astype(np.int16)
        file = io.BytesIO()
        soundfile.write(file, noise, 22050, format="WAV", subtype="PCM_16")
        for genre in ("blues", "rock"):
            write_track(folder, genre, number, file.getvalue())
    write_track(folder, "jazz", 54, b"[not] audio")
    return folder


def test_data_audit_lists_what_it_found(faulty_gtzan, tmp_path, monkeypatch):
    monkeypatch.setattr(cli, "ROWS_SHOWN", 1)
    out = tmp_path / "findings" / "gtzan.csv"
    result = reprise("data", "audit", "gtzan", "--jobs", "1", "--out", out)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1] == (
        "gtzan: 4 clips, 2 of them searched for near duplicates; "
        "exact duplicates: 2, label conflicts: 2, unusable files: 1"
    )
    assert re.search(r"blues\.00000\W+rock\.00000\W+30\.01\W", result.stdout)
    assert "blues.00001" not in result.stdout
    assert result.stdout.count("and 1 more; --out FILE.csv writes them all") == 2
    rows = pd.read_csv(out, keep_default_na=False)
    assert rows[["kind", "key", "other"]].values.tolist() == [
        ["exact duplicates", "blues.00000", "rock.00000"],
        ["exact duplicates", "blues.00001", "rock.00001"],
        ["label conflicts", "blues.00000", "rock.00000"],
        ["label conflicts", "blues.00001", "rock.00001"],
        ["unusable files", "jazz/jazz.00054.wav", ""],
    ]
    assert rows["details"][3] == "differing 2; labels blues; other_labels rock"


def test_data_audit_of_sound_audio_says_so(faulty_gtzan):
    for name in ("rock/rock.00000.wav", "rock/rock.00001.wav", "jazz/jazz.00054.wav"):
        (faulty_gtzan / name).unlink()
    result = reprise("data", "audit", "gtzan", "--jobs", "1")
    assert result.stdout == "gtzan: 2 clips, 2 of them searched for near duplicates; nothing found\n"


def test_data_audit_of_what_is_not_here_names_the_way(tmp_path, monkeypatch):
    monkeypatch.setenv("REPRISE_DATA", str(tmp_path))
    assert "`reprise data fetch gtzan`" in fails("data", "audit", "gtzan")
    assert fails("data", "audit", "gtzn").startswith("there is no corpus 'gtzn'")
