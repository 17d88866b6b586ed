"""Who logs in to an export: drawn from the host's key for each attachment, and kept nowhere."""

from collections.abc import Callable
from dataclasses import dataclass

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from worker.model.ids import AttachmentId
from worker.model.secret import Secret

_USER_BYTES, _PASSWORD_BYTES = 10, 16
"""In hexadecimal 20 and 32 characters: 128 bits, and within what initiators take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChapLogin:
    """A user and a password."""

    user: str
    password: Secret


class ChapLogins:
    """Logins that the same host draws the same again; ``key`` returns its key."""

    def __init__(self, key: Callable[[], bytes]) -> None:
        self._key = key

    def of(self, attachment: AttachmentId) -> ChapLogin:
        """Return the login of the attachment: nobody without the key can tell it."""
        return ChapLogin(
            user=self._drawn("user", attachment, _USER_BYTES),
            password=Secret(self._drawn("password", attachment, _PASSWORD_BYTES)),
        )

    def _drawn(self, what: str, attachment: AttachmentId, length: int) -> str:
        about = f"blockworker pool chap {what} {attachment}".encode()
        return HKDF(SHA256(), length, salt=None, info=about).derive(self._key()).hex()
