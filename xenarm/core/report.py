"""Who owns what memory, said line by line."""

from freestanding import View, array, fn, u8, u32, u64
from xenarm.arm.once import image_stays
from xenarm.arm.window import window_bytes
from xenarm.config import CONFIG
from xenarm.core.addresses import KIB, PAGE_SIZE
from xenarm.core.domain import DOMAINS, Domain, DomainState, domain_name
from xenarm.core.fault import HOST_TREE
from xenarm.core.log import printk
from xenarm.core.memory import MEMORY, ClaimKind, claim_text, memory_bytes, memory_free
from xenarm.core.shared_memory import shared_memory_report
from xenarm.core.trace import trace_pages

__all__ = ["memory_report"]

PATH_SIZE = 96


@fn(inline=False)
def piece(base: u64, size: u64, what: View[u8]) -> None:
    printk(f"  {base:#012x} {(size + (KIB - 1)) // KIB:9d} KiB  {what}")


@fn
def report_claims() -> None:
    """The image, the device tree, reservations and modules. Of the image what has stayed after the boot."""
    for i in range(MEMORY.claim_count):
        c = MEMORY.claims[i]
        text = array(u8, PATH_SIZE)
        size = claim_text(HOST_TREE, c, text)
        piece(c.base, image_stays() if c.kind == ClaimKind.IMAGE else c.size, text[:size])


@fn
def report_domain(d: Domain) -> None:
    memory = d.memory
    for i in range(memory.count):
        piece = memory.pieces[i]
        printk(f"  {piece.base:#012x} {piece.size // KIB:9d} KiB  RAM of {domain_name(d)} at {piece.ipa:#x}")
    used = d.p2m.table_pages * PAGE_SIZE // KIB
    printk(f"  {u64(d.p2m.root):#012x} {d.p2m.pool_pages * PAGE_SIZE // KIB:9d} KiB  pool of tables of {domain_name(d)}, {used} KiB in use")


@fn
def memory_report() -> None:
    """All of the machine's memory. What is free changes while this is said; nothing is locked."""
    printk(f"memory: {memory_bytes() // KIB} KiB, {memory_free() // KIB} KiB of it free, {MEMORY.free_page_count} pages singly")
    report_claims()
    for i in range(CONFIG.MAX_DOMAINS):
        if DOMAINS[i].state.load() != u32(DomainState.UNUSED):
            report_domain(DOMAINS[i])
    printk(f"               {window_bytes() // KIB:9d} KiB  stacks, domains and vCPUs")
    if CONFIG.TRACE:
        printk(f"               {trace_pages() * PAGE_SIZE // KIB:9d} KiB  events that were traced")
    if CONFIG.STATIC_SHM:
        shared_memory_report()
    for k in range(MEMORY.free_count):
        piece(MEMORY.free[k].base, MEMORY.free[k].end - MEMORY.free[k].base, b"free")
