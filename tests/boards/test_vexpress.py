"""A Versatile Express with a CoreTile A15x2, QEMU's model of it, and what QEMU has of Calxeda's Midway: no PSCI for the machine's end, the SoC's own ways."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from boards import board
from tests.boards.assembly import assemble
from tests.boards.test_debian import ask, power_off, shell
from tests.boards.trees import debian_tree
from tests.conftest import BOARD32
from xenarm.tools import build, kconfig, qemu
from xenarm.tools.dtb import Tree
from xenarm.tools.hypervisor import Hypervisor, ours
from xenarm.tools.layout import Layout, compose
from xenarm.tools.machine import Architecture, DomainSpec, Machine
from xenarm.tools.paths import board_dir
from xenarm.tools.run import debian_domain, own_domain
from xenarm.tools.session import Session, booted

SECONDS = 60
STUB = 0x8028_0000


@pytest.fixture(scope="module")
def vexpress(tmp_path_factory: pytest.TempPathFactory) -> Hypervisor:
    """One image for both boards: a SoC more costs it a few hundred bytes."""
    config = tmp_path_factory.mktemp("vexpress") / "config"
    kconfig.changed("vexpress-a15", {"SOC_ECX2000": "y"}, config)
    job = build.Job(build.HYPERVISOR, board_dir("vexpress-a15") / "test" / "xenarm")
    build.compile_job("vexpress-a15", job, config)
    return replace(ours("vexpress-a15"), image=job.output)


@pytest.fixture(scope="module")
def hello(xenarm32: Hypervisor) -> DomainSpec:
    return own_domain(BOARD32, "hello", 2, 32)


def two_cpus(session: Session) -> None:
    session.console.expect("processors: 2 of", SECONDS)
    session.console.expect("hello> $", SECONDS)
    session.console.send("cpus\r")
    session.console.expect(r"cpu 1     MPIDR \S+: on, answers an interrupt", SECONDS)


@pytest.mark.board("vexpress-a15")
@pytest.mark.parametrize("whose", ["ours", "debian"])
def test_the_second_cpu_comes_by_sys_flags(vexpress: Hypervisor, hello: DomainSpec, tmp_path: Path, whose: str) -> None:
    tree: Path | None = None
    if whose == "debian":
        theirs = Tree(debian_tree("vexpress-v2p-ca15-tc1.dtb", "armhf").read_bytes())
        theirs.set_strings("/chosen", "stdout-path", "serial0:115200n8")
        tree = tmp_path / "host.dtb"
        tree.write_bytes(theirs.blob())
    made = compose(Machine(board("vexpress-a15"), vexpress.image, (hello,), 2, 1024, tree=tree))
    with booted(made, f"vexpress-{whose}") as session:
        two_cpus(session)
        session.console.send("off\r")
        session.wait_off(SECONDS)


def loader(layout: Layout) -> str:
    """Both CPUs begin in secure state. CPU 0 gives all interrupts to the other state and goes to HYP mode; CPU 1 sleeps until SYS_FLAGS says more."""
    return f"""
        .arch armv7-a
        .arch_extension sec
        .arch_extension virt
        mrc p15, 0, r0, c0, c0, 5
        ands r0, r0, #3
        bne pen
        ldr r4, distributor
        mvn r0, #0
        .set n, 0x80
        .rept 8
        str r0, [r4, #n]
        .set n, n + 4
        .endr
        ldr r4, interface
        mov r0, #0xff
        str r0, [r4, #4]
        movw r0, #0xc00
        mcr p15, 0, r0, c1, c1, 2
        cps #0x16
        movw r0, #0x131
        mcr p15, 0, r0, c1, c1, 0
        isb
        mov r0, #0x1da
        msr spsr_cxsf, r0
        ldr lr, image
        ldr r2, tree
        mov r0, #0
        movs pc, lr
    pen:
        ldr r4, distributor
        mvn r0, #0
        str r0, [r4, #0x80]
        ldr r4, interface
        mov r0, #3
        str r0, [r4]
        mov r0, #0xff
        str r0, [r4, #4]
        ldr r4, flags
    1:  wfi
        ldr r0, [r4]
        cmp r0, #0
        beq 1b
        bx r0
        .balign 4
    distributor: .word 0x2c001000
    interface: .word 0x2c002000
    flags: .word 0x1c010030
    tree: .word {layout.device_tree.base:#x}
    image: .word {layout.hypervisor.base:#x}
    """


@pytest.mark.board("vexpress-a15")
def test_a_cpu_in_secure_state_comes_to_hyp_mode(vexpress: Hypervisor, hello: DomainSpec, scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Allwinner's and Renesas' do, out of reset: by way of monitor mode, its interrupts given to the state that we are in."""
    secure = replace(board("vexpress-a15"), machine="vexpress-a15,virtualization=on")
    made = replace(compose(Machine(secure, vexpress.image, (hello,), 2, 1024)), exact_dtb=True)
    tree = Tree(made.dtb)
    tree.reserve(STUB, 0x1000)
    made = replace(made, dtb=tree.blob())
    code = assemble(loader(made), "armv7-none-eabi", scratch)

    def by_loader(layout: Layout, dtb: Path) -> list[str]:
        stub = dtb.with_suffix(".stub")
        stub.write_bytes(code)
        enter = [part for cpu in range(2) for part in ("-device", f"loader,addr={STUB:#x},cpu-num={cpu}")]
        loads = ((layout.machine.hypervisor, layout.hypervisor.base), (dtb, layout.device_tree.base), (stub, STUB))
        return [*(part for path, at in loads for part in ("-device", f"loader,file={path},addr={at:#x},force-raw=on")), *enter]

    monkeypatch.setattr(qemu, "_entry_by_stub", by_loader)
    with booted(made, "vexpress-secure") as session:
        two_cpus(session)


@pytest.mark.board("midway")
def test_midway_turns_off(vexpress: Hypervisor, hello: DomainSpec) -> None:
    """By its system registers: PSCI 0.1 has nothing for that."""
    made = compose(Machine(board("midway"), vexpress.image, (replace(hello, cpus=1),), 1, 512))
    with booted(made, "midway-off") as session:
        session.console.expect("hello> $", SECONDS)
        session.console.send("off\r")
        session.wait_off(SECONDS)


@pytest.mark.parametrize(("name", "cpus"), [("vexpress-a15", 2), ("midway", 4)])
def test_debian_boots(vexpress: Hypervisor, name: str, cpus: int) -> None:
    """On all of a board's CPUs, each of which sleeps by its timer and wakes; it turns the board off."""
    made = compose(Machine(board(name), vexpress.image, (debian_domain(cpus, architecture=Architecture.ARM32),), cpus, 1024))
    with booted(made, f"{name}-debian") as session:
        console = shell(session, vexpress)
        ask(console, "nproc; uname -m", rf"\n{cpus}\r\narmv7l\r")
        for cpu in range(cpus):
            ask(console, f"taskset -c {cpu} sleep 0.2 && echo wo''ken", "woken")
        power_off(session, vexpress)
