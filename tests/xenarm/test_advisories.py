"""One test for each class of Xen's published ARM advisories that these parts can have; docs/security.md lists those that they cannot."""

from __future__ import annotations

import re
import random
from collections.abc import Iterator
from typing import Any

import pytest
import unicorn
from hypothesis import given, settings
from hypothesis import strategies as st
from unicorn import arm64_const, arm_const

from freestanding import u32, zeroed
from tests.engines.engines import EmulatedEngine, Unit
from tests.xenarm.gic_model import Machine, machine
from tests.xenarm.test_stage2 import RAM, TABLE_BYTES, TABLES, fresh, leaves, reset, tables
from xenarm.abi.errno import Errno
from xenarm.abi.hypercall import HYPERCALL_TAG, Hypercall, MemoryOp
from xenarm.abi.layout import GUEST_GICD_BASE, GUEST_RAM0_BASE
from xenarm.abi.psci import PSCI_BASE, PsciFunction
from xenarm.arm64 import guest, registers, switch, vectors
from xenarm.arm64.feature_controls import MDCR_GUEST, RARE_REGISTERS
from xenarm.arm64.features import CPTR_GUEST
from xenarm.arm64.guest import HCR_GUEST, cpu_control, load_system
from xenarm.arm.trapped_registers import row_forbids
from xenarm.arm64.guest_sysregs import ROWS, sysreg_access, sysreg_key
from xenarm.arm64.registers import MODEL, PSR_RESET, SCTLR_EL1_RES1, Cptr, Ec, Hcr, Mdcr, Sctlr, Spsr
from xenarm.arm64.switch import LOADED_REGISTERS, SAVED_REGISTERS
from xenarm.arm.timer import alarms_init, timers_control, timers_reset
from xenarm.arm.schedule import load_extra, unload_extra
from xenarm.arm.mmu import clean_invalidate
from xenarm.arm.short import DONE, SHORT_SYNC
from xenarm.arm.traps import HANDLERS, trap_full, trap_serror, trap_sync
from xenarm.config import CONFIG
from xenarm.core import log
from xenarm.core.access import Access, Outcome
from xenarm.core.addresses import GIB, MIB, PAGE_SIZE, GuestPhys, HostPhys
from xenarm.core.domain import DOMAINS, SLOTS, Domain, DomainState, Extra, Power, ShutdownReason
from xenarm.core.guest_memory import guest_memory_create, guest_memory_first_scrub, guest_memory_map, guest_memory_place, guest_memory_scrub
from xenarm.core.hypercall import hypercall
from xenarm.core.log import ALLOWANCES, guest_message_allowed
from xenarm.core.memory import memory_free
from xenarm.core.result import Result
from xenarm.core.sched.state import SCHED_CPUS
from xenarm.core.shutdown import domain_shutdown, domain_vcpu_left
from xenarm.gic.registers import Gicd
from xenarm.gic.vgic import vgic_attend, vgic_maintenance, vgic_park, vgic_set_spi_level, vgic_vcpu_reset
from xenarm.gic.vgicd import vgicd_access, vgicd_read, vgicd_write
from xenarm.p2m.stage2 import ROOT_PAGES, MemoryKind, p2m_clear, p2m_discard, p2m_init, p2m_map, p2m_translate, p2m_unmap
from xenarm.p2m.state import P2m, Vmid
from xenarm.psci.guest import psci_call

__all__ = ["tables"]

VBAR = 0x7F_C000_0000
SPI = 40
ALL = 0xFFFF_FFFF


@pytest.fixture(autouse=True)
def model() -> Iterator[None]:
    MODEL.clear()
    MODEL.update(vbar_el1=VBAR, sctlr_el1=SCTLR_EL1_RES1)
    yield
    MODEL.clear()


def trap(m: Machine, ec: int, iss: int = 0, spsr: int = PSR_RESET, elr: int = 0x4000_1000) -> None:
    """A synchronous exception from the first vCPU, by the way that the vectors take."""
    MODEL.update(esr_el2=ec << 26 | 1 << 25 | iss, spsr_el2=spsr, elr_el2=elr)
    m.play(0)
    left = SHORT_SYNC["v2"](m.vcpus[0])
    if left != DONE and trap_sync(m.vcpus[0]) != DONE:
        trap_full(m.vcpus[0])


# ---- traps and injection ------------------------------------------------------------------------------------------------


def test_xsa_91_timers_are_not_left_to_the_next_vcpu() -> None:
    """CNTKCTL_EL1 was not switched: a guest saw, and changed, what another had set of its timers."""
    MODEL.update(cntkctl_el1=ALL, cntv_ctl_el0=1, cntv_cval_el0=5, cntvoff_el2=7, cnthp_ctl_el2=1, cnthctl_el2=ALL)
    with machine() as m:
        m.vcpus[0].ptimer_control = m.vcpus[0].ptimer_compare = 1
        alarms_init()
        timers_control()
        timers_reset(m.vcpus[0])
        assert (m.vcpus[0].ptimer_control, m.vcpus[0].ptimer_compare) == (0, 0)
    for name in ("cntkctl_el1", "cntv_ctl_el0", "cntv_cval_el0", "cntvoff_el2", "cnthp_ctl_el2"):
        assert MODEL[name] == 0
    assert MODEL["cnthctl_el2"] == 1, "the physical timer's registers trap, its counter does not"


def test_xsa_91_no_register_of_el1_outlives_its_vcpu() -> None:
    """The same of every other register that a guest writes without a trap."""
    names = [name.removeprefix("write_") for name in vars(guest) if name.startswith("write_") and name.endswith(("_el1", "_el0"))]
    assert len(names) > 15
    MODEL.update(dict.fromkeys(names, 0xDEAD))
    load_system(SLOTS[0].vcpu)
    assert not [name for name in names if MODEL[name] == 0xDEAD]


def test_xsa_91_every_register_of_el1_is_switched() -> None:
    """What a vCPU starts with is its own from then on; MDSCR_EL1 traps, and is zero for all."""
    names = {name.removeprefix("write_") for name in vars(guest) if name.startswith("write_") and name.endswith(("_el1", "_el0"))}
    assert names - {"mdscr_el1"} <= set(SAVED_REGISTERS) | set(RARE_REGISTERS)
    assert {"elr_el2", "spsr_el2", "cntkctl_el1", "cntv_ctl_el0", "cntv_cval_el0"} <= set(SAVED_REGISTERS)
    assert {"vmpidr_el2", "vttbr_el2"} <= set(LOADED_REGISTERS)


def test_xsa_91_every_general_register_is_in_the_frame_or_switched() -> None:
    """A short trap leaves in place what the image does not touch or what its functions keep: the switch must take it, x18 with it."""
    in_frame = {n for pair in vectors.FEW + vectors.MORE for n in pair} | {30}
    for move in ("stp", "ldp"):
        for text in (switch.move_saved(move, "x0"), switch.move_guest(move, "x0")):
            pairs = re.findall(rf"{move} x(\d+), x(\d+), \[x", text)
            assert in_frame | {int(n) for pair in pairs for n in pair} >= set(range(31))


def test_what_a_switch_does_not_save_stays_with_its_vcpu() -> None:
    """FP and SIMD registers lie in the CPU while they are used, and nobody else's guest finds them there; a pending SError goes along."""
    MODEL.update(hcr_el2=int(Hcr(VSE=True)), cptr_el2=CPTR_GUEST)
    with machine() as m:
        v = m.vcpus[0]
        v.extra = Extra.FP | Extra.SERROR
        v.fp_saved = False
        m.play(0)
        unload_extra(v, SCHED_CPUS[0])
        assert v.fp_saved and v.extra == Extra.SERROR
        assert MODEL["cptr_el2"] & int(Cptr(TFP=True)) and not MODEL["hcr_el2"] & int(Hcr(VSE=True))
        load_extra(v, SCHED_CPUS[0])
        assert MODEL["hcr_el2"] & int(Hcr(VSE=True)) and MODEL["cptr_el2"] & int(Cptr(TFP=True))
        MODEL["hcr_el2"] = 0  # it has been taken
        unload_extra(v, SCHED_CPUS[0])
        assert v.extra == 0


def test_xsa_93_hardware_that_is_not_the_guests_traps() -> None:
    """Debug, performance and implementation-defined registers were open to guests, which could hang the machine by them."""
    hcr, mdcr = Hcr.from_raw(HCR_GUEST), Mdcr.from_raw(MDCR_GUEST)
    assert hcr.TIDCP and hcr.TSW and hcr.TACR and hcr.TSC and hcr.TLOR and hcr.TERR and hcr.TID3
    assert mdcr.TDA and mdcr.TDOSA and mdcr.TDRA and mdcr.TPM and mdcr.TPMCR and mdcr.TPMS and mdcr.TTRF
    assert hcr.VM and hcr.IMO and hcr.FMO and hcr.AMO


def test_xsa_351_activity_monitors_trap() -> None:
    """Guests read the activity monitors, and from them what others computed."""
    with machine() as m:
        cpu_control()
        timers_control()
        cptr = Cptr.from_raw(MODEL["cptr_el2"])
        assert cptr.TAM and cptr.TTA and cptr.TZ and cptr.TSM
        for crm in range(2, 16):
            for op2 in range(8):
                assert sysreg_access(m.vcpus[0], sysreg_key(3, 3, 13, crm, op2) | 1, False, 0) == (False, 0)


@pytest.mark.parametrize("ec", [Ec.CP15_32, Ec.CP15_64, Ec.CP14_32, Ec.CP14_DT, Ec.CP14_64, Ec.CP10, Ec.UNKNOWN, Ec.HVC32, Ec.SMC32])
def test_xsa_102_a_trap_of_a_32_bit_process_is_its_own(ec: int) -> None:
    """A 32-bit process under a 64-bit kernel trapped by an access to a coprocessor, which was a bug check of the host."""
    with machine() as m:
        trap(m, ec, iss=0x1F_FFFF, spsr=0x10)
    assert MODEL["elr_el2"] == VBAR + 0x600 and MODEL["spsr_el1"] == 0x10
    assert MODEL["esr_el1"] >> 26 == Ec.UNKNOWN and MODEL["spsr_el2"] == PSR_RESET


def test_xsa_102_every_exception_class_has_a_handler() -> None:
    """There is no class that stops the host."""
    assert len(HANDLERS) == 64
    for ec in set(range(64)) - {Ec.WFX, Ec.HVC64, Ec.SMC64}:
        with machine() as m:
            trap(m, ec, iss=0x1FF_FFFF & ~(1 << 24), spsr=0)


@pytest.mark.parametrize("op0", [2, 3])
def test_xsa_103_an_unknown_register_of_el0_is_an_exception_from_el0(op0: int) -> None:
    """The exception for a process's access was entered as if the kernel had made it: the guest's kernel crashed."""
    with machine() as m:
        trap(m, Ec.SYSREG, iss=sysreg_key(op0, 7, 15, 15, 7) | 1, spsr=0)
        assert MODEL["elr_el2"] == VBAR + 0x400
        trap(m, Ec.SYSREG, iss=sysreg_key(op0, 7, 15, 15, 7) | 1)
        assert MODEL["elr_el2"] == VBAR + 0x200


def test_xsa_103_el0_has_no_more_rights_than_its_kernel() -> None:
    """Nothing that only EL1 may do is done for EL0."""
    for row in ROWS:
        if row_forbids(row, True):
            with machine() as m:
                assert sysreg_access(m.vcpus[0], row.key, True, ALL) == (False, 0)


def test_xsa_201_an_asynchronous_abort_goes_to_the_guest() -> None:
    """A guest's bad access came as an SError to the hypervisor, which took it for its own and stopped."""
    with machine() as m:
        trap_serror(m.vcpus[0])
    assert Hcr.from_raw(MODEL["hcr_el2"]).VSE


def test_xsa_201_and_303_exceptions_of_el2_are_never_unmasked() -> None:
    """Entry code unmasked interrupts whatever the interrupted code had; and aborts, so that the host took what was the guest's."""
    code = vectors.VECTORS + switch.CODE
    assert "daifclr" not in code.lower() and "msr daif," not in code.lower()
    masks = Spsr.from_raw(PSR_RESET)
    assert masks.D and masks.A and masks.I and masks.F


@pytest.mark.parametrize("interrupted", [0, int(Spsr(M=5)), int(Spsr(M=5, PAN=True)), int(Spsr(DIT=True, SSBS=True)), 0x10 | 1 << 21])
@pytest.mark.parametrize("sctlr", [Sctlr(), Sctlr(SPAN=True), Sctlr(SPAN=True, DSSBS=True)])
def test_an_injected_exception_leaves_the_guest_as_a_real_one_would(interrupted: int, sctlr: Sctlr) -> None:
    """Its kernel ran on with its processes' memory open to itself, and stores free to be bypassed or not as EL2 had it."""
    with machine() as m:
        MODEL["sctlr_el1"] = int(sctlr)
        trap(m, Ec.SYSREG, iss=sysreg_key(3, 7, 15, 15, 7) | 1, spsr=interrupted)
    state, before = Spsr.from_raw(MODEL["spsr_el2"]), Spsr.from_raw(interrupted)
    assert MODEL["spsr_el2"] & PSR_RESET == PSR_RESET and MODEL["spsr_el1"] == interrupted
    assert state.PAN == (before.PAN or not sctlr.SPAN) and state.SSBS == sctlr.DSSBS
    assert state.DIT == (bool(interrupted >> 21 & 1) if interrupted & 0x10 else before.DIT)


def test_an_unknown_hvc_is_undefined_where_it_stands() -> None:
    """ELR_EL2 is behind an HVC already; the exception's return address is the instruction's own."""
    with machine() as m:
        trap(m, Ec.HVC64, iss=0x1234, elr=0x4000_1004)
    assert MODEL["elr_el1"] == 0x4000_1000


# ---- the virtual interrupt controller, and what a guest makes us say ---------------------------------------------------------


@given(st.integers(0, 0x3FF), st.sampled_from([1, 2, 4, 8]), st.booleans(), st.integers(0, (1 << 64) - 1), st.integers(0, 3))
@settings(max_examples=300)
def test_xsa_94_no_access_to_the_distributor_stops_the_host(word: int, width: int, write: bool, value: int, lane: int) -> None:
    """A register of interrupts that the distributor does not have was a null pointer."""
    with machine(2) as m:
        offset = word * 4 + lane
        outcome, _ = vgicd_access(m.domain, m.vcpus[0], Access(GuestPhys(int(GUEST_GICD_BASE) + offset), width, write, value))
        assert outcome in (Outcome.HANDLED, Outcome.FORBIDDEN)
        m.settle()


@given(st.integers(0, ALL))
def test_xsa_117_an_sgi_goes_to_vcpus_that_are_there(value: int) -> None:
    """GICD_SGIR with targets that do not exist, or a filter that is none, wrote where it should not."""
    with machine(2) as m:
        m.play(0)
        vgicd_write(m.domain, m.vcpus[0], Gicd.SGIR, value)
        m.settle()
        reached = {cpu for cpu in range(2) if m.vcpus[cpu].vgic.own.pending | m.vcpus[cpu].vgic.listed}
        named = {0: {n for n in range(2) if value >> 16 + n & 1}, 1: {1}, 2: {0}, 3: set()}[value >> 24 & 3]
        assert reached == named


def test_xsa_118_what_a_guest_provokes_is_limited() -> None:
    """Messages about a guest's accesses to the interrupt controller were not limited as they should have been."""
    MODEL.update(cntfrq_el0=1000, cntpct_el0=1)
    ALLOWANCES[0].tokens = ALLOWANCES[0].refilled = 0
    said = 0
    for now in range(1, 10_000):
        MODEL["cntpct_el0"] = now
        said += guest_message_allowed(0)
    ALLOWANCES[0].tokens = ALLOWANCES[0].refilled = 0
    assert said <= log.GUEST_BURST + 10 * log.GUEST_PER_SECOND


def test_xsa_146_an_unknown_hypercall_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unimplemented hypercalls were logged without a limit."""
    monkeypatch.setattr(log, "terminal_say", lambda text: pytest.fail("it speaks"))
    with machine() as m:
        for number in range(64):
            m.vcpus[0].regs[16] = number
            m.vcpus[0].regs[0] = 0xFFFF
            trap(m, Ec.HVC64, iss=HYPERCALL_TAG)
            assert m.vcpus[0].regs[0] == Errno.ENOSYS
        m.vcpus[0].regs[0] = PSCI_BASE + PsciFunction.MIGRATE
        psci_call(m.vcpus[0])


def test_xsa_223_an_interrupt_that_is_off_is_not_injected() -> None:
    """Injecting what the guest had just disabled used an interrupt number that was none."""
    with machine(2) as m:
        vgicd_write(m.domain, m.vcpus[0], Gicd.CTLR, 1)
        for enabled in (0, 1):
            vgicd_write(m.domain, m.vcpus[0], Gicd.ISENABLER + 4 if enabled else Gicd.ICENABLER + 4, ALL)
            for intid in (31, 32, SPI, CONFIG.VGIC_INTIDS - 1, CONFIG.VGIC_INTIDS, 1019, 1023, ALL):
                vgic_set_spi_level(m.domain, intid, True)
                vgic_set_spi_level(m.domain, intid, False)
                m.settle()
                assert all(not interface.used() for interface in m.bus.interfaces)


def vgic_storm(seed: int, cpus: int) -> None:
    """Random writes to the distributor, acknowledges and ends; after each everything must come to rest."""
    draw = random.Random(seed)
    bases = [0x80, 0x100, 0x180, 0x200, 0x280, 0x300, 0x380, 0x420, 0x820, 0xC00, 0xF00, 0xF10, 0xF20]
    with machine(cpus) as m:
        for _ in range(300):
            cpu = draw.randrange(cpus)
            m.play(cpu)
            interface = m.bus.interfaces[cpu]
            match draw.randrange(6):
                case 4:
                    interface.acknowledge()
                case 5:
                    for value in interface.lr:
                        if value >> 29 & 1:
                            interface.end(value & 0x3FF)
                            break
                case _:
                    offset = draw.choice([0, *(base + 4 * draw.randrange(4) for base in bases)])
                    value = draw.choice([0, ALL, draw.getrandbits(32), 1 << draw.randrange(32)])
                    vgicd_write(m.domain, m.vcpus[cpu], offset, draw.choice([3, 3, 1, 0]) if offset == 0 else value)
            m.settle()


@pytest.mark.parametrize("cpus", [1, 2, 3])
@pytest.mark.parametrize("seed", range(4))
def test_two_vcpus_short_of_list_registers_do_not_kick_each_other_for_ever(seed: int, cpus: int) -> None:
    """Found by the hostile guest: each look at the shared interrupts kicked the other, whose look kicked back."""
    vgic_storm(seed, cpus)


def test_nothing_that_was_listed_outlives_its_vcpu() -> None:
    """Found by the hostile guest: a maintenance interrupt after the vCPU went off listed what its next life did not know of."""
    with machine(2) as m:
        for offset in (Gicd.CTLR, Gicd.ISENABLER, Gicd.ISENABLER + 4):
            vgicd_write(m.domain, m.vcpus[0], offset, ALL)
        vgicd_write(m.domain, m.vcpus[0], Gicd.ISPENDR, ALL)
        vgic_park(m.vcpus[0])
        m.vcpus[0].power.value = int(Power.OFF)
        vgic_maintenance(m.vcpus[0])
        vgic_attend(m.vcpus[0])
        vgic_vcpu_reset(m.vcpus[0])
        assert m.bus.interfaces[0].lr == [0] * 4 and not m.bus.interfaces[0].maintenance()


def test_a_line_that_falls_is_withdrawn_from_another_cpu() -> None:
    """A level-sensitive SPI in another CPU's list register stayed pending there after its line had fallen."""
    with machine(2) as m:
        vgicd_write(m.domain, m.vcpus[0], Gicd.CTLR, 1)
        vgicd_write(m.domain, m.vcpus[0], Gicd.ISENABLER + 4, 1 << SPI - 32)
        vgicd_write(m.domain, m.vcpus[0], Gicd.ITARGETSR + SPI // 4 * 4, 2)
        vgic_set_spi_level(m.domain, SPI, True)
        m.settle()
        assert m.bus.interfaces[1].used()
        vgic_set_spi_level(m.domain, SPI, False)
        m.settle()
        assert not m.bus.interfaces[1].used() and vgicd_read(m.domain, m.vcpus[0], Gicd.ISPENDR + 4) == 0


# ---- memory ------------------------------------------------------------------------------------------------------------------


def test_xsa_98_the_hypervisor_writes_no_memory_by_a_guests_address() -> None:
    """Results were written through guest addresses without asking whether the guest itself may write there."""
    with machine() as m:
        before = [int(x) for x in m.vcpus[0].regs]
        for number in range(64):
            m.vcpus[0].regs[16], m.vcpus[0].regs[1] = number, 0x4000_0000
            hypercall(m.vcpus[0])  # no memory is mapped in this model: an access would raise
        assert [int(x) for x in m.vcpus[0].regs][2:16] == before[2:16]


def test_xsa_125_and_158_mapping_is_bounded_by_the_tables() -> None:
    """Mapping or changing a large range page by page kept a CPU for minutes."""
    p = fresh()
    assert p2m_map(p, GuestPhys(GIB), HostPhys(4 * GIB), 8 * GIB, MemoryKind.RAM) == Result.OK
    assert len(list(leaves(int(p.root), 1, 0))) == 8
    assert p2m_unmap(p, GuestPhys(GIB), 8 * GIB) == Result.OK
    assert p.table_pages == 2


def test_xsa_181_vmids_are_bounded() -> None:
    """The host stopped when VMIDs ran out."""
    assert CONFIG.MAX_DOMAINS <= 255, "a domain's VMID is its number and one"
    p = fresh()
    assert p2m_init(p, Vmid(256), 4) == Result.INVALID


def test_xsa_222_a_mapping_that_fails_to_go_is_told() -> None:
    """An unmap that failed for want of a table went unnoticed: the guest kept memory that was somebody else's by then."""
    p = fresh(3 * PAGE_SIZE)
    assert p2m_map(p, GuestPhys(GIB), HostPhys(4 * GIB), GIB, MemoryKind.RAM) == Result.OK
    result = p2m_unmap(p, GuestPhys(GIB + PAGE_SIZE), PAGE_SIZE)
    assert result == Result.NO_MEMORY and p2m_translate(p, GuestPhys(GIB + PAGE_SIZE))[0] == Result.OK


def heir(static: bool) -> Domain:
    """A domain that has just got memory full of what somebody else left there."""
    d = DOMAINS[0]
    reset()
    RAM[:] = b"\xa5" * len(RAM)
    if static:
        assert guest_memory_place(d, int(GUEST_RAM0_BASE), TABLES + MIB, MIB // 2, True) == Result.OK
    else:
        assert guest_memory_create(d, MIB // 2) == Result.OK
    return d


@pytest.mark.parametrize("static", [False, True])
def test_xsa_245_and_372_memory_is_cleared_before_its_first_owner_has_it(static: bool) -> None:
    """Memory handed out at boot, by the allocator or as static memory, held what guests had there before a warm reset."""
    d = heir(static)
    guest_memory_first_scrub(d)
    assert bytes(RAM).count(0) >= MIB // 2
    for piece in DOMAINS[0].memory.pieces[: DOMAINS[0].memory.count]:
        at = int(piece.base) - TABLES
        assert not any(RAM[at : at + int(piece.size)])


def test_xsa_245_memory_is_cleared_when_its_owner_ends() -> None:
    """The same between two owners in one boot."""
    d = heir(False)
    guest_memory_scrub(d)
    pieces = [(int(p.base) - TABLES, int(p.size)) for p in DOMAINS[0].memory.pieces[: DOMAINS[0].memory.count]]
    assert sum(size for _, size in pieces) == MIB // 2
    assert not any(any(RAM[at : at + size]) for at, size in pieces)


def test_xsa_147_memory_goes_back_once_and_after_the_last_vcpu_has_left() -> None:
    """A domain's end came upon pages that another domain's call was giving back, and stopped the host. Here the last vCPU alone gives back, once."""
    d, other = heir(False), DOMAINS[1]
    tables = ROOT_PAGES + 8
    assert p2m_init(d.p2m, Vmid(1), tables) == Result.OK and guest_memory_map(d) == Result.OK
    with machine(2) as m:
        other.state.store(u32(DomainState.RUNNING))  # else the machine ends with it
        kept = memory_free()
        for number in (0, 1):
            domain_shutdown(d, ShutdownReason.POWEROFF)
            domain_vcpu_left(d)
            assert memory_free() == kept and d.state.load() == DomainState.DYING
            m.vcpus[number].power.store(u32(Power.OFF))
        for _ in range(2):
            domain_vcpu_left(d)
            assert memory_free() == kept + MIB // 2 + 8 * PAGE_SIZE and d.state.load() == DomainState.DEAD
            domain_shutdown(d, ShutdownReason.POWEROFF)
    other.state.store(u32(DomainState.UNUSED))
    p2m_discard(d.p2m)


@pytest.mark.parametrize("channels", [False, True])
def test_xsa_383_a_domain_has_what_its_node_says_and_cannot_ask_for_more(channels: bool) -> None:
    """Domains from the device tree were given no limit of memory, and could take all that there was. Here no command gives or takes any."""
    d = heir(False)
    free, count = memory_free(), int(d.memory.count)
    with machine() as m:
        d.channels.on = channels
        for command in set(range(64)) - {MemoryOp.ADD_TO_PHYSMAP, MemoryOp.REMOVE_FROM_PHYSMAP}:
            m.vcpus[0].regs[16], m.vcpus[0].regs[0], m.vcpus[0].regs[1] = int(Hypercall.MEMORY_OP), command, int(GUEST_RAM0_BASE)
            assert hypercall(m.vcpus[0]) == Errno.ENOSYS, command
        d.channels.on = False
    assert (memory_free(), d.memory.count) == (free, count)


def test_xsa_393_nothing_stays_mapped_after_an_unmap() -> None:
    """Removing a page from a guest left its mapping in place, so that it kept access to what was another's."""
    p = fresh()
    assert p2m_map(p, GuestPhys(GIB), HostPhys(4 * GIB), 2 * MIB, MemoryKind.RAM) == Result.OK
    assert p2m_unmap(p, GuestPhys(GIB + 5 * PAGE_SIZE), PAGE_SIZE) == Result.OK
    mapped = {ipa for ipa, _, _ in leaves(int(p.root), 1, 0)}
    assert GIB + 5 * PAGE_SIZE not in mapped and len(mapped) == 511


def test_xsa_409_tables_have_a_bound_of_their_own() -> None:
    """Tables came from the host's memory, as many as a guest liked. Now: from its pool, and then no more."""
    reset()
    p: P2m = zeroed(P2m)
    assert p2m_init(p, Vmid(1), ROOT_PAGES + 3) == Result.OK
    free = memory_free()
    results = [p2m_map(p, GuestPhys(n * GIB), HostPhys(PAGE_SIZE), PAGE_SIZE, MemoryKind.RAM) for n in range(8)]
    assert results[0] == Result.OK and set(results[2:]) == {Result.NO_MEMORY}
    assert memory_free() == free and p.table_pages == p.pool_pages == ROOT_PAGES + 3


OPERATIONS = {  # DC CIVAC or DCCIMVAC of a register: mask and value of the instruction, where the register's number is, the registers
    "aarch64": (0xFFFF_FFE0, 0xD50B_7E20, 0, [getattr(arm64_const, f"UC_ARM64_REG_X{n}") for n in range(29)]),
    "armv7": (0xFFFF_0FFF, 0xEE07_0F3E, 12, [getattr(arm_const, f"UC_ARM_REG_R{n}") for n in range(13)]),
}


@pytest.fixture(scope="module")
def cleaning() -> Iterator[Unit]:
    made = Unit([clean_invalidate])
    yield made
    made.close()


@pytest.mark.parametrize("engine", OPERATIONS)
@given(base=st.integers(0x4000_0000, 0x4000_0200), size=st.integers(0, 300), line=st.sampled_from([16, 32, 64, 128]))
def test_xsa_437_every_line_of_a_range_is_cleaned(cleaning: Unit, engine: str, base: int, size: int, line: int) -> None:
    """From a base within a line, the loop ended a line too soon: what the last bytes held did not reach memory."""
    cpu = cleaning.engine(engine)
    assert isinstance(cpu, EmulatedEngine)
    mask, value, shift, names = OPERATIONS[engine]
    touched: list[int] = []

    def step(uc: Any, address: int, length: int, data: Any) -> None:
        word = int.from_bytes(uc.mem_read(address, 4), "little")
        if engine == "armv7":  # Thumb: two halfwords, the upper one first
            word = word >> 16 | (word & 0xFFFF) << 16
        if word & mask == value:
            touched.append(uc.reg_read(names[word >> shift & 31 if engine == "aarch64" else word >> shift & 15]))

    hook = cpu.uc.hook_add(unicorn.UC_HOOK_CODE, step)
    cpu.call(clean_invalidate, base, size, line)
    cpu.uc.hook_del(hook)
    assert touched == list(range(base & -line, base + size, line) if size else [])


def test_xsa_410_tables_go_back_in_one_step() -> None:
    """Freeing them took as long as the guest had made it. A pool is one run of pages; only the root is looked at."""
    p = fresh()
    assert p2m_map(p, GuestPhys(GIB), HostPhys(4 * GIB + PAGE_SIZE), 4 * MIB, MemoryKind.RAM) == Result.OK
    p2m_clear(p)
    assert p.table_pages == p.pool_pages == ROOT_PAGES and memory_free() == TABLE_BYTES - ROOT_PAGES * PAGE_SIZE
    assert p2m_translate(p, GuestPhys(GIB))[0] == Result.NOT_FOUND


def test_the_model_is_left_as_it_was() -> None:
    """The other tests of this process find no domain."""
    assert SLOTS[0].vcpu.domain is None and registers.MODEL is MODEL
