"""Fit a curve, and say how sure its parameters are: the inverse of the Hessian.

    python examples/curve_fit.py curve_fit.png

A pendulum with friction swings as y(t) = A exp(-t/τ) cos(2π f t + φ) + c. Measured are n values
with known errors σ. Newton's method finds the parameters p of the smallest -log likelihood
L(p) = ½ Σ ((y - y(t; p)) / σ)²; their covariance is the inverse of the Hessian of L there, and the
fitted curve's J (∇²L)⁻¹ Jᵀ with its Jacobian J = ∂y/∂p.
Source: Bevington & Robinson, Data Reduction and Error Analysis (2003), chapter 8.
"""

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np

import atled as at

NAMES = ("A / mm", "τ / s", "f / Hz", "φ / rad", "c / mm")
TRUTH = np.array([12.0, 4.0, 0.55, 0.6, 1.5])
GUESS = np.array([9.0, 3.0, 0.52, 0.3, 0.0])


def swing(p: at.Tensor, t: at.Tensor) -> at.Tensor:
    """Return the pendulum's displacement at times t."""
    size, decay, frequency, phase, offset = p
    return size * at.exp(-t / decay) * at.cos(2 * at.pi * frequency * t + phase) + offset


def surprise(p: at.Tensor, t: at.Tensor, y: at.Tensor, error: at.Tensor) -> at.Tensor:
    """Return the negative logarithm of the likelihood, up to a constant."""
    return 0.5 * (((y - swing(p, t)) / error) ** 2).sum()


def fit(t: Any, y: Any, error: Any, steps: int = 50) -> tuple[np.ndarray, np.ndarray]:
    """Return the parameters and their covariance, by Newton's method with shorter steps at need."""
    p, value = at.tensor(GUESS), surprise(GUESS, t, y, error)
    for _ in range(steps):
        slope = at.grad(surprise)(p, t, y, error)
        # Far from the minimum the Hessian may be indefinite: |eigenvalues| lead downhill there.
        curvature, axes = np.linalg.eigh(at.hessian(surprise)(p, t, y, error).numpy())
        step = axes @ (axes.T @ slope.numpy() / np.abs(curvature))
        while (new := surprise(p - step, t, y, error)).item() > value.item() + 1e-12:
            step = step / 2
        p, value = p - step, new
        if np.abs(step).max() < 1e-10:
            break
    return p.numpy(), at.linalg.inv(at.hessian(surprise)(p, t, y, error)).numpy()


def plot(path: str, data: Any, p: np.ndarray, covariance: np.ndarray) -> None:
    """Draw the data with the fit, its uncertainty, and how the parameters hang together."""
    from matplotlib.figure import Figure

    t, y, error = data
    fine = np.linspace(0, t[-1] * 1.25, 400)
    jacobian = at.jacobian(swing)(p, fine).numpy()
    best, band = swing(p, fine).numpy(), np.sqrt(np.sum(jacobian @ covariance * jacobian, axis=1))
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(2.2, 1))
    left.fill_between(fine, best - 2 * band, best + 2 * band, color="C0", alpha=0.3, lw=0,
                      label="fit ± 2 standard errors")  # fmt: skip
    left.plot(fine, best, "C0", label="fit")
    left.plot(fine, swing(TRUTH, fine).numpy(), "k--", lw=1, label="truth")
    left.errorbar(t, y, error, fmt="C3o", ms=3, lw=1, label="measured")
    left.set(xlabel="time / s", ylabel="displacement / mm")
    left.legend(loc="upper right", frameon=False)
    deviations = np.sqrt(np.diag(covariance))
    image = right.imshow(
        covariance / np.outer(deviations, deviations), cmap="RdBu", vmin=-1, vmax=1
    )
    letters = [name.split(" ")[0] for name in NAMES]
    right.set_xticks(range(5), letters)
    right.set_yticks(range(5), letters)
    right.set_title("correlation of the parameters", fontsize="medium")
    figure.colorbar(image, ax=right, shrink=0.7)
    figure.savefig(path, dpi=150)


def main(arguments: Sequence[str] | None = None) -> tuple[Any, np.ndarray, np.ndarray]:
    """Measure, fit, print and draw; return the data, the parameters and their covariance."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("picture", nargs="?", help="where to draw to")
    parser.add_argument("--quick", action="store_true", help="fewer measurements")
    options = parser.parse_args(arguments)
    rng = np.random.default_rng(0)
    t = np.linspace(0, 8, 25 if options.quick else 50)
    error = rng.uniform(0.6, 1.6, t.size)
    data = t, swing(TRUTH, t).numpy() + error * rng.normal(size=t.size), error
    p, covariance = fit(*data)
    for name, value, deviation, truth in zip(
        NAMES, p, np.diag(covariance) ** 0.5, TRUTH, strict=True
    ):
        print(f"{name:8} {value:8.3f} ± {deviation:.3f}   (truth {truth})")
    if options.picture:
        plot(options.picture, data, p, covariance)
    return data, p, covariance


if __name__ == "__main__":
    main()
