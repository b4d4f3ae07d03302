"""The notifying guest: two domains of it send each other events by a static channel, and say how long a round trip takes.

Bootargs: `mode=ping`, whose node comes first, or `mode=pong`; `port=N rounds=N`; `dies=N`: pong resets itself instead of its N-th answer, once.
`mode=conform` instead makes a list of hypercalls and prints what each gives, which is to be the same on every hypervisor.
"""

import guests.runtime.head
import guests.runtime.interrupts  # noqa: F401
from freestanding import View, export, fn, u8, u32, u64
from guests.notify.channels import channels_init, port_consume, port_send, upcall_wait
from guests.notify.conform import conform
from guests.runtime.arguments import argument_is, argument_number, bootargs
from guests.runtime.console import console_init, printk
from guests.runtime.cpu import counter
from guests.runtime.gic import gic_init
from guests.runtime.link import LINKER_SCRIPT
from guests.runtime.lives import life_begin
from guests.runtime.machine import FDT, machine_init
from guests.runtime.psci import psci_init, psci_system_off, psci_system_reset
from xenarm.arm.hw import read_cntfrq_el0
from xenarm.core.result import Result
from xenarm.devicetree.reader import FdtError

__all__ = ["LINKER_SCRIPT", "guest_main", "guest_secondary"]

NS = 1_000_000_000


@export("guest_main")
def guest_main(tree: u64, image: u64) -> None:
    """Entry of the first CPU. Does not return."""
    if machine_init(tree, image) == FdtError.NONE:
        psci_init(FDT)
        console_init(FDT)
        if gic_init(FDT) == Result.OK:
            play(bootargs(FDT))
    psci_system_off()


@fn
def play(text: View[u8]) -> None:
    if argument_is(text, b"mode=", b"conform"):
        conform()
        return
    port = u32(argument_number(text, b"port=", 1))
    rounds = argument_number(text, b"rounds=", 100)
    error = channels_init()
    if error != 0:
        printk(f"notify: no event channels: {error:#x}")
    elif argument_is(text, b"mode=", b"ping"):
        ping(port, rounds)
    else:
        pong(port, rounds, argument_number(text, b"dies=", 0))


@fn
def wait_for(port: u32) -> None:
    """Until the port is pending. An upcall may come for nothing: the first does."""
    while not port_consume(port):
        upcall_wait()


@fn
def ping(port: u32, rounds: u64) -> None:
    """The other end says first that it is there; one more event tells it to end, so that its end takes no time of the last round trip."""
    wait_for(port)
    printk(f"notify: ping begins")
    start = counter()
    for _ in range(rounds):
        port_send(port)
        wait_for(port)
    took = counter() - start
    printk(f"notify: {rounds:d} round trips, {took * NS // read_cntfrq_el0() // rounds:d} ns each")
    port_send(port)


@fn
def pong(port: u32, rounds: u64, dies: u64) -> None:
    """Answer. It begins by saying that it is there: in a second life that answers what was lost with the first."""
    life = life_begin() + 1
    port_consume(port)
    port_send(port)
    answers = rounds if life == 1 else rounds - dies
    for n in range(answers):
        wait_for(port)
        if life == 1 and n + 1 == dies:
            printk(f"notify: pong resets itself")
            psci_system_reset()
        port_send(port)
    wait_for(port)
    printk(f"notify: pong ends in life {life:d}")


@export("guest_secondary")
def guest_secondary(number: u64) -> None:
    """There are no others."""
