"""Passphrases of encrypted volumes, each in a file of this host."""

import os
import re
import secrets
from pathlib import Path

from worker.errors import KeyNotFound, KeysUnavailable
from worker.model.ids import KeyId, VolumeId
from worker.model.secret import Secret
from worker.model.volume import Encryption
from worker.ports import Keys

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*", re.ASCII)
_FOR_OTHERS = 0o077
_RANDOM_BYTES = 32


class KeyFiles(Keys):
    """A folder of files, each named by its key's id; one line, without its end, is the passphrase.

    A file that others than its owner may read is taken for no key: it is no secret.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def make(self, name: KeyId) -> Secret:
        """Make a random key of that name, durably, and return it; one that is there is kept.

        Raises KeysUnavailable.
        """
        path = self._folder / name
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not path.exists():
                self._write(path, secrets.token_hex(_RANDOM_BYTES))
            return Secret(path.read_text().removesuffix("\n"))
        except (OSError, UnicodeError) as error:
            raise KeysUnavailable(f"the key {path} cannot be made: {error}") from error

    def remove(self, name: KeyId) -> None:
        """Remove a key; one that is not there is fine. Raises KeysUnavailable."""
        try:
            (self._folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise KeysUnavailable(f"the key {name} cannot be removed: {error}") from error

    def passphrase(self, volume: VolumeId, encryption: Encryption) -> Secret:
        """Return what the file says; raises KeyNotFound, KeysUnavailable."""
        name = encryption.key or volume
        if not _NAME.fullmatch(name):
            raise KeyNotFound(f"{name!r} is no name of a key")
        path = self._folder / name
        try:
            mode, text = path.stat().st_mode, path.read_text()
        except FileNotFoundError as error:
            raise KeyNotFound(f"volume {volume} has no key: {path} is not there") from error
        except (OSError, UnicodeError) as error:
            raise KeysUnavailable(f"the key of volume {volume} cannot be read: {path}") from error
        if mode & _FOR_OTHERS:
            raise KeyNotFound(f"{path} may be read by others, no secret; run: chmod 600 {path}")
        return Secret(text.removesuffix("\n"))

    @staticmethod
    def _write(path: Path, text: str) -> None:
        """It appears at once and whole: half a key would open nothing, for ever."""
        unfinished = path.with_name(f".{path.name}.unfinished")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(unfinished, flags, 0o600), "w") as file:
            file.write(f"{text}\n")
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
