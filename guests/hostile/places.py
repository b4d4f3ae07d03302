"""Where attacks are aimed at, and the timer that ends every wait."""

from freestanding import Struct, fn, u32, u64, zeroed
from guests.runtime.console import CONSOLE
from guests.runtime.cpu import counter, write_cntv_ctl_el0, write_cntv_cval_el0
from guests.runtime.dice import draw, draw_below, draw_value
from guests.runtime.engine import Values, zone
from guests.runtime.gic import GIC, HAS_V3, gic_registers
from guests.runtime.machine import memory_banks
from xenarm.arm.instructions import instruction_sync, mmio_read32, mmio_write32
from xenarm.config import CONFIG
from xenarm.gic.registers import Gicd

__all__ = ["PLACE", "arm_timer", "device_offset", "places_init", "random_address", "random_values"]

TIMER_TICKS = 2000
VIRTUAL_TIMER = 1 << 27
# Beyond RAM, where this guest's own memory does not show again; and what its tables do not map.
FAR, FAR_MASK = (0x10_0000_0000, 0x3F_FFFF_FFFF) if CONFIG.ARM64 else (0x5000_0000, 0x2FFF_FFFF)
NOWHERE, NOWHERE_MASK = (0x8000_0000_0000, 0xFFFF_FFFF_FFFF_FFFF) if CONFIG.ARM64 else (0xFFE0_0000, 0x1F_FFFF)
ZONE_FROM = 0 if CONFIG.ARM64 else 0x100  # what stores below an address does so by less


class Place(Struct):
    """The end of RAM."""

    ram: u64
    ram_end: u64


PLACE = zeroed(Place)


@fn
def places_init() -> None:
    """Find the edges of RAM."""
    for bank in memory_banks():
        PLACE.ram = bank.base
        PLACE.ram_end = bank.base + bank.size


@fn
def arm_timer(cpu: u32) -> None:
    """Something must end a WFI, whatever became of the distributor: the virtual timer, enabled, inactive and forwarded."""
    own = gic_registers(0)
    mmio_write32(own + Gicd.ICACTIVER, VIRTUAL_TIMER)
    if HAS_V3 and GIC.v3:
        mmio_write32(own + Gicd.IGROUPR, mmio_read32(own + Gicd.IGROUPR) | VIRTUAL_TIMER)
    mmio_write32(own + Gicd.ISENABLER, VIRTUAL_TIMER)
    mmio_write32(GIC.gicd + Gicd.CTLR, 3)
    write_cntv_cval_el0(counter() + TIMER_TICKS + (draw(cpu) & 0xFFF))
    write_cntv_ctl_el0(1)
    instruction_sync()


@fn
def random_values(cpu: u32, values: Values) -> None:
    for i in range(9):
        values.x[i] = draw_value(cpu)


@fn
def device_offset(cpu: u32) -> u64:
    """Within the lowest GiB: a device, or a hole between them."""
    offset = draw(cpu) & 0xFFF
    if draw_below(cpu, 4) != 0:
        offset &= ~u64(3)
    match draw_below(cpu, 8):
        case 0 | 1 | 2:
            return GIC.gicd + offset
        case 3:
            return (GIC.gicr + (draw(cpu) & 0x3_F000) if HAS_V3 and GIC.v3 else GIC.gicc + (draw(cpu) & 0x1000)) + offset
        case 4:
            return CONSOLE.base + (offset & 0x7F)
        case 5:
            return CONSOLE.base + offset
        case 6:
            return 0x0800_0000 + (draw(cpu) & 0x3FF_FFFF)
        case _:
            return draw(cpu) & 0x3FFF_FFFF


@fn
def random_address(cpu: u32) -> u64:
    """A device, a hole, the end of RAM from both sides, what no table maps, or memory that may be written."""
    match draw_below(cpu, 8):
        case 0:
            return PLACE.ram_end + (draw(cpu) & 0xFF)
        case 1:
            return PLACE.ram_end - 2
        case 2:
            return draw(cpu) & FAR_MASK | FAR
        case 3:
            return zone() + ZONE_FROM + (draw(cpu) & 0x7FF)
        case 4:
            return draw(cpu) & NOWHERE_MASK | NOWHERE
        case _:
            return device_offset(cpu)
