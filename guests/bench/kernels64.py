"""The measured instructions of `kernels.py` for AArch64."""

from freestanding import assembly
from guests.runtime.head64 import fault
from xenarm.arm64.registers import TimerControl
from xenarm.gic.registers import Gicc

__all__: list[str] = []

SLIDE = 16

RUN = int(TimerControl(ENABLE=True))
PSCI_VERSION = 0x8400
CPU_ON = 0xC400_0003
YIELD = "mov x0, #0\n    mov x1, #0\n    mov x16, #29"  # SCHED_OP, SCHEDOP_yield (Xen: public/sched.h)


def loop(name: str, body: str) -> str:
    """x0: how often; x1, x2: operands of the body."""
    return f"""
    .global {name}
    .balign 64
{name}:
    stp x19, x20, [sp, #-16]!
    mov x19, x0
    isb
    mrs x20, cntvct_el0
1:  {body}
    subs x19, x19, #1
    b.ne 1b
    isb
    mrs x0, cntvct_el0
    sub x0, x0, x20
    ldp x19, x20, [sp], #16
    ret
"""


def slide(register: str, delay: str) -> str:
    """The address that runs through `delay` NOPs before what follows the slide."""
    return f"""
    ldr {register}, =slide_end
    sub {register}, {register}, {delay}, lsl #2
"""


# x9: when it began, or the timer was to expire; x10: when the handler ran; x12: whether it has; x4: its way into the slide; x2: the CPU interface.
HANDLER = f"""
    .section .vectors.text, "ax"
    .balign 2048
    .global bench_vectors
bench_vectors:
    .space 0x200
    {fault(4)}
    .balign 128
    br x4
slide:
    .rept {SLIDE}
    nop
    .endr
slide_end:
    mrs x10, cntvct_el0
    msr cntv_ctl_el0, xzr
    isb
    ldr w11, [x2, #{Gicc.IAR}]
    str w11, [x2, #{Gicc.EOIR}]
    mov x12, #1
    eret
    .balign 2048
"""

# x0: how often; x1: GICD_SGIR; x2: what to write; x3: the CPU interface. Interrupts are masked: WFI ends without a handler.
PING = f"""
    .global loop_ping
    .balign 64
loop_ping:
    isb
    mrs x9, cntvct_el0
1:  str w2, [x1]
2:  wfi
    ldr w11, [x3, #{Gicc.IAR}]
    and w12, w11, #0x3ff
    cmp w12, #1020
    b.hs 2b
    str w11, [x3, #{Gicc.EOIR}]
    subs x0, x0, #1
    b.ne 1b
    isb
    mrs x0, cntvct_el0
    sub x0, x0, x9
    ret

    .global loop_pong
    .balign 64
loop_pong:
2:  wfi
    ldr w11, [x3, #{Gicc.IAR}]
    and w12, w11, #0x3ff
    cmp w12, #1020
    b.hs 2b
    str w11, [x3, #{Gicc.EOIR}]
    str w2, [x1]
    subs x0, x0, #1
    b.ne 2b
    ret

    .global bench_secondary
bench_secondary:
    mrs x1, cntvct_el0
    msr tpidr_el0, x1
    b secondary_start

    .global start_other
start_other:
    mov x3, x2
    mov x2, x1
    mov x1, x0
    mov w0, #{CPU_ON & 0xFFFF}
    movk w0, #{CPU_ON >> 16}, lsl #16
    isb
    mrs x9, cntvct_el0
    hvc #0
    mov x0, #0
    mov x1, #0
    mov x16, #29
    hvc #0xea1
    mov x0, x9
    ret
"""

# x0: GICD_SGIR; x1: what to write; x2: the CPU interface; x3: NOPs before it begins.
SAMPLE_SGI = f"""
    .global sample_sgi
sample_sgi:
    ldr x4, =slide_end
    mov x12, xzr
    adr x5, 1f
    sub x5, x5, x3, lsl #2
    br x5
    .rept {SLIDE}
    nop
    .endr
1:  mrs x9, cntvct_el0
    str w1, [x0]
2:  cbz x12, 2b
    sub x0, x10, x9
    ret
"""

# x0: steps until it expires; x1: whether to sleep; x2: the CPU interface; x3: NOPs in the handler.
SAMPLE_TIMER = f"""
    .global sample_timer
sample_timer:
    {slide("x4", "x3")}
    mov x12, xzr
    isb
    mrs x9, cntvct_el0
    add x9, x9, x0
    msr cntv_cval_el0, x9
    mov x5, #{RUN}
    msr cntv_ctl_el0, x5
    isb
    cbnz x1, 3f
2:  cbz x12, 2b
    b 4f
3:  wfi
    cbz x12, 3b
4:  sub x0, x10, x9
    ret

    .global use_bench_vectors
use_bench_vectors:
    ldr x0, =bench_vectors
    msr vbar_el1, x0
    isb
    msr daifclr, #2
    ret
    .ltorg
"""

assembly(
    f"""
{HANDLER}
    .section .text.bench_kernels, "ax"
{loop("loop_empty", f"movz w0, #{PSCI_VERSION}, lsl #16")}
{loop("loop_hvc", f"movz w0, #{PSCI_VERSION}, lsl #16" + chr(10) + "    hvc #0")}
{loop("loop_nothing", "")}
{loop("loop_no_yield", YIELD)}
{loop("loop_yield", YIELD + chr(10) + "    hvc #0xea1")}
{PING}
{loop("loop_load", "ldr w0, [x1]")}
{loop("loop_store", "str w2, [x1]")}
{SAMPLE_SGI}
{SAMPLE_TIMER}
""",
    arch="aarch64",
)
