"""Event channels as guests know them (Xen's public/event_channel.h, public/xen.h): operations, states, structures, the shared page."""

from freestanding import Array, Struct, array, offset_of, size_of, u8, u16, u32, u64

__all__ = [
    "AllocUnbound",
    "BindInterdomain",
    "BindIpi",
    "BindVcpu",
    "BindVirq",
    "ChannelStatus",
    "EventChannelOp",
    "SharedInfo",
    "VIRQ_COUNT",
    "VIRQS_OF_VCPUS",
    "VcpuInfo",
]


class EventChannelOp:
    """Commands of HYPERVISOR_event_channel_op that are there."""

    BIND_INTERDOMAIN = 0
    BIND_VIRQ = 1
    CLOSE = 3
    SEND = 4
    STATUS = 5
    ALLOC_UNBOUND = 6
    BIND_IPI = 7
    BIND_VCPU = 8
    UNMASK = 9


VIRQ_COUNT = 24
VIRQS_OF_VCPUS = 1 << 0 | 1 << 1 | 1 << 7 | 1 << 13  # TIMER, DEBUG, XENOPROF, XENPMU; the others are of the whole domain


class AllocUnbound(Struct):
    """struct evtchn_alloc_unbound."""

    dom: u16
    remote_dom: u16
    port: u32  # out


class BindInterdomain(Struct):
    """struct evtchn_bind_interdomain."""

    remote_dom: u16
    remote_port: u32
    local_port: u32  # out


class BindVirq(Struct):
    """struct evtchn_bind_virq."""

    virq: u32
    vcpu: u32
    port: u32  # out


class BindIpi(Struct):
    """struct evtchn_bind_ipi."""

    vcpu: u32
    port: u32  # out


class BindVcpu(Struct):
    """struct evtchn_bind_vcpu."""

    port: u32
    vcpu: u32


class ChannelStatus(Struct):
    """struct evtchn_status. `peer_dom` and `peer` are its union: unbound.dom, interdomain.dom and .port; virq lies where `peer_dom` does."""

    dom: u16
    port: u32
    status: u32  # out, as what follows
    vcpu: u32
    peer_dom: u16
    peer: u32


assert size_of(AllocUnbound) == 8 and size_of(BindInterdomain) == 12 and size_of(BindVirq) == 12 and size_of(BindIpi) == 8
assert size_of(ChannelStatus) == 24 and offset_of(ChannelStatus, "peer_dom") == 16 and offset_of(ChannelStatus, "peer") == 20


class VcpuInfo(Struct):
    """struct vcpu_info on ARM. The time is in no use there: guests have the architecture's counter."""

    upcall_pending: u8
    pending_sel: u64  # a bit for each word of SharedInfo.pending
    time: Array[u64] = array(u64, 4)


class SharedInfo(Struct):
    """struct shared_info on ARM, with the two-level ABI's bits for 4096 ports."""

    vcpu_info: VcpuInfo  # the first vCPU's, until it registers one of its own
    pending: Array[u64] = array(u64, 64)
    mask: Array[u64] = array(u64, 64)
    wall_clock: Array[u32] = array(u32, 4)


assert size_of(VcpuInfo) == 48 and offset_of(VcpuInfo, "pending_sel") == 8
assert offset_of(SharedInfo, "pending") == 48 and offset_of(SharedInfo, "mask") == 560 and size_of(SharedInfo) == 1088
