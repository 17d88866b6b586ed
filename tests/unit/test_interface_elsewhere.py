"""An interface that the running guest has at another address than its row is not called gone."""

from dataclasses import replace

import pytest

from tests.fakes.world import World
from tests.unit import peripheral_scenes
from tests.unit.peripheral_scenes import EARLIER, attach_asked, detach_asked, row, row_of
from tests.unit.scenes import INSTANCE, run
from worker.errors import DeviceAmbiguous
from worker.model.block_device import DeviceStatus
from worker.model.identity.alias import alias_of
from worker.model.places.address import PciAddress

ALIAS = alias_of(peripheral_scenes.PORT)


@pytest.fixture
def elsewhere() -> World:
    """Other hands plugged it in live and for the next start, then the guest was adopted."""
    world = peripheral_scenes.attached()
    place = world.guests[INSTANCE].live_peripherals
    shown = place.pop(ALIAS)
    place["net1"] = replace(shown, alias="net1", address=PciAddress(bus=9, slot=0))
    return world


def test_its_detach_is_refused_before_all_else(elsewhere: World) -> None:
    ended = run(elsewhere, detach_asked())
    assert ended.fault is not None
    assert ended.fault.code == DeviceAmbiguous.code
    assert row(elsewhere).status is DeviceStatus.ATTACHED
    assert ALIAS in elsewhere.guests[INSTANCE].persistent_peripherals


def test_another_of_its_mac_is_not_given_while_it_has_no_alias(elsewhere: World) -> None:
    ended = run(elsewhere, attach_asked(peripheral_scenes.OTHER_PORT))
    assert ended.fault is not None
    assert ended.fault.code == DeviceAmbiguous.code


@pytest.mark.parametrize("number", [EARLIER, EARLIER + 1])
def test_the_twin_of_another_row_is_no_doubt(number: int) -> None:
    world = peripheral_scenes.of_other_hands()
    for one in (number, 2 * EARLIER + 1 - number):
        asked = replace(detach_asked(None, number=one - EARLIER + 1), block_device=row_of(one))
        assert run(world, asked).fault is None
    guest = world.guests[INSTANCE]
    assert (guest.live_peripherals, guest.persistent_peripherals) == ({}, {})
