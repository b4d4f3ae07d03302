"""What each CPU has of its guest: registers and timers, said by that CPU itself, when a kick finds that it was asked for.

What vCPUs have left in memory that no CPU has, anybody can say.
"""

from freestanding import Atomic, Struct, atomic, fn, u32, u64, zeroed
from xenarm.arm.hw import read_cntpct_el0, read_cntv_ctl_el0, read_cntv_cval_el0
from xenarm.arm.variant import saved_vtimer, say_guest_registers, say_saved_registers
from xenarm.core.domain import MAX_CPUS, Domain, Power, Vcpu, domain_name
from xenarm.core.log import printk

__all__ = ["REGISTERS", "TIMERS", "dump_ask", "dump_asked", "dump_saved", "dump_wanted"]

REGISTERS = 0x0000_00FF  # eight CPUs each
TIMERS = 0x0000_FF00
assert MAX_CPUS <= 8, "a word of requests has room for eight CPUs"


class Requests(Struct):
    """Bits `cpu` and `8 + cpu`: registers, timers."""

    word: Atomic[u32] = atomic(u32)


REQUESTS = zeroed(Requests)


@fn
def dump_ask(cpu: u32, what: u32) -> None:
    """REGISTERS or TIMERS of the vCPU that a CPU runs. The caller kicks the CPU."""
    _ = REQUESTS.word.fetch_or(what & u32(0x0101) << cpu)


@fn(inline=True)
def dump_wanted() -> bool:
    """Whether `dump_asked` may have something to do."""
    return REQUESTS.word.load() != 0


@fn
def dump_asked(v: Vcpu) -> None:
    """On each kick: this CPU's guest, whose caller-saved registers are in the frame."""
    mine = u32(0x0101) << v.cpu
    asked = REQUESTS.word.fetch_and(~mine) & mine
    d = v.domain
    if asked == 0 or d is None:
        return
    if v.power.load() != u32(Power.ON):
        printk(f"cpu {v.cpu}: domain {domain_name(d)} vcpu {v.id} is off")
        return
    if asked & REGISTERS != 0:
        say_guest_registers(d, v)
    if asked & TIMERS != 0:
        say_timers(d, v)


@fn
def say_timers(d: Domain, v: Vcpu) -> None:
    printk(
        f"cpu {v.cpu}: domain {domain_name(d)} vcpu {v.id}: counter {read_cntpct_el0():#x}; virtual timer control {read_cntv_ctl_el0():x} "
        f"compare {read_cntv_cval_el0():#x}; physical control {v.ptimer_control:x} compare {v.ptimer_compare:#x}"
    )


@fn
def dump_saved(d: Domain, v: Vcpu, what: u32) -> None:
    """REGISTERS or TIMERS of a vCPU that no CPU has."""
    if v.power.load() != u32(Power.ON):
        printk(f"domain {domain_name(d)} vcpu {v.id} is off")
        return
    if what & REGISTERS != 0:
        say_saved_registers(d, v)
    if what & TIMERS != 0:
        control, compare = saved_vtimer(v)
        printk(
            f"no cpu: domain {domain_name(d)} vcpu {v.id}: counter {read_cntpct_el0():#x}; virtual timer control {control:x} "
            f"compare {compare:#x}; physical control {v.ptimer_control:x} compare {v.ptimer_compare:#x}"
        )
