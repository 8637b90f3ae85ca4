"""Derivatives by central differences: a check on the exact ones, never a substitute in silence.

Read: Press et al., Numerical Recipes, §5.7: with a function that is computed to a relative error
of ε, the error of (f(x + h) - f(x - h)) / 2h is about ε |f| / h from rounding and h² |f‴| / 6 from
truncation; both together are least near h = ε^(1/3) x_c, where x_c is the scale on which f curves.
Its usual estimate is max(1, |x|).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import wraps
from typing import Any

from atled.backends.protocol import Backend
from atled.config import settings
from atled.core.apply import as_tensor
from atled.core.autograd import TENSORS
from atled.core.batch import Batched
from atled.core.mode import no_grad, refuse_traced
from atled.core.run import Argnums
from atled.core.tensor import Tensor, wrap
from atled.core.vmap import called
from atled.dtypes import float64
from atled.errors import DTypeError, NotScalarError, ShapeError, TransformError
from atled.tree import Structure, flatten, unflatten

__all__ = ["numeric_grad", "numeric_jacobian"]

EPSILONS = {"float16": 2.0**-10, "bfloat16": 2.0**-7, "float32": 2.0**-23, "float64": 2.0**-52}


def numeric_jacobian(
    function: Callable[..., Any], argnums: Argnums = 0, eps: float | None = None
) -> Callable[..., Any]:
    """Return the Jacobian by central differences, as a function: two calls for each element.

    J[i, j] ≈ (yᵢ(x + hⱼeⱼ) - yᵢ(x - hⱼeⱼ)) / 2hⱼ, with hⱼ = eps · max(1, |xⱼ|).

    The function is called on detached values without recording, so it may use NumPy, SciPy or
    anything else inside, and return its arrays and numbers. Tensors arrive as Tensors, arrays as
    arrays, floats as floats. Where float64 arrays or floats are varied, float64 is the default
    dtype while the function runs, since a number has no dtype of its own: what is made of it is
    float64, and so is what is made of nothing, like random numbers.

    Args:
        function: of Tensors, arrays and floats (nested), to the same.
        argnums: the positional argument, or a tuple of them, to vary.
        eps: the relative step; by default the cube root of the spacing at 1 of the dtype: 6e-6
            for float64 (an error near 1e-10), 5e-3 for float32 (near 1e-4). It is the coarsest
            of what is moved and the results, and, for what is no Tensor, of all that is varied:
            numbers take the dtype of the Tensors beside them. A Python float is a float64.

    Returns:
        A function with the same arguments; its result is nested as that of `jacobian`: for each
        result, one Tensor of shape (*y.shape, *x.shape) for each varied Tensor.

    Raises:
        DTypeError: there is nothing to vary, or a result is no floating number.
        ShapeError: a result changes its shape.
        TransformError, TraceError: the values are not known, inside `vmap` and `at.compile`.

    Example:
        >>> import math
        >>> import atled as at
        >>> x = at.tensor([1.0, 2.0], dtype=at.float64)
        >>> at.numeric_jacobian(lambda x: [math.exp(x[0]), float(x[0] * x[1])])(x)
        [tensor([2.7183, 0.0000], dtype=float64), tensor([2., 1.], dtype=float64)]
    """
    name = f"numeric_jacobian({called(function)})"

    @wraps(function, assigned=("__name__", "__qualname__", "__doc__", "__module__"), updated=())
    def differences(*args: Any, **kwargs: Any) -> Any:
        varied = _Varied(name, function, args, kwargs, argnums, eps)
        blocks, structure = varied.jacobian()
        return unflatten(structure, [varied.like_arguments(row) for row in blocks])

    return differences


def numeric_grad(
    function: Callable[..., Any], argnums: Argnums = 0, eps: float | None = None
) -> Callable[..., Any]:
    """Return the gradient by central differences, as a function: two calls for each element.

    Args:
        function: with one number as its result, a Tensor, array or float.
        argnums, eps: as in `numeric_jacobian`.

    Returns:
        A function that returns the gradient, nested as that of `grad`.

    Raises:
        NotScalarError: the result is not one number; and as `numeric_jacobian`.

    Example:
        >>> import atled as at
        >>> at.numeric_grad(lambda p: p["a"] ** 2 * p["b"])({"a": 3.0, "b": 2.0})
        {'a': tensor(12., dtype=float64), 'b': tensor(9.0000, dtype=float64)}
    """
    name = f"numeric_grad({called(function)})"

    @wraps(function, assigned=("__name__", "__qualname__", "__doc__", "__module__"), updated=())
    def gradient(*args: Any, **kwargs: Any) -> Any:
        varied = _Varied(name, function, args, kwargs, argnums, eps)
        ys, structure = varied.values()
        if structure.build is not None or ys[0].size != 1:
            found = f"shape {ys[0].shape}" if structure.build is None else f"{len(ys)} results"
            raise NotScalarError(
                f"{name} needs a function with one number as its result; found {found}. Reduce it "
                "(.sum()), or use numeric_jacobian"
            )
        (row,), _ = varied.jacobian()
        shaped = [
            as_tensor(TENSORS.reshape(g, shape=x.shape), dtype=x.dtype)
            for g, x in zip(row, varied.inputs, strict=True)
        ]
        return varied.like_arguments(shaped)

    return gradient


class _Varied:
    """One call: the arguments, of which one element at a time is moved."""

    def __init__(
        self,
        name: str,
        function: Callable[..., Any],
        args: Sequence[Any],
        kwargs: Any,
        argnums: Argnums,
        eps: float | None,
    ) -> None:
        refuse_traced(name)
        if eps is not None and not eps > 0:
            raise ValueError(f"{name}: eps is a positive number; found {eps!r}")
        self.name, self.function, self.kwargs, self.eps = name, function, kwargs, eps
        self.single = isinstance(argnums, int)
        self.chosen = [self._argnum(i, len(args)) for i in ((argnums,) if self.single else argnums)]  # type: ignore[union-attr]
        parts = [flatten(arg) for arg in args]
        self.leaves, self.structures = [list(p[0]) for p in parts], [p[1] for p in parts]
        self.inputs: list[Tensor] = []
        self.places: list[tuple[int, int]] = []  # of each input: argument, and leaf in it
        self.loose: list[bool] = []  # whether it is no Tensor, so that numbers are made of it
        for i, leaves in enumerate(self.leaves):
            for k, leaf in enumerate(leaves):
                if isinstance(leaf, Tensor):
                    leaves[k] = leaf = leaf.detach()
                if i in self.chosen and self._is_varied(leaf):
                    self.inputs.append(_as_input(leaf))
                    self.loose.append(not isinstance(leaf, Tensor))
                    self.places.append((i, k))
        if not self.inputs:
            raise DTypeError(
                f"{name}: there is nothing to vary: the arguments {self.chosen} hold no floating "
                "Tensor, array or number"
            )
        self.doubles = any(
            x.dtype is float64 and loose for x, loose in zip(self.inputs, self.loose, strict=True)
        )

    def _argnum(self, i: Any, count: int) -> int:
        if not isinstance(i, int) or isinstance(i, bool) or not -count <= i < count:
            raise TransformError(
                f"{self.name}: argnums asks for argument {i!r}; the call has {count} positional "
                "argument(s)"
            )
        return i % count

    def _is_varied(self, leaf: Any) -> bool:
        if isinstance(leaf, bool) or not (
            isinstance(leaf, (Tensor, float)) or hasattr(leaf, "__array__")
        ):
            return False
        x = _as_input(leaf)
        if isinstance(x._value, Batched):
            raise TransformError(
                f"{self.name} moves one element of one value at a time, and inside "
                f"{x._value.batch.name} there is a value for each of {x._value.batch.size} "
                "examples: call it outside, in a loop"
            )
        return x.dtype.is_floating_point

    def values(self, moved: int | None = None, x: Tensor | None = None) -> Any:
        """Call the function, with one input replaced; return the leaves of its result."""
        leaves = [list(each) for each in self.leaves]
        for k, (i, place) in enumerate(self.places):
            if k == moved and x is not None:
                leaves[i][place] = _like(self.leaves[i][place], x)
        args = [unflatten(s, each) for s, each in zip(self.structures, leaves, strict=True)]
        with no_grad(), _doubles() if self.doubles else nullcontext():
            result = self.function(*args, **self.kwargs)
        ys, structure = flatten(result)
        return [self._as_value(y) for y in ys], structure

    def _as_value(self, y: Any) -> Tensor:
        if not isinstance(y, (Tensor, float, int)) and not hasattr(y, "__array__"):
            raise DTypeError(
                f"{self.name}: the function returns numbers, Tensors and arrays (also nested); "
                f"found a {type(y).__name__}"
            )
        y = as_tensor(y, dtype=float64 if isinstance(y, float) else None)
        if not y.dtype.is_floating_point:
            raise DTypeError(f"{self.name}: a result is {y.dtype.name}, which has no derivative")
        return y

    def like_arguments(self, values: Sequence[Tensor]) -> Any:
        """Nest one value for each input as the arguments are nested."""
        of = dict(zip(self.places, values, strict=True))
        out = [
            unflatten(self.structures[i], [of.get((i, k)) for k in range(len(self.leaves[i]))])
            for i in self.chosen
        ]
        return out[0] if self.single else tuple(out)

    def jacobian(self) -> tuple[list[list[Tensor]], Structure]:
        """Return, for each result, a block for each input; and how the results are nested."""
        ys, structure = self.values()
        columns = [self._columns(k, ys) for k in range(len(self.inputs))]
        return [list(row) for row in zip(*columns, strict=True)], structure

    def _columns(self, k: int, ys: list[Tensor]) -> list[Tensor]:
        """Return the derivatives of all results by one input, each of shape (*y, *x)."""
        x = self.inputs[k]
        found: list[list[Any]] = [[] for _ in ys]
        beside = self.inputs if self.loose[k] else [x]
        spacing = max(EPSILONS[each.dtype.name] for each in [*beside, *ys])
        for above, below, width in _steps(x, self.eps or spacing ** (1 / 3)):
            pairs = zip(self._moved(k, above, ys), self._moved(k, below, ys), strict=True)
            for column, (a, b) in zip(found, pairs, strict=True):
                column.append((a - b) / width)
        out = []
        for y, column in zip(ys, found, strict=True):
            one = [TENSORS.reshape(d, shape=(*y.shape, 1)) for d in column]
            block = TENSORS.concat(*one, axis=y.ndim) if one else _empty(y)
            out.append(TENSORS.reshape(block, shape=(*y.shape, *x.shape)))
        return out

    def _moved(self, k: int, x: Tensor, ys: list[Tensor]) -> list[Tensor]:
        found, _ = self.values(k, x)
        if [y.shape for y in found] != [y.shape for y in ys]:
            raise ShapeError(
                f"{self.name}: the shapes of the results depend on the values of the arguments: "
                f"{[y.shape for y in ys]} became {[y.shape for y in found]}"
            )
        return found


def _steps(x: Tensor, eps: float) -> Iterator[tuple[Tensor, Tensor, float]]:
    """Yield, for each element, x with it moved up and down, and how far apart these are."""
    values = _numbers(x)
    for i, value in enumerate(values):
        h = eps * max(1.0, abs(value))
        above, below = (
            _with(x, [*values[:i], v, *values[i + 1 :]]) for v in (value + h, value - h)
        )
        yield above, below, _numbers(above)[i] - _numbers(below)[i]  # as they were rounded


@contextmanager
def _doubles() -> Iterator[None]:
    """Let numbers become Tensors of float64."""
    before, settings.default_dtype = settings.default_dtype, float64
    try:
        yield
    finally:
        settings.default_dtype = before


def _empty(y: Tensor) -> Tensor:
    device = None if y.device == "cpu" else y.device
    return wrap(y.backend.zeros((*y.shape, 0), dtype=y.dtype, device=device))


def _numbers(x: Tensor) -> list[float]:
    xp: Backend = x.backend
    return list(xp.tolist(xp.reshape(x._value, shape=(x.size,))))


def _as_input(leaf: Any) -> Tensor:
    """Return what is varied as a Tensor; a Python float is a float64."""
    return as_tensor(leaf, dtype=float64 if isinstance(leaf, float) else None)


def _like(leaf: Any, x: Tensor) -> Any:
    """Return a value as what the function was given: a Tensor, a float, or an array."""
    if isinstance(leaf, Tensor):
        return x
    if type(leaf) is float:
        return x.item()
    if type(x.array) is type(leaf):
        return x.array
    array = x.numpy()
    return array[()] if type(leaf) is array.dtype.type else array  # the first: NumPy's scalars


def _with(x: Tensor, values: list[float]) -> Tensor:
    """Return a Tensor like x of other values."""
    xp = x.backend
    flat = xp.asarray(values, dtype=x.dtype, device=None if x.device == "cpu" else x.device)
    return wrap(xp.reshape(flat, shape=x.shape))
