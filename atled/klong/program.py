"""One native program: some Klong code for one kind of arguments.

Tracing runs the interpreter on symbols. Reals and arrays are the program's arguments; integers
are part of it, as shapes are, for Python's integers have no limit and decide how often loops go
round. Where the interpreter would look at a value, a program relies on the usual answer, that
integers fit in int64 and indices are in range (`arrays.holds`), and checks it at each call; where
it cannot, there is no program. So what it computes is what the interpreter computes, up to the
rounding of sums and of mathematical functions.
"""

from collections.abc import Callable, Sequence
from typing import Any

from atled.compile.function import compile as native
from atled.core.tensor import Tensor
from atled.klong.arrays import Unrolled, array, carries, settle
from atled.klong.context import Context

__all__ = ["Program", "kind_of_values"]

Kind = tuple[Any, ...]


def kind_of_values(values: Sequence[Any]) -> Kind | None:
    """Return what a program depends on: dtypes, shapes, integers; None where there can be none."""
    kind: list[Any] = []
    for v in values:
        if type(v) is Tensor:
            if carries(v):
                return None
            kind.append((v._value.shape, v.dtype))
        elif type(v) is float:
            kind.append(float)
        elif type(v) is int:
            kind.append(v)
        else:
            return None
    return tuple(kind)


class Program:
    """What runs some code natively.

    Args:
        context: the program's state.
        names: the variables that the code reads.
        run: how the interpreter runs it: a function of the other values.
        values: the values of the variables and of the arguments at the first call.
        name: for messages.
        room: how many rounds of loops may be written out in it.
    """

    __slots__ = ("_context", "_fixed", "_names", "_native", "_room", "_run")

    def __init__(
        self,
        context: Context,
        names: Sequence[str],
        run: Callable[..., Any],
        values: Sequence[Any],
        name: str,
        room: int,
    ) -> None:
        self._context, self._names, self._run, self._room = context, tuple(names), run, room
        self._fixed = tuple([v if type(v) is int else None for v in values])

        def traced(*tensors: Any) -> Any:
            return self._traced(tensors)

        traced.__name__ = name
        self._native = native(traced)

    def _traced(self, tensors: Sequence[Tensor]) -> Any:
        rest = iter(tensors)
        values = [next(rest) if fixed is None else fixed for fixed in self._fixed]
        count = len(self._names)
        with Unrolled(self._room), self._context.bound(self._names, values[:count]):
            return self._run(*values[count:])

    def __call__(self, values: Sequence[Any]) -> Any:
        """Run it; the first time, make it.

        Raises:
            NotAsAssumed: an integer has left int64, or an index its array: the interpreter knows
                what to do then.
            AtledError: it cannot be made, at the first call.
        """
        tensors = [v if type(v) is Tensor else array(v, True) for v in values if type(v) is not int]
        return _settled(self._native(*tensors))

    def is_native(self) -> bool:
        """Say whether it has been made, and all calls ran natively."""
        stats = self._native.stats()
        return bool(stats.programs) and not stats.eager


def _settled(value: Any) -> Any:
    if type(value) is Tensor:
        return settle(value)
    return [_settled(v) for v in value] if type(value) is list else value
