"""The prompt: what a session answers, and how it feels at a terminal."""

import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from atled.klong import KlongInterpreter, repl
from atled.klong.lines import completions, one_line
from atled.klong.repl import MORE, PROMPT, Repl


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
    lines = ["]h Plus", "]h", "]a reverse", f"]l {tmp_path}/two", f"]i {tmp_path}", "]z"]
    lines += [f"]t {note}", "5+5", "]t", "6", "]! echo shell", "]t /no/such/folder/x", "]q", "7"]
    text = session(lines)
    assert "a+b: the sum of a and b" in text
    assert "verbs between two operands" in text
    assert "|          Reverse" in text
    assert "\n2\n" in text
    assert "two.kg" in text
    assert "there is no command ]z; there are ]h help" in text
    assert note.read_text() == "\t5+5\n10\n"
    assert "shell" in capfd.readouterr().out
    assert "cannot open '/no/such/folder/x'" in text
    assert "\n7" not in text


def test_help_on_a_function_of_the_session() -> None:
    assert "f::{x+1}  takes 1 argument" in session(["f::{x+1}", "]h f"])


def test_an_error_in_a_loaded_file_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "bad.kg").write_text("a::1\nb::foo\n")
    text = session([f"]l {tmp_path}/bad"])
    assert f"foo has no value\n{tmp_path}/bad.kg:2:4:\n  b::foo\n     ^" in text


def test_long_values_are_cut() -> None:
    text = session(["!10000", "#it"])
    assert len(text) < 3000
    assert "(48,891 characters; .p(it) prints all)" in text
    assert "\n10000\n" in text  # only what is shown was cut


def test_a_fault_of_ours_does_not_end_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(value: object) -> str:
        raise ZeroDivisionError("a fault")

    monkeypatch.setattr(repl, "written", broken)
    text = session(["1", "]h Plus"])
    assert "ZeroDivisionError: a fault\nthis is a fault of atled; the session goes on" in text
    assert "+ [Plus]" in text


def test_an_interrupt_leaves_the_state_whole() -> None:
    k = KlongInterpreter(backend="python")

    def stop() -> None:
        raise KeyboardInterrupt

    k["stop"] = stop
    k("a::1;w::2.0")
    lines = iter(["{[a];a::5;stop()}()", "{stop();w^2}:>[w]", "{{stop();x^2}:>x}:>3", "a+w"])
    out: list[str] = []
    Repl(k, lambda prompt: next(lines, "]q"), out.append).run()
    assert out[1:] == ["\ninterrupted"] * 3 + ["3.0"]
    assert (k.context.depth, k.context.derivatives, k.context.pending) == (0, 0, None)
    assert k("{x^2}:>3") == 6.0
    assert type(k["w"]) is float


def test_channels_are_reset_after_each_line(tmp_path: Path, capsys) -> None:
    session([f'.tc(.oc("{tmp_path}/x"))', '.p("seen")'])
    assert capsys.readouterr().out == "seen\n"


def test_completion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    k = KlongInterpreter(backend="python")
    k("count::1;counter::2")
    k('.py("math")')
    (tmp_path / "prog.kg").write_text("1")
    (tmp_path / "progs").mkdir()
    monkeypatch.chdir(tmp_path)
    assert completions(k, "1+cou") == (2, ["count", "counter"])
    assert completions(k, "(.jac") == (1, [".jacobian"])
    assert completions(k, "1+isq") == (2, ["isqrt"])  # of a module
    assert completions(k, "x\\d") == (1, ["∂"])
    assert completions(k, "x\\n") == (1, ["∇"])
    assert completions(k, "1+") == (2, [])
    assert completions(k, "]h Recip") == (3, ["Reciprocal"])
    assert completions(k, "]h ") == (3, [])
    assert completions(k, "]l pro") == (3, ["prog.kg", "progs/"])
    assert completions(k, '.l("pr') == (4, ["prog.kg", "progs/"])
    assert completions(k, '.l("/no/such/folder/x') == (4, [])
    assert completions(k, "]! ls") == (3, [])


def test_a_program_of_several_lines_is_one_entry_of_the_history() -> None:
    assert one_line("f::{x+\n  y}") == "f::{x+ y}"
    assert one_line('"a\nb"') == '"a\nb"'
    assert one_line("a::1\nb::2") == "a::1\nb::2"
    assert one_line("(1+\n") == "(1+\n"


# -- at a terminal


class Terminal:
    """A session as a person has it, at a pseudo terminal."""

    def __init__(
        self, home: Path, *arguments: str, program: tuple[str, ...] = ("-m", "atled")
    ) -> None:
        pty, fcntl, termios = map(pytest.importorskip, ("pty", "fcntl", "termios"))
        self.master, slave = pty.openpty()
        state = {"XDG_STATE_HOME": str(home), "TERM": "xterm", "LC_ALL": "C.UTF-8"}
        self.process = subprocess.Popen(
            [sys.executable, *program, "klong", "--backend", "python", *arguments],
            stdin=slave, stdout=slave, stderr=slave, env=os.environ | state,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip
        os.close(slave)
        self.until(PROMPT)

    def until(self, expected: str) -> str:
        """Return what is printed up to a text."""
        got, end = b"", time.monotonic() + 30
        while expected.encode() not in got:
            left = end - time.monotonic()
            ready, _, _ = select.select([self.master], [], [], max(left, 0.0))
            assert ready, f"{expected!r} did not come; got {got!r}"
            got += os.read(self.master, 4096)
        return got.decode()

    def type(self, text: str, expected: str = PROMPT) -> str:
        os.write(self.master, text.encode())
        return self.until(expected)

    def end(self, text: str) -> int:
        os.write(self.master, text.encode())
        code = self.process.wait(30)
        os.close(self.master)
        return code


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    begun: list[Terminal] = []

    def begin(*arguments: str, **options: tuple[str, ...]) -> Terminal:
        begun.append(Terminal(tmp_path, *arguments, **options))
        return begun[-1]

    yield begin
    for terminal in begun:
        terminal.process.kill()
        terminal.process.wait(10)


@pytest.mark.slow
def test_a_session_at_a_terminal(start: Callable[..., Terminal], tmp_path: Path) -> None:
    pytest.importorskip("readline", reason="lines are edited by readline")
    terminal = start()
    assert "45\r\n" in terminal.type("+/!10\n")
    assert "[[2.0 0.0] [0.0 4.0]]" in terminal.type("[1 2]\\d\t{x^2}\n")
    assert "6.0" in terminal.type("({x^2}:>1)+4.0*~~3\\n\t{x}\n")
    assert "[[2.0]]" in terminal.type(".jac\t({x^2};[1])\n")
    assert "1%a" in terminal.type("]h Recip\t\n")
    terminal.type("f::{x+\n", MORE)
    terminal.type("y}\n")
    terminal.type("(1+\n", MORE)
    time.sleep(0.3)  # readline misses a signal between its prompt and its wait for a key
    terminal.type("\x03")  # Ctrl-C gives up
    assert "3\r\n" in terminal.type("f(1;2)\n")
    assert terminal.end("\x04") == 0  # Ctrl-D
    kept = (tmp_path / "atled" / "klong_history").read_text().splitlines()
    assert kept[0] == "+/!10"
    assert kept[1] == "[1 2]∂{x^2}"
    assert "f::{x+ y}" in kept

    terminal = start()
    assert "f(1;2)\r\nf has no value" in terminal.type("\x10\n")  # Ctrl-P, the entry before
    assert terminal.end(".x(1)\n") == 1


def test_ctrl_c_stops_what_runs(start: Callable[..., Terminal], tmp_path: Path) -> None:
    terminal = start("--no-history")
    terminal.type('a::0;f::{[b];b::7;{1}{a::a+1;:[a=9;.p("go");0]}:~0}\n')
    terminal.type("f()\n", "go\r\n")
    assert "interrupted" in terminal.type("\x03")
    assert "1\r\n" in terminal.type("a>8\n")
    assert "b has no value" in terminal.type("b\n")
    assert terminal.end("]q\n") == 0
    assert not (tmp_path / "atled").exists()


def test_it_works_without_readline(start: Callable[..., Terminal], tmp_path: Path) -> None:
    hidden = "import sys; sys.modules['readline'] = None; from atled.cli import main; main()"
    terminal = start(program=("-c", hidden))
    assert "[[2.0]]" in terminal.type("[1]\\d\t{x^2}\n")
    assert "3.0" in terminal.type("({x}:>1)+2\n")
    assert terminal.end("]q\n") == 0
    assert not (tmp_path / "atled").exists()


def test_words_of_newcomers() -> None:
    assert "verbs between two operands" in session(["help"])
    assert "verbs between two operands" in session([" ]h "])
    assert "\n5" not in session(["exit", "5"])
    assert "\n5" in session(["quit::5", "quit"])
