"""Ties, kinks and edges: what PyTorch does (section 4 of the reference), and empty, 0-d, NaN."""

import math

import pytest

import atled as at

f64 = at.float64
nan, inf = math.nan, math.inf


def leaf(data):
    return at.tensor(data, dtype=f64, requires_grad=True)


def slope(f, *data):
    """Return the gradients of Σ f at the data."""
    xs = [leaf(d) for d in data]
    with at.current_backend().quiet():
        at.sum(f(*xs)).backward()
    return [x.grad.tolist() for x in xs] if len(xs) > 1 else xs[0].grad.tolist()


# -- kinks


@pytest.mark.parametrize(
    ("f", "x", "expected"),
    [
        (at.abs, [0.0, -1.0], [0.0, -1.0]),
        (at.relu, [0.0, 1.0], [0.0, 1.0]),
        (lambda x: at.clamp(x, -1.0, 1.0), [-1.0, 1.0, 1.5, 0.0], [1.0, 1.0, 0.0, 1.0]),
        (at.sqrt, [0.0], [inf]),
        (at.norm, [0.0, 0.0], [0.0, 0.0]),
        (at.std, [2.0, 2.0], [0.0, 0.0]),
        (at.sign, [1.0], None),
        (lambda x: x**2, [0.0], [0.0]),
        (lambda x: x**0, [0.0], [0.0]),
        (at.sinc, [0.0], [0.0]),
        (at.angle, [1.0], None),
        (lambda x: at.xlogy(x, x), [0.0], [0.0]),
        (at.frac, [1.0, -2.5], [1.0, 1.0]),
        (at.nan_to_num, [nan, inf, 1.0], [0.0, 0.0, 1.0]),
    ],
)
def test_kinks(f, x, expected, backend):
    if expected is None:
        assert not f(leaf(x)).requires_grad
    else:
        assert slope(f, x) == expected


@pytest.mark.parametrize(
    ("f", "a", "b", "expected"),
    [
        (at.maximum, [1.0, 2.0], [1.0, 0.0], [[0.5, 1.0], [0.5, 0.0]]),
        (at.minimum, [1.0, 2.0], [1.0, 0.0], [[0.5, 0.0], [0.5, 1.0]]),
        (at.fmax, [1.0, nan], [1.0, 3.0], [[0.5, 0.0], [0.5, 1.0]]),
        (at.fmin, [nan, 2.0], [1.0, nan], [[0.0, 1.0], [1.0, 0.0]]),
        (at.pow, [0.0], [0.0], [[0.0], [0.0]]),
        (at.atan2, [0.0], [0.0], [[0.0], [0.0]]),
        (at.fmod, [-4.0, 5.0], [2.0, 3.0], [[1.0, 1.0], [2.0, -1.0]]),
        (at.copysign, [2.0], [-1.0], [[-1.0], [0.0]]),
        (at.heaviside, [-1.0, 0.0], [0.5, 0.5], [None, [0.0, 1.0]]),
    ],
)
def test_ties_of_two(f, a, b, expected, backend):
    xs = [leaf(a), leaf(b)]
    at.sum(f(*xs)).backward()
    assert [None if x.grad is None else x.grad.tolist() for x in xs] == [
        e if e is None or any(e) or f is not at.copysign else None for e in expected
    ]


def test_hypot_of_zeros_is_nan(backend):
    assert all(math.isnan(g[0]) for g in slope(at.hypot, [0.0], [0.0]))


@pytest.mark.parametrize("f", [at.max, at.amax, at.min, at.amin])
def test_full_extremes_share_among_ties(f, backend):
    assert slope(f, [2.0, 2.0, 2.0, 2.0]) == [0.25] * 4


def test_median_shares_between_the_two_middle_ones(backend):
    assert slope(at.median, [3.0, 1.0, 2.0, 4.0]) == [0.5, 0.0, 0.5, 0.0]


def test_single_places_take_one_index(backend):
    assert slope(lambda x: at.sort(x)[-1], [2.0, 1.0, 2.0]) == [0.0, 0.0, 1.0]
    assert slope(lambda x: at.topk(x, 1).values, [2.0, 1.0, 2.0]) == [1.0, 0.0, 0.0]
    assert slope(lambda x: at.cummax(x).values, [1.0, 1.0, 0.0]) == [1.0, 2.0, 0.0]


def test_logsumexp_of_minus_infinity(backend):
    assert at.logsumexp(at.tensor([1.0, -inf], dtype=f64)).item() == 1.0
    assert slope(at.logsumexp, [1.0, -inf]) == [1.0, 0.0]


def test_double_where_keeps_nan_out(backend):
    def naive(x):
        return at.where(x > 0, at.log(x), 0.0)

    def double(x):
        return at.where(x > 0, at.log(at.where(x > 0, x, 1.0)), 0.0)

    x = leaf([0.0, 2.0])
    with at.current_backend().quiet():
        at.sum(naive(x)).backward()
    assert x.grad.tolist()[1] == 0.5
    assert slope(double, [0.0, 2.0]) == [0.0, 0.5]


# -- empty, one, 0-d


REDUCTIONS = {
    at.sum: 0.0,
    at.prod: 1.0,
    at.all: True,
    at.any: False,
    at.count_nonzero: 0,
    at.nansum: 0.0,
}


@pytest.mark.parametrize("f", REDUCTIONS)
def test_reductions_of_nothing(f, backend):
    x = at.zeros(0, 3, dtype=f64)
    assert f(x).item() == REDUCTIONS[f]
    assert f(x, axis=0).tolist() == [REDUCTIONS[f]] * 3
    assert f(x, axis=1).shape == (0,)
    assert f(x, axis=1, keepdims=True).shape == (0, 1)


def test_reductions_of_nothing_have_gradients(backend):
    for f in (at.sum, at.prod):
        x = at.zeros(0, 3, dtype=f64, requires_grad=True)
        at.sum(f(x, axis=0)).backward()
        assert x.grad.shape == (0, 3)


@pytest.mark.parametrize("f", [at.max, at.min, at.argmax, at.quantile])
def test_what_needs_an_element_refuses_nothing(f, backend):
    args = (0.5,) if f is at.quantile else ()
    with pytest.raises((ValueError, IndexError, RuntimeError)):
        f(at.zeros(0, dtype=f64), *args)


@pytest.mark.parametrize("f", [at.sum, at.prod, at.max, at.min, at.mean, at.logsumexp, at.norm])
@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_reductions_of_one(f, shape, backend):
    x = at.full(shape, 3.0, dtype=f64).requires_grad_()
    y = f(x)
    assert y.shape == ()
    assert y.item() == pytest.approx(3.0)
    y.backward()
    assert x.grad.shape == shape
    assert at.sum(x.grad).item() == pytest.approx(1.0)


@pytest.mark.parametrize("f", [at.cumulative_sum, at.cumulative_prod, at.cummax, at.logcumsumexp])
def test_scans_of_one_and_of_nothing(f, backend):
    for n in (0, 1):
        x = at.full((n,), 3.0, dtype=f64)
        y = f(x, axis=0)
        assert getattr(y, "values", y).shape == (n,)


def test_sorting_of_0d_and_nothing(backend):
    assert at.sort(at.tensor(2.0)).item() == 2.0
    assert at.argsort(at.tensor(2.0)).item() == 0
    assert at.cummax(at.tensor(2.0)).indices.item() == 0
    assert at.sort(at.zeros(0)).shape == (0,)
    assert at.unique_all(at.zeros(0)).counts.shape == (0,)
    assert at.unique_consecutive(at.zeros(0)).shape == (0,)


# -- NaN


@pytest.mark.parametrize("f", [at.max, at.min, at.sum, at.mean, at.prod, at.median, at.norm])
def test_nan_propagates(f, backend):
    x = at.tensor([[1.0, nan, 2.0], [1.0, 2.0, 3.0]], dtype=f64)
    assert math.isnan(f(x).item())
    rows = f(x, axis=1).tolist()
    assert math.isnan(rows[0])
    assert not math.isnan(rows[1])


def test_nan_in_quantiles_scans_and_fmax(backend):
    x = at.tensor([1.0, nan, 2.0], dtype=f64)
    assert math.isnan(at.quantile(x, 0.0).item())
    values, indices = at.cummax(x)
    assert math.isnan(values[1].item())
    assert math.isnan(values[2].item())
    assert indices.tolist() == [0, 1, 1]
    assert at.nanmean(x).item() == 1.5
    assert at.fmax(x, 0.0).tolist() == [1.0, 0.0, 2.0]
    assert at.maximum(x, at.zeros(3, dtype=f64)).isnan().tolist() == [False, True, False]


def test_numbers_keep_their_digits_beside_float64(backend):
    """A bare 0.1 became a float32, and 0.1 was not close to itself."""
    x = at.tensor([0.1, 1.0], dtype=f64)
    assert at.isclose(x, 0.1, rtol=0, atol=0).tolist() == [True, False]
    assert at.isin(x, [0.1]).tolist() == [True, False]
    assert at.searchsorted(x, 0.1).item() == 0
    assert at.fmax(x, 0.1)[0].item() == 0.1
    assert at.heaviside(at.zeros(1, dtype=f64), 0.1).item() == 0.1
    assert at.lerp(x, 0.1, 1.0).tolist() == [0.1, 0.1]
    assert at.xlogy(at.ones(1, dtype=f64), 0.1).item() == math.log(0.1)
    assert at.quantile(at.tensor([0.0, 1.0], dtype=f64), [0.1]).tolist() == [0.1]
    assert at.addcmul(x, 0.1, 1.0).tolist() == [0.2, 1.1]
    assert at.diff(x, prepend=0.1)[0].item() == 0.0


# -- functions with answers of their own


def test_comparisons_of_whole_arrays(backend):
    x = at.tensor([1.0, inf, nan], dtype=f64)
    assert at.allclose(x, x, equal_nan=True) is True
    assert at.allclose(x, x) is False
    assert at.isclose(x, at.tensor([1.0, -inf, nan], dtype=f64)).tolist() == [True, False, False]
    assert at.array_equal(x[:2], at.tensor([1.0, inf])) is True
    assert at.array_equal(x[:2], x[:1]) is False


def test_fmod_is_exact_for_large_quotients(backend):
    a, b = at.tensor([1e17, -1e17], dtype=f64), at.tensor([3.0, 3.0], dtype=f64)
    assert at.fmod(a, b).tolist() == [math.fmod(1e17, 3.0), math.fmod(-1e17, 3.0)]
    assert at.fmod(at.tensor([-7, 7]), at.tensor([3, -3])).tolist() == [-1, 1]


def test_float_power_of_integers_is_a_float(backend):
    """It was an alias of `pow`, and integers stayed integers."""
    assert at.float_power(at.tensor([2, 4]), at.tensor([-1, 2])).tolist() == [0.5, 16.0]


def test_ldexp_does_not_overflow_halfway(backend):
    assert at.ldexp(at.tensor([2.0**-1000], dtype=f64), at.tensor([1500])).tolist() == [2.0**500]


def test_parts_of_real_numbers(backend):
    x = leaf([1.0, -2.0])
    assert x.real is x
    assert x.imag.tolist() == [0.0, 0.0]
    assert at.conj(x) is x
    assert at.angle(x).tolist() == [0.0, math.pi]


def test_dtype_questions():
    assert at.finfo(at.float32).eps == 2.0**-23
    assert at.finfo(leaf([1.0])).max == 1.7976931348623157e308
    assert at.finfo("float64").tiny == 2.2250738585072014e-308
    assert at.iinfo(at.int8)[:3] == (8, 127, -128)
    assert at.iinfo("uint16").max == 65535
    assert at.isdtype(at.int32, "integral")
    assert at.isdtype(at.float32, ("bool", "real floating"))
    assert not at.isdtype(at.float32, at.float64)
    assert at.can_cast(at.int64, at.float32)
    assert not at.can_cast(at.float32, at.int64)
    assert not at.can_cast(at.uint64, at.int64)
    assert at.result_type(at.int32, at.float32) is at.float32
    assert at.result_type(at.tensor([1]), 2.0) is at.float32
    assert at.result_type(at.float64, 1) is at.float64
    assert at.result_type(1, True) is at.int64
    for wrong, text in (
        (lambda: at.finfo(at.int32), "use iinfo"),
        (lambda: at.iinfo(at.float32), "integer dtypes"),
        (lambda: at.result_type(), "at least one"),
    ):
        with pytest.raises(at.DTypeError, match=text):
            wrong()
    with pytest.raises(ValueError, match="no kind is called 'real'"):
        at.isdtype(at.int32, "real")


def test_refusals():
    x = at.zeros(2, 3)
    for wrong, text in (
        (lambda: at.cov(at.zeros(2, 3, 4)), "matrix or vector"),
        (lambda: at.cov(x, fweights=[1, 2]), "3 weights"),
        (lambda: at.cdist(x, at.zeros(2, 4)), "rows of one length"),
        (lambda: at.cross(x, at.zeros(3, 2).T, axis=0), "not 3 long"),
        (lambda: at.inner(x, at.zeros(2)), "the last axes differ"),
        (lambda: at.block_diag(at.zeros(1, 1, 1)), "matrices, vectors"),
        (lambda: at.tensor_split(x, 0), "at least one part"),
        (lambda: at.hsplit(x, 2), "no 2 equal parts"),
        (lambda: at.dsplit(x, 1), "at least 3 axes"),
        (lambda: at.unfold(x, 1, 4), "windows of 4"),
        (lambda: at.masked_scatter(x, x == 0, at.zeros(2)), "6 places, but 2"),
        (lambda: at.diagonal_scatter(x, at.zeros(3)), r"must be \(2,\)"),
        (lambda: at.broadcast_shapes((2, 3), (4,)), "do not broadcast"),
        (lambda: at.repeat(x, [1, 2, 3], 0), "one count for each of 2"),
        (lambda: at.quantile(at.zeros(0), 0.5), "of no elements"),
    ):
        with pytest.raises(at.ShapeError, match=text):
            wrong()
    for wrong, text in (
        (lambda: at.quantile(x, 1.5), "must lie in"),
        (lambda: at.quantile(x, 0.5, interpolation="odd"), "no interpolation"),
        (lambda: at.histc(x, min=1, max=0), "min below max"),
        (lambda: at.scatter_reduce(x, 0, [[0]], x, "median"), "one of sum"),
    ):
        with pytest.raises(ValueError, match=text):
            wrong()
    with pytest.raises(at.GradError, match="no derivative by q"):
        at.quantile(x, leaf(0.5))


def test_activations_at_infinity(backend: str) -> None:
    x = at.tensor([-at.inf, at.inf, 0.0], requires_grad=True)
    y = at.relu(x)
    assert y.tolist() == [0.0, at.inf, 0.0]
    y.sum().backward()
    assert x.grad.tolist() == [0.0, 1.0, 0.0]
    assert at.softplus(at.tensor([-at.inf, at.inf])).tolist() == [0.0, at.inf]
    assert math.isnan(at.relu(at.tensor(at.nan)).item())


@pytest.mark.parametrize("name", ["softplus_unit", "clip_to", "power"])
def test_records_behind_a_door_are_not_public(name):
    assert name not in at.functions.FUNCTIONS
    assert not hasattr(at.Tensor, name)


def test_division_by_the_number_zero(backend: str) -> None:
    x = at.tensor([1.0, -1.0, 0.0], requires_grad=True)
    with at.current_backend().quiet():
        y = x / 0.0
        y.sum().backward()
    assert y.tolist()[:2] == [at.inf, -at.inf]
    assert x.grad.tolist() == [at.inf] * 3


def test_variance_of_too_few(backend: str) -> None:
    x = at.tensor([1.0], requires_grad=True)
    with at.current_backend().quiet():
        y = at.var(x, correction=1)
        y.backward()
    assert math.isnan(y.item())
    assert at.softmax(at.zeros(0, 3), 0).shape == (0, 3)
    assert at.logsumexp(at.zeros(0, 3), axis=1).shape == (0,)


def test_xlogy_has_its_derivative_at_zero(backend: str) -> None:
    x = at.tensor([0.0, 0.0], requires_grad=True)
    at.xlogy(x, at.tensor([0.5, 2.0])).sum().backward()
    assert x.grad.tolist() == pytest.approx([math.log(0.5), math.log(2.0)])


def test_spellings_that_would_differ_are_refused() -> None:
    x = at.ones(2, 3)
    for function in (at.max, at.min, at.sort, at.median):
        with pytest.raises(TypeError, match=r"\(dim=\) returns values and indices in PyTorch"):
            function(x, dim=1)
    with pytest.raises(TypeError, match=r"PyTorch's x.repeat\(2, 1, 3\) is x.tile"):
        x.repeat(2, 1, 3)
    with pytest.raises(TypeError, match=r"got 'axis' twice"):
        x.sum(axis=0, dim=1)
    with pytest.raises(at.DTypeError, match=r"an axis is an integer; found Tensor; for two"):
        at.max(x, x)
    assert x.sum(dim=1, keepdim=True).shape == (2, 1)
    assert at.sum(x, dtype=at.float64).dtype is at.float64


def test_a_kernel_larger_than_its_image_is_refused(backend: str) -> None:
    with pytest.raises((at.ShapeError, RuntimeError), match=r"(?i)kernel"):
        at.conv(at.ones(1, 1, 2, 2), at.ones(1, 1, 3, 3))


def test_a_number_is_formatted_and_rounded() -> None:
    loss = at.tensor(1.23456)
    assert f"{loss:.3f}" == "1.235"
    assert f"{loss}" == "tensor(1.2346)"
    assert round(loss, 2).item() == pytest.approx(1.23)
