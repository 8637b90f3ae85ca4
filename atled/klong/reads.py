"""What an expression reads: its inputs as a program, and whether it only computes.

A native program stands for an expression as long as all that it reads is among its arguments, or
the same as when it was made. The names are found in the tree, and in the trees of all functions
that are called from there; the values are looked up at every call.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from atled.klong.context import Context
from atled.klong.errors import KlongError
from atled.klong.literals import holds_pairs
from atled.klong.tree import (
    ARGUMENTS,
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
from atled.klong.values import Function, KlongSymbol, arrays_or_numbers

__all__ = ["Code", "Impure", "Inputs", "code_of"]

PURE_SYSTEM = frozenset((".jacobian", ".hessian", ".jvp", ".vjp"))
PATIENCE = 16  # how often the functions that an expression calls may change, or be missing
OWN = frozenset((*ARGUMENTS, ".f"))  # the names that every function gives a meaning


class Impure(Exception):
    """The expression does more than compute with numbers; the reason is its text."""


class Code(NamedTuple):
    """Expressions, and where they stand.

    Attributes:
        nodes: their trees.
        local: the names that are no variables of the program here.
        module: the module that they belong to.
    """

    nodes: list[Node]
    local: frozenset[str] = frozenset()
    module: Any = None


def code_of(function: Function) -> Code:
    """Return the code of a function written in Klong."""
    d = function.definition
    return Code(d.node.body, OWN.union(d.node.local), d.module)


@dataclass
class Reads:
    """What expressions read.

    Attributes:
        numbers: the variables that hold numbers and arrays.
        functions: the variables that hold functions, and which.
        absent: names of a module that have no value, so that the program's variable is read.
    """

    numbers: list[str] = field(default_factory=list)
    functions: dict[str, Function] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)

    def hold(self, variables: dict[str, Any]) -> bool:
        """Say whether the same functions would be called as when this was found out."""
        for name, function in self.functions.items():
            if variables.get(name) is not function:
                return False
        return not self.absent or not any(name in variables for name in self.absent)


def reads_of(context: Context, code: Code) -> Reads:
    """Return what expressions read, through all functions that they call.

    Raises:
        Impure: they define a variable, or read one that is neither a number nor a function, or
            call what may do anything.
        KlongError: they read a variable that has no value.
    """
    reads, queue = Reads(), [code]
    seen: set[tuple[Any, str]] = set()
    while queue:
        nodes, local, module = queue.pop()
        for plain in _free_names(nodes, local):
            if (where := (module and module.name, plain)) in seen:
                continue
            seen.add(where)
            name = _resolved(plain, module, context, reads)
            value = context.value_of(name)
            if type(value) is Function:
                reads.functions[name] = value
                queue += _called(value)
            elif arrays_or_numbers(value):
                if name not in reads.numbers:
                    reads.numbers.append(name)
            else:
                raise Impure(f"it reads {name}, which is not a number")
    return reads


def _resolved(name: str, module: Any, context: Context, reads: Reads) -> str:
    """Return what a name is called in the table of variables now."""
    if module is None or name in context.system:
        return name
    inside = module.mangled(name)
    if inside in context.variables:
        return str(inside)
    reads.absent.append(inside)
    return name


def _called(function: Function) -> list[Code]:
    """Return the code that runs when a function is called."""
    if function.definition is not None:
        return [code_of(function)]
    if function.parts is not None:
        return [code for part in function.parts for code in _called(part)]
    if function.name in PURE_SYSTEM:
        return []
    of = "" if function.name.startswith(".") else ", a function of Python"
    raise Impure(f"it calls {function.name}{of}")


def _free_names(nodes: list[Node], local: frozenset[str]) -> Iterator[str]:
    """Yield the free variables of expressions.

    Raises:
        Impure: one assigns to a variable that is not local, or makes a dictionary.
    """
    stack: list[tuple[Any, frozenset[str]]] = [(n, local) for n in nodes]
    while stack:
        node, around = stack.pop()
        if isinstance(node, Variable):
            if node.name not in around:
                yield node.name
        elif isinstance(node, Literal):
            if holds_pairs(node.value):
                raise Impure("it makes a dictionary")
            yield from _symbols(node.value)  # f:>[a b] reads a and b
        elif isinstance(node, Lambda):
            stack += [(n, around.union(node.local, OWN)) for n in node.body]
        else:
            stack += [(n, around) for n in _parts(node, around)]


def _symbols(value: Any) -> Iterator[str]:
    if type(value) is list and value and all(type(v) is KlongSymbol for v in value):
        yield from map(str, value)


def _parts(node: Any, local: frozenset[str]) -> Iterator[Node]:
    """Yield the expressions that a node is made of."""
    if isinstance(node, Chain):
        for step in node.steps:
            if step.verb is not None:
                yield from _parts(step.verb, local)
                if step.left is not None:
                    yield step.left
            elif step.left.name not in local:  # type: ignore[union-attr]
                raise Impure(f"it assigns to {step.left.name}")  # type: ignore[union-attr]
        yield node.last
    elif isinstance(node, VerbUse):
        if not isinstance(node.verb, str):
            yield node.verb
    elif isinstance(node, Call):
        yield node.function
        yield from (n for n in node.arguments if n is not None)
    elif isinstance(node, Conditional):
        for predicate, consequent in node.branches:
            yield predicate
            yield consequent
        yield node.alternative
    elif isinstance(node, Index):
        yield node.target
        yield node.index


class Inputs:
    """What some code reads, found out once and again when a function that it calls changes.

    Args:
        context: the program's state.
        code: the expressions.
        reals: variables that count as reals if they are integers: those of a derivative.

    Attributes:
        reads: what they read; another object when that has changed; None if it is not known.
        impure: why they are no pure computation, if so.
    """

    __slots__ = ("_changes", "code", "context", "impure", "reads", "reals")

    def __init__(self, context: Context, code: Code, reals: tuple[str, ...] = ()) -> None:
        self.context, self.code, self.reals = context, code, reals
        self.reads: Reads | None = None
        self.impure: str | None = None
        self._changes = 0

    def values(self, args: tuple[Any, ...]) -> list[Any] | None:
        """Return the values of the variables, then the arguments; None where there are none."""
        variables = self.context.variables
        reads = self.reads
        if reads is None or not reads.hold(variables):
            reads = self._look_again()
            if reads is None:
                return None
        values = [variables.get(name) for name in reads.numbers]
        if self.reals:
            values = [
                float(value) if type(value) is int and name in self.reals else value
                for name, value in zip(reads.numbers, values, strict=True)
            ]
        values += args
        return values

    def _look_again(self) -> Reads | None:
        if self.impure is not None:
            return None
        self.reads = None
        self._changes += 1
        try:
            reads = reads_of(self.context, self.code)
        except Impure as impure:
            self.impure = str(impure)
            return None
        except KlongError:  # a variable has no value yet
            if self._changes >= PATIENCE:
                self.impure = "it reads a variable without a value"
            return None
        if self._changes >= PATIENCE:
            self.impure = "the functions that it calls change all the time"
            return None
        reads.numbers += [n for n in self.reals if n not in reads.numbers]
        self.reads = reads
        return reads
