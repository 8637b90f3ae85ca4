"""A function run once on fresh variables: what all transforms start from.

The tape between the variables and the results is then walked, backward (`Run.pull`) or forward
(`Run.push`). Variables are nodes of the one tape there is, so transforms nest in each other and in
`backward()` to any order, and perturbations never mix: each run has variables of its own.

A result stays connected to what it depends on outside of the run: the argument itself, if it
requires a gradient or is an outer transform's variable, and Tensors that the function captured.
The walk is recorded only where there is something to be connected to.
"""

from collections.abc import Callable, Sequence
from typing import Any

from atled.backends.protocol import NAMESPACES
from atled.config import modes
from atled.core.apply import apply, as_tensor
from atled.core.autograd import TENSORS
from atled.core.batch import batched, present
from atled.core.masks import constant
from atled.core.mode import enable_grad
from atled.core.op import REGISTRY
from atled.core.tape import Leaf, Node, outside, push_tangents, walk_back
from atled.core.tensor import Tensor, lift, wrap
from atled.errors import DTypeError, NotScalarError, TransformError, user_line
from atled.tree import Structure, flatten, unflatten

__all__ = ["Argnums", "Run", "over_of"]

Argnums = int | Sequence[int]


class Scope:
    """One call of a transform: its name, the user's line, and whether it is over."""

    __slots__ = ("ended", "line", "name")

    def __init__(self, name: str) -> None:
        self.name, self.line, self.ended = name, user_line(), False


class Run:
    """A function run once on fresh variables: what all transforms start from.

    Args:
        name: of the transform and the function, for messages.
        function: it gets the arguments with variables in the places of their Tensors.
        args, kwargs: of the call.
        argnums: the arguments to differentiate with respect to; None for all.
        has_aux: whether the function returns (result, anything else).

    Attributes:
        inputs: the variables; `single`: whether argnums was one number.
        outputs: the leaves of the result; `structure`: how they are nested.
        aux: what came with the result.
        connected: whether derivatives depend on something outside, and are to be recorded.
    """

    def __init__(
        self,
        name: str,
        function: Callable[..., Any],
        args: Sequence[Any],
        argnums: Argnums | None,
        has_aux: bool = False,
        kwargs: Any = None,
    ) -> None:
        self.name, self.scope = name, Scope(name)
        self.single = isinstance(argnums, int)
        recording = modes.enabled
        with enable_grad():
            given = self._vary(args, argnums)
            result = function(*given, **(kwargs or {}))
        self.scope.ended = True
        self.aux = None
        if has_aux:
            if not isinstance(result, tuple) or len(result) != 2:
                raise TypeError(
                    f"{name}: with has_aux=True the function returns a pair (result, aux); found "
                    f"{type(result).__name__}"
                )
            result, self.aux = result
        leaves, self.structure = flatten(result)
        self.outputs = [self._as_output(y) for y in leaves]
        self._apart = not self._outside(self.outputs)
        self.connected = recording and not self._apart

    def _vary(self, args: Sequence[Any], argnums: Argnums | None) -> list[Any]:
        """Return the arguments with variables in place of what is differentiated."""
        if argnums is None:
            chosen = list(range(len(args)))
        else:
            chosen = [_argnum(i, args, self.name) for i in _numbers(argnums)]
        self.inputs: list[Tensor] = []
        self.parts: list[tuple[Structure, list[int | None]]] = []  # of each argument: its leaves
        given = list(args)
        for i in chosen:
            leaves, structure = flatten(args[i])
            places: list[int | None] = []
            for k, leaf in enumerate(leaves):
                x = self._variable(leaf, i)
                places.append(None if x is None else len(self.inputs))
                if x is not None:
                    self.inputs.append(x)
                    leaves[k] = x
            self.parts.append((structure, places))
            given[i] = unflatten(structure, leaves)
        if not self.inputs:
            raise TransformError(
                f"{self.name}: there is nothing to differentiate with respect to: the arguments "
                f"{chosen} hold no floating Tensor, array or number"
            )
        self.nodes: list[Node] = [x._node for x in self.inputs]  # type: ignore[misc]
        self.since = min(node.number for node in self.nodes)
        return given

    def _variable(self, leaf: Any, position: int) -> Tensor | None:
        """Return a fresh Tensor of the same value; None for what has no derivative: None, text."""
        if leaf is None or isinstance(leaf, (str, bytes)):
            return None
        if not isinstance(leaf, (Tensor, float, int)) and not hasattr(leaf, "__array__"):
            raise TransformError(
                f"{self.name}: argument {position} holds a {type(leaf).__name__}; differentiated "
                "are Tensors, arrays and floats, in lists, tuples, dicts and dataclasses. For a "
                "Module, give its parameters: at.nn.functional_call(module, parameters, inputs)"
            )
        x = as_tensor(leaf)
        if not x.dtype.is_floating_point:
            raise DTypeError(
                f"{self.name}: argument {position} holds {x.dtype.name}; only floating values have "
                "a derivative. Convert it (1.0, x.astype(at.float32)), or leave it out of argnums"
            )
        inside = present(x._value)
        for batch in modes.batches:
            if batch not in inside:
                x = apply(REGISTRY["spread_batch"], x, batch=batch)
        if x._node is not None:
            return apply(REGISTRY["reshape"], x, shape=x.shape)
        y = wrap(x._value)
        y._node = Leaf(y, y._value.shape, y._value.dtype)
        y._node.scope = self.scope
        return y

    def _as_output(self, y: Any) -> Tensor:
        if isinstance(y, Tensor):
            return y
        if isinstance(y, (float, int)) or hasattr(y, "__array__"):
            return as_tensor(y)
        raise TransformError(
            f"{self.name}: the function returns Tensors and numbers (also nested); found a "
            f"{type(y).__name__}"
        )

    def _outside(self, tensors: Sequence[Tensor]) -> bool:
        """Say whether Tensors depend on something recorded outside of this run."""
        roots = [t._node for t in tensors if t._node is not None]
        return outside(roots, self.since, set(self.nodes))

    def _beside(self) -> list[Tensor]:
        """Return the Tensors that came with the results: they may be walked from later on."""
        return [t for t in flatten(self.aux)[0] if isinstance(t, Tensor)]

    # -- what a user gets back

    def returned(self, nest: Any) -> Any:
        """Return a nest of Tensors without their connection to the variables of this run."""
        leaves, structure = flatten(nest)
        return unflatten(
            structure,
            [
                wrap(t._value)
                if isinstance(t, Tensor) and t._node is not None and not self._outside([t])
                else t
                for t in leaves
            ],
        )

    def result(self) -> Any:
        """Return the function's result, as `returned`."""
        if self._apart:
            own = [y if y._node is None else wrap(y._value) for y in self.outputs]
            return unflatten(self.structure, own)
        return self.returned(unflatten(self.structure, list(self.outputs)))

    def like_inputs(self, leaves: Sequence[Any]) -> Any:
        """Nest one value for each variable as the arguments are nested."""
        out = [
            unflatten(structure, [None if k is None else leaves[k] for k in places])
            for structure, places in self.parts
        ]
        return out[0] if self.single else tuple(out)

    # -- the two walks

    def pull(
        self, cotangents: Sequence[Tensor | None], last: bool = False, given: bool = True
    ) -> list[Tensor]:
        """Map one cotangent for each result (None: zero) to one for each variable.

        Args:
            last: nobody walks this run again, so that checkpoints may free what is behind them.
            given: the cotangents are the user's own, whose zeros count as masks.
        """
        recording = modes.enabled and (
            self.connected or any(g is not None and g._node is not None for g in cotangents)
        )
        pairs = [
            (y._node, g)
            for y, g in zip(self.outputs, cotangents, strict=True)
            if y._node is not None and g is not None and y._node.number >= self.since
        ]
        found: dict[Node, Any] = {}
        wanted = set(self.nodes)
        with self.inputs[0].backend.quiet():
            if recording:
                with enable_grad():
                    walk_back(
                        pairs,
                        found.__setitem__,
                        wanted,
                        lift,
                        TENSORS,
                        given=constant(pairs) if given else (),
                    )
            else:
                seeds = [(node, g._value) for node, g in pairs]
                over = over_of([g for _, g in seeds])
                frees = last and self._apart and not self._outside(self._beside())
                walk_back(
                    seeds,
                    found.__setitem__,
                    wanted,
                    over=over,
                    given=seeds if given else (),
                    frees=frees,
                )
        return [
            TENSORS.zeros_like(x) if n not in found else wrap(*_parts(found[n]))
            for n, x in zip(self.nodes, self.inputs, strict=True)
        ]

    def push(self, tangents: Sequence[Tensor | None], given: bool = True) -> list[Tensor]:
        """Map one tangent for each variable (None: zero) to one for each result.

        `given` is as in `pull`.
        """
        recording = modes.enabled and (
            self.connected or any(t is not None and t._node is not None for t in tangents)
        )
        pairs = [(n, t) for n, t in zip(self.nodes, tangents, strict=True) if t is not None]
        reached = [y._node for y in self.outputs if y._node is not None]
        with self.inputs[0].backend.quiet():
            if recording:
                with enable_grad():
                    found = push_tangents(
                        dict(pairs),
                        reached,
                        lift,
                        TENSORS,
                        given=constant(pairs) if given else (),
                    )
            else:
                seeds = {n: t._value for n, t in pairs}
                found = push_tangents(
                    seeds,
                    reached,
                    over=over_of(seeds.values()),
                    given=list(seeds.items()) if given else (),
                )
        at = dict(zip(reached, found, strict=True))
        return [
            TENSORS.zeros_like(y)
            if y._node is None or at[y._node] is None
            else wrap(*_parts(at[y._node]))
            for y in self.outputs
        ]

    def scalar(self) -> Tensor:
        """Return the result if it is one floating number.

        Raises:
            NotScalarError, DTypeError: it is not.
        """
        if self.structure.build is not None or self.outputs[0].size != 1:
            found = (
                f"a result of shape {self.outputs[0].shape}"
                if self.structure.build is None
                else f"{len(self.outputs)} results"
            )
            raise NotScalarError(
                f"{self.name} needs a function with one number as its result; found {found}. "
                "Reduce it (.sum(), .mean()), or use jacobian or vjp; for a result with more "
                "beside it, return (result, more) and pass has_aux=True"
            )
        y = self.outputs[0]
        if not y.dtype.is_floating_point:
            raise DTypeError(f"{self.name}: the result is {y.dtype.name}, which has no derivative")
        return y


def _parts(found: Any) -> tuple[Any, Any]:
    """Return the value and node of what a walk, lifted or not, has found."""
    return (found._value, found._node) if isinstance(found, Tensor) else (found, None)


def over_of(seeds: Any) -> Any:
    """Return `batched` if a walk's seeds are batched, so that its namespaces must be."""
    return batched if any(NAMESPACES[type(g)].level > 1 for g in seeds) else None


def _numbers(argnums: Argnums) -> Sequence[int]:
    return (argnums,) if isinstance(argnums, int) else argnums


def _argnum(i: Any, args: Sequence[Any], name: str) -> int:
    if not isinstance(i, int) or isinstance(i, bool):
        raise TypeError(f"{name}: argnums is an integer or a tuple of them; found {i!r}")
    if not -len(args) <= i < len(args):
        raise TransformError(
            f"{name}: argnums asks for argument {i}; the call has {len(args)} positional "
            "argument(s)"
        )
    return i % len(args)
