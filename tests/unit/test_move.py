"""Export, release and import: every mark goes with the instance, and no secret."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests import fakes
from tests.fakes.hypervisor import shown
from tests.fakes.volume_service import PASSWORD, connection_of
from tests.fakes.world import World
from tests.unit import adopt_scenes, scenes
from tests.unit.adopt_scenes import HELD, ROOT, adopted, export, let_go, release, to_import
from tests.unit.scenes import INSTANCE, OTHER_VOLUME, VOLUME, operation, run
from worker.errors import (
    DeviceWrongState,
    DomainTaken,
    IdTaken,
    InstanceTaken,
    InstanceWrongState,
    LocalDiskUnavailable,
    OperationBlocked,
    RequestMalformed,
    VolumeInUse,
    VolumeNotFound,
    WorkerError,
)
from worker.handlers.check_import import CheckImport, check_import
from worker.model.block_device import Bus, DeviceStatus, DeviceType
from worker.model.ids import AttachmentId, BlockDeviceId, ImageId, InstanceId, OperationId
from worker.model.instance import TaskState, VmState
from worker.model.moving.carried import Carried, read, written
from worker.model.operation import Operation, OperationState
from worker.model.rescue.words import Mode, Rescue, Spot
from worker.model.source import FileSource
from worker.model.specification import LocalDisk
from worker.model.volume import AttachmentStatus, VolumeStatus


def bring(world: World, document: str, number: int = 1) -> Operation:
    asked = operation("import_instance", number, instance_uuid=INSTANCE, document=document)
    return run(world, asked)


def marks_of(world: World) -> list[tuple[object, ...]]:
    layout = fakes.ports(world).guests.describe(INSTANCE).persistent
    assert layout is not None
    return [(disk.target, disk.alias, disk.serial, disk.address) for disk in layout.disks]


def identities(world: World) -> set[tuple[object, ...]]:
    return {
        (row.uuid, row.alias, row.serial, row.address, row.device_name, row.unit, row.boot_index)
        for row in world.rows.values()
    }


def test_every_mark_is_the_same_on_the_other_host() -> None:
    source = adopted()
    marks, rows, adoption = marks_of(source), identities(source), source.instances[INSTANCE]
    document = let_go(source)
    target = adopt_scenes.other_host(document, source)
    assert bring(target, document).fault is None
    assert (marks_of(target), identities(target)) == (marks, rows)
    instance = target.instances[INSTANCE]
    assert (instance.task_state, instance.vm_state) == (None, VmState.STOPPED)
    assert instance.adoption == adoption.adoption
    assert {row.status for row in target.rows.values()} == {DeviceStatus.ATTACHED}
    assert target.events()[-2:] == ["instance.import.start", "instance.import.end"]


def test_each_volume_has_a_new_attachment_and_the_old_is_gone() -> None:
    target, document = to_import()
    bring(target, document)
    (held,) = target.attachments.values()
    assert held.id != HELD
    assert (held.volume, held.instance) == (VOLUME, INSTANCE)
    assert held.status is AttachmentStatus.ATTACHED
    (row,) = [row for row in target.rows.values() if not row.local]
    assert row.attachment == held.id
    assert target.connected == {VOLUME}
    assert row.uuid in target.connections


def test_a_volume_service_that_knows_of_no_attachment_makes_one() -> None:
    target, document = to_import()
    target.attachments.clear()
    target.volumes[VOLUME] = replace(target.volumes[VOLUME], status=VolumeStatus.AVAILABLE)
    assert bring(target, document).fault is None
    assert len(target.attachments) == 1


def test_no_secret_is_in_the_document() -> None:
    assert PASSWORD not in export(adopted())


def test_an_export_changes_nothing() -> None:
    world = adopted()
    before = world.copy()
    export(world)
    assert world == before
    assert not world.pending


def run_it(world: World) -> None:
    world.guests[INSTANCE].vm_state = VmState.ACTIVE


def lose_its_layout(world: World) -> None:
    world.guests[INSTANCE].transient = True


def begin_something(world: World) -> None:
    asked = operation("start_instance", 77, instance_uuid=INSTANCE)
    world.operations[asked.id] = asked


def reserve_something(world: World) -> None:
    scenes.reserve(world, OTHER_VOLUME)


@pytest.mark.parametrize(
    ("become", "error"),
    [
        (run_it, InstanceWrongState),
        (lose_its_layout, InstanceWrongState),
        (begin_something, OperationBlocked),
        (reserve_something, DeviceWrongState),
    ],
)
def test_what_is_not_at_rest_is_not_exported(
    become: Callable[[World], None], error: type[WorkerError]
) -> None:
    world = adopted()
    become(world)
    with pytest.raises(error):
        export(world)


def test_a_release_lets_go_of_domain_and_connections_and_keeps_the_rows() -> None:
    world = adopted()
    rows = identities(world)
    release(world)
    assert (world.guests, world.connected, world.connections) == ({}, set(), {})
    assert identities(world) == rows
    assert world.instances[INSTANCE].task_state == TaskState.RELEASED
    assert HELD in world.attachments


def test_a_release_again_is_fine() -> None:
    world = adopted()
    release(world)
    before = world.copy()
    assert run(world, operation("release_instance", 63, instance_uuid=INSTANCE)).fault is None
    assert world == before


def test_a_released_instance_is_not_destroyed() -> None:
    world = adopted()
    release(world)
    before = world.copy()
    asked = operation("destroy_instance", 63, instance_uuid=INSTANCE)
    ended = run(world, asked)
    assert ended.fault is not None
    assert ended.fault.code == "instance.wrong_state"
    assert world == before


@pytest.mark.parametrize("become", [run_it, begin_something, reserve_something])
def test_what_is_not_at_rest_is_not_released(become: Callable[[World], None]) -> None:
    world = adopted()
    become(world)
    before = world.copy()
    asked = operation("release_instance", 62, instance_uuid=INSTANCE)
    assert run(world, asked).state is OperationState.FAILED
    assert world == before


def test_an_instance_comes_back_to_the_host_that_released_it() -> None:
    world = adopted()
    marks, document = marks_of(world), export(world)
    release(world)
    assert bring(world, document).fault is None
    assert marks_of(world) == marks
    assert {row.status for row in world.rows.values()} == {DeviceStatus.ATTACHED}


def test_an_instance_comes_back_to_a_host_that_forgot_it() -> None:
    world = adopted()
    rows, document = identities(world), let_go(world)
    assert run(world, operation("forget_instance", 64, instance_uuid=INSTANCE)).fault is None
    assert bring(world, document).fault is None
    assert identities(world) == rows


def of_this_host(world: World) -> None:
    world.instances[INSTANCE] = replace(adopted().instances[INSTANCE])


def domain_by_uuid(world: World) -> None:
    world.guests[INSTANCE] = adopted().guests[INSTANCE]


def domain_by_name(world: World) -> None:
    other = InstanceId("6f9a5bd0-5d50-4f3c-9c35-1a7c61d2e00f")
    world.guests[other] = adopted().guests[INSTANCE]


def row_taken(world: World) -> None:
    row = next(iter(adopted().rows.values()))
    other = InstanceId("6f9a5bd0-5d50-4f3c-9c35-1a7c61d2e00f")
    world.removed[row.uuid] = replace(row, instance=other, deleted=True)


def file_missing(world: World) -> None:
    world.other_files.discard(ROOT)


def volume_unknown(world: World) -> None:
    del world.volumes[VOLUME]


def volume_anothers(world: World) -> None:
    world.attachments.clear()


@pytest.mark.parametrize(
    ("become", "error"),
    [
        (of_this_host, InstanceTaken),
        (domain_by_uuid, DomainTaken),
        (domain_by_name, DomainTaken),
        (row_taken, IdTaken),
        (file_missing, LocalDiskUnavailable),
        (volume_unknown, VolumeNotFound),
        (volume_anothers, VolumeInUse),
    ],
)
def test_what_is_taken_or_missing_is_refused_before_anything_is_made(
    become: Callable[[World], None], error: type[WorkerError]
) -> None:
    world, document = to_import()
    become(world)
    before = world.copy()
    with pytest.raises(error):
        check_import(CheckImport(document=document), fakes.ports(world))
    ended = bring(world, document)
    assert ended.fault is not None
    assert ended.fault.code == error.code
    assert world == before


def test_a_check_says_what_would_be_taken_in_and_changes_nothing() -> None:
    world, document = to_import()
    before = world.copy()
    answer = check_import(CheckImport(document=document), fakes.ports(world))
    assert (answer["uuid"], answer["name"]) == (INSTANCE, "guest-1")
    assert len(answer["block_devices"]) == 3
    assert ROOT in answer["sources"].values()
    assert world == before


def test_a_document_of_another_instance_is_refused() -> None:
    world, document = to_import()
    asked = operation("import_instance", instance_uuid=VOLUME, document=document)
    ended = run(world, asked)
    assert ended.fault is not None
    assert ended.fault.code == "request.malformed"


def edited(**changes: Any) -> str:  # noqa: ANN401 - any JSON
    _, document = to_import()
    return json.dumps(json.loads(document) | changes)


def edited_row(**changes: Any) -> str:  # noqa: ANN401 - any JSON
    rows = json.loads(to_import()[1])["block_devices"]
    return edited(block_devices=[rows[0] | changes, *rows[1:]])


@pytest.mark.parametrize(
    "document",
    [
        "no JSON",
        "[]",
        "{}",
        edited(format="blockworker instance 9"),
        edited(domain_xml=7),
        edited(instance={}),
        edited(block_devices=[{}]),
        edited_row(uuid="no uuid"),
        edited_row(alias="virtio-disk0"),
        edited_row(instance_uuid=VOLUME),
        edited_row(disk_bus="tin can"),
        edited_row(address="nowhere"),
        edited_row(unit="one"),
        edited_row(unit=True),
        edited_row(serial=7),
    ],
)
def test_a_document_that_is_none_is_refused(document: str) -> None:
    world, _ = to_import()
    with pytest.raises(RequestMalformed):
        check_import(CheckImport(document=document), fakes.ports(world))


def test_a_volume_is_shown_where_it_is_on_the_new_host() -> None:
    target, document = to_import()
    assert bring(target, document).fault is None
    (row,) = [row for row in target.rows.values() if not row.local]
    disk = target.guests[INSTANCE].persistent[row.alias]
    assert shown(disk).source == connection_of(VOLUME).properties["device_path"]


def test_an_instance_that_is_being_imported_is_gone_on_with() -> None:
    """The rows came, and the worker died before it had written down that they did."""
    target, document = to_import()
    bring(target, document)
    done = target.copy()
    target.instances[INSTANCE] = replace(target.instances[INSTANCE], task_state=TaskState.IMPORTING)
    assert bring(target, document, 2).fault is None
    assert target == done


def test_an_attachment_that_nobody_knows_is_not_ours_to_name() -> None:
    document = json.loads(to_import()[1])
    held = {row["attachment_id"] for row in document["block_devices"]}
    assert held == {None, AttachmentId(HELD)}
    assert FileSource(path=ROOT).path in document["sources"].values()


def test_a_document_says_nothing_of_a_rescue() -> None:
    """An instance in rescue is not let go; what its row keeps of one is of this host."""
    disk = LocalDisk(uuid=BlockDeviceId(OTHER_VOLUME), size=512)
    rescue = Rescue(
        operation=OperationId(VOLUME),
        image=ImageId("rescue"),
        mode=Mode.STABLE,
        disk=disk,
        device_type=DeviceType.DISK,
        bus=Bus.USB,
        spot=Spot(target="sda", address=None),
        runs=True,
    )
    instance = replace(adopted().instances[INSTANCE], rescue=rescue)
    document = json.dumps(written(Carried(instance=instance, rows=(), text="<domain/>")))
    assert "rescue" not in document
    assert read(document, "host-2").instance.rescue is None
