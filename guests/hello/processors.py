"""The guest's other CPUs: started by PSCI CPU_ON, and asked for a sign of life by a software-generated interrupt."""

from freestanding import Array, Atomic, Struct, array, atomic, fn, u32, u64, zeroed
from guests.runtime.console import printk
from guests.runtime.cpu import counter, interrupts_on
from guests.runtime.gic import gic_cpu_init, gic_enable, gic_own_target, gic_send
from guests.runtime.interrupts import INTERRUPTS, SGI_PING
from guests.runtime.link import MAX_CPUS
from guests.runtime.machine import MACHINE, secondary_entry
from guests.runtime.psci import psci_affinity_info, psci_cpu_on
from xenarm.arm.instructions import cpu_relax, wait_for_interrupt
from guests.runtime.registers import read_cntfrq_el0

__all__ = ["secondary_main", "show_processors"]

AFFINITY_ON = 0
SECONDS_OF_PATIENCE = 1


class Processor(Struct):
    """`target`: what names it to the GIC, 0 until it has come up."""

    target: Atomic[u64] = atomic(u64)


class Processors(Struct):
    cpu: Array[Processor] = array(Processor, MAX_CPUS)


CPUS = zeroed(Processors)


@fn
def secondary_main(number: u64) -> None:
    """Another CPU: ready for interrupts, then asleep for good."""
    gic_cpu_init()
    gic_enable(SGI_PING)
    CPUS.cpu[number].target.store_release(gic_own_target())
    interrupts_on()
    while True:
        wait_for_interrupt()


@fn
def came_up(number: u32) -> bool:
    limit = counter() + read_cntfrq_el0() * SECONDS_OF_PATIENCE
    while CPUS.cpu[number].target.load_acquire() == 0:
        if counter() > limit:
            return False
        cpu_relax()
    return True


@fn
def answer(number: u32) -> tuple[bool, u64]:
    """Interrupt a CPU and wait until it has counted that; (in time, steps of the counter)."""
    before = INTERRUPTS.pings[number]
    start = counter()
    limit = start + read_cntfrq_el0() * SECONDS_OF_PATIENCE
    gic_send(CPUS.cpu[number].target.load(), SGI_PING)
    while INTERRUPTS.pings[number] == before:
        if counter() > limit:
            return False, 0
        cpu_relax()
    return True, counter() - start


@fn
def show_processor(number: u32) -> None:
    mpidr = MACHINE.mpidr[number]
    if psci_affinity_info(mpidr) != AFFINITY_ON:
        status = psci_cpu_on(mpidr, secondary_entry(), u64(number))
        if status != 0:
            printk(f"cpu {number:d}     MPIDR {mpidr:#x}: CPU_ON refused, {status:#x}")
            return
    if not came_up(number):
        printk(f"cpu {number:d}     MPIDR {mpidr:#x}: does not come up")
        return
    heard, steps = answer(number)
    if heard:
        printk(f"cpu {number:d}     MPIDR {mpidr:#x}: on, answers an interrupt in {steps * 1_000_000 // read_cntfrq_el0():d} us")
    else:
        printk(f"cpu {number:d}     MPIDR {mpidr:#x}: on, does not answer")


@fn
def show_processors() -> None:
    """Start every CPU that is off, and see whether each answers."""
    printk(f"cpu 0     MPIDR {MACHINE.mpidr[0]:#x}: this one")
    for number in range(u32(1), MACHINE.cpus):
        show_processor(number)
