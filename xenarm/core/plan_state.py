"""What a domain is to be made of, and the one line that says why it is not made."""

from freestanding import Array, Struct, View, array, fn, u8, u32, u64, zeroed
from xenarm.abi.affinity import Affinities
from xenarm.core.domain import EndAction, GuestLayout
from xenarm.core.log import log_error
from xenarm.core.memory import Claim, claim_text
from xenarm.devicetree.reader import Fdt, Node, fdt_name
from xenarm.devicetree.values import fdt_path

__all__ = ["Module", "Plan", "node_path", "refuse", "refuse_number", "refuse_overlap", "refuse_two", "short_name"]

PATH_SIZE = 128


class Module(Struct):
    """A boot module of a domain; `size` 0 when there is none."""

    node: Node
    base: u64
    size: u64


class Plan(Struct):
    """A domain that can be built. Addresses `..._at` are guest-physical."""

    node: Node
    vcpus: u32
    special: bool  # its node has properties xen,... or xenarm,...: where it has none, nobody looks for each of them
    gic_v3: bool  # it is to see a GICv3, else a GICv2
    memory: u64  # bytes, whole pages
    static: bool  # it is xen,static-mem
    direct: bool  # and lies in the guest where it lies in the machine
    layout: GuestLayout
    affinities: Affinities
    table_pages: u64  # of the pool for stage 2; 0: as many as it takes
    vpl011: bool
    primecell: bool
    kernel: Module
    ramdisk: Module
    text_offset: u64  # of the kernel above a 2 MiB boundary
    kernel_room: u64  # with its bss
    aarch32: bool  # it is a 32-bit one, on a 64-bit machine
    entry: u64
    tree_at: u64
    ramdisk_at: u64
    bootargs: View[u8]
    on_crash: EndAction
    on_reboot: EndAction
    events: bool  # it has event channels


class Paths(Struct):
    """Room for the two paths of a message. Only the booting CPU plans domains."""

    first: Array[u8] = array(u8, PATH_SIZE)
    second: Array[u8] = array(u8, PATH_SIZE)


PATHS = zeroed(Paths)


@fn
def node_path(fdt: Fdt, node: Node) -> View[u8]:
    """A node's path, good until the next call."""
    return PATHS.first[: fdt_path(fdt, node, PATHS.first)]


@fn
def short_name(fdt: Fdt, node: Node) -> View[u8]:
    """A node's name without its unit address: what the domain is called."""
    name = fdt_name(fdt, node)
    return name[: name.find(0x40)]


@fn
def refuse(fdt: Fdt, plan: Plan, node: Node, what: View[u8], remedy: View[u8]) -> bool:
    """The one line about a domain that does not start; always False. `what` begins with the property's name."""
    log_error(f"{short_name(fdt, plan.node)} does not start: {node_path(fdt, node)}: {what}; {remedy}")
    return False


@fn
def refuse_number(fdt: Fdt, plan: Plan, what: View[u8], asked: u64, there: u64, unit: View[u8], remedy: View[u8]) -> bool:
    """More is asked of the machine than it has."""
    log_error(
        f"{short_name(fdt, plan.node)} does not start: {node_path(fdt, plan.node)}: {what} asks for {asked:d}{unit}, "
        f"{there:d}{unit} are left; {remedy}"
    )
    return False


@fn
def refuse_overlap(fdt: Fdt, plan: Plan, node: Node, what: View[u8], other: Claim, remedy: View[u8]) -> bool:
    """Memory that the domain names is somebody else's."""
    size = claim_text(fdt, other, PATHS.second)
    log_error(
        f"{short_name(fdt, plan.node)} does not start: {node_path(fdt, node)}: {what} overlaps {PATHS.second[:size]} "
        f"({other.base:#x}, {other.size:#x}); {remedy}"
    )
    return False


@fn
def refuse_two(fdt: Fdt, plan: Plan, node: Node, what: View[u8], other: Node, remedy: View[u8]) -> bool:
    """Two nodes do not go together; `node` is the domain's."""
    size = fdt_path(fdt, other, PATHS.second)
    log_error(f"{short_name(fdt, plan.node)} does not start: {node_path(fdt, node)}: {what} {PATHS.second[:size]}; {remedy}")
    return False
