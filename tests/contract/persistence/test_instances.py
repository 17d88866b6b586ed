from dataclasses import replace

import pytest

from tests.contract.persistence.scenes import SteppedClock, a_device, an_instance, an_interface
from worker.errors import AddressTaken, IdTaken, InstanceNotFound, InstanceTaken, PeripheralTaken
from worker.model.host_device import parse_host_device
from worker.model.identity.marks import Adoption
from worker.model.ids import BlockDeviceId, InstanceId, PeripheralId, PortId, new_uuid
from worker.model.instance import TaskState, VmState
from worker.model.source import DiskFormat
from worker.model.specification import (
    Firmware,
    Interface,
    InterfaceKind,
    LocalDisk,
    Specification,
)
from worker.persistence.database import Database
from worker.persistence.repositories import Repositories


def test_instances_of_a_host_are_kept(repositories: Repositories) -> None:
    instance = an_instance(specification=Specification(vcpus=1, memory=1, metadata={"größe": "1"}))
    call = repositories.for_call()
    call.instances.insert(instance)
    assert call.instances.list() == (instance,)
    call.instances.save(replace(instance, vm_state=VmState.PAUSED, task_state=TaskState.DELETING))
    assert repositories.for_call().instances.get(instance.uuid) == instance
    call.unit.commit()
    found = repositories.for_call().instances.get(instance.uuid)
    assert found == replace(instance, vm_state=VmState.PAUSED, task_state=TaskState.DELETING)


def test_a_task_that_a_newer_release_wrote_is_kept_and_told_as_it_was(
    repositories: Repositories,
) -> None:
    newer = TaskState("resizing")
    assert newer not in list(TaskState)
    instance = an_instance(task_state=newer)
    call = repositories.for_call()
    call.instances.insert(instance)
    call.unit.commit()
    found = repositories.for_call().instances.get(instance.uuid)
    assert found.public()["task_state"] == "resizing"
    call = repositories.for_call()
    call.instances.save(replace(found, vm_state=VmState.PAUSED))
    call.instances.change_task(instance.uuid, was=None, becomes=TaskState.REBOOTING)
    call.unit.commit()
    kept = repositories.for_call().instances.get(instance.uuid)
    assert kept == replace(instance, vm_state=VmState.PAUSED)


def test_a_specification_is_frozen(repositories: Repositories) -> None:
    specification = Specification(
        vcpus=2,
        memory=512,
        firmware=Firmware.UEFI,
        image_properties={"hw_disk_bus": "scsi"},
        disks=(LocalDisk(uuid=BlockDeviceId("d"), size=1 << 30, format=DiskFormat.RAW),),
        interfaces=(Interface(port=PortId("p"), kind=InterfaceKind.TAP, mac="52:54:00:00:00:01"),),
    )
    instance = an_instance(specification=specification)
    call = repositories.for_call()
    call.instances.insert(instance)
    call.instances.save(replace(instance, specification=replace(specification, vcpus=4)))
    call.unit.commit()
    assert call.instances.get(instance.uuid) == instance


def test_an_instance_is_adopted_once(repositories: Repositories) -> None:
    instance = an_instance()
    repositories.for_call().instances.insert(instance)
    with pytest.raises(InstanceTaken):
        repositories.for_call().instances.insert(instance)


def test_an_instance_and_its_rows_are_added_together_or_not_at_all(
    repositories: Repositories,
) -> None:
    instance, other = an_instance(), an_instance()
    rows = [
        a_device(instance=instance.uuid, volume=None, device_name=f"/dev/vd{letter}")
        for letter in "ab"
    ]
    call = repositories.for_call()
    call.instances.insert(instance, rows)
    found = repositories.for_call().devices.of_instance(instance.uuid)
    assert [(row.uuid, row.volume) for row in found] == [(row.uuid, None) for row in rows]
    with pytest.raises(IdTaken):
        repositories.for_call().instances.insert(other, [replace(rows[0], instance=other.uuid)])
    assert repositories.for_call().instances.list() == (instance,)


def test_an_adoption_and_its_peripherals_are_kept_together_or_not_at_all(
    repositories: Repositories,
) -> None:
    instance, other = an_instance(), an_instance()
    stick = an_interface(instance=other.uuid, what=parse_host_device("usb:046d:c52b"))
    call = repositories.for_call()
    call.instances.insert(instance)
    call.instances.insert(other, (), (stick,))
    first = an_interface(instance=instance.uuid)
    awaited = PeripheralId(new_uuid())
    adopted = replace(instance, adoption=Adoption(peripherals=True, awaited=(awaited,)))
    taken = replace(stick, uuid=PeripheralId(new_uuid()), instance=instance.uuid)
    with pytest.raises(PeripheralTaken):
        repositories.for_call().instances.adopt_peripherals(adopted, (first, taken))
    found = repositories.for_call()
    assert found.peripherals.of_instance(instance.uuid) == ()
    assert found.instances.get(instance.uuid) == instance
    repositories.for_call().instances.adopt_peripherals(adopted, (first,))
    found = repositories.for_call()
    assert [one.uuid for one in found.peripherals.of_instance(instance.uuid)] == [first.uuid]
    assert found.instances.get(instance.uuid) == adopted


def test_a_peripheral_is_not_taken_in_where_a_disk_is(repositories: Repositories) -> None:
    instance = an_instance()
    disk = a_device(instance=instance.uuid)
    call = repositories.for_call()
    call.instances.insert(instance, [disk])
    row = an_interface(instance=instance.uuid, address=disk.address)
    with pytest.raises(AddressTaken):
        call.instances.adopt_peripherals(instance, (row,))
    assert call.peripherals.of_instance(instance.uuid) == ()


def test_what_was_built_stays_as_it_was_built(repositories: Repositories) -> None:
    instance = an_instance(specification=Specification(vcpus=2, memory=512))
    call = repositories.for_call()
    call.instances.insert(instance)
    call.instances.adopt_peripherals(instance, (an_interface(instance=instance.uuid),))
    assert repositories.for_call().instances.get(instance.uuid) == instance
    assert len(call.peripherals.of_instance(instance.uuid)) == 1


def test_an_instance_of_another_host_is_not_ours(
    repositories: Repositories, database: Database, clock: SteppedClock
) -> None:
    instance = an_instance()
    repositories.for_call().instances.insert(instance)
    other = Repositories(database, "host-2", clock).for_call().instances
    assert other.list() == ()
    with pytest.raises(InstanceNotFound):
        other.get(instance.uuid)
    with pytest.raises(InstanceTaken):
        other.insert(replace(instance, host="host-2"))


def test_an_unknown_instance_is_not_found(repositories: Repositories) -> None:
    with pytest.raises(InstanceNotFound):
        repositories.for_call().instances.get(InstanceId(new_uuid()))
