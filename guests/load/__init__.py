"""The load guest: uses its CPUs in one way between two instants of the counter, measures what it got, says so and powers off.

Bootargs: `mode=`, a row of MODES; `from=` and `until=` in ms of the counter, which all guests of a machine share; `work=`, `period=`, `sleep=`
and `frame=` in us; `lives=` and `seed=` of the mode `lives`, and of `floods`, which does all floods in turn. Work is counted in blocks of BLOCK instructions: under -icount a share of the CPU is a share of the blocks.
"""

from collections.abc import Callable

import guests.runtime.head
import guests.runtime.interrupts  # noqa: F401
from freestanding import Struct, View, export, fn, table, u8, u32, u64
from guests.load.floods import flood_all, flood_console, flood_distributor, flood_hypercalls, flood_psci
from guests.load.lives import begin_life, run_lives
from guests.load.meter import METERS, PLAN, calibrate, finished, load_block, meter_report, plan_init, tight_block
from guests.load.patterns import run_blocks, run_dozing, run_jobs
from guests.runtime.arguments import argument_is, bootargs
from guests.runtime.console import console_init, printk
from guests.runtime.gic import gic_cpu_init, gic_init
from guests.runtime.link import LINKER_SCRIPT
from guests.runtime.machine import FDT, MACHINE, machine_init, secondary_entry
from guests.runtime.psci import psci_cpu_on, psci_init, psci_system_off
from xenarm.devicetree.reader import FdtError

__all__ = ["LINKER_SCRIPT", "guest_main", "guest_secondary"]


class Mode(Struct, frozen=True):
    """A way to use a CPU; `run` returns when the time is over."""

    name: View[u8]
    run: Callable[[u32], None]


MODES = table(
    Mode,
    [
        Mode(b"spin", run_blocks(load_block)),
        Mode(b"masked", run_blocks(tight_block)),
        Mode(b"doze", run_dozing),
        Mode(b"jobs", run_jobs),
        Mode(b"console", run_blocks(flood_console)),
        Mode(b"vgic", run_blocks(flood_distributor)),
        Mode(b"psci", run_blocks(flood_psci)),
        Mode(b"hypercalls", run_blocks(flood_hypercalls)),
        Mode(b"floods", run_blocks(flood_all)),
        Mode(b"lives", run_lives),
    ],
)


@fn
def run(cpu: u32) -> None:
    """Interrupts stay masked all the time: whoever waits looks for them."""
    for mode in MODES:
        if argument_is(bootargs(FDT), b"mode=", mode.name):
            mode.run(cpu)
    METERS[cpu].done.store_release(1)


@export("guest_main")
def guest_main(tree: u64, image: u64) -> None:
    """Entry of the first CPU. Does not return."""
    if machine_init(tree, image) == FdtError.NONE:
        psci_init(FDT)
        console_init(FDT)
        _ = gic_init(FDT)
        plan_init(FDT)
        if PLAN.lives == 0:
            calibrate()
        begin_life()
        for cpu in range(1, MACHINE.cpus):
            _ = psci_cpu_on(MACHINE.mpidr[cpu], secondary_entry(), u64(cpu))
        run(0)
        while not finished():
            load_block()
        for cpu in range(MACHINE.cpus):
            meter_report(cpu)
        printk(f"load: end of life {PLAN.life:d}")
    psci_system_off()


@export("guest_secondary")
def guest_secondary(number: u64) -> None:
    """Entry of the others. Does not return."""
    gic_cpu_init()
    run(u32(number & 7))
    while True:
        load_block()
