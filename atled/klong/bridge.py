"""Python from Klong: modules, functions, attributes, and the backend's mathematics.

Names with an underscore cannot be written in Klong: it becomes a point there.
"""

import importlib
import importlib.util
import inspect
import sys
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from atled import linalg
from atled.core.surface import FUNCTIONS
from atled.klong.arrays import array, items, settle
from atled.klong.errors import KlongError
from atled.klong.exchange import from_python, wrapped
from atled.klong.system import system, text_of
from atled.klong.values import NUMBERS, Dictionary, Function, KlongSymbol, is_list, kind_of
from atled.klong.verbs.record import each_atom

__all__: list[str] = []


def _module(name: str) -> Any:
    """Import a module by name, or by the path of its folder or file."""
    path = Path(name)
    if "/" in name or name.endswith(".py"):
        file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if not file.is_file():
            raise KlongError(f"there is no Python module at {name!r}")
        spec = importlib.util.spec_from_file_location(path.stem, file)
        if spec is None or spec.loader is None:
            raise KlongError(f"{name!r} cannot be imported")
        module = importlib.util.module_from_spec(spec)
        sys.modules[path.stem] = module
        spec.loader.exec_module(module)
        return module
    try:
        return importlib.import_module(name)
    except (ImportError, ValueError) as error:
        raise KlongError(f"the Python module {name!r} cannot be imported: {error}") from error


def _spelled(name: str) -> str:
    return name.replace("_", ".")


@system(".py", 1, "Python")
def python(k: Any, a: Any) -> Any:
    """.py(a): define the public functions and constants of the Python module a.

    A module that has a dictionary klong_exports defines what is in it, and nothing else.

    .py("math");sqrt(64)  -->  8.0
    """
    module = _module(text_of(a, "a in .py(a)"))
    names = getattr(module, "__all__", None) or [n for n in vars(module) if n[0] != "_"]
    exports = getattr(module, "klong_exports", None) or {n: getattr(module, n) for n in names}
    for name, value in exports.items():
        if not isinstance(value, type(sys)):
            k.context.define(_spelled(name), from_python(value, name))
    return 1


@system(".pyf", 2, "Python-From")
def python_from(k: Any, a: Any, b: Any) -> Any:
    """.pyf(a;b): define the name b, or each of the names b, of the Python module a.

    .pyf("math";"sqrt");sqrt(64)  -->  8.0
    """
    module = _module(text_of(a, "a in .pyf(a;b)"))
    value: Any = []
    for name in items(b) if is_list(b) else [b]:
        name = text_of(name, "b in .pyf(a;b)")
        if not hasattr(module, name):
            raise KlongError(f"the Python module {a!r} has no {name!r}")
        value = from_python(getattr(module, name), name)
        k.context.define(_spelled(name), value)
    return value


def _original(k: Any, value: Any) -> Any:
    """Return the object of Python behind a value; a symbol or name stands for a variable."""
    if type(value) in (KlongSymbol, str):
        value = k.context.value_of(str(value))
    return value.origin if type(value) is Function and value.origin is not None else value


@system(".pya", 2, "Python-Attribute")
def python_attribute(k: Any, a: Any, b: Any) -> Any:
    """.pya(a;b): the attribute b of the object of Python a."""
    name = text_of(b, "b in .pya(a;b)")
    holder = _original(k, a)
    try:
        return from_python(getattr(holder, name), name)
    except AttributeError:
        raise KlongError(f"{type(holder).__name__} has no attribute {name!r}") from None


@system(".pyc", 3, "Python-Call")
def python_call(k: Any, a: Any, b: Any, c: Any) -> Any:
    """.pyc(a;b;c): call a function of Python with the arguments b and keywords c.

    a is a function, its name, or a list of an object and the name of its method.
    """
    if is_list(a):
        holder, name = items(a)
        function = getattr(_original(k, holder), text_of(name, "the method's name"), None)
    else:
        function = _original(k, a)
    if not callable(function):
        raise KlongError(f".pyc(a;b;c): a must be a function of Python; found {kind_of(a)}")
    if type(c) is not Dictionary:
        raise KlongError(f".pyc(a;b;c): c must be a dictionary; found {kind_of(c)}")
    arguments = items(b) if is_list(b) else [b]
    return from_python(function(*arguments, **{str(key): v for key, v in c.items()}))


def _of_atled(name: str) -> Any:
    """Return a function of atled, or of its linalg, by its name with points or underscores.

    Raises:
        KlongError: there is none; similar names are in the message.
    """
    plain = name.replace(".", "_").removeprefix("linalg_")
    if plain in FUNCTIONS and not name.startswith("linalg"):
        return FUNCTIONS[plain]
    if plain in linalg.__all__:
        return getattr(linalg, plain)
    similar = get_close_matches(plain, [*FUNCTIONS, *linalg.__all__], n=3)
    hint = f"; did you mean {', '.join(similar)}?" if similar else "; see docs/operations.md"
    raise KlongError(f"the backend has no function {name!r}{hint}")


def _elementwise(name: str) -> Function:
    """Return a function of the backend that goes into mixed lists, and takes plain numbers."""
    made = _of_atled(name)

    def one(x: Any) -> Any:
        if type(x) is list:
            return each_atom(one, x)
        return made(array(x, True) if type(x) in NUMBERS else x)

    inner = wrapped(made, name)

    def run(*args: Any) -> Any:
        if len(args) == 1:
            value = one(args[0])
            return settle(value) if hasattr(value, "_node") else from_python(value)
        return inner.run(*args)

    draws = "generator" in inspect.signature(made).parameters  # random numbers: no computation
    return Function(name, inner.arity, run, least=inner.least, parts=None if draws else ())


@system(".bkf", 1, "Backend-Function")
def backend_functions(k: Any, a: Any) -> Any:
    """.bkf(a): define mathematical functions of the backend by their names; gradients pass.

    .bkf(["exp" "sin"]);exp:>0  -->  1.0
    .bkf("solve");solve([[2.0 0.0] [0.0 4.0]];[2.0 2.0])  -->  [1.0 0.5]
    """
    names = [text_of(n, "a name in .bkf(a)") for n in (items(a) if is_list(a) else [a])]
    for name, function in [(name, _elementwise(name)) for name in names]:
        k.context.define(_spelled(name), function)
    return len(names)
