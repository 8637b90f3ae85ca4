"""What a compiled function is traced for and traced anew, and the state that it changes."""

import copy
import signal
import warnings
from functools import partial
from operator import methodcaller
from typing import Any

import pytest

import atled as at
from atled.compile import Stats, owned
from atled.nn import functional as F
from atled.testing import assert_close
from tests.compile.beside import assert_same, batch, network, run_both, training

np = pytest.importorskip("numpy", reason="programs run on NumPy's arrays")
pytest.importorskip("llvmlite", reason="programs are compiled by llvmlite")
pytestmark = pytest.mark.usefixtures("executor")


def test_settings():
    w = at.ones(2, requires_grad=True)
    f = at.compile(lambda x: x * w + at.ones(2))
    with at.no_grad():
        assert not f(at.ones(2)).requires_grad
    assert f(at.ones(2)).requires_grad
    at.set_default_dtype(at.float64)
    assert f(at.ones(2, dtype=at.float32)).dtype is at.float64
    w.requires_grad_(False)
    assert not f(at.ones(2, dtype=at.float32)).requires_grad
    assert f.stats().traces == 4
    g = at.compile(at.no_grad()(lambda x: x * w))
    w.requires_grad_()
    assert not g(at.ones(2)).requires_grad


SCALE = 2.0


def test_globals_cells_and_defaults(monkeypatch):
    options = {"shift": 1}

    def helper(x, *, power=2):
        return x**power

    @at.compile
    def f(x, times=3):
        return helper(x) * SCALE * times + options["shift"]

    x = at.tensor([2.0])
    assert f(x).tolist() == [25.0]
    monkeypatch.setitem(globals(), "SCALE", 1.0)
    assert f(x).tolist() == [13.0]
    options["shift"] = 0
    assert f(x).tolist() == [12.0]
    helper.__kwdefaults__["power"] = 1
    assert f(x).tolist() == [6.0]
    f.__wrapped__.__defaults__ = (1,)
    assert f(x).tolist() == [2.0]
    assert f.stats().traces == 5


def test_many_traces_are_a_warning_that_names_what_changed():
    double = at.compile(lambda x: x * 2)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for n in range(1, 40):
            double(at.ones(n))
    (warning,) = caught
    text = str(warning.message)
    assert "was traced 9 times" in text
    assert "argument 0 changed from float32[8] to float32[9]" in text
    assert __file__ in text
    assert double.stats() == Stats(calls=39, traces=39, programs=32, eager=0)


def test_methods_are_compiled_for_each_instance():
    class Trainer:
        def __init__(self, seed):
            self.model = network(seed)
            self.optimizer = at.optim.SGD(self.model.parameters(), lr=0.1)
            self.scale, self.log = 2.0, []

        @at.compile
        def step(self, x):
            loss = (self.model(x) * self.scale).mean()
            loss.backward()
            self.optimizer.step()
            self.optimizer.zero_grad()
            return loss.detach()

    ours, theirs, other = Trainer(0), Trainer(0), Trainer(1)
    for n in range(3):
        x = batch(n)[0]
        assert_close(ours.step(x), Trainer.step.__wrapped__(theirs, x))
        ours.log.append(n)  # nothing that step reads
        if n == 1:
            ours.scale = theirs.scale = 3.0
    assert_same(ours.model, theirs.model)
    other.step(batch(0)[0])
    assert (ours.step.stats().traces, other.step.stats().traces) == (2, 1)
    twin = copy.deepcopy(ours)
    assert_close(twin.step(batch(5)[0]), ours.step(batch(5)[0]))


def test_methods_of_one_name_in_a_class_and_its_base():
    class Base:
        @at.compile
        def step(self, x):
            return x + 1

    class Derived(Base):
        @at.compile
        def step(self, x):
            return super().step(x) * 2

    class Slotted:
        __slots__ = ()
        step = Base.__dict__["step"]

    made, x = Derived(), at.ones(1)
    for _ in range(2):
        assert made.step(x).tolist() == [4.0]
        assert Base.step.__get__(made)(x).tolist() == [2.0]
        made = copy.deepcopy(made)
    with pytest.raises(TypeError, match="Slotted: it has __slots__, and no place"):
        Slotted().step(x)


def test_long_containers_are_compared():
    numbers = [float(n) for n in range(2000)]
    table = {n: float(n) for n in range(2000)}
    f = at.compile(lambda x: x * numbers[0] + table[7] + len(numbers) + len(table))

    def changes():
        yield
        numbers[0] = 5.0
        yield
        table[7] = 1.5
        yield
        numbers.append(1.0)
        yield
        table[-1] = 1.0
        yield

    for _ in changes():
        for _ in range(2):
            assert f(at.ones(1)).tolist() == f.__wrapped__(at.ones(1)).tolist()
    assert f.stats().traces == 5


def test_modules_compiled_and_as_arguments():
    models, x = [network(0), network(1)], batch(0)[0]
    whole = at.compile(models[0])
    whole(x).sum().backward()
    assert models[0][0].weight.grad is not None
    of = at.compile(lambda model, x: model(x))
    for model in (*models, models[0]):
        assert_close(of(model, x), model(x))
    assert of.stats().traces == 2
    models[0][0].weight.data = at.zeros(4, 3, dtype=at.float64)
    assert_close(of(models[0], x), models[0](x))
    assert of.stats().traces == 2


def test_a_compiled_function_inside_another():
    inner = at.compile(lambda x: x * 2)
    outer = at.compile(lambda x: inner(x) + 1)
    assert outer(at.ones(2)).tolist() == [3.0, 3.0]
    assert inner.stats().calls == 0


def test_state_in_place():
    total, rows = at.zeros(3), at.zeros(2, 2)

    @at.compile
    def add(x):
        total.add_(x)
        total[0] = 7.0
        rows[1] += x[:2]
        return total.sum()

    held = total.detach()
    for _ in range(3):
        kept = total.detach()
        assert_close(add(at.ones(3)), total.sum())
        assert kept.tolist() != total.tolist()
        assert held.tolist() == [0.0, 0.0, 0.0]
    view = np.asarray(total)
    add(at.ones(3))
    assert view.tolist() == [7.0, 3.0, 3.0]
    assert total.tolist() == [7.0, 4.0, 4.0]
    assert rows.tolist() == [[0.0, 0.0], [4.0, 4.0]]


def test_old_values_of_state_that_is_replaced():
    def make():
        p, previous, a, b = (at.full((3,), float(n)) for n in range(4))

        def step(x):
            before, first = p.detach(), a.reshape(3, 1)
            previous.copy_(p)
            p.copy_(p + x)
            kept = a.detach()
            a.copy_(b)
            b.copy_(kept)
            return before, first, previous.detach()

        return step, (p, previous, a, b)

    (eager, theirs), (plain, ours) = make(), make()
    compiled = at.compile(plain)
    kept: list[Any] = []
    for n in range(4):
        x = at.full((3,), n + 1.0)
        expected, found = eager(x), compiled(x)
        kept.append((found, [t.tolist() for t in found]))
        for a, b in zip((*found, *ours), (*expected, *theirs), strict=True):
            assert_close(a, b)
    for tensors, numbers in kept:
        assert [t.tolist() for t in tensors] == numbers


@pytest.mark.parametrize("shape", [(4,), ()])
def test_derivatives_use_the_values_from_before_the_change(shape):
    state = at.full(shape, 2.0)

    @at.compile
    def f(x):
        y = x * x * state + at.sin(state * x)
        state.copy_(state + 10)
        return y

    for _ in range(3):
        x, s = at.ones(4, requires_grad=True), state.detach()
        y = f(x)
        (g,) = at.autograd.grad(y.sum(), x, create_graph=True)
        assert_close(g, 2 * s + s * at.cos(s) * at.ones(4))
        (h,) = at.autograd.grad(g.sum(), x)
        assert_close(h, 2 * s - s * s * at.sin(s) * at.ones(4))


@pytest.mark.parametrize("mixed", [False, True])
def test_an_exception_of_a_signal_leaves_whole_steps(mixed, request):
    model = network()
    optimizer = at.optim.Adam(model.parameters())
    count = at.zeros(3)

    @at.compile
    def step(x, y):
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        count.add_(1)
        return (loss, at.sort(x)[0]) if mixed else loss

    step(*batch(0))
    before = copy.deepcopy(model.state_dict())

    program = step._prepared[0].program
    if not hasattr(program, "segments"):
        pytest.skip("there is no native code that a signal could wait for")
    space, last = program.run_bound.__globals__, -1
    if mixed:
        space = program._calls
    else:
        last = max(name for name in space if name.startswith("call"))
    run = space[last]
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may ignore it
    request.addfinalizer(partial(signal.signal, signal.SIGINT, handler))
    both = [run, partial(signal.raise_signal, signal.SIGINT)]
    space[last] = partial(any, map(methodcaller("__call__"), both))  # no line of Python's own
    with pytest.raises(KeyboardInterrupt):
        step(*batch(1))
    space[last] = run
    assert count.tolist() == [2.0] * 3
    assert {s["step"] for s in optimizer.state.values()} == {2}
    assert any((a != before[k]).any() for k, a in model.state_dict().items())
    step(*batch(2))
    assert count.tolist() == [3.0] * 3


def test_parameters_are_written_in_place_where_nobody_else_sees_them():
    model = network()
    optimizer = at.optim.Adam(model.parameters())
    step = at.compile(training(model, optimizer))
    step(*batch(0))
    weight = model[0].weight
    arrays = {id(p.array): p.array.copy() for p in model.parameters()}
    moment = optimizer._slots[0]["exp_avg"]
    address = moment.ctypes.data
    del moment
    step(*batch(1))
    step(*batch(2))
    for p in model.parameters():
        assert (p.array != arrays[id(p.array)]).any()
    assert optimizer._slots[0]["exp_avg"].ctypes.data == address
    held = weight.array
    before = held.copy()
    step(*batch(3))
    assert (held == before).all()
    assert (weight.array != before).any()


def test_without_the_interpreters_lock_nothing_is_written_in_place(monkeypatch):
    monkeypatch.setattr(owned, "FREE_THREADED", True)
    state = at.zeros(3)

    @at.compile
    def step():
        state.add_(1)

    for n in range(4):
        address = state.array.ctypes.data
        step()
        assert state.tolist() == [n + 1.0] * 3
        assert state.array.ctypes.data != address


def test_values_that_are_kept_stay_what_they_were():
    def between(n, model, optimizer, step):
        assert_close(kept.get(id(model), [[]])[0], kept.get(id(model), [[], []])[1])
        state = model.state_dict()
        kept[id(model)] = [state, copy.deepcopy({k: v.tolist() for k, v in state.items()})]

    kept: dict[int, Any] = {}
    run_both(training, 4, between)
    for state, numbers in kept.values():
        assert_close(state, numbers)


def test_names_that_get_new_tensors():
    class Cell(at.nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("mean", at.zeros(2))
            self.hidden, self.last, self.counts = at.zeros(2), None, {"n": at.zeros(())}

        def forward(self, x):
            self.mean = 0.9 * self.mean + 0.1 * x
            self.hidden = at.tanh(self.hidden + x)
            self.last = x * 2
            self.counts["n"] = self.counts["n"] + 1
            return self.hidden + self.mean

    ours, theirs = Cell(), Cell()
    compiled = at.compile(ours)
    for n in range(5):
        x = at.full((2,), 0.1 * n)
        assert_close(compiled(x), theirs(x))
        for name in ("mean", "hidden", "last"):
            assert_close(getattr(ours, name), getattr(theirs, name))
        assert_close(ours.counts, theirs.counts)
    assert compiled.stats().traces == 2  # the first time, `last` was None
    ours.hidden = theirs.hidden = at.ones(2)
    assert_close(compiled(x), theirs(x))
    assert compiled.stats().traces == 2
    ours.hidden = theirs.hidden = at.ones(1)
    assert_close(compiled(x), theirs(x))
    assert compiled.stats().traces == 3
    checked = at.compile(Cell(), verify=3)
    for _ in range(4):
        checked(x)


def test_names_that_cannot_get_new_tensors():
    class Owner:
        pass

    owner, x = Owner(), at.ones(2)
    owner.h = owner.twin = at.zeros(2)
    owner.w = at.ones(2, requires_grad=True)

    def shared(x):
        owner.h = owner.h + x + owner.twin

    def tracked(x):
        owner.loss = (x * owner.w).sum()

    def replaced(x):
        owner.w = owner.w.detach() + x

    for f, message in (
        (shared, "owner.h changed from a Tensor"),
        (tracked, "stores a Tensor that requires a gradient, as 'loss'"),
        (replaced, "in the place of one, 'w', that requires a gradient"),
    ):
        before = dict(vars(owner))
        with pytest.raises(at.TraceError, match=message):
            at.compile(f)(x)
        assert vars(owner) == before
        assert owner.h.tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    "store",
    [
        lambda owner, kept, y: setattr(owner, "last", [y]),
        lambda owner, kept, y: kept.append(y),
        lambda owner, kept, y: kept.clear(),
    ],
)
def test_changes_of_python_objects_are_refused_and_undone(store):
    class Owner:
        last = None

    owner, kept = Owner(), [1]

    @at.compile
    def f(x):
        store(owner, kept, x * 2)
        return x

    if store.__code__.co_names[0] == "setattr":
        owner.last = None
    with pytest.raises(at.TraceError, match="changes Python's own state: "):
        f(at.ones(2))
    assert owner.last is None
    assert kept == [1]


def test_tensors_that_cannot_be_watched():
    source = iter([at.ones(2), at.ones(2)])
    with pytest.raises(at.TraceError, match="by a way that cannot be watched"):
        at.compile(lambda x: x + next(source))(at.ones(2))


def test_constants_made_inside():
    @at.compile
    def f(x):
        rows = at.tensor([[1, 2], [3, 4]])[0]
        return x * at.tensor([1.0, 2.0]) + at.arange(2) + at.eye(2)[0] + at.linspace(0, 1, 2) + rows

    assert_close(f(at.ones(2)), f.__wrapped__(at.ones(2)))


@pytest.mark.parametrize("kind", ["strict", "half"])
def test_a_program_that_cannot_be_made_leaves_no_state(kind, executor):
    if executor == "interpreted":
        pytest.skip("an interpreted program can do everything")
    model, half = network(), at.ones(3, dtype=at.float16)
    optimizer = at.optim.Adam(model.parameters())

    @at.compile(strict=True)
    def step(x):
        more = half.sum().astype(at.float64) if kind == "half" else at.sort(x)[0].sum()
        loss = model(x).sum() + more
        loss.backward()
        optimizer.step()
        return loss

    before = str(optimizer.state_dict())
    message = "float16" if kind == "half" else "would call argsort"
    with pytest.raises(at.TraceError, match=message):
        step(batch(0)[0])
    assert str(optimizer.state_dict()) == before
    assert model[0].weight.grad is None


def test_the_environment_in_which_a_trace_fails_is_restored():
    f = at.compile(lambda x: x.reshape(7))
    for _ in range(2):
        with pytest.raises(at.ShapeError, match="reshape"):
            f(at.ones(2))
    assert f.stats().programs == 0
    with pytest.raises(at.TraceError, match="has no program yet"):
        f.explain()
