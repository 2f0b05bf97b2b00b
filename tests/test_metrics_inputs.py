"""Whatever arrays people have is either read rightly or refused in a sentence that says what to do."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from harness.metrics import multiclass, multilabel, validate
from harness.metrics.table import TASKS

LABELS, ONE_EACH = [[1, 0], [0, 1], [1, 1]], [[1, 0], [0, 1], [0, 1]]
PROBABILITIES = [[0.9, 0.1], [0.25, 0.75], [0.4, 0.6]]
BOTH = {"multilabel": LABELS, "multiclass": ONE_EACH}
NAMES = ["flute", "voice"]
by_task = pytest.mark.parametrize("task", TASKS)


def assert_read(task: str, labels: Any, probabilities: Any, mask: Any = None, threshold: Any = 0.5) -> None:
    found = validate(task, labels, probabilities, mask, threshold)
    assert [array.dtype for array in found[:3]] == [bool, np.float64, bool]
    np.testing.assert_array_equal(found.labels, BOTH[task])
    np.testing.assert_array_equal(found.probabilities, PROBABILITIES)
    assert found.mask.all()


@by_task
@pytest.mark.parametrize(
    "as_given",
    [
        list,
        lambda rows: [tuple(row) for row in rows],
        lambda rows: pd.DataFrame(rows, columns=NAMES),
        lambda rows: pd.DataFrame(rows, columns=NAMES).astype("Float64"),
        lambda rows: np.array(rows, dtype=object),
        lambda rows: torch.tensor(rows, dtype=torch.float64),
        lambda rows: scipy.sparse.csr_matrix(rows),
        lambda rows: scipy.sparse.coo_array(rows),
        lambda rows: np.asfortranarray(rows)[:, :],
    ],
    ids=["lists", "tuples", "frame", "nullable", "object", "torch", "csr", "coo", "fortran"],
)
def test_whatever_holds_numbers_is_read(task: str, as_given: Any) -> None:
    assert_read(task, as_given(BOTH[task]), as_given(PROBABILITIES))
    assert_read(task, as_given(BOTH[task]), as_given(PROBABILITIES), as_given([[1, 1]] * 3), pd.Series([0.2, 1]))
    assert_read(task, np.array(BOTH[task], dtype=bool), PROBABILITIES, np.ones((3, 2), np.int8), [0.0, 1.0])


def test_frames_of_mixed_columns_are_read() -> None:
    assert_read("multilabel", pd.DataFrame({"flute": [1, 0, 1], "voice": [False, True, True]}), PROBABILITIES)


def test_decisions_count_as_certain_and_rounding_does_no_harm() -> None:
    found = validate("multilabel", LABELS, np.array(LABELS, dtype=bool))
    np.testing.assert_array_equal(found.probabilities, LABELS)
    found = validate("multiclass", [0], np.array([[1 + 1e-7, -1e-7]]))
    np.testing.assert_array_equal(found.probabilities, [[1, 0]])


@pytest.mark.parametrize("numbers", [[0, 1, 1], np.array([0.0, 1.0, 1.0]), pd.Series([0, 1, 1]), [False, True, True]])
def test_class_numbers_are_labels_of_one_class_each(numbers: Any) -> None:
    assert_read("multiclass", numbers, PROBABILITIES)
    assert_read("multiclass", numbers, PROBABILITIES, [1, 1, 1])
    assert multiclass.evaluate(numbers, PROBABILITIES) == multiclass.evaluate(ONE_EACH, PROBABILITIES)


FRAME = pd.DataFrame(PROBABILITIES, columns=NAMES, index=["a", "b", "c"])
SEEN = pd.DataFrame(ONE_EACH, columns=NAMES, index=["a", "b", "c"])
MASKED = np.ma.array(ONE_EACH, mask=[[0, 1], [0, 0], [0, 0]])


@by_task
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((ONE_EACH, [[0.1, 0.9]]), r"probabilities must have the shape of the labels, \(3, 2\), not \(1, 2\)"),
        ((ONE_EACH, PROBABILITIES, [[1]]), r"mask must have the shape of the labels, \(3, 2\), not \(1, 1\)"),
        (([[[1, 0]]], [[[0.3, 0.7]]]), r"labels must have the shape \(clips, classes\), not \(1, 1, 2\)"),
        ((1, 0.5), r"labels must have the shape \(clips, classes\), not \(\)"),
        (([], []), r"nothing to score: the labels have the shape \(0,\)"),
        (([], np.zeros((0, 2))), "nothing to score"),
        ((np.zeros((0, 3)), np.zeros((0, 3))), "nothing to score"),
        ((np.zeros((3, 0)), np.zeros((3, 0))), "nothing to score"),
        (
            ([[1, 2]], [[0.1, 0.9]]),
            "labels must hold only 0 and 1, but row 0 holds 2; where a label is missing give 0,",
        ),
        (([[1, 0], [-1, 1]], [[0.1, 0.9]] * 2), "labels must hold only 0 and 1, but row 1 holds -1; .* and a mask"),
        (([[1, np.nan]], [[0.1, 0.9]]), "labels must hold only 0 and 1, but row 0 holds nan"),
        (([[1, 0]], [[0.1, 0.9]], [[1, 0.5]]), "mask must hold only 0 and 1, but row 0 holds 0.5; give 1 where"),
        (([[1, 0]], [[0.1, np.nan]]), "probabilities must be numbers, but 1 are NaN; predict those clips again"),
        (
            ([[1, 0]], [[-3.0, 2.5]]),
            r"in \[0, 1\], but they reach from -3 to 2.5; these look like logits: apply a s\w+",
        ),
        (([[1, 0]], [[0, np.inf]]), r"in \[0, 1\], but they reach from 0 to inf"),
        ((MASKED, PROBABILITIES), r"labels must not be a masked array; give labels.filled\(0\), and mask=~numpy.ma"),
        ((ONE_EACH, np.ma.array(PROBABILITIES)), r"probabilities must not be a masked array; give its \.data"),
        ((ONE_EACH, np.array(PROBABILITIES, complex)), "probabilities must be real numbers, not complex128; give one"),
        (([[1, 0], [1]], [[0.1, 0.9]] * 2), "labels must have rows of one length, one number for each class"),
        ((ONE_EACH, [[0.1, 0.9], [0.1]]), "probabilities must have rows of one length, one number for each class"),
        (([["flute"], ["voice"]], [[0.1], [0.2]]), "labels must be real numbers, not text; give 0 or 1 for each class"),
        ((["a", "b", "b"], PROBABILITIES), "labels must be real numbers, not text; .* the number of each clip's class"),
        ((ONE_EACH, [["0.1", "0.9"]] * 3), "probabilities must be real numbers, not text; give one probability for"),
        (([[1, None]], [[0.1, 0.9]]), "labels must be numbers, but hold None; give 0 or 1"),
        ((SEEN.reset_index(), FRAME), "labels must be numbers, but hold 'a'; give 0 or 1 for each class and no other"),
        ((SEEN, FRAME.reset_index()), "probabilities must be numbers, but hold 'a'; give one probability"),
        ((SEEN.astype("Int64").where(SEEN == 1), FRAME), "labels must be numbers, but hold <NA>"),
        (
            (SEEN, FRAME[NAMES[::-1]]),
            r"probabilities and labels have their columns in different .* \w+\[labels.columns\]",
        ),
        (
            (SEEN, FRAME.loc[["c", "a", "b"]]),
            r"their index in different orders; give probabilities.loc\[labels.index\]",
        ),
        ((SEEN, FRAME, SEEN[NAMES[::-1]]), "mask and labels have their columns in different orders"),
        ((ONE_EACH, torch.ones(3, 2, requires_grad=True)), "probabilities cannot be read as an array: .*detach"),
        ((ONE_EACH, PROBABILITIES, None, np.nan), r"threshold must lie in \[0, 1\], not nan; give a number"),
        ((ONE_EACH, PROBABILITIES, None, 1.5), r"threshold must lie in \[0, 1\], not 1.5"),
        ((ONE_EACH, PROBABILITIES, None, [0.5, -0.1]), r"threshold must lie in \[0, 1\], not -0.1"),
        ((ONE_EACH, PROBABILITIES, None, [0.5, np.nan]), r"threshold must lie in \[0, 1\], not nan"),
        ((ONE_EACH, PROBABILITIES, None, [0.5] * 3), r"one number, or 2, one for each class, not of shape \(3,\)"),
        ((ONE_EACH, PROBABILITIES, None, "0.5"), "threshold must be real numbers, not text"),
        ((ONE_EACH, PROBABILITIES, None, None), "threshold must be numbers, but hold None"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_way_out(task: str, arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        validate(task, *arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[1, 0]], [[0.3, 0.7]], [[1, 0]]), "every label must be observed, but 1 are masked; leave those clips out"),
        (([[1, 0], [1, 1]], [[0.3, 0.7]] * 2), "must have one class, but row 1 has 2; .* the task is multilabel"),
        (([[1, 0], [0, 0]], [[0.3, 0.7]] * 2), "every clip must have one class, but row 1 has 0"),
        (([[1, 0], [1, 0]], [[0.3, 0.7], [0.9, 0.7]]), "add up to 1, but those of row 1 give 1.6; apply a softmax, or"),
        (([0, 2], [[0.3, 0.7]] * 2), "class numbers must be whole and from 0 to 1, but row 1 holds 2"),
        (([0, -1], [[0.3, 0.7]] * 2), "from 0 to 1, but row 1 holds -1"),
        (([0, 0.5], [[0.3, 0.7]] * 2), "class numbers must be whole"),
        (([0, np.nan], [[0.3, 0.7]] * 2), "but row 1 holds nan"),
        (([0, 1, 1], [[0.3, 0.7]] * 2), r"must have the shape of the labels, \(3, 2\), not \(2, 2\)"),
        (([0, 1], [[0.3, 0.7]] * 2, [1, 0]), "every label must be observed, but 2 are masked"),
    ],
)
def test_what_is_not_of_one_class_is_refused(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        validate("multiclass", *arguments)


def test_labels_of_one_class_alone_need_a_column() -> None:
    with pytest.raises(ValueError, match=r"not \(2,\); of one class alone give labels\[:, None\]"):
        validate("multilabel", [1, 0], [0.3, 0.7])
    with pytest.raises(ValueError, match="no task 'binary'; choose multilabel or multiclass"):
        validate("binary", [[1]], [[0.3]])


@by_task
def test_scoring_checks_what_it_is_given(task: str) -> None:
    module = {"multilabel": multilabel, "multiclass": multiclass}[task]
    with pytest.raises(ValueError, match="these look like logits"):
        module.evaluate(ONE_EACH, [[1.5, -2]] * 3)
    with pytest.raises(ValueError, match="threshold must lie in"):
        module.evaluate(ONE_EACH, PROBABILITIES, threshold=np.nan)


numbers = st.sampled_from([0.0, 1.0]) | st.floats(allow_subnormal=False)
arrays = hnp.arrays(st.sampled_from([bool, np.int8, np.float32, np.float64]), hnp.array_shapes(min_dims=0, min_side=0))


@by_task
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_any_array_is_read_rightly_or_refused(task: str, data: st.DataObject) -> None:
    shape = data.draw(hnp.array_shapes(max_dims=2, min_side=0, max_side=3) | st.just((2, 2)))
    alike = hnp.arrays(np.float64, shape, elements=st.sampled_from([0.0, 1.0, 0.5])) | arrays
    given_ = [data.draw(alike) for _ in range(3)] + [data.draw(numbers | arrays)]
    try:
        labels, probabilities, mask, threshold = validate(task, *given_)
    except ValueError:
        return
    assert labels.shape == probabilities.shape == mask.shape
    assert not (labels & ~mask).any()
    assert ((probabilities >= 0) & (probabilities <= 1)).all()
    assert np.shape(threshold) in ((), labels.shape[1:])
    assert ((threshold >= np.zeros(labels.shape[1])) & (threshold <= 1)).all()
    if task == "multiclass":
        assert (labels.sum(axis=1) == 1).all()
