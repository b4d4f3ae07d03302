"""Instructions of AArch64 made at random, at EL1 and EL0; of AArch32 at EL0."""

from freestanding import fn, table, truncate, u32, u64
from guests.hostile.places import PLACE, arm_timer, device_offset, random_address
from guests.runtime.dice import draw, draw_below, draw_value
from guests.runtime.engine import DEVICE_ALIAS, RAM_ALIAS, Values, run_kernel, run_user, zone
from xenarm.arm64.registers import write_elr_el1, write_spsr_el1

__all__ = ["attack_memory", "attack_register", "attack_system", "attack_user", "attack_user_memory", "attack_weird", "run_call"]

INSTRUCTION_HVC = 0xD400_0002
INSTRUCTION_SMC = 0xD400_0003
SYSTEM = 0xD500_0000
READ = 1 << 21
WFI = 0xD503_207F
NEVER_EXECUTED = 0x0800_0000  # device memory, whatever the width of the address

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


@fn
def run_call(cpu: u32, values: Values, hypervisor: bool, immediate: u32) -> None:
    """HVC or SMC."""
    run_kernel(cpu, (INSTRUCTION_HVC if hypervisor else u32(INSTRUCTION_SMC)) | immediate << 5, values)


@fn
def random_register(cpu: u32) -> u32:
    """For a transfer: any but the frame pointer and the link."""
    n = draw_below(cpu, 32)
    return u32(31) if n == 29 or n == 30 else n


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
def attack_weird(cpu: u32, values: Values) -> None:
    arm_timer(cpu)
    values.x[0] = NEVER_EXECUTED
    write_elr_el1(NEVER_EXECUTED)
    write_spsr_el1(draw(cpu) & 0xFFFF_FFFF)
    run_kernel(cpu, WEIRD[draw_below(cpu, u32(len(WEIRD)))], values)
