"""From a deployment to a machine for a board: everything that can be wrong with it is found before anything is built.

Sizes of what is still to be built are taken at their limits; `layout.compose` then places, and checks, what there is.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from boards import board as board_named
from xenarm.config import Config, parse
from xenarm.tools import build, debian, kconfig
from xenarm.tools.deployment import Deployment, DomainPlan, Place, Source
from xenarm.tools.deployment.imagebuilder import read_imagebuilder
from xenarm.tools.deployment.toml_file import read_toml
from xenarm.tools.errors import ToolError
from xenarm.tools.layout import BOOT_STUB, DTB_ROOM, MODULE_ALIGNMENT, ZIMAGE_OFFSET, ZIMAGE_ROOM, Layout, align_up, ram_of
from xenarm.tools.machine import KIB, MIB, Architecture, Board, DomainSpec, ImageHeader, Machine, ModuleKind, ModuleSpec, Region
from xenarm.tools.paths import ROOT, shown

__all__ = ["DEPLOYMENTS", "check", "find", "guests_of", "machine_for", "placement"]

DEPLOYMENTS = ROOT / "deploy"
IMAGE_ROOM = 2 * MIB  # the most that an image of ours takes (xenarm/arm/link.py, guests/runtime/link.py)
MEMORY_STEP_MIB = 256
LEAST_MEMORY_MIB = 1024
HYPERVISOR_MEMORY = 64 * MIB  # that an emulated machine has beside its domains' memory
ZIMAGE_MAGIC = 0x016F_2818
BOARD32 = "qemu-virt-arm32"  # what 32-bit guests of our own are built for
GZIP_MAGIC = b"\x1f\x8b"
ELF_MAGIC = b"\x7fELF"


def find(name: str) -> Deployment:
    """The deployment of a name in deploy/, or of a file: TOML by its ending, else ImageBuilder's format."""
    path = Path(name)
    if not path.suffix and not path.exists():
        path = DEPLOYMENTS / f"{name}.toml"
    if not path.is_file():
        known = ", ".join(sorted(found.stem for found in DEPLOYMENTS.glob("*.toml")))
        raise ToolError(f"there is no deployment '{name}' ({shown(path)}); those in deploy/ are: {known}")
    return read_toml(path.absolute()) if path.suffix == ".toml" else read_imagebuilder(path.absolute())


# ---- files --------------------------------------------------------------------------------------------------------------


def sources(deployment: Deployment) -> Iterator[Source]:
    """Every file that it names."""
    for domain in deployment.domains:
        yield domain.kernel
        if domain.ramdisk:
            yield domain.ramdisk


def guests_of(deployment: Deployment, board: str) -> tuple[tuple[str, str], ...]:
    """The guests of our own that have to be built for it, each with the board that it is built for."""
    return tuple(sorted({(guest_board(source, board), source.name) for source in sources(deployment) if source.kind == "guest"}))


def guest_board(source: Source, board: str) -> str:
    """The board that a guest of our own is built for."""
    return BOARD32 if source.narrow else board


def check_source(source: Source) -> None:
    """That a file is there, or can be made."""
    if source.kind == "guest" and not (ROOT / "guests" / source.name / "__init__.py").is_file():
        known = ", ".join(sorted(path.parent.name for path in (ROOT / "guests").glob("*/__init__.py") if path.parent.name != "runtime"))
        raise source.place.error(f"there is no guest '{source.name}'; the guests are: {known}")
    if source.kind == "debian" and source.name not in ("kernel", "ramdisk"):
        raise source.place.error(f"'{source.text}' is nothing of Debian's: write debian:kernel or debian:ramdisk")
    if source.kind == "file" and not source.path.is_file():
        raise source.place.error(f"there is no file {shown(source.path)}: correct the name, relative to {shown(source.place.path.parent)}")


def path_of(source: Source, board: Board) -> Path:
    """The file itself, fetched if it is Debian's; one of our guests' may not be built yet."""
    if source.kind == "guest":
        return build.guest_job(guest_board(source, board.name), source.name).output
    if source.kind == "file":
        return source.path
    files = debian.fetch(architecture=(Architecture.ARM32 if source.narrow else board.architecture).debian)
    return files.kernel if source.name == "kernel" else files.initramfs


def size_of(source: Source | None, board: Board) -> int:
    """How much memory a module takes."""
    if source is None:
        return 0
    if source.kind == "guest":
        return IMAGE_ROOM
    path = path_of(source, board)
    header = ImageHeader.read(path)
    return max(path.stat().st_size, header.image_size if header else 0)


def check_kernel(domain: DomainPlan, board: Board) -> None:
    """That the hypervisor can boot it: an arm64 Image, or a zImage."""
    if domain.kernel.kind != "file":
        return
    with domain.kernel.path.open("rb") as stream:
        head = stream.read(64)
    if ImageHeader.read(domain.kernel.path) and board.architecture is Architecture.ARM64:
        return
    if len(head) == 64 and struct.unpack_from("<I", head, 36) == (ZIMAGE_MAGIC,):
        return
    wanted = "an arm64 Image" if board.architecture is Architecture.ARM64 else "a zImage"
    remedy = "take the one for this architecture"
    if head[:2] == GZIP_MAGIC:
        remedy = "it is compressed: unpack it with gunzip"
    elif head[:4] == ELF_MAGIC:
        remedy = "it is an ELF file: take arch/arm*/boot/Image or zImage"
    raise domain.at("kernel").error(f"{shown(domain.kernel.path)} is not {wanted}: {remedy}")


def check_fits(domain: DomainPlan, board: Board) -> None:
    """That kernel and RAM disk fit into the domain."""
    need = size_of(domain.kernel, board) + size_of(domain.ramdisk, board)
    if need > domain.memory_kib * KIB:
        raise domain.at("memory").error(
            f"kernel and RAM disk of {domain.name} take {need / MIB:.1f} MiB and its memory is {domain.memory_kib / 1024:g} MiB: raise it"
        )


# ---- CPUs and scheduler -------------------------------------------------------------------------------------------------


def cpus_of(deployment: Deployment, board: Board) -> int:
    """The machine's CPUs: a board's own, or as many as an emulated one is given."""
    if not board.qemu:
        return board.max_cpus
    total = sum(domain.cpus for domain in deployment.domains)
    if deployment.cpus is not None and deployment.cpus > board.max_cpus:
        raise deployment.at("machine.cpus").error(f"{board.name} has at most {board.max_cpus} CPUs, not {deployment.cpus}")
    return deployment.cpus or min(total, board.max_cpus)


def check_scheduler(deployment: Deployment, board: Board, config: Config) -> None:
    """That the image has the scheduler, and that it can run so many vCPUs."""
    scheduler = deployment.scheduler or config.SCHED_DEFAULT
    if not getattr(config, f"SCHED_{scheduler.upper()}"):
        raise deployment.at("hypervisor.scheduler").error(
            f"the image for {board.name} has no scheduler '{scheduler}': choose another, or turn CONFIG_SCHED_{scheduler.upper()} on (make menuconfig)"
        )
    total, cpus = sum(domain.cpus for domain in deployment.domains), cpus_of(deployment, board)
    if scheduler == "null" and total > cpus:
        raise deployment.at("hypervisor.scheduler").error(
            f"{total} virtual CPUs for {cpus} CPUs, and under 'null' each has one of its own: give hypervisor.scheduler, such as \"credit2\", or fewer cpus"
        )
    if total > config.MAX_VCPUS:
        raise deployment.place.error(f"{total} virtual CPUs: the image has room for {config.MAX_VCPUS} (CONFIG_MAX_VCPUS)")
    if len(deployment.domains) > config.MAX_DOMAINS:
        raise deployment.place.error(f"{len(deployment.domains)} domains: the image has room for {config.MAX_DOMAINS} (CONFIG_MAX_DOMAINS)")


# ---- interrupt controllers ----------------------------------------------------------------------------------------------


def check_gics(deployment: Deployment, board: Board) -> None:
    """That an emulated machine has what a domain asks for. Of others the boot finds out."""
    machine = deployment.gic or board.gic
    for domain in deployment.domains:
        asked = domain.properties.get("xenarm,gic-version", machine)
        if not board.qemu or machine is None or asked == machine:
            continue
        remedy = "leave the line out" + (f", or give machine.gic = {asked}" if board.has_gic(int(str(asked))) else "")
        why = "the machine has a GICv2" if machine == 2 else "QEMU's GICv3 has no CPU interface for a GICv2"
        raise domain.at("gic").error(f"{domain.name} is to see a GICv{asked}, and {why}: {remedy}")


# ---- memory -------------------------------------------------------------------------------------------------------------


def fixed_regions(deployment: Deployment) -> list[tuple[Region, Place]]:
    """Machine memory that the file names."""
    found = []
    for domain in deployment.domains:
        for base, size in domain.static_memory:
            found.append((Region(f"static memory of domain {domain.name}", base, size), domain.at("static-memory")))
    return found + list(shared_regions(deployment))


def shared_regions(deployment: Deployment) -> Iterator[tuple[Region, Place]]:
    """Shared memory with a machine address, each region once."""
    seen: set[object] = set()
    for domain in deployment.domains:
        for properties in domain.nodes.values():
            cells = properties.get("xen,shared-mem", ())
            name = properties.get("xen,shm-id")
            if isinstance(cells, tuple) and len(cells) == 6 and name not in seen:
                seen.add(name)
                region = Region(f"shared memory {name}", cells[0] << 32 | cells[1], cells[4] << 32 | cells[5])
                yield region, deployment.at(f"shared-memory.{name}.address")


def reserved(board: Board, memory: int) -> list[Region]:
    """Where the hypervisor and its tree will lie, at the most."""
    if not board.qemu:
        image = Region("the hypervisor", board.hardware.load_address, IMAGE_ROOM)
        return [image, Region("the device tree", align_up(image.end, 2 * MIB), DTB_ROOM)]
    base = board.ram_base
    arm32 = board.architecture is Architecture.ARM32
    image = Region("the hypervisor", base + ZIMAGE_OFFSET, ZIMAGE_ROOM) if arm32 else Region("the hypervisor", base + 2 * MIB, IMAGE_ROOM)
    tree = align_up(max(base + min(memory // 2, 128 * MIB), image.end), 2 * MIB)
    return [Region("QEMU's boot code", base, BOOT_STUB), image, Region("the device tree", tree, DTB_ROOM)]


def modules_size(deployment: Deployment, board: Board) -> int:
    """Memory for the pristine modules."""
    return sum(align_up(size_of(source, board), MODULE_ALIGNMENT) for source in sources(deployment))


def memory_mib(deployment: Deployment, board: Board) -> int:
    """The machine's RAM: as given, or as much as everything takes; a board's own."""
    if not board.qemu:
        return sum(bank.size for bank in ram_of(board, 0, deployment.tree)) // MIB
    if deployment.memory_mib is not None:
        return deployment.memory_mib
    fixed = max((region.end for region, _ in fixed_regions(deployment)), default=board.ram_base) - board.ram_base
    wanted = sum(domain.memory_kib * KIB for domain in deployment.domains) + modules_size(deployment, board) + 2 * DTB_ROOM + HYPERVISOR_MEMORY
    steps = -(-max(wanted, fixed) // (MEMORY_STEP_MIB * MIB))
    return max(LEAST_MEMORY_MIB, steps * MEMORY_STEP_MIB)


def check_memory(deployment: Deployment, board: Board) -> None:
    """That everything has a place, and no two things have the same."""
    memory = memory_mib(deployment, board) * MIB
    ram = ram_of(board, memory // MIB, deployment.tree)
    done = reserved(board, memory)
    for region, place in fixed_regions(deployment):
        if not any(bank.base <= region.base and region.end <= bank.end for bank in ram):
            raise place.error(f"{region} is not inside {', '.join(map(str, ram))}: correct the address, or raise machine.memory")
        for other in done:
            if region.overlaps(other):
                raise place.error(f"{region} overlaps {other}: choose another address")
        done.append(region)
    loaded = modules_size(deployment, board)
    wanted = sum(domain.memory_kib * KIB for domain in deployment.domains) + loaded + DTB_ROOM + IMAGE_ROOM
    if wanted > memory:
        raise deployment.at("machine.memory").error(
            f"the domains' memory and their modules ({loaded / MIB:.0f} MiB) come to {wanted / MIB:.0f} MiB and the machine has {memory // MIB}:"
            " give it more (machine.memory), or the domains less"
        )


# ---- together -----------------------------------------------------------------------------------------------------------


def check(deployment: Deployment, board: Board) -> None:
    """Everything that can be wrong before it is built. Raises DeploymentError."""
    if deployment.boards and board.name not in deployment.boards:
        raise deployment.at("boards").error(f"this deployment is for {', '.join(deployment.boards)}, not for {board.name}: name the board (board=), or add it here")
    for key in ("memory", "cpus", "gic"):
        if f"machine.{key}" in deployment.lines and not board_named(board.name).qemu:
            raise deployment.at(f"machine.{key}").error(f"machine.{key} is for emulated machines, and {board.name} is none: leave the line out")
    if deployment.gic is not None and not board.has_gic(deployment.gic):
        raise deployment.at("machine.gic").error(f"{board.name} has no GICv{deployment.gic}: leave the line out")
    for source in sources(deployment):
        check_source(source)
    for domain in deployment.domains:
        check_kernel(domain, board)
        check_fits(domain, board)
    check_gics(deployment, board)
    config = kconfig.up_to_date(board.name)
    check_scheduler(deployment, board, parse(config.read_text(), shown(config)))
    check_memory(deployment, board)


def domain_spec(domain: DomainPlan, board: Board) -> DomainSpec:
    """One domain with its files."""
    modules = [ModuleSpec(ModuleKind.KERNEL, path_of(domain.kernel, board), domain.bootargs)]
    if domain.ramdisk:
        modules.append(ModuleSpec(ModuleKind.RAMDISK, path_of(domain.ramdisk, board)))
    return DomainSpec(
        domain.name,
        domain.memory_kib,
        tuple(modules),
        domain.cpus,
        vpl011=domain.console == "sbsa",
        properties=domain.properties,
        vcpus=domain.vcpus,
        nodes=domain.nodes,
    )


def machine_for(deployment: Deployment, board_name: str, hardware: bool = False) -> Machine:
    """The machine, for `layout.compose` when everything is built: QEMU's where it has one, or with `hardware` the board itself where there is one."""
    board = board_named(board_name)
    if hardware:
        board = board.on_hardware
    check(deployment, board)
    if deployment.gic is not None:
        board = board.with_gic(deployment.gic)
    scheduler = f"sched={deployment.scheduler}" if deployment.scheduler else ""
    return Machine(
        board=board,
        hypervisor=build.hypervisor_job(board_name).output,
        domains=tuple(domain_spec(domain, board) for domain in deployment.domains),
        cpus=cpus_of(deployment, board),
        memory_mib=memory_mib(deployment, board),
        bootargs=f"{scheduler} {deployment.bootargs}".strip(),
        tree=deployment.tree,
        chosen=deployment.chosen,
        taken=tuple(region for region, _ in fixed_regions(deployment)),
    )


def shown_size(size: int) -> str:
    """A size for people."""
    return f"{size / MIB:.1f} MiB" if size >= MIB else f"{size / KIB:.1f} KiB"


def placement(layout: Layout) -> Iterable[str]:
    """The lines of the table that `make deploy` prints."""
    machine = layout.machine
    modules = [replace(module.region, what=f"{module.domain.name}: {module.spec.kind.name.lower().replace('_', ' ')} {shown(module.spec.path)}") for module in layout.modules]
    yield f"  {machine.cpus} CPUs, {machine.memory_mib} MiB of RAM from {machine.board.ram_base:#x}" + (f", boot arguments: {machine.bootargs}" if machine.bootargs else "")
    for domain in machine.domains:
        yield f"  domain {domain.name}: {shown_size(domain.memory_kib * KIB)}, {domain.cpus} CPU{'s' * (domain.cpus > 1)}"
    for region in sorted([layout.hypervisor, layout.device_tree, *machine.taken, *modules], key=lambda region: region.base):
        yield f"  {region.base:#012x} {region.end:#012x} {shown_size(region.size):>12}  {region.what}"
