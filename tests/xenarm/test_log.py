"""Lines, times, the ring, and how often a guest may make us speak."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freestanding import View, array, u8
from xenarm.arm64.registers import MODEL
from xenarm.core import log
from xenarm.core.log import ALLOWANCES, LOG, LOG_RING, NOBODY, RING_SIZE, TERMINAL

HZ = 1000


def view(data: bytes) -> View[u8]:
    return View(data, 0, len(data))


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    LOG.written = 0
    LOG.start = 0
    TERMINAL.owner = NOBODY
    MODEL["cntfrq_el0"], MODEL["cntpct_el0"] = HZ, 0
    ALLOWANCES[0].tokens = ALLOWANCES[0].refilled = 0
    yield
    MODEL.clear()


def ring() -> bytes:
    end = int(LOG.written)
    return bytes(LOG_RING[i % RING_SIZE] for i in range(max(0, end - RING_SIZE), end))


@pytest.mark.parametrize(
    ("counter", "hz", "text"),
    [
        (0, 1000, b"    0.000000"),
        (1234, 1_000_000, b"    0.001234"),
        (12345 * 62_500_000 + 31_250_000, 62_500_000, b"12345.500000"),
        ((1 << 64) - 1, 1_000_000_000, b"44073.709551"),
        (5, 0, b"    5.000000"),
    ],
)
def test_time(counter: int, hz: int, text: bytes) -> None:
    """After three thousand years the leading digits are lost, and nothing else."""
    MODEL["cntpct_el0"], MODEL["cntfrq_el0"] = counter, hz
    log.stage(view(b"x"))
    assert ring() == b"(xenarm) [" + text + b"] x\n"


@pytest.mark.parametrize(("level", "said"), [(b"none", b""), (b"error", b"e"), (b"warning", b"ew"), (b"info", b"ewi"), (b"debug", b"ewi"), (b"all", b"ewi")])
def test_levels(level: bytes, said: bytes) -> None:
    """`loglvl=` leaves out what is less important; what the configuration leaves out stays so."""
    try:
        assert log.log_level(view(level))
        log.log_error("e")
        log.log_warning("w")
        log.printk("i")
        assert re.sub(rb"\(xenarm\) \[ *\d+\.\d+\] |\n", b"", ring()) == said
    finally:
        LOG.levels = log.DEBUG + 1
    assert not log.log_level(view(b"chatty")) and LOG.levels == log.DEBUG + 1


@given(st.integers(0, 10**12), st.integers(1, 12))
def test_digits(value: int, width: int) -> None:
    out = array(u8, width)
    log.digits(value, out, 0x20)
    assert bytes(out) == f"{value:{width}d}".encode()[-width:]
    log.digits(value, out, 0x30)
    assert bytes(out) == f"{value:0{width}d}".encode()[-width:]


def test_ring_keeps_the_newest() -> None:
    wrote = b""
    for i in range(RING_SIZE // 20):
        text = b"line %d of many\n" % i
        log.log_raw(view(text))
        wrote += text
    assert ring() == wrote[-RING_SIZE:]


def test_a_guest_may_speak_now_and_then() -> None:
    MODEL["cntpct_el0"] = 10
    allowed = [log.guest_message_allowed(0) for _ in range(log.GUEST_BURST + 5)]
    assert allowed == [True] * log.GUEST_BURST + [False] * 5
    MODEL["cntpct_el0"] += HZ
    assert [log.guest_message_allowed(0) for _ in range(4)] == [True] * log.GUEST_PER_SECOND + [False] * 2
    MODEL["cntpct_el0"] += HZ * 1_000_000
    assert sum(log.guest_message_allowed(0) for _ in range(100)) == log.GUEST_BURST
