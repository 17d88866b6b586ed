"""Passphrases of encrypted volumes, each in a file of this host."""

import re
from pathlib import Path

from worker.errors import KeyNotFound, KeysUnavailable
from worker.model.ids import VolumeId
from worker.model.secret import Secret
from worker.model.volume import Encryption
from worker.ports import Keys

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*", re.ASCII)
_FOR_OTHERS = 0o077


class KeyFiles(Keys):
    """A folder of files, each named by its key's id; one line, without its end, is the passphrase.

    A file that others than its owner may read is taken for no key: it is no secret.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

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
