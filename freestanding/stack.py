"""How much stack a function needs at most: frames from the image's own instructions, along the call graph of the program.

There is no recursion in the language, and the graph knows every function that a pointer may lead to, so that this is a bound and not a
measurement. A function that was inlined has no frame of its own, its callers' have it.
"""
from __future__ import annotations

import re

from .elf import Image
from .frontend import Frontend
from .functions import Function
from .ir import FunctionIR

NUMBER = re.compile(r"(_\d+)?(\..*)?$")      # what tells functions of one name apart, and what compilers add to a name
PUSH = re.compile(r"\[sp, #-(0x[0-9a-f]+|\d+)\]!")
LOWER = re.compile(r"sp, sp, #(0x[0-9a-f]+|\d+)(, lsl #12)?")


def frames(image: Image) -> dict[str, int]:
    """Bytes by which each function of an aarch64 image lowers SP. Raises ValueError where it does so by a number that is not constant."""
    import capstone
    engine = capstone.Cs(capstone.CS_ARCH_ARM64, capstone.CS_MODE_ARM)
    engine.skipdata = True
    found: dict[str, int] = {}
    for base, data in image.code():
        for address, _, mnemonic, operands in engine.disasm_lite(data, base):
            size = 0
            if mnemonic == "sub" and operands.startswith("sp, "):
                match = LOWER.fullmatch(operands)
                if match is None:
                    raise ValueError(f"{image.function_at(address)}: {mnemonic} {operands}")
                size = int(match[1], 0) << (12 if match[2] else 0)
            elif match := PUSH.search(operands):
                size = int(match[1], 0)
            if size:
                name = image.function_at(address)
                found[name] = found.get(name, 0) + size
    return found


class Stack:
    """The bounds for one program and its image. Of several functions of one name each is taken for the deepest."""

    def __init__(self, frontend: Frontend, image: Image) -> None:
        self.frontend = frontend
        self.frames: dict[str, int] = {}
        for name, size in frames(image).items():
            plain = NUMBER.sub("", name)
            self.frames[plain] = max(size, self.frames.get(plain, 0))
        self.known: dict[FunctionIR, int] = {}

    def own(self, function: Function) -> int:
        """The frame of one function alone."""
        return self._frame(self.frontend.lower(function))

    def most(self, function: Function) -> int:
        """Bytes that a call takes at most, with all that it calls."""
        return self._most(self.frontend.lower(function))

    def _frame(self, function: FunctionIR) -> int:
        return self.frames.get(NUMBER.sub("", function.symbol or function.name), 0)

    def _most(self, function: FunctionIR) -> int:
        if function not in self.known:
            below = [self._most(target) for target in self.frontend.callees(function)]
            self.known[function] = self._frame(function) + max(below, default=0)
        return self.known[function]
