"""A guest that knows no alias of ours: its volumes are detached live, by the alias that it gave."""

from pathlib import Path

import libvirt
from lxml import etree

from tests.functional.rigs import MakeRig
from tests.guests import BOOT_TIMEOUT, Guest, GuestMaker
from tests.rig import MIB, Rig

INACTIVE = libvirt.VIR_DOMAIN_XML_INACTIVE


def disk(path: Path, target: str, bus: str, serial: str) -> str:
    return f"""<disk type='file' device='disk'>
      <driver name='qemu' type='raw' cache='none'/>
      <source file='{path}'/>
      <target dev='{target}' bus='{bus}'/>
      <serial>{serial}</serial>
    </disk>"""


def volume_of(rig: Rig, folder: Path) -> tuple[str, Path]:
    """Make a volume of the worker's pool; return it and its file."""
    volume = rig.volume(2 * MIB)
    (path,) = (found for found in (folder / rig.host).rglob(f"*{volume}*") if found.is_file())
    return volume, path


def start(guest: Guest) -> None:
    guest.domain.create()
    guest.console.fresh(BOOT_TIMEOUT)


def aliases(guest: Guest, flags: int = 0) -> dict[str, str]:
    """Return the alias of each disk, by target; "" for none."""
    tree = etree.fromstring(guest.domain.XMLDesc(flags))
    return {
        str(one.xpath("string(target/@dev)")): str(one.xpath("string(alias/@name)"))
        for one in tree.findall("devices/disk")
    }


def strip_aliases(guest: Guest) -> None:
    """Define the guest anew as a tool does that knows no aliases."""
    tree = etree.fromstring(guest.domain.XMLDesc(INACTIVE))
    for found in tree.findall("devices/disk"):
        for alias in found.findall("alias"):
            found.remove(alias)
    guest.domain.connect().defineXML(etree.tostring(tree, encoding="unicode"))


def detach(rig: Rig, guest: Guest, volume: str) -> dict[str, object]:
    row = rig.call("get_block_device", instance_uuid=guest.uuid, volume_id=volume)
    return rig.detach(row)


def test_volumes_that_bear_no_alias_of_ours_are_detached_live_or_refused_in_doubt(
    make_rig: MakeRig, make_guest: GuestMaker, tmp_path: Path
) -> None:
    rig = make_rig()
    on_virtio, file = volume_of(rig, tmp_path)
    on_scsi, other_file = volume_of(rig, tmp_path)
    disks = [disk(file, "vdb", "virtio", on_virtio), disk(other_file, "sda", "scsi", on_scsi)]
    guest = make_guest(booted=False, extra_disks=disks)
    start(guest)
    answer = rig.call("adopt_instance", domain=guest.name)
    assert rig.end_of(answer["operation_id"])["state"] == "succeeded"
    borne = aliases(guest)
    assert not any(alias.startswith("ua-") for alias in borne.values())

    twin_file = tmp_path / "twin"
    twin_file.write_bytes(bytes(2 * MIB))
    twin = disk(twin_file, "vdz", "virtio", on_virtio)
    guest.domain.attachDeviceFlags(twin, libvirt.VIR_DOMAIN_AFFECT_LIVE)
    refused = detach(rig, guest, on_virtio)["fault"]
    assert refused["code"] == "block_device.ambiguous"  # type: ignore[index]
    assert "disk vdb" in refused["message"]  # type: ignore[index]
    assert "disk vdz" in refused["message"]  # type: ignore[index]
    assert aliases(guest).keys() == {*borne, "vdz"}
    guest.domain.detachDeviceFlags(twin, libvirt.VIR_DOMAIN_AFFECT_LIVE)
    guest.wait_for_no_disk("vdc")

    for volume, target in ((on_virtio, "vdb"), (on_scsi, "sda")):
        ended = detach(rig, guest, volume)
        assert ended["state"] == "succeeded", ended
        assert target not in aliases(guest)
        assert target not in aliases(guest, INACTIVE)
        assert rig.call("get_volume", volume_id=volume)["status"] == "available"


def test_volumes_of_ours_in_a_guest_that_was_defined_anew_are_detached_live(
    make_rig: MakeRig, make_guest: GuestMaker
) -> None:
    """Where they are says their connection; the next start is given the aliases it has lost."""
    rig = make_rig()
    guest = make_guest(booted=False)
    rig.call("adopt_instance", domain=guest.name)
    rows = [rig.attach(guest.uuid, rig.volume(2 * MIB), disk_bus=bus) for bus in ("virtio", "scsi")]
    strip_aliases(guest)
    start(guest)
    names = [row["device_name"].removeprefix("/dev/") for row in rows]
    assert not any(aliases(guest)[name].startswith("ua-") for name in names)
    for row, name in zip(rows, names, strict=True):
        ended = rig.detach(row)
        assert ended["state"] == "succeeded", ended
        assert name not in aliases(guest)
        assert name not in aliases(guest, INACTIVE)
