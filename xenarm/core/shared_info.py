"""The page that a domain shares with the hypervisor (Xen's shared_info): made with the domain, shown where the guest wants it.

One frame at a time shows it: one of the domain's RAM, which comes back when the page goes elsewhere, or one of the 16 MiB that the memory
map keeps for grants. Each place takes tables out of the domain's own pool; a new life has them back, with stage 2 made anew.
"""

from freestanding import Ptr, fn, u8, u64, usize

from xenarm.abi.layout import GUEST_GNTTAB_BASE, GUEST_GNTTAB_SIZE
from xenarm.core.addresses import PAGE_SIZE, GuestPhys, HostPhys
from xenarm.core.domain import Domain
from xenarm.core.guest_memory import guest_memory_find
from xenarm.core.memory import page_alloc, page_free
from xenarm.core.result import Result
from xenarm.p2m.stage2 import MemoryKind, p2m_map, p2m_unmap

__all__ = [
    "SHARED_TABLES",
    "shared_info_at",
    "shared_info_create",
    "shared_info_hide",
    "shared_info_release",
    "shared_info_reset",
    "shared_info_show",
]

MAPS_MEMORY = True

SHARED_TABLES = 8  # of the pool, for showing the page at four places at least


@fn
def shared_info_create(d: Domain) -> Result:
    """A page of zeros, shown nowhere yet."""
    s = d.shared_page
    s.page = u64(page_alloc())
    s.shown_at = 0
    s.was_shown = False
    return Result.OK if s.page != 0 else Result.NO_MEMORY


@fn
def may_show(d: Domain, ipa: u64) -> bool:
    in_window = ipa >= u64(GUEST_GNTTAB_BASE) and ipa < u64(GUEST_GNTTAB_BASE) + GUEST_GNTTAB_SIZE
    return in_window or guest_memory_find(d, ipa) != 0


@fn
def shared_info_show(d: Domain, ipa: u64) -> Result:
    """Map it at a page of guest-physical space. BUSY: it is shown already. INVALID: not there. NO_MEMORY: no page for a table."""
    s = d.shared_page
    if ipa & (PAGE_SIZE - 1) != 0 or not may_show(d, ipa):
        return Result.INVALID
    with s.lock:
        if s.shown_at != 0:
            return Result.BUSY
        result = p2m_map(d.p2m, GuestPhys(ipa), HostPhys(s.page), PAGE_SIZE, MemoryKind.RAM)
        if result == Result.OK:
            s.shown_at = ipa
        s.was_shown = True
        return result


@fn
def put_back(d: Domain, ipa: u64) -> Result:
    """What was there before: RAM, or nothing. The tables for it are there."""
    machine = guest_memory_find(d, ipa)
    if machine == 0:
        return p2m_unmap(d.p2m, GuestPhys(ipa), PAGE_SIZE)
    return p2m_map(d.p2m, GuestPhys(ipa), HostPhys(machine), PAGE_SIZE, MemoryKind.RAM)


@fn
def shared_info_hide(d: Domain, ipa: u64) -> Result:
    """Undo `shared_info_show`. INVALID: it is not shown there."""
    s = d.shared_page
    with s.lock:
        if ipa == 0 or s.shown_at != ipa:
            return Result.INVALID
        result = put_back(d, ipa)
        if result == Result.OK:
            s.shown_at = 0
        return result


@fn
def shared_info_at(d: Domain, ipa: u64) -> u64:
    """The machine address behind a page of the domain's RAM or where the shared page is shown; 0: neither."""
    s = d.shared_page
    return s.page if ipa == s.shown_at and ipa != 0 else guest_memory_find(d, ipa)


@fn
def shared_info_reset(d: Domain) -> bool:
    """The domain begins anew: zeros, shown nowhere; whether stage 2 must be made anew for that. None of its vCPUs may be on."""
    s = d.shared_page
    was_shown = s.was_shown
    Ptr[u8](usize(s.page)).slice(PAGE_SIZE).fill(0)
    s.shown_at = 0
    s.was_shown = False
    return was_shown


@fn
def shared_info_release(d: Domain) -> None:
    """Give it back. Nobody may use it any more, and stage 2 must be empty."""
    s = d.shared_page
    if s.page != 0:
        page_free(HostPhys(s.page))
    s.page = 0
    s.shown_at = 0
