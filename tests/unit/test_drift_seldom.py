"""Drift that is seldom met: two records of one volume, a row that is no more, a guest unlike most.

Each is met here by hand, so that no rule about it waits for a draw to be tried.
"""

import copy
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests import fakes
from tests.fakes.database import FakeConnections
from tests.fakes.hypervisor import FakeGuests
from tests.fakes.volume_service import connection_of
from tests.fakes.world import World
from tests.unit import drifts, scenes
from tests.unit.drifts import ALIAS, attached, found, repair
from tests.unit.scenes import DEVICE, INSTANCE, OTHER_DEVICE, VOLUME, operation
from worker.handlers.find_drift import FindDrift, find_drift
from worker.model.block_device import Bus
from worker.model.connection import ConnectionRecord
from worker.model.guest import Guest
from worker.model.ids import BlockDeviceId, InstanceId
from worker.model.operation import OperationState

NAMELESS = BlockDeviceId("c0ffee00-0000-4000-8000-0000000000ff")


def left_twice() -> World:
    """Two removed rows of one volume each left a record, and one of them an attachment."""
    world = drifts.detached_in_our_rows_only(live=False, persistent=False)
    older = replace(world.removed[DEVICE], uuid=OTHER_DEVICE, attachment=None)
    world.removed[OTHER_DEVICE] = older
    world.connections[OTHER_DEVICE] = connection_of(VOLUME).without_secrets()
    return world


def test_of_two_records_the_last_disconnects() -> None:
    world = left_twice()
    assert repair(world).state is OperationState.SUCCEEDED
    assert (world.connected, world.connections, world.attachments) == (set(), {}, {})
    assert found(world) == []


def test_the_last_of_two_records_has_to_wait_for_what_only_the_last_must() -> None:
    """While there were two, nobody had asked whether QEMU still has the disk."""
    world = left_twice()
    world.guests[INSTANCE].ghosts.add(ALIAS)

    repair(world, qemu=False)

    assert (world.connected, len(world.connections)) == ({VOLUME}, 1)
    (record, attachment) = found(world, qemu=False)
    assert (record["kind"], record["safe"]) == ("connection_left", False)
    assert "--qemu" in str(record["why_not"])
    assert (attachment["kind"], attachment["safe"]) == ("attachment_left", False)


class WithANameless(FakeConnections):
    """Has a record more, of a row that there never was."""

    def list(self) -> tuple[ConnectionRecord, ...]:
        record = ConnectionRecord(
            device=NAMELESS,
            instance=INSTANCE,
            volume=VOLUME,
            connection=connection_of(VOLUME).without_secrets(),
        )
        return (*super().list(), record)


def test_a_record_that_no_row_explains_is_named_and_left_to_an_operator() -> None:
    world = attached()
    ports = replace(fakes.ports(world), connections=WithANameless(world))

    (difference,) = find_drift(FindDrift(), ports)["differences"]

    assert (difference["kind"], difference["safe"]) == ("connection_left", False)
    assert (difference["bdm_uuid"], difference["volume_id"]) == (NAMELESS, VOLUME)
    assert (difference["alias"], difference["device_name"]) == (None, None)
    assert difference["views"] == {"row": "none", "connection": "recorded"}
    assert "an operator looks" in difference["why_not"]


def test_what_a_removed_row_left_is_its_stuck_operations() -> None:
    world = drifts.detached_in_our_rows_only()
    asked = operation("detach_volume", number=7, **scenes.detach_arguments())
    world.operations[asked.id] = replace(asked, state=OperationState.STUCK)
    before = copy.deepcopy(world)

    differences = found(world)

    why_not = [str(each["why_not"]) for each in differences]
    stuck = f"operation {asked.id} is stuck: retry or abandon it"
    assert why_not == [stuck, stuck, *[f"live_left goes first: {stuck}"] * 2]
    repair(world)
    assert world == before


class Transient(FakeGuests):
    """Shows a guest that is gone when it stops: it has no persistent layout."""

    def describe(self, instance: InstanceId) -> Guest:
        return replace(super().describe(instance), persistent=None)


@pytest.mark.parametrize(
    ("make", "kinds"), [(attached, []), (drifts.live_missing, ["live_missing"])]
)
def test_nothing_is_missed_in_the_persistent_layout_of_a_transient_guest(
    make: Callable[[], World], kinds: list[str]
) -> None:
    world = make()
    world.guests[INSTANCE].persistent.clear()
    ports = replace(fakes.ports(world), guests=Transient(world))

    differences = find_drift(FindDrift(), ports)["differences"]

    assert [each["kind"] for each in differences] == kinds
    assert {each["views"]["persistent"] for each in differences} <= {"transient"}


def test_a_bus_that_takes_no_disk_while_the_guest_runs_is_not_plugged_into() -> None:
    world = drifts.change_disk(drifts.live_missing(), "persistent", bus=Bus.SATA)
    drifts.change_row(world, bus=Bus.SATA)

    (difference,) = found(world)

    assert (difference["kind"], difference["safe"]) == ("live_missing", False)
    assert difference["why_not"] == "bus sata takes no disk while the instance runs; stop it first"


def test_a_row_without_an_address_says_nothing_of_its_disks() -> None:
    world = drifts.change_row(attached(), address=None)
    assert found(world) == []

    drifts.change_disk(world, "live", target="vdq")

    (difference,) = found(world)
    assert difference["kind"] == "live_differs"
    assert "target vdq, not vda" in str(difference["why_not"])
    assert "address" not in str(difference["why_not"])


def test_nothing_is_made_anew_for_a_volume_that_is_gone() -> None:
    for make in (drifts.attachment_incomplete, drifts.attachment_missing):
        world = make()
        del world.volumes[VOLUME]
        first = found(world)[0]
        assert first["safe"] is False
        assert first["why_not"] == f"the volume service knows no volume {VOLUME}"


def test_a_connection_that_nobody_has_written_down_cannot_be() -> None:
    world = drifts.change_row(drifts.connection_missing(), connection=None)
    (difference,) = found(world)
    assert (difference["kind"], difference["safe"]) == ("connection_missing", False)
    assert "does not have it either" in str(difference["why_not"])


def test_a_disk_is_not_plugged_in_when_nothing_says_how_it_is_reached() -> None:
    world = drifts.change_row(drifts.live_missing(), connection=None)
    drifts.change_attachment(world, connection=None)

    ended = repair(world)

    assert ended.state is OperationState.STUCK
    assert ended.fault is not None
    assert f"nothing says how volume {VOLUME} is reached" in ended.fault.message
    assert ALIAS not in world.guests[INSTANCE].live
