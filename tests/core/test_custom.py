"""custom_vjp and custom_jvp: values, both modes, any order, batches, compiled, what is refused."""

import gc
import weakref
from functools import partial

import pytest

import atled as at
from atled.testing import assert_close, check_grads
from atled.tree import flatten


def model(x, p):
    """Compute something nested of something nested."""
    return {"wave": at.sin(x) * p["a"], "total": (x * p["b"]).sum()}


def by_vjp():
    """Return the model with a reverse-mode rule; a residual is computed, others are arguments."""
    f = at.custom_vjp(model)

    def fwd(x, p):
        return model(x, p), (at.cos(x), x, p)

    def bwd(residuals, g):
        c, x, p = residuals
        wave, total = g["wave"], g["total"]
        return wave * c * p["a"] + total * p["b"], {"a": wave * at.sin(x), "b": total * x}

    f.defvjp(fwd, bwd)
    return f


def by_jvp():
    """Return the model with a forward-mode rule."""
    f = at.custom_jvp(model)

    @f.defjvp
    def rule(primals, tangents):
        (x, p), (dx, dp) = primals, tangents
        wave = at.cos(x) * p["a"] * dx + at.sin(x) * dp["a"]
        return f(x, p), {"wave": wave, "total": (dx * p["b"] + x * dp["b"]).sum()}

    return f


BOTH = pytest.mark.parametrize("made", [by_vjp, by_jvp])


def arguments():
    x = at.tensor([0.3, 0.7], dtype=at.float64)
    p = {
        "a": at.tensor([1.0, 2.0], dtype=at.float64),
        "b": at.tensor([3.0, -1.0], dtype=at.float64),
    }
    return x, p


def loss(f, x, p):
    y = f(x, p)
    return (y["wave"] ** 2).sum() * y["total"]


def agree(found, wanted):
    for a, b in zip(flatten(found)[0], flatten(wanted)[0], strict=True):
        assert_close(a, b)


@BOTH
def test_both_modes_to_third_order(made, backend: str) -> None:
    check_grads(made(), arguments(), order=3)


@BOTH
def test_nested_in_every_transform(made, backend: str) -> None:
    x, p = arguments()
    custom, plain = partial(loss, made()), partial(loss, model)
    xs = at.stack([x, 2 * x, -x])
    of_batch = (None, 0)
    for transform in (
        lambda f: at.vmap(f, (0, None))(xs, p),
        lambda f: at.vmap(at.grad(f, 1), (0, None))(xs, p),
        lambda f: at.grad(lambda xs, p: at.vmap(f, (0, None))(xs, p).sum(), (0, 1))(xs, p),
        lambda f: at.hessian(lambda p: at.vmap(f, (0, None))(xs, p).sum())(p),
        lambda f: at.vmap(at.hessian(f), (0, None))(xs, p),
        lambda f: at.jacfwd(at.jacfwd(at.grad(f)))(x, p),
        lambda f: at.jacrev(at.grad(f, 1))(x, p),
        lambda f: at.hvp(f, (x, p), (x, p)),
        lambda f: at.vmap(at.vjp(f, x, p)[1])(at.tensor([1.0, 2.0], dtype=at.float64)),
        lambda f: at.vmap(lambda x, p: at.vmap(at.grad(f), of_batch)(x, p).sum(axis=0), (0, None))(
            xs, {k: at.stack([v, v]) for k, v in p.items()}
        ),
    ):
        agree(transform(custom), transform(plain))


@BOTH
def test_backward_and_create_graph(made) -> None:
    x, p = arguments()
    x.requires_grad_()
    p["b"].requires_grad_()
    f = made()
    loss(f, x, p).backward()
    wanted = at.autograd.grad(loss(model, x, p), (x, p["b"]))
    agree([x.grad, p["b"].grad], list(wanted))
    assert p["a"].grad is None
    (first,) = at.autograd.grad(loss(f, x, p), x, create_graph=True)
    (plain,) = at.autograd.grad(loss(model, x, p), x, create_graph=True)
    agree(at.autograd.grad(first.sum(), (x, p["b"])), at.autograd.grad(plain.sum(), (x, p["b"])))


@BOTH
def test_compiled(made) -> None:
    pytest.importorskip("llvmlite", reason="programs are made with it")
    x, p = arguments()
    f = partial(loss, made())
    for transform in (lambda f: f, at.grad, lambda f: at.hessian(f, 0)):
        agree(at.compile(transform(lambda x, p: f(x, p)))(x, p), transform(f)(x, p))


def test_a_rule_is_used_and_not_the_functions_own_derivative() -> None:
    reverse = at.custom_vjp(lambda x: at.sin(x))
    reverse.defvjp(lambda x: (at.sin(x), None), lambda _, g: (10 * g,))
    forward = at.custom_jvp(lambda x: at.sin(x))
    forward.defjvp(lambda primals, tangents: (forward(*primals), 10 * tangents[0]))
    for f in (reverse, forward):
        assert at.grad(f)(0.3).item() == 10.0
        assert at.jvp(f, (0.3,), (1.0,))[1].item() == 10.0
        assert at.grad(at.grad(f))(0.3).item() == 0.0


def test_a_result_among_the_residuals_is_differentiated_by_the_rule() -> None:
    pytest.importorskip("numpy", reason="fwd runs in NumPy")
    import numpy as np

    @at.custom_vjp
    def exp(x):
        return at.tensor(np.exp(x.numpy()))

    def fwd(x):
        y = exp(x)
        return y, (y, 1.0, None)

    exp.defvjp(fwd, lambda residuals, g: (g * residuals[0],))
    check_grads(exp, (at.tensor([0.5, -1.0], dtype=at.float64),), order=3)


def test_a_rule_that_reads_one_of_several_results_reads_what_its_user_has(backend: str) -> None:
    class Two(at.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            a, b = at.exp(x), at.sin(x)
            ctx.save_for_backward(x, a)
            return a, b

        @staticmethod
        def backward(ctx, ga, gb):
            x, a = ctx.saved_tensors
            return ga * a + gb * at.cos(x)

    by_vjp = at.custom_vjp(lambda x: (at.exp(x), at.sin(x)))

    def fwd(x):
        a, b = by_vjp(x)
        return (a, b), (x, a)

    by_vjp.defvjp(fwd, lambda kept, g: (g[0] * kept[1] + g[1] * at.cos(kept[0]),))
    for two in (Two.apply, by_vjp):
        x = at.tensor(0.5, dtype=at.float64, requires_grad=True)
        a, b = two(x)
        (slope,) = at.autograd.grad(a * a + b, x, create_graph=True)  # 2a da/dx + cos x, da/dx = a
        (by_a,) = at.autograd.grad(slope, a, retain_graph=True)
        assert_close(by_a, 4 * a.detach(), 1e-12, 1e-12)
        (by_x,) = at.autograd.grad(slope + a, x)  # through what the user has, and through the rule
        z = x.detach()
        assert_close(by_x, 4 * at.exp(2 * z) - at.sin(z) + at.exp(z), 1e-12, 1e-12)


def test_the_first_order_keeps_nothing_of_fwds_tape() -> None:
    inside = []

    @at.custom_vjp
    def f(x):
        return x * 2

    def fwd(x):
        middle = at.exp(x)
        assert not middle.requires_grad
        inside.append(weakref.ref(middle))
        return f(x), at.cos(middle)

    f.defvjp(fwd, lambda c, g: (g * c,))
    x = at.ones(3, requires_grad=True)
    y = f(x)
    gc.collect()
    assert inside[0]() is None
    kept = weakref.ref(y.grad_fn.saved)
    assert len(y.grad_fn.saved_tensors) == 1
    y.sum().backward()
    assert kept() is None


@BOTH
def test_the_tape_keeps_values_and_not_the_tensors_of_the_user(made) -> None:
    gc.collect()
    gc.disable()
    try:
        x, p = arguments()
        x.requires_grad_()
        argument = weakref.ref(x)
        y = made()(x, p)["wave"]
        (first,) = at.autograd.grad(y.sum(), x, create_graph=True)
        del x
        assert argument() is None
        node = weakref.ref(y.grad_fn)
        del y, first
        assert node() is None
    finally:
        gc.enable()


def test_random_numbers_are_drawn_again_for_a_second_derivative() -> None:
    @at.custom_vjp
    def noisy(x):
        return x**3

    def fwd(x):
        return x**3, at.rand(3, dtype=at.float64) * x**2

    noisy.defvjp(fwd, lambda residual, g: (g * residual,))
    x = at.tensor([1.0, 2.0, 3.0], dtype=at.float64, requires_grad=True)
    at.manual_seed(3)
    (first,) = at.autograd.grad(noisy(x).sum(), x, create_graph=True)
    after = at.get_rng_state()
    (second,) = at.autograd.grad(first.sum(), x)
    assert_close(second, 2 * first.detach() / x.detach())
    assert at.get_rng_state() == after


def test_inspect_names_the_rules(capsys) -> None:
    x, p = arguments()
    x.requires_grad_()
    for f, rule in ((by_vjp(), "model: bwd"), (by_jvp(), "model: rule, transposed")):
        at.inspect.print_tape(loss(f, x, p))
        assert rule in capsys.readouterr().out
        assert repr(f) == f"<{type(f).__name__} model>"


def test_a_second_run_that_differs_is_refused() -> None:
    count = iter(range(100))

    @at.custom_vjp
    def f(x):
        return x

    f.defvjp(lambda x: (x * 1, x * next(count)), lambda r, g: (g * r,))
    x = at.tensor(2.0, requires_grad=True)
    y = f(x)
    with pytest.raises(at.GradError, match="fwd was run again and gave other residuals"):
        at.autograd.grad(y, x, create_graph=True)


def test_in_place_changes_do_not_reach_what_is_kept() -> None:
    f = at.custom_vjp(lambda x: x * x)
    f.defvjp(lambda x: (x * x, x), lambda x, g: (2 * x * g,))
    x = at.tensor([3.0], requires_grad=True)
    y = f(x)
    with at.no_grad():
        x += 100
    assert at.autograd.grad(y, x)[0].tolist() == [6.0]


def test_an_argument_that_fwd_changes_in_place_is_no_longer_the_argument() -> None:
    def fwd(x):
        x *= 2
        return x * x / 4, x

    f = at.custom_vjp(lambda x: x * x)
    f.defvjp(fwd, lambda twice, g: (twice * g,))
    x = at.tensor(3.0, dtype=at.float64)
    assert (at.grad(f)(x).item(), at.grad(at.grad(f))(x).item()) == (6.0, 2.0)
    assert x.item() == 3.0


def test_nondiff_argnums_and_keywords() -> None:
    @partial(at.custom_vjp, nondiff_argnums=(0, 2))
    def apply_to(function, x, power=2):
        return function(x) ** power

    def fwd(function, x, power):
        return apply_to(function, x, power), x

    def bwd(function, power, x, g):
        y, pullback = at.vjp(function, x)
        return pullback(g * power * y ** (power - 1))

    apply_to.defvjp(fwd, bwd)
    assert_close(at.grad(lambda x: apply_to(at.sin, x))(0.5), 2 * at.sin(0.5) * at.cos(0.5))
    three = at.grad(lambda x: apply_to(at.sin, power=3, x=x))(0.5)
    assert_close(three, 3 * at.sin(0.5) ** 2 * at.cos(0.5))

    @at.custom_jvp(nondiff_argnums=[1])
    def scaled(x, factor):
        return x * factor

    scaled.defjvp(lambda factor, primals, tangents: (scaled(*primals, factor), tangents[0] * 7))
    assert at.grad(scaled)(1.0, 2.0).item() == 7.0
    w = at.tensor(1.0, requires_grad=True)
    with pytest.raises(at.GradError, match=r"given as one of the nondiff_argnums=\(1,\)"):
        scaled(w, w)
    far = at.custom_jvp(lambda x: x, nondiff_argnums=(3,))
    far.defjvp(lambda fixed, primals, tangents: (primals[0], tangents[0]))
    with pytest.raises(TypeError, match="nondiff_argnums asks for argument 3; the call has 1"):
        far(1.0)


def test_a_keyword_only_argument_is_refused() -> None:
    f = at.custom_vjp(lambda x, *, power: x**power)
    f.defvjp(lambda x: (x, None), lambda _, g: (g,))
    with pytest.raises(TypeError, match="the arguments power can only be given by keyword"):
        f(1.0, power=2)


def test_integers_text_and_none_pass_through() -> None:
    @at.custom_jvp
    def pick(x, index, how, extra):
        assert how == "twice"
        return x[index] * 2 + 0 * extra, index

    @pick.defjvp
    def rule(primals, tangents):
        index = primals[1]
        assert tangents[1:3] == (None, None)
        assert tangents[3] == 0.0
        return pick(*primals), (tangents[0][index] * 2, None)

    x = at.tensor([1.0, 2.0, 3.0], dtype=at.float64)
    index = at.tensor([2, 0])
    out, where = pick(x, index, "twice", 1.5)
    assert (out.tolist(), where.tolist()) == ([6.0, 2.0], [2, 0])
    found = at.grad(lambda x: pick(x, index, "twice", 1.5)[0].sum())(x)
    assert found.tolist() == [2.0, 0.0, 2.0]


@BOTH
def test_a_captured_tensor_is_refused(made) -> None:
    x, p = arguments()
    w = at.tensor(2.0, dtype=at.float64, requires_grad=True)
    f = made()
    if made is by_vjp:
        f.fwd = lambda x, p: (model(x * w, p), (x, x, p))
    f.function = lambda x, p: model(x * w, p)
    for call in (lambda: f(x, p), lambda: at.grad(partial(loss, f))(x, p)):
        with pytest.raises(at.GradError, match="requires a gradient and is not an argument"):
            call()
    with at.no_grad():
        assert not f(x, p)["wave"].requires_grad
    w.requires_grad_(False)
    at.grad(partial(loss, f))(x, p)


def test_what_rules_return_is_checked() -> None:
    x = at.ones(3)

    def reverse(bwd, fwd=lambda x: (x * 1, x)):
        f = at.custom_vjp(lambda x: x * 1)
        f.defvjp(fwd, bwd)
        return at.grad(lambda x: f(x).sum())

    def forward(rule):
        f = at.custom_jvp(lambda x: x * 1)
        f.defjvp(rule)
        return at.grad(lambda x: f(x).sum())

    with pytest.raises(at.GradError, match=r"for each of 1 argument\(s\); found 2"):
        reverse(lambda r, g: (g, g))(x)
    with pytest.raises(at.GradError, match=r"for each of 1 argument\(s\); found a Tensor"):
        reverse(lambda r, g: g)(x)
    with pytest.raises(at.GradError, match=r"gradient of shape \(\) for input 0 of shape \(3,\)"):
        reverse(lambda r, g: (g.sum(),))(x)
    with pytest.raises(at.ShapeError, match="cotangent of argument 0 must be nested as"):
        reverse(lambda r, g: ([g, g],))(x)
    with pytest.raises(TypeError, match=r"fwd returns a pair .* found Tensor"):
        reverse(lambda r, g: (g,), lambda x: x)(x)
    with pytest.raises(at.GradError, match=r"a pair \(result, tangent\); found Tensor"):
        forward(lambda primals, tangents: tangents[0])(x)
    with pytest.raises(at.GradError, match=r"tangent of shape \(\) for result 0 of shape \(3,\)"):
        forward(lambda primals, tangents: (primals[0], tangents[0].sum()))(x)
    assert reverse(lambda r, g: (None,))(x).tolist() == [0.0] * 3


def test_without_a_rule_it_says_so() -> None:
    with pytest.raises(at.TransformError, match=r"no rule yet; call f.defvjp\(fwd, bwd\) first"):
        at.custom_vjp(lambda x: x)(1.0)
    with pytest.raises(at.TransformError, match=r"no rule yet; call f.defjvp\(rule\) first"):
        at.custom_jvp(lambda x: x)(1.0)


def test_a_result_that_is_no_tensor_is_refused() -> None:
    f = at.custom_jvp(lambda x: "text")
    f.defjvp(lambda primals, tangents: ("text", None))
    with pytest.raises(at.TransformError, match="found a str"):
        at.grad(f)(1.0)


def test_a_bwd_that_is_used_once_for_each_example_sums_over_them() -> None:
    """An argument from outside of a vmap gets the sum, also where only a constant is batched."""
    f = at.custom_vjp(lambda x: x * x)
    c = at.tensor([1.0, 2.0, 3.0])

    def total(x):
        def one(c):
            f.defvjp(lambda x: (x * x * c, (x, c)), lambda r, g: (2 * r[0] * r[1] * g,))
            return f(x)

        return at.vmap(one)(c).sum()

    assert at.grad(total)(5.0).item() == 60.0
