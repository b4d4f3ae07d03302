"""How the guest says what it found."""

from freestanding import Struct, View, fn, u8, u32, u64, zeroed
from guests.runtime.console import printk
from guests.runtime.cpu import counter
from guests.runtime.registers import read_cntfrq_el0

__all__ = ["REPORT", "expect"]


class Report(Struct):
    """`since`: when the last line was said."""

    good: u32
    bad: u32
    since: u64


REPORT = zeroed(Report)


@fn
def expect(name: View[u8], cpu: u32, found: u64, wanted: u64) -> bool:
    """One line for each check, with how long it took. `cpu`: the one that it failed on, if it did."""
    now = counter()
    if found == wanted:
        REPORT.good += 1
        printk(f"crowd {name} ok, {(now - REPORT.since) * 1000 // read_cntfrq_el0():d} ms")
    else:
        REPORT.bad += 1
        printk(f"crowd {name} BAD: cpu {cpu:d}: found {found:#x}, wanted {wanted:#x}")
    REPORT.since = counter()
    return found == wanted
