"""The boot arguments: `name=value` words in /chosen's `xen,xen-bootargs`, or in `bootargs` where Xen takes that.

Xen: docs/misc/arm/device-tree/booting.txt.
"""

from freestanding import View, fn, u8, usize

from xenarm.devicetree.reader import NO_NODE, Fdt, fdt_chosen, fdt_property
from xenarm.devicetree.values import fdt_string

__all__ = ["bootarg", "bootarg_flag", "bootargs_text"]

SPACE = 0x20
EQUALS = 0x3D


@fn
def bootargs_text(fdt: Fdt) -> View[u8]:
    """All of them; empty when there are none. Looked for once."""
    if not fdt.arguments_found:
        fdt.arguments = find_text(fdt)
        fdt.arguments_found = True
    return fdt.arguments


@fn
def find_text(fdt: Fdt) -> View[u8]:
    chosen = fdt_chosen(fdt)
    if chosen != NO_NODE:
        sound, text = fdt_string(fdt, chosen, b"xen,xen-bootargs")
        if sound:
            return text
        for_dom0, _ = fdt_property(fdt, chosen, b"xen,dom0-bootargs")
        sound, text = fdt_string(fdt, chosen, b"bootargs")
        if sound and for_dom0:
            return text
    return b""


@fn
def bootarg(fdt: Fdt, name: View[u8]) -> tuple[bool, View[u8]]:
    """(given, value); the last one counts, as in Xen."""
    rest = bootargs_text(fdt)
    given = False
    value: View[u8] = b""
    while len(rest) > 0:
        end = rest.find(SPACE)
        word = rest[:end]
        if len(word) > len(name) and word[len(name)] == EQUALS and word[: len(name)].equals(name):
            given = True
            value = word[len(name) + 1 :]
        rest = rest[min(end + 1, len(rest)) :]
    return given, value


@fn
def truth(text: View[u8]) -> tuple[bool, bool]:
    """What Xen takes for a boolean: (it is one, its value)."""
    if text.equals(b"1") or text.equals(b"yes") or text.equals(b"on") or text.equals(b"true") or text.equals(b"enable"):
        return True, True
    return text.equals(b"0") or text.equals(b"no") or text.equals(b"off") or text.equals(b"false") or text.equals(b"disable"), False


@fn
def bootarg_flag(fdt: Fdt, name: View[u8], default: bool) -> tuple[bool, bool]:
    """A switch given as `name`, `no-name` or `name=<boolean>`: (sound, value). The last one counts."""
    rest = bootargs_text(fdt)
    sound = True
    value = default
    while len(rest) > 0:
        end = rest.find(SPACE)
        word = rest[:end]
        at = word.find(EQUALS)
        if word.equals(name):
            sound, value = True, True
        elif len(word) > 3 and word[:3].equals(b"no-") and word[3:].equals(name):
            sound, value = True, False
        elif at < len(word) and word[:at].equals(name):
            sound, value = truth(word[at + 1 :])
        rest = rest[min(end + 1, len(rest)) :]
    return sound, value if sound else default
