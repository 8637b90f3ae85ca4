"""The Array: a shape and a dtype over a storage, with Python's operators.

What always holds of an Array: it never changes. A *dense* one owns or shares a storage that
holds exactly its elements in row-major order, at offset 0; any other one is a view, read by
strides. The operators call the functions of the namespace, which the package fills into
`FUNCTIONS` once they are defined: an operator and its function are one thing.
"""

from collections.abc import Callable, Iterator
from math import prod
from typing import Any

from atled.backends.python.layout import Shape, Storage, dense, row_major
from atled.dtypes import DType, bool_, float64, int64
from atled.errors import DTypeError, ShapeError

# The typecode of `array.array` for each dtype; booleans are 0 and 1.
CODES = {float64: "d", int64: "q", bool_: "b"}

# The functions of the namespace by name.
FUNCTIONS: dict[str, Callable[..., Any]] = {}

_SHOWN = 1000  # a repr writes out arrays up to this size


def _unary(name: str) -> Callable[..., Any]:
    def operator(self: "Array") -> Any:
        return FUNCTIONS[name](self)

    return operator


def _binary(name: str) -> Callable[..., Any]:
    def operator(self: "Array", other: Any) -> Any:
        if isinstance(other, (Array, float, int)):
            return FUNCTIONS[name](self, other)
        return NotImplemented

    return operator


def _reflected(name: str) -> Callable[..., Any]:
    def operator(self: "Array", other: Any) -> Any:
        return FUNCTIONS[name](other, self) if isinstance(other, (float, int)) else NotImplemented

    return operator


class Array:
    """A strided array of float64, int64 or bool.

    Args:
        data: the storage; elements are read from it, never written.
        shape: lengths of the axes.
        dtype: atled's dtype, one of the three in `CODES`.
        strides: steps between elements along each axis, in elements; None says that `data`
            holds exactly the elements, in row-major order.
        offset: the place of the first element in `data`.
    """

    __slots__ = ("_strides", "data", "dtype", "offset", "shape")
    __array_ufunc__ = None  # a NumPy array beside an Array gives up, and Python says so

    def __init__(
        self,
        data: Storage,
        shape: Shape,
        dtype: DType,
        strides: Shape | None = None,
        offset: int = 0,
    ) -> None:
        self.data, self.shape, self.dtype = data, shape, dtype
        self._strides, self.offset = strides, offset

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return prod(self.shape)

    @property
    def strides(self) -> Shape:
        """Steps between elements along each axis, in elements."""
        return row_major(self.shape) if self._strides is None else self._strides

    @property
    def is_dense(self) -> bool:
        """Whether the storage holds exactly the elements, in row-major order."""
        return self._strides is None

    @property
    def mT(self) -> "Array":
        """The array with its last two axes swapped, without copying."""
        if len(self.shape) < 2:
            raise ShapeError(f".mT needs at least two axes; found shape {self.shape}")
        *outer, n, m = self.shape
        *steps, p, q = self.strides
        return Array(self.data, (*outer, m, n), self.dtype, (*steps, q, p), self.offset)

    def flat(self) -> Storage:
        """Return the elements in row-major order; it may be the array's own storage."""
        if self._strides is None:
            return self.data
        return dense(self.data, self.shape, self._strides, self.offset)

    def item(self) -> Any:
        """Return the one element as a Python scalar.

        Raises:
            ShapeError: there is not exactly one.
        """
        if self.size != 1:
            raise ShapeError(
                f"only an array of one element converts to a Python scalar; "
                f"found shape {self.shape}"
            )
        value = self.data[self.offset]
        return bool(value) if self.dtype is bool_ else value

    def tolist(self) -> Any:
        """Return nested lists of Python scalars; a scalar for a 0-d array."""
        if not self.shape:
            return self.item()
        values: list[Any] = self.flat().tolist()
        if self.dtype is bool_:
            values = list(map(bool, values))
        return _nested(values, self.shape)

    def __len__(self) -> int:
        if not self.shape:
            raise ShapeError("a 0-d array has no length")
        return self.shape[0]

    def __iter__(self) -> Iterator["Array"]:
        if not self.shape:
            raise ShapeError("a 0-d array cannot be iterated over; .item() gives its value")
        return (self[i] for i in range(self.shape[0]))

    def __repr__(self) -> str:
        shown = self.tolist() if 0 < self.size <= _SHOWN else f"shape={self.shape}"
        return f"Array({shown}, dtype={self.dtype.name})"

    def __bool__(self) -> bool:
        return bool(self.item())

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        value = self.item()
        if isinstance(value, float):
            raise DTypeError("a float64 array cannot be an index; convert it to int64 first")
        return int(value)

    def __getitem__(self, key: Any) -> "Array":
        found: Array = FUNCTIONS["basic_index"](self, key)
        return found

    __neg__, __abs__, __invert__ = _unary("negative"), _unary("abs"), _unary("bitwise_invert")
    __pos__ = _unary("positive")
    __add__, __radd__ = _binary("add"), _reflected("add")
    __sub__, __rsub__ = _binary("subtract"), _reflected("subtract")
    __mul__, __rmul__ = _binary("multiply"), _reflected("multiply")
    __truediv__, __rtruediv__ = _binary("divide"), _reflected("divide")
    __pow__, __rpow__ = _binary("pow"), _reflected("pow")
    __floordiv__, __rfloordiv__ = _binary("floor_divide"), _reflected("floor_divide")
    __mod__, __rmod__ = _binary("remainder"), _reflected("remainder")
    __matmul__ = _binary("matmul")
    __and__, __rand__ = _binary("bitwise_and"), _reflected("bitwise_and")
    __or__, __ror__ = _binary("bitwise_or"), _reflected("bitwise_or")
    __xor__, __rxor__ = _binary("bitwise_xor"), _reflected("bitwise_xor")
    __lshift__, __rlshift__ = _binary("bitwise_left_shift"), _reflected("bitwise_left_shift")
    __rshift__, __rrshift__ = _binary("bitwise_right_shift"), _reflected("bitwise_right_shift")
    __eq__, __ne__ = _binary("equal"), _binary("not_equal")
    __lt__, __le__ = _binary("less"), _binary("less_equal")
    __gt__, __ge__ = _binary("greater"), _binary("greater_equal")
    __hash__ = object.__hash__


def _nested(values: list[Any], shape: Shape) -> list[Any]:
    """Group a row-major list into nested lists of a shape of at least one axis."""
    if 0 in shape:
        return [_nested(values, shape[1:]) for _ in range(shape[0])] if len(shape) > 1 else []
    for n in reversed(shape[1:]):
        values = [values[i : i + n] for i in range(0, len(values), n)]
    return values
