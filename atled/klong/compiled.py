"""Klong functions as native programs: on demand by `.compile(f)`, and by themselves when hot.

A function that only computes is traced once for each kind of arguments and run as one native
program (`atled.compile`): its lambdas, adverbs and the functions that it calls included. The
variables that it reads are arguments of the program, so a new value needs no new program.

A function is hot when calls with arrays of equal shapes have together taken as long as compiling
is worth (`PAYS` seconds, or `MANY` calls). What cannot be traced, because it looks at a value or
changes a variable, keeps being interpreted. `context.compiles` turns this off.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

from atled.compile.function import compile as native
from atled.config import modes, settings
from atled.core.tensor import Tensor
from atled.errors import TraceError
from atled.klong.arrays import array, carries, settle
from atled.klong.context import Context
from atled.klong.errors import KlongError
from atled.klong.literals import holds_pairs
from atled.klong.tree import (
    Call,
    Chain,
    Conditional,
    Index,
    Lambda,
    Literal,
    Node,
    Variable,
    VerbUse,
)
from atled.klong.values import NUMBERS, Function

__all__ = ["Hot", "compiled", "is_possible"]

FEW, MANY = 4, 60  # calls before compiling is thought of, and after which it is done
PAYS = 0.02  # seconds in the interpreter that are worth a compilation
LIMIT = 64  # kinds of arguments of one function


def is_possible(context: Context) -> bool:
    """Say whether functions compile by themselves here: on NumPy's arrays, with llvmlite."""
    return context.compiles and settings.backend == "numpy" and _HAS_LLVM


_HAS_LLVM = find_spec("llvmlite") is not None


# -- what a function reads


class Impure(Exception):
    """The function does more than compute; the reason is its text."""


@dataclass
class Reads:
    """What a function reads: variables with numbers, and functions, by name."""

    numbers: list[str] = field(default_factory=list)
    functions: dict[str, Any] = field(default_factory=dict)


def reads_of(context: Context, nodes: list[Node], local: frozenset[str], module: Any) -> Reads:
    """Return what expressions read, through all functions that they call.

    Raises:
        Impure: they define a variable, or read one that is neither a number nor a function.
    """
    reads, queue, seen = Reads(), [(nodes, local, module)], set()
    while queue:
        nodes, local, module = queue.pop()
        for name in _names(nodes, local):
            if module is not None and module.mangled(name) in context.variables:
                name = module.mangled(name)
            if name in seen:
                continue
            seen.add(name)
            value = context.value_of(name)
            if type(value) is Function:
                reads.functions[name] = value
                d = value.definition
                if d is not None:
                    queue.append((d.node.body, frozenset(d.node.local), d.module))
                elif name in context.system and name not in PURE_SYSTEM:
                    raise Impure(f"it calls {name}")
                elif value.origin is not None:
                    raise Impure(f"it calls {name}, a function of Python")
            elif type(value) in NUMBERS or type(value) is Tensor:
                reads.numbers.append(name)
            else:
                raise Impure(f"it reads {name}, which is not a number")
    return reads


PURE_SYSTEM = frozenset((".jacobian", ".hessian", ".jvp", ".vjp"))


def _names(nodes: list[Node], local: frozenset[str]) -> Iterator[str]:
    """Yield the free variables of expressions; refuse assignments to any that is not local."""
    stack: list[tuple[Any, frozenset[str]]] = [(n, local) for n in nodes]
    while stack:
        node, around = stack.pop()
        if isinstance(node, Variable):
            if node.name not in ("x", "y", "z", ".f", *around):
                yield node.name
        elif isinstance(node, Chain):
            for step in node.steps:
                if step.verb is None:
                    if step.left.name not in around:  # type: ignore[union-attr]
                        raise Impure(f"it assigns to {step.left.name}")  # type: ignore[union-attr]
                elif step.left is not None:
                    stack.append((step.left, around))
                if step.verb is not None and not isinstance(step.verb.verb, str):
                    stack.append((step.verb.verb, around))
            stack.append((node.last, around))
        elif isinstance(node, Literal):
            if holds_pairs(node.value):
                raise Impure("it makes a dictionary")
        elif isinstance(node, Lambda):
            stack += [(n, around | frozenset(node.local)) for n in node.body]
        elif isinstance(node, Call):
            stack += [(n, around) for n in [node.function, *node.arguments] if n is not None]
        elif isinstance(node, Conditional):
            stack += [(n, around) for pair in node.branches for n in pair]
            stack.append((node.alternative, around))
        elif isinstance(node, Index):
            stack += [(node.target, around), (node.index, around)]
        elif isinstance(node, VerbUse) and not isinstance(node.verb, str):
            stack.append((node.verb, around))


def _folds(nodes: list[Node]) -> bool:
    """Say whether integers could leave int64 where the interpreter would notice: in ^ / \\."""
    stack: list[Any] = list(nodes)
    while stack:
        node = stack.pop()
        if isinstance(node, Chain):
            for step in node.steps:
                use = step.verb
                if use is not None and (use.adverbs or use.verb == "^"):
                    return True
                stack += [n for n in (step.left, use and use.verb) if isinstance(n, Node)]
            stack.append(node.last)
        elif isinstance(node, Call):
            stack += [n for n in [node.function, *node.arguments] if n is not None]
        elif isinstance(node, Lambda):
            stack += node.body
        elif isinstance(node, Conditional):
            stack += [n for pair in node.branches for n in pair] + [node.alternative]
    return False


# -- programs


@dataclass(slots=True)
class Run:
    """What a program is traced from: how the interpreter runs it, and what it reads."""

    variables: dict[str, Any]
    names: list[str]
    run: Callable[..., Any]


def _program(
    context: Context, names: list[str], run: Callable[..., Any], name: str = "a Klong function"
) -> Any:
    """Return what compiles `run` as a function of variables and arguments.

    The compiler guards what a function mentions; this one mentions nothing but its `Run`, for
    what Klong reads is in the arguments.
    """
    held = Run(context.variables, list(names), run)

    def traced(*tensors: Any) -> Any:
        return _with_variables(held, tensors)

    traced.__name__ = name
    return native(traced)


def _with_variables(held: Run, tensors: Any) -> Any:
    """Run with some variables replaced by the first of the tensors."""
    names, variables = held.names, held.variables
    before = [variables[name] for name in names]
    variables.update(zip(names, tensors, strict=False))
    try:
        return held.run(*tensors[len(names) :])
    finally:
        variables.update(zip(names, before, strict=True))


def _tensors(values: list[Any]) -> list[Tensor]:
    return [v if type(v) is Tensor else array(v, type(v) is float) for v in values]


def _settled(value: Any) -> Any:
    if type(value) is Tensor:
        return settle(value)
    return [_settled(v) for v in value] if type(value) is list else value


def compiled(context: Context, f: Function) -> Function:
    """Return a function that runs `f` as a native program.

    Raises:
        KlongError: it was not written in Klong, or does more than compute.
    """
    d = f.definition
    if d is None:
        raise KlongError(f".compile(f) needs a function written in Klong; {f.name} is not")
    try:
        reads_of(context, d.node.body, frozenset(d.node.local), d.module)
    except Impure as impure:
        raise KlongError(f"{f.name} cannot be compiled: {impure}") from None
    programs: dict[Any, Any] = {}

    def run(*args: Any) -> Any:
        if modes.tracing is not None or context.derivatives or any(map(carries, args)):
            return f.run(*args)  # a part of what is being traced or differentiated
        try:
            reads = reads_of(context, d.node.body, frozenset(d.node.local), d.module)
        except Impure as impure:
            raise KlongError(f"{f.name} cannot be compiled: {impure}") from None
        for value in args:
            if type(value) not in NUMBERS and type(value) is not Tensor:
                raise KlongError(f"a compiled function takes numbers and arrays; found {value!r}")
        key = tuple(reads.numbers), tuple(map(id, reads.functions.values()))
        program = programs.get(key)
        if program is None:
            program = programs[key] = _program(context, reads.numbers, f.run, f.name)
        values = [context.variables[name] for name in reads.numbers]
        try:
            return _settled(program(*_tensors([*values, *args])))
        except TraceError as error:
            reason = str(error).split(":")[0].split("\n")[0]
            raise KlongError(
                f"{f.name} cannot be compiled for these arguments: {reason}. What depends on a "
                "value, like the length of a list or the end of a loop, must stay outside"
            ) from error

    return Function(f"a compiled {f.name}", f.arity, run, origin=None)


# -- hot functions


@dataclass(slots=True)
class Entry:
    """What is known of one kind of arguments."""

    calls: int = 0
    seconds: float = 0.0
    program: Any = None
    failed: bool = False


class Hot:
    """Watch an expression or a function, and compile it when that pays.

    Args:
        context: the program's state.
        nodes, local, module: what is run, with its local variables.
        run: how the interpreter runs it.
        scalars: whether numbers alone are worth a program, as they are for gradients.
    """

    __slots__ = (
        "context",
        "entries",
        "folds",
        "impure",
        "local",
        "module",
        "nodes",
        "reads",
        "run",
        "scalars",
    )

    def __init__(
        self,
        context: Context,
        nodes: list[Node],
        run: Callable[..., Any],
        local: frozenset[str] = frozenset(),
        module: Any = None,
        scalars: bool = False,
    ) -> None:
        self.scalars = scalars
        self.context, self.nodes, self.local, self.module = context, nodes, local, module
        self.run, self.impure = run, False
        self.reads: Reads | None = None
        self.folds = _folds(nodes)
        self.entries: dict[Any, Entry] = {}

    def __call__(self, *args: Any) -> Any:
        """Run it, natively where that has been found to pay."""
        if self.impure or modes.tracing is not None or self.context.derivatives:
            return self.run(*args)
        values = self._values(args)
        if values is None:
            return self.run(*args)
        key = tuple([(v._value.shape, v.dtype) if type(v) is Tensor else type(v) for v in values])
        entry = self.entries.get(key)
        if entry is None:
            if len(self.entries) >= LIMIT:
                return self.run(*args)
            entry = self.entries[key] = Entry()
        if entry.program is not None:
            return _settled(entry.program(*_tensors(values)))
        if entry.failed:
            return self.run(*args)
        return self._interpreted(entry, args, values)

    def _values(self, args: tuple[Any, ...]) -> list[Any] | None:
        """Return the values of variables and arguments; None where they forbid a program."""
        variables = self.context.variables
        reads = self.reads
        if reads is None or any(variables.get(n) is not f for n, f in reads.functions.items()):
            try:
                reads = self.reads = reads_of(self.context, self.nodes, self.local, self.module)
            except Impure:
                self.impure = True
                return None
            except KlongError:  # a variable has no value yet
                return None
            self.entries.clear()
        arrays = self.scalars
        values: list[Any] = [variables.get(name) for name in reads.numbers]
        values += args
        for value in values:
            if type(value) is Tensor:
                if value._node is not None or (self.folds and not value.dtype.is_floating_point):
                    return None
                arrays = True
            elif type(value) not in NUMBERS or not -(2.0**63) <= value < 2.0**63:
                return None
        return values if arrays else None

    def _interpreted(self, entry: Entry, args: tuple[Any, ...], values: list[Any]) -> Any:
        start = time.perf_counter()
        result = self.run(*args)
        entry.seconds += time.perf_counter() - start
        entry.calls += 1
        if entry.calls >= FEW and (entry.seconds > PAYS or entry.calls >= MANY):
            self._compile(entry, values)
        return result

    def _compile(self, entry: Entry, values: list[Any]) -> None:
        reads = self.reads
        program = _program(self.context, reads.numbers if reads else [], self.run)
        try:
            program(*_tensors(values))
        except Exception:  # it looks at values, or an operation has no native form
            entry.failed = True
        else:
            entry.failed = program.stats().eager > 0
            entry.program = None if entry.failed else program
