"""An instance that was built moves: its files are found, what they lean on too, and it starts."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests import fakes
from tests.fakes.hypervisor import shown
from tests.fakes.images import copy_path, disk_path, drive_path
from tests.fakes.world import World
from tests.unit import adopt_scenes, move_scenes
from tests.unit.adopt_scenes import adopted, export, let_go
from tests.unit.build_scenes import IMAGE, KERNEL
from tests.unit.move_scenes import NVRAM, OWN_NVRAM, root_of, shut_off, to_import
from tests.unit.scenes import INSTANCE, VOLUME, Refusing, operation, run
from worker.errors import (
    BaseUnavailable,
    ImagesUnavailable,
    InstanceTaken,
    InstanceWrongState,
    LocalDiskUnavailable,
    NotReleased,
    RequestMalformed,
    StateKept,
    WorkerError,
)
from worker.handlers.check_import import CheckImport, check_import
from worker.model.block_device import BlockDevice, DeviceStatus
from worker.model.instance import VmState
from worker.model.operation import Operation
from worker.model.specification import Specification

CHECKPOINTS = ("checkpoints",)


def bring(world: World, document: str, **more: Any) -> Operation:  # noqa: ANN401
    asked = operation("import_instance", instance_uuid=INSTANCE, document=document, **more)
    return run(world, asked)


def start(world: World) -> Operation:
    return run(world, operation("start_instance", number=2, instance_uuid=INSTANCE))


def edited(document: str, **changes: Any) -> str:  # noqa: ANN401 - any JSON
    return json.dumps(json.loads(document) | changes)


def lasting(world: World) -> dict[str, BlockDevice]:
    """Return the rows, but for what is of a host alone."""
    plain = {"attachment": None, "connection": None, "created_at": None, "updated_at": None}
    return {
        uuid: replace(row, **plain)  # type: ignore[arg-type]
        for uuid, row in world.rows.items()
    }


def test_it_starts_on_another_host_and_every_mark_is_the_same() -> None:
    before = shut_off()
    target, document = to_import()
    assert bring(target, document).fault is None
    assert start(target).fault is None
    assert target.guests[INSTANCE].vm_state is VmState.ACTIVE
    assert lasting(target) == lasting(before)
    drive = f"ua-config-{INSTANCE}"
    guest, was = target.guests[INSTANCE], before.guests[INSTANCE]
    assert {alias: shown(disk) for alias, disk in guest.persistent.items()} == {
        alias: shown(disk) for alias, disk in was.persistent.items()
    }
    assert guest.persistent[drive].source.name == drive_path(INSTANCE)
    assert target.instances[INSTANCE].specification == before.instances[INSTANCE].specification


def test_all_that_it_names_is_on_the_new_host() -> None:
    target, document = to_import()
    assert bring(target, document).fault is None
    assert target.guests[INSTANCE].beside == move_scenes.beside()
    assert target.bases == {root_of(document): move_scenes.base()}
    assert target.config_drives[INSTANCE]


def test_a_volume_type_goes_along() -> None:
    source = shut_off()
    (row,) = [row for row in source.rows.values() if not row.local]
    source.rows[row.uuid] = replace(row, volume_type="fast")
    document = let_go(source)
    target, _ = to_import()
    assert bring(target, document).fault is None
    assert target.rows[row.uuid].volume_type == "fast"


def test_a_config_drive_that_came_along_stays_as_it_is_until_the_start() -> None:
    target, document = to_import()
    target.config_drives[INSTANCE] = {"as it": b"came"}
    assert bring(target, document).fault is None
    assert target.config_drives[INSTANCE] == {"as it": b"came"}


def test_the_nvram_is_taken_from_the_folder_before_its_old_place() -> None:
    target, document = to_import()
    target.other_files.add(OWN_NVRAM)
    assert bring(target, document).fault is None
    assert target.guests[INSTANCE].beside.nvram == OWN_NVRAM


def test_an_nvram_that_was_never_made_is_not_missed() -> None:
    source = shut_off()
    source.other_files.clear()
    target, _ = to_import()
    target.other_files.clear()
    assert bring(target, let_go(source)).fault is None


def test_a_copy_of_the_base_that_is_here_serves_when_the_service_has_it_no_more() -> None:
    target, document = to_import()
    target.cached.update(target.images)
    target.images_away = True
    assert bring(target, document).fault is None


def test_a_disk_that_was_flattened_needs_no_image() -> None:
    target, document = to_import()
    del target.images[IMAGE]
    target.bases.clear()
    assert bring(target, document).fault is None
    assert target.bases == {}


def file_gone(world: World, document: str) -> None:
    del world.files[root_of(document)]


def nvram_gone(world: World, _document: str) -> None:
    world.other_files.discard(NVRAM)


def image_gone(world: World, _document: str) -> None:
    del world.images[IMAGE]


def kernel_gone(world: World, _document: str) -> None:
    del world.images[KERNEL]


def image_is_another(world: World, _document: str) -> None:
    fakes.ports(world).images.fetch(IMAGE)
    world.images[IMAGE] = replace(world.images[IMAGE], properties={"digest": "another"})


def service_away(world: World, _document: str) -> None:
    world.images_away = True


@pytest.mark.parametrize(
    ("become", "error"),
    [
        (file_gone, LocalDiskUnavailable),
        (nvram_gone, LocalDiskUnavailable),
        (image_gone, BaseUnavailable),
        (kernel_gone, BaseUnavailable),
        (image_is_another, BaseUnavailable),
        (service_away, ImagesUnavailable),
    ],
)
def test_what_it_cannot_start_without_is_refused_before_anything_is_made(
    become: Callable[[World, str], None], error: type[WorkerError]
) -> None:
    target, document = to_import()
    become(target, document)
    before = target.copy()
    with pytest.raises(error):
        check_import(CheckImport(document=document), fakes.ports(target))
    ended = bring(target, document)
    assert ended.fault is not None
    assert ended.fault.code == error.code
    assert target == before


def test_an_image_that_turns_out_to_be_another_is_refused_once_it_was_fetched() -> None:
    target, document = to_import()
    target.images[IMAGE] = replace(target.images[IMAGE], properties={"digest": "another"})
    before = target.copy()
    ended = bring(target, document)
    assert ended.fault is not None
    assert ended.fault.code == BaseUnavailable.code
    assert target == before


def test_a_document_that_does_not_say_what_disks_are_made_over_is_refused() -> None:
    target, document = to_import()
    ended = bring(target, edited(document, bases=None))
    assert ended.fault is not None
    assert ended.fault.code == RequestMalformed.code


def test_a_message_says_where_the_file_is_looked_for() -> None:
    target, document = to_import()
    path = root_of(document)
    del target.files[path]
    with pytest.raises(LocalDiskUnavailable, match=path):
        check_import(CheckImport(document=document), fakes.ports(target))


def test_what_start_misses_is_what_import_misses() -> None:
    """A file of ours that is elsewhere is not there, for the one as for the other."""
    target, document = to_import()
    assert bring(target, document).fault is None
    path = root_of(document)
    target.other_files.add(path)
    del target.files[path]
    ended = start(target)
    assert ended.fault is not None
    assert ended.fault.code == LocalDiskUnavailable.code


# What may leave a host.


def test_one_that_was_not_released_is_refused_unless_forced() -> None:
    document = export(shut_off())
    target, _ = to_import()
    before = target.copy()
    with pytest.raises(NotReleased):
        check_import(CheckImport(document=document), fakes.ports(target))
    ended = bring(target, document)
    assert ended.fault is not None
    assert ended.fault.code == NotReleased.code
    assert target == before
    check_import(CheckImport(document=document, force=True), fakes.ports(target))
    forced = operation("import_instance", 3, instance_uuid=INSTANCE, document=document, force=True)
    assert run(target, forced).fault is None


def test_force_takes_no_instance_from_a_host_of_the_same_database() -> None:
    world = shut_off()
    document = export(world)
    ended = bring(world, document, force=True)
    assert ended.fault is not None
    assert ended.fault.code == InstanceTaken.code


def test_where_the_database_knows_that_it_was_released_the_document_need_not() -> None:
    world = adopted()
    document = export(world)
    let_go(world)
    assert bring(world, document).fault is None


def test_the_document_of_a_released_instance_says_so_until_it_is_taken_back() -> None:
    world = shut_off()
    unmarked = json.loads(export(world))
    document = let_go(world)
    assert unmarked["released"] is None
    assert json.loads(document)["released"]["host"] == "host-1"
    same = {name: unmarked[name] for name in ("released", "domain_xml")}
    assert json.loads(document) | same == unmarked
    assert export(world) == document
    assert bring(world, document).fault is None
    assert json.loads(export(world))["released"] is None


def test_what_the_hypervisor_keeps_beside_the_machine_is_named_before_anything_is_let_go() -> None:
    world = shut_off()
    world.guests[INSTANCE].kept = CHECKPOINTS
    before = world.copy()
    with pytest.raises(StateKept, match="checkpoints"):
        export(world)
    ended = run(world, operation("release_instance", instance_uuid=INSTANCE))
    assert ended.fault is not None
    assert ended.fault.code == StateKept.code
    assert world == before


def test_a_disk_whose_file_is_gone_is_not_exported() -> None:
    world = shut_off()
    world.files.clear()
    with pytest.raises(LocalDiskUnavailable):
        export(world)


def over_another_file(world: World) -> None:
    (path,) = world.bases
    world.bases[path] = "/mnt/theirs"


def copy_gone(world: World) -> None:
    world.cached.discard(IMAGE)


def image_unknown(world: World) -> None:
    """As of a disk that was blank, and made over something by other hands since."""
    instance = world.instances[INSTANCE]
    made_as = instance.specification
    assert isinstance(made_as, Specification)
    disks = tuple(replace(disk, image=None) for disk in made_as.disks)
    world.instances[INSTANCE] = replace(instance, specification=replace(made_as, disks=disks))


@pytest.mark.parametrize("become", [over_another_file, copy_gone, image_unknown])
def test_a_disk_over_what_nobody_can_tell_is_not_exported(become: Callable[[World], None]) -> None:
    world = shut_off()
    become(world)
    with pytest.raises(BaseUnavailable, match="flatten"):
        export(world)


def test_a_row_without_a_disk_of_the_specification_is_not_looked_for() -> None:
    """It was detached, or never ours; the others are carried."""
    source = shut_off()
    row = next(row for row in source.rows.values() if row.local and row.boot_index != 0)
    del source.rows[row.uuid]
    source.files.pop(disk_path(INSTANCE, row.uuid))
    del source.guests[INSTANCE].persistent[row.alias]
    target, _ = to_import()
    target.files.pop(disk_path(INSTANCE, row.uuid))
    assert bring(target, let_go(source)).fault is None


@pytest.mark.parametrize("broken", ["config_drives.write", "definitions.define"])
def test_a_failed_import_leaves_each_disk_over_what_it_was(broken: str) -> None:
    target, document = to_import()
    before = target.copy()
    asked = operation("import_instance", instance_uuid=INSTANCE, document=document)
    assert run(target, asked, Refusing(broken)).fault is not None
    assert target == before
    assert target.bases == {root_of(document): copy_path(IMAGE)}


def test_volumes_are_missing_only_while_the_import_runs() -> None:
    target, document = to_import()
    assert bring(target, document).fault is None
    (row,) = [row for row in target.rows.values() if row.volume == VOLUME]
    assert row.status is DeviceStatus.ATTACHED


# What an older release has written.


def of_older_release(document: str) -> str:
    found = json.loads(document)
    for name in ("bases", "nvram", "released", "peripherals"):
        del found[name]
    for row in found["block_devices"]:
        del row["volume_type"]
    return json.dumps(found)


def test_an_instance_that_an_older_release_let_go_is_taken_in_by_force() -> None:
    source = adopted()
    document = of_older_release(let_go(source))
    target = adopt_scenes.other_host(document, source)
    with pytest.raises(NotReleased):
        check_import(CheckImport(document=document), fakes.ports(target))
    assert bring(target, document, force=True).fault is None
    assert lasting(target) == lasting(adopted())


def test_of_its_document_nobody_knows_what_a_disk_is_made_over() -> None:
    target, document = to_import()
    older, before = of_older_release(document), target.copy()
    ended = bring(target, older, force=True)
    assert ended.fault is not None
    assert ended.fault.code == BaseUnavailable.code
    assert "export the instance anew, or flatten" in ended.fault.message
    assert target == before
    target.bases.clear()
    again = operation("import_instance", 2, instance_uuid=INSTANCE, document=older, force=True)
    assert run(target, again).fault is None


@pytest.mark.parametrize("name", ["bases", "nvram", "released"])
def test_a_document_of_this_release_says_all(name: str) -> None:
    target, document = to_import()
    found = json.loads(document)
    del found[name]
    with pytest.raises(RequestMalformed):
        check_import(CheckImport(document=json.dumps(found)), fakes.ports(target))


def test_the_document_that_an_older_release_did_not_keep_is_told_of() -> None:
    world = adopted()
    let_go(world)
    world.documents.clear()
    with pytest.raises(InstanceWrongState, match="import the one that it printed then"):
        export(world)
