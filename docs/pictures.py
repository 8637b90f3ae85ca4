"""Draw the pictures of docs/derivatives.md into docs/images.

    python docs/pictures.py [NAME ...]

What is drawn is what the page says: its Python blocks run first, in one set of names, and each
function below draws from them. The gallery's pictures are made by the programs under examples/.
"""

import contextlib
import io
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

FOLDER = Path(__file__).parent
PAGE, IMAGES = FOLDER / "derivatives.md", FOLDER / "images"
GALLERY = ["curve_fit", "ode_parameters", "gaussian_process", "hanging_chain", "option_greeks"]
BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)
COLOURS = 200  # of a picture's palette: lines and letters need no more
WIDEST = 860  # pixels


class Page:
    """The names that the blocks of the page have made, as attributes."""

    def __init__(self) -> None:
        names: dict[str, Any] = {"__name__": "__docs__"}
        self.names: dict[str, list[Any]] = {}
        with contextlib.redirect_stdout(io.StringIO()):
            for block in BLOCK.findall(PAGE.read_text()):
                exec(compile(block, str(PAGE), "exec"), names)
                for name, value in names.items():
                    before = self.names.setdefault(name, [])
                    if not before or before[-1] is not value:
                        before.append(value)

    def __getattr__(self, name: str) -> Any:
        return self.names[name][-1]

    def first(self, name: str) -> Any:
        """Return what a name that is used again meant first."""
        return self.names[name][0]


def grad(page: Page, figure: Figure) -> None:
    axes = figure.subplots()
    labels = ("exp(-x²)", "first derivative", "second derivative", "third derivative")
    for k, (curve, label) in enumerate(zip(page.curves, labels, strict=True)):
        axes.plot(page.first("x"), curve, lw=2.5 if k == 0 else 1.5, label=label)
    axes.axhline(0, color="0.8", lw=1, zorder=0)
    axes.set(xlabel="x", xlim=(-3, 3))
    axes.legend(frameon=False, loc="upper right")


def jvp_vjp(page: Page, figure: Figure) -> None:
    axes = figure.subplots()
    for values, colour, label, place in (
        (page.goes.numpy(), "C1", "jvp: where the warmth of place 40 goes", 40),
        (page.came.numpy(), "C0", "vjp: whence place 80 has its warmth", 80),
    ):
        axes.fill_between(range(120), values, color=colour, alpha=0.35, lw=0)
        axes.plot(values, colour, label=label)
        axes.axvline(place, color=colour, ls="--", lw=1)
    axes.annotate("wind", (116, 0.03), (96, 0.03), va="center", arrowprops={"arrowstyle": "->"})
    axes.set(xlabel="place", ylabel="share of the warmth", xlim=(0, 119), ylim=(0, 0.055))
    figure.legend(frameon=False, loc="outside upper center")


def jacobian(page: Page, figure: Figure) -> None:
    axes = figure.subplots()
    latitude = np.radians(np.linspace(-90, 90, 91))
    for degree in range(-180, 181, 30):
        meridian = np.stack([np.full(91, np.radians(degree)), latitude])
        x, y = page.sinusoidal(meridian).numpy()
        axes.plot(x, y, color="0.8", lw=0.8, zorder=0)
    for degree in range(-60, 61, 30):
        y = np.radians(degree)
        axes.plot(np.pi * np.cos(y) * np.array([-1, 1]), [y, y], color="0.8", lw=0.8, zorder=0)
    turn = np.linspace(0, 2 * np.pi, 60)
    for place, matrix in zip(page.places, page.jacobians.numpy(), strict=True):
        circle = 0.11 * np.stack([np.cos(turn) / np.cos(place[1]), np.sin(turn)])
        x, y = page.sinusoidal(place).numpy()[:, None] + matrix @ circle
        axes.fill(x, y, color="C0", alpha=0.45, lw=0)
    axes.set(aspect="equal")
    axes.axis("off")


def hessian(page: Page, figure: Figure) -> None:
    axes = figure.subplots()
    x, y = np.meshgrid(np.linspace(-1.6, 1.6, 200), np.linspace(-3.6, 2.2, 200))
    values = page.rosenbrock(np.stack([x, y]))
    levels = 10.0 ** np.arange(-1, 4, 0.5)
    axes.contour(x, y, values, levels, colors="0.8", linewidths=0.8)
    newton, descent = np.array(page.newton), np.array(page.descent)
    axes.plot(*newton.T, "C0o-", ms=5, label="Newton's method, 6 steps")
    axes.plot(*descent.T, "C1", lw=2, label="steepest descent, 1000 steps")
    axes.plot(*descent[-1], "C1o")
    axes.plot(1, 1, "k*", ms=13, label="lowest point")
    axes.set(xlabel="x", ylabel="y")
    axes.legend(frameon=False, loc="lower left")


def minimize(page: Page, figure: Figure) -> None:
    axes = figure.subplots()
    x, y = np.meshgrid(np.linspace(-1.6, 1.6, 200), np.linspace(-0.6, 1.9, 200))
    values = page.rosenbrock(np.stack([x, y]))
    axes.contour(x, y, values, 10.0 ** np.arange(-1, 4, 0.5), colors="0.8", linewidths=0.8)
    axes.axvspan(0.5, 1.6, color="0.92", zorder=0)
    for name, path in page.paths.items():
        axes.plot(*np.array(path).T, "o-", ms=4, label=f"{name}, {len(path) - 1} steps")
    axes.plot(1, 1, "k*", ms=13, label="lowest point")
    axes.text(0.53, -0.5, "out of bounds", color="0.4")
    axes.set(xlabel="x", ylabel="y")
    axes.legend(loc="upper center", frameon=False)


def vmap(page: Page, figure: Figure) -> None:
    axes = figure.subplots()
    names = page.names
    x = next(v for v in names["x"] if getattr(v, "shape", None) == (60,))
    y = next(v for v in names["y"] if getattr(v, "shape", None) == (60,))
    dots = axes.scatter(x, y, c=page.pulls, s=28, cmap="viridis_r", zorder=3)
    figure.colorbar(dots, ax=axes, format="%.0f", label="size of the example's gradient")
    ends = np.array([0.0, 4.0])
    for p, style, label in (
        (page.plain, "C3-", "fit"),
        (page.clipped, "C0-", "fit, each gradient held to size 0.5"),
        ((1.0, 0.8), "k--", "truth"),
    ):
        axes.plot(ends, p[0] + p[1] * ends, style, lw=1.5, label=label)
    axes.set(xlabel="x", ylabel="y")
    axes.legend(frameon=False, loc="upper left")


def checkpoint(page: Page, figure: Figure) -> None:
    axes = figure.subplots()
    places = range(len(page.counts))
    bars = axes.bar(places, page.peaks, color="C0", width=0.6)
    axes.bar_label(bars, fmt="%.1f")
    axes.set_xticks(places, [str(n) for n in page.counts])
    axes.set(xlabel="segments, of 36 layers", ylabel="peak memory / MB")
    axes.spines[["top", "right"]].set_visible(False)


def implicit(page: Page, figure: Figure) -> None:
    axes = figure.subplots()
    for values, label in (
        (page.anomaly, "E, by a solver in NumPy"),
        (page.by_time.numpy(), "∂E/∂M"),
        (page.by_shape.numpy(), "∂E/∂e"),
    ):
        axes.plot(page.times, values, label=label)
    axes.axhline(0, color="0.8", lw=1, zorder=0)
    axes.set(xlabel="mean anomaly M / rad", xlim=(0, 2 * np.pi))
    axes.set_title("Kepler's equation at e = 0.7", fontsize="medium")
    axes.legend(frameon=False)


def custom_vjp(page: Page, figure: Figure) -> None:
    axes = figure.subplots()
    x = np.linspace(-6.0, 6.0, 241)
    labels = ("softplus", "first derivative: the rule", "second: of the rule")
    for values, label in zip(page.softplus_curves, labels, strict=True):
        axes.plot(x, values, label=label)
    axes.set(xlabel="x", xlim=(-6, 6), ylim=(-0.05, 3))
    axes.legend(frameon=False, loc="upper left")


def numeric(page: Page, figure: Figure) -> None:
    axes = figure.subplots()
    axes.loglog(page.steps, page.errors, "C1.-", label="numeric_grad(f, eps=step)")
    default = np.finfo(float).eps ** (1 / 3)
    axes.loglog(default, page.by_default, "ko", mfc="none", ms=9, label="its default")
    axes.axhline(max(page.by_grad, 1e-16), color="C0", label="grad(f)")
    axes.set(xlabel="step", ylabel="error of the derivative")
    axes.legend(frameon=False)


SIZES = {"vmap": (6.4, 3.6), "jacobian": (6.4, 3.2), "hessian": (6, 4), "minimize": (6, 4)}
PICTURES: list[Callable[[Page, Figure], None]] = [
    grad, jvp_vjp, jacobian, hessian, minimize, vmap, checkpoint, implicit, custom_vjp, numeric
]  # fmt: skip


def save(figure: Figure, path: Path) -> None:
    """Write a figure as a small PNG, with a palette of few colours."""
    data = io.BytesIO()
    figure.savefig(data, dpi=120)
    squeeze(Image.open(data), path)


def squeeze(image: Image.Image, path: Path) -> None:
    """Write an image with few colours."""
    image.convert("RGB").quantize(
        COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE
    ).save(path, optimize=True)


def main(arguments: Sequence[str] | None = None, folder: Path = IMAGES) -> list[Path]:
    """Draw the pictures named, or all; return their paths."""
    wanted = list(sys.argv[1:] if arguments is None else arguments)
    wanted = wanted or [f.__name__ for f in PICTURES] + GALLERY
    folder.mkdir(parents=True, exist_ok=True)
    page = Page() if set(wanted) - set(GALLERY) else None
    for draw in PICTURES:
        if page is not None and draw.__name__ in wanted:
            size = SIZES.get(draw.__name__, (6, 3.2))
            figure = Figure(figsize=size, layout="constrained")
            draw(page, figure)
            save(figure, folder / f"{draw.__name__}.png")
    for name in set(wanted) & set(GALLERY):
        path = folder / f"{name}.png"
        program = FOLDER.parent / "examples" / f"{name}.py"
        subprocess.run([sys.executable, program, path], check=True, stdout=subprocess.DEVNULL)
        image = Image.open(path)
        image.thumbnail((WIDEST, WIDEST), Image.Resampling.LANCZOS)
        squeeze(image, path)
    return [folder / f"{name}.png" for name in wanted]


if __name__ == "__main__":
    for drawn in main():
        print(f"{drawn.name:24} {drawn.stat().st_size / 1000:5.1f} kB")
