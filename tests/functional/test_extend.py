"""Volumes of the pool that have grown under their guest: what it sees, live and after a start."""

import os
import subprocess
from pathlib import Path
from typing import Any

from sqlalchemy import select, update

from tests.functional.rigs import MakeRig
from tests.guests import BOOT_TIMEOUT, Guest, GuestMaker
from tests.rig import MIB, Json, Rig
from worker import conf as options
from worker import wiring
from worker.errors import VolumeNotGrown
from worker.model.ids import new_uuid
from worker.model.volume import GIB
from worker.persistence.schema import POOL_VOLUMES

SMALL, LARGE, LARGEST = 32 * MIB, 2 * GIB, 3 * GIB
"""Sparse: nothing is written, and a row counts in GiB."""


def change(folder: Path, volume: str, **values: int | bool) -> Path:
    """Change the pool's record of a volume; return where it is."""
    engine = wiring.make_database(options.load(state_path=str(folder))).engine
    which = POOL_VOLUMES.c.id == volume
    with engine.begin() as connection:
        connection.execute(update(POOL_VOLUMES).where(which).values(**values))
        path = connection.execute(select(POOL_VOLUMES.c.path).where(which)).scalar_one()
    engine.dispose()
    return Path(path)


def grow(folder: Path, volume: str, size: int) -> None:
    """Let the pool have extended the volume."""
    os.truncate(change(folder, volume, size=size), size)


def encrypted(rig: Rig, folder: Path, keys: Path) -> str:
    """Make an encrypted volume; a guest sees so many bytes of it, after a header."""
    volume, image = new_uuid(), folder.parent / "image"
    keys.mkdir()
    key = keys / volume
    key.write_text("open sesame")
    key.chmod(0o600)
    words = ["--object", f"secret,id=key,file={key}", "-o", "key-secret=key,iter-time=200"]
    make = ["qemu-img", "create", "-f", "luks", *words, str(image), str(SMALL)]
    # It measures how fast it derives keys, and gives up where its clock is too coarse.
    assert any(subprocess.run(make, check=False).returncode == 0 for _try in range(20))
    assert rig.run("create_volume", volume_id=volume, path=str(image))["fault"] is None
    change(folder, volume, encrypted=True)
    return volume


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


def test_a_guest_sees_live_and_after_a_start_what_its_volumes_have_grown_to(
    make_rig: MakeRig, make_guest: GuestMaker, tmp_path: Path
) -> None:
    rig, guest = make_rig(), make_guest()
    rig.call("adopt_instance", domain=guest.name)
    folder = tmp_path / rig.host
    one, other = rig.volume(SMALL), rig.volume(SMALL)
    row = rig.attach(guest.uuid, one)
    scsi = rig.attach(guest.uuid, other, disk_bus="scsi")
    assert sees(guest, {one: SMALL, other: SMALL})

    early = extend(rig, row, LARGE)
    assert (early["state"], early["fault"]["code"]) == ("failed", VolumeNotGrown.code)
    for volume, device in ((one, row), (other, scsi)):
        grow(folder, volume, LARGE)
        ended = extend(rig, device, LARGE)
        assert ended["state"] == "succeeded", ended
        told = rig.wait_for_event("instance.volume_extend.end", ended["operation_id"])
        assert told["payload"]["block_device"]["volume_size"] == LARGE // GIB
    assert sees(guest, {one: LARGE, other: LARGE})
    assert sizes_of(rig, guest.uuid) == {one: 2, other: 2}
    assert rig.call("find_drift", instance_uuid=guest.uuid, qemu=True)["differences"] == []

    assert rig.run("stop_instance", instance_uuid=guest.uuid, clean_shutdown=False)["fault"] is None
    grow(folder, one, LARGEST)
    assert extend(rig, row, LARGEST)["state"] == "succeeded"
    assert rig.run("start_instance", instance_uuid=guest.uuid)["fault"] is None
    assert sees(guest, {one: LARGEST, other: LARGE})
    assert sizes_of(rig, guest.uuid) == {one: 3, other: 2}
    assert [rig.detach(each)["state"] for each in (row, scsi)] == ["succeeded"] * 2


def test_a_guest_sees_all_of_an_encrypted_volume_but_its_header(
    make_rig: MakeRig, make_guest: GuestMaker, tmp_path: Path
) -> None:
    rig, guest = make_rig(volume__keys_path=str(tmp_path / "keys")), make_guest()
    rig.call("adopt_instance", domain=guest.name)
    folder = tmp_path / rig.host
    volume = encrypted(rig, folder, tmp_path / "keys")
    header = change(folder, volume, encrypted=True).stat().st_size - SMALL
    row = rig.attach(guest.uuid, volume)
    assert sees(guest, {volume: SMALL})
    (tmp_path / "keys" / volume).unlink()

    grow(folder, volume, LARGE)
    ended = extend(rig, row, LARGE)
    assert ended["state"] == "succeeded", ended
    assert sees(guest, {volume: LARGE - header})
    assert change(folder, volume, encrypted=True).stat().st_size == LARGE
    assert sizes_of(rig, guest.uuid) == {volume: 2}
