"""Whether operations are recorded: `no_grad`, `enable_grad`, `set_grad_enabled`."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from atled.config import modes
from atled.errors import TraceError

GENERATOR = 0x20  # the flag of a generator function's code

__all__ = ["enable_grad", "is_grad_enabled", "no_grad", "refuse_traced", "set_grad_enabled"]


class set_grad_enabled:
    """Record operations, or not: as a setting at once, or for a `with` block."""

    def __init__(self, mode: bool) -> None:
        self._before = modes.enabled
        modes.enabled = mode

    def __enter__(self) -> "set_grad_enabled":
        return self

    def __exit__(self, *exc: object) -> None:
        modes.enabled = self._before


class _Mode:
    """A context manager and decorator that sets the grad mode and puts it back; reentrant."""

    _mode: bool

    def __new__(cls, function: Callable[..., Any] | None = None) -> Any:
        """Make a mode, or, as a bare decorator, the function in it."""
        return object.__new__(cls) if function is None else _inside(cls, function)

    def __init__(self) -> None:
        self._before: list[bool] = []

    def __enter__(self) -> "_Mode":
        self._before.append(modes.enabled)
        modes.enabled = self._mode
        return self

    def __exit__(self, *exc: object) -> None:
        modes.enabled = self._before.pop()

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Decorate a function, or a generator function, whose body then runs in this mode."""
        return _inside(type(self), function)


def _inside(mode: type[_Mode], function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function with its body run in a mode; a generator's between its yields too."""
    if function.__code__.co_flags & GENERATOR:

        @wraps(function)
        def resumed(*args: Any, **kwargs: Any) -> Any:
            generator, given = function(*args, **kwargs), None
            while True:
                try:
                    with mode():
                        item = generator.send(given)
                except StopIteration as stop:
                    return stop.value
                given = yield item

        return resumed

    @wraps(function)
    def inside(*args: Any, **kwargs: Any) -> Any:
        with mode():
            return function(*args, **kwargs)

    return inside


class no_grad(_Mode):
    """Do not record operations: results do not require gradients.

    Example:
        >>> import atled as at
        >>> w = at.tensor(2.0, requires_grad=True)
        >>> with at.no_grad():
        ...     (w * 3).requires_grad
        False
    """

    _mode = False


class enable_grad(_Mode):
    """Record operations, also inside `no_grad`."""

    _mode = True


def refuse_traced(what: str) -> None:
    """Raise TraceError in a compiled function, for what can only be done outside."""
    if modes.tracing is not None:
        raise TraceError(
            f"{what} cannot be part of a compiled function, whose Python code runs only once: "
            "call it outside"
        )


def is_grad_enabled() -> bool:
    """Say whether operations are being recorded in this thread."""
    return modes.enabled
