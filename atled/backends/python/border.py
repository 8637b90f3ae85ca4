"""The border: arrays from nested lists, scalars and other libraries' arrays, and back.

Nothing here shares memory with what comes in. An array of another library is read through the
buffer protocol where it has one of the three dtypes, through its `tolist` otherwise;
its values are then widened, exactly: float32 to float64, narrow integers to int64.
"""

import importlib
from array import array
from collections.abc import Sequence
from itertools import chain
from typing import Any

from atled.backends.python.array import CODES, Array
from atled.backends.python.choose import astype
from atled.backends.python.layout import Shape, Storage
from atled.backends.python.operand import number
from atled.dtypes import DType, as_dtype, bool_, float64, int64
from atled.errors import BackendError, DTypeError, ShapeError

# What the buffer protocol calls the three dtypes, with 8, 8 and 1 bytes an element.
_FORMATS = {"d": float64, "q": int64, "l": int64, "?": bool_}
_KINDS = {"float": float64, "int": int64, "uint": int64, "bool": bool_}


def from_data(data: Any, dtype: DType | None) -> Array:
    """Return a new dense array from nested sequences, a scalar, or an array of any library.

    Args:
        data: the elements.
        dtype: that of the result; None takes it from the elements.

    Raises:
        ShapeError: the nest is ragged.
        DTypeError: an element is no number, or does not fit the dtype.
    """
    if isinstance(data, Array):
        x = Array(data.flat()[:], data.shape, data.dtype)
    elif hasattr(data, "tolist") and hasattr(data, "shape"):
        x = _from_array(data, dtype)
    else:
        shape, leaves = _flattened(data)
        x = _from_leaves(leaves, shape, dtype)
    return x if dtype is None else astype(x, dtype)


def _from_array(data: Any, dtype: DType | None) -> Array:
    """Read an array of another library."""
    shape: Shape = tuple(map(int, data.shape))
    try:
        view = memoryview(data)
    except (TypeError, ValueError, BufferError):
        view = None
    if view is not None and view.format in _FORMATS:
        found = _FORMATS[view.format]
        if view.itemsize == found.itemsize:
            storage: Storage = array(CODES[found])
            storage.frombytes(view.tobytes())  # in row-major order, whatever the strides
            return Array(storage, shape, found)
    own = _KINDS[as_dtype(data.dtype, float64).kind] if hasattr(data, "dtype") else None
    leaves = [data.tolist()]
    for _ in shape:
        leaves = list(chain.from_iterable(leaves))
    return _from_leaves(leaves, shape, own if dtype is None or not leaves else dtype)


def _flattened(data: Any) -> tuple[Shape, list[Any]]:
    """Return the shape of a nest and its elements in row-major order.

    Raises:
        ShapeError: two sequences of one depth differ in length, or stand beside a number.
    """
    level: list[Any] = [_opened(data)]
    shape: list[int] = []
    while any(map(_is_nest, level)):
        lengths = [len(v) if _is_nest(v) else None for v in level]
        for i, found in enumerate(lengths):
            if found != lengths[0]:
                raise ShapeError(
                    f"a nest must be regular: {_place(0, shape)} {_extent(lengths[0])} but "
                    f"{_place(i, shape)} {_extent(found)}"
                )
        shape.append(len(level[0]))
        level = list(map(_opened, chain.from_iterable(level)))
    return tuple(shape), level


def _is_nest(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))


def _opened(value: Any) -> Any:
    """Return an array inside a nest as nested lists, anything else as it is."""
    return value if isinstance(value, (float, int, list)) else _listed(value)


def _listed(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") and hasattr(value, "shape") else value


def _place(i: int, shape: list[int]) -> str:
    """Name the i-th sequence at a depth by its indices."""
    indices: list[str] = []
    for n in reversed(shape):
        indices.append(f"[{i % n}]")
        i //= n
    return "data" + "".join(reversed(indices))


def _extent(length: int | None) -> str:
    return "is a number" if length is None else f"has length {length}"


def _from_leaves(leaves: list[Any], shape: Shape, dtype: DType | None) -> Array:
    """Return an array of Python scalars, in the dtype that holds them all.

    Raises:
        DTypeError: one is no number, or an integer that the dtype cannot hold.
    """
    for i, value in enumerate(leaves):
        if not isinstance(value, (float, int)):
            place = _place(i, list(shape))
            raise DTypeError(
                f"an array holds numbers; {place} is {value!r} of type {type(value).__name__}"
            )
    kinds = set(map(type, leaves))
    if dtype is float64 or not leaves or any(issubclass(kind, float) for kind in kinds):
        found = float64 if leaves or dtype is None else dtype
    else:
        found = bool_ if kinds == {bool} else int64
    try:
        return Array(array(CODES[found], leaves), shape, found)
    except OverflowError:
        storage = array(CODES[found], [number("asarray", v, found) for v in leaves])
        return Array(storage, shape, found)


def to_numpy(x: Array) -> Any:
    """Return x as a numpy.ndarray: over the same memory where x is dense, else a copy.

    Raises:
        BackendError: NumPy is not installed.
    """
    try:
        numpy = importlib.import_module("numpy")
    except ImportError:
        raise BackendError(
            "converting to a NumPy array needs the package 'numpy', which is not installed; "
            "pip install 'atled[standard]'"
        ) from None
    return numpy.frombuffer(x.flat(), dtype=x.dtype.name).reshape(x.shape)
