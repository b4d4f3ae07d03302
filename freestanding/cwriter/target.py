"""What the C text depends on: the architecture's pointer size, trap instruction and assembler operands."""
from __future__ import annotations

from dataclasses import dataclass

from ..errors import PANIC_KINDS

KIND_NUMBER = {kind: number for number, kind in enumerate(PANIC_KINDS, start=1)}
TRAP_BASE = 0xFA00          # `brk`/`udf` immediates: this plus the kind's number
THUMB_TRAP_BASE = 0xA0      # Thumb's `udf` of 16 bits has room for eight


@dataclass(frozen=True)
class Target:
    """One architecture as the C writer sees it."""
    name: str
    pointer_bits: int
    trap: str                               # the instruction; {} is the immediate
    modifiers: dict[str, str]               # of operands: `{value:w}` -> the compiler's operand modifier
    register_bits: int

    @property
    def hosted(self) -> bool:
        return self.name == "host"

    @property
    def pointer_bytes(self) -> int:
        return self.pointer_bits // 8


_X86 = {"": "q", "w": "k", "q": "q", "h": "w", "b": "b"}

TARGETS = {
    "aarch64": Target("aarch64", 64, "brk #{}", {"": "x", "w": "w", "x": "x"}, 64),
    "armv7": Target("armv7", 32, "udf #{}", {"": "", "lo": "Q", "hi": "R"}, 32),
    "x86_64": Target("x86_64", 64, "ud2", _X86, 64),
    "host": Target("host", 64, "", _X86, 64),
}
