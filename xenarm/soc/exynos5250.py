"""Samsung's Exynos 5250 (Exynos 5 Dual User's Manual: PMU, multi-core timer; boot ROM).

CPU 1 waits in the boot ROM's pen, or in that of secure firmware, until an interrupt, and then goes where a word of SYSRAM says.
"""

from freestanding import Struct, fn, u32, u64, usize, zeroed

from xenarm.arm.instructions import data_sync_all, mmio_read32, mmio_write32
from xenarm.devicetree.reader import NO_NODE, Fdt
from xenarm.devicetree.values import fdt_find_compatible
from xenarm.psci.host import host_call
from xenarm.soc.registers import LOOKS, Started, bits_set, registers_of

__all__ = ["KEPT", "exynos5250_prepare", "exynos5250_restart", "exynos5250_start"]

SWRESET = 0x400  # of the PMU
CORE_CONFIGURATION = 0x2000  # one for each CPU, 0x80 apart
CORE_STATUS = 0x2004
CORE_STRIDE = 0x80
POWER_ON = 3
G_TCON = 0x240  # of the multi-core timer, whose global counter the CPUs' timers count by
G_TCON_START = 1 << 8
SECURE_ENTRY = 0x1C  # where secure firmware looks, in the SYSRAM that it leaves us
SMC_CPU1BOOT = 0xFFFF_FFFC

KEPT = (
    ("samsung,exynos4210-mct", "its counter is the CPUs' own timers'"),
    ("samsung,exynos5250-pmu", "restarts the machine, and turns CPUs off"),
    ("samsung,secure-firmware", "is the hypervisor's to call"),
)


class Chip(Struct):
    """Bases of registers; `entry` is the word with the entry of CPU 1."""

    pmu: u64
    entry: u64
    secure: bool


CHIP = zeroed(Chip)


@fn
def exynos5250_prepare(fdt: Fdt) -> None:
    """Also start the counter, which not every boot loader does."""
    CHIP.secure = fdt_find_compatible(fdt, b"samsung,secure-firmware") != NO_NODE
    CHIP.pmu = registers_of(fdt, b"samsung,exynos5250-pmu")
    sysram = registers_of(fdt, b"samsung,exynos4210-sysram-ns") if CHIP.secure else registers_of(fdt, b"samsung,exynos4210-sysram")
    CHIP.entry = sysram + SECURE_ENTRY if CHIP.secure and sysram != 0 else sysram
    timer = registers_of(fdt, b"samsung,exynos4210-mct")
    if timer != 0:
        bits_set(timer + G_TCON, G_TCON_START)


@fn
def power_up(cpu: u64) -> bool:
    status = CHIP.pmu + CORE_STATUS + cpu * CORE_STRIDE
    if mmio_read32(status) & POWER_ON == POWER_ON:
        return True
    mmio_write32(CHIP.pmu + CORE_CONFIGURATION + cpu * CORE_STRIDE, POWER_ON)
    for _ in range(LOOKS):
        if mmio_read32(status) & POWER_ON == POWER_ON:
            return True
    return False


@fn
def exynos5250_start(fdt: Fdt, mpidr: u64, entry: u64) -> Started:
    if CHIP.pmu == 0 or CHIP.entry == 0 or mpidr & 0xFF != 1:
        return Started.REFUSED
    mmio_write32(CHIP.entry, u32(entry))
    data_sync_all()
    if not power_up(mpidr & 0xFF):
        return Started.REFUSED
    if CHIP.secure:
        host_call(usize(SMC_CPU1BOOT), 1, 0, 0)
    return Started.WAKE


@fn
def exynos5250_restart() -> None:
    if CHIP.pmu != 0:
        mmio_write32(CHIP.pmu + SWRESET, 1)
