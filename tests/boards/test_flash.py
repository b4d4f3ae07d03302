"""`make flash` over a serial line, through Debian's U-Boot on QEMU: whole chains to the guest's first line, and lines that are bad on the way."""

from __future__ import annotations

import io
import os
import re
import shutil
import socket
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from boards import BOARDS
from tests.boards import beacon
from tests.conftest import BOARD32, build_once, own_output
from xenarm.tools import build, flash, image, uboot, ymodem
from xenarm.tools.artefacts import fat, fit
from xenarm.tools.console import Console, serial_port
from xenarm.tools.deployment import Deployment, plan
from xenarm.tools.errors import ToolError
from xenarm.tools.layout import Layout, compose
from xenarm.tools.paths import DEFAULT_BOARD, ROOT
from xenarm.tools.qemu import Qemu, machine_command
from xenarm.tools.session import TRANSCRIPTS

SECONDS = 60
UBOOT = {DEFAULT_BOARD: "/usr/lib/u-boot/qemu_arm64/u-boot.bin", BOARD32: "/usr/lib/u-boot/qemu_arm/u-boot.bin"}
FOREVER = 0x14000000  # b .


@dataclass(frozen=True)
class Case:
    """A deployment for a board."""

    deployment: Deployment
    layout: Layout

    @property
    def board(self) -> str:
        return self.layout.machine.board.name


def case(request: pytest.FixtureRequest, directory: Path, board: str) -> Case:
    """A guest that says one line and ends; on 32 bits the guest hello."""
    build_once(request, board)
    kernel = "beacon.Image"
    if board == BOARD32:
        kernel = "guest:hello"
    beacon.kernel(directory)
    (directory / "x.toml").write_text(f'[machine]\nmemory = "512 MiB"\n[domain.one]\nkernel = "{kernel}"\nmemory = "32 MiB"\n')
    deployment = plan.find(str(directory / "x.toml"))
    return Case(deployment, compose(plan.machine_for(deployment, board)))


@pytest.fixture(scope="module")
def case64(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    return case(request, tmp_path_factory.mktemp("flash64"), DEFAULT_BOARD)


@pytest.fixture(scope="module")
def case32(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    return case(request, tmp_path_factory.mktemp("flash32"), BOARD32)


@pytest.fixture(params=["case64", "case32"])
def either(request: pytest.FixtureRequest) -> Case:
    chosen: Case = request.getfixturevalue(request.param)
    return chosen


@dataclass
class Cable:
    """A serial line that may be bad: `change` sees each piece that goes to the board, with how much has gone before, and says what arrives; None cuts it."""

    port: int
    change: Callable[[int, bytes], bytes | None] = lambda before, piece: piece
    sockets: list[socket.socket] = field(default_factory=list)

    def run(self, listener: socket.socket) -> None:
        ours, _ = listener.accept()
        theirs = socket.create_connection(("127.0.0.1", self.port))
        self.sockets += [ours, theirs]
        threading.Thread(target=self.back, args=(theirs, ours), daemon=True).start()
        gone = 0
        try:
            while piece := ours.recv(65536):
                arrives = self.change(gone, piece)
                gone += len(piece)
                if arrives is None:
                    self.cut()
                    return
                theirs.sendall(arrives)
        except OSError:
            pass

    def back(self, theirs: socket.socket, ours: socket.socket) -> None:
        try:
            while piece := theirs.recv(65536):
                ours.sendall(piece)
        except OSError:
            pass

    def cut(self) -> None:
        for end in self.sockets:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            end.close()


@contextmanager
def behind_cable(case: Case, name: str, change: Callable[[int, bytes], bytes | None] = lambda before, piece: piece, *more: str) -> Iterator[Console]:
    """U-Boot on a board, its serial line through a cable."""
    machine = [*machine_command(case.layout.machine.board, 2, 512), "-bios", UBOOT[case.board], *more]
    with Qemu(machine, TRANSCRIPTS / f"flash-{name}.qemu-log") as qemu, socket.create_server(("127.0.0.1", 0)) as listener:
        cable = Cable(int(qemu.serial_url().rpartition(":")[2]), change)
        threading.Thread(target=cable.run, args=(listener,), daemon=True).start()
        console = Console(serial_port(f"socket://127.0.0.1:{listener.getsockname()[1]}"))
        qemu.resume()
        try:
            yield console
        finally:
            console.save(TRANSCRIPTS / f"flash-{name}.log")
            console.close()
            cable.cut()


def first_line(case: Case, console: Console) -> None:
    console.expect(beacon.TEXT if case.board == DEFAULT_BOARD else "Hello from a guest", SECONDS)


@contextmanager
def on_a_terminal() -> Iterator[Console]:
    """Standard error is a person's terminal; its text is whole when the `with` is left."""
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (24, 100))
    person = Console(os.fdopen(ours, "r+b", buffering=0))
    reading = threading.Thread(target=person.drain_until_closed, args=(10 * SECONDS,), daemon=True)  # a terminal that nobody reads takes some kilobytes
    with os.fdopen(theirs, "w") as screen, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stderr", screen)
        reading.start()
        yield person
    reading.join(SECONDS)
    person.close()


def test_from_the_prompt_to_the_guest(either: Case, capfd: pytest.CaptureFixture[str]) -> None:
    """On a terminal there is a bar for each file, which moves."""
    with behind_cable(either, f"memory-{either.board}") as console:
        with on_a_terminal() as person:
            flash.over_the_line(console, either.deployment, either.layout, "none")
        first_line(either, console)
    said = capfd.readouterr().out
    assert re.findall(r"^  (\w+)", said, re.MULTILINE) == ["catch", "transfer", "transfer", "transfer", "boot"]
    assert "sent again" not in said
    bars = re.findall(r"\r +([\w.-]+): +(\d+)%\|.*?B/s\]", person.text())
    assert list(dict.fromkeys(name for name, _ in bars)) == ["xenarm", "host.dtb", "one-kernel"]
    shares = [int(share) for name, share in bars if name == "xenarm"]
    assert shares == sorted(shares) and any(0 < share < 100 for share in shares)


def test_onto_a_partition_and_from_there(either: Case, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A card with one old file on it."""
    fat.write_card(tmp_path / "card", {"xenarm": b"old"})
    card = ("-drive", f"if=none,format=raw,id=card,file={tmp_path / 'card'}", "-device", "virtio-blk-device,drive=card")
    with behind_cable(either, f"card-{either.board}", lambda before, piece: piece, *card) as console:
        flash.over_the_line(prepared(console), either.deployment, either.layout, "virtio 0:1")
        first_line(either, console)
    names = subprocess.run(["mdir", "-b", "-i", f"{tmp_path / 'card'}@@1M", "::"], capture_output=True, text=True, check=True, timeout=100).stdout.split()
    assert sorted(names) == ["::/boot.scr", "::/host.dtb", "::/one-kernel", "::/xenarm"]
    subprocess.run(["mcopy", "-n", "-i", f"{tmp_path / 'card'}@@1M", "::xenarm", str(tmp_path / "back")], check=True, timeout=100)
    assert (tmp_path / "back").read_bytes() == either.layout.machine.hypervisor.read_bytes()


def prepared(console: Console) -> Console:
    """U-Boot looks for virtio devices when it is told to."""
    at = uboot.UBoot(console)
    at.catch(SECONDS)
    at.run("virtio scan")
    return console


def test_a_corrupted_byte_is_sent_again(either: Case, capfd: pytest.CaptureFixture[str]) -> None:
    places = [20_000, 60_123, 150_000]

    def change(before: int, piece: bytes) -> bytes:
        for place in places:
            if before <= place < before + len(piece):
                piece = piece[: place - before] + bytes([piece[place - before] ^ 0x10]) + piece[place - before + 1 :]
        return piece

    with behind_cable(either, f"corrupted-{either.board}", change) as console:
        flash.over_the_line(console, either.deployment, either.layout, "none")
        first_line(either, console)
    again = re.findall(r"(\d+) of \d+ blocks had to be sent again", capfd.readouterr().out)  # a line for each file
    assert sum(map(int, again)) >= len(places)


def test_a_cut_line_is_one_error(either: Case) -> None:
    place = either.layout.hypervisor.base
    with behind_cable(either, f"cut-{either.board}", lambda before, piece: None if before > 30_000 else piece) as console:
        with pytest.raises(ToolError, match=rf"(?s)^transfer xenarm \([\d,]+ bytes\) to {place:#x}: .*closed"):
            flash.over_the_line(console, either.deployment, either.layout, "none")


def test_an_image_that_says_nothing_is_one_error(case64: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """U-Boot starts it, and no first line comes."""
    monkeypatch.setattr(flash, "BANNER_SECONDS", 1.0)
    (tmp_path / "xenarm").write_bytes(beacon.arm64_image(beacon.words((FOREVER,))))
    layout = replace(case64.layout, machine=replace(case64.layout.machine, hypervisor=tmp_path / "xenarm"))
    with behind_cable(case64, "nothing") as console:
        with pytest.raises(ToolError, match=r"^boot: expected xenarm's first line within 1 s, and '.*Starting kernel \.\.\..*' came$"):
            flash.over_the_line(console, case64.deployment, layout, "none")


def test_a_line_that_swallows_is_one_error(case64: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Still open, and nothing arrives."""
    monkeypatch.setattr(ymodem, "RETRIES", 2)
    with behind_cable(case64, "swallows", lambda before, piece: b"" if before > 30_000 else piece) as console:
        with pytest.raises(ToolError, match=r"^transfer xenarm .*: block \d+ of \d+: expected ACK, sent it 2 times, and .* came"):
            flash.over_the_line(console, case64.deployment, case64.layout, "none")


def test_a_wrong_checksum_is_one_error(case64: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory that changes behind the transfer's back."""
    monkeypatch.setattr(uboot.zlib, "crc32", lambda data: 0x1234)
    with behind_cable(case64, "checksum") as console:
        at = uboot.UBoot(console)
        at.catch(SECONDS)
        with pytest.raises(ToolError, match=r"expected checksum 00001234 at 0x48000000, and [0-9a-f]{8} came: transfer it again"):
            at.load("x", 0x4800_0000, b"some bytes")


def test_a_silent_board_is_one_error(case64: Case) -> None:
    with behind_cable(case64, "silent", lambda before, piece: b"") as console:
        with pytest.raises(ToolError, match=r"^catch U-Boot's prompt .*: expected U-Boot's prompt '=>\\ ' within 1 s, and .* came: switch the board on"):
            flash.over_the_line(console, case64.deployment, case64.layout, "none", seconds=1)


def test_a_refused_write_says_what_u_boot_said(case64: Case) -> None:
    with behind_cable(case64, "refused") as console:
        with pytest.raises(ToolError, match=r"(?s)^write xenarm to mmc 7:1: 'fatwrite mmc 7:1 .*' failed: expected status 0, and 1 came, with "):
            flash.over_the_line(console, case64.deployment, case64.layout, "mmc 7:1")


class Recorder(uboot.UBoot):
    """A U-Boot that does all it is told. A real one, on another board, is in test_spi_flash.py."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def run(self, command: str, seconds: float = 0) -> str:
        self.lines.append(command)
        return ""

    def load(self, name: str, address: int, data: bytes, progress: Callable[[int], object] = lambda size: None) -> ymodem.Transfer:
        self.lines.append(f"load {name} {address:#x} {len(data):#x}")
        return ymodem.Transfer(1)

    def verify(self, address: int, data: bytes) -> None:
        self.lines.append(f"verify {address:#x} {len(data):#x}")


def test_spi_flash_gets_the_fit_image_and_is_read_back(case64: Case) -> None:
    at = Recorder()
    flash.Flasher(at, case64.layout, case64.deployment).write_spi(0x10_0000)
    size = len(fit.fit_image(case64.layout, "x"))
    back = 0x4840_0000 + -(-size // (2 << 20)) * (2 << 20)
    assert at.lines == [
        f"load xenarm.itb 0x48400000 {size:#x}",
        "sf probe",
        f"sf update 0x48400000 0x100000 {size:#x}",
        f"sf read {back:#x} 0x100000 {size:#x}",
        f"verify {back:#x} {size:#x}",
    ]


@pytest.mark.parametrize("storage", ["", "mmc", "sf 1 2", "card"])
def test_what_is_no_storage_is_refused_before_anything(storage: str) -> None:
    with pytest.raises(ToolError, match="is no storage: give none"):
        flash.check_storage(storage)


@pytest.mark.parametrize(("given", "used"), [((), "mmc 1:1"), (("--storage", "none"), "none")])
def test_a_board_knows_where_it_keeps_it(case32: Case, monkeypatch: pytest.MonkeyPatch, given: tuple[str, ...], used: str) -> None:
    came = []
    monkeypatch.setattr(flash.image, "make", lambda *rest: (case32.deployment, case32.layout, []))
    monkeypatch.setattr(flash, "open_port", lambda url, baud: came.append((url, baud)) or io.StringIO())
    monkeypatch.setattr(flash, "over_the_line", lambda console, deployment, layout, storage, *rest: came.append(storage))
    monkeypatch.setattr(sys, "argv", ["flash", "--board", "arndale", "--port", "/dev/ttyUSB0", *given])
    flash.main()
    assert came == [("/dev/ttyUSB0", 115200), used]


def test_a_port_that_is_not_there_is_one_error() -> None:
    with pytest.raises(ToolError, match="the serial port /dev/nosuch cannot be opened .*: name another by PORT="):
        flash.open_port("/dev/nosuch", 115200)


@pytest.mark.parametrize("board", ["arndale", "zcu102"])
def test_a_real_boards_port_is_asked_for_before_anything_is_built(board: str, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XENARM_O", str(tmp_path))
        done = verb("flash", "--board", board)
    says = (
        f"error: {board} is flashed over its serial line: name that by PORT=, such as PORT=/dev/ttyUSB0; by hand: 'make board={board} DEPLOY=NAME' makes the files, "
        f"then {BOARDS[board].hardware.flash}\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (1, "", says)
    assert not list(tmp_path.iterdir())


def test_a_machine_without_nor_does_not_start_from_it() -> None:
    done = verb("run", "--board", "zcu102", "--flash")
    assert done.stderr == "error: zcu102 has no flash that it starts from: leave out FLASH=1; 'make run board=zcu102 DEPLOY=NAME' boots a deployment\n"


def verb(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", f"xenarm.tools.{name}", *arguments], cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False, timeout=300)


def test_a_qemu_boards_flash_is_a_file_that_run_starts_from(built_board: str, tmp_path: Path) -> None:
    with own_output(tmp_path, built_board):
        flash_and_run(built_board)


def flash_and_run(board: str) -> None:
    done = verb("flash", "--no-build")
    path = flash.flash_path(board)
    assert done.returncode == 0 and f"wrote and verified {path}" in done.stdout, done.stderr
    assert flash.flashed(board).deployment == "hello"
    kept = path.read_bytes()
    with path.open("r+b") as stream:
        stream.write(b"x")
    refused = verb("run", "--flash")
    assert refused.returncode == 1 and refused.stderr == f"error: {path} is not what 'make flash' has written: write it again\n"
    path.unlink()
    assert "error: the flash of qemu-virt-arm64 is empty: 'make flash board=qemu-virt-arm64' writes it" in verb("run", "--flash").stderr
    path.write_bytes(kept)
    process = subprocess.Popen([sys.executable, "-m", "xenarm.tools.run", "--flash"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin and process.stdout
    console = Console(process.stdout)  # type: ignore[arg-type]
    try:
        console.expect("starting the flash, with hello in it", SECONDS)
        console.expect("Hello from a guest", SECONDS)
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        console.close()
