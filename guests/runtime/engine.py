"""Runs instructions made at run time, as the guest's kernel or as a program of it, and comes back whatever becomes of them.

`hostile_run` notes its stack pointer and branches to the instruction. An exception, of whatever kind and from wherever, goes back to
that stack pointer; an interrupt is ended and leaves interrupts masked. What a program runs ends in an SVC. `engine64.py` and `engine32.py` are the
two architectures' parts.
"""

from freestanding import Ptr, address_of, export, fn, linker_symbol, size_of, u32, u64, usize
from guests.runtime.cpu import cpu_number
from guests.runtime.engine_state import CODE, WORDS, ZONE, Slot, Values
from guests.runtime.gic import gic_acknowledge, gic_end, intid_of
from guests.runtime.machine import MACHINE
from xenarm.config import CONFIG

if CONFIG.ARM64:
    from guests.runtime.engine64 import BACK, CALL, DEVICE_ALIAS, FLOATING_POINT, PROGRAM, RAM_ALIAS, STATE, engine_init, engine_vectors, hostile_run, publish
else:
    from guests.runtime.engine32 import BACK, CALL, DEVICE_ALIAS, FLOATING_POINT, PROGRAM, RAM_ALIAS, STATE, engine_init, engine_vectors, hostile_run, publish

__all__ = [
    "DEVICE_ALIAS",
    "FLOATING_POINT",
    "RAM_ALIAS",
    "Values",
    "engine_init",
    "engine_slot",
    "engine_vectors",
    "run_kernel",
    "run_pair",
    "run_user",
    "zone",
    "zone_frame",
]

MAPS_MEMORY = True

IMAGE_START = linker_symbol("__image_start")
SLOTS_START = linker_symbol("hostile_slots")
GIB = 1 << 30
FRAME_SHIFT = 12


@fn
def engine_slot(cpu: u32) -> Slot:
    return Ptr[Slot](usize(SLOTS_START) + usize(cpu) * size_of(Slot)).ref()


@fn
def zone() -> u64:
    """Where attacks may write: 4 KiB."""
    return u64(address_of(ZONE))


@fn
def physical(address: u64) -> u64:
    """Of something in the image."""
    return MACHINE.image + (address - u64(usize(IMAGE_START)))


@fn
def zone_frame() -> u64:
    """The zone's guest-physical frame number."""
    return physical(zone()) >> FRAME_SHIFT


@fn
def write_code(cpu: u32, first: u32, second: u32, then: u32) -> u64:
    code = CODE[cpu]
    code.words[0] = first
    code.words[1] = second
    for i in range(2, WORDS):
        code.words[i] = then
    publish(u64(address_of(code)))
    return u64(address_of(code))


@fn
def run_pair(cpu: u32, first: u32, second: u32, values: Values, kind: u32) -> u64:
    """Two instructions of the kernel's, or two words of Thumb, by kind as `run_user`; what x0 holds at the end."""
    return hostile_run(write_code(cpu, first, second, BACK[kind]) + STATE[kind], values, 0)


@fn
def run_kernel(cpu: u32, instruction: u32, values: Values) -> u64:
    """As the kernel, in its own state; what x0 holds at the end."""
    kind = u32(0) if CONFIG.ARM64 else u32(1)
    return run_pair(cpu, instruction, BACK[kind], values, kind)


@fn
def run_user(cpu: u32, instruction: u32, values: Values, kind: u32) -> None:
    """As a program: 0 AArch64 (of a 64-bit kernel's alone), 1 AArch32, 2 Thumb (two halfwords of it)."""
    code = write_code(cpu, instruction, CALL[kind], CALL[kind])
    hostile_run(RAM_ALIAS | physical(code) & (GIB - 1), values, PROGRAM[kind] + 1)


@export("hostile_took")
def hostile_took() -> None:
    """An interrupt: end it."""
    slot = engine_slot(cpu_number())
    iar = gic_acknowledge()
    real, _ = intid_of(iar)
    if real:
        slot.interrupts += 1
        gic_end(iar)
