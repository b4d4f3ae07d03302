"""What each CPU finds out about itself, and what is decided from it before any guest runs: mitigations of speculation, errata to be told.

A CPU asks its own identification registers and its firmware (`processor_init`); the first one judges for all (`processors_judge`), and each takes
the vectors that are meant for it when guests begin. The worst of all CPUs is what guests are told (`workaround_for_guests`), as under KVM.
"""

from freestanding import Struct, View, array, fn, u8, u32, u64, zeroed

from xenarm.abi.psci import Smccc
from xenarm.arm.errata import FIRMWARE_BHB, SAFE_STORE, SAFE_V2
from xenarm.arm.processor import LINE, OPTIONS, Mitigation, answer, errata_putter, options_read, worst
from xenarm.arm.vcpu import cpus_online
from xenarm.arm64.errata import CORE_ROWS, ERRATUM_ROWS, core_of
from xenarm.arm64.feature_controls import strays_note
from xenarm.arm64.registers import Reader, read_aa64isar2, read_aa64mmfr1, read_aa64pfr0, read_aa64pfr1, read_midr_el1, reader
from xenarm.arm64.vectors import Harden, hardening_choose, hardening_set
from xenarm.config import CONFIG
from xenarm.core.domain import MAX_CPUS
from xenarm.core.log import log_says_info, printk
from xenarm.devicetree.reader import Fdt
from xenarm.psci.host import host_arch_feature, host_workaround2

__all__ = ["PROCESSORS", "SPECULATION", "judge", "processor_init", "processors_judge", "processors_prepare", "workaround_for_guests"]

read_revidr_el1: Reader = reader("revidr_el1")

CSV2_SHIFT, SSBS_SHIFT, ECBHB_SHIFT, CLRBHB_SHIFT = 56, 4, 60, 28
HISTORY_APART = 3  # ID_AA64PFR0_EL1.CSV2: branch history is no way into another context
NO_LOOP_BUT_INSTRUCTION = 1
put_errata = errata_putter(ERRATUM_ROWS)


class Processor(Struct):
    """What a CPU says of itself. The answers are SMCCC_ARCH_FEATURES' of ARCH_WORKAROUND_1 to 3."""

    midr: u64
    revidr: u32
    csv2: u8
    ssbs: bool
    clears_history: bool  # on every exception (ECBHB)
    has_clear: bool  # the instruction CLRBHB
    v2: u64
    store: u64
    history: u64


class Judgement(Struct):
    """Of one CPU, or the worst of all. `harden`: what it does when a guest leaves."""

    v2: Mitigation
    history: Mitigation
    store: Mitigation
    store_by_firmware: bool
    harden: Harden
    loops: u32
    call: u32  # the firmware's function


PROCESSORS = array(Processor, MAX_CPUS)
SPECULATION = zeroed(Judgement)


@fn
def processors_prepare(fdt: Fdt) -> None:
    """Before other CPUs start: read `spec-ctrl=`, and see to the first one."""
    options_read(fdt)
    processor_init(0)


@fn
def processor_init(cpu: u32) -> None:
    """On each CPU. Where firmware can keep stores from being bypassed it does so from now on, for EL2 and guests alike."""
    p = PROCESSORS[cpu]
    p.midr = read_midr_el1()
    p.revidr = u32(read_revidr_el1() & 0xFFFF_FFFF)
    p.csv2 = u8(read_aa64pfr0() >> CSV2_SHIFT & 0xF)
    p.ssbs = read_aa64pfr1() >> SSBS_SHIFT & 0xF != 0
    p.clears_history = read_aa64mmfr1() >> ECBHB_SHIFT & 0xF != 0
    p.has_clear = read_aa64isar2() >> CLRBHB_SHIFT & 0xF != 0
    p.v2 = host_arch_feature(Smccc.ARCH_WORKAROUND_1)
    p.store = host_arch_feature(Smccc.ARCH_WORKAROUND_2)
    p.history = host_arch_feature(Smccc.ARCH_WORKAROUND_3)
    if p.store == Smccc.SUCCESS:
        host_workaround2(not OPTIONS.store_off)
    strays_note()


# ---- judging ----------------------------------------------------------------------------------------------------------


@fn
def by_firmware(answer: u64) -> Mitigation:
    if answer == Smccc.SUCCESS:
        return Mitigation.VULNERABLE if OPTIONS.off or not CONFIG.HARDEN_BRANCH_PREDICTOR else Mitigation.MITIGATED
    return Mitigation.UNAFFECTED if answer == Smccc.UNAFFECTED else Mitigation.VULNERABLE


@fn
def judge_v2(p: Processor, flags: u8, j: Judgement) -> None:
    """Spectre v2: branch targets that a guest has trained."""
    j.v2 = Mitigation.UNAFFECTED if p.csv2 != 0 or flags & SAFE_V2 != 0 else by_firmware(p.v2)
    if j.v2 == Mitigation.MITIGATED:
        j.harden = Harden.CALL
        j.call = u32(Smccc.ARCH_WORKAROUND_3 if p.history == Smccc.SUCCESS else Smccc.ARCH_WORKAROUND_1)


@fn
def has_history(p: Processor, flags: u8, loops: u8) -> bool:
    if p.csv2 >= HISTORY_APART:
        return False
    return p.has_clear or loops != 0 or flags & FIRMWARE_BHB != 0 or p.history == Smccc.SUCCESS


@fn
def judge_history(p: Processor, flags: u8, loops: u8, j: Judgement) -> None:
    """Spectre BHB: branch history that a guest has made. There is no point in clearing it alone where targets can be trained."""
    j.history = Mitigation.UNAFFECTED
    if not has_history(p, flags, loops):
        return
    j.history = Mitigation.VULNERABLE
    if j.v2 == Mitigation.VULNERABLE or OPTIONS.off or not CONFIG.HARDEN_BRANCH_PREDICTOR:
        return
    if p.clears_history or j.harden == Harden.CALL:
        j.history = Mitigation.MITIGATED
    elif p.has_clear or loops != 0:
        j.history = Mitigation.MITIGATED
        j.harden = Harden.LOOP
        j.loops = u32(NO_LOOP_BUT_INSTRUCTION if p.has_clear else loops)
    elif p.history == Smccc.SUCCESS:
        j.history = Mitigation.MITIGATED
        j.harden = Harden.CALL
        j.call = Smccc.ARCH_WORKAROUND_3


@fn
def judge_store(p: Processor, flags: u8, j: Judgement) -> None:
    """Speculative store bypass. With SSBS it is the guest's choice for itself; EL2's own PSTATE.SSBS is 0 (SCTLR_EL2.DSSBS)."""
    j.store = Mitigation.VULNERABLE
    if flags & SAFE_STORE != 0 or p.store == Smccc.UNAFFECTED or p.store == Smccc.NOT_REQUIRED:
        j.store = Mitigation.UNAFFECTED
    elif p.ssbs:
        j.store = Mitigation.MITIGATED
    elif p.store == Smccc.SUCCESS and not OPTIONS.store_off:
        j.store = Mitigation.MITIGATED
        j.store_by_firmware = True


@fn
def judge(p: Processor, j: Judgement) -> None:
    """What is to be done on a CPU."""
    core = CORE_ROWS[core_of(p.midr)]
    judge_v2(p, core.flags, j)
    judge_history(p, core.flags, core.loops, j)
    judge_store(p, core.flags, j)


@fn
def take_into_account(j: Judgement) -> None:
    SPECULATION.v2 = worst(SPECULATION.v2, j.v2)
    SPECULATION.history = worst(SPECULATION.history, j.history)
    SPECULATION.store = worst(SPECULATION.store, j.store)
    SPECULATION.store_by_firmware = SPECULATION.store_by_firmware or j.store_by_firmware
    SPECULATION.loops = max(SPECULATION.loops, j.loops)
    if j.call != 0 and SPECULATION.call != Smccc.ARCH_WORKAROUND_3:  # which does the other's work too (DEN0028 7.5)
        SPECULATION.call = j.call


@fn
def processors_judge() -> None:
    """The first CPU, when the others have come. CPUs that are like the one before are not told of."""
    for cpu in range(cpus_online()):
        j = zeroed(Judgement)
        judge(PROCESSORS[cpu], j)
        take_into_account(j)
        hardening_choose(cpu, j.harden)
        if log_says_info() and (cpu == 0 or PROCESSORS[cpu].midr != PROCESSORS[cpu - 1].midr):
            tell(cpu, PROCESSORS[cpu], j)
    hardening_set(SPECULATION.loops, SPECULATION.call)


# ---- telling ----------------------------------------------------------------------------------------------------------


@fn
def tell_v2(j: Judgement) -> View[u8]:
    if j.v2 == Mitigation.UNAFFECTED:
        return b"not affected"
    if j.v2 == Mitigation.MITIGATED:
        return b"firmware called at each exit"
    return b"vulnerable, not asked for" if OPTIONS.off else b"vulnerable, firmware offers no workaround"


@fn
def tell_history(p: Processor, j: Judgement) -> View[u8]:
    if j.history == Mitigation.UNAFFECTED:
        return b"not affected"
    if j.history == Mitigation.MITIGATED:
        return b"cleared by the CPU" if p.clears_history else b"cleared at each exit"
    return b"vulnerable"


@fn
def tell_store(p: Processor, j: Judgement) -> View[u8]:
    if j.store == Mitigation.UNAFFECTED:
        return b"not affected"
    if j.store == Mitigation.MITIGATED:
        return b"off, by firmware" if j.store_by_firmware else b"off in EL2"
    return b"vulnerable, not asked for" if p.store == Smccc.SUCCESS else b"vulnerable, firmware offers no workaround"


@fn
def tell(cpu: u32, p: Processor, j: Judgement) -> None:
    """One line. Numbers are of errata that something is done about."""
    numbers = array(u8, LINE)
    length = put_errata(p.midr, u64(p.revidr), numbers)
    name = CORE_ROWS[core_of(p.midr)].name
    known: View[u8] = numbers[:length] if length > 0 else b" none"
    variant = p.midr >> 20 & 0xF
    revision = p.midr & 0xF
    v2 = tell_v2(j)
    history = tell_history(p, j)
    store = tell_store(p, j)
    printk(f"cpu {cpu}: {name} r{variant}p{revision}; errata{known}; Spectre v2: {v2}; branch history: {history}; store bypass: {store}")


# ---- guests -----------------------------------------------------------------------------------------------------------


@fn
def workaround_for_guests(function: u64) -> u64:
    """SMCCC_ARCH_FEATURES' answer to a guest. Store bypass: off for good where firmware does it; with SSBS the guest sees to it itself."""
    if function == Smccc.ARCH_WORKAROUND_1:
        return answer(SPECULATION.v2)
    if function == Smccc.ARCH_WORKAROUND_3:
        return answer(SPECULATION.history)
    if function != Smccc.ARCH_WORKAROUND_2 or SPECULATION.store == Mitigation.VULNERABLE:
        return Smccc.NOT_SUPPORTED64
    if SPECULATION.store == Mitigation.MITIGATED and not SPECULATION.store_by_firmware:
        return Smccc.NOT_SUPPORTED64
    return Smccc.NOT_REQUIRED
