"""What is computed together, in which order, and where it lies; and a corpus of small programs.

The corpus: `corpus/NAME.graph` is a traced graph, `corpus/NAME.plan` what the compiler makes of it,
simplified and by levels. After a change that means to change plans, write them anew with
``ATLED_WRITE_CORPUS=1 pytest tests/compile/test_fuse.py -k corpus`` and read the difference.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import atled as at

pytest.importorskip("llvmlite", reason="programs are compiled by llvmlite")

from atled.compile.fuse import Plan, planned
from atled.compile.kernel import Kernel
from atled.compile.program import Program
from atled.compile.simplify import simplified
from atled.core.graph import Graph, Value, parse
from atled.nn import functional as F
from tests.compile.primitives import RandomGraph
from tests.compile.programs import compared, examined, graph_of, leaf, tensors, traced

CORPUS = Path(__file__).parent / "corpus"
NAMES = sorted(path.stem for path in CORPUS.glob("*.graph"))

of = Value.of


def floats(*shape: int) -> Any:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def plan_of(function: Any, *arrays: Any) -> Plan:
    return planned(simplified(traced(function, *tensors(*arrays))[0]))


def operations(plan: Plan) -> list[set[str]]:
    """Return the operations of each kernel's members, and of library calls."""
    return [
        {m.op for m in part.members} if isinstance(part, Kernel) else {part.op}
        for part in plan.steps
    ]


# -- what is computed together


def test_softmax_is_one_kernel() -> None:
    assert len(plan_of(lambda x: at.softmax(x, axis=-1), floats(4, 5, 33)).steps) == 1


def test_layer_norm_is_one_kernel() -> None:
    plan = plan_of(
        lambda x, g, b: F.layer_norm(x, (64,), g, b), floats(8, 64), floats(64), floats(64)
    )
    assert len(plan.steps) == 1


def test_elementwise_operations_are_one_kernel() -> None:
    def function(a: Any, b: Any) -> Any:
        loss = (at.tanh(a * b + 1) * at.exp(-a * a)).sum()
        return at.autograd.grad(loss, [a, b])

    assert len(plan_of(function, floats(1000), floats(1000)).steps) == 1


def test_sums_of_one_array_are_one_kernel() -> None:
    def function(x: Any) -> Any:
        return x.sum(axis=1), x.max(axis=1), (x * x).sum(axis=1)

    assert operations(plan_of(function, floats(5, 17))) == [{"sum", "max"}]


def test_movement_is_not_computed() -> None:
    def function(x: Any) -> Any:
        return x.permute_dims((1, 0, 2)).flip(1)[::2].reshape(6, 5).exp()

    assert operations(plan_of(function, floats(3, 4, 5))) == [{"exp"}]


def test_operands_of_products_are_not_turned_in_memory() -> None:
    plan = plan_of(lambda a, b: (a.mT @ b, b @ b.mT), floats(2, 16, 8), floats(2, 16, 16))
    assert operations(plan) == [{"matmul"}, {"matmul"}]


def test_no_kernel_waits_for_itself() -> None:
    """A sum and what follows it cannot be one kernel if the path leads through a product."""

    def function(x: Any) -> Any:
        y = at.tanh(x)
        return y + (y @ y).sum(axis=1, keepdims=True)

    assert operations(plan_of(function, floats(16, 16)))[1] == {"matmul"}


def test_what_a_gather_reads_is_complete_before() -> None:
    x, places = leaf(floats(3, 4)), leaf(np.zeros(2, np.int64))
    negative = of("negative", of("sin", x))
    gathered = of("gather_nd", negative, places)
    graph = graph_of(gathered, negative, of("sum", gathered, axis=(0,)))
    for part in planned(simplified(graph)).steps:
        assert isinstance(part, Kernel)
        assert not {"negative", "gather_nd"} <= {m.op for m in part.members}
    compared(graph, [floats(3, 4), np.array([2, 0])])


def test_a_kernel_is_asked_again_when_a_new_member_is_what_it_reads() -> None:
    x, y = leaf(floats(2, 2)), leaf(floats(2, 2))
    negative = of("negative", of("multiply", of("sin", x), of("cos", y)))
    turned = of("permute_dims", negative, axes=(1, 0))
    graph = graph_of(of("sum", turned, axis=(1,)), of("add", negative, y))
    compared(graph, [floats(2, 2), floats(2, 2) + 1])


def test_parts_of_a_concatenation_suit_operand_and_target() -> None:
    x = leaf(np.ones((1, 8, 7, 1), np.float32))
    wide = of("place", x, index=((0, 1, 1), (0, 8, 1), (0, 7, 1), (0, 1, 1)), shape=(1, 8, 7, 3))
    part = of("reshape", of("permute_dims", wide, axes=(3, 0, 1, 2)), shape=(7, 8, 3))
    compared(graph_of(of("concat", part, part, axis=0)), [np.ones((1, 8, 7, 1), np.float32)])


# -- what always holds


@pytest.mark.parametrize("first", range(0, 400, 100))
def test_every_value_is_written_once_and_before_it_is_read(first: int) -> None:
    for seed in range(first, first + 100):
        graph = simplified(RandomGraph(seed).graph)
        plan = planned(graph)
        known, written = set(graph.inputs), set(graph.inputs)
        for part in plan.steps:
            members = part.members if isinstance(part, Kernel) else [part]
            assert known.isdisjoint(members), f"seed {seed}"
            known |= set(members)
            written |= part.stored if isinstance(part, Kernel) else {part}
        assert written == plan.arrays, f"seed {seed}"
        assert {v for v in graph.outputs if v.size} <= written, f"seed {seed}"


@pytest.mark.parametrize("first", range(0, 60, 20))
def test_levels_and_places_keep_arrays_apart(first: int) -> None:
    for seed in range(first, first + 20):
        drawn = RandomGraph(seed, steps=30)
        _check_schedule(Program(drawn.graph, drawn.aliases()))


def _check_schedule(program: Program) -> None:
    schedule = program.schedule
    level = {v: n for n, steps in enumerate(schedule.levels) for s in steps for v in s.writes
             if s.kind != "copy"}  # fmt: skip
    last = dict(level)
    for n, steps in enumerate(schedule.levels):
        for step in steps:
            for v in step.reads:
                assert v not in level or level[v] < n
                last[v] = max(last.get(v, 0), n)
    for output, source in schedule.inplace.items():
        readers = [n for n, steps in enumerate(schedule.levels) for s in steps
                   if source in s.reads and output not in s.writes]  # fmt: skip
        assert all(n < level[output] for n in readers)
    spans = [(v, start, start + v.bytes) for v, start in schedule.offsets.items()]
    for i, (a, start, end) in enumerate(spans):
        assert start % 64 == 0
        assert end <= schedule.arena
        for b, first, behind in spans[:i]:
            apart = last[a] < level[b] or last[b] < level[a]
            assert apart or end <= first or behind <= start


# -- the corpus


@pytest.mark.parametrize("name", NAMES)
def test_corpus(name: str) -> None:
    graph = parse((CORPUS / f"{name}.graph").read_text())
    found = _description(graph)
    path = CORPUS / f"{name}.plan"
    if os.environ.get("ATLED_WRITE_CORPUS"):
        path.write_text(found)
    assert found == path.read_text()


def test_the_corpus_is_there() -> None:
    assert len(NAMES) >= 10


def _description(graph: Graph) -> str:
    """Return the simplified graph, and the titles of each level's steps."""
    levels = Program(graph).schedule.levels
    titles = [f"level {n}: " + "; ".join(sorted(s.title for s in steps))
              for n, steps in enumerate(levels)]  # fmt: skip
    return "\n".join([str(examined(graph)), *titles, ""])
