"""How much one program may use, so that a mistake ends in an error and not in a stopped machine.

| What                          | Limit                           | Where it is set               |
|-------------------------------|---------------------------------|-------------------------------|
| elements of one list          | 10⁸                             | `KlongInterpreter(elements=)` |
| calls inside one another      | 2000                            | `KlongInterpreter(recursion=)`|
| calls in tail position        | 10⁶ without a return            | `context.LOOPS`               |
| steps: rounds of loops, calls,| none                            | `KlongInterpreter(steps=)`    |
| elements handled one by one   |                                 |                               |
| bits of one integer           | 4·10⁶                           | `verbs/arithmetic.py`         |
| brackets inside one another   | 200                             | `reader.DEEPEST`              |
| pieces of one printed value   | 10⁷                             | `printer.LONGEST`             |

The sum over all values of a program is the operating system's to limit. Without `steps` a loop
may go on for ever, as that of a server does; control-C ends it.
"""

from typing import Any

from atled.klong.errors import KlongError

__all__ = ["ELEMENTS", "Limits", "limits", "size_limit"]

ELEMENTS = 10**8


class Limits:
    """What is left to the program that runs.

    Attributes:
        elements: how many a list may have.
        steps: how many are left; None for no limit.
        owner: the interpreter whose limits they are.
    """

    __slots__ = ("elements", "owner", "steps")

    def __init__(self) -> None:
        self.elements: int = ELEMENTS
        self.steps: int | None = None
        self.owner: Any = None

    def spend(self, count: int = 1) -> None:
        """Count rounds of a loop, calls, or elements that are handled one by one.

        Raises:
            KlongError: there are no steps left.
        """
        if self.steps is not None:
            self.steps -= count
            if self.steps < 0:
                raise KlongError(
                    "this program took more steps than it was allowed; "
                    "KlongInterpreter(steps=...) sets another number"
                )


limits = Limits()


def size_limit(count: int) -> int:
    """Return a number of elements to make, or refuse it.

    Raises:
        KlongError: it is more than the limit.
    """
    if count > limits.elements:
        raise KlongError(
            f"a list of {count} elements is larger than the limit, {limits.elements}; "
            "KlongInterpreter(elements=...) sets another"
        )
    return count
