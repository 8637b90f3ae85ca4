"""The NumPy backend: NumPy's functions as they are, and faster spellings of a few.

Two choices for speed, measured on small arrays: arithmetic goes through Python's operators,
because 0-d results are then NumPy scalars whose operators take 60 ns where a ufunc takes 500;
and reductions call the ufunc's own `reduce`, 1.1 µs where `np.sum` takes 2.4.
"""

import math
import operator
from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, ClassVar

import numpy as np

from atled.backends import lapack
from atled.backends.order import stable_order
from atled.backends.protocol import Backend, default_dtype, shape_of_nest
from atled.dtypes import ALL, DType, bfloat16, bool_, by_name, float32
from atled.errors import BackendError, DTypeError, ShapeError

try:
    from scipy import special
except ImportError:  # SciPy is optional: the portable forwards are used without it
    special = None

__all__ = ["NumpyBackend", "backend"]

# atled's name -> the NumPy function, where the two are called alike.
_NATIVE = """
abs sign square exp expm1 exp2 log log1p log2 log10 sin cos tan asin acos atan
sinh cosh tanh asinh acosh atanh floor ceil trunc isnan isinf isfinite signbit logical_not
bitwise_invert atan2 maximum minimum remainder floor_divide copysign hypot logaddexp
nextafter equal not_equal less less_equal greater greater_equal logical_and logical_or
logical_xor bitwise_and bitwise_or bitwise_xor bitwise_left_shift bitwise_right_shift
sqrt where matmul zeros_like ones_like full_like
""".split()
_OPERATORS = {
    "add": operator.add,
    "subtract": operator.sub,
    "multiply": operator.mul,
    "divide": operator.truediv,
    "negative": operator.neg,
    "pow": operator.pow,
}
_HALF = np.dtype("float16")
_DTYPES = {d: np.dtype(d.name) for d in ALL if d is not bfloat16}


class NumpyBackend(Backend):
    """The namespace over numpy.ndarray (and NumPy's scalars, which stand for 0-d arrays)."""

    name = "numpy"
    array_types = (np.ndarray, *{d.type for d in _DTYPES.values()})
    dtypes = _DTYPES
    floats = tuple(np.dtype(n) for n in ("float32", "float64", "float16"))
    default_float = float32
    _names: ClassVar = {native: known for known, native in _DTYPES.items()}

    def __init__(self) -> None:
        for name in _NATIVE:
            setattr(self, name, getattr(np, name))
        for name, function in _OPERATORS.items():
            setattr(self, name, function)
        self.round = np.rint
        self.prod, self.max, self.min, self.all, self.any = (
            partial(_reduce, f.reduce)
            for f in (np.multiply, np.maximum, np.minimum, np.logical_and, np.logical_or)
        )
        for name in lapack.__all__:
            setattr(self, name, getattr(lapack, name))
        if special is not None:
            for name in ("erf", "erfinv"):
                setattr(self, name, getattr(special, name))
            setattr(self, "lgamma", special.gammaln)  # noqa: B010 - in place of the method

    # -- across the border -----------------------------------------------------------------

    def asarray(self, data: Any, *, dtype: DType | None = None, device: Any = None) -> Any:
        native = None if dtype is None else self.native(dtype)
        if isinstance(data, (np.ndarray, np.generic)):
            if data.dtype not in self._names:
                raise DTypeError(f"numpy arrays of dtype {data.dtype} have no place in a Tensor")
            return np.array(data, dtype=native)[()]
        if native is None and type(data) is float:
            native = self.native(default_dtype(self))
        if not isinstance(data, (list, tuple)) and hasattr(data, "__array__"):
            return np.array(data, dtype=native)[()]
        if not isinstance(data, (list, tuple, int, float)) and hasattr(data, "tolist"):
            data = data.tolist()
        try:
            array = np.array(data)
        except ValueError as error:
            raise ShapeError(
                f"nested lists of unequal lengths do not make an array: {error}"
            ) from None
        except OverflowError:
            array = np.array(data, dtype=object)
        if array.dtype == object and native is not None and native.kind == "f":
            array = _as_floats(array)  # integers beyond 64 bits
        whole = array.dtype.kind in "iuO" and native is None
        _check_range(array, np.dtype("int64") if whole else native)
        if array.dtype not in self._names:
            raise DTypeError(
                f"a Tensor holds numbers and booleans; found {_describe(data)} ({array.dtype})"
            )
        if native is None:
            if array.dtype.kind == "f":
                native = self.native(default_dtype(self))
            elif array.dtype.kind in "iu":
                native = np.dtype("int64")
            if array.size == 0 and shape_of_nest(data):
                native = self.native(default_dtype(self))
        return array.astype(native or array.dtype)[()]

    def present(self, x: Any) -> Any:
        return np.asarray(x)

    def tolist(self, x: Any) -> Any:
        return x.tolist()

    def to_numpy(self, x: Any) -> Any:
        return np.asarray(x)

    def dtype_of(self, x: Any) -> DType:
        return self._names[x.dtype]

    def quiet(self) -> AbstractContextManager[Any]:
        return np.errstate(all="ignore")

    def describe(self) -> dict[str, str]:
        config: Any = np.show_config(mode="dicts")
        blas = config.get("Build Dependencies", {}).get("blas", {})
        facts = {"version": np.__version__, "BLAS": f"{blas.get('name')} {blas.get('version')}"}
        facts["SciPy"] = "not installed" if special is None else "used for special functions"
        return facts

    # -- creation ----------------------------------------------------------------------------

    def _native(self, dtype: Any) -> Any:
        if dtype is None:
            dtype = default_dtype(self)
        return self.dtypes[dtype] if isinstance(dtype, DType) else dtype

    def zeros(self, shape: Any, *, dtype: Any = None, device: Any = None) -> Any:
        return np.zeros(shape, self._native(dtype))

    def ones(self, shape: Any, *, dtype: Any = None, device: Any = None) -> Any:
        return np.ones(shape, self._native(dtype))

    def full(self, shape: Any, fill: Any, *, dtype: Any = None, device: Any = None) -> Any:
        if dtype is None and not isinstance(fill, float):
            dtype = bool_ if isinstance(fill, bool) else by_name("int64")
        return np.full(shape, fill, self._native(dtype))[()]

    def arange(
        self, start: Any, stop: Any = None, step: Any = 1, *, dtype: Any = None, device: Any = None
    ) -> Any:
        if stop is None:
            start, stop = 0, start
        if dtype is None and all(isinstance(n, int) for n in (start, stop, step)):
            dtype = by_name("int64")
        return np.arange(start, stop, step).astype(self._native(dtype))

    def astype(self, x: Any, *, dtype: Any) -> Any:
        native = self._native(dtype)
        return x if x.dtype is native else x.astype(native)

    def have_nan(self, arrays: Sequence[Any]) -> bool:
        for x in arrays:
            size = x
            if type(x) is np.ndarray:  # a NaN is one in the sum of squares too, the fastest pass
                flat = x if x.ndim == 1 else x.ravel("K")
                size = flat.dot(flat)
            if size != size and np.isnan(x).any():
                return True
        return False

    # -- reductions and scans ------------------------------------------------------------------

    def sum(self, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
        dtype: Any = None if x.dtype.kind == "f" else np.int64
        add: Any = np.add
        if x.dtype == _HALF:  # as in torch; float16 would stop growing at 2048 ones
            wide = add.reduce(x, axis=axis, dtype=np.float32, keepdims=keepdims)
            return wide.astype(_HALF)
        return add.reduce(x, axis=axis, dtype=dtype, keepdims=keepdims)

    def argmax(self, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
        return np.argmax(x, axis=axis, keepdims=keepdims)

    def argmin(self, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
        return np.argmin(x, axis=axis, keepdims=keepdims)

    def cumulative_sum(self, x: Any, *, axis: int) -> Any:
        return np.cumsum(x, axis=axis, dtype=None if x.dtype.kind == "f" else np.int64)

    def cumulative_prod(self, x: Any, *, axis: int) -> Any:
        return np.cumprod(x, axis=axis, dtype=None if x.dtype.kind == "f" else np.int64)

    # -- movement --------------------------------------------------------------------------------

    def reshape(self, x: Any, *, shape: Any) -> Any:
        return x.reshape(shape)

    def permute_dims(self, x: Any, *, axes: Any) -> Any:
        return x.transpose(axes)

    def broadcast_to(self, x: Any, *, shape: Any) -> Any:
        return np.broadcast_to(x, shape)

    def concat(self, *arrays: Any, axis: int) -> Any:
        return np.concatenate(arrays, axis=axis)

    def slice(self, x: Any, *, index: Any) -> Any:
        return x[tuple([slice(*i) for i in index])]

    def place(self, x: Any, *, index: Any, shape: Any) -> Any:
        out = np.zeros(shape, x.dtype)
        out[tuple([slice(*i) for i in index])] = x
        return out

    def gather_nd(self, x: Any, *indices: Any) -> Any:
        return x[indices] if len(indices) > 1 else x.take(indices[0], axis=0)

    def scatter_nd_add(self, x: Any, v: Any, *indices: Any) -> Any:
        out = np.array(x)
        np.add.at(out, indices, v)
        return out

    def scatter_nd_set(self, x: Any, v: Any, *indices: Any) -> Any:
        out = np.array(x)
        out[indices] = v
        return out

    # -- random ----------------------------------------------------------------------------------

    def random_bits(self, x0: Any, x1: Any, *, key: tuple[int, int]) -> Any:
        """Encrypt counters by Threefry-2x32-20, as the record in `ops/random.py` does in int64.

        In uint32, which wraps by itself, in place, in chunks that stay in the cache: 1M counters
        take 16 ms where the portable forward takes 150.
        """
        flat0, flat1 = np.ravel(x0), np.ravel(x1)
        out = np.empty((2, flat0.size), np.int64)
        for start in range(0, flat0.size, _CHUNK):
            part = slice(start, start + _CHUNK)
            a, b = flat0[part].astype(np.uint32), flat1[part].astype(np.uint32)
            _threefry(a, b, key)
            out[0, part], out[1, part] = a, b
        return out[0].reshape(np.shape(x0)), out[1].reshape(np.shape(x0))

    # -- sorting ---------------------------------------------------------------------------------

    def argsort(self, x: Any, *, axis: int, descending: bool = False) -> Any:
        if not descending:
            return stable_order(x, axis)
        back = stable_order(np.flip(x, axis), axis)
        return np.flip(x.shape[axis] - 1 - back, axis)

    def searchsorted(self, x1: Any, x2: Any, *, side: str = "left") -> Any:
        return np.searchsorted(x1, x2, side=side)  # type: ignore[call-overload]

    def nonzero(self, x: Any) -> Any:
        return np.nonzero(x)

    # -- special functions without SciPy ---------------------------------------------------------

    def erf(self, x: Any) -> Any:
        return self._elementwise(math.erf, x)

    def lgamma(self, x: Any) -> Any:
        return self._elementwise(_lgamma, x)

    def _elementwise(self, function: Any, x: Any) -> Any:
        flat = [function(v) for v in np.asarray(x, np.float64).ravel().tolist()]
        return np.array(flat, x.dtype).reshape(x.shape)[()]


_CHUNK = 16_384  # counters: four uint32 arrays of 64 KiB
_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))


def _threefry(a: Any, b: Any, key: tuple[int, int]) -> None:
    """Encrypt the words a and b (uint32) in place (Salmon et al. 2011, see `ops/random.py`)."""
    keys = [np.uint32(k) for k in (*key, key[0] ^ key[1] ^ 0x1BD11BDA)]
    high, plus = np.empty_like(b), np.add
    plus(a, keys[0], out=a)
    plus(b, keys[1], out=b)
    for block in range(5):
        for r in _ROTATIONS[block % 2]:
            plus(a, b, out=a)
            np.left_shift(b, r, out=high)
            np.right_shift(b, 32 - r, out=b)
            np.bitwise_or(b, high, out=b)
            np.bitwise_xor(b, a, out=b)
        plus(a, keys[(block + 1) % 3], out=a)
        plus(b, keys[(block + 2) % 3], out=b)
        plus(b, np.uint32(block + 1), out=b)


def _lgamma(x: float) -> float:
    if x == math.floor(x) and x <= 0:
        return math.inf
    return math.lgamma(x)


def _reduce(reduce: Any, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
    return reduce(x, axis=axis, keepdims=keepdims)


def _as_floats(array: Any) -> Any:
    try:
        return array.astype(np.float64)
    except (TypeError, ValueError, OverflowError):
        return array


def _check_range(array: Any, native: Any) -> None:
    """Raise DTypeError, naming the number, unless an integer dtype holds all of an array's."""
    if native is None or native == array.dtype or native.kind not in "iu":
        return
    if array.dtype.kind == "b" or not array.size:
        return
    limits = np.iinfo(native)
    for extreme in _extremes(array):
        whole = int(extreme) if math.isfinite(extreme) else extreme
        if not limits.min <= whole <= limits.max:
            raise DTypeError(
                f"{extreme} does not fit {native.name}: it holds {limits.min} to {limits.max}"
            )


def _extremes(array: Any) -> list[Any]:
    """Return the smallest and the largest number; [] if there are other things."""
    if array.dtype.kind in "iuf":
        return [array.min().item(), array.max().item()]
    if all(isinstance(v, (int, float)) for v in array.flat):
        return [min(array.flat), max(array.flat)]
    return []


def _describe(data: Any) -> str:
    """Name the first thing in nested lists that is not a number."""
    if isinstance(data, (list, tuple)):
        for item in data:
            if isinstance(item, (list, tuple)) or not isinstance(item, (int, float, bool)):
                return _describe(item)
    return repr(data)[:60]


def backend() -> Backend:
    """Return the backend, checking NumPy's version.

    Raises:
        BackendError: NumPy is older than 2.1.
    """
    major, minor = (int(part) for part in np.__version__.split(".")[:2])
    if (major, minor) < (2, 1):
        raise BackendError(f"the numpy backend needs NumPy 2.1 or newer; found {np.__version__}")
    return NumpyBackend()
