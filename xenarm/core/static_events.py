"""Static event channels of the device tree (Xen's docs/misc/arm/device-tree/booting.txt, "Static Event Channel").

A node compatible with `xen,evtchn-v1` below a domain's is one end: `xen,evtchn = <local-port &other-end>`, and the other end says the same
of this one. Ends are checked while a domain is planned, and noted when all domains are there, so that a restart needs no tree.
"""

from freestanding import IntEnum, Struct, array, fn, u8, u32, zeroed

from xenarm.config import CONFIG
from xenarm.core.domain import DOMAINS, Domain
from xenarm.core.event_channel import channel_connect
from xenarm.devicetree.reader import NO_NODE, Fdt, Node, Trail, fdt_children, fdt_property, fdt_trace
from xenarm.devicetree.values import fdt_by_phandle, fdt_compatible, fdt_u32

__all__ = [
    "STATIC_END",
    "ChannelFault",
    "StaticEnd",
    "is_static_end",
    "static_channel_note",
    "static_channels_connect",
    "static_end",
    "static_end_check",
    "static_end_domain",
]

PORTS: int = CONFIG.EVENT_CHANNELS_PER_DOMAIN
MOST_ENDS: int = CONFIG.STATIC_EVENT_CHANNELS
VALUE_SIZE = 8
STATIC_END = b"xen,evtchn-v1"
"""What the node of an end is compatible with."""


class ChannelFault(IntEnum, type=u8):
    """What is wrong with an end."""

    NONE = 0
    MALFORMED = 1  # no two cells
    PORT = 2  # 0, or more than a domain has
    NO_PEER = 3  # the phandle leads to no such node
    ONE_SIDED = 4  # the other end does not lead back
    STRANGER = 5  # the other end belongs to no domain
    TWICE = 6  # the domain has the port already


class StaticEnd(Struct, frozen=True):
    """One end as the tree has it; `peer` is the other end's node, NO_NODE when there is none."""

    sound: bool
    port: u32
    peer: Node


class Noted(Struct):
    """An end of a domain, by ids, for its next life."""

    domain: u32
    port: u32
    other: u32
    other_port: u32


class NotedCount(Struct):
    value: u32


ENDS = array(Noted, MOST_ENDS)
END_COUNT = zeroed(NotedCount)


@fn
def is_static_end(fdt: Fdt, node: Node) -> bool:
    return fdt_compatible(fdt, node, STATIC_END)


@fn
def static_end(fdt: Fdt, node: Node) -> StaticEnd:
    """What a node's `xen,evtchn` says."""
    present, value = fdt_property(fdt, node, b"xen,evtchn")
    if not present or len(value) < VALUE_SIZE:
        return StaticEnd(sound=False, port=0, peer=NO_NODE)
    return StaticEnd(sound=True, port=value.load_be32(0), peer=fdt_by_phandle(fdt, value.load_be32(4)))


@fn
def static_end_domain(fdt: Fdt, node: Node) -> Node:
    """The node that an end lies in: its domain's. NO_NODE: it lies too deep."""
    trail = zeroed(Trail)
    if not fdt_trace(fdt, node, trail) or trail.depth == 0:
        return NO_NODE
    return trail.nodes[trail.depth - 1]


@fn
def port_is_taken(fdt: Fdt, domain: Node, node: Node, port: u32) -> bool:
    """By an earlier node of the same domain."""
    for other in fdt_children(fdt, domain):
        if other == node:
            return False
        if is_static_end(fdt, other) and static_end(fdt, other).port == port:
            return True
    return False


@fn
def is_domain(fdt: Fdt, node: Node) -> bool:
    return node != NO_NODE and fdt_compatible(fdt, node, b"xen,domain")


@fn
def static_end_check(fdt: Fdt, domain: Node, node: Node) -> ChannelFault:
    end = static_end(fdt, node)
    if not end.sound:
        return ChannelFault.MALFORMED
    if end.port == 0 or end.port >= PORTS:
        return ChannelFault.PORT
    if end.peer == NO_NODE or not is_static_end(fdt, end.peer):
        return ChannelFault.NO_PEER
    if static_end(fdt, end.peer).peer != node:
        return ChannelFault.ONE_SIDED
    if not is_domain(fdt, static_end_domain(fdt, end.peer)):
        return ChannelFault.STRANGER
    return ChannelFault.TWICE if port_is_taken(fdt, domain, node, end.port) else ChannelFault.NONE


@fn
def static_channel_note(d: Domain, port: u32, other: Domain, other_port: u32) -> bool:
    """Connect an end now and in each life to come. False: there is no room to note it. Boot only: not locked."""
    if END_COUNT.value == MOST_ENDS:
        return False
    end = ENDS[END_COUNT.value]
    end.domain = d.id
    end.port = port
    end.other = other.id
    end.other_port = other_port
    END_COUNT.value += 1
    channel_connect(d, port, other, other_port)
    return True


@fn
def static_channels_connect(d: Domain) -> None:
    """All ends of a domain that begins anew."""
    for i in range(END_COUNT.value):
        end = ENDS[i]
        if end.domain == d.id:
            channel_connect(d, end.port, DOMAINS[end.other], end.other_port)
