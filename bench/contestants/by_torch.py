"""PyTorch, eager and with torch.compile, as its users write it."""

import shutil
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from contestants import models
from contestants.problems import Absent, Problem, Work

__all__ = ["work"]


def work(problem: Problem, variant: str) -> Work:
    """Return the work of a row; the variant is "eager" or "compile".

    Raises:
        Absent: torch.compile finds no C++ compiler.
    """
    if variant == "compile" and not any(map(shutil.which, ("g++", "c++", "clang++"))):
        raise Absent("torch.compile needs a C++ compiler")
    compiled: Callable[..., Any] = torch.compile if variant == "compile" else lambda f: f
    if problem.kind in models.MODELS:
        return _training(problem, compiled)
    made = {"map": _map, "hessian": _hessian, "recurrence": _recurrence}[problem.kind]
    return made(problem, compiled)


def _training(problem: Problem, compiled: Callable[..., Any]) -> Work:
    model = models.MODELS[problem.kind](torch)
    start = [torch.from_numpy(w) for w in problem.weights().values()]
    with torch.no_grad():
        for p, w in zip(model.parameters(), start, strict=True):
            p.copy_(w)
    kinds = {"tiny": torch.optim.SGD, "gpt": torch.optim.AdamW}
    lr = 0.01 if problem.kind == "tiny" else 1e-3
    optimizer = kinds.get(problem.kind, torch.optim.Adam)(model.parameters(), lr=lr, fused=True)
    measure = models.loss_of(torch, problem.kind)
    forward = compiled(lambda x, y: measure(model(x), y))
    x, y = (torch.from_numpy(a) for a in problem.inputs())
    if problem.kind == "cnn":  # a third faster than the default, channels first
        model.to(memory_format=torch.channels_last)
        x = x.to(memory_format=torch.channels_last)

    def run() -> Any:
        loss = forward(x, y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss

    def arrays(loss: Any) -> list[np.ndarray]:
        moved = [(p.detach() - w).numpy() for p, w in zip(model.parameters(), start, strict=True)]
        return [loss.detach().numpy(), *moved]

    return Work(run, arrays)


def _map(problem: Problem, compiled: Callable[..., Any]) -> Work:
    a, b = (torch.from_numpy(v).requires_grad_() for v in problem.inputs())
    f = compiled(lambda a, b: models.map_sum(torch, a, b))
    return Work(lambda: torch.autograd.grad(f(a, b), (a, b)), _as_arrays)


def _hessian(problem: Problem, compiled: Callable[..., Any]) -> Work:
    (x,) = (torch.from_numpy(v) for v in problem.inputs())
    hessian = compiled(torch.func.hessian(models.rosenbrock))
    return Work(lambda: (hessian(x),), _as_arrays)


def _recurrence(problem: Problem, compiled: Callable[..., Any]) -> Work:
    (value,) = problem.inputs()
    x = torch.tensor(value, requires_grad=True)
    f = compiled(lambda x: models.recurrence(torch, x))
    return Work(lambda: torch.autograd.grad(f(x), x), _as_arrays)


def _as_arrays(results: Any) -> list[np.ndarray]:
    return [r.detach().numpy() for r in results]
