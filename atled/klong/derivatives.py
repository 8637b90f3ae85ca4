"""Derivatives of Klong functions: exact, by atled's tape, except where numeric ones are asked for.

A derivative gives the function a Tensor that requires a gradient, and walks back from what the
function returns. Inside another derivative the walk is recorded too, so any order is exact. The
point is always a fresh node: what else depends on it counts as constant.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from atled import functions as at
from atled.core import jacobian as transforms
from atled.core.autograd import grad, jvp_of
from atled.core.mode import enable_grad
from atled.core.tensor import Tensor
from atled.klong.arrays import array, carries, constant, listed, real, settle, shape_of
from atled.klong.context import Context
from atled.klong.errors import KlongError
from atled.klong.values import NUMBERS, Function, KlongSymbol, kind_of

__all__ = [
    "agrees",
    "gradient",
    "gradients",
    "hessian",
    "jacobian",
    "jacobians",
    "jvp",
    "names_in",
    "numeric",
    "vjp",
]

STEP = 2.0**-52  # of float64: differences are taken at its cube root


def names_in(value: Any) -> list[str] | None:
    """Return the names in a list of symbols; None if it is something else."""
    if type(value) is list and value and all(type(v) is KlongSymbol for v in value):
        return [str(v) for v in value]
    return None


def leaf_of(point: Any, what: str = "the point of a derivative") -> Tensor:
    """Return a point as a fresh node of the tape.

    Raises:
        KlongError: it is no number and no array.
    """
    if type(point) in NUMBERS:
        return array(float(point), floating=True).requires_grad_()
    if type(point) is not Tensor:
        raise KlongError(f"{what} must be a number or an array of numbers; found {kind_of(point)}")
    point = real(point)
    if point._node is not None:
        return at.clone(point)
    return point.detach().requires_grad_()


@contextmanager
def _inside(context: Context, point: Any) -> Iterator[bool]:
    """Count a derivative; yield whether its walk must be recorded."""
    record = context.derivatives > 0 or (type(point) is Tensor and point._node is not None)
    context.derivatives += 1
    try:
        with enable_grad():
            yield record
    finally:
        context.derivatives -= 1


def _monad(f: Any, what: str) -> Function:
    if type(f) is not Function:
        raise KlongError(f"{what} needs a function; found {kind_of(f)}")
    if not f.least <= 1 <= f.arity:
        raise KlongError(f"{what} needs a function of one argument; {f.name} takes {f.arity}")
    return f


def _nilad(f: Any, what: str) -> Function:
    if type(f) is not Function:
        raise KlongError(f"{what} needs a function; found {kind_of(f)}")
    if f.least > 0:
        raise KlongError(
            f"{what} with variables needs a function without arguments, which reads them; "
            f"{f.name} takes {f.arity}"
        )
    return f


def _scalar(y: Any) -> Any:
    if type(y) in NUMBERS or (type(y) is Tensor and not shape_of(y)):
        return y
    raise KlongError(
        f"f:>x needs a function whose value is a single number; this one gives {kind_of(y)}. "
        "Sum it: {+/f(x)}, or take the Jacobian: x∂f"
    )


def _numbers(y: Any) -> Any:
    if type(y) in NUMBERS or type(y) is Tensor:
        return y
    raise KlongError(
        f"a derivative needs a function whose value is a number or an array; found {kind_of(y)}"
    )


def _pulled(y: Any, leaves: list[Tensor], g: Any, record: bool) -> list[Any]:
    """Return the cotangents of the leaves for a cotangent of y (1 for a scalar)."""
    if type(y) is not Tensor or y._node is None:
        return [at.zeros_like(leaf.detach()) for leaf in leaves]
    found = grad(y, leaves, g, create_graph=record, materialize_grads=True)
    return list(found)


def gradient(context: Context, f: Any, point: Any) -> Any:
    """Return the gradient of a scalar-valued function at a point."""
    f = _monad(f, "f:>x")
    with _inside(context, point) as record:
        leaf = leaf_of(point)
        return settle(_pulled(_scalar(f.run(leaf)), [leaf], None, record)[0])


@contextmanager
def _bound(context: Context, names: list[str], leaves: Sequence[Any]) -> Iterator[None]:
    """Give variables other values for a while; what the program assigns meanwhile stays."""
    variables = context.variables
    before = [context.value_of(name) for name in names]
    variables.update(zip(names, leaves, strict=True))
    try:
        yield
    finally:
        for name, value, leaf in zip(names, before, leaves, strict=True):
            if variables.get(name) is leaf:
                variables[name] = value


def gradients(context: Context, f: Any, names: list[str]) -> list[Any]:
    """Return the gradients of a function without arguments with respect to variables."""
    return loss_and_gradients(context, f, names)[1]


def loss_and_gradients(context: Context, f: Any, names: list[str]) -> tuple[Any, list[Any]]:
    """Return what a function gives, and its gradients with respect to variables."""
    f = _nilad(f, "f:>[a b]")
    outer = any(carries(context.variables.get(n)) for n in names)
    leaves = [leaf_of(context.value_of(n), f"the variable {n}") for n in names]
    with _inside(context, None) as record, _bound(context, names, leaves):
        y = _scalar(f.run())
        found = _pulled(y, leaves, None, record or outer)
        return y, [settle(g) for g in found]


def _result(y: Any) -> Tensor:
    """Return what a function gives as reals, for the transforms of atled."""
    y = _numbers(y)
    return real(y) if type(y) is Tensor else array(float(y), floating=True)


def _point(value: Any, what: str) -> Tensor:
    """Return a point as reals, with the gradient that it carries."""
    return real(value) if type(value) is Tensor else leaf_of(value, what).detach()


def jacobian(context: Context, f: Any, point: Any) -> Any:
    """Return the Jacobian of a function at a point."""
    f = _monad(f, "x∂f")
    x = _point(point, "the point of a derivative")
    with _inside(context, point):
        return settle(transforms.jacobian(lambda x: _result(f.run(x)))(x))


def jacobians(context: Context, f: Any, names: list[str]) -> list[Any]:
    """Return the Jacobians of a function without arguments with respect to variables."""
    f = _nilad(f, "[a b]∂f")
    values = [_point(context.value_of(n), f"the variable {n}") for n in names]

    def run(*leaves: Tensor) -> Tensor:
        with _bound(context, names, leaves):
            return _result(f.run())

    with _inside(context, None):
        found = transforms.jacobian(run, argnums=tuple(range(len(names))))(*values)
        return [settle(j) for j in found]


def hessian(context: Context, f: Any, point: Any) -> Any:
    """Return the matrix of second derivatives of a scalar-valued function at a point."""
    slope = Function("f:>x", 1, lambda x: gradient(context, f, x))
    return jacobian(context, slope, point)


def jvp(context: Context, f: Any, point: Any, tangent: Any) -> Any:
    """Return the derivative of a function at a point in a direction."""
    f = _monad(f, ".jvp(f;x;t)")
    with _inside(context, point) as record:
        leaf = leaf_of(point)
        y = _numbers(f.run(leaf))
        t = _like(tangent, shape_of(leaf), "the tangent")
        if type(y) is not Tensor or y._node is None:
            return at.zeros(shape_of(y)) if shape_of(y) else 0.0
        found = jvp_of([y], [leaf], [t], create_graph=record)[0]
        return settle(at.zeros_like(y.detach()) if found is None else found)


def vjp(context: Context, f: Any, point: Any, cotangent: Any) -> Any:
    """Return a cotangent of a function's value pulled back to its point."""
    f = _monad(f, ".vjp(f;x;g)")
    with _inside(context, point) as record:
        leaf = leaf_of(point)
        y = _numbers(f.run(leaf))
        g = _like(cotangent, shape_of(y), "the cotangent")
        return settle(_pulled(y, [leaf], g, record)[0])


def _like(value: Any, shape: tuple[int, ...], what: str) -> Tensor:
    if type(value) in NUMBERS:
        value = array(float(value), floating=True)
    if type(value) is not Tensor:
        raise KlongError(f"{what} must be a number or an array; found {kind_of(value)}")
    if shape_of(value) != shape:
        raise KlongError(f"{what} has the shape {list(shape_of(value))}; {list(shape)} is needed")
    return real(value)


def numeric(run: Callable[[Any], Any], point: Any) -> Any:
    """Return the gradient of a scalar-valued function by central differences."""
    values = _differences(run, point)
    shape = shape_of(point)
    for v in values:
        if shape_of(v):
            raise KlongError(
                "x∇f needs a function whose value is a single number; this one gives "
                f"{kind_of(v)}. Sum it: {{+/f(x)}}"
            )
    flat = listed(values)
    return at.reshape(flat, shape) if shape else values[0]


def _differences(run: Callable[[Any], Any], point: Any) -> list[Any]:
    """Return ∂f by central differences, one value for each element of the point."""
    point = constant(point)
    if type(point) in NUMBERS:
        x = float(point)
        return [_difference(lambda v: run(v), x)]
    if type(point) is not Tensor:
        raise KlongError(f"x∇f: the point must be numbers; found {kind_of(point)}")
    shape, flat = shape_of(point), at.reshape(real(point), (-1,)).tolist()
    out = []
    for i in range(len(flat)):

        def moved(v: float, i: int = i) -> Any:
            return run(at.reshape(array(flat[:i] + [v] + flat[i + 1 :], floating=True), shape))

        out.append(_difference(moved, flat[i]))
    return out


def _difference(run: Callable[[float], Any], x: float) -> Any:
    h = max(1.0, abs(x)) * STEP ** (1 / 3)
    above, below = x + h, x - h
    up, down = constant(_numbers(run(above))), constant(_numbers(run(below)))
    if type(up) in NUMBERS and type(down) in NUMBERS:
        return (up - down) / (above - below)
    return at.divide(at.subtract(up, down), above - below)


def agrees(context: Context, f: Any, point: Any) -> bool:
    """Say whether a function's exact derivative agrees with differences, to about 1e-6."""
    f = _monad(f, ".gradcheck(f;x)")
    exact = constant(jacobian(context, f, point))
    if type(exact) in NUMBERS:
        columns = _differences(f.run, point)
        return math.isclose(exact, columns[0], rel_tol=1e-5, abs_tol=1e-6)
    columns = [
        c if type(c) is Tensor else array(float(c), True) for c in _differences(f.run, point)
    ]
    found = at.stack(columns, axis=-1)
    return bool(at.allclose(at.reshape(exact, shape_of(found)), found, rtol=1e-5, atol=1e-6))
