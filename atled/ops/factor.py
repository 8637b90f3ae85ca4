"""Factorisations and solutions of linear equations: the records of linear algebra.

Each works on the last two axes; leading axes are a stack, and those of several operands
broadcast. The rules are written with the records themselves, so that they differentiate to any
order; `linalg.py` has the functions that users call.

The equations of the rules: A. Griewank, A. Walther, Evaluating Derivatives, 2008; I. Murray,
Differentiation of the Cholesky decomposition, arXiv:1602.07527, 2016; S. F. Walter, L. Lehmann,
Algorithmic Differentiation of Linear Algebra Functions, arXiv:1009.6112, 2010.
"""

from typing import Any

from atled.core.kinds import broadcast_shapes, linear, opaque
from atled.core.op import Absent, Sample, Spec
from atled.dtypes import float32, float64, int64
from atled.errors import DTypeError, ShapeError

EAGER = Absent("a factorisation is a call of the backend's library")
STACKS = "stacks"  # the batching rule: every operand takes another leading axis


def square(name: str, x: Any) -> None:
    """Refuse what is no stack of square matrices of float32 or float64.

    Raises:
        ShapeError, DTypeError: shape or dtype are named.
    """
    if len(x.shape) < 2 or x.shape[-1] != x.shape[-2]:
        raise ShapeError(
            f"{name}: a square matrix is needed, or a stack of them: shape (..., n, n); "
            f"found shape {tuple(x.shape)}"
        )
    floating(name, x)


def floating(name: str, x: Any) -> None:
    """Refuse floating dtypes that no library of linear algebra computes in."""
    if x.dtype not in (float32, float64):
        raise DTypeError(
            f"{name}: matrices are float32 or float64; found {x.dtype.name}; convert with "
            ".astype(at.float32)"
        )


def equations(name: str, a: Any, b: Any) -> tuple[int, ...]:
    """Return the shape of the solution of a @ x = b.

    Raises:
        ShapeError, DTypeError: a is not square, or b does not fit it.
    """
    square(name, a)
    if len(b.shape) < 2 or a.shape[-1] != b.shape[-2]:
        raise ShapeError(
            f"{name}: shapes {tuple(a.shape)} and {tuple(b.shape)} do not fit: "
            f"{a.shape[-1]} equations need right-hand sides of shape (..., {a.shape[-1]}, k)"
        )
    lead = broadcast_shapes(a.shape[:-2], b.shape[:-2], name=name)
    return (*lead, *b.shape[-2:])


def _flipped(xp: Any, x: Any) -> Any:
    """Return x with its last two axes exchanged."""
    n = len(x.shape)
    return xp.permute_dims(x, axes=(*range(n - 2), n - 1, n - 2))


def _dot(xp: Any, a: Any, b: Any) -> Any:
    """Return Σ a b over the last two axes."""
    n = len(a.shape)
    return xp.sum(a * b, axis=(n - 2, n - 1), keepdims=False)


def _scale(xp: Any, s: Any) -> Any:
    """Return one number a matrix with two axes more, to multiply matrices with."""
    return xp.reshape(s, shape=(*s.shape, 1, 1))


# -- parts of a matrix


def _band(xp: Any, x: Any, *, low: int | None, high: int | None) -> Any:
    m, n = x.shape[-2:]
    device = xp.device_of(x)
    steps = xp.reshape(xp.arange(n, device=device), shape=(1, n)) - xp.reshape(
        xp.arange(m, device=device), shape=(m, 1)
    )
    inside = steps <= (n if high is None else high)
    if low is not None:
        inside = xp.logical_and(inside, steps >= low)
    return xp.where(inside, x, 0)


band = linear(
    "band",
    forward=_band,
    infer=lambda x, *, low, high: x,
    transpose=lambda xp, g, low, high: xp.band(g, low=low, high=high),
    batch=STACKS,
    samples=(
        Sample(((3, 3),), {"low": None, "high": 0}),
        Sample(((2, 2, 3),), {"low": 1, "high": None}),
        Sample(((4, 3),), {"low": -1, "high": 0}),
    ),
    reference="reference.band",
    passes="chooses",
    doc="x where low ≤ column - row ≤ high, 0 elsewhere; None for no bound.",
)

permute_rows = linear(
    "permute_rows",
    inputs=("x", "p"),
    forward=None,
    infer=lambda x, p, *, inverse: Spec(
        (*broadcast_shapes(x.shape[:-2], p.shape[:-2], name="permute_rows"), *x.shape[-2:]),
        x.dtype,
    ),
    transpose=lambda xp, g, p, inverse: xp.permute_rows(g, p, inverse=not inverse),
    broadcasts=True,
    batch=STACKS,
    lower=Absent("the rows of each matrix of a stack are taken by the backend's library"),
    samples=(
        Sample(((3, 2), [[2], [0], [1]]), {"inverse": False}),
        Sample(((3, 2), [[[2], [0], [1]], [[0], [2], [1]]]), {"inverse": True}),
    ),
    reference="reference.permute_rows",
    passes="moves",
    doc="The rows x[p[i]] of matrices, or back: the rows i of x put at p[i]; p is a column.",
)


# -- triangular systems


def _triangle(xp: Any, x: Any, lower: bool, unit_diagonal: bool) -> Any:
    """Return the part of a that a triangular solution reads."""
    edge = 1 if unit_diagonal else 0
    return xp.band(x, low=None, high=-edge) if lower else xp.band(x, low=edge, high=None)


def _solve_vjp_a(
    xp: Any, g: Any, a: Any, y: Any, lower: bool, unit_diagonal: bool, transposed: bool
) -> Any:
    """-(op(a)⁻ᵀ g) yᵀ, of the triangle that is read."""
    back = _solve_vjp_b(xp, g, a, lower, unit_diagonal, transposed)
    left, right = (y, back) if transposed else (back, y)
    return -_triangle(xp, xp.matmul(left, _flipped(xp, right)), lower, unit_diagonal)


def _solve_vjp_b(
    xp: Any, g: Any, a: Any, lower: bool, unit_diagonal: bool, transposed: bool
) -> Any:
    return xp.triangular_solve(
        a, g, lower=lower, unit_diagonal=unit_diagonal, transposed=not transposed
    )


def _solve_jvp_a(
    xp: Any, t: Any, a: Any, y: Any, lower: bool, unit_diagonal: bool, transposed: bool
) -> Any:
    """-op(a)⁻¹ op(t) y."""
    t = _triangle(xp, t, lower, unit_diagonal)
    right = xp.matmul(_flipped(xp, t) if transposed else t, y)
    return -xp.triangular_solve(
        a, right, lower=lower, unit_diagonal=unit_diagonal, transposed=transposed
    )


def _solve_jvp_b(
    xp: Any, t: Any, a: Any, lower: bool, unit_diagonal: bool, transposed: bool
) -> Any:
    return xp.triangular_solve(
        a, t, lower=lower, unit_diagonal=unit_diagonal, transposed=transposed
    )


def _options(lower: bool, unit_diagonal: bool, transposed: bool) -> dict[str, bool]:
    return {"lower": lower, "unit_diagonal": unit_diagonal, "transposed": transposed}


WELL = [[2.0, -0.5, 0.25], [0.5, -1.5, 0.75], [-1.0, 0.5, 1.75]]  # both triangles: cond < 5

triangular_solve = opaque(
    "triangular_solve",
    inputs=("a", "b"),
    infer=lambda a, b, *, lower, unit_diagonal, transposed: Spec(
        equations("triangular_solve", a, b), b.dtype
    ),
    vjps=[_solve_vjp_a, _solve_vjp_b],
    jvps=[_solve_jvp_a, _solve_jvp_b],
    broadcasts=True,
    batch=STACKS,
    lower=EAGER,
    samples=(
        Sample((WELL, (3, 2)), _options(True, False, False)),
        Sample((WELL, (3, 1)), _options(False, False, True)),
        Sample((WELL, (2, 3, 2)), _options(True, True, True)),
        Sample(([WELL, WELL], (3, 2)), _options(False, True, False)),
        Sample(((2, 1, 2, 2), (3, 2, 1)), _options(False, False, False), domain=(0.5, 1.5)),
    ),
    reference="reference.triangular_solve",
    doc="The solution of op(a) x = b for a triangle of a, op(a) being a or its transpose.",
)


# -- Cholesky


def _symmetric(xp: Any, x: Any) -> Any:
    return 0.5 * (x + _flipped(xp, x))


def _halved(xp: Any, x: Any) -> Any:
    """Return the lower triangle with half of the diagonal."""
    return 0.5 * (xp.band(x, low=None, high=0) + xp.band(x, low=None, high=-1))


_LOWER = {"lower": True, "unit_diagonal": False}


def _cholesky_vjp(xp: Any, g: Any, y: Any) -> Any:
    """The symmetric part of y⁻ᵀ Φ(yᵀ g) y⁻¹, Φ the lower triangle with half of the diagonal."""
    inner = _halved(xp, xp.matmul(_flipped(xp, y), g))
    left = xp.triangular_solve(y, inner, **_LOWER, transposed=True)
    both = xp.triangular_solve(y, _flipped(xp, left), **_LOWER, transposed=True)
    return _symmetric(xp, both)


def _cholesky_jvp(xp: Any, t: Any, y: Any) -> Any:
    """y Φ(y⁻¹ t y⁻ᵀ), of the symmetric part of t."""
    left = xp.triangular_solve(y, _symmetric(xp, t), **_LOWER, transposed=False)
    both = xp.triangular_solve(y, _flipped(xp, left), **_LOWER, transposed=False)
    return xp.matmul(y, _halved(xp, both))


def _square_spec(name: str, x: Spec) -> Spec:
    square(name, x)
    return x


POSITIVE = [[4.0, 1.0, -0.5], [0.5, 3.0, 1.0], [-1.0, 0.25, 2.0]]  # its symmetric part is

cholesky_ = opaque(
    "cholesky",
    infer=lambda x: _square_spec("cholesky", x),
    vjps=[_cholesky_vjp],
    jvps=[_cholesky_jvp],
    batch=STACKS,
    lower=EAGER,
    samples=(Sample((POSITIVE,)), Sample(([POSITIVE, [[2.0, 0, 0], [1, 2.0, 0], [1, 0, 3.0]]],))),
    reference="reference.cholesky",
    doc="The lower triangular y with y yᵀ = (x + xᵀ)/2: the symmetric part is what is read, so "
    "that the gradient is symmetric, and exact for a change of any element.",
)


# -- LU


def _lu_spec(x: Spec, *, needed_by: str) -> tuple[Spec, Spec]:
    square(needed_by or "lu", x)
    return x, Spec((*x.shape[:-1], 1), int64)


_UNIT = {"lower": True, "unit_diagonal": True}
_UPPER = {"lower": False, "unit_diagonal": False}


def _parts(xp: Any, x: Any) -> tuple[Any, Any, Any, Any]:
    """Return the factors of x: packed, L, U, and the permutation of rows."""
    packed, p = xp.lu(x, needed_by="the derivative of lu")
    unit = xp.band(packed, low=None, high=-1) + _identity(xp, x)
    return packed, unit, xp.band(packed, low=0, high=None), p


def _identity(xp: Any, x: Any) -> Any:
    return xp.band(xp.ones_like(x), low=0, high=0)


def _lu_vjp(xp: Any, g: Any, x: Any) -> Any:
    """Pᵀ L⁻ᵀ [tril₋₁(Lᵀ L̄) + triu(Ū Uᵀ)] U⁻ᵀ, L̄ and Ū the parts of g[0]."""
    packed, unit, upper, p = _parts(xp, x)
    of_l, of_u = xp.band(g[0], low=None, high=-1), xp.band(g[0], low=0, high=None)
    inner = xp.band(xp.matmul(_flipped(xp, unit), of_l), low=None, high=-1)
    inner = inner + xp.band(xp.matmul(of_u, _flipped(xp, upper)), low=0, high=None)
    left = xp.triangular_solve(packed, inner, **_UNIT, transposed=True)
    both = xp.triangular_solve(packed, _flipped(xp, left), **_UPPER, transposed=False)
    return xp.permute_rows(_flipped(xp, both), p, inverse=True)


def _lu_jvp(xp: Any, t: Any, x: Any) -> tuple[Any, Any]:
    """L tril₋₁(F) + triu(F) U, where F = L⁻¹ P t U⁻¹; the permutation is constant."""
    packed, unit, upper, p = _parts(xp, x)
    left = xp.triangular_solve(
        packed, xp.permute_rows(t, p, inverse=False), **_UNIT, transposed=False
    )
    both = _flipped(xp, xp.triangular_solve(packed, _flipped(xp, left), **_UPPER, transposed=True))
    of_l = xp.matmul(unit, xp.band(both, low=None, high=-1))
    return of_l + xp.matmul(xp.band(both, low=0, high=None), upper), None


PIVOTED = [[0.5, 1.0, -1.0], [2.0, -0.5, 0.25], [1.0, 0.5, 2.0]]  # rows change places

lu_ = opaque(
    "lu",
    infer=_lu_spec,
    vjps=[_lu_vjp],
    jvps=[_lu_jvp],
    outputs=2,
    batch=STACKS,
    lower=EAGER,
    samples=(
        Sample((PIVOTED,), {"needed_by": ""}),
        Sample(([PIVOTED, WELL],), {"needed_by": "solve"}),
    ),
    reference="reference.lu",
    doc="x[p] = L U by partial pivoting, for square x: both factors in one matrix, L below the "
    "diagonal (its own is 1), and p, a column. A zero pivot is an error where `needed_by` names "
    "a function.",
)


# -- general systems, by factors that are known


def _lu_solve(xp: Any, a: Any, b: Any, packed: Any, p: Any, *, transposed: bool) -> Any:
    if transposed:  # aᵀ = Uᵀ Lᵀ P
        y = xp.triangular_solve(packed, b, **_UPPER, transposed=True)
        y = xp.triangular_solve(packed, y, **_UNIT, transposed=True)
        return xp.permute_rows(y, p, inverse=True)
    y = xp.permute_rows(b, p, inverse=False)
    y = xp.triangular_solve(packed, y, **_UNIT, transposed=False)
    return xp.triangular_solve(packed, y, **_UPPER, transposed=False)


def _lu_solve_vjp_a(xp: Any, g: Any, a: Any, packed: Any, p: Any, y: Any, transposed: bool) -> Any:
    """-(op(a)⁻ᵀ g) yᵀ."""
    back = xp.lu_solve(a, g, packed, p, transposed=not transposed)
    left, right = (y, back) if transposed else (back, y)
    return -xp.matmul(left, _flipped(xp, right))


def _lu_solve_jvp_a(xp: Any, t: Any, a: Any, packed: Any, p: Any, y: Any, transposed: bool) -> Any:
    right = xp.matmul(_flipped(xp, t) if transposed else t, y)
    return -xp.lu_solve(a, right, packed, p, transposed=transposed)


lu_solve_ = opaque(
    "lu_solve",
    inputs=("a", "b", "packed", "p"),
    operands="any",
    infer=lambda a, b, packed, p, *, transposed: Spec(equations("solve", a, b), b.dtype),
    forward=_lu_solve,
    vjps=[
        _lu_solve_vjp_a,
        lambda xp, g, a, packed, p, transposed: xp.lu_solve(
            a, g, packed, p, transposed=not transposed
        ),
        None,
        None,
    ],
    jvps=[
        _lu_solve_jvp_a,
        lambda xp, t, a, packed, p, transposed: xp.lu_solve(a, t, packed, p, transposed=transposed),
        None,
        None,
    ],
    broadcasts=True,
    batch=STACKS,
    doc="The solution of op(a) x = b by the factors of a, which `lu` gave. The derivative is that "
    "by a and b, and uses the same factors again: they are not differentiated.",
)


# -- determinants


def _inverse_transposed(xp: Any, x: Any, needed_by: str) -> Any:
    packed, p = xp.lu(x, needed_by=needed_by)
    return xp.lu_solve(x, _identity(xp, x), packed, p, transposed=True)


det_ = opaque(
    "det",
    infer=lambda x: Spec(_square_spec("det", x).shape[:-2], x.dtype),
    vjps=[lambda xp, g, x: _scale(xp, g) * xp.cofactor(x)],
    jvps=[lambda xp, t, x: _dot(xp, xp.cofactor(x), t)],
    batch=STACKS,
    lower=EAGER,
    samples=(Sample(((3, 3),)), Sample(((2, 2, 2),)), Sample(((1, 1),))),
    reference="numpy.linalg.det",
    doc="The determinant. Its gradient is the matrix of cofactors, at singular matrices too.",
)

TWICE = "the second derivative of det"


def _cofactor_vjp(xp: Any, g: Any, x: Any, y: Any) -> Any:
    """⟨g, y⟩ x⁻ᵀ - y gᵀ x⁻ᵀ."""
    r = _inverse_transposed(xp, x, TWICE)
    return _scale(xp, _dot(xp, g, y)) * r - xp.matmul(y, xp.matmul(_flipped(xp, g), r))


def _cofactor_jvp(xp: Any, t: Any, x: Any, y: Any) -> Any:
    """⟨x⁻ᵀ, t⟩ y - x⁻ᵀ tᵀ y."""
    r = _inverse_transposed(xp, x, TWICE)
    return _scale(xp, _dot(xp, r, t)) * y - xp.matmul(r, xp.matmul(_flipped(xp, t), y))


cofactor = opaque(
    "cofactor",
    infer=lambda x: _square_spec("cofactor", x),
    vjps=[_cofactor_vjp],
    jvps=[_cofactor_jvp],
    batch=STACKS,
    lower=EAGER,
    samples=(Sample((WELL,)), Sample(([WELL, PIVOTED],))),
    reference="reference.cofactor",
    doc="The matrix of cofactors det(x) x⁻ᵀ, which a singular matrix has too. Its own derivative "
    "needs an invertible one.",
)


def _slogdet_spec(x: Spec) -> tuple[Spec, Spec]:
    square("slogdet", x)
    return Spec(x.shape[:-2], x.dtype), Spec(x.shape[:-2], x.dtype)


def _slogdet_vjp(xp: Any, g: Any, x: Any) -> Any:
    """g[1] x⁻ᵀ; the sign is constant."""
    if 1 not in g:
        return xp.zeros_like(x)
    return _scale(xp, g[1]) * _inverse_transposed(xp, x, "")


def _slogdet_jvp(xp: Any, t: Any, x: Any) -> tuple[Any, Any]:
    slope = _dot(xp, _inverse_transposed(xp, x, ""), t)
    return xp.zeros_like(slope), slope


slogdet_ = opaque(
    "slogdet",
    infer=_slogdet_spec,
    vjps=[_slogdet_vjp],
    jvps=[_slogdet_jvp],
    outputs=2,
    batch=STACKS,
    lower=EAGER,
    samples=(Sample(((3, 3),)), Sample(((2, 2, 2),)), Sample(((1, 1),))),
    reference="numpy.linalg.slogdet",
    doc="Sign and log|det x|: (0, -inf) of a singular matrix, where the gradient is not finite.",
)
