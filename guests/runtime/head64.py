"""Entry by the arm64 Image header at EL1: page tables, the MMU, a stack, and `guest_main(device tree)`.

The image runs at IMAGE_VIRT; everything else is mapped at its own address by blocks of 1 GiB: normal memory where the image and the device
tree lie, device memory elsewhere. Other CPUs enter at `secondary_start` with their number in x0 and continue in `guest_secondary(number)`.
"""

from freestanding import assembly

from guests.runtime.link import CPU_STACK, FIRST_STACK, IMAGE_VIRT, MAX_CPUS
from xenarm.arm64.registers import SCTLR_EL1_RES1, Sctlr, Tcr1

__all__ = ["fault"]

IMAGE_FLAGS = 0b1010  # little-endian, 4 KiB pages, at any 2 MiB boundary (Linux Documentation/arch/arm64/booting.rst)
VA_BITS = 39  # one level of 1 GiB blocks
ENTRIES = 512
MAIR = 0xFF << 8 | 0x04  # 0: Device-nGnRE; 1: write-back read- and write-allocate
BLOCK = 1
TABLE = 3
ACCESS = 1 << 10
DEVICE_BLOCK = BLOCK | ACCESS | 3 << 53  # neither EL1 nor EL0 executes it
NORMAL_BLOCK = BLOCK | ACCESS | 1 << 2 | 3 << 8
MMU_ON = SCTLR_EL1_RES1 | int(Sctlr(M=True, C=True, SA=True, I=True))
TRANSLATION = int(Tcr1(T0SZ=64 - VA_BITS, EPD1=True, IRGN0=1, ORGN0=1, SH0=3))
CNTKCTL = 0b11  # EL0 may read the counters; nothing runs there


def move(register: str, value: int) -> str:
    """Load a constant without touching memory."""
    parts = [(value >> shift & 0xFFFF, shift) for shift in range(0, 64, 16)]
    used = [(part, shift) for part, shift in parts if part] or [(0, 0)]
    return "\n".join(f"    {'movk' if i else 'movz'} {register}, #{part:#x}, lsl #{shift}" for i, (part, shift) in enumerate(used))


HEADER = f"""
    .section .head.text, "ax"
    .global _start
_start:
    b first_cpu
    .long 0
    .quad 0
    .quad __image_size
    .quad {IMAGE_FLAGS}
    .quad 0, 0, 0
    .ascii "ARM\\x64"
    .long 0
"""

# Lines that a cache holds of the tables, older than what was written with the MMU off (Arm ARM D7.5.9).
DROP_TABLE_LINES = f"""
    adrp x0, guest_tables
    mov x1, #{2 * ENTRIES * 8 // 64}
1:  dc ivac, x0
    add x0, x0, #64
    subs x1, x1, #1
    b.ne 1b
    dsb sy
"""

BUILD_TABLES = f"""
build_tables:
    {DROP_TABLE_LINES}
    adrp x0, guest_tables
{move("x1", DEVICE_BLOCK)}
    mov x2, #{ENTRIES}
    mov x3, #{1 << 30}
1:  str x1, [x0], #8
    add x1, x1, x3
    subs x2, x2, #1
    b.ne 1b
    adrp x0, guest_tables
    mov x3, x24
    bl map_normal
    mov x3, x26
    bl map_normal
    add x4, x0, #4096
    orr x5, x4, #{TABLE}
    str x5, [x0, #{8 * (IMAGE_VIRT >> 30)}]
{move("x6", NORMAL_BLOCK)}
    orr x6, x6, x24
    str x6, [x4]
    mov x2, #{ENTRIES - 1}
1:  str xzr, [x4, x2, lsl #3]
    subs x2, x2, #1
    b.ne 1b
    {DROP_TABLE_LINES}
    ret x28
map_normal:
{move("x6", NORMAL_BLOCK)}
    lsr x7, x3, #30
    orr x6, x6, x7, lsl #30
    str x6, [x0, x7, lsl #3]
    ret
"""

ENABLE_MMU = f"""
enable_mmu:
{move("x0", MAIR)}
    msr mair_el1, x0
    mrs x1, id_aa64mmfr0_el1
    and x1, x1, #7
{move("x0", TRANSLATION)}
    orr x0, x0, x1, lsl #32
    msr tcr_el1, x0
    adrp x0, guest_tables
    msr ttbr0_el1, x0
    mov x0, #{CNTKCTL}
    msr cntkctl_el1, x0
    isb
    tlbi vmalle1
    ic iallu
    dsb nsh
    isb
{move("x0", MMU_ON)}
    msr sctlr_el1, x0
    isb
    ret
"""

SET_STACK = f"""
    ldr x0, =guest_vectors
    msr vbar_el1, x0
    msr tpidr_el1, x25
    ldr x0, =guest_stacks
    mov x1, #{CPU_STACK}
    madd x0, x25, x1, x0
    add sp, x0, x1
    mov x29, xzr
    mov x30, xzr
    isb
"""

# x24: where the loader has put the image; x25: this CPU's number; x26: the device tree.
ENTRY = f"""
first_cpu:
    mov x26, x0
    mov x25, xzr
    msr daifset, #0xf
    mrs x1, CurrentEL
    cmp x1, #4
    b.ne stopped
    adrp x24, __image_start
    adr x28, 1f
    b build_tables
1:  bl enable_mmu
    ldr x1, =first_cpu_virtual
    br x1
first_cpu_virtual:
    ldr x0, =__bss_start
    ldr x1, =__image_end
1:  stp xzr, xzr, [x0], #16
    cmp x0, x1
    b.lo 1b
{SET_STACK}
    mov x0, x26
    mov x1, x24
    bl guest_main
stopped:
    wfe
    b stopped

    .global secondary_start
secondary_start:
    mov x25, x0
    msr daifset, #0xf
    bl enable_mmu
    ldr x1, =secondary_virtual
    br x1
secondary_virtual:
{SET_STACK}
    mov x0, x25
    bl guest_secondary
    b stopped
{BUILD_TABLES}
{ENABLE_MMU}
    .ltorg

    .section .bss.tables, "aw", %nobits
    .balign 4096
guest_tables:
    .space {2 * ENTRIES * 8}

    .section .bss.stacks, "aw", %nobits
    .balign 16
    .space {FIRST_STACK - CPU_STACK}
guest_stacks:
    .space {MAX_CPUS * CPU_STACK}
"""

PAIRS = [(n, n + 1) for n in range(0, 18, 2)]
FRAME = 176
SAVE = "\n".join(f"    stp x{a}, x{b}, [sp, #{8 * a}]" for a, b in PAIRS)
RESTORE = "\n".join(f"    ldp x{a}, x{b}, [sp, #{8 * a}]" for a, b in PAIRS)

INTERRUPT = f"""
    sub sp, sp, #{FRAME}
{SAVE}
    stp x29, x30, [sp, #144]
    bl guest_interrupt
    ldp x29, x30, [sp, #144]
{RESTORE}
    add sp, sp, #{FRAME}
    eret
"""


def fault(kind: int) -> str:
    """Report it; there is no way back."""
    return f"""
    mov x0, #{kind}
    mrs x1, esr_el1
    mrs x2, elr_el1
    mrs x3, far_el1
    b guest_fault
"""


VECTORS = "\n".join(f"    .balign 128\n{INTERRUPT if kind == 5 else fault(kind)}" for kind in range(16))

assembly(
    f"{HEADER}{ENTRY}\n    .section .vectors.text, \"ax\"\n    .balign 2048\n    .global guest_vectors\nguest_vectors:\n{VECTORS}\n",
    arch="aarch64",
)
