"""The guest's bootargs: words `name=value`, separated by spaces."""

from freestanding import View, fn, u8, u64, usize
from xenarm.devicetree.reader import Fdt
from xenarm.devicetree.values import fdt_find, fdt_string

__all__ = ["argument_is", "argument_number", "bootargs"]

SPACE = 0x20
DIGITS = 18


@fn
def bootargs(fdt: Fdt) -> View[u8]:
    """All of them; empty without any."""
    _, text = fdt_string(fdt, fdt_find(fdt, b"/chosen"), b"bootargs")
    return text


@fn
def value_of(text: View[u8], name: View[u8]) -> View[u8]:
    """What follows the first `name`, which ends in the equals sign, at the start of a word; empty without it."""
    at = usize(0)
    while at < len(text):
        end = at + text[at:].find(SPACE)
        if end - at >= len(name) and text[at : at + len(name)].equals(name):
            return text[at + len(name) : end]
        at = end + 1
    return text[:0]


@fn
def argument_is(text: View[u8], name: View[u8], value: View[u8]) -> bool:
    return value_of(text, name).equals(value)


@fn
def argument_number(text: View[u8], name: View[u8], default: u64) -> u64:
    """A decimal number; what is no digit ends it."""
    given = value_of(text, name)
    value = u64(0)
    for i in range(min(len(given), DIGITS)):
        digit = given[i]
        if digit < 0x30 or digit > 0x39:
            break
        value = value * 10 + u64(digit - 0x30)
    return value if len(given) > 0 else default
