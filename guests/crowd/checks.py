"""What is checked: PSCI by affinity; SGIs to one, to sixteen, to all others, and to affinities that nobody has."""

from freestanding import Struct, View, fn, table, u8, u32, u64, zeroed
from guests.crowd.members import CROWD, members_have, members_up
from guests.crowd.report import expect
from guests.runtime.gic import gic_own_target, gic_send, gic_send_others, gic_store_sgi
from guests.runtime.interrupts import SGI_PING
from guests.runtime.machine import MACHINE, secondary_entry
from guests.runtime.psci import psci_affinity_info, psci_cpu_on
from xenarm.abi.affinity import affinity_of
from xenarm.abi.psci import PsciError
from xenarm.gic.registers3 import IccSgi

__all__ = ["check_interrupts", "check_power"]

SUCCESS = 0
AFFINITY_ON = 0
AFFINITY_OFF = 1
ALREADY_ON = int(PsciError.ALREADY_ON) & 0xFFFF_FFFF_FFFF_FFFF
INVALID_PARAMETERS = int(PsciError.INVALID_PARAMETERS) & 0xFFFF_FFFF_FFFF_FFFF
SIXTEEN = 0xFFFF
MOST_AFFINITY = 0x100  # of any level
RANGES = 16  # of a range selector
OWN = 1  # the first CPU in its sixteen

# Affinities that no vCPU has: beyond sixteen in affinity 0, affinity 2, affinity 3, and bits that are none.
STRANGERS = table(u64, [0x10, 0x1_0000, 0x1_0000_0000, 0x100_0000, 0x8000_0000])


class Rounds(Struct):
    """How many interrupts each other CPU must have counted by now, and this one."""

    members: u32
    own: u32


ROUNDS = zeroed(Rounds)


# ---- PSCI -------------------------------------------------------------------------------------------------------------


@fn
def states(wanted: u64) -> tuple[u32, u64]:
    """AFFINITY_INFO of all but this one: the first CPU that has another state, and which; else that wanted."""
    for number in range(u32(1), MACHINE.cpus):
        found = psci_affinity_info(MACHINE.mpidr[number])
        if found != wanted:
            return number, found
    return 0, wanted


@fn
def calls(wanted: u64) -> tuple[u32, u64]:
    """CPU_ON of all but this one."""
    for number in range(u32(1), MACHINE.cpus):
        found = psci_cpu_on(MACHINE.mpidr[number], secondary_entry(), u64(number))
        if found != wanted:
            return number, found
    return 0, wanted


@fn
def stranger(affinity: u64) -> u64:
    """What PSCI says of an affinity that nobody has, both ways the same; 0 otherwise."""
    info = psci_affinity_info(affinity)
    return info if psci_cpu_on(affinity, secondary_entry(), 0) == info else u64(0)


@fn
def check_strangers() -> None:
    found = stranger(u64(affinity_of(MACHINE.cpus)))
    for affinity in STRANGERS:
        if stranger(affinity) != INVALID_PARAMETERS:
            found = affinity
    expect(b"strangers", 0, found, INVALID_PARAMETERS)


@fn
def check_power() -> bool:
    """Every CPU is off, can be started once, comes up, and is on then. False: not all came up."""
    cpu, found = states(AFFINITY_OFF)
    expect(b"off", cpu, found, AFFINITY_OFF)
    check_strangers()
    cpu, found = calls(SUCCESS)
    expect(b"cpu-on", cpu, found, SUCCESS)
    up = members_up()
    if not expect(b"up", up, u64(up), u64(MACHINE.cpus)):
        return False
    cpu, found = states(AFFINITY_ON)
    expect(b"on", cpu, found, AFFINITY_ON)
    cpu, found = calls(ALREADY_ON)
    return expect(b"already-on", cpu, found, ALREADY_ON)


# ---- SGIs -------------------------------------------------------------------------------------------------------------


@fn
def check_counts(name: View[u8]) -> None:
    """Every CPU has counted what it should, and no more."""
    cpu, found = members_have(ROUNDS.own, ROUNDS.members)
    expect(name, cpu, u64(found), u64(ROUNDS.own) if cpu == 0 else u64(ROUNDS.members))


@fn
def send_one_by_one() -> None:
    for number in range(u32(1), MACHINE.cpus):
        gic_send(CROWD.member[number].target.load(), SGI_PING)


@fn
def send_sixteens(range_selector: u32, affinity2: u32, affinity3: u32, first: u32, end: u32) -> None:
    """To sixteen at a time, this one left out."""
    for affinity1 in range(first, end):
        mask = u32(SIXTEEN - OWN) if affinity1 == 0 else u32(SIXTEEN)
        sgi = IccSgi(TARGETS=mask, AFF1=affinity1, INTID=SGI_PING, AFF2=affinity2, RS=range_selector, AFF3=affinity3, IRM=False)
        gic_store_sgi(sgi.raw)


@fn
def sixteens() -> u32:
    return (MACHINE.cpus + 15) // 16


@fn
def send_to_strangers() -> None:
    """To nobody: by range selectors, by affinities beyond the last."""
    for range_selector in range(u32(1), RANGES):
        send_sixteens(range_selector, 0, 0, 0, sixteens())
    send_sixteens(0, 1, 0, 0, sixteens())
    send_sixteens(0, 0, 1, 0, sixteens())
    send_sixteens(0, 0, 0, sixteens(), MOST_AFFINITY)


@fn
def check_interrupts() -> None:
    """Each way, and after each that nobody has more than it should; late ones show in what follows."""
    send_one_by_one()
    ROUNDS.members += 1
    check_counts(b"one-by-one")
    gic_send(gic_own_target(), SGI_PING)
    ROUNDS.own += 1
    check_counts(b"self")
    send_sixteens(0, 0, 0, 0, sixteens())
    ROUNDS.members += 1
    check_counts(b"sixteens")
    gic_send_others(SGI_PING)
    ROUNDS.members += 1
    check_counts(b"all-others")
    check_from_the_last()
    send_to_strangers()
    send_one_by_one()
    ROUNDS.members += 1
    check_counts(b"nobody")


@fn
def check_from_the_last() -> None:
    """The last CPU sends to all others, this one too; itself has one more from being asked to."""
    last = MACHINE.cpus - 1
    CROWD.sender.store_release(u64(last))
    gic_send(CROWD.member[last].target.load(), SGI_PING)
    ROUNDS.members += 1
    ROUNDS.own += 1
    check_counts(b"all-others-from-the-last")
