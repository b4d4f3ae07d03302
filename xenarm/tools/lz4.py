"""Packs a block of LZ4 (LZ4 Block Format Description), as short as its format lets the matches that are found be told."""

from __future__ import annotations

LEAST = 4  # bytes of a match
FARTHEST = 0xFFFF
LAST_LITERALS = 5  # the format's end: so many bytes are literals,
LAST_MATCH = 12  # and no match begins nearer to it
CANDIDATES = 24  # earlier places that are compared


def common(data: bytes, a: int, b: int, end: int) -> int:
    """How many bytes are alike from two places on, the second one at most up to an end."""
    size = 0
    step = 64
    while step:
        if b + size + step <= end and data[a + size : a + size + step] == data[b + size : b + size + step]:
            size += step
        else:
            step //= 2
    return size


def longest_matches(data: bytes) -> list[tuple[int, int]]:
    """For each place the length and distance of the longest match that was found; (0, 0) for none."""
    found = [(0, 0)] * len(data)
    newest: dict[bytes, int] = {}
    older = [-1] * len(data)
    end = len(data) - LAST_LITERALS
    for at in range(len(data) - LAST_MATCH):
        key = data[at : at + LEAST]
        candidate = older[at] = newest.get(key, -1)
        newest[key] = at
        best = 0
        for _ in range(CANDIDATES):
            if candidate < 0 or at - candidate > FARTHEST:
                break
            if at + best < end and data[candidate + best] == data[at + best] and (size := common(data, candidate, at, end)) > best:
                best = size
                found[at] = (size, at - candidate)
            candidate = older[candidate]
    return found


def more_bytes(value: int) -> int:
    """How many bytes a length takes besides its four bits in the token."""
    return 0 if value < 15 else 1 + (value - 15) // 255


def choose(data: bytes, found: list[tuple[int, int]]) -> list[int]:
    """The length of the match to take at each place, 0 for a literal: the fewest bytes from there to the end."""
    cost = [0] * (len(data) + 1)
    taken = [0] * len(data)
    for at in reversed(range(len(data))):
        cost[at] = cost[at + 1] + 1
        longest, _ = found[at]
        for size in range(LEAST, longest + 1) if longest < 64 else (longest,):
            told = cost[at + size] + 3 + more_bytes(size - LEAST)
            if told < cost[at]:
                cost[at], taken[at] = told, size
    return taken


def rest(value: int) -> bytes:
    """What of a length does not fit the token."""
    return b"" if value < 15 else b"\xff" * ((value - 15) // 255) + bytes([(value - 15) % 255])


def pack_block(data: bytes) -> bytes:
    """The block that stands for some bytes."""
    found = longest_matches(data)
    taken = choose(data, found)
    out = bytearray()
    at = literals = 0
    while at < len(data):
        size = taken[at]
        if size == 0:
            at += 1
            continue
        run = data[literals:at]
        out.append(min(len(run), 15) << 4 | min(size - LEAST, 15))
        out += rest(len(run)) + run + found[at][1].to_bytes(2, "little") + rest(size - LEAST)
        at += size
        literals = at
    run = data[literals:]
    out.append(min(len(run), 15) << 4)
    return bytes(out + rest(len(run)) + run)
