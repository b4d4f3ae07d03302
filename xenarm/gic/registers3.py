"""GICv3 registers as data (ARM IHI 0069): distributor and redistributor offsets where they differ from a GICv2's, system registers."""

from collections.abc import Callable
from typing import Any

from freestanding import Bits, bits, fn, operation, u32, u64

from xenarm.arm64.registers import MODEL, Reader, Writer, reader, writer

__all__ = ["Gicd3", "GicdControl", "Gicr", "GicrType", "GicrWaker", "IccControl", "IccSgi", "IchControl", "IchType", "Typer3", "sgi_target"]


class Gicd3:
    """Distributor offsets (table 12-25); those of `Gicd` hold too."""

    IROUTER = 0x6000
    PIDR2 = 0xFFE8
    ID = 0xFFD0
    SIZE = 0x1_0000


class Gicr:
    """Redistributor offsets (tables 12-27 and 12-29): RD_base, then SGI_base, 64 KiB each."""

    CTLR = 0x0000
    IIDR = 0x0004
    TYPER = 0x0008
    STATUSR = 0x0010
    WAKER = 0x0014
    PIDR0 = 0xFFE0
    PIDR2 = 0xFFE8
    ID = 0xFFD0
    SGI_BASE = 0x1_0000
    FRAME = 0x2_0000  # of GICv3; GICv4 has two more pages of 64 KiB for virtual LPIs


class GicdControl(Bits, type=u32):
    """GICD_CTLR as the non-secure side sees it, and as where there is a single security state."""

    ENABLE_LOW: bool = bits(0)  # group 1 without affinity routing; group 0 with a single security state
    ENABLE_GROUP1: bool = bits(1)
    ARE: bool = bits(4)
    DS: bool = bits(6)  # a single security state
    RWP: bool = bits(31)  # a write has not taken effect everywhere


class Typer3(Bits, type=u32):
    """GICD_TYPER."""

    IT_LINES: u32 = bits(4, 0)
    ID_BITS: u32 = bits(23, 19)  # less one
    A3V: bool = bits(24)
    NO_1N: bool = bits(25)  # IROUTER names one PE, always
    RSS: bool = bits(26)  # SGIs reach affinity 0 beyond 15


class GicrType(Bits, type=u64):
    """GICR_TYPER."""

    VLPIS: bool = bits(1)
    LAST: bool = bits(4)
    NUMBER: u32 = bits(23, 8)
    AFFINITY: u32 = bits(63, 32)  # 8 bits for each level, level 0 lowest


class GicrWaker(Bits, type=u32):
    """GICR_WAKER."""

    PROCESSOR_SLEEP: bool = bits(1)
    CHILDREN_ASLEEP: bool = bits(2)


class IccControl(Bits, type=u64):
    """ICC_CTLR_EL1."""

    CBPR: bool = bits(0)
    EOIMODE: bool = bits(1)
    PRIORITY_BITS: u32 = bits(10, 8)  # less one
    ID_BITS: u32 = bits(13, 11)
    SEIS: bool = bits(14)
    A3V: bool = bits(15)
    RSS: bool = bits(18)


class IccSgi(Bits, type=u64):
    """ICC_SGI1R_EL1, ICC_ASGI1R_EL1 and ICC_SGI0R_EL1."""

    TARGETS: u32 = bits(15, 0)
    AFF1: u32 = bits(23, 16)
    INTID: u32 = bits(27, 24)
    AFF2: u32 = bits(39, 32)
    IRM: bool = bits(40)  # to all but the sender
    RS: u32 = bits(47, 44)  # which sixteen of affinity 0
    AFF3: u32 = bits(55, 48)


@fn
def sgi_target(affinity: u32) -> u64:
    """What names a CPU alone in `IccSgi`, by its affinities as GICR_TYPER has them."""
    a = u64(affinity)
    return u64(1) << (a & 15) | (a & 0xF0) << 40 | (a & 0xFF00) << 8 | (a & 0xFF_0000) << 16 | (a & 0xFF00_0000) << 24


class IchType(Bits, type=u64):
    """ICH_VTR_EL2."""

    LIST_REGS: u32 = bits(4, 0)  # less one
    TDS: bool = bits(19)  # ICC_DIR_EL1 can be trapped alone
    A3V: bool = bits(21)
    SEIS: bool = bits(22)
    ID_BITS: u32 = bits(25, 23)
    PREEMPTION: u32 = bits(28, 26)  # bits of priority that preempt, less one
    PRIORITY_BITS: u32 = bits(31, 29)  # less one


class IchControl(Bits, type=u64):
    """ICH_HCR_EL2 beyond `GichControl`."""

    TC: bool = bits(10)  # ICC_CTLR, ICC_DIR, ICC_PMR, ICC_RPR and the SGI registers trap
    TDIR: bool = bits(14)  # ICC_DIR_EL1 traps


read_icc_iar1: Reader = reader("icc_iar1_el1")
write_icc_eoir1: Writer = writer("icc_eoir1_el1")
write_icc_dir: Writer = writer("icc_dir_el1")
write_icc_pmr: Writer = writer("icc_pmr_el1")
write_icc_bpr1: Writer = writer("icc_bpr1_el1")
read_icc_ctlr: Reader = reader("icc_ctlr_el1")
write_icc_ctlr: Writer = writer("icc_ctlr_el1")
write_icc_igrpen1: Writer = writer("icc_igrpen1_el1")
write_icc_sgi1r: Writer = writer("icc_sgi1r_el1")
read_icc_sre_el1: Reader = reader("icc_sre_el1")
write_icc_sre_el1: Writer = writer("icc_sre_el1")
read_icc_sre_el2: Reader = reader("icc_sre_el2")
write_icc_sre_el2: Writer = writer("icc_sre_el2")
read_ich_vtr: Reader = reader("ich_vtr_el2")
read_ich_elrsr: Reader = reader("ich_elrsr_el2")
read_ich_eisr: Reader = reader("ich_eisr_el2")
read_ich_hcr: Reader = reader("ich_hcr_el2")
write_ich_hcr: Writer = writer("ich_hcr_el2")
read_ich_vmcr: Reader = reader("ich_vmcr_el2")
write_ich_vmcr: Writer = writer("ich_vmcr_el2")


def indexed(instruction: str, register: str, count: int, before: str) -> str:
    """One access to the register of a number, by a jump into a row of them. `before` leaves the number times 8 in x16."""
    rows = "\n".join(f"    {instruction.format(register.format(n))}\n    b 2f" for n in range(count))
    return f"{before}\n    adr x17, 1f\n    add x17, x17, x16\n    br x17\n1:\n{rows}\n2:"


def indexed_reader(name: str, register: str, count: int) -> Any:
    """The operation that reads one of a row of system registers: `(index: u32) -> u64`. `count` is a power of two; the index is taken modulo it."""

    def model(index: u32) -> u64:
        return u64(MODEL.get(register.format(int(index)), 0))

    model.__name__ = model.__qualname__ = name
    text = indexed("mrs {{ret}}, {}", register, count, f"ubfiz x16, {{index}}, #3, #{count.bit_length() - 1}")
    return operation(aarch64=text, clobbers=("x16", "x17", "no memory"))(model)


def indexed_writer(name: str, register: str, count: int) -> Any:
    """The same for writing: `(index: u32, value: u64) -> None`."""

    def model(index: u32, value: u64) -> None:
        MODEL[register.format(int(index))] = int(value)

    model.__name__ = model.__qualname__ = name
    text = indexed("msr {}, {{value}}", register, count, f"ubfiz x16, {{index}}, #3, #{count.bit_length() - 1}")
    return operation(aarch64=text, clobbers=("x16", "x17"))(model)


IndexedReader = Callable[[u32], u64]
IndexedWriter = Callable[[u32, u64], None]
read_ich_lr: IndexedReader = indexed_reader("read_ich_lr", "ich_lr{}_el2", 16)
write_ich_lr: IndexedWriter = indexed_writer("write_ich_lr", "ich_lr{}_el2", 16)
read_ich_ap0r: IndexedReader = indexed_reader("read_ich_ap0r", "ich_ap0r{}_el2", 4)
write_ich_ap0r: IndexedWriter = indexed_writer("write_ich_ap0r", "ich_ap0r{}_el2", 4)
read_ich_ap1r: IndexedReader = indexed_reader("read_ich_ap1r", "ich_ap1r{}_el2", 4)
write_ich_ap1r: IndexedWriter = indexed_writer("write_ich_ap1r", "ich_ap1r{}_el2", 4)
