"""Call a Module with other Tensors in the places of its parameters and buffers."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from atled.config import changes
from atled.core.tensor import Tensor
from atled.errors import ShapeError
from atled.nn.module import Module

__all__ = ["functional_call"]

Place = tuple[dict[str, Any], str]  # a dictionary of parameters or buffers, and a name in it


def functional_call(
    module: Module,
    parameters: Mapping[str, Tensor],
    args: Any = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    tie_weights: bool = True,
) -> Any:
    """Call a Module with given Tensors for some of its parameters and buffers.

    The Module is as it was afterwards, also after an error. A transform of a function that calls
    this differentiates (or maps over) the parameters.

    Args:
        module: what to call.
        parameters: Tensors by path, as in `named_parameters` and `named_buffers`; what is not
            named keeps the Module's own.
        args: the positional arguments; one that is no tuple is the only one.
        kwargs: the others.
        tie_weights: give a Tensor to all paths that share the parameter it is named for.

    Returns:
        What the Module returns.

    Raises:
        KeyError: the Module has no such path.
        ShapeError: a Tensor has another shape than the one in its place.
        ValueError: two paths of one shared parameter were given different Tensors.

    Source: names and meaning as in `torch.func.functional_call`.

    Example:
        >>> import atled as at
        >>> model = at.nn.Linear(2, 1, bias=False)
        >>> loss = lambda p, x: at.nn.functional_call(model, p, x).sum()
        >>> at.grad(loss)({"weight": at.zeros(1, 2)}, at.tensor([[3.0, 4.0]]))
        {'weight': tensor([[3., 4.]])}
    """
    given = _placed(module, parameters, tie_weights)
    args = args if isinstance(args, tuple) else (args,)
    with _lent(given):
        return module(*args, **(kwargs or {}))


def _places(module: Module) -> Iterator[tuple[str, Place]]:
    """Yield the path of every parameter and buffer, shared ones under each, with its place."""
    for path, each in module.named_modules(remove_duplicate=False):
        start = f"{path}." if path else ""
        for own in (each._parameters, each._buffers):
            for name in own:
                yield start + name, (own, name)


def _placed(
    module: Module, parameters: Mapping[str, Tensor], tie_weights: bool
) -> list[tuple[Place, Tensor]]:
    """Return the places to fill and what with, after checking all of it."""
    places = dict(_places(module))
    shared: dict[int, list[str]] = {}
    for path, (own, name) in places.items():
        if own[name] is not None:
            shared.setdefault(id(own[name]), []).append(path)
    out: dict[str, Tensor] = {}
    for path, t in parameters.items():
        if path not in places:
            raise KeyError(
                f"functional_call: {type(module).__name__} has no parameter or buffer {path!r}; "
                f"it has {', '.join(places) or 'none'}"
            )
        own, name = places[path]
        _check(path, t, own[name])
        tied = shared.get(id(own[name]), [path]) if tie_weights else [path]
        for other in tied:
            if out.setdefault(other, t) is not t:
                first, second = sorted((path, next(p for p in tied if parameters.get(p) is not t
                                                   and p in parameters)))  # fmt: skip
                raise ValueError(
                    f"functional_call: {first!r} and {second!r} are one shared parameter and were "
                    "given different Tensors; give one of them, or pass tie_weights=False"
                )
    return [(places[path], t) for path, t in out.items()]


def _check(path: str, t: Any, own: Tensor | None) -> None:
    if not isinstance(t, Tensor):
        raise TypeError(
            f"functional_call: {path!r} needs a Tensor; found a {type(t).__name__}"
        )  # fmt: skip
    if own is not None and t.shape != own.shape:
        raise ShapeError(f"functional_call: {path!r} has shape {own.shape}; found {t.shape}")


@contextmanager
def _lent(given: list[tuple[Place, Tensor]]) -> Iterator[None]:
    """Put Tensors into places for a while."""
    before = [(own, name, own[name]) for (own, name), _ in given]
    changes.modules += 1  # compiled functions look again
    try:
        for (own, name), t in given:
            own[name] = t
        yield
    finally:
        for own, name, t in before:
            own[name] = t
        changes.modules += 1
