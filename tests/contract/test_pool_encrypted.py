"""The pool makes encrypted volumes: QEMU opens them by the pool's key, and no crash leaves half."""

import secrets
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.fakes.pool_records import FakePoolRecords
from tests.rings import require
from worker.errors import (
    EncryptionUnsupported,
    KeyNotFound,
    RequestMalformed,
    VolumeFileUnusable,
)
from worker.model.guest_secret import GuestSecret, SecretUse
from worker.model.ids import VolumeId
from worker.model.secret import Secret
from worker.model.volume import NewVolume
from worker.volume.keys.files import KeyFiles
from worker.volume.pool import luks
from worker.volume.pool.faces import LocalFace
from worker.volume.pool.luks import LEAST, MAGIC, LuksContent
from worker.volume.pool.status import PoolStatus
from worker.volume.pool.volumes import FilePool

VOLUME = VolumeId("2b1c8a52-0a52-4c8c-8f5b-3d3e6d9e0001")
MIB = 1 << 20
SIZE = 16 * MIB


class Place:
    """A pool with key files, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.records = FakePoolRecords()
        self.keys = KeyFiles(folder / "keys")
        self.pool = self.with_keys(self.keys)

    def with_keys(self, keys: KeyFiles | None) -> FilePool:
        return FilePool(
            records=self.records,
            folder=self.folder / "pool",
            face=LocalFace("host-1"),
            content=LuksContent(keys),
        )

    @property
    def file(self) -> Path:
        return self.folder / "pool" / f"{VOLUME}.raw"

    def passphrase(self) -> GuestSecret:
        encryption = PoolStatus(records=self.records).encryption(VOLUME)
        found = self.keys.passphrase(VOLUME, encryption)
        return GuestSecret(use=SecretUse.VOLUME, value=found)

    def left(self) -> list[str]:
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*.*"))


KEY = "5e5a3e" * 10


@pytest.fixture(scope="module")
def header(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A header for that key: QEMU takes seconds of a processor's time to make one."""
    require(shutil.which("qemu-img") is not None, "qemu-img (package qemu-utils)")
    return luks.make_header(tmp_path_factory.mktemp("luks") / "header", Secret(KEY))


@pytest.fixture
def place(tmp_path: Path, header: bytes, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setattr(luks, "make_header", lambda *_given: header)
    monkeypatch.setattr(secrets, "token_hex", lambda _size: KEY)
    return Place(tmp_path)


def wanted(size: int = SIZE) -> NewVolume:
    return NewVolume(id=VOLUME, size=size, encrypted=True)


def opens(place: Place) -> bool:
    """Tell whether QEMU opens it with the key that the pool has for it."""
    key = place.folder / "key"
    key.write_text(place.passphrase().value.reveal())
    options = f"driver=luks,key-secret=k,file.filename={place.file}"
    secret = f"secret,id=k,file={key}"
    words = ["qemu-io", "-r", "--object", secret, "--image-opts", options, "-c", "read 0 4k"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    key.unlink()
    return done.returncode == 0 and "read 4096/4096" in done.stdout


def test_qemu_opens_it_by_the_pools_key(place: Place) -> None:
    made = place.pool.create(wanted())
    assert (made.encrypted, made.size, place.file.stat().st_size) == (True, SIZE, SIZE)
    assert opens(place)
    (key,) = (place.folder / "keys").iterdir()
    assert key.stat().st_mode & 0o777 == 0o600
    place.pool.create(wanted())
    assert opens(place)


def test_with_the_volume_goes_its_key(place: Place) -> None:
    place.pool.create(wanted())
    place.pool.delete(VOLUME)
    assert list((place.folder / "keys").iterdir()) == []
    assert place.left() == []
    place.pool.delete(VOLUME)


class Killed(BaseException):
    """The worker was killed."""


@pytest.mark.parametrize("at", ["before the key", "before the header", "before its first bytes"])
def test_what_was_cut_off_is_finished_by_the_same_call_or_taken_back(
    place: Place, at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_given: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        if at == "before the key":
            patched.setattr(KeyFiles, "make", die)
        if at == "before the header":
            patched.setattr(luks, "make_header", die)
        if at == "before its first bytes":
            patched.setattr(luks, "_begin", die)
        with pytest.raises(Killed):
            place.pool.create(wanted())
    assert place.file.read_bytes()[: len(MAGIC)] != MAGIC
    place.pool.create(wanted())
    assert opens(place)
    place.pool.delete(VOLUME)
    assert place.left() == []


def test_one_that_was_cut_off_is_taken_back_whole(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_given: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(luks, "_begin", die)
        with pytest.raises(Killed):
            place.pool.create(wanted())
    place.pool.delete(VOLUME)
    assert place.left() == []
    assert list((place.folder / "keys").iterdir()) == []


def test_another_volume_cannot_be_opened_by_it(place: Place) -> None:
    place.pool.create(wanted())
    place.keys.remove(luks.pool_key(VOLUME))
    with pytest.raises(KeyNotFound):
        place.passphrase()
    (place.folder / "keys" / luks.pool_key(VOLUME)).write_text("another")
    (place.folder / "keys" / luks.pool_key(VOLUME)).chmod(0o600)
    assert not opens(place)


def test_what_cannot_hold_a_header_is_refused_before_anything_is_made(place: Place) -> None:
    with pytest.raises(RequestMalformed, match=str(LEAST)):
        place.pool.create(wanted(LEAST - 512))
    assert place.left() == []


def test_where_a_key_manager_has_the_keys_the_pool_makes_none(place: Place) -> None:
    with pytest.raises(EncryptionUnsupported, match="keys = files"):
        place.with_keys(None).create(wanted())
    assert place.left() == []


def test_a_file_of_others_keeps_its_content_and_its_key(place: Place, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs.img"
    theirs.write_bytes(b"LUKS\xba\xbe\x00\x01" + bytes(MIB - 8))
    place.pool.create(NewVolume(id=VOLUME, path=str(theirs), encrypted=True))
    assert theirs.read_bytes()[:8] == b"LUKS\xba\xbe\x00\x01"
    assert PoolStatus(records=place.records).encryption(VOLUME).key is None
    assert not (place.folder / "keys").exists()


def test_a_file_that_nobody_owns_keeps_its_key(place: Place) -> None:
    place.pool.create(wanted())
    place.records.drop_volume(VOLUME)
    with pytest.raises(VolumeFileUnusable):
        place.pool.create(wanted())
    place.pool.delete(VOLUME)
    assert place.file.exists()
    assert (place.folder / "keys" / f"pool-{VOLUME}").read_text().strip() == KEY
