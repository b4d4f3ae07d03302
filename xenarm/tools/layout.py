"""Decides where things lie in memory when the hypervisor starts, and describes them in its device tree.

A board's own loader puts the image where its description says. QEMU places two things itself (hw/arm/boot.c): the image of `-kernel` at the base of RAM plus its
text_offset, or 2 MiB where that is less than a page, a zImage 64 KiB above the base; and the device tree at the 2 MiB boundary after
half of RAM or 128 MiB, whichever is less, or after the image if that is further up.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from xenarm.tools.dtb import Tree
from xenarm.tools.errors import ToolError
from xenarm.tools.machine import KIB, MIB, Architecture, Board, DomainSpec, ImageHeader, Machine, ModuleKind, ModuleSpec, Region, Value
from xenarm.tools.paths import BOARDS, shown

BOOT_STUB = 4 * KIB  # the few instructions with which QEMU enters the image
DTB_ROOM = 2 * MIB
FDT_MAGIC = b"\xd0\x0d\xfe\xed"  # that a blob begins with
ZIMAGE_OFFSET = 64 * KIB  # above the base of RAM: QEMU does not look at a zImage's header
ZIMAGE_ROOM = 2 * MIB  # the most that ours takes with its stacks
MODULE_ALIGNMENT = 2 * MIB  # so that a kernel can be mapped where it lies


@dataclass(frozen=True)
class PlacedModule:
    """A module and the address that it is loaded at."""

    domain: DomainSpec
    spec: ModuleSpec
    address: int

    @property
    def claim(self) -> tuple[int, int]:
        """The address and size that the device tree states."""
        return self.spec.claim or (self.address, self.spec.load_size())

    @property
    def region(self) -> Region:
        """What it occupies; a kernel also needs the room that its header asks for."""
        size = self.spec.load_size()
        if self.spec.kind is ModuleKind.KERNEL:
            header = ImageHeader.read(self.spec.path)
            size = max(size, header.image_size) if header and header.image_size < 64 * MIB else size
        return Region(f"module {self.spec.path.name} of domain {self.domain.name}", self.address, size)


@dataclass(frozen=True)
class Layout:
    """Everything placed, and the device tree that says so."""

    machine: Machine
    hypervisor: Region
    device_tree: Region
    modules: tuple[PlacedModule, ...]
    dtb: bytes
    exact_dtb: bool = False  # hand over these very bytes, past QEMU's own reading of them


def align_up(value: int, alignment: int) -> int:
    """The next multiple of a power of two."""
    return (value + alignment - 1) & -alignment


def hypervisor_region(machine: Machine) -> Region:
    """Where QEMU loads the image, or a board's own loader has to."""
    board = machine.board
    if board.architecture is Architecture.ARM32:
        return Region("the hypervisor", board.ram_base + ZIMAGE_OFFSET if board.qemu else board.hardware.load_address, ZIMAGE_ROOM)
    header = ImageHeader.read(machine.hypervisor)
    if header is None:
        raise ToolError(f"{machine.hypervisor} is no arm64 Image: build it with 'make board={board.name}'")
    size = max(machine.hypervisor.stat().st_size, header.image_size)
    if not board.qemu:
        return Region("the hypervisor", board.hardware.load_address, size)
    offset = header.text_offset if header.image_size else 0x80000
    if offset < BOOT_STUB:
        offset += 2 * MIB
    return Region("the hypervisor", board.ram_base + offset, size)


def dtb_region(machine: Machine, hypervisor: Region) -> Region:
    """Where QEMU puts the device tree; on a board, behind the image."""
    middle = machine.board.ram_base + min(machine.memory_mib * MIB // 2, 128 * MIB) if machine.board.qemu else 0
    return Region("the device tree", align_up(max(middle, hypervisor.end), 2 * MIB), DTB_ROOM)


def ram_of(board: Board, memory_mib: int, tree: Path | None = None) -> list[Region]:
    """The machine's RAM: what QEMU is told, or what a board's tree says."""
    if board.qemu:
        return [Region("RAM", board.ram_base, memory_mib * MIB)]
    source = tree or BOARDS / board.tree
    banks = [Region("RAM", base, size) for base, size in Tree(source_dtb(source)).memory()]
    if not any(bank.base <= board.hardware.load_address < bank.end for bank in banks):
        raise ToolError(f"{shown(source)} has no memory at {board.hardware.load_address:#x}, where the loader of {board.name} puts the image")
    return banks


def free_place(module: PlacedModule, taken: Iterable[Region]) -> PlacedModule:
    """The module at the first aligned address from its own that keeps off what is taken."""
    for region in sorted(taken, key=lambda region: region.base):
        if module.region.overlaps(region):
            module = replace(module, address=align_up(region.end, MODULE_ALIGNMENT))
    return module


def place(machine: Machine, above: int) -> tuple[PlacedModule, ...]:
    """Put the modules that have no place of their own one after the other, above an address."""
    placed: list[PlacedModule] = []
    for domain in machine.domains:
        for spec in domain.modules:
            if spec.address is None:
                module = free_place(PlacedModule(domain, spec, align_up(above, MODULE_ALIGNMENT)), machine.taken)
            else:
                module = PlacedModule(domain, spec, spec.address)
            placed.append(module)
            above = max(above, module.region.end)
    return tuple(placed)


def check_regions(regions: Iterable[Region], ram: Region) -> None:
    """Refuse anything outside RAM, and any two things in one place."""
    done: list[Region] = []
    for region in regions:
        if region.base < ram.base or region.end > ram.end:
            raise ToolError(f"{region} does not fit into {ram}: give the machine more memory (MEM=<MiB>)")
        for other in done:
            if region.overlaps(other):
                raise ToolError(f"{region} overlaps {other}")
        done.append(region)


def run(command: list[str], installs: str) -> subprocess.CompletedProcess[bytes]:
    """A tool's result, or what to install."""
    try:
        return subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, check=False)
    except FileNotFoundError as error:
        raise ToolError(f"{installs} is not installed: 'make doctor' says what to install") from error


def source_dtb(source: Path) -> bytes:
    """A device tree from its source, or as it is. Raises ToolError with dtc's first line."""
    try:
        data = source.read_bytes()
    except OSError as error:
        raise ToolError(f"{shown(source)} cannot be read ({error.strerror}): name a device tree, source or blob") from error
    if source.suffix == ".dtb" or data.startswith(FDT_MAGIC):
        return data
    result = run(["dtc", "-q", "-I", "dts", "-O", "dtb", str(source)], "dtc")
    if result.returncode:
        said = result.stderr.decode(errors="backslashreplace").strip().splitlines() or ["dtc refuses it"]
        raise ToolError(f"{shown(source)} is no device tree ({said[0].removeprefix('Error: ')}): correct it, or name another, source or blob")
    return result.stdout


def machine_dtb(machine: Machine) -> bytes:
    """The machine's tree: given, or the board's, or the one that QEMU makes."""
    board = machine.board
    if machine.tree or board.tree:
        return source_dtb(machine.tree or BOARDS / board.tree)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "board.dtb"
        kernel = path.with_name("kernel")  # some machines have PSCI only where they have something to start
        kernel.write_bytes(bytes(4 * KIB))
        command = [board.qemu, *board.machine_options(f"dumpdtb={path}")]
        command += ["-smp", str(board.smp or machine.cpus), "-m", str(machine.memory_mib), "-display", "none", "-nic", "none", "-kernel", str(kernel)]
        result = run(command, board.qemu)
        if not path.exists():
            raise ToolError(f"QEMU refuses this machine: {result.stderr.decode().strip()}")
        return path.read_bytes()


def _cells(value: int) -> tuple[int, int]:
    return value >> 32, value & 0xFFFF_FFFF


def set_properties(tree: Tree, path: str, properties: Mapping[str, Value]) -> None:
    """Set properties of a node, which is made if it is not there."""
    for name, value in properties.items():
        if isinstance(value, str):
            tree.set_strings(path, name, value)
        else:
            tree.set_words(path, name, *(value if isinstance(value, tuple) else (value,)))


def describe_domain(tree: Tree, domain: DomainSpec, modules: Iterable[PlacedModule]) -> None:
    """Write one domain's node, as Xen's docs/misc/arm/device-tree/booting.txt defines it."""
    path = f"/chosen/{domain.name}"
    tree.set_strings(path, "compatible", "xen,domain")
    tree.set_words(path, "#address-cells", 2)
    tree.set_words(path, "#size-cells", 2)
    tree.set_words(path, "memory", *_cells(domain.memory_kib))
    tree.set_words(path, "cpus", domain.cpus)
    if domain.vpl011:
        tree.set_flag(path, "vpl011")
    set_properties(tree, path, domain.properties)
    for number, properties in domain.vcpus.items():
        node = f"{path}/vcpu{number}"
        tree.set_strings(node, "compatible", "xen,vcpu")
        set_properties(tree, node, {"id": number, **properties})
    for name, properties in domain.nodes.items():
        set_properties(tree, f"{path}/{name}", properties)
    for module in modules:
        address, size = module.claim
        node = f"{path}/module@{address:x}"
        tree.set_strings(node, "compatible", module.spec.kind.value, "multiboot,module")
        tree.set_words(node, "reg", *_cells(address), *_cells(size))
        if module.spec.bootargs:
            tree.set_strings(node, "bootargs", module.spec.bootargs)


def describe(tree: Tree, machine: Machine, modules: Iterable[PlacedModule]) -> None:
    """Write what is ours into /chosen."""
    if machine.bootargs:
        tree.set_strings("/chosen", "xen,xen-bootargs", machine.bootargs)
    set_properties(tree, "/chosen", machine.chosen)
    for domain in machine.domains:
        describe_domain(tree, domain, [module for module in modules if module.domain is domain])


def has_tree_of_all(machine: Machine) -> bool:
    """Whether QEMU's machine may have fewer CPUs than its tree: `virt` makes the tree for those that there are."""
    return bool(machine.board.qemu and (machine.tree or machine.board.tree or machine.board.smp))


def compose(machine: Machine) -> Layout:
    """Place everything, check it, and write the device tree for it."""
    if machine.cpus < 1:
        raise ToolError(f"a guest needs at least 1 CPU, not {machine.cpus}")
    if machine.cpus > machine.board.max_cpus:
        raise ToolError(f"{machine.board.name} has at most {machine.board.max_cpus} CPUs, not {machine.cpus}")
    hypervisor = hypervisor_region(machine)
    dtb = dtb_region(machine, hypervisor)
    modules = place(machine, dtb.end)
    stub = [Region("QEMU's boot code", machine.board.ram_base, BOOT_STUB)] if machine.board.qemu else []
    ram = next(bank for bank in ram_of(machine.board, machine.memory_mib, machine.tree) if bank.base <= hypervisor.base < bank.end)
    check_regions([*stub, hypervisor, dtb, *machine.taken, *(module.region for module in modules)], ram)
    tree = Tree(machine_dtb(machine))
    for number in range(machine.cpus, machine.board.max_cpus if has_tree_of_all(machine) else 0):
        tree.remove_node(f"/cpus/cpu@{number:x}")
    for seed in ("rng-seed", "kaslr-seed"):  # drawn anew at every start: the same machine must give the same bytes
        tree.remove("/chosen", seed)
    describe(tree, machine, modules)
    return Layout(machine, hypervisor, dtb, modules, tree.blob())
