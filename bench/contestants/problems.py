"""The work of each row of bench/compiled.py: its sizes, initial weights and inputs, as NumPy.

All contestants start from these arrays, so that their results can be compared: none does less
than the others. Weights stand in the order and the layout of PyTorch's parameters, (out, in).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

__all__ = ["GPT", "PROBLEMS", "Absent", "Problem", "Work"]

Arrays = dict[str, np.ndarray]


class Absent(Exception):
    """A contestant does not take part in a row; the message says why."""


@dataclass(frozen=True)
class Work:
    """What a contestant does for a row.

    Attributes:
        run: makes one call; the result is there when it returns.
        arrays: from what `run` returned last to NumPy arrays that all contestants share: the
            loss and how far each parameter has moved, or derivatives.
        note: says after the measurements what a reader of the times has to know.
    """

    run: Callable[[], object]
    arrays: Callable[[object], list[np.ndarray]]
    note: Callable[[], str] = lambda: ""


@dataclass(frozen=True)
class Problem:
    """A row of the table.

    Attributes:
        label: for people.
        kind: which function of a contestant's module makes its work.
        aim: how many times faster than the best peer atled means to be.
        size: elements, for the kinds that have no weights.
        seed: of weights and inputs.
    """

    label: str
    kind: str
    aim: float
    size: int = 0
    seed: int = 0

    def weights(self) -> Arrays:
        """Return the initial weights, by name, in the order of PyTorch's parameters."""
        return WEIGHTS[self.kind](np.random.default_rng(self.seed))

    def inputs(self) -> tuple[np.ndarray, ...]:
        """Return what a call is given: float32, class numbers as int64."""
        return INPUTS[self.kind](np.random.default_rng(self.seed + 1), self.size)


@dataclass(frozen=True)
class _GPT:
    """Sizes of the GPT: `vocabulary` characters, `context` of them in each of `batch` rows."""

    vocabulary: int = 96
    context: int = 64
    batch: int = 16
    width: int = 128
    heads: int = 4
    layers: int = 4


GPT = _GPT()

PROBLEMS = {
    "tiny": Problem("tiny net 8-16-1, batch 32, SGD step", "tiny", 5),
    "mlp": Problem("MLP 64-64-10, batch 32, Adam step", "mlp", 6),
    "mlp_large": Problem("MLP 784-512-512-10, batch 128, Adam step", "mlp_large", 1.35),
    "cnn": Problem("CNN 28×28, batch 64, Adam step", "cnn", 2),
    "gpt": Problem("GPT d=128, 4 layers, 4 heads, 16×64, AdamW step", "gpt", 2),
    "map1k": Problem("∇ Σ tanh(ab+1)·exp(-a²), 1,000 elements", "map", 2, 1_000),
    "map100k": Problem("∇ Σ tanh(ab+1)·exp(-a²), 100,000 elements", "map", 3, 100_000),
    "map1m": Problem("∇ Σ tanh(ab+1)·exp(-a²), 1,000,000 elements", "map", 3, 1_000_000),
    "hessian": Problem("Hessian of Rosenbrock, n = 100", "hessian", 2, 100),
    "recurrence": Problem("derivative of a recurrence, 200 × 4 operations", "recurrence", 1.5),
}


# -- initial weights ------------------------------------------------------------------------------


def _layer(rng: np.random.Generator, name: str, *shape: int, bias: bool = True) -> Arrays:
    """Return weight and bias of a linear or convolutional layer, from U(-k, k), k = 1/√inputs."""
    bound = 1 / math.sqrt(math.prod(shape[1:]))
    made = {f"{name}.weight": rng.uniform(-bound, bound, shape).astype(np.float32)}
    if bias:
        made[f"{name}.bias"] = rng.uniform(-bound, bound, shape[0]).astype(np.float32)
    return made


def _mlp(*widths: int) -> Callable[[np.random.Generator], Arrays]:
    def weights(rng: np.random.Generator) -> Arrays:
        made: Arrays = {}
        for i, (inside, outside) in enumerate(pairwise(widths)):
            made |= _layer(rng, str(i), outside, inside)
        return made

    return weights


def _cnn(rng: np.random.Generator) -> Arrays:
    return {
        **_layer(rng, "conv1", 32, 1, 3, 3),
        **_layer(rng, "conv2", 64, 32, 3, 3),
        **_layer(rng, "linear", 10, 64 * 7 * 7),
    }


def _gpt(rng: np.random.Generator) -> Arrays:
    width = GPT.width

    def table(rows: int) -> np.ndarray:
        return (0.02 * rng.standard_normal((rows, width))).astype(np.float32)

    def norm(name: str) -> Arrays:
        return {
            f"{name}.weight": np.ones(width, np.float32),
            f"{name}.bias": np.zeros(width, np.float32),
        }

    made = {"token.weight": table(GPT.vocabulary), "position.weight": table(GPT.context)}
    for i in range(GPT.layers):
        made |= norm(f"{i}.norm1")
        made |= _layer(rng, f"{i}.qkv", 3 * width, width, bias=False)
        made |= _layer(rng, f"{i}.out", width, width)
        made |= norm(f"{i}.norm2")
        made |= _layer(rng, f"{i}.up", 4 * width, width)
        made |= _layer(rng, f"{i}.down", width, 4 * width)
    return made | norm("norm") | _layer(rng, "head", GPT.vocabulary, width, bias=False)


WEIGHTS: dict[str, Callable[[np.random.Generator], Arrays]] = {
    "tiny": _mlp(8, 16, 1),
    "mlp": _mlp(64, 64, 10),
    "mlp_large": _mlp(784, 512, 512, 10),
    "cnn": _cnn,
    "gpt": _gpt,
}


# -- inputs ---------------------------------------------------------------------------------------


def _batch(*shape: int, classes: int = 10) -> Callable[..., tuple[np.ndarray, ...]]:
    """Return a maker of normal numbers of a shape, and a class for each row."""

    def inputs(rng: np.random.Generator, size: int) -> tuple[np.ndarray, ...]:
        x = rng.standard_normal(shape).astype(np.float32)
        return x, rng.integers(0, classes, shape[0])

    return inputs


def _regression(rng: np.random.Generator, size: int) -> tuple[np.ndarray, ...]:
    return tuple(rng.standard_normal((32, n)).astype(np.float32) for n in (8, 1))


def _text(rng: np.random.Generator, size: int) -> tuple[np.ndarray, ...]:
    text = rng.integers(0, GPT.vocabulary, (GPT.batch, GPT.context + 1))
    return np.ascontiguousarray(text[:, :-1]), np.ascontiguousarray(text[:, 1:])


def _vectors(count: int) -> Callable[..., tuple[np.ndarray, ...]]:
    def inputs(rng: np.random.Generator, size: int) -> tuple[np.ndarray, ...]:
        return tuple(rng.standard_normal(size).astype(np.float32) for _ in range(count))

    return inputs


INPUTS: dict[str, Callable[..., tuple[np.ndarray, ...]]] = {
    "tiny": _regression,
    "mlp": _batch(32, 64),
    "mlp_large": _batch(128, 784),
    "cnn": _batch(64, 1, 28, 28),
    "gpt": _text,
    "map": _vectors(2),
    "hessian": _vectors(1),
    "recurrence": lambda rng, size: (np.array(0.5, np.float32),),
}
