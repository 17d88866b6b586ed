"""Drift is found in every view, and what is ours is mended; what is not ours is left alone."""

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest

from tests import fakes
from tests.fakes.database import FakeBlockDevices
from tests.fakes.hypervisor import FakeGuestInsides
from tests.fakes.world import World
from tests.unit import drifts, scenes
from tests.unit.drifts import ALIAS, MENDED, NOT_MENDED, Case, attached, found, repair
from tests.unit.scenes import (
    DEVICE,
    INSTANCE,
    OTHER_DEVICE,
    OTHER_VOLUME,
    VOLUME,
    Refusing,
    Trouble,
    operation,
)
from worker.errors import (
    DatabaseUnavailable,
    HypervisorUnavailable,
    InstanceNotFound,
)
from worker.handlers.find_drift import FindDrift, find_drift
from worker.model.block_device import BlockDevice, DeviceStatus
from worker.model.drift import DriftKind
from worker.model.drift.residue import LEFT
from worker.model.guest import Guest
from worker.model.ids import InstanceId
from worker.model.operation import OperationState
from worker.model.source import BlockSource
from worker.model.update import Event
from worker.ports import Guests

ELSEWHERE = InstanceId("6f9a5bd0-5d50-4f3c-9c35-1a7c61d2e0ff")


def kinds(world: World, *, qemu: bool = True) -> list[object]:
    return [each["kind"] for each in found(world, qemu=qemu)]


@pytest.mark.parametrize("qemu", [False, True])
def test_a_world_that_agrees_has_no_drift(*, qemu: bool) -> None:
    world = attached()
    scenes.reserve(world, OTHER_VOLUME, OTHER_DEVICE)

    answer = find_drift(FindDrift(qemu=qemu), fakes.ports(world))

    foreign = 2 if qemu else 1
    assert answer == {"instances": 1, "differences": [], "in_flux": [], "foreign": foreign}


@pytest.mark.parametrize("case", MENDED.values(), ids=list(MENDED))
def test_what_is_ours_is_found_and_mended(case: Case) -> None:
    world = case.make()
    differences = found(world)
    assert tuple(each["kind"] for each in differences) == case.kinds
    assert all(each["safe"] and each["repair"] and not each["why_not"] for each in differences)

    ended = repair(world)

    assert ended.state is OperationState.SUCCEEDED, ended.fault
    assert found(world) == []
    assert drifts.foreign_is_untouched(world)
    told = [update for update in world.told if update.event is Event.DRIFT_REPAIRED]
    assert [(update.operation, update.count) for update in told] == [(ended.id, len(case.kinds))]


@pytest.mark.parametrize("name", MENDED)
def test_what_was_left_behind_leaves_nothing_and_what_was_lost_is_back(name: str) -> None:
    world = MENDED[name].make()
    repair(world)
    if world.rows:
        assert ALIAS in world.guests[INSTANCE].persistent
        assert world.connected == {VOLUME}
        assert len(world.attachments) == len(world.connections) == 1
    else:
        assert ALIAS not in world.guests[INSTANCE].persistent
        assert (world.connected, world.attachments, world.connections) == (set(), {}, {}) or (
            name == "a removed row's disk is a ghost"
        )


@pytest.mark.parametrize(("make", "kind"), NOT_MENDED.values(), ids=list(NOT_MENDED))
def test_what_cannot_be_mended_safely_is_named_with_its_reason_and_left_alone(
    make: Callable[[], World], kind: DriftKind
) -> None:
    world = make()
    (difference,) = [each for each in found(world) if each["kind"] == kind]
    assert (difference["safe"], difference["repair"]) == (False, None)
    assert difference["why_not"]
    before = copy.deepcopy(world)

    ended = repair(world)

    assert ended.state is OperationState.SUCCEEDED, ended.fault
    assert world == before
    assert Event.DRIFT_REPAIRED not in {update.event for update in world.told}


def test_every_kind_is_found_somewhere() -> None:
    named = {kind for case in MENDED.values() for kind in case.kinds}
    named |= {kind for _, kind in NOT_MENDED.values()}
    elsewhere = {DriftKind.UNREADABLE, DriftKind.QEMU_MISSING, DriftKind.FILE_MISSING}
    assert named | elsewhere | {*LEFT.values(), DriftKind.DEVICE_LEFT} == set(DriftKind)


@pytest.mark.parametrize("name", [*MENDED, *NOT_MENDED])
def test_to_look_changes_nothing(name: str) -> None:
    world = MENDED[name].make() if name in MENDED else NOT_MENDED[name][0]()
    before = copy.deepcopy(world)
    found(world)
    assert (world, world.told, world.pending, world.removed) == (
        before,
        before.told,
        [],
        before.removed,
    )


def test_a_difference_says_what_each_view_says() -> None:
    (difference,) = found(drifts.live_missing())
    assert difference["bdm_uuid"] == DEVICE
    assert (difference["volume_id"], difference["alias"]) == (VOLUME, ALIAS)
    assert difference["views"] == {
        "row": "attached",
        "live": "absent",
        "persistent": "vda at pci:0000:01:00.0",
        "qemu": "absent",
        "attachment": "attached",
        "volume": "in-use",
        "connection": "recorded",
    }


def test_without_being_asked_to_qemu_is_not_touched() -> None:
    world = drifts.ghost_left()
    watch = Trouble()
    assert found(world, qemu=False) == []
    repair(world, watch, qemu=False)
    assert ALIAS in world.guests[INSTANCE].ghosts


@pytest.mark.parametrize("qemu", [False, True])
def test_a_disk_that_qemu_has_is_not_plugged_in_anew_whether_qemu_was_to_be_asked_or_not(
    *, qemu: bool
) -> None:
    """The guest may be using it, and a plug would take it out first."""
    world = drifts.ghost_of_an_attached_row()
    before = copy.deepcopy(world)
    assert repair(world, qemu=qemu).state is OperationState.SUCCEEDED
    assert world.guests[INSTANCE].doubted is not qemu
    assert kinds(world, qemu=False) == ["ghost"] or qemu
    before.guests[INSTANCE].doubted = world.guests[INSTANCE].doubted
    assert world == before


def test_qemu_is_asked_before_a_plug_and_for_no_other_mend() -> None:
    asked = Counting("insides.disks")
    repair(drifts.persistent_missing(), asked, qemu=False)
    assert asked.count == 0
    world = drifts.live_missing()
    assert repair(world, asked, qemu=False).state is OperationState.SUCCEEDED
    assert (asked.count, found(world)) == (1, [])


def test_a_guest_whose_hypervisor_died_is_asked_in_qemu_by_itself() -> None:
    world = drifts.ghost_left()
    world.guests[INSTANCE].doubted = True
    assert kinds(world, qemu=False) == ["ghost"]
    assert repair(world, qemu=False).state is OperationState.SUCCEEDED
    assert ALIAS not in world.guests[INSTANCE].ghosts


def test_of_two_records_that_are_let_go_the_last_is_looked_at_anew_before_it_disconnects() -> None:
    """It was to be forgotten only, so QEMU was not asked what it has."""
    world = drifts.detached_in_our_rows_only(live=False, persistent=False)
    world.removed[OTHER_DEVICE] = replace(world.removed[DEVICE], uuid=OTHER_DEVICE, attachment=None)
    world.connections[OTHER_DEVICE] = world.connections[DEVICE]
    world.attachments.clear()
    assert [each["safe"] for each in found(world, qemu=False)] == [True, True]

    assert repair(world, qemu=False).state is OperationState.SUCCEEDED

    assert (world.connected, len(world.connections)) == ({VOLUME}, 1)


def test_nothing_is_taken_from_under_a_guest_whose_qemu_was_not_asked() -> None:
    world = drifts.detached_in_our_rows_only(live=False, persistent=False)
    world.guests[INSTANCE].ghosts.add(ALIAS)
    differences = found(world, qemu=False)
    assert [(each["kind"], each["safe"]) for each in differences] == [
        ("connection_left", False),
        ("attachment_left", False),
    ]
    assert "--qemu" in str(differences[0]["why_not"])

    repair(world, number=1, qemu=False)
    assert (world.connected, len(world.attachments)) == ({VOLUME}, 1)

    repair(world, number=2, qemu=True)
    assert found(world) == []
    assert world.connected == set()


def test_a_stopped_guest_has_let_go_whoever_is_asked() -> None:
    world = drifts.stop(drifts.detached_in_our_rows_only(persistent=False))
    assert repair(world, qemu=False).state is OperationState.SUCCEEDED
    assert (world.connected, world.attachments, world.connections) == (set(), {}, {})


def test_a_disk_of_other_hands_on_the_same_volume_keeps_it_connected() -> None:
    """The record is ours and the disk is not: what it stands on stays."""
    world = drifts.detached_in_our_rows_only(live=False, persistent=False)
    guest = world.guests[INSTANCE]
    theirs = replace(guest.live[drifts.FOREIGN], source=BlockSource(path=f"/dev/{VOLUME}"))
    guest.live[drifts.FOREIGN] = theirs
    assert [each["safe"] for each in found(world)] == [False, False]
    repair(world)
    assert (world.connected, len(world.attachments)) == ({VOLUME}, 1)


def test_a_removed_rows_alias_in_another_place_is_not_ours() -> None:
    world = drifts.detached_in_our_rows_only()
    guest = world.guests[INSTANCE]
    guest.live[ALIAS] = replace(guest.live[ALIAS], target="vdq")
    guest.persistent[ALIAS] = guest.live[ALIAS]
    before = copy.deepcopy(world)
    assert [(each["kind"], each["safe"]) for each in found(world)] == [
        ("connection_left", False),
        ("attachment_left", False),
    ]
    repair(world)
    assert world == before


def test_a_reservation_that_was_given_back_never_had_a_disk() -> None:
    """Other hands attached the volume since, with the alias and place that it has by itself."""
    world = drifts.detached_in_our_rows_only()
    gone = replace(world.removed[DEVICE], connection=None, attachment=None)
    world.removed[DEVICE] = gone
    world.connections.clear()
    before = copy.deepcopy(world)
    assert found(world) == []
    repair(world)
    assert world == before


def test_another_source_behind_the_same_alias_and_place_is_not_ours() -> None:
    world = drifts.detached_in_our_rows_only()
    guest = world.guests[INSTANCE]
    theirs = replace(guest.live[ALIAS], source=BlockSource(path="/dev/theirs"))
    guest.live[ALIAS] = guest.persistent[ALIAS] = theirs
    before = copy.deepcopy(world)
    assert {each["safe"] for each in found(world)} == {False}
    repair(world)
    assert world == before


def test_an_older_rows_record_goes_and_the_newer_row_stays_connected() -> None:
    world = drifts.attached_anew()
    repair(world)
    assert set(world.connections) == {DEVICE}
    assert world.connected == {VOLUME}


def test_a_row_that_an_operation_is_working_on_is_left_out_and_named() -> None:
    world = drifts.live_missing()
    asked = operation("detach_volume", number=9, **scenes.detach_arguments())
    fakes.ports(world).operations.accept(asked)

    answer = find_drift(FindDrift(instance_uuid=INSTANCE), fakes.ports(world))

    flux = {"instance_uuid": INSTANCE, "bdm_uuid": DEVICE, "operation_id": asked.id}
    assert (answer["differences"], answer["in_flux"]) == ([], [flux])


class Meanwhile(Guests):
    """Lets an operation come and go while the guest is being read."""

    def __init__(self, world: World, happens: Callable[[], object]) -> None:
        self.guests = fakes.ports(world).guests
        self.happens = happens

    def describe(self, instance: InstanceId) -> Guest:
        found = self.guests.describe(instance)
        self.happens()
        return found

    def find(self, name_or_uuid: str) -> Guest:
        return self.guests.find(name_or_uuid)


def test_what_changes_while_it_is_read_is_no_drift() -> None:
    world = attached()
    detach = operation("detach_volume", number=9, **scenes.detach_arguments())
    busy = Meanwhile(world, lambda: scenes.run(world, detach))
    ports = replace(fakes.ports(world), guests=busy)

    answer = find_drift(FindDrift(), ports)

    assert answer["differences"] == []
    assert [each["operation_id"] for each in answer["in_flux"]] == [detach.id]


def test_an_instance_that_cannot_be_looked_at_is_reported_and_the_others_are_looked_at() -> None:
    world = drifts.live_missing()
    other = replace(world.instances[INSTANCE], uuid=ELSEWHERE, name="a")
    world.instances[ELSEWHERE] = other
    ports = replace(fakes.ports(world), guests=Away(world))

    differences = find_drift(FindDrift(), ports)["differences"]

    assert [(each["instance_uuid"], each["kind"]) for each in differences] == [
        (ELSEWHERE, "unreadable"),
        (INSTANCE, "live_missing"),
    ]
    assert "hypervisor.unavailable" in differences[0]["why_not"]


class Away(Meanwhile):
    """Does not answer for one guest."""

    def __init__(self, world: World) -> None:
        super().__init__(world, lambda: None)

    def describe(self, instance: InstanceId) -> Guest:
        if instance == ELSEWHERE:
            raise HypervisorUnavailable("no answer")
        return super().describe(instance)


def test_an_instance_that_is_not_ours_is_not_looked_at() -> None:
    with pytest.raises(InstanceNotFound):
        find_drift(FindDrift(instance_uuid=ELSEWHERE), fakes.ports(attached()))


def test_a_record_of_an_instance_that_is_no_more_is_found_and_mended() -> None:
    world = drifts.detached_in_our_rows_only()
    world.instances.clear()
    world.guests.clear()
    assert kinds(world) == ["connection_left", "attachment_left"]
    assert repair(world).state is OperationState.SUCCEEDED
    assert (world.connected, world.connections, world.attachments) == (set(), {}, {})


def test_qemu_that_lacks_what_the_hypervisor_shows_is_named() -> None:
    world = attached()
    ports = fakes.ports(world)
    blind = replace(ports, insides=Blind(world))
    (difference,) = find_drift(FindDrift(qemu=True), blind)["differences"]
    assert (difference["kind"], difference["safe"]) == ("qemu_missing", False)


class Blind(FakeGuestInsides):
    def disks(self, instance: InstanceId) -> tuple[()]:
        return ()


def test_a_guest_that_gave_up_after_a_refused_detach_is_not_given_the_disk_again() -> None:
    """The worker finishes such a detach by itself (docs/adr/0008)."""
    world = attached()
    world.guests[INSTANCE].busy = True
    detach = operation("detach_volume", number=9, **scenes.detach_arguments())
    assert scenes.run(world, detach).state is OperationState.FAILED
    world.guests[INSTANCE].busy = False
    del world.guests[INSTANCE].live[ALIAS]
    (difference,) = found(world)
    assert (difference["kind"], difference["safe"]) == ("live_missing", False)


def test_a_guest_that_refuses_is_asked_once_and_the_rest_is_mended() -> None:
    world = drifts.detached_in_our_rows_only()
    world.guests[INSTANCE].busy = True
    asked = Counting("disks.unplug")

    ended = repair(world, asked)

    assert (ended.state, asked.count) == (OperationState.STUCK, 1)
    assert ended.fault is not None
    assert "live_left" in ended.fault.message
    assert "keeps" in ended.fault.message
    assert ALIAS not in world.guests[INSTANCE].persistent
    assert world.connected == {VOLUME}
    world.guests[INSTANCE].busy = False
    assert repair(world, number=2).state is OperationState.SUCCEEDED
    assert (world.connected, world.attachments) == (set(), {})


class Counting(Refusing):
    """Counts the calls of one name, and lets them be."""

    def __init__(self, name: str) -> None:
        super().__init__("")
        self.wanted = name
        self.count = 0

    def __call__(self, name: str) -> AbstractContextManager[None]:
        self.count += name == self.wanted
        return super().__call__(name)


def test_a_mend_that_keeps_failing_is_stuck_and_named_and_tried_no_third_time() -> None:
    world = drifts.live_missing()
    asked = Counting("connector.connect")
    ended = repair(world, Trouble(at=None), asked, Refusing("connector.connect"))
    assert (ended.state, asked.count) == (OperationState.STUCK, 2)
    assert ended.fault is not None
    assert "live_missing" in ended.fault.message


def test_a_volume_service_that_leads_elsewhere_now_is_not_believed() -> None:
    world = drifts.attachment_missing()
    row = world.rows[DEVICE]
    assert row.connection is not None
    elsewhere = replace(row.connection, properties={"device_path": "/dev/other"})
    drifts.change_row(world, connection=elsewhere)
    ended = repair(world)
    assert ended.state is OperationState.STUCK
    assert ended.fault is not None
    assert "leads elsewhere" in ended.fault.message
    assert world.rows[DEVICE].connection == elsewhere


def test_a_smaller_device_is_not_given_to_the_guest() -> None:
    world = drifts.live_missing()
    world.sizes[VOLUME] = 512
    ended = repair(world)
    assert ended.state is OperationState.STUCK
    assert ALIAS not in world.guests[INSTANCE].live


def test_nothing_to_mend_is_a_success_that_changes_and_tells_nothing() -> None:
    world = attached()
    before = copy.deepcopy(world)
    ended = repair(world)
    assert (ended.state, ended.past_commit_point) == (OperationState.SUCCEEDED, False)
    assert (world, world.told) == (before, before.told)


def test_a_database_that_is_away_is_no_refusal() -> None:
    world = drifts.live_missing()
    ports = fakes.ports(world)
    away = replace(ports, devices=Lost(world))
    with pytest.raises(DatabaseUnavailable):
        find_drift(FindDrift(), away)


class Lost(FakeBlockDevices):
    def of_instance(self, instance: InstanceId) -> tuple[BlockDevice, ...]:
        raise DatabaseUnavailable("gone")


@pytest.mark.parametrize("kind", list(DriftKind))
def test_each_kind_is_described(kind: DriftKind) -> None:
    lines = (Path(__file__).parents[2] / "docs" / "drift.md").read_text().splitlines()
    assert [line for line in lines if line.startswith("| ") and f"`{kind}`" in line.split("|")[1]]


def test_a_disk_is_not_plugged_in_while_the_other_layout_has_it_otherwise() -> None:
    world = drifts.change_disk(drifts.live_missing(), "persistent", target="vdq")
    assert {each["safe"] for each in found(world)} == {False}
    ended = repair(world)
    assert (ended.state, ended.past_commit_point) == (OperationState.SUCCEEDED, False)


def test_a_hypervisor_that_is_away_for_longer_is_waited_for() -> None:
    world = drifts.live_missing()
    mends = Only("disks.attach", times=3)
    ended = repair(world, mends)
    assert (ended.state, mends.count) == (OperationState.SUCCEEDED, 4)
    assert ALIAS in world.guests[INSTANCE].live


class Only:
    """Lets the first calls of one name fail."""

    def __init__(self, name: str, *, times: int) -> None:
        self.name = name
        self.times = times
        self.count = 0

    def __call__(self, name: str) -> AbstractContextManager[None]:
        if name != self.name:
            return Trouble()(name)
        self.count += 1
        return Trouble(at=0 if self.count <= self.times else None)(name)


def test_an_attachment_is_kept_while_a_newer_row_may_come_to_use_it() -> None:
    world = drifts.stop(drifts.detached_in_our_rows_only())
    world.guests[INSTANCE].persistent.pop(ALIAS)
    newer = replace(
        world.removed[DEVICE], uuid=OTHER_DEVICE, deleted=False, attachment=None, connection=None
    )
    world.rows[OTHER_DEVICE] = replace(newer, status=DeviceStatus.RESERVED, alias="ua-newer")
    assert [(each["kind"], each["safe"]) for each in found(world)] == [
        ("connection_left", False),
        ("attachment_left", False),
    ]
    repair(world)
    assert (len(world.attachments), world.connected) == (1, {VOLUME})
