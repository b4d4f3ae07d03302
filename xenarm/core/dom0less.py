"""Domains out of the host's device tree: each is planned, then built; what is wrong with one does not touch the others."""

from freestanding import Array, Ptr, Struct, address_of, array, fn, offset_of, place, size_of, u8, u32, u64, usize, zeroed
from xenarm.abi.layout import GUEST_GICD3_SIZE, GUEST_GICD_SIZE, GUEST_GICR_FRAME, GUEST_PL011_SIZE, GUEST_RAM0_BASE, GUEST_RAM1_BASE
from xenarm.arch import arch_vcpu_boot, arch_vcpu_stop, icache_invalidate, vcpu_assign, vcpus_left, vcpus_release, window_claim
from xenarm.arm.schedule import vcpu_breathe
from xenarm.config import CONFIG
from xenarm.core.addresses import KIB, PAGE_SIZE, GuestPhys
from xenarm.core.console import console_domain_restarts, console_start, vpl011_mmio
from xenarm.core.domain import DOMAINS, MAX_DOMAINS, WINDOW_ALIGN, Domain, DomainState, domain_create, domain_discard, domain_name, domain_next
from xenarm.core.event_channel import channels_create, channels_release, channels_reset
from xenarm.core.fault import HOST_TREE
from xenarm.core.guest_memory import guest_memory_create, guest_memory_first_scrub, guest_memory_map, guest_memory_place, guest_memory_release
from xenarm.core.guest_memory import guest_memory_scrub, guest_memory_tables, guest_memory_write, ram0_size, ram1_size
from xenarm.core.log import log_error, log_warning, printk
from xenarm.core.mmio import mmio_register, mmio_reset
from xenarm.core.plan import plan_domain
from xenarm.core.plan_state import Module, Plan, node_path, short_name
from xenarm.core.result import Result
from xenarm.core.sched.params import SchedDomainParams, sched_domain_params, sched_refuse, sched_vcpu_params
from xenarm.core.sched.scheduler import sched_domain_init
from xenarm.core.sched.state import SchedParams
from xenarm.core.memory import is_boot_module
from xenarm.core.shared_info import SHARED_TABLES
from xenarm.core.shared_memory import shared_memory_acquire, shared_memory_map, shared_memory_release, shared_memory_show, shared_memory_tables
from xenarm.core.static_events import is_static_end, static_channel_note, static_channels_connect, static_end, static_end_domain
from xenarm.core.static_memory import MOST_STATIC, static_memory
from xenarm.core.trace import NO_REASON, trace_domain, trace_name
from xenarm.core.vpl011 import vpl011_reset
from xenarm.devicetree.guest import GUEST_TREE_ROOM, GuestTree, guest_tree_bank, guest_tree_redistributors, guest_tree_write
from xenarm.devicetree.reader import NO_NODE, Fdt, Node, fdt_children, fdt_chosen
from xenarm.devicetree.values import fdt_compatible
from xenarm.gic.vgic import vgic_init, vgic_map_cpu_interface, vgic_tables, vgic_vcpu_forget
from xenarm.gic.vgicc import GICC_DIR_PAGE, vgicc_access
from xenarm.gic.version import vgic_is_v3
from xenarm.gic.vgicd import vgicd_access
from xenarm.gic.vgicd3 import vgicd3_access
from xenarm.gic.vgicr import vgicr_access
from xenarm.p2m.stage2 import p2m_clear, p2m_discard, p2m_empty, p2m_forget_stage1, p2m_init, p2m_root_pages
from xenarm.p2m.state import Vmid

__all__ = ["domain_rebuild", "domain_release", "domains_create"]

MAPS_MEMORY = True
AT_ONCE = 64 * KIB  # of a module, before others get their turn

SPARE_TABLES = 0  # no guest has the hypervisor map anything for it yet


class GuestTreeBytes(Struct):
    """A domain's device tree."""

    size: usize
    bytes: Array[u8] = array(u8, GUEST_TREE_ROOM)


class Beginning(Struct):
    """What each life of a domain begins with. Modules stay where the boot loader put them: their memory is never handed out."""

    plan: Plan
    tree: GuestTreeBytes  # only so many bytes as it has have memory


TREE = place(zeroed(GuestTreeBytes), section=".once.raw")  # where the boot writes each
BEGINNINGS = place(array(Beginning, CONFIG.MAX_DOMAINS), align=WINDOW_ALIGN, section=".bss.0window")


@fn
def load_module(d: Domain, at: u64, module: Module) -> Result:
    done = u64(0)
    while done < module.size:
        size = min(module.size - done, u64(AT_ONCE))
        result = guest_memory_write(d, GuestPhys(at + done), Ptr[u8](usize(module.base + done)).slice(usize(size)))
        if result != Result.OK:
            return result
        done += size
        vcpu_breathe()
    return Result.OK


@fn
def load_banks(tree: GuestTree, plan: Plan) -> None:
    """RAM as the guest sees it."""
    if not plan.direct:
        guest_tree_bank(tree, u64(GUEST_RAM0_BASE), ram0_size(plan.memory))
        guest_tree_bank(tree, u64(GUEST_RAM1_BASE), ram1_size(plan.memory))
        return
    for i in range(u32(MOST_STATIC)):
        piece = static_memory(HOST_TREE, plan.node, i)
        if piece.result != Result.OK:
            break
        guest_tree_bank(tree, piece.base, piece.size)


@fn
def make_tree(d: Domain, plan: Plan) -> Result:
    """Write the domain's tree, once for all of its lives."""
    tree = zeroed(GuestTree)
    tree.vcpus = plan.vcpus
    tree.affinities = plan.affinities
    tree.armv7 = plan.aarch32 or not CONFIG.ARM64
    tree.gic_v3 = vgic_is_v3(d)
    tree.gicd = d.layout.gicd
    tree.gicc = d.layout.gicc
    for i in range(d.layout.gicr_count):
        guest_tree_redistributors(tree, d.layout.gicr[i].base, u64(d.layout.gicr[i].count) * GUEST_GICR_FRAME)
    tree.uart = d.layout.uart
    tree.uart_intid = d.layout.uart_intid
    load_banks(tree, plan)
    if CONFIG.STATIC_SHM:
        shared_memory_show(d, tree)
    tree.ramdisk = plan.ramdisk_at
    tree.ramdisk_size = plan.ramdisk.size
    tree.vpl011 = plan.vpl011 and CONFIG.VPL011
    tree.primecell = plan.primecell
    tree.bootargs = plan.bootargs
    result, size = guest_tree_write(tree, TREE.bytes)
    if result != Result.OK:
        return result
    kept = BEGINNINGS[d.id].tree
    result = window_claim(address_of(BEGINNINGS[d.id]), offset_of(Beginning, "tree") + offset_of(GuestTreeBytes, "bytes") + size)
    if result == Result.OK:
        kept.size = size
        kept.bytes[:size].copy_from(TREE.bytes[:size])
    return result


@fn
def load(d: Domain, plan: Plan) -> Result:
    """Fill the domain's RAM."""
    result = load_module(d, plan.entry, plan.kernel)
    if result == Result.OK:
        result = load_module(d, plan.ramdisk_at, plan.ramdisk)
    if result == Result.OK:
        tree = BEGINNINGS[d.id].tree
        result = guest_memory_write(d, GuestPhys(plan.tree_at), tree.bytes[: tree.size])
    return result


@fn
def add_gic_v2(d: Domain) -> Result:
    """The distributor; stage 2 shows the CPU interface, but for the page of GICC_DIR."""
    result = vgic_map_cpu_interface(d)
    if result == Result.OK:
        result = mmio_register(d, GuestPhys(d.layout.gicd), GUEST_GICD_SIZE, vgicd_access)
    if result == Result.OK:
        result = mmio_register(d, GuestPhys(d.layout.gicc + GICC_DIR_PAGE), u64(PAGE_SIZE), vgicc_access)
    return result


@fn
def add_gic_v3(d: Domain) -> Result:
    """The distributor and the redistributors; the CPU interface is the hardware's own."""
    result = mmio_register(d, GuestPhys(d.layout.gicd), GUEST_GICD3_SIZE, vgicd3_access)
    for i in range(d.layout.gicr_count):
        region = d.layout.gicr[i]
        if result == Result.OK:
            result = mmio_register(d, GuestPhys(region.base), u64(region.count) * GUEST_GICR_FRAME, vgicr_access)
    return result


@fn
def add_devices(d: Domain, plan: Plan) -> Result:
    """The interrupt controller and the serial port."""
    mmio_reset(d)
    vgic_init(d)
    d.serial.present = False
    result = add_gic_v3(d) if CONFIG.GICV3 and vgic_is_v3(d) else add_gic_v2(d)
    if result == Result.OK and plan.vpl011 and CONFIG.VPL011:
        vpl011_reset(d.serial)
        result = mmio_register(d, GuestPhys(d.layout.uart), GUEST_PL011_SIZE, vpl011_mmio)
    return result


@fn
def add_vcpus(fdt: Fdt, d: Domain, plan: Plan) -> bool:
    """The vCPUs, each admitted by the scheduler with what the tree says about it. False, and one line said, when one is not.

    The first one starts at the kernel with the tree's address where Linux's boot protocol has it; PSCI starts the others.
    """
    s = zeroed(SchedDomainParams)
    p = zeroed(SchedParams)
    if not sched_domain_params(fdt, plan.node, plan.vcpus, s):
        return False
    sched_domain_init(d.sched, s.weight, s.cap)
    for i in range(plan.vcpus):
        if not sched_vcpu_params(fdt, plan.node, i, s, p):
            return False
        result, v = vcpu_assign(d, p)
        if v is None:
            sched_refuse(fdt, plan.node, i, result)
            return False
        if i == 0:
            arch_vcpu_boot(v, GuestPhys(plan.entry), plan.tree_at)
    return True


@fn
def place_memory(d: Domain, plan: Plan) -> Result:
    """The machine memory that `xen,static-mem` names, in its order, one piece behind the other, or each where it is in the machine."""
    at = u64(0)
    for i in range(u32(MOST_STATIC)):
        place = static_memory(HOST_TREE, plan.node, i)
        if at == plan.memory or place.result != Result.OK:
            break
        result = guest_memory_place(d, place.base if plan.direct else u64(GUEST_RAM0_BASE) + at, place.base, place.size, i == 0)
        if result != Result.OK:
            return result
        at += place.size
    return Result.OK


@fn
def take_memory(fdt: Fdt, d: Domain, plan: Plan) -> bool:
    """What can still fail is that memory is too scattered."""
    result = place_memory(d, plan) if plan.static else guest_memory_create(d, plan.memory)
    if result == Result.OK:
        return True
    log_error(
        f"{domain_name(d)} does not start: {node_path(fdt, plan.node)}: memory: {plan.memory // KIB} KiB in pages "
        f"cannot be had ({result}); ask for less"
    )
    return False


@fn
def take_shared(fdt: Fdt, d: Domain, plan: Plan) -> bool:
    result = shared_memory_acquire(d)
    if result == Result.OK:
        return True
    log_error(
        f"{domain_name(d)} does not start: {node_path(fdt, plan.node)}: its shared memory cannot be had ({result}); "
        f"ask for less, or raise CONFIG_MAX_SHARED_REGIONS"
    )
    return False


@fn
def map_memory(fdt: Fdt, d: Domain, plan: Plan) -> bool:
    """Tables for all that the domain is to see, from a pool of its own, and what it sees."""
    needed = p2m_root_pages() + guest_memory_tables(d) + vgic_tables(d) + SPARE_TABLES
    if CONFIG.STATIC_SHM:
        needed += shared_memory_tables(d)
    if CONFIG.EVENT_CHANNELS and plan.events:
        needed += SHARED_TABLES
    pool = plan.table_pages if plan.table_pages != 0 else needed
    result = p2m_init(d.p2m, Vmid(d.id + 1), pool)
    if result == Result.OK:
        result = guest_memory_map(d)
    if result == Result.OK and CONFIG.STATIC_SHM:
        result = shared_memory_map(d)
    if result == Result.OK:
        result = add_devices(d, plan)
    if CONFIG.EVENT_CHANNELS and result == Result.OK and plan.events:
        result = channels_create(d)
    if result == Result.OK:
        return True
    if plan.table_pages != 0:
        log_error(
            f"{domain_name(d)} does not start: {node_path(fdt, plan.node)}: xen,domain-p2m-mem-mb: {pool} pages of translation tables "
            f"cannot be had or are too few ({result}), {needed} are enough; change it, or leave it out"
        )
    else:
        log_error(
            f"{domain_name(d)} does not start: {node_path(fdt, plan.node)}: memory: {pool} pages of translation tables "
            f"cannot be had ({result}); ask for less"
        )
    return False


@fn
def fill(fdt: Fdt, d: Domain, plan: Plan) -> bool:
    """Everything that makes the domain but its vCPUs. False, and one line said, when the machine has not the memory for it."""
    if not take_memory(fdt, d, plan):
        return False
    if CONFIG.STATIC_SHM and not take_shared(fdt, d, plan):
        return False
    if not map_memory(fdt, d, plan):
        return False
    guest_memory_first_scrub(d)
    result = make_tree(d, plan)
    if result == Result.OK:
        result = load(d, plan)
    if result != Result.OK:
        log_error(f"{domain_name(d)} does not start: {node_path(fdt, plan.node)}: its modules cannot be loaded ({result})")
    return result == Result.OK


@fn
def map_again(d: Domain) -> Result:
    """Stage 2 as at the domain's first start."""
    p2m_empty(d.p2m)
    result = guest_memory_map(d)
    if result == Result.OK and CONFIG.STATIC_SHM:
        result = shared_memory_map(d)
    if result != Result.OK or vgic_is_v3(d):
        return result
    return vgic_map_cpu_interface(d)


@fn
def domain_rebuild(d: Domain) -> Result:
    """Everything as at the domain's first start, with its first vCPU about to begin. None of its vCPUs may be on.

    RAM that no module fills keeps what was in it, as on a machine that restarts. Takes no memory.
    """
    plan = BEGINNINGS[d.id].plan
    if CONFIG.EVENT_CHANNELS and plan.events and channels_reset(d):
        result = map_again(d)
        if result != Result.OK:
            return result
    u = d.serial
    with u.lock:
        if u.present:
            vpl011_reset(u)
        vgic_init(d)
    console_domain_restarts(d)
    result = load(d, plan)
    if result != Result.OK:
        return result
    icache_invalidate()
    p2m_forget_stage1(d.p2m)
    for i in range(d.vcpu_count):
        v = d.vcpus[i]
        if v is not None:
            if i == 0:
                arch_vcpu_boot(v, GuestPhys(plan.entry), plan.tree_at)
            else:
                arch_vcpu_stop(v)
    if CONFIG.EVENT_CHANNELS:
        static_channels_connect(d)
    return Result.OK


@fn
def domain_release(d: Domain) -> None:
    """Give back the memory of a domain that has ended, cleaned of what it left there. The root tables stay, empty: CPUs still point at them."""
    p2m_clear(d.p2m)
    if CONFIG.STATIC_SHM:
        shared_memory_release(d)
    if CONFIG.EVENT_CHANNELS:
        channels_release(d)
    guest_memory_scrub(d)
    guest_memory_release(d)


@fn
def storage_claim(id: u32) -> Result:
    """Memory for what the hypervisor keeps of a domain."""
    return window_claim(address_of(DOMAINS[id]), size_of(Domain))


@fn
def build(fdt: Fdt, plan: Plan) -> bool:
    """Make the domain of a sound plan."""
    id = domain_next()
    if id == MAX_DOMAINS:
        log_error(
            f"{short_name(fdt, plan.node)} does not start: {node_path(fdt, plan.node)}: compatible: "
            f"{CONFIG.MAX_DOMAINS} domains exist already; raise CONFIG_MAX_DOMAINS"
        )
        return False
    result = storage_claim(id)
    if result != Result.OK:
        log_error(f"{short_name(fdt, plan.node)} does not start: no memory is left for what the hypervisor keeps of a domain")
        return False
    d = domain_create(id, short_name(fdt, plan.node))
    d.node = plan.node
    d.layout = plan.layout
    d.affinities = plan.affinities
    d.aarch32 = plan.aarch32
    d.gic_v3 = plan.gic_v3
    if not add_vcpus(fdt, d, plan):
        vcpus_release(d)
        domain_discard(d)
        return False
    if not fill(fdt, d, plan):
        undo(d)
        return False
    BEGINNINGS[d.id].plan = plan
    d.on_crash = plan.on_crash
    d.on_reboot = plan.on_reboot
    trace_name(d)
    trace_domain(d, u64(DomainState.RUNNING), NO_REASON)
    d.state.store(u32(DomainState.RUNNING))
    printk(f"{domain_name(d)}: {plan.memory // KIB} KiB, {plan.vcpus} CPUs, kernel at {plan.entry:#x}, tree at {plan.tree_at:#x}")
    return True


@fn
def undo(d: Domain) -> None:
    if CONFIG.EVENT_CHANNELS:
        channels_release(d)
    vcpus_release(d)
    guest_memory_release(d)
    p2m_discard(d.p2m)
    if CONFIG.STATIC_SHM:
        shared_memory_release(d)
    domain_discard(d)


@fn
def create(fdt: Fdt, node: Node) -> bool:
    plan = zeroed(Plan)
    return plan_domain(fdt, node, vcpus_left(), plan) and build(fdt, plan)


@fn
def built_from(node: Node) -> Domain | None:
    for i in range(CONFIG.MAX_DOMAINS):
        if DOMAINS[i].state.load() == u32(DomainState.RUNNING) and BEGINNINGS[i].plan.node == node:
            return DOMAINS[i]
    return None


@fn
def connect_end(fdt: Fdt, d: Domain, node: Node) -> None:
    end = static_end(fdt, node)
    other = built_from(static_end_domain(fdt, end.peer))
    if other is None:
        log_warning(f"{node_path(fdt, node)}: xen,evtchn leads to a domain that does not start: port {end.port} is not connected")
    elif not static_channel_note(d, end.port, other, static_end(fdt, end.peer).port):
        log_warning(f"{node_path(fdt, node)}: xen,evtchn: there are {CONFIG.STATIC_EVENT_CHANNELS} ends already; raise CONFIG_STATIC_EVENT_CHANNELS")


@fn
def connect_channels(fdt: Fdt) -> None:
    """Static event channels, when all domains are there, in the order of the tree."""
    for i in range(CONFIG.MAX_DOMAINS):
        d = DOMAINS[i]
        if d.state.load() == u32(DomainState.RUNNING) and BEGINNINGS[i].plan.events:
            for node in fdt_children(fdt, BEGINNINGS[i].plan.node):
                if is_static_end(fdt, node):
                    connect_end(fdt, d, node)


@fn
def domains_create(fdt: Fdt) -> u32:
    """Build every domain that is sound, with one clear line for every one that is not. How many there are."""
    chosen = fdt_chosen(fdt)
    count = u32(0)
    if chosen != NO_NODE:
        for node in fdt_children(fdt, chosen):
            if fdt_compatible(fdt, node, b"xen,domain"):
                count += 1 if create(fdt, node) else 0
            elif is_boot_module(fdt, node):
                log_warning(f"{node_path(fdt, node)} is in no domain: ignored; put it into a node compatible with xen,domain")
    if CONFIG.EVENT_CHANNELS:
        connect_channels(fdt)
    if count == 0:
        log_error(f"/chosen: no domain can be started; it needs a sound node compatible with xen,domain")
    console_start()
    return count
