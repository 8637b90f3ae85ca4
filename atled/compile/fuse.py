"""Which values are computed together, which lie in memory, and what is left to libraries.

Three decisions, in order:

1. *nodes*: values that must be computed by themselves at some point: results, reductions, the
   operands of library calls, and what several others read and is too dear to compute twice.
   Everything between the nodes is computed on the way, where it is needed;
2. *kernels*: a node joins the kernel of what it reads if both go by the same rows, each row
   needs that row only, and no detour through another step leads from one to the other;
3. *arrays*: nodes that are read outside their kernel lie in memory, the others in registers or
   in a row's scratch.
"""

import itertools
from collections.abc import Sequence
from typing import Any

from atled.compile.index import Affine, Split, Unaligned, Var, linearised
from atled.compile.kernel import FUSIBLE, REDUCTIONS, Kernel, accepts, check, read_at
from atled.compile.operations import COSTS
from atled.core.graph import ELEMENTWISE, Graph, Value

__all__ = ["LIBRARY", "Plan", "View", "pieces_of", "planned", "view_of"]

MOVEMENT = frozenset("reshape permute_dims broadcast_to slice".split())
# Computed by a routine of their own: never inlined, operands and results in memory.
LIBRARY = frozenset(
    """
matmul conv conv_input conv_weight scatter_nd_add scatter_nd_set cumulative_sum cumulative_prod
argsort searchsorted call concat pool_places pool_take pool_spread
""".split()
)
INLINED = frozenset({"concat", "place"})  # their operands need not lie in memory
CHEAP = 2.0  # cycles: computing that again is better than a trip through memory
LARGEST = 400  # members of a kernel
DEEP = 60  # operations on the way to a node: expressions are walked recursively


class View:
    """An array seen through movement: where its elements lie in the memory of another.

    Attributes:
        base: the array in memory.
        offset: of the first element, in elements.
        strides: from one element to the next along each axis, in elements.
    """

    __slots__ = ("base", "offset", "strides")

    def __init__(self, base: Value, offset: int, strides: tuple[int, ...]) -> None:
        self.base, self.offset, self.strides = base, offset, strides


def view_of(value: Value, arrays: set[Value]) -> View | None:
    """Return a value as a view of an array, or None if it is not one."""
    axes = [Var(n, f"i{k}") for k, n in enumerate(value.shape)]
    at = linearised(tuple([Affine.of(v) for v in axes]), value.shape)
    try:
        expr = read_at(value, at, arrays)
    except (Split, Unaligned):
        return None
    if expr.op != "load" or expr.args or expr.source is None:
        return None
    return View(expr.source, expr.at.constant, tuple([expr.at.coefficient(v) for v in axes]))


def is_library(value: Value) -> bool:
    """Say whether a routine computes a value.

    A place with gaps that do not divide its axis is not linear in any loops over the result: a
    kernel over its operand writes it instead.
    """
    if value.op != "place":
        return value.op in LIBRARY
    steps = zip(value.static["index"], value.shape, strict=True)
    return any(n % abs(step) for (_, _, step), n in steps)


def pieces_of(value: Value) -> list[Kernel]:
    """Return a kernel for each part of a concatenation (or a place) that writes it there."""
    if value.op == "place":
        return [_piece(value, value.inputs[0], [(i[0], i[2]) for i in value.static["index"]])]
    start, axis, found = 0, value.static["axis"], []
    for x in value.inputs:
        found.append(
            _piece(value, x, [(start if i == axis else 0, 1) for i in range(len(x.shape))])
        )
        start += x.shape[axis]
    return found


def _piece(value: Value, x: Value, index: list[tuple[int, int]]) -> Kernel:
    piece = Value("reshape", (x,), {"shape": x.shape}, x.shape, x.dtype)
    kernel = Kernel(x.size, [piece], {piece})
    kernel.into[piece] = (value, tuple(index))
    return kernel


class Plan:
    """What a program does.

    Attributes:
        steps: kernels, and values that a library call computes, in order.
        arrays: every value with a place in memory.
    """

    def __init__(self, steps: list[Kernel | Value], arrays: set[Value]) -> None:
        self.steps, self.arrays = steps, arrays


def planned(graph: Graph, alone: Sequence[Value] = ()) -> Plan:
    """Decide what is computed together.

    Args:
        alone: values that have a kernel of their own: other steps wait for them.
    """
    nodes = _nodes(graph)
    while True:
        try:
            return _Grouping(graph, nodes, set(alone)).plan()
        except Unaligned as error:
            if error.value is None or error.value in nodes:
                raise
            nodes.add(error.value)


def _nodes(graph: Graph) -> set[Value]:
    """Return the values that are computed by themselves."""
    arrays = {v for v in graph.values if v.op == "input" or is_library(v)}
    found = {v for v in graph.outputs if v.op != "input"} | (arrays - set(graph.inputs))
    users = graph.users()
    for v in graph.values:
        if v.op in REDUCTIONS:
            found.add(v)
        elif v.op == "gather_nd" and v.inputs[0].op in FUSIBLE:
            found.add(v.inputs[0])
        elif is_library(v) and v.op not in INLINED:
            found |= {_in_memory(x, v) for x in v.inputs}
    costs: dict[Value, float] = {}
    depths: dict[Value, int] = {}
    for v in graph.values:
        costs[v] = depths[v] = 0
        if v in found or v.op not in FUSIBLE:
            continue
        depths[v] = 1 + max([depths[x] for x in v.inputs], default=0)
        if depths[v] > DEEP:
            found.add(v)
            depths[v] = 0
            continue
        own = COSTS.get(v.op, 1) if v.op in ELEMENTWISE - {"astype"} else 0.0
        costs[v] = own + sum(costs[x] for x in v.inputs)
        readers = len(set(_readers(v, users)))
        if v.op in ELEMENTWISE and readers > 1 and costs[v] > CHEAP:
            found.add(v)
            costs[v] = 0.0
    return {v for v in found if v.op != "input" and v.size}


def _readers(value: Value, users: dict[Value, list[Value]]) -> list[Value]:
    """Return what reads a value, through movement."""
    found, stack = [], list(users[value])
    while stack:
        user = stack.pop()
        if user.op in MOVEMENT:
            stack += users[user]
        else:
            found.append(user)
    return found


def _in_memory(operand: Value, user: Value) -> Value:
    """Return what must lie in memory for a library call: the operand, or what it is a view of."""
    base = operand
    while base.op in MOVEMENT:
        base = base.inputs[0]
    if user.op != "matmul" or base is operand:
        return operand
    view = view_of(operand, {base})
    if view is None or base.op == "constant":
        return operand
    return base if 1 in view.strides[-2:] else operand


class _Step:
    """A kernel or library call on the way of grouping."""

    __slots__ = ("ancestors", "fixed", "kernel", "number", "reads", "value")

    def __init__(self, number: int, kernel: Kernel | None, value: Value) -> None:
        self.number, self.kernel, self.value = number, kernel, value
        self.fixed = value.op in REDUCTIONS
        self.ancestors = 0  # a bit for each step that this one needs
        self.reads: dict[Value, None] = {}  # in a fixed order, as everything here must be


class _Grouping:
    def __init__(self, graph: Graph, nodes: set[Value], alone: set[Value]) -> None:
        self.graph, self.nodes, self.alone = graph, nodes, alone
        self.arrays = nodes | set(graph.inputs)
        self.order = {v: i for i, v in enumerate(graph.values)}
        self.numbers = itertools.count()
        self.steps: dict[int, _Step] = {}
        self.step_of: dict[Value, _Step] = {}
        self.readers: dict[Value, list[_Step]] = {}
        self.inlined: dict[Value, tuple[Value, ...]] = {}

    def plan(self) -> Plan:
        for value in self.graph.values:
            if value in self.nodes:
                self._enter(value)
        self._store()
        order = self._ordered()
        steps = [step.kernel or step.value for step in order]
        stored = set(self.graph.inputs)
        for step in order:
            stored |= {step.value} if step.kernel is None else step.kernel.stored
        return Plan(steps, stored)

    def _sources(self, value: Value) -> tuple[Value, ...]:
        """Return the arrays and nodes that a value is computed from."""
        found = self.inlined.get(value)
        if found is None:
            parts: dict[Value, None] = {}
            for x in value.inputs:
                parts |= dict.fromkeys((x,) if x in self.arrays else self._sources(x))
            found = self.inlined[value] = tuple(parts)
        return found

    def _enter(self, value: Value) -> None:
        reads = self._sources(value)
        library = is_library(value)
        kernel = None if library else Kernel(value.size, [value], {value})
        step = _Step(next(self.numbers), kernel, value)
        step.reads = dict.fromkeys(reads)
        for x in reads:
            if x in self.step_of:
                step.ancestors |= self.step_of[x].ancestors | 1 << self.step_of[x].number
        self.steps[step.number] = self.step_of[value] = step
        if library and value.op in INLINED:
            for piece in pieces_of(value):
                check(piece, piece.members[0], self.arrays)
        if kernel is not None:
            check(kernel, value, self.arrays)
            for other in self._candidates(step):
                step = self._join(other, step) or step
        for x in reads:
            self.readers.setdefault(x, []).append(step)

    def _candidates(self, step: _Step) -> list[_Step]:
        """Return the kernels that a new one may join: those it reads from, then its siblings."""
        found: dict[int, _Step] = {}
        for x in sorted(step.reads, key=lambda v: -v.size):
            producer = self.step_of.get(x)
            if producer is not None and producer.kernel is not None:
                found[producer.number] = producer
        for x in step.reads:
            if x.size > 1:
                for sibling in self.readers.get(x, [])[-4:]:
                    sibling = self.step_of[sibling.value]
                    if sibling.kernel is not None:
                        found.setdefault(sibling.number, sibling)
        return list(found.values())

    def _join(self, a: _Step, b: _Step) -> _Step | None:
        """Put step b's members into a's kernel if that is allowed; return the joined step."""
        if a is b or self.steps.get(a.number) is not a or self.steps.get(b.number) is not b:
            return None
        first, second = a.kernel, b.kernel
        assert first is not None
        assert second is not None
        if not self.alone.isdisjoint((*first.members, *second.members)):
            return None
        if len(first.members) + len(second.members) > LARGEST or self._detour(a, b):
            return None
        rows = self._common_rows(a, b)
        if rows is None:
            return None
        members = sorted(first.members + second.members, key=self.order.__getitem__)
        joined = Kernel(rows, members, set(members))
        fresh = members
        if rows == first.rows and not any(m in a.reads for m in second.members):
            joined.cuts, fresh = dict(first.cuts), second.members
        if not all(accepts(joined, m, self.arrays) for m in fresh):
            return None
        return self._replace(a, b, joined)

    def _common_rows(self, a: _Step, b: _Step) -> int | None:
        first, second = a.kernel, b.kernel
        assert first is not None
        assert second is not None
        if first.rows == second.rows:
            return first.rows
        if a.fixed and b.fixed:
            return None
        rows = first.rows if a.fixed else second.rows if b.fixed else None
        if rows is None or (
            rows < 2 and max(m.size for m in first.members + second.members) > 4096
        ):
            return None
        flexible = second if a.fixed else first
        return rows if all(m.size % rows == 0 for m in flexible.members) else None

    def _detour(self, a: _Step, b: _Step) -> bool:
        """Say whether a path leads from one step to the other through a third."""
        for low, high in ((a, b), (b, a)):
            if not high.ancestors >> low.number & 1:
                continue
            for x in high.reads:
                producer = self.step_of.get(x)
                if producer is None or producer is low or producer is high:
                    continue
                if producer.ancestors >> low.number & 1:
                    return True
        return False

    def _replace(self, a: _Step, b: _Step, kernel: Kernel) -> _Step:
        step = _Step(a.number, kernel, b.value)
        step.fixed = a.fixed or b.fixed
        both = 1 << a.number | 1 << b.number
        step.ancestors = (a.ancestors | b.ancestors) & ~both
        inside = set(kernel.members)
        step.reads = {x: None for x in (*a.reads, *b.reads) if x not in inside}
        del self.steps[b.number]
        self.steps[a.number] = step
        for m in kernel.members:
            self.step_of[m] = step
        for other in self.steps.values():
            if other is not step and other.ancestors & both:
                other.ancestors = (other.ancestors & ~both) | 1 << a.number | step.ancestors
        return step

    def _store(self) -> None:
        """Keep in memory only what is read outside its kernel."""
        wanted = set(self.graph.outputs)
        for step in self.steps.values():
            for x in step.reads:
                if self.step_of.get(x) is not step:
                    wanted.add(x)
        for step in self.steps.values():
            if step.kernel is not None:
                step.kernel.stored &= wanted

    def _ordered(self) -> list[_Step]:
        done: dict[int, _Step] = {}

        def visit(step: _Step) -> None:
            stack: list[tuple[_Step, Any]] = [(step, self._needs(step))]
            while stack:
                current, rest = stack[-1]
                following = next(rest, None)
                if following is None:
                    done[current.number] = current
                    stack.pop()
                elif following.number not in done:
                    stack.append((following, self._needs(following)))

        for step in self.steps.values():
            if step.number not in done:
                visit(step)
        return list(done.values())

    def _needs(self, step: _Step) -> Any:
        found = {self.step_of[x].number: self.step_of[x] for x in step.reads if x in self.step_of}
        return iter([s for s in found.values() if s is not step])
