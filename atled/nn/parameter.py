"""Parameter: a Tensor that a Module counts among those to be optimized."""

from typing import Any

from atled.core.apply import as_tensor
from atled.core.tensor import Tensor

__all__ = ["Parameter"]


class Parameter(Tensor):
    """A Tensor to be optimized: assigned to a Module's attribute, it is registered there.

    Args:
        data: a Tensor (whose value is taken, without its history), nested lists, any array.
        requires_grad: False for a frozen one.

    Example:
        >>> import atled as at
        >>> at.nn.Parameter(at.zeros(2))
        Parameter containing:
        tensor([0., 0.], requires_grad=True)
    """

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True) -> None:
        self._value, self._node = as_tensor(data, copy=True)._value, None
        if requires_grad:
            self.requires_grad_()

    def __reduce__(self) -> tuple[Any, ...]:
        _, (_, requires_grad, *state) = super().__reduce__()
        return _rebuild, (super().__reduce__()[0], requires_grad, state)

    def __repr__(self) -> str:
        return f"Parameter containing:\n{super().__repr__()}"


def _rebuild(rebuild: Any, requires_grad: bool, state: list[Any]) -> Parameter:
    return Parameter(rebuild(Tensor, False, *state), requires_grad)
