"""Where an element lies: integer expressions, linear in the variables of a kernel's loops.

Movement costs nothing: reshape, permute, slice and broadcast only change the expressions by
which a loop finds its operands. A reshape needs quotients and remainders; these are exact, and
linear again, when the loops are cut finely enough. `Split` says which loop to cut where.
"""

from collections.abc import Sequence
from typing import Any

__all__ = ["Affine", "Split", "Unaligned", "Var", "delinearised", "linearised"]


class Var:
    """A loop variable, from 0 up to its extent."""

    __slots__ = ("extent", "name")

    def __init__(self, extent: int, name: str) -> None:
        self.extent, self.name = extent, name

    def __repr__(self) -> str:
        return f"{self.name}<{self.extent}"


class Split(Exception):
    """A loop must be cut in two, the inner one `inner` long, before an index is linear in it."""

    def __init__(self, var: Var, inner: int) -> None:
        super().__init__(f"cut {var!r} by {inner}")
        self.var, self.inner = var, inner


class Unaligned(Exception):
    """An index is not linear in the loops however they are cut.

    Attributes:
        value: what must lie in memory, to be read there; None where that is not known yet.
    """

    def __init__(self, value: Any = None) -> None:
        super().__init__(f"{value!r} cannot be computed in these loops")
        self.value = value


class Affine:
    """constant + Σ coefficient · variable.

    Attributes:
        parts: where it was made of an index, axis by axis, that and the shape; else None. Behind a
            guard an index may lie outside of its axes, and then cannot be found by division.
    """

    __slots__ = ("constant", "parts", "terms")

    def __init__(self, constant: int = 0, terms: dict[Var, int] | None = None) -> None:
        self.constant, self.terms = constant, terms or {}
        self.parts: tuple[Index, Sequence[int]] | None = None

    @classmethod
    def of(cls, var: Var) -> "Affine":
        """Return the variable; 0 if it has only that value."""
        return cls(0, {var: 1} if var.extent > 1 else {})

    def __add__(self, other: "Affine | int") -> "Affine":
        if isinstance(other, int):
            return Affine(self.constant + other, self.terms) if other else self
        if not other.terms:
            return self + other.constant
        terms = dict(self.terms)
        for var, k in other.terms.items():
            k += terms.pop(var, 0)
            if k:
                terms[var] = k
        return Affine(self.constant + other.constant, terms)

    def __mul__(self, k: int) -> "Affine":
        if k == 1:
            return self
        if k == 0:
            return ZERO
        return Affine(self.constant * k, {v: c * k for v, c in self.terms.items()})

    def key(self) -> tuple[Any, ...]:
        """Return something equal for equal expressions."""
        return (self.constant, frozenset(self.terms.items()))

    def coefficient(self, var: Var) -> int:
        return self.terms.get(var, 0)

    def bounds(self) -> tuple[int, int]:
        """Return the smallest and the largest value."""
        low = high = self.constant
        for var, k in self.terms.items():
            if k > 0:
                high += k * (var.extent - 1)
            else:
                low += k * (var.extent - 1)
        return low, high

    def divided(self, d: int) -> tuple["Affine", "Affine"]:
        """Return quotient and remainder by d; the expression is known not to be negative.

        Raises:
            Split: a loop must be cut first.
            Unaligned: that would not help.
        """
        if d == 1:
            return self, ZERO
        low, high = self.bounds()
        if low >= 0 and high < d:
            return ZERO, self
        q_constant, r_constant = divmod(self.constant, d)
        quotient, rest = {}, {}
        for var, k in self.terms.items():
            if k % d:
                rest[var] = k
            else:
                quotient[var] = k // d
        r = Affine(r_constant, rest)
        low, high = r.bounds()
        if low >= 0 and high < d:
            return Affine(q_constant, quotient), r
        for var, k in sorted(rest.items(), key=lambda item: -abs(item[1])):
            inner, off = divmod(d, abs(k))
            if not off and 1 < inner < var.extent and var.extent % inner == 0:
                raise Split(var, inner)
        raise Unaligned

    def __repr__(self) -> str:
        parts = [f"{k}·{v.name}" if k != 1 else v.name for v, k in self.terms.items()]
        if self.constant or not parts:
            parts.append(str(self.constant))
        return " + ".join(parts)


ZERO = Affine()

Index = tuple[Affine, ...]  # one expression an axis


def strides_of(shape: Sequence[int]) -> list[int]:
    """Return the row-major strides of a shape, in elements."""
    strides = [1] * len(shape)
    for i in range(len(shape) - 2, -1, -1):
        strides[i] = strides[i + 1] * shape[i + 1]
    return strides


def linearised(index: Index, shape: Sequence[int]) -> Affine:
    """Return the place of an element among all of an array, row by row."""
    total = ZERO
    for i, stride in zip(index, strides_of(shape), strict=True):
        total = total + i * stride
    found = Affine(total.constant, total.terms)
    found.parts = index, shape
    return found


def delinearised(place: Affine, shape: Sequence[int]) -> Index:
    """Return the index, axis by axis, of the element at a place.

    Raises:
        Split, Unaligned: see `Affine.divided`.
    """
    if place.parts is not None and place.parts[1] == shape:
        return place.parts[0]
    out = []
    for n, stride in zip(shape, strides_of(shape), strict=True):
        if n == 1:
            out.append(ZERO)
            continue
        quotient, place = place.divided(stride)
        out.append(quotient)
    return tuple(out)
