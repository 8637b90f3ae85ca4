"""Derivatives on demand, by PyTorch's names: ``at.autograd.grad``, ``at.autograd.Function``…"""

from atled.core.autograd import backward, grad, gradients, jvp_of
from atled.core.function import Function
from atled.core.mode import enable_grad, is_grad_enabled, no_grad, set_grad_enabled

__all__ = [
    "Function",
    "backward",
    "enable_grad",
    "grad",
    "gradients",
    "is_grad_enabled",
    "jvp_of",
    "no_grad",
    "set_grad_enabled",
]
