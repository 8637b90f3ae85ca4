"""The verbs that differentiate; what they do is in `derivatives.py`."""

from typing import Any

from atled.klong.arrays import listed
from atled.klong.compiled import Hot, is_possible
from atled.klong.context import Context
from atled.klong.derivatives import (
    gradient,
    gradients,
    jacobian,
    jacobians,
    names_in,
    numeric,
    taking,
    variables_of,
)
from atled.klong.reads import code_of
from atled.klong.values import Function
from atled.klong.verbs.record import verb

__all__: list[str] = []


def _takes_nothing(f: Any) -> bool:
    return type(f) is Function and f.arity == 0


@verb(":>", 2, "Grad", contextual=True)
def grad(context: Context, f: Any, point: Any, _: str | None, name: str | None) -> Any:
    """f:>x: the exact gradient of the scalar-valued function f at x, a number or an array.

    With a list of variables, the gradient for each of a function that reads them: loss:>[w b].

    {x^2}:>3  -->  6.0
    {x^3}:>2  -->  12.0
    {+/x^2}:>[1.0 2.0 3.0]  -->  [2.0 4.0 6.0]
    {{x^3}:>x}:>2  -->  12.0
    """
    names = names_in(point)
    if names is not None:
        return listed(_gradients(context, f, names))
    if name is not None and _takes_nothing(f):
        return _gradients(context, f, [name])[0]
    hot = _watched(context, f, ())
    if hot is None:
        return gradient(context, f, point)
    return hot(float(point) if type(point) is int else point)


def _gradients(context: Context, f: Any, names: list[str]) -> list[Any]:
    names = variables_of(context, f, names)
    hot = _watched(context, f, tuple(names))
    return gradients(context, f, names) if hot is None else hot()


def _watched(context: Context, f: Any, names: tuple[str, ...]) -> Hot | None:
    """Return what watches the gradient of a function written in Klong, and compiles it if hot.

    Args:
        names: the variables; none for the gradient at a point.
    """
    if type(f) is not Function or f.definition is None or context.derivatives:
        return None
    if not is_possible(context):
        return None
    watched = f.definition.hot_gradients
    if names not in watched:

        def run(*point: Any) -> Any:
            if not names:
                return gradient(context, f, *point)
            return gradients(context, f, list(names))

        watched[names] = Hot(context, code_of(f), run, scalars=True, reals=names)
    return watched[names]


@verb("∂", 2, "Jacobian", contextual=True)
def partial(context: Context, point: Any, f: Any, name: str | None, _: str | None) -> Any:
    """x∂f: the exact Jacobian of f at x; [w b]∂f: one for each of the variables.

    [1 2]∂{x^2}  -->  [[2.0 0.0] [0.0 4.0]]
    3∂{x^2}  -->  6.0
    """
    names = names_in(point)
    if names is not None:
        return listed(jacobians(context, f, names))
    if name is not None and _takes_nothing(f):
        return jacobians(context, f, [name])[0]
    return jacobian(context, f, point)


@verb("∂", 1, "Jacobian-Function", contextual=True)
def partial_of(context: Context, f: Any) -> Any:
    """∂f: the function that gives the Jacobian of f at its argument.

    (∂{x^2})@3  -->  6.0
    """
    f = taking(1, f, "∂f")
    return Function("∂f", 1, lambda x: jacobian(context, f, x), parts=(f,))


@verb("∇", 2, "Numeric-Grad", contextual=True)
def nabla(context: Context, point: Any, f: Any, name: str | None, _: str | None) -> Any:
    """x∇f: the gradient of f at x by central differences: always numeric; f:>x is exact.

    (0.001*_0.5+1000*3∇{x^2})~6.0  -->  1
    """
    if name is not None and _takes_nothing(f):
        names = variables_of(context, f, [name])

        def run(value: Any) -> Any:
            with context.bound(names, [value]):
                return f.run()

        return numeric(context, run, point)
    return numeric(context, taking(1, f, "x∇f").run, point)


@verb("∇", 1, "Numeric-Grad-Function", contextual=True)
def nabla_of(context: Context, f: Any) -> Any:
    """∇f: the function that gives the numeric gradient of f at its argument.

    (0.001*_0.5+1000*(∇{x^2})@3)~6.0  -->  1
    """
    run = taking(1, f, "∇f").run
    return Function("∇f", 1, lambda x: numeric(context, run, x))
