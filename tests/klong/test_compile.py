"""Native programs on demand: the same results as the interpreter's, or a reason."""

from importlib.util import find_spec

import pytest

from atled.backends import protocol
from atled.klong import KlongError, KlongInterpreter, compiled
from atled.klong.match import match
from atled.klong.printer import written

pytestmark = pytest.mark.skipif(
    find_spec("llvmlite") is None or find_spec("numpy") is None,
    reason="programs are made by llvmlite and run on NumPy's arrays",
)


@pytest.fixture
def k() -> KlongInterpreter:
    return KlongInterpreter(backend="numpy")


@pytest.mark.parametrize(
    ("function", "argument"),
    [
        ("{+/x^2}", "[1.0 2.0 3.0]"),
        ("{+/x^2}", "[1 2 3]"),
        ("{x*{y-x}(x;2.0)}", "[1.0 2.0]"),
        ("{{x*x}'x}", "[1.0 2.0 3.0]"),
        ("{+\\x}", "[1.0 2.0 3.0]"),
        ("{{x*y}/x}", "[2.0 3.0 4.0]"),
        ("{3{x*1.5}:*x}", "2.0"),
        ("{|/x&2.5}", "[1.0 2.0 3.0]"),
        ("{:[x>2;x;-x]}", "3.0"),
        ("{:[x>2;x;-x]}", "1.0"),
        ("{:[x>2;x:|x>1;x*10;-x]}", "1.5"),
        ("{+x}", "[[1.0 2.0] [3.0 4.0]]"),
        ("{(+/x)%#x}", "[1.0 2.0 3.0]"),
        ("{exp(sin(x))}", "[1.0 2.0 3.0]"),
        ("{{+/x^3}:>x}", "[1.0 2.0]"),
        ("{[a];a::x*2;a+a}", "[1.0 2.0]"),
        ("{|x}", "[1.0 2.0]"),
        ("{x=2}", "[1.0 2.0]"),
        ("{_x}", "[1.5 -2.5]"),
        ("{x@[0 2]}", "[1.0 2.0 3.0]"),
        ("{x,x}", "[1.0 2.0]"),
        ("helper", "[1.0 2.0]"),
    ],
)
def test_on_demand(k: KlongInterpreter, function: str, argument: str) -> None:
    k('.bkf(["exp" "sin"]);helper::{scale*x+other(x)};other::{x%2};scale::3.0')
    expected = k(f"f::{function};f({argument})")
    k("g::.compile(f)")
    for _ in range(2):
        assert match(k(f"g({argument})"), expected)
        assert written(k(f"g({argument})")) == written(expected)


def test_variables_are_read_at_each_call(k: KlongInterpreter) -> None:
    k("s::2.0;f::{s*x};g::.compile(f)")
    assert k("g(3.0)") == 6
    assert k("s::5.0;g(3.0)") == 15
    assert k("h::{x+1};f2::{h(x)};g2::.compile(f2);g2(1.0)") == 2
    assert k("h::{x+10};g2(1.0)") == 11


def test_a_compiled_function_is_differentiable(k: KlongInterpreter) -> None:
    assert k("f::{x^3};g::.compile(f);g:>2.0") == 12


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (".compile({w::x})", "it assigns to w"),
        (".compile({.p(x)})", "it calls .p"),
        ('s::"a";.compile({s,x})', "it reads s, which is not a number"),
        (".compile(3)", "needs a function; found an integer"),
        (".compile(.p)", "needs a function written in Klong"),
        ("f::.compile({!x});f(3.0)", "must stay outside|must be an integer"),
        ("f::.compile({&x});f([1 0])", "{&x} cannot be compiled for these arguments: a in &a"),
        ("f::.compile({{x>1}{x%2}:~+/x});f([3.0 5.0])", "a value was asked for"),
        ("f::.compile({x|0});f(0.5)", "a value decides here between an integer and a real"),
        ("f::.compile({:[x>0;1;x]});f(0.5)", "a value decides here between an integer and a real"),
        ("f::.compile({x~[1 2]});f([1 2])", "it looks at a value"),
        ("f::.compile({6000{x+1}:*x});f(0.5)", "its loops, written out, are too long"),
        ("p::.p;.compile({p(x)})", "it calls .p"),
        ("n::0;add::{n::x+y};g::add(1;);.compile({g(x)})", "it assigns to n"),
        ('.bkf("rand");.compile({x+rand(2)})', "it calls rand, a function of Python"),
        ('.pyf("math";"sqrt");.compile({sqrt(x)})', "it calls sqrt, a function of Python"),
        (".compile({:{[1 2]}})", "it makes a dictionary"),
        ('f::.compile({x});f("a")', "takes numbers and arrays"),
        ("f::.compile({:[x>0;,x;x]});f(3.0)", "must be numbers alike"),
        ("f::.compile({x>0}{x-1}:~5)", "needs a function; found an integer"),
    ],
)
def test_what_cannot_be_compiled_says_why(k: KlongInterpreter, program: str, message: str) -> None:
    with pytest.raises(KlongError, match=message):
        k(program)


@pytest.mark.parametrize(
    ("function", "calls"),
    [
        ("{x*x}", ["3", "4611686018427387904", "[2 3]", "2.0", "[2.0 3.0]"]),
        ("{(x@0)*x@1}", ["[5 7]", "[4611686018427387904 4]"]),
        ("{+/x}", ["[1 2]", "[4611686018427387904 4611686018427387904]"]),
        ("{*/x}", ["[1 2 3]", "[4611686018427387904 4 1]", "1+!25"]),
        ("{x^2}", ["[2 3]", "[4611686018427387904 3]"]),
        ("{2^x}", ["[2 3]", "[70 3]", "[-1 3]"]),
        ("{_x}", ["[1.5 -2.5]", "[1e300 2.5]", "1e300", "2.5"]),
        ("{x@[0 2]}", ["[1 2 3]", "[1.0 2.0 3.0]"]),
        ("{[1 2 3]@x}", ["[0 2]", "[0 3]"]),
        ("{12!x}", ["[5 7]", "[5 0]"]),
        ("{1%x}", ["2.0", "0.0", "[0.0 1.0]", "[0 1]"]),
        ("{:_1%x}", ["[0.0 1.0]"]),
        ("{:[x>2;x;-x]}", ["3.0", "1.0", "3", "1"]),
        ("{x{x+y}/[1 2 3]}", ["1", "1.5"]),
        ("{?x}", ["[1 1 2]"]),
    ],
)
def test_compiled_gives_what_the_interpreter_gives(
    k: KlongInterpreter, function: str, calls: list[str]
) -> None:
    """Each call but the first of its kind runs a program that was made for other values."""
    k(f"f::{function};g::.compile(f)")
    for x in calls:
        try:
            expected = written(k(f"f({x})"))
        except KlongError as error:
            expected = error.message
        for _ in range(2):
            try:
                found = written(k(f"g({x})"))
            except KlongError as error:
                found = error.message
            assert found == expected or "cannot be compiled for these arguments" in found, x


def test_compiled_functions_inside_each_other_and_inside_derivatives(k: KlongInterpreter) -> None:
    k("f::{x^2};cf::.compile(f);g::{+/cf(x)*scale};scale::2.0;cg::.compile(g)")
    assert k("cg([1.0 2.0])") == 10
    assert k("scale::[1.0 10.0];cg([1.0 2.0])") == 41
    assert k("cg:>[1.0 2.0]").tolist() == [2, 40]
    assert k("{+/cg:>x}:>[1.0 2.0]").tolist() == [2, 20]
    k("slope::.compile({cg:>x})")
    assert k("slope([1.0 2.0])").tolist() == [2, 40]
    assert k("scale::3;slope([1.0 2.0])").tolist() == [6, 12]
    assert k("f::{x^3};cf::.compile(f);slope([1.0 2.0])").tolist() == [9, 36]


def test_what_a_program_reads_may_become_anything(k: KlongInterpreter) -> None:
    k("s::2.0;f::{s*x};c::.compile(f);a::[1.0 2.0]")
    for value, result in (
        ("2.0", "[2.0 4.0]"),
        ("3", "[3.0 6.0]"),
        ("[1 10]", "[1.0 20.0]"),
        ("[[1 2] [3 4]]", "[[1.0 2.0] [6.0 8.0]]"),
        ("0.5", "[0.5 1.0]"),
    ):
        assert written(k(f"s::{value};c(a)")) == written(k("f(a)")) == result
    with pytest.raises(KlongError, match=r"a\*b: lists of 3 and 2 elements do not match"):
        k("s::[1 2 3];c(a)")
    with pytest.raises(KlongError, match=r"it reads s, which is not a number|needs numbers"):
        k('s::"abc";c(a)')
    assert k("s::2;c(a)").tolist() == [2, 4]


def test_a_projection_reads_what_its_function_reads(k: KlongInterpreter) -> None:
    k("s::2.0;f::{(s*x)+y};g::f(;1.0);c::.compile({g(x)})")
    assert k("c(3.0)") == 7
    assert k("s::10.0;c(3.0)") == 31


def test_modules_are_read_where_they_are(k: KlongInterpreter) -> None:
    k("s::2.0")
    k(".module(:m)")
    k("t::5.0")
    k("f::{s*t*x}")
    k("late::{s::x}")
    k(".module(0)")
    k("c::.compile(f);t::100.0")
    assert k("c(1.0)") == 10
    assert k("s::3.0;c(1.0)") == k("f(1.0)") == 15


def test_too_many_programs_are_warned_of(k: KlongInterpreter) -> None:
    k("f::.compile({x*y});a::[1.0 2.0]")
    for i in range(compiled.LIMIT):
        assert k(f"f(a;{i})").tolist() == [i, 2 * i]
    with pytest.warns(RuntimeWarning, match="Integers are part of a program: pass what changes"):
        found = k("f(a;1000)")
    assert found.tolist() == [1000, 2000]
    assert k("f(a;1001)").tolist() == [1001, 2002]  # no second warning


@pytest.mark.parametrize("name", ["python", "torch"])
def test_other_backends_have_no_programs_and_say_so(name: str) -> None:
    if not protocol.is_installed(name):
        pytest.skip(f"{name} is not installed")
    k = KlongInterpreter(backend=name)
    k("f::{x|0};c::.compile(f)")
    with pytest.warns(RuntimeWarning, match="runs eagerly: programs run on NumPy's arrays"):
        found = k("c(0.5)")
    assert found == 0.5
    assert k("c(-0.5)") == 0  # no second warning
