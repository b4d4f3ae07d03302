"""Every switch of Kconfig away from its default: the image builds, and boots a guest."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from tests.boards import beacon
from tests.boards.test_shared_memory import EAST_AT, SIZE, machine_tree, pair, share
from tests.conftest import Boot
from xenarm.tools import build, kconfig
from xenarm.tools.hypervisor import SWITCH_INPUT, Hypervisor
from xenarm.tools.paths import DEFAULT_BOARD
from xenarm.tools.run import own_domain

CHECKS = tuple(f"CHECK_{kind}" for kind in "OVERFLOW BOUNDS NARROWING SHIFT DIVISION ENUM ASSERT".split())
OFF = {name: "n" for name in CHECKS}
VARIANTS: dict[str, dict[str, str]] = {
    "no checks": OFF,
    "one of everything": {"MAX_CPUS": "1", "MAX_DOMAINS": "1", "MAX_DOMAIN_CPUS": "1", "MAX_VCPUS": "1", "MAX_MODULES": "1"},
    "most of everything": {"MAX_CPUS": "64", "MAX_DOMAINS": "64", "MAX_MODULES": "256", "VGIC_INTIDS": "992"},
    "much said": {"LOG_LEVEL_DEBUG": "y", "LOG_RING_SIZE": "1024"},
}


@pytest.fixture
def variant(xenarm: Hypervisor, scratch: Path) -> Callable[[dict[str, str]], Hypervisor]:
    """Builds the hypervisor by another configuration."""

    def make(values: dict[str, str]) -> Hypervisor:
        job = build.Job(build.HYPERVISOR, scratch / "xenarm")
        kconfig.changed(DEFAULT_BOARD, values, scratch / "config")
        build.compile_job(DEFAULT_BOARD, job, scratch / "config")
        return replace(xenarm, image=job.output)

    return make


@pytest.mark.parametrize("name", VARIANTS)
def test_a_configuration_boots(
    boot: Boot, variant: Callable[[dict[str, str]], Hypervisor], scratch: Path, name: str
) -> None:
    hypervisor = variant(VARIANTS[name])
    with boot(hypervisor, beacon.domain(scratch)) as session:
        session.console.expect(beacon.TEXT, 30)
        session.wait_off(10)


def test_64_domains(boot: Boot, variant: Callable[[dict[str, str]], Hypervisor]) -> None:
    """On four CPUs; those with a number of two digits answer to the hypervisor's keys too."""
    hypervisor = replace(variant({"MAX_DOMAINS": "64", "MAX_VCPUS": "64", "MAX_MODULES": "64"}), bootargs="sched=rr")
    one = own_domain(DEFAULT_BOARD, "hello")
    domains = [replace(one, name=f"d{n}", memory_kib=8 << 10) for n in range(64)]
    with boot(hypervisor, *domains, cpus=4, memory_mib=2048) as session:
        console = session.console
        greeted: set[str] = set()
        while greeted != {domain.name for domain in domains}:  # a line that is cut is said again
            greeted.add(console.expect(r"\((\w+)\) Hello from a guest", 60)[1].decode())
        for _ in range(1000):
            console.send(SWITCH_INPUT)
            if console.expect(r"input goes to (?:the )?(\w+)", 30)[1] == b"hypervisor":
                break
        console.send("b37b1\r")
        assert {console.expect(r"domain (\w+): restart 1, reason REBOOT", 60)[1] for _ in range(2)} == {b"d37", b"d1"}
        console.send("b64")
        console.expect("no such domain", 30)


@pytest.mark.parametrize(("off", "gic"), [("GICV2", 3), ("GICV3", 2)])
def test_one_interrupt_controller_alone(
    boot: Boot, variant: Callable[[dict[str, str]], Hypervisor], scratch: Path, off: str, gic: int
) -> None:
    """The other's driver is not in the image, and a machine with the other is refused in one line."""
    hypervisor = variant({off: "n"})
    absent = {"GICV2": r"v2_|_v2$|^vgicd_|^INTERFACES$", "GICV3": r"v3|^vgicd3|^vgicr|^REDIST$|vectors_v3"}[off]
    assert [name for name in symbols(hypervisor.image) if re.search(absent, name)] == []
    with boot(hypervisor, beacon.domain(scratch), gic=gic) as session:
        session.console.expect(beacon.TEXT, 30)
        session.wait_off(10)
    with boot(hypervisor, beacon.domain(scratch), gic=5 - gic) as session:
        session.console.expect(f"no GICv{gic} with virtualization in the device tree: NOT_FOUND; the machine cannot be used", 30)


def test_gicv2s_on_a_gicv3_that_has_nothing_for_them(boot: Boot, variant: Callable[[dict[str, str]], Hypervisor], scratch: Path) -> None:
    """As QEMU's: the domain is refused, and one with a GICv3 runs beside it."""
    asks = replace(beacon.domain(scratch, "old"), properties={"xenarm,gic-version": 2})
    with boot(variant({"GICV2_ON_V3": "y"}), asks, beacon.domain(scratch), cpus=2, gic=3) as session:
        session.console.expect("/chosen/old: xenarm,gic-version asks for a GICv2, and the machine's GICv3 has no CPU interface for one: no GICV in its reg; give 3", 30)
        session.console.expect(beacon.TEXT, 30)
        session.wait_off(10)


def test_a_serial_port_that_is_not_there_is_named(
    boot: Boot, variant: Callable[[dict[str, str]], Hypervisor], scratch: Path
) -> None:
    hypervisor = variant({"VPL011": "n"})
    with boot(hypervisor, beacon.domain(scratch)) as session:
        session.console.expect(r"/chosen/good: vpl011: this image has no virtual serial port \(CONFIG_VPL011\); it is ignored", 30)
        session.console.expect(r"domain good vcpu 0 pc 0x\w+: .*0x22000018", 30)
        assert beacon.TEXT not in session.console.text()


def test_shared_memory_that_is_left_out(boot: Boot, variant: Callable[[dict[str, str]], Hypervisor]) -> None:
    """No function of it is in the image, and a domain that asks for it is told so."""
    hypervisor = variant({"STATIC_SHM": "n"})
    assert not [name for name in symbols(hypervisor.image) if "shared_memory" in name or name == "plan_shared"]
    domains = pair(hypervisor)
    tree = machine_tree(hypervisor, domains)
    share(tree, "west", EAST_AT, SIZE)
    with boot(hypervisor, *domains, cpus=2, dtb=tree.blob()) as session:
        session.console.expect("west does not start: /chosen/west/shm: compatible asks for shared memory, which this image", 60)
        session.console.expect("hello> ", 60)


def symbols(image: Path) -> set[str]:
    """The names in the ELF file beside an image, but those of the linker's own places."""
    with image.with_suffix(".elf").open("rb") as stream:
        table = ELFFile(stream).get_section_by_name(".symtab")
        assert table is not None
        return {symbol.name for symbol in table.iter_symbols() if not symbol.name.startswith("__part_")}


def test_checks_that_are_off_leave_nothing(variant: Callable[[dict[str, str]], Hypervisor], xenarm: Hypervisor) -> None:
    assert code_size(variant(OFF).image) < 0.95 * code_size(xenarm.image)


def code_size(image: Path) -> int:
    """The bytes of .text in the ELF file beside an image."""
    with image.with_suffix(".elf").open("rb") as stream:
        section = ELFFile(stream).get_section_by_name(".text")
        assert section is not None
        size: int = section["sh_size"]
        return size


def test_what_qemu_cannot_run_builds(variant: Callable[[dict[str, str]], Hypervisor]) -> None:
    """QEMU's GICv2 loses timer interrupts with the hardware link, so no guest is booted on it."""
    variant({"GIC_HW_TIMER_LINK": "y", "LOG_LEVEL_ERROR": "y"})


def test_event_channels_that_are_off_leave_nothing(boot: Boot, variant: Callable[[dict[str, str]], Hypervisor], scratch: Path) -> None:
    """And a domain that asks for them starts without, which is said."""
    hypervisor = variant({"EVENT_CHANNELS": "n"})
    with boot(hypervisor, replace(beacon.domain(scratch), properties={"xen,enhanced": "enabled"})) as session:
        session.console.expect(r"/chosen/good: xen,enhanced: this image has no event channels \(CONFIG_EVENT_CHANNELS\); it is ignored", 60)
        session.console.expect(beacon.TEXT, 60)
    with hypervisor.image.with_suffix(".elf").open("rb") as stream:
        symbols = ELFFile(stream).get_section_by_name(".symtab")
        assert symbols is not None
        names = [symbol.name for symbol in symbols.iter_symbols()]
    assert "HYPERCALLS" in names
    assert not [name for name in names if any(part in name.lower() for part in ("channel", "shared_info", "argument", "static_end"))]
