"""What a traced value can be: whether it may be infinite or NaN though all data are finite.

`keep` guards a derivative that may be. A guard costs up to 15 % of a kernel that computes much,
so that a division by √(var + ε) shall not have one. The answers are careful: a value is *tame*
where that can be seen from the operations it is made of, taking overflow in sums and products
aside.
"""

import math
from typing import Any

from atled.core.graph import COMPARISONS, Value

__all__ = ["is_tame"]

# Operations whose result is infinite or NaN for some finite operands.
_WILD = frozenset(
    """
divide pow sqrt exp expm1 exp2 log log1p log2 log10 asin acos acosh atanh sinh cosh atan2 hypot
logaddexp erfinv lgamma remainder floor_divide call cumulative_prod prod
""".split()
)
_BOUNDED = COMPARISONS | frozenset("tanh sigmoid sin cos atan erf sign isnan isfinite".split())
_SAME = frozenset("reshape permute_dims broadcast_to slice astype max min concat".split())
NOTHING, NOT_NEGATIVE, POSITIVE = 0, 1, 2  # what is known of a value's sign
_LEAST = 1e-30  # a positive number is at least so large: its inverse is finite in float32
_DEPTH = 40  # operations that are looked through for a sign


Memo = dict[Any, Any]  # answers known already: of "tame" and "sign" of values


def is_tame(v: Value, memo: Memo) -> bool:
    """Say whether v is finite for finite data, overflow in sums and products aside."""
    stack, seen = [v], {v}
    while stack:
        x = stack.pop()
        known = memo.get(("tame", x))
        if known is None and not _is_tame_itself(x, memo):
            known = False
        if known is False:
            memo["tame", v] = False
            return False
        if known is None and x.op not in _BOUNDED:
            stack += [y for y in x.inputs if y not in seen]
            seen.update(x.inputs)
    memo.update((("tame", x), True) for x in seen)
    return True


def _is_tame_itself(v: Value, memo: Memo) -> bool:
    """Say whether the operation of v gives finite results for its operands, if these are finite."""
    if v.op == "constant":
        return abs(v.static["value"]) < math.inf
    if v.op == "divide":
        return sign(v.inputs[1], memo) == POSITIVE
    if v.op == "sqrt":
        return sign(v.inputs[0], memo) >= NOT_NEGATIVE
    if v.op == "log":
        return sign(v.inputs[0], memo) == POSITIVE
    if v.op == "exp":  # as in exp(-x²), and in softmax
        return _is_not_positive(v.inputs[0], memo)
    return v.op not in _WILD


def sign(v: Value, memo: Memo, depth: int = _DEPTH) -> int:
    """Return what is known of the sign of all elements of v, data being anything."""
    found: int | None = memo.get(("sign", v))
    if found is None:
        found = memo["sign", v] = _sign(v, memo, depth) if depth else NOTHING
    return found


def _sign(v: Value, memo: Memo, depth: int) -> int:
    if v.op == "constant":
        number = v.static["value"]
        return POSITIVE if number > _LEAST else NOT_NEGATIVE if number >= 0 else NOTHING
    if _is_sum_of_shifted_exponentials(v):
        return POSITIVE
    if v.op == "log" and _is_sum_of_shifted_exponentials(_moved(v.inputs[0])):
        return NOT_NEGATIVE
    if v.op in ("square", "abs", "exp", "exp2", "sigmoid"):
        return NOT_NEGATIVE
    if v.op == "multiply" and v.inputs[0] is v.inputs[1]:
        return NOT_NEGATIVE
    known = [sign(x, memo, depth - 1) for x in v.inputs]
    if v.op in _SAME or v.op == "sqrt":
        return min(known)
    if v.op == "add":
        return max(known) if min(known) else NOTHING
    if v.op == "maximum":
        return max(known)
    if v.op in ("sum", "multiply", "divide"):
        return min(NOT_NEGATIVE, *known)
    return NOTHING


def _is_not_positive(v: Value, memo: Memo) -> bool:
    """Say whether no element of v can be positive: -x², x - max x, and such minus such."""
    if v.op == "negative":
        return sign(v.inputs[0], memo) >= NOT_NEGATIVE
    if v.op == "subtract":
        a, b = v.inputs
        return _shift(v) is not None or (
            _is_not_positive(a, memo) and sign(_moved(b), memo) >= NOT_NEGATIVE
        )
    return False


def _shift(v: Value) -> Value | None:
    """Return max x of x - max x, or None."""
    if v.op == "subtract":
        top = _moved(v.inputs[1])
        if top.op == "max" and top.inputs[0] is v.inputs[0]:
            return top
    return None


def _is_sum_of_shifted_exponentials(v: Value) -> bool:
    """Say whether v is Σ exp(x - max x), over one set of axes: it is 1 at least."""
    if v.op != "sum" or v.inputs[0].op != "exp":
        return False
    top = _shift(v.inputs[0].inputs[0])
    return top is not None and top.static["axis"] == v.static["axis"]


def _moved(v: Value) -> Value:
    """Return what is only reshaped and repeated in v."""
    while v.op in ("reshape", "broadcast_to"):
        (v,) = v.inputs
    return v
