"""Eager speed beside PyTorch and HIPS autograd: ratios of medians from interleaved processes.

    python bench/eager.py [--rounds 5] [--only recurrence]

Each contender runs in child processes of its own, one after another and again in the next round,
with every OPENBLAS_* variable unset (some machines set ones that halve NumPy). A child warms up,
then reports the median time of a call. Contenders that are not installed are left out.
The aims are those that the project set itself; they are ratios to PyTorch in the same run.
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from harness import child_environment, median_time, peak_memory

AIMS = {  # atled's time over torch's, at most
    "recurrence": 2.0 / 3.7,
    "mlp": 1.5,
}
LABELS = {
    "recurrence": "gradient of a scalar recurrence, 200 steps of 4 operations",
    "tiny": "tiny net 8-16-1, batch 32, SGD step",
    "mlp": "MLP 64-64-10, batch 32, Adam step",
    "map1k": "∇ Σ tanh(ab+1)·exp(-a²), 1,000 elements",
    "map100k": "∇ Σ tanh(ab+1)·exp(-a²), 100,000 elements",
    "map1m": "∇ Σ tanh(ab+1)·exp(-a²), 1,000,000 elements",
    "import": "import, over Python's own start",
}
SIZES = {"map1k": 1_000, "map100k": 100_000, "map1m": 1_000_000}


# -- the work, once for each contender ----------------------------------------------------------


def atled_recurrence() -> Callable[[], object]:
    import atled as at

    x = at.tensor(0.5, requires_grad=True)

    def run() -> object:
        h = x
        for _ in range(200):
            h = at.sin(h * 1.1 + x) * 0.9
        h.backward()
        x.grad = None
        return h

    return run


def torch_recurrence() -> Callable[[], object]:
    import torch

    x = torch.tensor(0.5, requires_grad=True)

    def run() -> object:
        h = x
        for _ in range(200):
            h = torch.sin(h * 1.1 + x) * 0.9
        h.backward()
        x.grad = None
        return h

    return run


def autograd_recurrence() -> Callable[[], object]:
    import autograd.numpy as anp
    from autograd import grad

    def f(x: float) -> float:
        h = x
        for _ in range(200):
            h = anp.sin(h * 1.1 + x) * 0.9
        return h

    g = grad(f)
    return lambda: g(0.5)


def training(model: Any, optimizer: Any, loss_of: Any, x: Any, y: Any) -> Callable[[], object]:
    """Return a training step; the code is the same for both libraries."""

    def run() -> object:
        loss = loss_of(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return run


def atled_tiny() -> Callable[[], object]:
    import atled as at
    from atled import nn

    at.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 1))
    optimizer = at.optim.SGD(model.parameters(), lr=0.01)
    return training(model, optimizer, nn.functional.mse_loss, at.randn(32, 8), at.randn(32, 1))


def torch_tiny() -> Callable[[], object]:
    import torch
    from torch import nn

    model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    x, y = torch.randn(32, 8), torch.randn(32, 1)
    return training(model, optimizer, nn.functional.mse_loss, x, y)


def atled_mlp() -> Callable[[], object]:
    import atled as at
    from atled import nn

    at.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = at.optim.Adam(model.parameters())
    x, y = at.randn(32, 64), at.randint(0, 10, (32,))
    return training(model, optimizer, nn.functional.cross_entropy, x, y)


def torch_mlp() -> Callable[[], object]:
    import torch
    from torch import nn

    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    x, y = torch.randn(32, 64), torch.randint(0, 10, (32,))
    return training(model, optimizer, nn.functional.cross_entropy, x, y)


def atled_map(n: int) -> Callable[[], object]:
    import atled as at

    at.manual_seed(0)
    a, b = (at.randn(n, requires_grad=True) for _ in range(2))
    return lambda: at.autograd.grad((at.tanh(a * b + 1) * at.exp(-(a * a))).sum(), (a, b))


def torch_map(n: int) -> Callable[[], object]:
    import torch

    torch.manual_seed(0)
    a, b = (torch.randn(n, requires_grad=True) for _ in range(2))
    return lambda: torch.autograd.grad((torch.tanh(a * b + 1) * torch.exp(-(a * a))).sum(), (a, b))


def autograd_map(n: int) -> Callable[[], object]:
    import autograd.numpy as anp
    import numpy
    from autograd import grad

    rng = numpy.random.default_rng(0)
    a, b = (rng.standard_normal(n).astype("float32") for _ in range(2))
    g = grad(lambda a, b: (anp.tanh(a * b + 1) * anp.exp(-(a * a))).sum(), (0, 1))
    return lambda: g(a, b)


# -- measuring ------------------------------------------------------------------------------------


def child(contender: str, work: str) -> None:
    """Run one contender's work in this process and print its time and peak memory."""
    if work == "import":
        start = time.perf_counter()
        __import__(contender)
        seconds = time.perf_counter() - start
    else:
        make = globals()[f"{contender}_{'map' if work in SIZES else work}"]
        seconds = median_time(make(SIZES[work]) if work in SIZES else make())
    print(seconds, peak_memory())


def spawn(contender: str, work: str) -> tuple[float, float] | None:
    """Run `child` in a new process; None if the contender cannot do the work."""
    command = [sys.executable, __file__, "--child", contender, work]
    done = subprocess.run(
        command, env=child_environment(), capture_output=True, text=True, check=False
    )
    if done.returncode:
        if "ModuleNotFoundError" not in done.stderr and "KeyError" not in done.stderr:
            print(done.stderr[-800:], file=sys.stderr)
        return None
    seconds, memory = done.stdout.split()
    return float(seconds), float(memory)


def compare(work: str, rounds: int) -> None:
    """Interleave the contenders' processes and print medians and ratios to torch."""
    found: dict[str, list[tuple[float, float]]] = {}
    for _ in range(rounds):
        for contender in ("atled", "torch", "autograd"):
            result = spawn(contender, work)
            if result is not None:
                found.setdefault(contender, []).append(result)
    print(LABELS[work])
    medians = {c: statistics.median(t for t, _ in results) for c, results in found.items()}
    for contender, seconds in medians.items():
        memory = statistics.median(m for _, m in found[contender])
        ratio = f"{seconds / medians['torch']:6.2f} x torch" if "torch" in medians else ""
        print(f"  {contender:9s}{seconds * 1e3:10.3f} ms  {ratio}  (peak {memory:.0f} MB)")
    if work in AIMS and "torch" in medians and "atled" in medians:
        ratio = medians["atled"] / medians["torch"]
        verdict = "reached" if ratio <= AIMS[work] else "not reached"
        print(f"  aim: at most {AIMS[work]:.2f} x torch: {verdict}")


def main() -> None:
    """Compare all works, or those asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=LABELS, action="append")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(*options.child)
        return
    for work in options.only or LABELS:
        compare(work, options.rounds)


if __name__ == "__main__":
    main()
