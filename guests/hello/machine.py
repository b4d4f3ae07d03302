"""Shows the guest's machine as its device tree and its registers tell it."""

from collections.abc import Iterator

from freestanding import Bits, Struct, View, bits, fn, table, u8, u32, u64, zeroed
from guests.runtime.console import CONSOLE, printk, say
from guests.runtime.cpu import counter
from guests.runtime.gic import GIC
from guests.runtime.interrupts import INTERRUPTS
from guests.runtime.machine import FDT, MACHINE, memory_banks
from guests.runtime.psci import psci_version
from guests.runtime.timer import TICKS_PER_SECOND, TIMER, timer_ticks
from xenarm.arm.instructions import wait_for_interrupt
from guests.runtime.registers import read_cntfrq_el0, read_midr_el1, read_mpidr_el1
from xenarm.devicetree.reader import NO_NODE, ROOT, Node, Trail, fdt_name, fdt_next, fdt_trace
from xenarm.devicetree.values import fdt_find, fdt_string

__all__ = ["show_chosen", "show_cpu", "show_devices", "show_interrupts", "show_memory", "show_timer", "show_tree"]

MIB = 1024 * 1024
SHOWN_TICKS = 3
ARM_LIMITED = 0x41
AT_SIGN = 0x40


class Midr(Bits, type=u64):
    """MIDR_EL1 (Arm ARM D19.2.85)."""

    IMPLEMENTER: u32 = bits(31, 24)
    VARIANT: u32 = bits(23, 20)
    PART: u32 = bits(15, 4)
    REVISION: u32 = bits(3, 0)


class Part(Struct, frozen=True):
    number: u32
    name: View[u8]


# Part numbers from the technical reference manuals of Arm's cores.
PARTS = table(
    Part,
    [
        Part(number=0xC07, name=b"Cortex-A7"),
        Part(number=0xC0F, name=b"Cortex-A15"),
        Part(number=0xD03, name=b"Cortex-A53"),
        Part(number=0xD04, name=b"Cortex-A35"),
        Part(number=0xD05, name=b"Cortex-A55"),
        Part(number=0xD07, name=b"Cortex-A57"),
        Part(number=0xD08, name=b"Cortex-A72"),
        Part(number=0xD0B, name=b"Cortex-A76"),
        Part(number=0xD0C, name=b"Neoverse N1"),
    ],
)


@fn
def part_name(midr: Midr) -> View[u8]:
    if midr.IMPLEMENTER == ARM_LIMITED:
        for part in PARTS:
            if part.number == midr.PART:
                return part.name
    return b"CPU"


@fn
def text_of(path: View[u8], name: View[u8]) -> View[u8]:
    """A string property, or "-"."""
    node = fdt_find(FDT, path) if len(path) > 1 else ROOT
    if node == NO_NODE:
        return b"-"
    sound, text = fdt_string(FDT, node, name)
    return text if sound else b"-"


@fn
def show_chosen() -> None:
    printk(f"machine   {text_of(b'/', b'compatible')}, {text_of(b'/', b'model')}")
    printk(f"chosen    stdout-path {text_of(b'/chosen', b'stdout-path')}, bootargs '{text_of(b'/chosen', b'bootargs')}'")


@fn
def show_cpu() -> None:
    midr = Midr.from_raw(read_midr_el1())
    version = psci_version()
    printk(
        f"cpus      {MACHINE.cpus:d}, this is {part_name(midr)} r{midr.VARIANT:d}p{midr.REVISION:d}, "
        f"MPIDR {read_mpidr_el1():#x}, PSCI {version >> 16:d}.{version & 0xFFFF:d}"
    )


@fn
def show_memory() -> None:
    for bank in memory_banks():
        printk(f"memory    {bank.size // MIB:d} MiB at {bank.base:#x}")
    printk(f"          this guest at {MACHINE.image:#x}, its device tree at {MACHINE.tree:#x}, {u64(len(FDT.blob)):d} bytes")


@fn
def show_devices() -> None:
    if GIC.gicd != 0 and GIC.v3:
        printk(f"gic       GICv3, distributor at {GIC.gicd:#x}, redistributors at {GIC.gicr:#x}")
    elif GIC.gicd != 0:
        printk(f"gic       distributor at {GIC.gicd:#x}, CPU interface at {GIC.gicc:#x}")
    sound, kind = fdt_string(FDT, CONSOLE.node, b"compatible")
    if sound:
        printk(f"console   {kind} at {CONSOLE.base:#x}, interrupt {CONSOLE.intid:d}")


@fn
def depth_of(node: Node, trail: Trail) -> u32:
    return trail.depth if fdt_trace(FDT, node, trail) else u32(0)


@fn
def below_root() -> Iterator[Node]:
    node = fdt_next(FDT, ROOT)
    while node != NO_NODE:
        yield node
        node = fdt_next(FDT, node)


@fn
def stem(node: Node) -> View[u8]:
    """A node's name without its unit address."""
    name = fdt_name(FDT, node)
    return name[: name.find(AT_SIGN)]


@fn
def show_node(node: Node, depth: u32) -> None:
    say(f"          ")
    for _ in range(depth):
        say(f"  ")
    sound, kind = fdt_string(FDT, node, b"compatible")
    if sound:
        printk(f"{fdt_name(FDT, node)}  ({kind})")
    else:
        printk(f"{fdt_name(FDT, node)}")


@fn
def show_tree() -> None:
    """Every node with the first of its compatible strings; of a run of like devices the first, and how many follow."""
    trail = zeroed(Trail)
    shown = ROOT
    shown_depth = u32(0)
    alike = u32(0)
    printk(f"tree      /")
    for node in below_root():
        depth = depth_of(node, trail)
        if depth == shown_depth and stem(node).equals(stem(shown)):
            alike += 1
        else:
            show_alike(alike)
            show_node(node, depth)
            alike = 0
        shown = node
        shown_depth = depth
    show_alike(alike)


@fn
def show_alike(count: u32) -> None:
    if count > 0:
        printk(f"            and {count:d} more like it")


@fn
def show_timer() -> None:
    """Wait for a few ticks, asleep in between."""
    if TIMER.intid == 0:
        printk(f"timer     none")
        return
    hz = read_cntfrq_el0()
    printk(f"timer     {hz:d} Hz, interrupt {TIMER.intid:d}, {u32(TICKS_PER_SECOND):d} ticks a second; up {counter() // hz:d} s")
    seen = timer_ticks()
    for _ in range(SHOWN_TICKS):
        while timer_ticks() == seen:
            wait_for_interrupt()
        seen = timer_ticks()
        printk(f"          tick {seen:d}")


@fn
def show_interrupts() -> None:
    for intid, count in enumerate(INTERRUPTS.count):
        if count != 0:
            kind: View[u8] = b"software" if intid < 16 else b"private" if intid < 32 else b"shared"
            printk(f"interrupt {u64(intid):4d}  {count:8d}  {kind}")
    printk(f"spurious        {INTERRUPTS.spurious:8d}")
