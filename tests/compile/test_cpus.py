"""How many processors: the least of affinity and quotas, unless the user says a number."""

import os
from pathlib import Path

import pytest

from atled.compile import cpus


@pytest.fixture(autouse=True)
def _sixteen_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ATLED_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)


def _files(root: Path, **files: str) -> Path:
    """Write files under a root, and return it."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_this_machine_has_at_least_one() -> None:
    assert cpus.available() >= 1


def test_without_files_affinity_decides(tmp_path: Path) -> None:
    assert cpus.available(tmp_path) == 16


def test_without_affinity_the_system_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert cpus.available(tmp_path) == 6
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cpus.available(tmp_path) == 1


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("200000 100000\n", 2),
        ("250000 100000\n", 3),
        ("10000 100000\n", 1),
        ("5000000 100000\n", 16),
        ("max 100000\n", 16),
        ("", 16),
        ("nonsense\n", 16),
        ("100000 0\n", 16),
    ],
)
def test_quota_of_version_two(tmp_path: Path, text: str, number: int) -> None:
    root = _files(
        tmp_path,
        **{"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/cpu.max": text},
    )
    assert cpus.available(root) == number


def test_a_group_above_may_be_tighter(tmp_path: Path) -> None:
    root = _files(
        tmp_path,
        **{
            "proc/self/cgroup": "0::/a/b/c\n",
            "sys/fs/cgroup/a/b/c/cpu.max": "max 100000",
            "sys/fs/cgroup/a/b/cpu.max": "800000 100000",
            "sys/fs/cgroup/a/cpu.max": "300000 100000",
            "sys/fs/cgroup/cpu.max": "900000 100000",
        },
    )
    assert cpus.available(root) == 3


def test_the_path_may_be_that_of_the_host(tmp_path: Path) -> None:
    root = _files(
        tmp_path,
        **{
            "proc/self/cgroup": "0::/../../kubepods/pod7\n",
            "sys/fs/cgroup/cpu.max": "400000 100000",
        },
    )
    assert cpus.available(root) == 4


@pytest.mark.parametrize("mount", ["cpu", "cpu,cpuacct"])
@pytest.mark.parametrize(("quota", "number"), [("350000", 4), ("-1", 16)])
def test_quota_of_version_one(tmp_path: Path, mount: str, quota: str, number: int) -> None:
    group = f"sys/fs/cgroup/{mount}/docker/x"
    root = _files(
        tmp_path,
        **{
            "proc/self/cgroup": "12:memory:/docker/x\n4:cpu,cpuacct:/docker/x\n0::/\n",
            f"{group}/cpu.cfs_quota_us": quota,
            f"{group}/cpu.cfs_period_us": "100000",
        },
    )
    assert cpus.available(root) == number


def test_the_user_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATLED_NUM_THREADS", " 40 ")
    assert cpus.available(tmp_path) == 40
    monkeypatch.setenv("ATLED_NUM_THREADS", "")
    assert cpus.available(tmp_path) == 16


@pytest.mark.parametrize("text", ["0", "-2", "two", "1.5"])
def test_what_is_no_number_of_threads_is_refused(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATLED_NUM_THREADS", text)
    with pytest.raises(ValueError, match=f"ATLED_NUM_THREADS is '{text}', which is not a number"):
        cpus.available()
