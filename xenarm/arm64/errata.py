"""Errata of the cores that we know: which revisions have them, what they ask of a hypervisor, what is done about it here, and where.

`ERRATA` is what docs/security.md shows; the image has of it what the boot says of a CPU. Numbers and revisions are those of Arm's Software
Developers Errata Notices as Linux (arch/arm64/kernel/cpu_errata.c), Xen (docs/misc/arm/silicon-errata.txt) and TF-A (lib/cpus) have them.
"""

from dataclasses import dataclass

from freestanding import Struct, View, fn, table, u8, u32, u64

__all__ = ["CORES", "CORE_ROWS", "ERRATA", "ERRATUM_ROWS", "Core", "CoreRow", "Erratum", "core_of", "erratum_matches", "midr"]

ARM = 0x41
QUALCOMM = 0x51
HISILICON = 0x48
AMPERE = 0xC0
NEVER_FIXED = 0xFF
CODE = "code"  # something is done, always or where it is needed
AVOIDED = "avoided"  # what triggers it is not in the image
GUEST = "guest"  # the guest's kernel works around it, and is let


@dataclass(frozen=True)
class Core:
    """A core by implementer and part number (MIDR_EL1), and what Linux knows of its speculation (arch/arm64/kernel/proton-pack.c)."""

    name: str
    implementer: int
    part: int
    loops: int = 0  # so many turns of a loop of branches replace its branch history; 0: not known to need that
    safe_v2: bool = False  # no Spectre v2, though ID_AA64PFR0_EL1.CSV2 does not say so
    safe_store: bool = False  # no speculative store bypass
    firmware_bhb: bool = False  # branch history, which only firmware can clear


CORES = (
    Core("Cortex-A35", ARM, 0xD04, safe_v2=True, safe_store=True),
    Core("Cortex-A53", ARM, 0xD03, safe_v2=True, safe_store=True),
    Core("Cortex-A55", ARM, 0xD05, safe_v2=True, safe_store=True),
    Core("Cortex-A57", ARM, 0xD07, loops=8),
    Core("Cortex-A72", ARM, 0xD08, loops=8),
    Core("Cortex-A73", ARM, 0xD09, firmware_bhb=True),
    Core("Cortex-A75", ARM, 0xD0A, firmware_bhb=True),
    Core("Cortex-A76", ARM, 0xD0B, loops=24),
    Core("Neoverse-N1", ARM, 0xD0C, loops=24),
    Core("Cortex-A77", ARM, 0xD0D, loops=24),
    Core("Cortex-A78", ARM, 0xD41, loops=32),
    Core("Cortex-A78AE", ARM, 0xD42, loops=32),
    Core("Cortex-A78C", ARM, 0xD4B, loops=32),
    Core("Cortex-X1", ARM, 0xD44, loops=32),
    Core("Neoverse-V1", ARM, 0xD40, loops=32),
    Core("Cortex-A710", ARM, 0xD47, loops=32),
    Core("Cortex-X2", ARM, 0xD48, loops=32),
    Core("Neoverse-N2", ARM, 0xD49, loops=32),
    Core("AmpereOne", AMPERE, 0xAC3, loops=11),
    Core("TSV110", HISILICON, 0xD01, safe_v2=True),
    Core("Kryo 2xx Silver", QUALCOMM, 0x801, safe_v2=True),
    Core("Kryo 3xx Silver", QUALCOMM, 0x803, safe_v2=True, safe_store=True),
    Core("Kryo 4xx Silver", QUALCOMM, 0x805, safe_v2=True, safe_store=True),
)


@dataclass(frozen=True)
class Erratum:
    """`first` and `last`: variant and revision, r1p2 being 0x12. `fixed`: bits of REVIDR_EL1 that say that the last revision has it no more."""

    number: int
    core: str
    first: int
    last: int
    what: str
    kind: str
    ours: str
    fixed: int = 0


AT_WHAT = "an address translation instruction, speculated while a switch is half done, may leave a wrong translation in the TLB"
AT_OURS = "stage 1 walks nothing until all of the vCPU that comes is loaded (arm64/switch.py)"
CLEAN_WHAT = "a cache clean by address may corrupt data"
CLEAN_OURS = "the image cleans no line without invalidating it, set and way of guests included (arm/cache.py)"
TWICE = "an invalidation that other CPUs take part in is done twice (arm/instructions.py)"
AES_WHAT = "AES instructions of AArch32 may compute wrongly after an interrupt"
SSBS_WHAT = "a change of PSTATE.SSBS takes effect late"

ERRATA = (
    Erratum(819472, "Cortex-A53", 0x00, 0x01, CLEAN_WHAT, AVOIDED, CLEAN_OURS),
    Erratum(824069, "Cortex-A53", 0x00, 0x02, CLEAN_WHAT, AVOIDED, CLEAN_OURS),
    Erratum(826319, "Cortex-A53", 0x00, 0x02, CLEAN_WHAT, AVOIDED, CLEAN_OURS),
    Erratum(827319, "Cortex-A53", 0x00, 0x02, CLEAN_WHAT, AVOIDED, CLEAN_OURS),
    Erratum(835769, "Cortex-A53", 0x00, 0x04, "a 64-bit multiply-accumulate after a memory access may compute wrongly", CODE, "compiled apart (arm/link.py)"),
    Erratum(843419, "Cortex-A53", 0x00, 0x04, "ADRP at the end of a page may give a wrong address", CODE, "the linker moves it (arm/link.py)", fixed=1 << 8),
    Erratum(845719, "Cortex-A53", 0x00, 0x04, "a load of an AArch32 process may give another address's data", GUEST, "CONTEXTIDR_EL1 is the kernel's, and switched"),
    Erratum(1530924, "Cortex-A53", 0x00, NEVER_FIXED, AT_WHAT, CODE, AT_OURS),
    Erratum(832075, "Cortex-A57", 0x00, 0x12, "a load from a device among exclusive accesses may stop the CPU", CODE, "devices are read by load-acquire (arm/instructions.py); a guest that does not do so can stop its CPU"),
    Erratum(834220, "Cortex-A57", 0x00, 0x12, "a fault of stage 1 on an access over two pages may be reported as stage 2's", CODE, "stage 1 is asked before a guest is told of a bad access (arm/aborts.py)"),
    Erratum(852523, "Cortex-A57", 0x00, 0x12, "DACR32_EL2, written after EL1's registers, may not take effect", CODE, "registers of AArch64 are written once more after it (arm64/aarch32.py)"),
    Erratum(1319537, "Cortex-A57", 0x00, NEVER_FIXED, AT_WHAT, CODE, AT_OURS),
    Erratum(1742098, "Cortex-A57", 0x00, NEVER_FIXED, AES_WHAT, GUEST, "its kernel does not show them to processes"),
    Erratum(853709, "Cortex-A72", 0x00, 0x03, "as 852523", CODE, "registers of AArch64 are written once more after it (arm64/aarch32.py)"),
    Erratum(1319367, "Cortex-A72", 0x00, NEVER_FIXED, AT_WHAT, CODE, AT_OURS),
    Erratum(1655431, "Cortex-A72", 0x00, NEVER_FIXED, AES_WHAT, GUEST, "its kernel does not show them to processes"),
    Erratum(1165522, "Cortex-A76", 0x00, 0x20, AT_WHAT, CODE, AT_OURS),
    Erratum(1188873, "Cortex-A76", 0x00, 0x20, "AArch32 may read the virtual counter wrongly", GUEST, "CNTKCTL_EL1, by which its kernel traps it, is the guest's"),
    Erratum(1286807, "Cortex-A76", 0x00, 0x30, "invalidation of the TLB may end before another CPU's access by the old entry", CODE, TWICE),
    Erratum(1418040, "Cortex-A76", 0x00, 0x31, "as 1188873", GUEST, "CNTKCTL_EL1, by which its kernel traps it, is the guest's"),
    Erratum(1463225, "Cortex-A76", 0x00, 0x31, "software step of SVC may keep interrupts out", AVOIDED, "guests cannot step: MDSCR_EL1 traps"),
    Erratum(3324349, "Cortex-A76", 0x00, NEVER_FIXED, SSBS_WHAT, GUEST, "EL2 never sets it: SCTLR_EL2.DSSBS is clear"),
    Erratum(1165522, "Neoverse-N1", 0x00, 0x20, AT_WHAT, CODE, AT_OURS),
    Erratum(1188873, "Neoverse-N1", 0x00, 0x20, "AArch32 may read the virtual counter wrongly", GUEST, "CNTKCTL_EL1, by which its kernel traps it, is the guest's"),
    Erratum(1286807, "Neoverse-N1", 0x00, 0x30, "as on Cortex-A76", CODE, TWICE),
    Erratum(1349291, "Neoverse-N1", 0x00, NEVER_FIXED, "an SError of a speculated access says that it cannot be contained", CODE, "an SError while a guest runs is the guest's alone (arm/traps.py)"),
    Erratum(1418040, "Neoverse-N1", 0x00, 0x31, "as 1188873", GUEST, "CNTKCTL_EL1, by which its kernel traps it, is the guest's"),
    Erratum(1542419, "Neoverse-N1", 0x30, 0x40, "changed instructions may be fetched old, where CTR_EL0.DIC is set", GUEST, "its kernel and the firmware; EL2 changes no instructions"),
    Erratum(3324349, "Neoverse-N1", 0x00, NEVER_FIXED, SSBS_WHAT, GUEST, "EL2 never sets it: SCTLR_EL2.DSSBS is clear"),
)

BY_NAME = {core.name: core for core in CORES}


def midr(core: str, revision: int = 0) -> int:
    """MIDR_EL1 of a core, r1p2 being 0x12."""
    return key(BY_NAME[core]) | (revision >> 4) << 20 | revision & 15


def key(core: Core) -> int:
    return core.implementer << 24 | 0xF << 16 | core.part << 4


MIDR_CORE = 0xFF0F_FFF0  # all but variant and revision

SAFE_V2 = 1
SAFE_STORE = 2
FIRMWARE_BHB = 4


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
    return CoreRow(key(core), core.loops, flags, core.name.encode())


CORE_ROWS = table(CoreRow, [*(core_row(core) for core in CORES), CoreRow(0, 0, 0, b"another core")])
"""The last is what no other matches."""

ERRATUM_ROWS = table(ErratumRow, [ErratumRow(key(BY_NAME[e.core]), e.number, e.first, e.last, e.fixed) for e in ERRATA if e.kind == CODE])


@fn
def core_of(midr_el1: u64) -> u32:
    """The row in CORE_ROWS."""
    for i in range(u32(len(CORE_ROWS) - 1)):
        if midr_el1 & MIDR_CORE == CORE_ROWS[i].key:
            return i
    return u32(len(CORE_ROWS) - 1)


@fn
def erratum_matches(row: ErratumRow, midr_el1: u64, revidr: u64) -> bool:
    """Whether the core has it."""
    revision = (midr_el1 >> 20 & 0xF) << 4 | midr_el1 & 0xF
    if midr_el1 & MIDR_CORE != row.key or revision < row.first or revision > row.last:
        return False
    return revision < row.last or revidr & row.fixed == 0
