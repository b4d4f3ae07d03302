"""Runs one linked kernel on an emulated AArch64 CPU and counts the instructions."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

from unicorn import arm64_const as reg

from bench.language.workloads import SEED, Workload
from freestanding.elf import Image

unicorn: Any = import_module("unicorn")  # half typed, which is worse than not

STACK, STACK_SIZE = 0x6000_0000, 0x1_0000
RETURN = 0x7000_0000
INPUT, OUTPUT, ROOM = 0x5000_0000, 0x5100_0000, 0x10_0000
PAGE = 0x1000


class WrongRun(Exception):
    """A kernel did not return."""


@dataclass(frozen=True)
class Run:
    """What a kernel did: its result, what it wrote, and how many instructions that took."""

    result: int
    output: bytes
    instructions: int


def _emulator(image: Image, data: bytes) -> Any:
    uc = unicorn.Uc(unicorn.UC_ARCH_ARM64, unicorn.UC_MODE_ARM)
    segments = [s for s in image.elf.iter_segments("PT_LOAD") if s["p_memsz"]]
    low = min(s["p_vaddr"] for s in segments) & -PAGE
    high = max(s["p_vaddr"] + s["p_memsz"] for s in segments) + PAGE - 1 & -PAGE
    uc.mem_map(low, high - low)
    for segment in segments:
        uc.mem_write(segment["p_vaddr"], segment.data())
    for base, size in ((STACK, STACK_SIZE), (RETURN, PAGE), (INPUT, ROOM), (OUTPUT, ROOM)):
        uc.mem_map(base, size)
    uc.mem_write(INPUT, data)
    return uc


def run(image: Image, work: Workload, data: bytes) -> Run:
    """Call `kernel`. Raises WrongRun where it traps or does not come back."""
    uc = _emulator(image, data)
    blocks: list[int] = []
    # Every instruction of a block is executed: blocks end at branches, and nothing here interrupts them.
    uc.hook_add(unicorn.UC_HOOK_BLOCK, lambda _uc, address, size, _data: blocks.append(size))
    arguments = (INPUT, len(data) if work.count is None else work.count, OUTPUT, SEED)
    for register, value in zip((reg.UC_ARM64_REG_X0, reg.UC_ARM64_REG_X1, reg.UC_ARM64_REG_X2, reg.UC_ARM64_REG_X3), arguments):
        uc.reg_write(register, value)
    uc.reg_write(reg.UC_ARM64_REG_SP, STACK + STACK_SIZE)
    uc.reg_write(reg.UC_ARM64_REG_X30, RETURN)
    try:
        uc.emu_start(image.symbols["kernel"], RETURN)
    except unicorn.UcError as error:
        pc = uc.reg_read(reg.UC_ARM64_REG_PC)
        raise WrongRun(f"{work.name}: {error} at {pc:#x} in {image.function_at(pc)}") from None
    return Run(uc.reg_read(reg.UC_ARM64_REG_X0), bytes(uc.mem_read(OUTPUT, ROOM)), sum(blocks) // 4)
