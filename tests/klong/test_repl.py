"""The prompt and the command line."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from atled.klong import KlongInterpreter
from atled.klong.repl import Repl, completions


def session(lines: list[str]) -> str:
    """Return what a session prints for some lines."""
    waiting: Iterator[str] = iter(lines)
    out: list[str] = []

    def ask(prompt: str) -> str:
        out.append(prompt)
        try:
            return next(waiting)
        except StopIteration:
            raise EOFError from None

    Repl(KlongInterpreter(backend="python"), ask, out.append).run()
    return "\n".join(out)


def test_values_errors_and_it() -> None:
    text = session(["1+2", "it*2", "foo", '"a"', ""])
    assert "klong> \n3\nklong> \n6\nklong> \nfoo has no value" in text
    assert "  foo\n  ^" in text
    assert '"a"' in text


def test_open_brackets_ask_for_more() -> None:
    text = session(["a::[1", "2", "3]", "f::{x;", "", "+/a"])
    assert "klong> \n  ...  \n  ...  \n[1 2 3]" in text
    assert "the { of line 1 is never closed" in text
    assert text.rstrip().endswith("6\nklong>")


def test_commands(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "two.kg").write_text("1+1")
    note = tmp_path / "note.txt"
    lines = ["]h Plus", "]h ::", "]a reverse", f"]l {tmp_path}/two", f"]i {tmp_path}", "]z"]
    lines += [f"]t {note}", "5+5", "]t", "6", "]! echo shell", "]t /no/such/folder/x", "]q", "7"]
    text = session(lines)
    assert "a+b: the sum of a and b" in text
    assert "|          Reverse" in text
    assert "\n2\n" in text
    assert "two.kg" in text
    assert "there is no command ]z" in text
    assert note.read_text() == "\t5+5\n10\n"
    assert "shell" in capfd.readouterr().out
    assert "cannot open '/no/such/folder/x'" in text
    assert "\n7" not in text


def test_channels_are_reset_after_each_line(tmp_path: Path, capsys) -> None:
    session([f'.tc(.oc("{tmp_path}/x"))', '.p("seen")'])
    assert capsys.readouterr().out == "seen\n"


def test_completion() -> None:
    k = KlongInterpreter(backend="python")
    k("count::1;counter::2")
    assert completions(k, "1+cou") == ["1+count", "1+counter"]
    assert completions(k, ".jac") == [".jacobian"]
    assert completions(k, "x\\d") == ["x∂"]
    assert completions(k, "x\\n") == ["x∇"]
    assert completions(k, "1+") == []


def command(*arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "atled", "klong", "--backend", "python", *arguments],
        input=text, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_command_line(tmp_path: Path) -> None:
    done = command("-e", "+/!10", "-e", "{x^2}:>3")
    assert (done.returncode, done.stdout, done.stderr) == (0, "45\n6.0\n", "")
    program = tmp_path / "args.kg"
    program.write_text('.p(.a)\n.p("done")\n')
    done = command(str(program), "one", "two")
    assert (done.returncode, done.stdout) == (0, '["one" "two"]\ndone\n')
    done = command("-e", "1+")
    assert done.returncode == 1
    assert "line 1, column 3:\n  1+\n    ^" in done.stderr
    done = command("nothing.kg")
    assert done.returncode == 2
    assert "cannot read 'nothing.kg'" in done.stderr
    done = command(text="1+1\n]q\n")
    assert done.returncode == 0
    assert "klong> 2" in done.stdout
    done = command("-e", ".x(1)")
    assert done.returncode == 1
