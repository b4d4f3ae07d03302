"""What all tests share: the images under test, and machines that boot them."""

from __future__ import annotations

import fcntl
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests import of_board
from xenarm.tools import build, doctor, kconfig
from xenarm.tools.hypervisor import Hypervisor, debian_xen, ours
from xenarm.tools.layout import compose
from xenarm.tools.machine import DomainSpec, Machine
from xenarm.tools.paths import BUILD, DEFAULT_BOARD, board_dir
from xenarm.tools.session import Session, booted


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--board", help="run the tests that concern this board alone (tests/of_board.py)")


def pytest_configure(config: pytest.Config) -> None:
    of_board.check(config)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    of_board.select(config, items, TARGETS)


settings.register_profile("xenarm", deadline=None)  # the first call of a function renders it
settings.load_profile("xenarm")

BOARD32 = of_board.BOARD32
TARGETS = {"arm64-gicv2": ("xenarm", 2), "arm64-gicv3": ("xenarm", 3), "arm32": ("xenarm32", 2)}
"""Machines on which the same bodies hold: the image's fixture, and the version of the interrupt controller."""
FIRST_TARGET = next(iter(TARGETS))
on_first_target = pytest.mark.parametrize("target", [FIRST_TARGET], indirect=True)
"""For what need not be shown on each."""
on_both_widths = pytest.mark.parametrize("target", [FIRST_TARGET, "arm32"], indirect=True)
"""For what the interrupt controller has no part in."""
MOST_VCPUS = 512
Boot = Callable[..., AbstractContextManager[Session]]


def build_once(request: pytest.FixtureRequest, board: str) -> str:
    """A board's hypervisor and the guest `hello`, built once for all the processes of a test run."""
    doctor.provide("test")
    run = getattr(request.config, "workerinput", {}).get("testrunuid", "")
    BUILD.mkdir(exist_ok=True)
    with (BUILD / f".test-build-{board}").open("a+") as stamp:
        fcntl.flock(stamp, fcntl.LOCK_EX)
        stamp.seek(0)
        if not run or stamp.read() != run:
            build.build(board, ("hello",), quiet=True)
            stamp.truncate(0)
            stamp.write(run)
            stamp.flush()
    return board


@contextmanager
def own_output(directory: Path, board: str) -> Iterator[Path]:
    """What was built for a board, in a directory that `make O=` would name: a verb that writes there meets no other test."""
    made = board_dir(board)
    own = directory / board
    (own / "guests").mkdir(parents=True)
    for name in ("config", "xenarm", "xenarm.elf", "xenarm.c", ".xenarm.made", "guests/hello", "guests/hello.elf", "guests/hello.c", "guests/.hello.made"):
        shutil.copy(made / name, own / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XENARM_O", str(directory))
        yield own


@pytest.fixture(scope="session")
def built_board(request: pytest.FixtureRequest) -> str:
    """The default board."""
    return build_once(request, DEFAULT_BOARD)


@pytest.fixture(scope="session")
def xenarm(built_board: str) -> Hypervisor:
    """Our image."""
    return ours(built_board)


@pytest.fixture(scope="session")
def xenarm_many(xenarm: Hypervisor, tmp_path_factory: pytest.TempPathFactory) -> Hypervisor:
    """Our image for as many vCPUs as Kconfig allows, its configuration beside it."""
    room = tmp_path_factory.mktemp("many")
    kconfig.changed(DEFAULT_BOARD, {"MAX_DOMAIN_CPUS": str(MOST_VCPUS), "MAX_VCPUS": str(MOST_VCPUS)}, room / "config")
    build.compile_job(DEFAULT_BOARD, build.Job(build.HYPERVISOR, room / "xenarm"), room / "config")
    return replace(xenarm, image=room / "xenarm")


@pytest.fixture(scope="session")
def xenarm32(request: pytest.FixtureRequest) -> Hypervisor:
    """Our image for the 32-bit board."""
    return ours(build_once(request, BOARD32))


@pytest.fixture(scope="module", params=TARGETS)
def target(request: pytest.FixtureRequest) -> Hypervisor:
    """Our image on each machine in turn."""
    image, gic = TARGETS[request.param]
    hypervisor: Hypervisor = request.getfixturevalue(image)
    return replace(hypervisor, gic=gic)


@pytest.fixture(scope="session")
def xen() -> Hypervisor:
    """Debian's Xen, on which every scenario can be tried first."""
    doctor.provide("test")
    return debian_xen()


@pytest.fixture(params=["xenarm", "xen"])
def hypervisor(request: pytest.FixtureRequest) -> Hypervisor:
    """Each hypervisor in turn: what Xen does with the same test shows that the test is right."""
    chosen: Hypervisor = request.getfixturevalue(request.param)
    return chosen


@pytest.fixture
def boot(request: pytest.FixtureRequest) -> Iterator[Boot]:
    """Boots domains on a hypervisor: `with boot(xenarm, domain, cpus=4) as session`."""
    name = re.sub(r"[^\w.-]+", "_", request.node.name)
    with ExitStack() as stack:

        @contextmanager
        def start(
            hypervisor: Hypervisor,
            *domains: DomainSpec,
            cpus: int = 1,
            memory_mib: int = 1024,
            gic: int = 0,
            cpu: str = "",
            dtb: bytes | None = None,
            **more: Any,
        ) -> Iterator[Session]:
            chosen = replace(hypervisor, gic=gic or hypervisor.gic).machine
            machine = Machine(replace(chosen, cpu=cpu or chosen.cpu), hypervisor.image, domains, cpus, memory_mib, hypervisor.bootargs, **more)
            with booted(compose(machine), name, dtb=dtb) as session:
                yield session

        yield start
        stack.close()


def image_at(hypervisor: Hypervisor) -> int:
    """Where QEMU puts an image."""
    return hypervisor.machine.hardware.load_address


IMAGE_AT = -1
"""Stands for the image's place among words that are known before the board is."""


def with_image(hypervisor: Hypervisor, words: Iterable[int]) -> list[int]:
    """The words, with the first page of the image in that place."""
    return [image_at(hypervisor) & ~0xFFF if word == IMAGE_AT else word for word in words]


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """A directory of this test's own."""
    return tmp_path
