"""The measured instructions, in assembly so that nothing but them is measured.

Loops run an instruction `count` times and return steps of the counter. Samples program an interrupt, wait, and return the steps
until its handler; the handler's first instruction branches into a slide of NOPs in front of the counter's reading, so that the counter's step
(16 instructions under QEMU) divides out: the mean over SLIDE delays is exact.
"""

from collections.abc import Callable

from freestanding import external, u64, usize
from xenarm.config import CONFIG

if CONFIG.ARM64:
    from guests.bench.kernels64 import SLIDE
else:
    from guests.bench.kernels32 import SLIDE

__all__ = [
    "HANDLER_OVERHEAD",
    "REMOTE_OVERHEAD",
    "SGI_OVERHEAD",
    "SLIDE",
    "answer",
    "answer_v3",
    "loop_empty",
    "loop_hvc",
    "loop_load",
    "loop_no_yield",
    "loop_nothing",
    "loop_ping",
    "loop_ping_v3",
    "loop_pong",
    "loop_pong_v3",
    "loop_store",
    "loop_yield",
    "pause",
    "sample_remote",
    "sample_remote_v3",
    "sample_sgi",
    "sample_sgi_v3",
    "sample_timer",
    "sample_timer_v3",
    "start_other",
    "use_bench_vectors",
    "use_bench_vectors_v3",
]

HANDLER_OVERHEAD = 1  # the branch into the slide
SGI_OVERHEAD = 2  # that, and reading the counter before
REMOTE_OVERHEAD = 2  # reading the counter before, and the YIELD


Loop = Callable[[usize, usize, usize], u64]
"""Count, an address, a value: what so many instructions took."""
Sample = Callable[[usize, usize, usize, usize], u64]


def loop(symbol: str) -> Loop:
    @external(symbol)
    def run(count: usize, address: usize, value: usize) -> u64:
        raise NotImplementedError("an instruction needs a CPU")

    found: Loop = run
    return found


def sample(symbol: str) -> Sample:
    @external(symbol)
    def run(a: usize, b: usize, c: usize, d: usize) -> u64:
        raise NotImplementedError("an instruction needs a CPU")

    found: Sample = run
    return found


def both(symbol: str) -> tuple[Sample, Sample]:
    """With a GICv2 and with a GICv3."""
    return sample(symbol), sample(f"{symbol}_v3")


loop_empty = loop("loop_empty")
"""What a loop with a function number loaded costs by itself."""
loop_hvc = loop("loop_hvc")
"""PSCI_VERSION by HVC."""
loop_nothing = loop("loop_nothing")
"""What a loop costs by itself."""
loop_load = loop("loop_load")
"""32-bit loads from a device."""
loop_store = loop("loop_store")
"""32-bit stores to a device."""
loop_no_yield = loop("loop_no_yield")
"""What a loop that yields costs by itself."""
loop_yield = loop("loop_yield")
"""Xen's SCHEDOP_yield."""
sample_sgi, sample_sgi_v3 = both("sample_sgi")
"""SGIR's address, what is stored there, GICC, a delay: one software-generated interrupt to this CPU."""
sample_timer, sample_timer_v3 = both("sample_timer")
"""Steps, whether to sleep, GICC, a delay: one expiry of the virtual timer so many steps from now; the result counts from then."""
sample_remote, sample_remote_v3 = both("sample_remote")
"""As `sample_sgi` to a CPU that runs `answer`, with the counter's place in GICC's: what the counter steps until its handler runs."""
loop_ping, loop_ping_v3 = both("loop_ping")
"""Count, SGIR's address, what is stored there, GICC: an interrupt to the other CPU, and asleep until its answer."""


@external("loop_pong")
def loop_pong(count: usize, sgir: usize, value: usize, gicc: usize) -> None:
    """The other side of `loop_ping`."""
    raise NotImplementedError("an instruction needs a CPU")


@external("loop_pong_v3")
def loop_pong_v3(count: usize, sgir: usize, value: usize, gicc: usize) -> None:
    """The same with a GICv3."""
    raise NotImplementedError("an instruction needs a CPU")


@external("answer")
def answer(gicc: usize, counter: usize, sleep: usize) -> None:
    """Answer every interrupt from now on with the counter at the handler's first instruction; spin or sleep in between. Does not return."""
    raise NotImplementedError("an instruction needs a CPU")


@external("answer_v3")
def answer_v3(gicc: usize, counter: usize, sleep: usize) -> None:
    """The same with a GICv3."""
    raise NotImplementedError("an instruction needs a CPU")


@external("use_bench_vectors")
def use_bench_vectors() -> None:
    """From now on interrupts go to the samples' handler."""
    raise NotImplementedError("an instruction needs a CPU")


@external("use_bench_vectors_v3")
def use_bench_vectors_v3() -> None:
    """The same with a GICv3."""
    raise NotImplementedError("an instruction needs a CPU")


@external("pause")
def pause(turns: usize) -> None:
    """Let the other CPU run so many times."""
    raise NotImplementedError("an instruction needs a CPU")


@external("start_other")
def start_other(mpidr: usize, entry: usize, context: usize) -> u64:
    """CPU_ON and a yield; the counter before. The other CPU's first instruction puts the counter into TPIDR_EL0."""
    raise NotImplementedError("an instruction needs a CPU")
