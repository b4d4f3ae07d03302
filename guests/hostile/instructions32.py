"""Instructions of AArch32 made at random, in SVC mode and User mode, in ARM and Thumb state: conditions that fail, IT blocks, both endiannesses.

Addresses are in r0, a small offset is in r3. Each ends in an SVC. The registers that this guest stands on are not written.
"""

from freestanding import fn, table, truncate, u32, u64
from guests.hostile.places import PLACE, arm_timer, device_offset, random_address
from guests.runtime.dice import draw, draw_below, draw_value
from guests.runtime.engine import DEVICE_ALIAS, RAM_ALIAS, Values, run_kernel, run_pair, run_user, zone

__all__ = ["attack_memory", "attack_register", "attack_system", "attack_user", "attack_user_memory", "attack_weird", "run_call"]

ARM, THUMB = 1, 2
ANY_CONDITION = 15  # of those that may fail, and always
CONDITION_SHIFT = 28
NEVER_EXECUTED = 0x0800_0000  # device memory
SETEND_BE = 0xF101_0200
HVC = 0xE140_0070
SMC = 0xE160_0070
THUMB_HVC = 0x8000_F7E0  # the first halfword in the lower half
THUMB_SMC = 0x8000_F7F0
IT = 0xBF00
THUMB_SVC = 0xDF00_DF00  # twice: the end
TRANSFER = 0xEE00_0010  # MCR; MRC with READ
TRANSFER_WIDE = 0xEC40_0000  # MCRR; MRRC likewise
BLOCK_TRANSFER = 0xED00_0000  # LDC, STC, VLDMDB, VSTMDB, VLDR, VSTR
BLOCK_BITS = 0x00F0_F03F  # at most 63 words away: the zone has as much on both sides
DATA_OPERATION = 0xEE00_0000  # CDP
READ = 1 << 20
MULTIPLE = 0xE800_0000  # LDM, STM, in all modes of addressing, with and without write-back and user registers
MULTIPLE_BITS = 0x1F0_3FFF  # never LR nor PC
STATUS = 0xE100_0200  # MRS of a banked register

LOADS = table(
    u32,
    [
        # Rt is added; Rn is r0, Rm r3
        0xE590_0000, 0xE580_0000, 0xE5D0_0000, 0xE5C0_0000,  # LDR, STR, LDRB, STRB
        0xE1D0_00B0, 0xE1C0_00B0, 0xE1D0_00D0, 0xE1D0_00F0,  # LDRH, STRH, LDRSB, LDRSH
        0xE490_0004, 0xE480_0004, 0xE5B0_0004, 0xE520_0004,  # post- and pre-indexed
        0xE4B0_0000, 0xE4A0_0000, 0xE4F0_0000, 0xE4E0_0000, 0xE0F0_00B0, 0xE0E0_00B0, 0xE0F0_00D0,  # LDRT, STRT, LDRBT, ...
        0xE790_0003, 0xE780_0003, 0xE190_00B3, 0xE180_00B3, 0xE790_0183,  # by a register, shifted too
        0xE1C0_00D0, 0xE1C0_00F0, 0xE180_00D3,  # LDRD, STRD, some of odd registers
        0xE190_0F9F, 0xE1D0_0F9F, 0xE1F0_0F9F, 0xE1B0_0F9F,  # LDREX, LDREXB, LDREXH, LDREXD
        0xE190_0C9F, 0xE1D0_0C9F,  # LDA, LDAB, which ARMv7 has not
        0xF5D0_F000, 0xF4D0_F000,  # PLD, PLI
    ],
)  # fmt: skip

OTHERS = table(
    u32,
    [
        0xE180_3F91, 0xE1C0_3F91, 0xE1E0_3F91, 0xE1A0_1F92,  # STREX, STREXB, STREXH, STREXD
        0xE100_3091, 0xE140_3091,  # SWP, SWPB
        0xED90_0B00, 0xED80_0B00, 0xED90_0A00, 0xED80_0A00, 0xEC90_0B08, 0xEC80_0B08,  # VLDR, VSTR, VLDM, VSTM
        0xF420_070F, 0xF400_070F, 0xF420_000F, 0xF4A0_030F,  # VLD1, VST1, VLD4, a lane
        0xED90_5E00, 0xED80_5E00,  # LDC, STC of the debug channel
        0xF96D_0513, 0xF94D_0512,  # SRS to SVC mode's stack and IRQ mode's
    ],
)  # fmt: skip
"""Of fixed registers."""

THUMB_LOADS = table(
    u32,
    [
        # with SVC behind those of a halfword; the first halfword in the lower half
        0xDF00_6801, 0xDF00_6001, 0xDF00_7801, 0xDF00_7001, 0xDF00_8801, 0xDF00_8001, 0xDF00_50C1, 0xDF00_56C1, 0xDF00_C802, 0xDF00_C002,
        0x1000_F8D0, 0x1000_F8C0, 0x1000_F890, 0x1000_F880, 0x1000_F8B0, 0x1000_F8A0, 0x1000_F990, 0x1000_F9B0,  # LDR.W, STR.W, LDRB.W, ...
        0x1B04_F850, 0x1D04_F840, 0x1E04_F850,  # post- and pre-indexed, LDRT
        0x1200_E9D0, 0x1200_E9C0, 0x1F00_E850, 0x1300_E840, 0x1F4F_E8D0, 0x12AF_E8E0,  # LDRD, STRD, LDREX, STREX, LDREXB
        0x00FE_E890, 0x00FE_E880, 0x0B00_ED90, 0x070F_F920,  # LDM.W, STM.W, VLDR, VLD1
    ],
)  # fmt: skip

WEIRD = table(
    u32,
    [
        0xE7F0_00F0, 0xE7FF_FFFF, 0xE120_0070, 0xE100_0070, 0xE160_006E,  # UDF, BKPT, HLT, ERET
        0xE320_F001, 0xE320_F002, 0xE320_F003, 0xE320_F004, 0xE320_F014, 0xE320_F0F0,  # YIELD, WFE, WFI, SEV, CSDB, DBG
        0xEF00_0000, 0xEF00_00FF,  # SVC
        0xF101_0200, 0xF101_0000, 0xF57F_F01F, 0xF57F_F04F, 0xF57F_F06F,  # SETEND, CLREX, DSB, ISB
        0xE12F_FF11, 0xE12F_FF31, 0xE12F_FF21, 0xE12F_FF3E,  # BX, BLX, BXJ
        0xEE00_0A00, 0xEE30_0B00, 0xF200_0D00, 0xEEF1_0A10, 0xEEE1_0A10, 0xEEF7_0A10, 0xEEF0_0A10, 0xEEE8_0A10,  # VFP, SIMD, VMRS, VMSR
    ],
)  # fmt: skip


@fn
def at_random(cpu: u32, instruction: u32) -> u32:
    """One that is conditional may get a condition, which may fail."""
    if instruction >> CONDITION_SHIFT != 14 or draw_below(cpu, 4) != 0:
        return instruction
    return instruction & 0x0FFF_FFFF | draw_below(cpu, ANY_CONDITION) << CONDITION_SHIFT


@fn
def random_register(cpu: u32) -> u32:
    """For a transfer: none but r0 to r12."""
    return draw_below(cpu, 13)


@fn
def run(cpu: u32, instruction: u32, values: Values) -> None:
    """In ARM state; now and then big-endian."""
    conditional = at_random(cpu, instruction)
    if draw_below(cpu, 8) == 0:
        run_pair(cpu, SETEND_BE, conditional, values, ARM)
    else:
        run_kernel(cpu, conditional, values)


@fn
def run_thumb(cpu: u32, word: u32, values: Values) -> None:
    """In Thumb state; as often in an IT block of any length and condition."""
    if draw_below(cpu, 2) == 0:
        run_pair(cpu, word, THUMB_SVC, values, THUMB)
    else:
        it = IT | draw_below(cpu, 0xF0) | 1 + draw_below(cpu, 15)
        run_pair(cpu, it | word << 16, word >> 16 | THUMB_SVC & 0xFFFF_0000, values, THUMB)


@fn
def random_load(cpu: u32) -> u32:
    match draw_below(cpu, 4):
        case 0:
            return OTHERS[draw_below(cpu, u32(len(OTHERS)))]
        case 1:
            return MULTIPLE | truncate(u32, draw(cpu)) & MULTIPLE_BITS
        case _:
            return LOADS[draw_below(cpu, u32(len(LOADS)))] | random_register(cpu) << 12


@fn
def attack_memory(cpu: u32, values: Values) -> None:
    values.x[0] = random_address(cpu)
    values.x[3] = draw(cpu) & 0xFC
    if draw_below(cpu, 3) == 0:
        run_thumb(cpu, THUMB_LOADS[draw_below(cpu, u32(len(THUMB_LOADS)))], values)
    else:
        run(cpu, random_load(cpu), values)


@fn
def attack_user_memory(cpu: u32, values: Values) -> None:
    """The same from User mode."""
    values.x[0] = DEVICE_ALIAS + device_offset(cpu) if draw_below(cpu, 4) != 0 else PLACE.ram_end - PLACE.ram + RAM_ALIAS - 2
    values.x[3] = draw(cpu) & 0xFC
    if draw_below(cpu, 3) == 0:
        run_user(cpu, THUMB_LOADS[draw_below(cpu, u32(len(THUMB_LOADS)))], values, THUMB)
    else:
        run_user(cpu, at_random(cpu, random_load(cpu)), values, ARM)


@fn
def random_coprocessor(cpu: u32) -> u32:
    """CP15 and CP14 most of the time, in the instruction's place."""
    match draw_below(cpu, 8):
        case 0:
            return draw_below(cpu, 16) << 8
        case 1 | 2:
            return u32(14 << 8)
        case _:
            return u32(15 << 8)


@fn
def keeps_guest_alive(instruction: u32) -> bool:
    """Whether an MCR of anything leaves this guest its translation, vectors, number and coprocessors."""
    crn = instruction >> 16 & 0xF
    own = instruction >> 21 & 7 == 0 and (crn == 1 or crn == 2 or crn == 10 or crn == 12 or crn == 13)
    return instruction >> 8 & 0xF != 15 or not own


@fn
def random_transfer(cpu: u32) -> u32:
    """MRC or MCR of any register, to and from any that may be lost, the flags too."""
    operands = truncate(u32, draw(cpu)) & 0x00EF_00EF
    if draw_below(cpu, 16) == 0:
        operands = operands & 0xFFF0_FFFF | 7 << 16
    instruction = TRANSFER | operands | random_coprocessor(cpu)
    register = u32(15) if draw_below(cpu, 16) == 0 else random_register(cpu)
    reads = draw_below(cpu, 2) == 0 or not keeps_guest_alive(instruction)
    return instruction | register << 12 | (READ if reads else u32(0))


@fn
def random_wide_transfer(cpu: u32) -> u32:
    """MRRC or MCRR; the tables' registers are read."""
    operands = truncate(u32, draw(cpu)) & 0xFF
    coprocessor = random_coprocessor(cpu)
    reads = draw_below(cpu, 2) == 0 or (coprocessor == 15 << 8 and operands & 0xF == 2)
    return TRANSFER_WIDE | operands | coprocessor | random_register(cpu) << 12 | random_register(cpu) << 16 | (READ if reads else u32(0))


@fn
def random_coprocessor_access(cpu: u32) -> u32:
    """One of the five forms that an instruction of a coprocessor has."""
    match draw_below(cpu, 8):
        case 0 | 1:
            return random_wide_transfer(cpu)
        case 2:
            return BLOCK_TRANSFER | truncate(u32, draw(cpu)) & BLOCK_BITS | random_coprocessor(cpu)
        case 3:
            return DATA_OPERATION | truncate(u32, draw(cpu)) & 0x00FF_FFEF
        case _:
            return random_transfer(cpu)


@fn
def halves(instruction: u32) -> u32:
    """An instruction that Thumb has likewise, its first halfword in the lower half."""
    return instruction << 16 | instruction >> 16


@fn
def attack_register(cpu: u32, values: Values) -> None:
    """Coprocessor registers of any number, and the other modes' registers."""
    values.x[0] = random_address(cpu)
    match draw_below(cpu, 8):
        case 0:
            sysm = truncate(u32, draw(cpu)) & 0x4F_0100
            run(cpu, STATUS | sysm | random_register(cpu) << 12, values)
        case 1 | 2:
            run_thumb(cpu, halves(random_coprocessor_access(cpu)), values)
        case _:
            run(cpu, random_coprocessor_access(cpu), values)
    arm_timer(cpu)


@fn
def attack_user(cpu: u32, values: Values) -> None:
    """Coprocessors, calls and waits from User mode."""
    arm_timer(cpu)
    match draw_below(cpu, 8):
        case 0:
            run_user(cpu, WEIRD[draw_below(cpu, u32(len(WEIRD)))], values, ARM)
        case 1:
            run_user(cpu, (HVC if draw_below(cpu, 2) == 0 else u32(SMC)) | truncate(u32, draw(cpu)) & 0xF, values, ARM)
        case 2 | 3:
            run_user(cpu, halves(random_coprocessor_access(cpu)), values, THUMB)
        case _:
            run_user(cpu, at_random(cpu, random_coprocessor_access(cpu)), values, ARM)


@fn
def attack_system(cpu: u32, values: Values) -> None:
    """Cache and TLB maintenance and address translation: anything of CP15's c7 and c8, of hard addresses."""
    values.x[0] = draw_value(cpu) if draw_below(cpu, 2) == 0 else random_address(cpu)
    if draw_below(cpu, 4) == 0:
        values.x[0] = zone()
    crn = u32(7) if draw_below(cpu, 4) != 0 else u32(8)
    opc1 = u32(0) if draw_below(cpu, 8) != 0 else draw_below(cpu, 8)
    run(cpu, TRANSFER | 15 << 8 | crn << 16 | opc1 << 21 | truncate(u32, draw(cpu)) & 0xEF, values)


@fn
def attack_weird(cpu: u32, values: Values) -> None:
    """Hints, branches to nowhere, another mode, another endianness."""
    arm_timer(cpu)
    values.x[0] = NEVER_EXECUTED
    values.x[1] = NEVER_EXECUTED + u64(draw_below(cpu, 4))
    match draw_below(cpu, 4):
        case 0:
            run_pair(cpu, 0xF102_0000 | 0x10 | draw_below(cpu, 16), random_load(cpu), values, ARM)  # CPS
        case 1:
            run_thumb(cpu, 0xDF00_BF00 | draw_below(cpu, 5) << 4, values)  # hints
        case _:
            run(cpu, WEIRD[draw_below(cpu, u32(len(WEIRD)))], values)


@fn
def run_call(cpu: u32, values: Values, hypervisor: bool, immediate: u32) -> None:
    """HVC or SMC, in either state."""
    if draw_below(cpu, 4) == 0:
        thumb = THUMB_HVC | immediate >> 12 | (immediate & 0xFFF) << 16 if hypervisor else THUMB_SMC | immediate & 0xF
        run_pair(cpu, thumb, THUMB_SVC, values, THUMB)
    else:
        run(cpu, HVC | immediate & 0xF | immediate >> 4 << 8 if hypervisor else SMC | immediate & 0xF, values)
