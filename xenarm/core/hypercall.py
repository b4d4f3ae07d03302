"""Xen's hypercalls, by number: a table with a line for each. What is not in it is ENOSYS."""

from collections.abc import Callable

from freestanding import Struct, fn, table, u64

from xenarm.abi.errno import Errno
from xenarm.abi.hypercall import HYPERCALL_COUNT, XEN_VERSION_NUMBER, Hypercall, SchedOp, XenVersion
from xenarm.arm.run import vcpu_wait_for_interrupt, vcpu_yield
from xenarm.config import CONFIG
from xenarm.core.domain import Vcpu, vcpu_domain
from xenarm.core.event_channel import channels_on
from xenarm.core.event_ops import event_channel_op
from xenarm.core.guest_interface import hvm_op, memory_op, vcpu_op, version_op

__all__ = ["HYPERCALLS", "HypercallHandler", "hypercall", "hypercall_aarch32"]

# Given the vCPU that calls, on its own CPU, and x0 to x2; gives what register 0 becomes.
HypercallHandler = Callable[[Vcpu, u64, u64, u64], u64]

AARCH32_NUMBER = 12
NUMBER_REGISTER = 16 if CONFIG.ARM64 else AARCH32_NUMBER
LOW = 0xFFFF_FFFF


class Call(Struct, frozen=True):
    """A hypercall."""

    handler: Callable[[Vcpu, u64, u64, u64], u64]


@fn
def not_implemented(v: Vcpu, a: u64, b: u64, c: u64) -> u64:
    return Errno.ENOSYS


@fn
def sched_op(v: Vcpu, command: u64, argument: u64, c: u64) -> u64:
    if command == SchedOp.YIELD:
        vcpu_yield(v)
        return 0
    if command == SchedOp.BLOCK:
        vcpu_wait_for_interrupt(v)
        return 0
    return Errno.ENOSYS


@fn
def xen_version(v: Vcpu, command: u64, argument: u64, c: u64) -> u64:
    return XEN_VERSION_NUMBER if command == XenVersion.VERSION else u64(Errno.ENOSYS)


BY_NUMBER: dict[int, HypercallHandler] = {
    Hypercall.XEN_VERSION: xen_version,
    Hypercall.SCHED_OP: sched_op,
}
if CONFIG.EVENT_CHANNELS:
    BY_NUMBER |= {
        Hypercall.EVENT_CHANNEL_OP: event_channel_op,
        Hypercall.HVM_OP: hvm_op,
        Hypercall.MEMORY_OP: memory_op,
        Hypercall.VCPU_OP: vcpu_op,
        Hypercall.XEN_VERSION: version_op,
    }
OF_CHANNELS = sum(1 << number for number, handler in BY_NUMBER.items() if handler in (event_channel_op, hvm_op, memory_op, vcpu_op))
"""For domains with event channels: when none has them, these handlers are not in memory."""

HYPERCALLS = table(Call, [Call(BY_NUMBER.get(number, not_implemented)) for number in range(HYPERCALL_COUNT)])
assert all(number < HYPERCALL_COUNT for number in BY_NUMBER)


@fn
def carry_out(v: Vcpu, number: u64, a: u64, b: u64, c: u64) -> u64:
    if number >= HYPERCALL_COUNT:
        return Errno.ENOSYS
    if CONFIG.EVENT_CHANNELS and (u64(OF_CHANNELS) >> number) & 1 != 0 and not channels_on(vcpu_domain(v)):
        return Errno.ENOSYS
    return HYPERCALLS[number].handler(v, a, b, c)


@fn
def hypercall(v: Vcpu) -> u64:
    """Carry out what x16 or r12 names; the result is for register 0."""
    return carry_out(v, u64(v.regs[NUMBER_REGISTER]), u64(v.regs[0]), u64(v.regs[1]), u64(v.regs[2]))


@fn
def hypercall_aarch32(v: Vcpu) -> u64:
    """The same for a guest in AArch32, where the upper halves mean nothing."""
    return carry_out(v, v.regs[AARCH32_NUMBER] & LOW, v.regs[0] & LOW, v.regs[1] & LOW, v.regs[2] & LOW)
