"""What a number depends on besides the protocol: packages, code, machine."""

import importlib.metadata
import os
import platform
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

import harness

#: Packages whose version can move a result.
PACKAGES = (
    *("grad-cam", "librosa", "numpy", "pandas", "pretty_midi", "safetensors", "scikit-learn", "scipy"),
    *("soundfile", "soxr", "torch", "torchvggish", "torchvision"),
)


def describe(device: torch.device) -> dict[str, Any]:
    """Describe this process for the record.

    Parameters
    ----------
    device
        Where the networks run.

    Returns
    -------
    dict
        ``packages``, ``git`` (commit, or null outside a checkout, and whether the tree was clean), ``python``, ``os``,
        ``cpu``, ``simd`` (the widest instructions that PyTorch uses), ``threads``, ``device``, ``gpu``.
    """
    return {
        "reprise": harness.__version__,
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "git": _git(),
        "python": platform.python_version(),
        "os": platform.platform(),
        "cpu": _cpu(),
        "simd": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "device": device.type,
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
    }


def peak_memory(device: torch.device) -> dict[str, int | None]:
    """Most memory this process has held so far.

    Parameters
    ----------
    device
        Where the networks run.

    Returns
    -------
    dict
        ``host`` and ``device``, in bytes; ``device`` is null on the CPU.
    """
    unit = 1 if sys.platform == "darwin" else 1024
    host = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return {"host": host, "device": torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None}


def _git() -> dict[str, Any] | None:
    """Commit of the checkout this code runs from."""
    root = Path(harness.__file__).parents[1]
    if not (root / ".git").exists():
        return None
    try:
        commit, status = (
            subprocess.run(["git", "-C", root, *command], capture_output=True, text=True, check=True, timeout=20).stdout
            # What earlier runs wrote has no say in a trial.
            for command in (["rev-parse", "HEAD"], ["status", "--porcelain", "--", ".", ":!results", ":!runs"])
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return {"commit": commit.strip(), "clean": not status.strip()}


def _cpu() -> str:
    """Name of the processor and number of cores granted."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return f"{name}, {os.cpu_count()} cores"
