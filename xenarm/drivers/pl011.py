"""Arm's PL011 and its subset, the SBSA generic UART (Arm DDI 0183G; SBSA, appendix "Generic UART").

The baud rate stays what the firmware has set: nothing here knows the clock.
"""

from freestanding import fn, u8, u32, u64
from xenarm.drivers.io import cpu_relax, mmio_read32, mmio_write32
from xenarm.drivers.line import PATIENCE
from xenarm.drivers.pl011_registers import (
    CR,
    DR,
    FR,
    ICR,
    IMSC,
    LCR_H,
    Control,
    Flags,
    Interrupts,
    LineControl,
)

__all__ = ["PATIENCE", "pl011_acknowledge", "pl011_get", "pl011_interrupts", "pl011_put", "pl011_setup", "sbsa_setup"]

RECEIVE = int(Interrupts(RX=True, RT=True))
SEND = int(Interrupts(TX=True))


@fn
def flags(base: u64) -> Flags:
    return Flags.from_raw(mmio_read32(base + FR))


@fn
def sbsa_setup(base: u64) -> None:
    """Interrupts off; an SBSA port has nothing else to set."""
    mmio_write32(base + IMSC, 0)
    mmio_write32(base + ICR, Interrupts.from_raw(0x7FF).raw)


@fn
def pl011_setup(base: u64) -> None:
    """Eight bits, no parity, FIFOs on. The line control may change only while the port is off (section 3.3.8)."""
    for _ in range(PATIENCE):
        if not flags(base).BUSY:
            break
        cpu_relax()
    mmio_write32(base + CR, 0)
    mmio_write32(base + LCR_H, LineControl(WLEN=3, FEN=True).raw)
    mmio_write32(base + CR, Control(UARTEN=True, TXE=True, RXE=True, RTS=True, DTR=True).raw)
    sbsa_setup(base)


@fn
def pl011_put(base: u64, character: u8, patience: u32 = PATIENCE) -> bool:
    """Send one character; False when the port is still full after so many looks."""
    for _ in range(patience):
        if not flags(base).TXFF:
            mmio_write32(base + DR, u32(character))
            return True
        cpu_relax()
    return False


@fn
def pl011_get(base: u64) -> tuple[bool, u8]:
    """(True, the next character received), or (False, 0). Bits 8 to 11 of UARTDR are errors of the line."""
    if flags(base).RXFE:
        return False, 0
    return True, u8(mmio_read32(base + DR) & 0xFF)


@fn
def pl011_interrupts(base: u64, receive: bool, send: bool) -> None:
    """Switch the receive interrupts: off, input stays in the FIFO, and flow control holds the sender. And the transmitter's, which comes
    when its FIFO, once full, has drained to its trigger level (section 2.8.2)."""
    mmio_write32(base + IMSC, (RECEIVE if receive else u32(0)) | (SEND if send else u32(0)))


@fn
def pl011_acknowledge(base: u64) -> None:
    """The transmitter's interrupt is seen. Clear it before filling the FIFO, so that the next one is not lost."""
    mmio_write32(base + ICR, SEND)
