"""Matrix products of known sizes: our kernels for small ones, a call of a BLAS for large ones.

`product` returns a function ``void name(ptr a, ptr b, ptr c)`` for C = A·B or C += A·B, where C has
its columns side by side, and A and B have rows or columns side by side. What one element of C adds
up, and in which order, depends on the sizes alone, never on the number of threads.
"""

from functools import lru_cache
from math import ceil
from typing import NamedTuple

from atled.compile import blas
from atled.compile.flow import Body
from atled.compile.tiles import Product, dots, tiles

__all__ = ["Block", "Divided", "Product", "blocks", "divided", "product"]

POINTERS = "ptr %a, ptr %b, ptr %c"
RANGE = "i64 %begin, i64 %end"
LONGEST = 1024  # along k, for one of our kernels
BLOCK = 1_250_000  # multiplications that one block has at least: 10 to 25 µs


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
    elif p.k <= _longest(p):
        _kernel(body, p)
    else:
        texts = _in_turn(body, p, name)
    text = "\n".join([*texts, body.function(name, parameters)])
    return name, text, frozenset(body.declarations)


def _kernel(body: Body, p: Product) -> None:
    """Write one of our kernels."""
    if _is_dots(p):
        dots(body, p)
    else:
        tiles(body, p)


def _longest(p: Product) -> int:
    """Return how far along k a kernel goes at once.

    With A's columns in order each step is another cache line, of which a tile reads a part; the
    rows below need the others soon (1024 x 64 x 1024: 37 GFLOP/s at once, 82 in stretches).
    """
    return LONGEST if p.a_column == 1 else LONGEST // 4


def _is_dots(p: Product) -> bool:
    """Say whether sums along k are cheaper, in cycles, than to pack B and multiply tiles.

    They read the smaller matrix over and over: 64 KB of it at most.
    """
    if p.b_column == 1 or p.a_column != 1:
        return False
    near = min(p.m, p.n) * min(p.k, LONGEST) * p.type.bits // 8 <= 2**16
    sums = p.m * p.n * (ceil(p.k / p.lanes) + 2.8)
    return near and sums < p.m * ceil(p.n / p.lanes) * p.k + 0.35 * p.n * p.k


def _in_turn(body: Body, p: Product, name: str) -> list[str]:
    """Write a product as a sum of products, a stretch of k after another; return their texts."""
    texts, longest = [], _longest(p)
    whole, rest = divmod(p.k, longest)
    for at, k, count in ((0, longest, 1), (1, longest, whole - 1), (whole, rest, 1)):
        if not k or not count:
            continue
        part = Body()
        _kernel(part, p._replace(k=k, accumulate=p.accumulate or at > 0))
        texts.append(part.function(f"{name}_{at}", POINTERS))
        body.declarations |= part.declarations
        with body.loop(at, at + count) as turn:
            a = body.offset("%a", body.place((turn.index, longest * p.a_column)), p.type)
            b = body.offset("%b", body.place((turn.index, longest * p.b_row)), p.type)
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

    Measured on a Zen 4 server (AVX-512, one thread, float32, OpenBLAS 0.3.34), GFLOP/s of our
    kernel and of OpenBLAS's, called from the same loop; the processor's peak is about 113:

        m    n    k         A·B           A·Bᵀ          Aᵀ·B
        32   16   8         105   74      80   32       107   80
        32   1    16         39    6      38    5        54   18
        32   64   64        100   96      84   60        99   95
        64   64   32        108  104      98   73       106   99
        32   10   64         69   62      80   69        65   69
        64   2    64         14   54*     47   44        13   61*
        128  128  128        87   74      91   80        83   73
        4    512  512        80   34      71   23        76   33
        16   256  256       101   71      87   57        97   69
        128  512  784       100   92      92   86        95   82
        512  512  512        92   87      85   82        84   85
        1024 1024 1024       76   91*     96   95*       40   92*
        2048 2048 512        86   97*     90   96*       76   97*

    * is left to the BLAS. What A·Bᵀ means here: B has its columns in order.
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
    if p.m * p.k * size > 2**20 and p.n > 128:
        return False  # A does not stay in the cache, and would be read for every panel
    if _is_dots(p):
        return True
    if p.b_column != 1 and p.m < 24 and work > 2**17:
        return False  # too few rows to pack a panel for
    return 2 * p.n > p.lanes


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

    A block takes 10 to 25 µs or more, and there are 16 at most. Columns are divided where there
    are enough of them (a panel of B is packed once, and C's cache lines stay apart), else rows.
    Our kernels lose nothing by it; OpenBLAS, which packs for each call, 5 to 15 % at 8 blocks, 30
    to 60 % at blocks of 16 rows or columns.
    """
    count = min(16, p.m * p.n * p.k // BLOCK)
    if count < 2:
        return [Block(p, 0, 0, 0)]
    by_columns = p.n >= p.lanes * count or p.n >= p.m
    whole, unit = (p.n, p.lanes) if by_columns else (p.m, 8)
    part = max(ceil(whole / count / unit), 2) * unit
    found = []
    for at in range(0, whole, part):
        size = min(part, whole - at)
        if by_columns:
            found.append(Block(p._replace(n=size), 0, at * p.b_column, at))
        else:
            found.append(Block(p._replace(m=size), at * p.a_row, 0, at * p.c_row))
    return found


@lru_cache(None)
def divided(p: Product) -> Divided:
    """Return a function that computes the blocks from `begin` up to `end` of a product."""
    parts = blocks(p)
    first, last = product(parts[0].product), product(parts[-1].product)
    step = parts[1] if len(parts) > 1 else parts[0]
    body = Body(first[2] | last[2])
    with body.units() as i:
        places = [
            "ptr " + body.offset(f"%{letter}", body.place((i, stride)), p.type)
            for letter, stride in (("a", step.a), ("b", step.b), ("c", step.c))
        ]
        is_last = body.emit(f"icmp eq i64 {i}, {len(parts) - 1}")
        is_other = body.emit(f"xor i1 {is_last}, true")
        for test, (name, _, _) in ((is_last, last), (is_other, first)):
            with body.when(test):
                body.do(f"call void @{name}({', '.join(places)})")
    name = f"{p.name}_divided"
    texts = {first[0]: first[1], last[0]: last[1]}
    texts[name] = body.function(name, f"{POINTERS}, {RANGE}")
    return Divided(name, texts, frozenset(body.declarations), len(parts))
