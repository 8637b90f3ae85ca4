"""What the files of library kernels share: a body with loops and vectors that end early.

`matrix`, `convolution` and `pooling` write functions of their own, beside those that `loops` makes
of a graph; this is what they write with, and what they hand back.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from atled.compile.ir import Type, Writer

__all__ = ["Body", "Kernel", "Loop", "row_vectors"]


@dataclass(frozen=True)
class Kernel:
    """What computes one operation: functions to run one after another.

    Attributes:
        functions: (name, units) in order; a function computes units [begin, end), in any order
            and on any threads.
        texts: by name, these and the functions that they call, in LLVM's language.
        declarations: the module's lines that they need.
        scratch_bytes: size of the buffer that each call needs for itself, aligned to 64.
        buffer_bytes: size of the buffer that all units share (`weight_gradient`'s partials).
        flops: operations in all.
    """

    functions: list[tuple[str, int]]
    texts: dict[str, str]
    declarations: frozenset[str]
    scratch_bytes: int = 0
    buffer_bytes: int = 0
    flops: int = 0


@dataclass
class Loop:
    """A loop that is being written: its counter, and the values it hands from turn to turn."""

    index: str
    values: list[str]
    following: list[str]


class Body(Writer):
    """A writer that knows which block it is in, and can therefore write loops."""

    def __init__(self, declarations: Iterable[str] = ()) -> None:
        super().__init__()
        self.declarations.update(declarations)
        self.block = "entry"
        self.label("entry")

    def label(self, name: str) -> None:
        """Begin a block."""
        super().label(name)
        self.block = name

    @contextmanager
    def loop(
        self,
        start: str | int,
        stop: str | int,
        step: int = 1,
        values: Sequence[tuple[Type | str, str]] = (),
    ) -> Iterator[Loop]:
        """Write a loop that runs at least once.

        Args:
            start, stop, step: the counter's, constants or registers of i64.
            values: (type, first value) of what is handed from turn to turn; the body puts the
                next turn's into `following`, where the last turn's are found after the loop.
        """
        head, done, before = self.fresh("loop"), self.fresh("done"), self.block
        index, following = "%" + self.fresh("i"), "%" + self.fresh("i")
        names = ["%" + self.fresh("carried") for _ in values]
        loop = Loop(index, names, list(names))
        self.do(f"br label %{head}")
        self.label(head)
        at = len(self.lines)
        yield loop
        phis = [f"  {index} = phi i64 [{start}, %{before}], [{following}, %{self.block}]"]
        for name, (kind, first), last in zip(names, values, loop.following, strict=True):
            phis.append(f"  {name} = phi {kind} [{first}, %{before}], [{last}, %{self.block}]")
        self.lines[at:at] = phis
        self.do(f"{following} = add nuw nsw i64 {index}, {step}")
        test = self.emit(f"icmp slt i64 {following}, {stop}")
        self.do(f"br i1 {test}, label %{head}, label %{done}")
        self.label(done)

    @contextmanager
    def units(self) -> Iterator[str]:
        """Write a loop over a function's share of units, from %begin up to %end; maybe none."""
        some = self.emit("icmp slt i64 %begin, %end")
        with self.when(some), self.loop("%begin", "%end") as unit:
            yield unit.index

    @contextmanager
    def nest(self, *counts: int) -> Iterator[list[str]]:
        """Write loops inside each other, of known lengths from 1 on; give their counters."""
        with ExitStack() as stack:
            yield [
                "0" if count == 1 else stack.enter_context(self.loop(0, count)).index
                for count in counts
            ]

    @contextmanager
    def when(self, test: str) -> Iterator[None]:
        """Write what happens only if a bit is set; no value may leave it."""
        yes, done = self.fresh("then"), self.fresh("done")
        self.do(f"br i1 {test}, label %{yes}, label %{done}")
        self.label(yes)
        yield
        self.do(f"br label %{done}")
        self.label(done)

    def place(self, *terms: tuple[str | int, int]) -> str:
        """Return the sum of (counter, stride) products, as i64."""
        total = ""
        for counter, stride in terms:
            if str(counter) == "0" or stride == 0:
                continue
            part = str(counter) if stride == 1 else self.emit(f"mul nsw i64 {counter}, {stride}")
            total = self.emit(f"add nsw i64 {total}, {part}") if total else part
        return total or "0"

    def halves(self, number: str, count: int) -> tuple[str, str]:
        """Divide a number: return (number // count, number % count)."""
        if count == 1:
            return number, "0"
        quotient = self.emit(f"udiv i64 {number}, {count}")
        return quotient, self.emit(f"urem i64 {number}, {count}")

    def zero(self, pointer: str, size: int) -> None:
        """Set a number of bytes to zero."""
        self.declare("declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)")
        self.do(f"call void @llvm.memset.p0.i64(ptr {pointer}, i8 0, i64 {size}, i1 false)")

    def copy(self, target: str, source: str, size: int) -> None:
        """Copy a number of bytes between places that do not overlap."""
        self.declare("declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)")
        self.do(
            f"call void @llvm.memcpy.p0.p0.i64(ptr {target}, ptr {source}, i64 {size}, i1 false)"
        )

    def move(
        self, vector: Type, target: str, source: str, count: int, beyond: bool = False
    ) -> None:
        """Copy a short row of known length by vectors, which a call of memcpy costs too much for.

        Args:
            beyond: whether what lies after the row, up to the vector's end, may be written too.
        """
        scalar = Type(vector.scalar)
        for first, many, valid in row_vectors(count, vector.lanes):
            if many > 8:
                with self.loop(0, many * vector.lanes, vector.lanes) as at:
                    value = self.load(vector, self.offset(source, at.index, scalar))
                    self.store(vector, value, self.offset(target, at.index, scalar))
                continue
            for at_ in range(first, first + many * vector.lanes, vector.lanes):
                lanes = None if beyond else valid
                value = self.load(vector, self.offset(source, at_, scalar), lanes)
                self.store(vector, value, self.offset(target, at_, scalar), lanes)

    def offset(self, pointer: str, count: str | int, scalar: Type) -> str:
        """Return a pointer moved by a number of elements."""
        if str(count) == "0":
            return pointer
        return self.emit(f"getelementptr {scalar}, ptr {pointer}, i64 {count}")

    def load(self, kind: Type, pointer: str, valid: int | None = None) -> str:
        """Load a value, or the first `valid` lanes of a vector with zeros after them."""
        if valid is None or valid >= kind.lanes:
            return self.emit(f"load {kind}, ptr {pointer}, align {kind.bits // 8}")
        mask = self._mask(kind, valid)
        self.declare(
            f"declare {kind} @llvm.masked.load.{kind.suffix}.p0"
            f"(ptr, i32, <{kind.lanes} x i1>, {kind})"
        )
        return self.emit(
            f"call {kind} @llvm.masked.load.{kind.suffix}.p0"
            f"(ptr {pointer}, i32 {kind.bits // 8}, {mask}, {kind} zeroinitializer)"
        )

    def store(self, kind: Type, value: str, pointer: str, valid: int | None = None) -> None:
        """Store a value, or the first `valid` lanes of a vector."""
        if valid is None or valid >= kind.lanes:
            self.do(f"store {kind} {value}, ptr {pointer}, align {kind.bits // 8}")
            return
        if valid == 1:  # LLVM 20 widens a masked store of one lane that was truncated before
            first = self.emit(f"extractelement {kind} {value}, i64 0")
            self.do(f"store {kind.scalar} {first}, ptr {pointer}, align {kind.bits // 8}")
            return
        self.declare(
            f"declare void @llvm.masked.store.{kind.suffix}.p0"
            f"({kind}, ptr, i32, <{kind.lanes} x i1>)"
        )
        self.do(
            f"call void @llvm.masked.store.{kind.suffix}.p0({kind} {value}, ptr {pointer}, "
            f"i32 {kind.bits // 8}, {self._mask(kind, valid)})"
        )

    def _mask(self, kind: Type, valid: int) -> str:
        bits = ", ".join(f"i1 {str(lane < valid).lower()}" for lane in range(kind.lanes))
        return f"<{kind.lanes} x i1> <{bits}>"

    def splat(self, kind: Type, scalar: str) -> str:
        """Put a scalar in every lane."""
        if kind.lanes == 1:
            return scalar
        one = self.emit(f"insertelement {kind} poison, {kind.scalar} {scalar}, i64 0")
        which = f"<{kind.lanes} x i32> zeroinitializer"
        return self.emit(f"shufflevector {kind} {one}, {kind} poison, {which}")

    def shuffle(self, kind: Type, a: str, b: str, lanes: list[int]) -> str:
        """Choose lanes out of two vectors, b's counted on from a's."""
        which = ", ".join(f"i32 {lane}" for lane in lanes)
        return self.emit(f"shufflevector {kind} {a}, {kind} {b}, <{len(lanes)} x i32> <{which}>")

    def select(self, kind: Type, mask: str, a: str, b: str) -> str:
        """Take a where a bit is set, b elsewhere, lane by lane."""
        return self.emit(f"select {kind.of('i1')} {mask}, {kind} {a}, {kind} {b}")

    def multiply_add(self, kind: Type, a: str, b: str, c: str) -> str:
        """Return a·b + c, rounded once where the machine can."""
        name = f"@llvm.fmuladd.{kind.suffix}"
        return self.call(name, kind, (kind, a), (kind, b), (kind, c))

    def function(self, name: str, parameters: str) -> str:
        """Return the whole function."""
        head = f"define internal void @{name}({parameters}) noinline nounwind {{"
        return f"{head}\n{self.text()}\n  ret void\n}}\n"


def row_vectors(length: int, lanes: int) -> list[tuple[int, int, int]]:
    """Return (first, how many, valid lanes) of the vectors that make up a row."""
    whole, rest = divmod(length, lanes)
    parts = [(0, whole, lanes), (whole * lanes, 1, rest)]
    return [part for part in parts if part[1] and part[2]]
