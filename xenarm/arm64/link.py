"""The linker script of the arm64 image, and what its compilation needs beside.

Sections are page-aligned by permission; bss and stacks follow the file's end and are counted in the Image header's image_size.
Stacks are not cleared at boot: their section, .bss.0slots, stands apart.
"""

from __future__ import annotations

from xenarm.arm64.layout import IMAGE_ALIGN, IMAGE_VIRT
from xenarm.core.addresses import PAGE_SIZE
from xenarm.core.domain import SLOT_SIZE

__all__ = ["CFLAGS", "FLOATING_POINT", "LINKER_SCRIPT"]

CFLAGS = (
    "-ffixed-x18",  # the short way out of a guest does not save it
    "-mbranch-protection=none",
)
"""What the compiler must be told beside the flags that keep it off FP and SIMD registers."""

FLOATING_POINT = ("context_switch", "fp_restore")
"""The FP switch: the only code that may name FP registers."""

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
        . = ALIGN(2048);
        KEEP(*(.vectors.text))
        *(.text .text.*)
        . = ALIGN({PAGE_SIZE});
        __text_end = .;
    }} :text
    .rodata : ALIGN({PAGE_SIZE}) {{
        __rodata_start = .;
        *(.rodata .rodata.*)
        . = ALIGN(8);
        __lines_start = .;
        KEEP(*(.lines))
        __lines_end = .;
        . = ALIGN({PAGE_SIZE});
        __rodata_end = .;
    }} :rodata
    .data : ALIGN({PAGE_SIZE}) {{
        __data_start = .;
        *(.data .data.*)
        . = ALIGN(16);
        __file_end = .;
    }} :data
    .bss (NOLOAD) : ALIGN({PAGE_SIZE}) {{
        __tables_start = .;
        KEEP(*(.bss.tables))
        __tables_end = .;
        . = ALIGN({PAGE_SIZE});
        __bss_start = .;
        *(.bss .bss.[!0]* COMMON)
        . = ALIGN({PAGE_SIZE});
        __bss_end = .;
        . = ALIGN({SLOT_SIZE});
        __slots_start = .;
        *(.bss.0slots)
        . = ALIGN({PAGE_SIZE});
        __image_end = .;
    }} :data
    __image_size = __image_end - __image_start;
    ASSERT(__head_end - __text_start <= {PAGE_SIZE}, "the boot code must fit one page: it runs before the MMU maps more")
    ASSERT(__image_size <= {IMAGE_ALIGN}, "the image with its stacks must fit 2 MiB")
    /DISCARD/ : {{ *(.note.*) *(.eh_frame*) *(.ARM.*) *(.gnu.*) *(.dynamic) *(.dynsym) *(.dynstr) *(.hash) *(.interp) }}
}}
"""

