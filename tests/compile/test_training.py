"""Training steps, compiled: every optimizer, and what steps do besides."""

import copy
import functools
import inspect
from typing import Any

import pytest

import atled as at
from atled.compile import Stats
from atled.nn import functional as F
from atled.testing import assert_close
from tests.compile.beside import assert_same, batch, network, run_both, training

np = pytest.importorskip("numpy", reason="programs run on NumPy's arrays")
pytest.importorskip("llvmlite", reason="programs are compiled by llvmlite")
pytestmark = pytest.mark.usefixtures("executor")

OPTIMIZERS = [
    c
    for c in vars(at.optim).values()
    if inspect.isclass(c) and issubclass(c, at.optim.Optimizer) and c is not at.optim.Optimizer
]
VARIANTS: list[tuple[Any, dict[str, Any], int]] = [
    *[(c, {}, 2 if c is at.optim.RAdam else 1) for c in OPTIMIZERS],
    (at.optim.SGD, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01}, 1),
    (at.optim.SGD, {"momentum": 0.9, "dampening": 0.1}, 2),  # the first step has no buffer
    (at.optim.Adam, {"amsgrad": True, "weight_decay": 0.1}, 1),
    (at.optim.AdamW, {"maximize": True}, 1),
    (at.optim.RMSprop, {"momentum": 0.9, "centered": True}, 1),
    (at.optim.NAdam, {"decoupled_weight_decay": True, "weight_decay": 0.1}, 1),
]


@pytest.mark.parametrize(
    ("kind", "options", "traces"), VARIANTS, ids=lambda v: getattr(v, "__name__", str(v))
)
def test_every_optimizer_equals_eager(kind, options, traces):
    models = [network(), network()]
    optimizers = [kind(m.parameters(), lr=0.01, **options) for m in models]
    eager, plain = (training(m, o) for m, o in zip(models, optimizers, strict=True))
    compiled = at.compile(plain)
    for n in range(8):
        assert_close(compiled(*batch(n)), eager(*batch(n)))
        assert_same(*models)
    ours, theirs = (o.state_dict() for o in optimizers)
    assert ours["param_groups"] == theirs["param_groups"]
    assert_close(ours["state"], theirs["state"])
    for i, slot in ours["state"].items():
        assert {k: type(v) for k, v in slot.items()} == {
            k: type(v) for k, v in theirs["state"][i].items()
        }
    assert compiled.stats() == Stats(calls=8, traces=traces, programs=traces, eager=0)


def test_gradients_add_up_over_calls():
    def make(model, optimizer):
        def step(x, y):
            F.cross_entropy(model(x), y).backward()

        return step

    assert run_both(make).stats().traces == 2  # without, and with gradients


def test_gradients_set_to_zero():
    def make(model, optimizer):
        def step(x, y):
            optimizer.zero_grad(set_to_none=False)
            F.cross_entropy(model(x), y).backward()
            optimizer.step()

        return step

    run_both(make)


def test_pairs_of_gradients():
    def make(model, optimizer):
        def step(x, y):
            loss = F.cross_entropy(model(x), y)
            optimizer.step(loss.gradients())
            return loss.detach()

        return step

    assert run_both(make).stats().traces == 1


def test_a_gradient_penalty():
    def make(model, optimizer):
        def step(x, y):
            x = x.detach().requires_grad_()
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            (g,) = at.autograd.grad(loss, x, create_graph=True)
            (loss + g.square().sum()).backward()
            optimizer.step()

        return step

    run_both(make)


def test_eager_steps_and_loaded_states_between_calls():
    def between(n, model, optimizer, step):
        if n == 0:
            step(*batch(99))
        elif n == 1:
            optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
        elif n == 2:
            model.load_state_dict({k: v * 0.5 for k, v in model.state_dict().items()})
        elif n == 3:
            optimizer.param_groups[0].update(lr=0.1, eps=1e-3, weight_decay=0.0)
        elif n == 4:
            optimizer.load_state_dict({**optimizer.state_dict(), "state": {}})

    assert run_both(training, 6, between).stats().traces == 2  # again when there is no state


def test_batch_norm_trains_and_evaluates():
    def between(n, model, optimizer, step):
        model.train(n % 2 == 0)

    def make(model, optimizer):
        return lambda x, y: model(x).detach()

    assert run_both(make, 6, between, norm=True).stats().traces == 2
    run_both(training, norm=True)


def test_a_plain_average_of_all_batches():
    ours, theirs = (at.nn.BatchNorm1d(3, momentum=None).double() for _ in range(2))
    compiled = at.compile(lambda x: ours(x))
    for n in range(4):
        assert_close(compiled(batch(n)[0]), theirs(batch(n)[0]))
        assert_same(ours, theirs)


def test_ignored_classes():
    logits, target = at.randn(4, 3, dtype=at.float64), at.tensor([1, -100, 2, -100])
    for options in ({}, {"reduction": "sum"}, {"reduction": "none"}, {"label_smoothing": 0.1}):
        compiled = at.compile(functools.partial(F.cross_entropy, **options))
        assert_close(compiled(logits, target), F.cross_entropy(logits, target, **options))
        assert_close(
            compiled(logits, target.clip(0)), F.cross_entropy(logits, target.clip(0), **options)
        )
    with pytest.raises(at.IndexingError, match=r"a class is not in \[0, 3\)"):
        compiled(logits, target + 5)


@pytest.mark.parametrize(
    ("call", "args", "error", "message"),
    [
        (lambda p: F.binary_cross_entropy(p, p), [[0.5, 1.5]], ValueError, r"lie in \[0, 1\]"),
        (lambda i: F.one_hot(i, 3), [[-1]], at.IndexingError, "must not be negative"),
        (lambda i: F.embedding(i, at.ones(3, 2)), [[-1]], at.IndexingError, "is negative"),
        (lambda x, i: at.take(x, i), [[1.0], [1]], at.IndexingError, "out of range for size 1"),
    ],
)
def test_values_are_checked_at_every_call(call, args, error, message):
    compiled = at.compile(call)
    tensors = [at.tensor(a) for a in args]
    with pytest.raises(error, match=message):
        compiled(*tensors)
    compiled(*[at.zeros_like(t) for t in tensors])


def test_a_norm_that_is_not_finite():
    w = at.ones(2, requires_grad=True)

    @at.compile
    def clipped(x):
        (x * w).sum().backward()
        at.nn.utils.clip_grad_norm_([w], 1.0, error_if_nonfinite=True)

    with pytest.raises(ValueError, match="not finite; nothing was scaled"):
        clipped(at.tensor([1.0, at.inf]))
    assert w.grad is None
    clipped(at.tensor([3.0, 4.0]))
    assert_close(w.grad, [0.6, 0.8], 1e-5)
