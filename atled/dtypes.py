"""Dtypes and how they promote: the Array API's, as names that belong to no backend.

A dtype here is a singleton that prints as its name; each backend maps it to its own.
Promotion follows the Array API standard (2025.12) within a kind; across kinds, where the
standard is silent, it follows PyTorch: a floating operand decides over an integer one, an
integer one over a boolean one, whatever their widths.
"""

from collections.abc import Iterable

from atled.errors import DTypeError

__all__ = [
    "DType",
    "bfloat16",
    "bool_",
    "by_name",
    "float16",
    "float32",
    "float64",
    "int8",
    "int16",
    "int32",
    "int64",
    "promote",
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
