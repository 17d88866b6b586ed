"""A real guest that was built here goes on there: its files brought along, every mark the same."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import libvirt
import pytest
from lxml import etree

from tests.functional.builders import Builder
from tests.functional.rigs import MakeRig
from tests.guests import BOOT_TIMEOUT, remove_guests
from tests.rig import MIB, Json
from worker.image.bases import base_of
from worker.model.ids import new_uuid

INACTIVE = libvirt.VIR_DOMAIN_XML_INACTIVE
OF_A_HOST = ("attachment_id",)


def marks(builder: Builder, instance: str) -> list[tuple[str | None, ...]]:
    """Return name, alias, serial and address of each disk and interface of the next start."""
    domain = builder.connection.lookupByUUIDString(instance)
    tree = etree.fromstring(domain.XMLDesc(INACTIVE))
    found = tree.findall("devices/disk") + tree.findall("devices/interface")
    return [
        tuple(_mark(one, name) for name in ("target", "alias", "serial", "address", "mac"))
        for one in found
    ]


def _mark(device: etree._Element, name: str) -> str | None:
    found = device.find(name)
    return None if found is None else etree.tostring(found, encoding="unicode").strip()


def paths(builder: Builder, instance: str) -> set[str]:
    """Return every path that the domain's text names of the tests' own folders."""
    domain = builder.connection.lookupByUUIDString(instance)
    tree = etree.fromstring(domain.XMLDesc(INACTIVE))
    values = [value for one in tree.iter() for value in (*one.attrib.values(), one.text or "")]
    return {value for value in map(str, values) if str(builder.instances.parent) in value}


def rows(builder: Builder, instance: str) -> list[Json]:
    return [
        {name: value for name, value in row.items() if name not in OF_A_HOST}
        for row in builder.rows(instance)
    ]


@pytest.fixture
def second(builder: Builder, make_rig: MakeRig, tmp_path: Path) -> Iterator[Builder]:
    """Another worker, with a state folder, a cache and instances of its own."""
    folder = tmp_path / "second"
    images = shutil.copytree(tmp_path / "images", folder / "images")
    instances = folder / "instances"
    rig = make_rig(image__folder=str(images), image__instances_path=str(instances))
    yield Builder(rig=rig, instances=instances, connection=builder.connection)
    ours = [path.name for path in instances.iterdir()] if instances.exists() else []
    remove_guests(builder.connection.getURI(), ours)


def built(builder: Builder, **changed: Any) -> tuple[str, str]:  # noqa: ANN401
    """Build an instance with a disk of each kind and a tagged volume; return both."""
    instance, volume = new_uuid(), builder.rig.volume(4 * MIB)
    disks = [{"source_type": "volume", "volume_id": volume, "tag": "data"}]
    ended = builder.build(
        instance,
        image_ref="root",
        root_gb=1,
        ephemeral_gb=[1],
        swap_mb=16,
        block_devices=disks,
        networks=[{"port_id": new_uuid(), "kind": "user"}],
        config_drive=True,
        **changed,
    )
    assert ended["fault"] is None, ended
    return instance, volume


def let_go(builder: Builder, instance: str) -> str:
    rig = builder.rig
    stopped = rig.run("stop_instance", instance_uuid=instance, clean_shutdown=False)
    assert stopped["fault"] is None, stopped
    released = rig.run("release_instance", instance_uuid=instance)
    assert released["fault"] is None, released
    return json.dumps(rig.call("export_instance", instance_uuid=instance))


def volume_file(folder: Path, rig_host: str, volume: str) -> Path:
    (path,) = (one for one in (folder / rig_host).rglob(f"*{volume}*") if one.is_file())
    return path


def test_a_built_guest_starts_on_another_host_with_every_mark(
    builder: Builder, second: Builder, tmp_path: Path
) -> None:
    instance, volume = built(builder)
    seen, shown = builder.seen(instance), marks(builder, instance)
    before, told = (
        rows(builder, instance),
        builder.rig.call("get_device_metadata", instance_uuid=instance),
    )
    document = let_go(builder, instance)

    # The operator's part: the instance's folder and the volume, to another place.
    second.instances.mkdir(parents=True)
    (builder.instances / instance / "config-drive.iso").unlink()
    (builder.instances / instance / "console.log").unlink()
    shutil.copytree(builder.instances / instance, second.instances / instance)
    path = shutil.move(volume_file(tmp_path, builder.rig.host, volume), tmp_path / "moved")
    assert builder.rig.run("forget_instance", instance_uuid=instance)["fault"] is None
    shutil.rmtree(builder.instances / instance)
    cache = tmp_path / builder.rig.host / "image-cache"
    cache.rename(tmp_path / "no cache any more")

    made = second.rig.run("create_volume", volume_id=volume, path=str(path))
    assert made["fault"] is None, made
    ended = second.rig.run("import_instance", instance_uuid=instance, document=document)
    assert ended["fault"] is None, ended
    assert marks(second, instance) == shown
    assert rows(second, instance) == before
    here = (str(second.instances), str(tmp_path / second.rig.host))
    assert all(named.startswith(here) or named == str(path) for named in paths(second, instance))

    started = second.rig.run("start_instance", instance_uuid=instance)
    assert started["fault"] is None, started
    second.console(instance).fresh(BOOT_TIMEOUT)
    assert second.seen(instance) == seen
    assert set(seen) >= {"vda", "vdb", "vdc", "vdd"}
    assert marks(second, instance) == shown
    assert second.rig.call("get_device_metadata", instance_uuid=instance) == told
    assert second.rig.call("find_drift", instance_uuid=instance)["differences"] == []
    assert second.rig.run("destroy_instance", instance_uuid=instance)["fault"] is None
    assert not (second.instances / instance).exists()


def test_what_a_disk_is_made_over_is_looked_for_before_anything_is_made(
    builder: Builder, second: Builder, tmp_path: Path
) -> None:
    instance, volume = built(builder)
    document = let_go(builder, instance)
    path = volume_file(tmp_path, builder.rig.host, volume)
    assert second.rig.run("create_volume", volume_id=volume, path=str(path))["fault"] is None
    asked = {"instance_uuid": instance, "document": document}

    ended = second.rig.run("import_instance", **asked)
    assert ended["fault"]["code"] == "local_disk.unavailable"
    assert str(second.instances / instance) in ended["fault"]["message"]
    second.instances.mkdir(parents=True)
    shutil.copytree(builder.instances / instance, second.instances / instance)
    (root,) = json.loads(document)["bases"]
    root_file = second.instances / instance / root
    was = base_of(root_file)

    images = tmp_path / "second" / "images"
    (images / "root").rename(tmp_path / "withdrawn")
    ended = second.rig.run("import_instance", **asked)
    assert ended["fault"]["code"] == "local_disk.base_unavailable"
    assert "flatten" in ended["fault"]["message"]
    (images / "root").write_bytes(b"another".ljust(8 * MIB, b"!"))
    ended = second.rig.run("import_instance", **asked)
    assert ended["fault"]["code"] == "local_disk.base_unavailable"
    assert base_of(root_file) == was
    assert not second.rig.call("list_instances")
    assert instance not in [one.UUIDString() for one in second.connection.listAllDomains()]

    # It goes back to where it came from.
    back = builder.rig.run("import_instance", **asked)
    assert back["fault"] is None, back
    assert builder.rig.run("destroy_instance", instance_uuid=instance)["fault"] is None


def test_a_guest_with_a_snapshot_is_not_let_go(builder: Builder) -> None:
    instance = new_uuid()
    ended = builder.build(instance, image_ref="root", root_gb=1)
    assert ended["fault"] is None, ended
    domain = builder.connection.lookupByUUIDString(instance)
    domain.destroy()
    domain.snapshotCreateXML("<domainsnapshot><name>one</name></domainsnapshot>")
    stopped = builder.rig.run("stop_instance", instance_uuid=instance, clean_shutdown=False)
    assert stopped["fault"] is None, stopped
    refused = builder.rig.run("release_instance", instance_uuid=instance)
    assert refused["fault"]["code"] == "instance.state_kept"
    assert "virsh snapshot-delete" in refused["fault"]["message"]
    domain.snapshotLookupByName("one").delete()
    assert builder.rig.run("release_instance", instance_uuid=instance)["fault"] is None
