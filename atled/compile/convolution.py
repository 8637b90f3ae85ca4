"""Convolutions as matrix products of patches, which never leave the cache of the thread.

Each image (and group of channels) is a unit. Its patches, one row for each channel and place of
the kernel, are written into the thread's scratch for as many rows of the result as fit there, and
multiplied at once; see K. Chellapilla, S. Puri and P. Simard, "High performance convolutional
neural networks for document processing", 2006. The three functions compute what the records
`conv`, `conv_input` and `conv_weight` of `atled.ops.conv` define, of any number of spatial axes.

A *window* is the part of the padded image that a block of the result sees; it stands in scratch
too, so that no inner loop asks where the border is. Loops over rows may write or read up to a
vector more than the row has: the next row overwrites it, and the end has room for it.

Measured on one thread of a Zen 4 server (float32; ms; PyTorch 2.13 in parentheses), forward and
the gradients to image and weights, 3x3 kernels with padding: 64 images 1 to 32 channels, 28x28,
0.7 (1.0), 0.8 (5.1), 0.5 (1.2); 64 images 32 to 64, 14x14, 4.9 (5.0), 5.2 (4.8), 5.1 (5.3);
8 images 64 to 64, 56x56, 18 (18), 20 (18), 19 (20). The matrix products take 85 to 90 % of it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from math import prod

from atled.compile import matrix
from atled.compile.flow import Body, Kernel, row_vectors
from atled.compile.ir import F32, F64, Type
from atled.compile.matrix import Product
from atled.compile.native import host

__all__ = ["Convolution", "forward", "input_gradient", "weight_gradient"]

PATCHES = 384 * 1024  # bytes of patches at most, where one row of the result needs no more
NEAR = 64 * 1024  # bytes of patches at most that are added to the image at once
PARTIALS = 8  # sums over images of which the gradient of the weights is made
UNITS, UNIT = 16, 5_000_000  # to how many units few images are divided; operations of one at least


@dataclass(frozen=True)
class Convolution:
    """Sizes of y = conv(x, w): x (images, channels, *spatial), w (out_channels, ..., *kernel).

    One spatial axis is treated as the last of two. `stride`, `padding` and `dilation` have a
    number for each axis. Rows of the last axis are contiguous in all arrays.
    """

    images: int
    channels: int
    out_channels: int
    spatial: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int = 1
    dtype: str = "float32"
    rows: int = 0  # of the result along its first axis in a block; as many as fit, by default
    out: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        if len(self.spatial) == 1:
            for name, first in (
                ("spatial", 1), ("kernel", 1), ("stride", 1), ("padding", 0), ("dilation", 1)
            ):  # fmt: skip
                object.__setattr__(self, name, (first, *getattr(self, name)))
        axes = zip(self.spatial, self.kernel, self.stride, self.padding, self.dilation, strict=True)
        out = tuple([(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in axes])
        object.__setattr__(self, "out", out)
        if not self.rows:
            object.__setattr__(self, "rows", self._rows(1))

    def _rows(self, blocks: int) -> int:
        """Return how many rows to put into each of equal blocks, so that there are some blocks."""
        row = 0 if self.is_plain else self.depth * prod(self.out[1:]) * self.size
        return _divisor(self.out[0], PATCHES // max(row, 1), blocks)

    @property
    def type(self) -> Type:
        """Type of an element."""
        return F32 if self.dtype == "float32" else F64

    @property
    def size(self) -> int:
        """Bytes of an element."""
        return self.type.bits // 8

    @property
    def lanes(self) -> int:
        """Elements of a vector."""
        return host().vector_bytes // self.size

    @property
    def inputs(self) -> int:
        """Input channels of a group."""
        return self.channels // self.groups

    @property
    def outputs(self) -> int:
        """Output channels of a group."""
        return self.out_channels // self.groups

    @property
    def depth(self) -> int:
        """Rows of a matrix of patches: channels of a group times places of the kernel."""
        return self.inputs * prod(self.kernel)

    @property
    def units(self) -> int:
        """Images times groups: x and y lie one after another in memory in this order."""
        return self.images * self.groups

    @property
    def flops(self) -> int:
        """Operations: two for each product."""
        return 2 * self.units * self.outputs * self.depth * prod(self.out)

    @property
    def is_plain(self) -> bool:
        """Say whether the patches are the image itself."""
        return set(self.kernel) == set(self.stride) == {1} and not any(self.padding)

    @property
    def pieces(self) -> int:
        """Units that an image and group must give, for several threads to have some in all."""
        return -(-min(UNITS, self.flops // UNIT) // self.units)

    @property
    def columns(self) -> int:
        """Columns of a matrix of patches: places of the result in a block."""
        return self.rows * prod(self.out[1:])

    @property
    def window(self) -> tuple[int, ...]:
        """Sizes of the part of the padded image that a block sees."""
        first = (self.rows - 1) * self.stride[0] + self.dilation[0] * (self.kernel[0] - 1) + 1
        return (
            first, *[n + 2 * p for n, p in zip(self.spatial[1:], self.padding[1:], strict=True)]
        )  # fmt: skip

    @property
    def slack(self) -> int:
        """Elements that a loop over a row may read or write after its end."""
        return self.lanes * self.stride[-1]

    @property
    def name(self) -> str:
        """Name of the functions, the same for equal convolutions."""
        sizes = [self.images, self.channels, self.out_channels, self.groups]
        axes = [self.spatial, self.kernel, self.stride, self.padding, self.dilation]
        return "_".join(
            ["conv", f"f{self.type.bits}", *map(str, sizes), *["x".join(map(str, a)) for a in axes]]
        )


# -- the three functions ---------------------------------------------------------------------


def forward(c: Convolution) -> Kernel:
    """Return ``(ptr x, ptr w, ptr y, i64 begin, i64 end, ptr scratch)``.

    A unit is an image and group, or some rows of it where images are few.
    """
    places = prod(c.out)
    c = replace(c, rows=min(c.rows, c._rows(min(c.pieces, 1 + places // (2 * c.lanes)))))
    write = _Unit(c, c.inputs)
    body = write.body
    p = Product(c.outputs, c.columns, c.depth, c.dtype, c.depth, 1,
                places if c.is_plain else c.columns, 1, places)  # fmt: skip
    multiply = write.product(p)
    blocks, split = c.out[0] // c.rows, c.pieces > 1
    write.prepare()
    with body.units() as unit, body.nest(1 if split else blocks) as (block,):
        if split:
            unit, block = body.halves(unit, blocks)
        group = body.emit(f"urem i64 {unit}, {c.groups}")
        w = body.offset("%w", body.place((group, c.outputs * c.depth)), c.type)
        x = body.offset("%x", body.place((unit, c.inputs * prod(c.spatial))), c.type)
        y = body.place((unit, c.outputs * places), (block, c.columns))
        patches = write.patches(x, block)
        body.do(
            f"call void @{multiply}(ptr {w}, ptr {patches}, ptr {body.offset('%y', y, c.type)})"
        )
    return write.kernel(c.name, "ptr %x, ptr %w, ptr %y", c.units * (blocks if split else 1))


def input_gradient(c: Convolution) -> Kernel:
    """Return ``(ptr g, ptr w, ptr x, i64 begin, i64 end, ptr scratch)``: conv_input of g and w.

    A unit is some channels of an image: those whose patches, which are read once, stay near.
    """
    places, image = prod(c.out), prod(c.spatial)
    row = 0 if c.is_plain else prod(c.kernel) * c.columns * c.size
    part = _divisor(c.inputs, NEAR // max(row, 1), c.pieces)
    write = _Unit(c, part)
    body = write.body
    rows = part * prod(c.kernel)
    p = Product(rows, c.columns, c.outputs, c.dtype, 1, c.depth, places, 1,
                places if c.is_plain else c.columns)  # fmt: skip
    multiply = write.product(p)
    parts = c.inputs // part
    with body.units() as number:
        unit, at = body.halves(number, parts)
        group = body.emit(f"urem i64 {unit}, {c.groups}")
        w = body.offset("%w", body.place((group, c.outputs * c.depth), (at, rows)), c.type)
        x = body.offset("%x", body.place((number, part * image)), c.type)
        if not c.is_plain and not write.covers:
            body.zero(x, part * image * c.size)
        with body.nest(c.out[0] // c.rows) as (block,):
            place = body.place((unit, c.outputs * places), (block, c.columns))
            g = body.offset("%g", place, c.type)
            target = write.second
            if c.is_plain:
                target = body.offset(x, body.place((block, c.columns)), c.type)
            body.do(f"call void @{multiply}(ptr {w}, ptr {g}, ptr {target})")
            if not c.is_plain:
                write.add_patches(x, block)
    return write.kernel(f"{c.name}_input", "ptr %g, ptr %w, ptr %x", c.units * parts)


def weight_gradient(c: Convolution) -> Kernel:
    """Return two functions for conv_weight of x and g: sums over images, and the sums' sum.

    Both are ``(ptr x, ptr g, ptr w, ptr partials, i64 begin, i64 end, ptr scratch)``. A unit of the
    first is a share of the images (and some of the channels where images are few), of the second
    a channel and place of the kernel.
    """
    shares = min(c.images, PARTIALS)
    part = _divisor(c.inputs, c.inputs, min(c.pieces, -(-PARTIALS // shares)))
    units = shares * (c.inputs // part)
    write = _Unit(c, part)
    _partials(write, shares)
    name, pointers = f"{c.name}_weight", "ptr %x, ptr %g, ptr %w, ptr %partials"
    summing, summing_text, needs = _sum_of_partials(c, shares, name, pointers)
    kernel = write.kernel(name, pointers, units)
    return Kernel(
        [(name, units), (summing, c.groups * c.depth)],
        {**kernel.texts, summing: summing_text},
        kernel.declarations | needs,
        kernel.scratch_bytes,
        shares * c.groups * c.depth * c.outputs * c.size,
        c.flops,
    )


def _partials(write: "_Unit", shares: int) -> None:
    """Write the sums (shares, groups, depth, outputs) over shares of the images."""
    c, body, part = write.c, write.body, write.channels
    places, rows = prod(c.out), part * prod(c.kernel)
    # (patches, places) times (places, outputs): g is the smaller of the two to be transposed
    p = Product(rows, c.outputs, c.columns, c.dtype, places if c.is_plain else c.columns, 1,
                1, places, c.outputs, accumulate=True)  # fmt: skip
    multiply = write.product(p)
    write.prepare()
    one = c.depth * c.outputs
    with body.units() as number:
        share, at = body.halves(number, c.inputs // part)
        mine = body.place((share, c.groups * one), (at, rows * c.outputs))
        mine = body.offset("%partials", mine, c.type)
        with body.nest(c.groups) as (group,):
            sums = body.offset(mine, body.place((group, one)), c.type)
            body.zero(sums, rows * c.outputs * c.size)
        after = body.emit(f"add i64 {share}, 1")
        first, last = (
            body.emit(f"udiv i64 {body.place((i, c.images))}, {shares}") for i in (share, after)
        )
        with body.loop(first, last) as image, body.nest(c.groups) as (group,):
            unit = body.place((image.index, c.groups), (group, 1))
            x = body.place((unit, c.inputs * prod(c.spatial)), (at, part * prod(c.spatial)))
            x = body.offset("%x", x, c.type)
            sums = body.offset(mine, body.place((group, one)), c.type)
            with body.nest(c.out[0] // c.rows) as (block,):
                patches = write.patches(x, block)
                g = body.place((unit, c.outputs * places), (block, c.columns))
                g = body.offset("%g", g, c.type)
                body.do(f"call void @{multiply}(ptr {patches}, ptr {g}, ptr {sums})")


def _sum_of_partials(
    c: Convolution, shares: int, name: str, pointers: str
) -> tuple[str, str, set[str]]:
    """Return the function that adds the partials (shares, groups, depth, outputs) up into w."""
    body = Body()
    vector = Type(c.type.scalar, c.lanes)
    whole = c.groups * c.depth * c.outputs
    with body.units() as row:
        group = body.emit(f"udiv i64 {row}, {c.depth}")
        at = body.emit(f"urem i64 {row}, {c.depth}")
        source = body.offset("%partials", body.place((row, c.outputs)), c.type)
        target = body.place((group, c.outputs * c.depth), (at, 1))
        target = body.offset("%w", target, c.type)
        for kind, first, count in _vectors(vector, c.outputs):
            with body.loop(first, first + count * kind.lanes, kind.lanes) as o:
                place = body.offset(source, o.index, c.type)
                total = body.load(kind, place)
                for share in range(1, shares):
                    part = body.load(kind, body.offset(place, share * whole, c.type))
                    total = body.emit(f"fadd {kind} {total}, {part}")
                column = body.offset(target, body.place((o.index, c.depth)), c.type)
                for lane in range(kind.lanes):
                    value = total
                    if kind.lanes > 1:
                        value = body.emit(f"extractelement {kind} {total}, i64 {lane}")
                    body.store(c.type, value, body.offset(column, lane * c.depth, c.type))
    parameters = f"{pointers}, {matrix.RANGE}, ptr %scratch"
    return f"{name}_sum", body.function(f"{name}_sum", parameters), body.declarations


def _divisor(whole: int, most: int, parts: int) -> int:
    """Return the largest divisor up to `most` that makes `parts` parts; the smallest if none."""
    divisors = [i for i in range(1, whole + 1) if not whole % i]
    return max([i for i in divisors if i <= most and whole // i >= parts], default=1)


def _vectors(vector: Type, count: int) -> list[tuple[Type, int, int]]:
    """Return (type, first, how many) of vectors, then of single elements, that make up a row."""
    whole = count // vector.lanes
    rest = count - whole * vector.lanes
    parts = [(vector, 0, whole), (Type(vector.scalar), whole * vector.lanes, rest)]
    return [part for part in parts if part[2]]


# -- patches ---------------------------------------------------------------------------------


class _Unit:
    """A function that is being written: its body, its products, its scratch.

    Attributes:
        first, second: registers of two parts of scratch: the window, and the patches.
    """

    def __init__(self, c: Convolution, channels: int) -> None:
        self.c = c
        self.channels = channels  # that scratch has room for
        self.body = Body()
        self._texts: dict[str, str] = {}
        self._channel = prod(c.window)  # elements of a channel of the window
        window = (self.channels * self._channel + c.slack) * c.size
        self._window = -(-window // 64) * 64
        self.first = "%scratch"
        self.second = self.body.offset("%scratch", self._window // c.size, c.type)

    def product(self, p: Product) -> str:
        """Add a product's function to the text, and return its name."""
        name, text, declarations = matrix.product(p)
        self._texts[name] = text
        self.body.declarations |= declarations
        return name

    def kernel(self, name: str, pointers: str, units: int) -> Kernel:
        """Return the finished function."""
        c = self.c
        text = self.body.function(name, f"{pointers}, {matrix.RANGE}, ptr %scratch")
        patches = (self.channels * prod(c.kernel) * c.columns + c.lanes) * c.size
        return Kernel(
            [(name, units)],
            {**self._texts, name: text},
            frozenset(self.body.declarations),
            0 if c.is_plain else self._window + -(-patches // 64) * 64,
            0,
            c.flops,
        )

    def patches(self, x: str, block: str) -> str:
        """Write the patches that a block of the result is made of; return where they are."""
        c, body = self.c, self.body
        if c.is_plain:
            return body.offset(x, body.place((block, c.columns)), c.type)
        self._fill_window(x, block)
        step, vector = c.stride[-1], Type(c.type.scalar, c.lanes)
        wide = Type(c.type.scalar, c.lanes * step)
        with self._patch_rows() as (window, patch):
            if step == 1:
                body.move(vector, patch, window, c.out[-1], beyond=True)
            else:
                with body.loop(0, c.out[-1], c.lanes) as at:
                    source = body.offset(window, body.place((at.index, step)), c.type)
                    values = body.load(wide, source)
                    every = body.shuffle(wide, values, "poison", list(range(0, wide.lanes, step)))
                    body.store(vector, every, body.offset(patch, at.index, c.type))
        return self.second

    @property
    def covers(self) -> bool:
        """Say whether one window sees the whole image, so that what it adds up is the gradient."""
        c = self.c
        return c.rows == c.out[0] and c.window[0] - c.padding[0] >= c.spatial[0]

    def prepare(self) -> None:
        """Set the window to zero, once a call: its borders stay so."""
        if not self.c.is_plain:
            self.body.zero(self.first, self._window)

    def _fill_window(self, x: str, block: str) -> None:
        """Copy what a block sees of the image; rows outside of it are zero."""
        c, body = self.c, self.body
        vector = Type(c.type.scalar, c.lanes)
        with self._window_rows(block) as (window, row):
            inside = self._is_inside(row)
            with body.when(inside), self._lines(window, x, row) as (target, source):
                body.move(vector, target, source, c.spatial[-1])
            if c.padding[0]:
                with body.when(body.emit(f"xor i1 {inside}, true")):
                    body.zero(window, prod(c.window[1:]) * c.size)

    def add_patches(self, x: str, block: str) -> None:
        """Add a matrix of patches to the places of the image that they were taken from."""
        c, body = self.c, self.body
        step, vector = c.stride[-1], Type(c.type.scalar, c.lanes)
        wide = Type(c.type.scalar, c.lanes * step)
        apart = [i // step if i % step == 0 else c.lanes for i in range(wide.lanes)]
        body.zero(self.first, self._window)
        with self._patch_rows() as (window, patch):
            for first, count, valid in row_vectors(c.out[-1], c.lanes):
                with body.loop(first, first + count * c.lanes, c.lanes) as at:
                    values = body.load(vector, body.offset(patch, at.index, c.type), valid)
                    if step > 1:
                        values = body.shuffle(vector, values, "zeroinitializer", apart)
                    place = body.offset(window, body.place((at.index, step)), c.type)
                    before = body.load(wide, place)
                    body.store(wide, body.emit(f"fadd {wide} {before}, {values}"), place)
        with (
            self._window_rows(block) as (window, row),
            body.when(self._is_inside(row)),
            self._lines(window, x, row) as (source, target),
        ):
            for first, count, valid in row_vectors(c.spatial[-1], c.lanes):
                with body.loop(first, first + count * c.lanes, c.lanes) as at:
                    place = body.offset(target, at.index, c.type)
                    values = body.load(vector, body.offset(source, at.index, c.type), valid)
                    if not self.covers:
                        before = body.load(vector, place, valid)
                        values = body.emit(f"fadd {vector} {before}, {values}")
                    body.store(vector, values, place, valid)

    @contextmanager
    def _window_rows(self, block: str) -> Iterator[tuple[str, tuple[str, str]]]:
        """Loop over channels and rows of the window; give its place, and (channel, image's row)."""
        c, body = self.c, self.body
        slab = prod(c.window[1:])
        with body.nest(self.channels, c.window[0]) as (channel, down):
            window = body.place((channel, self._channel), (down, slab))
            row = body.place((block, c.rows * c.stride[0]), (down, 1))
            row = body.emit(f"sub nsw i64 {row}, {c.padding[0]}")
            yield body.offset(self.first, window, c.type), (channel, row)

    def _is_inside(self, row: tuple[str, str]) -> str:
        """Return a bit that says whether a row is the image's, and no padding."""
        return self.body.emit(f"icmp ult i64 {row[1]}, {self.c.spatial[0]}")

    @contextmanager
    def _lines(self, window: str, x: str, row: tuple[str, str]) -> Iterator[tuple[str, str]]:
        """Loop over lines of the last axis in a row; give their places in the window and in x."""
        c, body = self.c, self.body
        line = prod(c.spatial[1:])
        start = body.offset(x, body.place((row[0], prod(c.spatial)), (row[1], line)), c.type)
        with body.nest(*c.spatial[1:-1]) as between:
            inner = [(counter, prod(c.spatial[2 + i :])) for i, counter in enumerate(between)]
            outer = [(1, c.padding[-1])] + [
                (body.emit(f"add nsw i64 {counter}, {c.padding[1 + i]}"), prod(c.window[2 + i :]))
                for i, counter in enumerate(between)
            ]
            yield (
                body.offset(window, body.place(*outer), c.type),
                body.offset(start, body.place(*inner), c.type),
            )

    @contextmanager
    def _patch_rows(self) -> Iterator[tuple[str, str]]:
        """Loop over patches and lines of the result; give places in the window and in patches."""
        c, body = self.c, self.body
        out = (c.rows, *c.out[1:-1])
        steps = [prod(c.window[i + 1 :]) for i in range(len(c.window))]
        with body.nest(self.channels, *c.kernel, *out) as (channel, *counters):
            inside, lines = counters[: len(c.kernel)], counters[len(c.kernel) :]
            window = body.place(
                (channel, self._channel),
                *[(k, d * step) for k, d, step in zip(inside, c.dilation, steps, strict=True)],
                *[(o, s * step) for o, s, step in zip(lines, c.stride, steps, strict=False)],
            )
            sizes = (self.channels, *c.kernel, *out, c.out[-1])
            patch = body.place(
                *[(each, prod(sizes[i + 1 :])) for i, each in enumerate((channel, *counters))]
            )
            yield (
                body.offset(self.first, window, c.type), body.offset(self.second, patch, c.type)
            )  # fmt: skip
