"""What the hostile guest does: one random thing at a time, from a table of kinds with their weights."""

from collections.abc import Callable

from freestanding import Struct, fn, table, truncate, u8, u32, u64, zeroed
from guests.runtime.dice import draw, draw_below, draw_value
from guests.runtime.engine import DEVICE_ALIAS, RAM_ALIAS, Values, run_kernel, run_user, zone
from guests.hostile.hypercalls import draw_hypercall
from guests.runtime.console import CONSOLE, console_write
from guests.runtime.cpu import counter, interrupts_off, interrupts_on, write_cntv_ctl_el0, write_cntv_cval_el0
from guests.runtime.gic import GIC, gic_acknowledge, gic_control, gic_cpu_init, gic_end, gic_registers, gic_route, intid_of
from guests.runtime.machine import MACHINE, memory_banks, secondary_entry
from guests.runtime.psci import psci_affinity_info, psci_cpu_on
from xenarm.abi.hypercall import HYPERCALL_TAG
from xenarm.abi.psci import PSCI_64BIT, PSCI_BASE, PsciFunction, Smccc
from xenarm.arm.instructions import instruction_sync, mmio_read32, mmio_write8, mmio_write32, wait_for_interrupt
from xenarm.arm64.registers import write_elr_el1, write_spsr_el1
from xenarm.gic.registers import Gicd
from xenarm.gic.registers3 import Gicd3, Gicr, write_icc_sgi1r

__all__ = ["arm_timer", "attack", "attacks_init"]

INSTRUCTION_HVC = 0xD400_0002
INSTRUCTION_SMC = 0xD400_0003
SYSTEM = 0xD500_0000
READ = 1 << 21
WFI = 0xD503_207F
WIDTH_MASK = 0xFFFF_FFFF & ~PSCI_64BIT
BELOW_IMAGE = 0x3F_FFFF_FFFF  # beyond it this guest's own memory shows again
FLOOD = 48
PENDED = 64
TIMER_TICKS = 2000
VIRTUAL_TIMER = 1 << 27
NEVER_EXECUTED = 0x0800_0000  # device memory, whatever the width of the address
GIC_WORDS = 8


class Place(Struct):
    """The end of RAM."""

    ram: u64
    ram_end: u64


PLACE = zeroed(Place)

LOADS = table(
    u32,
    [
        # Rt is added; Rn is x0; Rt2 and Rs, where there are any, x2 and x3
        0x3940_0000, 0x3900_0000,  # LDRB, STRB
        0x7940_0000, 0x7900_0000,  # LDRH, STRH
        0xB940_0000, 0xB900_0000,  # LDR, STR word
        0xF940_0000, 0xF900_0000,  # LDR, STR doubleword
        0x3980_0000, 0x39C0_0000,  # LDRSB to 64 and 32 bits
        0x7980_0000, 0x79C0_0000, 0xB980_0000,  # LDRSH, LDRSW
        0xB840_1000, 0xB800_1000, 0xB840_4400, 0xB81F_CC00,  # LDUR, STUR, post- and pre-indexed
        0xA940_0800, 0xA900_0800, 0x2940_0800, 0x2900_0800, 0x6940_0800,  # LDP, STP, LDPSW
        0x885F_7C00, 0x8803_7C00, 0xC85F_7C00, 0xC803_7C00, 0x485F_7C00, 0x0803_7C00,  # LDXR, STXR
        0xC87F_0800, 0xC823_0800,  # LDXP, STXP
        0x88DF_FC00, 0x889F_FC00, 0x08DF_FC00, 0xC89F_FC00,  # LDAR, STLR
        0xF980_0000,  # PRFM
        0x3D40_0000, 0x3D80_0000,  # LDR, STR of a SIMD register
        0xB820_0000, 0xB820_8000, 0xC8A3_7C00, 0x38E3_1000,  # LDADD, SWP, CAS, LDCLRALB, which may be undefined
        0x0C40_7000, 0x0C00_7000,  # LD1, ST1
    ],
)  # fmt: skip
"""Every form of a load and store: few of them have a syndrome."""

CACHE = table(u32, [0xD508_7620, 0xD508_7A40, 0xD508_7E40, 0xD508_7640, 0xD50B_7A20, 0xD50B_7B20, 0xD50B_7E20, 0xD50B_7420, 0xD50B_7520, 0xD508_7500])
"""DC IVAC, CSW, CISW, ISW, CVAC, CVAU, CIVAC, ZVA; IC IVAU, IALLU, all of x0."""

WEIRD = table(u32, [0, 0xFFFF_FFFF, 0xD420_0000, 0xD440_0000, 0xD4A0_0001, 0xD4A0_0002, 0xD4A0_0003, 0xD69F_03E0, 0xD6BF_03E0, 0xD503_205F, 0xD503_3FDF, 0xD61F_0000, 0x1E60_2800, 0x0420_0000])
"""UDF, BRK, HLT, DCPS1 to 3, ERET, DRPS, WFE, ISB, BR to nowhere, FP, SVE."""

CALLS = table(u64, [PSCI_BASE, PSCI_BASE + PSCI_64BIT, Smccc.VERSION, 0x8600_0000, 0xC600_0000, 0xBF00_FF00, 0x8000_7FFF])


@fn
def attacks_init() -> None:
    """Find the edges of RAM."""
    for bank in memory_banks():
        PLACE.ram = bank.base
        PLACE.ram_end = bank.base + bank.size


@fn
def arm_timer(cpu: u32) -> None:
    """Something must end a WFI, whatever became of the distributor: the virtual timer, enabled, inactive and forwarded."""
    own = gic_registers(0)
    mmio_write32(own + Gicd.ICACTIVER, VIRTUAL_TIMER)
    if GIC.v3:
        mmio_write32(own + Gicd.IGROUPR, mmio_read32(own + Gicd.IGROUPR) | VIRTUAL_TIMER)
    mmio_write32(own + Gicd.ISENABLER, VIRTUAL_TIMER)
    mmio_write32(GIC.gicd + Gicd.CTLR, 3)
    write_cntv_cval_el0(counter() + TIMER_TICKS + (draw(cpu) & 0xFFF))
    write_cntv_ctl_el0(1)
    instruction_sync()


@fn
def random_values(cpu: u32, values: Values) -> None:
    for i in range(9):
        values.x[i] = draw_value(cpu)


@fn
def random_register(cpu: u32) -> u32:
    """For a transfer: any but the frame pointer and the link."""
    n = draw_below(cpu, 32)
    return u32(31) if n == 29 or n == 30 else n


@fn
def device_offset(cpu: u32) -> u64:
    """Within the lowest GiB: a device, or a hole between them."""
    offset = draw(cpu) & 0xFFF
    if draw_below(cpu, 4) != 0:
        offset &= ~u64(3)
    match draw_below(cpu, 8):
        case 0 | 1 | 2:
            return GIC.gicd + offset
        case 3:
            return (GIC.gicr + (draw(cpu) & 0x3_F000) if GIC.v3 else GIC.gicc + (draw(cpu) & 0x1000)) + offset
        case 4:
            return CONSOLE.base + (offset & 0x7F)
        case 5:
            return CONSOLE.base + offset
        case 6:
            return 0x0800_0000 + (draw(cpu) & 0x3FF_FFFF)
        case _:
            return draw(cpu) & 0x3FFF_FFFF


@fn
def random_address(cpu: u32) -> u64:
    """A device, a hole, the end of RAM from both sides, what no table maps, or memory that may be written."""
    match draw_below(cpu, 8):
        case 0:
            return PLACE.ram_end + (draw(cpu) & 0xFF)
        case 1:
            return PLACE.ram_end - 2
        case 2:
            return draw(cpu) & BELOW_IMAGE | 0x10_0000_0000
        case 3:
            return zone() + (draw(cpu) & 0x7FF)
        case 4:
            return draw(cpu) | 0x8000_0000_0000
        case _:
            return device_offset(cpu)


@fn
def attack_memory(cpu: u32, values: Values) -> None:
    address = random_address(cpu)
    which = draw_below(cpu, u32(len(LOADS)))
    values.x[0] = address
    run_kernel(cpu, LOADS[which] | random_register(cpu), values)


@fn
def attack_user_memory(cpu: u32, values: Values) -> None:
    """The same from EL0."""
    values.x[0] = DEVICE_ALIAS + device_offset(cpu) if draw_below(cpu, 4) != 0 else PLACE.ram_end - PLACE.ram + RAM_ALIAS - 2
    if draw_below(cpu, 2) == 0:
        run_user(cpu, LOADS[draw_below(cpu, u32(len(LOADS)))] | random_register(cpu), values, 0)
    else:
        run_user(cpu, 0xE400_0000 | truncate(u32, draw(cpu)) & 0x1F0_CFFF, values, 1)


@fn
def keeps_guest_alive(op1: u32, crn: u32) -> bool:
    """Whether a write of anything leaves this guest its stack, translation, vectors and number."""
    return op1 != 0 or not (crn == 1 or crn == 2 or crn == 4 or crn == 10 or crn == 12 or crn == 13)


@fn
def attack_register(cpu: u32, values: Values) -> None:
    """Any MRS or MSR. Registers that this guest stands on are only written with what they hold."""
    encoding = truncate(u32, draw(cpu)) & 0x7_FFE0
    op0 = 2 + draw_below(cpu, 2)
    if draw_below(cpu, 8) == 0:
        encoding = encoding & 0xFFFF_0FFF | 0xB000
    instruction = SYSTEM | op0 << 19 | encoding
    if draw_below(cpu, 2) == 0:
        run_kernel(cpu, instruction | READ | random_register(cpu), values)
    elif op0 == 2 or keeps_guest_alive(encoding >> 16 & 7, encoding >> 12 & 0xF):
        run_kernel(cpu, instruction | random_register(cpu), values)
    arm_timer(cpu)


@fn
def attack_user(cpu: u32, values: Values) -> None:
    """System registers, calls and waits from EL0, 64 and 32 bits wide."""
    random = truncate(u32, draw(cpu))
    arm_timer(cpu)
    match draw_below(cpu, 6):
        case 0 | 1:
            run_user(cpu, SYSTEM | (2 + draw_below(cpu, 2)) << 19 | random & 0x27_FFFF, values, 0)
        case 2:
            run_user(cpu, WFI | random & 0xE0, values, 0)
        case 3:
            run_user(cpu, 0xEE00_0E10 | random & 0xF0_F1EF | (random & 1) << 8, values, 1)  # MCR, MRC of p14 and p15
        case 4:
            run_user(cpu, 0xEC40_0E00 | random & 0x1F_F1FF, values, 1)  # MCRR, MRRC
        case _:
            run_user(cpu, 0x0E10_EE00 | random & 0xF1EF_01FF, values, 2)  # the same in Thumb


@fn
def attack_system(cpu: u32, values: Values) -> None:
    """Cache and TLB maintenance, address translation: any SYS instruction, and the well-known ones on hard addresses."""
    if draw_below(cpu, 2) == 0:
        which = CACHE[draw_below(cpu, u32(len(CACHE)))]
        values.x[0] = draw_value(cpu) if draw_below(cpu, 2) == 0 else random_address(cpu)
        if which & 0xFFFF_FFE0 == 0xD50B_7420 and draw_below(cpu, 2) == 0:
            values.x[0] = zone()
        run_kernel(cpu, which, values)
        return
    values.x[0] = zone()
    run_kernel(cpu, SYSTEM | 1 << 19 | (draw_below(cpu, 2) * READ) | truncate(u32, draw(cpu)) & 0x7_FFE0, values)


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
    run_kernel(cpu, (INSTRUCTION_HVC if draw_below(cpu, 2) == 0 else u32(INSTRUCTION_SMC)) | immediate << 5, values)


@fn
def attack_hypercall(cpu: u32, values: Values) -> None:
    """Xen's hypercalls."""
    draw_hypercall(cpu, values, random_address(cpu))
    arm_timer(cpu)
    run_kernel(cpu, INSTRUCTION_HVC | HYPERCALL_TAG << 5, values)


@fn
def attack_weird(cpu: u32, values: Values) -> None:
    arm_timer(cpu)
    values.x[0] = NEVER_EXECUTED
    write_elr_el1(NEVER_EXECUTED)
    write_spsr_el1(draw(cpu) & 0xFFFF_FFFF)
    run_kernel(cpu, WEIRD[draw_below(cpu, u32(len(WEIRD)))], values)


@fn
def attack_wait(cpu: u32, values: Values) -> None:
    """WFI with interrupts masked, and taken behind it."""
    arm_timer(cpu)
    wait_for_interrupt()
    interrupts_on()
    interrupts_off()


@fn
def attack_flood(cpu: u32, values: Values) -> None:
    for _ in range(draw_below(cpu, FLOOD)):
        console_write(b"\x01\x1b[flood\r")


@fn
def gic_frame(cpu: u32) -> u64:
    """The distributor; of a GICv3 as often any CPU's redistributor, or the page of GICD_IROUTER<n>."""
    if not GIC.v3:
        return GIC.gicd
    match draw_below(cpu, 4):
        case 0:
            return GIC.gicd + Gicd3.IROUTER
        case 1:
            return GIC.gicr + u64(draw_below(cpu, MACHINE.cpus)) * Gicr.FRAME + (draw(cpu) & Gicr.SGI_BASE)
        case _:
            return GIC.gicd


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
    if GIC.v3:
        write_icc_sgi1r(draw(cpu) & draw_value(cpu))
    else:
        mmio_write32(GIC.gicd + Gicd.SGIR, truncate(u32, draw(cpu)))
    take_some(draw_below(cpu, 40))
    if draw_below(cpu, 2) == 0:
        interrupts_on()
        interrupts_off()


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
