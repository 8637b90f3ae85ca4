"""Checkpoints: the same derivatives to the last bit, from less memory."""

import itertools

import pytest

import atled as at
from atled import nn
from atled.config import modes
from atled.core.autograd import jvp_of
from atled.errors import GradError


def tensors(*rows, grad=True):
    return [at.tensor(row, dtype=at.float64, requires_grad=grad) for row in rows]


def gradients(loss, inputs):
    return [g.tolist() for g in at.autograd.grad(loss, inputs)]


def close(a, b):
    at.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


W = [0.7, -1.0, 2.5]
X = [0.3, 1.0, 2.0]


def weighted(w):
    """Return a function that captures w and uses its argument several times."""

    def f(x):
        h = at.sin(x * w) + x
        return at.exp(h) * x * w + h

    return f


# -- reverse mode


def test_gradients_are_equal_to_the_last_bit(backend):
    x, w = tensors(X, W)
    f = weighted(w)

    def loss(f):
        z = x * w  # used before, inside and after, so that sums have an order to get wrong
        return (f(z) * z + at.sin(f(z * x)) * x).sum()

    assert gradients(loss(at.checkpoint(f)), [x, w]) == gradients(loss(f), [x, w])


def test_values_are_those_of_the_function_and_the_tape_is_one_node(backend):
    x, w = tensors(X, W)
    y = at.checkpoint(weighted(w))(x)
    assert y.tolist() == weighted(w)(x).tolist()
    assert y.grad_fn.next_functions[0][0].name == "CheckpointBackward"
    assert set(y.grad_fn.parents[0].parents) == {x._node, w._node}


def test_arguments_and_results_may_be_nested_and_no_tensors(backend):
    x, w = tensors(X, W)

    def f(pair, *, scale, mode):
        a, b = pair["a"], pair["b"]
        twice = a * b * scale
        return {"sum": (twice + a).sum(), "parts": [twice, None, mode], "same": a}

    given = {"a": x, "b": w}
    out = at.checkpoint(f)(given, scale=2.0, mode="text")
    assert out["parts"][1:] == [None, "text"]
    assert out["same"] is x
    expected = f(given, scale=2.0, mode="text")

    def loss(r):
        return r["sum"] * (r["parts"][0] * r["same"]).sum()

    assert gradients(loss(out), [x, w]) == gradients(loss(expected), [x, w])


def test_only_some_of_the_results_are_used(backend):
    x, w = tensors(X, W)
    f = lambda x: (at.sin(x), at.exp(x * w))
    assert gradients(at.checkpoint(f)(x)[1].sum(), [x, w]) == gradients(f(x)[1].sum(), [x, w])


def test_backward_collects_in_grad_and_frees(backend):
    x, w = tensors(X, W)
    y = at.checkpoint(weighted(w))(x).sum()
    y.backward()
    expected = gradients(weighted(w)(x).sum(), [x, w])
    assert [x.grad.tolist(), w.grad.tolist()] == expected
    with pytest.raises(GradError, match="freed"):
        y.backward()


def test_a_kept_graph_can_be_walked_again(backend):
    x, w = tensors(X, W)
    y = at.checkpoint(weighted(w))(x).sum()
    first = at.autograd.grad(y, [x, w], retain_graph=True)
    assert [g.tolist() for g in first] == gradients(y, [x, w])


def test_an_earlier_result_may_be_captured(backend):
    x, w = tensors(X, W)

    def loss(wrap):
        h = at.sin(w * x)
        return (wrap(lambda x: at.exp(h * x) * h)(x) * h).sum()

    assert gradients(loss(at.checkpoint), [x, w]) == gradients(loss(lambda f: f), [x, w])


def test_operations_of_the_users_own_may_be_inside(backend):
    class Cube(at.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x * x

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return 3 * x * x * g

    x, w = tensors(X, W)
    f = lambda x: Cube.apply(x * w) * x
    assert gradients(at.checkpoint(f)(x).sum(), [x, w]) == gradients(f(x).sum(), [x, w])
    (slope,) = at.autograd.grad(at.checkpoint(f)(x).sum(), x, create_graph=True)
    (plain,) = at.autograd.grad(f(x).sum(), x, create_graph=True)
    for a, b in zip(at.autograd.grad(slope.sum(), [x, w]),
                    at.autograd.grad(plain.sum(), [x, w]), strict=True):  # fmt: skip
        close(a, b)


def test_a_module_is_a_function_too(backend):
    layer = nn.Linear(3, 2)
    (x,) = tensors([X], grad=False)
    x = x.astype(layer.weight.dtype)
    expected = gradients(layer(x).sum(), [layer.weight])
    assert gradients(at.checkpoint(layer)(x).sum(), [layer.weight]) == expected
    given = at.checkpoint(lambda module, x: module(x))(layer, x)
    assert gradients(given.sum(), [layer.weight]) == expected


def test_the_tape_can_be_printed(capsys):
    x, w = tensors(X, W)
    at.inspect.print_tape(at.checkpoint(weighted(w))(x).sum())
    assert "Run the function again" in capsys.readouterr().out


def test_checkpoints_nest(backend):
    x, w = tensors(X, W)
    f = weighted(w)
    inner = at.checkpoint(f)
    outer = at.checkpoint(lambda x: inner(at.sin(x)) * inner(x * w))
    plain = f(at.sin(x)) * f(x * w)
    assert gradients(outer(x).sum(), [x, w]) == gradients(plain.sum(), [x, w])


def test_without_recording_it_is_the_function():
    x, w = tensors(X, W)
    with at.no_grad():
        assert at.checkpoint(weighted(w))(x).grad_fn is None
    (constant,) = tensors(X, grad=False)
    assert at.checkpoint(at.sin)(constant).grad_fn is None


def test_a_masked_singularity_has_a_finite_gradient(backend):
    (x,) = tensors([0.0, 4.0])
    f = lambda x: at.where(x > 0, at.sqrt(x), 0.0)
    assert gradients(at.checkpoint(f)(x).sum(), [x]) == [[0.0, 0.25]]


# -- other transforms


TRANSFORMS = {
    "grad": lambda f: at.grad(lambda x: f(x).sum()),
    "jacrev": at.jacrev,
    "jacrev in chunks": lambda f: at.jacrev(f, chunk_size=2),
    "jacfwd": at.jacfwd,
    "hessian": lambda f: at.hessian(lambda x: f(x).sum()),
    "reverse over reverse": lambda f: at.grad(lambda x: (TRANSFORMS["grad"](f)(x) ** 2).sum()),
    "vmap of grad": lambda f: at.vmap(at.grad(lambda s: (f(s * at.ones(3)) ** 2).sum())),
    "grad of vmap": lambda f: at.grad(lambda x: at.vmap(lambda s: f(s * x).sum())(x).sum()),
    "vmap of jacrev": lambda f: at.vmap(lambda s: at.jacrev(f)(s + at.ones(3))),
    "hvp": lambda f: lambda x: at.hvp(lambda x: f(x).sum(), x, at.cos(x)),
    "linearize": lambda f: lambda x: at.linearize(f, x)[1](at.cos(x)),
}  # fmt: skip


@pytest.mark.parametrize("name", TRANSFORMS)
def test_every_transform_sees_through_it(backend, name):
    at.set_default_dtype(at.float64)
    x, w = tensors(X, W, grad=False)
    f, transform = weighted(w), TRANSFORMS[name]
    close(transform(at.checkpoint(f))(x), transform(f)(x))


@pytest.mark.parametrize("name", TRANSFORMS)
def test_derivatives_by_what_it_captures_pass_every_transform(name):
    at.set_default_dtype(at.float64)
    x, w = tensors(X, W, grad=False)
    transform = TRANSFORMS[name]

    def outer(wrap):
        return at.grad(lambda w: (transform(wrap(weighted(at.sin(w))))(x) ** 2).sum())(w)

    close(outer(at.checkpoint), outer(lambda f: f))


def test_forward_mode_along_the_tape(backend):
    x, w = tensors(X, W)
    f = lambda x: (at.sin(x) * w, at.exp(x))
    tangents = tensors([1.0, 2.0, 3.0], grad=False)
    got = jvp_of(list(at.checkpoint(f)(x)), [x], tangents)
    expected = jvp_of(list(f(x)), [x], tangents)
    assert [t.tolist() for t in got] == [t.tolist() for t in expected]


def test_create_graph_gives_higher_orders(backend):
    x, w = tensors(X, W)

    def third(f):
        (g,) = at.autograd.grad(f(x).sum(), x, create_graph=True)
        (h,) = at.autograd.grad((g * g).sum(), x, create_graph=True)
        return at.autograd.grad((h * w).sum(), [x, w])

    for a, b in zip(third(at.checkpoint(weighted(w))), third(weighted(w)), strict=True):
        close(a, b)


def test_a_checkpoint_inside_of_a_transform_inside_of_a_checkpoint(backend):
    x, w = tensors(X, W)
    f = weighted(w)

    def slopes(f):
        return lambda x: at.grad(lambda x: (f(x) ** 2).sum())(x)

    outer = at.checkpoint(slopes(at.checkpoint(f)))
    for a, b in zip(gradients(outer(x).sum(), [x, w]),
                    gradients(slopes(f)(x).sum(), [x, w]), strict=True):  # fmt: skip
        close(at.tensor(a), at.tensor(b))


def test_inside_of_compile_it_is_part_of_the_program():
    pytest.importorskip("llvmlite")
    at.use("numpy")
    x, w = tensors(X, W, grad=False)

    def slope(w):
        return at.grad(lambda x: at.checkpoint(weighted(w))(x).sum())

    close(at.compile(lambda x, w: slope(w)(x))(x, w), slope(w)(x))


@pytest.mark.parametrize("layer", [nn.Dropout(0.5), nn.BatchNorm1d(2)], ids=["dropout", "norm"])
def test_a_compiled_function_inside_of_it_draws_and_counts_once(layer):
    pytest.importorskip("llvmlite")
    at.use("numpy")
    x = at.tensor([[1.0, 2.0], [3.0, 5.0], [0.0, 1.0]], requires_grad=True)
    compiled = at.compile(lambda x: at.sin(layer(x)))
    state = {k: v.clone() for k, v in layer.state_dict().items()}

    def run(wrap):
        at.manual_seed(3)
        layer.load_state_dict(state)
        found = gradients((wrap(lambda x: compiled(x) * x)(x) * x).sum(), [x])
        return found, at.get_rng_state(), {k: v.tolist() for k, v in layer.state_dict().items()}

    assert run(at.checkpoint) == run(lambda f: f) == run(at.checkpoint)


# -- what must not happen twice, and what must be the same


def test_dropout_draws_the_same_numbers_and_the_generator_goes_on(backend):
    x, w = tensors(X * 20, W * 20)

    def f(x):
        return nn.functional.dropout(at.sin(x * w), 0.5) * nn.functional.dropout(x, 0.3)

    def run(f):
        at.manual_seed(3)
        loss = f(x).sum()
        after = at.rand(2).tolist()
        found = gradients(loss, [x, w])
        return found, after, at.rand(2).tolist()

    assert run(at.checkpoint(f)) == run(f)


def test_every_generator_is_put_back(backend):
    x, w = tensors(X, W)
    own, other = at.Generator(5), at.Generator(6)

    def f(x):
        other.manual_seed(9)
        noise = at.rand(3, generator=own, dtype=at.float64)
        return at.sin(x * noise) * at.bernoulli(at.sigmoid(w), generator=other)

    def run(f):
        own.manual_seed(5)
        loss = f(x).sum()
        other.manual_seed(11)
        at.rand(1, generator=own)
        return gradients(loss, [x]), own.get_state(), other.get_state()

    assert run(at.checkpoint(f)) == run(f)
    inner = at.checkpoint(f)
    assert run(at.checkpoint(lambda x: inner(x))) == run(f)


def test_batch_norm_counts_a_batch_once(backend):
    (x,) = tensors([[1.0, 2.0], [3.0, 5.0], [0.0, 1.0]])

    def run(wrap):
        layer = nn.BatchNorm1d(2, dtype=at.float64)
        f = wrap(lambda x: at.sin(layer(x)))
        found = gradients((f(x) * x).sum(), [x, layer.weight])
        return found, {k: v.tolist() for k, v in layer.state_dict().items()}

    assert run(at.checkpoint) == run(lambda f: f)
    assert run(lambda f: at.checkpoint(at.checkpoint(f))) == run(lambda f: f)


def test_hooks_run_once(backend):
    x, w = tensors(X, W)
    seen = []

    def f(x):
        h = at.sin(x * w)
        h.register_hook(lambda g: seen.append("inside") or g * 2)
        return h * x

    x.register_hook(lambda g: seen.append("argument"))
    w.register_hook(lambda g: seen.append("captured"))
    got = gradients(at.checkpoint(f)(x).sum(), [x, w])
    assert sorted(seen) == ["argument", "captured", "inside"]
    assert got == gradients(f(x).sum(), [x, w])


def test_arguments_changed_in_place_are_seen_as_they_were(backend):
    x, w = tensors(X, W)
    expected = gradients(weighted(w)(at.sin(x)).sum(), [x, w])
    h = at.sin(x)
    loss = at.checkpoint(weighted(w))(h).sum()
    h += 100.0
    assert gradients(loss, [x, w]) == expected


def test_captured_parameters_that_have_moved_on_are_seen_as_they_were(backend):
    x, w = tensors(X, W)
    expected = gradients(weighted(w)(x).sum(), [x, w])
    loss = at.checkpoint(weighted(w))(x).sum()
    w.data -= 1.0
    now = w.tolist()
    assert gradients(loss, [x, w]) == expected
    assert w.tolist() == now


def test_randomness_under_vmap_is_the_same_the_second_time(backend):
    (x,) = tensors([X, W], grad=False)

    def f(row):
        return at.sin(row * at.rand(3, dtype=at.float64))

    def run(f):
        at.manual_seed(4)
        return at.grad(lambda x: at.vmap(f, randomness="different")(x).sum())(x).tolist()

    assert run(at.checkpoint(f)) == run(f)


# -- what goes another way the second time


def test_other_shapes_are_refused():
    (x,) = tensors(X)
    clock = itertools.count(2)
    loss = at.checkpoint(lambda x: at.stack([x] * next(clock)))(x).sum()
    message = r"checkpoint\(<lambda>\).*went another way.*float64\[3, 3\], it was float64\[2, 3\]"
    with pytest.raises(GradError, match=message):
        loss.backward()
    assert x.grad is None
    assert modes.recomputing is False


def test_another_nest_is_refused():
    (x,) = tensors(X)
    clock = itertools.count(2)
    loss = at.checkpoint(lambda x: [at.sin(x)] * next(clock))(x)[0].sum()
    with pytest.raises(GradError, match="nested in another way"):
        loss.backward()


def test_a_result_without_a_gradient_is_refused():
    (x,) = tensors(X)
    clock = itertools.count()
    loss = at.checkpoint(lambda x: at.sin(x.detach() if next(clock) else x))(x).sum()
    with pytest.raises(GradError, match="result 0 does not depend on its arguments any more"):
        loss.backward()


def test_a_captured_result_changed_in_place_is_refused():
    x, w = tensors(X, W)
    h = at.sin(w)
    loss = at.checkpoint(lambda x: at.exp(x * h))(x).sum()
    h += 1.0
    with pytest.raises(GradError, match="changed in place since"):
        loss.backward()


def test_an_error_in_the_second_run_leaves_all_as_it_was():
    x, w = tensors(X, W)
    clock = itertools.count()

    def f(x):
        y = at.sin(x * w * at.rand(3, dtype=at.float64))
        if next(clock):
            raise ZeroDivisionError
        return y

    loss = at.checkpoint(f)(x).sum()
    state, w._value = at.get_rng_state(), w._value
    with pytest.raises(ZeroDivisionError):
        loss.backward()
    assert at.get_rng_state() == state
    assert (modes.recomputing, modes.batches, modes.draws) == (False, (), None)


# -- in a row


def test_sequential_is_the_chain(backend):
    at.manual_seed(0)
    model = nn.Sequential(*[m for _ in range(5) for m in (nn.Linear(4, 4), nn.Tanh())])
    x = at.rand(3, 4)
    parameters = list(model.parameters())
    expected = gradients(model(x).sum(), parameters)
    for segments in (1, 2, 3, 10):
        y = at.checkpoint_sequential(model, segments, x)
        assert gradients(y.sum(), parameters) == expected


@pytest.mark.parametrize("segments", [0, 3])
def test_sequential_refuses_a_wrong_number_of_segments(segments):
    with pytest.raises(ValueError, match=r"2 function\(s\) cannot be divided into"):
        at.checkpoint_sequential([at.sin, at.cos], segments, at.tensor(1.0))
