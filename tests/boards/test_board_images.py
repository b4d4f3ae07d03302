"""Each board's own defconfig builds, with the drivers it asks for and nothing of what it leaves out.

Two in the suite that no other test builds; with XENARM_BOARDS=all, as `make test-long` has it, every board, and the guests of our own for it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from boards import BOARDS
from tests.boards.switches import SWITCHES, left_of, missing_of, read
from xenarm.config import Config, parse
from xenarm.tools import build, doctor, kconfig
from xenarm.tools.machine import Architecture

ALL = os.environ.get("XENARM_BOARDS") == "all"
SAMPLE = ["arndale", "thunderx"]
"""A 32-bit one with a SoC to start, and the 64-bit one that has no GICv2 and the largest numbers."""
DRIVERS = ("UART_", "SOC_")
MAGICS = {Architecture.ARM64: (0x38, b"ARM\x64"), Architecture.ARM32: (0x24, (0x016F_2818).to_bytes(4, "little"))}
"""Of an Image and of a zImage (Linux, Documentation/arch/arm64/booting.rst and arch/arm/boot/compressed/head.S)."""


def off(values: Config) -> list[str]:
    """Switches of which nothing may be there."""
    return [name for name, switch in SWITCHES.items() if not getattr(values, name) and (values.ARM64 or not switch.shared)]


@pytest.mark.parametrize("board", list(BOARDS) if ALL else SAMPLE)
def test_the_image_of_a_boards_own_defconfig(scratch: Path, monkeypatch: pytest.MonkeyPatch, board: str) -> None:
    doctor.provide("test")
    monkeypatch.setenv("XENARM_O", str(scratch))  # and no .config of anyone's
    monkeypatch.delenv("KCONFIG_CONFIG", raising=False)
    build.build(board, build.GUESTS if ALL else (), quiet=True)
    image = build.hypervisor_job(board).output
    values = parse(kconfig.config_path(board).read_text(), board)
    built = read(image)
    place, magic = MAGICS[BOARDS[board].architecture]
    assert image.read_bytes()[place : place + 4] == magic
    assert values.BOARD == board
    wanted = [name for name in SWITCHES if name.startswith(DRIVERS) and getattr(values, name)]
    assert wanted
    assert {name: missing for name in wanted if (missing := missing_of(SWITCHES[name], built))} == {}
    assert {name: left for name in off(values) if (left := left_of(SWITCHES[name], built))} == {}
