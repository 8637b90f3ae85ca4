"""The language beyond the manual's examples: what its text says, on every backend."""

import pytest

from atled.klong import UNDEFINED, Char, KlongError, KlongInterpreter, KlongSymbol
from atled.klong.printer import written


@pytest.fixture
def k(backend: str) -> KlongInterpreter:
    return KlongInterpreter(backend=backend)


def shown(k: KlongInterpreter, program: str) -> str:
    return written(k(program))


@pytest.mark.parametrize(
    ("program", "result"),
    [
        # lexemes
        ("1267650600228229401496703205376", "1267650600228229401496703205376"),
        ("0.", "0.0"),
        ("6.62607004e-34", "6.62607004e-34"),
        ("1e6", "1000000.0"),
        ("[-1 -0x10 0b101010 0o777 0xcafe 0xDEAD]", "[-1 -16 42 511 51966 57005]"),
        ("[0c0 0ca 0c* 0c~ 0c ]", "[0c0 0ca 0c* 0c~ 0c ]"),
        ('"say ""hello""!"', '"say ""hello""!"'),
        ('1+:"a comment "" with quotes"2', "3"),
        (":1+:0ca~0ca", "2"),
        ("[a .b :c]", "[:a :.b :c]"),
        ('[1\n 2 :"two"\n 3]', "[1 2 3]"),
        # grammar
        ("1-2-3", "2"),
        ("2*3+4", "14"),
        ("a::1;{[a];a::2}();a", "1"),
        ("f::{x+y}; 1f 2", "3"),
        ("1{x+y}2", "3"),
        ("{x+y}:(1;2)", "3"),
        ("f::{x-y};f(5;)(2)", "3"),
        ("f(;5)(2)", None),
        ("{x,y,z}(1;;3)(2)", "[1 2 3]"),
        ("a()", None),
        (":[0;1:|0;2:|1;3;4]", "3"),
        (':[[];:yes;:no],:["";:yes;:no],:[:x;:yes;:no]', "[:no :no :yes]"),
        ("ack::{:[0=x;y+1:|0=y;ack(x-1;1);ack(x-1;ack(x;y-1))]};ack(2;3)", "9"),
        ("{[f];f::x;f'y}({-x};[1 2 3])", "[-1 -2 -3]"),
        ("{y}(1;2),{z}(1;2;3)", "[2 3]"),
        ("({x}),1", "[:monad 1]"),
        ('f::{.d("");\n    .d("");\n    [5 6 7]\n    };f()', "[5 6 7]"),
        ("nested::{\n    5{\n        (,x),y\n    }/[1]\n};nested()", "[5 1]"),
        ("5{x*2}:*1", "32"),
        ("3{\n x*\n  2\n}:*1", "8"),
        ('.comment("end")\nthis *%(*^# too\nend of it\n1+1', "2"),
        # adverbs
        ("+/[]", "[]"),
        ("0+/[]", "0"),
        ("+/7", "7"),
        ("+\\1", "[1]"),
        ("+\\[1 2 3]", "[1 3 6]"),
        ("1+\\[1 2 3]", "[1 2 4 7]"),
        ("-/[10 2 3]", "5"),
        ("|\\[1 3 2]", "[1 3 3]"),
        ("&\\[3 1 2]", "[3 1 1]"),
        ("*/1+!25", "15511210043330985984000000"),
        ("+/[9223372036854775807 1]", "9223372036854775808"),
        (",/[[1 2] [3 4]]", "[1 2 3 4]"),
        (",/[[1] [2 3]]", "[1 2 3]"),
        ('{x}\'"abc"', '"abc"'),
        ("#'[[1 2] [3]]", "[2 1]"),
        ("{x}':{[1 2] [3 4]}", "[[1 2] [3 4]]"),
        ("[1 2 3],'[4 5]", "[[1 4] [2 5]]"),
        ("[1 2]+:\\[10 20]", "[[11 12] [21 22]]"),
        ("[1 2]-:\\[10 20]", "[[-9 -8] [-19 -18]]"),
        ("[1 2]-:/[10 20]", "[[9 8] [19 18]]"),
        ("1-:/[10 20]", "[9 19]"),
        ("-:'[1 3 7]", "[-2 -4]"),
        (",:'1", "1"),
        ("+/'[[1 2 3] [4 5 6]]", "[6 15]"),
        ("2:+:\\[[1 2 3]]", None),
        ("{x+1}'5", "6"),
        ("{1}'[5 6]", "[1 1]"),
        # verbs at their edges
        ("1%0", ":undefined"),
        ("0%0", ":undefined"),
        (":_1%[0 1]@0", "1"),
        ("5!0", ":undefined"),
        ("[5 6]!0", "[:undefined :undefined]"),
        ("[7 -7]!5", "[2 -2]"),
        ("[7 -7]:%5", "[1 -1]"),
        ("(-8)^0.5", ":undefined"),
        ("2^100", "1267650600228229401496703205376"),
        ("2^[62 63]", "[4611686018427387904 9223372036854775808]"),
        ("[2 3]^2", "[4 9]"),
        ("[2 3]^-1", "[0.5 0.3333333333333333]"),
        ("[1 [2 3]]+1", "[2 [3 4]]"),
        ("[[1 2] [3 4]]+[10 20]", "[[11 12] [23 24]]"),
        ("[1 2.5]", "[1.0 2.5]"),
        ('[1 "a" :b 0cc [1]]@[1 4]', '["a" [1]]'),
        ('"abc"@1', "0cb"),
        ("[[1 2] [3 4]]@[[0 1] [1 0]]", "[[[1 2] [3 4]] [[3 4] [1 2]]]"),
        ("[1 2 3]:=9,[0 2]", "[9 2 9]"),
        ("[1 2 3]:=0.5,1", "[1.0 0.5 3.0]"),
        ("[[1 2] [3 4]]:-[9 0 1]", "[[1 9] [3 4]]"),
        ('["abc" "def"]:-0cX,[0 1]', '["aXc" "def"]'),
        ('"hello"=0cl', "0"),
        ("[1 2]=[1 3]", "[1 0]"),
        ('"a"<"b"', "1"),
        ("<[[2 1] [1 3] [1 2]]", "[2 1 0]"),
        (">[1 1 2]", "[2 0 1]"),
        ("=[1 1.0 2]", "[[0 1] [2]]"),
        ("?[[1 2] [1 2] [3]]", "[[1 2] [3]]"),
        ("&[]", "[]"),
        ("^[[1] [2 3]]", "[2]"),
        ('+["ab" "cd"]', '["ac" "bd"]'),
        ('[2 2]:^"abc"', '["ab" "ca"]'),
        ("[2 2]:^[[1 2] [3 4]]", "[[[1 2] [3 4]] [[1 2] [3 4]]]"),
        ('$[1 "a" [2]]', '["1" "a" ["2"]]'),
        ("5.2$[1.5 22.25]", '["    1.50" "   22.25"]'),
        ('1:$"1.5"', ":undefined"),
        ('1.0:$"2"', "2.0"),
        ('1:$["1" "x"]', "[1 :undefined]"),
        ("#:{[1 2] [3 4]}", "2"),
        ("1_:{[1 2] [3 4]}", ":{[3 4]}"),
        (":{[[1 2] 3]}?[1 2]", "3"),
        (":{[[1 2] 3]}@[1 2]", "3"),
        ('.E("a::123");a', "123"),
        ('.rs(":{[1 [2 3]]}")', ":{[1 [2 3]]}"),
    ],
    ids=str,
)
def test_results(k: KlongInterpreter, program: str, result: str | None) -> None:
    special = {"2:+:\\[[1 2 3]]": "[[2 3 1]]"}
    if program == "f(;5)(2)":
        assert shown(k, "f::{x-y};f(;5)(2)") == "-3"
    elif program == "a()":
        assert shown(k, "a::{1};a()") == "1"
    else:
        assert shown(k, program) == (result or special[program])


def test_locals_are_dynamic_and_restored_after_errors(k: KlongInterpreter) -> None:
    k("a::1;g::{a};f::{[a];a::2;g()}")
    assert k("f()") == 2
    assert k["a"] == 1
    with pytest.raises(KlongError):
        k("{[a];a::5;foo}()")
    assert k["a"] == 1
    assert k("{[zzz];zzz}()") is UNDEFINED
    assert "zzz" not in k


def test_modules_protect_their_names(k: KlongInterpreter) -> None:
    k(".module(:foo)\na::1\ng::{a}\nf::{g()}\ns::{a::x}\n.module(0)")
    assert k("a::2;f()") == 1
    assert k("g::0;f()") == 1
    k("a::0;s(2)")
    assert k("a") == 0
    assert k("f()") == 2


def test_forward_references_in_modules(k: KlongInterpreter) -> None:
    k(".module(:m)\ne::{:[0=x;1:|1=x;0;o(x-1)]}\no::{:[0=x;0:|1=x;1;e(x-1)]}\n.module(0)")
    k("o::{7}")
    assert k("e(4)") == 1
    k("o::{100+x};.module(:n);e::{o(x)};.module(0)")
    assert k("e(1)") == 101  # an `o` that was there when the module was opened
    with pytest.raises(KlongError, match="modules do not nest"):
        k(".module(:a);.module(:b)")


def test_recursion_by_name_by_f_and_in_tail_position(k: KlongInterpreter) -> None:
    assert k("{:[0=x;[];1,.f(x-1)]}(3)").tolist() == [1, 1, 1]
    assert k("{:[@x;0;1+|/.f'x]}([1 [2 [3]]])") == 3
    assert k("d::{:[x<1;0;1+d(x-1)]};d(1000)") == 1000
    assert k("t::{:[x<1;y;t(x-1;y+1)]};t(20000;0)") == 20000


def test_dictionaries_change_in_place(k: KlongInterpreter) -> None:
    k('d:::{["a" 1]};e::d;d,"b",2;')
    assert k["e"] == {"a": 1, "b": 2}
    assert k('d?"c"') is UNDEFINED


def test_values_in_python(k: KlongInterpreter) -> None:
    assert k("0ca") == Char("a") != "a"
    assert k(":abc") == KlongSymbol("abc") != "abc"
    assert k("[1 2 3]").dtype.name == "int64"
    assert k("[1.5 2]").dtype.name == "float64"
    assert k("[[1 2] [3 4]]").shape == (2, 2)
    assert k("[1 [2]]")[0] == 1
    assert k("[]") == []
    assert k("+/!10") == 45
    assert type(k("1=1")) is int
    assert k("") == []
    assert [type(v) for v in k('["a" :b 0cc]')] == [str, KlongSymbol, Char]


def test_printing_of_what_has_no_readable_form(k: KlongInterpreter) -> None:
    assert shown(k, "{1},{x},{x+y},{x+y+z}") == "[:nilad :monad :dyad :triad]"
    assert shown(k, ".mi") == ":monad"
    assert shown(k, "1%[0 2]") == "[:undefined 0.5]"
