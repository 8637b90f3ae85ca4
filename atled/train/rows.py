"""Digits from a user's CSV file: rows of 64 numbers from 0 to 16, and a label.

Every cell is checked on its way in; an error names the file's row and column.
"""

import math
from os import PathLike

from atled.data.digits import CLASSES, SIDE, Digits

__all__ = ["divide", "read_rows"]

PIXELS = SIDE * SIDE
INK = 16.0
LEAST = 20  # rows that one can train and test on
MAX_FILE = 256 * 2**20  # bytes


def read_rows(path: str | PathLike[str], labels: bool = True) -> Digits:
    """Read a CSV file of digits.

    Args:
        path: rows of 64 pixels from 0 (paper) to 16 (ink), read line by line of the image, and
            a label from 0 to 9. A first line of names is passed over, as are empty lines.
        labels: whether every row must have its label; without, rows of 64 and of 65 cells are
            both read, and a missing label is -1.

    Returns:
        Digits: pixels divided by 16; `numbers` are the file's line numbers, from 1.

    Raises:
        ValueError: a row is too short or long, or a cell is no such number; row and column are
            named.
        OSError: the file cannot be read.
    """
    with open(path, "rb") as file:
        data = file.read(MAX_FILE + 1)
    if len(data) > MAX_FILE:
        raise ValueError(f"{path}: larger than {MAX_FILE // 2**20} MiB")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not a text file (byte {error.start})") from None
    digits = Digits([], [], [])
    for number, line in enumerate(text.splitlines(), start=1):
        cells = [cell.strip() for cell in line.split(",")]
        if not any(cells) or (number == 1 and not any(map(_is_number, cells))):
            continue
        image, label = _row(f"{path}: row {number}", cells, labels)
        digits.images.append(image)
        digits.labels.append(label)
        digits.numbers.append(number)
    if not len(digits):
        raise ValueError(f"{path}: there are no rows in it")
    return digits


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _row(where: str, cells: list[str], labels: bool) -> tuple[list[float], int]:
    allowed = (PIXELS + 1,) if labels else (PIXELS, PIXELS + 1)
    if len(cells) not in allowed:
        needed = f"{PIXELS} pixels and a label" if labels else f"{PIXELS} pixels"
        raise ValueError(f"{where}: expected {needed}, found {len(cells)} cells")
    image = [_pixel(f"{where}, column {i + 1}", cell) for i, cell in enumerate(cells[:PIXELS])]
    return image, _label(where, cells[PIXELS]) if len(cells) > PIXELS else -1


def _pixel(where: str, cell: str) -> float:
    value = float(cell) if _is_number(cell) else math.nan
    if not 0.0 <= value <= INK:  # false for NaN too
        raise ValueError(f"{where}: a pixel is a number from 0 to 16; found {cell!r}")
    return value / INK


def _label(where: str, cell: str) -> int:
    value = float(cell) if _is_number(cell) else math.nan
    if not (0 <= value < CLASSES and value == int(value)):
        raise ValueError(
            f"{where}, column {PIXELS + 1}: a label is a digit from 0 to 9; found {cell!r}"
        )
    return int(value)


def divide(digits: Digits, path: str) -> tuple[Digits, Digits]:
    """Divide a user's rows: of each digit every fifth row tests, the others train.

    Raises:
        ValueError: there are too few rows for both.
    """
    train, test = Digits([], [], []), Digits([], [], [])
    seen = [0] * CLASSES
    for image, label, number in zip(digits.images, digits.labels, digits.numbers, strict=True):
        seen[label] += 1
        part = test if seen[label] % 5 == 0 else train
        part.images.append(image)
        part.labels.append(label)
        part.numbers.append(number)
    if len(digits) < LEAST or not len(test):
        raise ValueError(
            f"{path}: {len(digits)} rows are too few to train and test on; {LEAST} rows, and five "
            "of one digit, are the least"
        )
    return train, test
