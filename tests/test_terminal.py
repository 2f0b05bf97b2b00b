"""What is said in a terminal."""

import multiprocessing

from harness.terminal import tell_once


def test_a_remark_is_made_once(capfd):
    for line in ("left out a", "left out b", "left out a"):
        tell_once(line)
    assert capfd.readouterr().err == "left out a\nleft out b\n"


def test_workers_say_nothing(capfd):
    process = multiprocessing.get_context("spawn").Process(target=tell_once, args=("from a worker",))
    process.start()
    process.join()
    assert process.exitcode == 0
    assert capfd.readouterr().err == ""
