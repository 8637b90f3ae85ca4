"""Checks for code with derivatives: what atled's own tests run on, for users' tests too.

`check_grads` compares the derivatives of any function with central differences, in both modes
and to any order; `assert_close` compares nests of Tensors, arrays and numbers.

What always holds: differences are taken in float64, random directions come from a seed made of
the function's name and the shapes, and a failed check says which argument and which element.
"""

from atled.testing.differences import numeric_jvp as numeric_jvp
from atled.testing.gradients import GradientMismatch as GradientMismatch
from atled.testing.gradients import check_grads as check_grads
from atled.testing.values import TOLERANCES as TOLERANCES
from atled.testing.values import Tolerance as Tolerance
from atled.testing.values import assert_close as assert_close
