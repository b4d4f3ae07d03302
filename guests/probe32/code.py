"""What AArch32 shows best in its own instructions: accesses in every mode, IT blocks, exceptions as they arrive, all registers at once."""

from __future__ import annotations

from typing import Any

from freestanding import assembly, external, u32
from xenarm.abi.hypercall import HYPERCALL_TAG, Hypercall, SchedOp
from xenarm.arm.aarch32 import THUMB, Mode
from xenarm.arm32.registers import coprocessor
from xenarm.gic.registers import Gicd

__all__ = ["MODES", "arm_undefined", "data_abort", "hypercall", "it_block", "mode_access", "state_check", "state_set", "thumb_undefined", "unit_on", "yield_cpu"]

MODES = {"sys": Mode.SYS, "svc": Mode.SVC, "irq": Mode.IRQ, "abt": Mode.ABT, "und": Mode.UND, "fiq": Mode.FIQ}
ENABLE = 1 << 6  # of interrupt 38: nobody's
UNDEFINED = "hvc #7"  # means nothing to a hypervisor, and is undefined without one
ID_PFR0 = coprocessor("id_pfr0", "{}")


def transfer(register: str, bit: int) -> str:
    return f"    mrc {ID_PFR0.format(register)}\n    cmp {register}, r2\n    orrne r3, r3, #{1 << bit:#x}"


def in_mode(name: str, mode: int) -> str:
    """r0: the distributor. r0 becomes a bit for each access that went wrong; r8 to r12 of FIQ mode are tried too."""
    registers = ["lr", "sp", *([f"r{n}" for n in range(8, 13)] if mode == Mode.FIQ else [])]
    tries = []
    for bit, r in enumerate(registers):
        tries.append(f"""
    ldr {r}, [r0, #{Gicd.TYPER}]
    cmp {r}, r1
    orrne r3, r3, #{1 << bit:#x}
{"" if r == "sp" else transfer(r, bit + 8)}
    mov {r}, #{ENABLE}
    str {r}, [r0, #{Gicd.ISENABLER + 4}]
    ldr r7, [r0, #{Gicd.ISENABLER + 4}]
    tst r7, #{ENABLE}
    orreq r3, r3, #{1 << bit + 16:#x}
    str {r}, [r0, #{Gicd.ICENABLER + 4}]""")
    return f"""
    .global mode_access_{name}
mode_access_{name}:
    push {{r4-r11, lr}}
    ldr r1, [r0, #{Gicd.TYPER}]
    mrc {ID_PFR0.format("r2")}
    mov r3, #0
    cps #{mode:#x}
    mov r4, sp
    mov r5, lr
{"".join(tries)}
    mov sp, r4
    mov lr, r5
    cps #{Mode.SVC:#x}
    mov r0, r3
    pop {{r4-r11, pc}}
"""


IT_BLOCK = f"""
    .global it_block
it_block:
    push {{r4, lr}}
    adr r3, 1f
    orr r3, r3, #1
    blx r3
    pop {{r4, pc}}
    .balign 4
    .thumb
1:  movs r2, #0
    cmp r2, r2
    ittet eq
    mrceq {ID_PFR0.format("r1")}
    addeq r2, #1
    addne r2, #16
    addeq r2, #4
    mov r0, r2
    bx lr
    .balign 4
    .arm
"""

# QEMU's CPUs, up to 7.2 at least, do not bank the SPSR of the mode that is left when EL2 of AArch64 goes on with another one: the guest finds SVC mode's as
# SPSR_abt or SPSR_und. So that has here what those should get.
# Each calls with r12 = where to go on after the exception, and gives what LR was, less the instruction's address.
EXCEPTIONS = f"""
    .balign 32
probe_vectors:
    b .
    b probe_taken
    b .
    b probe_taken
    b probe_taken
    b .
    b .
    b .
probe_taken:
    ldr r0, =probe_seen
    str lr, [r0]
    mrs r1, spsr
    str r1, [r0, #4]
    mrs r1, cpsr
    str r1, [r0, #8]
    mrc {coprocessor("dfsr", "r1")}
    str r1, [r0, #12]
    mrc {coprocessor("dfar", "r1")}
    str r1, [r0, #16]
    mov lr, r12
    movs pc, lr

probe_begin:
    mrc {coprocessor("vbar", "r3")}
    ldr r2, =probe_vectors
    mcr {coprocessor("vbar", "r2")}
    isb
    bx lr
probe_end:
    mcr {coprocessor("vbar", "r3")}
    isb
    ldr r0, =probe_seen
    ldr r0, [r0]
    sub r0, r0, r4
    pop {{r4, pc}}

    .global arm_undefined
arm_undefined:
    push {{r4, lr}}
    bl probe_begin
    mrs r0, cpsr
    msr spsr_cxsf, r0
    adr r4, 1f
    adr r12, 2f
1:  {UNDEFINED}
2:  b probe_end

    .global data_abort
data_abort:
    push {{r4, lr}}
    mov r1, r0
    bl probe_begin
    mrs r0, cpsr
    msr spsr_cxsf, r0
    adr r4, 1f
    adr r12, 2f
1:  ldr r0, [r1]
2:  b probe_end

    .global thumb_undefined
thumb_undefined:
    push {{r4, lr}}
    bl probe_begin
    mrs r0, cpsr
    orr r0, r0, #{THUMB:#x}
    msr spsr_cxsf, r0
    adr r4, 1f
    bic r4, r4, #1
    adr r12, 2f
    bic r12, r12, #1
    orr r0, r4, #1
    bx r0
    .balign 4
    .thumb
1:  {UNDEFINED}
2:  bx pc
    nop
    .balign 4
    .arm
    b probe_end

    .global probe_word
probe_word:
    ldr r1, =probe_seen
    ldr r0, [r1, r0, lsl #2]
    bx lr

    .section .bss.probe_seen, "aw", %nobits
    .balign 4
probe_seen:
    .space 20
    .section .text.probe32, "ax"
"""

CALLS = f"""
    .global xen_call
xen_call:
    mov r12, r0
    mov r0, r1
    mov r1, r2
    hvc #{HYPERCALL_TAG:#x}
    bx lr
    .global yield_cpu
yield_cpu:
    mov r12, #{int(Hypercall.SCHED_OP)}
    mov r0, #{int(SchedOp.YIELD)}
    mov r1, #0
    hvc #{HYPERCALL_TAG:#x}
    bx lr
    .global unit_on
unit_on:
    mrc {coprocessor("cpacr", "r0")}
    orr r0, r0, #{0xF << 20:#x}
    mcr {coprocessor("cpacr", "r0")}
    isb
    mov r0, #{1 << 30:#x}
    vmsr fpexc, r0
    bx lr
"""

# ---- all registers that a guest can hold something in, and that nothing else uses meanwhile ---------------------------------

PSR_BITS = 0xF80F_0010  # flags, Q, GE and a mode's highest bit, which any PSR may have
BANKED = [f"{r}_{mode}" for mode in ("irq", "abt", "und", "fiq") for r in ("sp", "lr", "spsr")] + [f"r{n}_fiq" for n in range(8, 13)] + ["sp_usr", "lr_usr"]
SYSTEM = {"dacr": 0xFFFF_FFFF, "ifsr": 0x0000_120F, "dfsr": 0x0000_120F, "dfar": 0xFFFF_FFFF, "ifar": 0xFFFF_FFFF, "tpidrurw": 0xFFFF_FFFF, "tpidruro": 0xFFFF_FFFF}
STEP = 0x0101_0107


def expected(number: int, mask: int) -> str:
    """r1 = what register `number` gets of the seed in r0, of which the register has the bits of `mask`."""
    return f"    ldr r2, ={STEP * (number + 1) & 0xFFFF_FFFF:#x}\n    add r1, r0, r2\n    ldr r2, ={mask:#x}\n    and r1, r1, r2\n"


def each() -> list[tuple[str, int, str, str]]:
    """(name, mask, instruction that writes r1 there, instruction that reads it to r3)."""
    rows = []
    for name in BANKED:
        rows.append((name, PSR_BITS if name.startswith("spsr") else 0xFFFF_FFFF, f"msr {name}, r1", f"mrs r3, {name}"))
    for name, mask in SYSTEM.items():
        rows.append((name, mask, f"mcr {coprocessor(name, 'r1')}", f"mrc {coprocessor(name, 'r3')}"))
    for n in range(32):
        rows.append((f"d{n}", 0xFFFF_FFFF, f"vmov d{n}, r1, r1", f"vmov r3, r4, d{n}"))
    rows.append(("fpscr", 0xF000_0000, "vmsr fpscr, r1", "vmrs r3, fpscr"))
    return rows


ROWS = each()


def compare(n: int, mask: int, read: str) -> str:
    return f"{expected(n, mask)}    {read}\n    and r3, r3, r2\n    cmp r3, r1\n    movne r12, #{n + 1}\n"


def in_pieces(lines: list[str]) -> str:
    """Constants must lie near their loads."""
    return "".join(line + ("    b 9f\n    .ltorg\n9:\n" if n % 16 == 15 else "") for n, line in enumerate(lines))


STATE = f"""
    .global state_set
state_set:
    push {{r4, lr}}
{in_pieces([expected(n, mask) + f"    {write}{chr(10)}" for n, (_, mask, write, _) in enumerate(ROWS)])}
    pop {{r4, pc}}
    .ltorg
    .global state_check
state_check:
    push {{r4, lr}}
    mov r12, #0
{in_pieces([compare(n, mask, read) for n, (_, mask, _, read) in enumerate(ROWS)])}
    mov r0, r12
    pop {{r4, pc}}
    .ltorg
"""

CODE = f"""
    .section .text.probe32, "ax"
    .arch_extension virt
    .fpu neon-vfpv4
    .balign 4
    .arm
{"".join(in_mode(name, mode) for name, mode in MODES.items())}
{IT_BLOCK}
{EXCEPTIONS}
{CALLS}
{STATE}
"""

assembly(CODE, arch="armv7")


@external("it_block")
def it_block() -> u32:
    """5 when an IT block goes on behind an instruction of it that traps."""
    return u32(5)


@external("arm_undefined")
def arm_undefined() -> u32:
    """LR_und less the address of an undefined instruction."""
    return u32(4)


@external("thumb_undefined")
def thumb_undefined() -> u32:
    return u32(2)


@external("data_abort")
def data_abort(address: u32) -> u32:
    """LR_abt less the address of an instruction that loads from there."""
    return u32(8)


@external("probe_word")
def probe_word(number: u32) -> u32:
    """Of the last exception: LR, SPSR, CPSR, DFSR, DFAR."""
    return u32(0)


@external("xen_call")
def hypercall(number: u32, a: u32, b: u32) -> u32:
    return u32(0)


@external("yield_cpu")
def yield_cpu() -> None:
    """Others go first, once."""


@external("unit_on")
def unit_on() -> None:
    """FP and SIMD."""


@external("state_set")
def state_set(seed: u32) -> None:
    """Everything from a seed."""


@external("state_check")
def state_check(seed: u32) -> u32:
    """0, or the number from 1 of a register that has something else."""
    return u32(0)


def mode_access(name: str) -> Any:
    """The function for a mode: `(distributor: u32) -> u32`, a bit for each access that went wrong."""

    def access(gicd: u32) -> u32:
        return u32(0)

    access.__name__ = access.__qualname__ = f"mode_access_{name}"
    return external(f"mode_access_{name}")(access)
