"""The rules between CPUs: SGIs to each target list and to all others, shared interrupts that move, states that another CPU sees and changes.

The others do one thing at a time that CPU 0 asks for. What has come to one is known once it has taken SGI_FENCE, sent after everything else
and less urgent than all: nothing waits for time to pass.
"""

from freestanding import Array, Atomic, Struct, View, array, atomic, fn, table, u8, u32, u64, zeroed
from guests.runtime.cpu import counter, cpu_number
from guests.runtime.gic import GIC, gic_redistributor, gic_route, gic_sgi_value, gic_store_sgi
from guests.runtime.link import MAX_CPUS
from guests.runtime.machine import MACHINE, secondary_entry
from guests.runtime.psci import psci_cpu_on
from guests.runtime.registers import read_cntfrq_el0
from guests.walk.access import vectors_own
from guests.walk.interface import (
    BOTH,
    acknowledge,
    distributor_groups,
    drop,
    interface_start,
    line_setup,
    priority_mask,
    reset_interrupts,
    set_line,
    state_of,
    target,
)
from guests.walk.registers import peek, poke
from guests.walk.report import say1, say2, say3, say4, section
from xenarm.arm.instructions import cpu_relax
from xenarm.gic.registers import Gicd
from xenarm.gic.registers3 import Gicr

__all__ = ["processor_serve", "walk_processors"]

SGI_FENCE = 15
FENCE_PRIORITY = 0xF0
PRIORITY = 0x80
SPI = 40
PPI = 22
GROUP = 1
INTID = 0x3FF
NONE = 1020
NOBODY = table(u64, [16, 32, 48, 44])  # where ICC_SGI1R_EL1 has affinities 1, 2 and 3, and the range selector
SECONDS = 20
SECONDS_FOR_ONE = 3
NOTHING = 0  # orders
COLLECT = 1
ACKNOWLEDGE = 2
DROP = 3
MASK = 4
STATE = 5
SEND = 6
SETUP = 7


class Processor(Struct):
    """`target` is what names the CPU to the GIC, 0 until it serves; `order` is taken when it becomes NOTHING again."""

    target: Atomic[u64] = atomic(u64)
    order: Atomic[u32] = atomic(u32)
    operand: u64
    answer: u64


class Processors(Struct):
    cpu: Array[Processor] = array(Processor, MAX_CPUS)


CPUS = zeroed(Processors)


# ---- the others -------------------------------------------------------------------------------------------------------


@fn
def collect() -> u64:
    """Take and end until the fence comes: what came before it, the first in the upper bits; or all ones when it does not come in time."""
    found = u64(0)
    limit = counter() + SECONDS * read_cntfrq_el0()
    while counter() < limit:
        iar = acknowledge(GROUP)
        if iar & INTID >= NONE:
            cpu_relax()
            continue
        drop(GROUP, iar)
        if iar & INTID == SGI_FENCE:
            return found
        found = found << 10 | u64(iar & 0x3F | (iar >> 10 & 7) << 6) | 1 << 9
    return ~u64(0)


@fn
def own_setup() -> None:
    """All SGIs and a PPI; the fence is less urgent."""
    for sgi in range(u32(SGI_FENCE)):
        line_setup(sgi, PRIORITY, GROUP)
    line_setup(SGI_FENCE, FENCE_PRIORITY, GROUP)
    line_setup(PPI, PRIORITY, GROUP)


@fn
def obey(order: u32, operand: u64) -> u64:
    if order == COLLECT:
        return collect()
    if order == ACKNOWLEDGE:
        return u64(acknowledge(GROUP))
    if order == DROP:
        drop(GROUP, u32(operand))
    elif order == MASK:
        priority_mask(u32(operand))
    elif order == STATE:
        return u64(state_of(u32(operand)))
    elif order == SEND:
        gic_store_sgi(operand)
    elif order == SETUP:
        line_setup(u32(operand), PRIORITY, GROUP)
    return 0


@fn
def processor_serve() -> None:
    """Another CPU, for good."""
    vectors_own()
    interface_start()
    own_setup()
    me = CPUS.cpu[cpu_number()]
    me.target.store_release(target() | 1 << 63)
    while True:
        order = me.order.load_acquire()
        if order != NOTHING:
            me.answer = obey(order, me.operand)
            me.order.store_release(NOTHING)
        cpu_relax()


# ---- CPU 0 ------------------------------------------------------------------------------------------------------------


@fn
def told(n: u32) -> u64:
    """Wait for a CPU's answer; all ones when there is none in time."""
    limit = counter() + 2 * SECONDS * read_cntfrq_el0()
    while CPUS.cpu[n].order.load_acquire() != NOTHING:
        if counter() > limit:
            return ~u64(0)
        cpu_relax()
    return CPUS.cpu[n].answer


@fn
def ask(n: u32, order: u32, operand: u64 = 0) -> u64:
    CPUS.cpu[n].operand = operand
    CPUS.cpu[n].order.store_release(order)
    return told(n)


@fn
def name_of(n: u32) -> u64:
    return CPUS.cpu[n].target.load() & ~(u64(1) << 63)


@fn
def came_to(n: u32) -> u64:
    """What has come to a CPU, this one too."""
    gic_store_sgi(gic_sgi_value(name_of(n), SGI_FENCE))
    return collect() if n == cpu_number() else ask(n, COLLECT)


@fn
def say_all(name: View[u8], which: u64) -> None:
    """What has come to each of four CPUs, or of two."""
    say1(name, which)
    for n in range(MACHINE.cpus):
        say2(name, u64(n), came_to(n))


@fn
def start_others() -> bool:
    CPUS.cpu[0].target.store(target() | 1 << 63)
    for n in range(u32(1), MACHINE.cpus):
        if psci_cpu_on(MACHINE.mpidr[n], secondary_entry(), u64(n)) != 0:
            return False
        limit = counter() + SECONDS * read_cntfrq_el0()
        while CPUS.cpu[n].target.load_acquire() == 0:
            if counter() > limit:
                return False
            cpu_relax()
    return True


# ---- SGIs -------------------------------------------------------------------------------------------------------------


@fn
def sgi_value(targets: u32, sgi: u32) -> u64:
    """For the first CPUs of a mask."""
    return u64(targets) | u64(sgi) << 24 if GIC.v3 else u64(targets) << 16 | u64(sgi)


@fn
def walk_target_lists() -> None:
    for targets in range((u32(1) << MACHINE.cpus)):
        gic_store_sgi(sgi_value(targets, targets & 7))
        say_all(b"sgi-list", u64(targets))


@fn
def walk_others() -> None:
    """To all but the sender, whatever the list says; of a GICv2 also by the filter that is reserved."""
    gic_store_sgi(u64(1) << 40 | u64(5) << 24 | 3 if GIC.v3 else u64(1 << 24 | 3 << 16 | 5))
    say_all(b"sgi-others", 0)
    if GIC.v3:
        ask(1, SEND, u64(1) << 40 | u64(6) << 24)
    else:
        ask(1, SEND, u64(1 << 24 | 6))
    say_all(b"sgi-others", 1)
    if not GIC.v3:
        gic_store_sgi(u64(2 << 24 | 0xFF << 16 | 7))
        say_all(b"sgi-self", 2)


@fn
def walk_affinities() -> None:
    """Affinities 1, 2 and 3, and a range selector, that no CPU has."""
    for shift in NOBODY:
        gic_store_sgi(u64(1) << shift | u64(4) << 24 | 0xF)
        say_all(b"sgi-nobody", shift)


@fn
def walk_senders() -> None:
    """The same SGI from two CPUs: of a GICv2 it comes once from each, in no order that the architecture says."""
    last = MACHINE.cpus - 1
    ask(last, SEND, sgi_value(1, 3))
    ask(1, SEND, sgi_value(1, 3))
    ask(1, SEND, sgi_value(1, 3))
    gic_store_sgi(sgi_value(1, 3))
    gic_store_sgi(gic_sgi_value(name_of(0), SGI_FENCE))
    senders = u32(0)
    count = u32(0)
    for _ in range(u32(MAX_CPUS)):
        iar = acknowledge(GROUP)
        drop(GROUP, iar)
        if iar & INTID != 3:
            break
        senders |= u32(1) << (iar >> 10 & 7)
        count += 1
    say2(b"sgi-senders", u64(senders), u64(count))


# ---- shared interrupts ------------------------------------------------------------------------------------------------


@fn
def pend(intid: u32) -> None:
    set_line(Gicd.ISPENDR, intid)


@fn
def aim(n: u32) -> None:
    line_setup(SPI, PRIORITY, GROUP)
    gic_route(SPI, name_of(n))


@fn
def say_takers(name: View[u8], which: u64) -> None:
    """Who takes the shared interrupt, a bit for each CPU, and that it comes to none again. QEMU's GICv2 loses some of them: the wait is short."""
    takers = u32(0)
    limit = counter() + SECONDS_FOR_ONE * read_cntfrq_el0()
    while takers == 0 and counter() < limit:
        for n in range(MACHINE.cpus):
            iar = u64(acknowledge(GROUP)) if n == 0 else ask(n, ACKNOWLEDGE)
            if iar & INTID < NONE:
                takers |= u32(1) << n
                if n == 0:
                    drop(GROUP, u32(iar))
                else:
                    ask(n, DROP, iar)
    say2(name, which, u64(takers))
    say_all(name, which)


@fn
def walk_routes() -> None:
    """To each CPU; pending at one that masks it, it goes to the next that it is aimed at; and back."""
    for n in range(MACHINE.cpus):
        aim(n)
        pend(SPI)
        say_takers(b"spi-to", u64(n))
    aim(1)
    ask(1, MASK, 0)
    pend(SPI)
    say1(b"spi-moves", u64(state_of(SPI)))
    gic_route(SPI, name_of(0))
    ask(1, MASK, 0xF8)
    say_takers(b"spi-moves", 0)
    aim(0)
    priority_mask(0)
    pend(SPI)
    gic_route(SPI, name_of(1))
    priority_mask(0xF8)
    say_takers(b"spi-moves", 1)


@fn
def walk_active_elsewhere() -> None:
    """Active at one CPU and aimed at another: it does not come there before its end."""
    aim(1)
    pend(SPI)
    iar = taken_by(1)
    say2(b"active-elsewhere", iar, u64(state_of(SPI)))
    say1(b"active-elsewhere", ask(1, STATE, SPI))
    gic_route(SPI, name_of(0))
    pend(SPI)
    say2(b"active-elsewhere", u64(state_of(SPI)), came_to(0))
    ask(1, DROP, iar)
    say_takers(b"active-elsewhere", 0)


@fn
def taken_by(n: u32) -> u64:
    """What a CPU acknowledges, once there is something."""
    limit = counter() + SECONDS * read_cntfrq_el0()
    while counter() < limit:
        iar = ask(n, ACKNOWLEDGE)
        if iar & INTID < NONE:
            return iar
    return ~u64(0)


@fn
def walk_cleared_elsewhere() -> None:
    """Another CPU's active or pending interrupt is taken back by a store here."""
    aim(1)
    pend(SPI)
    iar = taken_by(1)
    set_line(Gicd.ICACTIVER, SPI)
    say1(b"cleared-elsewhere", u64(state_of(SPI)))
    ask(1, DROP, iar)
    pend(SPI)
    say_takers(b"cleared-elsewhere", 0)
    ask(1, MASK, 0)
    pend(SPI)
    set_line(Gicd.ICPENDR, SPI)
    say1(b"cleared-elsewhere", u64(state_of(SPI)))
    ask(1, MASK, 0xF8)
    say_all(b"cleared-elsewhere", 1)
    ask(1, MASK, 0)
    pend(SPI)
    set_line(Gicd.ICENABLER, SPI)
    ask(1, MASK, 0xF8)
    say_all(b"disabled-elsewhere", u64(state_of(SPI)))
    set_line(Gicd.ISENABLER, SPI)
    say_takers(b"disabled-elsewhere", 1)


@fn
def walk_several_targets() -> None:
    """Of a GICv2: aimed at the last two, it comes to one of them."""
    line_setup(SPI, PRIORITY, GROUP)
    gic_route(SPI, name_of(MACHINE.cpus - 1) | name_of(MACHINE.cpus - 2))
    pend(SPI)
    say_takers(b"several-targets", 0)


# ---- another CPU's redistributor --------------------------------------------------------------------------------------


@fn
def walk_anothers_redistributor() -> None:
    """What is stored in it comes to its CPU; what is pending and active there is seen here."""
    sgi = gic_redistributor(MACHINE.mpidr[1]) + Gicr.SGI_BASE
    poke(sgi + Gicd.ISPENDR, 1 << PPI | 1 << 2)
    say_all(b"anothers-pending", 0)
    poke(sgi + Gicd.ICENABLER, 1 << PPI)
    poke(sgi + Gicd.ISPENDR, 1 << PPI)
    say2(b"anothers-off", came_to(1), u64(peek(sgi + Gicd.ISPENDR)))
    poke(sgi + Gicd.ISENABLER, 1 << PPI)
    say2(b"anothers-on", came_to(1), u64(peek(sgi + Gicd.ISPENDR)))
    poke(sgi + Gicd.ISPENDR, 1 << PPI)
    iar = taken_by(1)
    say3(b"anothers-active", iar, u64(peek(sgi + Gicd.ISACTIVER)), u64(peek(sgi + Gicd.ISPENDR)))
    ask(1, DROP, iar)
    say2(b"anothers-ended", u64(peek(sgi + Gicd.ISACTIVER)), u64(peek(sgi + Gicd.ISPENDR)))
    poke(sgi + Gicd.ISPENDR, 1 << 2)
    iar = taken_by(1)
    poke(sgi + Gicd.ICACTIVER, 1 << 2)
    ask(1, DROP, iar)
    gic_store_sgi(sgi_value(2, 2))
    say4(b"anothers-cleared", iar, came_to(1), u64(peek(sgi + Gicd.ISACTIVER)), u64(peek(sgi + Gicd.ISPENDR)))


@fn
def walk_processors() -> None:
    section(b"processors")
    interface_start()
    reset_interrupts()
    distributor_groups(BOTH)
    own_setup()
    if not start_others():
        say1(b"others", 0)
        return
    walk_target_lists()
    walk_others()
    walk_senders()
    if GIC.v3:
        walk_affinities()
    walk_routes()
    walk_active_elsewhere()
    walk_cleared_elsewhere()
    if GIC.v3:
        walk_anothers_redistributor()
    else:
        walk_several_targets()
