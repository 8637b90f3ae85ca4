"""The few switches of atled, in one place.

`grad_mode` is per thread, the rest is per process. Everything here has a public setter
(`at.use`, `at.set_default_dtype`, `at.no_grad`); nothing else in the package keeps a setting.
"""

import threading

from atled.dtypes import DType

__all__ = ["grad_mode", "settings"]


class _GradMode(threading.local):
    enabled = True  # whether operations are recorded in this thread


class _Settings:
    backend: str | None = None  # None: numpy when it can be imported, else python
    device: str | None = None  # None: the backend's own default
    default_dtype: DType | None = None  # None: the backend's own default


grad_mode = _GradMode()
settings = _Settings()
