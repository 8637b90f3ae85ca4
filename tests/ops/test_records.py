"""Every record and every composite through every check: an operation adds no test code.

Forward against an independent implementation, inferred against real shape and dtype, both modes
of derivative at first and second order against central differences, every backend alike.
"""

import importlib
from typing import Any

import pytest

import atled as at
from atled.core.op import REGISTRY, Absent, Sample, Spec
from atled.testing import assert_close, check_grads
from tests.exemptions import UNTESTED
from tests.ops.subjects import Subject, cases, differentiable, operands_of, perform


def _reference(subject: Subject) -> Any:
    path = subject.reference or f"numpy.{subject.name}"
    module, _, name = path.rpartition(".")
    module = "tests.reference" if module == "reference" else module
    return getattr(importlib.import_module(module), name)


def _of_several(subject: Subject, sample: Sample) -> bool:
    """Say whether a sample has several operands that may have a gradient (not nested lists)."""
    return differentiable(subject) and sum(isinstance(o, tuple) for o in sample.operands) > 1


@pytest.mark.parametrize(("subject", "sample"), cases())
def test_forward_equals_reference(subject: Subject, sample: Sample, backend: str) -> None:
    pytest.importorskip("numpy", reason="the reference implementations are NumPy's")
    pytest.importorskip("scipy", reason="the reference implementations are SciPy's")
    operands = operands_of(subject, sample)
    y = perform(subject, operands, sample.static)
    static = {k: tuple(v) if isinstance(v, list) else v for k, v in sample.static.items()}
    expected = _reference(subject)(*[x.numpy() for x in operands], **static)
    results, references = (y, expected) if isinstance(y, (tuple, list)) else ((y,), (expected,))
    for result, reference in zip(results, references, strict=True):
        assert result.shape == reference.shape
        assert_close(result, at.tensor(reference.astype(result.dtype.name)), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("subject", "sample"), cases(composites=False))
def test_inferred_equals_real(subject: Subject, sample: Sample, backend: str) -> None:
    for dtype in (at.float64, at.float32):
        if dtype in at.current_backend().dtypes:
            operands = operands_of(subject, sample, dtype)
            real = perform(subject, operands, sample.static)
            specs = [Spec(x.shape, x.dtype) for x in operands]
            found = (
                tuple([Spec(y.shape, y.dtype) for y in real])
                if isinstance(real, tuple)
                else Spec(real.shape, real.dtype)
            )
            assert subject.infer(*specs, **sample.static) == found


@pytest.mark.parametrize(("subject", "sample"), cases())
def test_derivatives_equal_differences(subject: Subject, sample: Sample, backend: str) -> None:
    operands = operands_of(subject, sample)
    if not differentiable(subject):
        assert subject.derivative.reason
        x = [t.requires_grad_() if t.dtype.is_floating_point else t for t in operands]
        assert not perform(subject, x, sample.static).requires_grad
        return
    check_grads(lambda *xs: perform(subject, xs, sample.static), operands, order=2)


@pytest.mark.parametrize(
    ("subject", "sample"), [case for case in cases() if _of_several(*case.values)]
)
def test_each_operand_alone_has_the_same_gradient(
    subject: Subject, sample: Sample, backend: str
) -> None:
    """The tape keeps less for fewer operands: each choice must keep what its rules read."""
    operands = operands_of(subject, sample)
    floats = [i for i, x in enumerate(operands) if x.dtype.is_floating_point]
    together = _gradients(subject, operands, sample.static, floats)
    for i in floats:
        alone = _gradients(subject, operands, sample.static, [i])
        assert (alone[i] is None) == (together[i] is None)
        if alone[i] is not None:
            assert_close(alone[i], together[i])


def _gradients(subject: Subject, operands: Any, static: Any, wanted: list[int]) -> Any:
    xs = [x.detach().requires_grad_() if i in wanted else x for i, x in enumerate(operands)]
    y = perform(subject, xs, static)
    for n, part in enumerate(y if isinstance(y, (tuple, list)) else [y]):
        if part.requires_grad:
            weights = at.reshape(at.arange(part.size, dtype=at.float64) + n + 1, part.shape)
            part.backward(weights, retain_graph=True)
    return {i: xs[i].grad for i in wanted}


def test_every_operation_is_tested() -> None:
    bare = [name for name, op in REGISTRY.items() if not op.samples and name not in UNTESTED]
    assert not bare, f"records without a test sample: {bare}"


def test_every_absence_has_a_reason() -> None:
    for op in REGISTRY.values():
        for facet in (op.derivative, op.batch, op.lower):
            if isinstance(facet, Absent):
                assert facet.reason


def test_every_public_function_is_documented_and_exported() -> None:
    for name, function in at.functions.FUNCTIONS.items():
        assert function.__doc__, f"{name} has no docstring"
        assert getattr(at, name) is function, f"{name} is not a name of atled"
