"""Save Tensors by name, or any nest of them, in one file that holds no code.

`save_file` and `load_file` are those of the `safetensors` package and read one another's files.
`save` and `load` take nested dicts, lists and tuples of Tensors, numbers, strings and None: what
is not a Tensor stands as JSON among the file's metadata.
"""

import json
import os
from collections.abc import Mapping
from os import PathLike
from typing import Any

from atled.core.apply import as_tensor
from atled.core.tensor import Tensor
from atled.io.container import Entry, pack, unpack
from atled.io.files import write_atomically
from atled.io.values import entry_of, tensor_of

__all__ = ["load", "load_file", "load_metadata", "save", "save_file"]

Path = str | PathLike[str]
_STRUCTURE = "atled.structure"
_PLAIN = (bool, int, str, type(None))


def save_file(tensors: Mapping[str, Any], path: Path,
              metadata: Mapping[str, str] | None = None) -> None:  # fmt: skip
    """Write Tensors by name as a safetensors file, whole or not at all.

    Args:
        tensors: Tensors or arrays by name, such as a `state_dict`.
        path: the file, by custom called ``*.safetensors``.
        metadata: strings by name to keep beside them.

    Raises:
        ValueError: a name or the metadata is not a string.
        OSError: the file cannot be written.
    """
    entries = {name: entry_of(as_tensor(t)) for name, t in tensors.items()}
    write_atomically(path, pack(entries, metadata))


def load_file(path: Path, *, dtype: Any = None, device: str | None = None) -> dict[str, Tensor]:
    """Read a safetensors file as Tensors of the current backend.

    Args:
        path: the file.
        dtype: what to convert floating Tensors to; by default they keep theirs. The `python`
            backend has float64 only, and needs it for files of others.
        device: as for `tensor`.

    Raises:
        ValueError: not a whole and correct file, or the backend does not have a dtype.
        OSError: the file cannot be read.
    """
    return _tensors(_read(path)[0], path, dtype, device)


def load_metadata(path: Path) -> dict[str, str]:
    """Read the strings that a safetensors file keeps beside its Tensors."""
    return _read(path)[1]


def save(path: Path, state: Any, metadata: Mapping[str, str] | None = None) -> None:
    """Write a nest of Tensors, numbers, strings and None, whole or not at all.

    Args:
        path: the file, by custom called ``*.safetensors``.
        state: dicts, lists and tuples, as deep as they come; keys are strings or integers.
        metadata: strings by name to keep beside them.

    Raises:
        TypeError: something else is in the nest; its place is named.
        OSError: the file cannot be written.

    Example:
        >>> import atled as at, os, tempfile
        >>> path = os.path.join(tempfile.mkdtemp(), "state.safetensors")
        >>> save(path, {"step": 3, "betas": (0.9, 0.999), "w": [at.ones(2)]})
        >>> load(path)
        {'step': 3, 'betas': (0.9, 0.999), 'w': [tensor([1., 1.])]}
    """
    entries: dict[str, Entry] = {}
    structure = json.dumps(_described(state, None, entries), separators=(",", ":"), allow_nan=False)
    write_atomically(path, pack(entries, {**(metadata or {}), _STRUCTURE: structure}))


def load(path: Path, *, dtype: Any = None, device: str | None = None) -> Any:
    """Read what `save` wrote, with Tensors of the current backend.

    Args:
        path, dtype, device: as for `load_file`.

    Raises:
        ValueError: not such a file, or the backend does not have a dtype.
        OSError: the file cannot be read.
    """
    entries, metadata = _read(path)
    if _STRUCTURE not in metadata:
        raise ValueError(f"{os.fspath(path)} was not written by atled's save; use load_file")
    tensors = _tensors(entries, path, dtype, device)
    try:
        return _rebuilt(json.loads(metadata[_STRUCTURE]), tensors)
    except (LookupError, TypeError, ValueError, RecursionError) as error:
        reason = str(error) or type(error).__name__
        raise ValueError(f"{os.fspath(path)}: the structure is broken ({reason})") from None


def _read(path: Path) -> tuple[dict[str, Entry], dict[str, str]]:
    with open(path, "rb") as file:
        return unpack(file.read(), os.fspath(path))


def _tensors(entries: dict[str, Entry], path: Path, dtype: Any,
             device: str | None) -> dict[str, Tensor]:  # fmt: skip
    try:
        return {name: tensor_of(name, entry, dtype, device) for name, entry in entries.items()}
    except ValueError as error:
        raise ValueError(f"{os.fspath(path)}: {error}") from None


# -- nests as JSON: a list is a list, everything else that is no plain value is {kind: content} ---


def _described(value: Any, place: str | None, entries: dict[str, Entry]) -> Any:
    """Return a nest as JSON, with its Tensors put into `entries` under their places."""
    if isinstance(value, Tensor):
        name = "value" if place is None else place
        entries[name] = entry_of(value)
        return {"tensor": name}
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is float:  # as text: exact, and JSON has no nan
        return {"float": repr(value)}
    if isinstance(value, Mapping):
        for key in value:
            if type(key) not in (str, int):
                raise TypeError(f"save: the key {key!r} at {_named(place)} is not a string or int")
        return {"dict": [[k, _described(v, _below(place, k), entries)] for k, v in value.items()]}
    if kind in (list, tuple):
        parts = [_described(v, _below(place, i), entries) for i, v in enumerate(value)]
        return parts if kind is list else {"tuple": parts}
    raise TypeError(
        f"save: found {kind.__name__} at {_named(place)}; a state is made of Tensors, numbers, "
        "strings, None, and dicts, lists and tuples of them"
    )


def _below(place: str | None, key: Any) -> str:
    """Return a name of its own for each place, "model/0.weight": escaped as in RFC 6901."""
    if isinstance(key, str):
        name = key.replace("~", "~0").replace("/", "~1").replace("#", "~2")
    else:
        name = f"#{key}"
    return name if place is None else f"{place}/{name}"


def _named(place: str | None) -> str:
    return "the top" if place is None else repr(place)


def _rebuilt(found: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(found, list):
        return [_rebuilt(part, tensors) for part in found]
    if not isinstance(found, dict):
        return found
    if len(found) != 1:
        raise ValueError(f"a dictionary with {len(found)} kinds")
    ((kind, content),) = found.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "float":
        return float(content)
    if kind == "tuple":
        return tuple([_rebuilt(part, tensors) for part in content])
    if kind == "dict":
        return {key: _rebuilt(value, tensors) for key, value in content}
    raise ValueError(f"unknown kind {kind!r}")
