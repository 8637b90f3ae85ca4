"""The examples run, and come to what they promise."""

import importlib.util
import math
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "examples"


def load(name):
    spec = importlib.util.spec_from_file_location(f"examples_{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_five_lines(capsys):
    gradient = load("five_lines").main()
    assert gradient == pytest.approx([math.sin(2 * x) for x in (0.0, 0.5, 1.0)], abs=1e-6)
    assert capsys.readouterr().out.startswith("tensor([")


def test_pairs_has_a_falling_loss(capsys):
    losses = load("pairs").main(steps=60, samples=200)
    assert losses[-1] < 0.8 * losses[0]
    assert "step   59" in capsys.readouterr().out


def test_numpy_comparison(capsys):
    pytest.importorskip("numpy")
    assert load("numpy_comparison").main(samples=50, features=4) < 1e-12
    assert "by hand" in capsys.readouterr().out


def test_custom_function(capsys):
    assert load("custom_function").main() == [0.0, 3.0, 3.0, 0.0]
    assert "gradient" in capsys.readouterr().out


def test_every_example_is_tested():
    names = {path.stem for path in FOLDER.glob("*.py")}
    assert names >= {"five_lines", "pairs", "numpy_comparison", "custom_function"}
