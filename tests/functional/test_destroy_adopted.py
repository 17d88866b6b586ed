"""A guest of other hands, adopted and destroyed: its domain goes, and none of their files."""

from pathlib import Path

import libvirt
import pytest

from tests.functional.rigs import MakeRig
from tests.guests import GuestMaker
from tests.rig import MIB, Rig


def disk(path: Path, target: str) -> str:
    return f"""<disk type='file' device='disk'>
      <driver name='qemu' type='raw' cache='none'/>
      <source file='{path}'/>
      <target dev='{target}' bus='virtio'/>
    </disk>"""


def written(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(path.name.encode().ljust(MIB, b"."))
    return path


def adopt(rig: Rig, domain: str) -> None:
    answer = rig.call("adopt_instance", domain=domain)
    assert rig.end_of(answer["operation_id"])["state"] == "succeeded"


@pytest.mark.parametrize("running", [False, True])
def test_no_file_of_a_disk_is_deleted(
    make_rig: MakeRig, make_guest: GuestMaker, tmp_path: Path, *, running: bool
) -> None:
    instances = tmp_path / "instances"
    rig = make_rig(image__instances_path=str(instances))
    # One of them lies where ours would, for what that folder holds need not be ours.
    files = [written(tmp_path / "theirs" / "root"), written(instances / "theirs" / "data")]
    disks = [disk(path, f"vd{letter}") for path, letter in zip(files, "ab", strict=True)]
    guest = make_guest(booted=False, extra_disks=disks)
    adopt(rig, guest.uuid)
    volume = rig.volume()
    row = rig.attach(guest.uuid, volume)
    own = written(instances / guest.uuid / "console-of-theirs")
    if running:
        guest.domain.create()

    ended = rig.run("destroy_instance", instance_uuid=guest.uuid)

    assert ended["fault"] is None, ended
    assert [path.read_bytes()[:20] for path in (*files, own)] == [
        path.name.encode().ljust(20, b".") for path in (*files, own)
    ]
    connection = libvirt.open(guest.uri)
    with pytest.raises(libvirt.libvirtError):
        connection.lookupByUUIDString(guest.uuid)
    connection.close()
    assert rig.call("list_instances") == []
    assert rig.call("get_volume", volume_id=volume)["status"] == "available"
    assert row["delete_on_termination"] is False
