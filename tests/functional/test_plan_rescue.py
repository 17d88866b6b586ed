"""What a plan says of a rescue is what the hypervisor runs then, disk by disk."""

from pathlib import Path

import pytest

from tests.functional.builders import Builder, put_image
from tests.rig import MIB, Json
from worker.errors import InstanceRescued
from worker.model.ids import InstanceId, new_uuid
from worker.model.rescue.words import rescue_alias
from worker.virt.xml.layout import read_layout

PROPERTIES: dict[str, dict[str, str]] = {
    "legacy": {},
    "usb": {"hw_rescue_bus": "usb"},
    "scsi": {"hw_rescue_bus": "scsi"},
    "cdrom": {"hw_rescue_device": "cdrom"},
    "sata": {"hw_rescue_device": "cdrom", "hw_rescue_bus": "sata"},
    "floppy": {"hw_rescue_device": "floppy"},
}
IMAGES = {"q35": ["legacy", "floppy", "usb"], "pc": ["scsi", "sata", "cdrom"]}

Running = dict[str | None, tuple[str, str, str, str, int | None]]


def put_images(folder: Path, machine: str) -> None:
    root = folder / "root"
    put_image(folder, "own", root, "raw", properties={"hw_machine_type": machine})
    for name, properties in PROPERTIES.items():
        put_image(folder, name, root, "raw", properties=properties)


def planned(plan: Json) -> Running:
    return {
        disk["alias"]: (
            disk["device_name"],
            disk["bus"],
            disk["address"],
            disk["device_type"],
            disk["boot_order"],
        )
        for disk in plan["in_rescue"]
    }


def running(builder: Builder, uuid: InstanceId) -> Running:
    layout = read_layout(builder.connection.lookupByUUIDString(uuid).XMLDesc())
    return {
        disk.alias: (
            f"/dev/{disk.target}",
            disk.bus,
            str(disk.address),
            disk.device,
            disk.boot_order,
        )
        for disk in layout.disks
    }


@pytest.mark.parametrize("machine", sorted(IMAGES))
def test_the_hypervisor_runs_what_was_planned(
    builder: Builder, tmp_path: Path, machine: str
) -> None:
    put_images(tmp_path / "images", machine)
    uuid = InstanceId(new_uuid())
    volume = {"source_type": "volume", "volume_id": builder.rig.volume(4 * MIB)}
    ended = builder.build(
        uuid, image_ref="own", swap_mb=1, block_devices=[volume], config_drive=True
    )
    assert ended["fault"] is None, ended

    for image in IMAGES[machine]:
        wanted = {"instance_uuid": uuid, "rescue_image_ref": image}
        plan = builder.rig.call("plan_rescue", **wanted)
        ended = builder.rig.run("rescue_instance", **wanted, clean_shutdown=False)
        assert ended["fault"] is None, (image, ended)
        assert running(builder, uuid) == planned(plan), image
        assert plan["in_rescue"][-1 if plan["mode"] == "stable" else 0]["alias"] == (
            rescue_alias(uuid)
        )
        with pytest.raises(InstanceRescued):
            builder.rig.call("plan_rescue", **wanted)
        ended = builder.rig.run("unrescue_instance", instance_uuid=uuid, clean_shutdown=False)
        assert ended["fault"] is None, (image, ended)
    before = builder.rig.call("plan_rescue", **wanted)["before"]
    assert {disk["alias"] for disk in before} == set(running(builder, uuid))
