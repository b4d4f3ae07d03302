"""`direct-map`: memory, interrupt controller and serial port of a domain lie where the machine has them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.boards import beacon
from tests.conftest import Boot, on_both_widths
from xenarm.tools.dtb import Tree
from xenarm.tools.hypervisor import SWITCH_INPUT, Hypervisor
from xenarm.tools.layout import compose
from xenarm.tools.machine import MIB, DomainSpec, Machine
from xenarm.tools.run import debian_domain, own_domain

SECONDS = 60
BOOT_SECONDS = 240
PORT = 0x0900_0000  # of QEMU's virt machine, on SPI 1
BASE = 0x6000_0000


def direct_tree(hypervisor: Hypervisor, domains: tuple[DomainSpec, ...], name: str, *pieces: int, cpus: int = 1) -> bytes:
    """The machine's tree with one domain direct-mapped; `pieces` are addresses and sizes."""
    tree = Tree(compose(Machine(hypervisor.machine, hypervisor.image, domains, cpus, 1024)).dtb)
    path = f"/chosen/{name}"
    tree.set_flag(path, "direct-map")
    if pieces:
        tree.set_words(path, "#xen,static-mem-address-cells", 1)
        tree.set_words(path, "#xen,static-mem-size-cells", 1)
        tree.set_words(path, "xen,static-mem", *pieces)
    return tree.blob()


def test_everything_lies_where_the_machine_has_it(boot: Boot, target: Hypervisor) -> None:
    """Two pieces; the kernel goes into the first that it fits into. Typing comes by the machine's own interrupt number."""
    domains = (own_domain(target.board, "hello", cpus=2),)
    small = 64 * 1024
    blob = direct_tree(target, domains, "hello", BASE + 64 * MIB, small, BASE, 64 * MIB - small, cpus=2)
    with boot(target, *domains, cpus=2, dtb=blob) as session:
        console = session.console
        console.expect("> ", SECONDS)
        console.send("memory\r")
        console.expect(r"0x0*60000000", SECONDS)
        console.send("cpus\r")
        console.expect(r"cpu 1", SECONDS)
        console.send("echo he''re\r".replace("''", ""))
        console.expect(r"\nhere\r", SECONDS)
        console.send(SWITCH_INPUT)
        console.expect("input goes to the hypervisor", SECONDS)
        console.send("m")
        console.expect(r"0x0064000000 +64 KiB  RAM of hello at 0x64000000", SECONDS)
        console.expect(r"0x0060000000 +65472 KiB  RAM of hello at 0x60000000", SECONDS)
        console.send("b0")
        console.expect("hello: restart 1", SECONDS)
        console.expect("> ", SECONDS)
        console.send("k0")
        session.wait_off(SECONDS)


@on_both_widths
def test_debian_boots(boot: Boot, target: Hypervisor) -> None:
    plain = debian_domain(2, architecture=target.architecture)
    kernel = replace(plain.modules[0], bootargs=f"console=ttyAMA0 earlycon=pl011,{PORT:#x}")
    domains = (replace(plain, modules=(kernel, *plain.modules[1:])),)
    blob = direct_tree(target, domains, "debian", BASE, 256 * MIB, cpus=2)
    with boot(target, *domains, cpus=2, dtb=blob) as session:
        console = session.console
        console.expect("debian# ", BOOT_SECONDS)
        for command, answer in (
            ("nproc", r"\n2\r"),
            ("grep -cE '(GICv2|GIC-0) +27 .*arch_timer' /proc/interrupts", r"\n1\r"),
            ("grep -c '60000000-6fffffff : System RAM' /proc/iomem", r"\n1\r"),
            ("ls /proc/device-tree | grep -e @", r"interrupt-controller@8000000\r\nmemory@60000000\r\nsbsa-uart@9000000"),
        ):
            console.send_line(command)
            console.expect(answer, SECONDS)
            console.expect("debian# ", SECONDS)
        console.send_line("poweroff -f")
        session.wait_off(SECONDS)


@pytest.mark.parametrize(
    ("pieces", "line"),
    [((), "direct-map is for memory at fixed addresses only"), ((BASE, 32 * MIB), "memory asks for 65536 KiB of xen,static-mem, 32768 KiB")],
    ids=["without static-mem", "too little"],
)
def test_what_is_wrong_is_named(boot: Boot, xenarm: Hypervisor, scratch: Path, pieces: tuple[int, ...], line: str) -> None:
    domains = (beacon.domain(scratch, "odd"), beacon.domain(scratch, "good"))
    blob = direct_tree(xenarm, domains, "odd", *pieces, cpus=2)
    with boot(xenarm, *domains, cpus=2, dtb=blob) as session:
        session.console.expect(f"odd does not start: /chosen/odd: {line}", SECONDS)
        session.console.expect(beacon.TEXT, SECONDS)
        session.wait_off(SECONDS)
