"""The checks must fail where they should: right rules pass, each kind of wrong rule is named."""

from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import pytest

import atled as at
from atled.backends.protocol import PORTABLE
from atled.core import kinds
from atled.core.apply import apply
from atled.core.op import REGISTRY
from atled.errors import AtledError, DTypeError, GradError
from atled.testing import GradientMismatch, assert_close, check_grads, numeric_jvp

pytestmark = pytest.mark.usefixtures("backend")


def f64(data):
    return at.tensor(data, dtype=at.float64)


@contextmanager
def operation(kind, name, *args, **facets):
    op = kind(name, *args, **facets)
    try:
        yield lambda *operands, **static: apply(op, *operands, **static)
    finally:
        del REGISTRY[name]
        PORTABLE.pop(name, None)


X = [[0.3, -0.7, 1.1], [0.9, 0.2, -1.3]]


# -- what is right passes -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "f",
    [
        lambda x: x.sin() * x.exp(),
        lambda x: (x * x).sum(),
        lambda x: x * 2.0,
        lambda x: x * 0.0 + 3.0,
        lambda x: at.ones((2,), dtype=at.float64),
        lambda x: {"a": x.tanh(), "b": (x.sum(), "text", x > 0)},
    ],
)
def test_right_rules_pass(f):
    check_grads(f, f64(X))


def test_a_third_order_passes():
    check_grads(lambda x: (x.sin() * x).sum(), f64([0.4, 1.2]), order=3)


def test_broadcasting_and_two_arguments_pass():
    check_grads(lambda a, b: a * b + a / (2.0 + b * b), (f64(X), f64([1.0, 2.0, 0.5])))


@dataclass
class Layer:
    w: object
    b: object
    name: str


class Pair(NamedTuple):
    x: object
    y: object


def test_nests_of_arguments_and_constants_pass():
    layer = Layer(f64([[1.0, 2.0], [3.0, 4.0], [0.5, 0.1]]), f64([0.1, 0.2]), "first")
    pair = Pair(f64(X), at.tensor([1, 2]))

    def f(layer, inputs, scale):
        return at.tanh(inputs["x"].x @ layer.w + layer.b) * scale

    check_grads(f, (layer, {"x": pair}, 2.0))


def test_an_empty_argument_and_a_scalar_pass():
    check_grads(lambda x: x.sin(), f64([]))
    check_grads(lambda x: x.sin(), f64(0.5))


def test_a_large_argument_costs_few_evaluations():
    calls = []

    def f(x):
        calls.append(1)
        return x.sin()

    check_grads(f, f64([0.1] * 1000), order=1, modes=("rev",))
    assert len(calls) < 10


def test_one_wrong_element_of_many_is_found():
    slopes = [1.0] * 600
    slopes[123] = 1.5
    with pytest.raises(GradientMismatch, match="order 1: the gradient by argument 0"):
        check_grads(Sloped(slopes), f64([0.1] * 600), order=1, modes=("rev",))


def test_it_leaves_its_arguments_alone():
    x = f64(X).requires_grad_()
    with at.no_grad():
        check_grads(lambda x: x.sin(), x)
    assert x.grad is None
    assert x.requires_grad


def test_it_is_deterministic():
    seen = []

    def f(x):
        seen.append(x.tolist())
        return x.sin()

    check_grads(f, f64(X))
    first, seen[:] = list(seen), []
    check_grads(f, f64(X))
    assert seen == first


# -- what is wrong is refused ---------------------------------------------------------------------


def wrong(kind, name, *args, f=None, x=None, modes=("fwd", "rev"), order=2, **facets):
    with operation(kind, name, *args, **facets) as call, pytest.raises(GradientMismatch) as caught:
        check_grads(f(call) if f else call, f64(X) if x is None else x, modes=modes, order=order)
    return str(caught.value)


def test_a_wrong_sign_is_refused():
    text = wrong(kinds.elementwise, "t_sign", [lambda xp, x: xp.sin(x)],
                 forward=lambda xp, x: xp.cos(x))  # fmt: skip
    assert "fwd mode, order 1: the tangent of result 0, from a random tangent of arg" in text
    assert "(6 of 6 elements checked are wrong)" in text
    assert "test_testing.py" in text


def test_a_missing_factor_is_refused_in_each_mode():
    record = {"forward": lambda xp, x: x * x}
    text = wrong(kinds.elementwise, "t_factor", [lambda xp, x: x], modes=("rev",), **record)
    assert "rev mode, order 1: the gradient by argument 0 is wrong at [" in text
    assert "of shape (2, 3): the rule gives" in text
    text = wrong(kinds.elementwise, "t_factor", [lambda xp, x: x], modes=("fwd",), **record)
    assert "fwd mode, order 1" in text


def test_the_worst_element_and_both_values_are_named():
    text = wrong(kinds.elementwise, "t_third", [lambda xp, x: xp.where(x == 2.0, 7.0, 1.0)],
                 forward=lambda xp, x: x + 0.0, x=f64([[0.5, 1.0], [2.0, 3.0]]),
                 f=lambda call: lambda x: call(x).sum(), modes=("rev",))  # fmt: skip
    assert "is wrong at [1, 0] of shape (2, 2)" in text
    assert "(1 of 4 elements checked are wrong)" in text


def test_a_missing_sum_over_broadcast_axes_is_refused():
    def first_row(xp, g, b_shape):
        return xp.reshape(g[:1], shape=b_shape)

    text = wrong(
        kinds.opaque, "t_broadcast", inputs=("a", "b"), infer=lambda a, b: a,
        forward=lambda xp, a, b: a + b, vjps=[lambda xp, g: g, first_row],
        jvps=[lambda xp, t: t, lambda xp, t, a_shape: xp.broadcast_to(t, shape=a_shape)],
        x=(f64(X), f64([1.0, 2.0, 3.0])),
    )  # fmt: skip
    assert "rev mode, order 1: the gradient by argument 1" in text


def test_a_wrong_forward_rule_beside_a_right_reverse_rule_is_refused():
    text = wrong(
        kinds.opaque, "t_forward", infer=lambda x: x, forward=lambda xp, x: x * x * x,
        vjps=[lambda xp, g, x: 3 * x * x * g], jvps=[lambda xp, t, x: 2 * x * x * t],
    )  # fmt: skip
    assert "fwd mode, order 1" in text
    with operation(
        kinds.opaque, "t_forward", infer=lambda x: x, forward=lambda xp, x: x * x * x,
        vjps=[lambda xp, g, x: 3 * x * x * g], jvps=[lambda xp, t, x: 2 * x * x * t],
    ) as call:  # fmt: skip
        check_grads(call, f64(X), modes=("rev",))


class Cube(at.autograd.Function):
    """Right in both orders."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x * x

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 3 * x * x * g


class FlatCube(Cube):
    """Right in the first order; its backward loses the way to x."""

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 3 * (x * x).detach() * g


class Sloped:
    """The sum of the elements, with a gradient of one's own; a callable without a name."""

    def __init__(self, slopes):
        class Sum(at.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                return x.sum()

            @staticmethod
            def backward(ctx, g):
                return g * f64(slopes)

        self.apply = Sum.apply

    def __call__(self, x):
        return self.apply(x)


def test_a_function_is_checked_in_both_modes():
    check_grads(Cube.apply, f64(X))


def test_a_wrong_second_order_alone_is_refused():
    check_grads(FlatCube.apply, f64(X), order=1, modes=("rev",))
    with pytest.raises(GradientMismatch, match="rev over rev mode, order 2: the gradient by"):
        check_grads(FlatCube.apply, f64(X), modes=("rev",))


def test_a_second_order_wrong_in_the_cotangent_is_refused():
    class Lost(Cube):
        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return 3 * x * x * g.detach()

    with pytest.raises(GradientMismatch, match=r"order 2: .* the cotangent of result 0"):
        check_grads(Lost.apply, f64(X), modes=("rev",))


def test_a_detached_path_is_refused():
    with pytest.raises(GradientMismatch, match="the rule gives 0, differences give"):
        check_grads(lambda x: x.detach().sin(), f64(X))
    with pytest.raises(GradientMismatch):
        check_grads(lambda x: x.detach() * x, f64(X))


def test_a_nan_is_refused():
    text = wrong(kinds.elementwise, "t_nan", [lambda xp, x: x * float("nan")],
                 forward=lambda xp, x: x + 0.0)  # fmt: skip
    assert "the rule gives nan" in text


def test_the_argument_is_named_by_its_path():
    with pytest.raises(GradientMismatch, match=r"argument 1\['w'\]\[0\] is wrong"):
        check_grads(lambda a, n: a * n["w"][0].detach(), (f64(1.0), {"w": [f64(2.0)]}),
                    modes=("rev",))  # fmt: skip


def test_a_mismatch_is_an_assertion_and_an_error_of_atled():
    assert issubclass(GradientMismatch, AssertionError)
    assert issubclass(GradientMismatch, AtledError)


# -- bad input is refused at the door -------------------------------------------------------------


def test_float32_is_refused(backend):
    if backend == "python":
        pytest.skip("it has float64 only")
    x32 = at.tensor([1.0], dtype=at.float32)
    with pytest.raises(DTypeError, match=r"argument 1 is float32; .* x.astype\(at.float64\)"):
        check_grads(lambda a, b: a, (f64(1.0), x32))
    with pytest.raises(DTypeError, match="result 0 is float32"):
        check_grads(lambda a: a.astype(at.float32), f64(1.0))


def test_nothing_to_differentiate_is_refused():
    with pytest.raises(GradError, match="no argument is a floating Tensor"):
        check_grads(lambda n: n, (at.tensor([1, 2]),))


def test_an_unknown_mode_is_refused():
    with pytest.raises(ValueError, match="modes are 'fwd' and 'rev'; found"):
        check_grads(lambda x: x, f64(1.0), modes=("reverse",))


def test_a_function_that_changes_its_mind_is_refused():
    counter = iter(range(10))
    with pytest.raises(ValueError, match="two different results for the same arguments"):
        check_grads(lambda x: x * next(counter), f64(1.0))


# -- numeric_jvp ----------------------------------------------------------------------------------


def test_numeric_jvp():
    (t,) = numeric_jvp(lambda a, b: a * b, (f64([1.0, 2.0]), f64([3.0, 5.0])),
                       ([1.0, 0.0], f64([0.0, 10.0])))  # fmt: skip
    assert_close(t, [3.0, 20.0], rtol=1e-8)
    (t,) = numeric_jvp(lambda x: x * x, f64(3.0), 1.0, eps=1e-3)
    assert_close(t, 6.0, rtol=1e-8)


# -- assert_close ---------------------------------------------------------------------------------

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (1.0, 1.0 + 1e-14),
        ([1, 2], (1, 2)),
        ({"a": 1, "b": [2.0]}, {"b": [2.0], "a": 1}),
        ([NAN, INF, -INF], [NAN, INF, -INF]),
        ("text", "text"),
        (None, None),
        (Pair(1, 2), Pair(1, 2)),
        ([], []),
    ],
)
def test_close_nests_pass(a, b):
    assert_close(a, b)


def test_tensors_pass():
    assert_close(f64(X), X)
    assert_close([f64(X)], [f64(X)])
    assert_close(at.tensor([True, False]), [True, False])
    assert_close(f64([]), [])
    assert_close(f64([1.0, 2.0]), [1.1, 2.1], atol=0.2)


def test_the_less_precise_dtype_decides(backend):
    if backend == "python":
        pytest.skip("it has float64 only")
    assert_close(at.tensor([1.0], dtype=at.float32), f64([1.0 + 1e-6]))
    with pytest.raises(AssertionError, match="differ by 1e-0"):
        assert_close(f64([1.0]), f64([1.0 + 1e-6]))


@pytest.mark.parametrize(
    ("a", "b", "text"),
    [
        (1, 2, r"1 and 2 differ by 1 at \[\] of shape \(\) \(1 of 1 elements"),
        ({"w": [1.0, 2.0]}, {"w": [1.0, 2.5]}, r"at \['w'\]\[1\]: 2.0 and 2.5 differ by 0.5"),
        ([1], [1, 2], r"the structures differ: one has \['\[0\]'\], the other"),
        ({"a": {"b": 1}}, {"a": {"c": 1}}, r"the structures differ at \['a'\]: one has"),
        (Pair(1, 2), Pair(1, 3), r"at \.y: 2 and 3 differ"),
        ("a", "b", "found 'a' and 'b'"),
        (1.0, None, "found 1.0 and None"),
        (NAN, 1.0, "nan and 1.0 differ by nan"),
        (1.0, INF, "1.0 and inf differ by inf"),
        (INF, -INF, "inf and -inf differ by inf"),
        (INF, 1.0, "inf and 1.0 differ by inf"),
    ],
)
def test_what_differs_is_named(a, b, text):
    with pytest.raises(AssertionError, match=text):
        assert_close(a, b)


def test_different_tensors_are_refused():
    with pytest.raises(AssertionError, match=r"the shapes are \(2,\) and \(1,\)"):
        assert_close(f64([1.0, 2.0]), f64([1.0]))
    with pytest.raises(AssertionError, match=r"5.0 and 4.0 differ by 1 at \[1, 0\] of shape"):
        assert_close(f64([[1.0], [5.0]]), f64([[1.0], [4.0]]))
