"""Event channels against a model of them: any operation with any argument, by two domains; arguments that are not the caller's; lives."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freestanding import hosted
from tests.xenarm.gic_model import Machine, machine
from tests.xenarm.test_stage2 import reset, tables
from xenarm.abi.errno import Errno
from xenarm.abi.event_channel import EventChannelOp as Op
from xenarm.abi.hypercall import DOMID_SELF, HYPERCALL_COUNT, Hypercall, MemoryOp, VcpuOp
from xenarm.abi.layout import GUEST_RAM0_BASE
from xenarm.arm import guest_words
from xenarm.arm.traps import trap_full, trap_sync
from xenarm.arm64.registers import MODEL, PSR_RESET, Ec
from xenarm.config import CONFIG
from xenarm.core import log
from xenarm.core.addresses import PAGE_SIZE, GuestPhys, HostPhys
from xenarm.core.domain import DOMAINS, Domain, DomainState, Extra, Power, Vcpu
from xenarm.core.event_channel import PortState, channel_connect, channel_port, channels_create, channels_release, channels_reset, channels_vcpu_starts, notify
from xenarm.core.hypercall import hypercall, hypercall_aarch32
from xenarm.core.memory import memory_free
from xenarm.core.result import Result
from xenarm.core.shared_info import SHARED_TABLES
from xenarm.core.static_events import END_COUNT, static_channel_note, static_channels_connect
from xenarm.gic.registers import Gicd
from xenarm.gic.vgicd import vgicd_write
from xenarm.p2m.stage2 import MemoryKind, p2m_init, p2m_map, p2m_translate
from xenarm.p2m.state import Vmid

__all__ = ["tables"]

RAM = 0x6000_0000
RAM_SIZE = 64 * 1024  # of each domain
PORTS: int = CONFIG.EVENT_CHANNELS_PER_DOMAIN
VIRTUAL = 0xFFFF_0000_0000_0000
READ_ONLY, ABSENT, STRANGERS = VIRTUAL + 0x10_0000, VIRTUAL + 0x20_0000, VIRTUAL + 0x30_0000
PPI = 1 << 31
TABLES_EACH = 2 + 3 + SHARED_TABLES  # the root, what maps 64 KiB of RAM, and what showing the page takes
DOMIDS = 1, 2


@pytest.fixture(autouse=True, scope="module")
def guest_ram(tables: None) -> Iterator[None]:
    hosted.engine().memory.map(RAM, bytearray(2 * RAM_SIZE))
    yield
    hosted.engine().memory.unmap(RAM)


class Pair:
    """Two domains with event channels. The first has two vCPUs in the model of the interrupt controller; each calls as itself."""

    def __init__(self, m: Machine) -> None:
        self.m = m
        reset()
        self.domains: list[Domain] = [DOMAINS[0], DOMAINS[1]]
        other = DOMAINS[1]
        other.id, other.vcpu_count, other.state.value = 1, 1, int(DomainState.RUNNING)
        m.vcpus[2].domain, m.vcpus[2].id = other, 0
        other.vcpus[0] = m.vcpus[2]
        self.domains[0].vcpu_count = 2
        for i, d in enumerate(self.domains):
            assert p2m_init(d.p2m, Vmid(i + 1), TABLES_EACH) == Result.OK
            self.give_ram(i)
            assert channels_create(d) == Result.OK
        self.caller(0)

    def give_ram(self, i: int) -> None:
        memory = DOMAINS[i].memory
        memory.count = 1
        piece = memory.pieces[0]
        piece.ipa, piece.base, piece.size = int(GUEST_RAM0_BASE), RAM + i * RAM_SIZE, RAM_SIZE
        result = p2m_map(self.domains[i].p2m, GuestPhys(int(GUEST_RAM0_BASE)), HostPhys(int(piece.base)), RAM_SIZE, MemoryKind.RAM)
        assert result == Result.OK

    def caller(self, i: int) -> Vcpu:
        """The vCPU that calls for a domain, with this CPU being its own."""
        self.m.play(0 if i == 0 else 2)
        self.i = i
        return self.m.vcpus[0 if i == 0 else 2]

    def translate(self, address: int, write: bool) -> None:
        """AT S12E1R and S12E1W: the caller's RAM at VIRTUAL, a page of it read-only, somebody else's page, and nothing."""
        page = address & -PAGE_SIZE
        machine_page, allowed = RAM + self.i * RAM_SIZE + (page - VIRTUAL), VIRTUAL <= page < VIRTUAL + RAM_SIZE
        if page == READ_ONLY:
            machine_page, allowed = RAM + self.i * RAM_SIZE, not write
        elif page == STRANGERS:
            machine_page, allowed = RAM + (1 - self.i) * RAM_SIZE, True
        MODEL["par_el1"] = machine_page if allowed else 1

    def call(self, i: int, number: int, command: int, data: bytes = b"", at: int = VIRTUAL, second: int | None = None, third: int = 0) -> int:
        v = self.caller(i)
        for n, byte in enumerate(data):
            self.store(i, at - VIRTUAL + n, byte)
        v.regs[16], v.regs[0], v.regs[1], v.regs[2] = number, command, at if second is None else second, third
        result = int(hypercall(v))
        return result - (1 << 64) if result >> 63 else result

    def event(self, i: int, command: int, *words: int) -> int:
        return self.call(i, Hypercall.EVENT_CHANNEL_OP, command, struct.pack(f"<{len(words)}I", *words))

    def store(self, i: int, offset: int, byte: int) -> None:
        hosted.engine().memory.store(RAM + i * RAM_SIZE + offset, 1, byte)

    def word(self, i: int, n: int) -> int:
        return int(hosted.engine().memory.load(RAM + i * RAM_SIZE + 4 * n, 4))

    def bit(self, i: int, table: int, port: int) -> bool:
        return bool(int(hosted.engine().memory.load(int(DOMAINS[i].shared_page.page) + table + port // 64 * 8, 8)) >> port % 64 & 1)

    def set_mask(self, i: int, port: int, on: bool) -> None:
        at = int(DOMAINS[i].shared_page.page) + 560 + port // 64 * 8
        before = int(hosted.engine().memory.load(at, 8))
        hosted.engine().memory.store(at, 8, before | 1 << port % 64 if on else before & ~(1 << port % 64))

    def store_pending(self, i: int, port: int, on: bool) -> None:
        at = int(DOMAINS[i].shared_page.page) + 48 + port // 64 * 8
        before = int(hosted.engine().memory.load(at, 8))
        hosted.engine().memory.store(at, 8, before | 1 << port % 64 if on else before & ~(1 << port % 64))

    def take_upcall(self, i: int) -> bool:
        """What a guest does first: clears the flag and the selector."""
        page = int(DOMAINS[i].shared_page.page)
        flag = int(hosted.engine().memory.load(page, 8))
        hosted.engine().memory.store(page, 8, 0)
        hosted.engine().memory.store(page + 8, 8, 0)
        return flag != 0


@contextmanager
def two_domains() -> Iterator[Pair]:
    with machine(3) as m, pytest.MonkeyPatch.context() as patch:
        p = Pair(m)
        patch.setattr(m.bus, "translate", p.translate, raising=False)
        try:
            yield p
        finally:
            for d in p.domains:
                channels_release(d)
                d.memory.count = 0
            DOMAINS[1].state.value = 0
            END_COUNT.value = 0
            MODEL.pop("par_el1", None)


@pytest.fixture
def pair() -> Iterator[Pair]:
    with two_domains() as p:
        yield p


# ---- the model -----------------------------------------------------------------------------------------------------------------


@dataclass
class End:
    """A port of the model."""

    state: PortState = PortState.CLOSED
    vcpu: int = 0
    peer: tuple[int, int] = (0, 0)  # domain index (unbound: domid) and port; of a VIRQ its number
    pending: bool = False
    masked: bool = False


def errno(name: str) -> int:
    return int(getattr(Errno, name)) - (1 << 64)


VCPU_VIRQS = {0, 1, 7, 13}


@dataclass
class Model:
    """What Xen's header says of each operation, without its locks."""

    ports: list[list[End]] = field(default_factory=lambda: [[End() for _ in range(PORTS)] for _ in range(2)])
    vcpus: tuple[int, int] = (2, 1)

    def domain(self, i: int, domid: int) -> int | None:
        return i if domid == DOMID_SELF else DOMIDS.index(domid) if domid in DOMIDS else None

    def new(self, i: int, state: PortState, vcpu: int, peer: tuple[int, int]) -> tuple[int, int]:
        for n in range(1, PORTS):
            end = self.ports[i][n]
            if end.state == PortState.CLOSED:
                end.state, end.vcpu, end.peer = state, vcpu, peer
                return 0, n
        return errno("ENOSPC"), 0

    def open_end(self, i: int, port: int) -> End | None:
        return self.ports[i][port] if port < PORTS and self.ports[i][port].state != PortState.CLOSED else None

    def alloc(self, i: int, dom: int, remote: int) -> tuple[int, int]:
        for named in (self.domain(i, dom), self.domain(i, remote)):
            if named != i:
                return errno("ESRCH" if named is None else "EPERM"), 0
        return self.new(i, PortState.UNBOUND, 0, (DOMIDS[i], 0))

    def interdomain(self, i: int, remote: int, port: int) -> tuple[int, int]:
        other = self.domain(i, remote)
        if other is None:
            return errno("ESRCH"), 0
        if other != i:
            there = self.open_end(other, port)
            waits = there is not None and there.state == PortState.UNBOUND and there.peer[0] == DOMIDS[i]
            return errno("EPERM" if waits else "EINVAL"), 0
        if all(end.state != PortState.CLOSED for end in self.ports[i][1:]):
            return errno("ENOSPC"), 0
        there = self.open_end(other, port)
        if there is None or there.state != PortState.UNBOUND or there.peer[0] != DOMIDS[i]:
            return errno("EINVAL"), 0
        _, n = self.new(i, PortState.INTERDOMAIN, 0, (other, port))
        there.state, there.peer = PortState.INTERDOMAIN, (i, n)
        self.ports[i][n].pending = True
        return 0, n

    def close(self, i: int, port: int) -> int:
        end = self.open_end(i, port)
        if end is None:
            return errno("EINVAL")
        if end.state == PortState.INTERDOMAIN:
            there = self.ports[end.peer[0]][end.peer[1]]
            there.state, there.peer = PortState.UNBOUND, (DOMIDS[i], 0)
        end.state, end.vcpu, end.peer, end.pending = PortState.CLOSED, 0, (0, 0), False
        return 0

    def send(self, i: int, port: int) -> int:
        end = self.open_end(i, port)
        if end is None or end.state == PortState.VIRQ:
            return errno("EINVAL")
        if end.state == PortState.INTERDOMAIN:
            self.ports[end.peer[0]][end.peer[1]].pending = True
        elif end.state == PortState.IPI:
            end.pending = True
        return 0

    def ipi(self, i: int, vcpu: int) -> tuple[int, int]:
        return self.new(i, PortState.IPI, vcpu, (0, 0)) if vcpu < self.vcpus[i] else (errno("ENOENT"), 0)

    def virq(self, i: int, virq: int, vcpu: int) -> tuple[int, int]:
        if virq >= 24 or (virq not in VCPU_VIRQS and vcpu != 0):
            return errno("EINVAL"), 0
        if vcpu >= self.vcpus[i]:
            return errno("ENOENT"), 0
        same = (e for e in self.ports[i] if e.state == PortState.VIRQ and e.peer[1] == virq)
        if any(virq not in VCPU_VIRQS or e.vcpu == vcpu for e in same):
            return errno("EEXIST"), 0
        return self.new(i, PortState.VIRQ, vcpu, (0, virq))

    def bind_vcpu(self, i: int, port: int, vcpu: int) -> int:
        if vcpu >= self.vcpus[i]:
            return errno("ENOENT")
        end = self.open_end(i, port)
        if end is None or end.state == PortState.IPI or (end.state == PortState.VIRQ and end.peer[1] in VCPU_VIRQS):
            return errno("EINVAL")
        end.vcpu = vcpu
        return 0

    def status(self, i: int, dom: int, port: int) -> int:
        owner = self.domain(i, dom)
        if owner is None:
            return errno("ESRCH")
        if port >= PORTS:
            return errno("EINVAL")
        return 0 if owner == i else errno("EPERM")


number = st.one_of(st.integers(0, 8), st.integers(0, PORTS + 2), st.integers(0, 0xFFFF_FFFF))
domid = st.sampled_from([1, 2, DOMID_SELF, 0, 3, 77, 0x7FF1, 0xFFFF])
vcpu = st.sampled_from([0, 0, 1, 2, 0xFFFF_FFFF])
who = st.integers(0, 1)
step = st.one_of(
    st.tuples(st.just("alloc"), who, domid, domid),
    st.tuples(st.just("interdomain"), who, domid, number),
    st.tuples(st.just("close"), who, number),
    st.tuples(st.just("send"), who, number),
    st.tuples(st.just("ipi"), who, vcpu),
    st.tuples(st.just("virq"), who, st.one_of(st.integers(0, 24), number), vcpu),
    st.tuples(st.just("bind_vcpu"), who, number, vcpu),
    st.tuples(st.just("status"), who, domid, number),
    st.tuples(st.just("mask"), who, st.integers(1, 8), st.booleans()),
    st.tuples(st.just("unmask"), who, number),
)


def play(p: Pair, model: Model, what: str, i: int, a: int, b: int = 0) -> None:
    """One step in both, with the same result."""
    match what:
        case "alloc":
            error, port = model.alloc(i, a, b)
            assert p.event(i, Op.ALLOC_UNBOUND, a | b << 16, 0) == error
            assert error or p.word(i, 1) == port
        case "interdomain":
            error, port = model.interdomain(i, a, b)
            assert p.event(i, Op.BIND_INTERDOMAIN, a, b, 0) == error
            assert error or p.word(i, 2) == port
        case "ipi":
            error, port = model.ipi(i, a)
            assert p.event(i, Op.BIND_IPI, a, 0) == error
            assert error or p.word(i, 1) == port
        case "virq":
            error, port = model.virq(i, a, b)
            assert p.event(i, Op.BIND_VIRQ, a, b, 0) == error
            assert error or p.word(i, 2) == port
        case "close":
            assert p.event(i, Op.CLOSE, a) == model.close(i, a)
        case "send":
            assert p.event(i, Op.SEND, a) == model.send(i, a)
        case "bind_vcpu":
            assert p.event(i, Op.BIND_VCPU, a, b) == model.bind_vcpu(i, a, b)
        case "mask":
            model.ports[i][a].masked = bool(b)
            p.set_mask(i, a, bool(b))
        case "unmask":
            assert p.event(i, Op.UNMASK, a) == (0 if a < PORTS else errno("EINVAL"))
            end = model.open_end(i, a)
            if end is not None:
                end.masked = False
        case "status":
            error = model.status(i, a, b)
            assert p.event(i, Op.STATUS, a, b, 0, 0, 0, 0) == error
            if not error:
                end = model.ports[i][b]
                assert (p.word(i, 2), p.word(i, 3)) == (end.state, end.vcpu)
                if end.state == PortState.INTERDOMAIN:
                    assert (p.word(i, 4), p.word(i, 5)) == (DOMIDS[end.peer[0]], end.peer[1])
                elif end.state == PortState.UNBOUND:
                    assert p.word(i, 4) == end.peer[0]


def check(p: Pair, model: Model) -> None:
    for i in range(2):
        for port in range(PORTS):
            end = model.ports[i][port]
            assert p.bit(i, 48, port) == end.pending, (i, port)
            assert p.bit(i, 560, port) == end.masked, (i, port)


@given(st.lists(step, max_size=40))
@settings(max_examples=100)
def test_any_sequence_of_operations_is_as_the_model_says(steps: list[tuple[str, int, int, int]]) -> None:
    """Ports 2 to 4 of the two are connected to begin with."""
    with two_domains() as p:
        model = Model()
        for port in (2, 3, 4):
            channel_connect(p.domains[0], port, p.domains[1], port)
            channel_connect(p.domains[1], port, p.domains[0], port)
            for i in range(2):
                model.ports[i][port] = End(PortState.INTERDOMAIN, 0, (1 - i, port), pending=i == 1)
        for one in steps:
            play(p, model, *one)
            check(p, model)


# ---- delivery ------------------------------------------------------------------------------------------------------------------


def connect(p: Pair) -> tuple[int, int]:
    """A channel between the two; its ports, with nothing pending."""
    here, there = 1, 7
    channel_connect(p.domains[1], there, p.domains[0], here)
    channel_connect(p.domains[0], here, p.domains[1], there)
    for i in range(2):
        p.take_upcall(i)
    p.store_pending(0, here, False)
    return here, there


def upcalls(p: Pair, cpu: int) -> bool:
    """Whether PPI 31 has come to that CPU's vCPU since it was last asked."""
    p.m.settle()
    own = p.m.vcpus[cpu].vgic.own
    came = bool(int(own.pending) & PPI)
    own.pending = int(own.pending) & ~PPI
    return came


def test_a_send_is_one_upcall_until_the_guest_has_looked(pair: Pair) -> None:
    _, there = connect(pair)
    upcalls(pair, 0)
    assert pair.event(1, Op.SEND, there) == 0
    assert upcalls(pair, 0)
    assert pair.event(1, Op.SEND, there) == 0
    assert not upcalls(pair, 0), "it has not taken the first"
    pair.take_upcall(0)
    assert pair.event(1, Op.SEND, there) == 0
    assert not upcalls(pair, 0), "the port is pending still"


def test_a_masked_port_is_pending_without_an_upcall_until_it_is_unmasked(pair: Pair) -> None:
    here, there = connect(pair)
    upcalls(pair, 0)
    pair.set_mask(0, here, True)
    assert pair.event(1, Op.SEND, there) == 0
    assert pair.bit(0, 48, here) and not upcalls(pair, 0)
    assert pair.event(0, Op.UNMASK, here) == 0
    assert upcalls(pair, 0) and not pair.bit(0, 560, here)
    assert pair.event(0, Op.UNMASK, here) == 0
    assert not upcalls(pair, 0), "it was not masked"


def test_the_upcall_goes_to_the_vcpu_that_the_port_is_bound_to(pair: Pair) -> None:
    """The second vCPU registers a vcpu_info first: before that it can take none."""
    here, there = connect(pair)
    upcalls(pair, 0)
    assert pair.event(0, Op.BIND_VCPU, here, 1) == 0
    assert pair.event(1, Op.SEND, there) == 0
    assert not upcalls(pair, 1) and not upcalls(pair, 0)
    pair.m.vcpus[1].power.value = int(Power.OFF)
    frame = int(GUEST_RAM0_BASE) // PAGE_SIZE + 3
    assert pair.call(0, Hypercall.VCPU_OP, VcpuOp.REGISTER_VCPU_INFO, struct.pack("<QII", frame, 64, 0), second=1, third=VIRTUAL) == 0
    pair.m.vcpus[1].power.value = int(Power.ON)
    pair.m.play(1)
    channels_vcpu_starts(pair.m.vcpus[1])
    assert upcalls(pair, 1) and not upcalls(pair, 0), "everything is pending after it"
    assert int(hosted.engine().memory.load(RAM + 3 * PAGE_SIZE + 64 + 8, 8)) == (1 << 64) - 1


def test_a_port_that_is_used_anew_is_not_pending(pair: Pair) -> None:
    here, there = connect(pair)
    assert pair.event(1, Op.SEND, there) == 0
    assert pair.event(0, Op.CLOSE, here) == 0
    assert pair.event(0, Op.BIND_IPI, 0, 0) == 0
    assert pair.word(0, 1) == here and not pair.bit(0, 48, here)


def test_a_guest_that_stores_without_end_delays_only_itself(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """XSA-295: a store-exclusive to a word that the guest keeps storing to never succeeds. The sender goes on, and the event is there."""
    here, there = connect(pair)
    upcalls(pair, 0)
    attempts: list[int] = []
    monkeypatch.setattr(pair.m.bus, "store_exclusive", lambda address: attempts.append(address), raising=False)
    assert pair.event(1, Op.SEND, there) == 0
    assert pair.bit(0, 48, here) and upcalls(pair, 0)
    assert len(attempts) == 3 * guest_words.ATTEMPTS


@pytest.mark.parametrize("meanwhile", ["nothing", "closed", "used anew", "connected anew"])
def test_a_sender_that_comes_late_finds_only_its_own_channel(pair: Pair, meanwhile: str) -> None:
    """It has read its own port's word, and the channel is closed, or the receiver's port is another channel's, before it has the receiver's lock."""
    here, there = connect(pair)
    stale = channel_port(pair.domains[0], here)
    if meanwhile != "nothing":
        assert pair.event(0, Op.CLOSE, here) == 0
    if meanwhile == "used anew":
        assert pair.event(0, Op.BIND_IPI, 0, 0) == 0 and pair.word(0, 1) == here
    if meanwhile == "connected anew":
        channel_connect(pair.domains[1], 9, pair.domains[0], here)
        channel_connect(pair.domains[0], here, pair.domains[1], 9)
        pair.store_pending(0, here, False)
        assert channel_port(pair.domains[0], here).PEER == 9
    upcalls(pair, 0)
    pair.take_upcall(0)
    pair.caller(1)
    notify(pair.domains[0], here, stale)
    assert pair.bit(0, 48, here) == upcalls(pair, 0) == (meanwhile == "nothing")


# ---- arguments -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [0, ABSENT, STRANGERS, VIRTUAL - 2, VIRTUAL + RAM_SIZE - 2, (1 << 64) - 1], ids=hex)
@pytest.mark.parametrize("command", sorted(v for k, v in vars(Op).items() if k.isupper()))
def test_an_argument_that_is_not_the_callers_is_refused_and_nothing_changes(pair: Pair, command: int, at: int) -> None:
    """XSA-98: memory was read and written through a guest's address without asking whether the guest may."""
    before = [bytes(int(hosted.engine().memory.load(RAM + n, 1)) for n in range(0, 2 * RAM_SIZE, 64)), memory_free()]
    assert pair.call(0, Hypercall.EVENT_CHANNEL_OP, command, at=at) == errno("EFAULT")
    assert before == [bytes(int(hosted.engine().memory.load(RAM + n, 1)) for n in range(0, 2 * RAM_SIZE, 64)), memory_free()]
    assert all(channel_port(d, n).STATE == PortState.CLOSED for d in pair.domains for n in range(PORTS))


@pytest.mark.parametrize("command", [Op.ALLOC_UNBOUND, Op.BIND_IPI, Op.BIND_VIRQ, Op.STATUS, Op.BIND_INTERDOMAIN])
def test_a_result_for_memory_that_may_only_be_read_is_refused_before_anything_happens(pair: Pair, command: int) -> None:
    pair.call(0, Hypercall.EVENT_CHANNEL_OP, 99, struct.pack("<6I", DOMID_SELF, 0, 0, 0, 0, 0))
    assert pair.call(0, Hypercall.EVENT_CHANNEL_OP, command, at=READ_ONLY) == errno("EFAULT")
    assert all(channel_port(pair.domains[0], n).STATE == PortState.CLOSED for n in range(PORTS))


def test_an_argument_may_lie_in_two_pages(pair: Pair) -> None:
    at = VIRTUAL + PAGE_SIZE - 2
    assert pair.call(0, Hypercall.EVENT_CHANNEL_OP, Op.BIND_IPI, struct.pack("<II", 1, 0), at=at) == 0
    assert int(hosted.engine().memory.load(RAM + PAGE_SIZE + 2, 4)) == 1


@pytest.mark.parametrize(("at", "result"), [(0xFFFF_FFF0, 0), (0xFFFF_FFFC, Errno.EFAULT)], ids=hex)
def test_an_argument_of_a_32_bit_guest_ends_below_4_gib(pair: Pair, monkeypatch: pytest.MonkeyPatch, at: int, result: int) -> None:
    """It has no address behind that: translated by its low half, the rest of the argument would lie at 0."""
    monkeypatch.setattr(pair.m.bus, "translate", lambda address, write: MODEL.update(par_el1=RAM + (address & 0xF000)), raising=False)
    v = pair.caller(0)
    monkeypatch.setattr(v, "extra", int(v.extra) | int(Extra.AARCH32))
    v.regs[12], v.regs[0], v.regs[1] = Hypercall.EVENT_CHANNEL_OP | 1 << 32, Op.BIND_IPI, at | 1 << 63
    assert int(hypercall_aarch32(v)) == result


@given(st.integers(0, HYPERCALL_COUNT + 2), st.integers(0, (1 << 64) - 1), st.integers(0, (1 << 64) - 1), st.integers(0, (1 << 64) - 1), st.binary(max_size=32))
@settings(max_examples=300)
def test_no_hypercall_with_any_argument_stops_the_host(call: int, command: int, second: int, third: int, data: bytes) -> None:
    if call == Hypercall.SCHED_OP:
        return
    with two_domains() as p:
        for a, b, c in ((command, second, third), (command & 15, VIRTUAL, VIRTUAL), (command & 15, second & 3, VIRTUAL)):
            p.call(0, call, a, data, second=b, third=c)
        p.m.settle()


# ---- the shared page ---------------------------------------------------------------------------------------------------------------


def physmap(p: Pair, frame: int, command: int = MemoryOp.ADD_TO_PHYSMAP) -> int:
    data = struct.pack("<HHIQQ", DOMID_SELF, 0, 0, 0, frame) if command == MemoryOp.ADD_TO_PHYSMAP else struct.pack("<HHIQ", DOMID_SELF, 0, 0, frame)
    return p.call(0, Hypercall.MEMORY_OP, command, data)


def seen_at(p: Pair, frame: int) -> int | None:
    result, found = p2m_translate(p.domains[0].p2m, GuestPhys(frame * PAGE_SIZE))
    return int(found) if result == Result.OK else None


FRAME = int(GUEST_RAM0_BASE) // PAGE_SIZE


def test_the_page_is_shown_once_and_ram_comes_back(pair: Pair) -> None:
    page = int(DOMAINS[0].shared_page.page)
    for frame, before in ((FRAME + 5, RAM + 5 * PAGE_SIZE), (0x38000, None)):
        assert physmap(pair, frame) == 0 and seen_at(pair, frame) == page
        assert physmap(pair, FRAME + 1) == errno("EBUSY")
        assert physmap(pair, FRAME + 1, MemoryOp.REMOVE_FROM_PHYSMAP) == errno("EINVAL")
        assert physmap(pair, frame, MemoryOp.REMOVE_FROM_PHYSMAP) == 0 and seen_at(pair, frame) == before


@pytest.mark.parametrize("frame", [0, 0x3001, FRAME + RAM_SIZE // PAGE_SIZE, 1 << 28, (1 << 52) - 1, (1 << 64) - 1], ids=hex)
def test_the_page_is_shown_only_where_tables_are_bounded(pair: Pair, frame: int) -> None:
    """XSA-301, 409: frames anywhere made tables without end. RAM and the grant window are all there is."""
    free = memory_free()
    assert physmap(pair, frame) == errno("EINVAL") and memory_free() == free


def test_tables_for_the_page_come_from_the_domains_own_pool(pair: Pair) -> None:
    """Four places at least; beyond its pool the call fails, and takes nothing from anybody else."""
    free, results = memory_free(), []
    for n in range(32):
        frame = 0x38000 + n * 512 if n < 8 else FRAME + 1
        results.append(physmap(pair, frame))
        if results[-1] == 0:
            assert physmap(pair, frame, MemoryOp.REMOVE_FROM_PHYSMAP) == 0
    assert results[:4] == [0, 0, 0, 0] and set(results) <= {0, errno("ENOMEM")}
    assert memory_free() == free and pair.domains[0].p2m.table_pages <= TABLES_EACH


def test_a_new_life_has_nothing_of_the_old(pair: Pair) -> None:
    """Ports closed, the page zero and shown nowhere; what the old life had registered is written to no more."""
    here, there = connect(pair)
    assert physmap(pair, FRAME + 5) == 0
    assert pair.call(0, Hypercall.VCPU_OP, VcpuOp.REGISTER_VCPU_INFO, struct.pack("<QII", FRAME + 3, 0, 0), second=0, third=VIRTUAL) == 0
    free = memory_free()
    assert channels_reset(pair.domains[0]), "stage 2 must be made anew"
    assert not channels_reset(pair.domains[0])
    assert memory_free() == free and DOMAINS[0].shared_page.shown_at == 0
    for n in range(PAGE_SIZE):
        pair.store(0, 3 * PAGE_SIZE + n, 0)
    assert pair.event(1, Op.SEND, there) == 0
    assert not pair.bit(0, 48, here)
    assert pair.event(1, Op.STATUS, DOMID_SELF, there, 0, 0, 0, 0) == 0 and pair.word(1, 2) == PortState.UNBOUND
    channel_connect(pair.domains[0], here, pair.domains[1], there)
    assert pair.event(1, Op.SEND, there) == 0 and pair.bit(0, 48, here)
    assert all(int(hosted.engine().memory.load(RAM + 3 * PAGE_SIZE + n, 8)) == 0 for n in range(0, 64, 8))
    assert pair.take_upcall(0), "the first vCPU's flag is in the shared page again"


def test_a_static_channel_is_there_in_each_life_of_either_side(pair: Pair) -> None:
    first, second = pair.domains
    assert static_channel_note(first, 5, second, 6) and static_channel_note(second, 6, first, 5)
    for dies in (0, 1, 1, 0):
        assert not channels_reset(pair.domains[dies])
        assert pair.event(1 - dies, Op.SEND, 6 if dies == 0 else 5) == 0, "lost, and no error"
        static_channels_connect(pair.domains[dies])
        assert pair.bit(dies, 48, 5 if dies == 0 else 6), "it is told of what was lost"
        for sender, port, other in ((0, 5, 6), (1, 6, 5)):
            pair.store_pending(1 - sender, other, False)
            assert pair.event(sender, Op.SEND, port) == 0 and pair.bit(1 - sender, 48, other)


def test_a_static_end_that_its_domain_closed_stays_closed_until_that_domain_begins_anew(pair: Pair) -> None:
    first, second = pair.domains
    assert static_channel_note(first, 5, second, 6) and static_channel_note(second, 6, first, 5)
    assert pair.event(1, Op.CLOSE, 6) == 0
    assert not channels_reset(first)
    static_channels_connect(first)
    assert channel_port(first, 5).STATE == PortState.UNBOUND and channel_port(second, 6).STATE == PortState.CLOSED
    assert not channels_reset(second)
    static_channels_connect(second)
    assert channel_port(first, 5).STATE == channel_port(second, 6).STATE == PortState.INTERDOMAIN


def test_a_domain_that_has_ended_is_nobody(pair: Pair) -> None:
    _, there = connect(pair)
    free = memory_free()
    channels_release(pair.domains[0])
    assert memory_free() == free + PAGE_SIZE
    assert pair.event(1, Op.SEND, there) == 0
    assert pair.event(1, Op.STATUS, 1, 1, 0, 0, 0, 0) == errno("ESRCH")
    assert not DOMAINS[0].channels.on


def test_a_vcpu_that_starts_hears_of_what_came_before(pair: Pair) -> None:
    """PPI 31 was forgotten with the rest of the interrupts while the flag in memory stayed: no upcall would ever have come again."""
    _, there = connect(pair)
    assert pair.event(1, Op.SEND, there) == 0
    upcalls(pair, 0)
    pair.caller(0)
    vgicd_write(pair.domains[0], pair.m.vcpus[0], Gicd.CTLR, 1)
    channels_vcpu_starts(pair.m.vcpus[0])
    assert upcalls(pair, 0)


@pytest.mark.parametrize("ec", [Ec.DATA_ABORT_LOWER, Ec.INSTRUCTION_ABORT_LOWER])
@pytest.mark.parametrize("mapped", [True, False])
def test_a_fault_at_an_entry_that_was_just_exchanged_is_tried_again(pair: Pair, ec: int, mapped: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another vCPU shows the shared page: the mapping that it splits is invalid for a moment, and may be that of this vCPU's code."""
    said: list[object] = []
    monkeypatch.setattr(log, "terminal_say", said.append)
    frame = FRAME + 5 if mapped else FRAME + RAM_SIZE // PAGE_SIZE
    MODEL.update(esr_el2=ec << 26 | 1 << 25 | 6, hpfar_el2=frame << 4, far_el2=0x1238, elr_el2=0x4000_1000, spsr_el2=PSR_RESET, vbar_el1=0x8000)
    v = pair.caller(0)
    assert trap_sync(v) != 0
    trap_full(v)
    assert MODEL["elr_el2"] == (0x4000_1000 if mapped else 0x8200)
    for name in ("esr_el2", "hpfar_el2", "far_el2", "elr_el2", "spsr_el2", "vbar_el1"):
        MODEL.pop(name)
