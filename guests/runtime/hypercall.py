"""Xen's hypercalls as a guest makes them: `hvc #0xEA1`, the number in x16 or r12 (public/arch-arm.h)."""

from freestanding import assembly, external, fn, truncate, u64, usize
from xenarm.abi.hypercall import HYPERCALL_TAG

__all__ = ["xen_hypercall"]

assembly(
    f"""
    .section .text.xen_calls, "ax"
    .global xen_hypercall
xen_hypercall:
    mov x16, x0
    mov x0, x1
    mov x1, x2
    mov x2, x3
    hvc #{HYPERCALL_TAG:#x}
    ret
""",
    arch="aarch64",
)
assembly(
    f"""
    .section .text.xen_calls, "ax"
    .arch_extension virt
    .global xen_hypercall
xen_hypercall:
    mov r12, r0
    mov r0, r1
    mov r1, r2
    mov r2, r3
    hvc #{HYPERCALL_TAG:#x}
    bx lr
""",
    arch="armv7",
)


@external("xen_hypercall")
def call_xen(number: usize, a: usize, b: usize, c: usize) -> usize:
    raise NotImplementedError("there is no hypervisor here")


@fn
def xen_hypercall(number: u64, a: u64, b: u64, c: u64) -> u64:
    """What x0 becomes: a result, or a negative error number; arguments lose what a register has no room for."""
    return u64(call_xen(truncate(usize, number), truncate(usize, a), truncate(usize, b), truncate(usize, c)))
