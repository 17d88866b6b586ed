"""Rows to begin with, and how to look at what is durable."""

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Table, event, func, select

from worker.model.block_device import BlockDevice, Bus
from worker.model.ids import (
    BlockDeviceId,
    InstanceId,
    OperationId,
    PeripheralId,
    PortId,
    VolumeId,
    new_uuid,
)
from worker.model.instance import Instance, VmState
from worker.model.operation import Operation
from worker.model.peripheral import Peripheral
from worker.model.places.address import PciAddress
from worker.model.specification import Interface, InterfaceKind
from worker.model.update import Event, Update
from worker.persistence.database import Database
from worker.persistence.repositories import Repositories
from worker.ports import Clock

HOST = "host-1"
START = datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)


class SteppedClock(Clock):
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.at = START

    def now(self) -> datetime:
        return self.at

    def pass_seconds(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


SLOTS = itertools.count(1)


def an_instance(**fields: Any) -> Instance:  # noqa: ANN401 - of any field
    given: dict[str, Any] = {
        "uuid": InstanceId(new_uuid()),
        "host": HOST,
        "name": "guest",
        "vm_state": VmState.ACTIVE,
    }
    return Instance(**(given | fields))


def a_device(**fields: Any) -> BlockDevice:  # noqa: ANN401 - of any field
    """Return a device that collides with no other."""
    slot = next(SLOTS)
    volume = VolumeId(new_uuid())
    given: dict[str, Any] = {
        "uuid": BlockDeviceId(new_uuid()),
        "instance": InstanceId(new_uuid()),
        "volume": volume,
        "device_name": f"/dev/vd-{slot}",
        "bus": Bus.VIRTIO,
        "alias": f"ua-{volume}",
        "serial": volume,
        "address": PciAddress(bus=slot % 256, slot=slot // 256 % 32),
    }
    return BlockDevice(**(given | fields))


def an_interface(**fields: Any) -> Peripheral:  # noqa: ANN401 - of any field
    """Return an interface that collides with no other."""
    slot = next(SLOTS)
    port = PortId(new_uuid())
    mac = f"52:54:00:00:{slot // 256 % 256:02x}:{slot % 256:02x}"
    given: dict[str, Any] = {
        "uuid": PeripheralId(new_uuid()),
        "instance": InstanceId(new_uuid()),
        "what": Interface(port=port, kind=InterfaceKind.USER, mac=mac),
        "alias": f"ua-{port}",
        "address": PciAddress(bus=slot % 256, slot=slot // 256 % 32),
    }
    return Peripheral(**(given | fields))


def an_operation(**fields: Any) -> Operation:  # noqa: ANN401 - of any field
    given: dict[str, Any] = {
        "id": OperationId(new_uuid()),
        "method": "attach_volume",
        "arguments": {"instance_uuid": "i", "bdm_uuid": "b"},
        "lane": "lane",
    }
    return Operation(**(given | fields))


def reserved(device: BlockDevice) -> Update:
    return Update(event=Event.RESERVED, instance=device.instance, block_device=device)


def released(device: BlockDevice) -> Update:
    return Update(event=Event.RELEASED, instance=device.instance, block_device=device)


def insert(repositories: Repositories, device: BlockDevice) -> BlockDevice:
    repositories.for_call().devices.insert(device, reserved(device))
    return repositories.for_call().devices.get(device.uuid)


def count(database: Database, table: Table) -> int:
    """Return how many rows another connection sees."""
    query = select(func.count()).select_from(table)
    return database.read(lambda connection: connection.execute(query).scalar_one())


def steps_of_sqlite(database: Database) -> list[int]:
    """Return a list that grows by one for each hundred steps of SQLite's, from now on."""
    steps: list[int] = []

    def count(opened: Any, _: object) -> None:  # noqa: ANN401 - the driver's connection
        opened.set_progress_handler(lambda: steps.append(1), 100)

    database.close()
    event.listen(database.engine, "connect", count)
    return steps
