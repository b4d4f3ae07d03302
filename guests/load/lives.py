"""Short lives: random floods on every CPU, and then, from whichever comes first to it, SYSTEM_RESET; so many lives long."""

from collections.abc import Callable

from freestanding import Struct, fn, table, u32, u64
from guests.load.floods import flood_console, flood_distributor, flood_hypercalls, flood_psci
from guests.load.meter import PLAN, load_block
from guests.runtime.dice import dice_seed, draw_below
from guests.runtime.machine import MACHINE
from guests.runtime.psci import psci_system_reset

__all__ = ["begin_life", "run_lives"]

LONGEST = 24
"""Turns of a life."""


class Turn(Struct, frozen=True):
    run: Callable[[], None]


TURNS = table(Turn, [Turn(load_block), Turn(flood_console), Turn(flood_distributor), Turn(flood_psci), Turn(flood_hypercalls)])


@fn
def begin_life() -> None:
    """On the first CPU, before the others are started."""
    for cpu in range(MACHINE.cpus):
        dice_seed(cpu, (PLAN.seed + PLAN.life) * 16 + u64(cpu))


@fn
def run_lives(cpu: u32) -> None:
    """A CPU's part of a life: it returns only from the last."""
    for _ in range(draw_below(cpu, LONGEST)):
        TURNS[draw_below(cpu, u32(len(TURNS)))].run()
    if PLAN.life < PLAN.lives:
        psci_system_reset()
