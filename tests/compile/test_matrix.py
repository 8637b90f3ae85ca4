"""Matrix products of every layout and remainder, by our kernels and by a BLAS, against NumPy."""

import ctypes
import random
import threading

import numpy as np
import pytest

pytest.importorskip("llvmlite", reason="programs are compiled by llvmlite")

from atled.compile import blas, matrix, tiles
from atled.compile.matrix import Product
from atled.compile.native import Library, host

TOLERANCE = {"float32": 2e-6, "float64": 4e-15}  # times the length of the sums' square root
LAYOUTS = ["rows", "columns"]


@pytest.fixture(autouse=True)
def fresh():
    """Functions are remembered by their products; a test may change what they would be."""
    matrix.product.cache_clear()
    tiles._tile_shape.cache_clear()
    yield
    matrix.product.cache_clear()


def make(m, n, k, dtype="float32", a="rows", b="rows", accumulate=False, extra=(0, 0, 0)):
    """Return a product; `extra` elements lie between the rows or columns of A, B and C."""
    a_apart, b_apart, c_apart = extra
    strides = {
        "a_row": k + a_apart if a == "rows" else 1,
        "a_column": 1 if a == "rows" else m + a_apart,
        "b_row": n + b_apart if b == "rows" else 1,
        "b_column": 1 if b == "rows" else k + b_apart,
        "c_row": n + c_apart,
    }
    return Product(m, n, k, dtype, **strides, accumulate=accumulate)


def compiled(name, texts, declarations, parts=False):
    """Return a function of LLVM's language as one that takes NumPy arrays (and a range)."""
    more = ", i64 %begin, i64 %end" if parts else ""
    text = "\n".join([*sorted(declarations), *texts])
    text += f"\ndefine void @test(ptr %a, ptr %b, ptr %c{more}) {{\n"
    text += f"  call void @{name}(ptr %a, ptr %b, ptr %c{more})\n  ret void\n}}\n"
    kinds = [ctypes.c_void_p] * 3 + [ctypes.c_int64] * 2 * parts
    function = Library(text).function("test", *kinds)
    return lambda a, b, c, *span: function(*[x.ctypes.data for x in (a, b, c)], *span)


def arrays(p, seed=0):
    """Return memory of A, B and C, and what each holds as a matrix."""
    rng = np.random.default_rng(seed)
    found = []
    for rows, columns, row, column in (
        (p.m, p.k, p.a_row, p.a_column), (p.k, p.n, p.b_row, p.b_column), (p.m, p.n, p.c_row, 1),
    ):  # fmt: skip
        memory = rng.standard_normal((rows - 1) * row + (columns - 1) * column + 1).astype(p.dtype)
        steps = (row * memory.itemsize, column * memory.itemsize)
        matrix_ = np.lib.stride_tricks.as_strided(memory, (rows, columns), steps)
        found.append((memory, matrix_))
    return found


def check(p, run):
    """Compare one run with NumPy; what lies between C's rows must stay."""
    (a, a_matrix), (b, b_matrix), (c, c_matrix) = arrays(p)
    before = c.copy()
    expected = a_matrix.astype(np.float64) @ b_matrix
    if p.accumulate:
        expected += c_matrix
    run(a, b, c)
    scale = np.abs(a_matrix).astype(np.float64) @ np.abs(b_matrix) + 1
    assert (np.abs(c_matrix - expected) <= TOLERANCE[p.dtype] * scale).all(), p
    c_matrix[:] = 0
    inside = np.lib.stride_tricks.as_strided(before, c_matrix.shape, c_matrix.strides)
    inside[:] = 0
    assert (c == before).all()


def check_products(products):
    """Compile several products as one library, and check each."""
    for p in products:
        name, text, declarations = matrix.product(p)
        check(p, compiled(name, [text], declarations))


SIZES = [(m, n, k) for m in (1, 2, 7, 33) for n in (1, 5, 16, 40) for k in (1, 3, 16, 50)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("b", LAYOUTS)
@pytest.mark.parametrize("a", LAYOUTS)
def test_layouts_and_sizes(monkeypatch, a, b, dtype):
    monkeypatch.setattr(matrix, "is_ours", lambda p: True)
    chosen = random.Random(f"{a}{b}{dtype}").sample(SIZES, 12)
    check_products([make(*s, dtype, a, b, i % 2 > 0) for i, s in enumerate(chosen)])


@pytest.mark.parametrize("b", LAYOUTS)
def test_every_remainder_of_columns(monkeypatch, b):
    monkeypatch.setattr(matrix, "is_ours", lambda p: True)
    check_products([make(9, n, 18, "float32", "rows", b, True) for n in range(1, 18)])


@pytest.mark.parametrize("vector_bytes", [16, 32])
def test_narrower_vectors(monkeypatch, vector_bytes):
    monkeypatch.setattr(host(), "vector_bytes", vector_bytes)
    monkeypatch.setattr(matrix, "is_ours", lambda p: True)
    check_products(
        [make(13, 21, 35, dtype, a, b) for dtype in TOLERANCE for a in LAYOUTS for b in LAYOUTS]
    )
    check_products([make(12, 5, 200, dtype, "rows", "columns") for dtype in TOLERANCE])


def test_space_between_rows_stays_as_it_is():
    check_products(
        [make(7, 19, 6, "float32", a, b, extra=(3, 5, 2)) for a in LAYOUTS for b in LAYOUTS]
        + [make(7, 1, 6, extra=(3, 5, 2)), make(1, 7, 6, extra=(3, 5, 2))]
    )


@pytest.mark.parametrize("b", LAYOUTS)
def test_sums_along_k_in_stretches(monkeypatch, b):
    monkeypatch.setattr(matrix, "is_ours", lambda p: True)
    monkeypatch.setattr(matrix, "LONGEST", 32)
    check_products(
        [make(9, 20, k, "float64", a, b, add) for a in LAYOUTS for k in (64, 75) for add in (0, 1)]
    )


@pytest.mark.skipif(not blas.convention(), reason="needs scipy-openblas32 or SciPy")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_blas(monkeypatch, dtype):
    monkeypatch.setattr(matrix, "is_ours", lambda p: False)
    check_products(
        [make(9, 20, 30, dtype, a, b, True, (1, 2, 3)) for a in LAYOUTS for b in LAYOUTS]
        + [make(*s, dtype) for s in ((1, 5, 3), (5, 1, 3), (5, 3, 1), (1, 1, 9))]
    )


@pytest.mark.skipif(blas.convention() != "cblas", reason="needs scipy-openblas32")
def test_several_threads_call_a_blas_at_once(monkeypatch):
    monkeypatch.setattr(matrix, "is_ours", lambda p: False)
    p = make(96, 80, 200)
    name, text, declarations = matrix.product(p)
    run = compiled(name, [text], declarations)
    (a, _), (b, _), (c, _) = arrays(p)
    run(a, b, c)
    results = [np.zeros_like(c) for _ in range(4)]

    def work(result):
        for _ in range(50):
            run(a, b, result)

    workers = [threading.Thread(target=work, args=[result]) for result in results]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert all((result == c).all() for result in results)


def test_the_blas_of_scipy(monkeypatch):
    pytest.importorskip("scipy", reason="its BLAS is called")
    for symbol, address in blas._scipy().items():
        blas.llvm.add_symbol(f"scipy_{symbol}", address)
    monkeypatch.setattr(blas, "SYMBOLS", {k: f"scipy_{v}" for k, v in blas.SYMBOLS.items()})
    monkeypatch.setattr(blas, "convention", lambda: "fortran")
    monkeypatch.setattr(matrix, "is_ours", lambda p: False)
    check_products(
        [
            make(9, 20, 30, dtype, a, b, True)
            for dtype in TOLERANCE
            for a in LAYOUTS
            for b in LAYOUTS
        ]
    )


def test_without_a_blas_every_size_is_ours(monkeypatch):
    monkeypatch.setattr(blas, "convention", lambda: "")
    assert matrix.is_ours(make(5000, 5000, 5000))


def test_overlapping_rows_are_not_given_to_a_blas():
    hankel = make(40, 40, 40)._replace(a_row=1)
    assert matrix.is_ours(hankel)
    check_products([hankel])


@pytest.mark.parametrize("letter", ["A", "B"])
def test_a_matrix_without_a_unit_stride_is_refused(letter):
    field = letter.lower()
    p = make(4, 5, 6)._replace(**{f"{field}_row": 20, f"{field}_column": 2})
    with pytest.raises(ValueError, match=rf"{letter} needs a stride of one; found \(20, 2\): copy"):
        matrix.product(p)


def test_an_empty_product_is_refused():
    with pytest.raises(ValueError, match=r"sizes of at least one; found \(3, 0, 2\)"):
        matrix.product(make(3, 0, 2))


@pytest.mark.parametrize(
    ("m", "n", "k", "b"),
    [
        (128, 300, 300, "rows"),
        (700, 100, 100, "columns"),
        (3000, 3, 1200, "rows"),
        (8, 8, 8, "rows"),
    ],
)
def test_blocks_cover_a_product_once(m, n, k, b):
    p = make(m, n, k, b=b)
    parts = matrix.divided(p)
    run = compiled(parts.name, parts.texts.values(), parts.declarations, parts=True)

    def in_disorder(a, b, c):
        for unit in random.Random(0).sample(range(parts.units), parts.units):
            run(a, b, c, unit, unit + 1)

    check(p, in_disorder)
    check(p, lambda a, b, c: run(a, b, c, 0, parts.units))
    assert 1 <= parts.units <= 16
    assert (parts.units == 1) == (m * n * k < 2 * matrix.BLOCK)


def test_equal_products_have_one_name():
    assert matrix.product(make(4, 5, 6))[0] == matrix.product(make(4, 5, 6))[0]
    products = [
        make(4, 5, 6, a=a, b=b, accumulate=x) for a in LAYOUTS for b in LAYOUTS for x in (0, 1)
    ]
    assert len({matrix.product(p)[0] for p in products}) == len(products)


def test_nan_and_infinity_pass_through():
    p = make(3, 5, 20, b="columns")
    name, text, declarations = matrix.product(p)
    run = compiled(name, [text], declarations)
    (a, a_matrix), (b, b_matrix), (c, c_matrix) = arrays(p)
    a_matrix[0, 19], b_matrix[3, 1] = np.nan, np.inf
    run(a, b, c)
    assert np.isnan(c_matrix[0]).all()
    assert np.isinf(c_matrix[1:, 1]).all()
    assert np.isfinite(c_matrix[1:, [0, 2, 3, 4]]).all()
