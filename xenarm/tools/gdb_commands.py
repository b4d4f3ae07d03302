"""Commands for gdb, which runs this file itself: domains, vCPUs, a lookup in stage 2, the log ring.

Memory is read by machine address, through the hypervisor's own tables, so that it does not matter whether the CPU is in a guest. Needs no package, and
nothing of the rest of the project: gdb brings a Python of its own.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import gdb

PAGE = 4096
FRAME = 0x0000_FFFF_FFFF_F000
ROOT = (1 << 48) - 32  # a root that is less than a page is aligned to its own size only
VALID, TABLE = 1, 2
RUNNING_STATES = {1: "BUILDING", 2: "RUNNING", 3: "ENDING", 4: "DYING", 5: "SETTLING", 6: "DEAD"}
POWERS = {0: "ON", 1: "OFF", 2: "ON_PENDING", 3: "STARTING"}
ROOTS = ("TTBR0_EL2", "HTTBR")  # AArch64, AArch32
MODE, OWN_MODES = 0x1F, (0x08, 0x09, 0x1A)  # EL2t, EL2h, HYP (Arm ARM C5.2.21 SPSR_EL2, M[4:0])
ENTRIES = ("short_sync_v2", "short_irq_v2", "short_sync_v3", "short_irq_v3")
"""Where guests come to the hypervisor: not more than any CPU has hardware breakpoints."""
UNCONNECTED = "gdb is connected to no machine: 'target remote host:port' does that"
OUTSIDE = "every CPU is in a guest, whose memory it would read, and this gdb server has no other way: 'xenarm-enter' lets the machine run until one is in the hypervisor"


class ThroughCpu:
    """Memory as the selected CPU reads it, which is in the hypervisor: its own addresses, and RAM at the machine's."""

    def own(self, address: int, size: int) -> bytes:
        return bytes(gdb.selected_inferior().read_memory(address, size))

    def machine(self, address: int, size: int) -> bytes:
        return self.own(address, size)


class ByQemu:
    """Machine memory by a mode of QEMU's gdb server (its docs/system/gdb.rst); the hypervisor's own through its tables."""

    def __init__(self) -> None:
        self.switch(True)
        self.switch(False)

    def switch(self, on: bool) -> None:
        if "OK" not in gdb.execute(f"maintenance packet Qqemu.PhyMemMode:{int(on)}", to_string=True):
            raise gdb.GdbError(OUTSIDE)

    def machine(self, address: int, size: int) -> bytes:
        self.switch(True)
        try:
            return bytes(gdb.selected_inferior().read_memory(address, size))
        finally:
            self.switch(False)

    def own(self, address: int, size: int) -> bytes:
        """Page by page."""
        data = b""
        while len(data) < size:
            at = address + len(data)
            data += self.machine(self.machine_address(at), min(size - len(data), PAGE - at % PAGE))
        return data

    def machine_address(self, address: int) -> int:
        """Where the hypervisor has one of its own addresses."""
        root, level = own_root()
        level, _, entry = steps(self, root, level, address)[-1]
        if not entry & VALID:
            raise gdb.GdbError(f"{address:#x} is not mapped by the hypervisor: has it booted?")
        return leads_to(entry, level, address)


Memory = ThroughCpu | ByQemu


def own_root() -> tuple[int, int]:
    """The hypervisor's own tables: root and its level, of a CPU that has them. It is selected."""
    for thread in gdb.selected_inferior().threads():
        thread.switch()
        for level, name in enumerate(ROOTS):
            with suppress(ValueError):
                root = int(gdb.newest_frame().read_register(name)) & ROOT
                if root:
                    return root, level
    raise gdb.GdbError("no CPU has the hypervisor's translation tables: has it booted?")


def stands_inside(thread: gdb.InferiorThread) -> bool:
    """Whether a CPU is in the hypervisor, with its translation on: guests may have the same addresses, and a CPU that is off is elsewhere. It is selected."""
    thread.switch()
    frame = gdb.newest_frame()
    start, end = (int(gdb.parse_and_eval(f"(unsigned long) &{name}")) for name in ("__image_start", "__image_end"))
    return int(frame.read_register("cpsr")) & MODE in OWN_MODES and start <= frame.pc() < end


def select_inside() -> bool:
    """Select a CPU that is in the hypervisor, if one is: the selected one, or another."""
    chosen = gdb.selected_thread()
    if any(stands_inside(thread) for thread in (chosen, *gdb.selected_inferior().threads())):
        return True
    chosen.switch()
    return False


@contextmanager
def memory() -> Iterator[Memory]:
    """The way there is to the machine's memory. What was selected is selected again afterwards."""
    thread = gdb.selected_thread()
    if thread is None:
        raise gdb.GdbError(UNCONNECTED)
    frame = gdb.selected_frame()
    try:
        yield ThroughCpu() if select_inside() else ByQemu()
    finally:
        thread.switch()
        frame.select()


def steps(memory: Memory, root: int, level: int, address: int) -> list[tuple[int, int, int]]:
    """A walk with 4 KiB granules (Arm ARM D8.2): level, descriptor's address and value, down to the last one. `root` may be several tables."""
    found: list[tuple[int, int, int]] = []
    table, bits = root, 48 if level == 0 else 40
    while True:
        shift = 39 - 9 * level
        index = (address & ((1 << bits) - 1)) >> shift if level < 2 and not found else address >> shift & 511
        place = table + 8 * index
        entry = int.from_bytes(memory.machine(place, 8), "little")
        found.append((level, place, entry))
        if not entry & VALID or not entry & TABLE or level == 3:
            return found
        table, level = entry & FRAME, level + 1


def leads_to(entry: int, level: int, address: int) -> int:
    """What a block or page descriptor makes of an address."""
    size = 1 << (39 - 9 * level)
    return (entry & FRAME & -size) | (address & (size - 1))


def value_at(memory: Memory, address: int, kind: gdb.Type) -> gdb.Value:
    """A structure of the hypervisor."""
    return gdb.Value(memory.own(address, kind.sizeof), kind)


def symbol(name: str) -> gdb.Symbol:
    """A static object by its name in the Python source."""
    found = gdb.lookup_static_symbol(name) or gdb.lookup_global_symbol(name)
    if found is None:
        raise gdb.GdbError(f"the image has no {name}: is this its own xenarm.elf, and Kconfig has it in?")
    return found


def static_field(memory: Memory, name: str, field: str) -> int:
    """A number in a static object. The compiler may have made an object of each field: they have its name and a number."""
    found = symbol(name)
    fields = [member.name for member in found.type.fields()]
    kind = found.type[field].type
    whole = found.value().address
    if whole is not None:
        return number(value_at(memory, int(whole), found.type)[field])
    piece = int(gdb.parse_and_eval(f"&'{name}.{fields.index(field)}'"))
    return number(value_at(memory, piece, kind))


def number(value: gdb.Value) -> int:
    return int(value)


def domains(memory: Memory) -> list[gdb.Value]:
    """Those that there are. The rest of the array is a page of zeroes."""
    found = symbol("DOMAINS")
    base, kind = int(found.value().address), found.type.target()
    count = found.type.sizeof // kind.sizeof
    every = [value_at(memory, base + n * kind.sizeof, kind) for n in range(count)]
    return [domain for domain in every if number(domain["state"]) in RUNNING_STATES]


def name_of(domain: gdb.Value) -> str:
    return bytes(number(domain["name"][n]) for n in range(number(domain["name_length"]))).decode("ascii", "replace")


def named(memory: Memory, text: str) -> gdb.Value:
    """A domain by name or number."""
    for domain in domains(memory):
        if text in (name_of(domain), str(number(domain["id"]))):
            return domain
    raise gdb.GdbError(f"there is no domain '{text}': xenarm-domains lists them")


class Command(gdb.Command, ABC):  # type: ignore[misc]
    """One of ours: it reads, and its mistakes are a line each."""

    def __init__(self) -> None:
        super().__init__((self.__doc__ or "").partition(":")[0].partition(" ")[0], gdb.COMMAND_DATA)

    def invoke(self, argument: str, from_tty: bool) -> None:
        try:
            with memory() as found:
                self.show(found, gdb.string_to_argv(argument))
        except (gdb.error, gdb.MemoryError) as error:
            raise gdb.GdbError(f"{error}") from None

    @abstractmethod
    def show(self, memory: Memory, words: list[str]) -> None:
        """Answer, with the words that were typed behind the command's name."""


class Domains(Command):
    """xenarm-domains: every domain, its state, its vCPUs, its translation tables."""

    def show(self, memory: Memory, words: list[str]) -> None:
        for domain in domains(memory):
            state = RUNNING_STATES[number(domain["state"])]
            paused = ", paused" if number(domain["paused"]) else ""
            tables = domain["p2m"]
            print(
                f"{number(domain['id'])} {name_of(domain)}: {state}{paused}, {number(domain['vcpu_count'])} vCPUs, {number(domain['restarts'])} restarts, "
                f"stage 2 at {number(tables['root']):#x}, {number(tables['table_pages'])} of {number(tables['pool_pages'])} pages"
            )


class Vcpus(Command):
    """xenarm-vcpus: every vCPU, its power, its CPU, and its registers as they were left in memory."""

    def show(self, memory: Memory, words: list[str]) -> None:
        kind = gdb.lookup_type("Vcpu")
        for domain in domains(memory):
            for index in range(number(domain["vcpu_count"])):
                place = number(domain["vcpus"][index])
                if place == 0:
                    continue
                vcpu = value_at(memory, place, kind)
                power = POWERS.get(number(vcpu["power"]), "?")
                registers = " ".join(f"{number(vcpu['regs'][n]):#x}" for n in range(4))
                print(f"{name_of(domain)} {number(vcpu['id'])}: {power}, CPU {number(vcpu['cpu'])}, at {place:#x}, first registers {registers}")


class Stage2(Command):
    """xenarm-stage2 DOMAIN ADDRESS: the walk from a guest's physical address to the machine's."""

    def show(self, memory: Memory, words: list[str]) -> None:
        if len(words) != 2:
            raise gdb.GdbError("give a domain, by name or number, and an address")
        domain, address = named(memory, words[0]), int(gdb.parse_and_eval(words[1]))
        walk = steps(memory, number(domain["p2m"]["root"]), 1, address)
        for level, place, entry in walk:
            what = "nothing" if not entry & VALID else "table" if entry & TABLE and level < 3 else rights(entry)
            print(f"  level {level} at {place:#x}: {entry:#018x} {what}")
        level, _, entry = walk[-1]
        if not entry & VALID:
            print(f"{address:#x} of {name_of(domain)} is mapped to nothing")
            return
        print(f"{address:#x} of {name_of(domain)} is {leads_to(entry, level, address):#x} of the machine")


def rights(entry: int) -> str:
    """Of a leaf (Arm ARM D8.3.2)."""
    access = "".join(letter if entry >> bit & 1 else "-" for letter, bit in (("r", 6), ("w", 7))) + ("-" if entry >> 54 & 1 else "x")
    return f"{access} {'memory' if entry >> 2 & 0xC else 'device'}"


class Log(Command):
    """xenarm-log: what the hypervisor has said, from its ring in memory."""

    def show(self, memory: Memory, words: list[str]) -> None:
        ring = symbol("LOG_RING")
        size = ring.type.sizeof
        written = static_field(memory, "LOG", "written")
        data = memory.own(int(ring.value().address), size)
        text = data[written % size :] + data[: written % size] if written > size else data[:written]
        print(re.sub(r"\r", "", text.decode("utf-8", "replace")), end="")


class Enter(gdb.Command):  # type: ignore[misc]
    """xenarm-enter: let the machine run until a CPU is in the hypervisor. By hardware breakpoints where guests come to it; CTRL-C ends it."""

    def __init__(self) -> None:
        super().__init__("xenarm-enter", gdb.COMMAND_RUNNING)

    def invoke(self, argument: str, from_tty: bool) -> None:
        if gdb.selected_thread() is None:
            raise gdb.GdbError(UNCONNECTED)
        if not select_inside():
            made = [gdb.Breakpoint(f"*{name}", type=gdb.BP_HARDWARE_BREAKPOINT, internal=True) for name in ENTRIES if gdb.lookup_global_symbol(name)]
            try:
                gdb.execute("continue", to_string=True)
            finally:
                for breakpoint in made:
                    breakpoint.delete()
        gdb.execute("frame")


for command in (Domains, Vcpus, Stage2, Log, Enter):
    command()
print("xenarm: xenarm-domains, xenarm-vcpus, xenarm-stage2 DOMAIN ADDRESS, xenarm-log, xenarm-enter; 'help xenarm-log' and so on say more")
