"""What volumes left on a real host: a share still mounted, a secret that libvirt still has."""

import json
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import libvirt
import pytest

from tests.guests import Guest, GuestMaker
from tests.processes import Json, Served, configure
from tests.rings import require
from worker.model.guest_secret import usage_of
from worker.model.ids import BlockDeviceId, InstanceId, new_uuid
from worker.volume.leftovers.names import mount_point

EXPORT = "server.example:/export"
SECRET = """<secret ephemeral='yes' private='yes'>
<usage type='iscsi'><target>{}</target></usage></secret>"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """A guest whose volume was detached from it, and what its row led to."""

    served: Served
    guest: Guest
    row: Json

    @property
    def base(self) -> Path:
        return self.served.state / "mnt"

    def found(self) -> list[Json]:
        done = self.served.command("drift", "--json")
        differences: list[Json] = json.loads(done.stdout)["differences"]
        assert done.returncode == (3 if differences else 0), done.stderr
        return differences

    def repair(self) -> str:
        done = self.served.command("drift", "--repair")
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture
def left(libvirtd: str, make_guest: GuestMaker, tmp_path: Path) -> Iterator[Left]:
    """Its row is removed, and says that the volume was in a share."""
    served = configure(tmp_path / "state", libvirtd)
    served.start()
    guest = make_guest(booted=False)
    served.client.call("adopt_instance", domain=guest.uuid)
    volume = new_uuid()
    served.run("create_volume", volume_id=volume, size=1 << 20)
    row = served.client.call(
        "reserve_block_device_name", instance_uuid=guest.uuid, volume_id=volume
    )
    served.run("attach_volume", instance_uuid=guest.uuid, bdm_uuid=row["uuid"])
    ended = served.run("detach_volume", instance_uuid=guest.uuid, volume_id=volume)
    assert ended["state"] == "succeeded", ended
    way = {"driver_volume_type": "nfs", "data": {"export": EXPORT, "name": "volume-1"}}
    with closing(sqlite3.connect(served.state / "blockworker.sqlite", timeout=10)) as database:
        database.execute(
            "update block_device_mapping set connection_info = ? where uuid = ?",
            (json.dumps(way), row["uuid"]),
        )
        database.commit()
    yield Left(served=served, guest=guest, row=row)
    served.kill()


@pytest.fixture
def mounted(left: Left) -> Iterator[tuple[Path, Path]]:
    """Return where our share is mounted, and where one of other hands is."""
    ours, theirs = Path(mount_point(str(left.base), EXPORT)), left.base / "theirs"
    for point in (ours, theirs):
        point.mkdir(parents=True)
        words = ["mount", "-t", "tmpfs", EXPORT, str(point)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        require(done.returncode == 0, "the right to mount, as root has it")
    yield ours, theirs
    for point in (ours, theirs):
        subprocess.run(["umount", str(point)], capture_output=True, check=False)


def test_a_share_that_is_nobodys_any_more_is_unmounted_and_no_other(
    left: Left, mounted: tuple[Path, Path]
) -> None:
    ours, theirs = mounted
    (difference,) = left.found()
    assert (difference["kind"], difference["bdm_uuid"]) == ("mount_left", left.row["uuid"])
    assert str(ours) in difference["thing"]

    printed = left.repair()

    assert "no drift" in printed
    assert "of sessions, maps and the like, 1 not ours" in printed
    assert (ours.is_mount(), theirs.is_mount()) == (False, True)


def test_a_share_in_which_a_file_is_open_stays_and_is_named(
    left: Left, mounted: tuple[Path, Path]
) -> None:
    ours, _ = mounted
    with (ours / "volume-1").open("wb"):
        done = left.served.command("drift", "--repair")
        assert done.returncode == 3
        assert "busy" in done.stderr
        assert ours.is_mount()
    assert "no drift" in left.repair()


def test_a_secret_that_libvirt_was_to_forget_is_forgotten(left: Left) -> None:
    connection = libvirt.open(left.guest.uri)
    instance, row = InstanceId(left.guest.uuid), BlockDeviceId(left.row["uuid"])
    usage = usage_of(instance, row)
    theirs = connection.secretDefineXML(SECRET.format("of-others"))
    connection.secretDefineXML(SECRET.format(usage))
    assert [each["kind"] for each in left.found()] == ["secret_left"]

    left.repair()

    still = {secret.usageID() for secret in connection.listAllSecrets()}
    assert usage not in still
    assert "of-others" in still
    theirs.undefine()
