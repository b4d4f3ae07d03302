"""What a guest finds where: addresses and interrupts of Xen's `public/arch-arm.h` ("Virtual machine platform").

Guests learn all of it from their device tree; the numbers are Xen's so that a tree made for Xen fits too.
"""

from xenarm.core.addresses import GIB, GuestPhys

__all__ = [
    "GUEST_EVTCHN_PPI",
    "GUEST_GICC_BASE",
    "GUEST_GICC_SIZE",
    "GUEST_GICD3_SIZE",
    "GUEST_GICD_BASE",
    "GUEST_GICD_SIZE",
    "GUEST_GICR1_BASE",
    "GUEST_GICR1_SIZE",
    "GUEST_GICR_BASE",
    "GUEST_GICR_FRAME",
    "GUEST_GICR_SIZE",
    "GUEST_GNTTAB_BASE",
    "GUEST_GNTTAB_SIZE",
    "GUEST_PL011_BASE",
    "GUEST_PL011_SIZE",
    "GUEST_RAM0_BASE",
    "GUEST_RAM0_SIZE",
    "GUEST_RAM1_BASE",
    "GUEST_RAM1_SIZE",
    "GUEST_TIMER_PHYS_NS_PPI",
    "GUEST_TIMER_PHYS_S_PPI",
    "GUEST_TIMER_VIRT_PPI",
    "GUEST_VPL011_SPI",
]

# GICv2: distributor, and the CPU interface that stage 2 backs with GICV.
GUEST_GICD_BASE = GuestPhys(0x0300_1000)
GUEST_GICD_SIZE = 0x1000
GUEST_GICC_BASE = GuestPhys(0x0300_2000)
GUEST_GICC_SIZE = 0x2000

# GICv3: distributor at the same place, redistributors of 128 KiB for each vCPU. Xen has the first 128; the others are where its map has nothing.
GUEST_GICD3_SIZE = 0x1_0000
GUEST_GICR_BASE = GuestPhys(0x0302_0000)
GUEST_GICR_FRAME = 0x2_0000
GUEST_GICR_SIZE = 0x0100_0000  # at most: 128 vCPUs
GUEST_GICR1_BASE = GuestPhys(0x0500_0000)
GUEST_GICR1_SIZE = 0x0300_0000  # at most: 384 more

GUEST_PL011_BASE = GuestPhys(0x2200_0000)
GUEST_PL011_SIZE = 0x1000

GUEST_GNTTAB_BASE = GuestPhys(0x3800_0000)
GUEST_GNTTAB_SIZE = 0x0100_0000

GUEST_RAM0_BASE = GuestPhys(0x4000_0000)
GUEST_RAM0_SIZE = 3 * GIB
GUEST_RAM1_BASE = GuestPhys(0x2_0000_0000)
GUEST_RAM1_SIZE = 1016 * GIB

# Interrupts by their INTID: PPIs from 16, SPIs from 32.
GUEST_TIMER_VIRT_PPI = 27
GUEST_TIMER_PHYS_S_PPI = 29
GUEST_TIMER_PHYS_NS_PPI = 30
GUEST_EVTCHN_PPI = 31
GUEST_VPL011_SPI = 32

assert int(GUEST_RAM0_BASE) + GUEST_RAM0_SIZE <= int(GUEST_RAM1_BASE), "guest RAM banks overlap"
