"""What each CPU finds out about itself, and what is decided from it before any guest runs: Spectre v2, errata, the vectors that are meant for it.

A CPU reads its own identification (`processor_init`); the first one judges for all (`processors_judge`), and the worst is what guests are told.
"""

from freestanding import Struct, View, array, fn, u32, u64, u8, zeroed

from xenarm.abi.psci import Smccc
from xenarm.arm.cpu import Harden
from xenarm.arm.errata import BY_ICACHE, BY_PREDICTOR, SAFE_V2, erratum_matches
from xenarm.arm.processor import LINE, OPTIONS, Mitigation, answer, errata_putter, options_read, worst
from xenarm.arm.vcpu import cpus_online
from xenarm.arm32.errata import BRANCHES_INVALID, CORE_ROWS, ERRATUM_ROWS, LOOP_BUFFER_OFF, LOOP_BUFFER_ROWS, STORE_ROWS, core_of
from xenarm.arm32.registers import read_actlr_el1, read_midr_el1, read_revidr
from xenarm.arm32.vectors import table_choose
from xenarm.config import CONFIG
from xenarm.core.domain import MAX_CPUS
from xenarm.core.log import log_says_info, log_warning, printk
from xenarm.devicetree.reader import Fdt
from xenarm.psci.host import host_arch_feature

__all__ = ["PROCESSORS", "SPECULATION", "judge", "processor_init", "processors_judge", "processors_prepare", "workaround_for_guests"]

put_errata = errata_putter(ERRATUM_ROWS)


class Processor(Struct):
    """What a CPU says of itself. `v2`: SMCCC_ARCH_FEATURES' answer about ARCH_WORKAROUND_1."""

    midr: u64
    revidr: u64
    actlr: u64
    v2: u64


class Judgement(Struct):
    """Of one CPU, or the worst of all. `harden`: what it does when a guest leaves; `stores`: its HSR may be wrong (erratum 766422)."""

    v2: Mitigation
    history: Mitigation
    harden: Harden
    stores: bool


PROCESSORS = array(Processor, MAX_CPUS)
SPECULATION = zeroed(Judgement)


@fn
def processors_prepare(fdt: Fdt) -> None:
    """Before other CPUs start: read `spec-ctrl=`, and see to the first one."""
    options_read(fdt)
    processor_init(0)


@fn
def processor_init(cpu: u32) -> None:
    """On each CPU."""
    p = PROCESSORS[cpu]
    p.midr = read_midr_el1()
    p.revidr = read_revidr()
    p.actlr = read_actlr_el1()
    p.v2 = host_arch_feature(Smccc.ARCH_WORKAROUND_1)


# ---- judging ----------------------------------------------------------------------------------------------------------


@fn
def means(p: Processor, flags: u8) -> Harden:
    """What invalidates the predicted branches of a core; NONE where nothing does: what is not known, or a Cortex-A15 whose firmware has not made ICIALLU do so."""
    if flags & BY_PREDICTOR != 0:
        return Harden.PREDICTOR
    if flags & BY_ICACHE != 0 and p.actlr & BRANCHES_INVALID != 0:
        return Harden.ICACHE
    return Harden.NONE


@fn
def judge(p: Processor, j: Judgement) -> None:
    """What is to be done on a CPU. Where no predicted branch of a guest's is left, its branch history chooses none: the one goes with the other."""
    core = CORE_ROWS[core_of(p.midr)]
    j.v2 = Mitigation.UNAFFECTED
    if core.flags & SAFE_V2 == 0 and p.v2 != Smccc.UNAFFECTED:
        if CONFIG.HARDEN_BRANCH_PREDICTOR and not OPTIONS.off:
            j.harden = means(p, core.flags)
        j.v2 = Mitigation.VULNERABLE if j.harden == Harden.NONE else Mitigation.MITIGATED
    j.history = j.v2 if core.loops != 0 else Mitigation.UNAFFECTED
    for row in STORE_ROWS:
        j.stores = CONFIG.ERRATUM_766422 and erratum_matches(row, p.midr, p.revidr)


@fn
def processors_judge() -> None:
    """The first CPU, when the others have come. CPUs that are like the one before are not told of."""
    for cpu in range(cpus_online()):
        j = zeroed(Judgement)
        judge(PROCESSORS[cpu], j)
        SPECULATION.v2 = worst(SPECULATION.v2, j.v2)
        SPECULATION.history = worst(SPECULATION.history, j.history)
        table_choose(cpu, j.harden, j.stores)
        if cpu == 0 or PROCESSORS[cpu].midr != PROCESSORS[cpu - 1].midr or PROCESSORS[cpu].actlr != PROCESSORS[cpu - 1].actlr:
            tell(cpu, PROCESSORS[cpu], j)


# ---- telling ----------------------------------------------------------------------------------------------------------


@fn
def tell_v2(p: Processor, j: Judgement) -> View[u8]:
    if j.v2 == Mitigation.UNAFFECTED:
        return b"not affected"
    if j.v2 == Mitigation.MITIGATED:
        return b"instruction cache invalidated at each exit" if j.harden == Harden.ICACHE else b"branch predictor invalidated at each exit"
    if OPTIONS.off:
        return b"vulnerable, not asked for"
    if CORE_ROWS[core_of(p.midr)].flags & BY_ICACHE != 0 and p.actlr & BRANCHES_INVALID == 0:
        return b"vulnerable, firmware has not set ACTLR.IBE"
    return b"vulnerable"


@fn
def tell_history(j: Judgement) -> View[u8]:
    if j.history == Mitigation.UNAFFECTED:
        return b"not affected"
    return b"with it" if j.history == Mitigation.MITIGATED else b"vulnerable"


@fn
def tell(cpu: u32, p: Processor, j: Judgement) -> None:
    """One line; numbers are of errata that something is done about. What only the firmware could have done, and has not, is a warning."""
    if log_says_info():
        numbers = array(u8, LINE)
        length = put_errata(p.midr, p.revidr, numbers)
        name = CORE_ROWS[core_of(p.midr)].name
        known: View[u8] = numbers[:length] if length > 0 else b" none"
        variant = p.midr >> 20 & 0xF
        revision = p.midr & 0xF
        v2 = tell_v2(p, j)
        history = tell_history(j)
        printk(f"cpu {cpu}: {name} r{variant}p{revision}; errata{known}; Spectre v2: {v2}; branch history: {history}")
    for row in LOOP_BUFFER_ROWS:
        if erratum_matches(row, p.midr, p.revidr) and p.actlr & LOOP_BUFFER_OFF == 0:
            log_warning(f"cpu {cpu}: erratum {row.number}: the firmware has not turned the loop buffer off (ACTLR bit 1), instructions may be wrong")


# ---- guests -----------------------------------------------------------------------------------------------------------


@fn
def workaround_for_guests(function: u64) -> u64:
    """SMCCC_ARCH_FEATURES' answer to a guest. Cores of ARMv7 have no store bypass that can be switched off."""
    if function == Smccc.ARCH_WORKAROUND_1:
        return answer(SPECULATION.v2)
    if function == Smccc.ARCH_WORKAROUND_3:
        return answer(SPECULATION.history)
    return Smccc.NOT_SUPPORTED64
