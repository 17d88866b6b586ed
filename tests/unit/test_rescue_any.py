"""Whatever the guest and the image: what a plan may do to a disk, and what it never does."""

import json
from collections.abc import Iterable
from datetime import UTC

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.rescue_plans import RESCUE_IMAGE, anything, images
from tests.unit.scenes import OPERATION
from worker.errors import (
    BusUnsupported,
    DeviceTypeUnsupported,
    NoFreePort,
    NotRescuable,
    TooManyDevices,
)
from worker.model.block_device import Bus, DeviceType
from worker.model.ids import BlockDeviceId, ImageId
from worker.model.places.address import (
    Address,
    DriveAddress,
    PciAddress,
    UsbAddress,
    place_of,
)
from worker.model.places.fits import fits
from worker.model.places.names import PREFIXES, letters
from worker.model.places.placement import ADDED
from worker.model.rescue.choice import mode_of
from worker.model.rescue.known import Known
from worker.model.rescue.plain import json_of, rescue_of
from worker.model.rescue.plan import planned
from worker.model.rescue.side_by_side import side_by_side
from worker.model.rescue.spots import HARD, root_of
from worker.model.rescue.words import Mode, Rescue, Spot
from worker.model.source import DiskFormat
from worker.model.specification import LocalDisk

REFUSALS = (BusUnsupported, DeviceTypeUnsupported, NoFreePort, NotRescuable, TooManyDevices)
STABLE = st.one_of(images("hw_rescue_device"), images("hw_rescue_bus"))
LEGACY = images().filter(lambda image: mode_of(image) is Mode.LEGACY)
SAME = ("what", "was", "device_name", "bus", "address", "alias", "serial", "device_type")


def held(known: Known) -> set[Address]:
    rows = {row.address for row in known.rows if row.address is not None}
    return set(map(place_of, known.layout.taken | rows))


def position(name: str, bus: Bus) -> int:
    return next(n for n in range(100) if PREFIXES[bus] + letters(n) == name)


def attempt(known: Known) -> Rescue | None:
    try:
        return planned(known)
    except REFUSALS:
        return None


@given(anything(STABLE))
def test_a_stable_rescue_leaves_every_disk_as_it_is(known: Known) -> None:
    rescue = attempt(known)
    if rescue is None:
        return
    assert (rescue.mode, rescue.kept, rescue.moved) == (Mode.STABLE, None, None)
    shown = side_by_side(rescue, known)
    *others, added = shown["in_rescue"]
    assert [[each[name] for name in SAME] for each in others] == [
        [each[name] for name in SAME] for each in shown["before"]
    ]
    assert added["what"] == "rescue disk"
    assert [each["boot_order"] for each in shown["in_rescue"]] == [*(None for _ in others), 1]


@given(anything(STABLE))
def test_a_stable_rescues_disk_is_the_last_and_collides_with_nothing(known: Known) -> None:
    rescue = attempt(known)
    if rescue is None:
        return
    target, address = rescue.spot.target, rescue.spot.address
    names = [disk.target for disk in known.layout.disks]
    alike = [position(name, rescue.bus) for name in names if name[:2] == PREFIXES[rescue.bus]]
    assert target not in names
    assert address is not None
    assert place_of(address) not in held(known)
    assert fits(rescue.device_type, rescue.bus, known.layout.machine)
    offered = known.layout.places.get(rescue.bus, ADDED.get(rescue.bus, ()))
    used = [offered.index(disk.address) for disk in known.layout.disks if disk.address in offered]
    behind = offered[max(used, default=-1) + 1 :]
    free_behind = [each for each in behind if place_of(each) not in held(known)]
    if alike and rescue.bus in (Bus.VIRTIO, Bus.SCSI, Bus.USB, Bus.SATA):
        assert position(target, rescue.bus) > max(alike)
    if free_behind and rescue.bus is not Bus.VIRTIO:
        assert address == free_behind[0]
    assert address in offered


@given(anything(LEGACY))
def test_a_legacy_rescue_has_its_disk_first_and_the_root_second(known: Known) -> None:
    rescue = attempt(known)
    root = root_of(known.layout, known.rows)
    if rescue is None or root is None or root.device not in HARD:
        return
    assert rescue.spot == Spot(target=root.target, address=root.address)
    assert rescue.kept == (root.target,)
    assert rescue.moved is not None
    ((moved, spot),) = rescue.moved.items()
    assert moved == root.target
    assert spot.address is not None
    assert spot.address in known.layout.places[Bus(root.bus)]
    assert place_of(spot.address) not in held(known)
    first, second = side_by_side(rescue, known)["in_rescue"]
    assert (first["what"], first["boot_order"]) == ("rescue disk", 1)
    assert (second["what"], second["was"]) == ("root", f"/dev/{root.target}")
    assert first["device_name"] != second["device_name"]


@given(anything(images()))
def test_no_two_disks_of_a_rescue_have_one_name_or_one_place(known: Known) -> None:
    rescue = attempt(known)
    if rescue is None:
        return
    for disks in (side_by_side(rescue, known)[name] for name in ("before", "in_rescue")):
        assert unlike(each["device_name"] for each in disks)
        assert unlike(each["address"] for each in disks)


def unlike(found: Iterable[str]) -> bool:
    every = list(found)
    return len(set(every)) == len(every)


@given(anything(images()))
def test_a_plan_is_kept_and_read_back(known: Known) -> None:
    rescue = attempt(known)
    if rescue is not None:
        assert rescue_of(json.loads(json.dumps(json_of(rescue)))) == rescue


ADDRESSES = st.one_of(
    st.none(),
    st.builds(
        PciAddress,
        domain=st.integers(0, 65535),
        bus=st.integers(0, 255),
        slot=st.integers(0, 31),
        function=st.integers(0, 7),
    ),
    st.builds(DriveAddress, kind=st.sampled_from(["scsi", "ide"]), unit=st.integers(0, 255)),
    st.builds(UsbAddress, bus=st.integers(0, 3), port=st.integers(1, 15)),
)
NAMES = st.from_regex(r"[vsh]d[a-z]{1,2}", fullmatch=True)
SPOTS = st.builds(Spot, target=NAMES, address=ADDRESSES)
DISKS = st.builds(
    LocalDisk,
    uuid=st.just(BlockDeviceId("c0ffee00-0000-4000-8000-000000000001")),
    size=st.integers(0, 1 << 50),
    image=st.just(RESCUE_IMAGE),
    format=st.sampled_from(DiskFormat),
)
IMAGES = st.none() | st.just(ImageId("5e5c0000-0000-4000-8000-000000000009"))
RESCUES = st.builds(
    Rescue,
    operation=st.just(OPERATION),
    image=st.just(RESCUE_IMAGE),
    mode=st.sampled_from(Mode),
    disk=DISKS,
    device_type=st.sampled_from(DeviceType),
    bus=st.sampled_from(Bus),
    spot=SPOTS,
    kept=st.none() | st.lists(NAMES).map(tuple),
    moved=st.none() | st.dictionaries(NAMES, SPOTS),
    kernel=IMAGES,
    ramdisk=IMAGES,
    since=st.none() | st.datetimes().map(lambda at: at.replace(tzinfo=UTC, fold=0)),
)


@given(RESCUES)
def test_any_rescue_is_kept_and_read_back(rescue: Rescue) -> None:
    found = rescue_of(json.loads(json.dumps(json_of(rescue))))

    assert found == rescue
    # A word that was read as a mere text compares equal.
    assert repr(found) == repr(rescue)


@given(RESCUES)
def test_what_is_told_of_a_rescue_is_plain(rescue: Rescue) -> None:
    told = rescue.public()

    assert json.loads(json.dumps(told)) == told
    assert told["device_name"] == f"/dev/{rescue.spot.target}"
