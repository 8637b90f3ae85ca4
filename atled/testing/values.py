"""Compare nests of Tensors, arrays and numbers, with tolerances by dtype."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple

from atled.backends.protocol import shape_of_nest

__all__ = ["TOLERANCES", "Tolerance", "assert_close", "elements", "leaf_paths", "position"]


class Tolerance(NamedTuple):
    """How far two values may lie apart: atol + rtol · |value|."""

    rtol: float
    atol: float


# By the less precise dtype of the two; "differences" is for derivatives against central
# differences in float64, whose own error is about 1e-9.
TOLERANCES = {
    "differences": Tolerance(1e-6, 1e-7),
    "float64": Tolerance(1e-12, 1e-13),
    "float32": Tolerance(2e-5, 1e-6),
    "float16": Tolerance(4e-3, 1e-3),
    "bfloat16": Tolerance(3e-2, 1e-2),
}
EXACT = Tolerance(0.0, 0.0)  # integers and booleans


def assert_close(a: Any, b: Any, rtol: float | None = None, atol: float | None = None) -> None:
    """Raise unless two nests have the same structure and nearly the same values.

    Tensors, arrays of any library and numbers are compared by shape and value (NaN equals NaN),
    where one side is an array also with nested lists of numbers; all else with ``==``.

    Args:
        a, b: the nests.
        rtol, atol: by default those of the less precise dtype of each pair in `TOLERANCES`;
            integers and booleans must be equal.

    Raises:
        AssertionError: they differ; the text says where in the nest and at which element.

    Example:
        >>> import atled as at
        >>> assert_close({"w": at.tensor([1.0, 2.0])}, {"w": [1.0, 2.0]})
    """
    for path, x, y in _pairs(a, b, ""):
        where = f"assert_close: at {path}: " if path else "assert_close: "
        if not _is_number(x) or not _is_number(y):
            if x != y:
                raise AssertionError(f"{where}found {x!r} and {y!r}")
            continue
        if _shape(x) != _shape(y):
            raise AssertionError(f"{where}the shapes are {_shape(x)} and {_shape(y)}")
        default = _tolerance(x, y)
        limits = Tolerance(default.rtol if rtol is None else rtol,
                           default.atol if atol is None else atol)  # fmt: skip
        _compare_values(where, elements(x), elements(y), _shape(x), limits)


def _compare_values(where: str, xs: list[Any], ys: list[Any], shape: tuple[int, ...],
                    limits: Tolerance) -> None:  # fmt: skip
    errors = {i: abs(x - y) for i, (x, y) in enumerate(zip(xs, ys, strict=True))
              if x != y and not (x != x and y != y)
              and not abs(x - y) <= limits.atol + limits.rtol * _finite(y)}  # fmt: skip
    if errors:
        worst = max(errors, key=lambda i: (errors[i] != errors[i], errors[i]))
        raise AssertionError(
            f"{where}{xs[worst]!r} and {ys[worst]!r} differ by {errors[worst]:.3g} at "
            f"{position(worst, shape)} of shape {shape} ({len(errors)} of {len(xs)} elements "
            f"differ by more than {limits.atol:g} + {limits.rtol:g} · |value|)"
        )


def _finite(y: Any) -> float:
    return abs(y) if y - y == 0 else 0.0


def _pairs(a: Any, b: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    """Yield (path, leaf, leaf) of two nests, or raise where their structures differ."""
    keys, others = _children(a), _children(b)
    if keys is None or others is None or _is_array(a) or _is_array(b):
        yield path, a, b
        return
    if set(keys) != set(others):
        raise AssertionError(
            f"assert_close: the structures differ{f' at {path}' if path else ''}: one has "
            f"{list(keys)}, the other {list(others)}"
        )
    for key, child in keys.items():
        yield from _pairs(child, others[key], path + key)


def leaf_paths(nest: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yield (path, leaf) in the order of `tree.flatten`."""
    children = _children(nest)
    if children is None:
        yield path, nest
    else:
        for key, child in children.items():
            yield from leaf_paths(child, path + key)


def _children(nest: Any) -> dict[str, Any] | None:
    """Return the parts of a container by the text that picks them; None for a leaf."""
    if isinstance(nest, (list, tuple)):
        names = getattr(nest, "_fields", None)
        return {f".{names[i]}" if names else f"[{i}]": x for i, x in enumerate(nest)}
    if isinstance(nest, dict):
        return {f"[{key!r}]": x for key, x in nest.items()}
    if is_dataclass(nest) and not isinstance(nest, type):
        return {f".{f.name}": getattr(nest, f.name) for f in fields(nest) if f.init}
    return None


def _is_array(x: Any) -> bool:
    return hasattr(x, "shape") and hasattr(x, "tolist")


def _is_number(x: Any) -> bool:
    return _is_array(x) or isinstance(x, (bool, int, float, list, tuple))


def _shape(x: Any) -> tuple[int, ...]:
    return tuple(x.shape) if _is_array(x) else shape_of_nest(x)


def elements(x: Any) -> list[Any]:
    """Return the elements of an array, a nest of numbers or a number as a flat list."""
    nest = x.tolist() if _is_array(x) else x
    level = [nest]
    while level and isinstance(level[0], (list, tuple)):
        level = [item for part in level for item in part]
    return level


def _tolerance(x: Any, y: Any) -> Tolerance:
    """Return the tolerance of the less precise of two dtypes; a Python float is a float64."""
    names = {str(getattr(v.dtype, "name", v.dtype)).removeprefix("torch.")
             for v in (x, y) if hasattr(v, "dtype")}  # fmt: skip
    known = [TOLERANCES[name] for name in names if name in TOLERANCES]
    if known:
        return max(known)
    floats = any(isinstance(v, float) for side in (x, y) for v in elements(side))
    return TOLERANCES["float64"] if floats else EXACT


def position(flat: int, shape: tuple[int, ...]) -> list[int]:
    """Return the index of a flat position in an array of the given shape."""
    index = []
    for n in reversed(shape):
        flat, at = divmod(flat, n)
        index.append(at)
    return index[::-1]
