"""The 16550 and its kin (TI PC16550D data sheet): plain ones, DesignWare's APB UART, OMAP's, the BCM2835's auxiliary one.

The baud rate stays what the firmware has set. The transmitter tells only that its FIFO is empty, so `Port.room` counts what may follow.
"""

from freestanding import Struct, fn, u8, u32, u64, zeroed
from xenarm.devicetree.reader import Fdt, Node
from xenarm.devicetree.values import fdt_compatible, fdt_u32
from xenarm.drivers.io import cpu_relax, mmio_read8, mmio_read32, mmio_write8, mmio_write32
from xenarm.drivers.line import PATIENCE
from xenarm.drivers.ns16550_registers import (
    FCR,
    FIFO_DEPTH,
    IER,
    IIR,
    LCR,
    LSR,
    MCR,
    MDR1,
    RBR,
    SUPPLEMENT,
    THR,
    USR,
    Fifo,
    Identification,
    InterruptKind,
    Interrupts,
    LineControl,
    LineStatus,
    Modem,
    Supplement,
)

__all__ = ["PORT", "ns16550_acknowledge", "ns16550_describe", "ns16550_get", "ns16550_interrupts", "ns16550_put", "ns16550_setup"]

LARGEST_SHIFT = 3
AUX_SHIFT = 2
FIFOS_ON = 3
MODE = 7
UART_MODE = 0
SETTLE = 10_000  # turns of a loop: more than 2 us on any CPU
EIGHT_BITS = int(LineControl(WLS=3))


class Port(Struct):
    """How the port's registers lie, and what it is beside a 16550. There is one console, so there is one of these."""

    shift: u32
    wide: bool  # registers are accessed as 32-bit words
    designware: bool
    omap: bool
    depth: u32
    room: u32  # characters that the transmitter's FIFO surely takes


PORT = zeroed(Port)


@fn
def ns16550_describe(fdt: Fdt, node: Node) -> bool:
    """Read `reg-shift` and `reg-io-width` (binding serial/8250.yaml). False: they make no sense."""
    aux = fdt_compatible(fdt, node, b"brcm,bcm2835-aux-uart")
    PORT.designware = fdt_compatible(fdt, node, b"snps,dw-apb-uart")
    PORT.omap = is_omap(fdt, node)
    default = AUX_SHIFT if aux or PORT.omap else u32(0)
    PORT.shift = fdt_u32(fdt, node, b"reg-shift", default)
    width = fdt_u32(fdt, node, b"reg-io-width", 4 if aux else u32(1))
    PORT.wide = width == 4
    PORT.room = 0
    PORT.depth = 1
    return PORT.shift <= LARGEST_SHIFT and (width == 1 or width == 4)


@fn
def is_omap(fdt: Fdt, node: Node) -> bool:
    return (
        fdt_compatible(fdt, node, b"ti,omap2-uart") or fdt_compatible(fdt, node, b"ti,omap3-uart") or fdt_compatible(fdt, node, b"ti,omap4-uart")
    )


@fn
def read(base: u64, register: u32) -> u8:
    at = base + (u64(register) << PORT.shift)
    return u8(mmio_read32(at) & 0xFF) if PORT.wide else mmio_read8(at)


@fn
def write(base: u64, register: u32, value: u8) -> None:
    at = base + (u64(register) << PORT.shift)
    if PORT.wide:
        mmio_write32(at, u32(value))
    else:
        mmio_write8(at, value)


@fn
def status(base: u64) -> LineStatus:
    return LineStatus.from_raw(read(base, LSR))


@fn
def omap_set(base: u64) -> None:
    """The UART's mode, where it is another: for 2 us after it was written, accesses corrupt data (OMAP erratum i202). And when the transmitter interrupts."""
    if read(base, MDR1) & MODE != UART_MODE:
        write(base, MDR1, UART_MODE)
        for _ in range(SETTLE):
            cpu_relax()
    write(base, SUPPLEMENT, Supplement(TX_EMPTY_CTL_IT=True).raw)


@fn
def line_set(base: u64) -> None:
    """FIFOs, and the line. DesignWare's port takes no line control while it sends or receives, or has received."""
    for _ in range(PATIENCE):
        write(base, FCR, Fifo(ENABLE=True, RCVR_RESET=True, XMIT_RESET=True).raw)
        write(base, LCR, EIGHT_BITS)
        if not PORT.designware or read(base, LCR) == EIGHT_BITS:
            break
        cpu_relax()


@fn
def ns16550_setup(base: u64) -> None:
    """Eight bits, no parity, FIFOs on, an interrupt for each character. What is still being sent is let out first."""
    for _ in range(PATIENCE):
        if status(base).TEMT:
            break
        cpu_relax()
    write(base, IER, 0)
    if PORT.omap:
        omap_set(base)
    line_set(base)
    write(base, MCR, Modem(DTR=True, RTS=True, OUT2=True).raw)
    identification = Identification.from_raw(read(base, IIR))
    PORT.depth = u32(FIFO_DEPTH) if identification.FIFOS == FIFOS_ON else u32(1)
    PORT.room = 0
    ns16550_acknowledge(base)


@fn
def ns16550_put(base: u64, character: u8, patience: u32) -> bool:
    """Send one character; False when the port is still full after so many looks."""
    if PORT.room == 0:
        for _ in range(patience):
            if status(base).THRE:
                PORT.room = PORT.depth
                break
            cpu_relax()
    if PORT.room == 0:
        return False
    PORT.room -= 1
    write(base, THR, character)
    return True


@fn
def ns16550_get(base: u64) -> tuple[bool, u8]:
    """(True, the next character received), or (False, 0)."""
    if not status(base).DR:
        return False, 0
    return True, read(base, RBR)


@fn
def ns16550_interrupts(base: u64, receive: bool, send: bool) -> None:
    """Which interrupts come: of the receiver, and when the transmitter's FIFO has become empty."""
    write(base, IER, Interrupts(ERBFI=receive, ETBEI=send).raw)


@fn
def ns16550_acknowledge(base: u64) -> None:
    """Reading IIR ends the transmitter's interrupt. DesignWare's port has two more that would come for ever."""
    kind = Identification.from_raw(read(base, IIR)).KIND
    if PORT.designware:
        if kind == u8(InterruptKind.BUSY):
            read(base, USR)
        elif kind == u8(InterruptKind.TIMEOUT) and not status(base).DR:
            read(base, RBR)
