"""Building and destroying an instance, where the matrix of failing calls does not reach."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import pytest

from tests import fakes
from tests.fakes.database import FakeOperations
from tests.fakes.images import FakeLocalDisks, copy_path
from tests.fakes.world import FakeGuest, World
from tests.unit import build_scenes, scenes
from tests.unit.build_scenes import (
    DATA_VOLUME,
    GIVEN,
    IMAGE,
    KERNEL,
    RAMDISK,
    arguments,
    build,
    built,
    empty,
    from_volume,
    half_built,
    with_an_attachment,
)
from tests.unit.scenes import INSTANCE, VOLUME, Crash, Refusing, Trouble, operation, run
from worker.errors import DatabaseUnavailable
from worker.handlers.build_instance import BuildInstance
from worker.handlers.destroy_instance import DestroyInstance, destroy_instance
from worker.handlers.parts.plan_instance import decided
from worker.handlers.retry_operation import RetryOperation, retry_operation
from worker.model.block_device import DeviceStatus
from worker.model.config_drive import META_DATA
from worker.model.ids import AttachmentId, InstanceId
from worker.model.image import GIB
from worker.model.instance import VmState
from worker.model.operation import Operation, OperationState
from worker.model.source import HostVolume
from worker.model.specification import LocalDisk
from worker.model.update import BUILD_PHASES, Phases
from worker.model.volume import Attachment, AttachmentStatus, VolumeStatus
from worker.rpc.reading import request_from
from worker.steps import LOOKS

OTHER = InstanceId("6f9a5bd0-5d50-4f3c-9c35-1a7c61d2e009")


def destroy(found: World, *watches: Any) -> Operation:  # noqa: ANN401
    return run(found, operation("destroy_instance", number=60, instance_uuid=INSTANCE), *watches)


def dying(call: str) -> Callable[[str], AbstractContextManager[None]]:
    """Return a watch under which the worker dies before it makes that call."""
    trouble, harmless = Trouble(at=0, error=lambda _: Crash()), Trouble()
    return lambda name: (trouble if name == call else harmless)(name)


def with_image(**fields: Any) -> World:  # noqa: ANN401
    found = empty()
    found.images[IMAGE] = replace(found.images[IMAGE], **fields)
    return found


def test_an_instance_that_was_built_runs_with_all_its_disks() -> None:
    found = built()
    guest, instance = found.guests[INSTANCE], found.instances[INSTANCE]
    assert (instance.vm_state, instance.task_state) == (VmState.ACTIVE, None)
    rows = fakes.ports(found).devices.of_instance(INSTANCE)
    assert [row.target for row in rows] == ["vda", "vdb", "vdc", "vdd"]
    assert {row.status for row in rows} == {DeviceStatus.ATTACHED}
    assert guest.live == guest.persistent
    shown = {alias: disk.serial for alias, disk in guest.live.items()}
    assert shown == {row.alias: row.serial for row in rows} | {f"ua-config-{INSTANCE}": None}
    assert found.volumes[VOLUME].status is VolumeStatus.IN_USE
    assert b'"name": "guest-1"' in found.config_drives[INSTANCE][META_DATA]


def test_an_image_that_is_a_cd_is_booted_from() -> None:
    found = empty()
    assert build(found, arguments(image_ref=build_scenes.ISO, root_gb=None)).fault is None
    root = next(disk for disk in found.guests[INSTANCE].live.values() if disk.boot_order == 1)
    assert (root.device_type, root.options.read_only) == ("cdrom", True)


def test_a_guest_with_a_kernel_of_its_own_starts_with_both_files() -> None:
    beside = built().guests[INSTANCE].beside
    assert (beside.kernel, beside.ramdisk) == (copy_path(KERNEL), copy_path(RAMDISK))


def test_a_kernel_without_a_ramdisk_and_no_config_drive() -> None:
    found = empty()
    assert build(found, arguments(ramdisk_id=None, config_drive=False)).fault is None
    assert found.config_drives == {}


HARMLESS = LOOKS | {"images.fetch"}
"""What may be called before a build is refused."""

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown image": ({"image_ref": "none"}, "image.not_found"),
    "an unknown kernel": ({"kernel_id": "none"}, "image.not_found"),
    "an unknown volume": (
        {"block_devices": [{"source_type": "volume", "volume_id": OTHER}]},
        "volume.not_found",
    ),
    "a small root": ({"root_gb": None, "image_ref": IMAGE, "memory_mb": 1}, "instance.invalid"),
    "an unknown machine": ({"machine_type": "microvm"}, "instance.machine_unsupported"),
    "ide on q35": (
        {"block_devices": [{"source_type": "blank", "size": GIB, "disk_bus": "ide"}]},
        "block_device.bus_unsupported",
    ),
    "a tag twice": (
        {"block_devices": [{"source_type": "blank", "size": GIB, "tag": "a"}] * 2},
        "block_device.tag_taken",
    ),
}


class TestRefused:
    """Each is refused before anything is made, and nothing is left behind."""

    @pytest.mark.parametrize("case", REFUSED)
    def test_what_the_request_says(self, case: str) -> None:
        changed, code = REFUSED[case]
        found = with_image(min_memory=2)
        before = found.copy()
        ended = build(found, arguments(**changed))
        assert ended.fault is not None
        assert ended.fault.code == code
        assert found == before
        assert {step.name for step in ended.steps} <= HARMLESS

    def test_an_image_whose_inspection_fails(self) -> None:
        self._refused(with_image(properties={"evil": "yes"}), "image.refused")

    def test_an_image_larger_than_the_disk(self) -> None:
        large = with_image(properties={"virtual_size": str(3 * GIB)})
        self._refused(large, "instance.invalid")

    def test_no_room_for_all_disks_together(self) -> None:
        found = empty()
        found.room = 3 * GIB
        self._refused(found, "host.no_room")

    def test_a_domain_of_that_name(self) -> None:
        found = empty()
        found.guests[OTHER] = FakeGuest(name="guest-1")
        self._refused(found, "domain.taken")

    def test_a_domain_of_that_uuid(self) -> None:
        found = empty()
        found.guests[INSTANCE] = FakeGuest(name="another")
        self._refused(found, "domain.taken")

    def test_an_instance_of_that_uuid(self) -> None:
        found = built()
        before = found.copy()
        ended = run(found, operation("build_instance", number=51, **arguments(name="other")))
        assert ended.fault is not None
        assert ended.fault.code == "instance.taken"
        assert found == before

    @pytest.mark.parametrize(
        "status", [VolumeStatus.RESERVED, VolumeStatus.IN_USE, VolumeStatus.ERROR]
    )
    def test_a_volume_that_is_not_free(self, status: VolumeStatus) -> None:
        found = empty()
        found.volumes[VOLUME] = replace(found.volumes[VOLUME], status=status)
        self._refused(found, "volume.in_use")

    def test_an_attachment_of_another_instance(self) -> None:
        found = with_an_attachment()
        found.attachments[GIVEN] = replace(found.attachments[GIVEN], instance=OTHER)
        disk = {"source_type": "volume", "volume_id": VOLUME, "attachment_id": GIVEN}
        self._refused(found, "attachment.mismatch", block_devices=[disk])

    def _refused(self, found: World, code: str, **changed: Any) -> None:  # noqa: ANN401
        before = found.copy()
        ended = build(found, arguments(**changed))
        assert ended.fault is not None
        assert ended.fault.code == code
        assert found == before
        assert {step.name for step in ended.steps} <= HARMLESS


OTHERS = AttachmentId("attachment-of-another-host")
RESERVED_DISK = {"source_type": "volume", "volume_id": VOLUME, "attachment_id": GIVEN}


class TestAttachmentOfTheCaller:
    def test_it_is_used_and_completed(self) -> None:
        found = with_an_attachment()
        assert build(found, arguments(block_devices=[RESERVED_DISK])).fault is None
        assert found.attachments[GIVEN].status is AttachmentStatus.ATTACHED
        assert list(found.attachments) == [GIVEN]

    def test_one_that_is_there_is_found_unnamed(self) -> None:
        found = with_an_attachment()
        assert build(found, arguments()).fault is None
        assert list(found.attachments) == [GIVEN]

    def test_it_goes_with_a_build_that_failed_after_it_began(self) -> None:
        found = with_an_attachment()
        ended = build(found, arguments(block_devices=[RESERVED_DISK]), Refusing("machines.define"))
        assert ended.state is OperationState.FAILED
        assert found == empty()

    def test_another_one_of_the_instance_stays_when_the_build_fails(self) -> None:
        """A volume that is being moved has two, of which one is for another host."""
        found = with_an_attachment()
        found.attachments = {OTHERS: replace(found.attachments[GIVEN], id=OTHERS)} | dict(
            found.attachments
        )
        ended = build(found, arguments(block_devices=[RESERVED_DISK]), Refusing("machines.define"))
        assert ended.state is OperationState.FAILED
        assert list(found.attachments) == [OTHERS]

    def test_one_that_is_anothers_after_a_crash_is_neither_used_nor_deleted(self) -> None:
        found = with_an_attachment()
        wanted = arguments(block_devices=[RESERVED_DISK])
        with pytest.raises(Crash):
            build(found, wanted, dying("attachments.connect"))
        held = replace(found.attachments[GIVEN], instance=OTHER)
        found.attachments[GIVEN] = held
        ended = build(found, wanted)
        assert ended.fault is not None
        assert ended.fault.code == "attachment.mismatch"
        assert found.attachments == {GIVEN: held}
        assert (found.rows, found.instances, found.guests) == ({}, {}, {})

    def test_it_stays_with_one_that_was_refused(self) -> None:
        found = with_an_attachment()
        ended = build(found, arguments(block_devices=[RESERVED_DISK], machine_type="microvm"))
        assert ended.state is OperationState.FAILED
        assert found == with_an_attachment()


def test_a_volume_that_several_may_have_may_be_in_use() -> None:
    found = empty()
    found.volumes[VOLUME] = replace(
        found.volumes[VOLUME], multiattach=True, status=VolumeStatus.IN_USE
    )
    assert build(found, arguments()).fault is None


def test_a_disk_that_is_gone_when_it_was_made_ends_the_build(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def gone(_self: FakeLocalDisks, _instance: InstanceId, _disk: LocalDisk) -> HostVolume | None:
        return None

    monkeypatch.setattr(FakeLocalDisks, "find", gone)
    found = empty()
    ended = build(found, arguments())
    assert ended.fault is not None
    assert ended.fault.code == "local_disk.unavailable"
    assert found == empty()


class TestStuck:
    def test_it_says_so_in_its_rows_and_is_built_by_a_retry(self) -> None:
        found = half_built()
        assert found.instances[INSTANCE].vm_state is VmState.ERROR
        assert {row.status for row in found.rows.values()} == {DeviceStatus.ERROR}
        (stuck,) = found.operations
        retry_operation(RetryOperation(operation_id=stuck), fakes.ports(found))
        assert build(found, arguments()).state is OperationState.SUCCEEDED
        assert found == built_like(found)

    def test_it_lets_nothing_but_a_destroy_through(self) -> None:
        found = half_built()
        asked = operation("detach_volume", number=70, **scenes.detach_arguments())
        blocked = run(found, asked)
        assert blocked.fault is not None
        assert blocked.fault.code == "operation.blocked"
        assert destroy(found).state is OperationState.SUCCEEDED
        assert found == empty()

    def test_a_retry_after_the_destroy_fails_and_makes_nothing(self) -> None:
        found = half_built()
        (stuck,) = found.operations
        retried = retry_operation(RetryOperation(operation_id=stuck), fakes.ports(found))
        assert destroy(found).state is OperationState.SUCCEEDED
        ended = build(found, arguments())
        assert (ended.id, retried.state) == (stuck, OperationState.RUNNING)
        assert ended.fault is not None
        assert ended.fault.code == "instance.wrong_state"
        assert found == empty()

    def test_the_destroy_gives_it_up_and_says_so(self) -> None:
        found = half_built()
        (stuck,) = found.operations.values()
        assert destroy(found).state is OperationState.SUCCEEDED
        ended = found.operations[stuck.id]
        assert (ended.state, ended.fault) == (OperationState.ABANDONED, stuck.fault)
        assert found.events()[-2:] == ["instance.build.error", "instance.destroy.end"]
        told = found.told[-2]
        assert (told.operation, told.fault) == (stuck.id, stuck.fault)

    def test_one_that_an_operator_has_decided_of_meanwhile_is_left_to_him(self) -> None:
        found = half_built()
        (stuck,) = found.operations.values()
        listing = ListsAsStuck(found, stuck)
        ports = replace(fakes.ports(found), operations=listing)
        retry_operation(RetryOperation(operation_id=stuck.id), fakes.ports(found))
        destroy_instance(DestroyInstance(instance_uuid=INSTANCE), ports, phases_of=phases_of)
        assert found.operations[stuck.id].state is OperationState.RUNNING

    def test_what_is_stuck_on_other_instances_stays_so(self) -> None:
        found = half_built()
        (stuck,) = found.operations.values()
        theirs = replace(stuck, id=operation("x", 88).id, instance=OTHER, lane=OTHER)
        found.operations[theirs.id] = theirs
        assert destroy(found).state is OperationState.SUCCEEDED
        assert found.operations[theirs.id] == theirs


class ListsAsStuck(FakeOperations):
    """A journal that was read before somebody else changed it."""

    def __init__(self, world: World, stuck: Operation) -> None:
        super().__init__(world)
        self.stuck = stuck

    def list(self, **_which: object) -> tuple[Operation, ...]:
        return (self.stuck,)


def phases_of(_method: str) -> Phases | None:
    return BUILD_PHASES


def built_like(found: World) -> World:
    """Return a world that was built without trouble, its attachment called as in this one."""
    other = built()
    (attachment,) = found.attachments.values()
    (drawn,) = other.attachments
    other.attachments = {attachment.id: replace(other.attachments[drawn], id=attachment.id)}
    for uuid, row in other.rows.items():
        if row.attachment is not None:
            other.rows[uuid] = replace(row, attachment=attachment.id)
    return other


def test_while_the_journal_is_away_nothing_is_taken_back() -> None:
    found = empty()
    with pytest.raises(DatabaseUnavailable):
        build(found, arguments(), Trouble(at=20, error=DatabaseUnavailable))
    assert found.files
    found.crash()
    assert build(found, arguments()).state is OperationState.SUCCEEDED


def test_once_it_runs_a_volume_service_that_is_away_is_waited_for() -> None:
    found = empty()
    ended = build(found, arguments(), Refusing("attachments.complete"))
    assert ended.state is OperationState.STUCK
    assert found.guests[INSTANCE].running
    assert found.harm == []


class TestDestroy:
    def test_nothing_is_left(self) -> None:
        found = built()
        assert destroy(found).fault is None
        assert found == empty()

    def test_a_volume_that_was_to_go_with_it_goes(self) -> None:
        found = build_scenes.built_from_volume()
        assert destroy(found).fault is None
        assert set(found.volumes) == {VOLUME}

    def test_one_that_another_instance_has_as_well_stays(self) -> None:
        found = empty()
        found.volumes[DATA_VOLUME] = replace(found.volumes[DATA_VOLUME], multiattach=True)
        assert build(found, from_volume()).fault is None
        other = AttachmentId("a77ac4ed-0000-4000-8000-000000000009")
        found.attachments[other] = Attachment(
            id=other, volume=DATA_VOLUME, instance=OTHER, status=AttachmentStatus.ATTACHED
        )
        assert destroy(found).fault is None
        assert set(found.volumes) == {VOLUME, DATA_VOLUME}
        assert set(found.attachments) == {other}

    def test_what_other_instances_have_is_left_alone(self) -> None:
        found = empty()
        other = from_volume(instance_uuid=OTHER, name="guest-2")
        asked = replace(operation("build_instance", number=52, **other), lane=OTHER, instance=OTHER)
        assert run(found, asked).fault is None
        before = found.copy()
        assert build(found, arguments(block_devices=[])).fault is None
        assert destroy(found).fault is None
        assert found == before

    def test_an_attachment_that_no_row_knows_is_left_alone(self) -> None:
        found = built()
        found.attachments[GIVEN] = Attachment(
            id=GIVEN, volume=DATA_VOLUME, instance=INSTANCE, status=AttachmentStatus.RESERVED
        )
        assert destroy(found).fault is None
        assert list(found.attachments) == [GIVEN]

    def test_a_domain_that_is_gone_already_is_fine(self) -> None:
        found = built()
        del found.guests[INSTANCE]
        found.files.clear()
        assert destroy(found).fault is None
        assert found == empty()

    def test_an_unknown_instance_is_an_error(self) -> None:
        ended = destroy(empty())
        assert ended.fault is not None
        assert ended.fault.code == "instance.not_found"

    def test_an_adopted_one_loses_its_domain_and_no_file(self) -> None:
        found = scenes.world()
        scenes.attach(found)
        path = f"/local/{INSTANCE}/theirs"
        found.files[path] = LocalDisk(uuid=scenes.DEVICE, size=1)
        assert destroy(found).fault is None
        assert list(found.files) == [path]
        assert (found.guests, found.rows, found.attachments, found.connected) == ({}, {}, {}, set())

    def test_the_power_is_cut_before_anything_is_taken(self) -> None:
        found = built()
        ended = destroy(found, Refusing("power.cut"))
        assert ended.state is OperationState.STUCK
        assert found.harm == []
        assert len(found.guests[INSTANCE].live) == 5


def test_a_call_has_no_operation_to_draw_rows_of() -> None:
    request = request_from(BuildInstance, arguments())
    with pytest.raises(AssertionError):
        decided(request, fakes.ports(empty()))


def test_a_call_may_destroy_as_well() -> None:
    found = built()
    request = DestroyInstance(instance_uuid=INSTANCE)
    destroy_instance(request, fakes.ports(found), phases_of=phases_of)
    found.commit()
    assert found.instances == {}
