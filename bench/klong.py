"""Klong beside KlongPy and NumPy by hand: expressions, overhead, gradients; compiled and not.

    python bench/klong.py [--rounds 3] [--only grad]

Each contender runs in child processes of its own, one after another and again in the next round,
with every OPENBLAS_* variable unset. A child makes its interpreter and its arrays, warms up, and
reports the median time of a call; the lines show medians over the rounds, and how they compare
with the best KlongPy and with NumPy in the same run. KlongPy takes part where it is installed, on
NumPy and on torch; its gradients on NumPy are finite differences, and its times include them as
they are. The aims are those that the project set itself, on another machine.
"""

import argparse
import importlib.util
import inspect
import os
import statistics
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from harness import Child, median_time, serve


class Row(NamedTuple):
    """What is measured.

    Attributes:
        label: what the table says.
        setup, expression: programs of Klong; `v` is 100,000 random reals, the same for all.
        aim: in µs.
        by_hand: the same with NumPy: a function of arrays of `ByHand`.
        slow: contenders that would take hours.
    """

    label: str
    setup: str
    expression: str
    aim: float | None = None
    by_hand: Callable[[Any], Any] | None = None
    slow: tuple[str, ...] = ()


LOSS = "X::[1 2 3];Y::[3 5 7];w::1.0;b::0.0;loss::{(+/((w*X)+b-Y)^2)%3}"
SQUARES = "{+/x^2}:>p"
FINITE = ("klongpy numpy",)  # finite differences in a million directions
ROWS = {
    "number": Row("1+2: an expression", "", "1+2"),
    "verbs": Row("1+2+...+2, of 20 verbs", "", "+".join(["1"] + ["2"] * 20)),
    "call": Row("f(3) with f::{x+1}", "f::{x+1}", "f(3)"),
    "fold": Row("+/!10", "", "+/!10"),
    "loop": Row("1000{x+1}:*0", "", "1000{x+1}:*0"),
    "add3": Row("a+b, 3 reals", "a::[1.0 2.0 3.0];b::a", "a+b", None, lambda k: k.p3 + k.p3),
    "add100k": Row(
        "a+b, 100,000 integers", "a::!100000;b::1+a", "a+b", 32, lambda k: k.a100k + k.b100k
    ),
    "add1m": Row(
        "a+b, 1,000,000 integers", "a::!1000000;b::1+a", "a+b", 190, lambda k: k.a1m + k.b1m
    ),
    "compound": Row(
        "((2*a)+b)*(a-b), 1,000,000",
        "a::!1000000;b::1+a",
        "((2*a)+b)*(a-b)",
        600,
        lambda k: ((2 * k.a1m) + k.b1m) * (k.a1m - k.b1m),
    ),
    "grade": Row("<v, 100,000 reals", "", "<v", 450, lambda k: k.v.argsort(kind="stable")),
    "grad3": Row(f"{SQUARES}, 3 elements", "p::[1.0 2.0 3.0]", SQUARES, 40, lambda k: 2 * k.p3),
    "grad1k": Row(f"{SQUARES}, 1,000", "p::1.0*!1000", SQUARES, 60, lambda k: 2 * k.p1k),
    "grad1m": Row(
        f"{SQUARES}, 1,000,000", "p::1.0*!1000000", SQUARES, None, lambda k: 2 * k.p1m, FINITE
    ),
    "descent": Row("{w::w-lr*loss:>w}'!50", "w::10.0;lr::0.1;loss::{w^2}", "{w::w-lr*loss:>w}'!50"),
    "regression": Row("loss:>[w b], regression", LOSS, "loss:>[w b]"),
    "jacobian": Row("p∂{x^2}, 100 elements", "p::1.0*!100;f::{x^2}", "p∂f"),
    "format": Row("$i, 1,000 integers", "i::!1000", "$i"),
    "group": Row("=r, 1,000 different reals", "r::1.0*!1000", "=r"),
}
PEERS = ("klongpy numpy", "klongpy torch")


def contenders() -> dict[str, tuple[list[str], dict[str, str]]]:
    """Return the arguments and the environment of each contender's process."""
    found: dict[str, tuple[list[str], dict[str, str]]] = {
        "atled": (["atled", "1"], {}),
        "interpreted": (["atled", "0"], {}),
        "numpy": (["by_hand", ""], {}),
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

    takes_backend = "backend" in inspect.signature(Forerunner).parameters
    return Forerunner(backend=choice) if takes_backend else Forerunner()


class ByHand:
    """The arrays of the rows, as NumPy has them."""

    def __init__(self, v: Any) -> None:
        import numpy as np

        self.v = v
        self.p3, self.p1k, self.p1m = (np.arange(n, dtype=float) for n in (3, 1000, 1_000_000))
        self.a100k, self.a1m = np.arange(100_000), np.arange(1_000_000)
        self.b100k, self.b1m = self.a100k + 1, self.a1m + 1


def answering(kind: str, choice: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return what answers requests for the time of a row."""

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        import numpy as np

        row, v = ROWS[request["row"]], np.random.default_rng(0).random(100_000)
        if kind == "by_hand":
            if row.by_hand is None:
                return {}
            by_hand, arrays = row.by_hand, ByHand(v)
            return {"seconds": median_time(lambda: by_hand(arrays), 0.4, warm_up=0.2)}
        k = interpreter(kind, choice)
        k["v"] = v
        if row.setup:
            k(row.setup)
        return {"seconds": median_time(lambda: k(row.expression), 0.5, warm_up=0.5)}

    return answer


def measured(names: list[str], rows: list[str], rounds: int) -> tuple[Any, dict[Any, str]]:
    """Return the times and the errors by contender and row."""
    known = contenders()
    times: dict[tuple[str, str], list[float]] = {}
    errors: dict[tuple[str, str], str] = {}
    for _ in range(rounds):
        for name in names:
            arguments, extra = known[name]
            child = Child([__file__, "--serve", *arguments], extra)
            for row in rows:
                if name in ROWS[row].slow:
                    continue
                reply = child.ask(row=row)
                if "seconds" in reply:
                    times.setdefault((name, row), []).append(reply["seconds"])
                elif "error" in reply:
                    errors[name, row] = reply["error"]
            child.close()
    return {key: statistics.median(found) * 1e6 for key, found in times.items()}, errors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="rows whose name contains this")
    given = parser.parse_args()
    rows = [row for row in ROWS if given.only in row]
    names = list(contenders())
    times, errors = measured(names, rows, given.rounds)
    print_table(rows, names, times)
    for (name, row), error in errors.items():
        print(f"{name}, {row}: {error.splitlines()[0][:200]}")


def print_table(rows: list[str], names: list[str], times: dict[tuple[str, str], float]) -> None:
    """Print a line for each row: times, the aim, and how much faster than others atled is."""
    shown = [*names, *[f"{p}" for p in PEERS if p not in names]]
    print(f"{'µs a call':<30}" + "".join(f"{name:>15}" for name in shown) + f"{'aim':>6}   faster")
    for row in rows:
        cells = []
        for name in shown:
            absent = "not installed" if name not in names else "-"
            cells.append(f"{times[name, row]:.1f}" if (name, row) in times else absent)
        aim = ROWS[row].aim
        line = "".join(f"{cell:>15}" for cell in cells) + f"{'' if aim is None else aim:>6}"
        print(f"{ROWS[row].label:<30}{line}   {_ratios(row, times)}")
    if ("interpreted", "verbs") in times and ("interpreted", "number") in times:
        each = (times["interpreted", "verbs"] - times["interpreted", "number"]) / 19 * 1000
        print(f"a verb of two numbers takes {each:.0f} ns, interpreted")


def _ratios(row: str, times: dict[tuple[str, str], float]) -> str:
    own = times.get(("atled", row))
    if own is None:
        return ""
    peers = [times[p, row] for p in PEERS if (p, row) in times]
    found = [f"{min(peers) / own:.2f} × KlongPy"] if peers else []
    if ("numpy", row) in times:
        found.append(f"{times['numpy', row] / own:.2f} × NumPy")
    return ", ".join(found)


if __name__ == "__main__":
    if "--serve" in sys.argv:
        at = sys.argv.index("--serve")
        serve(answering(*sys.argv[at + 1 : at + 3]))
    else:
        main()
