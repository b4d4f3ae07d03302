"""Arm's Versatile Express: the motherboard's system registers (DUI 0447, chapter 4).

The boot monitor, and QEMU in its place, lets the other CPUs sleep until an interrupt, and then go where SYS_FLAGS says.
The monitor's are in secure state, those of a boot wrapper in HYP mode.
"""

from freestanding import Struct, fn, u32, u64, zeroed

from xenarm.arm.instructions import mmio_read32, mmio_write32
from xenarm.devicetree.reader import Fdt
from xenarm.soc.registers import LOOKS, Started, registers_of

__all__ = ["KEPT", "vexpress_off", "vexpress_prepare", "vexpress_restart", "vexpress_start"]

SYS_FLAGSSET = 0x30
SYS_FLAGSCLR = 0x34
SYS_CFGDATA = 0xA0
SYS_CFGCTRL = 0xA4
SYS_CFGSTAT = 0xA8
CFG_WRITE = 0xC000_0000  # START and WRITE, to the motherboard
CFG_COMPLETE = 1
SHUTDOWN = 8 << 20
REBOOT = 9 << 20

KEPT = (("arm,vexpress-sysreg", "turns the board off"), ("arm,cci-400", "keeps the caches coherent"))


class Board(Struct):
    sysreg: u64


BOARD = zeroed(Board)


@fn
def vexpress_prepare(fdt: Fdt) -> None:
    BOARD.sysreg = registers_of(fdt, b"arm,vexpress-sysreg")


@fn
def vexpress_start(fdt: Fdt, mpidr: u64, entry: u64) -> Started:
    if BOARD.sysreg == 0:
        return Started.REFUSED
    mmio_write32(BOARD.sysreg + SYS_FLAGSCLR, 0xFFFF_FFFF)
    mmio_write32(BOARD.sysreg + SYS_FLAGSSET, u32(entry))
    return Started.WAKE


@fn
def configure(function: u32) -> None:
    """Have the board's configuration controller do something."""
    if BOARD.sysreg == 0:
        return
    mmio_write32(BOARD.sysreg + SYS_CFGSTAT, 0)
    mmio_write32(BOARD.sysreg + SYS_CFGDATA, 0)
    mmio_write32(BOARD.sysreg + SYS_CFGCTRL, CFG_WRITE | function)
    for _ in range(LOOKS):
        if mmio_read32(BOARD.sysreg + SYS_CFGSTAT) & CFG_COMPLETE != 0:
            break


@fn
def vexpress_off() -> None:
    configure(SHUTDOWN)


@fn
def vexpress_restart() -> None:
    configure(REBOOT)
