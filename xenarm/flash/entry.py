"""Where the CPU starts, at the flash's first byte: a stack, `flash_main`, and the hypervisor with what a boot loader owes it.

Linux's Documentation/arch/arm64/booting.rst and arch/arm/booting.rst: the tree's address in x0 or r2, caches clean, MMU off. Only the first CPU
starts; the others are turned on by PSCI.
"""

from freestanding import assembly

from xenarm.flash.table import TABLE_AT, FlashTable
from freestanding import offset_of

__all__ = ["LINKER_SCRIPT"]

TOP = offset_of(FlashTable, "top")
ENTRY = offset_of(FlashTable, "entry")
TREE = offset_of(FlashTable, "tree")
EL2 = 8  # CurrentEL

LINKER_SCRIPT = f"""
ENTRY(_start)
SECTIONS
{{
    . = 0;
    .text : {{ KEEP(*(.head.text)) . = ALIGN(2048); KEEP(*(.vectors.text)) *(.text .text.*) }}
    .rodata : ALIGN(16) {{ *(.rodata .rodata.*) . = ALIGN(16); __end = .; }}
    .data : {{ *(.data .data.*) }}
    .bss (NOLOAD) : {{ *(.bss .bss.* COMMON) }}
    ASSERT(__end <= {TABLE_AT:#x}, "the first stage must fit in front of its table")
    ASSERT(SIZEOF(.data) == 0 && SIZEOF(.bss) == 0, "the first stage has no memory for variables")
    /DISCARD/ : {{ *(.note.*) *(.eh_frame*) *(.ARM.*) *(.gnu.*) *(.lines) }}
}}
"""

VECTORS64 = "\n".join("    .balign 128\n    b flash_fault" for _ in range(16))
assembly(
    f"""
    .section .head.text, "ax"
    .global _start
_start:
    msr daifset, #0xf
    mov x19, #{TABLE_AT:#x}
    ldr x0, [x19, #{TOP}]
    mov sp, x0
    mrs x0, CurrentEL
    cmp x0, #{EL2}
    b.ne 1f
    adr x0, flash_vectors
    msr vbar_el2, x0
    isb
1:  mov x29, xzr
    mov x30, xzr
    bl flash_main
    ldr x0, [x19, #{TREE}]
    ldr x4, [x19, #{ENTRY}]
    mov x1, xzr
    mov x2, xzr
    mov x3, xzr
    dsb sy
    ic iallu
    dsb sy
    isb
    br x4

    .section .vectors.text, "ax"
    .balign 2048
flash_vectors:
{VECTORS64}
""",
    arch="aarch64",
)

VECTORS32 = "\n".join("    b flash_fault" for _ in range(8))
assembly(
    f"""
    .section .head.text, "ax"
    .syntax unified
    .arm
    .global _start
_start:
    b 1f
    b flash_fault
    b flash_fault
    b flash_fault
    b flash_fault
    b flash_fault
    b flash_fault
    b flash_fault
1:  cpsid aif
    movw r4, #{TABLE_AT & 0xFFFF:#x}
    movt r4, #{TABLE_AT >> 16:#x}
    ldr sp, [r4, #{TOP}]
    mov r11, #0
    bl flash_main
    ldr r2, [r4, #{TREE}]
    ldr r3, [r4, #{ENTRY}]
    mov r0, #0
    mvn r1, #0
    dsb
    mcr p15, 0, r0, c7, c5, 0
    dsb
    isb
    bx r3
""",
    arch="armv7",
)
