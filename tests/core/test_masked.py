"""A zero cotangent stays zero through a singular derivative; everything else is as before."""

import math
from collections.abc import Callable

import pytest

import atled as at
from atled.core.autograd import jvp_of

# name, f, where it is singular, a regular point: where(x == regular, f(x), 0) has f's derivative
# there and 0 at the singular point.
SINGULAR: list[tuple[str, Callable[[at.Tensor], at.Tensor], float, float]] = [
    ("sqrt", at.sqrt, 0.0, 4.0),
    ("sqrt of a negative", at.sqrt, -1.0, 4.0),
    ("log", at.log, 0.0, 2.0),
    ("log of a negative", at.log, -1.0, 2.0),
    ("log1p", at.log1p, -1.0, 2.0),
    ("log2", at.log2, 0.0, 2.0),
    ("log10", at.log10, 0.0, 2.0),
    ("reciprocal", at.reciprocal, 0.0, 2.0),
    ("rsqrt", at.rsqrt, 0.0, 4.0),
    ("divide", lambda x: 3.0 / x, 0.0, 2.0),
    ("divide, the numerator", lambda x: x / (x - 1), 1.0, 3.0),
    ("power", lambda x: x**0.3, 0.0, 2.0),
    ("negative power", lambda x: x**-2, 0.0, 2.0),
    ("pow", lambda x: at.pow(x, at.full_like(x, 0.5)), 0.0, 2.0),
    ("pow, the exponent", lambda x: at.pow(at.where(x > 1, 2.0, -2.0), x), 0.5, 2.0),
    ("asin", at.asin, 1.0, 0.5),
    ("acos", at.acos, -1.0, 0.5),
    ("acosh", at.acosh, 1.0, 2.0),
    ("atanh", at.atanh, 1.0, 0.5),
    ("hypot", lambda x: at.hypot(x, 0 * x), 0.0, 2.0),
    ("atan2", lambda x: at.atan2(x, x), 0.0, 2.0),
    ("exp that overflows", lambda x: at.exp(x), 2000.0, 1.0),
    ("sinh that overflows", lambda x: at.sinh(x), 2000.0, 1.0),
    ("lgamma", at.lgamma, 0.0, 2.5),
    ("x log x", lambda x: x * at.log(x), 0.0, 2.0),
    ("times an infinite constant", lambda x: x * x * at.where(x > 1, 1.0, math.inf), 0.0, 2.0),
    ("norm", lambda x: at.sqrt(at.expand_dims(x * x, -1).sum(axis=-1)), 0.0, 2.0),
    ("std", lambda x: at.std(at.stack([x, 0 * x], axis=-1), axis=-1), 0.0, 2.0),
    ("logsumexp", lambda x: at.logsumexp(at.expand_dims(at.log(x), -1), axis=-1), 0.0, 2.0),
    ("softmax", lambda x: at.softmax(at.stack([at.log(x)] * 2, axis=-1))[..., 0] * x, 0.0, 2.0),
]
CASES = [pytest.param(*case[1:], id=case[0]) for case in SINGULAR]


@pytest.fixture(autouse=True)
def _no_warnings(request: pytest.FixtureRequest):
    """NumPy warns of the forward's infinities; they are meant here."""
    if "backend" in request.fixturenames:
        request.getfixturevalue("backend")
    with at.current_backend().quiet():
        yield


def masked(f: Callable[[at.Tensor], at.Tensor], regular: float) -> Callable[..., at.Tensor]:
    return lambda x: at.where(x == regular, f(x), 0.0)


def point(*values: float) -> at.Tensor:
    return at.tensor(list(values), dtype=at.float64, requires_grad=True)


def derivative(f: Callable[[at.Tensor], at.Tensor], x: at.Tensor) -> at.Tensor:
    return at.autograd.grad(f(x).sum(), x)[0]


def second(f: Callable[[at.Tensor], at.Tensor], x: at.Tensor) -> at.Tensor:
    (g,) = at.autograd.grad(f(x).sum(), x, create_graph=True)
    return at.autograd.grad(g.sum(), x)[0]


@pytest.mark.parametrize(("f", "singular", "regular"), CASES)
def test_first_order(f, singular: float, regular: float, backend: str) -> None:
    found = derivative(masked(f, regular), point(singular, regular)).tolist()
    expected = derivative(f, point(regular)).item()
    assert found == [0.0, pytest.approx(expected, rel=1e-12)]
    assert math.isfinite(expected)


@pytest.mark.parametrize(("f", "singular", "regular"), CASES)
def test_second_order(f, singular: float, regular: float, backend: str) -> None:
    found = second(masked(f, regular), point(singular, regular)).tolist()
    assert found == [0.0, pytest.approx(second(f, point(regular)).item(), rel=1e-12)]


@pytest.mark.parametrize(("f", "singular", "regular"), CASES)
def test_forward_mode(f, singular: float, regular: float, backend: str) -> None:
    x = point(singular, regular)
    y = masked(f, regular)(x)
    (t,) = jvp_of([y], [x], [at.ones_like(x)], create_graph=True)
    expected = derivative(f, point(regular)).item()
    assert t.tolist() == [0.0, pytest.approx(expected, rel=1e-12)]
    (over,) = at.autograd.grad(t.sum(), x)  # reverse over forward
    assert over.tolist() == [0.0, pytest.approx(second(f, point(regular)).item(), rel=1e-12)]


@pytest.mark.parametrize(("f", "singular", "regular"), CASES)
def test_compiled(f, singular: float, regular: float) -> None:
    pytest.importorskip("llvmlite", reason="compile needs llvmlite")
    x = point(singular, regular)
    compiled = at.compile(lambda x: at.autograd.grad(masked(f, regular)(x).sum(), x)[0])
    expected = derivative(f, point(regular)).item()
    assert compiled(x).tolist() == [0.0, pytest.approx(expected, rel=1e-10)]
    y = at.compile(masked(f, regular))(x)
    assert derivative(lambda _: y, x).tolist() == [0.0, pytest.approx(expected, rel=1e-10)]


def test_where_after_a_negative_root_hips_802(backend: str) -> None:
    f = lambda x: at.where(x >= 0, x, at.sqrt(-x))
    assert derivative(f, point(1.0)).item() == 1.0


def test_norms_of_rows_jax_347(backend: str) -> None:
    x = at.tensor([[1.0, 2.0], [3.0, 4.0], [0.0, 0.0]], dtype=at.float64, requires_grad=True)
    r = at.sqrt((x**2).sum(axis=1))
    at.where(r > 0.5, r, 1.0).sum().backward()
    root = math.sqrt(5)
    assert x.grad.tolist()[2] == [0.0, 0.0]
    assert x.grad.tolist()[0] == pytest.approx([1 / root, 2 / root])


def test_jax_5798_and_2630(backend: str) -> None:
    assert derivative(lambda x: at.where(x < 1.0, x, at.sqrt(x)), point(0.0)).item() == 1.0
    assert derivative(lambda x: at.where(x > 0, 0.0, x * math.inf), point(1.0)).item() == 0.0


def test_exp_that_overflows_pytorch_68425_tensorflow_2540(backend: str) -> None:
    f = lambda x: at.where(x <= 0, at.exp(x), 1 + x)
    assert derivative(f, point(1000.0)).item() == 1.0


def test_root_of_negatives_pytorch_187297_tensorflow_38467(backend: str) -> None:
    f = lambda x: at.where(x > 0, at.sqrt(x), x)
    assert derivative(f, point(-1.0, -4.0)).tolist() == [1.0, 1.0]


def test_quotient_pytorch_16317(backend: str) -> None:
    x, n = point(0.0, 1.0), at.tensor([0.0, 2.0], dtype=at.float64)
    at.where(n == 0, 0.0, x / n).sum().backward()
    assert x.grad.tolist() == [0.0, 0.5]


def test_quotient_masked_by_an_index(backend: str) -> None:
    """The example of PyTorch's notes on division by zero in autograd: there (nan, 1)."""
    x, n = point(1.0, 1.0), at.tensor([0.0, 1.0], dtype=at.float64)
    (x / n)[n != 0].sum().backward()
    assert x.grad.tolist() == [0.0, 1.0]


def test_weight_of_a_masked_logarithm_tensorflow_27684(backend: str) -> None:
    alpha, x = point(1.0), at.tensor([-1.0, 1.0, 2.0], dtype=at.float64)
    at.where(x > 0, alpha * at.log(x), 0.0).sum().backward()
    assert alpha.grad.item() == pytest.approx(math.log(2))


@pytest.mark.parametrize("mode", ["reverse", "forward"])
def test_zero_cotangents_have_derivatives(mode: str, backend: str) -> None:
    """(√x - 1)² at 1: the cotangent of √x is 0 there, and its derivative is not."""
    x = point(1.0)
    f = lambda x: (at.sqrt(x) - 1) ** 2
    if mode == "reverse":
        assert second(f, x).item() == pytest.approx(0.5)
    (g,) = at.autograd.grad(f(x).sum(), x, create_graph=True)
    (t,) = jvp_of([g], [x], [at.ones_like(x)])
    assert t.item() == pytest.approx(0.5)
    (t,) = jvp_of([f(x)], [x], [at.ones_like(x)], create_graph=True)
    assert at.autograd.grad(t.sum(), x)[0].item() == pytest.approx(0.5)


def test_third_derivatives_stay_zero_behind_a_mask(backend: str) -> None:
    x = point(0.0, 4.0)
    y = at.where(x > 0, at.sqrt(at.sin(x * x) + 0 * x + x), 0.0).sum()
    for _ in range(2):
        (g,) = at.autograd.grad(y, x, create_graph=True)
        y = g.sum()
    (g,) = at.autograd.grad(y, x)
    assert g.tolist()[0] == 0.0
    assert math.isfinite(g.tolist()[1])


def test_an_infinite_derivative_that_counts_stays(backend: str) -> None:
    assert derivative(at.sqrt, point(0.0)).item() == math.inf
    assert derivative(at.log, point(0.0)).item() == math.inf
    assert derivative(lambda x: 1 / x, point(0.0)).item() == -math.inf


def test_nan_is_not_hidden(backend: str) -> None:
    x = point(1.0, 0.0)
    nan = at.tensor([math.nan, math.nan], dtype=at.float64)
    (g,) = at.autograd.grad(at.sqrt(x), x, nan)
    assert all(map(math.isnan, g.tolist()))
    (g,) = at.autograd.grad((x * nan).sum(), x)  # a NaN operand under a cotangent of 1
    assert all(map(math.isnan, g.tolist()))
    assert math.isnan(derivative(at.sqrt, point(-1.0)).item())


def test_hooks_run_once(backend: str) -> None:
    x, calls = point(0.0, 4.0), []
    y = at.sqrt(x)
    y.register_hook(lambda g: calls.append(g.tolist()))
    at.where(x > 0, y, 0.0).sum().backward()
    assert x.grad.tolist() == [0.0, 0.25]
    assert calls == [[0.0, 1.0]]


def test_float16_and_gradients_that_accumulate() -> None:
    pytest.importorskip("numpy", reason="the python backend has float64 only")
    at.use("numpy")
    x = at.tensor([0.0, 4.0], dtype=at.float16, requires_grad=True)
    for _ in range(2):
        at.where(x > 0, at.sqrt(x), 0.0).sum().backward()
    assert x.grad.tolist() == [0.0, 0.5]
    assert x.grad.dtype is at.float16


def test_transforms(backend: str) -> None:
    f = lambda x: at.where(x > 0, at.sqrt(x), 0.0)
    x = at.tensor([0.0, 4.0], dtype=at.float64)
    total = lambda x: f(x).sum()
    assert at.grad(total)(x).tolist() == [0.0, 0.25]
    assert at.vmap(at.grad(f))(x).tolist() == [0.0, 0.25]
    assert at.jacfwd(f)(x).tolist() == [[0.0, 0.0], [0.0, 0.25]]
    assert at.hessian(total)(x).tolist() == [[0.0, 0.0], [0.0, -0.03125]]
    assert at.grad(lambda x: at.checkpoint(f)(x).sum())(x).tolist() == [0.0, 0.25]


# -- the setting


def test_the_setting_gives_nan_as_others_do(backend: str) -> None:
    at.set_safe_gradients(False)
    assert not at.get_safe_gradients()
    f = masked(at.sqrt, 4.0)
    assert math.isnan(derivative(f, point(0.0)).item())
    assert math.isnan(second(f, point(0.0)).item())
    at.set_safe_gradients(True)
    assert derivative(f, point(0.0)).item() == 0.0


def test_compiled_functions_notice_the_setting() -> None:
    pytest.importorskip("llvmlite", reason="compile needs llvmlite")
    f = at.compile(lambda x: at.autograd.grad(masked(at.sqrt, 4.0)(x).sum(), x)[0])
    x = point(0.0)
    for enabled in (True, False, True):
        at.set_safe_gradients(enabled)
        assert math.isnan(f(x).item()) is not enabled


def test_the_setting_is_a_bool() -> None:
    with pytest.raises(at.DTypeError, match="True or False is needed; found 'off'"):
        at.set_safe_gradients("off")
    assert at.get_safe_gradients()


# -- what compile leaves out


def guarded(f: Callable[[at.Tensor], at.Tensor]) -> bool:
    """Say whether a compiled gradient compares anything: its guards do, these functions do not."""
    compiled = at.compile(lambda x: at.autograd.grad(f(x).sum(), x)[0])
    compiled(point(0.5, 1.0))
    return "equal" in str(compiled.explain())


def test_compiled_products_of_tame_values_have_no_guard() -> None:
    pytest.importorskip("llvmlite", reason="compile needs llvmlite")
    below = lambda f: lambda x: at.where(x < 2, f(x), 0.0)
    assert not guarded(below(lambda x: at.tanh(x * x + 1) * at.exp(-(x * x))))
    assert not guarded(below(lambda x: x / at.sqrt(x * x + 1e-5)))
    assert not guarded(below(lambda x: at.log(x * x + 1.0) * at.sigmoid(x)))
    assert guarded(below(lambda x: x * at.log(x)))
    assert guarded(below(lambda x: x / at.sqrt(x * x)))
    assert guarded(below(lambda x: at.exp(at.exp(x))))
    assert not guarded(lambda x: x * at.log(x))  # nothing is masked


# -- zeros that are no masks


@pytest.mark.parametrize("order", ["reverse", "forward"])
@pytest.mark.parametrize(
    ("f", "at_"),
    [
        pytest.param(lambda x: at.log(1 + at.exp(x)), 1000.0, id="softplus"),  # 1, not 0
        pytest.param(lambda x: at.sqrt(x) ** 2, 0.0, id="a square of a root"),  # 1
        pytest.param(lambda x: at.pow(x**3, 1 / 3), 0.0, id="a root of a cube"),  # 1
    ],
)
def test_a_zero_that_only_happens_is_not_taken_for_a_mask(f, at_, order, backend: str) -> None:
    x = point(at_)
    if order == "reverse":
        assert math.isnan(derivative(f, x).item())
    else:
        assert math.isnan(jvp_of([f(x)], [x], [at.ones_like(x)])[0].item())


def test_it_is_not_where_something_else_is_masked(backend: str) -> None:
    x = point(1000.0, 1.0, 0.0)
    found = derivative(lambda x: at.where(x > 0.5, at.log(1 + at.exp(x)), 0.0), x).tolist()
    assert math.isnan(found[0])
    assert found[1:] == [pytest.approx(1 / (1 + math.exp(-1))), 0.0]


# -- what masks


MASKS: list[tuple[str, Callable[[at.Tensor], at.Tensor]]] = [
    ("where", lambda y: at.where(at.tensor([False, True]), y, 1.0)),
    ("index", lambda y: y[1]),
    ("boolean index", lambda y: y[at.tensor([False, True])]),
    ("gather", lambda y: at.take(y, at.tensor([1, 1]))),
    ("constant factor", lambda y: y * at.tensor([0.0, 3.0], dtype=at.float64)),
    ("relu", lambda y: at.nn.functional.relu(y - 1)),
    ("clip", lambda y: at.clip(y, 1.0, 5.0)),
    ("maximum", lambda y: at.maximum(y, 1.0)),
    ("max", lambda y: y.max()),
    ("prod", lambda y: y[1:].prod()),
    ("cumulative sum", lambda y: at.cumulative_sum(at.flip(y))[0]),
    ("written over", lambda y: at.concat([at.ones(1, dtype=at.float64), y[1:]])),
    ("unbound", lambda y: list(y)[1]),
    ("sorted", lambda y: at.sort(y)[1]),
    ("triangle", lambda y: at.triu(at.stack([y, y]))[1]),
]


@pytest.mark.parametrize("f", [pytest.param(f, id=name) for name, f in MASKS])
@pytest.mark.parametrize("how", ["eager", "recorded", "batched", "compiled", "jacobian"])
def test_masks(f, how: str, backend: str) -> None:
    """The gradient of f(√x) at (0, 4), where f cuts the first element off."""
    g = lambda x: f(at.sqrt(x)).sum()
    x = point(0.0, 4.0)
    if how == "eager":
        found = derivative(g, x)
    elif how == "recorded":
        (found,) = at.autograd.grad(g(x), x, create_graph=True)
    elif how == "batched":
        found = at.vmap(at.grad(g))(at.stack([x.detach(), x.detach()]))[1]
    elif how == "jacobian":
        found = at.jacobian(lambda x: f(at.sqrt(x)))(x.detach())
        found = found.sum(axis=0) if found.ndim > 1 else found
    else:
        pytest.importorskip("llvmlite", reason="compile needs llvmlite")
        if backend != "numpy":
            pytest.skip("programs run on NumPy's arrays")
        if f is dict(MASKS)["boolean index"]:
            pytest.skip("its shape depends on values, which compile refuses")
        found = at.compile(at.grad(g))(x.detach())
    slope = derivative(lambda x: f(at.sqrt(x)).sum(), point(1.0, 4.0)).tolist()[1]
    assert found.tolist() == [0.0, pytest.approx(slope)]
    assert slope > 0


def test_rows_of_a_jacobian_are_masks_too(backend: str) -> None:
    x = at.tensor([0.0, 4.0], dtype=at.float64)
    expected = [[math.inf, 0.0], [0.0, 0.25]]
    assert at.jacrev(at.sqrt)(x).tolist() == expected
    assert at.jacfwd(at.sqrt)(x).tolist() == expected
    _, pull = at.vjp(at.sqrt, x)
    v = at.tensor([0.0, 1.0], dtype=at.float64)
    assert pull(v)[0].tolist() == [0.0, 0.25]
    assert at.jvp(at.sqrt, (x,), (v,))[1].tolist() == [0.0, 0.25]


# -- what counts beside a mask


NAN_BESIDE = "a NaN beside it makes the walk take its masks along"


@pytest.mark.parametrize("recorded", [False, True])
def test_a_result_that_is_differentiated_itself_is_not_masked(recorded: bool, backend: str) -> None:
    """y counts as a result, though its other way on is masked: 1 · eˣ + 0 · eˣ."""
    x, away = point(1.0, 2.0), point(-1.0)
    y = at.exp(x)
    masked_ = at.where(at.tensor([True, False]), y, 0.0)
    outputs = [y, masked_, at.sqrt(away)]
    ones = at.ones(2, dtype=at.float64)
    seeds = [at.ones(2, dtype=at.float64, requires_grad=True), ones, at.ones(1, dtype=at.float64)]
    g, nan = at.autograd.grad(outputs, [x, away], seeds, create_graph=recorded)
    assert math.isnan(nan.item()), NAN_BESIDE
    assert g.tolist() == pytest.approx([2 * math.e, math.e**2])


def test_a_number_that_is_differentiated_itself_is_not_masked(backend: str) -> None:
    x = at.tensor(1.0, dtype=at.float64, requires_grad=True)
    y = at.exp(x)
    at.autograd.backward([y, y * at.tensor(0.0, dtype=at.float64)], create_graph=True)
    assert x.grad.item() == pytest.approx(math.e)


def test_what_a_hook_adds_is_not_masked(backend: str) -> None:
    x = point(1.0, 2.0)
    y = at.exp(x)
    y.register_hook(lambda g: g + 1)
    at.where(at.tensor([True, False]), y, 0.0).sum().backward()
    assert x.grad.tolist() == pytest.approx([2 * math.e, math.e**2])


def test_what_a_hook_scales_stays_masked(backend: str) -> None:
    x = point(0.0, 4.0)
    y = at.sqrt(x)
    y.register_hook(lambda g: 2 * g)
    at.where(x > 0, y, 0.0).sum().backward()
    assert x.grad.tolist() == [0.0, 0.5]


def test_results_of_a_checkpoint_that_are_one_another(backend: str) -> None:
    """One of its results is masked behind it, the other, the same array, is not."""

    def twice(x: at.Tensor) -> tuple[at.Tensor, at.Tensor]:
        y = at.exp(x)
        return y, y

    def f(x: at.Tensor) -> at.Tensor:
        a, b = at.checkpoint(twice)(x)
        return (a + at.where(at.tensor([True, False]), b, 0.0)).sum()

    x = at.tensor([1.0, 2.0], dtype=at.float64)
    assert at.grad(f)(x).tolist() == pytest.approx([2 * math.e, math.e**2])


@pytest.mark.parametrize("zero", [0.0, 0, False])
@pytest.mark.parametrize("mode", ["reverse", "forward"])
def test_a_number_of_zero_is_a_constant_factor_too(zero: float, mode: str, backend: str) -> None:
    x = at.tensor([0.0, 1.0], dtype=at.float64)
    penalised = lambda x: (x + zero * at.sqrt(x)).sum() + zero * at.norm(0.0 * x)
    assert at.jacobian(penalised, mode=mode)(x).tolist() == [1.0, 1.0]


@pytest.mark.parametrize("mode", ["reverse", "forward", "recorded", "compiled"])
@pytest.mark.parametrize(
    "f",
    [
        pytest.param(lambda x, b: at.sqrt(b * x), id="before a root"),  # √0 whatever x is
        pytest.param(lambda x, b: b * at.sqrt(x), id="behind a root"),
    ],
)
def test_a_constant_factor_of_zero_masks_before_and_behind(f, mode: str, backend: str) -> None:
    b = at.tensor([0.0, 4.0], dtype=at.float64)
    x = at.tensor([0.0, 1.0], dtype=at.float64)
    g = lambda x: f(x, b).sum()
    if mode == "recorded":
        v = point(0.0, 1.0)
        (found,) = at.autograd.grad(g(v), v, create_graph=True)
    elif mode == "compiled":
        pytest.importorskip("llvmlite", reason="compile needs llvmlite")
        if backend != "numpy":
            pytest.skip("programs run on NumPy's arrays")
        found = at.compile(at.grad(g))(x)
    else:
        found = at.jacobian(g, mode=mode)(x)
    slope = derivative(lambda x: f(x, at.tensor(4.0, dtype=at.float64)), point(1.0)).item()
    assert found.tolist() == [0.0, pytest.approx(slope)]


@pytest.mark.parametrize("order", ["reverse", "forward", "recorded", "batched", "compiled"])
@pytest.mark.parametrize(
    "f",
    [
        pytest.param(lambda x: at.sqrt(at.maximum(x, 0.0)), id="maximum"),
        pytest.param(lambda x: at.sqrt(at.clip(x, 0.0, 1.0)), id="clip"),
        pytest.param(lambda x: at.sqrt(at.nn.functional.relu(x)), id="relu"),
        pytest.param(lambda x: -at.sqrt(-at.minimum(x, 0.0)) * (x < 0), id="minimum"),
        pytest.param(lambda x: at.clip(1 / (x + 2.0), 0.0, 1.0), id="before"),
        pytest.param(lambda x: at.sqrt(at.stack([x, at.zeros_like(x)]).max(axis=0)), id="max"),
    ],
)
def test_what_multiplies_by_zero_cuts_too(f, order: str, backend: str) -> None:
    """At -2 (and 2 for the minimum) f is constant around; the infinity is on either side."""
    value = 2.0 if math.isnan(f(at.tensor(-3.0)).item()) or f(at.tensor(-3.0)).item() < 0 else -2.0
    x = point(value)
    total = lambda x: f(x).sum()
    if order == "reverse":
        found = derivative(f, x)
    elif order == "forward":
        found = at.jvp(f, (x.detach(),), (at.ones_like(x),))[1]
    elif order == "recorded":
        (found,) = at.autograd.grad(total(x), x, create_graph=True)
    elif order == "batched":
        found = at.vmap(at.grad(total))(at.stack([x.detach(), x.detach()]))[0]
    else:
        pytest.importorskip("llvmlite", reason="compile needs llvmlite")
        if backend != "numpy":
            pytest.skip("programs run on NumPy's arrays")
        found = at.compile(at.grad(total))(x.detach())
    assert found.tolist() == [0.0]


def test_a_zero_direction_of_one_number_is_a_mask(backend: str) -> None:
    zero, one = at.tensor(0.0, dtype=at.float64), at.tensor(1.0, dtype=at.float64)
    f = lambda p: at.sqrt(p["a"]) + p["b"]
    _, t = at.jvp(f, ({"a": zero, "b": one},), ({"a": zero, "b": one},))
    assert t.item() == 1.0
    _, pull = at.vjp(lambda x: (at.sqrt(x), x), zero)
    assert pull((zero, one))[0].item() == 1.0
