"""What a domain's device-tree node says about scheduling: checked, with one line that names node and property when something is wrong.

`hard-affinity` in a child compatible with `xen,vcpu` is Xen's (docs/misc/arm/device-tree/booting.txt); the rest are ours, with xl's names.
A property in a `xen,vcpu` node goes before the same in the domain's node. The table is in docs/scheduling.md.
"""

from freestanding import Array, Struct, View, array, fn, u8, u32, u64, usize, zeroed
from xenarm.config import CONFIG
from xenarm.core.log import log_error
from xenarm.core.result import Result
from xenarm.core.sched.options import number_of
from xenarm.core.sched.scheduler import SCHED, params_default, sched_kin, sched_name
from xenarm.core.sched.state import DEFAULT_WEIGHT, MOST_WINDOWS, NEVER, SchedParams
from xenarm.devicetree.reader import NO_NODE, Fdt, Node, fdt_children, fdt_chosen, fdt_mentions, fdt_name, fdt_property
from xenarm.devicetree.values import fdt_compatible, fdt_path

__all__ = ["SchedDomainParams", "sched_domain_params", "sched_refuse", "sched_vcpu_params"]

MOST_WEIGHT = 65535  # Xen's XEN_DOMCTL_SCHED_CREDIT2 weights are 16 bits wide
SHORTEST_US = 10  # Xen's RTDS_MIN_PERIOD and RTDS_MIN_BUDGET
LONGEST_US = 4_000_000
LONGEST_FRAME_US = 100_000_000
COMMA = 0x2C
MINUS = 0x2D
AT = 0x40
CELL = 4
WINDOW = 3 * CELL
MOST_CPU = 63


class SchedDomainParams(Struct):
    """What concerns the domain as a whole: the arguments of `sched_domain_init`; the CPUs of the one kind that its vCPUs use, 0 before the first."""

    weight: u32
    cap: u32
    kin: u64


class Text(Struct):
    """Room for the path of a message. Only the booting CPU reads parameters."""

    path: Array[u8] = array(u8, 128)


TEXT = zeroed(Text)


# ---- messages -----------------------------------------------------------------------------------------------------------


@fn
def path_of(fdt: Fdt, node: Node) -> View[u8]:
    return TEXT.path[: fdt_path(fdt, node, TEXT.path)]


@fn
def name_of(fdt: Fdt, node: Node) -> View[u8]:
    name = fdt_name(fdt, node)
    return name[: name.find(AT)]


@fn
def wrong(fdt: Fdt, domain: Node, node: Node, name: View[u8], what: View[u8], remedy: View[u8]) -> bool:
    """The one line about a domain that does not start; always False."""
    log_error(f"{name_of(fdt, domain)} does not start: {path_of(fdt, node)}: {name} {what}; {remedy}")
    return False


@fn
def out_of_range(fdt: Fdt, domain: Node, node: Node, name: View[u8], value: u32, least: u32, most: u32) -> bool:
    log_error(f"{name_of(fdt, domain)} does not start: {path_of(fdt, node)}: {name} is {value}; give a number from {least} to {most}")
    return False


# Of schedulers that the image has not nothing is said.
NO_WINDOW = b", or the CPU of its window" if CONFIG.SCHED_ARINC653 else b""
NO_CPU = b"none of its CPUs is there: correct hard-affinity%s" % NO_WINDOW
NO_CPU_LEFT = b"no CPU is left for it: ask for fewer cpus, or choose another scheduler%s" % (b", or CPUs of another kind by hard-affinity" if CONFIG.MIXED_CPUS else b"")
NO_TIME = b"the CPUs do not have that much time: lower xen,sched-budget-us, or raise xen,sched-period-us" if CONFIG.SCHED_RTDS else b""
WINDOW_TAKEN = b"a window overlaps another: correct xen,arinc653-windows" if CONFIG.SCHED_ARINC653 else b""
NO_FRAME = b"its windows do not fit the frame: correct xen,arinc653-windows, or /chosen's xen,arinc653-major-frame-us" if CONFIG.SCHED_ARINC653 else b""


@fn
def reason(result: Result) -> View[u8]:
    """Why a scheduler refused a vCPU."""
    match result:
        case Result.NO_MEMORY:
            return NO_CPU_LEFT
        case Result.DENIED:
            return NO_TIME
        case Result.NOT_FOUND:
            return NO_CPU
        case Result.BUSY:
            return WINDOW_TAKEN
        case Result.INVALID:
            return NO_FRAME
        case Result.OK:
            return b"nothing is wrong"


@fn
def sched_refuse(fdt: Fdt, domain: Node, vcpu: u32, result: Result) -> None:
    """The one line about a vCPU that `sched_insert` refused."""
    log_error(f"{name_of(fdt, domain)} does not start: {path_of(fdt, domain)}: vcpu {vcpu} by scheduler {sched_name()}: {reason(result)}")


# ---- values -------------------------------------------------------------------------------------------------------------


@fn
def cell(fdt: Fdt, domain: Node, node: Node, name: View[u8], least: u32, most: u32, value: u32) -> tuple[bool, u32]:
    """A number in that range, `value` when the node does not have it. False: wrong, and said so."""
    present, data = fdt_property(fdt, node, name)
    if not present:
        return True, value
    if len(data) != CELL:
        return wrong(fdt, domain, node, name, b"is no number of one cell", b"correct it"), value
    number = data.load_be32(0)
    if number < least or number > most:
        return out_of_range(fdt, domain, node, name, number, least, most), value
    return True, number


@fn
def cpu_range(text: View[u8]) -> tuple[bool, u64]:
    """`3` or `0-3` as a set of CPUs."""
    middle = text.find(MINUS)
    sound, first = number_of(text[:middle])
    last = first
    if middle < len(text):
        whole, last = number_of(text[middle + 1 :])
        sound = sound and whole
    if not sound or first > last or last > MOST_CPU:
        return False, 0
    return True, u64(NEVER) >> (MOST_CPU - last) & ~((u64(1) << first) - 1)


@fn
def cpu_list(text: View[u8]) -> tuple[bool, u64]:
    """Ranges separated by commas."""
    cpus = u64(0)
    rest = text
    while True:
        end = rest.find(COMMA)
        sound, some = cpu_range(rest[:end])
        if not sound:
            return False, 0
        cpus |= some
        if end == len(rest):
            return True, cpus
        rest = rest[end + 1 :]


@fn
def affinity(fdt: Fdt, domain: Node, node: Node, p: SchedParams) -> bool:
    present, data = fdt_property(fdt, node, b"hard-affinity")
    if not present:
        return True
    sound, cpus = cpu_list(data[: data.find(0)])
    if not sound or data.find(0) + 1 != len(data):
        return wrong(fdt, domain, node, b"hard-affinity", b"is no list of CPUs", b'write it as "0-3,5"')
    p.affinity = cpus
    return True


@fn
def realtime(fdt: Fdt, domain: Node, node: Node, p: SchedParams) -> bool:
    sound, value = cell(fdt, domain, node, b"xen,sched-period-us", SHORTEST_US, LONGEST_US, p.period_us)
    p.period_us = value
    if not sound:
        return False
    sound, value = cell(fdt, domain, node, b"xen,sched-budget-us", SHORTEST_US, LONGEST_US, p.budget_us)
    p.budget_us = value
    if not sound:
        return False
    sound, extratime = cell(fdt, domain, node, b"xen,sched-extratime", 0, 1, u32(1) if p.extratime else u32(0))
    p.extratime = extratime != 0
    return sound


@fn
def windows(fdt: Fdt, domain: Node, node: Node, p: SchedParams) -> bool:
    """Triples of CPU, offset and length in microseconds."""
    present, data = fdt_property(fdt, node, b"xen,arinc653-windows")
    if not present:
        return True
    if len(data) == 0 or len(data) % WINDOW != 0:
        return wrong(fdt, domain, node, b"xen,arinc653-windows", b"is no list of triples", b"give CPU, offset and length of each window")
    if len(data) // WINDOW > MOST_WINDOWS:
        return wrong(fdt, domain, node, b"xen,arinc653-windows", b"has too many windows", b"raise CONFIG_SCHED_ARINC653_WINDOWS")
    p.window_count = u32(len(data) // WINDOW)
    for i in range(p.window_count):
        at = usize(i) * WINDOW
        p.windows[i].cpu = data.load_be32(at)
        p.windows[i].offset_us = data.load_be32(at + CELL)
        p.windows[i].length_us = data.load_be32(at + 2 * CELL)
    return True


@fn
def frame(fdt: Fdt, domain: Node, p: SchedParams) -> bool:
    chosen = fdt_chosen(fdt)
    if chosen == NO_NODE:
        return True
    sound, value = cell(fdt, domain, chosen, b"xen,arinc653-major-frame-us", SHORTEST_US, LONGEST_FRAME_US, p.frame_us)
    p.frame_us = value
    return sound


@fn
def arinc(fdt: Fdt, domain: Node, node: Node, p: SchedParams) -> bool:
    return windows(fdt, domain, node, p) and frame(fdt, domain, p)


@fn
def no_arinc(fdt: Fdt, domain: Node, node: Node, p: SchedParams) -> bool:
    return True


frames = arinc if CONFIG.SCHED_ARINC653 else no_arinc


@fn
def node_params(fdt: Fdt, domain: Node, node: Node, p: SchedParams) -> bool:
    """What one node says about a vCPU."""
    if fdt_mentions(fdt, node, b"hard-affinity") and not affinity(fdt, domain, node, p):
        return False
    if CONFIG.SCHED_RTDS and fdt_mentions(fdt, node, b"xen,sched-") and not realtime(fdt, domain, node, p):
        return False
    return not CONFIG.SCHED_ARINC653 or not fdt_mentions(fdt, node, b"xen,arinc653-") or frames(fdt, domain, node, p)


# ---- nodes --------------------------------------------------------------------------------------------------------------


@fn
def vcpu_node(fdt: Fdt, domain: Node, vcpu: u32) -> Node:
    """The child that describes a vCPU; NO_NODE when there is none. `sched_domain_params` has checked them all."""
    for child in fdt_children(fdt, domain):
        if fdt_compatible(fdt, child, b"xen,vcpu"):
            present, data = fdt_property(fdt, child, b"id")
            if present and len(data) == CELL and data.load_be32(0) == vcpu:
                return child
    return NO_NODE


@fn
def check_vcpu_nodes(fdt: Fdt, domain: Node, vcpus: u32) -> bool:
    for child in fdt_children(fdt, domain):
        if fdt_compatible(fdt, child, b"xen,vcpu"):
            present, _ = fdt_property(fdt, child, b"id")
            if not present:
                return wrong(fdt, domain, child, b"id", b"is missing", b"say which vCPU it is about, <0> for the first")
            sound, vcpu = cell(fdt, domain, child, b"id", 0, vcpus - 1, 0)
            if not sound:
                return False
            if vcpu_node(fdt, domain, vcpu) != child:
                return wrong(fdt, domain, child, b"id", b"is another node's too", b"describe each vCPU once")
    return True


@fn
def sched_domain_params(fdt: Fdt, domain: Node, vcpus: u32, d: SchedDomainParams) -> bool:
    """Read what concerns a domain of so many vCPUs (one at least). False, and one line said, when something is wrong."""
    d.weight = DEFAULT_WEIGHT
    d.cap = 0
    d.kin = 0
    if CONFIG.SCHED_CREDIT2 and fdt_mentions(fdt, domain, b"xen,sched-") and not weight_and_cap(fdt, domain, vcpus, d):
        return False
    return check_vcpu_nodes(fdt, domain, vcpus)


@fn
def weight_and_cap(fdt: Fdt, domain: Node, vcpus: u32, d: SchedDomainParams) -> bool:
    sound, value = cell(fdt, domain, domain, b"xen,sched-weight", 1, MOST_WEIGHT, DEFAULT_WEIGHT)
    d.weight = value
    if not sound:
        return False
    sound, value = cell(fdt, domain, domain, b"xen,sched-cap", 0, 100 * vcpus, 0)
    d.cap = value
    return sound


@fn
def one_kind(fdt: Fdt, domain: Node, node: Node, d: SchedDomainParams, p: SchedParams) -> bool:
    """What a vCPU's CPU says of itself, its caches' lines among it, the domain takes for what all of them have."""
    if d.kin == 0:
        d.kin = sched_kin(p.affinity)
    if p.affinity & SCHED.cpus & ~d.kin != 0:
        return wrong(fdt, domain, node, b"hard-affinity", b"makes the domain one of CPUs of different kinds", b"name CPUs of one kind")
    return True


@fn
def any_kind(fdt: Fdt, domain: Node, node: Node, d: SchedDomainParams, p: SchedParams) -> bool:
    return True


kinds = one_kind if CONFIG.MIXED_CPUS else any_kind


@fn
def sched_vcpu_params(fdt: Fdt, domain: Node, vcpu: u32, d: SchedDomainParams, p: SchedParams) -> bool:
    """Read what concerns one vCPU, the first one first: the defaults, then the domain's node, then the vCPU's. False, and one line said, when something is wrong."""
    params_default(p)
    if not node_params(fdt, domain, domain, p):
        return False
    node = vcpu_node(fdt, domain, vcpu)
    if node != NO_NODE and not node_params(fdt, domain, node, p):
        return False
    where = domain if node == NO_NODE else node
    if not kinds(fdt, domain, where, d, p):
        return False
    if CONFIG.SCHED_RTDS and p.budget_us > p.period_us:
        return wrong(fdt, domain, where, b"xen,sched-budget-us", b"is more than xen,sched-period-us", b"lower it")
    return True
