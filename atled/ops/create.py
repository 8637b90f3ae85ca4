"""Making Tensors: from data, from a rule, like another one.

New Tensors lie in the current backend (`at.use`) unless made from a Tensor or an array of
another; floats get the default dtype unless one is asked for, and a dtype that is asked for is
given or is an error.
"""

from typing import Any

from atled.backends.protocol import current, default_dtype, load, namespace_of
from atled.config import settings
from atled.core.apply import apply, as_tensor
from atled.core.op import Sample
from atled.core.surface import FUNCTIONS, public, spelled
from atled.core.tensor import Tensor, wrap
from atled.dtypes import DType, as_dtype, bool_, int64
from atled.errors import ShapeError
from atled.ops.index import gather, scatter


@public(method=False)
def tensor(
    data: Any, dtype: Any = None, device: str | None = None, requires_grad: bool = False
) -> Tensor:
    """Make a Tensor from nested lists, a number, or an array of any library; always a copy.

    Args:
        data: numbers; integers give int64, booleans bool, floats the default floating dtype;
            an array keeps its own dtype.
        dtype: the dtype to have.
        device: "cpu", "cuda", "mps", "auto"; by default that of `at.use`.
        requires_grad: whether to record operations on it.

    Raises:
        ShapeError: nested lists of unequal lengths.
        DTypeError: not numbers, or the backend does not have the dtype.
        BackendError: the backend does not have the device.

    Example:
        >>> import atled as at
        >>> at.tensor([[1.0, 2.0], [3.0, 4.0]])
        tensor([[1., 2.],
                [3., 4.]])
    """
    return Tensor(data, dtype=dtype, device=device, requires_grad=requires_grad)


@public("as_tensor", method=False)
def asarray(
    data: Any,
    dtype: Any = None,
    device: str | None = None,
    copy: bool | None = None,
    backend: str | None = None,
) -> Tensor:
    """Return data as a Tensor: itself if it is one and nothing else is asked for.

    Args:
        data, dtype, device: as for `tensor`.
        copy: True for a new Tensor in any case.
        backend: the backend to have.
    """
    if isinstance(data, Tensor):
        t = data if backend is None else data.to(backend)
        return as_tensor(t, dtype=dtype, device=device, copy=copy)
    space = load(backend) if backend else namespace_of(data) or current()
    wanted = None if dtype is None else as_dtype(dtype, default_dtype(space))
    return wrap(space.asarray(data, dtype=wanted, device=space.check_device(device)))


@public(method=False)
def from_numpy(array: Any) -> Tensor:
    """Return a numpy.ndarray as a Tensor of the current backend, with its dtype; a copy."""
    return as_tensor(array)


@public(method=False)
def from_dlpack(x: Any) -> Tensor:
    """Return the array of another library that offers DLPack as a Tensor; a copy.

    NumPy's and torch's arrays keep their backend. Others come by way of NumPy.
    """
    if isinstance(x, Tensor):
        return x.detach()
    space = namespace_of(x)
    if space is not None:
        return wrap(space.asarray(x))
    return wrap(load("numpy").from_dlpack(x))


def place(dtype: Any, device: str | None) -> tuple[Any, DType, str | None]:
    backend = current()
    wanted = default_dtype(backend) if dtype is None else as_dtype(dtype, default_dtype(backend))
    backend.native(wanted)
    found = backend.check_device(device) if device is not None else settings.device
    return backend, wanted, found


def as_shape(shape: Any, rest: Any) -> tuple[int, ...]:
    sizes = (shape, *rest) if isinstance(shape, int) else tuple(shape)
    if any(not isinstance(n, int) or n < 0 for n in sizes):
        raise ShapeError(f"a shape holds non-negative integers; found {sizes}")
    return sizes


def _made(x: Any, requires_grad: bool) -> Tensor:
    t = wrap(x)
    return t.requires_grad_() if requires_grad else t


@public(method=False)
def zeros(
    shape: Any,
    *rest: int,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Make a Tensor of zeros; the shape as a sequence or as several numbers."""
    xp, wanted, where = place(dtype, device)
    return _made(xp.zeros(as_shape(shape, rest), dtype=wanted, device=where), requires_grad)


@public(method=False)
def ones(
    shape: Any,
    *rest: int,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Make a Tensor of ones; the shape as a sequence or as several numbers."""
    xp, wanted, where = place(dtype, device)
    return _made(xp.ones(as_shape(shape, rest), dtype=wanted, device=where), requires_grad)


@public(method=False)
def empty(
    shape: Any,
    *rest: int,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Make a Tensor whose values do not matter yet: zeros here, so that nothing is random."""
    return zeros(as_shape(shape, rest), dtype=dtype, device=device, requires_grad=requires_grad)


@public(method=False)
def full(
    shape: Any,
    fill_value: Any,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Make a Tensor with one value everywhere; the dtype follows the value unless given."""
    if isinstance(fill_value, Tensor):
        fill_value = fill_value.item()
    if dtype is None and not isinstance(fill_value, float):
        dtype = bool_ if isinstance(fill_value, bool) else int64
    xp, wanted, where = place(dtype, device)
    return _made(
        xp.full(as_shape(shape, ()), fill_value, dtype=wanted, device=where), requires_grad
    )


@public(method=False)
def arange(
    start: Any,
    stop: Any = None,
    step: Any = 1,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Make start, start + step, … up to, but without, stop; from 0 if only one number is given.

    Integers give int64, anything else the default floating dtype.
    """
    if stop is None:
        start, stop = 0, start
    if step == 0:
        raise ShapeError("arange: step must not be 0")
    if dtype is None and all(isinstance(n, int) for n in (start, stop, step)):
        dtype = int64
    xp, wanted, where = place(dtype, device)
    return _made(xp.arange(start, stop, step, dtype=wanted, device=where), requires_grad)


@public(method=False)
@spelled
def linspace(
    start: float,
    stop: float,
    num: int,
    dtype: Any = None,
    device: str | None = None,
    endpoint: bool = True,
    requires_grad: bool = False,
) -> Tensor:
    """Make `num` evenly spaced numbers from start to stop, the last one included by default."""
    xp, wanted, where = place(dtype, device)
    gaps = max(num - 1 if endpoint else num, 1)
    values = [start + (stop - start) * (i / gaps) for i in range(num)]
    if endpoint and num > 1:
        values[-1] = float(stop)
    made = xp.asarray([float(v) for v in values], dtype=wanted, device=where)
    return _made(made, requires_grad)


@public(method=False)
def logspace(start: float, stop: float, num: int, base: float = 10.0, **options: Any) -> Tensor:
    """Make base^start … base^stop, evenly spaced in the exponent."""
    return FUNCTIONS["pow"](base, linspace(start, stop, num, **options))


@public(method=False)
def eye(
    n_rows: int, n_cols: int | None = None, k: int = 0, dtype: Any = None, device: str | None = None
) -> Tensor:
    """Make a matrix with ones on the k-th diagonal, zeros elsewhere."""
    xp, wanted, where = place(dtype, device)
    columns = n_rows if n_cols is None else n_cols
    rows = xp.reshape(xp.arange(n_rows, device=where), shape=(n_rows, 1))
    places = xp.reshape(xp.arange(columns, device=where), shape=(1, columns))
    return wrap(xp.astype(rows + k == places, dtype=wanted))


# -- like another


def _like(x: Any, fill: Any, dtype: Any, requires_grad: bool) -> Tensor:
    x = as_tensor(x)
    wanted = x.dtype if dtype is None else as_dtype(dtype, default_dtype(x.backend))
    x.backend.native(wanted)
    return _made(x.backend.full(x.shape, fill, dtype=wanted, device=x.device), requires_grad)


@public(method=False)
def zeros_like(x: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Make zeros of the shape, dtype and device of x."""
    return _like(x, 0, dtype, requires_grad)


@public(method=False)
def ones_like(x: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Make ones of the shape, dtype and device of x."""
    return _like(x, 1, dtype, requires_grad)


@public(method=False)
def empty_like(x: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Make a Tensor like x whose values do not matter yet (zeros)."""
    return _like(x, 0, dtype, requires_grad)


@public(method=False)
def full_like(x: Any, fill_value: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Make one value everywhere, in the shape, dtype and device of x."""
    return _like(x, fill_value, dtype, requires_grad)


# -- triangles, diagonals, grids


@public(samples=(Sample(((2, 3, 4),), {"k": -1}),))
def tril(x: Any, k: int = 0) -> Tensor:
    """Return the matrix x with zeros above the k-th diagonal."""
    x = as_tensor(x)
    return FUNCTIONS["where"](_below(x, k), x, 0)


@public(samples=(Sample(((2, 3, 4),), {"k": 1}),))
def triu(x: Any, k: int = 0) -> Tensor:
    """Return the matrix x with zeros below the k-th diagonal."""
    x = as_tensor(x)
    return FUNCTIONS["where"](_below(x, k - 1), 0, x)


def _below(x: Tensor, k: int) -> Tensor:
    if x.ndim < 2:
        raise ShapeError(f"tril and triu need a matrix; found shape {x.shape}")
    xp, (m, n) = x.backend, x.shape[-2:]
    rows = xp.reshape(xp.arange(m, device=x.device), shape=(m, 1))
    return wrap(xp.reshape(xp.arange(n, device=x.device), shape=(1, n)) <= rows + k)


@public(
    samples=(
        Sample(((3, 4),)),
        Sample(((3, 2, 4),), {"offset": 1, "dim1": 0, "dim2": 2}),
    ),
    reference="reference.diagonal",
)
def diagonal(x: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """Return the diagonal over two axes, as the last axis of the result."""
    x = as_tensor(x)
    front = FUNCTIONS["moveaxis"](x, (dim1, dim2), (0, 1))
    m, n = front.shape[:2]
    length = max(min(m + min(offset, 0), n - max(offset, 0)), 0)
    xp = x.backend
    line = wrap(xp.arange(length, device=x.device))
    picked = apply(gather, front, line + max(-offset, 0), line + max(offset, 0))
    return FUNCTIONS["moveaxis"](picked, 0, -1)


@public(
    samples=(
        Sample(((3,),), {"k": 1}),
        Sample(((3, 4),), {"k": -1}),
    )
)
def diag(x: Any, k: int = 0) -> Tensor:
    """Return the k-th diagonal of a matrix, or the matrix with a vector on that diagonal."""
    x = as_tensor(x)
    if x.ndim == 2:
        return diagonal(x, k)
    if x.ndim != 1:
        raise ShapeError(f"diag: a vector or a matrix is needed; found shape {x.shape}")
    n = x.shape[0] + abs(k)
    line = wrap(x.backend.arange(x.shape[0], device=x.device))
    return apply(scatter, x, line + max(-k, 0), line + max(k, 0), shape=(n, n))


@public(samples=(Sample(((3, 4),), {"offset": 1}),))
def trace(x: Any, offset: int = 0) -> Tensor:
    """Sum the diagonal of a matrix (of the first two axes)."""
    return FUNCTIONS["sum"](diagonal(x, offset), axis=-1)


@public(
    method=False,
    samples=(
        Sample(((3,), (2,))),
        Sample(((3,), (2,)), {"indexing": "ij"}),
    ),
)
def meshgrid(*arrays: Any, indexing: str = "xy") -> list[Tensor]:
    """Return coordinate grids of one-dimensional arrays ("xy" or "ij" order of axes)."""
    tensors = [as_tensor(a) for a in arrays]
    n = len(tensors)
    grids = []
    for i, t in enumerate(tensors):
        at = 1 - i if indexing == "xy" and n > 1 and i < 2 else i
        grids.append(FUNCTIONS["reshape"](t, [t.size if j == at else 1 for j in range(n)]))
    return FUNCTIONS["broadcast_arrays"](*grids)
