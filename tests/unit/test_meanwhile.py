"""Whatever the guest and the rescue: how its rows see it meanwhile, and what it gives to others."""

from dataclasses import replace

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests.unit.rescue_plans import anything, disk, row
from tests.unit.scenes import INSTANCE
from tests.unit.test_rescue_any import LEGACY, STABLE, attempt
from worker.errors import BusUnsupported, NoFreePort, TooManyDevices
from worker.model.block_device import BlockDevice, Bus
from worker.model.guest import Guest, GuestDisk, Layout
from worker.model.instance import VmState
from worker.model.places.address import place_of
from worker.model.places.placement import place
from worker.model.rescue.known import Known
from worker.model.rescue.meanwhile import (
    as_rows_say,
    is_in_the_way,
    keeping,
    keeps,
    leaves_alone,
    rows_in,
    with_places_taken,
)
from worker.model.rescue.words import Rescue, rescue_alias

ANY = st.one_of(LEGACY, STABLE)
FEWER = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""To draw a whole machine takes a while."""


def live_in(rescue: Rescue, layout: Layout) -> Layout:
    """Return the layout that the guest runs with in rescue, as its hypervisor shows it."""
    kept = [each for each in layout.disks if keeps(rescue, each.target)]
    spots = rescue.moved or {}
    own = disk(rescue.spot.target, rescue.bus, rescue.spot.address, alias=rescue_alias(INSTANCE))
    disks = (*(_moved(each, rescue) if each.target in spots else each for each in kept), own)
    held = {each.address for each in disks if each.address is not None}
    return replace(layout, disks=disks, taken=layout.taken | held)


def _moved(shown: GuestDisk, rescue: Rescue) -> GuestDisk:
    spot = (rescue.moved or {})[shown.target]
    return replace(shown, target=spot.target, address=spot.address)


def rescued(known: Known) -> tuple[Guest, Rescue]:
    rescue = attempt(known)
    assume(rescue is not None)
    assert rescue is not None
    live = live_in(rescue, known.layout)
    return replace(known.guest, live=live, vm_state=VmState.ACTIVE), rescue


@FEWER
@given(anything(ANY))
def test_the_rows_see_each_disk_that_is_there_where_it_always_is(known: Known) -> None:
    guest, rescue = rescued(known)
    seen = as_rows_say(guest, rescue).live
    assert seen is not None
    kept = [each for each in known.layout.disks if keeps(rescue, each.target)]
    assert list(seen.disks) == kept


@FEWER
@given(anything(ANY))
def test_a_guest_that_runs_as_ever_or_not_at_all_is_seen_as_it_is(known: Known) -> None:
    guest, rescue = rescued(known)
    for other in (replace(guest, live=None), known.guest):
        assert as_rows_say(other, rescue) == other
        assert as_rows_say(other, None) == other
    assert as_rows_say(guest, None) == guest


@FEWER
@given(anything(ANY), st.booleans())
def test_a_disk_more_collides_with_nothing_in_rescue_or_after_it(known: Known, off: bool) -> None:  # noqa: FBT001
    guest, rescue = rescued(known)
    shown = with_places_taken(replace(guest, live=None) if off else guest, rescue)
    bus = rescue.bus if rescue.bus in (Bus.USB, Bus.SCSI) else Bus.VIRTIO
    try:
        found = place(shown, known.rows, bus, None, -1)
    except (BusUnsupported, NoFreePort, TooManyDevices):
        return
    both = (live_in(rescue, known.layout), known.layout)
    assert place_of(found.address) not in {place_of(each) for one in both for each in one.taken}
    assert found.device_name not in {f"/dev/{each.target}" for one in both for each in one.disks}
    new = disk(found.device_name.removeprefix("/dev/"), bus, found.address)
    assert not is_in_the_way(row(new), rescue)
    kept = keeping(rescue, new.target)
    assert keeps(kept, new.target)
    assert leaves_alone(kept, new.target)
    assert [each for each in known.layout.disks if keeps(kept, each.target)] == [
        each for each in known.layout.disks if keeps(rescue, each.target)
    ]


@FEWER
@given(anything(ANY))
def test_the_places_of_the_rescue_are_in_the_way_and_those_of_its_guest_are_not(
    known: Known,
) -> None:
    _guest, rescue = rescued(known)
    spots = (rescue.spot, *(rescue.moved or {}).values())
    for spot in spots:
        elsewhere = disk("vdzz", rescue.bus, spot.address)
        assert is_in_the_way(row(elsewhere), rescue)
        assert is_in_the_way(row(disk(spot.target, rescue.bus, None)), rescue)
        assert not is_in_the_way(row(elsewhere), None)
    free = [each for each in known.layout.disks if leaves_alone(rescue, each.target)]
    assert not any(_is_in_the_way(each, rescue) for each in free)


def _is_in_the_way(shown: GuestDisk, rescue: Rescue) -> bool:
    return is_in_the_way(row(shown), rescue)


@FEWER
@given(anything(ANY))
def test_the_rows_that_are_told_of_are_those_that_are_there_and_where(known: Known) -> None:
    guest, rescue = rescued(known)
    assert guest.live is not None
    shown = {(each.target, each.address) for each in guest.live.disks}
    told = rows_in(rescue, known.rows)
    assert {_place(each) for each in told} <= shown
    assert {each.uuid for each in told} == {
        each.uuid for each in known.rows if keeps(rescue, each.target)
    }


def _place(told: BlockDevice) -> tuple[str, object]:
    return told.target, told.address


def test_a_guest_that_ends_with_its_power_has_no_places_to_take() -> None:
    guest = Guest(instance=INSTANCE, name="g", vm_state=VmState.ACTIVE, live=None, persistent=None)
    assert with_places_taken(guest, None) == guest
