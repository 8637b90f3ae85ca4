"""Write the files that follow from the registry: type stubs and the table of operations.

    python tools/generate.py            # write
    python tools/generate.py --check    # exit with 1 if a file is not what would be written

`atled/functions.pyi` and `atled/core/methods.pyi` tell type checkers and editors what the public
functions and the Tensor's methods are; `docs/operations.md` is the published matrix.
"""

import builtins
import inspect
import sys
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from atled import functions  # noqa: E402
from atled.core import surface  # noqa: E402
from atled.core.op import REGISTRY, Absent, Op  # noqa: E402
from atled.core.tensor import Tensor  # noqa: E402
from tests.exemptions import UNTESTED  # noqa: E402

COLUMNS = ["operation", "kind", "reverse", "forward", "second order", "python", "numpy", "torch"]
COLUMNS += ["derivative"]
HEAD = "# Written by tools/generate.py from the registry of operations; do not edit.\n"
NAMED = {"Generator": "atled.ops.random"}


def annotation(given: Any) -> str:
    """Spell an annotation in a stub; what the stub cannot name is Any."""
    if given is inspect.Parameter.empty:
        return "Any"
    if given is None or given is type(None):
        return "None"
    if isinstance(given, str):
        return given if given in ("Tensor", "bool", "int", "float", "str") else "Any"
    if isinstance(given, type) and not typing.get_args(given):
        known = given.__module__ == "builtins" or given is Tensor
        if known and given.__name__ in SHADOWED:
            return f"builtins.{given.__name__}"
        if issubclass(given, tuple) and given is not tuple:
            return "tuple[Tensor, Tensor]"
        return given.__name__ if known else "Any"
    origin, arguments = typing.get_origin(given), typing.get_args(given)
    if origin in (list, tuple, dict):
        inner = ", ".join("..." if a is Ellipsis else annotation(a) for a in arguments)
        return f"{origin.__name__}[{inner}]"
    if arguments and (origin is typing.Union or "Union" in type(given).__name__):
        parts = [annotation(a) for a in arguments]
        return "Any" if "Any" in parts else " | ".join(parts)
    return "Any"


SHADOWED: frozenset[str] = frozenset()


def signature(name: str, function: Callable[..., Any], method: bool) -> str:
    """Return one stub line for a function."""
    sign = inspect.signature(function)
    parts: list[str] = []
    seen_keyword = False
    parameters = list(sign.parameters.values())
    for i, p in enumerate(parameters):
        if p.kind is p.KEYWORD_ONLY and not seen_keyword:
            seen_keyword = True
            if not any(q.kind is q.VAR_POSITIONAL for q in parameters):
                parts.append("*")
        star = {p.VAR_POSITIONAL: "*", p.VAR_KEYWORD: "**"}.get(p.kind, "")
        kind = "" if method and i == 0 else f": {annotation(p.annotation)}"
        default = "" if p.default is p.empty else (" = ..." if kind else "=...")
        label = "self" if method and i == 0 else p.name
        parts.append(f"{star}{label}{kind}{default}")
        if p.kind is p.POSITIONAL_ONLY and not any(
            q.kind is q.POSITIONAL_ONLY for q in parameters[i + 1 :]
        ):
            parts.append("/")
    if "dim" not in sign.parameters and hasattr(function, "__wrapped__"):
        parts += [] if any(q.kind is q.VAR_KEYWORD for q in parameters) else ["**spelled: Any"]
    returned = annotation(sign.return_annotation)
    op = REGISTRY.get(function.__name__)
    if returned == "Any" and op is not None and op.outputs == 1:
        returned = "Tensor"
    return f"def {name}({', '.join(parts)}) -> {returned}: ..."


def functions_stub() -> str:
    """Return the text of functions.pyi."""
    global SHADOWED
    SHADOWED = frozenset(n for n in functions.FUNCTIONS if hasattr(builtins, n))
    lines = [HEAD, "import builtins", "from typing import Any", ""]
    lines += ["from atled.core.tensor import Tensor", "", "FUNCTIONS: dict[str, Any]", ""]
    for name, function in sorted(functions.FUNCTIONS.items()):
        lines.append(signature(name, function, method=False))
    return "\n".join(lines) + "\n"


def methods_stub() -> str:
    """Return the text of methods.pyi: what `install` puts on the Tensor."""
    global SHADOWED
    SHADOWED = frozenset(n for n in dir(Tensor) if hasattr(builtins, n))
    lines = [HEAD, "import builtins", "from collections.abc import Iterator"]
    lines += ["from typing import Any", "", "from atled.core.tensor import Tensor", ""]
    lines += ["class TensorMethods:"]
    own = set(vars(object)) | {"__module__", "__qualname__", "__doc__", "__slots__"}
    own -= {f"__{word}__" for word in surface._COMPARISONS}
    written = source_names()
    for name, value in sorted(vars(Tensor).items()):
        if name in own or name in written:
            continue
        if isinstance(value, property):
            lines += ["    @property", f"    def {name}(self) -> Tensor: ..."]
        elif name in ("__eq__", "__ne__"):
            lines.append(
                f"    def {name}(self, other: Any) -> Tensor: ...  # type: ignore[override]"
            )
        elif name.startswith("__") and name.strip("_") in operator_words():
            lines.append(f"    def {name}(self, other: Any) -> Tensor: ...")
        elif name in ("__neg__", "__pos__", "__abs__", "__invert__"):
            lines.append(f"    def {name}(self) -> Tensor: ...")
        elif name == "__iter__":
            lines.append("    def __iter__(self) -> Iterator[Tensor]: ...")
        elif callable(value) and not name.startswith("_abc"):
            lines.append("    " + signature(name, value, method=True))
    return "\n".join(lines) + "\n"


def operator_words() -> set[str]:
    """Return the words of the binary operators, plain, reflected and in place."""
    words = set(surface._OPERATORS) | set(surface._COMPARISONS)
    return words | {prefix + w for w in words for prefix in ("r", "i")}


def source_names() -> set[str]:
    """Return the names that the Tensor's own source defines: no stub is needed for them."""
    import ast

    tree = ast.parse((ROOT / "atled/core/tensor.py").read_text())
    body = next(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == "Tensor").body
    names = {n.name for n in body if isinstance(n, ast.FunctionDef)}
    names |= {n.target.id for n in body if isinstance(n, ast.AnnAssign)}  # type: ignore[union-attr]
    return names | {"_node", "_value", "__dict__", "__weakref__", "__array_priority__", "LONGEST"}


# -- the table of operations ----------------------------------------------------------------------


def operations_page() -> str:
    """Return docs/operations.md: each record with its derivative, then the composites."""
    from atled.inspect.rules import rule_text

    lines = ["# Operations", "", HEAD.replace("# ", "<!-- ").rstrip() + " -->", ""]
    lines += [
        "Every operation is one record; its derivative is written once and runs on every backend,",
        "in reverse and in forward mode, at any order. The tests made from the records run each ✓:",
        "values against an independent implementation, both modes at first and second order",
        "against central differences, on the python, numpy and torch backends. – is a derivative",
        "that does not exist; ○ is left to a test written by hand, which the last column names.",
        "",
        "| " + " | ".join(COLUMNS) + " |",
        "|---" * len(COLUMNS) + "|",
    ]
    for name, op in sorted(REGISTRY.items()):
        texts = (
            []
            if isinstance(op.derivative, Absent)
            else [rule_text(op, i) for i, pair in enumerate(op.derivative) if pair is not None]
        )
        lines.append(_operation_row(name, op, texts))
    lines += [
        "",
        "## Composites",
        "",
        "Written with the operations above: no rule of their own.",
        "",
    ]
    lines += ["| function | what it is |", "|---|---|"]
    for name, function in sorted(functions.FUNCTIONS.items()):
        if name not in surface.ALIASES and name not in REGISTRY and not name.startswith("_"):
            lines.append(f"| `{name}` | {(function.__doc__ or '').splitlines()[0]} |")
    lines += ["", "## Other names", "", "| name | is |", "|---|---|"]
    for alias, name in sorted(surface.ALIASES.items()):
        lines.append(f"| `{alias}` | `{name}` |")
    return "\n".join(lines) + "\n"


def _operation_row(name: str, op: Op, texts: list[str]) -> str:
    tested = "✓" if op.samples and name not in UNTESTED else "○"
    if isinstance(op.derivative, Absent):
        cells = ["–"] * 3
        rule = f"none: {op.derivative.reason}"
    else:
        cells = [tested] * 3
        rule = "<br>".join(f"`{t}`" for t in texts)
    if tested == "○":
        rule += f" (not generated: {UNTESTED.get(name, 'it has no sample')})"
    row = [f"`{name}`", op.kind, *cells, *[tested] * 3, rule.replace("|", "\\|")]
    return "| " + " | ".join(row) + " |"


FILES: dict[str, Callable[[], str]] = {
    "atled/functions.pyi": functions_stub,
    "atled/core/methods.pyi": methods_stub,
    "docs/operations.md": operations_page,
}


def main() -> int:
    """Write the files, or say which of them are out of date."""
    stale = []
    for path, write in FILES.items():
        text = write()
        target = ROOT / path
        if "--check" in sys.argv:
            if not target.exists() or target.read_text() != text:
                stale.append(path)
        else:
            target.write_text(text)
    for path in stale:
        print(f"{path} is out of date: run python tools/generate.py")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
