"""Derivatives that agree with the value where its rounding decides, and half precision's sums."""

import math

import pytest

import atled as at
from atled.errors import DTypeError
from atled.testing import assert_close

f64 = at.float64
nan = math.nan


def leaves(*values, dtype=f64):
    return [at.tensor(v, dtype=dtype, requires_grad=True) for v in values]


@pytest.mark.parametrize("first", [0, 1])
def test_the_mixed_derivative_of_a_power_at_exponent_0(first, backend):
    a, b = leaves(2.0, 0.0)
    by = (a, b)
    (once,) = at.autograd.grad(a**b, [by[first]], create_graph=True)
    (twice,) = at.autograd.grad(once, [by[1 - first]])
    assert float(twice) == 0.5


@pytest.mark.parametrize("f", [at.remainder, at.fmod])
@pytest.mark.parametrize(
    ("a", "b"), [(1.0, 0.1), (-1.0, 0.1), (7.0, -2.0), (6.0, 3.0), (0.3, 0.1), (1e15, 0.3)]
)
def test_the_slope_of_a_remainder_is_the_quotient_it_used(f, a, b, backend):
    a, b = leaves(a, b)
    y = f(a, b)
    y.backward()
    quotient = -float(b.grad)
    assert quotient == int(quotient)
    assert float(a) - quotient * float(b) == pytest.approx(float(y), abs=abs(float(a)) * 1e-15)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_angle_of_a_tiny_point_has_its_slope(dtype):
    if dtype == "float32":
        pytest.importorskip("numpy", reason="the python backend has no float32")
    small = 1e-30 if dtype == "float32" else 1e-200
    a, b = leaves(small, small, dtype=dtype)
    at.atan2(a, b).backward()
    assert_close(a.grad * small, 0.5, rtol=1e-6)
    assert_close(b.grad * small, -0.5, rtol=1e-6)
    big = leaves(1 / small, 1 / small, dtype=dtype)
    at.atan2(*big).backward()
    assert_close(big[0].grad / small, 0.5, rtol=1e-6)


@pytest.mark.parametrize("bounds", ["both", "low", "high", "low, number above"])
def test_clip_to_tensors_is_torchs_clamp(bounds, backend):
    torch = pytest.importorskip("torch")
    x = [0.0, 1.0, 2.0, 3.0, 4.0, 2.0, 5.0, nan, 2.0]
    lo = [1.0, 1.0, 1.0, 1.0, 1.0, 2.0, 3.0, 1.0, nan]
    hi = [3.0, 3.0, 3.0, 3.0, 3.0, 2.0, 1.0, 3.0, 3.0]
    low, high = bounds != "high", bounds in ("both", "high")
    mine, theirs = leaves(x, lo, hi), [torch.tensor(v, dtype=torch.float64) for v in (x, lo, hi)]
    theirs = [t.requires_grad_() for t in theirs]
    top = (mine[2], theirs[2]) if high else (None, None)
    if bounds == "low, number above":  # torch takes no such pair
        top = (3.0, torch.full((9,), 3.0, dtype=torch.float64))
    y = at.clip(mine[0], mine[1] if low else None, top[0])
    z = torch.clamp(theirs[0], theirs[1] if low else None, top[1])
    assert_close(y, z.detach().numpy())
    at.sum(y).backward()
    z.sum().backward()
    for a, b in zip(mine, theirs, strict=True):
        assert (a.grad is None) == (b.grad is None)
        if a.grad is not None:
            assert a.grad.tolist()[:7] == b.grad.tolist()[:7]  # at a NaN there is no convention


@pytest.mark.parametrize("f", ["maximum", "minimum"])
def test_a_nan_passes_the_gradient_to_both_as_in_torch(f, backend):
    torch = pytest.importorskip("torch")
    a, b = [nan, 1.0, nan, 1.0, 2.0], [1.0, nan, nan, 1.0, 1.0]
    mine, theirs = leaves(a, b), [torch.tensor(v).requires_grad_() for v in (a, b)]
    at.sum(getattr(at, f)(*mine)).backward()
    getattr(torch, f)(*theirs).sum().backward()
    assert [x.grad.tolist() for x in mine] == [x.grad.tolist() for x in theirs]


# -- half precision adds up in float32


HALVES = [("numpy", "float16"), ("torch", "float16"), ("torch", "bfloat16")]


@pytest.mark.parametrize(("library", "dtype"), HALVES)
def test_half_precision_adds_up_in_float32(library, dtype):
    pytest.importorskip(library)
    with at.use(library):
        x = at.ones(70000, dtype=dtype).requires_grad_()
        y = at.mean(x)
        y.backward()
        assert y.dtype == x.dtype == x.grad.dtype
        assert float(y) == 1
        assert_close(x.grad[0].astype("float32"), at.tensor(1 / 70000), rtol=0.004)
        assert float(at.sum(at.full((4096,), 1.0, dtype=dtype))) == 4096
        assert float(at.sum(at.ones(300, 4096, dtype=dtype), axis=1)[0]) == 4096
        large = at.full((4, 4), 300.0, dtype=dtype).requires_grad_()
        length = at.norm(large)
        assert length.dtype == x.dtype
        assert float(length) == 1200
        length.backward()
        assert_close(large.grad.astype("float32"), at.full((4, 4), 0.25))
        wide = at.tensor([-300.0, 300.0] * 2, dtype=dtype)
        assert float(at.std(wide)) == 300
        many = at.tensor([0.0, 2.0] * 40000, dtype=dtype)
        assert float(at.var(many)) == 1
        assert at.var(many).dtype == x.dtype


# -- numbers that an integer dtype does not hold


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize(
    ("data", "dtype", "number"),
    [
        ([2**63], None, 2**63),
        ([1, -(2**70)], None, -(2**70)),
        ([300], "int8", 300),
        (-129, "int8", -129),
        ([[1, -1]], "uint8", -1),
        ([2.5e10], "int32", 2.5e10),
        ([nan], "int64", nan),
    ],
)
def test_a_number_that_does_not_fit_is_named(library, data, dtype, number):
    pytest.importorskip(library)
    with at.use(library), pytest.raises(DTypeError) as caught:
        at.tensor(data, dtype=dtype)
    assert str(number) in str(caught.value)
    assert (dtype or "int64") in str(caught.value)


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_numbers_at_the_limits_fit(library):
    pytest.importorskip(library)
    with at.use(library):
        assert at.tensor([127, -128], dtype="int8").tolist() == [127, -128]
        assert at.tensor([2**63 - 1, -(2**63)]).tolist() == [2**63 - 1, -(2**63)]
        assert at.tensor([1.9, -1.9], dtype="int64").tolist() == [1, -1]
        assert at.tensor([2**70], dtype="float64").tolist() == [2.0**70]
