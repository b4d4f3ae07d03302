"""The probing guest: uses the virtual hardware in every way, and prints `probe <name> ok` or what it found instead; then `probe end`.

Interrupts stay masked at the CPU and are taken by reading GICC_IAR, so that their order and number can be told exactly.
What comes before `probe section hypervisor` holds on a machine without one too. Last of all it reads where nothing is, which ends it.
"""

import guests.runtime.head
import guests.runtime.interrupts  # noqa: F401
from freestanding import export, fn, u64
from guests.probe.gicv3 import probe_gicv3, probe_gicv3_processors
from guests.probe.interrupts import probe_interrupts
from guests.probe.processors import probe_flood, probe_processors, processor_main
from guests.probe.registers import probe_calls, probe_registers
from guests.probe.report import REPORT
from guests.probe.timers import probe_timers
from guests.runtime.console import console_init, printk
from guests.runtime.gic import gic_init
from guests.runtime.link import LINKER_SCRIPT
from guests.runtime.machine import FDT, MACHINE, machine_init
from guests.runtime.psci import psci_init, psci_system_off
from xenarm.arm.instructions import mmio_read32
from xenarm.core.result import Result
from xenarm.devicetree.reader import FdtError

__all__ = ["LINKER_SCRIPT", "guest_main", "guest_secondary"]

NOTHING_THERE = 0x0800_0000  # below every device of Xen's guest memory map


@export("guest_main")
def guest_main(tree: u64, image: u64) -> None:
    """Entry of the first CPU. Does not return."""
    if machine_init(tree, image) == FdtError.NONE:
        psci_init(FDT)
        console_init(FDT)
        if gic_init(FDT) == Result.OK:
            printk(f"probe section interrupts")
            probe_interrupts()
            probe_gicv3()
            printk(f"probe section timers")
            probe_timers()
            if MACHINE.cpus > 1:
                printk(f"probe section processors")
                probe_processors()
                probe_gicv3_processors()
                probe_flood()
            printk(f"probe section hypervisor")
            probe_registers()
            probe_calls()
            printk(f"probe end, {REPORT.good} good, {REPORT.bad} bad")
            mmio_read32(NOTHING_THERE)
    psci_system_off()


@export("guest_secondary")
def guest_secondary(number: u64) -> None:
    """Entry of the others."""
    processor_main(number)
