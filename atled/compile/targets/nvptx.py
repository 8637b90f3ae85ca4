"""NVIDIA's GPUs: the same loops, one unit of a kernel for each thread, as PTX.

Nothing in `loops` or `kernel` knows of this target: it asks for vectors of one lane, and its entry
function gives each thread of the grid one unit to do. There is no launcher yet.
"""

from typing import Any, NamedTuple

import llvmlite.binding as llvm

from atled.compile.kernel import Loops
from atled.compile.loops import emit

__all__ = ["NVPTX", "Target", "ptx"]


class Target(NamedTuple):
    """A machine that is not the one we run on.

    Attributes:
        triple, cpu, features: LLVM's names.
        vector_bytes: width of its vectors; that of one element where threads are the lanes.
    """

    triple: str
    cpu: str
    features: str
    vector_bytes: int


NVPTX = Target("nvptx64-nvidia-cuda", "sm_80", "+ptx70", 4)

# What each thread of a grid does, and `llvm.nvvm.read.ptx.sreg` calls its own numbers.
_ENTRY = """
declare i32 @llvm.nvvm.read.ptx.sreg.ctaid.x()
declare i32 @llvm.nvvm.read.ptx.sreg.ntid.x()
declare i32 @llvm.nvvm.read.ptx.sreg.tid.x()
define ptx_kernel void @{name}({parameters}) {{
  %block = call i32 @llvm.nvvm.read.ptx.sreg.ctaid.x()
  %width = call i32 @llvm.nvvm.read.ptx.sreg.ntid.x()
  %lane = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %base = mul i32 %block, %width
  %place = add i32 %base, %lane
  %unit = zext i32 %place to i64
  %next = add i64 %unit, 1
  %inside = icmp ult i64 %unit, {units}
  br i1 %inside, label %do, label %done
do:
  call void @unit({arguments}, i64 %unit, i64 %next, ptr null)
  br label %done
done:
  ret void
}}
"""


def ptx(loops: Loops, name: str, target: Target = NVPTX) -> str:
    """Return a kernel as PTX; its parameters are the kernel's arrays.

    Raises:
        ValueError: the kernel needs scratch memory, for which this target has no place yet.
    """
    made = emit(loops, target.vector_bytes)
    if made.scratch:
        raise ValueError(f"kernel {name} keeps {made.scratch} bytes of a row: no place for them")
    pointers = ", ".join(f"ptr %a{i}" for i in range(len(made.arrays)))
    entry = _ENTRY.format(name=name, parameters=pointers, arguments=pointers, units=made.units)
    body = made.body.replace("@NAME", "@unit").replace(" noinline ", " alwaysinline ")
    module = llvm.parse_assembly("\n".join([*sorted(made.declarations), body, entry]))
    machine = _machine(target)
    module.triple, module.data_layout = target.triple, str(machine.target_data)
    module.verify()
    passes = llvm.create_new_module_pass_manager()
    passes.add_always_inliner_pass()
    passes.add_sroa_pass()
    passes.add_instruction_combine_pass()
    passes.add_simplify_cfg_pass()
    passes.run(module, llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options()))
    return str(machine.emit_assembly(module))


def _machine(target: Target) -> Any:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    found = llvm.Target.from_triple(target.triple)
    return found.create_target_machine(cpu=target.cpu, features=target.features, opt=3)
