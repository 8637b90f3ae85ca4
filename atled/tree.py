"""Nested containers of Tensors: lists, tuples, named tuples, dicts and dataclasses.

`flatten` takes the leaves out and `unflatten` puts others in their places; every function of
the library that accepts "a nest of Tensors" walks it with these two, in the same order
(dicts in insertion order, dataclasses in the order of their fields).
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

__all__ = ["Structure", "children", "flatten", "map_leaves", "unflatten"]


class Structure(NamedTuple):
    """The shape of a nest: how to rebuild one node from its children; no build: a leaf."""

    build: Callable[[list[Any]], Any] | None
    children: tuple["Structure", ...] = ()
    kind: Any = None  # the container's type, and the keys of a dict

    @property
    def form(self) -> Any:
        """What two nests of one structure have in common: equal, and hashable with its keys."""
        return self.kind and (self.kind, *[child.form for child in self.children])


LEAF = Structure(None)


def flatten(nest: Any) -> tuple[list[Any], Structure]:
    """Return the leaves of `nest` in order, and the structure to put others in their places."""
    parts = _take_apart(nest)
    if parts is None:
        return [nest], LEAF
    children, build, kind = parts
    leaves: list[Any] = []
    structures = []
    for child in children:
        below, structure = flatten(child)
        leaves += below
        structures.append(structure)
    return leaves, Structure(build, tuple(structures), kind)


def unflatten(structure: Structure, leaves: list[Any]) -> Any:
    """Rebuild a nest of the given structure around `leaves`."""
    rest = iter(leaves)
    return _rebuild(structure, rest)


def children(nest: Any) -> list[Any]:
    """Return what one container holds directly; nothing for a leaf."""
    parts = _take_apart(nest)
    return [] if parts is None else parts[0]


def map_leaves(function: Callable[[Any], Any], nest: Any) -> Any:
    """Apply `function` to every leaf and keep the structure.

    Example:
        >>> map_leaves(lambda x: x + 1, {"a": [1, 2], "b": (3,)})
        {'a': [2, 3], 'b': (4,)}
    """
    leaves, structure = flatten(nest)
    return unflatten(structure, [function(leaf) for leaf in leaves])


def _rebuild(structure: Structure, rest: Iterator[Any]) -> Any:
    if structure.build is None:
        return next(rest)
    return structure.build([_rebuild(child, rest) for child in structure.children])


def _take_apart(nest: Any) -> tuple[list[Any], Callable[[list[Any]], Any], Any] | None:
    """Return the children of one container, the function that rebuilds it, and its kind."""
    kind = type(nest)
    if kind is list:
        return nest, lambda parts: parts, kind
    if isinstance(nest, tuple):
        fields = getattr(kind, "_fields", None)
        return list(nest), (lambda parts: kind(*parts)) if fields else kind, kind
    if isinstance(nest, dict):
        keys = list(nest)
        return (
            list(nest.values()),
            lambda parts: kind(zip(keys, parts, strict=True)),
            (kind, *keys),
        )
    fields = getattr(kind, "__dataclass_fields__", None)
    if fields is not None:
        names = [name for name, field in fields.items() if field.init]
        values = [getattr(nest, name) for name in names]
        return values, lambda parts: kind(**dict(zip(names, parts, strict=True))), kind
    return None
