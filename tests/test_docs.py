"""The Python code of README and docs runs, and prints what stands beside it.

In a block, ``print(...)  # text`` must print that text; blocks of one page share their names.
"""

import contextlib
import io
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)
EXPECTED = re.compile(r"^\s*print\(.*\)  # (.*)$", re.MULTILINE)


@pytest.mark.parametrize("page", [p for p in PAGES if BLOCK.search(p.read_text())], ids=str)
def test_code_runs_and_prints_what_it_says(page: Path, monkeypatch, tmp_path) -> None:
    pytest.importorskip("numpy", reason="the pages show the NumPy backend")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "__docs__"}
    for block in BLOCK.findall(page.read_text()):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(block, str(page), "exec"), names)
        lines = printed.getvalue().splitlines()
        for expected in EXPECTED.findall(block):
            assert expected in lines, f"{page.name}: {expected!r} was not printed; got {lines}"


def test_generated_files_are_up_to_date() -> None:
    import subprocess
    import sys

    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "generate.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
