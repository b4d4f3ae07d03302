"""The prompt: a line with backspace, and a table of commands."""

from collections.abc import Callable

from freestanding import Array, Struct, View, array, fn, table, u8, usize, zeroed
from guests.hello.machine import show_chosen, show_cpu, show_devices, show_interrupts, show_memory, show_timer, show_tree
from guests.hello.processors import show_processors
from guests.hello.sharing import show_shared, write_shared
from guests.runtime.console import console_input, console_write, printk, say
from guests.runtime.psci import psci_system_off, psci_system_reset

__all__ = ["run_line"]

PROMPT = b"hello> "
LINE_SIZE = 128
BACKSPACE, DELETE, RETURN, LINE_FEED, KILL, SPACE = 0x08, 0x7F, 0x0D, 0x0A, 0x15, 0x20


class Line(Struct):
    """What is being typed."""

    length: usize
    text: Array[u8] = array(u8, LINE_SIZE)


class Command(Struct, frozen=True):
    name: View[u8]
    help: View[u8]
    run: Callable[[View[u8]], None]


LINE = zeroed(Line)


@fn
def tree(rest: View[u8]) -> None:
    show_chosen()
    show_tree()


@fn
def memory(rest: View[u8]) -> None:
    show_memory()


@fn
def ticks(rest: View[u8]) -> None:
    show_timer()


@fn
def irq(rest: View[u8]) -> None:
    show_devices()
    show_interrupts()


@fn
def echo(rest: View[u8]) -> None:
    printk(f"{rest}")


@fn
def cpus(rest: View[u8]) -> None:
    show_cpu()
    show_processors()


@fn
def shared(rest: View[u8]) -> None:
    if len(rest) > 0:
        write_shared(rest)
    show_shared()


@fn
def reboot(rest: View[u8]) -> None:
    printk(f"restarting")
    psci_system_reset()


@fn
def off(rest: View[u8]) -> None:
    printk(f"bye")
    psci_system_off()


COMMANDS = table(
    Command,
    [
        Command(name=b"tree", help=b"the device tree", run=tree),
        Command(name=b"memory", help=b"where memory is", run=memory),
        Command(name=b"ticks", help=b"the timer, and its next ticks", run=ticks),
        Command(name=b"irq", help=b"which interrupts came, and how often", run=irq),
        Command(name=b"cpus", help=b"start the other CPUs, and interrupt each", run=cpus),
        Command(name=b"echo", help=b"say the rest of the line", run=echo),
        Command(name=b"shared", help=b"memory shared with other domains; write the rest of the line there", run=shared),
        Command(name=b"reboot", help=b"restart the machine", run=reboot),
        Command(name=b"off", help=b"turn it off", run=off),
    ],
)


@fn
def show_help() -> None:
    for command in COMMANDS:
        say(f"  {command.name}")
        for _ in range(len(command.name), usize(8)):
            say(f" ")
        printk(f"{command.help}")


@fn
def erase() -> None:
    if LINE.length > 0:
        LINE.length -= 1
        console_write(b"\b \b")


@fn
def put(character: u8) -> None:
    """Take and show a printable character; what does not fit is not taken."""
    if character >= SPACE and character < DELETE and LINE.length < LINE_SIZE:
        LINE.text[LINE.length] = character
        console_write(LINE.text[LINE.length : LINE.length + 1])
        LINE.length += 1


@fn
def edit(character: u8) -> bool:
    """One typed character; True when the line is complete."""
    if character == RETURN or character == LINE_FEED:
        console_write(b"\r\n")
        return True
    if character == BACKSPACE or character == DELETE:
        erase()
    elif character == KILL:
        while LINE.length > 0:
            erase()
    else:
        put(character)
    return False


@fn
def execute(text: View[u8]) -> None:
    end = text.find(SPACE)
    name = text[:end]
    rest = text[min(end + 1, len(text)) :]
    for command in COMMANDS:
        if command.name.equals(name):
            command.run(rest)
            return
    if name.equals(b"help"):
        show_help()
    elif len(name) > 0:
        printk(f"'{name}' is no command; 'help' lists them")


@fn
def run_line() -> None:
    """Prompt, read a line, do what it says."""
    console_write(PROMPT)
    LINE.length = 0
    while not edit(console_input()):
        pass
    execute(LINE.text[: LINE.length])
