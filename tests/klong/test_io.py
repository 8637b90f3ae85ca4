"""Channels and system functions."""

import io
from pathlib import Path

import pytest

from atled.klong import Char, KlongError, KlongExit, KlongInterpreter
from atled.klong.printer import written


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


def test_reading_lines_and_strings(k: KlongInterpreter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("one\n\nlast"))
    assert k(".rls()") == ["one", "", "last"]
    assert repr(k(".rl()")) == ":eof"
    assert k(".rls()") == []
    monkeypatch.setattr(
        "sys.stdin", io.StringIO('-5 foo :bar "a\n""b""" 0c ; :"note" [x [1]] -1e3')
    )
    values = [
        "-5",
        ":foo",
        ":bar",
        '"a\n""b"""',
        "0c ",
    ]
    for text in values:
        assert written(k(".r()")) == text
    with pytest.raises(KlongError, match="an object to read was expected; found ;"):
        k(".r()")


def test_what_is_written_can_be_read(k: KlongInterpreter, tmp_path: Path) -> None:
    k('v::[1 -2.5 "say ""hi""" 0cx :sym [] "" [[1 2] [3 4]]],,:{[1 [2 3]] ["k" :{[:a 0cb]}]}')
    k('.tc(T::.oc("v"));.w(v);.d(" ");.w("x");.cc(T);.tc(0)')
    assert k('.fc(F::.ic("v"));w::.r();s::.r();e::.r();.cc(F);v~w') == 1
    assert k("s") == "x"
    assert repr(k("e")) == ":eof"


def test_channels_return_the_one_before(k: KlongInterpreter, tmp_path: Path) -> None:
    k('a::.oc("a");b::.oc("b");p::.tc(a);q::.tc(b);r::.tc([]);s::.tc("")')
    assert k("p") is k(".cout") is k("s")
    assert (k("q"), k("r")) == (k["a"], k["b"])
    assert k(".cc(a)") == [] == k(".cc(a)")
    assert k(".fl()") == []
    stream = k["b"].stream
    k("b::q::r::0;0")  # no variable refers to the channel: it is closed
    assert stream.closed


def test_loading(k: KlongInterpreter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "seven.kg").write_text('a::5\n:"a comment"\nf::{x+a}\nf(2)\n')
    assert k('.l("seven")') == 7
    assert k('.l("./lib/seven.kg")') == 7
    monkeypatch.setenv("KLONGPATH", str(tmp_path / "lib"))
    assert k('.l("seven.kg");f(3)') == 8
    with pytest.raises(KlongError, match="there is no file 'eight'"):
        k('.l("eight")')
    other = tmp_path / "other"
    other.mkdir()
    (other / "deep.kg").write_text(".module(:deep)\nq::7\ndeep::{q+x}\n.module(0)\n:done\n")
    monkeypatch.setenv("KLONGPATH", f"{tmp_path / 'lib'}:{other}")
    assert k('.l("deep");q::0;deep(1)') == 8
    assert k(f'.l("{other}/deep")') == k(":done")


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
