"""Values across the border between Python and Klong."""

import inspect
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from atled.backends.protocol import namespace_of
from atled.core.apply import as_tensor
from atled.core.interop import InteropError
from atled.core.tensor import Tensor
from atled.dtypes import int64
from atled.errors import GradError
from atled.klong.arrays import carries, freeze, listed, settle
from atled.klong.errors import KlongError
from atled.klong.values import UNDEFINED, Char, Dictionary, Function, KlongSymbol, Undefined

__all__ = ["from_python", "to_python", "wrapped"]

MANY = 99  # arguments of a function of Python that takes any number
KNOWN = (int, float, str, Char, KlongSymbol, Dictionary, Function, Undefined)


def from_python(value: Any, name: str = "a function of Python") -> Any:
    """Return an object of Python as a value of Klong.

    Numbers, strings, arrays of any library, lists, dicts and functions become Klong's; anything
    else stays what it is, and can be handed on.
    """
    kind = type(value)
    if kind in KNOWN:
        return value
    if kind is bool:
        return int(value)
    if kind is Tensor:
        return _tensor(value)
    if value is None:
        return UNDEFINED
    if isinstance(value, (list, tuple)):
        return listed([from_python(v) for v in value])
    if isinstance(value, Mapping):
        return Dictionary({freeze(from_python(k)): from_python(v) for k, v in value.items()})
    if isinstance(value, (int, float, str)):  # subclasses: numpy.float64, enumerations
        base = next(b for b in (int, float, str) if isinstance(value, b))
        return base(value)
    if (found := _from_array(value)) is not None:
        return found
    if callable(value) and not isinstance(value, ModuleType) and not hasattr(value, "context"):
        return wrapped(value, name)
    return value


def _tensor(t: Tensor) -> Any:
    if not t.dtype.is_floating_point and t.dtype is not int64:
        t = t.astype(int64)
    if not t.shape:
        return settle(t)
    return t if t.size else t.tolist()


def _from_array(value: Any) -> Any:
    """Return another library's array as a Tensor, or as a list if its elements do not fit."""
    if namespace_of(value) is None:
        return None
    dtype = getattr(value, "dtype", None)
    if getattr(dtype, "kind", "f") in "OUS" or str(dtype) == "uint64":  # may be beyond int64
        return from_python(value.tolist())
    return _tensor(as_tensor(value))


def to_python(value: Any, owner: Any) -> Any:
    """Return a value of Klong as Python's: a function becomes callable there."""
    if type(value) is Function:
        if value.origin is not None:
            return value.origin
        value.enter = owner.call
    elif type(value) is Dictionary:
        for key, held in value.items():
            if type(held) is Function:
                value[key] = to_python(held, owner)
    return value


def wrapped(function: Callable[..., Any], name: str = "") -> Function:
    """Return a function of Python as one of Klong, with positional arguments.

    Called inside a derivative, it computes with Tensors, or is an error: never a silent zero.
    """
    least, most = _arity(function)
    called = name or getattr(function, "__name__", type(function).__name__)

    def run(*args: Any) -> Any:
        if not any(map(_carries, args)):
            return from_python(function(*args), called)
        try:
            found = function(*args)
        except (InteropError, GradError) as error:
            if str(getattr(function, "__module__", "")).startswith("atled."):
                raise  # it has said what it lacks
            raise KlongError(f"{called} of Python has no derivative here. {REMEDY}") from error
        if isinstance(found, float):
            raise KlongError(
                f"{called} of Python gives a plain number, without the gradient. {REMEDY}; for a "
                "constant return a Tensor, detached"
            )
        return from_python(found, called)

    return Function(called, most, run, least=least, origin=function)


REMEDY = "Use a function of .bkf, or one that computes with Tensors"


def _carries(value: Any) -> bool:
    return carries(value) or (type(value) is list and any(map(_carries, value)))


def _arity(function: Callable[..., Any]) -> tuple[int, int]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # some functions written in C do not say
        return 0, MANY
    places = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    least = sum(p.default is p.empty for p in places)
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return least, MANY
    return least, len(places)
