"""The device tree reader over damaged blobs, on every engine: whatever is accepted can be used, and all engines agree."""

from __future__ import annotations

from typing import Any

import pytest

from freestanding import Array, Struct, array, fn, u8, u32, u64, usize, wrapping_add, wrapping_mul, zeroed
from tests.xenarm.trees import compile_source
from xenarm.devicetree.reader import NO_NODE, ROOT, Fdt, FdtError, Trail, fdt_name, fdt_next, fdt_open, fdt_trace
from xenarm.devicetree.values import fdt_by_phandle, fdt_find_compatible, fdt_interrupt, fdt_path, fdt_reg, fdt_stdout

BLOB = compile_source("""
/dts-v1/;
/memreserve/ 0x48000000 0x10000;
/ {
    #address-cells = <2>; #size-cells = <2>; interrupt-parent = <&gic>;
    aliases { serial0 = "/soc/uart@1000"; };
    chosen { stdout-path = "serial0:115200n8"; };
    memory@40000000 { device_type = "memory"; reg = <0 0x40000000 0 0x10000000>; };
    gic: gic@8000000 { #interrupt-cells = <3>; phandle = <7>; reg = <0 0x8000000 0 0x1000>; };
    soc {
        compatible = "simple-bus"; #address-cells = <1>; #size-cells = <1>; ranges = <0x0 0x0 0x9000000 0x100000>;
        uart@1000 { compatible = "arm,pl011"; reg = <0x1000 0x1000>; interrupts = <0 5 4>; };
    };
};
""")
ROOM = 4096
assert len(BLOB) < ROOM


class Scratch(Struct):
    state: u64
    text: Array[u8] = array(u8, 40)
    bytes: Array[u8] = array(u8, ROOM)


SCRATCH = zeroed(Scratch)


@fn
def draw(limit: u32) -> u32:
    """A random number below `limit` (Knuth's MMIX generator)."""
    SCRATCH.state = wrapping_add(wrapping_mul(SCRATCH.state, u64(6364136223846793005)), u64(1442695040888963407))
    return u32(SCRATCH.state >> 33) % limit


@fn
def damage() -> None:
    """One to four bytes or words set to something."""
    for _ in range(1 + draw(4)):
        at = usize(draw(len_of_blob() - 4))
        match draw(4):
            case 0:
                SCRATCH.bytes[at] = u8(draw(256))
            case 1:
                SCRATCH.bytes.store_be32(at & ~usize(3), draw(12))
            case 2:
                SCRATCH.bytes.store_be32(at & ~usize(3), 0xFFFF_FFF8 + draw(8))
            case _:
                SCRATCH.bytes.store_be32(at & ~usize(3), draw(0x7FFF_FFFF))


@fn
def len_of_blob() -> u32:
    return u32(len(BLOB))


@fn
def use(tree: Fdt) -> u64:
    """Ask everything of every node; a sum of the answers."""
    total = u64(0)
    node = ROOT
    while node != NO_NODE:
        trail = zeroed(Trail)
        reg = fdt_reg(tree, node, 0)
        interrupt = fdt_interrupt(tree, node, 0)
        total = wrapping_add(total, reg.base ^ reg.size ^ u64(interrupt.intid))
        total = wrapping_add(total, u64(fdt_path(tree, node, SCRATCH.text)) + u64(len(fdt_name(tree, node))))
        total = wrapping_add(total, 1 if fdt_trace(tree, node, trail) else u64(1000))
        node = fdt_next(tree, node)
    total = wrapping_add(total, u64(u32(fdt_stdout(tree))))
    total = wrapping_add(total, u64(u32(fdt_by_phandle(tree, 7))))
    return wrapping_add(total, u64(u32(fdt_find_compatible(tree, b"arm,pl011"))))


@fn
def round_of(tree: Fdt) -> u64:
    SCRATCH.bytes[: len(BLOB)].copy_from(BLOB)
    damage()
    error = fdt_open(tree, SCRATCH.bytes[: len(BLOB)])
    return use(tree) if error == FdtError.NONE else u64(error)


@fn
def fuzz(seed: u64, rounds: u32) -> u64:
    """Damage, open and use the blob many times; a sum that every engine must come to."""
    SCRATCH.state = seed
    tree = zeroed(Fdt)
    total = u64(0)
    for _ in range(rounds):
        total = wrapping_add(wrapping_mul(total, u64(31)), round_of(tree))
    return total


@fn
def sound() -> u64:
    SCRATCH.bytes[: len(BLOB)].copy_from(BLOB)
    tree = zeroed(Fdt)
    error = fdt_open(tree, SCRATCH.bytes[: len(BLOB)])
    return use(tree) if error == FdtError.NONE else u64(0)


SUMS: dict[tuple[int, int], Any] = {}


def test_engines_agree(engine: Any) -> None:
    assert engine(sound) == SUMS.setdefault((0, 0), engine(sound)) != 0
    for seed, rounds in ((1, 40), (2, 60)):
        assert engine(fuzz, seed, rounds) == SUMS.setdefault((seed, rounds), engine(fuzz, seed, rounds))


def test_many_rounds(engine: Any) -> None:
    """Compiled code only, the host's with the sanitizer among it: nothing traps, nothing runs on."""
    if "python" in engine.name:
        pytest.skip("slow")
    host = "host" in engine.name or "O" in engine.name or "ubsan" in engine.name
    engine(fuzz, 3, 20_000 if host else 300)
