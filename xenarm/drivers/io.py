"""Loads and stores of device registers, from the architecture that the configuration names. Apart from `arch.py`: guests use drivers too."""

from xenarm.arm.instructions import cpu_relax, mmio_read8, mmio_read16, mmio_read32, mmio_read64
from xenarm.arm.instructions import mmio_write8, mmio_write16, mmio_write32, mmio_write64
from xenarm.config import CONFIG

assert CONFIG.ARM64 or CONFIG.ARM32, f"no architecture {CONFIG.ARCH}"

__all__ = [
    "cpu_relax",
    "mmio_read16",
    "mmio_read32",
    "mmio_read64",
    "mmio_read8",
    "mmio_write16",
    "mmio_write32",
    "mmio_write64",
    "mmio_write8",
]
