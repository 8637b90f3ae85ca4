"""A gradient in five lines."""

import atled as at


def main() -> list[float]:
    """Differentiate Σ sin(x)² at three points; return the gradient, sin(2x)."""
    x = at.tensor([0.0, 0.5, 1.0], requires_grad=True)
    y = (at.sin(x) ** 2).sum()
    y.backward()
    print(x.grad)
    return x.grad.tolist()


if __name__ == "__main__":
    main()
