"""Domains of up to 512 vCPUs: affinities, redistributor regions, targets of SGIs, the guest's tree."""

from __future__ import annotations

from itertools import islice, product
from math import prod
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from freestanding import array, u8, zeroed
from tests.xenarm.test_guest_tree import cells, child, described, view
from tests.xenarm.trees import parse
from xenarm.abi.affinity import NO_VCPU, Affinities, affinity_mpidr, affinity_of, vcpu_of_affinity, vcpu_of_mpidr
from xenarm.abi.layout import GUEST_GICR1_BASE, GUEST_GICR1_SIZE, GUEST_GICR_BASE, GUEST_GICR_FRAME, GUEST_GICR_SIZE, GUEST_PL011_BASE
from xenarm.core.domain import GuestLayout
from xenarm.core.result import Result
from xenarm.devicetree.guest import BYTES_BESIDE, BYTES_OF_CPU, MOST_BANKS, MOST_SHARES
from xenarm.devicetree.guest import guest_tree_bank, guest_tree_redistributors, guest_tree_share, guest_tree_write
from xenarm.gic.regions import gicr_add, gicr_find, gicr_is_last, gicr_placed
from xenarm.gic.registers3 import IccSgi, sgi_target
from xenarm.gic.vgicd3 import sgi_first

MOST = 512
counts = st.integers(1, MOST)


levels = st.tuples(*[st.sampled_from([1, 2, 4, 8, 16, 32, 64, 128, 256])] * 3)
affinities = st.tuples(st.integers(0, 255), st.integers(0, 255), st.integers(0, 255), st.integers(0, 255))


def by_levels(*sizes: int) -> Any:
    """Affinities of a domain whose levels have so many values."""
    made = zeroed(Affinities)
    if sizes:
        made.levels = True
        made.aff1, made.aff2, made.aff3 = (prod(sizes[:n]).bit_length() - 1 for n in (1, 2, 3))
    return made


XENS = by_levels()


def counted(sizes: tuple[int, ...], vcpus: int) -> list[tuple[int, ...]]:
    """Affinities 0 to 3 of one vCPU after the other: an odometer whose wheels have so many values, the last one as many as it takes."""
    return [tuple(reversed(place)) for place in islice(product(range(256), *(range(size) for size in reversed(sizes))), vcpus)]


def packed(place: tuple[int, ...]) -> int:
    return sum(level << 8 * n for n, level in enumerate(place))


def mpidr(vcpu: int) -> tuple[int, int]:
    """Affinities 1 and 0, as Xen counts them: sixteen of affinity 0, then the next of affinity 1."""
    return divmod(vcpu, 16)


def test_sixteen_share_affinity_1_where_no_node_says_otherwise() -> None:
    for vcpu in range(4096):
        high, low = mpidr(vcpu)
        assert int(affinity_of(XENS, vcpu)) == high << 8 | low
        assert int(vcpu_of_affinity(XENS, high << 8 | low)) == vcpu


@given(levels)
def test_every_vcpu_has_affinities_of_its_own(sizes: tuple[int, ...]) -> None:
    places = counted(sizes, MOST)
    made = by_levels(*sizes)
    assert [int(affinity_of(made, vcpu)) for vcpu in range(len(places))] == [packed(place) for place in places]
    assert [int(vcpu_of_affinity(made, packed(place))) for place in places] == list(range(len(places)))


@given(levels, affinities)
def test_any_other_affinity_is_nobodys(sizes: tuple[int, ...], place: tuple[int, ...]) -> None:
    """Also none that has a bit which is no affinity's, or a value that its level has not."""
    made, here = by_levels(*sizes), all(level < size for level, size in zip(place, sizes))
    number = sum(level * prod(sizes[:n]) for n, level in enumerate(place))
    assert int(vcpu_of_affinity(made, packed(place))) == (number if here else NO_VCPU)
    target = place[3] << 32 | packed(place[:3])
    assert int(vcpu_of_mpidr(made, target)) == (number if here else NO_VCPU)
    assert int(affinity_mpidr(packed(place))) == target
    for stray in (24, 31, 40, 63):
        assert int(vcpu_of_mpidr(made, target | 1 << stray)) == NO_VCPU


@given(levels, affinities, st.integers(0, 0xFFFF), st.integers(0, 15))
@example((64, 2, 2), (48, 1, 1, 1), 0xFFFF, 3)
@example((16, 256, 256), (0, 31, 0, 0), 0xFFFF, 3)
@example((4, 256, 256), (0, 5, 0, 0), 0xFFFF, 3)
def test_whom_an_sgi_names(sizes: tuple[int, ...], place: tuple[int, ...], targets: int, intid: int) -> None:
    """ARM IHI 0069, ICC_SGI1R_EL1: affinity 0 is the range selector times sixteen plus the bit's number."""
    selector = place[0] // 16
    value = IccSgi(TARGETS=targets, AFF1=place[1], INTID=intid, AFF2=place[2], IRM=False, RS=selector, AFF3=place[3]).raw
    named = {(selector * 16 + bit, *place[1:]) for bit in range(16) if targets >> bit & 1}
    first = int(sgi_first(value))
    reached = {int(vcpu_of_affinity(by_levels(*sizes), first | bit)) for bit in range(16) if targets >> bit & 1}
    everybody = {somebody: vcpu for vcpu, somebody in enumerate(counted(sizes, MOST))}
    assert {vcpu for vcpu in reached if vcpu < MOST} == {everybody[somebody] for somebody in named if somebody in everybody}


@given(affinities)
def test_what_names_one_alone(place: tuple[int, ...]) -> None:
    """A list with one bit, in its range, of its affinities 1 to 3."""
    alone = IccSgi.from_raw(sgi_target(packed(place)))
    assert (alone.AFF1, alone.AFF2, alone.AFF3, alone.RS, alone.TARGETS) == (*place[1:], place[0] // 16, 1 << place[0] % 16)


# ---- redistributors ---------------------------------------------------------------------------------------------------


def placed(vcpus: int, *regions: tuple[int, int]) -> Any:
    layout = zeroed(GuestLayout)
    for base, frames in regions:
        gicr_add(layout, base, frames * GUEST_GICR_FRAME + 0x1_0000, vcpus)
    return layout


def guest_layout(vcpus: int) -> Any:
    layout = zeroed(GuestLayout)
    gicr_add(layout, int(GUEST_GICR_BASE), GUEST_GICR_SIZE, vcpus)
    gicr_add(layout, int(GUEST_GICR1_BASE), GUEST_GICR1_SIZE, vcpus)
    return layout


@given(counts)
def test_where_the_guests_redistributors_are(vcpus: int) -> None:
    layout = guest_layout(vcpus)
    assert int(gicr_placed(layout)) == vcpus
    assert int(layout.gicr_count) == (1 if vcpus <= 128 else 2)
    for vcpu in range(vcpus):
        base = int(GUEST_GICR_BASE) + vcpu * 0x2_0000 if vcpu < 128 else int(GUEST_GICR1_BASE) + (vcpu - 128) * 0x2_0000
        for offset in (0, 0x1_0000, 0x1_FFFC):
            assert tuple(map(int, gicr_find(layout, base + offset))) == (vcpu, offset)
        assert gicr_is_last(layout, vcpu) == (vcpu in (127, vcpus - 1))


def test_they_are_beside_everything_else() -> None:
    first, second = int(GUEST_GICR_BASE) + GUEST_GICR_SIZE, int(GUEST_GICR1_BASE)
    assert first < second and second + GUEST_GICR1_SIZE <= int(GUEST_PL011_BASE)
    assert GUEST_GICR_SIZE + GUEST_GICR1_SIZE == MOST * GUEST_GICR_FRAME


@given(counts, st.lists(st.integers(0, 200), min_size=1, max_size=8), st.integers(0, 8 * 0x800_0000))
def test_a_machines_own_regions(vcpus: int, frames: list[int], address: int) -> None:
    """Filled in their order, as many as are needed, four at most; an address is in one of them or in none."""
    layout = placed(vcpus, *((n * 0x800_0000, size) for n, size in enumerate(frames)))
    used = [size for size in frames if size][:4]
    assert int(gicr_placed(layout)) == min(vcpus, sum(used))
    region, inside = divmod(address, 0x800_0000)
    vcpu, offset = gicr_find(layout, address)
    rooms = [size if size in frames[: n + 1] and sum(1 for s in frames[:n] if s) < 4 else 0 for n, size in enumerate(frames)]
    before = sum(rooms[:region])
    if region < len(frames) and inside // GUEST_GICR_FRAME < min(rooms[region], max(vcpus - before, 0)):
        assert (int(vcpu), int(offset)) == (before + inside // GUEST_GICR_FRAME, inside % GUEST_GICR_FRAME)
    else:
        assert int(vcpu) == NO_VCPU


# ---- the tree ---------------------------------------------------------------------------------------------------------


def tree_of(vcpus: int, **more: Any) -> Any:
    tree = described(vcpus=vcpus, gic_v3=True, **more)
    layout = guest_layout(vcpus)
    for i in range(int(layout.gicr_count)):
        guest_tree_redistributors(tree, layout.gicr[i].base, int(layout.gicr[i].count) * GUEST_GICR_FRAME)
    return tree


def written(tree: Any, room: int) -> bytes:
    out = array(u8, room)
    result, size = guest_tree_write(tree, out)
    assert result == Result.OK
    return bytes(out[:size])


def test_the_tree_of_512() -> None:
    root = parse(written(tree_of(MOST), 64 * 1024))
    cpus = [node for node in child(root, "cpus").children if node.name.startswith("cpu@")]
    assert [cells(node.properties["reg"]) for node in cpus] == [(high << 8 | low,) for high, low in map(mpidr, range(MOST))]
    assert cpus[-1].name == "cpu@1f0f"
    gic = child(root, "interrupt-controller@3001000").properties
    assert cells(gic["#redistributor-regions"]) == (2,)
    assert cells(gic["reg"]) == (0, 0x3001000, 0, 0x10000, 0, 0x3020000, 0, 0x1000000, 0, 0x5000000, 0, 0x3000000)


@given(levels, counts)
def test_the_tree_says_all_levels(sizes: tuple[int, ...], vcpus: int) -> None:
    """Two cells where affinity 3 is used (Linux's binding arm/cpus.yaml)."""
    places = counted(sizes, vcpus)
    node = child(parse(written(tree_of(len(places), affinities=by_levels(*sizes)), 64 * 1024)), "cpus")
    wide = any(place[3] for place in places)
    assert cells(node.properties["#address-cells"]) == (1 + wide,)
    found = [cells(cpu.properties["reg"]) for cpu in node.children if cpu.name.startswith("cpu@")]
    assert found == [(*(place[3:] * wide), packed(place[:3])) for place in places]


def test_a_single_region_is_not_counted() -> None:
    gic = child(parse(written(tree_of(128), 16 * 1024)), "interrupt-controller@3001000").properties
    assert "#redistributor-regions" not in gic
    assert cells(gic["reg"]) == (0, 0x3001000, 0, 0x10000, 0, 0x3020000, 0, 0x1000000)


@given(counts)
def test_there_is_room_for_the_largest_tree(vcpus: int) -> None:
    tree = tree_of(vcpus, bootargs=view(b"x" * 2047), primecell=True, ramdisk=1 << 33, ramdisk_size=1 << 30)
    for i in range(MOST_BANKS):
        guest_tree_bank(tree, i << 30, 1 << 20)
    for i in range(MOST_SHARES):
        guest_tree_share(tree, 0xFFFF_FFFF_FFFF_0000 - (i << 16), 0x1000, view(b"abcdefghijklmno"))
    written(tree, BYTES_BESIDE + BYTES_OF_CPU * vcpus)
