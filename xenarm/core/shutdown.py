"""The end of a domain, and of the machine when no domain is left."""

from freestanding import fn, u32

from xenarm.arch import arch_machine_off, arch_machine_reset
from xenarm.core.console import console_domain_ended
from xenarm.core.domain import DOMAINS, MAX_DOMAINS, Domain, DomainState, ShutdownReason, domain_name
from xenarm.core.log import printk
from xenarm.gic.vgic import vcpu_kick

__all__ = ["domain_shutdown", "machine_end"]


@fn
def domain_shutdown(d: Domain, reason: ShutdownReason) -> None:
    """Stop a running domain for good: say so, and have the CPUs of its vCPUs leave it. The caller's own must leave it too.

    When it was the last one, the machine restarts if that is what the domain asked for, and is turned off otherwise; it does not return then.
    """
    first, _ = d.state.compare_swap(u32(DomainState.RUNNING), u32(DomainState.DYING))
    if not first:
        return
    printk(f"domain {domain_name(d)}: shut down, reason {reason}")
    console_domain_ended(d)
    for i in range(d.vcpu_count):
        v = d.vcpus[i]
        if v is not None:
            vcpu_kick(v)
    d.state.store_release(u32(DomainState.DEAD))
    if not any_domain_runs():
        machine_end(reason)


@fn
def any_domain_runs() -> bool:
    for i in range(MAX_DOMAINS):
        state = DOMAINS[i].state.load_acquire()
        if state == u32(DomainState.RUNNING) or state == u32(DomainState.DYING):
            return True
    return False


@fn
def machine_end(reason: ShutdownReason) -> None:
    """No domain is left. Does not return."""
    if reason == ShutdownReason.REBOOT:
        printk("no domain is left: the machine restarts")
        arch_machine_reset()
    printk("no domain is left: the machine is turned off")
    arch_machine_off()
