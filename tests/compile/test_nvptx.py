"""The same loops for another target: PTX, without a GPU to run it."""

import re

import pytest

pytest.importorskip("numpy", reason="programs are made for NumPy's arrays")
pytest.importorskip("llvmlite", reason="LLVM comes with llvmlite")

from atled.compile.fuse import planned
from atled.compile.kernel import Kernel, lowered
from atled.compile.simplify import simplified
from atled.compile.targets.nvptx import ptx
from atled.core.graph import parse

GRADIENT = """
graph(%0: float32[100000], %1: float32[100000]) {
  %2: float32[100000] = multiply(%0, %1)
  %3: float32[100000] = tanh(%2)
  %4: float32[100000] = multiply(%0, %0)
  %5: float32[100000] = negative(%4)
  %6: float32[100000] = exp(%5)
  %7: float32[100000] = multiply(%3, %6)
  return %7
}
"""


def _kernel(text: str):
    plan = planned(simplified(parse(text)))
    (kernel,) = plan.steps
    assert isinstance(kernel, Kernel)
    return lowered(kernel, plan.arrays)


def test_a_fused_kernel_becomes_ptx() -> None:
    text = ptx(_kernel(GRADIENT), "gradient")
    assert ".visible .entry gradient(" in text
    assert text.count(".param .u64") == 3
    assert "fma.rn.f32" in text
    assert "%ctaid.x" in text
    assert not re.search(r"^\s*call", text, re.MULTILINE)  # one function, no library


def test_a_sum_of_rows_becomes_ptx() -> None:
    rows = "graph(%0: float32[64,100]) {\n  %1: float32[64] = sum(%0, axis=(1,))\n  return %1\n}"
    assert "add.rn.f32" in ptx(_kernel(rows), "rows") or "add.f32" in ptx(_kernel(rows), "rows")


def test_a_kernel_that_keeps_a_row_is_refused() -> None:
    softmax = """
graph(%0: float32[8,40]) {
  %1: float32[8] = max(%0, axis=(1,))
  %2: float32[8,1] = reshape(%1, shape=(8,1,))
  %3: float32[8,40] = broadcast_to(%2, shape=(8,40,))
  %4: float32[8,40] = subtract(%0, %3)
  %5: float32[8,40] = exp(%4)
  %6: float32[8] = sum(%5, axis=(1,))
  %7: float32[8,1] = reshape(%6, shape=(8,1,))
  %8: float32[8,40] = broadcast_to(%7, shape=(8,40,))
  %9: float32[8,40] = divide(%5, %8)
  return %9
}"""
    with pytest.raises(ValueError, match=r"keeps .* bytes of a row"):
        ptx(_kernel(softmax), "softmax")
