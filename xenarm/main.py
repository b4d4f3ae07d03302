"""The boot, phase by phase. Importing this module imports everything that is in the image."""

import xenarm.arm.panic
import xenarm.arm.traps  # noqa: F401
from freestanding import Ptr, View, align_down, export, fn, u8, u32, u64, usize
from xenarm.arch import arch_machine_off, cpus_online, image_size, image_start, mmu_map_ram
from xenarm.arm.link import CFLAGS, FAST, FLOATING_POINT, LINKER_SCRIPT, ONCE, SEPARATE, THUMB
from xenarm.arm.machine import cpu_stop
from xenarm.arm.mmu import mmu_init
from xenarm.arm.once import image_kept
from xenarm.arm.panic import panic_init
from xenarm.arm.run import arch_start_domains
from xenarm.arm.smp import cpu_init, cpus_start
from xenarm.arm.timer_node import timer_node_check
from xenarm.arm.variant import processors_judge, processors_prepare
from xenarm.arm.window import window_bytes
from xenarm.config import CONFIG
from xenarm.core.addresses import MIB, PAGE_SIZE, HostPhys
from xenarm.core.bootargs import bootarg
from xenarm.core.console import console_handle_keys, console_init_early, console_interrupt, console_rescue
from xenarm.core.dom0less import domains_create
from xenarm.core.domain import DOMAINS, MAX_CPUS, MAX_DOMAINS, DomainState
from xenarm.core.fault import HOST_TREE
from xenarm.core.keys import key_pressed
from xenarm.core.log import log_error, log_level, log_start, log_warning, printk, stage
from xenarm.core.memory import memory_end, memory_init
from xenarm.core.result import Result
from xenarm.core.scheduling import scheduling_init
from xenarm.core.scrub import scrub_init
from xenarm.core.tracing import tracing_init
from xenarm.devicetree.reader import FdtError, fdt_open, fdt_total_size
from xenarm.drivers.serial import serial_queue
from xenarm.gic.host import NO_GIC, gic_enable_spi, gic_init
from xenarm.p2m.stage2 import stage2_choose
from xenarm.psci.host import host_psci_init
from xenarm.soc.table import soc_init

if CONFIG.ARM64:
    import xenarm.arm64.head
    import xenarm.arm64.vectors  # noqa: F401
else:
    import xenarm.arm32.head
    import xenarm.arm32.vectors  # noqa: F401

__all__ = ["CFLAGS", "FAST", "FLOATING_POINT", "LINKER_SCRIPT", "ONCE", "SEPARATE", "THUMB", "boot_first_cpu"]

MAPS_MEMORY = True

FDT = HOST_TREE
LARGEST_TREE = 2 * MIB  # Linux's limit (Documentation/arm64/booting.rst), and ours
EL2 = 2
LEVEL = b"EL" if CONFIG.ARM64 else b"PL"  # AArch32 has privilege levels: PL2 is HYP mode
TREE_REGISTER = b"x0" if CONFIG.ARM64 else b"r2"


@export("boot_first_cpu")
def boot_first_cpu(dtb: usize, image: usize, el: usize) -> None:
    """Entry of the first CPU: the device tree's and the image's machine address, the exception level. Does not return."""
    boot(dtb, image, el)
    stage(b"start")
    arch_start_domains()


@fn(inline=False)
def boot(dtb: usize, image: usize, el: usize) -> None:
    """All phases. Its part of the stack is free when it returns: domains start on what is left."""
    FDT.count = 0
    log_start()
    mmu_init(HostPhys(u64(image)))
    open_tree(HostPhys(u64(dtb)))
    printk(f"xenarm, image at {image:#x}, {image_size() // 1024} KiB")
    require_el2(el)
    stage(b"memory")
    require(memory_init(FDT, HostPhys(u64(dtb)), image_start(), image_size()), b"memory")
    stage2_choose(memory_end())
    stage(b"interrupt controller")
    require(gic_init(FDT), NO_GIC)
    require(timer_node_check(FDT), b"timers")
    require(cpu_init(0), b"interrupt controller: nothing in it for this CPU")
    stage(b"processors")
    host_psci_init(FDT)
    if CONFIG.SOC:
        soc_init(FDT)
    processors_prepare(FDT)
    cpus_start(FDT)
    printk(f"processors: {cpus_online()} of at most {MAX_CPUS}")
    processors_judge()
    stage(b"domains")
    scheduling_init(FDT)
    if CONFIG.BOOT_SCRUB:
        scrub_init(FDT)
    if CONFIG.TRACE:
        tracing_init(FDT)
    if domains_create(FDT) == 0:
        arch_machine_off()
    printk(f"hypervisor uses {memory_used() // 1024} KiB")
    gic_enable_spi(console_interrupt(), 0, True)
    serial_queue(True)
    if CONFIG.KEYS:
        console_handle_keys(key_pressed)


@fn
def memory_used() -> u64:
    """Bytes that the hypervisor keeps: the image less what only the boot uses, stacks and domains, and the domains' translation tables."""
    used = image_kept() + window_bytes()
    for i in range(MAX_DOMAINS):
        if DOMAINS[i].state.load() == u32(DomainState.RUNNING):
            used += DOMAINS[i].p2m.pool_pages * PAGE_SIZE
    return used


@fn
def tree_bytes(dtb: HostPhys) -> View[u8]:
    """The blob where the boot loader left it, mapped; only its first bytes when it is none.

    Linux's boot protocol keeps a tree out of blocks of 2 MiB that must not be mapped as memory (Documentation/arm64/booting.rst).
    """
    address = usize(u64(dtb))
    block = align_down(dtb, 2 * MIB)
    mmu_map_ram(block, 2 * MIB)
    size = max(min(usize(fdt_total_size(Ptr[u8](address).slice(8))), LARGEST_TREE), 8)
    if u64(dtb) - u64(block) + u64(size) > 2 * MIB:
        mmu_map_ram(block + 2 * MIB, 2 * MIB)
    return Ptr[u8](address).slice(size)


@fn
def open_tree(dtb: HostPhys) -> None:
    """Everything hangs on the device tree; without a sound one there is nothing to do but say so."""
    error = fdt_open(FDT, tree_bytes(dtb))
    if error != FdtError.NONE:
        FDT.count = 0
        console_rescue()
        register: View[u8] = TREE_REGISTER
        log_error(f"device tree at {u64(dtb):#x}: {error}; the boot loader must pass a sound one in {register}")
        cpu_stop()
    given, level = bootarg(FDT, b"loglvl")
    sound = not given or log_level(level)
    console_init_early(FDT)
    if not sound:
        log_warning(f"/chosen: xen,xen-bootargs: loglvl={level} is ignored; give none, error, warning, info, debug or all")
    if CONFIG.PANIC_REPORT:
        panic_init(FDT)


@fn
def require_el2(el: usize) -> None:
    if el != EL2:
        level: View[u8] = LEVEL
        log_error(f"started at {level}{el}: a hypervisor needs {level}2; start it as the boot loader starts Linux on a machine with virtualization")
        cpu_stop()


@fn
def require(result: Result, what: View[u8]) -> None:
    if result != Result.OK:
        log_error(f"{what}: {result}; the machine cannot be used")
        cpu_stop()
