"""AArch64's part of the engine: EL1 and EL0, the latter in either state."""

from freestanding import Ptr, assembly, external, fn, linker_symbol, operation, table, u32, u64, usize
from guests.runtime.engine_state import Values
from guests.runtime.link import MAX_CPUS
from guests.runtime.machine import MACHINE
from xenarm.arm.instructions import instruction_sync
from xenarm.arm64.registers import Reader, reader, write_vbar_el1

__all__ = ["BACK", "CALL", "DEVICE_ALIAS", "FLOATING_POINT", "PROGRAM", "RAM_ALIAS", "STATE", "engine_init", "engine_vectors", "hostile_run", "publish"]

MAPS_MEMORY = True

VECTORS = linker_symbol("hostile_vectors")
RAM_ALIAS = 0x8000_0000  # the GiB of RAM again, open to EL0 and to 32-bit addresses
DEVICE_ALIAS = 0xC000_0000  # the lowest GiB again, likewise
GIB_SHIFT = 30
USER_RAM = 0x705 | 1 << 6 | 1 << 53  # normal, inner shareable, AP[1]: EL0; never executed by EL1
USER_DEVICE = 0x401 | 1 << 6 | 3 << 53
ENTRIES = 512
FLOATING_POINT: tuple[str, ...] = ()
"""What has an instruction of FP."""
RET = 0xD65F_03C0
BACK = table(u32, [RET, RET, RET])
"""Ends what the kernel runs, by the kind of instructions."""
CALL = table(u32, [0xD400_0001, 0xEF00_0000, 0xDF00_DF00])
"""SVC: ends what a program runs."""
PROGRAM = table(u64, [0x3C0, 0x1D0, 0x1F0])
"""SPSR of a program: AArch64, AArch32, Thumb; everything masked."""
STATE = table(u64, [0, 0, 1])
"""What a branch's address says of the state."""

read_ttbr0_el1: Reader = reader("ttbr0_el1")

SLOT_OF_THIS_CPU = """
    mrs x2, tpidr_el1
    ldr x3, =hostile_slots
    add x3, x3, x2, lsl #6
"""
CALLEE = [(n, n + 1) for n in range(19, 31, 2)]
PUSH = "\n".join(f"    stp x{a}, x{b}, [sp, #{8 * (a - 19)}]" for a, b in CALLEE)
POP = "\n".join(f"    ldp x{a}, x{b}, [sp, #{8 * (a - 19)}]" for a, b in CALLEE)
PAIRS = [(n, n + 1) for n in range(0, 18, 2)]

# x0: where to; x1: values for x0-x7, x16 and x1 again; x2: 0, or SPSR + 1 to go to EL0 with.
RUN = f"""
    .section .text.hostile, "ax"
    .global hostile_run
hostile_run:
    sub sp, sp, #96
{PUSH}
    mov x17, x0
    mov x18, x1
    mov x19, x2
    {SLOT_OF_THIS_CPU}
    mov x4, sp
    str x4, [x3]
    mov x4, #1
    str x4, [x3, #56]
    ldp x2, x3, [x18, #16]
    ldp x4, x5, [x18, #32]
    ldp x6, x7, [x18, #48]
    ldr x16, [x18, #64]
    ldp x0, x1, [x18]
    cbnz x19, 1f
    blr x17
    b hostile_back
1:  sub x19, x19, #1
    msr spsr_el1, x19
    msr elr_el1, x17
    isb
    eret
hostile_back:
    msr daifset, #0xf
    msr spsel, #1
    {SLOT_OF_THIS_CPU}
    str xzr, [x3, #56]
    ldr x4, [x3]
    mov sp, x4
{POP}
    add sp, sp, #96
    ret
"""

# Whatever the registers hold now, only TPIDR_EL1 and this CPU's slot are believed.
CAUGHT = f"""
hostile_caught:
    msr spsel, #1
    {SLOT_OF_THIS_CPU}
    ldr x4, [x3, #56]
    cbz x4, 1f
    ldr x4, [x3, #8]
    add x4, x4, #1
    mrs x5, esr_el1
    mrs x6, elr_el1
    stp x4, x5, [x3, #8]
    str x6, [x3, #24]
    adr x4, hostile_back
    msr elr_el1, x4
    mov x4, #0x3c5
    msr spsr_el1, x4
    eret
1:  ldr x4, =hostile_last_stack_end
    mov sp, x4
    mov x0, #4
    mrs x1, esr_el1
    mrs x2, elr_el1
    mrs x3, far_el1
    b guest_fault
"""

INTERRUPT = f"""
hostile_interrupt:
    msr spsel, #1
    sub sp, sp, #192
{chr(10).join(f"    stp x{a}, x{b}, [sp, #{8 * a}]" for a, b in PAIRS)}
    stp x29, x30, [sp, #144]
    str x18, [sp, #160]
    bl hostile_took
    mrs x0, spsr_el1
    orr x0, x0, #0x1c0
    msr spsr_el1, x0
    ldr x18, [sp, #160]
    ldp x29, x30, [sp, #144]
{chr(10).join(f"    ldp x{a}, x{b}, [sp, #{8 * a}]" for a, b in PAIRS)}
    add sp, sp, #192
    eret
"""


def vector(kind: int) -> str:
    """Synchronous, IRQ, FIQ, SError by turns."""
    return f"    .balign 128\n    b {'hostile_interrupt' if kind % 4 in (1, 2) else 'hostile_caught'}"


assembly(
    f"""{RUN}{CAUGHT}{INTERRUPT}
    .ltorg
    .section .vectors.text, "ax"
    .balign 2048
    .global hostile_vectors
hostile_vectors:
{chr(10).join(vector(kind) for kind in range(16))}

    .section .bss.hostile, "aw", %nobits
    .balign 64
    .global hostile_slots
hostile_slots:
    .space {MAX_CPUS * 64}
    .balign 16
hostile_last_stack:
    .space 4096
hostile_last_stack_end:
""",
    arch="aarch64",
)


@external("hostile_run")
def hostile_run(code: u64, values: Values, user: u64) -> u64:
    """What x0 holds at the end."""
    raise NotImplementedError("an instruction needs a CPU")


@operation(aarch64="dc cvau, {address}\n dsb ish\n ic ivau, {address}\n dsb ish\n isb", clobbers=("memory",))
def publish(address: u64) -> None:
    return None


@operation(aarch64="dsb ishst\n tlbi vmalle1\n dsb ish\n isb", clobbers=("memory",))
def tables_changed() -> None:
    return None


@fn
def engine_init() -> None:
    """Show RAM and the devices to EL0 too. The entry's tables are found through TTBR0_EL1."""
    level = Ptr[u64](usize(read_ttbr0_el1() & 0xFFFF_FFFF_F000)).slice(ENTRIES)
    level[RAM_ALIAS >> GIB_SHIFT] = (MACHINE.image >> GIB_SHIFT << GIB_SHIFT) | USER_RAM
    level[DEVICE_ALIAS >> GIB_SHIFT] = USER_DEVICE
    tables_changed()


@fn
def engine_vectors() -> None:
    """Take this CPU's exceptions here."""
    write_vbar_el1(u64(usize(VECTORS)))
    instruction_sync()
