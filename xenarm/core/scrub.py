"""Clearing memory before its first owner has it: the boot's work, shared among all CPUs, which have nothing else to do then.

What memory holds at power-on or after a warm reset may be another guest's (the boot argument `bootscrub=`, on unless it says otherwise).
"""

from freestanding import Struct, fn, u32, u64, zeroed

from xenarm.arch import arch_memory_clear, cpu_index, cpu_relax, cpus_online
from xenarm.core.addresses import MIB, HostPhys
from xenarm.core.bootargs import bootarg, bootarg_flag
from xenarm.core.log import log_warning, printk
from xenarm.core.spinlock import Spinlock
from xenarm.devicetree.reader import Fdt
from xenarm.gic.host import gic_kick_others

__all__ = ["scrub_boot", "scrub_help", "scrub_init"]

CHUNK = 2 * MIB


class Scrub(Struct):
    """The run that is being cleared: from `next` to `end` nobody has begun, and `busy` CPUs have a chunk before it."""

    lock: Spinlock
    off: bool
    next: u64
    end: u64
    busy: u32


SCRUB = zeroed(Scrub)


@fn
def scrub_init(fdt: Fdt) -> None:
    """Read `bootscrub=`: a boolean, or Xen's `idle`, which is what is done here."""
    given, how = bootarg(fdt, b"bootscrub")
    sound, on = bootarg_flag(fdt, b"bootscrub", True)
    if not sound and not (given and how.equals(b"idle")):
        log_warning(f"/chosen: xen,xen-bootargs: bootscrub={how} is no boolean: memory is cleared; give 1 or 0")
    SCRUB.off = not on
    if not on:
        printk("bootscrub is off: domains find in their memory what was there before")


@fn
def take() -> tuple[u64, u64]:
    """The next chunk to clear: (address, size), size 0 for none."""
    with SCRUB.lock:
        base = SCRUB.next
        size = min(SCRUB.end - base, u64(CHUNK))
        if size > 0:
            SCRUB.next = base + size
            SCRUB.busy += 1
        return base, size


@fn
def finished() -> bool:
    with SCRUB.lock:
        return SCRUB.busy == 0


@fn
def scrub_help() -> bool:
    """Clear one chunk, if there is any left."""
    base, size = take()
    if size == 0:
        return False
    arch_memory_clear(HostPhys(base), size)
    with SCRUB.lock:
        SCRUB.busy -= 1
    return True


@fn
def scrub_boot(base: u64, size: u64) -> None:
    """Clear memory that a domain is to have for the first time, unless the boot arguments say otherwise. The first CPU's, during the boot."""
    if SCRUB.off:
        return
    with SCRUB.lock:
        SCRUB.next = base
        SCRUB.end = base + size
    if size > CHUNK:
        gic_kick_others(cpus_online(), cpu_index())
    while scrub_help():
        pass
    while not finished():
        cpu_relax()
