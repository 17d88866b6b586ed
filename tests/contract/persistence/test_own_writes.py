"""A request sees what it has written, before anybody else does; the fake database's included."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from tests import fakes
from tests.contract.persistence.scenes import HOST, a_device, an_instance, reserved
from tests.fakes.world import World
from worker.errors import InstanceNotFound
from worker.model.block_device import BlockDevice, DeviceStatus
from worker.model.connection import Connection
from worker.model.ids import AttachmentId, new_uuid
from worker.model.instance import Instance, TaskState, VmState
from worker.persistence.repositories import Repositories
from worker.ports import BlockDevices, Connections, Instances

CONNECTION = Connection(protocol="fake", properties={"device_path": "/dev/x"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What one request reads and writes by; ``lose`` is a crash before its next commit."""

    devices: BlockDevices
    connections: Connections
    instances: Instances
    commit: Callable[[], None]
    lose: Callable[[], None]


def fake(world: World) -> Request:
    ports = fakes.ports(world)
    return Request(
        devices=ports.devices,
        connections=ports.connections,
        instances=ports.instances,
        commit=world.commit,
        lose=world.crash,
    )


def real(repositories: Repositories) -> Request:
    call = repositories.for_call()
    return Request(
        devices=call.devices,
        connections=call.connections,
        instances=call.instances,
        commit=call.unit.commit,
        lose=lambda: None,
    )


MakeRequest = Callable[[], Request]


@pytest.fixture(params=["fake", "real"])
def make(request: pytest.FixtureRequest, repositories: Repositories) -> MakeRequest:
    world = World()
    return (lambda: fake(world)) if request.param == "fake" else (lambda: real(repositories))


@pytest.fixture
def instance(make: MakeRequest) -> Instance:
    found = an_instance(host=HOST)
    make().instances.insert(found)
    return found


@pytest.fixture
def row(make: MakeRequest, instance: Instance) -> BlockDevice:
    asked = make()
    device = a_device(instance=instance.uuid)
    asked.devices.insert(device, reserved(device))
    return asked.devices.get(device.uuid)


def test_a_row_that_was_saved_is_read_as_saved(make: MakeRequest, row: BlockDevice) -> None:
    asked = make()
    held = AttachmentId(new_uuid())
    seen = replace(row, attachment=held, status=DeviceStatus.MISSING, wwid="naa.6001")
    asked.devices.save(seen)

    (found,) = asked.devices.of_instance(row.instance)
    assert (found.attachment, found.status) == (held, DeviceStatus.MISSING)
    assert [one.uuid for one in asked.devices.missing()] == [row.uuid]
    assert asked.devices.get(row.uuid) == found
    assert asked.devices.bearing(row.instance, row.alias) == found
    assert asked.devices.holding(held) == found
    assert asked.devices.called("naa.6001") == (found,)
    assert asked.devices.called("naa.6002") == ()
    asked.lose()
    (kept,) = make().devices.of_instance(row.instance)
    assert (kept.attachment, kept.status, kept.wwid) == (None, DeviceStatus.RESERVED, None)


def test_a_row_that_was_removed_is_gone_and_remembered(make: MakeRequest, row: BlockDevice) -> None:
    asked = make()
    asked.devices.remove(row)
    assert asked.devices.of_instance(row.instance) == ()
    assert asked.devices.get(row.uuid).deleted
    asked.commit()
    assert make().devices.of_instance(row.instance) == ()


def test_a_connection_that_was_kept_is_read_and_one_that_was_dropped_is_not(
    make: MakeRequest, row: BlockDevice
) -> None:
    asked = make()
    asked.connections.put(row, CONNECTION)
    assert asked.connections.get(row.uuid) == CONNECTION
    assert [one.device for one in asked.connections.list()] == [row.uuid]
    asked.connections.drop(row.uuid)
    assert asked.connections.get(row.uuid) is None
    assert asked.connections.list() == ()


def test_an_instance_that_was_saved_or_removed_is_read_so(
    make: MakeRequest, instance: Instance
) -> None:
    asked = make()
    asked.instances.save(replace(instance, vm_state=VmState.PAUSED))
    assert asked.instances.get(instance.uuid).vm_state is VmState.PAUSED
    assert [one.vm_state for one in asked.instances.list()] == [VmState.PAUSED]
    asked.instances.remove(instance.uuid)
    assert asked.instances.list() == ()
    with pytest.raises(InstanceNotFound):
        asked.instances.get(instance.uuid)


@pytest.mark.parametrize("was", [None, TaskState.REBOOTING])
def test_a_task_is_changed_where_it_was_as_said_and_nothing_else_is(
    make: MakeRequest, instance: Instance, was: TaskState | None
) -> None:
    asked = make()
    before = replace(instance, task_state=was, vm_state=VmState.PAUSED)
    asked.instances.save(before)
    asked.instances.change_task(
        instance.uuid, was=TaskState.POWERING_ON, becomes=TaskState.DELETING
    )
    assert asked.instances.get(instance.uuid) == before
    asked.instances.change_task(instance.uuid, was=was, becomes=TaskState.POWERING_OFF)
    assert asked.instances.get(instance.uuid) == replace(before, task_state=TaskState.POWERING_OFF)
    asked.commit()
    asked.instances.change_task(instance.uuid, was=TaskState.POWERING_OFF, becomes=None)
    asked.commit()
    assert make().instances.get(instance.uuid) == replace(before, task_state=None)
