"""Operations that change what holds an array's values, not the values: dtype and device."""

from typing import Any

from atled.backends.protocol import default_dtype, load
from atled.core.kinds import linear
from atled.core.op import Sample, Spec
from atled.core.surface import public
from atled.core.tensor import Tensor, apply, as_tensor, wrap
from atled.dtypes import as_dtype, float64
from atled.errors import DTypeError

cast = linear(
    "astype",
    transpose=lambda xp, g, x_dtype: xp.astype(g, dtype=x_dtype),
    infer=lambda x, *, dtype: Spec(x.shape, dtype),
    samples=(Sample(((3, 4),), {"dtype": float64}),), reference="reference.astype",
    doc="Convert to another dtype.",
)  # fmt: skip
move = linear(
    "to_device",
    transpose=lambda xp, g: g,
    infer=lambda x, *, device: x,
    doc="Move to another device of the same backend.",
)  # fmt: skip
