"""Puts a deployment onto a board: a QEMU board's flash file, or by U-Boot over the serial line.

Over the line: the prompt, each file by YMODEM into memory, its checksum, storage (a FAT partition, SPI flash, or nothing), the boot, the banner. Each
step has a time limit, and its error says what was expected and what came.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import serial
from tqdm import tqdm

from boards import board as board_named
from xenarm.tools import deploy, image
from xenarm.tools.arguments import whole
from xenarm.tools.artefacts import Loaded, fit, loaded, script, uimage
from xenarm.tools.console import Console, ConsoleTimeout, LineTaken, serial_port
from xenarm.tools.deployment import Deployment
from xenarm.tools.errors import ToolError, error_text, run_tool
from xenarm.tools.layout import Layout, align_up
from xenarm.tools.machine import MIB, Architecture, Board, check_storage
from xenarm.tools.paths import DEFAULT_BOARD, board_dir, shown
from xenarm.tools.uboot import PROMPT, UBoot

BANNER = r"\(xenarm\) [^\n]*xenarm, image at 0x[0-9a-f]+"
BANNER_SECONDS = 30.0
CATCH_SECONDS = 60.0
WRITE_SECONDS = 300.0


# ---- a QEMU board -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Flashed:
    """What `make run FLASH=1` has to know of a flash."""

    deployment: str
    cpus: int
    memory_mib: int
    gic: int
    sha256: str


def flash_path(board: str) -> Path:
    """A board's flash."""
    return board_dir(board) / "flash.img"


def write_file(board: str, deployment: Deployment, layout: Layout, made: Path) -> Path:
    """Write the board's flash, and read it back."""
    path = flash_path(board)
    data = made.read_bytes()
    path.write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    if hashlib.sha256(path.read_bytes()).hexdigest() != digest:
        raise ToolError(f"{shown(path)} reads back otherwise than it was written: is the disk full, or broken?")
    about = Flashed(deployment.name, layout.machine.cpus, layout.machine.memory_mib, deployment.gic or 2, digest)
    path.with_suffix(".json").write_text(json.dumps(asdict(about), indent=1) + "\n")
    return path


def flashed(board: str) -> Flashed:
    """What is in a board's flash, verified. Raises ToolError."""
    path = flash_path(board)
    try:
        about = Flashed(**json.loads(path.with_suffix(".json").read_text()))
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except (OSError, ValueError, TypeError):
        raise ToolError(f"the flash of {board} is empty: 'make flash board={board}' writes it") from None
    if digest != about.sha256:
        raise ToolError(f"{shown(path)} is not what 'make flash' has written: write it again")
    return about


# ---- a board behind a serial line ---------------------------------------------------------------------------------------


@contextmanager
def step(what: str) -> Iterator[None]:
    """Say what is done, and which step an error is of."""
    print(f"  {what}", flush=True)
    try:
        yield
    except ConsoleTimeout as error:
        raise ToolError(f"{what}: the line closed, or stays silent: {error}") from error
    except ToolError as error:
        raise ToolError(f"{what}: {error}") from error


@contextmanager
def bar(name: str, size: int) -> Iterator[Callable[[int], object]]:
    """A progress bar, on a terminal."""
    with tqdm(total=size, desc=f"    {name}", unit="B", unit_scale=True, unit_divisor=1024, disable=None, leave=False) as shown_bar:
        yield shown_bar.update


class Flasher:
    """A deployment on its way through U-Boot."""

    def __init__(self, uboot: UBoot, layout: Layout, deployment: Deployment) -> None:
        self.uboot = uboot
        self.layout = layout
        self.deployment = deployment
        self.parts = list(loaded(layout))
        self.scratch = align_up(max([layout.hypervisor.end, layout.device_tree.end, *(part.end for part in self.parts)]), 2 * MIB)

    def load(self, part: Loaded) -> None:
        """One file into memory."""
        with step(f"transfer {part.name} ({len(part.data):,} bytes) to {part.address:#x}"), bar(part.name, len(part.data)) as progress:
            transfer = self.uboot.load(part.name, part.address, part.data, progress)
        if transfer.again:
            print(f"    {transfer.again} of {transfer.blocks} blocks had to be sent again")

    def load_all(self) -> None:
        """Everything to where it is needed."""
        for part in self.parts:
            self.load(part)

    def write_fat(self, device: str) -> None:
        """Onto a FAT partition, such as "mmc 0:1": each file, and the script that the next start finds."""
        source = script.boot_script(self.layout, self.deployment.name, self.deployment.place.path.name, self.deployment.load_command)
        boot = Loaded("boot.scr", uimage.script_image(source, self.layout), self.scratch)
        for part in self.parts:
            self.store(device, part)
        self.load(boot)
        self.store(device, boot)

    def store(self, device: str, part: Loaded) -> None:
        """One file from memory onto the partition, and back again."""
        back = align_up(self.scratch + MIB, 2 * MIB)
        with step(f"write {part.name} to {device}"):
            self.uboot.run(f"fatwrite {device} {part.address:#x} {part.name} {len(part.data):#x}", WRITE_SECONDS)
            self.uboot.run(f"load {device} {back:#x} {part.name}", WRITE_SECONDS)
            self.uboot.verify(back, part.data)

    def write_spi(self, offset: int) -> None:
        """The FIT image into SPI flash."""
        data = fit.fit_image(self.layout, self.deployment.name)
        self.load(Loaded("xenarm.itb", data, self.scratch))
        back = align_up(self.scratch + len(data), 2 * MIB)
        with step(f"write xenarm.itb to SPI flash at {offset:#x}"):
            self.uboot.run("sf probe")
            self.uboot.run(f"sf update {self.scratch:#x} {offset:#x} {len(data):#x}", WRITE_SECONDS)
            self.uboot.run(f"sf read {back:#x} {offset:#x} {len(data):#x}", WRITE_SECONDS)
            self.uboot.verify(back, data)

    def start(self, command: str) -> None:
        """Boot, and wait for the banner."""
        everything = "0xffffffffffffffff" if self.layout.machine.board.architecture is Architecture.ARM64 else "0xffffffff"
        with step("boot"):
            self.uboot.run(f"setenv fdt_high {everything}")
            self.uboot.console.send_line(command)
            try:
                self.uboot.console.expect(BANNER, BANNER_SECONDS)
            except ConsoleTimeout:
                raise ToolError(f"expected xenarm's first line within {BANNER_SECONDS:g} s, and {self.uboot.came()} came") from None

    def flash(self, storage: str) -> None:
        """All steps, for "none", "sf OFFSET" or a FAT partition by U-Boot's name."""
        if storage.startswith("sf"):
            offset = int(storage.partition(" ")[2] or "0", 0)
            self.write_spi(offset)
            self.start(f"bootm {self.scratch:#x}")
            return
        self.load_all()
        if storage == "none":
            self.start(script.boot_command(self.layout))
            return
        self.write_fat(storage)
        interface, _, partition = storage.partition(" ")
        device, _, number = partition.partition(":")
        self.uboot.run(f"setenv devtype {interface}; setenv devnum {device}; setenv distro_bootpart {number or 1}")
        self.start(f"load {storage} {self.scratch:#x} boot.scr; source {self.scratch:#x}")


def open_port(url: str, baud: int) -> Console:
    """A serial port, a pty, or socket://host:port."""
    try:
        return Console(serial_port(url, baud))
    except LineTaken as error:
        raise ToolError(str(error)) from error
    except (serial.SerialException, ValueError, OSError) as error:
        raise ToolError(f"the serial port {url} cannot be opened ({error_text(error)}): name another by PORT=, such as /dev/ttyUSB0") from error


def without_a_line(board: Board) -> str:
    """What there is to do with a board that has no flash file, and whose port is not named."""
    if board.qemu and not board.tree:
        return f"{board.name} is a machine of QEMU's alone, without a flash: 'make run board={board.name} DEPLOY=NAME' boots a deployment"
    return (
        f"{board.name} is flashed over its serial line: name that by PORT=, such as PORT=/dev/ttyUSB0; by hand: 'make board={board.name} DEPLOY=NAME' makes the files, "
        f"then {board.hardware.flash}"
    )


def over_the_line(console: Console, deployment: Deployment, layout: Layout, storage: str, prompt: str = PROMPT, seconds: float = CATCH_SECONDS) -> None:
    """Catch U-Boot, and do all steps."""
    check_storage(storage)
    uboot = UBoot(console, prompt)
    with step(f"catch U-Boot's prompt (switch the board on, or reset it; {seconds:g} s)"):
        uboot.catch(seconds)
    Flasher(uboot, layout, deployment).flash(storage)


def main() -> None:
    """Flash a board."""
    parser = argparse.ArgumentParser(prog="flash", description="put a deployment onto a board")
    parser.add_argument("--board", default=DEFAULT_BOARD)
    parser.add_argument("--deploy", default=deploy.DEFAULT_DEPLOYMENT, metavar="NAME")
    parser.add_argument("--port", help="the board's serial port: a device, or socket://host:port. Without it, a QEMU board's flash file is written")
    parser.add_argument("--baud", type=whole("BAUD"), help="the line's speed; without it the board's")
    parser.add_argument("--storage", help='where U-Boot writes: none, "sf OFFSET", or a FAT partition such as "mmc 0:1"; without it the board\'s')
    parser.add_argument("--prompt", default=PROMPT, help="U-Boot's prompt")
    parser.add_argument("--seconds", type=float, default=CATCH_SECONDS, help="how long to wait for the prompt")
    parser.add_argument("--no-build", action="store_true", help="take the images as they are")
    arguments = parser.parse_args()
    board = board_named(arguments.board)
    hardware = board.hardware
    storage = arguments.storage or hardware.storage
    check_storage(storage)
    if not arguments.port and board.nor is None:
        raise ToolError(without_a_line(board))
    console = open_port(arguments.port, arguments.baud or hardware.baud) if arguments.port else None  # before anything is built
    deployment, layout, written = image.make(arguments.deploy, arguments.board, not arguments.no_build)
    deploy.show(deployment, layout)
    if console:
        try:
            over_the_line(console, deployment, layout, storage, arguments.prompt, arguments.seconds)
        finally:
            console.close()
        print(f"xenarm is up; 'make console board={arguments.board} PORT={arguments.port}' shows what it says")
        return
    made = next(path for path in written if path.name == image.FLASH)
    path = write_file(arguments.board, deployment, layout, made)
    print(f"wrote and verified {shown(path)}; 'make run board={arguments.board} FLASH=1' starts from it")


if __name__ == "__main__":
    run_tool(main)
