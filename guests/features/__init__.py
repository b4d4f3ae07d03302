"""The guest that uses every CPU feature that guests are not shown: `features <name> ok`, or what it found instead; then `features end`.

Each register is read, and each instruction run, at EL1, on a CPU that may well have it: it must be undefined, or read as zero where the table of
features says so. No field of an identification register may show what the table hides.
"""

from collections.abc import Callable

import guests.runtime.head
import guests.runtime.interrupts  # noqa: F401
from freestanding import Struct, View, export, fn, table, u8, u32, u64, zeroed
from guests.runtime.engine import Values, engine_init, engine_slot, engine_vectors, run_kernel
from guests.runtime.console import console_init, printk
from guests.runtime.gic import gic_init
from guests.runtime.link import LINKER_SCRIPT
from guests.runtime.machine import FDT, machine_init
from guests.runtime.psci import psci_init, psci_system_off
from xenarm.arm64.features import FEATURES, HIDDEN, LIMITS, field_place
from xenarm.arm64.registers import Writer, reader, writer
from xenarm.core.result import Result
from xenarm.devicetree.reader import FdtError

__all__ = ["FIELDS", "LINKER_SCRIPT", "TOUCHES", "guest_main", "guest_secondary"]

UNDEFINED = 0x0200_0000  # ESR_EL1: unknown reason, of a 32-bit instruction
SYSREG_CLASS = 0x18  # what the CPU itself says of identification registers that it has not (FEAT_IDST)
ENABLED = 3 << 24 | 3 << 20 | 3 << 16  # CPACR_EL1: SME, FP and SVE do not trap to EL1 itself
write_cpacr_el1: Writer = writer("cpacr_el1")


class Touch(Struct, frozen=True):
    """An instruction, and whether it must work and leave zero in x0 rather than be undefined."""

    name: View[u8]
    word: u32
    zero: bool


class Field(Struct, frozen=True):
    """A field of an identification register, and the most that it may say."""

    name: View[u8]
    read: Callable[[], u64]
    low: u32
    most: u64


def mrs(op0: int, op1: int, crn: int, crm: int, op2: int) -> int:
    """MRS x0."""
    return 0xD530_0000 | (op0 & 1) << 19 | op1 << 16 | crn << 12 | crm << 8 | op2 << 5


def read(name: str, op0: int, op1: int, crn: int, crm: int, op2: int, zero: bool = False) -> Touch:
    return Touch(name.encode(), mrs(op0, op1, crn, crm, op2), zero)


def run(name: str, word: int) -> Touch:
    return Touch(name.encode(), word, False)


TOUCHES = table(
    Touch,
    [
        run("sve-rdvl", 0x04BF_5020),
        read("sve-zcr", 3, 0, 1, 2, 0),
        run("sme-smstart", 0xD503_477F),
        read("sme-smcr", 3, 0, 1, 2, 6),
        read("sme-smpri", 3, 0, 1, 2, 4, zero=True),  # which without FEAT_FGT cannot trap
        run("pauth-pacga", 0x9AC2_3020),
        read("pauth-key", 3, 0, 2, 1, 0),
        read("mte-gcr", 3, 0, 1, 0, 6),
        read("mte-rgsr", 3, 0, 1, 0, 5),
        read("mte-tfsr", 3, 0, 5, 6, 0),
        read("mte-gmid", 3, 1, 0, 0, 4),
        read("amu-control", 3, 3, 13, 2, 0),
        read("amu-configuration", 3, 3, 13, 2, 1),
        read("amu-counter", 3, 3, 13, 4, 0),
        read("ras-records", 3, 0, 5, 3, 0),
        read("ras-select", 3, 0, 5, 3, 1),
        read("ras-feature", 3, 0, 5, 4, 0),
        read("ras-deferred", 3, 0, 12, 1, 1, zero=True),  # DISR_EL1, which cannot trap
        read("mpam-0", 3, 0, 10, 5, 1),
        read("mpam-1", 3, 0, 10, 5, 0),
        read("mpam-id", 3, 0, 10, 4, 4),
        read("pmu-control", 3, 3, 9, 12, 0, zero=True),
        read("pmu-cycles", 3, 3, 9, 13, 0, zero=True),
        read("pmu-counter", 3, 3, 14, 8, 0, zero=True),
        read("pmu-interrupts", 3, 0, 9, 14, 1, zero=True),
        read("spe-control", 3, 0, 9, 9, 0),
        read("spe-buffer", 3, 0, 9, 10, 0),
        read("trace-unit", 2, 1, 0, 1, 0),
        read("trace-filter", 3, 0, 1, 2, 1),
        read("trace-buffer", 3, 0, 9, 11, 0),
        read("branch-record", 2, 1, 9, 0, 0),
        read("debug-control", 2, 0, 0, 2, 2, zero=True),
        read("debug-breakpoint", 2, 0, 0, 0, 5, zero=True),
        read("debug-watchpoint", 2, 0, 0, 0, 7, zero=True),
        read("lor-control", 3, 0, 10, 4, 3),
        read("lor-id", 3, 0, 10, 4, 7),
        read("lor-start", 3, 0, 10, 4, 0),
        run("tme-tstart", 0xD523_3060),
        run("ls64-load", 0xF83F_D020),
        run("mops-copy", 0x1901_0440),
        read("context-number-1", 3, 0, 13, 0, 7),
        read("context-number-0", 3, 3, 13, 0, 7),
        read("nmi-mask", 3, 0, 4, 3, 0),
        read("control-stack", 3, 0, 2, 5, 1),
        read("tcr2", 3, 0, 2, 0, 3),
        read("sctlr2", 3, 0, 1, 0, 3),
        read("permission-indirection", 3, 0, 10, 2, 3),
        read("el2-hcr", 3, 4, 1, 1, 0),
        read("el2-vbar", 3, 4, 12, 0, 0),
        read("el2-sp-el1", 3, 4, 4, 1, 0),
        read("el3-scr", 3, 6, 1, 1, 0),
        read("implementation-11", 3, 0, 11, 0, 0),  # not CRn 15: QEMU 7.2 has no HCR_EL2.TIDCP
    ],
)


def id_read(number: int) -> Callable[[], u64]:
    operation: Callable[[], u64] = reader(f"S3_0_C0_C{number >> 3}_{number & 7}")

    @fn
    def read_id() -> u64:
        return operation()

    return read_id


def shown_fields() -> list[Field]:
    """Those that say nothing, and those that say no more than something. Of AArch32's, AArch64 may read zero; the GIC's is its own."""
    names = [name for feature in FEATURES if feature.most == HIDDEN for name in feature.fields if not name.endswith(".GIC")]
    hidden = [(name, *field_place(name), 0) for name in names]
    return [Field(n.encode(), id_read(number), low, most) for n, number, low, most in [*hidden, *((f"limit-{n}", n, low, most) for n, low, most in LIMITS)]]


FIELDS = table(Field, shown_fields())


class Found(Struct):
    good: u32
    bad: u32
    values: Values


FOUND = zeroed(Found)


@fn
def expect(name: View[u8], what: View[u8], found: u64, right: bool) -> None:
    if right:
        FOUND.good += 1
        printk(f"features {name} ok")
    else:
        FOUND.bad += 1
        printk(f"features {name} BAD: {what} {found:#x}")


@fn
def touch(t: Touch) -> None:
    """One instruction, and what became of it."""
    slot = engine_slot(0)
    before = slot.exceptions
    slot.esr = 0
    FOUND.values.x[0] = 0
    result = run_kernel(0, t.word, FOUND.values)
    if slot.exceptions != before:
        expect(t.name, b"exception", slot.esr, not t.zero and (slot.esr == UNDEFINED or slot.esr >> 26 == SYSREG_CLASS))
    elif t.zero:
        expect(t.name, b"value", result, result == 0)
    else:
        expect(t.name, b"it works, and gives", result, False)


@fn
def look(f: Field) -> None:
    value = f.read() >> f.low & 0xF
    expect(f.name, b"shown as", value, value <= f.most)


@export("guest_main")
def guest_main(tree: u64, image: u64) -> None:
    """Entry of the first CPU. Does not return."""
    if machine_init(tree, image) == FdtError.NONE:
        psci_init(FDT)
        console_init(FDT)
        if gic_init(FDT) == Result.OK:
            engine_init()
            engine_vectors()
            write_cpacr_el1(ENABLED)
            for f in FIELDS:
                look(f)
            for t in TOUCHES:
                touch(t)
            printk(f"features end, {FOUND.good} good, {FOUND.bad} bad")
    psci_system_off()


@export("guest_secondary")
def guest_secondary(number: u64) -> None:
    """There are no others."""
    psci_system_off()
