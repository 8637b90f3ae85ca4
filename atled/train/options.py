"""What a digits run was asked to do, and what it does if nothing is said."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import Any

from atled import optim
from atled.backends import protocol
from atled.train.models import MODELS
from atled.train.refusal import Refusal

__all__ = ["DEFAULTS", "OPTIMIZERS", "Options", "make_optimizer"]

# Name -> (class, learning rate if none is asked for, other options).
OPTIMIZERS: dict[str, tuple[type[optim.Optimizer], float, dict[str, Any]]] = {
    "adam": (optim.Adam, 0.015, {}),
    "adamw": (optim.AdamW, 0.015, {}),
    "nadam": (optim.NAdam, 0.01, {}),
    "radam": (optim.RAdam, 0.015, {}),
    "adamax": (optim.Adamax, 0.015, {}),
    "rmsprop": (optim.RMSprop, 0.005, {}),
    "adagrad": (optim.Adagrad, 0.05, {}),
    "lion": (optim.Lion, 0.001, {}),
    "sgd": (optim.SGD, 0.1, {"momentum": 0.9}),
}

DEFAULTS: dict[str, Any] = {
    "model": "mlp",
    "backend": None,  # numpy if it is installed, else python
    "device": "cpu",
    "epochs": None,  # the model's
    "batch_size": 32,
    "lr": None,  # the optimizer's
    "optimizer": "adam",
    "seed": 0,
    "data": None,  # the digits that ship with atled
    "compile": None,  # where there is something to compile for: NumPy and llvmlite
}


@dataclass(frozen=True)
class Options:
    """Everything that decides the outcome of a run."""

    model: str
    backend: str
    device: str
    epochs: int
    batch_size: int
    lr: float
    optimizer: str
    seed: int
    data: str | None
    compile: bool = False

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> "Options":
        """Fill in what was not given (absent or None)."""
        whole = {k: v if given.get(k) is None else given[k] for k, v in DEFAULTS.items()}
        if whole["backend"] is None:
            whole["backend"] = "numpy" if protocol.is_installed("numpy") else "python"
        if whole["compile"] is None:
            on_numpy = whole["backend"] == "numpy" and whole["device"] == "cpu"
            whole["compile"] = on_numpy and find_spec("llvmlite") is not None
        if whole["epochs"] is None:
            whole["epochs"] = MODELS[whole["model"]].epochs
        if whole["lr"] is None:
            whole["lr"] = OPTIMIZERS[whole["optimizer"]][1]
        return cls(**whole)

    @classmethod
    def resumed(cls, saved: Mapping[str, Any], given: Mapping[str, Any]) -> "Options":
        """Return a run's own options, after seeing that none that was given contradicts them.

        Raises:
            Refusal: the run was started with other options than those given now.
        """
        for name, value in given.items():
            if value is not None and name in saved and value != saved[name]:
                flag = name.replace("_", "-")
                raise Refusal(
                    f"--{flag} {value} conflicts with --resume: the run was started with "
                    f"{flag} {saved[name]}; leave the option out, or start a new run"
                )
        try:
            options = cls(**saved)
        except TypeError:
            raise Refusal("the checkpoint's options are not those of a digits run") from None
        if options.model not in MODELS or options.optimizer not in OPTIMIZERS:
            raise Refusal(
                f"the checkpoint asks for model {options.model!r} and optimizer "
                f"{options.optimizer!r}, which this version of atled does not have"
            )
        return options

    def as_dict(self) -> dict[str, Any]:
        """Return the options by name."""
        return asdict(self)


def make_optimizer(options: Options, model: Any) -> optim.Optimizer:
    """Return the optimizer that the options name, over a model's parameters."""
    kind, _, more = OPTIMIZERS[options.optimizer]
    make: Any = kind
    return make(model.named_parameters(), lr=options.lr, **more)
