"""Hang chains by finding the least energy, and compare them with the catenary.

    python examples/hanging_chain.py hanging_chain.png

A chain of n stiff links of length L / n is described by the angles θ of its links. Its energy per
weight of a unit of length is the height of its links, E(θ) = Σ h L / n. Both ends are held: the
links must lead to the point e. So the Lagrangian E(θ) - f · (end(θ) - e) has a vanishing gradient
in θ and f, which Newton's method finds by its Hessian. What f says is read off for free:
f = ∂E/∂e, the force that holds the end. Several chains hang at once, by vmap.
The limit of many links is y = a cosh((x - b) / a) + c (Huygens, Leibniz, Johann Bernoulli 1691).
"""

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.optimize import brentq

import atled as at

END = np.array([2.0, 0.5])  # where the far end is held, in metres from the near one
LENGTHS = np.array([2.2, 2.8, 3.6])


def joints(angles: Any, length: Any) -> at.Tensor:
    """Return the ends of the links, (n, 2), of a chain from (0, 0)."""
    links = length / len(angles) * at.stack([at.cos(angles), at.sin(angles)], axis=1)
    return at.cumulative_sum(links, axis=0)


def energy(angles: Any, length: Any) -> at.Tensor:
    """Return the energy: each link's weight at the height of its middle."""
    height = joints(angles, length)[:, 1]
    return length / len(angles) * (height.sum() - height[-1] / 2)


def lagrangian(unknowns: Any, length: Any, end: Any) -> at.Tensor:
    """Return the energy, less force times distance from the place to reach."""
    angles, force = unknowns[:-2], unknowns[-2:]
    return energy(angles, length) - (force * (joints(angles, length)[-1] - end)).sum()


def step(unknowns: Any, length: Any, end: Any) -> at.Tensor:
    """Return the angles and the force after a step of Newton's method."""
    slope = at.grad(lagrangian)(unknowns, length, end)
    change = at.linalg.solve(at.hessian(lagrangian)(unknowns, length, end), slope)
    return unknowns - change / at.maximum(1.0, abs(change).max() / 0.5)  # at most half a radian


def hang(lengths: Any, links: int, steps: int = 100) -> tuple[np.ndarray, np.ndarray]:
    """Return the angles (chains, links) and the forces (chains, 2)."""
    start = np.concat([np.linspace(-1.0, 1.2, links), [2.0, 1.0]])  # a curve that sags
    unknowns = at.tensor(np.tile(start, (len(lengths), 1)))
    for _ in range(steps):
        before = unknowns
        unknowns = at.vmap(step, in_axes=(0, 0, None))(before, lengths, END)
        if at.max(abs(unknowns - before)).item() < 1e-12:
            break
    return unknowns[:, :-2].numpy(), unknowns[:, -2:].numpy()


def catenary(length: float, x: Any) -> tuple[np.ndarray, float]:
    """Return the heights at x of the perfect chain, and a: its horizontal force."""
    across, up = END
    wanted = np.sqrt(length**2 - up**2) / across
    u = brentq(lambda u: np.sinh(u) / u - wanted, 1e-6, 50.0, xtol=1e-15)
    a = across / (2 * u)
    b = across / 2 - a * np.arctanh(up / length)
    return a * (np.cosh((x - b) / a) - np.cosh(b / a)), a


def plot(path: str, angles: np.ndarray, forces: np.ndarray) -> None:
    """Draw the chains on their catenaries, with the forces that hold them."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 5.8), layout="constrained")
    axes = figure.subplots()
    x = np.linspace(0, END[0], 300)
    for k, (length, theta, force) in enumerate(zip(LENGTHS, angles, forces, strict=True)):
        places = np.concat([np.zeros((1, 2)), joints(theta, length).numpy()])
        label = "catenary" if k == 0 else None
        axes.plot(x, catenary(length, x)[0], "0.8", lw=7, zorder=0, label=label)
        label = f"{length} m in {theta.size} links, held by {np.hypot(*force):.2f} m"
        axes.plot(*places.T, f"C{k}o-", ms=4, lw=1, label=label)
        arrow = {"arrowstyle": "-|>", "color": f"C{k}"}
        axes.annotate("", END + 0.2 * force, END, arrowprops=arrow)
    axes.plot(*np.array([[0, 0], END]).T, "ks", ms=7, zorder=5)
    axes.set(xlabel="x / m", ylabel="y / m", aspect="equal", xlim=(-0.2, 2.5), ylim=(-1.25, 1.25))
    axes.set_title(
        "held by: the force on the end (arrows), as a length of chain",
        fontsize=10,
    )
    axes.legend(loc="upper left", frameon=False)
    figure.savefig(path, dpi=150)


def main(arguments: Sequence[str] | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Hang the chains, print and draw; return their angles and forces."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("picture", nargs="?", help="where to draw to")
    parser.add_argument("--quick", action="store_true", help="fewer links")
    options = parser.parse_args(arguments)
    angles, forces = hang(LENGTHS, 12 if options.quick else 24)
    for length, theta, force in zip(LENGTHS, angles, forces, strict=True):
        places = joints(theta, length).numpy()
        heights, a = catenary(length, places[:, 0])
        apart = np.abs(places[:, 1] - heights).max()
        print(f"{length} m: horizontal force {force[0]:.4f} m (catenary {a:.4f}), "
              f"largest distance {1000 * apart:.2f} mm")  # fmt: skip
    if options.picture:
        plot(options.picture, angles, forces)
    return angles, forces


if __name__ == "__main__":
    main()
