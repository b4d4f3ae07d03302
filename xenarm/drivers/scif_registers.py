"""Renesas' serial interfaces with FIFO, declared once for the driver and for the model (R-Car H2 User's Manual, chapters SCIF, SCIFA, HSCIF).

SCIF and HSCIF share their registers; SCIFA has some elsewhere. They are 16 bits wide, the data registers 8.
"""

from dataclasses import dataclass

from freestanding import Bits, bits, u16

__all__ = ["HSCIF", "SCFCR", "SCFDR", "SCIF", "SCIFA", "SCSCR", "SCSMR", "Control", "FifoControl", "Kind", "Status"]

SCSMR = 0x00
SCSCR = 0x08
SCFCR = 0x18
SCFDR = 0x1C  # characters in the FIFOs: of the transmitter from bit 8, of the receiver from bit 0


@dataclass(frozen=True)
class Kind:
    """Where one kind of port has what, and how deep its FIFOs are."""

    status: int
    transmit: int
    receive: int
    overrun: int  # the register that tells that characters were lost, and its bit
    overrun_bit: int
    depth: int


SCIF = Kind(status=0x10, transmit=0x0C, receive=0x14, overrun=0x24, overrun_bit=1, depth=16)
HSCIF = Kind(status=0x10, transmit=0x0C, receive=0x14, overrun=0x24, overrun_bit=1, depth=128)
SCIFA = Kind(status=0x14, transmit=0x20, receive=0x24, overrun=0x14, overrun_bit=1 << 9, depth=64)


class Control(Bits, type=u16):
    """SCSCR."""

    TIE: bool = bits(7)
    RIE: bool = bits(6)
    TE: bool = bits(5)
    RE: bool = bits(4)
    REIE: bool = bits(3)
    CKE: u16 = bits(1, 0)  # the clock's source


class Status(Bits, type=u16):
    """SCFSR, SCASSR. A flag is cleared by a zero written after it was read as one."""

    ER: bool = bits(7)
    TEND: bool = bits(6)  # nothing is sent any more
    TDFE: bool = bits(5)  # the transmitter's FIFO is at its trigger level or below
    BRK: bool = bits(4)
    FER: bool = bits(3)
    PER: bool = bits(2)
    RDF: bool = bits(1)  # the receiver's FIFO is at its trigger level or above
    DR: bool = bits(0)  # some characters, and silence since


class FifoControl(Bits, type=u16):
    """SCFCR. Trigger levels 0 are a receiver's of one character, and a transmitter's of half its FIFO."""

    RTRG: u16 = bits(7, 6)
    TTRG: u16 = bits(5, 4)
    MCE: bool = bits(3)
    TFRST: bool = bits(2)
    RFRST: bool = bits(1)
    LOOP: bool = bits(0)
