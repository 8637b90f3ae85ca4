"""Memory stays flat in the loops that people write."""

import gc

import pytest

import atled as at
from atled.core.tape import Node


def _live_nodes() -> int:
    gc.collect()
    return sum(issubclass(type(o), Node) for o in gc.get_objects())


@pytest.mark.slow
def test_adding_up_a_loss_that_was_walked_holds_no_graph(backend: str) -> None:
    w = at.tensor([1.0, 2.0], requires_grad=True)
    counts = []
    total = 0.0
    for _ in range(1000):
        loss = (w * w).sum()
        loss.backward()
        total = total + loss
        counts.append(_live_nodes() if len(counts) % 500 == 0 else 0)
    assert max(counts[500:]) <= counts[0] + 1
    assert total.item() == 5000.0
    with pytest.raises(at.GradError, match="freed by an earlier backward"):
        total.backward()


@pytest.mark.slow
def test_100_000_steps_keep_nothing() -> None:
    resource = pytest.importorskip("resource", reason="peak memory is read from it")
    w = at.tensor([1.0, 2.0], requires_grad=True)
    total = 0.0

    def steps(count: int) -> None:
        nonlocal total
        for _ in range(count):
            loss = at.sin(w * 2).sum()
            w.grad = None
            loss.backward()
            total += loss.item()

    steps(2000)
    objects, peak = len(gc.get_objects()), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    steps(100_000)
    assert len(gc.get_objects()) < objects + 100
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < peak + 2048  # kB
