"""`jacobian`, `jacfwd`, `jacrev`, `hessian`: shapes, modes, chunks and memory."""

import math
import tracemalloc
from collections import namedtuple

import pytest

import atled as at
from atled.core import jacobian as module
from atled.core.tape import ancestors
from atled.testing import assert_close

f64 = at.float64


def tensor(data):
    return at.tensor(data, dtype=f64)


def grid(*shape):
    return at.reshape(at.arange(math.prod(shape), dtype=f64) * 0.1 + 0.2, shape)


MODES = [at.jacobian, at.jacrev, at.jacfwd]


@pytest.mark.parametrize("transform", MODES)
@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 3), (1, 2, 1)])
def test_the_shape_is_that_of_the_result_and_the_argument(transform, shape, backend):
    x = grid(*shape)
    j = transform(lambda x: at.stack([at.sin(x), x * x]))(x)
    assert j.shape == (2, *shape, *shape)
    n = x.size
    matrix = at.reshape(j, (2, n, n))
    assert_close(matrix[0], at.diag(at.reshape(at.cos(x), -1)))
    assert_close(matrix[1], at.diag(at.reshape(2 * x, -1)))


@pytest.mark.parametrize("transform", MODES)
@pytest.mark.parametrize(("m", "n"), [(0, 3), (3, 0), (0, 0), (1, 4), (4, 1)])
def test_sizes_of_zero_and_one(transform, m, n, backend):
    a = grid(m, n)
    j = transform(lambda x: a @ x)(grid(n))
    assert j.shape == (m, n)
    assert j.tolist() == a.tolist()


Pair = namedtuple("Pair", "a b")


@pytest.mark.parametrize("transform", MODES)
def test_nests_of_arguments_and_results(transform, backend):
    x = {"u": grid(2), "v": [grid(3), None]}

    def f(x, s):
        return Pair(x["u"] * s, {"outer": at.outer(x["u"], x["v"][0]), "same": tensor([1.0])})

    jx, js = transform(f, (0, -1))(x, tensor(2.0)).a
    assert jx["u"].tolist() == [[2.0, 0.0], [0.0, 2.0]]
    assert jx["v"][0].tolist() == [[0.0] * 3] * 2
    assert jx["v"][1] is None
    assert js.tolist() == x["u"].tolist()
    blocks = transform(f)(x, tensor(2.0)).b
    assert blocks["outer"]["u"].shape == (2, 3, 2)
    assert blocks["outer"]["v"][0].shape == (2, 3, 3)
    assert blocks["same"]["u"].tolist() == [[0.0, 0.0]]
    assert_close(blocks["outer"]["u"][:, :, 1][1], x["v"][0])


@pytest.mark.parametrize("transform", [*MODES, at.hessian])
def test_aux_comes_along(transform, backend):
    def f(x):
        return (x * x).sum(), {"x": x, "text": "as it is"}

    found, aux = transform(f, has_aux=True)(grid(2))
    assert found.shape == ((2, 2) if transform is at.hessian else (2,))
    assert aux["text"] == "as it is"
    assert not aux["x"].requires_grad


def test_the_mode_with_fewer_walks_is_taken(backend, monkeypatch):
    taken = []
    for name in ("_Forward", "_Reverse"):
        real = getattr(module, name)
        blocks = real.blocks
        monkeypatch.setattr(
            real, "blocks", lambda self, n=name, b=blocks: (taken.append(n), b(self))[1]
        )
    at.jacobian(lambda x: at.stack([x, x]))(grid(3))
    at.jacobian(lambda x: x[:2])(grid(3))
    at.jacobian(lambda x: x)(grid(3))
    assert taken == ["_Forward", "_Reverse", "_Reverse"]


@pytest.mark.parametrize("transform", MODES)
@pytest.mark.parametrize("chunk_size", [1, 2, 5, 100])
def test_chunks_give_equal_results(transform, chunk_size, backend):
    f = lambda x: at.sin(x @ x) * x[0]
    x = grid(3, 3)
    assert_close(transform(f, chunk_size=chunk_size)(x), transform(f)(x), 0.0, 1e-15)
    h = at.hessian(lambda x: f(x).sum(), chunk_size=chunk_size)(x)
    assert_close(h, at.hessian(lambda x: f(x).sum())(x), 0.0, 1e-14)


def test_the_function_runs_once(backend):
    calls = []

    def f(x):
        calls.append(1)
        return at.sin(x)

    for transform in MODES:
        transform(f, chunk_size=2)(grid(5))
    assert len(calls) == 3


def test_a_jacobian_is_differentiable_and_connected(backend):
    w = tensor(3.0).requires_grad_()
    j = at.jacobian(lambda x: w * x**2)(tensor([1.0, 2.0]))
    j.sum().backward()
    assert w.grad.item() == 6.0
    x = tensor([1.0, 2.0])
    third = at.jacfwd(at.jacrev(at.jacfwd(lambda x: (x**3).sum())))(x)
    assert third.tolist() == [[[6.0, 0], [0, 0]], [[0, 0], [0, 6.0]]]
    assert not third.requires_grad


def test_captured_tensors_in_all_modes(backend):
    for transform in MODES:
        w = grid(3).requires_grad_()
        j = transform(lambda x, w=w: w * at.sin(x))(grid(3) * 2)
        (j * grid(3, 3)).sum().backward()
        assert_close(w.grad, at.diag(grid(3, 3)) * at.cos(grid(3) * 2))


def test_under_no_grad_nothing_is_recorded(backend):
    w = tensor(2.0).requires_grad_()
    with at.no_grad():
        j = at.jacobian(lambda x: w * x * x)(tensor([1.0, 2.0]))
    assert j.tolist() == [[4.0, 0.0], [0.0, 8.0]]
    assert not j.requires_grad


@pytest.mark.parametrize("transform", MODES)
def test_inside_vmap(transform, backend):
    a, x = grid(4, 2, 3), grid(4, 3)
    found = at.vmap(transform(lambda x, a: at.tanh(a @ x)))(x, a)
    loop = at.stack([transform(lambda x, i=i: at.tanh(a[i] @ x))(x[i]) for i in range(4)])
    assert_close(found, loop)
    hessians = at.vmap(at.hessian(lambda x, a: at.tanh(a @ x).sum()))(x, a)
    assert hessians.shape == (4, 3, 3)


# -- memory


def _peak(run):
    run()  # what is made on a first call only
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def _chain(x):
    for _ in range(20):
        x = at.sin(x * 1.1) + x
    return x


WIDE = [
    (_chain, 128, 0.5),
    (lambda x: at.logsumexp(grid(32, 128) * x, axis=0), 128, 1.0),
    (lambda x: at.sum(at.sin(at.outer(x, x)), axis=0), 64, 1.0),
    (lambda x: at.softmax(at.softmax(x) * x), 256, 1.75),
]


@pytest.mark.parametrize(("function", "n", "mebibytes"), WIDE)
@pytest.mark.parametrize("transform", [at.jacrev, at.jacfwd])
def test_the_peak_stays_under_max_bytes(transform, function, n, mebibytes):
    pytest.importorskip("numpy", reason="its allocations are measured")
    at.use("numpy")
    x, limit = grid(n) / n, int(mebibytes * 2**20)
    assert _peak(lambda: transform(function)(x)) > limit  # or nothing would be measured
    assert _peak(lambda: transform(function, max_bytes=limit)(x)) < limit
    assert_close(transform(function, max_bytes=limit)(x), transform(function)(x), 1e-12, 1e-12)


def test_the_examples_of_a_vmap_count_too():
    pytest.importorskip("numpy", reason="its allocations are measured")
    at.use("numpy")
    x = grid(64, 128)

    def f(x):
        return at.sin(x * at.cos(x))

    limit = 20 * 2**20  # the Jacobians: 8 MiB
    assert _peak(lambda: at.vmap(at.jacrev(f))(x)) > limit
    assert _peak(lambda: at.vmap(at.jacrev(f, max_bytes=limit))(x)) < limit
    with pytest.raises(at.MemoryLimitError, match="make 8,388,608 bytes"):
        at.vmap(at.jacrev(f, max_bytes=2**22))(x)


def test_a_chunk_of_a_chunk_counts_its_rows(backend):
    """The rows of an inner Jacobian are live in the walks of an outer one."""
    x = grid(6)
    tape = []
    real = module.live_bytes

    def spy(nodes, forward):
        tape.append(real(nodes, forward))
        return tape[-1]

    module.live_bytes = spy
    try:
        at.jacfwd(at.jacrev(lambda x: x**3))(x)
    finally:
        module.live_bytes = real
    assert tape[1] >= 6 * 6 * 8


def test_a_jacobian_that_does_not_fit_is_refused_before_any_walk(backend):
    x = at.zeros(1000, dtype=f64)
    text = r"jacobian\(f\): 1000 results by 1000 variables make 8,000,000 bytes, more than the "

    def f(x):
        return x * 2

    for transform in MODES:
        with pytest.raises(at.MemoryLimitError, match=text + "1,000,000 of max_bytes.*at.vjp"):
            transform(f, max_bytes=1_000_000)(x)
    with pytest.raises(MemoryError, match="max_bytes"):
        at.hessian(lambda x: f(x).sum(), max_bytes=1_000_000)(x)


def test_without_max_bytes_a_quarter_of_the_free_memory_is_the_limit(backend, monkeypatch):
    base = at.current_backend()
    monkeypatch.setattr(base, "free_memory", lambda device: 1000)
    with pytest.raises(at.MemoryLimitError, match="more than the 250 of one 4th of the free"):
        at.jacobian(lambda x: x * 2)(grid(8))
    assert at.jacobian(lambda x: x * 2)(grid(3)).shape == (3, 3)
    monkeypatch.setattr(base, "free_memory", lambda device: None)
    assert at.jacobian(lambda x: x * 2)(grid(8)).shape == (8, 8)


def test_live_bytes_counts_what_a_walk_holds_at_once(backend):
    x = grid(4).requires_grad_()
    y = at.sin(at.cos(x)) + x  # four nodes of 32 bytes
    nodes = ancestors([y._node])
    assert len(nodes) == 4
    for forward in (False, True):
        assert 64 <= module.live_bytes(nodes, forward) <= 128


# -- errors

ERRORS = [
    (lambda x: at.jacobian(at.sin, mode="both"), ValueError, 'mode is "auto".*found \'both\''),
    (lambda x: at.jacobian(at.sin, chunk_size=0), ValueError, "chunk_size is at least 1; found 0"),
    (lambda x: at.jacrev(at.argmax)(x), at.DTypeError, r"jacobian\(argmax\): a result is int64"),
    (lambda x: at.jacobian(lambda x: (x, x > 0))(x), at.DTypeError, "a result is bool"),
    (lambda x: at.jacobian(lambda x: "text")(x), at.TransformError, "found a str"),
    (lambda x: at.jacobian(at.sin)(at.tensor([1])), at.DTypeError, "argument 0 holds int64"),
]  # fmt: skip


@pytest.mark.parametrize(("wrong", "error", "text"), ERRORS)
def test_errors_say_what_was_found(wrong, error, text, backend):
    with pytest.raises(error, match=text):
        wrong(grid(2))
