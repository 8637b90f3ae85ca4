"""Contraction: the matrix product.

The hot loop of training. Rows and columns become lists of Python numbers once, and one call in
C makes each element: `math.sumprod` where Python has it (3.12), else `sum(map(mul, ...))`.

Measured for float64 (64, 64) @ (64, 32) on one core of a Zen 5 server: 3.3 ms by sum(map(mul))
on Python 3.11, 1.4 ms by sumprod on 3.13. No faster for 3.11: accumulating tiles of 2x2 or 4x4
results in an interpreter loop (3.2, 2.8), 16 products unrolled in an expression (3.2), two
columns packed into complex numbers (3.5).
"""

import math
from array import array
from collections.abc import Callable, Iterator
from itertools import repeat
from operator import add, mul
from typing import Any

from atled.backends.python import ieee
from atled.backends.python.array import CODES, Array
from atled.backends.python.layout import Shape, broadcast_shape
from atled.backends.python.movement import broadcast_to, reshape
from atled.backends.python.operand import as_array, promoted
from atled.dtypes import float64, int64
from atled.errors import ShapeError

__all__ = ["matmul"]

Rows = list[list[Any]]

_sumprod: Callable[[list[Any], list[Any]], Any] | None = getattr(math, "sumprod", None)

# Up to this inner length, whole rows of b are scaled and added: for (64, k) @ (k, 32) and
# k = 1, 2, 4, 8 that takes 84, 188, 379, 812 us on Python 3.11, where sum(map(mul)) takes 360,
# 430, 510, 690; on 3.13 it takes 113, 263, 541 and sumprod 282, 302, 320.
_SHORT = 4 if _sumprod is None else 2


def matmul(a: Array, b: Array) -> Array:
    """Return the matrix products of two stacks of matrices, (..., n, k) and (..., k, m).

    Raises:
        ShapeError: an operand has fewer than two axes, the inner lengths differ, or the stacks
            do not broadcast.
    """
    a, b = as_array("matmul", a), as_array("matmul", b)
    if a.ndim < 2 or b.ndim < 2 or a.shape[-1] != b.shape[-2]:
        raise ShapeError(
            f"matmul: shapes {a.shape} and {b.shape} do not fit: expected (..., n, k) and "
            f"(..., k, m)"
        )
    dtype = float64 if promoted("matmul", a, b) is float64 else int64
    stack = broadcast_shape("matmul", a.shape[:-2], b.shape[:-2])
    shape: Shape = (*stack, a.shape[-2], b.shape[-1])
    length = a.shape[-1]
    if not length or 0 in shape:
        return Array(array(CODES[dtype], [0]) * math.prod(shape), shape, dtype)
    if b.ndim == 2:  # one product of all rows of the stack
        a, stack = reshape(a, (math.prod(shape[:-1]), length)), ()
    product = _long if length > _SHORT else _short
    values: list[Any] = []
    for rows, others in zip(
        matrices(a, stack), matrices(b.mT if product is _long else b, stack), strict=True
    ):
        values += product(rows, others)
    if dtype is int64:
        values = list(map(ieee.wrapped, values))
    return Array(array(CODES[dtype], values), shape, dtype)


def matrices(x: Array, stack: Shape) -> Iterator[Rows]:
    """Yield the matrices of x, its leading axes broadcast to `stack`, as lists of rows."""
    n, m = x.shape[-2:]
    values: list[Any] = broadcast_to(x, (*stack, n, m)).flat().tolist()
    for start in range(0, len(values), n * m):
        yield [values[i : i + m] for i in range(start, start + n * m, m)]


def _long(rows: Rows, columns: Rows) -> list[Any]:
    """Multiply rows by columns, one call of C for each element."""
    if _sumprod is not None:
        return [_sumprod(row, column) for row in rows for column in columns]
    return [sum(map(mul, row, column)) for row in rows for column in columns]


def _short(rows: Rows, others: Rows) -> list[Any]:
    """Multiply rows by a matrix of few rows, one chain of maps for each row of the result."""
    values: list[Any] = []
    for row in rows:
        result: Iterator[Any] = map(mul, repeat(row[0]), others[0])
        for scale, other in zip(row[1:], others[1:], strict=True):
            result = map(add, result, map(mul, repeat(scale), other))
        values.extend(result)
    return values
