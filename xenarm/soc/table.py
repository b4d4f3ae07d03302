"""The SoCs that the image knows, by the machine's `compatible`, and the one that it runs on."""

from collections.abc import Callable

from freestanding import Struct, View, fn, table, u8, u32, u64, zeroed

from xenarm.config import CONFIG
from xenarm.devicetree.reader import ROOT, Fdt
from xenarm.devicetree.values import fdt_compatible
from xenarm.soc import exynos5250, hip04, omap5, rcar_h2, restarts, sunxi, vexpress
from xenarm.soc.registers import Started, nothing

__all__ = ["ALL", "SOCS", "Soc", "soc_from_reset", "soc_init", "soc_off", "soc_restart", "soc_start"]


class Soc(Struct, frozen=True):
    """`prepare` maps the registers; `from_reset`: CPUs that it starts may be in secure state, as out of reset; `off` and `restart` may return."""

    compatible: View[u8]
    prepare: Callable[[Fdt], None]
    start: Callable[[Fdt, u64, u64], Started]
    from_reset: bool
    off: Callable[[], None]
    restart: Callable[[], None]


e, o, r, s, v = exynos5250, omap5, rcar_h2, sunxi, vexpress
ALL: dict[str, tuple[Soc, tuple[tuple[str, str], ...]]] = {
    "EXYNOS5250": (Soc(b"samsung,exynos5250", e.exynos5250_prepare, e.exynos5250_start, False, nothing, e.exynos5250_restart), e.KEPT),
    "OMAP5": (Soc(b"ti,omap5", o.omap5_prepare, o.omap5_start, False, nothing, o.omap5_restart), o.KEPT),
    "SUN6I": (Soc(b"allwinner,sun6i-a31", s.sun6i_prepare, s.sun6i_start, True, nothing, s.sun6i_restart), s.KEPT),
    "SUN7I": (Soc(b"allwinner,sun7i-a20", s.sun7i_prepare, s.sun7i_start, True, nothing, s.sun7i_restart), s.KEPT),
    "RCAR_H2": (Soc(b"renesas,r8a7790", r.rcar_h2_prepare, r.rcar_h2_start, True, nothing, r.rcar_h2_restart), r.KEPT),
    "VEXPRESS": (Soc(b"arm,vexpress", v.vexpress_prepare, v.vexpress_start, True, v.vexpress_off, v.vexpress_restart), v.KEPT),
    "ECX2000": (
        Soc(b"calxeda,ecx-2000", restarts.ecx2000_prepare, restarts.no_start, False, restarts.ecx2000_off, restarts.ecx2000_restart),
        restarts.ECX2000_KEPT,
    ),
    "HIP04": (Soc(b"hisilicon,hip04-d01", hip04.hip04_prepare, hip04.hip04_start, False, nothing, hip04.hip04_restart), hip04.KEPT),
    "XGENE": (Soc(b"apm,xgene-storm", restarts.xgene_prepare, restarts.no_start, False, nothing, restarts.xgene_restart), restarts.XGENE_KEPT),
    "BCM2711": (Soc(b"brcm,bcm2711", restarts.bcm2711_prepare, restarts.no_start, False, nothing, restarts.bcm2711_restart), restarts.BCM2711_KEPT),
}
"""By the end of Kconfig's name, SOC_...: the driver, and the devices that guests never get, each with the reason."""

SOCS = table(Soc, [soc for name, (soc, _) in ALL.items() if getattr(CONFIG, f"SOC_{name}") or not CONFIG.SOC])
"""Those that the image has; in one that has none nothing comes here."""


class Chosen(Struct):
    """Row of SOCS, counted from 1; 0 for none."""

    row: u32


CHOSEN = zeroed(Chosen)


@fn
def soc_init(fdt: Fdt) -> None:
    """Find out which SoC this is, and set right what must be."""
    for i, soc in enumerate(SOCS):
        if CHOSEN.row == 0 and fdt_compatible(fdt, ROOT, soc.compatible):
            CHOSEN.row = u32(i) + 1
            soc.prepare(fdt)


@fn
def soc_from_reset() -> bool:
    """Whether the CPUs that `soc_start` starts may be as out of reset."""
    return CHOSEN.row != 0 and SOCS[CHOSEN.row - 1].from_reset


@fn
def soc_start(fdt: Fdt, mpidr: u64, entry: u64) -> Started:
    """Start a CPU at a machine address, MMU off, in the SoC's own way."""
    return SOCS[CHOSEN.row - 1].start(fdt, mpidr, entry) if CHOSEN.row != 0 else Started.REFUSED


@fn
def soc_off() -> None:
    """Turn the machine off. Returns if there is no way."""
    if CHOSEN.row != 0:
        SOCS[CHOSEN.row - 1].off()


@fn
def soc_restart() -> None:
    """Restart the machine. Returns if there is no way, or before it takes effect."""
    if CHOSEN.row != 0:
        SOCS[CHOSEN.row - 1].restart()
