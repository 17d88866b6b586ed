"""A real guest that the worker builds: what it sees of its disks is what the rows say."""

from pathlib import Path
from typing import Any

from tests.functional.builders import SEEN, Builder, put_image
from tests.guests import BOOT_TIMEOUT
from tests.rig import MIB
from worker.model.ids import new_uuid


def test_every_disk_reports_its_serial_for_life(builder: Builder) -> None:
    rig, instance = builder.rig, new_uuid()
    volume, other = rig.volume(4 * MIB), rig.volume(4 * MIB)
    disks = [
        {"source_type": "volume", "volume_id": other, "disk_bus": "scsi"},
        {"source_type": "volume", "volume_id": volume, "tag": "data"},
    ]
    ended = builder.build(
        instance,
        image_ref="root",
        root_gb=1,
        ephemeral_gb=[1],
        swap_mb=16,
        block_devices=disks,
        networks=[{"port_id": new_uuid(), "kind": "user"}],
        config_drive=True,
    )
    assert ended["fault"] is None, ended
    assert rig.call("get_instance", instance_uuid=instance)["vm_state"] == "active"
    before = builder.marks(instance)
    assert [row["device_name"] for row in before] == [
        "/dev/sda", "/dev/vda", "/dev/vdb", "/dev/vdc", "/dev/vdd",
    ]  # fmt: skip
    first = builder.seen(instance)
    assert first["vda"] == before[1]["uuid"][:SEEN]
    assert first["vdd"] == volume[:SEEN]
    assert rig.call("find_drift", instance_uuid=instance)["differences"] == []

    gone = next(row for row in builder.rows(instance) if row["volume_id"] == other)
    assert rig.detach(gone)["fault"] is None
    ended = rig.run("reboot_instance", instance_uuid=instance, hard=True)
    assert ended["fault"] is None, ended
    builder.console(instance).fresh(BOOT_TIMEOUT)
    assert builder.marks(instance) == before[1:]
    again = builder.seen(instance)
    assert {name: again[name] for name in ("vda", "vdb", "vdc", "vdd")} == {
        name: first[name] for name in ("vda", "vdb", "vdc", "vdd")
    }

    ended = rig.run("destroy_instance", instance_uuid=instance)
    assert ended["fault"] is None, ended
    check_gone(builder, instance)
    assert rig.call("get_volume", volume_id=volume)["status"] == "available"


def test_an_instance_boots_from_a_volume_that_goes_with_it(builder: Builder) -> None:
    rig, instance = builder.rig, new_uuid()
    volume = rig.volume(4 * MIB)
    disk = {
        "source_type": "volume",
        "volume_id": volume,
        "boot_index": 0,
        "delete_on_termination": True,
    }
    ended = builder.build(instance, machine_type="pc", block_devices=[disk])
    assert ended["fault"] is None, ended
    assert builder.seen(instance)["vda"] == volume[:SEEN]
    builder.connection.lookupByUUIDString(instance).destroy()
    ended = rig.run("destroy_instance", instance_uuid=instance)
    assert ended["fault"] is None, ended
    check_gone(builder, instance)
    assert volume not in {found["id"] for found in rig.call("list_volumes")}


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"image_ref": "nothing"}, "image.not_found"),
    ({"image_ref": "liar"}, "image.refused"),
    ({"image_ref": "root", "root_gb": 1 << 30}, "host.no_room"),
    ({"image_ref": "root", "machine_type": "q36"}, "instance.machine_unsupported"),
    (
        {
            "image_ref": "root",
            "block_devices": [{"source_type": "blank", "size": MIB, "disk_bus": "ide"}],
        },
        "block_device.bus_unsupported",
    ),
]


def test_what_is_refused_leaves_nothing(builder: Builder, tmp_path: Path) -> None:
    put_image(tmp_path / "images", "liar", tmp_path / "root", "qcow2")
    for changed, code in REFUSED:
        instance = new_uuid()
        ended = builder.build(instance, **changed)
        assert ended["fault"] is not None
        assert ended["fault"]["code"] == code
        check_gone(builder, instance)
        event = builder.rig.wait_for_event("instance.build.error", ended["operation_id"])
        assert event["payload"]["fault"]["code"] == code


def test_a_name_that_a_domain_has_is_refused(builder: Builder) -> None:
    domain = builder.connection.defineXML(
        f"<domain type='qemu'><name>taken</name><uuid>{new_uuid()}</uuid><memory>65536</memory>"
        "<os><type arch='x86_64'>hvm</type></os></domain>"
    )
    try:
        instance = new_uuid()
        ended = builder.build(instance, image_ref="root", name="taken")
        assert ended["fault"]["code"] == "domain.taken"
        check_gone(builder, instance)
    finally:
        domain.undefine()


def check_gone(builder: Builder, instance: str) -> None:
    known = {domain.UUIDString() for domain in builder.connection.listAllDomains()}
    assert instance not in known
    assert not (builder.instances / instance).exists()
    assert instance not in {row["uuid"] for row in builder.rig.call("list_instances")}
