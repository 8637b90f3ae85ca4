"""Rows of Tensors that belong together: images and their labels."""

from typing import Any

from atled.core.tensor import Tensor
from atled.errors import ShapeError

__all__ = ["TensorDataset"]


class TensorDataset:
    """Tensors of equal length: sample i is row i of each.

    Args:
        tensors: Tensors whose first axes have the same length.

    Raises:
        ShapeError: a Tensor has no axis, or the lengths differ.

    Example:
        >>> import atled as at
        >>> data = TensorDataset(at.arange(6).reshape(3, 2), at.tensor([0, 1, 1]))
        >>> len(data), [part.tolist() for part in data[1]]
        (3, [[2, 3], 1])
    """

    def __init__(self, *tensors: Tensor) -> None:
        if not tensors:
            raise ShapeError("TensorDataset needs at least one Tensor")
        for at, t in enumerate(tensors):
            if not isinstance(t, Tensor):
                raise TypeError(
                    f"TensorDataset takes Tensors; argument {at} is a {type(t).__name__}"
                )
            if t.ndim == 0:
                raise ShapeError(f"TensorDataset: Tensor {at} has no axis to take samples from")
            if len(t) != len(tensors[0]):
                raise ShapeError(
                    f"TensorDataset: Tensor 0 has {len(tensors[0])} rows, Tensor {at} has {len(t)}"
                )
        self.tensors = tensors

    def __len__(self) -> int:
        return len(self.tensors[0])

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        """Return the rows at an index: a number, a slice, or a Tensor of numbers."""
        return tuple([t[index] for t in self.tensors])
