"""Arrays that a program writes over: it may do so to those that nobody else can see.

A Tensor is a value, so a parameter that is updated gets a new array. A program saves the memory
and the copy: it writes the new values into the old array where that is its own, an array that it
made, and that is referred to by the program's tables and by the one place where it belongs.
Anything else (a detached Tensor, a saved state, a view, a node of the tape) is seen in the
reference count, and the program then takes a copy for itself.

Without the interpreter's lock another thread may come to hold an array between the look at its
count and the run, so that every run takes copies then.
"""

import sys
from collections.abc import Callable
from typing import Any

__all__ = ["Owned"]

# Whether the interpreter runs without its lock (Python 3.13 and later may be built so).
FREE_THREADED = not getattr(sys, "_is_gil_enabled", lambda: True)()


def _alone() -> int:
    """Return the reference count of an array that only `Owned` and its place refer to."""
    import numpy as np

    lists = [[np.empty(1)]]
    lists += [lists[0][:] for _ in range(3)]  # arrays, seen, _held, and the place
    return next(map(sys.getrefcount, lists[0]))


class Owned:
    """The arrays that one program writes over.

    Args:
        numbers: which inputs they are.
        arrays: the table of inputs, see `Prepared`.
        bind: tells the program of another array for an input.

    Attributes:
        moved: whether an array has been replaced, and must be put in its place after the run.
    """

    def __init__(
        self, numbers: list[int], arrays: list[Any], bind: Callable[[int, Any], None]
    ) -> None:
        self._numbers, self._arrays, self._bind = numbers, arrays, bind
        self._at = {k: i for i, k in enumerate(numbers)}
        self._held: list[Any] = [None] * len(numbers)
        self._expected = [-1 if FREE_THREADED else _alone()] * len(numbers)
        self.moved = True

    def __contains__(self, k: int) -> bool:
        return k in self._at

    def take(self, k: int, array: Any) -> None:
        """Make an array of our own from one that was just read as input k."""
        self._arrays[k] = self._held[self._at[k]] = own = array.copy(order="C")
        self._bind(k, own)
        self.moved = True

    def settle(self) -> None:
        """Copy what others can see, before it is written over."""
        if list(map(sys.getrefcount, self._held)) == self._expected:
            return
        for i, k in enumerate(self._numbers):
            if sys.getrefcount(self._held[i]) != self._expected[i]:
                self.take(k, self._held[i])

    def forget(self) -> None:
        """Let go of all arrays."""
        self._held = [None] * len(self._numbers)
        self.moved = True
