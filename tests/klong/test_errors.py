"""Everything that can go wrong says what, and shows the place."""

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
    ("1 2", "an operator was expected; found 2", 3),
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
    ("[]:^1", "a:^b needs a shape and elements", 3),
    ("1:^[]", "a:^b needs a shape and elements", 2),
    ("+[[1] [2 3]]", "+a needs a matrix", 1),
    ('1<"a"', "a<b needs numbers", 2),
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
    ("f::{f(x)};f(1)", "the recursion is longer than 1000000 calls", 11),
    ('.rs("1 2")', "there is more than one object", 3),
    ('.rs("")', "there is nothing to read", 1),
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
    assert k("+".join(["1"] * 20000)) == 20000
    assert k("-" * 20000 + "1") == 1
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
