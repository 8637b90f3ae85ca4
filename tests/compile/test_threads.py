"""Threads: the results of one, whatever the number, the load, the callers, a fork or the end."""

import ctypes
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

pytest.importorskip("llvmlite")

from atled.compile import threads
from atled.compile.native import Library

MASK = 2**64 - 1

# forth: b[u] = 3 a[u] + a[(u + 1) mod n] + u, back the other way round, so that a unit reads what
# other units of the region before wrote. Each marks its scratch buffer, waits, and reads the
# mark back: a buffer that two threads share would show as a wrong result.
MODULE = """
define internal void @step(ptr %to, ptr %from, i64 %n, i64 %begin, i64 %end, ptr %scratch) {
entry:
  %mark = add i64 %begin, 1
  store volatile i64 %mark, ptr %scratch
  br label %look
look:
  %u = phi i64 [ %begin, %entry ], [ %after, %body ]
  %more = icmp slt i64 %u, %end
  br i1 %more, label %body, label %done
body:
  %after = add i64 %u, 1
  %beyond = icmp eq i64 %after, %n
  %next = select i1 %beyond, i64 0, i64 %after
  %own.at = getelementptr i64, ptr %from, i64 %u
  %next.at = getelementptr i64, ptr %from, i64 %next
  %own = load i64, ptr %own.at
  %other = load i64, ptr %next.at
  %triple = mul i64 %own, 3
  %sum = add i64 %triple, %other
  %value = add i64 %sum, %u
  %seen = load volatile i64, ptr %scratch
  %wrong = sub i64 %seen, %mark
  %result = add i64 %value, %wrong
  %to.at = getelementptr i64, ptr %to, i64 %u
  store i64 %result, ptr %to.at
  br label %look
done:
  ret void
}
define void @forth(ptr %frame, i64 %begin, i64 %end, ptr %scratch) {
  %b.at = getelementptr ptr, ptr %frame, i64 1
  %n.at = getelementptr ptr, ptr %frame, i64 2
  %a = load ptr, ptr %frame
  %b = load ptr, ptr %b.at
  %n = load i64, ptr %n.at
  call void @step(ptr %b, ptr %a, i64 %n, i64 %begin, i64 %end, ptr %scratch)
  ret void
}
define void @back(ptr %frame, i64 %begin, i64 %end, ptr %scratch) {
  %b.at = getelementptr ptr, ptr %frame, i64 1
  %n.at = getelementptr ptr, ptr %frame, i64 2
  %a = load ptr, ptr %frame
  %b = load ptr, ptr %b.at
  %n = load i64, ptr %n.at
  call void @step(ptr %a, ptr %b, i64 %n, i64 %begin, i64 %end, ptr %scratch)
  ret void
}
"""
LIBRARY = Library(MODULE)


class Program:
    """A row of steps over n units, forth and back, and what it must come to."""

    def __init__(self, n: int, steps: int, grain: int = 1) -> None:
        self.n = n
        self.a, self.b = (ctypes.c_uint64 * n)(), (ctypes.c_uint64 * n)()
        self.frame = (ctypes.c_uint64 * 3)(ctypes.addressof(self.a), ctypes.addressof(self.b), n)
        functions = [LIBRARY.address("forth"), LIBRARY.address("back")]
        self.steps = steps + steps % 2
        self.regions = (threads.Region * self.steps)()
        for index in range(self.steps):
            self.regions[index] = (functions[index % 2], n, grain)

    def start(self) -> None:
        for u in range(self.n):
            self.a[u] = u * u
            self.b[u] = 0

    def run(self, number: int | None = None) -> list[int]:
        self.start()
        self.again(number)
        return list(self.a)

    def again(self, number: int | None = None) -> None:
        regions, frame = ctypes.addressof(self.regions), ctypes.addressof(self.frame)
        threads.run(regions, self.steps, frame, number)

    def expected(self) -> list[int]:
        n, values = self.n, [u * u for u in range(self.n)]
        for _ in range(self.steps):
            values = [(3 * values[u] + values[(u + 1) % n] + u) & MASK for u in range(n)]
        return values


@pytest.fixture(autouse=True)
def _threads_as_before() -> Iterator[None]:
    before = threads.get_num_threads()
    yield
    threads.set_num_threads(before)


@pytest.mark.parametrize("number", [1, 2, 3, 8])
@pytest.mark.parametrize(
    ("n", "steps", "grain"),
    [(1, 4, 1), (2, 100, 1), (7, 50, 2), (64, 50, 64), (65, 50, 64), (1000, 20, 3), (97, 1, 200)],
)
def test_the_result_does_not_depend_on_the_number(
    number: int, n: int, steps: int, grain: int
) -> None:
    program = Program(n, steps, grain)
    expected = program.expected()
    for _ in range(5):
        assert program.run(number) == expected


def test_regions_without_units_are_passed_over() -> None:
    program = Program(10, 6)
    program.regions[1].units = program.regions[2].units = program.regions[5].units = 0
    alone, together = program.run(1), program.run(2)
    assert alone == together


def test_a_program_without_regions_ends() -> None:
    threads.run(0, 0, 0, 2)
    threads.run(0, 0, 0, 1)


@pytest.mark.parametrize("number", [1, 2, 2**40])
def test_a_call_from_a_record(number: int) -> None:
    program = Program(40, 30)
    regions, frame = ctypes.addressof(program.regions), ctypes.addressof(program.frame)
    record = threads.Call(regions, program.steps, frame, number)
    program.start()
    threads.call_function()(ctypes.addressof(record))
    assert list(program.a) == program.expected()


def test_long_row_of_regions_on_more_threads_than_cores() -> None:
    program = Program(16, 20_000)
    alone = program.run(1)
    threads.set_num_threads(8)
    assert program.run() == alone
    assert threads.helpers() == 7


def test_helpers_start_when_they_are_asked_for_and_go_when_they_are_not() -> None:
    program = Program(8, 2)
    threads.set_num_threads(1)
    program.run()
    assert threads.helpers() == 0
    threads.set_num_threads(4)
    assert threads.helpers() == 0
    program.run()
    assert threads.helpers() == 3
    program.run(2)
    assert threads.helpers() == 3
    threads.set_num_threads(2)
    assert threads.helpers() == 0
    assert program.run() == program.expected()
    assert threads.helpers() == 1


def test_helpers_wake_after_a_sleep_and_after_a_smaller_team() -> None:
    program = Program(300, 40)
    expected = program.expected()
    for number in (2, 6, 2, 3, 6):
        assert program.run(number) == expected
        time.sleep(0.004)


def test_scratch_grows_while_programs_run() -> None:
    program = Program(64, 200)
    expected = program.expected()
    results: list[bool] = []
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            results.append(program.run(3) == expected)

    worker = threading.Thread(target=work)
    worker.start()
    for size in (1, 5_000, 70_000, 1_000_000):
        threads.scratch(size)
        time.sleep(0.02)
    stop.set()
    worker.join()
    assert results
    assert all(results)


def test_scratch_is_aligned_large_enough_and_another_for_every_place() -> None:
    threads.scratch(100_000)
    pool = threads._the_pool()
    starts = sorted(pool._table)
    assert all(start % 64 == 0 for start in starts)
    assert all(b - a >= 100_000 for a, b in pairwise(starts))


@pytest.mark.parametrize("callers", [4, 40])
def test_several_python_threads_at_once(callers: int) -> None:
    programs = [Program(50 + index, 100) for index in range(callers)]
    rounds = 160 // callers
    right = [0] * callers

    def work(index: int) -> None:
        program = programs[index]
        expected = program.expected()
        for turn in range(rounds):
            right[index] += program.run(1 + turn % 3) == expected

    workers = [threading.Thread(target=work, args=(index,)) for index in range(callers)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert right == [rounds] * callers


@pytest.mark.parametrize("number", [0, -1, 1025])
def test_a_number_of_threads_out_of_range_is_refused(number: int) -> None:
    text = f"a number of threads must be from 1 to 1024, got {number}"
    with pytest.raises(ValueError, match=text):
        threads.set_num_threads(number)
    with pytest.raises(ValueError, match=text):
        Program(4, 2).run(number)


def test_a_number_of_threads_that_is_no_number_is_refused() -> None:
    with pytest.raises(TypeError, match="a number of threads must be an int, got float"):
        threads.set_num_threads(2.0)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="got bool"):
        threads.set_num_threads(True)


def test_many_runs_in_flat_memory() -> None:
    resource = pytest.importorskip("resource")
    program = Program(4, 4)
    program.start()
    for _ in range(1000):
        program.again(2)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(100_000):
        program.again(2)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 4096


# -- a fork, and the end ---------------------------------------------------------------------

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


def _python(body: str, *, timeout: float = 60) -> str:
    """Run a program in a new interpreter, with this file as a module, and return its output."""
    here = Path(__file__).resolve()
    head = f"""
        import importlib.util, os, sys, threading, time, warnings
        warnings.simplefilter("ignore")
        sys.path.insert(0, {str(here.parents[2])!r})
        spec = importlib.util.spec_from_file_location("scheme", {str(here)!r})
        scheme = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(scheme)
        from atled.compile import threads
        program = scheme.Program(64, 100)
        expected = program.expected()
    """
    text = textwrap.dedent(head) + textwrap.dedent(body)
    done = subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, timeout=timeout, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


@forks
def test_a_child_has_helpers_of_its_own() -> None:
    out = _python("""
        assert program.run(3) == expected
        child = os.fork()
        if child == 0:
            ok = threads.helpers() == 0 and program.run(3) == expected and threads.helpers() == 2
            os._exit(0 if ok else 1)
        ok = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        print(ok, program.run(3) == expected, threads.helpers())
    """)
    assert out.split() == ["True", "True", "2"]


@pytest.mark.slow
@forks
def test_forks_while_programs_run() -> None:
    out = _python("""
        stop = threading.Event()
        programs = [scheme.Program(64, 2000) for _ in range(3)]
        def work(mine):
            while not stop.is_set():
                mine.run(3)
        workers = [threading.Thread(target=work, args=(mine,)) for mine in programs]
        for worker in workers:
            worker.start()
        codes = []
        for turn in range(20):
            time.sleep(0.002)
            child = os.fork()
            if child == 0:
                ok = all(program.run(n) == expected for n in (2, 1, 3))
                threads.set_num_threads(2)
                os._exit(0 if ok and program.run() == expected else 1)
            codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        stop.set()
        for worker in workers:
            worker.join()
        print(codes == [0] * 20)
    """)
    assert out.split() == ["True"]


@pytest.mark.parametrize("pause", [0, 0.02])
def test_the_interpreter_ends_with_helpers_awake_or_asleep(pause: float) -> None:
    out = _python(f"""
        print(program.run(4) == expected)
        time.sleep({pause})
    """)
    assert out.split() == ["True"]


def test_the_interpreter_ends_while_a_daemon_thread_runs_programs() -> None:
    out = _python("""
        def work(mine):
            while True:
                mine.run(3)
        for _ in range(2):
            threading.Thread(target=work, args=(scheme.Program(64, 5000),), daemon=True).start()
        time.sleep(0.1)
        print(program.run(4) == expected)
    """)
    assert out.split() == ["True"]


def test_a_signal_reaches_python_while_helpers_are_there() -> None:
    out = _python("""
        import signal
        program.run(4)
        began = time.monotonic()
        signal.signal(signal.SIGALRM, lambda *_: print("alarm"))
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        signal.pause()
    """)
    assert out.split() == ["alarm"]
