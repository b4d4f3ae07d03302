"""A list of hypercalls, with what each gives: printed, so that two hypervisors can be compared line by line.

Domain 1 makes them, domain 2 only has to be there. Left out is what Xen has and xenarm has not: reset, priorities, the FIFO interface.
"""

from __future__ import annotations

from freestanding import Struct, View, fn, i64, offset_of, table, truncate, u8, u32, u64
from guests.notify.channels import ARGUMENT, argument_address, info_frame, port_consume, shared_frame, upcall_wait
from guests.runtime.console import printk
from guests.runtime.gic import gic_enable
from guests.runtime.hypercall import xen_hypercall
from xenarm.abi.event_channel import EventChannelOp as Op
from xenarm.abi.hypercall import DOMID_SELF, HvmOp, HvmParamIndex, Hypercall, MemoryOp, VcpuOp, XenVersion
from xenarm.abi.layout import GUEST_EVTCHN_PPI

__all__ = ["conform"]

OTHER, NOBODY = 2, 77
BEYOND = 5000
NOWHERE = 0x10_0000_0000  # no memory of a guest's
SHARED, INFO = 0xFFFF_0001, 0xFFFF_0002  # in a word: the frame of one of the guest's own pages
THIRD, SECOND = 1, 2
VNODES = 1 << 13  # XENFEAT_memory_op_vnode_supported: what it is for is not there


class Call(Struct, frozen=True):
    """A hypercall: its arguments, ARGUMENT's words, and where ARGUMENT's address goes. `shown` words of it are printed after success."""

    number: u64
    command: u64
    second: u64
    place: u32
    shown: u32
    a: u32
    b: u32
    c: u32
    d: u32
    e: u32
    f: u32


def call(number: int, command: int, *words: int, shown: int = 0, second: int = 0, place: int = SECOND) -> Call:
    a, b, c, d, e, f = (*words, *(0,) * (6 - len(words)))
    return Call(number, command, second, place, shown, a, b, c, d, e, f)


def event(command: int, *words: int, shown: int = 0) -> Call:
    return call(Hypercall.EVENT_CHANNEL_OP, command, *words, shown=shown)


def alloc(dom: int, remote: int) -> Call:
    return event(Op.ALLOC_UNBOUND, dom | remote << 16, shown=2)


def status(dom: int, port: int) -> Call:
    return event(Op.STATUS, dom, port, shown=6)


def interdomain(remote: int, port: int) -> Call:
    return event(Op.BIND_INTERDOMAIN, remote, port, shown=3)


def physmap(dom: int, space: int, idx: int, frame: int, high: int = 0) -> Call:
    return call(Hypercall.MEMORY_OP, MemoryOp.ADD_TO_PHYSMAP, dom, space, idx, 0, frame, high)


def info(vcpu: int, frame: int, offset: int, command: int = VcpuOp.REGISTER_VCPU_INFO) -> Call:
    return call(Hypercall.VCPU_OP, command, frame, 0, offset, second=vcpu, place=THIRD)


def param(command: int, dom: int, index: int, shown: int = 0) -> Call:
    return call(Hypercall.HVM_OP, command, dom, index, shown=shown)


SELF = DOMID_SELF
CALLS = table(
    Call,
    [
        call(Hypercall.XEN_VERSION, XenVersion.VERSION),
        call(Hypercall.XEN_VERSION, XenVersion.GET_FEATURES, 1),
        call(Hypercall.XEN_VERSION, XenVersion.PAGESIZE, place=0),
        call(Hypercall.XEN_VERSION, XenVersion.PAGESIZE),
        call(Hypercall.XEN_VERSION, 99),
        call(63, 0),
        call(1000, 0),
        event(99),
        # allocating: for itself, and with itself alone
        alloc(SELF, SELF), alloc(1, 1), alloc(SELF, OTHER), alloc(OTHER, SELF), alloc(NOBODY, SELF), alloc(0x7FF1, SELF), alloc(SELF, NOBODY),
        status(SELF, 0), status(SELF, 1), status(1, 2), status(SELF, 3), status(SELF, 63), status(SELF, 64), status(SELF, BEYOND),
        status(OTHER, 1), status(OTHER, BEYOND), status(NOBODY, 1),
        # connecting a loop: ports 3 and 4
        interdomain(SELF, 3), interdomain(SELF, 40), interdomain(SELF, BEYOND), interdomain(OTHER, 1), interdomain(NOBODY, 1),
        alloc(SELF, SELF), interdomain(SELF, 3), interdomain(SELF, 3), status(SELF, 3), status(SELF, 4),
        event(Op.SEND, 3), event(Op.SEND, 1), event(Op.SEND, 0), event(Op.SEND, 50), event(Op.SEND, BEYOND),
        # other sources: ports 5 and 6
        event(Op.BIND_IPI, 0, shown=2), event(Op.BIND_IPI, 9), status(SELF, 5), event(Op.SEND, 5),
        event(Op.BIND_VIRQ, 24, 0), event(Op.BIND_VIRQ, 0, 0, shown=3), event(Op.BIND_VIRQ, 0, 0), event(Op.BIND_VIRQ, 0, 9),
        event(Op.BIND_VIRQ, 3, 1), event(Op.BIND_VIRQ, 0xFFFF_FFFF, 0), status(SELF, 6), event(Op.SEND, 6),
        event(Op.BIND_VCPU, 1, 0), event(Op.BIND_VCPU, 3, 0), event(Op.BIND_VCPU, 5, 0), event(Op.BIND_VCPU, 6, 0), event(Op.BIND_VCPU, 50, 0),
        event(Op.BIND_VCPU, 0, 0), event(Op.BIND_VCPU, BEYOND, 0), event(Op.BIND_VCPU, 1, 9),
        event(Op.UNMASK, 1), event(Op.UNMASK, 0), event(Op.UNMASK, BEYOND),
        # closing: the other end waits again, ports are used anew
        event(Op.CLOSE, 4), status(SELF, 3), status(SELF, 4), event(Op.CLOSE, 4), event(Op.CLOSE, 0), event(Op.CLOSE, BEYOND), event(Op.SEND, 3),
        interdomain(SELF, 3), event(Op.CLOSE, 6), event(Op.BIND_VIRQ, 0, 0, shown=3), event(Op.CLOSE, 1), alloc(SELF, SELF),
        # arguments that are not the guest's
        call(Hypercall.EVENT_CHANNEL_OP, Op.SEND, second=NOWHERE, place=0), call(Hypercall.EVENT_CHANNEL_OP, Op.STATUS, second=0, place=0),
        call(Hypercall.EVENT_CHANNEL_OP, Op.CLOSE, second=0x0300_1000, place=0),
        call(Hypercall.MEMORY_OP, MemoryOp.ADD_TO_PHYSMAP, second=NOWHERE, place=0),
        call(Hypercall.HVM_OP, HvmOp.GET_PARAM, second=NOWHERE, place=0), call(Hypercall.XEN_VERSION, XenVersion.GET_FEATURES, second=NOWHERE, place=0),
        # the shared page, and a vCPU's own
        physmap(NOBODY, 0, 0, SHARED), physmap(OTHER, 0, 0, SHARED), physmap(SELF, 0, 1, SHARED), physmap(SELF, 99, 0, SHARED),
        physmap(SELF, 0, 0, 0xFFFF_FFFF, 0xFFFF_FFFF), physmap(SELF, 0, 0, SHARED), physmap(SELF, 0, 0, SHARED), physmap(SELF, 0, 0, INFO),
        info(0, INFO, 4090), info(0, INFO, 4), info(0, 0x1234_5678, 0), info(9, INFO, 0), info(0, INFO, 0, 99),
        info(0, INFO, 0), info(0, INFO, 64),
        param(HvmOp.GET_PARAM, SELF, HvmParamIndex.STORE_PFN, 4), param(HvmOp.GET_PARAM, SELF, HvmParamIndex.CONSOLE_EVTCHN, 4),
        param(HvmOp.GET_PARAM, SELF, 3), param(HvmOp.GET_PARAM, SELF, 999), param(HvmOp.GET_PARAM, SELF, HvmParamIndex.MONITOR_RING_PFN),
        param(HvmOp.GET_PARAM, OTHER, 1), param(HvmOp.GET_PARAM, NOBODY, 1), param(HvmOp.SET_PARAM, SELF, HvmParamIndex.CALLBACK_IRQ),
        param(HvmOp.SET_PARAM, SELF, 3), param(HvmOp.SET_PARAM, OTHER, 1), param(99, SELF, 0),
    ],
)  # fmt: skip


@fn
def own_frame(word: u32) -> u32:
    if word == SHARED:
        return u32(shared_frame())
    return u32(info_frame()) if word == INFO else word


@fn
def make(c: Call) -> u64:
    ARGUMENT.words[0] = own_frame(c.a)
    ARGUMENT.words[1] = c.b
    ARGUMENT.words[2] = c.c
    ARGUMENT.words[3] = c.d
    ARGUMENT.words[4] = own_frame(c.e)
    ARGUMENT.words[5] = c.f
    second = argument_address() if c.place == SECOND else c.second
    third = argument_address() if c.place == THIRD else u64(0)
    return xen_hypercall(c.number, c.command, second, third)


@fn
def show(c: Call, n: u64) -> None:
    result = make(c)
    printk(f"conform {n:d}: call {c.number:d} command {c.command:d} gives {truncate(i64, result):d}")
    if result == 0:
        for i in range(c.shown):
            printk(f"conform {n:d}: word {i:d} is {ARGUMENT.words[i]:#x}")


@fn
def show_features() -> None:
    ARGUMENT.words[0] = 0
    result = xen_hypercall(Hypercall.XEN_VERSION, XenVersion.GET_FEATURES, argument_address(), 0)
    printk(f"conform: features {ARGUMENT.words[1] & ~u32(VNODES):#x} {result:d}")


@fn
def show_pending(when: View[u8]) -> None:
    for port in range(u32(0), u32(10)):
        if port_consume(port):
            printk(f"conform: port {port:d} is pending {when}")


@fn
def show_delivery() -> None:
    """The upcall of what was sent above, and of the loop."""
    gic_enable(GUEST_EVTCHN_PPI)
    upcall_wait()
    show_pending(b"before")
    ARGUMENT.words[0] = 3
    xen_hypercall(Hypercall.EVENT_CHANNEL_OP, Op.SEND, argument_address(), 0)
    upcall_wait()
    show_pending(b"now")


@fn
def conform() -> None:
    show_features()
    for n, c in enumerate(CALLS):
        show(c, u64(n))
    show_delivery()
    printk(f"conform: end")
