"""Adapters for NumPy's products, and its functions that arrange and write; see `numpy_names.py`."""

import math
from typing import Any

from atled.core.apply import as_tensor
from atled.core.interop import InteropError, numpy_name
from atled.core.kinds import normalize_axes
from atled.core.surface import FUNCTIONS
from atled.core.tensor import Tensor, wrap
from atled.errors import ShapeError, located
from atled.ops.arrange import tensor_split
from atled.ops.composite import beside, floating
from atled.ops.contract import einsum as contract
from atled.ops.numpy_names import flat_unless
from atled.ops.repeat import pad, roll
from atled.ops.shape import concat, moveaxis, reshape
from atled.ops.variance import norm as vector_norm

ROW_MAJOR = "C"

# -- products


@numpy_name("einsum")
def einsum(operands: Any, optimize: Any = False) -> Any:
    if not isinstance(operands[0], str):
        raise InteropError(located("np.einsum of a Tensor takes its equation as text only"))
    return contract(*operands)


@numpy_name("trace")
def trace(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    return FUNCTIONS["sum"](FUNCTIONS["diagonal"](a, offset, axis1, axis2), axis=-1)


@numpy_name("linalg.trace")
def linalg_trace(x: Any, offset: int = 0) -> Any:
    return trace(x, offset, -2, -1)


@numpy_name("linalg.diagonal")
def linalg_diagonal(x: Any, offset: int = 0) -> Any:
    return FUNCTIONS["diagonal"](x, offset, -2, -1)


@numpy_name("linalg.multi_dot")
def multi_dot(arrays: Any) -> Any:
    y = as_tensor(arrays[0])
    for x in arrays[1:]:
        y = FUNCTIONS["matmul"](y, x)
    return y


@numpy_name("linalg.matrix_power")
def matrix_power(a: Any, n: int) -> Any:
    a = as_tensor(a)
    if n < 1:
        raise InteropError(located(f"np.linalg.matrix_power takes n > 0 in atled; found {n}"))
    y = a
    for bit in bin(n)[3:]:  # square for each further bit, multiply for a one
        y = FUNCTIONS["matmul"](y, y)
        y = FUNCTIONS["matmul"](y, a) if bit == "1" else y
    return y


@numpy_name("linalg.norm", "linalg.matrix_norm")
def linalg_norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    x = as_tensor(x)
    axes = normalize_axes(axis, x.ndim, "norm")
    if ord is None or (ord == "fro" and len(axes) == 2):
        return vector_norm(x, 2, axis=axis, keepdims=keepdims)
    if len(axes) == 1:
        return vector_norm(x, ord, axis=axis, keepdims=keepdims)
    if len(axes) != 2 or ord not in (1, -1, math.inf, -math.inf):
        raise InteropError(
            located(f"np.linalg.norm with ord={ord!r} of axes {axes} has no derivative in atled")
        )
    inner, outer = axes if abs(ord) == 1 else axes[::-1]
    sums = FUNCTIONS["sum"](FUNCTIONS["abs"](x), axis=inner, keepdims=True)
    y = FUNCTIONS["max" if ord > 0 else "min"](sums, axis=outer, keepdims=True)
    return y if keepdims else FUNCTIONS["squeeze"](y, axes)


@numpy_name("convolve")
def convolve(a: Any, v: Any, mode: str = "full") -> Any:
    a, v = reshape(as_tensor(a), -1), reshape(as_tensor(v), -1)
    m, n = a.size, v.size
    line = a.backend.arange
    to = reshape(wrap(line(m, device=a.device)), (-1, 1)) + wrap(line(n, device=a.device))
    zeros = wrap(a.backend.zeros((m + n - 1,), dtype=a.dtype, device=a.device))
    products = reshape(FUNCTIONS["outer"](a, v), -1)
    y = FUNCTIONS["index_add"](zeros, 0, reshape(to, -1), products)
    short, long = sorted((m, n))
    start, size = {"full": (0, m + n - 1), "same": ((short - 1) // 2, long)}.get(
        mode, (short - 1, long - short + 1)
    )
    return FUNCTIONS["narrow"](y, 0, start, size)


@numpy_name("correlate")
def correlate(a: Any, v: Any, mode: str = "valid") -> Any:
    a, v = as_tensor(a), as_tensor(v)
    if mode != "same" and a.size >= v.size:
        return convolve(a, FUNCTIONS["flip"](v), mode)
    raise InteropError(located("np.correlate takes mode 'full' or 'valid', the longer one first"))


@numpy_name("polyval")
def polyval(p: Any, x: Any) -> Any:
    x = as_tensor(x)
    y = FUNCTIONS["zeros_like"](x)
    for coefficient in as_tensor(p):
        y = y * x + coefficient
    return y


@numpy_name("vander")
def vander(x: Any, N: Any = None, increasing: bool = False) -> Any:
    x = as_tensor(x)
    powers = range(x.size if N is None else N)
    columns = [x**i for i in (powers if increasing else reversed(powers))]
    return FUNCTIONS["stack"](columns, axis=1)


# -- shape


@numpy_name("ravel")
def ravel(a: Any, order: str = ROW_MAJOR) -> Any:
    if order not in ("C", "A", "K"):
        raise InteropError(located(f"np.ravel has no order={order!r} in atled"))
    return reshape(as_tensor(a), -1)


@numpy_name("rollaxis")
def rollaxis(a: Any, axis: int, start: int = 0) -> Any:
    a = as_tensor(a)
    axis, start = axis % a.ndim, start + a.ndim if start < 0 else start
    return moveaxis(a, axis, start - (axis < start))


@numpy_name("append")
def append(arr: Any, values: Any, axis: Any = None) -> Any:
    return concat(beside(arr, values), axis)


@numpy_name("block")
def block(arrays: Any) -> Any:
    def depth(x: Any) -> int:
        return 1 + max(map(depth, x)) if isinstance(x, list) else 0

    levels = depth(arrays)

    def joined(x: Any, level: int) -> Tensor:
        if not isinstance(x, list):
            t = as_tensor(x)
            return reshape(t, (1,) * max(levels - t.ndim, 0) + t.shape)
        parts = [joined(v, level + 1) for v in x]
        ndim = max(p.ndim for p in parts)
        parts = [reshape(p, (1,) * (ndim - p.ndim) + p.shape) for p in parts]
        return concat(parts, level - levels)

    return joined(arrays, 0) if levels else as_tensor(arrays)


@numpy_name("broadcast_arrays")
def broadcast_arrays(args: Any, subok: bool = False) -> Any:
    return tuple(FUNCTIONS["broadcast_arrays"](*args))


@numpy_name("meshgrid")
def meshgrid(xi: Any, copy: bool = True, indexing: str = "xy") -> Any:
    return tuple(FUNCTIONS["meshgrid"](*[reshape(as_tensor(x), -1) for x in xi], indexing=indexing))


@numpy_name("split")
def split_(ary: Any, indices_or_sections: Any, axis: int = 0) -> Any:
    x, given = as_tensor(ary), indices_or_sections
    if isinstance(given, int) and x.shape[axis] % given:
        raise ShapeError(f"np.split: axis {axis} of {x.shape} has no {given} equal parts")
    return list(tensor_split(x, given, axis))


@numpy_name("array_split")
def array_split(ary: Any, indices_or_sections: Any, axis: int = 0) -> Any:
    return list(tensor_split(ary, indices_or_sections, axis))


@numpy_name("repeat")
def repeat(a: Any, repeats: Any, axis: Any = None) -> Any:
    x, axis = flat_unless(a, axis)
    return FUNCTIONS["repeat"](x, repeats, axis)


@numpy_name("pad")
def pad_(array: Any, pad_width: Any, mode: str = "constant", constant_values: Any = 0) -> Any:
    names = {"constant": "constant", "edge": "edge", "reflect": "reflect", "wrap": "wrap"}
    if mode not in names or not isinstance(constant_values, (int, float)):
        raise InteropError(
            located(f"np.pad has mode {', '.join(names)} and one constant in atled; found {mode!r}")
        )
    widths = pad_width.tolist() if isinstance(pad_width, Tensor) else pad_width
    return pad(array, widths, mode, constant_values)


@numpy_name("diagflat")
def diagflat(v: Any, k: int = 0) -> Any:
    return FUNCTIONS["diag"](reshape(as_tensor(v), -1), k)


@numpy_name("full_like")
def full_like(a: Any, fill_value: Any, dtype: Any = None) -> Any:
    a = as_tensor(a)
    filled = FUNCTIONS["broadcast_to"](beside(a, fill_value)[1], a.shape)
    return FUNCTIONS["astype"](filled, a.dtype if dtype is None else dtype)


@numpy_name("delete")
def delete(arr: Any, obj: Any, axis: Any = None) -> Any:
    x, axis = flat_unless(arr, axis)
    n = x.shape[axis]
    gone = obj.tolist() if isinstance(obj, Tensor) else obj
    gone = range(n)[gone] if isinstance(gone, slice) else gone
    out = {i % n for i in ([gone] if isinstance(gone, int) else gone)}
    return FUNCTIONS["take"](x, [i for i in range(n) if i not in out], axis=axis)


@numpy_name("insert")
def insert(arr: Any, obj: Any, values: Any, axis: Any = None) -> Any:
    x, axis = flat_unless(arr, axis)
    if not isinstance(obj, int):
        raise InteropError(located("np.insert takes one place in atled"))
    v = beside(x, values)[1]
    shape = [1 if i == axis % x.ndim else n for i, n in enumerate(x.shape)]
    before, after = tensor_split(x, [obj], axis)
    v = v if v.ndim == x.ndim else FUNCTIONS["broadcast_to"](v, shape)
    return concat([before, v, after], axis)


@numpy_name("resize")
def resize(a: Any, new_shape: Any) -> Any:
    x = reshape(as_tensor(a), -1)
    shape = (new_shape,) if isinstance(new_shape, int) else tuple(new_shape)
    rows = [i % x.size for i in range(math.prod(shape))]
    return reshape(FUNCTIONS["take"](x, rows), shape)


@numpy_name("ediff1d")
def ediff1d(ary: Any, to_end: Any = None, to_begin: Any = None) -> Any:
    change = FUNCTIONS["diff"](reshape(as_tensor(ary), -1))
    parts = [part for part in (to_begin, change, to_end) if part is not None]
    return concat([reshape(part, -1) for part in beside(*parts)])


@numpy_name("gradient")
def gradient(f: Any, varargs: Any = (), axis: Any = None) -> Any:
    f = floating(f)
    axes = normalize_axes(axis, f.ndim, "gradient")
    steps = list(varargs) or [1.0]
    steps = steps * len(axes) if len(steps) == 1 else steps
    found = [_slope(f, h, at) for h, at in zip(steps, axes, strict=True)]
    return found[0] if len(found) == 1 else tuple(found)


def _slope(f: Tensor, h: Any, axis: int) -> Tensor:
    """Return central differences inside, one-sided ones at the ends, at spacing or points h."""
    f = moveaxis(f, axis, -1)
    if isinstance(h, (int, float)) or as_tensor(h).ndim == 0:
        h = FUNCTIONS["ones_like"](f[(0,) * (f.ndim - 1)][1:]) * h
    else:
        h = FUNCTIONS["diff"](as_tensor(h))
    rise = FUNCTIONS["diff"](f) / h
    before, after = h[:-1], h[1:]
    middle = (rise[..., :-1] * after + rise[..., 1:] * before) / (before + after)
    return moveaxis(concat([rise[..., :1], middle, rise[..., -1:]], -1), -1, axis)


@numpy_name("linspace")
def linspace(start: Any, stop: Any, num: int = 50, endpoint: bool = True, axis: int = 0) -> Any:
    start, stop = FUNCTIONS["broadcast_arrays"](*beside(start, stop))
    gaps = max(num - 1 if endpoint else num, 1)
    rows = [start + (stop - start) * (i / gaps) for i in range(num)]
    return FUNCTIONS["stack"](rows, axis=axis)


@numpy_name("fft.fftshift")
def fftshift(x: Any, axes: Any = None) -> Any:
    return _shifted(x, axes, lambda n: n // 2)


@numpy_name("fft.ifftshift")
def ifftshift(x: Any, axes: Any = None) -> Any:
    return _shifted(x, axes, lambda n: -(n // 2))


def _shifted(x: Any, axes: Any, by: Any) -> Any:
    x = as_tensor(x)
    over = normalize_axes(axes, x.ndim, "fftshift")
    return roll(x, [by(x.shape[a]) for a in over], over)


# -- writing: the Tensor that is written into gets a new value, on the tape


@numpy_name("copyto")
def copyto(dst: Any, src: Any, casting: Any = None, where: Any = True) -> None:
    full = FUNCTIONS["broadcast_to"](as_tensor(src), dst.shape)
    _write(dst, "copyto", ... if where is True else as_tensor(where), full)


@numpy_name("fill_diagonal")
def fill_diagonal(a: Any, val: Any) -> None:
    line = FUNCTIONS["arange"](min(a.shape))
    _write(a, "fill_diagonal", (line,) * a.ndim, val)


def _write(target: Any, name: str, index: Any, value: Any) -> None:
    if not isinstance(target, Tensor):
        raise InteropError(
            located(
                f"np.{name} cannot write a Tensor into {type(target).__name__}: its gradient would "
                "be lost; make the array written into a Tensor first: c = at.asarray(c)"
            )
        )
    target[index] = value
