"""A convolutional network learns to read hand-written digits, by a compiled training step.

    python examples/cnn.py

The images, 8×8, are enlarged to 28×28, so that the network is the one that such data usually
meet: two convolutions with pooling, and a linear layer.
"""

from collections.abc import Sequence
from typing import Literal

from mlp import accuracy, digits, endless
from training import parser, train

import atled as at
from atled import nn
from atled.data import DataLoader, TensorDataset

F = nn.functional


def pictures(split: Literal["train", "test"], side: int) -> tuple[at.Tensor, at.Tensor]:
    """Return images (n, 1, side, side), enlarged smoothly, and the digits that they show."""
    images, labels = digits(split)
    small = images.reshape(-1, 1, 8, 8)
    return F.interpolate(small, (side, side), mode="bilinear", align_corners=False), labels


def network(side: int, channels: int) -> nn.Module:
    """Return the network: `channels` after the first convolution, twice as many after the other."""
    return nn.Sequential(
        nn.Conv2d(1, channels, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(channels, 2 * channels, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(2 * channels * (side // 4) ** 2, 10),
    )


def main(arguments: Sequence[str] | None = None) -> float:
    """Train; return the part of the test images that is read rightly."""
    accepted = parser(__doc__, "cnn", steps=200, every=25, lr=1e-3)
    accepted.add_argument("--side", type=int, default=28, help="of the images, in pixels")
    accepted.add_argument("--channels", type=int, default=32, help="of the first convolution")
    options = accepted.parse_args(arguments)
    if options.quick:
        options.steps, options.every, options.lr = 100, 25, 5e-3
        options.side, options.channels = 8, 8

    at.manual_seed(options.seed)
    model = network(options.side, options.channels)
    optimizer = at.optim.Adam(model.parameters(), lr=options.lr)
    data = TensorDataset(*pictures("train", options.side))
    loader = DataLoader(data, batch_size=64, shuffle=True, drop_last=True)
    images, labels = pictures("test", options.side)

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
