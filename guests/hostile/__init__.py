"""The hostile guest: does, from a seed, everything that a guest can do to a hypervisor, so many operations long, and then ends its domain.

Bootargs: `seed=N operations=N again=N`. The same seed gives each vCPU the same sequence; with `again` the domain restarts, so many times, and goes
on with the next seed. The other vCPUs attack as well, turn themselves off at random
moments, and are turned on again.
"""

import guests.runtime.head
import guests.runtime.interrupts  # noqa: F401
from freestanding import Atomic, Struct, array, atomic, export, fn, u32, u64, zeroed
from guests.hostile.attacks import attack
from guests.hostile.places import arm_timer, places_init
from guests.runtime.dice import dice_seed, draw_below
from guests.runtime.engine import FLOATING_POINT, Values, engine_init, engine_slot, engine_vectors
from guests.runtime.arguments import argument_number, bootargs
from guests.runtime.console import console_init, printk
from guests.runtime.gic import gic_cpu_init, gic_init
from guests.runtime.link import LINKER_SCRIPT, MAX_CPUS
from guests.runtime.lives import life_begin
from guests.runtime.machine import FDT, MACHINE, machine_init
from guests.runtime.psci import psci_affinity_info, psci_hvc, psci_init, psci_system_off, psci_system_reset
from xenarm.abi.psci import PSCI_BASE, PsciFunction
from xenarm.core.result import Result
from xenarm.devicetree.reader import FdtError

__all__ = ["FLOATING_POINT", "LINKER_SCRIPT", "guest_main", "guest_secondary"]

OPERATIONS = 10_000
LONGEST_LIFE = 400
REPORTS = 4
OFF = 1



class Peace(Struct):
    """Not 0: the first CPU has done its part, and the others end."""

    made: Atomic[u32] = atomic(u32)


PEACE = zeroed(Peace)
VALUES = array(Values, MAX_CPUS)


@fn
def fight(cpu: u32, operations: u64) -> None:
    values = VALUES[cpu]
    slot = engine_slot(cpu)
    for _ in range(operations):
        if PEACE.made.load_acquire() != 0:
            return
        attack(cpu, values)
        slot.done += 1


@fn
def make_peace() -> None:
    """Wait until the other CPUs are off: what they would write goes through the same port."""
    PEACE.made.store_release(u32(1))
    for n in range(MACHINE.cpus):
        while n != 0 and psci_affinity_info(MACHINE.mpidr[n]) != OFF:
            pass


@export("guest_main")
def guest_main(tree: u64, image: u64) -> None:
    """Entry of the first CPU. Does not return."""
    if machine_init(tree, image) == FdtError.NONE:
        psci_init(FDT)
        console_init(FDT)
        text = bootargs(FDT)
        if gic_init(FDT) == Result.OK:
            life = life_begin()
            play(argument_number(text, b"seed=", 1) + life, argument_number(text, b"operations=", OPERATIONS))
            if life < argument_number(text, b"again=", 0):
                psci_system_reset()
    psci_system_off()


@fn
def play(seed: u64, operations: u64) -> None:
    printk(f"hostile: seed {seed:d}, {operations:d} operations")
    places_init()
    engine_init()
    engine_vectors()
    for n in range(MACHINE.cpus):
        dice_seed(n, seed * 16 + u64(n))
    for report in range(u32(REPORTS)):
        fight(0, operations // REPORTS)
        printk(f"")
        printk(f"hostile: {report + 1} of {u32(REPORTS)}")
    make_peace()
    printk(f"")
    summary(seed)


@fn
def summary(seed: u64) -> None:
    done = u64(0)
    exceptions = u64(0)
    interrupts = u64(0)
    for n in range(MACHINE.cpus):
        slot = engine_slot(n)
        done += slot.done
        exceptions += slot.exceptions
        interrupts += slot.interrupts
    printk(f"hostile: end of seed {seed:d}, {done:d} operations, {exceptions:d} exceptions, {interrupts:d} interrupts")


@export("guest_secondary")
def guest_secondary(number: u64) -> None:
    """Entry of the others: a short life, and off. The sequence goes on where the last life ended."""
    cpu = u32(number & 7)
    engine_vectors()
    gic_cpu_init()
    fight(cpu, u64(draw_below(cpu, LONGEST_LIFE)))
    arm_timer(cpu)  # with the distributor on: the others may sleep
    psci_hvc(PSCI_BASE + PsciFunction.CPU_OFF, 0, 0, 0)
