"""Why a Tensor gets no gradient: where the path from it to a loss ends.

The tape holds paths that gradients take. Where one ends - at `detach()`, under `no_grad`, at an
operation without derivative - the constant that came out carries a `Stop`: the reason, the
user's line, and weak references to the nodes before it. Walking back from the loss over both
finds the way that values took from w, and the first place where gradients cannot follow.
"""

from collections import deque
from typing import Any

from atled.core.tape import Leaf, Node, ancestors
from atled.core.tensor import Stop, Tensor
from atled.inspect.facts import is_freed, operation

__all__ = ["Explanation", "why_no_grad"]

# A step of the walk: the node reached, and the Stop (with the node that took its constant)
# that was crossed to reach it.
Crossed = tuple[Stop, Node | None]

REMEDIES = {
    "detach()": "leave detach() out where the gradient shall flow",
    "no_grad": "compute it outside no_grad",
    "no derivative": "use an operation that has a derivative in its place",
}


class Explanation(str):
    """A text that prints as it reads, also at the interpreter's prompt."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def why_no_grad(loss: Tensor, w: Tensor) -> Explanation:
    """Explain where the path of gradients from `w` to `loss` ends, or that it does not.

    Args:
        loss: what `backward()` is, or was, called on.
        w: a Tensor whose `.grad` is missing.

    Returns:
        The explanation, a `str`: what cuts the path, at which line, and what to do.

    Raises:
        TypeError: one of them is not a Tensor.

    Example:
        >>> import atled as at
        >>> w = at.tensor([1.0, 2.0], requires_grad=True)
        >>> loss = (w.argmax() * 1.0).sum()
        >>> why_no_grad(loss, w)
        No gradient flows from w to the loss: the path ends where argmax has no derivative: ...
    """
    for name, value in (("loss", loss), ("w", w)):
        if not isinstance(value, Tensor):
            found = type(value).__name__
            raise TypeError(f"why_no_grad: {name} must be an atled Tensor; found {found}")
    return Explanation(_explain(loss, w))


def _explain(loss: Tensor, w: Tensor) -> str:
    if w._node is None:
        return _not_required(w)
    passed = [] if loss._node is None else ancestors([loss._node])
    if w._node in passed:
        return _connected(loss, w)
    freed = [node for node in passed if is_freed(node)]
    if freed:
        got = "" if w.grad is None else ", and w has a .grad from an earlier pass"
        return (
            f"The graph of the loss was freed by an earlier backward pass{got}, so the path from "
            "w cannot be seen any more. Call backward(retain_graph=True) to walk it again, or "
            "why_no_grad before backward()."
        )
    crossed = _stops_between(loss, w._node)
    if crossed:
        return _cut(crossed)
    if loss._node is None:
        return _no_graph(loss)
    if w._node.number > loss._node.number:
        return _made_later(w)
    return _unused(w, passed)


def _not_required(w: Tensor) -> str:
    if not w.dtype.is_floating_point:
        return (
            f"w is {w.dtype.name}: only floating Tensors have gradients. Make it with "
            "dtype=float32, or use w.astype(float32), before requires_grad_()."
        )
    if w._stop is not None:
        return (
            f"w does not require a gradient: it is a constant made where {_reason(w._stop)}"
            f"{_at(w._stop)}\nAsk for the gradient of what it was made from, or call "
            "w.requires_grad_() before computing with it."
        )
    return (
        "w does not require a gradient. Call w.requires_grad_() before computing with it "
        "(or make it with requires_grad=True)."
    )


def _connected(loss: Tensor, w: Tensor) -> str:
    if loss is w:
        start = "w is the loss itself"
    else:
        start = "A path leads from w to the loss"
    if w.grad is not None:
        return f"{start}, and w.grad is there, of shape {w.grad.shape}."
    if not w.is_leaf:
        return (
            f"{start}, but w is a result, not a leaf: its gradient passes through and is not "
            "kept. Call w.retain_grad() before backward()."
        )
    return f"{start}. w.grad is None because backward() has not been called since it was made."


def _no_graph(loss: Tensor) -> str:
    if loss._stop is None:
        return (
            "The loss has no graph: nothing that it was computed from required a gradient at the "
            "time. Call w.requires_grad_() before computing the loss."
        )
    return (
        f"The loss has no graph: it was computed from a constant made where {_reason(loss._stop)}"
        f"{_at(loss._stop)}\nWhat lay before that is not alive any more, or does not lead to w."
        f"{_remedy([loss._stop])}"
    )


def _made_later(w: Tensor) -> str:
    if w.is_leaf:
        return (
            "w began to require a gradient after the loss was computed. Call w.requires_grad_() "
            "first, then compute the loss."
        )
    return (
        "The present value of w was made after the loss was computed. If its name was given a "
        "new value (an in-place update such as w += 1 or w[i] = 0), the loss depends on the old "
        "one: keep that under a name of its own."
    )


def _unused(w: Tensor, passed: list[Node]) -> str:
    assert w._node is not None
    before = set(passed)
    if not w.is_leaf and any(n in before for n in ancestors([w._node]) if n.derivative):
        return (
            "The loss does not use the present value of w, but one that w was computed from: if w "
            "was updated in place (w += 1, w[i] = 0), the loss depends on its old value. Keep "
            "that under a name of its own."
        )
    leaves = [node for node in passed if isinstance(node, Leaf)]
    listed = ", ".join(str(tuple(leaf.shape)) for leaf in leaves[:5])
    more = ", …" if len(leaves) > 5 else ""
    twin = any(tuple(leaf.shape) == w.shape for leaf in leaves)
    hint = "; one of them has the shape of w: was w copied?" if twin else ""
    return (
        f"w (shape {w.shape}) is not used in computing the loss, or was used before it required "
        f"a gradient. The loss depends on {len(leaves)} other "
        f"{'leaf' if len(leaves) == 1 else 'leaves'} of shape {listed}{more}{hint}."
    )


def _cut(crossed: list[Crossed]) -> str:
    parts = []
    for i, (stop, taker) in enumerate(crossed):
        lead = "the path ends" if i == 0 else "and, further back,"
        took = "" if taker is None else f"\n  its result was a constant to {_described(taker)}"
        parts.append(f"{lead} where {_reason(stop)}{_at(stop)}{took}")
    text = "\n".join(parts)
    return f"No gradient flows from w to the loss: {text}{_remedy([s for s, _ in crossed])}"


def _described(node: Node) -> str:
    shape = "" if node.shape is None else f" (result of shape {tuple(node.shape)})"
    return f"{operation(node)}{shape}"


def _reason(stop: Stop) -> str:
    return "detach() was called" if stop.reason == "detach()" else stop.reason


def _at(stop: Stop) -> str:
    return f"\n  at {stop.place}" if stop.place else ""


def _remedy(stops: list[Stop]) -> str:
    found = [remedy for word, remedy in REMEDIES.items() if any(word in s.reason for s in stops)]
    return f"\nTo mend it: {'; '.join(found)}." if found else ""


def _stops_between(loss: Tensor, goal: Node) -> list[Crossed]:
    """Return the fewest stops that lie on a way of values from `goal` to the loss.

    A search in which a parent costs nothing and a stop one step: the first way found
    crosses the fewest. Empty when there is no way.
    """
    came: dict[Node, tuple[Node | None, Stop | None]] = {}
    queue: deque[tuple[Node, Node | None, Stop | None]] = deque()

    def enter(marks: Any, taker: Node | None) -> None:
        for stop in [] if marks is None else marks.chain():
            alive = [made() for made in stop.nodes]
            queue.extend((node, taker, stop) for node in alive if node is not None)

    if loss._node is not None:
        queue.append((loss._node, None, None))
    else:
        enter(loss._stop, None)
    while queue:
        node, before, stop = queue.popleft()
        if node in came:
            continue
        came[node] = before, stop
        if node is goal:
            return _trail(came, node)
        queue.extendleft((parent, node, None) for parent in node.parents)
        enter(node.stop, node)
    return []


def _trail(came: dict[Node, tuple[Node | None, Stop | None]], node: Node | None) -> list[Crossed]:
    crossed: list[Crossed] = []
    while node is not None:
        before, stop = came[node]
        if stop is not None:
            crossed.append((stop, before))
        node = before
    return crossed[::-1]
