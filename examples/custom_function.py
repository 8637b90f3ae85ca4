"""A function with a derivative of its own.

The sign of x has no useful derivative. A *straight-through estimator* (Bengio, Léonard,
Courville 2013, arXiv:1308.3432) passes the cotangent where |x| ≤ 1 and stops it elsewhere, so
that a network of ±1 activations can be trained.
"""

import atled as at


class StraightThroughSign(at.autograd.Function):
    """sign(x) forward; the identity on [-1, 1] backward."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return at.sign(x)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * (abs(x) <= 1).astype(g.dtype)


def main() -> list[float]:
    """Differentiate Σ 3 sign(x) through the estimator; return the gradient."""
    x = at.tensor([-2.0, -0.5, 0.5, 2.0], requires_grad=True)
    y = StraightThroughSign.apply(x)
    (3 * y).sum().backward()
    print(f"sign(x)  {y.tolist()}\ngradient {x.grad.tolist()}")
    return x.grad.tolist()


if __name__ == "__main__":
    main()
