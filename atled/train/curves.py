"""Curves as inline SVG: a few lines over epochs, with axes that people can read."""

import math
from collections.abc import Sequence
from html import escape

__all__ = ["chart", "ticks"]

WIDTH, HEIGHT = 460, 270
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 12, 34


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return round numbers that span an interval, about `count` of them.

    Example:
        >>> ticks(0.0, 0.93)
        [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    if not high > low:
        high = low + 1.0
    rough = (high - low) / count
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(m * unit for m in (1, 2, 2.5, 5, 10) if m * unit >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 10) for i in range(first, last + 1)]


def chart(title: str, lines: Sequence[tuple[str, str, Sequence[float]]], *,
          percent: bool = False) -> str:  # fmt: skip
    """Return a chart of lines over epochs 1, 2, …

    Args:
        title: what is shown, for those who cannot see it.
        lines: (label, CSS class, a value for each epoch) of each line.
        percent: whether values are fractions, written as percentages.
    """
    values = [v for _, _, line in lines for v in line if math.isfinite(v)] or [0.0]
    marks = ticks(min(values) if percent else min(0.0, *values), max(values))
    if percent:
        marks = [m for m in marks if m <= 1.0]
    low, high = marks[0], marks[-1]
    epochs = max(len(line) for _, _, line in lines)
    span = (high - low) or 1.0

    def x(epoch: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * ((epoch - 1) / (epochs - 1) if epochs > 1 else 0.5)

    def y(value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (high - value) / span

    parts = [
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(title)}">'
    ]
    for mark in marks:
        text = f"{100 * mark:g} %" if percent else f"{mark:g}"
        parts.append(
            f'<path class="grid" d="M{LEFT} {y(mark):.1f}H{WIDTH - RIGHT}"/>'
            f'<text x="{LEFT - 8}" y="{y(mark) + 4:.1f}" text-anchor="end">{text}</text>'
        )
    parts += [
        f'<text x="{x(n):.1f}" y="{HEIGHT - 14}" text-anchor="middle">{n}</text>'
        for n in _epochs(epochs)
    ]
    parts.append(f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 1}" text-anchor="end">epoch</text>')
    for label, kind, line in lines:
        parts.append(_line(label, kind, [(x(i + 1), y(v)) for i, v in enumerate(line)
                                         if math.isfinite(v)]))  # fmt: skip
    return "".join([*parts, "</svg>"])


def _epochs(count: int) -> list[int]:
    """Return the epochs that get a number: the first, and round ones up to the last."""
    step = next(s for s in (1, 2, 5, 10, 20, 50, 100, 10**9) if count <= 12 * s)
    return [1, *(n for n in range(step, count + 1, step) if n > 1)]


def _line(label: str, kind: str, points: Sequence[tuple[float, float]]) -> str:
    if len(points) == 1:
        x, y = points[0]
        return f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>'
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    return f'<path class="line {kind}" d="M{path}"><title>{escape(label)}</title></path>'
