"""PSCI 1.1 and SMCCC 1.1 towards guests (Arm DEN0022, DEN0028): a table of functions by number, for HVC and SMC alike."""

from collections.abc import Callable

from freestanding import Struct, fn, table, u32, u64

from xenarm.abi.affinity import vcpu_of_mpidr
from xenarm.abi.psci import GUEST_PSCI_VERSION, PSCI_64BIT, PSCI_BASE, PSCI_RANGE_MASK, PsciError, PsciFunction, Smccc
from xenarm.arm.run import vcpu_off, vcpu_wait_for_interrupt
from xenarm.arm.variant import workaround_for_guests
from xenarm.config import CONFIG
from xenarm.core.domain import Domain, Power, ShutdownReason, Vcpu, vcpu_domain, vcpu_is_aarch32
from xenarm.core.shutdown import domain_shutdown
from xenarm.gic.vgic import vcpu_kick

__all__ = ["FUNCTIONS", "psci_call"]

MASK64 = 0xFFFF_FFFF_FFFF_FFFF
MIGRATE_NOT_NEEDED = 2  # no Trusted OS that would have to move


def code(error: int) -> int:
    """A return code as 64 bits."""
    return error & MASK64


SUCCESS = code(PsciError.SUCCESS)
NOT_SUPPORTED = code(PsciError.NOT_SUPPORTED)
INVALID_PARAMETERS = code(PsciError.INVALID_PARAMETERS)
ALREADY_ON = code(PsciError.ALREADY_ON)
ON_PENDING = code(PsciError.ON_PENDING)
INTERNAL_FAILURE = code(PsciError.INTERNAL_FAILURE)
INVALID_ADDRESS = code(PsciError.INVALID_ADDRESS)


class Function(Struct, frozen=True):
    """A PSCI function: which widths its identifier comes in, and what it does with x1 to x3."""

    in32: bool
    in64: bool
    call: Callable[[Vcpu, u64, u64, u64], u64]


@fn
def unsupported(v: Vcpu, a: u64, b: u64, c: u64) -> u64:
    return NOT_SUPPORTED


@fn
def version(v: Vcpu, a: u64, b: u64, c: u64) -> u64:
    return GUEST_PSCI_VERSION


@fn
def cpu_suspend(v: Vcpu, state: u64, entry: u64, context: u64) -> u64:
    """Every state is taken as standby, which the specification allows: as WFI (DEN0022 5.4.5)."""
    vcpu_wait_for_interrupt(v)
    return SUCCESS


@fn
def cpu_off(v: Vcpu, a: u64, b: u64, c: u64) -> u64:
    vcpu_off(v)
    return INTERNAL_FAILURE


@fn
def vcpu_by_affinity(d: Domain, affinity: u64) -> Vcpu | None:
    """Who a target_affinity names: Aff3 in bits 39:32, Aff2 to Aff0 in 23:0, the rest zero (DEN0022 5.1.4)."""
    index = vcpu_of_mpidr(d.affinities, affinity)
    return d.vcpus[index] if index < d.vcpu_count else None


@fn
def entry_sound(v: Vcpu, entry: u64) -> bool:
    """Aligned as an instruction is; bit 0 says Thumb in AArch32 (DEN0022 6.4)."""
    return entry & 3 == 0 if CONFIG.ARM64 and not vcpu_is_aarch32(v) else entry & 3 != 2


@fn
def cpu_on(v: Vcpu, affinity: u64, entry: u64, context: u64) -> u64:
    """Claim the vCPU first, so that of two callers one wins; it becomes visible as pending once its entry is in place."""
    target = vcpu_by_affinity(vcpu_domain(v), affinity)
    if target is None:
        return INVALID_PARAMETERS
    if not entry_sound(v, entry):
        return INVALID_ADDRESS
    claimed, power = target.power.compare_swap(u32(Power.OFF), u32(Power.STARTING))
    if not claimed:
        return ALREADY_ON if power == u32(Power.ON) else u64(ON_PENDING)
    target.entry = entry
    target.context = context
    target.power.store_release(u32(Power.ON_PENDING))
    vcpu_kick(target)
    return SUCCESS


@fn
def affinity_info(v: Vcpu, affinity: u64, level: u64, c: u64) -> u64:
    """0 on, 1 off, 2 about to be on. Affinity levels above 0 need not be supported since PSCI 1.0 (DEN0022 5.7.2)."""
    if level != 0:
        return INVALID_PARAMETERS
    target = vcpu_by_affinity(vcpu_domain(v), affinity)
    if target is None:
        return INVALID_PARAMETERS
    power = target.power.load_acquire()
    return u64(Power.ON_PENDING) if power == u32(Power.STARTING) else u64(power)


@fn
def migrate_info_type(v: Vcpu, a: u64, b: u64, c: u64) -> u64:
    return MIGRATE_NOT_NEEDED


@fn
def end_domain(v: Vcpu, reason: ShutdownReason) -> None:
    domain_shutdown(vcpu_domain(v), reason)
    vcpu_off(v)


@fn
def system_off(v: Vcpu, a: u64, b: u64, c: u64) -> u64:
    end_domain(v, ShutdownReason.POWEROFF)
    return INTERNAL_FAILURE


@fn
def system_reset(v: Vcpu, a: u64, b: u64, c: u64) -> u64:
    end_domain(v, ShutdownReason.REBOOT)
    return INTERNAL_FAILURE


BOTH = (True, CONFIG.ARM64)  # the 64-bit calls are AArch64's
ONLY32 = (True, False)
IMPLEMENTED: dict[int, tuple[tuple[bool, bool], Callable[[Vcpu, u64, u64, u64], u64]]] = {
    PsciFunction.VERSION: (ONLY32, version),
    PsciFunction.CPU_SUSPEND: (BOTH, cpu_suspend),
    PsciFunction.CPU_OFF: (ONLY32, cpu_off),
    PsciFunction.CPU_ON: (BOTH, cpu_on),
    PsciFunction.AFFINITY_INFO: (BOTH, affinity_info),
    PsciFunction.MIGRATE_INFO_TYPE: (ONLY32, migrate_info_type),
    PsciFunction.SYSTEM_OFF: (ONLY32, system_off),
    PsciFunction.SYSTEM_RESET: (ONLY32, system_reset),
}


@fn
def is_supported(v: Vcpu, function: u64) -> bool:
    """What FEATURES and ARCH_FEATURES say of an identifier. The 64-bit calls are AArch64's alone."""
    if vcpu_is_aarch32(v) and function & PSCI_64BIT != 0:
        return False
    if function == Smccc.VERSION or function == Smccc.ARCH_FEATURES:
        return True
    if function & PSCI_RANGE_MASK != PSCI_BASE:
        return False
    number = function & 31
    if number == PsciFunction.FEATURES:
        return function & PSCI_64BIT == 0
    return SUPPORTED[number] & (2 if function & PSCI_64BIT != 0 else u64(1)) != 0


@fn
def features(v: Vcpu, function: u64, b: u64, c: u64) -> u64:
    return SUCCESS if is_supported(v, function & 0xFFFF_FFFF) else u64(NOT_SUPPORTED)


if CONFIG.PSCI_1_1:
    IMPLEMENTED[PsciFunction.FEATURES] = (ONLY32, features)
SUPPORTED = table(u64, [IMPLEMENTED[n][0][0] | IMPLEMENTED[n][0][1] << 1 if n in IMPLEMENTED else 0 for n in range(PsciFunction.COUNT)])


def function_row(number: int) -> Function:
    if number not in IMPLEMENTED:
        return Function(False, False, unsupported)
    (in32, in64), call = IMPLEMENTED[number]
    return Function(in32, in64, call)


FUNCTIONS = table(Function, [function_row(n) for n in range(PsciFunction.COUNT)])


@fn
def smccc_call(v: Vcpu, function: u64, argument: u64) -> u64:
    """Calls that are not PSCI's. An unknown one says so (DEN0028 5.2)."""
    if function == Smccc.VERSION:
        return Smccc.VERSION_1_1
    if function == Smccc.ARCH_FEATURES:
        asked = argument & 0xFFFF_FFFF
        return SUCCESS if is_supported(v, asked) else workaround_for_guests(asked)
    return SUCCESS if workaround_for_guests(function) != NOT_SUPPORTED else u64(NOT_SUPPORTED)


@fn(inline=True)
def psci_call(v: Vcpu) -> u64:
    """Carry out the call whose function identifier is in w0; what goes to x0.

    Arguments of a 32-bit identifier are 32 bits wide, its result leaves the upper half zero (DEN0028 3.1).
    """
    function = u64(v.regs[0]) & 0xFFFF_FFFF
    if function & PSCI_RANGE_MASK != PSCI_BASE:
        return smccc_call(v, function, u64(v.regs[1])) if CONFIG.PSCI_1_1 else u64(NOT_SUPPORTED)
    row = FUNCTIONS[function & 31]
    if function & PSCI_64BIT != 0:
        return row.call(v, u64(v.regs[1]), u64(v.regs[2]), u64(v.regs[3])) if row.in64 and not vcpu_is_aarch32(v) else u64(NOT_SUPPORTED)
    if not row.in32:
        return NOT_SUPPORTED & 0xFFFF_FFFF
    return row.call(v, u64(v.regs[1]) & 0xFFFF_FFFF, u64(v.regs[2]) & 0xFFFF_FFFF, u64(v.regs[3]) & 0xFFFF_FFFF) & 0xFFFF_FFFF
