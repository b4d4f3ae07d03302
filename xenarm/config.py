"""The values that Kconfig chose, as one immutable object: `from xenarm.config import CONFIG`.

They come from the file that the environment variable XENARM_CONFIG names (`build/<board>/config`), or
else from the default board's defconfig. A symbol is an attribute here only if it is listed below; a test
holds the list to the Kconfig file.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, fields
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DEFCONFIG = ROOT / "configs" / "qemu-virt-arm64_defconfig"
_ASSIGNMENT = re.compile(r"CONFIG_(\w+)=(.*)")


@dataclass(frozen=True)
class Config:
    """One attribute for each symbol; Kconfig has what each means."""

    BOARD: str
    BOARD_QEMU_VIRT_ARM64: bool
    BOARD_ZCU102: bool
    BOARD_QEMU_VIRT_ARM32: bool
    BOARD_CUSTOM: bool
    BOARD_CUSTOM_64: bool
    BOARD_CUSTOM_32: bool
    BOARD_ARNDALE: bool
    BOARD_COLOMBUS: bool
    BOARD_CUBIEBOARD2: bool
    BOARD_HIP04_D01: bool
    BOARD_LAGER: bool
    BOARD_MIDWAY: bool
    BOARD_OMAP5_UEVM: bool
    BOARD_RASPI4: bool
    BOARD_THUNDERX: bool
    BOARD_VEXPRESS_A15: bool
    BOARD_XGENE: bool
    ARCH: str
    ARM64: bool
    ARM32: bool
    HARDEN_BRANCH_PREDICTOR: bool
    ERRATUM_766422: bool
    ERRATUM_832075: bool
    MAX_CPUS: int
    MIXED_CPUS: bool
    HIGH_DEVICES: bool
    OPTIMIZE_SPEED: bool
    OPTIMIZE_SIZE: bool
    LINES: bool
    COMPRESS: bool
    MAX_DOMAINS: int
    MAX_DOMAIN_CPUS: int
    MAX_VCPUS: int
    MAX_MODULES: int
    MAX_TREE_NODES: int
    PSCI_1_1: bool
    BOOT_SCRUB: bool
    RESTART: bool
    DIRECT_MAP: bool
    STATIC_SHM: bool
    MAX_SHARED_REGIONS: int
    VPL011: bool
    AARCH32_GUESTS: bool
    EVENT_CHANNELS: bool
    EVENT_CHANNELS_PER_DOMAIN: int
    STATIC_EVENT_CHANNELS: int
    SCHED_NULL: bool
    SCHED_RR: bool
    SCHED_RR_SLICE_US: int
    SCHED_CREDIT2: bool
    SCHED_RATELIMIT_US: int
    SCHED_RTDS: bool
    SCHED_ARINC653: bool
    SCHED_ARINC653_WINDOWS: int
    SCHED_DEFAULT: str
    SCHED_DEFAULT_NULL: bool
    SCHED_DEFAULT_RR: bool
    SCHED_DEFAULT_CREDIT2: bool
    SCHED_DEFAULT_RTDS: bool
    SCHED_DEFAULT_ARINC653: bool
    GICV2: bool
    GICV3: bool
    GICV2_ON_V3: bool
    GIC_HIP04: bool
    GIC_HW_TIMER_LINK: bool
    VGIC_INTIDS: int
    MPIDR_LEVELS: bool
    PPI_VIRTUAL_TIMER: int
    PPI_HYP_TIMER: int
    EL2_TABLE_PAGES: int
    SPIN_TABLE: bool
    SOC_EXYNOS5250: bool
    SOC_OMAP5: bool
    SOC_SUN6I: bool
    SOC_SUN7I: bool
    SOC_RCAR_H2: bool
    SOC_VEXPRESS: bool
    SOC_ECX2000: bool
    SOC_HIP04: bool
    SOC_XGENE: bool
    SOC_BCM2711: bool
    SOC: bool
    SOC_FROM_RESET: bool
    UART_PL011: bool
    UART_NS16550: bool
    UART_CADENCE: bool
    UART_EXYNOS4210: bool
    UART_SCIF: bool
    CONSOLE_MUX: bool
    KEYS: bool
    PANIC_REPORT: bool
    LOG_LEVEL: int
    LOG_LEVEL_NONE: bool
    LOG_LEVEL_ERROR: bool
    LOG_LEVEL_WARNING: bool
    LOG_LEVEL_INFO: bool
    LOG_LEVEL_DEBUG: bool
    SERIAL_RING_SIZE: int
    LOG_RING_SIZE: int
    RESCUE_UART: int
    TRACE: bool
    TRACE_RECORDS: int
    CHECK_OVERFLOW: bool
    CHECK_BOUNDS: bool
    CHECK_NARROWING: bool
    CHECK_SHIFT: bool
    CHECK_DIVISION: bool
    CHECK_ENUM: bool
    CHECK_ASSERT: bool


def _typed(kind: object, name: str, text: str | None, source: str) -> bool | int | str:
    """A value of the attribute's type from what the file says; an absent bool is off, as Kconfig writes it."""
    if kind == "bool":
        return text == "y"
    if text is None:
        raise ValueError(f"{source} has no CONFIG_{name}: bring it up to date with 'make olddefconfig'")
    return int(text, 0) if kind == "int" else text.strip('"')


def parse(text: str, source: str) -> Config:
    """The configuration that a complete .config file holds."""
    values = {match[1]: match[2] for match in map(_ASSIGNMENT.fullmatch, text.splitlines()) if match}
    return Config(**{f.name: _typed(f.type, f.name, values.get(f.name), source) for f in fields(Config)})  # type: ignore[arg-type]


def expand(defconfig: Path) -> str:
    """The complete .config text that a defconfig stands for."""
    import kconfiglib

    kconfig = kconfiglib.Kconfig(str(ROOT / "Kconfig"), warn_to_stderr=False)
    kconfig.load_config(str(defconfig))
    return "".join(symbol.config_string for symbol in kconfig.unique_defined_syms)


def load() -> Config:
    """The configuration that this process works with."""
    chosen = os.environ.get("XENARM_CONFIG")
    if chosen:
        return parse(Path(chosen).read_text(), chosen)
    return parse(expand(DEFCONFIG), str(DEFCONFIG))


CONFIG = load()
