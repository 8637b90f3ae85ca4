"""Linkers of operands: constants, variables, conditionals, indices."""

from dataclasses import replace
from typing import Any

from atled.config import modes
from atled.core.tensor import Tensor
from atled.errors import TraceError
from atled.functions import not_equal, where
from atled.klong.arrays import array, is_floating, shape_of
from atled.klong.context import Context
from atled.klong.errors import Place
from atled.klong.link import Linked, Scope, link, linker, resolved, rethrow
from atled.klong.literals import built, holds_pairs
from atled.klong.tree import ARGUMENTS, Conditional, Index, Literal, Variable
from atled.klong.values import Dictionary, true
from atled.klong.verbs.indexing import element, index
from atled.klong.verbs.shape import length

__all__: list[str] = []


@linker(Literal)
def _literal(node: Literal, scope: Scope) -> Linked:
    raw = node.value
    if holds_pairs(raw):
        return lambda frame: built(raw)
    value = built(raw)
    if type(value) not in (Tensor, list):
        return lambda frame: value

    def constant(frame: Any) -> Any:
        if modes.tracing is None:
            return value
        symbol = built(raw)  # a program has its own constants; they remember their values
        if type(symbol) is Tensor:
            symbol.__dict__["literal"] = raw
        return symbol

    return constant


@linker(Variable)
def _variable(node: Variable, scope: Scope) -> Linked:
    name, place, context = node.name, scope.place(node), scope.context
    if scope.inside and name in ARGUMENTS:
        at = ARGUMENTS[name]
        return lambda frame: frame[at]
    if scope.inside and name == ".f":
        return lambda frame: frame[0]
    variables = context.variables
    first, second = resolved(name, scope)
    if second is not None:

        def either(frame: Any) -> Any:
            if first in variables:
                return variables[first]
            return context.value_of(second, place)

        return either

    def look(frame: Any) -> Any:
        try:
            return variables[first]
        except KeyError:
            raise context.unknown(first, place) from None

    return look


@linker(Conditional)
def _conditional(node: Conditional, scope: Scope) -> Linked:
    inner = replace(scope, tail=False)
    branches = [(link(p, inner), link(c, scope)) for p, c in node.branches]
    alternative, place = link(node.alternative, scope), scope.place(node)

    def choose(frame: Any) -> Any:
        for i, (predicate, consequent) in enumerate(branches):
            value = predicate(frame)
            if type(value) is Tensor and value.backend.level and not value._value.shape:
                rest = replace(scope, tail=False)
                others = Conditional(node.at, node.branches[i + 1 :], node.alternative)
                second = link(others if others.branches else node.alternative, rest)
                first = link(node.branches[i][1], rest)
                return _selected(scope.context, value, first(frame), second(frame), place)
            try:
                chosen = true(value)
            except Exception as error:
                rethrow(error, place)
            if chosen:
                return consequent(frame)
        return alternative(frame)

    return choose


def _selected(context: Context, value: Tensor, a: Any, b: Any, place: Place) -> Any:
    """Choose between two values that are both computed, inside a program that is being traced.

    Not under a derivative: what is not chosen may be infinite there, and 0 times that is nan.
    """
    if context.derivatives:
        raise TraceError("a value decides here what is differentiated")
    kinds = (int, float, Tensor)
    if type(a) not in kinds or type(b) not in kinds or shape_of(a) != shape_of(b):
        raise TraceError("the two sides of a conditional on a value must be numbers alike")
    sides = [v if type(v) is Tensor else array(v, type(v) is float) for v in (a, b)]
    if is_floating(sides[0]) != is_floating(sides[1]):
        raise TraceError("a value decides here between an integer and a real")
    return where(not_equal(value, 0), *sides)


@linker(Index)
def _index(node: Index, scope: Scope) -> Linked:
    inner, place = replace(scope, tail=False), scope.place(node)
    target, at = link(node.target, inner), link(node.index, inner)

    def run(frame: Any) -> Any:
        value, i = target(frame), at(frame)
        try:
            if type(i) is int and i < 0 and type(value) is not Dictionary:
                size = length(value, "a in a[b]")
                return element(value, i + size, size)
            return index(value, i)
        except Exception as error:
            rethrow(error, place)

    return run
