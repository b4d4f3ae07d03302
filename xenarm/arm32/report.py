"""What a person is shown of registers: a guest's, asked for by a debug key, and the hypervisor's own when it is at fault."""

from freestanding import Ptr, fn, u16, u32, u64, usize
from xenarm.arm.frame import CrashFrame
from xenarm.arm32.banked import guest_register
from xenarm.arm32.registers import (
    read_dfar,
    read_dfsr,
    read_elr_el2,
    read_ifsr,
    read_sctlr_el1,
    read_spsr_el2,
    read_ttbcr,
    read_ttbr0,
    read_ttbr1,
    read_vbar_el1,
)
from xenarm.arm32.switch import SCTLR, place
from xenarm.arm32.vectors import HYP_VECTORS
from xenarm.core.domain import Domain, Vcpu, domain_name
from xenarm.core.log import printk, say

__all__ = ["crash_check", "frame_record", "saved_vtimer", "say_crash", "say_crash_registers", "say_guest_registers", "say_saved_registers"]

MAPS_MEMORY = True

PC, PSR, VBAR, DFSR, DFAR = (place(register) for register in ("elr_hyp", "spsr", "vbar", "dfsr", "dfar"))
CNTV_CTL, CNTV_CVAL = place("cntv_ctl"), place("cntv_cval")
"""Where a switch saves them in `Vcpu.system`."""

UNDEFINED = HYP_VECTORS.index("undefined")
UDF = 0xDEA0  # in Thumb (A8.8.247); the kind is in the low four bits of its immediate
KIND = 0xF
CHECK = 0xFA00  # with the kind, as ARM64's BRK has it


@fn
def say_guest_registers(d: Domain, v: Vcpu) -> None:
    """Of the vCPU that this CPU has."""
    printk(
        f"cpu {v.cpu}: domain {domain_name(d)} vcpu {v.id}: pc {read_elr_el2():08x} psr {read_spsr_el2():08x} "
        f"sp {guest_register(v, 13):08x} lr {guest_register(v, 14):08x}"
    )
    say_general(v)
    printk(f"  r12 {v.regs[12]:08x}  sctlr {read_sctlr_el1():08x}  ttbcr {read_ttbcr():08x}  ttbr0 {read_ttbr0():x}  ttbr1 {read_ttbr1():x}")
    printk(f"  vbar {read_vbar_el1():08x}  dfsr {read_dfsr():08x}  ifsr {read_ifsr():08x}  dfar {read_dfar():08x}")


@fn
def say_saved_registers(d: Domain, v: Vcpu) -> None:
    """Of a vCPU that no CPU has, as a switch left it."""
    printk(f"no cpu: domain {domain_name(d)} vcpu {v.id}: pc {v.system[PC]:08x} psr {v.system[PSR]:08x}")
    say_general(v)
    printk(f"  r12 {v.regs[12]:08x}  sctlr {v.system[SCTLR]:08x}  vbar {v.system[VBAR]:08x}  dfsr {v.system[DFSR]:08x}  dfar {v.system[DFAR]:08x}")


@fn
def saved_vtimer(v: Vcpu) -> tuple[u64, u64]:
    """CNTV_CTL and CNTV_CVAL of a vCPU that no CPU has."""
    return u64(v.system[CNTV_CTL]), u64(v.system[CNTV_CVAL]) | u64(v.system[CNTV_CVAL + 1]) << 32


@fn
def say_general(v: Vcpu) -> None:
    for row in range(u32(3)):
        n = row * 4
        printk(f"  r{n:02d} {v.regs[n]:08x}  r{n + 1:02d} {v.regs[n + 1]:08x}  r{n + 2:02d} {v.regs[n + 2]:08x}  r{n + 3:02d} {v.regs[n + 3]:08x}")


@fn
def crash_check(frame: CrashFrame) -> tuple[bool, u64]:
    """Whether a failed check stopped the hypervisor (UDF), and its kind."""
    if frame.vector != UNDEFINED:
        return False, 0
    code = Ptr[u16](usize(frame.elr)).slice(1)[0]
    return code & ~u16(KIND) == UDF, CHECK | u64(code & KIND)


@fn
def say_crash(frame: CrashFrame, cpu: u32) -> None:
    """The reason, when it is no failed check."""
    say(f"panic on cpu {cpu}: exception class {frame.esr >> 26:#x} at {frame.elr:#x}, address {frame.far:#x}")


@fn
def frame_record(frame: CrashFrame) -> u64:
    """Where the innermost frame record lies: r7 points at its caller's r7 and the return address."""
    return u64(frame.regs[7])


@fn
def say_crash_registers(frame: CrashFrame) -> None:
    for row in range(u32(3)):
        n = row * 4
        say(f"  r{n:02d} {frame.regs[n]:08x}  r{n + 1:02d} {frame.regs[n + 1]:08x}  r{n + 2:02d} {frame.regs[n + 2]:08x}  r{n + 3:02d} {frame.regs[n + 3]:08x}")
    say(f"  r12 {frame.regs[12]:08x}  sp  {frame.sp:08x}  lr  {frame.regs[14]:08x}  pc  {frame.elr:08x}")
    say(f"  psr {frame.spsr:08x}  hsr {frame.esr:08x}  far {frame.far:08x}")
