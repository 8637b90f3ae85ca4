"""The hand-written digits that come with atled: 1,797 scanned images of 8 by 8 pixels.

`digits.csv.gz` holds them in the order of scikit-learn's `load_digits`, with a column that says
once and for all which image trains and which one tests; DIGITS.md tells where they come from,
under what licence, and by what rule they were divided. This module needs the standard library
only. Every row is checked on its way in, so what it returns is whole or an error.
"""

import zlib
from dataclasses import dataclass
from os.path import dirname, join
from typing import Literal

__all__ = ["CLASSES", "SIDE", "Digits", "load_digits"]

SIDE = 8  # pixels along one edge of an image
CLASSES = 10
_PIXELS = SIDE * SIDE
_INK = 16  # the darkest pixel in the file
_SPLITS = ("train", "test")
_HEADER = [f"p{row}{column}" for row in range(SIDE) for column in range(SIDE)] + ["label", "split"]
_GRAY = {str(ink): ink / _INK for ink in range(_INK + 1)}
_LABEL = {str(digit): digit for digit in range(CLASSES)}


@dataclass(frozen=True, repr=False)
class Digits:
    """Images of hand-written digits with their labels.

    Attributes:
        images: n rows of 64 floats, an 8x8 image read row by row: 0.0 is paper, 1.0 is ink,
            in steps of 1/16.
        labels: n integers from 0 to 9.
        numbers: where each image stands in the full file, counted from 0; the index of the same
            image in scikit-learn's `load_digits`.
    """

    images: list[list[float]]
    labels: list[int]
    numbers: list[int]

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        return f"Digits({len(self)} images of {SIDE}x{SIDE} pixels)"


def load_digits(split: Literal["train", "test"] = "train") -> Digits:
    """Load one part of the hand-written digits.

    Args:
        split: "train" (1,437 images) or "test" (360 images, 36 of each digit). The two parts
            never share an image, and they are the same in every release.

    Returns:
        Digits: images as n lists of 64 floats from 0 to 1, labels as n integers from 0 to 9.

    Raises:
        ValueError: another `split`, or the file was damaged (the error names the row).
        OSError: the file that belongs to the package is not there.

    Example:
        >>> test = load_digits("test")
        >>> len(test), len(test.images[0]), test.labels[:3]
        (360, 64, [0, 1, 2])

    Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine
    Learning Repository, 1998, doi 10.24432/C50P49.
    """
    if split not in _SPLITS:
        raise ValueError(f"load_digits: found split={split!r}; ask for 'train' or 'test'")
    path = join(dirname(__file__), "digits.csv.gz")
    with open(path, "rb") as file:
        return _parse(_unpack(file.read(), path), split)


def _unpack(data: bytes, path: str) -> str:
    """Decompress the file; gzip's own checksum catches what was damaged."""
    try:
        return zlib.decompress(data, wbits=31).decode("ascii")
    except (zlib.error, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is damaged ({error}); install atled again") from None


def _parse(text: str, split: str) -> Digits:
    """Read the rows of one split out of the table, and check all of them."""
    header, *rows = text.splitlines() or [""]
    if header.split(",") != _HEADER:
        raise ValueError(f"digits row 1: the header must be p00..p77,label,split; found {header!r}")
    digits = Digits([], [], [])
    for number, row in enumerate(rows):
        image, label, part = _parse_row(row, number + 2)
        if part == split:
            digits.images.append(image)
            digits.labels.append(label)
            digits.numbers.append(number)
    return digits


def _parse_row(row: str, line: int) -> tuple[list[float], int, str]:
    """Read one row: 64 pixels, the label, the split."""
    cells = row.split(",")
    if len(cells) != len(_HEADER):
        raise ValueError(f"digits row {line}: expected {len(_HEADER)} columns, found {len(cells)}")
    *pixels, label, split = cells
    for column, pixel in enumerate(pixels):
        if pixel not in _GRAY:
            where = f"digits row {line}, column {_HEADER[column]}"
            raise ValueError(f"{where}: a pixel is an integer from 0 to {_INK}; found {pixel!r}")
    if label not in _LABEL:
        raise ValueError(f"digits row {line}: a label is a digit from 0 to 9; found {label!r}")
    if split not in _SPLITS:
        raise ValueError(f"digits row {line}: a split is 'train' or 'test'; found {split!r}")
    return [_GRAY[pixel] for pixel in pixels], _LABEL[label], split
