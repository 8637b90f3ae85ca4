"""A two-layer binary classifier in the pairs style.

`loss.gradients()` returns (gradient, parameter) pairs and touches no `.grad`; an optimizer's
`step` accepts them. Four yes-or-no questions are asked about three numbers.
"""

import atled as at
from atled import nn


def questions(x: at.Tensor) -> at.Tensor:
    """Return four answers for each row of three numbers, as 0.0 and 1.0."""
    a, b, c = x[:, 0], x[:, 1], x[:, 2]
    return at.stack([a > b, a + b > c, a * b > 0, abs(c) > 0.5], axis=1).astype(x.dtype)


def main(steps: int = 300, samples: int = 200, lr: float = 0.002) -> list[float]:
    """Train, and return the loss of every step."""
    at.manual_seed(0)
    x = at.rand(samples, 3) * 2 - 1
    y = questions(x)
    hidden, last = nn.Linear(3, 2), nn.Linear(2, 4)
    opt = at.optim.SGD([*hidden.parameters(), *last.parameters()], lr=lr)
    losses = []
    for step in range(steps):
        p = at.sigmoid(last(at.sin(hidden(x))))
        loss = nn.functional.binary_cross_entropy(p, y, reduction="sum")
        opt.step(loss.gradients())
        losses.append(loss.item())
        if step % max(1, steps // 10) == 0 or step == steps - 1:
            print(f"step {step:4}  loss {losses[-1]:8.2f}")
    return losses


if __name__ == "__main__":
    main()
