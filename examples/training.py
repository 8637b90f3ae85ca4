"""What the example models share: their options, the loop over batches, and checkpoints.

A checkpoint holds everything that the steps to come depend on: weights, optimizer, place in the
data, the random generator. A run that was stopped and resumed ends with the same weights, bit for
bit, as one that was not.
"""

import argparse
import os
import time
from collections.abc import Callable, Iterable
from itertools import islice
from statistics import median
from typing import Any

import atled as at

Row = dict[str, float]  # "step", "loss", and what the model is judged by


def parser(
    about: str | None, name: str, steps: int, every: int, lr: float
) -> argparse.ArgumentParser:
    """Return a parser of the options that all examples have.

    Args:
        about: the example's docstring; its first line is shown.
        name: of the checkpoint, in the folder runs.
        steps, every, lr: defaults.
    """
    options = argparse.ArgumentParser(description=(about or "").partition("\n")[0])
    options.add_argument("--steps", type=int, default=steps, help="in all, also when resumed")
    options.add_argument("--every", type=int, default=every, help="steps between two reports")
    options.add_argument("--lr", type=float, default=lr)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--quick", action="store_true", help="a few seconds, to see it work")
    options.add_argument("--checkpoint", default=f"runs/{name}.safetensors", metavar="FILE")
    options.add_argument("--resume", action="store_true", help="go on from the checkpoint")
    return options


def train(step: Callable[..., at.Tensor], batches: Iterable[Any], judge: Callable[[], Row],
          options: argparse.Namespace, **parts: Any) -> list[Row]:  # fmt: skip
    """Train up to `options.steps` steps, from the start or from where the checkpoint left off.

    Args:
        step: takes a batch, changes the model, returns the loss.
        batches: without end; they are drawn only once the checkpoint was read.
        judge: says how good the model is; asked every `options.every` steps.
        parts: what has a `state_dict`, by name: the model, the optimizer, a loader.

    Returns:
        A row for each report: the step, the mean loss since the last one, what `judge` said.
    """
    done = 0
    losses: list[float] = []
    rows: list[Row] = []
    if options.resume:
        done, losses, rows = load(options.checkpoint, parts)
        print(f"resuming {options.checkpoint} after step {done}")
    times = []
    for batch in islice(batches, max(0, options.steps - done)):
        started = time.perf_counter()
        losses.append(step(*batch).item())
        times.append(time.perf_counter() - started)
        done += 1
        if done % options.every == 0:
            rows.append({"step": done, "loss": sum(losses) / len(losses), **judge()})
            show(rows[-1], options.steps, median(times))
            losses, times = [], []
        if done % options.every == 0 or done == options.steps:
            save(options.checkpoint, parts, (done, losses, rows))
    return rows


def show(row: Row, steps: int, seconds: float) -> None:
    """Print a line of progress."""
    values = "".join(f"   {name} {value:.4f}" for name, value in row.items() if name != "step")
    print(f"step {row['step']:{len(str(steps))}}/{steps}{values}   {1e3 * seconds:.3g} ms a step",
          flush=True)  # fmt: skip


def save(path: str, parts: dict[str, Any], progress: tuple[int, list[float], list[Row]]) -> None:
    """Replace the checkpoint, whole or not at all."""
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    states = {name: part.state_dict() for name, part in parts.items()}
    at.io.save(path, {"parts": states, "random": at.get_rng_state(), "progress": progress})


def load(path: str, parts: dict[str, Any]) -> tuple[int, list[float], list[Row]]:
    """Put everything into the state that `save` found it in; return the progress."""
    state = at.io.load(path)
    for name, part in parts.items():
        part.load_state_dict(state["parts"][name])
    at.set_rng_state(state["random"])
    return state["progress"]
