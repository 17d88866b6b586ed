"""Whether an adopted guest had an interface or a host device before, or was given it by us."""

from uuid import UUID, uuid5

from worker.model.host_device import HostDevice
from worker.model.ids import InstanceId, PeripheralId
from worker.model.peripheral import Peripheral
from worker.model.places.address import Address
from worker.model.specification import Interface

DRAWN = 4
"""The version of a UUID that was drawn at random."""


def id_of_found(instance: InstanceId, device: str) -> PeripheralId:
    """Return the id of a row that is made of what a guest has; ``device`` says it for people.

    The same at each try, so that what was let go is not taken in again.
    """
    return PeripheralId(str(uuid5(UUID(instance), device)))


def host_device_at(what: HostDevice | None, place: Address | None) -> str:
    """Say for people what a guest has where."""
    return f"host device {what} at {place}"


def came_with_guest(row: Peripheral) -> bool:
    """Tell whether an adopted guest had it before; if not, the row was made by an attach.

    An attach knows the port of an interface, and the id of its row is its operation's; that of an
    adoption is drawn, that of a migration made of the device.
    """
    if isinstance(row.what, Interface):
        return row.what.port is None
    found = id_of_found(row.instance, host_device_at(row.what, row.address))
    return row.uuid == found or UUID(row.uuid).version == DRAWN
