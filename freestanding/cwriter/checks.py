"""The text of a failed check: one trap instruction, and a record of it in sections that no image loads.

A record is 24 bytes: u64 address of the trap, u32 kind, file, line and message numbers. The numbers index the NUL-terminated
strings of `.panic_files` and `.panic_messages`; file and message 0 are empty. Lines are part of the assembly text, so
that no two sites are ever merged.
"""
from __future__ import annotations

from .names import string_literal
from .target import KIND_NUMBER, THUMB_TRAP_BASE, TRAP_BASE, Target

MACRO_NAMES = ("PANIC", "PANIC_AT", "UNLIKELY", "CHECK_ADD", "CHECK_SUB", "CHECK_MUL", "CHECK_INDEX", "CHECK_NARROW",
               "CHECK_DIVISOR", "CHECK_SHIFT", "CHECK_SPAN", "HELPER", "HELPER_CALLED", "SMALL", "ONCE_TEXT")

_RECORD = r'''
#define PANIC_AT(trap, kind, file, line, message) do { \
    __asm__ volatile("9: " trap "\n.pushsection .panics,\"\",%progbits\n.balign 8\n" @ADDRESS@ \
        "\n.long " #kind "," #file "," #line "," #message "\n.popsection"); \
    __builtin_unreachable(); } while (0)
'''

_HOST = r'''
struct panic_record { const char *kind, *file, *message; u32 line; };
struct panic_record host_panic;
static bool host_armed;
static unsigned long long host_jump[64];
extern int _setjmp(void *) __attribute__((returns_twice));
extern void longjmp(void *, int) __attribute__((noreturn));
__attribute__((noreturn, noinline, cold)) static void host_fail(const char *kind, const char *file, u32 line, const char *message) {
    host_panic = (struct panic_record){ kind, file, message, line };
    if (host_armed)
        longjmp(host_jump, 1);
    __builtin_trap();
}
'''

_CHECKS = r'''
#define UNLIKELY(condition) __builtin_expect((condition), 0)
#if defined(__clang__)
#define HELPER static inline __attribute__((always_inline, nodebug))   /* its code belongs to the line that uses it */
#define HELPER_CALLED static __attribute__((nodebug))
#define PRESERVE(name) __attribute__((preserve_most))
#define SMALL __attribute__((minsize))
#else
#define PRESERVE(name) __asm__(#name "_body")   /* the name is a wrapper's */
#define HELPER static inline __attribute__((always_inline, artificial))
#define HELPER_CALLED static
#define SMALL __attribute__((optimize("Os")))
#endif
#define ONCE_TEXT(text) ({ static const char once_[] __attribute__((section(".once.rodata"))) = text; (const u8 *)once_; })
#define CHECK_ADD(T, a, b, file, line) ({ T result_; if (UNLIKELY(__builtin_add_overflow((a), (b), &result_))) \
    PANIC(overflow, file, line, 0); result_; })
#define CHECK_SUB(T, a, b, file, line) ({ T result_; if (UNLIKELY(__builtin_sub_overflow((a), (b), &result_))) \
    PANIC(overflow, file, line, 0); result_; })
#define CHECK_MUL(T, a, b, file, line) ({ T result_; if (UNLIKELY(__builtin_mul_overflow((a), (b), &result_))) \
    PANIC(overflow, file, line, 0); result_; })
#define CHECK_INDEX(T, i, n, file, line) ({ T index_ = (i); if (UNLIKELY(index_ >= (n))) PANIC(bounds, file, line, 0); index_; })
#define CHECK_SPAN(T, i, size, n, file, line) ({ T index_ = (i), end_; \
    if (UNLIKELY(__builtin_add_overflow(index_, size, &end_) || end_ > (n))) PANIC(bounds, file, line, 0); index_; })
#define CHECK_DIVISOR(T, d, file, line) ({ T divisor_ = (d); if (UNLIKELY(divisor_ == 0)) PANIC(division, file, line, 0); divisor_; })
#define CHECK_SHIFT(T, n, width, file, line) ({ T amount_ = (n); if (UNLIKELY(amount_ >= (width))) \
    PANIC(shift, file, line, 0); amount_; })
#define CHECK_NARROW(T, S, x, fails, file, line) ({ S value_ = (x); if (UNLIKELY(fails)) PANIC(narrowing, file, line, 0); (T)value_; })
'''


def macros(target: Target) -> str:
    """The macros of all checks for that architecture."""
    lines = ["/* Checks: a failed one ends in one trap instruction, or on the host in a record and a jump. */"]
    if target.hosted:
        lines.append(_HOST.strip())
        lines.append("#define PANIC(kind, file, line, message) host_fail(#kind, FILE_NAMES[file], line, MESSAGES[message])")
    else:
        address = '".quad 9b"' if target.pointer_bits == 64 else '".long 9b, 0"'
        lines.append(_RECORD.strip().replace("@ADDRESS@", address))
        lines += _traps(target)
        lines.append("#define PANIC(kind, file, line, message) PANIC_##kind(file, line, message)")
    lines.append(_CHECKS.strip())
    return "\n".join(lines)


def _traps(target: Target) -> list[str]:
    """Each kind's trap; armv7's by what the compiler is told to make of the text."""
    def kinds(base: int) -> list[str]:
        return [f'#define PANIC_{kind}(file, line, message) PANIC_AT("{target.trap.format(hex(base + number))}", {number}, file, line, message)'
                for kind, number in KIND_NUMBER.items()]

    if target.name != "armv7":
        return kinds(TRAP_BASE)
    return ["#if defined(__thumb__)", *kinds(THUMB_TRAP_BASE), "#else", *kinds(TRAP_BASE), "#endif"]


class Strings:
    """File names and messages by number, 0 being empty."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {"": 0}

    def number(self, text: str) -> int:
        return self.numbers.setdefault(text, len(self.numbers))

    def section(self, name: str) -> str:
        """File-scope assembly that lays the strings into a section which is not loaded."""
        strings = "\n".join("    " + string_literal(b'.asciz ' + _quoted(text) + b'\n') for text in self.numbers)
        return f'__asm__(".pushsection {name},\\"\\",%progbits\\n"\n{strings}\n    ".popsection");'

    def array(self, name: str) -> str:
        strings = ", ".join(string_literal(text.encode()) for text in self.numbers)
        return f"static const char *const {name}[] = {{ {strings} }};"


def _quoted(text: str) -> bytes:
    """The text as a quoted string of the assembler."""
    out = b""
    for byte in text.encode():
        out += bytes([byte]) if 32 <= byte < 127 and byte not in b'"\\' else b"\\%03o" % byte
    return b'"' + out + b'"'
