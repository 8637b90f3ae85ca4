"""Properties: what is printed reads back; backends agree; compiled agrees with interpreted."""

import math
import random
import re
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atled.backends import protocol
from atled.klong import Char, KlongError, KlongInterpreter, KlongSymbol
from atled.klong.arrays import freeze, listed
from atled.klong.exchange import from_python
from atled.klong.literals import data
from atled.klong.match import match
from atled.klong.printer import written
from atled.klong.values import Dictionary

sys.path.insert(0, str(Path(__file__).parent))

import fuzz

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


@pytest.mark.slow
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


@pytest.mark.slow
@given(st.lists(st.tuples(st.lists(ATOMS, max_size=3), VALUES), max_size=4))
@settings(max_examples=100, deadline=None)
def test_dictionaries_with_lists_as_keys_read_back(
    pairs: list[tuple[list[object], object]],
) -> None:
    k = KlongInterpreter(backend="python")
    with k.entered():
        inside = Dictionary({freeze(from_python(key)): from_python(v) for key, v in pairs})
        text = written(inside)
        assert exactly(inside, data(text)), text
        assert exactly(k.run(text), inside)


@pytest.mark.parametrize(
    ("value", "text", "again"),
    [
        (math.inf, ":undefined", KlongSymbol("undefined")),
        (-math.inf, ":undefined", KlongSymbol("undefined")),
        (math.nan, ":undefined", KlongSymbol("undefined")),
        (-0.0, "-0.0", -0.0),
        (5e-324, "5.0e-324", 5e-324),
        (1.7976931348623157e308, "1.7976931348623157e+308", 1.7976931348623157e308),
        (0.1 + 0.2, "0.30000000000000004", 0.1 + 0.2),
        (10**30, "1" + 30 * "0", 10**30),
        (-(2**63), "-9223372036854775808", -(2**63)),
        ([2**70, 1], "[1180591620717411303424 1]", [2**70, 1]),
        ([2**60, 0.5], "[1152921504606846976 0.5]", [2**60, 0.5]),
        ([[], [[]], ""], '[[] [[]] ""]', [[], [[]], ""]),
        ([Char('"'), Char(" "), Char("\n"), '"'], '[0c" 0c  0c\n """"]', None),
    ],
    ids=str,
)
def test_special_values(value: object, text: str | None, again: object) -> None:
    k = KlongInterpreter(backend="python")
    with k.entered():
        inside = from_python(value)
        found = written(inside)
        assert text is None or found == text
        expected = inside if again is None else from_python(again)
        assert exactly(data(found), expected)
        assert str(data(found)) == str(expected)  # the sign of zero, too


def test_integers_beyond_the_digits_of_python_read_back() -> None:
    value = 7**9000  # 7606 digits
    text = written([value, -value])
    assert len(text) == 2 * 7606 + 4
    assert data(text) == [value, -value]


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


@pytest.mark.slow
@given(EXPRESSIONS)
@settings(max_examples=250, deadline=None)
def test_backends_agree(expression: str) -> None:
    first, *others = [outcome(k, expression) for k in INTERPRETERS]
    for other in others:
        assert agree(first, other), (first, other)


REAL = re.compile(r"-?\d+\.\d*(?:e[+-]?\d+)?")


def alike(a: str, b: str) -> bool:
    """Say whether two texts are the same up to rounding of their reals."""
    if REAL.sub("#", a) != REAL.sub("#", b):
        return False
    pairs = zip(REAL.findall(a), REAL.findall(b), strict=True)
    return all(math.isclose(float(x), float(y), rel_tol=1e-9, abs_tol=1e-9) for x, y in pairs)


@pytest.mark.slow
@pytest.mark.skipif(len(INTERPRETERS) < 2, reason="there is one backend only")
@pytest.mark.filterwarnings("ignore")
def test_backends_agree_on_programs_of_the_fuzzer() -> None:
    """Strings, dictionaries, functions and adverbs, too: an error in one is an error in all."""
    maker, names, values = fuzz.Maker(random.Random(9)), protocol.names(), 0
    for i in range(900):
        if i % 50 == 0:
            ks = [fuzz.fresh(name) for name in names if protocol.is_installed(name)]
        text = maker.program()
        if ".rn" in text or ".pc" in text:
            continue
        results = []
        for k in ks:
            try:
                value = k(text)
                with k.entered():
                    results.append(written(value))
            except KlongError:
                results.append("error")
        values += results[0] != "error"
        assert all(alike(results[0], other) for other in results[1:]), (text, results)
    assert values > 150


@pytest.mark.skipif(find_spec("llvmlite") is None, reason="programs are made by llvmlite")
@given(EXPRESSIONS)
@settings(max_examples=25, deadline=None)
def test_compiled_agrees_with_interpreted(expression: str) -> None:
    k = made("numpy")
    k(f"f::{{x+{expression}}}")
    plain = outcome(k, "f(0.0)")
    k("g::.compile(f)")
    native = outcome(k, "g(0.0)")
    if native == "no program":  # it looks at a value; the interpreter may fail there, too
        return
    assert agree(plain, native), (plain, native)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(find_spec("llvmlite") is None, reason="programs are made by llvmlite")
@pytest.mark.skipif(not protocol.is_installed("numpy"), reason="programs run on NumPy's arrays")
def test_hot_functions_agree_with_interpreted() -> None:
    """Functions of the fuzzer's programs, called until they are hot, with the same argument."""
    with fuzz.at_once() as native:
        compare_hot_functions()
    assert native[0] > 200, native


def compare_hot_functions() -> None:
    maker, values = fuzz.Maker(random.Random(6)), 0
    maker.calm = True
    for _ in range(400):
        body, argument = maker.expression(4), maker.literal(1)
        if "::" in body or re.search(r"\.[a-z]{2,}", body):  # it depends on what was before
            continue
        results = []
        for compile, calls in ((False, 1), (True, 5)):
            k = fuzz.fresh("numpy", compile)
            try:
                k(f"q::{{[a];a::x;{body}}}")
                for _ in range(calls):
                    value = k(f"q({argument})")
                with k.entered():
                    results.append(written(value))
            except KlongError:
                results.append("error")
        values += results[0] != "error"
        assert alike(*results), (body, argument, results)
    assert values > 40


@pytest.mark.slow
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
    if (
        not all(map(math.isfinite, (exact, *steps)))
        or abs(steps[0]) > 1e4
        or abs(steps[0] - steps[1]) > 1e-4
    ):
        return  # near a step or a kink
    assert math.isclose(exact, steps[0], rel_tol=1e-4, abs_tol=1e-4)
