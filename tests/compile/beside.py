"""Models, batches, and eager training beside compiled, for the tests of `at.compile`."""

import atled as at
from atled.nn import functional as F
from atled.testing import assert_close


def network(seed: int = 0, norm: bool = False) -> at.nn.Module:
    at.manual_seed(seed)
    return at.nn.Sequential(
        at.nn.Linear(3, 4, bias=not norm),
        at.nn.BatchNorm1d(4) if norm else at.nn.Tanh(),
        at.nn.Tanh(),
        at.nn.Linear(4, 2),
    ).double()


def batch(n: int, size: int = 5) -> tuple[at.Tensor, at.Tensor]:
    g = at.Generator(n)
    x = at.randn(size, 3, generator=g, dtype=at.float64)
    return x, at.randint(0, 2, (size,), generator=g)


def assert_same(ours, theirs) -> None:
    for module, other in zip(ours.modules(), theirs.modules(), strict=True):
        assert_close(dict(module._buffers), dict(other._buffers))
        for p, q in zip(module._parameters.values(), other._parameters.values(), strict=True):
            if p is None:
                assert q is None
                continue
            assert_close(p, q)
            assert (p.is_leaf, p.requires_grad) == (q.is_leaf, q.requires_grad)
            assert (p.grad is None) == (q.grad is None)
            if p.grad is not None:
                assert_close(p.grad, q.grad)


def run_both(make, calls: int = 4, between=None, norm: bool = False):
    """Run make(model, optimizer)(*batch) eagerly and compiled; return the compiled function."""
    models = [network(norm=norm), network(norm=norm)]
    optimizers = [at.optim.Adam(m.parameters(), lr=0.05) for m in models]
    eager, plain = (make(m, o) for m, o in zip(models, optimizers, strict=True))
    compiled = at.compile(plain)
    for n in range(calls):
        assert_close(compiled(*batch(n)), eager(*batch(n)))
        assert_same(*models)
        if between:
            for m, o, f in zip(models, optimizers, (eager, plain), strict=True):
                between(n, m, o, f)
            assert_same(*models)
    assert_close(*[o.state_dict()["state"] for o in optimizers])
    return compiled


def training(model, optimizer):
    def step(x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        at.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        return loss.detach()

    return step
