"""Refuses FP and SIMD instructions: the hypervisor must not touch registers that still hold a guest's values."""
from __future__ import annotations

import re
import struct

from . import thumb
from .elf import Image


def refuse_floating_point(image: Image, allowed: frozenset[str]) -> None:
    """Raise BuildError when code outside the allowed symbols uses FP or SIMD registers."""
    from .toolchain import BuildError
    found = [(address, text) for address, text in floating_point(image) if image.function_at(address) not in allowed]
    if found:
        lines = [f"  {address:#x} in {image.function_at(address) or '?'}: {text}" for address, text in found[:10]]
        raise BuildError(f"{len(found)} FP or SIMD instruction(s) outside the allowed symbols:\n" + "\n".join(lines))


def floating_point(image: Image) -> list[tuple[int, str]]:
    """Address and text of every FP or SIMD instruction."""
    if image.machine == "x86_64":
        return _x86(image)
    found = []
    for base, data, kind in image.runs():
        found += [(base + at, _disassemble(kind, base + at, data[at:at + 4])) for at in _hits(data, kind)]
    return found


def _hits(data: bytes, kind: str) -> list[int]:
    """Offsets in one run of code."""
    if kind == "d":
        return []
    if kind == "t":
        return [at for at, size, word in thumb.instructions(data) if thumb.is_floating(size, word)]
    test = _arm64 if kind == "x" else _arm32
    return [4 * n for n, word in enumerate(struct.unpack(f"<{len(data) // 4}I", data[:len(data) // 4 * 4])) if test(word)]


def _arm64(word: int) -> bool:
    """Arm ARM C4.1: op0 = x111 is data processing on FP and SIMD; loads and stores (x1x0) say so by V, bit 26."""
    op0 = word >> 25 & 15
    return op0 & 7 == 7 or (op0 & 5 == 4 and bool(word >> 26 & 1)) or op0 == 2


def _arm32(word: int) -> bool:
    """Arm ARM F4.1: coprocessors 10 and 11, and the unconditional Advanced SIMD space."""
    if word >> 28 == 15:
        return word >> 25 & 7 == 1 or word >> 24 & 15 == 4
    return word >> 26 & 3 == 3 and word >> 24 & 15 != 15 and word >> 9 & 7 == 5


def _disassemble(kind: str, address: int, data: bytes) -> str:
    import capstone
    arch, mode = {"x": (capstone.CS_ARCH_ARM64, capstone.CS_MODE_ARM), "a": (capstone.CS_ARCH_ARM, capstone.CS_MODE_ARM),
                  "t": (capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB)}[kind]
    for _, _, mnemonic, operands in capstone.Cs(arch, mode).disasm_lite(data, address):
        return f"{mnemonic} {operands}"
    return data.hex()


_X86_REGISTERS = re.compile(r"\b[xyz]?mm\d+\b|\bst\(\d\)|\bst\b")


def _x86(image: Image) -> list[tuple[int, str]]:
    import capstone
    engine = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    engine.skipdata = True
    return [(address, f"{mnemonic} {operands}") for base, data in image.code()
            for address, _, mnemonic, operands in engine.disasm_lite(data, base)
            if _X86_REGISTERS.search(operands) or mnemonic.startswith("f")]
