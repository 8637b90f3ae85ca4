"""Independent implementations, in plain NumPy and SciPy, of what NumPy has no one function for."""

import math

import numpy as np
from scipy import special


def power(x, *, exponent):
    return np.power(x, float(exponent))


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


def conv(x, w, *, stride, padding, dilation, groups):
    """Add up term by term, as the definition reads."""
    n, _, *spatial = x.shape
    o, c, *kernel = w.shape
    wide = np.pad(x, [(0, 0), (0, 0), *[(p, p) for p in padding]])
    out = [
        (m + 2 * p - d * (k - 1) - 1) // s + 1
        for m, p, d, k, s in zip(spatial, padding, dilation, kernel, stride, strict=True)
    ]
    y = np.zeros((n, o, *out))
    for b, f, *at in np.ndindex(*y.shape):
        group = f // (o // groups)
        for channel, *place in np.ndindex(c, *kernel):
            where = tuple(
                i * s + k * d for i, s, k, d in zip(at, stride, place, dilation, strict=True)
            )
            y[(b, f, *at)] += wide[(b, group * c + channel, *where)] * w[(f, channel, *place)]
    return y


def conv_input(g, w, *, shape, **static):
    """The transpose of conv, by multiplying with each unit image."""
    out = np.zeros(shape)
    for at in np.ndindex(*shape):
        unit = np.zeros(shape)
        unit[at] = 1
        out[at] = (conv(unit, w, **static) * g).sum()
    return out


def conv_weight(x, g, *, shape, **static):
    out = np.zeros(shape)
    for at in np.ndindex(*shape):
        unit = np.zeros(shape)
        unit[at] = 1
        out[at] = (conv(x, unit, **static) * g).sum()
    return out


def searchsorted(x1, x2, *, side):
    return np.searchsorted(x1, x2, side=side)


def lgamma(x):
    return np.vectorize(math.lgamma)(x)
