"""A device that bears no alias of ours is found by facts, by every handler, or refused."""

import copy
import logging
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests import fakes
from tests.fakes.images import disk_path
from tests.fakes.world import World
from tests.unit import adopt_scenes, build_scenes, drifts, older_scenes, power_scenes, scenes
from tests.unit.older_scenes import BOTH, ELSEWHERE, OWN, change, guest_in, older, twin
from tests.unit.scenes import DEVICE, INSTANCE, OPERATION, VOLUME, Refusing, operation, run
from worker.errors import (
    DeviceAmbiguous,
    GuestBusy,
    HypervisorRefused,
    HypervisorUnavailable,
    WorkerError,
)
from worker.handlers.abandon_operation import AbandonOperation, abandon_operation
from worker.handlers.detach_volume import DetachVolume
from worker.handlers.find_drift import FindDrift, find_drift
from worker.handlers.get_device_metadata import GetDeviceMetadata, get_device_metadata
from worker.handlers.look_at_guest import OwnRequest, look_at_guest
from worker.handlers.parts.find_device import borne, former_alias, source_of
from worker.model.block_device import DeviceStatus
from worker.model.guest import GuestDisk
from worker.model.identity.lookup import DeviceKind, Found
from worker.model.identity.marks import Adoption, Former, Marks
from worker.model.instance import VmState
from worker.model.operation import Operation, OperationState
from worker.model.places.address import PciAddress

AGAIN = 2


def detach(world: World, number: int = 1, *watches: Refusing) -> Operation:
    return run(world, operation("detach_volume", number, **scenes.detach_arguments()), *watches)


def code(ended: Operation) -> str | None:
    return None if ended.fault is None else ended.fault.code


def look(world: World) -> tuple[OwnRequest, ...]:
    return look_at_guest(INSTANCE, fakes.ports(world))


def check_left_alone(world: World, refused_with: type[WorkerError]) -> str:
    """Detach; nothing may have changed. Return what was said."""
    before = copy.deepcopy(world)
    ended = detach(world)
    assert code(ended) == refused_with.code
    assert world == before
    assert ended.fault is not None
    return ended.fault.message


@pytest.mark.parametrize("layouts", [("live",), BOTH])
def test_a_volume_is_detached_by_the_alias_that_it_bears(
    layouts: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    world = older(*layouts)
    with caplog.at_level(logging.WARNING):
        assert detach(world).fault is None
    assert world == scenes.world()
    assert set(world.found_by_facts) == {DeviceKind.DISK}
    assert f"alias={world.removed[DEVICE].alias} found=disk vda ({OWN})" in caplog.text


def test_what_bears_our_alias_is_counted_nowhere() -> None:
    world = scenes.world()
    scenes.attach(world)
    assert detach(world).fault is None
    assert world.found_by_facts == []


def test_a_guest_that_shows_it_is_not_in_doubt() -> None:
    world = older()
    assert detach(world).fault is None
    assert not guest_in(world).doubted


def test_a_guest_that_keeps_it_keeps_all_else() -> None:
    world = older(*BOTH)
    guest_in(world).busy = True
    check_left_alone(world, GuestBusy)
    guest_in(world).busy = False
    assert detach(world, AGAIN).fault is None


def test_a_call_that_broke_off_takes_nothing_from_a_guest_that_has_it() -> None:
    world = older()
    ended = detach(world, 1, Refusing("disks.unplug"))
    assert code(ended) == HypervisorUnavailable.code
    assert "theirs" in guest_in(world).live
    assert world.connected == {VOLUME}
    assert world.rows[DEVICE].status is DeviceStatus.ATTACHED


def test_what_was_refused_is_not_taken_for_gone_at_the_next_look() -> None:
    world = older()
    guest_in(world).busy = True
    detach(world)
    assert look(world) == ()
    twin(world)
    assert look(world) == ()
    guest_in(world).live.clear()
    finish = DetachVolume(instance_uuid=INSTANCE, volume_id=VOLUME, bdm_uuid=DEVICE)
    assert look(world) == (finish,)


def test_two_candidates_are_both_named_and_nothing_is_touched() -> None:
    world = older()
    twin(world)
    said = check_left_alone(world, DeviceAmbiguous)
    assert "disk vda" in said
    assert "disk vdq" in said


@pytest.mark.parametrize(
    "facts",
    [
        {"target": "vdq"},
        {"address": PciAddress(bus=7, slot=0)},
        {"serial": "another"},
        {"source": ELSEWHERE},
    ],
)
def test_a_contradiction_is_refused(facts: dict[str, object]) -> None:
    check_left_alone(change(older(), **facts), DeviceAmbiguous)


def test_a_lone_name_is_neither_taken_nor_called_gone() -> None:
    said = check_left_alone(older_scenes.without_facts(older()), DeviceAmbiguous)
    assert "disk vda" in said


def test_another_disk_under_the_name_is_left_to_its_owner() -> None:
    """Other hands have taken ours out, and put theirs in its place."""
    world = change(older(), source=ELSEWHERE, serial="theirs")
    guest_in(world).persistent.clear()
    assert detach(world).fault is None
    assert list(guest_in(world).live) == ["theirs"]


def test_what_only_the_next_start_says_is_a_doubt() -> None:
    """Other hands have another disk there in both, under the alias that was ours."""
    world = change(older(), source=ELSEWHERE, serial=None)
    (alias,) = guest_in(world).persistent
    kept = guest_in(world).persistent[alias]
    guest_in(world).persistent[alias] = replace(kept, source=ELSEWHERE)
    check_left_alone(world, DeviceAmbiguous)


def test_the_next_start_says_where_a_volume_is_that_nobody_connected() -> None:
    world = older()
    world.rows[DEVICE] = replace(world.rows[DEVICE], connection=None)
    world.connections.clear()
    assert detach(world).fault is None
    assert guest_in(world).live == {}


def test_a_guest_without_a_next_start_is_looked_through_alike() -> None:
    world = older()
    guest_in(world).transient = True
    guest_in(world).persistent.clear()
    assert detach(world).fault is None
    assert guest_in(world).live == {}


@pytest.mark.parametrize("known", [True, False])
def test_an_alias_of_our_form_is_the_rows_only_if_it_was_before(*, known: bool) -> None:
    world = change(older(), alias="ua-theirs")
    former = (Former(device=DEVICE, marks=Marks(alias="ua-theirs")),)
    if known:
        adopted = replace(world.instances[INSTANCE], adoption=Adoption(former=former))
        world.instances[INSTANCE] = adopted
    detach(world)
    assert ("theirs" in guest_in(world).live) is not known


def test_a_run_that_was_cut_off_looks_anew() -> None:
    world = older(*BOTH)
    world.rows[DEVICE] = replace(world.rows[DEVICE], status=DeviceStatus.DETACHING)
    assert detach(world).fault is None
    assert world == scenes.world()


def test_what_bears_no_alias_at_all_cannot_be_asked_for() -> None:
    disk = GuestDisk(target="vda", bus="virtio", alias=None, serial=None, source=None, address=None)
    with pytest.raises(HypervisorRefused, match="disk vda"):
        borne(Found(device=disk, by_alias=False))


def stuck(world: World) -> World:
    asked = operation("detach_volume", **scenes.detach_arguments())
    world.operations[asked.id] = replace(asked, state=OperationState.STUCK)
    world.rows[DEVICE] = replace(world.rows[DEVICE], status=DeviceStatus.ERROR)
    return world


def abandon(world: World) -> str:
    request = AbandonOperation(operation_id=operation("detach_volume").id)
    answer = abandon_operation(request, fakes.ports(world), phases_of=lambda _method: None)
    return str(answer["message"])


def test_a_stuck_detach_is_given_up_by_what_the_guest_shows() -> None:
    assert operation("detach_volume").id == OPERATION
    assert "is attached" in abandon(stuck(older(*BOTH)))


def test_a_stuck_detach_is_not_given_up_while_nobody_can_tell() -> None:
    world = stuck(older(*BOTH))
    twin(world)
    with pytest.raises(DeviceAmbiguous, match="vdq"):
        abandon(world)
    assert world.operations[OPERATION].state is OperationState.STUCK


def test_what_bears_the_alias_elsewhere_is_not_the_rows() -> None:
    world = stuck(older())
    (alias,) = guest_in(world).persistent
    guest_in(world).live = {alias: replace(guest_in(world).persistent.pop(alias), target="vdq")}
    assert "is removed" in abandon(world)


def metadata(world: World) -> list[dict[str, object]]:
    world.rows[DEVICE] = replace(world.rows[DEVICE], tag="data")
    return get_device_metadata(GetDeviceMetadata(instance_uuid=INSTANCE), fakes.ports(world))


def test_the_metadata_has_the_address_that_the_guest_shows() -> None:
    world = older()
    guest_in(world).transient = True
    world.rows[DEVICE] = replace(world.rows[DEVICE], address=None)
    change(world, address=PciAddress(bus=7, slot=0))
    assert metadata(world)[0]["address"] == "0000:07:00.0"


def test_of_a_disk_in_doubt_the_metadata_has_the_rows_address() -> None:
    world = older(*BOTH)
    twin(world)
    assert metadata(world)[0]["address"] == str(world.rows[DEVICE].address).removeprefix("pci:")


def test_the_metadata_has_nothing_of_another_disk_that_bears_the_alias() -> None:
    world = scenes.world()
    scenes.attach(world)
    (alias,) = guest_in(world).live
    guest_in(world).live[alias] = replace(guest_in(world).live[alias], target="vdq")
    with pytest.raises(DeviceAmbiguous):
        metadata(world)


@pytest.mark.parametrize("layouts", [("live",), BOTH])
def test_a_disk_that_is_found_by_facts_is_no_drift(layouts: tuple[str, ...]) -> None:
    world = older(*layouts)
    answer = find_drift(FindDrift(qemu=True), fakes.ports(world))
    assert (answer["differences"], answer["foreign"]) == ([], 0)
    assert world.found_by_facts


def test_drift_names_a_doubt_and_reads_all_else() -> None:
    world = older()
    twin(world)
    (difference,) = drifts.found(world)
    assert difference["kind"] == "live_differs"
    assert "vdq" in str(difference["why_not"])
    assert "perhaps" in str(difference["views"])


def test_drift_says_as_what_a_disk_is_shown() -> None:
    world = older()
    world.attachments.clear()
    (difference,) = drifts.found(world)
    assert f"({OWN})" in difference["views"]["live"]  # type: ignore[index]


def test_a_disk_that_nobody_here_knows_the_content_of_is_no_drift() -> None:
    """The root of an adopted guest that has no next start: its place is all that is known."""
    world = adopt_scenes.guest_of_others(VmState.ACTIVE)
    guest_in(world).transient = True
    adopt_scenes.adopt(world)
    answer = find_drift(FindDrift(qemu=True), fakes.ports(world))
    assert (answer["differences"], answer["foreign"]) == ([], 0)


def test_a_disk_that_only_the_running_guest_lost_is_plugged_in_beside_an_older_next_start() -> None:
    world = older(*BOTH)
    guest_in(world).live.clear()
    before = world.rows[DEVICE]
    ended = drifts.repair(world)
    assert ended.fault is None, ended.fault
    assert list(guest_in(world).live) == list(guest_in(world).persistent) == [before.alias]


def unmarked(make: Callable[[], World]) -> World:
    """Return a world whose guest's next start has the data volume without our alias."""
    world = make()
    disks = guest_in(world).persistent
    alias = world.rows[power_scenes.DATA].alias
    disks["theirs"] = replace(disks.pop(alias), alias="")
    return world


def test_an_older_guest_is_started_and_gets_its_aliases() -> None:
    world = unmarked(power_scenes.off)
    assert run(world, operation("start_instance", instance_uuid=INSTANCE)).fault is None
    assert world.rows[power_scenes.DATA].alias in guest_in(world).live


def test_an_older_guest_is_started_without_a_volume_that_is_away() -> None:
    world = unmarked(power_scenes.off)
    world.unreachable.add(power_scenes.DATA_VOLUME)
    assert run(world, operation("start_instance", instance_uuid=INSTANCE)).fault is None
    assert world.rows[power_scenes.DATA].status is DeviceStatus.MISSING
    assert "theirs" not in guest_in(world).live


def test_a_local_disk_is_looked_for_by_its_file() -> None:
    world = build_scenes.built()
    row = next(one for one in world.rows.values() if one.local)
    assert source_of(row, fakes.ports(world)) == disk_path(INSTANCE, row.uuid)


def test_nothing_was_before_where_no_instance_is() -> None:
    world = older()
    world.instances.clear()
    assert former_alias(world.rows[DEVICE], fakes.ports(world)) is None
