"""Look at the machine: what atled can compute with here, and what would make it slow."""

import importlib.util
import math
import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path

from atled.backends import protocol
from atled.errors import AtledError
from atled.train.versions import atled_version

__all__ = ["cgroup_limit", "doctor", "warnings_for"]

LIBRARIES = ("scipy", "rich", "safetensors", "matplotlib")
VARIABLES = (
    "OPENBLAS_CORETYPE", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS",
    "MKL_DEBUG_CPU_TYPE", "VECLIB_MAXIMUM_THREADS", "CUDA_VISIBLE_DEVICES",
)  # fmt: skip


def doctor() -> None:
    """Print what is found, and a warning for each setting that costs speed."""
    found = {
        "atled": f"{atled_version()}  ({Path(sys.modules['atled'].__file__ or '').parent})",
        "Python": f"{platform.python_implementation()} {platform.python_version()}  "
        f"({sys.executable})",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": _processor(),
        "cores": _cores(),
    }
    _print(found)
    print("\nbackends")
    _print(_backends(), "  ")
    print("\nsettings")
    _print(_settings(), "  ")
    complaints = warnings_for(os.environ, usable_cores())
    print()
    for text in complaints:
        print(f"warning: {text}")
    if not complaints:
        print("nothing here makes atled slow")


def usable_cores() -> int:
    """Return how many cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cgroup_limit(path: str = "/sys/fs/cgroup/cpu.max") -> float | None:
    """Return how many cores' time a container may use; None if there is no limit."""
    try:
        with open(path, encoding="ascii") as file:
            quota, period = file.read().split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None


def warnings_for(environment: Mapping[str, str], cores: int) -> list[str]:
    """Say what in the environment makes atled slow, and what to do.

    Args:
        environment: variables by name.
        cores: that the process may run on.
    """
    found = []
    kind = environment.get("OPENBLAS_CORETYPE")
    if kind:
        found.append(
            f"OPENBLAS_CORETYPE={kind} binds NumPy's matrix products to the kernels of that "
            "processor, at half the speed on a newer one; run with `env -u OPENBLAS_CORETYPE`"
        )
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        value = environment.get(name, "")
        if value == "1" and cores > 1:
            found.append(f"{name}=1 keeps large matrix products on one of {cores} cores; unset it")
        elif value.isdecimal() and int(value) > cores:
            found.append(
                f"{name}={value} asks for more threads than the {cores} cores there are; they "
                "wait for one another: unset it"
            )
    limit = cgroup_limit()
    if limit is not None and math.ceil(limit) < cores:
        found.append(
            f"the container may use {limit:g} of {cores} cores, and libraries start {cores} "
            f"threads; set OMP_NUM_THREADS={max(1, math.floor(limit))}"
        )
    if not protocol.is_installed("numpy"):
        found.append(
            "NumPy is not installed, so the python backend computes, some 30 times slower; "
            "pip install 'atled[standard]'"
        )
    elif importlib.util.find_spec("scipy") is None:
        found.append("SciPy is not installed; erf and lgamma are slower without it")
    return found


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _cores() -> str:
    text = f"{os.cpu_count()}, of which this process may use {usable_cores()}"
    limit = cgroup_limit()
    return text if limit is None else f"{text}; the container is limited to {limit:g}"


def _backends() -> dict[str, str]:
    """Return a line for each backend, installed or not; those that are get imported."""
    found = {}
    for name in protocol.names():
        try:
            facts = dict(protocol.load(name).describe())
        except (AtledError, ImportError) as error:
            found[name] = f"not there: {str(error).splitlines()[0]}"
            continue
        version = facts.pop("version", "")
        found[name] = "; ".join([version, *(f"{k}: {v}" for k, v in facts.items())])
    return found


def _settings() -> dict[str, str]:
    backend = protocol.current()
    found = {
        "default backend": backend.name,
        "default dtype": protocol.default_dtype(backend).name,
    }
    for name in LIBRARIES:
        if importlib.util.find_spec(name) is None:
            found[name] = "not installed"
    found |= {name: os.environ[name] for name in VARIABLES if name in os.environ}
    return found


def _print(facts: Mapping[str, str], indent: str = "") -> None:
    width = max(map(len, facts))
    for name, text in facts.items():
        print(f"{indent}{name:<{width}}  {text}")
