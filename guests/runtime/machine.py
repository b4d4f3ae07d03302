"""What the guest finds out about its machine: the device tree, memory, CPUs."""

from collections.abc import Iterator

from freestanding import Array, Ptr, Struct, View, array, fn, linker_symbol, u8, u32, u64, usize, zeroed
from guests.runtime.link import MAX_CPUS
from xenarm.core.result import Result
from xenarm.devicetree.reader import NO_NODE, ROOT, Fdt, FdtError, Node, fdt_children, fdt_open, fdt_property, fdt_total_size
from xenarm.devicetree.values import Range, fdt_find, fdt_raw_reg, fdt_string

__all__ = ["FDT", "MACHINE", "Machine", "machine_init", "memory_banks", "secondary_entry"]

MAPS_MEMORY = True

LARGEST_TREE = 2 * 1024 * 1024
MOST_BANKS = 8
IMAGE_START = linker_symbol("__image_start")
SECONDARY_START = linker_symbol("secondary_start")


class Machine(Struct):
    """`image`: the physical address of the guest's own image."""

    image: u64
    tree: u64
    cpus: u32
    mpidr: Array[u64] = array(u64, MAX_CPUS)


FDT = zeroed(Fdt)
MACHINE = zeroed(Machine)


@fn
def machine_init(tree: u64, image: u64) -> FdtError:
    """Open the device tree that the loader left, and count the CPUs in it."""
    MACHINE.image = image
    MACHINE.tree = tree
    size = usize(fdt_total_size(Ptr[u8](usize(tree)).slice(8)))
    error = fdt_open(FDT, Ptr[u8](usize(tree)).slice(min(size, LARGEST_TREE)))
    if error == FdtError.NONE:
        find_cpus()
    return error


@fn
def is_device_type(node: Node, wanted: View[u8]) -> bool:
    sound, kind = fdt_string(FDT, node, b"device_type")
    return sound and kind.equals(wanted)


@fn
def find_cpus() -> None:
    """`reg` of a CPU is its MPIDR's affinity, in one cell or two."""
    cpus = fdt_find(FDT, b"/cpus")
    if cpus == NO_NODE:
        return
    for node in fdt_children(FDT, cpus):
        _, reg = fdt_property(FDT, node, b"reg")
        if is_device_type(node, b"cpu") and MACHINE.cpus < MAX_CPUS and (len(reg) == 4 or len(reg) == 8):
            MACHINE.mpidr[MACHINE.cpus] = u64(reg.load_be32(0)) if len(reg) == 4 else reg.load_be64(0)
            MACHINE.cpus += 1


@fn
def memory_banks() -> Iterator[Range]:
    """The runs of RAM that the /memory nodes state."""
    for node in fdt_children(FDT, ROOT):
        for bank in range(u32(MOST_BANKS)):
            found = fdt_raw_reg(FDT, ROOT, node, bank)
            if is_device_type(node, b"memory") and found.result == Result.OK:
                yield found


@fn
def secondary_entry() -> u64:
    """Where another CPU starts: a physical address."""
    return MACHINE.image + u64(SECONDARY_START - IMAGE_START)
