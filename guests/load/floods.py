"""Blocks that ask the hypervisor for as much as a guest can: each is FLOOD requests, and YIELD, which lets QEMU turn to another CPU."""

from freestanding import Struct, fn, u8, u32, u64, wrapping_mul, zeroed
from guests.runtime.console import CONSOLE
from guests.runtime.gic import GIC
from guests.runtime.hypercall import xen_hypercall
from guests.runtime.psci import PSCI_NATIVE, psci_hvc
from xenarm.abi.psci import PSCI_BASE, PsciFunction
from xenarm.arm.instructions import cpu_relax, mmio_read32, mmio_write32
from xenarm.gic.registers import Gicd

__all__ = ["flood_all", "flood_console", "flood_distributor", "flood_hypercalls", "flood_psci"]

FLOOD = 16
INTIDS = 256


class Counting(Struct):
    """Differs from request to request; that CPUs may spoil each other's count does not matter."""

    n: u64


COUNTING = zeroed(Counting)


@fn
def some() -> u64:
    """A number that goes through all sizes."""
    COUNTING.n = wrapping_mul(COUNTING.n + 1 if COUNTING.n < 0xFFFF_FFFF_FFFF_FFFF else u64(1), 0x9E37_79B9_7F4A_7C15)
    return COUNTING.n >> 24


@fn
def flood_console() -> None:
    """Lines, without a look at whether there is room."""
    for i in range(u32(FLOOD)):
        mmio_write32(CONSOLE.base, u32(0x0A) if i == FLOOD - 1 else u32(0x61) + i)
    cpu_relax()


@fn
def flood_distributor() -> None:
    """Interrupts enabled, pending, aimed and taken back, none of which is ever taken."""
    for _ in range(u32(FLOOD)):
        n = some()
        word = u64(n & 7) * 4
        mmio_write32(GIC.gicd + u64(Gicd.ISENABLER) + word, u32(n >> 8 & 0xFFFF_FFFF))
        mmio_write32(GIC.gicd + u64(Gicd.ISPENDR) + word, u32(n >> 4 & 0xFFFF_FFFF))
        mmio_write32(GIC.gicd + u64(Gicd.ITARGETSR) + u64(n & 63) * 4, u32(n >> 6 & 0xFFFF_FFFF))
        mmio_write32(GIC.gicd + u64(Gicd.ICPENDR) + word, u32(n >> 2 & 0xFFFF_FFFF))
        mmio_write32(GIC.gicd + u64(Gicd.CTLR), u32(n & 1))
        _ = mmio_read32(GIC.gicd + u64(Gicd.ISACTIVER) + word)
    cpu_relax()


@fn
def flood_psci() -> None:
    """CPUs that are not there are turned on and asked for."""
    for _ in range(u32(FLOOD)):
        n = some()
        _ = psci_hvc(u64(PSCI_NATIVE + PsciFunction.CPU_ON), n & 0xF, n, n)
        _ = psci_hvc(u64(PSCI_NATIVE + PsciFunction.AFFINITY_INFO), n & 0xF, n & 3, 0)
    cpu_relax()


@fn
def flood_hypercalls() -> None:
    """Calls that nobody knows."""
    for _ in range(u32(FLOOD)):
        n = some()
        _ = xen_hypercall(n & 0x3F, n, n, n)
        _ = psci_hvc(u64(PSCI_BASE + u32(n & 0xFF) + 0x80), n, n, n)
    cpu_relax()


@fn
def flood_all() -> None:
    """The console's seldom: it is the one that others see."""
    flood_distributor()
    flood_psci()
    flood_hypercalls()
    if some() & 63 == 0:
        flood_console()
