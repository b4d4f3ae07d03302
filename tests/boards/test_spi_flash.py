"""`make flash` into SPI flash, by a real U-Boot: Debian's for the i.MX6 SABRE Lite, which QEMU has with its flash of 2 MiB. The board has no HYP mode, so nothing is started."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import build_once
from tests.boards.test_flash import Case, case64
from xenarm.tools import debian, flash, uboot
from xenarm.tools.artefacts import fit
from xenarm.tools.console import Console, serial_port
from xenarm.tools.errors import ToolError
from xenarm.tools.qemu import Qemu
from xenarm.tools.session import TRANSCRIPTS

pytestmark = pytest.mark.board("lager")

__all__ = ["build_once", "case64"]

SECONDS = 120
FLASH_SIZE = 2 << 20
OFFSET = 0x10_0000
BEFORE = 0x33  # what the flash holds


@dataclass(frozen=True)
class Flash:
    """U-Boot beside its flash, which is a file."""

    console: Console
    path: Path


def raw_uboot(directory: Path) -> tuple[Path, int]:
    """U-Boot as it is in memory, and where: behind the header of the boot ROM (i.MX 6Dual/6Quad Reference Manual, "Image Vector Table")."""
    packed = debian.fetch_package("u-boot-imx", "armhf") / "usr" / "lib" / "u-boot" / "mx6qsabrelite" / "u-boot-dtb.imx"
    data = packed.read_bytes()
    entry, own = struct.unpack_from("<I", data, 4)[0], struct.unpack_from("<I", data, 20)[0]
    made = directory / "u-boot"
    made.write_bytes(data[entry - own :])
    return made, entry


@contextmanager
def sabrelite(directory: Path, name: str) -> Iterator[Flash]:
    """Its second serial port is the console."""
    image, entry = raw_uboot(directory)
    path = directory / "flash"
    path.write_bytes(bytes([BEFORE]) * FLASH_SIZE)
    machine = ["qemu-system-arm", "-M", "sabrelite", "-m", "1024", "-display", "none", "-nic", "none", "-no-reboot"]
    machine += ["-chardev", "null,id=first", "-serial", "chardev:first"]
    machine += ["-drive", f"if=mtd,format=raw,file={path}", "-device", f"loader,file={image},addr={entry:#x},force-raw=on,cpu-num=0"]
    with Qemu(machine, TRANSCRIPTS / f"spi-{name}.qemu-log") as qemu:
        console = Console(serial_port(qemu.serial_url()))
        qemu.resume()
        try:
            yield Flash(console, path)
        finally:
            console.save(TRANSCRIPTS / f"spi-{name}.log")
            console.close()


def flasher(console: Console, case: Case) -> flash.Flasher:
    at = uboot.UBoot(console)
    at.catch(SECONDS)
    return flash.Flasher(at, case.layout, case.deployment)


def test_it_is_written_and_read_back(case64: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image of 12,345 bytes, as an emulated flash takes a second for four thousand; what lies before and behind stays."""
    data = random.Random(1).randbytes(12_345)
    monkeypatch.setattr(fit, "fit_image", lambda *rest: data)
    with sabrelite(tmp_path, "written") as board:
        flasher(board.console, case64).write_spi(OFFSET)
    held = board.path.read_bytes()
    assert held[OFFSET : OFFSET + len(data)] == data
    assert set(held[:OFFSET]) == set(held[OFFSET + len(data) :]) == {BEFORE}


def test_what_has_no_room_is_one_error(case64: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit, "fit_image", lambda *rest: bytes(2000))
    with sabrelite(tmp_path, "full") as board:
        with pytest.raises(ToolError, match=r"^write xenarm.itb to SPI flash at 0x1ffc00: 'sf update .*' failed: expected status 0, and 1 came, with "):
            flasher(board.console, case64).write_spi(FLASH_SIZE - 1024)
    assert set(board.path.read_bytes()) == {BEFORE}
