"""Derivatives of functions beside torch.func, JAX and HIPS autograd: ratios in one run.

    python bench/transforms.py [--rows hessian samples] [--peers jax] [--rounds 7] [--json out.json]

Measured as by bench/compiled.py: each contestant in a process of its own, in turn with the others,
the same inputs, results compared. Eager contestants are compared with eager ones ("jax" without
`jit` is one), compiled with compiled ones.

Two tables follow: what a gradient costs, as a multiple of its function, both compiled; and the
peak memory of a Jacobian that is small where the numbers on the way to it are not.
"""

import argparse
import importlib
import json
import os
import tempfile
from typing import Any

import numpy as np
from compiled import Contestant, measure_row, shown, start
from contestants.derivatives import DERIVATIVES, WIDE
from harness import Child, peak_memory, serve

# contestant: (module, variant)
CONTESTANTS = {
    "atled": ("transforms_by_atled", "compile"),
    "jax.jit": ("transforms_by_jax", "jit"),
    "atled eager": ("transforms_by_atled", "eager"),
    "torch.func": ("transforms_by_torch", ""),
    "jax": ("transforms_by_jax", "eager"),
    "autograd": ("transforms_by_autograd", ""),
}
OURS = ("atled", "atled eager")
COMPILED = ("atled", "jax.jit")
EAGER = ("atled eager", "torch.func", "jax", "autograd")
MOST = 5  # times its function's cost, a gradient's
SCRIPT = os.path.abspath(__file__)
LIMIT = 32 * 2**20  # bytes, for the Jacobian whose memory is measured
WIDTH = 44  # of a row's label


def compare(rows: list[str], names: list[str], rounds: int, seconds: float) -> dict[str, Any]:
    """Measure rows in turn, print a line for each, and return what was found."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        children = {n: start(n, os.path.join(folder, n), SCRIPT) for n in names}
        try:
            print(f"{'':{WIDTH}}" + "".join(f"{n:>13}" for n in names))
            for row in rows:
                found[row] = measure_row(row, children, folder, rounds, seconds)
                print_row(row, found[row], names)
        finally:
            for child in children.values():
                child.close()
    return found


def print_row(row: str, found: dict[str, Any], names: list[str]) -> None:
    """Print medians, how many times faster than the best peer of each kind, what went wrong."""
    seconds = found["seconds"]
    cells = "".join(f"{shown(seconds[n]) if n in seconds else '-':>13}" for n in names)
    verdicts = []
    for ours, kind in (("atled", COMPILED), ("atled eager", EAGER)):
        peers = {n: seconds[n] for n in kind if n in seconds and n != ours}
        if ours in seconds and peers:
            best = min(peers, key=lambda n: peers[n])
            verdicts.append(f"{ours}: {peers[best] / seconds[ours]:.3g} times faster than {best}")
    print(f"{DERIVATIVES[row].label:{WIDTH}}{cells}   {'; '.join(verdicts)}", flush=True)
    for n, reply in found["missing"].items():
        if "error" in reply:
            print(f"    {n}: {reply['error']}")
    for n, note in found["notes"].items():
        print(f"    {n}: {note}")
    for pair, distance in found["differing"].items():
        print(f"    DIFFERENT RESULTS: {pair}, by {distance:.1e}")


def print_costs(found: dict[str, Any]) -> None:
    """Print how many times its function a gradient costs."""
    print("\na gradient's time over its function's")
    for row in [r for r in found if r.endswith(" gradient")]:
        name = row.removesuffix(" gradient")
        times, base = found[row]["seconds"], found.get(f"{name} value", {}).get("seconds", {})
        ratios = {n: times[n] / base[n] for n in times if n in base}
        cells = "   ".join(f"{n} {ratio:.2f}" for n, ratio in ratios.items())
        verdict = ""
        if "atled" in ratios:
            verdict = "holds" if ratios["atled"] <= MOST else "DOES NOT HOLD"
        print(f"  {name:{WIDTH - 2}}{cells}   (compiled, at most {MOST}: {verdict})", flush=True)


# -- memory ---------------------------------------------------------------------------------------


def _memory(request: dict[str, Any]) -> dict[str, Any]:
    """Answer how far the peak of this process's memory rises with one Jacobian, in MB."""
    try:
        module = importlib.import_module(f"contestants.{CONTESTANTS[request['name']][0]}")
        jacobian_of_wide = module.jacobian_of_wide
    except (AttributeError, ModuleNotFoundError) as absent:
        return {"absent": str(absent)}
    n, m = WIDE
    rng = np.random.default_rng(0)
    x, c = (rng.standard_normal(k).astype(np.float32) for k in (n, m))
    jacobian_of_wide(x[:3], c[:3], request["limit"], request["forward"])  # what is made only once
    before = peak_memory()
    found = jacobian_of_wide(x, c, request["limit"], request["forward"])
    return {"megabytes": peak_memory() - before, "sum": float(np.abs(found).sum())}


def measure_memory(names: list[str]) -> dict[str, Any]:
    """Print the peak memory of a Jacobian, in both modes, with and without a limit."""
    n, m = WIDE
    result, basis = n * n * 4 / 2**20, n * n * m * 4 / 2**20
    print(
        f"\npeak memory of a Jacobian {n} × {n} ({result:.1f} MB) of a function with {n * m:,} "
        f"numbers on the way: a basis of them takes {basis:.0f} MB"
    )
    found: dict[str, Any] = {}
    asked = [("atled eager", LIMIT), *[(name, None) for name in names if name in EAGER]]
    for name, limit in asked:
        for forward in (False, True):
            child = Child([SCRIPT, "--memory"], {})
            reply = child.ask(name=name, limit=limit, forward=forward)
            child.close()
            if "absent" in reply:
                continue
            mode = "forward" if forward else "reverse"
            label = f"{name}, {mode}{f', max_bytes = {limit >> 20} MB' if limit else ''}"
            found[label] = reply
            shown_ = f"{reply['megabytes']:.0f} MB" if "megabytes" in reply else reply["error"]
            print(f"  {label:{WIDTH - 2}}{shown_:>13}", flush=True)
    return found


def main() -> None:
    """Compare all rows and peers, or those asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    peers = [n for n in CONTESTANTS if n not in OURS]
    parser.add_argument("--rows", nargs="*", choices=DERIVATIVES, default=list(DERIVATIVES))
    parser.add_argument("--peers", nargs="*", choices=peers, default=peers)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.2, help="of each measurement")
    parser.add_argument("--json", metavar="FILE", help="write what was found")
    parser.add_argument("--no-memory", action="store_true", help="skip the peak memory")
    parser.add_argument("--child", choices=CONTESTANTS, help=argparse.SUPPRESS)
    parser.add_argument("--memory", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        serve(Contestant(*CONTESTANTS[options.child], DERIVATIVES).answer)
        return
    if options.memory:
        serve(_memory)
        return
    names = [n for n in CONTESTANTS if n in OURS or n in options.peers]
    found: dict[str, Any] = {"rows": compare(options.rows, names, options.rounds, options.seconds)}
    print_costs(found["rows"])
    if not options.no_memory:
        found["memory"] = measure_memory(names)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(found, file, indent=1)


if __name__ == "__main__":
    main()
