"""The work of each row of bench/transforms.py: functions, inputs, and what is asked of them.

A function is written once, over a library whose names are NumPy's: atled, torch, jax.numpy and
autograd.numpy. A contestant's module has the transforms, by the names of `Derivative.ask`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from contestants.models import rosenbrock

__all__ = ["DERIVATIVES", "FUNCTIONS", "WIDE", "Derivative", "lotka", "wide"]


@dataclass(frozen=True)
class Derivative:
    """A row of the table.

    Attributes:
        label: for people.
        function: a name in `FUNCTIONS` and in `_INPUTS`.
        ask: "value", "gradient", "jacobian", "hessian", "hvp", "per-sample" or "vmap".
        size: of the inputs, where they have a free one.
    """

    label: str
    function: str
    ask: str
    size: int = 0

    def inputs(self) -> tuple[Any, ...]:
        """Return what a call is given: float32, in lists where there are several parameters.

        For "hvp" the second is the direction, nested as the first.
        """
        rng = np.random.default_rng(0)
        given = _INPUTS[self.function](rng, self.size)
        if self.ask == "hvp":
            return given[0], [_normal(rng, *w.shape) for w in given[0]], *given[1:]
        return given


_DIGITS = (64, 32, 10)

DERIVATIVES = {
    "softmax": Derivative("Jacobian of softmax(W x), n = 100", "softmax", "jacobian", 100),
    "step": Derivative("Jacobian of a Lorenz-96 RK4 step, n = 100", "lorenz", "jacobian", 100),
    "hessian": Derivative("Hessian of Rosenbrock, n = 100", "rosenbrock", "hessian", 100),
    "hvp": Derivative("hvp of an MLP 64-32-10, batch 64", "network", "hvp", 64),
    "samples": Derivative("64 per-sample gradients, MLP 64-32-10", "sample", "per-sample", 64),
    "vmap": Derivative("vmap of a small function, 1,000 × 8", "small", "vmap", 1000),
    "scalar": Derivative("gradient of sin(x) x, a number", "scalar", "gradient"),
}
_COSTS = {
    "rosenbrock": ("Rosenbrock, n = 100,000", "rosenbrock", 100_000),
    "mlp": ("MLP 64-32-10, batch 64", "network", 64),
    "lotka": ("Lotka-Volterra, 50 RK4 steps", "lotka", 50),
    "logdet": ("log-determinant, n = 100", "logdet", 100),
}
for _name, (_label, _function, _size) in _COSTS.items():
    for _ask in ("value", "gradient"):
        DERIVATIVES[f"{_name} {_ask}"] = Derivative(f"{_label}: {_ask}", _function, _ask, _size)


# -- functions ------------------------------------------------------------------------------------


def _softmax(lib: Any) -> Callable[..., Any]:
    def function(x: Any, w: Any) -> Any:
        e = lib.exp(w @ x)
        return e / e.sum()

    return function


def _runge_kutta(slope: Callable[[Any], Any], x: Any, step: float) -> Any:
    a = slope(x)
    b = slope(x + (step / 2) * a)
    c = slope(x + (step / 2) * b)
    d = slope(x + step * c)
    return x + (step / 6) * (a + 2 * b + 2 * c + d)


def _lorenz(lib: Any) -> Callable[..., Any]:
    """Return a Runge-Kutta step of Lorenz's model of 1996: uᵢ' = (uᵢ₊₁ - uᵢ₋₂) uᵢ₋₁ - uᵢ + 8."""

    def slope(u: Any) -> Any:
        return (lib.roll(u, -1) - lib.roll(u, 2)) * lib.roll(u, 1) - u + 8.0

    return lambda u: _runge_kutta(slope, u, 0.05)


def _network(lib: Any) -> Callable[..., Any]:
    """Return the mean cross entropy of an MLP; targets are one-hot."""

    def function(p: Any, x: Any, y: Any) -> Any:
        z = lib.tanh(x @ p[0] + p[1]) @ p[2] + p[3]
        logs = z - lib.log(lib.exp(z).sum(-1))[..., None]
        return -(y * logs).sum(-1).mean()

    return function


def _small(lib: Any) -> Callable[..., Any]:
    return lambda a, b: (lib.sin(a) * b).sum() / (1 + (a * a).sum())


def _repeated(step: Callable[..., Any], state: tuple[Any, ...], times: int) -> tuple[Any, ...]:
    for _ in range(times):
        state = step(*state)
    return state


def lotka(lib: Any, loop: Callable[..., tuple[Any, ...]] = _repeated) -> Callable[..., Any]:
    """Return u² + v² of where prey and predators end, as a function of the four rates p.

    u' = u (p₀ - p₁ v), v' = v (p₃ u - p₂), by 50 steps of Runge and Kutta's method.
    """

    def function(p: Any) -> Any:
        def slope(u: Any, v: Any) -> tuple[Any, Any]:
            return u * (p[0] - p[1] * v), v * (p[3] * u - p[2])

        def step(u: Any, v: Any) -> tuple[Any, Any]:
            half, whole = 0.025, 0.05
            a, e = slope(u, v)
            b, f = slope(u + half * a, v + half * e)
            c, g = slope(u + half * b, v + half * f)
            d, h = slope(u + whole * c, v + whole * g)
            du, dv = a + 2 * b + 2 * c + d, e + 2 * f + 2 * g + h
            return u + (whole / 6) * du, v + (whole / 6) * dv

        one = 1.0 + 0 * p[0]
        u, v = loop(step, (one, one), 50)
        return u * u + v * v

    return function


FUNCTIONS: dict[str, Callable[[Any], Callable[..., Any]]] = {
    "softmax": _softmax,
    "lorenz": _lorenz,
    "rosenbrock": lambda lib: rosenbrock,
    "network": _network,
    "sample": _network,
    "small": _small,
    "scalar": lambda lib: lambda x: lib.sin(x) * x,
    "lotka": lotka,
    "logdet": lambda lib: lambda a: lib.linalg.slogdet(a)[1],
}


# -- inputs ---------------------------------------------------------------------------------------


def _normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape).astype(np.float32)


def _digits(rng: np.random.Generator, size: int) -> tuple[Any, ...]:
    parameters: list[np.ndarray] = []
    for inside, outside in pairwise(_DIGITS):
        parameters += [_normal(rng, inside, outside) / np.float32(math.sqrt(inside))]
        parameters += [_normal(rng, outside)]
    classes = np.eye(_DIGITS[-1], dtype=np.float32)
    return parameters, _normal(rng, size, _DIGITS[0]), classes[rng.integers(0, 10, size)]


def _vector(rng: np.random.Generator, size: int) -> tuple[Any, ...]:
    return (_normal(rng, size),)


def _weighted(rng: np.random.Generator, size: int) -> tuple[Any, ...]:
    return _normal(rng, size), _normal(rng, size, size) / np.float32(math.sqrt(size))


def _definite(rng: np.random.Generator, size: int) -> tuple[Any, ...]:
    a = _normal(rng, size, size)
    return (a @ a.T / np.float32(size) + np.eye(size, dtype=np.float32),)


_INPUTS: dict[str, Callable[[np.random.Generator, int], tuple[Any, ...]]] = {
    "softmax": _weighted,
    "lorenz": _vector,
    "rosenbrock": _vector,
    "network": _digits,
    "sample": _digits,
    "small": lambda rng, size: (_normal(rng, size, 8), _normal(rng, size, 8)),
    "scalar": lambda rng, size: (np.array(0.5, np.float32),),
    "lotka": lambda rng, size: (np.array([1.1, 0.4, 0.4, 0.1], np.float32),),
    "logdet": _definite,
}


# -- a Jacobian that is small where what lies between is not --------------------------------------

WIDE = (400, 500)  # variables and results; how much larger what lies between is


def wide(lib: Any, c: Any) -> Callable[[Any], Any]:
    """Return x ↦ Σⱼ tanh(xᵢ cⱼ + x₀): 400 results, with 200,000 numbers on the way."""
    return lambda x: lib.tanh(x[:, None] * c[None, :] + x[0]).sum(-1)
