"""The controls of `features.py` in EL2's registers, on each CPU as far as it has them; and registers that the switch leaves to what is here.

Those are strays, of hidden features, which a guest can write all the same and which are cleared when it leaves; and rare ones, which no core of
Arm's has, and which are saved and loaded where they hold what is written to them.
"""

from freestanding import Struct, fn, u32, u64, zeroed

from xenarm.arm64.features import held
from xenarm.arm64.registers import (
    Mdcr,
    Reader,
    Writer,
    read_aa64dfr0,
    read_aa64mmfr0,
    read_aa64mmfr1,
    read_aa64pfr0,
    read_aa64pfr1,
    reader,
    write_afsr0_el1,
    write_afsr1_el1,
    write_amair_el1,
    write_mdcr_el2,
    writer,
)
from xenarm.arm.frame import SYSTEM_WORDS
from xenarm.arm.instructions import instruction_sync
from xenarm.core.domain import Extra, Vcpu

__all__ = ["MDCR_GUEST", "RARE_REGISTERS", "features_hold", "strays_expect", "strays_load", "strays_note", "strays_unload"]

MDCR_GUEST, MDCR_CLEAR = held("MDCR_EL2")
HCRX_GUEST, _ = held("HCRX_EL2")
MPAM2_GUEST, _ = held("MPAM2_EL2")
MPAMHCR_GUEST, _ = held("MPAMHCR_EL2")
assert MDCR_GUEST & (MDCR_CLEAR | int(Mdcr(HPMN=31))) == 0

RARE_REGISTERS = ("afsr0_el1", "afsr1_el1", "amair_el1")
"""Implementation defined, and RES0 on Arm's own cores. They are the last of `Vcpu.system`."""
RARE = SYSTEM_WORDS - len(RARE_REGISTERS)

read_afsr0: Reader = reader("afsr0_el1")
read_afsr1: Reader = reader("afsr1_el1")
read_amair: Reader = reader("amair_el1")
read_pmcr_el0: Reader = reader("pmcr_el0")
read_mpamidr: Reader = reader("S3_0_C10_C4_4")
write_hcrx: Writer = writer("S3_4_C1_C2_2")
write_hfgrtr: Writer = writer("S3_4_C1_C1_4")
write_hfgwtr: Writer = writer("S3_4_C1_C1_5")
write_hfgitr: Writer = writer("S3_4_C1_C1_6")
write_hdfgrtr: Writer = writer("S3_4_C3_C1_4")
write_hdfgwtr: Writer = writer("S3_4_C3_C1_5")
write_hafgrtr: Writer = writer("S3_4_C3_C1_6")
write_hdfgrtr2: Writer = writer("S3_4_C3_C1_0")
write_hdfgwtr2: Writer = writer("S3_4_C3_C1_1")
write_hfgrtr2: Writer = writer("S3_4_C3_C1_2")
write_hfgwtr2: Writer = writer("S3_4_C3_C1_3")
write_hfgitr2: Writer = writer("S3_4_C3_C1_7")
write_mpam2: Writer = writer("S3_4_C10_C5_0")
write_mpamhcr: Writer = writer("S3_4_C10_C4_0")
write_lorc: Writer = writer("S3_0_C10_C4_3")
write_vsesr: Writer = writer("S3_4_C5_C2_3")
write_vdisr: Writer = writer("S3_4_C12_C1_1")
write_smpri: Writer = writer("S3_0_C1_C2_4")
write_tpidr2: Writer = writer("S3_3_C13_C0_5")

IMPLEMENTATION_DEFINED = 15  # ID_AA64DFR0_EL1.PMUVer: not the architecture's monitors
FGT2 = 2
MPAM_HAS_HCR = 1 << 17


@fn
def field(value: u64, low: u32) -> u64:
    return value >> low & 0xF


@fn
def has_ras() -> bool:
    return field(read_aa64pfr0(), 28) != 0


@fn
def has_untrapped_tpidr2() -> bool:
    """SME's register for threads, and SMPRI_EL1: HFGRTR_EL2 alone could trap them."""
    return field(read_aa64pfr1(), 24) != 0 and field(read_aa64mmfr0(), 56) == 0


@fn
def counters() -> u64:
    """How many event counters there are: MDCR_EL2.HPMN may not be less, lest EL2 reserve some (Arm ARM D19.3.19)."""
    version = field(read_aa64dfr0(), 8)
    return u64(0) if version == 0 or version == IMPLEMENTATION_DEFINED else read_pmcr_el0() >> 11 & 31


@fn
def hold_fine() -> None:
    """All clear: what traps when set is trapped elsewhere or shown, and what traps when clear is newer than the table."""
    fine = field(read_aa64mmfr0(), 56)
    if fine == 0:
        return
    write_hfgrtr(0)
    write_hfgwtr(0)
    write_hfgitr(0)
    write_hdfgrtr(0)
    write_hdfgwtr(0)
    if field(read_aa64pfr0(), 44) != 0:
        write_hafgrtr(0)
    if fine >= FGT2:
        write_hdfgrtr2(0)
        write_hdfgwtr2(0)
        write_hfgrtr2(0)
        write_hfgwtr2(0)
        write_hfgitr2(0)


@fn
def hold_mpam() -> None:
    if field(read_aa64pfr0(), 40) != 0 or field(read_aa64pfr1(), 16) != 0:
        write_mpam2(MPAM2_GUEST)
        if read_mpamidr() & MPAM_HAS_HCR != 0:
            write_mpamhcr(MPAMHCR_GUEST)


@fn
def features_hold() -> None:
    """On every CPU. Firmware lets EL2 at these registers, as Linux asks of it too (Documentation/arch/arm64/booting.rst)."""
    write_mdcr_el2(MDCR_GUEST | counters())
    hold_fine()
    hold_mpam()
    if field(read_aa64mmfr1(), 40) != 0:
        write_hcrx(HCRX_GUEST)
    if field(read_aa64mmfr1(), 16) != 0:
        write_lorc(0)
    if has_ras():
        write_vsesr(0)
    strays_clear()


# ---- what the switch leaves out ---------------------------------------------------------------------------------------------------------


class Strays(Struct):
    """Whether any CPU has some, and whether any has rare registers: then every vCPU sees to them when it leaves a CPU."""

    any: bool
    rare: bool


STRAYS = zeroed(Strays)
ALL = 0xFFFF_FFFF_FFFF_FFFF


@fn
def write_rare(afsr0: u64, afsr1: u64, amair: u64) -> None:
    write_afsr0_el1(afsr0)
    write_afsr1_el1(afsr1)
    write_amair_el1(amair)


@fn
def has_rare() -> bool:
    """Whether they hold anything. No guest has run here yet."""
    write_rare(ALL, ALL, ALL)
    instruction_sync()
    held_bits = read_afsr0() | read_afsr1() | read_amair()
    write_rare(0, 0, 0)
    return held_bits != 0


@fn
def strays_note() -> None:
    """See what this CPU has. On every CPU, before the first vCPU runs."""
    if has_rare():
        STRAYS.rare = True
    if STRAYS.rare or has_ras() or has_untrapped_tpidr2():
        STRAYS.any = True


@fn
def strays_expect(v: Vcpu) -> None:
    """The vCPU starts."""
    if STRAYS.any:
        v.extra |= Extra.STRAYS


@fn
def strays_clear() -> None:
    if has_ras():
        write_vdisr(0)
    if has_untrapped_tpidr2():
        write_tpidr2(0)
        write_smpri(0)


@fn(inline=False)
def strays_unload(v: Vcpu) -> None:
    """The vCPU that this CPU has is about to leave it: the next one finds nothing of it, and it finds no strays either."""
    strays_clear()
    if STRAYS.rare:
        v.system[RARE] = read_afsr0()
        v.system[RARE + 1] = read_afsr1()
        v.system[RARE + 2] = read_amair()


@fn(inline=False)
def strays_load(v: Vcpu) -> None:
    if STRAYS.rare:
        write_rare(v.system[RARE], v.system[RARE + 1], v.system[RARE + 2])
