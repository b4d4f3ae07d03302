"""Reads a deployment from TOML: what the schema does not know or take is one error with file, line and remedy.

Python's `tomllib` tells no lines of keys. TOML is a list of statements, so the text is read again up to the end of each of its lines:
where that can be read, a statement ends, and the keys that are new stand in it. This uses TOML's own grammar and no second reader of it.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from xenarm.tools.deployment import Deployment, DomainPlan, Place, Source, schema
from xenarm.tools.errors import ToolError
from xenarm.tools.machine import KIB, MIB, Value
from xenarm.tools.paths import shown

__all__ = ["key_lines", "read_toml"]

KeyPath = tuple[str, ...]
FIRST_PHANDLE = 0x7E00_0000  # of the ends of event channels: far above what firmware and dtc number

DOMAIN_PROPERTIES = {
    "weight": "xen,sched-weight",
    "cap": "xen,sched-cap",
    "on-reboot": "xenarm,on-reboot",
    "on-crash": "xenarm,on-crash",
    "enhanced": "xen,enhanced",
    "gic": "xenarm,gic-version",
}
VCPU_PROPERTIES = {"affinity": "hard-affinity", "period-us": "xen,sched-period-us", "budget-us": "xen,sched-budget-us"}


# ---- lines --------------------------------------------------------------------------------------------------------------


def paths(table: Mapping[str, Any], above: KeyPath = ()) -> Iterator[KeyPath]:
    """Every key of a table and of those in it."""
    for name, value in table.items():
        yield (*above, name)
        if isinstance(value, dict):
            yield from paths(value, (*above, name))


def key_lines(text: str) -> dict[KeyPath, int]:
    """The line of each key's statement, from 1."""
    found: dict[KeyPath, int] = {}
    lines = text.splitlines()
    begin = 0
    for end in range(1, len(lines) + 1):
        if begin == end - 1 and (not lines[begin].strip() or lines[begin].lstrip().startswith("#")):
            begin = end
            continue
        try:
            known = tomllib.loads("\n".join(lines[:end]) + "\n")
        except tomllib.TOMLDecodeError:
            continue  # the statement goes on
        for path in paths(known):
            found.setdefault(path, begin + 1)
        begin = end
    return found


# ---- values -------------------------------------------------------------------------------------------------------------


class Reader:
    """A file's tables, checked as they are taken."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        try:
            self.data = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise not_toml(path, str(error)) from error
        self.lines = key_lines(text)

    def place(self, *path: str) -> Place:
        """Where a key stands, or the nearest table around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return Place(self.path, self.lines.get(path, 0))

    def table(self, *path: str) -> dict[str, Any]:
        """A table, empty when it is not there."""
        found: Any = self.data
        for name in path:
            found = found.get(name, {})
            if not isinstance(found, dict):
                raise self.place(*path).error(f"{'.'.join(path)} is a table: begin it with [{'.'.join(path)}]")
        return dict(found)

    def children(self, name: str, keys: Mapping[str, schema.Key]) -> dict[str, dict[str, Any]]:
        """Tables by name, each checked."""
        found: dict[str, dict[str, Any]] = {}
        for child in self.table(name):
            if not schema.NAME.fullmatch(child):
                raise self.place(name, child).error(f"'{child}' is no name: begin with a letter, go on with letters, digits, - and _, at most 31")
            found[child] = self.checked(keys, (name, child), inner=("vcpu",) if name == "domain" else ())
        return found

    def checked(self, keys: Mapping[str, schema.Key], path: KeyPath, inner: KeyPath = ()) -> dict[str, Any]:
        """A table's values as the schema reads them; `inner` are the tables in it that are taken by themselves."""
        table = self.table(*path)
        found: dict[str, Any] = {}
        for name, value in table.items():
            if name in inner:
                continue
            if name not in keys:
                raise self.place(*path, name).error(unknown(name, path, [*keys, *inner]))
            try:
                found[name] = keys[name].read(value)
            except schema.Mistake as error:
                raise self.place(*path, name).error(f"{name} {error}") from None
        for name, key in keys.items():
            if key.needed and name not in found:
                raise self.place(*path).error(f"[{'.'.join(path)}] has no {name}: {key.meaning}")
        return found


def not_toml(path: Path, message: str) -> ToolError:
    """tomllib's message with its line where all messages have it."""
    what, _, where = message.partition(" (at line ")
    line = where.partition(",")[0]
    last = len(path.read_text().splitlines()) if not line.isdigit() else int(line)
    return Place(path, last).error(f"this is no TOML ({what}): see https://toml.io")


def unknown(name: str, path: KeyPath, known: list[str]) -> str:
    """What is said of a key that there is not."""
    near = difflib.get_close_matches(name, known, 1)
    remedy = f"did you mean '{near[0]}'?" if near else f"the keys there are: {', '.join(known)}"
    return f"unknown key '{name}'{f' in [{chr(46).join(path)}]' if path else ''}; {remedy}"


# ---- from tables to a deployment ----------------------------------------------------------------------------------------


def flat(rows: tuple[tuple[int, ...], ...]) -> tuple[int, ...]:
    """All cells of some rows."""
    return tuple(cell for row in rows for cell in row)


def two_cells(*numbers: int) -> tuple[int, ...]:
    """64-bit numbers as cells."""
    return flat(tuple((number >> 32, number & 0xFFFF_FFFF) for number in numbers))


def scheduling(values: Mapping[str, Any]) -> dict[str, Value]:
    """The properties that a domain and a vCPU may have."""
    made: dict[str, Value] = {VCPU_PROPERTIES[key]: values[key] for key in VCPU_PROPERTIES if key in values}
    if "extratime" in values:
        made["xen,sched-extratime"] = int(values["extratime"])
    if "windows" in values:
        made["xen,arinc653-windows"] = flat(values["windows"])
    return made


def static_memory(reader: Reader, name: str, values: Mapping[str, Any]) -> dict[str, Value]:
    """`xen,static-mem`, which must come to the domain's memory."""
    ranges = values.get("static-memory", ())
    if not ranges:
        if values.get("direct-map"):
            raise reader.place("domain", name, "direct-map").error("direct-map needs static-memory: say where the domain's RAM lies")
        return {}
    total = sum(size for _, size in ranges)
    if total != values["memory"]:
        raise reader.place("domain", name, "static-memory").error(
            f"static-memory comes to {total // KIB} KiB and memory is {values['memory'] // KIB} KiB: make them the same"
        )
    made: dict[str, Value] = {"#xen,static-mem-address-cells": 2, "#xen,static-mem-size-cells": 2}
    made["xen,static-mem"] = two_cells(*flat(ranges))
    if values.get("direct-map"):
        made["direct-map"] = ()
    return made


def domain_properties(reader: Reader, name: str, values: Mapping[str, Any]) -> dict[str, Value]:
    """Everything that is not a field of its own."""
    made: dict[str, Value] = {DOMAIN_PROPERTIES[key]: values[key] for key in DOMAIN_PROPERTIES if key in values}
    made |= scheduling(values) | static_memory(reader, name, values)
    if "table-memory" in values:
        if values["table-memory"] % MIB:
            raise reader.place("domain", name, "table-memory").error("table-memory takes whole MiB")
        made["xen,domain-p2m-mem-mb"] = values["table-memory"] // MIB
    if "mpidr-levels" in values:
        made["xenarm,mpidr-levels"] = values["mpidr-levels"]
    if values.get("console") == "pl011":
        made["vpl011"] = "arm,pl011"
    return made


def vcpus(reader: Reader, name: str, count: int) -> dict[int, dict[str, Value]]:
    """What single vCPUs have of their own."""
    made: dict[int, dict[str, Value]] = {}
    for number in reader.table("domain", name, "vcpu"):
        place = reader.place("domain", name, "vcpu", number)
        if not number.isdecimal() or int(number) >= count:
            raise place.error(f"domain {name} has no vCPU '{number}': its {count} are numbered from 0")
        made[int(number)] = scheduling(reader.checked(schema.VCPU, ("domain", name, "vcpu", number)))
    return made


def shared_memory(reader: Reader, domains: Mapping[str, Any]) -> dict[str, dict[str, dict[str, Value]]]:
    """The nodes of shared memory, by domain."""
    made: dict[str, dict[str, dict[str, Value]]] = {name: {} for name in domains}
    for number, (region, values) in enumerate(reader.children("shared-memory", schema.SHARED_MEMORY).items()):
        if len(region) > 15:
            raise reader.place("shared-memory", region).error(f"'{region}' is longer than 15 characters")
        for name in (*values["domains"], *([values["owner"]] if "owner" in values else [])):
            if name not in domains or name not in values["domains"]:
                raise reader.place("shared-memory", region).error(f"'{name}' is none of its domains: give the name of a [domain.NAME] that has it")
        for name in values["domains"]:
            numbers = [values["address"]] if "address" in values else []
            properties: dict[str, Value] = {
                "compatible": "xen,domain-shared-memory-v1",
                "xen,shm-id": region,
                "xen,shared-mem": two_cells(*numbers, values["guest-address"], values["size"]),
            }
            if "owner" in values:
                properties["role"] = "owner" if values["owner"] == name else "borrower"
            made[name][f"domain-shared-memory@{number}"] = properties
    return made


def event_end(reader: Reader, channel: str, text: str, domains: Mapping[str, Any]) -> tuple[str, int]:
    """`alpha:1` as a domain and a port."""
    name, _, port = text.partition(":")
    if name not in domains or not port.isdecimal() or int(port) == 0:
        raise reader.place("event-channel", channel, "ends").error(f"'{text}' is no end: write a domain's name, a colon and a port from 1")
    return name, int(port)


def event_channels(reader: Reader, domains: Mapping[str, Any]) -> dict[str, dict[str, dict[str, Value]]]:
    """The nodes of the ends, by domain."""
    made: dict[str, dict[str, dict[str, Value]]] = {name: {} for name in domains}
    phandle = FIRST_PHANDLE
    for channel, values in reader.children("event-channel", schema.EVENT_CHANNEL).items():
        if len(values["ends"]) != 2:
            raise reader.place("event-channel", channel, "ends").error("a channel has two ends")
        ends = [event_end(reader, channel, text, domains) for text in values["ends"]]
        for number, (name, port) in enumerate(ends):
            node = f"evtchn@{port}"
            if node in made[name]:
                raise reader.place("event-channel", channel, "ends").error(f"port {port} of {name} is another channel's: choose a free one")
            made[name][node] = {"compatible": "xen,evtchn-v1", "xen,evtchn": (port, phandle + 1 - number), "phandle": phandle + number}
        phandle += 2
    return made


def domain(reader: Reader, name: str, values: Mapping[str, Any], nodes: Mapping[str, Mapping[str, Value]]) -> DomainPlan:
    """One [domain.NAME]."""
    ranges = values.get("static-memory", ())
    return DomainPlan(
        name=name,
        kernel=Source(values["kernel"], reader.place("domain", name, "kernel")),
        ramdisk=Source(values["ramdisk"], reader.place("domain", name, "ramdisk")) if "ramdisk" in values else None,
        memory_kib=values["memory"] // KIB,
        lines={"": reader.place("domain", name)} | {key: reader.place("domain", name, key) for key in values},
        bootargs=values.get("bootargs", ""),
        cpus=values.get("cpus", 1),
        console=values.get("console", "sbsa"),
        properties=domain_properties(reader, name, values),
        vcpus=vcpus(reader, name, values.get("cpus", 1)),
        nodes=nodes,
        static_memory=ranges,
    )


def all_domains(reader: Reader) -> tuple[DomainPlan, ...]:
    """Every domain, in the order of the file."""
    tables = reader.children("domain", schema.DOMAIN)
    if not tables:
        raise Place(reader.path).error("there is no domain: begin one with [domain.NAME]")
    shared, channels = shared_memory(reader, tables), event_channels(reader, tables)
    return tuple(domain(reader, name, values, shared[name] | channels[name]) for name, values in tables.items())


def read_toml(path: Path) -> Deployment:
    """A file as a deployment. Raises DeploymentError."""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ToolError(f"cannot read {shown(path)}: {getattr(error, 'strerror', None) or 'it is no UTF-8 text'}") from error
    reader = Reader(path, text)
    top = reader.checked(schema.TOP, (), inner=("machine", "hypervisor", "domain", "shared-memory", "event-channel"))
    machine = reader.checked(schema.MACHINE, ("machine",))
    hypervisor = reader.checked(schema.HYPERVISOR, ("hypervisor",))
    memory = machine.get("memory")
    if memory is not None and memory % MIB:
        raise reader.place("machine", "memory").error("memory takes whole MiB")
    frame = hypervisor.get("major-frame-us")
    tree = machine.get("device-tree")
    if tree and not (path.parent / tree).is_file():
        raise reader.place("machine", "device-tree").error(f"there is no file {shown(path.parent / tree)}: correct the name, relative to the deployment's file")
    return Deployment(
        name=path.stem,
        place=Place(path),
        domains=all_domains(reader),
        lines={".".join(key): Place(path, line) for key, line in reader.lines.items()},
        description=top.get("description", ""),
        boards=top.get("boards", ()),
        memory_mib=None if memory is None else memory // MIB,
        cpus=machine.get("cpus"),
        gic=machine.get("gic"),
        tree=path.parent / tree if tree else None,
        scheduler=hypervisor.get("scheduler", ""),
        bootargs=hypervisor.get("bootargs", ""),
        chosen={} if frame is None else {"xen,arinc653-major-frame-us": frame},
    )
