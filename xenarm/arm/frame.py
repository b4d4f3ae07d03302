"""What a vCPU's register frame is made of, by architecture: the one difference in the layout of a `Vcpu`."""

from typing import TYPE_CHECKING

from freestanding import Array, Struct, array, u32, u64

from xenarm.config import CONFIG

__all__ = ["BOOT_CONTEXT_SHIFT", "FP_WORDS", "REGISTERS", "SAVED_WORDS", "SHORT_REGISTERS", "SYSTEM_WORDS", "TRAP_REGISTERS", "CrashFrame", "Register"]

if TYPE_CHECKING:
    Register = u64
else:
    Register = u64 if CONFIG.ARM64 else u32
"""A general register. mypy takes it for 64 bits wide: what both architectures share converts in both directions."""

REGISTERS, SHORT_REGISTERS, TRAP_REGISTERS, SAVED_WORDS, SYSTEM_WORDS, FP_WORDS = {
    "arm64": (31, 10, 18, 14, 29, 66),  # x0-x30; x0-x9; x0-x17; x18-x30 and SP of EL2; see arm64/switch.py; V0-V31, FPCR, FPSR
    "arm32": (15, 8, 8, 10, 58, 33),  # r0-r12, LR_usr last; r0-r7, banked in no mode; r4-r11, SP, LR; see arm32/switch.py; D0-D31, FPEXC, FPSCR
}[CONFIG.ARCH]
"""General registers, and the first ones of them that every trap leaves in the frame, on the short way and beyond it; what the switch keeps of
the hypervisor's own registers, of system registers, and of FP state in units of 64 bits."""
BOOT_CONTEXT_SHIFT = 0 if CONFIG.ARM64 else 32
"""Where in a vCPU's context the device tree's address is for Linux's boot protocols: x0; r2, with r1 all ones (Documentation/arch/arm/booting.rst)."""


class CrashFrame(Struct):
    """What the vectors save of the hypervisor's own state when it is at fault. There is one: only the first CPU in trouble reports it."""

    regs: Array[Register] = array(Register, REGISTERS)
    sp: Register
    elr: Register
    spsr: Register
    esr: Register
    far: Register
    vector: Register
