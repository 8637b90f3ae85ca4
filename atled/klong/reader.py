"""Text to tree: the grammar of the manual; ∂ and ∇ of KlongPy; and `a[i]`.

The reader keeps no state but its position; a program is read once and the tree is kept by its
text. Chains of verbs are read in a loop; only brackets nest, to `DEEPEST` levels.
"""

from functools import lru_cache
from typing import TypeGuard

from atled.klong.errors import KlongError, Place
from atled.klong.lexemes import (
    ADVERBS,
    OPERATORS,
    SHIFTED,
    SYMBOL,
    constant_at,
    skip,
)
from atled.klong.literals import literal_at
from atled.klong.tree import (
    ARGUMENTS,
    Call,
    Chain,
    Conditional,
    Index,
    Lambda,
    Literal,
    Node,
    Program,
    Step,
    Variable,
    VerbUse,
)

__all__ = ["incomplete", "read"]

DEEPEST = 200
CLOSERS = {"(": ")", "[": "]", "{": "}"}


@lru_cache(maxsize=4096)
def read(text: str) -> Program:
    """Return the tree of a program.

    Raises:
        KlongError: it is not one; the place is in the error.

    Example:
        >>> read("1+2;3").statements[1].value
        3
    """
    return Program(text, _Reader(text).program())


def incomplete(text: str) -> bool:
    """Say whether more lines could still make a program of a text: for a REPL."""
    try:
        read(text)
    except KlongError as error:
        return isinstance(error, Unfinished)
    return False


class Unfinished(KlongError):
    """The text ended inside brackets or a string."""


class _Reader:
    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0
        self.open: list[tuple[str, int]] = []  # brackets not closed yet, and where
        self.arity = 0  # of the function that is being read

    # -- small steps

    def skip(self) -> str:
        """Pass white space and comments; return the character that follows, or ''."""
        try:
            self.at = skip(self.text, self.at, bool(self.open))
        except KlongError as error:
            raise Unfinished(error.message, error.spot) from None
        return self.text[self.at : self.at + 1]

    def fail(self, message: str, at: int | None = None) -> KlongError:
        """Return an error with its place; one of an unfinished text where that is the reason."""
        place = Place(self.text, self.at if at is None else at)
        if self.at < len(self.text) or not self.open:
            return KlongError(message, place)
        bracket, start = self.open[-1]
        line = self.text.count("\n", 0, start) + 1
        return Unfinished(f"the {bracket} of line {line} is never closed", Place(self.text, start))

    def enter(self, bracket: str, at: int) -> None:
        self.open.append((bracket, at))
        if len(self.open) > DEEPEST:
            raise KlongError(f"brackets nest deeper than {DEEPEST}", Place(self.text, at))

    def leave(self, closer: str) -> None:
        """Pass the bracket that closes the innermost one."""
        found = self.skip()
        if found != closer:
            raise self.fail(f"{closer} was expected; found {_named(found)}")
        self.at += 1
        self.open.pop()

    def take(self, piece: str) -> bool:
        """Pass a piece of text if it comes next."""
        if self.text.startswith(piece, self.at):
            self.at += len(piece)
            return True
        return False

    # -- the grammar

    def program(self) -> list[Node]:
        """Read expressions between ; and newlines to the end of the text."""
        statements: list[Node] = []
        while True:
            c = self.skip()
            while c and c in ";\n":
                self.at += 1
                c = self.skip()
            if not c:
                return statements
            if c in ")]}":
                raise self.fail(f"this {c} closes nothing")
            statements.append(self.expression())
            self.comment_block(statements[-1])
            c = self.skip()
            if c and c not in ";\n":
                if c in ")]}":
                    raise self.fail(f"this {c} closes nothing")
                raise self.fail(f"an operator or the end of the expression was expected; found {c}")

    def comment_block(self, node: Node) -> None:
        """Pass the lines of a `.comment`."""
        if not (isinstance(node, Call) and isinstance(node.function, Variable)):
            return
        marker = node.arguments[0] if len(node.arguments) == 1 else None
        if node.function.name != ".comment" or not isinstance(marker, Literal):
            return
        while (end := self.text.find("\n", self.at)) >= 0:
            self.at = end + 1
            if self.text.startswith(str(marker.value), self.at):
                end = self.text.find("\n", self.at)
                self.at = end if end >= 0 else len(self.text)
                return
        raise KlongError(
            f"no line begins with {str(marker.value)!r}, which ends the comment",
            Place(self.text, node.at),
        )

    def expression(self) -> Node:
        """Read factors with verbs between and before them."""
        start, steps = self.at, []
        while True:
            c = self.skip()
            at = self.at
            if (glyph := self.operator()) is not None:
                steps.append(Step(at, VerbUse(at, glyph, self.adverbs()), None))
                continue
            factor = self.factor(c)
            if isinstance(factor, VerbUse):
                steps.append(Step(at, factor, None))
                continue
            self.skip()
            at = self.at
            if isinstance(factor, Variable) and self.take("::"):
                steps.append(Step(at, None, factor))
                continue
            verb = self.dyad(factor)
            if verb is None:
                return Chain(start, steps, factor) if steps else factor
            steps.append(Step(at, verb, factor))

    def operator(self) -> str | None:
        """Read the glyph of an operator; None if there is none."""
        text, at = self.text, self.at
        c = text[at : at + 1]
        if c in OPERATORS and c:
            self.at += 1
            return c
        if c == ":" and text[at + 1 : at + 2] in SHIFTED and at + 1 < len(text):
            glyph = text[at : at + 2]
            if glyph in ADVERBS or glyph == ":|":
                return None
            self.at += 2
            return glyph
        return None

    def adverbs(self) -> tuple[str, ...]:
        """Read the adverbs directly behind a verb."""
        found: list[str] = []
        while True:
            for adverb in ADVERBS:
                if self.take(adverb):
                    found.append(adverb)
                    break
            else:
                return tuple(found)

    def dyad(self, left: Node) -> VerbUse | None:
        """Read the verb between an operand and the next; None at the end of an expression."""
        c = self.text[self.at : self.at + 1]
        at = self.at
        if not c or c in ";)]}\n" or self.text.startswith(":|", at):
            return None
        if self.text.startswith("::", at):
            raise self.fail(_no_definition(left), left.at)
        if (glyph := self.operator()) is not None:
            return VerbUse(at, glyph, self.adverbs())
        function: Node
        if c == "{":
            function = self.function()
        elif match := SYMBOL.match(self.text, at):
            self.at = match.end()
            function = self.named(match.group(), at)
        else:
            raise self.fail(f"an operator was expected; found {_named(c)}{_remedy(left, c)}")
        return VerbUse(at, self.projected(function), self.adverbs())

    def projected(self, function: Node) -> Node:
        """Read the arguments of a projection behind a verb; leave (e), an operand, alone."""
        before, arity = self.at, self.arity
        if self.text.startswith("(", self.at) or self.text.startswith(":(", self.at):
            call = self.call(function)
            if None in call.arguments:
                return self.projected(call)
            self.at, self.arity = before, arity
        return function

    def named(self, name: str, at: int) -> Variable:
        """Return a variable, and note that a function takes an argument."""
        self.arity = max(self.arity, ARGUMENTS.get(name, 0))
        return Variable(at, name)

    def factor(self, c: str) -> Node:
        """Read an operand; a verb with adverbs before its operand comes back as VerbUse."""
        text, at = self.text, self.at
        if c == "(":
            return self.callable(self.parenthesised(), adverbs=False)
        if c == "{":
            return self.callable(self.function())
        if c == "[" or text.startswith(":{", at):
            return self.literal()
        if text.startswith(":[", at):
            return self.conditional()
        try:
            found = constant_at(text, at, signed=False)
        except KlongError as error:
            if error.message.startswith("this string"):
                raise Unfinished(error.message, error.spot) from None
            raise
        if found is not None:
            value, self.at = found
            return Literal(at, value)
        if match := SYMBOL.match(text, at):
            self.at = match.end()
            return self.callable(self.named(match.group(), at))
        if c and c in ")]}" and not self.open:
            raise self.fail(f"this {c} closes nothing")
        raise self.fail(f"an expression was expected; found {_named(c)}")

    def callable(self, function: Node, adverbs: bool = True) -> Node:
        """Read what may follow a function: adverbs, arguments, an index."""
        at = function.at
        while True:
            if adverbs and (found := self.adverbs()):
                return VerbUse(at, function, found)
            before, arity = self.at, self.arity
            self.at = skip(self.text, self.at, False) if not isinstance(function, Chain) else before
            if self.text.startswith("(", self.at) or self.text.startswith(":(", self.at):
                function = self.call(function)
                adverbs = adverbs or None in function.arguments
                continue
            self.at, self.arity = before, arity
            if isinstance(function, (Variable, Index)) and self.text.startswith("[", self.at):
                function = self.index(function)
                continue
            return function

    def parenthesised(self) -> Node:
        self.enter("(", self.at)
        self.at += 1
        inner = self.expression()
        self.leave(")")
        return inner

    def call(self, function: Node) -> Call:
        """Read arguments; one that is left out becomes None."""
        self.take(":")
        self.enter("(", self.at)
        self.at += 1
        arguments: list[Node | None] = []
        if self.skip() == ")":
            self.leave(")")
            return Call(function.at, function, arguments)
        while True:
            c = self.skip()
            arguments.append(None if c and c in ";)" else self.expression())
            c = self.skip()
            if c != ";":
                break
            self.at += 1
        self.leave(")")
        if all(a is None for a in arguments):
            raise KlongError(
                "a projection keeps at least one argument", Place(self.text, function.at)
            )
        return Call(function.at, function, arguments)

    def index(self, target: Node) -> Index:
        """Read `[e]` behind a variable: an extension."""
        at = self.at
        probe = self.at + 1
        self.enter("[", at)
        found = constant_at(self.text, skip(self.text, probe, True), signed=True)
        if found is not None and self.text[skip(self.text, found[1], True) :][:1] == "]":
            self.at = found[1]
            inner: Node = Literal(probe, found[0])
        else:
            self.at = probe
            inner = self.expression()
        self.leave("]")
        return Index(at, target, inner)

    def literal(self) -> Literal:
        """Read a list or a dictionary."""
        at = self.at
        try:
            value, self.at = literal_at(self.text, at, DEEPEST - len(self.open))
        except KlongError as error:
            if error.spot is not None and "never closed" in error.message:
                raise Unfinished(error.message, error.spot) from None
            raise
        return Literal(at, value)

    def conditional(self) -> Conditional:
        at = self.at
        self.enter(":[", at)
        self.at += 2
        branches = []
        while True:
            predicate = self.expression()
            self.separator()
            consequent = self.expression()
            branches.append((predicate, consequent))
            self.skip()
            if not self.take(":|"):
                break
        self.separator()
        alternative = self.expression()
        self.leave("]")
        return Conditional(at, branches, alternative)

    def separator(self) -> None:
        found = self.skip()
        if found != ";":
            raise self.fail(f"; was expected in a conditional :[p;c;a]; found {_named(found)}")
        self.at += 1

    def function(self) -> Lambda:
        start, outer = self.at, self.arity
        self.arity = 0
        self.enter("{", start)
        self.at += 1
        local = self.locals()
        body: list[Node] = []
        while True:
            c = self.skip()
            while c == ";":
                self.at += 1
                c = self.skip()
            if c == "}":
                break
            body.append(self.expression())
            c = self.skip()
            if c not in ("}", ";"):
                raise self.fail(f"}} or ; was expected; found {_named(c)}")
        self.leave("}")
        if not body:
            raise KlongError("a function needs an expression", Place(self.text, start))
        arity, self.arity = self.arity, outer
        return Lambda(start, local, body, arity, self.text[start : self.at])

    def locals(self) -> tuple[str, ...]:
        """Read `[a b c];` at the head of a function."""
        self.skip()
        at, names = self.at, []
        if not self.take("["):
            return ()
        while True:
            self.at = skip(self.text, self.at, True)
            match = SYMBOL.match(self.text, self.at)
            if match is None:
                break
            names.append(match.group())
            self.at = match.end()
        if self.take("]"):
            self.skip()
            if self.take(";"):
                return tuple(names)
        self.at = at  # it was a list
        return ()


def _named(c: str) -> str:
    return {"": "the end", "\n": "the end of the line"}.get(c, c)


def _no_definition(left: Node) -> str:
    """Return what is wrong with `left::value` where `left` is no name."""
    name = left.function.name if isinstance(left, Call) and _is_name(left.function) else "f"
    return f"only a name can be given a value; a function is defined by {name}::{{...x...}}"


def _remedy(left: Node, c: str) -> str:
    """Return what may have been meant by an operand right behind another."""
    if _is_name(left):
        return f"; a function is called by {left.name}(...)"
    if c == "[":
        return "; an element is a@i, or a[i] if a is a name"
    return "; a list is written [1 2 3]" if c.isdigit() else ""


def _is_name(node: Node) -> TypeGuard[Variable]:
    return isinstance(node, Variable)
