"""The 16550's registers, declared once for the driver and for the model (TI PC16550D data sheet, section 8).

They are bytes, `1 << reg-shift` bytes apart. Those of DesignWare's and of OMAP's kind beyond the first eight are numbered likewise.
"""

from freestanding import Bits, IntEnum, bits, u8

__all__ = [
    "DLL",
    "DLM",
    "FCR",
    "FIFO_DEPTH",
    "IER",
    "IIR",
    "LCR",
    "LSR",
    "MCR",
    "MDR1",
    "RBR",
    "SUPPLEMENT",
    "THR",
    "USR",
    "Fifo",
    "Identification",
    "InterruptKind",
    "Interrupts",
    "LineControl",
    "LineStatus",
    "Modem",
    "Supplement",
]

RBR = 0  # read
THR = 0  # written
DLL = 0  # while LCR.DLAB
IER = 1
DLM = 1  # while LCR.DLAB
IIR = 2  # read
FCR = 2  # written
LCR = 3
MCR = 4
LSR = 5
MDR1 = 8  # OMAP: 0 is the UART mode, 7 off (OMAP543x TRM, UART_MDR1)
SUPPLEMENT = 16  # OMAP (UART_SCR)
USR = 31  # DesignWare (DW_apb_uart databook, USR): reading it ends a busy-detect interrupt

FIFO_DEPTH = 16


class Interrupts(Bits, type=u8):
    """IER."""

    EDSSI: bool = bits(3)
    ELSI: bool = bits(2)
    ETBEI: bool = bits(1)
    ERBFI: bool = bits(0)


class InterruptKind(IntEnum, type=u8):
    """IIR bits 3 to 0."""

    MODEM = 0
    NONE = 1
    TRANSMITTER = 2
    RECEIVED = 4
    LINE = 6
    BUSY = 7  # DesignWare: LCR was written while the port was busy, and kept its value
    TIMEOUT = 12


class Identification(Bits, type=u8):
    """IIR."""

    FIFOS: u8 = bits(7, 6)  # 3: on
    KIND: u8 = bits(3, 0)


class Fifo(Bits, type=u8):
    """FCR."""

    TRIGGER: u8 = bits(7, 6)  # of the receiver; 0: one character
    XMIT_RESET: bool = bits(2)
    RCVR_RESET: bool = bits(1)
    ENABLE: bool = bits(0)


class LineControl(Bits, type=u8):
    """LCR."""

    DLAB: bool = bits(7)
    BREAK: bool = bits(6)
    PEN: bool = bits(3)
    STB: bool = bits(2)
    WLS: u8 = bits(1, 0)  # 3: eight bits


class Modem(Bits, type=u8):
    """MCR."""

    LOOP: bool = bits(4)
    OUT2: bool = bits(3)  # lets the interrupt out on a PC
    OUT1: bool = bits(2)
    RTS: bool = bits(1)
    DTR: bool = bits(0)


class Supplement(Bits, type=u8):
    """UART_SCR of OMAP."""

    TX_EMPTY_CTL_IT: bool = bits(3)  # the transmitter's interrupt comes when nothing is left to send, and not when there is some room


class LineStatus(Bits, type=u8):
    """LSR."""

    ERROR: bool = bits(7)
    TEMT: bool = bits(6)  # the shifter is empty too
    THRE: bool = bits(5)  # the transmitter's FIFO is empty
    BI: bool = bits(4)
    FE: bool = bits(3)
    PE: bool = bits(2)
    OE: bool = bits(1)
    DR: bool = bits(0)
