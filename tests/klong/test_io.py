"""Channels and system functions."""

import io
from pathlib import Path

import pytest

from atled.klong import Char, KlongError, KlongExit, KlongInterpreter


@pytest.fixture
def k(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KlongInterpreter:
    monkeypatch.chdir(tmp_path)
    return KlongInterpreter(backend="python")


def test_output(k: KlongInterpreter, capsys: pytest.CaptureFixture[str]) -> None:
    k('.d("say ""hi""");.w("say ""hi""");.d(0cx);.w(0cx);.p([1 "a" 0cb]);.p("")')
    assert capsys.readouterr().out == 'say "hi""say ""hi"""x0cx[1 "a" 0cb]\n\n'
    k('.tc(.cerr);.p("log");.tc(0);.p("out")')
    captured = capsys.readouterr()
    assert (captured.err, captured.out) == ("log\n", "out\n")


def test_the_manuals_cat_type_and_copy(
    k: KlongInterpreter, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.txt").write_text("one\n\ntwo\n")
    k("cat::{.mi{.p(x);.rl()}:~.rl()}")
    k("type::{.fc(.ic(x));cat()}")
    k("copy::{[of];.tc(of::.oc(y));type(x);.cc(of)}")
    k('type("a.txt")')
    assert capsys.readouterr().out == "one\n\ntwo\n"
    k('.fc(0);copy("a.txt";"b.txt")')
    assert (tmp_path / "b.txt").read_text() == "one\n\ntwo\n"
    k('.fc(0);.tc(T::.ac("b.txt"));.p("three");.fl();.cc(T)')
    assert (tmp_path / "b.txt").read_text().endswith("three\n")
    k('.df("b.txt")')
    assert not (tmp_path / "b.txt").exists()
    k(".cc(.cout)")
    k('.p("still open")')
    assert capsys.readouterr().out == "still open\n"


def test_reading_objects(k: KlongInterpreter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO('[1\n 2]\n:{["a" 1]} 0cx\n"last"\n'))
    assert k(".r()").tolist() == [1, 2]
    assert k(".r()") == {"a": 1}
    assert k(".r()") == Char("x")
    assert k(".r()") == "last"
    assert k(".mi(.cin)") == 1
    assert repr(k(".r()")) == ":eof"
    assert k(".mi(.cin)") == 0
    monkeypatch.setattr("sys.stdin", io.StringIO("[1 2"))
    with pytest.raises(KlongError, match="ended inside an object"):
        k(".r()")


def test_loading(k: KlongInterpreter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "seven.kg").write_text('a::5\n:"a comment"\nf::{x+a}\nf(2)\n')
    assert k('.l("seven")') == 7
    assert k('.l("./lib/seven.kg")') == 7
    monkeypatch.setenv("KLONGPATH", str(tmp_path / "lib"))
    assert k('.l("seven.kg");f(3)') == 8
    with pytest.raises(KlongError, match="there is no file 'eight'"):
        k('.l("eight")')


def test_the_system(k: KlongInterpreter, capfd: pytest.CaptureFixture[str]) -> None:
    assert k('.sys("exit 3")') == 3
    assert k('.sys("echo hello")') == 0
    assert "hello" in capfd.readouterr().out
    assert 0 <= k(".rn()") < 1
    assert k(".pc()") > 0
    assert k(".h") == k(":unix")
    assert k(".cols") == 80
    assert k("1+.e") == 1 < k("1+3*.e")
    assert k("sq2::{(x+2%x)%2}:~1;sq2~sq2+10*.e") == 1
    for value, code in ((0, 0), ("[]", 0), (1, 1)):
        with pytest.raises(KlongExit) as caught:
            k(f".x({value})")
        assert caught.value.code == code


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ('.ic("nothing")', "cannot open 'nothing'"),
        ('.df("nothing")', "cannot delete 'nothing'"),
        (".fc(.cout)", "an input channel is needed here; .cout is none"),
        (".tc(.cin)", "an output channel is needed here"),
        (".tc(5)", "a channel, or 0 for the standard one"),
        (".cc(5)", "a in .cc"),
        ('c::.oc("x");.cc(c);.tc(c);.p(1)', "the channel x is closed"),
        (".ic(5)", "a in .ic"),
    ],
)
def test_errors(k: KlongInterpreter, program: str, message: str) -> None:
    with pytest.raises(KlongError, match=message):
        k(program)
    k.channels.select(0, False)
