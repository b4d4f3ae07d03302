"""The measured instructions of `kernels.py` for AArch64."""

from dataclasses import dataclass

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


@dataclass(frozen=True)
class Gic:
    """How a controller's interrupts are acknowledged and ended, by the CPU interface's register, and sent: number of the register with the value, GICD_SGIR's."""

    suffix: str
    acknowledge: str
    end: str
    send: str


GICV2 = Gic("", f"ldr w11, [{{}}, #{Gicc.IAR}]", f"str w11, [{{}}, #{Gicc.EOIR}]", "str w{}, [{}]")
GICV3 = Gic("_v3", "mrs x11, icc_iar1_el1", "msr icc_eoir1_el1, x11", "msr icc_sgi1r_el1, x{0}")


def slide(gic: Gic, register: str, delay: str) -> str:
    """The address that runs through `delay` NOPs before what follows the slide."""
    return f"""
    ldr {register}, =slide_end{gic.suffix}
    sub {register}, {register}, {delay}, lsl #2
"""


# x9: when it began, or the timer was to expire; x10: when the handler ran; x12: whether it has; x4: its way into the slide; x2: the CPU interface.
def handler(gic: Gic) -> str:
    return f"""
    .section .vectors.text, "ax"
    .balign 2048
    .global bench_vectors{gic.suffix}
bench_vectors{gic.suffix}:
    .space 0x200
    {fault(4)}
    .balign 128
    br x4
    .rept {SLIDE}
    nop
    .endr
slide_end{gic.suffix}:
    mrs x10, cntvct_el0
    msr cntv_ctl_el0, xzr
    isb
    {gic.acknowledge.format("x2")}
    {gic.end.format("x2")}
    mov x12, #1
    eret
    .balign 2048
"""


# x0: how often; x1: GICD_SGIR; x2: what to write; x3: the CPU interface. Interrupts are masked: WFI ends without a handler.
def ping(gic: Gic) -> str:
    return f"""
    .global loop_ping{gic.suffix}
    .balign 64
loop_ping{gic.suffix}:
    isb
    mrs x9, cntvct_el0
1:  {gic.send.format("2", "x1")}
2:  wfi
    {gic.acknowledge.format("x3")}
    and w12, w11, #0x3ff
    cmp w12, #1020
    b.hs 2b
    {gic.end.format("x3")}
    subs x0, x0, #1
    b.ne 1b
    isb
    mrs x0, cntvct_el0
    sub x0, x0, x9
    ret

    .global loop_pong{gic.suffix}
    .balign 64
loop_pong{gic.suffix}:
2:  wfi
    {gic.acknowledge.format("x3")}
    and w12, w11, #0x3ff
    cmp w12, #1020
    b.hs 2b
    {gic.end.format("x3")}
    {gic.send.format("2", "x1")}
    subs x0, x0, #1
    b.ne 2b
    ret
"""


OTHER = f"""
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
def sample_self(gic: Gic) -> str:
    return f"""
    .global sample_sgi{gic.suffix}
sample_sgi{gic.suffix}:
    ldr x4, =slide_end{gic.suffix}
    mov x12, xzr
    adr x5, 1f
    sub x5, x5, x3, lsl #2
    br x5
    .rept {SLIDE}
    nop
    .endr
1:  mrs x9, cntvct_el0
    {gic.send.format("1", "x0")}
2:  cbz x12, 2b
    sub x0, x10, x9
    ret
"""


# x0: steps until it expires; x1: whether to sleep; x2: the CPU interface; x3: NOPs in the handler.
def sample_expiry(gic: Gic) -> str:
    return f"""
    .global sample_timer{gic.suffix}
sample_timer{gic.suffix}:
    {slide(gic, "x4", "x3")}
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

    .global use_bench_vectors{gic.suffix}
use_bench_vectors{gic.suffix}:
    ldr x0, =bench_vectors{gic.suffix}
    msr vbar_el1, x0
    isb
    msr daifclr, #2
    ret
    .ltorg
"""


# The CPU that answers: x0: its CPU interface; x1: where the counter goes; x2: whether to sleep.
# One that spins does it with YIELD: under -icount one thread of QEMU runs all CPUs, and turns to the next there.
def answering(gic: Gic) -> str:
    return f"""
    .section .vectors.text, "ax"
    .balign 2048
answer_vectors{gic.suffix}:
    .space 0x200
    {fault(4)}
    .balign 128
    mrs x10, cntvct_el0
    {gic.acknowledge.format("x0")}
    {gic.end.format("x0")}
    str x10, [x1]
    eret
    .balign 2048

    .section .text.bench_answer, "ax"
    .global answer{gic.suffix}
answer{gic.suffix}:
    ldr x3, =answer_vectors{gic.suffix}
    msr vbar_el1, x3
    isb
    msr daifclr, #2
    cbnz x2, 2f
1:  yield
    b 1b
2:  wfi
    b 2b
    .ltorg
"""


# x0: GICD_SGIR; x1: what to write; x2: where the answer comes, 0 until then; x3: NOPs before it begins. The counter's step divides out as it
# does for a CPU's own interrupt. Counted are the reading of the counter, the store, what both CPUs do then, and the YIELD behind the store.
def sample_other(gic: Gic) -> str:
    return f"""
    .global sample_remote{gic.suffix}
sample_remote{gic.suffix}:
    adr x5, 1f
    sub x5, x5, x3, lsl #2
    br x5
    .rept {SLIDE}
    nop
    .endr
1:  mrs x9, cntvct_el0
    {gic.send.format("1", "x0")}
2:  yield
    ldr x10, [x2]
    cbz x10, 2b
    str xzr, [x2]
    sub x0, x10, x9
    ret
"""


PAUSE = """
    .global pause
pause:
1:  yield
    subs x0, x0, #1
    b.ne 1b
    ret
"""


assembly(
    f"""
{handler(GICV2)}
{handler(GICV3)}
    .section .text.bench_kernels, "ax"
{loop("loop_empty", f"movz w0, #{PSCI_VERSION}, lsl #16")}
{loop("loop_hvc", f"movz w0, #{PSCI_VERSION}, lsl #16" + chr(10) + "    hvc #0")}
{loop("loop_nothing", "")}
{loop("loop_no_yield", YIELD)}
{loop("loop_yield", YIELD + chr(10) + "    hvc #0xea1")}
{ping(GICV2)}
{ping(GICV3)}
{OTHER}
{loop("loop_load", "ldr w0, [x1]")}
{loop("loop_store", "str w2, [x1]")}
{sample_self(GICV2)}
{sample_self(GICV3)}
{sample_expiry(GICV2)}
{sample_expiry(GICV3)}
{sample_other(GICV2)}
{sample_other(GICV3)}
{PAUSE}
{answering(GICV2)}
{answering(GICV3)}
""",
    arch="aarch64",
)
