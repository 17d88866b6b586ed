"""``docs/rescue.md`` says what is so: the pairs, the values, the codes, and the tests it names."""

import re

from tests.unit.test_identity import NAMED, ROOT, named_in
from worker import errors
from worker.model.block_device import Bus, DeviceType
from worker.model.places.fits import FITS, Family
from worker.model.rescue.choice import RESCUE_BUS, RESCUE_DEVICE

PAGE = (ROOT / "docs" / "rescue.md").read_text()
MACHINES = {
    "all": frozenset(Family),
    "pc": frozenset({Family.PC}),
    "pc, q35": frozenset({Family.PC, Family.Q35}),
}


def rows_of(heading: str) -> list[list[str]]:
    """Return the cells of the table below a heading."""
    below = PAGE.partition(f"{heading}\n")[2]
    lines = re.search(r"(?:^\|.*\n)+", below, re.MULTILINE)
    assert lines is not None
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[0].splitlines()[2:]]


def words(cell: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", cell))


def test_the_table_of_pairs_is_that_of_the_code() -> None:
    said = {
        (device.strip("`"), bus): MACHINES[machines]
        for device, buses, machines in rows_of("### Which pairs there are")
        for bus in words(buses)
    }
    assert said == {
        (device.value, bus.value): families
        for device, buses in FITS.items()
        for bus, families in buses.items()
    }


def test_each_property_has_the_values_that_are_read() -> None:
    said = {
        cells[0].strip("`"): words(cells[1])
        for cells in rows_of("### Properties of the rescue image")
    }
    assert said[RESCUE_BUS] == set(Bus)
    assert said[RESCUE_DEVICE] == set(DeviceType) - {DeviceType.LUN}


def test_each_code_that_it_names_is_one() -> None:
    known = {
        getattr(kind, "code", None) for kind in vars(errors).values() if isinstance(kind, type)
    }
    named = {code for cells in rows_of("## When it is refused") for code in words(cells[-1])}
    assert len(named) > 10
    assert named - known == set()


def test_every_test_that_it_names_is_one() -> None:
    rows = rows_of("## What shows it")
    assert [cells[0] for cells in rows if not NAMED.search(cells[1])] == []
    missing = [
        f"{path}::{name}" for path, name in NAMED.findall(PAGE) if name not in named_in(ROOT / path)
    ]
    assert missing == []
