"""Klong beside KlongPy: expressions, overhead, gradients; compiled and not.

    python bench/klong.py [--rounds 3] [--only grad]

Each contender runs in child processes of its own, one after another and again in the next round,
with every OPENBLAS_* variable unset. A child makes its interpreter and its arrays, warms up, and
reports the median time of a call; the lines show medians over the rounds. KlongPy takes part
where it is installed, on NumPy and on torch; its gradients on NumPy are finite differences, and
its times include them as they are. The aims are those that the project set itself.
"""

import argparse
import importlib.util
import os
import statistics
import sys
from collections.abc import Callable
from typing import Any

from harness import Child, median_time, serve

SETUP = {
    "ints100k": "a::!100000;b::1+a",
    "ints1m": "a::!1000000;b::1+a",
    "grade": "",  # random numbers come from Python, the same for all
    "grad3": "p::[1.0 2.0 3.0]",
    "grad1k": "p::1.0*!1000",
    "grad1m": "p::1.0*!1000000",
    "call": "f::{x+1}",
    "descent": "w::10.0;lr::0.1;loss::{w^2}",
    "jacobian": "p::1.0*!100;f::{x^2}",
    "none": "",
}
ROWS = {  # name: (label, set-up, expression, the aim in µs)
    "number": ("1+2: the overhead of an expression", "none", "1+2", None),
    "call": ("f(3) with f::{x+1}", "call", "f(3)", None),
    "fold": ("+/!10", "none", "+/!10", None),
    "add100k": ("a+b, 100,000 integers", "ints100k", "a+b", 32),
    "add1m": ("a+b, 1,000,000 integers", "ints1m", "a+b", 190),
    "compound": ("((2*a)+b)*(a-b), 1,000,000", "ints1m", "((2*a)+b)*(a-b)", 600),
    "grade": ("<v, 100,000 reals", "grade", "<v", 450),
    "grad3": ("{+/x^2}:>p, 3 elements", "grad3", "{+/x^2}:>p", 40),
    "grad1k": ("{+/x^2}:>p, 1,000", "grad1k", "{+/x^2}:>p", 60),
    "grad1m": ("{+/x^2}:>p, 1,000,000", "grad1m", "{+/x^2}:>p", None),
    "descent": ("{w::w-lr*loss:>w}'!50", "descent", "{w::w-lr*loss:>w}'!50", None),
    "jacobian": ("p∂{x^2}, 100 elements", "jacobian", "p∂f", None),
}
SLOW = {("klongpy numpy", "grad1m")}  # finite differences: hours


def contenders() -> dict[str, tuple[list[str], dict[str, str]]]:
    """Return the arguments and the environment of each contender's process."""
    found: dict[str, tuple[list[str], dict[str, str]]] = {
        "atled": (["atled", "1"], {}),
        "atled, interpreted": (["atled", "0"], {}),
    }
    if importlib.util.find_spec("klongpy") is not None:
        found["klongpy numpy"] = (["klongpy", "numpy"], {"USE_TORCH": "0"})
        if importlib.util.find_spec("torch") is not None:
            found["klongpy torch"] = (["klongpy", "torch"], {"USE_TORCH": "1"})
    return found


def interpreter(kind: str, choice: str) -> Any:
    """Return the contender's interpreter."""
    if kind == "atled":
        from atled.klong import KlongInterpreter

        return KlongInterpreter(backend="numpy", compile=choice == "1")
    if choice == "numpy":
        os.environ.pop("USE_TORCH", None)
    from klongpy import KlongInterpreter as Forerunner

    return Forerunner(backend=choice) if _takes_backend(Forerunner) else Forerunner()


def _takes_backend(kind: Any) -> bool:
    import inspect

    return "backend" in inspect.signature(kind).parameters


def answering(kind: str, choice: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return what answers requests for the time of a row."""

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        import numpy as np

        _, setup, expression, _ = ROWS[request["row"]]
        k = interpreter(kind, choice)
        if setup == "grade":
            k["v"] = np.random.default_rng(0).random(100_000)
        elif SETUP[setup]:
            k(SETUP[setup])
        return {"seconds": median_time(lambda: k(expression), 0.5, warm_up=0.5)}

    return answer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="rows whose name contains this")
    given = parser.parse_args()
    known = contenders()
    rows = [row for row in ROWS if given.only in row]
    times: dict[tuple[str, str], list[float]] = {}
    errors: dict[tuple[str, str], str] = {}
    for _ in range(given.rounds):
        for name, (arguments, extra) in known.items():
            child = Child([__file__, "--serve", *arguments], extra)
            for row in rows:
                if (name, row) in SLOW:
                    continue
                reply = child.ask(row=row)
                if "error" in reply:
                    errors[name, row] = reply["error"]
                else:
                    times.setdefault((name, row), []).append(reply["seconds"])
            child.close()
    _print(rows, list(known), times)
    for (name, row), error in errors.items():
        print(f"{name}, {row}: {error.splitlines()[0][:200]}")


def _print(rows: list[str], names: list[str], times: dict[tuple[str, str], list[float]]) -> None:
    print(f"{'µs a call':<36}" + "".join(f"{name:>20}" for name in names) + f"{'aim':>8}")
    for row in rows:
        label, _, _, aim = ROWS[row]
        cells = []
        for name in names:
            taken = times.get((name, row))
            cells.append(f"{statistics.median(taken) * 1e6:.1f}" if taken else "-")
        line = "".join(f"{cell:>20}" for cell in cells)
        print(f"{label:<36}{line}{aim if aim is not None else '':>8}")
    peers = [n for n in names if n.startswith("klongpy")]
    for row in rows:
        best = min(
            (statistics.median(times[n, row]) for n in peers if (n, row) in times), default=0
        )
        own = times.get(("atled", row))
        if best and own:
            print(f"{ROWS[row][0]:<36}{best / statistics.median(own):>8.2f} × the best KlongPy")


if __name__ == "__main__":
    if "--serve" in sys.argv:
        at = sys.argv.index("--serve")
        serve(answering(*sys.argv[at + 1 : at + 3]))
    else:
        main()
