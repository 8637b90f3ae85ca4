"""Every record and every composite through every check: an operation adds no test code.

Forward against an independent implementation, inferred against real shape and dtype, both modes
of derivative at first and second order against central differences, every backend alike.
"""

import importlib
import random
from typing import Any

import pytest

import atled as at
from atled.core.apply import apply
from atled.core.op import REGISTRY, Absent, Op, Sample, Spec
from atled.core.surface import COMPOSITES
from atled.core.tensor import Tensor
from atled.testing import assert_close, check_grads

UNTESTED = {
    "to_device": "nothing to compare without a second device; tests/backends has it",
    "nonzero": "its size depends on the data; tests/ops/test_select.py has it",
    "random_bits": "tests/ops/test_random.py has it, against published answers",
}
Subject = Any  # an Op or a Composite


def _cases(composites: bool = True) -> list[Any]:
    subjects: list[Any] = [op for name, op in REGISTRY.items() if name not in UNTESTED]
    subjects += list(COMPOSITES.values()) if composites else []
    return [
        pytest.param(subject, sample, id=f"{subject.name}-{i}")
        for subject in subjects
        for i, sample in enumerate(subject.samples)
    ]


def _operands(subject: Subject, sample: Sample, dtype: Any = at.float64) -> list[Tensor]:
    """Make a sample's operands: random in the domain for a shape, as given for a list."""
    dice = random.Random(subject.name)
    low, high = sample.domain or subject.domain
    made = []
    for operand in sample.operands:
        if isinstance(operand, tuple):
            size = 1
            for n in operand:
                size *= n
            values = [dice.uniform(low, high) for _ in range(size)]
            made.append(at.reshape(at.tensor(values, dtype=dtype), operand))
        else:
            t = at.tensor(operand)
            made.append(t.astype(dtype) if t.dtype.is_floating_point else t)
    return made


def _run(subject: Subject, operands: Any, static: Any) -> Any:
    if isinstance(subject, Op):
        return apply(subject, *operands, **static)
    return subject.function(*operands, **static)


def _differentiable(subject: Subject) -> bool:
    return not isinstance(subject, Op) or not isinstance(subject.derivative, Absent)


def _reference(subject: Subject) -> Any:
    path = subject.reference or f"numpy.{subject.name}"
    module, _, name = path.rpartition(".")
    module = "tests.reference" if module == "reference" else module
    return getattr(importlib.import_module(module), name)


@pytest.mark.parametrize(("subject", "sample"), _cases())
def test_forward_equals_reference(subject: Subject, sample: Sample, backend: str) -> None:
    pytest.importorskip("numpy", reason="the reference implementations are NumPy's")
    pytest.importorskip("scipy", reason="the reference implementations are SciPy's")
    operands = _operands(subject, sample)
    y = _run(subject, operands, sample.static)
    static = {k: tuple(v) if isinstance(v, list) else v for k, v in sample.static.items()}
    expected = _reference(subject)(*[x.numpy() for x in operands], **static)
    results, references = (y, expected) if isinstance(y, tuple) else ((y,), (expected,))
    for result, reference in zip(results, references, strict=True):
        assert result.shape == reference.shape
        assert_close(result, at.tensor(reference.astype(result.dtype.name)), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("subject", "sample"), _cases(composites=False))
def test_inferred_equals_real(subject: Subject, sample: Sample, backend: str) -> None:
    for dtype in (at.float64, at.float32):
        if dtype in at.current_backend().dtypes:
            operands = _operands(subject, sample, dtype)
            real = _run(subject, operands, sample.static)
            specs = [Spec(x.shape, x.dtype) for x in operands]
            assert subject.infer(*specs, **sample.static) == Spec(real.shape, real.dtype)


@pytest.mark.parametrize(("subject", "sample"), _cases())
def test_derivatives_equal_differences(subject: Subject, sample: Sample, backend: str) -> None:
    operands = _operands(subject, sample)
    if not _differentiable(subject):
        assert subject.derivative.reason
        x = [t.requires_grad_() if t.dtype.is_floating_point else t for t in operands]
        assert not _run(subject, x, sample.static).requires_grad
        return
    check_grads(lambda *xs: _run(subject, xs, sample.static), operands, order=2)


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
        hidden = name in ("power", "clip_to", "softplus_unit")
        assert hidden or getattr(at, name) is function, f"{name} is not a name of atled"
