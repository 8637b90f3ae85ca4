"""Linear algebra on NumPy's arrays, for the NumPy backend.

SciPy's LAPACK does it where it is installed, matrix by matrix; without it, and for stacks of many
small matrices, a few lines of NumPy work on all matrices at once, column by column.
"""

import math
from bisect import bisect_left
from functools import lru_cache
from typing import Any

import numpy as np

from atled.backends.singular import not_positive, singular

__all__ = ["cholesky", "cofactor", "det", "lu", "permute_rows", "slogdet", "triangular_solve"]


def cholesky(x: Any) -> Any:
    half = 0.5 * (x + np.swapaxes(x, -1, -2))
    y = _cholesky(half)
    if y is None:
        raise _not_positive(half)
    return y


def lu(x: Any, *, needed_by: str) -> Any:
    packed, p = _factored(x)
    if needed_by and not (pivots := _diagonal(packed)).all():
        raise singular(needed_by, tuple(np.argwhere(pivots == 0)[0].tolist()), x.shape[-1])
    return packed, p[..., None]


def permute_rows(x: Any, p: Any, *, inverse: bool) -> Any:
    order = np.argsort(p, axis=-2) if inverse else p
    if p.ndim == 2:
        return x[..., order[:, 0], :]
    stack = np.broadcast_shapes(x.shape[:-2], p.shape[:-2])
    x, order = (np.broadcast_to(v, (*stack, *v.shape[-2:])) for v in (x, order))
    return np.take_along_axis(x, order, -2)


def triangular_solve(a: Any, b: Any, *, lower: bool, unit_diagonal: bool, transposed: bool) -> Any:
    blas = _library("blas", a.dtype)
    stack = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    # A call of BLAS takes 1.6 µs, a row of all systems 6: measured for stacks of 2 to 1024.
    if blas is None or b.size == 0 or math.prod(a.shape[:-2]) > 2 * b.shape[-2]:
        a = np.swapaxes(a, -1, -2) if transposed else a
        return _substituted(a, b, lower != transposed, unit_diagonal)
    # a.T is in Fortran's order, in which BLAS takes it without a copy
    options = {"lower": not lower, "trans_a": not transposed, "diag": unit_diagonal}
    if not stack:
        return blas(1.0, a.T, b, **options)
    if a.size == a.shape[-1] ** 2:  # one matrix: the systems of a stack stand side by side
        columns = np.moveaxis(b, -2, 0)
        y = blas(1.0, a.reshape(a.shape[-2:]).T, columns.reshape(len(columns), -1), **options)
        return np.moveaxis(y.reshape(columns.shape), 0, -2).reshape(*stack, *b.shape[-2:])
    a, b = (np.broadcast_to(x, (*stack, *x.shape[-2:])) for x in (a, b))
    y = np.empty(b.shape, b.dtype)
    for i in np.ndindex(stack):
        y[i] = blas(1.0, a[i].T, b[i], **options)
    return y


def det(x: Any) -> Any:
    with np.errstate(invalid="ignore"):  # NumPy warns of nan that was in x
        return _unless_nan(x, np.linalg.det(x))


def slogdet(x: Any) -> Any:
    with np.errstate(invalid="ignore"):
        sign, size = np.linalg.slogdet(x)
    return _unless_nan(x, sign), _unless_nan(x, size)


def _unless_nan(x: Any, y: Any) -> Any:
    """Return y, but nan for matrices with nan: OpenBLAS takes some of them for singular."""
    unknown = np.isnan(x)
    return np.where(unknown.any((-2, -1)), np.nan, y).astype(x.dtype) if unknown.any() else y


def cofactor(x: Any) -> Any:
    """Return det(x) x⁻ᵀ; where det(x) is 0, or overflows, by the singular values of x.

    For x = U S Vᵀ it is det U det V · U C Vᵀ, C the diagonal of the products of the others.
    """
    packed, p = _factored(x)
    whole = _product(packed, p)
    if np.all((whole != 0) & np.isfinite(whole)):
        one = np.eye(x.shape[-1], dtype=x.dtype)
        y = triangular_solve(packed, one, lower=False, unit_diagonal=False, transposed=True)
        y = triangular_solve(packed, y, lower=True, unit_diagonal=True, transposed=True)
        y = whole[..., None, None] * permute_rows(y, p[..., None], inverse=True)
        if np.all(np.isfinite(y)):
            return y.astype(x.dtype)
    unknown = ~np.isfinite(x).all((-2, -1), keepdims=True)
    u, s, v = np.linalg.svd(np.where(unknown, 0, x))
    others = np.where(np.eye(x.shape[-1], dtype=bool), 1, s[..., None, :]).prod(-1)
    sign = np.linalg.det(u) * np.linalg.det(v)
    y = sign[..., None, None] * u * others[..., None, :] @ v
    return np.where(unknown, np.nan, y).astype(x.dtype)


def _diagonal(x: Any) -> Any:
    return x.diagonal(0, -2, -1)


def _product(packed: Any, p: Any) -> Any:
    """Return the determinant from the factors: the pivots' product, by the sign of the order."""
    swapped = np.triu(p[..., :, None] > p[..., None, :], 1).sum((-2, -1))
    return (1.0 - 2.0 * (swapped % 2)) * _diagonal(packed).prod(-1)


@lru_cache
def _library(which: str, dtype: Any) -> Any:
    """Return SciPy's function for LU ("lapack") or triangular systems ("blas"), or None."""
    try:
        from scipy.linalg import blas, lapack  # on first use: 15 ms that few programs need
    except ImportError:
        return None
    letter = {"float64": "d", "float32": "s"}[dtype.name]
    return getattr(blas, letter + "trsm") if which == "blas" else getattr(lapack, letter + "getrf")


def _factored(x: Any) -> tuple[Any, Any]:
    """Return L and U of x[p] = L U in one matrix, and p."""
    *stack, n, _ = x.shape
    lapack = _library("lapack", x.dtype)
    # A call of LAPACK takes 3 µs, a column of all matrices 15 and the memory's time.
    if lapack is None or x.size == 0 or math.prod(stack) > 8 * n <= 64:
        return _eliminated(x)
    if not stack:
        packed, swaps, _ = lapack(x)
        if np.isnan(packed.sum()):  # OpenBLAS finds no pivot beside nan
            return _eliminated(x)
        return packed, np.array(_order(swaps))
    packed, p = np.empty(x.shape, x.dtype), np.empty(x.shape[:-1], np.int64)
    for i in np.ndindex(*stack):
        packed[i], swaps, _ = lapack(x[i])
        p[i] = _order(swaps)
    return (packed, p) if not np.isnan(packed.sum()) else _eliminated(x)


def _order(swaps: Any) -> list[int]:
    """Return the order of rows that LAPACK's exchanges, one after another, lead to."""
    order = list(range(len(swaps)))
    for k, other in enumerate(swaps.tolist()):
        order[k], order[other] = order[other], order[k]
    return order


def _eliminated(x: Any) -> tuple[Any, Any]:
    """Factor all matrices of a stack at once, column by column."""
    *stack, n, _ = x.shape
    packed = np.array(x).reshape(math.prod(stack), n, n)
    p = np.tile(np.arange(n), (len(packed), 1))
    every = np.arange(len(packed))
    for k in range(n):
        column = np.abs(packed[:, k:, k])
        best = k + np.argmax(column, axis=1)
        for rows in (packed, p):
            rows[every, best], rows[:, k] = rows[:, k].copy(), rows[every, best]
        pivot = packed[:, k, k, None]
        below = packed[:, k + 1 :, k]
        below /= np.where(pivot == 0, 1, pivot)  # where it is 0, so are all below
        packed[:, k + 1 :, k + 1 :] -= below[:, :, None] * packed[:, k, None, k + 1 :]
    return packed.reshape(x.shape), p.reshape(*stack, n)


def _substituted(a: Any, b: Any, lower: bool, unit_diagonal: bool) -> Any:
    """Solve the triangular systems of a stack at once, row by row."""
    stack, n = np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), b.shape[-2]
    y = np.array(np.broadcast_to(b, (*stack, *b.shape[-2:])))
    for i in range(n) if lower else range(n - 1, -1, -1):
        known = slice(0, i) if lower else slice(i + 1, n)
        row = y[..., i, :]
        row -= (a[..., i, None, known] @ y[..., known, :])[..., 0, :]
        if not unit_diagonal:
            row /= a[..., i, i, None]
    return y


def _cholesky(x: Any) -> Any:
    """Return the lower factor, or None; nan is in no positive definite matrix."""
    try:
        y = np.linalg.cholesky(x)
    except np.linalg.LinAlgError:
        return None
    return None if np.isnan(_diagonal(y)).any() else y


def _not_positive(x: Any) -> Exception:
    """Find the first matrix of a stack without a Cholesky factor, and where it fails."""
    n = x.shape[-1]
    i = next(i for i in np.ndindex(x.shape[:-2]) if _cholesky(x[i]) is None)
    orders = range(1, n + 1)
    return not_positive(
        i, orders[bisect_left(orders, True, key=lambda k: _cholesky(x[i][:k, :k]) is None)]
    )
