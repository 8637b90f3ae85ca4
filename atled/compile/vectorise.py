"""Which loops of a kernel are vectorised: those where whole vectors are read, computed, written.

Either one loop over rows, and then everything is a vector of rows; or in each pass one of its
inner loops, and a row's own values are scalars. A simple count decides: instructions for one
vector of each pass, where memory that is not in order costs an instruction a lane, times the
vectors that a loop takes, the last of which may be half empty.
"""

from math import ceil, prod

from atled.compile.index import Affine, Var
from atled.compile.kernel import Expr, Loops, Pass, Store, expressions
from atled.compile.operations import COSTS

__all__ = ["STRIDED", "inner_vector", "row_vector"]

STRIDED = (2, 3, 4)  # distances of lanes for which whole vectors are loaded and shuffled
ACROSS = 10.0  # instructions that join the lanes of a reduction


def row_vector(loops: Loops, lanes: int) -> Var | None:
    """Return the loop over rows to vectorise, or None to vectorise inner loops (or nothing)."""
    steps = loops.passes
    by_inner = sum(_inner_cost(step, inner_vector(step, lanes), lanes) for step in steps)
    best, chosen = by_inner, None
    for var in reversed(loops.rows):
        if var.extent > 1:
            cost = sum(_cost(step, var, lanes) * _count(step) for step in steps)
            cost *= ceil(var.extent / lanes) / var.extent
            if cost < best:
                best, chosen = cost, var
    return chosen


def inner_vector(step: Pass, lanes: int) -> Var | None:
    """Return the inner loop of a pass to vectorise."""
    choices = [v for v in reversed(step.inner) if v.extent > 1]
    if not choices:
        return None
    return min(choices, key=lambda v: _inner_cost(step, v, lanes))


def _count(step: Pass) -> int:
    return prod(v.extent for v in step.inner)


def _inner_cost(step: Pass, var: Var | None, lanes: int) -> float:
    if var is None:
        return _cost(step, None, lanes) * _count(step)
    vectors = _count(step) * ceil(var.extent / lanes) / var.extent
    return _cost(step, var, lanes) * vectors + ACROSS * len(step.reductions)


def _cost(step: Pass, var: Var | None, lanes: int) -> float:
    """Return about how many instructions one vector along a loop takes in a pass."""
    stores = step.stores + step.reductions
    work: dict[int, Expr] = {id(e): e for s in stores for e in expressions(s.expr)}
    total = 0.0
    for expr in work.values():
        total += _load_cost(expr, var, lanes) if expr.op == "load" else COSTS.get(expr.op, 1)
    return total + sum(_store_cost(s, var, lanes) for s in stores if s.target is not None)


def _load_cost(expr: Expr, var: Var | None, lanes: int) -> float:
    if var is None:
        return 1.0
    guarded = any(var in at.terms for at, _, _ in expr.guards)
    if any(var in e.at.terms for arg in expr.args for e in expressions(arg)):
        return lanes
    return _access_cost(expr.at, var, lanes) + (3.0 if guarded else 0.0)


def _access_cost(at: Affine, var: Var, lanes: int) -> float:
    k = at.coefficient(var)
    return 1.0 if k in (0, 1) else 1.0 + k if k in STRIDED else float(lanes)


def _store_cost(store: Store, var: Var | None, lanes: int) -> float:
    return 1.0 if var is None or store.at.coefficient(var) in (0, 1) else float(lanes)
