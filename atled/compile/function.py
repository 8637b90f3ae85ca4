"""`at.compile`: a function that is traced once for each kind of arguments, then run natively.

A compiled function keeps its programs, the one used last first. A call asks them in turn whether
they are right for it (`prepared.py`) and runs the first that is; if none is, the function is
traced (`core/trace.py`), which changes nothing, and then run.
"""

import inspect
import threading
import warnings
import weakref
from collections.abc import Callable
from functools import partial, update_wrapper
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple

from atled.backends.protocol import current
from atled.compile.batched import Inlined, Lifted, outermost, within
from atled.compile.derivative import Pullback
from atled.compile.prepared import Prepared, executor
from atled.compile.verify import verified
from atled.config import modes
from atled.core.batch import Batched
from atled.core.binding import rebound, settle
from atled.core.guard import Environment, Slot
from atled.core.tensor import Tensor
from atled.core.trace import LOCK, Elsewhere, Trace
from atled.errors import BackendError, TraceError, located
from atled.tree import flatten

__all__ = ["Compiled", "Stats", "compile"]

KEPT = 32  # programs of one function; the one used longest ago goes first
PATIENCE = 8  # traces of one function without a warning


class Stats(NamedTuple):
    """What a compiled function has done.

    Attributes:
        calls: how often it was called.
        traces: how often it was traced.
        programs: how many programs it keeps.
        eager: how many calls ran eagerly.
    """

    calls: int
    traces: int
    programs: int
    eager: int


def compile(
    function: Callable[..., Any] | None = None, *, strict: bool = False, verify: int = 0
) -> Any:
    """Compile a function of Tensors, or a whole training step.

    Args:
        function: what to compile; left out in ``@at.compile(verify=2)``.
        strict: raise where a part would run eagerly.
        verify: run the first so many calls of each program beside the function itself, and
            raise `TraceError` if a result or a state differs.

    Example:
        >>> import atled as at
        >>> @at.compile
        ... def area(r):
        ...     return at.pi * r**2
        >>> area(at.tensor(2.0))
        tensor(12.5664)
    """
    if function is None:
        return partial(compile, strict=strict, verify=verify)
    return Compiled(function, strict=strict, verify=verify)


def set_num_threads(number: int) -> None:
    """Set how many threads run a compiled program.

    By default there are as many as this process may use processors: its affinity, the limits of
    its cgroup, and ``ATLED_NUM_THREADS`` decide. Results are the same for any number.

    Raises:
        ValueError: number is not from 1 to 1024.
        BackendError: llvmlite is not installed, so nothing is compiled.
    """
    _threads().set_num_threads(number)


def get_num_threads() -> int:
    """Return how many threads run a compiled program; see `set_num_threads`."""
    return int(_threads().get_num_threads())


def _threads() -> Any:
    if find_spec("llvmlite") is None:
        raise BackendError(
            "only compiled programs have threads of their own, and llvmlite is not installed: "
            "pip install 'atled[standard]'"
        )
    return import_module(".threads", __package__)


class Compiled:
    """A compiled function. Make one with `at.compile`.

    Attributes:
        __wrapped__: the function itself.
    """

    def __init__(self, function: Callable[..., Any], strict: bool = False, verify: int = 0) -> None:
        if not callable(function):
            raise TypeError(f"compile takes a function; found {type(function).__name__}")
        if isinstance(verify, bool) or not isinstance(verify, int) or verify < 0:
            raise ValueError(f"verify is a number of calls, from 0 on; found {verify!r}")
        if inspect.isgeneratorfunction(function) or inspect.iscoroutinefunction(function):
            raise TypeError(
                "compile takes a function that returns its results; found a generator or a "
                "coroutine. Compile what it calls between two yields"
            )
        update_wrapper(self, function, updated=())
        self.__wrapped__ = function
        self._name = getattr(function, "__name__", type(function).__name__)
        self._strict, self._verify = strict, verify
        self._prepared: list[Prepared] = []
        self._lock = threading.RLock()
        self._calls = self._traces = self._eager = 0
        self._warned: set[str] = set()
        # Keys of calls that use Tensors of other backends, and one of these Tensors.
        self._elsewhere: dict[Any, weakref.ref[Tensor]] = {}
        self._made_by: Compiled | None = None  # of which this is the method of an instance
        self._lifted = Lifted(function, self._for_all)  # inside a `vmap`
        self._inlines = False  # whether to raise `Inlined` where it would run eagerly
        self._others: list[Any] = []  # what it reads besides its arguments and what it mentions

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if modes.tracing is not None:  # inside another compiled function: a part of it
            return self.__wrapped__(*args, **kwargs)
        with self._lock:
            self._calls += 1
            if self._prepared and not kwargs:
                latest = self._prepared[0]
                if latest.key == len(args) and latest.calls >= self._verify and latest.ready(args):
                    return latest.run(args)
            leaves, key = args, len(args)
            if kwargs or any(not isinstance(x, Tensor) for x in args):
                leaves, key = self._taken_apart(args, kwargs)
            known = self._known(leaves, key)
            if known is not None and known.calls >= self._verify:
                return known.run(leaves)
        batch = outermost(leaves)
        if batch is None or _why_eager(leaves) is not None:
            return self._first(args, kwargs, leaves, key)
        try:
            return self._lifted.call(args, kwargs, key, batch)
        except Inlined as why:
            reason = str(why)
        return self._run_eagerly(args, kwargs, reason)

    def _for_all(self, function: Callable[..., Any], others: list[Any]) -> "Compiled":
        """Return a function over all examples of a batch, compiled as this one is."""
        made = Compiled(function, self._strict, self._verify)
        made._inlines, made._others = True, others
        return made

    def _known(self, leaves: Any, key: Any) -> Prepared | None:
        """Return a program that is ready for a call, and stands first then."""
        for at, prepared in enumerate(self._prepared):
            if prepared.key == key and prepared.ready(leaves):
                if at:
                    self._prepared[0].forget()
                    self._prepared.insert(0, self._prepared.pop(at))
                return prepared
        return None

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the function, or of the Module, that is compiled."""
        if name.startswith("_"):
            raise AttributeError(f"a compiled function has no attribute {name!r}")
        return getattr(self.__wrapped__, name)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """Return the method of an instance, compiled for it."""
        if instance is None:
            return self
        own = getattr(instance, "__dict__", None)
        if own is None:
            raise TypeError(
                f"the method {self._name} cannot be compiled for a {type(instance).__name__}: it "
                "has __slots__, and no place for programs of its own. Add '__dict__' to them, "
                "or compile a function that takes the object as an argument"
            )
        name = f"_compiled_{self._name}_{id(self)}"  # a class and its base may both have one
        known = own.get(name)
        if known is None:
            bound = self.__wrapped__.__get__(instance, owner)
            known = own[name] = Compiled(bound, self._strict, self._verify)
            known._made_by = self
        return known

    def __reduce__(self) -> tuple[Any, ...]:
        return type(None), ()  # an instance is copied without its compiled methods

    def __repr__(self) -> str:
        return f"<compiled {self._name}: {len(self._prepared)} programs>"

    def stats(self) -> Stats:
        """Return how often it was called and traced."""
        inner = [c.stats() for c in self._lifted.made.values()]  # for what is inside a `vmap`
        traces, programs = (sum(s[i] for s in inner) for i in (1, 2))
        return Stats(
            self._calls, self._traces + traces, len(self._prepared) + programs, self._eager
        )

    def _run(self, prepared: Prepared, args: Any, kwargs: Any, leaves: Any) -> Any:
        if prepared.calls < self._verify:
            function = partial(self.__wrapped__, *args, **kwargs)
            return verified(self._name, prepared, function, leaves)
        return prepared.run(leaves)

    def explain(self) -> str:
        """Return what the program used last is made of: kernels, calls, memory.

        Raises:
            TraceError: there is no program yet.
        """
        if not self._prepared and self._lifted.made:
            return str([*self._lifted.made.values()][-1].explain())
        if not self._prepared:
            raise TraceError(f"{self._name} has no program yet; call it first")
        explained = import_module(".explain", __package__).explain
        return str(explained(self._prepared[0].program))

    # -- the first call of a kind

    def _first(self, args: Any, kwargs: Any, leaves: Any, key: Any) -> Any:
        """Trace, prepare and run; or run eagerly where there is nothing to compile for.

        Only one thread does so at a time: while it traces, Tensors hold no numbers, and no
        other thread's program finds its state. Such a thread waits here, and asks again.
        """
        with LOCK, self._lock:  # in this order: what is verified calls other functions
            reason = _why_eager(leaves) or self._why_elsewhere(key)
            try:
                if reason is None:
                    known = self._known(leaves, key)
                    if known is not None:
                        return self._run(known, args, kwargs, leaves)
                    return self._run_first(args, kwargs, leaves, key)
            except Elsewhere as found:
                self._elsewhere[key] = weakref.ref(found.tensor)
                reason = _elsewhere(found.tensor)
            except Inlined as why:
                reason = str(why)
        return self._run_eagerly(args, kwargs, reason)

    def _run_first(self, args: Any, kwargs: Any, leaves: Any, key: Any) -> Any:
        """Trace, run and keep a program. After an exception all is as it was before."""
        prepared = self._trace(args, kwargs, leaves, key)
        try:
            if not prepared.ready(leaves):
                raise TraceError(f"{self._name}: what tracing relied on did not hold at its end")
            result = self._run(prepared, args, kwargs, leaves)
        except BaseException:
            if not prepared.calls:
                for undo in prepared.record.trace.failed:
                    undo()
            raise
        if self._prepared:
            self._prepared[0].forget()
        self._prepared.insert(0, prepared)
        for old in self._prepared[KEPT:]:
            old.retire()
        del self._prepared[KEPT:]
        return result

    def _trace(self, args: Any, kwargs: Any, leaves: Any, key: Any) -> Prepared:
        statics = [x for x in flatten((args, kwargs))[0] if not isinstance(x, Tensor)]
        others = [(x, "an argument") for x in [*statics, *self._others]]
        environment = Environment(self.__wrapped__, others)
        pinned = {i: x for i, x in enumerate(leaves) if id(x) in environment.tensors}
        lent = [None if id(x) in environment.tensors else x for x in leaves]
        self._traces += 1
        self._warn_of_traces(leaves, key)
        trace = Trace(environment, lent)
        try:
            with within(), trace:
                result = self.__wrapped__(*args, **kwargs)
                bindings, refused = rebound(environment)
                _refuse_changes(refused, self._name)
                record = trace.finish(result, bindings)
                settle(environment, bindings)
                pullback = None
                if record.leaves:
                    pullback = Pullback(record, self._name, executor, Compiled)
            prepared = Prepared(key, environment, record, pinned, pullback, leaves)
            self._refuse_eager(prepared)
            if prepared.draws and modes.batches:
                raise Inlined(_DRAWS)
        except BaseException:
            for slot in environment.changed():
                slot.restore()
            for undo in trace.failed:
                undo()
            raise
        return prepared

    def _refuse_eager(self, prepared: Prepared) -> None:
        if self._strict and prepared.eager():
            raise TraceError(
                f"{self._name}, compiled with strict=True, would call "
                f"{', '.join(prepared.eager())} eagerly"
            )

    def _why_elsewhere(self, key: Any) -> str | None:
        """Say that a Tensor which an earlier call met is still of another backend."""
        t = self._elsewhere[key]() if key in self._elsewhere else None
        if t is None or t.backend.name == "numpy":
            self._elsewhere.pop(key, None)
            return None
        return _elsewhere(t)

    def _warn_of_traces(self, leaves: Any, key: Any) -> None:
        if self._traces <= PATIENCE or "traces" in self._warned:
            return
        self._warned.add("traces")
        reason = self._prepared[0].why_not(leaves, key) if self._prepared else "it failed before"
        warnings.warn(
            located(
                f"{self._name} was traced {self._traces} times, and each time takes long. The "
                f"last time: {reason}. Pass what changes as a Tensor, and keep shapes few"
            ),
            RuntimeWarning,
            stacklevel=6,
        )

    def _run_eagerly(self, args: Any, kwargs: Any, reason: str) -> Any:
        if self._inlines:
            raise Inlined(reason)
        if self._strict:
            raise TraceError(
                f"{self._name}, compiled with strict=True, would run eagerly: {reason}"
            )
        if reason not in self._warned:
            self._warned.add(reason)
            warnings.warn(
                located(f"{self._name} runs eagerly: {reason}"), RuntimeWarning, stacklevel=4
            )
        self._eager += 1
        return self.__wrapped__(*args, **kwargs)

    def _taken_apart(self, args: Any, kwargs: Any) -> tuple[tuple[Tensor, ...], Any]:
        """Return the Tensors among the arguments, and a key of everything else."""
        found, structure = flatten((args, kwargs))
        statics: list[Any] = []
        for x in found:
            if isinstance(x, Tensor):
                statics.append(Tensor)
                continue
            try:
                hash(x)
            except TypeError:
                raise TypeError(
                    f"{self._name}: {self._place_of(x, args, kwargs)} is a {type(x).__name__}, "
                    "which is neither a Tensor nor hashable: make it a Tensor with "
                    "at.asarray(x), or a tuple"
                ) from None
            statics.append(_static(x))
        return tuple([x for x in found if isinstance(x, Tensor)]), (structure.form, *statics)

    def _place_of(self, x: Any, args: Any, kwargs: Any) -> str:
        """Return the name of the argument that holds x."""
        names = list(inspect.signature(self.__wrapped__).parameters)
        for name, nest in [*zip(names, args, strict=False), *kwargs.items()]:
            if any(leaf is x for leaf in flatten(nest)[0]):
                return f"argument {name!r}" if nest is x else f"a part of argument {name!r}"
        return "an argument"


def _static(x: Any) -> Any:
    """Return what is equal for two hashable arguments if a program may be used for both."""
    if type(x) is float:
        return float, x.hex()
    if type(x) is complex:
        return complex, x.real.hex(), x.imag.hex()
    if isinstance(x, frozenset):  # 1 and 1.0 are equal, but their results are not
        return type(x), frozenset(map(_static, x))
    return type(x), x


_ELSEWHERE = "it uses Tensors of the {} backend, and programs run on numpy's"
_CAPTURED = (
    "it reads a Tensor from outside that differs between the examples of {}; pass it as an argument"
)
_DRAWS = "it draws random numbers inside a vmap that it is not mapped by"


def _elsewhere(t: Tensor) -> str:
    """Say why a program cannot use a Tensor."""
    if isinstance(t._value, Batched):
        return _CAPTURED.format(t._value.batch.name)
    return _ELSEWHERE.format(t.backend.name)


def _why_eager(leaves: Any) -> str | None:
    """Say why a call cannot be compiled; None if it can."""
    if find_spec("llvmlite") is None:
        return "llvmlite is not installed; pip install 'atled[standard]'"
    if current().name != "numpy":
        return _ELSEWHERE.format(current().name)
    for x in leaves:
        name = getattr(x.backend, "base", x.backend).name
        if name != "numpy":
            return _ELSEWHERE.format(name)
    return None


def _refuse_changes(slots: list[Slot], name: str) -> None:
    """Raise if tracing has changed what a program cannot change."""
    for slot in slots:
        raise TraceError(
            f"{name} changes Python's own state: "
            f"{slot.describe('changed')} while it was traced. A compiled function runs its "
            "Python code only once: keep what changes in a Tensor (a buffer of a Module, given "
            "its new value by t.copy_(new)), return it, or change it outside"
        )
