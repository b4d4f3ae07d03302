"""Several CPUs: turned on and off, SGIs between them, shared interrupts that move and are taken back.

The others serve: each polls its GIC's CPU interface and notes what it took, unless it is told to look away or to turn itself off.
"""

from freestanding import Array, Atomic, Struct, array, atomic, fn, u32, u64, zeroed
from guests.probe.interrupts import SPURIOUS, disable, enable_at, pend, take
from guests.probe.report import expect, expect_true
from guests.runtime.cpu import counter, cpu_number
from guests.runtime.gic import gic_cpu_init, gic_own_target, gic_send, gic_send_others
from guests.runtime.link import MAX_CPUS
from guests.runtime.machine import MACHINE, secondary_entry
from guests.runtime.psci import psci_affinity_info, psci_cpu_on, psci_hvc
from xenarm.abi.psci import PSCI_BASE, PsciFunction
from xenarm.arm.instructions import cpu_relax
from xenarm.arm64.registers import read_cntfrq_el0

__all__ = ["probe_flood", "probe_processors", "processor_main", "took", "took_soon"]

SERVE = 0
LOOK_AWAY = 1
TURN_OFF = 2
SPI = 40
ROUNDS = 8
NONE_YET = 0xFFFF_FFFF


class Processor(Struct):
    """`target` is what names the CPU to the GIC, 0 while it is off; `taken` has a bit for each INTID that it took."""

    target: Atomic[u64] = atomic(u64)
    order: Atomic[u32] = atomic(u32)
    obeyed: Atomic[u32] = atomic(u32)
    taken: Atomic[u64] = atomic(u64)


class Processors(Struct):
    cpu: Array[Processor] = array(Processor, MAX_CPUS)


CPUS = zeroed(Processors)


@fn
def processor_main(number: u64) -> None:
    """Entry of another CPU."""
    me = CPUS.cpu[number]
    gic_cpu_init()
    for sgi in range(u32(16)):
        enable_at(sgi, 0xA0, 0)
    me.taken.store(0)
    me.target.store_release(gic_own_target())
    while True:
        order = me.order.load_acquire()
        me.obeyed.store_release(order)
        if order == TURN_OFF:
            me.target.store_release(0)
            psci_hvc(PSCI_BASE + PsciFunction.CPU_OFF, 0, 0, 0)
        elif order == SERVE:
            intid = take()
            if intid != SPURIOUS:
                me.taken.fetch_or(u64(1) << (intid & 63))
        cpu_relax()


@fn
def deadline() -> u64:
    """Long: it passes only when something is lost, and an emulated machine may stand still for a second."""
    return counter() + 20 * read_cntfrq_el0()


@fn
def command(n: u32, order: u32) -> None:
    CPUS.cpu[n].order.store_release(order)
    limit = deadline()
    while CPUS.cpu[n].obeyed.load_acquire() != order and counter() < limit:
        cpu_relax()


@fn
def took(n: u32, intid: u32) -> bool:
    """Whether that CPU takes an interrupt in time."""
    limit = deadline()
    while counter() < limit:
        if CPUS.cpu[n].taken.load_acquire() >> intid & 1 != 0:
            CPUS.cpu[n].taken.fetch_and(~(u64(1) << intid))
            return True
        cpu_relax()
    return False


@fn
def turn_on(n: u32) -> bool:
    CPUS.cpu[n].order.store(SERVE)
    CPUS.cpu[n].obeyed.store(NONE_YET)
    if psci_cpu_on(MACHINE.mpidr[n], secondary_entry(), u64(n)) != 0:
        return False
    limit = deadline()
    while CPUS.cpu[n].target.load_acquire() == 0:
        if counter() > limit:
            return False
        cpu_relax()
    return True


@fn
def is_off(n: u32) -> bool:
    limit = deadline()
    while psci_affinity_info(MACHINE.mpidr[n]) != 1:
        if counter() > limit:
            return False
        cpu_relax()
    return True


@fn
def target(n: u32) -> u64:
    return CPUS.cpu[n].target.load()


@fn
def probe_power() -> None:
    for n in range(u32(1), MACHINE.cpus):
        expect(b"is-off", psci_affinity_info(MACHINE.mpidr[n]), 1)
        expect_true(b"comes-on", turn_on(n))
    for _ in range(ROUNDS):
        command(MACHINE.cpus - 1, TURN_OFF)
        expect_true(b"goes-off", is_off(MACHINE.cpus - 1))
        expect_true(b"comes-on-again", turn_on(MACHINE.cpus - 1))


@fn
def probe_messages() -> None:
    for n in range(u32(1), MACHINE.cpus):
        gic_send(target(n), n)
        expect_true(b"sgi-to-one", took(n, n))
    gic_send_others(9)
    for n in range(u32(1), MACHINE.cpus):
        expect_true(b"sgi-to-others", took(n, 9))
    expect(b"not-to-self", u64(take()), SPURIOUS)


@fn
def probe_moving() -> None:
    """A shared interrupt goes where its targets say; pending at a CPU that does not look, it can be taken back and moved."""
    for n in range(u32(1), MACHINE.cpus):
        enable_at(SPI, 0x80, target(n))
        pend(SPI)
        expect_true(b"spi-to-its-target", took(n, SPI))
    last = MACHINE.cpus - 1
    command(last, LOOK_AWAY)
    pend(SPI)
    disable(SPI)
    command(last, SERVE)
    expect_true(b"taken-back", not took_soon(last, SPI))
    enable_at(SPI, 0x80, gic_own_target())
    expect_true(b"moved-here", take_soon() == SPI)


@fn
def took_soon(n: u32, intid: u32) -> bool:
    limit = counter() + read_cntfrq_el0() // 50
    while counter() < limit:
        if CPUS.cpu[n].taken.load_acquire() >> intid & 1 != 0:
            return True
        cpu_relax()
    return False


@fn
def take_soon() -> u32:
    limit = deadline()
    while counter() < limit:
        intid = take()
        if intid != SPURIOUS:
            return intid
        cpu_relax()
    return SPURIOUS


@fn
def probe_flood() -> None:
    """Every CPU but this one is interrupted as fast as it goes; none is lost for good."""
    for i in range(u32(1000)):
        for n in range(u32(1), MACHINE.cpus):
            gic_send(target(n), i & 7)
    for n in range(u32(1), MACHINE.cpus):
        gic_send(target(n), 15)
        expect_true(b"alive-after-flood", took(n, 15))


@fn
def probe_processors() -> None:
    if MACHINE.cpus < 2 or cpu_number() != 0:
        return
    probe_power()
    probe_messages()
    probe_moving()
