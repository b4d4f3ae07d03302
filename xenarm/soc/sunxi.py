"""Allwinner's A20 and A31 (their User Manuals: CPU configuration, PRCM, watchdog).

With a U-Boot that has PSCI none of this is used. Otherwise the CPUs are off, and come out of reset in secure state at the address in PRIVATE0.
"""

from freestanding import Struct, fn, u32, u64, zeroed

from xenarm.arm.instructions import mmio_write32
from xenarm.devicetree.reader import Fdt
from xenarm.soc.registers import Started, bits_clear, bits_set, pause, registers_at, registers_of

__all__ = ["KEPT", "sun6i_prepare", "sun6i_restart", "sun6i_start", "sun7i_prepare", "sun7i_restart", "sun7i_start"]

CPU_RESET = 0x40  # of the CPU configuration: one block of registers for each CPU
CPU_STRIDE = 0x40
GENERAL_CONTROL = 0x184
PRIVATE0 = 0x1A4
A20_CLAMP = 0x1B0  # of CPU 1
A20_POWER_OFF = 0x1B4
DEBUG_CONTROL1 = 0x1E4
NO_RESET = 3
A31_POWER_OFF = 0x100  # of the PRCM
A31_CLAMP = 0x140
A20_CPUCFG = 0x01C2_5C00  # Linux's tree has no node for it
A20_WATCHDOG_MODE = 0x04
A31_WATCHDOG_CONFIG = 0x14
A31_WATCHDOG_MODE = 0x18

KEPT = (
    ("snps,dw-apb-uart", "all of them share a page"),
    ("allwinner,sun4i-a10-wdt", "restarts the machine"),
    ("allwinner,sun6i-a31-wdt", "restarts the machine"),
    ("allwinner,sun6i-a31-prcm", "turns CPUs off"),
    ("allwinner,sun6i-a31-cpuconfig", "turns CPUs off"),
)


class Chip(Struct):
    cpucfg: u64
    prcm: u64
    watchdog: u64


CHIP = zeroed(Chip)


@fn
def sun6i_prepare(fdt: Fdt) -> None:
    CHIP.cpucfg = registers_of(fdt, b"allwinner,sun6i-a31-cpuconfig")
    CHIP.prcm = registers_of(fdt, b"allwinner,sun6i-a31-prcm")
    CHIP.watchdog = registers_of(fdt, b"allwinner,sun6i-a31-wdt")


@fn
def sun7i_prepare(fdt: Fdt) -> None:
    CHIP.cpucfg = registers_at(A20_CPUCFG, 0x400)
    CHIP.watchdog = registers_of(fdt, b"allwinner,sun4i-a10-wdt")


@fn
def hold(cpu: u32, entry: u64) -> None:
    """Reset a CPU and its first-level cache, nobody debugging it, with the address that it will go to."""
    mmio_write32(CHIP.cpucfg + PRIVATE0, u32(entry))
    mmio_write32(CHIP.cpucfg + CPU_RESET + u64(cpu) * CPU_STRIDE, 0)
    bits_clear(CHIP.cpucfg + GENERAL_CONTROL, u32(1) << cpu)
    bits_clear(CHIP.cpucfg + DEBUG_CONTROL1, u32(1) << cpu)


@fn
def power_up(clamp: u64, gate: u64, bit: u32) -> None:
    """Open the clamp step by step, so that the supply does not sag."""
    for step in range(u32(9)):
        mmio_write32(clamp, u32(0xFF) >> step)
    pause(10)
    bits_clear(gate, bit)
    pause(1)


@fn
def release(cpu: u32) -> None:
    mmio_write32(CHIP.cpucfg + CPU_RESET + u64(cpu) * CPU_STRIDE, NO_RESET)
    bits_set(CHIP.cpucfg + DEBUG_CONTROL1, u32(1) << cpu)


@fn
def sun6i_start(fdt: Fdt, mpidr: u64, entry: u64) -> Started:
    cpu = u32(mpidr & 0xFF)
    if CHIP.cpucfg == 0 or CHIP.prcm == 0 or cpu > 3:
        return Started.REFUSED
    hold(cpu, entry)
    power_up(CHIP.prcm + A31_CLAMP + u64(cpu) * 4, CHIP.prcm + A31_POWER_OFF, u32(1) << cpu)
    release(cpu)
    return Started.CALLED


@fn
def sun7i_start(fdt: Fdt, mpidr: u64, entry: u64) -> Started:
    cpu = u32(mpidr & 0xFF)
    if cpu != 1:
        return Started.REFUSED
    hold(cpu, entry)
    power_up(CHIP.cpucfg + A20_CLAMP, CHIP.cpucfg + A20_POWER_OFF, 1)
    release(cpu)
    return Started.CALLED


@fn
def sun6i_restart() -> None:
    """Let the watchdog bite, after half a second."""
    if CHIP.watchdog != 0:
        mmio_write32(CHIP.watchdog + A31_WATCHDOG_CONFIG, 1)
        mmio_write32(CHIP.watchdog + A31_WATCHDOG_MODE, 1)


@fn
def sun7i_restart() -> None:
    if CHIP.watchdog != 0:
        mmio_write32(CHIP.watchdog + A20_WATCHDOG_MODE, 3)
