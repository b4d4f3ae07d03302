"""Firmware for tests: starts the hypervisor at EL2 from EL3 of one CPU, and answers PSCI and SMCCC 1.1 with ARCH_WORKAROUND_1 and 2, which do nothing.

It lies in flash at address 0, without memory of its own. Where the image and the device tree are it reads behind the code that a test starts a
machine with (`xenarm/tools/qemu.py`, `write_stub64`). A call of ARCH_WORKAROUND_1 takes WORKAROUND_INSTRUCTIONS.
"""

from freestanding import assembly, export

__all__ = ["LINKER_SCRIPT", "STUB", "WORKAROUND_INSTRUCTIONS"]

STUB = 0x4018_0000
GICD = 0x0800_0000
GICC_PMR = 0x0801_0004
NON_SECURE = 1 << 0 | 3 << 4 | 1 << 8 | 1 << 10  # SCR_EL3: NS, RES1, HCE, RW
EL2H_MASKED = 0x3C9
SCTLR_EL2_RES1 = 0x30C5_0830
WORKAROUND_INSTRUCTIONS = 4

LINKER_SCRIPT = """
ENTRY(_start)
SECTIONS
{
    . = 0;
    .text : { KEEP(*(.head.text)) *(.text .text.*) *(.rodata .rodata.*) }
    /DISCARD/ : { *(.note.*) *(.eh_frame*) *(.ARM.*) *(.gnu.*) *(.lines) *(.data*) *(.bss*) }
}
"""


def load(register: str, value: int) -> str:
    return f"    movz {register}, #{value & 0xFFFF:#x}\n    movk {register}, #{value >> 16 & 0xFFFF:#x}, lsl #16\n"


# It changes x0 to x3 alone (DEN0028 2.6). ARCH_WORKAROUND_1 is the one call with bit 15.
CODE = f"""
    .section .head.text, "ax"
    .global _start
_start:
    nop  // QEMU takes no 0 for the address to start at
    adr x0, firmware_vectors
    msr vbar_el3, x0
{load("x0", NON_SECURE)}    msr scr_el3, x0
    msr cptr_el3, xzr
{load("x0", 62_500_000)}    msr cntfrq_el0, x0
{load("x0", SCTLR_EL2_RES1)}    msr sctlr_el2, x0
    msr hcr_el2, xzr
{load("x0", GICD)}    mov w1, #-1
    mov x2, #0x80
1:  str w1, [x0, x2]
    add x2, x2, #4
    cmp x2, #0xA0
    b.ne 1b
    mov w1, #3
    str w1, [x0]
{load("x0", GICC_PMR)}    mov w1, #0xff
    str w1, [x0]
{load("x4", STUB)}    ldr x0, [x4, #24]
    ldr x5, [x4, #32]
    msr elr_el3, x5
    mov x1, #{EL2H_MASKED}
    msr spsr_el3, x1
    mov x1, xzr
    mov x2, xzr
    mov x3, xzr
    isb
    eret

    .balign 2048
firmware_vectors:
    .balign 128
    .space 0x400
    b firmware_call
    .balign 2048

firmware_call:
    tbnz w0, #15, firmware_yes
{load("w2", 0x8000_0001)}    cmp w0, w2
    b.eq firmware_features
{load("w2", 0x8000_0000)}    cmp w0, w2
    b.eq firmware_version
{load("w2", 0x8400_0000)}    cmp w0, w2
    b.eq firmware_version
{load("w2", 0x8400_000A)}    cmp w0, w2
    b.eq firmware_yes
{load("w2", 0x8000_7FFF)}    cmp w0, w2
    b.eq firmware_yes
firmware_no:
    mov x0, #-1
    eret
firmware_features:
    tbnz w1, #15, firmware_yes
{load("w2", 0x8000_7FFF)}    cmp w1, w2
    b.ne firmware_no
firmware_yes:
    mov x0, xzr
    eret
firmware_version:
    movz x0, #1
    movk x0, #1, lsl #16
    eret
"""

assembly(CODE, arch="aarch64")


@export("firmware_idle")
def firmware_idle() -> None:
    """All of it is above."""
