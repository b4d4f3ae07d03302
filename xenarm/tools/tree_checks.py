"""What `make doctor board=B` looks at in a device tree: the hypervisor's own reader and its own checks, run in CPython, up to where they would touch the machine.

Each check gives lines of the report and findings; a finding names node, property and remedy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from freestanding import View, u64, zeroed
from xenarm.arm.layout import IMAGE_ALIGN
from xenarm.config import CONFIG
from xenarm.core import memory
from xenarm.core.addresses import MACHINE_END, HostPhys, machine_has_device
from xenarm.core.log import LOG, LOG_RING, RING_SIZE
from xenarm.core.memory import MEMORY, ClaimKind
from xenarm.core.plan import plan_affinities, plan_bootargs, plan_cpus, plan_ends, plan_modules
from xenarm.core.plan_gic import plan_gic
from xenarm.core.plan_memory import plan_layout, plan_memory, plan_tables
from xenarm.core.plan_state import Plan
from xenarm.core.result import Result
from xenarm.devicetree.reader import NO_NODE, ROOT, Fdt, FdtError, Node, fdt_compatibles, fdt_name, fdt_open, fdt_parent, fdt_property
from xenarm.devicetree.values import fdt_compatible, fdt_find, fdt_interrupt, fdt_raw_reg, fdt_reg, fdt_status_okay, fdt_stdout, fdt_string, fdt_u32
from xenarm.drivers.serial import SERIAL_DRIVERS, SERIAL_SIZE
from xenarm.gic.controller import GIC, PPI_HYP_TIMER, PPI_VIRTUAL_TIMER
from xenarm.gic.v2_layout import ARCHITECTURE, HIP04
from xenarm.gic.v3 import v3_compatible, v3_find
from xenarm.soc.hip04 import restart_offset
from xenarm.soc.rcar_h2 import bit_of
from xenarm.soc.registers import nothing
from xenarm.soc.restarts import no_start
from xenarm.soc.spin_table import spin_release
from xenarm.soc.table import ALL

KIB = 1024
MIB = 1024 * KIB
SERIAL_SYMBOLS = {
    "arm,pl011": "UART_PL011",
    "arm,sbsa-uart": "UART_PL011",
    "ns16550a": "UART_NS16550",
    "ns16550": "UART_NS16550",
    "snps,dw-apb-uart": "UART_NS16550",
    "ti,omap4-uart": "UART_NS16550",
    "ti,omap3-uart": "UART_NS16550",
    "ti,omap2-uart": "UART_NS16550",
    "brcm,bcm2835-aux-uart": "UART_NS16550",
    "cdns,uart-r1p12": "UART_CADENCE",
    "cdns,uart-r1p8": "UART_CADENCE",
    "xlnx,xuartps": "UART_CADENCE",
    "samsung,exynos4210-uart": "UART_EXYNOS4210",
    "renesas,scif": "UART_SCIF",
    "renesas,hscif": "UART_SCIF",
    "renesas,scifa": "UART_SCIF",
}
GICS = {
    b"arm,gic-v3": ("GICv3", "GICV3"),
    b"arm,gic-400": ("GICv2", "GICV2"),
    b"arm,cortex-a15-gic": ("GICv2", "GICV2"),
    b"hisilicon,hip04-intc": ("HiP04's interrupt controller", "GIC_HIP04"),
}
"""What the hypervisor drives, what each is called, and its driver's symbol."""
ANY_NUMBER = 1 << 32
BEYOND = f"there is no remedy: addresses of {47 if CONFIG.ARM64 else 40} bits end there; guests get the memory below"
TIMERS = (b"arm,armv8-timer", b"arm,armv7-timer")
PSCI = (b"arm,psci-1.0", b"arm,psci-0.2", b"arm,psci")
ALIGNMENT = IMAGE_ALIGN if CONFIG.ARM64 else 0x1000
DAMAGE = {
    FdtError.TOO_MANY_NODES: "raise CONFIG_MAX_TREE_NODES, or load a smaller tree",
    FdtError.BAD_MAGIC: "this is no device tree blob: compile the source with dtc",
    FdtError.TOO_SHORT: "the file is cut: load it again",
    FdtError.BAD_SIZE: "the file is cut, or larger than 2 MiB: load it again, or shorten it",
    FdtError.BAD_VERSION: "write it with a dtc of this century: version 17",
}


@dataclass(frozen=True)
class Finding:
    """Something to know: an error keeps the machine, or a domain, from starting; a warning leaves something out."""

    error: bool
    node: str
    what: str  # the property, and what of it
    remedy: str

    def __str__(self) -> str:
        return f"{'error' if self.error else 'warning'}: {self.node}: {self.what}; {self.remedy}"


@dataclass
class Report:
    """Lines by section, and findings in the order in which they were made."""

    sections: dict[str, list[str]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def say(self, section: str, line: str) -> None:
        """A line of the report."""
        self.sections.setdefault(section, []).append(line)

    def error(self, node: str, what: str, remedy: str) -> None:
        """Keeps something from starting."""
        self.findings.append(Finding(True, node, what, remedy))

    def warn(self, node: str, what: str, remedy: str) -> None:
        """Something is left out."""
        self.findings.append(Finding(False, node, what, remedy))

    @property
    def errors(self) -> int:
        """How many there are."""
        return sum(finding.error for finding in self.findings)


@dataclass(frozen=True)
class Place:
    """Where the boot loader is to put the image, and how large that is."""

    load_address: int
    image_size: int


def text(value: object) -> str:
    """A view as text, whatever is in it."""
    return bytes(value).decode("ascii", "backslashreplace")  # type: ignore[call-overload,no-any-return]


def path(fdt: Fdt, node: Node) -> str:
    """A node's full path."""
    parts = []
    while node != ROOT and node != NO_NODE:
        parts.append(text(fdt_name(fdt, node)))
        node = fdt_parent(fdt, node)
    return "/" + "/".join(reversed(parts))


def compatibles(fdt: Fdt, node: Node) -> list[str]:
    """A node's list."""
    return [word for word in text(fdt_compatibles(fdt, node)).split("\0") if word]


class Index:
    """Where to look: the nodes by what they are compatible with, and by parent, from what `fdt_open` has noted. A thousand trees are looked at."""

    def __init__(self) -> None:
        self.compatible: dict[bytes, list[Node]] = {}
        self.children: dict[int, list[Node]] = {}

    def fill(self, fdt: Fdt) -> None:
        """From an opened tree."""
        self.compatible, self.children = {}, {}
        structure = bytes(fdt.structure)
        for number in range(fdt.count):
            place = fdt.places[number]
            if number:
                self.children.setdefault(int(place.parent), []).append(Node(number))
            at = int(place.compatible)
            if at:
                size = int.from_bytes(structure[at + 4 : at + 8])
                for name in structure[at + 12 : at + 12 + size].split(b"\0"):
                    self.compatible.setdefault(name, []).append(Node(number))


INDEX = Index()


def children(node: Node) -> list[Node]:
    """Those of a node."""
    return INDEX.children.get(int(node), [])


def first(fdt: Fdt, wanted: tuple[bytes, ...]) -> Node:
    """The first node in use that is compatible with one of these."""
    return next((node for name in wanted for node in INDEX.compatible.get(name, []) if fdt_status_okay(fdt, node)), NO_NODE)


# ---- the machine -----------------------------------------------------------------------------------------------------


def check_machine(fdt: Fdt, report: Report) -> None:
    """What it is, and what of its SoC is known."""
    _, model = fdt_string(fdt, ROOT, b"model")
    report.say("machine", f"{text(model) or 'no model'} ({', '.join(compatibles(fdt, ROOT)) or 'no compatible'}), {fdt.count} nodes")
    for name, (soc, kept) in ALL.items():
        if fdt_compatible(fdt, ROOT, soc.compatible):
            there = bool(getattr(CONFIG, f"SOC_{name}"))
            report.say("machine", f"SoC {text(soc.compatible)}: {'driven' if there else 'not in this image'}")
            if not there:
                report.warn("/", f"compatible: the image has nothing for {text(soc.compatible)}: CPUs, restart and what must be set right", f"CONFIG_SOC_{name}=y")
            for device, why in kept:
                node = first(fdt, (device.encode(),))
                if node != NO_NODE:
                    report.say("kept from guests", f"{path(fdt, node)}: {why}")
    check_end(fdt, report)


def check_end(fdt: Fdt, report: Report) -> None:
    """By what the machine restarts and turns itself off, for which a domain or a person may ask."""
    psci = ["by PSCI"] if first(fdt, PSCI[:2]) != NO_NODE else []
    rows = [(name, soc) for name, (soc, _) in ALL.items() if fdt_compatible(fdt, ROOT, soc.compatible) and getattr(CONFIG, f"SOC_{name}")]
    for what, by_hand in (("restart", "nothing does it: switch the machine off and on"), ("off", "nothing does it: switch the machine off")):
        ways = [f"by the SoC ({text(soc.compatible)})" for name, soc in rows if getattr(soc, what) is not nothing and (name != "HIP04" or restart_offset(fdt))]
        report.say("machine", f"{what}: {next(iter([*psci, *ways]), by_hand)}")


# ---- memory ----------------------------------------------------------------------------------------------------------


def reset_memory() -> None:
    """As before a boot."""
    for name in ("bank_count", "claim_count", "free_count", "free_pages", "free_page_count"):
        setattr(MEMORY, name, 0)


def claim_name(fdt: Fdt, claim: memory.Claim) -> tuple[str, str]:
    """Node and property of whoever claims memory."""
    if claim.node == NO_NODE:
        return {ClaimKind.IMAGE: "the hypervisor's image", ClaimKind.DTB: "the device tree"}.get(claim.kind, "/memreserve/"), f"entry {claim.entry}"
    prop = {ClaimKind.STATIC: "xen,static-mem", ClaimKind.SHARED: "xen,shared-mem"}.get(claim.kind, "reg")
    return path(fdt, claim.node), prop


def check_memory(fdt: Fdt, place: Place | None, report: Report) -> None:
    """Banks, what is taken of them and by whom, and what is taken twice."""
    reset_memory()
    whole = memory.claim_reserve_map(fdt) and memory.claim_reserved_memory(fdt) and memory.claim_modules(fdt)
    if place is not None:
        whole = whole and memory.claim(ClaimKind.IMAGE, NO_NODE, 0, place.load_address, place.image_size)
    if not whole:
        report.error("/reserved-memory", "reg: more reservations and modules than the image has room for", "raise CONFIG_MAX_MODULES")
    memory.find_banks(fdt)
    check_banks(fdt, report)
    for i in range(MEMORY.claim_count):
        claim = MEMORY.claims[i]
        node, prop = claim_name(fdt, claim)
        report.say("memory", f"  [{claim.base:#x}, {claim.base + claim.size:#x})  taken by {node}")
        for k in range(i):
            if memory.conflict(claim, MEMORY.claims[k]):
                other, _ = claim_name(fdt, MEMORY.claims[k])
                report.error(node, f"{prop}: [{claim.base:#x}, {claim.base + claim.size:#x}) overlaps {other}", "give each its own memory")
    memory.cut_claims(True)
    memory.cut_claims(False)
    report.say("memory", f"{memory.memory_free() // KIB} KiB are free")


def check_banks(fdt: Fdt, report: Report) -> None:
    """What the tree says that there is, and how much of it can be used."""
    given = u64(0)
    for node in children(ROOT):
        if memory.is_memory(fdt, node):
            for index in range(memory.MOST_REG_ENTRIES):
                bank = fdt_raw_reg(fdt, ROOT, node, index)
                if bank.result == Result.NOT_FOUND:
                    break
                if bank.result != Result.OK:
                    report.error(path(fdt, node), "reg: makes no sense", "give address and size, in the root's #address-cells and #size-cells")
                    break
                given += bank.size
                if bank.base + bank.size > MACHINE_END:
                    beyond = bank.base + bank.size - max(bank.base, MACHINE_END)
                    report.warn(path(fdt, node), f"reg: {beyond // MIB} MiB lie beyond {MACHINE_END:#x}, which the hypervisor does not use", BEYOND)
    for i in range(MEMORY.bank_count):
        report.say("memory", f"[{MEMORY.banks[i].base:#x}, {MEMORY.banks[i].end:#x})  {(MEMORY.banks[i].end - MEMORY.banks[i].base) // MIB} MiB")
    if MEMORY.bank_count == 0:
        why = "reg: has size 0" if given == 0 and memory_node(fdt) else "reg: no memory that can be used"
        report.error("/memory", why, "have the boot loader fill it in, or give at least one bank")


def memory_node(fdt: Fdt) -> bool:
    """Whether there is one."""
    return any(memory.is_memory(fdt, node) for node in children(ROOT))


def check_load_address(place: Place, report: Report) -> None:
    """The image, where the board's loader puts it."""
    report.say("load address", f"{place.load_address:#x}, {place.image_size // KIB} KiB with what it clears")
    if place.load_address % ALIGNMENT:
        report.error("the hypervisor's image", f"load address {place.load_address:#x}: not a multiple of {ALIGNMENT:#x}", "load it at one")
    if MEMORY.bank_count and not memory.memory_reaches(place.load_address, place.image_size):
        report.error("the hypervisor's image", f"load address {place.load_address:#x}: not inside the machine's memory", "load it elsewhere, or correct /memory: reg")


# ---- devices ---------------------------------------------------------------------------------------------------------


def check_console(fdt: Fdt, report: Report) -> None:
    """The port that stdout-path names, and its driver."""
    node = fdt_stdout(fdt)
    if node == NO_NODE:
        given = fdt_find(fdt, b"/chosen")
        present = given != NO_NODE and (fdt_property(fdt, given, b"stdout-path")[0] or fdt_property(fdt, given, b"linux,stdout-path")[0])
        what = "stdout-path: names no node of the tree" if present else "stdout-path: missing; the first port with a driver is used"
        report.warn("/chosen", what, 'name the console, as in stdout-path = "serial0:115200n8"')
        node = first(fdt, tuple(bytes(driver.compatible) for driver in SERIAL_DRIVERS))
        if node == NO_NODE:
            return
    check_port(fdt, node, report)


def check_port(fdt: Fdt, node: Node, report: Report) -> None:
    """Driver, registers, interrupt."""
    here, names = path(fdt, node), compatibles(fdt, node)
    report.say("console", f"{here} ({', '.join(names) or 'no compatible'})")
    drivers = [text(driver.compatible) for driver in SERIAL_DRIVERS]
    if not any(name in drivers for name in names):
        known = [SERIAL_SYMBOLS[name] for name in names if name in SERIAL_SYMBOLS]
        remedy = f"CONFIG_{known[0]}=y" if known else "name another port in stdout-path; 'docs/boards.md' lists the drivers"
        report.error(here, f"compatible: this image has no driver for {', '.join(names) or 'a port that says nothing'}", remedy)
        return
    registers = fdt_reg(fdt, node, 0)
    if registers.result != Result.OK or not machine_has_device(registers.base, SERIAL_SIZE):
        report.error(here, "reg: names no registers that the hypervisor can map", "correct it, and the ranges of the buses above")
    else:
        report.say("console", f"registers at {registers.base:#x}")
    interrupt = fdt_interrupt(fdt, node, 0)
    if interrupt.result == Result.OK:
        report.say("console", f"interrupt {interrupt.intid}")
    else:
        report.say("console", "no interrupt that the GIC has: the port is polled, a hundred times a second while it is idle")


def check_gic(fdt: Fdt, report: Report) -> None:
    """The interrupt controller, with what virtualization needs of it."""
    node = first(fdt, tuple(GICS))
    GIC.v3, GIC.legacy, GIC.gicv = node != NO_NODE and v3_compatible(fdt, node), False, HostPhys(0)
    if node == NO_NODE:
        other = next((found[0] for name, found in INDEX.compatible.items() if b"gic" in name), NO_NODE)
        where = "/" if other == NO_NODE else path(fdt, other)
        kind = "no GIC" if other == NO_NODE else ", ".join(compatibles(fdt, other))
        report.error(where, f"compatible: no interrupt controller that the hypervisor drives ({kind})", "name the GICv2 with virtualization (arm,gic-400) or the GICv3 (arm,gic-v3); on a machine that has neither there is no remedy")
        return
    here, v3 = path(fdt, node), bool(v3_compatible(fdt, node))
    kind, symbol = next(GICS[name.encode()] for name in compatibles(fdt, node) if name.encode() in GICS)
    report.say("interrupt controller", f"{here}: {kind}")
    if not getattr(CONFIG, symbol):
        report.error(here, f"compatible: this image has no driver for {kind}", f"CONFIG_{symbol}=y")
    names = ("distributor", "redistributors") if v3 else ("distributor", "CPU interface", "virtual interface", "virtual CPU interface")
    for index, name in enumerate(names):
        part = fdt_reg(fdt, node, index)
        if part.result == Result.OK and machine_has_device(part.base, part.size):
            report.say("interrupt controller", f"{name} at {part.base:#x}")
        else:
            report.error(here, f"reg: entry {index}, the {name}, is missing or cannot be mapped", "the hypervisor needs it: correct reg")
    if v3:
        check_legacy(fdt, node, report)
    maintenance = fdt_interrupt(fdt, node, 0)
    if (maintenance.result != Result.OK and (v3 or maintenance.result == Result.INVALID)) or (maintenance.result == Result.OK and maintenance.intid >= 32):
        report.error(here, "interrupts: no maintenance interrupt", "give it, usually <1 9 4>")


def check_legacy(fdt: Fdt, node: Node, report: Report) -> None:
    """What a GICv3 has for domains that ask for a GICv2."""
    if CONFIG.GICV2_ON_V3 and v3_find(fdt, node) == Result.OK:
        there = f"virtual CPU interface at {int(GIC.gicv):#x}, if the boot finds that ICC_SRE_EL1.SRE can be clear" if GIC.legacy else "no: reg has no GICV"
        report.say("interrupt controller", f"GICv2 for domains that ask for one: {there}")


def check_timer(fdt: Fdt, report: Report) -> None:
    """The CPUs' own timers, by their interrupts."""
    node = first(fdt, TIMERS)
    if node == NO_NODE:
        report.error("/", "compatible: no node for the CPUs' timers", "add one that is compatible with arm,armv8-timer or arm,armv7-timer")
        return
    here = path(fdt, node)
    for index, (name, symbol, wanted) in enumerate((("virtual", "VIRTUAL", PPI_VIRTUAL_TIMER), ("hypervisor", "HYP", PPI_HYP_TIMER)), start=2):
        interrupt = fdt_interrupt(fdt, node, index)
        if interrupt.result != Result.OK:
            report.warn(here, f"interrupts: entry {index}, the {name} timer's, is missing; {wanted} is taken", "give all four")
        elif interrupt.intid != wanted:
            report.error(here, f"interrupts: the {name} timer has {interrupt.intid}, this image takes {wanted}", f"CONFIG_PPI_{symbol}_TIMER={interrupt.intid}")
        else:
            report.say("timer", f"{name}: interrupt {wanted}")
    if fdt_property(fdt, node, b"arm,cpu-registers-not-fw-configured")[0]:
        report.warn(here, "arm,cpu-registers-not-fw-configured: the firmware may have left CNTFRQ and CNTVOFF as they were", "use a boot loader that sets them, as U-Boot does")


def check_cpus(fdt: Fdt, report: Report) -> None:
    """How each starts."""
    cpus, psci = fdt_find(fdt, b"/cpus"), first(fdt, PSCI)
    report.say("PSCI", f"{path(fdt, psci)}: {', '.join(compatibles(fdt, psci))}" if psci != NO_NODE else "none")
    check_psci(fdt, psci, report)
    if cpus == NO_NODE:
        report.error("/cpus", "reg: no CPU is described", "add the node, with one for each CPU")
        return
    all_cpus = [node for node in children(cpus) if text(fdt_string(fdt, node, b"device_type")[1]) == "cpu"]
    used = [node for node in all_cpus if fdt_status_okay(fdt, node)]
    report.say("CPUs", f"{len(used)}{f', {len(all_cpus) - len(used)} disabled' if len(used) < len(all_cpus) else ''}")
    ways = [way for node in used[1:] if (way := way_of(fdt, cpus, node, psci, report))]
    if ways or len(used) < 2:
        report.say("CPUs", f"start by {', '.join(sorted(set(ways))) or 'nothing: there is one'}")
    check_kinds(fdt, used, report)
    if used and len(ways) + 1 < len(used):
        report.say("CPUs", f"{len(ways) + 1} of the {len(used)} run, the others stay off")
    room = room_of_gic(fdt)
    most = min(CONFIG.MAX_CPUS, room)
    if len(used) > most:
        report.warn("/cpus", f"reg: {len(used)} CPUs, of which this image uses {most}", "raise CONFIG_MAX_CPUS" if most < room else f"there is no remedy: the interrupt controller has room for {room}")


def check_kinds(fdt: Fdt, used: list[Node], report: Report) -> None:
    """Whether all CPUs are alike, by what they are compatible with."""
    kinds = sorted({name for node in used for name in compatibles(fdt, node)[:1]})
    if len(kinds) < 2:
        return
    kinds_said = f"of different kinds: {', '.join(kinds)}"
    if CONFIG.MIXED_CPUS:
        report.say("CPUs", f"{kinds_said}; a domain has those of the CPU that boots, unless its hard-affinity names others")
    else:
        report.warn("/cpus", f"compatible: {kinds_said}; those of another kind than the one that boots stay off", "CONFIG_MIXED_CPUS=y")


def room_of_gic(fdt: Fdt) -> int:
    """So many CPUs as the controller can have."""
    node = first(fdt, tuple(GICS))
    if node == NO_NODE or v3_compatible(fdt, node):
        return ANY_NUMBER
    return int((HIP04 if fdt_compatible(fdt, node, b"hisilicon,hip04-intc") else ARCHITECTURE).cpus)


def check_psci(fdt: Fdt, psci: Node, report: Report) -> None:
    """The firmware is called by SMC from EL2, whatever the tree says for Linux at EL1."""
    if psci == NO_NODE:
        return
    if fdt_compatible(fdt, psci, b"arm,psci") and not any(fdt_compatible(fdt, psci, View(n, 0, len(n))) for n in PSCI[:2]):
        if fdt_u32(fdt, psci, b"cpu_on", 0) == 0:
            report.warn(path(fdt, psci), "cpu_on: missing: PSCI 0.1 has the functions' numbers in its node", "give it, or use firmware with PSCI 0.2")
        report.say("PSCI", "version 0.1 cannot turn the machine off or restart it")


def way_of(fdt: Fdt, cpus: Node, node: Node, psci: Node, report: Report) -> str:
    """How a CPU starts; empty, and a finding, when it does not."""
    sound, method = fdt_string(fdt, node, b"enable-method")
    if not sound:
        sound, method = fdt_string(fdt, cpus, b"enable-method")
    name = text(method)
    if name == "spin-table" and CONFIG.ARM64:
        if not CONFIG.SPIN_TABLE:
            report.warn(path(fdt, node), "enable-method: this image has no spin table; the CPU stays off", "CONFIG_SPIN_TABLE=y")
            return ""
        if spin_release(fdt, node) == 0:
            report.warn(path(fdt, node), "cpu-release-addr: missing, odd or out of reach; the CPU stays off", "give the address of the firmware's word")
            return ""
        return "spin table"
    if psci != NO_NODE:
        return "PSCI"
    for symbol, (soc, _) in ALL.items():
        if fdt_compatible(fdt, ROOT, soc.compatible) and getattr(CONFIG, f"SOC_{symbol}") and soc.start is not no_start:
            return way_of_soc(fdt, cpus, node, symbol, report)
    report.warn(path(fdt, node), f"enable-method: '{name}': this image has no way to start the CPU, and there is no PSCI", "use firmware with PSCI, or add the SoC to xenarm/soc")
    return ""


def way_of_soc(fdt: Fdt, cpus: Node, node: Node, symbol: str, report: Report) -> str:
    """How the SoC's driver starts a CPU, with the first of the tree as the one that boots."""
    compatible = text(ALL[symbol][0].compatible)
    if symbol != "RCAR_H2":
        return f"the SoC's own way ({compatible})"
    mpidr = u64(fdt_raw_reg(fdt, cpus, node, 0).base)
    of_clusters = [bit_of(fdt, apmu, mpidr)[0] for apmu in INDEX.compatible.get(b"renesas,apmu", [])]
    if not any(of_clusters):
        report.warn(path(fdt, node), "reg: no renesas,apmu lists the CPU; it stays off", "list it in the cpus of its cluster's APMU")
        return ""
    boots = u64(fdt_raw_reg(fdt, cpus, children(cpus)[0], 0).base)
    same = any(there and bit_of(fdt, apmu, boots)[0] for there, apmu in zip(of_clusters, INDEX.compatible[b"renesas,apmu"], strict=True))
    if same or CONFIG.MIXED_CPUS:
        return f"the SoC's own way ({compatible})"
    report.warn(path(fdt, node), f"reg: not in the cluster that boots, taken to be {path(fdt, children(cpus)[0])}'s; the CPU stays off", "CONFIG_MIXED_CPUS=y")
    return ""


# ---- domains ---------------------------------------------------------------------------------------------------------


def said_by(check: Callable[[], bool]) -> tuple[bool, list[str]]:
    """What a check of the hypervisor's logs, without the time."""
    start = int(LOG.written)
    result = bool(check())
    raw = bytes(LOG_RING[at % RING_SIZE] for at in range(max(start, int(LOG.written) - RING_SIZE), int(LOG.written)))
    return result, [line.split("] ", 1)[-1] for line in raw.decode("ascii", "replace").splitlines() if line]


def check_domains(fdt: Fdt, report: Report) -> None:
    """Each, as the boot would plan it, but for the bytes of its kernel."""
    chosen = fdt_find(fdt, b"/chosen")
    domains = [node for node in (children(chosen) if chosen != NO_NODE else []) if fdt_compatible(fdt, node, b"xen,domain")]
    left = CONFIG.MAX_VCPUS
    for node in domains:
        plan = zeroed(Plan)
        plan.node = node
        plan.vpl011, _ = fdt_property(fdt, node, b"vpl011")
        sound, lines = said_by(
            lambda plan=plan: plan_gic(fdt, plan)  # type: ignore[misc]
            and plan_cpus(fdt, plan, left)
            and plan_layout(fdt, plan)
            and plan_memory(fdt, plan)
            and plan_tables(fdt, plan)
            and plan_modules(fdt, plan)
            and plan_bootargs(fdt, plan)
            and (not plan.special or plan_affinities(fdt, plan))
            and plan_ends(fdt, plan)
        )
        for line in lines:
            report.findings.append(from_log(line, not sound, path(fdt, node)))
        if sound:
            left -= int(plan.vcpus)
            report.say("domains", f"{path(fdt, node)}: {describe(plan)}")
    if not domains:
        report.say("domains", "none yet: 'make deploy' and ImageBuilder write them in")
    if len(domains) > CONFIG.MAX_DOMAINS:
        report.warn("/chosen", f"compatible: {len(domains)} domains, of which this image starts {CONFIG.MAX_DOMAINS}", "raise CONFIG_MAX_DOMAINS")


def from_log(line: str, error: bool, node: str) -> Finding:
    """The hypervisor's own line: `name does not start: /node: what; remedy`."""
    body = line.split(" does not start: ", 1)[-1]
    if body.startswith("/") and ": " in body:
        node, body = body.split(": ", 1)
    what, _, remedy = body.rpartition("; ")
    return Finding(error, node, what or body, remedy if what else "see docs/domains.md")


def describe(plan: Plan) -> str:
    """What the domain gets."""
    kind = "direct-mapped" if plan.direct else "static" if plan.static else "allocated"
    parts = [f"{plan.vcpus} CPUs", f"a GICv{3 if plan.gic_v3 else 2}", f"{plan.memory // KIB} KiB of memory ({kind})", f"kernel at {plan.kernel.base:#x}"]
    parts += [f"RAM disk at {plan.ramdisk.base:#x}"] if plan.ramdisk.size else []
    return ", ".join(parts + (["a serial port"] if plan.vpl011 else []))


# ---- all of it -------------------------------------------------------------------------------------------------------

HOST = zeroed(Fdt)


def examine(blob: bytes, place: Place | None = None) -> Report:
    """Everything about a tree."""
    report = Report()
    error = fdt_open(HOST, View(blob, 0, len(blob)))
    if error != FdtError.NONE:
        report.error("the device tree", f"{error.name}", DAMAGE.get(error, "the blob is damaged: compile or load it again"))
        return report
    INDEX.fill(HOST)
    check_machine(HOST, report)
    check_memory(HOST, place, report)
    if place is not None:
        check_load_address(place, report)
    check_console(HOST, report)
    machine = GIC.v3, GIC.legacy, GIC.gicv  # this process's own, when it has a machine
    check_gic(HOST, report)
    check_timer(HOST, report)
    check_cpus(HOST, report)
    check_domains(HOST, report)
    GIC.v3, GIC.legacy, GIC.gicv = machine
    return report
