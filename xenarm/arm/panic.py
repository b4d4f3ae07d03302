"""The hypervisor's own end: registers and a backtrace by Python file and line, over a serial port that nobody else may hold up.

The image carries tables from code addresses to lines (freestanding/linetable.py), one of them for what only the boot uses.
"""

from freestanding import IntEnum, Ptr, Struct, View, array, export, fn, linker_symbol, truncate, u8, u16, u32, u64, usize, wrapping_sub, zeroed

from xenarm.arm.instructions import cpu_relax
from xenarm.arm.machine import arch_counter, arch_counter_hz, arch_machine_off, arch_machine_reset, cpu_stop
from xenarm.arm.once import boot_is_over
from xenarm.arm.vcpu import cpus_online
from xenarm.arm.frame import CrashFrame
from xenarm.arm.variant import crash_check, frame_record, say_crash, say_crash_registers
from xenarm.arm.window import slot_is_used
from xenarm.config import CONFIG
from xenarm.core.bootargs import bootarg
from xenarm.core.domain import SLOTS, SLOT_COUNT, SLOT_SHIFT, SLOT_SIZE, Vcpu, domain_name
from xenarm.core.halt import HALT, halt
from xenarm.core.log import log_raw, log_warning, say
from xenarm.devicetree.reader import Fdt
from xenarm.drivers.serial import serial_flush
from xenarm.gic.host import gic_stop_others

__all__ = ["panic_exception", "panic_init"]

MAPS_MEMORY = True

LINES_START = linker_symbol("__lines_start")
SLOTS_START = linker_symbol("__slots_start")
ONCE_LINES_START = linker_symbol("__once_lines_start")
ONCE_TEXT_START = linker_symbol("__once_text_start")
ONCE_TEXT_END = linker_symbol("__once_text_end")
TEXT_START = linker_symbol("__text_start")
MAGIC = 0x4C49_4E45
HEADER_SIZE = 20
INSTRUCTION = 4 if CONFIG.ARM64 else 2  # bytes: the table's unit; C code is Thumb on ARMv7
LARGEST_TABLE = 0x4_0000
MOST_FILES = 128
SLASH = 0x2F
MOST_FRAMES = 24
RETURN_ADDRESS = 0xFFFF_FFFF_FFFF_FFFF if CONFIG.ARM64 else 0xFFFF_FFFE  # less the bit that says Thumb
WORD = 8 if CONFIG.ARM64 else 4  # bytes of a pointer in a frame record
PATIENCE_MS = 20  # with CPUs that do not stop


class End(IntEnum, type=u8):
    """What follows a panic's report."""

    STOP = 0
    REBOOT = 1
    OFF = 2


class Panic(Struct):
    """Set once, at the boot."""

    end: End


PANIC = zeroed(Panic)


@fn
def kind_name(immediate: u64) -> View[u8]:
    """A failed check's trap instruction carries its kind (freestanding/cwriter/target.py)."""
    match immediate:
        case 0xFA01:
            return b"arithmetic overflow"
        case 0xFA02:
            return b"index out of bounds"
        case 0xFA03:
            return b"value does not fit"
        case 0xFA04:
            return b"shift by too much"
        case 0xFA05:
            return b"division by zero"
        case 0xFA06:
            return b"no such enumeration member"
        case 0xFA07:
            return b"assertion failed"
        case _:
            return b"panic"


@fn
def table(start: usize) -> View[u8]:
    """A table of lines; empty when the image has none."""
    header = Ptr[u8](start).slice(HEADER_SIZE)
    size = header.load_le32(12)
    if header.load_le32(0) != MAGIC or size > LARGEST_TABLE:
        return header[:0]
    return Ptr[u8](start).slice(usize(size))


@fn
def file_name(lines: View[u8], number: u32) -> tuple[View[u8], View[u8]]:
    """(directory or nothing, name) of a file."""
    rest = lines[lines.load_le32(8) :]
    directory = rest[: rest.find(0)]
    for _ in range(number + 1):
        rest = rest[min(rest.find(0) + 1, len(rest)) :]
    name = rest[: rest.find(0)]
    return directory if len(name) > 0 and name[0] == SLASH else name[:0], name


@fn
def number(lines: View[u8], at: usize) -> tuple[u32, usize]:
    """Seven bits a byte, lowest first: (the number, where the next one is)."""
    value = u32(0)
    shift = u32(0)
    end = at
    while shift < 28:
        byte = lines[end]
        end += 1
        value |= u32(byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
    return value, end


@fn
def find_line(address: u64) -> tuple[bool, View[u8], View[u8], u32]:
    """(known, directory, file, line) of a trap or a return address."""
    if CONFIG.LINES:
        return look_up(address)
    else:
        return False, b"", b"", 0


@fn
def look_up(address: u64) -> tuple[bool, View[u8], View[u8], u32]:
    """In the tables, which have exactly those. The boot's own is gone with the boot."""
    boots = address > u64(usize(ONCE_TEXT_START)) and address <= u64(usize(ONCE_TEXT_END))
    if boots and boot_is_over():
        return False, b"", b"", 0
    lines = table(usize(ONCE_LINES_START) if boots else usize(LINES_START))
    at = usize(HEADER_SIZE)
    place = u64(usize(TEXT_START))
    file = u32(0)
    line = array(u16, MOST_FILES)
    for _ in range(lines.load_le32(4) if len(lines) > 0 else u32(0)):
        step, at = number(lines, at)
        if step & 1 != 0:
            file, at = number(lines, at)
            file &= MOST_FILES - 1
        if step & 2 == 0:
            change, at = number(lines, at)
            line[file] = truncate(u16, u32(line[file]) + (change >> 1) if change & 1 == 0 else wrapping_sub(u32(line[file]), (change + 1) >> 1))
        place += u64(step >> 2) * INSTRUCTION
        if place >= address:
            break
    if place != address:
        return False, b"", b"", 0
    directory, name = file_name(lines, file)
    return True, directory, name, u32(line[file])


@fn
def say_place(address: u64) -> None:
    known, directory, name, line = find_line(address)
    if known:
        say(f"  {address:#014x} {directory}{name}.py:{line}")
    else:
        say(f"  {address:#014x}")


@fn
def backtrace(frame: CrashFrame) -> None:
    """Follow the frame records while they climb within this CPU's stack: each has the next one's address and a return address."""
    say_place(u64(frame.elr))
    slot = u64(frame.sp) & ~u64(SLOT_SIZE - 1)
    record = frame_record(frame)
    for _ in range(MOST_FRAMES):
        if record % (2 * WORD) != 0 or record < slot or record > slot + (SLOT_SIZE - 2 * WORD):
            return
        words = Ptr[usize](usize(record)).slice(2)
        if words[1] == 0:
            return
        say_place(u64(words[1]) & RETURN_ADDRESS)
        if u64(words[0]) <= record:
            return
        record = u64(words[0])


@fn
def slot_of(frame: CrashFrame) -> u32:
    """The slot that SP points into; SLOT_COUNT when it is none that is in use."""
    slots = u64(usize(SLOTS_START))
    sp = u64(frame.sp)
    if sp < slots or (sp - slots) >> SLOT_SHIFT >= SLOT_COUNT:
        return SLOT_COUNT
    slot = truncate(u32, (sp - slots) >> SLOT_SHIFT)
    return slot if slot_is_used(slot) else u32(SLOT_COUNT)


@fn
def say_domain(v: Vcpu) -> None:
    d = v.domain
    if d is not None:
        say(f"  running domain {domain_name(d)} vcpu {v.id}")


@export("panic_exception")
def panic_exception(frame: CrashFrame) -> None:
    """Report a fault of the hypervisor itself, and end as `panic=` says. A second CPU in trouble, or a fault in here, stops in silence."""
    if HALT.failed.exchange(1) != 0:
        halt()
    slot = slot_of(frame)
    cpu = SLOTS[slot].vcpu.cpu if slot < SLOT_COUNT else u32(0)
    stop_others(cpu)
    serial_flush()
    if CONFIG.PANIC_REPORT:
        report(frame, slot, cpu)
        end_machine()
    else:
        say(f"panic on cpu {cpu} at {frame.elr:#x}: syndrome {frame.esr:#x}, address {frame.far:#x}")
        cpu_stop()


@fn
def report(frame: CrashFrame, slot: u32, cpu: u32) -> None:
    """All there is to know."""
    say_what(frame, cpu)
    if slot < SLOT_COUNT:
        say_domain(SLOTS[slot].vcpu)
    say_crash_registers(frame)
    backtrace(frame)


@fn
def stop_others(cpu: u32) -> None:
    """The other CPUs: at once those that a guest runs on or that idle, those that wait for a lock with their next look at it.

    One that is about to go back to a guest stops there. What none of them does in time is not waited for.
    """
    online = cpus_online()
    if online < 2:
        return
    gic_stop_others(online, cpu)
    deadline = arch_counter() + arch_counter_hz() * PATIENCE_MS // 1000
    while HALT.stopped.load() < online - 1 and arch_counter() < deadline:
        cpu_relax()


@fn
def say_what(frame: CrashFrame, cpu: u32) -> None:
    is_check, kind = crash_check(frame)
    log_raw(b"\n")
    if is_check:
        known, directory, name, line = find_line(u64(frame.elr))
        what = kind_name(kind)
        if known:
            say(f"panic on cpu {cpu}: {what} at {directory}{name}.py:{line}")
        else:
            say(f"panic on cpu {cpu}: {what}")
    else:
        say_crash(frame, cpu)


@fn
def end_machine() -> None:
    """Stop, or what the boot argument `panic=` asked for. Does not return."""
    match PANIC.end:
        case End.REBOOT:
            say(f"the machine restarts")
            arch_machine_reset()
        case End.OFF:
            say(f"the machine is turned off")
            arch_machine_off()
        case _:
            pass
    say(f"all CPUs stop")
    cpu_stop()


@fn
def panic_init(fdt: Fdt) -> None:
    """What a panic is to end in: the boot argument `panic=`."""
    given, what = bootarg(fdt, b"panic")
    if given and what.equals(b"reboot"):
        PANIC.end = End.REBOOT
    elif given and what.equals(b"off"):
        PANIC.end = End.OFF
    elif given and not what.equals(b"stop"):
        log_warning(f"/chosen: xen,xen-bootargs: panic={what} is ignored; give stop, reboot or off")
