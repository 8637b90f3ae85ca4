"""The base of all optimizers: parameter groups, state, and one step over all parameters.

An optimizer is two small hooks over raw arrays of any backend, `init_state` and `update`. Both
are pure: `update` returns the new weights and puts new arrays into the state it is handed; it
never writes into one. What always holds: a step gives a parameter a new array and leaves the
old one alone, because a Tensor is a value.

`bundle.py` runs the hooks over many small parameters as one flat array; read it next.
"""

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from atled.config import modes
from atled.core.tensor import Tensor, wrap
from atled.errors import BackendError, ShapeError, located
from atled.optim.bundle import Bundle, bundles_of, raw_state

__all__ = ["Optimizer"]

# What an option may be: (smallest, largest, whether the largest itself is allowed).
LIMITS = {
    "lr": (0.0, math.inf, False),
    "eps": (0.0, math.inf, False),
    "weight_decay": (0.0, math.inf, False),
    "momentum": (0.0, math.inf, False),
    "betas": (0.0, 1.0, False),
    "alpha": (0.0, 1.0, True),
    "rho": (0.0, 1.0, True),
    "lr_decay": (0.0, math.inf, False),
    "momentum_decay": (0.0, math.inf, False),
    "initial_accumulator_value": (0.0, math.inf, False),
}


class Optimizer:
    """Change parameters along their gradients. Abstract: subclasses bring the two hooks.

    Args:
        params: Tensors; or (name, Tensor) pairs, as `module.named_parameters()` gives them; or
            dicts with "params" (either of these) and options of their own, one a group.
        defaults: the options, for groups that do not set them.

    Attributes:
        param_groups: a dict for each group: "params" and the options. Options may be changed
            between steps (`group["lr"] = 1e-4`).

    Raises:
        ValueError: there are no parameters, one is given twice, or an option is unknown or out
            of its range.
        TypeError: something among the parameters is not a Tensor.
    """

    bundled = True  # whether `update` may see many parameters as one flat array

    def __init__(self, params: Any, defaults: dict[str, Any]) -> None:
        self.defaults = defaults
        self.param_groups: list[dict[str, Any]] = []
        self._params: list[Tensor] = []
        self._names: list[str | None] = []
        self._slots: list[dict[str, Any]] = []  # a parameter's state, while it is not bundled
        self._bundles: list[Bundle] = []
        self._bundled: list[int] = []  # which parameters the bundles hold, in order
        self._warned = False
        for group in _as_groups(params):
            self.add_param_group(group)

    # -- the two hooks -------------------------------------------------------------------------

    def init_state(self, xp: Any, w: Any, group: Mapping[str, Any]) -> dict[str, Any]:
        """Return the state of weights `w` before the first step: arrays like w, and numbers."""
        return {}

    def update(self, xp: Any, w: Any, g: Any, s: dict[str, Any], group: Mapping[str, Any]) -> Any:
        """Return the new weights, and put what has changed into the state `s`.

        Args:
            xp: the arrays' namespace.
            w, g: weights and their gradient, element by element.
            s: the state; s["step"] counts from 1.
            group: the options.
        """
        raise NotImplementedError("an optimizer needs update(xp, w, g, s, group)")

    # -- a step ----------------------------------------------------------------------------------

    def step(self, pairs: Iterable[tuple[Any, Tensor]] | None = None) -> None:
        """Change every parameter that has a gradient.

        Args:
            pairs: (gradient, parameter) pairs, as `loss.gradients()` gives them; parameters of
                others are passed over. By default each parameter's `.grad` is used.

        Raises:
            TypeError: a gradient, or what it is for, is not a Tensor.
            BackendError: a gradient is another backend's.
            ShapeError: a gradient does not have its parameter's shape. No parameter has
                changed in any of these cases.
        """
        if modes.tracing is not None:
            self._lend()
        gradients = [p.grad for p in self._params] if pairs is None else self._from_pairs(pairs)
        present = [i for i, g in enumerate(gradients) if g is not None]
        if not self._warned:
            self._warn_of_missing(gradients)
        for i in present:
            self._check(i, gradients[i])
        if modes.tracing is not None:
            self._step_traced(present, gradients)
            return
        if present != self._bundled or any(bundle.is_stale() for bundle in self._bundles):
            self._rebundle(present)
        for bundle in self._bundles:
            with bundle.xp.quiet():
                bundle.step(self.update, gradients)

    def _lend(self) -> None:
        """Let the trace that is going on have the parameters."""
        for p in self._params:
            modes.tracing.capture(p)

    def _step_traced(self, present: list[int], gradients: Sequence[Any]) -> None:
        """Write the step down: each parameter by itself, its state and the options live."""
        trace, groups, params = modes.tracing, len(self.param_groups), len(self._params)
        self._unbundle()
        trace.prepare.append(self._unbundle)
        trace.guard(lambda: (groups, params) == (len(self.param_groups), len(self._params)))
        self._begin_state(present)
        trace.share([self._slots[i] for i in present] or [{}])
        for group in self.param_groups:
            options = trace.opened(group, tuple(k for k in group if k not in ("params", "_at")))
            for i in sorted({*group["_at"]} & {*present}):
                p, s, xp = self._params[i], trace.opened(self._slots[i]), self._params[i].backend
                s["step"] = s["step"] + 1
                g = xp.astype(gradients[i]._value, dtype=p.dtype)
                p._value = self.update(xp, p._value, g, s, options)

    def _begin_state(self, present: list[int]) -> None:
        """Make the state of parameters before their first step, for the trace to find."""
        for group in self.param_groups:
            for i in {*group["_at"]} & {*present}:
                if not self._slots[i]:
                    before = wrap(modes.tracing.original(self._params[i]))
                    self._slots[i].update(self._initial(before, group))
                    modes.tracing.failed.append(self._slots[i].clear)

    def _initial(self, p: Tensor, group: Mapping[str, Any]) -> dict[str, Any]:
        with p.backend.quiet():
            return {"step": 0, **self.init_state(p.backend, p._value, group)}

    def _from_pairs(self, pairs: Iterable[tuple[Any, Tensor]]) -> list[Any]:
        given: dict[int, Any] = {}
        for g, p in pairs:
            if not isinstance(p, Tensor):
                raise TypeError(
                    f"step: pairs are (gradient, parameter) Tensors; found a {type(p).__name__} "
                    "for a parameter"
                )
            if id(p) in given:
                raise ValueError(f"step: a parameter of shape {p.shape} is in two of the pairs")
            given[id(p)] = g
        return [given.get(id(p)) for p in self._params]

    def _check(self, i: int, g: Any) -> None:
        p = self._params[i]
        if not isinstance(g, Tensor):
            raise TypeError(
                f"step: the gradient of {self._describe(i)} is a {type(g).__name__}; make it a "
                "Tensor with at.asarray(...)"
            )
        if type(g._value) is not type(p._value) and g.backend is not p.backend:
            raise BackendError(
                f"step: {self._describe(i)} is on the {p.backend.name} backend, its gradient on "
                f"{g.backend.name}; convert it with g.to({p.backend.name!r})"
            )  # fmt: skip
        if g._value.shape != p._value.shape:
            raise ShapeError(
                f"step: the gradient of {self._describe(i)} has shape {g.shape}"
            )  # fmt: skip

    def _warn_of_missing(self, gradients: Sequence[Any]) -> None:
        """Name, at the first step, the parameters that want a gradient and have none."""
        self._warned = True
        missing = [self._describe(i) for i, g in enumerate(gradients)
                   if g is None and self._params[i].requires_grad]  # fmt: skip
        if missing:
            warnings.warn(
                located(
                    f"{type(self).__name__}: {len(missing)} of {len(gradients)} parameters have "
                    f"no gradient at the first step and will not change: {', '.join(missing)}. "
                    "Does the loss depend on them, and was backward() called?"
                ),
                stacklevel=3,
            )

    def _describe(self, i: int) -> str:
        name, shape = self._names[i], self._params[i].shape
        return f"{name!r} (shape {shape})" if name else f"parameter {i} (shape {shape})"

    def _rebundle(self, present: list[int]) -> None:
        """Bundle anew: other parameters have gradients now, or values came from outside."""
        self._unbundle()
        entries = []
        for at, group in enumerate(self.param_groups):
            for i in group["_at"]:
                if i in present:
                    p = self._params[i]
                    if not self._slots[i]:
                        self._slots[i].update(self._initial(p, group))
                    entries.append((at, i, p))
        self._bundles = bundles_of(entries, self._slots, self.param_groups, self.bundled)
        self._bundled = present

    def _unbundle(self) -> None:
        if not self._bundles:
            return
        for bundle in self._bundles:
            for i, slot in bundle.slots():
                self._slots[i].update(slot)  # the same dicts always: compiled steps read them
        self._bundles, self._bundled = [], []

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters (or, with False, set them to zero)."""
        if modes.tracing is not None:
            self._lend()
        for p in self._params:
            if set_to_none:
                p.grad = None
            elif p.grad is not None:
                p.grad = wrap(p.backend.zeros_like(p.grad._value))

    # -- groups ------------------------------------------------------------------------------------

    def add_param_group(self, group: dict[str, Any]) -> None:
        """Add a group: a dict with "params" and options that differ from the defaults."""
        if not isinstance(group, dict) or "params" not in group:
            raise TypeError(f"a parameter group is a dict with 'params'; found {group!r}"[:200])
        options = {k: v for k, v in group.items() if k not in ("params", "_at")}
        unknown = [k for k in options if k not in self.defaults and k != "initial_lr"]
        if unknown:
            raise ValueError(
                f"{type(self).__name__} has no option {', '.join(map(repr, unknown))}; it has "
                f"{', '.join(self.defaults)}"
            )
        whole = {**self.defaults, **options}
        for name, value in whole.items():
            _check_option(type(self).__name__, name, value)
        params, names = _named(group["params"])
        if not params:
            raise ValueError(f"{type(self).__name__} got no parameters to optimize")
        for i, p in enumerate(params):
            _admit(p, self._params + params[:i])
        start = len(self._params)
        self._params += params
        self._names += names
        self._slots += [{} for _ in params]
        at = range(start, len(self._params))
        self.param_groups.append({"params": params, **whole, "_at": at})

    # -- state -------------------------------------------------------------------------------------

    @property
    def state(self) -> dict[Tensor, dict[str, Any]]:
        """A snapshot of each parameter's state, as Tensors and numbers, by parameter."""
        self._unbundle()
        return {
            p: _public(p, slot) for p, slot in zip(self._params, self._slots, strict=True) if slot
        }

    def state_dict(self) -> dict[str, Any]:
        """Return everything that `load_state_dict` needs to go on exactly from here.

        Returns:
            {"state": {index: {name: Tensor or number}}, "param_groups": [options and indices]}.
        """
        self._unbundle()
        state = {
            i: _public(p, self._slots[i]) for i, p in enumerate(self._params) if self._slots[i]
        }
        groups = []
        for group in self.param_groups:
            plain = {k: v for k, v in group.items() if k not in ("params", "_at")}
            names = [self._names[i] for i in group["_at"]]
            named = {"param_names": names} if all(names) else {}
            groups.append({**plain, **named, "params": list(group["_at"])})
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up a state that `state_dict` gave. Nothing is changed unless all of it fits.

        Raises:
            ValueError: groups or parameters differ in number, an option is out of its range,
                or a parameter's state has another shape or misses a part; all of it is listed.
        """
        problems = _check_groups(self, state)
        loaded: dict[int, dict[str, Any]] = {}
        if not problems:
            loaded, problems = _read_slots(self, state)
        if problems:
            raise ValueError(
                f"{type(self).__name__}.load_state_dict: " + "\n  ".join(["", *problems]).lstrip()
            )
        self._unbundle()
        for group, saved in zip(self.param_groups, state["param_groups"], strict=True):
            group.update({k: _thawed(v) for k, v in saved.items()
                          if k not in ("params", "param_names")})  # fmt: skip
        for i, slot in enumerate(self._slots):
            slot.clear()
            slot.update(loaded.get(i, {}))

    def __getstate__(self) -> dict[str, Any]:
        self._unbundle()
        return self.__dict__

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for at, group in enumerate(self.param_groups):
            lines.append(f"  group {at}: {len(group['params'])} parameters")
            lines += [f"    {k}: {v}" for k, v in group.items() if k not in ("params", "_at")]
        return "\n".join([*lines, ")"])


# -- reading what users hand over ----------------------------------------------------------------


def _as_groups(params: Any) -> list[dict[str, Any]]:
    if isinstance(params, Tensor):
        raise TypeError(
            "an optimizer takes an iterable of Tensors; found one Tensor: write [tensor]"
        )
    listed: list[Any] = list(params.items()) if isinstance(params, Mapping) else list(params)
    if not listed:
        raise ValueError("an optimizer got no parameters; was the generator used up before?")
    return listed if isinstance(listed[0], dict) else [{"params": listed}]


def _named(params: Any) -> tuple[list[Tensor], list[str | None]]:
    """Split Tensors, or (name, Tensor) pairs, into Tensors and names."""
    listed = [params] if isinstance(params, Tensor) else list(params)
    names: list[str | None] = []
    tensors: list[Tensor] = []
    for entry in listed:
        name, p = entry if isinstance(entry, tuple) and len(entry) == 2 else (None, entry)
        if not isinstance(p, Tensor):
            raise TypeError(f"an optimizer changes Tensors; found {type(p).__name__}: {p!r}"[:200])
        names.append(name)
        tensors.append(p)
    return tensors, names


def _admit(p: Tensor, others: list[Tensor]) -> None:
    if not p.is_leaf:
        raise ValueError(
            f"an optimizer changes leaves; a Tensor of shape {p.shape} is the result of "
            f"{p.grad_fn.name if p.grad_fn else 'an operation'}: make it a Parameter"
        )
    if any(p is q for q in others):
        raise ValueError(f"a parameter of shape {p.shape} is given twice")


def _public(p: Tensor, slot: Mapping[str, Any]) -> dict[str, Any]:
    return {k: wrap(v) if hasattr(v, "shape") else v for k, v in slot.items()}


def _check_option(owner: str, name: str, value: Any) -> None:
    """Raise TypeError or ValueError unless an option is a number (or numbers) in its range."""
    if name not in LIMITS:
        return
    low, high, closed = LIMITS[name]
    for number in value if isinstance(value, (tuple, list)) else (value,):
        if isinstance(number, bool) or not isinstance(number, (int, float)):
            raise TypeError(f"{owner}: {name} must be a number; found {number!r}")
        if not (low <= number < high or (closed and number == high)):
            bounds = f"[{low:g}, {high:g}{']' if closed else ')'}"
            raise ValueError(f"{owner}: {name} must lie in {bounds}; found {value!r}")


# -- reading a saved state: each of these says what is wrong, so that one error lists it all -----


def _thawed(value: Any) -> Any:
    """Give back as a tuple what a file format may have made a list (betas)."""
    return tuple(value) if isinstance(value, list) else value


def _check_groups(optimizer: Any, state: Mapping[str, Any]) -> list[str]:
    """Say what of a state's groups and parameter numbers does not fit an optimizer."""
    missing = [k for k in ("param_groups", "state") if k not in state]
    if missing:
        return [f"the state has no {k!r}; is it one of state_dict()?" for k in missing]
    groups, ours = state["param_groups"], optimizer.param_groups
    if len(groups) != len(ours):
        return [f"the state has {len(groups)} group(s), the optimizer {len(ours)}"]
    found = []
    for at, (mine, theirs) in enumerate(zip(ours, groups, strict=True)):
        count = len(theirs.get("params", ()))
        if len(mine["params"]) != count:
            found.append(
                f"group {at} has {count} parameter(s) in the state, "
                f"{len(mine['params'])} in the optimizer"
            )
        found += _option_problems(optimizer, at, theirs)
    order = [str(i) for group in groups for i in group.get("params", ())]
    twice = sorted({i for i in order if order.count(i) > 1}) if len(set(order)) < len(order) else []
    unknown = [i for i in map(str, state["state"]) if i not in set(order)]
    found += [f"parameter number {i} is twice in the groups of the state" for i in twice]
    return found + [f"the state of parameter number {i} belongs to no group" for i in unknown]


def _option_problems(optimizer: Any, at: int, group: Mapping[str, Any]) -> list[str]:
    found, owner = [], type(optimizer).__name__
    for name, value in group.items():
        if name in ("params", "param_names", "initial_lr"):
            continue
        if name not in optimizer.defaults:
            found.append(f"group {at} has an option {name!r} that {owner} does not have")
            continue
        try:
            _check_option(owner, name, value)
        except (TypeError, ValueError) as error:
            found.append(f"group {at}: {error}")
    return found


def _read_slots(
    optimizer: Any, state: Mapping[str, Any]
) -> tuple[dict[int, dict[str, Any]], list[str]]:
    """Return each parameter's saved state as raw arrays and numbers, and what is wrong."""
    loaded: dict[int, dict[str, Any]] = {}
    problems: list[str] = []
    slots, place = state["state"], 0
    for mine, theirs in zip(optimizer.param_groups, state["param_groups"], strict=True):
        options = mine | {k: _thawed(v) for k, v in theirs.items() if k in optimizer.defaults}
        for p, i in zip(mine["params"], theirs["params"], strict=True):
            saved = slots.get(i, slots.get(str(i)))
            if saved is not None:
                with p.backend.quiet():
                    fresh = {"step": 0, **optimizer.init_state(p.backend, p._value, options)}
                found = _slot_problems(optimizer._describe(place), p, fresh, saved)
                problems += found
                if not found:
                    loaded[place] = raw_state(p, saved)
            place += 1
    return loaded, problems


def _slot_problems(whose: str, p: Any, fresh: Mapping[str, Any], saved: Any) -> list[str]:
    found = []
    for name, wanted in fresh.items():
        if name not in saved:
            found.append(f"the state of {whose} has no {name!r}")
        elif hasattr(wanted, "shape") and not hasattr(saved[name], "shape"):
            found.append(f"{name} of {whose} is no array in the state: {saved[name]!r}"[:200])
    for name, value in saved.items():
        if hasattr(value, "shape"):
            if tuple(value.shape) != p.shape:
                found.append(f"{name} of {whose} has shape {tuple(value.shape)} in the state")
        elif name == "step" and not _is_count(value):
            found.append(f"step of {whose} must be a number from 0 on; found {value!r}")
    return found


def _is_count(value: Any) -> bool:
    return isinstance(value, (int, float)) and 0 <= value < math.inf
