"""Compare derivatives with central differences, in both modes and to any order."""

import random
from collections.abc import Callable, Sequence
from typing import Any

from atled.core.autograd import grad, jvp_of
from atled.core.mode import enable_grad
from atled.core.tensor import Tensor, wrap
from atled.errors import AtledError, located
from atled.testing.differences import EPS, Flat, differences, flattened, like
from atled.testing.values import TOLERANCES, Tolerance, elements, position

__all__ = ["GradientMismatch", "check_grads"]

ELEMENTS = 200  # of an argument whose gradient is wrong: so many are looked at one by one


class GradientMismatch(AtledError, AssertionError):
    """A derivative is not what central differences say."""


def check_grads(
    f: Callable[..., Any],
    args: Any,
    order: int = 2,
    modes: Sequence[str] = ("fwd", "rev"),
    *,
    eps: float | None = None,
    rtol: float | None = None,
    atol: float | None = None,
) -> None:
    """Compare the derivatives of `f` with central differences, or raise.

    The second order checks the first derivative as a function of its own, in every
    combination of modes; so do higher ones.

    Args:
        f: a function of the arguments that returns a nest of Tensors. The same arguments must
            give the same results, and it must be smooth around them.
        args: a tuple of arguments, each a nest. Floating Tensors in it must be float64 and are
            differentiated by; anything else is passed on as it is. A lone nest is one argument.
        order: the highest order of derivative to check.
        modes: "fwd", "rev" or both.
        eps: the step of the differences.
        rtol, atol: by default `TOLERANCES["differences"]`; the latter is scaled by the
            largest |f| if that is over 1.

    Raises:
        GradientMismatch: a derivative is wrong; also an AssertionError. The text names mode,
            order, argument and element, with both values.
        DTypeError: an argument or a result is a floating Tensor, but not float64.
        GradError: there is nothing to differentiate by.

    Example:
        >>> import atled as at
        >>> x = at.tensor([0.5, 2.0], dtype=at.float64)
        >>> check_grads(lambda x: x.log() * x, x)
    """
    unknown = set(modes) - {"fwd", "rev"}
    if unknown or not modes:
        raise ValueError(f"check_grads: modes are 'fwd' and 'rev'; found {tuple(modes)!r}")
    flat, xs, labels = flattened(f, args)
    name = getattr(f, "__name__", type(f).__name__)
    default = TOLERANCES["differences"]
    limits = Tolerance(
        default.rtol if rtol is None else rtol, default.atol if atol is None else atol
    )
    check = _Check(name, tuple(modes), eps or EPS, limits)
    check.repeats(flat, xs)
    with enable_grad():
        check.orders(flat, xs, labels, order, ())


class _Check:
    """One run of `check_grads`: how to compare, and under which name."""

    def __init__(self, name: str, modes: tuple[str, ...], eps: float, limits: Tolerance) -> None:
        self.name, self.modes, self.eps, self.limits = name, modes, eps, limits

    def orders(
        self, f: Flat, xs: list[Tensor], labels: list[str], order: int, over: tuple[str, ...]
    ) -> None:
        """Check the derivative of f in each mode, then that derivative as a function."""
        if order < 1:
            return
        ys = f(xs)
        dice = random.Random(f"{self.name} {[x.shape for x in xs]} {over}")
        scale = max([1.0, *(abs(v) for y in ys for v in elements(y) if v - v == 0)])
        for mode in self.modes:
            checker = self.forward if mode == "fwd" else self.reverse
            checker(f, xs, ys, labels, dice, scale, (mode, *over))
            directions = [_random(dice, x) for x in (xs if mode == "fwd" else ys)]
            what = "the tangent of argument" if mode == "fwd" else "the cotangent of result"
            more = [f"{what} {i}" for i in range(len(directions))]
            derivative = _pushed(f, len(xs)) if mode == "fwd" else _pulled(f, len(xs))
            self.orders(derivative, xs + directions, labels + more, order - 1, (mode, *over))

    def forward(
        self,
        f: Flat,
        xs: list[Tensor],
        ys: list[Tensor],
        labels: list[str],
        dice: random.Random,
        scale: float,
        path: tuple[str, ...],
    ) -> None:
        """Compare the tangents of the results, for a random tangent of one argument each time."""
        for i, x in enumerate(xs):
            ts = [_random(dice, x) if j == i else like(z, [0.0] * z.size) for j, z in enumerate(xs)]
            pushed = _pushed(f, len(xs))([*xs, *ts])
            columns = differences(f, xs, [elements(t) for t in ts], self.eps)
            for j, (t, column) in enumerate(zip(pushed, columns, strict=True)):
                what = f"the tangent of result {j}, from a random tangent of {labels[i]}"
                self.compare(what, path, ys[j].shape, dict(enumerate(column)), elements(t), scale)

    def reverse(
        self,
        f: Flat,
        xs: list[Tensor],
        ys: list[Tensor],
        labels: list[str],
        dice: random.Random,
        scale: float,
        path: tuple[str, ...],
    ) -> None:
        """Compare the gradient of Σ v·y with its slope along a random tangent, by argument."""
        weights = [_random(dice, y) for y in ys]
        gradients = _pulled(f, len(xs))([*xs, *weights])
        vs = [elements(v) for v in weights]
        for i, x in enumerate(xs):
            g, t = elements(gradients[i]), elements(_random(dice, x))
            terms = [a * b for a, b in zip(g, t, strict=True)]
            numeric = self.along(f, xs, i, t, vs)
            limit = self.limits.atol * scale + self.limits.rtol * sum(map(abs, terms))
            if abs(numeric - sum(terms)) <= limit:
                continue
            # Wrong: now element by element, to say where.
            what = f"the gradient by {labels[i]}"
            found = {}
            for k in sorted(dice.sample(range(x.size), min(x.size, ELEMENTS))):
                unit = [float(j == k) for j in range(x.size)]
                found[k] = self.along(f, xs, i, unit, vs)
            self.compare(what, path, x.shape, found, g, scale)
            self.compare(f"{what}, along a random tangent,", path, (), {0: numeric},
                         [sum(terms)], scale)  # fmt: skip

    def along(self, f: Flat, xs: list[Tensor], i: int, t: list[float],
              vs: list[list[float]]) -> float:  # fmt: skip
        """Return the slope of Σ v·y by differences, when argument i moves along t."""
        ts = [t if j == i else [0.0] * x.size for j, x in enumerate(xs)]
        columns = differences(f, xs, ts, self.eps)
        return sum(a * b for v, c in zip(vs, columns, strict=True)
                   for a, b in zip(v, c, strict=True))  # fmt: skip

    def compare(
        self,
        what: str,
        path: tuple[str, ...],
        shape: tuple[int, ...],
        numeric: dict[int, float],
        analytic: list[float],
        scale: float,
    ) -> None:
        """Raise unless the analytic values are near the numeric ones (by flat position)."""
        rtol, atol = self.limits.rtol, self.limits.atol * scale
        wrong = {
            k: abs(n - analytic[k]) / (atol + rtol * abs(n))
            for k, n in numeric.items()
            if not abs(n - analytic[k]) <= atol + rtol * max(abs(n), abs(analytic[k]))
        }
        if wrong:
            worst = max(wrong, key=lambda k: (wrong[k] != wrong[k], wrong[k]))
            where = f"{position(worst, shape)} of shape {shape}"
            text = (
                f"{self.name}: {' over '.join(path)} mode, order {len(path)}: {what} is wrong at "
                f"{where}: the rule gives {analytic[worst]:.9g}, differences give "
                f"{numeric[worst]:.9g} ({len(wrong)} of {len(numeric)} elements checked are wrong)"
            )
            raise GradientMismatch(located(text))

    def repeats(self, f: Flat, xs: list[Tensor]) -> None:
        """Raise if f gives other results the second time."""
        first, second = ([elements(y) for y in f(xs)] for _ in range(2))
        if repr(first) != repr(second):
            raise ValueError(
                f"check_grads: {self.name} gave two different results for the same arguments; "
                "seed its random numbers inside it"
            )


def _pushed(f: Flat, count: int) -> Flat:
    """Return the function (xs, tangents) -> tangents of f(xs); recorded if an input is."""

    def tangents(inputs: Sequence[Tensor]) -> list[Tensor]:
        record = any(x.requires_grad for x in inputs)
        xs, ts = _tracked(inputs[:count]), inputs[count:]
        ys = f(xs)
        found = jvp_of(ys, xs, ts, create_graph=record) if ys else []
        return [like(y, [0.0] * y.size) if t is None else t for y, t in zip(ys, found, strict=True)]

    return tangents


def _pulled(f: Flat, count: int) -> Flat:
    """Return the function (xs, cotangents) -> gradients of f by xs; recorded if an input is."""

    def gradients(inputs: Sequence[Tensor]) -> list[Tensor]:
        record = any(x.requires_grad for x in inputs)
        xs = _tracked(inputs[:count])
        pairs = [(y, g) for y, g in zip(f(xs), inputs[count:], strict=True) if y.requires_grad]
        if not pairs:
            return [like(x, [0.0] * x.size) for x in xs]
        ys, gs = zip(*pairs, strict=True)
        found = grad(ys, xs, list(gs), create_graph=record, materialize_grads=True)
        return [g for g in found if g is not None]

    return gradients


def _tracked(xs: Sequence[Tensor]) -> list[Tensor]:
    return [x if x.requires_grad else wrap(x._value).requires_grad_() for x in xs]


def _random(dice: random.Random, x: Tensor) -> Tensor:
    return like(x, [dice.uniform(0.5, 1.5) * dice.choice((-1, 1)) for _ in range(x.size)])
