"""What the host's device tree asks for a domain, checked before anything is touched (Xen's docs/misc/arm/device-tree/booting.txt).

`plan_domain` either fills a `Plan` that can be built, or says in one line which property of which node is wrong and
what to do about it.
"""

from freestanding import Array, IntEnum, Ptr, Struct, View, array, fn, u8, u32, u64, usize, zeroed
from xenarm.abi.layout import GUEST_RAM0_BASE, GUEST_RAM0_SIZE, GUEST_RAM1_SIZE
from xenarm.config import CONFIG
from xenarm.core.addresses import KIB, MIB, PAGE_SIZE
from xenarm.core.domain import EndAction
from xenarm.core.guest_memory import ram0_size
from xenarm.core.kernel import KernelFault, kernel_check
from xenarm.core.log import log_error, log_warning
from xenarm.core.memory import Claim, claim_text, is_boot_module, memory_conflict, memory_free, memory_holds, static_memory
from xenarm.core.result import Result
from xenarm.devicetree.guest import GUEST_TREE_ROOM
from xenarm.devicetree.reader import Fdt, Node, fdt_children, fdt_name, fdt_property
from xenarm.devicetree.values import fdt_compatible, fdt_path, fdt_raw_reg, fdt_string, fdt_u64, list_contains

__all__ = ["Module", "Plan", "node_path", "plan_domain", "short_name"]

MAPS_MEMORY = True

MOST_RAM_KIB = (GUEST_RAM0_SIZE + GUEST_RAM1_SIZE) // KIB
SUPERPAGE = 2 * MIB
PATH_SIZE = 128
# Stage-2 tables, the domain's first pages: taken beside its RAM.
TABLE_ROOM = 64 * KIB
MOST_STATIC = 32  # entries of xen,static-mem
MOST_BOOTARGS = 2047  # Linux's COMMAND_LINE_SIZE less the NUL


class Role(IntEnum, type=u8):
    """What a module is for."""

    KERNEL = 0
    RAMDISK = 1
    DEVICE_TREE = 2


class Module(Struct):
    """A boot module of a domain; `size` 0 when there is none."""

    node: Node
    base: u64
    size: u64


class Plan(Struct):
    """A domain that can be built. Addresses `..._at` are guest-physical."""

    node: Node
    vcpus: u32
    memory: u64  # bytes, whole pages
    static: bool  # it is xen,static-mem
    table_pages: u64  # of the pool for stage 2; 0: as many as it takes
    vpl011: bool
    primecell: bool
    kernel: Module
    ramdisk: Module
    entry: u64
    kernel_end: u64
    tree_at: u64
    ramdisk_at: u64
    bootargs: View[u8]
    on_crash: EndAction
    on_reboot: EndAction


class Paths(Struct):
    """Room for the two paths of a message. Only the booting CPU plans domains."""

    first: Array[u8] = array(u8, PATH_SIZE)
    second: Array[u8] = array(u8, PATH_SIZE)


PATHS = zeroed(Paths)


# ---- messages --------------------------------------------------------------------------------------------------------


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
def refuse_conflict(fdt: Fdt, plan: Plan, node: Node, other: Claim) -> bool:
    size = claim_text(fdt, other, PATHS.second)
    log_error(
        f"{short_name(fdt, plan.node)} does not start: {node_path(fdt, node)}: reg overlaps {PATHS.second[:size]} "
        f"({other.base:#x}, {other.size:#x}); load it elsewhere, or correct the size"
    )
    return False


# ---- the domain's own properties -------------------------------------------------------------------------------------


@fn
def plan_static(fdt: Fdt, plan: Plan, kib: u64) -> bool:
    """RAM at machine addresses of its own: `memory` says how much it is together, as Xen wants it."""
    total = u64(0)
    for i in range(u32(MOST_STATIC)):
        place = static_memory(fdt, plan.node, i)
        if place.result != Result.OK:
            break
        if place.size == 0 or (place.base | place.size) & (PAGE_SIZE - 1) != 0 or not memory_holds(place.base, place.size):
            return refuse(fdt, plan, plan.node, b"xen,static-mem is not in whole pages of the machine's memory", b"correct address and size")
        total += place.size
    if total == 0:
        return refuse(fdt, plan, plan.node, b"xen,static-mem is malformed", b"give addresses and sizes, in #xen,static-mem-address-cells and -size-cells")
    if total // KIB != kib or total > GUEST_RAM0_SIZE:
        return refuse_number(fdt, plan, b"memory", kib, total // KIB, b" KiB of xen,static-mem", b"give both the same size, at most 3 GiB")
    other = memory_conflict(plan.node)
    if other is not None:
        return refuse_static(fdt, plan, other)
    plan.memory = total
    plan.static = True
    return True


@fn
def refuse_static(fdt: Fdt, plan: Plan, other: Claim) -> bool:
    size = claim_text(fdt, other, PATHS.second)
    log_error(
        f"{short_name(fdt, plan.node)} does not start: {node_path(fdt, plan.node)}: xen,static-mem overlaps {PATHS.second[:size]} "
        f"({other.base:#x}, {other.size:#x}); give each its own memory"
    )
    return False


@fn
def plan_tables(fdt: Fdt, plan: Plan) -> bool:
    """The size of the domain's pool of translation tables, where the tree gives one."""
    present, value = fdt_property(fdt, plan.node, b"xen,domain-p2m-mem-mb")
    if not present:
        return True
    if len(value) != 4 or value.load_be32(0) == 0:
        return refuse(fdt, plan, plan.node, b"xen,domain-p2m-mem-mb is no number of MiB", b"give it in one cell, or leave it out")
    plan.table_pages = u64(value.load_be32(0)) * (MIB // PAGE_SIZE)
    return True


@fn
def plan_memory(fdt: Fdt, plan: Plan) -> bool:
    result, kib = fdt_u64(fdt, plan.node, b"memory")
    if result == Result.NOT_FOUND:
        return refuse(fdt, plan, plan.node, b"memory is missing", b"give the domain's RAM in KiB, as two cells")
    if result != Result.OK or kib == 0:
        return refuse(fdt, plan, plan.node, b"memory is no number of KiB", b"give it as two cells, for 64 MiB <0 0x10000>")
    present, _ = fdt_property(fdt, plan.node, b"xen,static-mem")
    if present:
        return plan_static(fdt, plan, kib)
    free = memory_free()
    free -= min(free, TABLE_ROOM)
    if kib > MOST_RAM_KIB or kib * KIB > free:
        return refuse_number(fdt, plan, b"memory", kib, free // KIB, b" KiB", b"ask for less, or give the machine more")
    plan.memory = (kib * KIB + (PAGE_SIZE - 1)) & ~u64(PAGE_SIZE - 1)
    return True


@fn
def plan_cpus(fdt: Fdt, plan: Plan, vcpus_left: u32) -> bool:
    result, cpus = fdt_u64(fdt, plan.node, b"cpus")
    if result == Result.NOT_FOUND:
        return refuse(fdt, plan, plan.node, b"cpus is missing", b"give the number of virtual CPUs, for one <1>")
    if result != Result.OK or cpus == 0:
        return refuse(fdt, plan, plan.node, b"cpus is no number of virtual CPUs", b"give it as one cell, for one <1>")
    most = min(vcpus_left, u32(CONFIG.MAX_DOMAIN_CPUS))
    if cpus > u64(most):
        return refuse_number(fdt, plan, b"cpus", cpus, u64(most), b" CPUs", b"ask for less, or have virtual CPUs share CPUs: sched=credit2 in xen,xen-bootargs, up to CONFIG_MAX_VCPUS")
    plan.vcpus = u32(cpus)
    return True


# ---- modules ---------------------------------------------------------------------------------------------------------


@fn
def role_of(fdt: Fdt, plan: Plan, node: Node) -> Role:
    """By `compatible`; else, as in Xen, the first module is the kernel and the next the RAM disk."""
    if fdt_compatible(fdt, node, b"multiboot,kernel") or fdt_compatible(fdt, node, b"xen,linux-zimage"):
        return Role.KERNEL
    if fdt_compatible(fdt, node, b"multiboot,ramdisk") or fdt_compatible(fdt, node, b"xen,linux-initrd"):
        return Role.RAMDISK
    if fdt_compatible(fdt, node, b"multiboot,device-tree"):
        return Role.DEVICE_TREE
    return Role.KERNEL if plan.kernel.size == 0 else Role.RAMDISK


@fn
def plan_module(fdt: Fdt, plan: Plan, node: Node, module: Module) -> bool:
    """A module's memory: readable `reg`, inside a bank, nobody else's."""
    if module.size != 0:
        return refuse(fdt, plan, node, b"compatible names a second module of one kind", b"a domain has one kernel and one ramdisk")
    place = fdt_raw_reg(fdt, plan.node, node, 0)
    if place.result != Result.OK:
        return refuse(fdt, plan, node, b"reg is missing or malformed", b"give address and size, in the parent's #address-cells and #size-cells")
    if place.size == 0:
        return refuse(fdt, plan, node, b"reg has size 0", b"give the size of what was loaded")
    if not memory_holds(place.base, place.size):
        return refuse(fdt, plan, node, b"reg is not inside the machine's memory", b"correct address and size, or give the machine more memory")
    other = memory_conflict(node)
    if other is not None:
        return refuse_conflict(fdt, plan, node, other)
    module.node = node
    module.base = place.base
    module.size = place.size
    return True


@fn
def plan_modules(fdt: Fdt, plan: Plan) -> bool:
    for node in fdt_children(fdt, plan.node):
        if is_boot_module(fdt, node):
            match role_of(fdt, plan, node):
                case Role.KERNEL:
                    if not plan_module(fdt, plan, node, plan.kernel):
                        return False
                case Role.RAMDISK:
                    if not plan_module(fdt, plan, node, plan.ramdisk):
                        return False
                case Role.DEVICE_TREE:
                    log_warning(f"{node_path(fdt, node)}: passing devices through is not supported yet; the module is ignored")
    if plan.kernel.size == 0:
        return refuse(fdt, plan, plan.node, b"has no kernel", b"add a node compatible with multiboot,kernel and multiboot,module")
    return True


@fn
def refuse_kernel(fdt: Fdt, plan: Plan, fault: KernelFault) -> bool:
    what: View[u8] = b'reg holds no arm64 Image: the magic at offset 56 is not "ARMd"'
    remedy: View[u8] = b"load an uncompressed arm64 Image there"
    match fault:
        case KernelFault.SHORT:
            what = b"reg is shorter than an arm64 Image's header"
            remedy = b"the module is cut: correct the size, or load it again"
        case KernelFault.CUT:
            what = b"reg is shorter than the arm64 Image in it"
            remedy = b"the module is cut: correct the size, or load it again"
        case KernelFault.COMPRESSED:
            what = b"reg holds a gzip file"
            remedy = b"unpack the kernel first"
        case KernelFault.BIG_ENDIAN:
            what = b"reg holds a big-endian kernel"
            remedy = b"load a little-endian one"
        case KernelFault.BAD_OFFSET | KernelFault.BAD_SIZE:
            what = b"reg holds an arm64 Image with a senseless text_offset or image_size"
            remedy = b"the module is damaged: load it again"
        case KernelFault.BAD_MAGIC | KernelFault.NONE:
            pass
    return refuse(fdt, plan, plan.kernel.node, what, remedy)


@fn
def plan_kernel(fdt: Fdt, plan: Plan) -> bool:
    image = kernel_check(Ptr[u8](usize(plan.kernel.base)).slice(usize(plan.kernel.size)))
    if image.fault != KernelFault.NONE:
        return refuse_kernel(fdt, plan, image.fault)
    plan.entry = u64(GUEST_RAM0_BASE) + image.text_offset
    plan.kernel_end = plan.entry + image.size
    return True


@fn
def align_up64(value: u64, align: u64) -> u64:
    return (value + (align - 1)) & ~(align - 1)


@fn
def place(plan: Plan, align: u64) -> bool:
    """Tree, then RAM disk, above the kernel with its bss; False if the low bank is too small for that."""
    end = u64(GUEST_RAM0_BASE) + ram0_size(plan.memory)
    plan.tree_at = align_up64(plan.kernel_end, align)
    plan.ramdisk_at = align_up64(plan.tree_at + GUEST_TREE_ROOM, align)
    return plan.ramdisk_at + plan.ramdisk.size <= end


@fn
def plan_places(fdt: Fdt, plan: Plan) -> bool:
    """On 2 MiB boundaries, so that Linux maps each in one go; in a small domain on pages."""
    if place(plan, SUPERPAGE) or place(plan, PAGE_SIZE):
        return True
    needed = (plan.ramdisk_at + plan.ramdisk.size - u64(GUEST_RAM0_BASE) + (KIB - 1)) // KIB
    log_error(
        f"{short_name(fdt, plan.node)} does not start: {node_path(fdt, plan.node)}: memory is {plan.memory // KIB:d} KiB, "
        f"its kernel and ramdisk need {needed:d} KiB; give it more"
    )
    return False


@fn
def plan_bootargs(fdt: Fdt, plan: Plan) -> bool:
    present, _ = fdt_property(fdt, plan.kernel.node, b"bootargs")
    sound, text = fdt_string(fdt, plan.kernel.node, b"bootargs")
    if present and not sound:
        return refuse(fdt, plan, plan.kernel.node, b"bootargs is no text", b"give a string")
    if len(text) > MOST_BOOTARGS:
        return refuse(fdt, plan, plan.kernel.node, b"bootargs is longer than 2047 characters", b"shorten it")
    plan.bootargs = text
    return True


@fn
def end_policy(fdt: Fdt, plan: Plan, name: View[u8], default: EndAction) -> tuple[bool, EndAction]:
    """What follows an end of the domain: (whether the property is sound, action)."""
    present, value = fdt_property(fdt, plan.node, name)
    if not present:
        return True, default
    if list_contains(value, b"stop"):
        return True, EndAction.STOP
    if list_contains(value, b"restart"):
        return True, EndAction.RESTART
    return list_contains(value, b"stop-machine"), EndAction.STOP_MACHINE


@fn
def plan_ends(fdt: Fdt, plan: Plan) -> bool:
    """Ours: Xen has such a policy only in its tools."""
    sound_crash, on_crash = end_policy(fdt, plan, b"xenarm,on-crash", EndAction.STOP)
    sound_reboot, on_reboot = end_policy(fdt, plan, b"xenarm,on-reboot", EndAction.RESTART)
    plan.on_crash = on_crash
    plan.on_reboot = on_reboot
    if not sound_crash:
        return refuse(fdt, plan, plan.node, b"xenarm,on-crash is no policy", b"give stop, restart or stop-machine")
    if not sound_reboot:
        return refuse(fdt, plan, plan.node, b"xenarm,on-reboot is no policy", b"give stop, restart or stop-machine")
    return True


@fn
def plan_domain(fdt: Fdt, node: Node, vcpus_left: u32, plan: Plan) -> bool:
    """Fill in the plan of a `xen,domain` node, which is all zero; False, and one line said, when it cannot be built."""
    plan.node = node
    present, kind = fdt_property(fdt, node, b"vpl011")
    plan.vpl011 = present
    plan.primecell = list_contains(kind, b"arm,pl011")  # ours: Xen's property has no value
    return (
        plan_memory(fdt, plan)
        and plan_tables(fdt, plan)
        and plan_cpus(fdt, plan, vcpus_left)
        and plan_modules(fdt, plan)
        and plan_kernel(fdt, plan)
        and plan_bootargs(fdt, plan)
        and plan_places(fdt, plan)
        and plan_ends(fdt, plan)
    )
