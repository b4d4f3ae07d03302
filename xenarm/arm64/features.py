"""What a guest sees of the CPU's features, and the controls of EL2 that hold back what it does not see: one table for both.

The masks of the identification registers and the values of EL2's control registers are computed from `FEATURES`. A field of an
AArch64 identification register that no row shows reads as zero: what is newer than this table may have state that nobody switches.
Sections and fields are the Arm ARM's (DDI 0487, D19). docs/arm64.md has the table; a test keeps it equal to this.
"""

from dataclasses import dataclass

from xenarm.arm64.registers import CPTR_RES1, Cptr, Hcr, Hcrx, Mdcr, Mpam2, MpamHcr

__all__ = ["AARCH32_IDS", "CPTR_GUEST", "CPTR_GUEST_NO_FP", "FEATURES", "ID_FIELDS", "LIMITS", "Control", "Feature", "held", "most_shown", "visible"]

HIDDEN = 0
PASSED = 15
UNDEFINED = "undefined"
ZERO = "zero"  # EL1 reads zero and writes nothing, EL0 has none of it
INERT = "nothing"
WORKS = "works"


@dataclass(frozen=True)
class Control:
    """A field of one of EL2's control registers, and what it must be while a guest runs."""

    register: str
    field: str
    value: int


@dataclass(frozen=True)
class Feature:
    """`most`: the largest value that a guest sees of each of the fields. `answer`: what becomes of a use at EL1."""

    name: str
    most: int
    fields: tuple[str, ...]
    controls: tuple[Control, ...]
    answer: str
    why: str


CONTROL_REGISTERS = {"HCR_EL2": Hcr, "CPTR_EL2": Cptr, "MDCR_EL2": Mdcr, "HCRX_EL2": Hcrx, "MPAM2_EL2": Mpam2, "MPAMHCR_EL2": MpamHcr}


def controls(register: str, *, on: str = "", off: str = "") -> tuple[Control, ...]:
    return tuple(Control(register, field, value) for names, value in ((on, 1), (off, 0)) for field in names.split())


def of(register: str, fields: str) -> tuple[str, ...]:
    return tuple(f"{register}.{field}" for field in fields.split())


def layout(crm: int, op2: int, fields: str) -> tuple[int, int, dict[str, int]]:
    """Fields of four bits, from bit 0 up; '-' is one that nothing here names."""
    return crm, op2, {name: 4 * n for n, name in enumerate(fields.split()) if name != "-"}


ID_FIELDS: dict[str, tuple[int, int, dict[str, int]]] = {
    "ID_PFR0": layout(1, 0, "State0 State1 State2 State3 CSV2 AMU DIT RAS"),
    "ID_PFR1": layout(1, 1, "ProgMod Security MProgMod Virtualization GenTimer Sec_frac Virt_frac GIC"),
    "ID_DFR0": layout(1, 2, "CopDbg CopSDbg MMapDbg CopTrc MMapTrc MProfDbg PerfMon TraceFilt"),
    "ID_AFR0": layout(1, 3, "IMP0 IMP1 IMP2 IMP3"),
    "ID_DFR1": layout(3, 5, "MTPMU HPMN0"),
    "ID_AA64PFR0": layout(4, 0, "EL0 EL1 EL2 EL3 FP AdvSIMD GIC RAS SVE SEL2 MPAM AMU DIT RME CSV2 CSV3"),
    "ID_AA64PFR1": layout(4, 1, "BT SSBS MTE RAS_frac MPAM_frac - SME RNDR_trap CSV2_frac NMI MTE_frac GCS THE MTEX DF2 PFAR"),
    "ID_AA64DFR0": layout(5, 0, "DebugVer TraceVer PMUVer BRPs PMSS WRPs SEBEP CTX_CMPs PMSVer DoubleLock TraceFilt TraceBuffer MTPMU BRBE - HPMN0"),
    "ID_AA64ISAR0": layout(6, 0, "- AES SHA1 SHA2 CRC32 Atomic TME RDM SHA3 SM3 SM4 DP FHM TS TLB RNDR"),
    "ID_AA64ISAR1": layout(6, 1, "DPB APA API JSCVT FCMA LRCPC GPA GPI FRINTTS SB SPECRES BF16 DGH I8MM XS LS64"),
    "ID_AA64ISAR2": layout(6, 2, "WFxT RPRES GPA3 APA3 MOPS BC PAC_frac CLRBHB"),
    "ID_AA64MMFR0": layout(7, 0, "PARange ASIDBits BigEnd SNSMem BigEndEL0 TGran16 TGran64 TGran4 TGran16_2 TGran64_2 TGran4_2 ExS - - FGT ECV"),
    "ID_AA64MMFR1": layout(7, 1, "HAFDBS VMIDBits VH HPDS LO PAN SpecSEI XNX TWED ETS HCX AFP nTLBPA TIDCP1 CMOW ECBHB"),
    "ID_AA64MMFR2": layout(7, 2, "CnP UAO LSM IESB VARange CCIDX NV ST AT IDS FWB - TTL BBM EVT E0PD"),
}
"""The identification registers that rows name: CRm, op2, the lowest bit of each field."""

AARCH32_IDS = range(8, 32)
"""Numbers (CRm times 8 plus op2) of those of AArch32, which grows no more: here a field that no row names is shown."""

FEATURES: tuple[Feature, ...] = (
    Feature(
        "SVE",
        HIDDEN,
        of("ID_AA64PFR0", "SVE"),
        controls("CPTR_EL2", on="TZ"),
        UNDEFINED,
        "up to 8 KiB of state for each vCPU, which nothing switches",
    ),
    Feature(
        "SME",
        HIDDEN,
        of("ID_AA64PFR1", "SME"),
        (*controls("CPTR_EL2", on="TSM"), *controls("HCRX_EL2", off="SMPME")),
        UNDEFINED,
        "state of up to 64 KiB; TPIDR2_EL0 and SMPRI_EL1, which only FEAT_FGT can trap, are cleared when a vCPU leaves; SMIDR_EL1 can be read",
    ),
    Feature(
        "pointer authentication",
        HIDDEN,
        (*of("ID_AA64ISAR1", "APA API GPA GPI"), *of("ID_AA64ISAR2", "GPA3 APA3 PAC_frac")),
        controls("HCR_EL2", off="API APK"),
        UNDEFINED,
        "ten keys would cost each switch 30 instructions; none of the boards' CPUs has it; compilers use hints, which do nothing",
    ),
    Feature(
        "memory tagging",
        HIDDEN,
        of("ID_AA64PFR1", "MTE MTE_frac MTEX"),
        controls("HCR_EL2", on="TID5", off="ATA"),
        UNDEFINED,
        "tags are memory that nobody clears or keeps apart; instructions on tags are not undefined, but find no tags and store none",
    ),
    Feature(
        "activity monitors",
        HIDDEN,
        (*of("ID_AA64PFR0", "AMU"), *of("ID_PFR0", "AMU")),
        (*controls("CPTR_EL2", on="TAM"), *controls("HCR_EL2", off="AMVOFFEN")),
        UNDEFINED,
        "they tell of other guests (XSA-351)",
    ),
    Feature(
        "RAS",
        HIDDEN,
        (*of("ID_AA64PFR0", "RAS"), *of("ID_AA64PFR1", "RAS_frac"), *of("ID_AA64MMFR1", "SpecSEI"), *of("ID_AA64MMFR2", "IESB"), *of("ID_PFR0", "RAS")),
        controls("HCR_EL2", on="TERR", off="FIEN"),
        UNDEFINED,
        "error records are the machine's; ESB and DISR_EL1 cannot trap: the latter, VDISR_EL2 then, is cleared when a vCPU leaves",
    ),
    Feature(
        "MPAM",
        HIDDEN,
        (*of("ID_AA64PFR0", "MPAM"), *of("ID_AA64PFR1", "MPAM_frac")),
        (*controls("MPAM2_EL2", on="TRAPMPAM0EL1 TRAPMPAM1EL1"), *controls("MPAMHCR_EL2", on="TRAP_MPAMIDR_EL1")),
        UNDEFINED,
        "who gets how much of a cache is not a guest's to say",
    ),
    Feature(
        "performance monitors",
        HIDDEN,
        (*of("ID_AA64DFR0", "PMUVer PMSS SEBEP MTPMU HPMN0"), *of("ID_DFR0", "PerfMon"), *of("ID_DFR1", "MTPMU HPMN0")),
        controls("MDCR_EL2", on="TPM TPMCR"),
        ZERO,
        "counters are not switched and tell of other guests; zero as under Xen, for guests that do not ask first",
    ),
    Feature(
        "statistical profiling",
        HIDDEN,
        of("ID_AA64DFR0", "PMSVer"),
        controls("MDCR_EL2", on="TPMS", off="E2PB"),
        UNDEFINED,
        "it writes memory by EL1's tables, whoever runs",
    ),
    Feature(
        "trace",
        HIDDEN,
        (*of("ID_AA64DFR0", "TraceVer TraceFilt TraceBuffer"), *of("ID_DFR0", "CopTrc MMapTrc TraceFilt")),
        (*controls("CPTR_EL2", on="TTA"), *controls("MDCR_EL2", on="TTRF", off="E2TB")),
        UNDEFINED,
        "the trace unit sees all guests of its CPU",
    ),
    Feature("branch record", HIDDEN, of("ID_AA64DFR0", "BRBE"), (), UNDEFINED, "it tells of other guests; HDFGRTR_EL2 and HDFGWTR_EL2 are zero, which traps it"),
    Feature(
        "self-hosted debug",
        6,
        of("ID_AA64DFR0", "DebugVer"),
        controls("MDCR_EL2", on="TDA TDOSA TDRA", off="TDE"),
        ZERO,
        "break- and watchpoints are not switched, and there is no Armv8 CPU without them; BRK works",
    ),
    Feature("number of breakpoints", PASSED, of("ID_AA64DFR0", "BRPs WRPs CTX_CMPs"), (), ZERO, "zero in these fields would mean one"),
    Feature("OS double lock", HIDDEN, of("ID_AA64DFR0", "DoubleLock"), (), ZERO, "zero says that it is there: OSDLR_EL1 is answered"),
    Feature("LORegions", HIDDEN, of("ID_AA64MMFR1", "LO"), controls("HCR_EL2", on="TLOR"), UNDEFINED, "the registers are the CPU's, not the vCPU's"),
    Feature("transactions", HIDDEN, of("ID_AA64ISAR0", "TME"), controls("HCR_EL2", off="TME"), UNDEFINED, "a trap would end them, over and over"),
    Feature(
        "64-byte stores",
        HIDDEN,
        of("ID_AA64ISAR1", "LS64"),
        controls("HCRX_EL2", off="ENAS0 ENALS ENASR"),
        UNDEFINED,
        "no emulated device takes them",
    ),
    Feature(
        "memory copy and set",
        HIDDEN,
        of("ID_AA64ISAR2", "MOPS"),
        controls("HCRX_EL2", off="MSCEN"),
        UNDEFINED,
        "a vCPU may move between CPUs that split them otherwise",
    ),
    Feature("waits with a limit", HIDDEN, of("ID_AA64ISAR2", "WFxT"), controls("HCR_EL2", on="TWI"), INERT, "WFIT traps as WFI does, and waits for an interrupt alone"),
    Feature(
        "speculation context numbers",
        1,
        of("ID_AA64PFR0", "CSV2"),
        controls("HCR_EL2", off="ENSCXT"),
        UNDEFINED,
        "1 says that branch predictors are safe; SCXTNUM registers would have to be switched",
    ),
    Feature("their minor version", HIDDEN, of("ID_AA64PFR1", "CSV2_frac"), (), UNDEFINED, "as above"),
    Feature(
        "non-maskable interrupts",
        HIDDEN,
        of("ID_AA64PFR1", "NMI"),
        controls("HCRX_EL2", on="TALLINT"),
        UNDEFINED,
        "the virtual interrupt controller has none",
    ),
    Feature(
        "control stack, and what is newer",
        HIDDEN,
        of("ID_AA64PFR1", "RNDR_trap GCS THE DF2 PFAR"),
        controls("HCRX_EL2", off="GCSEN TCR2EN SCTLR2EN ENFPM"),
        UNDEFINED,
        "nothing switches its registers; HFGRTR_EL2 and HFGWTR_EL2 are zero, which traps those that this register does not",
    ),
    Feature(
        "EL2 and EL3",
        HIDDEN,
        (
            *of("ID_AA64PFR0", "EL2 EL3 SEL2 RME"),
            *of("ID_AA64MMFR0", "TGran16_2 TGran64_2 TGran4_2 FGT ECV"),
            *of("ID_AA64MMFR1", "VMIDBits VH XNX TWED HCX"),
            *of("ID_AA64MMFR2", "NV FWB EVT"),
            *of("ID_PFR1", "Virtualization"),
        ),
        controls("HCR_EL2", off="NV"),
        UNDEFINED,
        "there is no nested virtualization",
    ),
    Feature("GICv3 CPU interface", HIDDEN, (*of("ID_AA64PFR0", "GIC"), *of("ID_PFR1", "GIC")), (), WORKS, "shown where the virtual controller is a GICv3"),
    Feature(
        "implementation-defined registers",
        HIDDEN,
        of("ID_AFR0", "IMP0 IMP1 IMP2 IMP3"),
        controls("HCR_EL2", on="TIDCP TACR"),
        UNDEFINED,
        "anything may be there (XSA-93); ACTLR_EL1 can be read",
    ),
    Feature("AArch32", PASSED, of("ID_AA64PFR0", "EL0 EL1"), controls("HCR_EL2", on="TID3"), WORKS, "its own identification registers are under this table too"),
    Feature("floating point and SIMD", PASSED, of("ID_AA64PFR0", "FP AdvSIMD"), (), WORKS, "CPTR_EL2.TFP is set until a vCPU first uses them; switched then"),
    Feature("state of the PSTATE", PASSED, (*of("ID_AA64PFR0", "DIT CSV3"), *of("ID_AA64PFR1", "BT SSBS")), (), WORKS, "in SPSR_EL2, or no state at all"),
    Feature(
        "instructions",
        PASSED,
        (
            *of("ID_AA64ISAR0", "AES SHA1 SHA2 CRC32 Atomic RDM SHA3 SM3 SM4 DP FHM TS TLB RNDR"),
            *of("ID_AA64ISAR1", "DPB JSCVT FCMA LRCPC FRINTTS SB SPECRES BF16 DGH I8MM XS"),
            *of("ID_AA64ISAR2", "RPRES BC CLRBHB"),
        ),
        (),
        WORKS,
        "no state beyond general and SIMD registers",
    ),
    Feature("hardware access flag", 2, of("ID_AA64MMFR1", "HAFDBS"), (), WORKS, "more than access and dirty state is in registers that nothing switches"),
    Feature(
        "translation at EL1",
        PASSED,
        (
            *of("ID_AA64MMFR0", "PARange ASIDBits BigEnd SNSMem BigEndEL0 TGran16 TGran64 TGran4 ExS"),
            *of("ID_AA64MMFR1", "HPDS PAN ETS AFP nTLBPA TIDCP1 CMOW ECBHB"),
            *of("ID_AA64MMFR2", "CnP UAO LSM VARange CCIDX ST AT IDS TTL BBM E0PD"),
        ),
        (),
        WORKS,
        "all of it is in SCTLR_EL1, TCR_EL1 and the tables, which are switched or the guest's",
    ),
)


def field_place(name: str) -> tuple[int, int]:
    """The register's number (CRm times 8 plus op2), and the field's lowest bit."""
    register, field = name.split(".")
    crm, op2, fields = ID_FIELDS[register]
    return crm * 8 + op2, fields[field]


def most_shown() -> dict[tuple[int, int], int]:
    """By register and lowest bit what at most a guest sees of each field that a row names."""
    shown: dict[tuple[int, int], int] = {}
    for feature in FEATURES:
        for name in feature.fields:
            assert field_place(name) not in shown, f"{name} stands in two rows"
            shown[field_place(name)] = feature.most
    return shown


MOST = most_shown()
LIMITS = tuple((number, low, most) for (number, low), most in MOST.items() if HIDDEN < most < PASSED)
"""Fields of which a guest sees a value no larger than this: register, lowest bit, value."""


def visible(number: int) -> int:
    """The bits that a guest sees of an identification register."""
    unnamed = PASSED if number in AARCH32_IDS else HIDDEN
    return sum((15 if MOST.get((number, low), unnamed) else 0) << low for low in range(0, 64, 4))


def held(register: str) -> tuple[int, int]:
    """(the bits of a control register that must be set while a guest runs, those that must be clear)."""
    bits = CONTROL_REGISTERS[register]
    set_, clear = 0, 0
    for control in (c for feature in FEATURES for c in feature.controls if c.register == register):
        if control.value:
            set_ |= int(bits(**{control.field: True}))
        else:
            widest = 3 if control.field in ("E2PB", "E2TB") else True
            clear |= int(bits(**{control.field: widest}))
    assert set_ & clear == 0, f"{register}: two rows disagree"
    return set_, clear


CPTR_GUEST = CPTR_RES1 | held("CPTR_EL2")[0]
CPTR_GUEST_NO_FP = CPTR_GUEST | int(Cptr(TFP=True))
"""The first use of FP or SIMD traps too."""
