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


def _windows(x, kernel, stride, padding, dilation, out, fill):
    """Yield (plane, window, values row by row) over the last two axes, padded with `fill`."""
    sizes = zip(padding, kernel, dilation, stride, strict=True)
    pads = [(p, p + k * d + s) for p, k, d, s in sizes]
    for plane in np.ndindex(x.shape[:-2]):
        wide = np.pad(x[plane], pads, constant_values=fill)
        for window in np.ndindex(*out):
            rows, columns = (
                [w * s + d * i for i in range(k)]
                for w, s, d, k in zip(window, stride, dilation, kernel, strict=True)
            )
            yield plane, window, wide[np.ix_(rows, columns)].ravel()


def pool_index(x, **static):
    """Which place of each window is the largest."""
    y = np.zeros((*x.shape[:-2], *static["out"]), np.int64)
    for plane, window, values in _windows(x, **static, fill=-np.inf):
        y[(*plane, *window)] = np.argmax(values)
    return y


def pool_take(x, index, **static):
    """The element at a place of each window."""
    y = np.zeros(index.shape, x.dtype)
    for plane, window, values in _windows(x, **static, fill=0.0):
        y[(*plane, *window)] = values[index[(*plane, *window)]]
    return y


def pool_spread(g, index, *, spatial, kernel, stride, padding, dilation, out):
    """Values added up at a place of each window."""
    y = np.zeros((*g.shape[:-2], *spatial), g.dtype)
    for place in np.ndindex(*index.shape):
        *plane, i, j = place
        a, b = divmod(int(index[place]), kernel[1])
        row = i * stride[0] + a * dilation[0] - padding[0]
        column = j * stride[1] + b * dilation[1] - padding[1]
        if 0 <= row < spatial[0] and 0 <= column < spatial[1]:
            y[(*plane, row, column)] += g[place]
    return y
