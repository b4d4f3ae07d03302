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

V2 = {
    "d.lines": Difference(["0x8"], ["0x7"], "how many interrupts there are is the implementation's (IHI 0048B 4.3.2): 288, and CONFIG_VGIC_INTIDS"),
    "d.iidr": Difference(["0x43b"], ["0x200043b"], "so is who made it (4.3.3): QEMU names no product, ours is the GIC-400 that PIDR tells of"),
    "d.itargetsr": Difference(
        [OWN_TARGETS, "shared 0-last 0x0 0xffffffff 0x0 0xdeba57c1", NOTHING],
        [OWN_TARGETS, "shared 0-last 0x0 0xf0f0f0f 0x0 0x36778e30", NOTHING],
        "bits of CPU interfaces that are not there are zero (4.3.12): QEMU keeps them",
    ),
    "bytes.itargetsr": Difference(["0xab386db1 0x6b94ccce"], ["0xab386db1 0xa4a07fb8"], "as d.itargetsr"),
    "d.ispendr-no-target": Difference(
        [OWN_PENDING, "shared 0-last 0x0 0x0 0x0 0x0", NOTHING],
        [OWN_PENDING, "shared 0-last 0x0 0xffffffff 0x0 0x45529717", NOTHING],
        "an interrupt is pending whoever its targets are (4.3.7, 3.2.4): QEMU keeps it for each CPU, and forgets it where there is no target",
    ),
    "d.icfgr": Difference(
        [OWN_CONFIG, "own 1-last 0x0 0xaaaaaaaa 0x0 0x98002a29", SHARED_CONFIG, NOTHING],
        [OWN_CONFIG, "own 1-last 0x0 0x0 0x0 0x0", SHARED_CONFIG, NOTHING],
        "whether what PPIs are can be changed is the implementation's (4.3.13)",
    ),
    "c.bpr": Difference(["0x0 0x7 0x0 0xf2a604d1"], ["0x2 0x7 0x2 0x5dc773d0"], "the least value is the implementation's (4.4.3), and 2 in GICV_BPR, with 32 levels of priority (5.5.4)"),
    "c.abpr": Difference(["0x1 0x7 0x1 0xb2eed5ee"], ["0x3 0x7 0x1 0xb2eed5ee"], "the same, one more (4.4.8); the interface is the hardware's, here QEMU's, which takes the lesser value for GICV_ABPR too"),
    "c.active-priorities": Difference(
        ["at 208-236 0x0 0xffffffff 0x0 0xdeba57c1"],
        ["at 208-208 0x0 0xffffffff 0x0 0xdeba57c1", "at 212-236 0x0 0x0 0x0 0x0"],
        "how many there are follows from the levels of preemption (4.4.13): 32 in GICV_APR0 (5.5.13), QEMU's GICC has all that there may be",
    ),
    "size.distributor": Difference(
        sizes((1, ANSWER), (2, ANSWER), (4, ANSWER), (8, ANSWER)),
        sizes((1, BYTES), (2, ABORT), (4, ANSWER), (8, ABORT)),
        "what becomes of other sizes is not the architecture's to say (4.1.4): QEMU takes them apart or together, we abort; no state changes",
    ),
}

DIFFERENT: dict[int, dict[str, Difference]] = {2: V2}
"""By the version of the controller."""
