"""Where a virtual interrupt controller may differ from QEMU's own: the one table, by the names of the walking guest's lines."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["DIFFERENT", "Difference"]


class Difference(NamedTuple):
    """What the machine says, what a domain is told, and why both may be."""

    bare: list[str]
    domain: list[str]
    why: str


def sizes(*rows: tuple[int, list[str]]) -> list[str]:
    return [f"{access} of {width} at {run}" for width, runs in rows for access in ("loads", "stores") for run in runs]


ANSWER = ["0x0-0xfff answer"]
ABORT = ["0x0-0xfff abort"]
BYTES = ["0x0-0x3ff abort", "0x400-0xbff answer", "0xc00-0xeff abort", "0xf00-0xf7f answer", "0xf80-0xfff abort"]
OWN_TARGETS = "own 0-last 0x1010101 0x1010101 0x1010101 0x7588557f"
NOTHING = "beyond 0-last 0x0 0x0 0x0 0x0"
OWN_PENDING = "own 0-last 0x0 0xffff0000 0x0 0x398edad"
OWN_CONFIG = "own 0-0 0xaaaaaaaa 0xaaaaaaaa 0xaaaaaaaa 0x2be565fb"
SHARED_CONFIG = "shared 0-last 0x0 0xaaaaaaaa 0x0 0x98002a29"

EQUALS = Difference(
    ["0x3 0x16 0x28 0x29"],
    ["0x29 0x16 0x28 0x3"],
    "which of several of the same priority comes first is the implementation's (IHI 0048B 3.3, IHI 0069 4.8): QEMU goes by INTIDs, its virtual interface by list registers",
)


def groups(**changed: str) -> list[str]:
    """Which group's interrupt is signalled, and seen as the highest pending one, by the enables of the distributor and of the interface (`on<d><i>`)."""
    none = {f"{d}{i}": "0x0 0x3ff 0x3ff" for d in range(4) for i in range(4)}
    rows = none | {name.removeprefix("on"): text for name, text in changed.items()}
    return [f"{int(name, 16):#x} {text}" for name, text in rows.items()] + ["0x28 0x29 0x3ff"]


V2_BOTH = {"on11": "0x1 0x28 0x28", "on12": "0x0 0x28 0x28", "on13": "0x1 0x28 0x28", "on31": "0x1 0x28 0x28", "on32": "0x0 0x28 0x28", "on33": "0x1 0x28 0x28"}
V3_BOTH = {"on11": "0x1 0x28 0x3ff", "on13": "0x1 0x28 0x3ff", "on22": "0x2 0x3ff 0x29", "on23": "0x2 0x3ff 0x29", "on31": "0x1 0x28 0x3ff", "on33": "0x1 0x28 0x3ff"}


def came(which: str, *cpus: str) -> list[str]:
    """What has come to each CPU in the end."""
    return [which, *(f"{n:#x} {what}" for n, what in enumerate(cpus or ["0x0"] * 4))]


def by_stores(deactivated: bool) -> list[str]:
    """Twelve from 40 on, all active by split ends: ICACTIVER of each, in another order; all active by ISACTIVER, each second one pending too; then GICC_DIR of each."""
    active, lines = 0xFFF, []
    for n in range(12):
        active &= ~(1 << n * 5 % 12)
        lines.append(f"0x100 {active << 8:#x}")
    lines.append("0xfff00 0x0 0x3ff")
    for n in range(12):
        left = 0xFFF >> n + 1 << n + 1 if deactivated else 0xFFF
        state = (0x100 if deactivated else 0x110) | n & 1
        lines.append(f"{state:#x} {left << 8:#x} " + (f"0x2 {40 + n:#x}" if n & 1 else "0x0 0x3ff"))
    return [*lines, f"0x3ff {0 if deactivated else 0xFFF00:#x}"]


V2 = {
    "distributor.typer": Difference(["0x8 0x3"], ["0x7 0x3"], "how many interrupts there are is the implementation's (IHI 0048B 4.3.2): 288, and CONFIG_VGIC_INTIDS"),
    "distributor.iidr": Difference(["0x43b"], ["0x200043b"], "so is who made it (4.3.3): QEMU names no product, ours is the GIC-400 that PIDR tells of"),
    "distributor.itargetsr": Difference(
        [OWN_TARGETS, "shared 0-last 0x0 0xffffffff 0x0 0xdeba57c1", NOTHING],
        [OWN_TARGETS, "shared 0-last 0x0 0xf0f0f0f 0x0 0x36778e30", NOTHING],
        "bits of CPU interfaces that are not there are zero (4.3.12): QEMU keeps them",
    ),
    "distributor.ispendr-no-target": Difference(
        [OWN_PENDING, "shared 0-last 0x0 0x0 0x0 0x0", NOTHING],
        [OWN_PENDING, "shared 0-last 0x0 0xffffffff 0x0 0x45529717", NOTHING],
        "an interrupt is pending whoever its targets are (4.3.7, 3.2.4): QEMU keeps it for each CPU, and forgets it where there is no target",
    ),
    "distributor.icfgr": Difference(
        [OWN_CONFIG, "own 1-last 0x0 0xaaaaaaaa 0x0 0x98002a29", SHARED_CONFIG, NOTHING],
        [OWN_CONFIG, "own 1-last 0x0 0x0 0x0 0x0", SHARED_CONFIG, NOTHING],
        "whether what PPIs are can be changed is the implementation's (4.3.13)",
    ),
    "interface.bpr": Difference(["0x0 0x7 0x0 0xf2a604d1"], ["0x2 0x7 0x2 0x5dc773d0"], "the least value is the implementation's (4.4.3), and 2 in GICV_BPR, with 32 levels of priority (5.5)"),
    "interface.abpr": Difference(["0x1 0x7 0x1 0xb2eed5ee"], ["0x3 0x7 0x1 0xb2eed5ee"], "the same, one more (4.4.8); the interface is the hardware's, here QEMU's, which takes the lesser value for GICV_ABPR too"),
    "interface.active-priorities": Difference(
        ["at 208-236 0x0 0xffffffff 0x0 0xdeba57c1"],
        ["at 208-208 0x0 0xffffffff 0x0 0xdeba57c1", "at 212-236 0x0 0x0 0x0 0x0"],
        "how many there are follows from the levels of preemption (4.4, GICC_APRn): 32 in GICV_APR0 (5.5), QEMU's GICC has all that there may be",
    ),
    "sizes.size-distributor": Difference(
        sizes((1, ANSWER), (2, ANSWER), (4, ANSWER), (8, ANSWER)),
        sizes((1, BYTES), (2, ABORT), (4, ANSWER), (8, ABORT)),
        "what becomes of other sizes is not the architecture's to say (4.1.4): QEMU takes them apart or together, we abort; no state changes",
    ),
    "sizes.size-interface": Difference(
        sizes(*((width, ["0x0-0x1fff answer"]) for width in (1, 2, 4, 8))),
        sizes(*((width, ["0x0-0x1fff answer"]) for width in (1, 2, 4)), (8, ["0x0-0xfff answer", "0x1000-0x1fff abort"])),
        "the same; GICC_DIR's page is ours",
    ),
    "rules.equals": EQUALS,
    "rules.groups": Difference(
        groups(**V2_BOTH, on21="0x0 0x28 0x28", on22="0x0 0x28 0x28", on23="0x0 0x28 0x28"),
        groups(**V2_BOTH, on21="0x0 0x29 0x29", on22="0x2 0x29 0x29", on23="0x2 0x29 0x29"),
        "what is in a group that the distributor does not forward hides nothing (4.3.1; 4.4, GICC_HPPIR): QEMU's group 0 hides the less urgent of group 1",
    ),
    "crowd.many-stores": Difference(
        by_stores(False),
        by_stores(True),
        "GICC_DIR deactivates an interrupt, whoever made it active (4.4.15): QEMU keeps for each CPU whether an SPI is active, GICD_ISACTIVER sets it for all and GICC_DIR clears it for one",
    ),
    "processors.spi-moves": Difference(
        ["0x101", "0x0 0x0", *came("0x0"), "0x1 0x0", *came("0x1")],
        ["0x101", "0x0 0x1", *came("0x0"), "0x1 0x2", *came("0x1")],
        "a pending interrupt goes where its targets say now (4.3.12): QEMU's stays with those it had when it became pending, and is lost",
    ),
    "processors.active-elsewhere": Difference(
        ["0x28 0x110", "0x110", "0x111 0x228", "0x0 0x0", *came("0x0")],
        ["0x28 0x110", "0x110", "0x111 0x0", "0x0 0x1", *came("0x0")],
        "what is active and pending is not signalled before it is inactive (3.2.4): QEMU's new target takes it at once",
    ),
    "processors.several-targets": Difference(
        ["0x0 0xc", *came("0x0")], ["0x0 0x4", *came("0x0")], "one of several targets takes it, the others find none (3.2.3): QEMU's all take it; ours goes to the first"
    ),
}

BEYOND_V3 = "what GICD_TYPER does not count is RES0 (IHI 0069 12.9, GICD_TYPER): QEMU 7.2 counts without SGIs and PPIs, and has 32 more than it says"
PRIORITIES = "there are as many bits as the CPU interface has, five (4.8): QEMU's keep eight"
LPIS = "LPIs are optional (12.9, GICD_TYPER.LPIS): QEMU has them, we have not, so that these are reserved"


def array(bits: int, shared: str) -> list[str]:
    """Of QEMU's distributor, with as many registers too many as 32 interrupts need."""
    return ["own 0-last 0x0 0x0 0x0 0x0", f"shared 0-last {shared}", f"beyond 0-{bits - 1} {shared}", f"beyond {bits}-last 0x0 0x0 0x0 0x0"]


def exact(shared: str) -> list[str]:
    return ["own 0-last 0x0 0x0 0x0 0x0", f"shared 0-last {shared}", "beyond 0-last 0x0 0x0 0x0 0x0"]


PLAIN = "0x0 0xffffffff 0x0 0xdeba57c1"
PLAIN5 = "0x0 0xf8f8f8f8 0x0 0xba6b2acd"
SET_CLEAR = "0x0 0xffffffff 0x0 0x45529717"
CONFIG = "0x0 0xaaaaaaaa 0x0 0x98002a29"
KEPT_ROUTE = "0xffffffff 0xffffffff 0x80010203 0x7ffefdfc"

V3 = {
    "distributor.typer": Difference(["0x7 0x1bd000"], ["0x7 0x124000"], "GICD_TYPER.LPIS and IDbits: see the redistributor's; the rest is equal"),
    "distributor.igroupr": Difference(array(1, PLAIN), exact(PLAIN), BEYOND_V3),
    "distributor.isenabler": Difference(array(1, SET_CLEAR), exact(SET_CLEAR), BEYOND_V3),
    "distributor.ispendr": Difference(array(1, SET_CLEAR), exact(SET_CLEAR), BEYOND_V3),
    "distributor.isactiver": Difference(array(1, SET_CLEAR), exact(SET_CLEAR), BEYOND_V3),
    "distributor.ipriorityr": Difference(array(8, PLAIN), exact(PLAIN5), f"{BEYOND_V3}; {PRIORITIES}"),
    "distributor.icfgr": Difference(array(2, CONFIG), exact(CONFIG), BEYOND_V3),
    "distributor.irouter": Difference(
        array(32, KEPT_ROUTE),
        exact("0xffffff 0x0 0x10203 0x10203"),
        f"{BEYOND_V3}; reserved bits are RES0, so is affinity 3 where the CPUs have none, and IRM with GICD_TYPER.No1N (12.9, GICD_IROUTER<n>): QEMU keeps all that is stored",
    ),
    "redistributor.ctlr": Difference(["0x2 0x3 0x2 0x2e114568"] * 2, ["0x0 0x0 0x0 0x0"] * 2, LPIS),
    "redistributor.typer": Difference(
        ["0x1000001 0x0", "0x1000001 0x0", "0x1000311 0x3", "0x301000311 0x3"],
        ["0x0 0x0", "0x0 0x0", "0x310 0x3", "0x300000310 0x3"],
        f"PLPIS and CommonLPIAff: {LPIS}",
    ),
    "redistributor.reserved": Difference(
        ["at 16-16 0x0 0x0 0x0 0x0", "at 24-108 0x0 0x0 0x0 0x0", "at 112-124 0x0 0xffffffff 0x0 0x0", "at 128-65484 0x0 0x0 0x0 0x0"] * 2,
        ["at 16-16 0x0 0x0 0x0 0x0", "at 24-65484 0x0 0x0 0x0 0x0"] * 2,
        f"GICR_PROPBASER and GICR_PENDBASER: {LPIS}",
    ),
    "sgi-base.ipriorityr": Difference([f"own 0-last {PLAIN}", NOTHING] * 2, [f"own 0-last {PLAIN5}", NOTHING] * 2, PRIORITIES),
    "sgi-base.icfgr": Difference(
        [OWN_CONFIG, f"own 1-last {CONFIG}", NOTHING] * 2,
        [OWN_CONFIG, "own 1-last 0x0 0x0 0x0 0x0", NOTHING] * 2,
        "whether what PPIs are can be changed is the implementation's (12.11, GICR_ICFGR1)",
    ),
    "interface.PMR": Difference(["0x0 0xfffffff8 0x0"], ["0x0 0xf8 0x0"], "bits above the priority are RES0 (12.2, ICC_PMR_EL1): QEMU's ICC_PMR_EL1 keeps them, its ICV_PMR_EL1 does not"),
    "rules.equals": EQUALS,
    "rules.groups": Difference(
        groups(**V3_BOTH),
        groups(**V3_BOTH, on32="0x2 0x3ff 0x29"),
        "what is pending in an interface is released when its group is turned off there (12.2, ICC_IGRPEN0_EL1), and keeps none of the other group out (4.7): QEMU's stays, and hides the less urgent of group 1",
    ),
    "rules.sgi-group0": Difference(
        ["0x100 0x0", "0x100 0x0 0x3ff 0x3ff", "0x3ff 0x100 0x0 0xff", "0x100 0x0 0x3ff 0x3ff", "0x100 0x0 0x3ff 0xff", "0x3ff 0x100 0x3ff", "0x3ff 0x3ff 0x100"],
        ["0x100 0x0", "0x101 0x1 0x3 0x3ff", "0x3 0x110 0x0 0x80", "0x111 0x0 0x3ff 0x3ff", "0x101 0x1 0x3 0xff", "0x3 0x100 0x3ff", "0x3 0x3ff 0x100"],
        "with a single security state ICC_SGI1R_EL1 generates SGIs of both groups (8.1.10): QEMU's of group 1 alone",
    ),
    "processors.sgi-nobody": Difference(
        [*came("0x10"), *came("0x20"), *came("0x30"), *came("0x2c", *["0x204"] * 4)],
        [*came("0x10"), *came("0x20"), *came("0x30"), *came("0x2c")],
        "a range selector without GICD_TYPER.RSS is taken for zero or names nobody (12.2, ICC_SGI1R_EL1): QEMU does the one, ours the other",
    ),
}

DIFFERENT: dict[int, dict[str, Difference]] = {2: V2, 3: V3}
"""By the version of the controller."""
