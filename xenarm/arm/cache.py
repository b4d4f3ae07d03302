"""Cache maintenance by set and way on a guest's behalf (Arm ARM D7.5.9): done only where there is such a set and way."""

from freestanding import clz, fn, u32, u64

from xenarm.arm.instructions import data_sync_local, dcache_clean_invalidate_set_way, instruction_sync
from xenarm.arm.hw import Ccsidr, read_ccsidr_el1, read_clidr_el1, read_csselr_el1, write_csselr_el1

__all__ = ["set_way_clean_invalidate"]

LEVELS = 7
HAS_DATA = 2  # from this cache type on there is a data side


@fn
def geometry(level: u32) -> Ccsidr:
    """Of a level's data or unified cache; the guest's selection is put back."""
    before = read_csselr_el1()
    write_csselr_el1(u64(level) << 1)
    instruction_sync()
    found = Ccsidr.from_raw(read_ccsidr_el1() & 0xFFFF_FFFF)
    write_csselr_el1(before)
    instruction_sync()
    return found


@fn
def set_way_clean_invalidate(argument: u64) -> None:
    """Clean and invalidate what DC ISW, CSW or CISW names. Beyond the cache the instruction's behaviour is unpredictable: it is not done."""
    level = u32((argument >> 1) & 7)
    if level >= LEVELS or (read_clidr_el1() >> (level * 3)) & 7 < HAS_DATA:
        return
    cache = geometry(level)
    ways_shift = clz(cache.ASSOCIATIVITY)
    low = u32(argument & 0xFFFF_FFFF)
    way = u32(0) if ways_shift >= 32 else low >> ways_shift
    sets = (low & ~(u32(0) if ways_shift >= 32 else u32(0xFFFF_FFFF) << ways_shift)) >> (cache.LINE_SIZE + 4)
    if way <= cache.ASSOCIATIVITY and sets <= cache.SETS:
        dcache_clean_invalidate_set_way(u64(low))
        data_sync_local()
