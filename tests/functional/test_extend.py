"""Volumes of the pool that have grown under their guest: what it sees, live and after a start."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.functional.rigs import MakeRig
from tests.guests import BOOT_TIMEOUT, Guest, GuestMaker
from tests.rig import MIB, Json, Rig
from worker.errors import VolumeNotGrown
from worker.model.ids import new_uuid
from worker.model.volume import GIB

SMALL, LARGE, LARGEST = 32 * MIB, 2 * GIB, 3 * GIB
"""Sparse: nothing is written, and a row counts in GiB."""

HEADER = 2_068_480
"""What LUKS keeps for itself: of version 1, with the key of 512 bits that QEMU chooses."""


def grow(rig: Rig, volume: str, size: int) -> None:
    assert rig.run("grow_volume", volume_id=volume, size=size)["fault"] is None


def extend(rig: Rig, row: Json, size: int) -> Json:
    place = {"instance_uuid": row["instance_uuid"], "bdm_uuid": row["uuid"]}
    return rig.run("extend_volume", **place, new_size=size)


def sees(guest: Guest, sizes: dict[str, int]) -> bool:
    """Wait until the guest sees so many bytes of each volume, by the start of its serial."""
    wanted = {(volume[:20], size) for volume, size in sizes.items()}
    told = guest.console.wait_for(
        lambda disks: wanted <= {(one.serial[:20], one.size) for one in disks.values()},
        BOOT_TIMEOUT,
    )
    return len(told) == len(sizes)


def sizes_of(rig: Rig, instance: str) -> dict[str, Any]:
    rows = rig.call("list_block_devices", instance_uuid=instance)
    return {row["volume_id"]: row["volume_size"] for row in rows}


@contextmanager
def lost(key: Path) -> Iterator[None]:
    """A key that is away meanwhile."""
    elsewhere = key.rename(key.with_suffix(".away"))
    yield
    elsewhere.rename(key)


def test_a_guest_sees_live_and_after_a_start_what_its_volumes_have_grown_to(
    make_rig: MakeRig, make_guest: GuestMaker, tmp_path: Path
) -> None:
    keys = tmp_path / "keys"
    rig, guest = make_rig(volume__keys_path=str(keys)), make_guest()
    rig.call("adopt_instance", domain=guest.name)
    plain, scsi, hidden = rig.volume(SMALL), rig.volume(SMALL), new_uuid()
    made = rig.run("create_volume", volume_id=hidden, size=SMALL, encrypted=True)
    assert made["fault"] is None
    rows = [
        rig.attach(guest.uuid, plain),
        rig.attach(guest.uuid, scsi, disk_bus="scsi"),
        rig.attach(guest.uuid, hidden),
    ]
    assert sees(guest, {plain: SMALL, scsi: SMALL, hidden: SMALL - HEADER})

    early = extend(rig, rows[0], LARGE)
    assert (early["state"], early["fault"]["code"]) == ("failed", VolumeNotGrown.code)
    with lost(*keys.iterdir()):
        for row in rows:
            grow(rig, row["volume_id"], LARGE)
            ended = extend(rig, row, LARGE)
            assert ended["state"] == "succeeded", ended
            told = rig.wait_for_event("instance.volume_extend.end", ended["operation_id"])
            assert told["payload"]["block_device"]["volume_size"] == LARGE // GIB
    assert sees(guest, {plain: LARGE, scsi: LARGE, hidden: LARGE - HEADER})
    assert sizes_of(rig, guest.uuid) == {plain: 2, scsi: 2, hidden: 2}
    assert rig.call("find_drift", instance_uuid=guest.uuid, qemu=True)["differences"] == []

    assert rig.run("stop_instance", instance_uuid=guest.uuid, clean_shutdown=False)["fault"] is None
    grow(rig, plain, LARGEST)
    assert extend(rig, rows[0], LARGEST)["state"] == "succeeded"
    assert rig.run("start_instance", instance_uuid=guest.uuid)["fault"] is None
    assert sees(guest, {plain: LARGEST, scsi: LARGE, hidden: LARGE - HEADER})
    assert sizes_of(rig, guest.uuid) == {plain: 3, scsi: 2, hidden: 2}
    assert [rig.detach(each)["state"] for each in rows] == ["succeeded"] * 3
