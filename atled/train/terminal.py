"""The outcome in the terminal: a confusion table, and the worst mistakes drawn with blocks."""

import os
import shutil
import sys
from collections.abc import Sequence

from atled.data.digits import CLASSES, SIDE
from atled.train.outcome import Mistake, Outcome
from atled.train.run import REPORT

__all__ = ["bars", "confusion_table", "drawn", "mistakes_drawn", "show"]

SHADES = " ░▒▓█"
PLAIN = " .:*#"  # for terminals that have no such characters


def show(outcome: Outcome, count: int, folder: str, quiet: bool) -> None:
    """Print how a run ended."""
    wrong = len(outcome.mistakes)
    if not quiet:
        print("\n" + confusion_table(outcome.confusion))
        if wrong:
            print("\nThe worst mistakes, of " + (f"{wrong}:" if wrong > 1 else "one:") + "\n")
            print(mistakes_drawn(outcome.mistakes))
        print()
    print(f"test accuracy {100 * outcome.accuracy:.2f} %  ({count - wrong} of {count} images)")
    print(f"report: {os.path.join(folder, REPORT)}")


def confusion_table(confusion: Sequence[Sequence[int]]) -> str:
    """Return the table of digits (rows) and what they were taken for (columns)."""
    width = max(3, *(len(str(n)) for row in confusion for n in row)) + 1
    lines = ["taken for " + "".join(f"{digit:>{width}}" for digit in range(CLASSES))]
    lines.append(" " * 10 + _fit("─") * (width * CLASSES))
    for digit, row in enumerate(confusion):
        cells = "".join(f"{n or _fit('·'):>{width}}" for n in row)
        lines.append(f"{'digit' if digit == 0 else '':>6} {digit} {_fit('│')}{cells}")
    return "\n".join(lines)


def mistakes_drawn(mistakes: Sequence[Mistake], limit: int = 8) -> str:
    """Return the first mistakes side by side, as many as the terminal is wide, in two rows."""
    cell = 2 * SIDE + 2
    across = max(1, min(8, (shutil.get_terminal_size().columns + 2) // cell))
    chosen = mistakes[: min(limit, 2 * across)]
    blocks = []
    for start in range(0, len(chosen), across):
        row = chosen[start : start + across]
        heads = [f"#{m.number}: {m.label}, not {m.guess}"[: cell - 1] for m in row]
        beliefs = [f"({100 * m.doubt:.0f} %, {100 * m.belief:.0f} %)" for m in row]
        lines = ["".join(f"{text:<{cell}}" for text in texts) for texts in (heads, beliefs)]
        pictures = [drawn(m.image) for m in row]
        lines += ["  ".join(parts) for parts in zip(*pictures, strict=True)]
        blocks.append("\n".join(line.rstrip() for line in lines))
    return "\n\n".join(blocks)


def drawn(image: Sequence[float]) -> list[str]:
    """Return an image of 64 pixels as eight lines, two characters a pixel."""
    shades = SHADES if _can_show(SHADES) else PLAIN
    top = len(shades) - 1
    lines = []
    for start in range(0, SIDE * SIDE, SIDE):
        lines.append("".join(shades[round(ink * top)] * 2 for ink in image[start : start + SIDE]))
    return lines


def bars(values: Sequence[float], width: int = 40) -> str:
    """Return a bar chart of ten probabilities, a line a digit."""
    full = _fit("█")
    lines = []
    for digit, p in enumerate(values):
        bar = full * round(p * width) or ("" if p < 0.005 else _fit("▏"))
        lines.append(f"  {digit}  {100 * p:5.1f} %  {bar}".rstrip())
    return "\n".join(lines)


_REPLACED = str.maketrans("█▏─│·", "#|-|.")


def _fit(text: str) -> str:
    """Return text as the terminal can show it."""
    return text if _can_show(text) else text.translate(_REPLACED)


def _can_show(text: str) -> bool:
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
