"""The tour of the engine runs, checks itself, stays short, and names files that exist."""

import re
import runpy
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOUR = ROOT / "docs" / "inside.py"


def test_it_runs_with_nothing_installed(monkeypatch, capsys) -> None:
    monkeypatch.setitem(sys.modules, "llvmlite", None)
    runpy.run_path(str(TOUR))
    printed = capsys.readouterr().out
    assert "def kernel(a0, a1, r, n):" in printed
    assert "define void" not in printed


@pytest.mark.skipif(find_spec("llvmlite") is None, reason="llvmlite is not installed")
def test_it_runs_as_machine_code(capsys) -> None:
    runpy.run_path(str(TOUR))
    assert "define void @kernel(ptr %a0, ptr %a1, ptr %r, i64 %n) {" in capsys.readouterr().out


def test_it_can_be_read_in_one_sitting() -> None:
    lines = TOUR.read_text().splitlines()
    assert len(lines) < 300
    assert max(map(len, lines)) <= 100


def test_the_files_that_its_parts_name_are_there() -> None:
    headings = [line for line in TOUR.read_text().splitlines() if line.startswith("# == ")]
    assert len(headings) == 7
    for heading in headings:
        named = re.findall(r"[\w/]+\.py", heading)
        assert named, heading
        assert not [name for name in named if not (ROOT / "atled" / name).is_file()], heading
