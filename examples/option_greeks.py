"""Draw the Greeks of an option: derivatives of one formula, to third order.

    python examples/option_greeks.py option_greeks.png

Black and Scholes (1973) price the right to buy a share of price S at time T for K as
C = S Φ(d₁) - K exp(-r T) Φ(d₂), d₁ = (log(S / K) + (r + σ²/2) T) / σ√T, d₂ = d₁ - σ√T.
Only this is written below. What traders call its Greeks are its derivatives with respect to share
price, volatility, time and rate, all of them at all share prices and times in one vmap.
"""

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np

import atled as at

STRIKE, VOLATILITY, RATE = 100.0, 0.25, 0.03
SHARE, SIGMA, TIME, INTEREST = range(4)  # where a market's numbers stand


def normal(d: at.Tensor) -> at.Tensor:
    """Return Φ(d), the chance that a normal variable is below d."""
    return 0.5 * at.erfc(-d / np.sqrt(2))


def call(market: at.Tensor, strike: Any) -> at.Tensor:
    """Return the price of a call option for a market's (S, σ, T, r)."""
    share, sigma, time, rate = market
    spread = sigma * at.sqrt(time)
    d1 = (at.log(share / strike) + (rate + sigma**2 / 2) * time) / spread
    return share * normal(d1) - strike * at.exp(-rate * time) * normal(d1 - spread)


def greeks(market: at.Tensor, strike: Any) -> dict[str, at.Tensor]:
    """Return the price and its derivatives; time runs towards the end, hence the minus signs."""
    price, first = at.value_and_grad(call)(market, strike)
    second = at.hessian(call)(market, strike)
    gamma = lambda market: at.hessian(call)(market, strike)[SHARE, SHARE]
    return {
        "price": price,
        "delta": first[SHARE],
        "vega": first[SIGMA],
        "theta": -first[TIME],
        "rho": first[INTEREST],
        "gamma": second[SHARE, SHARE],
        "vanna": second[SHARE, SIGMA],
        "volga": second[SIGMA, SIGMA],
        "speed": at.grad(gamma)(market)[SHARE],
    }


MEANING = {
    "price": "C / €",
    "delta": "∂C/∂S",
    "vega": "∂C/∂σ / €",
    "theta": "-∂C/∂T / (€ / year)",
    "rho": "∂C/∂r / €",
    "gamma": "∂²C/∂S² / €⁻¹",
    "vanna": "∂²C/∂S∂σ",
    "volga": "∂²C/∂σ² / €",
    "speed": "∂³C/∂S³ / €⁻²",
}


def table(shares: np.ndarray, times: np.ndarray) -> dict[str, np.ndarray]:
    """Return each Greek as an array (times, shares)."""
    time, share = (grid.reshape(-1) for grid in np.meshgrid(times, shares, indexing="ij"))
    fixed = np.ones_like(share)
    markets = np.stack([share, VOLATILITY * fixed, time, RATE * fixed], axis=1)
    found = at.vmap(greeks, in_axes=(0, None))(markets, STRIKE)
    return {name: value.reshape(len(times), -1).numpy() for name, value in found.items()}


def plot(path: str, shares: np.ndarray, times: np.ndarray, found: dict[str, np.ndarray]) -> None:
    """Draw a panel for each Greek, and a curve for each time in it."""
    import matplotlib
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6.6), layout="constrained")
    panels = figure.subplots(3, 3, sharex=True)
    colours = matplotlib.colormaps["viridis"](np.linspace(0.05, 0.85, len(times)))
    for axes, (name, values) in zip(panels.flat, found.items(), strict=True):
        for curve, time, colour in zip(values, times, colours, strict=True):
            axes.plot(shares, curve, color=colour, label=f"{12 * time:.0f}")
        axes.axvline(STRIKE, color="0.8", lw=1, zorder=0)
        axes.set_title(f"{name}   {MEANING[name]}", fontsize="medium")
    for axes in panels[-1]:
        axes.set_xlabel("share price S / €")
    lines, labels = panels[0, 0].get_legend_handles_labels()
    title = (
        f"A call at K = {STRIKE:.0f} €, σ = {VOLATILITY:.0%}, r = {RATE:.0%}; it ends in … months"
    )
    figure.legend(lines, labels, loc="outside upper center", ncols=len(times), title=title,
                  frameon=False)  # fmt: skip
    figure.savefig(path, dpi=150)


def main(arguments: Sequence[str] | None = None) -> tuple[Any, Any, dict[str, np.ndarray]]:
    """Compute, print and draw; return share prices, times and the Greeks at each of them."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("picture", nargs="?", help="where to draw to")
    parser.add_argument("--quick", action="store_true", help="fewer share prices")
    options = parser.parse_args(arguments)
    shares, times = np.linspace(50, 150, 21 if options.quick else 201), np.array([1, 3, 6, 12]) / 12
    found = table(shares, times)
    middle = len(shares) // 2
    print(
        f"S = {shares[middle]:.0f}, in "
        + ", ".join(f"{12 * time:.0f}" for time in times)
        + " months"
    )
    for name, values in found.items():
        print(f"{name:6}" + "".join(f"{value:12.6f}" for value in values[:, middle]))
    if options.picture:
        plot(options.picture, shares, times, found)
    return shares, times, found


if __name__ == "__main__":
    main()
