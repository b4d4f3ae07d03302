"""A guest's fault in one line: who, where, what it touched, whose that is on this machine, and what would grant it."""

from freestanding import Slice, Struct, View, array, ctz, fn, place, u8, u32, u64, usize, zeroed
from xenarm.abi.layout import GUEST_PL011_SIZE, GUEST_RAM0_BASE
from xenarm.config import CONFIG
from xenarm.core.domain import Domain, domain_name
from xenarm.core.log import WARNING, guest_message_allowed, log_warning
from xenarm.core.result import Result
from xenarm.devicetree.reader import NO_NODE, ROOT, Fdt, Node, fdt_nodes, fdt_parent
from xenarm.devicetree.values import fdt_path, fdt_reg

__all__ = ["HOST_TREE", "Fault", "fault_report", "nearest_node"]

MOST_REG_ENTRIES = 8  # of one node
PATH_SIZE = 96
DIGITS: View[u8] = b"1248"  # of a width, by its logarithm

HOST_TREE = place(zeroed(Fdt), section=".bss.0tree")
"""Not cleared at boot, but for `count`, which is 0 until there is a sound tree; what it has no nodes for is free memory after it."""


class Fault(Struct, frozen=True):
    """What a vCPU did. `access` is a verb; `width` 0 when the syndrome does not tell; `refused` by an emulated device of its domain."""

    vcpu: u32
    pc: u64
    address: u64
    width: u32
    access: View[u8]
    consequence: View[u8]
    refused: bool = False


@fn
def distance(base: u64, size: u64, address: u64) -> u64:
    if address < base:
        return base - address
    return u64(0) if address - base < size else address - base - size + 1


@fn
def nearest_node(fdt: Fdt, address: u64) -> tuple[Node, u64]:
    """The node of a device whose registers are nearest to a machine address, and how far off: (NO_NODE, ...) without any."""
    best = NO_NODE
    best_distance = ~u64(0)
    for node in fdt_nodes(fdt):
        if node != ROOT and not is_cpu(fdt, node):
            for i in range(u32(MOST_REG_ENTRIES)):
                place = fdt_reg(fdt, node, i)
                if place.result != Result.OK:
                    break
                away = distance(place.base, place.size, address)
                if place.size > 0 and away < best_distance:
                    best = node
                    best_distance = away
    return best, best_distance


@fn
def is_cpu(fdt: Fdt, node: Node) -> bool:
    """`reg` of a CPU, or of a boot module, is no device's."""
    path = array(u8, 16)
    size = fdt_path(fdt, fdt_parent(fdt, node), path)
    return path[: min(size, usize(5))].equals(b"/cpus") or path[: min(size, usize(7))].equals(b"/chosen")


@fn
def remedy(d: Domain, f: Fault, away: u64) -> View[u8]:
    """What would let the guest do that."""
    if f.refused:
        return b"its device has no such register, or not of that size"
    if CONFIG.VPL011 and f.address >= d.layout.uart and f.address - d.layout.uart < GUEST_PL011_SIZE:
        return b"property vpl011 in the domain's node would give it a serial port there"
    if f.address >= u64(GUEST_RAM0_BASE):
        return b"more memory in the domain's node would put RAM there"
    if away == 0:
        return b"it has no device there, and passing devices through is not supported yet"
    return b"its device tree shows no device there"


@fn
def size_text(width: u32) -> View[u8]:
    return b"some" if width == 0 else DIGITS[ctz(width) : ctz(width) + 1]


@fn
def describe(address: u64, away: u64, node: Node, out: Slice[u8]) -> usize:
    """The nearest node's path, the root's where none is near; the length of it."""
    if node == NO_NODE or away > 0xFFFF_FFFF:
        node = ROOT
    return fdt_path(HOST_TREE, node, out)


@fn
def fault_report(d: Domain, f: Fault) -> None:
    """Say it, as often as the domain may make us speak."""
    if CONFIG.LOG_LEVEL >= WARNING and guest_message_allowed(d.id):
        report(d, f)


@fn
def report(d: Domain, f: Fault) -> None:
    node, away = nearest_node(HOST_TREE, f.address)
    path = array(u8, PATH_SIZE)
    size = describe(f.address, away, node, path)
    where: View[u8] = b"in" if away == 0 else b"nearest to"
    log_warning(
        f"domain {domain_name(d)} vcpu {f.vcpu} pc {f.pc:#x}: {f.access} of {size_text(f.width)} bytes at {f.address:#x}, {where} "
        f"{path[:size]} of the machine: {f.consequence}; {remedy(d, f, away)}"
    )
