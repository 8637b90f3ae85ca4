"""Native programs never change a result: random programs, compiled on demand and when hot.

A program is made for the first of three values of one kind and used for the others, where
integers leave int64, indices their lists, and reals their range.
"""

import math
from importlib.util import find_spec
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from atled.core.tensor import Tensor
from atled.klong import KlongError, KlongInterpreter, compiled
from atled.klong.printer import written

pytestmark = pytest.mark.skipif(
    find_spec("llvmlite") is None or find_spec("numpy") is None,
    reason="programs are made by llvmlite and run on NumPy's arrays",
)

INTEGERS = st.one_of(st.integers(-4, 9), st.sampled_from([0, 2**31, 2**62, -(2**63), 10**12]))
REALS = st.one_of(
    st.floats(-4, 4).map(lambda v: round(v, 2)),
    st.sampled_from([0.0, 0.5, 1e300, -1e17, 2.0**53, 1e-300]),
)


def three(elements: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(elements, min_size=3, max_size=3)


def lists(elements: st.SearchStrategy[Any], length: int) -> st.SearchStrategy[Any]:
    return st.lists(elements, min_size=length, max_size=length)


VALUES = st.one_of(
    *[three(lists(elements, n)) for elements in (INTEGERS, REALS) for n in (1, 3, 4)],
    three(lists(lists(REALS, 2), 3)),
    three(REALS),
    INTEGERS.map(lambda i: [i, i, i]),
)
LEAVES = st.one_of(
    st.sampled_from(["x", "x", "x", "v", "v", "n"]),
    st.integers(-3, 9).map(lambda i: f"({i})"),
    st.floats(-4, 4).map(lambda v: f"({round(v, 2)!r})"),
    st.sampled_from(["[1 2 3]", "[0 2 1]", "[0.5 1.5 -2.5]", "(!4)", "f(2.5)", "h(x)"]),
)
DYADS = [*"+-*%|&=<>^!@,_#~", ":%", ":+", ":^", "+:\\", "-:/", "*'", "{x-y}", "{y|x*2}"]
MONADS = [*"-_#*|%<>~^!&=?+", "+/", "*/", "|/", "&/", "+\\", "*\\", "|\\", "%/", "-:'", ",/",
          "{x*x}'", "{x+y}/", "{x*y}\\", "{+/x}'", "3{x*1.5}:*", "-'", "1_", "2#"]  # fmt: skip


def larger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.tuples(inner, st.sampled_from(DYADS), inner).map(lambda t: f"({t[0]}{t[1]}{t[2]})"),
        st.tuples(st.sampled_from(MONADS), inner).map(lambda t: f"({t[0]}{t[1]})"),
        st.tuples(inner, inner, inner).map(lambda t: f":[{t[0]};{t[1]};{t[2]}]"),
        st.tuples(inner, inner).map(lambda t: f"{{x*y}}({t[0]};{t[1]})"),
        st.tuples(inner, st.integers(0, 3)).map(lambda t: f"({t[0]}:=7,{t[1]})"),
    )


BODIES = st.recursive(LEAVES, larger, max_leaves=7)


def outcome(k: KlongInterpreter, expression: str) -> Any:
    """Return the value, or the text of the error without its place."""
    try:
        return k(expression)
    except KlongError as error:
        return error.message.removeprefix("a compiled ")


def alike(a: Any, b: Any) -> bool:
    """Say whether two values are of one kind, and equal; reals up to rounding."""
    if type(a) is not type(b):
        return False
    if isinstance(a, Tensor):
        if a.dtype is not b.dtype or a.shape != b.shape:
            return False
        return alike(a.tolist(), b.tolist())
    if isinstance(a, list):
        return len(a) == len(b) and all(map(alike, a, b))
    if isinstance(a, float):
        if math.isnan(a) or math.isinf(a):
            return written(a) == written(b)
        return math.isclose(a, b, rel_tol=1e-9)
    return bool(a == b)


def prepared(body: str, compile: bool) -> KlongInterpreter:
    k = KlongInterpreter(backend="numpy", compile=compile)
    k(f"v::0.0;n::2;f::{{(x*2)+n}};h::{{x-v}};g::{{{body}}}")
    return k


def cancels(values: list[Any]) -> bool:
    """Say whether sums of such numbers may lose all digits, in another order."""
    flat = [v for row in values for v in (row if isinstance(row, list) else [row])]
    return any(type(v) is float and abs(v) >= 1e15 for v in flat if not isinstance(v, list))


@pytest.mark.slow
@given(BODIES, VALUES, three(REALS))
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
def test_programs_give_the_interpreters_results(
    body: str, values: list[Any], variable: list[float]
) -> None:
    plain, hot = prepared(body, False), prepared(body, True)
    assume(not cancels(values) or not any(v in body for v in ("+/", "+\\", "-/")))
    assume(not cancels(variable))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled, "FEW", 1)
        patch.setattr(compiled, "PAYS", -1.0)
        patch.setattr(compiled, "TRIALS", 0)  # whether it pays is not the question here
        for value, v in zip(values, variable, strict=True):
            for k in (plain, hot):
                k["a"], k["v"] = value, v
            expected = outcome(plain, "g(a)")
            assert alike(outcome(hot, "g(a)"), expected), (value, v)
            assert alike(outcome(hot, "g(a)"), expected), ("again", value, v)


@pytest.mark.slow
@given(BODIES, VALUES, three(REALS))
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
def test_compiled_on_demand_gives_the_interpreters_results(
    body: str, values: list[Any], variable: list[float]
) -> None:
    k = prepared(body, False)
    assume(not cancels(values) or not any(v in body for v in ("+/", "+\\", "-/")))
    assume(not cancels(variable))
    made = outcome(k, "c::.compile(g)")
    if isinstance(made, str):
        assert "cannot be compiled" in made
        return
    for value, v in zip(values, variable, strict=True):
        k["a"], k["v"] = value, v
        expected, found = outcome(k, "g(a)"), outcome(k, "c(a)")
        if isinstance(found, str) and "cannot be compiled" in found:
            return
        if isinstance(found, str) and "a compiled function takes" in found:
            return
        assert alike(found, expected), (value, v)


# -- what becomes hot, and when


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compile after the fifth call, whether it pays or not."""
    monkeypatch.setattr(compiled, "FEW", 5)
    monkeypatch.setattr(compiled, "PAYS", -1.0)
    monkeypatch.setattr(compiled, "TRIALS", 0)


@pytest.fixture
def k() -> KlongInterpreter:
    return KlongInterpreter(backend="numpy")


def entries(k: KlongInterpreter, name: str) -> list[compiled.Entry]:
    return list(k.context.variables[name].definition.hot.entries.values())


@pytest.mark.usefixtures("eager")
def test_a_hot_function_compiles_by_itself(k: KlongInterpreter) -> None:
    k("f::{(x*x)+2*x};a::[1.0 2.0 3.0]")
    assert {written(k("f(a)")) for _ in range(9)} == {"[3.0 8.0 15.0]"}
    (entry,) = entries(k, "f")
    assert entry.program is not None
    assert entry.calls == 5
    k("f([1.0 2.0])")
    assert [e.program is None for e in entries(k, "f")] == [False, True]


@pytest.mark.usefixtures("eager")
def test_hot_gradients_compile(k: KlongInterpreter) -> None:
    k("f::{+/x^2};p::[1.0 2.0];w::2;b::3.0;loss::{(w^2)+b^2}")
    for i in range(9):
        assert k("f:>p").tolist() == [2, 4]
        assert k(f"f:>{i}.0") == 2 * i
        assert k("loss:>[w b]").tolist() == [2 * k["w"], 6]
        k("w::w*0.99")
    watched = k.context.variables["f"].definition.hot_gradients[()]
    assert all(e.program is not None for e in watched.entries.values())


@pytest.mark.usefixtures("eager")
def test_hot_expressions_see_new_values(k: KlongInterpreter) -> None:
    k("a::[1.0 2.0];b::[3.0 4.0];x::1.0")
    for i in range(9):
        k["a"], k["x"] = [float(i), 2.0], float(i)
        assert k("((2*a)+b)*(a-b)").tolist() == [(2 * i + 3) * (i - 3), -16]
        assert k("x+b").tolist() == [i + 3, i + 4]  # outside of functions x is a variable


@pytest.mark.usefixtures("eager")
def test_hot_functions_see_new_functions(k: KlongInterpreter) -> None:
    k("a::[1.0 2.0];g::{x+s};s::1.0;f::{g(x)*2}")
    for i in range(30):
        k(f"s::{i};g::{{x{'+-'[i // 8 % 2]}s}}")
        sign = 1 - 2 * (i // 8 % 2)
        assert k("f(a)").tolist() == [2 * (1 + sign * i), 2 * (2 + sign * i)]


@pytest.mark.usefixtures("eager")
def test_what_looks_at_values_stays_interpreted(k: KlongInterpreter) -> None:
    k("f::{{x>1}{x%2}:~+/x};g::{&x>1}")
    for _ in range(9):
        assert k("f([3.0 5.0])") == 1
        assert k("g([3.0 0.0])").tolist() == [0]
    assert all(e.failed and e.program is None for e in entries(k, "g") + entries(k, "f"))


@pytest.mark.usefixtures("eager")
def test_what_cannot_be_compiled_is_not_watched_for_a_while(k: KlongInterpreter) -> None:
    k("f::{(&x>1),y}")
    for _ in range(7):
        k("f([3.0 0.0];1)")
    hot = k.context.variables["f"].definition.hot
    assert hot.rest == compiled.REST - 1
    hot.rest = 0
    assert k("f([3 0];1)").tolist() == [0, 1]  # another kind is watched
    assert len(hot.entries) == 2


@pytest.mark.usefixtures("eager")
def test_integers_that_leave_int64_are_left_to_the_interpreter(k: KlongInterpreter) -> None:
    k("f::{*/x};a::1+!15")
    for _ in range(7):
        assert k("f(a)") == math.prod(range(1, 16))
    (entry,) = entries(k, "f")
    assert entry.program is not None
    k("a::30+!15")
    for _ in range(9):
        assert k("f(a)") == math.prod(range(30, 45)) > 2**63
    assert entry.program is None
    assert entry.failed


@pytest.mark.usefixtures("eager")
def test_side_effects_stay_interpreted(k: KlongInterpreter) -> None:
    k("n::0;f::{n::n+1;x*2};a::[1.0 2.0]")
    for _ in range(9):
        k("f(a)")
    assert k["n"] == 9


@pytest.mark.usefixtures("eager")
def test_errors_are_the_interpreters(k: KlongInterpreter) -> None:
    k("f::{x@i};a::[1.0 2.0 3.0];i::[0 2]")
    for _ in range(9):
        assert k("f(a)").tolist() == [1, 3]
    assert entries(k, "f")[0].program is not None
    with pytest.raises(KlongError, match="index 7 is out of range: indices go from 0 to 2"):
        k("i::[0 7];f(a)")
    assert k("i::[1 1];f(a)").tolist() == [2, 2]
    assert k.context.depth == 0


def test_it_waits_until_it_pays_and_drops_what_is_slower(
    k: KlongInterpreter, monkeypatch: pytest.MonkeyPatch
) -> None:
    k("f::{x*x};a::[1.0 2.0]")
    for _ in range(20):
        k("f(a)")
    (entry,) = entries(k, "f")
    assert entry.program is None
    assert not entry.failed  # microseconds have been spent: compiling takes milliseconds
    monkeypatch.setattr(compiled, "PAYS", -1.0)
    k("f(a)")
    assert entry.program is not None
    entry.fastest = 0.0  # no program is faster than that
    for _ in range(compiled.TRIALS):
        assert k("f(a)").tolist() == [1, 4]
    assert entry.program is None
    assert entry.failed


def test_a_long_program_must_pay_more(k: KlongInterpreter, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call of 9 ms on short arrays is some thousand operations: half a second to compile."""
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += 0.009
        return now

    monkeypatch.setattr(compiled.time, "perf_counter", clock)
    k("f::{x+1.0};a::[1.0 2.0];b::!100000")
    for _ in range(20):
        k("f(a)")
    assert entries(k, "f")[0].program is None
    for _ in range(10):
        k("f(b)")
    assert entries(k, "f")[1].program is not None  # there it is a few operations on many elements
    for _ in range(40):
        k("f(a)")
    assert entries(k, "f")[0].program is not None


@pytest.mark.usefixtures("eager")
def test_long_loops_and_counters_stay_interpreted(k: KlongInterpreter) -> None:
    k("f::{1000{x*0.5}:*x};g::{x*y};a::[1.0 2.0]")
    for i in range(2 * compiled.LIMIT):
        assert k(f"g(a;{i})").tolist() == [i, 2 * i]
        if i < 9:
            assert k("f(a)").tolist() == [0.5**1000, 0.5**999]
    assert all(e.failed for e in entries(k, "f"))
    assert len(entries(k, "g")) <= compiled.LIMIT


@pytest.mark.usefixtures("eager")
def test_steps_are_counted_where_they_have_a_limit() -> None:
    k = KlongInterpreter(backend="numpy", steps=100)
    k("g::{{x*0.5}'x}")
    k("a::[1.0 2.0 3.0]")
    for _ in range(9):
        k("g(a)")
    assert k.context.variables["g"].definition.hot is None


@pytest.mark.usefixtures("eager")
def test_it_can_be_turned_off() -> None:
    for k in (KlongInterpreter(backend="numpy", compile=False), KlongInterpreter(backend="numpy")):
        k(".hot(0);f::{x*x};a::[1.0 2.0]")
        for _ in range(9):
            k("f(a)")
        assert k.context.variables["f"].definition.hot is None
