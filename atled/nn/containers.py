"""Containers: modules and parameters in order, or by name.

A child's name in a container may be anything, also "keys" or "items": children of a container
are found by index only, never as its attributes.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, overload

from atled.config import changes
from atled.nn.module import Module
from atled.nn.parameter import Parameter

__all__ = ["ModuleDict", "ModuleList", "ParameterDict", "ParameterList", "Sequential"]


def _place(index: Any, length: int, owner: Module) -> str:
    """Return the name of the child at an index, counted from the end if negative."""
    at = index.__index__()
    if not -length <= at < length:
        raise IndexError(f"index {at} is out of range for a {type(owner).__name__} of {length}")
    return str(at % length)


class _Ordered(Module):
    """What Sequential and ModuleList share: children named "0", "1"… (or by the user)."""

    def _names(self) -> list[str]:
        return list(self._modules)

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._modules.values())

    def __contains__(self, module: object) -> bool:
        return any(m is module for m in self._modules.values())

    def _name_at(self, index: Any) -> str:
        return self._names()[int(_place(index, len(self), self))]

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            part = type(self)()
            names = self._names()[index]
            for at, name in enumerate(names):
                module = self._modules[name]
                part.register_module(str(at) if name.isdecimal() else name, module)
            return part
        return self._modules[self._name_at(index)]

    def __setitem__(self, index: Any, module: Module) -> None:
        self.register_module(self._name_at(index), module)

    def __delitem__(self, index: Any) -> None:
        names = self._names()
        changes.modules += 1
        gone = set(names[index] if isinstance(index, slice) else [self._name_at(index)])
        rest = [(name, m) for name, m in self._modules.items() if name not in gone]
        self._modules.clear()
        for at, (name, module) in enumerate(rest):
            self.register_module(str(at) if name.isdecimal() else name, module)

    def append(self, module: Module) -> Any:
        """Put a module at the end; return this container."""
        self.register_module(str(len(self)), module)
        return self

    def extend(self, modules: Iterable[Module]) -> Any:
        """Put modules at the end; return this container."""
        for module in modules:
            self.append(module)
        return self

    def insert(self, index: int, module: Module) -> Any:
        """Put a module before the one at `index`; return this container."""
        listed = list(self._modules.values())
        listed.insert(index, module)
        self._modules.clear()
        for each in listed:
            self.append(each)  # type: ignore[arg-type]
        return self

    def pop(self, index: int = -1) -> Any:
        """Take the module at an index out and return it."""
        module = self[index]
        del self[index]
        return module


class Sequential(_Ordered):
    """Modules one after another, each fed with the result of the one before.

    Args:
        modules: modules in order, or one dict from names to modules.

    Example:
        >>> import atled as at
        >>> net = at.nn.Sequential(at.nn.Linear(3, 4), at.nn.ReLU(), at.nn.Linear(4, 1))
        >>> net(at.ones(2, 3)).shape
        (2, 1)
        >>> net[1]
        ReLU()
    """

    def __init__(self, *modules: Any) -> None:
        super().__init__()
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            for name, module in modules[0].items():
                self.register_module(name, module)
        else:
            for at, module in enumerate(modules):
                self.register_module(str(at), module)

    def forward(self, x: Any) -> Any:
        """Feed x through all modules in order."""
        for module in self._modules.values():
            x = module(x)  # type: ignore[misc]
        return x


class ModuleList(_Ordered):
    """A list of modules that are registered; it is not called itself."""

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        super().__init__()
        self.extend(modules)

    def __add__(self, other: Iterable[Module]) -> "ModuleList":
        return ModuleList([*self, *other])

    def __iadd__(self, other: Iterable[Module]) -> "ModuleList":
        self.extend(other)
        return self


class _Keyed(Module):
    """What ModuleDict and ParameterDict share: a dict whose entries are registered."""

    _kind: str  # the registry in which the entries are

    def __init__(self, entries: Any = ()) -> None:
        super().__init__()
        self.update(entries)

    def _entries(self) -> dict[str, Any]:
        return self.__dict__[self._kind]

    def _is_taken(self, name: str) -> bool:
        return False

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}")

    def __getitem__(self, key: str) -> Any:
        return self._entries()[key]

    def __setitem__(self, key: str, value: Any) -> None:
        raise NotImplementedError

    def __delitem__(self, key: str) -> None:
        changes.modules += 1
        del self._entries()[key]

    def __len__(self) -> int:
        return len(self._entries())

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries())

    def __contains__(self, key: object) -> bool:
        return key in self._entries()

    def keys(self) -> Iterable[str]:
        """Return the names."""
        return self._entries().keys()

    def values(self) -> Iterable[Any]:
        """Return the entries."""
        return self._entries().values()

    def items(self) -> Iterable[tuple[str, Any]]:
        """Return pairs of names and entries."""
        return self._entries().items()

    def get(self, key: str, default: Any = None) -> Any:
        """Return the entry called `key`, or the default."""
        return self._entries().get(key, default)

    def pop(self, key: str) -> Any:
        """Take an entry out and return it."""
        return self._entries().pop(key)

    def clear(self) -> None:
        """Take all entries out."""
        self._entries().clear()

    def update(self, entries: Any) -> None:
        """Enter everything from a mapping or from pairs."""
        pairs = entries.items() if hasattr(entries, "items") else entries
        for key, value in pairs:
            self[key] = value


class ModuleDict(_Keyed):
    """A dict of modules that are registered.

    Example:
        >>> import atled as at
        >>> choices = at.nn.ModuleDict({"keys": at.nn.ReLU(), "items": at.nn.Tanh()})
        >>> choices["keys"]
        ReLU()
    """

    _kind = "_modules"

    def __setitem__(self, key: str, module: Module) -> None:
        self.register_module(key, module)


class ParameterDict(_Keyed):
    """A dict of parameters that are registered; Tensors become parameters."""

    _kind = "_parameters"

    def __setitem__(self, key: str, value: Any) -> None:
        self.register_parameter(key, value if isinstance(value, Parameter) else Parameter(value))

    def extra_repr(self) -> str:
        return "\n".join(f"({k}): {_summary(p)}" for k, p in self.items())


class ParameterList(Module):
    """A list of parameters that are registered; Tensors become parameters."""

    def __init__(self, values: Iterable[Any] = ()) -> None:
        super().__init__()
        self.extend(values)

    def __len__(self) -> int:
        return len(self._parameters)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._parameters.values())

    @overload
    def __getitem__(self, index: slice) -> "ParameterList": ...
    @overload
    def __getitem__(self, index: int) -> Parameter: ...
    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return ParameterList(list(self)[index])
        return self._parameters[_place(index, len(self), self)]

    def __setitem__(self, index: int, value: Any) -> None:
        name = _place(index, len(self), self)
        self.register_parameter(name, value if isinstance(value, Parameter) else Parameter(value))

    def append(self, value: Any) -> "ParameterList":
        """Put a parameter at the end; return this list."""
        parameter = value if isinstance(value, Parameter) else Parameter(value)
        self.register_parameter(str(len(self)), parameter)
        return self

    def extend(self, values: Iterable[Any]) -> "ParameterList":
        """Put parameters at the end; return this list."""
        for value in values:
            self.append(value)
        return self

    def extra_repr(self) -> str:
        return "\n".join(f"({k}): {_summary(p)}" for k, p in self._parameters.items())


def _summary(p: Any) -> str:
    return f"Parameter of shape {p.shape}, {p.dtype.name}"
