"""The one thing that an API tier writes: a reservation of its own, given back.

Its worker may be dead, or silent, and whoever asked must not find the volume reserved for ever. It
is a compare-and-swap from ``reserved``, as a worker's own release is: an attach that has begun
keeps the row, and one that begins later finds it gone (docs/adr/0037-the-api-tier.md).
"""

from worker.errors import BlockDeviceNotFound, DeviceWrongState
from worker.model.block_device import BlockDevice, DeviceStatus
from worker.model.update import Event, Update
from worker.persistence.database import Database
from worker.persistence.repositories import Repositories
from worker.ports import Clock


class GivingBack:
    """Gives reservations back, on any host; may be shared by threads."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def release(self, host: str, device: BlockDevice) -> bool:
        """Delete the row and tell it, at once, if it is still reserved; return whether it was."""
        if device.deleted or device.status is not DeviceStatus.RESERVED:
            return False
        repositories = Repositories(self._database, host, self._clock).for_call()
        told = Update(event=Event.RELEASED, instance=device.instance, block_device=device)
        try:
            repositories.devices.release(device, told)
        except (DeviceWrongState, BlockDeviceNotFound):
            return False
        return True
