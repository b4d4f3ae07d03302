"""Writes a flattened device tree into a slice, front to back (Devicetree Specification v0.4, chapter 5).

Property names are known at import (`PROPERTIES`), and so is the strings block, which `fdt_finish` puts behind the structure block.
Running out of room is remembered, and `fdt_finish` reports it, so that callers need not look after every property.
"""

from collections.abc import Callable

from freestanding import Slice, Struct, View, array, clz, fn, u8, u32, u64, usize, zeroed
from xenarm.core.result import Result

__all__ = [
    "PROPERTIES",
    "FdtWriter",
    "fdt_begin",
    "fdt_begin_at",
    "fdt_cell",
    "fdt_copy",
    "fdt_end",
    "fdt_finish",
    "fdt_flag",
    "fdt_head",
    "fdt_new",
    "fdt_put",
    "fdt_put64",
    "fdt_text",
    "fdt_text_at",
    "fdt_value",
    "fdt_wide",
    "named",
    "prepared",
]

MAGIC = 0xD00D_FEED
VERSION = 17
COMPATIBLE_VERSION = 16
HEADER_SIZE = 40
RESERVE_MAP_SIZE = 16  # only its end
STRUCTURE_START = HEADER_SIZE + RESERVE_MAP_SIZE
HEX = b"0123456789abcdef"

BEGIN_NODE = 1
END_NODE = 2
PROP = 3
END = 9


PROPERTIES = (
    "#address-cells", "#size-cells", "compatible", "model", "interrupt-parent", "bootargs", "stdout-path", "linux,initrd-start", "linux,initrd-end",
    "method", "cpu_off", "cpu_on", "device_type", "reg", "enable-method", "ranges", "xen,id", "xen,offset", "#interrupt-cells",
    "interrupt-controller", "linux,phandle", "phandle", "interrupts", "current-speed", "#clock-cells", "clock-frequency", "clock-names", "clocks", "#redistributor-regions",
)
"""What a tree may have, in the order of its strings block."""

STRINGS = b"".join(name.encode() + b"\0" for name in PROPERTIES)


def named(text: str) -> int:
    """At import: where the name of a property stands in the strings block."""
    return sum(len(name) + 1 for name in PROPERTIES[: PROPERTIES.index(text)])


class FdtWriter(Struct):
    """A tree under construction."""

    out: Slice[u8]
    at: usize  # where the next token goes
    full: bool  # something did not fit


@fn
def fdt_new(w: FdtWriter, out: Slice[u8]) -> None:
    """Begin a tree in `out`."""
    w.out = out
    w.at = STRUCTURE_START
    w.full = len(out) < STRUCTURE_START
    if not w.full:
        out[:STRUCTURE_START].fill(0)


@fn
def room(w: FdtWriter, size: usize) -> bool:
    if w.full or len(w.out) - w.at < size:
        w.full = True
        return False
    return True


@fn
def fdt_put(w: FdtWriter, value: u32) -> None:
    """One cell."""
    if room(w, 4):
        w.out.store_be32(w.at, value)
        w.at += 4


@fn
def put_bytes(w: FdtWriter, value: View[u8]) -> None:
    """Bytes as they are; `pad` fills up to the next token."""
    if room(w, len(value)):
        w.out[w.at : w.at + len(value)].copy_from(value)
        w.at += len(value)


@fn
def put_zero(w: FdtWriter) -> None:
    if room(w, 1):
        w.out[w.at] = 0
        w.at += 1


@fn
def pad(w: FdtWriter) -> None:
    """Zeros up to the next token."""
    end = (w.at + 3) & ~usize(3)
    if room(w, end - w.at):
        w.out[w.at : end].fill(0)
        w.at = end


def prepared(write: Callable[[FdtWriter], None]) -> bytes:
    """At import: the tokens that a function writes, which depend on nothing; `fdt_copy` writes them again."""
    w = zeroed(FdtWriter)
    out = array(u8, 1024)
    fdt_new(w, out)
    write(w)
    assert not w.full
    return bytes(out[STRUCTURE_START : w.at])


@fn
def fdt_copy(w: FdtWriter, tokens: View[u8]) -> None:
    """What `prepared` gave."""
    put_bytes(w, tokens)


@fn
def fdt_begin(w: FdtWriter, name: View[u8]) -> None:
    """Open a node; the root's name is empty."""
    fdt_put(w, BEGIN_NODE)
    put_text(w, name)


@fn
def put_hex(w: FdtWriter, value: u64) -> None:
    """A unit address: lower case, no leading zeros (section 2.2.1)."""
    digits = 16 - usize(min(clz(value), u32(60)) // 4)
    if not room(w, digits):
        return
    out = w.out[w.at : w.at + digits]
    rest = value
    for i in range(digits):
        out[digits - 1 - i] = HEX[usize(rest & 0xF)]
        rest = rest >> 4
    w.at += digits


@fn
def fdt_begin_at(w: FdtWriter, name: View[u8], address: u64) -> None:
    """Open a node called `name@address`."""
    fdt_put(w, BEGIN_NODE)
    put_bytes(w, name)
    put_bytes(w, b"@")
    put_hex(w, address)
    put_zero(w)
    pad(w)


@fn
def fdt_end(w: FdtWriter) -> None:
    fdt_put(w, END_NODE)


@fn(inline=True)
def put_head(w: FdtWriter, name: u32, size: usize, more: usize) -> bool:
    """A property's head, if there is room for it and `more` bytes."""
    if not room(w, 12 + more):
        return False
    head = w.out[w.at : w.at + 12]
    head.store_be32(0, PROP)
    head.store_be32(4, u32(size))
    head.store_be32(8, name)
    w.at += 12
    return True


@fn
def fdt_head(w: FdtWriter, name: u32, size: usize) -> None:
    """A property's head, its name being what `named` gave; its `size` bytes follow by `fdt_put` and `fdt_put64`."""
    _ = put_head(w, name, size, 0)


@fn
def fdt_value(w: FdtWriter, name: u32, value: View[u8]) -> None:
    """A property of raw bytes."""
    fdt_head(w, name, len(value))
    put_bytes(w, value)
    pad(w)


@fn
def fdt_flag(w: FdtWriter, name: u32) -> None:
    """A property without a value."""
    fdt_head(w, name, 0)


@fn
def fdt_cell(w: FdtWriter, name: u32, value: u32) -> None:
    if put_head(w, name, 4, 4):
        w.out.store_be32(w.at, value)
        w.at += 4


@fn
def fdt_wide(w: FdtWriter, name: u32, value: u64) -> None:
    """A number of two cells."""
    fdt_head(w, name, 8)
    fdt_put64(w, value)


@fn
def fdt_put64(w: FdtWriter, value: u64) -> None:
    """Two cells."""
    if room(w, 8):
        w.out.store_be64(w.at, value)
        w.at += 8


@fn
def put_text(w: FdtWriter, text: View[u8]) -> None:
    """Bytes, a NUL, and zeros up to the next token."""
    size = (len(text) + 4) & ~usize(3)
    if room(w, size):
        w.out.store_be32(w.at + size - 4, 0)
        w.out[w.at : w.at + len(text)].copy_from(text)
        w.at += size


@fn
def fdt_text(w: FdtWriter, name: u32, text: View[u8]) -> None:
    """A string property; `text` comes without its NUL."""
    fdt_head(w, name, len(text) + 1)
    put_text(w, text)


@fn
def fdt_text_at(w: FdtWriter, name: u32, path: View[u8], address: u64) -> None:
    """A string property that names a node: `path@address`."""
    digits = max((67 - clz(address)) // 4, 1)
    fdt_head(w, name, len(path) + usize(digits) + 2)
    put_bytes(w, path)
    put_bytes(w, b"@")
    put_hex(w, address)
    put_zero(w)
    pad(w)


@fn
def fdt_finish(w: FdtWriter) -> tuple[Result, usize]:
    """Close the blob: (OK, its size in bytes), or NO_MEMORY when `out` was too small."""
    fdt_put(w, END)
    structure_size = w.at - STRUCTURE_START
    strings_start = w.at
    put_bytes(w, STRINGS)
    if w.full:
        return Result.NO_MEMORY, 0
    header = w.out
    header.store_be32(0, MAGIC)
    header.store_be32(4, u32(w.at))
    header.store_be32(8, STRUCTURE_START)
    header.store_be32(12, u32(strings_start))
    header.store_be32(16, HEADER_SIZE)
    header.store_be32(20, VERSION)
    header.store_be32(24, COMPATIBLE_VERSION)
    header.store_be32(28, 0)
    header.store_be32(32, u32(len(STRINGS)))
    header.store_be32(36, u32(structure_size))
    return Result.OK, w.at
