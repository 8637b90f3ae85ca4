"""atled, compiled and eager."""

from collections.abc import Callable
from typing import Any

import numpy as np
from contestants import models
from contestants.problems import Absent, Problem, Work

import atled as at

__all__ = ["work"]


def work(problem: Problem, variant: str) -> Work:
    """Return the work of a row; the variant is "eager" or "compile".

    Raises:
        Absent: this atled has no `compile`.
    """
    if variant == "compile" and not hasattr(at, "compile"):
        raise Absent("this atled has no compile")
    compiled: Callable[..., Any] = at.compile if variant == "compile" else lambda f: f
    made = _training if problem.kind in models.MODELS else DERIVATIVES[problem.kind]
    return made(problem, compiled)


def _work(f: Any, inputs: Any, arrays: Callable[[Any], list[np.ndarray]]) -> Work:
    """Return the work of calling f; if it is compiled, the note tells of what ran eagerly."""

    def note() -> str:
        stats = f.stats() if hasattr(f, "stats") else None
        return f"{stats.eager} of {stats.calls} calls ran eagerly" if stats and stats.eager else ""

    return Work(lambda: f(*inputs), arrays, note)


def _training(problem: Problem, compiled: Callable[..., Any]) -> Work:
    model = models.MODELS[problem.kind](at)
    start = list(problem.weights().values())
    named = zip(model.state_dict(), start, strict=True)
    model.load_state_dict({name: at.asarray(w) for name, w in named})
    kinds = {"tiny": at.optim.SGD, "gpt": at.optim.AdamW}
    lr = 0.01 if problem.kind == "tiny" else 1e-3
    optimizer = kinds.get(problem.kind, at.optim.Adam)(model.parameters(), lr=lr)
    measure = models.loss_of(at, problem.kind)

    @compiled
    def step(x: Any, y: Any) -> Any:
        loss = measure(model(x), y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss

    inputs = [at.asarray(a) for a in problem.inputs()]

    def arrays(loss: Any) -> list[np.ndarray]:
        moved = zip(model.parameters(), start, strict=True)
        return [_numpy(loss), *[_numpy(p) - w for p, w in moved]]

    return _work(step, inputs, arrays)


def _map(problem: Problem, compiled: Callable[..., Any]) -> Work:
    a, b = (at.tensor(v, requires_grad=True) for v in problem.inputs())
    gradients = compiled(lambda a, b: at.autograd.grad(models.map_sum(at, a, b), (a, b)))
    return _work(gradients, (a, b), _as_arrays)


def _hessian(problem: Problem, compiled: Callable[..., Any]) -> Work:
    (value,) = problem.inputs()
    hessian = compiled(at.hessian(models.rosenbrock))
    return _work(hessian, (at.asarray(value),), lambda h: _as_arrays((h,)))


def _recurrence(problem: Problem, compiled: Callable[..., Any]) -> Work:
    (value,) = problem.inputs()
    x = at.tensor(value, requires_grad=True)
    derivative = compiled(lambda x: at.autograd.grad(models.recurrence(at, x), (x,)))
    return _work(derivative, (x,), _as_arrays)


DERIVATIVES = {"map": _map, "hessian": _hessian, "recurrence": _recurrence}


def _as_arrays(results: Any) -> list[np.ndarray]:
    return [_numpy(r) for r in results]


def _numpy(t: Any) -> np.ndarray:
    return np.asarray(t.detach().numpy())
