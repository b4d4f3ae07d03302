"""The cores with AArch64 that we know: what a hypervisor must know of their speculation, which revisions have which errata, what is done about each, and where."""

from xenarm.arm.errata import (
    AMPERE,
    ARM,
    AVOIDED,
    CODE,
    GUEST,
    HISILICON,
    NEVER_FIXED,
    QUALCOMM,
    Core,
    Erratum,
    core_finder,
    core_rows,
    erratum_rows,
    midr_of,
)

__all__ = ["CORES", "CORE_ROWS", "ERRATA", "ERRATUM_ROWS", "core_of", "midr"]

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
CORE_ROWS = core_rows(CORES)
ERRATUM_ROWS = erratum_rows(CORES, ERRATA)
core_of = core_finder(CORE_ROWS)


def midr(core: str, revision: int = 0) -> int:
    """MIDR_EL1 of a core, r1p2 being 0x12."""
    return midr_of(BY_NAME[core], revision)
