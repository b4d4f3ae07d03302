"""The UART of Samsung's Exynos (Exynos 5 Dual User's Manual, chapter "UART"), as on Arndale.

The baud rate and its clock stay what the firmware has set.
"""

from freestanding import fn, u8, u32, u64
from xenarm.drivers.exynos4210_registers import (
    UCON,
    UERSTAT,
    UFCON,
    UFSTAT,
    UINTM,
    UINTP,
    ULCON,
    UMCON,
    URXH,
    UTRSTAT,
    UTXH,
    Control,
    FifoControl,
    FifoStatus,
    Interrupts,
    LineControl,
    TransferStatus,
)
from xenarm.drivers.io import cpu_relax, mmio_read32, mmio_write32
from xenarm.drivers.line import PATIENCE

__all__ = ["exynos_acknowledge", "exynos_get", "exynos_interrupts", "exynos_put", "exynos_setup"]

ALL = int(Interrupts(MODEM=True, TXD=True, ERROR=True, RXD=True))
RECEIVE = int(Interrupts(RXD=True, ERROR=True))
SEND = int(Interrupts(TXD=True))
RESET = int(FifoControl(TX_RESET=True, RX_RESET=True))
CONTROL_BELOW_CLOCK = 0x3FF
# Levels: what has not been served yet interrupts again. With time-out, so that a single character is told of too.
CONTROL = int(Control(TX_LEVEL=True, RX_LEVEL=True, RX_TIMEOUT=True, RX_ERROR=True, TX_MODE=1, RX_MODE=1))


@fn
def fifo(base: u64) -> FifoStatus:
    return FifoStatus.from_raw(mmio_read32(base + UFSTAT))


@fn
def exynos_setup(base: u64) -> None:
    """Eight bits, no parity, no flow control, FIFOs on. What is still being sent is let out first."""
    for _ in range(PATIENCE):
        if TransferStatus.from_raw(mmio_read32(base + UTRSTAT)).TX_EMPTY:
            break
        cpu_relax()
    clock = mmio_read32(base + UCON) & ~u32(CONTROL_BELOW_CLOCK)
    mmio_write32(base + UCON, clock)
    mmio_write32(base + UMCON, 0)
    mmio_write32(base + ULCON, LineControl(LENGTH=3).raw)
    mmio_write32(base + UINTM, ALL)
    mmio_write32(base + UFCON, RESET)
    for _ in range(PATIENCE):
        if mmio_read32(base + UFCON) & RESET == 0:
            break
        cpu_relax()
    mmio_write32(base + UFCON, FifoControl(ENABLE=True, TX_TRIGGER=2).raw)
    mmio_write32(base + UCON, clock | CONTROL)
    mmio_write32(base + UINTP, ALL)


@fn
def exynos_put(base: u64, character: u8, patience: u32) -> bool:
    """Send one character; False when the port is still full after so many looks."""
    for _ in range(patience):
        if not fifo(base).TX_FULL:
            mmio_write32(base + UTXH, u32(character))
            return True
        cpu_relax()
    return False


@fn
def exynos_get(base: u64) -> tuple[bool, u8]:
    """(True, the next character received), or (False, 0)."""
    received = fifo(base)
    if received.RX_COUNT == 0 and not received.RX_FULL:
        return False, 0
    return True, u8(mmio_read32(base + URXH) & 0xFF)


@fn
def exynos_interrupts(base: u64, receive: bool, send: bool) -> None:
    """Which interrupts come: of the receiver, and when the transmitter's FIFO has drained to its trigger level."""
    mmio_write32(base + UINTM, ALL & ~((RECEIVE if receive else u32(0)) | (SEND if send else u32(0))))


@fn
def exynos_acknowledge(base: u64) -> None:
    """Clear what is pending before the FIFOs are looked at; an error is gone once it was read."""
    pending = mmio_read32(base + UINTP)
    if Interrupts.from_raw(pending).ERROR:
        mmio_read32(base + UERSTAT)
    mmio_write32(base + UINTP, pending)
