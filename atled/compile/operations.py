"""What each elementwise primitive is in LLVM's instructions, for any number of lanes."""

from collections.abc import Callable
from typing import Any

from atled.compile.ir import Type, Writer
from atled.compile.mathematics import TABLE
from atled.dtypes import DType, bool_

__all__ = ["COSTS", "memory_type", "operation", "register_type"]

_SCALARS = {
    "float32": "float", "float64": "double", "float16": "half", "bool": "i1",
    "int8": "i8", "int16": "i16", "int32": "i32", "int64": "i64",
    "uint8": "i8", "uint16": "i16", "uint32": "i32", "uint64": "i64",
}  # fmt: skip


def register_type(dtype: DType, lanes: int) -> Type:
    """Return the type in which values of a dtype are computed: a bool is one bit."""
    return Type(_SCALARS[dtype.name], lanes)


def memory_type(dtype: DType, lanes: int) -> Type:
    """Return the type in which values lie in memory: a bool is a byte."""
    return Type("i8" if dtype is bool_ else _SCALARS[dtype.name], lanes)


_FLOATING = {"add": "fadd", "subtract": "fsub", "multiply": "fmul", "divide": "fdiv"}
_WHOLE = {
    "add": "add", "subtract": "sub", "multiply": "mul",
    "bitwise_and": "and", "bitwise_or": "or", "bitwise_xor": "xor",
    "logical_and": "and", "logical_or": "or", "logical_xor": "xor",
}  # fmt: skip
_COMPARE = {
    "equal": ("oeq", "eq", "eq"),
    "not_equal": ("une", "ne", "ne"),
    "less": ("olt", "slt", "ult"),
    "less_equal": ("ole", "sle", "ule"),
    "greater": ("ogt", "sgt", "ugt"),
    "greater_equal": ("oge", "sge", "uge"),
}

# About how many cycles a vector of each takes; what is not here is one or two.
COSTS = {
    **dict.fromkeys("exp exp2 expm1 log log2 log10 log1p sin cos tan tanh sigmoid".split(), 12),
    **dict.fromkeys("erf asin acos atan sinh cosh asinh acosh atanh".split(), 20),
    **dict.fromkeys("pow atan2 hypot logaddexp lgamma erfinv remainder floor_divide".split(), 30),
    "threefry": 60,
    "divide": 4,
    "sqrt": 6,
}


def operation(
    w: Writer, op: str, dtype: DType, source: DType, lanes: int, args: list[str], static: Any
) -> str:
    """Write an elementwise primitive and return its register.

    Args:
        dtype, source: of the result, and of the last operand.
        args: registers, each with `lanes` lanes.
        static: the primitive's static parameters, as pairs.
    """
    kind = register_type(source, lanes)
    special = _SPECIAL.get(op)
    if special is not None:
        return special(w, kind, source, dtype, args, static)
    if kind.is_float and op in _FLOATING:
        return w.emit(f"{_FLOATING[op]} {kind} {args[0]}, {args[1]}")
    if not kind.is_float and op in _WHOLE:
        if source is bool_ and op in ("add", "multiply"):
            word = "or" if op == "add" else "and"
            return w.emit(f"{word} {kind} {args[0]}, {args[1]}")
        return w.emit(f"{_WHOLE[op]} {kind} {args[0]}, {args[1]}")
    if op in _COMPARE:
        ordered, signed, unsigned = _COMPARE[op]
        if kind.is_float:
            return w.emit(f"fcmp {ordered} {kind} {args[0]}, {args[1]}")
        word = signed if source.kind == "int" else unsigned
        return w.emit(f"icmp {word} {kind} {args[0]}, {args[1]}")
    if source.kind == "uint" and f"unsigned_{op}" in TABLE:
        op = f"unsigned_{op}"
    return TABLE[op](w, kind, *args)


def _negative(w: Writer, kind: Type, s: DType, d: DType, args: list[str], static: Any) -> str:
    if kind.is_float:
        return w.emit(f"fneg {kind} {args[0]}")
    return w.emit(f"sub {kind} {kind.const(0)}, {args[0]}")


def _abs(w: Writer, kind: Type, s: DType, d: DType, args: list[str], static: Any) -> str:
    if kind.is_float:
        return w.call(f"@llvm.fabs.{kind.suffix}", kind, (kind, args[0]))
    if s.kind != "int":
        return args[0]
    negated = w.emit(f"sub {kind} {kind.const(0)}, {args[0]}")
    below = w.emit(f"icmp slt {kind} {args[0]}, {kind.const(0)}")
    return w.emit(f"select {kind.of('i1')} {below}, {kind} {negated}, {kind} {args[0]}")


def _extreme(word: str) -> Callable[..., str]:
    def emit(w: Writer, kind: Type, s: DType, d: DType, args: list[str], static: Any) -> str:
        """Return the larger or the smaller; NaN if either is."""
        a, b = args
        if not kind.is_float:
            if s is bool_:
                return w.emit(f"{'or' if word == 'max' else 'and'} {kind} {a}, {b}")
            name = f"@llvm.{'s' if s.kind == 'int' else 'u'}{word}.{kind.suffix}"
            return w.call(name, kind, (kind, a), (kind, b))
        better = w.emit(f"fcmp {'ugt' if word == 'max' else 'ult'} {kind} {a}, {b}")
        bits = kind.of("i1")
        chosen = w.emit(f"select {bits} {better}, {kind} {a}, {kind} {b}")
        nan = w.emit(f"fcmp uno {kind} {b}, {b}")
        return w.emit(f"select {bits} {nan}, {kind} {b}, {kind} {chosen}")

    return emit


def _sqrt(w: Writer, kind: Type, s: DType, d: DType, args: list[str], static: Any) -> str:
    return w.call(f"@llvm.sqrt.{kind.suffix}", kind, (kind, args[0]))


def _square(w: Writer, kind: Type, s: DType, d: DType, args: list[str], static: Any) -> str:
    return w.emit(f"{'fmul' if kind.is_float else 'mul'} {kind} {args[0]}, {args[0]}")


def _not(w: Writer, kind: Type, s: DType, d: DType, args: list[str], static: Any) -> str:
    return w.emit(f"xor {kind} {args[0]}, {kind.const(-1)}")


def _where(w: Writer, kind: Type, s: DType, d: DType, args: list[str], static: Any) -> str:
    c, a, b = args
    return w.emit(f"select {kind.of('i1')} {c}, {kind} {a}, {kind} {b}")


def _isnan(w: Writer, kind: Type, s: DType, d: DType, args: list[str], static: Any) -> str:
    if not kind.is_float:
        return kind.of("i1").const(0)
    return w.emit(f"fcmp uno {kind} {args[0]}, {args[0]}")


def _isinf(w: Writer, kind: Type, s: DType, d: DType, args: list[str], static: Any) -> str:
    if not kind.is_float:
        return kind.of("i1").const(0)
    size = w.call(f"@llvm.fabs.{kind.suffix}", kind, (kind, args[0]))
    return w.emit(f"fcmp oeq {kind} {size}, {kind.const(float('inf'))}")


def _isfinite(w: Writer, kind: Type, s: DType, d: DType, args: list[str], static: Any) -> str:
    if not kind.is_float:
        return kind.of("i1").const(1)
    size = w.call(f"@llvm.fabs.{kind.suffix}", kind, (kind, args[0]))
    return w.emit(f"fcmp olt {kind} {size}, {kind.const(float('inf'))}")


def _signbit(w: Writer, kind: Type, s: DType, d: DType, args: list[str], static: Any) -> str:
    if kind.is_float:
        whole = kind.of(f"i{kind.bits}")
        bits = w.emit(f"bitcast {kind} {args[0]} to {whole}")
        return w.emit(f"icmp slt {whole} {bits}, {whole.const(0)}")
    if s.kind != "int":
        return kind.of("i1").const(0)
    return w.emit(f"icmp slt {kind} {args[0]}, {kind.const(0)}")


def _shift(word: str) -> Callable[..., str]:
    def emit(w: Writer, kind: Type, s: DType, d: DType, args: list[str], static: Any) -> str:
        """Shift; by the width or more gives 0, or the sign, as in NumPy."""
        width = kind.const(kind.bits)
        inside = w.emit(f"icmp ult {kind} {args[1]}, {width}")
        name = word if word == "shl" or s.kind == "int" else "lshr"
        top = kind.const(kind.bits - 1)
        by = w.emit(f"select {kind.of('i1')} {inside}, {kind} {args[1]}, {kind} {top}")
        moved = w.emit(f"{name} {kind} {args[0]}, {by}")
        if name == "ashr":
            return moved
        zero = kind.const(0)
        return w.emit(f"select {kind.of('i1')} {inside}, {kind} {moved}, {kind} {zero}")

    return emit


def _astype(w: Writer, kind: Type, s: DType, d: DType, args: list[str], static: Any) -> str:
    """Convert; floats out of an integer's range give its nearest end, and NaN gives 0."""
    to, x = register_type(d, kind.lanes), args[0]
    if to == kind and s.kind == d.kind:
        return x
    if d is bool_:
        if kind.is_float:
            return w.emit(f"fcmp une {kind} {x}, {kind.const(0.0)}")
        return w.emit(f"icmp ne {kind} {x}, {kind.const(0)}")
    if kind.is_float and to.is_float:
        return w.emit(f"{'fpext' if to.bits > kind.bits else 'fptrunc'} {kind} {x} to {to}")
    if kind.is_float:
        sign = "s" if d.kind == "int" else "u"
        return w.call(f"@llvm.fpto{sign}i.sat.{to.suffix}.{kind.suffix}", to, (kind, x))
    if to.is_float:
        return w.emit(f"{'sitofp' if s.kind == 'int' else 'uitofp'} {kind} {x} to {to}")
    if to.bits == kind.bits:
        return x
    word = "trunc" if to.bits < kind.bits else "sext" if s.kind == "int" else "zext"
    return w.emit(f"{word} {kind} {x} to {to}")


_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA


def _threefry(w: Writer, kind: Type, s: DType, d: DType, args: list[str], static: Any) -> str:
    """Threefry-2x32-20 (Salmon et al. 2011), as `ops/random.py` has it, in 32-bit words."""
    word = kind.of("i32")
    x0, x1, k0, k1 = (w.emit(f"trunc {kind} {a} to {word}") for a in args)

    def two(op: str, a: str, b: str) -> str:
        return w.emit(f"{op} {word} {a}, {b}")

    keys = (k0, k1, two("xor", two("xor", k0, k1), word.const(_PARITY)))
    x0, x1 = two("add", x0, keys[0]), two("add", x1, keys[1])
    for block in range(5):
        for r in _ROTATIONS[block % 2]:
            x0 = two("add", x0, x1)
            turned = w.call(
                f"@llvm.fshl.{word.suffix}", word, (word, x1), (word, x1), (word, word.const(r))
            )
            x1 = two("xor", turned, x0)
        x0 = two("add", x0, keys[(block + 1) % 3])
        x1 = two("add", two("add", x1, keys[(block + 2) % 3]), word.const(block + 1))
    return w.emit(f"zext {word} {x1 if dict(static)['word'] else x0} to {kind}")


_SPECIAL: dict[str, Callable[..., str]] = {
    "negative": _negative,
    "abs": _abs,
    "square": _square,
    "sqrt": _sqrt,
    "maximum": _extreme("max"),
    "minimum": _extreme("min"),
    "logical_not": _not,
    "bitwise_invert": _not,
    "where": _where,
    "isnan": _isnan,
    "isinf": _isinf,
    "isfinite": _isfinite,
    "signbit": _signbit,
    "bitwise_left_shift": _shift("shl"),
    "bitwise_right_shift": _shift("ashr"),
    "astype": _astype,
    "threefry": _threefry,
}
