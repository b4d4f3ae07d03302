"""The Cadence UART of Zynq and Zynq UltraScale+ (UG1085, chapter 21; registers: UG1087).

The baud rate stays what the firmware has set: nothing here knows the clock.
"""

from freestanding import fn, u8, u32, u64
from xenarm.drivers.cadence_registers import CR, FIFO, IDR, IER, ISR, MR, RXTOUT, RXWM, SR, Control, Interrupts, Mode, Status
from xenarm.drivers.io import cpu_relax, mmio_read32, mmio_write32
from xenarm.drivers.line import PATIENCE

__all__ = ["cadence_acknowledge", "cadence_get", "cadence_interrupts", "cadence_put", "cadence_setup"]

ALL = 0xFFFF_FFFF
RECEIVE = int(Interrupts(TOUT=True, RXTRIG=True))
SEND = int(Interrupts(TXEMPTY=True))
MODE_BELOW_CLOCK = 0x3FE  # everything but the clock's prescaler, which belongs to the baud rate
SILENCE = 10  # the receiver's time-out: 40 bit times


@fn
def status(base: u64) -> Status:
    return Status.from_raw(mmio_read32(base + SR))


@fn
def cadence_setup(base: u64) -> None:
    """Eight bits, no parity, both directions on, an interrupt for each character. The mode may change only while nothing is sent."""
    for _ in range(PATIENCE):
        s = status(base)
        if s.TXEMPTY and not s.TACTIVE:
            break
        cpu_relax()
    mmio_write32(base + IDR, ALL)
    mmio_write32(base + CR, Control(TXDIS=True, RXDIS=True, TXRES=True, RXRES=True).raw)
    mmio_write32(base + MR, mmio_read32(base + MR) & ~u32(MODE_BELOW_CLOCK) | Mode(PAR=4).raw)
    mmio_write32(base + RXWM, 1)
    mmio_write32(base + RXTOUT, SILENCE)
    mmio_write32(base + CR, Control(TXEN=True, RXEN=True, RSTTO=True).raw)
    mmio_write32(base + ISR, ALL)


@fn
def cadence_put(base: u64, character: u8, patience: u32) -> bool:
    """Send one character; False when the port is still full after so many looks."""
    for _ in range(patience):
        if not status(base).TXFULL:
            mmio_write32(base + FIFO, u32(character))
            return True
        cpu_relax()
    return False


@fn
def cadence_get(base: u64) -> tuple[bool, u8]:
    """(True, the next character received), or (False, 0)."""
    if status(base).RXEMPTY:
        return False, 0
    return True, u8(mmio_read32(base + FIFO) & 0xFF)


@fn
def cadence_interrupts(base: u64, receive: bool, send: bool) -> None:
    """Which interrupts come: of the receiver, and when the transmitter's FIFO has become empty."""
    on = (RECEIVE if receive else u32(0)) | (SEND if send else u32(0))
    mmio_write32(base + IDR, ~on)
    mmio_write32(base + IER, on)


@fn
def cadence_acknowledge(base: u64) -> None:
    """Status bits stay until a one is written. Clear them before the FIFOs are looked at, so that the next event is not lost."""
    mmio_write32(base + ISR, mmio_read32(base + ISR))
