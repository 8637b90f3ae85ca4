"""Models, losses and functions that atled and PyTorch share, word for word.

Each takes the library, `atled` or `torch`: the names are the same. Parameters come in the order
of `problems.py`.
"""

from collections.abc import Callable
from typing import Any

from contestants.problems import GPT

__all__ = ["MODELS", "loss_of", "map_sum", "recurrence", "rosenbrock"]


def tiny(lib: Any) -> Any:
    nn = lib.nn
    return nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 1))


def mlp(lib: Any) -> Any:
    nn = lib.nn
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


def mlp_large(lib: Any) -> Any:
    nn = lib.nn
    return nn.Sequential(
        nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)
    )


def cnn(lib: Any) -> Any:
    nn = lib.nn
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(64 * 7 * 7, 10),
    )  # fmt: skip


def gpt(lib: Any) -> Any:
    """Return a GPT with normalisation before each part and a causal mask."""
    nn, F = lib.nn, lib.nn.functional
    width, heads = GPT.width, GPT.heads

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm1 = nn.LayerNorm(width)
            self.qkv = nn.Linear(width, 3 * width, bias=False)
            self.out = nn.Linear(width, width)
            self.norm2 = nn.LayerNorm(width)
            self.up = nn.Linear(width, 4 * width)
            self.down = nn.Linear(4 * width, width)

        def attention(self, x: Any) -> Any:
            n, length, _ = x.shape
            q, k, v = (
                part.view(n, length, heads, width // heads).transpose(1, 2)
                for part in self.qkv(x).split(width, dim=-1)
            )
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            return self.out(y.transpose(1, 2).reshape(n, length, width))

        def forward(self, x: Any) -> Any:
            x = x + self.attention(self.norm1(x))
            return x + self.down(F.gelu(self.up(self.norm2(x))))

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.token = nn.Embedding(GPT.vocabulary, width)
            self.position = nn.Embedding(GPT.context, width)
            self.blocks = nn.Sequential(*[Block() for _ in range(GPT.layers)])
            self.norm = nn.LayerNorm(width)
            self.head = nn.Linear(width, GPT.vocabulary, bias=False)

        def forward(self, text: Any) -> Any:
            places = lib.arange(text.shape[1])
            x = self.blocks(self.token(text) + self.position(places))
            return self.head(self.norm(x)).flatten(0, 1)

    return Model()


MODELS: dict[str, Callable[[Any], Any]] = {
    "tiny": tiny, "mlp": mlp, "mlp_large": mlp_large, "cnn": cnn, "gpt": gpt,
}  # fmt: skip


def loss_of(lib: Any, kind: str) -> Callable[[Any, Any], Any]:
    """Return the loss of a kind of problem."""
    F = lib.nn.functional
    if kind == "tiny":
        return F.mse_loss
    return lambda outputs, targets: F.cross_entropy(outputs, targets.flatten())


def map_sum(lib: Any, a: Any, b: Any) -> Any:
    """Return Σ tanh(ab + 1) · exp(-a²)."""
    return (lib.tanh(a * b + 1) * lib.exp(-(a * a))).sum()


def rosenbrock(x: Any) -> Any:
    """Return Σ 100 (xᵢ₊₁ - xᵢ²)² + (1 - xᵢ)² over the last axis, of one point or of many."""
    head, tail = x[..., :-1], x[..., 1:]
    return (100 * (tail - head * head) ** 2 + (1 - head) ** 2).sum(-1)


def recurrence(lib: Any, x: Any) -> Any:
    """Return the end of h ← 0.9 sin(1.1 h + x), 200 steps of four operations."""
    h = x
    for _ in range(200):
        h = lib.sin(h * 1.1 + x) * 0.9
    return h
