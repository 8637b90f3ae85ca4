"""When each step runs, and where each array lies.

Steps are put in *levels*: a step's level is one more than the highest of those it waits for. The
steps of a level are independent, and threads share all of them at once; levels run in order.

What lies between steps shares one arena: two arrays may have the same place if no level needs
both. State that is replaced by a new value of itself (a parameter, a moment) is written in place
where nothing still reads the old value; where something does, into the arena first, and copied
when all is done.
"""

from collections.abc import Iterable

from atled.compile.steps import Step
from atled.core.graph import Graph, Value

__all__ = ["Schedule", "scheduled"]

LINE = 64  # bytes: arrays begin at a cache line


class Schedule:
    """The order of a program, and its memory.

    Attributes:
        levels: the steps of each level.
        offsets: arrays in the arena, and where they begin, in bytes.
        arena: its size in bytes.
        inplace: outputs that are written into the memory of an input.
        copied: outputs computed in the arena, to be copied into that of an input at the end.
        tested: the tests that each level computes; the program stops there if one is false.
    """

    def __init__(self, levels: list[list[Step]]) -> None:
        self.levels = levels
        self.offsets: dict[Value, int] = {}
        self.arena = 0
        self.inplace: dict[Value, Value] = {}
        self.copied: dict[Value, Value] = {}
        self.tested: dict[int, list[Value]] = {}


def scheduled(
    graph: Graph, steps: list[Step], aliases: dict[Value, Value], tests: list[Value]
) -> Schedule:
    """Order the steps and place the arrays.

    Args:
        aliases: output -> the input whose memory it shall have in the end.
        tests: outputs that must be there before any memory of an input is written.
    """
    writers = {v: step for step in steps for v in step.writes}
    readers: dict[Value, list[Step]] = {}
    for step in steps:
        for v in step.reads:
            readers.setdefault(v, []).append(step)
    waits: dict[Step, set[Step]] = {
        step: {writers[v] for v in step.reads if v in writers and writers[v] is not step}
        for step in steps
    }
    before = {writers[v] for v in tests if v in writers}
    _after_tests(steps, waits, before)
    inplace, copied = _in_place(aliases, steps, writers, readers, waits, before)
    plan = Schedule(_levels(steps, waits))
    plan.inplace, plan.copied = inplace, copied
    wanted = set(tests)
    for i, level in enumerate(plan.levels):
        found = [v for step in level for v in step.writes if v in wanted]
        if found:
            plan.tested[i] = found
    _place(plan, graph, readers, writers)
    return plan


def _after_tests(steps: list[Step], waits: dict[Step, set[Step]], before: set[Step]) -> None:
    """Make what goes to computed places wait for the tests that they are inside.

    Where a test itself reads at computed places, it and what leads to it wait for the tests that
    come before it.
    """
    if not before:
        return
    behind = _behind(steps, waits)
    tests = [step for step in _sorted(steps, waits) if step in before]
    for step in steps:
        if step.dynamic:
            leads = [test is step or behind[step] >> test.number & 1 for test in tests]
            first = leads.index(True) if any(leads) else len(tests)
            waits[step] |= set(tests[:first])


def _in_place(
    aliases: dict[Value, Value],
    steps: list[Step],
    writers: dict[Value, Step],
    readers: dict[Value, list[Step]],
    waits: dict[Step, set[Step]],
    before: set[Step],
) -> tuple[dict[Value, Value], dict[Value, Value]]:
    """Decide which outputs may be written over their inputs, and make them wait for readers."""
    behind = _behind(steps, waits)
    eager = any(step.eager is not None for step in steps)
    inplace: dict[Value, Value] = {}
    copied: dict[Value, Value] = {}
    taken: set[Value] = set()
    for output, source in aliases.items():
        writer = writers.get(output)
        others = [s for s in {*readers.get(source, []), *before} if s is not writer]
        if (
            writer is None
            or eager  # a call that raises must leave the state as it was
            or writer in before
            or (source in writer.reads and (output, source) not in writer.in_order)
            or any(behind[writer] >> s.number & 1 for s in others)
            or source in taken
        ):
            copied[output] = source
            continue
        inplace[output] = source
        taken.add(source)
        waits[writer] |= set(others)
        _now_behind(behind, writer, others)
    return inplace, copied


def _behind(steps: list[Step], waits: dict[Step, set[Step]]) -> dict[Step, int]:
    """Return for each step, as bits by their numbers, the steps that need it."""
    for i, step in enumerate(steps):
        step.number = i
    needs: dict[Step, list[Step]] = {step: [] for step in steps}
    for step in steps:
        for other in waits[step]:
            needs[other].append(step)
    found: dict[Step, int] = {}
    for step in reversed(_sorted(steps, waits)):
        bits = 0
        for later in needs[step]:
            bits |= found[later] | 1 << later.number
        found[step] = bits
    return found


def _now_behind(behind: dict[Step, int], later: Step, others: list[Step]) -> None:
    """Take in that a step waits for some others."""
    bits = sum(1 << s.number for s in others)
    gain = behind[later] | 1 << later.number
    for step, found in behind.items():
        if found & bits or bits >> step.number & 1:
            behind[step] = found | gain


def _sorted(steps: list[Step], waits: dict[Step, set[Step]]) -> list[Step]:
    """Return the steps so that each stands behind those it waits for."""
    done: dict[Step, None] = {}
    for root in steps:
        stack = [(root, iter(sorted(waits[root], key=lambda s: s.number)))]
        while stack:
            step, rest = stack[-1]
            following = next((s for s in rest if s not in done), None)
            if following is None:
                done[step] = None
                stack.pop()
            else:
                stack.append((following, iter(sorted(waits[following], key=lambda s: s.number))))
    return list(done)


def _levels(steps: list[Step], waits: dict[Step, set[Step]]) -> list[list[Step]]:
    """Return the steps by level; an eager call has a level of its own."""
    level: dict[Step, int] = {}
    levels: list[list[Step]] = []
    floor = 0
    for step in _sorted(steps, waits):
        at = max([level[s] + 1 for s in waits[step]], default=floor)
        at = max(at, floor)
        if step.eager is not None:
            at = floor = len(levels)
            floor += 1
        level[step] = at
        while len(levels) <= at:
            levels.append([])
        levels[at].append(step)
    return levels


def _place(
    plan: Schedule, graph: Graph, readers: dict[Value, list[Step]], writers: dict[Value, Step]
) -> None:
    level = {step: i for i, steps in enumerate(plan.levels) for step in steps}
    outside = set(graph.inputs) | (set(graph.outputs) - set(plan.copied))
    spans: dict[Value, tuple[int, int]] = {}
    for v, writer in writers.items():
        if v in outside:
            continue
        last = max([level[s] for s in readers.get(v, [])], default=level[writer])
        if v in plan.copied or v in graph.outputs:
            last = len(plan.levels)
        spans[v] = (level[writer], last)
    taken: list[tuple[int, int, int, int]] = []  # first and last level, start and end
    for v in sorted(spans, key=lambda v: (-v.bytes, spans[v])):
        first, last = spans[v]
        size = -(-max(v.bytes, 1) // LINE) * LINE
        start = _gap(((a, b) for f, l, a, b in taken if f <= last and first <= l), size)
        plan.offsets[v] = start
        taken.append((first, last, start, start + size))
        plan.arena = max(plan.arena, start + size)


def _gap(busy: Iterable[tuple[int, int]], size: int) -> int:
    """Return the first place with room, among places that are taken."""
    at = 0
    for start, end in sorted(busy):
        if start - at >= size:
            break
        at = max(at, end)
    return at
