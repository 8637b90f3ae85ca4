"""Schedules against torch's, and what they refuse."""

import pytest

import atled as at
from atled import optim

S = optim.lr_scheduler

CASES = [
    ("StepLR", {"step_size": 3, "gamma": 0.5}),
    ("MultiStepLR", {"milestones": [2, 5, 5, 9], "gamma": 0.3}),
    ("ExponentialLR", {"gamma": 0.9}),
    ("LambdaLR", {"lr_lambda": lambda t: 1 / (1 + t)}),
    ("LinearLR", {}),
    ("LinearLR", {"start_factor": 0.1, "end_factor": 0.7, "total_iters": 8}),
    ("CosineAnnealingLR", {"T_max": 6, "eta_min": 0.01}),
    ("OneCycleLR", {"max_lr": 0.5, "total_steps": 15}),
    ("OneCycleLR", {"max_lr": 0.5, "epochs": 3, "steps_per_epoch": 5, "anneal_strategy": "linear",
                    "pct_start": 0.4, "cycle_momentum": False}),
]  # fmt: skip


def pair(kind="Adam"):
    """Two optimizers, ours and torch's, of two groups."""
    torch = pytest.importorskip("torch", reason="compares with torch.optim")
    p = [at.ones(1, requires_grad=True), at.ones(1, requires_grad=True)]
    q = [torch.ones(1, requires_grad=True), torch.ones(1, requires_grad=True)]
    made = []
    for parameters, module in ((p, optim), (q, torch.optim)):
        groups = [{"params": [parameters[0]]}, {"params": [parameters[1]], "lr": 0.02}]
        made.append(getattr(module, kind)(groups, lr=0.1))
    return made


def follow(ours, theirs, a, b, steps=14):
    for _ in range(steps):
        for g, h in zip(a.param_groups, b.param_groups, strict=True):
            assert g["lr"] == pytest.approx(h["lr"], rel=1e-12, abs=1e-15)
            for name in ("betas", "momentum"):
                if name in g:
                    assert g[name] == pytest.approx(h[name], rel=1e-12)
        assert ours.get_last_lr() == [g["lr"] for g in a.param_groups]
        b.step()
        ours.step()
        theirs.step()


@pytest.mark.parametrize("kind", ["Adam", "SGD"])
@pytest.mark.parametrize(("name", "options"), CASES)
def test_a_schedule_is_torchs(name, options, kind):
    torch = pytest.importorskip("torch", reason="compares with torch.optim")
    a, b = pair(kind)
    theirs = getattr(torch.optim.lr_scheduler, name)
    follow(getattr(S, name)(a, **options), theirs(b, **options), a, b)


def test_a_sequence_is_torchs():
    torch = pytest.importorskip("torch", reason="compares with torch.optim")
    a, b = pair()

    def sequence(module, optimizer):
        parts = [
            module.LinearLR(optimizer, 0.1, total_iters=4),
            module.ExponentialLR(optimizer, 0.9),
            module.CosineAnnealingLR(optimizer, 6),
        ]
        return module.SequentialLR(optimizer, parts, [4, 8])

    follow(sequence(S, a), sequence(torch.optim.lr_scheduler, b), a, b)


@pytest.mark.parametrize(
    "options",
    [{"patience": 1}, {"mode": "max", "patience": 2, "cooldown": 1},
     {"threshold": 0.1, "threshold_mode": "abs", "patience": 0, "min_lr": 0.001},
     {"patience": 0, "factor": 0.5, "min_lr": [0.05, 0.001]}],
)  # fmt: skip
def test_plateaus_are_torchs(options):
    torch = pytest.importorskip("torch", reason="compares with torch.optim")
    a, b = pair()
    ours = S.ReduceLROnPlateau(a, **options)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(b, **options)
    metrics = [3.0, 2.0, 2.0, 2.5, 1.99999, 1.5, 1.6, 1.45, 1.7, 1.7, 1.7, 1.7, 0.2, 0.3, 0.4, 0.5]
    for value in metrics:
        ours.step(at.tensor(value, dtype="float64"))
        theirs.step(value)
        assert ours.get_last_lr() == pytest.approx([g["lr"] for g in b.param_groups], rel=1e-12)


def sgd(lr=0.1):
    return optim.SGD([at.ones(1, requires_grad=True)], lr=lr)


@pytest.mark.parametrize(("name", "options"), CASES)
def test_a_schedule_resumes(name, options):
    def make():
        optimizer = optim.SGD([at.ones(1, requires_grad=True)], lr=0.1, momentum=0.9)
        return optimizer, getattr(S, name)(optimizer, **options)

    (a, first), (b, second) = make(), make()
    for _ in range(5):
        first.step()
    b.load_state_dict(a.state_dict())
    second.load_state_dict(first.state_dict())
    for _ in range(5):
        first.step()
        second.step()
        assert first.get_last_lr() == second.get_last_lr()


def test_a_sequence_and_a_plateau_resume():
    def sequence():
        o = sgd()
        return S.SequentialLR(o, [S.ExponentialLR(o, 0.9), S.StepLR(o, 2)], [3])

    first, second = sequence(), sequence()
    for _ in range(4):
        first.step()
    second.load_state_dict(first.state_dict())
    first.step()
    second.step()
    assert first.get_last_lr() == second.get_last_lr()
    one, two = S.ReduceLROnPlateau(sgd(), patience=1), S.ReduceLROnPlateau(sgd(), patience=1)
    for _ in range(2):
        one.step(1.0)
    two.load_state_dict(one.state_dict())
    one.step(1.0)
    two.step(1.0)
    assert one.get_last_lr() == two.get_last_lr() == pytest.approx([0.01])


def test_a_jump():
    schedule = S.StepLR(sgd(), 2, 0.1)
    schedule.step(5)
    assert schedule.get_last_lr() == pytest.approx([0.001])


def test_schedule_errors():
    o = sgd()
    with pytest.raises(TypeError, match="StepLR needs an Optimizer"):
        S.StepLR(3, 2)
    with pytest.raises(ValueError, match="step_size must be a positive integer; found 0"):
        S.StepLR(o, 0)
    with pytest.raises(ValueError, match="LambdaLR got 2 functions for 1 groups"):
        S.LambdaLR(o, [abs, abs])
    with pytest.raises(ValueError, match="needs 'initial_lr'"):
        S.StepLR(sgd(), 2, last_epoch=3)
    with pytest.raises(ValueError, match="needs total_steps, or epochs"):
        S.OneCycleLR(o, 1.0)
    with pytest.raises(ValueError, match="'cos' or 'linear'"):
        S.OneCycleLR(o, 1.0, 5, anneal_strategy="exp")
    with pytest.raises(ValueError, match=r"pct_start must lie in \[0, 1\]"):
        S.OneCycleLR(o, 1.0, 5, pct_start=3)
    with pytest.raises(ValueError, match="needs an optimizer with momentum or betas"):
        S.OneCycleLR(optim.Adagrad([at.ones(1, requires_grad=True)]), 1.0, 5)
    cycle = S.OneCycleLR(o, 1.0, 2)
    with pytest.raises(ValueError, match="step 4 of a cycle of 2 steps"):
        cycle.step(4)
    with pytest.raises(ValueError, match="2 schedulers need 1 milestones; found 0"):
        S.SequentialLR(o, [S.StepLR(o, 2), S.StepLR(o, 2)], [])
    with pytest.raises(ValueError, match="of another optimizer"):
        S.SequentialLR(o, [S.StepLR(sgd(), 2)], [])
    with pytest.raises(ValueError, match=r"factor must lie in \[0, 1\)"):
        S.ReduceLROnPlateau(o, factor=1.0)
    with pytest.raises(ValueError, match="mode is 'min' or 'max'"):
        S.ReduceLROnPlateau(o, mode="least")
    with pytest.raises(ValueError, match="2 min_lr for 1 groups"):
        S.ReduceLROnPlateau(o, min_lr=[0.1, 0.1])
    with pytest.raises(ValueError, match="the state is of another schedule: it has 'gamma'"):
        S.LinearLR(o).load_state_dict({"gamma": 3})


@pytest.mark.parametrize("optimizer_first", [True, False])
def test_resuming_sets_the_rate_in_either_order(optimizer_first):
    def make(lr):
        return optim.SGD([at.nn.Parameter([1.0])], lr=lr)

    first = make(0.01)
    schedule = optim.lr_scheduler.CosineAnnealingLR(first, 20)
    for _ in range(5):
        schedule.step()
    second = make(0.5)
    if optimizer_first:
        second.load_state_dict(first.state_dict())
    resumed = optim.lr_scheduler.CosineAnnealingLR(second, 20)
    if not optimizer_first:
        second.load_state_dict(first.state_dict())
    resumed.load_state_dict(schedule.state_dict())
    assert second.param_groups[0]["lr"] == first.param_groups[0]["lr"]
