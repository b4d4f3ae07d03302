"""A serial console driven by a program: send, and wait for what must come, with a deadline."""

from __future__ import annotations

import errno
import os
import re
import select
import time
from pathlib import Path
from typing import Protocol

import serial

from xenarm.tools.errors import ToolError

SHOWN = 2000  # how much of the console a failure repeats
ECHO_PIECE = 16  # bytes typed before their echo is waited for
ECHO_SECONDS = 20.0


class ConsoleTimeout(ToolError):
    """What was waited for did not come in time, or the line was closed first."""


class Port(Protocol):
    """What a console talks through: a serial port, or an open file."""

    def fileno(self) -> int: ...
    def write(self, data: bytes, /) -> int | None: ...
    def close(self) -> None: ...


class LineTaken(OSError):
    """Another program has the serial line: two would each get a part of what comes."""

    def __init__(self, line: object) -> None:
        super().__init__(f"another program has {line}: end that one first, a 'make console' by CTRL-] and then x")


def serial_port(url: str, baud: int = 115200) -> Port:
    """A serial port by what pyserial calls a URL: a device, a pty, or socket://host:port. A device is locked against others of our tools."""
    try:
        port: Port = serial.serial_for_url(url, baudrate=baud, write_timeout=30, exclusive=True)
    except serial.SerialException as error:
        if error.errno == errno.EAGAIN:
            raise LineTaken(url) from error
        raise
    return port


class Console:
    """One end of a serial line. All that was received is kept in `transcript`."""

    def __init__(self, port: Port) -> None:
        self._port = port
        self.transcript = bytearray()
        self.closed = False
        self._seen = 0  # how much of the transcript has been matched

    def close(self) -> None:
        """Let go of the line."""
        self._port.close()

    def _receive(self) -> None:
        """Take in what has come, waiting a moment for the first byte.

        Not by the port's own `read`: when the other end closes the line, that throws away what came just before.
        """
        line = self._port.fileno()
        ready, _, _ = select.select([line], [], [], 0.05)
        if ready:
            time.sleep(0.005)  # characters come one by one: a few at once are as many searches less
            try:
                data = os.read(line, 65536)
            except OSError:  # a reset connection, or a pty whose other end is gone
                data = b""
            self.closed = not data
            self.transcript += data

    def receive(self) -> None:
        """Take in what has come, for those who read `transcript` themselves."""
        self._receive()

    def forget(self, size: int) -> int:
        """Drop so many bytes of the oldest text, of a line that says more than can be kept; how many that was."""
        del self.transcript[:size]
        self._seen = max(self._seen - size, 0)
        return size

    def send(self, data: bytes | str) -> None:
        """Type."""
        raw = data.encode() if isinstance(data, str) else data
        try:
            self._port.write(raw)
        except OSError as error:  # pyserial's own errors among them
            self.closed = True
            raise ConsoleTimeout(f"the console closed while typing{self._tail()}") from error

    def send_line(self, line: str) -> None:
        """Type a line and press return, no faster than the other end echoes it.

        Serial ports drop what comes faster than it is read: Xen's takes 32 bytes at a time.
        """
        for start in range(0, len(line), ECHO_PIECE):
            piece = line[start : start + ECHO_PIECE]
            self.send(piece)
            self.expect(re.escape(piece), ECHO_SECONDS)
        self.send("\r")

    def expect(self, pattern: str | bytes, seconds: float) -> re.Match[bytes]:
        """The first match of a regular expression in what has not been matched yet."""
        expression = re.compile(pattern.encode() if isinstance(pattern, str) else pattern)
        deadline = time.monotonic() + seconds
        while True:
            found = expression.search(self.transcript, self._seen)
            if found:
                self._seen = found.end()
                # The transcript grows on: give a match over bytes that stay.
                match = expression.search(bytes(self.transcript), found.start())
                assert match is not None
                return match
            if self.closed:
                raise ConsoleTimeout(f"the console closed before {expression.pattern!r}{self._tail()}")
            if time.monotonic() > deadline:
                raise ConsoleTimeout(f"no {expression.pattern!r} within {seconds:g} s{self._tail()}")
            self._receive()

    def take(self, seconds: float) -> int | None:
        """The next byte that has not been matched yet, for protocols of bytes; None: none came in time."""
        deadline = time.monotonic() + seconds
        while self._seen == len(self.transcript):
            if self.closed:
                raise ConsoleTimeout(f"the line closed{self._tail()}")
            if time.monotonic() > deadline:
                return None
            self._receive()
        self._seen += 1
        return self.transcript[self._seen - 1]

    def skip(self) -> None:
        """Take all that has come as matched."""
        self._seen = len(self.transcript)

    def drain_until_closed(self, seconds: float) -> bool:
        """Read on until the other end closes the line; False if it does not in time."""
        deadline = time.monotonic() + seconds
        while not self.closed and time.monotonic() < deadline:
            self._receive()
        return self.closed

    def text(self) -> str:
        """All that was received, for assertions on it."""
        return self.transcript.decode("utf-8", "replace")

    def save(self, path: Path) -> None:
        """Keep the transcript."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.transcript)

    def _tail(self) -> str:
        last = bytes(self.transcript[-SHOWN:]).decode("utf-8", "replace")
        return f"; the console ends with:\n{last}" if last else "; the console is empty"
