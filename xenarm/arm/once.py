"""The end of the boot: what only it used becomes free memory."""

from freestanding import Array, Struct, View, address_of, align_down, align_up, array, fn, linker_symbol, u8, u32, u64, usize, zeroed

from xenarm.arm.cpu import Harden
from xenarm.arm.mmu import image_physical, image_size, mmu_forget_boot_code, mmu_release, pool_close, pool_left
from xenarm.arm.variant import vectors_used
from xenarm.arm.vcpu import cpus_awaited, cpus_in_boot_code, cpus_online
from xenarm.config import CONFIG
from xenarm.core.addresses import PAGE_SIZE, HostPhys
from xenarm.core.domain import FIRST_SLOT_MEMORY, SLOT_MEMORY, SLOTS
from xenarm.core.event_channel import channels_used
from xenarm.core.fault import HOST_TREE
from xenarm.core.memory import pages_free
from xenarm.core.sched.scheduler import NAMES, sched_name
from xenarm.devicetree.reader import fdt_bytes
from xenarm.gic.controller import gic_is_v3

__all__ = ["boot_is_over", "image_kept", "image_stays", "once_release"]

MAPS_MEMORY = True

TEXT_START = linker_symbol("__once_text_start")
CONSTANTS_END = linker_symbol("__once_rodata_end")
DATA_START = linker_symbol("__frames_start")  # the schedule of `arinc653` comes first
FRAMES_END = linker_symbol("__frames_end")
DATA_END = linker_symbol("__once_data_end")
TREE_END = linker_symbol("__tree_end")
FIRST_SLOT = linker_symbol("__pool_end")  # its memory
DEEP_STACK = FIRST_SLOT_MEMORY - SLOT_MEMORY


HEAD_START = linker_symbol("__text_start")  # the boot code: one page, but for arm32's
PLAIN_START = linker_symbol("__part_plain_start")  # what `TABLES`, `SEPARATE` and `TABLES_V3` in link.py name, in this order
TRACED_START = linker_symbol("__part_traced_start")
LOOP_START = linker_symbol("__part_loop_start")
TRACED_LOOP_START = linker_symbol("__part_traced_loop_start")
CALL_START = linker_symbol("__part_call_start")
TRACED_CALL_START = linker_symbol("__part_traced_call_start")
ALL_START = linker_symbol("__part_all_start")  # what every machine needs
NULL_START = linker_symbol("__part_null_start")
EVENTS_START = linker_symbol("__part_events_start")
RR_START = linker_symbol("__part_rr_start")
CREDIT2_START = linker_symbol("__part_credit2_start")
RTDS_START = linker_symbol("__part_rtds_start")
ARINC653_START = linker_symbol("__part_arinc653_start")
GICV3_START = linker_symbol("__part_gicv3_start")
CALL_V3_START = linker_symbol("__part_call_v3_start")
LOOP_V3_START = linker_symbol("__part_loop_v3_start")
PLAIN_V3_START = linker_symbol("__part_plain_v3_start")
PARTS = 19  # with the boot's own


class Part(Struct):
    """Code that this boot needs, or does not."""

    start: usize
    needed: bool


class Once(Struct):
    """Whether the boot is over, and which parts of the image stay after it."""

    over: bool
    kept: u64  # bytes of the image that stay
    count: u32
    frames: bool  # the schedule of `arinc653` is needed
    parts: Array[Part] = array(Part, PARTS)


STATE = zeroed(Once)


@fn
def part(start: usize, needed: bool) -> None:
    STATE.parts[STATE.count].start = start
    STATE.parts[STATE.count].needed = needed
    STATE.count += 1


def built_in(name: str) -> bytes:
    """A scheduler's name; none for one that the image has not, whose part is empty."""
    return name.encode() if name in NAMES else b""


NULL_NAME, RR_NAME, CREDIT2_NAME, RTDS_NAME, ARINC653_NAME = (built_in(name) for name in ("null", "rr", "credit2", "rtds", "arinc653"))


@fn
def table_part(start: usize, how: Harden, wanted: bool) -> None:
    """A CPU that was started and has not come may come yet, and then begins with the plain vectors."""
    part(start, wanted and (vectors_used(how, cpus_online()) or (how == Harden.NONE and cpus_awaited())))


@fn
def scheduler_part(start: usize, name: View[u8]) -> None:
    part(start, sched_name().equals(name))


@fn
def parts_find() -> None:
    """See which parts are needed, once CPUs, the interrupt controller and the scheduler are known."""
    v3 = gic_is_v3()
    first = not v3 or not CONFIG.GICV2  # of the two versions that the image may have
    STATE.count = 0
    part(usize(HEAD_START), not CONFIG.ARM64 or cpus_in_boot_code())
    table_part(usize(PLAIN_START), Harden.NONE, first)
    table_part(usize(TRACED_START), Harden.NONE, True)
    table_part(usize(LOOP_START), Harden.LOOP, first)
    table_part(usize(TRACED_LOOP_START), Harden.LOOP, True)
    table_part(usize(CALL_START), Harden.CALL, first)
    table_part(usize(TRACED_CALL_START), Harden.CALL, True)
    part(usize(ALL_START), True)
    scheduler_part(usize(NULL_START), NULL_NAME)
    part(usize(EVENTS_START), CONFIG.EVENT_CHANNELS and channels_used())
    scheduler_part(usize(RR_START), RR_NAME)
    scheduler_part(usize(CREDIT2_START), CREDIT2_NAME)
    scheduler_part(usize(RTDS_START), RTDS_NAME)
    scheduler_part(usize(ARINC653_START), ARINC653_NAME)
    part(usize(GICV3_START), v3)
    table_part(usize(CALL_V3_START), Harden.CALL, v3)
    table_part(usize(LOOP_V3_START), Harden.LOOP, v3)
    table_part(usize(PLAIN_V3_START), Harden.NONE, v3)
    part(usize(TEXT_START), False)
    STATE.frames = sched_name().equals(ARINC653_NAME)


@fn
def boot_is_over() -> bool:
    """From now on nothing of `.once` may be looked at."""
    return STATE.over


@fn
def data_left() -> usize:
    """Where the data begins that nobody needs after the boot."""
    return align_up(usize(FRAMES_END), PAGE_SIZE) if STATE.frames else usize(DATA_START)


@fn
def tree_left() -> usize:
    """Where the room for the device tree's nodes goes on after the last one."""
    return (address_of(HOST_TREE) + fdt_bytes(HOST_TREE) + (PAGE_SIZE - 1)) & ~usize(PAGE_SIZE - 1)


@fn
def parts_left(give: bool) -> usize:
    """Bytes of the whole pages in which only parts lie that are not needed, and the boot's constants behind them; `give` them back."""
    bytes = usize(0)
    first = usize(0)
    for i in range(PARTS + 1):
        end = i == PARTS or STATE.parts[i].needed
        at = usize(CONSTANTS_END) if i == PARTS else STATE.parts[i].start
        if end and first != 0:
            bytes += whole_pages(align_up(first, PAGE_SIZE), align_down(at, PAGE_SIZE), give)
        first = usize(0) if end else at if first == 0 else first
    return bytes


@fn
def whole_pages(first: usize, end: usize, give: bool) -> usize:
    if give:
        release(first, end, first)
    return end - first if first < end else 0


@fn
def image_kept() -> u64:
    """Bytes of the image that stay after the boot."""
    parts_find()
    boots = parts_left(False) + (usize(DATA_END) - data_left())
    STATE.kept = image_size() - u64(boots + len(pool_left()) + (usize(TREE_END) - tree_left()) + DEEP_STACK)
    return STATE.kept


@fn
def image_stays() -> u64:
    """The same, once `image_kept` has found it out."""
    return STATE.kept


@fn
def release(first: usize, end: usize, at: usize) -> None:
    if first < end:
        if first == usize(HEAD_START):
            mmu_forget_boot_code()
        mmu_release(first, end, at)
        pages_free(HostPhys(image_physical(first)), u64(end - first) // PAGE_SIZE)


@fn
def once_release() -> None:
    """Give back the boot's own code, constants and data, the table pages that it did not need, and the lower part of the first CPU's stack.

    Called once, from code that stays, not deep in the stack.
    """
    STATE.over = True
    pool_close()
    left = pool_left()
    _ = parts_left(True)
    release(data_left(), usize(DATA_END), data_left())
    release(address_of(left), address_of(left) + len(left), address_of(left))
    release(tree_left(), usize(TREE_END), tree_left())
    release(usize(FIRST_SLOT), usize(FIRST_SLOT) + DEEP_STACK, address_of(SLOTS[0].stack) - DEEP_STACK)
