"""Optimizers for variables of a program: `opt::SGDOptimizer(klong;["w" "b"];:{["lr" 0.01]})`.

Each is one of `atled.optim`, over copies of the variables: a call `opt(loss)` computes the
gradients of the function `loss`, which reads the variables, makes one step, and returns the loss
before it.
"""

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from atled import optim
from atled.core.apply import replace
from atled.core.tensor import Tensor
from atled.klong.arrays import constant, settle
from atled.klong.derivatives import leaf_of, loss_and_gradients, the_variable, variables_of
from atled.klong.errors import KlongError
from atled.klong.exchange import from_python
from atled.klong.values import Function

__all__ = ["AdamOptimizer", "Optimizer", "SGDOptimizer"]


class Optimizer:
    """Steps of an optimizer of `atled.optim` for variables of an interpreter.

    Args:
        klong: the interpreter.
        params: the names of the variables.
        config: the optimizer's parameters by name.
        name: its class in `atled.optim`.

    Raises:
        KlongError: there is no such optimizer or parameter.

    Example:
        >>> from atled.klong import KlongInterpreter
        >>> k = KlongInterpreter(backend="python")
        >>> k["opt"] = Optimizer(k, ["w"], {"lr": 0.25}, "SGD")
        >>> k("w::2.0;loss::{w^2};opt(loss);w")
        1.0
    """

    def __init__(
        self, klong: Any, params: Any, config: Mapping[str, Any] | None, name: str
    ) -> None:
        self.klong = klong
        self.names = [params] if isinstance(params, str) else [str(p) for p in params]
        if name not in _KINDS:
            raise KlongError(f"there is no optimizer {name!r}; there are {', '.join(_KINDS)}")
        self._kind = _KINDS[name]
        self._options = {str(k): v for k, v in dict(config or {}).items()}
        known = list(inspect.signature(self._kind).parameters)[1:]  # the first: the parameters
        _check_options(name, self._options, known)
        self._optimizer: Any = None
        self._leaves: list[Tensor] = []
        self._values: dict[str, Any] = {}  # what the last step gave the variables

    def _start(self, names: list[str]) -> None:
        """Make the optimizer, at the first step: the variables have values by then."""
        variables = self.klong.context
        self._leaves = [leaf_of(constant(variables.value_of(n)), the_variable(n)) for n in names]
        try:
            self._optimizer = self._kind(self._leaves, **self._options)
        except (TypeError, ValueError) as error:  # an option of another kind, out of its range
            raise KlongError(getattr(error, "message", str(error))) from error

    def __call__(self, loss: Any) -> Any:
        """Make one step for a function that gives the loss; return the loss before it."""
        with self.klong.entered():
            context = self.klong.context
            if not isinstance(loss, Function):
                loss = from_python(loss, "loss")
            names = variables_of(context, loss, self.names)
            if self._optimizer is None:
                self._start(names)
            for name, leaf in zip(names, self._leaves, strict=True):
                now = context.value_of(name)
                if now is not self._values.get(name):  # the program gave it another value
                    replace(leaf, leaf_of(constant(now)).detach())
            value, found = loss_and_gradients(context, loss, names)
            pairs = [
                (g if isinstance(g, Tensor) else leaf_of(g).detach(), leaf)
                for g, leaf in zip(found, self._leaves, strict=True)
            ]
            self._optimizer.step(pairs)
            for name, leaf in zip(names, self._leaves, strict=True):
                self._values[name] = context.variables[name] = settle(leaf.detach())
            return constant(value)

    def __repr__(self) -> str:
        return f":{self._kind.__name__}"


_KINDS: dict[str, type[optim.Optimizer]] = {
    name: kind
    for name, kind in sorted(vars(optim).items())
    if isinstance(kind, type) and issubclass(kind, optim.Optimizer) and kind is not optim.Optimizer
}


def _check_options(name: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Refuse an option that an optimizer does not have, and say which it has."""
    for option in given:
        if option not in known:
            raise KlongError(f"{name} has no option {option!r}; there are {', '.join(known)}")


class SGDOptimizer(Optimizer):
    """Gradient descent, with `momentum` if given: lr is 0.01 by default."""

    def __init__(self, klong: Any, params: Any, config: Mapping[str, Any] | None = None) -> None:
        super().__init__(klong, params, {"lr": 0.01, **(config or {})}, "SGD")


_MORE = ("weight_decay", "amsgrad", "maximize")


class AdamOptimizer(Optimizer):
    """Adam: lr is 0.001 by default; `beta1`, `beta2` and `eps` may be given."""

    def __init__(self, klong: Any, params: Any, config: Mapping[str, Any] | None = None) -> None:
        given = {"lr": 0.001, **(config or {})}
        _check_options("AdamOptimizer", map(str, given), ("lr", "beta1", "beta2", "eps", *_MORE))
        betas = given.pop("beta1", 0.9), given.pop("beta2", 0.999)
        super().__init__(klong, params, {"betas": betas, **given}, "Adam")
