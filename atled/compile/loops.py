"""From the loops of a kernel to LLVM's language: one function a kernel.

    void kernel(ptr array..., i64 begin, i64 end, ptr scratch)

computes the units [begin, end). One loop is vectorised: the innermost of the inner loops, or the
innermost row loop where that is how memory lies (a sum over the first axis). In the first case
a unit is a row; in the second a vector of rows. What does not depend on the vectorised loop is
computed once, as a scalar; what depends on no loop, once before all of them.

The order of every sum is fixed here by the shape: lanes, then unrolled accumulators, then a tree.
"""

import math

from atled.compile.index import Affine, Var
from atled.compile.ir import BOOL, I64, Type, Writer
from atled.compile.kernel import Expr, Loops, Pass, Store, expressions
from atled.compile.operations import COSTS, memory_type, operation, register_type
from atled.core.graph import Value
from atled.dtypes import DType, bool_, int64

__all__ = ["Emitted", "emit"]


class Emitted:
    """A kernel as a function of LLVM's language.

    Attributes:
        body: its text, with ``@NAME`` for its name.
        declarations: what the module must declare.
        units: how many units there are.
        cost: about how many cycles a unit takes.
        scratch: bytes of scratch that a thread needs.
        arrays: what its pointers point to, in order.
    """

    def __init__(self, body: str, declarations: set[str], units: int, cost: float, scratch: int,
                 arrays: list[Value]) -> None:  # fmt: skip
        self.body, self.declarations, self.arrays = body, declarations, arrays
        self.units, self.cost, self.scratch = units, cost, scratch


def emit(loops: Loops, vector_bytes: int) -> Emitted:
    """Write a kernel for vectors of so many bytes."""
    return _Kernel(loops, vector_bytes).emitted()


def chosen(loops: Loops) -> Var | None:
    """Return the loop to vectorise: the one along which memory is read and written in order."""
    row = loops.rows[-1]
    inner = {p.inner[-1] for p in loops.passes if p.inner}
    if not inner:
        return row if row.extent > 1 else None
    places = [e for p in loops.passes if p.inner for s in p.stores + p.reductions
              for e in _places(s)]  # fmt: skip
    jumps_inner = sum(any(at.coefficient(v) not in (0, 1) for v in inner) for at in places)
    jumps_row = sum(at.coefficient(row) not in (0, 1) for at in places)
    wide = max(v.extent for v in inner)
    if jumps_row < jumps_inner and row.extent > 1:
        return row
    if jumps_row == jumps_inner and wide < 8 and row.extent > wide:
        return row
    return max(inner, key=lambda v: v.extent) if wide > 1 else row if row.extent > 1 else None


def _places(store: Store) -> list[Affine]:
    found = [store.at] if store.target is not None else []
    stack = [store.expr]
    while stack:
        expr = stack.pop()
        if expr.op == "load":
            found.append(expr.at)
        stack += expr.args
    return found


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


class _Accumulator:
    """Where a reduction collects: a value in memory that LLVM will keep in a register."""

    def __init__(self, store: Store, lanes: int, slots: list[str], places: list[str]) -> None:
        self.store, self.lanes, self.slots, self.places = store, lanes, slots, places


class _Kernel:
    def __init__(self, loops: Loops, vector_bytes: int) -> None:
        self.loops = loops
        self.vector = chosen(loops)
        self.lanes = self._lanes(vector_bytes) if self.vector is not None else 1
        self.arrays = {
            v: f"%b{i}" for i, v in enumerate(dict.fromkeys(loops.sources + loops.targets))
        }
        self.entry = Writer()
        self.row = Writer(self.entry)
        self.body: Writer | None = None
        self.known: list[dict[int, str]] = [{}, {}, {}]  # by scope: function, row, inner loop
        self.values: dict[Value, tuple[str, int]] = {}  # a row's own values, and this pass's
        self.counters: dict[Var, str] = {}
        self.mask: str | None = None
        self.depends: dict[int, frozenset[Var]] = {}
        self.row_vars = frozenset(loops.rows)
        self.scratch: dict[Value, int] = {}
        self.cost = 0.0

    def _lanes(self, vector_bytes: int) -> int:
        sizes = {
            e.dtype.itemsize
            for p in self.loops.passes
            for s in p.stores + p.reductions
            for e in expressions(s.expr)
            if e.dtype.is_floating_point
        }
        return vector_bytes // max(sizes, default=8)

    # -- the frame of the function

    def emitted(self) -> Emitted:
        rows = self.loops.rows
        by_rows = self.vector in self.row_vars
        counts = [v.extent for v in rows]
        if by_rows:
            counts[-1] = -(-counts[-1] // self.lanes)
        units = math.prod(counts)
        scratch = self._place_scratch()
        names = ", ".join(f"ptr {b}" for b in self.arrays.values())
        row, unit = self.row, "%unit"
        rest = unit
        registers = []
        for count in reversed(counts[1:]):
            registers.append(row.emit(f"urem i64 {rest}, {count}"))
            rest = row.emit(f"udiv i64 {rest}, {count}")
        registers.append(rest)
        for var, register in zip(rows, reversed(registers), strict=True):
            self.counters[var] = register
        if by_rows:
            self._vector_rows(counts[-1])
        else:
            self._passes()
        head = f"define internal void @NAME({names}, i64 %begin, i64 %end, ptr %scratch) noinline nounwind {{"
        text = "\n".join([
            head, "entry:", self.entry.text(),
            "  %some = icmp slt i64 %begin, %end",
            "  br i1 %some, label %loop, label %done",
            "loop:",
            "  %unit = phi i64 [ %begin, %entry ], [ %following, %next ]",
            self.row.text(),
            "  br label %next",
            "next:",
            "  %following = add i64 %unit, 1",
            "  %again = icmp slt i64 %following, %end",
            "  br i1 %again, label %loop, label %done",
            "done:", "  ret void", "}",
        ])  # fmt: skip
        return Emitted(text, self.entry.declarations, units, self.cost, scratch,
                       list(self.arrays))  # fmt: skip

    def _vector_rows(self, blocks: int) -> None:
        """Write the passes for a vector of rows; once more, masked, for the last if it is short."""
        var = self.loops.rows[-1]
        w = self.row
        block = self.counters[var]
        self.counters[var] = w.emit(f"mul i64 {block}, {self.lanes}")
        short = var.extent % self.lanes
        if not short:
            self._passes()
            return
        if blocks > 1:
            last = w.emit(f"icmp eq i64 {block}, {blocks - 1}")
            names = [w.fresh(n) for n in ("short", "full", "both")]
            w.do(f"br i1 {last}, label %{names[0]}, label %{names[1]}")
            w.label(names[1])
            self._passes()
            w.do(f"br label %{names[2]}")
            w.label(names[0])
            cost = self.cost
        self.known[1], self.values = {}, {}
        self.mask = _first_lanes(short, self.lanes)
        self._passes()
        if blocks > 1:
            self.cost = cost
            w.do(f"br label %{names[2]}")
            w.label(names[2])

    def _place_scratch(self) -> int:
        """Give the members that a later pass reads their places; return the bytes."""
        offset = 0
        for value, count in self.loops.scratch.items():
            if any(s.value is value and s.target is not None
                   for p in self.loops.passes for s in p.stores):  # fmt: skip
                continue  # it has a place of its own in memory
            lanes = self.lanes if self.vector in self.row_vars else 1
            self.scratch[value] = offset
            offset += -(-count * lanes * memory_type(value.dtype, 1).bits // 8 // 64) * 64
        return offset

    # -- passes

    def _passes(self) -> None:
        for step in self.loops.passes:
            if step.inner or step.reductions:
                self._loop(step)
            else:
                self._row_stores(step.stores)

    def _row_stores(self, stores: list[Store]) -> None:
        """Compute a row's own values, and only then write: a result may lie over an operand."""
        for store in stores:
            lanes = self._lanes_of(store.expr)
            self.values[store.value] = (self._register(store.expr, lanes), lanes)
        for store in stores:
            if store.target is not None:
                self._write(self.row, store, *self.values[store.value])

    def _loop(self, step: Pass) -> None:
        vector = self.vector if self.vector in step.inner else None
        inner = [v for v in step.inner if v is not vector]
        trip = 1 if vector is None else vector.extent // self.lanes
        short = 0 if vector is None else vector.extent % self.lanes
        unroll = self._unroll(step, trip)
        before = self.mask
        sums = [self._accumulator(s, unroll, vector is not None) for s in step.reductions]
        w = self.row
        ends = [self._begin(var, var.extent) for var in inner]
        cost = self.cost
        if vector is None:
            self._inside(step, sums, 0)
        else:
            self._blocks(step, sums, vector, trip, unroll)
            if short:
                self.counters[vector] = str(trip * self.lanes)
                self.mask = _first_lanes(short, self.lanes)
                self._inside(step, sums, 0)
                self.mask = before
        self.cost = cost + (self.cost - cost) * math.prod(v.extent for v in inner)
        for end in reversed(ends):
            end(w)
        for store in step.stores:
            self.values.pop(store.value, None)
        for total in sums:
            self._finish(total, vector is not None)

    def _unroll(self, step: Pass, trip: int) -> int:
        """Return how many vectors to take at once, so that sums do not wait for one another."""
        if not step.reductions or trip < 8:
            return 1
        work = sum(COSTS.get(e.op, 1) for s in step.stores + step.reductions for e in expressions(s.expr))
        return 4 if work < 12 else 2 if work < 40 else 1

    def _blocks(
        self, step: Pass, sums: list[_Accumulator], vector: Var, trip: int, unroll: int
    ) -> None:
        groups, rest = divmod(trip, unroll)
        cost = self.cost
        if groups:
            end = self._begin(vector, groups, unroll * self.lanes)
            base = self.counters[vector]
            for k in range(unroll):
                if k:
                    self.counters[vector] = self.row.emit(f"add i64 {base}, {k * self.lanes}")
                self._inside(step, sums, k)
            end(self.row)
        self.cost = cost + (self.cost - cost) * groups
        for k in range(rest):
            self.counters[vector] = str((groups * unroll + k) * self.lanes)
            self._inside(step, sums, k)

    def _begin(self, var: Var, trip: int, step: int = 1):  # type: ignore[no-untyped-def]
        """Open a loop over a variable; return what closes it."""
        w = self.row
        slot = self._slot(I64)
        w.do(f"store i64 0, ptr {slot}")
        top = w.fresh("top")
        w.do(f"br label %{top}")
        w.label(top)
        index = w.emit(f"load i64, ptr {slot}")
        self.counters[var] = index if step == 1 else w.emit(f"mul i64 {index}, {step}")

        def close(w: Writer) -> None:
            following = w.emit(f"add i64 {index}, 1")
            w.do(f"store i64 {following}, ptr {slot}")
            more = w.emit(f"icmp ult i64 {following}, {trip}")
            out = w.fresh("out")
            w.do(f"br i1 {more}, label %{top}, label %{out}")
            w.label(out)

        return close

    def _slot(self, kind: Type) -> str:
        return self.entry.emit(f"alloca {kind}, align {min(64, max(8, kind.bits * kind.lanes // 8))}")

    def _inside(self, step: Pass, sums: list[_Accumulator], k: int) -> None:
        """Write the body of a pass, for one vector."""
        outer, self.body = self.row, Writer(self.entry)
        self.known[2] = {}
        for store in step.stores:
            lanes = self._lanes_of(store.expr)
            register = self._register(store.expr, lanes)
            self.values[store.value] = (register, lanes)
            if store.target is not None:
                self._write(self.body, store, register, lanes)
            elif store.value in self.scratch:
                self._keep(store.value, register, lanes)
        for total in sums:
            self._accumulate(total, k)
        body, self.body = self.body, None
        outer.lines += body.lines

    # -- reductions

    def _accumulator(self, store: Store, unroll: int, vectored: bool) -> _Accumulator:
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
        return _Accumulator(store, lanes, slots, places)

    def _lanes_of_reduced(self, store: Store) -> int:
        return self.lanes if self.vector in self.row_vars else 1

    def _accumulate(self, total: _Accumulator, k: int) -> None:
        assert self.body is not None
        w, op, dtype = self.body, total.store.value.op, total.store.expr.dtype
        kind = register_type(dtype, total.lanes)
        x = self._register(total.store.expr, total.lanes)
        k %= len(total.slots)
        if self.mask is not None and self.vector not in self.row_vars:
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
        if self.mask is not None and self.vector not in self.row_vars:
            here = w.emit(f"select {BOOL._replace(lanes=total.lanes)} {self.mask}, {places} {here}, "
                          f"{places} {places.const(-1)}")  # fmt: skip
        y, at = self._better(w, op, dtype, total.lanes, (best, at), (x, here))
        w.do(f"store {kind} {y}, ptr {total.slots[k]}")
        w.do(f"store {places} {at}, ptr {total.places[k]}")

    def _place_in_row(self, total: _Accumulator) -> str:
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

    def _finish(self, total: _Accumulator, across: bool) -> None:
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
            found = []
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

    # -- expressions

    def _depends(self, expr: Expr) -> frozenset[Var]:
        """Return the loops that an expression's value differs in."""
        found = self.depends.get(id(expr))
        if found is None:
            found = frozenset(expr.at.terms).union(*[a.terms for a, _, _ in expr.guards])
            if expr.op == "member":
                found |= self.row_vars
            for arg in expr.args:
                found |= self._depends(arg)
            self.depends[id(expr)] = found
        return found

    def _lanes_of(self, expr: Expr) -> int:
        if expr.op == "member" and expr.source in self.values and expr.static != "elsewhere":
            return self.values[expr.source][1]
        if expr.op == "member" or not expr.args:
            return self.lanes if self.vector in self._depends(expr) else 1
        own = self.lanes if self.vector in expr.at.terms or self._is_guarded(expr) else 1
        return max([own, *[self._lanes_of(arg) for arg in expr.args]])

    def _is_guarded(self, expr: Expr) -> bool:
        return any(self.vector in a.terms for a, _, _ in expr.guards)

    def _register(self, expr: Expr, lanes: int) -> str:
        """Return the register of an expression, repeated to `lanes` if it is one number."""
        own = self._lanes_of(expr)
        scope = self._scope(expr)
        known = self.known[scope]
        register = known.get(id(expr))
        w = self._writer(scope)
        if register is None:
            register = known[id(expr)] = self._emit(w, expr, own)
        if own == lanes:
            return register
        return self._splat(w, register, register_type(expr.dtype, 1), own, lanes)

    def _scope(self, expr: Expr) -> int:
        if self.body is None:
            return 0 if not self._depends(expr) and not expr.op == "member" else 1
        depends = self._depends(expr)
        if expr.op != "member" and not depends:
            return 0
        inner = any(v not in self.row_vars for v in depends) or _of_pass(expr, self.values)
        return 2 if inner else 1

    def _writer(self, scope: int) -> Writer:
        if scope == 0:
            return self.entry
        return self.row if scope == 1 or self.body is None else self.body

    def _emit(self, w: Writer, expr: Expr, lanes: int) -> str:
        kind = register_type(expr.dtype, lanes)
        if expr.op == "constant":
            return kind.const(expr.static)
        if expr.op == "place":
            return self._index(w, expr.at, lanes)
        if expr.op == "member":
            if expr.static != "elsewhere" and expr.source in self.values:
                return self.values[expr.source][0]
            return self._recalled(w, expr, lanes)
        if expr.op == "load":
            return self._load(w, expr, lanes)
        if expr.op == "guarded":
            inside = self._register(expr.args[0], lanes)
            bits = BOOL._replace(lanes=lanes)
            test = self._test(w, expr, lanes)
            return w.emit(f"select {bits} {test}, {kind} {inside}, {kind} {kind.const(0)}")
        args = [self._register(arg, lanes) for arg in expr.args]
        source = expr.args[-1].dtype
        if self._scope(expr) != 0:
            self.cost += COSTS.get(expr.op, 1)
        return operation(w, expr.op, expr.dtype, source, lanes, args, expr.static)

    def _splat(self, w: Writer, x: str, scalar: Type, have: int, lanes: int) -> str:
        if have == lanes:
            return x
        if x[0] != "%":  # a constant
            return f"splat ({scalar} {x})"
        kind = scalar._replace(lanes=lanes)
        first = w.emit(f"insertelement {kind} poison, {scalar} {x}, i64 0")
        return w.emit(f"shufflevector {kind} {first}, {kind} poison, "
                      f"<{lanes} x i32> zeroinitializer")  # fmt: skip

    def _offset(self, w: Writer, at: Affine) -> str:
        """Return the place of the first lane."""
        total = str(at.constant)
        for var, k in at.terms.items():
            counter = self.counters[var]
            term = counter if k == 1 else w.emit(f"mul i64 {counter}, {k}")
            total = term if total == "0" else w.emit(f"add i64 {total}, {term}")
        return total

    def _index(self, w: Writer, at: Affine, lanes: int) -> str:
        """Return the place of every lane, as integers."""
        first = self._offset(w, at)
        if lanes == 1:
            return first
        kind = I64._replace(lanes=lanes)
        k = at.coefficient(self.vector) if self.vector is not None else 0
        steps = ", ".join(f"i64 {i * k}" for i in range(lanes))
        return w.emit(f"add {kind} {self._splat(w, first, I64, 1, lanes)}, <{steps}>"
                      if first[0] == "%" else
                      f"add {kind} splat (i64 {first}), <{steps}>")  # fmt: skip

    def _test(self, w: Writer, expr: Expr, lanes: int) -> str:
        """Return, for each lane, whether it is within an expression's guards."""
        whole, bits = I64._replace(lanes=lanes), BOOL._replace(lanes=lanes)
        result = ""
        for at, low, high in expr.guards:
            inside = self._index(w, at + -low, lanes)
            width = whole.const(high - low)
            test = w.emit(f"icmp ult {whole} {inside}, {width}")
            result = test if not result else w.emit(f"and {bits} {result}, {test}")
        return result or bits.const(1)

    def _load(self, w: Writer, expr: Expr, lanes: int) -> str:
        """Load an expression's lanes; nothing is touched where a guard says that there is none."""
        if not expr.guards:
            return self._loaded(w, expr, lanes)
        if lanes == 1 and max([self._lanes_of(arg) for arg in expr.args], default=1) == 1:
            return self._loaded(w, expr, lanes, self._test(w, expr, 1))
        before, test = self.mask, self._test(w, expr, lanes)
        bits = BOOL._replace(lanes=lanes)
        self.mask = test if before is None else w.emit(f"and {bits} {before}, {test}")
        x = self._loaded(w, expr, lanes)
        self.mask = before
        return x

    def _loaded(self, w: Writer, expr: Expr, lanes: int, test: str = "") -> str:
        base = self.arrays[expr.source]  # type: ignore[index]
        self.cost += 1
        widths = [self._lanes_of(arg) for arg in expr.args]
        if max(widths, default=1) > 1:
            places = self._index(w, expr.at, lanes)
            kind = I64._replace(lanes=lanes)
            for arg, scale in zip(expr.args, expr.scales, strict=True):
                i = self._whole(w, arg, lanes)
                places = w.emit(f"add {kind} {places}, "
                                + w.emit(f"mul {kind} {i}, {kind.const(scale)}"))  # fmt: skip
            return self._gather(w, expr.dtype, base, places, lanes)
        first = self._offset(w, expr.at)
        for arg, scale in zip(expr.args, expr.scales, strict=True):
            by = w.emit(f"mul i64 {self._whole(w, arg, 1)}, {scale}")
            first = w.emit(f"add i64 {first}, {by}")
        if test:
            first = w.emit(f"select i1 {test}, i64 {first}, i64 0")
        k = 0 if self.vector is None else expr.at.coefficient(self.vector)
        return self._fetch(w, expr.dtype, base, first, k, lanes)

    def _whole(self, w: Writer, arg: Expr, lanes: int) -> str:
        """Return an index as int64."""
        return operation(w, "astype", int64, arg.dtype, lanes, [self._register(arg, lanes)], None)

    def _fetch(self, w: Writer, dtype: DType, base: str, first: str, k: int, lanes: int) -> str:
        """Load lanes that lie k elements apart, the first at a place."""
        scalar, kind = memory_type(dtype, 1), memory_type(dtype, lanes)
        guarded = self.mask is not None and self.mask[0] != "<"
        if lanes > 1 and (k not in (0, 1) or (k == 0 and guarded)):
            places = I64._replace(lanes=lanes)
            steps = ", ".join(f"i64 {i * k}" for i in range(lanes))
            at = w.emit(f"add {places} {self._splat(w, first, I64, 1, lanes)}, <{steps}>")
            return self._gather(w, dtype, base, at, lanes)
        pointer = w.emit(f"getelementptr inbounds {scalar}, ptr {base}, i64 {first}")
        size = scalar.bits // 8
        if lanes == 1 or (k == 0 and (self.mask is None or self.mask[0] == "<")):
            x = w.emit(f"load {scalar}, ptr {pointer}, align {size}")
            x = self._splat(w, x, scalar, 1, lanes)
        elif self.mask is None:
            x = w.emit(f"load {kind}, ptr {pointer}, align {size}")
        else:
            bits = BOOL._replace(lanes=lanes)
            name = f"@llvm.masked.load.{kind.suffix}.p0"
            w.declare(f"declare {kind} {name}(ptr, i32, {bits}, {kind})")
            x = w.emit(f"call {kind} {name}(ptr {pointer}, i32 {size}, {bits} {self.mask}, "
                       f"{kind} zeroinitializer)")  # fmt: skip
        return self._from_memory(w, dtype, x, kind)

    def _gather(self, w: Writer, dtype: DType, base: str, places: str, lanes: int) -> str:
        scalar, kind = memory_type(dtype, 1), memory_type(dtype, lanes)
        whole, bits = I64._replace(lanes=lanes), BOOL._replace(lanes=lanes)
        pointers = w.emit(f"getelementptr inbounds {scalar}, ptr {base}, {whole} {places}")
        name = f"@llvm.masked.gather.{kind.suffix}.v{lanes}p0"
        w.declare(f"declare {kind} {name}(<{lanes} x ptr>, i32, {bits}, {kind})")
        self.cost += lanes
        x = w.emit(f"call {kind} {name}(<{lanes} x ptr> {pointers}, i32 {scalar.bits // 8}, "
                   f"{bits} {self.mask or bits.const(1)}, {kind} zeroinitializer)")  # fmt: skip
        return self._from_memory(w, dtype, x, kind)

    def _from_memory(self, w: Writer, dtype: DType, x: str, kind: Type) -> str:
        return w.emit(f"icmp ne {kind} {x}, {kind.const(0)}") if dtype is bool_ else x

    def _to_memory(self, w: Writer, dtype: DType, x: str, lanes: int) -> str:
        if dtype is not bool_:
            return x
        return w.emit(f"zext {register_type(dtype, lanes)} {x} to {memory_type(dtype, lanes)}")

    # -- results

    def _write(self, w: Writer, store: Store, register: str, lanes: int) -> None:
        k = 0 if self.vector is None else store.at.coefficient(self.vector)
        dtype = store.value.dtype
        if lanes == 1 and k != 0:
            register = self._splat(w, register, register_type(dtype, 1), 1, self.lanes)
            lanes = self.lanes
        base, first = self.arrays[store.target], self._offset(w, store.at)  # type: ignore[index]
        self.cost += 1
        self._put(w, dtype, base, first, k, register, lanes)

    def _put(
        self, w: Writer, dtype: DType, base: str, first: str, k: int, register: str, lanes: int
    ) -> None:
        x = self._to_memory(w, dtype, register, lanes)
        scalar, kind = memory_type(dtype, 1), memory_type(dtype, lanes)
        bits, size = BOOL._replace(lanes=lanes), scalar.bits // 8
        if lanes > 1 and k != 1:
            whole = I64._replace(lanes=lanes)
            steps = ", ".join(f"i64 {i * k}" for i in range(lanes))
            at = w.emit(f"add {whole} {self._splat(w, first, I64, 1, lanes)}, <{steps}>")
            pointers = w.emit(f"getelementptr inbounds {scalar}, ptr {base}, {whole} {at}")
            name = f"@llvm.masked.scatter.{kind.suffix}.v{lanes}p0"
            w.declare(f"declare void {name}({kind}, <{lanes} x ptr>, i32, {bits})")
            self.cost += lanes
            w.do(f"call void {name}({kind} {x}, <{lanes} x ptr> {pointers}, i32 {size}, "
                 f"{bits} {self.mask or bits.const(1)})")  # fmt: skip
            return
        pointer = w.emit(f"getelementptr inbounds {scalar}, ptr {base}, i64 {first}")
        if lanes == 1 or self.mask is None:
            w.do(f"store {kind} {x}, ptr {pointer}, align {size}")
            return
        name = f"@llvm.masked.store.{kind.suffix}.p0"
        w.declare(f"declare void {name}({kind}, ptr, i32, {bits})")
        w.do(f"call void {name}({kind} {x}, ptr {pointer}, i32 {size}, {bits} {self.mask})")

    # -- members kept for a later pass

    def _keep(self, value: Value, register: str, lanes: int) -> None:
        assert self.body is not None
        by_rows = self.vector in self.row_vars
        step = next(p for p in self.loops.passes for s in p.stores if s.value is value)
        at = Affine()
        for var in step.inner:
            at = at * var.extent + Affine.of(var)
        base, first, k = self._kept(self.body, value, at)
        if by_rows and lanes == 1:
            register = self._splat(self.body, register, register_type(value.dtype, 1), 1, self.lanes)
            lanes = self.lanes
        mask, self.mask = self.mask, None if by_rows else self.mask
        self._put(self.body, value.dtype, base, first, k, register, lanes)
        self.mask = mask

    def _kept(self, w: Writer, value: Value, at: Affine) -> tuple[str, str, int]:
        """Return where an inner element of a kept member lies: base, place, distance of lanes."""
        base = w.emit(f"getelementptr i8, ptr %scratch, i64 {self.scratch[value]}")
        if self.vector in self.row_vars:
            return base, self._offset(w, at * self.lanes), 1
        k = 0 if self.vector is None else at.coefficient(self.vector)
        return base, self._offset(w, at), k

    def _recalled(self, w: Writer, expr: Expr, lanes: int) -> str:
        """Load a member that an earlier pass computed."""
        value = expr.source
        assert value is not None
        step, store = next((p, s) for p in self.loops.passes for s in p.stores if s.value is value)
        if store.target is not None:
            at = expr.at if expr.static != "elsewhere" else expr.at + self._row_start(value)
            k = 0 if self.vector is None else at.coefficient(self.vector)
            return self._fetch(w, value.dtype, self.arrays[store.target],
                               self._offset(w, at), k, lanes)  # fmt: skip
        at = expr.at
        if expr.static != "elsewhere":
            at = Affine()
            for var in step.inner:
                at = at * var.extent + Affine.of(var)
        base, first, k = self._kept(w, value, at)
        mask, self.mask = self.mask, None if self.vector in self.row_vars else self.mask
        x = self._fetch(w, value.dtype, base, first, k, lanes)
        self.mask = mask
        return x

    def _row_start(self, value: Value) -> Affine:
        at = Affine()
        for var in self.loops.rows:
            at = at * var.extent + Affine.of(var)
        return at * (value.size // math.prod(v.extent for v in self.loops.rows))


def _of_pass(expr: Expr, values: dict[Value, tuple[str, int]]) -> bool:
    """Say whether an expression reads a member with several elements a row."""
    return any(e.op == "member" and e.at.terms and not _is_row(e) for e in expressions(expr))


def _is_row(expr: Expr) -> bool:
    return all(v.name.startswith("r") for v in expr.at.terms)


def _first_lanes(count: int, lanes: int) -> str:
    return "<" + ", ".join(f"i1 {int(i < count)}" for i in range(lanes)) + ">"
