"""`at.compile`: what it accepts, that it equals eager, and when it traces again."""

import copy
import dataclasses
import functools
import inspect
import pickle
import threading
import warnings
from typing import Any

import pytest

import atled as at
from atled.compile import Stats, function, prepared
from atled.nn import functional as F
from atled.testing import assert_close

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
    (at.optim.SGD, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01}, 2),
    (at.optim.Adam, {"amsgrad": True, "weight_decay": 0.1}, 1),
    (at.optim.AdamW, {"maximize": True}, 1),
    (at.optim.RMSprop, {"momentum": 0.9, "centered": True}, 1),
    (at.optim.NAdam, {"decoupled_weight_decay": True, "weight_decay": 0.1}, 1),
]


def network(seed: int = 0, norm: bool = False) -> at.nn.Module:
    at.manual_seed(seed)
    return at.nn.Sequential(
        at.nn.Linear(3, 4, bias=not norm),
        at.nn.BatchNorm1d(4) if norm else at.nn.Tanh(),
        at.nn.Tanh(),
        at.nn.Linear(4, 2),
    ).double()


def batch(n: int, size: int = 5) -> tuple[at.Tensor, at.Tensor]:
    g = at.Generator(n)
    x = at.randn(size, 3, generator=g, dtype=at.float64)
    return x, at.randint(0, 2, (size,), generator=g)


def assert_same(ours, theirs) -> None:
    for module, other in zip(ours.modules(), theirs.modules(), strict=True):
        assert_close(dict(module._buffers), dict(other._buffers))
        for p, q in zip(module._parameters.values(), other._parameters.values(), strict=True):
            if p is None:
                assert q is None
                continue
            assert_close(p, q)
            assert (p.is_leaf, p.requires_grad) == (q.is_leaf, q.requires_grad)
            assert (p.grad is None) == (q.grad is None)
            if p.grad is not None:
                assert_close(p.grad, q.grad)


def run_both(make, calls: int = 4, between=None, norm: bool = False):
    """Run make(model, optimizer)(*batch) eagerly and compiled; return the compiled function."""
    models = [network(norm=norm), network(norm=norm)]
    optimizers = [at.optim.Adam(m.parameters(), lr=0.05) for m in models]
    eager, plain = (make(m, o) for m, o in zip(models, optimizers, strict=True))
    compiled = at.compile(plain)
    for n in range(calls):
        assert_close(compiled(*batch(n)), eager(*batch(n)))
        assert_same(*models)
        if between:
            for m, o, f in zip(models, optimizers, (eager, plain), strict=True):
                between(n, m, o, f)
            assert_same(*models)
    assert_close(*[o.state_dict()["state"] for o in optimizers])
    return compiled


def training(model, optimizer):
    def step(x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        at.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        return loss.detach()

    return step


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


# -- arguments and results


@dataclasses.dataclass
class Pair:
    first: Any
    n: int


def test_nested_arguments_and_results():
    @at.compile
    def nested(pair, *, scale=1, more=None):
        extra = 0 if more is None else more["z"][0]
        return {"pair": Pair(pair.first * pair.n * scale + extra, pair.n), "none": (None, [scale])}

    x = at.ones(2)
    for pair, options in (
        (Pair(x, 3), {}),
        (Pair(x, 3), {"scale": 2}),
        (Pair(x, 4), {}),
        (Pair(x, 3), {"more": {"z": [x]}}),
        (Pair(x, 3), {"scale": 2}),
    ):
        assert_close(nested(pair, **options), nested.__wrapped__(pair, **options))
    assert nested.stats().traces == 4


def test_an_argument_that_is_neither_a_tensor_nor_hashable():
    compiled = at.compile(lambda x, options: x)
    with pytest.raises(TypeError, match="argument 'options' is a set, which is neither"):
        compiled(at.ones(1), {1})
    with pytest.raises(TypeError, match="a part of argument 'options' is a ndarray"):
        compiled(at.ones(1), [np.ones(2)])
    with pytest.raises(TypeError, match="compile takes a function; found int"):
        at.compile(3)


def test_results_that_are_known_tensors_are_those():
    w, scale = at.ones(3, requires_grad=True), at.ones(3)

    @at.compile
    def same(x):
        (x * w).sum().backward()
        return w, w.grad, x, scale, x.detach()

    x = at.ones(3)
    for _ in range(2):
        a, b, c, d, e = same(x)
        assert a is w
        assert b is w.grad
        assert c is x
        assert d is scale
        assert e is not x
    assert b.tolist() == [2.0, 2.0, 2.0]


def test_the_same_tensor_twice():
    @at.compile
    def sums(x, y):
        return (x * y).sum()

    x, y = (at.tensor(v, requires_grad=True) for v in ([1.0, 2.0], [3.0, 4.0]))
    for _ in range(2):
        assert_close(at.autograd.grad(sums(x, y), [x, y]), ([3.0, 4.0], [1.0, 2.0]))
        assert_close(at.autograd.grad(sums(x, x), [x]), ([2.0, 4.0],))
    assert sums.stats().traces == 2


def test_a_tensor_that_is_captured_and_an_argument():
    w, x = at.tensor([1.0, 2.0], requires_grad=True), at.tensor([5.0, 6.0])
    product = at.compile(lambda x: (x * w).sum())
    for argument, expected in ((x, [5.0, 6.0]), (w, [2.0, 4.0]), (x, [5.0, 6.0])):
        w.grad = None
        product(argument).backward()
        assert w.grad.tolist() == expected


def test_many_arguments():
    total = at.compile(lambda *xs: sum(xs))
    xs = [at.full((2,), float(i)) for i in range(7)]
    assert total(*xs).tolist() == [21.0, 21.0]
    assert total(*xs[:6], xs[0]).tolist() == [15.0, 15.0]


# -- derivatives


def gradients(f, x, w, order):
    y = f(x)
    for _ in range(order):
        (y,) = at.autograd.grad(at.sin(y).sum(), x, create_graph=True)
    return at.autograd.grad(y.sum(), [x, w])


@pytest.mark.parametrize("order", [0, 1, 2])
def test_derivatives_of_every_order(order):
    w = at.tensor([1.0, 2.0, 3.0], dtype=at.float64, requires_grad=True)
    x = at.tensor([0.5, 0.6, 0.7], dtype=at.float64, requires_grad=True)

    def f(x):
        return at.exp(at.sin(x * w)) / (1 + x.square().sum())

    compiled = at.compile(f)
    for _ in range(2):
        assert_close(gradients(compiled, x, w, order), gradients(f, x, w, order), 1e-11, 1e-11)


def test_several_results_of_which_some_are_used():
    w = at.ones(3, requires_grad=True)

    @at.compile
    def several(x):
        return x * w, (x + w).sum(), x * 2

    a, b, c = several(at.full((3,), 2.0))
    assert not c.requires_grad
    a.sum().backward(retain_graph=True)
    b.backward()
    assert w.grad.tolist() == [3.0, 3.0, 3.0]
    a, _, _ = several(at.full((3,), 2.0))
    a.sum().backward()
    with pytest.raises(at.GradError, match="freed by an earlier backward pass"):
        a.sum().backward()
    with pytest.raises(at.GradError, match="a compiled function has no forward mode"):
        at.core.autograd.jvp_of([several(at.ones(3))[0]], [w], [at.ones(3)])


def test_the_graph_goes_on_outside():
    w = at.ones(3, requires_grad=True)
    squares = at.compile(lambda x: x.square().sum())
    squares(w * 3).backward()
    assert w.grad.tolist() == [18.0, 18.0, 18.0]

    @at.compile
    def inside(x):
        x.square().sum().backward()

    with pytest.raises(at.TraceError, match="reached an argument that was computed outside"):
        inside(w * 3)


def test_custom_functions_and_hooks():
    class Cube(at.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x * x

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return 3 * x * x * g

    x = at.tensor([2.0, 3.0], requires_grad=True)
    x.register_hook(lambda g: g * 2)
    compiled = at.compile(lambda x: Cube.apply(x))
    compiled(x).sum().backward()
    assert x.grad.tolist() == [24.0, 54.0]
    (g,) = at.autograd.grad(compiled(x).sum(), x, create_graph=True)
    assert_close(at.autograd.grad(g.sum(), x), ([48.0, 72.0],))
    w = at.ones(2, requires_grad=True)

    @at.compile
    def inside(x):
        (x * w).sum().backward()

    inside(at.ones(2))
    w.register_hook(lambda g: g * 10)
    inside(at.ones(2))
    assert w.grad.tolist() == [11.0, 11.0]


def test_a_result_of_a_walked_graph_is_a_constant():
    w = at.ones(2, requires_grad=True)

    @at.compile
    def step(x):
        loss = (x * w).sum()
        loss.backward()
        return loss

    assert not step(at.ones(2)).requires_grad


# -- what is traced anew, and what it is traced for


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


def test_values_that_are_kept_stay_what_they_were():
    def between(n, model, optimizer, step):
        assert_close(kept.get(id(model), [[]])[0], kept.get(id(model), [[], []])[1])
        state = model.state_dict()
        kept[id(model)] = [state, copy.deepcopy({k: v.tolist() for k, v in state.items()})]

    kept: dict[int, Any] = {}
    run_both(training, 4, between)
    for state, numbers in kept.values():
        assert_close(state, numbers)


@pytest.mark.parametrize(
    "store",
    [
        lambda owner, kept, y: setattr(owner, "last", y),
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


def test_the_environment_in_which_a_trace_fails_is_restored():
    f = at.compile(lambda x: x.reshape(7))
    for _ in range(2):
        with pytest.raises(at.ShapeError, match="reshape"):
            f(at.ones(2))
    assert f.stats().programs == 0
    with pytest.raises(at.TraceError, match="has no program yet"):
        f.explain()


# -- where there is nothing to compile for


def test_other_backends_run_eagerly_with_one_warning():
    double = at.compile(lambda x: x * 2)
    with at.use("python"):
        x = at.ones(2)
        with pytest.warns(RuntimeWarning, match="Tensors of the python backend"):
            double(x)
        assert double(x).tolist() == [2.0, 2.0]
    w = x
    captured = at.compile(lambda y: w * 2)
    with pytest.warns(RuntimeWarning, match="runs eagerly: it uses Tensors of the python"):
        assert captured(at.ones(2)).tolist() == [2.0, 2.0]
    assert captured.stats().eager == 1
    with pytest.raises(at.BackendError, match="operands of two backends met"):
        at.compile(lambda y: y * w)(at.ones(2))
    with pytest.raises(at.TraceError, match="strict=True, would run eagerly"):
        at.compile(lambda y: w * 2, strict=True)(at.ones(2))


def test_without_llvmlite(monkeypatch):
    monkeypatch.setattr(function, "find_spec", lambda name: None)
    double = at.compile(lambda x: x * 2)
    with pytest.warns(RuntimeWarning, match=r"pip install 'atled\[standard\]'"):
        assert double(at.ones(2)).tolist() == [2.0, 2.0]
    assert double(at.ones(2)).tolist() == [2.0, 2.0]


# -- options


def test_verify_compares_and_leaves_what_eager_leaves():
    model = network(norm=True)
    twin = copy.deepcopy(model)
    optimizers = [at.optim.AdamW(m.parameters()) for m in (model, twin)]
    eager = training(twin, optimizers[1])
    checked = at.compile(training(model, optimizers[0]), verify=2)
    for n in range(4):
        at.manual_seed(n)
        ours = checked(*batch(n))
        at.manual_seed(n)
        assert_close(ours, eager(*batch(n)))
        assert_same(model, twin)
    assert checked.stats().traces == 1


def test_verify_shows_the_first_number_that_differs():
    class Clock:
        now = 0.0

        def __getattr__(self, name):  # cannot be watched
            Clock.now += 1
            return Clock.now

    clock = Clock()
    w = at.ones(2)

    @at.compile(verify=1)
    def timed(x):
        w.copy_(x * clock.tick)
        return x * 1

    with pytest.raises(at.TraceError, match=r"the value of a Tensor of shape \(2,\) of the comp"):
        timed(at.ones(2))
    with pytest.raises(at.TraceError, match=r"result 0 of the compiled function differs: .* inst"):
        at.compile(lambda x: x * clock.tick, verify=1)(at.ones(2))


def test_names_and_metadata():
    @at.compile
    def area(r):
        """Return the area of a disc."""
        return at.pi * r**2

    assert (area.__name__, area.__doc__) == ("area", "Return the area of a disc.")
    area(at.ones(()))
    assert repr(area) == "<compiled area: 1 programs>"
    assert isinstance(area, at.compile.Compiled)
    assert pickle.loads(pickle.dumps(area)) is None
    assert prepared.Prepared.__doc__


def test_several_threads():
    wave = at.compile(lambda x: at.sin(x) * 2)
    found = {}

    def run(i):
        for k in range(20):
            found[i, k] = wave(at.full((3,), float(i)))

    threads = [threading.Thread(target=run, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for (i, _), y in found.items():
        assert_close(y, 2 * np.sin(np.full(3, i, np.float32)), 1e-5, 1e-6)
