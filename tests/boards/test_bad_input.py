"""What a boot loader or its author can get wrong: one clear line, the other domains start, nothing hangs."""

from __future__ import annotations

import re
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.boards import beacon
from tests.conftest import FIRST_TARGET, Boot, image_at, on_both_widths
from xenarm.config import CONFIG
from xenarm.tools.dtb import Tree
from xenarm.tools.hypervisor import Hypervisor
from xenarm.tools.layout import compose
from xenarm.tools.machine import KIB, MIB, Architecture, DomainSpec, Machine, ModuleKind, ModuleSpec
from xenarm.tools.run import debian_domain
from xenarm.tools.session import Session

SECONDS = 60
MACHINE_MIB = 512
RAM_END = 0x4000_0000 + MACHINE_MIB * MIB

@dataclass(frozen=True)
class Maker:
    """Makes a domain that something is wrong with, for a hypervisor, out of files in a directory."""

    directory: Path
    hypervisor: Hypervisor

    @property
    def architecture(self) -> Architecture:
        return self.hypervisor.architecture

    def domain(self, **changes: object) -> DomainSpec:
        """A sound domain with something changed."""
        return replace(beacon.domain(self.directory, "bad", self.architecture), **changes)  # type: ignore[arg-type]

    @property
    def kernel(self) -> ModuleSpec:
        return beacon.kernel(self.directory, "bad", self.architecture)

    def with_module(self, **changes: object) -> DomainSpec:
        """A domain whose kernel module is changed."""
        return self.domain(modules=(replace(self.kernel, **changes),))  # type: ignore[arg-type]

    def with_kernel(self, data: bytes) -> DomainSpec:
        """A domain whose kernel is some other file."""
        path = self.directory / "other.Image"
        path.write_bytes(data)
        return self.domain(modules=(ModuleSpec(ModuleKind.KERNEL, path),))

    def with_ramdisk(self, size: int, **changes: object) -> DomainSpec:
        """A domain that also has a RAM disk."""
        path = self.directory / "bad.cpio"
        path.write_bytes(bytes(size))
        ramdisk = replace(ModuleSpec(ModuleKind.RAMDISK, path), **changes)  # type: ignore[arg-type]
        return self.domain(modules=(self.kernel, ramdisk))

    def truncated_debian(self) -> DomainSpec:
        """Debian's kernel without its last bytes: the header in front is whole, the file is not."""
        data = debian_domain(architecture=self.architecture).modules[0].path.read_bytes()
        return self.with_kernel(data[: len(data) - 64 * KIB])

    def overlapping(self) -> DomainSpec:
        """A RAM disk that runs into its own domain's kernel."""
        domain = self.with_ramdisk(8192, claim=(0x5000_0000 - 4096, 8192))
        kernel, ramdisk = domain.modules
        return replace(domain, modules=(replace(kernel, address=0x5000_0000), ramdisk))


# What is wrong, the domain that has it, and what the line has to name beside the domain's node.
CASES: dict[str, tuple[Callable[[Maker], DomainSpec], str]] = {
    "module shorter than a header": (lambda m: m.with_kernel(beacon.image()[:40]), "reg"),
    "module of no bytes": (lambda m: m.with_module(claim=(0x5000_0000, 0)), "reg"),
    "truncated kernel": (Maker.truncated_debian, "reg"),
    "kernel with a wrong magic": (lambda m: m.with_kernel(beacon.image(magic=b"ARMc")), "reg holds no"),
    "kernel that is text": (lambda m: m.with_kernel(b"#!/bin/sh\necho no kernel at all\n" * 8), "reg holds no"),
    "kernel that asks for absurd room": (lambda m: m.with_kernel(beacon.image(image_size=1 << 60)), "image"),
    "modules overlap": (Maker.overlapping, "overlap"),
    "module over the hypervisor": (lambda m: m.with_ramdisk(8192, claim=(image_at(m.hypervisor), 0x1000)), "overlap"),
    "module past the end of RAM": (lambda m: m.with_ramdisk(8192, claim=(RAM_END - 4096, 8192)), "reg"),
    "module where no RAM is": (lambda m: m.with_ramdisk(8192, claim=(0x1_0000_0000_0000, 8192)), "reg"),
    "module past the end of addresses": (lambda m: m.with_ramdisk(8192, claim=(0xFFFF_FFFF_FFFF_F000, 8192)), "reg"),
    "RAM disk larger than the domain": (lambda m: replace(m.with_ramdisk(9 * MIB), memory_kib=8 * KIB), "memory"),
    "more memory than there is": (lambda m: m.domain(memory_kib=MACHINE_MIB * KIB), "memory"),
    "absurd memory": (lambda m: m.domain(memory_kib=(1 << 64) - 1), "memory"),
    "no memory": (lambda m: m.domain(memory_kib=0), "memory"),
    "more CPUs than there are": (lambda m: m.domain(cpus=3), "cpus"),
    "absurd CPUs": (lambda m: m.domain(cpus=0xFFFF_FFFF), "cpus"),
    "no CPUs": (lambda m: m.domain(cpus=0), "cpus"),
    "no kernel": (lambda m: m.domain(modules=()), "multiboot,kernel"),
}
ON_ARM32 = (
    *("truncated kernel", "kernel that is text", "module over the hypervisor", "module where no RAM is", "module past the end of addresses"),
    *("RAM disk larger than the domain", "absurd memory", "absurd CPUs"),
)
"""Where a width or the other kind of kernel could make a difference."""


def complaints(session: Session) -> list[str]:
    """The hypervisor's lines about the domain `bad`."""
    lines = session.console.text().replace("\r", "").split("\n")
    return [line for line in lines if line.startswith("(xenarm)") and "/chosen/bad" in line]


@pytest.mark.parametrize(
    ("target", "case", "bad_first"),
    [*((FIRST_TARGET, case, first) for case in CASES for first in (True, False)), *(("arm32", case, True) for case in ON_ARM32)],
    indirect=["target"],
)
def test_a_bad_domain_is_named_and_the_good_one_runs(boot: Boot, target: Hypervisor, scratch: Path, case: str, bad_first: bool) -> None:
    maker, named = CASES[case]
    domains = [maker(Maker(scratch, target)), beacon.domain(scratch, architecture=target.architecture)]
    with boot(target, *(domains if bad_first else domains[::-1]), cpus=2, memory_mib=MACHINE_MIB) as session:
        session.console.expect(beacon.TEXT, SECONDS)
        session.wait_off(SECONDS)
        lines = complaints(session)
        assert len(lines) == 1, lines
        assert named in lines[0]


def test_nothing_but_bad_domains_ends_the_machine(boot: Boot, xenarm: Hypervisor, scratch: Path) -> None:
    with boot(xenarm, Maker(scratch, xenarm).domain(memory_kib=0), memory_mib=MACHINE_MIB) as session:
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
    domains = [Maker(scratch, xenarm).domain(properties={"xenarm,gic-version": asked}), replace(beacon.domain(scratch), properties={"xenarm,gic-version": gic})]
    with boot(xenarm, *domains, cpus=2, gic=gic, memory_mib=MACHINE_MIB) as session:
        session.console.expect(beacon.TEXT, SECONDS)
        session.wait_off(SECONDS)
        assert [line.split("xenarm,gic-version asks for ", 1)[-1] for line in complaints(session)] == [says]


def sound(hypervisor: Hypervisor, directory: Path) -> DomainSpec:
    return beacon.domain(directory, architecture=hypervisor.architecture)


def sound_blob(hypervisor: Hypervisor, directory: Path) -> bytes:
    """A device tree that boots the beacon."""
    machine = Machine(hypervisor.machine, hypervisor.image, (sound(hypervisor, directory),), 1, MACHINE_MIB)
    return compose(machine).dtb


@on_both_widths
def test_an_undamaged_blob_boots_the_same_way(boot: Boot, target: Hypervisor, scratch: Path) -> None:
    """The way that the damaged ones are handed over is itself sound."""
    blob = sound_blob(target, scratch)
    with boot(target, sound(target, scratch), memory_mib=MACHINE_MIB, dtb=blob) as session:
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


@on_both_widths
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
    boot: Boot, target: Hypervisor, scratch: Path, damage: Callable[[bytes], bytes], reason: str
) -> None:
    blob = damage(sound_blob(target, scratch))
    with boot(target, sound(target, scratch), memory_mib=MACHINE_MIB, dtb=blob) as session:
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


@on_both_widths
@pytest.mark.parametrize(
    ("name", "value"),
    [("memory", b"\0\0\0\1\0\0"), ("memory", b""), ("cpus", b"\0\0"), ("#address-cells", b"\0\0\0\x09")],
    ids=["memory of six bytes", "empty memory", "cpus of two bytes", "nine address cells"],
)
def test_a_malformed_property_is_named(
    boot: Boot, target: Hypervisor, scratch: Path, name: str, value: bytes
) -> None:
    blob = with_property(target, scratch, "/chosen/good", name, value)
    with boot(target, sound(target, scratch), memory_mib=MACHINE_MIB, dtb=blob) as session:
        session.wait_off(SECONDS)
        lines = [line for line in session.console.text().split("\n") if "/chosen/good" in line]
        assert len(lines) == 1, lines
        assert name in lines[0] or (name == "#address-cells" and "reg" in lines[0])
        assert beacon.TEXT not in session.console.text()
