"""torch's functions under the namespace's names, and what some of them need to keep to it.

Where torch has a function with the same meaning it is bound as it is, without a wrapper. The
others say what they correct: a weak scalar at the first place, integer division by zero, nan
in `sign`, `axis=()`, negative steps, the order of addition in a scatter.

Nothing here records for torch's autograd, since no array requires grad. Not used is
`array_api_compat.torch`: what it would add is promotion between dtypes, and the engine has
promoted before it calls.
"""

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch

from atled.backends.protocol import Backend
from atled.backends.singular import not_positive, singular
from atled.backends.torch.border import TorchBorder
from atled.dtypes import bool_, int64
from atled.errors import ShapeError

__all__ = ["TorchBackend", "backend"]

_SAME = """
abs negative sqrt square exp expm1 exp2 log log1p log2 log10
sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh floor ceil trunc round
isnan isinf isfinite signbit logical_not matmul erf erfinv lgamma sigmoid reshape
bitwise_and bitwise_or bitwise_xor bitwise_left_shift bitwise_right_shift
""".split()
# Python's operators take a scalar on either side, at the speed of torch's functions.
_OPERATORS = {
    "add": operator.add, "multiply": operator.mul, "bitwise_invert": operator.invert,
    "equal": operator.eq, "not_equal": operator.ne,
    "less": operator.lt, "less_equal": operator.le,
    "greater": operator.gt, "greater_equal": operator.ge,
}  # fmt: skip
# torch refuses some scalars: True in a difference, an exponent beyond float16.
_OF_MOST_SCALARS = {"subtract": operator.sub, "pow": torch.pow}
# torch wants two tensors: a scalar becomes one first.
_OF_TENSORS = """
atan2 copysign hypot logaddexp nextafter logical_and logical_or logical_xor
""".split()
_SCALARS = (float, int, bool)


class TorchBackend(TorchBorder):
    """The namespace over torch.Tensor."""

    def __init__(self) -> None:
        for name in _SAME:
            setattr(self, name, getattr(torch, name))
        for name, function in _OPERATORS.items():
            setattr(self, name, function)
        for name, function in _OF_MOST_SCALARS.items():
            setattr(self, name, self._of_most_scalars(function))
        for name in _OF_TENSORS:
            setattr(self, name, self._of_tensors(getattr(torch, name)))

    # -- weak scalars --------------------------------------------------------------------------

    def _of_tensors(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return torch's function of two tensors as one that takes a scalar on either side."""

        def call(a: Any, b: Any) -> Any:
            if type(a) in _SCALARS or type(b) in _SCALARS:
                a, b = self._both(a, b)
            return function(a, b)

        return call

    def _of_most_scalars(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that is tried with scalars as they are, then as tensors."""

        def call(a: Any, b: Any) -> Any:
            try:
                return function(a, b)
            except (RuntimeError, OverflowError):
                if type(a) not in _SCALARS and type(b) not in _SCALARS:
                    raise
            return function(*self._both(a, b))

        return call

    def _both(self, a: Any, b: Any) -> tuple[Any, Any]:
        """Return two operands as tensors, a scalar taking the dtype of the other one."""
        if type(a) in _SCALARS:
            return self._beside(a, b), b
        return (a, self._beside(b, a)) if type(b) in _SCALARS else (a, b)

    def _beside(self, value: Any, x: Any) -> Any:
        """Return a scalar as a 0-d tensor of the dtype of x, unless its kind is a higher one."""
        native = x.dtype
        if type(value) is float and not native.is_floating_point:
            native = self._native(None)
        elif type(value) is int and native is torch.bool:
            native = torch.int64
        return self._filled((), value, native, x.device)

    # -- creation ------------------------------------------------------------------------------

    def zeros(self, shape: Any, *, dtype: Any = None, device: Any = None) -> Any:
        return torch.zeros(shape, dtype=self._native(dtype), device=self._device(device))

    def ones(self, shape: Any, *, dtype: Any = None, device: Any = None) -> Any:
        return torch.ones(shape, dtype=self._native(dtype), device=self._device(device))

    def full(self, shape: Any, fill: Any, *, dtype: Any = None, device: Any = None) -> Any:
        """Return an array full of one scalar; without a dtype, of the scalar's kind."""
        if dtype is None and not isinstance(fill, float):
            dtype = bool_ if isinstance(fill, bool) else int64
        shape = (shape,) if isinstance(shape, int) else shape
        return self._filled(shape, fill, self._native(dtype), self._device(device))

    def arange(self, start: Any, stop: Any = None, step: Any = 1, *, dtype: Any = None,
               device: Any = None) -> Any:  # fmt: skip
        """Return start, start + step… up to stop (not included); int64 if all are integers."""
        if stop is None:
            start, stop = 0, start
        if dtype is None and all(isinstance(n, int) for n in (start, stop, step)):
            dtype = int64
        native, place = self._native(dtype), self._device(device)
        if (stop - start) * step < 0:  # nothing to count; torch raises
            return torch.zeros((0,), dtype=native, device=place)
        return torch.arange(start, stop, step, dtype=native, device=place)

    def zeros_like(self, x: Any, dtype: Any = None) -> Any:
        return torch.zeros_like(x, dtype=x.dtype if dtype is None else self._native(dtype))

    def ones_like(self, x: Any, dtype: Any = None) -> Any:
        return torch.ones_like(x, dtype=x.dtype if dtype is None else self._native(dtype))

    def full_like(self, x: Any, fill: Any, dtype: Any = None) -> Any:
        native = x.dtype if dtype is None else self._native(dtype)
        return self._filled(x.shape, fill, native, x.device)

    def astype(self, x: Any, *, dtype: Any) -> Any:
        return x.to(self._native(dtype))

    # -- elementwise ---------------------------------------------------------------------------

    def sign(self, x: Any) -> Any:
        return torch.where(x == x, torch.sign(x), x)  # torch has 0 at nan

    def divide(self, a: Any, b: Any) -> Any:
        if type(a) in _SCALARS:
            a = self._beside(a, b)  # torch's operator rounds 2 / x twice: 2 * (1 / x)
        if not a.is_floating_point():
            a = a.to(self._native(None))  # torch would take its own default dtype
        return torch.divide(a, b)

    def floor_divide(self, a: Any, b: Any) -> Any:
        """Divide and round down; integers divided by 0 give 0."""
        a, b = self._both(a, b)
        if a.is_floating_point() or b.is_floating_point():
            return torch.floor_divide(a, b)
        return _unless_zero(torch.floor_divide, a, b)

    def remainder(self, a: Any, b: Any) -> Any:
        """Return a - b floor(a / b), with the sign of b; of integers and b = 0, it is 0."""
        a, b = self._both(a, b)
        if a.is_floating_point() or b.is_floating_point():
            return torch.copysign(torch.remainder(a, b), b)  # for the sign of a zero
        return _unless_zero(torch.remainder, a, b)

    def maximum(self, a: Any, b: Any) -> Any:
        return self._bounded(torch.clamp_min, torch.maximum, a, b)

    def minimum(self, a: Any, b: Any) -> Any:
        return self._bounded(torch.clamp_max, torch.minimum, a, b)

    def _bounded(self, clamp: Any, choose: Any, a: Any, b: Any) -> Any:
        """Choose from two arrays; beside a scalar, clamp takes half the time (relu)."""
        if type(b) in _SCALARS and a.is_floating_point():
            try:
                return clamp(a, b)
            except (RuntimeError, OverflowError):  # a scalar beyond the range of a
                pass
        return choose(*self._both(a, b))

    def where(self, condition: Any, a: Any, b: Any) -> Any:
        if type(a) in _SCALARS and type(b) in _SCALARS:
            a, b = self.asarray([a, b], device=condition.device)
        try:
            return torch.where(condition, a, b)
        except RuntimeError:  # it may be a scalar beyond the range of the array beside it
            if type(a) not in _SCALARS and type(b) not in _SCALARS:
                raise
        return torch.where(condition, *self._both(a, b))

    def polygamma(self, x: Any, *, n: int) -> Any:
        """Return the n-th derivative of digamma, for n > 0 by Hurwitz's zeta function.

        ψ⁽ⁿ⁾(x) = (-1)ⁿ⁺¹ n! ζ(n + 1, x). torch.polygamma(1, x) has an error of 5e-10 in float64.
        """
        if n == 0:
            return torch.digamma(x)
        wide = x if x.dtype in (torch.float32, torch.float64) else x.to(torch.float32)
        y = math.factorial(n) * (-1) ** (n + 1) * torch.special.zeta(n + 1.0, wide)
        return torch.where(wide == math.inf, 0.0, y).to(x.dtype)  # torch's zeta: nan there

    # -- reductions and scans: axis=() reduces nothing, where torch reduces everything -----------

    def sum(self, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
        if axis == ():
            return x if x.is_floating_point() else x.to(torch.int64)
        return torch.sum(x, axis, keepdims)

    def prod(self, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
        if axis is None and not keepdims:
            return torch.prod(x)
        axes = range(x.ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
        x = x if x.is_floating_point() else x.to(torch.int64)
        for one in sorted([a % x.ndim for a in axes], reverse=True):
            x = torch.prod(x, one, keepdims)
        return x

    def max(self, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
        dims = () if axis is None else axis
        return x if axis == () else _not_empty("max", torch.amax, x, dims, keepdims)

    def min(self, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
        dims = () if axis is None else axis
        return x if axis == () else _not_empty("min", torch.amin, x, dims, keepdims)

    def all(self, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
        y = torch.all(x, axis, keepdims)
        return y if y.dtype is torch.bool else y.bool()  # torch keeps uint8

    def any(self, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
        y = torch.any(x, axis, keepdims)
        return y if y.dtype is torch.bool else y.bool()

    # torch documents the first index on ties; its kernels take the first nan, as NumPy does.
    def argmax(self, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
        x = x.to(torch.uint8) if x.dtype is torch.bool else x
        return _not_empty("argmax", torch.argmax, x, axis, keepdims)

    def argmin(self, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
        x = x.to(torch.uint8) if x.dtype is torch.bool else x
        return _not_empty("argmin", torch.argmin, x, axis, keepdims)

    def cumulative_sum(self, x: Any, *, axis: int) -> Any:
        return torch.cumsum(x, axis)

    def cumulative_prod(self, x: Any, *, axis: int) -> Any:
        return torch.cumprod(x, axis)

    def logsumexp(self, x: Any, *, axis: Any, keepdims: bool = False) -> Any:
        if axis == ():
            return x
        return torch.logsumexp(x, tuple(range(x.ndim)) if axis is None else axis, keepdims)

    def softmax(self, x: Any, *, axis: Any) -> Any:
        axis = _only(axis)
        if isinstance(axis, int):
            return torch.softmax(x, axis)
        if x.numel() == 0:
            return x
        e = torch.exp(x - self.max(x, axis=axis, keepdims=True))
        return e / self.sum(e, axis=axis, keepdims=True)

    def log_softmax(self, x: Any, *, axis: Any) -> Any:
        axis = _only(axis)
        if isinstance(axis, int):
            return torch.log_softmax(x, axis)
        if x.numel() == 0:
            return x
        z = x - self.max(x, axis=axis, keepdims=True)
        return z - torch.log(self.sum(torch.exp(z), axis=axis, keepdims=True))

    # -- movement and indexing -----------------------------------------------------------------

    def permute_dims(self, x: Any, *, axes: Any) -> Any:
        return x.permute(axes)

    def broadcast_to(self, x: Any, *, shape: Any) -> Any:
        return x.expand(shape)

    def concat(self, *arrays: Any, axis: int) -> Any:
        return torch.cat(arrays, axis)

    def slice(self, x: Any, *, index: Any) -> Any:
        forward, reversed_axes = _forward(index, x.shape)
        x = x[forward]
        return torch.flip(x, reversed_axes) if reversed_axes else x

    def place(self, x: Any, *, index: Any, shape: Any) -> Any:
        forward, reversed_axes = _forward(index, shape)
        out = x.new_zeros(shape)
        out[forward] = torch.flip(x, reversed_axes) if reversed_axes else x
        return out

    def gather_nd(self, x: Any, *indices: Any) -> Any:
        return x[tuple([i.long() for i in indices])]  # torch reads a uint8 index as a mask

    def scatter_nd_add(self, x: Any, v: Any, *indices: Any) -> Any:
        """Add v at x[indices], in an order that does not change from run to run.

        On the CPU a large float32 `index_put` adds atomically from several threads; `index_add`
        goes in the order of v, and is the faster by 6 for 8192 rows of 64. On CUDA it is the
        other way round: `index_add` is atomic, `index_put` sorts the indices first.
        """
        if x.is_cuda:
            return torch.index_put(x, [i.long() for i in indices], v, True)
        k = len(indices)
        rows = indices[0].long()
        for size, i in zip(x.shape[1:k], indices[1:], strict=True):
            rows = rows * size + i
        rest = x.shape[k:]
        flat = x.reshape((math.prod(x.shape[:k]), *rest))
        v = v.reshape((rows.numel(), *rest))
        return torch.index_add(flat, 0, rows.reshape(-1), v).reshape(x.shape)

    def scatter_nd_set(self, x: Any, v: Any, *indices: Any) -> Any:
        return torch.index_put(x, [i.long() for i in indices], v)

    # -- linear algebra ------------------------------------------------------------------------

    def cholesky(self, x: Any) -> Any:
        y, failed = torch.linalg.cholesky_ex(0.5 * (x + x.mT))
        if torch.any(failed):
            at = torch.nonzero(failed)[0].tolist()
            raise not_positive(at, int(failed[tuple(at)]))
        return y

    def lu(self, x: Any, *, needed_by: str) -> Any:
        n = x.shape[-1]
        packed, swaps, _ = torch.linalg.lu_factor_ex(x)
        if needed_by:
            zeros = torch.nonzero(torch.diagonal(packed, dim1=-2, dim2=-1) == 0)
            if len(zeros):
                raise singular(needed_by, zeros[0].tolist(), n)
        rows, _, _ = torch.lu_unpack(packed, swaps, unpack_data=False)
        p = torch.arange(n, dtype=x.dtype, device=x.device) @ rows
        return packed, p.to(torch.int64)[..., None]

    def permute_rows(self, x: Any, p: Any, *, inverse: bool) -> Any:
        order = torch.argsort(p, dim=-2) if inverse else p
        stack = torch.broadcast_shapes(x.shape[:-2], p.shape[:-2])
        shape = (*stack, *x.shape[-2:])
        return torch.gather(x.expand(shape), -2, order.expand(shape))

    def triangular_solve(
        self, a: Any, b: Any, *, lower: bool, unit_diagonal: bool, transposed: bool
    ) -> Any:
        return torch.linalg.solve_triangular(
            a.mT if transposed else a, b, upper=lower == transposed, unitriangular=unit_diagonal
        )

    def det(self, x: Any) -> Any:
        return torch.linalg.det(x)

    def slogdet(self, x: Any) -> Any:
        return tuple(torch.linalg.slogdet(x))

    def cofactor(self, x: Any) -> Any:
        """Return det(x) x⁻ᵀ; where det(x) is 0, or overflows, by the singular values of x.

        For x = U S Vᵀ it is det U det V · U C Vᵀ, C the diagonal of the products of the others.
        """
        n = x.shape[-1]
        one = torch.eye(n, dtype=x.dtype, device=x.device)
        packed, swaps, _ = torch.linalg.lu_factor_ex(x)
        moved = swaps != torch.arange(1, n + 1, device=x.device)
        sign = 1 - 2 * (moved.sum(-1) % 2)
        whole = sign * torch.diagonal(packed, dim1=-2, dim2=-1).prod(-1)
        if torch.all((whole != 0) & torch.isfinite(whole)):
            y = torch.linalg.lu_solve(packed, swaps, one.expand(x.shape), adjoint=True)
            y = whole[..., None, None] * y
            if torch.all(torch.isfinite(y)):
                return y
        unknown = ~torch.isfinite(x).all(-1, True).all(-2, True)
        u, s, v = torch.linalg.svd(torch.where(unknown, 0, x))
        others = torch.where(one == 1, 1, s[..., None, :]).prod(-1)
        sign = torch.linalg.det(u) * torch.linalg.det(v)
        y = sign[..., None, None] * u * others[..., None, :] @ v
        return torch.where(unknown, math.nan, y)

    # -- sorting -------------------------------------------------------------------------------

    def argsort(self, x: Any, *, axis: int, descending: bool = False) -> Any:
        return torch.argsort(x, dim=axis, descending=descending, stable=True)

    def searchsorted(self, x1: Any, x2: Any, *, side: str = "left") -> Any:
        return torch.searchsorted(x1.contiguous(), x2.contiguous(), side=side)

    def nonzero(self, x: Any) -> Any:
        return torch.nonzero(x, as_tuple=True)

    # -- convolution over 1 to 3 axes; on CUDA torch's own setting decides on TF32 -----------------

    def conv(self, x: Any, w: Any, *, stride: Any, padding: Any, dilation: Any,
             groups: int) -> Any:  # fmt: skip
        """Correlate x (batch, channels, …) with w (out channels, channels / groups, …)."""
        none = (0,) * len(stride)
        return torch.convolution(x, w, None, stride, padding, dilation, False, none, groups)

    def conv_input(self, g: Any, w: Any, *, shape: Any, stride: Any, padding: Any,
                   dilation: Any, groups: int) -> Any:  # fmt: skip
        """Return the gradient of `conv` to its input, which has `shape`."""
        x = g.new_empty(1).expand(shape)  # only its shape is read
        return _conv_backward(g, x, w, (stride, padding, dilation), groups, (True, False))[0]

    def conv_weight(self, x: Any, g: Any, *, shape: Any, stride: Any, padding: Any,
                    dilation: Any, groups: int) -> Any:  # fmt: skip
        """Return the gradient of `conv` to its weight, which has `shape`."""
        w = g.new_empty(1).expand(shape)
        return _conv_backward(g, x, w, (stride, padding, dilation), groups, (False, True))[1]


def _conv_backward(g: Any, x: Any, w: Any, geometry: Any, groups: int, wanted: Any) -> Any:
    none = (0,) * len(geometry[0])
    return torch.ops.aten.convolution_backward(
        g, x, w, None, *geometry, False, none, groups, (*wanted, False)
    )


def _only(axis: Any) -> Any:
    """Return the axis in a tuple of one, else what was given: torch's fused kernels take an int."""
    return axis[0] if isinstance(axis, tuple) and len(axis) == 1 else axis


def _unless_zero(function: Callable[..., Any], a: Any, b: Any) -> Any:
    """Apply an integer division with 0 where b is 0; torch raises, or on CUDA gives anything."""
    zero = b == 0
    return function(a, torch.where(zero, 1, b)).masked_fill(zero, 0)


def _not_empty(name: str, function: Callable[..., Any], x: Any, dims: Any, keepdims: bool) -> Any:
    try:
        return function(x, dims, keepdims)
    except (IndexError, RuntimeError):
        if x.numel():
            raise
    raise ShapeError(f"{name} of no elements does not exist; the shape is {tuple(x.shape)}")


def _forward(
    index: Sequence[tuple[int, int | None, int]], shape: Sequence[int]
) -> tuple[tuple[slice, ...], list[int]]:
    """Return slices with positive steps that pick the same elements, and the axes to flip."""
    picked, reversed_axes = [], []
    for axis, (start, stop, step) in enumerate(index):
        if step > 0:
            picked.append(slice(start, stop, step))
            continue
        run = range(shape[axis])[start:stop:step][::-1]
        picked.append(slice(run.start, run.stop, run.step) if run else slice(0, 0))
        reversed_axes.append(axis)
    return tuple(picked), reversed_axes


def backend() -> Backend:
    """Return the backend."""
    return TorchBackend()
