"""Tracing: what is found, what is guarded, and that everything is as it was afterwards."""

import pytest

import atled as at
from atled.config import modes
from atled.core.graph import parse, verify
from atled.core.guard import Environment
from atled.core.record import graph_of
from atled.core.symbol import TRACED, Number
from atled.core.trace import Trace

np = pytest.importorskip("numpy", reason="the traced namespace stands on NumPy's")


def traced(function, *leaves):
    """Trace a function; return the record and its graph."""
    environment = Environment(function, [])
    with Trace(environment, list(leaves)) as trace:
        record = trace.finish(function(*leaves))
    return record, verify(graph_of(record, []))


def test_the_graph_of_a_function():
    w = at.ones(3)
    record, graph = traced(lambda x: (x * w).sum(), at.ones(2, 3))
    assert str(graph).splitlines()[1:] == [
        "  %2: float32[2,3] = broadcast_to(%1, shape=(2,3,))",
        "  %3: float32[2,3] = multiply(%0, %2)",
        "  %4: float32[] = sum(%3, axis=(0,1,))",
        "  return %4",
        "}",
    ]
    assert parse(str(graph)) == graph
    (_, first), (_, second) = record.inputs
    assert (first.kind, first.of) == ("value", 0)
    assert second.of is w
    assert record.results == [("fresh", 0)]
    assert record.changes == []


def test_changes_are_found_and_undone():
    w = at.ones(3, requires_grad=True)
    total = at.zeros(())
    before = w.array, total.array

    def step(x):
        loss = (x * w).sum()
        loss.backward()
        total.add_(loss.detach())
        return loss

    record, _ = traced(step, at.ones(3))
    assert [(c.kind, c.of) for c in record.changes] == [("value", total), ("grad", w)]
    assert w.grad is None
    assert w.array is before[0]
    assert total.array is before[1]
    assert w.is_leaf
    assert w.requires_grad
    assert modes.tracing is None


def test_a_gradient_is_guarded_only_if_somebody_looks():
    w = at.ones(2, requires_grad=True)

    def reset(x):
        w.grad = None
        (x * w).sum().backward()

    def add(x):
        (x * w).sum().backward()

    for function, seen in ((reset, None), (add, False)):
        record, _ = traced(function, at.ones(2))
        assert next(c[4] for c in record.captured if c[0] is w) is seen


def test_numbers_live_and_leave_guards():
    state = {"n": 3, "rate": 0.5}
    trace = Trace(Environment(lambda: None, []), [])
    with trace:
        n, rate = trace.number(state, "n"), trace.number(state, "rate")
        assert isinstance(n, Number)
        assert repr(n) == "<number, now 3>"
        y = rate * 2 ** (n + 1)
        assert y.now == 8.0
        assert (n + 1) is (n + 1)
        assert n > 2
        assert rate
        assert (TRACED.zeros((2,)) + y).value.dtype is at.float32
        with pytest.raises(at.TraceError, match="a number that changes from call to call"):
            float(n)
    assert [guard() for guard in trace.guards] == [True, True]
    state["n"] = 2
    assert [guard() for guard in trace.guards] == [False, True]
    assert y.again() == 4.0


def test_numbers_that_are_equal_are_read_once():
    slots = [{"step": 4, "own": 1.0}, {"step": 4, "own": 2.0}]
    trace = Trace(Environment(lambda: None, []), [])
    with trace:
        trace.share(slots)
        first, second = (trace.opened(s) for s in slots)
        assert first["step"] is second["step"]
        assert first["own"] is not second["own"]
    assert trace.equal == [("step", slots)]


def test_what_is_opened_is_written_back_as_changes():
    state = {"m": np.ones(2, np.float32), "n": 1, "flag": True}

    def step():
        s = modes.tracing.opened(state)
        s["m"] = s["m"] * 2
        s["n"] = s["n"] + 1
        s["new"] = s["m"] + 1

    record, _ = traced(step)
    assert [(c.kind, c.key) for c in record.changes] == [
        ("item", "m"),
        ("number", "n"),
        ("item", "new"),
    ]
    assert record.fixed == [(state, "flag", True)]
    assert list(state) == ["m", "n", "flag"]
    assert state["m"].tolist() == [1.0, 1.0]
    assert all(guard() for guard in record.guards)
    state["new"] = 1
    assert not all(guard() for guard in record.guards)


def test_checks():
    def pick(x, i):
        return x[i]

    record, graph = traced(pick, at.ones(3), at.tensor([1, -1]))
    ((value, error),) = record.checks
    assert value in graph.outputs
    assert value.dtype is at.bool
    assert value.shape == ()
    assert "out of range for size 3" in str(error())


class Scale:
    factor = 2.0

    def __init__(self):
        self.weights = [at.ones(2), at.zeros(2)]
        self.unused = 1

    def apply(self, x):
        return x * self.weights[0] * self.factor * GLOBAL


GLOBAL = 3


def test_the_environment_follows_what_the_code_names():
    scale = Scale()

    def function(x):
        return inner(x)

    def inner(x):
        return scale.apply(x)

    environment = Environment(function, [])
    labels = {slot.label for slot in environment.slots}
    assert {"inner", "scale", "scale.weights", "Scale.factor", "GLOBAL"} <= labels
    assert not any("unused" in label for label in labels)
    assert set(environment.tensors) == {id(w) for w in scale.weights}
    assert environment.differing() is None
    scale.unused = 2
    assert environment.differing() is None
    scale.weights.append(1)
    assert environment.differing().describe("changed") == (
        "scale.weights changed (it had 2 entries, now 3)"
    )
    environment.differing().restore()
    scale.factor = 3.0
    assert environment.differing().describe("is") == "scale.factor is from nothing to 3.0"


def test_modules_are_compared_when_one_has_changed():
    model = at.nn.Sequential(at.nn.Linear(2, 2), at.nn.Dropout())
    environment = Environment(model, [])
    assert environment.watched
    assert environment.differing() is None
    at.nn.ReLU().inplace = True  # another module: compared once more, and right
    assert environment.differing() is None
    model.eval()
    assert "training changed from True to False" in environment.differing().describe("changed")
    model.train()
    assert environment.differing() is None
    handle = model[0].register_forward_hook(lambda *a: None)
    assert environment.differing() is not None
    handle.remove()
    assert environment.differing() is None
    model[0].weight.register_hook(lambda g: g)
    assert "hooks on" in environment.differing().label


def test_using_what_a_trace_made():
    kept = []
    traced(lambda x: kept.append(x * 2), at.ones(2))
    with pytest.raises(at.TraceError, match="used after it had been traced"):
        kept[0].tolist()
    with pytest.raises(at.TraceError, match="used after it had been traced"):
        kept[0] + at.ones(2)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (lambda w: w.requires_grad_(False), "got another requires_grad"),
        (lambda w: w.register_hook(lambda g: g), "a hook was registered"),
        (
            lambda w: w.square().sum().backward(create_graph=True),
            "leaves a .grad that can itself be differentiated",
        ),
    ],
)
def test_what_a_call_cannot_repeat(step, message):
    w = at.ones(2, requires_grad=True)

    def function():
        step(w)

    with pytest.raises(at.TraceError, match=message):
        traced(function)
    assert w.requires_grad
    assert w.grad is None
    assert not w._node.hooks


def test_generators_and_schedules_are_moved_outside():
    optimizer = at.optim.SGD([at.ones(2, requires_grad=True)])
    schedule = at.optim.lr_scheduler.StepLR(optimizer, 1)
    for call in (
        lambda: at.manual_seed(1),
        lambda: at.get_rng_state(),
        lambda: at.set_rng_state({"seed": 1, "counter": 0}),
        lambda: schedule.step(),
        lambda: schedule.get_last_lr(),
    ):
        with pytest.raises(at.TraceError, match="cannot be part of a compiled function"):
            traced(call)
    assert schedule.last_epoch == 0
