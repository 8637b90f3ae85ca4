"""What the backends say of matrices that cannot be factored: one text for all of them."""

from collections.abc import Sequence

from atled.errors import LinAlgError

__all__ = ["not_positive", "singular"]


def singular(needed_by: str, place: Sequence[int], size: int) -> LinAlgError:
    """Return the error of a singular matrix.

    Args:
        needed_by: the function that needs an invertible one.
        place: the index of the matrix in its stack, then of the pivot that is 0.
        size: of the matrix.
    """
    return LinAlgError(
        f"{needed_by}: the matrix{_which(place[:-1])} is singular: pivot {place[-1] + 1} of {size} "
        "of its LU factorisation is exactly 0. It has no inverse; adding a small multiple of the "
        "identity gives one that is near to it and has"
    )


def not_positive(stack: Sequence[int], order: int) -> LinAlgError:
    """Return the error of a matrix that is not positive definite.

    Args:
        stack: its index in its stack.
        order: of the first leading part that is not positive definite.
    """
    return LinAlgError(
        f"cholesky: the matrix{_which(stack)} is not positive definite: its leading part of "
        f"order {order} is not. If it should be, and is not for rounding only, add a small "
        "multiple of the identity: x + 1e-6 * at.eye(n)"
    )


def _which(stack: Sequence[int]) -> str:
    return f" at index {tuple(int(i) for i in stack)} of the stack" if len(stack) else ""
