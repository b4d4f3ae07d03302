"""A model of the virtual interface of a GICv2 or a GICv3: list registers as hardware keeps them, and the guest that acknowledges and ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from freestanding import zeroed
from xenarm.abi.affinity import Affinities
from xenarm.abi.layout import GUEST_GICD_BASE, GUEST_GICR_BASE, GUEST_GICR_SIZE
from xenarm.arm import instructions
from xenarm.arm.short import ACKNOWLEDGED, DONE, SHORT_POST
from xenarm.arm64 import registers
from xenarm.config import CONFIG
from xenarm.core.domain import DOMAINS, NOT_SHORT, SLOT_SIZE, SLOTS, Domain, DomainState, Power, Vcpu, vcpu_place
from xenarm.core.sched.state import SCHED_CPUS
from xenarm.gic import registers3
from xenarm.gic.registers import Gich, ListRegister, LrState
from xenarm.gic.controller import GIC, SGI_POST
from xenarm.gic.regions import gicr_add
from xenarm.gic.v2 import INTERFACES
from xenarm.gic.v3 import REDIST
from xenarm.gic.vgic import vgic_attend, vgic_init, vgic_maintenance, vgic_vcpu_reset

GICH = 0x0803_0000
GICD = 0x0800_0000
TDS = 1 << 19  # of ICH_VTR_EL2
V2_ON_V3 = 23
"""In the place of a version: the machine has a GICv3, the domain sees a GICv2 (gicv2_on_v3_model.py)."""


class VirtualInterface:
    """One CPU's GICH and the GICV behind it."""

    def __init__(self, lists: int) -> None:
        self.lr = [0] * lists
        self.hcr = 1
        self.vmcr = 0
        self.running: set[int] = set()  # active priorities, GICH_APR
        self.kicked = False
        self.posted = False

    def starts(self) -> None:
        """The guest turns its CPU interface on, where that is more than this model has."""

    def signalled(self, sgi: int) -> None:
        """A physical SGI has come."""
        if sgi == SGI_POST:
            self.posted = True
        else:
            self.kicked = True

    def used(self) -> list[int]:
        return [i for i, value in enumerate(self.lr) if value & LrState.MASK]

    def empty_status(self) -> int:
        return sum(1 << i for i, v in enumerate(self.lr) if not v & LrState.MASK and not (v & LrState.EOI and not v & LrState.HW))

    def ended_status(self) -> int:
        return sum(1 << i for i, v in enumerate(self.lr) if not v & LrState.MASK and v & LrState.EOI and not v & LrState.HW)

    def maintenance(self) -> bool:
        underflow = bool(self.hcr & 2) and len(self.used()) <= 1
        counted = bool(self.hcr & 4) and self.hcr >> 27 != 0
        none_pending = bool(self.hcr & 8) and not any(v & LrState.MASK == LrState.PENDING for v in self.lr)
        groups = any(self.hcr >> 4 + 2 * group & 1 << (not self.vmcr >> group & 1) for group in (0, 1))
        return underflow or counted or none_pending or groups or bool(self.ended_status())

    def split(self, on: bool) -> None:
        """EOImode."""
        self.vmcr = self.vmcr & ~(1 << 9) | on << 9

    def takes(self, value: int) -> bool:
        """Whether the guest has the group turned on. Tests that set no group stand for guests that take both."""
        return self.vmcr & 3 == 0 or bool(self.vmcr >> bool(value & LrState.GROUP1) & 1)

    def running_priority(self) -> int:
        return min(self.running, default=0x20)

    def acknowledge(self) -> tuple[int, int] | None:
        """GICV_IAR: (intid, sender) of the most urgent pending interrupt that may preempt; None is spurious."""
        pending = [(ListRegister.from_raw(v).PRIORITY, i) for i, v in enumerate(self.lr) if v & LrState.MASK == LrState.PENDING and self.takes(v)]
        if not pending or min(pending)[0] >= self.running_priority():
            return None
        index = min(pending)[1]
        self.lr[index] = self.lr[index] & ~LrState.MASK | LrState.ACTIVE
        fields = ListRegister.from_raw(self.lr[index])
        self.running.add(fields.PRIORITY)
        return fields.VIRTUAL_ID, fields.CPUID

    def end(self, intid: int) -> None:
        """GICV_EOIR: the priority drops; without split ends the interrupt is deactivated, or counted when no list register has it.

        A GICv3 counts it in either mode (IHI 0069, VirtualWriteEOIR0).
        """
        if not self.running:
            return
        self.running.remove(min(self.running))
        split = bool(self.vmcr >> 9 & 1)
        for i, value in enumerate(self.lr):
            if value & LrState.ACTIVE and value & 0x3FF == intid:
                self.lr[i] = value if split else value & ~LrState.ACTIVE
                return
        if not split or GIC.v3:
            self.hcr = self.hcr + (1 << 27) & 0xFFFF_FFFF


class Bus(instructions.ModelBus):
    """The interface of the CPU that the test plays."""

    def __init__(self, cpus: int, lists: int, interface: type[VirtualInterface] = VirtualInterface) -> None:
        super().__init__()
        self.interfaces = [interface(lists) for _ in range(cpus)]

    @property
    def current(self) -> VirtualInterface:
        return self.interfaces[instructions.STACK_OFFSET[0] // SLOT_SIZE]

    def read(self, address: int, width: int) -> int:
        offset = address - GICH
        if offset == Gich.VTR:
            return len(self.current.lr) - 1
        if offset == Gich.HCR:
            return self.current.hcr
        if offset == Gich.VMCR:
            return self.current.vmcr
        if offset == Gich.ELRSR0:
            return self.current.empty_status()
        if offset == Gich.EISR0:
            return self.current.ended_status()
        if 0 <= offset - Gich.LR0 < 0x100:
            return self.current.lr[(offset - Gich.LR0) // 4]
        return super().read(address, width)

    def write(self, address: int, width: int, value: int) -> None:
        offset = address - GICH
        if offset == Gich.HCR:
            self.current.hcr = value
        elif offset == Gich.VMCR:
            self.current.vmcr = value
        elif 0 <= offset - Gich.LR0 < 0x100:
            self.current.lr[(offset - Gich.LR0) // 4] = value
        elif address == GICD + 0xF00:
            for cpu, interface in enumerate(self.interfaces):
                if value >> 16 & 1 << cpu:
                    interface.signalled(value & 15)
        else:
            super().write(address, width, value)


FIELDS = [(0, 0, 10), (10, 32, 10), (23, 51, 5), (28, 62, 2), (30, 60, 2)]
"""Of a list register: where GICH_LR and where ICH_LR<n>_EL2 has it, and its width (IHI 0048B 5.3.12, IHI 0069 12.4.8)."""


def ich_lr(lr: int) -> int:
    return sum((lr >> at & (1 << width) - 1) << to for at, to, width in FIELDS)


def gich_lr(lr: int) -> int:
    assert lr & ~ich_lr(0xFFFF_FFFF) == 0, f"reserved bits of a list register are set: {lr:#x}"
    return sum((lr >> to & (1 << width) - 1) << at for at, to, width in FIELDS)


class SystemRegisters(dict[str, int]):
    """A GICv3's interface of the CPU that the test plays; other registers are plain."""

    def __init__(self, bus: Bus) -> None:
        super().__init__()
        self.bus = bus

    def get(self, name: str, default: int = 0) -> int:  # type: ignore[override]
        interface = self.bus.current
        if name.startswith("ich_lr"):
            return ich_lr(interface.lr[int(name[6:-4])])
        if name == "ich_vtr_el2":
            return 4 << 29 | 4 << 26 | TDS | len(interface.lr) - 1
        if name == "ich_hcr_el2":
            return interface.hcr
        if name == "ich_vmcr_el2":
            return interface.vmcr
        if name == "ich_elrsr_el2":
            return interface.empty_status()
        if name == "ich_eisr_el2":
            return interface.ended_status()
        return super().get(name, default)

    def __setitem__(self, name: str, value: int) -> None:
        if name.startswith("ich_lr"):
            self.bus.current.lr[int(name[6:-4])] = gich_lr(value)
        elif name == "ich_hcr_el2":
            self.bus.current.hcr = value
        elif name == "ich_vmcr_el2":
            self.bus.current.vmcr = value
        elif name == "icc_sgi1r_el1":
            for cpu, interface in enumerate(self.bus.interfaces):
                if value >> cpu & 1:
                    interface.signalled(value >> 24 & 15)
        else:
            super().__setitem__(name, value)


class Machine:
    """A domain of some vCPUs, one on each CPU, over the model."""

    def __init__(self, bus: Bus, cpus: int, version: int) -> None:
        self.bus = bus
        self.v3 = version == 3  # what the domain sees
        self.host_v3 = bool(GIC.v3)
        self.domain: Domain = DOMAINS[0]
        self.vcpus: list[Vcpu] = [SLOTS[i].vcpu for i in range(cpus)]
        self.domain.state.value = int(DomainState.RUNNING)
        self.domain.id, self.domain.vcpu_count = 0, cpus
        self.domain.affinities = zeroed(Affinities)
        self.domain.gic_v3 = self.v3
        self.domain.layout.gicd, self.domain.layout.gicr_count = int(GUEST_GICD_BASE), 0
        gicr_add(self.domain.layout, int(GUEST_GICR_BASE), GUEST_GICR_SIZE, cpus)
        for i, v in enumerate(self.vcpus):
            v.domain, v.id = self.domain, i
            vcpu_place(v, i)
            v.vgic.legacy = self.host_v3 and not self.v3
            v.gicd_frame = int(GUEST_GICD_BASE) >> 12 << 4 | NOT_SHORT * v.vgic.legacy
            self.domain.vcpus[i] = v
            v.vgic.kicked.value = 0
            v.power.value = int(Power.ON)
            INTERFACES.bit[i] = 1 << i
            REDIST.kick[i] = 1 << i
            SCHED_CPUS[i].doorbell = 1 << i | SGI_POST << 24 if self.host_v3 else 1 << 16 + i | SGI_POST
            v.sched.stopped.value, v.sched.on_cpu.value = 0, 1
        vgic_init(self.domain)
        for i, v in enumerate(self.vcpus):
            self.play(i)
            vgic_vcpu_reset(v)
            bus.current.starts()
        self.play(0)

    def play(self, cpu: int) -> None:
        """Be that CPU from now on."""
        instructions.STACK_OFFSET[0] = cpu * SLOT_SIZE + SLOT_SIZE - 64

    def take_post(self) -> None:
        """SGI_POST has been acknowledged on the CPU that the test plays."""
        v = self.vcpus[instructions.STACK_OFFSET[0] // SLOT_SIZE]
        if SHORT_POST["v3" if self.host_v3 else "v2"](v, ACKNOWLEDGED | SGI_POST) != DONE:
            vgic_attend(v)

    def settle(self) -> None:
        """Take kicks and maintenance interrupts until there are none; asserts that this ends."""
        for _ in range(100):
            busy = [i for i, f in enumerate(self.bus.interfaces) if f.kicked or f.posted or f.maintenance()]
            if not busy:
                self.play(0)
                return
            for cpu in busy:
                self.play(cpu)
                if self.bus.current.posted:
                    self.bus.current.posted = False
                    self.take_post()
                if self.bus.current.kicked:
                    self.bus.current.kicked = False
                    vgic_attend(self.vcpus[cpu])
                if self.bus.current.maintenance():
                    vgic_maintenance(self.vcpus[cpu])
        raise AssertionError("maintenance and kicks without an end")


KINDS: dict[int, tuple[type[VirtualInterface], type[SystemRegisters]]] = {2: (VirtualInterface, SystemRegisters), 3: (VirtualInterface, SystemRegisters)}


@contextmanager
def machine(cpus: int = 1, lists: int = 4, version: int = 2) -> Iterator[Machine]:
    """A machine for one test, with one version of the interrupt controller, or V2_ON_V3."""
    before, registers_before = instructions.BUS, registers.MODEL
    interface, system_registers = KINDS[version]
    bus = Bus(cpus, lists, interface)
    instructions.BUS = bus
    if version != 2:
        registers.MODEL = registers3.MODEL = system_registers(bus)
    GIC.v3 = version != 2
    GIC.gich, GIC.lists, GIC.gicd = GICH, GICH + Gich.LR0, GICD
    GIC.list_registers, GIC.list_mask = lists, (1 << lists) - 1
    try:
        yield Machine(bus, cpus, version)
    finally:
        instructions.BUS = before
        registers.MODEL = registers3.MODEL = registers_before
        GIC.v3 = False
        instructions.STACK_OFFSET[0] = 0
        for slot in range(cpus):
            SLOTS[slot].vcpu.domain = None
            SLOTS[slot].vcpu.vgic.legacy = False
            DOMAINS[0].vcpus[slot] = None
            SLOTS[slot].vcpu.sched.on_cpu.value = 0
        DOMAINS[0].state.value = 0


if CONFIG.GICV2_ON_V3:
    import tests.xenarm.gicv2_on_v3_model  # noqa: F401  # adds to KINDS
