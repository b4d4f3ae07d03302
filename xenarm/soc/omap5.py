"""TI's OMAP5 (OMAP543x TRM, SWPU249: wake-up generator, master counter).

CPU 1 waits in the ROM for an event, and goes where AUX_CORE_BOOT_1 says once AUX_CORE_BOOT_0 names it. It comes in SVC mode, not secure: the
ROM's monitor has a call for HYP mode (`arm32/head.py`).
"""

from freestanding import Struct, fn, table, u32, u64, zeroed

from xenarm.arm.instructions import data_sync_all, mmio_read32, mmio_write32, send_event
from xenarm.devicetree.reader import Fdt
from xenarm.soc.registers import Started, registers_at, registers_of

__all__ = ["KEPT", "omap5_prepare", "omap5_restart", "omap5_start"]

AUX_CORE_BOOT_0 = 0x800  # of the wake-up generator
AUX_CORE_BOOT_1 = 0x804
CPU_SHIFT = 5
PRM = 0x4AE0_6000
CM_CLKSEL_SYS = 0x110
PRM_RSTCTRL = 0x1C00  # PRM_DEVICE
COLD_RESET = 1 << 1
MASTER_COUNTER = 0x4824_3000
NUMERATOR = 0x210
DENOMINATOR = 0x214
FRACTION = 0xFFF
RELOAD = 1 << 16

KEPT = (("ti,omap5-wugen-mpu", "starts CPUs"), ("ti,omap5-prm", "restarts the machine"))


class Ratio(Struct, frozen=True):
    """What makes 6.144 MHz of the system clock; numerator 0 for clocks that there are not."""

    numerator: u32
    denominator: u32


# By CM_CLKSEL_SYS: -, 12, 13, -, 19.2, 26, 27, 38.4 MHz.
RATIOS = table(
    Ratio,
    [Ratio(0, 0), Ratio(1664, 3250), Ratio(1536, 3250), Ratio(0, 0), Ratio(1040, 3250), Ratio(768, 3250), Ratio(768, 3375), Ratio(520, 3250)],
)


class Chip(Struct):
    wugen: u64
    prm: u64


CHIP = zeroed(Chip)


@fn
def counter_init(counter: u64, clock: u32) -> None:
    """Set the master counter, which the CPUs' timers count by, to its rate."""
    ratio = RATIOS[clock & 7]
    if ratio.numerator == 0:
        return
    mmio_write32(counter + NUMERATOR, (mmio_read32(counter + NUMERATOR) & ~u32(FRACTION)) | ratio.numerator)
    mmio_write32(counter + DENOMINATOR, (mmio_read32(counter + DENOMINATOR) & ~u32(FRACTION)) | ratio.denominator | RELOAD)


@fn
def omap5_prepare(fdt: Fdt) -> None:
    CHIP.wugen = registers_of(fdt, b"ti,omap5-wugen-mpu")
    CHIP.prm = registers_at(PRM, 0x2000)
    counter_init(registers_at(MASTER_COUNTER, 0x1000), mmio_read32(CHIP.prm + CM_CLKSEL_SYS))


@fn
def omap5_start(fdt: Fdt, mpidr: u64, entry: u64) -> Started:
    if CHIP.wugen == 0 or mpidr & 0xFF != 1:
        return Started.REFUSED
    mmio_write32(CHIP.wugen + AUX_CORE_BOOT_1, u32(entry))
    mmio_write32(CHIP.wugen + AUX_CORE_BOOT_0, u32(1 << CPU_SHIFT))
    data_sync_all()
    send_event()
    return Started.WAKE


@fn
def omap5_restart() -> None:
    mmio_write32(CHIP.prm + PRM_RSTCTRL, COLD_RESET)
