"""What the generated tests run: every record and every composite, with its samples.

An operation adds no test code. A subject is a record (`Op`) or a composite; a case is a subject
and one of its samples.
"""

import random
from typing import Any

import pytest

import atled as at
from atled.core.apply import apply
from atled.core.op import REGISTRY, Absent, Op, Sample
from atled.core.surface import COMPOSITES
from atled.core.tensor import Tensor
from tests.exemptions import UNTESTED

__all__ = ["Subject", "cases", "differentiable", "floating", "operands_of", "perform"]

# Functions that take arrays under other names than their first ones, or as one sequence.
NAMES: dict[str, tuple[str, ...]] = {
    "gather": ("x", "index"),
    "scatter": ("x", "index", "src"),
    "scatter_add": ("x", "index", "src"),
    "scatter_reduce": ("x", "index", "src"),
    "index_add": ("x", "index", "source"),
    "index_copy": ("x", "index", "source"),
    "index_fill": ("x", "index", "value"),
    "index_put": ("x", "values"),
}
SEQUENCES = {"concat", "stack", "hstack", "vstack", "dstack", "column_stack"}
Subject = Any  # an Op or a Composite


def cases(composites: bool = True) -> list[Any]:
    """Return a parameter for each sample of each subject."""
    subjects: list[Any] = [op for name, op in REGISTRY.items() if name not in UNTESTED]
    subjects += list(COMPOSITES.values()) if composites else []
    return [
        pytest.param(subject, sample, id=f"{subject.name}-{i}")
        for subject in subjects
        for i, sample in enumerate(subject.samples)
    ]


def operands_of(
    subject: Subject, sample: Sample, dtype: Any = at.float64, seed: int = 0
) -> list[Tensor]:
    """Make a sample's operands: random in the domain for a shape, as given for a list.

    With another seed the random ones are others, floats of a list are scaled, and integers and
    truths turned around along the first axis: as many, and in the same range.
    """
    dice = random.Random(f"{subject.name}{seed or ''}")
    low, high = sample.domain or subject.domain
    made = []
    for operand in sample.operands:
        if isinstance(operand, tuple):
            size = 1
            for n in operand:
                size *= n
            values = [dice.uniform(low, high) for _ in range(size)]
            made.append(at.reshape(at.tensor(values, dtype=dtype), operand))
        else:
            t = at.tensor(operand)
            if t.dtype.is_floating_point:
                made.append(t.astype(dtype) * (1 + seed / 8))
            else:
                made.append(at.roll(t, seed, 0) if seed else t)
    return made


def perform(subject: Subject, operands: Any, static: Any) -> Any:
    """Run a subject on operands."""
    if isinstance(subject, Op):
        return apply(subject, *operands, **static)
    if subject.name in SEQUENCES:
        return subject.function(list(operands), **static)
    if subject.name in NAMES:
        return subject.function(**dict(zip(NAMES[subject.name], operands, strict=True)), **static)
    if "equation" in static:
        return subject.function(static["equation"], *operands)
    return subject.function(*operands, **static)


def differentiable(subject: Subject) -> bool:
    """Say whether a subject may have a derivative."""
    return not isinstance(subject, Op) or not isinstance(subject.derivative, Absent)


def floating(operands: Any) -> list[int]:
    """Return the positions of the operands that may have a gradient."""
    return [i for i, x in enumerate(operands) if x.dtype.is_floating_point]
