"""Random differentiable expressions: exact derivatives beside central differences, in float64."""

import math
from importlib.util import find_spec
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from atled.core.tensor import Tensor
from atled.klong import KlongError, KlongInterpreter, compiled

SETUP = """t::{x%1+x^2}
s::{[c];c::,/x;(c@0),(c@1),c@(#c)-1}
scale::[0.7 1.1 -0.4]"""
# Maps of vectors of three reals, x and y, to such vectors, so they nest; `s` cuts a list to three.
MAPS = r"""
{t(x)}
{x*y}
{x+y}
{x-y}
{-x}
{scale*x}
{x%2+y*y}
{%2+x*x}
{(x^2)*y}
{x^3}
{(|x)*y}
{1:+x}
{x@[2 0 0]}
{x@<x}
{x@>y}
{s(1_x,y)}
{s((-2)#y,x)}
{s(5#x)}
{s(2:#x,y)}
{s(2:_x,y)}
{s(+[3 2]:^x,y)}
{s([2 3]:^x,y)}
{x:=2.5,1}
{x:-0.5,2}
{+\x}
{-\x}
{*\1.1+t(x)}
{|\x}
{x*+/y}
{x*-/y}
{x%1+(+/x)^2}
{x*|/y}
{y*&/x}
{0.5|x}
{t'x}
{x{x*t(y)}'y}
{{x+t(y)}\y*x}
{x+{x*t(y)}/y}
{s((-:'x),y)}
{s(x{x*y}:\y)}
{s(x*:\y)}
{s(x-:/y)}
{2{t(x)+0.1*x}:*x}
{s(2{t(x)+0.1*x}\*x)}
{{(+/x^2)>1}{x%2}:~x}
{:[(*x)>*y;x*2;y*x]}
{[a];a::t(x);a*a}
{[d];d:::{};d,"k",,x;d?"k"}
{{+/t(x)*x}:>x}
{y*{x^2}:>*x}
{+/x∂{t(x)*x}}
{+/.hessian({+/x^3};x)}
{.jvp({x^2};x;y)}
{.vjp({x^2};x;y)}
""".split("\n")[1:-1]
POINTS = st.lists(st.floats(-2, 2).map(lambda v: round(v, 3)), min_size=3, max_size=3)
# Where elements are equal, or zero, maxima and powers have kinks, and differences no meaning.
APART = (0.0003217, -0.0001563, 0.0002291)
SMOOTH_POINTS = POINTS.map(lambda p: [v + d for v, d in zip(p, APART, strict=True)])


def applied(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(st.sampled_from(MAPS), inner, inner).map(
        lambda t: f"{t[0]}({t[1]};{t[2]})" if "y" in t[0] else f"{t[0]}({t[1]})"
    )


BODIES = st.recursive(st.sampled_from(["x", "x", "scale"]), applied, max_leaves=5)
quietly = settings(deadline=None, suppress_health_check=list(HealthCheck))


def near(a: list[float], b: list[float], tolerance: float) -> bool:
    return all(abs(p - q) <= tolerance * (1 + abs(q)) for p, q in zip(a, b, strict=True))


def prepared(backend: str, body: str) -> KlongInterpreter:
    k = KlongInterpreter(backend=backend)
    k(SETUP)
    k(f"f::{{+/{body}+0*x}}")
    return k


def outcome(k: KlongInterpreter, expression: str) -> Any:
    try:
        return k(expression)
    except KlongError as error:
        return error.message


def smooth(k: KlongInterpreter, slope: str, point: list[float]) -> list[float]:
    """Return a slope by differences, where the function bends little: no kink, no step."""
    k["p"] = point
    found = k(slope).tolist()
    k["p"] = [v + d for v, d in zip(point, (1e-4, -1.3e-4, 2.1e-4), strict=True)]
    beside = k(slope).tolist()
    k["p"] = point
    assume(all(math.isfinite(v) and abs(v) < 1e4 for v in found + beside))
    assume(near(beside, found, 1e-2))
    return list(found)


def test_every_map_is_one(backend: str) -> None:
    for body in MAPS:
        k = prepared(backend, "x")
        k["x"] = [0.3, -1.2, 0.8]
        k["y"] = [1.5, 0.2, -0.6]
        arguments = "(x;y)" if "y" in body else "(x)"
        found = k(body + arguments)
        assert isinstance(found, Tensor), body
        assert found.shape == (3,), body
        assert found.dtype.is_floating_point, body


@pytest.mark.slow
@given(BODIES, SMOOTH_POINTS)
@settings(quietly, max_examples=80)
def test_gradients(backend: str, body: str, point: list[float]) -> None:
    k = prepared(backend, body)
    expected = smooth(k, "p∇f", point)
    assert near(k("f:>p").tolist(), expected, 1e-5)


@pytest.mark.slow
@given(BODIES, SMOOTH_POINTS)
@settings(quietly, max_examples=25)
def test_second_derivatives(backend: str, body: str, point: list[float]) -> None:
    k = prepared(backend, body)
    smooth(k, "p∇f", point)
    rows: Any = [smooth(k, f"p∇{{(f:>x)@{i}}}", point) for i in range(3)]
    found = k(".hessian(f;p)").tolist()
    nested = [k(f"{{(f:>x)@{i}}}:>p").tolist() for i in range(3)]
    for row, again, expected in zip(found, nested, rows, strict=True):
        assert near(row, expected, 1e-4)
        assert near(again, expected, 1e-4)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("llvmlite") is None, reason="programs are made by llvmlite")
@given(BODIES, POINTS, POINTS)
@settings(quietly, max_examples=40)
def test_gradients_of_programs_and_programs_of_gradients(
    body: str, first: list[float], second: list[float]
) -> None:
    assume(":{}" not in body)  # what makes a dictionary is not compiled
    plain, k = prepared("numpy", body), prepared("numpy", body)
    plain(".hot(0)")
    k("c::.compile(f);d::.compile({f:>x})")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled, "FEW", 1)
        patch.setattr(compiled, "PAYS", -1.0)
        patch.setattr(compiled, "TRIALS", 0)
        for point in (first, first, second):
            plain["p"] = k["p"] = point
            expected = plain("f:>p").tolist()
            assume(all(math.isfinite(v) for v in expected))
            assert near(k("f:>p").tolist(), expected, 1e-9)
            assert near(k("c:>p").tolist(), expected, 1e-9)
            found = outcome(k, "d(p)")
            if isinstance(found, str):  # a conditional or a loop looks at a value
                assert "cannot be compiled for these arguments" in found
            else:
                assert near(found.tolist(), expected, 1e-9)
