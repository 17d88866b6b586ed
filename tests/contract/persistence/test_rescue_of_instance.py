"""What an instance in rescue was booted with: kept with it until it has ended, on each database."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from tests.contract.persistence.scenes import START, SteppedClock, an_instance
from worker.model.block_device import Bus, DeviceType
from worker.model.ids import BlockDeviceId, ImageId, OperationId, new_uuid
from worker.model.instance import Instance, TaskState, VmState
from worker.model.places.address import DriveAddress, PciAddress, UsbAddress
from worker.model.rescue.words import Mode, Rescue, Spot
from worker.model.source import DiskFormat
from worker.model.specification import LocalDisk, Specification
from worker.persistence.database import Database
from worker.persistence.purge import purge
from worker.persistence.repositories import Repositories
from worker.persistence.schema import INSTANCES

STABLE = Rescue(
    operation=OperationId(new_uuid()),
    image=ImageId("größe"),
    mode=Mode.STABLE,
    disk=LocalDisk(uuid=BlockDeviceId(new_uuid()), size=(1 << 40) + 512),
    device_type=DeviceType.DISK,
    bus=Bus.USB,
    spot=Spot(target="sdb", address=UsbAddress(port=2)),
    runs=True,
)
RESCUES: dict[str, Rescue] = {
    "stable": STABLE,
    "in rescue since a moment": replace(STABLE, since=START),
    "of a guest that was off, with a drive": replace(STABLE, runs=False, config_drive=True),
    "a medium": replace(
        STABLE,
        disk=replace(STABLE.disk, format=DiskFormat.RAW, image=STABLE.image),
        device_type=DeviceType.CDROM,
        bus=Bus.SATA,
        spot=Spot(target="sdb", address=DriveAddress(kind="sata", unit=1)),
    ),
    "without an address": replace(STABLE, bus=Bus.FDC, spot=Spot(target="fda", address=None)),
    "legacy, with a kernel": replace(
        STABLE,
        mode=Mode.LEGACY,
        bus=Bus.VIRTIO,
        spot=Spot(target="vda", address=PciAddress(bus=3, slot=0)),
        kept=("vda", "sda"),
        moved={"vda": Spot(target="vdb", address=PciAddress(bus=4, slot=0))},
        kernel=ImageId("kernel"),
        ramdisk=ImageId("ramdisk"),
        command_line="console=ttyS0 -- 'x'",
    ),
    "legacy, with no disk of its own": replace(STABLE, mode=Mode.LEGACY, kept=(), moved={}),
}


def saved(repositories: Repositories, instance: Instance) -> Instance:
    """Save it; return it as another request finds it."""
    call = repositories.for_call()
    call.instances.save(instance)
    call.unit.commit()
    return repositories.for_call().instances.get(instance.uuid)


def inserted(repositories: Repositories, **fields: Any) -> Instance:  # noqa: ANN401 - of any field
    instance = an_instance(**fields)
    repositories.for_call().instances.insert(instance)
    return instance


@pytest.mark.parametrize("rescue", RESCUES.values(), ids=RESCUES)
def test_a_rescue_is_kept_as_it_was_decided_changed_and_cleared(
    repositories: Repositories, rescue: Rescue
) -> None:
    instance = inserted(repositories, specification=Specification(vcpus=1, memory=1))
    assert repositories.for_call().instances.get(instance.uuid).rescue is None
    rescued = replace(instance, rescue=rescue)
    assert saved(repositories, rescued) == rescued
    other = replace(rescued, vm_state=VmState.RESCUED, rescue=replace(rescue, since=START))
    assert saved(repositories, other) == other
    assert saved(repositories, instance) == instance


def test_one_that_is_inserted_in_rescue_is_in_it(repositories: Repositories) -> None:
    instance = inserted(repositories, rescue=STABLE)
    assert repositories.for_call().instances.get(instance.uuid) == instance


def test_what_is_said_of_its_task_leaves_the_rescue(repositories: Repositories) -> None:
    instance = inserted(repositories, rescue=STABLE)
    call = repositories.for_call()
    call.instances.change_task(instance.uuid, was=None, becomes=TaskState.UNRESCUING)
    call.unit.commit()
    found = repositories.for_call().instances.get(instance.uuid)
    assert found == replace(instance, task_state=TaskState.UNRESCUING)


def test_those_in_rescue_are_found_of_this_host_alone(
    repositories: Repositories, database: Database, clock: SteppedClock
) -> None:
    instance, over, gone = (inserted(repositories, rescue=STABLE) for _ in range(3))
    inserted(repositories)
    saved(repositories, replace(over, rescue=None))
    call = repositories.for_call()
    call.instances.remove(gone.uuid)
    call.unit.commit()
    elsewhere = Repositories(database, "host-2", clock)
    theirs = inserted(elsewhere, host="host-2", rescue=STABLE)
    assert repositories.for_call().instances.in_rescue() == (instance,)
    assert elsewhere.for_call().instances.in_rescue() == (theirs,)


def by_an_older_release(database: Database, instance: Instance, **values: object) -> None:
    """Write what one writes that knows nothing of the column."""
    which = INSTANCES.c.uuid == instance.uuid
    with database.engine.begin() as connection:
        connection.execute(update(INSTANCES).where(which).values(**values))


def test_an_older_release_that_writes_the_row_leaves_the_rescue(
    repositories: Repositories, database: Database
) -> None:
    instance = inserted(repositories, rescue=STABLE)
    by_an_older_release(database, instance, vm_state="stopped", updated_at=START)
    found = repositories.for_call().instances.get(instance.uuid)
    assert found == replace(instance, vm_state=VmState.STOPPED)


PUBLIC = {"image", "mode", "device_name", "since"}


@pytest.mark.parametrize(
    ("rescue", "told"),
    [
        (STABLE, {"mode": "stable", "device_name": "/dev/sdb", "since": None}),
        (
            RESCUES["in rescue since a moment"],
            {"device_name": "/dev/sdb", "since": "2026-01-01T12:00:00.123456+00:00"},
        ),
        (RESCUES["legacy, with a kernel"], {"mode": "legacy", "device_name": "/dev/vda"}),
    ],
)
def test_what_is_told_of_it_is_where_and_since_when(
    repositories: Repositories, rescue: Rescue, told: dict[str, object]
) -> None:
    instance = inserted(repositories, rescue=rescue)
    (listed,) = repositories.for_call().instances.list()
    public = listed.public()["rescue"]
    assert set(public) == PUBLIC
    assert public.items() >= (told | {"image": "größe"}).items()
    assert repositories.for_call().instances.get(instance.uuid).public() == listed.public()


def test_a_purge_takes_those_that_are_gone_and_none_that_is_in_rescue(
    repositories: Repositories, database: Database, clock: SteppedClock
) -> None:
    instance, gone = (inserted(repositories, rescue=STABLE) for _ in range(2))
    call = repositories.for_call()
    call.instances.remove(gone.uuid)
    call.unit.commit()
    clock.pass_seconds(60)
    assert purge(database, clock.now() - timedelta(seconds=1)).instances == 1
    with database.engine.connect() as connection:
        assert connection.execute(select(INSTANCES.c.uuid)).scalars().all() == [instance.uuid]
