"""Linkers of chains: verbs with their operands, definitions, adverbs."""

from dataclasses import replace
from functools import partial
from typing import Any

from atled.klong.adverbs import TABLE
from atled.klong.compiled import Hot, is_possible
from atled.klong.context import Context
from atled.klong.errors import KlongError, Place
from atled.klong.link import Linked, Scope, link, linker, resolved, rethrow
from atled.klong.reads import Code
from atled.klong.tree import ARGUMENTS, Chain, Literal, Node, Step, Variable, VerbUse
from atled.klong.values import Function, counted, kind_of
from atled.klong.verbs import VERBS

__all__ = ["caller", "link_statement"]


@linker(Chain)
def _chain(node: Chain, scope: Scope) -> Linked:
    inner = replace(scope, tail=False)
    names = [_plain_name(step.left) for step in node.steps] + [_plain_name(node.last)]
    applied = [
        _applied(step, inner, names[i], names[i + 1] if i + 1 == len(node.steps) else None)
        for i, step in enumerate(node.steps)
    ]
    last = link(node.last, inner)
    if len(node.steps) == 1:
        return _single(applied[0], node.steps[0], last, inner)
    lefts = [
        None if step.left is None or step.verb is None else link(step.left, inner)
        for step in node.steps
    ]
    pairs = list(zip(lefts, applied, strict=True))[::-1]

    def run(frame: Any) -> Any:
        value = last(frame)
        for left, apply in pairs:
            value = apply(frame, None if left is None else left(frame), value)
        return value

    return run


def _single(apply: Any, step: Step, last: Linked, scope: Scope) -> Linked:
    """Link the commonest chains, of one verb."""
    use = step.verb
    if use is None or step.left is None:
        return lambda frame: apply(frame, None, last(frame))
    left = link(step.left, scope)
    verb = None if use.verb in CONTEXTUAL else _static(use, 2, scope)
    if verb is None:

        def run_any(frame: Any) -> Any:
            b = last(frame)
            return apply(frame, left(frame), b)

        return run_any
    place = scope.place(step)

    def run(frame: Any) -> Any:
        b = last(frame)
        a = left(frame)
        try:
            return verb(a, b)
        except Exception as error:
            rethrow(error, place)

    return run


CONTEXTUAL = tuple({v.glyph for v in VERBS.values() if v.contextual})


def _plain_name(node: Node | None) -> str | None:
    return node.name if type(node) is Variable else None


def _applied(step: Step, scope: Scope, before: str | None, after: str | None) -> Any:
    """Return what a step does: a function of the frame, the left operand and the right one."""
    place, use = scope.place(step), step.verb
    if use is None:
        return _definition_of(step, scope)
    arity = 1 if step.left is None else 2
    record = VERBS.get((use.verb, arity)) if isinstance(use.verb, str) else None
    if record is not None and record.contextual and arity == 2 and not use.adverbs:
        return _contextual(record, step, scope, before, after)
    verb = _static(use, arity, scope)
    if verb is not None:

        def run(frame: Any, a: Any, b: Any) -> Any:
            try:
                return verb(b) if arity == 1 else verb(a, b)
            except Exception as error:
                rethrow(error, place)

        return run
    make = _dynamic(use, arity, scope)

    def run_dynamic(frame: Any, a: Any, b: Any) -> Any:
        try:
            found = make(frame)
            return found(b) if arity == 1 else found(a, b)
        except Exception as error:
            rethrow(error, place)

    return run_dynamic


def _contextual(record: Any, step: Step, scope: Scope, before: Any, after: Any) -> Any:
    """Link a verb that needs the program's state, and the names of its operands."""
    place, context = scope.place(step), scope.context
    if scope.inside:
        before, after = [None if n in ARGUMENTS else n for n in (before, after)]
    names = [None if n is None else resolved(n, scope)[0] for n in (before, after)]

    def run(frame: Any, a: Any, b: Any) -> Any:
        try:
            return record.run(context, a, b, *names)
        except Exception as error:
            rethrow(error, place)

    return run


def _definition_of(step: Step, scope: Scope) -> Any:
    target, context = step.left, scope.context
    name = target.name  # type: ignore[union-attr]
    if scope.inside and (name in ARGUMENTS or name == ".f"):
        raise KlongError(f"{name} is an argument: it cannot be assigned to", scope.place(target))
    if name in context.system:
        raise KlongError(
            f"{name} is a system function; it cannot be redefined", scope.place(target)
        )
    module = context.module
    if module is None or name in scope.local:
        return _definer(context, name)
    if scope.inside:
        known = name in module.own or name not in module.before
        return _definer(context, module.mangled(name) if known else name)
    module.own.add(name)
    return _definer(context, module.mangled(name), name)


def _definer(context: Context, *names: str) -> Any:
    variables = context.variables

    def define(frame: Any, a: Any, b: Any) -> Any:
        for name in names:
            variables[name] = b
        if context.derivatives:
            context.assigned.update(names)
        return b

    return define


# -- verbs


def _static(use: VerbUse, arity: int, scope: Scope) -> Any:
    """Return the verb of an operator with its adverbs; None where it is a function's value."""
    if not isinstance(use.verb, str):
        return None
    place = scope.place(use)
    needed, makers = _adverbs(use.adverbs, arity, place)
    record = VERBS.get((use.verb, needed))
    if record is None:
        one = "one operand" if needed == 1 else "two operands"
        raise KlongError(f"{use.verb} is no verb of {one}", place)
    verb = record.run
    if record.contextual:
        verb = partial(_without_names, record.run, scope.context)
    for make in makers:
        verb = make(verb)
    return verb


def _without_names(run: Any, context: Context, *operands: Any) -> Any:
    return run(context, *operands, None, None) if len(operands) > 1 else run(context, *operands)


def _adverbs(adverbs: tuple[str, ...], arity: int, place: Place | None) -> tuple[int, list[Any]]:
    """Return the arity that the innermost verb needs, and the makers from the inside out."""
    makers = []
    for glyph in reversed(adverbs):
        record = TABLE.get((glyph, arity))
        if record is None:
            one = "one operand" if arity == 1 else "two operands"
            raise KlongError(f"the adverb {glyph} makes no verb of {one}", place)
        makers.append(record.make)
        arity = record.inner
    return arity, makers[::-1]


def _dynamic(use: VerbUse, arity: int, scope: Scope) -> Linked:
    function, place = link(use.verb, scope), scope.place(use)  # type: ignore[arg-type]
    needed, makers = _adverbs(use.adverbs, arity, place)

    def make(frame: Any) -> Any:
        verb = caller(function(frame), needed)
        for maker in makers:
            verb = maker(verb)
        return verb

    return make


def caller(value: Any, arity: int) -> Any:
    """Return what computes a function's value with so many arguments.

    A function without arguments may stand where one with some is needed: `{step()}'!50`.

    Raises:
        KlongError: it is no function, or takes another number of arguments.
    """
    if type(value) is Function:
        if value.least <= arity <= value.arity:
            return value.run
        if value.arity == 0:
            run = value.run
            return lambda *args: run()
        takes = counted(value.arity)
        raise KlongError(f"{value.name} takes {takes}; as a verb here it is given {arity}")
    raise KlongError(f"a function is needed here as a verb; found {kind_of(value)}")


def link_statement(node: Node, scope: Scope) -> Linked:
    """Return the closure of an expression at the top of a program; a hot one is compiled."""
    run = link(node, scope)
    context = scope.context
    if type(node) is not Chain or context.module is not None or not is_possible(context):
        return run
    if all(n is None or type(n) is Literal for n in [node.last, *(s.left for s in node.steps)]):
        return run
    hot = Hot(context, Code([node]), lambda: run(None))
    return lambda frame: hot() if context.compiles else run(frame)
