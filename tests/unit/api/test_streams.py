"""The pure parts of streams: events, numbers, inboxes, owners."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.contract.persistence.scenes import an_instance
from worker.api.asked import Refused
from worker.api.streams import events
from worker.api.streams.inbox import Inbox, Listening
from worker.api.streams.owners import KEPT, Owners
from worker.api.streams.seen import Seen
from worker.model.ids import InstanceId, new_uuid
from worker.persistence.fleet import FleetUpdate, Key, Server

HOST = "node-1.example"


def an_update(sequence: int, instance: str = "", **payload: Any) -> FleetUpdate:  # noqa: ANN401
    key = Key(HOST, instance)
    return FleetUpdate(key=key, sequence=sequence, event="instance.power", payload=payload)


class TestEvents:
    @given(st.text(), st.integers(min_value=1, max_value=10**17))
    def test_an_update_is_one_event_whatever_it_says(self, said: str, sequence: int) -> None:
        instance = new_uuid()
        text = events.told(an_update(sequence, instance, message=said)).decode()
        id_, event, data, *rest = text.split("\n")
        assert (event, rest) == ("event: instance.power", ["", ""])
        assert json.loads(data.removeprefix("data: ")) == {"message": said}
        last = events.last_of({"last-event-id": id_.removeprefix("id: ")})
        assert last == (Key(HOST, instance), sequence)

    def test_one_without_an_instance_has_an_id_too(self) -> None:
        assert events.last_of({"last-event-id": f"{HOST}//7"}) == (Key(HOST, ""), 7)

    def test_without_the_header_there_is_no_last(self) -> None:
        assert events.last_of({}) is None

    @pytest.mark.parametrize("said", ["7", "a/b/c", "host/x/1", "//1", "h/ /1", "h//-1", "h//1\n"])
    def test_what_is_none_of_ours_is_refused(self, said: str) -> None:
        with pytest.raises(Refused) as refused:
            events.last_of({"last-event-id": said})
        assert refused.value.status == 400


class TestSeen:
    @given(st.lists(st.integers(min_value=1, max_value=20)))
    def test_each_once_and_ever_higher(self, sequences: list[int]) -> None:
        seen = Seen()
        told = [number for number in sequences if seen.note(an_update(number))]
        assert told == sorted(set(told))
        assert not sequences or told[-1] == max(sequences)

    def test_numbers_of_another_instance_are_its_own(self) -> None:
        seen = Seen({Key(HOST, "a"): 5})
        assert not seen.note(an_update(5, "a"))
        assert seen.note(an_update(1, "b"))

    def test_a_hole_is_known_by_the_numbers(self) -> None:
        seen = Seen({Key(HOST, "a"): 5})
        assert seen.before(an_update(6, "a")) is None
        assert seen.before(an_update(8, "a")) == 5
        assert seen.before(an_update(8, "b")) is None


class TestInbox:
    def test_one_that_is_not_read_is_cut_off_and_holds_no_more(self) -> None:
        inbox = Inbox(Listening(project=None), most=2)
        for number in (1, 2, 3, 4):
            inbox.put(an_update(number))
        assert inbox.cut
        assert [inbox.get(0) for _ in range(3)] == [an_update(1), an_update(2), None]

    def test_who_is_woken_has_nothing_and_looks_around(self) -> None:
        inbox = Inbox(Listening(project=None))
        inbox.wake()
        assert inbox.get(60) is None
        assert inbox.get(0) is None


class TestWhoListens:
    def test_a_projects_are_those_of_its_instances(self) -> None:
        listening = Listening(project="mine")
        assert listening.takes(an_update(1, "a"), lambda _: "mine")
        assert not listening.takes(an_update(1, "a"), lambda _: "theirs")
        assert not listening.takes(an_update(1, ""), lambda _: None)

    def test_who_sees_all_sees_what_has_no_project(self) -> None:
        assert Listening(project=None).takes(an_update(1, ""), lambda _: None)

    def test_nobody_without_a_project_has_those_of_none(self) -> None:
        assert not Listening(project="").takes(an_update(1, "a"), lambda _: None)

    def test_one_instances_and_one_operations(self) -> None:
        update = an_update(1, "a", operation_id="o")
        assert Listening(project=None, instance="a", operation="o").takes(update, lambda _: None)
        assert not Listening(project=None, instance="b").takes(update, lambda _: None)
        assert not Listening(project=None, operation="p").takes(update, lambda _: None)


class Rows:
    """Instances by their id, and how often they were asked for."""

    def __init__(self) -> None:
        self.projects: dict[str, str] = {}
        self.asked = 0

    def server(self, instance: InstanceId) -> Server | None:
        self.asked += 1
        if instance not in self.projects:
            return None
        found = an_instance(uuid=instance, project_id=self.projects[instance])
        return Server(instance=found, created_at=None, updated_at=None)


class TestOwners:
    def test_asked_once_and_again_when_it_is_old(self) -> None:
        rows, now = Rows(), [0.0]
        owners = Owners(rows, clock=lambda: now[0])
        rows.projects["a"] = "mine"
        assert [owners.project("a") for _ in range(3)] == ["mine"] * 3
        assert rows.asked == 1
        rows.projects["a"] = "theirs"
        now[0] = KEPT + 1
        assert owners.project("a") == "theirs"

    def test_that_there_is_none_yet_is_not_kept(self) -> None:
        rows = Rows()
        owners = Owners(rows)
        assert owners.project("a") is None
        rows.projects["a"] = "mine"
        assert owners.project("a") == "mine"

    def test_no_instance_has_no_project(self) -> None:
        rows = Rows()
        assert Owners(rows).project("") is None
        assert rows.asked == 0
