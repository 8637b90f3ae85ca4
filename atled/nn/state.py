"""Reading and writing the state of a whole tree of modules."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from atled.backends.protocol import namespace_of
from atled.core.apply import as_tensor
from atled.core.tensor import Tensor

__all__ = ["Incompatible", "load_state", "state_of"]


class Incompatible(NamedTuple):
    """Paths that a state lacks, and paths that it has too many."""

    missing_keys: list[str]
    unexpected_keys: list[str]


def state_of(module: Any) -> dict[str, Tensor]:
    """Return parameters and persistent buffers by path; a shared one under each of its paths."""
    found: dict[str, Tensor] = {}
    for path, each in module.named_modules(remove_duplicate=False):
        start = f"{path}." if path else ""
        for name, p in each._parameters.items():
            if p is not None:
                found[start + name] = p
        for name, b in each._buffers.items():
            if b is not None and name not in each._fleeting:
                found[start + name] = b
    return found


def load_state(owner: str, ours: dict[str, Tensor], state: Any, strict: bool) -> Incompatible:
    """Give our Tensors the values of `state`, after checking all of them."""
    if not isinstance(state, Mapping):
        raise TypeError(f"load_state_dict needs a mapping from paths to Tensors; found "
                        f"{type(state).__name__}")  # fmt: skip
    missing = [path for path in ours if path not in state]
    unexpected = [path for path in state if path not in ours]
    problems = []
    if strict:
        problems += [f"missing: {path} {_describe(ours[path])}" for path in missing]
        problems += [f"unexpected: {path}" for path in unexpected]
    values: dict[str, Tensor] = {}
    for path, t in ours.items():
        if path in state:
            value = values[path] = _beside(state[path], t)
            if value.shape != t.shape or value.dtype is not t.dtype:
                problems.append(
                    f"{path}: {_describe(value)} in the state, {_describe(t)} in the model"
                )
    if problems:
        listed = "\n  ".join(problems)
        raise ValueError(f"the state does not fit {owner}; nothing was loaded:\n  {listed}")
    for path, value in values.items():
        ours[path]._value = value._value
    return Incompatible(missing, unexpected)


def _describe(t: Tensor) -> str:
    return f"{t.dtype.name}{list(t.shape)}"


def _beside(value: Any, t: Tensor) -> Tensor:
    """Return a saved value as a Tensor of t's backend and device, its dtype kept."""
    if not isinstance(value, Tensor):
        raw = value if namespace_of(value) is not None else None
        value = as_tensor(raw if raw is not None else value)
    if value.backend is not t.backend or value.device != t.device:
        value = value.to(t.backend.name, device=t.device)
    return value
