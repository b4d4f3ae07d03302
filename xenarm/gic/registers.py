"""GICv2 registers as data (ARM IHI 0048B): offsets of the distributor, CPU interface and virtual interface control, and their fields."""

from freestanding import Bits, bits, u8, u32

__all__ = [
    "INTID_MASK",
    "INTID_SPURIOUS",
    "Gicc",
    "GiccControl",
    "Gicd",
    "Gich",
    "GichControl",
    "GichMachineControl",
    "GichType",
    "ListRegister",
    "LrState",
    "Sgir",
    "Typer",
]

INTID_MASK = 0x3FF
INTID_SPURIOUS = 1020  # this and above: no interrupt, or none that this CPU may have


class Gicd:
    """Distributor offsets (table 4-1)."""

    CTLR = 0x000
    TYPER = 0x004
    IIDR = 0x008
    IGROUPR = 0x080
    ISENABLER = 0x100
    ICENABLER = 0x180
    ISPENDR = 0x200
    ICPENDR = 0x280
    ISACTIVER = 0x300
    ICACTIVER = 0x380
    IPRIORITYR = 0x400
    ITARGETSR = 0x800
    ICFGR = 0xC00
    NSACR = 0xE00
    SGIR = 0xF00
    CPENDSGIR = 0xF10
    SPENDSGIR = 0xF20
    ID = 0xFD0
    SIZE = 0x1000


class Gicc:
    """CPU interface offsets (table 4-2)."""

    CTLR = 0x0000
    PMR = 0x0004
    BPR = 0x0008
    IAR = 0x000C
    EOIR = 0x0010
    RPR = 0x0014
    APR0 = 0x00D0
    IIDR = 0x00FC
    DIR = 0x1000


class Gich:
    """Virtual interface control offsets (table 5-3)."""

    HCR = 0x000
    VTR = 0x004
    VMCR = 0x008
    MISR = 0x010
    EISR0 = 0x020
    ELRSR0 = 0x030
    APR = 0x0F0
    LR0 = 0x100


class GiccControl(Bits, type=u32):
    """GICC_CTLR as the non-secure side, or a GIC without the security extensions, sees it."""

    ENABLE: bool = bits(0)
    EOIMODE: bool = bits(9)  # EOIR drops the priority only, DIR deactivates


class GichControl(Bits, type=u32):
    """GICH_HCR."""

    EN: bool = bits(0)
    UIE: bool = bits(1)  # underflow: none or one list register is in use
    LRENPIE: bool = bits(2)  # EOI_COUNT is not 0
    NPIE: bool = bits(3)  # no list register is pending
    GROUP0_ON: bool = bits(4)  # VGrp0EIE: the guest's interface takes group 0
    GROUP0_OFF: bool = bits(5)  # VGrp0DIE: it does not
    GROUP1_ON: bool = bits(6)
    GROUP1_OFF: bool = bits(7)
    EOI_COUNT: u32 = bits(31, 27)  # ends of what no list register holds


class GichMachineControl(Bits, type=u32):
    """GICH_VMCR, and in the same places ICH_VMCR_EL2: what the guest has stored to its CPU interface."""

    GROUP0: bool = bits(0)  # GICC_CTLR.EnableGrp0, ICC_IGRPEN0_EL1
    GROUP1: bool = bits(1)
    SPLIT_ENDS: bool = bits(9)  # GICC_CTLR.EOImode


class GichType(Bits, type=u32):
    """GICH_VTR."""

    LIST_REGS: u32 = bits(5, 0)  # less one


class ListRegister(Bits, type=u32):
    """GICH_LRn."""

    VIRTUAL_ID: u32 = bits(9, 0)
    CPUID: u32 = bits(12, 10)  # of the sender, for an SGI without HW
    EOI: bool = bits(19)  # maintenance interrupt when the guest ends it, without HW
    PRIORITY: u32 = bits(27, 23)
    PENDING: bool = bits(28)
    ACTIVE: bool = bits(29)
    GROUP1: bool = bits(30)
    HW: bool = bits(31)


class LrState:
    """Both state bits of a list register, and single ones."""

    PENDING = int(ListRegister(PENDING=True))
    ACTIVE = int(ListRegister(ACTIVE=True))
    MASK = PENDING | ACTIVE
    EOI = int(ListRegister(EOI=True))
    GROUP1 = int(ListRegister(GROUP1=True))
    HW = int(ListRegister(HW=True))


class Typer(Bits, type=u32):
    """GICD_TYPER."""

    IT_LINES: u32 = bits(4, 0)
    CPU_NUMBER: u32 = bits(7, 5)
    SECURITY_EXTN: bool = bits(10)


class Sgir(Bits, type=u32):
    """GICD_SGIR."""

    SGI: u32 = bits(3, 0)
    NSATT: bool = bits(15)
    TARGETS: u8 = bits(23, 16)
    FILTER: u32 = bits(25, 24)  # 0: the list, 1: all but self, 2: self


SGIR_TARGETS_SHIFT = 16
"""Where GICD_SGIR has its list of CPU interfaces."""
