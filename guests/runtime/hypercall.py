"""Xen's hypercalls as a guest makes them: `hvc #0xEA1`, the number in x16 (public/arch-arm.h)."""

from freestanding import assembly, external, u64
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


@external("xen_hypercall")
def xen_hypercall(number: u64, a: u64, b: u64, c: u64) -> u64:
    """What x0 becomes: a result, or a negative error number."""
    raise NotImplementedError("there is no hypervisor here")
