"""Everything that can go wrong says what, and shows the place."""

from pathlib import Path

import pytest

from atled.klong import KlongError, KlongInterpreter

ERRORS = [
    ("f(1", "the ( of line 1 is never closed", 2),
    ("[1 2", "the [ of line 1 is never closed", 1),
    (":{[1 2]", "the :{ of line 1 is never closed", 1),
    ("{x+1", "the { of line 1 is never closed", 1),
    (":[1;2;3", "the :[ of line 1 is never closed", 1),
    ('"abc', 'this string has no closing "', 1),
    ("0c", "0c needs a character", 1),
    ("1+", "an expression was expected; found the end", 3),
    ("1+;2", "an expression was expected; found ;", 3),
    ("a 1", "an operator was expected; found 1", 3),
    ("1 2", "an operator was expected; found 2; a list is written [1 2 3]", 3),
    ("f 3", "an operator was expected; found 3; a function is called by f(...)", 3),
    ('f "a"', 'found "; a function is called by f(...)', 3),
    ('"abc"[1]', "an element is a@i, or a[i] if a is a name", 6),
    ("f(x)::x+1", "only a name can be given a value; a function is defined by f::{...x...}", 1),
    ("1+[1 2]::3", "only a name can be given a value", 3),
    (".5+1", ".5 has no value; the real number is written 0.5", 1),
    (":[1;2]", "; was expected in a conditional", 6),
    ("{1)", "} or ; was expected; found )", 3),
    ("(1]", ") was expected; found ]", 3),
    ("{}", "a function needs an expression", 1),
    ("[1+2]", "a list holds constants; found +", 3),
    (":{1 2}", "a dictionary holds tuples of two", 1),
    ("f(;)", "a projection keeps at least one argument", 1),
    ("1;\nfoo+1", "foo has no value", 1),
    ("count::3;coutn+1", "did you mean count, .cout?", 10),
    ("x+1", "arguments exist inside functions only", 1),
    ("!'", "an expression was expected; found the end", 3),
    ('1+"a"', "a+b needs numbers; found an integer and a string", 2),
    ("[1 2]+[1 2 3]", "a+b: lists of 2 and 3 elements do not match", 6),
    ("[[1 2] [3 4]]+[[1 2 3] [4 5 6]]", "lists of 2 and 3 elements do not match", 14),
    ('-"a"', "-a needs a number; found a string", 1),
    ("%:a", "%a needs a number; found a symbol", 1),
    ("_0ca", "_a needs a number; found a character", 1),
    ("#:a", "#a needs a list, a string, a number or a character; found a symbol", 1),
    ("2.5!2", "a!b needs integers; found a real number", 4),
    ("2.5:%2", "a:%b needs integers", 4),
    ("10^10000000", "this integer would have more than", 3),
    ("[1 2 3]@3", "index 3 is out of range: indices go from 0 to 2", 8),
    ("[1 2 3]@[0 5]", "index 5 is out of range", 8),
    ("[]@0", "index 0 is out of range: there are no elements", 3),
    ("5@0", "a in a@b must be a list or a string; found an integer", 2),
    ("[1 2]@:a", "b in a@b must be an integer; found a symbol", 6),
    ("[1 2]@[:a]", "b in a@b must be an integer or a list of integers; found a symbol", 6),
    ("[1 2]:@[0 0]", "a in a:@b, at this depth, must be a list", 6),
    ("[1 2]:=5", "b must be a list of a value and indices", 6),
    ("[1 2]:-,5", "b must be a list of a value and indices", 6),
    ("[1 2]:=5,7", "index 7 is out of range", 6),
    ('"abc":=5,1', "a string takes a character or a string", 6),
    ('"abc":="de",9', "index 9 is out of range: indices go from 0 to 3", 6),
    ('"abc":=0cx,3', "index 3 is out of range", 6),
    ("[1 2]:-5,[0 0]", "at this depth, must be a list", 6),
    ("[[1] [2]]:-5,[7 0]", "index 7 is out of range", 10),
    ("!-1", "!a needs a number from 0 on; found -1", 1),
    ("!:a", "a in !a must be an integer; found a symbol", 1),
    ("&[1 -1]", "&a needs numbers from 0 on; found -1", 1),
    ('&"a"', "a in &a must be an integer", 1),
    ("[2 1]:_[1 2 3]", "the positions must ascend", 6),
    ("0:#[1 2]", "sizes must be positive; found [0]", 2),
    ("[-2]:^[1 2]", "no axis can have -2 elements", 5),
    ("[]:^1", "a:^b needs a shape; found an empty list", 3),
    ("[[1 2] [3 4]]:@0", "a:@b needs an index for each axis of an array of shape [2, 2]", 14),
    ("[[1 2] [3 4]]:-9,0", "a:-b needs an index for each axis", 14),
    ('"abc":="de",[2 4]', "index 4 is out of range: indices go from 0 to 3", 6),
    ("d:::{[1 2]};d,(,1),,d;$d", "this dictionary contains itself; it cannot be printed", 23),
    ("1:_[]", "the positions must ascend from 0 to 0; found 0 after 1", 2),
    ("+[[1] [2 3]]", "+a needs a matrix", 1),
    ('1<"a"', "a<b compares two numbers, characters, strings or symbols; found an integer", 2),
    (':a>"a"', "a>b compares two numbers, characters, strings or symbols; found a symbol", 3),
    ('.rs(")")', "an object to read was expected; found )", 1),
    ('<[1 "a"]', "< cannot compare", 1),
    ("<5", "<a grades a list or a string", 1),
    ("=5", "=a groups a list or a string", 1),
    ("?5", "?a takes a list or a string", 1),
    (":#-1", ":#a needs a code", 1),
    ('"a"$1', "a in a$b must be a number", 4),
    ('1.2$"a"', "b in a$b must be a real number", 4),
    ("1e300$1.5", "a in a$b must be n.m", 6),
    ("3.0$1.5", "a in a$b must be n.m", 0),
    ("1.5000001$1.5", "the limit is 1000", 10),
    ("100000000$1", "is larger than the limit", 10),
    ("1:$2", "b in a:$b must be a string", 2),
    ('{x}:$"a"', "a in a:$b must be an atom", 4),
    ("99999999999:^1", "larger than the limit", 12),
    (":{[1 2]}?:{}", "a dictionary cannot be a key", 9),
    ("{x}(1;2)", "{x} takes 1 argument; found 2", 1),
    ("f::{x+y};f(1)", "{x+y} takes 2 arguments; found 1", 10),
    ("3(1)", "an operator was expected; found (", 2),
    ("a::3;a(1)", "a function is needed here; found an integer", 6),
    ("a::3;a(1;)", "only a function can be projected; found an integer", 6),
    ("{x}(1;)", "takes 1 argument; the projection has 2", 1),
    ("a::3;a'[1 2]", "a function is needed here as a verb; found an integer", 6),
    ("{x+y}'[1 2]", "takes 2 arguments; as a verb here it is given 1", 1),
    ("1~'", "an expression was expected", 4),
    ("<:\\1", "the adverb :\\ makes no verb of one operand", 1),
    ("1,:'2", "the adverb :' makes no verb of two operands", 2),
    (":=1", ":= is no verb of one operand", 1),
    ("1@'2@", "an expression was expected", 6),
    (":a{x}:*1", "a in a f:*b must be an integer; found a symbol", 3),
    ("(-1){x}:*1", "a in a f:*b must be 0 or more; found -1", 5),
    ("1{x}:~1", "a in a f:~b must be a function of one argument", 2),
    ("{x::1}(2)", "x is an argument: it cannot be assigned to", 2),
    (".p::1", ".p is a system function; it cannot be redefined", 1),
    ("f::{1+f(x)};f(1)", "the recursion is deeper than 2000 calls", 7),
    pytest.param(
        "f::{f(x)};f(1)",
        "the recursion is longer than 1000000 calls",
        11,
        marks=pytest.mark.slow,
    ),
    ('.rs("[1 2")', "the [ of line 1 is never closed", 1),
    (".rs(1)", "a in .rs(a) must be a string; found an integer", 1),
    ('.comment("end")\nnever', "no line begins with 'end'", 1),
    (".module(1)", ".module(a) needs a symbol, or 0", 1),
    ("1e999", "this real number is too large", 1),
    ("a`b", "an operator was expected; found `", 2),
]


@pytest.mark.parametrize(("program", "message", "column"), ERRORS, ids=str)
def test_the_message_and_the_place(program: str, message: str, column: int) -> None:
    k = KlongInterpreter(backend="python")
    with pytest.raises(KlongError) as caught:
        k(program)
    text = str(caught.value)
    assert message in text
    assert text.splitlines()[-1].strip() == "^"
    if column:
        assert f"column {column}:" in text


def test_deep_nesting_is_an_error_and_long_chains_are_not() -> None:
    k = KlongInterpreter(backend="python")
    for opener, closer in ("()", "[]", "{}"):
        with pytest.raises(KlongError, match="nest"):
            k(opener * 5000 + "1" + closer * 5000)
    assert k("+".join(["1"] * 5000)) == 5000
    assert k("-" * 5000 + "1") == 1
    assert k("{,x}" + "'" * 50 + "1").tolist() == [1]


def test_the_place_in_a_long_line_and_behind_tabs() -> None:
    k = KlongInterpreter(backend="python")
    with pytest.raises(KlongError) as caught:
        k("\tfoo")
    assert str(caught.value).splitlines()[-1] == "  \t^"
    with pytest.raises(KlongError) as caught:
        k("1+" * 200 + "foo")
    lines = str(caught.value).splitlines()
    assert lines[-2][lines[-1].index("^") :] == "foo"


def test_an_interpreter_goes_on_after_an_error() -> None:
    k = KlongInterpreter(backend="python", recursion=100)
    with pytest.raises(KlongError, match="deeper than 100"):
        k("f::{1+f(x)};f(1)")
    assert k("1+1") == 2
    assert k.context.depth == 0


def test_errors_of_python_functions_keep_their_cause() -> None:
    k = KlongInterpreter(backend="python")
    k["boom"] = lambda x: {}["missing"]
    with pytest.raises(KlongError, match="KeyError: 'missing'") as caught:
        k("1+boom(2)")
    assert isinstance(caught.value.__cause__, KeyError)


def failure(k: KlongInterpreter, program: str) -> str:
    with pytest.raises(KlongError) as caught:
        k(program)
    return str(caught.value)


def test_an_error_inside_a_function_shows_where_the_function_was_defined() -> None:
    k = KlongInterpreter(backend="python")
    k("inner::{1+\n   x@9}\nouter::{2*inner(x)}")
    shown = failure(k, "outer([1 2 3])")
    assert "index 9 is out of range" in shown
    assert "line 2, column 5:\n     x@9}\n" in shown
    assert failure(k, "outer'[[1] [2]]") == shown.replace("0 to 2", "0 to 0")
    assert failure(k, '.E("outer([1 2 3])")') == shown


def test_an_error_in_a_file_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "good.kg").write_text('f::{x+1}\n\nbad::{"a"+x}\n')
    (tmp_path / "lib" / "broken.kg").write_text("a::1\nb::(2\n")
    k = KlongInterpreter(backend="python", recursion=200)
    assert "lib/broken.kg:2:4" in failure(k, '.l("broken")')
    k('.l("good")')
    assert "lib/good.kg:3:10" in failure(k, "1+bad(2)")
    assert "line 1, column 2" in failure(k, '1+"a"')
    (tmp_path / "self.kg").write_text('.l("self")')
    assert "the recursion is too deep" in failure(k, '.l("self")')
    (tmp_path / "bytes.kg").write_bytes(b"\xff\xfe")
    assert "is not a text in UTF-8" in failure(k, '.l("bytes")')


def test_the_state_is_whole_after_an_error() -> None:
    k = KlongInterpreter(backend="python", recursion=100)
    k("a::1;n::{[a b];a::x;b::y;1+b@a}")
    failure(k, "n(5;[1 2])")
    assert k("a") == 1
    assert "b" not in k
    failure(k, ".module(:m);q::1;q@2")
    assert k.context.module is None
    k(".module(:m)")  # a module that is open stays open: the next line may be right
    failure(k, "foo")
    assert k.context.module is not None
    k(".module(0)")
    failure(k, "{1+.f(x)}(1)")
    failure(k, "w::2.0;{w+foo}:>[w]")
    assert k("w") == 2.0
    assert (k.context.depth, k.context.derivatives, k.context.pending) == (0, 0, None)
    failure(k, ":{[1 2]}?:{}")
    assert k("+/1+!3") == 6


LIMITED = [
    ("1000000000#[1]", "a list of 1000000000 elements is larger than the limit, 1000000"),
    ("!99999999999", "larger than the limit"),
    ('1000000000#"ab"', "larger than the limit"),
    ("100{x,x}:*[1]", "larger than the limit"),
    ('100{x,x}:*"a"', "larger than the limit"),
    ("2000#,!1000", "larger than the limit"),
    ("(!2000)*:\\!2000", "larger than the limit"),
    (",/2000#,!1000.5", "must be an integer"),
    (",/2000#,[1 :a],!999", "larger than the limit"),
    ("&[9999999 1]", "larger than the limit"),
    ("{x;!1000}'!2000", "larger than the limit"),
    ("{x,0*y}\\2000#,!1000", "larger than the limit"),
    ("f::{f()};f()", "more steps than it was allowed"),
    ("f::{f(x)+f(x)};f(1)", "the recursion is deeper than 200 calls"),
    ("f::{:[x<1;0;f(x-1)+f(x-1)]};f(50)", "more steps than it was allowed"),
    ("{1}{x}:~1", "more steps than it was allowed"),
    ("{1}{x}\\~1", "more steps than it was allowed"),
    ("{1-x}:~0", "more steps than it was allowed"),
    ("{1-x}\\~0", "more steps than it was allowed"),
    ("99999999{x}:*1", "more steps than it was allowed"),
    ("99999999{x}\\*1", "larger than the limit"),
    ("{x}'!900000", "more steps than it was allowed"),
    ("(40{x,,x}:*:a)~40{x,,x}:*:a", "more steps than it was allowed"),
    ("$40{x,,x}:*:a", "more steps than it was allowed"),
    ("99{x*x}:*9", "would have more than 4000000 bits"),
    ("(10^20)^[9 99999999]", "would have more than 4000000 bits"),
]


@pytest.mark.parametrize(("program", "message"), LIMITED, ids=str)
def test_what_would_take_the_machine_down_is_an_error(program: str, message: str) -> None:
    k = KlongInterpreter(backend="python", recursion=200, elements=10**6, steps=20_000)
    assert message in failure(k, program)
    assert k("1+1") == 2  # each program has its own steps


ENDLESS = [
    "f::{1+f(x)};f(1)",
    "f::{f'x};f(,1)",
    "f::{:[@x;f'[1 2];f'x]};f([1 2])",
    'f::{1+.E("f()")};f()',
    "f::{f:>x};f(1.0)",
    "f::{x+f(x)};f:>1.0",
    "f::{1+f@,x};f(1)",
    "f::{y+f(x;y)};f/[1 2 3]",
    "f::{1+f:~x};f(1)",
    "f::{3{1+f(x)}:*x};f(1)",
    "f::{[a];a::f(x);a};f(1)",
    "f::{:[f(x);1;2]};f(1)",
    "f::{1+p(x)};f(1)",
    "f::{1+x(x)};f(f)",
]


@pytest.mark.parametrize("program", ENDLESS)
def test_infinite_recursion_of_every_kind_is_an_error(program: str) -> None:
    k = KlongInterpreter(backend="python", recursion=300)
    k["p"] = lambda x: k("f(1)")
    assert "the recursion is " in failure(k, program)
    assert (k.context.depth, k.context.derivatives) == (0, 0)
    assert k("#!3") == 3


def test_limits_of_an_interpreter_end_with_its_program() -> None:
    k = KlongInterpreter(backend="python", elements=10, steps=50)
    other = KlongInterpreter(backend="python")
    k["other"] = lambda x: other("#!1000")
    assert k("other(1)") == 1000
    assert "limit, 10;" in failure(k, "other(1);!11")
    k["back"] = lambda x: k("9{x}:*1")
    assert "more steps" in failure(k, "9{back(1)}:*1")  # a call back has no new ones
    assert k("#!10") == 10
    assert other("#!1000") == 1000
