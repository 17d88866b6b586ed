"""The crash matrix's table, and its trouble, without the real parts."""

import threading
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from tests.chaos.bus import Broker, compare
from tests.chaos.scenes import SCENES, WITHOUT, missing
from tests.chaos.soak.plan import Act, Victim, deeds, kills
from tests.chaos.trouble import Kind, Orders, Place, Plan, Trouble, places
from tests.processes import Json
from tests.unit.scenes import operation
from worker.errors import HypervisorUnavailable
from worker.rpc.methods import OPERATIONS
from worker.steps import Watch

if TYPE_CHECKING:
    from worker.rpc.client import Client
    from worker.rpc.hearing import Hearing

ASKED = operation("attach_volume", number=1)


def test_every_operation_on_a_guest_has_a_scene_or_a_reason() -> None:
    assert missing() == set()
    assert {scene.method for scene in SCENES} | set(WITHOUT) <= set(OPERATIONS)


def test_without_orders_there_is_no_trouble_and_no_counting(tmp_path: Path) -> None:
    orders = Orders(tmp_path)
    watch = Trouble(orders).over(ASKED)
    with watch("disks.attach"):
        pass
    orders.give(Plan(at=Place(name="disks.attach"), kind=Kind.ERROR_BEFORE))
    with pytest.raises(HypervisorUnavailable), watch("disks.attach"):
        raise AssertionError
    assert orders.happened() == "disks.attach"


def made(watch: Watch, *names: str) -> list[str]:
    """Make the calls; return what came of each."""
    found = []
    for name in names:
        try:
            with watch(name):
                found.append(name)
        except HypervisorUnavailable as error:
            found.append(f"error at {error}")
    return found


def test_trouble_comes_at_the_call_of_its_place_and_once(tmp_path: Path) -> None:
    orders = Orders(tmp_path)
    orders.give(Plan(at=Place(name="disks.unplug", before=1), kind=Kind.ERROR_BEFORE))
    watch = Trouble(orders).over(ASKED)
    assert made(watch, "disks.unplug", "disks.forget", "disks.unplug", "disks.unplug") == [
        "disks.unplug",
        "disks.forget",
        "error at disks.unplug",
        "disks.unplug",
    ]
    assert orders.happened() == "disks.unplug"
    orders.withdraw()
    assert orders.plan() is None


def test_a_call_that_comes_in_between_does_not_move_the_trouble(tmp_path: Path) -> None:
    orders, calls = Orders(tmp_path), ["guests.describe", "disks.attach", "guests.describe"]
    orders.give(Plan(at=places(calls)[2], kind=Kind.ERROR_BEFORE))
    watch = Trouble(orders).over(ASKED)
    assert made(watch, "guests.describe", "insides.disks", "disks.attach", "guests.describe") == [
        "guests.describe",
        "insides.disks",
        "disks.attach",
        "error at guests.describe",
    ]


def test_calls_of_another_operation_neither_count_nor_meet_with_trouble(tmp_path: Path) -> None:
    orders, at = Orders(tmp_path), Place(name="guests.describe")
    orders.give(Plan(at=at, kind=Kind.ERROR_BEFORE, operation=ASKED.id))
    trouble, another = Trouble(orders), operation("sync_power_state", number=2)
    assert made(trouble.over(another), "guests.describe") == ["guests.describe"]
    assert made(trouble.over(ASKED), "guests.describe") == ["error at guests.describe"]


def test_new_orders_count_anew_with_no_call_in_between(tmp_path: Path) -> None:
    orders, at = Orders(tmp_path), Place(name="guests.describe")
    trouble, another = Trouble(orders), operation("stop_instance", number=2)
    for asked in (ASKED, another):
        orders.give(Plan(at=at, kind=Kind.ERROR_BEFORE, operation=asked.id))
        assert made(trouble.over(asked), "guests.describe") == ["error at guests.describe"]
        orders.withdraw()


def test_a_place_without_a_name_is_the_n_th_call_of_all_operations(tmp_path: Path) -> None:
    orders = Orders(tmp_path)
    orders.give(Plan(at=Place(before=1), kind=Kind.ERROR_BEFORE))
    trouble, another = Trouble(orders), operation("sync_power_state", number=2)
    assert made(trouble.over(another), "guests.describe") == ["guests.describe"]
    assert made(trouble.over(ASKED), "disks.attach") == ["error at disks.attach"]


def test_an_error_of_the_call_itself_is_not_hidden(tmp_path: Path) -> None:
    orders = Orders(tmp_path)
    orders.give(Plan(at=Place(name="disks.attach"), kind=Kind.ERROR_AFTER))
    with pytest.raises(ZeroDivisionError), Trouble(orders).over(ASKED)("disks.attach"):
        raise ZeroDivisionError


def test_an_error_before_the_trouble_makes_it_one_of_the_way_back(tmp_path: Path) -> None:
    orders = Orders(tmp_path)
    at, failing = Place(name="disks.unplug"), Place(name="disks.attach")
    orders.give(Plan(at=at, kind=Kind.ERROR_AFTER, failing=failing))
    assert made(Trouble(orders).over(ASKED), "disks.attach", "disks.unplug") == [
        "error at disks.attach",
        "disks.unplug",
        "error at disks.unplug",
    ]
    assert orders.happened() == "disks.unplug"


def heard(number: int, **more: object) -> Json:
    payload = {"sequence": number, "operation_id": None} | more
    return {"message_id": str(number), "event_type": "instance.power", "payload": payload}


WANTED: dict[str, Json] = {
    str(number): {"event": "instance.power", "sequence": number, "operation_id": None}
    for number in (1, 2, 3)
}


@pytest.mark.parametrize(
    ("numbers", "found"),
    [
        ((1, 2, 3), []),
        ((1, 2, 1, 2, 3, 3), []),
        ((1, 3), ["heard: not instance.power 2 of None"]),
        ((1, 3, 2), ["heard: out of order: [1, 3, 2]"]),
        (
            (1, 2, 3, 4),
            ["heard: instance.power 4 of None, which the outbox does not have"],
        ),
    ],
)
def test_what_is_heard_is_the_outbox_in_its_order_and_may_come_again(
    numbers: tuple[int, ...], found: list[str]
) -> None:
    assert compare(WANTED, [heard(number) for number in numbers]) == found


def test_a_copy_that_differs_is_named() -> None:
    (found,) = compare(WANTED, [heard(1), heard(2), heard(3), heard(2, operation_id="other")])
    assert "a copy that differs" in found


class Ear:
    """Hears what it is given, once each, then nothing."""

    def __init__(self, stopping: threading.Event, *updates: Json) -> None:
        self._stopping = stopping
        self._left = list(updates)

    def wait(self, _seconds: float) -> Json | None:
        if self._left:
            return self._left.pop(0)
        self._stopping.set()
        return None


def test_what_is_told_while_it_is_compared_is_no_surprise() -> None:
    """A guest that comes up while its outbox is read is followed, and that is told too."""
    stopping, bus = threading.Event(), Broker("", cast("Client", None))
    bus.listen(cast("Hearing", Ear(stopping, of("guest", 1), of("guest", 2))), stopping)
    rows = [row_of(of("guest", number)) for number in (1, 2)]
    outbox = [rows[:1], rows, rows]
    assert bus.differences(lambda: outbox.pop(0)) == []


def of(instance: str, number: int) -> Json:
    return heard(number, instance_uuid=instance)


def row_of(update: Json) -> Any:  # noqa: ANN401 - as a row of the database
    said = {"event": update["event_type"], "message_id": update["message_id"]}
    return said | {"payload": update["payload"], "instance_uuid": "guest"}


def test_the_same_seed_draws_the_same_soak() -> None:
    both = (Victim.WORKER, Victim.LIBVIRTD)
    assert list(deeds(7, 0, 100, 5)) == list(deeds(7, 0, 100, 5))
    assert list(deeds(7, 0, 100, 5)) != list(deeds(7, 1, 100, 5))
    assert kills(7, 1000, both) == kills(7, 1000, both)
    assert {kill.victim for kill in kills(7, 1000, both)} == set(both)


def test_a_soak_asks_only_for_what_can_be_asked_for() -> None:
    drawn = list(deeds(7, 0, 2000, 5))
    assert sum(not deed.act.is_call for deed in drawn) == 2000
    assert {deed.act for deed in drawn} == set(Act)
    for volume in range(5):
        acts = [deed.act for deed in drawn if deed.volume == volume and deed.act.code is None]
        assert acts[0] is Act.RESERVE
        assert set(pairwise(acts)) == {
            (Act.RESERVE, Act.ATTACH),
            (Act.RESERVE, Act.RELEASE),
            (Act.ATTACH, Act.DETACH),
            (Act.DETACH, Act.RESERVE),
            (Act.RELEASE, Act.RESERVE),
        }
