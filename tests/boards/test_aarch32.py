"""32-bit guests beside 64-bit ones on one machine, 32-bit programs in a 64-bit guest, and who is refused."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from boards import board
from tests.boards import beacon, lives
from tests.boards.test_debian import ANSWER_SECONDS, BOOT_SECONDS, ask, power_off, shell
from tests.conftest import BOARD32, Boot
from xenarm.tools import build, debian, initramfs
from xenarm.tools.hypervisor import Hypervisor
from xenarm.tools.layout import compose
from xenarm.tools.machine import Architecture, DomainSpec, Machine, ModuleKind, ModuleSpec
from xenarm.tools.run import debian_domain, own_domain
from xenarm.tools.session import booted

SECONDS = 60
ARMHF = debian.PORTS["armhf"]
BOTH_AT_ONCE = b"""#!/bin/sh
for i in 0 1 2 3; do
    /narrow/busybox sha256sum /narrow/busybox &
    /bin/busybox sha256sum /narrow/busybox &
done
wait
"""


@pytest.fixture(scope="module")
def hello32() -> DomainSpec:
    """Our guest, in AArch32."""
    build.compile_job(BOARD32, build.guest_job(BOARD32, "hello"))
    return replace(own_domain(BOARD32, "hello", 2, 32), name="narrow")


@pytest.fixture(scope="module")
def hello64(built_board: str) -> DomainSpec:
    build.compile_job(built_board, build.guest_job(built_board, "hello"))
    return replace(own_domain(built_board, "hello", 2, 32), name="wide")


@pytest.mark.parametrize("gic", [2, 3])
def test_a_64_bit_and_a_32_bit_debian_share_two_cpus(boot: Boot, xenarm: Hypervisor, gic: int) -> None:
    """Both answer, the 32-bit one is restarted beside the other, and both answer again.

    Each 32-bit vCPU has a CPU of its own among those of its kind: QEMU's CPUs lose an SPSR when one follows the other (docs/arm64.md).
    """
    names = ("wide", "narrow")
    pinned = {n: {"hard-affinity": str(n)} for n in range(2)}
    domains = (debian_domain(2, 192, "wide"), replace(debian_domain(2, 192, "narrow", architecture=Architecture.ARM32), vcpus=pinned))
    with boot(replace(xenarm, bootargs="sched=credit2"), *domains, cpus=2, gic=gic) as session:
        console = session.console
        for _ in names:  # in whatever order
            console.expect(r"\((wide|narrow)\).*Run /init as init process", BOOT_SECONDS)
        console.send_line("")
        console.send_line("uname -m; awk 'BEGIN { print 1.5 * 28 }'")
        console.expect(r"\(wide\) aarch64\r\n(?s:.)*\(wide\) 42\b", ANSWER_SECONDS)
        console.send("\x01\x01\x01")
        for life in (0, 1):
            console.send_line("")
            console.send_line(f"uname -m; nproc; awk 'BEGIN {{ print 1.5 * 28 }}'; echo life {life}")
            console.expect(r"\(narrow\) armv7l\r\n(?s:.)*\(narrow\) 2\r\n(?s:.)*\(narrow\) 42\r\n(?s:.)*" + f"life {life}", ANSWER_SECONDS)
            console.send_line("reboot -f" if life == 0 else "poweroff -f")
            if life == 0:
                console.expect("narrow: restart 1, reason REBOOT", ANSWER_SECONDS)
                console.expect(r"\(narrow\).*Run /init as init process", BOOT_SECONDS)
        console.expect("domain narrow: shut down", ANSWER_SECONDS)
        console.send_line("poweroff -f")
        console.expect("domain wide: shut down", ANSWER_SECONDS)
        session.wait_off(30)


@pytest.mark.parametrize(("sched", "cpus"), [("null", 4), ("rr", 1)])
def test_our_own_guest_in_both_states(boot: Boot, xenarm: Hypervisor, hello64: DomainSpec, hello32: DomainSpec, sched: str, cpus: int) -> None:
    """Each starts its other vCPU, and restarts beside the other."""
    with boot(replace(xenarm, bootargs=f"sched={sched}"), hello64, hello32, cpus=cpus) as session:
        console = session.console
        for _ in range(2):
            console.expect(r"\((wide|narrow)\) .*Type 'help' for what can be asked", SECONDS)
        for name in ("wide", "narrow"):
            console.send("cpus\r")
            console.expect(rf"\({name}\) .*cpu 1 +MPIDR 0x1: on, answers an interrupt", SECONDS)
            console.send("reboot\r")
            console.expect(rf"{name}: restart 1, reason REBOOT", SECONDS)
            console.expect(rf"\({name}\) .*Type 'help' for what can be asked", SECONDS)
            console.send("cpus\r")
            console.expect(rf"\({name}\) .*cpu 1 +MPIDR 0x1: on, answers an interrupt", SECONDS)
            console.send("off\r")
            console.expect(rf"domain {name}: shut down", SECONDS)
        session.wait_off(SECONDS)


def test_32_bit_programs_in_a_64_bit_guest(boot: Boot, xenarm: Hypervisor, scratch: Path) -> None:
    """Debian's armhf busybox in the arm64 guest: system calls, FP, signals of undefined instructions."""
    debian.fetch(architecture="armhf")
    narrow = debian.busybox(ARMHF)
    files = [initramfs.file("narrow/busybox", narrow, 0o755), initramfs.file("narrow/both", BOTH_AT_ONCE, 0o755)]
    extra = initramfs.archive([initramfs.directory("narrow"), *files])
    archive = scratch / "initramfs"
    archive.write_bytes(debian.guest_archive(debian.busybox()) + extra)  # Linux unpacks one archive behind the other
    plain = debian_domain(2)
    domain = replace(plain, modules=(plain.modules[0], ModuleSpec(ModuleKind.RAMDISK, archive)))
    with boot(xenarm, domain, cpus=2) as session:
        console = shell(session, xenarm)
        ask(console, "narrow=/narrow/busybox; $narrow hexdump -s 4 -n 1 $narrow", r"0000004 0001")  # ELFCLASS32
        for cpu in range(2):
            ask(console, f"taskset -c {cpu} $narrow sha256sum $narrow", hashlib.sha256(narrow).hexdigest())
            ask(console, f"taskset -c {cpu} $narrow awk 'BEGIN {{ print 2.25 * 18.5 }}'", r"\n41\.625\r")
        # Both states at once, one FP state behind the other.
        ask(console, "/narrow/both | sort | uniq -c", " 8 " + hashlib.sha256(narrow).hexdigest())
        power_off(session, xenarm)


@pytest.mark.parametrize("cpu", ["cortex-a76", "neoverse-n1"])
def test_a_cpu_without_aarch32_for_kernels_refuses(xenarm: Hypervisor, hello64: DomainSpec, hello32: DomainSpec, cpu: str) -> None:
    machine = Machine(replace(board(xenarm.board), cpu=cpu), xenarm.image, (hello32, hello64), 4, 1024)
    with booted(compose(machine), f"aarch32-{cpu}") as session:
        session.console.expect(r"narrow does not start: /chosen/narrow/module@\w+: reg holds a zImage, and this CPU has no AArch32 state for kernels", SECONDS)
        session.console.expect("Hello from a guest", SECONDS)


def test_a_32_bit_guest_that_runs_nowhere_crashes_alone(boot: Boot, xenarm: Hypervisor, hello64: DomainSpec, scratch: Path) -> None:
    path = scratch / "lost"
    path.write_bytes(beacon.zimage(beacon.words(lives.CRASHING[Architecture.ARM32])))
    with boot(xenarm, hello64, lives.of_kernel("lost", path), cpus=3) as session:
        session.console.expect(r"domain lost vcpu 0 pc 0x10000000: fetch of 4 bytes at 0x10000000.*external abort", SECONDS)
        session.console.expect(r"domain lost vcpu 0 pc 0xc: fetch of 4 bytes at 0.*crash", SECONDS)
        session.console.expect("domain lost: shut down, reason CRASH", SECONDS)
        session.console.expect(r"\(wide\).*hello> $|hello> ", SECONDS)
