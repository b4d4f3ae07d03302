"""CRC-32 of IEEE 802.3, bit-reflected, by a table of 256."""

from freestanding import Ptr, View, export, fn, table, u8, u32, u64, usize

MAPS_MEMORY = True
POLYNOMIAL = 0xEDB8_8320


def row(n: int) -> int:
    for _ in range(8):
        n = n >> 1 ^ (POLYNOMIAL if n & 1 else 0)
    return n


TABLE = table(u32, [row(n) for n in range(256)])


@fn
def crc32(data: View[u8]) -> u32:
    crc = u32(0xFFFF_FFFF)
    for byte in data:
        crc = TABLE[(crc ^ u32(byte)) & 0xFF] ^ (crc >> 8)
    return ~crc


@export("kernel")
def kernel(data: u64, size: u64, out: u64, seed: u64) -> u64:
    return u64(crc32(Ptr[u8](usize(data)).slice(usize(size))))
