"""A domain's RAM: machine memory taken in pieces as large as can be, cleared, mapped where the guest has it, and written to."""

from freestanding import View, fn, u8, u64, usize
from xenarm.abi.layout import GUEST_RAM0_BASE, GUEST_RAM0_SIZE, GUEST_RAM1_BASE
from xenarm.arch import arch_memory_clear, dcache_clean_invalidate, ram_write
from xenarm.arm.schedule import vcpu_breathe
from xenarm.config import CONFIG
from xenarm.core.addresses import GIB, KIB, MIB, PAGE_SIZE, GuestPhys, HostPhys
from xenarm.core.domain import Domain
from xenarm.core.memory import memory_take, pages_free
from xenarm.core.records import MOST_PIECES, GuestMemory, Piece
from xenarm.core.result import Result
from xenarm.core.scrub import scrub_boot
from xenarm.p2m.stage2 import MemoryKind, p2m_map, p2m_tables_for

__all__ = [
    "guest_memory_create",
    "guest_memory_find",
    "guest_memory_first_scrub",
    "guest_memory_is_direct",
    "guest_memory_map",
    "guest_memory_owns",
    "guest_memory_place",
    "guest_memory_release",
    "guest_memory_scrub",
    "guest_memory_tables",
    "guest_memory_write",
    "memory_scrub",
    "ram0_size",
    "ram1_size",
]

AT_ONCE = 128 * KIB  # cleared, before others get their turn


@fn
def ram0_size(size: u64) -> u64:
    """How much of a domain's RAM lies in the low bank."""
    return min(size, GUEST_RAM0_SIZE)


@fn
def ram1_size(size: u64) -> u64:
    return size - ram0_size(size)


@fn
def take(most: u64) -> tuple[u64, u64]:
    """Memory for superpages as long as there is any: 1 GiB, then 2 MiB, then 4 KiB."""
    base, size = memory_take(most, GIB)
    if size == 0:
        base, size = memory_take(most, 2 * MIB)
    if size == 0:
        base, size = memory_take(most, PAGE_SIZE)
    return base, size


@fn
def add_piece(memory: GuestMemory, ipa: u64, base: u64, size: u64) -> None:
    """There must be room for it."""
    piece = memory.pieces[memory.count]
    piece.ipa = ipa
    piece.base = base
    piece.size = size
    memory.count += 1


@fn
def fill_bank(memory: GuestMemory, ipa: u64, size: u64) -> Result:
    done = u64(0)
    while done < size:
        if memory.count == MOST_PIECES:
            return Result.NO_MEMORY
        base, got = take(size - done)
        if got == 0:
            return Result.NO_MEMORY
        add_piece(memory, ipa + done, base, got)
        done += got
    return Result.OK


@fn
def guest_memory_create(d: Domain, size: u64) -> Result:
    """Take `size` bytes of RAM, whole pages, for a domain. Nothing is mapped yet. On an error the caller releases what was taken."""
    memory = d.memory
    memory.count = 0
    memory.fixed = False
    result = fill_bank(memory, u64(GUEST_RAM0_BASE), ram0_size(size))
    if result != Result.OK:
        return result
    return fill_bank(memory, u64(GUEST_RAM1_BASE), ram1_size(size))


@fn
def guest_memory_place(d: Domain, ipa: u64, base: u64, size: u64, first: bool) -> Result:
    """Note machine memory that is a domain's RAM for good. `first`: it has no other yet. NO_MEMORY: more pieces than there is room for."""
    memory = d.memory
    memory.count = 0 if first else memory.count
    memory.fixed = True
    if memory.count == MOST_PIECES:
        return Result.NO_MEMORY
    add_piece(memory, ipa, base, size)
    return Result.OK


@fn
def guest_memory_tables(d: Domain) -> u64:
    """Pages of stage-2 tables, less the root, that mapping all of it takes at most."""
    memory = d.memory
    count = u64(0)
    for i in range(memory.count):
        count += p2m_tables_for(memory.pieces[i].ipa, memory.pieces[i].base, memory.pieces[i].size)
    return count


@fn
def guest_memory_map(d: Domain) -> Result:
    """Show the domain its RAM."""
    memory = d.memory
    for i in range(memory.count):
        piece = memory.pieces[i]
        result = p2m_map(d.p2m, GuestPhys(piece.ipa), HostPhys(piece.base), piece.size, MemoryKind.RAM)
        if result != Result.OK:
            return result
    return Result.OK


@fn
def guest_memory_release(d: Domain) -> None:
    """Give back the RAM of a domain that never ran, or that was scrubbed."""
    memory = d.memory
    for i in range(memory.count):
        if memory.fixed:
            break
        pages_free(HostPhys(memory.pieces[i].base), memory.pieces[i].size // PAGE_SIZE)
    memory.count = 0


@fn
def memory_scrub(base: u64, size: u64) -> None:
    """Clear what a domain has left, in memory itself too: its next owner begins with the caches off. Others have their turns meanwhile."""
    done = u64(0)
    while done < size:
        step = min(size - done, u64(AT_ONCE))
        arch_memory_clear(HostPhys(base + done), step)
        done += step
        vcpu_breathe()


@fn
def guest_memory_scrub(d: Domain) -> None:
    """Clear a domain's RAM."""
    memory = d.memory
    for i in range(memory.count):
        memory_scrub(memory.pieces[i].base, memory.pieces[i].size)


@fn
def guest_memory_first_scrub(d: Domain) -> None:
    """The same before the domain's first life, by all CPUs, unless the boot arguments say otherwise."""
    memory = d.memory
    for i in range(memory.count):
        if CONFIG.BOOT_SCRUB:
            scrub_boot(memory.pieces[i].base, memory.pieces[i].size)


@fn
def write_piece(piece: Piece, at: u64, data: View[u8]) -> u64:
    """The part of `data` that falls into a piece, `at` being inside it: how much that was."""
    size = min(u64(len(data)), piece.size - (at - piece.ipa))
    base = piece.base + (at - piece.ipa)
    ram_write(base, data[: usize(size)])
    dcache_clean_invalidate(HostPhys(base), size)
    return size


@fn
def guest_memory_write(d: Domain, ipa: GuestPhys, data: View[u8]) -> Result:
    """Copy into a domain's RAM, and out of the caches, since it starts with them off. INVALID outside its RAM."""
    memory = d.memory
    at = u64(ipa)
    rest = data
    for i in range(memory.count):
        piece = memory.pieces[i]
        if len(rest) > 0 and piece.ipa <= at and at - piece.ipa < piece.size:
            size = write_piece(piece, at, rest)
            at += size
            rest = rest[usize(size) :]
    return Result.OK if len(rest) == 0 else Result.INVALID


@fn
def guest_memory_find(d: Domain, ipa: u64) -> u64:
    """The machine address of a byte of a domain's RAM, by where the domain was given it; 0 when it is none."""
    memory = d.memory
    for i in range(memory.count):
        piece = memory.pieces[i]
        if piece.ipa <= ipa and ipa - piece.ipa < piece.size:
            return piece.base + (ipa - piece.ipa)
    return 0


@fn
def guest_memory_owns(d: Domain, machine: u64) -> bool:
    """Whether a byte of machine memory is a domain's RAM."""
    memory = d.memory
    for i in range(memory.count):
        piece = memory.pieces[i]
        if piece.base <= machine and machine - piece.base < piece.size:
            return True
    return False


@fn
def guest_memory_is_direct(d: Domain) -> bool:
    """Whether a domain has its RAM where the machine has it."""
    memory = d.memory
    return memory.count > 0 and memory.pieces[0].ipa == memory.pieces[0].base
