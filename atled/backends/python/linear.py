"""Linear algebra on lists of rows: short loops for small matrices.

Each function takes stacks of matrices, of which the leading axes broadcast. `_factored` is the
one elimination; determinants and cofactors are read from it.
"""

import math
from array import array
from collections.abc import Iterator
from operator import mul
from typing import Any

from atled.backends.python import ieee
from atled.backends.python.array import Array
from atled.backends.python.contract import matrices
from atled.backends.python.layout import Shape, broadcast_shape
from atled.backends.python.movement import broadcast_to
from atled.backends.singular import not_positive, singular
from atled.dtypes import DType, float64, int64

__all__ = ["cholesky", "cofactor", "det", "lu", "permute_rows", "slogdet", "triangular_solve"]

Rows = list[list[float]]


def _made(values: list[Any], shape: Shape, dtype: DType = float64) -> Array:
    return Array(array("d" if dtype is float64 else "q", values), shape, dtype)


def _index(k: int, stack: Shape) -> tuple[int, ...]:
    """Return where the k-th matrix lies in its stack."""
    found: list[int] = []
    for n in reversed(stack):
        k, i = divmod(k, n)
        found.insert(0, i)
    return tuple(found)


def _each(x: Array) -> Iterator[Rows]:
    """Yield the matrices of a stack; matrices without elements too."""
    stack, (n, m) = x.shape[:-2], x.shape[-2:]
    if n * m:
        yield from matrices(x, stack)
    else:
        for _ in range(math.prod(stack)):
            yield [[] for _ in range(n)]


def cholesky(x: Array) -> Array:
    """Return the lower triangular factor of the symmetric part of each matrix.

    Raises:
        LinAlgError: a matrix is not positive definite.
    """
    values: list[float] = []
    for k, rows in enumerate(_each(x)):
        n = len(rows)
        done: Rows = []
        for i in range(n):
            row: list[float] = []
            for j in range(i + 1):
                rest = 0.5 * (rows[i][j] + rows[j][i])
                rest -= sum(map(mul, row[:j], done[j] if j < i else row))
                if j < i:
                    row.append(rest / done[j][j])
                elif rest > 0:
                    row.append(math.sqrt(rest))
                else:
                    raise not_positive(_index(k, x.shape[:-2]), i + 1)
            done.append(row + [0.0] * (n - 1 - i))
        values += [v for row in done for v in row]
    return _made(values, x.shape)


def _factored(rows: Rows) -> tuple[Rows, list[int], int]:
    """Return L and U of a matrix in one, the order of its rows, and the sign of that order."""
    packed, order, sign = [list(row) for row in rows], list(range(len(rows))), 1
    for k in range(len(packed)):
        best = max(range(k, len(packed)), key=lambda i: _size(packed[i][k]))
        if best != k:
            packed[k], packed[best] = packed[best], packed[k]
            order[k], order[best] = order[best], order[k]
            sign = -sign
        pivot = packed[k]
        if pivot[k] == 0:
            continue  # so are all below
        for row in packed[k + 1 :]:
            row[k] = factor = row[k] / pivot[k]
            for j in range(k + 1, len(row)):
                row[j] -= factor * pivot[j]
    return packed, order, sign


def _size(value: float) -> float:
    return math.inf if value != value else abs(value)


def lu(x: Array, *, needed_by: str) -> tuple[Array, Array]:
    """Return the packed factors of x[p] = L U by partial pivoting, and p.

    Raises:
        LinAlgError: a pivot is 0, and a function needs an invertible matrix.
    """
    n, values, places = x.shape[-1], [], []
    for k, rows in enumerate(_each(x)):
        packed, order, _ = _factored(rows)
        zeros = [i for i in range(n) if packed[i][i] == 0]
        if zeros and needed_by:
            raise singular(needed_by, (*_index(k, x.shape[:-2]), zeros[0]), n)
        values += [v for row in packed for v in row]
        places += order
    return _made(values, x.shape), _made(places, (*x.shape[:-1], 1), int64)


def permute_rows(x: Array, p: Array, *, inverse: bool) -> Array:
    """Return the rows x[p[i]] of each matrix, or put the rows i of x at p[i]."""
    stack = broadcast_shape("permute_rows", x.shape[:-2], p.shape[:-2])
    n, m = x.shape[-2:]
    orders = broadcast_to(p, (*stack, n, 1)).flat().tolist()
    values: list[float] = []
    for k, rows in enumerate(_each(broadcast_to(x, (*stack, n, m)))):
        order = orders[k * n : (k + 1) * n]
        if inverse:
            order = sorted(range(n), key=order.__getitem__)
        values += [v for i in order for v in rows[i]]
    return _made(values, (*stack, n, m))


def triangular_solve(
    a: Array, b: Array, *, lower: bool, unit_diagonal: bool, transposed: bool
) -> Array:
    """Return the solution of op(a) x = b, op(a) being a triangle of a, or its transpose."""
    stack = broadcast_shape("triangular_solve", a.shape[:-2], b.shape[:-2])
    n, m = b.shape[-2:]
    values: list[float] = []
    both = zip(
        _each(broadcast_to(a.mT if transposed else a, (*stack, n, n))),
        _each(broadcast_to(b, (*stack, n, m))),
        strict=True,
    )
    for rows, right in both:
        solution = _substituted(rows, right, lower != transposed, unit_diagonal)
        values += [v for row in solution for v in row]
    return _made(values, (*stack, n, m))


def _substituted(rows: Rows, right: Rows, lower: bool, unit_diagonal: bool) -> Rows:
    """Solve a triangular system row by row, each from those before it."""
    n, found = len(rows), list(right)
    for i in range(n) if lower else range(n - 1, -1, -1):
        row, y = rows[i], found[i]
        for j in range(i) if lower else range(i + 1, n):
            factor = row[j]
            y = [v - factor * w for v, w in zip(y, found[j], strict=True)]
        found[i] = y if unit_diagonal else [ieee.divide(v, row[i]) for v in y]
    return found


def _det(rows: Rows) -> float:
    packed, _, sign = _factored(rows)
    return sign * math.prod(packed[i][i] for i in range(len(packed)))


def det(x: Array) -> Array:
    """Return the determinants."""
    return _made(list(map(_det, _each(x))), x.shape[:-2])


def slogdet(x: Array) -> tuple[Array, Array]:
    """Return the signs of the determinants, and the logarithms of their sizes."""
    signs: list[float] = []
    logs: list[float] = []
    for rows in _each(x):
        packed, _, sign = _factored(rows)
        pivots = [packed[i][i] for i in range(len(packed))]
        signs.append(sign * math.prod(v and v / abs(v) for v in pivots))
        logs.append(sum(map(math.log, map(abs, pivots))) if all(pivots) else -math.inf)
    return _made(signs, x.shape[:-2]), _made(logs, x.shape[:-2])


def cofactor(x: Array) -> Array:
    """Return the matrices of cofactors, det(x) x⁻ᵀ where there is an inverse."""
    values = [v for rows in _each(x) for row in _cofactors(rows) for v in row]
    return _made(values, x.shape)


def _cofactors(rows: Rows) -> Rows:
    n = len(rows)
    packed, order, sign = _factored(rows)
    whole = sign * math.prod(packed[i][i] for i in range(n))
    if whole == 0 or math.isinf(whole):  # rare, and then n² determinants of smaller matrices
        return [[(-1) ** (i + j) * _det(_without(rows, i, j)) for j in range(n)] for i in range(n)]
    swapped = [list(column) for column in zip(*packed, strict=True)]
    y = [[whole if i == j else 0.0 for j in range(n)] for i in range(n)]
    y = _substituted(swapped, y, lower=True, unit_diagonal=False)
    y = _substituted(swapped, y, lower=False, unit_diagonal=True)
    return [y[i] for i in sorted(range(n), key=order.__getitem__)]


def _without(rows: Rows, i: int, j: int) -> Rows:
    return [row[:j] + row[j + 1 :] for row in rows[:i] + rows[i + 1 :]]
