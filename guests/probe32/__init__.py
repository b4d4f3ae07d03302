"""The probing guest for AArch32: registers of every mode in traps, exceptions as they arrive, IT blocks, calls; then all registers over many turns of the CPU.

Prints `probe32 <name> ok`, or what it found instead, and `probe32 end`. Several domains of it on one CPU must not find each other's registers:
with the bootargs `seed=`, different for each, that is all that it looks at. It wants a GICv2.
"""

import guests.runtime.head
import guests.runtime.interrupts  # noqa: F401
from freestanding import Struct, View, export, fn, u8, u32, u64, zeroed
from guests.probe32.code import MODES, arm_undefined, data_abort, hypercall, it_block, mode_access, probe_word, state_check, state_set, thumb_undefined, unit_on, yield_cpu
from guests.runtime.arguments import argument_number, bootargs
from guests.runtime.console import console_init, printk
from guests.runtime.gic import GIC, gic_init
from guests.runtime.link import LINKER_SCRIPT
from guests.runtime.machine import FDT, machine_init
from guests.runtime.psci import psci_hvc, psci_init, psci_system_off
from xenarm.abi.hypercall import XEN_VERSION_NUMBER, Hypercall
from xenarm.abi.psci import PSCI_64BIT, PSCI_BASE, PsciFunction
from xenarm.arm.aarch32 import MASK_IRQ, THUMB, Mode
from xenarm.core.result import Result
from xenarm.devicetree.reader import FdtError

__all__ = ["FLOATING_POINT", "LINKER_SCRIPT", "guest_main", "guest_secondary"]

FLOATING_POINT = ("state_set", "state_check", "unit_on")
NOTHING_THERE = 0x0800_0000  # below every device of Xen's guest memory map
LOW = 0xFFFF_FFFF
NOT_SUPPORTED = LOW
EXTERNAL_LONG = 0x210  # DFSR: LPAE, synchronous external abort
STATUS = 0x23F  # DFSR's LPAE and STATUS
MODE_AND_MASKS = 0x1F | THUMB | MASK_IRQ
TURNS = 2000
ON = PSCI_BASE + PsciFunction.CPU_ON
FEATURES = PSCI_BASE + PsciFunction.FEATURES
ENOSYS = -38 & LOW
SPSR_WORD, CPSR_WORD, DFSR_WORD, DFAR_WORD = 1, 2, 3, 4


class Report(Struct):
    bad: u32


REPORT = zeroed(Report)


@fn
def expect(name: View[u8], found: u32, wanted: u32) -> None:
    """One line for each check."""
    if found == wanted:
        printk(f"probe32 {name} ok")
    else:
        REPORT.bad += 1
        printk(f"probe32 {name} BAD: found {found:#x}, wanted {wanted:#x}")


sys_access, svc_access, irq_access, abt_access, und_access, fiq_access = (mode_access(name) for name in MODES)


@fn
def probe_modes() -> None:
    """Loads, stores and coprocessor transfers that trap, with the registers that each mode has for its own."""
    gicd = u32(GIC.gicd)
    expect(b"mode-sys", sys_access(gicd), 0)
    expect(b"mode-svc", svc_access(gicd), 0)
    expect(b"mode-irq", irq_access(gicd), 0)
    expect(b"mode-abt", abt_access(gicd), 0)
    expect(b"mode-und", und_access(gicd), 0)
    expect(b"mode-fiq", fiq_access(gicd), 0)


@fn
def probe_exceptions() -> None:
    expect(b"it-block", it_block(), 5)
    expect(b"undefined-arm", arm_undefined(), 4)
    expect(b"undefined-arm-spsr", probe_word(SPSR_WORD) & (0x1F | THUMB), Mode.SVC)
    expect(b"undefined-arm-cpsr", probe_word(CPSR_WORD) & MODE_AND_MASKS, Mode.UND | MASK_IRQ)
    expect(b"undefined-thumb", thumb_undefined(), 2)
    expect(b"undefined-thumb-spsr", probe_word(SPSR_WORD) & (0x1F | THUMB), Mode.SVC | THUMB)
    expect(b"undefined-thumb-cpsr", probe_word(CPSR_WORD) & MODE_AND_MASKS, Mode.UND | MASK_IRQ)


@fn
def probe_abort() -> None:
    expect(b"data-abort", data_abort(NOTHING_THERE), 8)
    expect(b"data-abort-cpsr", probe_word(CPSR_WORD) & MODE_AND_MASKS, Mode.ABT | MASK_IRQ)
    expect(b"data-abort-dfsr", probe_word(DFSR_WORD) & STATUS, EXTERNAL_LONG)
    expect(b"data-abort-dfar", probe_word(DFAR_WORD), NOTHING_THERE)


@fn
def probe_calls() -> None:
    expect(b"cpu-on-there", u32(psci_hvc(FEATURES, ON, 0, 0) & LOW), 0)
    expect(b"cpu-on-64-not-there", u32(psci_hvc(FEATURES, ON + PSCI_64BIT, 0, 0) & LOW), NOT_SUPPORTED)
    expect(b"cpu-on-64-refused", u32(psci_hvc(ON + PSCI_64BIT, 0, 0, 0) & LOW), NOT_SUPPORTED)
    expect(b"unknown-call", u32(psci_hvc(0x8600_1234, 0, 0, 0) & LOW), NOT_SUPPORTED)
    expect(b"xen-version", hypercall(Hypercall.XEN_VERSION, 0, 0), XEN_VERSION_NUMBER)
    expect(b"no-hypercall", hypercall(0x1234, 0, 0), ENOSYS)


@fn
def probe_state(seed: u32) -> None:
    """All registers at once, over many turns."""
    unit_on()
    for turn in range(u32(TURNS)):
        value = seed + turn
        state_set(value)
        yield_cpu()
        wrong = state_check(value)
        if wrong != 0:
            printk(f"probe32 turn {turn}: register {wrong} differs")
            REPORT.bad += 1
            return
    printk(f"probe32 state ok")


@export("guest_main")
def guest_main(tree: u64, image: u64) -> None:
    """Entry of the first CPU. Does not return."""
    if machine_init(tree, image) == FdtError.NONE:
        psci_init(FDT)
        console_init(FDT)
        if gic_init(FDT) == Result.OK:
            seed = u32(argument_number(bootargs(FDT), b"seed=", 0))
            if seed == 0:
                probe_modes()
                probe_exceptions()
                probe_abort()
                probe_calls()
            probe_state(seed)
            printk(f"probe32 end, {REPORT.bad} bad")
    psci_system_off()


@export("guest_secondary")
def guest_secondary(number: u64) -> None:
    """Nobody starts the others."""
