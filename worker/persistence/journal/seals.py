"""Secret arguments at rest: sealed with the host's own key, which no database holds.

AES-SIV (RFC 5297): deterministic, so that a second delivery of an operation seals to the same
text and compares equal; bound to operation and argument, so that none can be moved to another.
"""

import base64
import os
import stat
import threading
from contextlib import suppress
from functools import cached_property
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from worker.errors import Invalid, SecretLost
from worker.model.ids import OperationId
from worker.model.secret import Secret
from worker.ports import Seals

KEY_BYTES = 64
OTHERS = stat.S_IRWXG | stat.S_IRWXO


class HostSeals(Seals):
    """Seals with the key in ``path``, a file of mode 0600 that is made when first needed."""

    def __init__(self, path: Path) -> None:
        """Nothing is read yet."""
        self._path = path

    def seal(self, operation: OperationId, name: str, secret: Secret) -> str:
        """Return the argument sealed; raises Invalid for a key file that others may read."""
        sealed = self._cipher.encrypt(secret.reveal().encode(), _bound(operation, name))
        return base64.b64encode(sealed).decode()

    def open(self, operation: OperationId, name: str, sealed: str) -> Secret:
        """Return what was sealed for this argument; raises SecretLost, Invalid."""
        try:
            text = self._cipher.decrypt(base64.b64decode(sealed), _bound(operation, name))
        except (InvalidTag, ValueError) as error:
            message = (
                f"{name} was sealed with another key than that in {self._path}; put that key"
                " back and retry the operation, or abandon it and ask again"
            )
            raise SecretLost(message) from error
        return Secret(text.decode())

    @cached_property
    def _cipher(self) -> AESSIV:
        return AESSIV(host_key(self._path))


def host_key(path: Path) -> bytes:
    """Return the host's key, drawn and written, mode 0600, if there is none; raises Invalid."""
    try:
        return _read(path)
    except FileNotFoundError:
        _draw(path)
        return _read(path)


def _read(path: Path) -> bytes:
    if path.stat().st_mode & OTHERS:
        raise Invalid(f"the key file {path} may be read by others; chmod it to 0600")
    key = path.read_bytes()
    if len(key) != KEY_BYTES:
        raise Invalid(f"the key file {path} is damaged; put it back from a copy, or remove it")
    return key


def _draw(path: Path) -> None:
    """Written whole or not at all: a key that is cut short would lose what it seals."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(os.urandom(KEY_BYTES))
        file.flush()
        os.fsync(file.fileno())
    # Of two that draw at once the first one's stays: a link is refused where a rename replaces.
    with suppress(FileExistsError):
        path.hardlink_to(fresh)
    fresh.unlink()
    folder = os.open(path.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def _bound(operation: OperationId, name: str) -> list[bytes]:
    return [operation.encode(), name.encode()]
