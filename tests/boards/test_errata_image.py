"""What the tables of errata say of the rows that are left to a guest's kernel, avoided, or the firmware's, and of those of `code` that only an image shows.

Of arm64 every such row shows. Of arm32 not: 798181 is avoided by an order in time (arm/run.py), and bits of a diagnostic register can be
read and written in secure state alone, so that only this can be seen: that the image never touches that register, which would be undefined.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import pairwise

import capstone
import pytest

from freestanding.elf import Image
from xenarm.arm.errata import AVOIDED, CODE, FIRMWARE
from xenarm.arm32 import errata as errata32
from xenarm.arm32.head import FROM_RESET
from xenarm.arm32.registers import coprocessor
from xenarm.arm64.errata import ERRATA
from xenarm.arm64.feature_controls import MDCR_GUEST
from xenarm.arm64.guest import HCR_GUEST
from xenarm.tools.hypervisor import Hypervisor

Code = list[tuple[int, str]]
TVM, TPC, TPU, TRVM, TICAB, TOCU = (1 << n for n in (26, 23, 24, 30, 50, 52))
TID2 = 1 << 17
TDA, TDE = 1 << 9, 1 << 8
DSSBS = 1 << 44
A64_SYSTEM = 0xD5  # the first byte of all system instructions
SEEN = {819472, 824069, 826319, 827319, 845719, 1742098, 1655431, 1188873, 1418040, 1463225, 3324349, 1542419}
SEEN32 = {773022, 816470, 821420, 825619, 852421, 852423, 857271, 857272}
NOT_SEEN32 = {798181}


def image_of(hypervisor: Hypervisor) -> Image:
    return Image(hypervisor.image.with_name(hypervisor.image.name + ".elf").read_bytes())


def a64_words(image: Image) -> Iterator[tuple[int, bytes]]:
    for address, data, kind in image.runs():
        if kind == "x":
            yield from ((address + at, data[at : at + 4]) for at in range(0, len(data) - 3, 4))


@pytest.fixture(scope="module")
def image64(xenarm: Hypervisor) -> Image:
    return image_of(xenarm)


@pytest.fixture(scope="module")
def system64(image64: Image) -> Code:
    """Every system instruction of the 64-bit image."""
    engine = capstone.Cs(capstone.CS_ARCH_ARM64, capstone.CS_MODE_ARM)
    words = [(address, word) for address, word in a64_words(image64) if word[3] == A64_SYSTEM]
    return [(address, f"{name} {operands}") for start, word in words for address, _, name, operands in engine.disasm_lite(word, start)]


@pytest.fixture(scope="module")
def code32(xenarm32: Hypervisor) -> Code:
    """Every instruction of the 32-bit image, in its order."""
    engines = {"a": capstone.Cs(capstone.CS_ARCH_ARM, capstone.CS_MODE_ARM), "t": capstone.Cs(capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB)}
    code: Code = []
    for start, data, kind in image_of(xenarm32).runs():
        if kind in engines:
            engines[kind].skipdata = True
            found = engines[kind].disasm_lite(data, start)
            code += [(address, f"{name} {operands}") for address, _, name, operands in found]
    return code


@pytest.fixture(scope="module")
def system32(code32: Code) -> Code:
    """Every access of the 32-bit image to a coprocessor's register."""
    return [(address, said) for address, said in code32 if said.startswith(("mcr", "mrc"))]


def operations(code: Code, name: str) -> set[str]:
    """What follows an instruction's name, up to a comma."""
    return {text.split()[1].rstrip(",") for _, text in code if text.split()[0] == name}


def places(image: Image, code: Code, text: str) -> list[str]:
    """The functions that have an instruction which begins so."""
    return [image.function_at(address) for address, said in code if said.startswith(text)]


def value_before(image: Image, address: int) -> int:
    """What MOV and MOVK, right before an MSR, have put into its register."""
    engine = capstone.Cs(capstone.CS_ARCH_ARM64, capstone.CS_MODE_ARM)
    words = dict(a64_words(image))
    value = 0
    for at in range(address - 4, address - 20, -4):
        (_, _, name, operands), *_ = engine.disasm_lite(words[at], at)
        parts = operands.split(", ")
        assert name in ("mov", "movz", "movk") and parts[0] == "x0", f"{name} {operands}: not a constant"
        value |= int(parts[1].removeprefix("#"), 0) << int(parts[2].removeprefix("lsl #") if len(parts) == 3 else 0)
        if name != "movk":
            return value
    raise AssertionError("no constant")


def test_each_row_that_is_not_worked_around_is_seen_here_or_the_reason_stands_above() -> None:
    assert {e.number for e in ERRATA if e.kind != CODE} == SEEN
    assert {e.number for e in errata32.ERRATA if e.kind in (AVOIDED, FIRMWARE)} == SEEN32 | NOT_SEEN32
    assert not [e for e in errata32.ERRATA if e.kind not in (CODE, AVOIDED, FIRMWARE)]


def test_the_image_cleans_no_line_without_invalidating_it(system64: Code) -> None:
    """819472, 824069, 826319, 827319. What a guest's kernel cleans by address is its own to avoid; what it does by set and way traps, and is CISW."""
    assert operations(system64, "dc") == {"ivac", "civac", "cisw", "zva"}
    assert HCR_GUEST & TPC == 0 and HCR_GUEST & 1 << 22, "TSW"


def test_registers_of_a_kernels_workarounds_are_its_own_and_switched(image64: Image, system64: Code) -> None:
    """845719: CONTEXTIDR_EL1 is written when a kernel returns to AArch32. 1188873, 1418040: CNTKCTL_EL1 traps a process's reads of the counter."""
    assert HCR_GUEST & (TVM | TRVM) == 0, "writes of CONTEXTIDR_EL1 do not trap"
    for register in ("contextidr_el1", "cntkctl_el1"):
        read = [text for _, text in system64 if text.startswith("mrs") and text.endswith(register)]
        assert len(read) == 1, "saved"
        assert places(image64, system64, f"msr {register}").count("switch_registers") == 1, "loaded"


def test_a_kernel_knows_its_core(image64: Image, system64: Code) -> None:
    """1742098, 1655431 and all others of `guest`: VPIDR_EL2, which a guest reads as MIDR_EL1, is the CPU's own."""
    (at,) = [n for n, (_, text) in enumerate(system64) if text.startswith("msr vpidr_el2")]
    register = system64[at][1].rpartition(", ")[2]
    assert system64[at - 1] == (system64[at][0] - 4, f"mrs {register}, midr_el1")


def test_no_guest_steps(system64: Code) -> None:
    """1463225: MDSCR_EL1 traps, and is loaded in one place alone, with 0 for each guest."""
    assert MDCR_GUEST & (TDA | TDE) == TDA
    assert len([text for _, text in system64 if text.startswith("msr mdscr_el1")]) == 1
    assert operations(system64, "msr") >= {"mdcr_el2"}


def test_el2_leaves_the_bypass_of_stores_alone(image64: Image, system64: Code) -> None:
    """3324349: PSTATE.SSBS is neither written nor set by an exception."""
    assert not [text for _, text in system64 if "ssbs" in text or "s3_3_c4_c2_6" in text]
    (write,) = [address for address, text in system64 if text.startswith("msr sctlr_el2")]
    value = value_before(image64, write)
    assert value & DSSBS == 0 and value & 0x30C5_0830 == 0x30C5_0830


def test_what_a_kernel_says_of_its_caches_reaches_the_firmware(system64: Code) -> None:
    """1542419: reads of CTR_EL0 and instruction cache maintenance stay between the kernel, its processes and EL3."""
    assert HCR_GUEST & (TID2 | TPU | TICAB | TOCU) == 0
    assert operations(system64, "ic") == {"iallu", "ialluis"}, "whole, where the image or a kernel has been loaded"


def test_no_cpu_leaves_coherency_and_no_diagnostic_register_is_touched(system32: Code) -> None:
    """816470: ACTLR.SMP stays, since ACTLR is only read. 821420, 825619, 852421, 852423, 857271, 857272: the register in c15."""
    assert [text for _, text in system32 if text.startswith("mrc") and "c1, c0, #1" in text], "ACTLR"
    assert not [text for _, text in system32 if text.startswith("mcr") and "c1, c0, #1" in text]
    assert not [text for _, text in system32 if "p15" in text and " c15," in text.replace("#", " ")]


def test_maintenance_by_set_and_way_is_done_before_anything_else_is(code32: Code) -> None:
    """814220: DCCISW, and DCISW and DCCSW were there any, with a DSB right behind."""
    by_set_and_way = re.compile(r"mcr p15, #?0, \w+, c7, c(6|10|14), #?2$")
    after = [code32[n + 1][1].split()[0] for n, (_, said) in enumerate(code32) if by_set_and_way.match(said)]
    assert after and set(after) == {"dsb"}


# ---- pairs of instructions ------------------------------------------------------------------------------------------------


def is_memory_access(word: int) -> bool:
    """Loads, stores, prefetches (DDI 0487 C4.1: op0 is x1x0)."""
    return word & 0x0A00_0000 == 0x0800_0000


def is_multiply_accumulate(word: int) -> bool:
    """Of 64 bits (C4.1, three sources): MADD, MSUB, SMADDL and its like; with XZR nothing is accumulated."""
    return word & 0xFF00_0000 == 0x9B00_0000 and word >> 21 & 7 in (0, 1, 5) and word >> 10 & 31 != 31


def accumulates_after_memory(first: int, second: int) -> bool:
    """835769."""
    return is_memory_access(first) and is_multiply_accumulate(second)


def loads_by_a_wrong_page(address: int, words: list[int]) -> bool:
    """843419, as lld's AArch64ErrataFix.cpp has it: ADRP in a page's last two words, a load or store, at most one instruction that is no branch,
    a load or store of an unsigned offset from ADRP's register."""
    adrp, first, third, fourth = words
    if address & 0xFFF < 0xFF8 or adrp & 0x9F00_0000 != 0x9000_0000 or not is_memory_access(first):
        return False

    def by_page(word: int) -> bool:
        return word & 0x3B00_0000 == 0x3900_0000 and word >> 5 & 31 == adrp & 31

    return by_page(third) or (by_page(fourth) and third & 0x1C00_0000 != 0x1400_0000)


LDR, ADD, BRANCH, ADRP = 0xF940_0041, 0x8B02_0020, 0x1400_0002, 0x9000_0000  # of x1 from x2; adrp x0
MADD, MUL, SMADDL, LDR_X0 = 0x9B02_0C20, 0x9B02_7C20, 0x9B22_0C20, 0xF940_0001


def test_the_pairs_are_known_where_they_are() -> None:
    assert accumulates_after_memory(LDR, MADD) and accumulates_after_memory(LDR, SMADDL)
    assert not accumulates_after_memory(LDR, MUL) and not accumulates_after_memory(ADD, MADD)
    assert loads_by_a_wrong_page(0x1FF8, [ADRP, LDR, LDR_X0, ADD]) and loads_by_a_wrong_page(0x1FFC, [ADRP, LDR, ADD, LDR_X0])
    assert not loads_by_a_wrong_page(0x1FF4, [ADRP, LDR, LDR_X0, ADD]) and not loads_by_a_wrong_page(0x1FF8, [ADRP, LDR, BRANCH, LDR_X0])


def test_a_cortex_a53_computes_rightly(image64: Image) -> None:
    words = [(address, int.from_bytes(word, "little")) for address, word in a64_words(image64)]
    assert [word for _, word in words if is_multiply_accumulate(word)] and [at for at, word in words if at & 0xFFF >= 0xFF8 and word & 0x9F00_0000 == 0x9000_0000]
    assert [hex(at) for (at, first), (_, second) in pairwise(words) if accumulates_after_memory(first, second)] == []
    assert [hex(words[n][0]) for n in range(len(words) - 3) if loads_by_a_wrong_page(words[n][0], [word for _, word in words[n : n + 4]])] == []


OPERATIONS: dict[str, Callable[[int, list[int]], int]] = {
    "orr": lambda _, v: v[0] | v[1] << (v[2] if len(v) == 3 else 0),
    "and": lambda _, v: v[0] & v[1],
    "ubfx": lambda _, v: v[0] >> v[1] & (1 << v[2]) - 1,
    "mov": lambda _, v: v[0],
    "movw": lambda _, v: v[0],
    "movt": lambda old, v: old & 0xFFFF | v[0] << 16,
}


def actlr_from_reset(midr: int) -> int:
    """ACTLR as the code of a CPU out of reset leaves it, which was 0: what stands there between reading and writing it, interpreted."""
    read, write = (f"{name} {coprocessor('actlr', 'r0')}" for name in ("mrc", "mcr"))
    r = {"r0": 0}
    flags = {"": True}
    for line in FROM_RESET.split(read, 1)[1].split(write, 1)[0].strip().splitlines():
        name, target, *words = line.replace(",", " ").split()
        if name == "mrc":
            r["r1"] = midr
            continue
        values = [r[word] if word in r else int(word[1:], 0) for word in words if word != "lsl"]
        if name == "cmp":
            flags |= {"eq": r[target] == values[0], "ne": r[target] != values[0], "ls": r[target] <= values[0]}
            continue
        condition = next((end for end in ("eq", "ne", "ls") if name.endswith(end)), "")
        if flags[condition]:
            r[target] = OPERATIONS[name.removesuffix(condition)](r.get(target, 0), values)
    return r["r0"]


@pytest.mark.parametrize(("core", "revision", "off"), [("Cortex-A15", 0x00, True), ("Cortex-A15", 0x04, True), ("Cortex-A15", 0x21, False), ("Cortex-A7", 0x04, False)])
def test_a_cpu_out_of_reset_has_its_loop_buffer_off(core: str, revision: int, off: bool) -> None:
    """773022."""
    actlr = actlr_from_reset(errata32.midr(core, revision))
    assert (actlr & errata32.LOOP_BUFFER_OFF != 0) == off
    assert (actlr & errata32.BRANCHES_INVALID != 0) == (core == "Cortex-A15")
