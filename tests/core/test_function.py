"""Functions of the user's own: values, any order, several results, what is kept."""

import weakref

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
