"""Distinct elements and bins: the Array API's unique functions, PyTorch's unique_consecutive."""

from typing import Any, NamedTuple

from atled.core.apply import apply, as_tensor
from atled.core.op import Sample
from atled.core.surface import FUNCTIONS, public, spelled
from atled.core.tensor import Tensor, wrap
from atled.dtypes import int64
from atled.ops.index import getitem, scatter
from atled.ops.shape import concat, reshape
from atled.ops.sort import argsort, searchsorted, sort


class Distinct(NamedTuple):
    """What `unique_all` returns."""

    values: Tensor
    indices: Tensor
    inverse_indices: Tensor
    counts: Tensor


class Inverse(NamedTuple):
    """What `unique_inverse` returns."""

    values: Tensor
    inverse_indices: Tensor


@public()
def unique_all(x: Any) -> Distinct:
    """Return the distinct elements, sorted, their first places, each element's number, the counts.

    A value has the gradient of its first place. NaN are distinct from one another.
    """
    x = as_tensor(x)
    flat = reshape(x, -1)
    if not flat.size:
        none = FUNCTIONS["astype"](flat, int64)
        return Distinct(flat, none, reshape(none, x.shape), none)
    order = argsort(flat)  # stable: the first place of a value leads its run
    ordered = getitem(flat, order)
    starts = _starts(ordered)
    number = FUNCTIONS["cumulative_sum"](_changes(ordered), axis=0) - 1
    inverse = apply(scatter, number, order, shape=(flat.size,))
    return Distinct(
        getitem(ordered, starts),
        getitem(order, starts),
        reshape(inverse, x.shape),
        _lengths(starts, flat.size),
    )


@public()
def unique_inverse(x: Any) -> Inverse:
    """Return the distinct elements, sorted, and for each element of x the number of its value."""
    found = unique_all(x)
    return Inverse(found.values, found.inverse_indices)


@public()
def unique_consecutive(x: Any, return_inverse: bool = False, return_counts: bool = False) -> Any:
    """Return the flattened x without elements equal to the one before; a tuple if more is asked.

    Args:
        return_inverse: also the number of the run that each element of x belongs to.
        return_counts: also the length of each run.
    """
    x = as_tensor(x)
    flat = reshape(x, -1)
    if not flat.size:
        none = FUNCTIONS["astype"](flat, int64)
        parts = [flat, reshape(none, x.shape), none]
    else:
        starts = _starts(flat)
        number = FUNCTIONS["cumulative_sum"](_changes(flat), axis=0) - 1
        parts = [getitem(flat, starts), reshape(number, x.shape), _lengths(starts, flat.size)]
    wanted = [True, return_inverse, return_counts]
    chosen = tuple([p for p, want in zip(parts, wanted, strict=True) if want])
    return chosen if len(chosen) > 1 else chosen[0]


def _changes(row: Tensor) -> Tensor:
    """Return 1 where an element differs from the one before, and for the first, int64."""
    new = row[1:] != row[:-1]
    first = FUNCTIONS["equal"](FUNCTIONS["zeros_like"](row[:1]), 0)
    return FUNCTIONS["astype"](concat([first, new]), int64)


def _starts(row: Tensor) -> Tensor:
    return FUNCTIONS["nonzero"](_changes(row))[0]


def _lengths(starts: Tensor, size: int) -> Tensor:
    end = wrap(starts.backend.full((1,), size, dtype=int64, device=starts.device))
    ends = concat([starts, end])
    return ends[1:] - ends[:-1]


# -- bins and order


@public(samples=(Sample(((3, 4), [-1.0, 0.0, 1.0])), Sample(([1.0, 2.0], [1.0, 2.0]),
        {"right": True})), reference="reference.bucketize")  # fmt: skip
@spelled
def bucketize(x: Any, boundaries: Any, right: bool = False) -> Tensor:
    """Return the number of the bin of each element, between sorted boundaries (PyTorch's).

    Args:
        right: whether a boundary belongs to the bin above it: b[i - 1] ≤ x < b[i].
    """
    return searchsorted(boundaries, x, side="right" if right else "left")


@public(samples=(Sample(((3, 4),)),), reference="reference.msort")
def msort(x: Any) -> Tensor:
    """Return x sorted along its first axis."""
    return sort(x, 0)
