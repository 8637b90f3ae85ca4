"""Comparisons, logic, bits and what a number is: operations without a derivative."""

from atled.core.kinds import STEP, elementwise
from atled.core.op import Absent, Sample
from atled.ops.elementwise import PAIRS, UNARY

for _name, _short, _doc in (
    ("equal", "eq", "a = b"),
    ("not_equal", "ne", "a ≠ b"),
    ("less", "lt", "a < b"),
    ("less_equal", "le", "a ≤ b"),
    ("greater", "gt", "a > b"),
    ("greater_equal", "ge", "a ≥ b"),
):
    elementwise(
        _name,
        STEP,
        operands="same",
        result="bool",
        inputs=("a", "b"),
        weak=True,
        aliases=(_short,),
        samples=PAIRS,
        doc=f"Whether {_doc}, element by element.",
    )
for _name in ("and", "or", "xor"):
    elementwise(
        f"logical_{_name}",
        STEP,
        operands="same",
        result="bool",
        inputs=("a", "b"),
        samples=PAIRS,
        doc=f"Logical {_name}; nonzero is true.",
    )
WORDS = Absent("it works on the bits of integers and booleans")
BITS = (Sample(([[1, 2, 12], [5, 6, 7]], [[3, 1, 2], [4, 0, 1]])),)
for _name in ("and", "or", "xor", "left_shift", "right_shift"):
    elementwise(
        f"bitwise_{_name}",
        WORDS,
        operands="same",
        inputs=("a", "b"),
        samples=BITS,
        doc=f"Bitwise {_name.replace('_', ' ')}.",
    )
elementwise(
    "bitwise_invert",
    WORDS,
    operands="same",
    aliases=("bitwise_not",),
    samples=(Sample(([[1, 2], [0, 5]],)),),
    doc="Invert every bit; logical not of booleans.",
)
elementwise(
    "logical_not",
    STEP,
    operands="same",
    result="bool",
    samples=UNARY,
    doc="Logical not; nonzero is true.",
)
for _name, _doc in {
    "isnan": "is NaN",
    "isinf": "is infinite",
    "isfinite": "is finite",
    "signbit": "has its sign bit set",
}.items():
    elementwise(_name, STEP, result="bool", samples=UNARY, doc=f"Whether x {_doc}.")
