"""The rules on one CPU: states, masks, preemption, groups, order, ends. Interrupts are taken by reading the acknowledge registers."""

from freestanding import View, fn, table, u8, u32, u64
from guests.walk.interface import (
    BOTH,
    acknowledge,
    binary_point,
    common_point,
    configure,
    deactivate,
    distributor_groups,
    drop,
    groups,
    highest,
    interface_start,
    line_setup,
    one_for_both,
    priority_mask,
    reset_interrupts,
    running,
    send_self,
    set_group,
    set_line,
    set_priority,
    signals,
    split_ends,
    state_of,
)
from guests.walk.report import say1, say2, say3, say4, section
from xenarm.gic.registers import Gicd

__all__ = ["finish", "walk_rules"]

SGI = 3
PPI = 22  # nobody's
SPI = 40
OTHER = 41
MIDDLE = 0x80
OUTER = 0xB8  # each binary point leaves something else of it
LEVELS = 32  # of priority, 8 apart
INTID = 0x3FF
NESTED = 4
CROWD = 20


@fn
def finish(group: u32) -> u32:
    """Acknowledge and end what is most urgent of a group: what was read."""
    iar = acknowledge(group)
    if iar & INTID < 1020:
        drop(group, iar)
    return iar


@fn
def pend(intid: u32) -> None:
    set_line(Gicd.ISPENDR, intid)


@fn
def rise(intid: u32) -> None:
    """Pending, an SGI by being sent."""
    if intid < 16:
        send_self(intid)
    else:
        pend(intid)


# ---- states -----------------------------------------------------------------------------------------------------------


@fn
def walk_states(name: View[u8], intid: u32, group: u32) -> None:
    """Pending, active, both, and back (IHI 0048B 3.2.4, IHI 0069 4.1.2)."""
    line_setup(intid, MIDDLE, group)
    say2(name, u64(state_of(intid)), u64(signals()))
    rise(intid)
    say4(name, u64(state_of(intid)), u64(signals()), u64(highest(0)), u64(highest(1)))
    iar = acknowledge(group)
    say4(name, u64(iar), u64(state_of(intid)), u64(signals()), u64(running()))
    rise(intid)
    say4(name, u64(state_of(intid)), u64(signals()), u64(highest(group)), u64(acknowledge(group)))
    drop(group, iar)
    say4(name, u64(state_of(intid)), u64(signals()), u64(highest(group)), u64(running()))
    say3(name, u64(finish(group)), u64(state_of(intid)), u64(finish(group)))
    rise(intid)
    rise(intid)
    say3(name, u64(finish(group)), u64(finish(group)), u64(state_of(intid)))


@fn
def walk_stores_of_state(name: View[u8], intid: u32, group: u32) -> None:
    """ICPENDR, ISACTIVER, ICACTIVER, ICENABLER while pending, active, both."""
    line_setup(intid, MIDDLE, group)
    pend(intid)
    set_line(Gicd.ICPENDR, intid)
    say3(name, u64(state_of(intid)), u64(signals()), u64(finish(group)))
    set_line(Gicd.ISACTIVER, intid)
    pend(intid)
    say3(name, u64(state_of(intid)), u64(signals()), u64(finish(group)))
    set_line(Gicd.ICACTIVER, intid)
    say4(name, u64(state_of(intid)), u64(signals()), u64(finish(group)), u64(state_of(intid)))
    pend(intid)
    iar = acknowledge(group)
    set_line(Gicd.ICENABLER, intid)
    say2(name, u64(state_of(intid)), u64(running()))
    pend(intid)
    drop(group, iar)
    say3(name, u64(state_of(intid)), u64(signals()), u64(finish(group)))
    set_line(Gicd.ISENABLER, intid)
    say3(name, u64(signals()), u64(finish(group)), u64(state_of(intid)))
    pend(intid)
    set_line(Gicd.ICENABLER, intid)
    say4(name, u64(state_of(intid)), u64(signals()), u64(highest(group)), u64(finish(group)))
    set_line(Gicd.ISENABLER, intid)
    say2(name, u64(finish(group)), u64(state_of(intid)))
    pend(intid)
    iar = acknowledge(group)
    pend(intid)
    set_line(Gicd.ICPENDR, intid)
    set_line(Gicd.ICACTIVER, intid)
    say2(name, u64(state_of(intid)), u64(running()))
    drop(group, iar)
    say3(name, u64(state_of(intid)), u64(running()), u64(finish(group)))


@fn
def walk_configuration() -> None:
    """ISPENDR of a level-sensitive one is a latch that its acknowledge clears; a change of what it is."""
    line_setup(SPI, MIDDLE, 1)
    configure(SPI, False)
    pend(SPI)
    say2(b"level-latch", u64(state_of(SPI)), u64(signals()))
    iar = acknowledge(1)
    say2(b"level-latch", u64(iar), u64(state_of(SPI)))
    pend(SPI)
    say1(b"level-latch", u64(state_of(SPI)))
    drop(1, iar)
    say3(b"level-latch", u64(finish(1)), u64(state_of(SPI)), u64(finish(1)))
    pend(SPI)
    set_line(Gicd.ICPENDR, SPI)
    say2(b"level-latch", u64(state_of(SPI)), u64(finish(1)))
    set_line(Gicd.ICENABLER, SPI)
    pend(SPI)
    configure(SPI, True)
    set_line(Gicd.ISENABLER, SPI)
    say2(b"reconfigured", u64(finish(1)), u64(state_of(SPI)))


# ---- priorities -------------------------------------------------------------------------------------------------------


@fn
def walk_masks(group: u32) -> None:
    """Which priority masks let one of middle priority through, and which priorities a middle mask lets through."""
    line_setup(SPI, MIDDLE, group)
    pend(SPI)
    through = u32(0)
    known = u32(0)
    for level in range(u32(LEVELS)):
        priority_mask(level * 8)
        through |= (u32(1) if signals() != 0 else u32(0)) << level
        known |= (u32(1) if highest(group) == SPI else u32(0)) << level
    priority_mask(0xF8)
    say3(b"mask", u64(through), u64(known), u64(finish(group)))
    through = 0
    priority_mask(MIDDLE)
    for level in range(u32(LEVELS)):
        line_setup(SPI, level * 8, group)
        pend(SPI)
        taken = acknowledge(group)
        if taken == SPI:
            through |= u32(1) << level
            drop(group, taken)
    priority_mask(0xF8)
    set_line(Gicd.ICPENDR, SPI)
    say1(b"mask", u64(through))


@fn
def preempting(group: u32) -> u32:
    """Which priorities preempt one of OUTER, a bit each."""
    line_setup(OTHER, OUTER, group)
    pend(OTHER)
    outer = acknowledge(group)
    found = u32(0)
    for level in range(u32(LEVELS)):
        line_setup(SPI, level * 8, group)
        pend(SPI)
        inner = acknowledge(group)
        if inner == SPI:
            found |= u32(1) << level
            drop(group, inner)
    set_line(Gicd.ICPENDR, SPI)
    drop(group, outer)
    return found


@fn
def walk_points() -> None:
    """Group priority by each binary point, of each group, and of group 1 by that of group 0."""
    for point in range(u32(2), u32(8)):
        binary_point(0, point)
        binary_point(1, max(point, 3))
        apart = preempting(1)
        own = preempting(0)
        binary_point(1, 3)
        common_point(True)
        say4(b"binary-point", u64(point), u64(own), u64(apart), u64(preempting(1)))
        common_point(False)
    binary_point(0, 2)
    binary_point(1, 3)


@fn
def walk_changed_priority() -> None:
    """Of a pending interrupt, the new one counts."""
    line_setup(SPI, MIDDLE, 1)
    line_setup(OTHER, 0x60, 1)
    pend(SPI)
    pend(OTHER)
    set_priority(SPI, 0x40)
    say1(b"changed-priority", u64(highest(1)))
    iar = acknowledge(1)
    say2(b"changed-priority", u64(iar), u64(running()))
    drop(1, iar)
    say2(b"changed-priority", u64(finish(1)), u64(finish(1)))
    line_setup(PPI, MIDDLE, 1)
    line_setup(OTHER, 0x60, 1)
    pend(PPI)
    pend(OTHER)
    set_priority(PPI, 0x40)
    say3(b"changed-priority", u64(finish(1)), u64(finish(1)), u64(finish(1)))


@fn
def walk_nesting(group: u32) -> None:
    """Each preempts the one before; then all end, and the running priority goes back."""
    for n in range(u32(NESTED)):
        line_setup(SPI + n, 0xC0 - n * 0x10, group)
        pend(SPI + n)
        say3(b"nested", u64(signals()), u64(acknowledge(group)), u64(running()))
    pend(SPI)
    say2(b"nested", u64(state_of(SPI)), u64(state_of(SPI + NESTED - 1)))
    for n in range(u32(NESTED)):
        drop(group, SPI + NESTED - 1 - n)
        say2(b"nested", u64(running()), u64(state_of(SPI + NESTED - 1 - n)))
    say2(b"nested", u64(finish(group)), u64(finish(group)))


@fn
def walk_order() -> None:
    """More than there are list registers, each more urgent than those that came before but two."""
    for n in range(u32(CROWD)):
        line_setup(SPI + n, 0xF0 - (n ^ 1) * 8, 1)
    for n in range(u32(CROWD)):
        pend(SPI + n)
    for _ in range(CROWD // 4):
        a, b, c = finish(1), finish(1), finish(1)
        say4(b"order", u64(a), u64(b), u64(c), u64(finish(1)))
    say1(b"order", u64(finish(1)))


@fn
def walk_equals() -> None:
    """Of the same priority, fewer than there are list registers."""
    for intid in MIXED:
        line_setup(intid, MIDDLE, 1)
    rise(OTHER)
    rise(PPI)
    rise(SPI)
    rise(SGI)
    a, b, c = finish(1), finish(1), finish(1)
    say4(b"equals", u64(a), u64(b), u64(c), u64(finish(1)))


MIXED = table(u32, [SGI, PPI, SPI, OTHER])


# ---- ends -------------------------------------------------------------------------------------------------------------


@fn
def walk_split_ends(intid: u32, group: u32) -> None:
    line_setup(intid, MIDDLE, group)
    split_ends(True)
    rise(intid)
    iar = acknowledge(group)
    say3(b"split", u64(iar), u64(running()), u64(state_of(intid)))
    drop(group, iar)
    say3(b"split", u64(running()), u64(state_of(intid)), u64(signals()))
    rise(intid)
    say3(b"split", u64(state_of(intid)), u64(signals()), u64(acknowledge(group)))
    deactivate(iar)
    say3(b"split", u64(state_of(intid)), u64(signals()), u64(running()))
    iar = acknowledge(group)
    drop(group, iar)
    deactivate(iar)
    say3(b"split", u64(iar), u64(state_of(intid)), u64(running()))
    split_ends(False)


@fn
def walk_many_active() -> None:
    """More active at once than there are list registers, deactivated in another order; then all can come again."""
    split_ends(True)
    for n in range(u32(NESTED)):
        line_setup(SPI + n, MIDDLE, 1)
        pend(SPI + n)
        iar = acknowledge(1)
        drop(1, iar)
        say2(b"many-active", u64(iar), u64(running()))
    say2(b"many-active", u64(state_of(SPI)), u64(state_of(SPI + NESTED - 1)))
    for n in range(u32(NESTED)):
        intid = SPI + (n * 3 & NESTED - 1)
        pend(intid)
        before = acknowledge(1)
        deactivate(intid)
        again = acknowledge(1)
        drop(1, again)
        deactivate(again)
        say4(b"many-active", u64(before), u64(again), u64(state_of(intid)), u64(running()))
    split_ends(False)
    for n in range(u32(NESTED)):
        pend(SPI + n)
        say2(b"many-active", u64(finish(1)), u64(state_of(SPI + n)))


# ---- groups -----------------------------------------------------------------------------------------------------------


@fn
def walk_group_enables() -> None:
    """One pending in each group; each enable on and off. The one of group 0 is more urgent."""
    line_setup(SPI, MIDDLE, 0)
    line_setup(OTHER, 0x90, 1)
    pend(SPI)
    pend(OTHER)
    for distributor in range(u32(4)):
        distributor_groups(distributor)
        for interface in range(u32(4)):
            groups(interface)
            say4(b"groups", u64(distributor << 4 | interface), u64(signals()), u64(highest(0)), u64(highest(1)))
    distributor_groups(BOTH)
    groups(BOTH)
    say3(b"groups", u64(finish(0)), u64(finish(1)), u64(finish(0)))


@fn
def walk_groups() -> None:
    """What the other group's registers say; a pending interrupt changes its group; both pending, that of group 1 more urgent."""
    one_for_both(False)
    pend(OTHER)
    say2(b"other-group", u64(highest(0)), u64(acknowledge(0)))
    one_for_both(True)
    say1(b"other-group", u64(finish(1)))
    pend(SPI)
    set_group(SPI, 1)
    say3(b"group-changed", u64(signals()), u64(finish(1)), u64(state_of(SPI)))
    pend(SPI)
    set_group(SPI, 0)
    say3(b"group-changed", u64(signals()), u64(finish(0)), u64(state_of(SPI)))
    set_priority(OTHER, 0x40)
    pend(SPI)
    pend(OTHER)
    say3(b"both-groups", u64(signals()), u64(highest(0)), u64(highest(1)))
    say3(b"both-groups", u64(finish(1)), u64(finish(0)), u64(finish(0)))


@fn
def walk_rules() -> None:
    """Nothing is pending or active before or after."""
    section(b"rules")
    interface_start()
    reset_interrupts()
    distributor_groups(BOTH)
    walk_states(b"sgi", SGI, 1)
    walk_states(b"ppi", PPI, 1)
    walk_states(b"spi", SPI, 1)
    walk_states(b"spi-group0", SPI, 0)
    walk_states(b"sgi-group0", SGI, 0)
    walk_stores_of_state(b"ppi-stores", PPI, 1)
    walk_stores_of_state(b"spi-stores", SPI, 1)
    walk_configuration()
    walk_masks(0)
    walk_masks(1)
    walk_points()
    walk_changed_priority()
    walk_equals()
    walk_order()
    walk_split_ends(SPI, 1)
    walk_split_ends(PPI, 0)
    walk_split_ends(SGI, 1)
    walk_group_enables()
    walk_groups()
    walk_nesting(1)
    walk_nesting(0)
    walk_many_active()
    say2(b"nothing", u64(acknowledge(0)), u64(acknowledge(1)))
    reset_interrupts()
