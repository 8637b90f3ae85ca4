"""What a model makes of the test images: accuracy, confusion, and what it got wrong."""

from collections.abc import Sequence
from dataclasses import dataclass

from atled import functions as at
from atled import nn
from atled.core.mode import no_grad
from atled.core.tensor import Tensor
from atled.data.digits import CLASSES, Digits

__all__ = ["Mistake", "Outcome", "judge", "probabilities"]


@dataclass(frozen=True)
class Mistake:
    """A test image that was taken for another digit.

    Attributes:
        image: its 64 pixels, paper 0 to ink 1.
        number: where it stands in its file.
        label, guess: what it is, and what the model says.
        doubt, belief: the probabilities that the model gives to the two.
    """

    image: list[float]
    number: int
    label: int
    guess: int
    doubt: float
    belief: float


@dataclass(frozen=True)
class Outcome:
    """What the model says of all test images.

    Attributes:
        accuracy: the part that is right.
        loss: the mean cross-entropy.
        confusion: how often each digit (row) was taken for each (column).
        mistakes: all of them, the most confident first.
    """

    accuracy: float
    loss: float
    confusion: list[list[int]]
    mistakes: list[Mistake]


def probabilities(model: nn.Module, x: Tensor) -> list[list[float]]:
    """Return the probability of each digit for each input."""
    with no_grad():
        return at.softmax(model(x), -1).tolist()


def judge(model: nn.Module, x: Tensor, y: Tensor, digits: Digits) -> Outcome:
    """Compare what the model says of inputs `x` with their labels."""
    with no_grad():
        logits = model(x)
        loss = nn.functional.cross_entropy(logits, y).item()
        table: list[list[float]] = at.softmax(logits, -1).tolist()
    confusion = [[0] * CLASSES for _ in range(CLASSES)]
    mistakes = []
    for image, label, number, row in zip(
        digits.images, digits.labels, digits.numbers, table, strict=True
    ):
        guess = best(row)
        confusion[label][guess] += 1
        if guess != label:
            mistakes.append(Mistake(image, number, label, guess, row[label], row[guess]))
    mistakes.sort(key=lambda m: (m.doubt - m.belief, m.number))
    accuracy = 1.0 - len(mistakes) / len(digits)
    return Outcome(accuracy, float(loss), confusion, mistakes)


def best(row: Sequence[float]) -> int:
    """Return the number of the largest element; the first of equal ones."""
    return max(range(len(row)), key=lambda i: row[i])
