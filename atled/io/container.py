"""The safetensors format: named arrays in one file, read without running anything.

A file is eight bytes with the length of a header, the header (JSON: dtype, shape and place of
each array, and a dictionary of strings called `__metadata__`), and the arrays' bytes, little
endian, without gaps. What always holds: a file that breaks one of the format's rules is a
`ValueError` of one line, and reading takes no more memory than the file is long.

Source: https://github.com/huggingface/safetensors, section "Format".
"""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from atled.dtypes import DType, by_name

__all__ = ["Entry", "pack", "unpack"]

MAX_HEADER = 100_000_000  # bytes, as in the reference implementation
_METADATA = "__metadata__"
_CODES = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "U16": "uint16", "I16": "int16",
    "U32": "uint32", "I32": "int32", "U64": "uint64", "I64": "int64",
    "F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64",
}  # fmt: skip
_CODE_OF = {name: code for code, name in _CODES.items()}


@dataclass(frozen=True)
class Entry:
    """One array of a file: its dtype, its shape, and its bytes in row-major order."""

    dtype: DType
    shape: tuple[int, ...]
    data: bytes | memoryview


def pack(entries: Mapping[str, Entry], metadata: Mapping[str, str] | None = None) -> bytes:
    """Return the bytes of a file with these arrays.

    Wide dtypes stand first and the arrays begin at a multiple of eight bytes, so that each is
    aligned; within a dtype they are ordered by name: equal arrays give equal files.

    Raises:
        ValueError: a name or the metadata is not what the format can hold.
    """
    header: dict[str, Any] = {}
    if metadata:
        for key, value in metadata.items():
            if not isinstance(key, str) or not isinstance(value, str):
                raise ValueError(
                    f"metadata are strings by strings; found {key!r}: {type(value).__name__}"
                )
        header[_METADATA] = dict(metadata)
    parts, at = [], 0
    for name, entry in sorted(entries.items(), key=lambda e: (-e[1].dtype.itemsize, e[0])):
        if not isinstance(name, str) or name == _METADATA:
            raise ValueError(f"an array's name is a string other than {_METADATA}; found {name!r}")
        stop = at + len(entry.data)
        header[name] = {
            "dtype": _CODE_OF[entry.dtype.name],
            "shape": list(entry.shape),
            "data_offsets": [at, stop],
        }
        parts.append(entry.data)
        at = stop
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([len(text).to_bytes(8, "little"), text, *parts])


def unpack(data: bytes, name: str = "data") -> tuple[dict[str, Entry], dict[str, str]]:
    """Read the bytes of a file: its arrays by name, in the file's order, and its metadata.

    Args:
        data: the whole file.
        name: what errors call it.

    Raises:
        ValueError: the bytes are not a whole and correct file of the format.
    """
    try:
        header, body = _split(data)
        metadata = _metadata(header.pop(_METADATA, None))
        entries = dict(_entries(header, body))
        _check_cover([(n, header[n]["data_offsets"]) for n in entries], len(body))
    except ValueError as error:
        raise ValueError(f"{name} is not a safetensors file: {error}") from None
    return entries, metadata


def _split(data: bytes) -> tuple[dict[str, Any], memoryview]:
    """Return the parsed header and the bytes behind it."""
    if len(data) < 8:
        raise ValueError(f"it has {len(data)} bytes, fewer than the 8 of a header's length")
    length = int.from_bytes(data[:8], "little")
    if length > MAX_HEADER:
        raise ValueError(f"its header claims {length} bytes, more than {MAX_HEADER:,}")
    if length > len(data) - 8:
        raise ValueError(f"its header claims {length} bytes, and the file has {len(data) - 8}")
    text = data[8 : 8 + length]
    if not text.startswith(b"{"):
        raise ValueError(f"its header starts with {text[:1]!r} instead of b'{{'")
    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=_without_twins)
    except RecursionError:
        raise ValueError("its header is nested too deeply") from None
    except ValueError as error:  # JSON's and UTF-8's errors both are
        raise ValueError(f"its header is broken ({error})") from None
    return header, memoryview(data)[8 + length :]


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name occurs twice")
    return found


def _metadata(given: Any) -> dict[str, str]:
    if given is None:
        return {}
    if not isinstance(given, dict) or not all(isinstance(v, str) for v in given.values()):
        raise ValueError(f"its {_METADATA} is not a dictionary of strings")
    return given


def _entries(header: dict[str, Any], body: memoryview) -> Iterator[tuple[str, Entry]]:
    for name, facts in header.items():
        if not isinstance(facts, dict) or set(facts) != {"dtype", "shape", "data_offsets"}:
            raise ValueError(f"array {_short(name)} needs dtype, shape and data_offsets")
        code, shape, offsets = facts["dtype"], facts["shape"], facts["data_offsets"]
        if not isinstance(code, str) or code not in _CODES:
            raise ValueError(
                f"array {_short(name)} has dtype {_short(code)}; known are {', '.join(_CODES)}"
            )
        if not _are_sizes(shape):
            raise ValueError(f"array {_short(name)} has shape {_short(shape)}")
        if not _are_sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
            raise ValueError(f"array {_short(name)} has data_offsets {_short(offsets)}")
        dtype = by_name(_CODES[code])
        start, stop = offsets
        if stop > len(body):
            raise ValueError(
                f"array {_short(name)} ends at byte {_short(stop)} of {len(body)}; is it cut off?"
            )
        if 0 in shape:
            needed = 0
        else:  # a shape that cannot be true must not cost a product of huge numbers
            needed = math.prod(shape) * dtype.itemsize if len(shape) < 1000 else -1
        if needed != stop - start:
            raise ValueError(
                f"array {_short(name)} of shape {_short(shape)} and dtype {code} does not have "
                f"{stop - start} bytes"
            )
        yield name, Entry(dtype, tuple(shape), body[start:stop])


def _are_sizes(value: Any) -> bool:
    return isinstance(value, list) and all(type(n) is int and 0 <= n < 2**63 for n in value)


def _check_cover(places: list[tuple[str, list[int]]], length: int) -> None:
    """See that the arrays follow one another without gap or overlap, to the end."""
    at = 0
    for name, (start, stop) in sorted(places, key=lambda place: place[1]):
        if start != at:
            kind = "overlaps the one before" if start < at else "leaves a gap before it"
            raise ValueError(f"array {_short(name)} {kind}, at byte {start}")
        at = stop
    if at != length:
        raise ValueError(f"{length - at} bytes at its end belong to no array")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
