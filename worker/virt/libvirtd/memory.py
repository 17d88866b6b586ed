"""What a worker knows of its libvirtd across its own restarts (ADR 13).

A small file in its state folder. It is not synced: what a crash of the whole host could take from
it was said of guests that did not outlive the crash either.
"""

import json
import logging
import os
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from worker.model.ids import InstanceId

LOG = logging.getLogger(__name__)

_FILE = "libvirtd.json"
_PIN = "libvirtd-pin."
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """A libvirtd as it was seen last: its pid file, and who it was."""

    path: str
    device: int
    inode: int
    pid: int
    started: str


class Memory:
    """What was seen last of the libvirtd at ``uri``; any thread may ask and say.

    Another URI, or another boot of the host, is a fresh start: no guest has come through.
    Without a folder nothing is remembered; with ``keep`` false it is read and never written.
    """

    def __init__(self, folder: Path | None, uri: str, *, keep: bool = True) -> None:
        """Read what was left; a file that cannot be read says nothing."""
        self._folder = folder
        self._keep = keep and folder is not None
        self._lock = threading.Lock()
        self._about = {"uri": uri, "boot": _boot()}
        left = _read(folder / _FILE) if folder is not None else {}
        mine = all(left.get(name) == value for name, value in self._about.items())
        self._sightings = _sightings(left) if mine else ()
        self._doubts = frozenset(map(InstanceId, left.get("in_doubt", ()))) if mine else frozenset()

    @property
    def sightings(self) -> tuple[Sighting, ...]:
        """Return the pid files of the libvirtd that was seen last."""
        return self._sightings

    @property
    def doubts(self) -> frozenset[InstanceId]:
        """Return the guests that were in doubt."""
        return self._doubts

    def keep_doubts(self, instances: frozenset[InstanceId]) -> None:
        """Remember these as the guests in doubt."""
        with self._lock:
            self._doubts = instances
            self._write()

    def keep_sightings(self, seen: Sequence[Sighting]) -> None:
        """Remember these as the libvirtd that answers, and its pid files by a second name.

        What has a second name can be looked at even when the first is gone, and lends its number
        to no other file. It takes a state folder on the pid file's file system; on another one,
        /run say, numbers of files are not given twice.
        """
        with self._lock:
            if not self._keep or self._folder is None:
                return
            for each in seen:
                with suppress(OSError):
                    os.link(each.path, self._pin(self._folder, each))
            self._sightings = tuple(seen)
            self._write()
            wanted = {self._pin(self._folder, each) for each in seen}
            for pin in set(self._folder.glob(f"{_PIN}*")) - wanted:
                pin.unlink(missing_ok=True)

    def file_of(self, seen: Sighting) -> Path | None:
        """Return where that pid file is to be found by now; None if it was removed."""
        places = [Path(seen.path)]
        if self._folder is not None:
            places.insert(0, self._pin(self._folder, seen))
        return next((place for place in places if _is(place, seen)), None)

    @staticmethod
    def _pin(folder: Path, seen: Sighting) -> Path:
        return folder / f"{_PIN}{Path(seen.path).stem}.{seen.pid}.{seen.started}"

    def _write(self) -> None:
        if not self._keep or self._folder is None:
            return
        text = json.dumps(
            {
                **self._about,
                "seen": [asdict(each) for each in self._sightings],
                "in_doubt": sorted(self._doubts),
            }
        )
        file = self._folder / _FILE
        fresh = file.with_suffix(".new")
        try:
            fresh.write_text(text, encoding="utf-8")
            fresh.replace(file)
        except OSError as error:
            LOG.warning("libvirtd not remembered: file=%s error=%s", file, error)


def _read(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        LOG.warning("libvirtd not remembered: file=%s error=%s", file, error)
        return {}
    return found if isinstance(found, dict) else {}


def _sightings(left: dict[str, Any]) -> tuple[Sighting, ...]:
    try:
        return tuple(Sighting(**each) for each in left.get("seen", ()))
    except TypeError:
        return ()


def _is(place: Path, seen: Sighting) -> bool:
    try:
        found = place.stat()
    except OSError:
        return False
    return (found.st_dev, found.st_ino) == (seen.device, seen.inode)


def _boot() -> str:
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""
