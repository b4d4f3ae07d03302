"""A small client of QEMU's gdb stub: break at an address, go on, look at registers.

The protocol is in gdb's manual, "Remote Serial Protocol". Unlike gdb itself it needs no symbols, no
architecture description, and no package.
"""

from __future__ import annotations

import socket
from types import TracebackType

from xenarm.tools.errors import ToolError


class GdbStub:
    """A connection to the stub; the machine stands still whenever no `resume` is under way."""

    def __init__(self, host: str, port: int, seconds: float) -> None:
        self._socket = socket.create_connection((host, port), seconds)
        self._socket.settimeout(seconds)
        self._buffer = b""

    def __enter__(self) -> GdbStub:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def _byte(self) -> bytes:
        if not self._buffer:
            try:
                self._buffer = self._socket.recv(4096)
            except TimeoutError as error:
                raise ToolError("the machine did not reach the breakpoint in time") from error
            if not self._buffer:
                raise ToolError("QEMU ended before the machine reached the breakpoint")
        first, self._buffer = self._buffer[:1], self._buffer[1:]
        return first

    def _send(self, packet: str) -> None:
        checksum = sum(packet.encode()) & 0xFF
        self._socket.sendall(f"${packet}#{checksum:02x}".encode())

    def _answer(self) -> str:
        while self._byte() != b"$":
            pass  # acknowledgements
        text = b""
        while (byte := self._byte()) != b"#":
            text += byte
        self._byte(), self._byte()  # the checksum: TCP has one of its own
        self._socket.sendall(b"+")
        return text.decode()

    def _ask(self, packet: str) -> str:
        self._send(packet)
        return self._answer()

    def break_at(self, address: int) -> None:
        """Stop whenever the program counter reaches an address, whatever the translation regime."""
        answer = self._ask(f"Z1,{address:x},4")
        if answer.startswith("T"):  # that the machine has stopped, because this connection was made
            answer = self._answer()
        if answer != "OK":
            raise ToolError(f"QEMU's gdb stub refuses a breakpoint at {address:#x}")

    def clear(self, address: int) -> None:
        """Remove a breakpoint."""
        self._ask(f"z1,{address:x},4")

    def write_register(self, number: int, value: int, size: int = 8) -> None:
        """Set a register of so many bytes by gdb's number for it: ARM64 has 0 to 30, 31 for SP, 32 for the program counter; ARM32 0 to 15."""
        self._ask("qXfer:features:read:target.xml:0,ffb")  # without it QEMU refuses to set single registers
        if self._ask(f"P{number:x}={value.to_bytes(size, 'little').hex()}") != "OK":
            raise ToolError(f"QEMU's gdb stub does not set register {number}")

    def resume(self) -> None:
        """Let the machine run; nothing is waited for."""
        self._send("c")

    def resume_until_stop(self) -> None:
        """Let the machine run until it stops."""
        answer = self._ask("c")
        if not answer.startswith("T05"):
            raise ToolError(f"the machine stopped otherwise than at the breakpoint ({answer})")
