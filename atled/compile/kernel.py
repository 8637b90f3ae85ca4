"""A kernel: values that are computed together, row by row; and its loops.

A kernel has a number of rows. Each of its members either has one element a row, or several (the
*inner* elements, a multiple of the rows), or is a reduction of such a row to one element. An
elementwise kernel has one element in every row; softmax has a row of logits; a sum over the
first axis has a row for each element that is left. Rows are independent of one another: they
are what threads share.

`lowered` turns a kernel into `Loops`: for a row, a list of passes over inner elements, with
what each computes written as expressions over loads. No word of any target stands in it.
"""

import math
from collections.abc import Callable
from typing import Any

from atled.compile.index import (
    ZERO,
    Affine,
    Split,
    Unaligned,
    Var,
    delinearised,
    linearised,
    strides_of,
)
from atled.core.graph import ELEMENTWISE, Value
from atled.dtypes import DType

__all__ = [
    "FUSIBLE",
    "REDUCTIONS",
    "Expr",
    "Kernel",
    "Loops",
    "Pass",
    "Store",
    "accepts",
    "check",
    "expressions",
    "lowered",
    "read_at",
    "row_local",
]

Guard = tuple[Affine, int, int]  # low <= affine < high
REDUCTIONS = frozenset("sum prod max min all any argmax argmin".split())


class Kernel:
    """Values to compute together.

    Attributes:
        rows: the number of rows.
        members: what is computed, operands first.
        stored: those of the members that others read: they have a place in memory.
        cuts: the loops that are cut in two, by name, and how long the inner ones are.
        into: for a member that is a part of a larger array, the array and the part's index
            (start and step along each axis).
    """

    __slots__ = ("cuts", "into", "members", "rows", "stored")

    def __init__(self, rows: int, members: list[Value], stored: set[Value]) -> None:
        self.rows, self.members, self.stored = rows, members, stored
        self.cuts: dict[str, int] = {}
        self.into: dict[Value, tuple[Value, tuple[tuple[int, int], ...]]] = {}

    @property
    def is_flat(self) -> bool:
        """Whether every row is a single element."""
        return all(m.op not in REDUCTIONS and m.size == self.rows for m in self.members)


class Expr:
    """What a loop computes at one place.

    Attributes:
        op: an elementwise primitive; or "load", "constant", "place" (of an iota), "member".
        args: operands.
        dtype: of the result.
        static: static parameters of a primitive; a constant's value.
        source: for a load the array, for a member the value.
        at: for a load, place or member: the element, linear in the loops.
        scales: for a load: by what each of `args`, integers, is multiplied and added to `at`.
        guards: for a load or a "guarded" expression: (affine, low, high); elsewhere than within
            all of these bounds there is nothing to read, and the value is 0.
    """

    __slots__ = ("args", "at", "dtype", "guards", "op", "scales", "source", "static")

    def __init__(
        self,
        op: str,
        args: tuple["Expr", ...],
        dtype: DType,
        static: Any = None,
        source: Value | None = None,
        at: Affine = ZERO,
        scales: tuple[int, ...] = (),
        guards: tuple[Guard, ...] = (),
    ) -> None:
        self.op, self.args, self.dtype, self.static = op, args, dtype, static
        self.source, self.at, self.scales, self.guards = source, at, scales, guards


class Store:
    """A result: its expression, and the element of an array where it goes (None: nowhere)."""

    __slots__ = ("at", "expr", "target", "value")

    def __init__(self, value: Value, expr: Expr, target: Value | None, at: Affine) -> None:
        self.value, self.expr, self.target, self.at = value, expr, target, at


class Pass:
    """One loop over the inner elements of a row; or, without loops, statements on the row itself.

    Attributes:
        inner: the loops, outermost first.
        stores: elementwise members.
        reductions: members that reduce; `expr` is what is reduced.
    """

    __slots__ = ("inner", "reductions", "stores")

    def __init__(self, inner: list[Var]) -> None:
        self.inner = inner
        self.stores: list[Store] = []
        self.reductions: list[Store] = []


class Loops:
    """A lowered kernel.

    Attributes:
        rows: the loops over rows, outermost first.
        row: the number of a row.
        passes: in order; those without inner loops work on the row's own values.
        sources: the arrays that are read from memory, in the order of first use.
        targets: the arrays that are written.
        scratch: members kept for a later pass, and how many inner elements each has.
    """

    __slots__ = ("passes", "row", "rows", "scratch", "sources", "targets")

    def __init__(self, rows: list[Var], passes: list[Pass], scratch: dict[Value, int]) -> None:
        self.rows, self.passes, self.scratch = rows, passes, scratch
        self.row = _place(rows)
        self.sources: list[Value] = []
        self.targets: list[Value] = []


def lowered(kernel: Kernel, arrays: set[Value]) -> Loops:
    """Return the loops of a kernel.

    Args:
        arrays: every value of the program that has a place in memory.

    Raises:
        Unaligned: a member needs an element of another row, or an index is not linear; `value`
            is what must lie in memory before the kernel can be lowered.
    """
    while True:
        try:
            return _Lowering(kernel, arrays).loops()
        except Split as split:
            kernel.cuts[split.var.name] = split.inner


def check(kernel: Kernel, value: Value, arrays: set[Value]) -> None:
    """Do nothing if a value, one of the kernel's members, can be computed row by row in it.

    Raises:
        Unaligned: it cannot; see `lowered`.
    """
    while True:
        try:
            lowering = _Lowering(kernel, arrays)
            lowering.expression(value)
            if value in kernel.into:
                lowering.target(value, lowering.own(value))
            return
        except Split as split:
            kernel.cuts[split.var.name] = split.inner


def accepts(kernel: Kernel, value: Value, arrays: set[Value]) -> bool:
    """Say whether a value, one of the kernel's members, can be computed row by row in it."""
    try:
        check(kernel, value, arrays)
    except Unaligned:
        return False
    return True


def read_at(value: Value, at: Affine, arrays: set[Value]) -> Expr:
    """Return what gives the element of a value at a place.

    Raises:
        Split, Unaligned: the place is not linear in the loops.
    """
    return _Lowering(Kernel(1, [], set()), arrays).read(value, at)


class _Lowering:
    """One attempt to lower a kernel, with loops cut as known so far."""

    def __init__(self, kernel: Kernel, arrays: set[Value]) -> None:
        self.kernel, self.arrays, self.cuts = kernel, arrays, kernel.cuts
        self.members = set(kernel.members)
        self.rows = self._loops(Var(kernel.rows, "r"))
        self.row = _place(self.rows)
        self.inner: dict[int, list[Var]] = {1: []}
        self.known: dict[tuple[Any, ...], Expr] = {}
        self.times: dict[Value, int] = {}  # of a row's value: from when; of others: in which pass
        self.scratch: dict[Value, int] = {}
        self.guards: tuple[Guard, ...] = ()

    def _loops(self, var: Var) -> list[Var]:
        """Return the loops that stand for one variable: itself, or its parts."""
        inner = self.cuts.get(var.name)
        if inner is None:
            return [var]
        outer = Var(var.extent // inner, var.name + "o")
        return self._loops(outer) + self._loops(Var(inner, var.name + "i"))

    def _inner(self, count: int) -> Affine:
        if count not in self.inner:
            self.inner[count] = self._loops(Var(count, f"c{count}_"))
        return _place(self.inner[count])

    def _own(self, count: int) -> Affine:
        """Return the place of a member's own element: row by row, `count` elements each."""
        return self.row * count + self._inner(count)

    def loops(self) -> Loops:
        passes: dict[tuple[int, int, int], Pass] = {}
        for value in self.kernel.members:
            reduces = value.op in REDUCTIONS
            count = (value.inputs[0] if reduces else value).size // self.kernel.rows
            at = self._own(count)
            expr = self.expression(value)
            time = self._time(expr, set())
            self._keep(expr, time, set())
            level = 0 if count == 1 and not reduces else 1
            key = (time, level, count)
            if key not in passes:
                passes[key] = Pass(self.inner[count] if level else [])
            target, place = self.target(value, self.row if reduces else at)
            store = Store(value, expr, target, place)
            (passes[key].reductions if reduces else passes[key].stores).append(store)
            self.times[value] = time + 1 if reduces else time
        found = Loops(self.rows, [passes[key] for key in sorted(passes)], self.scratch)
        _find_arrays(found)
        return found

    def expression(self, value: Value) -> Expr:
        """Return what a member's own element is, or what it reduces."""
        if value.op in REDUCTIONS:
            whole = value.inputs[0]
            return self.read(whole, self._own(whole.size // self.kernel.rows))
        return self._compute(value, self._own(value.size // self.kernel.rows))

    def own(self, value: Value) -> Affine:
        """Return the place of a member's own element."""
        return self._own(value.size // self.kernel.rows)

    def target(self, value: Value, at: Affine) -> tuple[Value | None, Affine]:
        """Return the array into which a member goes, and where in it its own element lies."""
        part = self.kernel.into.get(value)
        if part is not None:
            array, index = part
            try:
                inside = delinearised(at, value.shape)
            except Unaligned:  # the loops suit the operand's operands: it must lie in memory
                raise Unaligned(value.inputs[0]) from None
            moved = [i * step + start for i, (start, step) in zip(inside, index, strict=True)]
            return array, linearised(tuple(moved), array.shape)
        return (value if value in self.kernel.stored else None), at

    def _time(self, expr: Expr, seen: set[int]) -> int:
        """Return the first pass in which an expression can be computed; note what to keep."""
        if id(expr) in seen:
            return 0
        seen.add(id(expr))
        latest = max([self._time(arg, seen) for arg in expr.args], default=0)
        if expr.op == "member":
            value = expr.source
            assert value is not None
            if expr.static == "elsewhere":  # another element of this row, from memory
                self.scratch.setdefault(value, value.size // self.kernel.rows)
                return max(latest, self.times[value] + 1)
            return max(latest, self.times[value])
        return latest

    def _keep(self, expr: Expr, time: int, seen: set[int]) -> None:
        """Note the inner members of earlier passes that an expression reads."""
        if id(expr) in seen:
            return
        seen.add(id(expr))
        value = expr.source
        if expr.op == "member" and value is not None and value.op not in REDUCTIONS:
            count = value.size // self.kernel.rows
            if count > 1 and self.times[value] < time:
                self.scratch.setdefault(value, count)
        for arg in expr.args:
            self._keep(arg, time, seen)

    # -- expressions

    def read(self, value: Value, at: Affine) -> Expr:
        """Return what gives the element of a value at a place."""
        if value in self.members:
            count = value.size // self.kernel.rows
            if at.key() == self._own(count).key():
                return self._expr("member", (), value, source=value, at=at)
            row, rest = at.divided(count) if count > 1 else (at, ZERO)
            if row.key() != self.row.key():
                raise Unaligned(value)
            return self._expr("member", (), value, static="elsewhere", source=value, at=rest)
        if value in self.arrays:
            return self._expr("load", (), value, source=value, at=at)
        return self._compute(value, at)

    def _compute(self, value: Value, at: Affine) -> Expr:
        op = value.op
        if op in ELEMENTWISE:
            args = tuple([self.read(x, at) for x in value.inputs])
            static = {k: v for k, v in value.static.items() if k != "dtype"}
            return self._expr(op, args, value, static=tuple(static.items()))
        if op == "constant":
            return self._expr("constant", (), value, static=value.static["value"])
        if op == "iota":
            return self._expr("place", (), value, at=at)
        if op == "reshape":
            return self.read(value.inputs[0], at)
        try:
            if op == "gather_nd":
                return self._gathered(value, at)
            if op == "place":
                return self._placed(value, at)
            return self.read(value.inputs[0], MOVED[op](value, at))
        except Unaligned as error:
            error.value = error.value or value
            raise

    def _gathered(self, value: Value, at: Affine) -> Expr:
        x, *indices = value.inputs
        if x in self.members:  # any row may be read: it must be complete before
            raise Unaligned(x)
        rest = x.shape[len(indices) :]
        size = 1
        for n in rest:
            size *= n
        outer, within = at.divided(size)
        args = tuple([self.read(i, outer) for i in indices])
        scales = tuple(strides_of(x.shape)[: len(indices)])
        return self._expr("load", args, x, source=x, at=within, scales=scales)

    def _placed(self, value: Value, at: Affine) -> Expr:
        """Return the element of the operand that lies at a place, guarded: 0 where none does."""
        source, before = value.inputs[0], self.guards
        index, guards = [], []
        parts = zip(delinearised(at, value.shape), value.static["index"], source.shape, strict=True)
        for i, (start, _, step), n in parts:
            if step < 0:  # the same places from the other end
                start, step = start + (n - 1) * step, -step
                turned = True
            else:
                turned = False
            shift, rest = divmod(start, step)
            outer, within = i.divided(step)
            if step > 1:
                guards.append((within, rest, rest + 1))
            inner = outer + -shift
            low, high = inner.bounds()
            if low < 0 or high >= n:
                guards.append((inner, 0, n))
            index.append(inner * -1 + (n - 1) if turned else inner)
        self.guards = before + tuple(guards)
        inside = self.read(source, linearised(tuple(index), source.shape))
        own, self.guards = self.guards, before
        return self._expr("guarded", (inside,), value, guards=own)

    def _expr(
        self,
        op: str,
        args: tuple[Expr, ...],
        like: Value,
        static: Any = None,
        source: Value | None = None,
        at: Affine = ZERO,
        scales: tuple[int, ...] = (),
        guards: tuple[Guard, ...] = (),
    ) -> Expr:
        """Return the expression, the same object for the same thing."""
        guards = self.guards if op == "load" else guards
        bounds = tuple([(a.key(), low, high) for a, low, high in guards])
        key = (op, tuple(map(id, args)), like.dtype, repr(static), source, at.key(), scales, bounds)
        found = self.known.get(key)
        if found is None:
            found = Expr(op, args, like.dtype, static, source, at, scales, guards)
            self.known[key] = found
        return found


def _place(loops: list[Var]) -> Affine:
    total = ZERO
    for var in loops:
        total = total * var.extent + Affine.of(var)
    return total


def _permuted(value: Value, at: Affine) -> Affine:
    index, axes = delinearised(at, value.shape), value.static["axes"]
    source = value.inputs[0].shape
    back = [index[axes.index(i)] for i in range(len(source))]
    return linearised(tuple(back), source)


def _broadcast(value: Value, at: Affine) -> Affine:
    source = value.inputs[0].shape
    if all(n == 1 for n in source):
        return ZERO
    lead = len(value.shape) - len(source)
    if value.shape[lead:] == source:  # only new leading axes: what is left of a division
        size = value.inputs[0].size
        return at.divided(size)[1]
    index = delinearised(at, value.shape)[lead:]
    kept = [i if n > 1 else ZERO for i, n in zip(index, source, strict=True)]
    return linearised(tuple(kept), source)


def _sliced(value: Value, at: Affine) -> Affine:
    index = delinearised(at, value.shape)
    parts = zip(index, value.static["index"], strict=True)
    moved = [i * step + start for i, (start, _, step) in parts]
    return linearised(tuple(moved), value.inputs[0].shape)


MOVED: dict[str, Callable[[Value, Affine], Affine]] = {
    "permute_dims": _permuted,
    "broadcast_to": _broadcast,
    "slice": _sliced,
}

# What a kernel can compute on the way, without a place in memory.
FUSIBLE = ELEMENTWISE | set(MOVED) | {"constant", "iota", "reshape", "gather_nd", "place"}


def expressions(expr: Expr) -> list[Expr]:
    """Return an expression and all that it is made of, each once."""
    found: dict[int, Expr] = {}
    stack = [expr]
    while stack:
        e = stack.pop()
        if id(e) not in found:
            found[id(e)] = e
            stack += e.args
    return list(found.values())


def row_local(loops: Loops) -> set[Value]:
    """Return the arrays of which each row reads its own part only."""
    rows = set(loops.rows)
    count = math.prod(v.extent for v in loops.rows)
    local = {v for v in loops.sources if v.size % count == 0}
    for step in loops.passes:
        for store in step.stores + step.reductions:
            for expr in expressions(store.expr):
                if expr.op != "load" or expr.source not in local:
                    continue
                size = expr.source.size // count
                within = expr.at + loops.row * -size
                low, high = within.bounds()
                outside = low < 0 or high >= size or not rows.isdisjoint(within.terms)
                if outside or expr.args or expr.guards:
                    local.discard(expr.source)
    return local


def _find_arrays(loops: Loops) -> None:
    sources: dict[Value, None] = {}
    targets: dict[Value, None] = {}
    for step in loops.passes:
        for store in step.stores + step.reductions:
            for expr in expressions(store.expr):
                if expr.op == "load" and expr.source is not None:
                    sources[expr.source] = None
            if store.target is not None:
                targets[store.target] = None
    loops.sources, loops.targets = list(sources), list(targets)
