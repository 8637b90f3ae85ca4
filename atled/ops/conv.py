"""Convolution over one to three spatial axes, as PyTorch defines it (a cross-correlation).

Three bilinear records are each other's transposes, so that any order of derivative is there:
conv(x, w) → y, conv_input(y, w) → x, conv_weight(x, y) → w. Their portable forwards take the image
apart into patches, one strided slice for each place of the kernel, and multiply matrices; a
backend may bring its own under the same names.

Shapes: x (N, C, *spatial), w (O, C / groups, *kernel), y (N, O, *out) with
out = ⌊(n + 2·padding - dilation·(k - 1) - 1) / stride⌋ + 1.
"""

import itertools
import math
from typing import Any

from atled.core.apply import apply, as_tensor
from atled.core.batching import fronted
from atled.core.kinds import bilinear
from atled.core.op import Sample, Spec
from atled.core.surface import public
from atled.core.tensor import Tensor
from atled.errors import ShapeError

STATIC = {"stride": (1,), "padding": (1,), "dilation": (1,), "groups": 1}


def _out_sizes(spatial: Any, kernel: Any, stride: Any, padding: Any, dilation: Any) -> list[int]:
    return [
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, s, p, d in zip(spatial, kernel, stride, padding, dilation, strict=True)
    ]


def _conv_spec(x: Spec, w: Spec, *, stride: Any, padding: Any, dilation: Any, groups: int) -> Spec:
    if len(x.shape) != len(w.shape) or len(x.shape) != len(stride) + 2:
        raise ShapeError(
            f"conv: input {x.shape} and weight {w.shape} need a batch, a channel and "
            f"{len(stride)} spatial axes each"
        )
    if x.shape[1] != w.shape[1] * groups or w.shape[0] % groups:
        raise ShapeError(
            f"conv: input {x.shape} has {x.shape[1]} channels; weight {w.shape} with "
            f"groups={groups} takes {w.shape[1] * groups}"
        )
    out = _out_sizes(x.shape[2:], w.shape[2:], stride, padding, dilation)
    if min(out, default=1) < 1:
        raise ShapeError(f"conv: kernel {w.shape[2:]} does not fit the padded input {x.shape}")
    return Spec((x.shape[0], w.shape[0], *out), x.dtype)


def _offsets(kernel: Any, out: Any, stride: Any, dilation: Any) -> list[Any]:
    """Return for each place of the kernel the slice of the padded image that it multiplies."""
    return [
        tuple(
            [
                (o * d, o * d + s * (m - 1) + 1, s)
                for o, d, s, m in zip(place, dilation, stride, out, strict=True)
            ]
        )
        for place in itertools.product(*[range(k) for k in kernel])
    ]


def _padded(xp: Any, x: Any, padding: Any) -> Any:
    if not any(padding):
        return x
    pads = (0, 0, *padding)
    shape = tuple([n + 2 * p for n, p in zip(x.shape, pads, strict=True)])
    index = tuple([(p, p + n, 1) for n, p in zip(x.shape, pads, strict=True)])
    return xp.place(x, index=index, shape=shape)


def _patches(xp: Any, x: Any, kernel: Any, out: Any, static: Any, groups: int) -> Any:
    """Return the image as (groups, C/groups · places, N · out) columns."""
    x = _padded(xp, x, static["padding"])
    n, c = x.shape[:2]
    whole = ((0, n, 1), (0, c, 1))
    parts = [
        xp.reshape(xp.slice(x, index=(*whole, *at)), shape=(1, n, c, math.prod(out)))
        for at in _offsets(kernel, out, static["stride"], static["dilation"])
    ]
    stacked = xp.concat(*parts, axis=0) if len(parts) > 1 else parts[0]
    columns = xp.permute_dims(stacked, axes=(2, 0, 1, 3))  # (C, places, N, out)
    return xp.reshape(columns, shape=(groups, c // groups * len(parts), n * math.prod(out)))


def _forward(xp: Any, x: Any, w: Any, **static: Any) -> Any:
    groups, o = static["groups"], w.shape[0]
    if x.shape[1] != w.shape[1] * groups:
        raise ShapeError("conv: channels do not match")
    out = _out_sizes(
        x.shape[2:], w.shape[2:], static["stride"], static["padding"], static["dilation"]
    )
    if min(out, default=1) < 1:
        raise ShapeError("conv: the kernel does not fit the padded input")
    columns = _patches(xp, x, w.shape[2:], out, static, groups)
    rows = xp.reshape(w, shape=(groups, o // groups, math.prod(w.shape[1:])))
    y = xp.reshape(xp.matmul(rows, columns), shape=(o, x.shape[0], *out))
    return xp.permute_dims(y, axes=(1, 0, *range(2, 2 + len(out))))


def _as_rows(xp: Any, g: Any, groups: int) -> Any:
    """Return a cotangent (N, O, *out) as (groups, O/groups, N · out)."""
    n, o = g.shape[:2]
    moved = xp.permute_dims(g, axes=(1, 0, *range(2, len(g.shape))))
    return xp.reshape(moved, shape=(groups, o // groups, n * math.prod(g.shape[2:])))


def _to_input(xp: Any, g: Any, w: Any, *, shape: Any, **static: Any) -> Any:
    groups, (n, c, *spatial), kernel = static["groups"], shape, w.shape[2:]
    out, places = g.shape[2:], math.prod(w.shape[2:])
    rows = xp.reshape(w, shape=(groups, w.shape[0] // groups, math.prod(w.shape[1:])))
    columns = xp.matmul(xp.permute_dims(rows, axes=(0, 2, 1)), _as_rows(xp, g, groups))
    columns = xp.reshape(columns, shape=(c, places, n, *out))
    columns = xp.permute_dims(columns, axes=(1, 2, 0, *range(3, 3 + len(out))))
    padding = static["padding"]
    wide = (n, c, *[m + 2 * p for m, p in zip(spatial, padding, strict=True)])
    total = None
    for i, at in enumerate(_offsets(kernel, out, static["stride"], static["dilation"])):
        first = ((i, i + 1, 1), *[(0, m, 1) for m in columns.shape[1:]])
        part = xp.reshape(xp.slice(columns, index=first), shape=columns.shape[1:])
        part = xp.place(part, index=((0, n, 1), (0, c, 1), *at), shape=wide)
        total = part if total is None else total + part
    if not any(padding):
        return total
    inside = [(p, p + m, 1) for m, p in zip(spatial, padding, strict=True)]
    return xp.slice(total, index=((0, n, 1), (0, c, 1), *inside))


def _to_weight(xp: Any, x: Any, g: Any, *, shape: Any, **static: Any) -> Any:
    groups = static["groups"]
    columns = _patches(xp, x, shape[2:], g.shape[2:], static, groups)
    product = xp.matmul(_as_rows(xp, g, groups), xp.permute_dims(columns, axes=(0, 2, 1)))
    return xp.reshape(product, shape=shape)


# -- for a batch: more images where the kernel is shared, more kernels where the images are,
#    else more groups


def _as_groups(xp: Any, x: Any) -> Any:
    """Return (n, N, C, …) as N images of n · C channels."""
    moved = xp.permute_dims(x, axes=(1, 0, *range(2, len(x.shape))))
    return xp.reshape(moved, shape=(x.shape[1], x.shape[0] * x.shape[2], *x.shape[3:]))


def _from_groups(xp: Any, n: int, y: Any) -> Any:
    parted = xp.reshape(y, shape=(y.shape[0], n, y.shape[1] // n, *y.shape[2:]))
    return xp.permute_dims(parted, axes=(1, 0, *range(2, len(parted.shape))))


def _kernels(xp: Any, w: Any) -> Any:
    return xp.reshape(w, shape=(w.shape[0] * w.shape[1], *w.shape[2:]))


def _beside(xp: Any, x: Any, groups: int, at: int) -> Any:
    """Return (n, …, G · C, …), its channels at `at`, with G · n · C channels and no first axis."""
    lead, n, rest = x.shape[1:at], x.shape[0], x.shape[at + 1 :]
    parted = xp.reshape(x, shape=(n, *lead, groups, x.shape[at] // groups, *rest))
    order = (*range(1, at + 1), 0, *range(at + 1, len(parted.shape)))
    moved = xp.permute_dims(parted, axes=order)
    return xp.reshape(moved, shape=(*lead, n * x.shape[at], *rest))


def _apart(xp: Any, n: int, y: Any, groups: int, at: int) -> Any:
    """Undo `_beside`."""
    lead, channels, rest = y.shape[: at - 1], y.shape[at - 1], y.shape[at:]
    parted = xp.reshape(y, shape=(*lead, groups, n, channels // (n * groups), *rest))
    order = (at, *range(at), *range(at + 1, len(parted.shape)))
    moved = xp.permute_dims(parted, axes=order)
    return xp.reshape(moved, shape=(n, *lead, channels // n, *rest))


def _image_batch(name: str) -> Any:
    def rule(xp: Any, n: int, mapped: Any, x: Any, w: Any, *, groups: int, **static: Any) -> Any:
        function, shape = getattr(xp, name), static.pop("shape", None)
        if not mapped[1]:
            images = xp.reshape(x, shape=(n * x.shape[1], *x.shape[2:]))
            if shape is not None:
                static["shape"] = (n * shape[0], *shape[1:])
            y = function(images, w, groups=groups, **static)
            return xp.reshape(y, shape=(n, x.shape[1], *y.shape[1:]))
        if not mapped[0] and name == "conv":  # the same images for all: more kernels
            y = xp.conv(x, _beside(xp, w, groups, 1), groups=groups, **static)
            return _apart(xp, n, y, groups, 2)
        x, w = fronted(xp, n, mapped, (x, w))
        if shape is not None:
            static["shape"] = (shape[0], n * shape[1], *shape[2:])
        y = function(_as_groups(xp, x), _kernels(xp, w), groups=n * groups, **static)
        return _from_groups(xp, n, y)

    return rule


def _weight_batch(
    xp: Any, n: int, mapped: Any, x: Any, g_: Any, *, shape: Any, groups: int, **static: Any
) -> Any:
    if not mapped[0]:
        every = (n * shape[0], *shape[1:])
        w = xp.conv_weight(x, _beside(xp, g_, groups, 2), shape=every, groups=groups, **static)
        return _apart(xp, n, w, groups, 1)
    x, g_ = (_as_groups(xp, v) for v in fronted(xp, n, mapped, (x, g_)))
    wide = (n * shape[0], *shape[1:])
    w = xp.conv_weight(x, g_, shape=wide, groups=n * groups, **static)
    return xp.reshape(w, shape=(n, *shape))


_SAMPLES = (
    ((2, 3, 5), (4, 3, 3), {"stride": (1,), "padding": (1,), "dilation": (1,), "groups": 1}),
    (
        (2, 4, 6, 5),
        (4, 2, 3, 2),
        {"stride": (2, 1), "padding": (1, 0), "dilation": (1, 2), "groups": 2},
    ),
)
conv_ = bilinear(
    "conv",
    inputs=("x", "w"),
    forward=_forward,
    batch=_image_batch("conv"),
    infer=_conv_spec,
    transposes=[
        lambda xp, g, w, x_shape, stride, padding, dilation, groups: xp.conv_input(
            g,
            w,
            shape=tuple(x_shape),
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=groups,
        ),
        lambda xp, g, x, w_shape, stride, padding, dilation, groups: xp.conv_weight(
            x,
            g,
            shape=tuple(w_shape),
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=groups,
        ),
    ],
    samples=tuple(Sample((x, w), s) for x, w, s in _SAMPLES),
    reference="reference.conv",
    doc="Slide a kernel over an image: Σ over channels and places of the kernel.",
)
conv_input = bilinear(
    "conv_input",
    inputs=("g_", "w"),
    forward=_to_input,
    batch=_image_batch("conv_input"),
    infer=lambda g_, w, *, shape, **static: Spec(tuple(shape), g_.dtype),
    transposes=[
        lambda xp, g, w, stride, padding, dilation, groups: xp.conv(
            g, w, stride=stride, padding=padding, dilation=dilation, groups=groups
        ),
        lambda xp, g, g_, w_shape, stride, padding, dilation, groups: xp.conv_weight(
            g,
            g_,
            shape=tuple(w_shape),
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=groups,
        ),
    ],
    samples=(
        Sample(((2, 4, 5), (4, 3, 3)), {**STATIC, "shape": (2, 3, 5)}),
        Sample(((2, 4, 3, 3), (4, 2, 3, 2)), {**_SAMPLES[1][2], "shape": (2, 4, 6, 5)}),
    ),
    reference="reference.conv_input",
    doc="The transpose of conv in its image.",
)
conv_weight = bilinear(
    "conv_weight",
    inputs=("x", "g_"),
    forward=_to_weight,
    batch=_weight_batch,
    infer=lambda x, g_, *, shape, **static: Spec(tuple(shape), x.dtype),
    transposes=[
        lambda xp, g, g_, x_shape, stride, padding, dilation, groups: xp.conv_input(
            g_,
            g,
            shape=tuple(x_shape),
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=groups,
        ),
        lambda xp, g, x, stride, padding, dilation, groups: xp.conv(
            x, g, stride=stride, padding=padding, dilation=dilation, groups=groups
        ),
    ],
    samples=(
        Sample(((2, 3, 5), (2, 4, 5)), {**STATIC, "shape": (4, 3, 3)}),
        Sample(((2, 4, 6, 5), (2, 4, 3, 3)), {**_SAMPLES[1][2], "shape": (4, 2, 3, 2)}),
    ),
    reference="reference.conv_weight",
    doc="The transpose of conv in its kernel.",
)


@public(
    method=False,
    samples=(
        Sample(((2, 2, 6), (3, 2, 2)), {"stride": 2, "padding": 1}),
        Sample(((1, 2, 4, 5), (2, 1, 2, 3)), {"groups": 2}),
    ),
    reference="reference.conv_any",
)
def conv(
    x: Any, w: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Tensor:
    """Convolve (N, C, *spatial) with (O, C / groups, *kernel), over one to three axes.

    Args:
        stride, padding, dilation: a number for all spatial axes, or one for each.

    Raises:
        ShapeError: channels or kernel do not fit; the shapes are named.
    """
    x, w = as_tensor(x), as_tensor(w)
    n = x.ndim - 2
    each = [tuple([v] * n) if isinstance(v, int) else tuple(v) for v in (stride, padding, dilation)]
    return apply(conv_, x, w, stride=each[0], padding=each[1], dilation=each[2], groups=groups)


@public(
    method=False,
    samples=(Sample(((2, 3, 3), (3, 2, 2)), {"stride": 2, "output_padding": 1}),),
    reference="reference.conv_transpose",
)
def conv_transpose(
    x: Any,
    w: Any,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """The transpose of `conv`: x (N, C, *spatial), w (C, O / groups, *kernel).

    The result is (n - 1)·stride - 2·padding + dilation·(k - 1) + output_padding + 1 long.
    """
    x, w = as_tensor(x), as_tensor(w)
    n = x.ndim - 2
    s, p, extra, d = (
        [v] * n if isinstance(v, int) else list(v)
        for v in (stride, padding, output_padding, dilation)
    )
    spatial = [
        (x.shape[i + 2] - 1) * s[i] - 2 * p[i] + d[i] * (w.shape[i + 2] - 1) + extra[i] + 1
        for i in range(n)
    ]
    shape = (x.shape[0], w.shape[1] * groups, *spatial)
    return apply(
        conv_input,
        x,
        w,
        shape=shape,
        stride=tuple(s),
        padding=tuple(p),
        dilation=tuple(d),
        groups=groups,
    )
