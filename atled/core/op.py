"""What an operation is: one record with everything that atled knows of it.

A record says how to compute the operation (`forward`), what comes out (`infer`), its
derivative (`vjps` and `jvps`), how it is batched and lowered, and on what inputs to test it.
The kinds in `core/kinds.py` fill in what follows from the kind. What does not exist is
`Absent("reason")`, and the reason is the error that a user sees.

A rule is a function over a namespace `xp` whose parameter names say what it reads:

=============  ==========================================================================
``xp``         the namespace to compute with; always the first
``g``, ``t``   the cotangent, or the tangent; always the second (partials have neither)
``x`` ``a``…   an operand, under the name that the record gives it
``y``          the result
``x_shape``    the shape of an operand (or of ``y``); ``x_dtype``, ``x_device`` likewise
anything else  a static parameter of the operation; these come last
=============  ==========================================================================

The tape keeps exactly what the rules of the inputs that need a gradient read, and no more.
"""

from collections.abc import Callable, Sequence
from functools import partial
from operator import itemgetter
from typing import Any, NamedTuple

from atled.backends.protocol import PORTABLE
from atled.dtypes import DType
from atled.errors import GradError

__all__ = [
    "REGISTRY",
    "SCALARS",
    "Absent",
    "Derivative",
    "Op",
    "Rule",
    "Sample",
    "Spec",
    "register",
]


class Absent:
    """A facet that an operation does not have, and why."""

    __slots__ = ("reason",)

    def __init__(self, reason: str) -> None:
        self.reason = reason

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return f"Absent({self.reason!r})"


SCALARS = (float, int, bool)  # Python's own, which are weak: they take an array's dtype
SUFFIXES = ("_shape", "_dtype", "_device")  # of names that ask for a fact, not for the array


class Spec(NamedTuple):
    """What is known of an array without its values."""

    shape: tuple[int, ...]
    dtype: DType


class Sample:
    """Inputs to test an operation on: a shape or a nested list an operand, static parameters.

    `domain` overrides the record's for this sample.
    """

    __slots__ = ("domain", "operands", "static")

    def __init__(
        self,
        operands: tuple[Any, ...],
        static: dict[str, Any] | None = None,
        domain: tuple[float, float] | None = None,
    ) -> None:
        self.operands, self.static, self.domain = operands, static or {}, domain


class Rule:
    """A derivative rule: its function, what it reads and its static parameters.

    A rule that is a `factor` is a partial derivative: the engine multiplies it onto g or t.
    `statics` is None for a rule that takes all static parameters of the operation.
    """

    __slots__ = ("factor", "function", "reads", "statics")

    def __init__(
        self,
        function: Callable[..., Any],
        reads: tuple[str, ...],
        statics: tuple[str, ...] | None,
        factor: bool = False,
    ) -> None:
        self.function, self.reads, self.statics, self.factor = function, reads, statics, factor

    @classmethod
    def read(cls, function: Callable[..., Any], inputs: Sequence[str], factor: bool) -> "Rule":
        """Read a rule's parameter names (see the head of this file)."""
        code = function.__code__
        names = code.co_varnames[1 if factor else 2 : code.co_argcount]
        known = {name.lstrip("*") for name in inputs} | {"y"}
        suffixed = {name + end for name in known for end in SUFFIXES} | known
        reads = tuple(name for name in names if name in suffixed)
        return cls(function, reads, names[len(reads) :], factor)

    @classmethod
    def itself(cls, name: str, inputs: Sequence[str], position: int = 0) -> "Rule":
        """Return the forward-mode rule of a linear operand: the operation on the tangent."""
        others = [n for i, n in enumerate(inputs) if i != position]
        rest = bool(others) and others[-1].startswith("*")

        def push(xp: Any, t: Any, *values: Any, **static: Any) -> Any:
            arrays = list(values[:-1]) + list(values[-1]) if rest else list(values)
            arrays.insert(position, t)
            return getattr(xp, name)(*arrays, **static)

        return cls(push, tuple(n.lstrip("*") for n in others), None)

    def bind(self, names: Sequence[str], position: int) -> "Bound":
        """Return the rule of one operand as ``term(node, xp, saved, g)``.

        The commonest forms are spelled out: each saves about 150 ns of every node's walk.
        """
        function, statics = self.function, self.statics
        if statics and "position" in statics:  # one rule for any number of operands
            function = partial(function, position=position)
            statics = tuple(name for name in statics if name != "position")
        where = [names.index(name) for name in self.reads]
        if statics or statics is None:
            return _with_statics(function, _reader(where), statics, self.factor)
        if len(where) == 1:
            (i,) = where
            if self.factor:
                return lambda node, xp, saved, g: g * function(xp, saved[i])
            return lambda node, xp, saved, g: function(xp, g, saved[i])
        read = _reader(where)
        if self.factor:
            return lambda node, xp, saved, g: g * function(xp, *read(saved))
        return lambda node, xp, saved, g: function(xp, g, *read(saved))


Bound = Callable[[Any, Any, tuple[Any, ...], Any], Any]  # (node, xp, saved, g or t) -> result


def _with_statics(
    function: Callable[..., Any],
    read: Any,
    statics: tuple[str, ...] | None,
    factor: bool,
) -> Bound:
    def term(node: Any, xp: Any, saved: tuple[Any, ...], g: Any) -> Any:
        known = node.static
        chosen = known if statics is None else {name: known[name] for name in statics}
        if factor:
            return g * function(xp, *read(saved), **chosen)
        return function(xp, g, *read(saved), **chosen)

    return term


# The derivative of one operand: rules from cotangent to cotangent and tangent to tangent.
# None stands for the identity, which costs nothing.
Pair = tuple[Rule | None, Rule | None]


class Op:
    """The record of one operation. Facets are given by name; those left out are as below.

    Attributes:
        name: what it is called, here, in the public functions and in every namespace.
        kind: "elementwise", "reduction", "movement", "linear", "bilinear", "opaque", "constant".
        inputs: the names of its operands; the last may be ``"*rest"`` for any number.
        forward: ``forward(xp, *arrays, **static)``; None where every backend brings it.
        infer: ``infer(*specs, **static) -> Spec`` without computing.
        derivative: one `Pair` for each operand (of the last one for a ``*rest``); None for an
            operand in which it is constant; `Absent` where it has none.
        operands: how operand dtypes meet: "float" (cast to a floating dtype), "same"
            (promoted to one dtype), "any" (left alone).
        singular: whether a partial derivative can be infinite or NaN, so that a cotangent that
            a mask has made zero must be kept zero: see `core/masks.py`.
        passes: how the support of a cotangent passes: "each" (element by element), "moves"
            (by the rule), "chooses" (by the rule, which cuts some elements off), "cuts"
            (likewise, by a product with 0), "factor" (multiply), a pair of functions
            ``(xp, support, shape, **static)`` back and forward; None where it is not followed.
        keeps_line: whether nodes remember the user's line, for `inspect.nan_report`: by default
            those of singular records, which make an infinity or a NaN of finite operands.
        weak: whether rules and forward take Python scalars as operands.
        broadcasts: whether operands broadcast, so that cotangents are summed back.
        outputs: the number of results.
        batch: how it is done for a whole batch: the name of a rule, or a rule, see
            `core/batching.py`; None where its own forward, over batched arrays, is enough;
            `Absent` where a batch of results cannot be one array.
        lower: why `compile` calls it eagerly where it is no primitive and has no forward of its
            own: an `Absent`.
        domain: the interval in which random test inputs lie.
        samples: what to test it on.
        reference: the dotted name of an independent implementation.
        doc: first line, formula, source.
        aliases: other names of its public function.
        door: whether its public function is made from the record alone.
    """

    forward: Callable[..., Any] | None = None
    infer: Callable[..., Any]
    derivative: list[Pair | None] | Absent
    operands: str = "any"
    singular: bool = False
    passes: Any = None
    keeps_line: bool = False
    weak: bool = False
    broadcasts: bool = False
    outputs: int = 1
    batch: Any = None
    lower: Any = Absent("there are no loops for it")
    domain: tuple[float, float] = (-2.0, 2.0)
    samples: tuple[Sample, ...] = ()
    reference: str | None = None
    doc: str = ""
    aliases: tuple[str, ...] = ()
    door: bool = False

    def __init__(self, name: str, kind: str, inputs: tuple[str, ...], **facets: Any) -> None:
        self.name, self.kind, self.inputs = name, kind, inputs
        self._derivatives: dict[int, Derivative | None] = {}
        facets.setdefault("keeps_line", facets.get("singular", False))
        for facet, value in facets.items():
            if facet not in Op.__annotations__:
                raise TypeError(f"a record has no facet {facet!r}; it has {[*Op.__annotations__]}")
            setattr(self, facet, value)

    def __repr__(self) -> str:
        return f"<operation {self.name}>"

    def pair(self, position: int) -> Pair | None:
        """Return the derivative pair of the operand at `position`, or raise its absence."""
        if isinstance(self.derivative, Absent):
            raise GradError(f"{self.name} has no derivative: {self.derivative.reason}")
        return self.derivative[min(position, len(self.derivative) - 1)]

    def derivative_for(self, needs: int) -> "Derivative | None":
        """Return what the tape needs when the operands in the bit mask `needs` want gradients.

        None where the operation is constant in all of them, or has no derivative.
        """
        try:
            return self._derivatives[needs]
        except KeyError:
            positions = [i for i in range(needs.bit_length()) if needs >> i & 1]
            if isinstance(self.derivative, Absent):
                positions = []
            positions = [i for i in positions if self.pair(i) is not None]
            made = self._derivatives[needs] = Derivative(self, positions) if positions else None
            return made

    def position(self, name: str) -> int:
        """Return the position of the operand called `name`; -1 for the result."""
        return -1 if name == "y" else [n.lstrip("*") for n in self.inputs].index(name)

    def is_rest(self, name: str) -> bool:
        """Say whether `name` stands for any number of operands."""
        return "*" + name in self.inputs


class Derivative:
    """The derivative of an operation for one choice of operands: what to keep, what to call."""

    __slots__ = ("capture", "names", "op", "passes", "positions", "pulls", "pushes", "singular")

    def __init__(self, op: Op, positions: list[int]) -> None:
        self.op, self.positions = op, tuple(positions)
        pairs = [op.pair(i) or (None, None) for i in positions]
        rules = [rule for pair in pairs for rule in pair if rule is not None]
        self.names = tuple(dict.fromkeys(name for rule in rules for name in rule.reads))
        self.capture = _capture(op, self.names)
        pulls, pushes = zip(*pairs, strict=True)
        self.pulls, self.pushes = self._bound(pulls), self._bound(pushes)
        self.singular, self.passes = op.singular, op.passes

    def _bound(self, rules: Sequence[Rule | None]) -> list[Bound | None]:
        return [
            None if rule is None else rule.bind(self.names, i)
            for i, rule in zip(self.positions, rules, strict=True)
        ]

    def pull(self, node: Any, xp: Any, saved: tuple[Any, ...], g: Any) -> list[Any]:
        """Map the cotangent of the result to those of the operands in `positions`."""
        pulls = self.pulls
        if len(pulls) == 1:  # most nodes: a list comprehension would take 150 ns more
            term = pulls[0]
            return [g if term is None else term(node, xp, saved, g)]
        return [g if term is None else term(node, xp, saved, g) for term in pulls]

    def lifted(self, node: Any, lift: Callable[[Any, Any], Any]) -> tuple[Any, ...]:
        """Return a node's saved values as Tensors, connected to the nodes that made them."""
        parents = dict(zip(self.positions, node.parents, strict=True))
        out: list[Any] = []
        for name, value in zip(self.names, node.saved, strict=True):
            if name.endswith(SUFFIXES):
                out.append(value)
            elif name == "y":
                out.append(lift(value, node))
            elif self.op.is_rest(name):
                at = self.op.position(name)
                out.append(tuple(lift(v, parents.get(at + i)) for i, v in enumerate(value)))
            else:
                out.append(lift(value, parents.get(self.op.position(name))))
        return tuple(out)

    def push(self, node: Any, xp: Any, saved: tuple[Any, ...], tangents: list[Any]) -> Any:
        """Map tangents of the operands in `positions` (None: zero) to that of the result."""
        total = None
        for t, term in zip(tangents, self.pushes, strict=True):
            if t is not None:
                t = t if term is None else term(node, xp, saved, t)
                total = t if total is None else total + t
        return total


def _reader(positions: list[int]) -> Callable[[tuple[Any, ...]], tuple[Any, ...]]:
    """Return a function that picks the given entries of a tuple, as a tuple."""
    if not positions:
        return lambda saved: ()
    if len(positions) == 1:
        only = positions[0]
        return lambda saved: (saved[only],)
    return itemgetter(*positions)


def _capture(op: Op, names: tuple[str, ...]) -> Callable[[Any, list[Any]], tuple[Any, ...]]:
    """Return the function that takes what `names` say out of [*operands, result]."""
    if any(op.is_rest(n) or n.endswith(SUFFIXES) for n in names):
        takers = [_taker(op, name) for name in names]
        return lambda xp, values: tuple([take(xp, values) for take in takers])
    positions = [op.position(name) for name in names]
    if not positions:
        return lambda xp, values: ()
    if len(positions) == 1:
        only = positions[0]
        return lambda xp, values: (values[only],)
    read = itemgetter(*positions)
    return lambda xp, values: read(values)


def _taker(op: Op, name: str) -> Callable[[Any, list[Any]], Any]:
    base = next((name.removesuffix(end) for end in SUFFIXES if name.endswith(end)), name)
    at = op.position(base)
    if op.is_rest(base):
        if name.endswith("_shape"):
            return lambda xp, values: tuple([v.shape for v in values[at:-1]])
        return lambda xp, values: tuple(values[at:-1])
    if name.endswith("_shape"):
        return lambda xp, values: values[at].shape
    if name.endswith("_dtype"):
        return lambda xp, values: xp.dtype_of(values[at])
    if name.endswith("_device"):
        return lambda xp, values: xp.device_of(values[at])
    return lambda xp, values: values[at]


# Every record, by name. Filled by the files of `ops/`.
REGISTRY: dict[str, Op] = {}


def register(op: Op) -> Op:
    """Enter a record; its own forward becomes the portable one of every namespace."""
    if op.name in REGISTRY:
        raise ValueError(f"an operation called {op.name!r} is registered already")
    REGISTRY[op.name] = op
    if op.forward is not None:
        PORTABLE[op.name] = op.forward
    return op
