"""The short way of guests in AArch32, in CPython: what it answers, as the full way would, and what it leaves alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.xenarm.gic_model import Machine, machine
from tests.xenarm.test_vgic import write
from xenarm.abi.hypercall import HYPERCALL_TAG, Hypercall
from xenarm.abi.layout import GUEST_GICD_BASE
from xenarm.abi.psci import GUEST_PSCI_VERSION, PSCI_BASE, PsciFunction
from xenarm.arm.aarch32 import Mode, Psr
from xenarm.arm.short import DONE, NOT_HERE, WAITS, WORD_ACCESS, WRITE, YIELDS
from xenarm.arm64 import registers
from xenarm.arm64.registers import Ec
from xenarm.arm64.short32 import SHORT_SYNC32
from xenarm.core.domain import Vcpu
from xenarm.gic.registers import Gicd

pytestmark = pytest.mark.board("arm64")

IL = 1 << 25
PC = 0x4000_1000
GARBAGE = 0xAAAA_AAAA_0000_0000
VERSION = PSCI_BASE | PsciFunction.VERSION
ALWAYS, EQUAL = 0x1E << 20, 0x10 << 20  # with a valid condition
ARM, THUMB = int(Psr(M=Mode.SVC)), int(Psr(M=Mode.SVC, T=True))
IN_BLOCK = [int(Psr(M=Mode.SVC, T=True, IT_HIGH=high, IT_LOW=low)) for high, low in ((1, 0), (0x20, 0), (0, 1), (0, 2))]


@pytest.fixture
def m() -> Iterator[Machine]:
    with machine() as made:
        made.play(0)
        v = made.vcpus[0]
        for n in range(31):
            v.regs[n] = GARBAGE | n
        yield made


def trap(m: Machine, ec: int, iss: int = 0, spsr: int = ARM, il: int = IL, **more: int) -> int:
    """What the short way says of an exception."""
    v: Vcpu = m.vcpus[0]
    registers.MODEL.update(esr_el2=ec << 26 | il | iss, spsr_el2=spsr, elr_el2=PC, hpfar_el2=v.gicd_frame, **more)
    return int(SHORT_SYNC32["v2"](v))


def access(m: Machine, offset: int, rt: int, store: bool = False, spsr: int = ARM, il: int = IL) -> int:
    syndrome = (WORD_ACCESS << 21 | rt << 16 | (WRITE if store else 0)) & 0x1FF_FFFF
    return trap(m, Ec.DATA_ABORT_LOWER, syndrome, spsr, il, far_el2=int(GUEST_GICD_BASE) + offset)


def pc() -> int:
    return registers.MODEL["elr_el2"]


def test_psci_version_by_whatever_is_in_the_upper_half(m: Machine) -> None:
    v = m.vcpus[0]
    v.regs[0] = GARBAGE | VERSION
    assert trap(m, Ec.HVC32) == DONE and v.regs[0] == GUEST_PSCI_VERSION and pc() == PC
    v.regs[0] = GARBAGE | VERSION + 1
    assert trap(m, Ec.HVC32) == NOT_HERE and v.regs[0] == GARBAGE | VERSION + 1
    v.regs[0] = GARBAGE | VERSION
    assert trap(m, Ec.SMC32, ALWAYS) == NOT_HERE, "it may have a condition"


@pytest.mark.parametrize("rt", range(32))
def test_loads_go_to_the_registers_that_all_modes_have(m: Machine, rt: int) -> None:
    """Others are called by AArch64's number, or by AArch32's (QEMU), and are the full way's."""
    write(m, Gicd.ISENABLER + 4, 0x40)
    before = list(m.vcpus[0].regs)
    if rt < 8:
        assert access(m, Gicd.ISENABLER + 4, rt) == DONE and pc() == PC + 4
        assert m.vcpus[0].regs[rt] == 0x40, "no garbage is left above"
        before[rt] = 0x40
    else:
        assert access(m, Gicd.ISENABLER + 4, rt) == NOT_HERE and pc() == PC
    assert list(m.vcpus[0].regs) == before


@pytest.mark.parametrize("spsr", IN_BLOCK)
def test_nothing_in_an_it_block(m: Machine, spsr: int) -> None:
    """Its state would have to go on."""
    assert access(m, Gicd.TYPER, 3, spsr=spsr) == NOT_HERE and pc() == PC
    assert trap(m, Ec.WFX, ALWAYS, spsr) == NOT_HERE


def test_thumb_outside_of_one(m: Machine) -> None:
    assert access(m, Gicd.TYPER, 3, spsr=THUMB) == DONE and pc() == PC + 4
    assert access(m, Gicd.TYPER, 3, spsr=THUMB, il=0) == NOT_HERE and pc() == PC, "two bytes long"


def test_stores_of_zero_and_of_what_changes_something(m: Machine) -> None:
    m.vcpus[0].regs[2] = GARBAGE
    assert access(m, Gicd.ISENABLER + 4, 2, store=True) == DONE and pc() == PC + 4
    m.vcpus[0].regs[2] = 1
    assert access(m, Gicd.ISENABLER + 4, 2, store=True) == NOT_HERE and pc() == PC


def test_an_sgi_to_itself(m: Machine) -> None:
    write(m, Gicd.CTLR, 1)
    write(m, Gicd.ISENABLER, 0xFFFF)
    m.vcpus[0].regs[1] = GARBAGE | 2 << 24 | 5
    assert access(m, Gicd.SGIR, 1, store=True) == DONE and m.vcpus[0].vgic.listed >> 5 & 1


def test_waits_and_yields_without_a_condition(m: Machine) -> None:
    assert trap(m, Ec.WFX, ALWAYS) == WAITS and pc() == PC + 4
    assert trap(m, Ec.WFX, ALWAYS | 1) == YIELDS and pc() == PC + 4
    assert trap(m, Ec.WFX, ALWAYS, THUMB, 0) == WAITS and pc() == PC + 2
    assert trap(m, Ec.WFX, EQUAL) == NOT_HERE and pc() == PC, "its condition may fail"
    assert trap(m, Ec.WFX, 0xE << 20) == NOT_HERE, "the syndrome has no condition"


def test_xens_yield(m: Machine) -> None:
    v = m.vcpus[0]
    v.regs[0] = GARBAGE
    assert trap(m, Ec.HVC32, HYPERCALL_TAG, r12=GARBAGE | Hypercall.SCHED_OP) == YIELDS and v.regs[0] == 0
    v.regs[0] = 1
    assert trap(m, Ec.HVC32, HYPERCALL_TAG, r12=Hypercall.SCHED_OP) == NOT_HERE and v.regs[0] == 1
    v.regs[0] = 0
    assert trap(m, Ec.HVC32, HYPERCALL_TAG, r12=Hypercall.SCHED_OP + 1) == NOT_HERE
    registers.MODEL.pop("r12")


def test_anything_else_is_the_full_ways(m: Machine) -> None:
    for ec in range(64):
        if ec not in (Ec.WFX,):
            assert trap(m, ec, 7) == NOT_HERE and pc() == PC
