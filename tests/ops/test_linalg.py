"""Linear algebra by hand: edges, errors, and second derivatives; the rest is generated."""

import random
from typing import Any

import pytest

import atled as at
from atled import autograd
from atled.core.interop import InteropError
from atled.testing import assert_close, check_grads

LINALG = at.linalg


def _random(*shape: int, seed: int = 0, dtype: Any = at.float64) -> at.Tensor:
    dice = random.Random(f"{shape} {seed}")
    size = 1
    for n in shape:
        size *= n
    values = [dice.uniform(-2, 2) for _ in range(size)]
    return at.reshape(at.tensor(values, dtype=dtype), shape)


def _positive(*shape: int, dtype: Any = at.float64) -> at.Tensor:
    x = _random(*shape, dtype=dtype)
    return x @ x.mT + at.eye(shape[-1], dtype=dtype)


# -- what they give, on every backend


@pytest.mark.parametrize("lead", [(), (2,), (3, 2)])
@pytest.mark.parametrize("n", [0, 1, 2, 5])
def test_factors_multiply_back(lead: tuple[int, ...], n: int, backend: str) -> None:
    x = _random(*lead, n, n)
    p, low, up = LINALG.lu(x)
    assert_close(p @ low @ up, x, 1e-12, 1e-12)
    assert_close(at.tril(low), low)
    assert_close(at.triu(up), up)
    assert (at.abs(low) <= 1).all()
    positive = _positive(*lead, n, n)
    low = LINALG.cholesky(positive)
    assert_close(low @ low.mT, positive, 1e-12, 1e-12)
    up = LINALG.cholesky(positive, upper=True)
    assert_close(up, low.mT)
    assert_close(positive.cholesky(), low)


@pytest.mark.parametrize("n", [0, 1, 2, 5])
@pytest.mark.parametrize(("of_a", "of_b"), [((), ()), ((2,), ()), ((), (3,)), ((2, 1), (3,))])
def test_solutions_solve(of_a: Any, of_b: Any, n: int, backend: str) -> None:
    a, b = _random(*of_a, n, n), _random(*of_b, n, 2)
    x = LINALG.solve(a, b)
    stack = at.broadcast_shapes(of_a, of_b)
    assert x.shape == (*stack, n, 2)
    assert_close(a @ x, at.broadcast_to(b, x.shape), 1e-11, 1e-11)
    assert_close(LINALG.lu_solve(*LINALG.lu_factor(a), b), x, 1e-11, 1e-11)
    assert_close(LINALG.inv(a) @ b, x, 1e-10, 1e-10)
    positive = _positive(*of_a, n, n)
    for upper in (False, True):
        factor = LINALG.cholesky(positive, upper=upper)
        y = at.cholesky_solve(b, factor, upper=upper)
        assert_close(positive @ y, at.broadcast_to(b, x.shape), 1e-11, 1e-11)
        z = LINALG.solve_triangular(factor, b, upper=upper)
        assert_close(factor @ z, at.broadcast_to(b, x.shape), 1e-11, 1e-11)
        z = LINALG.solve_triangular(factor, b.mT, upper=upper, left=False)
        assert_close(z @ factor, at.broadcast_to(b.mT, z.shape), 1e-11, 1e-11)


def test_a_vector_is_a_right_hand_side_for_every_matrix(backend: str) -> None:
    a, b = _random(4, 3, 3), _random(3)
    x = LINALG.solve(a, b)
    assert x.shape == (4, 3)
    assert_close(at.squeeze(a @ x[:, :, None], -1), at.broadcast_to(b, (4, 3)), 1e-11, 1e-11)
    with pytest.raises(at.ShapeError, match=r"solve: shapes \(4, 3, 3\) and \(4, 1\) do not fit"):
        LINALG.solve(a, _random(4, 1))


def test_no_elements_and_no_matrices(backend: str) -> None:
    nothing = at.zeros((0, 0), dtype=at.float64, requires_grad=True)
    assert LINALG.det(nothing).item() == 1
    sign, size = LINALG.slogdet(nothing)
    assert (sign.item(), size.item()) == (1, 0)
    LINALG.det(nothing).backward()
    assert nothing.grad is not None
    assert nothing.grad.shape == (0, 0)
    none = at.zeros((0, 3, 3), dtype=at.float64)
    assert LINALG.solve(none, _random(3, 2)).shape == (0, 3, 2)
    assert LINALG.det(none).shape == (0,)
    assert LINALG.inv(none).shape == LINALG.cholesky(none).shape == (0, 3, 3)
    assert LINALG.solve(_random(3, 3), at.zeros((3, 0), dtype=at.float64)).shape == (3, 0)


def test_dtypes(backend: str) -> None:
    assert LINALG.inv(at.tensor([[2, 0], [0, 4]])).dtype is at.get_default_dtype()
    assert at.det([[2, 1], [1, 1]]).item() == pytest.approx(1)
    mixed = LINALG.solve(_random(2, 2), [1, 2])
    assert mixed.dtype is at.float64
    if at.float32 in at.current_backend().dtypes:
        x = _random(3, 3, dtype=at.float32)
        for y in (LINALG.inv(x), LINALG.det(x), LINALG.slogdet(x)[1], LINALG.lu(x).U,
                  LINALG.cholesky(_positive(3, 3, dtype=at.float32)),
                  LINALG.solve(x, _random(3, dtype=at.float32))):  # fmt: skip
            assert y.dtype is at.float32
        assert LINALG.solve(x, _random(3)).dtype is at.float64
        x.requires_grad_()
        LINALG.det(x).backward()
        assert x.grad.dtype is at.float32
        assert_close(x.grad, LINALG.det(x.detach()) * LINALG.inv(x.detach()).mT, 1e-4, 1e-4)


def test_float16_is_refused() -> None:
    pytest.importorskip("numpy", reason="the python backend has no float16")
    x = at.eye(2, dtype=at.float16)
    with pytest.raises(at.DTypeError, match=r"inv: matrices are float32 or float64; found float16"):
        LINALG.inv(x)


# -- what is refused


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("inv", LINALG.inv),
        ("det", at.det),
        ("slogdet", at.slogdet),
        ("logdet", at.logdet),
        ("cholesky", LINALG.cholesky),
        ("lu", LINALG.lu),
        ("lu_factor", LINALG.lu_factor),
        ("solve", lambda x: LINALG.solve(x, x)),
        ("solve_triangular", lambda x: LINALG.solve_triangular(x, x, upper=True)),
    ],
)
def test_a_square_matrix_is_asked_for(name: str, function: Any, backend: str) -> None:
    for shape in ((3,), (2, 3), (4, 3, 2)):
        found = r"found shape \({}.*\)".format(", ".join(map(str, shape)))
        with pytest.raises(at.ShapeError, match=f"{name}: a square matrix is needed.*{found}"):
            function(at.zeros(shape, dtype=at.float64))


def test_right_hand_sides_that_do_not_fit(backend: str) -> None:
    a = _positive(3, 3)
    for b in (_random(2), _random(2, 2)):
        with pytest.raises(at.ShapeError, match=r"solve: .*3 equations need right-hand sides"):
            LINALG.solve(a, b)
    with pytest.raises(at.ShapeError, match=r"cholesky_solve: shapes .* do not fit"):
        at.cholesky_solve(_random(2, 2), a)
    with pytest.raises(at.ShapeError, match=r"lu_solve: shapes .* do not fit"):
        LINALG.lu_solve(*LINALG.lu_factor(a), _random(3))
    with pytest.raises(at.ShapeError, match=r"solve_triangular: a matrix is needed"):
        LINALG.solve_triangular(a, _random(3), upper=True, left=False)
    with pytest.raises(at.ShapeError, match=r"solve: .*do not broadcast: 2 meets 3"):
        LINALG.solve(_random(2, 3, 3), _random(3, 3, 1))


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("solve", lambda x: LINALG.solve(x, at.ones(2, dtype=at.float64))),
        ("inv", LINALG.inv),
        ("lu_factor", LINALG.lu_factor),
    ],
)
def test_a_singular_matrix_is_named(name: str, function: Any, backend: str) -> None:
    singular = at.tensor([[1.0, 2.0], [2.0, 4.0]], dtype=at.float64)
    with pytest.raises(at.LinAlgError, match=f"{name}: the matrix is singular: pivot 2 of 2"):
        function(singular)
    stack = at.stack([at.eye(2, dtype=at.float64), singular, singular])
    with pytest.raises(ValueError, match=r"the matrix at index \(1,\) of the stack is singular"):
        function(stack)


def test_a_matrix_that_is_not_positive_definite_is_named(backend: str) -> None:
    x = at.tensor([[2.0, 0.0, 0.0], [0.0, 1.0, 2.0], [0.0, 2.0, 1.0]], dtype=at.float64)
    with pytest.raises(at.LinAlgError, match=r"the matrix is not positive.*part of order 3 is not"):
        LINALG.cholesky(x)
    stack = at.stack([at.eye(3, dtype=at.float64), x[[1, 0, 2]]])
    with pytest.raises(at.LinAlgError, match=r"at index \(1,\) of the stack.*order 1 is not"):
        LINALG.cholesky(stack - at.reshape(at.tensor([0.0, 3.0], dtype=at.float64), (2, 1, 1)))
    with pytest.raises(at.LinAlgError, match=r"not positive definite"):
        LINALG.cholesky(at.full((2, 2), at.nan, dtype=at.float64))


def test_names_that_are_not_there_are_told() -> None:
    with pytest.raises(AttributeError, match=r"atled.linalg has no 'svd'; it has cholesky, cross"):
        LINALG.svd


def test_the_parts_of_the_standard_work_on_the_last_two_axes(backend: str) -> None:
    x = _random(2, 3, 3)
    assert_close(LINALG.trace(x), at.stack([at.trace(x[0]), at.trace(x[1])]))
    assert LINALG.diagonal(x).shape == (2, 3)
    assert_close(LINALG.multi_dot([x, x]), x @ x)


# -- singular matrices


def test_det_of_a_singular_matrix_has_its_gradient(backend: str) -> None:
    """The matrix of cofactors: of rank one at rank n - 1, zero below."""
    line = at.tensor([[1.0, 2.0], [2.0, 4.0]], dtype=at.float64, requires_grad=True)
    LINALG.det(line).backward()
    assert_close(line.grad, at.tensor([[4.0, -2.0], [-2.0, 1.0]], dtype=at.float64), 1e-12, 1e-12)
    for x in (
        [[0.0, 1.0, 2.0], [0.0, 1.0, 3.0], [0.0, 2.0, 1.0]],  # the first pivot is zero
        [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]],  # every pivot is
        [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]],  # the last is, up to rounding
        [[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [3.0, 6.0, 9.0]],  # of rank 1
        [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]],
    ):
        check_grads(LINALG.det, at.tensor(x, dtype=at.float64), order=1)
        stack = at.tensor([x, [[1.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 3.0]]])
        check_grads(LINALG.det, stack.astype(at.float64), order=1)


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_cofactors_of_a_determinant_beyond_the_range(scale: float, backend: str) -> None:
    x = (scale * at.eye(2, dtype=at.float64)).requires_grad_()
    with at.current_backend().quiet():
        LINALG.det(x).backward()
    assert_close(x.grad / scale, at.eye(2, dtype=at.float64), 1e-12, 1e-12)


def test_nan_stays_in_its_own_matrix(backend: str) -> None:
    singular, unknown = [[1.0, 2.0], [2.0, 4.0]], [[at.nan, 1.0], [1.0, 1.0]]
    x = at.tensor([singular, unknown], dtype=at.float64, requires_grad=True)
    LINALG.det(x).sum().backward()
    assert_close(x.grad[0], at.tensor([[4.0, -2.0], [-2.0, 1.0]], dtype=at.float64), 1e-12, 1e-12)
    assert at.isnan(x.grad[1]).any()
    for y in (LINALG.slogdet(x)[1], LINALG.solve(x[1], at.ones(2, dtype=at.float64))):
        assert at.isnan(y).any()


def test_the_second_derivative_of_det_needs_an_inverse(backend: str) -> None:
    x = at.tensor([[1.0, 2.0], [2.0, 4.0]], dtype=at.float64, requires_grad=True)
    (g,) = autograd.grad(LINALG.det(x), [x], create_graph=True)
    with pytest.raises(at.LinAlgError, match=r"the second derivative of det: the matrix is sing"):
        g.sum().backward()


def test_slogdet_of_a_singular_matrix(backend: str) -> None:
    x = at.tensor([[1.0, 2.0], [2.0, 4.0]], dtype=at.float64, requires_grad=True)
    sign, size = LINALG.slogdet(x)
    assert (sign.item(), size.item()) == (0, -at.inf)
    assert at.logdet(x).item() == -at.inf
    size.backward()
    assert not at.isfinite(x.grad).any()
    x.grad = None
    LINALG.slogdet(x).sign.backward()
    assert_close(x.grad, at.zeros((2, 2), dtype=at.float64))


def test_det_does_not_overflow_where_slogdet_is_asked(backend: str) -> None:
    x = 1e200 * at.tensor([[0.0, 1.0], [1.0, 0.0]], dtype=at.float64)
    sign, size = LINALG.slogdet(x)
    assert sign.item() == -1
    assert size.item() == pytest.approx(2 * 460.51701859880916)
    assert at.isnan(at.logdet(x))


def test_a_zero_on_the_diagonal_of_a_triangle_is_inf(backend: str) -> None:
    a = at.tensor([[1.0, 0.0], [1.0, 0.0]], dtype=at.float64)
    with at.current_backend().quiet():
        y = LINALG.solve_triangular(a, at.tensor([[1.0], [3.0]], dtype=at.float64), upper=False)
    assert y.tolist() == [[1.0], [at.inf]]


# -- derivatives


def test_the_gradient_of_cholesky_is_symmetric(backend: str) -> None:
    x = _positive(4, 4).requires_grad_()
    at.sum(LINALG.cholesky(x) * _random(4, 4, seed=1)).backward()
    assert_close(x.grad, x.grad.mT, 1e-13, 1e-13)


def test_stacks_that_broadcast_have_their_gradients(backend: str) -> None:
    a, b = _positive(2, 1, 2, 2), _random(3, 2, 1)
    check_grads(LINALG.solve, (a, b), order=2)
    check_grads(LINALG.solve, (a[0, 0], b), order=1)
    check_grads(LINALG.solve, (a, b[0, :, 0]), order=1)
    check_grads(lambda a, b: LINALG.solve_triangular(a, b, upper=True), (a, b), order=1)


def test_factors_that_are_kept_are_differentiated(backend: str) -> None:
    def solved(a: Any, b: Any) -> Any:
        return LINALG.lu_solve(*LINALG.lu_factor(a), b)

    a, b = _random(3, 3), _random(3, 2)
    check_grads(solved, (a, b), order=2)
    xs = [a.requires_grad_(), b.requires_grad_()]
    weights = _random(3, 2, seed=5)
    found = autograd.grad(at.sum(solved(*xs) * weights), xs)
    expected = autograd.grad(at.sum(LINALG.solve(*xs) * weights), xs)
    assert_close(list(found), list(expected), 1e-9, 1e-9)


def test_third_order(backend: str) -> None:
    x = at.tensor([[2.0, 0.5], [0.25, 1.5]], dtype=at.float64)
    for f in (LINALG.det, at.logdet, LINALG.inv, lambda x: LINALG.cholesky(x @ x.mT)):
        check_grads(f, x, order=3)


def test_the_hessian_of_a_log_determinant(backend: str) -> None:
    """∂²log|det X| / ∂Xᵢⱼ∂Xₖₗ = -(X⁻¹)ⱼₖ (X⁻¹)ₗᵢ."""
    n = 4
    x = _positive(n, n).requires_grad_()
    (g,) = autograd.grad(LINALG.slogdet(x).logabsdet, [x], create_graph=True)
    rows = [autograd.grad(g[i, j], [x], retain_graph=True)[0] for i in range(n) for j in range(n)]
    found = at.reshape(at.stack(rows), (n, n, n, n))
    inverse = LINALG.inv(x.detach())
    assert_close(found, -at.einsum("jk,li->ijkl", inverse, inverse), 1e-10, 1e-10)


# -- beside the libraries


def test_second_order_equals_torch() -> None:
    torch = pytest.importorskip("torch", reason="torch is what it is compared with")
    numpy = pytest.importorskip("numpy", reason="values pass through NumPy")
    pairs = [
        (LINALG.det, torch.linalg.det),
        (at.logdet, torch.logdet),
        (LINALG.inv, torch.linalg.inv),
        (LINALG.cholesky, torch.linalg.cholesky),
        (lambda x: LINALG.solve(x, x @ x)[1], lambda x: torch.linalg.solve(x, x @ x)[1]),
        (lambda x: LINALG.lu(x).U, lambda x: torch.linalg.lu(x).U),
        (lambda x: LINALG.solve_triangular(x, x.mT, upper=False),
         lambda x: torch.linalg.solve_triangular(x, x.mT, upper=False)),
    ]  # fmt: skip
    for ours, theirs in pairs:
        x = _positive(3, 3).requires_grad_()
        t = torch.tensor(x.detach().numpy(), requires_grad=True)
        found = []
        for space, f, z in ((at.autograd, ours, x), (torch.autograd, theirs, t)):
            y = f(z)
            (g,) = space.grad((y * y).sum(), [z], create_graph=True)
            (h,) = space.grad((g * g * g).sum(), [z])
            found.append((g.detach().numpy(), h.numpy()))
        numpy.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-10, atol=1e-10)
        numpy.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-9, atol=1e-9)


def test_solve_by_both_operands_equals_torch(backend: str) -> None:
    torch = pytest.importorskip("torch", reason="torch is what it is compared with")
    for of_a, of_b in (((3, 3), (3,)), ((2, 3, 3), (3, 2)), ((2, 1, 3, 3), (4, 3, 1))):
        a, b = _random(*of_a, seed=3), _random(*of_b, seed=4)
        ts = [torch.tensor(v.tolist(), dtype=torch.float64, requires_grad=True) for v in (a, b)]
        xs = [a.requires_grad_(), b.requires_grad_()]
        (LINALG.solve(*xs) ** 2).sum().backward()
        (torch.linalg.solve(*ts) ** 2).sum().backward()
        for x, t in zip(xs, ts, strict=True):
            assert_close(x.grad, at.tensor(t.grad.tolist(), dtype=at.float64), 1e-9, 1e-9)


@pytest.mark.parametrize("count", [1, 2, 40])
def test_numpy_without_scipy_computes_the_same(count: int, monkeypatch: Any) -> None:
    numpy = pytest.importorskip("numpy", reason="it is NumPy's arrays that are factored")
    lapack = pytest.importorskip("atled.backends.lapack", reason="it needs NumPy")
    x = _random(count, 5, 5).numpy()
    y = _random(count, 5, 3).numpy()

    def results() -> list[Any]:
        packed, p = lapack.lu(x, needed_by="solve")
        found = [packed, p, lapack.cofactor(x)]
        for lower in (False, True):
            for unit in (False, True):
                for transposed in (False, True):
                    options = {"lower": lower, "unit_diagonal": unit, "transposed": transposed}
                    found.append(lapack.triangular_solve(packed, y, **options))
        return found

    with_scipy = results()
    monkeypatch.setattr(lapack, "_library", lambda which, dtype: None)
    for a, b in zip(with_scipy, results(), strict=True):
        numpy.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


def test_numpys_functions_on_tensors_are_these() -> None:
    np = pytest.importorskip("numpy", reason="its functions are called")
    x, b = _positive(3, 3).requires_grad_(), _random(3)
    a = x.detach().numpy()
    for found, expected in (
        (np.linalg.solve(x, b), np.linalg.solve(a, b.numpy())),
        (np.linalg.solve(a, b.requires_grad_()), np.linalg.solve(a, b.detach().numpy())),
        (np.linalg.inv(x), np.linalg.inv(a)),
        (np.linalg.det(x), np.linalg.det(a)),
        (np.linalg.slogdet(x).logabsdet, np.linalg.slogdet(a).logabsdet),
        (np.linalg.cholesky(x), np.linalg.cholesky(a)),
        (np.linalg.cholesky(x, upper=True), np.linalg.cholesky(a, upper=True)),
    ):
        assert isinstance(found, at.Tensor)
        assert found.requires_grad
        np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-12)
    with pytest.raises(InteropError, match=r"np.linalg.svd has no derivative in atled"):
        np.linalg.svd(x)


# -- in compiled functions


def _whitened(x: at.Tensor, b: at.Tensor) -> at.Tensor:
    sign, size = LINALG.slogdet(x)
    p, low, _ = LINALG.lu(x)
    y = at.tanh(LINALG.solve(x, b)) * sign
    return (y * y).sum() + at.exp(-size) + (p @ low).sum() + LINALG.det(x)


def test_a_compiled_function_calls_them_between_native_parts() -> None:
    pytest.importorskip("llvmlite", reason="programs are compiled by llvmlite")
    compiled = at.compile(_whitened)
    for seed in range(3):
        x, b = _random(4, 4, seed=seed), _random(4, 2, seed=seed)
        found = [t.detach().requires_grad_() for t in (x, b)]
        expected = [t.detach().requires_grad_() for t in (x, b)]
        y, z = compiled(*found), _whitened(*expected)
        assert_close(y, z, 1e-12, 1e-12)
        y.backward()
        z.backward()
        assert_close([t.grad for t in found], [t.grad for t in expected], 1e-12, 1e-12)
    assert compiled.stats().eager == 0
    text = compiled.explain()
    assert "lu, result 1: a factorisation is a call of the backend's library" in text
    with pytest.raises(at.TraceError, match=r"strict=True.*lu"):
        at.compile(_whitened, strict=True)(*found)


def test_one_call_gives_all_results(monkeypatch: Any) -> None:
    pytest.importorskip("llvmlite", reason="programs are compiled by llvmlite")
    compiled = at.compile(lambda x: LINALG.lu(x).U.sum() + LINALG.lu(2 * x).P.sum())
    x = _random(3, 3)
    compiled(x)
    backend, calls = at.current_backend(), []
    plain = backend.lu
    monkeypatch.setattr(backend, "lu", lambda x, **o: calls.append(x) or plain(x, **o))
    compiled(x + 1)
    assert len(calls) == 2


def test_a_compiled_function_raises_the_same_error() -> None:
    pytest.importorskip("llvmlite", reason="programs are compiled by llvmlite")
    total = at.zeros((), dtype=at.float64)

    def step(x: at.Tensor) -> at.Tensor:
        y = LINALG.cholesky(x).sum() + LINALG.inv(x).sum()
        total.add_(1.0)
        return y

    compiled = at.compile(step)
    for _ in range(2):
        compiled(_positive(2, 2))
        with pytest.raises(at.LinAlgError, match=r"cholesky: the matrix is not positive") as error:
            compiled(-at.eye(2, dtype=at.float64))
        assert "test_linalg.py" in str(error.value)
    assert total.item() == 2
