"""Fetches Debian's kernel, busybox and Xen for arm64 and armhf, to boot on the hypervisor and to compare it with.

An apt of our own for each, below build/debian and build/debian-armhf, reuses the machine's sources, keyrings and proxies, and never
touches the machine's package database or its list of architectures. Packages are verified by apt,
unpacked and not installed; what has been fetched once is not fetched again.
"""

from __future__ import annotations

import argparse
import fcntl
import gzip
import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from xenarm.tools import initramfs
from xenarm.tools.errors import ToolError, run_tool
from xenarm.tools.paths import BUILD, ROOT, shown

DEBIAN = BUILD / "debian"
GUEST_FILES = ROOT / "xenarm" / "tools" / "debian_guest"
BUSYBOX_PACKAGE = "busybox-static"
IMAGE_MAGIC = b"ARMd"  # at byte 56 of an arm64 Image
ZIMAGE_MAGIC = b"\x18\x28\x6f\x01"  # at byte 36 of a zImage


@dataclass(frozen=True)
class Port:
    """What a port of Debian calls things, and the kernel's file beside them."""

    architecture: str
    kernel_metapackage: str
    kernel: str
    magic: bytes
    magic_at: int

    @property
    def xen_package(self) -> str:
        """The hypervisor's."""
        return f"xen-hypervisor-4.17-{self.architecture}"

    @property
    def directory(self) -> Path:
        """Where its files are; arm64's where they have always been."""
        return DEBIAN if self.architecture == "arm64" else DEBIAN.with_name(f"{DEBIAN.name}-{self.architecture}")


PORTS = {
    port.architecture: port
    for port in (
        Port("arm64", "linux-image-arm64", "Image", IMAGE_MAGIC, 56),
        Port("armhf", "linux-image-armmp-lpae", "zImage", ZIMAGE_MAGIC, 36),
    )
}


@dataclass(frozen=True)
class DebianFiles:
    """Files ready to be loaded as modules."""

    kernel: Path
    initramfs: Path
    xen: Path


@dataclass(frozen=True)
class Apt:
    """An apt with its own lists and cache for one foreign architecture."""

    architecture: str

    @property
    def directory(self) -> Path:
        """Where it keeps everything."""
        return PORTS[self.architecture].directory / self.architecture

    def _run(self, *command: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "APT_CONFIG": str(self.directory / "apt.conf"), "LC_ALL": "C"}
        return subprocess.run(
            command, env=environment, cwd=cwd, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
        )

    def prepare(self) -> None:
        """Lay out the private state and configuration."""
        for name in ("state/lists/partial", "cache/archives/partial", "packages"):
            (self.directory / name).mkdir(parents=True, exist_ok=True)
        (self.directory / "status").touch()
        (self.directory / "apt.conf").write_text(self._configuration())

    def _configuration(self) -> str:
        here = self.directory
        return "\n".join(
            [
                *machine_acquire_settings(),
                f'Dir::State "{here}/state";',
                f'Dir::State::status "{here}/status";',
                f'Dir::Cache "{here}/cache";',
                'Dir::Etc::Parts "/dev/null";',  # the machine's hooks are not for us; its proxies are above
                'Dir::Etc::Main "/dev/null";',
                f'APT::Architecture "{self.architecture}";',
                f'APT::Architectures {{ "{self.architecture}"; }};',
                'APT::Sandbox::User "";',  # the cache may lie where the user _apt cannot write
                'Acquire::Languages "none";',
                'Acquire::Retries "2";',
                "",
            ]
        )

    def update(self) -> None:
        """Fetch the package lists. Failure of one source matters only if a package is missed later."""
        result = self._run("apt-get", "update")
        lists = [path for path in (self.directory / "state/lists").glob("*Packages*")]
        if not lists:
            raise ToolError(
                f"apt could not fetch the {self.architecture} package lists ({_reason(result)}); "
                "check the network and the machine's apt sources"
            )

    def version(self, package: str) -> str | None:
        """The version that the sources offer, if they do."""
        policy = self._run("apt-cache", "policy", package).stdout
        found = re.search(r"Candidate: (\S+)", policy)
        return found[1] if found and found[1] != "(none)" else None

    def dependencies(self, package: str) -> list[str]:
        """The names that a package depends on."""
        shown_record = self._run("apt-cache", "show", "--no-all-versions", package).stdout
        found = re.search(r"^Depends: (.*)$", shown_record, re.MULTILINE)
        return re.findall(r"(?:^|, )([a-z0-9.+-]+)", found[1]) if found else []

    def download(self, package: str) -> Path:
        """A package's verified file, from the cache when it is there."""
        version = self.version(package)
        if version is None:
            raise ToolError(
                f"the machine's apt sources offer no {package} for {self.architecture}; "
                "they must include Debian (deb http://deb.debian.org/debian bookworm main)"
            )
        packages = self.directory / "packages"
        pattern = f"{package}_{version.replace(':', '%3a')}_*.deb"
        if not list(packages.glob(pattern)):
            result = self._run("apt-get", "download", package, cwd=packages)
            if not list(packages.glob(pattern)):
                raise ToolError(f"apt could not download {package} {version} ({_reason(result)}); check the network")
        return next(iter(packages.glob(pattern)))


def machine_acquire_settings() -> list[str]:
    """The machine's own proxies, certificates and time-outs, as configuration lines."""
    dump = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=False).stdout
    wanted = re.compile(r"Acquire::(http|https|ftp|tor|Max|Queue|ForceIPv)", re.IGNORECASE)
    return [line for line in dump.splitlines() if wanted.match(line)]


def _reason(result: subprocess.CompletedProcess[str]) -> str:
    """The first thing that apt complained of."""
    lines = [line.strip() for line in result.stderr.splitlines() if line.startswith(("E:", "W:"))]
    return lines[0][2:].strip() if lines else f"exit status {result.returncode}"


def kernel_package(apt: Apt) -> str:
    """The package with the newest kernel, which the metapackage depends on."""
    metapackage = PORTS[apt.architecture].kernel_metapackage
    for name in apt.dependencies(metapackage):
        if name.startswith("linux-image-"):
            return name
    raise ToolError(
        f"the machine's apt sources offer no {metapackage}; "
        "they must include Debian (deb http://deb.debian.org/debian bookworm main)"
    )


def unpack(package: Path, into: Path) -> None:
    """Unpack a package's files."""
    result = subprocess.run(["dpkg-deb", "-x", package, into], capture_output=True, text=True, check=False)
    if result.returncode:
        raise ToolError(f"dpkg-deb could not unpack {shown(package)} ({result.stderr.strip()}); delete it and try again")


def _only(directory: Path, pattern: str) -> Path:
    found = sorted(path for path in directory.glob(pattern) if path.is_file())
    if not found:
        raise ToolError(f"no {pattern} in {shown(directory)}: the package changed its layout")
    return found[0]


def kernel_image(packed: bytes, name: str, port: Port = PORTS["arm64"]) -> bytes:
    """A kernel as an uncompressed arm64 Image or as a zImage, however the package ships it."""
    image = gzip.decompress(packed) if packed.startswith(b"\x1f\x8b") else packed
    if image[port.magic_at : port.magic_at + 4] != port.magic:
        kind = f"{port.architecture} Image" if port.kernel == "Image" else port.kernel
        raise ToolError(f"{name} is no {kind}: it lacks {port.magic!r} at byte {port.magic_at}")
    return image


BUSYBOX_NAMES = """
    ash awk cat chmod clear cp cut date dd df dmesg echo env expr false find free getty grep head hexdump hostname id
    ifconfig ip kill ln ls md5sum mkdir mknod more mount mv nproc od pidof ping poweroff printf ps pwd reboot reset rm
    sed seq setsid sh sha256sum sleep sort stat stty sync sysctl tail taskset tee test time top touch tr true tty umount
    uname uniq uptime vi wc which xargs xxd yes cttyhack
""".split()


def guest_archive(busybox: bytes) -> bytes:
    """The initial RAM file system: busybox, and an /init that ends in a shell on the console."""
    directories = [initramfs.directory(name) for name in ("bin", "dev", "etc", "proc", "root", "sys", "tmp")]
    links = [initramfs.link(f"bin/{name}", "busybox") for name in BUSYBOX_NAMES]
    return initramfs.archive(
        [
            *directories,
            *links,
            initramfs.link("sbin", "bin"),
            initramfs.file("bin/busybox", busybox, 0o755),
            initramfs.character_device("dev/console", 5, 1),
            initramfs.character_device("dev/null", 1, 3, 0o666),
            initramfs.file("init", (GUEST_FILES / "init").read_bytes(), 0o755),
            initramfs.file("etc/profile", (GUEST_FILES / "profile").read_bytes()),
        ]
    )


def busybox(port: Port = PORTS["arm64"]) -> bytes:
    """The program that is the guest's user space."""
    return _only(port.directory / port.architecture / "root", "*bin/busybox").read_bytes()


def _write_if_changed(path: Path, data: bytes) -> None:
    """Replace a file at once, so that a boot in progress or an interrupted run never sees half of it."""
    if not path.exists() or path.read_bytes() != data:
        partial = path.with_name(path.name + ".partial")
        partial.write_bytes(data)
        partial.replace(path)


def _fetch_packages(port: Port, say: Callable[[str], None]) -> None:
    """Download and unpack the three packages."""
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise ToolError("fetching Debian's kernel needs apt-get and dpkg-deb, so a Debian-like machine")
    apt = Apt(port.architecture)
    apt.prepare()
    say(f"fetching Debian's {port.architecture} package lists")
    apt.update()
    root = apt.directory / "root.partial"
    shutil.rmtree(root, ignore_errors=True)
    for package in (kernel_package(apt), BUSYBOX_PACKAGE, port.xen_package):
        say(f"fetching {package} {apt.version(package)}")
        unpack(apt.download(package), root)
    final = apt.directory / "root"
    shutil.rmtree(final, ignore_errors=True)
    root.rename(final)


def fetch(say: Callable[[str], None] = print, architecture: str = "arm64") -> DebianFiles:
    """The files of the Debian guest and of Debian's Xen, fetched when they are not here; one process at a time."""
    port = PORTS[architecture]
    port.directory.mkdir(parents=True, exist_ok=True)
    with (port.directory / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _fetch_locked(port, say)


def _fetch_locked(port: Port, say: Callable[[str], None]) -> DebianFiles:
    here = port.directory
    files = DebianFiles(here / port.kernel, here / "initramfs.cpio", here / "xen")
    root = here / port.architecture / "root"
    if not root.exists():
        _fetch_packages(port, say)
    if not (files.kernel.exists() and files.xen.exists()):
        packed = _only(root / "boot", "vmlinuz-*")
        _write_if_changed(files.kernel, kernel_image(packed.read_bytes(), packed.name, port))
        _write_if_changed(files.xen, _only(root / "boot", f"xen-*-{port.architecture}").read_bytes())
    _write_if_changed(files.initramfs, guest_archive(busybox(port)))
    return files


def fetch_package(package: str, architecture: str, say: Callable[[str], None] = print) -> Path:
    """The directory with a further package's files, fetched when they are not here; one process at a time."""
    fetch(say, architecture)  # apt's lists
    port = PORTS[architecture]
    with (port.directory / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        final = port.directory / architecture / package
        if not final.exists():
            say(f"fetching {package}")
            partial = final.with_name(f"{package}.partial")
            shutil.rmtree(partial, ignore_errors=True)
            unpack(_download_newest(Apt(architecture), package), partial)
            partial.rename(final)
    return final


def _download_newest(apt: Apt, package: str) -> Path:
    """With lists that may be older than the archive."""
    try:
        return apt.download(package)
    except ToolError:
        apt.update()
        return apt.download(package)


def main() -> None:
    """Fetch, and say what is there."""
    parser = argparse.ArgumentParser(prog="debian", description="fetch Debian's kernel, busybox and Xen")
    parser.add_argument("--architecture", action="append", choices=sorted(PORTS), help="of both, unless given")
    parser.add_argument("--refresh", action="store_true", help="look for newer packages")
    parser.add_argument("--quiet", action="store_true", help="do not list what is there")
    arguments = parser.parse_args()
    for port in (PORTS[name] for name in arguments.architecture or sorted(PORTS)):
        if arguments.refresh:
            shutil.rmtree(port.directory / port.architecture / "root", ignore_errors=True)
            (port.directory / port.kernel).unlink(missing_ok=True)
        files = fetch(architecture=port.architecture)
        for path in () if arguments.quiet else (files.kernel, files.initramfs, files.xen):
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            print(f"{shown(path)}  {path.stat().st_size} bytes  sha256 {digest[:16]}")


if __name__ == "__main__":
    run_tool(main)
