"""The PL011's registers, declared once for the driver and for the model (Arm DDI 0183G, chapter 3)."""

from freestanding import Bits, bits, u32

__all__ = [
    "CR",
    "DMACR",
    "DR",
    "FIFO_DEPTH",
    "FR",
    "IBRD",
    "ICR",
    "IFLS",
    "ILPR",
    "IMSC",
    "LCR_H",
    "MIS",
    "PCELL_ID",
    "PERIPH_ID",
    "RIS",
    "RSR_ECR",
    "FBRD",
    "Control",
    "FifoLevels",
    "Flags",
    "Interrupts",
    "LineControl",
]

DR = 0x000
RSR_ECR = 0x004
FR = 0x018
ILPR = 0x020
IBRD = 0x024
FBRD = 0x028
LCR_H = 0x02C
CR = 0x030
IFLS = 0x034
IMSC = 0x038
RIS = 0x03C
MIS = 0x040
ICR = 0x044
DMACR = 0x048
PERIPH_ID = 0xFE0
PCELL_ID = 0xFF0

FIFO_DEPTH = 32  # since revision r1p5


class Flags(Bits, type=u32):
    """UARTFR."""

    RI: bool = bits(8)
    TXFE: bool = bits(7)
    RXFF: bool = bits(6)
    TXFF: bool = bits(5)
    RXFE: bool = bits(4)
    BUSY: bool = bits(3)
    DCD: bool = bits(2)
    DSR: bool = bits(1)
    CTS: bool = bits(0)


class LineControl(Bits, type=u32):
    """UARTLCR_H."""

    SPS: bool = bits(7)
    WLEN: u32 = bits(6, 5)  # 3: eight bits
    FEN: bool = bits(4)
    STP2: bool = bits(3)
    EPS: bool = bits(2)
    PEN: bool = bits(1)
    BRK: bool = bits(0)


class Control(Bits, type=u32):
    """UARTCR."""

    CTSEN: bool = bits(15)
    RTSEN: bool = bits(14)
    RTS: bool = bits(11)
    DTR: bool = bits(10)
    RXE: bool = bits(9)
    TXE: bool = bits(8)
    LBE: bool = bits(7)
    UARTEN: bool = bits(0)


class FifoLevels(Bits, type=u32):
    """UARTIFLS: the trigger levels, 0 to 4 for 1/8, 1/4, 1/2, 3/4, 7/8 of the FIFO."""

    RXIFLSEL: u32 = bits(5, 3)
    TXIFLSEL: u32 = bits(2, 0)


class Interrupts(Bits, type=u32):
    """UARTIMSC, UARTRIS, UARTMIS and UARTICR share one layout."""

    OE: bool = bits(10)
    BE: bool = bits(9)
    PE: bool = bits(8)
    FE: bool = bits(7)
    RT: bool = bits(6)
    TX: bool = bits(5)
    RX: bool = bits(4)
    DSRM: bool = bits(3)
    DCDM: bool = bits(2)
    CTSM: bool = bits(1)
    RIM: bool = bits(0)
