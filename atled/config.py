"""The few switches of atled, in one place.

`modes` is per thread, the rest is per process. Everything here has a public setter
(`at.use`, `at.set_default_dtype`, `at.set_safe_gradients`, `at.no_grad`); nothing else in the
package keeps a setting.
"""

import threading
from typing import Any

from atled.dtypes import DType

__all__ = ["changes", "modes", "settings"]


class _Modes(threading.local):
    enabled = True  # whether operations are recorded in this thread
    tracing: Any = None  # the `core.trace.Trace` that this thread is in, if any
    batches: tuple[Any, ...] = ()  # the `core.batch.Batch`es that it is in, outermost first
    walking = False  # whether it walks a tape: values of batches that are over may be read
    recomputing = False  # whether a checkpoint runs its function again: no statistics then
    draws: Any = None  # generators that a checkpointed function has drawn from: state before


class _Settings:
    backend: str | None = None  # None: numpy when it can be imported, else python
    device: str | None = None  # None: the backend's own default
    default_dtype: DType | None = None  # None: the backend's own default
    safe_gradients = True  # whether what a mask has cut off stays zero behind it


class _Changes:
    # How often these were changed, so that a compiled function need not look at each of them:
    modules = 0  # what Modules are made of, and the hooks on gradients (`core/guard.py`)
    tracked = 0  # whether a leaf requires a gradient


changes = _Changes()
modes = _Modes()
settings = _Settings()
