"""Thumb on armv7: what compiled code does there, what the build reads from it, and what it calls in A32."""
from __future__ import annotations

import capstone
import pytest

from freestanding import export, external, fn, operation, u8, u32
from freestanding.attribution import attribute
from freestanding.elf import Image
from freestanding.errors import Panic
from freestanding.floating import floating_point
from freestanding.linetable import calls, line_table, read_table
from freestanding.thumb import instructions, is_floating
from freestanding.toolchain import BuildError, Options, build
from tests.freestanding.building import built, lower
from tests.freestanding.machines import EmulatedMachine
from tests.freestanding.test_toolchain import SCRIPT, caller, clears, every_kind


def decoded(image: Image) -> list[tuple[int, str]]:
    """Address and text of every Thumb instruction, as capstone reads it."""
    engine = capstone.Cs(capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB)
    return [(address, f"{name} {operands}") for base, data, kind in image.runs() if kind == "t"
            for address, _, name, operands in engine.disasm_lite(data, base)]


def test_checks_trap_by_the_short_instruction() -> None:
    program, result = built("armv7", every_kind, thumb=True)
    assert result.image.symbols["every_kind"] & 1
    traps = {address: text for address, text in decoded(result.image) if text.startswith("udf")}
    assert set(traps) == {site.address for site in result.image.panics}
    assert set(traps.values()) == {f"udf #{0xA1 + n:#x}" for n in range(7)}
    running = EmulatedMachine(program, result, "armv7")
    with pytest.raises(Panic, match="seven"):
        running.call("every_kind", 7, 1)
    with pytest.raises(Panic) as panic:
        running.call("every_kind", 10, 1)
    assert panic.value.kind == "bounds"


@pytest.mark.parametrize("program", [every_kind, caller, clears])
def test_it_is_smaller_than_a32(program: object) -> None:
    small, large = (built("armv7", program, thumb=thumb)[1] for thumb in (True, False))     # type: ignore[arg-type]
    assert sum(len(data) for _, data in small.image.code()) < 0.8 * sum(len(data) for _, data in large.image.code())


def test_table_of_lines_has_every_call_and_trap() -> None:
    _, result = built("armv7", caller, clears, thumb=True, linker_script=SCRIPT)
    image = result.image
    found = {following for _, following in calls(image)}
    code = decoded(image)
    assert found == {following for (_, text), (following, _) in zip(code, [*code[1:], (0, "")]) if text.startswith(("bl ", "blx "))}
    assert found
    offsets = {offset + image.text_start for offset, _, _ in read_table(line_table(image))}
    assert offsets >= {site.address for site in image.panics} and offsets & found


@pytest.mark.parametrize(("text", "floating"), [
    ("vadd.f32 s0, s1, s2", True), ("vldr d0, [r1]", True), ("vmrs r0, fpscr", True), ("vadd.i32 q0, q1, q2", True), ("vld1.8 {d0}, [r0]", True),
    ("mrc p15, 0, r0, c1, c0, 0", False), ("ldr.w r0, [r8]", False), ("ldrb.w r8, [r0]", False), ("bl .", False), ("udf.w #0xfa0", False), ("mrrc p15, 0, r0, r1, c14", False),
    ("pli [r0]", False), ("smull r0, r1, r2, r3", False), ("ldrex r0, [r1]", False),
])
def test_instructions_of_fp_and_simd_are_known(text: str, floating: bool) -> None:
    image = build(lower("armv7", caller), Options("armv7", extra_assembly=f".thumb\n.fpu neon-vfpv4\nsample:\n{text}\n.arm\n", floating_point=frozenset({"sample"}))).image
    last = [data for _, data, kind in image.runs() if kind == "t"][-1]
    assert [is_floating(size, word) for _, size, word in instructions(last)][0] is floating


@operation(armv7=".fpu neon\nvmov d0, {value}, {value}")
def to_simd(value: u32) -> None:
    """Touches a register that belongs to the guest."""


@fn
def floats(a: u32) -> None:
    to_simd(a)


def test_floating_point_is_refused() -> None:
    with pytest.raises(BuildError, match=r"FP or SIMD instruction\(s\) outside(?s:.)*in floats: vmov d16|d0"):
        built("armv7", floats, thumb=True)
    _, result = built("armv7", floats, thumb=True, floating_point=frozenset({"floats"}))
    assert len(floating_point(result.image)) == 1


A32 = """
    .section .text.a32, "ax"
    .global twice_and
    .type twice_and, %function
twice_and:
    push {r4, lr}
    add r0, r0, r0
    bl back_in_thumb
    pop {r4, pc}
"""


@export("back_in_thumb")
def back_in_thumb(n: u32) -> u32:
    return n + 1


@external("twice_and")
def twice_and(n: u32) -> u32:
    raise NotImplementedError


@fn
def there_and_back(n: u32) -> u32:
    return twice_and(n) + 1


def test_assembly_is_a32_and_calls_go_both_ways() -> None:
    program, result = built("armv7", there_and_back, back_in_thumb, thumb=True, extra_assembly=A32)
    assert not result.image.symbols["twice_and"] & 1
    assert EmulatedMachine(program, result, "armv7").call("there_and_back", 20) == 42


def test_assembly_that_is_no_function_is_refused() -> None:
    untyped = A32.replace("    .type twice_and, %function\n", "")
    with pytest.raises(BuildError, match=r"there_and_back branches to twice_and of the other instruction set.*add '.type twice_and, %function'"):
        built("armv7", there_and_back, back_in_thumb, thumb=True, extra_assembly=untyped)


@fn
def names_a_text(n: u32) -> u8:
    text = b"constants belong to what names them"
    return text[n & 31]


def test_constants_belong_to_the_function_that_names_them() -> None:
    _, result = built("armv7", names_a_text, thumb=True, linker_script=SCRIPT)
    owners = {piece.name for piece in attribute(result.image) if piece.kind == "constants" and piece.section == ".rodata"}
    assert "names_a_text (text)" in owners
