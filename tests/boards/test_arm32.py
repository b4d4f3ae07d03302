"""What only the 32-bit board can show: the zImage header, HYP mode, its own faults, guests of both instruction sets' exceptions."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from boards import board as board_named
from freestanding.elf import Image
from freestanding.linetable import Lines
from tests.boards import beacon, lives
from tests.conftest import BOARD32, Boot
from tests.guests.test_hello import ask
from xenarm.tools.hypervisor import Hypervisor
from xenarm.tools.layout import Layout, compose
from xenarm.tools.machine import KIB, Architecture, DomainSpec, Machine, Region
from xenarm.tools.run import own_domain
from xenarm.tools.session import booted

SECONDS = 60
PC = 15  # gdb's number


@pytest.fixture(scope="module")
def hello(xenarm32: Hypervisor) -> DomainSpec:
    return own_domain(BOARD32, "hello", 2, 32)


def layout(xenarm32: Hypervisor, *domains: DomainSpec, **changes: str) -> Layout:
    return compose(Machine(replace(board_named(BOARD32), **changes), xenarm32.image, domains, 2, 512))  # type: ignore[arg-type]


def test_in_svc_mode_it_says_so_and_stops(xenarm32: Hypervisor, hello: DomainSpec) -> None:
    with booted(layout(xenarm32, hello, machine="virt,virtualization=off,gic-version=2"), "arm32-svc") as session:
        session.console.expect(r"started at PL1: a hypervisor needs PL2", SECONDS)
        assert not session.console.drain_until_closed(1), "it stops where it is"


@pytest.mark.parametrize("offset", [0x30_1000, 0x0600_0000])
def test_any_place_on_a_page(xenarm32: Hypervisor, hello: DomainSpec, offset: int) -> None:
    """A zImage says that it may lie anywhere."""
    made = layout(xenarm32, hello)
    place = Region(made.hypervisor.what, made.machine.board.ram_base + offset, made.hypervisor.size)
    with booted(replace(made, hypervisor=place, exact_dtb=True), f"arm32-at-{offset:x}") as session:
        session.console.expect(rf"image at {place.base:#x}", SECONDS)
        session.console.expect("Hello from a guest", SECONDS)


def test_a_cortex_a7_too(xenarm32: Hypervisor, hello: DomainSpec) -> None:
    with booted(layout(xenarm32, hello, cpu="cortex-a7"), "arm32-a7") as session:
        session.console.expect("this is Cortex-A7 r0p5", SECONDS)
        session.console.expect("hello> $", SECONDS)


def test_our_guest_answers_with_two_vcpus_and_restarts(boot: Boot, xenarm32: Hypervisor, hello: DomainSpec) -> None:
    with boot(xenarm32, hello, cpus=2) as session:
        console = session.console
        console.expect("hello> $", SECONDS)
        ask(console, "cpus", r"cpu 1 +MPIDR 0x1: on, answers an interrupt")
        console.send("reboot\r")
        console.expect("hello: restart 1, reason REBOOT", SECONDS)
        console.expect("hello> $", SECONDS)
        console.send("off\r")
        session.wait_off(SECONDS)


def test_a_fault_of_its_own_names_files_and_lines(xenarm32: Hypervisor, hello: DomainSpec) -> None:
    """Stop where a guest's character is taken, go on at a failed check: the report has the check, and the way there from the trap."""
    image = Image(xenarm32.image.with_name(xenarm32.image.name + ".elf").read_bytes())
    site = next(s for s in image.panics if s.kind == "assert" and s.file.endswith(".py"))
    place = image.symbols["console_vpl011_mmio"]
    assert place & 1, "compiled code is Thumb"
    with booted(layout(xenarm32, hello), "arm32-panic", paused=True) as session:
        with session.qemu.gdb(SECONDS) as stub:
            stub.break_at(place - 1)
            stub.resume_until_stop()
            stub.clear(place - 1)
            stub.write_register(PC, site.address, size=4)
            stub.resume()
            console = session.console
            console.expect(rf"panic on cpu \d: assertion failed at {re.escape(site.file)}:{site.line}\b", SECONDS)
            console.expect(r"running domain hello vcpu 0", SECONDS)
            console.expect(r"  psr [0-9a-f]{6}fa  hsr [0-9a-f]{8}", SECONDS)
            console.expect("all CPUs stop", SECONDS)
        said = re.findall(r"^\(xenarm\)   (0x[0-9a-f]{12}) (\S+):(\d+)\r?$", console.text(), re.M)
    found = [(int(address, 16), file, int(line)) for address, file, line in said]
    assert found[0] == (site.address, site.file, site.line)
    assert [file for _, file, _ in found[1:]][-1] == "xenarm/arm/traps.py" and len(found) > 1
    lines = Lines(image)
    for address, file, line in found[1:]:
        row = lines.at(address - 2)
        assert row is not None and (row.file, row.line) == (file, line), hex(address)


def test_a_guest_that_runs_nowhere_crashes_alone(boot: Boot, xenarm32: Hypervisor, hello: DomainSpec, scratch: Path) -> None:
    path = scratch / "lost"
    path.write_bytes(beacon.zimage(beacon.words(lives.CRASHING[Architecture.ARM32])))
    lost = lives.of_kernel("lost", path)
    with boot(xenarm32, hello, lost, cpus=3) as session:
        session.console.expect(r"domain lost vcpu 0 pc 0x10000000: fetch of 4 bytes at 0x10000000.*external abort", SECONDS)
        session.console.expect(r"domain lost vcpu 0 pc 0xc: fetch of 4 bytes at 0.*crash", SECONDS)
        session.console.expect("domain lost: shut down, reason CRASH", SECONDS)
        session.console.expect(r"\(hello\).*hello> $|hello> ", SECONDS)


def test_what_is_no_zimage_is_refused_in_one_line(boot: Boot, xenarm32: Hypervisor, hello: DomainSpec, scratch: Path) -> None:
    path = scratch / "wrong"
    path.write_bytes(bytes(4 * KIB))
    with boot(xenarm32, hello, lives.of_kernel("wrong", path), cpus=3) as session:
        session.console.expect(r"wrong does not start: /chosen/wrong/module@\w+: reg holds no zImage: the magic at offset 36", SECONDS)
        session.console.expect("Hello from a guest", SECONDS)
