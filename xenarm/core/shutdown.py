"""The end of a domain and what follows it: another life from pristine modules, nothing, or the end of the machine.

Whoever ends a domain only claims that and kicks its vCPUs. The last of them to go off settles the rest, in its own time, as the scheduler has it.
"""

from freestanding import Atomic, Struct, View, atomic, fn, u8, u32, u64, zeroed

from xenarm.arch import arch_machine_off, arch_machine_reset
from xenarm.config import CONFIG
from xenarm.core.addresses import KIB
from xenarm.core.console import console_domain_ended
from xenarm.core.dom0less import domain_rebuild, domain_release
from xenarm.core.domain import DOMAINS, MAX_DOMAINS, Domain, DomainState, EndAction, ShutdownReason, domain_all_left, domain_name
from xenarm.core.log import TERMINAL, guest_message_allowed, log_error, printk
from xenarm.core.memory import memory_free
from xenarm.core.result import Result
from xenarm.core.trace import trace_domain, trace_pause
from xenarm.drivers.serial import serial_flush
from xenarm.gic.vgic import vcpu_kick

__all__ = ["domain_pause", "domain_resume", "domain_shutdown", "domain_vcpu_left", "machine_end"]


class MachineLife(Struct):
    """`ended` is claimed once, by whoever ends the machine."""

    ended: Atomic[u32] = atomic(u32)


MACHINE = zeroed(MachineLife)


@fn
def end_action(d: Domain, reason: ShutdownReason) -> EndAction:
    match reason:
        case ShutdownReason.REBOOT:
            return d.on_reboot
        case ShutdownReason.CRASH:
            return d.on_crash
        case ShutdownReason.POWEROFF | ShutdownReason.SUSPEND:
            return EndAction.STOP


@fn
def domain_shutdown(d: Domain, reason: ShutdownReason) -> None:
    """End a running domain: have its vCPUs leave it. The caller's own must leave it too; of several callers one counts."""
    first, _ = d.state.compare_swap(u32(DomainState.RUNNING), u32(DomainState.ENDING))
    if not first:
        return
    d.reason = reason
    trace_domain(d, u64(DomainState.DYING), u64(reason))
    d.state.store_release(u32(DomainState.DYING))
    kick_all(d)


@fn
def kick_all(d: Domain) -> None:
    for i in range(d.vcpu_count):
        v = d.vcpus[i]
        if v is not None:
            vcpu_kick(v)


@fn
def domain_vcpu_left(d: Domain) -> None:
    """A vCPU of the domain is off, and says so itself. When the domain ends and this was the last, do what follows.

    A vCPU first leaves state ON, then looks here; the end first sets DYING, then looks at the vCPUs: one of them sees both.
    """
    if domain_all_left(d):
        claimed, _ = d.state.compare_swap(u32(DomainState.DYING), u32(DomainState.SETTLING))
        if claimed:
            settle(d)


@fn
def settle(d: Domain) -> None:
    action = end_action(d, d.reason)
    if CONFIG.RESTART and action == EndAction.RESTART and restart(d):
        return
    printk(f"domain {domain_name(d)}: shut down, reason {d.reason}")
    trace_domain(d, u64(DomainState.DEAD), u64(d.reason))
    d.state.store_release(u32(DomainState.DEAD))
    console_domain_ended(d)
    if action == EndAction.STOP_MACHINE or not any_domain_lives():
        machine_end(d.reason)
    else:
        domain_release(d)


@fn
def restart(d: Domain) -> bool:
    """Begin anew. The message is the guest's to provoke, and so is limited; the number in it tells of those not shown."""
    d.restarts = d.restarts + 1 if d.restarts < 0xFFFF_FFFF else u32(0)
    result = domain_rebuild(d)
    if result != Result.OK:
        log_error(f"domain {domain_name(d)}: cannot restart ({result})")
        return False
    if guest_message_allowed(d.id):
        printk(f"domain {domain_name(d)}: restart {d.restarts}, reason {d.reason}, {memory_free() // KIB} KiB of memory free")
    trace_domain(d, u64(DomainState.RUNNING), u64(d.reason))
    d.state.store_release(u32(DomainState.RUNNING))
    kick_all(d)
    return True


@fn
def any_domain_lives() -> bool:
    for i in range(MAX_DOMAINS):
        state = DOMAINS[i].state.load_acquire()
        if state >= u32(DomainState.RUNNING) and state < u32(DomainState.DEAD):
            return True
    return False


@fn
def send_all() -> None:
    """What still waits for the serial line."""
    with TERMINAL.lock:
        serial_flush()


@fn
def machine_end(reason: ShutdownReason) -> None:
    """The machine restarts if that is what the last domain asked for, and is turned off otherwise. Returns only where another CPU does it."""
    if MACHINE.ended.exchange(1) != 0:
        return
    why: View[u8] = b"a domain's end is the machine's" if any_domain_lives() else b"no domain is left"
    if reason == ShutdownReason.REBOOT:
        printk(f"{why}: the machine restarts")
        send_all()
        arch_machine_reset()
    printk(f"{why}: the machine is turned off")
    send_all()
    arch_machine_off()


@fn
def domain_pause(d: Domain) -> None:
    """Have its vCPUs leave the guest until `domain_resume`. Time goes on; interrupts wait."""
    trace_pause(d, 1, 0)
    d.paused.store_release(1)
    kick_all(d)


@fn
def domain_resume(d: Domain) -> None:
    trace_pause(d, 0, 0)
    d.paused.store_release(0)
    kick_all(d)
