"""Pooling of planes: the largest of each window, and its gradient.

A unit is one plane (an image's channel), so that no two units write to the same place. A maximum
is the first of the largest in the window, row by row, and NaN wins over everything, the last one
over the others: as `atled.nn.functional.pooling` has it, padding included (which counts as -inf).

Vectors run along rows of the result: `lanes` windows at once. What they read lies `stride` apart,
in vectors that are `stride` times as wide, of which every `stride`-th lane is taken. Where there
is padding, the plane stands in the thread's scratch with it.

Measured on one thread of a Zen 4 server (float32; ms; PyTorch 2.13 in parentheses), maximum and
gradient of 2048 planes of 28x28: windows of 2x2, 0.13 (9.1), 0.11 (0.45); overlapping windows of
3x3, padded, 0.45 (13), 0.57 (0.41).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from math import ceil, prod
from typing import NamedTuple

from atled.compile.flow import Body, Kernel, row_vectors
from atled.compile.ir import F32, F64, I8, I32, Type
from atled.compile.native import host

__all__ = ["Pooling", "max_pool", "max_pool_gradient"]

MOST_PLACES = 64  # of a window: its places are written out one after another
ARGUMENTS = "i64 %begin, i64 %end, ptr %scratch"


@dataclass(frozen=True)
class Pooling:
    """Sizes of a pooling over planes (planes, *spatial) of one or two axes.

    Attributes:
        out: windows along each axis; by default as many as fit. With more, the last hang over.
    """

    planes: int
    spatial: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    out: tuple[int, ...] = ()
    dtype: str = "float32"
    window: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        axes = zip(self.spatial, self.kernel, self.stride, self.padding, self.dilation, strict=True)
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
        return "_".join([f"f{self.type.bits}", *["x".join(map(str, a)) for a in axes]])


# -- the two functions -----------------------------------------------------------------------


def max_pool(p: Pooling) -> Kernel:
    """Return ``(ptr x, ptr y, ptr index, i64 begin, i64 end, ptr scratch)``.

    `index` takes for each window the place that won, row by row from 0 (`Pooling.index_type`).
    """
    write = _Planes(p)
    body, integer, small = write.body, Type(f"i{p.type.bits}", p.lanes), write.index

    def windows(at: _Windows) -> None:
        best, where = "", "zeroinitializer"
        for t, value in write.seen(at):
            if not best:
                best = value
                continue
            more = body.emit(f"fcmp ogt {write.vector} {value}, {best}")
            lost = body.emit(f"fcmp uno {write.vector} {value}, {value}")
            wins = body.emit(f"or {integer.of('i1')} {more}, {lost}")
            best = body.select(write.vector, wins, value, best)
            where = body.select(integer, wins, integer.const(t), where)
        body.store(write.vector, best, body.offset("%y", at.place, p.type), at.valid)
        if small != integer:
            where = body.emit(f"trunc {integer} {where} to {small}")
        body.store(small, where, body.offset("%index", at.place, p.index_type), at.valid)

    write.each("%x", float("-inf"), windows)
    return write.kernel("max_pool", "ptr %x, ptr %y, ptr %index")


def max_pool_gradient(p: Pooling) -> Kernel:
    """Return ``(ptr g, ptr index, ptr x, i64 begin, i64 end, ptr scratch)``.

    `x` takes the gradient: each g goes where the maximum was, added up in a fixed order.
    """
    write = _Planes(p)
    body, small = write.body, write.index

    def windows(at: _Windows) -> None:
        g = body.load(write.vector, body.offset("%g", at.place, p.type), at.valid)
        index = body.load(small, body.offset("%index", at.place, p.index_type), at.valid)

        def part(number: str) -> str:
            here = body.emit(f"icmp eq {small} {index}, {number}")
            return body.select(write.vector, here, g, "zeroinitializer")

        write.give(at, part)

    write.each("%x", None, windows)
    return write.kernel("max_pool_gradient", "ptr %g, ptr %index, ptr %x")


# -- planes and windows ----------------------------------------------------------------------


class _Windows(NamedTuple):
    """A vector of windows: registers of what they see, their row and first column, and place."""

    source: str  # the plane, with its padding
    down: str
    across: str
    place: str  # in the result
    valid: int  # lanes
    rows: Sequence[int | str]  # of the window


Columns = list[tuple[int, list[tuple[int, int]]]]


def _columns(p: Pooling) -> Columns:
    """Return the columns of the window by wide vector: (its first column, [(column, lane)])."""
    found: dict[int, list[tuple[int, int]]] = {}
    for k in range(p.kernel[1]):
        lane = k * p.dilation[1] % p.stride[1]
        found.setdefault(k * p.dilation[1] - lane, []).append((k, lane))
    return list(found.items())


class _Planes:
    """A function that is being written: loops over planes and windows, and what they touch."""

    def __init__(self, p: Pooling) -> None:
        if prod(p.kernel) > MOST_PLACES:
            raise ValueError(
                f"pooling: windows of {prod(p.kernel)} elements; kernels are for {MOST_PLACES} at "
                "most: reduce over the axes of the window instead"
            )
        self.p, self.body = p, Body()
        self.vector = Type(p.type.scalar, p.lanes)
        self.index = p.index_type._replace(lanes=p.lanes)
        self.step = p.stride[1]
        self.wide = Type(p.type.scalar, p.lanes * self.step)
        # a vector may hang over the window's end
        self._length = ceil((prod(p.window) + self.wide.lanes) / p.lanes) * p.lanes
        self._uses_scratch = False
        self._columns = _columns(p)

    def kernel(self, stem: str, pointers: str) -> Kernel:
        """Return the finished function."""
        p, name = self.p, f"{stem}_{self.p.name}"
        scratch = ceil(self._length * p.type.bits / 8 / 64) * 64 if self._uses_scratch else 0
        text = self.body.function(name, f"{pointers}, {ARGUMENTS}")
        flops = p.planes * prod(p.out) * prod(p.kernel)
        return Kernel(
            [(name, p.planes)], {name: text}, frozenset(self.body.declarations), scratch, 0, flops
        )

    def each(self, x: str, fill: float | None, windows: Callable[[_Windows], None]) -> None:
        """Write the loops, around what is done for a vector of windows.

        Args:
            x: register of the planes, which are read where there is a `fill` for their padding,
                and otherwise written.
        """
        p, body = self.p, self.body
        self._uses_scratch = not (p.is_plain if fill is not None else p.is_tiled)
        if self._uses_scratch and fill is not None:
            value = self.vector.const(fill)
            with body.loop(0, self._length, p.lanes) as i:
                body.store(self.vector, value, body.offset("%scratch", i.index, p.type))
        with body.units() as unit:
            plane = body.offset(x, body.place((unit, prod(p.spatial))), p.type)
            source = "%scratch" if self._uses_scratch else plane
            if fill is None:
                self._empty(plane)
            elif self._uses_scratch:
                self._copy_lines(plane, into_scratch=True)
            if fill is not None or not self._uses_scratch:
                self._over_windows(source, unit, range(p.kernel[0]), windows)
            else:
                # A vector that overlaps the last one stored would have to wait for it: one place
                # of the windows after another goes over the plane (3 times faster, 3x3 windows).
                for each in _columns(p):
                    self._columns = [each]
                    with body.nest(p.kernel[0]) as (row,):
                        self._over_windows(source, unit, [row], windows)
                self._copy_lines(plane, into_scratch=False)

    def _over_windows(
        self,
        source: str,
        unit: str,
        rows: Sequence[int | str],
        windows: Callable[[_Windows], None],
    ) -> None:
        p, body = self.p, self.body
        with body.nest(p.out[0]) as (down,):
            for first, count, valid in row_vectors(p.out[1], p.lanes):
                with body.loop(first, first + count * p.lanes, p.lanes) as at:
                    place = body.place((unit, prod(p.out)), (down, p.out[1]), (at.index, 1))
                    windows(_Windows(source, down, at.index, place, valid, rows))

    def _empty(self, plane: str) -> None:
        p, size = self.p, self.p.type.bits // 8
        if self._uses_scratch:
            self.body.zero("%scratch", self._length * size)
        elif p.spatial != tuple([k * m for k, m in zip(p.kernel, p.out, strict=True)]):
            self.body.zero(plane, prod(p.spatial) * size)

    def _copy_lines(self, plane: str, into_scratch: bool) -> None:
        """Copy a plane between its array and the inside of the padded one."""
        p, body = self.p, self.body
        with body.nest(p.spatial[0]) as (row,):
            line = body.offset(plane, body.place((row, p.spatial[1])), p.type)
            inside = body.place((row, p.window[1]), (1, p.padding[0] * p.window[1] + p.padding[1]))
            padded = body.offset("%scratch", inside, p.type)
            places = (padded, line) if into_scratch else (line, padded)
            body.copy(*places, p.spatial[1] * p.type.bits // 8)

    def _place(self, at: _Windows, row: int | str, first: int) -> str:
        """Return where the windows have a row and column of theirs."""
        p, width, body = self.p, self.p.window[1], self.body
        down = (at.down, p.stride[0] * width)
        inside = ((row, p.dilation[0] * width), (first, 1))
        place = body.place(down, (at.across, self.step), *inside)
        return body.offset(at.source, place, p.type)

    def _number(self, row: int | str, column: int) -> str:
        """Return the number of a place of the window, row by row, in every lane."""
        if isinstance(row, int):
            return self.index.const(row * self.p.kernel[1] + column)
        number = self.body.place((row, self.p.kernel[1]), (column, 1))
        scalar = self.p.index_type
        return self.body.splat(self.index, self.body.emit(f"trunc i64 {number} to {scalar}"))

    def seen(self, at: _Windows) -> Iterator[tuple[int, str]]:
        """Yield (place of the window, what is there), row by row, for a vector of windows."""
        for row in range(self.p.kernel[0]):
            for first, columns in self._columns:
                last = (at.valid - 1) * self.step + max(lane for _, lane in columns)
                valid = None if self._uses_scratch else last + 1
                wide = self.body.load(self.wide, self._place(at, row, first), valid)
                for column, lane in columns:
                    every = [lane + i * self.step for i in range(self.p.lanes)]
                    narrow = self.step > 1
                    value = self.body.shuffle(self.wide, wide, "poison", every) if narrow else wide
                    yield row * self.p.kernel[1] + column, value

    def give(self, at: _Windows, part: Callable[[str], str]) -> None:
        """Add for each place of the window a vector, its part, to what the windows saw there.

        Args:
            part: takes the number of a place, in every lane.
        """
        for row in at.rows:
            for first, columns in self._columns:
                parts = [(lane, part(self._number(row, column))) for column, lane in columns]
                total, place = self._apart(parts), self._place(at, row, first)
                valid = at.valid * self.step
                if self._uses_scratch:
                    valid += max(lane for _, lane in columns) + 1 - self.step
                    before = self.body.load(self.wide, place, valid)
                    total = self.body.emit(f"fadd {self.wide} {before}, {total}")
                self.body.store(self.wide, total, place, valid)

    def _apart(self, parts: list[tuple[int, str]]) -> str:
        """Put vectors into a wide one: each begins at a lane and takes every `stride`-th."""
        if self.step == 1:
            return parts[0][1]
        lanes, total = self.p.lanes, ""
        for start, value in parts:
            which = [
                i // self.step if i % self.step == start else lanes for i in range(self.wide.lanes)
            ]
            spread = self.body.shuffle(self.vector, value, "zeroinitializer", which)
            total = self.body.emit(f"fadd {self.wide} {total}, {spread}") if total else spread
        return total
