"""Every board: its description, its configuration and its tree agree."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from boards import BOARDS, board
from tests.xenarm.trees import parse
from xenarm.tools import boards as listing
from xenarm.tools import kconfig
from xenarm.tools.dtb import Tree
from xenarm.tools.errors import ToolError
from xenarm.tools.layout import source_dtb
from xenarm.tools.paths import BOARDS as SOURCES
from xenarm.tools.qemu import machine_command
from xenarm.tools.tree_checks import SERIAL_SYMBOLS


@pytest.mark.parametrize("name", BOARDS)
def test_the_configuration_is_the_boards(name: str) -> None:
    symbols = kconfig.loaded(kconfig.defconfig_path(name)).syms
    assert symbols["BOARD"].str_value == name
    assert symbols["ARCH"].str_value == BOARDS[name].architecture.value
    assert int(symbols["RESCUE_UART"].str_value, 0) != 0
    if BOARDS[name].tree:
        nodes = list(parse(source_dtb(SOURCES / BOARDS[name].tree)).walk())
        names = [word for node in nodes if node.name.startswith("serial@") for word in node.properties["compatible"].decode().split("\0")]
        assert any(symbols[SERIAL_SYMBOLS[word]].str_value == "y" for word in names if word in SERIAL_SYMBOLS)
        port = next(node for node in nodes if node.name == f"serial@{int(symbols['RESCUE_UART'].str_value, 0):x}")
        assert port.properties["reg"], "the console is where a damaged tree is complained of"


def test_the_list_and_a_page(capsys: pytest.CaptureFixture[str]) -> None:
    lines = [listing.line(b) for b in BOARDS.values()]
    assert all(line.startswith(name) for line, name in zip(lines, BOARDS, strict=True))
    page = listing.page(board("arndale"))
    for fact in ("Exynos 5250", "0x42000000", "0x12c20000", "115200 baud", "SYSRAM", "bootz", "boards/arndale.dts", "emulator:       none", "storage:        mmc 1:1"):
        assert fact in page


@pytest.mark.parametrize("storage", ["", "mmc", "sf 1 2", "card", "sf here", "mmc 0:1; reset"])
def test_a_description_says_where_u_boot_can_write(storage: str) -> None:
    with pytest.raises(ToolError, match=f"^'{re.escape(storage)}' is no storage: give none"):
        replace(board("arndale").hardware, storage=storage)


def test_what_qemu_has_alone_is_not_flashed_over_a_line() -> None:
    assert {name for name, found in BOARDS.items() if found.hardware.storage == "none"} == {
        *("qemu-virt-arm64", "qemu-virt-arm32", "xlnx-versal-virt", "hip04-d01", "thunderx", "xgene"),
    }


def test_a_board_that_qemu_has_no_model_of() -> None:
    with pytest.raises(ToolError, match="QEMU has no model of arndale: 'make list-boards board=arndale' says"):
        machine_command(board("arndale"), 1, 1024)


def test_a_tree_with_holes_is_read() -> None:
    """QEMU leaves FDT_NOP where it takes nodes away, which the library behind `Tree` does not know."""
    blob = bytearray(Tree(source_dtb(SOURCES / "zcu102.dts")).blob())
    at = blob.index(b"\0\0\0\3", int.from_bytes(blob[8:12]))  # the root's first property
    size = 12 + ((int.from_bytes(blob[at + 4 : at + 8]) + 3) & ~3)
    blob[at : at + size] = b"\0\0\0\4" * (size // 4)
    read = parse(Tree(bytes(blob)).blob())
    assert "cpu@3" in [node.name for node in read.walk()]
    assert len(read.properties) == len(parse(source_dtb(SOURCES / "zcu102.dts")).properties) - 1
