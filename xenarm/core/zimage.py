"""zImages: what a 32-bit kernel's module must be to be started, from its header and the table that it points at.

The header is that of Linux's arch/arm/boot/compressed/head.S, the table that of vmlinux.lds.S beside it. A zImage unpacks a kernel to
TEXT_OFFSET above the start of RAM and, where it lies in its own way, moves itself first; it is loaded behind that place.
"""

from freestanding import View, fn, u8, u64, usize
from xenarm.core.addresses import KIB, MIB
from xenarm.core.kernel import KernelFault, KernelImage, faulty

__all__ = ["is_zimage", "zimage_check"]

HEADER_SIZE = 64
MAGIC_OFFSET = 0x24
START_OFFSET = 0x28
END_OFFSET = 0x2C
TABLE_MAGIC_OFFSET = 0x34
TABLE_OFFSET = 0x38
MAGIC = 0x016F_2818
BIG_ENDIAN_MAGIC = 0x1828_6F01
TABLE_MAGIC = 0x4545_4545
GZIP_MAGIC = 0x8B1F

TABLE_TAG = 0x5A53_4C4B  # "ZSLK": the table has sizes
TABLE_TAG_AT = 4
TABLE_PACKED_SIZE = 8  # where in the image the unpacked kernel's size stands
TABLE_BSS_SIZE = 12
TABLE_TEXT_OFFSET = 16
TABLE_BYTES = 20
TEXT_OFFSET = 0x8000  # where the table does not say
MOST_TEXT_OFFSET = 16 * MIB
MOST_UNPACKED = 256 * MIB
TIMES_UNPACKED = 5  # of a zImage without a table: how much larger its kernel may be

FDT_MAGIC = 0xD00D_FEED
FDT_TOTAL_SIZE = 4
WORK_ROOM = 256 * KIB  # behind the file: the unpacker's bss, stack and heap (MALLOC_SIZE is 64 KiB)
ALIGNMENT = 2 * MIB


@fn
def header_fault(image: View[u8]) -> KernelFault:
    if len(image) < HEADER_SIZE:
        return KernelFault.SHORT
    if image.load_le16(0) == GZIP_MAGIC:
        return KernelFault.COMPRESSED
    magic = image.load_le32(MAGIC_OFFSET)
    if magic == BIG_ENDIAN_MAGIC:
        return KernelFault.BIG_ENDIAN
    if magic != MAGIC:
        return KernelFault.BAD_MAGIC
    if image.load_le32(START_OFFSET) != 0:
        return KernelFault.BAD_OFFSET
    return KernelFault.NONE


@fn
def is_zimage(image: View[u8]) -> bool:
    """Whether it says that it is one, of either endianness."""
    if len(image) < HEADER_SIZE:
        return False
    magic = image.load_le32(MAGIC_OFFSET)
    return magic == MAGIC or magic == BIG_ENDIAN_MAGIC


@fn
def appended_tree(image: View[u8], end: usize) -> u64:
    """Bytes of a device tree behind the image proper."""
    if len(image) - end < FDT_TOTAL_SIZE + 4 or image.load_be32(end) != FDT_MAGIC:
        return 0
    return u64(image.load_be32(end + FDT_TOTAL_SIZE))


@fn
def unpacked_end(image: View[u8], end: usize) -> tuple[bool, u64]:
    """(sound, where the unpacked kernel with its bss ends, above the start of RAM)."""
    table = usize(image.load_le32(TABLE_OFFSET))
    if image.load_le32(TABLE_MAGIC_OFFSET) != TABLE_MAGIC or table > end or end - table < TABLE_BYTES or image.load_le32(table + TABLE_TAG_AT) != TABLE_TAG:
        return True, TEXT_OFFSET + u64(end) * TIMES_UNPACKED
    size_at = usize(image.load_le32(table + TABLE_PACKED_SIZE))
    if size_at > end or end - size_at < 4:
        return False, 0
    text_offset = u64(image.load_le32(table + TABLE_TEXT_OFFSET))
    unpacked = u64(image.load_le32(size_at)) + u64(image.load_le32(table + TABLE_BSS_SIZE))
    return text_offset <= MOST_TEXT_OFFSET and unpacked <= MOST_UNPACKED, text_offset + unpacked


@fn
def zimage_check(image: View[u8]) -> KernelImage:
    """Where to load the file and how much room that needs, or why it cannot be a kernel."""
    fault = header_fault(image)
    if fault != KernelFault.NONE:
        return faulty(fault)
    end = usize(image.load_le32(END_OFFSET))
    if end < HEADER_SIZE:
        return faulty(KernelFault.BAD_SIZE)
    if end > len(image) or appended_tree(image, end) > u64(len(image) - end):
        return faulty(KernelFault.CUT)
    sound, above = unpacked_end(image, end)
    if not sound:
        return faulty(KernelFault.BAD_SIZE)
    offset = (above + (ALIGNMENT - 1)) & ~u64(ALIGNMENT - 1)
    return KernelImage(fault=KernelFault.NONE, text_offset=offset, size=u64(len(image)) + WORK_ROOM)
