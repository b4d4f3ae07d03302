"""YMODEM's sender against a receiver written from the protocol's reference: what arrives, and what a bad line does."""

from __future__ import annotations

import binascii
import os
import threading
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from xenarm.tools import ymodem
from xenarm.tools.console import Console
from xenarm.tools.errors import ToolError


class Receiver:
    """The other end. `spoil` may change what the n-th block looks like when it arrives."""

    def __init__(self, line: int, spoil: Callable[[int, bytes], bytes] = lambda n, raw: raw) -> None:
        self.line = line
        self.spoil = spoil
        self.seen = 0
        self.name = b""
        self.data = b""

    def read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = os.read(self.line, size - len(data))
            if not piece:
                raise EOFError
            data += piece
        return data

    def block(self) -> tuple[int, bytes] | None:
        """A sound block, None at the end of a file; asks again until it is one."""
        while True:
            kind = self.read(1)
            if kind == b"\x04":
                return None
            size = {b"\x01": 128, b"\x02": 1024}[kind]
            raw = self.spoil(self.seen, self.read(size + 4))
            self.seen += 1
            body, crc = raw[2:-2], int.from_bytes(raw[-2:], "big")
            if raw[0] ^ raw[1] == 0xFF and binascii.crc_hqx(body, 0) == crc:
                return raw[0], body
            os.write(self.line, b"\x15")

    def answer(self) -> bytes:
        """To the first block."""
        return b"\x06C"

    def run(self) -> None:
        try:
            os.write(self.line, b"CCC")
            first = self.block()
            assert first is not None
            self.name, size = first[1].split(b"\0")[:2]
            os.write(self.line, self.answer())
            wanted = 1
            while (found := self.block()) is not None:
                assert found[0] == wanted & 0xFF
                self.data += found[1]
                wanted += 1
                os.write(self.line, b"\x06")
            self.data = self.data[: int(size)]
            os.write(self.line, b"\x06C")
            self.block()
            os.write(self.line, b"\x06")
        except (EOFError, OSError):  # the line is gone
            pass


@contextmanager
def line(receiver: Callable[[int], Receiver]) -> Iterator[tuple[Console, Receiver]]:
    """A pty with a receiver behind it."""
    ours, theirs = os.openpty()
    tty.setraw(theirs)
    made = receiver(theirs)
    thread = threading.Thread(target=made.run)
    thread.start()
    console = Console(os.fdopen(ours, "r+b", buffering=0))
    try:
        yield console, made
    finally:
        console.close()
        thread.join(10)
        os.close(theirs)
    assert not thread.is_alive()


@pytest.mark.parametrize("size", [0, 1, 1023, 1024, 1025, 300 * 1024])
def test_everything_arrives(size: int) -> None:
    data = bytes(n * 7 & 0xFF for n in range(size))
    told: list[int] = []
    with line(Receiver) as (console, receiver):
        transfer = ymodem.send(console, "a name", data, told.append)
    assert (receiver.name, receiver.data, transfer.again) == (b"a name", data, 0)
    assert sum(told) == size and transfer.blocks == -(-size // 1024)


def test_a_spoilt_block_is_sent_again() -> None:
    def spoil(number: int, raw: bytes) -> bytes:
        return raw[:500] + bytes([raw[500] ^ 1]) + raw[501:] if number in (3, 4, 9) else raw

    data = os.urandom(10 * 1024)
    with line(lambda end: Receiver(end, spoil)) as (console, receiver):
        transfer = ymodem.send(console, "x", data)
    assert receiver.data == data and transfer.again == 3


@pytest.mark.parametrize("answer", [b"\x06", b"\x06C", b"C\x06"])
def test_c_may_come_at_once_late_or_twice(answer: bytes) -> None:
    """After the first block: U-Boot says nothing for a while, others say C at once, and one may have been on its way before."""

    class Other(Receiver):
        def answer(self) -> bytes:
            return answer

    data = os.urandom(5000)
    with line(Other) as (console, receiver):
        transfer = ymodem.send(console, "x", data)
    assert receiver.data == data and transfer.again == 0


def test_a_line_that_spoils_everything_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ymodem, "RETRIES", 3)

    def spoil(number: int, raw: bytes) -> bytes:
        return b"\0" * len(raw) if number >= 2 else raw

    with line(lambda end: Receiver(end, spoil)) as (console, _):
        with pytest.raises(ToolError, match=r"block 2 of 4: expected ACK, sent it 3 times, and '\\x15\\x15\\x15' came"):
            ymodem.send(console, "x", bytes(4096))


def test_nobody_there_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ymodem, "START_SECONDS", 0.2)
    ours, theirs = os.openpty()
    tty.setraw(theirs)
    console = Console(os.fdopen(ours, "r+b", buffering=0))
    os.write(theirs, b"hello")
    with pytest.raises(ToolError, match="begin: expected 'C' within 0.2 s, and 'hello' came: is the other end waiting for YMODEM"):
        ymodem.send(console, "x", b"data")
    console.close()
    os.close(theirs)


def test_a_packet_is_as_the_reference_has_it() -> None:
    """Its appendix: the CRC of 128 bytes, and the complement of the number."""
    made = ymodem.packet(0x101, b"\x01" * 128)
    assert made[:3] == b"\x01\x01\xfe" and made[-2:] == binascii.crc_hqx(b"\x01" * 128, 0).to_bytes(2, "big") and len(made) == 133
