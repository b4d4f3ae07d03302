"""How the probing guest says what it found."""

from freestanding import Struct, View, fn, u8, u32, u64, zeroed
from guests.runtime.console import printk

__all__ = ["REPORT", "expect", "expect_true"]


class Report(Struct):
    good: u32
    bad: u32


REPORT = zeroed(Report)


@fn
def expect(name: View[u8], found: u64, wanted: u64) -> None:
    """One line for each check."""
    if found == wanted:
        REPORT.good += 1
        printk(f"probe {name} ok")
    else:
        REPORT.bad += 1
        printk(f"probe {name} BAD: found {found:#x}, wanted {wanted:#x}")


@fn
def expect_true(name: View[u8], found: bool) -> None:
    expect(name, u64(1) if found else u64(0), 1)
