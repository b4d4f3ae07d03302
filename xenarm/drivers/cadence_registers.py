"""The Cadence UART's registers, declared once for the driver and for the model (Zynq UltraScale+ Devices Register Reference UG1087, UART)."""

from freestanding import Bits, bits, u32

__all__ = ["CR", "FIFO", "FIFO_DEPTH", "IDR", "IER", "IMR", "ISR", "MR", "RXTOUT", "RXWM", "SR", "TXWM", "Control", "Interrupts", "Mode", "Status"]

CR = 0x00
MR = 0x04
IER = 0x08
IDR = 0x0C
IMR = 0x10
ISR = 0x14
RXTOUT = 0x1C  # in units of four bit times; 0: no time-out
RXWM = 0x20
SR = 0x2C
FIFO = 0x30
TXWM = 0x44

FIFO_DEPTH = 64


class Control(Bits, type=u32):
    """UART Control."""

    STPBRK: bool = bits(8)
    STTBRK: bool = bits(7)
    RSTTO: bool = bits(6)
    TXDIS: bool = bits(5)
    TXEN: bool = bits(4)
    RXDIS: bool = bits(3)
    RXEN: bool = bits(2)
    TXRES: bool = bits(1)  # clears itself
    RXRES: bool = bits(0)


class Mode(Bits, type=u32):
    """UART Mode. All zero but PAR: normal mode, one stop bit, eight data bits."""

    CHMODE: u32 = bits(9, 8)
    NBSTOP: u32 = bits(7, 6)
    PAR: u32 = bits(5, 3)  # 4: no parity
    CHRL: u32 = bits(2, 1)
    CLKS: bool = bits(0)


class Interrupts(Bits, type=u32):
    """IER, IDR, IMR and ISR share one layout. ISR latches; a one clears."""

    TOUT: bool = bits(8)
    PARITY: bool = bits(7)
    FRAMING: bool = bits(6)
    OVERRUN: bool = bits(5)
    TXFULL: bool = bits(4)
    TXEMPTY: bool = bits(3)
    RXFULL: bool = bits(2)
    RXEMPTY: bool = bits(1)
    RXTRIG: bool = bits(0)


class Status(Bits, type=u32):
    """Channel Status."""

    TACTIVE: bool = bits(11)
    TXFULL: bool = bits(4)
    TXEMPTY: bool = bits(3)
    RXFULL: bool = bits(2)
    RXEMPTY: bool = bits(1)
    RXTRIG: bool = bits(0)
