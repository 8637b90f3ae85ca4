"""A picture of a digit as 8x8 counts of ink, in the manner of the digits' makers.

They scaled what was written in a box to a bitmap of 32x32 and counted the ink in its 64 blocks
of 4x4 pixels, from 0 to 16. Here: find out whether the picture is dark on light or light on
dark, cut out what is drawn, scale it to the bitmap's height (or width, if it is wider), centre
it, and count. Grays count in part, so that small pictures lose nothing.
"""

from collections.abc import Sequence
from itertools import pairwise

from atled.data.digits import SIDE

__all__ = ["count_ink"]

BITMAP = 32  # pixels along an edge
BLOCK = BITMAP // SIDE
LEAST_CONTRAST = 0.1  # between paper and ink, of the whole range
FAINT, FULL = 0.1, 0.9  # of the contrast: below the one is paper, above the other ink

Rows = list[list[float]]


def count_ink(rows: Sequence[Sequence[float]]) -> list[float]:
    """Return the ink in each of 64 blocks, line by line, as k / 16 with k from 0 to 16.

    Args:
        rows: the picture's pixels from 0.0 (black) to 1.0 (white).

    Raises:
        ValueError: there is nothing drawn in it.
    """
    bitmap = _scaled(_cut_out(_ink(rows)))
    counts = []
    for top in range(0, BITMAP, BLOCK):
        for left in range(0, BITMAP, BLOCK):
            ink = sum(sum(row[left : left + BLOCK]) for row in bitmap[top : top + BLOCK])
            counts.append(min(16, round(ink)) / 16)
    return counts


def _ink(rows: Sequence[Sequence[float]]) -> Rows:
    """Return how much ink is on each pixel, from 0 to 1, whichever of the two is the paper."""
    low, high = min(map(min, rows)), max(map(max, rows))
    contrast = high - low
    if contrast < LEAST_CONTRAST:
        raise ValueError("there is nothing drawn in the image: all of it is one shade")
    border = sorted([*rows[0], *rows[-1], *(row[0] for row in rows), *(row[-1] for row in rows)])
    paper_is_light = border[len(border) // 2] >= (low + high) / 2
    start = high if paper_is_light else low
    scale = (-1 if paper_is_light else 1) / contrast
    span = FULL - FAINT
    return [[min(1.0, max(0.0, ((v - start) * scale - FAINT) / span)) for v in row] for row in rows]


def _cut_out(ink: Rows) -> Rows:
    """Return the smallest part with all the ink in it."""
    lines = [y for y, row in enumerate(ink) if any(row)]
    columns = [x for x in range(len(ink[0])) if any(row[x] for row in ink)]
    left, right = columns[0], columns[-1] + 1
    return [row[left:right] for row in ink[lines[0] : lines[-1] + 1]]


def _scaled(ink: Rows) -> Rows:
    """Return ink scaled to fill the bitmap's height or width, and centred in the other."""
    height, width = len(ink), len(ink[0])
    longer = max(height, width)
    tall = max(1, round(BITMAP * height / longer))
    wide = max(1, round(BITMAP * width / longer))
    narrow = [_resampled(row, wide) for row in ink]
    columns = [_resampled(column, tall) for column in map(list, zip(*narrow, strict=True))]
    scaled = [list(row) for row in zip(*columns, strict=True)]
    left, top = (BITMAP - wide) // 2, (BITMAP - tall) // 2
    blank = [0.0] * BITMAP
    middle = [[0.0] * left + row + [0.0] * (BITMAP - wide - left) for row in scaled]
    return [blank] * top + middle + [blank] * (BITMAP - tall - top)


def _resampled(line: Sequence[float], count: int) -> list[float]:
    """Return a line as `count` pixels, each the mean of the stretch that it covers."""
    n = len(line)
    sums = [0.0]
    for value in line:
        sums.append(sums[-1] + value)

    def upto(place: float) -> float:  # the ink left of a place
        whole = min(int(place), n - 1)
        return sums[whole] + (place - whole) * line[whole]

    edges = [upto(n * i / count) for i in range(count + 1)]
    return [max(0.0, (after - before) * count / n) for before, after in pairwise(edges)]
