"""Functions with a derivative of the user's own: `custom_vjp` and `custom_jvp`, by JAX's protocol.

One rule is enough for both modes: the other is its transpose (`core/call.py`). The rules are
ordinary code on Tensors, so they run batched inside `vmap`, are traced by `compile`, and are
differentiated in turn for higher orders.
"""

import inspect
from collections.abc import Callable, Sequence
from functools import partial, update_wrapper
from typing import Any

from atled.backends.protocol import NAMESPACES
from atled.config import modes
from atled.core.apply import as_tensor
from atled.core.autograd import TENSORS
from atled.core.call import Given, fitting, record, refuse_captured, result_node
from atled.core.checkpoint import as_it_was, watched
from atled.core.surface import FUNCTIONS
from atled.core.tape import Node
from atled.core.tensor import Tensor, wrap
from atled.core.vmap import called
from atled.errors import GradError, TransformError
from atled.tree import Structure, flatten, unflatten

__all__ = ["custom_jvp", "custom_vjp"]

SAME = 1e-3  # how far a second run of fwd may be from the first, relative to its size


class _Custom:
    """What the two have in common: the function, its arguments, and how a call is made."""

    aliases: tuple[str, ...] = ()
    pulls = pushes = False
    define = ""

    def __new__(cls, function: Any = None, nondiff_argnums: Sequence[int] = ()) -> Any:
        """Make one; without a function, a decorator that does."""
        if function is None:
            return partial(cls, nondiff_argnums=nondiff_argnums)
        return object.__new__(cls)

    def __init__(self, function: Callable[..., Any], nondiff_argnums: Sequence[int] = ()) -> None:
        update_wrapper(self, function)
        self.function, self.name = function, called(function)
        self.nondiff_argnums = tuple(sorted(nondiff_argnums))
        try:
            self._signature: Any = inspect.signature(function)
        except (TypeError, ValueError):  # a builtin
            self._signature = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not self._defined():
            raise TransformError(f"{self.name}: it has no rule yet; call {self.define} first")
        args = self._positional(args, kwargs)
        fixed = [args[i] for i in self.nondiff_argnums]
        if any(isinstance(x, Tensor) and x._node is not None for x in flatten(fixed)[0]):
            raise GradError(
                f"{self.name}: a Tensor that requires a gradient was given as one of the "
                f"nondiff_argnums={self.nondiff_argnums}; take it out of them, or detach() it"
            )
        given = Given([x for i, x in enumerate(args) if i not in self.nondiff_argnums])
        if not given.tracked:
            result = self.function(*self._merged(fixed, given.nested()))
            if modes.enabled:
                refuse_captured(self.name, "the function", result)
            return result
        return self._recorded(fixed, given)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

    def _defined(self) -> bool:
        raise NotImplementedError

    def _recorded(self, fixed: list[Any], given: Given) -> Any:
        raise NotImplementedError

    def _positional(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """Return all arguments by position, defaults included.

        Raises:
            TypeError: one of them can only be given by keyword.
        """
        if self._signature is not None:
            bound = self._signature.bind(*args, **kwargs)
            bound.apply_defaults()
            args, kwargs = bound.args, bound.kwargs
        if kwargs:
            raise TypeError(
                f"{self.name}: the arguments {', '.join(kwargs)} can only be given by keyword, "
                "and rules get their arguments by position; make them positional"
            )
        wrong = [i for i in self.nondiff_argnums if not 0 <= i < len(args)]
        if wrong:
            raise TypeError(
                f"{self.name}: nondiff_argnums asks for argument {wrong[0]}; the call has "
                f"{len(args)}"
            )
        return args

    def _merged(self, fixed: Sequence[Any], args: Sequence[Any]) -> list[Any]:
        """Return the arguments in their places again."""
        out = list(args)
        for i, x in zip(self.nondiff_argnums, fixed, strict=True):
            out.insert(i, x)
        return out

    def _as_results(self, result: Any) -> tuple[list[Tensor], Structure]:
        leaves, structure = flatten(result)
        for y in leaves:
            if not isinstance(y, (Tensor, float, int)) and not hasattr(y, "__array__"):
                raise TransformError(
                    f"{self.name}: the function returns Tensors and numbers (also nested); found "
                    f"a {type(y).__name__}"
                )
        return [as_tensor(y) for y in leaves], structure


class custom_vjp(_Custom):
    """Give a function a reverse-mode rule of your own.

    ``f.defvjp(fwd, bwd)`` sets it: ``fwd(*args)`` returns (result, residuals), and
    ``bwd(residuals, cotangent)`` a tuple with a cotangent for each argument, nested as it is, or
    None for zero. bwd must be linear in the cotangent: forward mode is its transpose. For higher
    orders, bwd is differentiated, and what fwd computes for it.

    Args:
        function: its arguments and its result may be nested; those given by keyword are put in
            their positions.
        nondiff_argnums: positions of arguments that are no Tensors to differentiate (functions,
            options); fwd gets them in their places, bwd first of all.

    Raises:
        GradError: the function uses a Tensor that requires a gradient and is not an argument; a
            cotangent has the wrong shape.
        TransformError: no rule has been set.

    Source: names and meaning as in `jax.custom_vjp`.

    Example:
        >>> import atled as at
        >>> @at.custom_vjp
        ... def log1pexp(x):
        ...     return at.log(1 + at.exp(x))
        >>> def fwd(x):
        ...     return log1pexp(x), x
        >>> def bwd(x, g):
        ...     return (g * (1 - 1 / (1 + at.exp(x))),)
        >>> log1pexp.defvjp(fwd, bwd)
        >>> at.grad(log1pexp)(0.0), at.grad(at.grad(log1pexp))(0.0)
        (tensor(0.5000), tensor(0.2500))
    """

    pulls = True
    define = "f.defvjp(fwd, bwd)"
    fwd: Any = None
    bwd: Any = None

    def defvjp(self, fwd: Callable[..., Any], bwd: Callable[..., Any]) -> None:
        """Set the rule: what to compute and keep, and what to make of a cotangent."""
        self.fwd, self.bwd = fwd, bwd

    def _defined(self) -> bool:
        return self.bwd is not None

    @property
    def shown(self) -> str:
        """What `atled.inspect` shows of the rule."""
        return f"{self.name}: {called(self.bwd)}"

    def forward(self, fixed: Sequence[Any], args: Sequence[Any]) -> tuple[Any, Any]:
        """Call fwd.

        Raises:
            TypeError: it returns no pair.
        """
        pair = self.fwd(*self._merged(fixed, args))
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise TypeError(
                f"{self.name}: fwd returns a pair (result, residuals); found {type(pair).__name__}"
            )
        return pair

    def _recorded(self, fixed: list[Any], given: Given) -> Any:
        args = given.nested()
        states: dict[Any, Any] = {}
        with watched(states):
            result, residuals = self.forward(fixed, args)
        refuse_captured(self.name, "fwd", (result, residuals))
        ys, structure = self._as_results(result)
        kept = _Residuals(self, fixed, given, args, (ys, structure), residuals, states)
        return unflatten(structure, record(self, given, ys, kept))

    def pull(self, known: "_Known", cotangents: list[Tensor]) -> list[Any]:
        """Call bwd, and take the tracked leaves out of what it returns."""
        g = unflatten(known.structure, list(cotangents))
        found = self.bwd(*known.fixed, known.residuals, g)
        forms = known.given.structure.children
        if not isinstance(found, tuple) or len(found) != len(forms):
            what = f"{len(found)}" if isinstance(found, tuple) else f"a {type(found).__name__}"
            raise GradError(
                f"{self.name}: bwd returns a tuple with a cotangent (or None) for each of "
                f"{len(forms)} argument(s); found {what}"
            )
        leaves = [
            leaf
            for i, (part, form) in enumerate(zip(found, forms, strict=True))
            for leaf in fitting(part, form, f"{self.name}: the cotangent of argument {i}")
        ]
        return [leaves[i] for i in known.given.tracked]

    def push(self, known: Any, tangents: Any) -> Any:
        """Never called: it is the transpose of `pull`."""
        raise NotImplementedError


class _Known:
    """What bwd reads, as Tensors."""

    def __init__(self, kept: "_Residuals", residuals: Any) -> None:
        self.fixed, self.given, self.structure = kept.fixed, kept.given, kept.structure
        self.residuals = residuals


class _Residuals:
    """What a call of a `custom_vjp` keeps, as values.

    A residual that is an argument, or a result, is known as such: a lifted walk connects it to
    the argument, or to the call itself. For others it runs fwd again on the connected arguments,
    so that a first derivative keeps nothing of fwd's tape.
    """

    def __init__(
        self,
        custom: custom_vjp,
        fixed: list[Any],
        given: Given,
        args: list[Any],
        result: tuple[list[Tensor], Structure],
        residuals: Any,
        states: dict[Any, Any],
    ) -> None:
        self.custom, self.fixed, self.given, self.states = custom, fixed, given, states
        ys, self.structure = result
        leaves, self.form = flatten(residuals)
        arguments = flatten(args)[0]
        unchanged = {
            id(arguments[i]): i for i in given.is_tensor if arguments[i]._value is given.leaves[i]
        }
        returned = {id(y): i for i, y in enumerate(ys)}
        self.is_tensor = [isinstance(x, Tensor) for x in leaves]
        self.values = [x._value if isinstance(x, Tensor) else x for x in leaves]
        self.of_args = [unchanged.get(id(x)) if isinstance(x, Tensor) else None for x in leaves]
        self.of_results = [returned.get(id(x)) if isinstance(x, Tensor) else None for x in leaves]
        self.again = any(
            (isinstance(x, Tensor) or hasattr(x, "__array__")) and a is None and y is None
            for x, a, y in zip(leaves, self.of_args, self.of_results, strict=True)
        )
        if not self.again:  # then the other arguments need not be kept
            used = {i for i in self.of_args if i is not None}
            given.leaves = [x if i in used or i not in given.is_tensor else None
                            for i, x in enumerate(given.leaves)]  # fmt: skip

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """The arrays that are kept."""
        return tuple(self.values)

    def bound(self, node: Node | None) -> _Known:
        """Return what bwd reads: constants, or connected to the parents of the call's node."""
        leaves = [wrap(v) if t else v for v, t in zip(self.values, self.is_tensor, strict=True)]
        if node is not None:
            self._connect(leaves, node)
        return _Known(self, unflatten(self.form, leaves))

    def _connect(self, leaves: list[Any], node: Node) -> None:
        parents = dict(zip(self.given.tracked, node.parents, strict=True))
        computed = self._run_again(node) if self.again else leaves
        for i, (a, y) in enumerate(zip(self.of_args, self.of_results, strict=True)):
            if a is not None:
                leaves[i] = wrap(self.values[i], parents.get(a))
            elif y is not None:
                leaves[i] = wrap(self.values[i], result_node(node, y, self.values[i]))
            elif isinstance(computed[i], Tensor) and computed[i]._node is not None:
                self._compare(self.values[i], computed[i]._value)
                leaves[i] = computed[i]

    def _run_again(self, node: Node) -> list[Any]:
        args = self.given.nested(self.given.connected(node))
        with as_it_was(self.states, self.given.every):
            _, residuals = self.custom.forward(self.fixed, args)
        return fitting(residuals, self.form, f"{self.custom.name}: residuals of a second run")

    def _compare(self, first: Any, second: Any) -> None:
        """Raise if fwd computes something else now: it drew random numbers, or read a state."""
        if NAMESPACES[type(first)].level or NAMESPACES[type(second)].level:
            return  # no values to compare
        a, b = wrap(first), wrap(second)
        close = FUNCTIONS["allclose"]
        if a.shape == b.shape and bool(close(a, b, rtol=SAME, atol=SAME**2, equal_nan=True)):
            return
        raise GradError(
            f"{self.custom.name}: for a higher derivative fwd was run again and gave other "
            "residuals; what changes from run to run must be an argument (random numbers of "
            "atled's generators are drawn again as they were)"
        )


class custom_jvp(_Custom):
    """Give a function a forward-mode rule of your own.

    ``f.defjvp(rule)`` sets it: ``rule(primals, tangents)`` returns (result, tangent of the
    result). The tangents are a tuple nested as the arguments, with zeros for what is constant and
    None for what has no derivative (integers, text). It must be linear in the tangents: reverse
    mode is its transpose. Higher orders differentiate the rule.

    Args:
        function, nondiff_argnums: as for `custom_vjp`; the rule gets the latter first.

    Raises:
        GradError: the function uses a Tensor that requires a gradient and is not an argument; a
            tangent has the wrong shape.
        TransformError: no rule has been set.

    Source: names and meaning as in `jax.custom_jvp`.

    Example:
        >>> import atled as at
        >>> @at.custom_jvp
        ... def f(x, y):
        ...     return at.sin(x) * y
        >>> @f.defjvp
        ... def rule(primals, tangents):
        ...     (x, y), (dx, dy) = primals, tangents
        ...     return f(x, y), at.cos(x) * y * dx + at.sin(x) * dy
        >>> at.jvp(f, (0.0, 2.0), (1.0, 0.0)), at.grad(f, 0)(0.0, 2.0)
        ((tensor(0.), tensor(2.)), tensor(2.))
    """

    pushes = True
    define = "f.defjvp(rule)"
    rule: Any = None

    def defjvp(self, rule: Callable[..., Any]) -> Callable[..., Any]:
        """Set the rule; returns it, so that this is a decorator too."""
        self.rule = rule
        return rule

    def _defined(self) -> bool:
        return self.rule is not None

    @property
    def shown(self) -> str:
        """What `atled.inspect` shows of the rule."""
        return f"{self.name}: {called(self.rule)}, transposed"

    def _recorded(self, fixed: list[Any], given: Given) -> Any:
        result = self.function(*self._merged(fixed, given.nested()))
        refuse_captured(self.name, "the function", result)
        ys, structure = self._as_results(result)
        return unflatten(structure, record(self, given, ys, _Primals(fixed, given, structure)))

    def push(self, known: "_Bound", tangents: list[Any]) -> list[Any]:
        """Call the rule."""
        given, leaves = known.kept.given, flatten(known.args)[0]
        zero = [_zero(x) for x in leaves]
        for i, t in zip(given.tracked, tangents, strict=True):
            zero[i] = t
        nested = tuple(unflatten(given.structure, zero))
        pair = self.rule(*known.kept.fixed, tuple(known.args), nested)
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise GradError(
                f"{self.name}: its rule returns a pair (result, tangent); found "
                f"{type(pair).__name__}"
            )
        return fitting(pair[1], known.kept.structure, f"{self.name}: the tangent of its rule")

    def pull(self, known: Any, cotangents: Any) -> Any:
        """Never called: it is the transpose of `push`."""
        raise NotImplementedError


class _Primals:
    """What a call of a `custom_jvp` keeps, as values."""

    def __init__(self, fixed: list[Any], given: Given, structure: Structure) -> None:
        self.fixed, self.given, self.structure = fixed, given, structure

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """The arrays that are kept."""
        return tuple(self.given.leaves)

    def bound(self, node: Node | None) -> "_Bound":
        """Return the arguments: constants, or connected to the parents of the call's node."""
        return _Bound(self, self.given.nested(self.given.connected(node)))


class _Bound:
    """A call's arguments as Tensors again."""

    def __init__(self, kept: _Primals, args: list[Any]) -> None:
        self.kept, self.args = kept, args


def _zero(x: Any) -> Any:
    """Return the tangent of a constant: zeros, or None for what has no derivative."""
    if isinstance(x, Tensor):
        return TENSORS.zeros_like(x) if x.dtype.is_floating_point else None
    if type(x) is float:
        return 0.0
    if hasattr(x, "__array__"):
        return _zero(as_tensor(x))
    return None
