"""HYPERVISOR_event_channel_op: a table of operations, each with the structure that it is given."""

from collections.abc import Callable

from freestanding import Struct, fn, offset_of, size_of, table, u32, u64, usize, zeroed

from xenarm.abi.errno import Errno
from xenarm.abi.event_channel import (
    VIRQ_COUNT,
    AllocUnbound,
    BindInterdomain,
    BindIpi,
    BindVcpu,
    BindVirq,
    ChannelStatus,
    EventChannelOp,
)
from xenarm.abi.hypercall import DOMID_SELF
from xenarm.config import CONFIG
from xenarm.core.domain import Domain, Vcpu, vcpu_domain
from xenarm.core.event_channel import (
    PortState,
    channel_alloc_unbound,
    channel_bind_ipi,
    channel_bind_loop,
    channel_bind_vcpu,
    channel_bind_virq,
    channel_close,
    channel_port,
    channel_send,
    channel_unmask,
    channel_waits_for,
    channels_on,
    domain_by_domid,
)
from xenarm.core.guest_argument import Argument, argument_read, argument_write, get16, get32, put16, put32

__all__ = ["OPERATIONS", "event_channel_op"]

PORT_SIZE = 4


@fn
def may_connect(d: Domain, other: Domain | None) -> u64:
    """0, or why a guest may not ask for a channel with that domain. Only the device tree connects two domains, as under Xen on ARM (XSM "silo")."""
    if other is None:
        return Errno.ESRCH
    return u64(0) if other is d else u64(Errno.EPERM)


@fn
def alloc_unbound(d: Domain, a: Argument) -> u64:
    """A guest may allocate ports for itself alone."""
    error = may_connect(d, domain_by_domid(d, get16(a, offset_of(AllocUnbound, "dom"))))
    if error == 0:
        error = may_connect(d, domain_by_domid(d, get16(a, offset_of(AllocUnbound, "remote_dom"))))
    if error != 0:
        return error
    error, port = channel_alloc_unbound(d)
    put32(a, offset_of(AllocUnbound, "port"), port)
    return error


@fn
def bind_interdomain(d: Domain, a: Argument) -> u64:
    """With a port of its own. One of another domain that waits for the caller is a static channel's."""
    other = domain_by_domid(d, get16(a, offset_of(BindInterdomain, "remote_dom")))
    remote_port = get32(a, offset_of(BindInterdomain, "remote_port"))
    if other is None:
        return Errno.ESRCH
    if other is not d:
        return Errno.EPERM if channel_waits_for(other, remote_port, d) else u64(Errno.EINVAL)
    error, port = channel_bind_loop(d, remote_port)
    put32(a, offset_of(BindInterdomain, "local_port"), port)
    return error


@fn
def bind_virq(d: Domain, a: Argument) -> u64:
    virq = get32(a, offset_of(BindVirq, "virq"))
    if virq >= VIRQ_COUNT:
        return Errno.EINVAL
    error, port = channel_bind_virq(d, virq, get32(a, offset_of(BindVirq, "vcpu")))
    put32(a, offset_of(BindVirq, "port"), port)
    return error


@fn
def bind_ipi(d: Domain, a: Argument) -> u64:
    error, port = channel_bind_ipi(d, get32(a, offset_of(BindIpi, "vcpu")))
    put32(a, offset_of(BindIpi, "port"), port)
    return error


@fn
def close(d: Domain, a: Argument) -> u64:
    return channel_close(d, get32(a, 0))


@fn
def send(d: Domain, a: Argument) -> u64:
    return channel_send(d, get32(a, 0))


@fn
def unmask(d: Domain, a: Argument) -> u64:
    return channel_unmask(d, get32(a, 0))


@fn
def bind_vcpu(d: Domain, a: Argument) -> u64:
    return channel_bind_vcpu(d, get32(a, offset_of(BindVcpu, "port")), get32(a, offset_of(BindVcpu, "vcpu")))


@fn
def status(d: Domain, a: Argument) -> u64:
    """Of the caller's own ports alone."""
    owner = domain_by_domid(d, get16(a, offset_of(ChannelStatus, "dom")))
    port = get32(a, offset_of(ChannelStatus, "port"))
    if owner is None:
        return Errno.ESRCH
    if port >= CONFIG.EVENT_CHANNELS_PER_DOMAIN:
        return Errno.EINVAL
    if owner is not d:
        return Errno.EPERM
    word = channel_port(d, port)
    put32(a, offset_of(ChannelStatus, "status"), u32(word.STATE))
    put32(a, offset_of(ChannelStatus, "vcpu"), word.VCPU)
    match word.STATE:
        case PortState.UNBOUND:
            put16(a, offset_of(ChannelStatus, "peer_dom"), word.DOM)
        case PortState.INTERDOMAIN:
            put16(a, offset_of(ChannelStatus, "peer_dom"), word.DOM)
            put32(a, offset_of(ChannelStatus, "peer"), word.PEER)
        case PortState.VIRQ:
            put32(a, offset_of(ChannelStatus, "peer_dom"), word.PEER)
        case PortState.CLOSED | PortState.IPI:
            pass
    return 0


class Operation(Struct, frozen=True):
    """`size` of the argument, 0 when there is no such operation; `writes`: it is written back after success."""

    size: usize
    writes: bool
    run: Callable[[Domain, Argument], u64]


BY_COMMAND: dict[int, Operation] = {
    EventChannelOp.BIND_INTERDOMAIN: Operation(size_of(BindInterdomain), True, bind_interdomain),
    EventChannelOp.BIND_VIRQ: Operation(size_of(BindVirq), True, bind_virq),
    EventChannelOp.CLOSE: Operation(PORT_SIZE, False, close),
    EventChannelOp.SEND: Operation(PORT_SIZE, False, send),
    EventChannelOp.STATUS: Operation(size_of(ChannelStatus), True, status),
    EventChannelOp.ALLOC_UNBOUND: Operation(size_of(AllocUnbound), True, alloc_unbound),
    EventChannelOp.BIND_IPI: Operation(size_of(BindIpi), True, bind_ipi),
    EventChannelOp.BIND_VCPU: Operation(size_of(BindVcpu), False, bind_vcpu),
    EventChannelOp.UNMASK: Operation(PORT_SIZE, False, unmask),
}
ABSENT = Operation(0, False, send)
OPERATIONS = table(Operation, [BY_COMMAND.get(command, ABSENT) for command in range(max(BY_COMMAND) + 1)])


@fn
def event_channel_op(v: Vcpu, command: u64, address: u64, c: u64) -> u64:
    """Nothing changes unless the argument can be read, and written where there is a result."""
    d = vcpu_domain(v)
    if not channels_on(d) or command >= u64(len(OPERATIONS)):
        return Errno.ENOSYS
    operation = OPERATIONS[command]
    if operation.size == 0:
        return Errno.ENOSYS
    a = zeroed(Argument)
    if not argument_read(v, address, operation.size, operation.writes, a):
        return Errno.EFAULT
    result = operation.run(d, a)
    if result == 0 and operation.writes:
        argument_write(a)
    return result
