"""The rooms of the house: imports stand at the top, point down, and never run in a circle.

The three tables below are all there is to edit. A new folder or top-level file needs its number in
ROOMS; a new file in a folder that ORDER names needs its place there. `problems` reads sources with
`ast` and returns one line for each thing it refuses; its own tests follow at the end.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# Imports point to a lower number; within a number, only inside one folder.
ROOMS = {
    0: ["errors", "dtypes", "config", "tree"],
    1: ["backends"],
    2: ["core"],
    3: ["ops", "compile", "autograd"],
    3.5: ["functions"],
    4: ["linalg", "nn", "optim", "data", "io", "inspect", "testing"],
    4.5: ["klong"],
    5: ["train"],
    6: ["cli"],
    9: ["__init__"],
    10: ["__main__"],
}

# Inside these folders a file imports only those above it; the files of one set are peers and do
# not import one another. Inside any other folder, imports only must not run in a circle.
ORDER: dict[str, list[str | set[str]]] = {
    "": ["errors", "dtypes", "config", "tree"],
    "backends": ["protocol", "singular", "lapack", "order", {"python", "numpy", "torch"}],
    "core": [
        "op",
        "batching",
        "kinds",
        "graph",
        "finite",
        "stand_in",
        "symbol",
        "mode",
        "masks",
        "tape",
        "display",
        "methods",
        "tensor",
        "apply",
        "autograd",
        "surface",
        "numpy_tables",
        "interop",
        "batch",
        "vmap",
        "run",
        "transforms",
        "jacobian",
        "checkpoint",
        "numeric",
        "call",
        "function",
        "custom",
        "implicit",
        "guard",
        "binding",
        "record",
        "trace",
    ],
    "ops": [
        "elementwise",
        "logic",
        "safe",
        "special",
        "reduce",
        "variance",
        "cast",
        "shape",
        "repeat",
        "index",
        "select",
        "contract",
        "factor",
        "fused",
        "conv",
        "pool",
        "sort",
        "create",
        "random",
        "composite",
        "product",
        "statistics",
        "arrange",
        "write",
        "sets",
        "numpy_names",
        "numpy_shape",
        "linalg",
    ],
}

# A library is imported at the top of backends/<its name>.py only; such a file may also need these.
COMPANIONS = {"numpy": {"scipy"}, "lapack": {"numpy"}, "order": {"numpy"}}
# These files are themselves imported on first use, by name: a program is made with them.
MAKERS = {
    "atled/compile/native.py": {"llvmlite"},
    "atled/compile/blas.py": {"llvmlite"},
    "atled/compile/targets/nvptx.py": {"llvmlite"},
    "atled/compile/program.py": {"numpy"},
    "atled/compile/simplify.py": {"numpy"},
}

MAX_LINES = 500
PACKAGE = Path(__file__).parents[1] / "atled"
ROOM_OF = {name: number for number, names in ROOMS.items() for name in names}

Sources = dict[str, str]  # "atled/core/op.py" -> its text
Edges = dict[str, list[tuple[str, int]]]  # module -> (module that it imports, line)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


def problems(sources: Sources) -> list[str]:
    """Return everything that the house rules refuse in a package, one line each."""
    paths = {_module(path): path for path in sources}
    edges: Edges = {}
    found = []
    for module, path in paths.items():
        lines = sources[path].count("\n")
        if lines > MAX_LINES:
            found.append(f"{path}: {lines} lines; {MAX_LINES} at most, split it by idea")
        tree = ast.parse(sources[path], path)
        edges[module] = list(_own_imports(tree, path, paths))
        found += _hidden_imports(tree, path)
        found += _foreign_imports(tree, path)
        found += _bare_excepts(tree, path)
        found += [p for target, line in edges[module] if (p := _upward(module, target, path, line))]
    return found + _circles(edges, paths)


def _module(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _place(module: str) -> tuple[str, str, str]:
    """Return the room, the folder and the name in it: "atled.core.op" is core, core, op."""
    _, room, name, *_ = [*module.split("."), "__init__", "__init__"]
    return (room, "", room) if room in ORDER[""] else (room, room, name)


# -- what a file imports ---------------------------------------------------------------------


def _imports(tree: ast.AST, path: str) -> Iterator[tuple[str, list[str], int]]:
    """Yield (module, names taken from it, line) of every import, relative ones resolved."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, [], node.lineno
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = path.split("/")[: -node.level]
                base = ".".join([*above, *([base] if base else [])])
            yield base, [alias.name for alias in node.names], node.lineno


def _own_imports(tree: ast.AST, path: str, paths: dict[str, str]) -> Iterator[tuple[str, int]]:
    """Yield (module, line) of every import of our own package."""
    for base, names, line in _imports(tree, path):
        if base.split(".")[0] == "atled":
            inside = [f"{base}.{name}" for name in names if f"{base}.{name}" in paths]
            if len(inside) < max(1, len(names)):
                yield base, line
            yield from ((module, line) for module in inside)


def _upward(module: str, target: str, path: str, line: int) -> str | None:
    """Say what is wrong with one import, if it does not point down the tables."""
    (room, folder, name), (to_room, to_folder, to_name) = _place(module), _place(target)
    for each in (room, to_room):
        if each not in ROOM_OF:
            return f"{path}:{line}: no room is called {each!r}; give it a number in ROOMS"
    here, there = ROOM_OF[room], ROOM_OF[to_room]
    if there > here or (there == here and folder != to_folder):
        return f"{path}:{line}: imports {target} (room {there}) from room {here}"
    if folder != to_folder or folder not in ORDER:
        return None
    at, to_at = _position(folder, name), _position(folder, to_name)
    if at is None or to_at is None:
        missing = name if at is None else to_name
        return f"{path}:{line}: {missing!r} has no place in ORDER[{folder!r}]; give it one"
    if to_at < at or name == to_name:
        return None
    return f"{path}:{line}: imports {target}, which is not above it in ORDER[{folder!r}]"


def _position(folder: str, name: str) -> int | None:
    if name == "__init__":
        return len(ORDER[folder])
    for at, entry in enumerate(ORDER[folder]):
        if name == entry or (isinstance(entry, set) and name in entry):
            return at
    return None


def _circles(edges: Edges, paths: dict[str, str]) -> list[str]:
    """Name each import that closes a circle, by a depth-first walk."""
    found: list[str] = []
    done: set[str] = set()

    def visit(module: str, trail: list[str]) -> None:
        for target, line in edges[module]:
            if target in (module, *trail):
                circle = [*trail, module][[*trail, module].index(target) :]
                ring = " -> ".join([*circle, target])
                found.append(f"{paths[module]}:{line}: imports run in a circle: {ring}")
            elif target in edges and target not in done:
                visit(target, [*trail, module])
        done.add(module)

    for module in edges:
        if module not in done:
            visit(module, [])
    return found


# -- what a file must not contain ------------------------------------------------------------


def _hidden_imports(tree: ast.AST, path: str) -> list[str]:
    """Find imports of our own package inside functions, and those hidden in a call."""
    lines = {
        line
        for function in ast.walk(tree)
        if isinstance(function, FUNCTIONS)
        for base, _, line in _imports(function, path)
        if base.split(".")[0] == "atled"
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = getattr(node.func, "attr", getattr(node.func, "id", ""))
            name = str(node.args[0].value)
            if called in ("import_module", "__import__") and name.split(".")[0] == "atled":
                lines.add(node.lineno)
    return [
        f"{path}:{line}: an import of atled is hidden here; move it up" for line in sorted(lines)
    ]


def _foreign_imports(tree: ast.AST, path: str) -> list[str]:
    """Find third-party libraries imported at the top, outside their backend's file."""
    inside = {
        line
        for function in ast.walk(tree)
        if isinstance(function, FUNCTIONS)
        for _, _, line in _imports(function, path)
    }
    allowed = {"atled", *sys.stdlib_module_names}
    parts = path.removesuffix(".py").split("/")
    if parts[1] == "backends":
        allowed |= {parts[2], *COMPANIONS.get(parts[2], ())}
    allowed |= MAKERS.get(path, set())
    return [
        f"{path}:{line}: {base} is imported at the top; import it on first use"
        for base, _, line in _imports(tree, path)
        if line not in inside and base.split(".")[0] not in allowed
    ]


def _bare_excepts(tree: ast.AST, path: str) -> list[str]:
    return [
        f"{path}:{node.lineno}: a bare `except` catches Ctrl-C too; name what it waits for"
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler) and node.type is None
    ]


# -- the package -----------------------------------------------------------------------------


def test_the_package_keeps_the_rules():
    files = sorted(PACKAGE.rglob("*.py"))
    root = PACKAGE.parent
    sources = {f.relative_to(root).as_posix(): f.read_text(encoding="utf-8") for f in files}
    assert len(sources) > 5
    assert not (found := problems(sources)), "\n" + "\n".join(found)


# -- the checker itself ----------------------------------------------------------------------

GOOD = {
    "atled/__init__.py": "from atled.core.tensor import Tensor\nfrom atled import errors\n",
    "atled/__main__.py": "from atled.cli import main\n",
    "atled/errors.py": "import sys\n",
    "atled/dtypes.py": "from atled.errors import DTypeError\n",
    "atled/backends/__init__.py": "",
    "atled/backends/protocol.py": "from atled.dtypes import DType\n",
    "atled/backends/python.py": "from atled.backends import protocol\n",
    "atled/backends/torch.py": "import torch\n",
    "atled/core/op.py": "def f():\n    import scipy.special\n",
    "atled/core/tensor.py": "from atled.core import op\nfrom .op import f\n",
    "atled/ops/elementwise.py": "from ..core.op import f\n",
    "atled/nn/__init__.py": "from atled.nn.linear import Linear\n",
    "atled/nn/linear.py": "from atled.nn.module import Module\n",
    "atled/nn/module.py": "from atled.ops import elementwise\n",
    "atled/cli.py": "from atled.nn import Linear\n",
}


def test_a_good_package_passes():
    assert problems(GOOD) == []


@pytest.mark.parametrize(
    ("path", "source", "message"),
    [
        ("core/op.py", "from atled.ops.elementwise import sin", "ops.elementwise (room 3) from"),
        ("core/op.py", "import atled", ":1: imports atled (room 9) from room 2"),
        ("cli.py", "from atled import Tensor", "imports atled (room 9) from room 6"),
        ("core/op.py", "from atled import cli", "imports atled.cli (room 6) from room 2"),
        ("core/op.py", "from ..ops import elementwise", "imports atled.ops.elementwise (room 3)"),
        ("core/op.py", "from .. import Tensor", "imports atled (room 9)"),
        ("compile/fuse.py", "import atled.ops.elementwise", "(room 3) from room 3"),
        ("optim/sgd.py", "from atled.nn import Linear", "imports atled.nn (room 4) from room 4"),
        ("testing.py", "import atled.nn", "imports atled.nn (room 4) from room 4"),
        ("errors.py", "from atled.dtypes import DType", "not above it in ORDER['']"),
        ("core/op.py", "from atled.core.tensor import T", "not above it in ORDER['core']"),
        ("core/op.py", "from atled.core import Tensor", "not above it in ORDER['core']"),
        ("backends/python.py", "import atled.backends.torch", "not above it in ORDER['backends']"),
        ("core/new.py", "import atled.core.op", "'new' has no place in ORDER['core']"),
        ("shed/a.py", "import atled.errors", "no room is called 'shed'"),
        ("nn/module.py", "import atled.nn.linear", "atled.nn.linear -> atled.nn.module -> atled"),
        ("nn/linear.py", "from atled.nn import Linear", "circle: atled.nn -> atled.nn.linear ->"),
        ("nn/module.py", "import atled.nn.module", "imports run in a circle"),
        ("nn/linear.py", "def f():\n    import atled.errors", ":2: an import of atled is hidden"),
        ("nn/linear.py", "class A:\n  async def f():\n    from . import b", ":3: an import of at"),
        ("nn/linear.py", "x = import_module('atled.errors')", ":1: an import of atled is hidden"),
        ("nn/linear.py", "x = importlib.import_module('atled')", "an import of atled is hidden"),
        ("nn/linear.py", "import numpy as np", ":1: numpy is imported at the top"),
        (
            "nn/linear.py",
            "try:\n    from scipy import fft\nexcept ImportError:\n    pass",
            ":2: sc",
        ),
        ("backends/python.py", "import numpy", "numpy is imported at the top"),
        ("backends/numpy.py", "import torch.fft", "torch.fft is imported at the top"),
        ("nn/linear.py", "try:\n    pass\nexcept:\n    pass", ":3: a bare `except`"),
        ("nn/linear.py", "x = 1\n" * 501, "nn/linear.py: 501 lines; 500 at most"),
    ],
)
def test_a_bad_file_is_refused(path, source, message):
    path = f"atled/{path}"
    found = problems(GOOD | {path: source})
    assert any(message in line and line.startswith(path) for line in found), found


def test_a_file_of_the_greatest_length_passes():
    assert problems(GOOD | {"atled/nn/linear.py": "x = 1\n" * 500}) == []
