"""Files that others made: which may be a volume, which are refused, and with what advice."""

import os
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.fakes.pool_records import FakePoolRecords
from tests.unit.pool_scenes import SIZE, make, raw_file
from worker.errors import VolumeFileUnusable, WorkerError
from worker.volume.pool.faces import LocalFace
from worker.volume.pool.volumes import FilePool

NOBODY = 65534


@pytest.fixture
def records() -> FakePoolRecords:
    return FakePoolRecords()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "pool"


@pytest.fixture
def pool(records: FakePoolRecords, folder: Path) -> FilePool:
    return FilePool(records=records, folder=folder, face=LocalFace("host-1"))


MBR = b"\0" * 446 + bytes(64) + b"\x55\xaa"
LUKS = b"LUKS\xba\xbe\x00\x01"


@pytest.mark.parametrize(
    "head", [b"", b"any bytes at all", MBR, LUKS], ids=["zero", "text", "mbr", "luks"]
)
def test_what_a_guest_may_have_written_itself_is_raw(
    pool: FilePool, tmp_path: Path, head: bytes
) -> None:
    assert make(pool, path=raw_file(tmp_path / "a.raw", head=head)).size == SIZE


def gpt_disk() -> bytes:
    entry = struct.pack("<B3sB3sII", 0, b"\0\2\0", 0xEE, b"\xff\xff\xff", 1, 2047)
    return b"\0" * 446 + entry + bytes(48) + b"\x55\xaa" + b"EFI PART"


def test_a_partitioned_disk_is_raw(pool: FilePool, tmp_path: Path) -> None:
    assert make(pool, path=raw_file(tmp_path / "a.raw", head=gpt_disk())).size == SIZE


QCOW2 = b"QFI\xfb" + struct.pack(">I", 3) + bytes(92)
VMDK_TEXT = b'# Disk DescriptorFile\nversion=1\ncreateType="monolithicFlat"\n'.ljust(342, b"\n")
VMDK = b"KDMV" + struct.pack("<II", 1, 3) + bytes(500)
VDI = b"<<< Oracle VM VirtualBox Disk Image >>>\n".ljust(64, b"\0") + b"\x7f\x10\xda\xbe"
VHD = b"conectix" + bytes(504)
QED = b"QED\0" + bytes(60)


@pytest.mark.parametrize(
    ("head", "format_name"),
    [
        (QCOW2, "qcow2"),
        (VMDK, "vmdk"),
        (VDI, "vdi"),
        (VHD, "vhd"),
        (QED, "qed"),
        (b"QFI\xfb" + struct.pack(">I", 1) + bytes(92), "qcow2"),
        (QCOW2.ljust(32769, b"\0") + b"CD001", "qcow2"),
    ],
    ids=["qcow2", "vmdk", "vdi", "vhd", "qed", "qcow", "qcow2-as-iso"],
)
def test_an_image_in_a_format_is_refused_with_the_way_to_convert_it(
    pool: FilePool, records: FakePoolRecords, tmp_path: Path, head: bytes, format_name: str
) -> None:
    file = raw_file(tmp_path / "image", head=head)

    with pytest.raises(VolumeFileUnusable, match=rf"{format_name}.*qemu-img convert -O raw"):
        make(pool, path=file)

    assert records.volumes() == ()


@pytest.mark.parametrize(
    ("content", "format_name"),
    [(VMDK_TEXT, "vmdk"), (QCOW2.ljust(196616, b"\0"), "qcow2")],
    ids=["vmdk-text", "qcow2"],
)
def test_an_image_is_not_told_to_be_rounded_up(
    pool: FilePool, tmp_path: Path, content: bytes, format_name: str
) -> None:
    file = raw_file(tmp_path / "image", len(content), content)

    with pytest.raises(VolumeFileUnusable, match=rf"{format_name}.*qemu-img convert -O raw"):
        make(pool, path=file)


def _missing(place: Path) -> str:
    return str(place / "nothing.raw")


def _folder(place: Path) -> str:
    return str(place)


def _below_a_file(place: Path) -> str:
    return str(raw_file(place / "a.raw") / "b.raw")


def _empty(place: Path) -> str:
    return str(raw_file(place / "a.raw", 0))


def _one_byte(place: Path) -> str:
    return str(raw_file(place / "a.raw", 1))


def _half_a_sector(place: Path) -> str:
    return str(raw_file(place / "a.raw", SIZE + 256))


def _pipe(place: Path) -> str:
    os.mkfifo(place / "pipe")
    return str(place / "pipe")


def _socket(place: Path) -> str:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(place / "socket"))
    return str(place / "socket")


def _loop_of_links(place: Path) -> str:
    (place / "a").symlink_to(place / "b")
    (place / "b").symlink_to(place / "a")
    return str(place / "a")


def _dangling_link(place: Path) -> str:
    (place / "a").symlink_to(place / "gone")
    return str(place / "a")


def _link_to_an_image(place: Path) -> str:
    (place / "a").symlink_to(raw_file(place / "image", head=QCOW2))
    return str(place / "a")


def _no_utf8(place: Path) -> str:
    return str(raw_file(place / os.fsdecode(b"caf\xe9.raw")))


def _link_to_no_utf8(place: Path) -> str:
    (place / "a").symlink_to(_no_utf8(place))
    return str(place / "a")


def _in_the_pool(place: Path) -> str:
    (place / "pool").mkdir()
    return str(raw_file(place / "pool" / "mine.raw"))


@pytest.mark.parametrize(
    ("prepare", "advice"),
    [
        (_missing, "does not exist; check the path"),
        (_below_a_file, "does not exist; check the path"),
        (_dangling_link, "does not exist; check the path"),
        (_folder, "neither a regular file nor a block device"),
        (_pipe, "neither a regular file nor a block device"),
        (_socket, "neither a regular file nor a block device"),
        (_empty, "truncate -s 1G"),
        (_one_byte, "truncate -s %512"),
        (_half_a_sector, "truncate -s %512"),
        (_loop_of_links, "symbolic links"),
        (_link_to_an_image, "qemu-img convert"),
        (_no_utf8, "not UTF-8; rename it"),
        (_link_to_no_utf8, "not UTF-8; rename it"),
        (_in_the_pool, "move it elsewhere"),
    ],
)
def test_a_bad_file_is_refused_with_what_to_do(
    pool: FilePool,
    records: FakePoolRecords,
    tmp_path: Path,
    prepare: Callable[[Path], str],
    advice: str,
) -> None:
    with pytest.raises(VolumeFileUnusable, match=advice):
        make(pool, path=prepare(tmp_path))

    assert records.volumes() == ()


@pytest.mark.parametrize(
    ("path", "advice"),
    [
        ("", "absolute"),
        ("a.raw", "absolute"),
        ("~/a.raw", "absolute"),
        ("/a\0b", "absolute"),
        ("/\ud800", "not UTF-8"),
        ("/" + "a" * 300, "too long"),
        ("/dev/null", "neither a regular file nor a block device"),
    ],
    ids=["empty", "relative", "home", "null", "surrogate", "long", "character-device"],
)
def test_a_bad_path_is_refused(pool: FilePool, path: str, advice: str) -> None:
    with pytest.raises(VolumeFileUnusable, match=advice):
        make(pool, path=path)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter, unlike tmp_path."""
    with TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.parametrize("mode", [0o000, 0o200, 0o400])
def test_a_file_without_the_rights_is_refused(pool: FilePool, open_folder: Path, mode: int) -> None:
    file = raw_file(open_folder / "a.raw")
    if os.geteuid() == 0:
        os.chown(file, NOBODY, NOBODY)
    file.chmod(mode)

    with ordinary_user(), pytest.raises(VolumeFileUnusable, match="give this user the right"):
        make(pool, path=file)


@contextmanager
def ordinary_user() -> Iterator[None]:
    """Root may read and write all; nobody may not."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("number", [1, 13, 16, 30])
def test_what_open_answers_is_put_into_advice(
    pool: FilePool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(path: str, flags: int) -> int:
        raise OSError(number, os.strerror(number))

    file = raw_file(tmp_path / "a.raw")
    monkeypatch.setattr(os, "open", refuse)

    with pytest.raises(VolumeFileUnusable, match=r"right to|release it first|copy it elsewhere"):
        make(pool, path=file)


def test_every_error_is_one_of_ours(pool: FilePool, tmp_path: Path) -> None:
    for path in ("/proc/self/mem", "/proc/self/environ", "/dev/zero", "/dev/tty", "/etc", "//"):
        with pytest.raises(WorkerError):
            make(pool, path=path)
