"""The code of README and docs runs, and comes to what stands beside it.

In a block of Python, ``print(...)  # text`` must print that text. In one of Klong,
``expression  -->  value`` must have that value, ``expression  -->  error: text`` must fail with it.
Blocks of one page share their names.
"""

import contextlib
import io
import re
from pathlib import Path

import pytest

from atled.klong import KlongError, KlongInterpreter
from atled.klong.printer import written

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)
KLONG = re.compile(r"```klong\n(.*?)```", re.DOTALL)
EXPECTED = re.compile(r"^\s*print\(.*\)  # (.*)$", re.MULTILINE)


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(p, marks=[pytest.mark.slow] * (p.name == "derivatives.md"), id=p.name)
        for p in PAGES
        if BLOCK.search(p.read_text())
    ],
)
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


@pytest.mark.filterwarnings("ignore:.* runs eagerly")  # .compile, on other backends than numpy
@pytest.mark.parametrize("page", [p for p in PAGES if KLONG.search(p.read_text())], ids=str)
def test_klong_comes_to_what_it_says(
    backend: str, page: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    k = KlongInterpreter(backend=backend)
    for block in KLONG.findall(page.read_text()):
        waiting: list[str] = []  # lines without a value belong to the next one that has one
        for line in block.splitlines():
            program, arrow, expected = line.partition("  -->  ")
            waiting.append(program)
            if not arrow:
                continue
            text = "\n".join(waiting)
            waiting.clear()
            if expected.startswith("error: "):
                with pytest.raises(KlongError) as caught:
                    k(text)
                assert expected.removeprefix("error: ") in str(caught.value)
            else:
                assert (text, written(k(text))) == (text, expected)
        k("\n".join(waiting))


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
