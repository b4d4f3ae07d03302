"""What both architectures know of mitigations of speculation: how bad things are, what the boot argument asks for, what is said, what guests are told."""

from collections.abc import Callable
from typing import Any

from freestanding import IntEnum, Slice, Struct, View, fn, u8, u32, u64, usize, zeroed

from xenarm.abi.psci import Smccc
from xenarm.arm.errata import erratum_matches
from xenarm.core.bootargs import bootarg
from xenarm.core.log import log_warning
from xenarm.devicetree.reader import Fdt

__all__ = ["LINE", "OPTIONS", "Mitigation", "answer", "errata_putter", "options_read", "take_option", "worst"]

COMMA = 0x2C
LINE = 96
"""Room for the numbers of a core's errata."""


class Mitigation(IntEnum, type=u32):
    """In the order of badness."""

    UNAFFECTED = 0
    MITIGATED = 1
    VULNERABLE = 2


class Options(Struct):
    """`spec-ctrl=`"""

    off: bool
    store_off: bool


OPTIONS = zeroed(Options)


@fn
def unknown_option(word: View[u8]) -> None:
    log_warning(f"/chosen: xen,xen-bootargs: spec-ctrl={word} is ignored; give no, ssbd=force-enable or ssbd=force-disable")


@fn
def take_option(word: View[u8]) -> None:
    if word.equals(b"no"):
        OPTIONS.off = True
        OPTIONS.store_off = True
    elif word.equals(b"ssbd=force-disable"):
        OPTIONS.store_off = True
    elif not word.equals(b"ssbd=force-enable"):
        unknown_option(word)


@fn
def options_read(fdt: Fdt) -> None:
    """`spec-ctrl=`, as Xen has it."""
    given, rest = bootarg(fdt, b"spec-ctrl")
    while given and len(rest) > 0:
        end = rest.find(COMMA)
        take_option(rest[:end])
        rest = rest[min(end + 1, len(rest)) :]


@fn
def worst(a: Mitigation, b: Mitigation) -> Mitigation:
    return a if u32(a) > u32(b) else b


@fn
def put_number(value: u32, out: Slice[u8]) -> usize:
    """A blank and the number, as far as there is room; how many characters."""
    digits = usize(1)
    top = u32(1)
    while value // top >= 10:
        top = top * 10
        digits += 1
    if digits + 1 > len(out):
        return 0
    out[0] = 0x20
    rest = value
    for i in range(digits):
        out[i + 1] = u8(rest // top) + 0x30
        rest = rest % top
        top = max(top // 10, 1)
    return digits + 1


def errata_putter(rows: Any) -> Callable[[u64, u64, Slice[u8]], usize]:
    """The function that writes the numbers of a CPU's errata of a table: how many characters."""

    @fn
    def put_errata(midr: u64, revidr: u64, out: Slice[u8]) -> usize:
        length = usize(0)
        for row in rows:
            if erratum_matches(row, midr, revidr):
                length += put_number(row.number, out[length:])
        return length

    return put_errata


@fn
def answer(state: Mitigation) -> u64:
    """As SMCCC_ARCH_FEATURES says it of ARCH_WORKAROUND_1 and 3 (DEN0028 7.3, 7.5): a guest's call is an exit, which does the work."""
    match state:
        case Mitigation.UNAFFECTED:
            return Smccc.UNAFFECTED
        case Mitigation.MITIGATED:
            return Smccc.SUCCESS
        case Mitigation.VULNERABLE:
            return Smccc.NOT_SUPPORTED64
