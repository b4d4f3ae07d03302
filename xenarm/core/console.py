"""The one serial line, shared: input goes to the domain in focus, output is kept line by line.

A single domain has the line to itself. With several, each line begins with the domain's name, and a line that another
one interrupts is shown again from its beginning. CTRL-a three times moves the input to the next domain, as in Xen.
Lock order: `CONSOLE.lock`, then a `Vpl011.lock` or the terminal's; under a `Vpl011.lock` only the distributor's.
"""

from collections.abc import Callable

from freestanding import Array, Struct, View, array, fn, saturating_sub, truncate, u8, u32, u64, zeroed
from xenarm.abi.layout import GUEST_PL011_SIZE
from xenarm.arch import arch_counter, arch_counter_hz, cpu_index, mmu_map_small_device
from xenarm.arm.timer import alarm_by
from xenarm.config import CONFIG
from xenarm.core.access import Access, Outcome
from xenarm.core.addresses import HostPhys
from xenarm.core.domain import DOMAINS, Domain, DomainState, Vcpu, domain_name
from xenarm.core.log import NOBODY, TERMINAL, log_replay, log_warning, printk
from xenarm.core.records import LINE_SIZE, WAITING_SIZE, Output
from xenarm.core.result import Result
from xenarm.core.spinlock import Spinlock
from xenarm.core.vpl011 import QUEUE_SIZE, Effect, Vpl011, vpl011_access, vpl011_queue, vpl011_room, vpl011_room_to_send
from xenarm.devicetree.reader import Fdt
from xenarm.drivers.serial import (
    RING,
    RING_SIZE,
    SERIAL,
    SERIAL_SIZE,
    serial_acknowledge,
    serial_drain,
    serial_find,
    serial_get,
    serial_put,
    serial_receive,
    serial_rescue,
    serial_setup,
    serial_write,
)
from xenarm.gic.vgic import vgic_set_spi_level

__all__ = [
    "HYPERVISOR",
    "console_domain_ended",
    "console_domain_restarts",
    "console_handle_keys",
    "console_init_early",
    "console_interrupt",
    "console_irq",
    "console_place",
    "console_poll",
    "console_polled",
    "console_waits",
    "console_rescue",
    "console_start",
    "vpl011_mmio",
]

SWITCH = 0x01  # CTRL-a
SWITCH_COUNT = 3
HYPERVISOR = 0xFFFF_FFFE  # has the input
MOST_KEYS = 16  # for the hypervisor, taken at once; what is typed ahead of them waits in the port
MOST_INPUT = 4096  # characters handled in one interrupt: a flood of input must not keep the CPU
SHARED_OUT = RING_SIZE // 4  # of the port's ring: what all domains together may bring in until so much was sent
POLLS_SENDING, POLLS_IDLE = 1000, 100  # a second, of a port without an interrupt
PATIENCE_MS = 50  # how long a domain's silent unfinished line keeps the others waiting


class Console(Struct):
    """Where input goes. `waiting` is a hint, read without a lock."""

    lock: Spinlock
    focus: u32  # a domain's id, HYPERVISOR, or NOBODY before the domains are built
    key_count: u32  # keys for the hypervisor, handled once no lock is held
    keys: Array[u8] = array(u8, MOST_KEYS)
    handler: Callable[[u8], None] | None
    switches: u32  # CTRL-a in a row
    held: bool  # the port's receive interrupt is off until the focused domain has read
    waiting: bool  # some domain's text waits
    last: u64  # counter value of the newest character shown; guarded by the terminal's lock
    dealt: u64  # how far the port's ring was sent when allowances were dealt out; guarded by the terminal's lock
    live: u32  # domains that share the ring


CONSOLE = zeroed(Console)
CONSOLE.focus = u32(NOBODY)


# ---- the serial port -------------------------------------------------------------------------------------------------


@fn
def console_init_early(fdt: Fdt) -> None:
    """Find the port and say what was logged so far. Without one the log stays in memory."""
    found = serial_find(fdt)
    open_port()
    match found:
        case Result.NOT_FOUND:
            log_warning("/chosen: stdout-path is missing or names no node; let it name the console's port (the first that has a driver is used)")
        case Result.DENIED:
            log_warning("/chosen: stdout-path names a port without a driver; the log stays in memory")
        case _:
            if found != Result.OK:
                log_warning("/chosen: stdout-path names a port whose reg, reg-shift or reg-io-width makes no sense; the log stays in memory")


@fn
def console_rescue() -> None:
    """There is no sound device tree: use the board's own port, to say so."""
    serial_rescue()
    open_port()


@fn
def open_port() -> None:
    if SERIAL.base != 0:
        SERIAL.base = mmu_map_small_device(HostPhys(SERIAL.machine), SERIAL_SIZE)
        serial_setup()
        log_replay()


@fn
def console_interrupt() -> u32:
    """INTID of the port's interrupt; 0 when it has none."""
    return SERIAL.intid


@fn
def console_place() -> tuple[u64, u64, u32]:
    """Where the machine's port lies: address, size, INTID."""
    return SERIAL.machine, SERIAL.size, SERIAL.intid


@fn
def console_start() -> None:
    """The domains are built: decide whether lines carry names, and let input in."""
    live = u32(0)
    for i in range(CONFIG.MAX_DOMAINS):
        live += 1 if has_console(DOMAINS[i]) else 0
    TERMINAL.shared = live > 1
    CONSOLE.live = live
    for i in range(CONFIG.MAX_DOMAINS):
        if has_console(DOMAINS[i]):
            DOMAINS[i].output.allowance = u64(SHARED_OUT // max(live, 1))
    CONSOLE.focus = next_focus(NOBODY)
    if CONFIG.CONSOLE_MUX and live > 1:
        printk(f"input goes to {domain_name(DOMAINS[CONSOLE.focus])}; CTRL-a three times moves it to the next domain")
    serial_receive(True)


# ---- output ----------------------------------------------------------------------------------------------------------


@fn
def show(d: Domain, out: Output, character: u8) -> None:
    """Put a character on the terminal, which is free or shows a line of this domain."""
    if TERMINAL.owner == NOBODY:
        serial_write(b"(")
        serial_write(domain_name(d))
        serial_write(b") ")
        if out.length < LINE_SIZE:
            serial_write(out.line[: out.length])
        TERMINAL.owner = d.id
    if character == 0x0A:
        serial_write(b"\n")
        TERMINAL.owner = NOBODY
        out.length = 0
        return
    serial_put(character)
    if out.length < LINE_SIZE:
        out.line[out.length] = character
        out.length += 1


@fn
def show_waiting(d: Domain, out: Output) -> None:
    for i in range(out.waiting):
        show(d, out, out.text[i])
    out.waiting = 0


@fn
def show_all_waiting() -> None:
    """The terminal has become free: whoever waits may speak; one with an unfinished line keeps it."""
    waits = False
    for i in range(CONFIG.MAX_DOMAINS):
        out = DOMAINS[i].output
        if out.waiting > 0 and TERMINAL.owner == NOBODY:
            show_waiting(DOMAINS[i], out)
        waits = waits or out.waiting > 0
    CONSOLE.waiting = waits


@fn
def owner_is_silent() -> bool:
    return saturating_sub(arch_counter(), CONSOLE.last) > arch_counter_hz() // 1000 * PATIENCE_MS


@fn
def interrupt_owner() -> None:
    """End the line on the terminal. Its domain shows it again from the start when it goes on."""
    serial_write(b"\n")
    TERMINAL.owner = NOBODY


@fn
def put_shared(d: Domain, out: Output, character: u8) -> None:
    """One of several domains prints. On somebody else's line it waits, unless that one is silent or room runs out."""
    if TERMINAL.owner != NOBODY and TERMINAL.owner != d.id:
        if not owner_is_silent() and out.waiting < WAITING_SIZE:
            out.text[out.waiting] = character
            out.waiting += 1
            CONSOLE.waiting = True
            return
        interrupt_owner()
    show_waiting(d, out)
    if TERMINAL.owner == NOBODY or TERMINAL.owner == d.id:
        show(d, out, character)
    CONSOLE.last = arch_counter()
    if TERMINAL.owner == NOBODY and CONSOLE.waiting:
        show_all_waiting()


@fn
def put_returns(d: Domain, out: Output, character: u8) -> None:
    """Carriage returns: part of a line's end, or the start of a line that is written anew, name and all."""
    if character == 0x0D:
        out.returned = True
        return
    if out.returned and character != 0x0A:
        put_shared(d, out, 0x0A)
    out.returned = False
    put_shared(d, out, character)


@fn
def put_alone(d: Domain, character: u8) -> None:
    """The only domain: every character as it comes."""
    serial_put(character)
    TERMINAL.owner = NOBODY if character == 0x0A else d.id


@fn
def console_put(d: Domain, character: u8) -> None:
    """A domain prints a character. What it prints though its port says that it is full is lost, as on hardware."""
    out = d.output
    with TERMINAL.lock:
        if d.serial.full:
            out.lost += 1
            return
        before = RING.head
        if CONFIG.CONSOLE_MUX and TERMINAL.shared:
            put_returns(d, out, character)
        else:
            put_alone(d, character)
        if RING.head != before:
            out.allowance -= min(out.allowance, RING.head - before)
            d.serial.full = out.allowance == 0


@fn
def deal_allowances() -> u32:
    """Each domain may have its share of a quarter of the ring, again when so much was sent or all is: the domains whose ports were full.

    Together they never bring in more than goes out, and one that floods the line leaves the others theirs. The terminal's lock is held.
    """
    freed = u32(0)
    if RING.tail == RING.head or RING.tail - CONSOLE.dealt >= SHARED_OUT:
        CONSOLE.dealt = RING.tail
        for i in range(CONFIG.MAX_DOMAINS):
            if DOMAINS[i].serial.present:
                DOMAINS[i].output.allowance = u64(SHARED_OUT // max(CONSOLE.live, 1))
            if DOMAINS[i].serial.full:
                DOMAINS[i].serial.full = False
                freed |= u32(1) << (i & 31)
    return freed


@fn
def send_waiting() -> None:
    """The port's transmitter may have room."""
    freed = u32(0)
    with TERMINAL.lock:
        serial_acknowledge()
        if RING.head != RING.tail:
            serial_drain()
            freed = deal_allowances()
    for i in range(CONFIG.MAX_DOMAINS):
        if CONFIG.VPL011 and (freed >> (i & 31)) & 1 != 0 and has_console(DOMAINS[i]):
            vpl011_room_to_send(DOMAINS[i].serial)
            update_interrupt(DOMAINS[i], DOMAINS[i].serial)


@fn(inline=True)
def console_waits() -> bool:
    """Whether `console_poll` would do anything."""
    return CONFIG.CONSOLE_MUX and CONSOLE.waiting


@fn
def console_poll() -> bool:
    """Now and then, from any CPU: show text that waits behind the line of a domain that has fallen silent.

    True if some still waits: an idle CPU asks again soon, so that nothing waits much longer than PATIENCE_MS.
    """
    if CONFIG.CONSOLE_MUX and CONSOLE.waiting:
        with TERMINAL.lock:
            if TERMINAL.owner != NOBODY and owner_is_silent():
                interrupt_owner()
            if TERMINAL.owner == NOBODY:
                show_all_waiting()
    return CONSOLE.waiting


# ---- input -----------------------------------------------------------------------------------------------------------


@fn
def has_console(d: Domain) -> bool:
    """One that ends may begin anew, and then keeps the input."""
    state = d.state.load()
    return state >= u32(DomainState.RUNNING) and state < u32(DomainState.DEAD) and d.serial.present


@fn
def next_focus(focus: u32) -> u32:
    """The next living domain with a serial port after `focus`; after the last, the hypervisor."""
    for candidate in range(focus + 1 if is_domain(focus) else u32(0), u32(CONFIG.MAX_DOMAINS)):
        if has_console(DOMAINS[candidate]):
            return candidate
    return HYPERVISOR


@fn
def is_domain(focus: u32) -> bool:
    return focus < CONFIG.MAX_DOMAINS


KEYS_HELP: View[u8] = b": h lists its keys" if CONFIG.KEYS else b""


@fn
def focus_next() -> None:
    """Move the input on. The caller holds the console's lock."""
    CONSOLE.focus = next_focus(CONSOLE.focus)
    if is_domain(CONSOLE.focus):
        printk(f"input goes to {domain_name(DOMAINS[CONSOLE.focus])}")
    elif CONFIG.CONSOLE_MUX:
        printk(f"input goes to the hypervisor{KEYS_HELP}; CTRL-a three times moves it on")


@fn
def focus_other() -> None:
    """The focused domain has ended: the input goes to another one, and only without any to the hypervisor, in silence."""
    if next_focus(CONSOLE.focus) == HYPERVISOR:
        CONSOLE.focus = HYPERVISOR
        if next_focus(HYPERVISOR) == HYPERVISOR:
            return
    focus_next()


@fn
def update_interrupt(d: Domain, u: Vpl011) -> None:
    """Bring the virtual interrupt in line with the device. Whoever changes the device calls it last, so no change is lost."""
    if u.line == u.asserted:
        return
    with u.lock:
        u.asserted = u.line
        vgic_set_spi_level(d, d.layout.uart_intid, u.asserted)


@fn
def deliver(character: u8) -> None:
    """To the focused domain. What its queue does not take is lost: only with several domains, see `hold`."""
    if CONFIG.CONSOLE_MUX and CONSOLE.focus == HYPERVISOR and CONSOLE.key_count < MOST_KEYS:
        CONSOLE.keys[CONSOLE.key_count] = character
        CONSOLE.key_count += 1
    if CONFIG.VPL011 and is_domain(CONSOLE.focus):
        d = DOMAINS[CONSOLE.focus]
        if not vpl011_queue(d.serial, character):
            return
        update_interrupt(d, d.serial)


@fn
def receive(character: u8) -> None:
    """A typed character. CTRL-a is held back until it is clear that it does not come three times."""
    if CONFIG.CONSOLE_MUX and character == SWITCH:
        CONSOLE.switches += 1
        if CONSOLE.switches == SWITCH_COUNT:
            CONSOLE.switches = 0
            focus_next()
        return
    if CONFIG.CONSOLE_MUX:
        for _ in range(CONSOLE.switches):
            deliver(SWITCH)
        CONSOLE.switches = 0
    deliver(character)


@fn
def hold() -> bool:
    """Whether input must wait in the port. With several domains it never does: CTRL-a must get through to leave a
    domain that does not read."""
    if CONSOLE.focus == HYPERVISOR:
        return False
    if TERMINAL.shared or CONSOLE.focus == NOBODY:
        return False
    return CONFIG.VPL011 and vpl011_room(DOMAINS[CONSOLE.focus].serial) < SWITCH_COUNT


@fn(inline=True)
def keys_wait() -> bool:
    """Whether the hypervisor has keys to see to, before a further character may come in: it can bring the held back CTRL-a with it."""
    return CONFIG.KEYS and CONSOLE.key_count > MOST_KEYS - SWITCH_COUNT


@fn
def drain() -> None:
    """Take what the port has received, up to as many keys for the hypervisor as there is room for; the caller holds the console's lock."""
    if is_domain(CONSOLE.focus) and not has_console(DOMAINS[CONSOLE.focus]):
        CONSOLE.focus = next_focus(CONSOLE.focus)
    for _ in range(MOST_INPUT):
        if hold():
            CONSOLE.held = True
            serial_receive(False)
            return
        if keys_wait():
            return
        received, character = serial_get()
        if not received:
            return
        receive(character)


@fn
def console_irq() -> None:
    """The port's interrupt."""
    send_waiting()
    if CONFIG.KEYS:
        for _ in range(MOST_INPUT // MOST_KEYS):
            if not take_keys():
                break
    else:
        with CONSOLE.lock:
            drain()
    console_poll()


@fn
def console_polled() -> None:
    """A port without an interrupt, looked at by the first CPU when EL2's timer has expired: soon again while there is something to send. Without a lock."""
    if SERIAL.base != 0 and SERIAL.intid == 0 and cpu_index() == 0:
        console_irq()
        alarm_by(u32(0), arch_counter() + arch_counter_hz() // (POLLS_SENDING if RING.head != RING.tail else u64(POLLS_IDLE)))


@fn
def take_keys() -> bool:
    """Input, and what the hypervisor's keys do, which needs that no lock is held; whether there were any."""
    keys = array(u8, MOST_KEYS)
    with CONSOLE.lock:
        drain()
        count = CONSOLE.key_count
        keys.copy_from(CONSOLE.keys)
        CONSOLE.key_count = 0
    handler = CONSOLE.handler
    if handler is not None:
        for i in range(count):
            handler(keys[i])
    return count != 0


@fn
def console_handle_keys(handler: Callable[[u8], None]) -> None:
    """Who gets what is typed to the hypervisor; called without a lock, on the CPU that has the port's interrupt."""
    CONSOLE.handler = handler


@fn
def end_line(d: Domain) -> None:
    """What a domain printed is shown to the end."""
    with TERMINAL.lock:
        out = d.output
        if CONFIG.CONSOLE_MUX and out.waiting > 0:
            if TERMINAL.owner != NOBODY and TERMINAL.owner != d.id:
                interrupt_owner()
            show_waiting(d, out)
        if TERMINAL.owner == d.id:
            interrupt_owner()
        out.length = 0
        out.returned = False


@fn
def console_domain_restarts(d: Domain) -> None:
    """Its serial port is as new: there is room for input again."""
    end_line(d)
    with CONSOLE.lock:
        if CONSOLE.focus == d.id:
            CONSOLE.held = False
            serial_receive(True)


@fn
def console_domain_ended(d: Domain) -> None:
    """A domain is DEAD: input moves on."""
    end_line(d)
    with CONSOLE.lock:
        if CONSOLE.focus == d.id:
            focus_other()
            CONSOLE.held = False
            serial_receive(True)


@fn
def resume() -> None:
    """The focused domain has read: input that waits in the port may come in, once there is a good part of the queue free."""
    with CONSOLE.lock:
        if CONSOLE.held and is_domain(CONSOLE.focus) and vpl011_room(DOMAINS[CONSOLE.focus].serial) >= QUEUE_SIZE // 2:
            CONSOLE.held = False
            serial_receive(True)
            drain()


@fn
def vpl011_mmio(d: Domain, v: Vcpu, a: Access) -> tuple[Outcome, u64]:
    """The domain's serial port."""
    u = d.serial
    offset = truncate(u32, u64(a.address)) & (GUEST_PL011_SIZE - 1)
    outcome, value, effect = vpl011_access(u, offset, a.width, a.write, truncate(u32, a.value))
    match effect:
        case Effect.SENT:
            console_put(d, u8(a.value & 0xFF))
        case Effect.TOOK:
            if CONSOLE.held:
                resume()
        case Effect.NONE:
            pass
    update_interrupt(d, u)
    return outcome, u64(value)
