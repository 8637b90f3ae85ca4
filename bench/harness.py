"""What the benchmarks share: child processes that are asked over pipes, and how time is taken.

A contestant lives in a process of its own, so that the libraries' thread pools, allocators and
settings do not meet. What always holds: every OPENBLAS_* variable is unset in it (some machines
set ones that halve the speed of NumPy and SciPy), and what the libraries print does not disturb
the answers, which go through a pipe of their own.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from os.path import abspath, dirname
from typing import Any

__all__ = ["Child", "child_environment", "median_time", "peak_memory", "serve"]

ROOT = dirname(dirname(abspath(__file__)))
BATCH = 2e-4  # seconds: calls are timed in batches of at least this, as reading a clock costs too


def child_environment(**extra: str) -> dict[str, str]:
    """Return the variables of a contestant's process: ours, without OPENBLAS_*, and `extra`."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("OPENBLAS_")}
    return {**kept, "PYTHONPATH": ROOT, **extra}


def median_time(run: Callable[[], object], seconds: float = 0.6, warm_up: float = 0.0) -> float:
    """Return the median time of a call in seconds; short calls are timed in batches.

    Args:
        run: what is timed.
        seconds: how long to go on; at least five batches are timed.
        warm_up: how long to call before; three calls at least.
    """
    calls, start = 0, time.perf_counter()
    while calls < 3 or time.perf_counter() < start + warm_up:
        run()
        calls += 1
    start = time.perf_counter()
    run()
    batch = range(max(1, round(BATCH / max(time.perf_counter() - start, 1e-7))))
    times: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 5:
        start = time.perf_counter()
        for _ in batch:
            run()
        times.append((time.perf_counter() - start) / len(batch))
    return statistics.median(times)


def peak_memory() -> float:
    """Return the peak resident memory of this process in MB; 0 where it cannot be told."""
    try:
        import resource
    except ImportError:
        return 0.0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class Child:
    """A process that answers requests until it is closed.

    Args:
        command: a script and its arguments; it calls `serve`.
        extra: environment variables.
    """

    def __init__(self, command: list[str], extra: dict[str, str]) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
        self._process = subprocess.Popen(
            [sys.executable, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=self._errors, env=child_environment(**extra), text=True,
        )  # fmt: skip

    def ask(self, **request: Any) -> dict[str, Any]:
        """Send a request and return the answer; {"error": …} where there is none."""
        pipe, answers = self._process.stdin, self._process.stdout
        assert pipe is not None
        assert answers is not None
        try:
            pipe.write(json.dumps(request) + "\n")
            pipe.flush()
            line = answers.readline()
        except OSError:
            line = ""
        return json.loads(line) if line else {"error": f"the process ended: {self._last_words()}"}

    def _last_words(self) -> str:
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace")[-800:].strip()

    def close(self) -> None:
        """End the process."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._errors.close()


def serve(answer: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Answer requests from standard input until it ends.

    Args:
        answer: from a request to its answer; what it raises becomes {"error": …}.
    """
    pipe = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print goes where errors go
    for line in sys.stdin:
        try:
            reply = answer(json.loads(line))
        except Exception as error:
            reply = {"error": f"{type(error).__name__}: {error}"[:600]}
        pipe.write(json.dumps(reply) + "\n")
        pipe.flush()
