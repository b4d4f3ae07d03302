"""Which scheduler this boot has: what the boot arguments choose, else the configured one."""

from freestanding import fn, u64

from xenarm.arch import arch_counter_hz, cpus_online
from xenarm.arm.cpu import SHARING
from xenarm.config import CONFIG
from xenarm.core.log import log_warning, printk
from xenarm.core.sched.options import sched_options
from xenarm.core.sched.scheduler import sched_init, sched_kin, sched_name, sched_select
from xenarm.devicetree.reader import Fdt

__all__ = ["scheduling_init"]


@fn
def scheduling_init(fdt: Fdt) -> None:
    """Once all CPUs are up, before the first domain."""
    sched_options(fdt)
    SHARING.on = not sched_name().equals(b"null")
    if CONFIG.GIC_HW_TIMER_LINK and SHARING.on:
        log_warning(f"the scheduler is null: CONFIG_GIC_HW_TIMER_LINK binds virtual timers to CPUs")
        SHARING.on = not sched_select(b"null")
    cpus = cpus_online()
    sched_init(~u64(0) >> (64 - cpus), arch_counter_hz())
    printk(f"scheduler: {sched_name()}")
    if CONFIG.MIXED_CPUS:
        say_others(~u64(0) >> (64 - cpus) & ~sched_kin(1))


@fn
def say_others(cpus: u64) -> None:
    if cpus != 0:
        printk(f"scheduler: CPUs {cpus:#x} are not of CPU 0's kind: for domains whose hard-affinity names them")
