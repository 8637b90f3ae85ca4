"""`at.compile`: a function, or a whole training step, as one native program.

The package is called itself, `at.compile(f)` and ``@at.compile``: one name for the room and for
its door, in whatever order its parts are imported. `function.py` is where to begin to read.
"""

import sys
from types import ModuleType
from typing import Any

from atled.compile.function import Compiled, Stats, get_num_threads, set_num_threads
from atled.compile.function import compile as _compile

__all__ = ["Compiled", "Stats", "get_num_threads", "set_num_threads"]


class _Door(ModuleType):
    """This package, which can be called."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        return _compile(*args, **options)


_Door.__call__.__doc__ = _compile.__doc__
sys.modules[__name__].__class__ = _Door
