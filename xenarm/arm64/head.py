"""Entry: the arm64 Image header, page tables of the image, the MMU, a stack, and on to the first function.

All of it fits the image's first page, which stays mapped at its machine address too, read-only, so that turning the MMU on
does not pull the ground away. Before the MMU is on nothing but constants is loaded: addresses are PC-relative, loops count in registers.
"""

from freestanding import assembly, offset_of, size_of

from xenarm.arm.layout import BOOT_TABLES, DATA, FIRST_PAGE_TABLES, IMAGE_TABLES, IMAGE_VIRT, MAIR, RODATA, SECTIONS, TEXT, VA_BITS
from xenarm.arm64.registers import CPTR_RES1, SCTLR_EL1_RES1, SCTLR_EL2_RES1, Hcr, Sctlr, Tcr, Tcr1
from xenarm.core.addresses import PAGE_SIZE
from xenarm.core.domain import FIRST_SLOT_MEMORY, SLOT_SHIFT, SLOT_SIZE, Slot, Vcpu

__all__ = ["IMAGE_FLAGS"]

IMAGE_FLAGS = 0b1010  # little-endian, 4 KiB pages, anywhere in memory (Linux Documentation/arm64/booting.rst)
TABLE_DESCRIPTOR = 3
PAGE_BIT = 2

SCTLR_ON = int(Sctlr(M=True, C=True, SA=True, I=True, WXN=True))
T0SZ = 64 - VA_BITS
ROOT_SIZE = 8 << (VA_BITS - 39)  # of the table of level 0, which must lie on a multiple of it (Arm ARM D17.2.144, TTBR0_EL2)
WALKS = {"IRGN0": 1, "ORGN0": 1, "SH0": 3}


def move(register: str, value: int) -> str:
    """Load a constant without touching memory."""
    parts = [(value >> shift & 0xFFFF, shift) for shift in range(0, 64, 16)]
    used = [(part, shift) for part, shift in parts if part] or [(0, 0)]
    lines = [f"    {'movk' if i else 'movz'} {register}, #{part:#x}, lsl #{shift}" for i, (part, shift) in enumerate(used)]
    return "\n".join(lines)


def map_run(start: str, end: str, attributes: int, at: str = "", offset: int = 0, page: str = "", every: int = 1) -> str:
    """Map a run of pages by the image's level 3 tables (x22 on): where it lies, or at another symbol and offset; all of it to one page, if given.

    Of so many pages only one, if not `every`. x24 is the image's machine address.
    """
    return f"""
    adrp x3, {page or start}
    adrp x0, {start}
    adrp x1, {end}
    sub x1, x1, x0
    adrp x0, {at or start}
    sub x0, x0, x24
    lsr x0, x0, #9
    add x0, x0, x22
    add x0, x0, #{offset >> 12 << 3}
    add x1, x0, x1, lsr #9
{move("x2", attributes | PAGE_BIT)}
    orr x3, x3, x2
    b 2f
1:  str x3, [x0], #{8 * every}
    add x3, x3, #{0 if page else PAGE_SIZE}
2:  cmp x0, x1
    b.lo 1b
"""


def link_tables(upper: str, lower: str, index: str) -> str:
    return f"""
    orr x4, {lower}, #{TABLE_DESCRIPTOR}
    str x4, [{upper}, {index}, lsl #3]
"""


def link_image(number: int) -> str:
    """One of the image's level 3 tables."""
    lower = "x6" if number else "x22"
    table = f"    add {lower}, x22, #{number * PAGE_SIZE:#x}" if number else ""
    return f"""
    mov x5, #{(IMAGE_VIRT >> 21 & 511) + number}
{table}
{link_tables("x21", lower, "x5")}
"""


def invalidate(start: str, end: str) -> str:
    """Lines that a cache holds of tables, older than what was written with the MMU off (Arm ARM D7.5.9)."""
    return f"""
    adrp x0, {start}
    add x0, x0, :lo12:{start}
    adrp x1, {end}
    add x1, x1, :lo12:{end}
    mrs x2, ctr_el0
    ubfx x2, x2, #16, #4
    mov x3, #4
    lsl x2, x3, x2
1:
{f"    dc ivac, x0{chr(10)}    add x0, x0, x2{chr(10)}" * 8}
    cmp x0, x1
    b.lo 1b
"""


def clear(start: str, end: str) -> str:
    """Zeros, in pieces of 512 bytes."""
    return f"""
    adrp x0, {start}
    add x0, x0, :lo12:{start}
    adrp x1, {end}
    add x1, x1, :lo12:{end}
1:
{"".join(f"    stp xzr, xzr, [x0, #{n}]{chr(10)}" for n in range(0, 512, 16))}
    add x0, x0, #512
    cmp x0, x1
    b.lo 1b
"""


def invalidate_tables() -> str:
    return invalidate("__tables_start", "__tables_end") + invalidate("root_table", "root_table_end") + "    dsb sy\n"


# The machine's 512 GiB of the image may be other than those of its addresses: then a table of its own leads there, the pool's first (`mmu_init`).
BUILD_TABLES = f"""
build_tables:
{invalidate_tables()}
{clear("__tables_start", "__tables_end")}
{clear("root_table", "root_table_end")}
    adrp x24, __image_start
    lsr x5, x24, #30
{move("x4", IMAGE_VIRT >> 30)}
    cmp x5, x4
    b.eq stopped
    adrp x23, root_table
    add x23, x23, :lo12:root_table
    adrp x19, boot_tables
    add x21, x19, #0x1000
    add x22, x19, #0x2000
    mov x5, #{IMAGE_VIRT >> 39 & 511}
{link_tables("x23", "x19", "x5")}
    mov x5, #{IMAGE_VIRT >> 30 & 511}
{link_tables("x19", "x21", "x5")}
{"".join(link_image(n) for n in range(IMAGE_TABLES))}
{"".join(map_run(*section) for section in SECTIONS)}
{map_run("__slots_start", "__slots_end", RODATA, offset=SLOT_SIZE - PAGE_SIZE, page="zero_page", every=SLOT_SIZE // PAGE_SIZE)}
{map_run("__pool_end", "__image_end", DATA, "__slots_start", SLOT_SIZE - FIRST_SLOT_MEMORY)}
{map_run("__window_start", "__window_end", RODATA, page="zero_page")}
    mov x20, x19
    lsr x5, x24, #39
    cbz x5, 5f
{invalidate("__tables_end", "__tables_spare_end")}
{clear("__tables_end", "__tables_spare_end")}
    add x20, x19, #{BOOT_TABLES << 12}
    lsr x5, x24, #39
{link_tables("x23", "x20", "x5")}
5:  add x21, x19, #{FIRST_PAGE_TABLES * PAGE_SIZE:#x}
    add x22, x21, #0x1000
    ubfx x5, x24, #30, #9
{link_tables("x20", "x21", "x5")}
    ubfx x5, x24, #21, #9
{link_tables("x21", "x22", "x5")}
    ubfx x5, x24, #12, #9
{move("x2", TEXT | PAGE_BIT)}
    orr x4, x24, x2
    str x4, [x22, x5, lsl #3]
    lsr x5, x24, #39
    cbz x5, 6f
{invalidate("__tables_end", "__tables_spare_end")}
6:
{invalidate_tables()}
    ret
"""


def enable_mmu(el: int) -> str:
    """Turn on the MMU and caches of exception level 1 or 2; x6 is left with the CPU's physical address size."""
    tcr = int(Tcr1(T0SZ=T0SZ, EPD1=True, **WALKS) if el == 1 else Tcr(T0SZ=T0SZ, RES1_23=True, RES1_31=True, **WALKS))
    size_at = 32 if el == 1 else 16
    res1 = SCTLR_EL1_RES1 if el == 1 else SCTLR_EL2_RES1
    return f"""
{move("x0", MAIR)}
    msr mair_el{el}, x0
    mrs x6, id_aa64mmfr0_el1
    and x6, x6, #0xf
    mov x1, #5
    cmp x6, x1
    csel x6, x6, x1, lo
{move("x0", tcr)}
    orr x0, x0, x6, lsl #{size_at}
    msr tcr_el{el}, x0
    adrp x0, root_table
    add x0, x0, :lo12:root_table
    msr ttbr0_el{el}, x0
    isb
    tlbi {"vmalle1" if el == 1 else "alle2"}
    ic iallu
    dsb nsh
    isb
{move("x0", res1 | SCTLR_ON)}
    msr sctlr_el{el}, x0
    isb
"""


ZERO_64 = 4  # DCZID_EL0: DC ZVA is allowed, and clears 2**4 words

SETTLE_EL2 = f"""
{move("x0", int(Hcr(RW=True)))}
    msr hcr_el2, x0
    isb
{move("x0", CPTR_RES1)}
    msr cptr_el2, x0
"""

STACK_OF_CPU = f"""
    adrp x2, __slots_start
    add x3, x25, #1
    add x2, x2, x3, lsl #{SLOT_SHIFT}
    sub x2, x2, #{size_of(Slot) - offset_of(Slot, "vcpu")}
    mov sp, x2
    mov x29, xzr
    mov x30, xzr
"""

# x25: this CPU's number; x26: the device tree; x24: the image's machine address; x27: the exception level.
VCPU_PIECE = max(n for n in (1, 2, 4, 8) if size_of(Vcpu) % (16 * n) == 0)  # how many pairs of registers are cleared at once

HEAD = f"""
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

first_cpu:
    mov x26, x0
    mov x25, xzr
    mrs x27, CurrentEL
    lsr x27, x27, #2
    cmp x27, #3
    b.eq stopped
    bl build_tables
    ldr x28, =first_cpu_virtual
    cmp x27, #1
    b.eq at_el1
    b at_el2

    .global secondary_alone
secondary_alone:
    mrs x1, mpidr_el1
    and x0, x1, #0xffffff
    and x1, x1, #0xff00000000
    orr x0, x0, x1
    adrp x2, secondary_handover
    add x2, x2, :lo12:secondary_handover
1:  ldr x1, [x2]
    cmp x0, x1
    b.eq 2f
    wfe
    b 1b
2:  ldr w0, [x2, #8]

    .global secondary_start
secondary_start:
    mov x25, x0
    mrs x27, CurrentEL
    lsr x27, x27, #2
    cmp x27, #2
    b.ne stopped
    adrp x24, __image_start
    ldr x28, =secondary_cpu_virtual
at_el2:
    msr daifset, #0xf
{SETTLE_EL2}
{enable_mmu(2)}
    br x28
at_el1:
{enable_mmu(1)}
    br x28
stopped:
    wfe
    b stopped
{BUILD_TABLES}

first_cpu_virtual:
    adrp x0, __bss_start
    add x0, x0, :lo12:__bss_start
    adrp x1, __bss_end
    add x1, x1, :lo12:__bss_end
    mrs x3, dczid_el0
    cmp x3, #{ZERO_64}
    b.ne 1f
3:  dc zva, x0
{"".join(f"    add x2, x0, #{n}{chr(10)}    dc zva, x2{chr(10)}" for n in range(64, 512, 64))}
    add x0, x0, #512
    cmp x0, x1
    b.lo 3b
    b 4f
1:  stp xzr, xzr, [x0]
    stp xzr, xzr, [x0, #16]
    stp xzr, xzr, [x0, #32]
    stp xzr, xzr, [x0, #48]
    add x0, x0, #64
    cmp x0, x1
    b.lo 1b
4:
{STACK_OF_CPU}
    mov x0, sp
    add x1, x0, #{size_of(Vcpu)}
6:
{f"    stp xzr, xzr, [x0], #16{chr(10)}" * VCPU_PIECE}
    cmp x0, x1
    b.lo 6b
    cmp x27, #2
    b.ne 2f
    adrp x0, vectors
    add x0, x0, :lo12:vectors
    msr vbar_el2, x0
    isb
2:  mov x0, x26
    mov x1, x24
    mov x2, x27
    bl boot_first_cpu
    b stopped

secondary_cpu_virtual:
{STACK_OF_CPU}
    adrp x0, vectors
    add x0, x0, :lo12:vectors
    msr vbar_el2, x0
    isb
    mov x0, x25
    bl boot_secondary_cpu
    b stopped
    .ltorg

    .section .bss.0tables, "aw", %nobits
    .balign 4096
    .global boot_tables
boot_tables:
    .space {BOOT_TABLES * 4096}

    .section .bss.0root, "aw", %nobits
    .balign {ROOT_SIZE}
    .global root_table
root_table:
    .space {ROOT_SIZE}
root_table_end:

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


assembly(HEAD, arch="aarch64")
