"""`at.compile`: what it accepts, that it equals eager, and its derivatives."""

import copy
import dataclasses
import pickle
import random
import threading
from typing import Any

import pytest

import atled as at
from atled.compile import function, prepared
from atled.testing import assert_close
from tests.compile.beside import assert_same, batch, network, training

np = pytest.importorskip("numpy", reason="programs run on NumPy's arrays")
pytest.importorskip("llvmlite", reason="programs are compiled by llvmlite")
pytestmark = pytest.mark.usefixtures("executor")

# -- arguments and results


def test_equal_arguments_of_different_types():
    f = at.compile(lambda x, s: x * next(iter(s)))
    x = at.tensor([2])
    for s in (frozenset({1}), frozenset({1.0}), frozenset({True}), frozenset({1})):
        assert f(x, s).dtype is f.__wrapped__(x, s).dtype
    assert f.stats().traces == 3
    g = at.compile(lambda x, z: x * z.imag)
    assert [str(g(at.ones(()), complex(1, z)).item()) for z in (0.0, -0.0)] == ["0.0", "-0.0"]


def test_threads_with_functions_of_their_own_over_one_model():
    model = network()
    expected = {n: model(batch(n, n)[0]).tolist() for n in range(1, 20)}
    errors: list[Any] = []

    def work(seed: int) -> None:
        f = at.compile(lambda x: model(x))
        for n in random.Random(seed).sample(range(1, 20), 8):
            try:
                assert_close(f(batch(n, n)[0]).tolist(), expected[n])
            except Exception as error:
                errors.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_a_first_call_waits_for_a_trace_and_asks_again():
    w, started, go = at.ones(2), threading.Event(), threading.Event()

    def slow(x):
        started.set()
        go.wait(10)
        return x * w

    kept, traced = at.compile(lambda x: x + w), at.compile(slow)
    kept(at.ones(2))
    found: list[Any] = []
    threads = [
        threading.Thread(target=lambda f=f: found.append(f(at.ones(2)).tolist()))
        for f in (traced, kept)
    ]
    threads[0].start()
    started.wait(10)
    threads[1].start()
    threads[1].join(0.1)
    assert found == []
    go.set()
    for thread in threads:
        thread.join()
    assert sorted(found) == [[1.0, 1.0], [2.0, 2.0]]
    assert kept.stats().traces == 1


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


def test_results_that_tensors_cannot_be_found_in():
    class Box:
        def __init__(self, inside):
            self.inside = inside

    known = Box(1)
    with pytest.raises(at.TraceError, match="returns a Box made inside it"):
        at.compile(lambda x: Box(x))(at.ones(2))
    with pytest.raises(at.TraceError, match="returns a set made inside it"):
        at.compile(lambda x: {x})(at.ones(2))
    _y, box, dtype, shape, text = at.compile(lambda x: (x + 1, known, x.dtype, x.shape, "a"))(
        at.ones(2)
    )
    assert (box, dtype, shape, text) == (known, at.float32, (2,), "a")
    for endless in (lambda x: (yield x), _coroutine):
        with pytest.raises(TypeError, match="found a generator or a coroutine"):
            at.compile(endless)


async def _coroutine(x):
    return x


def test_numbers_as_arguments_are_told_apart():
    f = at.compile(lambda x, n: x * n)
    x = at.ones(())
    for n in (1, True, 1.0, 0.0, -0.0, float("nan"), float("nan")):
        assert repr(f(x, n)) == repr(x * n)
    assert f.stats().traces == 6


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
    a, b, _ = several(at.full((3,), 2.0))
    found = at.core.autograd.jvp_of([a, b], [w], [at.ones(3)])
    assert [t.tolist() for t in found] == [[2.0, 2.0, 2.0], 3.0]


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


def test_a_model_moved_to_numpy_is_compiled():
    with at.use("python"):
        model = at.nn.Linear(2, 2)
    f = at.compile(lambda x, n: (model.weight * n).sum())
    with pytest.warns(RuntimeWarning, match="Tensors of the python backend"):
        f(at.ones(2), 2)
    f(at.ones(2), 2)
    assert f.stats()[1:] == (1, 0, 2)
    model.to("numpy")
    assert_close(f(at.ones(2), 2), f.__wrapped__(at.ones(2), 2))
    assert f.stats()[1:] == (2, 1, 2)


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
    w = at.ones(2)

    @at.compile(verify=1)
    def pretends(x):
        w.copy_(x * (2 if x.backend.name == "traced" else 1))
        return x * 1

    with pytest.raises(
        at.TraceError,
        match=r"the value of a Tensor of shape \(2,\) of pretends, compiled, differs: "
        r"2.0 instead of 1.0 at element 0",
    ):
        pretends(at.ones(2))
    assert w.tolist() == [1.0, 1.0]


def test_verify_finds_what_changes_without_being_seen():
    ticks = iter(range(10))

    @at.compile(verify=1)
    def ticking(x):
        return x * next(ticks)

    with pytest.raises(at.TraceError, match=r"result 0 of ticking differs from call to call: 2.0"):
        ticking(at.ones(()))


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
