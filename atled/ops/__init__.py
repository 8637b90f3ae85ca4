"""The operations: records in the files of their family, composites beside them."""

from atled.core.surface import install
from atled.ops import (
    arrange,
    cast,
    composite,
    contract,
    conv,
    create,
    elementwise,
    fused,
    index,
    numpy_names,
    numpy_shape,
    product,
    random,
    reduce,
    select,
    sets,
    shape,
    sort,
    special,
    statistics,
    write,
)

install()

__all__ = [
    "arrange",
    "cast",
    "composite",
    "contract",
    "conv",
    "create",
    "elementwise",
    "fused",
    "index",
    "numpy_names",
    "numpy_shape",
    "product",
    "random",
    "reduce",
    "select",
    "sets",
    "shape",
    "sort",
    "special",
    "statistics",
    "write",
]
