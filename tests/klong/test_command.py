"""`atled klong` on the command line: what it prints, where, and its exit code."""

import subprocess
import sys
from pathlib import Path

import pytest


def command(
    *arguments: str, text: str = "", folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "atled", "klong", "--backend", "python", *arguments],
        input=text, capture_output=True, text=True, check=False, cwd=folder,
    )  # fmt: skip


@pytest.mark.slow
def test_expressions() -> None:
    done = command("-e", "+/!10", "-e", "{x^2}:>3")
    assert (done.returncode, done.stdout, done.stderr) == (0, "45\n6.0\n", "")
    done = command("-e", "1", "-e", "1+")
    assert (done.returncode, done.stdout) == (1, "1\n")
    assert done.stderr == "-e:1:3: an expression was expected; found the end\n  1+\n    ^\n"
    assert command("-e", ".x(1)").returncode == 1
    assert command("-e", ".x(0)").returncode == 0


@pytest.mark.slow
def test_a_program_and_its_arguments(tmp_path: Path) -> None:
    program = tmp_path / "args.kg"
    program.write_text('.p(.a)\n.p("done")\n')
    done = command(str(program), "one", "two", "--", "-v")
    assert (done.returncode, done.stdout) == (0, '["one" "two" "-v"]\ndone\n')
    done = command(str(program), "-e", "#.a")
    assert done.stdout == "[]\ndone\n0\n"
    done = command("-", "one", text=".p(.a)")
    assert done.stdout == '["one"]\n'


@pytest.mark.slow
def test_a_file_may_be_started_by_the_shell_and_come_from_windows(tmp_path: Path) -> None:
    program = tmp_path / "start.kg"
    program.write_text("#!/usr/bin/env -S atled klong\n.p(#!3)\nfoo\n")
    done = command(str(program))
    assert done.stdout == "3\n"
    assert done.stderr.startswith(f"{program}:3:1: foo has no value")
    program.write_bytes(b"\xef\xbb\xbfa::1\r\n.p([1\r\n2])\r\n")
    assert command(str(program)).stdout == "[1 2]\n"


def test_an_error_of_a_program_is_on_stderr_with_its_place(tmp_path: Path) -> None:
    program = tmp_path / "bad.kg"
    program.write_text('.p("before")\nf::{x+foo}\nf(1)\n')
    done = command(str(program))
    assert (done.returncode, done.stdout) == (1, "before\n")
    assert done.stderr.startswith(f"{program}:2:")
    assert "foo has no value" in done.stderr
    assert "\n  f::{x+foo}\n" in done.stderr


@pytest.mark.slow
def test_programs_that_cannot_be_read(tmp_path: Path) -> None:
    done = command("nothing.kg")
    assert done.returncode == 2
    assert done.stderr == "atled klong: cannot read 'nothing.kg': No such file or directory\n"
    (tmp_path / "latin.kg").write_bytes(b'"\xe9"')
    done = command(str(tmp_path / "latin.kg"))
    assert done.returncode == 2
    assert "it is not a text in UTF-8" in done.stderr


@pytest.mark.slow
def test_a_pipe_prints_the_value_of_each_program() -> None:
    done = command(text="1+1\n\nf::{x+\n1}\nf(2)\n]q\n5\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, "2\n:monad\n3\n", "")
    done = command(text="1+1\n\nf::{x+\n1}\nf(2)+q\n9\n")
    assert (done.returncode, done.stdout) == (1, "2\n:monad\n")
    assert done.stderr.startswith("<stdin>:5:6: q has no value\n  f(2)+q\n")
    done = command(text=".rl()\nthe next line\n")
    assert done.stdout == '"the next line"\n'
    assert command(text="(1+\n").returncode == 1


def test_a_prompt_after_a_program(tmp_path: Path) -> None:
    program = tmp_path / "define.kg"
    program.write_text("a::5\n")
    done = command("-i", str(program), text="a+1\n]q\n")
    assert done.returncode == 0
    assert "klong> 6\n" in done.stdout


def test_a_device_that_is_not_there() -> None:
    done = command("--device", "cuda", "-e", "1")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "atled klong: the python backend computes on the cpu; found device='cuda'; "
        "--backend torch computes elsewhere too\n"
    )


def test_the_help_of_the_command() -> None:
    done = command("--help")
    assert done.returncode == 0
    assert "echo '1+1' | atled klong" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
