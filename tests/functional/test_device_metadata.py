"""A user inside a guest finds a tagged disk, local or a volume, by what his config drive says."""

import json
from dataclasses import dataclass
from io import BytesIO

from lxml import etree
from pycdlib import PyCdlib

from tests.functional.builders import SEEN, Builder
from tests.guests import BOOT_TIMEOUT
from tests.rig import MIB, Json
from worker.model.ids import new_uuid

SCRATCH, DATA, MORE = 5 * MIB, 6 * MIB, 7 * MIB
"""No two disks are of one size, so that the guest's own sizes tell which is which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tagged:
    """An instance with tagged disks, from outside and from inside."""

    builder: Builder
    instance: str

    def metadata(self) -> list[Json]:
        found: list[Json] = self.builder.rig.call(
            "get_device_metadata", instance_uuid=self.instance
        )
        return found

    def drive(self) -> Json:
        """Return what the drive that the domain has tells of the instance."""
        image, content = PyCdlib(), BytesIO()
        image.open(self._part(f"ua-config-{self.instance}", "source")["file"])
        image.get_file_from_iso_fp(content, rr_path="/openstack/latest/meta_data.json")
        image.close()
        found: Json = json.loads(content.getvalue())
        return found

    def sizes(self) -> dict[str, int]:
        """Return the size that the guest sees of each tagged disk, found by its serial."""
        told = {entry["tags"][0]: entry["serial"][:SEEN] for entry in self.drive()["devices"]}
        seen = self.builder.console(self.instance).wait_for(
            lambda disks: set(told.values()) <= {disk.serial[:SEEN] for disk in disks.values()},
            BOOT_TIMEOUT,
        )
        by_serial = {disk.serial[:SEEN]: disk.size for disk in seen.values()}
        return {tag: by_serial[serial] for tag, serial in told.items()}

    def address(self, tag: str) -> str:
        """Return where the running domain has the disk, in the drive's form."""
        rows = self.builder.rows(self.instance)
        alias = next(row["alias"] for row in rows if row["tag"] == tag)
        said = self._part(alias, "address")
        kind = said.pop("type")
        where = {name: int(text, 0) for name, text in said.items()}
        if kind == "pci":
            return "{domain:04x}:{bus:02x}:{slot:02x}.{function:x}".format_map(where)
        return "{controller}:{bus}:{target}:{unit}".format_map(where)

    def check(self, sizes: dict[str, int]) -> None:
        """The drive, the call, the domain and the guest tell of these disks, and the same."""
        devices = self.drive()["devices"]
        assert devices == self.metadata()
        assert {entry["tags"][0] for entry in devices} == set(sizes)
        assert self.sizes() == sizes
        for entry in devices:
            assert entry["address"] == self.address(entry["tags"][0])

    def _part(self, alias: str, part: str) -> dict[str, str]:
        """Return the attributes of a part of the disk, as the running domain has it."""
        domain = self.builder.connection.lookupByUUIDString(self.instance)
        disks = etree.fromstring(domain.XMLDesc()).iter("disk")
        found = next(disk for disk in disks if disk.xpath("string(alias/@name)") == alias)
        return {str(name): str(value) for each in found.iter(part) for name, value in each.items()}


def test_a_tagged_disk_is_found_by_its_serial_whatever_comes_and_goes(builder: Builder) -> None:
    rig, tagged = builder.rig, Tagged(builder=builder, instance=new_uuid())
    volume, more = rig.volume(DATA), rig.volume(MORE)
    disks = [
        {"source_type": "blank", "size": SCRATCH, "tag": "scratch"},
        {"source_type": "volume", "volume_id": volume, "disk_bus": "scsi", "tag": "data"},
    ]
    ended = builder.build(
        tagged.instance,
        image_ref="root",
        root_gb=1,
        block_devices=disks,
        config_drive=True,
        metadata={"role": "db"},
    )
    assert ended["fault"] is None, ended
    first = {"scratch": SCRATCH, "data": DATA}
    tagged.check(first)
    marks = tagged.metadata()
    scratch, data = (
        next(entry for entry in marks if entry["tags"] == [tag]) for tag in ("scratch", "data")
    )
    row = next(row for row in builder.rows(tagged.instance) if row["tag"] == "scratch")
    assert (scratch["type"], scratch["bus"], scratch["serial"]) == ("disk", "pci", row["uuid"])
    assert scratch["path"] == f"/dev/disk/by-id/virtio-{row['uuid'][:SEEN]}"
    assert (data["type"], data["bus"], data["serial"]) == ("disk", "scsi", volume)
    said = tagged.drive()
    assert (said["uuid"], said["meta"]) == (tagged.instance, {"role": "db"})

    attached = rig.attach(tagged.instance, more, tag="more")
    tagged.check(first | {"more": MORE})

    assert rig.detach(attached)["fault"] is None
    tagged.check(first)

    for method in ("stop_instance", "start_instance"):
        ended = rig.run(method, instance_uuid=tagged.instance)
        assert ended["fault"] is None, ended
    builder.console(tagged.instance).fresh(BOOT_TIMEOUT)
    tagged.check(first)
    assert tagged.metadata() == marks
