"""What ``ConfigDrives`` promises, of a fake and of ISO 9660 files."""

import os
import stat
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Literal

import pytest
from pycdlib import PyCdlib

from tests.fakes.images import FakeConfigDrives
from tests.fakes.world import World
from worker.errors import DiskFailed, SpecificationInvalid
from worker.image.config_drives import LABEL, IsoConfigDrives
from worker.image.inspection import inspect
from worker.image.local_disks import FileLocalDisks
from worker.model.ids import BlockDeviceId, InstanceId, new_uuid
from worker.model.source import DiskFormat, FileSource
from worker.model.specification import LocalDisk
from worker.ports import ConfigDrives

Reader = Literal["rr_path", "joliet_path"]
INSTANCE = InstanceId(new_uuid())
FILES = {
    "openstack/latest/meta_data.json": b'{"uuid": "1"}',
    "openstack/latest/vendor_data.json": b"{}",
    "openstack/latest/user_data": bytes(range(256)) * 64,
    "openstack/content/0000": b"\0",
    "ec2/2009-04-04/meta-data.json": "{'ä': 1}".encode(),
    "ec2/2009-04-04/meta_data.json": b"the other",
    "a-name-that-is-longer-than-plain-iso-9660-allows.config.json": b"long",
    "a-name-that-is-longer-than-plain-iso-9660-allows.config.yaml": b"other",
    "empty": b"",
}


@pytest.fixture(params=["fake", "iso"])
def drives(request: pytest.FixtureRequest, tmp_path: Path) -> ConfigDrives:
    return FakeConfigDrives(World()) if request.param == "fake" else IsoConfigDrives(tmp_path)


@pytest.fixture
def real(tmp_path: Path) -> IsoConfigDrives:
    return IsoConfigDrives(tmp_path)


def written(drives: IsoConfigDrives, files: Mapping[str, bytes] = FILES) -> Path:
    return Path(drives.write(INSTANCE, files).source.name)


def read(path: Path, reader: Reader) -> dict[str, bytes]:
    """Return every file of the drive, as one kind of guest sees it."""
    image = PyCdlib()
    image.open(str(path))
    found = {}
    for folder, _, names in image.walk(**{reader: "/"}):
        for name in names:
            content = BytesIO()
            where = f"{folder.rstrip('/')}/{name}"
            image.get_file_from_iso_fp(content, **{reader: where})
            found[where.lstrip("/")] = content.getvalue()
    image.close()
    return found


def test_a_drive_is_found_once_it_is_written_and_until_it_is_deleted(
    drives: ConfigDrives,
) -> None:
    assert drives.find(INSTANCE) is None
    made = drives.write(INSTANCE, FILES)
    assert made.source == FileSource(path=made.source.name, format=DiskFormat.RAW)
    assert made.options.read_only
    assert drives.find(INSTANCE) == made
    assert drives.find(InstanceId(new_uuid())) is None
    drives.delete(INSTANCE)
    assert drives.find(INSTANCE) is None
    drives.delete(INSTANCE)


def test_a_drive_that_is_made_anew_stays_where_it_was(drives: ConfigDrives) -> None:
    assert drives.write(INSTANCE, FILES) == drives.write(INSTANCE, {"a": b"b"})


def test_a_rescue_has_a_drive_of_its_own_beside_the_instances(drives: ConfigDrives) -> None:
    own = drives.write(INSTANCE, FILES)
    assert drives.find(INSTANCE, rescue=True) is None
    rescue = drives.write(INSTANCE, {"a": b"b"}, rescue=True)
    assert rescue.source != own.source
    assert rescue.options.read_only
    assert drives.find(INSTANCE, rescue=True) == rescue
    assert drives.find(INSTANCE) == own
    for _time in range(2):
        drives.delete(INSTANCE, rescue=True)
        assert drives.find(INSTANCE, rescue=True) is None
        assert drives.find(INSTANCE) == own
    drives.write(INSTANCE, FILES, rescue=True)
    drives.delete(INSTANCE)
    assert drives.find(INSTANCE) is None
    assert drives.find(INSTANCE, rescue=True) == rescue


def test_a_rescues_drive_leaves_the_instances_own_as_it_was(real: IsoConfigDrives) -> None:
    path = written(real)
    before = path.read_bytes()
    secret = {"openstack/latest/meta_data.json": b'{"admin_pass": "x"}'}
    umask = os.umask(0)
    try:
        rescue = Path(real.write(INSTANCE, secret, rescue=True).source.name)
    finally:
        os.umask(umask)
    assert stat.S_IMODE(rescue.stat().st_mode) == 0o600
    assert read(rescue, "rr_path") == secret
    assert path.read_bytes() == before
    real.delete(INSTANCE, rescue=True)
    assert not rescue.exists()
    assert path.read_bytes() == before
    real.delete(INSTANCE)
    assert not path.parent.exists()


@pytest.mark.parametrize("reader", ["rr_path", "joliet_path"])
def test_every_file_is_read_back_by_its_name(real: IsoConfigDrives, reader: Reader) -> None:
    assert read(written(real), reader) == FILES


def test_guests_find_it_by_its_label(real: IsoConfigDrives) -> None:
    path = written(real)
    image = PyCdlib()
    image.open(str(path))
    assert image.pvd.volume_identifier.decode().strip() == LABEL == "config-2"
    assert image.joliet_vd is not None
    assert image.joliet_vd.volume_identifier.decode("utf-16-be").strip() == LABEL
    image.close()
    assert path.stat().st_size % 2048 == 0
    assert inspect(path, "iso").format is DiskFormat.RAW


def test_a_new_drive_has_the_new_files_alone(real: IsoConfigDrives) -> None:
    written(real)
    path = written(real, {"openstack/latest/meta_data.json": b"new"})
    assert read(path, "rr_path") == {"openstack/latest/meta_data.json": b"new"}


def test_a_guest_keeps_the_drive_that_it_has_open(real: IsoConfigDrives) -> None:
    path = written(real)
    old = path.read_bytes()
    with path.open("rb") as guest:
        written(real, {"a": b"b"})
        assert guest.read() == old
    assert path.read_bytes() != old


def test_what_could_hold_a_password_is_for_its_owner_alone(real: IsoConfigDrives) -> None:
    umask = os.umask(0)
    try:
        path = written(real)
    finally:
        os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_write_that_fails_leaves_the_old_drive(
    real: IsoConfigDrives, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(real)
    old = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", _fails)
        with pytest.raises(DiskFailed, match="Input/output error"):
            written(real, {"a": b"b"})
    assert path.read_bytes() == old
    assert [found.name for found in path.parent.iterdir()] == [path.name]


def _fails(*_: object) -> None:
    raise OSError(5, os.strerror(5))


def test_what_a_crash_left_half_made_is_no_drive_and_goes_with_it(real: IsoConfigDrives) -> None:
    path = written(real)
    path.rename(path.with_name(f".{path.name}.unfinished"))
    assert real.find(INSTANCE) is None
    real.delete(INSTANCE)
    assert not path.parent.exists()


def test_a_drive_and_disks_share_the_instances_folder(
    real: IsoConfigDrives, tmp_path: Path
) -> None:
    disks = FileLocalDisks(tmp_path)
    disk = LocalDisk(uuid=BlockDeviceId(new_uuid()), size=1 << 20, format=DiskFormat.RAW)
    disks.create(INSTANCE, disk, None)
    path = written(real)
    disks.delete(INSTANCE, disk.uuid)
    assert real.find(INSTANCE) is not None
    real.delete(INSTANCE)
    assert not path.parent.exists()


@pytest.mark.parametrize("name", ["/absolute", "a//b", "../up", "", ".", "a/", "x" * 65, "a\0b"])
def test_a_name_that_no_drive_can_have_is_refused(real: IsoConfigDrives, name: str) -> None:
    with pytest.raises(SpecificationInvalid):
        real.write(INSTANCE, {name: b""})
    assert real.find(INSTANCE) is None


def test_no_id_leads_out_of_the_folder(real: IsoConfigDrives) -> None:
    with pytest.raises(SpecificationInvalid):
        real.write(InstanceId("../elsewhere"), FILES)


def test_the_same_files_make_drives_of_the_same_content(
    real: IsoConfigDrives, tmp_path: Path
) -> None:
    other = IsoConfigDrives(tmp_path / "other")
    assert read(written(real), "rr_path") == read(written(other), "rr_path")
