"""Whether the hypervisor is fit: its versions, what confines guests, and places left in them."""

import json
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Collection, Iterator, Mapping, Sequence

from lxml import etree

from worker.errors import DomainNotFound
from worker.model.block_device import Bus
from worker.model.finding import Finding, failed, ok, warning
from worker.model.guest import Guest
from worker.model.ids import InstanceId
from worker.model.places.address import Address
from worker.virt.guests import LibvirtGuests
from worker.virt.libvirtd.connection import LibvirtConnection

LEAST = {"libvirt": (8, 0, 0), "QEMU": (6, 2, 0)}
TRIED = {"libvirt": "9.0", "QEMU": "7.2"}
"""With which the tests run."""

SEARCHED = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin", "/usr/libexec"))
"""Where the private libvirtd and its QEMU may be."""

CONFINING = frozenset({"apparmor", "selinux"})
"""libvirt's models that keep a QEMU from what is not its guest's."""

PROBED_WITHIN = 4.0
"""Seconds for QEMU's tool to say what it knows."""


def versions(connection: LibvirtConnection) -> Iterator[Finding]:
    """Ask libvirt for its version, and for QEMU's: one that is new to it takes it seconds."""
    with connection.use() as opened:
        own = opened.getLibVersion()
    yield _version("libvirt", own)
    with connection.use() as opened:
        emulator = opened.getVersion()
    yield _version("QEMU", emulator)


def installed() -> Iterator[Finding]:
    """Look for what a private libvirtd is made of; it is not up."""
    machine = platform.machine()
    wanted = {
        "libvirtd": (("libvirtd",), "libvirt-daemon-system"),
        "QEMU": ((f"qemu-system-{machine}", "qemu-kvm"), "qemu-system-x86"),
    }
    for name, (programs, package) in wanted.items():
        if not any(shutil.which(each, path=SEARCHED) for each in programs):
            yield failed(f"{name} is not here", f"install {package}")
    yield ok("the private libvirtd does not run; `blockworker serve` starts it")


def confinement(connection: LibvirtConnection) -> Iterator[Finding]:
    """Ask libvirt whose rights guests have, and what keeps one from another's disks."""
    with connection.use() as opened:
        said = etree.fromstring(opened.getCapabilities())
    models = {model.findtext("model", ""): model for model in said.iterfind("host/secmodel")}
    confined = sorted(CONFINING & set(models))
    owners = {label.text for label in said.iterfind("host/secmodel/baselabel[@type='qemu']")}
    as_root = "+0:+0" in owners
    if confined:
        yield ok(f"guests are confined by {', '.join(confined)}{' and run as root' * as_root}")
    elif as_root:
        yield warning(
            "guests run as root, and nothing confines them: who breaks out of one has the host",
            "set [hypervisor] uri to a libvirtd (qemu:///system) whose guests have a user of their"
            " own, with AppArmor or SELinux; the private one as root is for trying out",
        )
    else:
        yield ok("guests run as an ordinary user; neither AppArmor nor SELinux confines them")


def free_places(
    connection: LibvirtConnection,
    reserved: Mapping[InstanceId, Collection[Address]],
    *,
    seconds: float,
) -> Iterator[Finding]:
    """Count how many virtio disks each running guest can still be given.

    ``reserved`` has every instance to look at, with the addresses that its rows have. Ends after
    so many seconds, and says then how many it came to.
    """
    guests, end = LibvirtGuests(connection), time.monotonic() + seconds
    left: dict[str, int] = {}
    looked = 0
    for instance, addresses in reserved.items():
        if time.monotonic() > end:
            yield warning(f"looked at {looked} of {len(reserved)} guests", "look again when idle")
            break
        looked += 1
        try:
            guest = guests.describe(instance)
        except DomainNotFound:
            continue
        if guest.live is not None:
            left[f"{guest.name} ({instance})"] = _free(guest, addresses)
    yield from _said_of(left)


def block_drivers(wanted: Sequence[str], *, needed: Collection[str]) -> Iterator[Finding]:
    """Ask QEMU's own tool which ways to storage it knows; they are modules that may be missing."""
    tool = shutil.which("qemu-img")
    if tool is None:
        yield failed("qemu-img is not here", "install qemu-utils")
        return
    known = [name for name in wanted if _knows(tool, name)]
    for name in wanted:
        if name not in known and name in needed:
            yield failed(f"QEMU has no block driver for {name}", "install qemu-block-extra")
    lacking = [name for name in wanted if name not in known]
    said = f"QEMU reaches by itself: {', '.join(known) or 'nothing'}"
    yield ok(said + (f"; not: {', '.join(lacking)}" if lacking else ""))


def _version(name: str, number: int) -> Finding:
    found = (number // 1_000_000, number // 1_000 % 1_000, number % 1_000)
    said = f"{name} {'.'.join(map(str, found))}"
    if found < LEAST[name]:
        least = ".".join(map(str, LEAST[name][:2]))
        return failed(
            f"{said}; {least} is the least, {TRIED[name]} was tried", f"install a newer {name}"
        )
    return ok(f"{said} (tried with {TRIED[name]})")


def _free(guest: Guest, reserved: Collection[Address]) -> int:
    """Count places that neither layout has taken, nor a row: one plugged in goes into both."""
    offered = [set(layout.places.get(Bus.VIRTIO, ())) for layout in guest.layouts]
    taken = set(reserved).union(*(layout.taken for layout in guest.layouts))
    return len(set.intersection(*offered) - taken)


def _said_of(left: Mapping[str, int]) -> Iterator[Finding]:
    full = [name for name, free in left.items() if free == 0]
    for name in full:
        yield warning(
            f"{name} has no place for another virtio disk",
            "detach one, give the machine more pcie_ports when it is built, or use bus scsi",
        )
    if not left:
        yield ok("no instance of this host runs")
    elif len(full) < len(left):
        least = min((free, name) for name, free in left.items() if free)
        yield ok(f"{len(left)} run; the least free places for virtio disks: {least[0]}, {least[1]}")


def _knows(tool: str, driver: str) -> bool:
    """An unknown driver is refused by name, before anything it lacks is."""
    named = f"json:{json.dumps({'driver': driver})}"
    done = subprocess.run(
        [tool, "info", named],
        capture_output=True,
        text=True,
        timeout=PROBED_WITHIN,
        check=False,
        env={"LC_ALL": "C"},
    )
    return f"Unknown driver '{driver}'" not in done.stderr
