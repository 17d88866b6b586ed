"""A volume service without one, and this host's side of it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tests.fakes.world import World
from worker.errors import (
    AttachmentNotFound,
    ConnectFailed,
    EncryptionUnsupported,
    KeyNotFound,
    NotLuks,
    ProtocolUnsupported,
    RequestMalformed,
    VolumeInUse,
    VolumeNotFound,
    VolumeTaken,
)
from worker.model.connection import Connection
from worker.model.guest_secret import GuestSecret, SecretUse
from worker.model.ids import AttachmentId, InstanceId, VolumeId, new_uuid
from worker.model.secret import Secret
from worker.model.source import BlockSource, DiskOptions, FileSource, HostVolume, Seen
from worker.model.volume import (
    Attachment,
    AttachmentStatus,
    Encryption,
    NewVolume,
    PoolVolume,
    Volume,
    VolumeStatus,
)
from worker.ports import Attachments, Connector, Keys, PoolReading, PoolVolumes, Volumes

PASSWORD = "sesame-open-7391"

LOGIN = GuestSecret(use=SecretUse.ISCSI, value=Secret(PASSWORD))

LUKS_HEADER = 2 << 20

UNSPOKEN = "carrier-pigeon"
"""A protocol that the host does not know."""

STATUS_WITH = {
    AttachmentStatus.RESERVED: VolumeStatus.RESERVED,
    AttachmentStatus.ATTACHING: VolumeStatus.ATTACHING,
    AttachmentStatus.ATTACHED: VolumeStatus.IN_USE,
}
"""What a volume is with such an attachment; of several, with the last in this order."""


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

    def encryption(self, volume: VolumeId) -> Encryption:
        if not self.show(volume).encrypted:
            message = f"volume {volume} is not encrypted"
            raise EncryptionUnsupported(message)
        return Encryption(provider="luks")

    def begin_detaching(self, volume: VolumeId) -> None:
        found = self.show(volume)
        if found.status is VolumeStatus.IN_USE and not found.multiattach:
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

    def of_instance(self, instance: InstanceId) -> tuple[Attachment, ...]:
        return tuple(held for held in self.world.attachments.values() if held.instance == instance)

    def create(self, volume: VolumeId, instance: InstanceId) -> Attachment:
        found = self.find(volume, instance)
        if found is not None:
            return found
        if volume not in self.world.volumes:
            message = f"no volume {volume}"
            raise VolumeNotFound(message)
        wanted = self.world.volumes[volume]
        if wanted.status is not VolumeStatus.AVAILABLE and not wanted.multiattach:
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
        if found.connection is not None:
            return found.connection
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
            self.world.volumes[volume.id] = replace(volume, status=self._status_of(volume.id))

    def _status_of(self, volume: VolumeId) -> VolumeStatus:
        held = {one.status for one in self.world.attachments.values() if one.volume == volume}
        last = [STATUS_WITH[status] for status in STATUS_WITH if status in held]
        return last[-1] if last else VolumeStatus.AVAILABLE

    def _keep(self, attachment: Attachment, status: VolumeStatus) -> None:
        self.world.attachments[attachment.id] = attachment
        volume = self.world.volumes[attachment.volume]
        self.world.volumes[volume.id] = replace(volume, status=status)


class FakeKeys(Keys):
    """Every volume has a key, unless it was ``lost``."""

    def __init__(self, world: World) -> None:
        self.world = world

    def passphrase(self, volume: VolumeId, encryption: Encryption) -> Secret:
        name = encryption.key or volume
        if name in self.world.lost_keys:
            message = f"no key {name}"
            raise KeyNotFound(message)
        return Secret(f"open {name}")


class FakePoolVolumes(PoolVolumes):
    def __init__(self, world: World) -> None:
        self.world = world

    def confirm(self, wanted: NewVolume) -> None:
        there = self.world.volumes[wanted.id]
        asked = (wanted.name, wanted.multiattach, wanted.encrypted, wanted.project_id)
        kept = (there.name, there.multiattach, there.encrypted, there.project_id)
        same = (wanted.size or there.size, *asked) == (there.size, *kept)
        if wanted.path is not None or not same:
            message = f"volume {wanted.id} exists and is another one"
            raise VolumeTaken(message)

    def create(self, wanted: NewVolume) -> Volume:
        assert (wanted.size is None) != (wanted.path is None)
        if (wanted.size or 0) > self.world.pool_room:
            message = f"{wanted.size} bytes are more than the filesystem takes"
            raise RequestMalformed(message)
        made = Volume(
            id=wanted.id,
            size=wanted.size or 1 << 20,
            status=VolumeStatus.AVAILABLE,
            name=wanted.name,
            multiattach=wanted.multiattach,
            encrypted=wanted.encrypted,
            project_id=wanted.project_id,
        )
        return self.world.volumes.setdefault(wanted.id, made)

    def check_growth(self, volume: VolumeId, size: int) -> None:
        if volume not in self.world.volumes:
            message = f"no volume {volume}"
            raise VolumeNotFound(message)
        there = self.world.volumes[volume]
        if size < there.size:
            message = f"volume {volume} has {there.size} bytes"
            raise RequestMalformed(message)

    def grow(self, volume: VolumeId, size: int) -> Volume:
        self.check_growth(volume, size)
        there = self.world.volumes[volume]
        grown = self.world.volumes[volume] = replace(there, size=size)
        return grown

    def delete(self, volume: VolumeId) -> None:
        if any(held.volume == volume for held in self.world.attachments.values()):
            message = f"volume {volume} is attached"
            raise VolumeInUse(message)
        self.world.volumes.pop(volume, None)

    def list(self) -> tuple[Volume, ...]:
        return tuple(self.world.volumes.values())


class WorldPool(PoolReading):
    """The volumes of a world as rows of the pool."""

    def __init__(self, world: World) -> None:
        self.world = world

    def volumes(self) -> tuple[PoolVolume, ...]:
        return tuple(map(_row, self.world.volumes.copy().values()))

    def volume(self, volume: VolumeId) -> PoolVolume | None:
        found = self.world.volumes.get(volume)
        return None if found is None else _row(found)


def _row(volume: Volume) -> PoolVolume:
    return PoolVolume(volume=volume, path=f"/dev/{volume.id}", owned=True)


class FakeConnector(Connector):
    """Refuses, as a kernel would, to drop a device that a guest has open; to ask for it is harm.

    A host has a volume once, for however many guests, and one disconnect takes it from all.
    """

    def __init__(self, world: World) -> None:
        self.world = world

    def properties(self) -> Mapping[str, Any]:
        return {"host": "host-1", "initiator": "iqn.2026-01.org.example:host-1"}

    def connect(self, connection: Connection) -> HostVolume:
        _check_spoken(connection)
        volume = _volume_in(connection)
        if volume in self.world.unreachable:
            message = f"volume {volume} cannot be reached"
            raise ConnectFailed(message)
        self.world.connected.add(volume)
        shown = _shown_by(connection)
        return replace(shown, secrets=(LOGIN,)) if volume in self.world.guarded else shown

    def find(self, connection: Connection) -> HostVolume | None:
        volume = _volume_in(connection)
        return _shown_by(connection) if volume in self.world.connected else None

    def examine(self, volume: HostVolume) -> Seen:
        found = _volume_at(volume.source.name)
        assert found in self.world.connected
        if volume.encrypted and found in self.world.plain:
            message = f"volume {found} is not in LUKS format"
            raise NotLuks(message)
        size = self.world.size(found)
        payload = size - LUKS_HEADER if volume.encrypted else None
        return Seen(size=size, wwid=self.world.wwids.get(found), payload=payload)

    def extend(self, connection: Connection) -> int:
        _check_spoken(connection)
        volume = _volume_in(connection)
        if volume not in self.world.connected:
            message = f"volume {volume} is not on this host"
            raise ConnectFailed(message)
        if volume in self.world.guarded and "auth_password" not in connection.properties:
            message = f"the storage asks for the password of volume {volume}"
            raise ConnectFailed(message)
        return self.world.size(volume)

    def disconnect(self, connection: Connection, *, force: bool = False) -> None:
        _check_spoken(connection)
        volume = _volume_in(connection)
        if volume in self.world.connected and self._open(volume):
            self.world.harm.append(f"volume {volume} was to be pulled from under its guest")
            raise AssertionError(self.world.harm[-1])
        self.world.connected.discard(volume)

    def _open(self, volume: VolumeId) -> bool:
        guests = self.world.guests.values()
        disks = [
            disk for guest in guests for disk in (*guest.live.values(), *guest.copies.values())
        ]
        return any(_volume_at(disk.source.name) == volume for disk in disks)


def _check_spoken(connection: Connection) -> None:
    if connection.protocol == UNSPOKEN:
        message = f"cannot connect volumes over {UNSPOKEN}"
        raise ProtocolUnsupported(message)


def _volume_in(connection: Connection) -> VolumeId:
    return _volume_at(connection.properties["device_path"])


def _volume_at(path: str) -> VolumeId:
    return VolumeId(path.rpartition("/")[2])


def _shown_by(connection: Connection) -> HostVolume:
    path = connection.properties["device_path"]
    source = FileSource(path=path) if path.startswith("/files/") else BlockSource(path=path)
    return HostVolume(source=source, options=DiskOptions(io="native"))
