"""Words that a guest shares with EL2: bits changed in one go; and a guest's addresses, translated with its own rights.

A guest can make a store-exclusive fail for ever, by storing to the same place without end (XSA-295). So attempts are counted; after the
last one the word is stored plainly: what the guest changed in that very moment is lost, and that is its own affair.
"""

from collections.abc import Callable

from freestanding import Ptr, Struct, fn, operation, read_once, u8, u32, u64, write_once

from xenarm.arm import instructions
from xenarm.arm.instructions import address_translate_guest_read, address_translate_guest_write, data_memory_barrier, instruction_sync
from xenarm.arm.hw import Par, read_par_el1, write_par_el1
from xenarm.arm.reach import ram_at
from xenarm.config import CONFIG
from xenarm.p2m.state import P2m

__all__ = [
    "guest_address_translate",
    "guest_byte_read",
    "guest_byte_write",
    "guest_word_clear",
    "guest_word_read",
    "guest_word_set",
    "guest_word_write",
]

MAPS_MEMORY = True

ATTEMPTS = 64
WAS_SET = 1
LOST = 2
PAGE_OFFSET = 0xFFF


class GuestWord(Struct, shared=True):
    value: u64


class GuestByte(Struct, shared=True):
    value: u8


def _attempt(name: str, instruction: str) -> Callable[[u64, u64], u64]:
    """Change the bits of `mask` in one go: WAS_SET if any was set before, LOST if the store failed and nothing changed."""

    def model(address: u64, mask: u64) -> u64:
        from freestanding import hosted

        if not instructions.BUS.store_exclusive(int(address)):
            return u64(LOST)
        memory = hosted.engine().memory
        before = memory.load(int(address), 8)
        memory.store(int(address), 8, before | int(mask) if instruction == "orr" else before & ~int(mask))
        return u64(WAS_SET if before & mask else 0)

    model.__name__ = model.__qualname__ = name
    aarch64 = f"""
        ldaxr {{ret}}, [{{address}}]
        {instruction} x9, {{ret}}, {{mask}}
        stlxr w10, x9, [{{address}}]
        tst {{ret}}, {{mask}}
        cset {{ret}}, ne
        add {{ret}}, {{ret}}, x10, lsl #1
    """
    armv7 = f"""
        dmb ish
        ldrexd {{ret:lo}}, {{ret:hi}}, [{{address:lo}}]
        {instruction} r8, {{ret:lo}}, {{mask:lo}}
        {instruction} r9, {{ret:hi}}, {{mask:hi}}
        strexd r12, r8, r9, [{{address:lo}}]
        and {{ret:lo}}, {{ret:lo}}, {{mask:lo}}
        and {{ret:hi}}, {{ret:hi}}, {{mask:hi}}
        orrs {{ret:lo}}, {{ret:lo}}, {{ret:hi}}
        it ne
        movne {{ret:lo}}, #1
        add {{ret:lo}}, {{ret:lo}}, r12, lsl #1
        mov {{ret:hi}}, #0
    """
    clobbers = ("x9", "x10", "cc", "memory") if CONFIG.ARM64 else ("r8", "r9", "r12", "cc", "memory")
    attempt: Callable[[u64, u64], u64] = operation(aarch64=aarch64, armv7=armv7, clobbers=clobbers)(model)
    return attempt


set_attempt = _attempt("set_attempt", "orr")
clear_attempt = _attempt("clear_attempt", "bic")


@fn(inline=True)
def guest_word_read(address: u64) -> u64:
    """One load from guest memory, by its machine address."""
    return read_once(Ptr[GuestWord](ram_at(address)).ref().value)


@fn(inline=True)
def guest_word_write(address: u64, value: u64) -> None:
    write_once(Ptr[GuestWord](ram_at(address)).ref().value, value)


@fn(inline=True)
def guest_byte_read(address: u64) -> u8:
    return read_once(Ptr[GuestByte](ram_at(address)).ref().value)


@fn(inline=True)
def guest_byte_write(address: u64, value: u8) -> None:
    write_once(Ptr[GuestByte](ram_at(address)).ref().value, value)


@fn
def guest_word_set(address: u64, mask: u64) -> bool:
    """Set bits, seen by all before what follows; whether one was set before. Nobody else of EL2 may change the word meanwhile."""
    at = u64(ram_at(address))
    for _ in range(u32(ATTEMPTS)):
        outcome = set_attempt(at, mask)
        if outcome & LOST == 0:
            data_memory_barrier()
            return outcome & WAS_SET != 0
    before = guest_word_read(address)
    guest_word_write(address, before | mask)
    data_memory_barrier()
    return before & mask != 0


@fn
def guest_word_clear(address: u64, mask: u64) -> bool:
    """Clear bits, as `guest_word_set` sets them."""
    at = u64(ram_at(address))
    for _ in range(u32(ATTEMPTS)):
        outcome = clear_attempt(at, mask)
        if outcome & LOST == 0:
            data_memory_barrier()
            return outcome & WAS_SET != 0
    before = guest_word_read(address)
    guest_word_write(address, before & ~mask)
    data_memory_barrier()
    return before & mask != 0


@fn
def guest_address_translate(p: P2m, address: u64, write: bool) -> tuple[bool, u64]:
    """Where a virtual address of the guest whose registers this CPU has lies: (whether the guest may read or write there, machine address).

    Both stages are asked, with the rights of the guest's kernel (Arm ARM D8.12, AT S12E1R and S12E1W). The lock keeps an entry that is
    just being exchanged from looking absent.
    """
    with p.lock:
        before = read_par_el1()
        if write:
            address_translate_guest_write(address)
        else:
            address_translate_guest_read(address)
        instruction_sync()
        par = Par.from_raw(read_par_el1())
        write_par_el1(before)
        return not par.F, par.PA << 12 | address & PAGE_OFFSET
