"""Matrix products of known sizes: kernels for small ones, a call of a BLAS for large ones.

`product` returns a function ``void name(ptr a, ptr b, ptr c)`` for C = A·B or C += A·B, where C has
its columns side by side and A and B have any strides that have a one in them. What one element of
C adds up, and in which order, depends on the sizes alone, never on the number of threads.

The kernels keep a tile of C in registers (rows times vectors of columns) and run once along k for
it, broadcasting elements of A and loading vectors of B; see K. Goto and R. van de Geijn, "Anatomy
of high-performance matrix multiplication", ACM TOMS 34 (2008). Packing, which that paper is about,
is left out where B's rows are in order: what is small enough for these kernels is in the cache.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from math import ceil
from typing import NamedTuple

from atled.compile import blas
from atled.compile.ir import F32, F64, I64, Type, Writer
from atled.compile.native import host

__all__ = ["Block", "Body", "Loop", "Product", "blocks", "product"]


class Product(NamedTuple):
    """C = A·B, or C += A·B: (m, k) times (k, n), strides in elements; C's columns are adjacent."""

    m: int
    n: int
    k: int
    dtype: str
    a_row: int
    a_column: int
    b_row: int
    b_column: int
    c_row: int
    accumulate: bool = False

    @property
    def type(self) -> Type:
        """Type of an element."""
        return F32 if self.dtype == "float32" else F64

    @property
    def lanes(self) -> int:
        """Elements of a vector on this machine."""
        return host().vector_bytes * 8 // self.type.bits

    @property
    def name(self) -> str:
        """Name of the function, the same for equal products."""
        fields = [self.m, self.n, self.k, *self[4:9]]
        return f"{self.dtype[0]}{self.type.bits}_{'add' if self.accumulate else 'product'}_" + (
            "_".join(str(field).replace("-", "m") for field in fields)
        )


class Block(NamedTuple):
    """A part of a product that one thread computes: a product, and where it begins (elements)."""

    product: Product
    a: int
    b: int
    c: int


# -- loops -----------------------------------------------------------------------------------


@dataclass
class Loop:
    """A loop that is being written: its counter, and the values it hands from turn to turn."""

    index: str
    values: list[str]
    following: list[str]


class Body(Writer):
    """A writer that knows which block it is in, and can therefore write loops."""

    def __init__(self, declarations: set[str] | None = None) -> None:
        super().__init__(declarations)
        self.block = "entry"
        self.label("entry")

    def label(self, name: str) -> None:
        """Begin a block."""
        super().label(name)
        self.block = name

    @contextmanager
    def loop(
        self,
        start: str | int,
        stop: str | int,
        step: int = 1,
        values: list[tuple[Type | str, str]] = [],
    ) -> Iterator[Loop]:
        """Write a loop that runs at least once; `values` are carried along.

        The body puts the values of the next turn into `following`; after the loop it holds the
        values at the end.
        """
        head, done, before = self.fresh("loop"), self.fresh("done"), self.block
        index, following = "%" + self.fresh("i"), "%" + self.fresh("i")
        names = ["%" + self.fresh("carried") for _ in values]
        loop = Loop(index, names, list(names))
        self.do(f"br label %{head}")
        self.label(head)
        at = len(self.lines)
        yield loop
        phis = [f"  {index} = phi i64 [{start}, %{before}], [{following}, %{self.block}]"]
        for name, (kind, first), last in zip(names, values, loop.following, strict=True):
            phis.append(f"  {name} = phi {kind} [{first}, %{before}], [{last}, %{self.block}]")
        self.lines[at:at] = phis
        self.do(f"{following} = add nuw nsw i64 {index}, {step}")
        test = self.emit(f"icmp slt i64 {following}, {stop}")
        self.do(f"br i1 {test}, label %{head}, label %{done}")
        self.label(done)

    def offset(self, pointer: str, count: str | int, scalar: Type) -> str:
        """Return a pointer moved by a number of elements."""
        if count == 0:
            return pointer
        return self.emit(f"getelementptr {scalar}, ptr {pointer}, i64 {count}")

    def load(self, kind: Type, pointer: str, valid: int | None = None) -> str:
        """Load a value, or the first `valid` lanes of a vector with zeros after them."""
        if valid is None or valid >= kind.lanes:
            return self.emit(f"load {kind}, ptr {pointer}, align {kind.bits // 8}")
        mask = self._mask(kind, valid)
        self.declare(
            f"declare {kind} @llvm.masked.load.{kind.suffix}.p0"
            f"(ptr, i32, <{kind.lanes} x i1>, {kind})"
        )
        return self.emit(
            f"call {kind} @llvm.masked.load.{kind.suffix}.p0"
            f"(ptr {pointer}, i32 {kind.bits // 8}, {mask}, {kind} zeroinitializer)"
        )

    def store(self, kind: Type, value: str, pointer: str, valid: int | None = None) -> None:
        """Store a value, or the first `valid` lanes of a vector."""
        if valid is None or valid >= kind.lanes:
            self.do(f"store {kind} {value}, ptr {pointer}, align {kind.bits // 8}")
            return
        self.declare(
            f"declare void @llvm.masked.store.{kind.suffix}.p0"
            f"({kind}, ptr, i32, <{kind.lanes} x i1>)"
        )
        self.do(
            f"call void @llvm.masked.store.{kind.suffix}.p0({kind} {value}, ptr {pointer}, "
            f"i32 {kind.bits // 8}, {self._mask(kind, valid)})"
        )

    def _mask(self, kind: Type, valid: int) -> str:
        bits = ", ".join(f"i1 {str(lane < valid).lower()}" for lane in range(kind.lanes))
        return f"<{kind.lanes} x i1> <{bits}>"

    def splat(self, kind: Type, scalar: str) -> str:
        """Put a scalar in every lane."""
        if kind.lanes == 1:
            return scalar
        one = self.emit(f"insertelement {kind} poison, {kind.scalar} {scalar}, i64 0")
        return self.shuffle(kind, one, one, [0] * kind.lanes)

    def shuffle(self, kind: Type, a: str, b: str, lanes: list[int]) -> str:
        """Choose lanes out of two vectors, b's counted on from a's."""
        which = ", ".join(f"i32 {lane}" for lane in lanes)
        return self.emit(f"shufflevector {kind} {a}, {kind} {b}, <{len(lanes)} x i32> <{which}>")

    def multiply_add(self, kind: Type, a: str, b: str, c: str) -> str:
        """Return a·b + c, rounded once where the machine can."""
        name = f"@llvm.fmuladd.{kind.suffix}"
        return self.call(name, kind, (kind, a), (kind, b), (kind, c))

    def function(self, name: str, parameters: str) -> str:
        """Return the whole function."""
        head = f"define internal void @{name}({parameters}) noinline nounwind {{"
        return f"{head}\n{self.text()}\n  ret void\n}}\n"


# -- the choice ------------------------------------------------------------------------------


@lru_cache(None)
def product(p: Product) -> tuple[str, str, frozenset[str]]:
    """Return name, text and declarations of the function that computes a product.

    Raises:
        ValueError: a size is less than one, or A or B has no stride of one: copy it first.
    """
    p = simplest(p)
    body = Body()
    if not is_small(p):
        blas.call(body, p)
    elif p.b_column == 1:
        _tiles(body, p, "%b")
    elif p.m > 2:
        _tiles(body, *_packed(body, p))
    else:
        _dots(body, p)
    return p.name, body.function(p.name, "ptr %a, ptr %b, ptr %c"), frozenset(body.declarations)


def simplest(p: Product) -> Product:
    """Return the same product with its column vector as a row, and strides that matter only.

    Raises:
        ValueError: as `product`.
    """
    if min(p.m, p.n, p.k) < 1:
        raise ValueError(f"a matrix product needs sizes of at least one; found {p[:3]}")
    if p.n == 1 and p.c_row == 1:  # a vector's elements are adjacent: y = A·x is yᵀ = xᵀ·Aᵀ
        p = p._replace(m=1, n=p.m, a_row=p.b_column, a_column=p.b_row,
                       b_row=p.a_column, b_column=p.a_row)  # fmt: skip
    a_row, a_column, b_row, b_column = p[4:8]
    if p.k == 1:  # an outer product
        a_column, b_row = 1, p.n if b_column == 1 else 1
    if p.m == 1:
        a_row = p.k if a_column == 1 else 1
    if p.n == 1:
        b_row, b_column = (1, p.k) if b_row == 1 else (b_row, 1)
    p = p._replace(a_row=a_row, a_column=a_column, b_row=b_row, b_column=b_column,
                   c_row=p.n if p.m == 1 else p.c_row)  # fmt: skip
    for letter, strides in (("A", (a_row, a_column)), ("B", (b_row, b_column))):
        if 1 not in strides:
            raise ValueError(f"{letter} needs a stride of one; found {strides}: copy it first")
    return p


def is_small(p: Product) -> bool:
    """Say whether the product is left to a kernel of our own."""
    if not blas.convention():
        return True
    rows_apart = (p.a_column == 1 and p.a_row >= p.k) or (p.a_row == 1 and p.a_column >= p.m)
    columns_apart = (p.b_column == 1 and p.b_row >= p.n) or (p.b_row == 1 and p.b_column >= p.k)
    if not (rows_apart and columns_apart and p.c_row >= p.n):
        return True  # overlapping or reversed rows: not a BLAS's
    return p.m * p.n * p.k <= 64**3


# -- tiles -----------------------------------------------------------------------------------


def _registers() -> int:
    """Return how many vector registers there are."""
    wide = host().vector_bytes == 64 or host().triple.startswith(("aarch64", "arm64"))
    return 32 if wide else 16


@lru_cache(None)
def _tile_shape(m: int, vectors: int, registers: int) -> tuple[int, int]:
    """Return rows and vectors of a tile: the least work, with few kinds of tiles.

    A step along k costs a tile its multiplications, or its loads where they are more, or the wait
    for the last multiplication to end (4 cycles); a tile itself is entered and left.
    """

    def cost(tile: tuple[int, int]) -> float:
        rows, width = tile
        total = 0.0
        for r, row_blocks in _parts(m, rows):
            for v, column_blocks in _parts(vectors, width):
                step = max(r * v, 0.7 * (r + v), 4.0)
                total += row_blocks * column_blocks * (step + 0.1 * r * v + 0.5)
                total += 0.02 * r * v  # its text, that LLVM must read
        return total

    tiles = [(r, v) for r in range(1, 15) for v in range(1, 5) if r * v + v + 1 <= registers]
    return min(((r, v) for r, v in tiles if r <= m and v <= vectors), key=cost)


def _parts(whole: int, part: int) -> list[tuple[int, int]]:
    """Return (size, count) of full parts and of the rest."""
    return [(s, c) for s, c in ((part, whole // part), (whole % part, 1)) if s and c]


def _tiles(body: Body, p: Product, b: str) -> None:
    """Write C tile by tile; B's rows are in order at `b`."""
    vectors = ceil(p.n / p.lanes)
    rows, width = _tile_shape(p.m, vectors, _registers())
    at = 0
    for size, count in _column_parts(p, width):
        start, stop = at, at + size * count
        if count == 1:
            _row_blocks(body, p, rows, min(size, p.n - start), b, str(start))
        else:
            with body.loop(start, stop, size) as columns:
                _row_blocks(body, p, rows, size, b, columns.index)
        at = stop


def _column_parts(p: Product, width: int) -> list[tuple[int, int]]:
    """Return (columns, count) of blocks: equal ones, then a last one of what is left."""
    size = width * p.lanes
    return _parts(p.n, size)


def _row_blocks(body: Body, p: Product, rows: int, columns: int, b: str, at: str) -> None:
    """Write a block of columns, which begins at column `at`."""
    b, c = body.offset(b, at, p.type), body.offset("%c", at, p.type)
    a = "%a"
    for size, count in _parts(p.m, rows):
        if count == 1:
            _tile(body, p, size, columns, a, b, c)
            continue
        with body.loop(0, count, 1, [("ptr", a), ("ptr", c)]) as block:
            _tile(body, p, size, columns, block.values[0], b, block.values[1])
            block.following[0] = body.offset(block.values[0], size * p.a_row, p.type)
            block.following[1] = body.offset(block.values[1], size * p.c_row, p.type)
        a, c = block.following


def _tile(body: Body, p: Product, rows: int, columns: int, a: str, b: str, c: str) -> None:
    """Write one tile: `rows` times `columns` of C, in registers while k runs."""
    vector = Type(p.type.scalar, p.lanes)
    widths = [min(p.lanes, columns - at) for at in range(0, columns, p.lanes)]
    sums = ["zeroinitializer"] * (rows * len(widths))

    def step(a: str, b: str, sums: list[str], k: int) -> list[str]:
        right = [
            body.load(vector, body.offset(b, k * p.b_row + j * p.lanes, p.type), width)
            for j, width in enumerate(widths)
        ]
        result = []
        for i in range(rows):
            place = body.offset(a, i * p.a_row + k * p.a_column, p.type)
            left = body.splat(vector, body.load(p.type, place))
            own = sums[i * len(widths) : (i + 1) * len(widths)]
            result += [
                body.multiply_add(vector, left, x, y) for x, y in zip(right, own, strict=True)
            ]
        return result

    unroll = next(u for u in (4, 2, 1) if u * len(sums) <= 32 or u == 1)
    turns, rest = divmod(p.k, unroll)
    if turns > 1:
        values: list[tuple[Type | str, str]] = [("ptr", a), ("ptr", b)]
        with body.loop(0, turns, 1, values + [(vector, s) for s in sums]) as loop:
            (a_now, b_now), now = loop.values[:2], loop.values[2:]
            for k in range(unroll):
                now = step(a_now, b_now, now, k)
            a_next = body.offset(a_now, unroll * p.a_column, p.type)
            b_next = body.offset(b_now, unroll * p.b_row, p.type)
            loop.following[:] = [a_next, b_next, *now]
        (a, b), sums = loop.following[:2], loop.following[2:]
    else:
        rest = p.k
    for k in range(rest):
        sums = step(a, b, sums, k)
    for index, value in enumerate(sums):
        i, j = divmod(index, len(widths))
        place = body.offset(c, i * p.c_row + j * p.lanes, p.type)
        _put(body, p, vector, value, place, widths[j])


def _put(body: Body, p: Product, vector: Type, value: str, place: str, valid: int) -> None:
    """Store a vector of sums, or add it to what is there."""
    if p.accumulate:
        before = body.load(vector, place, valid)
        value = body.emit(f"fadd {vector} {before}, {value}")
    body.store(vector, value, place, valid)


# -- B with its columns in order -------------------------------------------------------------


def _packed(body: Body, p: Product) -> tuple[Product, str]:
    """Write B, whose columns are in order, into a buffer by rows; return the product with it.

    Squares of vectors are transposed in registers: `log2(lanes)` rounds of exchanges.
    """
    width = min(p.lanes, 4)
    vector = Type(p.type.scalar, width)
    row = ceil(p.n / p.lanes) * p.lanes
    buffer = body.emit(f"alloca [{p.k * row} x {p.type}], align 64")
    for columns, j_count in _parts(p.n, width):
        with body.loop(0, j_count) as j:
            first = 0 if columns == width else p.n - columns
            column = body.emit(f"mul i64 {j.index}, {width}")
            column = body.emit(f"add i64 {column}, {first}")
            source_column = body.emit(f"mul i64 {column}, {p.b_column}")
            source, target = (
                body.offset("%b", source_column, p.type),
                body.offset(buffer, column, p.type),
            )
            for depth, k_count in _parts(p.k, width):
                start = 0 if depth == width else p.k - depth
                with body.loop(0, k_count) as k:
                    at = body.emit(f"mul i64 {k.index}, {width}")
                    at = body.emit(f"add i64 {at}, {start}")
                    place = body.offset(source, at, p.type)
                    loaded = [
                        body.load(vector, body.offset(place, c * p.b_column, p.type), depth)
                        if c < columns
                        else "zeroinitializer"
                        for c in range(width)
                    ]
                    down = body.emit(f"mul i64 {at}, {row}")
                    into = body.offset(target, down, p.type)
                    for i, value in enumerate(_transposed(body, vector, loaded)[:depth]):
                        body.store(vector, value, body.offset(into, i * row, p.type))
    return p._replace(b_row=row, b_column=1), buffer


def _transposed(body: Body, vector: Type, rows: list[str]) -> list[str]:
    """Transpose a square of vectors."""
    half = vector.lanes // 2
    while half:
        low = [i ^ half if i & half else i for i in range(vector.lanes)]
        result = list(rows)
        for i in (i for i in range(vector.lanes) if not i & half):
            own, other = rows[i], rows[i + half]
            take = [x if not x & half else vector.lanes + low[x] for x in range(vector.lanes)]
            give = [x + half if not x & half else vector.lanes + x for x in range(vector.lanes)]
            result[i] = body.shuffle(vector, own, other, take)
            result[i + half] = body.shuffle(vector, own, other, give)
        rows, half = result, half // 2
    return rows


def _dots(body: Body, p: Product) -> None:
    """Write C as sums along k, a vector's lanes of columns at a time; B's columns are in order."""
    vector = Type(p.type.scalar, p.lanes)
    with body.loop(0, p.m) as i:
        a_row = body.offset("%a", body.emit(f"mul i64 {i.index}, {p.a_row}"), p.type)
        c_row = body.offset("%c", body.emit(f"mul i64 {i.index}, {p.c_row}"), p.type)
        for columns, count in _parts(p.n, p.lanes):
            first = 0 if columns == p.lanes else p.n - columns
            with body.loop(first, first + count * columns, columns) as j:
                at = body.emit(f"mul i64 {j.index}, {p.b_column}")
                b = body.offset("%b", at, p.type)
                sums = _dot_block(body, p, columns, a_row, b)
                _put(body, p, vector, sums, body.offset(c_row, j.index, p.type), columns)


def _dot_block(body: Body, p: Product, columns: int, a: str, b: str) -> str:
    """Return a vector whose lanes are products of a row of A and columns of B."""
    vector = Type(p.type.scalar, p.lanes)
    sums = ["zeroinitializer"] * columns

    def step(k: str, sums: list[str], valid: int) -> list[str]:
        left = body.load(vector, body.offset(a, k, p.type), valid)
        place = body.offset(b, k, p.type)
        return [
            body.multiply_add(
                vector,
                left,
                body.load(vector, body.offset(place, j * p.b_column, p.type), valid),
                s,
            )
            for j, s in enumerate(sums)
        ]

    whole = p.k - p.k % p.lanes
    if whole:
        with body.loop(0, whole, p.lanes, [(vector, s) for s in sums]) as loop:
            loop.following[:] = step(loop.index, loop.values, p.lanes)
        sums = loop.following
    if p.k > whole:
        sums = step(str(whole), sums, p.k - whole)
    return _folded(body, vector, sums)


def _folded(body: Body, vector: Type, values: list[str]) -> str:
    """Return the sums over the lanes of each of some vectors, one in each lane."""
    values = values + ["zeroinitializer"] * (vector.lanes - len(values))
    lanes, block = vector.lanes, vector.lanes
    while block > 1:
        low = [i for i in range(2 * lanes) if i % block < block // 2]
        high = [i for i in range(2 * lanes) if i % block >= block // 2]
        halves = [
            [body.shuffle(vector, u, v, which) for which in (low, high)]
            for u, v in zip(values[::2], values[1::2], strict=True)
        ]
        values = [body.emit(f"fadd {vector} {x}, {y}") for x, y in halves]
        block //= 2
    return values[0]
