"""Measures the hypervisor against Debian's Xen on emulated machines of both architectures, and prints the ratios.

Under `-icount shift=0` QEMU executes one instruction per nanosecond of guest time, so a guest that reads
its counter counts instructions, and the counts repeat exactly. Seconds are printed and judge nothing.
"""

from __future__ import annotations

import argparse
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from rich import box
from rich.console import Console as Terminal
from rich.table import Table

from boards import board as board_named
from freestanding.elf import Image
from xenarm.tools import build, doctor
from xenarm.tools.errors import ToolError, run_tool
from xenarm.tools.hypervisor import SWITCH_INPUT, Hypervisor, debian_xen, ours
from xenarm.tools.kconfig import changed
from xenarm.tools.layout import compose
from xenarm.tools.machine import KIB, MIB, Architecture, DomainSpec, ImageHeader, Machine, ModuleKind, ModuleSpec
from xenarm.tools.paths import DEFAULT_BOARD, board_dir
from xenarm.tools.session import Session, booted

ARM32_BOARD = "qemu-virt-arm32"
GUEST_RAM = 0x4000_0000  # of every domain, by Xen's public guest memory map
GUEST_MEMORY_KIB = 64 * KIB
MACHINE_MIB = 1024
BOOT_SECONDS = 120
BOARDS = (DEFAULT_BOARD, ARM32_BOARD)  # measured where none is named
TIMES_LESS = 3  # than Xen
IMAGE_LIMIT = 160 * KIB  # of the one made for one guest
ARM32_IMAGE_LIMIT = 128 * KIB
MEMORY_LIMIT_KIB = 200
BUILD_SECONDS = 15

# What the guest prints as `bench <name> <instructions>`, and what each name means. Its last line is `bench end`.
OPERATIONS = {
    "psci_version": "PSCI_VERSION call",
    "gicd_typer": "GICD_TYPER read",
    "gicd_isenabler_read": "GICD_ISENABLER1 read",
    "gicd_isenabler_write": "GICD_ISENABLER1 write",
    "sgi_self": "SGI to self until its handler",
    "timer": "virtual timer until its handler",
    "timer_wfi": "the same from WFI",
}


ONE_GUEST = {
    **dict.fromkeys(("MAX_CPUS", "MAX_DOMAINS", "MAX_DOMAIN_CPUS", "MAX_VCPUS"), "1"),
    **dict.fromkeys(("GICV3", "UART_NS16550", "UART_CADENCE", "UART_EXYNOS4210", "UART_SCIF", "STATIC_SHM", "EVENT_CHANNELS", "TRACE"), "n"),
    **dict.fromkeys(("SCHED_RR", "SCHED_CREDIT2", "SCHED_RTDS", "SCHED_ARINC653"), "n"),
    **dict.fromkeys(("LOG_RING_SIZE", "SERIAL_RING_SIZE"), "1024"),
    **{"MAX_MODULES": "4", "VGIC_INTIDS": "64"},
}
"""How the smallest sensible configuration for one guest differs from the default."""

SHARING = {
    "yield": "yield to another vCPU on a CPU",
    "ping_pong": "SGI/WFI ping-pong on one CPU",
    "cpu_on": "CPU_ON until first instruction",
}
"""The same of a guest with two vCPUs on one CPU."""

REMOTE = {
    "sgi_spinning": "SGI to one spinning elsewhere",
    "sgi_asleep": "SGI to one in WFI elsewhere",
}
"""The same of a guest with two vCPUs on two CPUs, counted on both; the name's end is what the second does (guests/bench).

Not measured on Xen: QEMU 7.2 runs all CPUs in one thread when it counts, and Xen stops there after bringing up its second CPU.
"""

REMOTE_ELSEWHERE = {"sgi_spinning": 1_767, "sgi_asleep": 4_582}
"""What Xen 4.17.5 took for these on a Cortex-A57 with a GICv2, both CPUs' instructions, in another measurement: to compare with; no target comes of it."""

LIMITS = {
    "psci_version": 45,
    "gicd_typer": 60,
    "gicd_isenabler_read": 60,
    "gicd_isenabler_write": 60,
    "sgi_self": 100,
    "timer": 80,
    "timer_wfi": 128,
    "yield": 280,
    "ping_pong": 950,
    "cpu_on": 1_200,
    "sgi_spinning": 300,
    "sgi_asleep": 350,
    "silent": 70_000,  # from reset to the guest's first, nothing said
}
"""What each operation is to take at most with a GICv2 on qemu-virt-arm64, whatever Xen takes."""

LIMITS_V3 = {
    **{name: LIMITS[name] for name in ("psci_version", "gicd_typer", "gicd_isenabler_read", "gicd_isenabler_write", "timer", "timer_wfi")},
    "sgi_self": 110,
    "silent": 80_000,
}
"""The same with a GICv3."""


def limits(board: str, gic: int) -> dict[str, int]:
    """The absolute targets; only the default board has them."""
    if board != DEFAULT_BOARD:
        return {}
    return LIMITS_V3 if gic == 3 else LIMITS


@dataclass(frozen=True)
class Row:
    """One figure of both hypervisors, where less is better."""

    what: str
    ours: int | None
    xen: int | None
    limit: int | None = None  # an absolute target beside the third of Xen's
    elsewhere: int | None = None  # Xen's, of another measurement; it judges nothing


@dataclass(frozen=True)
class Figures:
    """What one boot of the benchmark guest tells."""

    first_instruction: int
    operations: dict[str, int]


def machine(board: str, hypervisor: Hypervisor, kernel: Path, count: bool, vcpus: int = 1, gic: int = 2) -> Machine:
    """The board with one CPU and one domain of 64 MiB."""
    domain = DomainSpec("bench", GUEST_MEMORY_KIB, (ModuleSpec(ModuleKind.KERNEL, kernel),), vcpus)
    plain = board_named(board).with_gic(gic)
    return Machine(plain, hypervisor.image, (domain,), 1, MACHINE_MIB, hypervisor.bootargs, count_instructions=count)


def guest_entry(board: str, hypervisor: Hypervisor, kernel: Path) -> int:
    """The address of the guest's first instruction. Xen loads a zImage as high as can be, and ours has a table that asks for 2 MiB."""
    if board_named(board).architecture is Architecture.ARM32:
        highest = (GUEST_MEMORY_KIB * KIB - kernel.stat().st_size) & -2 * MIB
        return GUEST_RAM + (2 * MIB if hypervisor.name == "xenarm" else highest)
    header = ImageHeader.read(kernel)
    if header is None:
        raise ToolError(f"{kernel.name} is no arm64 Image")
    return GUEST_RAM + header.text_offset


def instructions_to_guest(session: Session, entry: int, hypervisor_entry: int) -> int:
    """Run from reset to the guest's first instruction; how many that took."""
    with session.qemu.gdb(BOOT_SECONDS) as stub:
        # QEMU's own boot code may lie at the guest's address, so that comes first.
        for address in (hypervisor_entry, entry):
            stub.break_at(address)
            stub.resume_until_stop()
            stub.clear(address)
        if not re.search(r"EL1|svc32", session.qemu.monitor("info registers")):
            raise ToolError(f"what runs at {entry:#x} is not the guest")
        return session.qemu.instructions()


def read_operations(session: Session) -> dict[str, int]:
    """The guest's own figures, up to its last line."""
    session.console.expect(r"\bbench end\b", BOOT_SECONDS)
    found = re.findall(r"\bbench (\w+) (\d+)", session.console.text())
    return {name: int(count) for name, count in found}


def with_bootargs(hypervisor: Hypervisor, more: str) -> Hypervisor:
    """The same hypervisor, told something more at boot."""
    return replace(hypervisor, bootargs=f"{hypervisor.bootargs} {more}".strip())


def measure(board: str, hypervisor: Hypervisor, kernel: Path, gic: int = 2) -> Figures:
    """Boot the benchmark guest and take its figures. Clearing its memory is measured by itself."""
    layout = compose(machine(board, with_bootargs(hypervisor, "bootscrub=0"), kernel, count=True, gic=gic))
    with booted(layout, f"bench-{hypervisor.name}-v{gic}", paused=True) as session:
        first = instructions_to_guest(session, guest_entry(board, hypervisor, kernel), layout.hypervisor.base)
        session.qemu.resume()
        return Figures(first, read_operations(session))


def measure_scrubbed(board: str, hypervisor: Hypervisor, kernel: Path) -> int:
    """Instructions to the guest's first, with memory cleared as it is by default."""
    layout = compose(machine(board, hypervisor, kernel, count=True))
    with booted(layout, f"bench-scrub-{hypervisor.name}", paused=True) as session:
        return instructions_to_guest(session, guest_entry(board, hypervisor, kernel), layout.hypervisor.base)


def measure_silent(board: str, hypervisor: Hypervisor, kernel: Path, gic: int = 2) -> int:
    """Instructions to the guest's first, with nothing said on the way and no memory cleared."""
    silent = with_bootargs(hypervisor, "loglvl=error bootscrub=0")
    layout = compose(machine(board, silent, kernel, count=True, gic=gic))
    with booted(layout, f"bench-silent-{hypervisor.name}-v{gic}", paused=True) as session:
        return instructions_to_guest(session, guest_entry(board, hypervisor, kernel), layout.hypervisor.base)


def measure_sharing(board: str, hypervisor: Hypervisor, kernel: Path, gic: int = 2) -> dict[str, int]:
    """The figures of two vCPUs on one CPU, under round robin or Xen's default scheduler."""
    layout = compose(machine(board, hypervisor, kernel, count=True, vcpus=2, gic=gic))
    with booted(layout, f"bench-sharing-{hypervisor.name}-v{gic}") as session:
        return read_operations(session)


def measure_remote(board: str, hypervisor: Hypervisor, kernel: Path, gic: int = 2) -> dict[str, int]:
    """The figures of two vCPUs on two CPUs, of which one answers the other's interrupts."""
    figures: dict[str, int] = {}
    for name in REMOTE:
        guest = ModuleSpec(ModuleKind.KERNEL, kernel, bootargs=f"partner={name.removeprefix('sgi_')}")
        domain = DomainSpec("bench", GUEST_MEMORY_KIB, (guest,), 2)
        both = replace(machine(board, hypervisor, kernel, count=True, gic=gic), domains=(domain,), cpus=2)
        with booted(compose(both), f"bench-{name}-{hypervisor.name}-v{gic}") as session:
            figures |= read_operations(session)
    return figures


def idle_guest(directory: Path, architecture: Architecture) -> Path:
    """A guest that does nothing: `wfi; b .-4` behind an Image header or a zImage's."""
    path = directory / "idle.Image"
    path.parent.mkdir(parents=True, exist_ok=True)
    if architecture is Architecture.ARM32:
        words = (*[0xE1A00000] * 8, 0xEA000006, 0x016F2818, 0, 72, 0x04030201, *[0] * 3, 0xE320F003, 0xEAFFFFFD)
        path.write_bytes(struct.pack("<18I", *words))
        return path
    header = struct.pack("<IIQQQQQQ4sI", 0x14000010, 0, 0, 4096, 0xA, 0, 0, 0, b"ARMd", 0)
    path.write_bytes(header + struct.pack("<2I", 0xD503207F, 0x17FFFFFF))
    return path


def xen_memory_kib(session: Session) -> int:
    """What Xen has taken, from its memory report: all that is neither free nor the domain's."""
    console = session.console
    console.expect("init memory", BOOT_SECONDS)
    for _ in range(3):  # the domains come first, then Xen itself
        console.send(SWITCH_INPUT)
        if console.expect(r"Serial input to (\w+)", 10)[1] == b"Xen":
            break
    console.send("m")
    free = int(console.expect(r"Dom heap: (\d+)kB free", 10)[1])
    return MACHINE_MIB * KIB - free - GUEST_MEMORY_KIB


def our_memory_kib(session: Session) -> int | None:
    """What our hypervisor says that it keeps, once its domains are made; None if it does not say."""
    console = session.console
    console.expect(r"\] start\b", BOOT_SECONDS)
    said = re.search(r"hypervisor uses (\d+) KiB", console.text())
    return int(said[1]) if said else None


def memory_used(board: str, hypervisor: Hypervisor, read: Callable[[Session], int | None]) -> int | None:
    """The memory that a hypervisor uses with one idle guest."""
    layout = compose(machine(board, hypervisor, idle_guest(board_dir(board) / "guests", board_named(board).architecture), count=False))
    with booted(layout, f"bench-memory-{hypervisor.name}") as session:
        return read(session)


def made_for_one_guest(board: str, hypervisor: Hypervisor) -> Hypervisor:
    """The hypervisor for one guest on one CPU of this board, without what only other machines or several guests need."""
    path = board_dir(board) / "one-guest" / "config"
    changed(board, ONE_GUEST, path)
    job = build.Job(build.HYPERVISOR, path.with_name("xenarm"))
    build.compile_job(board, job, path)
    return replace(hypervisor, name="one-guest", image=job.output)


def one_guest_rows(board: str, hypervisor: Hypervisor) -> list[Row]:
    """Size and memory again, of an image that has only what one guest needs."""
    small = made_for_one_guest(board, hypervisor)
    return [
        Row("image for one guest, bytes", small.image.stat().st_size, None, limit=IMAGE_LIMIT),
        Row("memory of that one, KiB", memory_used(board, small, our_memory_kib), None, limit=MEMORY_LIMIT_KIB),
    ]


def unpacked_rows(hypervisor: Hypervisor) -> list[Row]:
    """The size of a compressed image without that; nothing of one that is not."""
    plain = len(Image(hypervisor.image.with_name(hypervisor.image.name + ".elf").read_bytes()).flat())
    return [Row("the same unpacked, bytes", plain, None)] if plain != hypervisor.image.stat().st_size else []


def measure_aarch32(board: str, hypervisor: Hypervisor, kernel: Path, gic: int = 2) -> dict[str, int]:
    """The counts of the benchmark guest in AArch32 on a 64-bit hypervisor."""
    with booted(compose(machine(board, hypervisor, kernel, count=True, gic=gic)), f"bench-aarch32-{hypervisor.name}-v{gic}") as session:
        return read_operations(session)


def aarch32_kernel() -> Path:
    """The guest as the 32-bit board's."""
    job = build.guest_job(ARM32_BOARD, "bench")
    build.compile_job(ARM32_BOARD, job)
    return job.output


def aarch32_rows(board: str, mine: Hypervisor, xen: Hypervisor, say: Callable[[str], None]) -> list[Row]:
    say("counting instructions of a 32-bit guest")
    kernel = aarch32_kernel()
    figures, xen_figures = (measure_aarch32(board, hypervisor, kernel) for hypervisor in (mine, xen))
    return [Row(f"32-bit: {what}", figures.get(name), xen_figures.get(name)) for name, what in OPERATIONS.items()]


def counts(board: str, mine: Hypervisor, xen: Hypervisor, kernel: Path, gic: int, say: Callable[[str], None]) -> list[Row]:
    """What both have cost in instructions, with one version of the interrupt controller; one machine at a time."""
    say(f"counting instructions on xenarm, GICv{gic}")
    our_figures = measure(board, mine, kernel, gic)
    say(f"counting instructions on Debian's Xen, GICv{gic}")
    xen_figures = measure(board, xen, kernel, gic)
    say("counting instructions of two vCPUs on one CPU")
    our_sharing = measure_sharing(board, with_bootargs(mine, "sched=rr"), kernel, gic)
    xen_sharing = measure_sharing(board, xen, kernel, gic)
    say("counting instructions of two vCPUs on two CPUs")
    our_remote = measure_remote(board, mine, kernel, gic)
    say("counting instructions of a boot without messages")
    our_silent, xen_silent = measure_silent(board, mine, kernel, gic), measure_silent(board, xen, kernel, gic)
    limit = limits(board, gic)
    elsewhere = REMOTE_ELSEWHERE if board == DEFAULT_BOARD and gic == 2 else {}
    return [
        *(Row(what, our_figures.operations.get(name), xen_figures.operations.get(name), limit.get(name)) for name, what in OPERATIONS.items()),
        *(Row(what, our_sharing.get(name), xen_sharing.get(name), limit.get(name)) for name, what in SHARING.items()),
        *(Row(what, our_remote.get(name), None, limit.get(name), elsewhere.get(name)) for name, what in REMOTE.items()),
        Row("reset to the guest's first", our_figures.first_instruction, xen_figures.first_instruction),
        Row("the same, nothing said", our_silent, xen_silent, limit.get("silent")),
    ]


def rows(board: str, mine: Hypervisor, xen: Hypervisor, kernel: Path, say: Callable[[str], None]) -> list[Row]:
    """Measure everything, with the board's own interrupt controller."""
    target = board == DEFAULT_BOARD  # most absolute targets are this board's
    image_limit = ARM32_IMAGE_LIMIT if board_named(board).architecture is Architecture.ARM32 else None
    table = counts(board, mine, xen, kernel, 2, say)
    say("comparing memory")
    return [
        *table,
        *(aarch32_rows(board, mine, xen, say) if target else []),
        Row("the same, memory cleared", measure_scrubbed(board, mine, kernel), measure_scrubbed(board, xen, kernel)),
        Row("image, bytes", mine.image.stat().st_size, xen.image.stat().st_size, limit=image_limit),
        *unpacked_rows(mine),
        Row(
            "memory with one guest, KiB",
            memory_used(board, mine, our_memory_kib),
            memory_used(board, xen, xen_memory_kib),
            limit=MEMORY_LIMIT_KIB if target else None,
        ),
        *(one_guest_rows(board, mine) if target else []),
    ]


def target_of(row: Row) -> int | None:
    """What a figure may be at most: its absolute target, and a third of Xen's where that is known."""
    third = None if row.xen is None else row.xen // TIMES_LESS
    return min((most for most in (third, row.limit) if most is not None), default=None)


def verdict(row: Row) -> str:
    """Whether a figure is where it should be."""
    most = target_of(row)
    if row.ours is None:
        return "not measured"
    if most is None:
        return "no target"
    return "reached" if row.ours <= most else "MISSED"


def _number(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def cells(row: Row) -> tuple[str, str, str, str, str, str]:
    """A line of the table. What Xen took in another measurement has a star, and so has the ratio to it."""
    xen, star = (row.elsewhere, "*") if row.xen is None and row.elsewhere else (row.xen, "")
    ratio = f"{row.ours / xen:.3f}{star}" if row.ours is not None and xen else "-"
    return row.what, _number(row.ours), _number(xen) + star, ratio, _number(target_of(row)), verdict(row)


def show(terminal: Terminal, measured: list[Row], title: str) -> None:
    """Print a table, narrow enough for a plain terminal."""
    table = Table("", "xenarm", "Xen 4.17", "ratio", "at most", "", title=title, box=box.SIMPLE_HEAD, padding=0, show_edge=False)
    for column in (table.columns[0], table.columns[5]):
        column.no_wrap = True
    for column in table.columns[1:5]:
        column.justify = "right"
    for row in measured:
        table.add_row(*cells(row))
    terminal.print(table)
    if any(row.elsewhere for row in measured):
        terminal.print("* not of this run: taken from another measurement of Xen 4.17.5. Its second CPU does not run where QEMU 7.2 counts.")


def explain(terminal: Terminal, build_seconds: float) -> None:
    """What the tables of a board mean."""
    terminal.print("Counts are instructions where no unit is given. At most: a third of Xen's, or the absolute target if that is less.")
    terminal.print(f"The image was built in {build_seconds:.1f} s; target {BUILD_SECONDS} s.")


def compare(board: str, built: bool, terminal: Terminal) -> None:
    """Build for a board, unless that has been done; measure, and print its tables."""
    seconds = 0.0 if built else build.build(board, ("bench",))
    with terminal.status("") as status:
        kernel = build.guest_job(board, "bench").output
        both = (ours(board), debian_xen("timer_slop=0", board))
        measured = rows(board, *both, kernel, lambda text: status.update(f"{board}: {text}"))
        has_v3 = board_named(board).has_gic(3)
        measured_v3 = counts(board, *both, kernel, 3, lambda text: status.update(f"{board}: {text}")) if has_v3 else []
    show(terminal, measured, f"{board}: xenarm against Debian's Xen, GICv2")
    if measured_v3:
        show(terminal, measured_v3, f"{board}: the same with GICv3")
    explain(terminal, seconds)


def main() -> None:
    """Compare on the board that is named, or on one of each architecture."""
    parser = argparse.ArgumentParser(prog="bench", description="measure against Debian's Xen")
    parser.add_argument("--board", help=f"this one alone; otherwise {' and '.join(BOARDS)}")
    parser.add_argument("--no-build", action="store_true", help="take the images as they are")
    arguments = parser.parse_args()
    doctor.provide("run")
    for board in (arguments.board,) if arguments.board else BOARDS:
        compare(board, arguments.no_build, Terminal())


if __name__ == "__main__":
    run_tool(main)
