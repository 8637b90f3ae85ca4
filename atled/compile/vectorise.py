"""Which loop of a kernel is vectorised."""

from atled.compile.index import Affine, Var
from atled.compile.kernel import Loops, Store

__all__ = ["chosen"]


def chosen(loops: Loops) -> Var | None:
    """Return the loop to vectorise: the one along which memory is read and written in order."""
    row = loops.rows[-1]
    inner = {p.inner[-1] for p in loops.passes if p.inner}
    if not inner:
        return row if row.extent > 1 else None
    places = [e for p in loops.passes if p.inner for s in p.stores + p.reductions
              for e in _places(s)]  # fmt: skip
    jumps_inner = sum(any(at.coefficient(v) not in (0, 1) for v in inner) for at in places)
    jumps_row = sum(at.coefficient(row) not in (0, 1) for at in places)
    wide = max(v.extent for v in inner)
    if jumps_row < jumps_inner and row.extent > 1:
        return row
    if jumps_row == jumps_inner and wide < 8 and row.extent > wide:
        return row
    return max(inner, key=lambda v: v.extent) if wide > 1 else row if row.extent > 1 else None


def _places(store: Store) -> list[Affine]:
    found = [store.at] if store.target is not None else []
    stack = [store.expr]
    while stack:
        expr = stack.pop()
        if expr.op == "load":
            found.append(expr.at)
        stack += expr.args
    return found
