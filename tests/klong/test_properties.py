"""Properties: what is printed reads back; backends agree; compiled agrees with interpreted."""

import math
from importlib.util import find_spec

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atled.backends import protocol
from atled.klong import Char, KlongError, KlongInterpreter, KlongSymbol
from atled.klong.arrays import listed
from atled.klong.exchange import from_python
from atled.klong.literals import data
from atled.klong.match import match
from atled.klong.printer import written

NAMES = st.from_regex(r"[a-zA-Z][a-zA-Z0-9.]{0,5}", fullmatch=True)
ATOMS = st.one_of(
    st.integers(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.characters().map(Char),
    NAMES.map(KlongSymbol),
)
KEYS = st.one_of(st.integers(), st.text(max_size=4), NAMES.map(KlongSymbol))
VALUES = st.recursive(
    ATOMS,
    lambda inner: st.one_of(st.lists(inner, max_size=5), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=20,
)


def exactly(a: object, b: object) -> bool:
    """Say whether two values are the same to the last bit and type."""
    return type(a) is type(b) and match(a, b) and written(a) == written(b)


@given(VALUES)
@settings(max_examples=300, deadline=None)
def test_printing_and_reading_back_is_the_identity(value: object) -> None:
    k = KlongInterpreter(backend="python")
    with k.entered():
        inside = from_python(value)
        text = written(inside)
        again = data(text)
        assert exactly(inside, again), text
        assert exactly(k.run(text if not text.startswith("-") else f"({text})"), inside)
        assert written(again) == text


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
@settings(max_examples=100, deadline=None)
def test_reals_read_back_to_the_last_bit(values: list[float]) -> None:
    k = KlongInterpreter(backend="python")
    with k.entered():
        again = data(written(listed(values)))
        assert [v.hex() for v in again.tolist()] == [v.hex() for v in values]


# -- expressions

NUMBERS = st.one_of(
    st.integers(-9, 9).map(str),
    st.floats(-4, 4).map(lambda v: repr(round(v, 2))),
    st.lists(st.integers(-9, 9), min_size=3, max_size=3).map(lambda v: written(v)),
    st.lists(st.floats(-4, 4).map(lambda v: round(v, 2)), min_size=3, max_size=3).map(written),
    st.sampled_from(["a", "b", "c", "m"]),
)
LEAVES = NUMBERS.map(lambda t: f"({t})" if t.startswith("-") else t)


MONADS = ["-", "+/", "|/", "&/", "+\\", "|", "#", "_", "*", "2^0.1*", "1_"]


def larger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.tuples(inner, st.sampled_from(list("+-*%|&=<>")), inner).map(
            lambda t: f"({t[0]}{t[1]}{t[2]})"
        ),
        st.tuples(st.sampled_from(MONADS), inner).map(
            lambda t: f"({t[0]}{t[1]})"
        ),
        st.tuples(st.sampled_from(["{x*x}'", "{x+y}/", "-:'", "{x+y}\\"]), inner).map(
            lambda t: f"({t[0]}{t[1]})"
        ),
        st.tuples(inner, inner).map(lambda t: f"{{:[(*,/,x)>0;x;y]}}({t[0]};{t[1]})"),
    )  # fmt: skip


EXPRESSIONS = st.recursive(LEAVES, larger, max_leaves=8)


def outcome(k: KlongInterpreter, expression: str) -> object:
    """Return the value as plain data, or "error"."""
    try:
        value = k(expression)
    except KlongError as error:
        return "no program" if "cannot be compiled" in error.message else "error"
    with k.entered():
        return data(written(value).replace(":undefined", "1e308"))


def made(backend: str, compile: bool = False) -> KlongInterpreter:
    k = KlongInterpreter(backend=backend, compile=compile)
    k("a::[1.5 -2.0 3.0];b::[1 2 3];c::2.5;m::[[1.0 2.0] [3.0 4.0] [5.0 -6.0]]")
    return k


def agree(a: object, b: object) -> bool:
    if type(a) in (int, float) and type(b) in (int, float):
        return math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-9)
    if type(a) is str or type(b) is str:
        return a == b
    x, y = (v.tolist() if hasattr(v, "tolist") else v for v in (a, b))
    if isinstance(x, list) and isinstance(y, list):
        return len(x) == len(y) and all(map(agree, x, y))
    return agree(x, y) if type(x) in (int, float) else match(x, y)


INTERPRETERS = [made(name) for name in protocol.names() if protocol.is_installed(name)]


@given(EXPRESSIONS)
@settings(max_examples=250, deadline=None)
def test_backends_agree(expression: str) -> None:
    first, *others = [outcome(k, expression) for k in INTERPRETERS]
    for other in others:
        assert agree(first, other), (first, other)


@pytest.mark.skipif(find_spec("llvmlite") is None, reason="programs are made by llvmlite")
@given(EXPRESSIONS)
@settings(max_examples=40, deadline=None)
def test_compiled_agrees_with_interpreted(expression: str) -> None:
    k = made("numpy")
    k(f"f::{{x+{expression}}}")
    plain = outcome(k, "f(0.0)")
    k("g::.compile(f)")
    native = outcome(k, "g(0.0)")
    if native == "no program":  # it looks at a value; the interpreter may fail there, too
        return
    assert agree(plain, native), (plain, native)


@given(EXPRESSIONS)
@settings(max_examples=60, deadline=None)
def test_exact_gradients_agree_with_differences(expression: str) -> None:
    k = INTERPRETERS[-1] if INTERPRETERS else made("python")
    k(f"f::{{+/,/:~,(x*x)+{expression.replace('c', 'x')}}}")
    try:
        exact = k("f:>0.7654321")
        steps = [k("0.7654321∇f"), k("0.76543211∇f")]
    except KlongError:
        return
    if not math.isfinite(exact) or abs(steps[0]) > 1e4 or abs(steps[0] - steps[1]) > 1e-4:
        return  # near a step or a kink
    assert math.isclose(exact, steps[0], rel_tol=1e-4, abs_tol=1e-4)
