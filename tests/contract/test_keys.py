"""Key managers: the same promises of the fake, of files and of castellan's driver for Vault."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import pytest

from tests.contract.vault_server import ROLE, Vault, vault
from tests.fakes.volume_service import FakeKeys
from tests.fakes.world import World
from worker import conf as options
from worker.errors import Invalid, KeyNotFound, KeysUnavailable
from worker.model.ids import KeyId, VolumeId
from worker.model.volume import Encryption
from worker.ports import Keys
from worker.volume.keys.files import KeyFiles
from worker.volume.keys.manager import ManagedKeys
from worker.wiring import keys as wired
from worker.wiring.keys import make_keys

VOLUME = VolumeId("2b1c8a52-0a52-4c8c-8f5b-3d3e6d9e0001")
KEY = KeyId("9d1c8a52-0a52-4c8c-8f5b-3d3e6d9e0009")
CONTENT = b"sesame-open-7391"


class Ring(Protocol):
    """A key manager, and how a test gives it keys."""

    keys: Keys

    def add(self, name: str) -> str:
        """Give it a key of that name; return the passphrase that it is."""

    def lose(self, name: str) -> None:
        """Take it away again."""


class FakeRing:
    def __init__(self) -> None:
        self.world = World()
        self.keys: Keys = FakeKeys(self.world)
        self.world.lost_keys |= {VOLUME, KEY}

    def add(self, name: str) -> str:
        self.world.lost_keys.discard(name)
        return f"open {name}"

    def lose(self, name: str) -> None:
        self.world.lost_keys.add(name)


class FileRing:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.keys: Keys = KeyFiles(folder)

    def add(self, name: str) -> str:
        (self.folder / name).write_bytes(CONTENT + b"\n")
        (self.folder / name).chmod(0o600)
        return CONTENT.decode()

    def lose(self, name: str) -> None:
        (self.folder / name).unlink()


class VaultRing:
    def __init__(self, server: Vault, folder: Path) -> None:
        self.server = server
        file = folder / "keys.conf"
        file.write_text(
            "[volume]\nkeys = castellan\n[key_manager]\nbackend = vault\n"
            f"[vault]\nvault_url = {server.url}\napprole_role_id = {ROLE}\n"
        )
        self.keys = make_keys(options.load([file]))

    def add(self, name: str) -> str:
        self.server.keys[name] = CONTENT
        return CONTENT.hex()

    def lose(self, name: str) -> None:
        del self.server.keys[name]


@contextmanager
def made(kind: str, folder: Path) -> Iterator[Ring]:
    if kind == "vault":
        with vault() as server:
            yield VaultRing(server, folder)
    else:
        yield FakeRing() if kind == "fake" else FileRing(folder)


@pytest.fixture(params=["fake", "files", "vault"])
def ring(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ring]:
    with made(request.param, tmp_path) as found:
        yield found


@pytest.fixture
def of_vault(tmp_path: Path) -> Iterator[tuple[Keys, Vault]]:
    with vault() as server:
        yield VaultRing(server, tmp_path).keys, server


def test_the_passphrase_is_the_keys_and_shows_nowhere(ring: Ring) -> None:
    text = ring.add(KEY)
    found = ring.keys.passphrase(VOLUME, Encryption(provider="luks", key=KEY))
    assert found.reveal() == text
    assert text not in repr(found)


def test_a_key_that_is_not_there_is_named_by_its_volume(ring: Ring) -> None:
    ring.add(KEY)
    ring.lose(KEY)
    with pytest.raises(KeyNotFound):
        ring.keys.passphrase(VOLUME, Encryption(provider="luks", key=KEY))


def test_a_file_is_named_as_the_volume_where_there_is_no_key(tmp_path: Path) -> None:
    text = FileRing(tmp_path).add(VOLUME)
    found = KeyFiles(tmp_path).passphrase(VOLUME, Encryption(provider="luks"))
    assert found.reveal() == text


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_file_that_others_may_read_is_no_secret(tmp_path: Path, mode: int) -> None:
    FileRing(tmp_path).add(KEY)
    (tmp_path / KEY).chmod(mode)
    with pytest.raises(KeyNotFound, match="chmod 600"):
        KeyFiles(tmp_path).passphrase(VOLUME, Encryption(provider="luks", key=KEY))


@pytest.mark.parametrize("name", ["../host.key", "/etc/passwd", "", ".hidden", "a b"])
def test_a_name_leads_to_no_other_folder(tmp_path: Path, name: str) -> None:
    (tmp_path.parent / "host.key").write_text("not for you")
    with pytest.raises(KeyNotFound):
        KeyFiles(tmp_path).passphrase(VolumeId(name), Encryption(provider="luks", key=KeyId(name)))


def test_what_is_no_text_is_no_passphrase(tmp_path: Path) -> None:
    (tmp_path / KEY).write_bytes(b"\xff\xfe")
    (tmp_path / KEY).chmod(0o600)
    with pytest.raises(KeysUnavailable):
        KeyFiles(tmp_path).passphrase(VOLUME, Encryption(provider="luks", key=KEY))


@pytest.mark.parametrize("status", [500, 503, 403])
def test_a_vault_that_is_away_or_sealed_is_to_be_tried_later(
    of_vault: tuple[Keys, Vault], status: int
) -> None:
    keys, server = of_vault
    server.keys[KEY] = CONTENT
    server.status = status
    with pytest.raises(KeysUnavailable):
        keys.passphrase(VOLUME, Encryption(provider="luks", key=KEY))
    server.status = None
    assert keys.passphrase(VOLUME, Encryption(provider="luks", key=KEY)).reveal() == CONTENT.hex()


def test_one_that_says_nothing_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    with vault() as server:
        VaultRing(server, tmp_path)
        keys = ManagedKeys(options.load([tmp_path / "keys.conf"]), timeout=0.2)
        server.silent.set()
        with pytest.raises(KeysUnavailable, match="TimeoutError"):
            keys.passphrase(VOLUME, Encryption(provider="luks", key=KEY))
        server.awake.set()


def test_it_logs_in_once_and_says_nothing_of_what_it_was_given(
    of_vault: tuple[Keys, Vault], caplog: pytest.LogCaptureFixture
) -> None:
    keys, server = of_vault
    server.keys[KEY] = CONTENT
    with caplog.at_level(logging.DEBUG):
        for _time in range(3):
            keys.passphrase(VOLUME, Encryption(provider="luks", key=KEY))
    assert server.logins == 1
    assert CONTENT.hex() not in caplog.text


def test_a_volume_without_a_key_is_not_asked_for(of_vault: tuple[Keys, Vault]) -> None:
    keys, server = of_vault
    with pytest.raises(KeyNotFound, match="names no key"):
        keys.passphrase(VOLUME, Encryption(provider="luks"))
    assert server.logins == 0


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(wired, "import_module", missing)
    with pytest.raises(Invalid, match=r"blockworker\[keys\]"):
        make_keys(options.load(volume__keys="castellan"))


def test_unless_told_otherwise_keys_are_files(tmp_path: Path) -> None:
    assert isinstance(make_keys(options.load(state_path=str(tmp_path))), KeyFiles)


def test_a_line_of_castellans_is_no_unknown_option(tmp_path: Path) -> None:
    file = tmp_path / "worker.conf"
    file.write_text("[vault]\nvault_url = http://127.0.0.1:1\n[volume]\nnone_such = 1\n")
    assert options.unknown_options([file]) == [f"{file}: [volume] none_such"]
