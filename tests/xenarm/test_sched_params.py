"""Scheduling in the device tree and in the boot arguments: what is read, and the one line about what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freestanding import View, zeroed
from tests.xenarm.trees import compile_source
from xenarm.arm64.registers import MODEL
from xenarm.core.bootargs import bootarg
from xenarm.core.log import LOG, LOG_RING, NOBODY, RING_SIZE, TERMINAL
from xenarm.core.result import Result
from xenarm.core.sched import options, params
from xenarm.core.sched.credit2 import CREDIT2, Grouping
from xenarm.core.sched.params import SchedDomainParams, sched_domain_params, sched_refuse, sched_vcpu_params
from xenarm.core.sched.rr import RR
from xenarm.core.sched.scheduler import SCHED, SCHEDULERS, sched_name, sched_select
from xenarm.core.sched.state import ALL_CPUS, NO_CPU, SchedParams
from xenarm.devicetree import reader, values
from xenarm.devicetree.reader import Fdt

TREE = """
/dts-v1/;
/ {
    chosen {
        %(chosen)s
        guest@1 { compatible = "xen,domain"; %(domain)s
            %(nodes)s
        };
    };
};
"""


def view(data: bytes) -> View[Any]:
    return View(data, 0, len(data))


def opened(domain: str = "", nodes: str = "", chosen: str = "") -> tuple[Fdt, Any]:
    blob = compile_source(TREE % {"domain": domain, "nodes": nodes, "chosen": chosen})
    tree = zeroed(Fdt)
    assert reader.fdt_open(tree, view(blob)) == reader.FdtError.NONE
    return tree, values.fdt_find(tree, view(b"/chosen/guest"))


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    LOG.written = 0
    TERMINAL.owner = NOBODY
    MODEL["cntfrq_el0"], MODEL["cntpct_el0"] = 1000, 0
    before = bytes(sched_name())
    yield
    sched_select(view(before))
    CREDIT2.ratelimit_us, CREDIT2.grouping, RR.slice_us = NO_CPU, Grouping.CLUSTER, 0
    MODEL.clear()


def said() -> list[str]:
    text = bytes(LOG_RING[i % RING_SIZE] for i in range(int(LOG.written))).decode()
    return [line.partition("] ")[2] for line in text.splitlines()]


def vcpu(tree: Fdt, node: Any, number: int = 0) -> SchedParams:
    p = zeroed(SchedParams)
    assert sched_vcpu_params(tree, node, number, zeroed(SchedDomainParams), p), said()
    return p


# ---- the device tree


def test_defaults() -> None:
    tree, node = opened()
    d = zeroed(SchedDomainParams)
    assert sched_domain_params(tree, node, 1, d)
    assert (d.weight, d.cap) == (256, 0)
    p = vcpu(tree, node)
    assert (p.affinity, p.period_us, p.budget_us, p.extratime) == (ALL_CPUS, 10_000, 4_000, True)
    assert (p.frame_us, p.window_count) == (0, 0)
    assert said() == []


def test_a_domain_with_everything() -> None:
    tree, node = opened(
        "xen,sched-weight = <512>; xen,sched-cap = <150>; xen,sched-period-us = <20000>; xen,sched-budget-us = <500>; xen,sched-extratime = <0>;",
        """
        second { compatible = "xen,vcpu"; id = <1>; hard-affinity = "0-1,5,63"; xen,sched-budget-us = <700>; xen,sched-extratime = <1>; };
        third { compatible = "xen,vcpu"; id = <2>; xen,arinc653-windows = <0 0 1000>, <1 2500 500>; };
        """,
        "xen,arinc653-major-frame-us = <10000>;",
    )
    d = zeroed(SchedDomainParams)
    assert sched_domain_params(tree, node, 3, d)
    assert (d.weight, d.cap) == (512, 150)
    first, second, third = (vcpu(tree, node, i) for i in range(3))
    assert (first.period_us, first.budget_us, first.extratime, first.affinity) == (20_000, 500, False, ALL_CPUS)
    assert (second.period_us, second.budget_us, second.extratime) == (20_000, 700, True)
    assert second.affinity == 1 << 63 | 0b100011
    assert third.frame_us == 10_000
    assert [(w.cpu, w.offset_us, w.length_us) for w in third.windows[: third.window_count]] == [(0, 0, 1000), (1, 2500, 500)]


WRONG_DOMAINS = [
    ("xen,sched-weight = <0>;", "", "/chosen/guest@1: xen,sched-weight is 0; give a number from 1 to 65535"),
    ("xen,sched-weight = <65536>;", "", "/chosen/guest@1: xen,sched-weight is 65536; give a number from 1 to 65535"),
    ("xen,sched-weight = <1 2>;", "", "/chosen/guest@1: xen,sched-weight is no number of one cell; correct it"),
    ("xen,sched-cap = <201>;", "", "/chosen/guest@1: xen,sched-cap is 201; give a number from 0 to 200"),
    ("", 'v { compatible = "xen,vcpu"; };', "/chosen/guest@1/v: id is missing; say which vCPU it is about, <0> for the first"),
    ("", 'v { compatible = "xen,vcpu"; id = <2>; };', "/chosen/guest@1/v: id is 2; give a number from 0 to 1"),
    (
        "",
        'v { compatible = "xen,vcpu"; id = <1>; }; w { compatible = "xen,vcpu"; id = <1>; };',
        "/chosen/guest@1/w: id is another node's too; describe each vCPU once",
    ),
]


@pytest.mark.parametrize(("domain", "nodes", "line"), WRONG_DOMAINS)
def test_what_is_wrong_with_a_domain(domain: str, nodes: str, line: str) -> None:
    tree, node = opened(domain, nodes)
    assert not sched_domain_params(tree, node, 2, zeroed(SchedDomainParams))
    assert said() == [f"guest does not start: {line}"]


WRONG_VCPUS = [
    ("xen,sched-period-us = <9>;", "", "/chosen/guest@1: xen,sched-period-us is 9; give a number from 10 to 4000000"),
    ("xen,sched-budget-us = <10001>;", "", "/chosen/guest@1: xen,sched-budget-us is more than xen,sched-period-us; lower it"),
    ("", "xen,sched-period-us = <100>;", "/chosen/guest@1/v: xen,sched-budget-us is more than xen,sched-period-us; lower it"),
    ("xen,sched-extratime = <2>;", "", "/chosen/guest@1: xen,sched-extratime is 2; give a number from 0 to 1"),
    ("", 'hard-affinity = "";', '/chosen/guest@1/v: hard-affinity is no list of CPUs; write it as "0-3,5"'),
    ("", 'hard-affinity = "3-1";', '/chosen/guest@1/v: hard-affinity is no list of CPUs; write it as "0-3,5"'),
    ("", 'hard-affinity = "64";', '/chosen/guest@1/v: hard-affinity is no list of CPUs; write it as "0-3,5"'),
    ("", 'hard-affinity = "1,";', '/chosen/guest@1/v: hard-affinity is no list of CPUs; write it as "0-3,5"'),
    ("", "hard-affinity = [31];", '/chosen/guest@1/v: hard-affinity is no list of CPUs; write it as "0-3,5"'),
    ("", 'hard-affinity = "0", "1";', '/chosen/guest@1/v: hard-affinity is no list of CPUs; write it as "0-3,5"'),
    (
        "xen,arinc653-windows = <0 1>;",
        "",
        "/chosen/guest@1: xen,arinc653-windows is no list of triples; give CPU, offset and length of each window",
    ),
]


@pytest.mark.parametrize(("domain", "own", "line"), WRONG_VCPUS)
def test_what_is_wrong_with_a_vcpu(domain: str, own: str, line: str) -> None:
    tree, node = opened(domain, f'v {{ compatible = "xen,vcpu"; id = <0>; {own} }};' if own else "")
    assert not sched_vcpu_params(tree, node, 0, zeroed(SchedDomainParams), zeroed(SchedParams))
    assert said() == [f"guest does not start: {line}"]


def test_a_refusal_names_domain_vcpu_and_scheduler() -> None:
    tree, node = opened()
    sched_select(view(b"rtds"))
    sched_refuse(tree, node, 3, Result.DENIED)
    assert said() == [
        "guest does not start: /chosen/guest@1: vcpu 3 by scheduler rtds: the CPUs do not have that much time: "
        "lower xen,sched-budget-us, or raise xen,sched-period-us"
    ]


@given(st.lists(st.tuples(st.integers(0, 63), st.integers(0, 63)).map(sorted), min_size=1, max_size=5))
def test_lists_of_cpus(ranges: list[list[int]]) -> None:
    text = ",".join(str(a) if a == b else f"{a}-{b}" for a, b in ranges)
    wanted = {cpu for a, b in ranges for cpu in range(a, b + 1)}
    assert params.cpu_list(view(text.encode())) == (True, sum(1 << c for c in wanted))


@given(st.text("0123456789-, x", max_size=12))
def test_lists_of_anything(text: str) -> None:
    params.cpu_list(view(text.encode()))


# ---- boot arguments


def apply(chosen: str) -> list[str]:
    tree, _ = opened(chosen=chosen)
    options.sched_options(tree)
    return said()


def test_every_scheduler_can_be_chosen() -> None:
    for row in SCHEDULERS:
        name = bytes(row.name).decode()
        assert apply(f'xen,xen-bootargs = "console=dtuart sched={name} loglvl=all";') == []
        assert bytes(SCHED.chosen.name).decode() == name


def test_where_the_arguments_are() -> None:
    apply('xen,xen-bootargs = "sched=rr"; bootargs = "sched=null";')
    assert bytes(sched_name()) == b"rr"
    apply('xen,dom0-bootargs = "x"; bootargs = "sched=null";')
    assert bytes(sched_name()) == b"null"
    apply('bootargs = "sched=rr";')
    assert bytes(sched_name()) == b"null"


def test_options() -> None:
    assert apply('xen,xen-bootargs = "sched_ratelimit_us=0 credit2_runqueue=cpu sched_rr_slice_us=2500";') == []
    assert (CREDIT2.ratelimit_us, CREDIT2.grouping, RR.slice_us) == (0, Grouping.CPU, 2500)
    assert apply('xen,xen-bootargs = "credit2_runqueue=socket credit2_runqueue=node";') == []
    assert CREDIT2.grouping == Grouping.ALL


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ("sched=fifo", "boot argument sched=fifo: there is no such scheduler; there are null rr credit2 rtds arinc653; credit2 is taken"),
        ("sched=", "boot argument sched=: there is no such scheduler; there are null rr credit2 rtds arinc653; credit2 is taken"),
        ("sched_ratelimit_us=x", "boot argument sched_ratelimit_us=x: ignored; it takes a number from 0 to 500000"),
        ("sched_ratelimit_us=500001", "boot argument sched_ratelimit_us=500001: ignored; it takes a number from 0 to 500000"),
        ("sched_rr_slice_us=1", "boot argument sched_rr_slice_us=1: ignored; it takes a number from 100 to 1000000"),
        ("credit2_runqueue=none", "boot argument credit2_runqueue=none: ignored; it takes cpu, cluster or all"),
    ],
)
def test_wrong_options_are_said_and_ignored(arguments: str, line: str) -> None:
    sched_select(view(b"credit2"))
    assert apply(f'xen,xen-bootargs = "{arguments}";') == [line]
    assert bytes(sched_name()) == b"credit2"
    assert (CREDIT2.ratelimit_us, RR.slice_us) == (NO_CPU, 0)


def test_others_words_are_not_ours() -> None:
    assert apply('xen,xen-bootargs = "nosched=rr xsched=rr sched";') == []


@given(st.lists(st.sampled_from(["sched=rr", "sched=null", "a", "", "sched=x y"]), max_size=5))
def test_the_last_one_counts(words: list[str]) -> None:
    text = " ".join(words)
    found = [w[6:] for w in text.split(" ") if w.startswith("sched=")]
    tree, _ = opened(chosen=f'xen,xen-bootargs = "{text}";')
    present, value = bootarg(tree, view(b"sched"))
    assert (present, bytes(value).decode()) == (bool(found), found[-1] if found else "")
