"""More vCPUs than CPUs: guests take turns, and all of them get on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from boards import board
from tests.boards.test_debian import ANSWER_SECONDS, BOOT_SECONDS, ask, power_off, shell
from tests.conftest import Boot
from xenarm.tools.hypervisor import Hypervisor
from xenarm.tools.run import debian_domain, own_domain


def debian_with_two_vcpus_on_one_cpu(boot: Boot, xenarm: Hypervisor, sched: str, gic: int = 2) -> None:
    debian = debian_domain(2, architecture=board(xenarm.board).architecture)
    with boot(replace(xenarm, bootargs=f"sched={sched}"), debian, cpus=1, gic=gic) as session:
        console = shell(session, xenarm)
        ask(console, "nproc", r"\n2\r")
        for cpu in range(2):
            ask(console, f"taskset -c {cpu} sleep 0.2 && echo wo''ken", "woken")
        # Both compute at once, and both end.
        ask(console, "for i in 0 1;do taskset -c $i md5sum /bin/sh& done;wait;echo o''k", r"\nok\r", 60)
        power_off(session, xenarm)


@pytest.mark.parametrize(
    ("sched", "gic"),
    [pytest.param(sched, gic, id=sched if gic == 2 else f"{sched}-gicv3") for sched, gic in (("rr", 2), ("credit2", 2), ("rtds", 2), ("credit2", 3))],
)
def test_debian_with_two_vcpus_on_one_cpu(boot: Boot, xenarm: Hypervisor, sched: str, gic: int) -> None:
    debian_with_two_vcpus_on_one_cpu(boot, xenarm, sched, gic)


def test_debian_with_two_vcpus_on_one_cpu_of_arm32(boot: Boot, xenarm32: Hypervisor) -> None:
    debian_with_two_vcpus_on_one_cpu(boot, xenarm32, "credit2")


def test_two_debians_and_two_of_ours_on_two_cpus(boot: Boot, target: Hypervisor) -> None:
    """Eight vCPUs on two CPUs: every domain answers when it has the keyboard."""
    names = ["west", "east"]
    debians = [debian_domain(2, 192, name, architecture=target.architecture) for name in names]
    hellos = [replace(own_domain(target.board, "hello", 2, 32), name=name) for name in ("north", "south")]
    with boot(replace(target, bootargs="sched=credit2"), *debians, *hellos, cpus=2) as session:
        console = session.console
        for _ in names:  # in whatever order
            console.expect(r"\((west|east)\).*Run /init as init process", BOOT_SECONDS)
        for number, name in enumerate(names):
            console.send_line("")
            console.send_line(f"echo $((6 * 7)){number}")
            console.expect(rf"\({name}\) 42{number}\b", ANSWER_SECONDS)
            console.send_line("poweroff -f")
            console.expect(rf"domain {name}: shut down", ANSWER_SECONDS)
        for name in ("north", "south"):
            console.send_line("cpus")
            console.expect(rf"\({name}\).*cpu 1", ANSWER_SECONDS)
            console.send_line("off")
            console.expect(rf"domain {name}: shut down", ANSWER_SECONDS)
        session.wait_off(30)


def test_vcpus_beyond_the_pool_are_refused_by_name(boot: Boot, xenarm: Hypervisor, built_board: str) -> None:
    hellos = [replace(own_domain(built_board, "hello", 8, 32), name=name) for name in ("one", "two", "three")]
    with boot(replace(xenarm, bootargs="sched=rr"), *hellos, cpus=1) as session:
        console = session.console
        for name in ("one", "two"):
            console.expect(rf"{name}: 32768 KiB, 8 CPUs", ANSWER_SECONDS)
        console.expect(r"three does not start: /chosen/three\S*: cpus asks for 8 CPUs, 0 CPUs are left", ANSWER_SECONDS)
        console.expect(r"\(one\)", ANSWER_SECONDS)
