"""What a rescue is planned from."""

from collections.abc import Sequence
from dataclasses import dataclass

from worker.errors import NotRescuable
from worker.model.block_device import BlockDevice
from worker.model.guest import Guest, Layout
from worker.model.ids import OperationId
from worker.model.image import Image
from worker.model.instance import Instance
from worker.model.peripheral import Peripheral
from worker.model.rescue.words import RescueSettings
from worker.model.source import DiskFormat


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """An instance, its guest, and an image; ``rows`` and ``peripherals`` are the live ones."""

    operation: OperationId
    instance: Instance
    guest: Guest
    rows: Sequence[BlockDevice]
    peripherals: Sequence[Peripheral]
    image: Image
    settings: RescueSettings
    local_format: DiskFormat = DiskFormat.QCOW2

    @property
    def layout(self) -> Layout:
        """The layout over which the guest runs in rescue; raises NotRescuable without one."""
        if self.guest.persistent is None:
            message = f"the hypervisor forgets domain {self.guest.name} when it is off"
            raise NotRescuable(message)
        return self.guest.persistent
