"""HYP mode's exception vectors, the ways into and out of a guest, reporting of the hypervisor's own faults.

While a guest runs, SP_hyp points at its `Vcpu`, and the stack is free below it. One store saves every general register that the guest's
modes share; those that are banked by mode stay in place, as do ELR_hyp and SPSR_hyp. HYP mode has the LR of user mode for its own.
CPUs whose predicted branches a guest could train, and those that name wrong registers, have tables of their own (`processor.py`): the others pay nothing.
"""

from collections.abc import Callable

from freestanding import Array, Struct, array, assembly, external, fn, linker_symbol, offset_of, size_of, u32, u64, usize, zeroed
from xenarm.arm.cpu import Harden, cpu_index
from xenarm.arm.frame import CrashFrame
from xenarm.arm.instructions import instruction_sync
from xenarm.arm32.registers import Mode, coprocessor, write_hvbar
from xenarm.config import CONFIG
from xenarm.core.domain import MAX_CPUS, Vcpu

__all__ = [
    "HYP_VECTORS",
    "LR_INDEX",
    "TABLES",
    "enter_guest",
    "entry_table",
    "own_table",
    "stores_repaired",
    "table_choose",
    "table_kind",
    "vectors_choose",
    "vectors_used",
]

LR_INDEX = 14  # of LR_usr in the frame; 13 is free, since SP is banked


PLAIN_VECTORS = linker_symbol("vectors")
STORES_VECTORS = linker_symbol("stores_vectors")
ICACHE_VECTORS = linker_symbol("icache_vectors")
ICACHE_STORES_VECTORS = linker_symbol("icache_stores_vectors")
PREDICTOR_VECTORS = linker_symbol("predictor_vectors")


class Chosen(Struct):
    """Each CPU's table."""

    how: Array[Harden] = array(Harden, MAX_CPUS)
    stores: Array[bool] = array(bool, MAX_CPUS)


CHOSEN = zeroed(Chosen)
ICIALLU = "p15, 0, r0, c7, c5, 0"
BPIALL = "p15, 0, r0, c7, c5, 6"
HARDENED = {"icache": ICIALLU, "icache_stores": ICIALLU, "predictor": BPIALL} if CONFIG.HARDEN_BRANCH_PREDICTOR else {}
TABLES = tuple(name for name in ("stores", *HARDENED) if CONFIG.ERRATUM_766422 or "stores" not in name)
"""Beside the plain one."""
CRASH_STACK = 0x800
LR = 4 * LR_INDEX

assert offset_of(Vcpu, "regs") == 0, "SP points at the frame"

SAVE = f"    stm sp, {{r0-r12}}\n    str lr, [sp, #{LR}]"
RESTORE = f"    ldr lr, [sp, #{LR}]\n    ldm sp, {{r0-r12}}"
LEAVE = f"{RESTORE}\n    eret\n    dsb\n    isb"  # nothing is fetched past ERET

HYP_VECTORS = ("reset", "undefined", "call", "prefetch_abort", "data_abort")


def own_fault(name: str, number: int) -> str:
    """The hypervisor itself is at fault: r0 is kept in HTPIDR, which nothing else uses."""
    return f"""
hyp_{name}:
    mcr {coprocessor("htpidr", "r0")}
    mov r0, #{number}
    b hyp_fault
"""


OWN_FAULTS = "\n".join(f"    b hyp_{name}" for name in HYP_VECTORS[:4])


def entry_table(label: str, trap: str, irq: str, fiq: str) -> str:
    return f"""
    .balign 32
    .global {label}
{label}:
{OWN_FAULTS}
    b data_abort
    b {trap}
    b {irq}
    b {fiq}
"""


def hardened_table(label: str, operation: str, trap: str, irq: str, fiq: str) -> str:
    """No branch comes before the invalidation: a guest may have trained that too. SP, a multiple of 4, counts which entry it was."""
    return f"""
    .balign 32
    .global {label}
{label}:
{OWN_FAULTS}
    add sp, sp, #1
    add sp, sp, #1
    add sp, sp, #1
    mcr {operation}
    isb
    eor sp, sp, #2
    tst sp, #3
    beq {trap}
    eor sp, sp, #3
    tst sp, #3
    beq {irq}
    eor sp, sp, #1
    tst sp, #3
    beq {fiq}
    bic sp, sp, #3
    b data_abort
"""


def own_table(name: str, prefix: str = "", entries: str = "guest") -> str:
    """The table of that kind."""
    trap = f"{entries}_stores" if "stores" in name else f"{entries}_trap"
    ways = (f"{prefix}{name}_vectors", trap, f"{entries}_irq", f"{entries}_fiq")
    return hardened_table(ways[0], HARDENED[name], *ways[1:]) if name in HARDENED else entry_table(*ways)


def stores_repaired(entries: str, save: str) -> str:
    """The way in of a CPU whose HSR may be wrong."""
    return f"""
{entries}_stores:
{save}
    mov r0, sp
    bl store_repair
    b {entries}_trap_saved
""" if CONFIG.ERRATUM_766422 else ""


VECTORS = f"""
    .section .vectors.text, "ax"
    .arch_extension virt
{entry_table("vectors", "guest_trap", "guest_irq", "guest_fiq")}
{"".join(own_table(name) for name in TABLES)}
{stores_repaired("guest", SAVE)}
guest_trap:
{SAVE}
guest_trap_saved:
    mov r0, sp
    bl short_sync_v2
    orrs r0, r0, r1
    bne 1f
{LEAVE}
1:  mov r0, sp
    bl trap_sync
    orrs r0, r0, r1
    bne 2f
{LEAVE}
2:  mov r0, sp
    bl trap_full
guest_leave:
{LEAVE}

guest_irq:
{SAVE}
    mov r0, sp
    bl short_irq_v2
    orrs r2, r0, r1
    bne 1f
{LEAVE}
1:  mov r2, r0
    mov r3, r1
    mov r0, sp
    bl trap_irq
    b guest_leave

guest_fiq:
{SAVE}
    mov r0, sp
    bl trap_fiq
    b guest_leave

data_abort:
    mcr {coprocessor("htpidr", "r0")}
    mrs r0, spsr
    and r0, r0, #0x1f
    cmp r0, #{Mode.HYP:#x}
    mrc {coprocessor("htpidr", "r0")}
    beq hyp_data_abort
{SAVE}
    mov r0, sp
    bl trap_serror
    b guest_leave

    .global enter_guest
    .type enter_guest, %function
enter_guest:
    mov sp, r0
    b guest_leave

{"".join(own_fault(name, number) for number, name in enumerate(HYP_VECTORS))}
hyp_fault:
    mcr {coprocessor("tpidruro", "r1")}
    mcr {coprocessor("tpidrprw", "r2")}
    mov r2, r0
    ldr r0, =crash_claim
1:  ldrex r1, [r0]
    cmp r1, #0
    bne 2f
    strex r1, r0, [r0]
    cmp r1, #0
    bne 1b
    add r0, r0, #16
    str r2, [r0, #{offset_of(CrashFrame, "vector")}]
    mrc {coprocessor("tpidruro", "r1")}
    mrc {coprocessor("tpidrprw", "r2")}
    add r0, r0, #4
    stm r0, {{r1-r12}}
    sub r0, r0, #4
    mrc {coprocessor("htpidr", "r1")}
    str r1, [r0]
    str sp, [r0, #{offset_of(CrashFrame, "sp")}]
    str lr, [r0, #{LR}]
    mrs r1, elr_hyp
    str r1, [r0, #{offset_of(CrashFrame, "elr")}]
    mrs r1, spsr
    str r1, [r0, #{offset_of(CrashFrame, "spsr")}]
    mrc {coprocessor("hsr", "r1")}
    str r1, [r0, #{offset_of(CrashFrame, "esr")}]
    ldr r3, [r0, #{offset_of(CrashFrame, "vector")}]
    cmp r3, #{HYP_VECTORS.index("prefetch_abort")}
    mrceq {coprocessor("hifar", "r1")}
    mrcne {coprocessor("hdfar", "r1")}
    str r1, [r0, #{offset_of(CrashFrame, "far")}]
    ldr sp, =crash_stack_end
    bl panic_exception
2:  wfe
    b 2b
    .ltorg

    .section .bss.crash, "aw", %nobits
    .balign 16
crash_claim:
    .space {16 + (size_of(CrashFrame) + 15) // 16 * 16}
    .space {CRASH_STACK}
crash_stack_end:
"""


assembly(VECTORS, arch="armv7")


@external("enter_guest")
def enter_guest(v: Vcpu) -> None:
    """Load all general registers from the frame and ERET; the stack below the frame is free again. Does not return."""
    raise NotImplementedError("a guest needs an emulated CPU")


@fn
def vectors_used(how: Harden, cpus: u32) -> bool:
    """All tables stay: they are small."""
    return True


@fn
def table_choose(cpu: u32, how: Harden, stores: bool) -> None:
    """For a CPU, before it next asks `vectors_choose`."""
    CHOSEN.how[cpu] = how
    CHOSEN.stores[cpu] = stores


def table_kind(plain: usize, stores: usize, icache: usize, icache_stores: usize, predictor: usize) -> Callable[[], usize]:
    """The function that says which of these tables is this CPU's."""

    @fn
    def own_vectors() -> usize:
        how = CHOSEN.how[cpu_index()]
        repaired = CONFIG.ERRATUM_766422 and CHOSEN.stores[cpu_index()]
        if CONFIG.HARDEN_BRANCH_PREDICTOR and how == Harden.PREDICTOR:
            return usize(predictor)
        if CONFIG.HARDEN_BRANCH_PREDICTOR and how == Harden.ICACHE:
            return usize(icache_stores) if repaired else usize(icache)
        return usize(stores) if repaired else usize(plain)

    return own_vectors


own_vectors = table_kind(PLAIN_VECTORS, STORES_VECTORS, ICACHE_VECTORS, ICACHE_STORES_VECTORS, PREDICTOR_VECTORS)


@fn
def vectors_choose(v3: bool) -> None:
    """This CPU's exits are not traced. All tables are for a GICv2."""
    write_hvbar(u64(own_vectors()))
    instruction_sync()
