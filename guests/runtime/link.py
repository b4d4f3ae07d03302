"""The linker script of a guest: one block of 2 MiB, mapped at a fixed virtual address wherever the loader puts it."""

from __future__ import annotations

from xenarm.config import CONFIG

__all__ = ["CPU_STACK", "FIRST_STACK", "IMAGE_ROOM", "IMAGE_VIRT", "LINKER_SCRIPT", "MAX_CPUS"]

IMAGE_VIRT = 0x7F_C000_0000 if CONFIG.ARM64 else 0xFFC0_0000  # in the last GiB: what lies there physically is nothing of ours
IMAGE_ROOM = 2 << 20
MAX_CPUS = max(8, CONFIG.MAX_DOMAIN_CPUS)  # also on a machine without a hypervisor, where a GICv2 has eight interfaces
FIRST_STACK = 16 * 1024
CPU_STACK = min(FIRST_STACK, 1 << 20 >> (MAX_CPUS - 1).bit_length())  # of each other CPU: one MiB holds all

LINKER_SCRIPT = f"""
ENTRY(_start)
SECTIONS
{{
    . = {IMAGE_VIRT:#x};
    __image_start = .;
    .text : {{ KEEP(*(.head.text)) . = ALIGN(2048); KEEP(*(.vectors.text)) *(.text .text.*) }}
    .rodata : ALIGN(16) {{ *(.rodata .rodata.*) }}
    .data : ALIGN(16) {{ *(.data .data.*) . = ALIGN(16); __file_size = . - __image_start; }}
    .bss (NOLOAD) : ALIGN(4096) {{
        *(.bss.tables)
        . = ALIGN(64);
        __bss_start = .;
        *(.bss .bss.* COMMON)
        . = ALIGN(4096);
        __image_end = .;
    }}
    __image_size = __image_end - __image_start;
    ASSERT(__image_size <= {IMAGE_ROOM}, "a guest is mapped by one block of 2 MiB")
    /DISCARD/ : {{ *(.note.*) *(.eh_frame*) *(.ARM.*) *(.gnu.*) *(.lines) }}
}}
"""
