"""Functions of the user's own: values, any order, several results, what is kept."""

import weakref
from typing import ClassVar

import pytest

import atled as at


class Square(at.autograd.Function):
    """x² with a backward of its own."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 2 * x * g


class Exp(at.autograd.Function):
    """eˣ that saves its result."""

    @staticmethod
    def forward(ctx, x):
        y = at.exp(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        return g * y


class SumAndProduct(at.autograd.Function):
    """Two results of two operands."""

    @staticmethod
    def forward(ctx, a, b, scale):
        ctx.save_for_backward(a, b)
        ctx.scale = scale
        return (a + b) * scale, a * b

    @staticmethod
    def backward(ctx, of_sum, of_product):
        a, b = ctx.saved_tensors
        return of_sum * ctx.scale + of_product * b, of_sum * ctx.scale + of_product * a, None


@pytest.mark.parametrize("function", [Square, Exp])
def test_function_to_any_order(function: type, backend: str) -> None:
    x = at.tensor([0.5, -1.0], dtype=at.float64)
    at.testing.check_grads(function.apply, (x,), order=2, modes=("rev",))


def test_function_of_several_results() -> None:
    a, b = at.tensor(2.0, requires_grad=True), at.tensor(3.0, requires_grad=True)
    s, p = SumAndProduct.apply(a, b, 10.0)
    (s + p).backward()
    assert (a.grad.item(), b.grad.item()) == (13.0, 12.0)
    _, p = SumAndProduct.apply(a, b, 10.0)
    assert at.autograd.grad(p, (a, b))[0].item() == 3.0


def test_function_saves_values_as_they_were() -> None:
    x = at.tensor([3.0], requires_grad=True) * 1
    y = Square.apply(x)
    x += 100
    assert at.autograd.grad(y, y)[0].tolist() == [1.0]


def test_function_whose_backward_is_wrong_says_so() -> None:
    class TooMany(at.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1

        @staticmethod
        def backward(ctx, g):
            return g, g

    class WrongShape(TooMany):
        @staticmethod
        def backward(ctx, g):
            return g.sum()

    x = at.ones(3, requires_grad=True)
    with pytest.raises(at.GradError, match=r"returned 2 gradient\(s\) for 1 input"):
        TooMany.apply(x).sum().backward()
    with pytest.raises(at.GradError, match=r"gradient of shape \(\) for input 0 of shape \(3,\)"):
        WrongShape.apply(x).sum().backward()


def test_a_freed_function_drops_what_it_saved() -> None:
    x = at.tensor([1.0, 2.0], requires_grad=True)
    y = Square.apply(x * 1)
    kept = weakref.ref(y.grad_fn.saved)
    y.sum().backward()
    assert kept() is None


# -- forward mode, batches, setup_context


@pytest.mark.parametrize("function", [Square, Exp])
def test_forward_mode_is_the_transpose_of_backward(function: type, backend: str) -> None:
    x = at.tensor([0.5, -1.0], dtype=at.float64)
    at.testing.check_grads(function.apply, (x,), order=3)
    at.testing.check_grads(lambda x: SumAndProduct.apply(x, x.flip(0), 3.0), (x,), order=2)


def test_a_backward_on_values_has_no_forward_mode() -> None:
    class Detached(Square):
        @staticmethod
        def backward(ctx, g):
            return ctx.saved_tensors[0] * at.tensor(g.detach().tolist()) * 2

    x = at.tensor([1.0, 2.0])
    assert at.grad(lambda x: Detached.apply(x).sum())(x).tolist() == [2.0, 4.0]
    with pytest.raises(at.GradError, match="Detached: its rule takes the values out of what it"):
        at.jvp(Detached.apply, (x,), (x,))
    with pytest.raises(at.GradError, match="its rule takes the values out of what it maps"):
        at.vmap(at.jacfwd(SumOfDetached.apply))(at.ones((2, 3)))


class SumOfDetached(at.autograd.Function):
    """A sum whose backward detaches."""

    @staticmethod
    def forward(ctx, x):
        return x.sum()

    @staticmethod
    def backward(ctx, g):
        return g.detach() * at.ones(3)


def test_a_zero_rule_is_a_zero_derivative() -> None:
    f = at.custom_vjp(lambda x: at.round(x))
    f.defvjp(lambda x: (at.round(x), None), lambda _, g: (at.zeros_like(g),))
    assert at.jvp(f, (1.5,), (1.0,))[1].item() == 0.0


class CubeBothWays(at.autograd.Function):
    """x³ and 2x, with a rule for each mode; that for tangents counts its calls."""

    calls = 0

    @staticmethod
    def forward(x, scale):
        return x * x * x, x * scale

    @staticmethod
    def setup_context(ctx, inputs, output):
        x, ctx.scale = inputs
        ctx.save_for_backward(x)
        ctx.save_for_forward(x, x * x)

    @staticmethod
    def backward(ctx, g, h):
        (x,) = ctx.saved_tensors
        return 3 * x * x * g + ctx.scale * h, None

    @staticmethod
    def jvp(ctx, t, of_scale):
        assert of_scale is None
        CubeBothWays.calls += 1
        _, square = ctx.saved_tensors
        return 3 * square * t, ctx.scale * t


def test_setup_context_and_a_rule_for_tangents() -> None:
    x = at.tensor([0.5, -1.0], dtype=at.float64)
    _, (t, u) = at.jvp(lambda x: CubeBothWays.apply(x, 2.0), (x,), (at.ones_like(x),))
    at.testing.assert_close(t, 3 * x**2)
    assert (u.tolist(), CubeBothWays.calls) == ([2.0, 2.0], 1)
    assert at.grad(lambda x: CubeBothWays.apply(x, 2.0)[0].sum())(x).tolist() == [0.75, 3.0]
    assert CubeBothWays.calls == 1


def test_a_jvp_with_too_few_tangents_says_so() -> None:
    class Few(CubeBothWays):
        @staticmethod
        def jvp(ctx, t, of_scale):
            return t

    with pytest.raises(at.GradError, match=r"Few.jvp returned 1 tangent\(s\) for 2 result\(s\)"):
        at.jvp(lambda x: Few.apply(x, 2.0), (1.0,), (1.0,))


def test_a_saved_result_that_nobody_holds_is_still_differentiated() -> None:
    class ExpAndMore(at.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            y = at.exp(x)
            ctx.save_for_backward(y)
            return x * 1, y

        @staticmethod
        def backward(ctx, g, h):
            (y,) = ctx.saved_tensors
            return g * y + h * y

    x = at.tensor(0.5, dtype=at.float64, requires_grad=True)
    first = ExpAndMore.apply(x)[0]
    for _ in range(3):  # each derivative reads the second result, which is gone
        (first,) = at.autograd.grad(first, x, create_graph=True)
    at.testing.assert_close(first, at.exp(x))


@pytest.mark.parametrize("function", [Square, Exp])
def test_function_in_batches(function: type, backend: str) -> None:
    plain = at.exp if function is Exp else at.square
    xs = at.tensor([[0.5, -1.0], [1.0, 2.0], [0.0, 3.0]], dtype=at.float64)
    w = at.tensor([2.0, 0.5], dtype=at.float64)

    def loss(f, x, w):
        return (f(x * w) * f(w)).sum()

    for transform in (
        lambda f: at.vmap(f, (0, None))(xs, w),
        lambda f: at.vmap(at.grad(f, (0, 1)), (0, None))(xs, w),
        lambda f: at.grad(lambda w: at.vmap(f, (0, None))(xs, w).sum())(w),
        lambda f: at.hessian(lambda w: at.vmap(f, (0, None))(xs, w).sum())(w),
        lambda f: at.jacobian(at.vmap(at.grad(f), (0, None)), 1)(xs, w),
    ):
        for a, b in zip(
            *[transform(lambda x, w, f=f: loss(f, x, w)) for f in (function.apply, plain)],
            strict=True,
        ):
            at.testing.assert_close(a, b)


class NumpySort(at.autograd.Function):
    """A sort in NumPy, which cannot run on batched Tensors."""

    infos: ClassVar[list[object]] = []

    @staticmethod
    def forward(ctx, x, axis):
        array = x.detach().numpy()
        order = array.argsort(axis=axis)
        ctx.order, ctx.axis = at.tensor(order), axis
        return at.tensor(array).take_along_axis(ctx.order, axis=axis)

    @staticmethod
    def backward(ctx, g):
        back = at.argsort(ctx.order, axis=ctx.axis)
        return g.take_along_axis(back, axis=ctx.axis), None


class MappedSort(NumpySort):
    @staticmethod
    def vmap(info, in_dims, x, axis):
        NumpySort.infos.append((info.batch_size, info.randomness, in_dims))
        return MappedSort.apply(x.movedim(in_dims[0], 0), axis), 0


def test_vmap_of_ones_own(backend: str) -> None:
    pytest.importorskip("numpy", reason="forward runs in NumPy")
    xs = at.tensor([[3.0, 1.0, 2.0], [5.0, 9.0, 7.0]], dtype=at.float64)
    w = at.tensor([1.0, 10.0, 100.0], dtype=at.float64)
    NumpySort.infos.clear()
    one = lambda x: (MappedSort.apply(x * x, -1) * w).sum()
    assert at.vmap(one)(xs).tolist() == [941.0, 25 + 490 + 8100]
    assert NumpySort.infos == [(2, "error", (0, None))]
    wanted = [[600.0, 2.0, 40.0], [10.0, 1800.0, 140.0]]
    assert at.vmap(at.grad(one))(xs).tolist() == wanted
    assert at.grad(lambda xs: at.vmap(one)(xs).sum())(xs).tolist() == wanted
    deep = at.vmap(at.vmap(at.grad(one)))(at.stack([xs, xs.flip(0)]))
    assert deep.tolist() == [wanted, wanted[::-1]]


def test_a_forward_that_reads_values_in_a_batch_says_to_define_vmap() -> None:
    pytest.importorskip("numpy", reason="forward runs in NumPy")
    with pytest.raises(at.TransformError, match=r"NumpySort.forward cannot run on the batched"):
        at.vmap(lambda x: NumpySort.apply(x, -1))(at.ones((2, 3)))
    with pytest.raises(at.TransformError, match=r"static method vmap\(info, in_dims, \*args\)"):
        at.vmap(lambda x: NumpySort.apply(x, -1))(at.ones((2, 3)))


def test_what_vmap_returns_is_checked() -> None:
    def refused(returned, error, match):
        class Wrong(Square):
            @staticmethod
            def vmap(info, in_dims, x):
                return returned(x)

        with pytest.raises(error, match=match):
            at.vmap(Wrong.apply)(at.ones((2, 3)))

    refused(lambda x: x, TypeError, r"Wrong.vmap returns a pair \(output, out_dims\); found Tensor")
    refused(lambda x: ((x, x), (0,)), at.ShapeError, r"Wrong.vmap: 2 output\(s\), 1 out_dims")
    refused(lambda x: (x, 1), at.ShapeError, r"shape \(2, 3\) has no 2 examples along its axis 1")


def test_a_function_without_methods_says_what_it_needs() -> None:
    class Empty(at.autograd.Function):
        pass

    with pytest.raises(NotImplementedError, match=r"static method forward\(ctx, \*args\)"):
        Empty.apply(1.0)

    class NoBackward(Empty):
        @staticmethod
        def forward(ctx, x):
            return x * 1

    with pytest.raises(NotImplementedError, match=r"static method backward\(ctx, \*cotangents\)"):
        at.grad(NoBackward.apply)(1.0)
