"""Every optimizer follows torch.optim over 20 steps in float64, to 1e-12."""

import inspect

import pytest

import atled as at
from atled import optim

pytestmark = pytest.mark.slow  # `make check` leaves them out, `make test` does not

CASES = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.2, "weight_decay": 0.03}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "maximize": True}),
    ("Adam", {}),
    ("Adam", {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": 0.1}),
    ("Adam", {"lr": 0.01, "amsgrad": True, "maximize": True}),
    ("AdamW", {"lr": 0.01}),
    ("AdamW", {"lr": 0.01, "weight_decay": 0.3, "amsgrad": True}),
    ("Adamax", {"lr": 0.01, "weight_decay": 0.1}),
    ("NAdam", {"lr": 0.01, "weight_decay": 0.1}),
    ("NAdam", {"lr": 0.01, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("RAdam", {"lr": 0.01, "weight_decay": 0.1}),
    ("RAdam", {"lr": 0.01, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("RMSprop", {}),
    ("RMSprop", {"momentum": 0.9, "centered": True, "weight_decay": 0.1}),
    ("Adagrad", {"lr_decay": 0.1, "initial_accumulator_value": 0.2, "weight_decay": 0.1}),
    ("Adadelta", {}),
    ("Adadelta", {"lr": 0.5, "rho": 0.8, "weight_decay": 0.1, "maximize": True}),
]


@pytest.mark.parametrize(("name", "options"), CASES)
def test_an_optimizer_is_torchs(compare, name, options):
    torch = pytest.importorskip("torch", reason="compares with torch.optim")
    theirs = getattr(torch.optim, name)
    compare(lambda p: getattr(optim, name)(p, **options), lambda p: theirs(p, **options))


@pytest.mark.parametrize(("name", "options"), [("Adam", {}), ("SGD", {"lr": 0.1, "momentum": 0.9})])
def test_parameters_that_come_and_go(compare, name, options):
    """A parameter without a gradient keeps its state and its own count of steps."""
    torch = pytest.importorskip("torch", reason="compares with torch.optim")

    def drop_some(n, parameters, optimizer):
        for i, p in enumerate(parameters):
            if (n + i) % 3 == 0 and n:
                p.grad = None

    compare(lambda p: getattr(optim, name)(p, **options),
            lambda p: getattr(torch.optim, name)(p, **options), each_step=drop_some)  # fmt: skip


def test_groups_have_their_own_options(compare):
    torch = pytest.importorskip("torch", reason="compares with torch.optim")

    def groups(p):
        return [{"params": p[:2], "lr": 0.1}, {"params": p[2:], "weight_decay": 0.5}]

    def anneal(n, parameters, optimizer):
        for group in optimizer.param_groups:
            group["lr"] *= 0.9

    compare(
        lambda p: optim.Adam(groups(p), lr=0.01),
        lambda p: torch.optim.Adam(groups(p), lr=0.01),
        each_step=anneal,
    )


def test_defaults_are_torchs():
    torch = pytest.importorskip("torch", reason="compares with torch.optim")
    for name in sorted({name for name, _ in CASES}):
        ours = inspect.signature(getattr(optim, name)).parameters
        theirs = inspect.signature(getattr(torch.optim, name)).parameters
        for option in ours:
            if option in theirs:
                assert ours[option].default == theirs[option].default, (name, option)


def test_large_parameters_go_alone(compare):
    torch = pytest.importorskip("torch", reason="compares with torch.optim")
    data = [[((i * 7 + j) % 13) / 13 - 0.5 for j in range(200)] for i in range(200)]
    p = at.tensor(data, dtype="float64", requires_grad=True)
    q = torch.tensor(data, dtype=torch.float64, requires_grad=True)
    ours, theirs = optim.Adam([p]), torch.optim.Adam([q])
    for _ in range(3):
        p.grad, q.grad = (p * p).detach(), (q * q).detach()
        ours.step()
        theirs.step()
    assert p.tolist()[199] == pytest.approx(q.tolist()[199], rel=1e-12, abs=1e-12)
