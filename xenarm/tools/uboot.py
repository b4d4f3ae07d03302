"""U-Boot on a serial line, driven by its prompt: commands with their status, files into memory with their checksum."""

from __future__ import annotations

import re
import time
import zlib
from collections.abc import Callable

from xenarm.tools import ymodem
from xenarm.tools.console import Console, ConsoleTimeout
from xenarm.tools.errors import ToolError

__all__ = ["PROMPT", "UBoot"]

PROMPT = "=> "
KNOCK_SECONDS = 0.5
COMMAND_SECONDS = 20.0
STATUS = re.compile(r"xenarm:(\d+)\r?\n")
SHOWN = 300


class UBoot:
    """U-Boot behind a console."""

    def __init__(self, console: Console, prompt: str = PROMPT) -> None:
        self.console = console
        self.prompt = re.escape(prompt) + "$"

    def catch(self, seconds: float) -> None:
        """Stop the autoboot, or find the prompt that is there. A board may be switched on meanwhile."""
        deadline = time.monotonic() + seconds
        while True:
            self.console.send("\r")
            try:
                self.console.expect(self.prompt, KNOCK_SECONDS)
                break
            except ConsoleTimeout:
                if self.console.closed or time.monotonic() > deadline:
                    raise ToolError(
                        f"expected U-Boot's prompt '{self.prompt[:-1]}' within {seconds:g} s, and {self.came()} came: switch the board on or reset it; is this its serial port?"
                    ) from None
        self.run("echo ready", COMMAND_SECONDS)

    def came(self) -> str:
        """What was received last, for errors."""
        last = bytes(self.console.transcript[-SHOWN:]).decode("utf-8", "replace").strip()
        return repr(last) if last else "nothing"

    def run(self, command: str, seconds: float = COMMAND_SECONDS) -> str:
        """What a command says. Raises ToolError if it fails, with what came."""
        self.console.skip()
        self.console.send_line(f"{command}; echo xenarm:$?")
        begin = len(self.console.transcript)
        try:
            status = self.console.expect(STATUS.pattern, seconds)
            self.console.expect(self.prompt, seconds)
        except ConsoleTimeout:
            raise ToolError(f"'{command}': expected its end within {seconds:g} s, and {self.came()} came") from None
        said = bytes(self.console.transcript[begin:]).decode("utf-8", "replace").partition("xenarm:")[0].strip()
        if status[1] != b"0":
            raise ToolError(f"'{command}' failed: expected status 0, and {status[1].decode()} came, with {said[-SHOWN:]!r}")
        return said

    def checksum(self, address: int, size: int) -> int:
        """CRC-32 of memory."""
        said = self.run(f"crc32 {address:#x} {size:#x}", 60)
        found = re.search(r"==> ([0-9a-f]{8})", said)
        if found is None:
            raise ToolError(f"'crc32': expected a checksum, and {said!r} came")
        return int(found[1], 16)

    def verify(self, address: int, data: bytes) -> None:
        """Hold memory to what it should be."""
        wanted, came = zlib.crc32(data), self.checksum(address, len(data))
        if wanted != came:
            raise ToolError(f"expected checksum {wanted:08x} at {address:#x}, and {came:08x} came: transfer it again")

    def load(self, name: str, address: int, data: bytes, progress: Callable[[int], object] = lambda size: None) -> ymodem.Transfer:
        """A file into memory, verified."""
        self.console.skip()
        self.console.send_line(f"loady {address:#x}")
        try:
            answer = self.console.expect(r"Ready for binary \(ymodem\)[^\n]*\n|Unknown command", COMMAND_SECONDS)
        except ConsoleTimeout:
            raise ToolError(f"'loady': expected 'Ready for binary (ymodem)', and {self.came()} came") from None
        if answer[0].startswith(b"Unknown"):
            raise ToolError("this U-Boot has no 'loady': build it with CONFIG_CMD_LOADB, or use the SD card image")
        transfer = ymodem.send(self.console, name, data, progress)
        try:
            self.console.expect(self.prompt, COMMAND_SECONDS)
        except ConsoleTimeout:
            raise ToolError(f"after the transfer: expected the prompt, and {self.came()} came") from None
        self.verify(address, data)
        return transfer
