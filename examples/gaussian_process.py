"""Choose a Gaussian process's hyper-parameters by the likelihood of its data.

    python examples/gaussian_process.py gaussian_process.png

With the kernel k(a, b) = s² exp(-(a - b)² / 2 l²) and noise of variance e², n values y at x have
-log p(y) = ½ yᵀ K⁻¹ y + ½ log det K + n/2 log 2π with K = k(x, x) + e² 1. Its gradient
goes through the factorisation. A grid of the same function, all its points in one vmap, shows that
the optimizer has found the lowest point.
Source: Rasmussen & Williams, Gaussian Processes for Machine Learning (2006), sections 2.2, 5.4.
"""

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np

import atled as at


def kernel(h: Any, a: Any, b: Any) -> at.Tensor:
    """Return the covariances of the values at a and b."""
    distance = (a[:, None] - b[None, :]) / at.exp(h["length"])
    return at.exp(2 * h["size"] - 0.5 * distance**2)


def surprise(h: Any, x: Any, y: Any) -> at.Tensor:
    """Return -log p(y) for the logarithms of length, size and noise."""
    n = len(y)
    factor = at.linalg.cholesky(kernel(h, x, x) + at.exp(2 * h["noise"]) * np.eye(n))
    white = at.linalg.solve_triangular(factor, y[:, None], upper=False)
    return 0.5 * (white**2).sum() + at.log(at.diagonal(factor)).sum() + n / 2 * np.log(2 * np.pi)


def predict(h: Any, x: Any, y: Any, new: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean and the standard deviation of the function at new places."""
    covariance = kernel(h, x, x) + at.exp(2 * h["noise"]) * np.eye(len(x))
    between = kernel(h, x, new)
    weights = at.linalg.solve(covariance, between)
    variance = at.exp(2 * h["size"]) - (between * weights).sum(axis=0)
    return (weights.T @ y).numpy(), at.sqrt(variance).numpy()


def grid(x: Any, y: Any, h: Any, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return lengths, noises and the surprise at each pair of them, with the best size kept."""
    lengths, noises = np.linspace(-2.5, 1.5, count), np.linspace(-3.0, 0.5, count)
    pairs = {"length": np.repeat(lengths, count), "noise": np.tile(noises, count)}
    at_pair = lambda pair: surprise({**pair, "size": h["size"]}, x, y)
    values = at.vmap(at_pair, chunk_size=512)(pairs)
    return lengths, noises, values.numpy().reshape(count, count)


def plot(path: str, x: Any, y: Any, h: Any, start: Any) -> None:
    """Draw the data with the process before and after, and the grid of surprises."""
    from matplotlib.colors import BoundaryNorm
    from matplotlib.figure import Figure

    new = np.linspace(-0.5, 10.5, 300)
    figure = Figure(figsize=(9.5, 4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.6, 1))
    mean, deviation = predict(h, x, y, new)
    left.fill_between(new, mean - 2 * deviation, mean + 2 * deviation, color="C0", alpha=0.25, lw=0,
                      label="± 2 standard deviations")  # fmt: skip
    left.plot(new, mean, "C0", label="mean, likeliest hyper-parameters")
    left.plot(new, predict(start, x, y, new)[0], "0.5", ls=":", label="mean, first guess")
    left.plot(new, signal(new), "k--", lw=1, label="truth")
    left.plot(x, y, "ko", ms=3, label="measured")
    left.set(xlabel="x", ylabel="y", ylim=(-2.2, 3))
    left.legend(loc="upper left", ncols=2, fontsize="small", frameon=False)
    lengths, noises, values = grid(x, y, h, 60)
    levels = values.min() + np.array([0, 0.5, 2, 4.5, 10, 20, 40, 80])
    shades = right.contourf(np.exp(lengths), np.exp(noises), values.T, levels, cmap="Blues_r",
                            norm=BoundaryNorm(levels, 256, extend="max"), extend="max")  # fmt: skip
    right.plot(np.exp(start["length"]), np.exp(start["noise"]), "ko", mfc="w", label="first guess")
    right.plot(np.exp(h["length"]), np.exp(h["noise"]), "C3*", ms=12, label="found by its gradient")
    right.set(xscale="log", yscale="log", xlabel="length l", ylabel="noise e")
    right.legend(loc="lower right", fontsize="small")
    bar = figure.colorbar(shades, ax=right, label="- log p(y), above its minimum")
    bar.set_ticks(levels, labels=[f"{level - levels[0]:g}" for level in levels])
    figure.savefig(path, dpi=150)


def signal(x: np.ndarray) -> np.ndarray:
    """Return what is measured, without noise."""
    return np.sin(1.3 * x) + 0.5 * np.sin(2.9 * x)


def main(arguments: Sequence[str] | None = None) -> tuple[np.ndarray, np.ndarray, Any, float]:
    """Measure, find, print and draw; return x, y, the hyper-parameters and their surprise."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("picture", nargs="?", help="where to draw to")
    parser.add_argument("--quick", action="store_true", help="fewer measurements")
    options = parser.parse_args(arguments)
    rng = np.random.default_rng(1)
    x = np.sort(rng.uniform(0, 10, 20 if options.quick else 40))
    y = signal(x) + 0.3 * rng.normal(size=x.size)
    start = {"length": np.log(3.0), "size": 0.0, "noise": 0.0}
    found = at.optim.minimize(surprise, start, args=(x, y), method="BFGS", tol=1e-6)
    h = {name: value.item() for name, value in found.x.items()}
    for name, value in h.items():
        print(f"{name:7} {np.exp(start[name]):6.3f} -> {np.exp(value):6.3f}")
    print(f"- log p(y) = {found.fun:.6f} after {found.nit} steps")
    if options.picture:
        plot(options.picture, x, y, h, start)
    return x, y, h, float(found.fun)


if __name__ == "__main__":
    main()
