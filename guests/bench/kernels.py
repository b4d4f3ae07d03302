"""The measured instructions, in assembly so that nothing but them is measured.

Loops run an instruction `count` times and return steps of the counter. Samples program an interrupt, wait, and return the steps
until its handler; the handler's first instruction branches into a slide of NOPs in front of the counter's reading, so that the counter's step
(16 instructions under QEMU) divides out: the mean over SLIDE delays is exact.
"""

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


@external("loop_empty")
def loop_empty(count: usize, address: usize, value: usize) -> u64:
    """What a loop with a function number loaded costs by itself."""
    raise NotImplementedError("an instruction needs a CPU")


@external("loop_hvc")
def loop_hvc(count: usize, address: usize, value: usize) -> u64:
    """PSCI_VERSION by HVC."""
    raise NotImplementedError("an instruction needs a CPU")


@external("loop_nothing")
def loop_nothing(count: usize, address: usize, value: usize) -> u64:
    """What a loop costs by itself."""
    raise NotImplementedError("an instruction needs a CPU")


@external("loop_load")
def loop_load(count: usize, address: usize, value: usize) -> u64:
    """32-bit loads from a device."""
    raise NotImplementedError("an instruction needs a CPU")


@external("loop_store")
def loop_store(count: usize, address: usize, value: usize) -> u64:
    """32-bit stores to a device."""
    raise NotImplementedError("an instruction needs a CPU")


@external("sample_sgi")
def sample_sgi(sgir: usize, value: usize, gicc: usize, delay: usize) -> u64:
    """One software-generated interrupt to this CPU."""
    raise NotImplementedError("an instruction needs a CPU")


@external("sample_sgi_v3")
def sample_sgi_v3(sgir: usize, value: usize, gicc: usize, delay: usize) -> u64:
    """The same with a GICv3."""
    raise NotImplementedError("an instruction needs a CPU")


@external("sample_timer")
def sample_timer(steps: usize, sleep: usize, gicc: usize, delay: usize) -> u64:
    """One expiry of the virtual timer `steps` from now; the result counts from then."""
    raise NotImplementedError("an instruction needs a CPU")


@external("sample_timer_v3")
def sample_timer_v3(steps: usize, sleep: usize, gicc: usize, delay: usize) -> u64:
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


@external("loop_no_yield")
def loop_no_yield(count: usize, address: usize, value: usize) -> u64:
    """What a loop that yields costs by itself."""
    raise NotImplementedError("an instruction needs a CPU")


@external("loop_yield")
def loop_yield(count: usize, address: usize, value: usize) -> u64:
    """Xen's SCHEDOP_yield."""
    raise NotImplementedError("an instruction needs a CPU")


@external("loop_ping")
def loop_ping(count: usize, sgir: usize, value: usize, gicc: usize) -> u64:
    """An interrupt to the other CPU, and asleep until its answer."""
    raise NotImplementedError("an instruction needs a CPU")


@external("loop_ping_v3")
def loop_ping_v3(count: usize, sgir: usize, value: usize, gicc: usize) -> u64:
    """The same with a GICv3."""
    raise NotImplementedError("an instruction needs a CPU")


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


@external("sample_remote")
def sample_remote(sgir: usize, value: usize, counter: usize, delay: usize) -> u64:
    """One software-generated interrupt to a CPU that runs `answer`; what the counter steps until its handler runs."""
    raise NotImplementedError("an instruction needs a CPU")


@external("sample_remote_v3")
def sample_remote_v3(sgir: usize, value: usize, counter: usize, delay: usize) -> u64:
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
