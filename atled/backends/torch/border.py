"""Across torch's border: reading data of any origin, dtypes, devices, and the way out.

What always holds: an array that comes in is a copy, is detached, and has a dtype that atled
knows; nothing warns. Devices are torch's names in full: "cpu", "cuda:0", "mps:0".
"""

import math
import re
import sys
import warnings
from collections.abc import Sequence
from typing import Any

from atled.backends.protocol import Backend, default_dtype
from atled.config import settings
from atled.dtypes import DType, as_dtype, bool_, by_name, float32, int64
from atled.errors import BackendError, DTypeError, ShapeError

with warnings.catch_warnings():  # torch works without NumPy, but says so once
    warnings.filterwarnings("ignore", message="Failed to initialize NumPy")
    import torch

__all__ = ["TorchBorder"]

# The wider unsigned ones are left out: torch 2.13 cannot add, compare or select them.
_KNOWN = "bool int8 int16 int32 int64 uint8 float16 bfloat16 float32 float64"
_DTYPES = {by_name(name): getattr(torch, name) for name in _KNOWN.split()}
_NAMES = {native: known for known, native in _DTYPES.items()}
_PLAIN = {float, int, bool}


class TorchBorder(Backend):
    """What crosses the border; abstract, since it computes nothing."""

    name = "torch"
    array_types = (torch.Tensor, torch.nn.Parameter)
    dtypes = _DTYPES
    floats = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
    default_float = float32

    # -- in ------------------------------------------------------------------------------------

    def asarray(self, data: Any, *, dtype: Any = None, device: Any = None) -> Any:
        """Return a new array of any data; a torch.Tensor stays on its device if none is given.

        Raises:
            ShapeError: nested lists of unequal lengths.
            DTypeError: an element is no number, does not fit, or the dtype is not there.
            BackendError: there is no such device.
        """
        native = None if dtype is None else self._native(dtype)
        numpy = sys.modules.get("numpy")
        if isinstance(data, torch.Tensor):
            place = data.device if device is None else self._device(device)
            return self._adopt(data.detach(), native).to(place, copy=True)
        if numpy is not None and isinstance(data, (numpy.ndarray, numpy.generic)):
            x = self._adopt(_from_numpy(numpy.asarray(data)), native)
        elif hasattr(data, "shape") and hasattr(data, "tolist"):
            own = getattr(data, "dtype", None)
            native = native if native is not None or own is None else self._native(own)
            x = self._from_nest(data.tolist(), native).reshape(tuple(data.shape))
        else:
            x = self._from_nest(data, native)
        return x.to(self._device(device))

    def _adopt(self, x: Any, native: Any) -> Any:
        """Return a torch.Tensor in the dtype asked for; without one, its own must be known."""
        if native is not None and not x.is_complex():
            return x.to(native)
        self.dtype_of(x)
        return x

    def _from_nest(self, data: Any, native: Any) -> Any:
        """Return nested lists, or a scalar, as an array on the CPU."""
        kinds = _kinds(data)
        if not kinds <= _PLAIN:
            data = _plain(data)
            kinds = _kinds(data)
        if native is None:
            kind = None if float in kinds else int64 if int in kinds else bool_
            native = self._native(kind if kinds else None)
        try:
            x = torch.tensor(data, dtype=native)
        except (TypeError, ValueError, RuntimeError, OverflowError) as error:
            _refuse_ragged(data)
            _refuse_beyond(data, native)
            raise DTypeError(f"a number does not fit {_NAMES[native].name}: {error}") from None
        if native is torch.uint8:  # torch lets negative numbers wrap around
            _refuse_beyond(data, native)
        if x.numel() == 0:  # torch reads [[], [1]] as an array of shape (2, 0)
            _refuse_ragged(data)
        return x

    # -- out -----------------------------------------------------------------------------------

    def tolist(self, x: Any) -> Any:
        return x.tolist()

    def to_numpy(self, x: Any) -> Any:
        """Return x as a numpy.ndarray, which shares its memory on the CPU.

        Raises:
            DTypeError: x is bfloat16, which NumPy does not have.
            BackendError: NumPy is not installed.
        """
        if x.dtype is torch.bfloat16:
            raise DTypeError("NumPy has no bfloat16; cast with .astype(float32) first")
        try:
            return x.detach().cpu().numpy()
        except RuntimeError as error:
            raise BackendError(f"torch cannot hand an array to NumPy: {error}") from error

    def have_nan(self, arrays: Sequence[Any]) -> bool:
        """Say whether an element is NaN; a GPU is waited for once, not for each array."""
        found: dict[Any, list[Any]] = {}
        for x in arrays:
            found.setdefault(x.device, []).append(torch.isnan(x).any())
        return any(bool(torch.stack(flags).any()) for flags in found.values())

    # -- dtypes and scalars --------------------------------------------------------------------

    def dtype_of(self, x: Any) -> DType:
        try:
            return _NAMES[x.dtype]
        except KeyError:
            have = ", ".join(d.name for d in self.dtypes)
            raise DTypeError(
                f"the torch backend does not compute in {x.dtype}; it has {have}"
            ) from None

    def _native(self, dtype: Any) -> Any:
        """Return torch's dtype for atled's, torch's own, a name, or None (the default)."""
        if isinstance(dtype, torch.dtype):
            return dtype
        default = default_dtype(self)
        return self.native(default if dtype is None else as_dtype(dtype, default))

    def _filled(self, shape: Any, value: Any, native: Any, place: Any) -> Any:
        """Return an array full of one scalar; a float beyond the dtype's range is infinite.

        Raises:
            DTypeError: an integer dtype does not hold the value.
        """
        try:
            value = float(value) if native.is_floating_point else value  # 2**70 is no overflow
            return torch.full(shape, value, dtype=native, device=place)
        except (RuntimeError, OverflowError) as error:
            if isinstance(error, RuntimeError) and "without overflow" not in str(error):
                raise
        if not native.is_floating_point:
            raise DTypeError(f"{value} does not fit {_NAMES[native].name}")
        infinite = math.inf if value > 0 else -math.inf
        return torch.full(shape, infinite, dtype=native, device=place)

    # -- devices -------------------------------------------------------------------------------

    def device_of(self, x: Any) -> str:
        return str(x.device)

    def to_device(self, x: Any, device: Any) -> Any:
        return x if device is None else x.to(self.check_device(device))

    def check_device(self, device: Any) -> str | None:
        """Return a device's name in full; "auto" is CUDA, then MPS, then the CPU.

        Raises:
            BackendError: this machine does not have it; those that it has are named.
        """
        if device is None:
            return None
        there = _devices()
        if device == "auto":
            return there[-1] if len(there) == 1 else there[1]
        kind, _, number = str(device).partition(":")
        if not number and kind == "cuda" and "cuda:0" in there:
            number = str(torch.cuda.current_device())
        full = "cpu" if kind == "cpu" and number in ("", "0") else f"{kind}:{number or 0}"
        if full in there:
            return full
        raise BackendError(
            f"torch finds no device {str(device)!r} on this machine; it finds {', '.join(there)}"
        )

    def _device(self, device: Any) -> str:
        """Return where a new array is to lie if the caller asked for `device`."""
        if device is None:
            return (settings.device if settings.backend == self.name else None) or "cpu"
        return self.check_device(device) or "cpu"

    def describe(self) -> dict[str, str]:
        """Return the version, the devices with their names, the threads and the BLAS."""
        devices = [
            f"{d} ({torch.cuda.get_device_name(d)})" if d.startswith("cuda") else d
            for d in _devices()
        ]
        blas = re.search(r"BLAS_INFO=(\w+)", torch.__config__.show())
        return {
            "version": str(torch.__version__),
            "devices": ", ".join(devices),
            "threads": str(torch.get_num_threads()),
            "BLAS": blas.group(1) if blas else "unknown",
        }


def _devices() -> list[str]:
    """Return the devices of this machine: the CPU, then the others, the preferred one first."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    found = ["cpu", *[f"cuda:{i}" for i in range(count)]]
    return [*found, "mps:0"] if torch.backends.mps.is_available() else found


def _from_numpy(data: Any) -> Any:
    """Return a copy of a numpy.ndarray."""
    try:  # astype copies, into native byte order and positive strides
        return torch.from_numpy(data.astype(data.dtype.newbyteorder("="), order="C"))
    except TypeError:
        raise DTypeError(f"numpy arrays of dtype {data.dtype} have no place in a Tensor") from None


def _kinds(data: Any) -> set[type]:
    """Return the types of the innermost elements of nested lists."""
    if type(data) not in (list, tuple):
        return {type(data)}
    kinds = set(map(type, data))
    return set().union(*map(_kinds, data)) if kinds & {list, tuple} else kinds


def _plain(data: Any) -> Any:
    """Return nested sequences, with arrays and their scalars within, as lists of numbers.

    torch.tensor would read such lists too, but slowly and with warnings.
    """
    if isinstance(data, (bool, int, float)):
        return data if isinstance(data, bool) else (int if isinstance(data, int) else float)(data)
    if isinstance(data, Sequence) and not isinstance(data, (str, bytes)):
        return [_plain(item) for item in data]
    listed = data.tolist() if hasattr(data, "tolist") else data
    if type(listed) is type(data):
        raise DTypeError(
            f"a Tensor holds numbers and booleans; found {repr(data)[:60]} ({type(data).__name__})"
        )
    return _plain(listed)


def _refuse_beyond(data: Any, native: Any) -> None:
    """Raise DTypeError, naming it, if a number is beyond an integer dtype's range."""
    if native is torch.bool or native.is_floating_point:
        return
    limits, level = torch.iinfo(native), [data]
    while any(isinstance(item, (list, tuple)) for item in level):
        level = [v for i in level for v in (i if isinstance(i, (list, tuple)) else (i,))]
    for value in level:
        whole = int(value) if math.isfinite(value) else value
        if not limits.min <= whole <= limits.max:
            raise DTypeError(
                f"{value} does not fit {_NAMES[native].name}: it holds {limits.min} to {limits.max}"
            )


def _refuse_ragged(data: Any) -> None:
    """Raise ShapeError if lists of one depth differ in length, or stand beside numbers."""
    level, depth = [data], 0
    while any(isinstance(item, (list, tuple)) for item in level):
        sizes = sorted({len(i) if isinstance(i, (list, tuple)) else -1 for i in level})
        if len(sizes) > 1:
            found = " and ".join("a number" if n < 0 else f"length {n}" for n in sizes)
            raise ShapeError(
                f"nested lists of unequal lengths do not make an array: found {found} "
                f"side by side at depth {depth}"
            )
        level, depth = [inner for item in level for inner in item], depth + 1
