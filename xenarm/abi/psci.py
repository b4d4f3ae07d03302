"""Numbers of PSCI (Arm DEN0022) and of the SMC calling convention (DEN0028)."""

from xenarm.config import CONFIG

__all__ = ["GUEST_PSCI_VERSION", "PsciError", "PsciFunction", "Smccc", "PSCI_VERSION_0_2", "PSCI_VERSION_1_1", "PSCI_64BIT", "PSCI_BASE", "PSCI_RANGE_MASK"]

PSCI_BASE = 0x8400_0000
PSCI_64BIT = 0x4000_0000
PSCI_RANGE_MASK = 0xBFFF_FFE0  # what is left of a function identifier without its width and its number
PSCI_VERSION_1_1 = 0x0001_0001
PSCI_VERSION_0_2 = 0x0000_0002
GUEST_PSCI_VERSION: int = PSCI_VERSION_1_1 if CONFIG.PSCI_1_1 else PSCI_VERSION_0_2
"""What guests are told."""


class PsciFunction:
    """The number in the low bits of a PSCI function identifier."""

    VERSION = 0
    CPU_SUSPEND = 1
    CPU_OFF = 2
    CPU_ON = 3
    AFFINITY_INFO = 4
    MIGRATE = 5
    MIGRATE_INFO_TYPE = 6
    MIGRATE_INFO_UP_CPU = 7
    SYSTEM_OFF = 8
    SYSTEM_RESET = 9
    FEATURES = 10
    COUNT = 32


class PsciError:
    """Return codes, as two's complement numbers of the call's width."""

    SUCCESS = 0
    NOT_SUPPORTED = -1
    INVALID_PARAMETERS = -2
    DENIED = -3
    ALREADY_ON = -4
    ON_PENDING = -5
    INTERNAL_FAILURE = -6
    NOT_PRESENT = -7
    DISABLED = -8
    INVALID_ADDRESS = -9


class Smccc:
    """The Arm architecture calls."""

    VERSION = 0x8000_0000
    ARCH_FEATURES = 0x8000_0001
    ARCH_WORKAROUND_1 = 0x8000_8000
    ARCH_WORKAROUND_2 = 0x8000_7FFF
    ARCH_WORKAROUND_3 = 0x8000_3FFF
    VERSION_1_1 = 0x0001_0001
    SUCCESS = 0
    UNAFFECTED = 1  # of a workaround: this CPU needs none
    NOT_SUPPORTED = -1
    NOT_SUPPORTED64 = 0xFFFF_FFFF_FFFF_FFFF  # as 64 bits
    NOT_REQUIRED = 0xFFFF_FFFF_FFFF_FFFE  # of ARCH_WORKAROUND_2: nothing to switch
