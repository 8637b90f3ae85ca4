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
)
from atled.klong.errors import KlongError
from atled.klong.values import Function, kind_of
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
    hot = _watched(context, f, None)
    return gradient(context, f, point) if hot is None else hot(point)


def _gradients(context: Context, f: Any, names: list[str]) -> list[Any]:
    hot = _watched(context, f, tuple(names))
    return gradients(context, f, names) if hot is None else hot()


def _watched(context: Context, f: Any, names: tuple[str, ...] | None) -> Hot | None:
    """Return what watches the gradient of a function written in Klong, and compiles it if hot."""
    if type(f) is not Function or f.definition is None or context.derivatives:
        return None
    if not is_possible(context):
        return None
    d = f.definition
    if d.hot_gradients is None:
        d.hot_gradients = {}
    hot = d.hot_gradients.get(names)
    if hot is None:

        def run(*point: Any) -> Any:
            if names is None:
                return gradient(context, f, *point)
            return gradients(context, f, list(names))

        local = frozenset(d.local)
        hot = d.hot_gradients[names] = Hot(context, d.node.body, run, local, d.module, True)
    return hot


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
    return Function("∂f", 1, lambda x: jacobian(context, f, x))


@verb("∇", 2, "Numeric-Grad", contextual=True)
def nabla(context: Context, point: Any, f: Any, name: str | None, _: str | None) -> Any:
    """x∇f: the gradient of f at x by central differences: always numeric; f:>x is exact.

    (0.001*_0.5+1000*3∇{x^2})~6.0  -->  1
    """
    if name is not None and _takes_nothing(f):
        variables, before = context.variables, point

        def run(value: Any) -> Any:
            variables[name] = value
            return f.run()

        try:
            return numeric(run, point)
        finally:
            variables[name] = before
    return numeric(_numeric_function(f).run, point)


@verb("∇", 1, "Numeric-Grad-Function", contextual=True)
def nabla_of(context: Context, f: Any) -> Any:
    """∇f: the function that gives the numeric gradient of f at its argument.

    (0.001*_0.5+1000*(∇{x^2})@3)~6.0  -->  1
    """
    run = _numeric_function(f).run
    return Function("∇f", 1, lambda x: numeric(run, x))


def _numeric_function(f: Any) -> Function:
    if type(f) is not Function or not f.least <= 1 <= f.arity:
        raise KlongError(f"x∇f needs a function of one argument; found {kind_of(f)}")
    return f
