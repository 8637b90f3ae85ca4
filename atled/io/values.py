"""Tensors to bytes and back, exactly, on every backend and with nothing installed."""

import struct
from typing import Any

from atled.backends.protocol import current, is_installed
from atled.core.apply import as_tensor
from atled.core.surface import FUNCTIONS
from atled.core.tensor import Tensor
from atled.dtypes import DType, as_dtype, bfloat16, float32
from atled.errors import DTypeError
from atled.io.container import Entry

__all__ = ["entry_of", "tensor_of"]

_STRUCT = {
    "bool": "?", "int8": "b", "uint8": "B", "int16": "h", "uint16": "H", "int32": "i",
    "uint32": "I", "int64": "q", "uint64": "Q", "float16": "e", "float32": "f", "float64": "d",
}  # fmt: skip


def entry_of(t: Tensor) -> Entry:
    """Return a Tensor's value as bytes, little endian, in row-major order."""
    return Entry(t.dtype, t.shape, _bytes_of(t.detach()))


def tensor_of(name: str, entry: Entry, dtype: Any = None, device: str | None = None) -> Tensor:
    """Return bytes as a Tensor of the current backend.

    Args:
        name: what errors call it.
        dtype: for floating arrays, the dtype to convert them to; by default they keep theirs.
        device: as for `tensor`.

    Raises:
        ValueError: the backend does not have the dtype.
    """
    backend = current()
    floating = entry.dtype.is_floating_point
    wanted = as_dtype(dtype, backend.default_float) if floating and dtype else entry.dtype
    try:
        backend.native(wanted)
    except DTypeError as error:
        remedy = "; pass dtype= to convert it" if floating else ""
        raise ValueError(f"array {name!r}: {error.message}{remedy}") from None
    data, held = entry.data, entry.dtype
    if held is bfloat16:
        data, held = _widened(data), float32
    if backend.name != "python" and is_installed("numpy"):
        values = _numpy(data, held, entry.shape)
    else:
        values = list(struct.unpack(f"<{len(data) // held.itemsize}{_STRUCT[held.name]}", data))
    t = as_tensor(values, copy=True, dtype=wanted, device=device)
    return t if t.shape == entry.shape else FUNCTIONS["reshape"](t, entry.shape)


def _bytes_of(t: Tensor) -> bytes:
    if t.dtype is bfloat16:  # the upper half of a float32
        wide, narrow = _bytes_of(FUNCTIONS["astype"](t, float32)), bytearray(2 * t.size)
        narrow[0::2], narrow[1::2] = wide[2::4], wide[3::4]
        return bytes(narrow)
    if t.backend.name != "python" and is_installed("numpy"):
        array = t.numpy()
        return bytes(array.astype(array.dtype.newbyteorder("<")).tobytes())
    flat = FUNCTIONS["reshape"](t, (t.size,)).tolist()
    return struct.pack(f"<{t.size}{_STRUCT[t.dtype.name]}", *flat)


def _widened(data: bytes | memoryview) -> bytes:
    """Return the bytes of bfloat16 numbers as those of float32 ones."""
    wide = bytearray(2 * len(data))
    wide[2::4], wide[3::4] = bytes(data[0::2]), bytes(data[1::2])
    return bytes(wide)


def _numpy(data: bytes | memoryview, dtype: DType, shape: tuple[int, ...]) -> Any:
    import numpy as np

    array = np.frombuffer(data, np.dtype(dtype.name).newbyteorder("<"))
    return array.astype(dtype.name).reshape(shape)
