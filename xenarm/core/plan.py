"""What the host's device tree asks for a domain, checked before anything is touched (Xen's docs/misc/arm/device-tree/booting.txt).

`plan_domain` either fills a `Plan` that can be built, or says in one line which property of which node is wrong and
what to do about it.
"""

from freestanding import IntEnum, Ptr, View, ctz, fn, u8, u32, u64, usize
from xenarm.abi.layout import GUEST_RAM0_BASE
from xenarm.config import CONFIG
from xenarm.core.addresses import KIB, MIB, PAGE_SIZE
from xenarm.core.domain import EndAction
from xenarm.core.guest_memory import ram0_size
from xenarm.core.log import log_error, log_warning
from xenarm.core.memory import is_boot_module, memory_conflict, memory_reaches
from xenarm.core.plan_gic import plan_gic
from xenarm.core.plan_kernel import plan_kernel
from xenarm.core.plan_memory import plan_layout, plan_memory, plan_tables
from xenarm.core.plan_shared import plan_no_shared, plan_shared
from xenarm.core.plan_state import Module, Plan, node_path, refuse, refuse_number, refuse_overlap, short_name
from xenarm.core.result import Result
from xenarm.core.static_events import STATIC_END, ChannelFault, is_static_end, static_end_check
from xenarm.core.static_memory import MOST_STATIC, static_memory
from xenarm.devicetree.guest import GUEST_TREE_ROOM
from xenarm.devicetree.reader import Fdt, Node, fdt_children, fdt_property
from xenarm.devicetree.values import fdt_compatible, fdt_raw_reg, fdt_string, fdt_u64, list_contains
from xenarm.gic.host import gic_takes_affinity3
from xenarm.gic.registers3 import IchControl, Typer3
from xenarm.gic.version import vgic_most_cpus

__all__ = ["plan_domain"]

MAPS_MEMORY = True

SUPERPAGE = 2 * MIB
REG_OUTSIDE = b"reg is not inside the machine's memory" + (b"" if CONFIG.ARM64 else b" below 4 GiB")
AARCH32_REACHES = 1 << 32  # with its MMU off
LEVELS = b"xenarm,mpidr-levels"
LEVEL_BITS = 8
NO_LEVEL = 32
MOST_AFFINITY = 255
TARGET_LIST = 16  # values of affinity 0 that an SGI names without a range selector
MOST_BOOTARGS = 2047  # Linux's COMMAND_LINE_SIZE less the NUL


class Role(IntEnum, type=u8):
    """What a module is for."""

    KERNEL = 0
    RAMDISK = 1
    DEVICE_TREE = 2


SHARING = next((name for name in ("credit2", "rr", "rtds", "arinc653") if getattr(CONFIG, f"SCHED_{name.upper()}")), "")  # who has several on a CPU
LESS_CPUS = b"ask for less" + f", or have virtual CPUs share CPUs: sched={SHARING} in xen,xen-bootargs, up to CONFIG_MAX_VCPUS".encode() * (SHARING != "")


@fn
def plan_cpus(fdt: Fdt, plan: Plan, vcpus_left: u32) -> bool:
    result, cpus = fdt_u64(fdt, plan.node, b"cpus")
    if result == Result.NOT_FOUND:
        return refuse(fdt, plan, plan.node, b"cpus is missing", b"give the number of virtual CPUs, for one <1>")
    if result != Result.OK or cpus == 0:
        return refuse(fdt, plan, plan.node, b"cpus is no number of virtual CPUs", b"give it as one cell, for one <1>")
    most = min(vcpus_left, vgic_most_cpus(CONFIG.GICV3 and plan.gic_v3, CONFIG.MAX_DOMAIN_CPUS))
    if cpus > u64(most):
        return refuse_number(fdt, plan, b"cpus", cpus, u64(most), b" CPUs", LESS_CPUS)
    plan.vcpus = u32(cpus)
    return True


# ---- affinities ------------------------------------------------------------------------------------------------------


@fn
def level_bits(value: View[u8], level: u32, row: bool) -> u32:
    """How many bits the values of an affinity level take; more than LEVEL_BITS: what the node says is no row of one to three cells, or no power of two
    up to 256. Levels that it leaves out have 256."""
    if not row:
        return NO_LEVEL
    if level * 4 >= u32(len(value)):
        return LEVEL_BITS
    values = value.load_be32(usize(level) * 4)
    return ctz(values) if values != 0 and values & (values - 1) == 0 else u32(NO_LEVEL)


@fn
def levels_ignored(fdt: Fdt, plan: Plan) -> bool:
    present, _ = fdt_property(fdt, plan.node, LEVELS)
    if present:
        log_warning(f"{node_path(fdt, plan.node)}: xenarm,mpidr-levels: this image has sixteen vCPUs to an affinity 1 (CONFIG_MPIDR_LEVELS); it is ignored")
    return True


@fn
def levels_read(fdt: Fdt, plan: Plan) -> bool:
    a = plan.affinities
    present, value = fdt_property(fdt, plan.node, LEVELS)
    if not present:
        return True
    row = len(value) != 0 and len(value) <= 12 and len(value) & 3 == 0
    low, middle, high = level_bits(value, 0, row), level_bits(value, 1, row), level_bits(value, 2, row)
    if max(low, max(middle, high)) > LEVEL_BITS:
        return refuse(fdt, plan, plan.node, b"xenarm,mpidr-levels is no row of numbers of values", b"give for affinity 0, or 0 and 1, or 0 to 2, a power of two up to 256")
    a.levels = True
    a.aff1 = low
    a.aff2 = low + middle
    a.aff3 = low + middle + high
    return plan_levels(fdt, plan)


@fn
def plan_levels(fdt: Fdt, plan: Plan) -> bool:
    """What the highest affinities take."""
    a = plan.affinities
    highest = (plan.vcpus - 1) >> a.aff3
    if highest > MOST_AFFINITY:
        return refuse(fdt, plan, plan.node, b"xenarm,mpidr-levels has no affinities for so many CPUs", b"give the levels more values")
    if highest != 0:
        if plan.aarch32 or not CONFIG.ARM64:
            return refuse(fdt, plan, plan.node, b"xenarm,mpidr-levels leaves affinity 3 to a 32-bit domain, which has none", b"give the levels more values")
        if CONFIG.GICV3 and plan.gic_v3 and not gic_takes_affinity3():
            return refuse(fdt, plan, plan.node, b"xenarm,mpidr-levels needs affinity 3, which the machine's GICv3 has not (A3V)", b"give the levels more values")
    selects = min(plan.vcpus, u32(1) << a.aff1) > TARGET_LIST
    a.typer = u32(Typer3(A3V=highest != 0, RSS=selects))
    a.trap = u32(IchControl(TC=selects))
    return True


plan_affinities = levels_read if CONFIG.MPIDR_LEVELS else levels_ignored
"""Ours: Xen has sixteen of affinity 0, always."""


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
    if not memory_reaches(place.base, place.size):
        return refuse(fdt, plan, node, REG_OUTSIDE, b"correct address and size, or give the machine more memory")
    other = memory_conflict(node)
    if other is not None:
        return refuse_overlap(fdt, plan, node, b"reg", other, b"load it elsewhere, or correct the size")
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
def align_up64(value: u64, align: u64) -> u64:
    return (value + (align - 1)) & ~(align - 1)


@fn
def place(plan: Plan, base: u64, size: u64, align: u64) -> bool:
    """Kernel, tree and RAM disk one after the other in a run of RAM; False if it is too small for that."""
    plan.entry = align_up64(base, SUPERPAGE) + plan.text_offset
    plan.tree_at = align_up64(plan.entry + plan.kernel_room, align)
    plan.ramdisk_at = align_up64(plan.tree_at + GUEST_TREE_ROOM, align)
    return plan.ramdisk_at + plan.ramdisk.size <= base + size


@fn
def place_in(plan: Plan, base: u64, size: u64) -> bool:
    """On 2 MiB boundaries, so that Linux maps each in one go; in a small domain on pages."""
    return place(plan, base, size, SUPERPAGE) or place(plan, base, size, PAGE_SIZE)


@fn
def place_direct(fdt: Fdt, plan: Plan) -> tuple[bool, u64]:
    """In the first piece of memory that is large enough: (there is one, where the last one tried begins)."""
    base = u64(0)
    for i in range(u32(MOST_STATIC)):
        piece = static_memory(fdt, plan.node, i)
        if piece.result != Result.OK:
            break
        base = piece.base
        if place_in(plan, base, piece.size) and (not plan.aarch32 or plan.ramdisk_at + plan.ramdisk.size <= AARCH32_REACHES):
            return True, base
    return False, base


@fn
def plan_places(fdt: Fdt, plan: Plan) -> bool:
    base = u64(GUEST_RAM0_BASE)
    direct = CONFIG.DIRECT_MAP and plan.direct
    fits = place_in(plan, base, ram0_size(plan.memory)) if not direct else False
    if CONFIG.DIRECT_MAP and direct:
        fits, base = place_direct(fdt, plan)
    if fits:
        return True
    needed = (plan.ramdisk_at + plan.ramdisk.size - base + (KIB - 1)) // KIB
    log_error(
        f"{short_name(fdt, plan.node)} does not start: {node_path(fdt, plan.node)}: memory is {plan.memory // KIB:d} KiB, "
        f"its kernel and ramdisk need {needed:d} KiB in one piece; give it more"
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
    plan.on_crash = EndAction.STOP
    plan.on_reboot = EndAction.RESTART
    if not plan.special:
        return True
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
def refuse_channel(fdt: Fdt, plan: Plan, node: Node, fault: ChannelFault) -> bool:
    what: View[u8] = b"xen,evtchn is missing or malformed"
    remedy: View[u8] = b"give the local port and the phandle of the other end"
    match fault:
        case ChannelFault.PORT:
            what = b"xen,evtchn names a port that a domain has not"
            remedy = b"give one from 1 on, below CONFIG_EVENT_CHANNELS_PER_DOMAIN"
        case ChannelFault.NO_PEER:
            what = b"xen,evtchn leads to no node compatible with xen,evtchn-v1"
            remedy = b"give the phandle of the other end"
        case ChannelFault.ONE_SIDED:
            what = b"xen,evtchn leads to an end that does not lead back"
            remedy = b"give each end the phandle of the other"
        case ChannelFault.STRANGER:
            what = b"xen,evtchn leads to an end that is in no domain"
            remedy = b"put it below a node compatible with xen,domain"
        case ChannelFault.TWICE:
            what = b"xen,evtchn names a port that another end of the domain has"
            remedy = b"give each its own"
        case ChannelFault.MALFORMED | ChannelFault.NONE:
            pass
    return refuse(fdt, plan, node, what, remedy)


@fn
def wants_events(fdt: Fdt, plan: Plan) -> bool:
    """Whether a domain is `xen,enhanced`."""
    if not plan.special:
        return False
    present, value = fdt_property(fdt, plan.node, b"xen,enhanced")
    return present and not list_contains(value, b"disabled")


@fn
def plan_events(fdt: Fdt, plan: Plan) -> bool:
    """Event channels for a domain that is `xen,enhanced` or has static ones."""
    plan.events = wants_events(fdt, plan)
    if plan.events:
        log_warning(f"{node_path(fdt, plan.node)}: xen,enhanced: event channels are there, grant tables and xenstore are not: the guest's tree has no hypervisor node")
    for node in fdt_children(fdt, plan.node):
        if is_static_end(fdt, node):
            plan.events = True
            fault = static_end_check(fdt, plan.node, node)
            if fault != ChannelFault.NONE:
                return refuse_channel(fdt, plan, node, fault)
    return True


@fn
def plan_no_events(fdt: Fdt, plan: Plan) -> bool:
    """An image without event channels says so of whatever asks for them, and goes on, as Xen does."""
    if wants_events(fdt, plan):
        log_warning(f"{node_path(fdt, plan.node)}: xen,enhanced: this image has no event channels (CONFIG_EVENT_CHANNELS); it is ignored")
    for node in fdt_children(fdt, plan.node):
        if fdt_compatible(fdt, node, STATIC_END):
            log_warning(f"{node_path(fdt, node)}: compatible: this image has no event channels (CONFIG_EVENT_CHANNELS); it is ignored")
    return True


@fn
def plan_serial(fdt: Fdt, plan: Plan) -> None:
    """Whether it has a serial port, and what that looks like."""
    present, kind = fdt_property(fdt, plan.node, b"vpl011")
    if CONFIG.VPL011:
        plan.vpl011 = present
        plan.primecell = list_contains(kind, b"arm,pl011")  # ours: Xen's property has no value
    elif present:
        log_warning(f"{node_path(fdt, plan.node)}: vpl011: this image has no virtual serial port (CONFIG_VPL011); it is ignored")


@fn
def plan_domain(fdt: Fdt, node: Node, vcpus_left: u32, plan: Plan) -> bool:
    """Fill in the plan of a `xen,domain` node, which is all zero; False, and one line said, when it cannot be built."""
    plan.node = node
    plan_serial(fdt, plan)
    return (
        plan_gic(fdt, plan)
        and plan_cpus(fdt, plan, vcpus_left)
        and plan_layout(fdt, plan)
        and plan_memory(fdt, plan)
        and plan_tables(fdt, plan)
        and (plan_shared(fdt, plan) if CONFIG.STATIC_SHM else plan_no_shared(fdt, plan))
        and plan_modules(fdt, plan)
        and plan_kernel(fdt, plan)
        and plan_bootargs(fdt, plan)
        and plan_places(fdt, plan)
        and (not plan.special or plan_affinities(fdt, plan))
        and plan_ends(fdt, plan)
        and (plan_events(fdt, plan) if CONFIG.EVENT_CHANNELS else plan_no_events(fdt, plan))
    )
