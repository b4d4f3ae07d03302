"""Event channels: Xen's two-level ABI (public/event_channel.h). Each port has a word of state here, and two bits in the page that its domain shares.

Lock order: TOPOLOGY, then one domain's lock. Whoever changes a port's word holds both; a sender takes the receiver's alone, for a few dozen
instructions, and reads its own word without one: that the receiver's word names the sender's port proves that the channel is there.
The upcall is raised after the lock is released. A domain that begins anew or ends closes its ports first, under its lock.
"""

from freestanding import Bits, IntEnum, Struct, bits, fn, offset_of, size_of, truncate, u8, u32, u64, zeroed

from xenarm.abi.errno import Errno
from xenarm.abi.event_channel import VIRQS_OF_VCPUS, SharedInfo, VcpuInfo
from xenarm.abi.hypercall import DOMID_SELF, FIRST_DOMID
from xenarm.abi.layout import GUEST_EVTCHN_PPI
from xenarm.arch import guest_byte_read, guest_word_clear, guest_word_read, guest_word_set, guest_word_write
from xenarm.config import CONFIG
from xenarm.core.addresses import PAGE_SIZE
from xenarm.core.domain import DOMAINS, MAX_DOMAINS, Domain, Power, Vcpu, vcpu_domain
from xenarm.core.records import PORTS
from xenarm.core.result import Result
from xenarm.core.shared_info import shared_info_at, shared_info_create, shared_info_release, shared_info_reset
from xenarm.core.spinlock import Spinlock
from xenarm.gic.vgic import vgic_raise_own, vgic_raise_ppi

__all__ = [
    "Port",
    "PortState",
    "channel_alloc_unbound",
    "channel_bind_ipi",
    "channel_bind_loop",
    "channel_bind_vcpu",
    "channel_bind_virq",
    "channel_close",
    "channel_connect",
    "channel_port",
    "channel_send",
    "channel_unmask",
    "channel_waits_for",
    "channels_create",
    "channels_on",
    "channels_release",
    "channels_reset",
    "channels_used",
    "channels_vcpu_starts",
    "domain_by_domid",
    "domid_of",
    "notify",
    "vcpu_info_register",
]

PENDING = offset_of(SharedInfo, "pending")
MASK = offset_of(SharedInfo, "mask")
SELECTOR = offset_of(VcpuInfo, "pending_sel")
INFO_SIZE = size_of(VcpuInfo)
UPCALL = 1  # bit 0 of `upcall_pending`, the first byte of a vcpu_info
EVERYTHING = 0xFFFF_FFFF_FFFF_FFFF
NO_PORT = 0  # port 0 is nobody's

assert 2 <= PORTS <= 4096, "the two-level ABI has 4096 ports"
assert INFO_SIZE % 8 == 0


class PortState(IntEnum, type=u8):
    """CLOSED -> UNBOUND -> INTERDOMAIN -> UNBOUND (the other end was closed) -> CLOSED; CLOSED -> VIRQ or IPI -> CLOSED. The values are EVTCHNSTAT_*."""

    CLOSED = 0
    UNBOUND = 1
    INTERDOMAIN = 2
    VIRQ = 4
    IPI = 5


class Port(Bits, type=u64):
    """A port's word: its state, whom it notifies, and the other end: domid and port (of a VIRQ its number)."""

    STATE: PortState = bits(7, 0)
    DOM: u32 = bits(31, 16)
    VCPU: u32 = bits(47, 32)
    PEER: u32 = bits(63, 48)


class Topology(Struct):
    """Which ports are connected: one lock, since that changes seldom."""

    lock: Spinlock


TOPOLOGY = zeroed(Topology)


# ---- domains and ports ------------------------------------------------------------------------------------------------


@fn
def domid_of(d: Domain) -> u32:
    return d.id + FIRST_DOMID


@fn
def domain_by_domid(caller: Domain, domid: u32) -> Domain | None:
    """A domain that has event channels and has not ended, by the number that guests know it by."""
    if domid == DOMID_SELF:
        return caller
    if domid < FIRST_DOMID or domid >= MAX_DOMAINS + FIRST_DOMID:
        return None
    index = domid - FIRST_DOMID
    return DOMAINS[index] if DOMAINS[index].channels.on else None


@fn
def channels_on(d: Domain) -> bool:
    return d.channels.on


@fn
def channels_used() -> bool:
    """Whether some domain has event channels: what only they need stays."""
    for i in range(MAX_DOMAINS):
        if channels_on(DOMAINS[i]):
            return True
    return False


@fn(inline=True)
def channel_port(d: Domain, port: u32) -> Port:
    """A port's word; CLOSED beyond the last."""
    if port >= PORTS:
        return Port.from_raw(0)
    return Port.from_raw(d.channels.ports[port].word.load())


@fn
def write_port(d: Domain, port: u32, value: Port) -> None:
    """With TOPOLOGY held."""
    c = d.channels
    with c.lock:
        c.ports[port].word.store(value.raw)


@fn
def free_port(d: Domain) -> u32:
    """The lowest closed port, NO_PORT when all are in use. With TOPOLOGY held."""
    for port in range(u32(1), u32(PORTS)):
        if channel_port(d, port).STATE == PortState.CLOSED:
            return port
    return NO_PORT


# ---- delivery: the receiver's lock is held ------------------------------------------------------------------------------


@fn(inline=True)
def info_of(d: Domain, vcpu: u32) -> u64:
    """The machine address of a vCPU's vcpu_info; 0: it has none."""
    v = d.vcpus[vcpu]
    return v.info if v is not None else u64(0)


@fn
def mark_pending(d: Domain, vcpu: u32) -> Vcpu | None:
    """Set the upcall flag; whoever must be interrupted for that."""
    if guest_word_set(info_of(d, vcpu), UPCALL):
        return None
    return d.vcpus[vcpu]


@fn
def select(d: Domain, vcpu: u32, port: u32) -> Vcpu | None:
    info = info_of(d, vcpu)
    if info == 0 or guest_word_set(info + SELECTOR, u64(1) << (port >> 6)):
        return None
    return mark_pending(d, vcpu)


@fn
def set_pending(d: Domain, port: u32, vcpu: u32) -> Vcpu | None:
    """PENDING, MASK, the selector, the upcall flag: in that order, each seen before the next is looked at."""
    page = d.shared_page.page
    word = u64(port >> 6) * 8
    bit = u64(1) << (port & 63)
    if guest_word_set(page + PENDING + word, bit) or guest_word_read(page + MASK + word) & bit != 0:
        return None
    return select(d, vcpu, port)


@fn
def upcall(v: Vcpu | None) -> None:
    if v is not None:
        vgic_raise_ppi(v, GUEST_EVTCHN_PPI)


@fn
def notify(d: Domain, port: u32, expected: Port) -> None:
    """Set a port pending, if its word is as expected but for the vCPU that it notifies."""
    upcall(notified(d, port, expected))


@fn
def notified(d: Domain, port: u32, expected: Port) -> Vcpu | None:
    with d.channels.lock:
        now = channel_port(d, port)
        if now.replace(VCPU=0).raw != expected.raw:
            return None
        return set_pending(d, port, now.VCPU)


@fn
def channel_send(d: Domain, port: u32) -> u64:
    """EVTCHNOP_send. To an end that nobody has bound yet, or whose domain is about to begin anew: sent, and lost."""
    word = channel_port(d, port)
    match word.STATE:
        case PortState.INTERDOMAIN:
            notify(DOMAINS[word.DOM - FIRST_DOMID], word.PEER, Port(STATE=PortState.INTERDOMAIN, VCPU=0, DOM=domid_of(d), PEER=port))
            return 0
        case PortState.IPI:
            notify(d, port, Port(STATE=PortState.IPI, VCPU=0, DOM=0, PEER=0))
            return 0
        case PortState.UNBOUND:
            return 0
        case PortState.CLOSED | PortState.VIRQ:
            return Errno.EINVAL


@fn
def unmasked(d: Domain, port: u32) -> Vcpu | None:
    page = d.shared_page.page
    word = u64(port >> 6) * 8
    bit = u64(1) << (port & 63)
    with d.channels.lock:
        now = channel_port(d, port)
        if now.STATE == PortState.CLOSED or not guest_word_clear(page + MASK + word, bit):
            return None
        if guest_word_read(page + PENDING + word) & bit == 0:
            return None
        return select(d, now.VCPU, port)


@fn
def channel_unmask(d: Domain, port: u32) -> u64:
    """EVTCHNOP_unmask."""
    if port >= PORTS:
        return Errno.EINVAL
    upcall(unmasked(d, port))
    return 0


# ---- connecting and closing ---------------------------------------------------------------------------------------------


@fn
def channel_alloc_unbound(d: Domain) -> tuple[u64, u32]:
    """EVTCHNOP_alloc_unbound of a port that waits for another of its own domain: (error, port)."""
    with TOPOLOGY.lock:
        port = free_port(d)
        if port == NO_PORT:
            return Errno.ENOSPC, 0
        write_port(d, port, unbound(domid_of(d)))
        return 0, port


@fn
def unbound(remote_domid: u32) -> Port:
    return Port(STATE=PortState.UNBOUND, VCPU=0, DOM=remote_domid, PEER=0)


@fn
def channel_waits_for(owner: Domain, port: u32, d: Domain) -> bool:
    """Whether a port of `owner` is to be connected with one of `d`."""
    word = channel_port(owner, port)
    return word.STATE == PortState.UNBOUND and word.DOM == domid_of(d)


@fn
def join(d: Domain, port: u32, other: Domain, other_port: u32) -> None:
    """Connect two ends; `d` is told, since what was sent to it before is lost. With TOPOLOGY held."""
    there = channel_port(other, other_port)
    write_port(other, other_port, Port(STATE=PortState.INTERDOMAIN, VCPU=there.VCPU, DOM=domid_of(d), PEER=port))
    here = Port(STATE=PortState.INTERDOMAIN, VCPU=0, DOM=domid_of(other), PEER=other_port)
    write_port(d, port, here)
    notify(d, port, here)


@fn
def channel_bind_loop(d: Domain, other_port: u32) -> tuple[u64, u32]:
    """EVTCHNOP_bind_interdomain with a port of the same domain: (error, local port)."""
    with TOPOLOGY.lock:
        port = free_port(d)
        if port == NO_PORT:
            return Errno.ENOSPC, 0
        if not channel_waits_for(d, other_port, d):
            return Errno.EINVAL, 0
        join(d, port, d, other_port)
        return 0, port


@fn
def channel_bind_ipi(d: Domain, vcpu: u32) -> tuple[u64, u32]:
    """EVTCHNOP_bind_ipi: (error, port)."""
    if vcpu >= d.vcpu_count:
        return Errno.ENOENT, 0
    with TOPOLOGY.lock:
        port = free_port(d)
        if port == NO_PORT:
            return Errno.ENOSPC, 0
        write_port(d, port, Port(STATE=PortState.IPI, VCPU=vcpu, DOM=0, PEER=0))
        return 0, port


@fn
def is_virq_of_vcpu(virq: u32) -> bool:
    return (u32(VIRQS_OF_VCPUS) >> virq) & 1 != 0


@fn
def is_virq_bound(d: Domain, virq: u32, vcpu: u32) -> bool:
    for port in range(u32(1), u32(PORTS)):
        word = channel_port(d, port)
        if word.STATE == PortState.VIRQ and word.PEER == virq and (word.VCPU == vcpu or not is_virq_of_vcpu(virq)):
            return True
    return False


@fn
def channel_bind_virq(d: Domain, virq: u32, vcpu: u32) -> tuple[u64, u32]:
    """EVTCHNOP_bind_virq: (error, port), for a `virq` below VIRQ_COUNT. Nothing raises one yet."""
    if not is_virq_of_vcpu(virq) and vcpu != 0:
        return Errno.EINVAL, 0
    if vcpu >= d.vcpu_count:
        return Errno.ENOENT, 0
    with TOPOLOGY.lock:
        if is_virq_bound(d, virq, vcpu):
            return Errno.EEXIST, 0
        port = free_port(d)
        if port == NO_PORT:
            return Errno.ENOSPC, 0
        write_port(d, port, Port(STATE=PortState.VIRQ, VCPU=vcpu, DOM=0, PEER=virq))
        return 0, port


@fn
def channel_bind_vcpu(d: Domain, port: u32, vcpu: u32) -> u64:
    """EVTCHNOP_bind_vcpu."""
    if vcpu >= d.vcpu_count:
        return Errno.ENOENT
    with TOPOLOGY.lock:
        word = channel_port(d, port)
        fixed = word.STATE == PortState.IPI or (word.STATE == PortState.VIRQ and is_virq_of_vcpu(word.PEER))
        if word.STATE == PortState.CLOSED or fixed:
            return Errno.EINVAL
        write_port(d, port, word.replace(VCPU=vcpu))
        return 0


@fn
def forget_port(d: Domain, port: u32) -> None:
    """A closed port is not pending any more. With TOPOLOGY held."""
    c = d.channels
    with c.lock:
        c.ports[port].word.store(0)
        _ = guest_word_clear(d.shared_page.page + PENDING + u64(port >> 6) * 8, u64(1) << (port & 63))


@fn
def close(d: Domain, port: u32) -> None:
    """The other end, if there is one, waits for another connection. With TOPOLOGY held."""
    word = channel_port(d, port)
    if word.STATE == PortState.CLOSED:
        return
    forget_port(d, port)
    if word.STATE == PortState.INTERDOMAIN:
        other = DOMAINS[word.DOM - FIRST_DOMID]
        there = channel_port(other, word.PEER)
        if there.STATE == PortState.INTERDOMAIN:
            write_port(other, word.PEER, Port(STATE=PortState.UNBOUND, VCPU=there.VCPU, DOM=domid_of(d), PEER=0))


@fn
def channel_close(d: Domain, port: u32) -> u64:
    """EVTCHNOP_close."""
    with TOPOLOGY.lock:
        if channel_port(d, port).STATE == PortState.CLOSED:
            return Errno.EINVAL
        close(d, port)
        return 0


@fn
def channel_connect(d: Domain, port: u32, other: Domain, other_port: u32) -> None:
    """A static channel: both ends at once, or, where the other end is not waiting, this one, which waits for it."""
    with TOPOLOGY.lock:
        if channel_port(d, port).STATE != PortState.CLOSED:
            return
        if channel_waits_for(other, other_port, d):
            join(d, port, other, other_port)
        else:
            write_port(d, port, unbound(domid_of(other)))


# ---- vcpu_info ----------------------------------------------------------------------------------------------------------


@fn
def copy_info(old: u64, new: u64) -> None:
    """From where a vCPU's vcpu_info was, or zeros."""
    for i in range(u64(INFO_SIZE // 8)):
        guest_word_write(new + i * 8, guest_word_read(old + i * 8) if old != 0 else u64(0))


@fn
def move_info(d: Domain, v: Vcpu, to: u64) -> Vcpu | None:
    """Everything is pending afterwards, lest something is lost on the way."""
    with d.channels.lock:
        copy_info(v.info, to)
        v.info = to
        v.info_registered = True
        guest_word_write(to + SELECTOR, EVERYTHING)
        return mark_pending(d, v.id)


@fn
def vcpu_info_register(caller: Vcpu, target: Vcpu, d: Domain, gfn: u64, offset: u32) -> u64:
    """VCPUOP_register_vcpu_info, once in a vCPU's life: by itself, or while it is off."""
    if u64(offset) > PAGE_SIZE - INFO_SIZE or offset & 7 != 0:
        return Errno.ENXIO
    if target.info_registered or (target is not caller and target.power.load_acquire() != u32(Power.OFF)):
        return Errno.EINVAL
    page = shared_info_at(d, gfn * PAGE_SIZE) if gfn < EVERYTHING // PAGE_SIZE else u64(0)
    if page == 0:
        return Errno.EINVAL
    upcall(move_info(d, target, page + u64(offset)))
    return 0


# ---- the life of a domain -----------------------------------------------------------------------------------------------


@fn
def channels_vcpu_starts(v: Vcpu) -> None:
    """A vCPU has just been turned on, on its own CPU: the upcall may have been asked for before, or in its former life."""
    info = v.info
    if info != 0 and guest_byte_read(info) != 0:
        vgic_raise_own(v, GUEST_EVTCHN_PPI)


@fn
def set_infos(d: Domain, first: u64) -> None:
    """Of all vCPUs only the first has a vcpu_info, at `first` if that is not 0. The receiver's lock is held."""
    for i in range(d.vcpu_count):
        v = d.vcpus[i]
        if v is not None:
            v.info = first if i == 0 else u64(0)
            v.info_registered = False


@fn
def forget_infos(d: Domain) -> None:
    """Only the first vCPU has a vcpu_info from the start, in the shared page."""
    with d.channels.lock:
        set_infos(d, d.shared_page.page)


@fn
def close_all(d: Domain) -> None:
    with TOPOLOGY.lock:
        for port in range(u32(1), u32(PORTS)):
            close(d, port)


@fn
def channels_create(d: Domain) -> Result:
    """Give a domain that is being built event channels. NO_MEMORY: no page to share."""
    result = shared_info_create(d)
    if result == Result.OK:
        forget_infos(d)
        d.channels.on = True
    return result


@fn
def channels_reset(d: Domain) -> bool:
    """All ports closed, nothing pending; whether stage 2 must be made anew, since it shows the page. None of the domain's vCPUs may be on."""
    close_all(d)
    forget_infos(d)
    return shared_info_reset(d)


@fn
def channels_release(d: Domain) -> None:
    """A domain that has ended, or was never built, has none any more. None of its vCPUs may be on."""
    c = d.channels
    if not c.on:
        return
    close_all(d)
    with c.lock:
        c.on = False
        set_infos(d, 0)
    shared_info_release(d)
