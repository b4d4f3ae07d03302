"""What a CPU does with its vCPU: wait for its power, load its state, enter the guest, wait with it for interrupts."""

from freestanding import fn, truncate, u32, u64

from xenarm.arm64.cpu import this_vcpu
from xenarm.arm64.instructions import instruction_sync, wait_for_interrupt
from xenarm.arm64.irq import irq_acknowledged, irq_handle
from xenarm.arm64.mmu import icache_invalidate
from xenarm.arm64.registers import (
    CPTR_GUEST,
    PSR_RESET,
    SCTLR_EL1_RES1,
    Hcr,
    Mdcr,
    read_midr_el1,
    write_afsr0_el1,
    write_afsr1_el1,
    write_amair_el1,
    write_contextidr_el1,
    write_cpacr_el1,
    write_cptr_el2,
    write_csselr_el1,
    write_elr_el1,
    write_elr_el2,
    write_esr_el1,
    write_far_el1,
    write_hcr_el2,
    write_hstr_el2,
    write_mair_el1,
    write_mdcr_el2,
    write_mdscr_el1,
    write_par_el1,
    write_sctlr_el1,
    write_sp_el0,
    write_sp_el1,
    write_spsr_el1,
    write_spsr_el2,
    write_tcr_el1,
    write_tpidr_el0,
    write_tpidr_el1,
    write_tpidrro_el0,
    write_ttbr0_el1,
    write_ttbr1_el1,
    write_vbar_el1,
    write_vmpidr_el2,
    write_vpidr_el2,
)
from xenarm.arm64.short import DONE, timer_or_other
from xenarm.arm64.timer import timers_reset
from xenarm.arm64.vectors import enter_guest, fp_restore
from xenarm.core.console import console_poll
from xenarm.core.domain import DOMAINS, MAX_DOMAINS, Domain, DomainState, Power, Vcpu, vcpu_domain
from xenarm.core.shutdown import domain_vcpu_left
from xenarm.gic.vgic import vcpu_has_interrupt, vcpu_kick, vgic_look, vgic_park, vgic_vcpu_reset
from xenarm.p2m.stage2 import p2m_activate

__all__ = ["arch_start_domains", "cpu_run", "domain_runs", "vcpu_checkpoint", "vcpu_mpidr", "vcpu_off", "vcpu_wait_for_interrupt"]

HCR_GUEST = int(
    Hcr(
        VM=True,
        SWIO=True,
        FMO=True,
        IMO=True,
        AMO=True,
        FB=True,
        BSU=1,
        TWI=True,
        TID3=True,
        TSC=True,
        TIDCP=True,
        TACR=True,
        TSW=True,
        RW=True,
        TLOR=True,
        TERR=True,
    )
)
"""WFE does not trap: with one vCPU for each CPU there is nobody to give the time to."""

MDCR_GUEST = int(Mdcr(TPM=True, TPMCR=True, TDA=True, TDOSA=True, TDRA=True, TPMS=True, TTRF=True))
MPIDR_RES1 = 1 << 31


@fn
def vcpu_mpidr(v: Vcpu) -> u64:
    """As Xen numbers them: affinity 0 has 16 places (a GICv3 SGI reaches so many), affinity 1 the rest."""
    return MPIDR_RES1 | u64(v.id & 0xF) | u64(v.id >> 4) << 8


@fn
def domain_runs(v: Vcpu) -> bool:
    d = v.domain
    return d is not None and d.state.load_acquire() == u32(DomainState.RUNNING)


# ---- a vCPU's state at its start ---------------------------------------------------------------------------------------


@fn
def load_control(v: Vcpu) -> None:
    """EL2's controls over the guest."""
    write_vpidr_el2(read_midr_el1())
    write_vmpidr_el2(vcpu_mpidr(v))
    write_hcr_el2(HCR_GUEST)
    write_cptr_el2(CPTR_GUEST)
    write_mdcr_el2(MDCR_GUEST)
    write_hstr_el2(0)
    p2m_activate(vcpu_domain(v).p2m)


@fn
def load_el1() -> None:
    """EL1 as after a warm reset; what the architecture leaves unknown there is zero, so that nothing passes from one guest to the next."""
    write_sctlr_el1(SCTLR_EL1_RES1)
    write_cpacr_el1(0)
    write_vbar_el1(0)
    write_ttbr0_el1(0)
    write_ttbr1_el1(0)
    write_tcr_el1(0)
    write_mair_el1(0)
    write_amair_el1(0)
    write_contextidr_el1(0)
    write_tpidr_el0(0)
    write_tpidrro_el0(0)
    write_tpidr_el1(0)
    write_sp_el0(0)
    write_sp_el1(0)
    write_elr_el1(0)
    write_spsr_el1(0)
    write_esr_el1(0)
    write_far_el1(0)
    write_afsr0_el1(0)
    write_afsr1_el1(0)
    write_par_el1(0)
    write_csselr_el1(0)
    write_mdscr_el1(0)


@fn
def load_general(v: Vcpu) -> None:
    """Registers as PSCI promises them (DEN0022 6.4): EL1h, all masked, the context in x0."""
    for i in range(31):
        v.regs[i] = 0
    for i in range(66):
        v.fp[i] = 0
    v.regs[0] = v.context
    fp_restore(v)
    write_elr_el2(v.entry)
    write_spsr_el2(PSR_RESET)


@fn
def vcpu_load(v: Vcpu) -> None:
    load_control(v)
    load_el1()
    timers_reset(v)
    vgic_vcpu_reset(v)
    vgic_look(v)
    load_general(v)
    instruction_sync()


# ---- running -----------------------------------------------------------------------------------------------------------


@fn
def wait_for_power(v: Vcpu) -> None:
    """Interrupts stay masked: WFI wakes for them, and they are handled here."""
    while True:
        if domain_runs(v) and turned_on(v):
            return
        wait_for_interrupt()
        irq_handle(v)


@fn
def turned_on(v: Vcpu) -> bool:
    """Whether the vCPU goes from ON_PENDING to ON: not if its domain has begun to end meanwhile, see `domain_vcpu_left`."""
    claimed, _ = v.power.compare_swap(u32(Power.ON_PENDING), u32(Power.ON))
    if claimed and not domain_runs(v):
        v.power.store_release(u32(Power.OFF))
        domain_vcpu_left(vcpu_domain(v))
        return False
    return claimed


@fn
def cpu_run() -> None:
    """Run this CPU's vCPU from whenever it is turned on. From any depth of the stack, which is given up. Does not return."""
    v = this_vcpu()
    wait_for_power(v)
    vcpu_load(v)
    enter_guest(v)


@fn
def vcpu_off(v: Vcpu) -> None:
    """The vCPU that this CPU runs is turned off. Does not return."""
    vgic_park(v)
    timers_reset(v)
    v.power.store_release(u32(Power.OFF))
    domain_vcpu_left(vcpu_domain(v))
    cpu_run()


@fn
def vcpu_checkpoint(v: Vcpu) -> None:
    """After a kick: wait while the domain is paused. Does not return when it ends."""
    while vcpu_domain(v).paused.load_acquire() != 0 and domain_runs(v):
        wait_for_interrupt()
        irq_handle(v)
    if not domain_runs(v):
        vcpu_off(v)


@fn
def vcpu_wait_for_interrupt(v: Vcpu) -> None:
    """WFI: until an interrupt is pending for the vCPU, whether the guest masks it or not. Does not return when its domain ends."""
    while not vcpu_has_interrupt(v):
        if not console_poll():
            wait_for_interrupt()
        other = timer_or_other(v)
        if other == DONE:
            return
        if irq_acknowledged(v, truncate(u32, other)):
            vcpu_checkpoint(v)


@fn
def arch_start_domains() -> None:
    """Every CPU runs its vCPU from now on. Does not return."""
    icache_invalidate()
    for i in range(MAX_DOMAINS):
        if DOMAINS[i].state.load() == u32(DomainState.RUNNING):
            kick_all(DOMAINS[i])
    cpu_run()


@fn
def kick_all(d: Domain) -> None:
    for i in range(d.vcpu_count):
        v = d.vcpus[i]
        if v is not None:
            vcpu_kick(v)
