"""Matrix products of known sizes: kernels for small ones, a call of a BLAS for large ones.

`product` returns a function ``void name(ptr a, ptr b, ptr c)`` for C = A·B or C += A·B, where C has
its columns side by side and A and B have any strides that have a one in them. What one element of
C adds up, and in which order, depends on the sizes alone, never on the number of threads.

The kernels keep a tile of C in registers (rows times vectors of columns) and run once along k for
it, broadcasting elements of A and loading vectors of B; see K. Goto and R. van de Geijn, "Anatomy
of high-performance matrix multiplication", ACM TOMS 34 (2008). Packing, which that paper is about,
is left out where B's rows are in order: what is small enough for these kernels is in the cache.
"""

from functools import lru_cache
from math import ceil
from typing import NamedTuple

from atled.compile import blas
from atled.compile.flow import Body
from atled.compile.ir import F32, F64, Type
from atled.compile.native import host

__all__ = ["Block", "Divided", "Product", "blocks", "divided", "product"]

POINTERS = "ptr %a, ptr %b, ptr %c"
RANGE = "i64 %begin, i64 %end"
LONGEST = 1024  # along k, for one of our kernels
BLOCK = 2_500_000  # multiplications that one block has at least: about 50 µs


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


# -- the choice ------------------------------------------------------------------------------


@lru_cache(None)
def product(p: Product) -> tuple[str, str, frozenset[str]]:
    """Return name, text and declarations of the function that computes a product.

    Our kernels may take `LONGEST` vectors of four registers (256 KB) of the stack.

    Raises:
        ValueError: a size is less than one, or A or B has no stride of one: copy it first.
    """
    given, p = p, simplest(p)
    swapped = _is_column(given)
    name = p.name + ("_swapped" if swapped else "")
    parameters = "ptr %b, ptr %a, ptr %c" if swapped else POINTERS
    texts, body = [], Body()
    if not is_ours(p):
        blas.call(body, p)
    elif p.k <= LONGEST:
        _kernel(body, p)
    else:
        texts = _in_turn(body, p, name)
    text = "\n".join([*texts, body.function(name, parameters)])
    return name, text, frozenset(body.declarations)


def _kernel(body: Body, p: Product) -> None:
    if p.b_column != 1 and p.m < 8 and p.a_column == 1:
        _dots(body, p)
    else:
        _tiles(body, p)


def _in_turn(body: Body, p: Product, name: str) -> list[str]:
    """Write a product as a sum of products, a stretch of k after another; return their texts."""
    texts = []
    whole, rest = divmod(p.k, LONGEST)
    for at, k, count in ((0, LONGEST, 1), (1, LONGEST, whole - 1), (whole, rest, 1)):
        if not k or not count:
            continue
        part = Body()
        _kernel(part, p._replace(k=k, accumulate=p.accumulate or at > 0))
        texts.append(part.function(f"{name}_{at}", POINTERS))
        body.declarations |= part.declarations
        with body.loop(at, at + count) as turn:
            a = body.offset("%a", body.place((turn.index, LONGEST * p.a_column)), p.type)
            b = body.offset("%b", body.place((turn.index, LONGEST * p.b_row)), p.type)
            body.do(f"call void @{name}_{at}(ptr {a}, ptr {b}, ptr %c)")
    return texts


def _is_column(p: Product) -> bool:
    """Say whether C is a column whose elements are adjacent: better a row, (A·x)ᵀ = xᵀ·Aᵀ."""
    return p.n == 1 and p.c_row == 1 and p.m > 1


def simplest(p: Product) -> Product:
    """Return the product with a column turned into a row, and the strides that do not matter set.

    Raises:
        ValueError: as `product`.
    """
    if min(p.m, p.n, p.k) < 1:
        raise ValueError(f"a matrix product needs sizes of at least one; found {p[:3]}")
    if _is_column(p):
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


def is_ours(p: Product) -> bool:
    """Say whether a product (of `simplest`) is left to a kernel of our own.

    Measured on two cores of a Zen 4 server (AVX-512, float32, OpenBLAS 0.3.34, one thread); GFLOP/s
    of our kernel and of OpenBLAS's, called from the same loop. B in order, then its columns, and
    A's columns in order:

        m  n  k             A·B        A·Bᵀ       Aᵀ·B
        32 16 8             92  57     80  20     108 80
        32 1 16             43  6      40  6      54  26
        32 64 64            110 98     101 75     109 105
        64 64 32            107 107    99  76     107 103
        32 10 64            69  62     64  60     70  64
        64 2 64             14  3.5→*  14  3.2    14  2.6
        128 128 128         106 92     96  89     106 90
        4 512 512           83  29     34  20     78  28
        16 256 256          103 73     48  57     108 71
        128 512 784         103 91     101 91     112 98
        1024 1024 1024      68  69     71  68     .   .
    """
    if not blas.convention():
        return True
    rows_apart = (p.a_column == 1 and p.a_row >= p.k) or (p.a_row == 1 and p.a_column >= p.m)
    columns_apart = (p.b_column == 1 and p.b_row >= p.n) or (p.b_row == 1 and p.b_column >= p.k)
    if not (rows_apart and columns_apart and p.c_row >= p.n):
        return True  # overlapping or reversed rows: not a BLAS's
    size, work = p.type.bits // 8, p.m * p.n * p.k
    if work <= 2**11:
        return True
    if (p.m * p.k + p.k * p.n + p.m * p.n) * size > 2**23:
        return False  # A would not stay in the cache
    if p.b_column != 1 and 1 < p.m < 24 and work > 2**17:
        return False  # too few rows to pack a panel for
    return 2 * p.n > p.lanes or (p.m == 1 and p.b_column != 1)


class Divided(NamedTuple):
    """A product in parts: ``void name(ptr a, ptr b, ptr c, i64 begin, i64 end)`` for some of them.

    Attributes:
        name: of the function.
        texts: by name, the function and those that it calls.
        units: parts.
    """

    name: str
    texts: dict[str, str]
    declarations: frozenset[str]
    units: int


def blocks(p: Product) -> list[Block]:
    """Divide a large product for several threads, in the same way on any number of them.

    A block takes 50 µs or more and there are 16 at most. Columns are divided where there are
    enough of them (a panel of B is packed once, and C's cache lines stay apart), else rows. Our
    kernels lose nothing by it; OpenBLAS, which packs for each call, 5 to 15 % at 8 blocks, 30 to
    60 % at blocks of 16 rows or columns.
    """
    count = min(16, p.m * p.n * p.k // BLOCK)
    if count < 2:
        return [Block(p, 0, 0, 0)]
    by_columns = p.n >= p.lanes * count or p.n >= p.m
    whole, unit = (p.n, p.lanes) if by_columns else (p.m, 8)
    part = ceil(whole / count / unit) * unit
    found = []
    for at in range(0, whole, part):
        size = min(part, whole - at)
        if by_columns:
            found.append(Block(p._replace(n=size), 0, at * p.b_column, at))
        else:
            found.append(Block(p._replace(m=size), at * p.a_row, 0, at * p.c_row))
    return found


def divided(p: Product) -> Divided:
    """Return a function that computes the blocks from `begin` up to `end` of a product."""
    parts = blocks(p)
    first, last = product(parts[0].product), product(parts[-1].product)
    step = parts[1] if len(parts) > 1 else parts[0]
    body = Body(first[2] | last[2])
    with body.loop("%begin", "%end") as i:
        places = [
            "ptr " + body.offset(f"%{letter}", body.place((i.index, stride)), p.type)
            for letter, stride in (("a", step.a), ("b", step.b), ("c", step.c))
        ]
        is_last = body.emit(f"icmp eq i64 {i.index}, {len(parts) - 1}")
        is_other = body.emit(f"xor i1 {is_last}, true")
        for test, (name, _, _) in ((is_last, last), (is_other, first)):
            with body.when(test):
                body.do(f"call void @{name}({', '.join(places)})")
    name = f"{p.name}_divided"
    texts = {first[0]: first[1], last[0]: last[1]}
    texts[name] = body.function(name, f"{POINTERS}, {RANGE}")
    return Divided(name, texts, frozenset(body.declarations), len(parts))


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


def _tiles(body: Body, p: Product) -> None:
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
