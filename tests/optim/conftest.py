"""`compare`: run an optimizer of atled and torch's side by side."""

import random

import pytest

import atled as at

SHAPES = ((3, 4), (4,), (), (2, 1, 3))


def draw(shape, rng):
    if not shape:
        return rng.gauss(0, 1)
    return [draw(shape[1:], rng) for _ in range(shape[0])]


@pytest.fixture
def compare():
    """Give check(ours, theirs, steps): the same parameters and gradients, the same result.

    `ours` and `theirs` make an optimizer of a list of parameters.
    """
    torch = pytest.importorskip("torch", reason="compares with torch.optim")

    def check(ours, theirs, steps=20, each_step=None):
        torch.set_default_dtype(torch.float64)  # NAdam keeps a product of scalars in it
        rng = random.Random(0)
        starts = [draw(s, rng) for s in SHAPES]
        mine = [at.tensor(v, dtype="float64", requires_grad=True) for v in starts]
        peers = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in starts]
        optimizer, peer = ours(mine), theirs(peers)
        for n in range(steps):
            for p, q, s in zip(mine, peers, SHAPES, strict=True):
                g = draw(s, rng)
                p.grad, q.grad = at.tensor(g, dtype="float64"), torch.tensor(g, dtype=torch.float64)
            if each_step:
                each_step(n, mine, optimizer)
                each_step(n, peers, peer)
            optimizer.step()
            peer.step()
            for p, q in zip(mine, peers, strict=True):
                flat = q.detach().reshape(-1).tolist()
                assert at.reshape(p, -1).tolist() == pytest.approx(flat, rel=1e-12, abs=1e-12)
        return optimizer, peer

    before = torch.get_default_dtype()
    yield check
    torch.set_default_dtype(before)
