"""What belongs to each switch of Kconfig: names of functions and statics as `make size` has them, and texts. None of it is in an image without the switch."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from freestanding.attribution import attribute
from freestanding.elf import Image

ARM64, ARM32 = "qemu-virt-arm64", "qemu-virt-arm32"


@dataclass(frozen=True)
class Switch:
    """`names`: regular expressions, each of which finds something in an image with the switch; `check`: the kind of check that it is;
    `board`: where to look at it; `shared`: modules of it are another architecture's own."""

    names: tuple[str, ...] = ()
    texts: tuple[bytes, ...] = ()
    check: str = ""
    board: str = ARM64
    shared: bool = False


def modules(*names: str) -> tuple[str, ...]:
    """Every name of these modules."""
    return tuple(rf"^xenarm\.{name.replace('.', chr(92) + '.')}\." for name in names)


def driver(module: str, compatible: bytes, board: str) -> Switch:
    return Switch(modules(f"drivers.{module}"), (compatible,), board=board)


def soc(names: tuple[str, ...], compatible: bytes, board: str = ARM32) -> Switch:
    return Switch(names, (compatible,), board=board)


SWITCHES: dict[str, Switch] = {
    "HARDEN_BRANCH_PREDICTOR": Switch((r"loop_vectors", r"call_vectors", r"HARDENED", r"\.hardening$")),
    "ERRATUM_766422": Switch((*modules("arm32.thumb_stores"), r"stores_vectors"), board=ARM32),
    "ERRATUM_832075": Switch(),  # other instructions of the same functions
    "MPIDR_LEVELS": Switch((r"abi\.affinity\.(vcpu|affinity)_by_levels$", r"core\.plan\.plan_levels$"), (b"xenarm,mpidr-levels is no row",)),
    "MIXED_CPUS": Switch(texts=(b"makes the domain one of CPUs of different kinds", b"not of CPU 0's kind")),
    "HIGH_DEVICES": Switch(),  # another number in the same instructions, and a larger table
    "LINES": Switch((r"^\(table of lines\)", r"arm\.panic\.find_line")),
    "COMPRESS": Switch(modules("arm64.unpack")),
    "PSCI_1_1": Switch((r"psci\.guest\.features", r"psci\.guest\.is_supported", r"psci\.guest\.smccc_call", r"workaround_for_guests")),
    "BOOT_SCRUB": Switch(modules("core.scrub"), (b"bootscrub",)),
    "RESTART": Switch((r"dom0less\.domain_rebuild|dom0less\.load$|p2m\.stage2\.forget_guest",)),
    "DIRECT_MAP": Switch((r"plan_layout_direct|plan_layout_uart",)),
    "STATIC_SHM": Switch((*modules("core.shared_memory"), r"plan_share$", r"plan_shared$", r"dom0less\.take_shared", r"guest\.write_shares"), (b"xen,shm-id", b"xen,shared-mem")),
    "VPL011": Switch((*modules("core.vpl011"), r"console\.vpl011_mmio", r"guest\.write_\w+_uart"), (b"sbsa-uart\0arm", b"uartclk")),
    "AARCH32_GUESTS": Switch(
        (*modules("arm64.aarch32", "arm64.guest", "arm.coprocessors", "arm.coprocessor_traps"), r"system_traps\.trap_(hvc|smc)32"), shared=True
    ),
    "EVENT_CHANNELS": Switch(
        (*modules("core.event_channel", "core.event_ops", "core.static_events", "core.guest_argument", "core.guest_interface"), r"plan\.plan_events", r"connect_end")
    ),
    "SCHED_NULL": Switch(modules("core.sched.null")),
    "SCHED_RR": Switch(modules("core.sched.rr"), (b"sched_rr_slice_us",)),
    "SCHED_CREDIT2": Switch((*modules("core.sched.credit2"), r"params\.weight_and_cap"), (b"credit2", b"xen,sched-weight")),
    "SCHED_RTDS": Switch((*modules("core.sched.rtds"), r"params\.realtime"), (b"rtds", b"xen,sched-budget-us")),
    "SCHED_ARINC653": Switch((*modules("core.sched.arinc653"), r"params\.windows"), (b"arinc653",)),
    "GICV2": Switch((*modules("gic.v2", "gic.vgicd"), r"(guest_irq|guest_sync|short_sync|guest_turn)_v2"), (b"arm,gic-400\0",)),
    "GICV3": Switch((*modules("gic.v3", "gic.vgicd3", "gic.vgicr"), r"_v3$", r"sgi_register"), (b"arm,gic-v3",)),
    "GICV2_ON_V3": Switch((r"plan_legacy_there$",), (b"no GICV in its reg",)),
    "GIC_HIP04": Switch((r"gic\.v2_layout\.LAYOUTS?$",), (b"hisilicon,hip04-intc",), board=ARM32),
    "GIC_HW_TIMER_LINK": Switch(),  # another way of the same functions
    "UART_PL011": Switch(modules("drivers.pl011"), board="zcu102"),  # its `compatible` is the virtual port's too
    "UART_NS16550": driver("ns16550", b"snps,dw-apb-uart", ARM64),
    "UART_CADENCE": driver("cadence", b"cdns,uart-r1p12", ARM64),
    "UART_EXYNOS4210": driver("exynos4210", b"samsung,exynos4210-uart", ARM32),
    "UART_SCIF": driver("scif", b"renesas,scif", ARM32),
    "SPIN_TABLE": Switch(modules("soc.spin_table"), (b"cpu-release-addr",)),
    "SOC_EXYNOS5250": soc(modules("soc.exynos5250"), b"samsung,exynos5250"),
    "SOC_OMAP5": soc(modules("soc.omap5"), b"ti,omap5"),
    "SOC_SUN6I": soc((r"soc\.sunxi\.sun6i",), b"allwinner,sun6i-a31"),
    "SOC_SUN7I": soc((r"soc\.sunxi\.sun7i",), b"allwinner,sun7i-a20"),
    "SOC_RCAR_H2": soc(modules("soc.rcar_h2"), b"renesas,r8a7790"),
    "SOC_VEXPRESS": soc(modules("soc.vexpress"), b"arm,vexpress"),
    "SOC_ECX2000": soc((r"soc\.restarts\.ecx2000",), b"calxeda,ecx-2000"),
    "SOC_HIP04": soc(modules("soc.hip04"), b"hisilicon,hip04-d01"),
    "SOC_XGENE": soc((r"soc\.restarts\.xgene",), b"apm,xgene-storm", ARM64),
    "SOC_BCM2711": soc((r"soc\.restarts\.bcm2711",), b"brcm,bcm2711", ARM64),
    "CONSOLE_MUX": Switch((r"console\.put_shared", r"console\.(show|show_waiting|show_all_waiting)$", r"console\.owner_is_silent"), (b"CTRL-a",)),
    "KEYS": Switch((*modules("core.keys", "core.vcpu_reports", "core.report", "core.listing"), r"dom0less\.destroy|shutdown\.domain_resume"), (b"h lists its keys",)),
    "PANIC_REPORT": Switch((r"panic\.say_place", r"panic\.number")),
    "TRACE": Switch((*modules("core.trace", "core.tracing", "core.trace_dump", "arm.traced", "arm64.traced"),), (b"trace=",)),
    **{f"CHECK_{kind}": Switch(check=kind.lower()) for kind in ("OVERFLOW", "BOUNDS", "NARROWING", "SHIFT", "DIVISION", "ENUM", "ASSERT")},
}


@dataclass(frozen=True)
class Built:
    """What an image holds."""

    names: frozenset[str]
    data: bytes
    checks: frozenset[str]


def read(image: Path) -> Built:
    elf = Image(image.with_name("xenarm.elf").read_bytes())
    unpacker = image.with_name("unpack.elf")  # of a compressed image
    everything = [*attribute(elf), *(attribute(Image(unpacker.read_bytes())) if unpacker.exists() else [])]
    names = frozenset(f"{piece.module}.{piece.name.removesuffix(' (text)')}" for piece in everything)
    return Built(names, elf.flat(), frozenset(site.kind for site in elf.panics))


def left_of(switch: Switch, built: Built) -> list[str]:
    """What should not be there."""
    names = [name for name in sorted(built.names) if any(re.search(each, name) for each in switch.names)]
    return [*names, *(repr(text) for text in switch.texts if text in built.data), *({switch.check} & built.checks)]


def missing_of(switch: Switch, built: Built) -> list[str]:
    """What the table says that is not so: it would find nothing where there is something."""
    names = [each for each in switch.names if not any(re.search(each, name) for name in built.names)]
    return [*names, *(repr(text) for text in switch.texts if text not in built.data), *({switch.check} - {""} - built.checks)]
