"""Checks of this host: the hypervisor, the programs and daemons of storage, the folders."""

from collections.abc import Iterator
from pathlib import Path

from worker.health.checks import folders, programs
from worker.model.finding import Finding, ok
from worker.virt import fitness
from worker.volume.qemu_initiator import initiator_name
from worker.wiring.doctor.surroundings import Surroundings
from worker.wiring.images import cache_path, instances_path

LIBVIRT_WITHIN = 3.0
GUESTS_WITHIN = 3.0
"""Seconds: less than a check has, so that it can say what it waited for."""

CINDER_HERE = Path("/etc/cinder/cinder.conf")

QEMU_ISCSI, QEMU_RBD = "iscsi", "rbd"
"""What QEMU reaches by itself, as both QEMU and a volume service call it."""


def hypervisor(here: Surroundings) -> Iterator[Finding]:
    """Look which libvirt and QEMU there are."""
    if _down(here):
        yield from fitness.installed()
        return
    yield from fitness.versions(here.libvirt(LIBVIRT_WITHIN))


def confinement(here: Surroundings) -> Iterator[Finding]:
    """Look whose rights guests have."""
    if _down(here):
        yield ok("told once libvirt runs")
        return
    yield from fitness.confinement(here.libvirt(LIBVIRT_WITHIN))


def places(here: Surroundings) -> Iterator[Finding]:
    """Look how many volumes each guest can still be given while it runs."""
    file = here.database_file
    if _down(here) or (file is not None and not file.exists()):
        yield ok("no instance of this host runs")
        return
    reserved = here.reserved()
    if not reserved:
        yield ok("this host has no instance")
        return
    libvirt = here.libvirt(LIBVIRT_WITHIN)
    yield from fitness.free_places(libvirt, reserved, seconds=GUESTS_WITHIN)


def block_drivers(here: Surroundings) -> Iterator[Finding]:
    """Look what QEMU can reach by itself, without this host's kernel."""
    needed = {QEMU_RBD} & here.protocols()
    if _qemu_logs_in(here):
        needed.add(QEMU_ISCSI)
    yield from fitness.block_drivers((QEMU_ISCSI, QEMU_RBD), needed=needed)


def tools(here: Surroundings) -> Iterator[Finding]:
    """Look for the programs of os-brick, and for the right to run them."""
    used = _used(here)
    yield from programs.rights(used, root_helper=here.conf.volume.root_helper, user=here.user)
    yield from programs.tools(used)


def iscsi(here: Surroundings) -> Iterator[Finding]:
    """Look who logs in to iSCSI targets, and under which name."""
    if _qemu_logs_in(here):
        name = here.conf.volume.iscsi_initiator_name or initiator_name(here.conf.host)
        yield ok(f"QEMU logs in to iSCSI targets, as {name}")
        return
    used = bool({"iscsi", "iser"} & here.protocols())
    said = here.conf.volume
    if not used and said.service == "pool" and said.pool_protocol == "local":
        yield ok("no volume is attached over iSCSI")
        return
    yield from programs.iscsi(programs.sockets(), used=used)


def multipath(here: Surroundings) -> Iterator[Finding]:
    """Look at multipathd, if it is wanted."""
    yield from programs.multipath(
        programs.sockets(),
        wanted=here.conf.volume.multipath,
        enforced=here.conf.volume.enforce_multipath,
    )


def state_folder(here: Surroundings) -> Iterator[Finding]:
    """Look at the worker's own folder and its key."""
    yield from folders.state_folder(here.folder)


def lock_path(here: Surroundings) -> Iterator[Finding]:
    """Look at the folder of os-brick's locks."""
    given = here.conf.volume.lock_path
    cinder = CINDER_HERE if given is None else None
    yield from folders.lock_folder(Path(given or here.folder / "locks"), shared_with=cinder)


def room(here: Surroundings) -> Iterator[Finding]:
    """Look how much room is left."""
    pool = Path(here.conf.volume.pool_path or here.folder / "volumes")
    known = {
        "state": here.folder,
        "images": cache_path(here.conf),
        "local disks": instances_path(here.conf),
    }
    wanted = {"pool": pool} if here.conf.volume.service == "pool" else {}
    yield from folders.room(known | wanted)


def _down(here: Surroundings) -> bool:
    private = here.private_libvirtd()
    return private is not None and not private.running()


def _qemu_logs_in(here: Surroundings) -> bool:
    return bool(here.conf.volume.iscsi_initiator == "qemu")


def _used(here: Surroundings) -> frozenset[str]:
    """Return the protocols in use that need programs of this host."""
    return here.protocols() - ({QEMU_ISCSI} if _qemu_logs_in(here) else set())
