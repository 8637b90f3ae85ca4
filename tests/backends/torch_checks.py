"""What the tests of the torch backend share: a watched backend, drawn arrays, comparison."""

import pytest

np = pytest.importorskip("numpy", reason="the torch backend is compared with NumPy")
special = pytest.importorskip("scipy.special", reason="the reference for erf and its like")
torch = pytest.importorskip("torch", reason="tests the torch backend")

from atled.backends.protocol import load  # noqa: E402

RTOL = {torch.float32: 3e-6, torch.float64: 1e-13}
SHAPES = [(), (0,), (1,), (7,), (3, 0, 2), (4, 1, 5)]
SPECIAL = [0.0, -0.0, 0.5, -0.5, 1.5, -1.5, 2.5, 1.0, -1.0, 3.0, np.inf, -np.inf, np.nan]
CHECKED = set()  # the functions that some test below has called


class Watched:
    """The backend, each call checked: arguments stay as they are, torch records nothing."""

    def __getattr__(self, name):
        function = getattr(load("torch"), name)
        if not callable(function):
            return function

        def call(*args, **static):
            CHECKED.add(name)
            tensors = [a for a in args if isinstance(a, torch.Tensor)]
            before = [a.clone() for a in tensors]
            out = function(*args, **static)
            for a, b in zip(tensors, before, strict=True):
                torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)
            for y in out if isinstance(out, tuple) else (out,):
                if isinstance(y, torch.Tensor):
                    assert not y.requires_grad
                    assert y.grad_fn is None
            return out

        return call


xp = Watched()


def draw(name, shape=(), lo=-3.0, hi=3.0, dtype=np.float64):
    rng = np.random.default_rng(list(name.encode()))
    return np.asarray(rng.uniform(lo, hi, shape)).astype(dtype)


def same(y, want, rtol=0.0, atol=0.0):
    """Check value, shape and dtype of a torch array against a NumPy one."""
    want = np.asarray(want)
    assert isinstance(y, torch.Tensor)
    assert tuple(y.shape) == want.shape
    assert y.dtype == T(want).dtype
    np.testing.assert_allclose(y.numpy(), want, rtol=rtol, atol=atol)


def T(x):
    return torch.from_numpy(np.array(x))
