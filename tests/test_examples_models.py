"""The example models learn, and a run that was stopped and resumed ends bit for bit the same."""

import importlib
import sys
from pathlib import Path

import pytest

import atled as at

FOLDER = Path(__file__).parents[1] / "examples"
TINY = {  # the smallest sizes at which every part still does something
    "mlp": [],
    "cnn": ["--side", "8", "--channels", "4", "--lr", "0.005"],
    "gpt": ["--width", "16", "--layers", "2", "--heads", "2", "--context", "12", "--batch", "4",
            "--lr", "0.01"],
}  # fmt: skip


@pytest.fixture
def example(monkeypatch, tmp_path):
    """Return the main function of an example, which runs in a folder of its own."""
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.chdir(tmp_path)
    names = ("training", *TINY)
    for name in names:
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield lambda name, *options: importlib.import_module(name).main([*TINY[name], *options])
    for name in names:
        sys.modules.pop(name, None)


@pytest.mark.slow
@pytest.mark.parametrize("name", TINY)
def test_a_resumed_run_ends_with_the_same_bytes(example, tmp_path, capsys, name):
    example(name, "--every", "4", "--steps", "10", "--checkpoint", "whole")
    example(name, "--every", "4", "--steps", "6", "--checkpoint", "parts")
    assert (tmp_path / "parts").read_bytes() != (tmp_path / "whole").read_bytes()
    at.manual_seed(99)  # what the default generator does elsewhere must not matter
    example(name, "--every", "4", "--steps", "10", "--checkpoint", "parts", "--resume")
    assert (tmp_path / "parts").read_bytes() == (tmp_path / "whole").read_bytes()
    assert "resuming parts after step 6" in capsys.readouterr().out


@pytest.mark.parametrize(("name", "steps"), [("mlp", 120), ("cnn", 80)])
def test_digits_are_learned(example, capsys, name, steps):
    assert example(name, "--steps", str(steps), "--every", "40") > 0.8
    assert f"{steps}/{steps}   loss 0." in capsys.readouterr().out


def test_gpt_learns_and_writes(example, capsys):
    rows = example("gpt", "--steps", "60", "--every", "20", "--sample", "30", "--prompt", "Qu")
    assert [row["step"] for row in rows] == [20, 40, 60]
    assert rows[-1]["held out"] < 0.85 * rows[0]["loss"]
    written = capsys.readouterr().out.split("a step\n")[-1].rstrip("\n")
    assert written.startswith("Qu")
    assert len(written) <= 32  # the prompt and 30 more, less line ends at the end


@pytest.mark.slow
def test_gpt_resumes_to_write_only(example, capsys):
    example("gpt", "--steps", "2", "--every", "1", "--sample", "20")
    before = capsys.readouterr().out
    example("gpt", "--steps", "2", "--every", "1", "--sample", "20", "--resume")
    after = capsys.readouterr().out
    assert before.split("a step\n")[-1] == after.split("after step 2\n")[-1]


@pytest.mark.slow
def test_gpt_draws_its_losses(example, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    example("gpt", "--steps", "4", "--every", "2", "--plot", "losses.png")
    assert (tmp_path / "losses.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", TINY)
def test_quick_is_for_a_look(example, name, capsys):
    example(name, "--quick")
    assert capsys.readouterr().out.count("a step") == (5 if name == "gpt" else 4)
