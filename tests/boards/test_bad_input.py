"""What a boot loader or its author can get wrong: one clear line, the other domains start, nothing hangs."""

from __future__ import annotations

import re
import struct
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from boards import board
from tests.boards import beacon
from tests.conftest import Boot
from xenarm.config import CONFIG
from xenarm.tools.dtb import Tree
from xenarm.tools.hypervisor import Hypervisor
from xenarm.tools.layout import compose
from xenarm.tools.machine import KIB, MIB, DomainSpec, Machine, ModuleKind, ModuleSpec
from xenarm.tools.paths import DEFAULT_BOARD
from xenarm.tools.run import debian_domain
from xenarm.tools.session import Session

SECONDS = 60
MACHINE_MIB = 512
RAM_END = 0x4000_0000 + MACHINE_MIB * MIB

Maker = Callable[[Path], DomainSpec]


def bad(directory: Path, **changes: object) -> DomainSpec:
    """A sound domain with something changed."""
    return replace(beacon.domain(directory, "bad"), **changes)  # type: ignore[arg-type]


def with_module(directory: Path, **changes: object) -> DomainSpec:
    """A domain whose kernel module is changed."""
    return bad(directory, modules=(replace(beacon.kernel(directory, "bad"), **changes),))  # type: ignore[arg-type]


def with_kernel(directory: Path, data: bytes) -> DomainSpec:
    """A domain whose kernel is some other file."""
    path = directory / "other.Image"
    path.write_bytes(data)
    return bad(directory, modules=(ModuleSpec(ModuleKind.KERNEL, path),))


def with_ramdisk(directory: Path, size: int, **changes: object) -> DomainSpec:
    """A domain that also has a RAM disk."""
    path = directory / "bad.cpio"
    path.write_bytes(bytes(size))
    ramdisk = replace(ModuleSpec(ModuleKind.RAMDISK, path), **changes)  # type: ignore[arg-type]
    return bad(directory, modules=(beacon.kernel(directory, "bad"), ramdisk))


def truncated_debian(directory: Path) -> DomainSpec:
    """Debian's kernel without its last bytes: the header in front is whole, the file is not."""
    debian = debian_domain()
    data = debian.modules[0].path.read_bytes()
    return with_kernel(directory, data[: len(data) - 64 * KIB])


def overlapping(directory: Path) -> DomainSpec:
    """A RAM disk that runs into its own domain's kernel."""
    domain = with_ramdisk(directory, 8192, claim=(0x5000_0000 - 4096, 8192))
    kernel, ramdisk = domain.modules
    return replace(domain, modules=(replace(kernel, address=0x5000_0000), ramdisk))


# What is wrong, the domain that has it, and what the line has to name beside the domain's node.
CASES: dict[str, tuple[Maker, str]] = {
    "module shorter than a header": (lambda d: with_kernel(d, beacon.image()[:40]), "reg"),
    "module of no bytes": (lambda d: with_module(d, claim=(0x5000_0000, 0)), "reg"),
    "truncated kernel": (truncated_debian, "reg"),
    "kernel with a wrong magic": (lambda d: with_kernel(d, beacon.image(magic=b"ARMc")), "no arm64 Image"),
    "kernel that is text": (lambda d: with_kernel(d, b"#!/bin/sh\necho no kernel at all\n" * 8), "no arm64 Image"),
    "kernel that asks for absurd room": (lambda d: with_kernel(d, beacon.image(image_size=1 << 60)), "image"),
    "modules overlap": (overlapping, "overlap"),
    "module over the hypervisor": (lambda d: with_ramdisk(d, 8192, claim=(0x4020_0000, 0x1000)), "overlap"),
    "module past the end of RAM": (lambda d: with_ramdisk(d, 8192, claim=(RAM_END - 4096, 8192)), "reg"),
    "module where no RAM is": (lambda d: with_ramdisk(d, 8192, claim=(0x1_0000_0000_0000, 8192)), "reg"),
    "module past the end of addresses": (lambda d: with_ramdisk(d, 8192, claim=(0xFFFF_FFFF_FFFF_F000, 8192)), "reg"),
    "RAM disk larger than the domain": (lambda d: replace(with_ramdisk(d, 9 * MIB), memory_kib=8 * KIB), "memory"),
    "more memory than there is": (lambda d: bad(d, memory_kib=MACHINE_MIB * KIB), "memory"),
    "absurd memory": (lambda d: bad(d, memory_kib=(1 << 64) - 1), "memory"),
    "no memory": (lambda d: bad(d, memory_kib=0), "memory"),
    "more CPUs than there are": (lambda d: bad(d, cpus=3), "cpus"),
    "absurd CPUs": (lambda d: bad(d, cpus=0xFFFF_FFFF), "cpus"),
    "no CPUs": (lambda d: bad(d, cpus=0), "cpus"),
    "no kernel": (lambda d: bad(d, modules=()), "multiboot,kernel"),
}


def complaints(session: Session) -> list[str]:
    """The hypervisor's lines about the domain `bad`."""
    lines = session.console.text().replace("\r", "").split("\n")
    return [line for line in lines if line.startswith("(xenarm)") and "/chosen/bad" in line]


@pytest.mark.parametrize("bad_first", [True, False], ids=["first", "last"])
@pytest.mark.parametrize("case", CASES)
def test_a_bad_domain_is_named_and_the_good_one_runs(
    boot: Boot, xenarm: Hypervisor, scratch: Path, case: str, bad_first: bool
) -> None:
    maker, named = CASES[case]
    domains = [maker(scratch), beacon.domain(scratch)]
    with boot(xenarm, *(domains if bad_first else domains[::-1]), cpus=2, memory_mib=MACHINE_MIB) as session:
        session.console.expect(beacon.TEXT, SECONDS)
        session.wait_off(SECONDS)
        lines = complaints(session)
        assert len(lines) == 1, lines
        assert named in lines[0]


def test_nothing_but_bad_domains_ends_the_machine(boot: Boot, xenarm: Hypervisor, scratch: Path) -> None:
    with boot(xenarm, bad(scratch, memory_kib=0), memory_mib=MACHINE_MIB) as session:
        session.wait_off(SECONDS)
        assert len(complaints(session)) == 1


def test_more_domains_than_there_is_room_for(boot: Boot, xenarm: Hypervisor, scratch: Path) -> None:
    """The first ones run; each of the others is refused by its name."""
    domains = [replace(beacon.domain(scratch, f"d{n}"), memory_kib=8 * KIB) for n in range(CONFIG.MAX_DOMAINS + 2)]
    with boot(replace(xenarm, bootargs="sched=credit2"), *domains, cpus=2, memory_mib=MACHINE_MIB) as session:
        session.wait_off(SECONDS)
        text = session.console.text()
    refused = re.findall(r"(\w+) does not start: /chosen/(\w+): compatible: (\d+) domains exist already; raise CONFIG_MAX_DOMAINS", text)
    assert refused == [(d.name, d.name, str(CONFIG.MAX_DOMAINS)) for d in domains[CONFIG.MAX_DOMAINS :]]
    assert set(re.findall(rf"\((\w+)\) {beacon.TEXT}", text)) == {d.name for d in domains[: CONFIG.MAX_DOMAINS]}


NO_GIC = {
    "GICv2 on a GICv3": (3, 2, "a GICv2 beside the machine's GICv3, which this image has not; build it with CONFIG_GICV2_ON_V3, or leave it out"),
    "GICv3 on a GICv2": (2, 3, "a GICv3, and the machine has a GICv2; give 2, or leave it out"),
}


@pytest.mark.parametrize("name", NO_GIC)
def test_an_interrupt_controller_that_is_not_to_be_had(boot: Boot, xenarm: Hypervisor, scratch: Path, name: str) -> None:
    gic, asked, says = NO_GIC[name]
    domains = [bad(scratch, properties={"xenarm,gic-version": asked}), replace(beacon.domain(scratch), properties={"xenarm,gic-version": gic})]
    with boot(xenarm, *domains, cpus=2, gic=gic, memory_mib=MACHINE_MIB) as session:
        session.console.expect(beacon.TEXT, SECONDS)
        session.wait_off(SECONDS)
        assert [line.split("xenarm,gic-version asks for ", 1)[-1] for line in complaints(session)] == [says]


def sound_blob(hypervisor: Hypervisor, directory: Path) -> bytes:
    """A device tree that boots the beacon."""
    machine = Machine(board(DEFAULT_BOARD), hypervisor.image, (beacon.domain(directory),), 1, MACHINE_MIB)
    return compose(machine).dtb


def test_an_undamaged_blob_boots_the_same_way(boot: Boot, xenarm: Hypervisor, scratch: Path) -> None:
    """The way that the damaged ones are handed over is itself sound."""
    blob = sound_blob(xenarm, scratch)
    with boot(xenarm, beacon.domain(scratch), memory_mib=MACHINE_MIB, dtb=blob) as session:
        session.console.expect(beacon.TEXT, SECONDS)
        session.wait_off(SECONDS)


def bad_magic(blob: bytes) -> bytes:
    return b"\xd0\x0d\xfe\xee" + blob[4:]


def cut_structure(blob: bytes) -> bytes:
    """The structure block ends in the middle of a node: half of it, with the header telling the new size."""
    (size,) = struct.unpack_from(">I", blob, 36)
    return blob[:36] + struct.pack(">I", size // 2 & ~3) + blob[40:]


def strings_outside(blob: bytes) -> bytes:
    """The strings block begins after the end."""
    return blob[:12] + struct.pack(">I", len(blob) + 4) + blob[16:]


def bad_token(blob: bytes) -> bytes:
    """The structure block begins with a token that does not exist."""
    (offset,) = struct.unpack_from(">I", blob, 8)
    return blob[:offset] + b"\0\0\0\x07" + blob[offset + 4 :]


def total_size_zero(blob: bytes) -> bytes:
    return blob[:4] + bytes(4) + blob[8:]


def future_version(blob: bytes) -> bytes:
    return blob[:20] + struct.pack(">II", 99, 99) + blob[28:]


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (bad_magic, "BAD_MAGIC"),
        (cut_structure, "CUT_STRUCTURE"),
        (strings_outside, "BAD_LAYOUT"),
        (bad_token, "BAD_NESTING"),
        (total_size_zero, "TOO_SHORT"),
        (future_version, "BAD_VERSION"),
    ],
)
def test_a_damaged_device_tree_is_one_line(
    boot: Boot, xenarm: Hypervisor, scratch: Path, damage: Callable[[bytes], bytes], reason: str
) -> None:
    blob = damage(sound_blob(xenarm, scratch))
    with boot(xenarm, beacon.domain(scratch), memory_mib=MACHINE_MIB, dtb=blob) as session:
        session.console.expect("device tree at .*\n", SECONDS)
        # It stops there: the CPU waits for ever, and nothing more is said.
        wait_for_standstill(session)
        lines = [line for line in session.console.text().splitlines() if line.strip()]
        assert len(lines) == 1, lines
        assert lines[0].startswith("(xenarm)") and f"device tree at 0x48000000: {reason}" in lines[0]


def wait_for_standstill(session: Session) -> None:
    """Until the CPU no longer moves."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        first = session.qemu.monitor("info registers")
        assert not session.console.drain_until_closed(0.3)
        if session.qemu.monitor("info registers") == first:
            return
    raise AssertionError(f"the CPU still runs after {SECONDS} s")


def with_property(hypervisor: Hypervisor, directory: Path, path: str, name: str, value: bytes) -> bytes:
    tree = Tree(sound_blob(hypervisor, directory))
    tree.set_bytes(path, name, value)
    return tree.blob()


@pytest.mark.parametrize(
    ("name", "value"),
    [("memory", b"\0\0\0\1\0\0"), ("memory", b""), ("cpus", b"\0\0"), ("#address-cells", b"\0\0\0\x09")],
    ids=["memory of six bytes", "empty memory", "cpus of two bytes", "nine address cells"],
)
def test_a_malformed_property_is_named(
    boot: Boot, xenarm: Hypervisor, scratch: Path, name: str, value: bytes
) -> None:
    blob = with_property(xenarm, scratch, "/chosen/good", name, value)
    with boot(xenarm, beacon.domain(scratch), memory_mib=MACHINE_MIB, dtb=blob) as session:
        session.wait_off(SECONDS)
        lines = [line for line in session.console.text().split("\n") if "/chosen/good" in line]
        assert len(lines) == 1, lines
        assert name in lines[0] or (name == "#address-cells" and "reg" in lines[0])
        assert beacon.TEXT not in session.console.text()
