"""Throw programs at the interpreter: ``python tests/klong/fuzz.py 100000 [seed] [backend]``.

Half of the inputs are characters at random, half are programs by the grammar. Each must give a
value that can be printed, or a KlongError; an error that hides one of Python's own is a fault.
"""

import random
import signal
import sys
import warnings
from typing import Any

from atled.errors import AtledError
from atled.klong import KlongError, KlongInterpreter, arrays
from atled.klong.adverbs import Budget
from atled.klong.printer import written

DANGEROUS = (".x", ".sys", ".df", ".oc", ".ac", ".ic", ".l", ".r", ".rl", ".py", ".pyf", ".pyc")
EXPECTED = (KlongError, AtledError, RecursionError, OverflowError, MemoryError, type(None))
CHARACTERS = "0123456789.eabxyz:;\"'()[]{}!#$%&*+,-/<=>?@\\^_|~∂∇ \n\t`é\x00"
MONADS = ["+", "-", "*", "%", "!", "#", "$", "&", ",", "<", "=", ">", "?", "@", "^", "_", "|"]
MONADS += ["~", ":#", ":_", "∂", "∇"]
DYADS = ["+", "-", "*", "%", "!", "#", "$", "&", ",", "<", "=", ">", "?", "@", "^", "_", "|", "~"]
DYADS += [":=", ":-", ":_", ":$", ":@", ":%", ":^", ":+", ":#", ":>", "∂", "∇"]
ADVERBS = ["'", ":\\", ":'", ":/", "/", ":~", ":*", "\\", "\\~", "\\*"]


class Maker:
    """Make programs by the grammar."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng

    def pick(self, *choices: Any) -> Any:
        return self.rng.choice(choices)

    def constant(self) -> str:
        r = self.rng
        return self.pick(
            str(r.randrange(10)), str(r.randrange(-3, 100)), f"{r.uniform(-9, 9):.3f}", "0", "1",
            '"abc"', '""', "0ca", ":foo", "1e10", str(10 ** r.randrange(25)), "[]",
        )  # fmt: skip

    def literal(self, depth: int) -> str:
        r = self.rng
        members = [
            self.literal(depth - 1) if depth and r.random() < 0.3 else self.constant()
            for _ in range(r.randrange(5))
        ]
        return f"[{' '.join(members)}]"

    def verb(self, depth: int, arity: int) -> str:
        if self.rng.random() < 0.25:
            base = self.pick("f", "g", "{x}", "{x+y}", "{-x}", "{x,y}", "{x*2}", "{1}")
            if arity == 1 or self.rng.random() < 0.5:
                base += self.pick(*ADVERBS)
        else:
            base = self.pick(*(MONADS if arity == 1 else DYADS))
            while self.rng.random() < 0.25:
                base += self.pick(*ADVERBS)
        return str(base)

    def factor(self, depth: int) -> str:
        r = self.rng
        kind = r.randrange(10) if depth else r.randrange(4)
        if kind < 2:
            return self.constant()
        if kind == 2:
            return self.literal(2)
        if kind == 3:
            return str(self.pick("a", "b", "x", "y", "d", "f", ".e"))
        if kind == 4:
            return f"({self.expression(depth - 1)})"
        if kind == 5:
            parts = [self.expression(depth - 1) for _ in range(3)]
            return f":[{';'.join(parts)}]"
        if kind == 6:
            name = self.pick("f", "g", "{x}", "{x,y}", ".jacobian", ".rs", ".E", ".gradcheck")
            given = [self.pick("", self.expression(depth - 1)) for _ in range(r.randrange(3))]
            return f"{name}({';'.join(given)})"
        if kind == 7:
            return f"{{{self.pick('', '[a];', '[a b];')}{self.expression(depth - 1)}}}"
        if kind == 8:
            return f":{{[{self.constant()} {self.literal(1)}]}}"
        return self.verb(depth, 1) + self.expression(depth - 1)

    def expression(self, depth: int) -> str:
        r = self.rng
        if depth <= 0 or r.random() < 0.3:
            return self.factor(max(depth, 0))
        if r.random() < 0.1:
            return f"{self.pick('a', 'b', 'f', 'g')}::{self.expression(depth - 1)}"
        return self.factor(depth - 1) + self.verb(depth, 2) + self.expression(depth - 1)

    def program(self) -> str:
        text = ";".join(self.expression(self.rng.randrange(5)) for _ in range(self.pick(1, 1, 2)))
        if self.rng.random() < 0.1:  # a grammatical program with a scar
            at = self.rng.randrange(len(text) + 1)
            text = text[:at] + self.pick(*CHARACTERS) + text[at + self.pick(0, 1) :]
        return text

    def noise(self) -> str:
        length = self.rng.randrange(1, 40)
        if self.rng.random() < 0.2:
            raw = bytes(self.rng.randrange(256) for _ in range(length))
            return raw.decode("utf-8", errors="replace")
        return "".join(self.rng.choice(CHARACTERS) for _ in range(length))


def fresh(backend: str) -> KlongInterpreter:
    """Return an interpreter with some variables and nothing that reaches outside."""
    k = KlongInterpreter(backend=backend, recursion=150, compile=False)
    for name in DANGEROUS:
        del k[name]
    k("a::[1 2 3];b::2.5;d:::{[1 2]};f::{x};g::{x+y}")
    return k


def fault(k: KlongInterpreter, text: str) -> str | None:
    """Run a program; return what is wrong with how it ended, or None."""
    Budget.rounds = 300
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            value = k(text)
            with k.entered():
                written(value)
    except KlongError as error:
        cause = error.__cause__
        while isinstance(cause, KlongError) and cause.__cause__ is not None:
            cause = cause.__cause__
        return None if isinstance(cause, EXPECTED) else f"{type(cause).__name__}: {cause}"
    except RecursionError:  # a value that contains itself cannot be printed
        return None
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    finally:
        Budget.rounds = None
    return None


def fuzz(count: int, seed: int, backend: str) -> list[tuple[str, str]]:
    """Return (program, fault) of those of `count` programs that ended badly."""
    maker = Maker(random.Random(seed))
    largest, arrays.LARGEST = arrays.LARGEST, 10**5
    faults = []
    try:
        k = fresh(backend)
        for i in range(count):
            if i % 200 == 0:
                k = fresh(backend)
            text = maker.program() if i % 2 else maker.noise()
            found = fault(k, text)
            if found is not None:
                faults.append((text, found))
    finally:
        arrays.LARGEST = largest
    return faults


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    backend = sys.argv[3] if len(sys.argv) > 3 else "numpy"
    signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(TimeoutError("too slow")))
    faults: list[tuple[str, str]] = []
    for start in range(0, count, 1000):
        signal.alarm(60)
        faults += fuzz(min(1000, count - start), seed * 1_000_003 + start, backend)
        if len(faults) > 30:
            break
    for text, found in faults[:30]:
        print(repr(text), "->", found[:300])
    print(f"{count} programs on {backend}: {len(faults)} faults")
    raise SystemExit(bool(faults))


if __name__ == "__main__":
    main()
