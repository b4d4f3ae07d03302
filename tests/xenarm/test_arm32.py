"""ARMv7's part in CPython: encodings, conditions and IT blocks, injected exceptions; what a guest sees and what is switched, by its own configuration."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from xenarm.arm32 import registers
from xenarm.arm.aarch32 import advance_it, condition_holds, it_state
from xenarm.arm32.inject import inject_data_abort, inject_undefined, skip_instruction, trapped_in_vain
from xenarm.arm32.registers import CP14, CP15, CP15_WIDE, MODEL, Mode, Psr
from xenarm.config import ROOT, expand
from xenarm.core.domain import SLOTS

pytestmark = pytest.mark.board("arm32")

N, Z, C, V = 8, 4, 2, 1
THUMB = int(Psr(T=True))
COND_VALID = 1 << 24


@pytest.fixture(autouse=True)
def model() -> Iterator[None]:
    MODEL.clear()
    yield
    MODEL.clear()


def test_every_encoding_is_a_register_of_its_own() -> None:
    assert len(set(CP15.values())) == len(CP15) and len(set(CP15_WIDE.values())) == len(CP15_WIDE)
    for opc1, crn, crm, opc2 in (*CP15.values(), *CP14.values()):
        assert opc1 < 8 and crn < 16 and crm < 16 and opc2 < 8


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        (0, lambda f: f & Z), (1, lambda f: not f & Z), (2, lambda f: f & C), (3, lambda f: not f & C), (4, lambda f: f & N), (5, lambda f: not f & N),
        (6, lambda f: f & V), (7, lambda f: not f & V), (8, lambda f: f & C and not f & Z), (9, lambda f: not f & C or f & Z),
        (10, lambda f: bool(f & N) == bool(f & V)), (11, lambda f: bool(f & N) != bool(f & V)),
        (12, lambda f: not f & Z and bool(f & N) == bool(f & V)), (13, lambda f: f & Z or bool(f & N) != bool(f & V)), (14, lambda f: True),
    ],
)  # fmt: skip
def test_conditions(condition: int, holds: object) -> None:
    for flags in range(16):
        assert condition_holds(condition, flags << 28) == bool(holds(flags)), flags  # type: ignore[operator]


def psr_with_it(state: int) -> int:
    return THUMB | Mode.SVC | (state & 3) << 25 | (state & 0xFC) << 8


def test_an_it_block_ends_after_its_last_instruction() -> None:
    """ITTE EQ: 0b0000_0110, by A2.5.2."""
    seen = []
    psr = psr_with_it(0b0000_0110)
    while it_state(psr):
        seen.append((it_state(psr) >> 4, it_state(psr) & 15))
        psr = advance_it(psr)
    assert seen == [(0, 6), (0, 12), (1, 8)]
    assert psr == psr_with_it(0)


def test_a_failed_condition_is_seen_in_both_instruction_sets() -> None:
    MODEL["spsr"] = Mode.SVC | Z << 28
    assert not trapped_in_vain(COND_VALID | 0 << 20) and trapped_in_vain(COND_VALID | 1 << 20)
    MODEL["spsr"] = psr_with_it(0b0001_1000) | Z << 28  # IT NE
    assert trapped_in_vain(0)
    MODEL["spsr"] = psr_with_it(0) | Z << 28
    assert not trapped_in_vain(0)


def test_skipping_a_short_thumb_instruction_in_an_it_block() -> None:
    MODEL.update({"spsr": psr_with_it(0b0000_0100), "elr_hyp": 0x1000})
    skip_instruction(0)
    assert (MODEL["elr_hyp"], it_state(MODEL["spsr_cxsf"])) == (0x1002, 0b0000_1000)


@pytest.mark.parametrize(("psr", "distance"), [(Mode.SVC, 4), (Mode.USR | THUMB, 2)])
def test_undefined(psr: int, distance: int) -> None:
    MODEL.update({"spsr": psr | Z << 28, "elr_hyp": 0x2000, "vbar": 0x8000, "sctlr": 0})
    inject_undefined(SLOTS[0].vcpu)
    assert (MODEL["lr_und"], MODEL["spsr_und"], MODEL["elr_hyp"]) == (0x2000 + distance, psr | Z << 28, 0x8004)
    taken = Psr.from_raw(MODEL["spsr_cxsf"])
    assert (taken.M, taken.T, taken.I, taken.FLAGS) == (Mode.UND, False, True, Z)


def test_a_data_abort_in_the_guests_own_format_and_at_its_high_vectors() -> None:
    MODEL.update({"spsr": Mode.SVC, "elr_hyp": 0x2000, "sctlr": 1 << 13 | 1 << 30, "ttbcr": 1 << 31})
    inject_data_abort(SLOTS[0].vcpu, 0x1234)
    assert (MODEL["dfar"], MODEL["dfsr"], MODEL["lr_abt"], MODEL["elr_hyp"]) == (0x1234, 0x210, 0x2008, 0xFFFF_0010)
    taken = Psr.from_raw(MODEL["spsr_cxsf"])
    assert (taken.M, taken.T, taken.A, taken.I) == (Mode.ABT, True, True, True)
    MODEL["ttbcr"] = 0
    inject_data_abort(SLOTS[0].vcpu, 0)
    assert MODEL["dfsr"] == 8


IN_ITS_OWN_CONFIGURATION = """
from xenarm.arm32 import guest, switch
from xenarm.arm import coprocessors as g
from xenarm.arm32.registers import CP14, CP15, CP15_WIDE, MODEL, Hdcr
from xenarm.arm.fields import Hcr
from xenarm.core.domain import DOMAINS, SLOTS
v = SLOTS[8].vcpu
v.domain = DOMAINS[0]
DOMAINS[0].vcpu_count = 4
k = g.coprocessor_key
# What a guest may write without a trap is switched: everything of PL1 that is no identification and no timer of HYP mode.
free = {n for n, (opc1, crn, _, _) in CP15.items() if opc1 != 4 and crn != 0 and n not in ("actlr", "cntfrq", "cntp_tval", "cntp_ctl")} | set(CP14)
free |= {n for n in CP15_WIDE if n in ("ttbr0", "ttbr1", "par", "cntv_cval")} | {"csselr"}
assert free <= set(switch.SAVED_REGISTERS), free - set(switch.SAVED_REGISTERS)
assert {"vmpidr", "vttbr"} <= set(switch.LOADED_REGISTERS)
# Virtualization is hidden, and so is the PMU.
MODEL["id_1_1"] = MODEL["id_1_2"] = 0xFFFF_FFFF
assert g.cp15_access(v, k(0, 0, 1, 1) | 1, False, 0) == (True, 0xFFFF_0FFF)
assert g.cp15_access(v, k(0, 0, 1, 2) | 1, False, 0)[1] & 0x0F00_0000 == 0
assert g.cp15_access(v, k(0, 0, 1, 1) | 1, True, 0) == (False, 0), "not to user mode"
assert g.cp15_access(v, k(0, 9, 12, 0), False, 1) == (True, 0) and g.cp15_access(v, k(0, 9, 12, 0), True, 1) == (False, 0)
assert g.cp15_access(v, k(1, 9, 0, 2) | 1, False, 0) == (True, 3 << 24)
assert g.cp15_access(v, k(0, 15, 0, 0) | 1, False, 0) == (False, 0), "implementation defined"
assert g.cp14_access(v, k(0, 1, 1, 4) | 1, False, 0) == (True, 8)
assert g.cp14_access(v, k(1, 0, 1, 0) | 1, False, 0) == (False, 0), "trace"
assert g.cp10_access(v, k(7, 7, 0, 0), False) == (False, 0), "no write"
hcr, hdcr = Hcr.from_raw(guest.HCR_GUEST), Hdcr.from_raw(guest.HDCR_GUEST)
assert hcr.VM and hcr.IMO and hcr.FMO and hcr.AMO and hcr.TIDCP and hcr.TSW and hcr.TACR and hcr.TSC and hcr.TID3 and hcr.TWI
assert hdcr.TDA and hdcr.TDOSA and hdcr.TDRA and hdcr.TPM and hdcr.TPMCR
# A boot context is the tree in r2; PSCI's is r0.
v.context, v.entry = 0x4400_0000 << 32, 0x4020_0000
guest.load_general(v)
assert (v.regs[0], v.regs[1], v.regs[2]) == (0, 0xFFFF_FFFF, 0x4400_0000) and MODEL["spsr_cxsf"] == 0x1D3
v.context, v.entry = 7, 0x8001
guest.load_general(v)
assert (v.regs[0], v.regs[2], MODEL["elr_hyp"], MODEL["spsr_cxsf"]) == (7, 0, 0x8000, 0x1F3)
print("all well")
"""


HIGH_MEMORY = """
from tests.xenarm.trees import compile_source
from tests.xenarm.test_memory import load
from xenarm.arm32.reach import ram_run
from xenarm.core import memory
from xenarm.core.memory import MEMORY
PAGE, MIB, LOW_END = 4096, 1 << 20, 0xFFC0_0000
TREE = '/ { #address-cells = <2>; #size-cells = <2>; memory@f0000000 { device_type = "memory"; reg = <0 0xf0000000 0 0x50000000>; }; };'
load(TREE, image=(0xF000_0000, PAGE))
assert memory.memory_bytes() == 0x5000_0000 - 2 * MIB, "less the image's addresses"
assert memory.memory_holds(0xFFE0_0000, 0x4020_0000) and not memory.memory_holds(0xFFD0_0000, PAGE)
assert memory.memory_reaches(LOW_END - PAGE, PAGE) and not memory.memory_reaches(0xFFE0_0000, PAGE) and not memory.memory_reaches(LOW_END - PAGE, 2 * PAGE)
# What the hypervisor itself uses lies where it has addresses, whatever the size; there may be none left.
for size in (PAGE, 4 * MIB, 64 * MIB):
    got = int(memory.pages_alloc(size // PAGE, size))
    assert 0xF000_0000 < got and got + size <= LOW_END, (hex(got), hex(size))
assert int(memory.pages_alloc(512 * MIB // PAGE, PAGE)) == 0
# Guests have the other memory first, and both.
base, size = memory.memory_take(1 << 40, 1 << 30)
assert (base, size) == (1 << 32, 1 << 30)
base, size = memory.memory_take(2 * MIB, 2 * MIB)
assert (base, size) == (0xFFE0_0000, 2 * MIB)
base, size = memory.memory_take(2 * MIB, 2 * MIB)
assert size == 2 * MIB and base < LOW_END
# A run ends with its page where each page has to be shown.
assert ram_run(LOW_END - PAGE, PAGE) == PAGE and ram_run(0x1_0000_0FF0, 100) == 16 and ram_run(0x1_0000_0000, 100) == 100
print("all well")
"""


@pytest.mark.parametrize("program", [IN_ITS_OWN_CONFIGURATION, HIGH_MEMORY], ids=["registers", "memory"])
def test_in_its_own_configuration(tmp_path: Path, program: str) -> None:
    """What a guest sees and what is switched; memory that HYP mode has no addresses for."""
    config = tmp_path / "config"
    config.write_text(expand(ROOT / "configs" / "qemu-virt-arm32_defconfig"))
    environment = {**os.environ, "XENARM_CONFIG": str(config)}
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=350)
    assert done.stdout == "all well\n", done.stderr
    assert registers.MODEL is MODEL
