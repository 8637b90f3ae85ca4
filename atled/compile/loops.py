"""From the loops of a kernel to LLVM's language: one function a kernel.

    void kernel(ptr array..., i64 begin, i64 end, ptr scratch)

computes the units [begin, end). One loop is vectorised: the innermost of the inner loops, or the
innermost row loop where that is how memory lies (a sum over the first axis). In the first case
a unit is a row; in the second a vector of rows. What does not depend on the vectorised loop is
computed once, as a scalar; what depends on no loop, once before all of them.

The order of every sum is fixed here by the shape: lanes, then unrolled accumulators, then a tree.
"""

import math
from collections.abc import Callable

from atled.compile.index import Var
from atled.compile.ir import I64, Writer
from atled.compile.kernel import Loops, Pass, Store, expressions
from atled.compile.operations import COSTS, memory_type
from atled.compile.reductions import Accumulator, Reductions
from atled.compile.vectorise import inner_vector
from atled.core.graph import Value

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
        rows: the lengths of the loops over rows, in the order in which units count them; None
            if that is not the order of the rows.
        lanes: rows in a unit.
    """

    rows: list[int] | None = None
    lanes = 1

    def units_per_row(self, count: int) -> int:
        """Return how many units each of `count` equal parts of the rows takes; 0 if none fits."""
        if self.rows is None or math.prod(self.rows) % count:
            return 0
        part = math.prod(self.rows) // count
        if part == 1 and self.lanes > 1:
            return 0
        inner = 1  # rows of the innermost loops that make up a part
        units = 1
        for k, extent in enumerate(reversed(self.rows)):
            if inner == part:
                return units
            lanes = self.lanes if k == 0 else 1
            if part % (inner * extent):  # a part ends within this loop
                rest = part // inner
                whole = part % inner == 0 and extent % rest == 0 and rest % lanes == 0
                return units * (rest // lanes) if whole else 0
            inner, units = inner * extent, units * -(-extent // lanes)
        return units if inner == part else 0

    def __init__(self, body: str, declarations: set[str], units: int, cost: float, scratch: int,
                 arrays: list[Value]) -> None:  # fmt: skip
        self.body, self.declarations, self.arrays = body, declarations, arrays
        self.units, self.cost, self.scratch = units, cost, scratch


def emit(loops: Loops, vector_bytes: int) -> Emitted:
    """Write a kernel for vectors of so many bytes."""
    return _Kernel(loops, vector_bytes).emitted()


class _Kernel(Reductions):
    """Writes one kernel."""

    # -- the frame of the function

    def emitted(self) -> Emitted:
        rows, by_rows = self.rows, self.by_rows
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
        names += ", i64 %begin, i64 %end, ptr %scratch"
        head = f"define internal void @NAME({names}) noinline nounwind {{"
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
        made = Emitted(text, self.entry.declarations, units, self.cost, scratch,
                       list(self.arrays))  # fmt: skip
        if self.rows == self.loops.rows:
            made.rows, made.lanes = [v.extent for v in rows], self.width if by_rows else 1
        return made

    def _vector_rows(self, blocks: int) -> None:
        """Write the passes for a vector of rows; once more, masked, for the last if it is short."""
        var = self.rows[-1]
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
            lanes = self.lanes if self.by_rows else 1
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
        if not self.by_rows:
            self.vector = inner_vector(step, self.width)
            self.lanes = self.width if self.vector is not None else 1
        vector = None if self.by_rows else self.vector
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
        if not self.by_rows:
            self.vector, self.lanes = None, 1

    def _unroll(self, step: Pass, trip: int) -> int:
        """Return how many vectors to take at once, so that sums do not wait for one another."""
        if not step.reductions or trip < 8:
            return 1
        work = sum(
            COSTS.get(e.op, 1) for s in step.stores + step.reductions for e in expressions(s.expr)
        )
        return 4 if work < 12 else 2 if work < 40 else 1

    def _blocks(
        self, step: Pass, sums: list[Accumulator], vector: Var, trip: int, unroll: int
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

    def _begin(self, var: Var, trip: int, step: int = 1) -> Callable[[Writer], None]:
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

    def _inside(self, step: Pass, sums: list[Accumulator], k: int) -> None:
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


def _first_lanes(count: int, lanes: int) -> str:
    return "<" + ", ".join(f"i1 {int(i < count)}" for i in range(lanes)) + ">"
