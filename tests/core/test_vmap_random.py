"""Random numbers inside vmap: the same for all examples, different, or an error."""

import pytest

import atled as at
from atled import nn
from atled.errors import TransformError

DRAWS = {
    "rand": lambda x: at.rand(3),
    "rand of a scalar": lambda x: at.rand(),
    "randn": lambda x: at.randn(2, 3),
    "randint": lambda x: at.randint(5, 50, (4,)),
    "randperm": lambda x: at.randperm(6),
    "bernoulli": lambda x: at.bernoulli(at.sigmoid(x)),
    "rand_like": lambda x: at.rand_like(x),
    "randn_like": lambda x: at.randn_like(x),
    "dropout": lambda x: nn.functional.dropout(x, 0.4),
    "dropout1d": lambda x: nn.functional.dropout1d(at.reshape(x, (1, 2, 2)), 0.4),
    "of a generator": lambda x: x * at.rand(2, 2, generator=OWN),
}  # fmt: skip
OWN = at.Generator(8)


def seeded(f, *args):
    at.manual_seed(3)
    OWN.manual_seed(8)
    return f(*args)


def data(n=5):
    return at.reshape(at.arange(0.0, n * 4), (n, 2, 2)) * 0.1 + 1.0


@pytest.mark.parametrize("name", DRAWS)
def test_different_is_a_loop_over_the_examples(backend, name):
    f, x = DRAWS[name], data()
    got = seeded(at.vmap(f, randomness="different"), x)
    after = at.get_rng_state(), OWN.get_state()
    expected = seeded(lambda: at.stack([f(x[i]) for i in range(5)]))
    assert got.tolist() == expected.tolist()
    assert after == (at.get_rng_state(), OWN.get_state())


@pytest.mark.parametrize("name", DRAWS)
def test_same_is_one_draw_for_all(backend, name):
    f, x = DRAWS[name], data()
    got = seeded(at.vmap(f, randomness="same"), x)
    expected = [seeded(f, x[i]).tolist() for i in range(5)]
    assert got.tolist() == expected


@pytest.mark.parametrize("name", DRAWS)
def test_by_default_it_is_an_error_and_nothing_is_drawn(name):
    at.manual_seed(3)
    before = at.get_rng_state(), OWN.get_state()
    with pytest.raises(TransformError, match=r'inside vmap\(.*pass randomness="different"'):
        at.vmap(DRAWS[name])(data())
    assert (at.get_rng_state(), OWN.get_state()) == before


def test_nested_maps_with_settings_of_their_own(backend):
    x = at.zeros((2, 3))

    def nested(outer, inner):
        f = lambda v: v + at.rand(4)
        return seeded(at.vmap(at.vmap(f, randomness=inner), randomness=outer), x).tolist()

    flat = seeded(lambda: at.rand(2, 3, 4)).tolist()
    rows = seeded(lambda: at.rand(2, 4)).tolist()
    columns = seeded(lambda: at.rand(3, 4)).tolist()
    one = seeded(lambda: at.rand(4)).tolist()
    assert nested("different", "different") == flat
    assert nested("different", "same") == [[row] * 3 for row in rows]
    assert nested("same", "different") == [columns] * 2
    assert nested("same", "same") == [[one] * 3] * 2


@pytest.mark.parametrize("settings", [("error", "different"), ("different", "error")])
def test_an_error_at_any_level_is_an_error(settings):
    outer, inner = settings
    f = at.vmap(at.vmap(lambda v: v + at.rand(), randomness=inner), randomness=outer)
    with pytest.raises(TransformError, match="randomness="):
        f(at.zeros((2, 3)))


def test_one_draw_for_a_chunk_after_the_other():
    x = at.zeros(5)
    f = lambda v: v + at.rand(2)
    chunked = seeded(at.vmap(f, randomness="different", chunk_size=2), x)
    assert chunked.tolist() == seeded(at.vmap(f, randomness="different"), x).tolist()


def test_gradients_through_dropout_of_each_example(backend):
    x = data()
    f = lambda x: nn.functional.dropout(x**2, 0.5).sum()
    got = seeded(at.vmap(at.grad(f), randomness="different"), x)
    expected = seeded(lambda: at.stack([at.grad(f)(x[i]) for i in range(5)]))
    assert got.tolist() == expected.tolist()
    total = seeded(at.grad(lambda x: at.vmap(f, randomness="different")(x).sum()), x)
    assert total.tolist() == expected.tolist()


def test_a_value_from_outside_gets_a_mask_for_each_example(backend):
    w = at.ones((2, 2), requires_grad=True)
    f = lambda x: nn.functional.dropout(w, 0.5) * x
    y = seeded(at.vmap(f, randomness="different"), data())
    (g,) = at.autograd.grad(y.sum(), w)
    masks = seeded(
        lambda: at.stack([nn.functional.dropout(at.ones((2, 2)), 0.5) for _ in range(5)])
    )
    at.testing.assert_close(g, at.sum(masks * data(), axis=0))


@pytest.mark.parametrize("randomness", ["same", "different"])
def test_inside_of_compile(randomness):
    pytest.importorskip("llvmlite")
    at.use("numpy")
    f = at.vmap(lambda x: nn.functional.dropout(x, 0.4) + at.rand(2), randomness=randomness)
    compiled, x = at.compile(lambda x: f(x)), data()
    for _ in range(2):
        got = seeded(compiled, x)
        assert got.tolist() == seeded(f, x).tolist()


def test_a_leaf_made_inside_collects_for_each_example():
    def f(x):
        noise = at.rand(2, requires_grad=True)
        ((noise * x) ** 2).sum().backward()
        return noise.grad / noise

    at.testing.assert_close(
        at.vmap(f, randomness="different")(at.tensor([1.0, 2.0])),
        at.tensor([[2.0, 2.0], [8.0, 8.0]]),
    )
