"""Real parts for tests: a private libvirtd, a guest's image, guests that are gone afterwards."""

import shutil
import tempfile
import uuid
from collections.abc import Container, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import libvirt

from tests.rings import require
from worker.cmd.demo.guest import GuestConsole, domain_xml
from worker.cmd.demo.guest_image import GuestImage, GuestImageUnavailable, build_guest_image
from worker.virt.accel import domain_type
from worker.virt.libvirtd.private import PrivateLibvirtd

IMAGE_CACHE = Path(__file__).parent.parent / "build" / "guest"
BOOT_TIMEOUT = 60.0
BOTH = libvirt.VIR_DOMAIN_AFFECT_LIVE | libvirt.VIR_DOMAIN_AFFECT_CONFIG
_WHOLLY = (
    libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
    | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
)


def require_hypervisor() -> None:
    missing = [name for name in ("libvirtd", "qemu-system-x86_64") if not _installed(name)]
    require(not missing, ", ".join(missing))


def _installed(program: str) -> bool:
    # Daemons are installed where the PATH of an ordinary user does not look.
    folders = ("/usr/sbin", "/sbin")
    return bool(shutil.which(program)) or any(Path(at, program).exists() for at in folders)


@contextmanager
def private_libvirtd() -> Iterator[str]:
    """The URI of a libvirtd that ends, with all its guests and files, when the block does."""
    with own_libvirtd() as libvirtd:
        yield libvirtd.start()


@contextmanager
def own_libvirtd() -> Iterator[PrivateLibvirtd]:
    """A libvirtd that runs, and ends with all its guests and files when the block does."""
    require_hypervisor()
    folder = Path(tempfile.mkdtemp(prefix="bw-test-"))
    libvirtd = PrivateLibvirtd(folder / "state")
    try:
        libvirtd.start()
        yield libvirtd
        remove_guests(libvirtd.start())
    finally:
        libvirtd.stop()
        shutil.rmtree(folder)


def remove_guests(uri: str, uuids: Container[str] | None = None) -> None:
    """End and forget these domains of that libvirtd, or all; it is fine if they are gone."""
    # A connection of our own: the test may have killed the libvirtd that its own one led to.
    connection = libvirt.open(uri)
    try:
        for domain in connection.listAllDomains():
            if uuids is None or domain.UUIDString() in uuids:
                _remove(domain)
    finally:
        connection.close()


def _remove(domain: libvirt.virDomain) -> None:
    persistent = domain.isPersistent()
    if domain.isActive():
        try:
            domain.destroy()
        except libvirt.libvirtError:
            # One whose libvirtd has died may turn out to be gone as well.
            if domain.isActive():
                raise
    if persistent:
        domain.undefineFlags(_WHOLLY)


def cached_guest_image(flavour: str = "cloud-amd64") -> GuestImage:
    """The guest's image, from the cache of this checkout."""
    try:
        return build_guest_image(IMAGE_CACHE, flavour)
    except GuestImageUnavailable as error:
        require(False, str(error))  # noqa: FBT003 - does not return
        raise


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """A guest of a test's own; ``domain`` is libvirt's handle on it."""

    uri: str
    uuid: str
    name: str
    domain: libvirt.virDomain
    console: GuestConsole

    @property
    def runs(self) -> bool:
        return bool(self.domain.isActive())

    def wait_for_disk(self, device: str, timeout: float = 20.0) -> None:
        self.console.wait_for(lambda disks: device in disks, timeout)

    def wait_for_no_disk(self, device: str, timeout: float = 20.0) -> None:
        self.console.wait_for(lambda disks: device not in disks, timeout)


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestMaker:
    """Called, it defines and boots a guest with a name of its own."""

    uri: str
    image: GuestImage
    folder: Path
    connection: libvirt.virConnect
    made: list[str] = field(default_factory=list)

    def __call__(
        self,
        *,
        persistent: bool = True,
        booted: bool = True,
        machine: str = "q35",
        ports: int = 10,
        scsi: bool = True,
        usb: bool = False,
        extra_disks: Iterable[str] = (),
    ) -> Guest:
        """Return the guest when it has told of its disks; unless ``booted``, defined and stopped.

        One that is not ``persistent`` is gone when it stops, and cannot but be booted.
        """
        domain_uuid = str(uuid.uuid4())
        log = self.folder / f"{domain_uuid}.log"
        name = f"test-{domain_uuid[:8]}"
        xml = domain_xml(
            name,
            domain_uuid,
            self.image,
            log,
            domain_type=domain_type(),
            machine=machine,
            ports=ports,
            scsi=scsi,
            usb=usb,
            extra_disks=extra_disks,
        )
        self.made.append(domain_uuid)
        domain = self._begin(xml, persistent=persistent, booted=booted)
        console = GuestConsole(log)
        if booted:
            console.wait_for(lambda _disks: True, BOOT_TIMEOUT)
        return Guest(uri=self.uri, uuid=domain_uuid, name=name, domain=domain, console=console)

    def _begin(self, xml: str, *, persistent: bool, booted: bool) -> libvirt.virDomain:
        if not persistent:
            return self.connection.createXML(xml)
        domain = self.connection.defineXML(xml)
        if booted:
            domain.create()
        return domain


@contextmanager
def guest_maker(uri: str, image: GuestImage, folder: Path) -> Iterator[GuestMaker]:
    """A maker whose guests are ended and forgotten with the block; consoles go to ``folder``."""
    connection = libvirt.open(uri)
    maker = GuestMaker(uri=uri, image=image, folder=folder, connection=connection)
    try:
        yield maker
    finally:
        connection.close()
        remove_guests(uri, maker.made)


def found_again(guest: Guest) -> Guest:
    """Return the guest with a handle of its own, good after its libvirtd was started anew."""
    return replace(guest, domain=libvirt.open(guest.uri).lookupByUUIDString(guest.uuid))


def qemu_of(guest: Guest) -> int:
    """Return the process of a guest of ours that runs."""
    found = processes_of(guest.uuid)
    assert len(found) == 1, found
    return found[0]


def processes_of(uuid: str) -> list[int]:
    """Return each process that is this guest's QEMU; none while it is off."""
    return [pid for pid in _processes() if _is_qemu_of(uuid, pid)]


def _processes() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _is_qemu_of(uuid: str, pid: int) -> bool:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return b"qemu" in words[0] and uuid.encode() in words
