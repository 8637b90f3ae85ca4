"""Small networks learn, on every backend."""

import pytest

import atled as at
from atled import nn, optim

F = nn.functional


def points(count):
    """Points of the square, row by row, and whether they lie off the diagonal band."""
    at.manual_seed(7)
    x = at.rand(count, 2) * 2 - 1
    return x, x[:, 0] * x[:, 1]


@pytest.mark.parametrize("task", ["mse", "cross_entropy", "binary_cross_entropy"])
def test_an_mlp_learns(backend, task):
    x, product = points(40)
    at.manual_seed(0)
    outputs = 2 if task == "cross_entropy" else 1
    net = nn.Sequential(nn.Linear(2, 12), nn.Tanh(), nn.Linear(12, outputs))
    optimizer = optim.SGD(net.parameters(), lr=0.1 if task == "mse" else 0.5, momentum=0.9)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        y = net(x)
        if task == "mse":
            loss = F.mse_loss(y, at.expand_dims(product, 1))
        elif task == "cross_entropy":
            loss = F.cross_entropy(y, at.astype(product > 0, "int64"))
        else:
            target = at.expand_dims(at.astype(product > 0, x.dtype), 1)
            loss = F.binary_cross_entropy(at.sigmoid(y), target)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
    assert sum(losses[-5:]) < sum(losses[:5])


def test_the_pairs_style_learns(backend):
    at.manual_seed(0)
    net = nn.Linear(2, 1)
    optimizer = optim.SGD(net.named_parameters(), lr=0.1)
    x = at.tensor([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    y = at.tensor([[2.0], [3.0], [5.0]])
    losses = []
    for _ in range(100):
        loss = F.mse_loss(net(x), y)
        optimizer.step(loss.gradients())
        losses.append(loss.item())
    assert losses[-1] < 0.05 * losses[0]
    assert net.weight.grad is None


def test_a_small_cnn_learns(backend):
    at.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(),
                        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12, 2))  # fmt: skip
    optimizer = optim.Adam(net.parameters(), lr=0.05)
    x = at.rand(8, 1, 4, 4)
    y = at.tensor([0, 1] * 4)
    losses = []
    for _ in range(15):
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
