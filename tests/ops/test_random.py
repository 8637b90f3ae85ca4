"""The generator against published answers; the same numbers everywhere; distributions."""

import math

import pytest

import atled as at
from atled.ops.random import Generator, threefry

# Random123 1.14, tests/kat_vectors: threefry2x32 20 rounds: counter, key, answer.
KNOWN = [
    ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
    ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
    ((0x243F6A88, 0x85A308D3), (0x13198A2E, 0x03707344), (0xC4923A9C, 0x483DF7A0)),
]
N = 4000


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN)
def test_threefry_gives_the_published_answers(counter, key, answer, backend):
    xp = at.current_backend()
    words = [xp.asarray([word], dtype=at.int64) for word in counter]
    assert tuple(xp.tolist(w)[0] for w in threefry(xp, *words, key=key)) == answer


def test_every_backend_draws_the_same_numbers(backend):
    draws = {
        "uniform": at.rand(5, generator=Generator(3), dtype=at.float64),
        "integers": at.randint(10, (5,), generator=Generator(3)),
        "order": at.randperm(6, generator=Generator(3)),
    }
    normal = at.randn(5, generator=Generator(3), dtype=at.float64)
    with at.use("python"):
        assert draws["uniform"].tolist() == at.rand(5, generator=Generator(3)).tolist()
        assert draws["integers"].tolist() == at.randint(10, (5,), generator=Generator(3)).tolist()
        assert draws["order"].tolist() == at.randperm(6, generator=Generator(3)).tolist()
        expected = at.randn(5, generator=Generator(3)).tolist()
    assert normal.tolist() == pytest.approx(expected, rel=1e-12)


def test_numbers_of_the_first_release():
    """A seed gives these numbers for ever: checkpoints and papers rest on it."""
    with at.use("python"):
        assert at.rand(2, generator=Generator(0)).tolist() == [
            (0x6B200159 >> 5) * 2.0**-27 + (0x99BA4EFE >> 6) * 2.0**-53,
            at.rand(2, generator=Generator(0))[1].item(),
        ]


def test_float32_is_float64_cut_short():
    if at.float32 not in at.current_backend().dtypes:
        pytest.skip("needs a backend with float32")
    fine = at.rand(100, generator=Generator(1), dtype=at.float64).tolist()
    short = at.rand(100, generator=Generator(1), dtype=at.float32).tolist()
    assert short == [math.floor(u * 2**24) / 2**24 for u in fine]


def test_a_state_continues_the_stream(backend):
    g = Generator(5)
    at.rand(3, generator=g)
    state = g.get_state()
    first = at.randn(4, generator=g).tolist(), at.rand(2, generator=g).tolist()
    assert state == {"seed": 5, "counter": 3}
    other = Generator()
    other.set_state(state)
    assert (at.randn(4, generator=other).tolist(), at.rand(2, generator=other).tolist()) == first
    parts = Generator(5)
    joined = at.rand(3, generator=parts).tolist() + at.rand(4, generator=parts).tolist()
    assert joined == at.rand(7, generator=Generator(5)).tolist()


def test_the_default_generator():
    before = at.get_rng_state()
    assert at.manual_seed(7).initial_seed == 7
    first = at.rand(3).tolist()
    at.set_rng_state({"seed": 7, "counter": 0})
    assert at.rand(3).tolist() == first
    at.set_rng_state(before)


@pytest.mark.parametrize("state", [{}, {"seed": 1}, {"seed": "x", "counter": 0}, None])
def test_a_wrong_state_is_refused(state):
    g = Generator(1)
    with pytest.raises(ValueError, match="holds seed and counter"):
        g.set_state(state)
    assert g.get_state() == {"seed": 1, "counter": 0}


def test_seeds_of_any_size():
    assert Generator(-1).initial_seed == 2**64 - 1
    draws = {tuple(at.rand(2, generator=Generator(s)).tolist()) for s in (0, 1, 2**32, 2**63)}
    assert len(draws) == 4


def test_the_counter_passes_32_bits():
    g = Generator(1)
    g.set_state({"seed": 1, "counter": 2**32 - 2})
    across = at.rand(4, generator=g, dtype=at.float64).tolist()
    g.set_state({"seed": 1, "counter": 2**32})
    assert across[2:] == at.rand(2, generator=g, dtype=at.float64).tolist()
    assert across[2] != at.rand(1, generator=Generator(1), dtype=at.float64)[0].item()


def moments(x):
    return at.mean(x).item(), at.var(x).item()


def test_uniform_numbers(backend):
    x = at.rand(N, generator=Generator(11))
    mean, var = moments(x)
    assert abs(mean - 0.5) < 4 * math.sqrt(1 / 12 / N)
    assert abs(var - 1 / 12) < 0.01
    assert 0 <= at.min(x).item() < 0.01 < 0.99 < at.max(x).item() < 1


def test_normal_numbers(backend):
    x = at.randn(N, generator=Generator(12))
    mean, var = moments(x)
    assert abs(mean) < 4 / math.sqrt(N)
    assert abs(var - 1) < 0.1
    assert abs(at.mean(x**4).item() - 3) < 0.5
    within = at.mean((abs(x) < 1).astype(x.dtype)).item()
    assert abs(within - 0.6827) < 0.03


def test_integers_permutations_and_coins(backend):
    x = at.randint(-2, 4, (N,), generator=Generator(13))
    counts = at.bincount(x + 2).tolist()
    assert len(counts) == 6
    assert all(abs(c - N / 6) < 4 * math.sqrt(N / 6) for c in counts)
    assert at.sort(at.randperm(50, generator=Generator(1))).tolist() == list(range(50))
    p = at.full((N,), 0.3)
    heads = at.sum(at.bernoulli(p, generator=Generator(14))).item()
    assert abs(heads - 0.3 * N) < 4 * math.sqrt(0.21 * N)


def test_shapes_dtypes_and_gradients(backend):
    assert at.rand().shape == ()
    assert at.rand(2, 3).shape == at.randn((2, 3)).shape == (2, 3)
    assert at.rand(0, 3).shape == (0, 3)
    assert at.rand(2, requires_grad=True).requires_grad
    like = at.zeros(2, 2, dtype=at.float64)
    assert at.rand_like(like).dtype is at.randn_like(like).dtype is at.float64


def test_refusals():
    with pytest.raises(at.DTypeError, match="are floats; found int64"):
        at.rand(2, dtype=at.int64)
    with pytest.raises(ValueError, match=r"high - low must lie in \[1, 2\*\*32\]"):
        at.randint(3, 3, (2,))


@pytest.mark.parametrize("name", ["numpy", "torch", "python"])
def test_every_backend_has_the_portable_bits(name):
    pytest.importorskip("numpy" if name == "python" else name)
    from atled.backends.protocol import load
    from atled.ops.random import threefry

    count = 100_000 if name == "numpy" else 1000
    xp, key = load(name), (0xDEADBEEF, 0x01234567)
    low = xp.arange(count, dtype=at.int64) * 42949 & 0xFFFFFFFF
    high = xp.arange(count, dtype=at.int64) * 77773 + 2**31 & 0xFFFFFFFF
    mine, portable = xp.random_bits(low, high, key=key), threefry(xp, low, high, key=key)
    for a, b in zip(mine, portable, strict=True):
        assert xp.dtype_of(a) is at.int64
        assert xp.tolist(a) == xp.tolist(b)


@pytest.mark.parametrize("counter", [2**32 - 3, 2**40 + 5, 2**64 - 2, 7])
def test_a_draw_over_the_edge_of_a_word_is_the_draws_one_by_one(counter, backend):
    def at_counter(n):
        g = at.Generator(5)
        g.set_state({"seed": 5, "counter": n})
        return g

    together = at.rand(6, generator=at_counter(counter), dtype=at.float64).tolist()
    single = [
        at.rand(1, generator=at_counter(counter + i), dtype=at.float64).item() for i in range(6)
    ]
    assert together == single
    assert at.rand(0, generator=at_counter(counter)).shape == (0,)
