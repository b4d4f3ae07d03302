"""The cores of ARMv7 with the virtualization extensions: what a hypervisor must know of their speculation, which revisions have which errata, what is done about each, and where."""

from xenarm.arm.errata import (
    ARM,
    AVOIDED,
    BROADCOM,
    CODE,
    FIRMWARE,
    GUEST,
    NEVER_FIXED,
    Core,
    Erratum,
    core_finder,
    core_rows,
    erratum_rows,
    midr_of,
)

__all__ = ["BRANCHES_INVALID", "CORES", "CORE_ROWS", "ERRATA", "ERRATUM_ROWS", "LOOP_BUFFER_OFF", "LOOP_BUFFER_ROWS", "STORE_ROWS", "core_of", "midr"]

CORES = (
    Core("Cortex-A7", ARM, 0xC07, safe_v2=True),
    Core("Cortex-A12", ARM, 0xC0D, by_predictor=True),
    Core("Cortex-A15", ARM, 0xC0F, loops=8, by_icache=True),
    Core("Cortex-A17", ARM, 0xC0E, by_predictor=True),
    Core("Brahma-B15", BROADCOM, 0x00F, loops=8, by_icache=True),
)

BRANCHES_INVALID = 1 << 0
"""ACTLR.IBE of a Cortex-A15: ICIALLU invalidates predicted branches too (Linux: arch/arm/mm/proc-v7-bugs.c; TF-A: cortex_a15.h). Only secure state can set it."""
LOOP_BUFFER_OFF = 1 << 1
"""ACTLR of a Cortex-A15: no loop buffer (Linux: arch/arm/mm/proc-v7.S)."""

TLB_WHAT = "another CPU may use a translation after its invalidation has ended"
TLB_OURS = "nothing is unmapped from a guest that another CPU runs; its memory goes on only after its vCPUs have left (arm/run.py); its kernel sees to its own"
# No image shows these: what is avoided by 798181 is an order in time, and the diagnostic register (CP15 c15) is secure state's alone, so that neither the
# boot nor a test can read it. What can be seen of the other rows is in tests/boards/test_errata_image.py.
DIAGNOSTIC = "a bit of a diagnostic register; nothing shows whether it is set"

ERRATA = (
    Erratum(814220, "Cortex-A7", 0x02, 0x05, "maintenance of caches by set and way may overtake another level's", CODE, "a DSB follows each that is done for a guest (arm/cache.py)"),
    Erratum(821420, "Cortex-A12", 0x00, 0x01, "VMOV to core registers may stop the CPU", FIRMWARE, DIAGNOSTIC),
    Erratum(825619, "Cortex-A12", 0x00, NEVER_FIXED, "DMB ISHST among loads and stores may stop the CPU", FIRMWARE, DIAGNOSTIC),
    Erratum(857271, "Cortex-A12", 0x00, NEVER_FIXED, "the CPU may stop", FIRMWARE, DIAGNOSTIC),
    Erratum(766422, "Cortex-A15", 0x04, 0x04, "HSR may name a wrong register of a store in Thumb state", CODE, "the instruction is read, and HSR written, in vectors of its own (arm32/thumb_stores.py)"),
    Erratum(773022, "Cortex-A15", 0x00, 0x04, "the loop buffer may give wrong instructions", FIRMWARE, "its bit in ACTLR is set where a CPU comes out of reset here, else the boot says that it is not"),
    Erratum(798181, "Cortex-A15", 0x00, 0x33, TLB_WHAT, AVOIDED, TLB_OURS, fixed=1 << 9),
    Erratum(816470, "Cortex-A15", 0x30, NEVER_FIXED, "a CPU that leaves coherency may miss an invalidation of the TLB", AVOIDED, "EL2 turns no CPU off"),
    Erratum(852421, "Cortex-A17", 0x10, 0x12, "DMB of stores may not order them", FIRMWARE, DIAGNOSTIC),
    Erratum(852423, "Cortex-A17", 0x10, 0x12, "opposed conditional instructions may stop the CPU or corrupt data", FIRMWARE, DIAGNOSTIC),
    Erratum(857272, "Cortex-A17", 0x00, NEVER_FIXED, "the CPU may stop", FIRMWARE, DIAGNOSTIC),
    Erratum(798181, "Brahma-B15", 0x00, 0x02, TLB_WHAT, AVOIDED, TLB_OURS),
)

BY_NAME = {core.name: core for core in CORES}
CORE_ROWS = core_rows(CORES)
ERRATUM_ROWS = erratum_rows(CORES, ERRATA)
STORE_ROWS = erratum_rows(CORES, [e for e in ERRATA if e.number == 766422])
LOOP_BUFFER_ROWS = erratum_rows(CORES, [e for e in ERRATA if e.number == 773022], FIRMWARE)
core_of = core_finder(CORE_ROWS)


def midr(core: str, revision: int = 0) -> int:
    """MIDR of a core, r1p2 being 0x12."""
    return midr_of(BY_NAME[core], revision)
