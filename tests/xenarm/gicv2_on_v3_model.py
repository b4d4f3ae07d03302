"""A model of a GICv3's virtual interface that also has a GICv2's CPU interface in memory: EL2's ICH registers, the guest's GICV, ICC_SRE_EL1 between them.

From ARM IHI 0069 (12.4 and 12.14: ICH_LR<n>_EL2, ICH_VMCR_EL2, ICH_AP<m>R<n>_EL2; GICV_*) and IHI 0048B (4.4, 5.5). Five bits of priority, all of which
preempt. What one side stores the other sees after barriers alone: to look before is an error here, as it shows on hardware now and then only.
"""

from __future__ import annotations

from tests.xenarm.gic_model import KINDS, TDS, V2_ON_V3, SystemRegisters, VirtualInterface
from xenarm.arm import instructions
from xenarm.gic.registers import Gicc, LrState

GROUP0, GROUP1, ACK_CTL, FIQ_EN, CBPR, EOI_MODE = 1, 2, 4, 8, 16, 1 << 9  # GICV_CTLR, and in the same places ICH_VMCR_EL2
CONTROL = GROUP0 | GROUP1 | ACK_CTL | FIQ_EN | CBPR | EOI_MODE
HPPIR, ABPR, AIAR, AEOIR, AHPPIR = 0x18, 0x1C, 0x20, 0x24, 0x28
SPURIOUS, SPURIOUS_GROUP1 = 1023, 1022
IDLE = 0xFF
PENDING, ACTIVE, HW, OF_GROUP1 = 1 << 62, 1 << 63, 1 << 61, 1 << 60  # ICH_LR<n>_EL2
EOI = 1 << 41
OVERRIDES = 7 << 3  # HCR_EL2.AMO, IMO, FMO
EN = 1  # ICH_HCR_EL2
COUNT = 1 << 27


def to_ich(lr: int) -> int:
    """GICH_LR's layout as ICH_LR<n>_EL2 has it."""
    low = lr & 0x3FF | (lr >> 10 & 0x3FF) << 32 if lr & LrState.HW else lr & 0x1FFF | (lr >> 19 & 1) << 41
    return low | (lr >> 23 & 0x1F) << 51 | (lr >> 28 & 3) << 62 | (lr >> 30 & 1) << 60 | (lr >> 31) << 61


def to_gich(lr: int) -> int:
    """The reverse."""
    low = lr & 0x3FF | (lr >> 32 & 0x3FF) << 10 if lr & HW else lr & 0x1FFF | (lr >> 41 & 1) << 19
    return low | (lr >> 51 & 0x1F) << 23 | (lr >> 62 & 3) << 28 | (lr >> 60 & 1) << 30 | (lr >> 61 & 1) << 31


class LegacyInterface(VirtualInterface):
    """One CPU's."""

    def __init__(self, lists: int) -> None:
        self.ich = [0] * lists
        self.control = 0  # ICH_VMCR_EL2
        self.ap = [0, 0]  # by group
        self.sre = 1
        self.fixed = False  # ICC_SRE_EL1.SRE
        self.stored = self.written = 0  # by the guest, and by EL2: 1, or 2 after the first of the two barriers
        self.iar: dict[int, int] = {}  # what the guest has acknowledged, by INTID
        self.deactivated: list[int] = []  # physical ones
        super().__init__(lists)

    # ---- for the tests of either version

    @property
    def lr(self) -> list[int]:  # type: ignore[override]
        """A copy, in GICH_LR's layout."""
        return [to_gich(value) for value in self.ich]

    @lr.setter
    def lr(self, values: list[int]) -> None:
        self.ich = [to_ich(value) for value in values]

    @property
    def vmcr(self) -> int:  # type: ignore[override]
        """ICH_VMCR_EL2: under system registers VFIQEn reads as one and VAckCtl as zero."""
        return self.control & ~ACK_CTL | FIQ_EN if self.sre else self.control

    @vmcr.setter
    def vmcr(self, value: int) -> None:
        value &= 0xF8FC_0000 | CONTROL
        self.control = value & ~ACK_CTL | FIQ_EN if self.sre else value

    def starts(self) -> None:
        """Both groups, by GICV_IAR; every priority."""
        self.store(Gicc.PMR, 0xFF)
        self.store(Gicc.CTLR, GROUP0 | GROUP1 | ACK_CTL)

    def split(self, on: bool) -> None:
        """EOImode."""
        control = self.load(Gicc.CTLR)
        self.store(Gicc.CTLR, control | EOI_MODE if on else control & ~EOI_MODE)

    def acknowledge(self) -> tuple[int, int] | None:
        """GICV_IAR: (intid, sender)."""
        iar = self.load(Gicc.IAR)
        return None if iar & 0x3FF >= 1020 else (iar & 0x3FF, iar >> 10 & 7)

    def end(self, intid: int) -> None:
        """GICV_EOIR, with what GICV_IAR gave."""
        self.store(Gicc.EOIR, self.iar.get(intid, intid))

    # ---- what orders the two sides

    def dsb(self) -> None:
        """The guest's stores have reached the interface; what EL2 wrote is shown, if it has taken effect."""
        self.stored = 2 if self.stored else 0
        self.written = 0 if self.written == 2 else self.written

    def isb(self) -> None:
        """What EL2 wrote has taken effect; its loads come after the stores that have reached the interface."""
        self.written = 2 if self.written else 0
        self.stored = 0 if self.stored == 2 else self.stored

    def read_by_el2(self) -> None:
        """Before a load of a system register."""
        assert not self.stored, "EL2 reads the virtual interface before a guest's store to GICV is seen: DSB, ISB"

    def write_by_el2(self) -> None:
        """At a store to one."""
        self.written = 0 if self.sre else 1

    def choose(self, value: int, hcr: int) -> None:
        """A store to ICC_SRE_EL1 (table 11-2: clear only where interrupts are routed to EL2)."""
        self.sre = value & 1 or int(self.fixed or hcr & OVERRIDES != OVERRIDES)

    # ---- GICV

    def load(self, offset: int) -> int:
        """A load of the guest's."""
        assert not self.sre, "the guest's CPU interface is not in memory"
        assert not self.written, "the guest goes on before what EL2 wrote is seen through GICV: ISB, DSB"
        if offset == Gicc.CTLR:
            return self.control & CONTROL
        if offset == Gicc.PMR:
            return self.control >> 24
        if offset in (Gicc.BPR, ABPR):
            return self.point(offset == ABPR)
        if offset == Gicc.RPR:
            return self.running_priority()
        if offset in (Gicc.IAR, AIAR):
            return self.taken(offset == AIAR)
        assert offset in (HPPIR, AHPPIR)
        found = self.highest()
        return SPURIOUS if found is None else self.visible(found, offset == AHPPIR)

    def store(self, offset: int, value: int) -> None:
        """A store of the guest's."""
        assert not self.sre, "the guest's CPU interface is not in memory"
        self.stored = 1
        if offset == Gicc.CTLR:
            self.control = self.control & ~CONTROL | value & CONTROL
        elif offset == Gicc.PMR:
            self.control = self.control & 0x00FF_FFFF | (value & 0xF8) << 24
        elif offset in (Gicc.BPR, ABPR):
            at = 18 if offset == ABPR else 21
            self.control = self.control & ~(7 << at) | (value & 7) << at
        else:
            assert offset in (Gicc.EOIR, AEOIR)
            self.ended(value)

    def point(self, group1: bool) -> int:
        """GICV_BPR or GICV_ABPR, not below what five bits allow."""
        return max(self.control >> 18 & 7, 3) if group1 else max(self.control >> 21 & 7, 2)

    def level(self, priority: int, group1: bool) -> int:
        """The part of a priority that preempts."""
        shift = self.point(True) if group1 and not self.control & CBPR else self.point(False) + 1
        return priority >> shift << shift

    def running_priority(self) -> int:
        """GICV_RPR."""
        active = self.ap[0] | self.ap[1]
        return ((active & -active).bit_length() - 1) << 3 if active else IDLE

    def highest(self) -> int | None:
        """The list register with the most urgent pending interrupt of a group that is on."""
        on = [i for i, value in enumerate(self.ich) if value & (PENDING | ACTIVE) == PENDING and self.control & (GROUP1 if value & OF_GROUP1 else GROUP0)]
        return min(on, key=lambda i: (self.ich[i] >> 48 & 0xFF, i), default=None)

    def visible(self, index: int, alias: bool) -> int:
        """Its INTID, with the sender of an SGI; or that the other register has it."""
        value = self.ich[index]
        if alias and not value & OF_GROUP1:
            return SPURIOUS
        if not alias and value & OF_GROUP1 and not self.control & ACK_CTL:
            return SPURIOUS_GROUP1
        return value & (0x3FF if value & HW else 0x1FFF)

    def taken(self, alias: bool) -> int:
        """GICV_IAR or GICV_AIAR."""
        index = self.highest()
        if index is None or not self.hcr & EN:
            return SPURIOUS
        priority, group1 = self.ich[index] >> 48 & 0xFF, bool(self.ich[index] & OF_GROUP1)
        if priority >= self.control >> 24 or self.level(priority, group1) >= self.running_priority():
            return SPURIOUS
        iar = self.visible(index, alias)
        if iar < 1020 or iar > SPURIOUS:
            self.ich[index] = self.ich[index] & ~PENDING | ACTIVE
            self.ap[group1] |= 1 << (self.level(priority, group1) >> 3)
            self.iar[iar & 0x3FF] = iar
            self.stored = 1
        return iar

    def ended(self, iar: int) -> None:
        """GICV_EOIR or GICV_AEOIR. An interrupt that no list register has is counted, in either mode."""
        active = self.ap[0] | self.ap[1]
        if not active:
            return
        drop = active & -active
        if self.ap[0] & drop:
            self.ap[0] &= ~drop
        else:
            self.ap[1] &= ~drop
        for i, value in enumerate(self.ich):
            if value & ACTIVE and value & (0x3FF if value & HW else 0x1FFF) == iar:
                if not self.control & EOI_MODE:
                    self.ich[i] = value & ~ACTIVE
                    self.deactivated += [value >> 32 & 0x3FF] if value & HW else []
                return
        self.hcr = self.hcr + COUNT & 0xFFFF_FFFF

    def signals(self) -> str:
        """What the CPU is told: "irq", "fiq" or nothing."""
        index = self.highest()
        if index is None or not self.hcr & EN:
            return ""
        priority, group1 = self.ich[index] >> 48 & 0xFF, bool(self.ich[index] & OF_GROUP1)
        if priority >= self.control >> 24 or self.level(priority, group1) >= self.running_priority():
            return ""
        return "irq" if group1 or not self.vmcr & FIQ_EN else "fiq"


class LegacyRegisters(SystemRegisters):
    """EL2's view of the interface of the CPU that the test plays."""

    def __init__(self, bus: object) -> None:
        super().__init__(bus)  # type: ignore[arg-type]
        dict.__setitem__(self, "hcr_el2", OVERRIDES)
        BARRIERS[0] = self

    @property
    def interface(self) -> LegacyInterface:
        """This CPU's."""
        found = self.bus.current
        assert isinstance(found, LegacyInterface)
        return found

    def get(self, name: str, default: int = 0) -> int:  # type: ignore[override]
        here = self.interface
        if name == "icc_sre_el1":
            return 6 | here.sre
        if name == "ich_vtr_el2":
            return 4 << 29 | 4 << 26 | TDS | len(here.ich) - 1
        if not name.startswith("ich_"):
            return dict.get(self, name, default)
        here.read_by_el2()
        if name.startswith("ich_lr"):
            return here.ich[int(name[6:-4])]
        if name in ("ich_ap0r0_el2", "ich_ap1r0_el2"):
            return here.ap[int(name[6])]
        return {"ich_hcr_el2": here.hcr, "ich_vmcr_el2": here.vmcr, "ich_elrsr_el2": here.empty_status(), "ich_eisr_el2": here.ended_status()}[name]

    def __setitem__(self, name: str, value: int) -> None:
        here = self.interface
        if name == "icc_sre_el1":
            here.choose(value, self.get("hcr_el2"))
        elif not name.startswith("ich_"):
            super().__setitem__(name, value)
        else:
            here.write_by_el2()
            if name.startswith("ich_lr"):
                assert value & HW or not value >> 32 & 0x1DFF, f"reserved bits of a list register are set: {value:#x}"
                here.ich[int(name[6:-4])] = value
            elif name in ("ich_ap0r0_el2", "ich_ap1r0_el2"):
                here.ap[int(name[6])] = value
            elif name == "ich_hcr_el2":
                here.hcr = value
            else:
                assert name == "ich_vmcr_el2"
                here.vmcr = value


BARRIERS: list[LegacyRegisters | None] = [None]


def data_sync_all() -> None:
    """DSB, on the CPU that the test plays."""
    if BARRIERS[0] is not None and isinstance(BARRIERS[0].bus.current, LegacyInterface):
        BARRIERS[0].interface.dsb()


def instruction_sync() -> None:
    """ISB."""
    if BARRIERS[0] is not None and isinstance(BARRIERS[0].bus.current, LegacyInterface):
        BARRIERS[0].interface.isb()


instructions.data_sync_all.py = data_sync_all  # before any function is rendered
instructions.instruction_sync.py = instruction_sync
KINDS[V2_ON_V3] = (LegacyInterface, LegacyRegisters)
