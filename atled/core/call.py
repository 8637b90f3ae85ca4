"""A call with a derivative of the user's own, as one node of the tape.

`Function`, `custom_vjp`, `custom_jvp` and `implicit` all end here. Each gives an *owner*: an
object with a rule for cotangents (`pull`), for tangents (`push`), or for both. The rule that is
missing is the transpose of the other: both are linear in what they map, so a run of one on
variables, walked back, is the other, exactly.

The rules are the user's Python code on Tensors. In a plain walk they run unrecorded; in a lifted
one they are recorded, on Tensors that are connected to what the call was given.

What always holds: the operands and the results of a call live in the same batches, so that a
cotangent is one for each example wherever the call was one for each example.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol
from weakref import ref

from atled.config import modes
from atled.core.apply import apply, as_tensor, port_of
from atled.core.autograd import TENSORS
from atled.core.batch import Batch, present, spread
from atled.core.mode import enable_grad, no_grad
from atled.core.run import Run
from atled.core.surface import FUNCTIONS
from atled.core.tape import Node, ancestors, outside
from atled.core.tensor import Tensor, wrap
from atled.errors import GradError, ShapeError
from atled.tree import LEAF, Structure, flatten, unflatten

__all__ = [
    "Given",
    "Owner",
    "Place",
    "fitting",
    "record",
    "refuse_captured",
    "result_node",
    "whole",
]


class Owner(Protocol):
    """Whose derivative it is: its name, and its rules.

    Attributes:
        name, aliases: as of an operation.
        pulls, pushes: which of the two rules it has.
    """

    name: str
    aliases: tuple[str, ...]
    pulls: bool
    pushes: bool

    def pull(self, known: Any, cotangents: list[Tensor]) -> list[Any]:
        """Map a cotangent for each result to one (None: zero) for each tracked operand."""

    def push(self, known: Any, tangents: list[Tensor | None]) -> list[Any]:
        """Map a tangent (None: zero) for each tracked operand to one for each result."""


class Place:
    """What an operand or a result was, without its values: enough to make zeros like it."""

    __slots__ = ("batches", "device", "dtype", "shape", "xp")

    def __init__(self, t: Tensor, batches: frozenset[Batch]) -> None:
        self.xp = xp = t.backend
        value, base = t._value, xp.base if xp.level > 1 else xp
        self.shape, self.dtype, self.batches = tuple(value.shape), xp.dtype_of(value), batches
        self.device = None if base.level else xp.device_of(value)

    def zeros(self, also: frozenset[Batch] = frozenset()) -> Tensor:
        """Return zeros that live in the same batches, and in those of `also`."""
        value = self.xp.zeros(self.shape, dtype=self.dtype, device=self.device)
        return within(wrap(value), self.batches | also)


def within(t: Tensor, batches: frozenset[Batch]) -> Tensor:
    """Return a Tensor taken into the batches that it does not live in yet."""
    if not batches:
        return t
    for batch in sorted(set(batches) - present(t._value), key=_number):
        t = apply(spread, t, batch=batch)
    return t


def _number(batch: Batch) -> int:
    return batch.number


class Given:
    """The arguments of a call as values: what its rules are given again.

    Attributes:
        leaves: of the arguments, Tensors as the raw arrays that they hold.
        tracked: which of the leaves a derivative is wanted for; `tensors` are these, recorded.
        every: the batches that the call is in, or any of its arguments.
    """

    def __init__(self, args: Sequence[Any], nested: bool = True) -> None:
        leaves, self.structure = flatten(list(args)) if nested else (list(args), LEAF)
        places = [i for i, x in enumerate(leaves) if isinstance(x, Tensor)]
        self.every = frozenset(modes.batches).union(*[present(leaves[i]._value) for i in places])
        self.tracked = [i for i in places if modes.enabled and leaves[i]._node is not None]
        self.tensors = [within(leaves[i], self.every) for i in self.tracked]
        for i, t in zip(self.tracked, self.tensors, strict=True):
            leaves[i] = t
        self.is_tensor = set(places)
        self.leaves = [x._value if i in self.is_tensor else x for i, x in enumerate(leaves)]

    def nested(self, tracked: Sequence[Tensor] | None = None) -> list[Any]:
        """Return the arguments again: constants, but for the tracked leaves if they are given."""
        out = [wrap(x) if i in self.is_tensor else x for i, x in enumerate(self.leaves)]
        for i, t in zip(self.tracked, tracked or (), strict=False):
            out[i] = t
        return unflatten(self.structure, out)

    def connected(self, node: Node | None) -> list[Tensor]:
        """Return the tracked leaves: connected to the parents of a call's node, or constants."""
        parents: Sequence[Any] = [None] * len(self.tracked) if node is None else node.parents
        return [
            wrap(self.leaves[i], parent) for i, parent in zip(self.tracked, parents, strict=True)
        ]


def record(owner: Owner, given: Given, results: Sequence[Tensor], saved: Any) -> list[Tensor]:
    """Return the results of a call, recorded as one node.

    Args:
        given: its arguments; at least one leaf is tracked.
        results: its results; those that are not floating become constants.
        saved: what the rules read: ``saved.bound(node)`` returns it connected to the graph,
            ``saved.bound(None)`` as constants.
    """
    values = [within(wrap(y._value), given.every) for y in results]
    derivative = CallDerivative(owner, given, values)
    parents = tuple([x._node for x in given.tensors])
    given.tensors = []  # a tape keeps values, not the Tensors that its user holds
    xp = values[0].backend
    if len(values) == 1:
        y = values[0]._value
        if not values[0].dtype.is_floating_point:
            return values
        return [wrap(y, Node(derivative, parents, saved, {}, xp, y.shape, y.dtype, None))]  # type: ignore[arg-type]
    hub = Node(derivative, parents, saved, {}, xp, None, None, None)  # type: ignore[arg-type]
    return [wrap(t._value, result_node(hub, i, t._value)) for i, t in enumerate(values)]


def result_node(node: Node, position: int, value: Any) -> Node | None:
    """Return the node of one result of a call, from the call's own.

    A result has one node only, its user's: the walk back takes what arrives there for the whole
    cotangent, and a derivative with respect to it must see what the rules read of it too.
    """
    if node.shape is not None:
        return node
    ports = node.derivative.ports
    known = ports[position]() if position in ports else None
    if known is None:
        known = port_of(node, position, value, node.xp)
        if known is not None:
            ports[position] = ref(known)
    return known


class CallDerivative:
    """The derivative of one call: it checks what the owner's rules return."""

    names = ()

    def __init__(self, owner: Owner, given: "Given", results: Sequence[Tensor]) -> None:
        self.op, self.shown = owner, given.tracked
        self.positions = tuple(range(len(given.tracked)))
        self.ports: dict[int, ref[Node]] = {}  # of several results: their nodes, while they live
        self.inputs = [Place(x, given.every) for x in given.tensors]
        self.results = [Place(y, given.every) for y in results]
        self.floating = [i for i, r in enumerate(self.results) if r.dtype.is_floating_point]

    def lifted(self, node: Node, lift: Any) -> Any:
        """Return what the rules read, connected to the graph."""
        return node.saved.bound(node)

    def pull(self, node: Node, xp: Any, saved: Any, g: Any) -> list[Any]:
        raw = xp is not TENSORS
        given = g if isinstance(g, dict) else {0: g}
        with no_grad() if raw else enable_grad():
            known = saved.bound(None) if raw else saved
            gs: list[Any] = [_tensor(given.get(i)) for i in range(len(self.results))]
            if self.op.pulls:
                parts = self._pulled(known, gs)
            else:
                parts = self._transposed(
                    lambda ts: self._floating(self._pushed(known, ts)),
                    self.inputs,
                    self._floating(gs),
                )
        return [_raw(part) for part in parts] if raw else parts

    def push(self, node: Node, xp: Any, saved: Any, tangents: list[Any]) -> Any:
        raw = xp is not TENSORS
        with no_grad() if raw else enable_grad():
            known = saved.bound(None) if raw else saved
            ts = [_tensor(t) for t in tangents]
            if self.op.pushes:
                found = self._pushed(known, ts)
            else:
                of_floating = self._transposed(
                    lambda gs: self._pulled(known, self._among_results(gs)),
                    self._floating(self.results),
                    ts,
                )
                found = self._among_results(of_floating)
        out = [_raw(t) for t in found] if raw else found
        return out[0] if node.shape is not None else out

    def _floating(self, of_results: Sequence[Any]) -> list[Any]:
        return [of_results[i] for i in self.floating]

    def _among_results(self, floating: Sequence[Any]) -> list[Any]:
        out: list[Any] = [None] * len(self.results)
        for i, t in zip(self.floating, floating, strict=True):
            out[i] = t
        return out

    def _transposed(self, linear: Callable[[Any], Any], places: Any, given: list[Any]) -> Any:
        """Return Lᵀ g for the linear map L that a rule is, by a run of it on variables."""
        batches = [present(g._value) for g in given if g is not None]
        also = frozenset[Batch]().union(*batches)
        kept: list[Any] = []

        def run_rule(*variables: Tensor) -> list[Tensor]:
            out = linear(list(variables))
            kept.extend(g for t, g in zip(out, given, strict=True) if t is not None)
            return [t for t in out if t is not None]

        zeros = [place.zeros(also) for place in places]
        run = Run(self.op.name, run_rule, zeros, None)
        lost = [i for i, t in enumerate(run.outputs) if not _reaches(t, run)]
        if lost:
            self._refuse_lost(linear, zeros, lost)
        return run.pull(kept, given=False)

    def _refuse_lost(self, linear: Callable[[Any], Any], zeros: Any, lost: list[int]) -> None:
        """Raise if parts of a rule's result are not connected to what it maps, yet depend on it.

        They would be a zero derivative, in silence. A map that is zero is zero on ones, too.
        """
        with no_grad():
            found = [t for t in linear([z + 1 for z in zeros]) if t is not None]
        for i in lost:
            value = whole(found[i])
            if not value.backend.level and bool(FUNCTIONS["any"](value != 0)):
                raise GradError(
                    f"{self.op.name}: its rule takes the values out of what it maps (detach(), "
                    "item(), numpy()), so that it has no transpose, which the other mode needs; "
                    "write it with Tensors alone, or give a rule for that mode too (a Function's "
                    "jvp)"
                )

    def _pulled(self, known: Any, gs: list[Any]) -> list[Any]:
        full = [p.zeros() if g is None else g for g, p in zip(gs, self.results, strict=True)]
        parts = self.op.pull(known, full)
        return self._checked(parts, self.inputs, "gradient", "input")

    def _pushed(self, known: Any, ts: list[Any]) -> list[Any]:
        full = [p.zeros() if t is None else t for t, p in zip(ts, self.inputs, strict=True)]
        found = self.op.push(known, full)
        return self._checked(found, self.results, "tangent", "result")

    def _checked(self, parts: list[Any], places: list[Place], what: str, of: str) -> list[Any]:
        """Return what a rule returned as Tensors of the right shape and dtype; None stays.

        Raises:
            GradError: a shape differs.
        """
        out: list[Any] = []
        for i, (part, place) in enumerate(zip(parts, places, strict=True)):
            if part is None or not place.dtype.is_floating_point:
                out.append(None)
                continue
            t = part if isinstance(part, Tensor) else wrap(place.xp.asarray(part))
            if t.shape != place.shape:
                raise GradError(
                    f"{self.op.name}: its rule returned a {what} of shape {t.shape} for {of} "
                    f"{self.shown[i] if of == 'input' else i} of shape {place.shape}"
                )
            out.append(as_tensor(t, dtype=place.dtype))
        return out


def _reaches(t: Tensor, run: Run) -> bool:
    """Say whether a result depends on the variables of its run."""
    return t._node is not None and not set(run.nodes).isdisjoint(ancestors([t._node], run.since))


def whole(t: Tensor) -> Tensor:
    """Return the array of all examples of a batched Tensor, as a constant."""
    return wrap(t.backend.whole(t._value))


def _tensor(x: Any) -> Any:
    return x if x is None or isinstance(x, Tensor) else wrap(x)


def _raw(x: Any) -> Any:
    return None if x is None else x._value


def refuse_captured(name: str, what: str, nest: Any) -> None:
    """Raise if anything in a nest is connected to a Tensor outside: its gradient would be lost.

    The nest was computed from constants, so that only what a function captured can be recorded.
    """
    roots = [t._node for t in flatten(nest)[0] if isinstance(t, Tensor) and t._node is not None]
    if roots and outside(roots, -1, set()):
        raise GradError(
            f"{name}: {what} uses a Tensor that requires a gradient and is not an argument; its "
            f"gradient would be lost. Pass it to {name} as an argument, or use its .detach()"
        )


def fitting(nest: Any, structure: Structure, what: str) -> list[Any]:
    """Return the leaves of a nest that is to be nested as another; all None for None.

    Raises:
        ShapeError: it is nested otherwise.
    """
    count = _leaves(structure)
    if nest is None:
        return [None] * count
    leaves, form = flatten(nest)
    if form.form != structure.form:
        raise ShapeError(f"{what} must be nested as what it belongs to ({count} leaves), or None")
    return leaves


def _leaves(structure: Structure) -> int:
    return 1 if structure.build is None else sum(_leaves(child) for child in structure.children)
