"""The error of the compiled functions, measured against mpmath.

``python -m tests.compile.accuracy`` prints a table in Markdown: the largest error found, in units
in the last place (ulp) of the exact result, and the time an element takes in an array that lies
in the cache, beside NumPy's. Samples are random bit patterns, so that every exponent is met as
often, and dense intervals where a function is hard. An infinite result counts as the next power
of two above the largest number.
"""

import ctypes
import sys
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import mpmath
import numpy as np

from atled.compile.ir import Type, Writer
from atled.compile.mathematics import TABLE
from atled.compile.native import Library, host

SCALARS = {
    np.float32: "float", np.float64: "double",
    np.int32: "i32", np.int64: "i64", np.uint8: "i8", np.uint64: "i64",
}  # fmt: skip
PREDICATES = ("isfinite", "isinf", "isnan", "signbit")
mp = mpmath.mp.clone()
mp.prec = 240

Array = Any
Reference = Callable[..., Any]


@lru_cache(None)
def kernel(name: str, scalar: str, lanes: int, operands: int) -> Any:
    """Return a compiled loop ``(n, out, *inputs)`` over n elements, a multiple of the lanes."""
    kind, w = Type(scalar, lanes), Writer()
    w.label("entry")
    w.do("br label %loop")
    w.label("loop")
    w.do("%i = phi i64 [0, %entry], [%next, %loop]")
    registers = []
    for at in range(operands):
        place = w.emit(f"getelementptr {scalar}, ptr %x{at}, i64 %i")
        registers.append(w.emit(f"load {kind}, ptr {place}, align 1"))
    result = TABLE[name](w, kind, *registers)
    if name in PREDICATES:
        result = w.emit(f"uitofp {kind.of('i1')} {result} to {kind}")
    place = w.emit(f"getelementptr {scalar}, ptr %out, i64 %i")
    w.do(f"store {kind} {result}, ptr {place}, align 1")
    w.do(f"%next = add i64 %i, {lanes}")
    w.do("%more = icmp slt i64 %next, %n")
    w.do("br i1 %more, label %loop, label %done")
    w.label("done")
    w.do("ret void")
    inputs = "".join(f", ptr %x{at}" for at in range(operands))
    body = f"define void @loop(i64 %n, ptr %out{inputs}) {{\n{w.text()}\n}}\n"
    text = "\n".join(sorted(w.declarations)) + "\n" + body
    pointers = [ctypes.c_void_p] * (1 + operands)
    return Library(text).function("loop", ctypes.c_int64, *pointers)


def compute(name: str, *operands: Array, lanes: int = 0) -> Array:
    """Return a function of TABLE over arrays, with the machine's vectors or as many lanes."""
    dtype = operands[0].dtype
    lanes = lanes or host().vector_bytes // dtype.itemsize
    n = len(operands[0])
    padded = [np.concatenate([x, np.ones(-n % lanes, dtype)]) for x in operands]
    out = np.empty_like(padded[0])
    run = kernel(name, SCALARS[dtype.type], lanes, len(operands))
    run(n, out.ctypes.data, *(x.ctypes.data for x in padded))
    return out[:n]


class Case(NamedTuple):
    """How a function is measured.

    Attributes:
        reference: the exact function, over mpmath's numbers; None where there is no result.
        intervals: where to look closely, one pair an operand for functions of several.
        limit: the error allowed, in ulp.
        size: what the ulp is of, from the exact result and the operands; the result by default.
        patterns: whether random bit patterns are looked at as well.
        peer: NumPy's function, if it has one.
        timed: the interval of the operands while time is measured.
    """

    reference: Reference
    intervals: tuple[Any, ...] = ((-10.0, 10.0), (-1.0, 1.0))
    limit: float = 2.0
    size: Reference = lambda exact, *operands: abs(exact)
    patterns: bool = True
    peer: Any = None
    timed: tuple[float, float] = (0.1, 0.9)


def held(function: Reference, bound: float = 3000.0) -> Reference:
    """Return a function whose argument is held where its result is 0 or too large anyway."""
    return lambda x: function(min(max(x, -bound), bound))


def inside(function: Reference, low: float, high: float = float("inf")) -> Reference:
    """Return a function that has no result outside an interval."""
    return lambda x: function(x) if low <= x <= high else None


def softplus(x: Any) -> Any:
    """Return log(1 + eˣ)."""
    return max(x, mp.mpf(0)) + mp.log1p(mp.exp(-min(abs(x), 3000)))


def logaddexp(x: Any, y: Any) -> Any:
    """Return log(eˣ + eʸ)."""
    return max(x, y) + mp.log1p(mp.exp(-min(abs(x - y), 3000)))


def power(x: Any, y: Any) -> Any:
    """Return xʸ, a number too large or too small where it would be, None where it is complex."""
    if x == 0 or (x < 0 and y != mp.floor(y)):
        return None
    size = mp.exp(min(max(y * mp.log(abs(x)), -3000), 3000))
    return -size if x < 0 and y % 2 == 1 else size


def erfinv(x: Any) -> Any:
    """Return the inverse of the error function, by iteration."""
    rest = 1 - abs(x)
    if rest <= 0:
        return None
    if rest > 0.5:
        return mp.erfinv(x)
    y = mp.sqrt(-mp.log(rest))
    for _ in range(100):
        step = (rest - mp.erfc(y)) / (2 / mp.sqrt(mp.pi) * mp.exp(-y * y))
        y, before = y - step / (1 + y * step), y
        if abs(y - before) < mp.mpf(2) ** -120:
            break
    return y if x > 0 else -y


def lgamma(x: Any) -> Any:
    """Return log |Γ(x)|; Stirling's formula where mpmath would take long."""
    if x <= 0 and x == mp.floor(x):
        return None
    if x > 2**60:
        return (x - 0.5) * mp.log(x) - x + mp.log(2 * mp.pi) / 2
    return mp.re(mp.loggamma(x))


def digamma(x: Any) -> Any:
    """Return ψ(x); its leading terms where mpmath would take long."""
    if x <= 0 and x == mp.floor(x):
        return None
    return mp.log(x) - 1 / (2 * x) if x > 2**60 else mp.digamma(x)


def positive_or_one(exact: Any, x: Any) -> Any:
    """Return the size of the result, at least 1 where the argument is negative."""
    return max(abs(exact), 1) if x < 0 else abs(exact)


def erfc(x: Any) -> Any:
    """Return 1 - erf x."""
    return mp.erfc(min(max(x, -30), 40))


NEAR_ONE = ((0.0, 4.0), (0.999, 1.001))
EXP = ((-110.0, 90.0), (-1.0, 1.0), (-750.0, 712.0))
TURNS = ((-10.0, 10.0), (-1e3, 1e3), (-1e6, 1e6))
UNIT = ((-1.0, 1.0), (0.9999, 1.0), (-1e-3, 1e-3))
GAMMA = ((0.0, 10.0), (0.99, 1.01), (1.4, 2.01), (-5.0, 0.0))
CASES = {
    "exp": Case(held(mp.exp), EXP, peer=np.exp, timed=(-8, 8)),
    "exp2": Case(held(lambda x: mp.mpf(2) ** x), EXP, peer=np.exp2, timed=(-8, 8)),
    "expm1": Case(held(mp.expm1), EXP, peer=np.expm1, timed=(-8, 8)),
    "log": Case(inside(mp.log, 5e-324), NEAR_ONE, peer=np.log),
    "log2": Case(inside(lambda x: mp.log(x) / mp.ln2, 5e-324), NEAR_ONE, peer=np.log2),
    "log10": Case(inside(lambda x: mp.log(x) / mp.ln10, 5e-324), NEAR_ONE, peer=np.log10),
    "log1p": Case(lambda x: mp.log1p(x) if x > -1 else None, UNIT, peer=np.log1p),
    "sin": Case(mp.sin, TURNS, peer=np.sin, timed=(-8, 8)),
    "cos": Case(mp.cos, TURNS, peer=np.cos, timed=(-8, 8)),
    "tan": Case(mp.tan, TURNS, peer=np.tan, timed=(-8, 8)),
    "asin": Case(inside(mp.asin, -1, 1), UNIT, peer=np.arcsin),
    "acos": Case(inside(mp.acos, -1, 1), UNIT, peer=np.arccos),
    "atan": Case(mp.atan, peer=np.arctan),
    "sinh": Case(held(mp.sinh), EXP, peer=np.sinh),
    "cosh": Case(held(mp.cosh), EXP, peer=np.cosh),
    "tanh": Case(held(mp.tanh), ((-1.0, 1.0), (-22.0, 22.0)), peer=np.tanh, timed=(-8, 8)),
    "asinh": Case(mp.asinh, peer=np.arcsinh),
    "acosh": Case(inside(mp.acosh, 1), ((1.0, 1.01), (1.0, 9.0)), peer=np.arccosh, timed=(1, 9)),
    "atanh": Case(lambda x: mp.atanh(x) if abs(x) < 1 else None, UNIT, peer=np.arctanh),
    "sigmoid": Case(held(lambda x: 1 / (1 + mp.exp(-x))), EXP, timed=(-8, 8)),
    "softplus": Case(softplus, EXP, timed=(-8, 8)),
    "log_sigmoid": Case(lambda x: -softplus(-x), EXP, timed=(-8, 8)),
    "erf": Case(held(mp.erf, 40.0), ((-6.0, 6.0), (-1.1, 1.1)), timed=(-3, 3)),
    "erfc": Case(erfc, ((-6.0, 28.0), (-1.1, 1.1)), timed=(-3, 3)),
    "erfinv": Case(erfinv, UNIT, timed=(-1, 1)),
    "sqrt": Case(inside(mp.sqrt, 0), limit=0.5, peer=np.sqrt),
    "rsqrt": Case(lambda x: 1 / mp.sqrt(x) if x > 0 else None, NEAR_ONE),
    "lgamma": Case(lgamma, GAMMA, 4.0, positive_or_one, False, timed=(0.1, 9)),
    "digamma": Case(digamma, GAMMA, 4.0, positive_or_one, False, timed=(0.1, 9)),
    "pow": Case(
        power,
        (((0.0, 4.0), (-90.0, 90.0)), ((0.99, 1.01), (-9e3, 9e3)), ((0.0, 1e9), (-34.0, 34.0))),
        4.0,
        peer=np.power,
    ),
    "atan2": Case(
        lambda y, x: mp.atan2(y, x) if x or y else None,
        (((-1.0, 1.0), (-1.0, 1.0)), ((-9.0, 9.0), (-1e-3, 1e3))),
        peer=np.arctan2,
    ),
    "hypot": Case(
        lambda x, y: mp.sqrt(x * x + y * y), (((-1.0, 1.0), (-1.0, 1.0)),), peer=np.hypot
    ),
    # The sum of the larger operand and the rest may cancel: its error is an ulp of the operand.
    "logaddexp": Case(
        logaddexp,
        (((-5.0, 5.0), (-5.0, 5.0)), ((-2.0, 0.0), (-0.2, 0.0)), ((-99.0, 9.0), (-99.0, 9.0))),
        size=lambda exact, x, y: max(abs(exact), abs(x), abs(y)),
        peer=np.logaddexp,
    ),
}


def operands_of(case: Case) -> int:
    """Return how many operands a function has."""
    return len(case.intervals[0]) if isinstance(case.intervals[0][0], tuple) else 1


def samples(case: Case, dtype: Any, count: int, seed: int = 0) -> list[Array]:
    """Return about `count` finite arguments: a third bit patterns, the rest in the intervals."""
    rng, operands = np.random.default_rng(seed), operands_of(case)
    bits = np.uint32 if dtype is np.float32 else np.uint64
    columns: list[list[Array]] = [[] for _ in range(operands)]
    for at in range(operands):
        if case.patterns:
            top = np.iinfo(bits).max
            columns[at].append(rng.integers(0, top, count // 3, bits, True).view(dtype))
        share = count // (2 * len(case.intervals))
        for interval in case.intervals:
            low, high = interval if operands == 1 else interval[at]
            columns[at].append(rng.uniform(low, high, share).astype(dtype))
    joined = [np.concatenate(column) for column in columns]
    finite = np.logical_and.reduce([np.isfinite(column) for column in joined])
    return [column[finite] for column in joined]


class Worst(NamedTuple):
    """The largest error of a function: in ulp, its argument, the result and the exact one."""

    error: float
    at: tuple[float, ...]
    result: float
    exact: Any


def worst(case: Case, operands: Sequence[Array], results: Array) -> Worst:
    """Return where results are farthest from the exact ones; inf where only one is NaN."""
    info = np.finfo(results.dtype)
    top = mp.mpf(2) ** int(info.maxexp)
    least = mp.mpf(float(info.smallest_subnormal))
    found = Worst(0.0, (), 0.0, 0.0)
    for arguments, result in zip(zip(*operands, strict=True), results, strict=True):
        numbers = [mp.mpf(float(x)) for x in arguments]
        exact = case.reference(*numbers)
        if exact is None or np.isnan(result):
            error = 0.0 if exact is None and np.isnan(result) else float("inf")
            error = 0.0 if exact is None and not np.isfinite(result) else error
        else:
            size = min(case.size(exact, *numbers), top * (1 - mp.mpf(2) ** -60))
            ulp = max(mp.mpf(2) ** (mp.frexp(size)[1] - info.nmant - 1), least) if size else least
            exact = min(max(exact, -top), top)
            ours = mp.mpf(float(result)) if np.isfinite(result) else mp.sign(result) * top
            error = float(abs(ours - exact) / ulp)
        if error > found.error:
            found = Worst(error, tuple(map(float, arguments)), float(result), exact)
    return found


def measure(name: str, dtype: Any, count: int, seed: int = 0) -> Worst:
    """Return the largest error of a function over samples."""
    operands = samples(CASES[name], dtype, count, seed)
    return worst(CASES[name], operands, compute(name, *operands))


def nanoseconds(run: Callable[[], object], n: int) -> float:
    """Return the least time a call takes, an element."""
    best = float("inf")
    for _ in range(30):
        start = time.perf_counter()
        for _ in range(10):
            run()
        best = min(best, (time.perf_counter() - start) / 10)
    return best / n * 1e9


def timing(name: str, dtype: Any, n: int = 4096) -> str:
    """Return our time an element, and NumPy's."""
    case, rng = CASES[name], np.random.default_rng(0)
    operands = [rng.uniform(*case.timed, n).astype(dtype) for _ in range(operands_of(case))]
    out = np.empty(n, dtype)
    lanes = host().vector_bytes // out.itemsize
    run = kernel(name, SCALARS[dtype], lanes, len(operands))
    pointers = [x.ctypes.data for x in operands]
    ours = nanoseconds(lambda: run(n, out.ctypes.data, *pointers), n)
    if case.peer is None:
        return f"{ours:.2f} | "
    return f"{ours:.2f} | {nanoseconds(lambda: case.peer(*operands, out=out), n):.2f}"


def main(count: int = 20_000) -> None:
    """Print the table."""
    heads = [f"{d} ulp | at | ns | NumPy" for d in ("float32", "float64")]
    print(f"| function | {' | '.join(heads)} |")
    print(f"|---|{'---|' * 8}")
    for name in CASES:
        cells = []
        for dtype in (np.float32, np.float64):
            found = measure(name, dtype, count)
            at = ", ".join(f"{x:.9g}" if dtype is np.float32 else f"{x:.17g}" for x in found.at)
            cells.append(f"{found.error:.2f} | {at} | {timing(name, dtype)}")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
