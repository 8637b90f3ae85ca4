"""Compiled equals eager, for every record and composite: value, gradient, second order."""

from typing import Any

import pytest

import atled as at
from atled.core.tensor import Tensor
from atled.testing import assert_close
from atled.tree import flatten
from tests.ops.subjects import cases, differentiable, operands_of, perform

pytest.importorskip("llvmlite", reason="programs are compiled by llvmlite")
pytest.importorskip("numpy", reason="programs run on NumPy's arrays")
pytestmark = pytest.mark.usefixtures("executor")

# What needs values while tracing: the shape of the result, or of something on the way.
VALUES = {"masked_select", "repeat-2"}
LIMITS = {at.float32: 2e-5, at.float64: 1e-11}


def _cases(known: bool = True) -> list[Any]:
    return [case for case in cases() if VALUES.isdisjoint((case.values[0].name, case.id)) == known]


def _tensors(nest: Any) -> list[Tensor]:
    return [x for x in flatten(nest)[0] if isinstance(x, Tensor)]


def _gradients(function: Any, operands: list[Tensor], order: int) -> Any:
    """Return results, and the gradients of Σ cos(result) up to an order, of floating operands."""
    inputs = [x.detach() for x in operands]
    wanted = [x.requires_grad_() for x in inputs if x.dtype.is_floating_point]
    results = _tensors(function(*inputs))
    found = [results]
    ends = [y for y in results if y.requires_grad]
    for n in range(order):
        if not ends:
            break
        total = sum((at.cos(y).sum() for y in ends), at.zeros((), dtype=ends[0].dtype))
        gs = at.autograd.grad(total, wanted, create_graph=n + 1 < order, materialize_grads=True)
        found.append(list(gs))
        ends = [g for g in gs if g.requires_grad]
    return found


@pytest.mark.parametrize("dtype", [at.float32, at.float64], ids=lambda d: d.name)
@pytest.mark.parametrize(("subject", "sample"), _cases())
def test_compiled_equals_eager(subject: Any, sample: Any, dtype: Any) -> None:
    operands = operands_of(subject, sample, dtype)

    def function(*tensors: Tensor) -> Any:
        return perform(subject, tensors, sample.static)

    compiled = at.compile(function)
    with at.no_grad():
        assert_close(_tensors(compiled(*operands)), _tensors(function(*operands)))
    if differentiable(subject):
        limit = LIMITS[dtype]
        assert_close(
            _gradients(compiled, operands, 1), _gradients(function, operands, 1), limit, limit
        )
        assert compiled.stats().eager == 0


@pytest.mark.parametrize(("subject", "sample"), _cases())
def test_the_second_derivative_is_compiled_too(subject: Any, sample: Any) -> None:
    if not differentiable(subject):
        pytest.skip("it has no derivative")
    operands = operands_of(subject, sample, at.float64)

    def function(*tensors: Tensor) -> Any:
        return perform(subject, tensors, sample.static)

    ours = _gradients(at.compile(function), operands, 2)
    assert_close(ours, _gradients(function, operands, 2), 1e-10, 1e-10)


@pytest.mark.parametrize(("subject", "sample"), _cases(known=False))
def test_what_needs_values_says_so(subject: Any, sample: Any) -> None:
    operands = operands_of(subject, sample, at.float32)
    with pytest.raises(at.TraceError, match=r"was asked for|fixed shapes"):
        at.compile(lambda *tensors: perform(subject, tensors, sample.static))(*operands)
