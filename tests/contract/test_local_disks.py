"""What ``LocalDisks`` promises, of a fake and of files."""

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.contract.evil_images import qemu_img
from tests.contract.programs import in_place_of
from tests.fakes.images import FakeLocalDisks
from tests.fakes.world import World
from tests.rings import require
from worker.errors import DiskFailed, NoRoom, SpecificationInvalid
from worker.image import programs
from worker.image.filesystems import MAKERS
from worker.image.local_disks import FileLocalDisks
from worker.model.build.checks import FILESYSTEMS
from worker.model.ids import BlockDeviceId, ImageId, InstanceId, new_uuid
from worker.model.image import ImageFile
from worker.model.source import DiskFormat, FileSource
from worker.model.specification import LocalDisk
from worker.ports import LocalDisks

MIB = 1 << 20
SIZE = 64 * MIB
CONTENT = os.urandom(4096) * 256
INSTANCE = InstanceId(new_uuid())


@dataclass
class Lab:
    """A host with room, and one without; ``image`` makes one of the content."""

    disks: LocalDisks
    full: LocalDisks
    folder: Path

    def image(self, format_: DiskFormat = DiskFormat.RAW) -> ImageFile:
        raw = self.folder / "base.raw"
        raw.write_bytes(CONTENT)
        path = raw
        if format_ is DiskFormat.QCOW2:
            path = self.folder / "base.qcow2"
            qemu_img("convert", "-f", "raw", "-O", "qcow2", raw, path)
        return ImageFile(
            id=ImageId(new_uuid()), path=str(path), format=format_, virtual_size=len(CONTENT)
        )


def files(folder: Path) -> Lab:
    instances = folder / "instances"
    full = FileLocalDisks(instances, reserve=1 << 60)
    return Lab(disks=FileLocalDisks(instances), full=full, folder=folder)


@pytest.fixture(params=["fake", "files"])
def lab(request: pytest.FixtureRequest, tmp_path: Path) -> Lab:
    if request.param == "files":
        return files(tmp_path)
    full = FakeLocalDisks(World(room=0))
    return Lab(disks=FakeLocalDisks(World()), full=full, folder=tmp_path)


@pytest.fixture
def real(tmp_path: Path) -> Lab:
    return files(tmp_path)


def a_disk(
    format_: DiskFormat = DiskFormat.QCOW2, size: int = SIZE, filesystem: str | None = None
) -> LocalDisk:
    return LocalDisk(
        uuid=BlockDeviceId(new_uuid()),
        size=size,
        format=format_,
        filesystem=filesystem,
        discard="unmap",
    )


def path_of(lab: Lab, disk: LocalDisk) -> Path:
    found = lab.disks.find(INSTANCE, disk)
    assert found is not None
    return Path(found.source.name)


def content_of(lab: Lab, disk: LocalDisk) -> bytes:
    """Return the disk as a guest would read it."""
    raw = lab.folder / "read.raw"
    qemu_img("convert", "-f", disk.format, "-O", "raw", path_of(lab, disk), raw)
    return raw.read_bytes()


def names(lab: Lab) -> set[str]:
    return {path.name for path in lab.folder.glob(f"instances/{INSTANCE}/*")}


@pytest.mark.parametrize("format_", DiskFormat)
def test_a_disk_is_found_once_it_is_made_and_until_it_is_deleted(
    lab: Lab, format_: DiskFormat
) -> None:
    disk = a_disk(format_)
    assert lab.disks.find(INSTANCE, disk) is None
    lab.disks.create(INSTANCE, disk, None)
    found = lab.disks.find(INSTANCE, disk)
    assert found is not None
    assert found.source == FileSource(path=found.source.name, format=format_)
    assert found.options.discard == "unmap"
    lab.disks.delete(INSTANCE, disk.uuid)
    assert lab.disks.find(INSTANCE, disk) is None
    lab.disks.delete(INSTANCE, disk.uuid)


def test_disks_of_an_instance_have_files_of_their_own(lab: Lab) -> None:
    one, other = a_disk(), a_disk()
    lab.disks.create(INSTANCE, one, None)
    lab.disks.create(INSTANCE, other, None)
    assert path_of(lab, one) != path_of(lab, other)
    lab.disks.delete(INSTANCE, one.uuid)
    assert lab.disks.find(INSTANCE, other) is not None


def test_an_image_larger_than_the_disk_is_refused(lab: Lab) -> None:
    disk = a_disk(size=len(CONTENT) - 512)
    with pytest.raises(SpecificationInvalid, match=r"larger|more than"):
        lab.disks.create(INSTANCE, disk, lab.image())
    assert lab.disks.find(INSTANCE, disk) is None


def test_what_does_not_fit_on_the_host_is_refused(lab: Lab) -> None:
    lab.disks.check_room(SIZE)
    with pytest.raises(NoRoom):
        lab.full.check_room(SIZE)
    disk = a_disk()
    with pytest.raises(NoRoom):
        lab.full.create(INSTANCE, disk, None)
    assert lab.full.find(INSTANCE, disk) is None


def test_a_disk_says_what_it_is_made_over_and_is_told_where_that_is_now(lab: Lab) -> None:
    disk, image = a_disk(), lab.image()
    lab.disks.create(INSTANCE, disk, image)
    assert lab.disks.base(INSTANCE, disk) == image.path
    moved = FileSource(path=str(lab.folder / "moved"), format=image.format)
    lab.disks.rebase(INSTANCE, disk, moved)
    assert lab.disks.base(INSTANCE, disk) == moved.path


@pytest.mark.parametrize("format_", DiskFormat)
def test_a_disk_that_is_whole_in_itself_is_made_over_nothing(lab: Lab, format_: DiskFormat) -> None:
    disk = a_disk(format_)
    lab.disks.create(INSTANCE, disk, lab.image() if format_ is DiskFormat.RAW else None)
    assert lab.disks.base(INSTANCE, disk) is None


def test_a_disk_over_a_base_that_moved_reads_as_before(real: Lab) -> None:
    disk, image = a_disk(), real.image(DiskFormat.QCOW2)
    real.disks.create(INSTANCE, disk, image)
    before = content_of(real, disk)
    moved = FileSource(path=str(real.folder / "moved, here"), format=image.format)
    Path(image.path).rename(moved.path)
    real.disks.rebase(INSTANCE, disk, moved)
    assert content_of(real, disk) == before
    assert lab_format(path_of(real, disk)) == image.format


def lab_format(path: Path) -> str:
    """Return the format that a disk says its base has: else QEMU would guess."""
    told = subprocess.run(
        ["qemu-img", "info", "--output=json", path], check=True, capture_output=True
    )
    return str(json.loads(told.stdout)["backing-filename-format"])


def test_a_raw_disk_that_looks_like_another_is_not_read_as_one(real: Lab) -> None:
    disk, image = a_disk(DiskFormat.RAW), real.image()
    over = real.folder / "over"
    qemu_img("create", "-f", "qcow2", "-F", "raw", "-b", image.path, over)
    real.disks.create(INSTANCE, disk, None)
    with path_of(real, disk).open("r+b") as file:
        file.write(over.read_bytes())
    assert real.disks.base(INSTANCE, disk) is None


def test_a_file_that_is_gone_has_no_base_to_be_told(real: Lab) -> None:
    with pytest.raises(DiskFailed):
        real.disks.base(INSTANCE, a_disk())
    with pytest.raises(DiskFailed):
        real.disks.rebase(INSTANCE, a_disk(), FileSource(path="/x"))


def test_a_folder_is_tidied_away_when_nothing_is_in_it(real: Lab) -> None:
    disk, folder = a_disk(), Path(real.disks.folder(INSTANCE))
    real.disks.tidy(INSTANCE)
    real.disks.console(INSTANCE)
    assert folder.is_dir()
    real.disks.tidy(INSTANCE)
    assert not folder.exists()
    real.disks.create(INSTANCE, disk, None)
    assert path_of(real, disk).parent == folder
    real.disks.tidy(INSTANCE)
    assert path_of(real, disk).exists()


def test_a_console_has_a_place_and_is_cleared_twice(lab: Lab) -> None:
    assert lab.disks.console(INSTANCE) == lab.disks.console(INSTANCE)
    lab.disks.clear(INSTANCE)
    lab.disks.clear(INSTANCE)


@pytest.mark.parametrize("base", DiskFormat)
@pytest.mark.parametrize("format_", DiskFormat)
def test_a_disk_begins_as_its_image_and_is_as_large_as_asked(
    real: Lab, format_: DiskFormat, base: DiskFormat
) -> None:
    disk = a_disk(format_)
    real.disks.create(INSTANCE, disk, real.image(base))
    content = content_of(real, disk)
    assert len(content) == SIZE
    assert content == CONTENT.ljust(SIZE, b"\0")


def test_a_qcow2_disk_is_copy_on_write_and_its_image_stays_as_it_was(real: Lab) -> None:
    disk, image = a_disk(), real.image()
    real.disks.create(INSTANCE, disk, image)
    path = path_of(real, disk)
    assert path.stat().st_size < MIB
    write = ("qemu-io", "-f", "qcow2", "-c", "write -P 7 0 64k", str(path))
    subprocess.run(write, check=True, capture_output=True)
    assert content_of(real, disk)[:65536] == b"\7" * 65536
    assert Path(image.path).read_bytes() == CONTENT


def test_a_raw_disk_does_without_its_image_and_holes_stay_holes(real: Lab) -> None:
    disk, image = a_disk(DiskFormat.RAW), real.image()
    real.disks.create(INSTANCE, disk, image)
    Path(image.path).unlink()
    assert content_of(real, disk).startswith(CONTENT)
    assert path_of(real, disk).stat().st_blocks * 512 < 2 * MIB


@pytest.mark.parametrize("format_", DiskFormat)
def test_a_blank_disk_is_blank(real: Lab, format_: DiskFormat) -> None:
    disk = a_disk(format_)
    real.disks.create(INSTANCE, disk, None)
    assert content_of(real, disk) == bytes(SIZE)


@pytest.mark.parametrize("format_", DiskFormat)
@pytest.mark.parametrize(
    ("filesystem", "program", "package"),
    [
        ("swap", ("mkswap",), "util-linux"),
        ("ext4", ("mkfs.ext4",), "e2fsprogs"),
        ("vfat", ("mkfs.vfat",), "dosfstools"),
    ],
)
def test_a_blank_disk_is_formatted_and_bears_the_rows_uuid(
    real: Lab, format_: DiskFormat, filesystem: str, program: tuple[str, ...], package: str
) -> None:
    where = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    require(shutil.which(program[0], path=where) is not None, f"{program[0]} (package {package})")
    disk = a_disk(format_, filesystem=filesystem)
    real.disks.create(INSTANCE, disk, None)
    content = content_of(real, disk)
    assert len(content) == SIZE
    uuid = bytes.fromhex(disk.uuid.replace("-", ""))
    if filesystem == "swap":
        assert content[4086:4096] == b"SWAPSPACE2"
        assert content[1024 + 12 : 1024 + 28] == uuid
    elif filesystem == "ext4":
        assert content[1024 + 0x38 : 1024 + 0x3A] == b"\x53\xef"
        assert content[1024 + 0x68 : 1024 + 0x78] == uuid
        assert content[1024 + 0x78 :].startswith(b"ephemeral\0")
    else:
        assert content[0x36:0x3B] == b"FAT16"
        assert content[0x27:0x2B] == uuid[:4][::-1]
    assert names(real) == {disk.uuid}


def test_what_a_build_may_ask_for_can_be_made() -> None:
    assert set(FILESYSTEMS) == set(MAKERS)


@pytest.mark.parametrize("filesystem", ["ntfs", "../../sh", ""])
def test_a_filesystem_that_nobody_makes_is_refused(real: Lab, filesystem: str) -> None:
    with pytest.raises(SpecificationInvalid, match="swap, ext4, vfat"):
        real.disks.create(INSTANCE, a_disk(filesystem=filesystem), None)


@pytest.mark.parametrize("size", [0, -512, 1000])
def test_a_size_that_no_disk_has_is_refused(real: Lab, size: int) -> None:
    with pytest.raises(SpecificationInvalid, match="multiple of 512"):
        real.disks.create(INSTANCE, a_disk(size=size), None)


def test_a_disk_that_is_there_is_kept_as_it_is(real: Lab) -> None:
    disk = a_disk(DiskFormat.RAW)
    real.disks.create(INSTANCE, disk, None)
    path = path_of(real, disk)
    with path.open("r+b") as file:
        file.write(b"a guest's")
    real.disks.create(INSTANCE, disk, real.image())
    assert content_of(real, disk).startswith(b"a guest's\0")


def test_disks_are_for_their_owner_alone(real: Lab) -> None:
    old = os.umask(0)
    try:
        for format_ in DiskFormat:
            disk = a_disk(format_, filesystem="ext4")
            real.disks.create(INSTANCE, disk, None)
            assert stat.S_IMODE(path_of(real, disk).stat().st_mode) == 0o600
    finally:
        os.umask(old)
    folder = path_of(real, disk).parent
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700


def test_an_operator_may_let_qemus_user_pass(real: Lab) -> None:
    (real.folder / "instances").mkdir(mode=0o711)
    disk = a_disk()
    real.disks.create(INSTANCE, disk, None)
    assert stat.S_IMODE(path_of(real, disk).parent.stat().st_mode) == 0o711


def test_the_folder_goes_with_the_last_file_and_not_with_anothers(real: Lab) -> None:
    disk = a_disk()
    real.disks.create(INSTANCE, disk, None)
    folder = path_of(real, disk).parent
    foreign = folder / "notes.txt"
    foreign.touch()
    real.disks.delete(INSTANCE, disk.uuid)
    assert foreign.exists()
    foreign.unlink()
    for name in ("console.log", "console.log.0"):
        (folder / name).touch()
    assert Path(real.disks.console(INSTANCE)).parent == folder
    real.disks.clear(INSTANCE)
    assert not folder.exists()


@pytest.mark.parametrize("name", ["../../etc", "a/b", "", ".hidden"])
def test_no_id_leads_out_of_the_folder(real: Lab, name: str) -> None:
    with pytest.raises(SpecificationInvalid):
        real.disks.delete(InstanceId(name), BlockDeviceId(new_uuid()))
    with pytest.raises(SpecificationInvalid):
        real.disks.delete(INSTANCE, BlockDeviceId(name))


def test_a_worker_killed_in_mid_create_leaves_nothing_that_counts(
    real: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, image = a_disk(), real.image()
    unfinished = tmp_path / "instances" / INSTANCE / f".{disk.uuid}.unfinished"
    pid = tmp_path / "pid"
    half = f"echo half > {unfinished}; touch {unfinished}.raw; echo $$ > {pid}; exec sleep 600"
    with monkeypatch.context() as patch:
        in_place_of("qemu-img", tmp_path / "bin", half, patch)
        worker = creating(real, disk, image)
        while not (pid.exists() and pid.read_text()):
            assert worker.poll() is None
            time.sleep(0.01)
        worker.kill()
        worker.wait()
        os.kill(int(pid.read_text()), signal.SIGKILL)
    assert real.disks.find(INSTANCE, disk) is None
    assert names(real) == {unfinished.name, f"{unfinished.name}.raw"}

    real.disks.create(INSTANCE, disk, image)
    assert names(real) == {disk.uuid}
    assert content_of(real, disk).startswith(CONTENT)


def creating(lab: Lab, disk: LocalDisk, image: ImageFile) -> "subprocess.Popen[bytes]":
    script = (
        "from pathlib import Path\n"
        "from worker.image.local_disks import FileLocalDisks\n"
        "from worker.model.image import ImageFile\n"
        "from worker.model.source import DiskFormat\n"
        "from worker.model.specification import LocalDisk\n"
        f"FileLocalDisks(Path({str(lab.folder / 'instances')!r})).create({INSTANCE!r},"
        f" LocalDisk(uuid={disk.uuid!r}, size={disk.size}),"
        f" ImageFile(id='i', path={image.path!r}, format=DiskFormat.RAW,"
        f" virtual_size={image.virtual_size}))"
    )
    return subprocess.Popen([sys.executable, "-W", "ignore", "-c", script])


def test_a_deleted_disk_takes_what_is_half_made_with_it(real: Lab) -> None:
    disk = a_disk()
    folder = real.folder / "instances" / INSTANCE
    folder.mkdir(parents=True)
    for ending in ("", ".raw"):
        (folder / f".{disk.uuid}.unfinished{ending}").touch()
    real.disks.delete(INSTANCE, disk.uuid)
    assert not folder.exists()


SOON, NEVER = 2, 600
"""For how many times its processor time a program is waited for."""

MISBEHAVED = {
    "no space": ('echo "qemu-img: $5: No space left on device" >&2; exit 1', "No space", NEVER),
    "failed": ('echo "qemu-img: it is Sunday" >&2; exit 1', "it is Sunday", NEVER),
    "silent": ("exit 3", "exit status 3", NEVER),
    "hung": ("exec sleep 600", "did not end", SOON),
    "busy": ("while :; do :; done", "exit status -", NEVER),
    "greedy": (f"exec {sys.executable} -c 'bytearray(2 << 30)'", "MemoryError", NEVER),
}


@pytest.mark.parametrize(("script", "words", "patience"), MISBEHAVED.values(), ids=MISBEHAVED)
def test_a_program_that_misbehaves_is_bounded_and_leaves_nothing(
    real: Lab, monkeypatch: pytest.MonkeyPatch, script: str, words: str, patience: int
) -> None:
    monkeypatch.setattr(programs, "MAKE_SECONDS", 1)
    monkeypatch.setattr(programs, "PATIENCE", patience)
    in_place_of("qemu-img", real.folder / "bin", script, monkeypatch)
    with pytest.raises(NoRoom if words == "No space" else DiskFailed, match=words):
        real.disks.create(INSTANCE, a_disk(), None)
    assert names(real) == set()


def test_programs_speak_english_whatever_the_worker_speaks(
    real: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    in_place_of("qemu-img", real.folder / "bin", 'echo "LC_ALL=$LC_ALL" >&2; exit 1', monkeypatch)
    with pytest.raises(DiskFailed, match=r"LC_ALL=C$"):
        real.disks.create(INSTANCE, a_disk(), None)


def test_a_format_is_never_left_for_qemu_img_to_guess(
    real: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = real.folder / "heard"
    in_place_of("qemu-img", real.folder / "bin", f'echo "$@" >> {heard}; exit 1', monkeypatch)
    images = [None, real.image()]
    for format_ in DiskFormat:
        for filesystem in (None, "swap"):
            for image in images:
                disk = a_disk(format_, filesystem=filesystem)
                if format_ is DiskFormat.QCOW2 or image is not None:
                    with pytest.raises(DiskFailed):
                        real.disks.create(INSTANCE, disk, image)
    commands = heard.read_text().splitlines()
    assert commands
    assert all(" -f " in command for command in commands)
    assert all(" -F " in command for command in commands if " -b " in command)


def test_a_disk_of_the_filesystem_that_is_full_is_no_room(real: Lab) -> None:
    """The kernel's word for it, from a device that is always full."""
    with pytest.raises(NoRoom, match="No space left"):
        programs.make(real.folder / "disk", "cp", "/etc/passwd", "/dev/full")


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "instances").touch()
    with pytest.raises(DiskFailed, match="instances"):
        files(tmp_path).disks.create(INSTANCE, a_disk(), None)
