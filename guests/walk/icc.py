"""A GICv3's CPU interface by its registers, in either state: AArch64's names, and in AArch32 the same numbers in CP15 (IHI 0069 12.5, 12.7); and ISR."""

from collections.abc import Callable

from freestanding import operation, u64

__all__ = ["Reader", "Writer", "icc_reader", "icc_writer", "read_isr", "write_icc_sgi1r"]

Reader = Callable[[], u64]
Writer = Callable[[u64], None]

REGISTERS = {
    "icc_pmr_el1": (4, 6, 0),
    "icc_iar0_el1": (12, 8, 0),
    "icc_eoir0_el1": (12, 8, 1),
    "icc_hppir0_el1": (12, 8, 2),
    "icc_bpr0_el1": (12, 8, 3),
    "icc_dir_el1": (12, 11, 1),
    "icc_rpr_el1": (12, 11, 3),
    "icc_iar1_el1": (12, 12, 0),
    "icc_eoir1_el1": (12, 12, 1),
    "icc_hppir1_el1": (12, 12, 2),
    "icc_bpr1_el1": (12, 12, 3),
    "icc_ctlr_el1": (12, 12, 4),
    "icc_sre_el1": (12, 12, 5),
    "icc_igrpen0_el1": (12, 12, 6),
    "icc_igrpen1_el1": (12, 12, 7),
    "isr_el1": (12, 1, 0),
}
"""CRn, CRm, op2; op1 is 0."""


def number(register: str) -> str:
    crn, crm, op2 = REGISTERS[register]
    return f"c{crn}, c{crm}, {op2}"


def icc_reader(register: str) -> Reader:
    def model() -> u64:
        return u64(0)

    model.__name__ = model.__qualname__ = f"walk_read_{register}"
    armv7 = f"mrc p15, 0, {{ret:lo}}, {number(register)}\n    mov {{ret:hi}}, #0"
    read: Reader = operation(aarch64=f"mrs {{ret}}, {register}", armv7=armv7)(model)
    return read


def icc_writer(register: str) -> Writer:
    def model(value: u64) -> None:
        return None

    model.__name__ = model.__qualname__ = f"walk_write_{register}"
    write: Writer = operation(aarch64=f"msr {register}, {{value}}", armv7=f"mcr p15, 0, {{value:lo}}, {number(register)}")(model)
    return write


read_isr = icc_reader("isr_el1")


@operation(aarch64="msr icc_sgi1r_el1, {value}", armv7="mcrr p15, 0, {value:lo}, {value:hi}, c12")
def write_icc_sgi1r(value: u64) -> None:
    return None
