"""Dtypes and how they promote: the Array API's, as names that belong to no backend.

A dtype here is a singleton that prints as its name; each backend maps it to its own.
Promotion follows the Array API standard (2025.12) within a kind; across kinds, where the
standard is silent, it follows PyTorch: a floating operand decides over an integer one, an
integer one over a boolean one, whatever their widths.
"""

from collections.abc import Iterable
from typing import NamedTuple

from atled.errors import DTypeError

__all__ = [
    "DType",
    "bfloat16",
    "bool_",
    "by_name",
    "can_cast",
    "finfo",
    "float16",
    "float32",
    "float64",
    "iinfo",
    "int8",
    "int16",
    "int32",
    "int64",
    "isdtype",
    "promote",
    "result_type",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
]


class DType:
    """One dtype: its name, kind ("bool", "int", "uint", "float") and size in bytes."""

    __slots__ = ("itemsize", "kind", "name")

    def __init__(self, name: str, kind: str, itemsize: int) -> None:
        self.name, self.kind, self.itemsize = name, kind, itemsize

    def __repr__(self) -> str:
        return f"atled.{self.name}"

    def __reduce__(self) -> tuple[object, ...]:
        return by_name, (self.name,)

    @property
    def is_floating_point(self) -> bool:
        """True for the floating dtypes: those that can carry a gradient."""
        return self.kind == "float"


bool_ = DType("bool", "bool", 1)
int8, int16, int32, int64 = (DType(f"int{8 * n}", "int", n) for n in (1, 2, 4, 8))
uint8, uint16, uint32, uint64 = (DType(f"uint{8 * n}", "uint", n) for n in (1, 2, 4, 8))
float16 = DType("float16", "float", 2)
bfloat16 = DType("bfloat16", "float", 2)
float32 = DType("float32", "float", 4)
float64 = DType("float64", "float", 8)

ALL = (
    bool_,
    int8,
    int16,
    int32,
    int64,
    uint8,
    uint16,
    uint32,
    uint64,
    float16,
    bfloat16,
    float32,
    float64,
)
_BY_NAME = {d.name: d for d in ALL} | {"half": float16, "float": float32, "double": float64}
_PYTHON_TYPES = {bool: bool_, int: int64}
_KIND_RANK = {"bool": 0, "uint": 1, "int": 1, "float": 2}
_SIGNED_FOR = {1: int16, 2: int32, 4: int64}


def by_name(name: str) -> DType:
    """Return the dtype called `name`, e.g. ``"float32"``.

    Raises:
        DTypeError: there is no such dtype.
    """
    try:
        return _BY_NAME[name]
    except KeyError:
        known = ", ".join(d.name for d in ALL)
        raise DTypeError(f"no dtype is called {name!r}; there are {known}") from None


def as_dtype(dtype: object, default_float: DType) -> DType:
    """Read a dtype as users write it: atled's, a name, `bool`, `int`, `float`, or NumPy's."""
    if isinstance(dtype, DType):
        return dtype
    if isinstance(dtype, str):
        return by_name(dtype)
    if dtype is float:
        return default_float
    if isinstance(dtype, type) and dtype in _PYTHON_TYPES:
        return _PYTHON_TYPES[dtype]
    # NumPy dtypes and scalar types, torch dtypes: all carry their name.
    name = getattr(dtype, "name", None) or getattr(dtype, "__name__", None) or str(dtype)
    return by_name(name.removeprefix("torch.").rstrip("_"))


def promote(dtypes: Iterable[DType]) -> DType:
    """Return the dtype in which operands of the given dtypes are computed.

    Raises:
        DTypeError: no dtype holds both, e.g. int64 and uint64.
    """
    dtypes = list(dtypes)
    result = dtypes[0]
    for other in dtypes[1:]:
        result = _promote_pair(result, other)
    return result


def _promote_pair(a: DType, b: DType) -> DType:
    if a is b:
        return a
    rank_a, rank_b = _KIND_RANK[a.kind], _KIND_RANK[b.kind]
    if rank_a != rank_b:
        return a if rank_a > rank_b else b
    if a.kind == b.kind:
        if {a, b} == {float16, bfloat16}:
            return float32
        return a if a.itemsize > b.itemsize else b
    signed, unsigned = (a, b) if a.kind == "int" else (b, a)
    if signed.itemsize > unsigned.itemsize:
        return signed
    if unsigned.itemsize in _SIGNED_FOR:
        return _SIGNED_FOR[unsigned.itemsize]
    raise DTypeError(
        f"no dtype holds both {a.name} and {b.name}; convert one with .astype(...) first"
    )


# -- asking about dtypes (Array API)

_LIMITS = {  # largest, smallest normal, distance from 1 to the next
    "float16": (65504.0, 2.0**-14, 2.0**-10),
    "bfloat16": ((2 - 2.0**-7) * 2.0**127, 2.0**-126, 2.0**-7),
    "float32": ((2 - 2.0**-23) * 2.0**127, 2.0**-126, 2.0**-23),
    "float64": ((2 - 2.0**-52) * 2.0**1023, 2.0**-1022, 2.0**-52),
}
_KINDS = {
    "bool": ("bool",),
    "signed integer": ("int",),
    "unsigned integer": ("uint",),
    "integral": ("int", "uint"),
    "real floating": ("float",),
    "complex floating": (),
    "numeric": ("int", "uint", "float"),
}


class FloatLimits(NamedTuple):
    """What `finfo` returns: the limits of a floating dtype."""

    bits: int
    eps: float
    max: float
    min: float
    smallest_normal: float
    dtype: DType

    @property
    def tiny(self) -> float:
        """The smallest normal number, by NumPy's older name."""
        return self.smallest_normal


class IntegerLimits(NamedTuple):
    """What `iinfo` returns: the limits of an integer dtype."""

    bits: int
    max: int
    min: int
    dtype: DType


def _dtype_of(x: object) -> DType:
    found = getattr(x, "dtype", x)
    return as_dtype(found, float32)


def finfo(dtype: object) -> FloatLimits:
    """Return the limits of a floating dtype, or of an array's.

    Raises:
        DTypeError: not a floating dtype.
    """
    found = _dtype_of(dtype)
    if not found.is_floating_point:
        raise DTypeError(f"finfo is of floating dtypes; found {found.name}: use iinfo")
    largest, normal, eps = _LIMITS[found.name]
    return FloatLimits(8 * found.itemsize, eps, largest, -largest, normal, found)


def iinfo(dtype: object) -> IntegerLimits:
    """Return the limits of an integer dtype, or of an array's.

    Raises:
        DTypeError: not an integer dtype.
    """
    found = _dtype_of(dtype)
    if found.kind not in ("int", "uint"):
        raise DTypeError(f"iinfo is of integer dtypes; found {found.name}")
    bits = 8 * found.itemsize
    if found.kind == "uint":
        return IntegerLimits(bits, 2**bits - 1, 0, found)
    return IntegerLimits(bits, 2 ** (bits - 1) - 1, -(2 ** (bits - 1)), found)


def isdtype(dtype: object, kind: object) -> bool:
    """Say whether a dtype is of a kind, e.g. "integral", is a given dtype, or is one of a tuple.

    Raises:
        ValueError: no kind is called so.
    """
    if isinstance(kind, tuple):
        return any(isdtype(dtype, each) for each in kind)
    found = as_dtype(dtype, float32)
    if isinstance(kind, str) and kind in _KINDS:
        return found.kind in _KINDS[kind]
    if isinstance(kind, str) and kind not in _BY_NAME:
        raise ValueError(f"isdtype: no kind is called {kind!r}; there are {', '.join(_KINDS)}")
    return found is as_dtype(kind, float32)


def can_cast(from_: object, to: object) -> bool:
    """Say whether promotion turns `from_` (a dtype or an array) into the dtype `to`."""
    source, target = _dtype_of(from_), as_dtype(to, float32)
    try:
        return promote([source, target]) is target
    except DTypeError:
        return False


def result_type(*arrays_and_dtypes: object) -> DType:
    """Return the dtype that operands meet in; Python scalars only decide where nothing else does.

    Raises:
        DTypeError: no dtype holds them all, or there is nothing.
    """
    weak = [x for x in arrays_and_dtypes if type(x) in (bool, int, float)]
    strong = [_dtype_of(x) for x in arrays_and_dtypes if type(x) not in (bool, int, float)]
    scalars = [bool_ if type(x) is bool else int64 if type(x) is int else float32 for x in weak]
    if not strong:
        if not scalars:
            raise DTypeError("result_type: at least one array or dtype is needed")
        return promote(scalars)
    found = promote(strong)
    above = [d for d in scalars if _KIND_RANK[d.kind] > _KIND_RANK[found.kind]]
    return promote([found, *above])
