"""Entry by the zImage header in SVC mode: page tables, the MMU, a stack, and `guest_main(device tree)`.

As `head64.py`, for ARMv7 with LPAE: everything is mapped at its own address by blocks of 1 GiB, the image by pages at IMAGE_VIRT. Arguments of 64
bits take two registers each.
"""

from freestanding import assembly

from guests.runtime.link import CPU_STACK, FIRST_STACK, IMAGE_VIRT, MAX_CPUS
from xenarm.arm32.registers import SCTLR_RESET, Mode, Sctlr, Ttbcr, coprocessor, coprocessor_wide

__all__ = ["fault"]

MAIR = 0xFF << 8 | 0x04  # 0: Device-nGnRE; 1: write-back read- and write-allocate
BLOCK = 1
TABLE = 3
ACCESS = 1 << 10
DEVICE_LOW = BLOCK | ACCESS
NEVER_EXECUTE = 3 << 21  # XN and PXN, in the upper half
NORMAL_LOW = BLOCK | ACCESS | 1 << 2 | 3 << 8
PAGE = 2
TABLE_BYTES = 3 * 4096  # level 1, of which four entries count; levels 2 and 3 of the image
MMU_ON = SCTLR_RESET | int(Sctlr(M=True, C=True, I=True))
TRANSLATION = int(Ttbcr(EPD1=True, EAE=True, IRGN0=1, ORGN0=1, SH0=3))
DCIMVAC = "p15, 0, r0, c7, c6, 1"

HEADER = f"""
    .section .head.text, "ax"
    .global _start
_start:
    .rept 8
    mov r0, r0
    .endr
    b first_cpu
    .word 0x016f2818
    .word 0
    .word __file_size
    .word 0x04030201
    .word 0x45454545
    .word size_table - _start
unpacked_size:
    .word 0
size_table:
    .word 5
    .word 0x5a534c4b
    .word unpacked_size - _start
    .word 0
    .word 0x8000
"""


def move(register: str, value: int) -> str:
    """Load a constant without touching memory."""
    return f"    movw {register}, #{value & 0xFFFF:#x}\n    movt {register}, #{value >> 16:#x}"


# Lines that a cache holds of the tables, older than what was written with the MMU off (DDI 0406C, B2.2.6).
DROP_TABLE_LINES = f"""
    mov r0, r4
    mov r1, #{TABLE_BYTES // 32}
1:  mcr {DCIMVAC}
    add r0, r0, #32
    subs r1, r1, #1
    bne 1b
    dsb
"""

# r4: the tables' machine address; r8: the image's; r10: the device tree; r11: this CPU's number; r7: machine address less linked one.
BUILD_TABLES = f"""
build_tables:
{DROP_TABLE_LINES}
    mov r0, r4
{move("r1", TABLE_BYTES // 8)}
    mov r2, #0
    mov r3, #0
1:  strd r2, r3, [r0], #8
    subs r1, r1, #1
    bne 1b
    mov r0, r4
{move("r2", DEVICE_LOW)}
{move("r3", NEVER_EXECUTE)}
    mov r1, #4
1:  strd r2, r3, [r0], #8
    add r2, r2, #{1 << 30}
    subs r1, r1, #1
    bne 1b
    mov r5, r8
    bl map_normal
    mov r5, r10
    bl map_normal
    add r0, r4, #4096
    orr r2, r0, #{TABLE}
    mov r3, #0
    strd r2, r3, [r4, #{8 * (IMAGE_VIRT >> 30)}]
    add r1, r4, #8192
    orr r2, r1, #{TABLE}
{move("r5", 8 * (IMAGE_VIRT >> 21 & 511))}
    add r0, r0, r5
    strd r2, r3, [r0]
{move("r2", NORMAL_LOW | PAGE)}
    orr r2, r2, r8
    mov r5, #512
1:  strd r2, r3, [r1], #8
    add r2, r2, #4096
    subs r5, r5, #1
    bne 1b
{DROP_TABLE_LINES}
    bx r9
map_normal:
{move("r2", NORMAL_LOW)}
    mov r3, #0
    lsr r5, r5, #30
    orr r2, r2, r5, lsl #30
    add r0, r4, r5, lsl #3
    strd r2, r3, [r0]
    bx lr
"""

ENABLE_MMU = f"""
enable_mmu:
{move("r0", MAIR)}
    mcr {coprocessor("mair0", "r0")}
{move("r0", TRANSLATION)}
    mcr {coprocessor("ttbcr", "r0")}
    mov r1, #0
    mcrr {coprocessor_wide("ttbr0", "r4", "r1")}
    isb
    mcr p15, 0, r0, c8, c7, 0
    mcr p15, 0, r0, c7, c5, 0
    mcr p15, 0, r0, c7, c5, 6
    dsb
    isb
{move("r0", MMU_ON)}
    mcr {coprocessor("sctlr", "r0")}
    isb
    bx lr
"""

SET_STACK = f"""
    ldr r0, =guest_vectors
    mcr {coprocessor("vbar", "r0")}
    mcr {coprocessor("tpidrprw", "r11")}
    ldr r0, =guest_stacks
    add r1, r11, #1
    movw r2, #{CPU_STACK}
    mla sp, r1, r2, r0
    isb
"""

ENTRY = f"""
first_cpu:
    mov r10, r2
    mov r11, #0
    cpsid aif
    mrs r0, cpsr
    and r0, r0, #0x1f
    cmp r0, #{Mode.SVC:#x}
    bne stopped
    bl find_place
    adr r9, 1f
    b build_tables
1:  ldr lr, =first_cpu_virtual
    b enable_mmu
first_cpu_virtual:
    ldr r0, =__bss_start
    ldr r1, =__image_end
    mov r2, #0
    mov r3, #0
1:  strd r2, r3, [r0], #8
    cmp r0, r1
    blo 1b
{SET_STACK}
    mov r0, r10
    mov r1, #0
    mov r2, r8
    mov r3, #0
    mov r11, #0
    bl guest_main
stopped:
    wfe
    b stopped

    .global secondary_start
secondary_start:
    mov r11, r0
    cpsid aif
    bl find_place
    ldr lr, =secondary_virtual
    b enable_mmu
secondary_virtual:
{SET_STACK}
    mov r0, r11
    mov r1, #0
    mov r11, #0
    bl guest_secondary
    b stopped

find_place:
    adr r0, linked_here
    ldr r1, [r0]
    sub r7, r0, r1
    ldr r8, =__image_start
    add r8, r8, r7
    ldr r4, =guest_tables
    add r4, r4, r7
    bx lr
    .balign 4
linked_here:
    .word linked_here
{BUILD_TABLES}
{ENABLE_MMU}
    .ltorg

    .section .bss.tables, "aw", %nobits
    .balign 4096
guest_tables:
    .space {TABLE_BYTES}

    .section .bss.stacks, "aw", %nobits
    .balign 16
    .space {FIRST_STACK - CPU_STACK}
guest_stacks:
    .space {MAX_CPUS * CPU_STACK}
"""

INTERRUPT = """
guest_irq:
    sub lr, lr, #4
    srsdb sp!, #0x13
    cps #0x13
    push {r0-r3, r12, lr}
    and r1, sp, #4
    sub sp, sp, r1
    push {r1, lr}
    bl guest_interrupt
    pop {r1, lr}
    add sp, sp, r1
    pop {r0-r3, r12, lr}
    rfeia sp!
"""


def fault(kind: int) -> str:
    """Report it, by its vector, DFSR, the return address and DFAR; there is no way back. The stack is SVC mode's."""
    return f"""
guest_fault_{kind}:
    mov r4, lr
    cps #{Mode.SVC:#x}
    mov r5, #0
    mrc {coprocessor("dfar", "r6")}
    mov r7, #0
    bic sp, sp, #7
    push {{r4-r7}}
    mov r0, #{kind}
    mov r1, #0
    mrc {coprocessor("dfsr", "r2")}
    mov r3, #0
    b guest_fault
"""


FAULTS = (0, 1, 2, 3, 4, 7)
VECTORS = f"""
    .section .vectors.text, "ax"
    .arch_extension virt
    .balign 32
    .global guest_vectors
guest_vectors:
    b guest_fault_0
    b guest_fault_1
    b guest_fault_2
    b guest_fault_3
    b guest_fault_4
    nop
    b guest_irq
    b guest_fault_7
{INTERRUPT}
{"".join(fault(kind) for kind in FAULTS)}
"""

assembly(f"{HEADER}{ENTRY}{VECTORS}", arch="armv7")
