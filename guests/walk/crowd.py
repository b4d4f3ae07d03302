"""More interrupts acknowledged at once than a virtual interface has list registers: nested ones, and with split ends any number of them."""

from freestanding import View, fn, table, u8, u32, u64
from guests.walk.interface import (
    acknowledge,
    active_of,
    deactivate,
    drop,
    highest,
    interface_start,
    line_setup,
    reset_interrupts,
    running,
    send_self,
    set_line,
    signals,
    split_ends,
    state_of,
)
from guests.walk.report import say1, say2, say3, say4, section
from guests.walk.rules import finish
from xenarm.gic.registers import Gicd

__all__ = ["walk_crowd"]

SPI = 40
DEEP = 10
STEP = 0x10
OUTERMOST = 0xE0
LEAST_URGENT = 60  # pending all the time
MANY = 12
STRIDE = 5  # without a common divisor with MANY
MIXED = table(u32, [3, 22, 41, 5, 20, 43, 9, 45])
INTID = 0x3FF


@fn
def pend(intid: u32) -> None:
    if intid < 16:
        send_self(intid)
    else:
        set_line(Gicd.ISPENDR, intid)


@fn
def set_up(intid: u32, priority: u32, group: u32) -> None:
    line_setup(intid, priority, group)
    pend(intid)


# ---- nested -------------------------------------------------------------------------------------------------------------


@fn
def nest(name: View[u8], group: u32) -> None:
    """Each preempts the one before, with a less urgent one pending all the time."""
    set_up(LEAST_URGENT, 0xF0, group)
    for n in range(u32(DEEP)):
        set_up(SPI + n, OUTERMOST - n * STEP, group)
        say4(name, u64(signals()), u64(acknowledge(group)), u64(running()), u64(active_of(SPI)))
        say3(name, u64(signals()), u64(highest(group)), u64(acknowledge(group)))


@fn
def unwind(name: View[u8], group: u32) -> None:
    for n in range(u32(DEEP)):
        drop(group, SPI + DEEP - 1 - n)
        say4(name, u64(running()), u64(active_of(SPI)), u64(signals()), u64(highest(group)))
    say3(name, u64(finish(group)), u64(finish(group)), u64(active_of(SPI)))


@fn
def walk_nest(name: View[u8], group: u32) -> None:
    nest(name, group)
    unwind(name, group)


@fn
def walk_nest_again(group: u32) -> None:
    """While all are active: the outermost is pending again, as is one in the middle; the last two end, and are nested anew."""
    nest(b"nest-again", group)
    pend(SPI)
    pend(SPI + DEEP // 2)
    say3(b"nest-again", u64(state_of(SPI)), u64(state_of(SPI + DEEP // 2)), u64(acknowledge(group)))
    for _ in range(2):
        drop(group, SPI + DEEP - 1)
        drop(group, SPI + DEEP - 2)
        say2(b"nest-again", u64(running()), u64(active_of(SPI)))
        pend(SPI + DEEP - 2)
        say2(b"nest-again", u64(acknowledge(group)), u64(active_of(SPI)))
        pend(SPI + DEEP - 1)
        say2(b"nest-again", u64(acknowledge(group)), u64(active_of(SPI)))
    for n in range(u32(DEEP)):
        drop(group, SPI + DEEP - 1 - n)
        say3(b"nest-again", u64(running()), u64(active_of(SPI)), u64(highest(group)))
    for _ in range(3):
        say1(b"nest-again", u64(finish(group)))
    say2(b"nest-again", u64(finish(group)), u64(active_of(SPI)))


@fn
def walk_nest_mixed() -> None:
    """SGIs, PPIs and SPIs."""
    for n, intid in enumerate(MIXED):
        set_up(intid, OUTERMOST - u32(n) * STEP, 1)
        say4(b"nest-mixed", u64(acknowledge(1) & INTID), u64(running()), u64(active_of(0)), u64(active_of(SPI)))
    for done in range(len(MIXED)):
        inner = MIXED[len(MIXED) - 1 - done]
        pend(inner)
        say1(b"nest-mixed", u64(state_of(inner)))
        drop(1, inner)
        say3(b"nest-mixed", u64(state_of(inner)), u64(acknowledge(1) & INTID), u64(running()))
        drop(1, inner)
        say3(b"nest-mixed", u64(running()), u64(active_of(0)), u64(active_of(SPI)))


# ---- split ends ---------------------------------------------------------------------------------------------------------


@fn
def take_many() -> None:
    """All pending first, each acknowledged and dropped, none deactivated."""
    for n in range(u32(MANY)):
        set_up(SPI + n, 0x80 + n * 8, 1)
    for _ in range(MANY):
        iar = acknowledge(1)
        drop(1, iar)
        say4(b"many", u64(iar), u64(running()), u64(active_of(SPI)), u64(highest(1)))
    say2(b"many", u64(acknowledge(1)), u64(signals()))


@fn
def walk_many() -> None:
    split_ends(True)
    take_many()
    for n in range(u32(MANY)):
        intid = SPI + n * STRIDE % MANY
        pend(intid)
        say2(b"many", u64(state_of(intid)), u64(acknowledge(1)))
        deactivate(intid)
        say3(b"many", u64(state_of(intid)), u64(active_of(SPI)), u64(signals()))
        again = acknowledge(1)
        drop(1, again)
        deactivate(again)
        say3(b"many", u64(again), u64(state_of(intid)), u64(active_of(SPI)))
    split_ends(False)


@fn
def walk_many_by_stores() -> None:
    """Deactivated by ICACTIVER; and active by ISACTIVER, pending or not."""
    split_ends(True)
    take_many()
    for n in range(u32(MANY)):
        intid = SPI + n * STRIDE % MANY
        set_line(Gicd.ICACTIVER, intid)
        say2(b"many-stores", u64(state_of(intid)), u64(active_of(SPI)))
    for n in range(u32(MANY)):
        if n & 1 != 0:
            pend(SPI + n)
        set_line(Gicd.ISACTIVER, SPI + n)
    say3(b"many-stores", u64(active_of(SPI)), u64(signals()), u64(acknowledge(1)))
    for n in range(u32(MANY)):
        deactivate(SPI + n)
        say4(b"many-stores", u64(state_of(SPI + n)), u64(active_of(SPI)), u64(signals()), u64(highest(1)))
        iar = acknowledge(1)
        drop(1, iar)
        deactivate(iar)
    split_ends(False)
    say2(b"many-stores", u64(acknowledge(1)), u64(active_of(SPI)))


@fn
def walk_many_and_nest() -> None:
    """As many active by split ends, and then some nested above them, whose ends deactivate."""
    split_ends(True)
    take_many()
    split_ends(False)
    for n in range(u32(4)):
        set_up(LEAST_URGENT - n, 0x60 - n * STEP, 1)
        say2(b"many-nest", u64(acknowledge(1)), u64(running()))
    for n in range(u32(4)):
        drop(1, LEAST_URGENT - 3 + n)
        say3(b"many-nest", u64(running()), u64(state_of(LEAST_URGENT - 3 + n)), u64(active_of(SPI)))
    set_line(Gicd.ICACTIVER, SPI)
    say2(b"many-nest", u64(state_of(SPI)), u64(acknowledge(1)))
    reset_interrupts()
    say2(b"many-nest", u64(active_of(SPI)), u64(acknowledge(1)))


@fn
def walk_crowd() -> None:
    """Nothing is pending or active before or after."""
    section(b"crowd")
    interface_start()
    walk_nest(b"nest", 1)
    walk_nest(b"nest-group0", 0)
    walk_nest_again(1)
    walk_nest_mixed()
    walk_many()
    walk_many_by_stores()
    walk_many_and_nest()
    say2(b"nothing", u64(acknowledge(0)), u64(acknowledge(1)))
    reset_interrupts()
