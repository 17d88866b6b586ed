"""What the relay sends at a time, and whose updates wait after one that was refused."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bus_worker import ListOutbox
from tests.unit.scenes import soon
from worker.model.ids import InstanceId
from worker.model.update import Event, OutboxEntry
from worker.rpc.bus import BusSettings
from worker.rpc.rounds import BATCH, Rounds, waves

ONE, OTHER = InstanceId("one"), InstanceId("other")
HOUR = 3600.0
INSTANCES = st.sampled_from([None, InstanceId("one"), InstanceId("other")])


def entry(number: int, instance: InstanceId | None) -> OutboxEntry:
    return OutboxEntry(
        id=number, message_id=str(number), event=Event.POWER, instance=instance, payload={}
    )


@given(st.lists(INSTANCES))
def test_a_wave_has_one_of_an_instance_and_waves_keep_its_order(
    instances: list[InstanceId | None],
) -> None:
    entries = [entry(number, instance) for number, instance in enumerate(instances)]
    parts = waves(entries)
    assert sorted((one for part in parts for one in part), key=lambda one: one.id) == entries
    for part in parts:
        assert len({one.instance for one in part}) == len(part)
    for instance in instances:
        ids = [one.id for part in parts for one in part if one.instance == instance]
        assert ids == sorted(ids)


def test_the_first_wave_holds_all_that_wait_for_nobody() -> None:
    one, other = InstanceId("one"), InstanceId("other")
    entries = [entry(1, one), entry(2, one), entry(3, other), entry(4, None)]
    assert [[each.id for each in part] for part in waves(entries)] == [[1, 3, 4], [2]]


class Broker:
    """Takes every update but the first, which it refuses while it is full."""

    def __init__(self) -> None:
        self.full = True
        self.taken: list[int] = []

    def __call__(self, entries: Sequence[OutboxEntry]) -> Sequence[OutboxEntry]:
        refused = [one for one in entries if self.full and one.id == 1]
        self.taken += [one.id for one in entries if one not in refused]
        return refused


def rounds(outbox: ListOutbox, pause: float = HOUR) -> Rounds:
    settings = BusSettings(url="memory://", host="h", first_pause=pause, longest_pause=pause)
    return Rounds(outbox, settings)


@pytest.mark.parametrize("refused", [ONE, None])
def test_only_the_instance_whose_update_was_refused_waits(refused: InstanceId | None) -> None:
    outbox, broker = ListOutbox(), Broker()
    for instance in (refused, OTHER, refused, OTHER):
        outbox.add(instance=instance)
    sending = rounds(outbox)
    assert sending.send(broker) == 4
    assert sending.send(broker) == 0
    outbox.add(instance=OTHER)
    assert sending.send(broker) == 1
    assert broker.taken == [2, 4, 5]
    assert sending.held


def test_more_than_are_read_at_once_do_not_hide_the_others_behind_them() -> None:
    outbox, broker = ListOutbox(), Broker()
    for _ in range(BATCH + 1):
        outbox.add(instance=ONE)
    outbox.add(instance=OTHER)
    sending = rounds(outbox)
    sending.send(broker)
    sending.send(broker)
    assert broker.taken == [BATCH + 2]


def test_what_was_refused_is_sent_again_before_what_follows(
    caplog: pytest.LogCaptureFixture,
) -> None:
    outbox, broker = ListOutbox(), Broker()
    for instance in (ONE, OTHER, ONE):
        outbox.add(instance=instance)
    sending = rounds(outbox, pause=0.01)
    sending.send(broker)
    assert "updates: instance one away: error=the broker refused update message-1" in caplog.text
    broker.full = False

    def all_sent() -> bool:
        sending.send(broker)
        return not sending.held and not sending.unnoted

    assert soon(all_sent)
    assert broker.taken == [2, 1, 3]
    assert outbox.done == {1, 2, 3}
