"""What SciPy asks of a function: value and gradient, products with the Hessian, Jacobians."""

import math
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from typing import Any

from atled.compile.function import Compiled
from atled.core.jacobian import hessian, jacobian
from atled.core.mode import no_grad
from atled.core.tensor import Tensor, wrap
from atled.core.transforms import grad, hvp, linearize, value_and_grad
from atled.core.vmap import called
from atled.errors import DTypeError, GradError, NotScalarError, TraceError
from atled.optim.vector import Layout
from atled.tree import flatten

__all__ = ["Constraint", "Objective"]

PATIENCE = 4  # traces of one function; one that is traced at every step is faster uncompiled


def _called(function: Any, layout: Layout, args: Any, *leaves: Tensor) -> Any:
    return function(layout.nest(leaves), *args)


def _value(function: Any, layout: Layout, args: Any, *leaves: Tensor) -> Tensor:
    """Return the function's result, one floating number.

    Raises:
        NotScalarError, DTypeError: it is something else.
    """
    y = _called(function, layout, args, *leaves)
    name = f"minimize: {called(function)}"
    if isinstance(y, Tensor) and y.size == 1 and y.dtype.is_floating_point:
        return y
    if isinstance(y, Tensor) and y.size == 1:
        raise DTypeError(f"{name} returns {y.dtype.name}; it must be a floating number")
    found = f"shape {y.shape}" if hasattr(y, "shape") else f"a {type(y).__name__}"
    raise NotScalarError(
        f"{name} must return one number, as a Tensor; found {found}. Reduce it: .sum(), .mean()"
    )


def _number(function: Any, layout: Layout, args: Any, *leaves: Tensor) -> Any:
    """Return the function's result for a method that takes no gradient: also a Python float."""
    y = _called(function, layout, args, *leaves)
    alone = getattr(y, "ndim", 0) == 0 and not isinstance(y, Tensor)
    if alone and isinstance(y, (float, int)):
        return y
    return _value(lambda *_: y, layout, args, *leaves)


def _tied(function: Any, layout: Layout, args: Any, *leaves: Tensor) -> Tensor:
    """Return `_value`, refusing one that no derivative leads back from."""
    y = _value(function, layout, args, *leaves)
    if y._node is None:
        raise GradError(
            f"minimize: the result of {called(function)} does not depend on its parameters by "
            "operations that atled records (was it computed with NumPy, or detached?), so its "
            "gradient would be zero. Use atled's functions, or a method without gradients: "
            "'Nelder-Mead', 'Powell', 'COBYLA', 'COBYQA'"
        )
    return y


def _both(function: Any, layout: Layout, args: Any, *leaves: Tensor) -> Any:
    argnums = tuple(range(len(leaves)))
    return value_and_grad(partial(_tied, function, layout, args), argnums)(*leaves)


def _product(function: Any, layout: Layout, args: Any, *both: Tensor) -> Any:
    n = len(both) // 2
    return hvp(partial(_tied, function, layout, args), both[:n], both[n:])


class _Fast:
    """A function of Tensors, compiled as long as that works; why it is not is kept."""

    def __init__(self, eager: Callable[..., Any], compiled: bool, verify: int = 0) -> None:
        self.eager = eager
        self.compiled = Compiled(eager, verify=verify) if compiled else None
        self.reason: str | None = None

    def __call__(self, *leaves: Tensor) -> Any:
        if self.compiled is None:
            return self.eager(*leaves)
        try:
            found = self.compiled(*leaves)
        except TraceError as error:
            return self.give_up(str(error))(*leaves)
        if self.compiled.stats().traces > PATIENCE:
            self.give_up("it was traced again and again: what it reads changes at every step")
        return found

    def give_up(self, reason: str) -> Callable[..., Any]:
        """Go on without the compiler."""
        self.compiled, self.reason = None, reason
        return self.eager


class Objective:
    """The function to minimize, as SciPy calls it: with a float64 vector.

    Args:
        function, args, layout: f(nest, *args), and the nest.
        gradient: whether the method takes gradients.
        compiled: True, False or "auto".

    Attributes:
        start: the vector of x0.
        reason: why it does not run compiled; None if it does.

    Raises:
        ValueError: the value or a derivative at x0 is not finite.
        NotScalarError, DTypeError, GradError: it cannot be minimized.
        TraceError: compiled=True, and it cannot be compiled.
    """

    def __init__(
        self, function: Any, args: tuple[Any, ...], layout: Layout, gradient: bool, compiled: Any
    ) -> None:
        self.layout, self.gradient = layout, gradient
        given = function, layout, args
        self.eager: Callable[..., Any] = partial(_both if gradient else _number, *given)
        self.tied, self.product = partial(_tied, *given), partial(_product, *given)
        self.start = layout.vector(layout.leaves)
        first = self._checked_start(self._parts(self.eager, layout.tensors(self.start)))
        why = "compile=False" if compiled is False else _why_not(layout)
        self.fast = _Fast(self.eager, why is None)
        self.fast_product = _Fast(self.product, why is None, verify=1)
        if why is None:
            why = self._compare(first)
        if why is not None:
            self.fast.give_up(why)
            self.fast_product.give_up(why)
        if compiled is True and self.reason is not None:
            raise TraceError(f"minimize with compile=True: {self.reason}")
        self._last: tuple[Any, Any] = (self.start.copy(), first)
        self._linear: tuple[Any, Any] = (None, None)

    @property
    def reason(self) -> str | None:
        """Why it does not run compiled, or has not to the end."""
        return self.fast.reason or self.fast_product.reason

    @no_grad()  # Tensors that the function captures may require gradients of their own
    def _parts(self, run: Callable[..., Any], leaves: Sequence[Tensor]) -> tuple[float, Any]:
        with leaves[0].backend.quiet():  # a line search may try a point outside of the domain
            if not self.gradient:
                return float(run(*leaves)), None
            y, gradients = run(*leaves)
            return float(y.item()), self.layout.vector(gradients)

    def _checked_start(self, found: tuple[float, Any]) -> tuple[float, Any]:
        value, gradient = found
        if not math.isfinite(value):
            raise ValueError(
                f"minimize: the function is {value} at x0; start where it is finite. "
                "at.inspect.nan_report shows where a NaN comes from"
            )
        for i, g in enumerate([] if gradient is None else gradient.tolist()):
            if not math.isfinite(g):
                raise ValueError(
                    f"minimize: the gradient is {g} in number {i} of x0, where the function is "
                    f"{value}; start elsewhere, or use at.where to leave the singular point out"
                )
        return found

    def _compare(self, eager: tuple[float, Any]) -> str | None:
        """Run it compiled at x0; say why that is of no use, or None.

        It ran eagerly there a moment ago: whatever it raises now comes of compiling it.
        """
        import numpy as np

        assert self.fast.compiled is not None
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            try:
                found = self._parts(self.fast.compiled, self.layout.tensors(self.start))
            except Exception as error:
                return f"{type(error).__name__}: {error}"
        if self.fast.compiled.stats().eager:
            return str(warned[-1].message)
        coarse = any(x.dtype.itemsize < 8 for x in self.layout.leaves)
        rtol = 1e-3 if coarse else 1e-7
        for a, b in zip(found, eager, strict=True):
            if b is not None and not np.allclose(a, b, atol=rtol * np.abs(b).max(), rtol=rtol):
                return "compiled, it gives other numbers at x0 than eagerly"
        return None

    # -- what SciPy calls

    def __call__(self, vector: Any) -> Any:
        """Return the value, and the gradient where the method takes one."""
        last, found = self._last
        if not (last == vector).all():
            own = vector.copy()  # SciPy writes into its own
            found = self._parts(self.fast, self.layout.tensors(own))
            self._last = own, found
        return (found[0], found[1].copy()) if self.gradient else found[0]

    def value(self, vector: Any) -> float:
        """Return the value alone."""
        return float(self(vector)[0] if self.gradient else self(vector))

    @no_grad()
    def hessp(self, vector: Any, direction: Any) -> Any:
        """Return the product of the Hessian with a direction.

        Uncompiled, the gradient is linearized once for all directions at a point.
        """
        tangents = self.layout.tensors(direction.copy())
        if self.fast_product.compiled is not None:
            leaves = self.layout.tensors(vector.copy())
            return self.layout.vector(self.fast_product(*leaves, *tangents))
        point, push = self._linear
        if point is None or not (point == vector).all():
            point = vector.copy()
            leaves = self.layout.tensors(point)
            _, push = linearize(grad(self.tied, tuple(range(len(leaves)))), *leaves)
            self._linear = point, push
        return self.layout.vector(push(*tangents))

    @no_grad()
    def hess(self, vector: Any) -> Any:
        """Return the Hessian, (n, n)."""
        leaves = self.layout.tensors(vector.copy())
        blocks = hessian(self.tied, tuple(range(len(leaves))))(*leaves)
        return _matrix([list(row) for row in blocks], leaves, leaves)


def _why_not(layout: Layout) -> str | None:
    for x in layout.leaves:
        if x.backend.name != "numpy":
            return f"programs run on numpy's arrays, and x0 lies in the {x.backend.name} backend"
    if find_spec("llvmlite") is None:
        return "llvmlite is not installed; pip install 'atled[standard]'"
    return None


def _matrix(blocks: Any, rows: Sequence[Tensor], columns: Sequence[Tensor]) -> Any:
    """Return blocks of shape (*row, *column) as one float64 matrix."""
    import numpy as np

    return np.block([
        [b.backend.to_numpy(b._value).reshape(r.size, c.size).astype(float)
         for b, c in zip(line, columns, strict=True)]
        for line, r in zip(blocks, rows, strict=True)
    ])  # fmt: skip


class Constraint:
    """One constraint, as SciPy calls it: fun(x) = 0, or fun(x) ≥ 0, and its exact Jacobian."""

    def __init__(self, given: Any, number: int, layout: Layout) -> None:
        name = f"minimize: constraint {number}"
        if not isinstance(given, dict):
            raise TypeError(
                f"{name} must be a dict {{'type': 'eq' or 'ineq', 'fun': f}}; found a "
                f"{type(given).__name__}"
            )
        if given.get("type") not in ("eq", "ineq") or not callable(given.get("fun")):
            raise ValueError(
                f"{name} needs 'type', 'eq' (fun is 0) or 'ineq' (fun is not negative), and "
                f"'fun', a function; found {given!r}"
            )
        if unknown := set(given) - {"type", "fun", "args"}:
            raise ValueError(
                f"{name} takes 'type', 'fun' and 'args' (its Jacobian is exact by itself); found "
                f"{sorted(unknown)}"
            )
        self.name, self.layout, self.kind = name, layout, given["type"]
        self.run = partial(_called, given["fun"], layout, tuple(given.get("args", ())))

    @no_grad()
    def fun(self, vector: Any) -> Any:
        """Return its values as a float64 vector."""
        import numpy as np

        found = self._results(*self.layout.tensors(vector.copy()))
        parts = [y.backend.to_numpy(y._value).reshape(-1).astype(float) for y in found]
        return np.concatenate(parts)

    @no_grad()
    def jac(self, vector: Any) -> Any:
        """Return its Jacobian, (values, n)."""
        leaves = self.layout.tensors(vector.copy())
        rows, ys = jacobian(self._tied, tuple(range(len(leaves))), has_aux=True)(*leaves)
        return _matrix(rows, ys, leaves)

    @no_grad()
    def hess(self, vector: Any, weights: Any) -> Any:
        """Return the Hessian of Σ weights · values, as an operator."""
        from scipy.sparse.linalg import LinearOperator

        leaves = self.layout.tensors(vector.copy())
        listed = weights.tolist()

        def weighted(*leaves: Tensor) -> Tensor:
            rest = iter(listed)
            total: Any = 0.0
            for y in self._results(*leaves):
                w = y.backend.asarray([next(rest) for _ in range(y.size)], dtype=y.dtype)
                total = total + (y.reshape(-1) * wrap(w)).sum()
            return total

        _, push = linearize(grad(weighted, tuple(range(len(leaves)))), *leaves)

        @no_grad()
        def product(direction: Any) -> Any:
            return self.layout.vector(push(*self.layout.tensors(direction.reshape(-1).copy())))

        n = self.layout.size
        return LinearOperator((n, n), matvec=product, rmatvec=product, dtype=float)

    def _results(self, *leaves: Tensor) -> list[Tensor]:
        found, _ = flatten(self.run(*leaves))
        for y in found:
            if not isinstance(y, Tensor) or not y.dtype.is_floating_point:
                raise DTypeError(
                    f"{self.name}: fun must return floating Tensors; found a {type(y).__name__}"
                )
        return found

    def _tied(self, *leaves: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        found = self._results(*leaves)
        return found, found

    def for_scipy(self, takes: str) -> Any:
        """Return it as SciPy takes it: also with a Jacobian (j), or with a Hessian too (v)."""
        if "v" not in takes:
            given = {"jac": self.jac} if "j" in takes else {}
            return {"type": self.kind, "fun": self.fun} | given
        from scipy.optimize import NonlinearConstraint

        high = math.inf if self.kind == "ineq" else 0.0
        return NonlinearConstraint(self.fun, 0.0, high, self.jac, self.hess)
