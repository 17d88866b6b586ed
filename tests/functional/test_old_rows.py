"""An upgrade in whose rows no uuid is: the guest's disks are what they were."""

import sqlite3
from pathlib import Path

from tests.functional.builders import SEEN, Builder
from tests.guests import BOOT_TIMEOUT
from tests.rig import MIB
from worker.model.ids import new_uuid

KEPT = ("device_name", "alias", "serial", "address", "tag")


def test_every_disk_keeps_its_serial_when_its_row_had_no_uuid(
    builder: Builder, tmp_path: Path
) -> None:
    rig, instance = builder.rig, new_uuid()
    ended = builder.build(
        instance,
        image_ref="root",
        root_gb=1,
        ephemeral_gb=[1],
        swap_mb=16,
        block_devices=[{"source_type": "volume", "volume_id": rig.volume(4 * MIB), "tag": "data"}],
    )
    assert ended["fault"] is None, ended
    before, first = builder.rows(instance), builder.seen(instance)

    with sqlite3.connect(tmp_path / rig.host / "blockworker.sqlite", timeout=30) as database:
        changed = database.execute("UPDATE block_device_mapping SET uuid = NULL")
        assert changed.rowcount == len(before) == 4
    database.close()

    after = builder.rows(instance)
    assert [[row[name] for name in KEPT] for row in after] == [
        [row[name] for name in KEPT] for row in before
    ]
    # What is named by the uuid, a local disk's file, is found again.
    assert [row["uuid"] for row in after][:3] == [row["uuid"] for row in before][:3]
    ended = rig.run("reboot_instance", instance_uuid=instance, hard=True)
    assert ended["fault"] is None, ended
    builder.console(instance).fresh(BOOT_TIMEOUT)
    assert builder.seen(instance) == first
    assert first["vda"] == after[0]["uuid"][:SEEN]
