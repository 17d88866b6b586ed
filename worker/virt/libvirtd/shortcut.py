"""A short name for a long folder.

A unix socket's path holds 107 bytes at most, and libvirt puts its sockets deep below the folders it
is given. Where a folder's own path leaves no room, a symbolic link in a place of short names stands
in for it.
"""

import os
import secrets
from pathlib import Path

from worker.errors import HypervisorUnavailable

_ATTEMPTS = 10


class Shortcut:
    """A symbolic link to ``folder``, remembered in ``record`` so that any later process finds it.

    The link belongs to us and stands where only its owner may change it: the runtime folder of the
    user, or a folder with the sticky bit.
    """

    def __init__(self, folder: Path, record: Path) -> None:
        self._folder = folder
        self._record = record

    def path(self) -> Path:
        """The link, made if it is missing: under the same name as before if that is still free."""
        known = self._known()
        if known is not None and self._is_ours(known):
            return known
        names = [_place() / f"bw-{secrets.token_hex(4)}" for _ in range(_ATTEMPTS)]
        for name in [known, *names] if known is not None else names:
            if self._make(name):
                return name
        message = f"no short name for the state folder {self._folder} could be made in {_place()}"
        raise HypervisorUnavailable(message)

    def remove(self) -> None:
        """Take the link away; it is fine if there is none.

        Its name is kept for the next time: a guest that still runs is known by paths below it.
        """
        known = self._known()
        if known is not None and self._is_ours(known):
            known.unlink(missing_ok=True)

    def _known(self) -> Path | None:
        if not self._record.exists():
            return None
        return Path(self._record.read_text(encoding="utf-8"))

    def _is_ours(self, name: Path) -> bool:
        # A place in /tmp outlives no reboot, and someone else may have taken the name since.
        return (
            name.is_symlink()
            and name.lstat().st_uid == os.geteuid()
            and name.readlink() == self._folder
        )

    def _make(self, name: Path) -> bool:
        # The record comes first: a link that nobody remembers would never be removed.
        self._record.write_text(str(name), encoding="utf-8")
        try:
            name.symlink_to(self._folder)
        except OSError:
            return False
        return True


def _place() -> Path:
    if os.geteuid() == 0 and os.access("/run", os.W_OK):
        return Path("/run")
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    return Path(runtime) if runtime and os.access(runtime, os.W_OK) else Path("/tmp")  # noqa: S108
