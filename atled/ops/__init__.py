"""The operations: records in the files of their family, composites beside them."""

from atled.core.surface import install
from atled.ops import (
    cast,
    contract,
    conv,
    create,
    elementwise,
    index,
    random,
    reduce,
    select,
    shape,
    sort,
    special,
)

install()

__all__ = [
    "cast",
    "contract",
    "conv",
    "create",
    "elementwise",
    "index",
    "random",
    "reduce",
    "select",
    "shape",
    "sort",
    "special",
]
