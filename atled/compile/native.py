"""From LLVM's language to machine code, in memory: the one file that imports llvmlite."""

import ctypes
import os
from functools import lru_cache, partial
from typing import Any

import llvmlite.binding as llvm

from atled.compile import cache

__all__ = ["Library", "assembly", "host", "optimised"]


PASSES = "1"  # of `optimised`; another number when they change, so that old objects are not used
LLVM = ".".join(map(str, llvm.llvm_version_info))


# Of processors that one may ask for by ATLED_CPU, in bytes; others are taken to have 16.
WIDTHS = {"haswell": 32, "x86-64-v3": 32, "skylake-avx512": 64, "x86-64-v4": 64}


class Host:
    """The machine that programs are made for, as LLVM sees it.

    Attributes:
        triple: as in "x86_64-unknown-linux-gnu".
        cpu, features: LLVM's names.
        vector_bytes: width of the vectors that kernels use.
    """

    def __init__(self) -> None:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        self.triple = llvm.get_process_triple()
        self.cpu = os.environ.get("ATLED_CPU", "") or llvm.get_host_cpu_name()
        has = {} if self.cpu != llvm.get_host_cpu_name() else dict(llvm.get_host_cpu_features())
        self.features = ",".join(f"{'+' if on else '-'}{name}" for name, on in sorted(has.items()))
        width = 64 if has.get("avx512f") else 32 if has.get("avx2") else 16
        self.vector_bytes = WIDTHS.get(self.cpu, width)
        if self.vector_bytes == 64:  # LLVM would split 512-bit vectors in two on many CPUs
            self.features += ",-prefer-256-bit"
        self.machine = self.target_machine()
        self.target_data = self.machine.target_data  # kept: its text is read once, while it lives
        self.layout = str(self.target_data)

    def target_machine(self) -> Any:
        """Return a code generator for this machine; an engine takes possession of its own."""
        return llvm.Target.from_triple(self.triple).create_target_machine(
            cpu=self.cpu, features=self.features, opt=2, jit=True
        )


@lru_cache(None)
def host() -> Host:
    """Return the machine, found out once."""
    return Host()


def optimised(text: str) -> Any:
    """Parse and verify a module, and run a few of LLVM's passes over it.

    Loops are written as they shall be, vectors and all: what is left is to put variables into
    registers. All passes of -O2 take eight times as long, and the kernels run no faster.
    """
    module = llvm.parse_assembly(text)
    module.triple, module.data_layout = host().triple, host().layout
    module.verify()
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    builder = llvm.create_pass_builder(host().machine, options)
    passes = llvm.create_new_module_pass_manager()
    passes.add_sroa_pass()
    passes.add_instruction_combine_pass()
    passes.add_simplify_cfg_pass()
    passes.run(module, builder)
    return module


def assembly(text: str) -> str:
    """Return the machine code of a module, as assembly."""
    return str(host().machine.emit_assembly(optimised(text)))


class Library:
    """Compiled functions, found by name, that live as long as this object.

    The object code comes from the disk cache if this text was compiled for this machine before.

    Args:
        text: a module in LLVM's language.

    Attributes:
        cached: whether the code came from the cache.
    """

    def __init__(self, text: str) -> None:
        here = host()
        key = cache.key_of(PASSES, LLVM, here.triple, here.cpu, here.features, text)
        found = cache.load(key)
        module = optimised(text) if found is None else llvm.parse_assembly("")
        module.triple, module.data_layout = here.triple, here.layout
        self.cached = found is not None
        self._engine = llvm.create_mcjit_compiler(module, here.target_machine())
        if found is None:
            store = partial(_store, key)
            self._engine.set_object_cache(notify_func=store)
        else:
            self._engine.set_object_cache(getbuffer_func=lambda _: found)
        self._engine.finalize_object()

    def address(self, name: str) -> int:
        """Return where a function lies.

        Raises:
            KeyError: the module has no such function.
        """
        found = int(self._engine.get_function_address(name))
        if not found:
            raise KeyError(f"the compiled module has no function {name!r}")
        return found

    def function(self, name: str, *arguments: Any, result: Any = None) -> Any:
        """Return a function as ctypes calls it, with the GIL released."""
        call: Any = ctypes.CFUNCTYPE(result, *arguments)(self.address(name))
        call.library = self
        return call


def _store(key: str, module: Any, data: bytes) -> None:
    cache.store(key, data)


def _hold() -> None:
    _LOCK.__enter__()


def _release() -> None:
    _LOCK.__exit__(None, None, None)


# A child that is forked while another thread compiles would inherit llvmlite's lock, held for ever.
_LOCK: Any = llvm.ffi.lib._lock
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_hold, after_in_parent=_release, after_in_child=_release)
