"""The BLAS that large matrix products are given to: found once, held at one thread.

First choice is the wheel ``scipy-openblas32``: a library of its own that nothing else in the
process calls, so that one thread may be asked of it (programs split their work themselves, and
several threads may call at once). Second is the BLAS that SciPy links, whose number of threads is
left as its user set it. Without both, `matrix` uses its own kernels for every size.

Both follow Fortran's convention underneath; programs know them by the symbols of `SYMBOLS`, whose
addresses LLVM is told here.
"""

import ctypes
import importlib
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm

from atled.compile.ir import Writer

__all__ = ["SYMBOLS", "call", "convention", "name"]

SYMBOLS = {"float32": "atled_sgemm", "float64": "atled_dgemm"}


@lru_cache(None)
def convention() -> str:
    """Find a BLAS, tell LLVM its addresses, and say how it is called.

    Returns: "cblas" (row-major, arguments by value), "fortran" (by address, column-major), or ""
        where there is none.
    """
    if find_spec("scipy_openblas32") is not None:
        found = _openblas()
    elif find_spec("scipy") is not None:
        found = _scipy()
    else:
        return ""
    for symbol, address in found.items():
        llvm.add_symbol(symbol, address)
    return "cblas" if find_spec("scipy_openblas32") is not None else "fortran"


@lru_cache(None)
def name() -> str:
    """Say which library is called, for reports: ``OpenBLAS 0.3.30 ... SkylakeX``."""
    if convention() != "cblas":
        return "SciPy's BLAS" if convention() else "none"
    library = _library()
    library.scipy_openblas_get_config.restype = ctypes.c_char_p
    text = library.scipy_openblas_get_config()
    return text.decode() if text else "OpenBLAS"


@lru_cache(None)
def _library() -> ctypes.CDLL:
    folder = Path(importlib.import_module("scipy_openblas32").get_lib_dir())
    found = [p for p in sorted(folder.iterdir()) if p.suffix in (".so", ".dylib", ".dll")]
    return ctypes.CDLL(str(found[0]))  # RTLD_LOCAL: its names are no one else's


def _openblas() -> dict[str, int]:
    library = _library()
    library.scipy_openblas_set_num_threads(1)
    functions = {
        "atled_sgemm": library.scipy_cblas_sgemm,
        "atled_dgemm": library.scipy_cblas_dgemm,
    }
    return {
        symbol: ctypes.cast(function, ctypes.c_void_p).value or 0
        for symbol, function in functions.items()
    }


def _scipy() -> dict[str, int]:
    capsules = importlib.import_module("scipy.linalg.cython_blas").__pyx_capi__
    api = ctypes.pythonapi
    api.PyCapsule_GetName.restype = ctypes.c_char_p
    api.PyCapsule_GetName.argtypes = [ctypes.py_object]
    api.PyCapsule_GetPointer.restype = ctypes.c_void_p
    api.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    return {
        symbol: api.PyCapsule_GetPointer(capsule, api.PyCapsule_GetName(capsule))
        for symbol, capsule in (
            ("atled_sgemm", capsules["sgemm"]),
            ("atled_dgemm", capsules["dgemm"]),
        )
    }


# -- calls -----------------------------------------------------------------------------------


def call(body: Writer, p: Any) -> None:
    """Write the call that computes a product (`matrix.Product`) of %a and %b into %c.

    The leading dimensions must be those of matrices whose rows, or columns, do not overlap.
    """
    one, scalar = p.type.const(1.0), p.type
    beta = one if p.accumulate else p.type.const(0.0)
    a_plain, b_plain = p.a_column == 1 and p.a_row >= p.k, p.b_column == 1 and p.b_row >= p.n
    lda, ldb = (p.a_row if a_plain else p.a_column), (p.b_row if b_plain else p.b_column)
    if convention() == "cblas":
        body.declare(
            f"declare void @{SYMBOLS[p.dtype]}(i32, i32, i32, i32, i32, i32, {scalar}, ptr, i32, "
            f"ptr, i32, {scalar}, ptr, i32)"
        )
        body.do(
            f"call void @{SYMBOLS[p.dtype]}(i32 101, i32 {111 if a_plain else 112}, "
            f"i32 {111 if b_plain else 112}, i32 {p.m}, i32 {p.n}, i32 {p.k}, {scalar} {one}, "
            f"ptr %a, i32 {lda}, ptr %b, i32 {ldb}, {scalar} {beta}, ptr %c, i32 {p.c_row})"
        )
        return
    # A row-major product is, read by columns, Cᵀ = Bᵀ·Aᵀ.
    letters = [_constant(body, "i8", ord("N" if plain else "T")) for plain in (b_plain, a_plain)]
    n, m, k, row, lda_at, ldb_at = (
        _constant(body, "i32", size) for size in (p.n, p.m, p.k, p.c_row, lda, ldb)
    )
    alpha = _constant(body, scalar.scalar, one)
    beta = _constant(body, scalar.scalar, beta)
    operands = [*letters, n, m, k, alpha, "%b", ldb_at, "%a", lda_at, beta, "%c", row]
    body.declare(f"declare void @{SYMBOLS[p.dtype]}({', '.join(['ptr'] * len(operands))})")
    body.do(f"call void @{SYMBOLS[p.dtype]}({', '.join('ptr ' + each for each in operands)})")


def _constant(body: Writer, scalar: str, value: int | str) -> str:
    """Return the address of a constant, which lies in the module once."""
    name = f"@atled_{scalar}_{value}"
    body.declare(f"{name} = internal unnamed_addr constant {scalar} {value}")
    return name
