"""Identifiers of the C text: no keyword, no macro, no two things with one name."""
from __future__ import annotations

import re

_KEYWORDS = """auto break case char const continue default do double else enum extern float for goto if inline int long register
restrict return short signed sizeof static struct switch typedef union unsigned void volatile while asm typeof _Bool _Atomic
_Static_assert _Noreturn _Thread_local _Generic _Alignas _Alignof _Complex bool true false NULL main linux unix
u8 u16 u32 u64 usize i8 i16 i32 i64 isize memcpy memmove memset memcmp bcmp alignas alignof nullptr constexpr thread_local
static_assert typeof_unqual"""

# Temporaries of the macros: no program name may be hidden by them.
_TEMPORARIES = "value_ index_ result_ slice_ low_ high_ divisor_ amount_ end_ copy_ wide_"

RESERVED = frozenset(f"{_KEYWORDS} {_TEMPORARIES}".split())


def identifier(text: str) -> str:
    """The text with everything that C does not accept in a name made `_`."""
    made = re.sub(r"\W", "_", text, flags=re.ASCII)
    return made if made and not made[0].isdigit() else f"_{made}"


class Names:
    """Names handed out so far in one scope; `outer` names are not given out either."""

    def __init__(self, outer: Names | None = None) -> None:
        self.taken: set[str] = set()
        self.outer = outer

    def is_taken(self, name: str) -> bool:
        return name in RESERVED or name in self.taken or (self.outer is not None and self.outer.is_taken(name))

    def claim(self, name: str) -> str:
        """Take exactly this name (an exported symbol)."""
        self.taken.add(name)
        return name

    def unique(self, wanted: str, qualified: str = "") -> str:
        """The wanted name; when it is taken, the qualified one; when that is too, one with underscores or a number."""
        wanted = identifier(wanted)
        candidates = [wanted] + ([identifier(qualified)] if qualified else []) + [f"{wanted}_"]
        candidates += [f"{wanted}_{n}" for n in range(2, 10)]
        number = 10
        for name in candidates:
            if not self.is_taken(name):
                return self.claim(name)
        while self.is_taken(f"{wanted}_{number}"):
            number += 1
        return self.claim(f"{wanted}_{number}")


def is_primary(text: str) -> bool:
    """Whether a C expression needs no parentheses as an operand: a name, number, call, member or element."""
    depth, previous = 0, ""
    for position, char in enumerate(text):
        if char in "([{":
            if depth == 0 and char == "(" and previous in ("", ")") and position:
                return False
            depth += 1
        elif char in ")]}":
            depth -= 1
        elif depth == 0:
            arrow = text[position:position + 2] == "->" or (char == ">" and previous == "-")
            if not (char.isalnum() or char in "_." or arrow):
                return False
            if previous == ")" and (char.isalnum() or char == "_"):
                return False
        previous = char
    return True


def wrap(text: str) -> str:
    return text if is_primary(text) else f"({text})"


def string_literal(data: bytes) -> str:
    """A C string literal with exactly these bytes."""
    out = []
    for byte in data:
        if byte in b'"\\':
            out.append("\\" + chr(byte))
        elif byte == 10:
            out.append("\\n")
        elif byte == 63:
            out.append("\\?")               # no trigraphs
        elif 32 <= byte < 127:
            out.append(chr(byte))
        else:
            out.append(f"\\{byte:03o}")
    return '"' + "".join(out) + '"'
