"""The wheel: small, ours only, complete, and without requirements."""

import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("dist")
    options = ["--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", folder, ROOT]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = folder.glob("*.whl")
    return path


@pytest.mark.slow
def test_it_is_under_a_megabyte_and_pure_python(wheel):
    assert wheel.name.endswith("-py3-none-any.whl")
    assert wheel.stat().st_size < 1_000_000


@pytest.mark.slow
def test_it_holds_the_package_and_its_data_only(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"atled"}
    assert {"atled/data/digits.csv.gz", "atled/data/DIGITS.md"} <= set(names)
    ours = [name for name in names if name.startswith("atled/")]
    assert {name[name.index(".") :] for name in ours} <= {".py", ".pyi", ".md", ".csv.gz", ".typed"}


@pytest.mark.slow
def test_it_requires_nothing(wheel):
    archive = zipfile.ZipFile(wheel)
    (name,) = [name for name in archive.namelist() if name.endswith("/METADATA")]
    metadata = Parser().parsestr(archive.read(name).decode("utf-8"))
    assert [r for r in metadata.get_all("Requires-Dist") if "extra ==" not in r] == []
    assert metadata["License-Expression"] == "BSD-3-Clause"
