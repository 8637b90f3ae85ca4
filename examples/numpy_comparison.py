"""The same function twice: in NumPy with a gradient by hand, and in atled without one.

Logistic regression: the loss is Σ log(1 + exp(-t (x w + b))) / n + λ |w|² for targets t = ±1.
"""

import numpy as np

import atled as at

PENALTY = 0.1


def by_hand(w, b, x, t):
    """Return the loss and its gradients, derived on paper."""
    margin = t * (x @ w + b)
    loss = np.log1p(np.exp(-margin)).mean() + PENALTY * (w * w).sum()
    slope = -t / (1 + np.exp(margin)) / len(t)
    return loss, x.T @ slope + 2 * PENALTY * w, slope.sum()


def by_atled(w, b, x, t):
    """Return the loss and its gradients; the formula is all that is written."""
    w, b = (at.tensor(value, requires_grad=True) for value in (w, b))
    margin = t * (x @ w + b)
    loss = at.log1p(at.exp(-margin)).mean() + PENALTY * (w * w).sum()
    loss.backward()
    return loss.item(), w.grad.numpy(), b.grad.item()


def main(samples: int = 1000, features: int = 20) -> float:
    """Compare the two; return the largest difference between their gradients."""
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(samples, features)), rng.normal(size=features)
    b, t = np.float64(0.3), np.where(rng.random(samples) < 0.5, -1.0, 1.0)
    loss, dw, db = by_hand(w, b, x, t)
    same_loss, same_dw, same_db = by_atled(w, b, x, t)
    print(f"loss      by hand {loss:.12f}   by atled {same_loss:.12f}")
    print(f"d loss/db by hand {db:.12f}   by atled {same_db:.12f}")
    apart = max(float(np.abs(dw - same_dw).max()), abs(db - same_db))
    print(f"largest difference of the gradients: {apart:.1e}")
    return apart


if __name__ == "__main__":
    main()
