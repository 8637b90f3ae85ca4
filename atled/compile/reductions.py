"""Writing reductions: what they start from, how they collect, how lanes are joined at the end."""

import math

from atled.compile.emission import Expressions
from atled.compile.index import Affine
from atled.compile.ir import BOOL, I64, Type, Writer
from atled.compile.kernel import Store
from atled.compile.operations import operation, register_type
from atled.dtypes import DType, bool_

__all__ = ["Accumulator", "Reductions"]

_IDENTITY = {
    "sum": -0.0, "prod": 1, "all": True, "any": False,
    "max": -math.inf, "min": math.inf, "argmax": -math.inf, "argmin": math.inf,
}  # fmt: skip
_COMBINE = {"sum": "add", "prod": "multiply", "max": "maximum", "min": "minimum",
            "all": "logical_and", "any": "logical_or"}  # fmt: skip


def identity(op: str, dtype: DType) -> float | int | bool:
    """Return what a reduction starts from, as a number of its dtype."""
    value = _IDENTITY[op]
    if dtype.is_floating_point or isinstance(value, bool):
        return value
    if dtype is bool_:
        return op in ("min", "argmin", "prod", "all")
    if not math.isinf(value):
        return int(value)
    bits = 8 * dtype.itemsize
    if dtype.kind == "uint":
        return 0 if value < 0 else 2**bits - 1
    return -(2 ** (bits - 1)) if value < 0 else 2 ** (bits - 1) - 1


class Accumulator:
    """Where a reduction collects: a value in memory that LLVM will keep in a register."""

    def __init__(self, store: Store, lanes: int, slots: list[str], places: list[str]) -> None:
        self.store, self.lanes, self.slots, self.places = store, lanes, slots, places


class Reductions(Expressions):
    """Writes the reductions of one kernel."""

    def _slot(self, kind: Type) -> str:
        """Return a place in memory for a value, which LLVM will put in a register."""
        size = kind.bits * kind.lanes // 8
        return self.entry.emit(f"alloca {kind}, align {max(8, size)}")

    def _accumulator(self, store: Store, unroll: int, vectored: bool) -> Accumulator:
        lanes = self.lanes if vectored else self._lanes_of_reduced(store)
        dtype = store.expr.dtype
        kind = register_type(dtype, lanes)
        start = kind.const(identity(store.value.op, dtype))
        slots, places = [], []
        for _ in range(unroll):
            slot = self._slot(kind)
            self.row.do(f"store {kind} {start}, ptr {slot}")
            slots.append(slot)
            if store.value.op.startswith("arg"):
                place = self._slot(I64._replace(lanes=lanes))
                whole = I64._replace(lanes=lanes)
                self.row.do(f"store {whole} {whole.const(-1)}, ptr {place}")
                places.append(place)
        return Accumulator(store, lanes, slots, places)

    def _lanes_of_reduced(self, store: Store) -> int:
        return self.lanes if self.by_rows else 1

    def _accumulate(self, total: Accumulator, k: int) -> None:
        assert self.body is not None
        w, op, dtype = self.body, total.store.value.op, total.store.expr.dtype
        kind = register_type(dtype, total.lanes)
        x = self._register(total.store.expr, total.lanes)
        k %= len(total.slots)
        if self.mask is not None and not self.by_rows:
            rest = kind.const(identity(op, dtype))
            x = w.emit(f"select {BOOL._replace(lanes=total.lanes)} {self.mask}, {kind} {x}, "
                       f"{kind} {rest}")  # fmt: skip
        best = w.emit(f"load {kind}, ptr {total.slots[k]}")
        if not total.places:
            y = operation(w, _COMBINE[op], dtype, dtype, total.lanes, [best, x], None)
            w.do(f"store {kind} {y}, ptr {total.slots[k]}")
            return
        places = I64._replace(lanes=total.lanes)
        at = w.emit(f"load {places}, ptr {total.places[k]}")
        here = self._place_in_row(total)
        if self.mask is not None and not self.by_rows:
            bits = BOOL._replace(lanes=total.lanes)
            here = w.emit(f"select {bits} {self.mask}, {places} {here}, "
                          f"{places} {places.const(-1)}")  # fmt: skip
        y, at = self._better(w, op, dtype, total.lanes, (best, at), (x, here))
        w.do(f"store {kind} {y}, ptr {total.slots[k]}")
        w.do(f"store {places} {at}, ptr {total.places[k]}")

    def _place_in_row(self, total: Accumulator) -> str:
        """Return the number of the element within its row."""
        step = next(p for p in self.loops.passes if total.store in p.reductions)
        at = Affine()
        for var in step.inner:
            at = at * var.extent + Affine.of(var)
        lanes = total.lanes if self.vector in step.inner else 1
        register = self._index(self.body, at, lanes)  # type: ignore[arg-type]
        return self._splat(self.body, register, I64, lanes, total.lanes)  # type: ignore[arg-type]

    def _better(
        self, w: Writer, op: str, dtype: DType, lanes: int,
        a: tuple[str, str], b: tuple[str, str],
    ) -> tuple[str, str]:  # fmt: skip
        """Return the better of two (value, place): NaN first, then the extreme, then the place.

        A place of -1 is that of nothing: unsigned, it comes last.
        """
        kind, places = register_type(dtype, lanes), I64._replace(lanes=lanes)
        bits = BOOL._replace(lanes=lanes)
        word = "greater" if op == "argmax" else "less"

        def ask(name: str, x: str, y: str) -> str:
            return operation(w, name, bool_, dtype, lanes, [x, y], None)

        def logic(name: str, x: str, y: str) -> str:
            return w.emit(f"{name} {bits} {x}, {y}")

        earlier = w.emit(f"icmp ult {places} {b[1]}, {a[1]}")
        tie = logic("and", ask("equal", a[0], b[0]), earlier)
        wins = logic("or", ask(word, b[0], a[0]), tie)
        if kind.is_float:
            nan_a = operation(w, "isnan", bool_, dtype, lanes, [a[0]], None)
            nan_b = operation(w, "isnan", bool_, dtype, lanes, [b[0]], None)
            fresh = logic("or", logic("xor", nan_a, bits.const(1)), earlier)
            wins = logic("or", wins, logic("and", nan_b, fresh))
        y = w.emit(f"select {bits} {wins}, {kind} {b[0]}, {kind} {a[0]}")
        return y, w.emit(f"select {bits} {wins}, {places} {b[1]}, {places} {a[1]}")

    def _finish(self, total: Accumulator, across: bool) -> None:
        """Join the accumulators of a reduction, and its lanes if they are one row's."""
        w, store, lanes = self.row, total.store, total.lanes
        op, dtype = store.value.op, store.expr.dtype
        kind, places = register_type(dtype, lanes), I64._replace(lanes=lanes)
        parts = [w.emit(f"load {kind}, ptr {slot}") for slot in total.slots]
        at = [w.emit(f"load {places}, ptr {slot}") for slot in total.places]
        pairs = list(zip(parts, at or parts, strict=True))
        while len(pairs) > 1:
            half = len(pairs) // 2
            pairs = [self._joined(op, dtype, lanes, a, b)
                     for a, b in zip(pairs[:half], pairs[half:], strict=True)]  # fmt: skip
        (pair,) = pairs
        if across:
            while lanes > 1:
                lanes //= 2
                pair = self._joined(op, dtype, lanes, *self._halves(pair, dtype, lanes, bool(at)))
        result = pair[1] if at else pair[0]
        out = store.value.dtype
        if not at and out is not dtype:
            result = operation(w, "astype", out, dtype, lanes, [result], None)
        self.values[store.value] = (result, lanes)
        if store.target is not None:
            self._write(w, store, result, lanes)

    def _joined(
        self, op: str, dtype: DType, lanes: int, a: tuple[str, str], b: tuple[str, str]
    ) -> tuple[str, str]:
        if op.startswith("arg"):
            return self._better(self.row, op, dtype, lanes, a, b)
        y = operation(self.row, _COMBINE[op], dtype, dtype, lanes, [a[0], b[0]], None)
        return y, y

    def _halves(
        self, pair: tuple[str, str], dtype: DType, lanes: int, places: bool
    ) -> tuple[tuple[str, str], tuple[str, str]]:
        w = self.row
        out = []
        for start in (0, lanes):
            found: list[str] = []
            for x, scalar in zip(pair, (register_type(dtype, 1), I64), strict=True):
                if scalar is I64 and not places:
                    found.append(found[0])
                    continue
                kind = scalar._replace(lanes=2 * lanes)
                if lanes == 1:
                    found.append(w.emit(f"extractelement {kind} {x}, i64 {start}"))
                else:
                    picks = ", ".join(f"i32 {i}" for i in range(start, start + lanes))
                    found.append(w.emit(f"shufflevector {kind} {x}, {kind} poison, "
                                        f"<{lanes} x i32> <{picks}>"))  # fmt: skip
            out.append((found[0], found[1]))
        return out[0], out[1]
