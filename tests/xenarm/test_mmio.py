"""The table of a domain's devices."""

from __future__ import annotations

from typing import Any

import pytest

from freestanding import fn, u64
from xenarm.core.access import Access, Outcome
from xenarm.core.addresses import GuestPhys
from xenarm.core.domain import SLOTS, DOMAINS, Domain, Vcpu
from xenarm.core.mmio import MOST_REGIONS, mmio_access, mmio_register, mmio_reset
from xenarm.core.result import Result


@fn
def echo(d: Domain, v: Vcpu, a: Access) -> tuple[Outcome, u64]:
    return Outcome.HANDLED, u64(a.address)


@fn
def refuse(d: Domain, v: Vcpu, a: Access) -> tuple[Outcome, u64]:
    return Outcome.FORBIDDEN, 0


@pytest.fixture
def domain() -> Domain:
    mmio_reset(DOMAINS[0])
    return DOMAINS[0]


def access(d: Domain, address: int, width: int = 4) -> Any:
    return mmio_access(d, SLOTS[0].vcpu, Access(GuestPhys(address), width, False, 0))


def test_whose_address_it_is(domain: Domain) -> None:
    assert mmio_register(domain, GuestPhys(0x1000), 0x1000, echo) == Result.OK
    assert mmio_register(domain, GuestPhys(0x3000), 0x100, refuse) == Result.OK
    assert access(domain, 0x1000) == (Outcome.HANDLED, 0x1000)
    assert access(domain, 0x1FFC) == (Outcome.HANDLED, 0x1FFC)
    assert access(domain, 0x30FF, 1)[0] == Outcome.FORBIDDEN
    for address, width in ((0xFFF, 1), (0x2000, 4), (0x3100, 1), (0x1FFE, 4), (0, 8), ((1 << 64) - 1, 8)):
        assert access(domain, address, width)[0] == Outcome.UNHANDLED, hex(address)


def test_no_two_devices_in_one_place(domain: Domain) -> None:
    assert mmio_register(domain, GuestPhys(0x1000), 0x1000, echo) == Result.OK
    for base, size in ((0x1000, 0x1000), (0, 0x1001), (0x1FFF, 1), (0x1800, 0x10)):
        assert mmio_register(domain, GuestPhys(base), size, echo) == Result.BUSY
    for i in range(MOST_REGIONS - 1):
        assert mmio_register(domain, GuestPhys(0x10000 + i), 1, echo) == Result.OK
    assert mmio_register(domain, GuestPhys(0x20000), 1, echo) == Result.NO_MEMORY


def test_domains_do_not_share_devices(domain: Domain) -> None:
    mmio_reset(DOMAINS[1])
    DOMAINS[1].id = 1
    assert mmio_register(domain, GuestPhys(0x1000), 0x1000, echo) == Result.OK
    assert access(DOMAINS[1], 0x1000)[0] == Outcome.UNHANDLED
