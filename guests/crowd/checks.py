"""What is checked: PSCI by affinity; SGIs to one, to a whole target list, to all others, and to affinities that nobody has; routes by affinity."""

from freestanding import Struct, View, fn, truncate, u8, u32, u64, zeroed
from guests.crowd.affinities import LEVELS, NOT_AFFINITIES, highest, nobody_beside, sgi_to_list, targets_of, with_level
from guests.crowd.members import CROWD, members_have, members_up, patience_ends
from guests.crowd.report import expect
from guests.runtime.console import printk
from guests.runtime.cpu import counter
from guests.runtime.gic import GIC, gic_enable, gic_own_target, gic_route, gic_send, gic_send_others, gic_store_sgi
from guests.runtime.interrupts import INTERRUPTS, SGI_PING
from guests.runtime.machine import MACHINE, secondary_entry
from guests.runtime.psci import psci_affinity_info, psci_cpu_on
from xenarm.abi.psci import PsciError
from xenarm.arm.instructions import cpu_relax, mmio_read32, mmio_read64, mmio_write32
from xenarm.gic.registers import Gicd
from xenarm.gic.registers3 import Gicd3, IccControl, Typer3, read_icc_ctlr

__all__ = ["check_interrupts", "check_power"]

SUCCESS = 0
AFFINITY_ON = 0
AFFINITY_OFF = 1
ALREADY_ON = int(PsciError.ALREADY_ON) & 0xFFFF_FFFF_FFFF_FFFF
INVALID_PARAMETERS = int(PsciError.INVALID_PARAMETERS) & 0xFFFF_FFFF_FFFF_FFFF
WHOLE_LIST = 0xFFFF
MOST_AFFINITY = 0x100  # of any level
LIST_VALUES = 16  # of affinity 0 that a target list names
SPI = 40
SELECTORS = int(IccControl(RSS=True))
THIRD = int(IccControl(A3V=True))


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
def strangers_beside(affinity: u64) -> u64:
    """The same of values of each level that nobody has: the first other answer, if there is one."""
    for shift in LEVELS:
        answer = stranger(nobody_beside(affinity, shift))
        if answer != INVALID_PARAMETERS:
            return answer
    return INVALID_PARAMETERS


@fn
def check_strangers() -> None:
    """Beside the first CPU and the last; and bits that are no affinities."""
    found = strangers_beside(MACHINE.mpidr[0])
    if found == INVALID_PARAMETERS:
        found = strangers_beside(MACHINE.mpidr[MACHINE.cpus - 1])
    for affinity in NOT_AFFINITIES:
        answer = stranger(affinity)
        if answer != INVALID_PARAMETERS:
            found = answer
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
def send_lists() -> None:
    """To all of each target list at a time, this CPU left out."""
    for number in range(MACHINE.cpus):
        affinity = MACHINE.mpidr[number]
        if number == 0 or affinity >> 4 != MACHINE.mpidr[number - 1] >> 4:
            own = u32(1) << (truncate(u32, affinity) & 15) if number == 0 else u32(0)
            gic_store_sgi(sgi_to_list(affinity, targets_of(affinity) & ~own))


@fn
def send_to_nobody_of(affinity: u64) -> None:
    """To those of a target list that are nobody."""
    gic_store_sgi(sgi_to_list(affinity, WHOLE_LIST & ~targets_of(affinity)))


@fn
def send_to_nobody(affinity: u64) -> None:
    """To whom nobody is with some value of one level, each level and value in its turn: range selectors, affinities 1, 2 and 3."""
    for selector in range(u32(LIST_VALUES)):
        send_to_nobody_of(with_level(affinity, 0, selector * LIST_VALUES))
    for value in range(u32(MOST_AFFINITY)):
        for shift in LEVELS:
            if shift != 0:
                send_to_nobody_of(with_level(affinity, shift, value))


# ---- what the GIC says that it has ------------------------------------------------------------------------------------


@fn
def check_offered() -> None:
    """Where the CPUs' affinities take range selectors or affinity 3, the distributor and this CPU's interface say that they have them."""
    needed = (u64(SELECTORS) if highest(0) >= LIST_VALUES else u64(0)) | (u64(THIRD) if highest(32) != 0 else u64(0))
    typer = Typer3.from_raw(mmio_read32(GIC.gicd + Gicd.TYPER))
    distributor = (u64(SELECTORS) if typer.RSS else u64(0)) | (u64(THIRD) if typer.A3V else u64(0))
    expect(b"offered", 0, distributor & read_icc_ctlr() & needed, needed)
    printk(f"crowd affinities 0 to {highest(0):d}, 0 to {highest(8):d}, 0 to {highest(16):d}, 0 to {highest(32):d}")


# ---- shared interrupts ------------------------------------------------------------------------------------------------


@fn
def takes(number: u32) -> u32:
    """Which CPU takes an interrupt that is routed to this one: its number; MACHINE.cpus where nobody does, or the route reads otherwise."""
    before = INTERRUPTS.count[SPI]
    gic_route(SPI, MACHINE.mpidr[number])
    mmio_write32(GIC.gicd + u64(Gicd.ISPENDR + (SPI >> 5) * 4), u32(1) << (SPI & 31))
    limit = patience_ends()
    while INTERRUPTS.count[SPI] == before and counter() <= limit:
        cpu_relax()
    routed = mmio_read64(GIC.gicd + u64(Gicd3.IROUTER + SPI * 8)) == MACHINE.mpidr[number]
    return INTERRUPTS.shared_cpu if routed and INTERRUPTS.count[SPI] == before + 1 else MACHINE.cpus


@fn
def check_routes() -> None:
    """GICD_IROUTER<n> names this CPU, three others and the last."""
    gic_enable(SPI)
    for quarter in range(u32(5)):
        number = (MACHINE.cpus - 1) * quarter // 4
        found = takes(number)
        if found != number:
            expect(b"routes", number, u64(found), u64(number))
            return
    expect(b"routes", 0, 0, 0)


# ---- all --------------------------------------------------------------------------------------------------------------


@fn
def check_interrupts() -> None:
    """Each way, and after each that nobody has more than it should; late ones show in what follows."""
    check_offered()
    send_one_by_one()
    ROUNDS.members += 1
    check_counts(b"one-by-one")
    gic_send(gic_own_target(), SGI_PING)
    ROUNDS.own += 1
    check_counts(b"self")
    send_lists()
    ROUNDS.members += 1
    check_counts(b"lists")
    gic_send_others(SGI_PING)
    ROUNDS.members += 1
    check_counts(b"all-others")
    check_from_the_last()
    send_to_nobody(MACHINE.mpidr[0])
    send_to_nobody(MACHINE.mpidr[MACHINE.cpus - 1])
    send_one_by_one()
    ROUNDS.members += 1
    check_counts(b"nobody")
    check_routes()


@fn
def check_from_the_last() -> None:
    """The last CPU sends to all others, this one too; itself has one more from being asked to."""
    last = MACHINE.cpus - 1
    CROWD.sender.store_release(u64(last))
    gic_send(CROWD.member[last].target.load(), SGI_PING)
    ROUNDS.members += 1
    ROUNDS.own += 1
    check_counts(b"all-others-from-the-last")
