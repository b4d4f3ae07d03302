"""Images: what is in them and what is not, what the build refuses, the tables that describe them, the commands."""
from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path


import capstone
import pytest

from freestanding import (Atomic, Struct, View, array, atomic, export, external, fn, operation, place, read_once, table, truncate,
                          u8, u16, u32, u64, write_once, zeroed)
from freestanding.cwriter import write_c
from freestanding.elf import Image
from freestanding.errors import CHECK_KINDS, CompileError
from freestanding.floating import floating_point
from freestanding.frontend import Frontend

from freestanding.linetable import Lines, describe, line_table, read_table
from freestanding.structs import IntEnum, linker_symbol
from freestanding.toolchain import BuildError, Options, build
from tests.freestanding.building import built, lower
from tests.freestanding.machines import EmulatedMachine, HostMachine

ROOT = Path(__file__).parents[2]


def text_of(image: Image, symbol: str) -> list[str]:
    """The instructions of one function."""
    engine = capstone.Cs(capstone.CS_ARCH_ARM64, capstone.CS_MODE_ARM)
    start = image.symbols[symbol]
    end = min([a for a, _ in image.functions if a > start] or [1 << 64])
    return [f"{i.mnemonic} {i.op_str}" for base, data in image.code() for i in engine.disasm(data, base) if start <= i.address < end]


# ---- checks ---------------------------------------------------------------------------------------------------------------

class Shade(IntEnum, type=u8):
    DARK = 0
    LIGHT = 9


ROOM = array(u32, 10)


@fn
def every_kind(a: u32, b: u32) -> u32:
    assert a != 7, "seven"
    sum_of = a + b
    ROOM[a] = b
    small = u8(sum_of)
    turned = a << b
    part = a // b
    shade = Shade(a)
    return sum_of + u32(small) + turned + part + u32(shade)


def test_all_kinds_are_there_and_each_can_go() -> None:
    _, result = built("aarch64", every_kind)
    assert {site.kind for site in result.image.panics} == set(CHECK_KINDS)
    for kind in CHECK_KINDS:
        _, less = built("aarch64", every_kind, without=(kind,))
        assert {site.kind for site in less.image.panics} == set(CHECK_KINDS) - {kind}
        traps = [line for line in text_of(less.image, "every_kind") if line.startswith("brk")]
        assert len(traps) == len(less.image.panics) < len(result.image.panics)


@pytest.mark.parametrize("target", ["aarch64", "armv7", "x86_64"])
def test_nothing_remains_of_checks_that_are_off(target: str) -> None:
    _, result = built(target, every_kind, without=CHECK_KINDS)
    assert result.image.panics == [] and result.image.section(".panics") == b""
    assert "CHECK_" not in result.c.partition("/* Functions. */")[2]


@pytest.mark.parametrize("target", ["host", "aarch64", "armv7", "x86_64"])
def test_without_checks_the_meaning_of_sound_programs_stays(target: str) -> None:
    program, result = built(target, every_kind, without=CHECK_KINDS)
    running = HostMachine(program, result) if target == "host" else EmulatedMachine(program, result, target)
    assert running.call("every_kind", 9, 3) == 12 + 12 + 72 + 3 + 9


def test_traps_say_their_kind_and_the_table_lies_outside_the_image() -> None:
    program, result = built("aarch64", every_kind)
    names = {f"brk #{0xFA01 + n:#x}" for n in range(len(CHECK_KINDS))}
    assert {line for line in text_of(result.image, "every_kind") if line.startswith("brk")} == names
    assert b"test_toolchain" not in result.binary and b"seven" not in result.binary
    message = [site.message for site in result.image.panics if site.kind == "assert"]
    assert message == ["seven"]


# ---- operations -------------------------------------------------------------------------------------------------------------

@operation(aarch64="mrs {ret}, esr_el2", clobbers=("no memory",))
def esr() -> u64:
    return u64(0)


@operation(aarch64="msr vbar_el2, {value}", armv7="mcr p15, 4, {value}, c12, c0, 0")
def set_vectors(value: u64) -> None:
    """Volatile, and memory is not kept in registers over it."""


@operation(aarch64="add {ret:w}, {a:w}, {b:w}", x86_64="leal ({a:q},{b:q}), {ret:w}", host="leal ({a:q},{b:q}), {ret:w}",
           armv7="add {ret}, {a}, {b}", pure=True)
def added(a: u32, b: u32) -> u32:
    return a + b




@operation(armv7="umull {ret:lo}, {ret:hi}, {a}, {b}", aarch64="umull {ret}, {a:w}, {b:w}", pure=True)
def long_product(a: u32, b: u32) -> u64:
    return u64(a) * u64(b)




@operation(aarch64="mov {ret}, {missing}")
def wrong(value: u64) -> u64:
    return value


STATE = zeroed(type("State", (Struct,), {"__annotations__": {"x": u32, "y": u32}}))


@fn
def reads_once_over_pure(a: u32) -> u32:
    STATE.x = a
    e = esr()
    return STATE.x + truncate(u32, e)


@fn
def reads_again(a: u32) -> u32:
    STATE.x = a
    set_vectors(u64(a))
    return STATE.x


@fn
def dead_operation(a: u32) -> u32:
    added(a, 1)
    return added(added(a, 2), 3)


@fn
def product(a: u32, b: u32) -> u64:
    return long_product(a, b)


@fn
def wrong_operand(a: u64) -> u64:
    return wrong(a)


def test_operations() -> None:
    _, result = built("aarch64", reads_once_over_pure, reads_again, dead_operation, product)
    once = text_of(result.image, "reads_once_over_pure")
    assert any(line.endswith("esr_el2") for line in once)
    assert re.search(r"esr_el2.*\n.*: \);", result.c) and re.search(r'vbar_el2.*\n.*: "memory"\);', result.c)
    again = text_of(result.image, "reads_again")
    assert any("vbar_el2" in line for line in again) and any(line.startswith("ldr") for line in again)
    assert sum(line.startswith("add w") for line in text_of(result.image, "dead_operation")) == 2


@pytest.mark.parametrize("target", ["host", "aarch64", "armv7", "x86_64"])
def test_operations_run(target: str) -> None:
    program, result = built(target, dead_operation)
    running = HostMachine(program, result) if target == "host" else EmulatedMachine(program, result, target)
    assert running.call("dead_operation", 5) == 10


@pytest.mark.parametrize("target", ["aarch64", "armv7"])
def test_operands_of_two_registers(target: str) -> None:
    program, result = built(target, product)
    assert EmulatedMachine(program, result, target).call("product", 0xFFFFFFFF, 0x10) == 0xFFFFFFFF0


def test_missing_template_is_an_error_that_names_the_operation() -> None:
    with pytest.raises(CompileError) as error:
        built("host", reads_again)
    assert "set_vectors has no template for host" in error.value.reason
    assert error.value.site is not None and error.value.underlined == "set_vectors(u64(a))"


def test_unknown_operand_is_an_error() -> None:
    with pytest.raises(CompileError, match="{missing} is no parameter"):
        built("aarch64", wrong_operand)


# ---- atomics and single accesses ----------------------------------------------------------------------------------------------

class Counter(Struct):
    n: Atomic[u32] = atomic(u32)


class Ring(Struct, shared=True):
    head: u32
    tail: u16


COUNTER, RING = Counter(n=atomic(u32)), zeroed(Ring)


@fn
def count() -> u32:
    return COUNTER.n.fetch_add(1)


@fn
def fetch_twice() -> u32:
    a = read_once(RING.head)
    b = read_once(RING.head)
    write_once(RING.tail, truncate(u16, a))
    write_once(RING.tail, truncate(u16, b))
    return a


def test_atomics_with_and_without_lse() -> None:
    plain = text_of(built("aarch64", count)[1].image, "count")
    assert any("xr w" in line for line in plain) and not any(line.startswith("ldadd") for line in plain)
    assert any(line.startswith("ldadd") for line in text_of(built("aarch64", count, features=("lse",))[1].image, "count"))


def test_each_access_to_shared_memory_is_made_exactly_once() -> None:
    lines = text_of(built("aarch64", fetch_twice)[1].image, "fetch_twice")
    assert sum(line.startswith("ldr w") for line in lines) == 2 and sum(line.startswith("strh") for line in lines) == 2


# ---- what the build refuses ------------------------------------------------------------------------------------------------------

@external("nowhere_to_be_found")
def nowhere(a: u32) -> u32:
    return a


@fn
def calls_nowhere(a: u32) -> u32:
    return nowhere(a)


@operation(aarch64=".arch_extension fp\nfmov d0, {value}", armv7="vmov d0, {value}, {value}", x86_64="movq {value}, %xmm0")
def to_simd(value: u64) -> None:
    """Touches a register that belongs to the guest."""


@fn(inline=False)
def floats(a: u64) -> None:
    to_simd(a)


@fn
def calls_floats(a: u64) -> None:
    floats(a)
    floats(a + 1)


def test_undefined_symbols_fail_the_build() -> None:
    for target in ("aarch64", "armv7", "x86_64", "host"):
        with pytest.raises(BuildError, match="undefined symbol: nowhere_to_be_found"):
            built(target, calls_nowhere)


@pytest.mark.parametrize("target", ["aarch64", "x86_64"])
def test_floating_point_is_refused_outside_the_allowed_symbols(target: str) -> None:
    with pytest.raises(BuildError, match=r"FP or SIMD instruction\(s\) outside") as error:
        built(target, calls_floats)
    assert "in test_toolchain_floats" in str(error.value)
    _, result = built(target, calls_floats, floating_point=frozenset({"test_toolchain_floats"}))
    assert floating_point(result.image)


@fn
def clears(n: u32) -> u32:
    big = array(u64, 100)
    other = array(u64, 100)
    for i in range(100):
        big[i] = other[99 - i] + u64(n)
    return truncate(u32, big[n])


def test_copies_and_clears_use_no_simd_and_the_runtime_of_their_own() -> None:
    for target in ("aarch64", "armv7", "x86_64"):
        _, result = built(target, clears)
        assert "memset" in result.image.symbols and "memcmp" not in result.image.symbols


# ---- the same bytes everywhere ---------------------------------------------------------------------------------------------------

PROGRAM = '''
from freestanding import *

class Point(Struct):
    x: u32
    y: u32

POINTS = array(Point, 3)
HANDLERS = {}

def times(n):
    @fn
    def handler(x: u32) -> u32:
        return x * n
    return handler

class Row(Struct, frozen=True):
    number: u32
    handler: "Callable[[u32], u32]"

from collections.abc import Callable
ROWS = table(Row, [Row(number=n, handler=times(n)) for n in range(1, 5)])
for name in {"alpha", "beta", "gamma", "delta"}:
    HANDLERS[name] = len(name)
place(POINTS, align=64)
assembly(".globl start\\nstart: b go", arch="aarch64")

@export("go")
def go(a: u32, b: u32) -> u32:
    total = u32(0)
    for row in ROWS:
        total += row.handler(a) // row.number
    POINTS[b].x = total
    assert total != 3, "three"
    return total + POINTS[b].y
'''


def run_command(directory: Path, *words: str, seed: str = "0", **more: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": seed, **more}
    return subprocess.run([sys.executable, "-m", "freestanding", *words], cwd=directory, env=environment, capture_output=True, text=True,
                          check=False, timeout=100)


def test_the_same_bytes_in_any_place_and_under_any_hash_seed(tmp_path: Path) -> None:
    made = []
    for seed in ("1", "77"):
        directory = tmp_path / f"place{seed}" / ("deep" * (int(seed) % 7))
        directory.mkdir(parents=True)
        (directory / "program.py").write_text(PROGRAM)
        done = run_command(directory, "build", "program", "--target", "aarch64", "-o", "out", seed=seed)
        assert done.returncode == 0, done.stderr
        made.append([(directory / name).read_bytes() for name in ("out", "out.elf", "out.c")])
        assert str(tmp_path).encode() not in made[-1][1] + made[-1][2]
    assert made[0] == made[1]


# ---- assembly, placement, symbols ------------------------------------------------------------------------------------------------

BOOT_STACK = place(array(u8, 256), align=4096)
PLACED = place(array(u64, 2), section=".data.special", align=32)
END = linker_symbol("__bss_end")

ASSEMBLY_TEXT = """
.globl from_assembly
from_assembly:
    adrp x0, BOOT_STACK
    add x0, x0, :lo12:BOOT_STACK
    ret
"""


@external("from_assembly")
def from_assembly() -> u64:
    return u64(0)


@fn
def stack_matches() -> bool:
    PLACED[1] = 1
    BOOT_STACK[0] = 5
    return from_assembly() & 0xFFF == 0 and u64(END) > from_assembly()


def test_assembly_sees_the_statics_it_names() -> None:
    program, result = built("aarch64", stack_matches, extra_assembly=ASSEMBLY_TEXT)
    assert result.image.symbols["BOOT_STACK"] % 4096 == 0
    assert EmulatedMachine(program, result, "aarch64").call("stack_matches") is True
    assert "section(\".data.special\")" in result.c


# ---- the table of lines -----------------------------------------------------------------------------------------------------------

@fn(inline=False)
def leaf(a: u32) -> u32:
    return a + 1


@fn
def caller(a: u32) -> u32:
    first = leaf(a)
    second = leaf(first)
    return first + second


class Handled(Struct, frozen=True):
    run: Callable[[u32], u32]


SCRIPT = """SECTIONS {
    . = 0x80000;
    .text : { __text_start = .; *(.text*) }
    .rodata : { *(.rodata*) . = ALIGN(8); __lines_start = .; KEEP(*(.lines)) __lines_end = .; }
    .data : { *(.data*) }
    .bss (NOLOAD) : { *(.bss*) }
}"""


@pytest.mark.parametrize("target", ["aarch64", "armv7", "x86_64"])
def test_table_of_lines(target: str) -> None:
    _, result = built(target, caller, linker_script=SCRIPT)
    image = result.image
    rodata = image.elf.get_section_by_name(".rodata")
    start, end = image.symbols["__lines_start"], image.symbols["__lines_end"]
    table = rodata.data()[start - rodata["sh_addr"]:end - rodata["sh_addr"]]
    assert table == line_table(image)
    rows = read_table(table)
    assert [offset for offset, _, _ in rows] == sorted(offset for offset, _, _ in rows)
    first = caller.py.__code__.co_firstlineno + 2
    assert {(file, line) for _, file, line in rows} >= {("test_toolchain.py", first), ("test_toolchain.py", first + 1)}
    traps = {site.address - image.text_start: (site.file, site.line) for site in image.panics}
    assert traps.items() <= {offset: (file, line) for offset, file, line in rows}.items()
    assert len(rows) >= len(traps) + 2
    site = image.panics[0]
    assert describe(image, Lines(image), site.address).endswith(f"test_toolchain.py:{site.line} (check: overflow)")


# ---- what runs once ---------------------------------------------------------------------------------------------------------------

KEPT_WORDS = array(u32, 4)
BOOT_WORDS = array(u32, 4)
HANDLERS = table(Handled, [Handled(caller)])


@export("runs_always")
def runs_always(n: u32) -> u32:
    return KEPT_WORDS[n & 3] + HANDLERS[0].run(n)


@fn(inline=False)
def only_the_boot(n: u32) -> u32:
    BOOT_WORDS[n & 3] = n
    return say(b"only the boot says this", n) + BOOT_WORDS[(n + 1) & 3]


@fn(inline=False)
def say(text: View[u8], n: u32) -> u32:
    return u32(text[n & 7])


@export("boots")
def boots(n: u32) -> u32:
    KEPT_WORDS[0] = only_the_boot(n)
    return runs_always(n)


ONCE_SCRIPT = SCRIPT.replace(".rodata : {", """.once.text : { __once_text_start = .; *(.once.text) __once_text_end = .; }
    .once.rodata : { *(.once.rodata) KEEP(*(.once.lines)) }
    .rodata : {""").replace(".bss (NOLOAD)", """.once.bss (NOLOAD) : { *(.once.bss) }
    .bss (NOLOAD)""")


def test_what_only_a_function_reaches_that_runs_once_stands_apart() -> None:
    """What a kept function may call, by a pointer too, and what it names, is never among it; nor is what is exported."""
    frontend = Frontend(64)
    program = frontend.program([boots, runs_always], once=("boots",))
    image = build(program, Options(linker_script=ONCE_SCRIPT, debug=True)).image
    sections = {e.name: image.elf.get_section(e["st_shndx"]).name for e in image.symbol_entries if isinstance(e["st_shndx"], int)}
    named = {name.rpartition("test_toolchain_")[2]: section for name, section in sections.items()}
    assert named["boots"] == named["only_the_boot"] == named["say"] == ".once.text"
    assert named["runs_always"] == named["leaf"] == ".text"
    assert named["BOOT_WORDS"] == ".once.bss" and named["KEPT_WORDS"] == ".bss"
    assert b"only the boot says this" in image.section(".once.rodata") and b"only the boot says this" not in image.section(".rodata")
    start, end = (image.symbols[f"__once_text_{n}"] - image.text_start for n in ("start", "end"))
    assert all(start < offset <= end for offset, _, _ in read_table(line_table(image, once=True)))
    assert not any(start < offset <= end for offset, _, _ in read_table(line_table(image)))
    assert line_table(image, once=True) in image.section(".once.rodata")


# ---- parts, size and speed --------------------------------------------------------------------------------------------------------

@fn(inline=False)
def both_need(n: u32) -> u32:
    return n * 3


@fn(inline=False)
def only_the_part_needs(n: u32) -> u32:
    return both_need(n) + 1


@fn(inline=False)
def part_entry(n: u32) -> u32:
    return only_the_part_needs(n) * only_the_part_needs(n + 1)


PART_TABLE = table(Handled, [Handled(part_entry)])


@export("may_call_the_part")
def may_call_the_part(n: u32) -> u32:
    return PART_TABLE[0].run(n) + both_need(n)


def sections_by_function(image: Image) -> dict[str, str]:
    sections = {e.name: image.elf.get_section(e["st_shndx"]).name for e in image.symbol_entries if isinstance(e["st_shndx"], int)}
    return {name.rpartition("test_toolchain_")[2]: section for name, section in sections.items()}


def test_code_that_only_a_part_needs_stands_apart() -> None:
    """What others call directly too stays with them, and so does a part's own code that they name."""
    parts = (("seldom", (f"{__name__}.part_entry",)),)
    program = Frontend(64).program([may_call_the_part], separate=parts)
    script = SCRIPT.replace(".rodata : {", ".part : { *(.part.seldom) }\n    .rodata : {")
    named = sections_by_function(build(program, Options(linker_script=script)).image)
    assert named["part_entry"] == named["only_the_part_needs"] == ".part"
    assert named["may_call_the_part"] == named["both_need"] == ".text"


@export("adds_up")
def adds_up(words: View[u32]) -> u32:
    return words[0] // 7 + words[1] // 11


def test_modules_that_need_not_be_fast_are_compiled_for_size() -> None:
    """LLVM multiplies by the reciprocal for speed, and divides for size."""
    sizes = []
    for fast in ((), (__name__,), ("another.module",)):
        program = Frontend(64).program([adds_up], fast=fast)
        sizes.append(len(text_of(build(program, Options()).image, "adds_up")))
    assert sizes[0] == sizes[1] > sizes[2]


def test_every_instruction_of_a_function_belongs_to_its_lines() -> None:
    _, result = built("aarch64", every_kind)
    lines = Lines(result.image)
    start = every_kind.py.__code__.co_firstlineno
    end = start + len(every_kind.py.__code__.co_code)
    first = result.image.symbols["every_kind"]
    size = 4 * len(text_of(result.image, "every_kind"))
    rows = [lines.at(address) for address in range(first, first + size, 4)]
    assert all(row is not None and row.file == "test_toolchain.py" and start <= row.line < end for row in rows)
    assert {row.line for row in rows if row} >= set(range(start + 2, start + 10))


# ---- commands ------------------------------------------------------------------------------------------------------------------------

WITH_ERRORS = '''
from freestanding import *

@fn
def one(a: u32, b: u64) -> u64:
    return a + b

@fn
def two(a: u32) -> u32:
    n = 0
    return a

@export("fine")
def fine(a: u32) -> u32:
    return a
'''


def test_check_prints_every_error_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text(WITH_ERRORS)
    done = run_command(tmp_path, "check", "bad")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "bad.py:6:12: error" in done.stderr and "bad.py:10:9: error" in done.stderr
    assert done.stderr.index("bad.py:6") < done.stderr.index("bad.py:10:")
    good = run_command(tmp_path, "build", "bad", "-o", "out")
    assert good.returncode == 0, good.stderr            # `fine` alone is an entry


@pytest.mark.parametrize("source,wanted", [
    ("import nothing_like_this", "no module nothing_like_this"),
    ("x = 1 // 0", "broken.py:1: ZeroDivisionError"),
    ("def f(:", "broken.py:1: SyntaxError"),
    ("from freestanding import *\n@fn\ndef f(a: u32) -> u32:\n    return a", "no @export function"),
])
def test_what_cannot_be_built_is_said_in_one_line(tmp_path: Path, source: str, wanted: str) -> None:
    (tmp_path / "broken.py").write_text(source + "\n")
    done = run_command(tmp_path, "build", "broken", "-o", "out")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert wanted in done.stderr, done.stderr


def test_commands_c_entry_and_without(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    done = run_command(tmp_path, "c", "program", "--target", "armv7")
    assert done.returncode == 0 and 'CHECK_ADD' in done.stdout and '#line 29 "program.py"' in done.stdout
    done = run_command(tmp_path, "c", "program", "--without", "overflow", "--entry", "go")
    assert "CHECK_ADD(" not in done.stdout.partition("/* Functions. */")[2] and "CHECK_INDEX(" in done.stdout
    done = run_command(tmp_path, "build", "program", "--entry", "missing", "-o", "out")
    assert done.returncode == 1 and "no function missing in program" in done.stderr
    assert run_command(tmp_path, "build", "program", "-o", "out").returncode == 0
    trap = Image((tmp_path / "out.elf").read_bytes()).panics[0]
    done = run_command(tmp_path, "lines", "out.elf", hex(trap.address))
    assert f"program.py:{trap.line} (check: {trap.kind}" in done.stdout


@pytest.mark.skipif(not shutil.which("gcc"), reason="needs gcc")
def test_another_compiler(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    for target in ("host", "x86_64"):
        done = run_command(tmp_path, "build", "program", "--target", target, "-o", "out", CC="gcc")
        assert done.returncode == 0, done.stderr
    done = run_command(tmp_path, "build", "program", "-o", "out", CROSS_COMPILE="no-such-machine-")
    assert done.returncode == 1 and "no-such-machine-gcc is not installed" in done.stderr


# ---- the C text ---------------------------------------------------------------------------------------------------------------------

@fn
def carried(n: u32) -> u32:
    total = u32(0)
    last = u32(0)
    for i in range(n):
        if i > 0:
            total += last
        last = i * 2
    return total


def test_c_is_readable_and_needs_no_volatile() -> None:
    text = write_c(lower("aarch64", carried, fetch_twice), "aarch64", root=str(Path(__file__).parent))
    body = text.partition("/* Functions. */")[2]
    assert "for (u32 i = 0u; i < n; i++) {" in body and "volatile" not in body
    directives = re.findall(r'#line \d+ "(.*)"', text)
    assert set(directives) == {"test_toolchain.py"}




@pytest.mark.skipif(not shutil.which("gcc"), reason="needs gcc")
@pytest.mark.parametrize("target", ["aarch64", "armv7", "x86_64"])
def test_the_written_text_is_one_complete_unit(tmp_path: Path, target: str) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    assert run_command(tmp_path, "c", "program", "--target", target, "-o", "out.c").returncode == 0
    from freestanding.toolchain import Options, compile_unit, find_tools
    compile_unit(tmp_path, "unit.c", (tmp_path / "out.c").read_text(), Options(target, warnings=True), find_tools({}))


@operation(aarch64="mov {ret}, #1", host="mov $1, {ret}")
def min_u32() -> u64:
    return u64(1)


class Dark(Struct):
    Shade_DARK: u32


Shade_LIGHT = zeroed(Dark)


@fn
def min_u8(load_be16: View[u8], clz_u32: u32) -> u32:
    """Names that helpers, operations, enumerators and types would like to have."""
    view_u8 = load_be16.load_be16(0)
    popcount_u32 = min(clz_u32, 7) + truncate(u32, min_u32())
    s = Shade(0)
    Shade_LIGHT.Shade_DARK = 5
    slice_ = u32(view_u8) + popcount_u32 + Shade_LIGHT.Shade_DARK
    return slice_ if s == Shade.DARK else u32(0)


@fn
def clashing(n: u32) -> u32:
    return min_u8(b"\1\2", n) + u32(min(truncate(u8, n), 3))


@pytest.mark.parametrize("target", ["aarch64", "host"])
def test_names_never_clash(target: str) -> None:
    program, result = built(target, clashing)
    running = HostMachine(program, result) if target == "host" else EmulatedMachine(program, result, target)
    assert running.call("clashing", 200) == 0x102 + 8 + 5 + 3


def test_objects_are_kept_by_the_hash_of_what_they_are_made_of(tmp_path: Path) -> None:
    first = built("aarch64", every_kind, cache=tmp_path)[1]
    kept = sorted(tmp_path.iterdir())
    assert kept and built("aarch64", every_kind, cache=tmp_path)[1].elf == first.elf
    assert sorted(tmp_path.iterdir()) == kept
    assert built("aarch64", every_kind, cache=tmp_path, debug=False)[1].elf != first.elf
    assert len(list(tmp_path.iterdir())) == len(kept) + 1


def test_settings_of_the_image_come_from_its_modules(tmp_path: Path) -> None:
    (tmp_path / "settings.py").write_text('LINKER_SCRIPT = """SECTIONS { . = 0x1000; .text : { *(.text*) } .data : { *(.data*) }\n'
                                          '.rodata : { *(.rodata*) } .bss : { *(.bss*) } }"""\nCFLAGS = ("-ffixed-x18",)\n')
    (tmp_path / "program.py").write_text("import settings\n" + PROGRAM)
    assert run_command(tmp_path, "build", "program", "-o", "out").returncode == 0
    assert Image((tmp_path / "out.elf").read_bytes()).symbols["go"] < 0x2000
    (tmp_path / "other.py").write_text('CFLAGS = ("-O1",)\n')
    (tmp_path / "program.py").write_text("import settings, other\n" + PROGRAM)
    done = run_command(tmp_path, "build", "program", "-o", "out")
    assert done.returncode == 1 and "CFLAGS is given differently by other, settings" in done.stderr
