"""Kernel images: what a module must be to be started, from its header alone.

The arm64 Image header is that of Linux's Documentation/arch/arm64/booting.rst; a kernel with an EFI stub is a PE file
too, whose section table says how long the file has to be (Microsoft PE/COFF specification, sections 2 and 4).
"""

from freestanding import IntEnum, Struct, View, fn, u8, u32, u64, usize
from xenarm.core.addresses import MIB

__all__ = ["KernelFault", "KernelImage", "kernel_check"]

HEADER_SIZE = 64
TEXT_OFFSET = 8
IMAGE_SIZE = 16
FLAGS = 24
MAGIC_OFFSET = 56
PE_POINTER = 60
MAGIC = 0x644D_5241  # "ARM\x64", little-endian
FLAG_BIG_ENDIAN = 1
GZIP_MAGIC = 0x8B1F
OLD_TEXT_OFFSET = 0x8_0000  # of kernels before 3.17, whose header says no size
MOST_TEXT_OFFSET = 2 * MIB
MOST_IMAGE_SIZE = 1 << 32

PE_MAGIC = 0x0000_4550
PE_SECTIONS = 6  # offsets from the PE header
PE_OPTIONAL_SIZE = 20
PE_HEADER_SIZE = 24
SECTION_SIZE = 40
SECTION_RAW_SIZE = 16
SECTION_RAW_POINTER = 20
MOST_SECTIONS = 32


class KernelFault(IntEnum, type=u8):
    """Why a module is no kernel."""

    NONE = 0
    SHORT = 1  # less than a header
    COMPRESSED = 2
    BAD_MAGIC = 3
    BIG_ENDIAN = 4
    BAD_OFFSET = 5
    BAD_SIZE = 6
    CUT = 7  # the file is longer than the module


class KernelImage(Struct, frozen=True):
    """A kernel to load at `text_offset` bytes above a 2 MiB boundary, with `size` bytes of room."""

    fault: KernelFault
    text_offset: u64
    size: u64


@fn
def faulty(fault: KernelFault) -> KernelImage:
    return KernelImage(fault=fault, text_offset=0, size=0)


@fn
def file_size(image: View[u8]) -> u64:
    """How long the PE file is, by its sections; 0 when the image is no PE file."""
    pe = usize(image.load_le32(PE_POINTER))
    if pe >= len(image) or len(image) - pe < PE_HEADER_SIZE or image.load_le32(pe) != PE_MAGIC:
        return 0
    first = pe + PE_HEADER_SIZE + usize(image.load_le16(pe + PE_OPTIONAL_SIZE))
    count = min(usize(image.load_le16(pe + PE_SECTIONS)), MOST_SECTIONS)
    if first > len(image) or len(image) - first < count * SECTION_SIZE:
        return 0xFFFF_FFFF_FFFF
    size = u64(0)
    for i in range(count):
        at = first + i * SECTION_SIZE
        size = max(size, u64(image.load_le32(at + SECTION_RAW_POINTER)) + u64(image.load_le32(at + SECTION_RAW_SIZE)))
    return size


@fn
def header_fault(image: View[u8]) -> KernelFault:
    if len(image) < HEADER_SIZE:
        return KernelFault.SHORT
    if image.load_le16(0) == GZIP_MAGIC:
        return KernelFault.COMPRESSED
    if image.load_le32(MAGIC_OFFSET) != MAGIC:
        return KernelFault.BAD_MAGIC
    if image.load_le64(FLAGS) & FLAG_BIG_ENDIAN != 0:
        return KernelFault.BIG_ENDIAN
    return KernelFault.CUT if file_size(image) > u64(len(image)) else KernelFault.NONE


@fn
def kernel_check(image: View[u8]) -> KernelImage:
    """What the header asks for, or why it cannot be a kernel."""
    fault = header_fault(image)
    if fault != KernelFault.NONE:
        return faulty(fault)
    offset = image.load_le64(TEXT_OFFSET)
    size = image.load_le64(IMAGE_SIZE)
    if size == 0:
        return KernelImage(fault=KernelFault.NONE, text_offset=OLD_TEXT_OFFSET, size=u64(len(image)))
    if offset >= MOST_TEXT_OFFSET or offset & 0xFFF != 0:
        return faulty(KernelFault.BAD_OFFSET)
    if size > MOST_IMAGE_SIZE:
        return faulty(KernelFault.BAD_SIZE)
    return KernelImage(fault=KernelFault.NONE, text_offset=offset, size=max(size, u64(len(image))))
