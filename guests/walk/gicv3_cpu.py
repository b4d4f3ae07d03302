"""A GICv3's CPU interface: each ICC_* system register, read, written and read again; those that EL1 has not are undefined (ARM IHI 0069, 12.2)."""

from collections.abc import Callable
from typing import cast

from freestanding import Struct, View, fn, table, u8
from guests.runtime.console import printk
from guests.walk.access import guarded_reader, guarded_writer, skipped
from guests.walk.report import section

__all__ = ["walk_interface_v3"]

ALL = 0xFFFF_FFFF


class Row(Struct, frozen=True):
    walk: Callable[[], None]


def plain(register: str, encoding: str, all_ones: int = ALL) -> Row:
    """It is put back."""
    read, write = guarded_reader(register, encoding), guarded_writer(register, encoding)
    name = cast(View[u8], register.encode())

    @fn
    def walk() -> None:
        before = read()
        write(all_ones)
        ones = read()
        write(0)
        zeros = read()
        write(before)
        if skipped():
            printk(f"walk {name} undefined")
        else:
            printk(f"walk {name} {before:#x} {ones:#x} {zeros:#x}")

    return Row(walk)


def read_only(register: str, encoding: str) -> Row:
    read, write = guarded_reader(register, encoding), guarded_writer(register, encoding)
    name = cast(View[u8], register.encode())

    @fn
    def walk() -> None:
        value = read()
        unreadable = skipped()
        write(0)
        unwritable = skipped()
        printk(f"walk {name} {value:#x} {unreadable} {unwritable}")

    return Row(walk)


def write_only(register: str, encoding: str, value: int) -> Row:
    """`value` does nothing."""
    read, write = guarded_reader(register, encoding), guarded_writer(register, encoding)
    name = cast(View[u8], register.encode())

    @fn
    def walk() -> None:
        write(value)
        unwritable = skipped()
        _ = read()
        unreadable = skipped()
        printk(f"walk {name} {unreadable} {unwritable}")

    return Row(walk)


SPURIOUS = 1023
PLAIN = {"SRE": "C12_C12_5", "CTLR": "C12_C12_4", "PMR": "C4_C6_0", "BPR0": "C12_C8_3", "BPR1": "C12_C12_3", "IGRPEN0": "C12_C12_6", "IGRPEN1": "C12_C12_7"}
PLAIN |= {f"AP0R{n}": f"C12_C8_{4 + n}" for n in range(4)} | {f"AP1R{n}": f"C12_C9_{n}" for n in range(4)}
READ_ONLY = {"IAR0": "C12_C8_0", "IAR1": "C12_C12_0", "HPPIR0": "C12_C8_2", "HPPIR1": "C12_C12_2", "RPR": "C12_C11_3"}
WRITE_ONLY = {"EOIR0": "C12_C8_1", "EOIR1": "C12_C12_1", "DIR": "C12_C11_1", "SGI0R": "C12_C11_7", "SGI1R": "C12_C11_5", "ASGI1R": "C12_C11_6"}
OTHERS = {"SRE_EL2": "S3_4_C12_C9_5", "SRE_EL3": "S3_6_C12_C12_5", "CTLR_EL3": "S3_6_C12_C12_4", "IGRPEN1_EL3": "S3_6_C12_C12_7"}
OTHERS |= {"HCR_EL2": "S3_4_C12_C11_0", "VMCR_EL2": "S3_4_C12_C11_7", "LR0_EL2": "S3_4_C12_C12_0"}

ROWS = table(
    Row,
    [plain(name, f"S3_0_{encoding}", 7 if name.startswith("BPR") else ALL) for name, encoding in PLAIN.items()]
    + [read_only(name, f"S3_0_{encoding}") for name, encoding in READ_ONLY.items()]
    + [write_only(name, f"S3_0_{encoding}", SPURIOUS if "SGI" not in name else 0) for name, encoding in WRITE_ONLY.items()]
    + [plain(name, encoding) for name, encoding in OTHERS.items()],
)


@fn
def walk_interface_v3() -> None:
    section(b"interface")
    for row in ROWS:
        row.walk()
