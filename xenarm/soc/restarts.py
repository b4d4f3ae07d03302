"""SoCs whose CPUs start by PSCI or spin table, and whose firmware may have no way to restart or end the machine.

Calxeda's ECX-2000 (its system registers, as QEMU's hw/arm/highbank.c has them), APM's X-Gene 1 (reset by its system clock unit), Broadcom's
BCM2711 (power manager and watchdog, as in BCM2835 ARM Peripherals' successor).
"""

from freestanding import Struct, fn, u32, u64, zeroed

from xenarm.arm.instructions import data_sync_all, mmio_read32, mmio_write32, wait_for_interrupt
from xenarm.devicetree.reader import Fdt
from xenarm.soc.registers import Started, registers_of

__all__ = [
    "BCM2711_KEPT",
    "ECX2000_KEPT",
    "XGENE_KEPT",
    "bcm2711_prepare",
    "bcm2711_restart",
    "ecx2000_off",
    "ecx2000_prepare",
    "ecx2000_restart",
    "no_start",
    "xgene_prepare",
    "xgene_restart",
]

POWER_REQUEST = 0xF00  # of Calxeda's system registers
A15_POWER = 0x200
HARD_RESET = 2
SHUTDOWN = 3
XGENE_RESET = 0x14
PM_RSTC = 0x1C
PM_WDOG = 0x24
PM_PASSWORD = 0x5A00_0000
FULL_RESET = 0x20
TICKS = 10  # of 15 us

BCM2711_KEPT = (
    ("brcm,bcm2711-pm", "restarts the machine"),
    ("brcm,bcm2835-aux", "shares a page with the console's port"),
    ("brcm,bcm2835-aux-spi", "shares a page and an interrupt with the console's port"),
)
ECX2000_KEPT = (("calxeda,hb-sregs", "turns the machine off"),)
XGENE_KEPT = (("apm,xgene-scu", "restarts the machine"),)


class Chip(Struct):
    base: u64


CHIP = zeroed(Chip)


@fn
def no_start(fdt: Fdt, mpidr: u64, entry: u64) -> Started:
    return Started.REFUSED


@fn
def ecx2000_prepare(fdt: Fdt) -> None:
    CHIP.base = registers_of(fdt, b"calxeda,hb-sregs")


@fn
def power_request(what: u32) -> None:
    """Carried out when this CPU waits."""
    if CHIP.base != 0:
        mmio_write32(CHIP.base + POWER_REQUEST, what)
        mmio_write32(CHIP.base + A15_POWER, 1)
        data_sync_all()
        wait_for_interrupt()


@fn
def ecx2000_off() -> None:
    power_request(SHUTDOWN)


@fn
def ecx2000_restart() -> None:
    power_request(HARD_RESET)


@fn
def xgene_prepare(fdt: Fdt) -> None:
    CHIP.base = registers_of(fdt, b"apm,xgene-scu")


@fn
def xgene_restart() -> None:
    if CHIP.base != 0:
        mmio_write32(CHIP.base + XGENE_RESET, 1)


@fn
def bcm2711_prepare(fdt: Fdt) -> None:
    CHIP.base = registers_of(fdt, b"brcm,bcm2711-pm")


@fn
def bcm2711_restart() -> None:
    if CHIP.base != 0:
        mmio_write32(CHIP.base + PM_WDOG, PM_PASSWORD | TICKS)
        mmio_write32(CHIP.base + PM_RSTC, (mmio_read32(CHIP.base + PM_RSTC) & 0xFFFF_FFCF) | PM_PASSWORD | FULL_RESET)
