"""What a program does, step by step: `compiled.explain()` and the ladder of `ATLED_DEBUG`.

==  ==========================================================
1   each graph, as traced and simplified
2   its steps: kernels, library calls, eager calls
3   the program in LLVM's language
4   the time of each step, at every call
==  ==========================================================
"""

import os
from typing import Any

from atled.compile.steps import Step
from atled.core.graph import Value

__all__ = ["debug_level", "explain", "steps_table"]


def debug_level() -> int:
    """Return what `ATLED_DEBUG` says: 0 to 4.

    Raises:
        ValueError: it is no such number.
    """
    text = os.environ.get("ATLED_DEBUG", "") or "0"
    if text not in ("0", "1", "2", "3", "4"):
        raise ValueError(f"ATLED_DEBUG is a number from 0 to 4; found {text!r}")
    return int(text)


def explain(program: Any) -> str:
    """Return a description of a `program.Program`, for people."""
    levels = program.schedule.levels
    steps = [step for level in levels for step in level]
    kinds = [step.kind for step in steps]
    counts = ", ".join(
        f"{kinds.count(kind)} {name}" for kind, name in _KINDS.items() if kind in kinds
    )
    total = sum(step.flops for step in steps)
    head = [
        f"{len(program.graph.inputs)} inputs, {len(program.graph.outputs)} outputs; {counts}; "
        f"{len(levels)} levels",
        f"arena {_size(program.schedule.arena)}; {_count(total)}flop; "
        + ("on one thread: too small to share" if program.is_small else "shared by threads"),
    ]
    return "\n".join([*head, "", steps_table(levels)])


_KINDS = {"kernel": "kernels", "library": "library calls", "eager": "eager calls", "copy": "copies"}


def steps_table(levels: list[list[Step]]) -> str:
    """Return a line for each step: level, kind, name, units, bytes in and out, flops."""
    lines = [f"{'':>5}  {'kind':<8}{'units':>9}{'read':>10}{'written':>10}{'flop':>9}  what"]
    for number, level in enumerate(levels):
        for k, step in enumerate(level):
            read = sum(v.bytes for v in dict.fromkeys(step.reads))
            written = sum(v.bytes for v in step.writes)
            lines.append(
                f"{number if not k else '':>5}  {step.kind:<8}{step.units:>9}{_size(read):>10}"
                f"{_size(written):>10}{_count(step.flops):>9}  {step.title} -> {_shapes(step)}"
            )
    return "\n".join(lines)


def _shapes(step: Step) -> str:
    found = dict.fromkeys(_shape(v) for v in step.writes)
    return ", ".join(list(found)[:3]) + (", ..." if len(found) > 3 else "")


def _shape(value: Value) -> str:
    return f"{value.dtype.name}[{','.join(map(str, value.shape))}]"


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"


def _count(count: float) -> str:
    for unit in ("", "k", "M"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} G"
