"""Our guests, built once for all the processes of a test run, and the machine without a hypervisor that they also run on."""

from __future__ import annotations

import fcntl
import functools
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from boards import board
from tests.conftest import BOARD32
from xenarm.tools import build, doctor
from xenarm.tools.hypervisor import Hypervisor
from xenarm.tools.layout import compose
from xenarm.tools.machine import Machine
from xenarm.tools.paths import BUILD, DEFAULT_BOARD
from xenarm.tools.session import Session, booted

OwnGuest = Callable[[Hypervisor, str], Path]
BootBare = Callable[..., AbstractContextManager[Session]]


def _built(request: pytest.FixtureRequest, guest: str, board: str = DEFAULT_BOARD) -> Path:
    doctor.provide("test")
    run = getattr(request.config, "workerinput", {}).get("testrunuid", "")
    job = build.guest_job(board, guest)
    BUILD.mkdir(exist_ok=True)
    with (BUILD / f".test-guest-{board}-{guest}").open("a+") as stamp:
        fcntl.flock(stamp, fcntl.LOCK_EX)
        stamp.seek(0)
        if not run or stamp.read() != run:
            build.compile_job(board, job)
            stamp.truncate(0)
            stamp.write(run)
            stamp.flush()
    return job.output


@pytest.fixture(scope="session")
def own_guest(request: pytest.FixtureRequest) -> OwnGuest:
    """A guest of ours for a hypervisor's board, by its name; built when it is first asked for."""

    @functools.cache
    def built(board: str, guest: str) -> Path:
        return _built(request, guest, board)

    return lambda hypervisor, guest: built(hypervisor.board, guest)


@pytest.fixture(scope="session")
def hello(built_board: str) -> Path:
    """The guest of `make run`."""
    return build.guest_job(built_board, "hello").output


@pytest.fixture(scope="session")
def bench_guest(request: pytest.FixtureRequest) -> Path:
    """The guest of `make bench`."""
    return _built(request, "bench")


@pytest.fixture(scope="session")
def probe_guest(request: pytest.FixtureRequest) -> Path:
    """The guest that uses the virtual hardware in every way."""
    return _built(request, "probe")


@pytest.fixture(scope="session")
def features_guest(request: pytest.FixtureRequest) -> Path:
    """The guest that uses every CPU feature that it is not shown."""
    return _built(request, "features")


@pytest.fixture(scope="session")
def firmware(request: pytest.FixtureRequest) -> Path:
    """What starts a machine at EL3 and has calls against speculation."""
    return _built(request, "firmware")


@pytest.fixture(scope="session")
def hostile_guest(request: pytest.FixtureRequest) -> Path:
    """The guest that does everything that a guest can do to a hypervisor."""
    return _built(request, "hostile")


@pytest.fixture(scope="session")
def load_guest(request: pytest.FixtureRequest) -> Path:
    """The guest that measures what it gets of a CPU."""
    return _built(request, "load")


@pytest.fixture(scope="session")
def notify_guest(request: pytest.FixtureRequest) -> Path:
    """The guest that two domains notify each other with."""
    return _built(request, "notify")


@pytest.fixture(scope="session")
def granules_guest(request: pytest.FixtureRequest) -> Path:
    """The guest with pages of 16 KiB and 64 KiB."""
    return _built(request, "granules")


@pytest.fixture(scope="session")
def probe32_guest(request: pytest.FixtureRequest) -> Path:
    """The guest that probes AArch32 from inside."""
    return _built(request, "probe32", BOARD32)


@pytest.fixture
def boot_bare(request: pytest.FixtureRequest) -> Iterator[BootBare]:
    """Starts a guest at EL1, or in SVC mode, of a machine without EL2, where QEMU itself answers PSCI by HVC."""
    name = re.sub(r"[^\w.-]+", "_", request.node.name)

    @contextmanager
    def start(image: Path, cpus: int = 1, count: bool = False, gic: int = 2, extra: tuple[str, ...] = (), name_of_board: str = DEFAULT_BOARD) -> Iterator[Session]:
        plain = replace(board(name_of_board), machine=f"virt,gic-version={gic}")
        machine = Machine(plain, image, (), cpus, 256, count_instructions=count, extra=extra)
        with booted(compose(machine), name) as session:
            yield session

    yield start
