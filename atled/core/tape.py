"""The tape: nodes as plain data, and the two walks over them.

A node is made by `apply` for each operation on something that requires a gradient. It holds
the derivative to use, its parents (the nodes of the operands that need a gradient, in the
derivative's order), the saved values and a running number. Numbers grow, so a parent's is
always smaller than its child's, and "sorted by number" is a topological order.

What always holds: walks are iterative and visit a node once; rules are called on raw arrays,
or on Tensors when the walk is `lifted` (to record the derivative's own tape); a node holds no
Tensor and no closure over results, so that dropping the last Tensor frees the graph at once.
"""

import itertools
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple
from weakref import ref

from atled.config import modes
from atled.core.masks import Masks, have_nan, may_try, sum_to_shape
from atled.errors import GradError

__all__ = ["Leaf", "Lift", "Node", "ancestors", "free", "push_tangents", "walk_back"]

_number = itertools.count().__next__


class Node:
    """One recorded operation.

    Attributes:
        derivative: what to call (`Derivative`, or a custom function's own).
        parents: a node for each position of the derivative.
        saved: what the rules read, as captured; None once the graph is freed.
        static: the static parameters of the call.
        xp: the raw namespace it ran in.
        shape, dtype: of its result, the dtype as the backend names it.
        shapes: operand shapes where they broadcast, else None.
        port: for one of several results, its position; its only parent is then the operation.
        stop: where the gradient's path to a constant operand had ended, or None.
        hooks: functions from cotangent to cotangent or None, or None.
        retained: weak references to the results whose `.grad` collects too, or None.
        number: later nodes have larger ones.
        line: the user's code and the place in it, where it is kept (`Op.keeps_line`).
    """

    __slots__ = (
        "__dict__",
        "__weakref__",
        "derivative",
        "dtype",
        "line",
        "number",
        "parents",
        "saved",
        "shape",
        "shapes",
        "static",
        "xp",
    )
    line: Any  # unset where it is not kept: an assignment costs every operation 15 ns
    # Seldom set, so not slots: each assignment in __init__ would cost every operation 15 ns.
    marked: bool = False  # whether a walk must look at the next three: a leaf, or one of them set
    hooks: list[Callable[[Any], Any]] | None = None
    retained: list[Any] | None = None
    port: int | None = None
    stop: Any = None
    scope: Any = None  # of a transform's variable: the call of the transform that it belongs to
    is_over = False
    gathers = False  # whether its derivative adds to what has arrived at its parents so far

    def __init__(
        self,
        derivative: Any,
        parents: tuple["Node", ...],
        saved: Any,
        static: Any,
        xp: Any,
        shape: Any,
        dtype: Any,
        shapes: Any,
    ) -> None:
        self.derivative = derivative
        self.parents = parents
        self.saved = saved
        self.static = static
        self.xp = xp
        self.shape = shape
        self.dtype = dtype
        self.shapes = shapes
        self.number = _number()

    @property
    def name(self) -> str:
        """The operation's name as PyTorch spells a node's: "MulBackward"."""
        if self.port is not None:
            return f"Output{self.port}Backward"
        op = self.derivative.op
        words = min((op.name, *op.aliases), key=len).split("_")
        return "".join(word[:1].upper() + word[1:] for word in words) + "Backward"

    @property
    def next_functions(self) -> tuple[tuple["Node", int], ...]:
        """The nodes of its operands that need a gradient, each with the output's number."""
        return tuple((p.parents[0], p.port) if p.port is not None else (p, 0) for p in self.parents)

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """The arrays that it keeps for its derivative, in the order of the rules' names.

        Raises:
            GradError: the graph was freed.
        """
        if self.saved is None:
            raise GradError(FREED.format(self.name))
        kept = getattr(self.saved, "saved_tensors", self.saved)  # a Function keeps its context
        return tuple(v for v in kept if hasattr(v, "shape"))

    def __repr__(self) -> str:
        return f"<{self.name} #{self.number}>"


class Leaf(Node):
    """The end of a path: where the gradient of a Tensor made by the user is collected."""

    __slots__ = ("tensor",)

    marked = True

    @property
    def is_over(self) -> bool:  # type: ignore[override]
        """Whether it is the variable of a transform whose call has ended."""
        return self.scope is not None and self.scope.ended

    def __init__(self, tensor: Any, shape: Any, dtype: Any) -> None:
        super().__init__(None, (), (), {}, None, shape, dtype, None)
        self.tensor = ref(tensor)

    @property
    def name(self) -> str:
        return "AccumulateGrad"

    @property
    def variable(self) -> Any:
        """The Tensor that collects the gradient, or None when it is gone."""
        return self.tensor()


FREED = (
    "{}: this part of the graph was freed by an earlier backward pass; call "
    "backward(retain_graph=True) the first time to walk it again"
)

Lift = Callable[[Any, Node | None], Any]  # (raw array, node) -> Tensor
Over = Callable[[Any], Any]  # namespace -> namespace


def ancestors(roots: Iterable[Node], since: int = -1) -> list[Node]:
    """Return all nodes that the roots depend on, themselves included, oldest first.

    Args:
        since: leave out the parents with a smaller number, which cannot depend on this one.
    """
    seen = set(roots)
    stack = list(seen)
    while stack:
        for parent in stack.pop().parents:
            if parent not in seen and parent.number >= since:
                seen.add(parent)
                stack.append(parent)
    return sorted(seen, key=_by_number)


def outside(roots: Iterable[Node], since: int, own: set[Node]) -> bool:
    """Say whether the roots depend on a node older than `since`, or on a leaf that is not `own`.

    Leaves of a transform that is over do not count: they are constants by now.
    """
    seen = set(roots)
    stack = list(seen)
    while stack:
        node = stack.pop()
        if node.number < since or (
            node.derivative is None and node not in own and not node.is_over
        ):
            return True
        for parent in node.parents:
            if parent not in seen:
                seen.add(parent)
                stack.append(parent)
    return False


class _Walking:
    """While a tape is walked, what it keeps of a `vmap` that is over may be read."""

    def __enter__(self) -> None:
        self.before, modes.walking = modes.walking, True

    def __exit__(self, *exc: object) -> None:
        modes.walking = self.before


def _by_number(node: Node) -> int:
    return node.number


def walk_back(
    seeds: list[tuple[Node, Any]],
    arrived: Callable[[Node, Any], None],
    wanted: set[Node] | None = None,
    lift: Lift | None = None,
    tensors: Any = None,
    over: Over | None = None,
    *,
    given: Iterable[tuple[Node, Any]] = (),
    frees: bool = False,
) -> list[Node]:
    """Push cotangents from the seeds back through the tape.

    Args:
        seeds: (node, cotangent) pairs.
        arrived: called with each leaf (or each node of `wanted`) and its whole cotangent.
        wanted: compute no more than the cotangents of these nodes need.
        lift: makes a Tensor of a saved array; cotangents and rules are then Tensors'.
        tensors: the Tensors' namespace, for a lifted walk.
        over: from a node's namespace to the one of the cotangents, where these are batched and
            what the nodes keep is not.
        given: the nodes of all seeds, each with a constant whose zeros count as masks (a
            cotangent of the user's own) or None; by default None for all.
        frees: free what is behind before a checkpoint runs again; the caller frees the rest.

    Returns:
        The nodes whose derivatives were called, or would have been: those to free.

    Raises:
        GradError: a part of the graph was freed. Nothing has arrived then at any node.
    """
    since = -1 if wanted is None else min([node.number for node in wanted], default=-1)
    nodes = ancestors([node for node, _ in seeds], since)
    needed = None if wanted is None else _leading_to(wanted, nodes)
    walked = nodes if needed is None else [n for n in nodes if not needed.isdisjoint(n.parents)]
    for node in walked:
        if node.saved is None:
            raise GradError(FREED.format(node.name))
    way = _Way(nodes, lift, tensors, over)
    goal = wanted, needed
    with _Walking():
        masks = Masks.back(
            nodes if needed is None else [node for node in nodes if node in needed],
            list(given) or [(node, None) for node, _ in seeds],
            tensors,
        )
        if masks is not None and may_try([g for _, g in seeds], nodes):
            found: list[tuple[Node, Any]] = []
            _walk(way, goal, seeds, lambda node, g: found.append((node, g)), None, frees)
            if not have_nan([g for _, g in found]):
                for node, g in found:
                    arrived(node, g)
                return walked
        _walk(way, goal, seeds, arrived, masks, frees)
    return walked


class _Way(NamedTuple):
    """What a walk passes, oldest first, and what its rules are called with: see `walk_back`."""

    nodes: list[Node]
    lift: Lift | None
    tensors: Any
    over: Over | None


def _walk(
    way: _Way,
    goal: tuple[set[Node] | None, set[Node] | None],
    seeds: list[tuple[Node, Any]],
    arrived: Callable[[Node, Any], None],
    masks: Masks | None,
    frees: bool,
) -> None:
    """Make a walk back, once; `goal` is what is wanted, and what leads there."""
    (nodes, lift, tensors, over), (wanted, needed) = way, goal
    cotangents: dict[Node, Any] = {}
    for node, g in seeds:
        cotangents[node] = cotangents[node] + g if node in cotangents else g
    end = len(nodes)
    for i in range(len(nodes) - 1, -1, -1):
        node = nodes[i]
        g = cotangents.pop(node, None)
        if g is None:
            continue
        derivative, parents = node.derivative, node.parents
        if node.marked or wanted is not None:
            if node.hooks:
                before, g = g, _run_hooks(node, g)
                if masks is not None and g is not before:
                    masks.hooked(node, tensors, g)
            if derivative is None or node.retained or (wanted is not None and node in wanted):
                arrived(node, g)
            if derivative is None or (needed is not None and needed.isdisjoint(parents)):
                continue
            if node.port is not None:  # the only one of its result, see `call.result_node`
                cotangents.setdefault(parents[0], {})[node.port] = g
                if masks is not None:
                    masks.to_port(node)
                continue
            if node.gathers:
                if frees:  # so that they do not lie beside what the checkpoint recomputes
                    saved = parts = c = None
                    behind, end = nodes[i + 1 : end], i + 1
                    free(behind if needed is None else
                         [n for n in behind if not needed.isdisjoint(n.parents)])  # fmt: skip
                zeros = {} if masks is None else masks.at.pop(node, {})
                g = g, [cotangents.pop(parent, None) for parent in parents], zeros
        if lift is None:
            xp, saved = node.xp if over is None else over(node.xp), node.saved
        else:
            xp, saved = tensors, derivative.lifted(node, lift)
        parts = derivative.pull(node, xp, saved, g)
        if masks is not None:
            parts = masks.pulled(node, xp, saved, g, parts)
        if node.shapes is not None:
            parts = _summed(node, parts, xp)
        for k, parent in enumerate(parents):
            c = parts[k]
            if c is not None and (needed is None or parent in needed):
                before = cotangents.get(parent)
                cotangents[parent] = c if before is None else before + c


def _summed(node: Node, parts: list[Any], xp: Any) -> list[Any]:
    """Sum the cotangents of operands that broadcast back to the operands' shapes."""
    shapes = [node.shapes[i] for i in node.derivative.positions]
    return [
        c if c is None or c.shape == shape else sum_to_shape(xp, c, shape)
        for c, shape in zip(parts, shapes, strict=True)
    ]


def _leading_to(wanted: set[Node], nodes: list[Node]) -> set[Node]:
    """Return the nodes among `nodes` (oldest first) that depend on a wanted one."""
    needed = set(wanted)
    for node in nodes:
        if not needed.isdisjoint(node.parents):
            needed.add(node)
    return needed


def _run_hooks(node: Node, g: Any) -> Any:
    for hook in list(node.hooks or ()):  # a hook may remove itself
        changed = hook(g)
        if changed is not None:
            g = changed
    return g


def push_tangents(
    seeds: dict[Node, Any],
    outputs: list[Node],
    lift: Lift | None = None,
    tensors: Any = None,
    over: Over | None = None,
    *,
    given: Iterable[tuple[Node, Any]] = (),
) -> list[Any]:
    """Push tangents of the seeds forward along the tape; None where nothing arrives.

    `lift`, `tensors`, `over` and `given` are as in `walk_back`. A tangent is dropped when all that
    depends on it is done.

    Raises:
        GradError: a part of the graph was freed.
    """
    nodes = ancestors(outputs, min([node.number for node in seeds], default=-1))
    way = _Way(nodes, lift, tensors, over)
    with _Walking():
        masks = Masks.ahead(nodes, list(given), tensors)
        if masks is not None and may_try(seeds.values(), nodes):
            found = _pushed(way, outputs, seeds, None)
            if not have_nan([t for t in found if t is not None]):
                return found
        return _pushed(way, outputs, seeds, masks)


def _pushed(
    way: _Way, outputs: list[Node], seeds: dict[Node, Any], masks: Masks | None
) -> list[Any]:
    """Make a walk forward, once."""
    nodes, lift, tensors, over = way
    tangents = dict(seeds)
    last = {parent: node for node in nodes for parent in node.parents}
    kept = set(outputs)
    for node in nodes:
        if node in tangents or node.derivative is None:
            continue
        if node.saved is None:
            raise GradError(FREED.format(node.name))
        incoming = [tangents.get(parent) for parent in node.parents]
        if all(t is None for t in incoming):
            continue
        if node.port is not None:
            tangents[node] = tangents[node.parents[0]][node.port]
            if masks is not None:
                masks.from_hub(node)
            continue
        xp = tensors if lift is not None else node.xp if over is None else over(node.xp)
        saved = node.saved if lift is None else node.derivative.lifted(node, lift)
        push = node.derivative.push if masks is None else masks.pushed
        t = push(node, xp, saved, incoming)
        if t is not None and node.shapes is not None and tuple(t.shape) != tuple(node.shape):
            t = xp.broadcast_to(t, shape=tuple(node.shape))
        tangents[node] = t
        for parent in node.parents:
            if last[parent] is node and parent not in kept:
                tangents.pop(parent, None)
                if masks is not None:
                    masks.at.pop(parent, None)
    return [tangents.get(node) for node in outputs]


def free(nodes: list[Node]) -> None:
    """Drop what the nodes keep.

    Leaves stay, and so does a node of several results that keeps no array: a walk from another
    of its results (the next row of an iteration) may pass it still.
    """
    for node in nodes:
        if node.derivative is not None and not (node.shape is None and _keeps_nothing(node)):
            node.saved = None
            node.parents = ()
            node.shapes = None


def _keeps_nothing(node: Node) -> bool:
    """Say whether a node saved facts only: shapes, dtypes, numbers."""
    return type(node.saved) is tuple and not any(hasattr(v, "shape") for v in node.saved)
