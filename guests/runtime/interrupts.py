"""What a guest does on an exception: interrupts by number, with their counts; faults end it with one line."""

from freestanding import Array, Struct, array, export, fn, u32, u64, zeroed
from guests.runtime.console import CONSOLE, console_receive, printk
from guests.runtime.cpu import cpu_number
from guests.runtime.gic import gic_acknowledge, gic_end, intid_of
from guests.runtime.link import MAX_CPUS
from guests.runtime.psci import psci_system_off
from guests.runtime.timer import TIMER, timer_tick
from guests.runtime.registers import failed_check

__all__ = ["INTERRUPTS", "SGI_PING", "Interrupts"]

SGI_PING = 1
INTIDS = 1020


class Interrupts(Struct):
    """How often each interrupt came, on any CPU (exact for the first CPU's own and for `pings`, each CPU's SGI_PING)."""

    count: Array[u32] = array(u32, INTIDS)
    spurious: u32
    shared_cpu: u32  # who has had the last shared one that is nobody's here
    pings: Array[u32] = array(u32, MAX_CPUS)
    faulted: bool  # a fault has been told: a second one, in telling it, is not


INTERRUPTS = zeroed(Interrupts)


@fn
def dispatch(intid: u32) -> None:
    if intid == TIMER.intid:
        timer_tick()
    elif intid == CONSOLE.intid:
        console_receive()
    elif intid == SGI_PING:
        INTERRUPTS.pings[cpu_number()] += 1
    elif intid >= 32:
        INTERRUPTS.shared_cpu = cpu_number()


@export("guest_interrupt")
def guest_interrupt() -> None:
    """From the vectors, interrupts masked."""
    iar = gic_acknowledge()
    real, intid = intid_of(iar)
    if not real:
        INTERRUPTS.spurious += 1
        return
    INTERRUPTS.count[intid] += 1
    dispatch(intid)
    gic_end(iar)


@export("guest_fault")
def guest_fault(vector: u64, esr: u64, elr: u64, far: u64) -> None:
    """From the vectors: a guest's fault is its end. The compiler's `lines` command knows the source of ELR."""
    if not INTERRUPTS.faulted:
        INTERRUPTS.faulted = True
        if failed_check(vector, esr):
            printk(f"guest: a check failed at {elr:#x}: 'python -m freestanding lines' on this guest's .elf tells which")
        else:
            printk(f"guest: fault by vector {vector:d}: ESR {esr:#x} ELR {elr:#x} FAR {far:#x}")
    psci_system_off()
