"""Disks that are files of this host."""

from worker.errors import NoRoom
from worker.model.ids import BlockDeviceId, InstanceId
from worker.model.image import ImageFile
from worker.model.source import HostVolume
from worker.model.specification import LocalDisk
from worker.ports import LocalDisks


class FileLocalDisks(LocalDisks):
    """A folder an instance, a file a disk."""

    def check_room(self, size: int) -> None:
        """Raise NoRoom unless that many bytes more fit on the host."""
        raise NoRoom(f"{size} bytes: local disks are not made yet")

    def create(self, instance: InstanceId, disk: LocalDisk, image: ImageFile | None) -> None:
        """Make the disk's file, of the image or blank."""
        raise NoRoom(f"{instance} {disk.uuid} {image}: local disks are not made yet")

    def find(self, instance: InstanceId, disk: LocalDisk) -> HostVolume | None:
        """Return where the disk is, None where it is not."""
        raise NoRoom(f"{instance} {disk.uuid}: local disks are not made yet")

    def delete(self, instance: InstanceId, disk: BlockDeviceId) -> None:
        """Delete the disk's file; one that is not there is fine."""
        raise NoRoom(f"{instance} {disk}: local disks are not made yet")
