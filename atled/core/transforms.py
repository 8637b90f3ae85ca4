"""Derivatives of functions, as functions: `grad`, `vjp`, `jvp`, `linearize`, `hvp`.

Each runs the function once (`core/run.py`) and walks its tape. Jacobians are in `jacobian.py`.
"""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from atled.core.apply import as_tensor
from atled.core.autograd import TENSORS
from atled.core.run import Argnums, Run
from atled.core.tensor import Tensor, wrap
from atled.core.vmap import called
from atled.errors import ShapeError
from atled.tree import Structure, flatten, unflatten

__all__ = ["grad", "hvp", "jvp", "linearize", "stop_gradient", "value_and_grad", "vjp"]

_COPIED = ("__name__", "__qualname__", "__doc__", "__module__")


def value_and_grad(
    function: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """Return a function that computes `function` and its gradient in one pass.

    Args:
        function: with one floating number as its result.
        argnums: the positional argument, or a tuple of them, to differentiate with respect to.
            Each may nest Tensors, arrays and floats in lists, tuples, dicts and dataclasses.
        has_aux: whether the function returns (number, anything else).

    Returns:
        A function with the same arguments that returns (value, gradient), or
        ((value, aux), gradient); the gradient is nested as the argument (a tuple for several).

    Raises:
        NotScalarError: the result is not one number.
        DTypeError, TransformError: an argument cannot be differentiated.

    Example:
        >>> import atled as at
        >>> at.value_and_grad(lambda p: p["a"] ** 2 * p["b"])({"a": 3.0, "b": 2.0})
        (tensor(18.), {'a': tensor(12.), 'b': tensor(9.)})
    """
    name = f"grad({called(function)})"

    @wraps(function, assigned=_COPIED)
    def differentiated(*args: Any, **kwargs: Any) -> Any:
        run = Run(name, function, args, argnums, has_aux, kwargs)
        gradient = _gradient(run)
        value = run.result()
        return ((value, run.returned(run.aux)), gradient) if has_aux else (value, gradient)

    return differentiated


def grad(
    function: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """Return the gradient of a function of one or more arguments, as a function.

    Args:
        function, argnums, has_aux: as in `value_and_grad`.

    Returns:
        A function that returns the gradient, or (gradient, aux).

    Example:
        >>> import atled as at
        >>> at.grad(at.grad(lambda x: x**3))(2.0)
        tensor(12.)
    """
    name = f"grad({called(function)})"

    @wraps(function, assigned=_COPIED)
    def gradient(*args: Any, **kwargs: Any) -> Any:
        run = Run(name, function, args, argnums, has_aux, kwargs)
        found = _gradient(run)
        return (found, run.returned(run.aux)) if has_aux else found

    return gradient


def _gradient(run: Run) -> Any:
    """Return the gradient of a run's one number, nested as its arguments."""
    return run.like_inputs(run.pull([TENSORS.ones_like(run.scalar())], last=True, given=False))


def vjp(function: Callable[..., Any], *primals: Any, has_aux: bool = False) -> tuple[Any, ...]:
    """Run a function and return its result and its vector-Jacobian product, g ↦ gᵀ J.

    Args:
        function: of any number of arguments, each nested as in `grad`.
        primals: its arguments.
        has_aux: whether it returns (result, anything else).

    Returns:
        (result, pullback), or (result, pullback, aux). ``pullback(cotangent)``, with one nested as
        the result, returns a tuple with a cotangent for each argument; it can be called again.

    Raises:
        ShapeError: a cotangent does not fit its result.

    Example:
        >>> import atled as at
        >>> y, pullback = at.vjp(lambda a, b: a * b, at.tensor([1.0, 2.0]), at.tensor(3.0))
        >>> pullback(at.tensor([1.0, 1.0]))
        (tensor([3., 3.]), tensor(3.))
    """
    run = Run(f"vjp({called(function)})", function, primals, None, has_aux)

    def pullback(cotangent: Any) -> Any:
        given = _fitting(cotangent, run.structure, run.outputs, f"{run.name}: the cotangent")
        return run.like_inputs(run.pull(given))

    out = run.result(), pullback
    return (*out, run.returned(run.aux)) if has_aux else out


def linearize(function: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[..., Any]]:
    """Run a function and return its result and its derivative there, t ↦ J t.

    Args:
        function, primals: as in `vjp`.

    Returns:
        (result, pushforward). ``pushforward(*tangents)``, one nested as each argument, returns the
        tangent of the result; the function does not run again.

    Example:
        >>> import atled as at
        >>> y, pushforward = at.linearize(at.sin, at.tensor(0.0))
        >>> pushforward(at.tensor(2.0))
        tensor(2.)
    """
    run = Run(f"linearize({called(function)})", function, primals, None)

    def pushforward(*tangents: Any) -> Any:
        return unflatten(run.structure, run.push(_tangents(run, tangents)))

    return run.result(), pushforward


def jvp(
    function: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any],
    has_aux: bool = False,
) -> tuple[Any, ...]:  # fmt: skip
    """Run a function and its derivative along a direction: the Jacobian-vector product.

    The tape of the run is kept until the tangents have passed along it.

    Args:
        function: as in `vjp`.
        primals: a tuple of its arguments.
        tangents: a tuple of directions, one nested as each argument.
        has_aux: whether the function returns (result, anything else).

    Returns:
        (result, tangent), or (result, tangent, aux).

    Raises:
        ShapeError: a tangent does not fit its argument.

    Example:
        >>> import atled as at
        >>> at.jvp(lambda x: x**2, (at.tensor([1.0, 2.0]),), (at.tensor([1.0, 0.0]),))
        (tensor([1., 4.]), tensor([2., 0.]))
    """
    return _jvp(f"jvp({called(function)})", function, primals, tangents, has_aux)


def _jvp(name: str, function: Any, primals: Any, tangents: Any, has_aux: bool = False) -> Any:
    if not isinstance(primals, (tuple, list)) or not isinstance(tangents, (tuple, list)):
        raise TypeError(f"{name}: primals and tangents are tuples: at.jvp(f, (x,), (t,))")
    run = Run(name, function, tuple(primals), None, has_aux)
    tangent = unflatten(run.structure, run.push(_tangents(run, tangents)))
    out = run.result(), tangent
    return (*out, run.returned(run.aux)) if has_aux else out


def _tangents(run: Run, tangents: Sequence[Any]) -> list[Tensor | None]:
    """Return a tangent for each variable, checked; None where the argument has no derivative."""
    if len(tangents) != len(run.parts):
        raise ShapeError(
            f"{run.name}: {len(run.parts)} argument(s) need as many tangents; found {len(tangents)}"
        )
    out: list[Tensor | None] = []
    for i, (tangent, (structure, places)) in enumerate(zip(tangents, run.parts, strict=True)):
        like = [None if k is None else run.inputs[k] for k in places]
        found = _fitting(tangent, structure, like, f"{run.name}: the tangent of argument {i}")
        out += [t for t, x in zip(found, like, strict=True) if x is not None]
    return out


def _fitting(
    nest: Any, structure: Structure, like: Sequence[Tensor | None], what: str
) -> list[Tensor | None]:
    """Return the leaves of a nest as Tensors of the shapes and dtypes of others.

    Raises:
        ShapeError: the nest, or a shape in it, differs.
    """
    leaves, form = flatten(nest)
    if form.form != structure.form or len(leaves) != len(like):
        raise ShapeError(f"{what} must be nested as what it belongs to ({len(like)} Tensors)")
    out: list[Tensor | None] = []
    for leaf, x in zip(leaves, like, strict=True):
        if x is None or leaf is None:
            out.append(None)
            continue
        t = leaf if isinstance(leaf, Tensor) else wrap(x.backend.asarray(leaf))
        if t.shape != x.shape:
            raise ShapeError(f"{what} has shape {t.shape}; it belongs to one of shape {x.shape}")
        out.append(as_tensor(t, dtype=x.dtype))
    return out


def hvp(function: Callable[..., Any], primals: Any, tangents: Any) -> Any:
    """Return the Hessian-vector product H v of a scalar function, without the Hessian.

    Forward over reverse: the derivative of the gradient along v, for about twice the gradient's
    cost. Source: Pearlmutter, Fast exact multiplication by the Hessian (1994).

    Args:
        function: with one floating number as its result.
        primals: its argument, or a tuple of its arguments.
        tangents: v, nested as the primals.

    Returns:
        H v, nested as the primals.

    Example:
        >>> import atled as at
        >>> at.hvp(lambda x: (x**3).sum(), at.tensor([1.0, 2.0]), at.tensor([1.0, 1.0]))
        tensor([ 6., 12.])
    """
    several = isinstance(primals, tuple)
    args, directions = (primals, tangents) if several else ((primals,), (tangents,))
    gradient = grad(function, tuple(range(len(args))))
    _, product = _jvp(f"hvp({called(function)})", gradient, args, directions)
    return product if several else product[0]


def stop_gradient(nest: Any) -> Any:
    """Return the same values as constants: every transform takes their derivative as zero.

    Example:
        >>> import atled as at
        >>> at.grad(lambda x: x * at.stop_gradient(x))(3.0)
        tensor(3.)
    """
    leaves, structure = flatten(nest)
    return unflatten(structure, [x.detach() if isinstance(x, Tensor) else x for x in leaves])
