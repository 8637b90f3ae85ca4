"""Module: a function with parameters, and everything that is asked of a tree of them.

A Module keeps its parameters, buffers and submodules in three dictionaries of its own, declared
in `Module.__init__`; attributes are looked up there when Python finds none. A name may
therefore be anything that is not already an attribute of the class.

`state.py` reads and writes whole trees (`state_dict`); containers are in `containers.py`.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from atled.config import changes
from atled.core.tensor import Tensor, wrap
from atled.nn.parameter import Parameter
from atled.nn.state import Incompatible, load_state, state_of

__all__ = ["Module"]

M = TypeVar("M", bound="Module")
_MISSING = object()


class Module:
    """A function with parameters. Subclass it, assign what it is made of, write `forward`.

    Attributes:
        training: whether it is being trained; dropout and batch normalisation look at it.

    Example:
        >>> import atled as at
        >>> class Net(at.nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.hidden = at.nn.Linear(3, 4)
        ...         self.last = at.nn.Linear(4, 1)
        ...     def forward(self, x):
        ...         return self.last(self.hidden(x).relu())
        >>> net = Net()
        >>> [name for name, _ in net.named_parameters()]
        ['hidden.weight', 'hidden.bias', 'last.weight', 'last.bias']
        >>> net(at.ones(2, 3)).shape
        (2, 1)
    """

    training: bool = True
    # What `core/guard.py` looks at, when `changes.modules` has moved.
    _watched_parts = (
        "_parameters", "_buffers", "_modules", "_fleeting", "_pre_hooks", "_hooks",
    )  # fmt: skip

    def __init__(self) -> None:
        self._parameters: dict[str, Parameter | None] = {}
        self._buffers: dict[str, Tensor | None] = {}
        self._modules: dict[str, Module | None] = {}
        self._fleeting: set[str] = set()  # buffers that are not part of the state
        self._pre_hooks: list[Callable[..., Any]] = []
        self._hooks: list[Callable[..., Any]] = []

    # -- attributes ------------------------------------------------------------------------------

    def __setattr__(self, name: str, value: Any) -> None:
        changes.modules += 1
        own = self.__dict__
        if isinstance(value, Parameter):
            self.register_parameter(name, value)
        elif isinstance(value, Module):
            self.register_module(name, value)
        elif name in own.get("_parameters", ()):
            if value is not None:
                raise TypeError(
                    f"{type(self).__name__}.{name} is a parameter; found {type(value).__name__}: "
                    "assign at.nn.Parameter(...) or None, or give it a new value with "
                    f"{name}.data = tensor"
                )
            self._parameters[name] = None
        elif name in own.get("_buffers", ()):
            if value is not None and not isinstance(value, Tensor):
                raise TypeError(f"{type(self).__name__}.{name} is a buffer: assign a Tensor or "
                                f"None; found {type(value).__name__}")  # fmt: skip
            self._buffers[name] = value
        elif name in own.get("_modules", ()):
            if value is not None:
                raise TypeError(f"{type(self).__name__}.{name} is a submodule: assign a Module "
                                f"or None; found {type(value).__name__}")  # fmt: skip
            self._modules[name] = None
        else:
            object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:
        own = self.__dict__
        for kind in ("_parameters", "_modules", "_buffers"):
            if kind in own:
                found = own[kind].get(name, _MISSING)
                if found is not _MISSING:
                    return found
        hint = "" if "_parameters" in own else _NOT_INITIALIZED.format(type(self).__name__)
        raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}{hint}")

    def __delattr__(self, name: str) -> None:
        changes.modules += 1
        for registered in (self._parameters, self._buffers, self._modules):
            if name in registered:
                del registered[name]
                self._fleeting.discard(name)
                return
        object.__delattr__(self, name)

    def __dir__(self) -> Iterable[str]:
        own = self.__dict__
        kinds = ("_parameters", "_buffers", "_modules")
        return [*super().__dir__(), *(name for kind in kinds for name in own.get(kind, ()))]

    def register_parameter(self, name: str, parameter: Parameter | None) -> None:
        """Register a parameter under a name (or None, as a place for one)."""
        if parameter is not None and not isinstance(parameter, Parameter):
            raise TypeError(f"register_parameter({name!r}) needs a Parameter or None; found "
                            f"{type(parameter).__name__}")  # fmt: skip
        self._claim(name, "_parameters")[name] = parameter

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Register a Tensor that is state but no parameter, such as a running mean.

        Args:
            persistent: whether it is part of the `state_dict`.
        """
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(f"register_buffer({name!r}) needs a Tensor or None; found "
                            f"{type(tensor).__name__}")  # fmt: skip
        self._claim(name, "_buffers")[name] = tensor
        (self._fleeting.discard if persistent else self._fleeting.add)(name)

    def register_module(self, name: str, module: "Module | None") -> None:
        """Register a submodule under a name (or None, as a place for one)."""
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"register_module({name!r}) needs a Module or None; found "
                            f"{type(module).__name__}")  # fmt: skip
        self._claim(name, "_modules")[name] = module

    add_module = register_module

    def _claim(self, name: str, kind: str) -> dict[str, Any]:
        """Return the dictionary for a new entry, after freeing the name everywhere else."""
        changes.modules += 1
        own = self.__dict__
        if "_parameters" not in own:
            raise AttributeError(
                f"{type(self).__name__}.{name} was assigned before the Module was made"
                + _NOT_INITIALIZED.format(type(self).__name__)
            )
        _check_name(name)
        if self._is_taken(name):
            raise ValueError(
                f"{type(self).__name__} has an attribute {name!r} of its own; choose another name"
            )
        own.pop(name, None)
        for other in ("_parameters", "_buffers", "_modules"):
            if other != kind:
                own[other].pop(name, None)
        return own[kind]

    def _is_taken(self, name: str) -> bool:
        return hasattr(type(self), name)

    # -- calling -----------------------------------------------------------------------------------

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the result; a subclass writes it."""
        raise NotImplementedError(f"{type(self).__name__} has no forward method")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            if not (self._pre_hooks or self._hooks):
                return self.forward(*args, **kwargs)
            return self._call_hooked(args, kwargs)
        except Exception as error:
            _note_path(error, self)
            raise

    def _call_hooked(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        for hook in list(self._pre_hooks):
            changed = hook(self, args)
            if changed is not None:
                args = changed if isinstance(changed, tuple) else (changed,)
        result = self.forward(*args, **kwargs)
        for hook in list(self._hooks):
            changed = hook(self, args, result)
            if changed is not None:
                result = changed
        return result

    def register_forward_pre_hook(self, hook: Callable[..., Any]) -> "Handle":
        """Call `hook(module, args)` before each forward; what it returns replaces the args."""
        return Handle(self._pre_hooks, hook)

    def register_forward_hook(self, hook: Callable[..., Any]) -> "Handle":
        """Call `hook(module, args, result)` after each; what it returns replaces the result."""
        return Handle(self._hooks, hook)

    # -- the tree ----------------------------------------------------------------------------------

    def named_modules(self, prefix: str = "", remove_duplicate: bool = True
                      ) -> Iterator[tuple[str, "Module"]]:  # fmt: skip
        """Yield (path, module) of this and all modules below, each once."""
        seen: set[int] = set()
        stack: list[tuple[str, Module]] = [(prefix, self)]
        while stack:
            path, module = stack.pop()
            if id(module) in seen:
                continue
            if remove_duplicate:
                seen.add(id(module))
            yield path, module
            below = [(_join(path, n), m) for n, m in module._modules.items() if m is not None]
            stack += reversed(below)

    def modules(self) -> Iterator["Module"]:
        """Yield this and all modules below, each once."""
        return (module for _, module in self.named_modules())

    def named_children(self) -> Iterator[tuple[str, "Module"]]:
        """Yield (name, module) of the modules right below, each once."""
        seen: set[int] = set()
        for name, module in self._modules.items():
            if module is not None and id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def children(self) -> Iterator["Module"]:
        """Yield the modules right below, each once."""
        return (module for _, module in self.named_children())

    def _named(self, kind: str, prefix: str, recurse: bool, remove_duplicate: bool
               ) -> Iterator[tuple[str, Any]]:  # fmt: skip
        seen: set[int] = set()
        trees = self.named_modules(prefix, remove_duplicate) if recurse else [(prefix, self)]
        for path, module in trees:
            for name, tensor in getattr(module, kind).items():
                if tensor is None or id(tensor) in seen:
                    continue
                if remove_duplicate:
                    seen.add(id(tensor))
                yield _join(path, name), tensor

    def named_parameters(self, prefix: str = "", recurse: bool = True,
                         remove_duplicate: bool = True
                         ) -> Iterator[tuple[str, Parameter]]:  # fmt: skip
        """Yield (path, parameter); a shared parameter once, under its first path."""
        return self._named("_parameters", prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """Yield the parameters, each once."""
        return (p for _, p in self.named_parameters(recurse=recurse))

    def named_buffers(self, prefix: str = "", recurse: bool = True,
                      remove_duplicate: bool = True) -> Iterator[tuple[str, Tensor]]:  # fmt: skip
        """Yield (path, buffer), each once."""
        return self._named("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """Yield the buffers, each once."""
        return (b for _, b in self.named_buffers(recurse=recurse))

    def get_submodule(self, target: str) -> "Module":
        """Return the module at a path such as "layers.2"; this one for an empty path.

        Raises:
            AttributeError: there is none; the place where the path ends is named.
        """
        module, walked = self, ""
        for name in target.split(".") if target else ():
            below = module._modules.get(name)
            if below is None:
                raise AttributeError(
                    f"{type(module).__name__} at {walked or 'the root'!r} has no submodule "
                    f"{name!r}; it has {', '.join(module._modules) or 'none'}"
                )
            module, walked = below, _join(walked, name)
        return module

    def apply(self: M, function: Callable[["Module"], Any]) -> M:
        """Call `function` on every module below and then on this one; return this one."""
        for child in self.children():
            child.apply(function)
        function(self)
        return self

    # -- settings of the whole tree ----------------------------------------------------------------

    def train(self: M, mode: bool = True) -> M:
        """Set `training` in the whole tree."""
        changes.modules += 1
        for module in self.modules():
            module.__dict__["training"] = mode  # also where a child has this name
        return self

    def eval(self: M) -> M:
        """Clear `training` in the whole tree."""
        return self.train(False)

    def requires_grad_(self: M, requires_grad: bool = True) -> M:
        """Ask for gradients of all parameters, or freeze them."""
        for p in self.parameters():
            p.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters (or, with False, set them to zero)."""
        for p in self.parameters():
            if set_to_none:
                p.grad = None
            elif p.grad is not None:
                p.grad = wrap(p.backend.zeros_like(p.grad._value))

    def to(self: M, *where: Any, dtype: Any = None, device: str | None = None) -> M:
        """Move parameters and buffers to a dtype (floating ones only), device or backend.

        Args:
            where, dtype, device: as for `Tensor.to`.
        """
        found: dict[int, Tensor] = {id(t): t for t in [*self.parameters(), *self.buffers()]}
        moved = {i: _moved(t, where, dtype, device) for i, t in found.items()}
        grads = {i: _moved(t.grad, where, dtype, device) for i, t in found.items()
                 if t.grad is not None}  # fmt: skip
        for i, t in found.items():  # only now, when nothing can fail any more
            wanted = t.requires_grad
            t.requires_grad_(False)
            t._value = moved[i]._value
            t.requires_grad_(wanted)
            t.grad = grads.get(i)
        return self

    def float(self: M) -> M:
        """Convert floating parameters and buffers to float32."""
        return self.to(dtype="float32")

    def double(self: M) -> M:
        """Convert floating parameters and buffers to float64."""
        return self.to(dtype="float64")

    # -- state -------------------------------------------------------------------------------------

    def state_dict(self, prefix: str = "") -> dict[str, Tensor]:
        """Return the values of all parameters and persistent buffers by path.

        They are values: training on does not change them.
        """
        return {prefix + path: wrap(t._value) for path, t in state_of(self).items()}

    def load_state_dict(self, state: Any, strict: bool = True) -> Incompatible:
        """Give parameters and buffers the values of a `state_dict`; all of them, or none.

        Args:
            state: path -> Tensor or array.
            strict: whether missing and unexpected paths are errors.

        Returns:
            (missing_keys, unexpected_keys).

        Raises:
            ValueError: with every missing and unexpected path and every wrong shape or dtype.
        """
        return load_state(type(self).__name__, state_of(self), state, strict)

    # -- display -----------------------------------------------------------------------------------

    def extra_repr(self) -> str:
        """Return what `repr` shows between the parentheses."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        lines = extra.splitlines() if "\n" in extra else []
        for name, module in self._modules.items():
            lines += f"({name}): {module!r}".splitlines()
        head = f"{type(self).__name__}("
        if not lines:
            return f"{head}{extra})"
        if extra and "\n" not in extra:
            lines.insert(0, extra)
        return "\n".join([head, *("  " + line for line in lines), ")"])


class Handle:
    """What registering a hook returns: `remove()` takes the hook away again."""

    def __init__(self, hooks: list[Any], hook: Any) -> None:
        changes.modules += 1
        self._hooks, self._entry = hooks, hook
        hooks.append(hook)

    def remove(self) -> None:
        """Take the hook away; doing so twice is harmless."""
        changes.modules += 1
        if self._entry in self._hooks:
            self._hooks.remove(self._entry)


_NOT_INITIALIZED = "; call super().__init__() first in {}.__init__"


def _check_name(name: str) -> None:
    if not isinstance(name, str) or not name or "." in name:
        raise ValueError(f"a name in a Module is a nonempty string without dots; found {name!r}")


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _moved(t: Tensor, where: tuple[Any, ...], dtype: Any, device: str | None) -> Tensor:
    plain = wrap(t._value)
    if t.dtype.is_floating_point:
        return plain.to(*where, dtype=dtype, device=device)
    kept = plain.to(*where, device=device)
    return kept if kept.dtype is t.dtype else plain.to(kept.backend.name, kept.device)


def _note_path(error: Exception, module: Module) -> None:
    """Note on an error where in the model it arose; each caller puts its own name before."""
    known = getattr(error, "_module_path", None)
    if known is None:
        path, kind, note = "", type(module).__name__, None
    else:
        below, path, kind, note = known
        if below is not module:
            name = next((n for n, m in module.named_modules() if m is below), None)
            if name is None:  # called, but not registered here
                return
            path = f"{name}.{path}".strip(".")
    written = f"in {'model.' + path if path else 'model'} ({kind})"
    notes = getattr(error, "__notes__", [])
    if note in notes:
        notes[notes.index(note)] = written
    else:
        error.add_note(written)
    error._module_path = (module, path, kind, written)  # type: ignore[attr-defined]
