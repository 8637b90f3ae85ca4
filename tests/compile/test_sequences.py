"""Random sequences of what happens in training, eagerly and compiled: the same state after each."""

import copy
import os
import random
from typing import Any

import pytest

import atled as at
from atled.nn import functional as F
from atled.testing import assert_close
from tests.compile.beside import assert_same

pytest.importorskip("llvmlite", reason="programs are compiled by llvmlite")
pytest.importorskip("numpy", reason="programs run on NumPy's arrays")
pytestmark = [
    pytest.mark.usefixtures("executor"),
    pytest.mark.filterwarnings("ignore:.*was traced", "ignore:.*no gradient at the first step"),
]

KINDS = [
    at.optim.Adam,
    at.optim.RMSprop,
    at.optim.RAdam,
    at.optim.NAdam,
    lambda p, lr: at.optim.SGD(p, lr=lr, momentum=0.9),
    lambda p, lr: at.optim.SGD(p, lr=lr, momentum=0.9, dampening=0.1),
]
EVENTS = ["step"] * 6 + [
    "add", "evaluate", "eager", "rate", "freeze", "train", "load", "keep", "zero", "data",
    "shift", "swap", "before", "scaled",
]  # fmt: skip


class Side:
    """One of the two: a model, its optimizer, and the functions of both."""

    def __init__(self, kind: Any, seed: int, wrap: Any) -> None:
        at.manual_seed(seed)
        nn = at.nn
        self.model = nn.Sequential(
            nn.Linear(3, 4, bias=False),
            nn.BatchNorm1d(4),
            nn.Tanh(),
            nn.Dropout(0.3),
            nn.Linear(4, 2),
        ).double()
        self.optimizer = kind(self.model.parameters(), lr=0.01)
        model, optimizer = self.model, self.optimizer

        def step(x, y):
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            return loss.detach()

        def add(x, y):
            F.cross_entropy(model(x), y).backward()

        self.tensors = [at.full((2, 4), float(n), dtype=at.float64) for n in range(3)]
        weight, (previous, scale, other) = model[4].weight, self.tensors

        @at.no_grad()
        def shift():
            previous.copy_(weight.detach())
            weight.copy_(weight * 0.9 + 0.01 * other)

        def swap():
            kept = scale.detach()
            scale.copy_(other)
            other.copy_(kept)

        def before(x, y):
            kept = weight.detach(), previous[0]
            loss = step(x, y)
            previous.copy_(kept[0] + 1)
            return [*kept, loss]

        def scaled():
            y = (weight * scale * other[0] * other[0]).sum()
            scale.mul_(-0.5)
            other.copy_(other * 0.5 + previous)
            return y

        self.plain = step
        self.step, self.add, self.evaluate = (wrap(f) for f in (step, add, lambda x: model(x)))
        self.shift, self.swap, self.before = wrap(shift), wrap(swap), wrap(before)
        self.scaled = wrap(scaled)

    def do(self, event: str, x: Any, y: Any, number: float) -> Any:
        """Let one thing happen; return its result, if it has one."""
        model, optimizer = self.model, self.optimizer
        if event in ("shift", "swap"):
            getattr(self, event)()
            return [t.tolist() for t in self.tensors]
        if event == "scaled":
            y = self.scaled()
            if y.requires_grad:
                y.backward()
            return [y.detach(), *[t.tolist() for t in self.tensors]]
        if event in ("step", "add", "before"):
            return getattr(self, event)(x, y)
        if event == "evaluate":
            return self.evaluate(x).detach()
        if event == "eager":
            return self.plain(x, y)
        if event == "rate":
            optimizer.param_groups[0]["lr"] = number * 0.05
        elif event == "freeze":
            model[0].weight.requires_grad_(number < 0.5)
        elif event == "train":
            model.train(number < 0.5)
        elif event == "load":
            optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
            model.load_state_dict(model.state_dict())
        elif event == "zero":
            optimizer.zero_grad()
        elif event == "data":
            model[4].bias.data = at.full((2,), number, dtype=at.float64)
        return None

    def kept(self) -> list[tuple[at.Tensor, Any]]:
        """Return values that nothing may change any more."""
        tensors = [p.detach() for p in self.model.parameters()]
        tensors += [t.detach() for t in self.tensors]
        for slot in self.optimizer.state.values():
            tensors += [v for v in slot.values() if isinstance(v, at.Tensor)]
        return [(t, t.tolist()) for t in tensors]


SEEDS = int(os.environ.get("ATLED_SEQUENCES", "8"))  # a change of state is worth 200


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_random_sequence(seed):
    dice = random.Random(seed)
    kind = dice.choice(KINDS)
    eager, compiled = Side(kind, seed, lambda f: f), Side(kind, seed, at.compile)
    kept: list[tuple[at.Tensor, Any]] = []
    for n in range(25):
        g = at.Generator(n)
        x = at.randn(dice.choice([4, 4, 6]), 3, generator=g, dtype=at.float64)
        y = at.randint(0, 2, (x.shape[0],), generator=g)
        event, number, state = dice.choice(EVENTS), dice.random(), at.get_rng_state()
        expected = eager.do(event, x, y, number)
        after = at.get_rng_state()
        at.set_rng_state(state)
        assert_close(compiled.do(event, x, y, number), expected, 1e-8, 1e-9)
        assert at.get_rng_state() == after
        assert_same(compiled.model, eager.model)
        if event == "keep":
            kept += compiled.kept()
        for t, numbers in kept:
            assert t.tolist() == numbers
    ours, theirs = compiled.optimizer.state_dict(), eager.optimizer.state_dict()
    assert_close(ours["state"], theirs["state"], 1e-8, 1e-9)
