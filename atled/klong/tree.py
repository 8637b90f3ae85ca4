"""The expression tree: what the reader makes and the linkers turn into closures.

Nodes are plain data. `at` is the index in the program's text where a node begins; errors show it.
"""

from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "ARGUMENTS",
    "Call",
    "Chain",
    "Conditional",
    "Index",
    "Lambda",
    "Literal",
    "Node",
    "Program",
    "Step",
    "Variable",
    "VerbUse",
]

ARGUMENTS = {"x": 1, "y": 2, "z": 3}  # and their places in a frame


@dataclass(slots=True)
class Node:
    """Something with a value."""

    at: int


@dataclass(slots=True)
class Literal(Node):
    """A number, string, character, symbol, list or dictionary: nested plain data."""

    value: Any


@dataclass(slots=True)
class Pairs:
    """A dictionary inside a literal: its tuples, made into a fresh dictionary each time."""

    at: int
    tuples: list[Any]


@dataclass(slots=True)
class Variable(Node):
    """A name."""

    name: str


@dataclass(slots=True)
class VerbUse(Node):
    """A verb as it stands in an expression.

    Attributes:
        verb: the glyph of an operator, or the node of a function.
        adverbs: the adverbs behind it, innermost first.
    """

    verb: "str | Node"
    adverbs: tuple[str, ...] = ()


@dataclass(slots=True)
class Step(Node):
    """One verb of a chain, and its left operand if it has one.

    `verb` is None for a definition; `left` is the variable then.
    """

    verb: VerbUse | None
    left: Node | None


@dataclass(slots=True)
class Chain(Node):
    """Verbs applied from the right: a+b*-c has the steps (a +), (b *), (-) and the last c."""

    steps: list[Step]
    last: Node


@dataclass(slots=True)
class Call(Node):
    """A function applied to arguments; None stands for one left out, of a projection."""

    function: Node
    arguments: list[Node | None]


@dataclass(slots=True)
class Index(Node):
    """`q[0]`: the element of a variable; negative indices count from the end."""

    target: Node
    index: Node


@dataclass(slots=True)
class Conditional(Node):
    """Pairs of a predicate and a consequent, and the alternative."""

    branches: list[tuple[Node, Node]]
    alternative: Node


@dataclass(slots=True)
class Lambda(Node):
    """A function: its local variables, its expressions, and how many arguments it takes."""

    local: tuple[str, ...]
    body: list[Node]
    arity: int
    text: str


@dataclass(slots=True)
class Program:
    """A text and its expressions."""

    text: str
    statements: list[Node] = field(default_factory=list)
