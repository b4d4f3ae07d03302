"""Starts QEMU: its command line from a layout, its control channel (QMP), and its certain end."""

from __future__ import annotations

import json
import struct
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Timer
from types import TracebackType
from typing import Any

from xenarm.tools.errors import ToolError
from xenarm.tools.gdbstub import GdbStub
from xenarm.tools.layout import Layout
from xenarm.tools.machine import MIB, Architecture, Board, Region


ANSWER_SECONDS = 120  # to a QMP command
OWN_TREE_ROOM = MIB
"""Without -kernel, QEMU puts a device tree of its own here, at the base of RAM; nothing looks at it."""


def beside_own_tree(layout: Layout) -> Region:
    """Where the hypervisor goes when it is not by -kernel."""
    return replace(layout.hypervisor, base=max(layout.hypervisor.base, layout.machine.board.ram_base + OWN_TREE_ROOM))


def _load(path: Path, address: int) -> list[str]:
    return ["-device", f"loader,file={path},addr={address:#x},force-raw=on"]


def _entry_by_kernel(layout: Layout, dtb: Path) -> list[str]:
    return ["-kernel", str(layout.machine.hypervisor), "-dtb", str(dtb)]


def _entry_by_stub(layout: Layout, dtb: Path) -> list[str]:
    """The registers and places that `-kernel` gives, with a device tree that QEMU does not look at."""
    stub = dtb.with_suffix(".stub")
    if layout.machine.board.architecture is Architecture.ARM32:
        # mov r0, #0; mvn r1, #0; ldr r2, dtb; ldr pc, image; dtb: .word; image: .word
        words32 = (0xE3A00000, 0xE3E01000, 0xE59F2000, 0xE59FF000, layout.device_tree.base, layout.hypervisor.base)
        stub.write_bytes(struct.pack("<6I", *words32))
    else:
        write_stub64(stub, layout)
    start = layout.machine.board.ram_base + (0x28_0000 if layout.machine.board.architecture is Architecture.ARM32 else 0x18_0000)
    return [
        *_load(layout.machine.hypervisor, layout.hypervisor.base),
        *_load(dtb, layout.device_tree.base),
        "-device",
        f"loader,file={stub},addr={start:#x},force-raw=on,cpu-num=0",
    ]


def write_stub64(stub: Path, layout: Layout) -> None:
    """The same for AArch64."""
    # ldr x0, dtb; mov x1, xzr; mov x2, xzr; mov x3, xzr; ldr x4, image; br x4; dtb: .quad; image: .quad
    words = (0x580000C0, 0xAA1F03E1, 0xAA1F03E2, 0xAA1F03E3, 0x58000084, 0xD61F0080)
    stub.write_bytes(struct.pack("<6I2Q", *words, layout.device_tree.base, layout.hypervisor.base))


def check_model(board: Board) -> None:
    """Refuse a board that QEMU cannot be."""
    if not board.qemu:
        raise ToolError(f"QEMU has no model of {board.name}: 'make list-boards board={board.name}' says how to put the image on the board")


def machine_command(board: Board, cpus: int, memory_mib: int) -> list[str]:
    """A machine with nothing in it."""
    check_model(board)
    command = [board.qemu, *board.machine_options(), "-smp", str(board.smp or cpus), "-m", str(memory_mib)]
    return [*command, "-display", "none", "-nic", "none", "-no-reboot"]


def flash_command(board: Board, cpus: int, memory_mib: int, flash: Path) -> list[str]:
    """A machine that starts from its NOR flash."""
    return [*machine_command(board, cpus, memory_mib), "-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={flash}"]


def command_line(layout: Layout, dtb: Path) -> list[str]:
    """The arguments that make the machine, but for its console; writes the device tree to `dtb`."""
    machine = layout.machine
    dtb.parent.mkdir(parents=True, exist_ok=True)
    dtb.write_bytes(layout.dtb)
    command = machine_command(machine.board, machine.cpus, machine.memory_mib)
    command += _entry_by_stub(layout, dtb) if layout.exact_dtb else _entry_by_kernel(layout, dtb)
    for module in layout.modules:
        command += _load(module.spec.path, module.address)
    if machine.count_instructions:
        command += ["-icount", f"shift={machine.shift},sleep=off"]
    return [*command, *machine.extra]


class Qemu:
    """A QEMU, by its command less what connects it, that is stopped before its first instruction until `resume`; leaving the `with` ends it."""

    def __init__(self, machine: list[str], log_file: Path) -> None:
        command = [*machine, "-chardev", "socket,id=serial0,host=127.0.0.1,port=0,server=on,wait=off"]
        command += ["-serial", "chardev:serial0", "-qmp", "stdio", "-S"]
        command += ["-chardev", "socket,id=gdb0,host=127.0.0.1,port=0,server=on,wait=off", "-gdb", "chardev:gdb0"]
        self.command = command
        self._log = log_file
        log_file.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("w") as log:
            try:
                self.process = subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, bufsize=1
                )
            except FileNotFoundError as error:
                raise ToolError(f"{command[0]} is not installed: 'make doctor' says what to install") from error

    def __enter__(self) -> Qemu:
        try:
            self._receive(lambda message: "QMP" in message)
            self.execute("qmp_capabilities")
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def _receive(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The next message of a kind; events in between are dropped."""
        assert self.process.stdout is not None
        deadline = Timer(ANSWER_SECONDS, self.process.kill)
        deadline.start()
        try:
            for line in self.process.stdout:
                message: dict[str, Any] = json.loads(line)
                if wanted(message):
                    return message
        finally:
            deadline.cancel()
        raise ToolError(f"QEMU ended, or did not answer within {ANSWER_SECONDS} s: {self._log.read_text().strip() or 'it said nothing'}")

    def execute(self, command: str, **arguments: object) -> Any:
        """Run a QMP command and return its answer."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        except BrokenPipeError:
            pass  # it ended: what it said on the way out is read below
        answer = self._receive(lambda message: "return" in message or "error" in message)
        if "error" in answer:
            raise ToolError(f"QEMU refused {command}: {answer['error']['desc']}")
        return answer["return"]

    def monitor(self, line: str) -> str:
        """Run a command of the human monitor."""
        answer: str = self.execute("human-monitor-command", **{"command-line": line})
        return answer

    def _listening(self, label: str) -> tuple[str, int]:
        """Where one of QEMU's sockets listens: the system chose the port, so that machines never collide."""
        for device in self.execute("query-chardev"):
            if device["label"] == label:
                # "disconnected:tcp:127.0.0.1:45678,server=on"
                host, port = device["filename"].split("tcp:")[1].split(",")[0].rsplit(":", 1)
                return host, int(port)
        raise ToolError(f"QEMU has no character device {label}")

    def serial_url(self) -> str:
        """The address of the serial port, for pyserial."""
        host, port = self._listening("serial0")
        return f"socket://{host}:{port}"

    def gdb(self, seconds: float) -> GdbStub:
        """A connection to the gdb stub, which stops the machine."""
        return GdbStub(*self._listening("gdb0"), seconds)

    def instructions(self) -> int:
        """How many instructions the machine has executed since reset, when it counts them (-icount)."""
        count: int = self.execute("query-replay")["icount"]
        return count

    def resume(self) -> None:
        """Let the machine run."""
        self.execute("cont")

    def wait(self, seconds: float) -> int | None:
        """The exit status, if QEMU ends by itself in time."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def kill(self) -> None:
        """End it, whatever it is doing."""
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                try:
                    stream.close()
                except BrokenPipeError:
                    pass
