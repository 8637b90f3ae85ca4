"""LLVM's language as text: vector types, and a writer of one instruction after another.

Text is written, not built from objects: it is what a reader of LLVM's manual knows, and it takes
a microsecond an instruction (objects of llvmlite.ir take ten).
"""

import itertools
import struct
from collections.abc import Callable
from typing import NamedTuple

__all__ = ["BOOL", "F32", "F64", "I8", "I32", "I64", "Type", "Writer"]


class Type(NamedTuple):
    """A scalar type of LLVM, or a vector of `lanes` of them.

    Attributes:
        scalar: "float", "double", "i64", "i32", "i16", "i8" or "i1".
        lanes: how many; 1 stands for the scalar itself.
    """

    scalar: str
    lanes: int = 1

    def __str__(self) -> str:
        return self.scalar if self.lanes == 1 else f"<{self.lanes} x {self.scalar}>"

    @property
    def is_float(self) -> bool:
        return self.scalar in ("float", "double")

    @property
    def bits(self) -> int:
        """Width of one lane."""
        return {"float": 32, "double": 64}.get(self.scalar) or int(self.scalar[1:])

    @property
    def suffix(self) -> str:
        """The type as in the name of an intrinsic: ``v16f32``, ``f64``, ``v8i64``."""
        letter = "f" if self.is_float else "i"
        return f"{'' if self.lanes == 1 else f'v{self.lanes}'}{letter}{self.bits}"

    def of(self, scalar: str) -> "Type":
        """Return the type with as many lanes of another scalar."""
        return Type(scalar, self.lanes)

    def const(self, value: float | int | bool) -> str:
        """Write a constant, the same in every lane.

        Floats are rounded to the type. Integers are taken modulo its width.
        """
        if self.scalar == "float":
            value = struct.unpack("f", struct.pack("f", _fits(value)))[0]
        if self.is_float:
            text = f"0x{struct.unpack('<Q', struct.pack('<d', value))[0]:016X}"
        else:
            text = str(int(value) % (1 << self.bits))
        return text if self.lanes == 1 else f"splat ({self.scalar} {text})"


def _fits(value: float) -> float:
    """Return a number that float32 can hold: infinity for one too large."""
    try:
        struct.pack("f", value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")
    return value


F32, F64 = Type("float"), Type("double")
I64, I32, I8, BOOL = Type("i64"), Type("i32"), Type("i8"), Type("i1")


class Writer:
    """Text of one function's body, and the declarations that it needs.

    Args:
        beside: another writer of the same function, for text that stands elsewhere in it.

    Attributes:
        lines: the instructions and labels so far.
        declarations: lines at the module's level: intrinsics, constant tables.
    """

    def __init__(self, beside: "Writer | None" = None) -> None:
        self.lines: list[str] = []
        self.declarations: set[str] = set() if beside is None else beside.declarations
        self._number: Callable[[], int] = itertools.count().__next__
        if beside is not None:
            self._number = beside._number

    def fresh(self, stem: str = "v") -> str:
        """Return a name that the function does not have yet, without ``%``."""
        return f"{stem}{self._number()}"

    def emit(self, right: str) -> str:
        """Write an instruction and return its result's register: ``%v7``."""
        name = f"%v{self._number()}"
        self.lines.append(f"  {name} = {right}")
        return name

    def do(self, line: str) -> None:
        """Write an instruction that has no result."""
        self.lines.append("  " + line)

    def label(self, name: str) -> None:
        """Begin a block."""
        self.lines.append(f"{name}:")

    def declare(self, line: str) -> None:
        """Add a line at the module's level, once."""
        self.declarations.add(line)

    def call(self, name: str, result: Type, *operands: tuple[Type, str]) -> str:
        """Call a function or intrinsic, declared by its types, and return its result.

        Args:
            name: with ``@``: ``"@llvm.fma.v16f32"``.
        """
        types = ", ".join(str(kind) for kind, _ in operands)
        self.declare(f"declare {result} {name}({types})")
        values = ", ".join(f"{kind} {value}" for kind, value in operands)
        return self.emit(f"call {result} {name}({values})")

    def text(self) -> str:
        """Return the body."""
        return "\n".join(self.lines)
