"""A volume service whose volumes are images of a Ceph, in Cinder's words."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tests.ceph import POOL, USER, Ceph
from tests.fakes.volume_service import FakeAttachments
from tests.fakes.world import World
from worker.model.connection import Connection
from worker.model.ids import AttachmentId, VolumeId, new_uuid
from worker.model.volume import Volume, VolumeStatus


class CephAttachments(FakeAttachments):
    """Each volume is an image of one of the clusters; a world of its own remembers which."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.clusters: dict[VolumeId, Ceph] = {}
        self.said: dict[str, Any] = {}
        """What it says otherwise."""

    def add(self, ceph: Ceph, size: int, **said: Any) -> VolumeId:  # noqa: ANN401 - of the volume
        """Make a volume."""
        volume = VolumeId(new_uuid())
        ceph.add(image_of(volume), size)
        self.clusters[volume] = ceph
        self.world.volumes[volume] = Volume(
            id=volume, size=size, status=VolumeStatus.AVAILABLE, **said
        )
        return volume

    def grow(self, volume: VolumeId, size: int) -> None:
        """Have a volume that may be in use be as large."""
        self.clusters[volume].resize(image_of(volume), size)
        self.world.volumes[volume] = replace(self.world.volumes[volume], size=size)

    def move(self, volume: VolumeId, **otherwise: object) -> None:
        """Have the volume's attachments say otherwise how it is reached."""
        for held in list(self.world.attachments.values()):
            if held.volume == volume:
                connection = connection_to(self.clusters[volume], volume, **otherwise)
                self.world.attachments[held.id] = replace(held, connection=connection)

    def connect(self, attachment: AttachmentId, connector: Mapping[str, Any]) -> Connection:
        super().connect(attachment, connector)
        found = self.get(attachment)
        connection = connection_to(self.clusters[found.volume], found.volume, **self.said)
        self.world.attachments[attachment] = replace(found, connection=connection)
        return connection


def image_of(volume: str) -> str:
    return f"volume-{volume}"


def connection_to(ceph: Ceph, volume: str, **otherwise: object) -> Connection:
    """Return what Cinder's driver says of such an image; it sends no key."""
    properties = {
        "name": f"{POOL}/{image_of(volume)}",
        "hosts": [ceph.host],
        "ports": [str(ceph.port)],
        "cluster_name": "ceph",
        "auth_enabled": ceph.authentication,
        "auth_username": USER if ceph.authentication else None,
        "secret_type": "ceph",
        "secret_uuid": None,
        "volume_id": volume,
        "discard": True,
        "qos_specs": None,
        "access_mode": "rw",
        "encrypted": False,
    }
    return Connection(protocol="rbd", properties={**properties, **otherwise})
