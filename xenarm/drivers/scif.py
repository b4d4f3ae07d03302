"""Renesas' serial interfaces with FIFO: SCIF, SCIFA, HSCIF (R-Car H2 User's Manual), as on Lager. One source, a driver for each kind.

The baud rate and its clock stay what the firmware has set.
"""

from collections.abc import Callable
from dataclasses import dataclass

from freestanding import fn, u8, u16, u32, u64
from xenarm.drivers.io import cpu_relax, mmio_read8, mmio_read16, mmio_write8, mmio_write16
from xenarm.drivers.line import PATIENCE
from xenarm.drivers.scif_registers import SCFCR, SCFDR, SCSCR, Control, FifoControl, Kind, Status

__all__ = ["Functions", "scif"]

CLOCK = 3  # SCSCR.CKE
ON = int(Control(TE=True, RE=True))
RECEIVE = int(Control(RIE=True, REIE=True))
SEND = int(Control(TIE=True))
SENT = int(Status(TEND=True, TDFE=True))
RECEIVED = int(Status(RDF=True, DR=True))
ERRORS = int(Status(ER=True, BRK=True, FER=True, PER=True))
ALL = 0xFFFF
COUNT = 0xFF


@dataclass(frozen=True)
class Functions:
    """A driver, as `serial.py` lists them."""

    setup: Callable[[u64], None]
    put: Callable[[u64, u8, u32], bool]
    get: Callable[[u64], tuple[bool, u8]]
    interrupts: Callable[[u64, bool, bool], None]
    acknowledge: Callable[[u64], None]


def scif(kind: Kind) -> Functions:
    """The driver of one kind of port."""
    status_at, transmit_at, receive_at, depth = kind.status, kind.transmit, kind.receive, kind.depth
    overrun_at, overrun = kind.overrun, kind.overrun_bit
    kept = ALL & ~(overrun if overrun_at == status_at else 0)  # of the status: what is no error

    @fn
    def clear(base: u64, flags: u16) -> None:
        """Flags that have been read as one go when they are written as zero; those written as one stay."""
        mmio_read16(base + status_at)
        mmio_write16(base + status_at, ~flags)

    @fn
    def clear_errors(base: u64) -> None:
        clear(base, ERRORS | (ALL & ~kept))
        if overrun_at != status_at:
            mmio_read16(base + overrun_at)
            mmio_write16(base + overrun_at, ALL & ~overrun)

    @fn
    def setup(base: u64) -> None:
        """Both directions on, FIFOs empty. What is still being sent is let out first."""
        for _ in range(PATIENCE):
            if Status.from_raw(mmio_read16(base + status_at)).TEND:
                break
            cpu_relax()
        clock = mmio_read16(base + SCSCR) & CLOCK
        mmio_write16(base + SCSCR, clock)
        mmio_write16(base + SCFCR, FifoControl(TFRST=True, RFRST=True).raw)
        clear_errors(base)
        clear(base, RECEIVED)
        mmio_write16(base + SCFCR, 0)
        mmio_write16(base + SCSCR, clock | ON)

    @fn
    def put(base: u64, character: u8, patience: u32) -> bool:
        """Send one character; False when the port is still full after so many looks."""
        for _ in range(patience):
            if (mmio_read16(base + SCFDR) >> 8) & COUNT < depth:
                mmio_write8(base + transmit_at, character)
                clear(base, SENT)
                return True
            cpu_relax()
        return False

    @fn
    def get(base: u64) -> tuple[bool, u8]:
        """(True, the next character received), or (False, 0)."""
        if mmio_read16(base + SCFDR) & COUNT == 0:
            return False, 0
        return True, mmio_read8(base + receive_at)

    @fn
    def interrupts(base: u64, receive: bool, send: bool) -> None:
        """Which interrupts come: of the receiver, and when the transmitter's FIFO has drained to its trigger level."""
        on = (RECEIVE if receive else u16(0)) | (SEND if send else u16(0))
        mmio_write16(base + SCSCR, mmio_read16(base + SCSCR) & CLOCK | ON | on)

    @fn
    def acknowledge(base: u64) -> None:
        """Clear what the receiver has told before its FIFO is looked at, so that the next character is not lost; and errors, which stop it."""
        clear(base, RECEIVED)
        clear_errors(base)

    return Functions(setup, put, get, interrupts, acknowledge)
