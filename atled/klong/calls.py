"""Linkers of calls and functions: arguments, projections, recursion, local variables."""

from dataclasses import dataclass, field, replace
from typing import Any

from atled.core.tensor import Tensor
from atled.klong.arrays import Unrolled
from atled.klong.compiled import Hot, is_possible
from atled.klong.context import LOOPS, Context
from atled.klong.errors import KlongError, Place
from atled.klong.limits import limits
from atled.klong.link import Linked, Scope, link, linker, rethrow
from atled.klong.reads import code_of
from atled.klong.tree import Call, Lambda
from atled.klong.values import UNDEFINED, Function, arrays_or_numbers, counted, kind_of

__all__ = ["Definition"]

TAIL = object()  # what a call in tail position returns: it waits in `Context.pending`


@dataclass(slots=True)
class Definition:
    """What is known of a function written in Klong.

    Attributes:
        node: its tree.
        body: its linked body.
        local: its local variables.
        module: the module that it belongs to.
        hot, hot_gradients: what watches its calls, and its gradients with respect to variables
            (none of them: at a point); see `compiled.py`.
    """

    node: Lambda
    body: Linked
    local: tuple[str, ...]
    module: Any = None
    hot: Any = None
    hot_gradients: dict[tuple[str, ...], Any] = field(default_factory=dict)


@linker(Call)
def _call(node: Call, scope: Scope) -> Linked:
    inner, place = replace(scope, tail=False), scope.place(node)
    function = link(node.function, inner)
    given = [None if a is None else link(a, inner) for a in node.arguments]
    if None in given:
        return _projection(function, given, place)
    arguments: list[Linked] = given  # type: ignore[assignment]
    context, tail, count = scope.context, scope.tail, len(arguments)

    def call(frame: Any) -> Any:
        f = function(frame)
        args = [a(frame) for a in arguments]
        if type(f) is not Function:
            raise KlongError(f"a function is needed here; found {kind_of(f)}", place)
        if not f.least <= count <= f.arity:
            raise KlongError(f"{f.name} takes {counted(f.arity)}; found {count}", place)
        if tail and f.definition is not None and not f.definition.local:
            context.pending = f, args
            return TAIL
        try:
            return f.run(*args)
        except Exception as error:
            rethrow(error, place)

    return call


def _projection(function: Linked, given: list[Linked | None], place: Place) -> Linked:
    def project(frame: Any) -> Any:
        f = function(frame)
        if type(f) is not Function:
            raise KlongError(f"only a function can be projected; found {kind_of(f)}", place)
        if not f.least <= len(given) <= f.arity:
            takes = counted(f.arity)
            raise KlongError(f"{f.name} takes {takes}; the projection has {len(given)}", place)
        values = [None if g is None else g(frame) for g in given]
        open_places = [i for i, g in enumerate(given) if g is None]
        inner = f.run

        def run(*rest: Any) -> Any:
            args = values.copy()
            for i, value in zip(open_places, rest, strict=True):
                args[i] = value
            return inner(*args)

        known = [v for v in values if v is not None]
        parts = (f,) if arrays_or_numbers(*known) else None
        return Function(f"a projection of {f.name}", len(open_places), run, parts=parts)

    return project


@linker(Lambda)
def _lambda(node: Lambda, scope: Scope) -> Linked:
    value = make_function(node, scope)
    return lambda frame: value


def make_function(node: Lambda, scope: Scope) -> Function:
    """Return the function of a tree, with its body linked."""
    context = scope.context
    around = scope.local | frozenset(node.local)
    inner = Scope(context, scope.text, inside=True, local=around)
    statements = [link(n, inner) for n in node.body[:-1]]
    last = link(node.body[-1], replace(inner, tail=not node.local))

    def body(frame: Any) -> Any:
        for statement in statements:
            statement(frame)
        return last(frame)

    definition = Definition(node, body if statements else last, node.local, context.module)
    text = node.text if len(node.text) <= 40 else node.text[:37] + "..."
    function = Function(text, node.arity, lambda: None, definition)
    function.run = _runner(function, definition, context)
    if context.owner is not None and context.owner.steps is not None:
        function.run = _counted(function.run)
    if node.local:
        function.run = _with_locals(function.run, node.local, context.variables)
    if is_possible(context):
        function.run = _watched(function, definition, context)
    return function


def _watched(function: Function, definition: Definition, context: Context) -> Any:
    """Return what runs a function, natively once it is hot: only calls with arrays count."""
    run = function.run

    def watched(*args: Any) -> Any:
        for value in args:
            if type(value) is Tensor and value._node is None and context.compiles:
                break
        else:
            return run(*args)
        if definition.hot is None:
            definition.hot = Hot(context, code_of(function), run)
        return definition.hot(*args)

    return watched


def _runner(function: Function, definition: Definition, context: Context) -> Any:
    def run(*args: Any) -> Any:
        if context.depth >= context.deepest:
            raise KlongError(f"the recursion is deeper than {context.deepest} calls")
        if Unrolled.left is not None:
            Unrolled.spend(1)
        context.depth += 1
        try:
            value = definition.body((function, *args))
            if value is TAIL:
                value = _loop(context)
        finally:
            context.depth -= 1
        return value

    return run


def _counted(run: Any) -> Any:
    """Return what runs a function and counts the call."""

    def counted_run(*args: Any) -> Any:
        limits.spend()
        return run(*args)

    return counted_run


def _loop(context: Context) -> Any:
    """Make calls in tail position, one after another in the same place of the stack."""
    for _ in range(LOOPS):
        Unrolled.spend(1)
        limits.spend()
        f, args = context.pending
        context.pending = None
        value = f.definition.body((f, *args))
        if value is not TAIL:
            return value
    raise KlongError(f"the recursion is longer than {LOOPS} calls")


def _with_locals(run: Any, local: tuple[str, ...], variables: dict[str, Any]) -> Any:
    """Give local variables no value before a call, and their old values after it."""

    def bound(*args: Any) -> Any:
        before = [variables.get(name, _MISSING) for name in local]
        for name in local:
            variables[name] = UNDEFINED
        try:
            return run(*args)
        finally:
            for name, value in zip(local, before, strict=True):
                if value is _MISSING:
                    variables.pop(name, None)
                else:
                    variables[name] = value

    return bound


_MISSING = object()
