"""`@export(..., preserve=True)`: on every target that has it, a call changes no register but the few that its caller saves."""
from __future__ import annotations

import shutil
from typing import Any

import pytest
from unicorn import arm64_const, x86_const

from freestanding import Array, CompileError, Struct, array, export, fn, u64, zeroed
from freestanding.cwriter import TARGETS, write_c

from tests.freestanding.building import built, lower
from tests.freestanding.machines import EmulatedMachine


class Frame(Struct):
    regs: Array[u64] = array(u64, 31)


FRAME = zeroed(Frame)


@fn(inline=False)
def out_of_line(f: Frame, x: u64) -> u64:
    total = x
    for i in range(8):
        total = total * 3 + f.regs[i]
    return total


@export("preserving", preserve=True)
def preserving(x: u64) -> u64:
    if x == 5:
        FRAME.regs[1] = FRAME.regs[2] + x
        return 7
    return out_of_line(FRAME, x)


@export("ordinary")
def ordinary(x: u64) -> u64:
    return preserving(x)


KEPT: dict[str, list[int]] = {
    "aarch64": [getattr(arm64_const, f"UC_ARM64_REG_X{n}") for n in range(9, 16)],
    "x86_64": [x86_const.UC_X86_REG_R10, x86_const.UC_X86_REG_RBX, x86_const.UC_X86_REG_R12],
}
COMPILERS = [("aarch64", ""), ("x86_64", "")]
if shutil.which("aarch64-linux-gnu-gcc"):
    COMPILERS.append(("aarch64", "aarch64-linux-gnu-"))


def machine(target: str, prefix: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    if prefix:
        monkeypatch.setenv("CROSS_COMPILE", prefix)
    program, result = built(target, preserving, ordinary)
    return EmulatedMachine(program, result, target)


@pytest.mark.parametrize("argument, value", [(5, 7), (2, 2 * 3**8)])
@pytest.mark.parametrize("target, prefix", COMPILERS)
def test_registers_are_kept(target: str, prefix: str, argument: int, value: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine(target, prefix, monkeypatch).call("ordinary", argument) == value
    made = machine(target, prefix, monkeypatch)
    for register in KEPT[target]:
        made.uc.reg_write(register, 0xA5A5_0000 + register)
    assert made.call("preserving", argument) == value
    assert [made.uc.reg_read(r) for r in KEPT[target]] == [0xA5A5_0000 + r for r in KEPT[target]]


def test_a_target_without_it_refuses() -> None:
    assert "armv7" in TARGETS
    with pytest.raises(CompileError, match="no preserve=True on armv7"):
        write_c(lower("armv7", preserving), "armv7")


def test_in_cpython_it_is_a_function_like_any_other() -> None:
    assert int(preserving(5)) == 7
