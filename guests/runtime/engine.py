"""Runs one instruction made at run time, at EL1 or EL0, and comes back whatever becomes of it.

`hostile_run` notes its stack pointer and branches to the instruction. An exception, of whatever kind and from wherever, goes back to
that stack pointer; an interrupt is ended and leaves interrupts masked. What EL0 runs ends in an SVC.
"""

from freestanding import Array, Ptr, Struct, array, address_of, assembly, export, external, fn, linker_symbol, operation, place, size_of, u32, u64, usize, zeroed
from guests.runtime.cpu import cpu_number
from guests.runtime.gic import gic_acknowledge, gic_end, intid_of
from guests.runtime.link import MAX_CPUS
from guests.runtime.machine import MACHINE
from xenarm.arm.instructions import instruction_sync
from xenarm.arm64.registers import Reader, reader, write_vbar_el1

__all__ = ["DEVICE_ALIAS", "RAM_ALIAS", "Values", "engine_init", "engine_slot", "engine_vectors", "run_kernel", "run_user", "zone", "zone_frame"]

MAPS_MEMORY = True

IMAGE_START = linker_symbol("__image_start")
VECTORS = linker_symbol("hostile_vectors")
RAM_ALIAS = 0x8000_0000  # the GiB of RAM again, open to EL0 and to 32-bit addresses
DEVICE_ALIAS = 0xC000_0000  # the lowest GiB again, likewise
GIB_SHIFT = 30
FRAME_SHIFT = 12
USER_RAM = 0x705 | 1 << 6 | 1 << 53  # normal, inner shareable, AP[1]: EL0; never executed by EL1
USER_DEVICE = 0x401 | 1 << 6 | 3 << 53
ENTRIES = 512
WORDS = 16
USER_64 = 0x3C0
USER_32 = 0x1D0  # SPSR: AArch32 User, A, I and F masked
THUMB = 0x20
SVC = 0xD400_0001
SVC_32 = 0xEF00_0000
SVC_THUMB = 0xDF00_DF00
RET = 0xD65F_03C0


class Slot(Struct, align=64):
    """A CPU's: where to come back to, and what has come. The vectors know the first fields' places."""

    stack: u64
    exceptions: u64
    esr: u64
    elr: u64
    interrupts: u64
    serrors: u64
    done: u64
    armed: u64


class Code(Struct, align=64):
    """A CPU's instruction, and what follows it."""

    words: Array[u32] = array(u32, WORDS)


class Values(Struct):
    """What the instruction finds in x0 to x7 and x16."""

    x: Array[u64] = array(u64, 9)


class Zone(Struct, align=4096):
    """Memory that attacks may write."""

    bytes: Array[u64] = array(u64, 512)


SLOTS_START = linker_symbol("hostile_slots")
CODE = place(array(Code, MAX_CPUS), align=64)
ZONE = place(zeroed(Zone), align=4096)

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
def engine_slot(cpu: u32) -> Slot:
    return Ptr[Slot](usize(SLOTS_START) + usize(cpu) * size_of(Slot)).ref()


@fn
def engine_init() -> None:
    """Show RAM and the devices to EL0 too. The entry's tables are found through TTBR0_EL1."""
    table = Ptr[u64](usize(read_ttbr0_el1() & 0xFFFF_FFFF_F000)).slice(ENTRIES)
    table[RAM_ALIAS >> GIB_SHIFT] = (MACHINE.image >> GIB_SHIFT << GIB_SHIFT) | USER_RAM
    table[DEVICE_ALIAS >> GIB_SHIFT] = USER_DEVICE
    tables_changed()


@fn
def engine_vectors() -> None:
    """Take this CPU's exceptions here."""
    write_vbar_el1(u64(usize(VECTORS)))
    instruction_sync()


@fn
def zone() -> u64:
    """Where attacks may write: 4 KiB."""
    return u64(address_of(ZONE))


@fn
def zone_frame() -> u64:
    """The zone's guest-physical frame number."""
    return (MACHINE.image + (zone() - u64(usize(IMAGE_START)))) >> FRAME_SHIFT


@fn
def user_alias(address: u64) -> u64:
    """Where EL0 sees something of the image."""
    physical = MACHINE.image + (address - u64(usize(IMAGE_START)))
    return RAM_ALIAS | physical & ((1 << GIB_SHIFT) - 1)


@fn
def write_code(cpu: u32, first: u32, then: u32) -> u64:
    code = CODE[cpu]
    code.words[0] = first
    for i in range(1, WORDS):
        code.words[i] = then
    publish(u64(address_of(code)))
    return u64(address_of(code))


@fn
def run_kernel(cpu: u32, instruction: u32, values: Values) -> u64:
    """At EL1; what x0 holds at the end."""
    return hostile_run(write_code(cpu, instruction, RET), values, 0)


@fn
def run_user(cpu: u32, instruction: u32, values: Values, kind: u32) -> None:
    """At EL0: 0 AArch64, 1 AArch32, 2 Thumb (two halfwords of it)."""
    match kind:
        case 0:
            hostile_run(user_alias(write_code(cpu, instruction, SVC)), values, USER_64 + 1)
        case 1:
            hostile_run(user_alias(write_code(cpu, instruction, SVC_32)), values, USER_32 + 1)
        case _:
            hostile_run(user_alias(write_code(cpu, instruction, SVC_THUMB)), values, (USER_32 | THUMB) + 1)


@export("hostile_took")
def hostile_took() -> None:
    """An interrupt: end it."""
    slot = engine_slot(cpu_number())
    iar = gic_acknowledge()
    real, _ = intid_of(iar)
    if real:
        slot.interrupts += 1
        gic_end(iar)
