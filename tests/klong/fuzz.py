"""Throw programs at the interpreter: ``python tests/klong/fuzz.py 100000 [seed] [backend] [hot]``.

Half of the inputs are characters at random, half are programs by the grammar; half of these keep
to numbers and verbs that fit, so that they get far. Each must give a value that can be printed, or
a KlongError, within 20 seconds; an error that hides one of Python's own is a fault, and so is a
state that is not whole after an error. With `hot`, functions and expressions compile by themselves.
"""

import contextlib
import io
import random
import signal
import sys
import warnings
from collections.abc import Iterator
from typing import Any
from unittest import mock

from atled.errors import AtledError
from atled.klong import KlongError, KlongInterpreter, calls, chains, compiled
from atled.klong.printer import written
from atled.klong.verbs import calculus

DANGEROUS = (".x", ".sys", ".df", ".oc", ".ac", ".ic", ".l", ".r", ".rl", ".py", ".pyf", ".pyc")
EXPECTED = (KlongError, AtledError, RecursionError, OverflowError, MemoryError, type(None))
CHARACTERS = "0123456789.eabxyz:;\"'()[]{}!#$%&*+,-/<=>?@\\^_|~∂∇ \n\t`é\x00"
MONADS = ["+", "-", "*", "%", "!", "#", "$", "&", ",", "<", "=", ">", "?", "@", "^", "_", "|"]
MONADS += ["~", ":#", ":_", "∂", "∇"]
DYADS = ["+", "-", "*", "%", "!", "#", "$", "&", ",", "<", "=", ">", "?", "@", "^", "_", "|", "~"]
DYADS += [":=", ":-", ":_", ":$", ":@", ":%", ":^", ":+", ":#", ":>", "∂", "∇"]
CALLED = [".jacobian", ".hessian", ".jvp", ".vjp", ".gradcheck", ".rs", ".E", ".p", ".d", ".w"]
CALLED += [".module", ".comment", ".mi", ".fc", ".tc", ".cc", ".fl", ".pc", ".rn", ".rls", ".bkf"]
CALLED += [".pya", ".optim", ".f", "f", "g", "h", "{x}", "{x,y}", "{x+y*z}", "{[a];a::x;a}"]
NAMES = ["a", "b", "c", "d", "f", "g", "h", "x", "y", "z", ".e", ".f", ".cout", "undefinedname"]
ADVERBS = ["'", ":\\", ":'", ":/", "/", ":~", ":*", "\\", "\\~", "\\*"]
FITTING = {
    1: [(1, "'"), (2, "/"), (2, "\\"), (2, ":'"), (1, ":~"), (1, "\\~")],
    2: [(2, "'"), (2, ":\\"), (2, ":/"), (2, "/"), (2, "\\"), (1, ":*"), (1, "\\*")],
}


class Maker:
    """Make programs by the grammar."""

    def __init__(self, rng: random.Random) -> None:
        self.rng, self.calm = rng, False

    def pick(self, *choices: Any) -> Any:
        return self.rng.choice(choices)

    def constant(self) -> str:
        r = self.rng
        if self.calm:
            return str(self.pick(r.randrange(9), r.randrange(9), f"{r.uniform(0, 9):.2f}"))
        return self.pick(
            str(r.randrange(10)), str(r.randrange(-3, 100)), f"{r.uniform(-9, 9):.3f}", "0", "1",
            '"abc"', '""', "0ca", ":foo", "1e10", str(10 ** r.randrange(25)), "[]", '"a;""b"',
            "1e-300", "1e300", "-0.0", '"1+1"', "2147483648", "9223372036854775807", "0c;", ":x",
        )  # fmt: skip

    def literal(self, depth: int) -> str:
        r = self.rng
        if self.calm:
            rows = [
                " ".join(self.constant() for _ in range(3)) for _ in range(self.pick(1, 1, 1, 3))
            ]
            return f"[{rows[0]}]" if len(rows) == 1 else f"[[{'] ['.join(rows)}]]"
        members = [
            self.literal(depth - 1) if depth and r.random() < 0.3 else self.constant()
            for _ in range(r.randrange(5))
        ]
        if r.random() < 0.1:
            return ":{" + "".join(f"[{self.constant()} {m}]" for m in members) + "}"
        return f"[{self.pick(' ', ' ', chr(10)).join(members)}]"

    def verb(self, depth: int, arity: int) -> str:
        if self.calm and self.rng.random() < 0.9:
            return self.calm_verb(arity)
        if self.rng.random() < 0.25:
            base = self.pick("f", "g", "{x}", "{x+y}", "{-x}", "{x,y}", "{x*2}", "{1}")
            if arity == 1 or self.rng.random() < 0.5:
                base += self.pick(*ADVERBS)
        else:
            base = self.pick(*(MONADS if arity == 1 else DYADS))
            while self.rng.random() < 0.25:
                base += self.pick(*ADVERBS)
        return str(base)

    def calm_verb(self, arity: int) -> str:
        """Return a verb whose adverbs fit, of those that numbers and lists have in common."""
        r, chain = self.rng, ""
        while r.random() < 0.3:
            inner, glyph = self.pick(*FITTING[arity])
            chain, arity = glyph + chain, inner
        plain = "- # _ | * ~ , ^ = < > ? & $ {x} {-x} {x*x} {+/x} .f".split()
        if arity == 2:
            plain = "+ - * % | & = < > ~ , ^ ! # _ @ ? :+ :_ :# :^ :% g {x-y} {y} {x,y}".split()
        return r.choice(plain) + chain

    def factor(self, depth: int) -> str:
        r = self.rng
        kind = r.randrange(10) if depth else r.randrange(4)
        if kind < 2:
            return self.constant()
        if kind == 2:
            return self.literal(2)
        if kind == 3:
            return str(self.pick(*("a", "b", "c", "a", "b", "c", "d") if self.calm else NAMES))
        if kind == 4:
            return f"({self.expression(depth - 1)})"
        if kind == 5:
            parts = [self.expression(depth - 1) for _ in range(5)]
            if r.random() < 0.3:
                return f":[{parts[0]};{parts[1]}:|{parts[2]};{parts[3]};{parts[4]}]"
            return f":[{';'.join(parts[:3])}]"
        if kind == 6:
            if r.random() < 0.2:
                return f"{self.pick(*NAMES)}[{self.expression(depth - 1)}]"
            given = [
                self.expression(depth - 1) if r.random() < 0.8 else ""
                for _ in range(r.randrange(4))
            ]
            return f"{self.pick(*CALLED)}({';'.join(given)})"
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
            return f"{self.pick('a', 'b', 'c', 'd', 'f', 'g', 'h')}::{self.expression(depth - 1)}"
        return self.factor(depth - 1) + self.verb(depth, 2) + self.expression(depth - 1)

    def program(self) -> str:
        self.calm = self.rng.random() < 0.5
        parts = [self.expression(self.rng.randrange(5)) for _ in range(self.pick(1, 1, 2, 3))]
        text = self.pick(";", ";", "\n", ' :"so"\n').join(parts)
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


def fresh(backend: str, compile: bool = False) -> KlongInterpreter:
    """Return an interpreter with some variables and nothing that reaches outside."""
    k = KlongInterpreter(
        backend=backend, recursion=150, elements=10**5, steps=20_000, compile=compile
    )
    for name in DANGEROUS:
        del k[name]
    k("a::[1 2 3];b::2.5;c::[[1.5 2] [3 4]];d:::{[1 2]};f::{x};g::{x+y};h::{:[x<1;0;1+h(x-1)]}")
    k.channels.cout._stream = io.StringIO()
    k.channels.cin._stream = io.StringIO('1 [2 3] "four"\n')
    return k


@contextlib.contextmanager
def at_once() -> Iterator[list[int]]:
    """While it lasts, all that can be compiled is, from the second call on; count native calls.

    Steps are counted here, so that every program ends; that alone would forbid to compile.
    """
    native, count = compiled.Hot._native, [0]

    def counted(*args: Any) -> Any:
        count[0] += 1
        return native(*args)

    with contextlib.ExitStack() as stack:
        enter = stack.enter_context
        enter(mock.patch.multiple(compiled, FEW=1, PAYS=-1.0, TRIALS=0, REST=0))
        enter(mock.patch.object(compiled.Hot, "_native", counted))
        for module in (calls, chains, calculus):
            enter(mock.patch.object(module, "is_possible", lambda c: c.compiles))
        yield count


def fault(k: KlongInterpreter, text: str) -> str | None:
    """Run a program; return what is wrong with how it ended, or None."""
    found = _ending(k, text)
    c = k.context
    if found is None and (c.depth or c.derivatives or c.assigned or c.pending is not None):
        found = "the state of the interpreter is not whole"
    c.module = None
    return found


def _ending(k: KlongInterpreter, text: str) -> str | None:
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
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


def fuzz(
    count: int, seed: int, backend: str, seconds: int = 0, compile: bool = False
) -> list[tuple[str, str]]:
    """Return (program, fault) of those of `count` programs that ended badly.

    Args:
        seconds: how long one program may take; 0 where nothing listens to the alarm.
        compile: whether hot functions and expressions are compiled.
    """
    maker = Maker(random.Random(seed))
    faults = []
    k = fresh(backend, compile)
    for i in range(count):
        if i % 200 == 0:
            k = fresh(backend, compile)
        text = maker.program() if i % 2 else maker.noise()
        if seconds:
            signal.alarm(seconds)
        for _ in range(3 if compile else 1):  # what is called again may be compiled
            if (found := fault(k, text)) is not None:
                faults.append((text, found))
    return faults


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    backend = sys.argv[3] if len(sys.argv) > 3 else "numpy"
    signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(TimeoutError("too slow")))
    faults: list[tuple[str, str]] = []
    hot = "hot" in sys.argv
    with at_once() if hot else contextlib.nullcontext([0]) as native:
        for start in range(0, count, 1000):
            many = min(1000, count - start)
            faults += fuzz(many, seed * 1_000_003 + start, backend, 20, hot)
            if len(faults) > 30:
                break
    signal.alarm(0)
    for text, found in faults[:30]:
        print(repr(text), "->", found[:300])
    print(f"{count} programs on {backend}: {len(faults)} faults, {native[0]} native calls")
    raise SystemExit(bool(faults))


if __name__ == "__main__":
    main()
