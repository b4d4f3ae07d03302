"""Commands for gdb, which runs this file itself: domains, vCPUs, a lookup in stage 2, the log ring.

Memory is read by machine address, through the hypervisor's own tables, so that it does not matter whether the CPU is in a guest. Needs no package, and
nothing of the rest of the project: gdb brings a Python of its own.
"""

from __future__ import annotations

import re

import gdb

PAGE = 4096
FRAME = 0x0000_FFFF_FFFF_F000
ROOT = (1 << 48) - 32  # a root that is less than a page is aligned to its own size only
VALID, TABLE = 1, 2
RUNNING_STATES = {1: "BUILDING", 2: "RUNNING", 3: "ENDING", 4: "DYING", 5: "SETTLING", 6: "DEAD"}
POWERS = {0: "ON", 1: "OFF", 2: "ON_PENDING", 3: "STARTING"}
ROOTS = ("TTBR0_EL2", "HTTBR")  # AArch64, AArch32


def physical(address: int, size: int) -> bytes:
    """Machine memory, by a mode of QEMU's gdb stub (QEMU's docs/system/gdb.rst)."""
    gdb.execute("maintenance packet Qqemu.PhyMemMode:1", to_string=True)
    try:
        return bytes(gdb.selected_inferior().read_memory(address, size))
    finally:
        gdb.execute("maintenance packet Qqemu.PhyMemMode:0", to_string=True)


def word(address: int) -> int:
    """A descriptor."""
    return int.from_bytes(physical(address, 8), "little")


def steps(root: int, level: int, address: int) -> list[tuple[int, int, int]]:
    """A walk with 4 KiB granules (Arm ARM D8.2): level, descriptor's address and value, down to the last one. `root` may be several tables."""
    found: list[tuple[int, int, int]] = []
    table, bits = root, 48 if level == 0 else 40
    while True:
        shift = 39 - 9 * level
        index = (address & ((1 << bits) - 1)) >> shift if level < 2 and not found else address >> shift & 511
        place = table + 8 * index
        entry = word(place)
        found.append((level, place, entry))
        if not entry & VALID or not entry & TABLE or level == 3:
            return found
        table, level = entry & FRAME, level + 1


def machine_address(address: int) -> int:
    """Where the hypervisor has one of its own addresses."""
    root, level = own_root()
    level, _, entry = steps(root, level, address)[-1]
    if not entry & VALID:
        raise gdb.GdbError(f"{address:#x} is not mapped by the hypervisor: has it booted?")
    size = 1 << (39 - 9 * level)
    return (entry & FRAME & -size) | (address & (size - 1))


def own_root() -> tuple[int, int]:
    """The hypervisor's own tables: root and its level."""
    frame = gdb.selected_frame()
    for name in ROOTS:
        try:
            return int(frame.read_register(name)) & ROOT, 0 if name == "TTBR0_EL2" else 1
        except ValueError:
            continue
    raise gdb.GdbError("the stub shows no TTBR0_EL2 or HTTBR: is this QEMU's?")


def read(address: int, size: int) -> bytes:
    """Memory of the hypervisor, page by page."""
    data = b""
    while len(data) < size:
        at = address + len(data)
        data += physical(machine_address(at), min(size - len(data), PAGE - at % PAGE))
    return data


def value_at(address: int, kind: gdb.Type) -> gdb.Value:
    """A structure of the hypervisor."""
    return gdb.Value(read(address, kind.sizeof), kind)


def symbol(name: str) -> gdb.Symbol:
    """A static object by its name in the Python source."""
    found = gdb.lookup_static_symbol(name) or gdb.lookup_global_symbol(name)
    if found is None:
        raise gdb.GdbError(f"the image has no {name}: is this its own xenarm.elf, and Kconfig has it in?")
    return found


def static_field(name: str, field: str) -> int:
    """A number in a static object. The compiler may have made an object of each field: they have its name and a number."""
    found = symbol(name)
    fields = [member.name for member in found.type.fields()]
    kind = found.type[field].type
    whole = found.value().address
    if whole is not None:
        return number(value_at(int(whole), found.type)[field])
    piece = int(gdb.parse_and_eval(f"&'{name}.{fields.index(field)}'"))
    return number(value_at(piece, kind))


def number(value: gdb.Value) -> int:
    return int(value)


def domains() -> list[gdb.Value]:
    """Those that there are. The rest of the array is a page of zeroes."""
    found = symbol("DOMAINS")
    base, kind = int(found.value().address), found.type.target()
    count = found.type.sizeof // kind.sizeof
    every = [value_at(base + n * kind.sizeof, kind) for n in range(count)]
    return [domain for domain in every if number(domain["state"]) in RUNNING_STATES]


def name_of(domain: gdb.Value) -> str:
    return bytes(number(domain["name"][n]) for n in range(number(domain["name_length"]))).decode("ascii", "replace")


def named(text: str) -> gdb.Value:
    """A domain by name or number."""
    for domain in domains():
        if text in (name_of(domain), str(number(domain["id"]))):
            return domain
    raise gdb.GdbError(f"there is no domain '{text}': xenarm-domains lists them")


class Domains(gdb.Command):  # type: ignore[misc]
    """xenarm-domains: every domain, its state, its vCPUs, its translation tables."""

    def __init__(self) -> None:
        super().__init__("xenarm-domains", gdb.COMMAND_DATA)

    def invoke(self, argument: str, from_tty: bool) -> None:
        for domain in domains():
            state = RUNNING_STATES[number(domain["state"])]
            paused = ", paused" if number(domain["paused"]) else ""
            tables = domain["p2m"]
            print(
                f"{number(domain['id'])} {name_of(domain)}: {state}{paused}, {number(domain['vcpu_count'])} vCPUs, {number(domain['restarts'])} restarts, "
                f"stage 2 at {number(tables['root']):#x}, {number(tables['table_pages'])} of {number(tables['pool_pages'])} pages"
            )


class Vcpus(gdb.Command):  # type: ignore[misc]
    """xenarm-vcpus: every vCPU, its power, its CPU, and its registers as they were left in memory."""

    def __init__(self) -> None:
        super().__init__("xenarm-vcpus", gdb.COMMAND_DATA)

    def invoke(self, argument: str, from_tty: bool) -> None:
        kind = gdb.lookup_type("Vcpu")
        for domain in domains():
            for index in range(number(domain["vcpu_count"])):
                place = number(domain["vcpus"][index])
                if place == 0:
                    continue
                vcpu = value_at(place, kind)
                power = POWERS.get(number(vcpu["power"]), "?")
                registers = " ".join(f"{number(vcpu['regs'][n]):#x}" for n in range(4))
                print(f"{name_of(domain)} {number(vcpu['id'])}: {power}, CPU {number(vcpu['cpu'])}, at {place:#x}, first registers {registers}")


class Stage2(gdb.Command):  # type: ignore[misc]
    """xenarm-stage2 DOMAIN ADDRESS: the walk from a guest's physical address to the machine's."""

    def __init__(self) -> None:
        super().__init__("xenarm-stage2", gdb.COMMAND_DATA)

    def invoke(self, argument: str, from_tty: bool) -> None:
        words = gdb.string_to_argv(argument)
        if len(words) != 2:
            raise gdb.GdbError("give a domain, by name or number, and an address")
        domain, address = named(words[0]), int(gdb.parse_and_eval(words[1]))
        walk = steps(number(domain["p2m"]["root"]), 1, address)
        for level, place, entry in walk:
            what = "nothing" if not entry & VALID else "table" if entry & TABLE and level < 3 else rights(entry)
            print(f"  level {level} at {place:#x}: {entry:#018x} {what}")
        level, _, entry = walk[-1]
        if not entry & VALID:
            print(f"{address:#x} of {name_of(domain)} is mapped to nothing")
            return
        size = 1 << (39 - 9 * level)
        print(f"{address:#x} of {name_of(domain)} is {(entry & FRAME & -size) | (address & (size - 1)):#x} of the machine")


def rights(entry: int) -> str:
    """Of a leaf (Arm ARM D8.3.2)."""
    access = "".join(letter if entry >> bit & 1 else "-" for letter, bit in (("r", 6), ("w", 7))) + ("-" if entry >> 54 & 1 else "x")
    return f"{access} {'memory' if entry >> 2 & 0xC else 'device'}"


class Log(gdb.Command):  # type: ignore[misc]
    """xenarm-log: what the hypervisor has said, from its ring in memory."""

    def __init__(self) -> None:
        super().__init__("xenarm-log", gdb.COMMAND_DATA)

    def invoke(self, argument: str, from_tty: bool) -> None:
        ring = symbol("LOG_RING")
        size = ring.type.sizeof
        written = static_field("LOG", "written")
        data = read(int(ring.value().address), size)
        text = data[written % size :] + data[: written % size] if written > size else data[:written]
        print(re.sub(r"\r", "", text.decode("utf-8", "replace")), end="")


for command in (Domains, Vcpus, Stage2, Log):
    command()
print("xenarm: xenarm-domains, xenarm-vcpus, xenarm-stage2 DOMAIN ADDRESS, xenarm-log; 'help xenarm-log' and so on say more")
