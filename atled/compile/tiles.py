"""Kernels of small and middling matrix products, written as LLVM's language.

`tiles` keeps a tile of C in registers (rows times vectors of columns) and runs once along k for
it, broadcasting elements of A and loading vectors of B; see K. Goto and R. van de Geijn, "Anatomy
of high-performance matrix multiplication", ACM TOMS 34 (2008). Packing, which that paper is about,
is left out where B's rows are in order: it was not measured to be faster for what these kernels
are given. `dots` runs along k with vectors of both A and B, and adds their lanes up at the end.

No order of a sum depends on anything but the sizes and the machine's vectors.
"""

from functools import lru_cache
from math import ceil
from typing import NamedTuple

from atled.compile.flow import Body
from atled.compile.ir import F32, F64, Type
from atled.compile.native import host

__all__ = ["Product", "dots", "tiles"]


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


# -- tiles -----------------------------------------------------------------------------------


def _registers() -> int:
    """Return how many vector registers there are."""
    wide = host().vector_bytes == 64 or host().triple.startswith(("aarch64", "arm64"))
    return 32 if wide else 16


@lru_cache(None)
def _tile_shape(m: int, vectors: int, registers: int, large: bool) -> tuple[int, int]:
    """Return rows and vectors of a tile: the shortest text among those that are about the fastest.

    A step along k costs a tile its multiplications, or its loads where they are more, or the wait
    for the last multiplication to end (4 cycles). LLVM takes 20 to 30 µs for each instruction.
    """

    def time(tile: tuple[int, int]) -> float:
        return sum(
            row_blocks * column_blocks * max(r * v + 1.5, 0.75 * (r + v), 4.0)
            for r, row_blocks in _parts(m, tile[0])
            for v, column_blocks in _parts(vectors, tile[1])
        )

    def text(tile: tuple[int, int]) -> int:
        return sum(
            r * v + 4 * r + 2 * v
            for r, _ in _parts(m, tile[0])
            for v, _ in _parts(vectors, tile[1])
        )

    rows, width = range(1, min(m, 14) + 1), range(1, min(vectors, 4) + 1)
    tiles = [(r, v) for r in rows for v in width if r * v + v + 1 <= registers]
    fastest = min(map(time, tiles)) * (1.02 if large else 1.06)
    return min((tile for tile in tiles if time(tile) <= fastest), key=text)


def _parts(whole: int, part: int) -> list[tuple[int, int]]:
    """Return (size, count) of full parts and of the rest."""
    return [(s, c) for s, c in ((part, whole // part), (whole % part, 1)) if s and c]


def tiles(body: Body, p: Product) -> None:
    """Write C as panels of columns, and these tile by tile."""
    rows, width = _tile_shape(p.m, ceil(p.n / p.lanes), _registers(), p.m * p.n * p.k > 96**3)
    width *= p.lanes
    buffer = ""
    if p.b_column != 1:
        buffer = body.emit(f"alloca [{p.k * width} x {p.type}], align 64")
    at = 0
    for size, count in _parts(p.n, width):
        with body.loop(at, at + size * count, size) as columns:
            start = body.emit(f"mul i64 {columns.index}, {p.b_column}")
            b, panel = body.offset("%b", start, p.type), p
            if buffer:
                panel, b = _packed(body, p, b, size, buffer), buffer
            _row_blocks(body, panel, rows, size, b, body.offset("%c", columns.index, p.type))
        at += size * count


def _row_blocks(body: Body, p: Product, rows: int, columns: int, b: str, c: str) -> None:
    """Write a panel of columns, of B at `b` and of C at `c`."""
    a = "%a"
    for size, count in _parts(p.m, rows):
        if count == 1:
            _tile(body, p, size, columns, a, b, c)
            a = body.offset(a, size * p.a_row, p.type)
            c = body.offset(c, size * p.c_row, p.type)
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

    unroll = next(u for u in (4, 2, 1) if u * len(sums) <= 12 or u == 1)
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


def _packed(body: Body, p: Product, b: str, columns: int, buffer: str) -> Product:
    """Write a panel of B into a buffer by rows; return the product that finds it there.

    B has its columns in order. Squares of 4 by 4 are transposed in registers (8 exchanges for 16
    elements: no slower than larger squares, and shorter), edges one element at a time.
    """
    row, side = ceil(columns / p.lanes) * p.lanes, min(p.lanes, 4)
    n, k = columns - columns % side, p.k - p.k % side

    def copied(at: tuple[int, int, int], rows: tuple[int, int, int], lanes: int) -> None:
        kind = Type(p.type.scalar, lanes)
        with body.loop(*at) as j:
            column = body.offset(b, body.emit(f"mul i64 {j.index}, {p.b_column}"), p.type)
            with body.loop(*rows) as i:
                source = body.offset(column, i.index, p.type)
                places = [body.offset(source, c * p.b_column, p.type) for c in range(lanes)]
                target = body.emit(f"mul i64 {i.index}, {row}")
                target = body.offset(body.offset(buffer, target, p.type), j.index, p.type)
                values = [body.load(kind, place) for place in places]
                for r, value in enumerate(_transposed(body, kind, values)):
                    body.store(kind, value, body.offset(target, r * row, p.type))

    if n and k:
        copied((0, n, side), (0, k, side), side)
    if n and k < p.k:
        copied((0, n, 1), (k, p.k, 1), 1)
    if n < columns:
        copied((n, columns, 1), (0, p.k, 1), 1)
    return p._replace(b_row=row, b_column=1)


def _transposed(body: Body, vector: Type, rows: list[str]) -> list[str]:
    """Transpose a square of vectors, by exchanging halves, quarters and so on of pairs of them."""
    lanes, half = vector.lanes, vector.lanes // 2
    while half:
        upper = [x if not x & half else lanes + (x ^ half) for x in range(lanes)]
        lower = [x ^ half if not x & half else lanes + x for x in range(lanes)]
        result = list(rows)
        for i in (i for i in range(lanes) if not i & half):
            result[i] = body.shuffle(vector, rows[i], rows[i + half], upper)
            result[i + half] = body.shuffle(vector, rows[i], rows[i + half], lower)
        rows, half = result, half // 2
    return rows


# -- sums along k ----------------------------------------------------------------------------


def dots(body: Body, p: Product) -> None:
    """Write C as sums along k, which both A's rows and B's columns have in order."""
    rows, columns = _dots_shape(p.m, p.n, ceil(p.k / p.lanes), p.lanes, _registers())
    across = [("i", *part) for part in _blocks(p.m, rows)]
    along = [("j", *part) for part in _blocks(p.n, columns)]
    outer, inner = (across, along) if p.n <= p.m else (along, across)  # the smaller stays near
    for letter, size, start, stop in outer:
        with body.loop(start, stop, size) as first:
            for _, other, other_start, other_stop in inner:
                with body.loop(other_start, other_stop, other) as second:
                    tile = (size, other, first.index, second.index)
                    if letter == "j":
                        tile = (other, size, second.index, first.index)
                    _dots_tile(body, p, *tile)


def _blocks(whole: int, part: int) -> list[tuple[int, int, int]]:
    """Return (size, start, stop) of full parts and of the rest."""
    full = whole - whole % part
    return [each for each in ((part, 0, full), (whole - full, full, whole)) if each[1] < each[2]]


@lru_cache(None)
def _dots_shape(m: int, n: int, steps: int, lanes: int, registers: int) -> tuple[int, int]:
    """Return rows and columns of a tile of sums: the shortest text of about the fastest."""

    def time(tile: tuple[int, int]) -> float:
        return sum(
            i
            * j
            * (
                steps * max(r * s + 1.5, 2.0 * (r + s), 4.0)
                + 2.5 * r * s
                + 4 * r * lanes.bit_length()
            )
            for r, i in _parts(m, tile[0])
            for s, j in _parts(n, tile[1])
        )

    def text(tile: tuple[int, int]) -> int:
        return sum(3 * r * s for r, _ in _parts(m, tile[0]) for s, _ in _parts(n, tile[1]))

    rows, columns = range(1, min(m, 4) + 1), range(1, min(n, lanes) + 1)
    tiles = [(r, s) for r in rows for s in columns if r * s + r + 1 <= min(registers, 24)]
    fastest = min(map(time, tiles)) * 1.06
    return min((tile for tile in tiles if time(tile) <= fastest), key=text)


def _dots_tile(body: Body, p: Product, rows: int, columns: int, i: str, j: str) -> None:
    """Write one tile, from row i and column j on: a vector of sums for each element."""
    a = body.offset("%a", body.place((i, p.a_row)), p.type)
    b = body.offset("%b", body.place((j, p.b_column)), p.type)
    c = body.offset("%c", body.place((i, p.c_row), (j, 1)), p.type)
    vector = Type(p.type.scalar, p.lanes)
    sums = ["zeroinitializer"] * (rows * columns)

    def step(k: str, sums: list[str], valid: int) -> list[str]:
        left = [
            body.load(vector, body.offset(a, body.place((k, 1), (r, p.a_row)), p.type), valid)
            for r in range(rows)
        ]
        result = list(sums)
        for s in range(columns):
            place = body.offset(b, body.place((k, 1), (s, p.b_column)), p.type)
            right = body.load(vector, place, valid)
            for r in range(rows):
                at = r * columns + s
                result[at] = body.multiply_add(vector, left[r], right, sums[at])
        return result

    whole = p.k - p.k % p.lanes
    if whole:
        with body.loop(0, whole, p.lanes, [(vector, s) for s in sums]) as loop:
            loop.following[:] = step(loop.index, loop.values, p.lanes)
        sums = loop.following
    if p.k > whole:
        sums = step(str(whole), sums, p.k - whole)
    for r in range(rows):
        row = _folded(body, vector, sums[r * columns : (r + 1) * columns])
        _put(body, p, vector, row, body.offset(c, r * p.c_row, p.type), columns)


def _folded(body: Body, vector: Type, values: list[str]) -> str:
    """Return the sums over the lanes of each of some vectors, one in each of the first lanes."""
    lanes, block = vector.lanes, vector.lanes
    while block > 1:  # each vector holds sums of `block` lanes, side by side
        low = [i for i in range(2 * lanes) if i % block < block // 2]
        high = [i for i in range(2 * lanes) if i % block >= block // 2]
        pairs = [(values[i], values[min(i + 1, len(values) - 1)]) for i in range(0, len(values), 2)]
        halves = [[body.shuffle(vector, *pair, which) for which in (low, high)] for pair in pairs]
        values = [body.emit(f"fadd {vector} {x}, {y}") for x, y in halves]
        block //= 2
    return values[0]
