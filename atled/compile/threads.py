"""The threads that run a program together, and what each of them may write to.

The scheme is native and stands in `runtime.py`. This file compiles it once, gives it scratch
buffers, and carries it through the two hard moments of a process: a fork, and its end.
"""

import atexit
import ctypes
import mmap
import os
import threading
from typing import Any, TypeVar

from atled.compile import cpus
from atled.compile.native import Library
from atled.compile.runtime import CALLERS, MOST_THREADS, ir

__all__ = [
    "Call",
    "Region",
    "call_function",
    "get_num_threads",
    "helpers",
    "run",
    "scratch",
    "set_num_threads",
]

T = TypeVar("T")
_PAGE = mmap.PAGESIZE


class Region(ctypes.Structure):
    """One step of a program: a function over [0, units), claimed `grain` units at a time.

    The function is ``void f(ptr frame, i64 begin, i64 end, ptr scratch)``. Its units are
    independent of each other; they may read whatever earlier regions wrote.

    Attributes:
        function: address.
        units: how many; none at all where it is not above 0.
        grain: at least 1. A region of at most `grain` units runs on one thread.
    """

    _fields_ = [
        ("function", ctypes.c_void_p),
        ("units", ctypes.c_int64),
        ("grain", ctypes.c_int64),
    ]


class Call(ctypes.Structure):
    """The arguments of `run` in a record, which `call_function` takes by its address.

    Attributes:
        regions: address of `count` records like `Region`.
        count: how many regions.
        frame: address that every function gets.
        threads: the most that take part, at least 1.
    """

    _fields_ = [
        ("regions", ctypes.c_void_p),
        ("count", ctypes.c_int64),
        ("frame", ctypes.c_void_p),
        ("threads", ctypes.c_int64),
    ]


class _Pool:
    """The native scheme, compiled, and the memory that it was given.

    Attributes:
        run: the native ``atled_run(regions, count, frame, threads)``.
        call: the same from the address of a `Call`.
        threads: how many take part where a call does not say.
    """

    def __init__(self) -> None:
        self.library = _forever(Library(ir()))
        address, number = ctypes.c_void_p, ctypes.c_int64
        self.run = self.library.function("atled_run", address, number, address, number)
        self.call = self.library.function("atled_call", address)
        self.reset = self.library.function("atled_reset")
        self.stop = self.library.function("atled_stop")
        self.helpers = self.library.function("atled_helpers", result=number)
        self._provide = self.library.function("atled_provide", address, number)
        self.threads = cpus.available()
        self.closed = False
        self.capacity = self._bytes = self._places = 0
        self.reset()
        self.grow(_PAGE, self.threads)

    def grow(self, nbytes: int, capacity: int) -> None:
        """See to it that `capacity` threads may run, each with that much scratch memory.

        Old buffers stay: a program may be running in them. Sizes at least double, so that all
        of them together are no larger than the last; pages that nobody wrote to take no memory.
        """
        self.capacity = max(capacity, self.capacity)
        if nbytes > self._bytes or CALLERS + self.capacity > self._places:
            self._places = max(CALLERS + self.capacity, self._places)
            if nbytes > self._bytes:
                self._bytes = -(-max(nbytes, 2 * self._bytes) // _PAGE) * _PAGE
            # Private, not mmap's default: a child after a fork writes to buffers of its own.
            private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
            memory = _forever(mmap.mmap(-1, self._places * self._bytes, flags=private))
            start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
            starts = (start + place * self._bytes for place in range(self._places))
            self._table = _forever((ctypes.c_void_p * self._places)(*starts))
        self._provide(ctypes.addressof(self._table), self.capacity)

    def shrink(self, capacity: int) -> None:
        """Send the helpers home, and let there be at most `capacity` threads from now on."""
        self.capacity = capacity
        self._provide(ctypes.addressof(self._table), capacity)
        self.stop()


def _forever(thing: T) -> T:
    """Keep something to the very end of the process: a daemon thread may still be inside it."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))
    return thing


def run(regions: int, count: int, frame: int, threads: int | None = None) -> None:
    """Run a program: its regions one after another, the units of each on several threads.

    Several Python threads may call this at once. One of them has the helpers, the others run
    their programs alone; the results are the same. The GIL is released.

    Args:
        regions: address of `count` records like `Region`.
        frame: what every function gets as its first argument; no two programs that run at
            once may share one.
        threads: the most that take part; without it, `get_num_threads()`.

    Raises:
        ValueError: threads is not from 1 to 1024.
    """
    pool = _the_pool()
    if threads is None:
        threads = pool.threads
    elif threads > pool.capacity or threads < 1:
        _checked(threads)
        with _lock:
            if not pool.closed:
                pool.grow(0, threads)
    pool.run(regions, count, frame, threads)


def call_function() -> Any:
    """Return the native run of a `Call`, given its address: the fastest way in (0.2 µs).

    It saves `run` its checks: threads must be at least 1, and above the largest number that was
    asked for with `set_num_threads` or `run` it counts as that number.
    """
    return _the_pool().call


def set_num_threads(number: int) -> None:
    """Set how many threads run a program where the call does not say.

    Raises:
        ValueError: number is not from 1 to 1024.
    """
    pool, number = _the_pool(), _checked(number)
    with _lock:
        if number < pool.capacity:
            pool.shrink(number)
        elif not pool.closed:
            pool.grow(0, number)
        pool.threads = number


def get_num_threads() -> int:
    """Return how many threads run a program where the call does not say.

    At first that is what `cpus.available` finds: every processor that this process may use, or
    what ``ATLED_NUM_THREADS`` says.
    """
    return _the_pool().threads


def scratch(nbytes: int) -> None:
    """See to it that every thread's scratch buffer has at least so many bytes.

    A buffer begins at a page, so it is aligned for every vector. What is in it is undefined at
    the beginning of each call of a region's function.
    """
    pool = _the_pool()
    with _lock:
        pool.grow(nbytes, 0)


def helpers() -> int:
    """Return how many helpers there are now; they start when a program first asks for them."""
    return int(_the_pool().helpers())


def _checked(number: int) -> int:
    """Return a number of threads, or refuse it."""
    if isinstance(number, bool) or not isinstance(number, int):
        raise TypeError(f"a number of threads must be an int, got {type(number).__name__}")
    if not 1 <= number <= MOST_THREADS:
        raise ValueError(f"a number of threads must be from 1 to {MOST_THREADS}, got {number}")
    return number


def _the_pool() -> _Pool:
    """Return the pool; make it first, once a process."""
    global _pool
    if _pool is None:
        with _lock:
            if _pool is None:
                _pool = _Pool()
    return _pool


def _at_exit() -> None:
    """Join the helpers, so that none runs while the process is taken down around it."""
    if _pool is not None:
        with _lock:
            _pool.closed = True
            _pool.shrink(1)


def _in_child() -> None:
    """Begin anew after a fork: helpers and other callers are in the parent only."""
    global _lock
    _lock = threading.RLock()
    if _pool is not None:
        _pool.reset()


_pool: _Pool | None = None
_lock = threading.RLock()  # guards the pool's making and its size, not the running of programs
atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):
    # A fork waits for the lock: no child gets a pool that another thread has half made.
    os.register_at_fork(
        before=lambda: _lock.acquire() and None,
        after_in_parent=lambda: _lock.release(),
        after_in_child=_in_child,
    )
