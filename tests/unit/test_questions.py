"""Questions: every handler that only reads, and that it only reads."""

import copy
import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tests import fakes
from tests.fakes.volume_service import PASSWORD
from tests.fakes.world import World
from tests.unit import scenes
from tests.unit.scenes import (
    DEVICE,
    INSTANCE,
    OTHER_DEVICE,
    OTHER_VOLUME,
    VOLUME,
    Trouble,
    operation,
    run,
)
from worker.errors import (
    BlockDeviceNotFound,
    InstanceNotFound,
    OperationNotFound,
    RequestMalformed,
    VolumeNotFound,
)
from worker.handlers.get_block_device import GetBlockDevice, get_block_device
from worker.handlers.get_instance import GetInstance, get_instance
from worker.handlers.get_operation import GetOperation, get_operation
from worker.handlers.get_volume import GetVolume, get_volume
from worker.handlers.get_volume_connector import GetVolumeConnector, get_volume_connector
from worker.handlers.list_block_devices import ListBlockDevices, list_block_devices
from worker.handlers.list_instances import ListInstances, list_instances
from worker.handlers.list_operations import ListOperations, list_operations
from worker.handlers.list_volumes import ListVolumes, list_volumes
from worker.handlers.ping import Ping, ping
from worker.model.ids import InstanceId, OperationId, VolumeId, is_uuid, new_uuid
from worker.ports import Ports

NOWHERE = InstanceId("6f9a5bd0-5d50-4f3c-9c35-1a7c61d2e0ff")


@pytest.fixture
def world() -> World:
    """A world with one attached and one reserved volume."""
    world = scenes.world()
    scenes.attach(world)
    scenes.reserve(world, OTHER_VOLUME, OTHER_DEVICE)
    return world


@pytest.fixture
def ports(world: World) -> Ports:
    return fakes.ports(world)


def test_ping_says_who_and_when_and_asks_nobody() -> None:
    answer = ping(Ping(), fakes.ports(World()))

    assert answer["host"] == "host-1"
    assert datetime.fromisoformat(answer["at"]) > datetime(2026, 1, 1, tzinfo=UTC)


def test_the_disks_of_an_instance_come_by_name(ports: Ports) -> None:
    found = list_block_devices(ListBlockDevices(instance_uuid=INSTANCE), ports)

    assert [device["device_name"] for device in found] == ["/dev/vda", "/dev/vdb"]
    assert [device["status"] for device in found] == ["attached", "reserved"]


def test_a_disk_is_found_by_its_volume(ports: Ports) -> None:
    request = GetBlockDevice(instance_uuid=INSTANCE, volume_id=OTHER_VOLUME)

    assert get_block_device(request, ports)["uuid"] == OTHER_DEVICE


def test_what_is_told_of_a_disk_is_plain_and_without_its_connection(ports: Ports) -> None:
    device = get_block_device(GetBlockDevice(instance_uuid=INSTANCE, volume_id=VOLUME), ports)

    assert json.loads(json.dumps(device)) == device
    assert "connection" not in " ".join(device)
    assert PASSWORD not in json.dumps(device)


def test_a_disk_without_an_address_says_so(world: World, ports: Ports) -> None:
    world.rows[DEVICE] = replace(world.rows[DEVICE], address=None)

    device = get_block_device(GetBlockDevice(instance_uuid=INSTANCE, volume_id=VOLUME), ports)

    assert device["address"] is None


def test_a_volume_that_is_not_on_the_instance_is_not_found(ports: Ports) -> None:
    request = GetBlockDevice(instance_uuid=INSTANCE, volume_id=VolumeId(new_uuid()))

    with pytest.raises(BlockDeviceNotFound, match=request.volume_id):
        get_block_device(request, ports)


def test_a_row_that_is_gone_is_not_found(world: World, ports: Ports) -> None:
    run(world, operation("detach_volume", **scenes.detach_arguments()))

    with pytest.raises(BlockDeviceNotFound):
        get_block_device(GetBlockDevice(instance_uuid=INSTANCE, volume_id=VOLUME), ports)


def test_an_instance_that_is_not_here_is_not_found(ports: Ports) -> None:
    with pytest.raises(InstanceNotFound):
        list_block_devices(ListBlockDevices(instance_uuid=NOWHERE), ports)
    with pytest.raises(InstanceNotFound):
        get_block_device(GetBlockDevice(instance_uuid=NOWHERE, volume_id=VOLUME), ports)
    with pytest.raises(InstanceNotFound):
        get_instance(GetInstance(instance_uuid=NOWHERE), ports)


def test_instances_are_listed_and_shown_alike(ports: Ports) -> None:
    shown = get_instance(GetInstance(instance_uuid=INSTANCE), ports)

    assert list_instances(ListInstances(), ports) == [shown]
    assert (shown["name"], shown["vm_state"], shown["host"]) == ("guest-1", "active", "host-1")


def test_volumes_are_listed_and_shown_alike(ports: Ports) -> None:
    shown = get_volume(GetVolume(volume_id=VOLUME), ports)

    assert shown in list_volumes(ListVolumes(), ports)
    assert (shown["status"], shown["size"]) == ("in-use", 1 << 30)


def test_a_volume_that_does_not_exist_is_not_found(ports: Ports) -> None:
    with pytest.raises(VolumeNotFound):
        get_volume(GetVolume(volume_id=VolumeId(new_uuid())), ports)


def test_the_connector_is_the_hosts(ports: Ports) -> None:
    assert get_volume_connector(GetVolumeConnector(), ports)["host"] == "host-1"


def test_an_operation_is_shown_with_its_steps() -> None:
    world = scenes.world()
    scenes.reserve(world)
    asked = operation("attach_volume", **scenes.attach_arguments())
    run(world, asked, Trouble(at=0))

    found = get_operation(GetOperation(operation_id=asked.id), fakes.ports(world))

    assert json.loads(json.dumps(found)) == found
    assert (found["method"], found["state"], found["attempts"]) == ("attach_volume", "failed", 0)
    assert found["fault"]["code"] == "volume_service.unavailable"
    first = found["steps"][0]
    assert (first["number"], first["name"]) == (1, "attachments.find")
    assert (first["outcome"], first["fault"]["code"]) == ("failed", "volume_service.unavailable")
    assert found["started_at"] < first["started_at"] < found["ended_at"]
    assert found["seconds_without_guest"] is None


def test_an_operation_that_waits_has_no_times_and_no_fault(ports: Ports) -> None:
    asked = operation("attach_volume", **scenes.attach_arguments())
    ports.operations.accept(asked)

    found = get_operation(GetOperation(operation_id=asked.id), ports)

    assert (found["state"], found["fault"], found["steps"]) == ("queued", None, [])
    assert (found["started_at"], found["ended_at"], found["expires_at"]) == (None, None, None)


def test_an_operation_that_was_never_asked_is_not_found(ports: Ports) -> None:
    with pytest.raises(OperationNotFound):
        get_operation(GetOperation(operation_id=OperationId(new_uuid())), ports)


@pytest.fixture
def journal(world: World) -> list[str]:
    """A journal of three operations, of which the middle one failed; return the ids."""
    asked = operation("detach_volume", 2, **scenes.detach_arguments())
    world.guests[INSTANCE].busy = True
    run(world, asked)
    run(world, operation("create_volume", 3, volume_id=new_uuid(), size=1))
    kept = list(world.operations)
    other = world.operations[kept[2]]
    world.operations[kept[2]] = replace(other, instance=None, lane="volume")
    return [str(each) for each in kept]


@pytest.mark.parametrize(
    ("request_", "places"),
    [
        (ListOperations(), [2, 1, 0]),
        (ListOperations(limit=1), [2]),
        (ListOperations(limit=0), []),
        (ListOperations(instance_uuid=INSTANCE), [1, 0]),
        (ListOperations(state="failed"), [1]),
        (ListOperations(state="succeeded", instance_uuid=INSTANCE), [0]),
        (ListOperations(state="stuck"), []),
    ],
)
def test_operations_come_newest_first_and_only_those_asked_for(
    journal: list[str], ports: Ports, request_: ListOperations, places: list[int]
) -> None:
    found = list_operations(request_, ports)

    assert [each["operation_id"] for each in found] == [journal[place] for place in places]
    assert all(each["steps"] == [] for each in found)


def test_a_state_that_does_not_exist_is_refused_with_those_that_do(ports: Ports) -> None:
    with pytest.raises(RequestMalformed, match=r"'done'.*queued, running, succeeded, failed"):
        list_operations(ListOperations(state="done"), ports)


def test_a_negative_limit_is_refused(ports: Ports) -> None:
    with pytest.raises(RequestMalformed, match="-1"):
        list_operations(ListOperations(limit=-1), ports)


def test_no_question_changes_anything(world: World, ports: Ports) -> None:
    before = copy.deepcopy(world)

    list_block_devices(ListBlockDevices(instance_uuid=INSTANCE), ports)
    get_block_device(GetBlockDevice(instance_uuid=INSTANCE, volume_id=VOLUME), ports)
    list_operations(ListOperations(), ports)
    list_volumes(ListVolumes(), ports)
    list_instances(ListInstances(), ports)
    get_volume_connector(GetVolumeConnector(), ports)
    get_volume(GetVolume(volume_id=VOLUME), ports)
    ping(Ping(), ports)

    assert world == before
    assert world.pending == []
    assert len(world.told) == len(before.told)


def test_a_uuid_is_one_in_its_canonical_form() -> None:
    assert is_uuid(new_uuid())
    for text in ("", "x", new_uuid().upper() + " ", f"{{{new_uuid()}}}", new_uuid()[:-1]):
        assert not is_uuid(text)
