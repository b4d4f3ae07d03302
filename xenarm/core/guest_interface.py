"""The hypercalls by which a Xen-aware guest finds its event channels: MEMORY_OP, VCPU_OP, HVM_OP, and what XEN_VERSION tells.

The upcall is fixed: PPI 31, as on ARM's Xen. Domains without event channels have none of these.
"""

from freestanding import fn, offset_of, size_of, u32, u64, zeroed

from xenarm.abi.errno import Errno
from xenarm.abi.hypercall import (
    MAPSPACE_SHARED_INFO,
    NO_GFN,
    XEN_VERSION_NUMBER,
    AddToPhysmap,
    FeatureInfo,
    HvmOp,
    HvmParam,
    HvmParamIndex,
    MemoryOp,
    RegisterVcpuInfo,
    RemoveFromPhysmap,
    VcpuOp,
    XenFeature,
    XenVersion,
)
from xenarm.abi.layout import GUEST_EVTCHN_PPI
from xenarm.core.addresses import PAGE_SHIFT, PAGE_SIZE
from xenarm.core.domain import Domain, Vcpu, vcpu_domain
from xenarm.core.event_channel import channels_on, domain_by_domid, vcpu_info_register
from xenarm.core.guest_argument import Argument, argument_read, argument_write, get16, get32, get64, put32, put64
from xenarm.core.guest_memory import guest_memory_is_direct
from xenarm.core.result import Result
from xenarm.core.shared_info import shared_info_hide, shared_info_show

__all__ = ["hvm_op", "memory_op", "vcpu_op", "version_op"]

FEATURES = XenFeature.WRITABLE_PAGE_TABLES | XenFeature.AUTO_TRANSLATED_PHYSMAP | XenFeature.ARM_SMCCC_SUPPORTED
CALLBACK = HvmParamIndex.CALLBACK_BY_PPI | HvmParamIndex.CALLBACK_LEVEL_LOW | GUEST_EVTCHN_PPI


@fn
def own_domain(d: Domain, domid: u32) -> u64:
    """0 when a domid is the caller's own; otherwise the error: a guest has no say about others."""
    named = domain_by_domid(d, domid)
    if named is None:
        return Errno.ESRCH
    return u64(0) if named is d else u64(Errno.EPERM)


@fn
def errno_of(result: Result) -> u64:
    match result:
        case Result.OK:
            return 0
        case Result.BUSY:
            return Errno.EBUSY
        case Result.NO_MEMORY:
            return Errno.ENOMEM
        case Result.INVALID | Result.NOT_FOUND | Result.DENIED:
            return Errno.EINVAL


@fn
def frame_address(gfn: u64) -> u64:
    """Where a guest's frame begins; one that nothing can have for a number that is none."""
    return gfn << PAGE_SHIFT if gfn < NO_GFN >> PAGE_SHIFT else u64(NO_GFN)


@fn
def add_to_physmap(d: Domain, a: Argument) -> u64:
    """XENMEM_add_to_physmap of the shared page."""
    error = own_domain(d, get16(a, offset_of(AddToPhysmap, "domid")))
    if error != 0:
        return error
    if get32(a, offset_of(AddToPhysmap, "space")) != MAPSPACE_SHARED_INFO:
        return Errno.ENOSYS
    if get64(a, offset_of(AddToPhysmap, "idx")) != 0:
        return Errno.EINVAL
    return errno_of(shared_info_show(d, frame_address(get64(a, offset_of(AddToPhysmap, "gpfn")))))


@fn
def remove_from_physmap(d: Domain, a: Argument) -> u64:
    """XENMEM_remove_from_physmap of the shared page: the RAM that was there before is there again. RAM itself cannot be given back."""
    error = own_domain(d, get16(a, offset_of(RemoveFromPhysmap, "domid")))
    if error != 0:
        return error
    return errno_of(shared_info_hide(d, frame_address(get64(a, offset_of(RemoveFromPhysmap, "gpfn")))))


@fn
def memory_op(v: Vcpu, command: u64, address: u64, c: u64) -> u64:
    d = vcpu_domain(v)
    adds = command == MemoryOp.ADD_TO_PHYSMAP
    if not channels_on(d) or not (adds or command == MemoryOp.REMOVE_FROM_PHYSMAP):
        return Errno.ENOSYS
    a = zeroed(Argument)
    if not argument_read(v, address, size_of(AddToPhysmap) if adds else size_of(RemoveFromPhysmap), False, a):
        return Errno.EFAULT
    return add_to_physmap(d, a) if adds else remove_from_physmap(d, a)


@fn
def vcpu_op(v: Vcpu, command: u64, vcpu: u64, address: u64) -> u64:
    d = vcpu_domain(v)
    if not channels_on(d):
        return Errno.ENOSYS
    if vcpu >= u64(d.vcpu_count):
        return Errno.ENOENT
    target = d.vcpus[vcpu]
    if command != VcpuOp.REGISTER_VCPU_INFO or target is None:
        return Errno.EINVAL
    a = zeroed(Argument)
    if not argument_read(v, address, size_of(RegisterVcpuInfo), False, a):
        return Errno.EFAULT
    return vcpu_info_register(v, target, d, get64(a, offset_of(RegisterVcpuInfo, "mfn")), get32(a, offset_of(RegisterVcpuInfo, "offset")))


@fn
def get_param(index: u32) -> tuple[u64, u64]:
    """(error, value). There is no xenstore and no paravirtual console: those are 0."""
    if index == HvmParamIndex.CALLBACK_IRQ:
        return 0, CALLBACK
    if index <= HvmParamIndex.STORE_EVTCHN or index == HvmParamIndex.CONSOLE_PFN or index == HvmParamIndex.CONSOLE_EVTCHN:
        return 0, 0
    return Errno.EPERM if index == HvmParamIndex.MONITOR_RING_PFN else u64(Errno.EINVAL), 0


@fn
def hvm_op(v: Vcpu, command: u64, address: u64, c: u64) -> u64:
    """All parameters are the hypervisor's to set."""
    d = vcpu_domain(v)
    if not channels_on(d) or command > HvmOp.GET_PARAM:
        return Errno.ENOSYS
    a = zeroed(Argument)
    gets = command == HvmOp.GET_PARAM
    if not argument_read(v, address, size_of(HvmParam), gets, a):
        return Errno.EFAULT
    error = own_domain(d, get16(a, offset_of(HvmParam, "domid")))
    if error != 0:
        return error
    error, value = get_param(get32(a, offset_of(HvmParam, "index")))
    if gets and error == 0:
        put64(a, offset_of(HvmParam, "value"), value)
        argument_write(a)
    return error if gets or error != 0 else u64(Errno.EPERM)


@fn
def get_features(v: Vcpu, address: u64) -> u64:
    a = zeroed(Argument)
    if not argument_read(v, address, size_of(FeatureInfo), True, a):
        return Errno.EFAULT
    if get32(a, offset_of(FeatureInfo, "submap_idx")) != 0:
        return Errno.EINVAL
    mapped = u32(XenFeature.DIRECT_MAPPED) if guest_memory_is_direct(vcpu_domain(v)) else u32(XenFeature.NOT_DIRECT_MAPPED)
    put32(a, offset_of(FeatureInfo, "submap"), FEATURES | mapped)
    argument_write(a)
    return 0


@fn
def version_op(v: Vcpu, command: u64, address: u64, c: u64) -> u64:
    match command:
        case XenVersion.VERSION:
            return XEN_VERSION_NUMBER
        case XenVersion.GET_FEATURES:
            return get_features(v, address)
        case XenVersion.PAGESIZE:
            return u64(PAGE_SIZE) if address == 0 else u64(Errno.EINVAL)
        case _:
            return Errno.ENOSYS
