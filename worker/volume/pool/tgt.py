"""A tgtd, asked at its management socket.

The words are those of ``tgtadm``, which is a thin hand for the same socket. It takes a password on
its command line, which everybody on the host can read; what is said here is read by tgtd alone.
"""

import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from worker.errors import VolumeServiceUnavailable
from worker.model.secret import Secret
from worker.volume.pool.tgt_show import (
    Session,
    Target,
    names_in,
    portals_in,
    target_in,
    targets_in,
)

LUN = 1
"""tgtd has a controller of its own as LUN 0."""

_REQUEST = struct.Struct("@II64sIiQQIIIIII")
"""``struct tgtadm_req`` (tgtadm.h): as tgt has it since 1.0.22, in the machine's own layout."""

_ANSWER = struct.Struct("@II")
_LONGEST = 1024 - _REQUEST.size
"""tgtd reads the words of a request into a buffer of its own, and closes for more."""

_CHUNK = 65536
_NOBODY = -1
_NO_LUN = 2**64 - 1


class _Mode(IntEnum):
    SYSTEM, TARGET, DEVICE, PORTAL, _LLD, _SESSION, CONNECTION, ACCOUNT = range(8)


class _Act(IntEnum):
    NEW, DELETE, SHOW, BIND, UNBIND, UPDATE = range(6)


class Refusal(IntEnum):
    """What tgtd may say instead of doing it (tgtadm_error.h)."""

    NO_TARGET = 4
    NO_LUN = 5
    NO_SESSION = 6
    NO_CONNECTION = 7
    TARGET_EXISTS = 9
    LUN_EXISTS = 10
    INITIATOR_EXISTS = 12
    NO_INITIATOR = 13
    USER_EXISTS = 14
    NO_USER = 15
    LUN_ACTIVE = 20


class TgtRefusal(VolumeServiceUnavailable):
    """tgtd answers, and does not do it."""

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.number = number


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """Whom a request is about."""

    target: int = _NOBODY
    session: int = 0
    connection: int = 0
    lun: int = _NO_LUN
    force: bool = False


class Tgt:
    """The tgtd that listens at ``path``; what is done already is fine to be asked for again.

    Each call raises VolumeServiceUnavailable when it does not answer within ``timeout`` seconds,
    TgtRefusal when it refuses.
    """

    def __init__(self, path: Path, *, timeout: float = 10.0) -> None:
        self._path = path
        self._timeout = timeout

    def runs(self) -> bool:
        """Tell whether it is there: one that is not exports nothing."""
        try:
            with _connected(self._path, self._timeout):
                return True
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        except OSError as error:
            raise self._silent(error) from error

    def portals(self) -> tuple[str, ...]:
        """Return where it listens, ``address:port``."""
        return portals_in(self._ask(_Mode.PORTAL, _Act.SHOW))

    def listen(self, portal: str) -> None:
        """Listen there too."""
        self._ask(_Mode.PORTAL, _Act.NEW, f"portal={portal}")

    def targets(self) -> tuple[Target, ...]:
        """Return every target, ours or not."""
        return targets_in(self._targets())

    def target(self, iqn: str) -> Target | None:
        """Return the target of that name, if there is one."""
        return target_in(self._targets(), iqn)

    def names(self) -> dict[str, int]:
        """Return the names of all targets, and their numbers."""
        return names_in(self._targets())

    def make_target(self, number: int, iqn: str) -> None:
        """Make a target that nobody may log in to; TgtRefusal for a number or name taken."""
        self._ask(_Mode.TARGET, _Act.NEW, f"targetname={iqn}", _Asked(target=number))

    def drop_target(self, number: int) -> None:
        """Drop the target, and whoever is logged in."""
        asked = _Asked(target=number, force=True)
        self._ask(_Mode.TARGET, _Act.DELETE, "", asked, fine=(Refusal.NO_TARGET,))

    def make_lun(self, number: int, path: str) -> None:
        """Give the target the file as its LUN."""
        asked = _Asked(target=number, lun=LUN)
        self._ask(_Mode.DEVICE, _Act.NEW, f"path={path}", asked, fine=(Refusal.LUN_EXISTS,))

    def describe_lun(self, number: int, words: str) -> None:
        """Have the LUN say so of itself, ``name=value`` with commas between."""
        self._ask(_Mode.DEVICE, _Act.UPDATE, words, _Asked(target=number, lun=LUN))

    def drop_lun(self, number: int) -> None:
        """Take the LUN away; raises TgtRefusal while it is at work."""
        asked = _Asked(target=number, lun=LUN)
        self._ask(_Mode.DEVICE, _Act.DELETE, "", asked, fine=(Refusal.NO_LUN,))

    def make_user(self, user: str, password: Secret) -> None:
        """Let it know the user, for targets to ask for; one that it knows keeps the password."""
        words = f"user={user},password={password.reveal()}"
        self._ask(_Mode.ACCOUNT, _Act.NEW, words, fine=(Refusal.USER_EXISTS,))

    def drop_user(self, user: str) -> None:
        """Forget the user; no target may ask for it then, or tgtd dies of it (seen with 1.0.85)."""
        self._ask(_Mode.ACCOUNT, _Act.DELETE, f"user={user}", fine=(Refusal.NO_USER,))

    def ask_for(self, number: int, user: str) -> None:
        """Let the user log in to the target, and nobody who has no password."""
        asked = _Asked(target=number)
        fine = (Refusal.USER_EXISTS,)
        self._ask(_Mode.ACCOUNT, _Act.BIND, f"user={user}", asked, fine=fine)

    def ask_no_more_for(self, number: int, user: str) -> None:
        """Let the user log in to the target no more."""
        asked, fine = _Asked(target=number), (Refusal.NO_USER,)
        self._ask(_Mode.ACCOUNT, _Act.UNBIND, f"user={user}", asked, fine=fine)

    def allow(self, number: int, initiator: str) -> None:
        """Let who goes by that name log in to the target."""
        asked, fine = _Asked(target=number), (Refusal.INITIATOR_EXISTS,)
        self._ask(_Mode.TARGET, _Act.BIND, f"initiator-name={initiator}", asked, fine=fine)

    def forbid(self, number: int, initiator: str) -> None:
        """Let that one log in no more; who is logged in stays."""
        asked, fine = _Asked(target=number), (Refusal.NO_INITIATOR,)
        self._ask(_Mode.TARGET, _Act.UNBIND, f"initiator-name={initiator}", asked, fine=fine)

    def close(self, number: int, session: Session) -> None:
        """End the session; who may log in comes again."""
        for connection in session.connections:
            asked = _Asked(target=number, session=session.number, connection=connection)
            gone = (Refusal.NO_SESSION, Refusal.NO_CONNECTION)
            self._ask(_Mode.CONNECTION, _Act.DELETE, "", asked, fine=gone)

    def end(self) -> None:
        """Have it end; it does not while it has a target."""
        self._ask(_Mode.SYSTEM, _Act.DELETE)

    def _targets(self) -> str:
        return self._ask(_Mode.TARGET, _Act.SHOW)

    def _ask(
        self,
        mode: _Mode,
        act: _Act,
        words: str = "",
        about: _Asked | None = None,
        *,
        fine: tuple[int, ...] = (),
    ) -> str:
        answer = self._exchange(_packed(mode, act, words, about or _Asked()))
        if len(answer) < _ANSWER.size:
            raise VolumeServiceUnavailable(f"tgtd at {self._path} closed without an answer")
        number = int(_ANSWER.unpack_from(answer)[0])
        if number and number not in fine:
            # Not the words: they may have a password.
            raise TgtRefusal(f"tgtd refuses to {act.name} a {mode.name}: {_name(number)}", number)
        return answer[_ANSWER.size :].rstrip(b"\0").decode(errors="surrogateescape")

    def _exchange(self, request: bytes) -> bytes:
        try:
            with _connected(self._path, self._timeout) as link:
                link.sendall(request)
                return b"".join(iter(lambda: link.recv(_CHUNK), b""))
        except OSError as error:
            raise self._silent(error) from error

    def _silent(self, error: OSError) -> VolumeServiceUnavailable:
        message = f"tgtd does not answer at {self._path}: {error.strerror or error}"
        return VolumeServiceUnavailable(message)


def _packed(mode: _Mode, act: _Act, words: str, about: _Asked) -> bytes:
    text = os.fsencode(words) + b"\0" if words else b""
    if len(text) > _LONGEST:
        raise VolumeServiceUnavailable(f"tgtd takes no {act.name} of a {mode.name} that is so long")
    said = (about.target, about.session, about.lun, about.connection, 0, 0, 0, 0, about.force)
    return _REQUEST.pack(mode, act, b"iscsi", _REQUEST.size + len(text), *said) + text


@contextmanager
def _connected(path: Path, timeout: float) -> Iterator[socket.socket]:
    """By its folder's descriptor: a socket's path holds 107 bytes, wherever the folder is."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(timeout)
            link.connect(f"/proc/self/fd/{folder}/{path.name}")
            yield link
    finally:
        os.close(folder)


def _name(number: int) -> str:
    known = {refusal.value for refusal in Refusal}
    return Refusal(number).name.lower().replace("_", " ") if number in known else f"error {number}"
