"""The first stage's work, one step after the other: each that fails says so on the rescue port, and the machine stands still."""

import xenarm.flash.entry  # noqa: F401
from freestanding import Ptr, Slice, View, export, fn, u8, u32, u64, usize, wrapping_add
from xenarm.arm.instructions import wait_for_interrupt
from xenarm.config import CONFIG
from xenarm.core.addresses import MIB
from xenarm.drivers.pl011 import pl011_put, pl011_setup
from xenarm.flash.entry import LINKER_SCRIPT
from xenarm.flash.join import tree_end_of_memory, tree_is_sound, tree_join, tree_size
from xenarm.flash.table import MAGIC, MOST_PIECES, TABLE_AT, FlashTable, Piece

__all__ = ["LINKER_SCRIPT", "flash_main"]

MAPS_MEMORY = True
STRICT_ALIGN = True  # with the MMU off all memory is Device memory (Arm ARM D8.2.9)
PORT: int = CONFIG.RESCUE_UART
DIGITS = b"0123456789"
LARGEST_TREE = 2 * MIB
HEADER = 40


@fn
def say(text: View[u8]) -> None:
    for i in range(usize(len(text))):
        pl011_put(PORT, text[i])


@fn
def say_number(value: u64) -> None:
    divisor = u64(1_000_000_000)
    while divisor > 1 and value < divisor:
        divisor //= 10
    while divisor > 0:
        digit = usize(value // divisor % 10)
        say(DIGITS[digit : digit + 1])
        divisor //= 10


@fn
def stop() -> None:
    """The line is said: nothing is left to do."""
    say(b"\r\n")
    while True:
        wait_for_interrupt()


@fn
def fail(text: View[u8]) -> None:
    say(b"xenarm flash: ")
    say(text)
    stop()


@export("flash_fault")
def flash_fault() -> None:
    """Any exception: the stage itself is wrong, or the flash is."""
    fail(b"an exception in the first stage; write the flash again (make flash)")


@fn
def bytes_at(address: u64, size: u64) -> View[u8]:
    return Ptr[u8](usize(address)).slice(usize(size))


@fn
def copy_summed(to: Slice[u64], words: View[u64]) -> tuple[u64, u64]:
    """Copy, and both sums of what was copied."""
    first = u64(0)
    second = u64(0)
    for i in range(usize(len(words))):
        word = words[i]
        to[i] = word
        first = wrapping_add(first, word)
        second = wrapping_add(second, first)
    return first, second


@fn
def copy_piece(piece: Piece) -> None:
    count = usize(piece.size // 8)
    first, second = copy_summed(Ptr[u64](usize(piece.destination)).slice(count), Ptr[u64](usize(piece.offset)).slice(count))
    if first != piece.sum or second != piece.sum_of_sums:
        say(b"xenarm flash: damaged at offset ")
        say_number(piece.offset)
        say(b": write the flash again (make flash)")
        stop()


@fn
def machine_tree(table: FlashTable) -> View[u8]:
    """The tree that the machine has left at the start of its memory."""
    size = u64(tree_size(bytes_at(table.ram, HEADER)))
    if size == 0 or size > LARGEST_TREE:
        fail(b"no device tree at the start of memory")
    tree = bytes_at(table.ram, size)
    if not tree_is_sound(tree):
        fail(b"the device tree at the start of memory is damaged")
    return tree


@fn
def check_memory(table: FlashTable, tree: View[u8]) -> None:
    end = tree_end_of_memory(tree, table.ram)
    if end < table.end:
        say(b"xenarm flash: the deployment needs ")
        say_number((table.end - table.ram) // MIB)
        say(b" MiB of memory, the machine has ")
        say_number((max(end, table.ram) - table.ram) // MIB)
        say(b": give it more (-m)")
        stop()


@fn
def make_tree(table: FlashTable) -> None:
    """First of all: what is copied later may lie where the machine's own tree is."""
    tree = machine_tree(table)
    check_memory(table, tree)
    fragment = bytes_at(table.fragment, table.fragment_size)
    if not tree_is_sound(fragment) or tree_join(tree, fragment, Ptr[u8](usize(table.tree)).slice(usize(table.tree_room))) == 0:
        fail(b"the deployment's part of the device tree does not fit the machine's; write the flash again (make flash)")


@export("flash_main")
def flash_main() -> None:
    """Make everything ready; `entry` then enters the hypervisor."""
    pl011_setup(PORT)
    table = Ptr[FlashTable](TABLE_AT).ref()
    if table.magic != MAGIC or table.count > MOST_PIECES:
        fail(b"no table behind the first stage; write the flash again (make flash)")
    make_tree(table)
    for i in range(u32(table.count)):
        copy_piece(table.pieces[i])
