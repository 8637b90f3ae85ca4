"""Operations that change what holds an array's values, not the values: dtype and device."""

from typing import Any

from atled.backends.protocol import default_dtype, load
from atled.backends.protocol import names as backend_names
from atled.core.apply import apply, as_tensor
from atled.core.kinds import linear
from atled.core.op import Sample, Spec
from atled.core.surface import public
from atled.core.tensor import Tensor, wrap
from atled.dtypes import as_dtype, float64
from atled.errors import GradError

cast = linear(
    "astype",
    transpose=lambda xp, g, x_dtype: xp.astype(g, dtype=x_dtype),
    infer=lambda x, *, dtype: Spec(x.shape, dtype),
    batch="same",
    samples=(Sample(((3, 4),), {"dtype": float64}),),
    reference="reference.astype",
    passes="moves",
    doc="Convert to another dtype.",
)
move = linear(
    "to_device",
    transpose=lambda xp, g, x_device: xp.to_device(g, device=x_device),
    infer=lambda x, *, device: x,
    batch="same",
    passes="moves",
    doc="Move to another device of the same backend.",
)


@public()
def astype(x: Any, dtype: Any) -> Tensor:
    """Return x in another dtype; x itself if it has it already.

    Raises:
        DTypeError: there is no such dtype, or the backend does not have it.
    """
    x = as_tensor(x)
    wanted = as_dtype(dtype, default_dtype(x.backend))
    if x.dtype is wanted:
        return x
    x.backend.native(wanted)
    return apply(cast, x if wanted.is_floating_point else x.detach(), dtype=wanted)


@public(function=False)
def to(x: Tensor, *where: Any, dtype: Any = None, device: str | None = None) -> Tensor:
    """Return x in another dtype, on another device, or in another backend.

    Args:
        where: a dtype, a device ("cuda:0"), a backend ("numpy"), or a Tensor to be like.
        dtype, device: the same by name.

    Returns:
        x itself if nothing changes. Changing the backend copies and detaches.

    Raises:
        DTypeError, BackendError: there is no such thing.
    """
    for item in where:
        if isinstance(item, Tensor):
            x = to(_in_backend(x, item.backend.name), item.dtype, item.device)
        elif isinstance(item, str) and item in backend_names():
            x = _in_backend(x, item)
        elif isinstance(item, str) and item.partition(":")[0] in ("cpu", "cuda", "mps", "auto"):
            device = item
        else:
            dtype = item
    x = x if dtype is None else astype(x, dtype)
    if device is None:
        return x
    found = x.backend.check_device(device) or "cpu"
    return x if found == x.device else apply(move, x, device=found)


def _in_backend(x: Tensor, name: str) -> Tensor:
    if x.backend.name == name:
        return x
    if x.requires_grad and not x.is_leaf:
        raise GradError(
            f"a Tensor of the {x.backend.name} backend with a gradient cannot move to {name}: "
            "gradients do not cross backends; detach() it first"
        )
    backend = load(name)
    data = x.backend.tolist(x._value) if name == "python" else x.backend.present(x._value)
    moved = backend.asarray(data, dtype=x.dtype if x.dtype in backend.dtypes else None)
    return wrap(backend.reshape(moved, shape=x.shape))


@public(samples=(Sample(((2, 3),)),), reference="numpy.copy")
def clone(x: Tensor) -> Tensor:
    """Return the same value as a new Tensor; gradients flow through."""
    if x.requires_grad:
        return x.reshape(x.shape)
    twin = wrap(x._value)
    twin._stop = x._stop
    return twin
