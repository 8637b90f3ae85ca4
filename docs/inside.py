"""The engine of atled in miniature: one file to read from top to bottom, and to run.

    python docs/inside.py

It needs nothing; with llvmlite its last part runs as machine code. Its parts stand in the order of
the real engine, each under the name of the file that does the same in earnest. Here an array is one
number or one row of numbers, all of them float64, and errors are left to Python.
"""

import ctypes
import heapq
import inspect
import itertools
import math
import operator
import struct
from importlib.util import find_spec

# == 1. Arrays, and the namespace that computes with them: atled/backends/ ========================
#
# A namespace is the functions of one sort of array; a rule is handed one and calls it `xp`. Whatever
# has a namespace can stand in for an array: here Arrays, later Tensors, and Symbols.


class Namespace:
    def __init__(self, kind, taken, perform):
        self.kind, self.taken, self.perform = kind, taken, perform
        kind.xp = self

    def __getattr__(self, name):
        op = REGISTRY[name]

        def function(*operands, **static):
            xs = [x if isinstance(x, self.kind) else self.taken(x) for x in operands]
            if op.partials:  # elementwise: all operands get one shape
                shape = max([x.shape for x in xs], key=len)
                xs = [x if x.shape == shape else self.broadcast_to(x, shape=shape) for x in xs]
            return self.perform(op, xs, static)

        return function


class Operators:
    """+, -, * and / for all that can stand in for an array."""

    __add__ = __radd__ = lambda a, b: a.xp.add(a, b)
    __mul__ = __rmul__ = lambda a, b: a.xp.multiply(a, b)
    __sub__, __rsub__ = lambda a, b: a.xp.subtract(a, b), lambda a, b: a.xp.subtract(b, a)
    __truediv__, __rtruediv__ = lambda a, b: a.xp.divide(a, b), lambda a, b: a.xp.divide(b, a)
    __neg__ = lambda a: a.xp.negative(a)


class Array(Operators):
    """Numbers: one, of shape (), or a row, of shape (n,)."""

    level = 0

    def __init__(self, numbers, shape=None):
        self.numbers = list(numbers)
        self.shape = (len(self.numbers),) if shape is None else shape


SCALAR = {
    "add": operator.add, "subtract": operator.sub, "multiply": operator.mul,
    "divide": operator.truediv, "negative": operator.neg, "exp": math.exp,
    "sin": math.sin, "cos": math.cos,
}  # fmt: skip


def compute(op, xs, static):
    if op.name == "sum":
        return Array([sum(xs[0].numbers)], ())
    if op.name == "broadcast_to":
        return Array(xs[0].numbers * static["shape"][0])
    if op.name not in SCALAR:
        return op.forward(ARRAYS, *xs)
    return Array(map(SCALAR[op.name], *[x.numbers for x in xs]), xs[0].shape)


ARRAYS = Namespace(Array, lambda number: Array([float(number)], ()), compute)


# == 2. An operation is one record: atled/core/op.py, core/kinds.py, ops/elementwise.py ===========
#
# A record states the derivative once, as in a textbook. The names of a rule's parameters say what
# the tape must keep: operands `x`, or `a` and `b`; the result `y`; and no more. `g` is the cotangent.


class Op:
    def __init__(self, name, *partials, transpose=None, forward=None):
        self.name, self.partials, self.transpose, self.forward = name, partials, transpose, forward
        rules = partials or [transpose]
        self.reads = {n for rule in rules for n in inspect.signature(rule).parameters} - {"xp", "g"}
        REGISTRY[name] = self

    def pull(self, xp, g, saved):
        """Map the cotangent of the result to those of the operands."""

        def call(rule, known):
            return rule(*[known[name] for name in inspect.signature(rule).parameters])

        if self.partials:
            return [g * call(rule, {"xp": xp, **saved}) for rule in self.partials]
        return [call(self.transpose, {"xp": xp, "g": g, **saved})]


REGISTRY = {}
Op("add", lambda: 1.0, lambda: 1.0)
Op("subtract", lambda: 1.0, lambda: -1.0)
Op("multiply", lambda b: b, lambda a: a)
Op("divide", lambda b: 1.0 / b, lambda y, b: -y / b)
Op("negative", lambda: -1.0)
Op("exp", lambda y: y)
Op("sin", lambda xp, x: xp.cos(x))
Op("cos", lambda xp, x: -xp.sin(x))
# Composed of others, but with a derivative of its own. A namespace may lack it: it has a forward.
Op("sigmoid", lambda y: y * (1.0 - y), forward=lambda xp, x: 1.0 / (1.0 + xp.exp(-x)))
# Linear: each is the other's transpose. So a cotangent is summed where its operand was repeated.
Op("sum", transpose=lambda xp, g, x_shape: xp.broadcast_to(g, shape=x_shape))
Op("broadcast_to", transpose=lambda xp, g: xp.sum(g))


# == 3. Tensors, and the one door: atled/core/tensor.py, core/apply.py ============================
#
# A Tensor is a value and the node of the tape that made it. Nodes are plain data with rising numbers.


class Node:
    __slots__ = ("number", "op", "parents", "saved")
    numbers = itertools.count()

    def __init__(self, op=None, parents=(), saved=None):
        self.op, self.parents, self.saved = op, parents, saved
        self.number = next(Node.numbers)


class Tensor(Operators):
    level = 2

    def __init__(self, value, node=None):
        self.value, self.node, self.shape = value, node, value.shape


def apply(op, operands, static):
    values = [t.value for t in operands]
    xp = max(values, key=lambda v: v.level).xp  # the highest stand-in computes
    y = getattr(xp, op.name)(*values, **static)
    parents = [t.node for t in operands]
    if not any(parents):
        return Tensor(y)
    known = dict(zip("ab" if len(values) > 1 else "x", values), y=y, x_shape=values[0].shape)
    return Tensor(y, Node(op, parents, {name: known[name] for name in op.reads}))


def taken(x):
    return Tensor(ARRAYS.taken(x) if isinstance(x, float) else x)


TENSORS = Namespace(Tensor, taken, apply)


# == 4. The walk back, and derivatives of derivatives: atled/core/tape.py, core/autograd.py =======
#
# "Sorted by number" is a topological order: each node is visited once, when all that reads it has
# been. The rules run on raw arrays; or on Tensors, and then they record themselves.


def gradient(y, x, create_graph=False):
    """Return the derivative of y with respect to x, a Tensor with a node."""
    one = ARRAYS.taken(1.0)
    waiting = {y.node: Tensor(one) if create_graph else one}
    heap = [(-y.node.number, y.node)]
    while heap:
        _, node = heapq.heappop(heap)
        g = waiting.pop(node)
        if node is x.node:
            return g if create_graph else Tensor(g)
        saved, xp = node.saved, max([g, *node.saved.values()], key=level_of).xp
        if create_graph:  # what was kept becomes part of the graph again
            made = {"x": node.parents[0], "a": node.parents[0], "b": node.parents[-1], "y": node}
            saved = {k: Tensor(v, made[k]) if k in made else v for k, v in saved.items()}
            xp = TENSORS
        for parent, cotangent in zip(node.parents, node.op.pull(xp, g, saved), strict=True):
            if parent in waiting:
                waiting[parent] = waiting[parent] + cotangent
            elif parent is not None:
                waiting[parent] = cotangent
                heapq.heappush(heap, (-parent.number, parent))
    raise ValueError("y does not depend on x")


def level_of(value):
    return getattr(value, "level", -1)


def grad(f):
    """Return the derivative of a function of one Tensor, which can be differentiated again."""

    def derivative(x):
        x = x if x.node else Tensor(x.value, Node())
        return gradient(f(x), x, create_graph=True)

    return derivative


def wave(x):
    return x * TENSORS.sin(x)


third = grad(grad(grad(wave)))(taken(0.7))  # -3 sin x - x cos x
assert math.isclose(third.value.numbers[0], -3 * math.sin(0.7) - 0.7 * math.cos(0.7))
slope = grad(TENSORS.sigmoid)(taken(0.3))
assert math.isclose(slope.value.numbers[0], 0.25 / math.cosh(0.15) ** 2)
# 2^60 paths, 60 nodes:
assert grad(lambda x: [x := x + x for _ in range(60)][-1])(taken(1.0)).value.numbers == [2.0**60]


# == 5. Tracing: atled/core/graph.py, core/symbol.py, core/trace.py ===============================
#
# A Symbol stands in for an array too. Its namespace computes nothing: it writes a graph down. The
# walk back then runs on symbols, by the same rules, and so the graph has the gradient in it.


class Value:
    def __init__(self, op, inputs=(), shape=(), number=None, source=None):
        self.op, self.inputs, self.shape, self.number = op, inputs, shape, number
        self.source = source  # of an input: the Array to read at each call; None: an argument


class Symbol(Operators):
    level = 1

    def __init__(self, value):
        self.value, self.shape = value, value.shape


def write(op, xs, static):
    if op.forward:
        return op.forward(TRACED, *xs)
    shape = () if op.name == "sum" else static.get("shape", xs[0].shape)
    return Symbol(Value(op.name, tuple([x.value for x in xs]), shape))


def entered(x, known={}):  # noqa: B006  - one Value for one Array, wherever it is met
    if isinstance(x, float) or x.shape == ():
        return Symbol(Value("constant", number=x if isinstance(x, float) else x.numbers[0]))
    return Symbol(known.setdefault(x, Value("input", shape=x.shape, source=x)))


TRACED = Namespace(Symbol, entered, write)


def ordered(outputs):
    """Return what the outputs depend on, operands first, each once; nothing else: it is dead."""
    found = {}
    for v in outputs:
        found |= dict.fromkeys([*ordered(v.inputs), v])
    return list(found)


def text(outputs):
    names = {v: f"%{i}" for i, v in enumerate(ordered(outputs))}
    words = {v: [names[x] for x in v.inputs] + ([] if v.number is None else [repr(v.number)])
             for v in names}  # fmt: skip
    return "\n".join(f"  {names[v]} = {v.op}({', '.join(words[v])}) {v.shape}" for v in names)


weights = Array([0.5, -1.0, 2.0, 0.25])


def step(x):
    """Return Σ w · softmax(x), with weights from outside, and its gradient."""
    x = Tensor(x.value, Node())
    e = TENSORS.exp(x)
    loss = TENSORS.sum(e / TENSORS.sum(e) * weights)
    return [loss, gradient(loss, x)]


argument = Value("input", shape=(4,))
traced = [t.value.value for t in step(Tensor(Symbol(argument)))]
print(f"traced:\n{text(traced)}")
