"""The one branch of this room: a slow way for the few lanes that need it.

An angle of 10^20 or the remainder of 10^300 by 3 needs many instructions that nearly no kernel
ever executes. They lie in a function over one double, which a loop calls for each lane concerned,
under a branch that is taken if there is any. The branch lies in a function of its own, which LLVM
puts in place, so that the body that uses it stays a straight line.
"""

from collections.abc import Sequence
from functools import lru_cache

from atled.compile.ir import Type, Writer
from atled.compile.mathematics.values import Value, any_lane

__all__ = ["Scalar", "pack", "rarely"]

I64 = Type("i64")


class Scalar:
    """A function over doubles in LLVM's language.

    Args:
        name: with ``@``.
        parameters: how many doubles it takes.
        results: the scalar types of what it returns, in a structure: "double" or "i64".
        text: its definition and the lines at the module's level that it needs.
    """

    def __init__(
        self, name: str, parameters: int, results: tuple[str, ...], text: frozenset[str]
    ) -> None:
        self.name, self.parameters, self.results, self.text = name, parameters, results, text


def rarely(
    function: Scalar, rare: Value, operands: Sequence[Value], usual: Sequence[Value]
) -> tuple[Value, ...]:
    """Return the usual results, and the function's in lanes where `rare` holds.

    Args:
        function: what to call; float32 is converted on the way, 64-bit integers are cut.
        rare: i1, a lane each.
        operands: the function's operands.
        usual: the results elsewhere: floats of the operands' type, or integers as wide.
    """
    writer, kind = operands[0].writer, operands[0].kind
    writer.declarations.update(chooser(function, kind))
    values = ", ".join(f"{v.kind} {v.register}" for v in (rare, *operands, *usual))
    result = structure(columns(function, kind))
    register = writer.emit(f"call {result} {function.name}.any.{kind.suffix}({values})")
    return unpack(writer, columns(function, kind), register)


def columns(function: Scalar, kind: Type) -> list[Type]:
    """Return the types of a function's results over many lanes."""
    whole = f"i{kind.bits}"
    return [kind.of(whole if name == "i64" else kind.scalar) for name in function.results]


def structure(kinds: Sequence[Type]) -> str:
    """Return the type of a structure of values."""
    return f"{{ {', '.join(map(str, kinds))} }}"


def unpack(writer: Writer, kinds: Sequence[Type], register: str) -> tuple[Value, ...]:
    """Return the values in a structure."""
    right = f"extractvalue {structure(kinds)} {register}"
    return tuple(
        Value(writer, kind, writer.emit(f"{right}, {at}")) for at, kind in enumerate(kinds)
    )


def pack(writer: Writer, parts: Sequence[Value]) -> None:
    """Write the return of a structure of values."""
    result, register = structure([part.kind for part in parts]), "poison"
    for at, part in enumerate(parts):
        operand = f"{part.kind} {part.register}, {at}"
        register = writer.emit(f"insertvalue {result} {register}, {operand}")
    writer.do(f"ret {result} {register}")


@lru_cache(None)
def chooser(function: Scalar, kind: Type) -> frozenset[str]:
    """Return the function with the branch, and all that it needs."""
    kinds = columns(function, kind)
    inputs = [(kind, f"%x{i}") for i in range(function.parameters)]
    usual = [(column, f"%y{i}") for i, column in enumerate(kinds)]
    parameters = [(kind.of("i1"), "%rare"), *inputs, *usual]
    names = ", ".join(f"{column} {name}" for column, name in parameters)
    writer = Writer()
    writer.label("entry")
    some = any_lane(Value(writer, kind.of("i1"), "%rare"))
    writer.do(f"br i1 {some.register}, label %slow, label %done")
    writer.label("slow")
    call = f"call {structure(kinds)} {function.name}.each.{kind.suffix}({names})"
    slow = unpack(writer, kinds, writer.emit(call))
    writer.do("br label %done")
    writer.label("done")
    chosen = [
        part.emit(f"phi {part.kind} [{name}, %entry], [{part.register}, %slow]")
        for part, (_, name) in zip(slow, usual, strict=True)
    ]
    pack(writer, chosen)
    head = f"define internal {structure(kinds)} {function.name}.any.{kind.suffix}({names})"
    writer.declare(f"{head} alwaysinline {{\n{writer.text()}\n}}")
    writer.declare(each_lane(function, kind, names))
    return frozenset(writer.declarations | function.text)


def each_lane(function: Scalar, kind: Type, names: str) -> str:
    """Return the function that goes through the lanes."""
    kinds = columns(function, kind)
    writer = Writer()
    writer.label("entry")
    writer.do("br label %lane")
    writer.label("lane")
    writer.do("%i = phi i64 [0, %entry], [%next, %join]")
    now = [
        Value(writer, column, writer.emit(f"phi {column} [%y{i}, %entry], [%z{i}, %join]"))
        for i, column in enumerate(kinds)
    ]
    flag = take(Value(writer, kind.of("i1"), "%rare"))
    writer.do(f"br i1 {flag.register}, label %call, label %join")
    writer.label("call")
    inputs = [take(Value(writer, kind, f"%x{i}")) for i in range(function.parameters)]
    wide = [x if x.kind.scalar == "double" else x.to("double") for x in inputs]
    operands = ", ".join(f"double {x.register}" for x in wide)
    results = [Type(name) for name in function.results]
    register = writer.emit(f"call {structure(results)} {function.name}({operands})")
    parts = unpack(writer, results, register)
    put = [place(column, part) for column, part in zip(now, parts, strict=True)]
    writer.do("br label %join")
    writer.label("join")
    for i, (old, made) in enumerate(zip(now, put, strict=True)):
        writer.do(f"%z{i} = phi {old.kind} [{old.register}, %lane], [{made.register}, %call]")
    writer.do("%next = add i64 %i, 1")
    writer.do(f"%more = icmp ult i64 %next, {kind.lanes}")
    writer.do("br i1 %more, label %lane, label %done")
    writer.label("done")
    pack(writer, [Value(writer, column, f"%z{i}") for i, column in enumerate(kinds)])
    head = f"define internal {structure(kinds)} {function.name}.each.{kind.suffix}({names})"
    return f"{head} noinline cold {{\n{writer.text()}\n}}"


def take(x: Value) -> Value:
    """Return lane %i."""
    if x.kind.lanes == 1:
        return x
    return x.emit(f"extractelement {x.kind} {x.register}, i64 %i", Type(x.kind.scalar))


def place(column: Value, part: Value) -> Value:
    """Return the column with lane %i replaced by a value, which is made as narrow."""
    scalar = Type(column.kind.scalar)
    part = part if part.kind == scalar else part.to(scalar.scalar)
    if column.kind.lanes == 1:
        return part
    into = f"insertelement {column.kind} {column.register}"
    return column.emit(f"{into}, {scalar} {part.register}, i64 %i")
