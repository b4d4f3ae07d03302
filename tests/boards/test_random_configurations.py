"""Configurations by chance, and every switch off or on, build, hold nothing of what they leave out, and boot a guest where QEMU can show it.

A few in the suite; `make test-long` takes XENARM_CONFIGURATIONS more, over all boards, and says of each what became of it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from kconfiglib import Kconfig

from boards import BOARDS
from boards import board as board_named
from tests.boards import beacon
from tests.boards.switches import SWITCHES, Built, left_of, read
from tests.conftest import BOARD32
from xenarm.config import Config, parse
from xenarm.tools import build, doctor
from xenarm.tools.kconfig import defconfig_path, loaded, randomised, uniform, write
from xenarm.tools.layout import compose
from xenarm.tools.machine import KIB, MIB, Board, DomainSpec, Machine, ModuleKind, ModuleSpec, Value
from xenarm.tools.paths import DEFAULT_BOARD
from xenarm.tools.session import Session, booted

SECONDS = 60
FIRST = int(os.environ.get("XENARM_SEED", "1"))
COUNT = int(os.environ.get("XENARM_CONFIGURATIONS", "0"))
EMULATED, OTHERS = ([name for name, found in BOARDS.items() if bool(found.qemu) is known] for known in (True, False))
SAMPLE = [(DEFAULT_BOARD, 1), (BOARD32, 3)]
WINDOW: Mapping[str, Value] = {"xen,arinc653-windows": (0, 0, 1000)}
FRAME: Mapping[str, Value] = {"xen,arinc653-major-frame-us": 2000}


def drawn(seed: int) -> tuple[str, int]:
    """Each board in its turn, every second time one that QEMU has a model of."""
    boards = OTHERS if seed % 2 else EMULATED
    return boards[seed // 2 % len(boards)], seed


def scheduler(values: Config) -> str:
    """One that the image has."""
    return next(name for name in ("null", "rr", "credit2", "rtds", "arinc653") if getattr(values, f"SCHED_{name.upper()}"))


def turns_off(values: Config, board: Board) -> bool:
    """Whether the machine goes off with its last domain: by PSCI, or by the SoC's own registers."""
    needed = {"vexpress-a15": values.SOC_VEXPRESS, "midway": values.SOC_ECX2000}
    return needed.get(board.name, True)


def needed(board: Board) -> list[str]:
    """The drivers that the board's own configuration has; of QEMU's `virt`, which has either controller, the port's alone."""
    own = loaded(defconfig_path(board.name)).syms
    kinds = ("UART_",) if board.has_gic(3) else ("UART_", "GICV")
    return [str(symbol.name) for symbol in own.values() if symbol.name and symbol.name.startswith(kinds) and symbol.tri_value == 2]


def why_not(values: Config, board: Board) -> str:
    """What keeps us from seeing a guest; empty when nothing does."""
    if not board.qemu:
        return "QEMU has no model of the board"
    missing = [name for name in needed(board) if not getattr(values, name)]
    if missing:
        return f"the machine needs {' and '.join(missing)}"
    if not values.VPL011 and not turns_off(values, board):
        return "its guest has no serial port, and it cannot turn the machine off"
    return ""


def machine(values: Config, board: Board, image: Path, scratch: Path) -> Machine:
    """With one guest, which says a line where it has a port, and ends."""
    text = beacon.TEXT if values.VPL011 else None
    kernel = scratch / "guest"
    kernel.write_bytes(beacon.kernel_of(beacon.NOTHING, text, board.architecture))
    chosen = scheduler(values)
    windows, frame = (WINDOW, FRAME) if chosen == "arinc653" else ({}, {})
    guest = DomainSpec("good", 32 * MIB // KIB, (ModuleSpec(ModuleKind.KERNEL, kernel),), properties=windows, vpl011=values.VPL011)
    if board.has_gic(3):
        board = board.with_gic(2 if values.GICV2 else 3)
    return Machine(board, image, (guest,), bootargs=f"sched={chosen}", chosen=frame)


def expect_life(session: Session, values: Config, board: Board) -> None:
    """The guest's line, and the machine's end."""
    if values.VPL011:
        session.console.expect(beacon.TEXT, SECONDS)
    if turns_off(values, board):
        session.wait_off(SECONDS)


def leftovers(values: Config, built: Built) -> dict[str, list[str]]:
    """What is there of the switches that are off."""
    off = {name: switch for name, switch in SWITCHES.items() if not getattr(values, name) and (values.ARM64 or not switch.shared)}
    found = {name: left_of(switch, built) for name, switch in off.items()}
    return {name: left for name, left in found.items() if left}


def show(scratch: Path, board: str, kconfig: Kconfig, name: str) -> None:
    """Build it, boot it where that can be seen, and look for what should not be there."""
    doctor.provide("test")
    config = write(kconfig, scratch / "config")
    values = parse(config.read_text(), str(config))
    job = build.Job(build.HYPERVISOR, scratch / "xenarm")
    build.compile_job(board, job, config)
    found = board_named(board)
    unseen = why_not(values, found)
    if not unseen:
        made = machine(values, found, job.output, scratch)
        with booted(compose(made), f"{name}-{board}") as session:
            expect_life(session, values, found)
    print(f"{board}, {name}, {scheduler(values)}: builds, " + (f"not booted: {unseen}" if unseen else "boots"), flush=True)
    assert leftovers(values, read(job.output)) == {}


@pytest.mark.parametrize(("board", "seed"), [drawn(seed) for seed in range(FIRST, FIRST + COUNT)] or SAMPLE)
def test_a_configuration_by_chance(scratch: Path, board: str, seed: int) -> None:
    show(scratch, board, randomised(board, seed), f"seed-{seed}")


@pytest.mark.parametrize("value", [0, 2], ids=["off", "on"])
@pytest.mark.parametrize("board", [DEFAULT_BOARD, BOARD32] if COUNT else [DEFAULT_BOARD])
def test_every_switch(scratch: Path, board: str, value: int) -> None:
    """As allnoconfig and allyesconfig have it."""
    show(scratch, board, uniform(board, value), "all-on" if value else "all-off")
