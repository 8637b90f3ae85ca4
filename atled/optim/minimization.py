"""`minimize`: SciPy's optimizers on nested parameters, with exact derivatives.

`vector.py` lays the parameters out as the one float64 vector that SciPy moves; `objective.py`
computes what SciPy asks for there.
"""

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any

from atled.core.mode import refuse_traced
from atled.errors import BackendError
from atled.optim.objective import Constraint, Objective
from atled.optim.vector import Layout

__all__ = ["minimize"]

# What each of SciPy's methods takes: a gradient (g), products with the Hessian (p), the Hessian
# (h), bounds (b), constraints (c), their Jacobians (j) and products with their Hessians (v).
METHODS = {
    "Nelder-Mead": "b", "Powell": "b", "CG": "g", "BFGS": "g", "Newton-CG": "gp", "L-BFGS-B": "gb",
    "TNC": "gb", "COBYLA": "bc", "COBYQA": "bc", "SLSQP": "gbcj", "trust-constr": "gpbcjv",
    "dogleg": "gh", "trust-ncg": "gp", "trust-exact": "gh", "trust-krylov": "gp",
}  # fmt: skip


def minimize(
    f: Callable[..., Any],
    x0: Any,
    args: Any = (),
    method: str = "L-BFGS-B",
    bounds: Any = None,
    constraints: Any = (),
    tol: float | None = None,
    options: Mapping[str, Any] | None = None,
    callback: Callable[[Any], Any] | None = None,
    compile: bool | str = "auto",
) -> Any:
    """Minimize a function of nested parameters by one of SciPy's methods.

    Value and gradient come from one pass; products with the Hessian (Newton-CG, trust-ncg,
    trust-krylov, trust-constr) and the Hessian itself (dogleg, trust-exact) are exact. SciPy
    computes with one vector in float64; `f` sees its parameters in their own dtypes, so with
    float32 ones steps below their spacing are lost, and `tol` should not ask for more. The result
    is a constant; `implicit` differentiates an optimum by what it depends on.

    Args:
        f: ``f(x, *args)``, with one floating number as its result.
        x0: where to begin: Tensors, arrays and floats, nested in lists, tuples, dicts and
            dataclasses. `f` gets Tensors, nested so; one of a Python float is float64.
        args: what else `f` gets; one that is no tuple is the only one.
        method: the name of one of SciPy's, in any case. Those without gradients ("Nelder-Mead",
            "Powell", "COBYLA", "COBYQA") take functions that atled cannot differentiate.
        bounds: one pair (low, high) for all, or pairs nested as x0, for each leaf None or (low,
            high), these None (no bound), numbers, or arrays of the leaf's shape.
        constraints: dicts ``{"type": "eq" or "ineq", "fun": c}``, for c(x) = 0 or c(x) ≥ 0; c
            takes the nest and returns Tensors of any shape. Its Jacobian is exact.
        tol, options: SciPy's, of the method.
        callback: called with the nest after each iteration; it stops by raising StopIteration.
        compile: "auto" compiles `f` where that works (NumPy's backend, llvmlite installed), and
            compares it with `f` at x0; effects in Python (printing) then happen only at first.
            False runs it eagerly; True raises `TraceError` where it cannot be compiled.

    Returns:
        SciPy's OptimizeResult. ``x`` and ``jac`` (the gradient) are nested as x0 and hold Tensors;
        ``vector`` and ``gradient`` are the raw vectors; ``fun``, ``nit``, ``nfev``, ``success``,
        ``message`` as in SciPy; ``compiled`` says whether `f` ran compiled to the end, and
        ``compile_reason`` why not.

    Raises:
        BackendError: SciPy is not installed.
        NotScalarError, DTypeError, GradError: `f` does not return one number that depends on x.
        ShapeError, ValueError: bounds or constraints do not fit, or `f` is not finite at x0.

    Example:
        >>> import atled as at
        >>> def rosenbrock(p):
        ...     return (1 - p["x"]) ** 2 + 100 * (p["y"] - p["x"] ** 2) ** 2
        >>> found = at.optim.minimize(rosenbrock, {"x": -1.0, "y": 1.0}, tol=1e-10)
        >>> {name: round(value.item(), 4) for name, value in found.x.items()}
        {'x': 1.0, 'y': 1.0}
    """
    if find_spec("scipy") is None:
        raise BackendError("minimize needs SciPy: pip install 'atled[standard]'")
    from scipy import optimize

    refuse_traced("minimize()")
    if compile not in (True, False, "auto"):
        raise ValueError(f'minimize: compile is True, False or "auto"; found {compile!r}')
    name = _method(method)
    takes = METHODS[name]
    layout = Layout(x0)
    listed = [constraints] if isinstance(constraints, dict) else list(constraints)
    _refuse_ignored(name, bounds is not None, bool(listed))
    options_of_scipy: dict[str, Any] = {
        "method": name, "tol": tol, "options": None if options is None else dict(options),
    }  # fmt: skip
    if bounds is not None:
        options_of_scipy["bounds"] = layout.bounds(bounds)
    if listed:
        made = [Constraint(c, i, layout) for i, c in enumerate(listed)]
        options_of_scipy["constraints"] = [c.for_scipy(takes) for c in made]
    given = args if isinstance(args, tuple) else (args,)
    objective = Objective(f, given, layout, "g" in takes, compile)
    options_of_scipy |= {"jac": True} if "g" in takes else {}
    options_of_scipy |= {"hessp": objective.hessp} if "p" in takes else {}
    options_of_scipy |= {"hess": objective.hess} if "h" in takes else {}
    told = None if callback is None else _Callback(callback, layout)
    if told is not None:
        options_of_scipy["callback"] = told
    try:
        result = optimize.minimize(objective, objective.start.copy(), **options_of_scipy)
    except StopIteration:  # TNC does not catch it
        if told is None or told.vector is None:
            raise
        result = optimize.OptimizeResult(
            x=told.vector, fun=objective.value(told.vector), nit=told.count, success=False,
            status=99, message="`callback` raised `StopIteration`.",
        )  # fmt: skip
    return _nested(result, layout, objective)


def _method(given: Any) -> str:
    names = {name.lower(): name for name in METHODS}
    if not isinstance(given, str) or given.lower() not in names:
        raise ValueError(f"minimize: method is one of {', '.join(METHODS)}; found {given!r}")
    return names[given.lower()]


def _refuse_ignored(method: str, bounds: bool, constraints: bool) -> None:
    for letter, asked, what in (("b", bounds, "bounds"), ("c", constraints, "constraints")):
        if asked and letter not in METHODS[method]:
            able = ", ".join(name for name, takes in METHODS.items() if letter in takes)
            raise ValueError(f"minimize: {method} takes no {what}; these do: {able}")


class _Callback:
    """The user's callback as SciPy calls it; it remembers where it was last called."""

    def __init__(self, function: Callable[[Any], Any], layout: Layout) -> None:
        self.function, self.layout = function, layout
        self.vector: Any = None
        self.count = 0

    def __call__(self, vector: Any, state: Any = None) -> Any:
        self.vector, self.count = vector.copy(), self.count + 1
        return self.function(self.layout.nest(self.layout.tensors(self.vector)))


def _nested(result: Any, layout: Layout, objective: Objective) -> Any:
    """Return SciPy's result with the user's own structure in it."""
    result.vector, result.gradient = result.x, None
    result.x = layout.nest(layout.tensors(result.vector))
    result.fun = float(result.fun)
    found = result.pop("grad", result.get("jac"))  # trust-constr's jac is that of constraints
    result.pop("jac", None)
    if objective.gradient and found is not None:
        result.gradient = found[: layout.size]
        result.jac = layout.nest(layout.tensors(result.gradient))
    result.compiled, result.compile_reason = objective.reason is None, objective.reason
    return result
