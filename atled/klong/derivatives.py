"""Derivatives of Klong functions: exact, by atled's tape, except where numeric ones are asked for.

The transforms are atled's own (`at.jacobian`, `at.hessian`, `at.jvp`, `at.vjp`,
`at.numeric_grad`); here are their Klong forms: what may be differentiated, with respect to what,
and what to say otherwise. Only `f:>x` walks the tape itself, in two thirds of the time that
`at.grad` takes for small arrays.

A derivative gives the function fresh nodes of the tape, so perturbations never mix. Inside
another derivative its walk is recorded too, so any order is exact.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from atled import functions as at
from atled.core.autograd import grad
from atled.core.jacobian import hessian as hessian_of
from atled.core.jacobian import jacobian as jacobian_of
from atled.core.mode import enable_grad
from atled.core.numeric import numeric_grad, numeric_jacobian
from atled.core.tensor import Tensor
from atled.core.transforms import jvp as jvp_of
from atled.core.transforms import vjp as vjp_of
from atled.klong.arrays import array, carries, constant, real, settle, shape_of
from atled.klong.context import Context
from atled.klong.errors import KlongError
from atled.klong.values import NUMBERS, Function, KlongSymbol, arrays_or_numbers, kind_of
from atled.tree import flatten, map_leaves, unflatten

__all__ = [
    "agrees",
    "gradient",
    "gradients",
    "hessian",
    "jacobian",
    "jacobians",
    "jvp",
    "leaf_of",
    "loss_and_gradients",
    "names_in",
    "numeric",
    "taking",
    "the_variable",
    "variables_of",
    "vjp",
]

POINT = "the point of a derivative"


def names_in(value: Any) -> list[str] | None:
    """Return the names in a list of symbols; None if it is something else."""
    if type(value) is list and value and all(type(v) is KlongSymbol for v in value):
        return [str(v) for v in value]
    return None


def variables_of(context: Context, f: Any, names: Sequence[str]) -> list[str]:
    """Return what variables are called where a function reads them: its module has its own.

    Raises:
        KlongError: one is named twice: the gradient would be only one of them's.
    """
    for name in names:
        if list(names).count(name) > 1:
            raise KlongError(f"{name} is named twice in the list of variables")
    while type(f) is Function and f.definition is None and f.parts:
        f = f.parts[0]  # what was compiled, or projected
    definition = f.definition if type(f) is Function else None
    if definition is None or definition.module is None:
        return list(names)
    inside = map(definition.module.mangled, names)
    return [m if m in context.variables else n for n, m in zip(names, inside, strict=True)]


def the_variable(name: str) -> str:
    """Return what a variable is called in messages: without its module."""
    return f"the variable {name.partition('`')[0]}"


# -- what is differentiated, and where


def leaf_of(point: Any, what: str = POINT) -> Tensor:
    """Return a number or an array as a fresh node of the tape.

    Raises:
        KlongError: it is neither.
    """
    x = _real_of(point, what)
    return x.requires_grad_() if x._node is None else at.clone(x)


def _real_of(value: Any, what: str) -> Tensor:
    """Return a number or an array as a new Tensor of reals, with the gradient that it carries."""
    if type(value) in NUMBERS:
        return array(float(value), floating=True)
    if type(value) is not Tensor:
        raise KlongError(f"{what} must be a number or an array of numbers; found {kind_of(value)}")
    x = real(value)
    return x if x._node is not None else x.detach()


def taking(count: int, f: Any, what: str) -> Function:
    """Return a function of one argument, or of none, which reads variables; or refuse it."""
    if type(f) is not Function:
        raise KlongError(f"{what} needs a function; found {kind_of(f)}")
    if not f.least <= count <= f.arity:
        needed = "of one argument" if count else "without arguments, which reads the variables"
        raise KlongError(f"{what} needs a function {needed}; {f.name} takes {f.arity}")
    return f


@contextmanager
def _inside(context: Context) -> Iterator[None]:
    """Count a derivative. What the outermost one leaves in variables is plain numbers."""
    context.derivatives += 1
    try:
        with enable_grad():
            yield
    finally:
        context.derivatives -= 1
        if context.assigned and not context.derivatives:
            context.release()


def _scalar(y: Any, what: str = "f:>x") -> Any:
    if arrays_or_numbers(y) and not shape_of(y):
        return y
    raise KlongError(
        f"{what} needs a function whose value is a single number; this one gives {kind_of(y)}. "
        "Sum it: {+/f(x)}, or take the Jacobian: x∂f"
    )


def _result(y: Any) -> Tensor:
    """Return what a function gives as reals, for the transforms of atled."""
    if not arrays_or_numbers(y):
        raise KlongError(
            f"a derivative needs a function whose value is a number or an array; found {kind_of(y)}"
        )
    return real(y) if type(y) is Tensor else array(float(y), floating=True)


# -- gradients


def gradient(context: Context, f: Any, point: Any) -> Any:
    """Return the gradient of a scalar-valued function at a point, nested as the point."""
    f = taking(1, f, "f:>x")
    return _value_and_gradients(context, lambda values: f.run(*values), [point], [POINT])[1][0]


def gradients(context: Context, f: Any, names: list[str]) -> list[Any]:
    """Return the gradients of a function without arguments for names of `variables_of`."""
    return loss_and_gradients(context, f, names)[1]


def loss_and_gradients(context: Context, f: Any, names: list[str]) -> tuple[Any, list[Any]]:
    """Return what a function gives, and its gradients for names that `variables_of` gave."""
    f = taking(0, f, "f:>[a b]")

    def run(values: Sequence[Any]) -> Any:
        with context.bound(names, values):
            return f.run()

    points = [context.value_of(name) for name in names]
    return _value_and_gradients(context, run, points, [the_variable(n) for n in names])


def _value_and_gradients(
    context: Context, run: Callable[[list[Any]], Any], points: list[Any], whats: list[str]
) -> tuple[Any, list[Any]]:
    """Return what a function gives, and its gradient for each point, nested as that is."""
    leaves: list[Tensor] = []
    structures, counts = [], []
    record = context.derivatives > 0
    for point, what in zip(points, whats, strict=True):
        found, structure = flatten(point)
        if not found:
            raise KlongError(f"{what} holds no numbers: it is empty")
        record = record or any(map(carries, found))
        leaves += [leaf_of(x, what) for x in found]
        structures.append(structure)
        counts.append(len(found))

    def nested(values: Sequence[Any]) -> list[Any]:
        rest = iter(values)
        return [
            unflatten(s, [next(rest) for _ in range(n)])
            for s, n in zip(structures, counts, strict=True)
        ]

    with _inside(context):
        y = _scalar(run(nested(leaves)))
        if type(y) is not Tensor or y._node is None:
            pulled: Sequence[Any] = [at.zeros_like(leaf.detach()) for leaf in leaves]
        else:
            pulled = grad(y, leaves, create_graph=record, materialize_grads=True)
        return y, nested([settle(g) for g in pulled])


# -- Jacobians, Hessians, products


def jacobian(context: Context, f: Any, point: Any) -> Any:
    """Return the Jacobian of a function at a point."""
    f = taking(1, f, "x∂f")
    x = _real_of(point, POINT)
    with _inside(context):
        return settle(jacobian_of(lambda x: _result(f.run(x)))(x))


def jacobians(context: Context, f: Any, names: list[str]) -> list[Any]:
    """Return the Jacobians of a function without arguments with respect to variables."""
    f = taking(0, f, "[a b]∂f")
    names = variables_of(context, f, names)
    values = [_real_of(context.value_of(n), the_variable(n)) for n in names]

    def run(*leaves: Tensor) -> Tensor:
        with context.bound(names, leaves):
            return _result(f.run())

    with _inside(context):
        found = jacobian_of(run, argnums=tuple(range(len(names))))(*values)
        return [settle(j) for j in found]


def hessian(context: Context, f: Any, point: Any) -> Any:
    """Return the matrix of second derivatives of a scalar-valued function at a point."""
    f = taking(1, f, ".hessian(f;x)")
    x = _real_of(point, POINT)
    with _inside(context):
        run = hessian_of(lambda x: _result(_scalar(f.run(x), ".hessian(f;x)")))
        return settle(run(x))


def jvp(context: Context, f: Any, point: Any, tangent: Any) -> Any:
    """Return the derivative of a function at a point in a direction."""
    f = taking(1, f, ".jvp(f;x;t)")
    x = _real_of(point, POINT)
    t = _like(tangent, shape_of(x), "the tangent")
    with _inside(context):
        return settle(jvp_of(lambda x: _result(f.run(x)), (x,), (t,))[1])


def vjp(context: Context, f: Any, point: Any, cotangent: Any) -> Any:
    """Return a cotangent of a function's value pulled back to its point."""
    f = taking(1, f, ".vjp(f;x;g)")
    x = _real_of(point, POINT)
    with _inside(context):
        y, pull = vjp_of(lambda x: _result(f.run(x)), x)
        return settle(pull(_like(cotangent, shape_of(y), "the cotangent"))[0])


def _like(value: Any, shape: tuple[int, ...], what: str) -> Tensor:
    t = _real_of(value, what)
    if shape_of(t) != shape:
        raise KlongError(f"{what} has the shape {list(shape_of(t))}; {list(shape)} is needed")
    return t


# -- by differences


def numeric(context: Context, run: Callable[[Any], Any], point: Any) -> Any:
    """Return the gradient of a scalar-valued function by central differences, never another.

    Raises:
        KlongError: inside a derivative: differences have none that is exact.
    """
    if context.derivatives:
        raise KlongError("x∇f takes differences, which cannot be differentiated; f:>x is exact")
    found = numeric_grad(lambda x: _result(_scalar(constant(run(x)), "x∇f")))(
        map_leaves(_varied, point)
    )
    return map_leaves(settle, found)


def _varied(value: Any) -> Any:
    """Return a number or an array as what differences are taken of."""
    if type(value) in NUMBERS:
        return float(value)
    return _real_of(constant(value), "x∇f: the point").detach()


def agrees(context: Context, f: Any, point: Any) -> bool:
    """Say whether a function's exact derivative agrees with differences, to about 1e-6."""
    f = taking(1, f, ".gradcheck(f;x)")
    exact = _real_of(constant(jacobian(context, f, point)), "the derivative")
    found = numeric_jacobian(lambda x: _result(constant(f.run(x))))(_varied(point))
    return bool(at.allclose(exact, found, rtol=1e-5, atol=1e-6))
