"""Products of vectors, matrices and stacks of them, written with `matmul` and `multiply`."""

from typing import Any

from atled.core.apply import as_tensor
from atled.core.kinds import normalize_axes
from atled.core.op import Sample
from atled.core.surface import FUNCTIONS, public, spelled
from atled.core.tensor import Tensor
from atled.errors import ShapeError
from atled.ops.contract import bmm, mm, mv, outer
from atled.ops.shape import expand_dims, reshape, unstack
from atled.ops.variance import norm

SCALED = {"beta": 0.5, "alpha": 2.0}


def _scaled(x: Any, product: Tensor, beta: float, alpha: float) -> Tensor:
    """Return beta · x + alpha · product; x does not count, not even its NaN, where beta is 0."""
    scaled = product if alpha == 1 else alpha * product
    if beta == 0:
        return scaled
    x = as_tensor(x)
    return (x if beta == 1 else beta * x) + scaled


@public(samples=(Sample(((2, 4), (2, 3), (3, 4)), SCALED),), reference="reference.addmm")
def addmm(x: Any, a: Any, b: Any, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta · x + alpha · (a @ b) for matrices a and b."""
    return _scaled(x, mm(a, b), beta, alpha)


@public(samples=(Sample(((2,), (2, 3), (3,)), SCALED),), reference="reference.addmm")
def addmv(x: Any, a: Any, b: Any, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta · x + alpha · (a @ b) for a matrix a and a vector b."""
    return _scaled(x, mv(a, b), beta, alpha)


@public(samples=(Sample(((2, 3), (2,), (3,)), SCALED),), reference="reference.addr")
def addr(x: Any, a: Any, b: Any, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta · x + alpha · outer(a, b) for vectors a and b."""
    return _scaled(x, outer(a, b), beta, alpha)


@public(samples=(Sample(((5, 2, 4), (5, 2, 3), (5, 3, 4)), SCALED),), reference="reference.addmm")
def baddbmm(x: Any, a: Any, b: Any, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta · x + alpha · (a @ b) for stacks of matrices a and b."""
    return _scaled(x, bmm(a, b), beta, alpha)


@public(samples=(Sample(((2, 4), (5, 2, 3), (5, 3, 4)), SCALED),), reference="reference.addbmm")
def addbmm(x: Any, a: Any, b: Any, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta · x + alpha · Σᵢ aᵢ @ bᵢ over stacks of matrices a and b."""
    return _scaled(x, FUNCTIONS["sum"](bmm(a, b), axis=0), beta, alpha)


@public(
    samples=(Sample(((3, 4), (5, 4))), Sample(((2, 3, 4), (2, 5, 4)), {"p": 1})),
    reference="reference.cdist",
)
def cdist(a: Any, b: Any, p: float = 2.0) -> Tensor:
    """Return the p-norm distances of each row of a to each row of b; derivative 0 at 0.

    Args:
        a, b: of shapes (..., m, k) and (..., n, k); the result has (..., m, n).

    Raises:
        ShapeError: the rows differ in length.
    """
    a, b = as_tensor(a), as_tensor(b)
    if a.ndim < 2 or b.ndim < 2 or a.shape[-1] != b.shape[-1]:
        raise ShapeError(f"cdist: rows of one length are needed; {a.shape}, {b.shape}")
    return norm(expand_dims(a, -2) - expand_dims(b, -3), p, axis=-1)


@public(samples=(Sample(((2, 3), (4, 2))), Sample(((3,), (2, 2)))))
def kron(a: Any, b: Any) -> Tensor:
    """Return the Kronecker product: b, scaled by each element of a, block by block."""
    a, b = as_tensor(a), as_tensor(b)
    ndim = max(a.ndim, b.ndim)
    m, n = ((1,) * (ndim - t.ndim) + t.shape for t in (a, b))
    spread = reshape(a, [size for k in m for size in (k, 1)])
    blocks = spread * reshape(b, [size for k in n for size in (1, k)])
    return reshape(blocks, [i * j for i, j in zip(m, n, strict=True)])


@public(samples=(Sample(((6,), (6,))), Sample(((2, 3), (3, 2)))))
def vdot(a: Any, b: Any) -> Tensor:
    """Return the sum of products of all elements, both flattened."""
    return FUNCTIONS["sum"](reshape(as_tensor(a), -1) * reshape(as_tensor(b), -1))


@public(samples=(Sample(((3,), (3,))), Sample(((4, 3), (4, 3))), Sample(((3, 4), (3, 1)),
        {"axis": 0})), reference="reference.cross")  # fmt: skip
@spelled
def cross(a: Any, b: Any, axis: int = -1) -> Tensor:
    """Return the cross product of vectors of length 3 along an axis; the others broadcast.

    Raises:
        ShapeError: the axis is not 3 long.
    """
    a, b = FUNCTIONS["broadcast_arrays"](a, b)
    (axis,) = normalize_axes(axis, a.ndim, "cross")
    if a.shape[axis] != 3:
        raise ShapeError(f"cross: axis {axis} of shape {a.shape} is not 3 long")
    (a0, a1, a2), (b0, b1, b2) = unstack(a, axis), unstack(b, axis)
    parts = [a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0]
    return FUNCTIONS["stack"](parts, axis=axis)


@public(samples=(Sample(((3,), (3,))), Sample(((2, 3), (4, 3))), Sample(((2, 3), ()))))
def inner(a: Any, b: Any) -> Tensor:
    """Return the sums of products over the last axes of a and b, for all pairs of the others."""
    a, b = as_tensor(a), as_tensor(b)
    if a.ndim == 0 or b.ndim == 0:
        return a * b
    if a.shape[-1] != b.shape[-1]:
        raise ShapeError(f"inner: the last axes differ: shapes {a.shape} and {b.shape}")
    return FUNCTIONS["tensordot"](a, b, ((-1,), (-1,)))
