"""Implicit differentiation: the derivative of a solution, whatever found it.

At r(x, θ) = 0, the implicit function theorem gives the derivative of x(θ) from the residual alone:

    ∂r/∂x · dx + ∂r/∂θ · dθ = 0,    so    dx = -(∂r/∂x)⁻¹ ∂r/∂θ dθ,    θ̄ = -(∂r/∂θ)ᵀ (∂r/∂x)⁻ᵀ x̄.

The solver runs once, on constants, and is never differentiated. Both rules are code on Tensors in
which x is connected to the call that it came from; so they are differentiated in turn, to any
order, and nothing is solved again.

Read: Blondel et al.: Efficient and Modular Implicit Differentiation (2022).
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from atled.backends.protocol import default_dtype
from atled.config import modes
from atled.core.apply import apply, as_tensor
from atled.core.batch import Batch, Batched, enter
from atled.core.call import Given, record, refuse_captured, result_node, whole
from atled.core.jacobian import jacobian
from atled.core.mode import no_grad
from atled.core.op import REGISTRY
from atled.core.run import Run
from atled.core.surface import COMPOSITES, FUNCTIONS
from atled.core.tape import Node
from atled.core.tensor import Tensor, wrap
from atled.core.vmap import called
from atled.dtypes import finfo, promote
from atled.errors import GradError, LinAlgError, MemoryLimitError, ShapeError, TransformError
from atled.tree import Structure, flatten, unflatten

__all__ = ["implicit"]

MAX_SIZE = 4096  # unknowns for which ∂r/∂x is made as a matrix: 128 MiB of float64


def implicit(
    solver: Callable[..., Any],
    residual: Callable[..., Any] | None = None,
    *,
    fixed_point: Callable[..., Any] | None = None,
    solve: Callable[..., Any] | None = None,
    tolerance: float | None = None,
) -> Callable[..., Any]:
    """Return a solver whose result can be differentiated, by the implicit function theorem.

    Args:
        solver: ``solver(*args, **options)`` returns x, nested Tensors, arrays or numbers. It gets
            constants: float(t), t.numpy() and SciPy work on them. It is never differentiated.
            Inside `vmap` it runs on all examples at once if it can, else once for each.
        residual: ``residual(x, *args)`` is zero at the solution, and has as many elements as x,
            nested and shaped as x is. It is differentiated, and must be written with Tensors.
        fixed_point: instead of a residual, g with x = g(x, *args).
        solve: a linear solver ``solve(matvec, b)`` → v with matvec(v) = b, for vectors of shape
            (n,), to do without the matrix ∂r/∂x (conjugate gradients, GMRES). By default the matrix
            is made and factored, for at most 4096 unknowns.
        tolerance: how large an element of the residual may be, relative to max(1, |x|): by default
            ε^¼ of the dtype (1.2e-4 for float64); math.inf for any. The derivative's error is of
            the order of the residual, so let the solver be exact.

    Returns:
        A function of the same arguments and options. The derivative is with respect to the
        positional arguments; options (initial guesses, step limits) go to the solver only.

    Raises:
        GradError: the residual is not zero at the solution, or it uses a Tensor that requires a
            gradient and is no argument; so does an option.
        LinAlgError: ∂r/∂x is singular: the solution does not depend smoothly on the arguments.
        MemoryLimitError: there are too many unknowns for a matrix; give `solve`.
        ShapeError: residual and x differ in shape.

    Source: names and meaning as `custom_root` and `custom_fixed_point` of jaxopt.

    Example:
        >>> import atled as at
        >>> def bisect(a):
        ...     low, high = 0.0, 1.0 + float(a)
        ...     while low < (middle := (low + high) / 2) < high:
        ...         low, high = (middle, high) if middle**2 < float(a) else (low, middle)
        ...     return middle
        >>> root = at.implicit(bisect, lambda x, a: x**2 - a)
        >>> root(at.tensor(2.0)), at.grad(root)(4.0), at.grad(at.grad(root))(4.0)
        (tensor(1.4142), tensor(0.2500), tensor(-0.0312))
    """
    if (residual is None) == (fixed_point is None):
        raise TypeError("implicit: give one of residual and fixed_point=")
    if residual is None:
        residual = partial(_difference, fixed_point)
    return _Implicit(solver, residual, solve, tolerance)


def _difference(fixed_point: Any, x: Any, *args: Any) -> Any:
    """Return g(x) - x."""
    leaves, structure = flatten(x)
    found, form = flatten(fixed_point(x, *args))
    if form.form != structure.form:
        raise ShapeError(f"implicit: {called(fixed_point)} must return what is nested as x is")
    return unflatten(structure, [as_tensor(g) - y for g, y in zip(found, leaves, strict=True)])


class _Solution:
    """What a call keeps, as values: arguments, options and the solution."""

    def __init__(self, given: Given, xs: list[Tensor], structure: Structure) -> None:
        self.given, self.structure = given, structure
        self.values = [x._value for x in xs]

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """The arrays that are kept."""
        return (*self.values, *self.given.leaves)

    def bound(self, node: Node | None) -> "_Point":
        """Return arguments and solution: constants, or connected to the graph."""
        xs = [
            wrap(value, None if node is None else result_node(node, i, value))
            for i, value in enumerate(self.values)
        ]
        leaves = flatten(self.given.nested(self.given.connected(node)))[0]
        return _Point(self.given, leaves, xs, self.structure)


class _Point:
    """The equations at one solution, in a flat vector of unknowns.

    Attributes:
        leaves: of the arguments; `tracked`: those that derivatives are wanted for.
        x: the solution, of shape (n,).
    """

    def __init__(
        self, given: Given, leaves: list[Any], xs: list[Tensor], structure: Structure
    ) -> None:
        self.given, self.leaves, self.structure = given, leaves, structure
        self.tracked = [leaves[i] for i in given.tracked]
        self.like = xs
        self.x = pack(xs)

    def with_tracked(self, tracked: Sequence[Tensor]) -> list[Any]:
        """Return the leaves of the arguments with others in the places of the tracked ones."""
        out = list(self.leaves)
        for i, t in zip(self.given.tracked, tracked, strict=True):
            out[i] = t
        return out

    def unpack(self, vector: Tensor) -> list[Tensor]:
        """Return the parts of a vector, in shape and dtype like those of x."""
        out, start = [], 0
        for x in self.like:
            stop = start + x.size
            part = apply(REGISTRY["slice"], vector, index=((start, stop, 1),))
            out.append(as_tensor(apply(REGISTRY["reshape"], part, shape=x.shape), dtype=x.dtype))
            start = stop
        return out

    def residual(self, function: Any, x: Tensor, leaves: Sequence[Any]) -> Tensor:
        """Return r(x, θ) as a vector."""
        nest = unflatten(self.structure, list(self.unpack(x)))
        args = unflatten(self.given.structure, list(leaves))
        return pack([as_tensor(r) for r in flatten(function(nest, *args))[0]])


def pack(parts: Sequence[Tensor]) -> Tensor:
    """Return the elements of Tensors as one vector."""
    flat = [apply(REGISTRY["reshape"], t, shape=(t.size,)) for t in parts]
    if len(flat) == 1:
        return flat[0]
    dtype = promote([t.dtype for t in flat])
    return apply(REGISTRY["concat"], *[as_tensor(t, dtype=dtype) for t in flat], axis=0)


class _Implicit:
    """A solver with derivatives; as an owner of calls (`core/call.py`) it has both rules."""

    aliases: tuple[str, ...] = ()
    pulls = pushes = True
    shown = "θ̄ = -(∂r/∂θ)ᵀ (∂r/∂x)⁻ᵀ x̄"  # as the rule, by `atled.inspect`

    def __init__(self, solver: Any, residual: Any, solve: Any, tolerance: float | None) -> None:
        self.solver, self.function, self.solve, self.tolerance = solver, residual, solve, tolerance
        self.name = self.__name__ = f"implicit({called(solver)})"
        self.__doc__ = solver.__doc__

    def __repr__(self) -> str:
        return f"<{self.name}>"

    def __call__(self, *args: Any, **options: Any) -> Any:
        if any(isinstance(x, Tensor) and x._node is not None for x in flatten(options)[0]):
            raise GradError(
                f"{self.name}: an option requires a gradient, and options are not differentiated; "
                "give it as a positional argument, which the residual gets too, or detach() it"
            )
        given = Given(args)
        xs, structure = self._solved(given, options)
        self._check(given, xs, structure)
        if given.tracked:
            xs = record(self, given, xs, _Solution(given, xs, structure))
        return unflatten(structure, xs)

    # -- the solution

    def _solved(self, given: Given, options: Any) -> tuple[list[Tensor], Structure]:
        """Run the solver, and return the leaves of its result as constant Tensors."""
        args = given.nested()
        with no_grad():
            leaves, structure = flatten(self._examples(args, options, flatten(args)[0]))
        like = [x for x in flatten(args)[0] if isinstance(x, Tensor)]
        out = [self._as_result(x, like) for x in leaves]
        return out, structure

    def _examples(self, args: list[Any], options: Any, leaves: list[Any]) -> Any:
        """Run the solver; if it reads values that differ between examples, once for each."""
        try:
            return self.solver(*args, **options)
        except TransformError:
            batch = _innermost(leaves)
            if batch is None:
                raise
        structure = flatten(args)[1]
        count = batch.size if any(_is_mapped(x, batch) for x in leaves) else 1
        before = modes.batches
        modes.batches = tuple([b for b in before if b is not batch])
        try:
            parts = []
            for i in range(count):
                one = [_example(x, batch, i) for x in leaves]
                found, form = flatten(self._examples(unflatten(structure, one), options, one))
                parts.append([self._as_result(x, _tensors(one)) for x in found])
            if count == 1:
                return unflatten(form, parts[0])
            whole = [FUNCTIONS["stack"](xs, axis=0) for xs in zip(*parts, strict=True)]
        finally:
            modes.batches = before
        return unflatten(form, [apply(enter, x, batch=batch, axis=0) for x in whole])

    def _as_result(self, x: Any, like: list[Tensor]) -> Tensor:
        """Return a part of the solver's result as a constant, where and what the arguments are."""
        if isinstance(x, Tensor):
            t = wrap(x._value)
        elif isinstance(x, (float, int)) or hasattr(x, "__array__"):
            floats = [t.dtype for t in like if t.dtype.is_floating_point]
            if like:
                backend = like[0].backend
                dtype = promote(floats) if floats else default_dtype(backend)
                t = wrap(backend.asarray(x, dtype=dtype))
            else:
                t = as_tensor(x)
        else:
            raise TransformError(
                f"{self.name}: the solver returns Tensors, arrays and numbers (also nested); "
                f"found a {type(x).__name__}"
            )
        return t if t.dtype.is_floating_point else as_tensor(t, dtype=default_dtype(t.backend))

    def _check(self, given: Given, xs: list[Tensor], structure: Structure) -> None:
        """Raise unless the residual is zero at the solution, shaped as it is, and connected to
        nothing but arguments."""
        nest = unflatten(structure, [wrap(x._value) for x in xs])
        found = [as_tensor(r) for r in flatten(self.function(nest, *given.nested()))[0]]
        if modes.enabled:
            refuse_captured(self.name, "the residual", found)
        shapes, wanted = [r.shape for r in found], [x.shape for x in xs]
        if shapes != wanted:
            raise ShapeError(
                f"{self.name}: the residual has shapes {shapes}, x has {wanted}; it needs one "
                "equation for each unknown, nested and shaped as x is"
            )
        for r, x in zip(found, xs, strict=True):
            if r.size and self.tolerance != float("inf"):
                self._check_norm(whole(r), whole(x), x.dtype)

    def _check_norm(self, r: Tensor, x: Tensor, dtype: Any) -> None:
        tolerance = self.tolerance
        if tolerance is None:
            tolerance = float(finfo(dtype).eps) ** 0.25
        largest, scale = _largest(r), apply(REGISTRY["maximum"], _largest(x), 1.0)
        bound = apply(REGISTRY["multiply"], scale, tolerance)
        holds = apply(
            REGISTRY["logical_and"],
            apply(REGISTRY["less_equal"], largest, bound),
            apply(REGISTRY["isfinite"], largest),
        )

        def error(found: str = "") -> GradError:
            return GradError(
                f"{self.name}: the residual at the solver's result is {found}more than its "
                f"tolerance {tolerance:.2g} · max(1, |x|). It has not converged, or residual and "
                "solver are not of the same equations; for a looser check pass tolerance="
            )

        if modes.tracing is not None:
            modes.tracing.check(holds, error)
        elif not bool(holds):
            raise error(f"{float(largest):.3g}, ")

    # -- the rules

    def pull(self, point: _Point, cotangents: list[Tensor]) -> list[Any]:
        """Return θ̄ = -(∂r/∂θ)ᵀ (∂r/∂x)⁻ᵀ x̄."""
        v = self._linear(point, pack(cotangents), transposed=True)
        return self._of_arguments(point).pull([-v], given=False)

    def push(self, point: _Point, tangents: list[Any]) -> list[Any]:
        """Return dx = -(∂r/∂x)⁻¹ ∂r/∂θ dθ."""
        (right,) = self._of_arguments(point).push(tangents)
        return point.unpack(-self._linear(point, right, transposed=False))

    def _of_arguments(self, point: _Point) -> Run:
        """Return a run of r as a function of θ alone."""
        return Run(
            self.name,
            lambda *given: point.residual(self.function, point.x, point.with_tracked(given)),
            point.tracked,
            None,
        )

    def _linear(self, point: _Point, b: Tensor, transposed: bool) -> Tensor:
        """Return v with (∂r/∂x) v = b, or with its transpose."""
        if self.solve is not None:
            return self._matrix_free(point, b, transposed)
        n = point.x.size
        if n > MAX_SIZE:
            raise MemoryLimitError(
                f"{self.name}: {n} unknowns make a matrix of {n} x {n} elements; for more than "
                f"{MAX_SIZE} give a linear solver that does without it, solve=f with f(matvec, b)"
            )
        matrix = jacobian(lambda x: point.residual(self.function, x, point.leaves))(point.x)
        if transposed:
            matrix = apply(REGISTRY["permute_dims"], matrix, axes=(1, 0))
        try:
            return COMPOSITES["linalg.solve"].function(matrix, b)
        except LinAlgError as error:
            raise LinAlgError(
                f"{self.name}: ∂r/∂x is singular at the solution, which then does not depend "
                f"smoothly on the arguments ({error.message})"
            ) from error

    def _matrix_free(self, point: _Point, b: Tensor, transposed: bool) -> Tensor:
        """Return `_linear` by the user's solver: the root of a linear equation, so implicit too."""

        def product(v: Tensor, x: Tensor, leaves: Sequence[Any]) -> Tensor:
            run = Run(self.name, lambda x: point.residual(self.function, x, leaves), [x], None)
            return (run.pull if transposed else run.push)([as_tensor(v, dtype=x.dtype)])[0]

        def linear_solver(b: Tensor, x: Tensor, *leaves: Any) -> Any:
            return self.solve(lambda v: product(_beside(x, v), x, leaves), b)

        def linear_residual(v: Tensor, b: Tensor, x: Tensor, *leaves: Any) -> Tensor:
            return product(v, x, leaves) - b

        linear = _Implicit(linear_solver, linear_residual, self.solve, self.tolerance)
        linear.name = f"{self.name}, solve"
        return linear(b, point.x, *point.leaves)


def _beside(x: Tensor, v: Any) -> Tensor:
    """Return a vector that a linear solver gives, of any library, as a Tensor like another."""
    return v if isinstance(v, Tensor) else wrap(x.backend.asarray(v, dtype=x.dtype))


def _tensors(leaves: Sequence[Any]) -> list[Tensor]:
    return [x for x in leaves if isinstance(x, Tensor)]


def _innermost(leaves: Sequence[Any]) -> Batch | None:
    """Return the latest batch that a leaf lives in."""
    found = [x._value.batch for x in _tensors(leaves) if isinstance(x._value, Batched)]
    return max(found, key=lambda batch: batch.number, default=None)


def _is_mapped(x: Any, batch: Batch) -> bool:
    """Say whether a leaf differs between the examples of the batch that is its outermost."""
    value = x._value if isinstance(x, Tensor) else None
    return isinstance(value, Batched) and value.batch is batch and value.mapped


def _example(x: Any, batch: Batch, i: int) -> Any:
    """Return what one example of a batch sees of an argument."""
    if not isinstance(x, Tensor) or getattr(x._value, "batch", None) is not batch:
        return x
    value = wrap(x._value.value)
    return value[i] if x._value.mapped else value


def _largest(t: Tensor) -> Tensor:
    size = apply(REGISTRY["abs"], t)
    return apply(REGISTRY["max"], size, axis=tuple(range(t.ndim)), keepdims=False)
