"""Pooling of planes: the largest or the mean of each window, and the gradients of both.

A unit is one plane (an image's channel), so that no two units write to the same place. A maximum
is the first of the largest in the window, row by row, and NaN wins over everything, the last one
over the others: as `atled.nn.functional.pooling` has it, padding included (which counts as -inf).

Vectors run along rows of the result: `lanes` windows at once. What they read lies `stride` apart,
in vectors that are `stride` times as wide, of which every `stride`-th lane is taken. Where there
is padding, the plane stands in the thread's scratch with it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import prod

from atled.compile.flow import Body, Kernel
from atled.compile.ir import F32, F64, I8, I32, Type
from atled.compile.native import host

__all__ = ["Pooling", "avg_pool", "avg_pool_gradient", "max_pool", "max_pool_gradient"]

ARGUMENTS = "i64 %begin, i64 %end, ptr %scratch"


@dataclass(frozen=True)
class Pooling:
    """Sizes of a pooling over planes (planes, *spatial) of one or two axes.

    Attributes:
        out: windows along each axis; by default as many as fit. With more, the last hang over.
        divisor: a mean's divisor; 0 stands for the elements of the window.
        count_padding: whether padding is among those (what hangs over the padding never is).
    """

    planes: int
    spatial: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    out: tuple[int, ...] = ()
    dtype: str = "float32"
    divisor: int = 0
    count_padding: bool = True
    window: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        axes = zip(
            self.spatial, self.kernel, self.stride, self.padding, self.dilation, strict=True
        )
        fits = tuple([(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in axes])
        object.__setattr__(self, "out", self.out or fits)
        if len(self.spatial) == 1:
            for name in ("spatial", "kernel", "stride", "dilation", "out"):
                object.__setattr__(self, name, (1, *getattr(self, name)))
            object.__setattr__(self, "padding", (0, *self.padding))
        sizes = zip(self.spatial, self.kernel, self.stride, self.padding, self.dilation, self.out,
                    strict=True)  # fmt: skip
        window = [max(n + p, (m - 1) * s + d * (k - 1) + 1) for n, k, s, p, d, m in sizes]
        object.__setattr__(self, "window", tuple(window))

    @property
    def type(self) -> Type:
        """Type of an element."""
        return F32 if self.dtype == "float32" else F64

    @property
    def index_type(self) -> Type:
        """Type of an element of the array that says which place of its window won."""
        return I8 if prod(self.kernel) <= 127 else I32

    @property
    def lanes(self) -> int:
        """Elements of a vector."""
        return host().vector_bytes * 8 // self.type.bits

    @property
    def is_plain(self) -> bool:
        """Say whether no window sees anything but the plane."""
        return self.window == self.spatial

    @property
    def is_tiled(self) -> bool:
        """Say whether windows are side by side, so that no two share an element."""
        return self.is_plain and self.stride == self.kernel and set(self.dilation) == {1}

    @property
    def name(self) -> str:
        """Last part of the functions' names, the same for equal poolings."""
        axes = [self.spatial, self.kernel, self.stride, self.padding, self.dilation, self.out]
        return "_".join(
            [f"f{self.type.bits}", *["x".join(map(str, a)) for a in axes]]
            + [str(self.divisor), "padded" * self.count_padding]
        )


# -- the four functions ----------------------------------------------------------------------


def max_pool(p: Pooling) -> Kernel:
    """Return ``(ptr x, ptr y, ptr index, i64 begin, i64 end, ptr scratch)``.

    `index` takes for each window the place that won, row by row from 0 (`Pooling.index_type`).
    """
    write = _Planes(p)
    body, integer = write.body, Type(f"i{p.type.bits}", p.lanes)
    write.fill_window(p.type.const(float("-inf")))
    with write.planes("%x") as (plane, at):
        window = write.padded(plane)
        with write.outputs(at) as (down, across, place, valid):
            best, where = "", "zeroinitializer"
            for t, value in write.seen(window, down, across, valid):
                if not best:
                    best = value
                    continue
                more = body.emit(f"fcmp ogt {write.vector} {value}, {best}")
                lost = body.emit(f"fcmp uno {write.vector} {value}, {value}")
                wins = body.emit(f"or <{p.lanes} x i1> {more}, {lost}")
                best = body.select(write.vector, wins, value, best)
                where = body.select(integer, wins, integer.const(t), where)
            body.store(write.vector, best, body.offset("%y", place, p.type), valid)
            small = p.index_type.of(p.index_type.scalar)._replace(lanes=p.lanes)
            if small != integer:
                where = body.emit(f"trunc {integer} {where} to {small}")
            body.store(small, where, body.offset("%index", place, p.index_type), valid)
    return write.kernel("max_pool", "ptr %x, ptr %y, ptr %index", 2 * prod(p.kernel))


def max_pool_gradient(p: Pooling) -> Kernel:
    """Return ``(ptr g, ptr index, ptr x, i64 begin, i64 end, ptr scratch)``: g where it came from.

    `x` is written: the gradient of the planes.
    """
    write = _Planes(p)
    body, small = write.body, p.index_type._replace(lanes=p.lanes)

    def given(t: int, values: tuple[str, str]) -> str:
        g, index = values
        here = body.emit(f"icmp eq {small} {index}, {small.const(t)}")
        return body.select(write.vector, here, g, "zeroinitializer")

    with write.planes("%x") as (plane, at):
        window = write.emptied(plane)
        with write.outputs(at) as (down, across, place, valid):
            g = body.load(write.vector, body.offset("%g", place, p.type), valid)
            index = body.load(small, body.offset("%index", place, p.index_type), valid)
            parts = {t: given(t, (g, index)) for t in range(prod(p.kernel))}
            write.give(window, down, across, valid, parts)
        write.hand_over(window, plane)
    return write.kernel("max_pool_gradient", "ptr %g, ptr %index, ptr %x", prod(p.kernel))


def avg_pool(p: Pooling) -> Kernel:
    """Return ``(ptr x, ptr y, i64 begin, i64 end, ptr scratch)``."""
    write = _Planes(p)
    body = write.body
    write.fill_window(p.type.const(0.0))
    with write.planes("%x") as (plane, at):
        window = write.padded(plane)
        with write.outputs(at) as (down, across, place, valid):
            total = ""
            for _, value in write.seen(window, down, across, valid):
                total = body.emit(f"fadd {write.vector} {total}, {value}") if total else value
            mean = write.divided(total, down, across, valid)
            body.store(write.vector, mean, body.offset("%y", place, p.type), valid)
    return write.kernel("avg_pool", "ptr %x, ptr %y", prod(p.kernel))


def avg_pool_gradient(p: Pooling) -> Kernel:
    """Return ``(ptr g, ptr x, i64 begin, i64 end, ptr scratch)``; `x` is written."""
    write = _Planes(p)
    body = write.body
    with write.planes("%x") as (plane, at):
        window = write.emptied(plane)
        with write.outputs(at) as (down, across, place, valid):
            g = body.load(write.vector, body.offset("%g", place, p.type), valid)
            g = write.divided(g, down, across, valid)
            write.give(window, down, across, valid, dict.fromkeys(range(prod(p.kernel)), g))
        write.hand_over(window, plane)
    return write.kernel("avg_pool_gradient", "ptr %g, ptr %x", prod(p.kernel))


# -- planes and windows ----------------------------------------------------------------------


class _Planes:
    """A function that is being written: loops over planes and windows, and what they touch."""

    def __init__(self, p: Pooling) -> None:
        self.p = p
        self.body = Body()
        self.vector = Type(p.type.scalar, p.lanes)
        self.wide = Type(p.type.scalar, p.lanes * p.stride[1])
        self._window = prod(p.window) + self.wide.lanes  # a vector may hang over the end

    def kernel(self, stem: str, pointers: str, flops: int) -> Kernel:
        """Return the finished function; `flops` are those of one window."""
        p, name = self.p, f"{stem}_{self.p.name}"
        return Kernel(
            [(name, p.planes)],
            self.body.function(name, f"{pointers}, {ARGUMENTS}"),
            frozenset(self.body.declarations),
            0 if p.is_plain and (p.is_tiled or "gradient" not in stem) else self._bytes(),
            0,
            p.planes * prod(p.out) * flops,
        )

    def _bytes(self) -> int:
        return -(-self._window * self.p.type.bits // 8 // 64) * 64

    @contextmanager
    def planes(self, pointer: str) -> Iterator[tuple[str, str]]:
        """Loop over planes; give a plane's place, and where its windows begin in the result."""
        p, body = self.p, self.body
        with body.loop("%begin", "%end") as unit:
            plane = body.offset(pointer, body.place((unit.index, prod(p.spatial))), p.type)
            yield plane, body.place((unit.index, prod(p.out)))

    @contextmanager
    def outputs(self, at: str) -> Iterator[tuple[str, str, str, int]]:
        """Loop over vectors of windows; give row, column, place in the result, and valid lanes."""
        raise NotImplementedError
