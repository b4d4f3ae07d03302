"""What each CPU has of its guest: registers and timers, said by that CPU itself, when a kick finds that it was asked for.

What vCPUs have left in memory that no CPU has, anybody can say.
"""

from freestanding import Atomic, Struct, atomic, fn, u32, u64, zeroed
from xenarm.arm.hw import read_cntpct_el0, read_cntv_ctl_el0, read_cntv_cval_el0
from xenarm.arm.variant import saved_vtimer, say_guest_registers, say_saved_registers
from xenarm.core.domain import CpuBits, Domain, Power, Vcpu, domain_name
from xenarm.core.log import printk

__all__ = ["REGISTERS", "TIMERS", "dump_ask", "dump_asked", "dump_saved", "dump_wanted"]

REGISTERS = 1
TIMERS = 2


class Requests(Struct):
    """CPUs that are to say something, and those of them that are to say what."""

    any: Atomic[CpuBits] = atomic(CpuBits)
    registers: Atomic[CpuBits] = atomic(CpuBits)
    timers: Atomic[CpuBits] = atomic(CpuBits)


REQUESTS = zeroed(Requests)


@fn
def dump_ask(cpu: u32, what: u32) -> None:
    """REGISTERS or TIMERS of the vCPU that a CPU runs. The caller kicks the CPU."""
    bit = CpuBits(1) << cpu
    if what == REGISTERS:
        _ = REQUESTS.registers.fetch_or(bit)
    else:
        _ = REQUESTS.timers.fetch_or(bit)
    _ = REQUESTS.any.fetch_or(bit)


@fn(inline=True)
def dump_wanted() -> bool:
    """Whether `dump_asked` may have something to do."""
    return REQUESTS.any.load() != 0


@fn
def dump_asked(v: Vcpu) -> None:
    """On each kick: this CPU's guest, whose caller-saved registers are in the frame."""
    mine = CpuBits(1) << v.cpu
    asked = REQUESTS.any.fetch_and(~mine) & mine
    registers = REQUESTS.registers.fetch_and(~mine) & mine
    timers = REQUESTS.timers.fetch_and(~mine) & mine
    d = v.domain
    if asked == 0 or d is None:
        return
    if v.power.load() != u32(Power.ON):
        printk(f"cpu {v.cpu}: domain {domain_name(d)} vcpu {v.id} is off")
        return
    if registers != 0:
        say_guest_registers(d, v)
    if timers != 0:
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
    if what == REGISTERS:
        say_saved_registers(d, v)
    else:
        control, compare = saved_vtimer(v)
        printk(
            f"no cpu: domain {domain_name(d)} vcpu {v.id}: counter {read_cntpct_el0():#x}; virtual timer control {control:x} "
            f"compare {compare:#x}; physical control {v.ptimer_control:x} compare {v.ptimer_compare:#x}"
        )
