"""Compiled speed on the CPU beside NumPy, PyTorch and JAX: ratios in one run.

    python bench/compiled.py [--rows mlp gpt] [--peers jax] [--rounds 7] [--json out.json]

Each contestant lives in a process of its own, makes each row once, and is then asked to measure
it, in turn with the others, round after round: what counts is the ratio of the medians. All start
from the same weights and inputs, and after four calls their results are compared, so that none
does less work than the others. Contestants that are not installed are left out.

The first calls are timed apart, in fresh processes with an empty disk cache, and again in fresh
processes with what the former left there.
"""

import argparse
import importlib
import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np
from contestants.problems import PROBLEMS, Absent, Work
from harness import Child, median_time, serve

# contestant: (module, variant)
CONTESTANTS = {
    "atled": ("by_atled", "compile"),
    "atled eager": ("by_atled", "eager"),
    "numpy": ("by_numpy", ""),
    "torch": ("by_torch", "eager"),
    "torch.compile": ("by_torch", "compile"),
    "jax": ("by_jax", ""),
}
OURS = ("atled", "atled eager")
WIDTH = 50  # of a row's label
CALLS = 4  # before results are compared
TOLERANCE = 1e-3  # of the norm of a result: the same work was done
# Rows whose first call has an aim in seconds: with an empty cache, from the disk cache.
FIRST_CALLS = {"mlp": (0.15, 0.03), "gpt": (1.5, 0.2), "recurrence": (0.1, None)}
COMPILING = ("atled", "torch.compile", "jax")
CACHES = ("ATLED_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR", "JAX_COMPILATION_CACHE_DIR")
CACHE_ALL = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}  # by default only slow ones


# -- in a contestant's process --------------------------------------------------------------------


class Contestant:
    """Answers the requests "make" and "measure".

    Args:
        module: of the package `contestants`; its function `work` makes the work of a row.
        variant: what to tell it.
        problems: the rows, by name.
    """

    def __init__(self, module: str, variant: str, problems: Mapping[str, Any]) -> None:
        self._module, self._variant, self._problems = module, variant, problems
        self._works: dict[str, Work] = {}

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to a request."""
        if request["do"] == "make":
            return self._make(request["row"], request["path"])
        work = self._works[request["row"]]
        seconds = median_time(work.run, request["seconds"], warm_up=0.02)
        return {"seconds": seconds, "note": work.note()}

    def _make(self, row: str, path: str) -> dict[str, Any]:
        """Make a row's work, call it, and leave the results in a file."""
        try:
            module = importlib.import_module(f"contestants.{self._module}")
            work = self._works[row] = module.work(self._problems[row], self._variant)
        except (Absent, ModuleNotFoundError) as absent:
            return {"absent": str(absent)}
        times, result = [], None
        for _ in range(CALLS):
            start = time.perf_counter()
            result = work.run()
            times.append(time.perf_counter() - start)
        np.savez(path, *work.arrays(result))
        # The first call, and what the next ones took longer than usual: some compile twice.
        return {"first": sum(times[:-1]) - (CALLS - 2) * times[-1]}


# -- in the process that compares -----------------------------------------------------------------


def start(name: str, cache: str, script: str = __file__) -> Child:
    """Start a contestant's process, with its disk caches in the folder `cache`."""
    caches = {variable: os.path.join(cache, variable) for variable in CACHES}
    return Child([os.path.abspath(script), "--child", name], caches | CACHE_ALL)


def compare(rows: list[str], names: list[str], rounds: int, seconds: float) -> dict[str, Any]:
    """Measure rows in turn, print a line for each, and return what was found."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        children = {n: start(n, os.path.join(folder, n)) for n in names}
        try:
            head = "".join(f"{n:>15}" for n in names)
            print(f"{'':{WIDTH}}{head}   atled/best peer")
            for row in rows:
                found[row] = measure_row(row, children, folder, rounds, seconds)
                print_row(row, found[row], names)
        finally:
            for child in children.values():
                child.close()
    return found


def measure_row(row: str, children: dict[str, Child], folder: str, rounds: int,
                seconds: float) -> dict[str, Any]:  # fmt: skip
    """Return the median seconds of each contestant, why others are missing, who differs."""
    paths = {n: os.path.join(folder, f"{n}.npz") for n in children}
    made = {n: child.ask(do="make", row=row, path=paths[n]) for n, child in children.items()}
    taking_part = [n for n in children if "first" in made[n]]
    times: dict[str, list[float]] = {n: [] for n in taking_part}
    missing = {n: reply for n, reply in made.items() if n not in taking_part}
    notes: dict[str, str] = {}
    for turn in range(rounds):
        first = turn % max(1, len(taking_part))  # each begins a round in turn
        for n in taking_part[first:] + taking_part[:first]:
            reply = children[n].ask(do="measure", row=row, seconds=seconds)
            if "seconds" in reply:
                times[n].append(reply["seconds"])
                notes[n] = reply["note"]
            else:
                missing[n] = reply
    medians = {n: statistics.median(t) for n, t in times.items() if len(t) == rounds}
    results = {n: read(paths[n]) for n in medians}
    return {
        "seconds": medians,
        "spread": {n: [min(times[n]), max(times[n])] for n in medians},
        "missing": missing,
        "notes": {n: note for n, note in notes.items() if note},
        "differing": differing(results),
    }


def read(path: str) -> list[np.ndarray]:
    """Return the loss (or first derivative), and everything else as one array."""
    with np.load(path) as file:
        first, *rest = [file[name].astype(np.float64).ravel() for name in file.files]
    return [first, np.concatenate(rest)] if rest else [first]


def differing(results: dict[str, list[np.ndarray]]) -> dict[str, float]:
    """Return the pairs of contestants whose results are apart, and by which part of the norm."""
    apart = {}
    for (one, a), (other, b) in combinations(results.items(), 2):
        distance = max(
            float(np.linalg.norm(u - v)) / max(float(np.linalg.norm(v)), 1e-30)
            if u.shape == v.shape
            else np.inf
            for u, v in zip(a, b, strict=True)
        )
        if not distance <= TOLERANCE:
            apart[f"{one} and {other}"] = distance
    return apart


def print_row(row: str, found: dict[str, Any], names: list[str]) -> None:
    """Print medians, the ratio to the best peer, the aim, and what went wrong."""
    seconds, problem = found["seconds"], PROBLEMS[row]
    cells = "".join(f"{shown(seconds[n]) if n in seconds else '-':>15}" for n in names)
    peers = {n: t for n, t in seconds.items() if n not in OURS}
    verdict = f"   (aim: {problem.aim:g} times faster)"
    if "atled" in seconds and peers:
        best = min(peers, key=lambda n: peers[n])
        faster = peers[best] / seconds["atled"]
        holds = "holds" if faster >= problem.aim else "does not hold"
        fastest = {n: low for n, (low, _) in found["spread"].items()}
        verdict = (
            f"   {1 / faster:.3g}: {faster:.3g} times faster than {best} "
            f"({fastest[best] / fastest['atled']:.3g} in the fastest rounds); "
            f"aim {problem.aim:g}: {holds}"
        )
    print(f"{problem.label:{WIDTH}}{cells}{verdict}", flush=True)
    for n, reply in found["missing"].items():
        if "error" in reply:
            print(f"    {n}: {reply['error']}")
    for n, note in found["notes"].items():
        print(f"    {n}: {note}")
    for pair, distance in found["differing"].items():
        print(f"    DIFFERENT RESULTS: {pair}, by {distance:.1e}")


def shown(seconds: float) -> str:
    """Return a time with three digits and its unit."""
    units = (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6))
    unit, scale = next((u for u in units if seconds >= u[1]), units[-1])
    digits = f"{seconds / scale:#.3g}".rstrip(".")
    return f"{digits} {unit}"


def first_calls(rows: list[str], names: list[str], rounds: int) -> dict[str, Any]:
    """Time the first calls in fresh processes, with an empty disk cache and with a full one."""
    found: dict[str, Any] = {}
    print("\nfirst call, in a fresh process: with an empty disk cache / with what that left there")
    for row in rows:
        found[row] = {}
        for name in names:
            # torch.compile takes seconds each time: once tells enough
            times = [_first_call(row, name) for _ in range(1 if "torch" in name else rounds)]
            whole = [t for t in times if t is not None]
            if whole:
                cold, warm = (statistics.median(t) for t in zip(*whole, strict=True))
                found[row][name] = [cold, warm]
        aims = "".join(f" {'/ ' if i else ''}{a} s" for i, a in enumerate(FIRST_CALLS[row]) if a)
        cells = "   ".join(f"{n} {shown(c)} / {shown(w)}" for n, (c, w) in found[row].items())
        print(f"  {PROBLEMS[row].label:{WIDTH}}{cells}   (aim:{aims})", flush=True)
        if "atled" in found[row]:
            for time_, aim in zip(found[row]["atled"], FIRST_CALLS[row], strict=True):
                if aim is not None:
                    print(f"    {shown(time_)}, aim {aim} s: "
                          f"{'holds' if time_ <= aim else 'does not hold'}")  # fmt: skip
    return found


def _first_call(row: str, name: str) -> tuple[float, float] | None:
    """Return the seconds with an empty disk cache and in the next process; None if absent."""
    folder = tempfile.mkdtemp()
    times = []
    try:
        for _ in range(2):
            child = start(name, os.path.join(folder, "cache"))
            reply = child.ask(do="make", row=row, path=os.path.join(folder, "results.npz"))
            child.close()
            if "first" not in reply:
                return None
            times.append(max(reply["first"], 0.0))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return times[0], times[1]


def main() -> None:
    """Compare all rows and peers, or those asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    peers = [n for n in CONTESTANTS if n not in OURS]
    parser.add_argument("--rows", nargs="+", choices=PROBLEMS, default=list(PROBLEMS))
    parser.add_argument("--peers", nargs="*", choices=peers, default=peers)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.3, help="of each measurement")
    parser.add_argument("--json", metavar="FILE", help="write what was found")
    parser.add_argument("--no-first-calls", action="store_true", help="skip compile times")
    parser.add_argument("--child", choices=CONTESTANTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        serve(Contestant(*CONTESTANTS[options.child], PROBLEMS).answer)
        return
    names = [n for n in CONTESTANTS if n in OURS or n in options.peers]
    found: dict[str, Any] = {"rows": compare(options.rows, names, options.rounds, options.seconds)}
    if not options.no_first_calls:
        rows = [r for r in FIRST_CALLS if r in options.rows]
        compiling = [n for n in COMPILING if n in names]
        found["first calls"] = first_calls(rows, compiling, min(options.rounds, 3))
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(found, file, indent=1)


if __name__ == "__main__":
    main()
