"""The doctor: it names what is there and complains of what is slow."""

import pytest

from atled import __version__
from atled.cli import main
from atled.train.doctor import cgroup_limit, warnings_for


def test_it_names_what_is_there(capsys, monkeypatch):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    for part in (f"atled      {__version__}", "CPython 3", "backends\n  python", "numpy", "torch",
                 "default dtype", "cores", "OPENBLAS_CORETYPE  Haswell",
                 "warning: OPENBLAS_CORETYPE=Haswell binds"):  # fmt: skip
        assert part in out


@pytest.mark.parametrize(
    ("environment", "cores", "message"),
    [
        ({"OPENBLAS_CORETYPE": "Haswell"}, 1, "env -u OPENBLAS_CORETYPE"),
        ({"OPENBLAS_NUM_THREADS": "1"}, 4, "OPENBLAS_NUM_THREADS=1 keeps large matrix products on"),
        ({"OMP_NUM_THREADS": "64"}, 4, "OMP_NUM_THREADS=64 asks for more threads than the 4 cores"),
    ],
)
def test_it_complains_of_what_is_slow(environment, cores, message):
    assert any(message in text for text in warnings_for(environment, cores))


def test_it_does_not_complain_of_what_is_not():
    harmless = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "x"}
    assert not any("THREADS=" in text for text in warnings_for(harmless, 1))


@pytest.mark.parametrize(
    ("content", "limit"), [("max 100000", None), ("150000 100000", 1.5), ("x", None), ("1 0", None)]
)
def test_the_limit_of_a_container(content, limit, tmp_path):
    path = tmp_path / "cpu.max"
    path.write_text(content)
    assert cgroup_limit(str(path)) == limit
    assert cgroup_limit(str(tmp_path / "none")) is None
