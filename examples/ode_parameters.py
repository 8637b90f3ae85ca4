"""Find the parameters of a differential equation from noisy data, through its solver.

    python examples/ode_parameters.py ode_parameters.png

Hares x and lynxes y live by x' = α x - β x y, y' = δ x y - γ y (Lotka 1925, Volterra 1926). The
solver is a loop of Runge-Kutta steps; its derivative comes from the same loop. Measured are log x
and log y with errors σ. The Jacobian has many rows and only 6 columns, so that forward mode needs
6 tangents, which run through the loop together. With it Gauss and Newton's step solves the
linearised least squares; Levenberg (1944) and Marquardt (1963) damp it until it leads downhill.
"""

import argparse
from collections.abc import Sequence

import numpy as np

import atled as at

NAMES = ("α", "β", "γ", "δ", "x(0)", "y(0)")
TRUTH = np.array([0.7, 0.03, 0.8, 0.025, 40.0, 10.0])
GUESS = np.array([0.5, 0.02, 1.0, 0.03, 30.0, 15.0])
STEP, NOISE = 0.1, 0.15  # years; relative


def rate(state: at.Tensor, p: at.Tensor) -> at.Tensor:
    """Return how fast (x, y) changes."""
    x, y = state
    return at.stack([p[0] * x - p[1] * x * y, p[3] * x * y - p[2] * y])


def solve(logarithms: at.Tensor, steps: int) -> at.Tensor:
    """Return x and y, (steps + 1, 2), for the logarithms of the parameters."""
    p = at.exp(logarithms)
    states = [p[4:]]
    for _ in range(steps):
        s = states[-1]
        k1 = rate(s, p)
        k2 = rate(s + STEP / 2 * k1, p)
        k3 = rate(s + STEP / 2 * k2, p)
        k4 = rate(s + STEP * k3, p)
        states.append(s + STEP / 6 * (k1 + 2 * k2 + 2 * k3 + k4))
    return at.stack(states)


def fit(measured: np.ndarray, every: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the logarithms of the parameters and their covariance."""
    count = (len(measured) - 1) * every

    def misfit(q: at.Tensor) -> tuple[at.Tensor, at.Tensor]:
        r = ((at.log(solve(q, count)[::every]) - at.log(measured)) / NOISE).reshape(-1)
        return r, r

    q, damping = np.log(GUESS), 1e-2
    jacobian, r = (found.numpy() for found in at.jacfwd(misfit, has_aux=True)(q))
    for _ in range(100):
        normal = jacobian.T @ jacobian
        change = np.linalg.solve(normal + damping * np.diag(np.diag(normal)), jacobian.T @ r)
        new, new_r = (found.numpy() for found in at.jacfwd(misfit, has_aux=True)(q - change))
        if new_r @ new_r > r @ r:
            damping *= 10
        else:
            q, jacobian, r, damping = q - change, new, new_r, damping / 10
        if np.abs(change).max() < 1e-9:
            break
    return q, np.linalg.inv(jacobian.T @ jacobian)


def plot(
    path: str, measured: np.ndarray, every: int, q: np.ndarray, covariance: np.ndarray
) -> None:
    """Draw the populations over time with what the fit knows of them."""
    from matplotlib.figure import Figure

    count = (len(measured) - 1) * every
    count += count // 5  # years not measured: a forecast
    t = STEP * np.arange(count + 1)
    best = solve(q, count).numpy()
    slope = at.jacfwd(lambda q: at.log(solve(q, count)))(q).numpy()
    band = np.sqrt(np.einsum("tik,kl,til->ti", slope, covariance, slope))
    guess, truth = (solve(np.log(p), count).numpy() for p in (GUESS, TRUTH))
    figure = Figure(figsize=(9, 4.6), layout="constrained")
    panels = figure.subplots(2, 1, sharex=True)
    for i, (axes, name) in enumerate(zip(panels, ("hares", "lynxes"), strict=True)):
        colour = f"C{i}"
        low, high = (best[:, i] * np.exp(k * band[:, i]) for k in (-2, 2))
        axes.fill_between(t, low, high, color=colour, alpha=0.3, lw=0, label="fit ± 2 std. errors")
        axes.plot(t, best[:, i], colour, label="fit")
        axes.plot(t, truth[:, i], "k--", lw=1, label="truth")
        axes.plot(t, guess[:, i], color="0.6", lw=1, ls=":", label="first guess")
        axes.plot(t[: len(measured) * every : every], measured[:, i], "ko", ms=3, label="measured")
        axes.set(ylabel=f"{name} / thousand", ylim=(0, 1.3 * truth[:, i].max()))
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    panels[1].set(xlabel="time / years", xlim=(0, t[-1]))
    figure.savefig(path, dpi=150)


def main(arguments: Sequence[str] | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Measure, fit, print and draw; return the data, the parameters' logarithms and covariance."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("picture", nargs="?", help="where to draw to")
    parser.add_argument("--quick", action="store_true", help="fewer years")
    options = parser.parse_args(arguments)
    every, count = (4, 60) if options.quick else (5, 250)
    clean = solve(np.log(TRUTH), count).numpy()[::every]
    measured = clean * np.exp(NOISE * np.random.default_rng(0).normal(size=clean.shape))
    q, covariance = fit(measured, every)
    rows = zip(NAMES, np.exp(q), np.diag(covariance) ** 0.5, TRUTH, strict=True)
    for name, value, deviation, truth in rows:
        print(f"{name:5} {value:8.4f} ± {value * deviation:.4f}   (truth {truth})")
    if options.picture:
        plot(options.picture, measured, every, q, covariance)
    return measured, q, covariance


if __name__ == "__main__":
    main()
