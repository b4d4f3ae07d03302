"""Address types that never mix without a named conversion, and the page sizes of the 4 KiB granule."""

from freestanding import Address, fn, u64

from xenarm.config import CONFIG

__all__ = [
    "DIRECT_END",
    "GIB",
    "IMAGE_SPACE",
    "IMAGE_SPACE_END",
    "KIB",
    "MACHINE_END",
    "MIB",
    "PAGE_SHIFT",
    "PAGE_SIZE",
    "VA_BITS",
    "GuestPhys",
    "HostPhys",
    "VirtAddr",
    "guest_phys",
    "host_phys",
    "machine_has_device",
    "identity_virt",
]

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB
VA_BITS = 32 if CONFIG.ARM32 else 48 if CONFIG.HIGH_DEVICES else 47  # of EL2's own addresses. It maps machine addresses at themselves
MACHINE_END = 1 << 47 if CONFIG.ARM64 else 1 << 40  # of RAM that is used
IMAGE_SPACE, IMAGE_SPACE_END = (0x7F_C000_0000, 0x80_0000_0000) if CONFIG.ARM64 else (0xFFC0_0000, 0xFFE0_0000)  # but for these: the image has them
DIRECT_END = MACHINE_END if CONFIG.ARM64 else IMAGE_SPACE  # of RAM that EL2 maps at itself; the rest is for guests alone (`arm32/reach.py`)
DEVICES_END = 1 << VA_BITS
PAGE_SHIFT = 12
PAGE_SIZE = 1 << PAGE_SHIFT


class HostPhys(Address, type=u64):
    """An address on the machine's bus, the output of stage 2 and of EL2's own stage 1."""


class GuestPhys(Address, type=u64):
    """What a guest believes to be physical: the intermediate physical address (IPA), input of stage 2."""


class VirtAddr(Address, type=u64):
    """An address that EL2 itself may load from and store to."""


@fn
def host_phys(value: u64) -> HostPhys:
    return HostPhys(value)


@fn
def guest_phys(value: u64) -> GuestPhys:
    return GuestPhys(value)


@fn
def identity_virt(address: HostPhys) -> VirtAddr:
    """Where EL2 sees a machine address: RAM and devices are mapped at virtual address == physical address."""
    return VirtAddr(u64(address))


@fn
def machine_has_device(base: u64, size: u64) -> bool:
    """Whether EL2 can map registers at themselves: below the image or behind it."""
    if base == 0 or base >= DEVICES_END or size > DEVICES_END - base:
        return False
    return base + size <= IMAGE_SPACE or base >= IMAGE_SPACE_END
