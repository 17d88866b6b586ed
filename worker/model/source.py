"""What libvirt is given as the source of a disk: a closed union, one variant a shape.

A new variant is added here; ``assert_never`` in ``virt/`` then shows every place that must
know it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from worker.model.guest_secret import GuestSecret, SecretUse

ISCSI_PORT = 3260
"""Where a target listens of which nothing else is said (RFC 7143)."""

RBD_PORT = 6789
"""Where a monitor of Ceph's does."""


class DiskFormat(StrEnum):
    """How a file holds a disk (QEMU's names); volumes are always raw."""

    RAW = "raw"
    QCOW2 = "qcow2"


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockSource:
    """A block device of this host."""

    opened_by: ClassVar = ""

    path: str

    @property
    def name(self) -> str:
        """What a layout is read to have as this source."""
        return self.path


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSource:
    """A disk in a file of this host."""

    opened_by: ClassVar = ""

    path: str
    format: DiskFormat = DiskFormat.RAW

    @property
    def name(self) -> str:
        """What a layout is read to have as this source."""
        return self.path


@dataclass(frozen=True, slots=True, kw_only=True)
class IscsiSource:
    """A LUN that QEMU logs in to by itself, as ``initiator``: the host has no device of it.

    ``user`` is who the target knows the password of, where it asks for one (CHAP).
    """

    host: str
    port: int
    iqn: str
    lun: int
    initiator: str
    user: str | None = None

    @property
    def name(self) -> str:
        """What a layout is read to have as this source."""
        return iscsi_name(self.host, self.port, f"{self.iqn}/{self.lun}")

    @property
    def opened_by(self) -> str:
        """What of it may change under the same name."""
        return opened_by(self.user)

    @property
    def portal(self) -> str:
        """The address as iSCSI writes it."""
        return iscsi_portal(self.host, self.port)


@dataclass(frozen=True, slots=True, kw_only=True)
class RbdSource:
    """An image of a Ceph cluster, which QEMU opens by itself, by the monitors at ``hosts``.

    ``user`` is the client without its ``client.``; None where the cluster asks for none.
    """

    pool: str
    image: str
    hosts: tuple[tuple[str, int], ...]
    user: str | None = None

    @property
    def name(self) -> str:
        """What a layout is read to have as this source: monitors come and go."""
        return rbd_name(f"{self.pool}/{self.image}")

    @property
    def opened_by(self) -> str:
        """What of it may change under the same name."""
        return opened_by(self.user, self.hosts)


def rbd_name(image: str) -> str:
    """Name an image, ``<pool>/<image>``."""
    return f"rbd:{image}"


def opened_by(user: str | None, hosts: Iterable[tuple[str, int]] = ()) -> str:
    """Say who opens a source, and by which addresses in whatever order; nothing where none is said.

    A layout is read to have the same.
    """
    places = ",".join(sorted(iscsi_portal(host, port) for host, port in hosts))
    return f"{user or ''}@{places}" if user or places else ""


def iscsi_portal(host: str, port: int) -> str:
    """Write an address; one of IPv6 in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def iscsi_name(host: str, port: int, target: str) -> str:
    """Name a LUN, ``<iqn>/<lun>``, with where it is: one that has moved is another source."""
    return f"iscsi://{iscsi_portal(host, port)}/{target}"


DiskSource = BlockSource | FileSource | IscsiSource | RbdSource


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskOptions:
    """How QEMU treats the source, as the connection says (libvirt's ``<driver>`` attributes).

    Block sizes are in bytes, None for QEMU's own. ``limits`` are rates that it keeps, under the
    names that libvirt has for them (``<iotune>``).
    """

    cache: str = "none"
    io: str | None = None
    discard: str | None = None
    read_only: bool = False
    shareable: bool = False
    logical_block_size: int | None = None
    physical_block_size: int | None = None
    limits: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HostVolume:
    """A connected volume: where it is on this host and how it wants to be treated.

    ``secrets`` are what QEMU needs to open it; with one for a volume its content is LUKS.
    """

    source: DiskSource
    options: DiskOptions
    secrets: tuple[GuestSecret, ...] = ()

    @property
    def encrypted(self) -> bool:
        """Whether its content is LUKS, which QEMU opens."""
        return any(secret.use is SecretUse.VOLUME for secret in self.secrets)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a fresh reading shows of a connected volume: its bytes, and who it says that it is.

    ``wwid`` is the device's own name (VPD page 0x83 of SCSI, the NGUID or EUI of NVMe); None for
    what has none. ``payload`` is how many bytes a guest sees of one that is encrypted.
    """

    size: int
    wwid: str | None = None
    payload: int | None = None
