"""The command line: one clear line for a mistake, exit codes, and a quick start."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from atled import __version__
from atled.cli import main

ROOT = Path(__file__).parents[2]

MISTAKES = [
    ([], "atled: the following arguments are required: command; see atled --help"),
    (["fly"], "argument command: invalid choice: 'fly'"),
    (["train"], "atled train: the following arguments are required: job"),
    (["train", "digits", "--speed", "3"], "unrecognized arguments: --speed 3"),
    (["train", "digits", "--model", "vit"], "argument --model: invalid choice: 'vit'"),
    (["train", "digits", "--backend", "jax"], "argument --backend: invalid choice: 'jax'"),
    (["train", "digits", "--epochs", "0"], "--epochs: a whole number from 1 on; found '0'"),
    (["train", "digits", "--batch-size", "x"], "--batch-size: a whole number from 1 on; found 'x'"),
    (["train", "digits", "--seed", "-1"], "--seed: a whole number from 0 on; found '-1'"),
    (["train", "digits", "--lr", "nan"], "--lr: a number above 0; found 'nan'"),
    (["train", "digits", "--lr", "-1"], "--lr: a number above 0; found '-1'"),
    (["train", "digits", "--optimizer", "sgdd"], "argument --optimizer: invalid choice: 'sgdd'"),
    (["predict", "a"], "the following arguments are required: IMAGE.png|ROWS.csv"),
]


def run(arguments, capsys):
    """Return exit code, stdout and stderr of a command."""
    try:
        code = main(arguments)
    except SystemExit as leaving:
        code = leaving.code
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.parametrize(("arguments", "message"), MISTAKES)
def test_a_mistake_is_one_line_and_code_2(arguments, message, capsys):
    code, out, err = run(arguments, capsys)
    assert code == 2
    assert out == ""
    assert message in err
    assert err.count("\n") == 1


def test_a_device_that_is_not_there(tmp_path, capsys):
    where = ["--out", str(tmp_path / "runs"), "--backend", "python"]
    code, _, err = run(["train", "digits", "--device", "cuda", *where], capsys)
    assert code == 2
    assert err == "atled: the python backend computes on the cpu; found device='cuda'\n"
    assert not (tmp_path / "runs").exists()


def test_version_and_help(capsys):
    assert run(["--version"], capsys) == (0, f"atled {__version__}\n", "")
    code, out, _ = run(["train", "digits", "--help"], capsys)
    assert code == 0
    assert "--resume RUN" in out


def test_help_imports_no_library():
    program = (
        "import sys; from atled.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print(*sorted({'numpy', 'torch', 'rich', 'safetensors', 'scipy'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.endswith("\n\n")


@pytest.mark.slow
def test_ctrl_c_says_how_to_go_on_and_is_code_130(start, tmp_path):
    child = start("train", "digits", "--epochs", 500, "--out", tmp_path, "--name", "long")
    for line in child.stdout:
        if line.startswith("epoch"):
            break
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 130
    folder = os.path.join(tmp_path, "long")
    assert err == f"\natled: interrupted; go on with: atled train digits --resume {folder}\n"


@pytest.mark.slow
def test_a_reader_that_leaves_is_no_error(start):
    child = start("doctor")
    child.stdout.close()
    err = child.stderr.read()
    child.stderr.close()
    assert child.wait(60) in (0, 141)
    assert err == ""
