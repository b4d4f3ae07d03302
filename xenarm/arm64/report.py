"""What a person is shown of registers: a guest's, asked for by a debug key, and the hypervisor's own when it is at fault."""

from freestanding import fn, u32, u64
from xenarm.arm.frame import CrashFrame
from xenarm.arm64.registers import (
    Ec,
    Esr,
    Reader,
    read_elr_el2,
    read_far_el1,
    read_sctlr_el1,
    read_spsr_el2,
    read_tcr_el1,
    read_vbar_el1,
    reader,
)
from xenarm.arm64.switch import CNTV_CTL, CNTV_CVAL, LOADED_REGISTERS
from xenarm.core.domain import Domain, Vcpu, domain_name
from xenarm.core.log import printk, say

__all__ = ["crash_check", "frame_record", "saved_vtimer", "say_crash", "say_crash_registers", "say_guest_registers", "say_saved_registers"]

read_elr_el1: Reader = reader("elr_el1")
read_esr_el1: Reader = reader("esr_el1")
read_sp_el0: Reader = reader("sp_el0")
read_sp_el1: Reader = reader("sp_el1")
read_ttbr0_el1: Reader = reader("ttbr0_el1")
read_ttbr1_el1: Reader = reader("ttbr1_el1")

AT = {name: n for n, name in enumerate(LOADED_REGISTERS)}
PC, PSTATE, ELR, ESR, FAR = AT["elr_el2"], AT["spsr_el2"], AT["elr_el1"], AT["esr_el1"], AT["far_el1"]
SP_EL0, SP_EL1, SCTLR, TCR = AT["sp_el0"], AT["sp_el1"], AT["sctlr_el1"], AT["tcr_el1"]
TTBR0, TTBR1, VBAR = AT["ttbr0_el1"], AT["ttbr1_el1"], AT["vbar_el1"]
"""Where a switch saves them in `Vcpu.system`."""


@fn
def say_guest_registers(d: Domain, v: Vcpu) -> None:
    """Of the vCPU that this CPU has; the caller-saved ones are in the frame."""
    printk(f"cpu {v.cpu}: domain {domain_name(d)} vcpu {v.id}: pc {read_elr_el2():016x} pstate {read_spsr_el2():08x} lr {v.regs[30]:016x}")
    say_general(v)
    printk(f"  sp_el0 {read_sp_el0():016x}  sp_el1 {read_sp_el1():016x}  elr_el1 {read_elr_el1():016x}")
    printk(f"  sctlr {read_sctlr_el1():08x}  tcr {read_tcr_el1():x}  ttbr0 {read_ttbr0_el1():x}  ttbr1 {read_ttbr1_el1():x}")
    printk(f"  vbar {read_vbar_el1():016x}  esr {read_esr_el1():08x}  far {read_far_el1():016x}")


@fn
def say_saved_registers(d: Domain, v: Vcpu) -> None:
    """Of a vCPU that no CPU has, as a switch left it."""
    printk(f"no cpu: domain {domain_name(d)} vcpu {v.id}: pc {v.system[PC]:016x} pstate {v.system[PSTATE]:08x} lr {v.regs[30]:016x}")
    say_general(v)
    printk(f"  sp_el0 {v.system[SP_EL0]:016x}  sp_el1 {v.system[SP_EL1]:016x}  elr_el1 {v.system[ELR]:016x}")
    printk(f"  sctlr {v.system[SCTLR]:08x}  tcr {v.system[TCR]:x}  ttbr0 {v.system[TTBR0]:x}  ttbr1 {v.system[TTBR1]:x}")
    printk(f"  vbar {v.system[VBAR]:016x}  esr {v.system[ESR]:08x}  far {v.system[FAR]:016x}")


@fn
def saved_vtimer(v: Vcpu) -> tuple[u64, u64]:
    """CNTV_CTL and CNTV_CVAL of a vCPU that no CPU has."""
    return u64(v.system[CNTV_CTL]), u64(v.system[CNTV_CVAL])


@fn
def say_general(v: Vcpu) -> None:
    """x0 to x17: the others are wherever the functions of EL2 that are under way have put them."""
    for row in range(u32(6)):
        n = row * 3
        printk(f"  x{n:02d} {v.regs[n]:016x}  x{n + 1:02d} {v.regs[n + 1]:016x}  x{n + 2:02d} {v.regs[n + 2]:016x}")


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
