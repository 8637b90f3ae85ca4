"""Linear algebra: functions on the factorisations of `factor.py`, collected as `at.linalg`.

All work on the last two axes of stacks of matrices; leading axes broadcast. Integers become the
default floating dtype. A matrix without the factorisation that is needed is a `LinAlgError`,
which is a ValueError too.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from atled.backends.protocol import default_dtype
from atled.core.apply import apply, as_tensor
from atled.core.interop import numpy_name
from atled.core.op import Sample
from atled.core.surface import COMPOSITES, FUNCTIONS, Composite, public
from atled.core.tensor import Tensor, wrap
from atled.dtypes import promote
from atled.errors import ShapeError
from atled.ops.factor import (
    PIVOTED,
    POSITIVE,
    WELL,
    band,
    cholesky_,
    det_,
    equations,
    lu_,
    lu_solve_,
    permute_rows,
    slogdet_,
    square,
    triangular_solve,
)

F = TypeVar("F", bound=Callable[..., Any])


class Slogdet(NamedTuple):
    """What `slogdet` returns: det(x) = sign · exp(logabsdet)."""

    sign: Tensor
    logabsdet: Tensor


class Factors(NamedTuple):
    """What `lu` returns: x = P @ L @ U."""

    P: Tensor
    L: Tensor
    U: Tensor


class Packed(NamedTuple):
    """What `lu_factor` returns: both factors in one matrix, and the order p of the rows.

    PyTorch's second result are the exchanges of rows, one after another, counted from 1; here it
    is the order that they lead to: x[p] = L @ U.
    """

    LU: Tensor
    pivots: Tensor


def _sampled(*samples: Sample, reference: str) -> Callable[[F], F]:
    """Let the generated tests run a function that is one of `at.linalg` only."""

    def enter(function: F) -> F:
        name = f"linalg.{function.__name__}"
        COMPOSITES[name] = Composite(function, samples, (-2.0, 2.0), reference)
        COMPOSITES[name].name = name
        return function

    return enter


def _floats(*operands: Any) -> list[Tensor]:
    """Return operands as Tensors of one floating dtype, as of an operation on them."""
    first = next((x for x in operands if isinstance(x, Tensor)), None)
    if first is None:
        first = as_tensor(operands[0])
        operands = (first, *operands[1:])
    tensors = [x if isinstance(x, Tensor) else _beside(first, x) for x in operands]
    dtype = promote([t.dtype for t in tensors])
    if not dtype.is_floating_point:
        dtype = default_dtype(first.backend)
    return [as_tensor(t, dtype=dtype) for t in tensors]


def _beside(first: Tensor, x: Any) -> Tensor:
    """Return an array or a list as a Tensor of another's backend; a list in its dtype too."""
    bare = not hasattr(x, "dtype") and first.dtype.is_floating_point
    dtype = first.dtype if bare else None
    return wrap(first.backend.asarray(x, dtype=dtype, device=first.device))


def _matrix(name: str, x: Any) -> Tensor:
    (x,) = _floats(x)
    square(name, x)
    return x


def _mT(x: Tensor) -> Tensor:
    return FUNCTIONS["matrix_transpose"](x)


def _eye(x: Tensor) -> Tensor:
    """Return the identity of the size of the matrices x, without their stack."""
    n = x.shape[-1]
    ones = wrap(x.backend.ones((n, n), dtype=x.dtype, device=x.device))
    return apply(band, ones, low=0, high=0)


# -- equations


def _solved(name: str, a: Tensor, b: Tensor) -> Tensor:
    equations(name, a, b)
    packed, p = apply(lu_, a.detach(), needed_by=name)
    return apply(lu_solve_, a, b, packed, p, transposed=False)


@numpy_name("linalg.solve")
@_sampled(
    Sample((WELL, (3, 2))),
    Sample((PIVOTED, (3,))),
    Sample(((3, 3), (3, 2))),
    Sample(([WELL, PIVOTED], (3, 1))),
    Sample((PIVOTED, (2, 3, 2))),
    reference="reference.solve",
)
def solve(a: Any, b: Any) -> Tensor:
    """Return x with a @ x = b, by an LU factorisation with partial pivoting.

    The gradient uses the same factors: b̄ = a⁻ᵀ g and ā = -b̄ xᵀ.

    Args:
        a: square matrices of shape (..., n, n).
        b: a vector of shape (n,), for every matrix of a; or matrices of shape (..., n, k), a
            right-hand side in each column (the Array API's rule).

    Returns:
        x, of shape (..., n) for a vector, else (..., n, k); the stacks broadcast.

    Raises:
        ShapeError: the shapes do not fit.
        LinAlgError: a pivot is exactly 0: a is singular.

    Example:
        >>> import atled as at
        >>> at.linalg.solve(at.tensor([[2.0, 0.0], [1.0, 4.0]]), at.tensor([2.0, 9.0]))
        tensor([1., 2.])
    """
    a, b = _floats(a, b)
    if b.ndim != 1:
        return _solved("solve", a, b)
    return FUNCTIONS["squeeze"](_solved("solve", a, b[:, None]), -1)


@_sampled(Sample((WELL,)), Sample(([WELL, PIVOTED],)), reference="numpy.linalg.inv")
def inv(a: Any) -> Tensor:
    """Return the inverse of square matrices; `solve` is faster, and more exact, than inv(a) @ b.

    Raises:
        ShapeError: not square.
        LinAlgError: a pivot is exactly 0: a is singular.
    """
    a = _matrix("inv", a)
    return _solved("inv", a, _eye(a))


@public()
def inverse(x: Any) -> Tensor:
    """Return the inverse of square matrices; see `linalg.inv`."""
    return inv(x)


@_sampled(
    Sample((WELL, (3, 2)), {"upper": False}),
    Sample((WELL, (2, 3, 2)), {"upper": True, "unitriangular": True}),
    Sample((WELL, (2, 3)), {"upper": True, "left": False}),
    reference="reference.solve_triangular",
)
def solve_triangular(
    A: Any,
    B: Any,
    *,
    upper: bool,
    left: bool = True,
    unitriangular: bool = False,
) -> Tensor:
    """Return X with A @ X = B, or X @ A = B, reading one triangle of A.

    A zero on the diagonal gives inf or nan, as in PyTorch.

    Args:
        A: square matrices of shape (..., n, n).
        B: of shape (..., n, k), or (..., k, n) where `left` is false.
        upper: whether the upper triangle is read, or the lower one.
        left: whether A stands left of X.
        unitriangular: take the diagonal as ones, and do not read it.

    Raises:
        ShapeError: the shapes do not fit.
    """
    a, b = _floats(A, B)
    square("solve_triangular", a)
    b = b if left else _flat_matrix("solve_triangular", b)
    equations("solve_triangular", a, b)
    options = {"lower": not upper, "unit_diagonal": unitriangular, "transposed": not left}
    y = apply(triangular_solve, a, b, **options)
    return y if left else _mT(y)


def _flat_matrix(name: str, x: Tensor) -> Tensor:
    if x.ndim < 2:
        raise ShapeError(f"{name}: a matrix is needed, of shape (..., k, n); found shape {x.shape}")
    return _mT(x)


# -- factorisations


@_sampled(
    Sample((POSITIVE,)),
    Sample((POSITIVE,), {"upper": True}),
    Sample(([POSITIVE, POSITIVE],)),
    reference="reference.cholesky",
)
def cholesky(x: Any, /, *, upper: bool = False) -> Tensor:
    """Return the lower triangular L with L @ L.mT = x, or the upper L.mT.

    The symmetric part (x + x.mT) / 2 is factored, so that the gradient is symmetric, and a
    change of either triangle counts (NumPy and PyTorch read one triangle).

    Args:
        x: symmetric positive definite matrices of shape (..., n, n).
        upper: return the upper factor, which is L.mT.

    Raises:
        ShapeError: not square.
        LinAlgError: not positive definite; which matrix, and which part of it, is named.

    Example:
        >>> import atled as at
        >>> at.linalg.cholesky(at.tensor([[4.0, 2.0], [2.0, 5.0]]))
        tensor([[2., 0.],
                [1., 2.]])
    """
    y = apply(cholesky_, _matrix("cholesky", x))
    return _mT(y) if upper else y


@public(
    samples=(
        Sample(((3, 2), WELL)),
        Sample(((3, 2), WELL), {"upper": True}),
        Sample(((3, 1), [WELL, PIVOTED])),
    ),
    reference="reference.cholesky_solve",
)
def cholesky_solve(B: Any, L: Any, upper: bool = False) -> Tensor:
    """Return X with A @ X = B, by the Cholesky factor of A: A = L @ L.mT, or L.mT @ L.

    Args:
        B: of shape (..., n, k).
        L: what `linalg.cholesky` gave, of shape (..., n, n).
        upper: whether it is the upper factor.
    """
    b, factor = _floats(B, L)
    equations("cholesky_solve", factor, b)
    options = {"lower": not upper, "unit_diagonal": False}
    y = apply(triangular_solve, factor, b, **options, transposed=upper)
    return apply(triangular_solve, factor, y, **options, transposed=not upper)


@_sampled(Sample((PIVOTED,)), Sample(([WELL, PIVOTED],)), reference="reference.plu")
def lu(A: Any) -> Factors:
    """Return P, L and U with A = P @ L @ U: rows exchanged so that the pivots are large.

    Args:
        A: square matrices of shape (..., n, n); a singular one has factors too, but the
            gradient through them needs its inverse.

    Raises:
        ShapeError: not square.

    Example:
        >>> import atled as at
        >>> P, L, U = at.linalg.lu(at.tensor([[1.0, 2.0], [4.0, 4.0]]))
        >>> L
        tensor([[1.0000, 0.0000],
                [0.2500, 1.0000]])
    """
    a = _matrix("lu", A)
    packed, p = apply(lu_, a, needed_by="")
    identity = _eye(a)
    below = apply(band, packed, low=None, high=-1)
    order = apply(permute_rows, identity, p, inverse=True)
    return Factors(order, below + identity, apply(band, packed, low=0, high=None))


@_sampled(Sample((PIVOTED,)), reference="reference.lu_factor")
def lu_factor(A: Any) -> Packed:
    """Return both LU factors in one matrix, and the order of the rows, for `lu_solve`.

    Raises:
        ShapeError: not square.
        LinAlgError: a pivot is exactly 0: A is singular.
    """
    packed, p = apply(lu_, _matrix("lu_factor", A), needed_by="lu_factor")
    return Packed(packed, FUNCTIONS["squeeze"](p, -1))


def lu_solve(LU: Any, pivots: Any, B: Any) -> Tensor:
    """Return X with A @ X = B, by what `lu_factor(A)` gave.

    Args:
        LU, pivots: the two results of `lu_factor`, of shapes (..., n, n) and (..., n).
        B: of shape (..., n, k).
    """
    packed, b = _floats(LU, B)
    equations("lu_solve", packed, b)
    p = FUNCTIONS["expand_dims"](as_tensor(pivots), -1)
    y = apply(permute_rows, b, p, inverse=False)
    options = {"lower": True, "unit_diagonal": True, "transposed": False}
    y = apply(triangular_solve, packed, y, **options)
    options = {"lower": False, "unit_diagonal": False, "transposed": False}
    return apply(triangular_solve, packed, y, **options)


# -- determinants


@public(
    samples=(Sample(((3, 3),)), Sample(((2, 2, 2),))),
    reference="numpy.linalg.det",
)
def det(x: Any) -> Tensor:
    """Return the determinant of square matrices.

    Its gradient is the matrix of cofactors, also where x is singular; a second derivative needs
    an invertible x, and is a LinAlgError without.

    Raises:
        ShapeError: not square.
    """
    return apply(det_, _matrix("det", x))


@public(samples=(Sample(((3, 3),)), Sample(((2, 2, 2),))), reference="numpy.linalg.slogdet")
def slogdet(x: Any) -> Slogdet:
    """Return the sign of the determinant and log|det x|, which does not overflow.

    The gradient of the latter is x⁻ᵀ. A singular x gives (0, -inf), and a gradient that is not
    finite.

    Raises:
        ShapeError: not square.
    """
    return Slogdet(*apply(slogdet_, _matrix("slogdet", x)))


@public(samples=(Sample((POSITIVE,)),), reference="reference.logdet")
def logdet(x: Any) -> Tensor:
    """Return log det x: nan where the determinant is negative, -inf where it is 0.

    Raises:
        ShapeError: not square.
    """
    sign, size = apply(slogdet_, _matrix("logdet", x))
    return FUNCTIONS["where"](sign < 0, float("nan"), size)


# -- PyTorch's method, and NumPy's function


def _factor_of(self: Tensor, upper: bool = False) -> Tensor:
    """Return the Cholesky factor of matrices, lower or upper; see `linalg.cholesky`."""
    return cholesky(self, upper=upper)


public(function=False, name="cholesky")(_factor_of)
numpy_name("linalg.cholesky")(lambda a, upper=False: cholesky(a, upper=upper))

__all__ = [
    "Factors",
    "Packed",
    "Slogdet",
    "cholesky",
    "cholesky_solve",
    "det",
    "inv",
    "inverse",
    "logdet",
    "lu",
    "lu_factor",
    "lu_solve",
    "slogdet",
    "solve",
    "solve_triangular",
]
