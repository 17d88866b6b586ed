"""The crash matrix's table, and its trouble, without the real parts."""

from pathlib import Path

import pytest

from tests.chaos.scenes import SCENES, WITHOUT, missing
from tests.chaos.trouble import Kind, Orders, Plan, Trouble
from worker.errors import HypervisorUnavailable
from worker.rpc.methods import OPERATIONS


def test_every_operation_on_a_guest_has_a_scene_or_a_reason() -> None:
    assert missing() == set()
    assert {scene.method for scene in SCENES} | set(WITHOUT) <= set(OPERATIONS)


def test_without_orders_there_is_no_trouble_and_no_counting(tmp_path: Path) -> None:
    orders = Orders(tmp_path)
    trouble = Trouble(orders)
    with trouble("guests.describe"):
        pass
    orders.give(Plan(at=0, kind=Kind.ERROR_BEFORE))
    with pytest.raises(HypervisorUnavailable), trouble("disks.attach"):
        raise AssertionError
    assert orders.happened() == "disks.attach"


def test_trouble_comes_at_the_call_of_its_number_and_once(tmp_path: Path) -> None:
    orders, made = Orders(tmp_path), []
    trouble = Trouble(orders)
    orders.give(Plan(at=1, kind=Kind.ERROR_AFTER))
    for name in ("guests.describe", "disks.unplug", "disks.forget"):
        try:
            with trouble(name):
                made.append(name)
        except HypervisorUnavailable as error:
            made.append(f"error at {error}")
    assert made == ["guests.describe", "disks.unplug", "error at disks.unplug", "disks.forget"]
    orders.withdraw()
    assert orders.plan() is None


def test_an_error_of_the_call_itself_is_not_hidden(tmp_path: Path) -> None:
    orders = Orders(tmp_path)
    orders.give(Plan(at=0, kind=Kind.ERROR_AFTER))
    with pytest.raises(ZeroDivisionError), Trouble(orders)("disks.attach"):
        raise ZeroDivisionError
