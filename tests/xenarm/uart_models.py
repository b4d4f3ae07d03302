"""Serial ports as their manuals describe them, register by register: what the drivers are tested against.

Each has a transmitter and a receiver with FIFOs, an interrupt line, and the rules by which status bits come and go. What a manual
forbids fails the test.
"""

from __future__ import annotations

from xenarm.arm import instructions


class Uart(instructions.ModelBus):
    """What all ports have. Times do not pass by themselves: `send` moves characters onto the line, `receive` off it."""

    depth = 16
    widths: tuple[int, ...] = (4,)

    def __init__(self, base: int) -> None:
        super().__init__()
        self.base = base
        self.tx, self.rx, self.line = bytearray(), bytearray(), bytearray()
        self.marks: list[str] = []  # what is wrong with each character of `rx`
        self.popped = ""  # and with the one that was read last
        self.stopped = False  # the line takes nothing
        self.overruns = 0
        self.looks = 0

    # -- the bus

    def read(self, address: int, width: int) -> int:
        assert width in self.widths, f"a read of {width} bytes"
        self.looks += 1
        return self.load(self.register(address)) & ((1 << 8 * width) - 1)

    def write(self, address: int, width: int, value: int) -> None:
        assert width in self.widths, f"a write of {width} bytes"
        self.store(self.register(address), value)

    def register(self, address: int) -> int:
        assert self.base <= address < self.base + 0x1000 and address % 4 == 0
        return address - self.base

    def load(self, register: int) -> int:
        raise NotImplementedError

    def store(self, register: int, value: int) -> None:
        raise NotImplementedError

    # -- the line

    def irq(self) -> bool:
        """The level of the interrupt."""
        raise NotImplementedError

    def send(self, count: int = 1) -> None:
        """The line takes characters from the transmitter."""
        if not self.stopped and self.transmitter_on():
            self.line += self.tx[:count]
            del self.tx[:count]
        self.update()

    def receive(self, data: bytes, error: str = "") -> None:
        """Characters arrive, all with a `break`, `frame` or `parity` error or none, and then there is silence."""
        for byte in data:
            if not self.receiver_on():
                continue
            if len(self.rx) == self.depth:
                self.overrun()
            else:
                self.marks[len(self.rx) :] = [error]
                self.rx.append(byte)
                if error:
                    self.faulty(error)
            self.arrived()
        if data and self.receiver_on():
            self.silence()
        self.update()

    def push(self, value: int) -> None:
        assert self.transmitter_on(), "a character for a transmitter that is off"
        assert len(self.tx) < self.depth, "a character for a full FIFO"
        self.tx.append(value & 0xFF)
        self.update()

    def pop(self) -> int:
        assert self.rx, "a read of an empty FIFO"
        value, self.popped = self.rx.pop(0), self.marks.pop(0)
        self.update()
        return value

    def next_error(self) -> str:
        """What is wrong with the character that will be read next."""
        return self.marks[0] if self.rx else ""

    def transmitter_on(self) -> bool:
        return True

    def receiver_on(self) -> bool:
        return True

    def overrun(self) -> None:
        self.overruns += 1

    def faulty(self, error: str) -> None:
        """A character that arrives is wrong."""

    def arrived(self) -> None:
        """A character is in the FIFO."""

    def silence(self) -> None:
        """Nothing has arrived for a while."""

    def update(self) -> None:
        """Status bits follow from the FIFOs."""


class Pl011(Uart):
    """DDI 0183G, chapters 2.8 and 3: masked interrupts; the transmitter's comes when its FIFO passes the trigger level on the way down."""

    DR, FR, LCR_H, CR, IMSC, RIS, MIS, ICR = 0x00, 0x18, 0x2C, 0x30, 0x38, 0x3C, 0x40, 0x44
    TX, RX, RT = 1 << 5, 1 << 4, 1 << 6

    def __init__(self, base: int) -> None:
        super().__init__(base)
        self.cr, self.lcr, self.imsc, self.ris = 0x300, 0, 0, 0
        self.rx = bytearray()
        self.before = 0

    def load(self, register: int) -> int:
        if register == self.FR:
            full = len(self.tx) == self.depth
            return full << 5 | (not self.rx) << 4 | (not self.tx) << 7 | bool(self.tx) << 3
        if register == self.DR:
            return self.pop() | {"": 0, "frame": 1 << 8, "parity": 1 << 9, "break": 1 << 10}[self.popped]
        return {self.CR: self.cr, self.IMSC: self.imsc, self.RIS: self.ris, self.MIS: self.ris & self.imsc}[register]

    def store(self, register: int, value: int) -> None:
        if register == self.DR:
            self.push(value)
        elif register == self.LCR_H:
            assert not self.cr & 1, "the line control changed while the port was on"
            self.lcr = value
        elif register == self.CR:
            self.cr = value
        elif register == self.IMSC:
            self.imsc = value
        elif register == self.ICR:
            self.ris &= ~value
        else:
            raise AssertionError(f"a write to {register:#x}")

    def transmitter_on(self) -> bool:
        return self.cr & 0x101 == 0x101

    def receiver_on(self) -> bool:
        return self.cr & 0x201 == 0x201

    def faulty(self, error: str) -> None:
        self.ris |= {"frame": 1 << 7, "parity": 1 << 8, "break": 1 << 9}[error]

    def overrun(self) -> None:
        super().overrun()
        self.ris |= 1 << 10

    def arrived(self) -> None:
        if len(self.rx) >= self.depth // 2:
            self.ris |= self.RX

    def silence(self) -> None:
        self.ris |= self.RT

    def update(self) -> None:
        half = self.depth // 2
        if self.before > half >= len(self.tx):
            self.ris |= self.TX
        self.before = len(self.tx)
        if len(self.tx) > half:
            self.ris &= ~self.TX
        if len(self.rx) < half:
            self.ris &= ~self.RX
        if not self.rx:
            self.ris &= ~self.RT

    def irq(self) -> bool:
        return bool(self.ris & self.imsc)


class Sbsa(Pl011):
    """SBSA, appendix "Generic UART": neither line control nor control; firmware has turned it on."""

    def __init__(self, base: int) -> None:
        super().__init__(base)
        self.cr = 0x301

    def load(self, register: int) -> int:
        assert register != self.CR
        return super().load(register)

    def store(self, register: int, value: int) -> None:
        assert register not in (self.LCR_H, self.CR), "an SBSA port has no such register"
        super().store(register, value)


class Ns16550(Uart):
    """PC16550D, section 8. `shift` and `widths` as the node says; `designware` refuses LCR while busy, and tells so by an interrupt."""

    def __init__(self, base: int, shift: int = 0, width: int = 1, designware: bool = False, omap: bool = False, fifos: bool = True) -> None:
        super().__init__(base)
        self.shift, self.widths, self.designware, self.has_fifos = shift, (width,), designware, fifos
        self.ier, self.lcr, self.mcr, self.fcr = 0, 0, 0, 0
        self.thre_pending, self.timeout, self.busy_detected = True, False, False
        self.overran, self.receiving = False, 0  # `receiving`: so many accesses more

    def register(self, address: int) -> int:
        offset = address - self.base
        assert offset % (1 << self.shift) == 0
        return offset >> self.shift

    @property
    def room(self) -> int:
        return 16 if self.fcr & 1 else 1

    def mode(self) -> int:
        """0: a 16550."""
        return 0

    def busy(self) -> bool:
        """DesignWare: something is sent, received, or has been and was not read."""
        self.receiving = max(self.receiving - 1, 0)
        return bool(self.tx or self.rx or self.receiving)

    def kind(self) -> int:
        if self.busy_detected:
            return 7
        if self.ier & 4 and (self.overran or self.next_error()):
            return 6
        if self.ier & 1 and self.rx:
            return 12 if self.timeout else 4
        if self.ier & 1 and self.timeout:
            return 12  # DesignWare: silence without a character
        if self.ier & 2 and self.thre_pending:
            return 2
        return 1

    def irq(self) -> bool:
        return self.kind() != 1

    def load(self, register: int) -> int:
        if register == 0:
            assert not self.lcr & 0x80
            self.timeout = False
            if not self.rx:
                assert self.designware, "a read of an empty FIFO"
                return 0
            return self.pop()
        if register == 2:
            kind = self.kind()
            if kind == 2:
                self.thre_pending = False
            return kind | (0xC0 if self.fcr & 1 else 0)
        if register == 5:
            return self.line_status()
        if register == 31:
            assert self.designware
            self.busy_detected = False
            return self.busy()
        return {1: self.ier, 3: self.lcr, 4: self.mcr}[register]

    def line_status(self) -> int:
        """Errors are those of the character that is next; they are told of once."""
        status = (not self.tx) << 6 | (not self.tx) << 5 | bool(self.rx) | self.overran << 1
        status |= {"": 0, "parity": 4, "frame": 8, "break": 0x10}[self.next_error()]
        self.overran = False
        if self.rx:
            self.marks[0] = ""
        return status

    def overrun(self) -> None:
        super().overrun()
        self.overran = True

    def store(self, register: int, value: int) -> None:
        assert value < 0x100
        if register == 0:
            assert not self.lcr & 0x80 and self.mode() == 0
            assert len(self.tx) < self.room, "a character for a full transmitter"
            self.tx.append(value)
            self.thre_pending = False
        elif register == 1:
            if value & 2 and not self.ier & 2 and not self.tx:
                self.thre_pending = True
            self.ier = value
        elif register == 2:
            self.fcr = value & 0xC1 if self.has_fifos else 0
            if value & 2:
                self.rx.clear()
            if value & 4:
                self.tx.clear()
        elif register == 3:
            if self.designware and self.busy():
                self.busy_detected = True
            else:
                self.lcr = value
        elif register == 4:
            self.mcr = value
        else:
            raise AssertionError(f"a write to register {register}")

    def send(self, count: int = 1) -> None:
        had = bool(self.tx)
        super().send(count)
        if had and not self.tx:
            self.thre_pending = True

    def silence(self) -> None:
        self.timeout = True

    def push(self, value: int) -> None:
        raise AssertionError


class Omap(Ns16550):
    """SWPU249, chapter "UART": off until MDR1 says what it is; 64 characters deep, where the firmware has turned the FIFOs on: with the baud clock running FCR
    does not change that. The transmitter's interrupt is a level: room for 8, or with SCR's TX_EMPTY_CTL_IT nothing left at all; the receiver's is 8, or silence."""

    depth = 64

    def __init__(self, base: int, fifos: bool = True) -> None:
        super().__init__(base, 2, 1, fifos=fifos)
        self.fcr, self.mdr1, self.scr = int(fifos), 7, 0

    @property
    def room(self) -> int:
        return self.depth if self.fcr & 1 else 1

    def mode(self) -> int:
        return self.mdr1

    def load(self, register: int) -> int:
        return self.mdr1 if register == 8 else super().load(register)

    def kind(self) -> int:
        trigger = 8 if self.fcr & 1 else 1
        if self.ier & 1 and self.rx and (self.timeout or len(self.rx) >= trigger):
            return 12 if self.timeout else 4
        wanted = self.room if self.scr & 8 else trigger
        return 2 if self.ier & 2 and self.room - len(self.tx) >= wanted else 1

    def store(self, register: int, value: int) -> None:
        if register == 2:
            value = value & ~1 | self.fcr & 1
        if register == 8:
            self.mdr1 = value
        elif register == 16:
            self.scr = value
        else:
            super().store(register, value)


class Cadence(Uart):
    """UG1085 chapter 21: the status follows the FIFOs, the interrupt status latches it until a one is written."""

    CR, MR, IER, IDR, IMR, ISR, RXTOUT, RXWM, SR, FIFO = 0x00, 0x04, 0x08, 0x0C, 0x10, 0x14, 0x1C, 0x20, 0x2C, 0x30
    depth = 64

    def __init__(self, base: int) -> None:
        super().__init__(base)
        self.cr, self.mr, self.imr, self.isr, self.rxtout, self.rxwm = 0x128, 0x21, 0, 0, 0, 32

    def status(self) -> int:
        triggered = 0 < self.rxwm <= len(self.rx)
        sr = triggered | (not self.rx) << 1 | (len(self.rx) == self.depth) << 2
        return sr | (not self.tx) << 3 | (len(self.tx) == self.depth) << 4 | (bool(self.tx) and self.transmitter_on()) << 11

    def load(self, register: int) -> int:
        if register == self.FIFO:
            return self.pop()
        return {self.CR: self.cr, self.MR: self.mr, self.IMR: self.imr, self.ISR: self.isr, self.SR: self.status()}[register]

    def store(self, register: int, value: int) -> None:
        if register == self.FIFO:
            self.push(value)
        elif register == self.CR:
            if value & 2:
                self.tx.clear()
            if value & 1:
                self.rx.clear()
            self.cr = value & ~3
        elif register == self.MR:
            assert not self.tx, "the mode changed while something was sent"
            self.mr = value
        elif register == self.IER:
            self.imr |= value & 0x1FFF
        elif register == self.IDR:
            self.imr &= ~value
        elif register == self.ISR:
            self.isr &= ~value
            self.update()
        elif register == self.RXTOUT:
            self.rxtout = value
        elif register == self.RXWM:
            self.rxwm = value
        else:
            raise AssertionError(f"a write to {register:#x}")

    def transmitter_on(self) -> bool:
        return self.cr & 0x30 == 0x10

    def receiver_on(self) -> bool:
        return self.cr & 0xC == 4

    def overrun(self) -> None:
        super().overrun()
        self.isr |= 1 << 5

    def faulty(self, error: str) -> None:
        self.isr |= {"frame": 1 << 6, "parity": 1 << 7, "break": 1 << 13}[error]

    def silence(self) -> None:
        if self.rxtout:
            self.isr |= 1 << 8

    def update(self) -> None:
        self.isr |= self.status() & 0x1F

    def irq(self) -> bool:
        return bool(self.isr & self.imr)


class Exynos(Uart):
    """The Exynos manuals' UART chapter: pending bits latch, those of levels come again while their condition holds."""

    ULCON, UCON, UFCON, UMCON, UTRSTAT, UERSTAT, UFSTAT = 0x00, 0x04, 0x08, 0x0C, 0x10, 0x14, 0x18
    UTXH, URXH, UINTP, UINTM = 0x20, 0x24, 0x30, 0x38
    CLOCK = 0x400

    def __init__(self, base: int) -> None:
        super().__init__(base)
        self.ulcon, self.ucon, self.ufcon, self.umcon, self.uintp, self.uintm, self.uerstat = 0, self.CLOCK, 0, 0, 0, 0, 0
        self.silent = False

    def load(self, register: int) -> int:
        if register == self.URXH:
            return self.pop()
        if register == self.UFSTAT:
            rx_full, tx_full = len(self.rx) == self.depth, len(self.tx) == self.depth
            return (0 if rx_full else len(self.rx)) | rx_full << 8 | (0 if tx_full else len(self.tx)) << 16 | tx_full << 24
        if register == self.UERSTAT:
            value, self.uerstat = self.uerstat, 0
            return value
        if register == self.UTRSTAT:
            return bool(self.rx) | (not self.tx) << 1 | (not self.tx) << 2
        return {self.UCON: self.ucon, self.UFCON: self.ufcon, self.UINTP: self.uintp, self.UINTM: self.uintm}[register]

    def store(self, register: int, value: int) -> None:
        if register == self.UTXH:
            self.push(value)
        elif register == self.UFCON:
            if value & 4:
                self.tx.clear()
            if value & 2:
                self.rx.clear()
            self.ufcon = value & ~6
        elif register == self.UINTP:
            self.uintp &= ~value
            if value & 1:
                self.silent = False
            self.update()
        elif register == self.UINTM:
            self.uintm = value
        elif register == self.UCON:
            self.ucon = value
        elif register in (self.ULCON, self.UMCON):
            assert not self.ucon & 0xF, "the line control changed while the port was on"
            setattr(self, "ulcon" if register == self.ULCON else "umcon", value)
        else:
            raise AssertionError(f"a write to {register:#x}")

    def transmitter_on(self) -> bool:
        return (self.ucon >> 2) & 3 == 1 and bool(self.ufcon & 1)

    def receiver_on(self) -> bool:
        return self.ucon & 3 == 1 and bool(self.ufcon & 1)

    def overrun(self) -> None:
        super().overrun()
        self.uerstat |= 1

    def faulty(self, error: str) -> None:
        self.uerstat |= {"parity": 2, "frame": 4, "break": 8}[error]

    def silence(self) -> None:
        if self.ucon & 0x80:
            self.silent = True

    def update(self) -> None:
        trigger = ((self.ufcon >> 8) & 7) * self.depth // 8
        if self.ucon & 0x200 and self.transmitter_on() and len(self.tx) <= trigger:
            self.uintp |= 4
        rx_trigger = (((self.ufcon >> 4) & 7) + 1) * self.depth // 8
        if self.ucon & 0x100 and self.receiver_on() and (len(self.rx) >= rx_trigger or (self.silent and self.rx)):
            self.uintp |= 1
        if self.ucon & 0x40 and self.uerstat:
            self.uintp |= 2
        if not self.rx:
            self.silent = False

    def irq(self) -> bool:
        return bool(self.uintp & ~self.uintm & 0xF)


class Scif(Uart):
    """R-Car H2, SCIF: a flag is cleared by a zero that is written after it was read as one, and comes again while its condition holds."""

    SCSMR, SCSCR, SCFCR, SCFDR = 0x00, 0x08, 0x18, 0x1C
    STATUS, TRANSMIT, RECEIVE, OVERRUN, ORER = 0x10, 0x0C, 0x14, 0x24, 1
    widths = (1, 2)
    CLOCK = 2

    def __init__(self, base: int) -> None:
        super().__init__(base)
        self.scscr, self.scfcr, self.flags, self.seen, self.lost = self.CLOCK, 0, 0x60, 0, 0
        self.silent = False

    def load(self, register: int) -> int:
        if register == self.STATUS:
            self.seen = self.flags
            return self.flags | {"": 0, "parity": 4, "frame": 8, "break": 8}[self.next_error()]
        if register == self.OVERRUN:
            return self.lost
        if register == self.RECEIVE:
            return self.pop()
        if register == self.SCFDR:
            return len(self.tx) << 8 | len(self.rx)
        return {self.SCSCR: self.scscr, self.SCFCR: self.scfcr}[register]

    def store(self, register: int, value: int) -> None:
        if register == self.STATUS:
            cleared = self.seen & ~value
            if cleared & 1:
                self.silent = False
            self.flags &= ~cleared
            self.update()
        elif register == self.OVERRUN:
            self.lost &= value
        elif register == self.TRANSMIT:
            self.push(value)
            self.flags &= ~0x40
        elif register == self.SCFCR:
            if value & 4:
                self.tx.clear()
            if value & 2:
                self.rx.clear()
            self.scfcr = value
        elif register == self.SCSCR:
            assert value & 3 == self.CLOCK, "the clock's source changed"
            self.scscr = value
        else:
            raise AssertionError(f"a write to {register:#x}")

    def transmitter_on(self) -> bool:
        return bool(self.scscr & 0x20)

    def receiver_on(self) -> bool:
        return bool(self.scscr & 0x10) and not self.overrun_seen()

    def overrun_seen(self) -> bool:
        return bool((self.flags if self.OVERRUN == self.STATUS else self.lost) & self.ORER)

    def overrun(self) -> None:
        super().overrun()
        if self.OVERRUN == self.STATUS:
            self.flags |= self.ORER
        else:
            self.lost |= self.ORER

    def faulty(self, error: str) -> None:
        self.flags |= 0x90 if error == "break" else 0x80

    def silence(self) -> None:
        self.silent = True

    def update(self) -> None:
        if len(self.tx) <= self.depth // 2:
            self.flags |= 0x20
        if not self.tx:
            self.flags |= 0x40
        if self.rx:
            self.flags |= 2
        if self.rx and self.silent:
            self.flags |= 1

    def irq(self) -> bool:
        sends = self.scscr & 0x80 and self.flags & 0x20
        receives = self.scscr & 0x40 and (self.flags & 3)
        errors = self.scscr & 0x48 and (self.flags & 0x90 or self.overrun_seen())
        return bool(sends or receives or errors)


class Hscif(Scif):
    """HSCIF: the same with deeper FIFOs."""

    depth = 128


class Scifa(Scif):
    """SCIFA: registers elsewhere, overrun told in the status."""

    STATUS, TRANSMIT, RECEIVE, OVERRUN, ORER = 0x14, 0x20, 0x24, 0x14, 1 << 9
    depth = 64
