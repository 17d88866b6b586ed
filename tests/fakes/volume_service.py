"""A volume service without one, and this host's side of it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tests.fakes.world import World
from worker.errors import AttachmentNotFound, VolumeInUse, VolumeNotFound
from worker.model.connection import Connection
from worker.model.ids import AttachmentId, InstanceId, VolumeId, new_uuid
from worker.model.source import BlockSource, DiskOptions, HostVolume
from worker.model.volume import Attachment, AttachmentStatus, Volume, VolumeStatus
from worker.ports import Attachments, Connector, PoolVolumes, Volumes

PASSWORD = "sesame-open-7391"


def connection_of(volume: VolumeId) -> Connection:
    return Connection(
        protocol="fake",
        properties={"device_path": f"/dev/{volume}", "auth_password": PASSWORD},
    )


class FakeVolumes(Volumes):
    def __init__(self, world: World) -> None:
        self.world = world

    def show(self, volume: VolumeId) -> Volume:
        try:
            return self.world.volumes[volume]
        except KeyError as error:
            message = f"no volume {volume}"
            raise VolumeNotFound(message) from error

    def begin_detaching(self, volume: VolumeId) -> None:
        if self.show(volume).status is VolumeStatus.IN_USE:
            self._set(volume, VolumeStatus.DETACHING)

    def roll_detaching(self, volume: VolumeId) -> None:
        if self.show(volume).status is VolumeStatus.DETACHING:
            self._set(volume, VolumeStatus.IN_USE)

    def _set(self, volume: VolumeId, status: VolumeStatus) -> None:
        self.world.volumes[volume] = replace(self.show(volume), status=status)


class FakeAttachments(Attachments):
    def __init__(self, world: World) -> None:
        self.world = world

    def get(self, attachment: AttachmentId) -> Attachment:
        try:
            return self.world.attachments[attachment]
        except KeyError as error:
            message = f"no attachment {attachment}"
            raise AttachmentNotFound(message) from error

    def find(self, volume: VolumeId, instance: InstanceId) -> Attachment | None:
        for attachment in self.world.attachments.values():
            if (attachment.volume, attachment.instance) == (volume, instance):
                return attachment
        return None

    def create(self, volume: VolumeId, instance: InstanceId) -> Attachment:
        found = self.find(volume, instance)
        if found is not None:
            return found
        if volume not in self.world.volumes:
            message = f"no volume {volume}"
            raise VolumeNotFound(message)
        if self.world.volumes[volume].status is not VolumeStatus.AVAILABLE:
            message = f"volume {volume} is in use"
            raise VolumeInUse(message)
        attachment = Attachment(
            id=AttachmentId(new_uuid()),
            volume=volume,
            instance=instance,
            status=AttachmentStatus.RESERVED,
        )
        self._keep(attachment, VolumeStatus.RESERVED)
        return attachment

    def connect(self, attachment: AttachmentId, connector: Mapping[str, Any]) -> Connection:
        assert connector["host"]
        found = self.get(attachment)
        connection = connection_of(found.volume)
        self._keep(
            replace(found, status=AttachmentStatus.ATTACHING, connection=connection),
            VolumeStatus.ATTACHING,
        )
        return connection

    def complete(self, attachment: AttachmentId) -> None:
        found = replace(self.get(attachment), status=AttachmentStatus.ATTACHED)
        self._keep(found, VolumeStatus.IN_USE)

    def delete(self, attachment: AttachmentId) -> None:
        found = self.world.attachments.pop(attachment, None)
        if found is not None:
            volume = self.world.volumes[found.volume]
            self.world.volumes[volume.id] = replace(volume, status=VolumeStatus.AVAILABLE)

    def _keep(self, attachment: Attachment, status: VolumeStatus) -> None:
        self.world.attachments[attachment.id] = attachment
        volume = self.world.volumes[attachment.volume]
        self.world.volumes[volume.id] = replace(volume, status=status)


class FakePoolVolumes(PoolVolumes):
    def __init__(self, world: World) -> None:
        self.world = world

    def create(
        self, volume: VolumeId, *, size: int | None, path: str | None, name: str, multiattach: bool
    ) -> Volume:
        assert (size is None) != (path is None)
        made = Volume(
            id=volume,
            size=size or 1 << 20,
            status=VolumeStatus.AVAILABLE,
            name=name,
            multiattach=multiattach,
        )
        return self.world.volumes.setdefault(volume, made)

    def delete(self, volume: VolumeId) -> None:
        if any(held.volume == volume for held in self.world.attachments.values()):
            message = f"volume {volume} is attached"
            raise VolumeInUse(message)
        self.world.volumes.pop(volume, None)

    def list(self) -> tuple[Volume, ...]:
        return tuple(self.world.volumes.values())


class FakeConnector(Connector):
    """Refuses, as a kernel would, to drop a device that a guest has open."""

    def __init__(self, world: World) -> None:
        self.world = world

    def properties(self) -> Mapping[str, Any]:
        return {"host": "host-1", "initiator": "iqn.2026-01.org.example:host-1"}

    def connect(self, connection: Connection) -> HostVolume:
        path = connection.properties["device_path"]
        self.world.connected.add(VolumeId(path.removeprefix("/dev/")))
        return HostVolume(source=BlockSource(path=path), options=DiskOptions(io="native"))

    def size(self, volume: HostVolume) -> int:
        found = VolumeId(volume.source.path.removeprefix("/dev/"))
        assert found in self.world.connected
        return self.world.sizes.get(found, self.world.volumes[found].size)

    def disconnect(self, connection: Connection, *, force: bool = False) -> None:
        path = connection.properties["device_path"]
        assert not self._open(path), "a live device was pulled from under its guest"
        self.world.connected.discard(VolumeId(path.removeprefix("/dev/")))

    def _open(self, path: str) -> bool:
        disks = [disk for guest in self.world.guests.values() for disk in guest.live.values()]
        return any(disk.source == BlockSource(path=path) for disk in disks)
