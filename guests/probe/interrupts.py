"""Interrupts on one CPU: order, overflow of the list registers, pending and active state, SGIs."""

from freestanding import fn, u8, u32, u64
from guests.probe.report import expect, expect_true
from guests.runtime.gic import GIC, gic_acknowledge, gic_control, gic_end, gic_own_target, gic_registers, gic_route, gic_send
from xenarm.arm.instructions import mmio_read32, mmio_write8, mmio_write32
from xenarm.gic.registers import INTID_MASK, INTID_SPURIOUS, Gicd

__all__ = ["SPURIOUS", "disable", "enable_at", "pend", "probe_interrupts", "take"]

FIRST_SPI = 33  # 32 is the serial port's
SPIS = 24
SPURIOUS = 1023
FILTER_SELF = 2 << 24


@fn
def take() -> u32:
    """Acknowledge and end what is most urgent; SPURIOUS when nothing is pending."""
    iar = gic_acknowledge()
    if iar & INTID_MASK < INTID_SPURIOUS:
        gic_end(iar)
    return iar & INTID_MASK


@fn
def set_bit(register: u32, intid: u32) -> None:
    mmio_write32(gic_registers(intid) + u64(register + (intid >> 5) * 4), u32(1) << (intid & 31))


@fn
def bit(register: u32, intid: u32) -> u64:
    return u64(mmio_read32(gic_registers(intid) + u64(register + (intid >> 5) * 4)) >> (intid & 31) & 1)


@fn
def pend(intid: u32) -> None:
    set_bit(Gicd.ISPENDR, intid)


@fn
def disable(intid: u32) -> None:
    set_bit(Gicd.ICENABLER, intid)


@fn
def enable_at(intid: u32, priority: u8, target: u64) -> None:
    """Edge-triggered, so that only what is pended here comes; of a GICv3 in group 1."""
    config = GIC.gicd + u64(Gicd.ICFGR + (intid >> 4) * 4)
    if intid >= 32:
        mmio_write32(config, mmio_read32(config) | u32(2) << ((intid & 15) * 2))
        gic_route(intid, target)
    if GIC.v3:
        group = gic_registers(intid) + u64(Gicd.IGROUPR + (intid >> 5) * 4)
        mmio_write32(group, mmio_read32(group) | u32(1) << (intid & 31))
    mmio_write8(gic_registers(intid) + u64(Gicd.IPRIORITYR + intid), priority)
    set_bit(Gicd.ISENABLER, intid)


@fn
def probe_overflow() -> None:
    """Far more than there are list registers, pended from the least urgent to the most: they must come from the most to the least."""
    for n in range(u32(SPIS)):
        enable_at(FIRST_SPI + n, u8(0xE8 - n * 8), gic_own_target())
    for n in range(u32(SPIS)):
        pend(FIRST_SPI + n)
    ordered = True
    for n in range(u32(SPIS)):
        ordered = take() == FIRST_SPI + SPIS - 1 - n and ordered
    expect_true(b"overflow-order", ordered)
    expect(b"overflow-end", u64(take()), SPURIOUS)


@fn
def probe_state() -> None:
    spi = u32(FIRST_SPI)
    pend(spi)
    expect(b"pending-read", bit(Gicd.ISPENDR, spi), 1)
    iar = gic_acknowledge()
    expect(b"acknowledged", u64(iar), u64(spi))
    expect(b"active-read", bit(Gicd.ISACTIVER, spi), 1)
    expect(b"not-pending", bit(Gicd.ISPENDR, spi), 0)
    pend(spi)
    expect(b"active-and-pending", bit(Gicd.ISPENDR, spi), 1)
    gic_end(iar)
    expect(b"comes-again", u64(take()), u64(spi))
    expect(b"inactive", bit(Gicd.ISACTIVER, spi), 0)
    pend(spi)
    disable(spi)
    expect(b"disabled", u64(take()), SPURIOUS)
    set_bit(Gicd.ISENABLER, spi)
    expect(b"enabled-again", u64(take()), u64(spi))
    pend(spi)
    set_bit(Gicd.ICPENDR, spi)
    expect(b"pending-cleared", u64(take()), SPURIOUS)


@fn
def probe_preemption() -> None:
    """While one is active only a more urgent one is shown."""
    pend(FIRST_SPI)
    outer = gic_acknowledge()
    pend(FIRST_SPI + 4)
    expect(b"preempts", u64(take()), FIRST_SPI + 4)
    gic_end(outer)
    pend(FIRST_SPI + 4)
    outer = gic_acknowledge()
    pend(FIRST_SPI)
    expect(b"does-not-preempt", u64(take()), SPURIOUS)
    gic_end(outer)
    expect(b"waits-for-the-end", u64(take()), FIRST_SPI)


@fn
def probe_sgis() -> None:
    complete = True
    for sgi in range(u32(16)):
        enable_at(sgi, 0xA0, 0)
        if GIC.v3:
            gic_send(gic_own_target(), sgi)
        else:
            mmio_write32(GIC.gicd + Gicd.SGIR, FILTER_SELF | sgi)
    seen = u32(0)
    for _ in range(16):
        intid = take()
        complete = intid < 16 and complete
        seen |= u32(1) << (intid & 15)
    expect_true(b"sgis-to-self", complete)
    expect(b"sgis-all", u64(seen), 0xFFFF)
    expect(b"sgis-end", u64(take()), SPURIOUS)
    gic_send(gic_own_target(), 3)
    gic_send(gic_own_target(), 3)
    expect(b"sgi-by-list", u64(take()), 3)
    expect(b"sgis-merge", u64(take()), SPURIOUS)


@fn
def probe_control() -> None:
    pend(FIRST_SPI)
    gic_control(False)
    expect(b"distributor-off", u64(take()), SPURIOUS)
    gic_control(True)
    expect(b"distributor-on", u64(take()), FIRST_SPI)


@fn
def probe_interrupts() -> None:
    probe_overflow()
    probe_state()
    probe_preemption()
    probe_sgis()
    probe_control()
