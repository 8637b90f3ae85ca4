"""A small network learns to read hand-written digits, by a compiled training step.

    python examples/mlp.py

Forward pass, gradients and optimizer become one native program, which a call of `step` runs.
"""

from collections.abc import Iterator, Sequence
from typing import Literal

from training import parser, train

import atled as at
from atled import nn
from atled.data import DataLoader, TensorDataset, load_digits

F = nn.functional


def digits(split: Literal["train", "test"]) -> tuple[at.Tensor, at.Tensor]:
    """Return images as rows of 64 numbers from -1 to 1, and the digits that they show."""
    data = load_digits(split)
    return at.tensor(data.images) * 2 - 1, at.tensor(data.labels)


def endless(loader: DataLoader) -> Iterator[tuple[at.Tensor, ...]]:
    """Serve one epoch after another."""
    while True:
        yield from loader


def accuracy(model: nn.Module, images: at.Tensor, labels: at.Tensor) -> float:
    """Return the part of the images that a model reads rightly."""
    with at.no_grad():
        right = at.count_nonzero(model(images).argmax(1) == labels)
    return right.item() / len(labels)


def main(arguments: Sequence[str] | None = None) -> float:
    """Train; return the part of the test images that is read rightly."""
    accepted = parser(__doc__, "mlp", steps=1000, every=100, lr=3e-3)
    options = accepted.parse_args(arguments)
    if options.quick:
        options.steps, options.every = 200, 50

    at.manual_seed(options.seed)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = at.optim.Adam(model.parameters(), lr=options.lr)
    loader = DataLoader(TensorDataset(*digits("train")), 32, shuffle=True, drop_last=True)
    images, labels = digits("test")

    @at.compile
    def step(x: at.Tensor, y: at.Tensor) -> at.Tensor:
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss

    def judge() -> dict[str, float]:
        return {"test accuracy": accuracy(model, images, labels)}

    train(step, endless(loader), judge, options, model=model, optimizer=optimizer, loader=loader)
    return judge()["test accuracy"]


if __name__ == "__main__":
    main()
