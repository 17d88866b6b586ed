"""How the libvirtd behind a connection ended: with a clean stop, or not.

A libvirtd (or virtqemud) removes its pid file as the last thing of a clean stop. One that is
killed, crashes, or gives up waiting for a call leaves the file, and its successor writes its own
number into the same one. So whoever holds the file open can tell later, at any time: it is not at
its place any more, and the number in it is still the old one. A worker that starts anew opens the
file again that it remembers.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import parse_qs, urlsplit

from worker.virt.libvirtd.memory import Memory, Sighting

_NAMES = ("libvirtd", "virtqemud")
_ENOUGH = 32
"""Bytes, more than any pid has."""

_START_TIME = 19
"""Where /proc/PID/stat has the process's start, counted behind its name: see proc(5)."""

_DEAD = frozenset("ZXx")
"""Its states of a process that nobody has buried yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _PidFile:
    path: Path
    descriptor: int
    pid: int
    started: str

    @property
    def explains(self) -> bool:
        """Whether the daemon stopped cleanly, or has not stopped at all."""
        stopped = self._removed and _pid_in(self.descriptor) == self.pid
        return stopped or _start_of(self.pid) == self.started

    @property
    def sighting(self) -> Sighting:
        """What is to be remembered of it."""
        found = os.fstat(self.descriptor)
        return Sighting(
            path=str(self.path),
            device=found.st_dev,
            inode=found.st_ino,
            pid=self.pid,
            started=self.started,
        )

    @property
    def _removed(self) -> bool:
        # Held open, its number is no other file's.
        try:
            return not os.path.samestat(self.path.stat(), os.fstat(self.descriptor))
        except FileNotFoundError:
            return True


class Daemon:
    """The libvirtd that answers at a URI now, remembered for the time when it does not."""

    def __init__(self, files: Iterable[_PidFile]) -> None:
        self._files = tuple(files)

    @classmethod
    def at(cls, uri: str) -> Self:
        """Find its pid file: of a daemon on this host, at its usual place or near its socket."""
        return cls(_pid_files(uri))

    @classmethod
    def remembered(cls, memory: Memory) -> Self | None:
        """Return the one that an earlier worker saw last; None if nothing is left to be asked.

        A pid file that is gone says that its daemon stopped cleanly.
        """
        found = cls(_remembered(memory))
        return found if found.sightings else None

    @property
    def sightings(self) -> tuple[Sighting, ...]:
        """What is to be remembered of it."""
        return tuple(file.sighting for file in self._files)

    def may_have_died(self) -> bool:
        """Tell whether no clean stop explains that it does not answer any more.

        To be asked when its successor answers. Where nothing is known of it (another host, another
        namespace, a file that we may not read), it may have.
        """
        return not self._files or not all(file.explains for file in self._files)

    def close(self) -> None:
        """Let go of what was remembered."""
        files, self._files = self._files, ()
        for file in files:
            os.close(file.descriptor)


def _pid_files(uri: str) -> Iterator[_PidFile]:
    for folder in _folders(uri):
        for name in _NAMES:
            with suppress(OSError):
                path = folder / f"{name}.pid"
                descriptor = os.open(path, os.O_RDONLY)
                found = _read(path, descriptor, name)
                if found is None:
                    os.close(descriptor)
                else:
                    yield found


def _remembered(memory: Memory) -> Iterator[_PidFile]:
    for seen in memory.sightings:
        place = memory.file_of(seen)
        if place is not None:
            with suppress(FileNotFoundError):
                descriptor = os.open(place, os.O_RDONLY)
                yield _PidFile(
                    path=Path(seen.path),
                    descriptor=descriptor,
                    pid=seen.pid,
                    started=seen.started,
                )


def _folders(uri: str) -> tuple[Path, ...]:
    parts = urlsplit(uri)
    if parts.netloc:
        return ()
    named = parse_qs(parts.query).get("socket")
    if named:
        return tuple(Path(named[0]).parents[:3])
    if parts.path == "/session":
        return (Path(os.environ.get("XDG_RUNTIME_DIR", "/nowhere"), "libvirt"),)
    return (Path("/run"),)


def _read(path: Path, descriptor: int, name: str) -> _PidFile | None:
    """Return the file if a daemon of that name lives behind it, None for a stale one."""
    pid = _pid_in(descriptor)
    started = None if pid is None else _start_of(pid)
    if pid is None or started is None or _name_of(pid) != name:
        return None
    return _PidFile(path=path, descriptor=descriptor, pid=pid, started=started)


def _pid_in(descriptor: int) -> int | None:
    text = os.pread(descriptor, _ENOUGH, 0).strip()
    return int(text) if text.isdigit() else None


def _name_of(pid: int) -> str | None:
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def _start_of(pid: int) -> str | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in _DEAD else fields[_START_TIME]
