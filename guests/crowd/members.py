"""The other CPUs: up, ready for interrupts, asleep; one of them sends to all others when it is asked to."""

from freestanding import Array, Atomic, Struct, array, atomic, fn, u32, u64, zeroed
from guests.runtime.cpu import counter, interrupts_off, interrupts_on
from guests.runtime.gic import gic_cpu_init, gic_enable, gic_own_target, gic_send_others
from guests.runtime.interrupts import INTERRUPTS, SGI_PING
from guests.runtime.link import MAX_CPUS
from guests.runtime.machine import MACHINE
from guests.runtime.registers import read_cntfrq_el0
from xenarm.arm.instructions import cpu_relax, wait_for_interrupt

__all__ = ["CROWD", "member_main", "members_have", "members_up", "patience_ends"]

SECONDS_OF_PATIENCE = 60
NOBODY = 0


class Member(Struct):
    """`target`: what names it to the GIC, 0 until it has come up."""

    target: Atomic[u64] = atomic(u64)


class Crowd(Struct):
    """`sender`: the CPU that is to send to all others once it is interrupted."""

    sender: Atomic[u64] = atomic(u64)
    member: Array[Member] = array(Member, MAX_CPUS)


CROWD = zeroed(Crowd)


@fn
def member_main(number: u64) -> None:
    """Another CPU, for good. Whether it is to send is looked at with interrupts masked, so that none comes between that and its sleep."""
    gic_cpu_init()
    gic_enable(SGI_PING)
    CROWD.member[number].target.store_release(gic_own_target())
    while True:
        interrupts_off()
        if CROWD.sender.load_acquire() == number:
            CROWD.sender.store(NOBODY)
            gic_send_others(SGI_PING)
        wait_for_interrupt()
        interrupts_on()


@fn
def patience_ends() -> u64:
    return counter() + read_cntfrq_el0() * SECONDS_OF_PATIENCE


@fn
def members_up() -> u32:
    """Wait until all are up; the first that is not, or how many CPUs there are."""
    limit = patience_ends()
    for number in range(u32(1), MACHINE.cpus):
        while CROWD.member[number].target.load_acquire() == 0:
            if counter() > limit:
                return number
            cpu_relax()
    return MACHINE.cpus


@fn
def pings_of(number: u32, limit: u64, count: u32) -> u32:
    """Wait until a CPU has counted so many interrupts; how many it has."""
    while INTERRUPTS.pings[number] < count and counter() <= limit:
        cpu_relax()
    return INTERRUPTS.pings[number]


@fn
def members_have(own: u32, count: u32) -> tuple[u32, u32]:
    """Wait until this CPU has counted `own` interrupts and every other one `count`: (one that has another number, or the first; its number)."""
    limit = patience_ends()
    for number in range(u32(1), MACHINE.cpus):
        pings_of(number, limit, count)
    for number in range(u32(1), MACHINE.cpus):
        if INTERRUPTS.pings[number] != count:
            return number, INTERRUPTS.pings[number]
    return 0, pings_of(0, limit, own)
