"""The guest that walks the whole of its interrupt controller: `walk <name> <values>` for every register, size of access and rule, then `walk end`.

It judges nothing: what it says on a machine without a hypervisor is compared with what it says as a domain. Interrupts stay masked at the CPU.
"""

import guests.runtime.interrupts  # noqa: F401
from freestanding import export, fn, u64
from guests.runtime.console import console_init, printk
from guests.runtime.gic import GIC, HAS_V3, gic_find
from guests.runtime.link import LINKER_SCRIPT
from guests.runtime.machine import FDT, MACHINE, machine_init
from guests.runtime.psci import psci_init, psci_system_off
from guests.walk.access import vectors_own
from guests.walk.crowd import walk_crowd
from guests.walk.gicv2 import walk_registers_v2, walk_sizes_v2
from guests.walk.gicv3 import walk_registers_v3, walk_sizes_v3
from guests.walk.gicv3_cpu import walk_interface_v3
from guests.walk.processors import processor_serve, walk_processors
from guests.walk.rules import walk_rules
from xenarm.core.result import Result
from xenarm.devicetree.reader import FdtError

__all__ = ["LINKER_SCRIPT", "guest_main", "guest_secondary"]


@fn
def walk_all() -> None:
    if HAS_V3 and GIC.v3:
        walk_registers_v3()
        walk_sizes_v3()
        walk_interface_v3()
    else:
        walk_registers_v2()
        walk_sizes_v2()
    walk_rules()
    walk_crowd()
    walk_processors()


@export("guest_main")
def guest_main(tree: u64, image: u64) -> None:
    """Entry of the first CPU. Does not return."""
    vectors_own()
    if machine_init(tree, image) == FdtError.NONE:
        psci_init(FDT)
        console_init(FDT)
        if gic_find(FDT) == Result.OK:
            printk(f"walk begins, {MACHINE.cpus} CPUs")
            walk_all()
            printk(f"walk end")
    psci_system_off()


@export("guest_secondary")
def guest_secondary(number: u64) -> None:
    """Entry of the others."""
    processor_serve()
