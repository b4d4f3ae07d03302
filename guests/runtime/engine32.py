"""ARMv7's part of the engine: SVC mode and User mode, in ARM and Thumb state, whatever mode and endianness the instruction leaves.

Interrupts are taken on SVC mode's stack, and only while the kernel lets them; nothing else is believed of the banked registers.
"""

from freestanding import Ptr, assembly, external, fn, linker_symbol, operation, table, u32, u64, usize
from guests.runtime.engine_state import SLOT_BYTES, Values
from guests.runtime.link import IMAGE_VIRT, MAX_CPUS
from guests.runtime.machine import MACHINE
from xenarm.arm.instructions import instruction_sync
from xenarm.arm32.registers import Mode, Writer, coprocessor, read_ttbr0, writer

__all__ = ["BACK", "CALL", "DEVICE_ALIAS", "FLOATING_POINT", "PROGRAM", "RAM_ALIAS", "STATE", "engine_init", "engine_vectors", "hostile_run", "publish"]

MAPS_MEMORY = True

VECTORS = linker_symbol("hostile_vectors")
RAM_ALIAS = 0x8000_0000  # the GiB of RAM again, open to User mode
DEVICE_ALIAS = 0xC000_0000  # the lowest GiB again, likewise, as far as the image leaves room
GIB_SHIFT = 30
BLOCK_SHIFT = 21
BLOCKS = 510  # of 2 MiB, below the image
assert DEVICE_ALIAS + (BLOCKS << BLOCK_SHIFT) <= IMAGE_VIRT
LEVEL1 = 4
USER_RAM = 0x705 | 1 << 6 | 1 << 53  # normal, inner shareable, AP[1]; never executed by PL1
USER_DEVICE = 0x401 | 1 << 6 | 3 << 53
TABLE_MASK = 0xFFFF_F000
CALL = table(u32, [0xEF00_0000, 0xEF00_0000, 0xDF00_DF00])
"""SVC: ends what a program runs."""
BACK = CALL
"""Ends what the kernel runs, by the kind of instructions: whatever mode it has gone to, and that mode's LR."""
PROGRAM = table(u64, [0x1D0, 0x1D0, 0x1F0])
"""PSR of a program: AArch32, Thumb; everything masked."""
STATE = table(u64, [0, 0, 1])
"""What a branch's address says of the state."""
ALL_COPROCESSORS = 0xF << 20
FLOATING_POINT = ("hostile_unit_on",)
"""What has an instruction of FP."""

write_vbar: Writer = writer("vbar")

SLOT_OF_THIS_CPU = f"""
    mrc {coprocessor("tpidrprw", "r2")}
    ldr r3, =hostile_slots
    add r3, r3, r2, lsl #6
"""
LOAD = "\n".join(f"    ldr r{n}, [r9, #{8 * n}]" for n in range(8))

# r0: where to; r1: values for r0-r7 and r12; r2: 0, or PSR + 1 to go to User mode with. LR and SPSR of SVC mode are such that a return comes back too.
RUN = f"""
    .section .text.hostile, "ax"
    .balign 4
    .arm
    .global hostile_run
hostile_run:
    push {{r3-r11, lr}}
    mov r8, r0
    mov r9, r1
    mov r10, r2
    {SLOT_OF_THIS_CPU}
    str sp, [r3]
    mov r4, #1
    str r4, [r3, #56]
    ldr r12, [r9, #64]
{LOAD}
    cmp r10, #0
    bne 1f
    movw r11, #0x1d3
    msr spsr_cxsf, r11
    msr cpsr_f, r7
    adr lr, hostile_back
    bx r8
1:  sub r10, r10, #1
    and r11, r7, #0xf0000000
    orr r10, r10, r11
    msr spsr_cxsf, r10
    movs pc, r8
hostile_back:
    cpsid aif, #{Mode.SVC:#x}
    setend le
    {SLOT_OF_THIS_CPU}
    mov r4, #0
    str r4, [r3, #56]
    ldr sp, [r3]
    pop {{r3-r11, pc}}
"""

# r4: the vector's number, r5: its LR. Whatever the registers hold now, only TPIDRPRW and this CPU's slot are believed.
CAUGHT = f"""
hostile_caught:
    cpsid aif, #{Mode.SVC:#x}
    {SLOT_OF_THIS_CPU}
    ldr r6, [r3, #56]
    cmp r6, #0
    beq 1f
    cmp r4, #2
    beq hostile_back
    ldr r6, [r3, #8]
    add r6, r6, #1
    str r6, [r3, #8]
    str r4, [r3, #16]
    str r5, [r3, #24]
    b hostile_back
1:  ldr sp, =hostile_last_stack_end
    mov r6, #0
    mrc {coprocessor("dfar", "r8")}
    mov r9, #0
    push {{r8, r9}}
    push {{r5, r6}}
    mov r0, r4
    mov r1, #0
    mrc {coprocessor("dfsr", "r2")}
    mov r3, #0
    b guest_fault
"""

INTERRUPT = f"""
hostile_interrupt:
    sub lr, lr, #4
    srsdb sp!, #{Mode.SVC:#x}
    cps #{Mode.SVC:#x}
    push {{r0-r3, r12, lr}}
    ldr r0, [sp, #28]
    orr r0, r0, #0x1c0
    str r0, [sp, #28]
    and r1, sp, #4
    sub sp, sp, r1
    push {{r1, lr}}
    bl hostile_took
    pop {{r1, lr}}
    add sp, sp, r1
    pop {{r0-r3, r12, lr}}
    rfeia sp!
"""


def vector(number: int) -> str:
    """Every exception but an interrupt (B1.8.1)."""
    return f"hostile_vector_{number}:\n    mov r4, #{number}\n    mov r5, lr\n    b hostile_caught\n"


EXCEPTIONS = (0, 1, 2, 3, 4, 5, 7)
assembly(
    f"""{RUN}{CAUGHT}{INTERRUPT}
{"".join(vector(number) for number in EXCEPTIONS)}
    .ltorg
    .global hostile_unit_on
hostile_unit_on:
    mrc {coprocessor("cpacr", "r0")}
    orr r0, r0, #{ALL_COPROCESSORS:#x}
    mcr {coprocessor("cpacr", "r0")}
    isb
    .fpu neon-vfpv4
    mov r0, #{1 << 30:#x}
    vmsr fpexc, r0
    bx lr

    .section .vectors.text, "ax"
    .balign 32
    .global hostile_vectors
hostile_vectors:
{"".join(f"    b {'hostile_interrupt' if number == 6 else f'hostile_vector_{number}'}{chr(10)}" for number in range(8))}

    .section .bss.hostile, "aw", %nobits
    .balign 64
    .global hostile_slots
hostile_slots:
    .space {MAX_CPUS * SLOT_BYTES}
    .balign 16
hostile_last_stack:
    .space 4096
hostile_last_stack_end:
""",
    arch="armv7",
)


@external("hostile_run")
def run(code: u32, values: Values, user: u32) -> u32:
    raise NotImplementedError("an instruction needs a CPU")


@external("hostile_unit_on")
def unit_on() -> None:
    """FP and SIMD, so that they reach the hypervisor."""


@fn
def hostile_run(code: u64, values: Values, user: u64) -> u64:
    """What r0 holds at the end."""
    return u64(run(u32(code), values, u32(user)))


@operation(armv7="mcr p15, 0, {address}, c7, c11, 1\n dsb\n mcr p15, 0, {address}, c7, c5, 1\n mcr p15, 0, {address}, c7, c5, 6\n dsb\n isb", clobbers=("memory",))
def publish_line(address: u32) -> None:
    return None


@fn
def publish(address: u64) -> None:
    publish_line(u32(address))


@operation(armv7="dsb\n mcr p15, 0, {zero}, c8, c7, 0\n dsb\n isb", clobbers=("memory",))
def tables_changed(zero: u32) -> None:
    return None


@fn
def engine_init() -> None:
    """Show RAM and the devices to User mode too. The entry's tables are found through TTBR0."""
    level1 = Ptr[u64](usize(read_ttbr0() & TABLE_MASK)).slice(LEVEL1)
    level1[RAM_ALIAS >> GIB_SHIFT] = (MACHINE.image >> GIB_SHIFT << GIB_SHIFT) | USER_RAM
    level2 = Ptr[u64](usize(level1[DEVICE_ALIAS >> GIB_SHIFT] & TABLE_MASK)).slice(BLOCKS)
    for n in range(u64(BLOCKS)):
        level2[usize(n)] = n << BLOCK_SHIFT | USER_DEVICE
    tables_changed(0)


@fn
def engine_vectors() -> None:
    """Take this CPU's exceptions here."""
    write_vbar(u64(usize(VECTORS)))
    unit_on()
    instruction_sync()
