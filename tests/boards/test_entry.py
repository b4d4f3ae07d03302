"""How the image starts: at the wrong exception level, at other addresses; and how it ends when it is itself at fault."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from boards import board as board_named
from freestanding import offset_of
from freestanding.elf import Image
from tests.boards import beacon
from tests.boards.loads import Load
from tests.guests.conftest import load_guest
from xenarm.core.domain import Slot
from xenarm.tools.hypervisor import Hypervisor
from xenarm.tools.layout import Layout, compose
from xenarm.tools.machine import MIB, Board, DomainSpec, Machine, Region
from xenarm.tools.session import Session, booted

__all__ = ["load_guest"]

SECONDS = 60
STACK_POINTER = 31
PROGRAM_COUNTER = 32
PAGE = 0x1000
GUARD_OFFSET = offset_of(Slot, "stack") - PAGE


@pytest.fixture
def layout(built_board: str, xenarm: Hypervisor, scratch: Path) -> Layout:
    return compose(machine(board_named(built_board), xenarm, beacon.domain(scratch)))


def machine(board: Board, xenarm: Hypervisor, domain: DomainSpec) -> Machine:
    return Machine(board, xenarm.image, (domain,), 1, 512)


@contextmanager
def started(layout: Layout, name: str, paused: bool = False) -> Iterator[Session]:
    with booted(layout, f"entry-{name}", paused=paused) as session:
        yield session


def test_at_el1_it_says_so_and_stops(built_board: str, xenarm: Hypervisor, scratch: Path) -> None:
    without_el2 = replace(board_named(built_board), machine="virt,virtualization=off,gic-version=2")
    with started(compose(machine(without_el2, xenarm, beacon.domain(scratch))), "el1") as session:
        session.console.expect(r"started at EL1: a hypervisor needs EL2", SECONDS)
        assert not session.console.drain_until_closed(1), "it stops where it is"


@pytest.mark.parametrize("offset", [4, 16, 254, 510])
def test_any_place_on_a_2_mib_boundary(layout: Layout, offset: int) -> None:
    """Given by the image's header; QEMU's -kernel knows one place only, so the image is put there by hand."""
    place = Region(layout.hypervisor.what, layout.machine.board.ram_base + offset * MIB, layout.hypervisor.size)
    moved = replace(layout, hypervisor=place, exact_dtb=True)
    with started(moved, f"at-{offset}") as session:
        session.console.expect(rf"image at {place.base:#x}", SECONDS)
        session.console.expect(beacon.TEXT, SECONDS)


def test_a_fault_of_its_own_names_file_and_line(layout: Layout, xenarm: Hypervisor) -> None:
    """Stop where a guest's access is answered, go on at a failed check, and read what it says."""
    image = Image(xenarm.image.with_name(xenarm.image.name + ".elf").read_bytes())
    site = next(s for s in image.panics if s.kind == "assert" and s.file.endswith(".py"))
    with started(layout, "panic", paused=True) as session:
        with session.qemu.gdb(SECONDS) as stub:
            stub.break_at(image.symbols["console_vpl011_mmio"])
            stub.resume_until_stop()
            stub.clear(image.symbols["console_vpl011_mmio"])
            stub.write_register(PROGRAM_COUNTER, site.address)
            stub.resume()
            console = session.console
            console.expect(rf"panic on cpu 0: assertion failed at {re.escape(site.file)}:{site.line}\b", SECONDS)
            console.expect(r"running domain \w+ vcpu 0", SECONDS)
            console.expect(r"x30 [0-9a-f]{16}  sp  [0-9a-f]{16}  pc  [0-9a-f]{16}", SECONDS)
            console.expect(r"0x[0-9a-f]+ xenarm/arm/traps\.py:\d+", SECONDS)


@pytest.mark.parametrize(
    ("bootargs", "end"),
    [("", "all CPUs stop"), ("panic=never", "all CPUs stop"), ("panic=reboot", "the machine restarts"), ("panic=off", "the machine is turned off")],
)
def test_a_panic_is_everybodys(built_board: str, xenarm: Hypervisor, load_guest: Path, bootargs: str, end: str) -> None:
    """Three CPUs, a guest on each that never stops printing: one of them fails, one panic is told, nobody says anything after it."""
    image = Image(xenarm.image.with_name(xenarm.image.name + ".elf").read_bytes())
    site = next(s for s in image.panics if s.kind == "assert" and s.file.endswith(".py"))
    floods = tuple(Load(name, "console").domain(load_guest, 0, 100_000_000) for name in ("east", "west", "north"))
    layout = compose(Machine(board_named(built_board), xenarm.image, floods, 3, 512, bootargs))
    with started(layout, f"panic-all-{bootargs}") as session:
        console = session.console
        for name in ("east", "west", "north"):
            console.expect(rf"\({name}\) abc", SECONDS)
        assert ("panic=never is ignored; give stop, reboot or off" in console.text()) == (bootargs == "panic=never")
        with session.qemu.gdb(SECONDS) as stub:
            stub.break_at(image.symbols["console_vpl011_mmio"])
            stub.resume_until_stop()
            stub.clear(image.symbols["console_vpl011_mmio"])
            stub.write_register(PROGRAM_COUNTER, site.address)
            stub.resume()
            console.expect(rf"panic on cpu \d: assertion failed at {re.escape(site.file)}:{site.line}\b", SECONDS)
            console.expect(re.escape(end), SECONDS)
            closed = console.drain_until_closed(1 if "stop" in end else SECONDS)
        assert closed == ("stop" not in end)
        after = console.text()[console.text().index("panic on") :]
        assert after.count("panic on") == 1
        assert not re.search("abc", after), after


def test_the_stack_ends_at_a_page_that_nothing_maps(layout: Layout, xenarm: Hypervisor) -> None:
    """An overflow is a fault that is reported, not somebody else's data."""
    image = Image(xenarm.image.with_name(xenarm.image.name + ".elf").read_bytes())
    with started(layout, "guard", paused=True) as session:
        with session.qemu.gdb(SECONDS) as stub:
            stub.break_at(image.symbols["console_vpl011_mmio"])
            stub.resume_until_stop()
            stub.clear(image.symbols["console_vpl011_mmio"])
            guard = image.symbols["__slots_start"] + GUARD_OFFSET
            stub.write_register(STACK_POINTER, guard + PAGE)
            stub.resume()
            said = session.console.expect(r"panic on cpu 0: exception class 0x25 at 0x[0-9a-f]+, address (0x[0-9a-f]+)", SECONDS)
            assert guard <= int(said[1], 16) < guard + PAGE


# What must fault: a register set to an address within the image or to its alias among the machine's memory; the fault's class.
FORBIDDEN = {
    "execute-what-only-the-boot-used": (PROGRAM_COUNTER, "__once_text_start", 0x21),
    "store-to-what-only-the-boot-used": (STACK_POINTER, "__once_text_start", 0x25),
    "store-to-a-domain-that-is-not": (STACK_POINTER, "__window_end", 0x25),
    "execute-the-boot-code": (PROGRAM_COUNTER, "__text_start", 0x21),
    "store-to-the-boot-code": (STACK_POINTER, "__text_start", 0x25),
    "store-to-text": (STACK_POINTER, "__part_all_start", 0x25),
    "store-to-constants": (STACK_POINTER, "__rodata_start", 0x25),
    "execute-data": (PROGRAM_COUNTER, "__data_start", 0x21),
    "execute-constants": (PROGRAM_COUNTER, "__rodata_start", 0x21),
}


NO_ALIAS = {name for name, (_, symbol, _) in FORBIDDEN.items() if symbol.startswith(("__once", "__window"))} | {"store-to-the-boot-code"}
"""What only the boot used is free memory at its machine address; the window has no such address."""


@pytest.mark.parametrize(("name", "alias"), sorted((name, alias) for name in FORBIDDEN for alias in {False, name not in NO_ALIAS}))
def test_text_is_not_written_and_data_not_executed(layout: Layout, xenarm: Hypervisor, name: str, alias: bool) -> None:
    register, symbol, fault = FORBIDDEN[name]
    image = Image(xenarm.image.with_name(xenarm.image.name + ".elf").read_bytes())
    address = image.symbols[symbol] + (0x800 if register == STACK_POINTER else 0)
    if symbol == "__window_end":
        address -= PAGE
    if alias:
        address += layout.hypervisor.base - image.symbols["__image_start"]
    with started(layout, name, paused=True) as session:
        with session.qemu.gdb(SECONDS) as stub:
            stub.break_at(image.symbols["console_vpl011_mmio"])
            stub.resume_until_stop()
            stub.clear(image.symbols["console_vpl011_mmio"])
            stub.write_register(register, address)
            stub.resume()
            said = session.console.expect(r"exception class (0x[0-9a-f]+) at 0x[0-9a-f]+, address (0x[0-9a-f]+)", SECONDS)
            assert int(said[1], 16) == fault
            assert abs(int(said[2], 16) - address) < PAGE
