"""What a hypercall is given by address: read once, and written back, with the caller's own rights and in its own memory (XSA-98).

An argument is a structure of at most ARGUMENT_SIZE bytes, little-endian, in one page or two.
"""

from freestanding import Array, Struct, array, fn, u8, u16, u32, u64, usize

from xenarm.arch import guest_address_translate, guest_byte_read, guest_byte_write
from xenarm.config import CONFIG
from xenarm.core.addresses import PAGE_SIZE
from xenarm.core.domain import Domain, Vcpu, vcpu_domain, vcpu_is_aarch32
from xenarm.core.guest_memory import guest_memory_owns

__all__ = ["ARGUMENT_SIZE", "Argument", "argument_read", "argument_write", "get16", "get32", "get64", "put16", "put32", "put64"]

ARGUMENT_SIZE = 24
LAST_ADDRESS = 0xFFFF_FFFF_FFFF_FFFF
LAST_ADDRESS32 = 0xFFFF_FFFF


class Argument(Struct):
    """`bytes` is EL2's own copy. The two machine addresses stay good: guests give no memory back while they run."""

    first: u64
    first_size: u64
    second: u64
    size: u64
    bytes: Array[u8] = array(u8, ARGUMENT_SIZE)


@fn
def is_own(d: Domain, machine: u64) -> bool:
    """Whether a byte is the domain's RAM, or the page that it shares with EL2."""
    page = d.shared_page.page
    return guest_memory_owns(d, machine) or (page != 0 and machine & ~u64(PAGE_SIZE - 1) == page)


@fn
def locate(v: Vcpu, address: u64, write: bool) -> u64:
    """The machine address of a byte that the caller may read, or write too; 0 when it may not."""
    d = vcpu_domain(v)
    allowed, machine = guest_address_translate(d.p2m, address, write)
    return machine if allowed and is_own(d, machine) else u64(0)


@fn
def last_address(v: Vcpu) -> u64:
    """The caller's last virtual address: nothing wraps."""
    return u64(LAST_ADDRESS32) if not CONFIG.ARM64 or vcpu_is_aarch32(v) else u64(LAST_ADDRESS)


@fn
def argument_read(v: Vcpu, address: u64, length: usize, write: bool, a: Argument) -> bool:
    """Copy an argument of `length` bytes, which is written back later if `write`. False: the caller may not do so itself."""
    size = u64(length)
    if size > ARGUMENT_SIZE or address > last_address(v) - size:
        return False
    a.size = size
    a.first_size = min(size, PAGE_SIZE - (address & (PAGE_SIZE - 1)))
    a.first = locate(v, address, write)
    a.second = a.first
    if a.first_size < size:
        a.second = locate(v, address + a.first_size, write)
    if a.first == 0 or a.second == 0:
        return False
    for i in range(size):
        a.bytes[i] = guest_byte_read(place(a, i))
    return True


@fn(inline=True)
def place(a: Argument, i: u64) -> u64:
    return a.first + i if i < a.first_size else a.second + (i - a.first_size)


@fn
def argument_write(a: Argument) -> None:
    """Write `bytes` back where they came from."""
    for i in range(a.size):
        guest_byte_write(place(a, i), a.bytes[i])


# ---- fields of it -----------------------------------------------------------------------------------------------------


@fn
def get16(a: Argument, offset: usize) -> u32:
    return u32(a.bytes[offset]) | u32(a.bytes[offset + 1]) << 8


@fn
def get32(a: Argument, offset: usize) -> u32:
    return a.bytes[offset : offset + 4].load_le32(0)


@fn
def get64(a: Argument, offset: usize) -> u64:
    return a.bytes[offset : offset + 8].load_le64(0)


@fn
def put64(a: Argument, offset: usize, value: u64) -> None:
    a.bytes[offset : offset + 8].store_le64(0, value)


@fn
def put32(a: Argument, offset: usize, value: u32) -> None:
    a.bytes[offset : offset + 4].store_le32(0, value)


@fn
def put16(a: Argument, offset: usize, value: u32) -> None:
    a.bytes[offset : offset + 2].store_le16(0, u16(value))
