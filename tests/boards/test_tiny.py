"""configs/tiny_defconfig, the image for one domain on a small device: its size, what is not in it, and Debian on it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from freestanding.attribution import attribute
from freestanding.elf import Image
from tests.boards.test_debian import ask, debian_domain, power_off, shell
from tests.conftest import Boot
from xenarm.tools import build
from xenarm.tools.hypervisor import Hypervisor
from xenarm.tools.kconfig import defconfig_path, loaded, write
from xenarm.tools.paths import DEFAULT_BOARD

KIB = 1024
OFF = (
    *("core.keys", "core.report", "core.trace", "core.tracing", "core.trace_dump", "arm.traced", "arm64.traced"),
    *("core.event_channel", "core.event_ops", "core.shared_info", "core.static_events", "core.guest_argument", "core.guest_interface"),
    *("core.shared_memory", "core.sched.rr", "core.sched.credit2", "core.sched.rtds", "core.sched.arinc653", "core.sched.queue"),
    *("gic.v3", "gic.vgicd3", "gic.vgicr", "drivers.ns16550", "drivers.cadence", "drivers.exynos4210", "drivers.scif"),
)
"""Modules that the configuration leaves out."""
PARTS = (
    *("core.shutdown.restart", "core.dom0less.domain_rebuild", "core.dom0less.map_again", "core.plan_memory.plan_layout_direct", "core.plan.place_direct"),
    *("core.console.put_shared", "core.console.show_waiting", "core.console.take_keys", "core.log.say_time", "core.plan_state.refuse", "core.fault.nearest_node"),
    *("arm.panic.backtrace", "arm.panic.look_up", "arm64.report.say_crash_registers", "psci.guest.features", "psci.guest.smccc_call"),
)
"""Functions of the switches that are part of a module."""


@pytest.fixture(scope="module")
def tiny(built_board: str, tmp_path_factory: pytest.TempPathFactory) -> Hypervisor:
    directory = tmp_path_factory.mktemp("tiny")
    config = write(loaded(defconfig_path("tiny")), directory / "config")
    job = build.Job(build.HYPERVISOR, directory / "xenarm")
    build.compile_job(DEFAULT_BOARD, job, config)
    return Hypervisor("tiny", job.output)


def test_it_is_small(tiny: Hypervisor) -> None:
    assert tiny.image.stat().st_size <= 40 * KIB
    assert plain(tiny.image).stat().st_size <= 96 * KIB


def plain(image: Path) -> Path:
    """The image before it is compressed."""
    return image.with_name(image.name + ".plain")


def test_what_is_off_leaves_no_byte(tiny: Hypervisor) -> None:
    pieces = attribute(Image(tiny.image.with_name("xenarm.elf").read_bytes()))
    assert sum(piece.size for piece in pieces if piece.loaded) == plain(tiny.image).stat().st_size
    modules = {piece.module for piece in pieces}
    assert not modules & {f"xenarm.{name}" for name in OFF}
    assert "xenarm.core.sched.null" in modules
    names = {f"{piece.module}.{piece.name.removesuffix(' (text)')}" for piece in pieces}
    assert not names & {f"xenarm.{name}" for name in PARTS}
    assert {"xenarm.core.shutdown.domain_shutdown", "xenarm.arm.panic.panic_exception"} <= names


def test_debian_with_four_cpus(boot: Boot, tiny: Hypervisor) -> None:
    with boot(tiny, debian_domain(4), cpus=4) as session:
        console = shell(session, tiny)
        ask(console, "nproc", r"\n4\r")
        ask(console, "for i in 0 1 2 3;do taskset -c $i md5sum /bin/sh& done;wait;echo o''k", r"\nok\r", 60)
        power_off(session, tiny)


def test_debian_on_the_plain_image(boot: Boot, tiny: Hypervisor) -> None:
    with boot(replace(tiny, image=plain(tiny.image)), debian_domain(1)) as session:
        shell(session, tiny)
        power_off(session, tiny)
