"""Native programs: on demand, and of what is hot; the same results as the interpreter's."""

from importlib.util import find_spec

import pytest

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
    k("helper::{scale*x+other(x)};other::{x%2};scale::3.0")
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
        ("f::.compile({!x});f(3)", "must stay outside|must be an integer"),
        ('f::.compile({x});f("a")', "takes numbers and arrays"),
        ("f::.compile({:[x>0;,x;x]});f(3)", "must be numbers alike"),
        ("f::.compile({x>0}{x-1}:~5)", None),
    ],
)
def test_what_cannot_be_compiled_says_why(
    k: KlongInterpreter, program: str, message: str | None
) -> None:
    if message is None:
        message = "needs a function; found an integer"
    with pytest.raises(KlongError, match=message):
        k(program)


def entries(k: KlongInterpreter, name: str) -> list[compiled.Entry]:
    return list(k.context.variables[name].definition.hot.entries.values())


def test_a_hot_function_compiles_by_itself(k: KlongInterpreter) -> None:
    k("f::{(x*x)+2*x};a::[1.0 2.0 3.0]")
    results = {written(k("f(a)")) for _ in range(compiled.MANY + 5)}
    assert results == {"[3.0 8.0 15.0]"}
    (entry,) = entries(k, "f")
    assert entry.program is not None
    assert entry.calls == compiled.MANY
    k("f([1.0 2.0])")
    assert [e.program is None for e in entries(k, "f")] == [False, True]


def test_hot_gradients_compile(k: KlongInterpreter) -> None:
    k("f::{+/x^2};p::[1.0 2.0];w::2.0;b::3.0;loss::{(w^2)+b^2}")
    for _ in range(compiled.MANY + 5):
        assert k("f:>p").tolist() == [2, 4]
        assert k("f:>3.0") == 6
        assert k("loss:>[w b]").tolist() == [2 * k["w"], 6]
        k("w::w*0.99")
    hot = k.context.variables["f"].definition.hot_gradients[None]
    assert all(e.program is not None for e in hot.entries.values())


def test_hot_expressions_compile_and_see_new_values(k: KlongInterpreter) -> None:
    k("a::[1.0 2.0];b::[3.0 4.0]")
    for i in range(compiled.MANY + 5):
        k["a"] = [float(i), 2.0]
        assert k("((2*a)+b)*(a-b)").tolist() == [(2 * i + 3) * (i - 3), -16]


def test_what_looks_at_values_stays_interpreted(k: KlongInterpreter) -> None:
    k("f::{{x>1}{x%2}:~+/x};g::{&x>1}")
    for _ in range(compiled.MANY + 5):
        assert k("f([3.0 5.0])") == 1
        assert k("g([3.0 0.0])").tolist() == [0]
    assert all(e.failed and e.program is None for e in entries(k, "g"))


def test_integers_that_may_leave_int64_stay_interpreted(k: KlongInterpreter) -> None:
    k("f::{*/x};a::1+!25")
    for _ in range(compiled.MANY + 5):
        assert k("f(a)") == 15511210043330985984000000


def test_side_effects_stay_interpreted(k: KlongInterpreter) -> None:
    k("n::0;f::{n::n+1;x*2};a::[1.0 2.0]")
    for _ in range(compiled.MANY + 5):
        k("f(a)")
    assert k["n"] == compiled.MANY + 5


def test_it_can_be_turned_off() -> None:
    k = KlongInterpreter(backend="numpy", compile=False)
    k("f::{x*x};a::[1.0 2.0]")
    for _ in range(compiled.MANY + 5):
        k("f(a)")
    assert k.context.variables["f"].definition.hot is None
    k = KlongInterpreter(backend="numpy")
    k(".hot(0);f::{x*x};a::[1.0 2.0]")
    for _ in range(compiled.MANY + 5):
        k("f(a)")
    assert k.context.variables["f"].definition.hot is None
