"""The first guest: says hello, shows its machine, and answers a few typed commands."""

import guests.runtime.head
import guests.runtime.interrupts  # noqa: F401
from freestanding import export, fn, u64
from guests.hello.commands import run_line
from guests.hello.machine import show_chosen, show_cpu, show_devices, show_memory, show_timer, show_tree
from guests.hello.processors import secondary_main
from guests.runtime.console import CONSOLE, console_init, printk
from guests.runtime.cpu import interrupts_on
from guests.runtime.gic import gic_enable, gic_init
from guests.runtime.link import LINKER_SCRIPT
from guests.runtime.machine import FDT, machine_init
from guests.runtime.psci import psci_init, psci_system_off
from guests.runtime.timer import TIMER, timer_init
from xenarm.core.result import Result
from xenarm.devicetree.reader import FdtError

__all__ = ["LINKER_SCRIPT", "guest_main", "guest_secondary"]


@export("guest_main")
def guest_main(tree: u64, image: u64) -> None:
    """Entry of the first CPU. Does not return."""
    if machine_init(tree, image) != FdtError.NONE:
        psci_system_off()
    psci_init(FDT)
    console_init(FDT)
    printk(f"")
    printk(f"Hello from a guest at EL1, written in Python.")
    start_interrupts()
    introduce()
    while True:
        run_line()


@fn
def start_interrupts() -> None:
    if gic_init(FDT) != Result.OK:
        printk(f"no GICv2 in the device tree: no interrupts, so nothing can be typed")
        return
    timer_init(FDT)
    if TIMER.intid != 0:
        gic_enable(TIMER.intid)
    if CONSOLE.intid != 0:
        gic_enable(CONSOLE.intid)
    interrupts_on()


@fn
def introduce() -> None:
    show_chosen()
    show_cpu()
    show_memory()
    show_devices()
    show_tree()
    show_timer()
    printk(f"Type 'help' for what can be asked.")


@export("guest_secondary")
def guest_secondary(number: u64) -> None:
    """Entry of every other CPU. Does not return."""
    secondary_main(number)
