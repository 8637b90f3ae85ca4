"""Convolution and its transposes, term by term, as their definition reads."""

import numpy as np


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
