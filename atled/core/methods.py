"""The methods that a Tensor gets from the registry of operations.

Empty when run: `core/surface.py` puts them on the Tensor. Type checkers and editors read the
stub beside this file, which `tools/generate.py` writes.
"""

__all__ = ["TensorMethods"]


class TensorMethods:
    """Base of the Tensor, for its stub."""

    __slots__ = ()
