"""Xen's hypercalls on ARM (public/arch-arm.h, xen.h, memory.h, vcpu.h, version.h, sched.h, hvm/): `hvc #0xEA1`, the number in x16 or r12, the result in register 0."""

from freestanding import Struct, size_of, u16, u32, u64

__all__ = [
    "AddToPhysmap",
    "DOMID_SELF",
    "FIRST_DOMID",
    "FeatureInfo",
    "HYPERCALL_COUNT",
    "HYPERCALL_TAG",
    "HvmOp",
    "HvmParam",
    "HvmParamIndex",
    "Hypercall",
    "MAPSPACE_SHARED_INFO",
    "MemoryOp",
    "NO_GFN",
    "RegisterVcpuInfo",
    "RemoveFromPhysmap",
    "SchedOp",
    "VcpuOp",
    "XEN_VERSION_NUMBER",
    "XenFeature",
    "XenVersion",
]

HYPERCALL_TAG = 0xEA1
HYPERCALL_COUNT = 64  # numbers below it may mean something
XEN_VERSION_NUMBER = 4 << 16 | 17  # the release whose interface this follows

DOMID_SELF = 0x7FF0
FIRST_DOMID = 1  # as under Xen, where 0 is dom0's: domains have numbers in the order of their nodes


class Hypercall:
    """Hypercall numbers."""

    MEMORY_OP = 12
    XEN_VERSION = 17
    CONSOLE_IO = 18
    VCPU_OP = 24
    SCHED_OP = 29
    EVENT_CHANNEL_OP = 32
    HVM_OP = 34


class SchedOp:
    """Commands of SCHED_OP."""

    YIELD = 0
    BLOCK = 1
    SHUTDOWN = 2


class XenVersion:
    """Commands of XEN_VERSION."""

    VERSION = 0
    GET_FEATURES = 6
    PAGESIZE = 7


class XenFeature:
    """Bits of XENVER_get_features, submap 0."""

    WRITABLE_PAGE_TABLES = 1 << 0
    AUTO_TRANSLATED_PHYSMAP = 1 << 2
    ARM_SMCCC_SUPPORTED = 1 << 14
    NOT_DIRECT_MAPPED = 1 << 16
    DIRECT_MAPPED = 1 << 17


class FeatureInfo(Struct):
    """struct xen_feature_info."""

    submap_idx: u32
    submap: u32  # out


class MemoryOp:
    """Commands of MEMORY_OP."""

    ADD_TO_PHYSMAP = 7
    REMOVE_FROM_PHYSMAP = 15


MAPSPACE_SHARED_INFO = 0
NO_GFN = 0xFFFF_FFFF_FFFF_FFFF


class AddToPhysmap(Struct):
    """struct xen_add_to_physmap."""

    domid: u16
    size: u16
    space: u32
    idx: u64
    gpfn: u64


class RemoveFromPhysmap(Struct):
    """struct xen_remove_from_physmap."""

    domid: u16
    gpfn: u64


class VcpuOp:
    """Commands of VCPU_OP."""

    REGISTER_VCPU_INFO = 10


class RegisterVcpuInfo(Struct):
    """struct vcpu_register_vcpu_info: `mfn` is a guest's frame."""

    mfn: u64
    offset: u32
    reserved: u32


class HvmOp:
    """Commands of HVM_OP."""

    SET_PARAM = 0
    GET_PARAM = 1


class HvmParamIndex:
    """HVM_PARAM_* that a guest on ARM may read; none may it write. MONITOR_RING_PFN is the toolstack's alone."""

    CALLBACK_IRQ = 0
    STORE_PFN = 1
    STORE_EVTCHN = 2
    CONSOLE_PFN = 17
    CONSOLE_EVTCHN = 18
    MONITOR_RING_PFN = 28

    CALLBACK_BY_PPI = 2 << 56  # CALLBACK_IRQ: type PPI,
    CALLBACK_LEVEL_LOW = 2 << 8  # its trigger, and its number in the low byte


class HvmParam(Struct):
    """struct xen_hvm_param."""

    domid: u16
    pad: u16
    index: u32
    value: u64


assert size_of(AddToPhysmap) == 24 and size_of(RemoveFromPhysmap) == 16
assert size_of(RegisterVcpuInfo) == 16 and size_of(HvmParam) == 16 and size_of(FeatureInfo) == 8
