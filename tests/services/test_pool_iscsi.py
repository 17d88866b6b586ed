"""The built-in pool over iSCSI, whole: a worker, its own tgtd, QEMU's initiator, real guests."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import libvirt
import libvirt_qemu
import pytest

from tests.chaos.points import points_of, prove
from tests.chaos.scenes import SCENES
from tests.chaos.stage import stage
from tests.chaos.trouble import Kind
from tests.guests import Guest, GuestMaker
from tests.rig import MIB, Rig, running
from tests.tgtds import end, kill, tgtadm, until, users
from worker.model.ids import new_uuid
from worker.volume.pool.tgt import Tgt
from worker.volume.pool.tgt_show import Target

SIZE = 32 * MIB
HMP = libvirt_qemu.VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP
WORTH_A_KILL = {"attachments.connect", "disks.attach"}
"""Of an attach's calls those that tgtd has a part in; all are in `tox -e chaos`, over local."""

ISCSI = {"pool_protocol": "iscsi", "iscsi_initiator": "qemu"}


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """The worker's folder; its tgtd is gone afterwards."""
    folder = tmp_path / "state"
    yield folder
    end(folder / "tgtd")


@pytest.fixture
def rig(libvirtd: str, state: Path) -> Iterator[Rig]:
    host = f"host-{new_uuid()[:8]}"
    options: dict[str, Any] = {f"volume__{name}": said for name, said in ISCSI.items()}
    options["hypervisor__detach_retry_interval"] = 1.0
    with running(state, libvirtd, bus="kombu+memory://localhost/", host=host, **options) as found:
        yield found


def used(guest: Guest, row: dict[str, Any], command: str) -> None:
    """Have the guest's QEMU use the disk, as it does for the guest."""
    device = f"/machine/peripheral/{row['alias']}/virtio-backend"
    asked = f'qemu-io -d {device} "{command}"'
    said = libvirt_qemu.qemuMonitorCommand(guest.domain, asked, HMP)
    # After a reset QEMU tells of one that the target tells of, and asks again.
    assert not said or "UNIT_ATTENTION" in said, said
    assert "fail" not in said, said


def target_of(state: Path) -> Target:
    (target,) = Tgt(state / "tgtd" / "ipc.0").targets()
    return target


def sessions(state: Path) -> int:
    tgt = Tgt(state / "tgtd" / "ipc.0")
    return sum(len(target.sessions) for target in tgt.targets()) if tgt.runs() else -1


def nothing_left(state: Path) -> bool:
    return (tgtadm(state / "tgtd", "target"), users(state / "tgtd")) == ("", set())


def secrets_in(uri: str, instances: list[str]) -> list[str]:
    with closing(libvirt.open(uri)) as connection:
        usages = [secret.usageID() for secret in connection.listAllSecrets()]
    return [usage for usage in usages if any(each in usage for each in instances)]


def attached(rig: Rig, guest: Guest, volume: str) -> dict[str, Any]:
    assert rig.call("adopt_instance", domain=guest.name)["uuid"] == guest.uuid
    row = rig.attach(guest.uuid, volume, multiattach=True)
    seen = guest.console.wait_for(lambda disks: "vda" in disks, 30)["vda"]
    assert (seen.serial, seen.size) == (volume[:20], SIZE)
    return row


def test_two_guests_share_a_volume_over_iscsi_whatever_becomes_of_tgtd(
    rig: Rig, make_guest: GuestMaker, libvirtd: str, state: Path
) -> None:
    first, second = make_guest(), make_guest()
    volume = new_uuid()
    rig.run("create_volume", volume_id=volume, size=SIZE, multiattach=True)
    one, other = attached(rig, first, volume), attached(rig, second, volume)

    target = target_of(state)
    assert (len(target.sessions), len(target.users), len(target.initiators)) == (2, 2, 1)
    assert set(target.users) == users(state / "tgtd")
    used(first, one, "write -P 0x5a 0 64k")
    used(second, other, "read -P 0x5a 0 64k")
    passwords = said_by_qemu(first, target)
    assert secrets_in(libvirtd, [first.uuid, second.uuid]) == passwords == []

    assert rig.call("find_drift", qemu=True)["differences"] == []

    kill(state / "tgtd")
    until(lambda: sessions(state) == 2)
    used(first, one, "write -P 0xa5 0 64k")
    used(second, other, "read -P 0xa5 0 64k")

    assert rig.run("grow_volume", volume_id=volume, size=2 * SIZE)["state"] == "succeeded"
    for guest, row in ((first, one), (second, other)):
        used(guest, row, "read -P 0xa5 0 64k")
        seen = {"instance_uuid": guest.uuid, "bdm_uuid": row["uuid"], "new_size": 2 * SIZE}
        assert rig.run("extend_volume", **seen)["state"] == "succeeded"
        guest.console.wait_for(lambda disks: disks["vda"].size == 2 * SIZE, 30)
    used(first, one, f"write -P 0x77 {2 * SIZE - 65536} 64k")

    assert rig.detach(other)["state"] == "succeeded"
    second.wait_for_no_disk("vda")
    until(lambda: sessions(state) == 1)
    assert len(users(state / "tgtd")) == len(target_of(state).users) == 1
    assert rig.run("stop_instance", instance_uuid=first.uuid)["state"] == "succeeded"
    kill(state / "tgtd")
    until(lambda: sessions(state) == 0)
    assert rig.run("start_instance", instance_uuid=first.uuid)["state"] == "succeeded"
    first.console.fresh(60)
    first.wait_for_disk("vda")
    used(first, one, "read -P 0xa5 0 64k")

    assert rig.detach(one)["state"] == "succeeded"
    first.wait_for_no_disk("vda")
    assert nothing_left(state)
    assert rig.call("find_residue")["differences"] == []
    assert secrets_in(libvirtd, [first.uuid, second.uuid]) == []
    assert rig.call("get_volume", volume_id=volume)["status"] == "available"


def said_by_qemu(guest: Guest, target: Target) -> list[str]:
    """Return what of a login is in the layout beside the user."""
    shown = guest.domain.XMLDesc(libvirt.VIR_DOMAIN_XML_SECURE)
    assert any(user in shown for user in target.users)
    return [word for word in ("password", "passwd") if word in shown]


@pytest.mark.timeout(300)
def test_a_kill_in_mid_attach_leaves_all_views_agreed(
    libvirtd: str, state: Path, make_guest: GuestMaker, tmp_path: Path
) -> None:
    settings = "\n".join(["[volume]", *(f"{name} = {said}" for name, said in ISCSI.items())])
    scene = next(each for each in SCENES if each.method == "attach_volume")
    with stage(libvirtd, tmp_path, make_guest, settings=settings) as played:
        folder = played.served.state / "tgtd"
        try:
            points = points_of(played, scene, (Kind.KILL_AFTER,))
            outcomes = [prove(played, point) for point in points if point.call in WORTH_A_KILL]
            left = tgtadm(folder, "target"), users(folder)
        finally:
            end(folder)
    assert {str(each.point): each.differences for each in outcomes if not each.passed} == {}
    assert {each.end for each in outcomes} == {"succeeded"}
    assert {each.point.call for each in outcomes} == WORTH_A_KILL
    assert left == ("", set())
