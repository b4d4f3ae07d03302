"""What the tables of cores and errata are made of, and how a CPU is found in them: for `arm64/errata.py` and `arm32/errata.py`, which have the rows.

docs/security.md shows both tables; the image has of them what the boot says of a CPU. Numbers and revisions are those of Arm's Software
Developers Errata Notices as Linux (arch/arm64/kernel/cpu_errata.c, arch/arm/Kconfig), Xen (docs/misc/arm/silicon-errata.txt) and TF-A (lib/cpus) have them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from freestanding import Struct, View, fn, table, u8, u32, u64

__all__ = [
    "AMPERE",
    "ARM",
    "AVOIDED",
    "BROADCOM",
    "BY_ICACHE",
    "BY_PREDICTOR",
    "CODE",
    "FIRMWARE",
    "FIRMWARE_BHB",
    "GUEST",
    "HISILICON",
    "MIDR_CORE",
    "NEVER_FIXED",
    "QUALCOMM",
    "SAFE_STORE",
    "SAFE_V2",
    "Core",
    "CoreRow",
    "Erratum",
    "ErratumRow",
    "core_finder",
    "core_rows",
    "erratum_matches",
    "erratum_rows",
    "midr_of",
]

ARM = 0x41
BROADCOM = 0x42
HISILICON = 0x48
QUALCOMM = 0x51
AMPERE = 0xC0
NEVER_FIXED = 0xFF
CODE = "code"  # something is done, always or where it is needed
AVOIDED = "avoided"  # what triggers it is not in the image
GUEST = "guest"  # the guest's kernel works around it, and is let
FIRMWARE = "firmware"  # only secure state can do something; the boot says so where it has not


@dataclass(frozen=True)
class Core:
    """A core by implementer and part number (MIDR), and what Linux knows of its speculation (arch/arm64/kernel/proton-pack.c, arch/arm/mm/proc-v7-bugs.c)."""

    name: str
    implementer: int
    part: int
    loops: int = 0  # so many turns of a loop of branches replace its branch history; 0: not known to need that
    safe_v2: bool = False  # no Spectre v2, whether or not ID_AA64PFR0_EL1.CSV2 says so
    safe_store: bool = False  # no speculative store bypass
    firmware_bhb: bool = False  # branch history, which only firmware can clear
    by_icache: bool = False  # ICIALLU invalidates its predicted branches, where the firmware has set ACTLR.IBE
    by_predictor: bool = False  # BPIALL does


@dataclass(frozen=True)
class Erratum:
    """`first` and `last`: variant and revision, r1p2 being 0x12. `fixed`: bits of REVIDR that say that the last revision has it no more."""

    number: int
    core: str
    first: int
    last: int
    what: str
    kind: str
    ours: str
    fixed: int = 0


def midr_of(core: Core, revision: int = 0) -> int:
    """MIDR of a core, r1p2 being 0x12."""
    return key(core) | (revision >> 4) << 20 | revision & 15


def key(core: Core) -> int:
    return core.implementer << 24 | 0xF << 16 | core.part << 4


MIDR_CORE = 0xFF0F_FFF0  # all but variant and revision

SAFE_V2 = 1
SAFE_STORE = 2
FIRMWARE_BHB = 4
BY_ICACHE = 8
BY_PREDICTOR = 16


class CoreRow(Struct, frozen=True):
    """A `Core` as the image has it."""

    key: u64
    loops: u8
    flags: u8
    name: View[u8]


class ErratumRow(Struct, frozen=True):
    """An `Erratum` about which something is done here."""

    key: u64
    number: u32
    first: u64
    last: u64
    fixed: u64


def core_row(core: Core) -> CoreRow:
    flags = core.safe_v2 * SAFE_V2 | core.safe_store * SAFE_STORE | core.firmware_bhb * FIRMWARE_BHB
    flags |= core.by_icache * BY_ICACHE | core.by_predictor * BY_PREDICTOR
    return CoreRow(key(core), core.loops, flags, core.name.encode())


def core_rows(cores: Sequence[Core]) -> Any:
    """The table of them; the last row is what no other matches."""
    return table(CoreRow, [*(core_row(core) for core in cores), CoreRow(0, 0, 0, b"another core")])


def erratum_rows(cores: Sequence[Core], errata: Sequence[Erratum], kind: str = CODE) -> Any:
    """The table of those of a kind."""
    keys = {core.name: key(core) for core in cores}
    return table(ErratumRow, [ErratumRow(keys[e.core], e.number, e.first, e.last, e.fixed) for e in errata if e.kind == kind])


def core_finder(rows: Any) -> Callable[[u64], u32]:
    """The function that finds a CPU's row by its MIDR."""

    @fn
    def core_of(midr: u64) -> u32:
        for i in range(u32(len(rows) - 1)):
            if midr & MIDR_CORE == rows[i].key:
                return i
        return u32(len(rows) - 1)

    return core_of


@fn
def erratum_matches(row: ErratumRow, midr: u64, revidr: u64) -> bool:
    """Whether the core has it."""
    revision = (midr >> 20 & 0xF) << 4 | midr & 0xF
    if midr & MIDR_CORE != row.key or revision < row.first or revision > row.last:
        return False
    return revision < row.last or revidr & row.fixed == 0
