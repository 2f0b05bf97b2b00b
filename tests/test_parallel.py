"""Work in processes: in order, on one thread each, watched, and gone when nobody waits for it any more."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info

from harness.errors import RepriseError
from harness.parallel import cores, parallel_map, workers


def square(number: int) -> tuple[int, int]:
    time.sleep(0.05 * (number % 3 == 0))  # so that results are not ready in order
    return number**2, os.getpid()


def fail_at_three(number: int) -> int:
    if number == 3:
        raise RepriseError("three is no good; take another")
    if number == 7:
        raise ZeroDivisionError("seven")
    return number


def die_at_three(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def write_pid_and_sleep(folder: Path) -> None:
    (folder / str(os.getpid())).touch()
    time.sleep(60)


def threads(_: int) -> tuple[int, set[int]]:
    np.ones((200, 200)) @ np.ones((200, 200))
    return torch.get_num_threads(), {pool["num_threads"] for pool in threadpool_info()}


def variable(name: str) -> str | None:
    return os.environ.get(name)


def pid(_: int) -> int:
    return os.getpid()


def ended(process: int) -> bool:
    """Whether a process is no more; one that nobody has buried yet counts as ended."""
    try:
        os.kill(process, 0)
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except ProcessLookupError:
        return True
    except FileNotFoundError:  # ended just now, or a system without /proc
        return Path("/proc").exists()


def gone(pids: list[int], seconds: float = 10.0) -> bool:
    """Whether all processes end in that time."""
    end = time.monotonic() + seconds
    while not all(map(ended, pids)):
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.parametrize("jobs", [1, 2])
def test_results_come_in_the_items_order(jobs):
    results = list(parallel_map(square, range(12), description="squares", jobs=jobs))
    assert [value for value, _ in results] == [n**2 for n in range(12)]
    pids = {process for _, process in results}
    assert pids == {os.getpid()} if jobs == 1 else os.getpid() not in pids


def test_there_are_no_more_processes_than_items_and_no_items_are_fine():
    assert list(parallel_map(square, [], description="nothing", jobs=8)) == []
    assert list(parallel_map(square, [5], description="one", jobs=8)) == [(25, os.getpid())]
    assert 1 <= cores() <= os.cpu_count()


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize(
    ("items", "error", "text"),
    [(range(6), RepriseError, "three is no good; take another"), (range(5, 9), ZeroDivisionError, "seven")],
)
def test_a_workers_exception_arrives_as_it_was(jobs, items, error, text):
    seen = []
    with pytest.raises(error, match=text):
        seen.extend(parallel_map(fail_at_three, items, description="x", jobs=jobs))
    assert seen == list(items)[: len(seen)]


def test_a_dead_worker_is_said():
    with pytest.raises(RepriseError, match=r"^counting: a worker process died .*fewer processes \(--jobs\)$"):
        list(parallel_map(die_at_three, range(6), description="counting", jobs=2))


def test_a_hung_worker_is_given_up_and_stopped(tmp_path):
    list(parallel_map(pid, range(2), description="warming up", jobs=2))
    started = time.monotonic()
    with pytest.raises(RepriseError, match="waiting: a worker gave no answer in 10 s; run it again"):
        list(parallel_map(write_pid_and_sleep, [tmp_path] * 2, description="waiting", jobs=2, timeout=10))
    assert time.monotonic() - started < 30
    pids = [int(path.name) for path in tmp_path.iterdir()]
    assert pids
    assert gone(pids)


def test_workers_stop_when_the_caller_breaks_off(tmp_path):
    def break_off() -> None:
        with workers(2) as pool:
            for _ in range(6):
                pool.submit(write_pid_and_sleep, tmp_path)
            while len(list(tmp_path.iterdir())) < 2:
                time.sleep(0.01)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        break_off()
    assert gone([int(path.name) for path in tmp_path.iterdir()])


def test_workers_run_on_one_thread(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    for torch_threads, pools in parallel_map(threads, range(2), description="threads", jobs=2):
        assert torch_threads == 1
        assert pools == {1}
    assert "OMP_NUM_THREADS" not in os.environ


def test_workers_have_the_callers_environment_as_it_is_now(monkeypatch):
    for value in ("first", "second"):  # the server that workers are forked from started before the second, at least
        monkeypatch.setenv("REPRISE_HOME", value)
        with workers(1) as pool:
            assert pool.submit(variable, "REPRISE_HOME").result() == value
    monkeypatch.delenv("REPRISE_HOME")
    with workers(1) as pool:
        assert pool.submit(variable, "REPRISE_HOME").result() is None


def test_fresh_workers_do_one_task_each():
    with workers(2, fresh=True) as pool:
        assert len(set(pool.map(pid, range(4)))) == 4


PARENT = """
import sys
from pathlib import Path

sys.path.insert(0, {tests!r})
from harness.parallel import parallel_map
from test_parallel import write_pid_and_sleep

if __name__ == "__main__":
    list(parallel_map(write_pid_and_sleep, [Path({folder!r})] * 2, description="x", jobs=2))
"""


def test_workers_end_when_their_parent_is_killed(tmp_path):
    folder = tmp_path / "pids"
    folder.mkdir()
    script = tmp_path / "parent.py"
    script.write_text(PARENT.format(tests=str(Path(__file__).parent), folder=str(folder)))
    parent = subprocess.Popen([sys.executable, script], stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 60
        while len(pids := [int(path.name) for path in folder.iterdir()]) < 2:
            assert time.monotonic() < end
            assert parent.poll() is None
            time.sleep(0.02)
        assert not gone(pids, seconds=0.2)
    finally:
        parent.kill()
        parent.wait()
    assert gone(pids)
