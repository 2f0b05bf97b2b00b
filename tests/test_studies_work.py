"""Tasks in other processes: all of them run, what they say is heard, and no failure hides another."""

import os
import time

import pytest

from harness.errors import RepriseError
from harness.studies.work import in_workers


def square(number: int, report) -> None:
    report((os.getpid(), number**2))


def fail_on_odd(number: int, report) -> None:
    if number % 2:
        raise RepriseError(f"{number} is odd")
    report(number)


def die(number: int, report) -> None:
    report("about to die")
    time.sleep(0.3)  # the report leaves through a thread of its own
    os._exit(1)


def test_every_item_is_worked_on_in_another_process_and_heard():
    heard = []
    in_workers(square, [1, 2, 3, 4, 5], 2, heard.append)
    assert sorted(value for _, value in heard) == [1, 4, 9, 16, 25]
    assert os.getpid() not in {process for process, _ in heard}


def test_failures_are_told_together_when_the_others_are_done():
    heard = []
    with pytest.raises(RepriseError, match=r"^(1|3) is odd\n(1|3) is odd$"):
        in_workers(fail_on_odd, [1, 2, 3, 4], 2, heard.append)
    assert sorted(heard) == [2, 4]


def test_a_process_that_dies_is_said_with_the_way_out():
    heard = []
    with pytest.raises(RepriseError, match=r"a training process died.*--jobs 1"):
        in_workers(die, [1], 1, heard.append)
    assert heard == ["about to die"]
