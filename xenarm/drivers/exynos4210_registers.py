"""The UART of Samsung's Exynos, declared once for the driver and for the model (Exynos 5 Dual User's Manual, chapter "UART")."""

from freestanding import Bits, bits, u32

__all__ = [
    "UCON",
    "UERSTAT",
    "UFCON",
    "UFSTAT",
    "UINTM",
    "UINTP",
    "ULCON",
    "UMCON",
    "URXH",
    "UTRSTAT",
    "UTXH",
    "Control",
    "FifoControl",
    "FifoStatus",
    "Interrupts",
    "LineControl",
    "TransferStatus",
]

ULCON = 0x00
UCON = 0x04
UFCON = 0x08
UMCON = 0x0C
UTRSTAT = 0x10
UERSTAT = 0x14
UFSTAT = 0x18
UTXH = 0x20
URXH = 0x24
UINTP = 0x30
UINTM = 0x38


class LineControl(Bits, type=u32):
    """ULCON."""

    PARITY: u32 = bits(5, 3)  # 0: none
    TWO_STOP: bool = bits(2)
    LENGTH: u32 = bits(1, 0)  # 3: eight bits


class Control(Bits, type=u32):
    """UCON. The clock's selection lies above and stays."""

    TX_LEVEL: bool = bits(9)
    RX_LEVEL: bool = bits(8)
    RX_TIMEOUT: bool = bits(7)
    RX_ERROR: bool = bits(6)
    TX_MODE: u32 = bits(3, 2)  # 1: interrupt or polling
    RX_MODE: u32 = bits(1, 0)


class FifoControl(Bits, type=u32):
    """UFCON. The trigger levels are in eighths of the FIFO, whose depth differs from port to port."""

    TX_TRIGGER: u32 = bits(10, 8)
    RX_TRIGGER: u32 = bits(6, 4)
    TX_RESET: bool = bits(2)  # clear themselves
    RX_RESET: bool = bits(1)
    ENABLE: bool = bits(0)


class FifoStatus(Bits, type=u32):
    """UFSTAT. A full FIFO's count reads as zero."""

    TX_FULL: bool = bits(24)
    TX_COUNT: u32 = bits(23, 16)
    RX_FULL: bool = bits(8)
    RX_COUNT: u32 = bits(7, 0)


class TransferStatus(Bits, type=u32):
    """UTRSTAT."""

    TX_EMPTY: bool = bits(2)  # the shifter too
    TX_BUFFER_EMPTY: bool = bits(1)
    RX_READY: bool = bits(0)


class Interrupts(Bits, type=u32):
    """UINTP, where a one clears, and UINTM, where a one masks."""

    MODEM: bool = bits(3)
    TXD: bool = bits(2)
    ERROR: bool = bits(1)
    RXD: bool = bits(0)
