"""Independent implementations, in plain NumPy and SciPy, of what NumPy has no one function for."""

import math

import numpy as np
from scipy import integrate, linalg, special

from tests.reference_conv import (  # noqa: F401 - found by name
    conv,
    conv_input,
    conv_weight,
    pool_index,
    pool_spread,
    pool_take,
)
from tests.reference_linalg import (  # noqa: F401 - found by name
    band,
    cholesky,
    cholesky_solve,
    cofactor,
    logdet,
    lu,
    lu_factor,
    permute_rows,
    plu,
    solve,
    solve_triangular,
    triangular_solve,
)


def power(x, *, exponent):
    return np.power(x, float(exponent))


def keep(x, mask):
    return np.where(mask, x, 0)


def rsqrt(x):
    return x**-0.5


def clip(x, *, lo, hi):
    return np.clip(x, lo, hi)


def clamp(x, *, min, max):
    return np.clip(x, min, max)


def relu(x):
    return np.maximum(x, 0)


def softplus(x, beta=1.0):
    return np.logaddexp(0, beta * x) / beta


def silu(x):
    return x * special.expit(x)


def gelu(x):
    return x * special.ndtr(x)


def logsigmoid(x):
    return special.log_expit(x)


def polygamma(x, *, n):
    return special.polygamma(n, x)


def astype(x, *, dtype):
    return x.astype(dtype.name)


def slice(x, *, index):
    return x[tuple(np.s_[a:b:c] for a, b, c in index)]


def place(x, *, index, shape):
    out = np.zeros(shape)
    for at in np.ndindex(*x.shape):
        out[tuple(start + step * i for i, (start, _, step) in zip(at, index, strict=True))] = x[at]
    return out


def concat(*arrays, axis):
    return np.concatenate(arrays, axis)


def gather_nd(x, *indices):
    return x[indices]


def scatter_nd(v, *indices, shape):
    return scatter_nd_add(np.zeros(shape), v, *indices)


def scatter_nd_add(x, v, *indices):
    out = x.copy()
    for at in np.ndindex(*indices[0].shape):
        out[tuple(i[at] for i in indices)] += v[at]
    return out


def scatter_nd_set(x, v, *indices):
    out = x.copy()
    out[indices] = v
    return out


def argsort(x, *, axis, descending):
    return np.argsort(-x if descending else x, axis=axis, kind="stable")


def sort(x, *, axis=-1, descending=False):
    ordered = np.sort(x, axis=axis)
    return np.flip(ordered, axis) if descending else ordered


def median(x, axis=None):
    return np.median(x, axis=axis)


def var(x, *, axis=None, correction=0, keepdims=False):
    return np.var(x, axis=axis, ddof=correction, keepdims=keepdims)


def std(x, *, axis=None, correction=0, keepdims=False):
    return np.std(x, axis=axis, ddof=correction, keepdims=keepdims)


def var_mean(x, **options):
    return np.var(x, **options), np.mean(x, **options)


def norm(x, *, ord=2, axis=None):
    return np.linalg.norm(x.ravel() if axis is None else x, ord, axis=axis)


def logcumsumexp(x, axis=-1):
    return np.logaddexp.accumulate(x, axis=axis)


def vecdot(a, b):
    return (a * b).sum(-1)


def searchsorted(x1, x2, *, side):
    return np.searchsorted(x1, x2, side=side)


def lgamma(x):
    return np.vectorize(math.lgamma)(x)


def frac(x):
    return x - np.trunc(x)


def lerp(a, b, weight):
    return a + weight * (b - a)


def addcmul(x, a, b, value=1):
    return x + value * a * b


def addcdiv(x, a, b, value=1):
    return x + value * a / b


def rsub(a, b, alpha=1):
    return b - alpha * a


def aminmax(x, axis=None):
    return np.min(x, axis), np.max(x, axis)


def std_mean(x, axis=None, correction=0):
    return np.std(x, axis, ddof=correction), np.mean(x, axis)


def dist(a, b, p=2):
    return np.power(np.power(np.abs(a - b), p).sum(), 1 / p)


def quantile(x, *, q, axis=None, keepdims=False, interpolation="linear"):
    return np.quantile(x, q, axis=axis, keepdims=keepdims, method=interpolation)


def cummax(x, axis=-1, largest=True):
    """Walk along the axis, a later equal element taking over."""
    rows = np.moveaxis(x, axis, -1)
    values, indices = rows.copy(), np.zeros(rows.shape, np.int64)
    for at in np.ndindex(*rows.shape[:-1]):
        best = 0
        for i, v in enumerate(rows[at]):
            best = i if (v >= rows[at][best] if largest else v <= rows[at][best]) else best
            values[at][i], indices[at][i] = rows[at][best], best
    return np.moveaxis(values, -1, axis), np.moveaxis(indices, -1, axis)


def cummin(x, axis=-1):
    return cummax(x, axis, largest=False)


def cumulative_trapezoid(y, x=None, axis=-1):
    return integrate.cumulative_trapezoid(y, x, axis=axis)


def histc(x, *, bins, min, max):
    return np.histogram(x, bins, (min, max))[0].astype(x.dtype)


def cov(x, *, correction=1, fweights=None, aweights=None):
    weights = {"aweights": None if aweights is None else np.array(aweights)}
    return np.cov(x, ddof=correction, fweights=fweights, **weights)


def addmm(x, a, b, beta=1, alpha=1):
    return beta * x + alpha * (a @ b)


def addr(x, a, b, beta=1, alpha=1):
    return beta * x + alpha * np.outer(a, b)


def addbmm(x, a, b, beta=1, alpha=1):
    return beta * x + alpha * (a @ b).sum(0)


def cdist(a, b, p=2):
    return np.linalg.norm(a[..., :, None, :] - b[..., None, :, :], p, axis=-1)


def cross(a, b, axis=-1):
    return np.cross(*np.broadcast_arrays(a, b), axis=axis)


def block_diag(*blocks):
    return linalg.block_diag(*blocks)


def diag_embed(x, offset=0, dim1=-2, dim2=-1):
    n = x.shape[-1] + abs(offset)
    out = np.zeros((*x.shape[:-1], n, n))
    for i in range(x.shape[-1]):
        out[..., i - min(offset, 0), i + max(offset, 0)] = x[..., i]
    return np.moveaxis(out, (-2, -1), (dim1, dim2))


def fill(x, value):
    return np.full_like(x, value)


def unfold(x, *, axis, size, step):
    windows = np.lib.stride_tricks.sliding_window_view(x, size, axis)
    return windows[(np.s_[:],) * axis + (np.s_[::step],)]


def bucketize(x, boundaries, right=False):
    return np.digitize(x, boundaries, right=not right)


def msort(x):
    return np.sort(x, 0)


def masked_scatter(x, mask, source):
    out = x.copy()
    out[mask] = source[: mask.sum()]
    return out


def put(x, index, source, accumulate=False):
    out = x.copy()
    if accumulate:
        np.add.at(out.reshape(-1), index, source)
    else:
        np.put(out, index, source)
    return out


def select(x, *, axis, index):
    return np.take(x, index, axis)


def select_scatter(x, src, *, axis, index):
    out = x.copy()
    out[(np.s_[:],) * axis + (index,)] = src
    return out


def slice_scatter(x, src, *, axis, start, end, step):
    return select_scatter(x, src, axis=axis, index=np.s_[start:end:step])


def diagonal_scatter(x, src, offset=0, dim1=0, dim2=1):
    out = x.copy()
    rows = np.moveaxis(out, (dim1, dim2), (0, 1))
    for i in range(src.shape[-1]):
        rows[i - min(offset, 0), i + max(offset, 0)] = src[..., i]
    return out


def linear(x, w, b):
    return np.einsum("...i,oi->...o", x, w) + b


def softmax_cross_entropy(x, onehot):
    return special.logsumexp(x, axis=-1) - x[onehot].reshape(x.shape[:-1])


def index_select(x, *, dim, index):
    return np.take(x, index, dim)


def cut(x, *, sizes, axis, drop):
    pieces = np.split(x, np.cumsum(sizes)[:-1], axis)
    return tuple(p.squeeze(axis) if drop else p for p in pieces)


# -- of public functions written with others; their arrays come first, in the order of a sample


def expand(x, *, shape):
    return np.broadcast_to(
        x, [m if n == -1 else n for n, m in zip(shape, (1, *x.shape), strict=True)]
    )


def stack(*arrays, axis):
    return np.stack(arrays, axis)


def hstack(*arrays):
    return np.hstack(arrays)


def vstack(*arrays):
    return np.vstack(arrays)


def dstack(*arrays):
    return np.dstack(arrays)


def column_stack(*arrays):
    return np.column_stack(arrays)


def transpose(x, axis0=None, axis1=None):
    return x.T if axis0 is None else np.swapaxes(x, axis0, axis1)


def flatten(x, start_dim=0):
    return x.reshape(*x.shape[:start_dim], -1)


def unflatten(x, *, axis, sizes):
    return x.reshape(*x.shape[:axis], *sizes, *x.shape[axis + 1 :])


def narrow(x, *, axis, start, length):
    return np.take(x, np.arange(start, start + length), axis)


def split(x, *, split_size, axis=0):
    cuts = np.arange(split_size, x.shape[axis], split_size) if isinstance(split_size, int) else None
    return np.split(x, np.cumsum(split_size)[:-1] if cuts is None else cuts, axis)


def chunk(x, *, chunks):
    return split(x, split_size=-(-len(x) // chunks))


def diagonal(x, offset=0, dim1=0, dim2=1):
    return np.diagonal(x, offset, dim1, dim2)


def tile(x, *, repetitions):
    return np.tile(x, repetitions)


def pad(x, *, pad_width, mode="constant", value=0.0):
    modes = {"replicate": "edge", "circular": "wrap"}
    options = {"constant_values": value} if mode == "constant" else {}
    return np.pad(x, pad_width, modes.get(mode, mode), **options)


def _along(index, dim):
    """Return index arrays for x[..., index[...], ...] along dim."""
    places = list(np.indices(index.shape))
    places[dim] = index
    return tuple(places)


def gather(x, index, *, dim):
    return x[_along(index, dim)]


def scatter(x, index, src, *, dim, accumulate=False):
    out = x.copy()
    for at in np.ndindex(*index.shape):
        place = (*at[:dim], index[at], *at[dim + 1 :])
        out[place] = src[at] + (out[place] if accumulate else 0)
    return out


def scatter_add(x, index, src, *, dim):
    return scatter(x, index, src, dim=dim, accumulate=True)


def index_copy(x, index, source, *, dim, accumulate=False):
    out = np.moveaxis(x.copy(), dim, 0)
    rows = np.moveaxis(
        np.broadcast_to(source, (*x.shape[:dim], len(index), *x.shape[dim + 1 :])), dim, 0
    )
    for i, row in zip(index, rows, strict=True):
        out[i] = row + (out[i] if accumulate else 0)
    return np.moveaxis(out, 0, dim)


def index_add(x, index, source, *, dim, alpha=1.0):
    return index_copy(x, index, alpha * source, dim=dim, accumulate=True)


def masked_fill(x, mask, value):
    return np.where(mask, value, x)


def masked_select(x, mask):
    return x[mask]


def index_put(x, values, *, indices, accumulate=False):
    out = x.copy()
    if accumulate:
        np.add.at(out, tuple(indices), values)
    else:
        out[tuple(indices)] = values
    return out


def scatter_reduce(x, index, src, *, dim, reduce, include_self=True):
    out = x.copy()
    meeting = {}
    for at in np.ndindex(*index.shape):
        meeting.setdefault((*at[:dim], index[at], *at[dim + 1 :]), []).append(src[at])
    how = {"sum": np.sum, "prod": np.prod, "mean": np.mean, "amax": np.max, "amin": np.min}[reduce]
    for place, values in meeting.items():
        out[place] = how([x[place], *values] if include_self else values)
    return out


def einsum(*arrays, equation):
    return np.einsum(equation, *arrays)


def conv_any(x, w, stride=1, padding=0, dilation=1, groups=1):
    n = x.ndim - 2
    return conv(
        x, w, stride=(stride,) * n, padding=(padding,) * n, dilation=(dilation,) * n, groups=groups
    )


def conv_transpose(x, w, *, stride, output_padding):
    size = (x.shape[2] - 1) * stride + w.shape[2] + output_padding
    geometry = {"stride": (stride,), "padding": (0,), "dilation": (1,), "groups": 1}
    return conv_input(x, w, shape=(x.shape[0], w.shape[1], size), **geometry)


def topk(x, *, k, axis=-1, largest=True):
    order = np.take(np.argsort(-x if largest else x, axis, kind="stable"), np.arange(k), axis)
    return np.take_along_axis(x, order, axis), order


def kthvalue(x, *, k):
    order = np.argsort(x, -1)[..., k - 1]
    return np.sort(x, -1)[..., k - 1], order


def gelu_by_tanh(x, *, approximate):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
