"""The stacks of EL2 are long enough for everything that can happen: a bound from the call graph and the image's instructions."""

from __future__ import annotations

import importlib

import pytest

from freestanding import Slice, array, fn, u8, u32
from freestanding.elf import Image
from freestanding.frontend import Frontend
from freestanding.functions import EXPORTS, Function
from freestanding.stack import Stack
from freestanding.toolchain import Options, build
from xenarm.core.domain import FIRST_SLOT_MEMORY, SLOT_MEMORY, STACK_SIZE
from xenarm.tools.hypervisor import Hypervisor


@pytest.fixture(scope="module")
def stack(xenarm: Hypervisor) -> Stack:
    importlib.import_module("xenarm.main")
    frontend = Frontend(64)
    frontend.program([f for f in EXPORTS if f.__module__.startswith("xenarm.")])
    return Stack(frontend, Image(xenarm.image.with_name(xenarm.image.name + ".elf").read_bytes()))


def exported(symbol: str) -> Function:
    return next(f for f in EXPORTS if f.symbol == symbol)


def test_every_way_into_el2_fits_a_stack(stack: Stack) -> None:
    entries = [f for f in EXPORTS if f.__module__.startswith("xenarm.") and f.symbol not in ("boot_first_cpu", "panic_exception")]
    needed = {f.symbol: stack.most(f) for f in entries}
    assert len(needed) >= 10 and max(needed.values()) > 500, "all traps, and what they call"
    assert all(size <= STACK_SIZE for size in needed.values()), needed


def test_the_boot_fits_the_first_cpus_stack_and_leaves_its_lower_part(stack: Stack) -> None:
    boot = exported("boot_first_cpu")
    assert stack.most(boot) <= STACK_SIZE + FIRST_SLOT_MEMORY - SLOT_MEMORY
    start = importlib.import_module("xenarm.arm.run").arch_start_domains
    assert stack.own(boot) + stack.own(start) + stack.most(exported("boot_end")) <= STACK_SIZE


def test_a_panic_fits_its_own_stack(stack: Stack) -> None:
    from xenarm.arm64.vectors import CRASH_STACK

    assert 0 < stack.most(exported("panic_exception")) <= CRASH_STACK


@fn(inline=False)
def touch(room: Slice[u8], n: u32) -> u8:
    room[n] = u8(n & 0x7F)
    return room[n // 2]


@fn(inline=False)
def deep(n: u32) -> u8:
    room = array(u8, 1500)
    return touch(room, n) ^ shallow(n) ^ touch(room, n + 1)


@fn(inline=False)
def shallow(n: u32) -> u8:
    room = array(u8, 300)
    return touch(room, n)


@fn
def outer(n: u32) -> u8:
    return deep(n)


def test_the_bound_adds_up_along_calls() -> None:
    frontend = Frontend(64)
    frontend.lower(outer).symbol = "outer"  # else nothing would call it, and nothing be left of it
    program = frontend.program([outer])
    stack = Stack(frontend, build(program, Options()).image)
    assert 1500 <= stack.own(deep) < 1700 and 300 <= stack.own(shallow) < 400
    assert stack.most(outer) >= stack.own(deep) + stack.own(shallow)
