"""Whether the host was booted since a worker of this state folder last said that it knew."""

import logging
import os
from pathlib import Path

from worker.wiring.places import BOOT_ID

LOG = logging.getLogger(__name__)


class Boots:
    """The kernel's boot id, as it is and as it was kept in a small file of the state folder."""

    def __init__(self, folder: Path, source: Path = BOOT_ID) -> None:
        """Read which boot this is; a system that does not say so is never taken for booted."""
        self._file = folder / "boot-id"
        self._now = _read(source)

    def another(self) -> bool:
        """Tell whether it is another boot than was kept; the first worker of a folder has none."""
        kept = _read(self._file)
        return bool(kept and self._now) and kept != self._now

    def keep(self) -> None:
        """Remember this boot: what it takes to follow it is done, or in the journal."""
        if not self._now or _read(self._file) == self._now:
            return
        fresh = self._file.with_suffix(".new")
        try:
            _write_durably(fresh, self._now)
            fresh.replace(self._file)
        except OSError as error:
            LOG.warning("boot not remembered: file=%s error=%s", self._file, error)


def _write_durably(file: Path, text: str) -> None:
    with file.open("w", encoding="ascii") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
