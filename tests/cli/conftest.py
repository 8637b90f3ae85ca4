"""Small runs for the tests of the command line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from atled.cli import main
from atled.data import load_digits

ROOT = Path(__file__).parents[2]


@pytest.fixture
def start():
    """Return a function that starts `atled` with arguments in a child process."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"}

    def begin(*arguments):
        program = [sys.executable, "-m", "atled", *map(str, arguments)]
        return subprocess.Popen(
            program, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    return begin


@pytest.fixture
def small_csv(tmp_path):
    """Return a CSV file with 60 of the digits."""
    digits = load_digits("test")
    path = tmp_path / "mine.csv"
    with open(path, "w", encoding="ascii") as file:
        for image, label in list(zip(digits.images, digits.labels, strict=True))[:60]:
            file.write(",".join(f"{16 * p:g}" for p in image) + f",{label}\n")
    return path


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """Return the folder of a run of three epochs on the digits."""
    out = tmp_path_factory.mktemp("runs")
    options = ["--epochs", "3", "--batch-size", "100", "--seed", "1"]
    assert main(["train", "digits", *options, "--out", str(out), "--name", "one", "-q"]) == 0
    return out / "one"
