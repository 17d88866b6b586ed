"""From a connection to the source and options of a disk."""

import os
from pathlib import Path

import pytest

from worker.errors import ConnectFailed, ProtocolUnsupported
from worker.model.connection import SECRET_KEYS, Connection
from worker.model.source import FileSource
from worker.volume.protocols import disk_source, require_known
from worker.volume.secrecy import MASK, hide, mask


def local(**properties: object) -> Connection:
    return Connection(protocol="local", properties=properties)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image.raw"
    with path.open("wb") as file:
        file.truncate(1 << 20)
    return path


def test_a_regular_file_is_a_file_source(image: Path) -> None:
    assert disk_source(local(), str(image)).source == FileSource(path=str(image))


@pytest.mark.parametrize("path", [None, "", "/nonexistent/image.raw", "/dev/null", "/"])
def test_what_is_no_file_and_no_block_device_cannot_be_connected(path: str | None) -> None:
    with pytest.raises(ConnectFailed, match=(path or "device_path")):
        disk_source(local(), path)


def test_an_unknown_protocol_is_named_with_the_known_ones() -> None:
    with pytest.raises(ProtocolUnsupported, match=r"'carrier-pigeon'; known: .*local"):
        disk_source(Connection(protocol="carrier-pigeon", properties={}), "/dev/null")


def test_a_known_protocol_is_let_through() -> None:
    require_known("local")


@pytest.mark.parametrize(("mode", "read_only"), [("ro", True), ("rw", False)])
def test_the_access_mode_says_whether_the_guest_may_write(
    image: Path, mode: str, read_only: object
) -> None:
    options = disk_source(local(access_mode=mode), str(image)).options

    assert options.read_only is read_only


def test_without_an_access_mode_the_guest_may_write(image: Path) -> None:
    assert disk_source(local(), str(image)).options.read_only is False


@pytest.mark.parametrize("mode", ["", "wo", "RW", None, True, ["rw"]])
def test_another_access_mode_is_refused(image: Path, mode: object) -> None:
    with pytest.raises(ProtocolUnsupported, match=r"known: ro, rw"):
        disk_source(local(access_mode=mode), str(image))


@pytest.mark.parametrize(
    ("discard", "expected"),
    [(True, "unmap"), (False, None), (None, None), ("true", None), (1, None)],
)
def test_only_a_true_discard_unmaps(image: Path, discard: object, expected: str | None) -> None:
    assert disk_source(local(discard=discard), str(image)).options.discard == expected


@pytest.mark.parametrize(
    ("multiattach", "shareable"), [(True, True), (False, False), ("yes", False)]
)
def test_a_volume_of_several_guests_is_shareable(
    image: Path, multiattach: object, shareable: object
) -> None:
    options = disk_source(local(multiattach=multiattach), str(image)).options

    assert options.shareable is shareable


def test_a_file_without_direct_io_is_cached(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = os.open

    def refuse_direct(path: str, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_DIRECT:
            raise OSError(22, "Invalid argument")
        return opened(path, flags, mode)

    monkeypatch.setattr(os, "open", refuse_direct)
    options = disk_source(local(), str(image)).options

    assert (options.cache, options.io) == ("writeback", None)


def test_a_file_that_opens_for_direct_io_and_then_refuses_it_is_cached(
    image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int, buffers: object, offset: int) -> int:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(os, "preadv", refuse)
    options = disk_source(local(), str(image)).options

    assert (options.cache, options.io) == ("writeback", None)


def test_native_io_waits_for_a_file_without_holes(
    image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.volume.treatment._takes_direct_io", lambda _: True)
    sparse = disk_source(local(), str(image)).options
    with image.open("r+b") as file:
        file.write(b"x" * (1 << 20))
        os.fsync(file.fileno())
    full = disk_source(local(), str(image)).options

    assert (sparse.cache, sparse.io) == ("none", None)
    assert (full.cache, full.io) == ("none", "native")


@pytest.mark.parametrize("name", [*sorted(SECRET_KEYS), "mutual_chap_password", "luks_passphrase"])
def test_a_hidden_secret_works_and_does_not_show(name: str) -> None:
    properties = hide({"volume_id": "v", "deep": [{name: "sesame"}], name: ["sesame"]})

    assert "sesame" not in repr(properties)
    assert properties["deep"][0][name] == "sesame"
    assert mask("login -p sesame", properties) == f"login -p {MASK}"


def test_what_is_no_secret_stays_readable() -> None:
    assert (
        repr(hide({"target_lun": 1, "paths": ("a", "b")}))
        == "{'target_lun': 1, 'paths': ['a', 'b']}"
    )
