"""Claims as data: what is read, what is refused, and that the five studies state theirs soundly."""

from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from harness.errors import RepriseError
from harness.studies import claims
from harness.studies import study as studies
from harness.studies.claims import FAILS, HOLDS, UNDECIDED, Claim, decide
from harness.studies.study import Study


@pytest.fixture(scope="module", params=studies.names())
def each(request: pytest.FixtureRequest) -> Study:
    return studies.load(request.param)


def test_every_printed_value_is_a_claim_with_a_reason_for_its_margin(each: Study) -> None:
    cells = claims.cells(each)
    assert [(c.above, c.metric, c.part, c.value) for c in cells] == [
        ((row["arm"],), row["metric"], row["split"], row["value"]) for row in each.published
    ]
    assert all(c.margin > 0 and len(c.margin_why) > 20 for c in cells)


def test_every_claim_says_where_it_stands_and_no_two_say_the_same(each: Study) -> None:
    found = claims.claims(each)
    assert all(c.where and c.text for c in found)
    said = [(c.table, c.text, c.metric) for c in found]
    assert len(set(said)) == len(said)
    assert {c.kind for c in found} <= set(claims.KINDS)


def test_every_check_is_used(each: Study) -> None:
    """A function of checks.py that takes a study decides a claim."""
    module = claims.checks(each) or ModuleType("none")
    own = {name for name, f in vars(module).items() if getattr(f, "__module__", "") == module.__name__ and callable(f)}
    used = {c.check for c in claims.claims(each) if c.kind == claims.TEXT}
    assert {name for name in own if not name.startswith("_")} - {"units"} == used


@pytest.mark.parametrize(
    ("name", "arm", "metric", "table", "margin"),
    [
        ("openmic_transfer", "vggish_full", "f1_macro_unmasked", "IV", 0.048),  # of all tables, by metric
        ("openmic_transfer", "resnet_fc_layer4", "jaccard_samples_unmasked", "III", 0.053),  # likewise
        ("irmas_activations", "han", "f1_macro_unmasked", "fig1", 0.035),  # of a table, by metric
    ],
)
def test_the_margin_is_the_nearest_stated(name: str, arm: str, metric: str, table: str, margin: float) -> None:
    (found,) = [c for c in claims.cells(studies.load(name)) if (c.above, c.metric, c.table) == ((arm,), metric, table)]
    assert found.margin == margin


def test_margins_are_as_wide_as_their_reasons_say() -> None:
    """The reasons give gaps between printed values: they are those."""
    printed = {(r["table"], r["arm"], r["metric"]): r["value"] for r in studies.load("openmic_transfer").published}
    for metric, gap in (
        ("f1_macro_unmasked", 0.097),
        ("f1_micro_unmasked", 0.095),
        ("jaccard_samples_unmasked", 0.106),
    ):
        assert printed["IV", "vggish_full", metric] - printed["III", "resnet_full", metric] == pytest.approx(
            gap, abs=6e-4
        )


def test_of_several_metrics_each_is_a_claim() -> None:
    found = [c for c in claims.orders(studies.load("openmic_transfer")) if c.above == ("vggish_full",) and c.spelt]
    assert [c.metric for c in found] == ["f1_macro_unmasked", "f1_micro_unmasked", "jaccard_samples_unmasked"]
    assert len({c.text for c in found}) == 1


ORDER = {
    "kind": "order", "above": "masked", "below": "base", "metric": "accuracy", "relation": "above", "where": "7",
    "text": "It wins",
}  # fmt: skip
VALUE = {
    "kind": "value", "arm": "base", "metric": "accuracy", "value": 0.7, "margin": 0.1, "margin_why": "say so",
    "where": "7", "text": "It has 0.7",
}  # fmt: skip


def read(entry: dict[str, Any]) -> list[Claim]:
    study = replace(studies.load("gtzan_cam"), claims=(entry,), published=())
    return claims.claims(study)


def test_what_is_read() -> None:
    (order,) = read(ORDER)
    assert (order.above, order.below, order.part, order.margin) == (("masked",), ("base",), "test", None)
    (value,) = read(VALUE | {"part": "valid"})
    assert (value.above, value.below, value.value, value.part) == (("base",), (), 0.7, "valid")
    (difference,) = read({**VALUE, "arm": "cam", "below": ["base", "masked"]})
    assert (difference.above, difference.below) == (("cam",), ("base", "masked"))


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (ORDER | {"kind": "ordering"}, "has the kind 'ordering'; choose one of value, order, text, not judged"),
        (ORDER | {"colour": "red"}, "cannot be understood .*colour"),
        (ORDER | {"above": "mask"}, "no arm of gtzan_cam named 'mask'"),
        ({k: v for k, v in ORDER.items() if k != "below"}, "names no arm above, or none below"),
        (ORDER | {"metric": "map_masked"}, "needs a multiclass metric, not 'map_masked'"),
        (ORDER | {"below_classes": ["jazz"]}, "needs a metric that is a mean over classes, not 'accuracy'"),
        (ORDER | {"relation": "over"}, "has the relation 'over'; choose one of above, at least, equal"),
        (ORDER | {"relation": "equal"}, "needs a margin above 0"),
        (ORDER | {"relation": "at least", "margin": 0}, "needs a margin above 0"),
        (ORDER | {"part": "train"}, "is of the part 'train'; choose valid or test, or name a history"),
        (VALUE | {"margin": -0.1}, "needs a margin above 0"),
        (VALUE | {"margin_why": ""}, "needs a value, and margin_why"),
        (VALUE | {"history": "train_accuracy", "epochs": "best"}, "takes the epochs 'best'; choose mean or last"),
        ({"kind": "text", "text": "So", "where": "7", "check": "nothing"}, "no check 'nothing'; write it in"),
        ({"kind": "not judged", "text": "So", "where": "7"}, "does not say why it is not judged"),
    ],
)
def test_what_makes_no_sense_is_refused(entry: dict[str, Any], said: str) -> None:
    with pytest.raises(RepriseError, match=said):
        read(entry)


def test_a_cell_without_a_margin_is_refused() -> None:
    study = studies.load("gtzan_cam")
    bare = tuple({k: v for k, v in row.items() if not k.startswith("margin")} for row in study.published)
    with pytest.raises(RepriseError, match="the value of base in table train needs a margin above 0"):
        claims.cells(replace(study, published=bare))


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.06, 0.2, HOLDS), (-0.2, 0.04, FAILS), (0.01, 0.2, UNDECIDED), (0.05, 0.2, UNDECIDED)],
)
def test_the_whole_interval_decides(low: float, high: float, verdict: str) -> None:
    found = decide("gain", (low + high) / 2, low, high, bound=0.05)
    assert found.verdict == verdict
    assert found.evidence.startswith("gain: ")
    assert "-" not in found.evidence


def test_a_study_without_checks_has_none(tmp_path: Path) -> None:
    assert claims.checks(replace(studies.load("gtzan_cam"), folder=tmp_path)) is None
