"""NumPy's own functions called on a Tensor are atled's, or they raise and say what to do.

NumPy hands a call over in two ways: ``__array_ufunc__`` for ufuncs (`np.sin`, `arr * t`,
`np.add.reduce`, also SciPy's `erf`), ``__array_function__`` for the rest (`np.sum`,
`np.concatenate`). `numpy_tables.py` says which function of atled's answers, `ops/numpy_names.py`
adds adapters where NumPy's meaning is its own. What stands in no table is refused by name: a call
never gives a silent zero or a detached array. NumPy itself is not imported, only recognised.
"""

import sys
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from atled.core.apply import as_tensor
from atled.core.numpy_tables import (
    ACCUMULATE,
    CONSTANTS,
    REDUCE,
    ROWS,
    SIGNATURES,
    SPECIAL,
    UFUNCS,
    WRITTEN,
)
from atled.core.surface import FUNCTIONS, update
from atled.core.tensor import Tensor, wrap
from atled.dtypes import float64
from atled.errors import AtledError, located

__all__ = ["ADAPTERS", "UFUNC_ADAPTERS", "InteropError", "install_numpy", "numpy_name"]


class InteropError(AtledError, TypeError):
    """A function of NumPy's was called on a Tensor that atled cannot answer for."""


ADAPTERS: dict[str, Callable[..., Any]] = {}  # "fft.fftshift" -> a function with NumPy's parameters
UFUNC_ADAPTERS: dict[str, Callable[..., Any]] = {}


def numpy_name(*names: str, ufunc: bool = False) -> Callable[[Callable[..., Any]], Any]:
    """Enter a function that takes NumPy's parameters, by NumPy's names, under NumPy's name."""

    def enter(function: Callable[..., Any]) -> Callable[..., Any]:
        for name in names:
            (UFUNC_ADAPTERS if ufunc else ADAPTERS)[name] = function
        return function

    return enter


def _pairs(text: str) -> dict[str, str]:
    words = [word.partition("=") for word in text.split()]
    return {name: ours or name for name, _, ours in words}


class _Row:
    """A row of the table: which function, and NumPy's parameters that it understands."""

    def __init__(self, ours: str, words: str) -> None:
        positional, _, keywords = words.partition("|")
        self.ours, self.positional = ours, positional.split()
        self.keywords = {
            name: known or name
            for name, _, known in (w.partition(":") for w in keywords.split() if w[0] != "-")
        }
        self.ignored = {w[1:] for w in keywords.split() if w[0] == "-"}

    def accepts(self, name: str) -> bool:
        return name in self.keywords or name in self.positional or "*" + name in self.positional

    def __call__(self, given: dict[str, Any]) -> Any:
        args: list[Any] = []
        for name in self.positional:
            if name[0] == "*":
                args += given[name[1:]]
            elif name in given:
                args.append(given[name])
        options = {self.keywords[k]: v for k, v in given.items() if k in self.keywords}
        return FUNCTIONS[self.ours](*args, **options)


class _Adapted:
    """An adapter: a function whose parameters are called as NumPy's."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.ignored: set[str] = set()
        code = function.__code__
        self.names = set(code.co_varnames[: code.co_argcount])

    def accepts(self, name: str) -> bool:
        return name in self.names

    def __call__(self, given: dict[str, Any]) -> Any:
        return self.function(**given)


@lru_cache(maxsize=1)
def entries() -> dict[str, Any]:
    """Return what answers for each of NumPy's functions, by its name after ``numpy.``."""
    rows = [line.split(maxsplit=2) for line in ROWS.split("\n") if line]
    table: dict[str, Any] = {name: _Row(ours, words) for name, ours, words in rows}
    return table | {name: _Adapted(function) for name, function in ADAPTERS.items()}


# -- functions


def array_function(self: Tensor, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
    """Answer a call of one of NumPy's functions (NEP 18)."""
    if any(not issubclass(t, Tensor) and t.__module__.partition(".")[0] != "numpy" for t in types):
        return NotImplemented
    name = _name_of(func)
    if name in CONSTANTS.split():
        return _from_values(name, func, args, kwargs)
    entry = entries().get(name)
    if entry is None or (isinstance(entry, _Row) and entry.ours not in FUNCTIONS):
        raise _refusal(name, "has no derivative in atled")
    given, defaults = _bound(name, func, args, kwargs)
    out = given.pop("out", None)
    for key in list(given):
        if _is_default(given[key], defaults.get(key, _Row)) or key in entry.ignored:
            del given[key]
        elif not entry.accepts(key):
            raise _refusal(name, f"has no argument {key}= in atled")
    kept = WRITTEN.get(name)  # an array that is written into must not be replaced by a Tensor
    y = entry({k: v if k == kept else _settled(v, self) for k, v in given.items()})
    return y if out is None else _written(name, out, y)


def _name_of(func: Any) -> str:
    module = str(func.__module__).removeprefix("numpy").lstrip(".")
    return f"{module}.{func.__name__}" if module else str(func.__name__)


@lru_cache(maxsize=512)
def _signature(name: str, func: Any) -> Any:
    import inspect  # on first use: it takes 10 ms, a quarter of `import atled`

    try:
        return inspect.signature(func)
    except ValueError:
        if name not in SIGNATURES:
            raise _refusal(name, "does not tell its arguments") from None
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        parts = [word.partition("=") for word in SIGNATURES[name].split()]
        known = {"None": None, "0": 0, "True": True}
        return inspect.Signature(
            [
                inspect.Parameter(
                    key,
                    kind,
                    default=known.get(text, text.strip("'")) if equals else inspect.Parameter.empty,
                )
                for key, equals, text in parts
            ]
        )


def _bound(name: str, func: Any, args: Any, kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the given arguments by NumPy's names, and NumPy's defaults."""
    signature = _signature(name, func)
    given: dict[str, Any] = {}
    for key, value in signature.bind(*args, **kwargs).arguments.items():
        kind = signature.parameters[key].kind
        if kind.name == "VAR_KEYWORD":
            given |= value
        elif kind.name == "VAR_POSITIONAL":
            given[key] = _Several(value)
        else:
            given[key] = value
    return given, {key: p.default for key, p in signature.parameters.items()}


class _Several(tuple[Any, ...]):
    """Arguments that NumPy takes as ``*args``: each is settled by itself."""


def _is_default(value: Any, default: Any) -> bool:
    if value is default:
        return True
    return (
        type(value) is type(default)
        and type(value) in (bool, int, float, str)
        and bool(value == default)
    )


def _settled(value: Any, beside: Tensor) -> Any:
    """Return an argument as atled takes it.

    NumPy's scalars are Python's, and as weak; its arrays, lists with floats (float64, as to
    NumPy) and lists
    with Tensors of numbers are Tensors.
    """
    if type(value) is _Several:
        return [_settled(v, beside) for v in value]
    if type(value) in (list, tuple):
        settled = [_settled(v, beside) for v in value]
        if (
            settled
            and all(type(v) in (float, int) for v in settled)
            and float in map(type, settled)
        ):
            return _number(settled, beside)
        return type(value)(settled)
    if type(value).__module__ != "numpy" or not hasattr(value, "dtype"):
        return value
    if getattr(value, "ndim", 1) == 0:
        return value.item()
    return FUNCTIONS["asarray"](value) if hasattr(value, "shape") else value


def _number(value: Any, beside: Tensor) -> Tensor:
    """Return floats as a float64 Tensor (what NumPy takes them for) beside another."""
    dtype = float64 if float64 in beside.backend.dtypes else beside.dtype
    return wrap(beside.backend.asarray(value, dtype=dtype, device=beside.device))


def _from_values(name: str, func: Any, args: Any, kwargs: Any) -> Any:
    """Let NumPy answer from the values; arrays of integers and booleans come back as Tensors."""
    first: list[Tensor] = []

    def values(x: Any) -> Any:
        if isinstance(x, Tensor):
            first.append(x)
            return x.backend.to_numpy(x._value)
        return type(x)([values(v) for v in x]) if type(x) in (list, tuple) else x

    y = func(*[values(x) for x in args], **{key: values(x) for key, x in kwargs.items()})

    def tensors(x: Any) -> Any:
        if type(x) is tuple and not name.endswith("shape"):
            return tuple([tensors(v) for v in x])
        if type(x).__module__ != "numpy" or not hasattr(x, "shape"):
            return x
        if x.dtype.kind not in "biu":
            raise _refusal(name, "has no derivative in atled")
        return wrap(first[0].backend.asarray(x, device=None))

    return tensors(y)


def _written(name: str, out: Any, y: Any) -> Any:
    """Give the Tensor `out` the value of y, recorded; see `surface.update`."""
    out = out[0] if isinstance(out, tuple) and len(out) == 1 else out
    if not isinstance(out, Tensor):
        raise InteropError(
            located(
                f"np.{name} cannot write the value of a Tensor into {type(out).__name__}: its "
                "gradient would be lost. Write `c = a + b` for `c += b` and leave out= away, or "
                "make the array a Tensor first: c = at.asarray(c)"
            )
        )
    return update(
        out, lambda: y if y.dtype is out.dtype else FUNCTIONS["astype"](y, out.dtype), (y,)
    )


def _refusal(name: str, why: str) -> InteropError:
    return InteropError(
        located(
            f"np.{name} {why}; write it with other functions, or compute it without a gradient: "
            f"np.{name} of np.asarray(t.detach())"
        )
    )


# -- ufuncs


def array_ufunc(self: Tensor, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
    """Answer a call of a ufunc, or of its reduce, accumulate or outer (NEP 13)."""
    name = str(ufunc.__name__)
    full = name if method == "__call__" else f"{name}.{method}"
    out = options.pop("out", None)
    settled = [_stacked(_settled(x, self)) for x in inputs]
    defaults = {"casting": "same_kind", "order": "K", "dtype": None, "subok": True, "where": True}
    given = {k: v for k, v in options.items() if not _is_default(v, defaults.get(k, _Row))}
    own = {"axis"} if name == "vecdot" else set()
    own = (
        {"axis", "keepdims"} if method == "reduce" else {"axis"} if method == "accumulate" else own
    )
    wrong = sorted(set(given) - own)
    if wrong:
        raise _refusal(full, f"has no argument {wrong[0]}= in atled")
    y = _ufunc_answer(ufunc, name, full, method)(*settled, **given)
    return y if out is None else _written(full, out, y)


def _ufunc_answer(ufunc: Any, name: str, full: str, method: str) -> Callable[..., Any]:
    """Return the function that computes a ufunc's method."""
    if _owner(ufunc, name, "numpy"):
        if method in ("reduce", "accumulate"):
            ours = _pairs(REDUCE if method == "reduce" else ACCUMULATE).get(name)
            if ours is None:
                raise _refusal(full, "has no derivative in atled")
            return _reducer(FUNCTIONS[ours], method)
        known = _pairs(UFUNCS).get(name)
        found = UFUNC_ADAPTERS.get(name) or (FUNCTIONS[known] if known else None)
        if found is not None and method == "__call__":
            return found
        if found is not None and method == "outer" and ufunc.nin == 2:
            return _outer(found)
    elif method == "__call__" and _owner(ufunc, name, "scipy.special"):
        known = _pairs(SPECIAL).get(name)
        if known:
            return FUNCTIONS[known]
    raise _refusal(full, "has no derivative in atled")


def _owner(ufunc: Any, name: str, module: str) -> bool:
    """Say whether a ufunc is the library's own of that name, not someone's of the same name."""
    return getattr(sys.modules.get(module), name, None) is ufunc


def _reducer(function: Callable[..., Any], method: str) -> Callable[..., Any]:
    def over(x: Any, axis: Any = 0, **options: Any) -> Any:
        y = function(as_tensor(x), axis=axis, **options)
        return y.values if method == "accumulate" and isinstance(y, tuple) else y  # type: ignore[attr-defined]

    return over


def _outer(function: Callable[..., Any]) -> Callable[..., Any]:
    def pairs(a: Any, b: Any) -> Any:
        a, b = as_tensor(a), as_tensor(b)
        return function(FUNCTIONS["reshape"](a, (*a.shape, *[1] * b.ndim)), b)

    return pairs


def _stacked(x: Any) -> Any:
    """Return a nested list that holds Tensors as one Tensor: they are joined, not read."""
    if type(x) in (list, tuple) and any(isinstance(v, (Tensor, list, tuple)) for v in x):
        return FUNCTIONS["stack"]([_stacked(v) for v in x])
    return x


def install_numpy() -> None:
    """Put NumPy's two protocols on the Tensor."""
    Tensor.__array_ufunc__ = array_ufunc  # type: ignore[assignment, method-assign]
    Tensor.__array_function__ = array_function  # type: ignore[assignment, method-assign]
