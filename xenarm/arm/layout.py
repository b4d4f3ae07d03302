"""Where EL2's own address space has what: the image at a fixed address, RAM and devices at their machine addresses."""

from freestanding import Bits, bits, size_of, u32, u64

from xenarm.config import CONFIG
from xenarm.core.addresses import IMAGE_SPACE, KIB, MIB, PAGE_SIZE, VA_BITS
from xenarm.core.domain import SLOT_COUNT, SLOT_SIZE, Domain
from xenarm.devicetree.guest import GUEST_TREE_ROOM

__all__ = [
    "DATA",
    "DEVICE",
    "DEVICE_PAGES",
    "ENTRIES",
    "FIRST_PAGE_TABLES",
    "BOOT_TABLES",
    "IMAGE_ALIGN",
    "IMAGE_TABLE",
    "IMAGE_TABLES",
    "IMAGE_VIRT",
    "MAIR",
    "RODATA",
    "ROOT_LEVEL",
    "SECTIONS",
    "SHOWN_PAGES",
    "TABLE_PAGES",
    "TEXT",
    "VA_BITS",
    "Stage1Entry",
]

ROOT_LEVEL = 0 if CONFIG.ARM64 else 1
IMAGE_VIRT = IMAGE_SPACE  # on ARM64 in the one level 1 table that nearly every machine's memory and devices need
"""What RAM lies where the image is linked is not used."""

IMAGE_ALIGN = 2 * MIB  # and the most that the image may take: one level 3 table maps it
DEVICE_PAGES = 16  # addresses behind the window for small devices: interrupt controller, serial port
SHOWN_PAGES = CONFIG.MAX_CPUS if CONFIG.ARM32 else 0  # behind those, one for each CPU: RAM that has no address of its own (`arm32/reach.py`)
SMALL_WINDOW = 1 * MIB  # beside any image in its own 2 MiB
BESIDE_DOMAIN = 8 * KIB  # what the window has for a domain beside the `Domain` and its tree, at most
WINDOW_ROOM = SLOT_COUNT * SLOT_SIZE + CONFIG.MAX_DOMAINS * (size_of(Domain) + GUEST_TREE_ROOM + BESIDE_DOMAIN) + (DEVICE_PAGES + SHOWN_PAGES) * PAGE_SIZE
IMAGE_TABLES = 1 if WINDOW_ROOM <= SMALL_WINDOW else 1 - -WINDOW_ROOM // IMAGE_ALIGN
"""Level 3 tables, one behind the other, that map the image and its window."""

IMAGE_TABLE = 2  # of the boot tables, of which the first is of level 1: the first of those
FIRST_PAGE_TABLES = IMAGE_TABLE + IMAGE_TABLES  # levels 2 and 3 of the image's first page at its machine address
BOOT_TABLES = FIRST_PAGE_TABLES + 2  # A root at level 0 stands apart
ENTRIES = 512
TABLE_PAGES: int = CONFIG.EL2_TABLE_PAGES

MAIR_NORMAL = 0
MAIR_DEVICE = 1
MAIR = 0xFF << 8 * MAIR_NORMAL | 0x04 << 8 * MAIR_DEVICE  # write-back read- and write-allocate; Device-nGnRE


class Stage1Entry(Bits, type=u64):
    """An EL2 stage-1 descriptor (Arm ARM D8.3)."""

    VALID: bool = bits(0)
    TABLE: bool = bits(1)
    ATTR: u32 = bits(4, 2)
    RES1: bool = bits(6)  # AP[1]: one translation regime without EL0
    READ_ONLY: bool = bits(7)
    SH: u32 = bits(9, 8)
    AF: bool = bits(10)
    FRAME: u64 = bits(47, 12)
    XN: bool = bits(54)


TEXT = int(Stage1Entry(VALID=True, ATTR=MAIR_NORMAL, RES1=True, READ_ONLY=True, SH=3, AF=True))
RODATA = int(Stage1Entry(VALID=True, ATTR=MAIR_NORMAL, RES1=True, READ_ONLY=True, SH=3, AF=True, XN=True))
DATA = int(Stage1Entry(VALID=True, ATTR=MAIR_NORMAL, RES1=True, SH=3, AF=True, XN=True))
DEVICE = int(Stage1Entry(VALID=True, ATTR=MAIR_DEVICE, RES1=True, SH=2, AF=True, XN=True))

SECTIONS = (
    ("__text_start", "__once_text_end", TEXT),
    ("__once_rodata_start", "__rodata_end", RODATA),
    ("__data_start", "__pool_end", DATA),
)
"""Page-aligned runs of the image, and how each is mapped."""

assert IMAGE_VIRT % IMAGE_ALIGN == 0 and PAGE_SIZE * ENTRIES == IMAGE_ALIGN
ROOM = ((1 << VA_BITS) - IMAGE_VIRT - IMAGE_ALIGN) // KIB
assert WINDOW_ROOM <= ROOM * KIB, (
    f"stacks and domains take {-(-WINDOW_ROOM // KIB)} KiB of addresses, and there are {ROOM}: lower CONFIG_MAX_DOMAINS={CONFIG.MAX_DOMAINS} "
    f"({(size_of(Domain) + GUEST_TREE_ROOM + BESIDE_DOMAIN) // KIB} KiB each) or CONFIG_MAX_VCPUS={CONFIG.MAX_VCPUS} ({SLOT_SIZE // KIB} KiB each)"
)
