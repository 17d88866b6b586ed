"""Who logs in to a Ceph cluster, and by which key.

A user and a key belong together. What the volume service says of both goes before what is
configured here; a key is only ever looked up by the name of its user, so that nobody comes with
another's (Launchpad bug 1741364 is what comes of taking one from here and one from there).
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

from worker.errors import ConnectFailed
from worker.model.secret import Secret

ETC = Path("/etc/ceph")

_KEY = re.compile(r"[A-Za-z\d+/]+={0,2}", re.ASCII)
_NAME = re.compile(r"[\w.+-]+", re.ASCII)
"""What a user or a cluster may be called: the names of files are made of it."""

_OF_CEPH = "$etc/$cluster.$name.keyring, $etc/$cluster.keyring, $etc/keyring"
"""Where Ceph looks by itself (its option ``keyring``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RbdLogin:
    """A user of Ceph's, without the ``client.``, and the text of its key."""

    user: str
    key: Secret


class RbdLogins:
    """What this host knows of Ceph's users.

    ``user`` logs in where the volume service names nobody. ``keyring`` is the one file that has
    keys; without it they are looked for where the cluster's configuration in ``etc`` says, or
    else where Ceph does.
    """

    def __init__(
        self, *, user: str | None = None, keyring: Path | None = None, etc: Path = ETC
    ) -> None:
        self._user = user
        self._keyring = keyring
        self._etc = etc

    def login(self, said: Mapping[str, Any]) -> RbdLogin | None:
        """Return who logs in by what a connection says, None where nobody has to.

        Raises ConnectFailed for a user without a key, and a connection that lacks its user.
        """
        cluster = _named("cluster", said.get("cluster_name") or "ceph")
        if said.get("auth_enabled"):
            user = _named("user", said.get("auth_username"))
            sent = said.get("keyring")
            return self._found(user, cluster) if not sent else _sent(user, str(sent))
        return None if self._user is None else self._found(self._user, cluster)

    def _found(self, user: str, cluster: str) -> RbdLogin:
        places = list(self._places(user, cluster))
        for place in places:
            key = _key_of(user, _read(place))
            if key is not None:
                return RbdLogin(user=user, key=key)
        tried = ", ".join(map(str, places))
        raise ConnectFailed(f"this host has no key of Ceph's client.{user}; looked in {tried}")

    def _places(self, user: str, cluster: str) -> Iterator[Path]:
        if self._keyring is not None:
            yield self._keyring
            return
        conf = _sections(_read(self._etc / f"{cluster}.conf"))
        names = (f"client.{user}", "client", "global")
        said = (conf.get(name, {}).get("keyring") for name in names)
        listed = next(filter(None, said), _OF_CEPH)
        known = {"cluster": cluster, "type": "client", "id": user, "name": f"client.{user}"}
        expanded = Template(listed).safe_substitute(known, etc=self._etc)
        yield from map(Path, filter(None, re.split(r"[\s,;]+", expanded)))


def _named(what: str, name: object) -> str:
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        raise ConnectFailed(f"an rbd connection that wants a login names a {what}, not {name!r}")
    return name


def _sent(user: str, keyring: str) -> RbdLogin:
    """Take what came with the connection: a keyring, or the bare key."""
    text = keyring.strip()
    key = Secret(text) if _KEY.fullmatch(text) else _key_of(user, text)
    if key is None:
        message = f"the keyring that the volume service sent has no key of client.{user}"
        raise ConnectFailed(message)
    return RbdLogin(user=user, key=key)


def _key_of(user: str, keyring: str) -> Secret | None:
    key = _sections(keyring).get(f"client.{user}", {}).get("key", "")
    return Secret(key) if _KEY.fullmatch(key) else None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise ConnectFailed(f"cannot read {path}: {error.strerror}") from error


def _sections(text: str) -> dict[str, dict[str, str]]:
    """Read a file of Ceph's; blanks, ``_`` and ``-`` in a name are the same to it."""
    found: dict[str, dict[str, str]] = {}
    section: dict[str, str] = {}
    for line in map(str.strip, text.splitlines()):
        name, is_option, value = line.partition("=")
        if line.startswith("[") and line.endswith("]"):
            section = found.setdefault(line[1:-1].strip(), {})
        elif is_option and not line.startswith(("#", ";")):
            section[re.sub(r"[\s_-]+", " ", name.strip())] = value.strip().strip("\"'")
    return found
