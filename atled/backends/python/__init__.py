"""The `python` backend: strided arrays over `array.array`, from the standard library alone.

It has float64, int64 and bool. It is the backend where nothing is installed (a browser, a
lambda, a teaching room), so no package is imported here but Python's own; loops run in C by
`map` over functions of `operator` and `math` wherever there is one.

The files, each of which imports only files before it:

1. `layout`: shapes, strides, and copying by runs.
2. `array`: the Array and its operators.
3. `ieee`: arithmetic on numbers that never raises.
4. `operand`: what functions accept, and how two operands line up.
5. `movement`: reshape, permute, broadcast, slice, join.
6. `unary`, `binary`, `choose`: elementwise functions; `where` and `astype`.
7. `reduce`, `order`: reductions and running totals; sorting and searching.
8. `index`: gathering and scattering.
9. `contract`, `linear`: the matrix product; factorisations and what is solved by them.
10. `create`, `border`: constants and ranges; arrays from and to the world outside.

Read `layout` and `array` first, then `binary`.
"""

import math
import sys
from typing import Any

from atled.backends.protocol import Backend, default_dtype
from atled.backends.python import (
    binary,
    border,
    choose,
    contract,
    create,
    index,
    linear,
    movement,
    order,
    reduce,
    unary,
)
from atled.backends.python.array import FUNCTIONS, Array
from atled.dtypes import DType, bool_, float64, int64

__all__ = ["Array", "PythonBackend", "backend"]

_ROOMS = (binary, choose, contract, index, linear, movement, order, reduce, unary)
FUNCTIONS.update((name, getattr(room, name)) for room in _ROOMS for name in room.__all__)

Shape = int | tuple[int, ...]


_DTYPES = {bool_: bool_, int64: int64, float64: float64}


class PythonBackend(Backend):
    """The namespace over `Array`: every function of `FUNCTIONS`, and those that make arrays.

    The native dtypes are atled's own. Constant arrays hold one element and stride 0.
    """

    name = "python"
    array_types = (Array,)
    dtypes = _DTYPES
    floats = (float64,)
    default_float = float64

    # -- across the border -------------------------------------------------------------------

    def asarray(self, data: Any, *, dtype: DType | None = None, device: Any = None) -> Array:
        """Return a new array from nested lists, a scalar, or an array of this or any library.

        Raises:
            ShapeError: the nest is ragged.
            DTypeError: an element is no number or does not fit, or this backend lacks `dtype`.
        """
        self.check_device(device)
        return border.from_data(data, None if dtype is None else self.native(dtype))

    def tolist(self, x: Array) -> Any:
        """Return x as nested lists of Python scalars; a Python scalar for a 0-d array."""
        return x.tolist()

    def to_numpy(self, x: Array) -> Any:
        """Return x as a numpy.ndarray, sharing memory where x is dense."""
        return border.to_numpy(x)

    def dtype_of(self, x: Array) -> DType:
        """Return the dtype of x."""
        return x.dtype

    def describe(self) -> dict[str, str]:
        """Return facts for `atled doctor`."""
        return {
            "version": f"{sys.implementation.name} {sys.version.split()[0]}",
            "arrays": "array.array of the standard library",
            "matrix product": "math.sumprod" if hasattr(math, "sumprod") else "sum(map(mul))",
        }

    # -- making arrays -----------------------------------------------------------------------

    def full(
        self, shape: Shape, fill_value: Any, *, dtype: DType | None = None, device: Any = None
    ) -> Array:
        """Return an array of one value; its dtype is that of the value if none is given.

        Raises:
            ShapeError: a length is negative.
            DTypeError: this backend lacks `dtype`, or it cannot hold the value.
        """
        self.check_device(device)
        return create.full(shape, fill_value, None if dtype is None else self.native(dtype))

    def zeros(self, shape: Shape, *, dtype: DType | None = None, device: Any = None) -> Array:
        """Return an array of zeros, of the default floating dtype if none is given."""
        return self.full(shape, 0, dtype=dtype or default_dtype(self), device=device)

    def ones(self, shape: Shape, *, dtype: DType | None = None, device: Any = None) -> Array:
        """Return an array of ones, of the default floating dtype if none is given."""
        return self.full(shape, 1, dtype=dtype or default_dtype(self), device=device)

    def full_like(self, x: Array, fill_value: Any, *, dtype: DType | None = None) -> Array:
        """Return an array of one value with the shape (and dtype) of x."""
        return self.full(x.shape, fill_value, dtype=dtype or x.dtype)

    def zeros_like(self, x: Array, *, dtype: DType | None = None) -> Array:
        """Return zeros with the shape (and dtype) of x."""
        return self.full(x.shape, 0, dtype=dtype or x.dtype)

    def ones_like(self, x: Array, *, dtype: DType | None = None) -> Array:
        """Return ones with the shape (and dtype) of x."""
        return self.full(x.shape, 1, dtype=dtype or x.dtype)

    def arange(
        self,
        start: float,
        stop: float | None = None,
        step: float = 1,
        *,
        dtype: DType | None = None,
        device: Any = None,
    ) -> Array:
        """Return start, start + step, ... below stop; arange(n) counts from 0.

        int64 if all are integers, else float64, unless a dtype is given.

        Raises:
            ShapeError: the step is 0.
            DTypeError: this backend lacks `dtype`.
        """
        self.check_device(device)
        return create.arange(start, stop, step, None if dtype is None else self.native(dtype))

    def astype(self, x: Array, dtype: DType) -> Array:
        """Return x in another dtype, x itself where it has it already; see `choose.astype`.

        Raises:
            DTypeError: this backend lacks `dtype`.
        """
        return choose.astype(x, self.native(dtype))


for _name, _function in FUNCTIONS.items():
    if _name not in vars(PythonBackend):
        setattr(PythonBackend, _name, staticmethod(_function))


def backend() -> Backend:
    """Return the backend, as `protocol.load` asks for it."""
    return PythonBackend()
