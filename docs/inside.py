"""The engine of atled in miniature, to read from top to bottom and to run: python docs/inside.py

It needs nothing; with llvmlite, its last part runs as machine code. The parts stand in the order of
the real engine, each under the files of atled/ that do the same in earnest. An array is a number
or a row of numbers here, all of them float64, and errors are left to Python.
"""

import ctypes
import inspect
import itertools
import math
import operator
import struct
from importlib.util import find_spec


# == 1. Arrays, and the namespace that computes with them: backends/protocol.py, backends/numpy.py
# A namespace is the functions of one sort of array; a rule is handed one and calls it `xp`. What
# has a namespace can stand in for an array: here Arrays, in 3 Tensors, in 5 Symbols.
class Namespace:
    def __init__(self, kind, taken, perform):
        self.kind, self.taken, self.perform = kind, taken, perform
        kind.xp, kind.__neg__ = self, lambda a: a.xp.negative(a)
        for word, op in zip("add sub mul truediv".split(), SCALAR, strict=False):  # + - * /
            setattr(kind, f"__{word}__", lambda a, b, op=op: getattr(highest(a, b), op)(a, b))
            setattr(kind, f"__r{word}__", lambda a, b, op=op: getattr(highest(a, b), op)(b, a))

    def __getattr__(self, name):
        op = REGISTRY[name]

        def function(*operands, **static):
            xs = [x if isinstance(x, self.kind) else self.taken(x) for x in operands]
            if op.partials:  # elementwise: all operands get one shape
                shape = max([x.shape for x in xs], key=len)
                xs = [x if x.shape == shape else self.broadcast_to(x, shape=shape) for x in xs]
            return self.perform(op, xs, static)

        return function


def highest(*xs):
    """Return the namespace of the stand-in with the highest level: it knows the others."""
    return max(xs, key=lambda x: getattr(x, "level", -1)).xp


class Array:
    level = 0

    def __init__(self, numbers, shape=None):
        self.numbers = list(numbers)
        self.shape = (len(self.numbers),) if shape is None else shape


def compute(op, xs, static):
    if op.name == "sum":
        return Array([sum(xs[0].numbers)], ())
    if op.name == "broadcast_to":
        return Array(xs[0].numbers * static["shape"][0])
    if op.forward:
        return op.forward(ARRAYS, *xs)
    return Array(map(SCALAR[op.name], *[x.numbers for x in xs]), xs[0].shape)


SCALAR = {
    "add": operator.add, "subtract": operator.sub, "multiply": operator.mul,
    "divide": operator.truediv, "negative": operator.neg,
    "exp": math.exp, "sin": math.sin, "cos": math.cos,
}  # fmt: skip
ARRAYS = Namespace(Array, lambda number: Array([number], ()), compute)


# == 2. An operation is one record: core/op.py, core/kinds.py, ops/elementwise.py
# A record states the derivative once, as a textbook does. The names of a rule's parameters say what
# the tape must keep: operands `x`, or `a` and `b`; the result `y`; no more. `g` is the cotangent.
class Op:
    def __init__(self, name, *partials, transpose=None, forward=None):
        self.name, self.partials, self.forward = name, partials, forward
        self.rules = {r: list(inspect.signature(r).parameters) for r in partials or [transpose]}
        self.reads = set().union(*self.rules.values()) - {"xp", "g"}
        REGISTRY[name] = self

    def pull(self, known):
        """Map the cotangent of the result to those of the operands."""
        found = [rule(*[known[n] for n in names]) for rule, names in self.rules.items()]
        return [known["xp"].multiply(known["g"], d) for d in found] if self.partials else found


REGISTRY = {}
Op("add", lambda: 1.0, lambda: 1.0)
Op("subtract", lambda: 1.0, lambda: -1.0)
Op("multiply", lambda b: b, lambda a: a)
Op("divide", lambda b: 1.0 / b, lambda y, b: -y / b)
Op("negative", lambda: -1.0)
Op("exp", lambda y: y)
Op("sin", lambda xp, x: xp.cos(x))
Op("cos", lambda xp, x: -xp.sin(x))
# No namespace has this one of its own: all use the forward that it brings.
Op("sigmoid", lambda y: y * (1.0 - y), forward=lambda xp, x: 1.0 / (1.0 + xp.exp(-x)))
# Linear: each is the other's transpose. So a cotangent is summed where its operand was repeated.
Op("sum", transpose=lambda xp, g, x_shape: xp.broadcast_to(g, shape=x_shape))
Op("broadcast_to", transpose=lambda xp, g: xp.sum(g))


# == 3. Tensors, and the one door: core/tensor.py, core/apply.py
# A Tensor is a value and the node of the tape that made it. Nodes are plain data, and numbered.
class Node:
    numbers = itertools.count()

    def __init__(self, op=None, parents=(), saved=None):
        self.op, self.parents, self.saved = op, parents, saved
        self.number = next(Node.numbers)


class Tensor:
    level = 2

    def __init__(self, value, node=None):
        self.value, self.node, self.shape = value, node, value.shape


def apply(op, operands, static):
    values, parents = [t.value for t in operands], [t.node for t in operands]
    y = getattr(highest(*values), op.name)(*values, **static)
    if not any(parents):
        return Tensor(y)
    names = "ab" if values[1:] else "x"
    known = dict(zip(names, values, strict=True), y=y, x_shape=values[0].shape)
    return Tensor(y, Node(op, parents, {name: known[name] for name in op.reads}))


TENSORS = Namespace(Tensor, lambda x: Tensor(x if hasattr(x, "xp") else ARRAYS.taken(x)), apply)


# == 4. The walk back, and derivatives of derivatives: core/tape.py, core/autograd.py
# Numbers grow, so the highest number first is a topological order: a node is visited once, when
# all that reads it has been. Rules run on raw arrays; or on Tensors, and then record themselves.
def gradient(y, x, create_graph=False):
    """Return the derivative of y by x, a Tensor with a node."""
    one = y.value.xp.taken(1.0)
    waiting = {y.node: Tensor(one) if create_graph else one}
    while waiting:
        node = max(waiting, key=lambda n: n.number)  # the real walk keeps a heap
        g, saved, parents = waiting.pop(node), node.saved, node.parents
        if node is x.node:
            return g if create_graph else Tensor(g)
        if create_graph:  # what was kept is a part of the graph again
            made = {"x": parents[0], "a": parents[0], "b": parents[-1], "y": node}
            saved = {k: Tensor(v, made[k]) if k in made else v for k, v in saved.items()}
        known = {"xp": highest(g, *saved.values()), "g": g, **saved}
        for parent, cotangent in zip(parents, node.op.pull(known), strict=True):
            if parent is not None:
                waiting[parent] = waiting[parent] + cotangent if parent in waiting else cotangent
    raise ValueError("y does not depend on x")


def grad(f):
    """Return the derivative of a function of one Tensor, which can be differentiated again."""
    return lambda x: gradient(f(x), x, create_graph=True)


third = grad(grad(grad(lambda x: x * TENSORS.sin(x))))(Tensor(ARRAYS.taken(0.7), Node()))
assert math.isclose(third.value.numbers[0], -3 * math.sin(0.7) - 0.7 * math.cos(0.7))


# == 5. Tracing: core/graph.py, core/symbol.py, core/trace.py
# A Symbol stands in for an array too; its namespace writes a graph down instead of computing. The
# walk back runs on symbols by the same rules, and so the gradient is in the graph.
class Symbol:
    level = 1

    def __init__(self, op, inputs=(), shape=(), number=None, source=None):
        self.op, self.inputs, self.shape, self.number = op, inputs, shape, number
        self.source = source  # of an input: the Array from outside, which each call reads anew


def write(op, xs, static):
    if op.forward:
        return op.forward(TRACED, *xs)
    shape = () if op.name == "sum" else static.get("shape", xs[0].shape)
    return Symbol(op.name, tuple(xs), shape)


def entered(x, seen={}):  # noqa: B006 - an Array is one input, however often it is met
    if isinstance(x, Array) and x.shape:
        return seen.setdefault(x, Symbol("input", shape=x.shape, source=x))
    return Symbol("constant", number=x.numbers[0] if isinstance(x, Array) else x)


TRACED = Namespace(Symbol, entered, write)


def ordered(outputs):
    """Return what the outputs depend on, operands first, each once. The rest is dead."""
    return list(dict.fromkeys(w for v in outputs for w in [*ordered(v.inputs), v]))


# == 6. Simplification: compile/simplify.py
# Fold constants, drop what changes nothing, share what is equal: exact in floating point.
def simplified(outputs):
    known, made = {}, {}

    def make(op, xs=(), shape=(), number=None):
        return made.setdefault((op, xs, shape, number), Symbol(op, xs, shape, number))

    for v in ordered(outputs):
        xs = tuple([known[x] for x in v.inputs])
        numbers = [(x.inputs[0] if x.op == "broadcast_to" else x).number for x in xs]
        if v.op in SCALAR and None not in numbers:
            known[v] = make("constant", number=SCALAR[v.op](*numbers))
            known[v] = make("broadcast_to", (known[v],), v.shape) if v.shape else known[v]
        elif v.op == "multiply" and 1.0 in numbers:
            known[v] = xs[1 - numbers.index(1.0)]
        else:
            known[v] = v if v.op == "input" else make(v.op, xs, v.shape, v.number)
    return [known[v] for v in outputs]


# == 7. One kernel, a loop over elements: compile/fuse.py, compile/emission.py, compile/native.py
# A target is a table of texts: LLVM's language, or Python's own. (The real one writes vectors.)

LLVM = {
    "add": "{y} = fadd double {0}, {1}", "subtract": "{y} = fsub double {0}, {1}",
    "multiply": "{y} = fmul double {0}, {1}", "divide": "{y} = fdiv double {0}, {1}",
    "negative": "{y} = fneg double {0}", "exp": "{y} = call double @llvm.exp.f64(double {0})",
    "input": "{y}p = getelementptr double, ptr {0}, i64 %i\n    {y} = load double, ptr {y}p",
    "store": "{y}p = getelementptr double, ptr {y}, i64 %i\n    store double {0}, ptr {y}p",
    "constant": lambda x: f"0x{struct.unpack('<Q', struct.pack('<d', x))[0]:016X}",
    "array": "ptr {}, ", "mark": "%",
    "frame": """declare double @llvm.exp.f64(double)
define void @kernel({arrays}i64 %n) {{
  br label %loop
loop:
  %i = phi i64 [0, %0], [%next, %loop]
    {body}
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %n
  br i1 %more, label %loop, label %done
done:
  ret void
}}""",
}  # fmt: skip
PYTHON = {name: "{y} = " + name + "({args})" for name in SCALAR} | {
    "input": "{y} = {0}[i]", "store": "{y}[i] = {0}", "constant": repr, "array": "{}, ", "mark": "",
    "frame": "def kernel({arrays}n):\n  for i in range(n):\n    {body}",
}  # fmt: skip


def emitted(output, target):
    """Return the text of a kernel that computes an elementwise result, and its inputs."""
    names, lines, inputs = {}, [], []
    for k, v in enumerate(ordered([output])):
        args, names[v] = [names[x] for x in v.inputs], f"%v{k}"
        if v.op == "input":
            args = [f"%a{len(inputs)}"]
            inputs.append(v.source)
        if v.op in ("constant", "broadcast_to"):  # the same in every turn of the loop
            names[v] = args[0] if args else target["constant"](v.number)
        else:
            lines.append(target[v.op].format(*args, y=names[v], args=", ".join(args)))
    lines.append(target["store"].format(names[output], y="%r"))
    arrays = [target["array"].format(a) for a in [*[f"%a{k}" for k in range(len(inputs))], "%r"]]
    text = target["frame"].format(arrays="".join(arrays), body="\n    ".join(lines))
    return text.replace("%", target["mark"]), inputs


def native(source, count):
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(opt=2)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(source), machine)
    kind = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * count, ctypes.c_int64)
    return engine, kind(engine.get_function_address("kernel"))


def energy(x):
    """Return Σ w · x · sigmoid(x), with weights from outside."""
    return TENSORS.sum(Tensor(weights) * x * TENSORS.sigmoid(x))


points, weights = Array([-2.0, 0.0, 0.5, 3.0]), Array([1.0, 2.0, -1.0, 0.5])
leaf, lent = Tensor(points, Node()), Tensor(entered(points), Node())
expected = gradient(energy(leaf), leaf).value.numbers
traced = [gradient(energy(lent), lent).value]
simple = simplified(traced)
print(f"The gradient: {len(ordered(traced))} values as traced, {len(ordered(simple))} simplified")
for target in (LLVM, PYTHON) if find_spec("llvmlite") else (PYTHON,):
    source, inputs = emitted(*simple, target)
    print(f"\n{source}")
    buffers = [(ctypes.c_double * 4)(*array.numbers) for array in [*inputs, points]]
    if target is LLVM:
        engine, kernel = native(source, len(buffers))
    else:
        exec(source, space := dict(SCALAR))
        kernel = space["kernel"]
    kernel(*buffers, 4)
    assert all(map(math.isclose, buffers[-1], expected)), list(buffers[-1])
