"""The torch backend: PyTorch's kernels on the CPU, CUDA and Apple's MPS, without its autograd.

`border.py` says how arrays come in and go out, `functions.py` what is computed with them.
These two files are the only ones of the package that import torch.
"""

from atled.backends.torch.border import TorchBorder
from atled.backends.torch.functions import TorchBackend, backend

__all__ = ["TorchBackend", "TorchBorder", "backend"]
