"""Read digits with a trained model: from a picture, or from the rows of a CSV file."""

from atled.backends.protocol import current, default_dtype, use
from atled.data.digits import Digits
from atled.data.png import decode_png
from atled.train import run
from atled.train.bitmap import count_ink
from atled.train.models import as_inputs
from atled.train.outcome import best, probabilities
from atled.train.refusal import refused
from atled.train.rows import read_rows
from atled.train.terminal import bars, drawn

__all__ = ["predict", "read_digits"]

_SIGNATURE = b"\x89PNG"


def predict(folder: str, path: str, *, out: str = "runs", backend: str | None = None) -> None:
    """Print what the model of a run sees in a file.

    Args:
        folder: of the run, or its name under `out`.
        path: a PNG picture of one digit, or a CSV file with 64 pixels a row.
        out: the folder of all runs.
        backend: what computes; by default numpy if it is installed, else python.

    Raises:
        Refusal: run or file cannot be used.
    """
    folder = run.find_folder(folder, out, run.MODEL)
    with refused():
        setting = use(backend or current().name)
    with setting:
        model, _ = run.load_model(folder, default_dtype(current()))
        with refused():
            digits = read_digits(path)
        table = probabilities(model, as_inputs(digits.images))
    if len(digits) == 1:
        print("\n".join(f"  {line}".rstrip() for line in drawn(digits.images[0])))
        print(f"\ndigit: {best(table[0])}\n\n{bars(table[0])}")
    else:
        _print_rows(digits, table)


def read_digits(path: str) -> Digits:
    """Read a file as digits: a PNG picture by its first bytes, a table otherwise.

    Raises:
        ValueError: it is neither, or not whole.
        OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        is_png = file.read(len(_SIGNATURE)) == _SIGNATURE
    if not is_png:
        if path.lower().endswith(".png"):
            raise ValueError(f"{path}: not a PNG file")
        return read_rows(path, labels=False)
    with open(path, "rb") as file:
        _, _, rows = decode_png(file.read(), path)
    try:
        return Digits([count_ink(rows)], [-1], [1])
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _print_rows(digits: Digits, table: list[list[float]]) -> None:
    right = known = 0
    for row, label, number in zip(table, digits.labels, digits.numbers, strict=True):
        guess = best(row)
        line = f"row {number}: {guess}  {100 * row[guess]:5.1f} %"
        if label >= 0:
            known, right = known + 1, right + (label == guess)
            line += "" if label == guess else f"   (its label is {label})"
        print(line)
    if known:
        print(f"{right} of {known} labels agree ({100 * right / known:.1f} %)")
