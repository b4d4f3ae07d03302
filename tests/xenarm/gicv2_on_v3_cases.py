"""GICv2s on a GICv3, in a configuration that has them: what the tree and the CPUs must offer, a guest's GICv2 driver over the model, switches, what is undefined.

`test_gicv2_on_v3.py` runs these, and the cases of test_vgic.py and its like that have this as one more version.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.xenarm.gic_model import V2_ON_V3, Machine, machine
from tests.xenarm.gicv2_on_v3_model import ACK_CTL, AEOIR, AHPPIR, AIAR, ABPR, EOI, EOI_MODE, FIQ_EN, GROUP0, GROUP1, HPPIR, SPURIOUS, SPURIOUS_GROUP1, LegacyInterface, to_gich, to_ich
from tests.xenarm.test_gic_host import FIRST, GICD, ONE_REGION, SECOND, Controller, start, tree
from tests.xenarm.test_vgic import SPI, TIMER, enable, priority, read, target, write
from tests.xenarm.trees import compile_source
from xenarm.abi.layout import GUEST_GICC_BASE, GUEST_GICD_BASE
from xenarm.arm import instructions
from xenarm.arm.short import DONE, NOT_HERE, SHORT_SYNC, WORD_ACCESS, WRITE, send_v3
from xenarm.arm.traps import trap_sync
from xenarm.arm64 import registers
from xenarm.arm64.guest_sysregs import id_register, sysreg_access
from xenarm.arm64.identification import aarch32_id
from xenarm.arm64.registers import sysreg_key
from xenarm.config import CONFIG
from xenarm.core.access import Access, Outcome
from xenarm.core.addresses import GuestPhys
from xenarm.core.domain import SLOTS
from xenarm.core.result import Result
from xenarm.gic import registers3
from xenarm.gic.context import vgic_finished, vgic_load_v3, vgic_quiet_v3, vgic_save_v3
from xenarm.gic.controller import GIC
from xenarm.gic.host import gic_cpu_init, gic_groups
from xenarm.gic.registers import Gicc, Gicd, ListRegister, LrState
from xenarm.gic.v3 import memory_mapped_possible
from xenarm.gic.version import vgic_is_v3
from xenarm.gic.vgic import vgic_raise_own, vgic_raise_ppi, vgic_set_spi_level, vgic_vcpu_reset
from xenarm.gic.vgicc import GICC_DIR_PAGE, vgicc_access
from xenarm.gic.vgicd import vgicd_access
from xenarm.tools.tree_checks import examine

assert CONFIG.GICV2_ON_V3
GICC, GICH, GICV = 0xC00_0000, 0xC01_0000, 0xC02_0000
LEGACY = f"<0 {GICC:#x} 0 0x2000>, <0 {GICH:#x} 0 0x2000>, <0 {GICV:#x} 0 0x2000>"
READ = 1
PAIR = [(0, 1), (2, 1)]


@pytest.fixture
def m() -> Iterator[Machine]:
    """Three vCPUs."""
    with machine(3, version=V2_ON_V3) as made:
        yield made


def gicv(m: Machine, cpu: int = 0) -> LegacyInterface:
    m.play(cpu)
    found = m.bus.current
    assert isinstance(found, LegacyInterface)
    return found


# ---- what the machine offers --------------------------------------------------------------------------------------------


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, int]]:
    """System registers of a CPU with system registers alone: what is stored to ICC_SRE_EL1 stays as the test says."""
    found: dict[str, int] = {"id_aa64pfr0_el1": 1 << 24, "ich_vtr_el2": 4 << 26 | 3, "mpidr_el1": 0}
    monkeypatch.setattr(registers, "MODEL", found)
    monkeypatch.setattr(registers3, "MODEL", found)
    yield found
    GIC.v3, GIC.legacy, GIC.gicv, GIC.sre_open = False, False, type(GIC.gicv)(0), False


class Fixed(dict[str, int]):
    """ICC_SRE_EL1.SRE is RAO/WI."""

    def get(self, name: str, default: int = 0) -> int:  # type: ignore[override]
        return 7 if name == "icc_sre_el1" else super().get(name, default)


class Untrapped(dict[str, int]):
    """ICC_SRE_EL2.Enable is RAO/WI, and ICC_SRE_EL1.SRE is or is not."""

    fixed = False

    def get(self, name: str, default: int = 0) -> int:  # type: ignore[override]
        if name == "icc_sre_el1" and self.fixed:
            return 7
        return super().get(name, default) | (8 if name == "icc_sre_el2" else 0)


TREES = {
    "one region": (f"{ONE_REGION}, {LEGACY}", "", True),
    "behind two regions": (f"{ONE_REGION}, <0 {SECOND:#x} 0 0x40000>, {LEGACY}", "#redistributor-regions = <2>;", True),
    "none": (ONE_REGION, "", False),
    "GICC alone": (f"{ONE_REGION}, <0 {GICC:#x} 0 0x2000>", "", False),
    "not on a page": (f"{ONE_REGION}, {LEGACY.replace(f'{GICV:#x}', f'{GICV + 0x800:#x}')}", "", False),
    "smaller than a page": (f"{ONE_REGION}, {LEGACY.removesuffix('0x2000>')}0x800>", "", False),
}


@pytest.mark.parametrize("name", TREES)
def test_the_tree_says_where_the_interface_is(monkeypatch: pytest.MonkeyPatch, system: dict[str, int], name: str) -> None:
    regions, more, there = TREES[name]
    assert start(monkeypatch, tree(regions, more), Controller({FIRST: 0})) == Result.OK
    assert (bool(GIC.legacy), int(GIC.gicv)) == ((True, GICV) if there else (False, 0))
    assert not there or GIC.machine_gicc == GICC


@pytest.mark.parametrize("fixed", [False, True])
def test_each_cpu_is_asked(monkeypatch: pytest.MonkeyPatch, system: dict[str, int], fixed: bool) -> None:
    assert start(monkeypatch, tree(f"{ONE_REGION}, {LEGACY}"), Controller({FIRST: 0})) == Result.OK
    assert gic_cpu_init(0) == Result.OK and GIC.legacy
    if fixed:
        monkeypatch.setattr(registers, "MODEL", Fixed(system))
        monkeypatch.setattr(registers3, "MODEL", registers.MODEL)
    assert gic_cpu_init(1) == Result.OK and GIC.legacy != fixed


@pytest.mark.parametrize("fixed", [False, True])
def test_a_cpu_that_does_not_trap_sre_is_remembered(monkeypatch: pytest.MonkeyPatch, system: dict[str, int], fixed: bool) -> None:
    assert start(monkeypatch, tree(f"{ONE_REGION}, {LEGACY}"), Controller({FIRST: 0})) == Result.OK
    assert gic_cpu_init(0) == Result.OK and not GIC.sre_open
    model = Untrapped(system)
    model.fixed = fixed
    monkeypatch.setattr(registers, "MODEL", model)
    monkeypatch.setattr(registers3, "MODEL", model)
    assert gic_cpu_init(1) == Result.OK and GIC.sre_open != fixed


def test_sre_is_clear_only_while_interrupts_are_routed_to_el2(m: Machine) -> None:
    """The CPU is asked where HCR_EL2 routes nothing, and all is as it was then."""
    interface = gicv(m)
    interface.sre = 1
    registers.MODEL["hcr_el2"] = 1
    assert memory_mapped_possible() and (interface.sre, registers.MODEL.get("hcr_el2")) == (1, 1)
    interface.fixed = True
    assert not memory_mapped_possible()


HOST = """/dts-v1/;
/ {{ #address-cells = <2>; #size-cells = <2>; interrupt-parent = <&gic>; compatible = "test,board";
    chosen {{ stdout-path = "/serial@9000000";
        good {{ compatible = "xen,domain"; #address-cells = <1>; #size-cells = <1>; memory = <0 0x10000>; cpus = <{cpus}>; {property}
            module@48000000 {{ compatible = "multiboot,kernel", "multiboot,module"; reg = <0x48000000 0x1000>; }}; }}; }};
    memory@40000000 {{ device_type = "memory"; reg = <0 0x40000000 0 0x40000000>; }};
    cpus {{ #address-cells = <1>; #size-cells = <0>; cpu@0 {{ device_type = "cpu"; reg = <0>; }}; }};
    timer {{ compatible = "arm,armv8-timer"; interrupts = <1 13 4>, <1 14 4>, <1 11 4>, <1 10 4>; }};
    gic: gic@8000000 {{ compatible = "arm,gic-v3"; #interrupt-cells = <3>; interrupt-controller; interrupts = <1 9 4>; reg = <0 {gicd:#x} 0 0x10000>, {regions}; }};
    serial@9000000 {{ compatible = "arm,pl011"; reg = <0 0x9000000 0 0x1000>; interrupts = <0 1 4>; }};
}};"""

ASKS = {
    "nothing": ("", 1, True, "a GICv3"),
    "a GICv3": ("xenarm,gic-version = <3>;", 1, True, "a GICv3"),
    "a GICv2": ("xenarm,gic-version = <2>;", 8, True, "a GICv2"),
    "too many CPUs": ("xenarm,gic-version = <2>;", 9, True, "error: /chosen/good: cpus asks for 9 CPUs, 8 CPUs are left"),
    "what is not there": ("xenarm,gic-version = <2>;", 1, False, "error: /chosen/good: xenarm,gic-version asks for a GICv2, and the machine's GICv3 has no CPU interface for one: no GICV in its reg"),
    "nonsense": ("xenarm,gic-version = <4>;", 1, True, "error: /chosen/good: xenarm,gic-version is neither 2 nor 3"),
    "no cell": ('xenarm,gic-version = "2";', 1, True, "error: /chosen/good: xenarm,gic-version is neither 2 nor 3"),
}


@pytest.mark.parametrize("name", ASKS)
def test_what_a_domain_asks_for(name: str) -> None:
    """By the hypervisor's own plan, which the doctor calls."""
    wanted, cpus, offered, says = ASKS[name]
    regions = f"{ONE_REGION}, {LEGACY}" if offered else ONE_REGION
    report = examine(compile_source(HOST.format(cpus=cpus, property=wanted, gicd=GICD, regions=regions)))
    lines = [*report.sections.get("domains", []), *map(str, report.findings)]
    assert any(says in line for line in lines), lines
    told = f"GICv2 for domains that ask for one: {f'virtual CPU interface at {GICV:#x}' if offered else 'no'}"
    assert any(line.startswith(told) for line in report.sections["interrupt controller"])


# ---- list registers -------------------------------------------------------------------------------------------------------


def test_list_registers_hold_the_sender(m: Machine) -> None:
    """Every field comes back; a link to a physical interrupt is in the place of a sender."""
    fields = [ListRegister(VIRTUAL_ID=5, CPUID=6, PRIORITY=0x15, PENDING=True), ListRegister(VIRTUAL_ID=300, EOI=True, ACTIVE=True, GROUP1=True)]
    values = [int(value) for value in fields]
    if CONFIG.GIC_HW_TIMER_LINK:
        values.append(int(ListRegister(VIRTUAL_ID=27, PENDING=True, HW=True)) | 27 << 10)
    v = m.vcpus[0]
    interface = gicv(m)
    v.vgic.lr_used = (1 << len(values)) - 1
    for i, value in enumerate(values):
        v.vgic.lr[i] = value
    vgic_load_v3(v)
    assert interface.ich[: len(values)] == [to_ich(value) for value in values] and interface.ich[0] & 0x1FFF == 5 | 6 << 10
    assert not interface.ich[0] & EOI and interface.ich[1] & EOI
    vgic_save_v3(v)
    assert [v.vgic.lr[i] for i in range(len(values))] == values and interface.ich[: len(values)] == [0] * len(values)
    assert [to_gich(to_ich(value)) for value in values] == values


# ---- a guest's driver --------------------------------------------------------------------------------------------------------


def driver(m: Machine, control: int = GROUP0 | GROUP1 | ACK_CTL) -> None:
    """As a GICv2's driver begins: distributor on, each CPU's interface on."""
    write(m, Gicd.CTLR, 3)
    for cpu in range(len(m.vcpus)):
        gicv(m, cpu).store(Gicc.PMR, 0xF0)
        gicv(m, cpu).store(Gicc.CTLR, control)


def handle(m: Machine, cpu: int, acknowledge: int = Gicc.IAR, end: int = Gicc.EOIR) -> int:
    """What GICV_IAR says; an interrupt is ended by the same value, as IHI 0048B 4.4.4 has it."""
    iar = gicv(m, cpu).load(acknowledge)
    if iar & 0x3FF < 1020:
        gicv(m, cpu).store(end, iar)
        m.settle()
    return iar


def sends(m: Machine, cpu: int, to: int, sgi: int) -> None:
    write(m, Gicd.SGIR, 1 << 16 + to | sgi, cpu)


def test_an_sgi_names_its_sender(m: Machine) -> None:
    """Two send the same one: it comes twice, once from each; a third time there is nothing."""
    driver(m)
    for source, to in PAIR:
        sends(m, source, to, 5)
    sends(m, 1, 1, 5)
    assert sorted(handle(m, 1) for _ in range(3)) == [5, 5 | 1 << 10, 5 | 2 << 10]
    assert handle(m, 1) == SPURIOUS and gicv(m, 0).load(Gicc.IAR) == SPURIOUS


def test_the_second_sender_waits_for_the_end_of_the_first(m: Machine) -> None:
    """One list register holds one sender (GICH_LR.EOI brings the next)."""
    driver(m)
    sends(m, 2, 1, 3)
    iar = gicv(m, 1).load(Gicc.IAR)
    sends(m, 0, 1, 3)
    assert iar == 3 | 2 << 10 and gicv(m, 1).load(Gicc.IAR) == SPURIOUS
    assert read(m, Gicd.ISACTIVER, 1) == 8
    gicv(m, 1).store(Gicc.EOIR, iar)
    m.settle()
    assert handle(m, 1) == 3


def test_an_edge_and_a_level(m: Machine) -> None:
    driver(m)
    enable(m, SPI, SPI + 1)
    write(m, Gicd.CTLR, 3)
    write(m, Gicd.ICFGR + 8, 2 << (SPI - 32) * 2)
    target(m, SPI, 1)
    for intid in (SPI, SPI + 1):
        vgic_set_spi_level(m.domain, intid, True)
    m.settle()
    assert [handle(m, 1), handle(m, 1)] == [SPI, SPURIOUS], "an edge comes once"
    assert [handle(m, 0), handle(m, 0)] == [SPI + 1] * 2, "a level for as long as it is high"
    vgic_set_spi_level(m.domain, SPI + 1, False)
    m.settle()
    assert handle(m, 0) == SPURIOUS


def test_the_more_urgent_preempts(m: Machine) -> None:
    """Active priorities of both groups; ends in the reverse order."""
    driver(m)
    enable(m, SPI, SPI + 1, SPI + 2)
    write(m, Gicd.CTLR, 3)
    write(m, Gicd.IGROUPR + 4, 1 << SPI + 1 - 32)
    for n, urgency in enumerate((0xA0, 0x80, 0x80)):
        priority(m, SPI + n, urgency)
    taken = []
    for n in range(3):
        write(m, Gicd.ISPENDR + 4, 1 << SPI + n - 32)
        taken.append(gicv(m).load(Gicc.IAR))
    assert taken == [SPI, SPI + 1, SPURIOUS], "of the same priority: it waits"
    assert gicv(m).load(Gicc.RPR) == 0x80 and gicv(m).ap == [1 << 0x14, 1 << 0x10]
    for iar in (SPI + 1, SPI):
        gicv(m).store(Gicc.EOIR, iar)
        m.settle()
    assert gicv(m).load(Gicc.RPR) == 0xFF and handle(m, 0) == SPI + 2


def test_group_1_has_registers_of_its_own(m: Machine) -> None:
    """Without AckCtl GICV_IAR says that GICV_AIAR has it."""
    driver(m, GROUP0 | GROUP1 | FIQ_EN)
    enable(m, SPI)
    write(m, Gicd.CTLR, 3)
    write(m, Gicd.IGROUPR + 4, 1 << SPI - 32)
    write(m, Gicd.ISPENDR + 4, 1 << SPI - 32)
    assert gicv(m).signals() == "irq"
    assert gicv(m).load(HPPIR) == gicv(m).load(Gicc.IAR) == SPURIOUS_GROUP1 and gicv(m).load(AHPPIR) == SPI
    assert handle(m, 0, AIAR, AEOIR) == SPI
    sends(m, 0, 0, 1)
    assert gicv(m).signals() == "fiq" and handle(m, 0, AIAR, AEOIR) == SPURIOUS and handle(m, 0) == 1


def test_ends_in_two_steps(m: Machine) -> None:
    """EOImode: the priority drops at once, GICC_DIR deactivates, which stage 2 traps; by any vCPU."""
    driver(m, GROUP0 | GROUP1 | ACK_CTL | EOI_MODE)
    enable(m, SPI)
    write(m, Gicd.CTLR, 3)
    write(m, Gicd.ISPENDR + 4, 1 << SPI - 32)
    assert handle(m, 0) == SPI and gicv(m).load(Gicc.RPR) == 0xFF
    assert read(m, Gicd.ISACTIVER + 4) == 1 << SPI - 32
    write(m, Gicd.ISPENDR + 4, 1 << SPI - 32)
    assert handle(m, 0) == SPURIOUS, "active still"
    m.play(1)
    stored = Access(GuestPhys(int(GUEST_GICC_BASE) + GICC_DIR_PAGE), 4, True, SPI)
    assert vgicc_access(m.domain, m.vcpus[1], stored) == (Outcome.HANDLED, 0)
    m.settle()
    assert handle(m, 0) == SPI


def test_the_timer_and_a_ppi_of_another_cpu(m: Machine) -> None:
    driver(m)
    for cpu in range(2):
        write(m, Gicd.ISENABLER, 1 << TIMER | 1 << 30, cpu)
    m.play(0)
    vgic_raise_own(m.vcpus[0], TIMER)
    vgic_raise_ppi(m.vcpus[1], 30)
    m.settle()
    assert (handle(m, 0), handle(m, 1)) == (TIMER, 30)


def test_a_guest_that_starts_again_finds_its_interface_reset(m: Machine) -> None:
    """Whatever it did to ICC_SRE_EL1: EL2's Enable may be fixed, and then that does not trap."""
    driver(m)
    sends(m, 0, 0, 1)
    interface = gicv(m)
    assert interface.load(Gicc.IAR) == 1
    interface.dsb()
    interface.isb()
    interface.sre = 1
    vgic_vcpu_reset(m.vcpus[0])
    assert (interface.sre, interface.ap, interface.load(Gicc.CTLR), interface.load(Gicc.PMR), interface.load(Gicc.RPR)) == (0, [0, 0], 0, 0, 0xFF)


# ---- switches ------------------------------------------------------------------------------------------------------------------


def test_a_cpu_turns_to_a_guest_of_the_other_version_and_back(m: Machine) -> None:
    """Each has its own controls; what only a GICv2 has in ICH_VMCR_EL2 is not lost, and a GICv3's guest never runs without system registers."""
    control = GROUP0 | GROUP1 | ACK_CTL | EOI_MODE
    driver(m, control)
    interface = gicv(m)
    interface.store(Gicc.BPR, 4)
    interface.store(ABPR, 5)
    priority(m, 1, 0x48)
    write(m, Gicd.IGROUPR, 1 << 2)
    sends(m, 2, 0, 1)
    sends(m, 1, 0, 2)
    assert gicv(m).load(Gicc.IAR) == 2 | 1 << 10
    before, control_before = interface.lr, interface.control
    active = list(interface.ap)
    v, other = m.vcpus[0], SLOTS[m.vcpus[-1].number + 4].vcpu
    m.play(0)
    if vgic_save_v3(v):
        vgic_finished(v)
    assert interface.sre == 1 and interface.lr == [0] * 4
    other.vmcr, other.vgic.control, other.vgic.lr_used = 2 | FIQ_EN | 0xF0 << 24, 1, 0
    vgic_load_v3(other)
    assert interface.sre == 1 and interface.vmcr == other.vmcr and interface.ap == [0, 0]
    vgic_save_v3(other)
    vgic_load_v3(v)
    assert (interface.sre, interface.control, interface.lr, interface.ap) == (0, control_before, before, active)
    assert interface.load(Gicc.CTLR) == control and interface.load(Gicc.BPR) == 4 and interface.load(ABPR) == 5


def test_who_has_turned_system_registers_off_leaves_them_to_the_next(m: Machine) -> None:
    """Where a guest's store to ICC_SRE_EL1 does not trap. Its own next life has them too."""
    interface, other = gicv(m), SLOTS[m.vcpus[-1].number + 4].vcpu
    m.play(0)
    vgic_save_v3(m.vcpus[0])
    GIC.sre_open = True
    try:
        other.vmcr, other.vgic.control, other.vgic.lr_used = 2 | FIQ_EN, 1, 0
        interface.sre = 0
        vgic_load_v3(other)
        assert interface.sre == 1
        interface.sre = 0
        other.domain = m.domain
        other.domain.gic_v3 = True
        vgic_vcpu_reset(other)
        assert interface.sre == 1
    finally:
        GIC.sre_open, other.domain = False, None


def test_groups_are_the_guests_last_word(m: Machine) -> None:
    """Its store to GICV_CTLR is waited for."""
    driver(m)
    for groups in (GROUP0, GROUP1, GROUP0 | GROUP1):
        gicv(m).store(Gicc.CTLR, groups)
        assert gic_groups() == groups


def test_group_0_is_no_fiq_for_who_did_not_ask(m: Machine) -> None:
    """VFIQEn is one under system registers: ICH_VMCR_EL2 is loaded when they are off, and saved before they are on."""
    driver(m)
    sends(m, 0, 0, 1)
    assert gicv(m).signals() == "irq"
    for _ in range(2):
        vgic_save_v3(m.vcpus[0])
        vgic_load_v3(m.vcpus[0])
        assert gicv(m).signals() == "irq"


def test_an_end_just_before_a_switch_is_not_forgotten(m: Machine) -> None:
    driver(m)
    sends(m, 0, 0, 1)
    iar = gicv(m).load(Gicc.IAR)
    gicv(m).store(Gicc.EOIR, iar)
    assert vgic_quiet_v3(m.vcpus[0]), "nothing keeps it awake"
    vgic_save_v3(m.vcpus[0])
    vgic_load_v3(m.vcpus[0])
    assert gicv(m).load(Gicc.RPR) == 0xFF and read(m, Gicd.ISACTIVER) == 0


def test_what_the_guest_stored_last_is_saved(m: Machine) -> None:
    """With no list register in use nothing else waits for its stores."""
    driver(m)
    gicv(m).store(Gicc.PMR, 0x80)
    vgic_save_v3(m.vcpus[0])
    vgic_load_v3(m.vcpus[0])
    assert gicv(m).load(Gicc.PMR) == 0x80


# ---- traps -----------------------------------------------------------------------------------------------------------------------


def traps(m: Machine, offset: int, value: int | None = None) -> tuple[int, int]:
    """A word's load or store in the distributor: what the short way leaves, and register 3 after the next."""
    v = m.vcpus[0]
    m.play(0)
    v.regs[3] = value or 0
    esr = WORD_ACCESS << 21 | 3 << 16 | (WRITE if value is not None else 0)
    registers.MODEL.update(esr_el2=esr, far_el2=int(GUEST_GICD_BASE) + offset, hpfar_el2=int(GUEST_GICD_BASE) >> 12 << 4, elr_el2=0x1000)
    left = int(SHORT_SYNC["v3"](v))
    assert left == NOT_HERE and trap_sync(v) == DONE
    return left, int(v.regs[3])


def test_its_distributor_is_not_the_short_ways(m: Machine) -> None:
    """Which answer for a GICv3's; what comes next knows what the domain sees."""
    assert not vgic_is_v3(m.domain)
    assert traps(m, Gicd.TYPER)[1] >> 5 & 7 == 2 and traps(m, Gicd.ITARGETSR)[1] == 0x0101_0101
    assert traps(m, Gicd.ISENABLER)[1] == 0xFFFF, "SGIs are always on"
    driver(m)
    traps(m, Gicd.SGIR, 2 << 24 | 7)
    m.settle()
    assert handle(m, 0) == 7


def test_a_posted_sgi_keeps_its_sender(m: Machine) -> None:
    """`kicked` holds one as a list register has it, and SGI_POST lists it by the short way."""
    driver(m)
    v = m.vcpus[1]
    v.vgic.kicked.value = int(LrState.PENDING) | 2 << 10 | 9
    m.play(1)
    m.take_post()
    assert v.vgic.kicked.value == 0 and handle(m, 1) == 9 | 2 << 10


def test_there_are_no_system_registers(m: Machine) -> None:
    """Not in the identification registers, and undefined where they trap; a GICv3's domain beside it has them."""
    v, other = m.vcpus[0], SLOTS[m.vcpus[-1].number + 4].vcpu
    m.play(0)
    assert [send_v3(v, to, 1) for to in (1, 2, 1 << (int(v.id) + 16))] == [NOT_HERE] * 3
    assert (id_register(v, 4 * 8) >> 24 & 0xF, aarch32_id(v, 9) >> 28) == (0, 0)
    assert (id_register(other, 4 * 8) >> 24 & 0xF, aarch32_id(other, 9) >> 28) == (1, 1)
    for crn, crm, op2 in ((12, 11, 1), (12, 11, 3), (12, 11, 5), (12, 11, 6), (12, 11, 7), (12, 12, 4), (4, 6, 0)):
        key = sysreg_key(3, 0, crn, crm, op2)
        assert sysreg_access(v, key, False, 0) == (False, 0) == sysreg_access(v, key | READ, False, 0)
    assert sysreg_access(v, sysreg_key(3, 0, 12, 12, 5) | READ, False, 0) == (True, 0), "ICC_SRE_EL1: off, and a store is ignored"
    assert sysreg_access(v, sysreg_key(3, 0, 12, 12, 5), False, 7) == (True, 0) and gicv(m).sre == 0


@pytest.mark.parametrize("width", [1, 2, 8])
def test_registers_take_what_a_gicv2s_take(m: Machine, width: int) -> None:
    """Bytes of priorities and targets, else words."""
    taken = vgicd_access(m.domain, m.vcpus[0], Access(GuestPhys(int(GUEST_GICD_BASE) + Gicd.IPRIORITYR + 40), width, True, 0x40))[0]
    assert taken == (Outcome.HANDLED if width == 1 else Outcome.FORBIDDEN)


def test_the_model_minds_the_barriers(m: Machine) -> None:
    """It would see one that is missing."""
    driver(m)
    gicv(m).stored = 1
    with pytest.raises(AssertionError, match="DSB"):
        registers3.MODEL.get("ich_lr0_el2")
    gicv(m).stored = 0
    registers3.MODEL["ich_lr0_el2"] = 0
    with pytest.raises(AssertionError, match="ISB"):
        gicv(m).load(Gicc.IAR)
    instructions.data_sync_all()
    assert gicv(m).written, "a DSB before the ISB is none"
