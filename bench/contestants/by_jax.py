"""JAX: each call one jitted function, a training step with its state donated.

Optimizers are written in jax.numpy, as optax does it. Of several ways to write a part the one
that ran fastest on a CPU is here; the comments say which others were tried.
"""

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from contestants.models import rosenbrock
from contestants.problems import GPT, Problem, Work
from jax import lax

__all__ = ["work"]

jax.config.update("jax_platforms", "cpu")
warnings.filterwarnings("ignore", message="Some donated buffers were not usable")

Params = dict[str, Any]


def work(problem: Problem, variant: str) -> Work:
    """Return the work of a row."""
    if problem.kind in LOSSES:
        return _training(problem)
    return {"map": _map, "hessian": _hessian, "recurrence": _recurrence}[problem.kind](problem)


# -- training steps -------------------------------------------------------------------------------


def _linear(p: Params, name: str, x: Any) -> Any:
    y = x @ p[f"{name}.weight"].T
    return y + p[f"{name}.bias"] if f"{name}.bias" in p else y


def _cross_entropy(logits: Any, y: Any) -> Any:
    logs = jax.nn.log_softmax(logits)
    return -jnp.take_along_axis(logs, y[:, None], axis=1).mean()


def _tiny(p: Params, x: Any, y: Any) -> Any:
    return ((_linear(p, "1", jnp.tanh(_linear(p, "0", x))) - y) ** 2).mean()


def _mlp(p: Params, x: Any, y: Any) -> Any:
    last = len(p) // 2 - 1
    for i in range(last):
        x = jax.nn.relu(_linear(p, str(i), x))
    return _cross_entropy(_linear(p, str(last), x), y)


def _conv(p: Params, name: str, x: Any) -> Any:
    """Convolve, rectify and pool (n, height, width, channels).

    With channels first a step takes 2.5 times as long, and pooling by `lax.reduce_window` makes it
    slower still: its derivative is a scatter.
    """
    kernel = p[f"{name}.weight"].transpose(2, 3, 1, 0)
    axes = ("NHWC", "HWIO", "NHWC")
    y = lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=axes)
    y = jax.nn.relu(y + p[f"{name}.bias"])
    n, h, w, c = y.shape
    return y.reshape(n, h // 2, 2, w // 2, 2, c).max((2, 4))


def _cnn(p: Params, x: Any, y: Any) -> Any:
    x = _conv(p, "conv2", _conv(p, "conv1", x.transpose(0, 2, 3, 1))).transpose(0, 3, 1, 2)
    return _cross_entropy(_linear(p, "linear", x.reshape(x.shape[0], -1)), y)


def _norm(p: Params, name: str, x: Any) -> Any:
    x = x - x.mean(-1, keepdims=True)
    x = x * lax.rsqrt((x * x).mean(-1, keepdims=True) + 1e-5)
    return x * p[f"{name}.weight"] + p[f"{name}.bias"]


def _attention(p: Params, i: int, x: Any) -> Any:
    n, length, width = x.shape
    qkv = _linear(p, f"{i}.qkv", x).reshape(n, length, 3, GPT.heads, width // GPT.heads)
    q, k, v = qkv.transpose(2, 0, 3, 1, 4)
    scores = (q * (width // GPT.heads) ** -0.5) @ k.mT
    mask = jnp.tril(jnp.ones((length, length), bool))
    weights = jax.nn.softmax(jnp.where(mask, scores, -jnp.inf), -1)
    return _linear(p, f"{i}.out", (weights @ v).transpose(0, 2, 1, 3).reshape(x.shape))


def _gpt(p: Params, text: Any, y: Any) -> Any:
    x = p["token.weight"][text] + p["position.weight"][: text.shape[1]]
    for i in range(GPT.layers):
        x = x + _attention(p, i, _norm(p, f"{i}.norm1", x))
        up = _linear(p, f"{i}.up", _norm(p, f"{i}.norm2", x))
        x = x + _linear(p, f"{i}.down", jax.nn.gelu(up, approximate=False))
    logits = _linear(p, "head", _norm(p, "norm", x))
    return _cross_entropy(logits.reshape(-1, GPT.vocabulary), y.reshape(-1))


LOSSES: dict[str, Callable[[Params, Any, Any], Any]] = {
    "tiny": _tiny, "mlp": _mlp, "mlp_large": _mlp, "cnn": _cnn, "gpt": _gpt,
}  # fmt: skip


def _sgd(state: Any, gradients: Params) -> Any:
    (p,) = state
    return (jax.tree.map(lambda w, g: w - 0.01 * g, p, gradients),)


def _adam(state: Any, gradients: Params, decay: float = 0.0) -> Any:
    p, m, v, t = state
    t = t + 1
    m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, gradients)
    v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, gradients)
    rate, root = 1e-3 / (1 - 0.9**t), jnp.sqrt(1 - 0.999**t)

    def moved(w: Any, m: Any, v: Any) -> Any:
        return w * (1 - 1e-3 * decay) - rate * m / (jnp.sqrt(v) / root + 1e-8)

    return jax.tree.map(moved, p, m, v), m, v, t


def _training(problem: Problem) -> Work:
    loss_of = LOSSES[problem.kind]
    start = problem.weights()
    params = {name: jnp.array(w) for name, w in start.items()}
    update: Callable[[Any, Params], Any] = _sgd
    state: Any = (params,)
    if problem.kind != "tiny":
        update = partial(_adam, decay=1e-2 if problem.kind == "gpt" else 0.0)
        zeros = [jax.tree.map(jnp.zeros_like, params) for _ in range(2)]
        state = (params, *zeros, jnp.float32(0))
    x, y = (jnp.array(a, jnp.int32 if a.dtype == np.int64 else a.dtype) for a in problem.inputs())

    @partial(jax.jit, donate_argnums=0)
    def step(state: Any, x: Any, y: Any) -> Any:
        loss, gradients = jax.value_and_grad(loss_of)(state[0], x, y)
        return update(state, gradients), loss

    def run() -> Any:
        nonlocal state
        state, loss = step(state, x, y)
        jax.block_until_ready(state)
        return loss

    def arrays(loss: Any) -> list[np.ndarray]:
        return [np.asarray(loss), *[np.asarray(state[0][name]) - w for name, w in start.items()]]

    return Work(run, arrays)


# -- derivatives ----------------------------------------------------------------------------------


def _map(problem: Problem) -> Work:
    def f(a: Any, b: Any) -> Any:
        return (jnp.tanh(a * b + 1) * jnp.exp(-(a * a))).sum()

    return _derivative(jax.grad(f, (0, 1)), problem)


def _hessian(problem: Problem) -> Work:
    return _derivative(jax.hessian(rosenbrock), problem)


def _recurrence(problem: Problem) -> Work:
    def end(x: Any) -> Any:
        """Return the last h. A Python loop of 200 steps compiles for 0.4 s, and is no faster."""

        def step(h: Any, _: None) -> Any:
            return jnp.sin(h * 1.1 + x) * 0.9, None

        return lax.scan(step, x, None, length=200, unroll=10)[0]

    return _derivative(jax.grad(end), problem)


def _derivative(f: Callable[..., Any], problem: Problem) -> Work:
    inputs = tuple(jnp.array(a) for a in problem.inputs())
    jitted = jax.jit(f)

    def arrays(results: Any) -> list[np.ndarray]:
        return [np.asarray(r) for r in jax.tree.leaves(results)]

    return Work(lambda: jax.block_until_ready(jitted(*inputs)), arrays)
