"""How the image starts: at the wrong exception level, at other addresses; and how it ends when it is itself at fault."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from freestanding import offset_of
from freestanding.elf import Image
from tests.boards import beacon
from tests.boards.loads import Load
from tests.conftest import FIRST_TARGET, on_both_widths, on_first_target
from tests.guests.conftest import OwnGuest, own_guest
from xenarm.core.domain import Slot
from xenarm.tools.hypervisor import Hypervisor
from xenarm.tools.layout import Layout, compose
from xenarm.tools.gdbstub import GdbStub
from xenarm.tools.machine import MIB, Architecture, Board, DomainSpec, Machine, Region
from xenarm.tools.session import Session, booted

__all__ = ["own_guest"]

SECONDS = 60
STACK_POINTER, PROGRAM_COUNTER = "sp", "pc"
NUMBERS = {Architecture.ARM64: {STACK_POINTER: 31, PROGRAM_COUNTER: 32}, Architecture.ARM32: {STACK_POINTER: 13, PROGRAM_COUNTER: 15}}
"""As gdb has them."""
PAGE = 0x1000
GUARD_OFFSET = offset_of(Slot, "stack") - PAGE


@pytest.fixture
def layout(target: Hypervisor, scratch: Path) -> Layout:
    return compose(machine(target.machine, target, beacon.domain(scratch, architecture=target.architecture)))


def machine(board: Board, hypervisor: Hypervisor, domain: DomainSpec) -> Machine:
    return Machine(board, hypervisor.image, (domain,), 1, 512)


def image_of(hypervisor: Hypervisor) -> Image:
    return Image(hypervisor.image.with_name(hypervisor.image.name + ".elf").read_bytes())


def fail_at_a_character(stub: GdbStub, hypervisor: Hypervisor, register: str, value: int) -> None:
    """Stop where a guest's access to its serial port is answered, change a register, and go on."""
    place = image_of(hypervisor).symbols["console_vpl011_mmio"] & ~1  # bit 0: Thumb
    stub.break_at(place)
    stub.resume_until_stop()
    stub.clear(place)
    architecture = hypervisor.architecture
    stub.write_register(NUMBERS[architecture][register], value, size=8 if architecture is Architecture.ARM64 else 4)
    stub.resume()


@contextmanager
def started(layout: Layout, name: str, paused: bool = False) -> Iterator[Session]:
    with booted(layout, f"entry-{name}", paused=paused) as session:
        yield session


def test_at_el1_it_says_so_and_stops(xenarm: Hypervisor, scratch: Path) -> None:
    without_el2 = replace(xenarm.machine, machine="virt,virtualization=off,gic-version=2")
    with started(compose(machine(without_el2, xenarm, beacon.domain(scratch))), "el1") as session:
        session.console.expect(r"started at EL1: a hypervisor needs EL2", SECONDS)
        assert not session.console.drain_until_closed(1), "it stops where it is"


@on_first_target
@pytest.mark.parametrize("offset", [4, 16, 254, 510])
def test_any_place_on_a_2_mib_boundary(layout: Layout, offset: int) -> None:
    """Given by the image's header; QEMU's -kernel knows one place only, so the image is put there by hand."""
    place = Region(layout.hypervisor.what, layout.machine.board.ram_base + offset * MIB, layout.hypervisor.size)
    moved = replace(layout, hypervisor=place, exact_dtb=True)
    with started(moved, f"at-{offset}") as session:
        session.console.expect(rf"image at {place.base:#x}", SECONDS)
        session.console.expect(beacon.TEXT, SECONDS)


@on_first_target
def test_a_fault_of_its_own_names_file_and_line(layout: Layout, target: Hypervisor) -> None:
    """Stop where a guest's access is answered, go on at a failed check, and read what it says."""
    site = next(s for s in image_of(target).panics if s.kind == "assert" and s.file.endswith(".py"))
    with started(layout, "panic", paused=True) as session:
        with session.qemu.gdb(SECONDS) as stub:
            fail_at_a_character(stub, target, PROGRAM_COUNTER, site.address)
            console = session.console
            console.expect(rf"panic on cpu 0: assertion failed at {re.escape(site.file)}:{site.line}\b", SECONDS)
            console.expect(r"running domain \w+ vcpu 0", SECONDS)
            console.expect(r"x30 [0-9a-f]{16}  sp  [0-9a-f]{16}  pc  [0-9a-f]{16}", SECONDS)
            console.expect(r"0x[0-9a-f]+ xenarm/arm/traps\.py:\d+", SECONDS)


@pytest.mark.parametrize(
    ("target", "bootargs", "end"),
    [
        (FIRST_TARGET, "", "all CPUs stop"),
        (FIRST_TARGET, "panic=never", "all CPUs stop"),
        (FIRST_TARGET, "panic=reboot", "the machine restarts"),
        (FIRST_TARGET, "panic=off", "the machine is turned off"),
        ("arm64-gicv3", "", "all CPUs stop"),
        ("arm32", "", "all CPUs stop"),
        ("arm32", "panic=reboot", "the machine restarts"),
    ],
    indirect=["target"],
)
def test_a_panic_is_everybodys(target: Hypervisor, own_guest: OwnGuest, bootargs: str, end: str) -> None:
    """Three CPUs, a guest on each that never stops printing: one of them fails, one panic is told, nobody says anything after it."""
    site = next(s for s in image_of(target).panics if s.kind == "assert" and s.file.endswith(".py"))
    floods = tuple(Load(name, "console").domain(own_guest(target, "load"), 0, 100_000_000) for name in ("east", "west", "north"))
    layout = compose(Machine(target.machine, target.image, floods, 3, 512, bootargs))
    with started(layout, f"panic-all-{target.board}-{target.gic}-{bootargs}") as session:
        console = session.console
        for name in ("east", "west", "north"):
            console.expect(rf"\({name}\) abc", SECONDS)
        assert ("panic=never is ignored; give stop, reboot or off" in console.text()) == (bootargs == "panic=never")
        with session.qemu.gdb(SECONDS) as stub:
            fail_at_a_character(stub, target, PROGRAM_COUNTER, site.address)
            console.expect(rf"panic on cpu \d: assertion failed at {re.escape(site.file)}:{site.line}\b", SECONDS)
            console.expect(re.escape(end), SECONDS)
            closed = console.drain_until_closed(1 if "stop" in end else SECONDS)
        assert closed == ("stop" not in end)
        after = console.text()[console.text().index("panic on") :]
        assert after.count("panic on") == 1
        assert not re.search("abc", after), after


@on_both_widths
def test_the_stack_ends_at_a_page_that_nothing_maps(layout: Layout, target: Hypervisor) -> None:
    """An overflow is a fault that is reported, not somebody else's data."""
    guard = image_of(target).symbols["__slots_start"] + GUARD_OFFSET
    with started(layout, f"guard-{target.board}", paused=True) as session:
        with session.qemu.gdb(SECONDS) as stub:
            fail_at_a_character(stub, target, STACK_POINTER, guard + PAGE)
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


@on_both_widths
@pytest.mark.parametrize(("name", "alias"), sorted((name, alias) for name in FORBIDDEN for alias in {False, name not in NO_ALIAS}))
def test_text_is_not_written_and_data_not_executed(layout: Layout, target: Hypervisor, name: str, alias: bool) -> None:
    register, symbol, fault = FORBIDDEN[name]
    symbols = image_of(target).symbols
    address = symbols[symbol] + (0x800 if register == STACK_POINTER else 0)
    if symbol == "__window_end":
        address -= PAGE
    if alias:
        address += layout.hypervisor.base - symbols["__image_start"]
    with started(layout, f"{name}-{target.board}", paused=True) as session:
        with session.qemu.gdb(SECONDS) as stub:
            fail_at_a_character(stub, target, register, address)
            said = session.console.expect(r"exception class (0x[0-9a-f]+) at 0x[0-9a-f]+, address (0x[0-9a-f]+)", SECONDS)
            assert int(said[1], 16) == fault
            assert abs(int(said[2], 16) - address) < PAGE
