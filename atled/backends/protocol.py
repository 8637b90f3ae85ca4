"""What a backend is: a namespace of functions over one library's arrays.

Operations and their derivatives are written over a namespace `xp` and never ask whose it is.
What always holds of a namespace:

* it has one function for every record of the registry, called like the record: arrays by
  position, static parameters by keyword. A backend writes a function itself where its library
  has it, or where it can do better; every other one is the record's own portable forward,
  bound to the namespace on first use (`Backend.__getattr__`);
* arrays carry `shape`, `dtype`, `ndim`, the operators of Python, and slicing by `x[...]`;
* functions never write into their arguments;
* Python scalars are *weak*: they take the dtype of the array beside them.

The functions that every backend must bring are those of `REQUIRED`, with the Array API's
signatures (2025.12) except where `NAMED` says otherwise.

To add a backend: one file in this folder with a subclass of `Backend`, one line in `_LOADERS`.
"""

import importlib
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

from atled.config import modes, settings
from atled.dtypes import DType, as_dtype
from atled.errors import BackendError, DTypeError

__all__ = ["NAMED", "PORTABLE", "REQUIRED", "Backend", "current", "load", "namespace_of", "use"]

# The Array API's functions that records and rules are written with.
REQUIRED = """
zeros ones full arange zeros_like ones_like full_like
abs negative sign sqrt square exp expm1 exp2 log log1p log2 log10
sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh floor ceil trunc round
isnan isinf isfinite signbit logical_not bitwise_invert
add subtract multiply divide pow atan2 maximum minimum remainder floor_divide copysign hypot
logaddexp nextafter equal not_equal less less_equal greater greater_equal
logical_and logical_or logical_xor
bitwise_and bitwise_or bitwise_xor bitwise_left_shift bitwise_right_shift
where astype
sum prod max min all any argmax argmin cumulative_sum cumulative_prod
reshape permute_dims broadcast_to concat argsort searchsorted nonzero matmul
""".split()

# The calls that the standard lacks, or that are narrower here than there.
NAMED = {
    "erf": "erf(x): the error function, to a few units in the last place",
    "erfinv": "erfinv(x): its inverse on (-1, 1)",
    "lgamma": "lgamma(x): log of the absolute value of the gamma function",
    "polygamma": "polygamma(x, *, n): n-th derivative of digamma; n = 0 is digamma itself",
    "sum": "sum(x, *, axis, keepdims): axis None, an int or a tuple; also prod max min all any. "
    "Integers and booleans add up in int64",
    "argmax": "argmax(x, *, axis, keepdims): axis None or an int; the first index on ties",
    "cumulative_sum": "cumulative_sum(x, *, axis): axis a non-negative int; also cumulative_prod",
    "reshape": "reshape(x, *, shape): row-major, shape complete (no -1)",
    "permute_dims": "permute_dims(x, *, axes)",
    "broadcast_to": "broadcast_to(x, *, shape)",
    "concat": "concat(*arrays, axis): arrays by position, axis a non-negative int",
    "slice": "slice(x, *, index): index holds one (start, stop, step) an axis as in `slice`; "
    "stop is None where a negative step runs to the front",
    "place": "place(x, *, index, shape): zeros of `shape` with x at slice(..., index); "
    "the transpose of slice",
    "gather_nd": "gather_nd(x, *indices): x[i0, i1, ...] for k integer arrays of one shape over "
    "the first k axes, each within [0, n); shape indices.shape + x.shape[k:]",
    "scatter_nd_add": "scatter_nd_add(x, v, *indices): a copy of x with v added at "
    "x[i0, i1, ...]; repeated indices add up, in the order of v",
    "scatter_nd_set": "scatter_nd_set(x, v, *indices): a copy of x with v written at "
    "x[i0, i1, ...]; the last one wins on repeats where the library orders them",
    "argsort": "argsort(x, *, axis, descending): always stable",
    "searchsorted": "searchsorted(x1, x2, *, side): x1 one-dimensional",
    "nonzero": "nonzero(x): a tuple of int64 arrays",
    "matmul": "matmul(a, b): both at least two-dimensional, stacks broadcast",
    "astype": "astype(x, *, dtype): dtype is atled's; x itself where it has it already",
}

# Portable forwards by name, filled by the registry of records: written over `xp` themselves.
PORTABLE: dict[str, Callable[..., Any]] = {}


class Backend:
    """A namespace over one array library, and the few calls that cross its border.

    A subclass sets the class attributes, writes the methods that raise `NotImplementedError`
    here, and brings the functions of `REQUIRED` and `NAMED` as attributes or methods.
    """

    name: str  # as in at.use(name)
    level = 0  # real arrays are 0; a stand-in (batched, traced) is higher and decides
    array_types: tuple[type, ...]  # exact types of this library's arrays
    dtypes: dict[DType, Any]  # atled's dtype -> the library's, for those that it has
    floats: tuple[Any, ...]  # the library's floating dtypes, commonest first
    default_float: DType

    def __getattr__(self, name: str) -> Any:
        """Bind the portable forward of a record to this namespace, once."""
        forward = PORTABLE.get(name)
        if forward is None:
            raise AttributeError(f"the {self.name} backend has no function {name!r}")
        bound = partial(forward, self)
        setattr(self, name, bound)
        return bound

    # -- across the border -------------------------------------------------------------------

    def asarray(self, data: Any, *, dtype: DType | None = None, device: Any = None) -> Any:
        """Return a new array from nested lists, a scalar, or an array of this or any library.

        The result never shares memory with `data`. Without a dtype: booleans stay bool,
        integers become int64, floats the default floating dtype; an array keeps its own.
        """
        raise NotImplementedError

    def present(self, x: Any) -> Any:
        """Return x as users expect this library's arrays (a 0-d array, not a scalar type)."""
        return x

    def whole(self, x: Any) -> Any:
        """Return the array that really holds the elements of x, for all examples of a batch."""
        return x

    def have_nan(self, arrays: Sequence[Any]) -> bool:
        """Say whether an element of one of the arrays is NaN."""
        return any(bool(self.any(self.isnan(x), axis=None, keepdims=False)) for x in arrays)

    def is_tame(self, x: Any) -> bool:
        """Say whether x is known to be finite for finite data: of a traced array only."""
        return False

    def extent(self, x: Any) -> tuple[Any, Any]:
        """Return the smallest and the largest element of x, over all examples of a batch."""
        return self.tolist(self.min(x, axis=None)), self.tolist(self.max(x, axis=None))

    def tolist(self, x: Any) -> Any:
        """Return x as nested lists of Python scalars; a Python scalar for a 0-d array."""
        raise NotImplementedError

    def to_numpy(self, x: Any) -> Any:
        """Return x as a numpy.ndarray, sharing memory where possible."""
        raise NotImplementedError

    def dtype_of(self, x: Any) -> DType:
        """Return atled's name for the dtype of x."""
        raise NotImplementedError

    def device_of(self, x: Any) -> str:
        """Return where x lies: "cpu", "cuda:0", "mps:0"."""
        return "cpu"

    def to_device(self, x: Any, device: str) -> Any:
        """Return x on another device of this backend."""
        self.check_device(device)
        return x

    def check_device(self, device: str | None) -> str | None:
        """Return the device in full ("auto" resolved), or raise BackendError."""
        if device in (None, "cpu", "auto"):
            return None
        raise BackendError(f"the {self.name} backend computes on the cpu; found device={device!r}")

    def native(self, dtype: DType) -> Any:
        """Return the library's own dtype for atled's.

        Raises:
            DTypeError: this backend does not have it.
        """
        try:
            return self.dtypes[dtype]
        except KeyError:
            have = ", ".join(d.name for d in self.dtypes)
            raise DTypeError(
                f"the {self.name} backend has no {dtype.name}; it has {have}"
            ) from None

    def free_memory(self, device: str) -> int | None:
        """Return how many bytes are free where arrays of a device lie; None if nobody tells."""
        try:
            with open("/proc/meminfo", encoding="ascii") as facts:
                for line in facts:
                    if line.startswith("MemAvailable:"):
                        return int(line.split()[1]) * 1024
            return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        except (OSError, ValueError, AttributeError):
            return None

    def quiet(self) -> AbstractContextManager[Any]:
        """Return a context in which the library does not warn of inf and nan."""
        return nullcontext()

    def describe(self) -> dict[str, str]:
        """Return facts for `atled doctor`: version, devices, BLAS, threads."""
        return {}


_LOADERS = {
    "python": "atled.backends.python",
    "numpy": "atled.backends.numpy",
    "torch": "atled.backends.torch",
}
_LOADED: dict[str, Backend] = {}

# The one look-up of `apply`: exact type of an array -> its namespace.
NAMESPACES: dict[type, Backend] = {}


def names() -> list[str]:
    """Return the names of the backends that atled knows, installed or not."""
    return list(_LOADERS)


def is_installed(name: str) -> bool:
    """Say whether the library behind a backend can be imported, without importing it."""
    if name == "python":
        return True
    from importlib.util import find_spec  # 3 ms that `import atled` need not pay

    return find_spec(name) is not None


def load(name: str) -> Backend:
    """Return the backend called `name`; its library is imported on the first call.

    Raises:
        BackendError: atled does not know it, or its library is not installed.
    """
    backend = _LOADED.get(name)
    if backend is not None:
        return backend
    if name not in _LOADERS:
        raise BackendError(f"no backend is called {name!r}; there are {', '.join(_LOADERS)}")
    if not is_installed(name):
        raise BackendError(
            f"the {name} backend needs the package {name!r}, which is not installed; "
            f"pip install 'atled[{'standard' if name == 'numpy' else name}]'"
        )
    module = importlib.import_module(_LOADERS[name])
    backend = _LOADED[name] = module.backend()
    for kind in backend.array_types:
        NAMESPACES[kind] = backend
    return backend


def current() -> Backend:
    """Return the backend on which new Tensors are made; the traced one in a compiled function."""
    if modes.tracing is not None:
        return modes.tracing.namespace
    if settings.backend is None:
        settings.backend = "numpy" if is_installed("numpy") else "python"
    backend = _LOADED.get(settings.backend)
    return backend if backend is not None else load(settings.backend)


def namespace_of(array: Any) -> Backend | None:
    """Return the namespace of a raw array, loading its backend if need be; None for no array."""
    kind = type(array)
    found = NAMESPACES.get(kind)
    if found is not None:
        return found
    for base in kind.__mro__:  # a library not loaded yet, or a subclass of its array type
        name = base.__module__.partition(".")[0]
        if name in _LOADERS and base.__name__ in ("ndarray", "Tensor", "generic"):
            NAMESPACES[kind] = load(name)
            return NAMESPACES[kind]
    return None


def default_dtype(backend: Backend) -> DType:
    """Return the dtype that floats get when none is asked for."""
    chosen = settings.default_dtype
    return chosen if chosen is not None and chosen in backend.dtypes else backend.default_float


def set_default_dtype(dtype: object) -> None:
    """Set the floating dtype of new Tensors (initially float32; float64 on `python`).

    Raises:
        DTypeError: not a floating dtype, or the current backend does not have it.
    """
    chosen = as_dtype(dtype, current().default_float)
    if not chosen.is_floating_point:
        raise DTypeError(f"the default dtype must be a floating one; found {chosen.name}")
    current().native(chosen)
    settings.default_dtype = chosen


def get_default_dtype() -> DType:
    """Return the floating dtype of new Tensors."""
    return default_dtype(current())


class use:
    """Choose the backend (and device) of new Tensors: a setting, or a `with` block.

    Args:
        backend: "python", "numpy" or "torch".
        device: "cpu", "cuda", "cuda:1", "mps", or "auto" (CUDA, then MPS, then the CPU).

    Raises:
        BackendError: the backend is not installed, or does not have the device. The setting
            is then as it was.

    Example:
        >>> with use("python"):
        ...     current().name
        'python'
    """

    def __init__(self, backend: str, device: str | None = None) -> None:
        found = load(backend).check_device(device)
        self._before = settings.backend, settings.device
        settings.backend, settings.device = backend, found

    def __enter__(self) -> Backend:
        return current()

    def __exit__(self, *exc: object) -> None:
        settings.backend, settings.device = self._before


def shape_of_nest(data: Any) -> tuple[int, ...]:
    """Return the shape of nested lists or tuples by their first elements."""
    shape: list[int] = []
    while isinstance(data, Sequence) and not isinstance(data, (str, bytes)):
        shape.append(len(data))
        if not data:
            break
        data = data[0]
    return tuple(shape)
