"""The measured instructions of `kernels.py` for ARMv7. The counter is a pair of registers; a handler in IRQ mode shares r0 to r12."""

from freestanding import assembly
from xenarm.arm32.registers import TimerControl, coprocessor, coprocessor_wide
from xenarm.gic.registers import Gicc

__all__: list[str] = []

SLIDE = 16
RUN = int(TimerControl(ENABLE=True))
PSCI_VERSION = "movw r0, #0\n    movt r0, #0x8400"
YIELD = "mov r0, #0\n    mov r1, #0\n    mov r12, #29"  # SCHED_OP, SCHEDOP_yield


def counter(low: str, high: str) -> str:
    return f"mrrc {coprocessor_wide('cntvct', low, high)}"


def loop(name: str, body: str) -> str:
    """r0: how often; r7, r3: operands of the body. The steps come in r0 and r1."""
    return f"""
    .global {name}
    .balign 64
{name}:
    push {{r4-r8, lr}}
    mov r4, r0
    mov r7, r1
    mov r3, r2
    isb
    {counter("r5", "r6")}
1:  {body}
    subs r4, r4, #1
    bne 1b
    isb
    {counter("r0", "r1")}
    subs r0, r0, r5
    sbc r1, r1, r6
    pop {{r4-r8, pc}}
"""


# r8, r9: when it began, or the timer was to expire; r10, r11: when the handler ran; r12: whether it has; r4: its way into the slide; r2: GICC.
HANDLER = f"""
    .section .vectors.text, "ax"
    .arch_extension virt
    .balign 32
    .global bench_vectors
bench_vectors:
    .rept 6
    b .
    .endr
    bx r4
    b .
slide:
    .rept {SLIDE}
    nop
    .endr
slide_end:
    {counter("r10", "r11")}
    mov r5, #0
    mcr {coprocessor("cntv_ctl", "r5")}
    isb
    ldr r5, [r2, #{Gicc.IAR}]
    str r5, [r2, #{Gicc.EOIR}]
    mov r12, #1
    subs pc, lr, #4
"""

TAKE = f"""
2:  wfi
    ldr r5, [r3, #{Gicc.IAR}]
    ubfx r6, r5, #0, #10
    cmp r6, #1020
    bhs 2b
    str r5, [r3, #{Gicc.EOIR}]
"""

# r0: how often; r1: GICD_SGIR; r2: what to write; r3: the CPU interface. Interrupts are masked: WFI ends without a handler.
PING = f"""
    .global loop_ping
    .balign 64
loop_ping:
    push {{r4-r9, lr}}
    mov r4, r0
    isb
    {counter("r8", "r9")}
1:  str r2, [r1]
{TAKE}
    subs r4, r4, #1
    bne 1b
    isb
    {counter("r0", "r1")}
    subs r0, r0, r8
    sbc r1, r1, r9
    pop {{r4-r9, pc}}

    .global loop_pong
    .balign 64
loop_pong:
    push {{r4-r6, lr}}
    mov r4, r0
1:
{TAKE}
    str r2, [r1]
    subs r4, r4, #1
    bne 1b
    pop {{r4-r6, pc}}

    .global bench_secondary
bench_secondary:
    {counter("r1", "r2")}
    mcr {coprocessor("tpidrurw", "r1")}
    b secondary_start

    .global start_other
start_other:
    push {{r4-r6, lr}}
    mov r3, r2
    mov r2, r1
    mov r1, r0
    movw r0, #3
    movt r0, #0x8400
    isb
    {counter("r4", "r5")}
    hvc #0
    {YIELD}
    hvc #0xea1
    mov r0, r4
    mov r1, #0
    pop {{r4-r6, pc}}
"""

# r0: GICD_SGIR; r1: what to write; r2: the CPU interface; r3: NOPs before it begins.
SAMPLES = f"""
    .global sample_sgi
sample_sgi:
    push {{r4-r11, lr}}
    ldr r4, =slide_end
    mov r12, #0
    ldr r5, =1f
    sub r5, r5, r3, lsl #2
    bx r5
    .rept {SLIDE}
    nop
    .endr
1:  {counter("r8", "r9")}
    str r1, [r0]
2:  cmp r12, #0
    beq 2b
    subs r0, r10, r8
    sbc r1, r11, r9
    pop {{r4-r11, pc}}

    .global sample_timer
sample_timer:
    push {{r4-r11, lr}}
    ldr r4, =slide_end
    sub r4, r4, r3, lsl #2
    mov r12, #0
    isb
    {counter("r8", "r9")}
    adds r8, r8, r0
    adc r9, r9, #0
    mcrr {coprocessor_wide("cntv_cval", "r8", "r9")}
    mov r5, #{RUN}
    mcr {coprocessor("cntv_ctl", "r5")}
    isb
    cmp r1, #0
    bne 3f
2:  cmp r12, #0
    beq 2b
    b 4f
3:  wfi
    cmp r12, #0
    beq 3b
4:  subs r0, r10, r8
    sbc r1, r11, r9
    pop {{r4-r11, pc}}

    .global use_bench_vectors
use_bench_vectors:
    ldr r0, =bench_vectors
    mcr {coprocessor("vbar", "r0")}
    isb
    cpsie i
    bx lr
    .ltorg
"""

# The CPU that answers: r0: its CPU interface; r1: where the counter goes; r2: whether to sleep. YIELD: see `kernels64.py`.
ANSWER = f"""
    .section .vectors.text, "ax"
    .arch_extension virt
    .balign 32
answer_vectors:
    .rept 6
    b .
    .endr
    {counter("r10", "r11")}
    ldr r5, [r0, #{Gicc.IAR}]
    str r5, [r0, #{Gicc.EOIR}]
    strd r10, r11, [r1]
    subs pc, lr, #4

    .section .text.bench_answer, "ax"
    .global answer
answer:
    ldr r3, =answer_vectors
    mcr {coprocessor("vbar", "r3")}
    isb
    cpsie i
    cmp r2, #0
    bne 2f
1:  yield
    b 1b
2:  wfi
    b 2b
    .ltorg
"""

# r0: GICD_SGIR; r1: what to write; r2: where the answer comes, 0 until then; r3: NOPs before it begins.
SAMPLE_REMOTE = f"""
    .global sample_remote
sample_remote:
    push {{r4-r11, lr}}
    mov r4, #0
    mov r5, #0
    ldr r6, =1f
    sub r6, r6, r3, lsl #2
    bx r6
    .rept {SLIDE}
    nop
    .endr
1:  {counter("r8", "r9")}
    str r1, [r0]
2:  yield
    ldrd r10, r11, [r2]
    orrs r12, r10, r11
    beq 2b
    strd r4, r5, [r2]
    subs r0, r10, r8
    sbc r1, r11, r9
    pop {{r4-r11, pc}}

    .global pause
pause:
1:  yield
    subs r0, r0, #1
    bne 1b
    bx lr
    .ltorg
"""

assembly(
    f"""
{HANDLER}
    .section .text.bench_kernels, "ax"
    .arch_extension virt
{loop("loop_empty", PSCI_VERSION)}
{loop("loop_hvc", PSCI_VERSION + chr(10) + "    hvc #0")}
{loop("loop_nothing", "")}
{loop("loop_no_yield", YIELD)}
{loop("loop_yield", YIELD + chr(10) + "    hvc #0xea1")}
{PING}
{loop("loop_load", "ldr r0, [r7]")}
{loop("loop_store", "str r3, [r7]")}
{SAMPLES}
{SAMPLE_REMOTE}
{ANSWER}
""",
    arch="armv7",
)
