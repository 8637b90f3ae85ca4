"""What checkpoints are for: memory that is freed before a segment runs again."""

import gc
import math
import tracemalloc

import pytest

import atled as at
from tests.core.test_checkpoint import W, X, close, gradients, tensors

# -- memory


LAYERS, WIDTH, ROWS = 36, 16, 2000


def _chain():
    """Return layers whose tape keeps one activation each, their weights, and an input."""
    at.use("numpy")
    at.manual_seed(0)
    weights = [(at.randn(WIDTH, WIDTH) / WIDTH**0.5).requires_grad_() for _ in range(LAYERS)]
    return [lambda x, w=w: at.tanh(x @ w) for w in weights], weights, at.rand(ROWS, WIDTH)


def _peak(run):
    """Return the most memory that a run takes, and what stays, in activations of one layer."""
    run()  # what is made on first use
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    run()
    most = tracemalloc.get_traced_memory()[1]
    stays = tracemalloc.get_traced_memory()[0]  # reference counts have freed it: no collection
    tracemalloc.stop()
    return (most - before) / (ROWS * WIDTH * 4), (stays - before) / (ROWS * WIDTH * 4)


def _most(segments):
    """Return what theory gives: the segments' arguments, one segment, what is being computed."""
    return segments - 1 + LAYERS / segments + 5


@pytest.mark.parametrize("segments", [1, 2, 4, 6, 9])
def test_the_peak_of_a_deep_network_is_that_of_theory_and_nothing_stays(segments):
    pytest.importorskip("numpy")
    chain, weights, x = _chain()

    def run():
        at.checkpoint_sequential(chain, segments, x).sum().backward()
        for w in weights:
            w.grad = None

    most, stays = _peak(run)
    assert most < _most(segments)
    assert stays < 0.5
    if segments == 1:
        assert most > LAYERS  # an activation of each layer: else the rest proves nothing


@pytest.mark.parametrize("segments", [2, 6])
def test_grad_frees_as_it_walks_too(segments):
    pytest.importorskip("numpy")
    chain, weights, x = _chain()

    def loss(x):
        y = at.checkpoint_sequential(chain, segments, x)
        return (y**2).sum(), y

    for w in weights:
        w.requires_grad_(False)
    assert _peak(lambda: at.grad(loss, has_aux=True)(x))[0] < _most(segments) + 1  # and the aux


def test_inner_checkpoints_save_memory_within_the_segment_that_runs_again():
    pytest.importorskip("numpy")
    chain, weights, x = _chain()

    def inner(part):
        return lambda x: at.checkpoint_sequential(part, 6, x)

    def run():
        halves = [inner(chain[:18]), inner(chain[18:])]
        at.checkpoint_sequential(halves, 2, x).sum().backward()
        for w in weights:
            w.grad = None

    assert _peak(run)[0] < 1 + 6 + 3 + 5  # both halves' arguments, six parts', one of these


# -- what is freed on the way


def test_what_comes_beside_a_gradient_can_be_walked_later(backend):
    x, w = tensors(X, W)

    def loss(x):
        h = at.sin(x)
        after = at.checkpoint(at.exp)(h)
        return (after**2).sum(), (after * w).sum()

    _, beside = at.grad(loss, has_aux=True)(x.detach())
    assert gradients(beside, [w]) == [at.exp(at.sin(x)).tolist()]


def test_a_masked_singularity_behind_and_before_what_is_freed(backend):
    (x,) = tensors([0.0, 4.0])
    root = lambda x: at.where(x > 0, at.sqrt(x), 0.0)
    f = at.checkpoint(lambda x: root(x) * 2)
    outer = lambda f: (root(f(root(x)) + 1) + root(x)).sum()
    assert gradients(outer(f), [x]) == gradients(outer(lambda x: root(x) * 2), [x])


def test_a_hook_in_a_checkpoint_in_a_checkpoint_runs_once_where_a_walk_is_repeated(backend):
    (x,) = tensors([0.0, 4.0])
    seen = []

    def inner(x):
        h = at.sin(x)
        h.register_hook(seen.append)
        return h

    masked = at.where(x > 0, at.sqrt(x), 0.0)  # arrives as NaN first, and again with guards
    outer = at.checkpoint(lambda x: at.checkpoint(inner)(x) * 2)
    (outer(x).sum() + masked.sum()).backward()
    assert len(seen) == 1
    close(x.grad, at.tensor([2.0, 2 * math.cos(4.0) + 0.25], dtype=at.float64))
