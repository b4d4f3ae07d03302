"""A guest's side of event channels: arguments, the shared page, its own vcpu_info, and waiting for an upcall."""

from freestanding import Array, Atomic, Ptr, Struct, address_of, array, atomic, fn, linker_symbol, offset_of, place, u8, u32, u64, usize, zeroed
from guests.runtime.gic import gic_acknowledge, gic_enable, gic_end, intid_of
from guests.runtime.hypercall import xen_hypercall
from guests.runtime.machine import MACHINE
from xenarm.abi.event_channel import EventChannelOp, SharedInfo, VcpuInfo
from xenarm.abi.hypercall import DOMID_SELF, Hypercall, MemoryOp, VcpuOp
from xenarm.abi.layout import GUEST_EVTCHN_PPI
from xenarm.arm.instructions import data_memory_barrier, data_sync_all, wait_for_interrupt

__all__ = ["ARGUMENT", "argument_address", "channels_init", "event_op", "info_frame", "port_consume", "port_send", "shared_frame", "upcall_wait"]

MAPS_MEMORY = True

IMAGE_START = linker_symbol("__image_start")
PAGE_SIZE = 4096
WORDS = 6


class Page(Struct):
    bytes: Array[u8] = array(u8, PAGE_SIZE)


class Words(Struct):
    """An argument: six words, in one page."""

    words: Array[u32] = array(u32, WORDS)
    rest: Array[u32] = array(u32, 2)


class Word(Struct):
    value: Atomic[u64] = atomic(u64)


SHARED_PAGE = place(zeroed(Page), align=PAGE_SIZE)
INFO_PAGE = place(zeroed(Page), align=PAGE_SIZE)
ARGUMENT = place(zeroed(Words), align=32)


@fn
def frame_of(address: usize) -> u64:
    """The frame number of a page of the image."""
    return (MACHINE.image + u64(address - IMAGE_START)) // PAGE_SIZE


@fn
def argument_address() -> u64:
    return u64(address_of(ARGUMENT))


@fn
def words_call(number: u64, command: u64) -> u64:
    """A hypercall of two arguments, the second ARGUMENT's address."""
    return xen_hypercall(number, command, argument_address(), 0)


@fn
def event_op(command: u64) -> u64:
    return words_call(Hypercall.EVENT_CHANNEL_OP, command)


@fn
def shared_frame() -> u64:
    return frame_of(address_of(SHARED_PAGE))


@fn
def info_frame() -> u64:
    return frame_of(address_of(INFO_PAGE))


@fn
def show_shared_page() -> u64:
    ARGUMENT.words[0] = DOMID_SELF
    ARGUMENT.words[1] = 0
    ARGUMENT.words[2] = 0
    ARGUMENT.words[3] = 0
    ARGUMENT.words[4] = u32(shared_frame())
    ARGUMENT.words[5] = 0
    return words_call(Hypercall.MEMORY_OP, MemoryOp.ADD_TO_PHYSMAP)


@fn
def register_info() -> u64:
    ARGUMENT.words[0] = u32(info_frame())
    ARGUMENT.words[1] = 0
    ARGUMENT.words[2] = 0
    ARGUMENT.words[3] = 0
    return xen_hypercall(Hypercall.VCPU_OP, VcpuOp.REGISTER_VCPU_INFO, 0, argument_address())


@fn
def channels_init() -> u64:
    """Find the shared page and let the upcall through; 0, or the hypercall's error."""
    error = show_shared_page()
    if error == 0:
        error = register_info()
    gic_enable(GUEST_EVTCHN_PPI)
    return error


@fn
def port_send(port: u32) -> u64:
    ARGUMENT.words[0] = port
    return event_op(EventChannelOp.SEND)


@fn
def clear_bits(address: u64, mask: u64) -> u64:
    """Clear bits that the hypervisor sets; what was set of them."""
    return Ptr[Word](usize(address)).ref().value.fetch_and(~mask) & mask


@fn
def upcall_take() -> None:
    """Acknowledge the upcall: the flag first, then what it was for."""
    info = u64(address_of(INFO_PAGE))
    clear_bits(info, 1)
    data_memory_barrier()
    clear_bits(info + u64(offset_of(VcpuInfo, "pending_sel")), 0xFFFF_FFFF_FFFF_FFFF)
    data_memory_barrier()


@fn
def port_consume(port: u32) -> bool:
    """Whether the port was pending; it no longer is."""
    at = u64(address_of(SHARED_PAGE)) + u64(offset_of(SharedInfo, "pending")) + u64(port >> 6) * 8
    return clear_bits(at, u64(1) << (port & 63)) != 0


@fn
def upcall_wait() -> None:
    """Sleep until PPI 31 comes, with interrupts masked: it is taken by reading GICC_IAR."""
    while True:
        wait_for_interrupt()
        iar = gic_acknowledge()
        real, intid = intid_of(iar)
        if real and intid == GUEST_EVTCHN_PPI:
            upcall_take()
            gic_end(iar)
            data_sync_all()
            return
        if real:
            gic_end(iar)
