"""Where a derivative is zero whatever the values: what keeps 0 · ∞ from becoming NaN.

The cotangent of √x in ``where(x > 0, sqrt(x), 0)`` is zero at x = 0 since that branch was not
taken, and the derivative behind it is infinite; the answer is 0 there. In ``sqrt(x)**2`` the
cotangent of √x happens to be zero at x = 0, the answer is 1, and 0 · ∞ cannot tell: NaN is
honest. So it does not do to look for zeros among the values. A walk carries a *support* beside
each cotangent: an array of its shape that is zero where no path leads on, because a mask, an
index, a larger operand or a constant factor of zero has cut it. Where the support is zero, the
product with a derivative that may be infinite is zero too.

Almost always all is supported, which None stands for. Supports begin at records that choose, or
at zeros of the user's own cotangents, as in the rows of a Jacobian. They pass an operation as its
facet `passes` says, and are followed only where they lead to a record with the facet `singular`.
Elsewhere a walk pays for one look at its nodes.
"""

from collections.abc import Iterable
from typing import Any

from atled.backends.protocol import NAMESPACES
from atled.config import settings
from atled.core.mode import no_grad
from atled.core.op import SCALARS, Derivative

__all__ = ["Masks", "constant", "have_nan", "may_try", "sum_to_shape"]

BEGIN = (
    "chooses",
    "cuts",
    "factor",
)  # the ways that make a support partial where all was supported
CUTS = ("cuts", "factor")  # of these, the ones that multiply what they cut off by 0
Support = Any  # an array; None where everything is supported; {port: support} of several results
Seeds = list[tuple[Any, Any]]  # nodes; arrays whose zeros count, None where everything counts


class Masks:
    """The supports of one walk over the tape.

    Attributes:
        leading: the nodes whose support is of use, since a singular one comes on the way.
        at: the support of what has arrived at a node so far.
    """

    __slots__ = ("at", "leading")

    def __init__(self, leading: set[Any], seeds: Seeds, tensors: Any = None) -> None:
        self.leading, self.at = leading, dict[Any, Support]()
        with no_grad():
            for node, g in seeds:
                if node in leading:
                    self._arrive(node, None if g is None else _indicator(tensors, g))

    def _arrive(self, node: Any, support: Support) -> None:
        if node in self.at:
            before = self.at[node]
            support = None if before is None or support is None else before + support
        self.at[node] = support

    # -- back

    @classmethod
    def back(cls, nodes: list[Any], seeds: Seeds, tensors: Any = None) -> "Masks | None":
        """Return the masks of a walk back over nodes, oldest first; None if there are none.

        Args:
            seeds: all that the walk starts from: nodes, with the arrays whose zeros count (the
                user's own cotangents), or None where nothing is masked.
            tensors: the namespace of the seeds if they are Tensors, in a lifted walk.
        """
        if not _may_begin(nodes, seeds):
            return None
        leading: set[Any] = set()
        for node in nodes:
            if _is_singular(node) or (_way(node) and not leading.isdisjoint(node.parents)):
                leading.add(node)
        return cls(leading, seeds, tensors) if leading else None

    def hooked(self, node: Any, tensors: Any, g: Any) -> None:
        """Note that a hook has made the cotangent of a node g: what is not zero there counts."""
        if self.at.get(node) is not None:
            with no_grad():
                self._arrive(node, _indicator(tensors, g))

    def to_port(self, port: Any) -> None:
        """Hand the support of one of several results on to their common node."""
        (hub,) = port.parents
        if hub in self.leading:
            self.at.setdefault(hub, {})[port.port] = self.at.pop(port, None)

    def pulled(self, node: Any, xp: Any, saved: Any, g: Any, parts: list[Any]) -> list[Any]:
        """Return the operands' cotangents, masked; note their supports."""
        s, way = self.at.pop(node, None), _way(node) if node in self.leading else None
        if type(s) is dict and all(v is None for v in s.values()):
            s = None
        onward = not self.leading.isdisjoint(node.parents)
        cuts = way in CUTS or type(way) is tuple  # what counts is the operands' support
        masks = way and (s is not None or way in CUTS) and _is_singular(node)
        supports = None
        if (onward and (way in BEGIN or (way and s is not None))) or (masks and cuts):
            with no_grad():
                supports = _pulled(node, xp, saved, g, s, way)
        if masks:
            own = supports if cuts else [s] * len(parts)
            parts = [c if c is None or k is None else _kept(xp, c, k)
                     for c, k in zip(parts, own, strict=True)]  # type: ignore[arg-type]  # fmt: skip
        for i, parent in enumerate(node.parents):
            if parent in self.leading and parts[i] is not None:
                support = None if supports is None else supports[i]
                if support is not None and node.shapes is not None:
                    with no_grad():
                        shape = node.shapes[node.derivative.positions[i]]
                        support = sum_to_shape(xp, support, shape)
                self._arrive(parent, support)
        return parts

    # -- forward

    @classmethod
    def ahead(cls, nodes: list[Any], seeds: Seeds, tensors: Any = None) -> "Masks | None":
        """Return the masks of a walk forward over nodes, oldest first; None if there are none."""
        if not _may_begin(nodes, seeds):
            return None
        leading: set[Any] = set()
        for node in reversed(nodes):
            if _is_singular(node) or (node in leading and _way(node)):
                leading.add(node)
                leading.update(node.parents)
        return cls(leading, seeds, tensors) if leading else None

    def from_hub(self, port: Any) -> None:
        """Take the support of one of several results from their common node."""
        support = self.at.get(port.parents[0])
        if support is not None:
            self.at[port] = support[port.port]

    def pushed(self, node: Any, xp: Any, saved: Any, incoming: list[Any]) -> Any:
        """Return the tangent of a node's result, its terms masked; note its support."""
        push, way = node.derivative.push, _way(node) if node in self.leading else None
        supports = [self.at.get(p) for p in node.parents]
        if way == "cuts":
            return self._cut(node, xp, saved, incoming, supports)
        partial = any(s is not None for s in supports)
        if way in BEGIN or (way and partial):
            with no_grad():
                self.at[node] = _pushed(node, xp, saved, incoming, supports, way)
        cuts = way == "factor" or type(way) is tuple
        if not way or not (partial or way == "factor") or not _is_singular(node):
            return push(node, xp, saved, incoming)
        total = None
        for i, (t, s) in enumerate(zip(incoming, supports, strict=True)):
            if t is not None:
                term = push(node, xp, saved, [t if k == i else None for k in range(len(incoming))])
                support = self.at[node] if cuts else s
                term = term if support is None else _kept(xp, term, support)
                total = term if total is None else total + term
        return total

    def _cut(
        self, node: Any, xp: Any, saved: Any, incoming: list[Any], supports: list[Support]
    ) -> Any:
        """Do as `pushed` for a record that takes each element from one of its operands."""
        push, total, known = node.derivative.push, None, list[Support]()
        for i, (t, s) in enumerate(zip(incoming, supports, strict=True)):
            if t is not None:
                alone: list[Any] = [None] * len(incoming)
                with no_grad():
                    alone[i] = xp.ones_like(t) if s is None else s
                    support = _indicator(xp, push(node, xp, saved, alone))
                alone[i] = t
                term = push(node, xp, saved, alone)
                term = term if support is None else _kept(xp, term, support)
                total = term if total is None else total + term
                known.append(support)
        if not any(s is None for s in known):
            with no_grad():
                self.at[node] = sum(known[1:], known[0])
        return total


def may_try(seeds: Iterable[Any], nodes: list[Any]) -> bool:
    """Say whether a walk may be tried without masks, and made again if a NaN comes out.

    Seldom does one; and a slice is a mask too, whose support would cost as much as its cotangent.
    It may not where the walk is recorded or traced (what is kept zero is differentiated again, or
    cannot be seen), nor where it runs the user's code, which must not run twice.
    """
    return (
        not any(hasattr(g, "_value") or _space_of(g)[0].level for g in seeds)
        and not any(node.hooks for node in nodes)
        and all(d is None or type(d) is Derivative for d in {node.derivative for node in nodes})
    )


def have_nan(arrays: list[Any]) -> bool:
    """Say whether an element of real or batched arrays is NaN."""
    spaces: dict[Any, list[Any]] = {}
    for x in arrays:
        space, whole = _space_of(x)
        spaces.setdefault(space, []).append(whole)
    return any(space.have_nan(group) for space, group in spaces.items())


def _space_of(x: Any) -> tuple[Any, Any]:
    """Return the array that holds the elements of x, for all examples of a batch; its namespace."""
    whole = NAMESPACES[type(x)].whole(x)
    return NAMESPACES[type(whole)], whole


def constant(seeds: Iterable[tuple[Any, Any]]) -> Seeds:
    """Return seeds with None for what is recorded: its zeros depend on something."""
    return [(node, None if g is None or g._node is not None else g) for node, g in seeds]


def _may_begin(nodes: list[Any], seeds: Seeds) -> bool:
    """Say whether a support can be anything but everything, and whether that can matter."""
    if not settings.safe_gradients:
        return False
    kinds = {node.derivative for node in nodes}  # few, while there may be many nodes
    if not any(getattr(d, "singular", False) for d in kinds):
        return False
    ways = {getattr(d, "passes", None) for d in kinds}
    if "chooses" in ways or "cuts" in ways or any(g is not None for _, g in seeds):
        return True
    factors = {d for d in kinds if type(d) is Derivative and _is_factor(d)}
    return any(_may_be_zero(node) for node in nodes if node.derivative in factors)


def _is_factor(derivative: Derivative) -> bool:
    """Say whether it is of a product with a constant: one that varies is no mask."""
    return derivative.passes == "factor" and len(derivative.positions) == 1


def _may_be_zero(node: Any) -> bool:
    """Say whether the constant factor of a product may have zeros."""
    factor = (node.saved or (1,))[0]
    return type(factor) not in SCALARS or factor == 0


def _is_singular(node: Any) -> bool:
    return getattr(node.derivative, "singular", False)


def _way(node: Any) -> Any:
    """Return how supports pass a node: its record's facet, None for what has no record."""
    way = getattr(node.derivative, "passes", None)
    if way != "factor":
        return way
    return "factor" if _is_factor(node.derivative) and _may_be_zero(node) else "each"


def _pulled(node: Any, xp: Any, saved: Any, g: Any, s: Support, way: Any) -> list[Support]:
    """Return the supports of the operands' cotangents, before these are summed to their shapes."""
    if way == "each":
        return [s] * len(node.parents)
    if type(way) is tuple:
        back, _ = way
        return [back(xp, s, tuple(p.shape), **node.static) for p in node.parents]
    if way == "factor":  # not s · b, since b may be infinite
        (found,) = node.derivative.pull(node, xp, saved, xp.ones_like(g))
        return [_both(_indicator(xp, found), s)]
    if type(g) is dict:
        s = {port: xp.ones_like(c) if s is None or s.get(port) is None else s[port]
             for port, c in g.items()}  # fmt: skip
    elif s is None:
        s = xp.ones_like(g)
    found = node.derivative.pull(node, xp, saved, s)
    return [None if c is None else _indicator(xp, c) for c in found]


def _pushed(
    node: Any, xp: Any, saved: Any, incoming: list[Any], supports: list[Support], way: Any
) -> Support:
    """Return the support of the result's tangent, of those of the operands'."""
    given = [(t, s) for t, s in zip(incoming, supports, strict=True) if t is not None]
    if way == "factor":
        found = node.derivative.push(node, xp, saved, [xp.ones_like(incoming[0])])
        total = _both(_indicator(xp, found), supports[0])
    elif way in ("moves", "chooses"):
        ones = [None if t is None else xp.ones_like(t) if s is None else s
                for t, s in zip(incoming, supports, strict=True)]  # fmt: skip
        total = node.derivative.push(node, xp, saved, ones)
        if type(total) in (list, tuple):
            return [None if v is None else _indicator(xp, v) for v in total]
        total = _indicator(xp, total)
    elif any(s is None for _, s in given):
        return None
    else:
        total = sum([s for _, s in given[1:]], given[0][1])
        if way != "each":
            return way[1](xp, total, tuple(node.shape), **node.static)
    if node.shapes is not None and total is not None and tuple(total.shape) != tuple(node.shape):
        total = xp.broadcast_to(total, shape=tuple(node.shape))
    return total


def _kept(xp: Any, x: Any, support: Support) -> Any:
    """Return x with zeros where it is not supported; x itself if it is zero there anyway.

    In compiled functions a guard at each product was measured to cost up to 15 % of a kernel.
    """
    value = getattr(x, "_value", x)
    return x if NAMESPACES[type(value)].is_tame(value) else xp.keep(x, support != 0)


def _both(a: Support, b: Support) -> Support:
    return b if a is None else a if b is None else a * b


def _indicator(xp: Any, x: Any) -> Support:
    """Return 1 where x is not zero and 0 elsewhere, in the dtype of x; None if it is 1 everywhere.

    Of a traced array that cannot be seen.
    """
    value = getattr(x, "_value", x)
    space, whole = _space_of(value)
    if not space.level and bool(space.all(whole != 0, axis=None)):
        return None
    xp = NAMESPACES.get(type(x), xp)  # into a batch, or out of it, the namespace changes
    return xp.astype(x != 0, dtype=xp.dtype_of(x))


def sum_to_shape(xp: Any, g: Any, shape: tuple[int, ...]) -> Any:
    """Sum g over the axes that broadcasting added or stretched, back to `shape`."""
    have = tuple(g.shape)
    lead = len(have) - len(shape)
    axes = tuple(range(lead)) + tuple(
        lead + i for i, n in enumerate(shape) if n == 1 and have[lead + i] != 1
    )
    g = xp.sum(g, axis=axes, keepdims=True) if axes else g
    return g if tuple(g.shape) == tuple(shape) else xp.reshape(g, shape=tuple(shape))
