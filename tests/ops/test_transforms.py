"""Every record and every composite under the transforms: an operation adds no test code.

`vmap` against a loop, over each operand alone and over all together, over the first axis and the
last; `vmap` of `vmap`, `vmap` of `grad`, `grad` of `vmap`; forward mode against reverse mode;
second derivatives in every order of the two modes. What a batch cannot hold raises its reason.
"""

import gc
import random
import sys
from collections.abc import Sequence
from typing import Any

import pytest

import atled as at
from atled.backends.protocol import PORTABLE
from atled.core.batching import RULES
from atled.core.op import REGISTRY, Sample
from atled.core.tensor import Tensor
from atled.testing import assert_close
from atled.tree import flatten
from tests.exemptions import LOOPED, UNBATCHED
from tests.ops.subjects import Subject, cases, differentiable, floating, operands_of, perform

B = 3  # examples
BATCHABLE = [c for c in cases() if c.values[0].name not in UNBATCHED]
SMOOTH = [c for c in cases() if differentiable(c.values[0])]
BOTH = [c for c in BATCHABLE if differentiable(c.values[0])]


def _examples(subject: Subject, sample: Sample, mapped: Sequence[int]) -> list[list[Tensor]]:
    """Return the operands of each example: those mapped differ, if they are floating."""
    all_of_them = [operands_of(subject, sample, seed=b) for b in range(B)]
    return [
        [operands[i] if i in mapped else all_of_them[0][i] for i in range(len(operands))]
        for operands in all_of_them
    ]


def _batch(examples: list[list[Tensor]], mapped: Sequence[int], axis: int) -> list[Tensor]:
    """Return one operand for all examples: side by side along an axis where mapped."""
    return [
        at.stack([x[i] for x in examples], axis=axis) if i in mapped else examples[0][i]
        for i in range(len(examples[0]))
    ]


def _axes(count: int, mapped: Sequence[int], axis: int) -> tuple[int | None, ...]:
    return tuple([axis if i in mapped else None for i in range(count)])


def _tensors(nest: Any) -> list[Tensor]:
    return [x for x in flatten(nest)[0] if isinstance(x, Tensor)]


def _function(subject: Subject, sample: Sample) -> Any:
    return lambda *xs: tuple(_tensors(perform(subject, xs, sample.static)))


def _scalar(subject: Subject, sample: Sample) -> Any:
    """Return Σ wᵢ cos(yᵢ) over the floating results: a number that all of them count in."""

    def scalar(*xs: Tensor) -> Tensor:
        total = at.zeros((), dtype=at.float64)
        for k, y in enumerate(_tensors(perform(subject, xs, sample.static))):
            if y.dtype.is_floating_point:
                weights = at.reshape(at.arange(y.size, dtype=at.float64), y.shape) * 0.1 + k + 1
                total = total + (at.cos(y) * weights).sum()
        return total

    return scalar


def _choices(count: int) -> list[tuple[int, ...]]:
    """Return the operands to map: each alone, and all together."""
    alone = [(i,) for i in range(count)]
    return alone if count == 1 else [*alone, tuple(range(count))]


@pytest.mark.parametrize(("subject", "sample"), BATCHABLE)
def test_vmap_equals_a_loop(subject: Subject, sample: Sample, backend: str) -> None:
    f = _function(subject, sample)
    for mapped in _choices(len(sample.operands)):
        examples = _examples(subject, sample, mapped)
        rows = [f(*x) for x in examples]
        for axis in (0, -1):
            expected = [at.stack(list(ys), axis=axis) for ys in zip(*rows, strict=True)]
            axes = _axes(len(sample.operands), mapped, axis)
            found = at.vmap(f, in_axes=axes, out_axes=axis)(*_batch(examples, mapped, axis))
            assert [y.dtype for y in found] == [y.dtype for y in expected]
            assert_close(list(found), expected, 1e-12, 1e-12)


@pytest.mark.parametrize(("subject", "sample"), BATCHABLE)
def test_vmap_of_vmap_equals_loops(subject: Subject, sample: Sample, backend: str) -> None:
    f = _function(subject, sample)
    count = len(sample.operands)
    inner, outer = tuple(range(0, count, 2)), tuple(range(count))
    examples = [_examples(subject, sample, outer), _examples(subject, sample, inner)]
    grid = [
        [[x[i] if i in inner else o[i] for i in range(count)] for x in examples[1]]
        for o in examples[0]
    ]
    expected = [
        at.stack([at.stack([f(*xs)[k] for xs in row]) for row in grid])
        for k in range(len(f(*grid[0][0])))
    ]
    batch = [
        at.stack([at.stack([xs[i] for xs in row]) if i in inner else row[0][i] for row in grid])
        for i in range(count)
    ]
    found = at.vmap(at.vmap(f, in_axes=_axes(count, inner, 0)))(*batch)
    assert_close(list(found), expected, 1e-12, 1e-12)


@pytest.mark.parametrize(("subject", "sample"), BOTH)
def test_vmap_of_grad_and_grad_of_vmap(subject: Subject, sample: Sample, backend: str) -> None:
    f = _scalar(subject, sample)
    operands = operands_of(subject, sample)
    wanted = tuple(floating(operands))
    for mapped in _choices(len(operands)):
        examples = _examples(subject, sample, mapped)
        batch, axes = _batch(examples, mapped, 0), _axes(len(operands), mapped, 0)
        gradient = at.grad(f, wanted)
        rows = [gradient(*x) for x in examples]
        each = [at.stack(list(gs)) for gs in zip(*rows, strict=True)]
        assert_close(list(at.vmap(gradient, in_axes=axes)(*batch)), each, 1e-10, 1e-10)
        whole = at.grad(lambda *xs, a=axes: at.vmap(f, in_axes=a)(*xs).sum(), wanted)(*batch)
        expected = [g if i in mapped else g.sum(axis=0) for i, g in zip(wanted, each, strict=True)]
        assert_close(list(whole), expected, 1e-10, 1e-10)


def _random(like: Sequence[Tensor], seed: str) -> list[Tensor]:
    dice = random.Random(seed)
    return [
        at.reshape(at.tensor([dice.uniform(-1, 1) for _ in range(x.size)], dtype=x.dtype), x.shape)
        for x in like
    ]


def _of_floats(subject: Subject, sample: Sample) -> tuple[Any, list[Tensor]]:
    """Return a subject as a function of its floating operands, to its floating results."""
    operands = operands_of(subject, sample)
    wanted = floating(operands)

    def f(*xs: Tensor) -> list[Tensor]:
        full = list(operands)
        for i, x in zip(wanted, xs, strict=True):
            full[i] = x
        results = _tensors(perform(subject, full, sample.static))
        return [y for y in results if y.dtype.is_floating_point]

    return f, [operands[i] for i in wanted]


def _dot(xs: Sequence[Tensor], ys: Sequence[Tensor]) -> Tensor:
    total = at.zeros((), dtype=at.float64)
    for x, y in zip(xs, ys, strict=True):
        total = total + (x * y).sum()
    return total


@pytest.mark.parametrize(("subject", "sample"), SMOOTH)
def test_forward_mode_equals_reverse_mode(subject: Subject, sample: Sample, backend: str) -> None:
    """uᵀ (J t) = (uᵀ J) t, and both Jacobians are one."""
    f, xs = _of_floats(subject, sample)
    ts = _random(xs, "tangents")
    ys, pushed = at.jvp(f, tuple(xs), tuple(ts))
    us = _random(ys, "cotangents")
    again, pullback = at.vjp(f, *xs)
    assert_close(again, ys)
    assert_close(_dot(us, pushed), _dot(pullback(us), ts), 1e-10, 1e-10)
    ys, pushforward = at.linearize(f, *xs)
    assert_close(pushforward(*ts), pushed)
    every = tuple(range(len(xs)))
    assert_close(at.jacfwd(f, every)(*xs), at.jacrev(f, every)(*xs), 1e-10, 1e-10)


@pytest.mark.parametrize(("subject", "sample"), BOTH)
def test_hessians_of_all_orders_are_one(subject: Subject, sample: Sample, backend: str) -> None:
    """Forward over reverse, reverse over reverse, reverse over forward; and hvp."""
    f, xs = _of_floats(subject, sample)
    every = tuple(range(len(xs)))

    def scalar(*xs: Tensor) -> Tensor:
        ys = f(*xs)
        return _dot([at.cos(y) for y in ys], _random(ys, "weights"))

    first = at.hessian(scalar, every)(*xs)
    gradient = at.grad(scalar, every)
    assert_close(at.jacrev(gradient, every)(*xs), first, 1e-9, 1e-9)
    assert_close(at.jacrev(at.jacfwd(scalar, every), every)(*xs), first, 1e-9, 1e-9)
    ts = _random(xs, "tangents")
    product = at.hvp(scalar, tuple(xs), tuple(ts))
    for i, row in enumerate(first):
        expected = sum(
            (
                (h * t).sum(axis=tuple(range(xs[i].ndim, h.ndim)))
                for h, t in zip(row, ts, strict=True)
            ),
            at.zeros((), dtype=at.float64),
        )
        assert_close(product[i], expected, 1e-9, 1e-9)


@pytest.mark.parametrize(
    ("subject", "sample"), [c for c in cases() if c.values[0].name in UNBATCHED]
)
def test_what_cannot_be_batched_says_why(subject: Subject, sample: Sample, backend: str) -> None:
    operands = operands_of(subject, sample)
    batch = [at.stack([x, x]) for x in operands]
    with pytest.raises(at.TransformError, match=UNBATCHED[subject.name]):
        at.vmap(_function(subject, sample))(*batch)


def _calls(run: Any) -> int:
    """Count the calls, of Python and of C, that a second run makes."""
    run()
    count = 0

    def note(frame: Any, event: str, arg: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    gc.disable()  # what others have hung on the garbage collector would be counted too
    sys.setprofile(note)
    try:
        run()
    finally:
        sys.setprofile(before)
        gc.enable()
    return count


@pytest.mark.parametrize(
    ("subject", "sample"), [c for c in BATCHABLE if c.values[0].name not in LOOPED]
)
def test_a_batch_is_no_loop(subject: Subject, sample: Sample) -> None:
    """Four times the examples take as many calls."""
    pytest.importorskip("numpy", reason="its calls are counted")
    at.use("numpy")
    f = _function(subject, sample)
    for mapped in _choices(len(sample.operands)):
        axes = _axes(len(sample.operands), mapped, 0)
        few = _examples(subject, sample, mapped)
        small, large = _batch(few, mapped, 0), _batch(few * 4, mapped, 0)
        mapping = at.vmap(f, in_axes=axes)
        assert _calls(lambda m=mapping, b=large: m(*b)) == _calls(lambda m=mapping, b=small: m(*b))


def test_every_record_can_be_batched_or_says_why_not() -> None:
    for op in REGISTRY.values():
        if op.batch is None and op.name not in ("enter_batch", "leave_batch"):
            crossing = op.name in ("spread_batch", "sum_batch")
            assert crossing or op.name in PORTABLE, f"{op.name} has no batching rule"
        assert not isinstance(op.batch, str) or op.batch in RULES


def test_what_is_left_out_exists() -> None:
    known = {case.values[0].name for case in cases()}
    assert known.issuperset(UNBATCHED)
    assert known.issuperset(LOOPED)
