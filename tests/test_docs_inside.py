"""The tour of the engine runs, checks itself, stays short, and names files that exist.

What `docs/compile.md` shows of a program is what the compiler prints.
"""

import re
import runpy
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
TOUR = ROOT / "docs" / "inside.py"
PAGE = ROOT / "docs" / "compile.md"


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


@pytest.fixture
def step() -> Any:
    """Return the step that the page follows through the compiler, after its first call."""
    pytest.importorskip("numpy", reason="programs run on NumPy's arrays")
    pytest.importorskip("llvmlite", reason="programs are compiled by llvmlite")
    names: dict[str, Any] = {"__name__": "__docs__"}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
        exec(compile(block, str(PAGE), "exec"), names)
    return names["step"]


def test_the_graphs_of_the_page_are_those_of_its_step(step) -> None:
    (prepared,) = step._prepared
    shown = re.findall(r"```text\n(graph\(.*?)```", PAGE.read_text(), re.DOTALL)
    for text, graph in zip(shown, (prepared.graph, prepared.program.graph), strict=True):
        printed = iter(str(graph).splitlines())
        for line in text.splitlines():
            assert line.strip() == "..." or line in printed, line  # in order; gaps are "..."


def test_the_steps_of_the_page_are_those_of_its_step(step) -> None:
    native = pytest.importorskip("atled.compile.native")
    if native.host().vector_bytes != 64:
        pytest.skip("the page shows a processor with AVX-512")
    assert f"```text\n{step.explain()}\n```" in PAGE.read_text()
