"""Random numbers: one counter-based generator, the same numbers on every backend and machine.

Threefry-2x32 with 20 rounds (Salmon, Moraes, Dror, Shaw: Parallel Random Numbers: As Easy as 1,
2, 3; SC 2011), written over `xp` in int64 arithmetic. Element i of a draw is the encryption of
counter + i under the seed's key: two 32-bit words w₀, w₁.

* uniform numbers take their bits from the words: float32 is w₀'s top 24 bits, float64 the top
  53 bits of both, so that the float32 number is the float64 one cut short;
* normal numbers are √2 erfinv(2u - 1): equal everywhere up to the rounding of `log` and `exp`;
* a permutation is the stable order of the words.

Inside a `vmap` with randomness="different" a draw of some shape is one of (n, *shape), which
enters the batch: example i gets what the i-th turn of a loop would draw. With "same" all examples
share one draw.
"""

import math
import os
from typing import Any

from atled.config import modes
from atled.core.apply import as_tensor
from atled.core.batch import Batching, batched
from atled.core.kinds import constant
from atled.core.mode import refuse_traced
from atled.core.op import Absent
from atled.core.surface import FUNCTIONS, public
from atled.core.tensor import Tensor, wrap
from atled.dtypes import float64, int64
from atled.errors import DTypeError, TransformError
from atled.ops.create import as_shape, place

MASK = 0xFFFFFFFF
ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
PARITY = 0x1BD11BDA


def threefry(xp: Any, x0: Any, x1: Any, *, key: tuple[int, int]) -> tuple[Any, Any]:
    """Encrypt the counters (x0, x1), int64 arrays of 32-bit words, under a key of two words."""
    keys = (key[0], key[1], key[0] ^ key[1] ^ PARITY)
    x0, x1 = (x0 + keys[0]) & MASK, (x1 + keys[1]) & MASK
    for block in range(5):
        for r in ROTATIONS[block % 2]:
            x0 = (x0 + x1) & MASK
            x1 = (((x1 << r) & MASK) | (x1 >> (32 - r))) ^ x0
        x0 = (x0 + keys[(block + 1) % 3]) & MASK
        x1 = (x1 + (keys[(block + 2) % 3] + block + 1)) & MASK
    return x0, x1


constant(
    "random_bits",
    Absent("random numbers depend on the seed only"),
    inputs=("x0", "x1"),
    outputs=2,
    forward=threefry,
    batch="ranks",
    infer=lambda x0, x1, *, key: (x0, x1),
    doc="Threefry-2x32-20: two 32-bit words for each counter.",
)


class Generator:
    """A stream of random numbers: a seed (the key) and how many were drawn (the counter).

    Args:
        seed: any integer; by default one from the operating system.

    Example:
        >>> g = Generator(7)
        >>> state = g.get_state()
        >>> first = rand(2, generator=g).tolist()
        >>> g.set_state(state)
        >>> rand(2, generator=g).tolist() == first
        True
    """

    def __init__(self, seed: int | None = None) -> None:
        self._seed, self._counter = 0, 0
        self.manual_seed(int.from_bytes(os.urandom(8), "little") if seed is None else seed)

    def manual_seed(self, seed: int) -> "Generator":
        """Begin the stream of a seed, at its start."""
        refuse_traced("manual_seed() of a generator")
        self._note()
        self._seed, self._counter = int(seed) % 2**64, 0
        return self

    @property
    def initial_seed(self) -> int:
        """The seed, as an integer in [0, 2⁶⁴)."""
        return self._seed

    def get_state(self) -> dict[str, int]:
        """Return the seed and the counter: all there is."""
        refuse_traced("get_state() of a generator")
        return {"seed": self._seed, "counter": self._counter}

    def set_state(self, state: dict[str, int]) -> None:
        """Continue where `get_state` was called.

        Raises:
            ValueError: not such a state; the generator is as it was.
        """
        refuse_traced("set_state() of a generator")
        try:
            seed, counter = int(state["seed"]), int(state["counter"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"a generator state holds seed and counter; found {state!r}"
            ) from error
        self._note()
        self._seed, self._counter = seed % 2**64, counter

    def _note(self) -> bool:
        """Tell a checkpoint around this draw the state before it, see `core/checkpoint.py`."""
        if modes.draws is not None and self not in modes.draws:
            modes.draws[self] = {"seed": self._seed, "counter": self._counter}
        return True

    def words(self, xp: Any, count: int, device: str | None) -> tuple[Any, Any]:
        """Draw two arrays of `count` 32-bit words (int64) and move on."""
        if modes.tracing is not None:
            return self._words_traced(xp, count)
        self._note()
        start = self._counter
        self._counter += count
        key = (self._seed & MASK, self._seed >> 32)
        first, above = start & MASK, start >> 32 & MASK
        low = xp.arange(first, first + count, dtype=int64, device=device)
        if first + count <= MASK + 1:  # the rule: one high word for all
            high = xp.full((1,), above, dtype=int64, device=device)
            return xp.random_bits(low, xp.broadcast_to(high, shape=(count,)), key=key)
        return xp.random_bits(low & MASK, ((low >> 32) + above) & MASK, key=key)

    def _words_traced(self, xp: Any, count: int) -> tuple[Any, Any]:
        """Draw in a compiled function: seed and counter are read, and moved on, at every call."""
        trace, own = modes.tracing, vars(self)
        self._note()
        trace.guard(self._note, (id(self), "_note"))  # not asked: told, at every call
        state = trace.opened(own, ("_counter",))
        start = state["_counter"]
        state["_counter"] = start + count
        key = trace.number(own, "_seed", _low_word), trace.number(own, "_seed", _high_word)
        low = xp.arange(0, count, dtype=int64) + (start & MASK)
        high = ((low >> 32) + ((start >> 32) & MASK)) & MASK
        return xp.random_bits(low & MASK, high, key=key)


def _low_word(seed: int) -> int:
    return seed & MASK


def _high_word(seed: int) -> int:
    return seed >> 32


default_generator = Generator()


@public(method=False)
def manual_seed(seed: int) -> Generator:
    """Begin the default generator's stream of a seed; return the generator."""
    return default_generator.manual_seed(seed)


@public(method=False)
def get_rng_state() -> dict[str, int]:
    """Return the default generator's state."""
    return default_generator.get_state()


@public(method=False)
def set_rng_state(state: dict[str, int]) -> None:
    """Put the default generator into a state."""
    default_generator.set_state(state)


class _Draw:
    """What a draw is inside of: the batches whose examples get numbers of their own.

    Args:
        name: of the function, for messages.
        shape: of one example's numbers.

    Attributes:
        shape: of all numbers: an axis for each such batch in front, the outermost first.

    Raises:
        TransformError: a `vmap` around it has not said what random numbers mean in it.
    """

    def __init__(self, name: str, shape: tuple[int, ...]) -> None:
        for batch in modes.batches:
            if batch.randomness == "error":
                raise TransformError(
                    f"{name} draws random numbers inside {batch.name}, which does not say whether "
                    'they are the same for all examples: pass randomness="different" (each '
                    'example draws its own) or randomness="same" to vmap'
                )
        self.batches = [b for b in modes.batches if b.randomness == "different"]
        self.shape = (*[b.size for b in self.batches], *shape)

    def entered(self, xp: Any, value: Any) -> Tensor:
        """Return the numbers as a Tensor of one example's shape."""
        for batch in self.batches:
            space = batched(xp)
            value = space.kind(value, batch, True)
        return wrap(value)


def _base(x: Tensor) -> tuple[Any, str | None]:
    """Return the namespace and device to draw numbers in that go with a Tensor."""
    xp = x.backend
    return xp.base if isinstance(xp, Batching) else xp, None if x.device == "cpu" else x.device


def _uniform(
    shape: tuple[int, ...], generator: Generator | None, xp: Any, dtype: Any, device: str | None
) -> Any:
    """Draw raw uniform numbers in [0, 1) of a floating dtype."""
    if not dtype.is_floating_point:
        raise DTypeError(f"random numbers in [0, 1) are floats; found {dtype.name}")
    w0, w1 = (generator or default_generator).words(xp, math.prod(shape), device)
    if dtype is float64:
        u = xp.astype((w0 >> 5) * 2**26 + (w1 >> 6), dtype=dtype) * 2.0**-53
    else:
        u = xp.astype(w0 >> 8, dtype=dtype) * 2.0**-24
    return xp.reshape(u, shape=shape)


@public(method=False)
def rand(
    shape: Any = (),
    *rest: int,
    generator: Generator | None = None,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Draw uniform numbers in [0, 1)."""
    xp, wanted, where = place(dtype, device)
    draw = _Draw("rand", as_shape(shape, rest))
    t = draw.entered(xp, _uniform(draw.shape, generator, xp, wanted, where))
    return t.requires_grad_() if requires_grad else t


@public(method=False)
def randn(
    shape: Any = (),
    *rest: int,
    generator: Generator | None = None,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Draw standard normal numbers, as √2 erfinv(2u - 1)."""
    xp, wanted, where = place(dtype, device)
    draw = _Draw("randn", as_shape(shape, rest))
    t = draw.entered(xp, _normal(draw.shape, generator, xp, wanted, where))
    return t.requires_grad_() if requires_grad else t


def _normal(
    shape: tuple[int, ...], generator: Generator | None, xp: Any, dtype: Any, device: str | None
) -> Any:
    """Draw raw standard normal numbers of a floating dtype."""
    fine = float64 if float64 in xp.dtypes and not str(device).startswith("mps") else dtype
    u = _uniform(shape, generator, xp, fine, device)
    centred = xp.where(u == 0, 0 * u + 2.0**-54, u) * 2 - 1
    return xp.astype(xp.erfinv(centred) * math.sqrt(2), dtype=dtype)


@public(method=False)
def randint(
    low: int,
    high: Any = None,
    shape: Any = None,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    device: str | None = None,
) -> Tensor:
    """Draw integers in [low, high), or in [0, low) if high is left out: ``randint(10, (3,))``.

    Ranges up to 2³²; each value's probability is off by at most range / 2³².
    """
    if shape is None:
        low, high, shape = 0, low, high
    if not 0 < high - low <= 2**32:
        raise ValueError(f"randint: high - low must lie in [1, 2**32]; found {low} and {high}")
    xp, wanted, where = place(int64 if dtype is None else dtype, device)
    draw = _Draw("randint", as_shape(shape, ()))
    w0, _ = (generator or default_generator).words(xp, math.prod(draw.shape), where)
    scaled = w0 % (high - low) + low if high - low >= 2**31 else ((w0 * (high - low)) >> 32) + low
    return draw.entered(xp, xp.astype(xp.reshape(scaled, shape=draw.shape), dtype=wanted))


@public(method=False)
def randperm(n: int, *, generator: Generator | None = None, device: str | None = None) -> Tensor:
    """Draw a permutation of 0 … n - 1, int64."""
    xp, _, where = place(int64, device)
    draw = _Draw("randperm", (n,))
    w0, w1 = (generator or default_generator).words(xp, math.prod(draw.shape), where)
    keys = xp.reshape(w0 * 2**31 + (w1 >> 1), shape=draw.shape)
    return draw.entered(xp, xp.argsort(keys, axis=len(draw.shape) - 1, descending=False))


@public(method=False)
def bernoulli(p: Any, *, generator: Generator | None = None) -> Tensor:
    """Draw 1 with the probability given by each element of p, else 0."""
    p = as_tensor(p)
    xp, device = _base(p)
    draw = _Draw("bernoulli", p.shape)
    u = draw.entered(xp, _uniform(draw.shape, generator, xp, p.dtype, device))
    return FUNCTIONS["astype"](FUNCTIONS["less"](u, p.detach()), p.dtype)


@public(method=False)
def rand_like(x: Tensor, generator: Generator | None = None) -> Tensor:
    """Draw uniform numbers in the shape, dtype, device and backend of x."""
    xp, device = _base(x)
    draw = _Draw("rand_like", x.shape)
    return draw.entered(xp, _uniform(draw.shape, generator, xp, x.dtype, device))


@public(method=False)
def randn_like(x: Tensor, generator: Generator | None = None) -> Tensor:
    """Draw standard normal numbers in the shape, dtype, device and backend of x."""
    xp, device = _base(x)
    draw = _Draw("randn_like", x.shape)
    return draw.entered(xp, _normal(draw.shape, generator, xp, x.dtype, device))
