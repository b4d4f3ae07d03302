"""Entry: the zImage header, page tables of the image, the MMU, a stack, and on to the first function.

All of it fits the image's first page, which stays mapped at its machine address too, read-only, so that turning the MMU on does not
pull the ground away. Constants are loaded relative to PC; machine addresses are linked ones plus r7.
"""

from freestanding import assembly, offset_of, size_of

from xenarm.config import CONFIG
from xenarm.gic.registers import Gicc, Gicd
from xenarm.arm.layout import BOOT_TABLES, DATA, FIRST_PAGE_TABLES, IMAGE_TABLES, IMAGE_VIRT, MAIR, RODATA, SECTIONS, TEXT
from xenarm.arm.errata import MIDR_CORE
from xenarm.arm32.errata import BRANCHES_INVALID, ERRATA, LOOP_BUFFER_OFF, midr
from xenarm.arm32.registers import HSCTLR_RES1, SCTLR_RESET, Htcr, Mode, Sctlr, Ttbcr, coprocessor, coprocessor_wide
from xenarm.core.addresses import PAGE_SIZE
from xenarm.core.domain import FIRST_SLOT_MEMORY, SLOT_SHIFT, SLOT_SIZE, Slot, Vcpu
from xenarm.soc.rcar_h2_secure import TWO_CLUSTERS

__all__ = ["ZIMAGE_MAGIC"]

ZIMAGE_MAGIC = 0x016F_2818  # at offset 0x24 (Linux arch/arm/boot/compressed/head.S)
ANYWHERE = 0  # the header's start address of an image that runs where it lies
TABLE_DESCRIPTOR = 3
PAGE_BIT = 2

HSCTLR_ON = HSCTLR_RES1 | int(Sctlr(M=True, C=True, I=True, WXN=True))
SCTLR_ON = SCTLR_RESET | int(Sctlr(M=True, C=True, I=True))
HYP_WALKS = int(Htcr(IRGN0=1, ORGN0=1, SH0=3, RES1_23=True, RES1_31=True))
SVC_WALKS = int(Ttbcr(IRGN0=1, ORGN0=1, SH0=3, EPD1=True, EAE=True))
ACTLR_SMP = 1 << 6
LOOP_BUFFER_LAST = next(e.last for e in ERRATA if e.number == 773022)
DCIMVAC = "p15, 0, r0, c7, c6, 1"
TLBIALLH = "p15, 4, r0, c8, c7, 0"
TLBIALL = "p15, 0, r0, c8, c7, 0"
ICIALLU = "p15, 0, r0, c7, c5, 0"
BPIALL = "p15, 0, r0, c7, c5, 6"


def move(register: str, value: int) -> str:
    """Load a constant without touching memory."""
    high = f"\n    movt {register}, #{value >> 16:#x}" if value >> 16 else ""
    return f"    movw {register}, #{value & 0xFFFF:#x}{high}"


def machine_address(register: str, symbol: str) -> str:
    """Where something of the image lies in the machine."""
    return f"    ldr {register}, ={symbol}\n    add {register}, {register}, r7"


def map_run(start: str, end: str, attributes: int, at: str = "", offset: int = 0, page: str = "") -> str:
    """Map a run of pages by the image's last table (r6): where it lies, or at another symbol and offset; all of it to one page, if given."""
    return f"""
    ldr r0, ={start}
    ldr r1, ={end}
    sub r1, r1, r0
{machine_address("r4", page or start)}
    ldr r0, ={at or start}
    sub r0, r0, r8
    lsr r0, r0, #12
    add r0, r6, r0, lsl #3
    add r0, r0, #{offset >> 12 << 3}
    lsr r1, r1, #12
    add r1, r0, r1, lsl #3
{move("r2", (attributes | PAGE_BIT) & 0xFFFF_FFFF)}
{move("r3", attributes >> 32)}
    orr r4, r4, r2
    b 2f
1:  str r4, [r0], #4
    str r3, [r0], #4
    add r4, r4, #{0 if page else PAGE_SIZE}
2:  cmp r0, r1
    blo 1b
"""


def link_tables(upper: str, lower: str, index: str) -> str:
    return f"""
    add r12, {upper}, {index}, lsl #3
    orr r4, {lower}, #{TABLE_DESCRIPTOR}
    mov r3, #0
    str r4, [r12]
    str r3, [r12, #4]
"""


def link_image(number: int) -> str:
    """One of the image's level 3 tables."""
    lower = "r2" if number else "r6"
    table = f"    add {lower}, r6, #{number * PAGE_SIZE:#x}" if number else ""
    return f"""
{table}
{move("r1", (IMAGE_VIRT >> 21 & 511) + number)}
{link_tables("r5", lower, "r1")}
"""


def invalidate_tables() -> str:
    """Lines that a cache holds of the tables, older than what was written with the MMU off (B2.2.6)."""
    return f"""
{machine_address("r0", "__tables_start")}
{machine_address("r1", "__tables_end")}
    mrc {coprocessor("ctr", "r2")}
    ubfx r2, r2, #16, #4
    mov r3, #4
    lsl r2, r3, r2
1:  mcr {DCIMVAC}
    add r0, r0, r2
    cmp r0, r1
    blo 1b
    dsb
"""


BUILD_TABLES = f"""
build_tables:
{invalidate_tables()}
{machine_address("r0", "__tables_start")}
{machine_address("r1", "__tables_end")}
    mov r2, #0
    mov r3, #0
1:  strd r2, r3, [r0], #8
    cmp r0, r1
    blo 1b
    ldr r8, =__image_start
{machine_address("r4", "boot_tables")}
    add r5, r4, #0x1000
    add r6, r4, #0x2000
    mov r9, r4
    mov r1, #{IMAGE_VIRT >> 30}
{link_tables("r9", "r5", "r1")}
{"".join(link_image(n) for n in range(IMAGE_TABLES))}
{"".join(map_run(*section) for section in SECTIONS)}
{map_run("__pool_end", "__image_end", DATA, "__slots_start", SLOT_SIZE - FIRST_SLOT_MEMORY)}
{map_run("__window_start", "__window_end", RODATA, page="zero_page")}
    add r5, r9, #{FIRST_PAGE_TABLES * PAGE_SIZE:#x}
    add r6, r5, #0x1000
    add r0, r8, r7
    lsr r1, r0, #30
{link_tables("r9", "r5", "r1")}
    ubfx r1, r0, #21, #9
{link_tables("r5", "r6", "r1")}
    ubfx r1, r0, #12, #9
{move("r2", (TEXT | PAGE_BIT) & 0xFFFF_FFFF)}
    orr r4, r0, r2
    mov r3, #{TEXT >> 32:#x}
    add r12, r6, r1, lsl #3
    str r4, [r12]
    str r3, [r12, #4]
{invalidate_tables()}
    bx lr
"""

ENABLE_HYP = f"""
{move("r0", MAIR)}
    mcr {coprocessor("hmair0", "r0")}
    mov r0, #0
    mcr {coprocessor("hmair1", "r0")}
{move("r0", HYP_WALKS)}
    mcr {coprocessor("htcr", "r0")}
{machine_address("r0", "boot_tables")}
    mov r1, #0
    mcrr {coprocessor_wide("httbr", "r0", "r1")}
    isb
    mcr {TLBIALLH}
    mcr {ICIALLU}
    mcr {BPIALL}
    dsb
    isb
{move("r0", HSCTLR_ON)}
    mcr {coprocessor("hsctlr", "r0")}
    isb
"""

ENABLE_SVC = f"""
{move("r0", MAIR)}
    mcr {coprocessor("mair0", "r0")}
{move("r0", SVC_WALKS)}
    mcr {coprocessor("ttbcr", "r0")}
{machine_address("r0", "boot_tables")}
    mov r1, #0
    mcrr {coprocessor_wide("ttbr0", "r0", "r1")}
    isb
    mcr {TLBIALL}
    mcr {ICIALLU}
    mcr {BPIALL}
    dsb
    isb
{move("r0", SCTLR_ON)}
    mcr {coprocessor("sctlr", "r0")}
    isb
"""

STACK_OF_CPU = f"""
    ldr r2, =__slots_start
    add r3, r11, #1
    add r2, r2, r3, lsl #{SLOT_SHIFT}
{move("r3", size_of(Slot) - offset_of(Slot, "vcpu"))}
    sub sp, r2, r3
    mov lr, #0
"""

SET_VECTORS = f"""
    ldr r0, =vectors
    mcr {coprocessor("hvbar", "r0")}
    isb
"""

# OMAP5's ROM starts CPU 1 in SVC mode; its monitor's function 0x102 goes on in HYP mode at r0 (SWPU249, "ROM code: public API").
ASK_FOR_HYP = f"""
    mrs r0, cpsr
    and r0, r0, #0x1f
    cmp r0, #{Mode.HYP:#x}
    adrne r0, 1f
    movwne r12, #0x102
    smcne #0
1:
"""

# A CPU out of reset is in secure SVC mode. What secure state alone can do: coherency on (ACTLR.SMP), what the errata and the branches of a Cortex-A15 ask for, its interrupts to group 1 (GICD_IGROUPR0),
# all priorities let through (GICC_PMR), FP for all (NSACR), the timers' rate where it is known. Then HYP mode, by way of monitor mode (B1.8.5).
FROM_RESET = f"""
    .arch_extension sec
    .global secondary_from_reset
secondary_from_reset:
    cpsid aif
    mrs r0, cpsr
    and r0, r0, #0x1f
    cmp r0, #{Mode.HYP:#x}
    beq secondary_alone
    mrc {coprocessor("actlr", "r0")}
    orr r0, r0, #{ACTLR_SMP:#x}
    mrc {coprocessor("midr", "r1")}
{move("r2", MIDR_CORE)}
    and r2, r2, r1
{move("r3", midr("Cortex-A15"))}
    cmp r2, r3
    orreq r0, r0, #{BRANCHES_INVALID}
    ubfx r2, r1, #20, #4
    and r1, r1, #15
    orr r1, r1, r2, lsl #4
    movne r1, #0xff
    cmp r1, #{LOOP_BUFFER_LAST:#x}
    orrls r0, r0, #{LOOP_BUFFER_OFF}
    mcr {coprocessor("actlr", "r0")}
    isb
{TWO_CLUSTERS if CONFIG.SOC_RCAR_H2 and CONFIG.MIXED_CPUS else ""}
    bl find_place
    ldr r2, =secondary_handover
    add r2, r2, r7
    ldr r1, [r2, #12]
    mvn r0, #0
    str r0, [r1, #{Gicd.IGROUPR:#x}]
    ldr r1, [r2, #16]
    mov r0, #0xff
    str r0, [r1, #{Gicc.PMR:#x}]
    ldr r0, [r2, #20]
    cmp r0, #0
    mcrne p15, 0, r0, c14, c0, 0
    movw r0, #0xc00
    mcr p15, 0, r0, c1, c1, 2
    cps #0x16
    movw r0, #0x131
    mcr p15, 0, r0, c1, c1, 0
    isb
    mov r0, #{0x1C0 | Mode.HYP:#x}
    msr spsr_cxsf, r0
    adr lr, secondary_alone
    movs pc, lr
"""

# r7: machine address less linked address; r10: the device tree; r11: this CPU's number; r5: the mode at entry, later 2 for HYP and 1 for PL1.
HEAD = f"""
    .section .head.text, "ax"
    .arch_extension virt
    .global _start
_start:
    .rept 8
    mov r0, r0
    .endr
    b first_cpu
    .word {ZIMAGE_MAGIC:#x}
    .word {ANYWHERE}
    .word __file_size
    .word 0x04030201

first_cpu:
    cpsid aif
    mov r10, r2
    mov r11, #0
    bl find_place
    mrs r0, cpsr
    and r0, r0, #0x1f
    cmp r0, #{Mode.HYP:#x}
    beq 1f
    cmp r0, #{Mode.SVC:#x}
    bne stopped
    bl build_tables
    ldr lr, =first_cpu_virtual
    mov r5, #1
{ENABLE_SVC}
    bx lr
1:  bl build_tables
    ldr lr, =first_cpu_virtual
    mov r5, #2
    b at_hyp

{FROM_RESET if CONFIG.SOC_FROM_RESET else ""}
    .global secondary_alone
secondary_alone:
    cpsid aif
{ASK_FOR_HYP if CONFIG.SOC_OMAP5 else ""}
    bl find_place
    ldr r2, =secondary_handover
    add r2, r2, r7
    mrc {coprocessor("mpidr", "r1")}
    bic r1, r1, #0xff000000
3:  ldr r0, [r2]
    cmp r0, r1
    beq 4f
    wfe
    b 3b
4:  ldr r0, [r2, #8]

    .global secondary_start
secondary_start:
    cpsid aif
    mov r11, r0
    bl find_place
    mrs r0, cpsr
    and r0, r0, #0x1f
    cmp r0, #{Mode.HYP:#x}
    bne stopped
    ldr lr, =secondary_cpu_virtual
at_hyp:
{ENABLE_HYP}
    bx lr
stopped:
    wfe
    b stopped

find_place:
    adr r0, linked_here
    ldr r1, [r0]
    sub r7, r0, r1
    bx lr
    .balign 4
linked_here:
    .word linked_here
{BUILD_TABLES}

first_cpu_virtual:
    ldr r0, =__bss_start
    ldr r1, =__bss_end
    mov r2, #0
    mov r3, #0
1:  strd r2, r3, [r0]
    strd r2, r3, [r0, #8]
    strd r2, r3, [r0, #16]
    strd r2, r3, [r0, #24]
    add r0, r0, #32
    cmp r0, r1
    blo 1b
{STACK_OF_CPU}
    mov r0, sp
{move("r1", size_of(Vcpu))}
    add r1, r1, r0
    mov r2, #0
    mov r3, #0
2:  strd r2, r3, [r0], #8
    cmp r0, r1
    blo 2b
    cmp r5, #2
    bne 4f
{SET_VECTORS}
4:  mov r0, r10
    ldr r1, =__image_start
    add r1, r1, r7
    mov r2, r5
    mov r7, #0
    bl boot_first_cpu
    b stopped

secondary_cpu_virtual:
    mov r4, r11
{STACK_OF_CPU}
{SET_VECTORS}
    mov r0, r4
    mov r7, #0
    bl boot_secondary_cpu
    b stopped
    .ltorg

    .section .bss.0tables, "aw", %nobits
    .balign 4096
    .global boot_tables
    .global root_table
boot_tables:
root_table:
    .space {BOOT_TABLES * 4096}

    .section .bss.zero, "aw", %nobits
    .balign 4096
zero_page:
    .space 4096

    .section .bss.handover, "aw", %nobits
    .balign 64
    .global secondary_handover
secondary_handover:
    .space 64

    .section .bss.0first, "aw", %nobits
    .balign 4096
    .space {FIRST_SLOT_MEMORY}
"""


assembly(HEAD, arch="armv7")
