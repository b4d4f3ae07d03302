"""Which scheduler this boot has: the boot argument `sched=`; else `null` where every vCPU can have a CPU; else the configured one."""

from freestanding import fn, saturating_add, u64

from xenarm.arch import arch_counter_hz, cpus_online
from xenarm.arm64.cpu import SHARING
from xenarm.config import CONFIG
from xenarm.core.bootargs import bootarg
from xenarm.core.log import log_warning, printk
from xenarm.core.sched.scheduler import sched_init, sched_name, sched_select
from xenarm.core.result import Result
from xenarm.devicetree.reader import NO_NODE, Fdt, fdt_children
from xenarm.devicetree.values import fdt_compatible, fdt_find, fdt_u64

__all__ = ["scheduling_init"]


@fn
def vcpus_wanted(fdt: Fdt) -> u64:
    """What all domains ask for together, sound or not."""
    wanted = u64(0)
    chosen = fdt_find(fdt, b"/chosen")
    if chosen != NO_NODE:
        for node in fdt_children(fdt, chosen):
            if fdt_compatible(fdt, node, b"xen,domain"):
                result, cpus = fdt_u64(fdt, node, b"cpus")
                wanted = saturating_add(wanted, cpus if result == Result.OK else u64(0))
    return wanted


@fn
def select(fdt: Fdt) -> None:
    given, name = bootarg(fdt, b"sched")
    if given:
        if sched_select(name):
            return
        log_warning(f"/chosen: xen,xen-bootargs: sched={name}: this image has no such scheduler")
    if vcpus_wanted(fdt) <= u64(cpus_online()):
        _ = sched_select(b"null")


@fn
def scheduling_init(fdt: Fdt) -> None:
    """Once all CPUs are up, before the first domain."""
    select(fdt)
    SHARING.on = not sched_name().equals(b"null")
    if CONFIG.GIC_HW_TIMER_LINK and SHARING.on:
        log_warning(f"the scheduler is null: CONFIG_GIC_HW_TIMER_LINK binds virtual timers to CPUs")
        SHARING.on = not sched_select(b"null")
    cpus = cpus_online()
    sched_init(~u64(0) >> (64 - cpus), arch_counter_hz())
    printk(f"scheduler: {sched_name()}")
