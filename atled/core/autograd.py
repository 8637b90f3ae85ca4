"""Derivatives on demand, by PyTorch's names: `backward`, `grad`, `no_grad`, `Function`.

This is the border between Tensors and the walks of `core/tape.py`: it checks what was asked,
makes the first cotangent, and hands the results to `.grad` only when the whole walk is done.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any
from weakref import ref

from atled.config import changes
from atled.core.apply import apply, as_tensor
from atled.core.masks import constant
from atled.core.mode import enable_grad
from atled.core.op import REGISTRY
from atled.core.tape import Leaf, Node, free, push_tangents, walk_back
from atled.core.tensor import Tensor, lift, wrap
from atled.errors import GradError, NotScalarError, ShapeError, described

__all__ = [
    "TENSORS",
    "Handle",
    "backward",
    "grad",
    "gradients",
    "jvp_of",
    "register_hook",
    "retain_grad",
]


class _TensorNamespace:
    """The namespace over Tensors: every record, called through `apply`."""

    name = "tensors"

    def __getattr__(self, name: str) -> Callable[..., Any]:
        op = REGISTRY.get(name)
        if op is None:
            raise AttributeError(f"no operation is called {name!r}")

        def call(*operands: Any, **static: Any) -> Any:
            return apply(op, *operands, **static)

        setattr(self, name, call)
        return call

    def zeros_like(self, x: Tensor) -> Tensor:
        return wrap(x.backend.zeros_like(x._value))

    def ones_like(self, x: Tensor) -> Tensor:
        return wrap(x.backend.ones_like(x._value))

    def dtype_of(self, x: Tensor) -> Any:
        return x.dtype


TENSORS = _TensorNamespace()


def backward(
    tensors: Tensor | Sequence[Tensor],
    gradient: Any = None,
    *,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Tensor | Sequence[Tensor] | None = None,
) -> None:
    """Add the gradients of `tensors` to `.grad` of the leaves they were computed from.

    Args:
        tensors: one or several results.
        gradient: the cotangent of each (∂objective/∂tensor), of its shape; 1 for a scalar.
        retain_graph: keep the graph for another walk (default: as `create_graph`).
        create_graph: record the walk itself, so that the gradients can be differentiated.
        inputs: collect in these Tensors only.

    Raises:
        NotScalarError: a result is not a scalar and has no cotangent; also a ValueError.
        GradError: a result does not depend on anything that requires a gradient, or its graph
            was freed. Nothing has been added to any `.grad` then.
    """
    arrived: list[tuple[Node, Tensor]] = []
    targets = {} if inputs is None else {_wanted(t): t for t in _sequence(inputs)}
    keep = create_graph if retain_graph is None else retain_graph
    walk = _Walk(tensors, gradient, create_graph)
    passed = walk.run(
        lambda node, g: arrived.append((node, g)), None if inputs is None else set(targets), keep
    )
    _refuse_leaked([node for node, _ in arrived])
    for node, g in arrived:  # only now: an error on the way has left every .grad as it was
        for target in [targets[node]] if node in targets else _collectors(node, inputs is None):
            before = target.grad
            target._grad = wrap(g._value, g._node) if before is None else _add(before, g)
    if not keep:
        free(passed)


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Any = None,
    *,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
    materialize_grads: bool = False,
) -> tuple[Tensor | None, ...]:
    """Return the gradients of `outputs` with respect to `inputs`; no `.grad` is touched.

    Args:
        outputs, grad_outputs: results and their cotangents, as in `backward`.
        inputs: leaves or results on the way.
        retain_graph, create_graph: as in `backward`.
        allow_unused: give None for an input that the outputs do not depend on.
        materialize_grads: give zeros for such an input.

    Returns:
        A tuple with a Tensor for each input.

    Raises:
        GradError: an input does not require a gradient, or (unless allowed) is not used.

    Example:
        >>> import atled as at
        >>> x = at.tensor([1.0, 2.0], requires_grad=True)
        >>> at.autograd.grad((x**3).sum(), x)
        (tensor([ 3., 12.]),)
    """
    sources = _sequence(inputs)
    nodes = [_wanted(t) for t in sources]
    found: dict[Node, Any] = {}
    keep = create_graph if retain_graph is None else retain_graph
    walk = _Walk(outputs, grad_outputs, create_graph)
    passed = walk.run(found.__setitem__, set(nodes), keep)
    if not (allow_unused or materialize_grads):
        for i, node in enumerate(nodes):
            if node not in found:
                raise GradError(
                    f"grad: input {i} (shape {sources[i].shape}) is not used in computing the "
                    "outputs; pass allow_unused=True for None, or materialize_grads=True for "
                    "zeros; atled.inspect.why_no_grad(output, input) shows where the path ends"
                )
    if not keep:
        free(passed)
    return tuple(
        found[n] if n in found else TENSORS.zeros_like(t) if materialize_grads else None
        for n, t in zip(nodes, sources, strict=True)
    )


def gradients(
    loss: Tensor, parameters: Iterable[Tensor] | None = None
) -> list[tuple[Tensor, Tensor]]:
    """Return (gradient, parameter) pairs for the leaves that `loss` depends on.

    No `.grad` is touched, and the graph is freed. An optimizer's `step` accepts the list.

    Args:
        loss: a scalar.
        parameters: the leaves to give, in this order; by default all, in the order of making.
    """
    arrived: dict[Node, Any] = {}
    passed = _Walk(loss, None, False).run(arrived.__setitem__, None, keep=False)
    if parameters is None:
        pairs = [(g, node.variable) for node, g in arrived.items() if isinstance(node, Leaf)]
        pairs = [(g, p) for g, p in pairs if p is not None]
        pairs.sort(key=lambda pair: pair[1]._node.number)
    else:
        pairs = [(arrived[p._node], p) for p in parameters if p._node in arrived]
    free(passed)
    return pairs


def jvp_of(
    outputs: Sequence[Tensor],
    inputs: Sequence[Tensor],
    tangents: Sequence[Any],
    *,
    create_graph: bool = False,
) -> list[Tensor | None]:
    """Push tangents of `inputs` forward along the recorded tape to `outputs`.

    Args:
        outputs: results computed from the inputs; their graph is kept.
        inputs: Tensors that required a gradient when the outputs were computed.
        tangents: one for each input, of its shape.
        create_graph: record the walk, so that the tangents can be differentiated.

    Returns:
        The tangent of each output; None where it does not depend on the inputs.

    Raises:
        GradError: an input does not require a gradient, or the graph was freed.
        ShapeError: a tangent does not have its input's shape.
    """
    seeds: dict[Node, Any] = {}
    for x, t in zip(inputs, tangents, strict=True):
        seeds[_wanted(x)] = _cotangent_for(x, t, "tangent", create_graph)
    nodes = [y._node for y in outputs]
    known = [node for node in nodes if node is not None]
    with outputs[0].backend.quiet():
        if create_graph:
            with enable_grad():
                found = push_tangents(seeds, known, lift, TENSORS, given=constant(seeds.items()))
        else:
            found = [
                None if t is None else wrap(t)
                for t in push_tangents(seeds, known, given=list(seeds.items()))
            ]
    by_node = dict(zip(known, found, strict=True))
    return [None if node is None else by_node[node] for node in nodes]


class _Walk:
    """One backward pass: its seeds, checked, and how cotangents are handed out."""

    def __init__(self, outputs: Any, cotangents: Any, create_graph: bool) -> None:
        self.create_graph = create_graph
        self.outputs = _sequence(outputs)
        given = _cotangents(cotangents, len(self.outputs))
        self.seeds = [
            (_source(y), _first_cotangent(y, g, create_graph))
            for y, g in zip(self.outputs, given, strict=True)
        ]
        self.given = [(node, None if c is None else g)
                      for (node, g), c in zip(self.seeds, given, strict=True)]  # fmt: skip

    def run(
        self, arrived: Callable[[Node, Any], None], wanted: set[Node] | None, keep: bool
    ) -> list[Node]:
        """Walk, calling `arrived` with Tensors that nobody else holds; return what to free."""
        with self.outputs[0].backend.quiet():
            if not self.create_graph:
                return walk_back(
                    self.seeds,
                    lambda node, g: arrived(node, wrap(g)),
                    wanted,
                    given=self.given,
                    frees=not keep,
                )
            with enable_grad():
                return walk_back(
                    self.seeds,
                    lambda node, g: arrived(node, wrap(g._value, g._node)),
                    wanted,
                    lift,
                    TENSORS,
                    given=constant(self.given),
                )


def _refuse_leaked(leaves: list[Node]) -> None:
    """Raise if gradients arrived at nothing but variables of transforms that are over."""
    if leaves and all(node.is_over for node in leaves):
        scope = leaves[0].scope
        raise GradError(
            f"this Tensor depends on nothing but the argument of {scope.name}, called at "
            f"{described(scope.line)}, which is over: it leaked out (through a list, an attribute, "
            "a closure). Return it from the function, with has_aux=True"
        )


def _sequence(tensors: Any) -> list[Tensor]:
    return [tensors] if isinstance(tensors, Tensor) else list(tensors)


def _cotangents(given: Any, count: int) -> list[Any]:
    if given is None:
        return [None] * count
    if count == 1 and not isinstance(given, (list, tuple)):
        return [given]
    if isinstance(given, (list, tuple)) and len(given) == count:
        return list(given)
    if count == 1:
        return [given]
    raise GradError(f"{count} outputs need {count} cotangents; found {given!r}")


def _source(y: Tensor) -> Node:
    node = y._node
    if node is None:
        raise GradError(
            "this Tensor does not depend on anything that requires a gradient: nothing to "
            "differentiate. Was requires_grad=True set on its inputs before it was computed, "
            "and outside no_grad? atled.inspect.why_no_grad(loss, w) shows where the path ends"
        )
    return node


def _wanted(x: Tensor) -> Node:
    if x._node is None:
        raise GradError(
            f"gradients were asked for a Tensor of shape {x.shape} that does not require one; "
            "call x.requires_grad_() before computing with it"
        )
    return x._node


def _first_cotangent(y: Tensor, g: Any, create_graph: bool) -> Any:
    if g is None:
        if y.size != 1:
            raise NotScalarError(
                f"backward() of a Tensor of shape {y.shape} needs its cotangent: call "
                ".sum().backward(), or backward(gradient) with a gradient of that shape"
            )
        ones = y.backend.ones_like(y._value)
        return wrap(ones) if create_graph else ones
    return _cotangent_for(y, g, "gradient", create_graph)


def _cotangent_for(y: Tensor, g: Any, what: str, create_graph: bool) -> Any:
    t = g if isinstance(g, Tensor) else as_tensor(wrap(y.backend.asarray(g)), dtype=y.dtype)
    if t.shape != y.shape:
        raise ShapeError(f"the {what} has shape {t.shape}, its Tensor {y.shape}")
    t = as_tensor(t, dtype=y.dtype)
    return wrap(t._value, t._node) if create_graph else t._value


def _collectors(node: Node, leaves: bool) -> list[Tensor]:
    """Return the Tensors whose `.grad` collects what arrives at a node."""
    marked = [made() for made in node.retained or ()]
    if leaves and isinstance(node, Leaf):
        marked.append(node.variable)
    return [t for t in marked if t is not None]


def _add(a: Tensor, b: Tensor) -> Tensor:
    if a.requires_grad or b.requires_grad:
        return apply(REGISTRY["add"], a, b)
    return wrap(a._value + b._value)


# -- hooks


class Handle:
    """What `register_hook` returns: `remove()` takes the hook away again."""

    def __init__(self, hooks: list[Any], hook: Any) -> None:
        self._hooks, self._hook = hooks, hook

    def remove(self) -> None:
        """Take the hook away; doing so twice is harmless."""
        changes.modules += 1
        if self._hook in self._hooks:
            self._hooks.remove(self._hook)


def register_hook(x: Tensor, hook: Callable[[Tensor], Tensor | None]) -> Handle:
    """Call `hook` with the gradient of x in every backward pass; what it returns replaces it.

    Raises:
        GradError: x does not require a gradient.
    """
    node = _wanted(x)

    def run(g: Any) -> Any:
        lifted = isinstance(g, Tensor)
        changed = hook(wrap(g._value, g._node) if lifted else wrap(g))
        if changed is None:
            return None
        if not isinstance(changed, Tensor):
            raise TypeError(f"a hook returns a Tensor or None; found {type(changed).__name__}")
        if tuple(changed.shape) != tuple(g.shape):
            raise ShapeError(
                f"a hook returned a gradient of shape {changed.shape} for one of {tuple(g.shape)}"
            )
        return changed if lifted else changed._value

    if node.hooks is None:
        node.hooks = []
    node.hooks.append(run)
    changes.modules += 1
    node.marked = True
    return Handle(node.hooks, run)


def retain_grad(x: Tensor) -> None:
    """Collect the gradient of a result in its `.grad` too, as for a leaf.

    It is the gradient of the value that x has now: of the old one, after a later `x += y`.
    """
    node = _wanted(x)
    if not x.is_leaf and all(made() is not x for made in node.retained or ()):
        node.retained = [*(node.retained or ()), ref(x)]
        node.marked = True
