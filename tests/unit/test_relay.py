"""What the relay sends at a time."""

from hypothesis import given
from hypothesis import strategies as st

from worker.model.ids import InstanceId
from worker.model.update import Event, OutboxEntry
from worker.rpc.updates import waves

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
