"""Every board: its description, its configuration and its tree agree."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import boards
from boards import BOARDS, board
from tests import of_board
from tests.conftest import BOARD32
from tests.xenarm.trees import parse
from xenarm.tools import boards as listing
from xenarm.tools import debug, flash, kconfig, run, terminal
from xenarm.tools.dtb import Tree
from xenarm.tools.errors import ToolError, run_tool
from xenarm.tools.layout import machine_dtb, source_dtb
from xenarm.tools.machine import Architecture, Board, Machine
from xenarm.tools.paths import BOARDS as SOURCES
from xenarm.tools.paths import DEFAULT_BOARD, ROOT
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


VERBS: dict[str, tuple[Callable[[], int | None], Callable[[Board], str]]] = {
    "run": (run.main, lambda b: "" if b.qemu else f"QEMU has no model of {b.name}: 'make list-boards board={b.name}' says how to put the image on the board"),
    "console": (
        terminal.main,
        lambda b: f"no {b.name} is running here with its console left to others: 'make run board={b.name} CONSOLE=1' in another terminal starts one, or name a serial port by PORT="
        if b.qemu
        else f"QEMU has no model of {b.name}: name the board's serial port by PORT=, such as /dev/ttyUSB0",
    ),
    "debug": (
        debug.main,
        lambda b: f"no {b.name} is running here: 'make run board={b.name}' in another terminal starts one, or name another gdb server by TARGET=host:port"
        if b.qemu
        else f"QEMU has no model of {b.name}, so 'make run' has none running: name its gdb server, such as a JTAG probe's, by TARGET=host:port",
    ),
    "flash": (
        flash.main,
        lambda b: ""
        if b.nor is not None
        else f"{b.name} is a machine of QEMU's alone, without a flash: 'make run board={b.name} DEPLOY=NAME' boots a deployment"
        if not b.tree
        else f"{b.name} is flashed over its serial line: name that by PORT=, such as PORT=/dev/ttyUSB0; by hand: 'make board={b.name} DEPLOY=NAME' makes the files, then {b.hardware.flash}",
    ),
}
"""What each verb says of a board that is not there; nothing where it needs none."""


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("name", BOARDS)
def test_a_verb_without_its_board_is_one_line(name: str, verb: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Said before anything is built or started: nothing is written."""
    main, says = VERBS[verb]
    if not says(BOARDS[name]):
        return
    monkeypatch.setenv("XENARM_O", str(tmp_path))
    monkeypatch.setattr(sys, "argv", [verb, "--board", name])
    with pytest.raises(SystemExit) as end:
        run_tool(main)
    assert (end.value.code, *capsys.readouterr()) == (1, "", f"error: {says(BOARDS[name])}\n")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", BOARDS)
def test_all_about_each_board(name: str) -> None:
    """No fact is missing, and the tree that is named is there."""
    page, found = listing.page(BOARDS[name]), BOARDS[name]
    facts = [line.partition(":")[2].strip() for line in page.splitlines()[1:]]
    assert page.startswith(name) and all(facts) and f"{found.hardware.load_address:#x}" in page
    assert not found.tree or (SOURCES / found.tree).exists()


def test_a_tree_with_holes_is_read() -> None:
    """QEMU leaves FDT_NOP where it takes nodes away, which the library behind `Tree` does not know."""
    blob = bytearray(Tree(source_dtb(SOURCES / "zcu102.dts")).blob())
    at = blob.index(b"\0\0\0\3", int.from_bytes(blob[8:12]))  # the root's first property
    size = 12 + ((int.from_bytes(blob[at + 4 : at + 8]) + 3) & ~3)
    blob[at : at + size] = b"\0\0\0\4" * (size // 4)
    read = parse(Tree(bytes(blob)).blob())
    assert "cpu@3" in [node.name for node in read.walk()]
    assert len(read.properties) == len(parse(source_dtb(SOURCES / "zcu102.dts")).properties) - 1


def test_the_page_on_adding_a_board_has_the_files_that_are_there() -> None:
    """What a reader types by it is the description, and the configuration, of the board that was added by it."""
    page = (ROOT / "docs" / "boards.md").read_text().partition("## Adding a board")[2]
    typed = "\n".join(line[7:] for line in page.splitlines() if line.startswith("       "))
    description, _, defconfig = typed.partition("\nCONFIG_")
    made: dict[str, object] = {}
    exec(description, made)
    assert made["BOARD"] == BOARDS["xlnx-versal-virt"]
    lines = {line.partition("#")[0].strip() or line for line in f"CONFIG_{defconfig}".splitlines() if line}
    theirs = set(kconfig.defconfig_path("xlnx-versal-virt").read_text().splitlines())
    assert lines - {"CONFIG_BOARD_CUSTOM_64=y"} == theirs, "64 bits are the default"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("from xenarm.tools.machine import Board\n\nBOARD = Bord()\n", r"boards/broken_one\.py:3: name 'Bord' is not defined: correct the description; docs/boards\.md"),
        ("BOARD = (\n", r"boards/broken_one\.py:1: '\(' was never closed \(broken_one\.py, line 1\): correct"),
        ("BORD = 1\n", r"boards/broken_one\.py: has no BOARD: docs/boards\.md"),
        ("BOARD = 1\n", r"boards/broken_one\.py: its BOARD is not that of 'broken-one': a board's name is its file's"),
        ("from boards.arndale import BOARD\n", r"boards/broken_one\.py: its BOARD is not that of 'broken-one'"),
    ],
)
def test_a_mistake_in_a_description_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, says: str) -> None:
    (tmp_path / "broken_one.py").write_text(text)
    monkeypatch.setattr(boards, "__path__", [str(tmp_path)])
    try:
        with pytest.raises(ToolError, match=f"^{says}"):
            len(boards.Boards())
    finally:
        sys.modules.pop("boards.broken_one", None)


def test_two_files_that_do_not_agree_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is forgotten in a description, or left over in a configuration that was copied."""
    monkeypatch.setattr(kconfig, "board_named", lambda name: replace(board("orangepi-pc"), architecture=Architecture.ARM64))
    with pytest.raises(ToolError, match=r"^configs/orangepi-pc_defconfig: CONFIG_ARCH is arm32, boards/orangepi_pc\.py says arm64: correct one of them"):
        kconfig.up_to_date("orangepi-pc")
    with pytest.raises(ToolError, match=r"^configs/cubieboard2_defconfig: CONFIG_BOARD is lager, boards/cubieboard2\.py says cubieboard2"):
        kconfig.refuse_other_board(kconfig.loaded(kconfig.defconfig_path("lager")), "cubieboard2")


def test_the_tree_that_doctor_sees_has_what_a_start_has() -> None:
    """QEMU's Versal has PSCI only with something to start."""
    found = board("xlnx-versal-virt")
    assert any(node.name == "psci" for node in parse(machine_dtb(Machine(found, SOURCES / "none", (), found.max_cpus))).walk())


# ---- the tests of a board --------------------------------------------------------------------------------------------------


TARGET_ROWS = {"arm64-gicv2": ("xenarm", 2), "arm32": ("xenarm32", 2)}


@pytest.mark.parametrize(
    ("directory", "params", "fixtures", "marks", "of"),
    [
        ("xenarm", {}, [], [], set(BOARDS)),
        ("tools", {"size": 3, "word": "xen"}, [], [], set(BOARDS)),
        ("xenarm", {}, [], ["arm64"], {name for name, found in BOARDS.items() if found.architecture is Architecture.ARM64}),
        ("tools", {"name": "lager"}, [], [], {"lager"}),
        ("boards", {}, ["zcu102"], ["zcu102"], {"zcu102"}),
        ("boards", {}, ["xenarm32"], ["midway"], {"midway"}),
        ("boards", {"target": "arm32"}, ["target"], [], {BOARD32}),
        ("boards", {"target": "arm64-gicv2"}, ["target"], [], {DEFAULT_BOARD}),
        ("boards", {"either": "case32"}, ["either"], [], {BOARD32}),
        ("boards", {}, ["case64"], [], {DEFAULT_BOARD}),
        ("guests", {}, ["boot", "xenarm"], [], {DEFAULT_BOARD}),
        ("guests", {}, [], [], set(BOARDS)),
        ("engines", {}, [], [], set()),
        ("freestanding", {}, [], [], set()),
    ],
)
def test_which_boards_a_test_concerns(directory: str, params: dict[str, object], fixtures: list[str], marks: list[str], of: set[str]) -> None:
    assert of_board.concerned(directory, params, fixtures, marks, TARGET_ROWS) == of


def collected(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", *arguments, "tests/tools/test_boards.py", "tests/boards/test_midway.py", "tests/engines/test_basics.py"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=200)


def test_a_boards_tests_are_chosen() -> None:
    """`make test board=B`, which looks at the name before all else."""
    result = collected("--board", "midway")
    assert result.returncode == 0, result.stderr
    assert "[midway]" in result.stdout and "test_midway.py" in result.stdout
    assert "[lager]" not in result.stdout and "engines/test_basics.py::" not in result.stdout
    others = collected().stdout
    assert "[lager]" in others and "engines/test_basics.py::" in others


def test_a_mark_that_names_nothing_is_refused(tmp_path: Path) -> None:
    """A misspelt one would leave its test out for good."""

    class Item:
        nodeid = "boards/test_x.py::test_y"

        def iter_markers(self, name: str) -> list[pytest.Mark]:
            return [pytest.mark.board("midway", "zcu103").mark]

    with pytest.raises(pytest.UsageError, match="^boards/test_x.py::test_y: the mark 'board' has zcu103, which is no board and no architecture$"):
        of_board.concerned_by(Item(), TARGET_ROWS)  # type: ignore[arg-type]


def test_a_board_that_there_is_not_has_no_tests() -> None:
    refused = collected("--board", "nosuch")
    assert refused.returncode != 0 and "ERROR: there is no board 'nosuch'; the boards are: arndale, " in refused.stderr
    made = subprocess.run(["make", "--no-print-directory", "test", "board=nosuch"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=200)
    assert made.returncode != 0 and not made.stdout
    assert [line for line in made.stderr.splitlines() if not line.startswith("make")] == [f"error: there is no board 'nosuch'; the boards are: {', '.join(sorted(BOARDS))}"]
