"""A program run beside the function that it was made of, and compared with it.

How far the two may lie apart depends on the function: Adam makes a whole step of a gradient that
is nothing but rounding. So the function is run a second time on inputs whose last bits differ, and
what that changes, a program may change too.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

from atled.compile.prepared import Leaves, Prepared, target
from atled.config import changes
from atled.core.guard import MISSING
from atled.core.tensor import Tensor
from atled.errors import TraceError
from atled.tree import flatten

__all__ = ["verified"]

# How far results may lie apart: relative to the largest element of an array; and how many times
# as far as two runs of the function on inputs whose last bits differ.
TOLERANCES = {"float16": 2e-2, "bfloat16": 1e-1, "float32": 1e-4, "float64": 1e-9}
SPREAD = 16.0

State = list[tuple[str, Any]]


def verified(name: str, prepared: Prepared, function: Callable[[], Any], leaves: Leaves) -> Any:
    """Call a function and its program on the same state; leave what the function leaves.

    Args:
        name: of the function.
        prepared: its program, which is `ready`.
        function: calls it.
        leaves: the Tensors among the arguments.

    Raises:
        TraceError: a result or a state differs; the first number that does is shown.
    """
    places = _Places(prepared, leaves)
    before = places.read()
    expected = function()
    places.settle()
    after = places.read()
    wanted = [*_results(expected), *places.state(after)]
    places.write(before)
    again = [*_results(function()), *places.state(places.read())]
    _compare(wanted, again, [], "{label} of {name} differs from call to call: {difference}", name)
    places.write(before)
    nearby = _nearby(places, function)
    places.write(before)
    if not prepared.ready(leaves):
        raise TraceError(f"{name}: the function changed what its program relies on")
    try:
        found = [*_results(prepared.run(leaves)), *places.state(places.read())]
    finally:
        places.write(after)
    _compare(wanted, found, nearby, "{label} of {name}, compiled, differs: {difference}", name)
    return expected


def _compare(wanted: State, found: State, nearby: State, message: str, name: str) -> None:
    for i, ((label, a), (_, b)) in enumerate(zip(wanted, found, strict=True)):
        spread = _distance(a, nearby[i][1]) if len(nearby) == len(wanted) else 0.0
        difference = _difference(a, b, SPREAD * spread)
        if difference:
            raise TraceError(message.format(label=label, name=name, difference=difference))


def _nearby(places: "_Places", function: Callable[[], Any]) -> State:
    """Return results and state for inputs whose last bits differ; [] if the function fails."""
    places.disturb()
    try:
        result = function()
    except Exception:  # a check of the function's own, on the edge
        return []
    return [*_results(result), *places.state(places.read())]


def _distance(a: Any, b: Any) -> float:
    """Return the largest finite difference of two arrays or numbers."""
    if isinstance(a, float) and isinstance(b, float):
        return abs(a - b) if math.isfinite(a - b) else 0.0
    if not hasattr(a, "shape") or getattr(b, "shape", None) != a.shape:
        return 0.0
    pairs = zip(a.reshape(-1).tolist(), b.reshape(-1).tolist(), strict=True)
    return max(_finite([x - y for x, y in pairs]), key=abs, default=0.0)


class _Places:
    """Everything that a program reads or changes, to be kept and put back."""

    def __init__(self, prepared: Prepared, leaves: Leaves) -> None:
        record = prepared.record
        self._prepare = record.prepare
        refs = [c[0] for c in record.captured if not isinstance(c[0], tuple)]
        self.tensors = [target(ref, leaves) for ref in refs]
        mappings = [c.of for c in record.changes if c.kind in ("item", "number")]
        self.mappings = list({id(m): m for m in mappings}.values())
        self.names = [(c.of, c.key) for c in record.changes if c.kind == "rebind"]

    def settle(self) -> None:
        """Bring state into the places where programs find it."""
        for prepare in self._prepare:
            prepare()

    def read(self) -> Any:
        """Return all there is. A Tensor's arrays are never written into: no copies."""
        self.settle()
        kept = []
        for t in self.tensors:
            kept.append((t._value, t._grad, None if t._grad is None else t._grad._value))
        return kept, [dict(m) for m in self.mappings], [m.get(k, MISSING) for m, k in self.names]

    def write(self, kept: Any) -> None:
        """Put back what `read` returned."""
        values, entries, named = kept
        for t, (value, grad, inner) in zip(self.tensors, values, strict=True):
            t._value, t._grad = value, grad
            if grad is not None:
                grad._value = inner
        for mapping, own in zip(self.mappings, entries, strict=True):
            mapping.clear()
            mapping.update(own)
        changes.modules += len(self.names)
        for (mapping, key), x in zip(self.names, named, strict=True):
            if x is MISSING:
                mapping.pop(key, None)
            else:
                mapping[key] = x

    def disturb(self) -> None:
        """Change the last bit of about half of all numbers; never away from zero."""
        import numpy as np

        dice = np.random.default_rng(0)
        for t in self.tensors:
            if t.dtype.is_floating_point:
                value = np.asarray(t._value)
                less = dice.integers(0, 2, value.shape) * np.finfo(value.dtype).eps
                t._value = (value * (1 - less)).astype(value.dtype)

    def state(self, kept: Any) -> State:
        """Return what `read` returned as labelled arrays and numbers."""
        values, entries, named = kept
        found: State = []
        for t, (value, _, grad) in zip(self.tensors, values, strict=True):
            found += [(f"the value of a Tensor of shape {t.shape}", value)]
            found += [(f"the gradient of a Tensor of shape {t.shape}", grad)]
        for own in entries:
            found += [(f"the state {k!r}", x) for k, x in own.items()]
        for (_, key), x in zip(self.names, named, strict=True):
            found.append((f"{key!r}", x._value if isinstance(x, Tensor) else x))
        return found


def _results(nest: Any) -> State:
    leaves = flatten(nest)[0]
    return [(f"result {i}", x._value if isinstance(x, Tensor) else x) for i, x in enumerate(leaves)]


def _difference(a: Any, b: Any, spread: float) -> str:
    """Describe how b differs from a by more than `spread` and rounding; "" if it does not."""
    if not hasattr(a, "shape") or not hasattr(b, "shape"):
        floats = isinstance(a, float) and isinstance(b, float)
        near = floats and math.isclose(a, b, rel_tol=1e-9, abs_tol=abs(spread))
        same = a is b or near or (type(a) is type(b) and not hasattr(a, "shape") and _equal(a, b))
        return "" if same else f"{b!r} instead of {a!r}"[:200]
    if a.shape != b.shape or a.dtype != b.dtype:
        return f"{b.dtype}{list(b.shape)} instead of {a.dtype}{list(a.shape)}"
    flat, other = a.reshape(-1).tolist(), b.reshape(-1).tolist()
    allowed = TOLERANCES.get(a.dtype.name, 0.0) * max(map(abs, _finite(flat)), default=0.0)
    allowed += abs(spread)
    for i, (x, y) in enumerate(zip(flat, other, strict=True)):
        if x != y and not (x != x and y != y) and not abs(x - y) <= allowed:
            return f"{y!r} instead of {x!r} at element {i} of shape {tuple(a.shape)}"
    return ""


def _equal(a: Any, b: Any) -> bool:
    try:
        return bool(a == b)
    except Exception:  # a foreign object's own comparison
        return False


def _finite(numbers: list[Any]) -> Iterator[float]:
    return (x for x in numbers if math.isfinite(x))
