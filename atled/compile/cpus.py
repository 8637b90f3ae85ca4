"""How many processors this process may use: what the system, a container and the user allow."""

import math
import os
from pathlib import Path

__all__ = ["available"]


def available(root: Path = Path("/")) -> int:
    """Return the number of processors to use, at least 1.

    ``ATLED_NUM_THREADS`` decides where it is set. Otherwise the least of what the system's
    affinity mask allows and what a container's quota (cgroup v1 or v2) pays for, rounded up.

    Args:
        root: the directory under which ``proc`` and ``sys`` lie; the tests give their own.

    Raises:
        ValueError: ``ATLED_NUM_THREADS`` is not a whole number above zero.
    """
    asked = os.environ.get("ATLED_NUM_THREADS", "").strip()
    if asked:
        return _asked(asked)
    quota = _quota(root)
    return max(1, min(_affinity(), math.ceil(quota)) if quota else _affinity())


def _asked(text: str) -> int:
    """Return the number that the user asked for."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise ValueError(
            f"ATLED_NUM_THREADS is {text!r}, which is not a number of threads: "
            "set it to 1 or more, or unset it to use every processor that is available"
        )
    return number


def _affinity() -> int:
    """Return how many processors the system lets this process run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _quota(root: Path) -> float | None:
    """Return the processors that the tightest cgroup above this process pays for, if any."""
    found = []
    for line in _read(root / "proc/self/cgroup").splitlines():
        hierarchy, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if hierarchy == "0" and not controllers:
            found += [_quota_v2(folder) for folder in _upwards(root / "sys/fs/cgroup", path)]
        elif "cpu" in controllers.split(","):
            for mount in ("cpu", "cpu,cpuacct", "cpuacct,cpu"):
                top = root / "sys/fs/cgroup" / mount
                found += [_quota_v1(folder) for folder in _upwards(top, path)]
    return min((quota for quota in found if quota), default=None)


def _upwards(top: Path, path: str) -> list[Path]:
    """Return the folder of a cgroup and those above it, up to the mount.

    Inside a container the path may be the host's, and not be there: the mount itself is the
    container's own group then, and it is always in the list.
    """
    parts = [part for part in path.split("/") if part and part != ".."]
    return [top.joinpath(*parts[:depth]) for depth in range(len(parts), -1, -1)]


def _quota_v2(folder: Path) -> float | None:
    """Read ``cpu.max``: "200000 100000" is two processors, "max 100000" is no limit."""
    return _ratio(*(_read(folder / "cpu.max").split() + ["", ""])[:2])


def _quota_v1(folder: Path) -> float | None:
    """Read the two files of version 1: a quota of -1 is no limit."""
    return _ratio(_read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us"))


def _ratio(quota: str, period: str) -> float | None:
    """Return quota / period where both are numbers above zero."""
    try:
        used, whole = int(quota), int(period)
    except ValueError:
        return None
    return used / whole if used > 0 and whole > 0 else None


def _read(path: Path) -> str:
    """Return a file's text, or nothing where there is no such file."""
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return ""
