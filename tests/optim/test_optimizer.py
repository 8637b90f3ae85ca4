"""What all optimizers share: steps, groups, state, errors."""

import copy
import json
import pickle
import warnings

import pytest

import atled as at
from atled import optim
from atled.errors import BackendError

ALL = [
    kind
    for kind in vars(optim).values()
    if isinstance(kind, type) and issubclass(kind, optim.Optimizer) and kind is not optim.Optimizer
]


def leaf(*values):
    return at.tensor(list(values), requires_grad=True)


def problem():
    """Two parameters and the function that computes their loss."""
    p, q = leaf(1.0, -2.0), at.tensor(3.0, requires_grad=True)
    return [p, q], lambda: at.sum(at.square(p)) + at.square(q - 1)


@pytest.mark.parametrize("kind", ALL)
def test_every_optimizer_goes_down(backend, kind):
    parameters, loss_of = problem()
    optimizer = kind(parameters, lr=1.0 if kind is optim.Adadelta else 0.01)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = loss_of()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert [p.shape for p in parameters] == [(2,), ()]
    assert all(p.backend.name == backend for p in parameters)


@pytest.mark.parametrize("kind", ALL)
def test_a_resumed_run_is_the_same_to_the_bit(backend, kind):
    def run(steps, optimizer, loss_of):
        for _ in range(steps):
            optimizer.step(loss_of().gradients())

    parameters, loss_of = problem()
    optimizer = kind(parameters, lr=0.01)
    run(3, optimizer, loss_of)
    state = optimizer.state_dict()
    values = [p.detach() for p in parameters]
    run(4, optimizer, loss_of)
    others, other_loss = problem()
    for p, v in zip(others, values, strict=True):
        p.data = v
    resumed = kind(others, lr=0.5)
    resumed.load_state_dict(state)
    run(4, resumed, other_loss)
    for p, q in zip(parameters, others, strict=True):
        assert p.tolist() == q.tolist()


def test_lion_takes_steps_of_one_size():
    p = leaf(1.0, -2.0, 0.0)
    optimizer = optim.Lion([p], lr=0.25)
    p.grad = at.tensor([0.1, -100.0, 0.0])
    optimizer.step()
    assert p.tolist() == [0.75, -1.75, 0.0]
    assert optimizer.state[p]["exp_avg"].tolist() == pytest.approx([0.001, -1.0, 0.0])
    decayed = optim.Lion([p], lr=0.5, weight_decay=0.5)
    p.grad = at.zeros(3)
    decayed.step()
    assert p.tolist() == [0.5625, -1.3125, 0.0]


def test_nobody_else_sees_a_step():
    p, q = leaf(1.0, 2.0), leaf(3.0)
    optimizer = optim.Adam([p, q])
    for _ in range(3):
        p.grad, q.grad = at.ones(2), at.ones(1)
        seen, before = p.detach(), p.tolist()
        gradient, state = p.grad, optimizer.state_dict()["state"]
        held = state[0]["exp_avg"].tolist() if state else None
        optimizer.step()
        assert seen.tolist() == before
        assert gradient.tolist() == [1.0, 1.0]
        if state:
            assert state[0]["exp_avg"].tolist() == held


def test_pairs():
    p, q = leaf(1.0), leaf(1.0)
    optimizer = optim.SGD([p], lr=0.5)
    pairs = at.sum(2 * p + q).gradients()
    assert len(pairs) == 2
    optimizer.step(pairs)
    assert p.tolist() == [0.0]
    assert q.tolist() == [1.0]
    assert p.grad is None
    with pytest.raises(ValueError, match="in two of the pairs"):
        optimizer.step([*pairs, *pairs])


def test_missing_gradients_are_named_once():
    p, q, frozen = leaf(1.0), leaf(1.0, 2.0), at.ones(3)
    optimizer = optim.SGD([("used", p), ("lost", q), ("frozen", frozen)])
    p.grad = at.ones(1)
    with pytest.warns(
        UserWarning, match=r"SGD: 1 of 3 parameters .*'lost' \(shape \(2,\)\)"
    ) as seen:
        optimizer.step()
    assert "frozen" not in str(seen[0].message)
    assert "test_optimizer.py" in str(seen[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        optimizer.step()
    with pytest.warns(UserWarning, match=r"parameter 0 \(shape \(2,\)\)"):
        optim.SGD([q]).step()


def test_values_set_from_outside_are_used():
    p, q = leaf(1.0, 2.0), leaf(3.0)
    optimizer = optim.SGD([p, q], lr=1.0)
    p.grad, q.grad = at.ones(2), at.ones(1)
    optimizer.step()
    p.data = at.tensor([10.0, 20.0])
    optimizer.step()
    assert p.tolist() == [9.0, 19.0]
    assert q.tolist() == [1.0]


def test_a_gradient_of_another_dtype_changes_nothing_of_the_parameter():
    pytest.importorskip("numpy", reason="the python backend has one floating dtype")
    p = leaf(1.0, 2.0)
    optim.SGD([p], lr=1.0).step([(at.ones(2, dtype=at.float64), p)])
    assert p.dtype is at.float32
    assert p.tolist() == [0.0, 1.0]


def test_conversion_after_the_first_step_is_refused():
    pytest.importorskip("numpy", reason="the python backend has one floating dtype")
    layer = at.nn.Module()
    layer.p = at.nn.Parameter([1.0, 2.0])
    optimizer = optim.Adam(layer.parameters())
    layer.p.grad = at.ones(2)
    optimizer.step()
    layer.double()
    with pytest.raises(at.DTypeError, match=r"is float64 on .* Make the optimizer after"):
        optimizer.step()


def test_zero_grad():
    p = leaf(1.0)
    optimizer = optim.SGD([p])
    p.grad = at.ones(1)
    optimizer.zero_grad(set_to_none=False)
    assert p.grad.tolist() == [0.0]
    optimizer.zero_grad()
    assert p.grad is None


# -- what may be handed over ------------------------------------------------------------------


def test_bad_parameters_are_refused():
    p = leaf(1.0)
    with pytest.raises(TypeError, match=r"found one Tensor: write \[tensor\]"):
        optim.SGD(p)
    with pytest.raises(ValueError, match="no parameters; was the generator used up"):
        optim.SGD([])
    with pytest.raises(ValueError, match="got no parameters to optimize"):
        optim.SGD([{"params": []}])
    with pytest.raises(TypeError, match="changes Tensors; found float"):
        optim.SGD([1.0])
    with pytest.raises(ValueError, match="is given twice"):
        optim.SGD([p, p])
    with pytest.raises(ValueError, match="is the result of MulBackward"):
        optim.SGD([p * 2])
    with pytest.raises(TypeError, match="a parameter group is a dict"):
        optim.SGD([p]).add_param_group([p])


@pytest.mark.parametrize(
    ("kind", "options", "text"),
    [
        (optim.SGD, {"lr": -1.0}, r"SGD: lr must lie in \[0, inf\); found -1.0"),
        (optim.Adam, {"betas": (0.9, 1.0)}, r"Adam: betas must lie in \[0, 1\)"),
        (optim.Adam, {"eps": float("nan")}, "eps must lie in"),
        (optim.AdamW, {"weight_decay": -0.1}, "AdamW: weight_decay"),
        (optim.RMSprop, {"alpha": 1.5}, r"alpha must lie in \[0, 1\]"),
        (optim.Adadelta, {"rho": -0.5}, "rho must lie in"),
        (optim.SGD, {"momentum": -0.5}, "momentum must lie in"),
        (optim.SGD, {"nesterov": True}, "nesterov needs a momentum above 0"),
    ],
)
def test_bad_options_are_refused(kind, options, text):
    with pytest.raises(ValueError, match=text):
        kind([leaf(1.0)], **options)


def test_options_of_a_group():
    p, q = leaf(1.0), leaf(2.0)
    with pytest.raises(ValueError, match="Adam has no option 'learning_rate'; it has lr, betas"):
        optim.Adam([{"params": [p], "learning_rate": 0.1}])
    with pytest.raises(TypeError, match="lr must be a number; found 'fast'"):
        optim.Adam([p], lr="fast")
    optimizer = optim.Adam([{"params": p, "lr": 0.5}])
    optimizer.add_param_group({"params": [("named", q)]})
    assert [g["lr"] for g in optimizer.param_groups] == [0.5, 1e-3]
    assert "group 1: 1 parameters" in repr(optimizer)


def test_a_gradient_of_another_shape_changes_nothing():
    p, q = leaf(1.0), leaf(1.0, 2.0)
    optimizer = optim.SGD([p, q], lr=1.0)
    with pytest.raises(at.ShapeError, match=r"gradient of parameter 1 \(shape \(2,\)\) has shape"):
        optimizer.step([(at.ones(1), p), (at.ones(2, 1), q)])
    assert p.tolist() == [1.0]


# -- state ------------------------------------------------------------------------------------


def test_state_dict_is_plain():
    p, q = leaf(1.0, 2.0), leaf(3.0)
    optimizer = optim.Adam([("p", p), ("q", q)], lr=0.1)
    p.grad = at.ones(2)
    with pytest.warns(UserWarning, match="'q'"):
        optimizer.step()
    state = optimizer.state_dict()
    assert list(state["state"]) == [0]
    assert state["state"][0]["step"] == 1
    assert isinstance(state["state"][0]["exp_avg"], at.Tensor)
    (group,) = state["param_groups"]
    assert group["params"] == [0, 1]
    assert group["param_names"] == ["p", "q"]
    assert group["lr"] == 0.1
    assert json.loads(json.dumps(group))["betas"] == [0.9, 0.999]
    assert list(optimizer.state) == [p]


def test_a_state_that_went_through_json_fits():
    p = leaf(1.0, 2.0)
    optimizer = optim.Adam([p])
    p.grad = at.ones(2)
    optimizer.step()
    state = optimizer.state_dict()
    state["param_groups"] = json.loads(json.dumps(state["param_groups"]))
    state["state"] = {str(k): v for k, v in state["state"].items()}
    optimizer.load_state_dict(state)
    assert optimizer.param_groups[0]["betas"] == (0.9, 0.999)
    optimizer.step()
    assert optimizer.state[p]["step"] == 2


def test_a_state_that_does_not_fit_is_refused():
    p = leaf(1.0, 2.0)
    optimizer = optim.Adam([p])
    p.grad = at.ones(2)
    optimizer.step()
    before = optimizer.state_dict()
    other = optim.Adam([leaf(1.0, 2.0, 3.0)])
    with pytest.raises(
        ValueError, match=r"exp_avg of parameter 0 \(shape \(3,\)\) has shape \(2,\)"
    ):
        other.load_state_dict(before)
    assert other.state == {}
    with pytest.raises(ValueError, match="group 0 has 1 parameter"):
        optim.Adam([leaf(1.0), leaf(2.0)]).load_state_dict(before)
    with pytest.raises(ValueError, match="the state has 1 group"):
        optim.Adam([{"params": [leaf(1.0)]}, {"params": [leaf(2.0)]}]).load_state_dict(before)
    with pytest.raises(ValueError, match="an option 'betas' that SGD does not have"):
        optim.SGD([leaf(1.0, 2.0)]).load_state_dict(before)


@pytest.mark.parametrize("twin_of", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))])
def test_copies_go_on_alike(twin_of):
    p, q = leaf(1.0, 2.0), leaf(3.0)
    optimizer = optim.Adam([p, q], lr=0.1)
    p.grad, q.grad = at.ones(2), at.ones(1)
    optimizer.step()
    twin = twin_of(optimizer)
    ours = twin.param_groups[0]["params"]
    ours[0].grad, ours[1].grad = at.ones(2), at.ones(1)
    assert ours[0] is not p
    twin.step()
    optimizer.step()
    assert ours[0].tolist() == p.tolist()


def test_a_hook_is_all_that_is_missing():
    p = leaf(1.0)
    p.grad = at.ones(1)
    optimizer = optim.Optimizer([p], {"lr": 0.1})
    with pytest.raises(NotImplementedError, match="an optimizer needs update"):
        optimizer.step()


# -- what does not fit is refused whole


def saved_adam():
    parameters, loss_of = problem()
    optimizer = optim.Adam(parameters, lr=0.125)
    optimizer.step(loss_of().gradients())
    return optimizer.state_dict()


def without(state, name):
    del state["state"][0][name]


SPOILT = {
    "lr": (lambda s: s["param_groups"][0].update(lr=-5), r"lr must lie in \[0, inf\); found -5"),
    "no number": (lambda s: s["param_groups"][0].update(eps="x"), "eps must be a number"),
    "unknown parameter": (lambda s: s["state"].update({7: {}}), "number 7 belongs to no group"),
    "twice": (lambda s: s["param_groups"][0].update(params=[0, 0]), "number 0 is twice"),
    "no moment": (lambda s: without(s, "exp_avg_sq"), "parameter 0 .* has no 'exp_avg_sq'"),
    "no step": (lambda s: without(s, "step"), "has no 'step'"),
    "no array": (lambda s: s["state"][1].update(exp_avg=1.0), "exp_avg of parameter 1 .* no array"),
    "bad step": (lambda s: s["state"][1].update(step=-1), "step of parameter 1 .* found -1"),
    "no state": (lambda s: s.pop("state"), "no 'state'"),
}


@pytest.mark.parametrize("how", SPOILT)
def test_a_state_that_does_not_fit_changes_nothing(how):
    state = saved_adam()
    spoil, message = SPOILT[how]
    spoil(state)
    optimizer = optim.Adam(problem()[0], lr=0.5)
    with pytest.raises(ValueError, match=message):
        optimizer.load_state_dict(state)
    assert optimizer.param_groups[0]["lr"] == 0.5
    assert optimizer.state == {}


def test_every_optimizer_loads_its_own_state_before_and_after_a_step():
    for kind in ALL:
        parameters, loss_of = problem()
        optimizer = kind(parameters, lr=0.01)
        optimizer.load_state_dict(optimizer.state_dict())
        optimizer.step(loss_of().gradients())
        optimizer.load_state_dict(optimizer.state_dict())


def test_a_step_refuses_what_is_no_gradient_of_its_backend():
    np = pytest.importorskip("numpy")
    with at.use("numpy"):
        p, other = leaf(1.0, 2.0), leaf(1.0)
        optimizer = optim.SGD([p, other], lr=0.5)
    one = at.tensor([1.0])
    with pytest.raises(TypeError, match=r"parameter 0 .* ndarray; make it a\s+Tensor"):
        optimizer.step([(one, other), (np.ones(2), p)])
    with pytest.raises(TypeError, match="found a list for a parameter"):
        optimizer.step([(one, [1.0])])
    with at.use("python"):
        foreign = at.tensor([1.0, 1.0])
    with pytest.raises(BackendError, match=r"numpy backend, its gradient on\s+python"):
        optimizer.step([(one, other), (foreign, p)])
    assert (p.tolist(), other.tolist()) == ([1.0, 2.0], [1.0])
