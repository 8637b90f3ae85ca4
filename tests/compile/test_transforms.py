"""Transforms inside compiled functions, and compiled functions inside transforms, equal eager."""

import functools
import random
from typing import Any

import pytest

import atled as at
from atled.nn import functional as F
from atled.testing import assert_close

np = pytest.importorskip("numpy", reason="programs run on NumPy's arrays")
pytest.importorskip("llvmlite", reason="programs are compiled by llvmlite")
pytestmark = pytest.mark.usefixtures("executor")

N = 4
DIRECTION = [0.5, -1.0, 2.0, 0.25]


def values(*shape, seed=0, dtype=None):
    numbers = np.random.default_rng(seed).uniform(-1, 1, shape)
    return at.asarray(numbers, dtype=dtype or at.float64)


def direction(x):
    return at.tensor(DIRECTION, dtype=x.dtype)


def tables():
    """Return functions of a vector, to a number and to a vector, that read a parameter."""
    w, a = values(N, seed=1), values(N, N, seed=2)

    def scalar(x):
        return (at.exp(at.sin(x * w.astype(x.dtype))) * at.tanh(x)).sum() + (x**2).prod()

    def vector(x):
        return at.softmax(a.astype(x.dtype) @ x) * at.sin(x)

    return scalar, vector


# -- every transform, outside and inside


TRANSFORMS = {
    "grad": ("scalar", lambda f, x: at.grad(f)(x)),
    "value_and_grad": ("scalar", lambda f, x: at.value_and_grad(f)(x)),
    "hessian": ("scalar", lambda f, x: at.hessian(f)(x)),
    "hvp": ("scalar", lambda f, x: at.hvp(f, x, direction(x))),
    "jacobian": ("vector", lambda f, x: at.jacobian(f)(x)),
    "jacfwd": ("vector", lambda f, x: at.jacfwd(f)(x)),
    "jacrev": ("vector", lambda f, x: at.jacrev(f)(x)),
    "chunks": ("vector", lambda f, x: at.jacobian(f, chunk_size=3)(x)),
    "jvp": ("vector", lambda f, x: at.jvp(f, (x,), (direction(x),))),
    "vjp": ("vector", lambda f, x: at.vjp(f, x)[1](direction(x))),
    "linearize": ("vector", lambda f, x: at.linearize(f, x)[1](direction(x))),
    "vmap": ("vector", lambda f, x: at.vmap(f)(at.stack([x, 2 * x]))),
    "vmap along 1": ("vector", lambda f, x: at.vmap(f, 1, 1)(at.stack([x, 2 * x], axis=1))),
    "vmap in chunks": ("vector", lambda f, x: at.vmap(f, chunk_size=2)(at.stack([x, 2 * x, -x]))),
    "stop_gradient": ("scalar", lambda f, x: at.grad(lambda x: f(x) * at.stop_gradient(f(x)))(x)),
}


@pytest.mark.parametrize("dtype", [at.float32, at.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_transform_in_a_compiled_function_and_around_one(name, dtype):
    kind, transform = TRANSFORMS[name]
    f = tables()[kind == "vector"]
    x = values(N, seed=3, dtype=dtype)
    tolerance = 1e-11 if dtype is at.float64 else 2e-5
    expected = transform(f, x)
    inside, around = at.compile(functools.partial(transform, f), strict=True), at.compile(f)
    for _ in range(2):
        assert_close(inside(x), expected, tolerance, tolerance)
        assert_close(transform(around, x), expected, tolerance, tolerance)
    assert inside.stats().traces == 1
    assert around.stats().eager == 0


# -- nests of three, with a compiled function anywhere


def _mixed(g: Any) -> Any:
    return lambda x: (g(x) * direction(x)).sum()


STEPS: dict[str, list[tuple[str, str, Any]]] = {
    "scalar": [
        ("grad", "vector", at.grad),
        ("hvp", "vector", lambda f: lambda x: at.hvp(f, x, direction(x))),
        ("hessian", "vector", lambda f: lambda x: at.hessian(f)(x) @ direction(x)),
        ("jvp", "scalar", lambda f: lambda x: at.jvp(f, (x,), (direction(x),))[1]),
        ("vmap", "scalar", lambda f: lambda x: at.vmap(f)(at.stack([x, x * x])).sum()),
    ],
    "vector": [
        ("sum", "scalar", _mixed),
        ("jacrev", "vector", lambda f: lambda x: at.jacrev(f)(x) @ direction(x)),
        ("jacfwd", "vector", lambda f: lambda x: at.jacfwd(f)(x) @ direction(x)),
        ("vjp", "vector", lambda f: lambda x: at.vjp(f, x)[1](direction(x))[0]),
        ("linearize", "vector", lambda f: lambda x: at.linearize(f, x)[1](direction(x))),
        ("vmap", "vector", lambda f: lambda x: at.vmap(f)(at.stack([x, x * x])).sum(0)),
        ("vmap of a part", "vector",
         lambda f: lambda x: at.vmap(lambda c: f(x) * c)(direction(x)).sum(0)),
    ],
}  # fmt: skip


def nest(seed: int) -> tuple[list[str], Any]:
    """Return the names of three transforms, and what makes the nest, compiled at some depths."""
    chosen = random.Random(seed)
    kind = first = chosen.choice(["scalar", "vector"])
    names, steps = [first], []
    while len(steps) < 3:
        name, to, step = chosen.choice(STEPS[kind])
        names.append(name)
        steps.append(step)
        kind = to

    def build(compiled: set[int]) -> Any:
        f = tables()[first == "vector"]
        for depth, step in enumerate([lambda f: f, *steps]):
            f = step(f)
            f = at.compile(f) if depth in compiled else f
        return f

    return names, build


@pytest.mark.parametrize("seed", range(40))
def test_a_nest_of_transforms_with_compiled_functions_in_it(seed):
    _, build = nest(seed)
    x = values(N, seed=seed)
    expected = build(set())(x)
    for compiled in ({3}, {0}, {1}, {2}, {0, 1, 2, 3}):
        f = build(compiled)
        for _ in range(2):
            assert_close(f(x).tolist(), expected.tolist(), 1e-9, 1e-9)


# -- state that the wrapped function reads


def test_a_captured_tensor_is_an_input():
    w = at.tensor([1.0, 2.0])

    def loss(x):
        return (w * x**2).sum()

    x = at.tensor([3.0, 4.0])
    made = [
        at.compile(at.grad(loss)),
        at.compile(at.vmap(at.grad(lambda x: loss(at.stack([x, x]))))),
        at.compile(at.grad(functools.partial(lambda scale, x: scale * loss(x), 1.0))),
        at.compile(lambda x: at.hessian(loss)(x) @ x),
    ]
    eager = [f.__wrapped__ for f in made]
    for _ in range(2):
        for f, g in zip(made, eager, strict=True):
            assert f(x).tolist() == g(x).tolist()
        w.copy_(at.tensor([5.0, -1.0]))
    assert [f.stats().traces for f in made] == [1, 1, 1, 1]


def test_a_module_inside_of_transforms():
    at.manual_seed(0)
    model = at.nn.Sequential(at.nn.Linear(N, 3), at.nn.Tanh(), at.nn.Linear(3, 2)).double()
    x = values(5, N)
    f = at.compile(at.vmap(at.jacobian(model)))
    g = at.compile(at.vmap(model))
    for _ in range(2):
        assert_close(f(x).tolist(), at.vmap(at.jacobian(model))(x).tolist(), 1e-12, 1e-12)
        assert_close(g(x).tolist(), model(x).tolist(), 1e-12, 1e-12)
        model[0].weight.data.copy_(values(3, N, seed=5))
    assert (f.stats().traces, g.stats().traces) == (1, 1)


def test_a_compiled_module_inside_of_transforms():
    at.manual_seed(0)
    model = at.nn.Linear(N, 2).double()
    x = values(5, N)
    compiled = at.compile(model)

    def loss(apply, x):
        return at.vmap(apply)(x).square().sum()

    loss(compiled, x).backward()
    found = [p.grad.tolist() for p in model.parameters()]
    model.zero_grad()
    loss(model, x).backward()
    for a, p in zip(found, model.parameters(), strict=True):
        assert_close(a, p.grad.tolist(), 1e-12, 1e-12)
    assert compiled.stats().eager == 0


def test_per_sample_gradients():
    parameters = {"w": values(3, N, seed=1), "b": values(3, seed=2)}
    x, y = values(6, N, seed=3), values(6, 3, seed=4)

    def loss(p, x, y):
        return (at.tanh(p["w"] @ x + p["b"]) - y).square().sum()

    expected = at.vmap(at.grad(loss), (None, 0, 0))(parameters, x, y)
    whole = at.compile(at.vmap(at.grad(loss), (None, 0, 0)))
    inner = at.compile(loss)
    for _ in range(2):
        assert_close(whole(parameters, x, y), expected, 1e-12, 1e-12)
        assert_close(
            at.vmap(at.grad(inner), (None, 0, 0))(parameters, x, y), expected, 1e-12, 1e-12
        )
    assert inner.stats()[1:] == (1, 1, 0)


def test_an_optimizer_step_with_gradients_of_a_function():
    def trained(compiled):
        at.manual_seed(3)
        p = [at.nn.Parameter(values(N, seed=1)), at.nn.Parameter(values(N, seed=2))]
        optimizer = at.optim.Adam(p, lr=0.1)

        def loss(a, b, x):
            return ((a * x).sum() - b.sum()) ** 2 + (a * F.dropout(x, 0.5)).square().sum()

        @compiled
        def step(x):
            gradients = at.grad(loss, (0, 1))(*p, x)
            optimizer.step(list(zip(gradients, p, strict=True)))
            return gradients

        found = [step(values(N, seed=k)) for k in range(5)]
        return [[g.tolist() for g in pair] for pair in found] + [q.tolist() for q in p]

    assert_close(trained(at.compile), trained(lambda f: f), 1e-10, 1e-10)


# -- compiled functions inside vmap


def test_which_arguments_are_mapped_and_how_often_it_is_traced(executor):
    f = at.compile(lambda a, b, *, c=1.0: {"sum": a @ b * c, "none": None, "text": "t"})
    a, b = values(5, N), values(5, N, seed=1)

    def tensor_of(*args, **kwargs):
        found = f(*args, **kwargs)
        assert (found["none"], found["text"]) == (None, "t")
        return found["sum"]

    for _ in range(3):
        assert_close(at.vmap(tensor_of)(a, b).tolist(), (a * b).sum(1).tolist(), 1e-12, 1e-12)
        assert_close(
            at.vmap(tensor_of, (0, None))(a, b[0]).tolist(), (a @ b[0]).tolist(), 1e-12, 1e-12
        )
    assert f.stats()[1:] == (2, 2, 0)
    doubled = at.vmap(lambda a: tensor_of(a, b[0], c=2.0))(a)
    assert_close(doubled.tolist(), (2 * a @ b[0]).tolist(), 1e-12, 1e-12)
    if executor == "native":
        assert "float64[5" in f.explain()


def test_nested_vmaps_of_a_compiled_function():
    f = at.compile(lambda a, b: at.sin(a) @ b)
    a, b = values(3, N), values(5, N, seed=1)

    def table(f):
        return at.vmap(lambda a: at.vmap(lambda b: f(a, b))(b))(a)

    assert_close(table(f).tolist(), table(f.__wrapped__).tolist(), 1e-12, 1e-12)
    gradient = at.grad(lambda a: at.vmap(lambda r: at.vmap(lambda s: f(r, s))(b))(a).sum())(a)
    assert_close(gradient.tolist(), (at.cos(a) * b.sum(0)).tolist(), 1e-12, 1e-12)
    assert f.stats().eager == 0


def test_arguments_inside_of_a_batch_that_are_the_same_for_all():
    w = values(N)
    f = at.compile(lambda x: (w * x**3).sum())
    c = values(3, seed=1)
    found = at.vmap(lambda c: c * at.grad(f)(w))(c)
    assert_close(found.tolist(), (c[:, None] * 3 * w**3).tolist(), 1e-12, 1e-12)
    assert_close(at.vmap(lambda c: f(w) * c)(c).tolist(), ((w**4).sum() * c).tolist(), 1e-12, 1e-12)


def test_a_captured_batched_tensor_runs_eagerly():
    x, c = values(3, N), values(3, N, seed=1)

    def product(x, c):
        return at.compile(lambda x: (x * c).sum())(x)

    with pytest.warns(RuntimeWarning, match="differs between the examples of vmap"):
        found = at.vmap(product)(x, c)
    assert_close(found.tolist(), (x * c).sum(1).tolist(), 1e-12, 1e-12)
    strict = at.vmap(lambda x, c: at.compile(lambda x: x * c, strict=True)(x))
    with pytest.raises(at.TraceError, match="would run eagerly: it reads a Tensor from outside"):
        strict(x, c)


def test_random_numbers_inside_of_a_vmap():
    f = at.compile(lambda x: x * at.rand(N))
    x = at.ones(2, N)
    f(x[0])
    with pytest.raises(at.TransformError, match="random"):
        at.vmap(f)(x)
    for randomness in ("same", "different"):
        at.manual_seed(1)
        expected = at.vmap(f.__wrapped__, randomness=randomness)(x)
        at.manual_seed(1)
        assert at.array_equal(at.vmap(f, randomness=randomness)(x), expected)


def test_random_numbers_where_no_argument_is_mapped():
    def draw(s: at.Tensor) -> at.Tensor:
        return at.rand(N) * s

    one = at.ones(())
    for randomness in ("same", "different"):
        noise = at.compile(draw)
        noise(one)
        mapped = at.vmap(lambda c, noise=noise: c + noise(one), randomness=randomness)
        at.manual_seed(1)
        with pytest.warns(RuntimeWarning, match="draws random numbers inside a vmap"):
            found = mapped(at.zeros(2, N))
        at.manual_seed(1)
        plain = at.vmap(lambda c: c + draw(one), randomness=randomness)
        assert at.array_equal(found, plain(at.zeros(2, N)))


def test_state_that_would_differ_between_examples():
    total = at.zeros(N, dtype=at.float64)

    @at.compile
    def add(x):
        total.copy_(total + x)
        return x * 2

    with pytest.raises(at.TransformError, match="was changed in place to a value that differs"):
        at.vmap(add)(values(3, N))
    assert total.tolist() == [0.0] * N
    add(values(N))
    assert total.tolist() == values(N).tolist()


# -- derivatives of a compiled function


def test_forward_mode_of_several_results_and_state():
    w, count = values(N), at.zeros((), dtype=at.float64)

    @at.compile
    def f(x, y):
        count.add_(1.0)
        return [x * w, (x * y).sum() * count, y * 2.0, at.ones(2)]

    x, y = values(N, seed=1), values(N, seed=2)
    for k in (1.0, 2.0):
        out, tangents = at.jvp(lambda x: f(x, y), (x,), (w,))
        assert_close(out[1].item(), k * (x @ y).item(), 1e-12, 1e-12)
        expected = [(w * w).tolist(), k * (w @ y).item(), [0.0] * N, [0.0, 0.0]]
        assert_close([t.tolist() for t in tangents], expected, 1e-12, 1e-12)


def test_forward_mode_reads_the_state_of_its_own_call():
    scale = at.ones((), dtype=at.float64)

    @at.compile
    def f(x):
        y = at.sin(x * scale)
        scale.copy_(scale * 2)
        return y

    x = values(N)
    _, first = at.linearize(f, x)
    _, second = at.linearize(f, x)
    assert_close(second(x).tolist(), (2 * x * at.cos(2 * x)).tolist(), 1e-12, 1e-12)
    assert_close(first(x).tolist(), (x * at.cos(x)).tolist(), 1e-12, 1e-12)


def test_forward_mode_with_dropout():
    at.manual_seed(0)
    f = at.compile(lambda x: F.dropout(at.sin(x), 0.5))
    x = values(200)
    for _ in range(2):
        y, pushforward = at.linearize(f, x)
        kept = (y != 0).astype(at.float64)
        assert 40 < kept.sum().item() < 160
        assert_close(pushforward(x).tolist(), (2 * kept * x * at.cos(x)).tolist(), 1e-12, 1e-12)


def test_perturbations_do_not_mix():
    inner = at.compile(lambda x, y: x + y)
    one = at.tensor(1.0)
    found = at.grad(lambda x: x * at.grad(lambda y: inner(x, y) * y)(one))(at.tensor(2.0))
    assert found.item() == 6.0  # d/dx x (x + 2)
    outer = at.compile(at.grad(lambda x: x * at.grad(lambda y: inner(x, y) * y)(one)))
    assert outer(at.tensor(2.0)).item() == 6.0


def test_a_result_that_leaks_out_of_a_compiled_vmap():
    kept = []

    def leaking(x):
        kept.append(x)
        return x * 2

    with pytest.raises(at.TraceError, match="changes Python's own state"):
        at.compile(at.vmap(leaking))(values(3, N))
    assert kept == []


def test_a_tensor_that_leaked_out_of_a_vmap():
    kept = []
    at.vmap(lambda x: kept.append(x) or x)(values(3, N))
    with pytest.raises(at.TransformError, match="leaked out of vmap"):
        at.compile(lambda x: x * 2)(kept[0])


def test_shifted_cotangents_need_no_copies(executor):
    def step(u):
        return (at.roll(u, -1) - at.roll(u, 2)) * at.roll(u, 1)

    f, x = at.compile(at.jacobian(lambda u: step(step(u)))), values(7)
    assert_close(f(x).tolist(), at.jacobian(lambda u: step(step(u)))(x).tolist(), 1e-12, 1e-12)
    if executor == "native":
        assert "slice ->" not in f.explain()
