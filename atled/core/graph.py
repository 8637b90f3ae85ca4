"""The graph of a traced function: a list of values, each made by one primitive operation.

A `Value` is what one operation gives: its name, operands, static parameters, shape and dtype.
A `Graph` lists values so that operands stand before what uses them. What always holds, and
`verify` checks:

* shapes are static; operands of an elementwise operation have one shape (a `broadcast_to` says
  where something is repeated) and, but for `where` and shifts of meaning like `astype`, one dtype;
* a value's shape and dtype are those that `infer` gives for its operation;
* nothing is written: an operation that "changes" an array gives a new value.

The text form is the graph: ``parse(str(graph))`` is equal to it. It is what tests compare, what
the disk cache hashes, and what `ATLED_DEBUG=1` prints.
"""

import ast
import math
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from atled.core.kinds import broadcast_shapes, reduced_shape
from atled.dtypes import DType, bool_, by_name, int8, int64
from atled.errors import AtledError

__all__ = ["ELEMENTWISE", "PRIMITIVES", "Graph", "GraphError", "Value", "parse", "verify"]


class GraphError(AtledError, ValueError):
    """A graph that is not well formed."""


class Value:
    """What one operation gives.

    Attributes:
        op: the operation's name, a key of `PRIMITIVES`.
        inputs: its operands.
        static: its static parameters: numbers, strings, dtypes and tuples of them.
        shape, dtype: of the result.
    """

    __slots__ = ("dtype", "inputs", "op", "shape", "static")

    def __init__(
        self,
        op: str,
        inputs: tuple["Value", ...],
        static: dict[str, Any],
        shape: tuple[int, ...],
        dtype: DType,
    ) -> None:
        self.op, self.inputs, self.static, self.shape, self.dtype = op, inputs, static, shape, dtype

    @classmethod
    def of(cls, op: str, *inputs: "Value", **static: Any) -> "Value":
        """Make a value of a primitive other than `input`; shape and dtype are inferred."""
        shape, dtype = PRIMITIVES[op](inputs, static)
        return cls(op, inputs, static, shape, dtype)

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """The size in memory."""
        return self.size * self.dtype.itemsize

    def __repr__(self) -> str:
        return f"<{self.op} {_kind(self)}>"


Specs = Sequence[Any]  # values, of which shape and dtype are read
Infer = Callable[[Specs, dict[str, Any]], tuple[tuple[int, ...], DType]]


def _elementwise(result: str) -> Infer:
    def infer(xs: Specs, static: dict[str, Any]) -> tuple[tuple[int, ...], DType]:
        first = xs[-1]
        if any(x.shape != first.shape for x in xs):
            shapes = ", ".join(str(x.shape) for x in xs)
            raise GraphError(f"operands of an elementwise operation have one shape: {shapes}")
        return first.shape, bool_ if result == "bool" else static.get("dtype", first.dtype)

    return infer


_SAME = """
negative abs sign sqrt square exp expm1 exp2 log log1p log2 log10 sin cos tan asin acos atan
sinh cosh tanh asinh acosh atanh floor ceil trunc round erf erfinv lgamma sigmoid bitwise_invert
add subtract multiply divide pow atan2 maximum minimum remainder floor_divide copysign hypot
logaddexp nextafter bitwise_and bitwise_or bitwise_xor bitwise_left_shift bitwise_right_shift
where astype threefry
""".split()
_BOOL = """
isnan isinf isfinite signbit logical_not equal not_equal less less_equal greater greater_equal
logical_and logical_or logical_xor
""".split()

# The operations that work on each element by itself.
ELEMENTWISE = frozenset(_SAME + _BOOL)
COMPARISONS = frozenset("equal not_equal less less_equal greater greater_equal".split())


def _reduced(dtype: Callable[[DType], DType]) -> Infer:
    def infer(xs: Specs, static: dict[str, Any]) -> tuple[tuple[int, ...], DType]:
        return reduced_shape(xs[0].shape, static["axis"], False), dtype(xs[0].dtype)

    return infer


def _sum_dtype(d: DType) -> DType:
    return d if d.is_floating_point else int64


def _shaped(xs: Specs, static: dict[str, Any]) -> tuple[tuple[int, ...], DType]:
    if math.prod(static["shape"]) != math.prod(xs[0].shape):
        raise GraphError(f"reshape: {xs[0].shape} has not the elements of {static['shape']}")
    return static["shape"], xs[0].dtype


def _permuted(xs: Specs, static: dict[str, Any]) -> tuple[tuple[int, ...], DType]:
    return tuple([xs[0].shape[a] for a in static["axes"]]), xs[0].dtype


def _broadcast(xs: Specs, static: dict[str, Any]) -> tuple[tuple[int, ...], DType]:
    if broadcast_shapes(xs[0].shape, static["shape"]) != static["shape"]:
        raise GraphError(f"broadcast_to: {xs[0].shape} does not fit {static['shape']}")
    return static["shape"], xs[0].dtype


def _sliced(xs: Specs, static: dict[str, Any]) -> tuple[tuple[int, ...], DType]:
    index = zip(static["index"], xs[0].shape, strict=True)
    return tuple([len(range(*slice(*i).indices(n))) for i, n in index]), xs[0].dtype


def _placed(xs: Specs, static: dict[str, Any]) -> tuple[tuple[int, ...], DType]:
    return static["shape"], xs[0].dtype


def _joined(xs: Specs, static: dict[str, Any]) -> tuple[tuple[int, ...], DType]:
    axis, first = static["axis"], xs[0].shape
    return (*first[:axis], sum(x.shape[axis] for x in xs), *first[axis + 1 :]), xs[0].dtype


def _product(xs: Specs, static: dict[str, Any]) -> tuple[tuple[int, ...], DType]:
    a, b = xs
    if len(a.shape) != len(b.shape) or a.shape[:-2] != b.shape[:-2] or a.shape[-1] != b.shape[-2]:
        raise GraphError(f"matmul: {a.shape} does not fit {b.shape}")
    return (*a.shape[:-1], b.shape[-1]), a.dtype


def _gathered(xs: Specs, static: dict[str, Any]) -> tuple[tuple[int, ...], DType]:
    return (*xs[1].shape, *xs[0].shape[len(xs) - 1 :]), xs[0].dtype


def _like_first(xs: Specs, static: dict[str, Any]) -> tuple[tuple[int, ...], DType]:
    return xs[0].shape, xs[0].dtype


def _scanned(xs: Specs, static: dict[str, Any]) -> tuple[tuple[int, ...], DType]:
    return xs[0].shape, _sum_dtype(xs[0].dtype)


def _stated(xs: Specs, static: dict[str, Any]) -> tuple[tuple[int, ...], DType]:
    return static["shape"], static["dtype"]


def _convolved(xs: Specs, static: dict[str, Any]) -> tuple[tuple[int, ...], DType]:
    x, w = xs
    rows = zip(
        x.shape[2:], w.shape[2:], static["stride"], static["padding"], static["dilation"],
        strict=True,
    )  # fmt: skip
    out = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in rows]
    return (x.shape[0], w.shape[0], *out), x.dtype


def _lead(x: Any, static: dict[str, Any]) -> tuple[int, ...]:
    return tuple(x.shape[: -len(static["out"])])


# Every primitive, and its rule from operands and static parameters to shape and dtype.
PRIMITIVES: dict[str, Infer] = {
    # leaves: an input of the program; one number; 0, 1, 2 ... along one axis
    "input": _stated,
    "constant": lambda xs, static: ((), static["dtype"]),
    "iota": lambda xs, static: ((static["size"],), int64),
    **dict.fromkeys(_SAME, _elementwise("same")),
    **dict.fromkeys(_BOOL, _elementwise("bool")),
    # reductions over the axes `axis`, a tuple; argmax and argmin over one
    "sum": _reduced(_sum_dtype),
    "prod": _reduced(_sum_dtype),
    "max": _reduced(lambda d: d),
    "min": _reduced(lambda d: d),
    "all": _reduced(lambda d: bool_),
    "any": _reduced(lambda d: bool_),
    "argmax": _reduced(lambda d: int64),
    "argmin": _reduced(lambda d: int64),
    # movement
    "reshape": _shaped,
    "permute_dims": _permuted,
    "broadcast_to": _broadcast,
    "slice": _sliced,
    "place": _placed,
    "concat": _joined,
    # products; batch axes equal
    "matmul": _product,
    "conv": _convolved,
    "conv_input": _placed,
    "conv_weight": _placed,
    # maxima of windows: which place wins (int8), what lies there, values put there
    "pool_places": lambda xs, static: ((*_lead(xs[0], static), *static["out"]), int8),
    "pool_take": lambda xs, static: (xs[1].shape, xs[0].dtype),
    "pool_spread": lambda xs, static: ((*_lead(xs[0], static), *static["spatial"]), xs[0].dtype),
    # by index
    "gather_nd": _gathered,
    "scatter_nd_add": _like_first,
    "scatter_nd_set": _like_first,
    # order and scans along one axis
    "cumulative_sum": _scanned,
    "cumulative_prod": _scanned,
    "argsort": lambda xs, static: (xs[0].shape, int64),
    "searchsorted": lambda xs, static: (xs[1].shape, int64),
    # anything else: an eager call of the namespace's function `name` with the parameters `given`
    "call": _stated,
}


class Graph:
    """Inputs, values in an order in which they can be computed, and results.

    Attributes:
        inputs: values with the operation `input`, in the order of the program's arguments.
        outputs: the results; one value may stand there twice, or be an input.
        values: everything that the outputs depend on, and the inputs, operands first.
    """

    def __init__(self, inputs: Sequence[Value], outputs: Sequence[Value]) -> None:
        self.inputs, self.outputs = list(inputs), list(outputs)
        self.values = ordered(inputs, outputs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Graph) and str(self) == str(other)

    __hash__ = None  # type: ignore[assignment]

    def users(self) -> dict[Value, list[Value]]:
        """Return for each value those that read it; a value twice if it is read twice."""
        found: dict[Value, list[Value]] = {v: [] for v in self.values}
        for v in self.values:
            for x in v.inputs:
                found[x].append(v)
        return found

    def __str__(self) -> str:
        names = {v: f"%{i}" for i, v in enumerate(self.values)}
        head = ", ".join(f"{names[v]}: {_kind(v)}" for v in self.inputs)
        lines = [f"graph({head}) {{"]
        for v in self.values:
            if v.op == "input":
                continue
            words = [names[x] for x in v.inputs]
            words += [f"{k}={_write(s)}" for k, s in sorted(v.static.items())]
            lines.append(f"  {names[v]}: {_kind(v)} = {v.op}({', '.join(words)})")
        results = ", ".join(names[v] for v in self.outputs)
        return "\n".join([*lines, f"  return {results}", "}"])


def ordered(inputs: Iterable[Value], outputs: Iterable[Value]) -> list[Value]:
    """Return the inputs, then what the outputs depend on, operands first, each once."""
    done = dict.fromkeys(inputs)
    for root in outputs:
        stack = [(root, iter(root.inputs))] if root not in done else []
        while stack:
            value, rest = stack[-1]
            operand = next(rest, None)
            if operand is None:
                done[value] = None
                stack.pop()
            elif operand not in done:
                stack.append((operand, iter(operand.inputs)))
    return list(done)


def verify(graph: Graph) -> Graph:
    """Return the graph if it is well formed.

    Raises:
        GraphError: it is not; the value is named.
    """
    seen: set[Value] = set()
    for v in graph.values:
        if v.op not in PRIMITIVES:
            raise GraphError(f"no primitive is called {v.op!r}")
        if any(x not in seen for x in v.inputs):
            raise GraphError(f"{v!r} stands before an operand")
        if v.op == "input":
            if v not in graph.inputs:
                raise GraphError(f"{v!r} is not among the graph's inputs")
        elif (v.shape, v.dtype) != PRIMITIVES[v.op](v.inputs, v.static):
            raise GraphError(f"{v!r} should be {PRIMITIVES[v.op](v.inputs, v.static)}")
        if v.op in ELEMENTWISE - {"astype", "where", "threefry"}:
            _check_dtypes(v)
        seen.add(v)
    if any(v not in seen for v in graph.outputs):
        raise GraphError("an output is not among the values")
    return graph


def _check_dtypes(v: Value) -> None:
    if len({x.dtype for x in v.inputs}) > 1:
        raise GraphError(f"{v!r} has operands of several dtypes: {v.inputs}")


def _kind(v: Value) -> str:
    return f"{v.dtype.name}[{','.join(map(str, v.shape))}]"


def _write(x: Any) -> str:
    """Write a static parameter so that `_read` gives it back."""
    if isinstance(x, DType):
        return x.name
    if isinstance(x, tuple):
        return f"({''.join(_write(i) + ',' for i in x)})"
    if isinstance(x, float) and not math.isfinite(x):
        return "nan" if x != x else "inf" if x > 0 else "-inf"
    return repr(x)


_LINE = re.compile(r"\s*%(\d+): (\w+)\[([\d,]*)\] = (\w+)\((.*)\)$")
_INPUT = re.compile(r"%(\d+): (\w+)\[([\d,]*)\]")


def parse(text: str) -> Graph:
    """Read a graph from its text form.

    Raises:
        GraphError: the text is not one.
    """
    head, *lines = text.strip().splitlines()
    values: dict[str, Value] = {}
    for number, dtype, shape in _INPUT.findall(head):
        values[number] = Value("input", (), {}, _sizes(shape), by_name(dtype))
    inputs = list(values.values())
    for line in lines:
        found = _LINE.match(line)
        if found:
            number, dtype, shape, op, words = found.groups()
            operands, static = _arguments(words)
            xs = tuple([values[n] for n in operands])
            values[number] = Value(op, xs, static, _sizes(shape), by_name(dtype))
        elif line.strip().startswith("return"):
            return Graph(inputs, [values[n] for n in re.findall(r"%(\d+)", line)])
        elif line.strip():
            raise GraphError(f"not a line of a graph: {line!r}")
    raise GraphError("the graph has no line `return`")


def _sizes(text: str) -> tuple[int, ...]:
    return tuple([int(n) for n in text.split(",") if n])


def _arguments(text: str) -> tuple[list[str], dict[str, Any]]:
    tree = ast.parse(f"f({text.replace('%', '_')})", mode="eval").body
    if not isinstance(tree, ast.Call):
        raise GraphError(f"not arguments: {text!r}")
    names = [a.id[1:] for a in tree.args if isinstance(a, ast.Name)]
    return names, {str(k.arg): _read(k.value) for k in tree.keywords}


def _read(node: ast.expr) -> Any:
    if isinstance(node, ast.Tuple):
        return tuple([_read(e) for e in node.elts])
    if isinstance(node, ast.Name):
        return float(node.id) if node.id in ("nan", "inf") else by_name(node.id)
    if isinstance(node, ast.UnaryOp) and isinstance(node.operand, ast.Name):
        return -float(node.operand.id)
    return ast.literal_eval(node)
