"""What a deployment is carried to a board in, started for real: the NOR flash from reset, card and images by Debian's U-Boot."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from boards import board as board_named
from tests.boards.test_debian import ask, power_off, shell
from tests.conftest import BOARD32, build_once
from xenarm.flash.table import TABLE_AT
from xenarm.tools import build, debian, image
from xenarm.tools.artefacts import nor
from xenarm.tools.deployment import plan
from xenarm.tools.hypervisor import ours
from xenarm.tools.layout import Layout, compose
from xenarm.tools.paths import DEFAULT_BOARD
from xenarm.tools.qemu import flash_command, machine_command
from xenarm.tools.session import Session, started

SECONDS = 60
UBOOT = {DEFAULT_BOARD: "/usr/lib/u-boot/qemu_arm64/u-boot.bin", BOARD32: "/usr/lib/u-boot/qemu_arm/u-boot.bin"}
PROMPT = "=> $"


@dataclass(frozen=True)
class Carried:
    """A deployment of two guests, and its files."""

    layout: Layout
    out: Path

    def command(self, memory_mib: int = 512) -> list[str]:
        """A machine for it, with nothing in it."""
        return machine_command(self.layout.machine.board, 2, memory_mib)

    def flashed(self, memory_mib: int = 512) -> list[str]:
        """A machine that starts from the flash."""
        return flash_command(self.layout.machine.board, 2, memory_mib, self.out / "flash.img")


@pytest.fixture(scope="module", params=[DEFAULT_BOARD, BOARD32])
def carried(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Carried:
    board = build_once(request, request.param)
    directory = tmp_path_factory.mktemp(board)
    domain = '[domain.{0}]\nkernel = "guest:hello"\nmemory = "32 MiB"\nbootargs = "i am {0}"\n'
    (directory / "two.toml").write_text('[machine]\nmemory = "512 MiB"\n' + domain.format("one") + domain.format("two"))
    deployment = plan.find(str(directory / "two.toml"))
    layout = compose(plan.machine_for(deployment, board))
    image.write_all(directory / "out", deployment, layout, nor.build_stage(board))
    return Carried(layout, directory / "out")


def both_guests_speak(session: Session) -> None:
    session.console.expect(f"image at {'0x40200000|0x40010000'}", SECONDS)
    said = {session.console.expect(r"\((\w+)\) chosen .*bootargs 'i am (\w+)'", SECONDS).groups() for _ in range(2)}
    assert said == {(b"one", b"one"), (b"two", b"two")}


def test_the_flash_starts_everything_from_reset(carried: Carried) -> None:
    with started(carried.flashed(), f"flash-{carried.layout.machine.board.name}") as session:
        both_guests_speak(session)


def test_the_flash_starts_debian(built_board: str, tmp_path: Path) -> None:
    """Its kernel and a RAM disk: tens of megabytes out of the flash, each whole."""
    text = '[domain.debian]\nkernel = "debian:kernel"\nramdisk = "debian:ramdisk"\nbootargs = "console=ttyAMA0"\nmemory = "256 MiB"\n'
    (tmp_path / "debian.toml").write_text(text)
    layout = compose(plan.machine_for(plan.find(str(tmp_path / "debian.toml")), built_board))
    flash = image.write_flash(tmp_path, layout.machine, layout, nor.build_stage(built_board))
    with started(flash_command(layout.machine.board, 1, layout.machine.memory_mib, flash), "flash-debian") as session:
        console = shell(session, ours(built_board))
        ask(console, "sha256sum /bin/busybox", hashlib.sha256(debian.busybox()).hexdigest())
        power_off(session, ours(built_board))


def test_memory_is_what_the_machine_has(carried: Carried) -> None:
    """The flash was made for 512 MiB."""
    with started(carried.flashed(1024), f"flash-large-{carried.layout.machine.board.name}") as session:
        both_guests_speak(session)
        assert "memory: 1048576 KiB" in session.console.text()


def test_too_little_memory_is_one_line(carried: Carried) -> None:
    with started(carried.flashed(64), f"flash-small-{carried.layout.machine.board.name}") as session:
        said = session.console.expect(r"xenarm flash: the deployment needs (\d+) MiB of memory, the machine has 64: give it more \(-m\)\r\n", SECONDS)
        end = max(region.end for region in (carried.layout.device_tree, *(module.region for module in carried.layout.modules)))
        assert int(said[1]) == (end - carried.layout.machine.board.ram_base) // (1 << 20)


@pytest.mark.parametrize("what", ["kernel", "table", "tree"])
def test_a_damaged_flash_is_one_line(carried: Carried, tmp_path: Path, what: str) -> None:
    flash = bytearray((carried.out / "flash.img").read_bytes())
    place, expected = {
        "kernel": (flash.index(build.guest_job(carried.layout.machine.board.name, "hello").output.read_bytes()) + 1000, r"damaged at offset \d+: write the flash again"),
        "table": (TABLE_AT + 3, "no table behind the first stage; write the flash again"),
        "tree": (TABLE_AT + 4096, "the deployment's part of the device tree does not fit the machine's; write the flash again"),
    }[what]
    flash[place] ^= 0x40
    (tmp_path / "flash.img").write_bytes(flash)
    board = carried.layout.machine.board
    with started(flash_command(board, 2, 512, tmp_path / "flash.img"), f"flash-bad-{what}-{board.name}") as session:
        session.console.expect(f"xenarm flash: {expected}", SECONDS)


def uboot(carried: Carried, *more: str) -> list[str]:
    """A machine with U-Boot in its flash."""
    return [*carried.command(), "-bios", UBOOT[carried.layout.machine.board.name], *more]


def test_u_boot_starts_the_card_by_itself(carried: Carried) -> None:
    card = ["-drive", f"if=none,format=raw,id=card,file={carried.out / 'sdcard.img'}", "-device", "virtio-blk-device,drive=card"]
    with started(uboot(carried, *card), f"uboot-card-{carried.layout.machine.board.name}") as session:
        session.console.expect("Hit any key to stop autoboot", SECONDS)
        session.console.send("\r")
        session.console.expect(PROMPT, SECONDS)
        session.console.send_line("setenv bootdelay 0; run bootcmd_virtio0")
        session.console.expect("Found U-Boot script /boot.scr", SECONDS)
        both_guests_speak(session)


def at_prompt(session: Session, *lines: str) -> None:
    """Type commands at U-Boot's prompt."""
    session.console.expect("Hit any key to stop autoboot", SECONDS)
    session.console.send("\r")
    for line in lines:
        session.console.expect(PROMPT, SECONDS)
        session.console.send_line(line)


def loaded_by_qemu(path: Path, address: int) -> list[str]:
    return ["-device", f"loader,file={path},addr={address:#x},force-raw=on"]


STAGING = 0x5400_0000  # above everything of the deployment, below U-Boot itself


def test_u_boot_checks_and_starts_the_fit(carried: Carried) -> None:
    command = uboot(carried, *loaded_by_qemu(carried.out / "xenarm.itb", STAGING))
    with started(command, f"uboot-fit-{carried.layout.machine.board.name}") as session:
        at_prompt(session, "setenv fdt_high 0xffffffffffffffff", f"bootm {STAGING:#x}")
        checked = session.console.expect(r"(?s)Trying 'one-kernel' loadables subimage.*?Verifying Hash Integrity \.\.\. (.*?OK)", SECONDS)[1]
        assert re.fullmatch(rb"sha256\+ crc32\+ OK", checked)
        both_guests_speak(session)


def test_u_boot_refuses_a_damaged_fit(carried: Carried, tmp_path: Path) -> None:
    fit = bytearray((carried.out / "xenarm.itb").read_bytes())
    fit[fit.index(build.guest_job(carried.layout.machine.board.name, "hello").output.read_bytes()) + 1000] ^= 1
    (tmp_path / "bad.itb").write_bytes(fit)
    with started(uboot(carried, *loaded_by_qemu(tmp_path / "bad.itb", STAGING)), f"uboot-bad-fit-{carried.layout.machine.board.name}") as session:
        at_prompt(session, f"bootm {STAGING:#x}")
        session.console.expect("Bad hash value for 'hash-1' hash node in 'one-kernel' image node", SECONDS)


def test_u_boot_starts_the_legacy_image(carried: Carried) -> None:
    parts: Callable[[Path, int], list[str]] = loaded_by_qemu
    tree = carried.layout.device_tree.base
    command = uboot(carried, *parts(carried.out / "xenarm.uimg", STAGING), *parts(carried.out / "host.dtb", tree))
    for module in carried.layout.modules:
        command += parts(module.spec.path, module.address)
    with started(command, f"uboot-legacy-{carried.layout.machine.board.name}") as session:
        at_prompt(session, "setenv fdt_high 0xffffffffffffffff", f"bootm {STAGING:#x} - {tree:#x}")
        session.console.expect(r"Verifying Checksum \.\.\. OK", SECONDS)
        both_guests_speak(session)
