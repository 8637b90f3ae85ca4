"""Linear algebra: what the Array API's `linalg` extension and PyTorch's `torch.linalg` have.

Factorisations and what follows from them are in `ops/linalg.py`, over the records of
`ops/factor.py`; products, norms and parts of matrices are the functions of the package, here on
the last two axes as the standard defines them for this namespace.
"""

from typing import Any

from atled.functions import (
    cross,
    matmul,
    matrix_transpose,
    norm,
    outer,
    tensordot,
    vecdot,
    vector_norm,
)
from atled.ops.linalg import (
    cholesky,
    det,
    inv,
    lu,
    lu_factor,
    lu_solve,
    slogdet,
    solve,
    solve_triangular,
)
from atled.ops.numpy_shape import linalg_diagonal as diagonal
from atled.ops.numpy_shape import linalg_trace as trace
from atled.ops.numpy_shape import multi_dot

__all__ = [
    "cholesky",
    "cross",
    "det",
    "diagonal",
    "inv",
    "lu",
    "lu_factor",
    "lu_solve",
    "matmul",
    "matrix_transpose",
    "multi_dot",
    "norm",
    "outer",
    "slogdet",
    "solve",
    "solve_triangular",
    "tensordot",
    "trace",
    "vecdot",
    "vector_norm",
]


def __getattr__(name: str) -> Any:
    raise AttributeError(f"atled.linalg has no {name!r}; it has {', '.join(__all__)}")
