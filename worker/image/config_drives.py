"""Config drives: ISO 9660 images that a guest reads at boot."""

from collections.abc import Mapping

from worker.errors import NoRoom
from worker.model.ids import InstanceId
from worker.model.source import HostVolume
from worker.ports import ConfigDrives


class IsoConfigDrives(ConfigDrives):
    """A file an instance, beside its local disks."""

    def write(self, instance: InstanceId, files: Mapping[str, bytes]) -> HostVolume:
        """Make the drive of these files, by path, or make it anew."""
        raise NoRoom(f"{instance} {sorted(files)}: config drives are not made yet")

    def find(self, instance: InstanceId) -> HostVolume | None:
        """Return where the drive is, None where there is none."""
        raise NoRoom(f"{instance}: config drives are not made yet")

    def delete(self, instance: InstanceId) -> None:
        """Delete the drive; one that is not there is fine."""
        raise NoRoom(f"{instance}: config drives are not made yet")
