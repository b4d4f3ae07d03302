"""The linker script of the image, and what its compilation needs beside.

Sections are page-aligned by permission; bss follows the file's end and is counted in the Image header's image_size. `.bss.0raw` and `.once.raw` are not cleared. What only the boot
uses, `.once.*` and the table pages that are left over, becomes free memory after it (`arm/once.py`): what stays lies together, the device tree's nodes at its end.
Behind the image begins the window: addresses that get memory one by one (`arm/window.py`).
"""

from __future__ import annotations

from collections.abc import Iterable

from xenarm.arm.layout import DEVICE_PAGES, IMAGE_ALIGN, IMAGE_TABLES, IMAGE_VIRT, SHOWN_PAGES
from xenarm.config import CONFIG
from xenarm.core.addresses import PAGE_SIZE
from xenarm.core.domain import SLOT_SIZE

__all__ = ["CFLAGS", "FAST", "FLOATING_POINT", "LINKER_SCRIPT", "ONCE", "SEPARATE", "THUMB"]

CFLAGS, FLOATING_POINT = {
    "arm64": (("-ffixed-x18", "-mbranch-protection=none", "-mfix-cortex-a53-835769"), ("fp_save", "fp_restore", "fp_clear")),  # the short way out of a guest does not save x18
    "arm32": (("-munaligned-access",), ("context_switch", "fp_restore", "mvfr0", "mvfr1")),
}[CONFIG.ARCH]
THUMB = CONFIG.ARM32
"""ARMv7's compiled code is Thumb, which is a third smaller; assembly, that is the entry, the vectors and the switch, is A32."""

CFLAGS += () if CONFIG.LINES else ("-fomit-frame-pointer",)  # nothing follows the frames
"""What the compiler must be told beside the flags that keep it off FP and SIMD registers; the only code that may name those: the FP switch."""

ONCE = ("boot_first_cpu",)
"""What only this reaches is in the image's `.once` sections. It never returns; `boot_end`, the last that it calls, stays."""

SHORT_WAY = ("xenarm.arm.short", "xenarm.arm64.short32", "xenarm.arm.hw", "xenarm.arm.instructions", "xenarm.gic.words.read_enabled", "xenarm.psci.guest")
FAST = SHORT_WAY if CONFIG.OPTIMIZE_SIZE else SHORT_WAY + tuple(
    f"xenarm.{name}"
    for name in (
        *("arm.clear", "arm.cpu", "arm.fields", "arm.image_map", "arm.mmu", "arm64.clear", "arm64.guest.load_general", "arm64.switch", "arm64.turns", "arm64.zero"),
        *("arm32.banked", "arm32.inject", "arm32.switch", "arm32.zero"),
        *("core.domain", "core.sched.arinc653", "core.sched.credit2", "core.sched.null", "core.sched.queue", "core.sched.rr"),
        *("core.sched.rtds", "core.sched.scheduler", "core.sched.state", "core.spinlock"),
        *("devicetree.reader", "devicetree.values", "devicetree.writer"),
        *("gic.context", "gic.controller", "gic.host", "gic.state", "gic.v2", "gic.vgic.own_word_reset", "gic.vgic.word_reset"),
    )
)
"""What is compiled for speed: by CONFIG_OPTIMIZE_SPEED what guests' short exits and switches go through, and what most of the boot's time goes to. All else is compiled for size, inlined in it or not."""

GICV3_ENTRIES = ("xenarm.gic.vgicr", "xenarm.gic.vgicd3.vgicd3_access", "xenarm.gic.vgicd3.vgic_send_sgi")
SEPARATE = (
    ("null", ("xenarm.core.sched.null",)),
    ("events", ("xenarm.core.event_ops.event_channel_op", *(f"xenarm.core.guest_interface.{name}_op" for name in ("hvm", "memory", "vcpu")))),
    *((name, (f"xenarm.core.sched.{name}",)) for name in ("rr", "credit2", "rtds", "arinc653")),
    ("gicv3", ("xenarm.gic.v3", *GICV3_ENTRIES, *(f"{name}_v3" for name in ("short_sync", "short_sync32", "short_irq", "short_post", "guest_waits", "guest_waited", "guest_yielded", "vcpu_return")))),
)
"""Code that one machine or boot argument needs and another does not, in the image's order: what is not chosen is free memory after the boot (`once.py`)."""

TABLES = ("plain", "traced", "loop", "traced_loop", "call", "traced_call")
TABLE_ALIGN = 2048 if CONFIG.ARM64 else 4
TABLES_V3 = ("call_v3", "loop_v3", "plain_v3")
"""Vectors of arm64, 2 KiB each: what a CPU needs of the first fills one page, where exits can be traced. Of the others it needs one, beside the first one's tracing."""


def parts(names: Iterable[str], align: int = 4) -> str:
    """Each with a symbol where it begins."""
    return "".join(f"        . = ALIGN({align});\n        __part_{name}_start = .;\n        KEEP(*(.part.{name}))\n" for name in names)


ONCE_LINES, LINES = ("KEEP(*(.once.lines))", "KEEP(*(.lines))") if CONFIG.LINES else ("", "")
LINKER_SCRIPT = f"""
ENTRY(_start)
PHDRS
{{
    text PT_LOAD FLAGS(5);
    rodata PT_LOAD FLAGS(4);
    data PT_LOAD FLAGS(6);
}}
SECTIONS
{{
    . = {IMAGE_VIRT:#x};
    __image_start = .;
    .text : ALIGN({PAGE_SIZE}) {{
        __text_start = .;
        KEEP(*(.head.text))
        __head_end = .;
        . = ALIGN({PAGE_SIZE if CONFIG.ARM64 and CONFIG.TRACE else 4});
{parts(TABLES, TABLE_ALIGN)}
        . = ALIGN({TABLE_ALIGN});
        __part_all_start = .;
        KEEP(*(.vectors.text))
        *(.text .text.*)
{parts(name for name, _ in SEPARATE)}
{parts(TABLES_V3, TABLE_ALIGN)}
        __text_end = .;
    }} :text
    .once.text : ALIGN(64) {{
        __once_text_start = .;
        *(.once.text)
        . = ALIGN({PAGE_SIZE});
        __once_text_end = .;
    }} :text
    .once.rodata : ALIGN({PAGE_SIZE}) {{
        __once_rodata_start = .;
        *(.once.rodata)
        . = ALIGN(8);
        __once_lines_start = .;
        {ONCE_LINES}
        __once_lines_end = .;
        . = ALIGN({PAGE_SIZE});
        __once_rodata_end = .;
    }} :rodata
    .rodata : ALIGN({PAGE_SIZE}) {{
        __rodata_start = .;
        *(.rodata .rodata.*)
        . = ALIGN(8);
        __lines_start = .;
        {LINES}
        __lines_end = .;
        . = ALIGN({PAGE_SIZE});
        __rodata_end = .;
    }} :rodata
    .data : ALIGN({PAGE_SIZE}) {{
        __data_start = .;
        *(.data .data.* .once.data)
        . = ALIGN(16);
        __file_end = .;
    }} :data
    .root (NOLOAD) : ALIGN(16) {{
        KEEP(*(.bss.0root))
    }} :data
    .once.bss (NOLOAD) : ALIGN({PAGE_SIZE}) {{
        __frames_start = .;
        *(.bss.0frames)
        __frames_end = .;
        *(.once.raw)
        . = ALIGN(512);
        __bss_start = .;
        *(.once.bss)
        . = ALIGN({PAGE_SIZE});
        __once_data_end = .;
    }} :data
    .bss (NOLOAD) : ALIGN({PAGE_SIZE}) {{
        KEEP(*(.bss.zero))
        *(.bss .bss.[!0]* COMMON)
        . = ALIGN(512);
        __bss_end = .;
        *(.bss.0raw)
        *(.bss.0tree)
        . = ALIGN({PAGE_SIZE});
        __tree_end = .;
        __tables_start = .;
        KEEP(*(.bss.0tables))
        __tables_end = .;
        __tables_spare_end = . + {PAGE_SIZE};
        *(.bss.0pool)
        . = ALIGN({PAGE_SIZE});
        __pool_end = .;
        KEEP(*(.bss.0first))
        . = ALIGN({PAGE_SIZE});
        __image_end = .;
    }} :data
    .window (NOLOAD) : ALIGN({SLOT_SIZE}) {{
        __slots_start = .;
        *(.bss.0slots)
        __slots_end = .;
        __window_start = .;
        *(.bss.0window)
        . = ALIGN({PAGE_SIZE});
        __window_end = .;
        __devices_start = .;
        . += {DEVICE_PAGES * PAGE_SIZE};
        __devices_end = .;
        __shown_start = .;
        . += {SHOWN_PAGES * PAGE_SIZE};
        __shown_end = .;
    }} :data
    __image_size = __image_end - __image_start;
    __file_size = __file_end - __image_start;
    ASSERT(__head_end - __text_start <= {PAGE_SIZE}, "the boot code must fit one page: it runs before the MMU maps more")
    ASSERT(__image_size <= {IMAGE_ALIGN}, "the image must fit 2 MiB")
    ASSERT(__shown_end - __image_start <= {IMAGE_TABLES * IMAGE_ALIGN}, "the image and its window of stacks and domains are larger than arm/layout.py has tables for")
    /DISCARD/ : {{ *(.note.*) *(.eh_frame*) *(.ARM.*) *(.gnu.*) *(.dynamic) *(.dynsym) *(.dynstr) *(.hash) *(.interp) }}
}}
"""

