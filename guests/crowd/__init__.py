"""Many CPUs: starts all that its tree has, sends them software-generated interrupts in every way that a GICv3 has, and counts what came where.

Prints `crowd <check> ok`, with how long it took, or what it found instead, then `crowd end` and how many checks were good and bad.
"""

import guests.runtime.head
import guests.runtime.interrupts  # noqa: F401
from freestanding import export, fn, u64
from guests.crowd.checks import check_interrupts, check_power
from guests.crowd.members import member_main
from guests.crowd.report import REPORT
from guests.runtime.console import console_init, printk
from guests.runtime.cpu import counter, interrupts_on
from guests.runtime.gic import GIC, gic_enable, gic_init
from guests.runtime.interrupts import SGI_PING
from guests.runtime.link import LINKER_SCRIPT
from guests.runtime.machine import FDT, MACHINE, machine_init
from guests.runtime.psci import psci_init, psci_system_off
from xenarm.core.result import Result
from xenarm.devicetree.reader import FdtError

__all__ = ["LINKER_SCRIPT", "guest_main", "guest_secondary"]


@export("guest_main")
def guest_main(tree: u64, image: u64) -> None:
    """Entry of the first CPU. Does not return."""
    if machine_init(tree, image) == FdtError.NONE:
        psci_init(FDT)
        console_init(FDT)
        if gic_init(FDT) != Result.OK or not GIC.v3:
            printk(f"crowd needs a GICv3")
        else:
            gic_enable(SGI_PING)
            interrupts_on()
            printk(f"crowd of {MACHINE.cpus:d} CPUs, {GIC.regions:d} regions of redistributors")
            REPORT.since = counter()
            if check_power():
                check_interrupts()
            printk(f"crowd end, {REPORT.good:d} good, {REPORT.bad:d} bad")
    psci_system_off()


@export("guest_secondary")
def guest_secondary(number: u64) -> None:
    """Entry of the others."""
    member_main(number)
