"""What a person is shown of registers: a guest's, asked for by a debug key, and the hypervisor's own when it is at fault."""

from freestanding import fn, u32, u64
from xenarm.arm.frame import CrashFrame
from xenarm.arm64.registers import (
    Ec,
    Esr,
    Reader,
    read_elr_el2,
    read_sctlr_el1,
    read_spsr_el2,
    read_vbar_el1,
    reader,
)
from xenarm.core.domain import Domain, Vcpu, domain_name
from xenarm.core.log import printk, say

__all__ = ["crash_check", "frame_record", "say_crash", "say_crash_registers", "say_guest_registers"]

read_elr_el1: Reader = reader("elr_el1")
read_esr_el1: Reader = reader("esr_el1")
read_far_el1: Reader = reader("far_el1")
read_sp_el0: Reader = reader("sp_el0")
read_sp_el1: Reader = reader("sp_el1")
read_tcr_el1: Reader = reader("tcr_el1")
read_ttbr0_el1: Reader = reader("ttbr0_el1")
read_ttbr1_el1: Reader = reader("ttbr1_el1")


@fn
def say_guest_registers(d: Domain, v: Vcpu) -> None:
    """Of the vCPU that this CPU has; the caller-saved ones are in the frame."""
    printk(f"cpu {v.cpu}: domain {domain_name(d)} vcpu {v.id}: pc {read_elr_el2():016x} pstate {read_spsr_el2():08x} lr {v.regs[30]:016x}")
    for row in range(u32(6)):
        n = row * 3
        printk(f"  x{n:02d} {v.regs[n]:016x}  x{n + 1:02d} {v.regs[n + 1]:016x}  x{n + 2:02d} {v.regs[n + 2]:016x}")
    printk(f"  sp_el0 {read_sp_el0():016x}  sp_el1 {read_sp_el1():016x}  elr_el1 {read_elr_el1():016x}")
    printk(f"  sctlr {read_sctlr_el1():08x}  tcr {read_tcr_el1():x}  ttbr0 {read_ttbr0_el1():x}  ttbr1 {read_ttbr1_el1():x}")
    printk(f"  vbar {read_vbar_el1():016x}  esr {read_esr_el1():08x}  far {read_far_el1():016x}")


@fn
def crash_check(frame: CrashFrame) -> tuple[bool, u64]:
    """Whether a failed check stopped the hypervisor (BRK), and its kind."""
    return Esr.from_raw(frame.esr).EC == Ec.BRK, frame.esr & 0xFFFF


@fn
def say_crash(frame: CrashFrame, cpu: u32) -> None:
    """The reason, when it is no failed check."""
    say(f"panic on cpu {cpu}: exception class {Esr.from_raw(frame.esr).EC:#x} at {frame.elr:#x}, address {frame.far:#x}")


@fn
def frame_record(frame: CrashFrame) -> u64:
    """Where the innermost frame record lies (AAPCS64 6.4.6)."""
    return frame.regs[29]


@fn
def say_crash_registers(frame: CrashFrame) -> None:
    for row in range(u32(10)):
        n = row * 3
        say(f"  x{n:02d} {frame.regs[n]:016x}  x{n + 1:02d} {frame.regs[n + 1]:016x}  x{n + 2:02d} {frame.regs[n + 2]:016x}")
    say(f"  x30 {frame.regs[30]:016x}  sp  {frame.sp:016x}  pc  {frame.elr:016x}")
    say(f"  spsr {frame.spsr:08x}  esr {frame.esr:08x}  far {frame.far:016x}")
