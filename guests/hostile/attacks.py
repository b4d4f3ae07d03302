"""What the hostile guest does: one random thing at a time, from a table of kinds with their weights."""

from collections.abc import Callable

from freestanding import Struct, fn, table, truncate, u8, u32, u64
from guests.hostile.hypercalls import draw_hypercall
from guests.hostile.places import arm_timer, random_address, random_values
from guests.runtime.console import console_write
from guests.runtime.cpu import interrupts_off, interrupts_on
from guests.runtime.dice import draw, draw_below, draw_value
from guests.runtime.engine import Values
from guests.runtime.gic import GIC, HAS_V3, gic_acknowledge, gic_control, gic_cpu_init, gic_end, gic_registers, gic_route, intid_of
from guests.runtime.machine import MACHINE, secondary_entry
from guests.runtime.psci import psci_affinity_info, psci_cpu_on
from xenarm.abi.hypercall import HYPERCALL_TAG
from xenarm.abi.psci import PSCI_64BIT, PSCI_BASE, PsciFunction, Smccc
from xenarm.arm.instructions import instruction_sync, mmio_read32, mmio_write8, mmio_write32, wait_for_interrupt
from xenarm.config import CONFIG
from xenarm.gic.registers import Gicd
from xenarm.gic.registers3 import Gicd3, Gicr, write_icc_sgi1r

if CONFIG.ARM64:
    from guests.hostile.instructions64 import attack_memory, attack_register, attack_system, attack_user, attack_user_memory, attack_weird, run_call
else:
    from guests.hostile.instructions32 import attack_memory, attack_register, attack_system, attack_user, attack_user_memory, attack_weird, run_call

__all__ = ["attack"]

WIDTH_MASK = 0xFFFF_FFFF & ~PSCI_64BIT
FLOOD = 48
PENDED = 64
GIC_WORDS = 8

CALLS = table(u64, [PSCI_BASE, PSCI_BASE + PSCI_64BIT, Smccc.VERSION, 0x8600_0000, 0xC600_0000, 0xBF00_FF00, 0x8000_7FFF])


@fn
def random_function(cpu: u32) -> u64:
    """A function identifier: PSCI's, or anything; none that would end the domain or this CPU."""
    function = CALLS[draw_below(cpu, u32(len(CALLS)))] + (draw(cpu) & 31)
    if draw_below(cpu, 4) == 0:
        function = draw_value(cpu)
    number = function & WIDTH_MASK & 0xFFFF_FFFF
    ends = number == PSCI_BASE + PsciFunction.SYSTEM_OFF or number == PSCI_BASE + PsciFunction.SYSTEM_RESET
    return PSCI_BASE if ends or number == PSCI_BASE + PsciFunction.CPU_OFF else function


@fn
def attack_call(cpu: u32, values: Values) -> None:
    """HVC and SMC with any immediate and arguments."""
    values.x[0] = random_function(cpu)
    if values.x[0] & WIDTH_MASK == PSCI_BASE + PsciFunction.CPU_ON:
        values.x[2] = secondary_entry()
        values.x[3] = values.x[1] & 7
    immediate = u32(0)
    match draw_below(cpu, 4):
        case 0:
            immediate = HYPERCALL_TAG
            values.x[8] = draw(cpu) & 0x3F
        case 1:
            immediate = truncate(u32, draw(cpu)) & 0xFFFF
        case _:
            pass
    arm_timer(cpu)
    run_call(cpu, values, draw_below(cpu, 2) == 0, immediate)


@fn
def attack_hypercall(cpu: u32, values: Values) -> None:
    """Xen's hypercalls."""
    draw_hypercall(cpu, values, random_address(cpu))
    arm_timer(cpu)
    run_call(cpu, values, True, HYPERCALL_TAG)


@fn
def take_interrupts() -> None:
    interrupts_on()
    instruction_sync()
    interrupts_off()


@fn
def attack_wait(cpu: u32, values: Values) -> None:
    """WFI with interrupts masked, and taken behind it."""
    arm_timer(cpu)
    wait_for_interrupt()
    take_interrupts()


@fn
def attack_flood(cpu: u32, values: Values) -> None:
    for _ in range(draw_below(cpu, FLOOD)):
        console_write(b"\x01\x1b[flood\r")


@fn
def frame_v3(cpu: u32) -> u64:
    match draw_below(cpu, 4):
        case 0:
            return GIC.gicd + Gicd3.IROUTER
        case 1:
            return GIC.gicr + u64(draw_below(cpu, MACHINE.cpus)) * Gicr.FRAME + (draw(cpu) & Gicr.SGI_BASE)
        case _:
            return GIC.gicd


@fn
def gic_frame(cpu: u32) -> u64:
    """The distributor; of a GICv3 as often any CPU's redistributor, or the page of GICD_IROUTER<n>."""
    return frame_v3(cpu) if HAS_V3 and GIC.v3 else GIC.gicd


@fn
def attack_distributor(cpu: u32, values: Values) -> None:
    """Words of the distributor and the redistributors, as fast as they go: enables, pending and active bits, targets, configuration."""
    for _ in range(draw_below(cpu, 32)):
        offset = draw(cpu) & 0xFFC
        if draw_below(cpu, 2) == 0:
            mmio_write32(gic_frame(cpu) + offset, truncate(u32, draw_value(cpu)))
        else:
            mmio_read32(gic_frame(cpu) + offset)


@fn
def attack_lists(cpu: u32, values: Values) -> None:
    """Everything enabled and pending at random priorities, some of it active: far more than there are list registers; some is taken."""
    mmio_write32(GIC.gicd + Gicd.CTLR, 3)
    for n in range(u64(GIC_WORDS)):
        base = gic_registers(u32(n) * 32)
        mmio_write32(base + Gicd.ISENABLER + n * 4, 0xFFFF_FFFF)
        mmio_write32(base + Gicd.ISPENDR + n * 4, truncate(u32, draw(cpu)))
        mmio_write32(base + Gicd.ISACTIVER + n * 4, truncate(u32, draw(cpu) & draw(cpu) & draw(cpu)))
    for _ in range(PENDED):
        intid = u32(draw(cpu) & 0xFF)
        mmio_write8(gic_registers(intid) + u64(Gicd.IPRIORITYR + intid), truncate(u8, draw(cpu)))
        gic_route(intid, draw(cpu))
    if HAS_V3 and GIC.v3:
        write_icc_sgi1r(draw(cpu) & draw_value(cpu))
    else:
        mmio_write32(GIC.gicd + Gicd.SGIR, truncate(u32, draw(cpu)))
    take_some(draw_below(cpu, 40))
    if draw_below(cpu, 2) == 0:
        take_interrupts()


@fn
def take_some(count: u32) -> None:
    """Acknowledge without ending now and then, and end what was never acknowledged."""
    for i in range(count):
        iar = gic_acknowledge()
        real, _ = intid_of(iar)
        if real and i % 5 != 4:
            gic_end(iar)
        if i % 7 == 6:
            gic_end(iar ^ 3)


@fn
def calm(cpu: u32) -> None:
    """Let everything go, so that the next attack does not start from a GIC in which all is active for good."""
    gic_cpu_init()
    for n in range(u64(GIC_WORDS)):
        base = gic_registers(u32(n) * 32)
        mmio_write32(base + Gicd.ICPENDR + n * 4, 0xFFFF_FFFF)
        mmio_write32(base + Gicd.ICACTIVER + n * 4, 0xFFFF_FFFF)
    gic_control(True)


@fn
def attack_calm(cpu: u32, values: Values) -> None:
    calm(cpu)


@fn
def attack_power(cpu: u32, values: Values) -> None:
    """Turn the others on, as often as they turn themselves off."""
    for n in range(MACHINE.cpus):
        if n != cpu:
            psci_cpu_on(MACHINE.mpidr[n], secondary_entry(), u64(n))
            psci_affinity_info(MACHINE.mpidr[n])


class Kind(Struct, frozen=True):
    """A kind of attack."""

    run: Callable[[u32, Values], None]


WEIGHTS: list[tuple[int, Callable[[u32, Values], None]]] = [
    (24, attack_memory),
    (8, attack_user_memory),
    (24, attack_register),
    (12, attack_user),
    (8, attack_system),
    (16, attack_call),
    (16, attack_hypercall),
    (4, attack_weird),
    (2, attack_wait),
    (1, attack_flood),
    (8, attack_distributor),
    (4, attack_lists),
    (2, attack_calm),
    (2, attack_power),
]
KINDS = table(Kind, [Kind(run) for weight, run in WEIGHTS for _ in range(weight)])


@fn
def attack(cpu: u32, values: Values) -> None:
    """One random operation."""
    random_values(cpu, values)
    KINDS[draw_below(cpu, u32(len(KINDS)))].run(cpu, values)
