"""Whatever the views say: a comparison ends, offers only what is ours, and a repair converges."""

import copy
from collections.abc import Callable
from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests import fakes
from tests.fakes.world import World
from tests.unit import drifts, scenes
from tests.unit.drifts import ALIAS, FOREIGN, attached, found, repair
from tests.unit.scenes import DEVICE, INSTANCE, OTHER_DEVICE, OTHER_VOLUME, VOLUME
from worker.handlers.find_drift import look
from worker.handlers.parts.mends import MENDS
from worker.model.block_device import DeviceStatus
from worker.model.drift import Views, compare
from worker.model.operation import OperationState
from worker.model.volume import AttachmentStatus, VolumeStatus

OTHER_ALIAS = f"ua-{OTHER_VOLUME}"

Change = Callable[[World], object]


def two_attached() -> World:
    world = attached()
    scenes.attach(world, OTHER_VOLUME, OTHER_DEVICE)
    return world


def set_row(**fields: object) -> Change:
    def change(world: World) -> None:
        if DEVICE in world.rows:
            drifts.change_row(world, **fields)

    return change


def set_volume(status: VolumeStatus) -> Change:
    def change(world: World) -> None:
        if VOLUME in world.volumes:
            drifts.change_volume(world, status)

    return change


def remove_row(world: World) -> None:
    if DEVICE in world.rows:
        world.removed[DEVICE] = replace(world.rows.pop(DEVICE), deleted=True)


def set_attachment(status: AttachmentStatus) -> Change:
    def change(world: World) -> None:
        for uuid, held in world.attachments.items():
            if held.volume == VOLUME:
                world.attachments[uuid] = replace(held, status=status)

    return change


def drop_attachment(world: World) -> None:
    for uuid, held in list(world.attachments.items()):
        if held.volume == VOLUME:
            del world.attachments[uuid]


def set_disk(layout: str, **fields: object) -> Change:
    def change(world: World) -> None:
        if ALIAS in getattr(world.guests[INSTANCE], layout):
            drifts.change_disk(world, layout, **fields)

    return change


def make_ghost(world: World) -> None:
    guest = world.guests[INSTANCE]
    if guest.live.pop(ALIAS, None):
        guest.ghosts.add(ALIAS)


CHANGES: dict[str, Change] = {
    "lose live": lambda world: world.guests[INSTANCE].live.pop(ALIAS, None),
    "lose persistent": lambda world: world.guests[INSTANCE].persistent.pop(ALIAS, None),
    "another serial": set_disk("live", serial="another"),
    "another target": set_disk("persistent", target="vdq"),
    "ghost": make_ghost,
    "stop": drifts.stop,
    "remove row": remove_row,
    "lose record": lambda world: world.connections.pop(DEVICE, None),
    "lose connection": lambda world: world.connected.discard(VOLUME),
    "lose attachment": drop_attachment,
    "attachment reserved": set_attachment(AttachmentStatus.RESERVED),
    "volume available": set_volume(VolumeStatus.AVAILABLE),
    "volume detaching": set_volume(VolumeStatus.DETACHING),
    "lose volume": lambda world: world.volumes.pop(VOLUME, None),
    "row detaching": set_row(status=DeviceStatus.DETACHING),
    "row reserved": set_row(status=DeviceStatus.RESERVED),
    "row without attachment": set_row(attachment=None),
    "row without connection": set_row(connection=None),
}


def look_at(world: World, *, qemu: bool) -> Views:
    return look(INSTANCE, fakes.ports(world), qemu=qemu)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    changes=st.lists(st.sampled_from(sorted(CHANGES)), max_size=6, unique=True),
    qemu=st.booleans(),
)
def test_a_repair_converges_and_touches_nothing_but_what_is_ours(
    changes: list[str], *, qemu: bool
) -> None:
    world = two_attached()
    for name in changes:
        CHANGES[name](world)
    bystander = untouched_parts(world)
    offered = [each for each in found(world, qemu=qemu) if each["safe"]]

    ended = repair(world, qemu=qemu)

    assert ended.state in {OperationState.SUCCEEDED, OperationState.STUCK}, ended.fault
    assert bystander == untouched_parts(world)
    left = [each for each in found(world, qemu=qemu) if each["safe"]]
    if ended.state is OperationState.SUCCEEDED:
        assert left == []
    if not offered:
        assert not ended.past_commit_point
    after = copy.deepcopy(world)
    if not left:
        repair(world, number=2, qemu=qemu)
        assert world == after


def untouched_parts(world: World) -> object:
    """Return all that is not about the volume that was tampered with."""
    guest = world.guests[INSTANCE]
    layouts = (guest.live, guest.persistent)
    return copy.deepcopy(
        (
            [{alias: disk for alias, disk in each.items() if alias != ALIAS} for each in layouts],
            guest.ghosts - {ALIAS},
            world.rows[OTHER_DEVICE],
            world.volumes[OTHER_VOLUME],
            [held for held in world.attachments.values() if held.volume != VOLUME],
            world.connections[OTHER_DEVICE],
            OTHER_VOLUME in world.connected,
        )
    )


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    changes=st.lists(st.sampled_from(sorted(CHANGES)), max_size=6, unique=True),
    qemu=st.booleans(),
)
def test_each_difference_says_what_becomes_of_it_and_names_a_row(
    changes: list[str], *, qemu: bool
) -> None:
    world = two_attached()
    for name in changes:
        CHANGES[name](world)
    for each in compare(look_at(world, qemu=qemu)).differences:
        assert (each.mend.does is None) != (each.mend.why_not is None), each
        assert each.kind in MENDS or not each.safe, each
        assert each.device is not None
        assert FOREIGN not in str(each.alias)
        assert set(each.views) >= {"row", "live", "persistent", "attachment", "connection"}


@given(changes=st.lists(st.sampled_from(sorted(CHANGES)), max_size=6, unique=True))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_row_at_work_is_left_out_whatever_is_wrong_with_it(changes: list[str]) -> None:
    world = two_attached()
    for name in changes:
        CHANGES[name](world)
    views = replace(look_at(world, qemu=True), at_work={DEVICE: None, OTHER_DEVICE: None})
    drift = compare(views)
    assert drift.differences == ()
    assert set(drift.in_flux) == {DEVICE, OTHER_DEVICE}


@given(qemu=st.booleans())
def test_views_that_agree_have_no_difference(*, qemu: bool) -> None:
    drift = compare(look_at(two_attached(), qemu=qemu))
    assert drift.differences == ()
    assert drift.foreign == 1 + qemu
